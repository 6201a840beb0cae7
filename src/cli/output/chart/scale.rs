//! A value axis: where it begins and ends, and which values it names. Knows no rows.

use crate::output::metrics::unit::Unit;

/// An axis from a nice number to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    step: f64,
    unit: Unit,
}

/// Zero belongs to the axis unless all values lie in the last fifth before its end.
const FAR_FROM_ZERO: f64 = 0.8;

/// Seconds that clocks make steps of, from a quarter of a minute to a day.
const CLOCK_STEPS: [f64; 14] = [
    15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 21_600.0,
    43_200.0, DAY,
];
const DAY: f64 = 86_400.0;

impl Scale {
    /// An axis for all finite ones of the values, with about so many steps.
    pub(super) fn new(values: impl Iterator<Item = f64>, n_steps: usize, unit: Unit) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let bounds = finite.fold(None, |bounds: Option<(f64, f64)>, value| {
            Some(bounds.map_or((value, value), |(min, max)| (min.min(value), max.max(value))))
        });
        let (min, max) = with_zero(bounds.unwrap_or((0.0, 0.0)));
        let step = step(distance(min, max), n_steps.max(2), unit);
        let (low, high) = ((min / step).floor() * step, (max / step).ceil() * step);
        match low.is_finite() && high.is_finite() && low < high {
            true => Self { low, high, step, unit },
            false => Self { low: min, high: max, step: distance(min, max), unit },
        }
    }

    /// Where a value lies, 0 at the lower end, 1 at the upper; what lies beyond lies at the end.
    pub(super) fn position(&self, value: f64) -> f64 {
        if value >= self.high {
            return 1.0;
        }
        let position = distance(self.low, value) / distance(self.low, self.high);
        if position.is_nan() { 0.0 } else { position.clamp(0.0, 1.0) }
    }

    /// The values named, from low to high, and what they are called.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        /// More than asked for by any height, so that a rounding error cannot make millions.
        const MAX_STEPS: u32 = 32;
        let largest = self.low.abs().max(self.high.abs());
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for n in 0..=MAX_STEPS {
            // Half a step more than the end catches a last one that was rounded up.
            let value = self.low + f64::from(n) * self.step;
            if value.is_nan() || value > self.high + self.step / 2.0 {
                break;
            }
            let value = if value.abs() < self.step / 1e6 { 0.0 } else { value.min(self.high) };
            let name = self.unit.tick(value, self.step, largest);
            if ticks.last().is_none_or(|(_, before)| *before != name) {
                ticks.push((value, name));
            }
        }
        ticks
    }
}

/// Widens bounds to include zero, unless they are far from it, and to include more than one value.
fn with_zero((min, max): (f64, f64)) -> (f64, f64) {
    if min == 0.0 && max == 0.0 {
        (0.0, 1.0)
    } else if min >= 0.0 && (min == max || min < max * FAR_FROM_ZERO) {
        (0.0, max)
    } else if max <= 0.0 && (min == max || max > min * FAR_FROM_ZERO) {
        (min, 0.0)
    } else {
        (min, max)
    }
}

/// The distance of two values, which is the largest number if it is beyond all.
fn distance(from: f64, to: f64) -> f64 {
    (to - from).min(f64::MAX)
}

/// A step of one, two or five times a power of ten, or one that clocks have.
fn step(distance: f64, n_steps: usize, unit: Unit) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "steps are few")]
    let least = distance / n_steps as f64;
    if unit == Unit::Seconds && least > 10.0 {
        return match CLOCK_STEPS.into_iter().find(|step| *step >= least) {
            Some(step) => step,
            None => decimal_step(least / DAY) * DAY,
        };
    }
    // Less than the smallest number is nothing, and nothing makes no steps.
    if least > 0.0 { decimal_step(least) } else { distance }
}

fn decimal_step(least: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "exponents of doubles are below 400")]
    let base = 10f64.powi(least.log10().floor() as i32);
    // The ends of the range of doubles are no place for niceties.
    if !base.is_normal() {
        return least;
    }
    let steps = [1.0, 2.0, 5.0, 10.0].map(|n| n * base);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], unit: Unit, names: &str) -> Scale {
        let scale = Scale::new(values.iter().copied(), 4, unit);
        let ticks = scale.ticks();
        let found: Vec<&str> = ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(found.join(" "), names, "{values:?}");
        for value in values.iter().filter(|value| !value.is_nan()) {
            assert!((0.0..=1.0).contains(&scale.position(*value)), "{value} of {scale:?}");
        }
        scale
    }

    #[test]
    fn axes_are_nice() {
        check(&[1.0, 7.0], Unit::Number, "0 2 4 6 8");
        check(&[0.31], Unit::PerSecond, "0/s 0.1/s 0.2/s 0.3/s 0.4/s");
        check(&[-3.0, 4.0], Unit::Number, "-4 -2 0 2 4");
        check(&[98.0, 99.0], Unit::Number, "98.0 98.5 99.0");
        check(&[-99.0, -98.0], Unit::Number, "-99.0 -98.5 -98.0");
        check(&[0.010, 0.180], Unit::Seconds, "0s 50ms 100ms 150ms 200ms");
        check(&[5.0, 130.0], Unit::Seconds, "0s 1m 2m 3m");
        check(&[3600.0 * 50.0], Unit::Seconds, "0s 1d 2d 3d");
        check(&[12_345.0], Unit::Number, "0 5k 10k 15k");
    }

    #[test]
    fn odd_values_have_axes_too() {
        let half = check(&[0.0, 0.0], Unit::Number, "0 0.5 1.0");
        assert_eq!(half.position(0.5).to_bits(), 0.5f64.to_bits());
        check(&[], Unit::Seconds, "0s 0.5s 1.0s");
        check(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY], Unit::Number, "0 0.5 1.0");
        let huge = check(&[-f64::MAX, f64::MAX], Unit::Number, "-2e308 0 2e308");
        assert!(huge.position(0.0) > 0.4);
        check(&[0.0, f64::MAX], Unit::Number, "0 2e308");
        check(&[5e-324], Unit::Number, "0 5e-324");
        check(&[f64::MIN_POSITIVE], Unit::Number, "0 6e-309 1.1e-308 1.7e-308 2.2e-308");
        check(&[1.0, 1.0 + f64::EPSILON], Unit::Number, "1.000e0");
        check(&[1e16, 1e16 + 4.0], Unit::Number, "1.000e16");
    }
}
