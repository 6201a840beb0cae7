//! Waiting for what comes about by itself, for as long as a busy machine may take.

use std::time::{Duration, Instant};

/// Asks again and again, for a minute at most.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come so far that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
