//! The sink of a search: of what evaluation leaves, the first traces are kept, and what results show
//! is read for them alone.

use traceql_blocks::read::batch::TraceData;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::schema::Column;

use super::TraceResult;
use crate::evaluate::compile::Program;
use crate::evaluate::field::Batch;
use crate::evaluate::pipeline::{Flow, Spanset, Stop};
use crate::evaluate::result::{ResultOptions, shown_columns};
use crate::scan::unit::Sink;

/// Gathers the matching traces of one unit.
pub(crate) struct ResultSink {
    limit: Option<usize>,
    options: ResultOptions,
    results: Vec<TraceResult>,
}

impl ResultSink {
    /// A sink that keeps so many traces of a unit (0 for all), with so many spans per spanset.
    pub(crate) fn new(limit: u64, spans_per_spanset: u64) -> Self {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            limit: (limit > 0).then(|| size(limit)),
            options: ResultOptions { spans_per_spanset: size(spans_per_spanset) },
            results: Vec::new(),
        }
    }

    /// The traces of the unit, in the order of their ids.
    pub(crate) fn finish_unit(&mut self) -> Vec<TraceResult> {
        let mut results = std::mem::take(&mut self.results);
        // Traces that lie in several blocks came first.
        results.sort_by_key(|result| result.trace_id);
        results.truncate(self.limit.unwrap_or(usize::MAX));
        results
    }
}

impl Sink for ResultSink {
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }

    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
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
        self.results.extend(results.into_iter().map(|(_, result)| result));
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
