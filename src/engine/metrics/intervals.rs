//! The time axis of a metrics query (`metrics.md` 1.3 to 1.6): default step, alignment, and which
//! interval a span falls into. Pure; knows no clock.

use std::ops::Range;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Steps below a minute's range are multiples of this.
const FINEST: u64 = 50_000_000;

/// Intervals aimed at by the default step.
const DEFAULT_INTERVALS: u64 = 240;

/// Granularities of the default step, coarsest first.
const GRANULARITIES: [u64; 6] = [HOUR, 5 * MINUTE, MINUTE, 15 * SECOND, 5 * SECOND, SECOND];

/// Intervals of equal length, each open on the left and closed on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeAxis {
    /// Left edge of the first interval, unix nanoseconds; what starts exactly there is outside.
    pub start_unix_nanos: u64,
    /// Length of an interval, nanoseconds; at least 1.
    pub step_nanos: u64,
    /// Number of intervals; at least 1.
    pub n_intervals: usize,
}

/// Why there is no time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the message says")]
pub enum AxisError {
    /// Nothing lies between start and end.
    #[error("the range ends before it starts")]
    Empty,
    /// The step is zero.
    #[error("the step must be greater than zero")]
    NoStep,
    /// Too many intervals.
    #[error(
        "a step of {} gives {n_intervals} intervals, {max} are allowed; the smallest step for this \
         range is {}",
        seconds(*step_nanos),
        seconds(*smallest_step_nanos)
    )]
    TooManyIntervals { step_nanos: u64, n_intervals: u64, max: u64, smallest_step_nanos: u64 },
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn seconds(nanos: u64) -> String {
    format!("{}s", nanos as f64 / SECOND as f64)
}

/// The step of a range query that names none (1.3), by the length of its range in nanoseconds.
#[must_use]
pub fn default_step(range_nanos: u64) -> u64 {
    let by_length = range_nanos / DEFAULT_INTERVALS;
    if range_nanos < MINUTE {
        return if by_length > FINEST { by_length / FINEST * FINEST } else { FINEST };
    }
    GRANULARITIES
        .into_iter()
        .find(|granularity| by_length > *granularity)
        .map_or(SECOND, |granularity| by_length / granularity * granularity)
}

impl TimeAxis {
    /// The axis of a range query, aligned to multiples of the step (1.5). The first interval lies
    /// before `start`, the last one may reach beyond `end`.
    ///
    /// # Errors
    /// An empty range, a step of zero, or more than `max_intervals` (0 for no bound) (1.4).
    pub fn range(start: u64, end: u64, step: u64, max_intervals: u64) -> Result<Self, AxisError> {
        if start >= end {
            return Err(AxisError::Empty);
        }
        if step == 0 {
            return Err(AxisError::NoStep);
        }
        let asked = (end - start) / step;
        if max_intervals > 0 && asked > max_intervals {
            return Err(AxisError::TooManyIntervals {
                step_nanos: step,
                n_intervals: asked,
                max: max_intervals,
                smallest_step_nanos: (end - start).div_ceil(max_intervals),
            });
        }
        let mut first = start / step * step;
        if first > step {
            first -= step;
        }
        let n_intervals = usize::try_from(end.div_ceil(step) - first / step).unwrap_or(usize::MAX);
        Ok(Self { start_unix_nanos: first, step_nanos: step, n_intervals })
    }

    /// The axis of an instant query: one interval, not aligned (1.6).
    ///
    /// # Errors
    /// An empty range.
    pub fn instant(start: u64, end: u64) -> Result<Self, AxisError> {
        if start >= end {
            return Err(AxisError::Empty);
        }
        Ok(Self { start_unix_nanos: start, step_nanos: end - start, n_intervals: 1 })
    }

    /// Right edge of the last interval, unix nanoseconds.
    #[must_use]
    pub fn end_unix_nanos(&self) -> u64 {
        self.timestamp_unix_nanos(self.n_intervals.saturating_sub(1))
    }

    /// The time an interval's sample is stamped with: its right edge, unix nanoseconds.
    #[must_use]
    pub fn timestamp_unix_nanos(&self, interval: usize) -> u64 {
        let steps = (interval as u64).saturating_add(1).saturating_mul(self.step_nanos);
        self.start_unix_nanos.saturating_add(steps)
    }

    /// The interval of a span that starts at this time.
    #[must_use]
    pub fn interval_of(&self, start_unix_nanos: u64) -> Option<usize> {
        let since = start_unix_nanos.checked_sub(self.start_unix_nanos)?.checked_sub(1)?;
        let interval = usize::try_from(since / self.step_nanos).ok()?;
        (interval < self.n_intervals).then_some(interval)
    }

    /// Starts of spans that fall into any interval.
    #[must_use]
    pub fn starts(&self) -> Range<u64> {
        self.start_unix_nanos.saturating_add(1)..self.end_unix_nanos().saturating_add(1)
    }

    /// Length of an interval in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates are doubles")]
    pub fn step_seconds(&self) -> f64 {
        self.step_nanos as f64 / SECOND as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_step_follows_the_range() {
        let ms = |ms: u64| ms * 1_000_000;
        for (range, step) in [
            (ms(1_000), ms(50)),
            (ms(12_000), ms(50)),
            (ms(30_000), ms(100)),
            (ms(59_000), ms(200)),
            (ms(59_999), ms(200)),
            (MINUTE, SECOND),
            (5 * MINUTE, SECOND),
            (10 * MINUTE, 2 * SECOND),
            (15 * MINUTE, 3 * SECOND),
            (20 * MINUTE, 5 * SECOND),
            (30 * MINUTE, 5 * SECOND),
            (59 * MINUTE + ms(59_500), 10 * SECOND),
            (HOUR, 15 * SECOND),
            (2 * HOUR, 30 * SECOND),
            (3 * HOUR, 45 * SECOND),
            (4 * HOUR, MINUTE),
            (6 * HOUR, MINUTE),
            (12 * HOUR, 3 * MINUTE),
            (20 * HOUR + SECOND, 5 * MINUTE),
            (24 * HOUR, 5 * MINUTE),
            (48 * HOUR, 10 * MINUTE),
            (7 * 24 * HOUR, 40 * MINUTE),
        ] {
            assert_eq!(default_step(range), step, "{} s", range / SECOND);
        }
    }

    #[test]
    fn a_range_is_aligned_and_begins_one_step_early() {
        let base = 1_699_999_200 * SECOND;
        for (start, end, step, first, n) in [
            (0, 60, 15, -15_i64, 5),
            (7, 52, 15, -15, 5),
            (100, 160, 60, 0, 3),
            (1_800, 9_000, 3_600, -3_600, 4),
        ] {
            let at = |seconds: u64| base + seconds * SECOND;
            let axis = TimeAxis::range(at(start), at(end), step * SECOND, 0).unwrap();
            let expected = base.checked_add_signed(first * SECOND.cast_signed()).unwrap();
            assert_eq!((axis.start_unix_nanos, axis.n_intervals), (expected, n));
        }
        let early = TimeAxis::range(5, 25, 10, 0).unwrap();
        assert_eq!(early.start_unix_nanos, 0, "no interval lies before 1970");
    }

    #[test]
    fn intervals_are_open_on_the_left() {
        let base = 1_699_999_200 * SECOND;
        let axis = TimeAxis::range(base, base + 60 * SECOND, 15 * SECOND, 0).unwrap();
        let of =
            |tenths: i64| axis.interval_of(base.checked_add_signed(tenths * 100_000_000).unwrap());
        let found = [-151, -150, -100, 0, 50, 150, 155, 300, 599, 600, 601].map(of);
        let expected = [
            None,
            None,
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(2),
            Some(2),
            Some(4),
            Some(4),
            None,
        ];
        assert_eq!(found, expected);
        assert_eq!(axis.interval_of(base + 1), Some(1));
        assert_eq!(axis.timestamp_unix_nanos(0), base);
        assert_eq!(axis.end_unix_nanos(), base + 60 * SECOND);
        assert_eq!(axis.interval_of(0), None);
    }

    #[test]
    fn hostile_ranges_are_refused() {
        assert_eq!(TimeAxis::range(5, 5, 1, 0), Err(AxisError::Empty));
        assert_eq!(TimeAxis::instant(6, 5), Err(AxisError::Empty));
        assert_eq!(TimeAxis::range(1, 5, 0, 0), Err(AxisError::NoStep));
        let error = TimeAxis::range(0, 100 * SECOND, SECOND, 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a step of 1s gives 100 intervals, 10 are allowed; the smallest step for this range is 10s"
        );
        let whole = TimeAxis::range(0, u64::MAX, u64::MAX / 4, 10).unwrap();
        assert!(whole.interval_of(u64::MAX).is_some());
    }
}
