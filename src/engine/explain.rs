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
use crate::metrics::{self, MetricsRequest};
use crate::options::QueryOptions;
use crate::outcome::QueryStats;
use crate::query;
use crate::runtime::{QueryRun, Runtime};
use crate::scan::spec::ScanSpec;
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
    let columns = touched_columns(&program);
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
        let mut columns = touched_columns(&program);
        columns.extend(metrics::columns(observed, planned.axis));
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

/// Blocks, units, and the most the scan can read: all pages of all columns it touches.
async fn estimate(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    planned: &QueryStats,
    spec: &ScanSpec,
    columns: &[Column],
    options: &QueryOptions,
) -> Result<String> {
    let context = crate::select::read_context(runtime, run, options);
    let mut leaves_of_blocks = Vec::new();
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for block in spec.blocks.iter().filter(|block| block.scanned) {
        let open = OpenBlock::open(&block.open(runtime)?, &context).await?;
        let leaves = touched(&open, columns);
        paths.extend(leaves.iter().map(|leaf| open.schema.leaves()[*leaf].path.clone()));
        let n_bytes: u64 = (0..open.n_row_groups())
            .flat_map(|row_group| {
                let row_group = open.metadata().row_group(row_group);
                leaves.iter().map(move |leaf| row_group.column(*leaf).compressed_size())
            })
            .map(|size| u64::try_from(size).unwrap_or(0))
            .sum();
        leaves_of_blocks.push((open, leaves.len(), n_bytes));
    }
    let n_bytes: u64 = leaves_of_blocks.iter().map(|(_, _, n)| n).sum();
    let n_requests: usize =
        leaves_of_blocks.iter().map(|(open, leaves, _)| 1 + open.n_row_groups() * leaves).sum();
    let mut body = format!(
        "blocks    {} of {} ({} bytes)\nunits     {}\nbytes     at most {n_bytes}\nrequests  at most {n_requests}",
        planned.selected_blocks,
        planned.total_blocks,
        planned.selected_block_bytes,
        spec.units.len(),
    );
    if spec.memory_source.is_some() {
        body.push_str("\ntraces of an OTLP file, held in memory");
    }
    for path in paths {
        _ = write!(body, "\nleaf      {path}");
    }
    Ok(body)
}

/// Columns evaluation may read; those of results come on top, for matching traces alone.
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
    let schema = &open.schema;
    let mut leaves = BTreeSet::new();
    leaves.extend(schema.leaf("rs.ss.Spans.StatusCode").map(|leaf| leaf.index));
    for column in columns {
        match column {
            Column::Attribute(level, key) => {
                leaves.extend(schema.own_column(*level, key).map(|own| own.leaf));
                if let Some(generic) = schema.attributes(*level) {
                    leaves.insert(generic.key);
                    leaves.extend(generic.string);
                    leaves.extend(generic.int);
                    leaves.extend(generic.double);
                    leaves.extend(generic.bool);
                }
            }
            column => leaves.extend(schema.intrinsic_leaf(column).map(|leaf| leaf.index)),
        }
    }
    leaves
}
