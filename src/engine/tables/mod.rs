//! SQL over traces: the tables spans, traces, events, links, resources and blocks, and the function
//! `traceql('{ … }')`. DataFusion reads, plans and runs the statement; every table is a scan of ours,
//! and conditions reach it as a query of TraceQL. `statement` (text to what is asked), `columns`
//! (the tables), `comparisons` (literals), `provider` and `filter` (what a scan is asked), `exec`,
//! `rows` and `arrays` (batches to rows), `function` and `function_exec` (answers as tables).

mod arrays;
mod columns;
mod comparisons;
mod error;
mod exec;
mod filter;
mod function;
mod function_exec;
mod provider;
mod rows;
mod statement;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{Analyze, Explain, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use parking_lot::Mutex;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;

use self::columns::{AskedAttribute, TableKind};
use self::comparisons::ComparisonPlanner;
pub use self::error::SqlError;
use self::function::TraceqlFunction;
use self::provider::{Asked, BlocksTable, Told, TraceTable};
pub use self::statement::{CopyTo, SqlStatement};
use crate::error::{Error, Result};
use crate::options::QueryOptions;
use crate::outcome::Outcome;
use crate::runtime::{QueryRun, Runtime};

/// Rows that operators of DataFusion pass on at a time.
const BATCH_ROWS: usize = 8_192;

/// One part in so many of the memory is for pages, the rest for what DataFusion's operators hold.
const PAGES_SHARE: usize = 2;

/// The rows of a statement, as they come. Dropping it ends all work on them.
pub struct SqlAnswer {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    asked: Arc<Asked>,
    text: String,
    since: Instant,
}

impl fmt::Debug for SqlAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlAnswer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl SqlAnswer {
    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows; `None` at the end. Nothing beyond a few batches is read ahead of the caller.
    ///
    /// # Errors
    /// As [`crate::Engine::sql`].
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.stream.next();
        let batch = match self.asked.options.timeout {
            None => next.await,
            Some(limit) => {
                let left = limit.saturating_sub(self.since.elapsed());
                tokio::time::timeout(left, next).await.map_err(|_| Error::Timeout(limit))?
            }
        };
        batch.transpose().map_err(|error| self.asked.refuse(error, &self.text))
    }

    /// What the rows so far have cost, and what is to be known of them.
    #[must_use]
    pub fn finish(self) -> Outcome<()> {
        let Asked { run, told, .. } = &*self.asked;
        let Told { mut stats, mut warnings, skipped } = std::mem::take(&mut *told.lock());
        stats.elapsed = self.since.elapsed();
        if run.sketched.load(Ordering::Relaxed) {
            warnings.push(crate::metrics::sketched_warning());
        }
        run.outcome((), stats, warnings, skipped)
    }
}

impl Asked {
    fn refuse(&self, error: DataFusionError, text: &str) -> Error {
        match error::of_datafusion(error, text) {
            // DataFusion's pool does not say how large it is.
            Error::Memory { limit_bytes: 0, what } => {
                Error::Memory { limit_bytes: self.options.memory_bytes, what }
            }
            error => error,
        }
    }
}

/// Plans a statement and starts it.
pub(crate) async fn answer(
    runtime: &Arc<Runtime>,
    source: &Source,
    tenants: &[TenantId],
    statement: &SqlStatement,
    options: &QueryOptions,
) -> Result<SqlAnswer> {
    let since = Instant::now();
    let pages_bytes = options.memory_bytes / PAGES_SHARE;
    let run = QueryRun::new(&QueryOptions { memory_bytes: pages_bytes, ..options.clone() });
    let asked = Arc::new(Asked {
        runtime: Arc::clone(runtime),
        run,
        source: source.clone(),
        tenants: tenants.to_vec(),
        options: options.clone(),
        told: Mutex::default(),
    });
    let started = start(&asked, statement);
    let stream = match options.timeout {
        None => started.await?,
        Some(limit) => {
            tokio::time::timeout(limit, started).await.map_err(|_| Error::Timeout(limit))??
        }
    };
    Ok(SqlAnswer {
        schema: stream.schema(),
        stream,
        asked,
        text: statement.text().to_owned(),
        since,
    })
}

async fn start(asked: &Arc<Asked>, statement: &SqlStatement) -> Result<SendableRecordBatchStream> {
    let refuse = |error| asked.refuse(error, statement.text());
    let state = session(asked, &statement.attributes).map_err(refuse)?;
    check_tables(&state, statement)?;
    let plan = state.statement_to_plan(statement.parsed.clone()).await.map_err(refuse)?;
    // The parsed statement has been looked through; this is the net below.
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(refuse)?;
    let plan = comparisons::order_by_numbers(plan).map_err(refuse)?;
    let plan = visible(plan, &statement.attributes).map_err(refuse)?;
    let physical = state.create_physical_plan(&plan).await.map_err(refuse)?;
    execute_stream(physical, state.task_ctx()).map_err(refuse)
}

/// A session that knows the tables, with the attributes that a statement asks for.
fn session(
    asked: &Arc<Asked>,
    attributes: &[AskedAttribute],
) -> Result<SessionState, DataFusionError> {
    let options = &asked.options;
    let mut config = SessionConfig::new()
        .with_target_partitions(options.threads.max(1))
        .with_batch_size(BATCH_ROWS)
        .with_default_catalog_and_schema("traceql", "public")
        .with_information_schema(true)
        .with_extension(Arc::clone(&asked.runtime))
        .with_extension(Arc::clone(&asked.run));
    let parser = &mut config.options_mut().sql_parser;
    parser.collect_spans = true;
    parser.map_string_types_to_utf8view = false;
    let held_bytes = options.memory_bytes - options.memory_bytes / PAGES_SHARE;
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(held_bytes)))
        // Whoever reads a bucket need not have a disk to write to.
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()?;
    let mut builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(environment);
    if let Some(planners) = builder.expr_planners() {
        planners.insert(0, Arc::new(ComparisonPlanner));
    }
    if let Some(now) = options.now_unix_nanos
        && let Some(now) = arrow::temporal_conversions::timestamp_ns_to_datetime(now)
    {
        let properties = ExecutionProps::new().with_query_execution_start_time(now.and_utc());
        builder = builder.with_execution_props(properties);
    }
    let context = SessionContext::new_with_state(builder.build());
    for kind in TableKind::ALL {
        let table = TraceTable::new(kind, attributes, Arc::clone(asked));
        context.register_table(kind.name(), Arc::new(table))?;
    }
    context.register_table("blocks", Arc::new(BlocksTable::new(Arc::clone(asked))))?;
    context.register_udtf("traceql", Arc::new(TraceqlFunction { asked: Arc::clone(asked) }));
    Ok(context.state())
}

/// Refuses tables that do not exist, with their place and what was meant.
fn check_tables(state: &SessionState, statement: &SqlStatement) -> Result<()> {
    let wanted = state
        .resolve_table_references(&statement.parsed)
        .map_err(|error| error::of_datafusion(error, statement.text()))?;
    for table in wanted {
        let exists = state
            .schema_for_ref(table.clone())
            .is_ok_and(|schema| schema.table_exist(table.table()));
        let named = statement.relations.iter().find(|(name, _)| {
            let last = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
            last.eq_ignore_ascii_case(table.table())
        });
        let (false, Some((name, place))) = (exists, named) else { continue };
        let mut known: Vec<&str> = TableKind::ALL.iter().map(|kind| kind.name()).collect();
        known.push("blocks");
        let error = SqlError::new(format!("there is no table {name}")).at(place.clone());
        return Err(match error::nearest(table.table(), &known) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => {
                error.hint(format!("the tables are {}, and traceql('{{ … }}')", known.join(", ")))
            }
        }
        .into());
    }
    Ok(())
}

/// The plan without the columns of attributes that `*` brought along: what was asked for by name has
/// an alias by now.
fn visible(
    plan: LogicalPlan,
    attributes: &[AskedAttribute],
) -> Result<LogicalPlan, DataFusionError> {
    match plan {
        LogicalPlan::Explain(explain) => {
            let inner = visible(Arc::unwrap_or_clone(explain.plan), attributes)?;
            Ok(LogicalPlan::Explain(Explain { plan: Arc::new(inner), ..explain }))
        }
        LogicalPlan::Analyze(analyze) => {
            let inner = visible(Arc::unwrap_or_clone(analyze.input), attributes)?;
            Ok(LogicalPlan::Analyze(Analyze { input: Arc::new(inner), ..analyze }))
        }
        plan => {
            let hidden: Vec<String> = attributes.iter().map(ToString::to_string).collect();
            let is_visible = |name: &String| !hidden.contains(name);
            let schema: &DFSchema = plan.schema();
            if schema.fields().iter().all(|field| is_visible(field.name())) {
                return Ok(plan);
            }
            let kept: Vec<Expr> = schema
                .iter()
                .filter(|(_, field)| is_visible(field.name()))
                .map(|(table, field)| Expr::Column(Column::from((table, field))))
                .collect();
            LogicalPlanBuilder::from(plan).project(kept)?.build()
        }
    }
}
