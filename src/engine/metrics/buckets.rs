//! Buckets of powers of two, and quantiles interpolated in them (`metrics.md` 2.4). Of section 0,
//! rows 4 and 5: every number has a bucket; those that are not positive share bucket zero.

/// A bucket: the exponent of its bound, or [`ZERO`]. Orders as the bounds do.
pub(super) type Bucket = i32;

/// The bucket of everything that is not positive; its bound is 0.
pub(super) const ZERO: Bucket = i32::MIN;

/// The bucket of a whole number: the smallest power of two that is not below it.
pub(super) fn of_int(value: i64) -> Bucket {
    match u64::try_from(value) {
        Ok(value @ 1..) => (u64::BITS - (value - 1).leading_zeros()).cast_signed(),
        _ => ZERO,
    }
}

/// The bucket of a double, which may be below one. None for what is no number.
pub(super) fn of_float(value: f64) -> Option<Bucket> {
    if value.is_nan() {
        return None;
    }
    if value <= 0.0 {
        return Some(ZERO);
    }
    if value.is_infinite() {
        return Some(f64::MAX_EXP);
    }
    // The exponent of the power of two at or below the value, read off its bits.
    let bits = value.to_bits();
    let (exponent, mantissa) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let exponent = i32::try_from(exponent).unwrap_or(0);
    Some(if exponent == 0 {
        // Below the normal numbers: mantissa times 2^-1074.
        of_int(mantissa.cast_signed()) - 1_074
    } else {
        exponent - 1_023 + i32::from(mantissa != 0)
    })
}

/// The bound of a bucket in the unit of the values.
pub(super) fn bound(bucket: Bucket) -> f64 {
    if bucket == ZERO { 0.0 } else { f64::from(bucket).exp2() }
}

/// The quantile of some counts by ascending bucket, in units of `scale` (bounds are divided by it).
/// No counts give zero.
pub(super) fn quantile(counts: &[(Bucket, f64)], p: f64, scale: f64) -> f64 {
    // Weights are cut to whole numbers before the walk (2.4).
    let whole = |count: f64| count.trunc();
    let total: f64 = counts.iter().map(|(_, count)| whole(*count)).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let needed = (p * total).ceil().max(1.0);
    let mut consumed = 0.0;
    let mut previous = None;
    for (bucket, count) in counts.iter().map(|(bucket, count)| (*bucket, whole(*count))) {
        if count <= 0.0 {
            continue;
        }
        if consumed + count > needed {
            if bucket == ZERO {
                return 0.0;
            }
            let share = (needed - consumed) / count;
            let high = f64::from(bucket);
            let low = previous.unwrap_or(high - 1.0);
            return (low + (high - low) * share).exp2() / scale;
        }
        consumed += count;
        if consumed >= needed {
            return bound(bucket) / scale;
        }
        // Bucket zero is no start for interpolation.
        previous = (bucket != ZERO).then(|| f64::from(bucket));
    }
    counts.last().map_or(0.0, |(bucket, _)| bound(*bucket) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_bucket() {
        for (value, expected) in [
            (i64::MIN, 0.0),
            (-1, 0.0),
            (0, 0.0),
            (1, 1.0),
            (2, 2.0),
            (3, 4.0),
            (5, 8.0),
            (8, 8.0),
            (1_000, 1_024.0),
            (1_024, 1_024.0),
            (1_025, 2_048.0),
            (1_000_000, 1_048_576.0),
            (i64::MAX, 9_223_372_036_854_775_808.0),
        ] {
            assert_eq!(bound(of_int(value)), expected, "{value}");
        }
        for (value, expected) in [
            (-0.5, 0.0),
            (0.0, 0.0),
            (0.25, 0.25),
            (0.3, 0.5),
            (1.0, 1.0),
            (2.5, 4.0),
            (f64::MIN_POSITIVE, f64::MIN_POSITIVE),
            (5e-324, 5e-324),
            (1.5e-323, 2e-323),
            (f64::INFINITY, f64::INFINITY),
        ] {
            assert_eq!(of_float(value).map(bound), Some(expected), "{value}");
        }
        assert_eq!(of_float(f64::NAN), None);
        assert!(ZERO < of_float(5e-324).unwrap());
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn quantiles_are_interpolated_between_occupied_buckets() {
        let nanos = [(10, 3.0), (11, 3.0), (13, 1.0)];
        for (p, expected) in [
            (0.1, 6.450795775461738e-07),
            (0.5, 1.2901591550923477e-06),
            (0.75, 2.048e-06),
            (0.99, 8.192e-06),
        ] {
            near(quantile(&nanos, p, 1e9), expected);
        }
        let ints = [(0, 2.0), (1, 5.0), (2, 3.0)];
        for (p, expected) in [
            (0.0, std::f64::consts::FRAC_1_SQRT_2),
            (0.2, 1.0),
            (0.25, 1.14869835499),
            (0.5, 1.51571656651),
            (0.7, 2.0),
            (0.75, 2.51984209979),
            (0.9, 3.17480210394),
            (0.95, 4.0),
            (1.0, 4.0),
        ] {
            assert!((quantile(&ints, p, 1.0) - expected).abs() < 1e-8, "{p}");
        }
        let gap = [(1, 10.0), (10, 10.0)];
        assert!((quantile(&gap, 0.51, 1.0) - 3.7321319661).abs() < 1e-8);
        assert!((quantile(&gap, 0.75, 1.0) - 45.2548339959).abs() < 1e-8);
    }

    #[test]
    fn bucket_zero_is_no_start_for_interpolation() {
        let counts = [(ZERO, 2.0), (3, 2.0)];
        assert_eq!(quantile(&counts, 0.5, 1.0), 0.0);
        assert_eq!(quantile(&counts, 0.25, 1.0), 0.0);
        near(quantile(&counts, 0.75, 1.0), 2_f64.powf(2.5));
        assert_eq!(quantile(&[], 0.5, 1.0), 0.0);
    }
}
