//! What numbers of a metrics query measure, and how people read them. Knows the functions of the
//! language, not where numbers come from.

use traceql_language::ir::{Arithmetic, Field, FieldName, Intrinsic, MetricsExpr, MetricsFunction};

use crate::units::{format_count, format_duration};

/// What a number measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Spans, or whatever an attribute counts.
    Number,
    /// Seconds, which people read as durations.
    Seconds,
    /// Spans a second.
    PerSecond,
}

/// Units of the numbers of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Units {
    /// Of samples.
    pub(crate) sample: Unit,
    /// Of the bounds of buckets.
    pub(crate) bucket: Unit,
}

/// Below this and from [`LARGE`] on numbers are written with an exponent.
const SMALL: f64 = 1e-3;
const LARGE: f64 = 1e15;

/// Bounds of what can be told as a duration, in seconds: a nanosecond, and about thirty years.
const DURATIONS: std::ops::Range<f64> = 1e-9..1e9;

impl Units {
    /// The units of what a query computes.
    pub(crate) fn of(expr: &MetricsExpr) -> Self {
        let number = Self { sample: Unit::Number, bucket: Unit::Number };
        match expr {
            MetricsExpr::Constant(_) => number,
            MetricsExpr::Query { function, .. } => match function {
                MetricsFunction::Rate => Self { sample: Unit::PerSecond, ..number },
                MetricsFunction::CountOverTime | MetricsFunction::Compare { .. } => number,
                MetricsFunction::HistogramOverTime(of) => Self { bucket: unit_of(of), ..number },
                MetricsFunction::MinOverTime(of)
                | MetricsFunction::MaxOverTime(of)
                | MetricsFunction::AvgOverTime(of)
                | MetricsFunction::SumOverTime(of)
                | MetricsFunction::QuantileOverTime { of, .. } => {
                    Self { sample: unit_of(of), ..number }
                }
            },
            MetricsExpr::Math { left, op, right, .. } => {
                let (left_units, right_units) = (Self::of(left), Self::of(right));
                let is_constant = |side: &MetricsExpr| matches!(side, MetricsExpr::Constant(_));
                let sample = match op {
                    Arithmetic::Add | Arithmetic::Subtract if is_constant(left) => {
                        right_units.sample
                    }
                    Arithmetic::Add | Arithmetic::Subtract if is_constant(right) => {
                        left_units.sample
                    }
                    Arithmetic::Add | Arithmetic::Subtract
                        if left_units.sample == right_units.sample =>
                    {
                        left_units.sample
                    }
                    Arithmetic::Multiply if is_constant(left) => right_units.sample,
                    Arithmetic::Multiply | Arithmetic::Divide if is_constant(right) => {
                        left_units.sample
                    }
                    _ => Unit::Number,
                };
                let bucket = match left_units.bucket {
                    Unit::Number => right_units.bucket,
                    unit => unit,
                };
                Self { sample, bucket }
            }
        }
    }
}

/// Durations come in seconds, whichever they are.
fn unit_of(field: &Field) -> Unit {
    match &field.name {
        FieldName::Intrinsic(
            Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart,
        ) => Unit::Seconds,
        _ => Unit::Number,
    }
}

impl Unit {
    /// A value as tables and legends show it, about three digits of it.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => String::new(),
            Self::Number => number(value),
            Self::PerSecond => format!("{}/s", number(value)),
            Self::Seconds => seconds(value),
        }
    }

    /// A value of an axis whose values are multiples of `step` up to `largest`: all of them in one
    /// unit, with as many decimals as the step needs.
    pub(crate) fn tick(self, value: f64, step: f64, largest: f64) -> String {
        let suffix = match self {
            Self::Number => "",
            Self::PerSecond => "/s",
            Self::Seconds => "s",
        };
        if value == 0.0 {
            return format!("0{suffix}");
        }
        let scale = match self {
            Self::Seconds if DURATIONS.contains(&largest) => Some(&SECONDS[..]),
            // Prefixes of small numbers would be taken for units of time.
            Self::Number | Self::PerSecond
                if largest < LARGE && (step >= SMALL || largest >= 1e4) =>
            {
                Some(&THOUSANDS[..])
            }
            _ => None,
        };
        let prefix = scale.and_then(|scale| scale.iter().rfind(|prefix| largest >= prefix.from));
        let Some(prefix) = prefix.filter(|prefix| exponent(step / prefix.unit) >= -3) else {
            let digits = usize::try_from(exponent(value) - exponent(step)).unwrap_or(0).min(3);
            return format!("{value:.digits$e}{suffix}");
        };
        let decimals = usize::try_from(-exponent(step / prefix.unit)).unwrap_or(0);
        let suffix = if self == Self::PerSecond { suffix } else { "" };
        format!("{:.decimals$}{}{suffix}", value / prefix.unit, prefix.name)
    }
}

/// A unit that values are told in from a certain size on.
struct Prefix {
    from: f64,
    unit: f64,
    name: &'static str,
}

const fn prefix(from: f64, unit: f64, name: &'static str) -> Prefix {
    Prefix { from, unit, name }
}

/// Four digits are read as they are.
const THOUSANDS: [Prefix; 5] = [
    prefix(0.0, 1.0, ""),
    prefix(1e4, 1e3, "k"),
    prefix(1e6, 1e6, "M"),
    prefix(1e9, 1e9, "G"),
    prefix(1e12, 1e12, "T"),
];

/// An axis that goes up to two minutes is read in seconds.
const SECONDS: [Prefix; 7] = [
    prefix(0.0, 1e-9, "ns"),
    prefix(1e-6, 1e-6, "µs"),
    prefix(1e-3, 1e-3, "ms"),
    prefix(1.0, 1.0, "s"),
    prefix(120.0, 60.0, "m"),
    prefix(7_200.0, 3_600.0, "h"),
    prefix(172_800.0, 86_400.0, "d"),
];

/// The power of ten of the first digit.
fn exponent(value: f64) -> i32 {
    let exponent = value.abs().log10();
    // A step of 0.05 has its first digit where 0.01 has, however the logarithm is rounded.
    #[expect(clippy::cast_possible_truncation, reason = "exponents of doubles are below 400")]
    if exponent.is_finite() { (exponent + 1e-9).floor() as i32 } else { 0 }
}

fn number(value: f64) -> String {
    const SI: [(f64, &str); 3] = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
    let size = value.abs();
    if !value.is_finite() {
        return infinite(value).to_owned();
    }
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(SMALL..LARGE).contains(&size) {
        return format!("{value:.2e}");
    }
    if let Some((unit, name)) = SI.into_iter().find(|(unit, _)| size >= *unit) {
        return format!("{}{name}", rounded(value / unit, 2));
    }
    match exponent(value) {
        3.. => with_separators(value),
        2 => rounded(value, 1),
        0 | 1 => rounded(value, 2),
        small => rounded(value, usize::try_from(2 - small).unwrap_or(0)),
    }
}

fn seconds(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return infinite(value).to_owned();
    }
    if size == 0.0 {
        return "0s".to_owned();
    }
    if !DURATIONS.contains(&size) {
        return format!("{value:.2e}s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 1 and 10^18"
    )]
    let nanos = (size * 1e9).round() as u64;
    format!("{}{}", if value < 0.0 { "-" } else { "" }, format_duration(nanos))
}

fn infinite(value: f64) -> &'static str {
    if value > 0.0 { "inf" } else { "-inf" }
}

/// So many decimals, less the zeros at the end.
fn rounded(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A whole number below a million or so.
fn with_separators(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and below 10^6"
    )]
    let count = value.abs().round() as u64;
    format!("{}{}", if value < 0.0 { "-" } else { "" }, format_count(count))
}

#[cfg(test)]
mod tests {
    use traceql_language::{Dialect, compile};

    use super::*;

    fn units(query: &str) -> (Unit, Unit) {
        let query = compile(query, Dialect::Default).unwrap();
        let Units { sample, bucket } = Units::of(&query.metrics.unwrap());
        (sample, bucket)
    }

    #[test]
    fn units_follow_from_the_query() {
        use Unit::{Number, PerSecond, Seconds};
        for (query, sample, bucket) in [
            ("{ } | rate()", PerSecond, Number),
            ("{ } | count_over_time() by (name)", Number, Number),
            ("{ } | quantile_over_time(duration, .9)", Seconds, Number),
            ("{ } | max_over_time(traceDuration)", Seconds, Number),
            ("{ } | sum_over_time(span.bytes)", Number, Number),
            ("{ } | histogram_over_time(duration)", Number, Seconds),
            ("{ } | histogram_over_time(span.bytes)", Number, Number),
            ("({ status = error } | rate()) / ({ } | rate())", Number, Number),
            ("({ } | rate()) * 60", PerSecond, Number),
            ("2 * ({ } | avg_over_time(duration))", Seconds, Number),
            ("({ } | max_over_time(duration)) - ({ } | min_over_time(duration))", Seconds, Number),
            ("1 / ({ } | avg_over_time(duration))", Number, Number),
        ] {
            assert_eq!(units(query), (sample, bucket), "{query}");
        }
    }

    #[test]
    fn values_have_about_three_digits() {
        for (value, number, seconds) in [
            (0.0, "0", "0s"),
            (1.0, "1", "1s"),
            (0.066_666_666, "0.0667", "66.6ms"),
            (0.5, "0.5", "500ms"),
            (12.345, "12.35", "12.3s"),
            (123.45, "123.5", "2m 3s"),
            (-1234.6, "-1,235", "-20m 34s"),
            (2_345_678.0, "2.35M", "27d 3h"),
            (1e20, "1.00e20", "1.00e20s"),
            (1.5e-7, "1.50e-7", "150ns"),
            (1e-12, "1.00e-12", "1.00e-12s"),
            (5e-324, "4.94e-324", "4.94e-324s"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
            (f64::NAN, "", ""),
        ] {
            assert_eq!(Unit::Number.text(value), number, "{value}");
            assert_eq!(Unit::Seconds.text(value), seconds, "{value}");
        }
        assert_eq!(Unit::PerSecond.text(2.5), "2.5/s");
    }

    #[test]
    fn ticks_of_an_axis_are_alike() {
        let ticks = |unit: Unit, step: f64, n: u32| {
            let largest = step * f64::from(n);
            let ticks = (0..=n).map(|i| unit.tick(step * f64::from(i), step, largest));
            ticks.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ticks(Unit::Number, 5.0, 3), "0 5 10 15");
        assert_eq!(ticks(Unit::Number, 0.05, 3), "0 0.05 0.10 0.15");
        assert_eq!(ticks(Unit::Number, 2_000.0, 4), "0 2000 4000 6000 8000");
        assert_eq!(ticks(Unit::Number, 5_000.0, 3), "0 5k 10k 15k");
        assert_eq!(ticks(Unit::Number, 500_000.0, 3), "0 0.5M 1.0M 1.5M");
        assert_eq!(ticks(Unit::Number, 2e-5, 3), "0 2e-5 4e-5 6e-5");
        assert_eq!(ticks(Unit::Number, 5e-6, 3), "0 5e-6 1.0e-5 1.5e-5");
        assert_eq!(ticks(Unit::Number, 1e300, 2), "0 1e300 2e300");
        assert_eq!(ticks(Unit::PerSecond, 0.5, 2), "0/s 0.5/s 1.0/s");
        assert_eq!(ticks(Unit::Seconds, 0.05, 3), "0s 50ms 100ms 150ms");
        assert_eq!(ticks(Unit::Seconds, 0.5, 3), "0s 0.5s 1.0s 1.5s");
        assert_eq!(ticks(Unit::Seconds, 5e-7, 3), "0s 0.5µs 1.0µs 1.5µs");
        assert_eq!(ticks(Unit::Seconds, 60.0, 3), "0s 1m 2m 3m");
        assert_eq!(ticks(Unit::Seconds, 3600.0, 3), "0s 1h 2h 3h");
    }
}
