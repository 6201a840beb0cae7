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
use traceql_blocks::schema::LeafIndex;
use traceql_language::analyze::ir::TypedQuery;

use crate::error::Result;
use crate::evaluate::compile::{Program, compile};
use crate::options::QueryOptions;
use crate::outcome::QueryStats;
use crate::query;
use crate::runtime::{QueryRun, Runtime};
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
    let run = QueryRun::new(options);
    let asked = Instant::now();
    let planned = query::plan(runtime, &run, source, tenants, query, options).await?;
    let planning = asked.elapsed();
    let program = compile(&query.pipeline)?;
    let mut sections = Vec::new();
    let mut add = |title: &str, body: String| sections.push((title.to_owned(), body));
    if mode != ExplainMode::DryRun {
        add("query", query.canonical.clone());
        add("typed query", format!("{:#?}", query.pipeline));
        add("conditions", conditions(&program));
        add("logical plan", planned.logical.display_indent().to_string());
        add("physical plan", displayable(planned.physical.as_ref()).indent(true).to_string());
    }
    add("scan", estimate(runtime, &run, &planned, &program, options).await?);
    if mode == ExplainMode::Analyze {
        let (planned_bytes, planned_requests) =
            (run.io.bytes.load(Ordering::Relaxed), run.io.requests.load(Ordering::Relaxed));
        let asked = Instant::now();
        let traces = query::execute(runtime, &run, planned.physical, None).await?;
        let executing = asked.elapsed();
        let mut stats = QueryStats::default();
        run.count_into(&mut stats);
        let mut body = String::new();
        let mut line = |name: &str, value: String| _ = writeln!(body, "{name:<22} {value}");
        line("plan", format!("{planning:.2?}, {planned_requests} requests, {planned_bytes} bytes"));
        line(
            "SearchScanExec",
            format!(
                "{} of {} units, {} traces looked at, {} pages, {} requests, {} bytes",
                stats.units_done,
                planned.stats.units_total,
                stats.inspected_traces,
                stats.pages_read,
                stats.requests - planned_requests,
                stats.bytes_read - planned_bytes,
            ),
        );
        line("TraceCombineExec", format!("{} traces", traces.len()));
        line("execution", format!("{executing:.2?}"));
        add("run", body.trim_end().to_owned());
    }
    Ok(Explanation { sections })
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
    planned: &query::PlannedSearch,
    program: &Program,
    options: &QueryOptions,
) -> Result<String> {
    let context = crate::select::read_context(runtime, run, options);
    let mut leaves_of_blocks = Vec::new();
    let mut paths: BTreeSet<String> = BTreeSet::new();
    for block in planned.spec.blocks.iter().filter(|block| block.scanned) {
        let open = OpenBlock::open(&block.open(runtime)?, &context).await?;
        let leaves = touched(&open, program);
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
        planned.stats.selected_blocks,
        planned.stats.total_blocks,
        planned.stats.selected_block_bytes,
        planned.spec.units.len(),
    );
    if planned.spec.memory_source.is_some() {
        body.push_str("\ntraces of an OTLP file, held in memory");
    }
    for path in paths {
        _ = write!(body, "\nleaf      {path}");
    }
    Ok(body)
}

/// Leaves evaluation may read in a block; those of results come on top, for matching traces alone.
fn touched(open: &OpenBlock, program: &Program) -> BTreeSet<LeafIndex> {
    use traceql_blocks::schema::Column;
    let schema = &open.schema;
    let mut leaves = BTreeSet::new();
    leaves.extend(schema.leaf("rs.ss.Spans.StatusCode").map(|leaf| leaf.index));
    let mut columns: Vec<Column> =
        program.conditions.iter().map(|condition| condition.column.clone()).collect();
    if program.is_structural {
        columns.extend([Column::NestedSetLeft, Column::NestedSetRight, Column::NestedSetParent]);
    }
    for column in columns {
        match &column {
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
