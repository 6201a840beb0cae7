//! Answers of metrics queries that a server keeps: the same question costs nothing a second time, and
//! blocks that come and go are seen all the same.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::binary::{run, stderr};
use crate::support::http::{Server, encoded};

/// One span in a block of its own.
fn add_block(folder: &Path, n: u8) {
    let file = folder.join(format!("{n}.json"));
    let id = format!("{n:02x}").repeat(16);
    let otlp = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{id}","spanId":"{}",
        "name":"n","startTimeUnixNano":"1767226000000000000",
        "endTimeUnixNano":"1767226001000000000"}}]}}]}}]}}"#,
        &id[..16]
    );
    fs::write(&file, otlp).unwrap();
    let out = folder.join("bucket");
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let output = run(&["convert", "--source", file, "--out", out, "--out-tenant", "t"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// The number of spans by a query over a range.
fn count(server: &Server, start: u64, end: u64) -> u64 {
    let query = encoded("{ } | count_over_time()");
    let target = format!("/api/metrics/query_range?start={start}&end={end}&step=60s&q={query}");
    let body = server.ask("GET", &target, &[("X-Scope-OrgID", "t")]).json(&target);
    let list = |of: &Json, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let samples = list(&body, "series").into_iter().flat_map(|series| list(&series, "samples"));
    samples.map(|sample| sample["value"].as_u64().unwrap_or_default()).sum()
}

/// How often an answer was kept, and how often it was not.
fn hits_and_misses(server: &Server) -> (u64, u64) {
    let page = server.ask("GET", "/metrics", &[]).text();
    let value = |what: &str| {
        let name = format!("traceql_cache_{what}_total{{cache=\"answer\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
    };
    (value("hits"), value("misses"))
}

#[track_caller]
fn wait_for(server: &Server, expected: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while count(server, 1_767_225_960, 1_767_226_080) != expected {
        assert!(Instant::now() < deadline, "blocks that changed are not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_answer_is_kept_until_blocks_change() {
    let folder = tempfile::tempdir().unwrap();
    add_block(folder.path(), 1);
    let bucket = folder.path().join("bucket");
    let source = ["--source", bucket.to_str().unwrap(), "--multitenant", "--poll", "100ms"];
    let server = Server::start_with(&source);
    assert_eq!(count(&server, 1_767_225_960, 1_767_226_080), 1);
    assert_eq!(hits_and_misses(&server), (0, 1));
    // The window moves within its step; lists that are read anew and are the same change nothing.
    for moved in 0..30 {
        assert_eq!(count(&server, 1_767_225_960 + moved, 1_767_226_050 + moved), 1);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(hits_and_misses(&server), (30, 1));
    // Another window asks something else.
    assert_eq!(count(&server, 1_767_225_900, 1_767_226_080), 1);
    assert_eq!(hits_and_misses(&server), (30, 2));

    add_block(folder.path(), 2);
    wait_for(&server, 2);
    let tenant = bucket.join("t");
    let block = fs::read_dir(&tenant)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("meta.json").exists())
        .unwrap();
    fs::remove_file(block.join("meta.json")).unwrap();
    wait_for(&server, 1);
}

#[test]
fn nothing_is_kept_if_nothing_may_be() {
    let folder = tempfile::tempdir().unwrap();
    add_block(folder.path(), 1);
    let bucket = folder.path().join("bucket");
    let source = ["--source", bucket.to_str().unwrap(), "--multitenant", "--answer-cache", "0"];
    let server = Server::start_with(&source);
    for _ in 0..3 {
        assert_eq!(count(&server, 1_767_225_960, 1_767_226_080), 1);
    }
    assert_eq!(hits_and_misses(&server), (0, 0));
}
