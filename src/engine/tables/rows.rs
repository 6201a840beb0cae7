//! The sink of a table: of the spans that a scan leaves, rows of the table, as record batches. What
//! they show is read for traces that have a row alone.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use traceql_blocks::read::leaf::Demand;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::structure::Offsets;
use traceql_blocks::read::values::ColumnData;
use traceql_blocks::schema::Column;

use super::arrays::{Decoded, Picked};
use super::columns::{TableColumn, TableKind};
use crate::error::Error;
use crate::evaluate::field::{Batch, row_number};
use crate::evaluate::pipeline::{Flow, Stop};
use crate::scan::unit::Sink;

/// Gathers the rows of one unit.
pub(super) struct TableSink {
    kind: TableKind,
    columns: Arc<[TableColumn]>,
    schema: SchemaRef,
    /// Every span is wanted: columns are fetched before evaluation, together with what it reads.
    is_whole: bool,
    /// Rows that are still wanted.
    remaining: usize,
    batches: Vec<RecordBatch>,
}

impl TableSink {
    pub(super) fn new(
        kind: TableKind,
        columns: Arc<[TableColumn]>,
        schema: SchemaRef,
        is_whole: bool,
        limit: Option<usize>,
    ) -> Self {
        let remaining = limit.unwrap_or(usize::MAX);
        Self { kind, columns, schema, is_whole, remaining, batches: Vec::new() }
    }

    /// True if it wants no more rows.
    pub(super) fn is_full(&self) -> bool {
        self.remaining == 0
    }

    /// The rows since it was last asked.
    pub(super) fn drain(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.batches)
    }

    fn needed(&self) -> Vec<Column> {
        let mut needed: Vec<Column> = self.columns.iter().flat_map(|c| c.shape.needs()).collect();
        needed.sort();
        needed.dedup();
        needed
    }

    /// The rows of some spans, at most so many as are wanted.
    fn pick(&self, batch: &Batch<'_>, spans: &Mask, children: Option<&Offsets>) -> Picked {
        let structure = &batch.structure;
        let mut picked = Picked::default();
        let wanted = self.remaining;
        let full = |picked: &Picked| picked.traces.len() >= wanted;
        match self.kind {
            TableKind::Traces => {
                for trace in batch.traces.ones() {
                    if !full(&picked) && spans.any_in(structure.trace_spans.range(trace)) {
                        picked.traces.push(row_number(trace));
                    }
                }
            }
            TableKind::Resources => {
                picked.are_resources = true;
                let mut seen = Mask::none(structure.n_resources());
                for span in spans.ones() {
                    let resource = structure.span_resource[span];
                    if !full(&picked) && !seen.get(resource as usize) {
                        seen.set(resource as usize);
                        picked.resources.push(resource);
                        picked.traces.push(structure.span_trace[span]);
                    }
                }
            }
            TableKind::Spans | TableKind::Events | TableKind::Links => {
                for span in spans.ones() {
                    let (rows, first) = match children {
                        None => (1, 0),
                        Some(children) => (children.range(span).len(), children.start(span)),
                    };
                    for row in 0..row_number(rows) {
                        if full(&picked) {
                            break;
                        }
                        picked.spans.push(row_number(span));
                        picked.traces.push(structure.span_trace[span]);
                        picked.resources.push(structure.span_resource[span]);
                        picked.scopes.push(structure.span_scope[span]);
                        if children.is_some() {
                            picked.children.push(first + row);
                        }
                    }
                }
            }
        }
        picked.n_rows = picked.traces.len();
        picked
    }
}

impl Sink for TableSink {
    fn columns(&self) -> Vec<Column> {
        if self.is_whole { self.needed() } else { Vec::new() }
    }

    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
        let spans = match flow {
            Flow::Mask(spans) => spans.clone(),
            sets @ Flow::Sets(_) => batch.flatten(sets.clone()),
        };
        let mut traces = Mask::none(batch.structure.n_traces());
        spans.ones().for_each(|span| traces.set(batch.structure.span_trace[span] as usize));
        if !traces.any() || self.is_full() {
            return Ok(());
        }
        let needed = self.needed();
        needed.iter().for_each(|column| batch.data.hint(column, &traces));
        // All are asked before a fault is reported, so that one fetch brings them together.
        let children = match self.kind {
            TableKind::Events => Some(batch.data.span_events()),
            TableKind::Links => Some(batch.data.span_links()),
            TableKind::Spans | TableKind::Traces | TableKind::Resources => None,
        };
        let read: Vec<(Column, Demand<Arc<ColumnData>>)> = needed
            .into_iter()
            .map(|column| {
                let data = batch.data.column(&column, &traces);
                (column, data)
            })
            .collect();
        let children = children.transpose()?;
        let mut columns = HashMap::with_capacity(read.len());
        for (column, data) in read {
            columns.insert(column, data?);
        }
        let picked = self.pick(batch, &spans, children.as_deref());
        if picked.n_rows == 0 {
            return Ok(());
        }
        self.remaining -= picked.n_rows;
        let n_rows = picked.n_rows;
        let decoded = Decoded { structure: &batch.structure, columns, picked };
        let arrays = self.columns.iter().map(|column| decoded.array(&column.shape)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| Stop::Query(Error::Internal(format!("rows of a table: {error}"))))?;
        self.batches.push(rows);
        Ok(())
    }
}
