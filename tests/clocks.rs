//! The real binary whose clock is set while it works, by days and both ways: nothing is lost, and
//! nothing given up for its age that is not of that age. What compactors do with leases by clocks that
//! differ is the business of `src/blocks/compact/tests/clock.rs`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::binary::{TRACEQL, run, stderr};
use crate::support::faketime::Clock;
use crate::support::ingesting::{Folders, request, text};
use crate::support::sending::{SHORT, Sent, TENANT};

#[test]
fn a_server_whose_clock_is_set_loses_nothing() {
    let Some(clock) = Clock::new() else { return };
    let (folders, sent) = (Folders::new().by(&[], &clock.environment()), Sent::default());
    for offsets in [["+400d", "-400d"], ["-5h", "+5h"], ["+3d", "+0"]] {
        let ingesting = folders.start(&[&SHORT[..], &["--poll", "100ms"]].concat());
        for offset in offsets {
            clock.set(offset);
            let n = sent.count();
            for _ in 0..40 {
                assert!(sent.send(&ingesting));
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(sent.count(), n + 120, "{offset}: spans are refused");
            assert_eq!(sent.lost(&ingesting.found(TENANT)), [""; 0], "{offset}");
        }
        // Traces are cut and flushed by another clock.
        assert!(ingesting.sample("traceql_flushed_blocks_total") > 0.0);
        ingesting.server.kill();
    }
    sent.check(&folders, "after all");
}

/// A request of spans that begin now.
fn now(trace: u64) -> Json {
    let mut body = request(&[(trace, trace)]);
    let since = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    let nanos = u64::try_from(since.as_nanos()).expect("it is before 2500");
    let span = &mut body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["startTimeUnixNano"] = nanos.to_string().into();
    span["endTimeUnixNano"] = (nanos + 1_000_000).to_string().into();
    body
}

#[test]
fn a_compactor_whose_clock_jumps_ahead_deletes_nothing() {
    let Some(clock) = Clock::new() else { return };
    let folders = Folders::new();
    let mut ingesting = folders.start(&[]);
    for trace in 0..4 {
        assert_eq!(ingesting.send(None, &now(trace)).expect("an answer").0, 200);
        assert_eq!(ingesting.flush().status, 200);
    }
    assert!(ingesting.server.terminate().success());
    let stored = folders.stored(TENANT);
    assert_eq!(stored.len(), 4);
    let bucket = folders.bucket();
    let all = ["compact", "--source", text(&bucket), "--retention", "1h", "--grace", "0"];
    let start = |more: &[&str]| {
        let mut command = std::process::Command::new(TRACEQL);
        command.args(all).args(more).env_clear().envs(clock.environment());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    // It has seen the right time, and then another.
    let mut compactor = start(&["--interval", "100ms"]);
    let live = || {
        let blocks = folders.stored_blocks(TENANT);
        blocks.iter().filter(|block| block.join("meta.json").exists()).count()
    };
    for _ in 0..200 {
        if live() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(live(), 1, "the blocks become one");
    for offset in ["+400d", "-400d", "+30d", "+0"] {
        clock.set(offset);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(live(), 1, "{offset}");
    }
    compactor.kill().expect("it runs");
    let output = compactor.wait_with_output().expect("it ends");
    assert!(stderr(&output).contains("the clock may be wrong: it went ahead"), "{output:?}");
    // One that is started with the wrong time is told by the store, whose clock is another.
    clock.set("+400d");
    // The lease of the one that was killed lasts on.
    std::fs::remove_dir_all(bucket.join(TENANT).join("traceql-compactor")).unwrap_or_default();
    let output = start(&["--once"]).wait_with_output().expect("it ends");
    assert!(output.status.success() && live() == 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("ahead of the store's"), "{}", stderr(&output));
    let blocks = folders.stored_blocks(TENANT);
    let stored_now: Vec<_> =
        blocks.iter().filter(|block| block.join("meta.json").exists()).collect();
    assert_eq!(stored_now.len(), 1);
    let verified = run(&["blocks", "verify", "--source", text(stored_now[0])]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    let found = folders.start(&[]).found(TENANT);
    assert_eq!(found, stored);
}
