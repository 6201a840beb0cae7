//! `compare()` (`metrics.md` 2.6, with rows 8, 11, 12 and 13 of section 0): what the selected spans
//! have and the others have not.
//!
//! Choices made where the specification is silent:
//! - Fields of events and links are included if some filter of the outer query mentions them by name,
//!   on either side of an operator and in scalar filters too; the event or link is chosen as for `by`.
//! - Of a repeated key the first counts, as everywhere. A value that the language cannot see (bytes,
//!   maps) is counted nowhere, not in the totals either.
//! - `resource.service.name`, which is never missing, counts as `""` where there is none.
//! - Weights of `extrapolate` decide which values are most frequent.

use std::collections::{BTreeMap, BTreeSet};

use traceql_blocks::model::{KeyValue, Trace};
use traceql_engine::metrics::{Label, LabelValue};
use traceql_engine::search::Value;
use traceql_language::analyze::ir::{
    AttributeScope, Field, FieldExpr, FieldName, Intrinsic, Pipeline,
};

use super::super::fields::{self, Place};
use super::{Axis, NaiveSeries, Refusal, labels, spans, weight};

/// Intrinsics that are compared.
const INTRINSICS: &[Intrinsic] = &[
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::RootName,
    Intrinsic::RootServiceName,
    Intrinsic::SpanChildCount,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];

/// The arguments of `compare()`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    /// Which spans are selected.
    pub(super) selection: &'q FieldExpr,
    /// How many values of an attribute are shown.
    pub(super) top_n: usize,
    /// When selected spans start: open on the left, unix nanoseconds.
    pub(super) window: Option<(i64, i64)>,
}

/// Counts of one attribute in one of the two groups.
#[derive(Clone, Debug)]
struct Counts {
    /// Spans that have it, by interval.
    total: Vec<f64>,
    /// Spans that have one value, by interval; by the value's identity.
    by_value: BTreeMap<String, (LabelValue, Vec<f64>)>,
}

/// The series of `compare()` over the spans that a pipeline yields.
pub(super) fn series(
    traces: &[Trace],
    pipeline: &Pipeline,
    question: Question<'_>,
    axis: &Axis,
    extrapolate: bool,
) -> Result<Vec<NaiveSeries>, Refusal> {
    let asked = asked_of_events_and_links(pipeline);
    let mut counts: BTreeMap<(bool, String), Counts> = BTreeMap::new();
    spans::for_each(traces, pipeline, axis, &mut |place, interval| {
        let is_selected = is_selected(place, question);
        let trace_state = &place.forest.spans[place.span].span.trace_state;
        let weight = if extrapolate { weight::of_trace_state(trace_state) } else { 1.0 };
        for field in compared(place).union(&asked) {
            let value = spans::value(place, pipeline, field);
            if matches!(value, Value::Duration(_)) {
                continue;
            }
            let Some(value) = labels::of_value(&value) else { continue };
            let zeros = vec![0.0; axis.n_intervals];
            let counts = counts
                .entry((is_selected, field.to_string()))
                .or_insert_with(|| Counts { total: zeros.clone(), by_value: BTreeMap::new() });
            counts.total[interval] += weight;
            let (_, of_value) =
                counts.by_value.entry(format!("{value:?}")).or_insert_with(|| (value, zeros));
            of_value[interval] += weight;
        }
    })?;
    let mut series = Vec::new();
    for ((is_selected, attribute), Counts { total, by_value }) in counts {
        let group = if is_selected { "selection" } else { "baseline" };
        let mut add = |group: &str, value: LabelValue, samples: Vec<f64>| {
            let labels =
                vec![Label::text("__meta_type", group), Label::new(attribute.clone(), value)];
            series.push(NaiveSeries { labels, samples: samples.into_iter().map(Some).collect() });
        };
        add(&format!("{group}_total"), LabelValue::String("nil".to_owned()), total);
        for (value, samples) in most_frequent(by_value.into_values().collect(), question.top_n) {
            add(group, value, samples);
        }
    }
    Ok(series)
}

/// Row 12: the values with the largest sums over all intervals; of equals the first in the order of
/// 6.1.
fn most_frequent(
    mut values: Vec<(LabelValue, Vec<f64>)>,
    top_n: usize,
) -> Vec<(LabelValue, Vec<f64>)> {
    let sum = |samples: &[f64]| samples.iter().sum::<f64>();
    values.sort_by(|(left, left_samples), (right, right_samples)| {
        sum(right_samples)
            .total_cmp(&sum(left_samples))
            .then_with(|| labels::value_order(left, right))
    });
    values.truncate(top_n);
    values
}

/// Whether a span is selected: by the filter and, row 13, by its exact start.
fn is_selected(place: Place<'_>, question: Question<'_>) -> bool {
    let start = i128::from(place.forest.spans[place.span].span.start_unix_nanos);
    let is_within = question
        .window
        .is_none_or(|(from, to)| i128::from(from) < start && start <= i128::from(to));
    is_within && fields::keeps(place.forest, place.span, question.selection)
}

/// The attributes and intrinsics of a span that are compared whatever the query.
fn compared(place: Place<'_>) -> BTreeSet<Field> {
    let placed = place.forest.spans[place.span];
    let mut compared: BTreeSet<Field> = INTRINSICS.iter().copied().map(Field::intrinsic).collect();
    let mut add = |scope: AttributeScope, attributes: &[KeyValue]| {
        compared.extend(attributes.iter().map(|kv| Field::attribute(scope, kv.key.clone())));
    };
    add(AttributeScope::Span, &placed.span.attributes);
    add(AttributeScope::Resource, &placed.resource.attributes);
    add(AttributeScope::Instrumentation, &placed.scope.attributes);
    compared.insert(Field::attribute(AttributeScope::Resource, "service.name"));
    compared
}

/// Fields of events and links that the outer query filters on.
fn asked_of_events_and_links(pipeline: &Pipeline) -> BTreeSet<Field> {
    let filters = spans::all_filters(pipeline);
    let fields = filters.iter().flat_map(|filter| filter.fields());
    fields
        .filter(|field| field.is_own() && (field.is_of_event() || field.is_of_link()))
        .filter(|field| field.name != FieldName::Intrinsic(Intrinsic::EventTimeSinceStart))
        .cloned()
        .collect()
}
