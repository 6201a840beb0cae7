//! One metrics query from selection to answer: the time axis, a scan for each selection of spans,
//! and the series that the plan yields.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_language::analyze::ir::{MetricsExpr, MetricsFunction, TypedQuery};

use super::exec::collect;
use super::intervals::default_step;
use super::query::{Observed, observed};
use super::ranks::RELATIVE_ERROR;
use super::spec::{MetricsScanSpec, ObserveSpec};
use super::{MetricsAnswer, MetricsKind, MetricsRequest, Series, TimeAxis};
use crate::error::{Error, Result};
use crate::options::QueryOptions;
use crate::outcome::{Outcome, QueryStats};
use crate::plan;
use crate::query::{physical, scan, task_context};
use crate::runtime::{QueryRun, Runtime};
use crate::scan::spec::ScanSpec;
use crate::select::{Opens, Selecting, Selection, select};

const SECOND: u64 = 1_000_000_000;

/// A metrics query that has been planned.
pub(crate) struct PlannedMetrics {
    pub(crate) axis: TimeAxis,
    /// No range was asked for, and the source holds nothing that would tell one.
    pub(crate) is_timeless: bool,
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    /// Each selection of spans with its scan.
    pub(crate) selections: Vec<(Observed, ScanSpec)>,
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
    request: &MetricsRequest,
    options: &QueryOptions,
) -> Result<PlannedMetrics> {
    let observed = observed(query);
    if observed.is_empty() {
        return Err(Error::Query(
            "this query searches for traces; a metrics query ends with a function such as rate()"
                .to_owned(),
        ));
    }
    // With a range the axis is known before any block is; without one the blocks tell.
    let known = request.range.map(|range| axis(request, range)).transpose()?;
    let mut options = QueryOptions {
        time_range: known.map(|axis| (axis.starts().start, axis.end_unix_nanos())),
        limit: 0,
        ..options.clone()
    };
    let Selecting { selection, mut stats, warnings, skipped } =
        select(runtime, run, source, tenants, &options, Opens::All).await?;
    let axis = match known {
        Some(axis) => axis,
        None => {
            let (start, end) = extent(&selection).unwrap_or((0, 0));
            // The one interval of an instant query is open on the left; a range has one before it.
            let before = u64::from(request.kind == MetricsKind::Instant);
            axis(request, (start.saturating_sub(before), end.max(start + 1)))?
        }
    };
    check_memory(&axis, &options)?;
    // A range that holds all that there is spares no trace.
    let extent = extent(&selection);
    let (start, end) = extent.unwrap_or((0, 0));
    let range = (axis.starts().start, axis.end_unix_nanos());
    options.time_range = (start < range.0 || range.1 < end).then_some(range);
    let n_exemplars = exemplars(query, request, observed.len());
    let mut selections = Vec::with_capacity(observed.len());
    let mut scans = Vec::with_capacity(observed.len());
    let whole = ScanSpec { by_start: true, ..scan(&selection, query, &options, false) };
    let all = observed.clone();
    for (number, observed) in (0_u32..).zip(observed) {
        let mut spec = whole.clone();
        if observed.selects_nothing() {
            spec.units.clear();
        }
        stats.units_total += spec.units.len() as u64;
        if let Some(partials) = &run.partials {
            partials.plan(query, &all, axis, request, (&selection, &spec), options.memory_bytes);
        }
        let observe = ObserveSpec {
            query: query.canonical.clone(),
            selection: number,
            start_unix_nanos: axis.start_unix_nanos,
            step_nanos: axis.step_nanos,
            n_intervals: axis.n_intervals as u64,
            n_exemplars,
        };
        let text = format!("{} of selection {number}", observed.function.name());
        scans.push((MetricsScanSpec { scan: spec.clone(), observe }, text));
        selections.push((observed, spec));
    }
    run.planned(&stats);
    let logical = plan::metrics(scans).map_err(crate::error::from_datafusion)?;
    let physical = physical(runtime, &logical).await?;
    let is_timeless = request.range.is_none() && extent.is_none();
    Ok(PlannedMetrics {
        axis,
        is_timeless,
        logical,
        physical,
        selections,
        stats,
        warnings,
        skipped,
    })
}

fn axis(request: &MetricsRequest, (start, end): (u64, u64)) -> Result<TimeAxis> {
    Ok(match request.kind {
        MetricsKind::Instant => TimeAxis::instant(start, end)?,
        MetricsKind::Range { step_nanos } => {
            let step = step_nanos.unwrap_or_else(|| default_step(end.saturating_sub(start)));
            TimeAxis::range(start, end, step, request.max_intervals)?
        }
    })
}

/// A range in which every span starts that a selection holds, both ends inclusive; none if it
/// holds nothing.
fn extent(selection: &Selection) -> Option<(u64, u64)> {
    match selection {
        Selection::Blocks(selected) => {
            let metas = selected.iter().filter(|s| s.scanned).map(|s| &s.block.meta);
            // Times of a block are kept in seconds, rounded down.
            metas
                .map(|meta| {
                    let (start, end) = (meta.start_unix_nanos.max(0), meta.end_unix_nanos.max(0));
                    (start.cast_unsigned(), end.cast_unsigned().saturating_add(SECOND))
                })
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
        }
        Selection::Memory(_, traces) => traces
            .iter()
            .flat_map(Trace::spans)
            .map(|at| (at.span.start_unix_nanos, at.span.start_unix_nanos))
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
    }
}

/// One list of samples at least must fit.
fn check_memory(axis: &TimeAxis, options: &QueryOptions) -> Result<()> {
    if axis.n_intervals.saturating_mul(64) > options.memory_bytes {
        return Err(Error::Memory {
            limit_bytes: options.memory_bytes,
            what: format!("{} intervals; ask for a longer step", axis.n_intervals),
        });
    }
    Ok(())
}

/// Exemplars of each selection (section 5).
fn exemplars(query: &TypedQuery, request: &MetricsRequest, n_selections: usize) -> u32 {
    if request.kind == MetricsKind::Instant {
        return 0;
    }
    let wanted = match query.hints.exemplars {
        Some(u32::MAX) | None => request.exemplars,
        Some(wanted) => wanted,
    };
    let wanted = wanted.min(request.max_exemplars);
    match (wanted, u32::try_from(n_selections)) {
        (0, _) => 0,
        (wanted, Ok(n)) => (wanted / n.max(1)).max(1),
        (_, Err(_)) => 1,
    }
}

/// Plans and runs a metrics query.
pub(crate) async fn answer(
    runtime: &Arc<Runtime>,
    source: &Source,
    tenants: &[TenantId],
    query: &TypedQuery,
    request: &MetricsRequest,
    options: &QueryOptions,
) -> Result<Outcome<MetricsAnswer>> {
    let run = QueryRun::new(options);
    let planned = plan(runtime, &run, source, tenants, query, request, options).await?;
    let mut series = execute(runtime, &run, planned.physical).await?;
    if planned.is_timeless {
        series.clear();
    }
    let mut warnings = planned.warnings;
    if run.sketched.load(Ordering::Relaxed) {
        warnings.push(sketched_warning());
    } else if wants_exact(query) && !has_quantiles(query.metrics.as_ref()) {
        warnings.push("`exact` concerns quantile_over_time() alone".to_owned());
    }
    let n_series = series.len();
    let is_cut = request.max_series > 0 && n_series > request.max_series;
    if is_cut {
        series.truncate(request.max_series);
    }
    let answer = MetricsAnswer { axis: planned.axis, series };
    let mut outcome = run.outcome(answer, planned.stats, warnings, planned.skipped);
    if is_cut {
        outcome.partial.get_or_insert_with(|| {
            format!(
                "{} of {n_series} series: the limit is reached; topk() chooses, a narrower by() makes \
                 fewer",
                request.max_series
            )
        });
    }
    Ok(outcome)
}

/// What to know of quantiles that were not computed of all values.
pub(crate) fn sketched_warning() -> String {
    format!(
        "quantiles are within {:.1} % of the exact ones: the values were too many to keep",
        RELATIVE_ERROR * 100.0
    )
}

fn wants_exact(query: &TypedQuery) -> bool {
    query.hints.all.iter().any(|(name, _)| name == "exact")
}

fn has_quantiles(metrics: Option<&MetricsExpr>) -> bool {
    match metrics {
        Some(MetricsExpr::Query { function, .. }) => {
            matches!(function, MetricsFunction::QuantileOverTime { .. })
        }
        Some(MetricsExpr::Math { left, right, .. }) => {
            has_quantiles(Some(left)) || has_quantiles(Some(right))
        }
        Some(MetricsExpr::Constant(_)) | None => false,
    }
}

/// Runs a plan of ours to its end.
pub(crate) async fn execute(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    physical: Arc<dyn ExecutionPlan>,
) -> Result<Vec<Series>> {
    let stream = execute_stream(physical, task_context(runtime, run))
        .map_err(crate::error::from_datafusion)?;
    collect(stream).await
}
