//! The engine gives the answers of the naive evaluator: on generated queries over generated traces
//! and over every frozen block, with pruning on and off, with our page reader and the library's, on
//! one partition and several. A disagreement is cut down to one small trace before it is shown.

use std::path::Path;
use std::sync::LazyLock;

use tokio::runtime::Runtime;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;
use traceql_engine::search::TraceResult;
use traceql_engine::{Engine, EngineConfig, QueryOptions};
use traceql_language::Dialect;
use traceql_language::analyze::ir::TypedQuery;

use crate::support::evaluate;
use crate::support::generate::{self, Dice, Vocabulary};
use crate::support::{golden, stored};

/// Data sets drawn for the test over generated traces.
const N_DATA_SETS: u64 = 60;

/// Queries asked of each data set, and of each frozen block.
const N_QUERIES: usize = 40;

/// Traces of a data set.
const N_TRACES: usize = 8;

/// Disagreements shown when a test fails.
const MOST_SHOWN: usize = 8;

/// Threads for all tests of this file: building a runtime per query would cost more than the query.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Every way to run a query over blocks that must not change its answer.
fn ways_over_blocks() -> Vec<QueryOptions> {
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
fn ways_over_traces() -> Vec<QueryOptions> {
    [1, 4].into_iter().map(|threads| QueryOptions { threads, ..everything() }).collect()
}

/// All traces with all their spans.
fn everything() -> QueryOptions {
    QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() }
}

/// Where the engine finds some traces, and what is in there.
#[derive(Debug)]
struct DataSet {
    /// Who is asked.
    engine: Engine,
    /// What it opens.
    source: Source,
    /// Whose data.
    tenant: TenantId,
    /// All traces of it.
    traces: Vec<Trace>,
}

impl DataSet {
    /// A file of traces, which the engine reads as any user's.
    fn of_file(folder: &Path, traces: Vec<Trace>) -> Self {
        let path = folder.join("traces.pb");
        std::fs::write(&path, otlp::to_protobuf(&traces)).expect("the file can be written");
        Self::open(&path, None, traces)
    }

    /// One tenant of a bucket.
    fn open(path: &Path, tenant: Option<&str>, traces: Vec<Trace>) -> Self {
        let url = path.to_str().expect("a readable path");
        let options = SourceOptions::default();
        let source = RUNTIME.block_on(Source::open(url, &options)).expect("the source opens");
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).expect("a tenant id"));
        let tenant = RUNTIME.block_on(source.tenant(tenant.as_ref())).expect("a tenant");
        Self { engine: Engine::new(EngineConfig::default()), source, tenant, traces }
    }

    /// The engine's answer.
    fn ask(&self, query: &TypedQuery, options: &QueryOptions) -> Result<Vec<TraceResult>, String> {
        let tenants = std::slice::from_ref(&self.tenant);
        let search = self.engine.search(&self.source, tenants, query, options, None);
        let outcome = RUNTIME.block_on(search).map_err(|error| error.to_string())?;
        match outcome.partial {
            Some(reason) => Err(format!("the answer is partial: {reason}")),
            None => Ok(outcome.answer.traces),
        }
    }

    /// How the engine's answer differs from the evaluator's, if it does.
    fn disagreement(&self, query: &TypedQuery, options: &QueryOptions) -> Option<String> {
        match (evaluate::search(&self.traces, query), self.ask(query, options)) {
            (Ok(expected), Ok(given)) => difference(&expected, &given),
            (Ok(_), Err(error)) => Some(format!("the engine fails: {error}")),
            // Both refuse: an operand of a structural operator has several spansets.
            (Err(_), Err(_)) => None,
            (Err(error), Ok(_)) => Some(format!("the engine answers, but {error}")),
        }
    }
}

/// How two answers differ. Beyond what `golden` compares, the order of traces and of the spans in a
/// spanset counts, since both are defined, and so do the names of spans.
fn difference(expected: &[TraceResult], given: &[TraceResult]) -> Option<String> {
    let ids =
        |answer: &[TraceResult]| answer.iter().map(|trace| trace.trace_id).collect::<Vec<_>>();
    golden::difference(&golden::answer_json(expected), given)
        .or_else(|| (ids(expected) != ids(given)).then(|| "traces in another order".to_owned()))
        .or_else(|| {
            let spans = |answer: &[TraceResult]| {
                let spansets = answer.iter().flat_map(|trace| &trace.spansets);
                let mut spans: Vec<Vec<_>> = spansets
                    .map(|set| {
                        let spans = set.spans.iter();
                        spans.map(|span| (span.span_id.clone(), span.name.clone())).collect()
                    })
                    .collect();
                spans.sort();
                spans
            };
            (spans(expected) != spans(given))
                .then(|| "spans in another order, or with another name".to_owned())
        })
}

/// Asks everything in every way; each query that shows a disagreement is told with the smallest
/// trace that shows it.
fn disagreements(data: &DataSet, dice: &mut Dice, ways: &[QueryOptions]) -> Vec<String> {
    let words = Vocabulary::of(&data.traces);
    let mut found = Vec::new();
    for _ in 0..N_QUERIES {
        let (text, query) = valid_query(dice, &words);
        let differing = ways.iter().find_map(|options| {
            data.disagreement(&query, options).map(|difference| (options, difference))
        });
        if let Some((options, difference)) = differing {
            found.push(format!(
                "{} disagrees on\n  {text}\n  {difference}\n  pruning {}, library reader {}, {} \
                 threads; alone:\n  {}",
                data.source,
                options.pruning,
                options.library_reader,
                options.threads,
                smallest(data, &query, options),
            ));
        }
    }
    found
}

/// Fails if there are any, and shows a few.
fn none(disagreements: &[String]) {
    let shown: Vec<&str> = disagreements.iter().take(MOST_SHOWN).map(String::as_str).collect();
    assert!(shown.is_empty(), "{} disagreements:\n{}", disagreements.len(), shown.join("\n\n"));
}

/// A random query that analysis accepts.
fn valid_query(dice: &mut Dice, words: &Vocabulary) -> (String, TypedQuery) {
    loop {
        let text = generate::query(dice, words);
        if let Ok(query) = traceql_language::compile(&text, Dialect::Default) {
            return (text, query);
        }
    }
}

/// The smallest trace found that still shows a disagreement when it is asked alone, from a file.
fn smallest(data: &DataSet, query: &TypedQuery, options: &QueryOptions) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let disagrees = |trace: &Trace| {
        DataSet::of_file(folder.path(), vec![trace.clone()]).disagreement(query, options)
    };
    let Some(mut trace) = data.traces.iter().find(|trace| disagrees(trace).is_some()).cloned()
    else {
        return "no trace shows it alone".to_owned();
    };
    while let Some(smaller) = generate::smaller(&trace).into_iter().find(|t| disagrees(t).is_some())
    {
        trace = smaller;
    }
    let difference = disagrees(&trace).unwrap_or_default();
    format!(
        "{difference}
  {}",
        otlp::to_otlp_json(&[trace])
    )
}

#[test]
fn generated_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut found = Vec::new();
    for seed in 0..N_DATA_SETS {
        let mut dice = Dice::new(seed);
        let traces = generate::traces(&mut dice, N_TRACES);
        let data = DataSet::of_file(folder.path(), traces);
        found.extend(disagreements(&data, &mut dice, &ways_over_traces()));
    }
    none(&found);
}

/// One tenant of the frozen fixtures.
fn frozen_block(version: &str, tenant: &str) {
    let bucket = golden::testdata("blocks/fixtures").join(version);
    let traces = RUNTIME.block_on(stored::traces(&bucket, tenant));
    let data = DataSet::open(&bucket, Some(tenant), traces);
    none(&disagreements(&data, &mut Dice::new(7), &ways_over_blocks()));
}

#[test]
fn frozen_vparquet3() {
    frozen_block("vParquet3", "synthetic");
}

#[test]
fn frozen_vparquet4() {
    frozen_block("vParquet4", "synthetic");
    frozen_block("vParquet4", "synthetic-compaction");
}

#[test]
fn frozen_vparquet5() {
    frozen_block("vParquet5", "synthetic");
    frozen_block("vParquet5", "synthetic-compaction");
    frozen_block("vParquet5", "synthetic-defaults");
}

/// Most generated queries are valid, or the test would ask less than it seems to.
#[test]
fn generated_queries_are_valid() {
    let mut dice = Dice::new(1);
    let words = Vocabulary::of(&generate::traces(&mut dice, N_TRACES));
    let refused: Vec<String> = (0..1000)
        .map(|_| generate::query(&mut dice, &words))
        .filter_map(|text| {
            let error = traceql_language::compile(&text, Dialect::Default).err()?;
            Some(format!("{text}\n  {error}"))
        })
        .collect();
    assert!(refused.len() < 50, "{} refused: {:#?}", refused.len(), &refused[..10]);
}
