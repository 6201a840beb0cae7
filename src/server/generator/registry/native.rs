//! Buckets of a native histogram: of schema `s`, bucket `i` holds what lies in
//! `(2^((i-1)/2^s), 2^(i/2^s)]`. They start at factor 1.1 (schema 3, 1.09); when there are too many,
//! the histogram begins anew if it is old enough, else every two become one.

use std::collections::BTreeMap;

/// The finest schema whose buckets grow by no more than the factor 1.1 that is Tempo's default.
const SCHEMA: i32 = 3;
/// Coarser than this there is not: a bucket then spans 2^16.
const MIN_SCHEMA: i32 = -4;
/// Most buckets of a histogram.
const MAX_BUCKETS: usize = 100;
/// A histogram that is older begins anew instead of becoming coarser.
const RESET_NANOS: u64 = 15 * 60 * 1_000_000_000;

/// A native histogram of values that are not negative.
#[derive(Debug)]
pub(in crate::generator) struct Native {
    pub(in crate::generator) schema: i32,
    pub(in crate::generator) zero_count: f64,
    pub(in crate::generator) buckets: BTreeMap<i32, f64>,
    pub(in crate::generator) sum: f64,
    pub(in crate::generator) count: f64,
    reset_unix_nanos: u64,
}

impl Native {
    /// Below this a value counts as 0: 2^-128, as Prometheus' clients have it.
    pub(in crate::generator) const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

    pub(super) fn new(now_unix_nanos: u64) -> Self {
        Self {
            schema: SCHEMA,
            zero_count: 0.0,
            buckets: BTreeMap::new(),
            sum: 0.0,
            count: 0.0,
            reset_unix_nanos: now_unix_nanos,
        }
    }

    pub(super) fn observe(&mut self, value: f64, weight: f64, now_unix_nanos: u64) {
        self.sum += value * weight;
        self.count += weight;
        if value <= Self::ZERO_THRESHOLD {
            self.zero_count += weight;
            return;
        }
        *self.buckets.entry(bucket_of(value, self.schema)).or_default() += weight;
        if self.buckets.len() <= MAX_BUCKETS {
            return;
        }
        if now_unix_nanos.saturating_sub(self.reset_unix_nanos) >= RESET_NANOS {
            *self = Self::new(now_unix_nanos);
            self.observe(value, weight, now_unix_nanos);
            return;
        }
        while self.buckets.len() > MAX_BUCKETS && self.schema > MIN_SCHEMA {
            self.schema -= 1;
            let mut coarser = BTreeMap::new();
            for (&idx, &count) in &self.buckets {
                // Buckets 2i-1 and 2i become bucket i.
                *coarser.entry((idx + 1) >> 1).or_default() += count;
            }
            self.buckets = coarser;
        }
    }
}

/// The bucket of a positive value.
fn bucket_of(value: f64, schema: i32) -> i32 {
    let scale = f64::from(schema).exp2();
    #[expect(clippy::cast_possible_truncation, reason = "exponents of doubles are below 2^11")]
    let mut idx = (value.log2() * scale).ceil() as i32;
    // The logarithm is rounded; bounds decide.
    while bound_of(idx - 1, schema) >= value {
        idx -= 1;
    }
    while bound_of(idx, schema) < value {
        idx += 1;
    }
    idx
}

/// Upper bound of a bucket, inclusive.
fn bound_of(idx: i32, schema: i32) -> f64 {
    (f64::from(idx) / f64::from(schema).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_above() {
        for (value, schema, bucket) in [
            (1.0, 3, 0),
            (1.000_001, 3, 1),
            (2.0, 3, 8),
            (0.5, 3, -8),
            (3.0, 0, 2),
            (65536.0, -4, 1),
        ] {
            assert_eq!(bucket_of(value, schema), bucket, "{value} at schema {schema}");
        }
    }

    #[test]
    fn too_many_buckets_become_coarser_and_lose_nothing() {
        let mut native = Native::new(0);
        for k in 0..400 {
            native.observe(f64::from(k).exp2().powf(0.1), 1.0, 1);
        }
        native.observe(0.0, 1.0, 1);
        assert!(native.buckets.len() <= MAX_BUCKETS);
        assert!(native.schema < SCHEMA);
        assert_eq!(native.buckets.values().sum::<f64>() + native.zero_count, native.count);
        assert_eq!(native.count, 401.0);
        for (&idx, &count) in &native.buckets {
            let within = (0..400)
                .filter(|&k| bucket_of(f64::from(k).exp2().powf(0.1), native.schema) == idx);
            assert_eq!(within.count() as f64, count, "bucket {idx}");
        }
    }

    #[test]
    fn an_old_one_begins_anew() {
        let mut native = Native::new(0);
        for k in 0..101 {
            native.observe(f64::from(k).exp2(), 1.0, RESET_NANOS);
        }
        assert_eq!((native.schema, native.count, native.buckets.len()), (SCHEMA, 1.0, 1));
    }
}
