//! Buckets of powers of two and quantiles over them (`metrics.md` 2.4, with rows 3 to 5 of section 0).
//! It must not know spans or series.
//!
//! Choices made where the specification is silent:
//! - A float above 2^1023, an infinite one and NaN have no bucket, since no double that is a power of
//!   two is as large; the span is passed over like one without a number.

use std::collections::BTreeMap;

use traceql_engine::search::Value;

/// Counts by bucket. Keys are the bits of the bound, which order as the bounds do: none is negative.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets(BTreeMap<u64, f64>);

impl Buckets {
    /// Counts a span so often.
    pub(super) fn add(&mut self, bound: f64, weight: f64) {
        *self.0.entry(bound.to_bits()).or_default() += weight;
    }

    /// 2.4: the value below which a share `p` of the counted spans lies; 0 without any.
    pub(super) fn quantile(&self, p: f64) -> f64 {
        // Extrapolated counts are cut to whole ones first.
        let counts: Vec<(f64, f64)> =
            self.0.iter().map(|(bits, count)| (f64::from_bits(*bits), count.trunc())).collect();
        let total: f64 = counts.iter().map(|(_, count)| count).sum();
        if total == 0.0 {
            return 0.0;
        }
        let need = (p * total).ceil().max(1.0);
        let mut consumed = 0.0;
        let mut previous = None;
        for (bound, count) in counts {
            if consumed + count > need {
                return within(previous, bound, (need - consumed) / count);
            }
            consumed += count;
            if consumed == need {
                return bound;
            }
            previous = Some(bound);
        }
        unreachable!("all spans were consumed, and no more can be needed")
    }
}

/// 2.4: a share of a bucket, measured in powers of two from the bucket below that is occupied. Section
/// 0 row 4: the bucket 0 is 0 throughout, and nothing is measured from it.
fn within(previous: Option<f64>, bound: f64, share: f64) -> f64 {
    if bound == 0.0 {
        return 0.0;
    }
    let high = bound.log2();
    let low = match previous {
        Some(previous) if previous > 0.0 => previous.log2(),
        _ => high - 1.0,
    };
    2.0_f64.powf(low + (high - low) * share)
}

/// 2.2 and 2.4: the upper bound of the bucket of a value, durations in seconds.
pub(super) fn bound(value: &Value) -> Option<f64> {
    match value {
        Value::Duration(nanos) => Some(whole(*nanos) / 1e9),
        Value::Int(number) => Some(whole(*number)),
        Value::Float(number) => fractional(*number),
        _ => None,
    }
}

/// The smallest power of two that is not below a whole number; 0 if it is not positive.
fn whole(number: i64) -> f64 {
    if number <= 0 {
        return 0.0;
    }
    let mut bound: u128 = 1;
    let mut as_double = 1.0;
    while bound < u128::from(number.unsigned_abs()) {
        bound *= 2;
        as_double *= 2.0;
    }
    as_double
}

/// The same for a float, below 1 too.
fn fractional(number: f64) -> Option<f64> {
    if number.is_nan() {
        return None;
    }
    if number <= 0.0 {
        return Some(0.0);
    }
    let mut bound = 1.0;
    while bound < number {
        bound *= 2.0;
        if bound == f64::INFINITY {
            return None;
        }
    }
    while bound / 2.0 >= number {
        bound /= 2.0;
    }
    Some(bound)
}
