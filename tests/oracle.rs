//! The engine gives the answers of the naive evaluator: on generated queries over generated traces
//! and over every frozen block, with pruning on and off, with our page reader and the library's, on
//! one partition and several. A disagreement is cut down to one small trace before it is shown.

use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;
use traceql_engine::QueryOptions;
use traceql_engine::search::TraceResult;
use traceql_language::Dialect;
use traceql_language::analyze::ir::TypedQuery;

use crate::support::data_set::{DataSet, RUNTIME, none, ways_over_blocks, ways_over_traces};
use crate::support::evaluate;
use crate::support::generate::{self, Dice, Vocabulary};
use crate::support::{golden, stored};

/// Data sets drawn for the test over generated traces.
const N_DATA_SETS: u64 = 60;

/// Queries asked of each data set, and of each frozen block.
const N_QUERIES: usize = 40;

/// Traces of a data set.
const N_TRACES: usize = 8;

/// How the engine's answer differs from the evaluator's, if it does.
fn disagreement(data: &DataSet, query: &TypedQuery, options: &QueryOptions) -> Option<String> {
    match (evaluate::search(&data.traces, query), data.search(query, options)) {
        (Ok(expected), Ok(given)) => difference(query, &expected, &given),
        (Ok(_), Err(error)) => Some(format!("the engine fails: {error}")),
        // Both refuse: an operand of a structural operator has several spansets.
        (Err(_), Err(_)) => None,
        (Err(error), Ok(_)) => Some(format!("the engine answers, but {error}")),
    }
}

/// How two answers differ. Beyond what `golden` compares, the order of traces and of the spans in a
/// spanset counts, since both are defined, and so do the names of spans; of a query with an order of its
/// own also that of the spansets in a trace.
fn difference(
    query: &TypedQuery,
    expected: &[TraceResult],
    given: &[TraceResult],
) -> Option<String> {
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
                if query.order_by.is_empty() {
                    spans.sort();
                }
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
            disagreement(data, &query, options).map(|difference| (options, difference))
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
        disagreement(&DataSet::of_file(folder.path(), vec![trace.clone()]), query, options)
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
