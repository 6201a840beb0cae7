//! Every stage of one query, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use datafusion::physical_plan::displayable;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::read::open::OpenBlock;
use traceql_blocks::schema::{Column, LeafIndex};
use traceql_language::analyze::ir::{MetricsFunction, TypedQuery};

use crate::error::Result;
use crate::evaluate::columns::kin_columns;
use crate::evaluate::compile::{Program, compile_search};
use crate::evaluate::result::shown_columns;
use crate::metrics::{self, MetricsRequest};
use crate::options::QueryOptions;
use crate::outcome::QueryStats;
use crate::query;
use crate::runtime::{QueryRun, Runtime};
use crate::scan::spec::ScanSpec;
use crate::scan::units;
use crate::{ExplainMode, Explanation};

/// Plans, and runs if asked to.
pub(crate) async fn explain(
    runtime: &Arc<Runtime>,
    source: &Source,
    tenants: &[TenantId],
    query: &TypedQuery,
    options: &QueryOptions,
    mode: ExplainMode,
) -> Result<Explanation> {
    if query.metrics.is_some() {
        return explain_metrics(runtime, source, tenants, query, options, mode).await;
    }
    let run = QueryRun::new(options);
    let asked = Instant::now();
    let planned = query::plan(runtime, &run, source, tenants, query, options).await?;
    let planning = asked.elapsed();
    let program = compile_search(query)?;
    let mut sections = Vec::new();
    let mut add = |title: &str, body: String| sections.push((title.to_owned(), body));
    if mode != ExplainMode::DryRun {
        add("query", query.canonical.clone());
        add("typed query", typed(query));
        add("conditions", conditions(&program));
        add("logical plan", planned.logical.display_indent().to_string());
        add("physical plan", displayable(planned.physical.as_ref()).indent(true).to_string());
    }
    let mut show = shown_columns(&program);
    show.extend(program.field_columns());
    let columns = Columns { decide: touched_columns(&program), show };
    add("scan", estimate(runtime, &run, &planned.stats, &planned.spec, &columns, options).await?);
    if mode == ExplainMode::Analyze {
        let (planned_bytes, planned_requests) =
            (run.io.bytes.load(Ordering::Relaxed), run.io.requests.load(Ordering::Relaxed));
        let asked = Instant::now();
        let traces = query::gather(runtime, &run, query, planned.physical).await?;
        let executing = asked.elapsed();
        let mut stats = QueryStats::default();
        run.count_into(&mut stats);
        let mut body = String::new();
        let mut line = |name: &str, value: String| _ = writeln!(body, "{name:<22} {value}");
        line("plan", format!("{planning:.2?}, {planned_requests} requests, {planned_bytes} bytes"));
        let planned_io = (planned_requests, planned_bytes);
        line("SearchScanExec", scanned(&stats, planned.stats.units_total, planned_io));
        line("TraceCombineExec", format!("{} traces", traces.len()));
        line("execution", format!("{executing:.2?}"));
        add("run", body.trim_end().to_owned());
    }
    Ok(Explanation { sections })
}

/// What a scan has read, beside what planning read: requests and bytes.
fn scanned(stats: &QueryStats, units_total: u64, planned: (u64, u64)) -> String {
    format!(
        "{} of {units_total} units, {} traces looked at, {} pages, {} requests, {} bytes",
        stats.units_done,
        stats.inspected_traces,
        stats.pages_read,
        stats.requests - planned.0,
        stats.bytes_read - planned.1,
    )
}

/// The same of a metrics query, over everything the source holds unless the options name a range.
async fn explain_metrics(
    runtime: &Arc<Runtime>,
    source: &Source,
    tenants: &[TenantId],
    query: &TypedQuery,
    options: &QueryOptions,
    mode: ExplainMode,
) -> Result<Explanation> {
    let run = QueryRun::new(options);
    let request = MetricsRequest { range: options.time_range, ..MetricsRequest::default() };
    let asked = Instant::now();
    let planned = metrics::plan(runtime, &run, source, tenants, query, &request, options).await?;
    let planning = asked.elapsed();
    let mut sections = Vec::new();
    let mut add = |title: &str, body: String| sections.push((title.to_owned(), body));
    if mode != ExplainMode::DryRun {
        add("query", query.canonical.clone());
        add("typed query", format!("{:#?}", query.metrics));
        add("logical plan", planned.logical.display_indent().to_string());
        add("physical plan", displayable(planned.physical.as_ref()).indent(true).to_string());
    }
    for (number, (observed, spec)) in planned.selections.iter().enumerate() {
        let (program, _) = metrics::program(observed)?;
        let columns = Columns {
            decide: touched_columns(&program),
            show: metrics::columns(observed, planned.axis),
        };
        let (mut title, mut body) = ("scan".to_owned(), String::new());
        if planned.selections.len() > 1 {
            title = format!("scan of selection {number}");
        }
        if mode != ExplainMode::DryRun {
            body = format!("conditions\n{}\n", conditions(&program));
        }
        body += &estimate(runtime, &run, &planned.stats, spec, &columns, options).await?;
        if matches!(observed.function, MetricsFunction::Compare { .. }) {
            body += "\nand every attribute of the spans that are left";
        }
        add(&title, body);
    }
    if mode == ExplainMode::Analyze {
        let planned_io =
            (run.io.requests.load(Ordering::Relaxed), run.io.bytes.load(Ordering::Relaxed));
        let asked = Instant::now();
        let series = metrics::execute(runtime, &run, planned.physical).await?;
        let executing = asked.elapsed();
        let mut stats = QueryStats::default();
        run.count_into(&mut stats);
        let mut body = String::new();
        let mut line = |name: &str, value: String| _ = writeln!(body, "{name:<22} {value}");
        let (requests, bytes) = planned_io;
        line("plan", format!("{planning:.2?}, {requests} requests, {bytes} bytes"));
        line("MetricsScanExec", scanned(&stats, planned.stats.units_total, planned_io));
        line("MetricsSeriesExec", format!("{} series", series.len()));
        line("execution", format!("{executing:.2?}"));
        add("run", body.trim_end().to_owned());
    }
    Ok(Explanation { sections })
}

/// What a search selects by, and what arranges its traces.
fn typed(query: &TypedQuery) -> String {
    let mut body = format!("{:#?}", query.pipeline);
    if !query.order_by.is_empty() {
        _ = write!(body, "\norder by {:#?}", query.order_by);
    }
    if let Some(limit) = query.limit {
        _ = write!(body, "\nlimit {limit}");
    }
    body
}

fn conditions(program: &Program) -> String {
    if program.conditions.is_empty() {
        return "none: every span is read".to_owned();
    }
    let lines = program.conditions.iter().map(|condition| {
        format!("{:>2}  {:?}  {:?}", condition.id, condition.column, condition.predicate)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Blocks, units, and what the scan may read: all pages of all columns that decide, and of those that
/// results show of what matches; gaps between pages that are read in one request come on top. A unit
/// asks once for what it wants of a leaf, unless pages it can do without lie between.
async fn estimate(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    planned: &QueryStats,
    spec: &ScanSpec,
    columns: &Columns,
    options: &QueryOptions,
) -> Result<String> {
    let context = crate::select::read_context(runtime, run, options);
    let mut paths: BTreeSet<String> = BTreeSet::new();
    let (mut decided_bytes, mut shown_bytes, mut n_requests) = (0, 0, 0);
    for (number, block) in spec.blocks.iter().enumerate().filter(|(_, block)| block.scanned) {
        let open = OpenBlock::open(&block.open(runtime)?, &context).await?;
        let decided = touched(&open, &columns.decide);
        let mut shown = touched(&open, &columns.show);
        shown.retain(|leaf| !decided.contains(leaf));
        paths.extend(decided.iter().map(|leaf| open.schema.leaves()[*leaf].path.clone()));
        decided_bytes += stored_bytes(&open, &decided);
        shown_bytes += stored_bytes(&open, &shown);
        let n_units = n_units(spec, number, &open, options);
        n_requests += 1 + n_units * (decided.len() + shown.len());
    }
    let mut body = format!(
        "blocks    {} of {} ({} bytes)\nunits     {}\ncolumns   {decided_bytes} bytes to decide",
        planned.selected_blocks,
        planned.total_blocks,
        planned.selected_block_bytes,
        spec.units.len(),
    );
    if shown_bytes > 0 {
        _ = write!(body, ", {shown_bytes} more to show what matches");
    }
    _ = write!(body, "\nrequests  at most about {n_requests}");
    if spec.blocks.iter().any(|block| block.scanned && !block.companions.is_empty()) {
        body.push_str("\nblocks overlap: trace ids of each, and whole traces that lie in several, come on top");
    }
    if spec.memory_source.is_some() {
        body.push_str("\ntraces of an OTLP file, held in memory");
    }
    for path in paths {
        _ = write!(body, "\nleaf      {path}");
    }
    Ok(body)
}

/// Units of a block, once it is open.
fn n_units(spec: &ScanSpec, number: usize, open: &Arc<OpenBlock>, options: &QueryOptions) -> usize {
    let mut units = spec.units.iter().filter(|unit| unit.block as usize == number);
    if !units.clone().any(|unit| unit.is_whole()) {
        return units.by_ref().count();
    }
    let n_readers = u64::from(spec.n_partitions) * u64::from(spec.n_readers);
    let unit_spans = units::spans_within(options.memory_bytes as u64, n_readers);
    units::cut(&[(0, Some(Arc::clone(open)))], false, unit_spans).len()
}

/// What some leaves of a block take in its data object.
fn stored_bytes(open: &OpenBlock, leaves: &BTreeSet<LeafIndex>) -> u64 {
    let row_groups = (0..open.n_row_groups()).map(|row_group| open.metadata().row_group(row_group));
    row_groups
        .flat_map(|row_group| leaves.iter().map(|leaf| row_group.column(*leaf).compressed_size()))
        .map(|size| u64::try_from(size).unwrap_or(0))
        .sum()
}

/// What a scan may read.
struct Columns {
    /// Of every trace, to tell what matches.
    decide: Vec<Column>,
    /// Of what matches.
    show: Vec<Column>,
}

/// Columns evaluation may read.
fn touched_columns(program: &Program) -> Vec<Column> {
    let mut columns: Vec<Column> =
        program.conditions.iter().map(|condition| condition.column.clone()).collect();
    if program.is_structural {
        columns.extend([Column::NestedSetLeft, Column::NestedSetRight, Column::NestedSetParent]);
    }
    if program.reads_values {
        columns.extend(program.field_columns());
    }
    columns.extend(program.fields.iter().flat_map(kin_columns));
    columns
}

/// The leaves of some columns in a block.
fn touched(open: &OpenBlock, columns: &[Column]) -> BTreeSet<LeafIndex> {
    columns.iter().flat_map(|column| open.schema.touched_by(column)).collect()
}
