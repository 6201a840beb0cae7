//! Whether the clock is to be believed when something is to be deleted for its age. A clock that is
//! wrong once, by a battery or a virtual machine, would otherwise delete everything there is; nothing
//! else that depends on it does harm.
//!
//! Two witnesses are asked. The store says when it wrote the record of the lease: where the store is
//! another machine its clock is another clock. And since the compactor runs, a clock that nobody sets
//! says how much time has passed. Where both say nothing, on a local disk and at the first cycle, the
//! clock is believed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clocks may differ by this much: with more, S3 takes no request.
pub(super) const TOLERANCE: Duration = Duration::from_secs(15 * 60);
/// A clock that went ahead is believed when it has stood by it for this long: it may have been wrong
/// before, or the machine slept.
pub(super) const STANDS: Duration = Duration::from_secs(3600);

/// Why the clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is so much ahead of what it was and of what has passed since.
    Jumped(Duration),
    /// It is so much ahead of the store's.
    AheadOfStore(Duration),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jumped(by) => write!(
                f,
                "it went ahead by {by:.0?} more than has passed; it is believed if it stays so for \
                 {STANDS:?}"
            ),
            Self::AheadOfStore(by) => write!(f, "it is {by:.0?} ahead of the store's"),
        }
    }
}

/// Time since a compactor was made, by a clock that nobody sets.
#[derive(Clone)]
pub(super) struct Uptime(pub(super) Arc<dyn Fn() -> Duration + Send + Sync>);

impl Uptime {
    /// From now on.
    pub(super) fn new() -> Self {
        let began = Instant::now();
        Self(Arc::new(move || began.elapsed()))
    }

    /// The time that has passed.
    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uptime").field(&self.now()).finish()
    }
}

/// The clock as it was when it was believed last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    unix_nanos: i64,
    uptime: Duration,
    /// Since when it is ahead, by the uptime.
    ahead_since: Option<Duration>,
}

impl Watch {
    /// Begins: the clock is believed.
    pub(super) fn new(now_unix_nanos: i64, uptime: Duration) -> Self {
        Self { unix_nanos: now_unix_nanos, uptime, ahead_since: None }
    }

    /// Looks at the clock, and at the time that has passed by one that nobody sets.
    pub(super) fn look(&mut self, now_unix_nanos: i64, uptime: Duration) -> Option<Doubt> {
        let passed = nanos(uptime.saturating_sub(self.uptime));
        let ahead = now_unix_nanos.saturating_sub(self.unix_nanos).saturating_sub(passed);
        if ahead <= nanos(TOLERANCE) {
            // Set back, or adjusted: things are kept longer than they would be.
            *self = Self::new(now_unix_nanos, uptime);
            return None;
        }
        let since = *self.ahead_since.get_or_insert(uptime);
        if uptime.saturating_sub(since) >= STANDS {
            *self = Self::new(now_unix_nanos, uptime);
            return None;
        }
        Some(Doubt::Jumped(Duration::from_nanos(ahead.unsigned_abs())))
    }
}

/// Holds the clock against the store's.
pub(super) fn against_store(now_unix_nanos: i64, store_unix_nanos: i64) -> Option<Doubt> {
    let ahead = now_unix_nanos.saturating_sub(store_unix_nanos);
    let is_ahead = ahead > nanos(TOLERANCE);
    is_ahead.then(|| Doubt::AheadOfStore(Duration::from_nanos(ahead.unsigned_abs())))
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOUR, NOW};
    use super::*;

    const MINUTE: i64 = HOUR / 60;

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_believed_when_it_has_stood_by_it() {
        let mut watch = Watch::new(NOW, minutes(0));
        assert_eq!(watch.look(NOW + 10 * MINUTE, minutes(10)), None);
        assert_eq!(watch.look(NOW + 30 * MINUTE, minutes(20)), None, "ten minutes of error");
        let jumped = NOW + 1_000 * HOUR;
        let doubt = watch.look(jumped, minutes(21));
        assert!(matches!(doubt, Some(Doubt::Jumped(by)) if by > minutes(50_000)), "{doubt:?}");
        assert!(watch.look(jumped + 59 * MINUTE, minutes(80)).is_some());
        assert_eq!(watch.look(jumped + 60 * MINUTE, minutes(81)), None);
        assert_eq!(watch.look(jumped + 61 * MINUTE, minutes(82)), None);
    }

    #[test]
    fn a_clock_that_comes_back_was_wrong_in_between() {
        let mut watch = Watch::new(NOW, minutes(0));
        assert!(watch.look(NOW + 100 * HOUR, minutes(1)).is_some());
        assert_eq!(watch.look(NOW + 2 * MINUTE, minutes(2)), None);
        // The time of the next jump counts anew.
        assert!(watch.look(NOW + 100 * HOUR, minutes(61)).is_some());
        // Back is harmless, and forth again is a jump.
        assert_eq!(watch.look(NOW - 100 * HOUR, minutes(62)), None);
        assert!(watch.look(NOW + HOUR, minutes(63)).is_some());
    }

    #[test]
    fn the_stores_clock_is_a_witness() {
        assert_eq!(against_store(NOW, NOW + HOUR), None, "behind is harmless");
        assert_eq!(against_store(NOW + 15 * MINUTE, NOW), None);
        let expected = Some(Doubt::AheadOfStore(minutes(16)));
        assert_eq!(against_store(NOW + 16 * MINUTE, NOW), expected);
    }
}
