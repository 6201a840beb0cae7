//! Spans that stand for samples (`metrics.md` section 5): at most one of a trace, spread over the
//! range. Which ones is not defined; these are the first met, so that full parts of the range cost
//! nothing more.

use super::{Exemplar, TimeAxis};

/// Exemplars that share one part of the range, if there are intervals for so many parts.
const PER_PART: usize = 2;

/// How many exemplars have been kept, and where.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    limit: usize,
    kept: usize,
    per_part: usize,
    parts: Vec<usize>,
}

impl Spread {
    /// Only intervals tell times apart: where they are few, each has room for more exemplars.
    pub(crate) fn new(limit: usize, axis: &TimeAxis) -> Self {
        let n_parts = limit.div_ceil(PER_PART).min(axis.n_intervals).max(1);
        Self { limit, kept: 0, per_part: limit.div_ceil(n_parts), parts: vec![0; n_parts] }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.kept >= self.limit
    }

    /// True if a span of this interval is kept; it takes the place.
    pub(crate) fn take(&mut self, interval: usize, axis: &TimeAxis) -> bool {
        if self.is_full() {
            return false;
        }
        let part = interval.saturating_mul(self.parts.len()) / axis.n_intervals.max(1);
        let part = part.min(self.parts.len() - 1);
        if self.parts[part] >= self.per_part {
            return false;
        }
        self.parts[part] += 1;
        self.kept += 1;
        true
    }
}

/// By time; of equal times those with the smaller trace id first.
pub(crate) fn by_time(exemplars: &mut [Exemplar]) {
    exemplars.sort_by(|a, b| {
        let id = |exemplar: &Exemplar| exemplar.labels.first().map(|label| label.value.to_text());
        a.timestamp_unix_nanos.cmp(&b.timestamp_unix_nanos).then_with(|| id(a).cmp(&id(b)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_are_spread_over_the_range() {
        let axis = TimeAxis { start_unix_nanos: 1_000, step_nanos: 100, n_intervals: 20 };
        let mut spread = Spread::new(10, &axis);
        let kept = (0..60).map(|n| n / 3).filter(|at| spread.take(*at, &axis)).collect::<Vec<_>>();
        assert_eq!(kept, [0, 0, 4, 4, 8, 8, 12, 12, 16, 16]);
        assert!(spread.is_full());
        assert!(!Spread::new(0, &axis).take(3, &axis));
        assert!(Spread::new(1, &axis).take(usize::MAX, &axis));
        let coarse = TimeAxis { n_intervals: 3, ..axis };
        let mut spread = Spread::new(10, &coarse);
        let kept = (0..60).map(|n| n / 20).filter(|at| spread.take(*at, &coarse));
        assert_eq!(kept.collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
    }
}
