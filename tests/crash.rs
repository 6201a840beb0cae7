//! The real binary killed while it takes traces in: at random moments and at every step between a
//! request and its block. Whatever was acknowledged is stored once, nothing is stored twice, and
//! no block is half there.
//!
//! `TRACEQL_KILLS=100` kills more often than the ordinary suite does.

use std::time::Duration;

use crate::support::ingesting::Folders;
use crate::support::sending::{SHORT, Sent, TENANT};

/// Kills of the ordinary suite.
const KILLS: u64 = 10;
/// Senders at work at a time.
const SENDERS: u64 = 3;

/// How often the ordinary suite kills, or whoever runs it wants to.
fn kills() -> u64 {
    let setting = std::env::vars().find(|(name, _)| name == "TRACEQL_KILLS");
    setting.map_or(KILLS, |(_, kills)| kills.parse().expect("a number"))
}

#[test]
fn kills_at_random_moments_lose_nothing_and_double_nothing() {
    let (kills, folders, sent) = (kills(), Folders::new(), Sent::default());
    for kill in 0..kills {
        let ingesting = folders.start_at_once(&SHORT);
        // Spread over the first half second, the replay of what the last kill has left included.
        let lives = Duration::from_millis(20 + kill.wrapping_mul(7_919) % 480);
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| while sent.send(&ingesting) {});
            }
            std::thread::sleep(lives);
            ingesting.server.kill();
        });
        if kill % 10 == 9 {
            sent.check(&folders, &format!("after {} kills", kill + 1));
        }
    }
    sent.check(&folders, "at the end");
    let n = sent.count();
    assert!(n > 30 * usize::try_from(kills).unwrap() / 10, "{n} spans are too few to tell");
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_doubles_nothing() {
    let steps = ["received", "durable", "announced", "prepared", "committed", "flushed", "removed"];
    for step in steps {
        let (folders, sent) = (Folders::new(), Sent::default());
        for n in 1..=2 {
            let at = format!("{step}:{n}");
            let ingesting = folders.start(&[&["--crash-at", &at][..], &SHORT].concat());
            // It is gone at the first request that is not answered.
            for _ in 0..2_000 {
                if !sent.send(&ingesting) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            assert!(!sent.send(&ingesting), "{at}: nothing came to this step");
        }
        sent.check(&folders, step);
    }
}

#[test]
fn a_torn_log_costs_nothing_that_was_acknowledged() {
    let (folders, sent) = (Folders::new(), Sent::default());
    let ingesting = folders.start(&[]);
    for _ in 0..5 {
        assert!(sent.send(&ingesting));
    }
    drop(ingesting);
    let [segment] = folders.segments().try_into().expect("one segment");
    let path = folders.wal().join(segment);
    let mut bytes = std::fs::read(&path).unwrap();
    // The beginning of the first frame again: a write that was cut off.
    bytes.extend_from_within(28..28 + 40);
    std::fs::write(&path, &bytes).unwrap();
    sent.check(&folders, "torn");

    // Damage in the middle is told, what is behind it is kept, and so is the file.
    let ingesting = folders.start(&[]);
    sent.forget();
    for _ in 0..5 {
        assert!(sent.send(&ingesting));
    }
    drop(ingesting);
    let segments = folders.segments();
    let path = folders.wal().join(segments.iter().max().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[28 + 60] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut ingesting = folders.start(&[]);
    let found = ingesting.found(TENANT);
    assert_eq!((sent.count(), sent.lost(&found).len()), (15, 3));
    assert!(ingesting.server.terminate().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut ingesting.server.stderr, &mut said).unwrap();
    assert!(said.contains("damaged") && said.contains("are lost"), "{said}");
    assert!(folders.segments().iter().any(|name| name.ends_with(".damaged")));
}
