//! The sink of a search: of what evaluation leaves, the first traces are kept, and what results show
//! is read for them alone.

use traceql_blocks::model::TraceId;
use traceql_blocks::read::batch::TraceData;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::values::ValueRef;
use traceql_blocks::schema::Column;

use super::rows::Found;
use super::top::{Place, Top};
use crate::evaluate::compile::Program;
use crate::evaluate::field::Batch;
use crate::evaluate::pipeline::{Flow, Spanset, Stop};
use crate::evaluate::result::{ResultOptions, shown_columns};
use crate::scan::unit::Sink;

/// Gathers the matching traces of one unit.
pub(crate) struct ResultSink {
    limit: Option<usize>,
    options: ResultOptions,
    /// For a query that orders its traces: what was found by all units so far.
    top: Option<Top>,
    found: Vec<Found>,
}

impl ResultSink {
    /// A sink that keeps so many traces of a unit (0 for all), with so many spans per spanset.
    pub(crate) fn new(limit: u64, spans_per_spanset: u64) -> Self {
        Self {
            limit: (limit > 0).then(|| size(limit)),
            options: ResultOptions { spans_per_spanset: size(spans_per_spanset) },
            top: None,
            found: Vec::new(),
        }
    }

    /// A sink for a query that orders its traces: of all its units it hands on those that may be among
    /// the first so many (0 for all) behind a place.
    pub(crate) fn ordered(limit: u64, after: Option<Place>, spans_per_spanset: u64) -> Self {
        let top = Top::new((limit > 0).then(|| size(limit)), after);
        Self { top: Some(top), ..Self::new(0, spans_per_spanset) }
    }

    /// The traces of the unit with this number, in the order of their ids.
    pub(crate) fn finish_unit(&mut self, unit: u32) -> Vec<Found> {
        let mut found = std::mem::take(&mut self.found);
        // Traces that lie in several blocks came first.
        found.sort_by_key(|found| found.result.trace_id);
        found.truncate(self.limit.unwrap_or(usize::MAX));
        found.iter_mut().for_each(|found| found.unit = unit);
        found
    }

    fn take_ordered(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
        let Some(top) = &mut self.top else { return Ok(()) };
        let traces = batch.ordered(batch.sets(flow.clone()));
        let ids = batch.data.column(&Column::TraceId, &batch.traces);
        let (traces, ids) = (traces?, ids?);
        let mut matched = Mask::none(batch.structure.n_traces());
        let mut sets: Vec<Spanset> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        for trace in traces {
            let Some(row) = trace.sets.first().map(|set| set.trace as usize) else { continue };
            let id = match ids.get(row) {
                ValueRef::Bytes(bytes) => TraceId::from_bytes(bytes),
                _ => TraceId::default(),
            };
            let place = (trace.key, id);
            if top.wants(&place) {
                matched.set(row);
                sets.extend(trace.sets);
                places.push(place);
            }
        }
        if sets.is_empty() {
            return Ok(());
        }
        hint_results(batch.data, batch.program, &matched);
        let batch = Batch::new(batch.data, batch.program, matched)?;
        let results = batch.results(&sets, self.options)?;
        for (place, (_, result)) in places.into_iter().zip(results) {
            // Others of the batch may have taken its place by now.
            if top.wants(&place) {
                self.found.push(Found { unit: 0, key: place.0.clone(), result });
                top.add(place);
            }
        }
        Ok(())
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Sink for ResultSink {
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }

    fn is_full(&self) -> bool {
        self.top.is_none() && self.limit.is_some_and(|limit| self.found.len() >= limit)
    }

    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
        if self.top.is_some() {
            return self.take_ordered(batch, flow);
        }
        let mut sets: Vec<Spanset> = match (flow, self.limit) {
            (Flow::Mask(mask), Some(limit)) => {
                batch.sets(Flow::Mask(first_traces(batch, mask.clone(), limit)))
            }
            (flow, _) => batch.sets(flow.clone()),
        };
        if let Some(limit) = self.limit {
            let mut n_traces = 0;
            let mut last = None;
            sets.retain(|set| {
                n_traces += usize::from(last != Some(set.trace));
                last = Some(set.trace);
                n_traces <= limit
            });
        }
        if sets.is_empty() {
            return Ok(());
        }
        let mut matched = Mask::none(batch.structure.n_traces());
        sets.iter().for_each(|set| matched.set(set.trace as usize));
        hint_results(batch.data, batch.program, &matched);
        let batch = Batch::new(batch.data, batch.program, matched)?;
        let results = batch.results(&sets, self.options)?;
        let found = |(_, result)| Found { unit: 0, key: Vec::new(), result };
        self.found.extend(results.into_iter().map(found));
        Ok(())
    }
}

/// Says what results will show, so that one fetch brings it all.
fn hint_results(data: &dyn TraceData, program: &Program, matched: &Mask) {
    let mut columns = shown_columns(program);
    columns.extend(program.field_columns());
    columns.iter().for_each(|column| data.hint(column, matched));
}

fn first_traces(batch: &Batch<'_>, mut mask: Mask, limit: usize) -> Mask {
    let mut n_traces = 0;
    for trace in batch.traces.ones() {
        let spans = batch.structure.trace_spans.range(trace);
        if !mask.any_in(spans.clone()) {
            continue;
        }
        n_traces += 1;
        if n_traces > limit {
            spans.for_each(|span| mask.clear(span));
        }
    }
    mask
}
