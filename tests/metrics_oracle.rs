//! Generated metrics queries over generated traces and over every frozen block, to hold the engine
//! against the naive evaluator of metrics; and what makes that a fair trial: the queries are valid, most
//! of them find something, and none depends on the order in which traces are looked at.

use traceql_blocks::model::Trace;
use traceql_language::Dialect;
use traceql_language::analyze::ir::TypedQuery;

use crate::support::data_set::{RUNTIME, none};
use crate::support::evaluate::metrics::{self as evaluate, Axis, When};
use crate::support::generate::{self, Dice, Vocabulary};
use crate::support::series::{self, Shown};
use crate::support::{golden, stored};

/// Data sets drawn for the tests over generated traces.
const N_DATA_SETS: u64 = 60;

/// Queries asked of each data set.
const N_QUERIES: usize = 40;

/// Traces of a data set.
const N_TRACES: usize = 8;

/// The traces of a data set.
fn generated_traces(dice: &mut Dice) -> Vec<Trace> {
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

/// Most generated queries are valid, or the tests would ask less than they seem to.
#[test]
fn generated_queries_are_valid() {
    let mut dice = Dice::new(1);
    let words = Vocabulary::of(&generated_traces(&mut dice));
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
        let traces = generated_traces(&mut dice);
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
