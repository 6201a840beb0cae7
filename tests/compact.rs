//! `traceql compact` as its users meet it: the real binary on a folder and on an S3-compatible server,
//! what queries answer before, after and in between. Plans, crashes and leases are the business of
//! `src/blocks/compact/tests`.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fs;
use std::path::Path;
use std::process::Output;

use traceql_blocks::bucket::store::OpenStore;
use traceql_blocks::model::TraceId;

use crate::split::{FIXTURES, QUERIES, SPLIT, TENANT, answer, difference, live};
use crate::support::asking::{Asked, everything};
use crate::support::binary::{run, stderr, stdout, traceql};
use crate::support::golden;
use crate::support::servers::{Server, s3_options};

/// Compacts once, which must succeed, and gives back what was said, row by row.
#[track_caller]
fn compact(bucket: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let bucket = bucket.to_str().unwrap();
    let all = ["compact", "--source", bucket, "--once", "-o", "ndjson"];
    rows(&run(&[all.as_slice(), arguments].concat()))
}

#[track_caller]
fn rows(output: &Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The metas of a tenant's blocks, by the name of the object.
fn metas(bucket: &Path, tenant: &str, name: &str) -> usize {
    let blocks = fs::read_dir(bucket.join(tenant)).unwrap();
    blocks.filter(|block| block.as_ref().unwrap().path().join(name).exists()).count()
}

/// Traces of which each block has a part, and spans that both have: asked of the inputs, of the block
/// that takes their place, and of all three, as a crash between commit and marks leaves them.
#[tokio::test]
async fn split_traces_are_answered_the_same_before_after_and_in_between() {
    for (version, [first, second], _) in FIXTURES {
        let bucket = live(version, &[(first, None), (second, None)]);
        let ask = async || {
            let mut answers = Vec::new();
            for query in QUERIES {
                answers.push(answer(bucket.path(), query, &everything()).await);
            }
            let asked = Asked::folder(bucket.path(), TENANT).await;
            let mut traces = Vec::new();
            for id in SPLIT {
                let id = TraceId(u128::from_str_radix(id, 16).unwrap().to_be_bytes());
                let trace = asked.trace(id, &everything()).await.unwrap().answer.unwrap();
                let mut spans: Vec<_> = trace.spans().map(|at| format!("{:?}", at.span)).collect();
                spans.sort();
                traces.push(spans);
            }
            (answers, traces)
        };
        let before = ask().await;
        let said = compact(bucket.path(), &["--tenant", TENANT]);
        assert_eq!(said[0]["inputs"].as_array().unwrap().len(), 2, "{said:?}");
        assert_eq!((metas(bucket.path(), TENANT, "meta.json"), said.len()), (1, 1));
        let after = ask().await;
        for input in [first, second] {
            let folder = bucket.path().join(TENANT).join(input);
            fs::rename(folder.join("meta.compacted.json"), folder.join("meta.json")).unwrap();
        }
        let between = ask().await;
        for (given, when) in [(after, "after"), (between, "between")] {
            for ((query, expected), given) in QUERIES.iter().zip(&before.0).zip(&given.0) {
                assert!(!expected.is_empty());
                assert_eq!(difference(expected, given), None, "{version} {query} {when}");
            }
            assert_eq!(before.1, given.1, "{version} {when}");
        }
        // All three become one.
        compact(bucket.path(), &[]);
        assert_eq!(metas(bucket.path(), TENANT, "meta.json"), 1);
    }
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let bucket = tempfile::tempdir().unwrap();
    golden::copy_folder(&golden::testdata("blocks/shop"), bucket.path());
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let tenant = bucket.path().join("shop5");
    let before = names(&tenant);
    let source = bucket.path().to_str().unwrap();
    let planned = rows(&run(&["compact", "--source", source, "--dry-run"]));
    let jobs: Vec<_> = planned.iter().filter(|row| row["action"] == "compact").collect();
    let tenants: Vec<_> = jobs.iter().map(|job| job["tenant"].as_str().unwrap()).collect();
    assert_eq!(tenants, ["shop4", "shop5"]);
    assert_eq!((&jobs[1]["trace_count"], &jobs[1]["compaction_level"]), (&500.into(), &1.into()));
    assert_eq!((&jobs[1]["result"], &jobs[1]["block_id"]), (&"planned".into(), &().into()));
    let left: Vec<_> = planned.iter().filter(|row| row["action"] == "leave").collect();
    assert_eq!(left.len(), 2);
    assert_eq!(left[0]["tenant"], "shop3");
    assert!(left[0]["result"].as_str().unwrap().starts_with("vParquet3 is read but not written"));
    // By age everything goes, and what goes is not compacted before.
    let by_age = ["compact", "--source", source, "-t", "shop5", "--dry-run", "--retention", "1d"];
    let planned = rows(&run(&by_age));
    assert_eq!(planned.len(), 2);
    assert!(planned.iter().all(|row| row["action"] == "expire"), "{planned:?}");
    let kept = [by_age.as_slice(), &["--tenant-retention", "shop5=0"]].concat();
    let planned = rows(&run(&kept));
    assert_eq!((planned.len(), &planned[0]["action"]), (1, &"compact".into()));
    assert_eq!(names(&tenant), before);
    let table = run(&["compact", "--source", source, "--dry-run", "-o", "table"]);
    assert!(stdout(&table).contains("compact  shop5"), "{}", stdout(&table));
}

#[test]
fn blocks_go_by_age_and_after_their_time_of_grace() {
    let bucket = tempfile::tempdir().unwrap();
    golden::copy_folder(&golden::testdata("blocks/shop/shop5"), &bucket.path().join("shop5"));
    let said = compact(bucket.path(), &["--retention", "14d", "--grace", "1h"]);
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(|row| row["action"] == "expire" && row["result"] == "done"));
    let asked =
        ["blocks", "list", "--tenant", "shop5", "--source", bucket.path().to_str().unwrap()];
    let listed = run(&asked);
    assert_eq!(stdout(&listed), "", "{}", stderr(&listed));
    assert_eq!(metas(bucket.path(), "shop5", "meta.compacted.json"), 2);
    assert_eq!(compact(bucket.path(), &["--grace", "1h"]), [] as [serde_json::Value; 0]);
    let said = compact(bucket.path(), &["--grace", "0"]);
    assert!(said.iter().all(|row| row["action"] == "delete"), "{said:?}");
    let left: Vec<_> = fs::read_dir(bucket.path().join("shop5"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = folder.path().to_str().unwrap();
    for (arguments, expect) in [
        (&["--source", "sample:", "--once"][..], "the built-in sample cannot be written to"),
        (&["--source", bucket, "--once", "--window", "5ms"], "at least a second long"),
        (&["--source", bucket, "--once", "--max-blocks", "1"], "at least 2 are to be put together"),
        (&["--source", bucket, "--once", "--tenant-retention", "a"], "names no time"),
        (&["--source", bucket, "--once", "--retention", "x"], "--retention: \"x\" is no duration"),
        (&["--source", bucket, "--once", "--interval", "1m"], "cannot be used with"),
        (&["--source", "README.md", "--once"], "source"),
        (&["--source", "testdata/blocks/shop", "--dry-run", "-t", "shop6"], "shop4, shop5"),
    ] {
        let output = run(&[&["compact"], arguments].concat());
        let code = if arguments.contains(&"shop6") { 3 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stderr(&output).contains(expect), "{arguments:?}: {}", stderr(&output));
    }
}

/// A bucket behind the protocol that most have, two processes at it at once.
#[tokio::test]
async fn two_processes_compact_one_bucket_of_s3() {
    let Some(server) = Server::s3() else { return };
    server.create_bucket("shop");
    let options = s3_options(&server.address);
    let store = OpenStore::open("s3://shop", &options).await.unwrap();
    for (version, [first, second], _) in FIXTURES {
        let bucket = live(version, &[(first, None), (second, None)]);
        let tenant = format!("{TENANT}-{version}");
        for block in [first, second] {
            for object in fs::read_dir(bucket.path().join(TENANT).join(block)).unwrap() {
                let object = object.unwrap();
                let name = object.file_name();
                let key = format!("{tenant}/{block}/{}", name.to_str().unwrap());
                let bytes = fs::read(object.path()).unwrap();
                store.store.put_opts(&key.into(), bytes.into(), Default::default()).await.unwrap();
            }
        }
    }
    let endpoint = format!("http://{}", server.address);
    let arguments = [
        "compact",
        "--source",
        "s3://shop",
        "--once",
        "-o",
        "ndjson",
        "--tenant-index",
        "--s3-endpoint",
        &endpoint,
        "--s3-access-key-id",
        "id",
        "--s3-secret-access-key",
        "secret",
    ];
    let start = || {
        let mut command = traceql(&arguments);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let outputs = [start(), start()].map(|child| child.wait_with_output().unwrap());
    let said: Vec<_> = outputs.iter().flat_map(rows).collect();
    let done = |row: &&serde_json::Value| row["result"] == "done";
    assert_eq!(said.iter().filter(done).count(), FIXTURES.len(), "{said:?}");
    for (version, [first, second], _) in FIXTURES {
        let tenant = format!("{TENANT}-{version}");
        let inputs = live(version, &[(first, None), (second, None)]);
        let remote = Asked::open("s3://shop", &tenant, &options).await;
        for query in QUERIES {
            let expected = answer(inputs.path(), query, &everything()).await;
            let given = remote.search(query, &everything()).await.unwrap().answer.traces;
            assert_eq!(difference(&expected, &given), None, "{version} {query}");
        }
    }
}
