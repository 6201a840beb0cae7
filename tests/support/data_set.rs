//! Data sets that the engine is asked about: where they lie, every way of asking that must not change an
//! answer, and how disagreements are told. It must not know what the right answer is.

use std::path::Path;
use std::sync::LazyLock;

use tokio::runtime::Runtime;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;
use traceql_engine::metrics::{MetricsAnswer, MetricsKind, MetricsRequest};
use traceql_engine::search::TraceResult;
use traceql_engine::{Engine, EngineConfig, QueryOptions};
use traceql_language::analyze::ir::TypedQuery;

use super::evaluate::metrics::When;

/// Disagreements shown when a test fails.
pub(crate) const MOST_SHOWN: usize = 8;

/// Threads for all tests over data sets: building a runtime per query would cost more than the query.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Every way to run a query over blocks that must not change its answer.
pub(crate) fn ways_over_blocks() -> Vec<QueryOptions> {
    let mut ways = Vec::new();
    for pruning in [true, false] {
        for library_reader in [false, true] {
            for threads in [1, 4] {
                ways.push(QueryOptions { pruning, library_reader, threads, ..everything() });
            }
        }
    }
    ways
}

/// Every way to run a query over traces in memory, where there is nothing to prune or decode.
pub(crate) fn ways_over_traces() -> Vec<QueryOptions> {
    [1, 4].into_iter().map(|threads| QueryOptions { threads, ..everything() }).collect()
}

/// All traces with all their spans.
fn everything() -> QueryOptions {
    QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() }
}

/// Where the engine finds some traces, and what is in there.
#[derive(Debug)]
pub(crate) struct DataSet {
    /// Who is asked.
    engine: Engine,
    /// What it opens.
    pub(crate) source: Source,
    /// Whose data.
    tenant: TenantId,
    /// All traces of it.
    pub(crate) traces: Vec<Trace>,
}

impl DataSet {
    /// A file of traces, which the engine reads as any user's.
    pub(crate) fn of_file(folder: &Path, traces: Vec<Trace>) -> Self {
        let path = folder.join("traces.pb");
        std::fs::write(&path, otlp::to_protobuf(&traces)).expect("the file can be written");
        Self::open(&path, None, traces)
    }

    /// One tenant of a bucket.
    pub(crate) fn open(path: &Path, tenant: Option<&str>, traces: Vec<Trace>) -> Self {
        let url = path.to_str().expect("a readable path");
        let options = SourceOptions::default();
        let source = RUNTIME.block_on(Source::open(url, &options)).expect("the source opens");
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).expect("a tenant id"));
        let tenant = RUNTIME.block_on(source.tenant(tenant.as_ref())).expect("a tenant");
        Self { engine: Engine::new(EngineConfig::default()), source, tenant, traces }
    }

    /// The engine's answer to a search, if it is whole.
    pub(crate) fn search(
        &self,
        query: &TypedQuery,
        options: &QueryOptions,
    ) -> Result<Vec<TraceResult>, String> {
        let tenants = std::slice::from_ref(&self.tenant);
        let search = self.engine.search(&self.source, tenants, query, options);
        let outcome = RUNTIME.block_on(search).map_err(|error| error.to_string())?;
        match outcome.partial {
            Some(reason) => Err(format!("the answer is partial: {reason}")),
            None => Ok(outcome.answer.traces),
        }
    }

    /// The engine's answer to a metrics query, if it is whole.
    pub(crate) fn metrics(
        &self,
        query: &TypedQuery,
        when: When,
        options: &QueryOptions,
    ) -> Result<MetricsAnswer, String> {
        let tenants = std::slice::from_ref(&self.tenant);
        let request = request(when);
        let metrics = self.engine.metrics(&self.source, tenants, query, &request, options);
        let outcome = RUNTIME.block_on(metrics).map_err(|error| error.to_string())?;
        match outcome.partial {
            Some(reason) => Err(format!("the answer is partial: {reason}")),
            None => Ok(outcome.answer),
        }
    }
}

/// A request for everything there is to know about some range, exemplars among it.
pub(crate) fn request(when: When) -> MetricsRequest {
    let (range, kind) = match when {
        When::Range { start, end, step } => ((start, end), MetricsKind::Range { step_nanos: step }),
        When::Instant { start, end } => ((start, end), MetricsKind::Instant),
    };
    MetricsRequest { range: Some(range), kind, exemplars: 100, ..MetricsRequest::default() }
}

/// Fails if there are any, and shows a few.
pub(crate) fn none(disagreements: &[String]) {
    let shown: Vec<&str> = disagreements.iter().take(MOST_SHOWN).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} disagreements:\n{}", disagreements.len(), shown.join("\n\n"));
}
