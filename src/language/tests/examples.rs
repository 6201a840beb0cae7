//! The reference's own verdicts and canonical forms.

use serde_json::Value;

use crate::{Dialect, Verdict, analyze, parse};

/// The 754 examples, each produced by running the reference.
fn examples() -> Vec<(String, String, Option<String>)> {
    let text = include_str!("../../../testdata/language/traceql_examples.json");
    let Value::Array(examples) = serde_json::from_str(text).unwrap() else { panic!("an array") };
    let field = |example: &Value, name: &str| example[name].as_str().map(str::to_owned);
    examples
        .iter()
        .map(|example| {
            let query = field(example, "query").unwrap();
            (query, field(example, "verdict").unwrap(), field(example, "canonical"))
        })
        .collect()
}

/// Verdict and canonical form, as `traceql fmt` reports them.
fn verdict(text: &str, dialect: Dialect) -> (Verdict, Option<String>, String) {
    let query = match parse(text, dialect) {
        Ok(query) => query,
        Err(error) => return (error.verdict(), None, error.to_string()),
    };
    match analyze(&query, dialect) {
        Ok(_) => (Verdict::Valid, Some(query.display(dialect).to_string()), String::new()),
        Err(error) => (error.verdict(), None, error.to_string()),
    }
}

#[test]
fn the_tempo_dialect_agrees_with_every_example() {
    let examples = examples();
    assert_eq!(examples.len(), 754);
    let mut failures = Vec::new();
    for (query, expected, canonical) in examples {
        let (found, text, message) = verdict(&query, Dialect::Tempo);
        if found.to_string() != expected || text != canonical {
            failures.push(format!("{query}\n  expected {expected} {canonical:?}\n  found    {found} {text:?} {message}"));
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_default_dialect_accepts_what_tempo_accepts_and_reads_its_own_text() {
    for (query, expected, _) in examples() {
        let (found, text, message) = verdict(&query, Dialect::Default);
        if expected == "valid" {
            assert_eq!(found, Verdict::Valid, "{query}: {message}");
        }
        if let Some(text) = text {
            let query = parse(&query, Dialect::Default).unwrap();
            assert_eq!(parse(&text, Dialect::Default).as_ref(), Ok(&query), "{text}");
        }
    }
}
