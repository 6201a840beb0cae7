//! One search from selection to answer: select blocks, cut units, plan, execute, order.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use datafusion::prelude::SessionConfig;
use futures::StreamExt as _;
use parking_lot::Mutex;
use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::read::find::find_trace;
use traceql_language::analyze::ir::{MetricsExpr, TypedQuery};

use crate::error::{Error, Result};
use crate::options::QueryOptions;
use crate::outcome::{Outcome, QueryStats};
use crate::plan::{self, NodePlanner};
use crate::runtime::{QueryRun, Runtime};
use crate::scan::spec::{BlockRef, FORMAT, ScanSpec, WorkUnit};
use crate::scan::units;
use crate::search::combine::TraceOrder;
use crate::search::page::{self, Last};
use crate::search::rows::{self, Found, Row};
use crate::search::{Cursor, Gathered, OnTrace, Position, TraceResult};
use crate::select::{Opens, Selected, Selecting, Selection, read_context, select};

/// Blocks that a search which may stop early opens before it begins; others when their turn comes.
const FIRST_BLOCKS: usize = 8;

/// Traces of a unit of an in-memory source.
const MEMORY_UNIT: usize = 1_024;

/// A search that has been planned.
pub(crate) struct PlannedSearch {
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    pub(crate) spec: ScanSpec,
    pub(crate) stats: QueryStats,
    pub(crate) warnings: Vec<String>,
    pub(crate) skipped: bool,
}

/// Selects and plans.
pub(crate) async fn plan(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    source: &Source,
    tenants: &[TenantId],
    query: &TypedQuery,
    options: &QueryOptions,
) -> Result<PlannedSearch> {
    if matches!(query.metrics, Some(MetricsExpr::Math { .. })) {
        return Err(Error::Query("a search cannot answer math over metrics queries".to_owned()));
    }
    let limit = options.limit_of(query);
    let after = options.after.as_ref().map(|cursor| cursor.position(query)).transpose()?;
    let order = match (&after, query.order_by.is_empty(), query.hints.most_recent) {
        (_, false, _) => TraceOrder::Keyed,
        (Some(Position::Newest { start_unix_nanos, id }), _, true) => {
            TraceOrder::Newest { after: Some((*start_unix_nanos, *id)) }
        }
        (_, _, true) => TraceOrder::Newest { after: None },
        _ => TraceOrder::Found,
    };
    let stops_early = limit > 0 && order == TraceOrder::Found;
    let opens = match &after {
        _ if !stops_early => Opens::All,
        Some(Position::Found { block, .. }) => {
            Opens::Some { from: Some(*block), n_blocks: FIRST_BLOCKS }
        }
        _ => Opens::Some { from: None, n_blocks: FIRST_BLOCKS },
    };
    let Selecting { selection, mut stats, warnings, skipped } =
        select(runtime, run, source, tenants, options, opens).await?;
    let mut spec = scan(&selection, query, options, stops_early);
    if stops_early || order == TraceOrder::Keyed {
        spec.limit = limit as u64;
    }
    if let Some(position) = after {
        if tenants.len() > 1 {
            return Err(Error::Query(
                "pages are of one tenant: ask each tenant by itself".to_owned(),
            ));
        }
        page::begin(&mut spec, &selection, position)?;
    }
    stats.units_total = spec.units.len() as u64;
    run.planned(&stats);
    let logical =
        plan::search(spec.clone(), limit, order).map_err(crate::error::from_datafusion)?;
    let physical = physical(runtime, &logical).await?;
    Ok(PlannedSearch { logical, physical, spec, stats, warnings, skipped })
}

/// What a scan of a selection does. One that stops early goes through its units in order.
pub(crate) fn scan(
    selection: &Selection,
    query: &TypedQuery,
    options: &QueryOptions,
    stops_early: bool,
) -> ScanSpec {
    let threads = options.threads.max(1);
    let n_readers = selection.n_readers(options).div_ceil(threads);
    let unit_spans = units::spans_within(options.memory_bytes as u64, (threads * n_readers) as u64);
    let (blocks, units, memory_source) = match selection {
        Selection::Memory(name, traces) => {
            (Vec::new(), memory_units(traces.len()), Some(name.clone()))
        }
        Selection::Blocks(selected) => {
            let scanned: Vec<_> = (0_u32..)
                .zip(selected)
                .filter(|(_, selected)| selected.scanned)
                .map(|(at, selected)| (at, selected.open.clone()))
                .collect();
            (block_refs(selected), units::cut(&scanned, stops_early, unit_spans), None)
        }
    };
    let (start_unix_nanos, end_unix_nanos) = options.time_range.unwrap_or((0, 0));
    let threads = u32::try_from(threads.min(units.len().max(1))).unwrap_or(1);
    ScanSpec {
        format: FORMAT,
        query: query.canonical.clone(),
        start_unix_nanos,
        end_unix_nanos,
        spans_per_spanset: options.spans_per_spanset as u64,
        limit: 0,
        pruning: options.pruning,
        library_reader: options.library_reader,
        blocks,
        units,
        n_partitions: threads,
        memory_source,
        ordered: stops_early,
        by_start: false,
        after: None,
        n_readers: u32::try_from(n_readers).unwrap_or(1),
    }
}

/// The operators of a logical plan of ours.
pub(crate) async fn physical(
    runtime: &Runtime,
    logical: &LogicalPlan,
) -> Result<Arc<dyn ExecutionPlan>> {
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(NodePlanner)]);
    planner
        .create_physical_plan(logical, &runtime.session)
        .await
        .map_err(crate::error::from_datafusion)
}

fn memory_units(n_traces: usize) -> Vec<WorkUnit> {
    let row = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
    (0..n_traces)
        .step_by(MEMORY_UNIT)
        .map(|first| WorkUnit {
            block: 0,
            row_group: 0,
            first_row: row(first),
            end_row: row((first + MEMORY_UNIT).min(n_traces)),
        })
        .collect()
}

fn block_refs(selected: &[Selected]) -> Vec<BlockRef> {
    let bounds: Vec<_> = selected
        .iter()
        .map(|s| {
            let ids = s.open.as_ref().and_then(|open| {
                let groups = 0..open.n_row_groups();
                let bounds: Option<Vec<_>> = groups.map(|g| open.trace_id_bounds(g)).collect();
                let bounds = bounds?;
                let min = bounds.iter().map(|b| b.0).min()?;
                Some((min, bounds.iter().map(|b| b.1).max()?))
            });
            (s.block.clone(), ids)
        })
        .collect();
    selected
        .iter()
        .zip(units::companions(&bounds))
        .map(|(s, companions)| {
            let companions = if s.scanned { companions } else { Vec::new() };
            BlockRef::new(&s.block, companions, s.scanned)
        })
        .collect()
}

/// The task context in which a plan of ours runs.
pub(crate) fn task_context(runtime: &Arc<Runtime>, run: &Arc<QueryRun>) -> Arc<TaskContext> {
    let config =
        SessionConfig::new().with_extension(Arc::clone(runtime)).with_extension(Arc::clone(run));
    Arc::new(TaskContext::from(&runtime.session).with_session_config(config))
}

/// Plans and runs a search.
pub(crate) async fn search(
    runtime: &Arc<Runtime>,
    source: &Source,
    tenants: &[TenantId],
    query: &TypedQuery,
    options: &QueryOptions,
    on_trace: OnTrace<'_>,
) -> Result<Outcome<Option<Cursor>>> {
    let run = QueryRun::new(options);
    let planned = plan(runtime, &run, source, tenants, query, options).await?;
    let (n_found, last) = execute(runtime, &run, planned.physical, on_trace).await?;
    // A page that is not full is the last one; traces of several tenants have no order of pages.
    let is_full = n_found > 0 && n_found == options.limit_of(query) && tenants.len() == 1;
    let next = last.filter(|_| is_full).map(|last| page::end(&planned.spec, query, last));
    Ok(run.outcome(next.transpose()?, planned.stats, planned.warnings, planned.skipped))
}

/// Runs a plan of ours to its end and hands over each trace: in the order of the query if it has one,
/// else in the order in which they are found. How many there were, and where the last one stands.
pub(crate) async fn execute(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    physical: Arc<dyn ExecutionPlan>,
    on_trace: OnTrace<'_>,
) -> Result<(usize, Option<Last>)> {
    let mut stream = execute_stream(physical, task_context(runtime, run))
        .map_err(crate::error::from_datafusion)?;
    let (mut n_found, mut last) = (0, None);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(crate::error::from_datafusion)?;
        for row in rows::decode(&batch)? {
            if let Row::Trace(found) = row {
                let Found { unit, key, result } = *found;
                let (id, start_unix_nanos) = (result.trace_id, result.start_unix_nanos);
                n_found += 1;
                last = Some(Last { unit, key, id, start_unix_nanos });
                on_trace(result)?;
            }
        }
    }
    Ok((n_found, last))
}

/// Runs a plan of ours to its end; traces in the order of an answer.
pub(crate) async fn gather(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    query: &TypedQuery,
    physical: Arc<dyn ExecutionPlan>,
) -> Result<Vec<TraceResult>> {
    let gathered = Mutex::new(Gathered::of(query, run.memory_limit_bytes));
    execute(runtime, run, physical, &|trace| gathered.lock().push(trace)).await?;
    Ok(gathered.into_inner().into_answer().traces)
}

/// Finds a trace in every block that may hold a part of it.
pub(crate) async fn trace(
    runtime: &Arc<Runtime>,
    source: &Source,
    tenants: &[TenantId],
    id: TraceId,
    options: &QueryOptions,
) -> Result<Outcome<Option<Trace>>> {
    let run = QueryRun::new(options);
    let selecting = select(runtime, &run, source, tenants, options, Opens::None).await?;
    let answer = match &selecting.selection {
        Selection::Memory(_, traces) => {
            let found = traces.binary_search_by_key(&id, |trace| trace.id);
            found.ok().and_then(|at| traces.get(at).cloned())
        }
        Selection::Blocks(selected) => {
            let blocks: Vec<Block> = selected.iter().map(|s| s.block.clone()).collect();
            let context = read_context(runtime, &run, options);
            let without = |block: &Block, error: traceql_blocks::Error| {
                run.left_out.pass_over(block, error.into())
            };
            find_trace(&blocks, id, &context, without).await?
        }
    };
    Ok(run.outcome(answer, selecting.stats, selecting.warnings, selecting.skipped))
}
