//! Blocks that are damaged: what commands say of them, and what `--skip-unreadable` makes of the rest.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use parquet::file::metadata::ParquetMetaDataReader;
use tempfile::TempDir;

use crate::support::binary::{root, run, stderr, stdout};

const BLOCKS: &str = "testdata/blocks/shop/shop5";
/// Is damaged.
const BAD: &str = "2904655c-7134-5dc4-88ef-d24797772124";
/// Is not.
const GOOD: &str = "2c655cee-860a-51ad-af76-d8df3fe5f2f4";

const RANGE: [&str; 6] =
    ["--start", "2026-01-01T00:00:00Z", "--end", "2026-01-01T01:00:00Z", "--step", "10m"];

/// Commands whose answers come of all blocks there are.
const QUESTIONS: [&[&str]; 6] = [
    &["query", "{ span.http.response.status_code >= 400 }", "--limit", "0"],
    &["query", "{ } | rate() by (resource.service.name)"],
    &["tags"],
    &["values", "span.http.route"],
    &["sql", "SELECT name, count(*) AS n FROM spans GROUP BY name ORDER BY name"],
    &["export", "{ status = error }"],
];

/// What is done to the folder of a block.
type Damage = fn(&Path);

/// A copy of the blocks in which something may be damaged.
struct Copy(TempDir);

impl Copy {
    fn of(blocks: &[&str]) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for block in blocks {
            fs::create_dir_all(copy.folder(block)).unwrap();
            for object in fs::read_dir(root().join(BLOCKS).join(block)).unwrap() {
                let object = object.unwrap();
                fs::copy(object.path(), copy.folder(block).join(object.file_name())).unwrap();
            }
        }
        copy
    }

    fn damaged(damage: Damage) -> Self {
        let copy = Self::of(&[BAD, GOOD]);
        damage(&copy.folder(BAD));
        copy
    }

    fn folder(&self, block: &str) -> PathBuf {
        self.0.path().join("shop5").join(block)
    }

    fn ask(&self, question: &[&str], more: &[&str]) -> (Option<i32>, String, String) {
        let source = self.0.path().to_str().unwrap();
        let range: &[&str] =
            if question[1..].iter().any(|a| a.contains("rate")) { &RANGE } else { &[] };
        let output = run(&[question, &["-s", source, "-t", "shop5"], range, more].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data.parquet")
}

fn cut(folder: &Path, n_bytes: usize) {
    let bytes = fs::read(data(folder)).unwrap();
    fs::write(data(folder), &bytes[..n_bytes.min(bytes.len())]).unwrap();
}

/// Overwrites the pages of some row groups; the footer and the page indexes stay.
fn blank(folder: &Path, row_groups: Range<usize>) {
    let mut bytes = fs::read(data(folder)).unwrap();
    let footer = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[footer..footer + 4].try_into().unwrap());
    let from = footer - usize::try_from(length).unwrap();
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[from..footer]).unwrap();
    for row_group in &metadata.row_groups()[row_groups] {
        for column in row_group.columns() {
            let (start, n_bytes) = column.byte_range();
            let start = usize::try_from(start).unwrap();
            bytes[start..start + usize::try_from(n_bytes).unwrap()].fill(0);
        }
    }
    fs::write(data(folder), bytes).unwrap();
}

/// What may be wrong with a block, so that nothing of it can be read.
const DAMAGES: [(&str, Damage); 6] = [
    ("no data", |folder| fs::remove_file(data(folder)).unwrap()),
    ("empty", |folder| cut(folder, 0)),
    ("cut", |folder| cut(folder, 100)),
    ("cut at the end", |folder| cut(folder, 597_000)),
    ("blank pages", |folder| blank(folder, 0..8)),
    ("meta", |folder| fs::write(folder.join("meta.json"), "{").unwrap()),
];

#[test]
fn a_damaged_block_fails_every_command_or_is_left_out_by_all() {
    let without = Copy::of(&[GOOD]);
    for (name, damage) in DAMAGES {
        let damaged = Copy::damaged(damage);
        for question in QUESTIONS {
            let what = format!("{name}: {}", question.join(" "));
            let (code, _, told) = damaged.ask(question, &[]);
            assert_eq!(code, Some(5), "{what}: {told}");
            assert!(told.contains(BAD), "{what}: {told}");
            assert_eq!(told.matches("--skip-unreadable").count(), 1, "{what}: {told}");
            let (code, answer, told) = damaged.ask(question, &["--skip-unreadable"]);
            assert_eq!(code, Some(4), "{what}: {told}");
            assert!(told.contains("warning: skipped: ") && told.contains(BAD), "{what}: {told}");
            let (_, expected, _) = without.ask(question, &[]);
            assert_eq!(answer, expected, "{what}: {told}");
        }
    }
}

/// Lines of an answer.
fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

#[test]
fn of_a_block_that_is_damaged_in_part_the_rest_answers() {
    let whole = Copy::of(&[BAD, GOOD]);
    let without = Copy::of(&[GOOD]);
    let damaged = Copy::damaged(|folder| blank(folder, 3..5));
    let question = QUESTIONS[0];
    let (_, all, _) = whole.ask(question, &[]);
    let (_, least, _) = without.ask(question, &[]);
    let (code, answer, told) = damaged.ask(question, &["--skip-unreadable"]);
    assert_eq!(code, Some(4), "{told}");
    let (all, least, answer) = (lines(&all), lines(&least), lines(&answer));
    assert!(least.is_subset(&answer) && least.len() < answer.len());
    assert!(answer.is_subset(&all) && answer.len() < all.len());
}

#[test]
fn a_trace_is_looked_for_in_the_blocks_that_can_be_read() {
    let id = |block: &str| {
        let (_, found, _) = Copy::of(&[block]).ask(&["query", "{ }", "--limit", "1"], &[]);
        let found: serde_json::Value = serde_json::from_str(found.trim_end()).unwrap();
        found["traceID"].as_str().unwrap().to_owned()
    };
    let (of_bad, of_good) = (id(BAD), id(GOOD));
    let intact = Copy::of(&[GOOD]);
    let (_, expected, _) = intact.ask(&["trace", &of_good], &[]);
    for (name, damage) in [
        ("no filter", (|folder| fs::remove_file(folder.join("bloom-0")).unwrap()) as Damage),
        ("garbage for a filter", |folder| fs::write(folder.join("bloom-0"), "garbage").unwrap()),
    ] {
        let damaged = Copy::damaged(damage);
        let (code, _, told) = damaged.ask(&["trace", &of_good], &[]);
        assert_eq!(code, Some(5), "{name}: {told}");
        assert!(told.contains("bloom-0") && told.contains("--skip-unreadable"), "{name}: {told}");
        let (code, answer, told) = damaged.ask(&["trace", &of_good], &["--skip-unreadable"]);
        assert_eq!((code, answer), (Some(4), expected.clone()), "{name}: {told}");
    }
    let damaged = Copy::damaged(|folder| blank(folder, 0..8));
    let (code, _, told) = damaged.ask(&["trace", &of_bad], &[]);
    assert_eq!(code, Some(5), "{told}");
    let (code, answer, told) = damaged.ask(&["trace", &of_bad], &["--skip-unreadable"]);
    assert_eq!((code, answer.as_str()), (Some(4), ""), "{told}");
}

#[test]
fn verify_reports_a_block_that_cannot_be_listed_and_goes_on() {
    let damaged = Copy::damaged(|folder| fs::write(folder.join("meta.json"), "").unwrap());
    let (code, report, told) = damaged.ask(&["blocks", "verify", "-o", "table"], &[]);
    assert_eq!(code, Some(5), "{told}");
    assert!(report.contains(&format!("{BAD}  broken")), "{report}");
    assert!(report.contains(&format!("{GOOD}  ok")), "{report}");
    assert!(told.contains("1 of 2 blocks break the format"), "{told}");
    assert!(!told.contains("--skip-unreadable"), "{told}");
}
