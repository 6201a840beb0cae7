//! Values kept for exact quantiles (`with(exact=true)`), and what takes their place when they are too
//! many: counts in buckets whose bounds are one per cent apart (DDSketch, Masson, Rim and Lee, VLDB
//! 2019), so that a quantile is wrong by half a per cent at most.

use std::collections::BTreeMap;

use super::cells::Accumulator;

/// Ratio of neighbouring bounds.
const GAMMA: f64 = 1.01;

/// How far a sketched quantile may lie from the exact one, relative to it.
pub(super) const RELATIVE_ERROR: f64 = (GAMMA - 1.0) / (GAMMA + 1.0);

/// A bucket of a sketch: sign, then number; orders as the values do.
pub(super) type SketchBucket = (i32, i32);

/// The values of one interval, all of them or a sketch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranks {
    pub(super) values: Vec<f64>,
    pub(super) sketch: BTreeMap<SketchBucket, u64>,
}

impl Ranks {
    pub(super) fn add(&mut self, value: f64, sketched: bool) {
        if sketched {
            self.sketch_values();
            *self.sketch.entry(bucket(value)).or_default() += 1;
        } else {
            self.values.push(value);
        }
    }

    /// Gives the values up for counts.
    pub(super) fn sketch_values(&mut self) {
        for value in std::mem::take(&mut self.values) {
            *self.sketch.entry(bucket(value)).or_default() += 1;
        }
    }

    /// The smallest value that at least a share `p` of all values do not exceed; zero of none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^53"
    )]
    pub(super) fn quantile(&self, p: f64) -> f64 {
        let rank = |n: u64| ((p * n as f64).ceil() as u64).clamp(1, n.max(1));
        if self.sketch.is_empty() {
            let mut values = self.values.clone();
            if values.is_empty() {
                return 0.0;
            }
            let at = usize::try_from(rank(values.len() as u64) - 1).unwrap_or(usize::MAX);
            let at = at.min(values.len() - 1);
            let (_, value, _) = values.select_nth_unstable_by(at, f64::total_cmp);
            return *value;
        }
        let mut whole = self.clone();
        whole.sketch_values();
        let mut wanted = rank(whole.sketch.values().sum());
        for (bucket, n) in &whole.sketch {
            if *n >= wanted {
                return middle(*bucket);
            }
            wanted -= n;
        }
        0.0
    }
}

fn bucket(value: f64) -> SketchBucket {
    #[expect(clippy::cast_possible_truncation, reason = "a double's logarithm is below 72,000")]
    let number = |value: f64| (value.ln() / GAMMA.ln()).ceil().clamp(-1e6, 1e6) as i32;
    if value > 0.0 {
        (1, number(value))
    } else if value < 0.0 {
        (-1, -number(-value))
    } else {
        (0, 0)
    }
}

/// The value in a bucket from which no value of it is further than the relative error.
fn middle((sign, number): SketchBucket) -> f64 {
    let of = |number: i32| 2.0 * (f64::from(number) * GAMMA.ln()).exp() / (GAMMA + 1.0);
    match sign {
        1 => of(number),
        -1 => -of(-number),
        _ => 0.0,
    }
}

impl Accumulator for Ranks {
    fn merge(&mut self, other: &Self) {
        self.values.extend_from_slice(&other.values);
        for (bucket, n) in &other.sketch {
            *self.sketch.entry(*bucket).or_default() += n;
        }
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.sketch.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        self.values.capacity() * 8 + self.sketch.len() * 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut ranks = Ranks::default();
        for value in [5.0, -1.0, 3.0, 0.0] {
            ranks.add(value, false);
        }
        let found = [0.0, 0.25, 0.5, 0.51, 0.75, 1.0].map(|p| ranks.quantile(p));
        assert_eq!(found, [-1.0, -1.0, 0.0, 3.0, 3.0, 5.0]);
        assert_eq!(Ranks::default().quantile(0.5), 0.0);
    }

    #[test]
    fn a_sketch_stays_within_its_error() {
        let mut exact = Ranks::default();
        let mut sketched = Ranks::default();
        for n in -500..1_500_i32 {
            let value = f64::from(n).powi(3) / 7.0;
            exact.add(value, false);
            sketched.add(value, n > 0);
        }
        for p in [0.0, 0.1, 0.25, 0.3, 0.5, 0.9, 0.99, 1.0] {
            let (wanted, found) = (exact.quantile(p), sketched.quantile(p));
            let error = (wanted - found).abs();
            assert!(error <= RELATIVE_ERROR * wanted.abs() + 1e-9, "{p}: {found} for {wanted}");
        }
    }
}
