//! One work unit: fetch, narrow, evaluate, read what results show. Pruning spares work here and
//! decides nothing: every trace that is kept has been evaluated on its values.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use traceql_blocks::bucket::Block;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::read::batch::TraceData;
use traceql_blocks::read::block_batch::BlockBatch;
use traceql_blocks::read::find::find_in_block;
use traceql_blocks::read::leaf::{Demand, Fault, Window};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::memory::MemoryBatch;
use traceql_blocks::read::open::{OpenBlock, ReadContext};
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::AttributeScope;
use traceql_language::analyze::ir::FieldName;

use super::spec::{ScanSpec, WorkUnit};
use crate::error::{Error, Result};
use crate::evaluate::compile::{BoolNode, Program, SpansetNode, StageNode, TestKind};
use crate::evaluate::field::Batch;
use crate::evaluate::pipeline::{Flow, Spanset, Stop};
use crate::evaluate::result::ResultOptions;
use crate::runtime::{QueryRun, Runtime};
use crate::search::TraceResult;

/// Fetches a unit may take. A query needs a handful; more means that a read never finds its pages.
const MAX_ROUNDS: usize = 1_000;

/// Runs the units of one partition, one after the other.
pub(crate) struct UnitRunner {
    spec: Arc<ScanSpec>,
    program: Arc<Program>,
    runtime: Arc<Runtime>,
    run: Arc<QueryRun>,
    context: ReadContext,
    blocks: Vec<Block>,
    /// The window of the last unit, whose pages and dictionaries serve the next one.
    window: Option<(u32, Window)>,
}

impl UnitRunner {
    pub(crate) fn new(
        spec: Arc<ScanSpec>,
        program: Arc<Program>,
        runtime: Arc<Runtime>,
        run: Arc<QueryRun>,
    ) -> Result<Self> {
        let context = ReadContext {
            cache: Arc::clone(&runtime.cache),
            stats: Arc::clone(&run.io),
            io: runtime.io.clone(),
            pruning: spec.pruning,
            library_reader: spec.library_reader,
            checksums: true,
        };
        let blocks =
            spec.blocks.iter().map(|block| block.open(&runtime)).collect::<Result<Vec<_>>>()?;
        Ok(Self { spec, program, runtime, run, context, blocks, window: None })
    }

    /// Matching traces of a unit, in the order of their ids.
    pub(crate) async fn run(&mut self, unit: WorkUnit) -> Result<Vec<TraceResult>> {
        if self.run.is_stopped() {
            return Ok(Vec::new());
        }
        let found = if self.spec.memory_source.is_some() {
            self.run_memory(unit)?
        } else {
            self.run_block(unit).await?
        };
        self.run.unit_done();
        Ok(found)
    }

    fn run_memory(&self, unit: WorkUnit) -> Result<Vec<TraceResult>> {
        let name = self.spec.memory_source.as_deref().unwrap_or_default();
        let traces = self.runtime.traces(name).ok_or_else(|| {
            Error::Internal(format!("the plan reads {name}, which this process has not loaded"))
        })?;
        let rows = unit.first_row as usize..(unit.end_row as usize).min(traces.len());
        self.evaluate_memory(traces.get(rows).unwrap_or_default().to_vec())
    }

    /// Traces held in memory; never lacks anything.
    fn evaluate_memory(&self, traces: Vec<Trace>) -> Result<Vec<TraceResult>> {
        let batch = MemoryBatch::new(traces);
        let never = || Error::Internal("traces in memory lack a column".to_owned());
        let mut kept = Mask::all(batch.traces().len());
        if let Some(range) = self.spec.time_range() {
            kept.and(&self.in_range(&batch, &kept, range).map_err(|_| never())?);
        }
        match self.evaluate(&batch, kept, None) {
            Ok(results) => Ok(results.into_iter().map(|(_, result)| result).collect()),
            Err(Stop::Query(error)) => Err(error),
            Err(Stop::Fault(Fault::Failed(error))) => Err(error.into()),
            Err(Stop::Fault(Fault::Missing)) => Err(never()),
        }
    }

    async fn run_block(&mut self, unit: WorkUnit) -> Result<Vec<TraceResult>> {
        let block = self.blocks[unit.block as usize].clone();
        let open = OpenBlock::open(&block, &self.context).await?;
        let rows = unit.first_row..unit.end_row;
        let window = match self.window.take() {
            Some((last, mut window))
                if last == unit.block && window.row_group() == unit.row_group as usize =>
            {
                window.advance(rows);
                window
            }
            _ => Window::new(open, unit.row_group as usize, rows, self.context.clone()),
        };
        let mut batch = BlockBatch::new(window);
        let result = self.run_batch(&mut batch, unit.block).await;
        self.window = Some((unit.block, batch.into_window()));
        result
    }

    async fn run_batch(&self, batch: &mut BlockBatch, block: u32) -> Result<Vec<TraceResult>> {
        let n_rows = batch.window().n_rows();
        let (kept, mut merged) = self.set_shared_apart(batch, block).await?;
        self.run.inspected_traces.fetch_add(n_rows as u64, Ordering::Relaxed);
        let results = self.evaluate_block(batch, kept).await?;
        let mut results: Vec<TraceResult> = results.into_iter().map(|(_, result)| result).collect();
        if !merged.is_empty() {
            merged.extend(results);
            merged.sort_by_key(|result| result.trace_id);
            results = merged;
        }
        if self.spec.limit > 0 {
            results.truncate(usize::try_from(self.spec.limit).unwrap_or(usize::MAX));
        }
        Ok(results)
    }

    async fn evaluate_block(
        &self,
        batch: &mut BlockBatch,
        mut kept: Mask,
    ) -> Result<Vec<(u32, TraceResult)>> {
        if self.context.pruning {
            // Dictionaries first: they may prove that nothing in the row group matches.
            for condition in &self.program.conditions {
                batch.prefetch_tables(&condition.column);
            }
            let possible = demand(batch, |batch| possible(batch, &self.program)).await?;
            if !possible {
                let skips = u64::from(batch.window().rows().start == 0);
                self.run.io.row_groups_skipped.fetch_add(skips, Ordering::Relaxed);
                return Ok(Vec::new());
            }
        }
        for column in self.cheap_columns(batch) {
            batch.prefetch(&column, &kept);
        }
        if let Some(range) = self.spec.time_range() {
            batch.prefetch(&Column::TraceStart, &kept);
            batch.prefetch(&Column::TraceEnd, &kept);
            let traces = kept.clone();
            kept.and(&demand(batch, |batch| self.in_range(batch, &traces, range)).await?);
        }
        if self.context.pruning && self.has_expensive(batch) {
            let traces = kept.clone();
            kept = demand(batch, |batch| {
                let mut narrowing = Batch::new(batch, &self.program, traces.clone())?;
                let maybe = |column: &Column| batch.is_expensive(column);
                narrowing.maybe = Some(&maybe);
                narrowing.narrow()
            })
            .await?;
        }
        if !kept.any() {
            return Ok(Vec::new());
        }
        let limit = match self.spec.limit {
            0 => None,
            limit => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
        };
        for _ in 0..MAX_ROUNDS {
            if self.run.is_stopped() {
                return Ok(Vec::new());
            }
            match self.evaluate(&*batch, kept.clone(), limit) {
                Ok(results) => {
                    let n_spans = batch.structure().map_or(0, |structure| structure.n_spans());
                    self.run.inspected_spans.fetch_add(n_spans as u64, Ordering::Relaxed);
                    return Ok(results);
                }
                Err(Stop::Query(error)) => return Err(error),
                Err(Stop::Fault(Fault::Failed(error))) => return Err(error.into()),
                Err(Stop::Fault(Fault::Missing)) => batch.fetch().await?,
            }
        }
        Err(never_satisfied())
    }

    /// Evaluates and reads results. Starts anew after each fetch; what was decoded is kept.
    fn evaluate(
        &self,
        data: &dyn TraceData,
        traces: Mask,
        limit: Option<usize>,
    ) -> Result<Vec<(u32, TraceResult)>, Stop> {
        let batch = Batch::new(data, &self.program, traces)?;
        let flow = batch.run()?;
        let flow = match (flow, limit) {
            (Flow::Mask(mask), Some(limit)) => first_traces(&batch, mask, limit),
            (flow, _) => flow,
        };
        let mut sets: Vec<Spanset> = batch.sets(flow);
        if let Some(limit) = limit {
            let mut n_traces = 0;
            let mut last = None;
            sets.retain(|set| {
                n_traces += usize::from(last != Some(set.trace));
                last = Some(set.trace);
                n_traces <= limit
            });
        }
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        let mut matched = Mask::none(batch.structure.n_traces());
        sets.iter().for_each(|set| matched.set(set.trace as usize));
        self.prefetch_results(data, &matched);
        let batch = Batch::new(data, &self.program, matched)?;
        let options = ResultOptions {
            spans_per_spanset: usize::try_from(self.spec.spans_per_spanset).unwrap_or(usize::MAX),
        };
        Ok(batch.results(&sets, options)?)
    }

    fn prefetch_results(&self, data: &dyn TraceData, matched: &Mask) {
        let mut columns = vec![
            Column::TraceId,
            Column::RootServiceName,
            Column::RootSpanName,
            Column::TraceStart,
            Column::TraceDuration,
            Column::SpanId,
            Column::SpanStart,
            Column::SpanDuration,
            Column::StatusCode,
            Column::Attribute(Level::Resource, "service.name".to_owned()),
        ];
        if self.program.names_wanted {
            columns.push(Column::Name);
        }
        columns.iter().for_each(|column| data.hint(column, matched));
        self.field_columns().iter().for_each(|column| data.hint(column, matched));
    }

    /// Columns read by value.
    fn field_columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        for field in &self.program.fields {
            match &field.name {
                FieldName::Attribute { scope, key } => {
                    let level = crate::evaluate::compile::level(*scope);
                    columns.push(Column::Attribute(level, key.clone()));
                    if *scope == AttributeScope::Unscoped {
                        columns.push(Column::Attribute(Level::Resource, key.clone()));
                    }
                }
                FieldName::Intrinsic(intrinsic) => {
                    columns.extend(crate::evaluate::compile::intrinsic_column(*intrinsic));
                }
                FieldName::Parent => {}
            }
        }
        columns
    }

    /// Columns the first evaluation will want and that need no generic attribute list.
    fn cheap_columns(&self, batch: &BlockBatch) -> Vec<Column> {
        let mut columns: Vec<Column> =
            self.program.conditions.iter().map(|condition| condition.column.clone()).collect();
        // Fields that are only listed are read for matching traces alone.
        if self.program.reads_values {
            columns.extend(self.field_columns());
        }
        if self.program.is_structural {
            columns.extend([
                Column::NestedSetLeft,
                Column::NestedSetRight,
                Column::NestedSetParent,
            ]);
        }
        columns.retain(|column| !batch.is_expensive(column));
        if columns.is_empty() {
            columns.push(Column::StatusCode);
        }
        columns
    }

    fn has_expensive(&self, batch: &BlockBatch) -> bool {
        self.program.conditions.iter().any(|condition| batch.is_expensive(&condition.column))
    }

    /// Traces that overlap a range, both ends inclusive (8.2).
    fn in_range(&self, data: &dyn TraceData, traces: &Mask, range: (u64, u64)) -> Demand<Mask> {
        let (starts, ends) =
            (data.column(&Column::TraceStart, traces), data.column(&Column::TraceEnd, traces));
        let (starts, ends) = (starts?, ends?);
        let at = |column: &ColumnData, row| match column.get(row) {
            ValueRef::Int(nanos) => nanos.cast_unsigned(),
            _ => 0,
        };
        Ok(Mask::from_fn(traces.len(), |row| {
            at(&starts, row) <= range.1 && at(&ends, row) >= range.0
        }))
    }

    /// Traces of the window that lie in this block alone, and the results of those that lie in
    /// others too and whose first block this is: their parts are gathered and judged as one trace.
    async fn set_shared_apart(
        &self,
        batch: &mut BlockBatch,
        block: u32,
    ) -> Result<(Mask, Vec<TraceResult>)> {
        let n_rows = batch.window().n_rows();
        let mut kept = Mask::all(n_rows);
        let companions = &self.spec.blocks[block as usize].companions;
        if companions.is_empty() {
            return Ok((kept, Vec::new()));
        }
        let all = kept.clone();
        let column = demand(batch, |batch| batch.trace_ids(&all)).await?;
        let ids: Vec<TraceId> = (0..n_rows)
            .map(|row| match column.get(row) {
                ValueRef::Bytes(bytes) => TraceId::from_bytes(bytes),
                _ => TraceId::default(),
            })
            .collect();
        let mut holders: Vec<Vec<u32>> = vec![Vec::new(); n_rows];
        for &companion in companions {
            let other = &self.blocks[companion as usize];
            let digest = self.runtime.digest(other, &self.context).await?;
            let mut from = 0;
            for (row, id) in ids.iter().enumerate() {
                from += digest[from..].partition_point(|other| other < id);
                if digest.get(from) == Some(id) {
                    holders[row].push(companion);
                }
            }
        }
        let mut whole = Vec::new();
        for (row, holders) in holders.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            kept.clear(row);
            let scanned = |holder: &u32| self.spec.blocks[*holder as usize].scanned;
            if holders.iter().any(|holder| *holder < block && scanned(holder)) {
                continue; // A block before this one has judged it.
            }
            let mut parts = Vec::with_capacity(holders.len() + 1);
            for holder in std::iter::once(&block).chain(holders) {
                let held = &self.blocks[*holder as usize];
                parts.extend(find_in_block(held, ids[row], &self.context).await?);
            }
            whole.extend(Trace::combine(parts));
        }
        let merged = if whole.is_empty() { Vec::new() } else { self.evaluate_memory(whole)? };
        Ok((kept, merged))
    }
}

/// Asks until nothing is missing.
async fn demand<T>(
    batch: &mut BlockBatch,
    mut ask: impl FnMut(&BlockBatch) -> Demand<T>,
) -> Result<T> {
    for _ in 0..MAX_ROUNDS {
        match ask(batch) {
            Ok(answer) => return Ok(answer),
            Err(Fault::Missing) => batch.fetch().await?,
            Err(Fault::Failed(error)) => return Err(error.into()),
        }
    }
    Err(never_satisfied())
}

fn never_satisfied() -> Error {
    Error::Internal("a column stays missing after it was fetched".to_owned())
}

fn first_traces(batch: &Batch<'_>, mut mask: Mask, limit: usize) -> Flow {
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
    Flow::Mask(mask)
}

/// False if dictionaries prove that no span of the row group can pass the first stage.
fn possible(batch: &BlockBatch, program: &Program) -> Demand<bool> {
    match program.stages.first() {
        Some(StageNode::Spanset(node)) => possible_spanset(batch, program, node),
        _ => Ok(true),
    }
}

fn possible_spanset(batch: &BlockBatch, program: &Program, node: &SpansetNode) -> Demand<bool> {
    use traceql_language::analyze::ir::{SpansetOp, StructuralMode};
    match node {
        SpansetNode::Filter(filter) => possible_bool(batch, program, &filter.body),
        SpansetNode::Pipeline(stages) => match stages.first() {
            Some(StageNode::Spanset(node)) => possible_spanset(batch, program, node),
            _ => Ok(true),
        },
        SpansetNode::Operation { left, op, right } => {
            let left = possible_spanset(batch, program, left);
            let right = possible_spanset(batch, program, right);
            let (left, right) = (left?, right?);
            Ok(match op {
                SpansetOp::Or => left || right,
                SpansetOp::Structural { mode: StructuralMode::Negated, .. } => right,
                SpansetOp::And | SpansetOp::Structural { .. } => left && right,
            })
        }
    }
}

/// False only if the expression is true on no span of the row group.
fn possible_bool(batch: &BlockBatch, program: &Program, node: &BoolNode) -> Demand<bool> {
    match node {
        BoolNode::Constant(value) => Ok(*value),
        BoolNode::And(left, right) => {
            let left = possible_bool(batch, program, left);
            let right = possible_bool(batch, program, right);
            Ok(left? && right?)
        }
        BoolNode::Or(left, right) => {
            let left = possible_bool(batch, program, left);
            let right = possible_bool(batch, program, right);
            Ok(left? || right?)
        }
        BoolNode::Test(number) => match &program.tests[*number].what {
            TestKind::Never => Ok(false),
            TestKind::Column(condition) => {
                Ok(!batch.is_impossible(&program.conditions[*condition])?)
            }
            TestKind::Unscoped { span, resource, .. } => {
                let span = batch.is_impossible(&program.conditions[*span]);
                let resource = batch.is_impossible(&program.conditions[*resource]);
                Ok(!(span? && resource?))
            }
            _ => Ok(true),
        },
        _ => Ok(true),
    }
}
