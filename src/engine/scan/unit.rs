//! One work unit: fetch, narrow, evaluate, hand over. Pruning spares work here and decides nothing:
//! every trace that is handed over has been evaluated on its values. What becomes of the spans that
//! are left is a [`Sink`]'s business.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use traceql_blocks::bucket::Block;
use traceql_blocks::model::TraceId;
use traceql_blocks::read::batch::TraceData;
use traceql_blocks::read::block_batch::BlockBatch;
use traceql_blocks::read::find::find_present;
use traceql_blocks::read::leaf::{Demand, Fault, Window};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::memory::MemoryBatch;
use traceql_blocks::read::open::{MemoryLimit, OpenBlock, ReadContext};
use traceql_blocks::read::rows::StoredTrace;
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::Column;

use super::common::common_rows;
use super::spec::{ScanSpec, WorkUnit};
use super::units;
use crate::error::{Error, Result};
use crate::evaluate::compile::{BoolNode, Program, SpansetNode, StageNode, TestKind, VerdictNode};
use crate::evaluate::field::Batch;
use crate::evaluate::pipeline::{Flow, Stop};
use crate::runtime::{QueryRun, Runtime};

/// Fetches a unit may take. A query needs a handful; more means that a read never finds its pages.
const MAX_ROUNDS: usize = 1_000;

/// What becomes of the spans that evaluation leaves: results of a search, partial sums of a metric.
pub(crate) trait Sink: Send {
    /// Columns it reads of many candidate traces, beyond those that evaluation reads.
    fn columns(&self) -> Vec<Column>;

    /// True if it takes no more of this unit.
    fn is_full(&self) -> bool {
        false
    }

    /// Takes what is left of a batch. After a fault it is asked again with the same traces, so it
    /// changes nothing before everything it reads is there.
    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop>;
}

/// One sink for all readers of a partition.
impl<S: Sink> Sink for &Mutex<S> {
    fn columns(&self) -> Vec<Column> {
        self.lock().columns()
    }

    fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
        self.lock().take(batch, flow)
    }
}

/// Runs units of one partition, one after the other.
pub(crate) struct UnitRunner {
    spec: Arc<ScanSpec>,
    program: Arc<Program>,
    runtime: Arc<Runtime>,
    run: Arc<QueryRun>,
    context: ReadContext,
    blocks: Arc<[Block]>,
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
            shared: Arc::clone(&run.pages),
            io: runtime.io.clone(),
            pruning: spec.pruning,
            library_reader: spec.library_reader,
            checksums: true,
            stops_early: spec.ordered,
            memory: MemoryLimit {
                bytes: run.memory_limit_bytes as u64,
                readers: u64::from(spec.n_partitions) * u64::from(spec.n_readers.max(1)),
            },
        };
        let blocks = spec.blocks.iter().map(|block| block.open(&runtime)).collect::<Result<_>>()?;
        Ok(Self { spec, program, runtime, run, context, blocks, window: None })
    }

    /// Another one for the same scan.
    pub(crate) fn another(&self) -> Self {
        Self {
            spec: Arc::clone(&self.spec),
            program: Arc::clone(&self.program),
            runtime: Arc::clone(&self.runtime),
            run: Arc::clone(&self.run),
            context: self.context.clone(),
            blocks: Arc::clone(&self.blocks),
            window: None,
        }
    }

    /// Evaluates a unit and hands what is left to a sink: first the traces that lie in several
    /// blocks, all at once, then the others in the order of their ids.
    pub(crate) async fn run(&mut self, unit: WorkUnit, sink: &mut impl Sink) -> Result<()> {
        // What is in memory is never waited for: here a query can be ended, and others have a turn.
        tokio::task::yield_now().await;
        if self.run.is_stopped() {
            return Ok(());
        }
        if self.spec.memory_source.is_some() {
            self.run_memory(unit, sink)?;
        } else if unit.is_whole() {
            let parts = self.cut(unit.block).await;
            for part in self.or_left_out(unit.block, parts)? {
                if self.run.is_stopped() || sink.is_full() {
                    break;
                }
                let done = self.run_rows(part, sink).await;
                self.or_left_out(part.block, done)?;
            }
        } else {
            let done = self.run_rows(unit, sink).await;
            self.or_left_out(unit.block, done)?;
        }
        self.run.unit_done();
        Ok(())
    }

    /// What was read of a block, or nothing if it cannot be read and may be left out. A sink has taken
    /// whole traces by then, or none.
    fn or_left_out<T: Default>(&self, block: u32, read: Result<T, impl Into<Error>>) -> Result<T> {
        self.run.left_out.or_nothing(&self.blocks[block as usize], read)
    }

    fn run_memory(&self, unit: WorkUnit, sink: &mut impl Sink) -> Result<()> {
        let name = self.spec.memory_source.as_deref().unwrap_or_default();
        let traces = self.runtime.traces(name).ok_or_else(|| {
            Error::Internal(format!("the plan reads {name}, which this process has not loaded"))
        })?;
        let rows = unit.first_row as usize..(unit.end_row as usize).min(traces.len());
        let traces = traces.get(rows).unwrap_or_default().to_vec();
        self.evaluate_memory(&MemoryBatch::new(traces), sink)
    }

    /// Traces held in memory; never lacks anything.
    fn evaluate_memory(&self, batch: &MemoryBatch, sink: &mut impl Sink) -> Result<()> {
        let never = || Error::Internal("traces in memory lack a column".to_owned());
        let mut kept = Mask::all(batch.traces().len());
        if let Some(range) = self.spec.time_range() {
            kept.and(&self.in_range(batch, &kept, range).map_err(|_| never())?);
        }
        let evaluate = || {
            let batch = Batch::new(batch, &self.program, kept)?;
            let flow = batch.run()?;
            sink.take(&batch, &flow)
        };
        match evaluate() {
            Ok(()) => Ok(()),
            Err(Stop::Query(error)) => Err(error),
            Err(Stop::Fault(Fault::Failed(error))) => Err(error.into()),
            Err(Stop::Fault(Fault::Missing)) => Err(never()),
        }
    }

    /// The units of a block that was not opened when the plan was made.
    async fn cut(&self, block: u32) -> Result<Vec<WorkUnit>> {
        let open = OpenBlock::open(&self.blocks[block as usize], &self.context).await?;
        let MemoryLimit { bytes, readers } = self.context.memory;
        let unit_spans = units::spans_within(bytes, readers);
        Ok(units::cut(&[(block, Some(open))], false, unit_spans))
    }

    async fn run_rows(&mut self, unit: WorkUnit, sink: &mut impl Sink) -> Result<()> {
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
        self.run_batch(&mut batch, unit.block, sink).await?;
        self.window = Some((unit.block, batch.into_window()));
        Ok(())
    }

    async fn run_batch(
        &self,
        batch: &mut BlockBatch,
        block: u32,
        sink: &mut impl Sink,
    ) -> Result<()> {
        let n_rows = batch.window().n_rows();
        let (kept, whole) = self.set_shared_apart(batch, block).await?;
        if !whole.is_empty() {
            self.evaluate_memory(&MemoryBatch::of_stored(whole), sink)?;
        }
        self.run.inspected_traces.fetch_add(n_rows as u64, Ordering::Relaxed);
        self.evaluate_block(batch, kept, sink).await
    }

    async fn evaluate_block(
        &self,
        batch: &mut BlockBatch,
        mut kept: Mask,
        sink: &mut impl Sink,
    ) -> Result<()> {
        if self.context.pruning {
            // Dictionaries first: they may prove that nothing in the row group matches.
            for condition in &self.program.conditions {
                batch.prefetch_tables(&condition.column);
            }
            let possible = demand(batch, |batch| possible(batch, &self.program)).await?;
            if !possible {
                let skips = u64::from(batch.window().rows().start == 0);
                self.run.io.row_groups_skipped.fetch_add(skips, Ordering::Relaxed);
                return Ok(());
            }
        }
        let wanted = sink.columns();
        for column in self.cheap_columns(batch, &wanted) {
            batch.prefetch(&column, &kept);
        }
        if let Some(range) = self.spec.time_range() {
            batch.prefetch(&Column::TraceStart, &kept);
            if !self.spec.by_start {
                batch.prefetch(&Column::TraceEnd, &kept);
            }
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
            return Ok(());
        }
        // Each asks until what it misses has been fetched; what was decoded is kept.
        let mut flow = None;
        for _ in 0..MAX_ROUNDS {
            if self.run.is_stopped() {
                return Ok(());
            }
            match self.evaluate(&*batch, &kept, &mut flow, sink) {
                Ok(()) => {
                    let n_spans = batch.structure().map_or(0, |structure| structure.n_spans());
                    self.run.inspected_spans.fetch_add(n_spans as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Stop::Query(error)) => return Err(error),
                Err(Stop::Fault(Fault::Failed(error))) => return Err(error.into()),
                Err(Stop::Fault(Fault::Missing)) => batch.fetch().await?,
            }
        }
        Err(never_satisfied())
    }

    /// Runs the pipeline unless that is done, and hands its outcome over.
    fn evaluate(
        &self,
        data: &dyn TraceData,
        traces: &Mask,
        flow: &mut Option<Flow>,
        sink: &mut impl Sink,
    ) -> Result<(), Stop> {
        let batch = Batch::new(data, &self.program, traces.clone())?;
        if flow.is_none() {
            *flow = Some(batch.run()?);
        }
        flow.as_ref().map_or(Ok(()), |flow| sink.take(&batch, flow))
    }

    /// Columns the first evaluation will want and that need no generic attribute list.
    fn cheap_columns(&self, batch: &BlockBatch, of_sink: &[Column]) -> Vec<Column> {
        let mut columns: Vec<Column> =
            self.program.conditions.iter().map(|condition| condition.column.clone()).collect();
        columns.extend_from_slice(of_sink);
        // Fields that are only listed are read for matching traces alone.
        if self.program.reads_values {
            columns.extend(self.program.field_columns());
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
        let at = |column: &ColumnData, row| match column.get(row) {
            ValueRef::Int(nanos) => nanos.cast_unsigned(),
            _ => 0,
        };
        let starts = data.column(&Column::TraceStart, traces);
        if self.spec.by_start {
            let starts = starts?;
            return Ok(Mask::from_fn(traces.len(), |row| at(&starts, row) <= range.1));
        }
        let ends = data.column(&Column::TraceEnd, traces);
        let (starts, ends) = (starts?, ends?);
        Ok(Mask::from_fn(traces.len(), |row| {
            at(&starts, row) <= range.1 && at(&ends, row) >= range.0
        }))
    }

    /// Traces of the window that no page before has shown: those that lie in this block alone, and those that lie in others too and whose
    /// first block this is, whole: their parts are gathered, to be judged as one trace.
    async fn set_shared_apart(
        &self,
        batch: &mut BlockBatch,
        block: u32,
    ) -> Result<(Mask, Vec<StoredTrace>)> {
        let n_rows = batch.window().n_rows();
        let mut kept = Mask::all(n_rows);
        let companions = &self.spec.blocks[block as usize].companions;
        let shown = self.spec.shown_of(block);
        let hidden = &self.blocks[block as usize].hidden;
        if companions.is_empty() && shown.is_none() && hidden.is_empty() {
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
        let is_shown = |row: usize| shown.is_some_and(|shown| ids[row] <= shown);
        let is_hidden: Vec<bool> = ids.iter().map(|id| hidden.contains(*id)).collect();
        let is_left_out = |row: usize| is_shown(row) || is_hidden[row];
        (0..n_rows).filter(|row| is_left_out(*row)).for_each(|row| kept.clear(row));
        let mut holders: Vec<Vec<u32>> = vec![Vec::new(); n_rows];
        for &companion in companions {
            let other = &self.blocks[companion as usize];
            let digest = self.runtime.digest(other, &self.context).await;
            let digest = self.or_left_out(companion, digest)?;
            for row in common_rows(&ids, &digest) {
                // Who hides a trace leaves it to the others.
                if !other.hidden.contains(ids[row]) {
                    holders[row].push(companion);
                }
            }
        }
        let mut whole = Vec::new();
        for (row, holders) in holders.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            kept.clear(row);
            let scanned = |holder: &u32| self.spec.blocks[*holder as usize].scanned;
            if is_left_out(row) || holders.iter().any(|holder| *holder < block && scanned(holder)) {
                continue; // A block before this one has judged it, or the page before showed it.
            }
            let mut parts = Vec::with_capacity(holders.len() + 1);
            for holder in std::iter::once(&block).chain(holders) {
                let held = &self.blocks[*holder as usize];
                let part = find_present(held, ids[row], &self.context).await;
                parts.extend(self.or_left_out(*holder, part)?);
            }
            whole.extend(StoredTrace::combine(parts));
        }
        Ok((kept, whole))
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
        SpansetNode::Verdict(node) => possible_verdict(batch, program, node),
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

/// What is negated is possible whatever dictionaries say.
fn possible_verdict(batch: &BlockBatch, program: &Program, node: &VerdictNode) -> Demand<bool> {
    match node {
        VerdictNode::Spans(node) => possible_spanset(batch, program, node),
        VerdictNode::Not(_) => Ok(true),
        VerdictNode::And(left, right) => {
            let left = possible_verdict(batch, program, left);
            let right = possible_verdict(batch, program, right);
            Ok(left? && right?)
        }
        VerdictNode::Or(left, right) => {
            let left = possible_verdict(batch, program, left);
            let right = possible_verdict(batch, program, right);
            Ok(left? || right?)
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
