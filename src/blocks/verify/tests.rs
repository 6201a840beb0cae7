use std::path::PathBuf;

use super::*;
use crate::read::fixtures::{all_block_folders, block_in, context, testdata};

async fn verify(block: &Block) -> Report {
    verify_block(block, &context()).await.unwrap()
}

#[tokio::test]
async fn frozen_blocks_break_no_rule_but_the_child_counts_of_rootless_traces() {
    let (mut n_spans, mut n_child_counts) = (0, 0);
    for folder in all_block_folders() {
        let report = verify(&block_in(&folder)).await;
        for finding in &report.findings {
            assert_eq!(finding.severity, Severity::Warning, "{finding}");
            assert_eq!(finding.rule, Rule::ChildCount, "{finding}");
            n_child_counts += 1;
        }
        n_spans += report.span_count;
    }
    assert!(n_child_counts > 0);
    assert!(n_spans > 4 * 560, "{n_spans}");
}

/// A copy of a small vParquet5 block, to be broken.
struct Copy {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let of =
            testdata("blocks/fixtures/vParquet5/synthetic/55555555-0000-4000-8000-000000000001");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(of.file_name().unwrap());
        std::fs::create_dir(&path).unwrap();
        for entry in std::fs::read_dir(of).unwrap() {
            let from = entry.unwrap().path();
            std::fs::write(path.join(from.file_name().unwrap()), std::fs::read(from).unwrap())
                .unwrap();
        }
        Self { _folder: folder, path }
    }

    fn edit_meta(&self, from: &str, to: &str) {
        let path = self.path.join("meta.json");
        let json = std::fs::read_to_string(&path).unwrap();
        assert!(json.contains(from), "{json} lacks {from}");
        std::fs::write(path, json.replace(from, to)).unwrap();
    }

    /// Rules broken beyond those of the block as it was.
    async fn broken(&self) -> Vec<Rule> {
        let report = verify(&block_in(&self.path)).await;
        let mut rules: Vec<_> = report
            .findings
            .iter()
            .map(|finding| finding.rule)
            .filter(|rule| *rule != Rule::ChildCount)
            .collect();
        rules.dedup();
        rules
    }
}

#[tokio::test]
async fn every_false_statement_of_the_meta_is_found() {
    for (from, to, rule) in [
        ("\"totalObjects\":52", "\"totalObjects\":51", Rule::RowCount),
        ("\"totalRecords\":5", "\"totalRecords\":4", Rule::RowGroupCount),
        ("\"replicationFactor\":1", "\"replicationFactor\":3", Rule::ReplicationFactor),
        ("\"footerSize\":", "\"footerSize\":1", Rule::FileSize),
        ("\"size\":", "\"size\":1", Rule::FileSize),
        ("\"bloomShards\":4", "\"bloomShards\":5", Rule::Bloom),
    ] {
        let copy = Copy::new();
        copy.edit_meta(from, to);
        let broken = copy.broken().await;
        assert!(broken.contains(&rule), "{to}: {broken:?}");
        if rule != Rule::Bloom {
            assert_eq!(broken, [rule], "{to}");
        }
    }
    let copy = Copy::new();
    copy.edit_meta("\"totalRecords\":5", "\"totalRecords\":6");
    assert_eq!(copy.broken().await, [], "one too many is what the reference writer may state");
}

#[tokio::test]
async fn dedicated_columns_that_are_not_those_of_the_file_are_found() {
    let copy = Copy::new();
    copy.edit_meta("{\"n\":\"http.request.method\"},", "");
    let broken = copy.broken().await;
    assert!(broken.contains(&Rule::Leaves), "{broken:?}");
}

#[tokio::test]
async fn missing_and_foreign_objects_are_found() {
    let copy = Copy::new();
    std::fs::remove_file(copy.path.join("bloom-2")).unwrap();
    assert_eq!(copy.broken().await, [Rule::Bloom]);
    let shard = std::fs::read(copy.path.join("bloom-1")).unwrap();
    std::fs::write(copy.path.join("bloom-2"), shard).unwrap();
    assert_eq!(copy.broken().await, [Rule::Bloom]);

    let copy = Copy::new();
    std::fs::write(copy.path.join("index"), "{\"rowGroups\":[]}").unwrap();
    assert_eq!(copy.broken().await, [Rule::RowGroupIndex]);
    std::fs::remove_file(copy.path.join("index")).unwrap();
    assert_eq!(copy.broken().await, [], "the object is optional");

    std::fs::write(copy.path.join("data.parquet"), "PAR1").unwrap();
    let broken = copy.broken().await;
    assert!(broken.contains(&Rule::Readable), "{broken:?}");
}

/// Done to columns whose pages are not compressed, so that a changed byte is a changed value.
#[tokio::test]
async fn changed_values_are_found_by_their_checksum_and_by_what_they_contradict() {
    let copy = Copy::new();
    let path = copy.path.join("data.parquet");
    let good = std::fs::read(&path).unwrap();
    let open = OpenBlock::open(&block_in(&copy.path), &context()).await.unwrap();
    for (leaf, rule) in [
        ("TraceID", Rule::RowOrder),
        ("TraceID", Rule::Bloom),
        ("TraceID", Rule::Statistics),
        ("StartTimeUnixNano", Rule::TraceColumns),
        ("EndTimeUnixNano", Rule::TraceColumns),
        ("DurationNano", Rule::TraceColumns),
        ("RootServiceName", Rule::TraceColumns),
        ("ServiceStats.SpanCount", Rule::ServiceStats),
        ("ServiceStats.ErrorCount", Rule::ServiceStats),
        ("rs.ss.Spans.NestedSetLeft", Rule::NestedSet),
        ("rs.ss.Spans.NestedSetRight", Rule::NestedSet),
        ("rs.ss.Spans.ParentID", Rule::NestedSet),
        ("rs.ss.Spans.ParentSpanID", Rule::NestedSet),
        ("rs.ss.Spans.ChildCount", Rule::ChildCount),
        ("rs.ss.Spans.StartTimeRounded15", Rule::ComputedColumns),
        ("rs.ss.Spans.StartTimeRounded3600", Rule::ComputedColumns),
        ("rs.ss.SpanCount", Rule::ComputedColumns),
    ] {
        let index = open.schema.leaf(leaf).unwrap().index;
        let chunk = open.chunk_range(0, index).unwrap();
        let end = usize::try_from(chunk.end).unwrap();
        // The header takes less than 40 bytes. Of the others some are padding and some break the
        // decoding of the page; but some do change a value.
        let body = usize::try_from(chunk.start).unwrap() + 40;
        let mut found = false;
        for at in (body..end).rev().step_by(13) {
            let mut bad = good.clone();
            bad[at] ^= 0x05;
            std::fs::write(&path, bad).unwrap();
            let report = verify(&block_in(&copy.path)).await;
            let breaks = |rule: Rule| {
                report.findings.iter().any(|f| f.rule == rule && f.severity == Severity::Error)
            };
            if breaks(Rule::Checksum) && breaks(rule) {
                found = true;
                break;
            }
        }
        assert!(found, "no change of {leaf} breaks {rule}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 48,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn no_damage_to_a_file_makes_it_panic(
        folder: proptest::sample::Index,
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0_u8..), 1..20),
        kept in proptest::option::weighted(0.2, proptest::prelude::any::<proptest::sample::Index>()),
        near_the_end: bool,
    ) {
        let folders = all_block_folders();
        let from = folder.get(&folders);
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join(from.file_name().unwrap());
        std::fs::create_dir(&path).unwrap();
        let meta = ["meta.json", "meta.compacted.json"].map(|name| from.join(name));
        let meta = meta.iter().find(|path| path.exists()).unwrap();
        std::fs::copy(meta, path.join("meta.json")).unwrap();
        let mut bytes = std::fs::read(from.join("data.parquet")).unwrap();
        // Half of the time the footer and the page indexes, of which every byte counts.
        let start = if near_the_end { bytes.len() - bytes.len() / 4 } else { 0 };
        for (at, byte) in &damage {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = *byte;
        }
        if let Some(kept) = kept {
            bytes.truncate(kept.index(bytes.len()));
        }
        std::fs::write(path.join("data.parquet"), bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let report = runtime.block_on(verify(&block_in(&path)));
        // The bloom shards were not copied, so there is always something to find.
        proptest::prop_assert!(!report.findings.is_empty());
    }
}
