//! `grammar/` is held to the code: terminals to the token tables, rows of differences to tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::token::{Keyword, Scope, Symbol};
use crate::{Dialect, compile};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text without what stands between `(*` and `*)`.
fn without_comments(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, comment)) = rest.split_once("(*") {
        kept.push_str(before);
        rest =
            comment.split_once("*)").unwrap_or_else(|| panic!("an open comment: {comment:.40}")).1;
    }
    kept + rest
}

#[test]
fn the_grammar_and_the_lexer_know_the_same_words_and_signs() {
    let grammar = without_comments(&read("grammar/traceql.ebnf"));
    let written: BTreeSet<&str> = grammar.split('"').skip(1).step_by(2).collect();
    let words = Keyword::ALL.iter().map(|word| word.text());
    let signs = Symbol::ALL.iter().map(|symbol| symbol.text());
    let scopes = Scope::ALL.iter().map(|scope| scope.text());
    let known: BTreeSet<&str> = words.chain(signs).chain(scopes).chain([".", ":"]).collect();
    assert_eq!(written, known);
}

#[test]
fn every_production_is_defined_and_used() {
    let grammar = without_comments(&read("grammar/traceql.ebnf"));
    let outside: String = grammar.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_word = |c: char| c.is_ascii_alphabetic() || c == '_';
    let mut defined = BTreeSet::new();
    let mut used = BTreeSet::from(["query"]);
    for production in outside.split(';') {
        let mut words = production.split(|c| !is_word(c)).filter(|word| !word.is_empty());
        defined.extend(words.next());
        used.extend(words);
    }
    let lexical = BTreeSet::from(["WORD", "NAME", "INT", "FLOAT", "DURATION", "STRING"]);
    assert_eq!(used.difference(&defined).copied().collect::<BTreeSet<_>>(), lexical);
    assert_eq!(defined.difference(&used).count(), 0, "{defined:?} {used:?}");
}

/// The cells of each row of a table, without its head.
fn rows(document: &str) -> Vec<Vec<String>> {
    document
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id "))
        .map(|line| {
            let line = line.replace("\\|", "\u{0}");
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('\u{0}', "|"))
                .collect()
        })
        .collect()
}

/// The paths between backticks that look like evidence.
fn evidence(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|text| text.contains('/') && !text.contains(' '))
}

/// Whether a path, and the function after `::`, exist.
fn exists(evidence: &str) -> bool {
    match evidence.split_once("::") {
        None => root().join(evidence).exists(),
        Some((path, function)) => fs::read_to_string(root().join(path))
            .is_ok_and(|text| text.contains(&format!("fn {function}("))),
    }
}

#[test]
fn every_difference_names_a_test_that_exists() {
    let rows = rows(&read("grammar/compatibility.md"));
    assert!(rows.len() > 40, "{} rows", rows.len());
    let mut ids = BTreeSet::new();
    for row in &rows {
        assert!(ids.insert(&row[0]), "{} is there twice", row[0]);
        let last = row.last().unwrap();
        let named: Vec<&str> = evidence(last).collect();
        assert_eq!(named.len(), 1, "{row:?}");
        assert!(exists(named[0]), "{}: {} does not exist", row[0], named[0]);
    }
}

#[test]
fn every_example_of_an_extension_is_one() {
    let document = read("grammar/extensions.md");
    let blocks = document.split("```traceql\n").skip(1);
    let examples: Vec<&str> =
        blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect();
    assert!(examples.len() > 15, "{} examples", examples.len());
    for text in examples {
        let compiled = compile(text, Dialect::Default);
        assert!(compiled.is_ok(), "{text}: {compiled:?}");
        let error = compile(text, Dialect::Tempo).expect_err(text);
        assert!(error.message.contains("is an extension that Tempo does not"), "{text}: {error}");
    }
}

#[test]
fn documents_name_paths_that_exist() {
    for document in
        ["grammar/README.md", "grammar/extensions.md", "grammar/precedence.md", "queries/README.md"]
    {
        for path in read(document).split('`').skip(1).step_by(2) {
            if path.starts_with("src/") || path.starts_with("grammar/") {
                assert!(root().join(path).exists(), "{document} names {path}");
            }
        }
    }
}
