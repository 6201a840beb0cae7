//! `traceql export` as its users meet it: what is exported is read again and asked the same.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::collections::BTreeSet;
use std::fs;

use arrow::array::AsArray as _;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::binary::{
    check_snapshot, run, run_with_input, stderr, stdout, traceql, transcript,
};

const QUERY: &str = r#"{ status = error && name = "POST /cart/checkout" }"#;

/// Exports from the sample, which must succeed.
#[track_caller]
fn export(arguments: &[&str]) -> Vec<u8> {
    let output = run(&[&["export", "--source", "sample:", QUERY], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    output.stdout
}

/// What a source answers to a query, whole.
fn ask(source: &str, query: &str) -> String {
    let output = run(&["query", "--source", source, "--limit", "0", "-o", "ndjson", query]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn trace_ids(answer: &str) -> BTreeSet<String> {
    let id = |line: &str| {
        let trace: serde_json::Value = serde_json::from_str(line).unwrap();
        format!("{:0>32}", trace["traceID"].as_str().unwrap())
    };
    answer.lines().map(id).collect()
}

#[test]
fn lines_are_whole_traces() {
    let lines = String::from_utf8(export(&[])).unwrap();
    let ids = trace_ids(&ask("sample:", QUERY));
    assert!(ids.len() > 10);
    assert_eq!(lines.lines().count(), ids.len());
    for (line, id) in lines.lines().zip(&ids) {
        let one = run(&["trace", "--source", "sample:", id, "-o", "otlp"]);
        assert_eq!(stdout(&one).trim_end(), line);
    }
    // A time range says which traces, not how much of them.
    let since = ["--start", "2026-01-01T00:50:00Z", "--end", "2026-01-01T00:57:00Z"];
    let some = String::from_utf8(export(&since)).unwrap();
    let n_some = some.lines().count();
    assert!((1..ids.len()).contains(&n_some));
    assert!(some.lines().all(|line| lines.lines().any(|whole| whole == line)));
    assert_eq!(String::from_utf8(export(&["--limit", "3"])).unwrap().lines().count(), 3);
}

#[test]
fn parquet_is_a_row_a_span_that_matches() {
    let read = |bytes: Vec<u8>| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
        let schema = SchemaRef::clone(reader.schema());
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    };
    let rows = read(export(&["-o", "parquet"]));
    let ids = trace_ids(&ask("sample:", QUERY));
    assert_eq!(rows.num_rows(), ids.len(), "one span of each trace matches");
    let texts = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().clone();
    assert!(texts("status").iter().all(|status| status == Some("error")));
    assert_eq!(
        texts("trace_id").iter().flatten().collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    // SQL says the same of the columns that both have.
    let columns =
        "trace_id, span_id, name, kind, service_name, start_time, duration_nanos, root_name";
    let sql = format!(
        "SELECT {columns} FROM spans WHERE status = 'error' AND name = 'POST /cart/checkout' ORDER BY trace_id"
    );
    let output = run(&["sql", "--source", "sample:", "-o", "parquet", &sql]);
    let expect = read(output.stdout);
    for (at, name) in columns.split(", ").enumerate() {
        assert_eq!(rows.column_by_name(name).unwrap(), expect.column(at), "{name}");
    }
    let route = rows.column_by_name("attributes").unwrap().as_map().value(0);
    let keys = route.column(0).as_string::<i32>();
    let at = keys.iter().position(|key| key == Some("http.route")).unwrap();
    assert_eq!(route.column(1).as_string::<i32>().value(at), "/cart/checkout");

    // All spans of the traces, those that match marked; to a file; with an attribute left out.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.parquet").to_str().unwrap().to_owned();
    let out = ["-o", "parquet", "--all-spans", "--out", &file, "--drop", "span.http.route"];
    assert_eq!(export(&out), b"");
    let all = read(fs::read(&file).unwrap());
    let matched = all.column_by_name("matched").unwrap().as_boolean();
    assert_eq!(matched.true_count(), rows.num_rows());
    assert!(all.num_rows() > 10 * rows.num_rows(), "{}", all.num_rows());
    let keys = all.column_by_name("attributes").unwrap().as_map().keys().as_string::<i32>().clone();
    assert!(keys.iter().all(|key| key != Some("http.route")));
}

#[test]
fn protobuf_is_one_message_and_read_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let [pb, jsonl] = ["a.pb", "a.jsonl"].map(|name| folder.path().join(name));
    fs::write(&pb, export(&["-o", "otlp-proto"])).unwrap();
    fs::write(&jsonl, export(&["-o", "jsonl"])).unwrap();
    let answers = [&pb, &jsonl].map(|path| ask(path.to_str().unwrap(), "{ }"));
    assert!(answers[0] == answers[1], "the answers differ");
    assert_eq!(trace_ids(&answers[0]), trace_ids(&ask("sample:", QUERY)));
}

#[test]
fn a_block_answers_as_the_source_does() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = folder.path().to_str().unwrap();
    for (tenant, format) in [("single-tenant", "vparquet5"), ("old", "vparquet4")] {
        let said =
            export(&["-o", "block", "--out", bucket, "--out-tenant", tenant, "--format", format]);
        let id = String::from_utf8(said).unwrap();
        let source = folder.path().join(tenant).join(id.trim_end());
        let source = source.to_str().unwrap();
        let verified = run(&["blocks", "verify", "--source", source, "-o", "table"]);
        assert!(verified.status.success(), "{}", stdout(&verified));
        assert!(stdout(&verified).contains("  ok  "), "{}", stdout(&verified));
        assert!(ask(source, QUERY) == ask("sample:", QUERY), "the answers differ");
        assert_eq!(trace_ids(&ask(source, "{ }")), trace_ids(&ask("sample:", QUERY)));
    }
    // Its source is never written onto.
    let again = run(&[
        "export", "--source", bucket, "--tenant", "old", "-o", "block", "--out", bucket, "{}",
    ]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("lies there, for tenant old"), "{}", stderr(&again));
}

#[test]
fn attributes_to_be_redacted_that_occur_nowhere_are_named() {
    let arguments =
        ["export", "--source", "sample:", QUERY, "--drop", ".usr", "--hash", ".http.route"];
    let output = run(&arguments);
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("note: .usr, which is to be redacted, occurs in none"), "{told}");
    assert!(!told.contains(".http.route"), "{told}");
}

#[test]
fn redacted_attributes_do_not_leave() {
    let folder = tempfile::tempdir().unwrap();
    let rules = ["--drop", ".http.route", "--hash", "resource.service.name", "--hash-secret", "s"];
    let file = folder.path().join("a.jsonl");
    fs::write(&file, export(&rules)).unwrap();
    let bucket = folder.path().to_str().unwrap();
    export(&[&["-o", "block", "--out", bucket], rules.as_slice()].concat());
    let whole = ask("sample:", QUERY);
    for source in [file.to_str().unwrap(), bucket] {
        let tags = run(&["tags", "--source", source, "-o", "csv"]);
        assert!(!stdout(&tags).contains("http.route"), "{}", stdout(&tags));
        assert!(stdout(&tags).contains("service.name"));
        let values = run(&["values", "--source", source, "resource.service.name", "-o", "csv"]);
        let values = stdout(&values);
        assert!(values.lines().count() > 5 && !values.contains("checkout"), "{values}");
        let answer = ask(source, QUERY);
        assert_eq!(trace_ids(&answer), trace_ids(&whole));
        assert!(whole.contains("\"rootServiceName\":\"frontend\""));
        assert!(!answer.contains("frontend"), "the root's service is told");
    }
    // Without a secret nobody can compute the hashes, not even the next export.
    let hash = ["--hash", "resource.service.name"];
    assert!(export(&hash) != export(&hash));
    let keyed = ["--hash", "resource.service.name", "--hash-secret", "s"];
    assert!(export(&keyed) == export(&keyed));
}

#[test]
fn wrong_exports_are_refused() {
    let lines: &[&[&str]] = &[
        &["--source", "sample:"],
        &["--source", "sample:", "{ } | rate()"],
        &["--source", "sample:", "{ }", "-o", "block"],
        &["--source", "sample:", "{ }", "--out", "/nonexistent"],
        &["--source", "sample:", "{ }", "-o", "parquet"],
        &["--source", "sample:", "{ }", "--drop", "user"],
        &["--source", "sample:", "{ }", "--hash", "trace.user"],
        &["--source", "sample:", "{ }", "-o", "block", "--out", "sample:"],
        &["--source", "sample:", "{ name = \"nothing\" }"],
        &["--source", "sample:", "{ name = \"nothing\" }", "-o", "block", "--out", "/nonexistent"],
    ];
    let mut text = String::new();
    for line in lines {
        let arguments = [&["export"], *line].concat();
        let output = run_with_input(traceql(&arguments).env("COLUMNS", "100"), b"");
        text.push_str(&transcript(&arguments, &output));
    }
    check_snapshot("cli/export", &text);
}
