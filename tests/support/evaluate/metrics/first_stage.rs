//! First-stage functions other than `compare()` (`metrics.md` 2.1 to 2.5): spans to series.
//!
//! Choices made where the specification is silent:
//! - A pipeline is constant false, so that ungrouped rate and count have no series (row 17), if each
//!   of its stages is `{ false }` or an operator between two such filters. `{ .x } | { false }` is not,
//!   and yields zeros.
//! - An infinite value makes sums and averages infinite; opposite infinities leave no sample.

use std::collections::BTreeMap;

use traceql_blocks::model::Trace;
use traceql_engine::metrics::{Label, LabelValue};
use traceql_engine::search::Value;
use traceql_language::analyze::ir::{
    Field, FieldExpr, MetricsFunction, Pipeline, SpansetExpr, Stage, Static,
};

use super::buckets::{self, Buckets};
use super::{Axis, NaiveSeries, Refusal, labels, spans, weight};

/// A span that came out of the pipeline and starts within the axis.
#[derive(Clone, Debug)]
struct Seen {
    /// Labels of its group; empty without groupings.
    group: Vec<Label>,
    /// Where it belongs on the axis.
    interval: usize,
    /// What the function reads of it; nil if it reads nothing.
    value: Value,
    /// How many spans it stands for.
    weight: f64,
}

/// What is gathered of the spans of one group, by interval.
type Gathered<T> = BTreeMap<String, (Vec<Label>, Vec<T>)>;

/// The series of one function over the spans that a pipeline yields.
pub(super) fn series(
    traces: &[Trace],
    pipeline: &Pipeline,
    function: &MetricsFunction,
    by: &[Field],
    axis: &Axis,
    extrapolate: bool,
) -> Result<Vec<NaiveSeries>, Refusal> {
    let (of, adds_label) = match function {
        MetricsFunction::Rate | MetricsFunction::CountOverTime => (None, false),
        MetricsFunction::MinOverTime(of)
        | MetricsFunction::MaxOverTime(of)
        | MetricsFunction::SumOverTime(of)
        | MetricsFunction::AvgOverTime(of) => (Some(of), false),
        MetricsFunction::QuantileOverTime { of, .. } | MetricsFunction::HistogramOverTime(of) => {
            (Some(of), true)
        }
        MetricsFunction::Compare { .. } => unreachable!("compare() has a file of its own"),
    };
    let mut seen = Vec::new();
    spans::for_each(traces, pipeline, axis, &mut |place, interval| {
        let read = |field: &Field| spans::value(place, pipeline, field);
        let keys: Vec<Value> = by.iter().map(read).collect();
        let trace_state = &place.forest.spans[place.span].span.trace_state;
        seen.push(Seen {
            group: labels::of_group(by, &keys, adds_label),
            interval,
            value: of.map_or(Value::Nil, read),
            weight: if extrapolate { weight::of_trace_state(trace_state) } else { 1.0 },
        });
    })?;
    Ok(match function {
        MetricsFunction::QuantileOverTime { quantiles, .. } => quantile(&seen, quantiles, axis),
        MetricsFunction::HistogramOverTime(_) => histogram(&seen, axis),
        MetricsFunction::Rate | MetricsFunction::CountOverTime => {
            let is_rate = *function == MetricsFunction::Rate;
            let factor = if is_rate { axis.per_second() } else { 1.0 };
            let zeros_without_spans = by.is_empty() && !is_constant_false(pipeline);
            let series = count(&seen, factor, zeros_without_spans, axis);
            named(series, if is_rate { "rate" } else { "count_over_time" })
        }
        MetricsFunction::MinOverTime(_) => named(folded(&seen, axis, least), "min_over_time"),
        MetricsFunction::MaxOverTime(_) => named(folded(&seen, axis, greatest), "max_over_time"),
        MetricsFunction::SumOverTime(_) => named(folded(&seen, axis, sum), "sum_over_time"),
        MetricsFunction::AvgOverTime(_) => named(folded(&seen, axis, mean), "avg_over_time"),
        MetricsFunction::Compare { .. } => Vec::new(),
    })
}

/// Row 17 and `traceql.md` 3.5.
fn is_constant_false(pipeline: &Pipeline) -> bool {
    let is_false = |expression: &SpansetExpr| {
        *expression == SpansetExpr::Filter(FieldExpr::Static(Static::Bool(false)))
    };
    pipeline.stages.iter().all(|stage| match stage {
        Stage::Spanset(SpansetExpr::Operation { left, right, .. }) => {
            is_false(left) && is_false(right)
        }
        Stage::Spanset(expression) => is_false(expression),
        _ => false,
    })
}

/// 2.5: series without groupings are named for their function.
fn named(mut series: Vec<NaiveSeries>, function: &str) -> Vec<NaiveSeries> {
    for series in series.iter_mut().filter(|series| series.labels.is_empty()) {
        series.labels.push(Label::text("__name__", function));
    }
    series
}

/// What a group has gathered, an entry per interval.
fn of_group<'g, T: Clone + Default>(
    gathered: &'g mut Gathered<T>,
    group: &[Label],
    axis: &Axis,
) -> &'g mut Vec<T> {
    &mut gathered
        .entry(labels::identity(group))
        .or_insert_with(|| (group.to_vec(), vec![T::default(); axis.n_intervals]))
        .1
}

/// 2.1: spans, or spans per second.
fn count(seen: &[Seen], factor: f64, zeros_without_spans: bool, axis: &Axis) -> Vec<NaiveSeries> {
    let mut counts = Gathered::<f64>::new();
    if zeros_without_spans {
        of_group(&mut counts, &[], axis);
    }
    for span in seen {
        of_group(&mut counts, &span.group, axis)[span.interval] += span.weight;
    }
    let series = counts.into_values();
    series
        .map(|(labels, counts)| NaiveSeries {
            labels,
            samples: counts.into_iter().map(|count| Some(count * factor)).collect(),
        })
        .collect()
}

/// 2.3: one number of the numbers of each interval; spans without a number do not count at all.
fn folded(seen: &[Seen], axis: &Axis, fold: impl Fn(&[(f64, f64)]) -> f64) -> Vec<NaiveSeries> {
    let mut numbers = Gathered::<Vec<(f64, f64)>>::new();
    for span in seen {
        if let Some(number) = spans::numeric(&span.value) {
            of_group(&mut numbers, &span.group, axis)[span.interval].push((number, span.weight));
        }
    }
    let series = numbers.into_values();
    series
        .map(|(labels, numbers)| {
            let sample = |numbers: &Vec<(f64, f64)>| {
                (!numbers.is_empty()).then(|| fold(numbers)).filter(|sample| !sample.is_nan())
            };
            NaiveSeries { labels, samples: numbers.iter().map(sample).collect() }
        })
        .collect()
}

/// 2.3: the smallest number; weights play no role (4.2).
fn least(numbers: &[(f64, f64)]) -> f64 {
    numbers.iter().map(|(number, _)| *number).fold(f64::INFINITY, f64::min)
}

/// 2.3: the largest number; weights play no role (4.2).
fn greatest(numbers: &[(f64, f64)]) -> f64 {
    numbers.iter().map(|(number, _)| *number).fold(f64::NEG_INFINITY, f64::max)
}

/// 2.3: the sum.
fn sum(numbers: &[(f64, f64)]) -> f64 {
    numbers.iter().map(|(number, weight)| number * weight).sum()
}

/// 2.3: the mean of the numbers there are.
fn mean(numbers: &[(f64, f64)]) -> f64 {
    let weights: f64 = numbers.iter().map(|(_, weight)| weight).sum();
    sum(numbers) / weights
}

/// 2.4: a series per bucket that occurred.
fn histogram(seen: &[Seen], axis: &Axis) -> Vec<NaiveSeries> {
    let mut counts = Gathered::<f64>::new();
    for span in seen {
        let Some(bound) = buckets::bound(&span.value) else { continue };
        let mut labels = span.group.clone();
        labels.push(Label::new("__bucket", LabelValue::Float(bound)));
        of_group(&mut counts, &labels, axis)[span.interval] += span.weight;
    }
    let series = counts.into_values();
    series
        .map(|(labels, counts)| NaiveSeries {
            labels,
            samples: counts.into_iter().map(Some).collect(),
        })
        .collect()
}

/// 2.4: a series per group and quantile; a quantile asked twice is one.
fn quantile(seen: &[Seen], quantiles: &[f64], axis: &Axis) -> Vec<NaiveSeries> {
    let mut counts = Gathered::<Buckets>::new();
    for span in seen {
        if let Some(bound) = buckets::bound(&span.value) {
            of_group(&mut counts, &span.group, axis)[span.interval].add(bound, span.weight);
        }
    }
    let mut distinct: Vec<f64> = Vec::new();
    for &p in quantiles {
        if !distinct.contains(&p) {
            distinct.push(p);
        }
    }
    let mut series = Vec::new();
    for (group, counts) in counts.into_values() {
        for &p in &distinct {
            let mut labels = group.clone();
            labels.push(Label::new("p", LabelValue::Float(p)));
            let samples = counts.iter().map(|buckets| Some(buckets.quantile(p))).collect();
            series.push(NaiveSeries { labels, samples });
        }
    }
    series
}
