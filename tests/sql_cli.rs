//! `traceql sql` as people and scripts meet it: what it prints, that every form can be read back,
//! and how it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in helpers too")]

use std::fs::{self, File};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;

use crate::support::binary::{
    check_snapshot, run, run_with_input, stderr, stdout, traceql, transcript,
};

/// A statement whose rows are always the same.
const ROWS: &str = "SELECT trace_id, name, start_time, duration, duration_nanos, \
                    attr('http.route') AS route, attr_float('http.response.status_code') AS code \
                    FROM spans WHERE service_name = 'frontend' ORDER BY trace_id, span_id, start_time";

fn check(name: &str, commands: &[&[&str]]) {
    let transcripts = commands.iter().map(|arguments| {
        let mut whole = vec!["sql", "--source", "sample:", "--threads", "2"];
        whole.extend_from_slice(arguments);
        transcript(&whole, &run(&whole))
    });
    check_snapshot(name, &transcripts.collect::<String>());
}

#[test]
fn help_says_what_there_is() {
    let arguments = ["sql", "-h"];
    let output = run_with_input(traceql(&arguments).env("COLUMNS", "100"), b"");
    check_snapshot("sql_help", &transcript(&arguments, &output));
}

#[test]
fn rows_are_printed_in_every_form() {
    let sql = "SELECT service_name, count(*) AS n, max(duration) AS longest, min(start_time) AS first, \
               max(attr('http.route')) AS route FROM spans GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3";
    check(
        "sql_rows",
        &[
            &["-o", "table", sql],
            &["-o", "markdown", sql],
            &["-o", "csv", sql],
            &["-o", "json", sql],
            &[sql],
            &[
                "-o",
                "table",
                "SELECT * FROM traces WHERE error_count > 20 ORDER BY trace_id LIMIT 1",
            ],
            &["-o", "table", "SELECT * FROM spans ORDER BY trace_id, span_id LIMIT 1"],
            &["-o", "table", "SELECT 1; SELECT name FROM spans WHERE false"],
            &["-o", "csv", "SELECT name, kind FROM spans WHERE false"],
        ],
    );
}

#[test]
fn plans_show_what_reaches_the_scan() {
    check(
        "sql_explain",
        &[
            &["EXPLAIN SELECT name, attr(resource, 'k8s.pod.name') FROM spans \
                 WHERE attr('http.route') = '/cart' AND duration > '100ms' AND trace_state = ''"],
            &[
                "EXPLAIN SELECT trace_id FROM traces WHERE start_time >= '2026-01-01T00:30:00Z' LIMIT 5",
            ],
            &["EXPLAIN SELECT s.name FROM spans s JOIN traceql('{ status = error }') t \
                 USING (trace_id, span_id)"],
            &["EXPLAIN SELECT value FROM traceql('{ } | rate() by (kind)', '30m')"],
        ],
    );
}

#[test]
fn refusals_help() {
    check(
        "sql_refused",
        &[
            &["SELECT nam FROM spans"],
            &["SELECT s.durations\nFROM spans s"],
            &["SELECT http.route FROM spans"],
            &["SELECT name FROM span"],
            &["SELECT name FROM nosuch"],
            &["SELECT FROM WHERE"],
            &["SELECT attr(name) FROM spans"],
            &["SELECT attr('x') FROM traces"],
            &["SELECT attr('x') FROM spans a JOIN spans b USING (trace_id)"],
            &["SELECT name FROM spans WHERE duration > 5"],
            &["SELECT name FROM spans WHERE duration > 'soon'"],
            &["SELECT duration * 2 FROM spans"],
            &["SELECT sum(name) FROM spans"],
            &["SELECT median(duration) FROM spans"],
            &["SELECT name FROM spans WHERE start_time > 'yesterday'"],
            &["SELECT 1 / 0"],
            &["SELECT * FROM traceql('{ duraton > 1s }')"],
            &["SELECT * FROM traceql('{ } | rate()', 'often')"],
            &["SELECT nofunction(name) FROM spans"],
            &["SELECT coutn(*) FROM spans"],
            &["DROP TABLE spans"],
            &["INSERT INTO spans VALUES (1)"],
            &["COPY spans TO 's3://bucket/x.parquet'"],
            &["COPY spans TO 'x.unknown'"],
            &["--out", "x.unknown", "SELECT 1"],
            &["-o", "parquet", "SELECT 1; SELECT 2"],
            &[""],
        ],
    );
}

#[test]
fn statements_are_read_from_files_and_standard_input() {
    let sql = b"SELECT count(*) AS n FROM traces;\n-- a comment\nSELECT 7 AS seven";
    let expect = "{\"n\":500}\n{\"seven\":7}\n";
    let arguments = ["sql", "--source", "sample:"];
    for more in [&[][..], &["-f", "-"][..]] {
        let arguments = [&arguments[..], more].concat();
        let output = run_with_input(&mut traceql(&arguments), sql);
        assert_eq!(stdout(&output), expect, "{}", stderr(&output));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ask.sql");
    fs::write(&file, sql).unwrap();
    let output = run(&[&arguments[..], &["-f", file.to_str().unwrap()]].concat());
    assert_eq!(stdout(&output), expect, "{}", stderr(&output));
}

#[test]
fn nothing_matched_is_an_exit_code_when_asked_for() {
    let none = "SELECT name FROM spans WHERE name = 'nosuch'";
    let code = |arguments: &[&str]| {
        let whole = [&["sql", "--source", "sample:"][..], arguments].concat();
        run(&whole).status.code()
    };
    assert_eq!(code(&[none]), Some(0));
    assert_eq!(code(&["--exit-status", none]), Some(1));
    assert_eq!(code(&["--exit-status", "SELECT name FROM spans"]), Some(0));
    assert_eq!(
        code(&["--memory", "2MB", "SELECT a.name FROM spans a, spans b ORDER BY 1"]),
        Some(5)
    );
    assert_eq!(code(&["--timeout", "1ns", "SELECT name FROM spans"]), Some(124));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut command = traceql(&["sql", "--source", "sample:", "-o", "csv", "SELECT * FROM spans"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// The bytes that a form of [`ROWS`] is.
fn written(more: &[&str]) -> Vec<u8> {
    let output = run(&[&["sql", "--source", "sample:"], more, &[ROWS]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    output.stdout
}

fn joined(schema: &SchemaRef, batches: impl IntoIterator<Item = RecordBatch>) -> RecordBatch {
    concat_batches(schema, &batches.into_iter().collect::<Vec<_>>()).unwrap()
}

fn from_arrow_stream(bytes: &[u8]) -> RecordBatch {
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes, None).unwrap();
    joined(&reader.schema(), reader.map(Result::unwrap))
}

fn from_parquet(bytes: Vec<u8>) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let schema = SchemaRef::clone(reader.schema());
    joined(&schema, reader.build().unwrap().map(Result::unwrap))
}

#[test]
fn every_form_is_read_back() {
    let rows = from_arrow_stream(&written(&["-o", "arrow"]));
    assert!(rows.num_rows() > 500, "{}", rows.num_rows());
    assert_eq!(rows.schema().field(3).data_type().to_string(), "Duration(ns)");
    assert_eq!(rows.schema().field(2).data_type().to_string(), "Timestamp(ns, \"+00:00\")");
    assert_eq!(from_parquet(written(&["-o", "parquet"])), rows);

    let lines = String::from_utf8(written(&["-o", "ndjson"])).unwrap();
    let lines: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let array: Json = serde_json::from_slice(&written(&["-o", "json"])).unwrap();
    assert_eq!(array, Json::Array(lines.clone()));
    let mut csv = arrow::csv::ReaderBuilder::new(SchemaRef::new(
        arrow::csv::reader::Format::default()
            .with_header(true)
            .infer_schema(written(&["-o", "csv"]).as_slice(), None)
            .unwrap()
            .0,
    ))
    .with_header(true)
    .with_batch_size(rows.num_rows())
    .build(std::io::Cursor::new(written(&["-o", "csv"])))
    .unwrap();
    let csv = csv.next().unwrap().unwrap();
    assert_eq!((csv.num_rows(), lines.len()), (rows.num_rows(), rows.num_rows()));
    let (ids, nanos) =
        (rows.column(0).as_string::<i32>(), rows.column(4).as_primitive::<Int64Type>());
    let routes = rows.column(5).as_string::<i32>();
    let csv_nanos = csv.column(4).as_primitive::<Int64Type>();
    for (row, line) in lines.iter().enumerate() {
        assert_eq!(line["trace_id"], ids.value(row));
        assert_eq!(line["duration_nanos"], nanos.value(row));
        assert_eq!(csv_nanos.value(row), nanos.value(row));
        let route = routes.is_valid(row).then(|| routes.value(row));
        assert_eq!(line["route"].as_str(), route);
        assert_eq!(line.as_object().unwrap().len(), rows.num_columns(), "nulls are written too");
    }
}

#[test]
fn files_appear_when_they_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expect = from_arrow_stream(&written(&["-o", "arrow"]));
    assert_eq!(expect.num_rows(), 1_661);
    let (parquet, arrow, stream) = (path("a.parquet"), path("a.arrow"), path("a.arrows"));
    for file in [&parquet, &arrow, &stream] {
        let output = run(&["sql", "--source", "sample:", "--out", file, ROWS]);
        let said = format!("note: 1,661 rows written to {file}\n");
        assert_eq!((stdout(&output), stderr(&output)), (String::new(), said));
    }
    assert_eq!(from_parquet(fs::read(&parquet).unwrap()), expect);
    assert_eq!(from_arrow_stream(&fs::read(&stream).unwrap()), expect);
    let reader =
        arrow::ipc::reader::FileReader::try_new(File::open(&arrow).unwrap(), None).unwrap();
    assert_eq!(joined(&reader.schema(), reader.map(Result::unwrap)), expect);

    let copy = path("b.parquet");
    let output = run(&["sql", "--source", "sample:", &format!("COPY ({ROWS}) TO '{copy}'")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(from_parquet(fs::read(&copy).unwrap()), expect);

    // What fails on the way leaves what was there before, and nothing beside it.
    let failing = "SELECT 1 / (duration_nanos - duration_nanos) AS x FROM spans";
    let output = run(&["sql", "--source", "sample:", "--out", &copy, failing]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(from_parquet(fs::read(&copy).unwrap()), expect);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}
