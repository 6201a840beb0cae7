//! Which spans a metrics function observes, and what it reads of them (`metrics.md` 2.2, 7.1, 7.2, and
//! row 16 of section 0).
//!
//! Choices made where the specification is silent:
//! - **Which event stands for a span.** The filters that can have let the span through are asked in
//!   the order of the text, those that mention no event left out; each offers the events that satisfy
//!   it (with some link), in their order. The first event offered that carries the attribute is
//!   taken; without one, the first of all that carries it. Links likewise.
//! - Filters that can let a span through: those of every stage, on both sides of `&&`, `||` and the
//!   union operators, on the right of other structural operators; none inside a scalar filter.
//! - As elsewhere outside filters (`traceql.md` 5.10), `event:name` is `""` and
//!   `event:timeSinceStart` is `0s` for a span without events; the latter counts as a number.
//! - `parent.x` is read from the parent, where Tempo finds nothing: an extension of the language.

use traceql_blocks::model::{Event, Link, Trace};
use traceql_engine::search::Value;
use traceql_language::analyze::ir::{
    Field, FieldExpr, Pipeline, ScalarExpr, SpansetExpr, SpansetOp, Stage, StructuralMode,
};

use super::super::fields::{self, Place, Reading};
use super::super::forest::Forest;
use super::super::values::{Found, Number, number};
use super::super::{Spanset, run, union};
use super::{Axis, Refusal};

/// Calls `observe` for every span that a pipeline yields, once each, with its interval. Spans outside
/// the axis take part in the pipeline only (7.2).
pub(super) fn for_each(
    traces: &[Trace],
    pipeline: &Pipeline,
    axis: &Axis,
    observe: &mut dyn FnMut(Place<'_>, usize),
) -> Result<(), Refusal> {
    for trace in traces {
        let forest = Forest::new(trace);
        let all = Spanset { spans: (0..forest.spans.len()).collect(), ..Spanset::default() };
        let spansets = run(&forest, pipeline, vec![all]).map_err(|_| Refusal::NeedsCoalesce)?;
        let lists: Vec<Vec<usize>> = spansets.into_iter().map(|spanset| spanset.spans).collect();
        for span in union(&lists) {
            if let Some(interval) = axis.interval_of(forest.spans[span].span.start_unix_nanos) {
                observe(Place { forest: &forest, span, reading: Reading::First }, interval);
            }
        }
    }
    Ok(())
}

/// Row 16: what a field of a span is, with the event or link that stands for it.
pub(super) fn value(place: Place<'_>, pipeline: &Pipeline, field: &Field) -> Value {
    let readings = if !field.is_own() {
        Vec::new()
    } else if field.is_of_event() {
        offered_events(place, pipeline)
    } else if field.is_of_link() {
        offered_links(place, pipeline)
    } else {
        Vec::new()
    };
    readings
        .into_iter()
        .map(|reading| fields::read(Place { reading, ..place }, field))
        .find(|found| *found != Found::Absent)
        .map_or_else(|| fields::operand(place, field), Found::value)
}

/// Events that satisfy the filters that mention events, filter by filter.
fn offered_events<'t>(place: Place<'t>, pipeline: &Pipeline) -> Vec<Reading<'t>> {
    let span = place.forest.spans[place.span].span;
    let mut offered = Vec::new();
    for filter in passing_filters(pipeline).into_iter().filter(|filter| mentions_event(filter)) {
        for event in &span.events {
            if links(&span.links).into_iter().any(|link| holds(place, filter, Some(event), link)) {
                offered.push(Reading::One(Some(event), None));
            }
        }
    }
    offered
}

/// Links that satisfy the filters that mention links, filter by filter.
fn offered_links<'t>(place: Place<'t>, pipeline: &Pipeline) -> Vec<Reading<'t>> {
    let span = place.forest.spans[place.span].span;
    let mut offered = Vec::new();
    for filter in passing_filters(pipeline).into_iter().filter(|filter| mentions_link(filter)) {
        for link in &span.links {
            if events(&span.events).into_iter().any(|event| holds(place, filter, event, Some(link)))
            {
                offered.push(Reading::One(None, Some(link)));
            }
        }
    }
    offered
}

/// Every link a filter may see; without links, none.
fn links(links: &[Link]) -> Vec<Option<&Link>> {
    if links.is_empty() { vec![None] } else { links.iter().map(Some).collect() }
}

/// Every event a filter may see; without events, none.
fn events(events: &[Event]) -> Vec<Option<&Event>> {
    if events.is_empty() { vec![None] } else { events.iter().map(Some).collect() }
}

/// Whether a filter is true with this choice of event and link.
fn holds(place: Place<'_>, filter: &FieldExpr, event: Option<&Event>, link: Option<&Link>) -> bool {
    let Place { forest, span, .. } = place;
    fields::evaluate(Place { forest, span, reading: Reading::One(event, link) }, filter)
        == Value::Bool(true)
}

/// Whether a filter looks at an event of the span itself.
fn mentions_event(filter: &FieldExpr) -> bool {
    filter.fields().any(|field| field.is_of_event() && field.is_own())
}

/// Whether a filter looks at a link of the span itself.
fn mentions_link(filter: &FieldExpr) -> bool {
    filter.fields().any(|field| field.is_of_link() && field.is_own())
}

/// The filters that can have let a span through, in the order of the text.
fn passing_filters(pipeline: &Pipeline) -> Vec<&FieldExpr> {
    let mut filters = Vec::new();
    for stage in &pipeline.stages {
        if let Stage::Spanset(expression) = stage {
            filters.extend(passing_filters_of(expression));
        }
    }
    filters
}

/// The same for one stage or operand.
fn passing_filters_of(expression: &SpansetExpr) -> Vec<&FieldExpr> {
    match expression {
        SpansetExpr::Filter(filter) => vec![filter],
        SpansetExpr::Pipeline(pipeline) => passing_filters(pipeline),
        SpansetExpr::Operation {
            op: SpansetOp::Structural { mode: StructuralMode::Plain | StructuralMode::Negated, .. },
            right,
            ..
        } => passing_filters_of(right),
        SpansetExpr::Operation { left, right, .. } => {
            let mut filters = passing_filters_of(left);
            filters.extend(passing_filters_of(right));
            filters
        }
        SpansetExpr::Not(_) => Vec::new(),
    }
}

/// Every filter of a pipeline wherever it stands, scalar filters included.
pub(super) fn all_filters(pipeline: &Pipeline) -> Vec<&FieldExpr> {
    let mut filters = Vec::new();
    for stage in &pipeline.stages {
        match stage {
            Stage::Spanset(expression) => filters.extend(all_filters_of(expression)),
            Stage::ScalarFilter { left, right, .. } => {
                filters.extend(all_filters_of_scalar(left));
                filters.extend(all_filters_of_scalar(right));
            }
            Stage::By { .. } | Stage::Coalesce | Stage::Select(_) => {}
        }
    }
    filters
}

/// The same for one stage or operand.
fn all_filters_of(expression: &SpansetExpr) -> Vec<&FieldExpr> {
    match expression {
        SpansetExpr::Filter(filter) => vec![filter],
        SpansetExpr::Pipeline(pipeline) => all_filters(pipeline),
        SpansetExpr::Operation { left, right, .. } => {
            let mut filters = all_filters_of(left);
            filters.extend(all_filters_of(right));
            filters
        }
        SpansetExpr::Not(operand) => all_filters_of(operand),
    }
}

/// The same for a scalar.
fn all_filters_of_scalar(scalar: &ScalarExpr) -> Vec<&FieldExpr> {
    match scalar {
        ScalarExpr::Static(_) | ScalarExpr::Aggregate(_) => Vec::new(),
        ScalarExpr::Pipeline { pipeline, .. } => all_filters(pipeline),
        ScalarExpr::Arithmetic { left, right, .. } => {
            let mut filters = all_filters_of_scalar(left);
            filters.extend(all_filters_of_scalar(right));
            filters
        }
    }
}

/// 2.2: the number that min, max, sum and avg take a value for: durations of any kind in seconds
/// (section 0 row 6). NaN is no number: it could never be told from an absent sample.
pub(super) fn numeric(value: &Value) -> Option<f64> {
    let double = number(value).map(Number::as_double)?;
    let double = if matches!(value, Value::Duration(_)) { double / 1e9 } else { double };
    (!double.is_nan()).then_some(double)
}
