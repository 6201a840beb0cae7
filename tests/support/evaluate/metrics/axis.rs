//! The time axis (`metrics.md` 1.3 to 1.6): aligned intervals of a range query, the one interval of an
//! instant query. Written from the specification in wide integers, so that nothing can overflow. It
//! must not know spans, and shares nothing with `engine::metrics::TimeAxis`, which is held against it.

use super::Refusal;

const MILLISECOND: i128 = 1_000_000;
const SECOND: i128 = 1_000 * MILLISECOND;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;

/// What a query is asked over; times in unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// A sample per step.
    Range {
        /// As the client sends it.
        start: u64,
        /// As the client sends it.
        end: u64,
        /// Nanoseconds; without it, the default step (1.3).
        step: Option<u64>,
    },
    /// One sample.
    Instant {
        /// Not part of the interval.
        start: u64,
        /// Part of the interval.
        end: u64,
    },
}

/// Equally long intervals, open on the left and closed on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Left edge of the first interval, unix nanoseconds.
    pub(crate) start: i128,
    /// Length of an interval, nanoseconds.
    pub(crate) step: i128,
    /// Number of intervals.
    pub(crate) n_intervals: usize,
}

impl Axis {
    /// 1.4 (rows 1 and 4), 1.5 and 1.6.
    pub(crate) fn of(when: When) -> Result<Self, Refusal> {
        let (start, end) = match when {
            When::Range { start, end, .. } | When::Instant { start, end } => {
                (i128::from(start), i128::from(end))
            }
        };
        if start >= end {
            return Err(Refusal::NoAxis);
        }
        let When::Range { step, .. } = when else {
            return Ok(Self { start, step: end - start, n_intervals: 1 });
        };
        let step = step.map_or_else(|| default_step(end - start), i128::from);
        if step == 0 {
            return Err(Refusal::NoAxis);
        }
        let floor = start / step * step;
        let first = if floor - step > 0 { floor - step } else { floor };
        let last = if end % step == 0 { end } else { end / step * step + step };
        let n_intervals = usize::try_from((last - first) / step).expect("an axis of a test");
        Ok(Self { start: first, step, n_intervals })
    }

    /// Right edge of an interval, which is what its sample is stamped with; unix nanoseconds.
    pub(crate) fn timestamp(&self, interval: usize) -> i128 {
        self.start + self.step * (i128::try_from(interval).expect("an axis of a test") + 1)
    }

    /// Right edge of the last interval.
    pub(crate) fn end(&self) -> i128 {
        self.timestamp(self.n_intervals - 1)
    }

    /// The interval that contains a start time.
    pub(crate) fn interval_of(&self, start_unix_nanos: u64) -> Option<usize> {
        let since = i128::from(start_unix_nanos) - self.start;
        if since <= 0 || i128::from(start_unix_nanos) > self.end() {
            return None;
        }
        // Right edges belong to the interval that they close.
        usize::try_from((since - 1) / self.step).ok()
    }

    /// The factor that makes a rate of a count (2.1): one over the seconds of a step.
    #[expect(clippy::cast_precision_loss, reason = "rates are doubles")]
    pub(crate) fn per_second(&self) -> f64 {
        1.0 / (self.step as f64 / SECOND as f64)
    }
}

/// 1.3: the step of a range of so many nanoseconds.
fn default_step(length: i128) -> i128 {
    let by_length = length / 240;
    if length < MINUTE {
        let finest = 50 * MILLISECOND;
        return if by_length > finest { by_length / finest * finest } else { finest };
    }
    for granularity in [HOUR, 5 * MINUTE, MINUTE, 15 * SECOND, 5 * SECOND, SECOND] {
        if by_length > granularity {
            return by_length / granularity * granularity;
        }
    }
    SECOND
}
