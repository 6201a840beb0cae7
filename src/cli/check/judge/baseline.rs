//! Two sources compared: one value a series on each side, series matched by their labels.

use std::collections::BTreeMap;

use traceql_engine::metrics::{MetricsAnswer, Series};

use super::super::Failure;
use super::super::suite::{Baseline, Worse};
use super::first_lines;
use super::series::name;
use crate::output::metrics::unit::Unit;

/// What of a baseline does not hold. Both sides have one value a series.
pub(crate) fn compare(
    baseline: &Baseline,
    now: &MetricsAnswer,
    before: &MetricsAnswer,
    unit: Unit,
) -> Vec<Failure> {
    let (now, before) = (values(now), values(before));
    let mut failures = Vec::new();
    let only_in = |here: &BTreeMap<String, f64>, there: &BTreeMap<String, f64>| -> Vec<String> {
        here.keys().filter(|name| !there.contains_key(*name)).cloned().collect()
    };
    let missing = only_in(&before, &now);
    if !missing.is_empty() {
        let message = format!("missing: {} series of the baseline", missing.len());
        failures.push(Failure::new(message).detail(first_lines(missing.into_iter())));
    }
    let extra = only_in(&now, &before);
    if !extra.is_empty() {
        let message = format!("new: {} series, not in the baseline", extra.len());
        failures.push(Failure::new(message).detail(first_lines(extra.into_iter())));
    }
    let outside: Vec<String> = now
        .iter()
        .filter_map(|(name, value)| {
            let old = before.get(name)?;
            is_outside(baseline, *value, *old).then(|| {
                let change = change(*value, *old);
                format!("{}, was {} {change}  {name}", unit.text(*value), unit.text(*old))
            })
        })
        .collect();
    if !outside.is_empty() {
        let way = match baseline.worse {
            Worse::Higher => "higher than in",
            Worse::Lower => "lower than in",
            Worse::Either => "off from",
        };
        let n_compared = now.keys().filter(|name| before.contains_key(*name)).count();
        let message = format!(
            "more than {}% {way} {}: {} of {n_compared} series",
            shown(baseline.tolerance * 100.0),
            baseline.name,
            outside.len(),
        );
        failures.push(Failure::new(message).detail(first_lines(outside.into_iter())));
    }
    failures
}

/// The value of each series that has one.
fn values(answer: &MetricsAnswer) -> BTreeMap<String, f64> {
    let value = |series: &Series| {
        let (_, value) = series.samples.present().next()?;
        Some((name(series), value))
    };
    answer.series.iter().filter_map(value).collect()
}

fn is_outside(baseline: &Baseline, value: f64, old: f64) -> bool {
    // Rounding of the last digit must not decide where the tolerance is nothing.
    let allowed = old.abs() * (baseline.tolerance + 1e-12);
    let difference = value - old;
    match baseline.worse {
        Worse::Higher => difference > allowed,
        Worse::Lower => -difference > allowed,
        Worse::Either => difference.abs() > allowed,
    }
}

fn change(value: f64, old: f64) -> String {
    if old == 0.0 {
        return String::new();
    }
    format!("({}{}%)", if value > old { "+" } else { "" }, shown((value / old - 1.0) * 100.0))
}

/// A percentage with a digit after the point where one is needed.
fn shown(percent: f64) -> String {
    let text = format!("{percent:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use traceql_engine::metrics::{Label, Samples, TimeAxis};

    use super::*;

    fn answer(series: &[(&str, f64)]) -> MetricsAnswer {
        let series = series
            .iter()
            .map(|(name, value)| Series {
                labels: vec![Label::text("s", *name)],
                samples: Samples::dense(vec![*value]),
                exemplars: Vec::new(),
            })
            .collect();
        MetricsAnswer { axis: TimeAxis::instant(1, 2).unwrap(), series }
    }

    fn check(worse: Worse, now: &[(&str, f64)], before: &[(&str, f64)], expect: &[(&str, &str)]) {
        let baseline = Baseline {
            source: String::new(),
            name: "main".to_owned(),
            tenants: Vec::new(),
            tolerance: 0.1,
            worse,
        };
        let failures = compare(&baseline, &answer(now), &answer(before), Unit::Number);
        let found: Vec<(&str, &str)> = failures
            .iter()
            .map(|failure| (failure.message.as_str(), failure.detail.as_str()))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn values_may_be_off_by_the_tolerance() {
        let before = [("a", 100.0), ("b", 0.0)];
        check(Worse::Either, &[("a", 110.0), ("b", 0.0)], &before, &[]);
        check(Worse::Either, &[("a", 90.0), ("b", 0.0)], &before, &[]);
        check(
            Worse::Either,
            &[("a", 89.0), ("b", 1.0)],
            &before,
            &[(
                "more than 10% off from main: 2 of 2 series",
                "89, was 100 (-11%)  {s=\"a\"}\n1, was 0   {s=\"b\"}",
            )],
        );
        check(Worse::Higher, &[("a", 50.0), ("b", 0.0)], &before, &[]);
        check(
            Worse::Higher,
            &[("a", 125.5), ("b", 0.0)],
            &before,
            &[(
                "more than 10% higher than in main: 1 of 2 series",
                "125.5, was 100 (+25.5%)  {s=\"a\"}",
            )],
        );
        check(Worse::Lower, &[("a", 150.0), ("b", 0.0)], &before, &[]);
    }

    #[test]
    fn series_of_one_side_alone_are_told() {
        check(
            Worse::Either,
            &[("a", 1.0), ("new", 1.0)],
            &[("a", 1.0), ("old", 1.0)],
            &[
                ("missing: 1 series of the baseline", "{s=\"old\"}"),
                ("new: 1 series, not in the baseline", "{s=\"new\"}"),
            ],
        );
    }
}
