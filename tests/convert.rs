//! `traceql convert` as its users meet it: the real binary, and what lies in the folder afterwards.
//! That the traces come back is the business of the block crate's tests.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fs;
use std::path::Path;

use crate::support::binary::{
    check_snapshot, run, run_with_input, stderr, stdout, traceql, transcript,
};

const OTLP: &str = "testdata/blocks/fixtures/vParquet5/synthetic/\
                    55555555-0000-4000-8000-000000000001/traces.otlp.jsonl";

/// Converts, which must succeed, and gives back what was said of each block.
#[track_caller]
fn convert(arguments: &[&str], out: &Path) -> Vec<serde_json::Value> {
    let out = out.to_str().unwrap();
    let mut all = vec!["convert", "--out", out, "-o", "ndjson"];
    all.extend(arguments);
    let output = run(&all);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_block_lies_where_it_was_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let said = convert(&["--source", "sample:"], folder.path());
    let [block] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(block["format"], "vParquet5");
    assert_eq!((&block["trace_count"], &block["span_count"]), (&500.into(), &6764.into()));
    let lies = folder.path().join("single-tenant").join(block["block_id"].as_str().unwrap());
    let mut names: Vec<_> =
        fs::read_dir(&lies).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bloom-0", "data.parquet", "index", "meta.json"]);
    let size = fs::metadata(lies.join("data.parquet")).unwrap().len();
    assert_eq!(block["size_bytes"], size);

    let source = folder.path().to_str().unwrap();
    let verified = run(&["blocks", "verify", "--source", source, "-o", "table"]);
    assert!(verified.status.success());
    assert!(stdout(&verified).contains("  ok  500 traces, 6,764 spans"), "{}", stdout(&verified));
    // All of them: which are the first depends on how they lie in blocks.
    let query = ["query", "-o", "ndjson", "--limit", "0", "{ status = error }", "--source"];
    let ask = |source| stdout(&run(&[query.as_slice(), &[source]].concat()));
    let (ours, theirs) = (ask(source), ask("sample:"));
    assert!(ours.lines().count() > 50);
    assert!(ours == theirs, "the answers differ");
}

#[test]
fn formats_columns_tenants_and_limits_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let asked = [
        "--source",
        "testdata/blocks/shop",
        "--tenant",
        "shop5",
        "--out-tenant",
        "other",
        "--format",
        "vparquet4",
        "--dedicated-column",
        "span.db.system",
        "--dedicated-column",
        "resource.cloud.region",
        "--max-block-size",
        "300kB",
        "--row-group-size",
        "100kB",
        "--tenant-index",
    ];
    let said = convert(&asked, folder.path());
    assert!(said.len() > 1, "{said:?}");
    for block in &said {
        assert_eq!(block["format"], "vParquet4");
        assert!(block["row_group_count"].as_u64().unwrap() > 1, "{block}");
        let id = block["block_id"].as_str().unwrap();
        let meta = fs::read_to_string(folder.path().join("other").join(id).join("meta.json"));
        let columns =
            r#""dedicatedColumns":[{"n":"db.system"},{"s":"resource","n":"cloud.region"}]"#;
        assert!(meta.unwrap().contains(columns));
    }
    for name in ["index.pb.zst", "index.json.gz"] {
        assert!(folder.path().join("other").join(name).exists());
    }
    // An index that is there learns of blocks that are added.
    let none = ["--source", "sample:", "--out-tenant", "other", "--dedicated-column", "none"];
    let more = convert(&none, folder.path());
    let source = folder.path().to_str().unwrap();
    let listed = run(&["blocks", "list", "--source", source, "--tenant", "other"]);
    assert_eq!(stdout(&listed).lines().count(), said.len() + more.len());
}

#[test]
fn otlp_comes_from_files_and_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let said = convert(&["--source", OTLP, "--out-tenant", "a"], folder.path());
    assert_eq!(said[0]["trace_count"], 52);
    let out = folder.path().to_str().unwrap();
    let mut command =
        traceql(&["convert", "-q", "--source", "-", "--out", out, "--out-tenant", "b"]);
    let output = run_with_input(&mut command, &fs::read(OTLP).unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    let block: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(block["span_count"], said[0]["span_count"]);
    assert_eq!(block["size_bytes"], said[0]["size_bytes"]);

    let mut command = traceql(&["convert", "--source", "-", "--out", out, "--out-tenant", "c"]);
    let output = run_with_input(&mut command, b"{}");
    assert!(output.status.success());
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("no traces, so there is no block"), "{}", stderr(&output));
    assert!(!folder.path().join("c").exists());
}

#[test]
fn a_source_is_never_written_onto() {
    let folder = tempfile::tempdir().unwrap();
    let said = convert(&["--source", "sample:"], folder.path());
    let bucket = folder.path().to_str().unwrap();
    let tenant = folder.path().join("single-tenant");
    let block = tenant.join(said[0]["block_id"].as_str().unwrap());
    let data = block.join("data.parquet");
    for source in [folder.path(), &tenant, &block, &data] {
        let output = run(&["convert", "--source", source.to_str().unwrap(), "--out", bucket]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains("lies there, for tenant single-tenant"));
    }
    // Nor by another path.
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let output = run(&["convert", "--source", bucket, "--out", link.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert_eq!(fs::read_dir(&tenant).unwrap().count(), 1);
    convert(&["--source", bucket, "--out-tenant", "copy"], folder.path());
}

#[test]
fn what_cannot_be_written_is_refused() {
    let lines: &[&[&str]] = &[
        &["--source", "sample:"],
        &["--out", "/nonexistent"],
        &["--source", "sample:", "--out", "sample:"],
        &["--source", "sample:", "--out", "-"],
        &["--source", "sample:", "--out", "https://example.com/bucket"],
        &["--source", "sample:", "--out", "README.md"],
        &["--source", "sample:", "--out", "/nonexistent", "--format", "vparquet3"],
        &["--source", "sample:", "--out", "/nonexistent", "--out-tenant", "a/b"],
        &["--source", "sample:", "--out", "/nonexistent", "--row-group-size", "0"],
        &["--source", "sample:", "--out", "/nonexistent", "--dedicated-column", "db.system"],
        &["--source", "sample:", "--out", "/nonexistent", "--dedicated-column", "span"],
        &[
            "--source",
            "sample:",
            "--out",
            "/nonexistent",
            "--format",
            "vparquet4",
            "--dedicated-column",
            "span.http.status_code:int",
        ],
        &["--source", "testdata/blocks/shob", "--out", "/nonexistent"],
        &["--source", OTLP, "--out", "/nonexistent", "--memory", "100kB"],
    ];
    let mut text = String::new();
    for line in lines {
        let arguments = [&["convert"], *line].concat();
        let output = run_with_input(traceql(&arguments).env("COLUMNS", "100"), b"");
        assert!(!output.status.success());
        text.push_str(&transcript(&arguments, &output));
    }
    check_snapshot("cli/convert", &text);
    let output = run(&["convert", "--source", "sample:", "--out", "README.md/x"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("README.md is a file; blocks need folders"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_does_not_write_is_quoted_once() {
    // What the store says comes with the key, which has a new id every time.
    let output = run(&["convert", "--source", "sample:", "--out", "/proc/nowhere"]);
    assert_eq!(output.status.code(), Some(5));
    let said = stderr(&output);
    assert!(said.starts_with("error: cannot write /proc/nowhere/single-tenant/"), "{said}");
    assert_eq!(said.matches("/proc/nowhere").count(), 1, "{said}");
    assert!(said.contains(": No such file or directory"), "{said}");
    assert!(said.contains("hint: check that there is room"), "{said}");
}

#[test]
fn what_a_file_alone_cannot_tell_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let lone = folder.path().join("lone.parquet");
    let data = "testdata/sample/single-tenant/2904655c-7134-5dc4-88ef-d24797772124/data.parquet";
    fs::copy(data, &lone).unwrap();
    let out = folder.path().join("out");
    let [lone, out] = [&lone, &out].map(|path| path.to_str().unwrap());
    let output = run(&["convert", "--source", lone, "--out", out]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("warning: ") && said.contains("dedicated columns hold"), "{said}");
}
