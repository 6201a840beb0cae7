//! The engine gives the answers of the naive evaluator of metrics: on generated queries over generated
//! traces and over every frozen block, with pruning on and off, with our page reader and the library's,
//! on one partition and several, and however a trace's spans lie in files and blocks. A disagreement is
//! cut down to few small traces before it is shown. And what makes that a fair trial: the queries are
//! valid, most of them find something, and none depends on the order in which traces are looked at.

use std::fs;
use std::path::Path;

use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;
use traceql_engine::QueryOptions;
use traceql_language::Dialect;
use traceql_language::analyze::ir::TypedQuery;

use crate::support::data_set::{
    DataSet, MOST_SHOWN, RUNTIME, none, ways_over_blocks, ways_over_traces,
};
use crate::support::evaluate::metrics::{self as evaluate, Axis, When};
use crate::support::generate::{self, Dice, Vocabulary};
use crate::support::series::{self, Shown};
use crate::support::{golden, stored};

/// Data sets drawn for the tests over generated traces.
const N_DATA_SETS: u64 = 60;

/// Queries asked of each data set.
const N_QUERIES: usize = 40;

/// Queries asked over traces that lie in several blocks: gathering them anew for each query takes time.
const N_QUERIES_OF_SPLIT_TRACES: usize = 15;

/// Traces of a data set.
const N_TRACES: usize = 8;

/// The traces of a data set.
fn drawn_traces(dice: &mut Dice) -> Vec<Trace> {
    let traces = generate::traces(dice, N_TRACES);
    generate::sampled(dice, traces)
}

/// A random query that analysis accepts.
fn valid_query(dice: &mut Dice, words: &Vocabulary) -> (String, TypedQuery) {
    loop {
        let text = generate::metrics_query(dice, words);
        if let Ok(query) = traceql_language::compile(&text, Dialect::Default) {
            return (text, query);
        }
    }
}

/// The evaluator's answer.
fn evaluated(traces: &[Trace], query: &TypedQuery, when: When) -> Result<Vec<Shown>, String> {
    let axis = Axis::of(when).map_err(|refusal| refusal.to_string())?;
    match evaluate::metrics(traces, query, when) {
        Ok(series) => Ok(series::of_evaluator(&axis, &series)),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// How the engine's answer differs from what the evaluator said, if it does.
fn disagreement(
    data: &DataSet,
    expected: &Result<Vec<Shown>, String>,
    (query, when): (&TypedQuery, When),
    options: &QueryOptions,
) -> Option<String> {
    match (expected, data.metrics(query, when, options)) {
        (Ok(expected), Ok(given)) => {
            let axis = Axis::of(when).expect("there is an answer");
            let edges = (i128::from(given.axis.start_unix_nanos), given.axis.n_intervals);
            if (axis.start, axis.n_intervals) != edges
                || axis.step != i128::from(given.axis.step_nanos)
            {
                return Some(format!("{axis:?} expected, got {:?}", given.axis));
            }
            series::difference(expected, &series::of_engine(&given))
        }
        (Ok(_), Err(error)) => Some(format!("the engine fails: {error}")),
        // Both refuse: an operand of a structural operator has several spansets.
        (Err(_), Err(_)) => None,
        (Err(error), Ok(_)) => Some(format!("the engine answers, but {error}")),
    }
}

/// Asks everything in every way; each query that shows a disagreement is told, the first ones with few
/// small traces that show it.
fn disagreements(
    data: &DataSet,
    dice: &mut Dice,
    n_queries: usize,
    ways: &[QueryOptions],
) -> Vec<String> {
    let words = Vocabulary::of(&data.traces);
    let mut found = Vec::new();
    for _ in 0..n_queries {
        let (text, query) = valid_query(dice, &words);
        let question = (&query, generate::when(dice, &words));
        let expected = evaluated(&data.traces, question.0, question.1);
        let differing = ways.iter().find_map(|options| {
            disagreement(data, &expected, question, options).map(|found| (options, found))
        });
        if let Some((options, difference)) = differing {
            let smallest = if found.len() < MOST_SHOWN {
                smallest(data, question, options)
            } else {
                String::new()
            };
            found.push(format!(
                "{} disagrees on\n  {text}\n  {:?}\n  {difference}\n  pruning {}, library reader {}, \
                 {} threads; from a file:\n  {smallest}",
                data.source, question.1, options.pruning, options.library_reader, options.threads,
            ));
        }
    }
    found
}

/// The smallest traces found that still show a disagreement when they are asked from a file.
fn smallest(data: &DataSet, question: (&TypedQuery, When), options: &QueryOptions) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let disagrees = |traces: &[Trace]| {
        let expected = evaluated(traces, question.0, question.1);
        let data = DataSet::of_file(folder.path(), traces.to_vec());
        disagreement(&data, &expected, question, options)
    };
    let mut traces = data.traces.clone();
    if disagrees(&traces).is_none() {
        return "no disagreement".to_owned();
    }
    while let Some(fewer) = with_less(&traces).into_iter().find(|t| disagrees(t).is_some()) {
        traces = fewer;
    }
    let difference = disagrees(&traces).unwrap_or_default();
    format!("{difference}\n  {}", otlp::to_otlp_json(&traces))
}

/// The traces without one of them, then with one of them smaller.
fn with_less(traces: &[Trace]) -> Vec<Vec<Trace>> {
    let mut found = Vec::new();
    for index in 0..traces.len() {
        let mut fewer = traces.to_vec();
        fewer.remove(index);
        found.push(fewer);
    }
    for (index, trace) in traces.iter().enumerate() {
        for smaller in generate::smaller(trace) {
            let mut changed = traces.to_vec();
            changed[index] = smaller;
            found.push(changed);
        }
    }
    found
}

#[test]
fn generated_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut found = Vec::new();
    for seed in 0..N_DATA_SETS {
        let mut dice = Dice::new(seed);
        let traces = drawn_traces(&mut dice);
        let data = DataSet::of_file(folder.path(), traces);
        found.extend(disagreements(&data, &mut dice, N_QUERIES, &ways_over_traces()));
    }
    none(&found);
}

/// The spans of a trace may lie far apart in a file: a document for each resource, those of all traces
/// mixed.
#[test]
fn traces_spread_over_documents() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("traces.jsonl");
    let mut found = Vec::new();
    for seed in 0..N_DATA_SETS / 6 {
        let mut dice = Dice::new(seed);
        let traces = drawn_traces(&mut dice);
        fs::write(&path, spread(&traces)).expect("the file can be written");
        let data = DataSet::open(&path, None, traces);
        found.extend(disagreements(&data, &mut dice, N_QUERIES, &ways_over_traces()));
    }
    none(&found);
}

/// A document a line: the first resource of every trace, then the second, and so on.
fn spread(traces: &[Trace]) -> String {
    let most = traces.iter().map(|trace| trace.resource_spans.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for position in 0..most {
        for trace in traces {
            if let Some(resource_spans) = trace.resource_spans.get(position) {
                let part = Trace { id: trace.id, resource_spans: vec![resource_spans.clone()] };
                lines.push_str(&otlp::to_otlp_json(&[part]).to_string().replace('\n', " "));
                lines.push('\n');
            }
        }
    }
    lines
}

/// One tenant of a bucket.
fn tenant(bucket: &Path, tenant: &str, n_queries: usize) {
    let traces = RUNTIME.block_on(stored::traces(bucket, tenant));
    let data = DataSet::open(bucket, Some(tenant), traces);
    none(&disagreements(&data, &mut Dice::new(7), n_queries, &ways_over_blocks()));
}

/// One tenant of the frozen fixtures.
fn frozen_block(version: &str, name: &str) {
    tenant(&golden::testdata("blocks/fixtures").join(version), name, N_QUERIES);
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

/// Six of the fourteen traces have spans in both blocks that a compaction merged: a bucket of these two
/// as they were before it.
#[test]
fn traces_split_over_blocks() {
    const TENANT: &str = "synthetic-compaction";
    for version in ["vParquet4", "vParquet5"] {
        let bucket = tempfile::tempdir().expect("a folder");
        let compacted = golden::testdata("blocks/fixtures").join(version).join(TENANT);
        let mut n_blocks = 0;
        for block in fs::read_dir(compacted).expect("the folder of the tenant") {
            let block = block.expect("an entry").path();
            if !block.join("meta.compacted.json").exists() {
                continue;
            }
            let to = bucket.path().join(TENANT).join(block.file_name().expect("a name"));
            fs::create_dir_all(&to).expect("a folder");
            for (from, to) in
                [("meta.compacted.json", "meta.json"), ("data.parquet", "data.parquet")]
                    .map(|(from, name)| (block.join(from), to.join(name)))
            {
                fs::copy(from, to).expect("the file can be copied");
            }
            n_blocks += 1;
        }
        assert_eq!(n_blocks, 2, "{version}");
        tenant(bucket.path(), TENANT, N_QUERIES_OF_SPLIT_TRACES);
    }
}

/// Most generated queries are valid, or the tests would ask less than they seem to.
#[test]
fn generated_queries_are_valid() {
    let mut dice = Dice::new(1);
    let words = Vocabulary::of(&drawn_traces(&mut dice));
    let refused: Vec<String> = (0..1000)
        .map(|_| generate::metrics_query(&mut dice, &words))
        .filter_map(|text| {
            let error = traceql_language::compile(&text, Dialect::Default).err()?;
            Some(format!("{text}\n  {error}"))
        })
        .collect();
    assert!(refused.len() < 50, "{} refused: {:#?}", refused.len(), &refused[..10]);
}

/// Answers are a function of the spans (`metrics.md` section 0): the order of traces does not matter,
/// not even to a sample on the edge of a comparison. Gives the queries for which it does, and how many
/// of them find something.
fn depending_on_order(dice: &mut Dice, traces: &[Trace]) -> (Vec<String>, usize) {
    let reversed: Vec<Trace> = traces.iter().rev().cloned().collect();
    let words = Vocabulary::of(traces);
    let mut differing = Vec::new();
    let mut n_answered = 0;
    for _ in 0..N_QUERIES {
        let (text, query) = valid_query(dice, &words);
        let when = generate::when(dice, &words);
        match (evaluated(traces, &query, when), evaluated(&reversed, &query, when)) {
            (Ok(one), Ok(other)) => {
                n_answered += usize::from(!one.is_empty());
                let difference = series::difference(&one, &other);
                differing.extend(difference.map(|d| format!("{text}\n  {when:?}\n  {d}")));
            }
            (one, other) => assert_eq!(one.is_err(), other.is_err(), "{text}"),
        }
    }
    (differing, n_answered)
}

#[test]
fn generated_traces_may_come_in_any_order() {
    let mut differing = Vec::new();
    let mut n_answered = 0;
    for seed in 0..N_DATA_SETS {
        let mut dice = Dice::new(seed);
        let traces = drawn_traces(&mut dice);
        let (more, n_more) = depending_on_order(&mut dice, &traces);
        differing.extend(more);
        n_answered += n_more;
    }
    none(&differing);
    let n_asked = N_QUERIES * usize::try_from(N_DATA_SETS).expect("a small number");
    assert!(n_answered * 2 > n_asked, "only {n_answered} of {n_asked} queries find anything");
}

#[test]
fn frozen_traces_may_come_in_any_order() {
    for version in ["vParquet3", "vParquet4", "vParquet5"] {
        let bucket = golden::testdata("blocks/fixtures").join(version);
        let traces = RUNTIME.block_on(stored::traces(&bucket, "synthetic"));
        let (differing, n_answered) = depending_on_order(&mut Dice::new(7), &traces);
        none(&differing);
        assert!(n_answered * 3 > N_QUERIES, "only {n_answered} of {N_QUERIES} find anything");
    }
}
