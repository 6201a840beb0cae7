//! Typed query to DataFusion plan to answers. The only place where all stages meet; it prints
//! nothing and opens no socket.
//!
//! ```
//! use traceql_blocks::bucket::source::Source;
//! use traceql_blocks::bucket::store::SourceOptions;
//! use traceql_engine::{Engine, EngineConfig, QueryOptions};
//! use traceql_language::{Dialect, compile};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A folder here; `s3://`, `gs://`, `az://` and `https://` are opened alike.
//! let bucket = "../../testdata/blocks/fixtures/vParquet5/synthetic";
//! let source = Source::open(bucket, &SourceOptions::default()).await?;
//! let tenant = source.tenant(None).await?;
//! let query = compile("{ status = error } | count() > 1", Dialect::Default)?;
//!
//! let engine = Engine::new(EngineConfig::default());
//! let found = engine.search(&source, &[tenant], &query, &QueryOptions::default()).await?;
//! for trace in &found.answer.traces {
//!     println!("{} {}", trace.trace_id, trace.root_trace_name);
//! }
//! # assert!(!found.answer.traces.is_empty());
//! # Ok(())
//! # }
//! ```
//!
#![doc = include_str!("../../ARCHITECTURE.md")]

pub mod distribute;
pub mod error;
mod evaluate;
mod explain;
mod left_out;
pub mod metrics;
pub mod options;
pub mod outcome;
mod plan;
mod query;
mod runtime;
mod scan;
pub mod search;
mod select;
pub mod tables;
pub mod tags;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::read::open::CacheCounts;
use traceql_language::analyze::ir::TypedQuery;

pub use error::{Error, Result};
use metrics::{MetricsAnswer, MetricsRequest};
pub use options::{EngineConfig, QueryOptions};
pub use outcome::{Outcome, Progress, QueryStats};
use search::{Cursor, Gathered, OnTrace, SearchAnswer};
use tables::{SqlAnswer, SqlStatement};
use tags::{TagNames, TagNamesRequest, TagValuesRequest, TypedTagValue};

/// Answers queries. Cheap to clone; clones share caches of footers, page indexes and trace-id
/// digests, which never go stale because blocks are immutable.
#[derive(Clone, Debug)]
pub struct Engine {
    runtime: Arc<runtime::Runtime>,
}

impl Engine {
    /// An engine with empty caches.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let EngineConfig { cache_bytes, io_runtime } = config;
        Self { runtime: Arc::new(runtime::Runtime::new(cache_bytes, io_runtime)) }
    }

    /// What the engine's caches of footers and dictionaries have been good for.
    #[must_use]
    pub fn cache_counts(&self) -> CacheCounts {
        self.runtime.cache.counts()
    }

    /// Forgets what the caches keep of a block that is gone, given the URL of its `data.parquet`: it would
    /// keep others out until it is the one that was used least.
    pub fn forget(&self, file: &str) {
        self.runtime.forget(file);
    }

    /// Answers a search: the first `limit` matching traces in the defined order (blocks by end time
    /// descending then id, within a block by trace id), or the newest with `most_recent`; returned
    /// newest start first. A query with `order_by` has its own order, in which they are chosen and
    /// returned. `options.after` skips what earlier pages showed. A metrics query is searched by its spanset part, as Tempo does.
    /// Several tenants are searched one after the other and merged by trace id.
    ///
    /// # Errors
    /// Storage failures, time-out, memory limit; a query that is not supported by name.
    pub async fn search(
        &self,
        source: &Source,
        tenants: &[TenantId],
        query: &TypedQuery,
        options: &QueryOptions,
    ) -> Result<Outcome<SearchAnswer>> {
        let gathered = Mutex::new(Gathered::of(query, options.memory_bytes));
        let gather = |trace| gathered.lock().push(trace);
        let outcome = self.search_each(source, tenants, query, options, &gather).await?;
        Ok(outcome.map(|next| SearchAnswer { next, ..gathered.into_inner().into_answer() }))
    }

    /// A search that hands over each trace as soon as it is known to be part of the answer (search
    /// order, not yet sorted, unless the query orders them) and keeps none: for a caller that shows,
    /// streams or keeps them itself. What is returned is the cursor of the next page, if there may be one.
    /// An error of `on_trace` ends the search. Cancelling the future stops all work.
    ///
    /// # Errors
    /// As [`Engine::search`], and what `on_trace` returns.
    pub async fn search_each(
        &self,
        source: &Source,
        tenants: &[TenantId],
        query: &TypedQuery,
        options: &QueryOptions,
        on_trace: OnTrace<'_>,
    ) -> Result<Outcome<Option<Cursor>>> {
        let asked = Instant::now();
        let search = query::search(&self.runtime, source, tenants, query, options, on_trace);
        let mut outcome = within(options.timeout, Box::pin(search)).await?;
        outcome.stats.elapsed = asked.elapsed();
        Ok(outcome)
    }

    /// Answers a metrics query: series over the aligned time axis of `request` (`metrics.md`). A
    /// span counts once however many blocks hold it, in the interval in which it starts; a trace
    /// split over blocks is judged whole. Several tenants are counted together.
    ///
    /// Of `options` the time range, `limit` and `spans_per_spanset` do not apply.
    ///
    /// # Errors
    /// A query without metrics; a range or step that gives no time axis; storage failures,
    /// time-out, memory limit.
    pub async fn metrics(
        &self,
        source: &Source,
        tenants: &[TenantId],
        query: &TypedQuery,
        request: &MetricsRequest,
        options: &QueryOptions,
    ) -> Result<Outcome<MetricsAnswer>> {
        let asked = Instant::now();
        let answer = metrics::answer(&self.runtime, source, tenants, query, request, options);
        let mut outcome = within(options.timeout, Box::pin(answer)).await?;
        outcome.stats.elapsed = asked.elapsed();
        Ok(outcome)
    }

    /// Starts a statement of SQL over the tables of `grammar/sql.md`; rows come as they are asked for.
    /// The time range of `options` chooses traces, as for a search; its limits do not apply.
    ///
    /// # Errors
    /// What the statement names does not exist or does not fit; storage failures, time-out, memory
    /// limit.
    pub async fn sql(
        &self,
        source: &Source,
        tenants: &[TenantId],
        statement: &SqlStatement,
        options: &QueryOptions,
    ) -> Result<SqlAnswer> {
        Box::pin(tables::answer(&self.runtime, source, tenants, statement, options)).await
    }

    /// Finds one trace in all blocks that may hold it, copies combined (`blocks.md` 5.4).
    ///
    /// # Errors
    /// Storage failures, time-out, memory limit.
    pub async fn trace(
        &self,
        source: &Source,
        tenants: &[TenantId],
        id: TraceId,
        options: &QueryOptions,
    ) -> Result<Outcome<Option<Trace>>> {
        let asked = Instant::now();
        let find = query::trace(&self.runtime, source, tenants, id, options);
        let mut outcome = within(options.timeout, Box::pin(find)).await?;
        outcome.stats.elapsed = asked.elapsed();
        Ok(outcome)
    }

    /// Attribute names by scope.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub async fn tag_names(
        &self,
        source: &Source,
        tenants: &[TenantId],
        request: &TagNamesRequest,
        options: &QueryOptions,
    ) -> Result<Outcome<TagNames>> {
        let asked = Instant::now();
        let run = runtime::QueryRun::new(options);
        let names = tags::names(&self.runtime, &run, source, tenants, request, options);
        let mut outcome = within(options.timeout, Box::pin(names)).await?;
        outcome.stats.elapsed = asked.elapsed();
        Ok(outcome)
    }

    /// Distinct values of one field, sorted by type then value.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub async fn tag_values(
        &self,
        source: &Source,
        tenants: &[TenantId],
        request: &TagValuesRequest,
        options: &QueryOptions,
    ) -> Result<Outcome<Vec<TypedTagValue>>> {
        let asked = Instant::now();
        let run = runtime::QueryRun::new(options);
        let values = tags::values(&self.runtime, &run, source, tenants, request, options);
        let mut outcome = within(options.timeout, Box::pin(values)).await?;
        outcome.stats.elapsed = asked.elapsed();
        Ok(outcome)
    }

    /// Every stage of one query, for people: typed query, logical plan, physical plan, what the scan
    /// will read; with `analyze` the query runs and each operator carries rows, bytes, requests and
    /// times; with `dry_run` the estimate of blocks, bytes and requests alone.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub async fn explain(
        &self,
        source: &Source,
        tenants: &[TenantId],
        query: &TypedQuery,
        options: &QueryOptions,
        mode: ExplainMode,
    ) -> Result<Explanation> {
        let explain = explain::explain(&self.runtime, source, tenants, query, options, mode);
        within(options.timeout, Box::pin(explain)).await
    }
}

/// The answer, or a time-out.
async fn within<T>(
    timeout: Option<std::time::Duration>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match timeout {
        None => work.await,
        Some(limit) => {
            tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Timeout(limit)))
        }
    }
}

/// How much [`Engine::explain`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainMode {
    /// Plans only; reads metadata.
    Plan,
    /// Plans and runs.
    Analyze,
    /// Estimates blocks, bytes and requests.
    DryRun,
}

/// What [`Engine::explain`] found: titled sections of plain text, in stage order.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// Title and body of each stage.
    pub sections: Vec<(String, String)>,
}
