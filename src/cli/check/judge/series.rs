//! Thresholds: every sample of every series keeps to its bounds.

use traceql_engine::metrics::{MetricsAnswer, Series};
use traceql_language::ir::MetricsExpr;

use super::super::Failure;
use super::super::suite::{Expect, Test, Threshold};
use super::first_lines;
use crate::output::metrics::unit::{Unit, Units};
use crate::output::printable;
use crate::units::{format_time, plural};

/// What of the thresholds does not hold.
pub(super) fn judge(test: &Test, answer: &MetricsAnswer) -> Vec<Failure> {
    let unit = unit_of(test.query.metrics.as_ref());
    let is_allowed_empty = test.allow_empty || test.expect.allows_empty();
    let thresholds = &test.metrics.thresholds;
    thresholds
        .iter()
        .filter_map(|threshold| {
            failure(threshold, thresholds, answer, unit, test.metrics.is_instant, is_allowed_empty)
        })
        .collect()
}

/// What of the expected number of series does not hold. Series without a sample do not count.
pub(super) fn judge_count(expect: &Expect, answer: &MetricsAnswer) -> Vec<Failure> {
    let with_data: Vec<&Series> =
        answer.series.iter().filter(|series| !series.samples.all_absent()).collect();
    let n_series = with_data.len() as u64;
    let found = || first_lines(with_data.iter().map(|series| name(series)));
    let found_series = match n_series {
        1 => "1 series".to_owned(),
        n => format!("{n} series"),
    };
    let mut failures = Vec::new();
    if expect.empty == Some(true) && n_series > 0 {
        let message = format!("expected nothing, found {found_series}");
        failures.push(Failure::new(message).detail(found()));
    }
    if expect.empty == Some(false) && n_series == 0 {
        failures.push(Failure::new("expected something, found nothing"));
    }
    if let Some(bounds) = expect.count
        && !bounds.hold(n_series)
    {
        let message = format!("expected {bounds}, found {found_series}");
        failures.push(Failure::new(message).detail(found()));
    }
    failures
}

/// What the numbers of a query measure.
pub(super) fn unit_of(expr: Option<&MetricsExpr>) -> Unit {
    expr.map_or(Unit::Number, |expr| Units::of(expr).sample)
}

fn failure(
    threshold: &Threshold,
    all: &[Threshold],
    answer: &MetricsAnswer,
    unit: Unit,
    is_instant: bool,
    is_allowed_empty: bool,
) -> Option<Failure> {
    // A bound that names series takes the place of the general ones for them.
    let is_for = |series: &&Series| match threshold.is_general() {
        true => !all.iter().any(|other| other.names(series)),
        false => threshold.names(series),
    };
    let concerned: Vec<&Series> = answer.series.iter().filter(is_for).collect();
    let mut n_samples = 0_u64;
    let mut outside = Vec::new();
    for series in &concerned {
        for (interval, value) in series.samples.present() {
            n_samples += 1;
            if !threshold.holds(value) {
                let when = match is_instant {
                    true => String::new(),
                    false => format_time(answer.axis.timestamp_unix_nanos(interval)) + "  ",
                };
                outside.push(format!("{when}{}  {}", unit.text(value), name(series)));
            }
        }
    }
    if n_samples == 0 && !threshold.is_general() && !is_allowed_empty {
        return Some(Failure::new(format!("no data: no series is named by `{threshold}`")));
    }
    if outside.is_empty() {
        return None;
    }
    let message = format!(
        "`{threshold}` does not hold for {} of {}",
        outside.len(),
        plural(n_samples, "sample")
    );
    Some(Failure::new(message).detail(first_lines(outside.into_iter())))
}

/// A series by its labels.
pub(super) fn name(series: &Series) -> String {
    let label = |label: &traceql_engine::metrics::Label| {
        format!("{}={:?}", printable(&label.name), label.value.to_text())
    };
    let labels: Vec<String> = series.labels.iter().map(label).collect();
    format!("{{{}}}", labels.join(", "))
}
