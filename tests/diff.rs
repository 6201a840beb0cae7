//! `traceql diff` as its users meet it: two traces, two files, two time ranges, in every form.

use std::fs;

use serde_json::Value as Json;

use crate::support::binary::{
    check_snapshot, run, run_with_input, stderr, stdout, traceql, transcript,
};

/// A checkout whose payment failed at once, and one whose payment was tried again and again.
const ONCE: &str = "6e45a1182eae0f0f59afb8665f6fc524";
const OFTEN: &str = "29a05474238c49cf1b5e17b72f2388dc";

#[track_caller]
fn check(name: &str, columns: u16, lines: &[&[&str]]) {
    let transcripts = lines.iter().map(|arguments| {
        let arguments = [&["diff"][..], *arguments].concat();
        let mut command = traceql(&arguments);
        let output = run_with_input(command.env("COLUMNS", columns.to_string()), b"");
        transcript(&arguments, &output)
    });
    check_snapshot(&format!("diff/{name}"), &transcripts.collect::<String>());
}

#[test]
fn two_traces_in_every_form() {
    for form in ["table", "wide", "markdown", "csv", "ndjson", "json"] {
        check(form, 80, &[&["-s", "sample:", "-o", form, ONCE, OFTEN]]);
    }
    check("table-160", 160, &[&["-s", "sample:", "-o", "table", ONCE, OFTEN]]);
    check("all", 80, &[&["-s", "sample:", "-o", "csv", "--all", ONCE, OFTEN]]);
}

#[test]
fn mistakes() {
    let query = "{ kind = server }";
    check(
        "mistakes",
        80,
        &[
            &["-s", "sample:", ONCE],
            &["-s", "sample:", query],
            &["-s", "sample:", query, "--against-offset", "1h"],
            &["-s", "sample:", "{ kind = servr }", query],
            &["-s", "sample:", "{ } | rate()", query],
            &["-s", "sample:", "nosuch.jsonl", ONCE],
            &["-s", "sample:", "1234", ONCE],
            &["testdata/blocks/shop", "testdata/blocks/shop"],
            &["sample:", "testdata/blocks/shop"],
            &["-", "-"],
            &["-s", "sample:", query, query, "--tolerance", "much"],
            &["-s", "sample:", query, query, "--floor", "soon"],
            &[ONCE, OFTEN],
        ],
    );
}

#[test]
fn files_are_compared_with_traces_and_with_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, ids: &[&str]| {
        let path = folder.path().join(name);
        let lines =
            ids.iter().map(|id| stdout(&run(&["trace", "-s", "sample:", "-o", "otlp", id])));
        fs::write(&path, lines.collect::<String>()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (once, often) = (file("once.jsonl", &[ONCE]), file("often.jsonl", &[OFTEN]));
    let both = file("both.jsonl", &[ONCE, OFTEN]);
    let csv = |a: &str, b: &str| {
        let output = run(&["diff", "-s", "sample:", "-o", "csv", "--all", a, b]);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let of_ids = csv(ONCE, OFTEN);
    assert!(of_ids.lines().count() > 5, "{of_ids}");
    assert_eq!(csv(&once, &often), of_ids);
    assert_eq!(csv(ONCE, &often), of_ids);
    assert_eq!(csv(&both, &both).lines().skip(1).filter(|row| !row.starts_with(',')).count(), 0);
    // What was exported and came back is the same.
    let query = "{ status = error }";
    let exported = run(&["export", "-s", "sample:", query]);
    let path = folder.path().join("errors.jsonl");
    fs::write(&path, exported.stdout).unwrap();
    let arguments = ["diff", "-s", "sample:", "--exit-status", "--limit", "0", query];
    let output = run(&[&arguments[..], &[path.to_str().unwrap()]].concat());
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
}

#[test]
fn ranges_of_one_query_and_exit_codes() {
    let later = ["--start", "2026-01-01T00:40:00Z", "--end", "2026-01-01T00:50:00Z"];
    let ask = |more: &[&str]| {
        let query = "{ kind = server }";
        let all = [&["diff", "-s", "sample:", "-o", "json", query], &later[..], more].concat();
        let output = run(&all);
        let json: Json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (json, output.status.code())
    };
    let (offset, code) = ask(&["--against-offset", "20m"]);
    assert_eq!(code, Some(0));
    let earlier =
        ["--against-start", "2026-01-01T00:20:00Z", "--against-end", "2026-01-01T00:30:00Z"];
    let (named, code) = ask(&earlier);
    assert_eq!((code, &named), (Some(0), &offset));
    assert_eq!(offset["a"]["start_time"], "2026-01-01T00:20:00.000000000Z");
    assert_eq!(offset["b"]["start_time"], "2026-01-01T00:40:00.000000000Z");
    assert!(offset["a"]["trace_count"].as_u64().unwrap() > 20, "{}", offset["a"]);
    let n_changed = offset["changed_call_count"].as_u64().unwrap();
    assert_eq!(offset["calls"].as_array().unwrap().len() as u64, n_changed);
    let code = |more: &[&str]| ask(&[&["--exit-status"], more].concat()).1;
    assert_eq!(code(&["--against-offset", "0s"]), Some(2), "it is no offset");
    assert_eq!(code(&["--against-source", "sample:"]), Some(0), "the same is the same");
    assert_eq!(code(&["--against-offset", "2h"]), Some(1), "one side is empty");
    assert_eq!(code(&["--against-source", "testdata/blocks/shop/shop5"]), Some(0));
}
