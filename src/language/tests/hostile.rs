//! Input that is meant to hurt: it must be refused, or accepted, in time that grows with its length
//! and on a stack of ordinary size (tests run on threads of 2 MiB).

use std::time::{Duration, Instant};

use crate::{Dialect, ErrorKind, MAX_DEPTH, MAX_QUERY_BYTES, compile, lenient_filter, parse};

/// Far more than any of these needs, even unoptimised and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The text repeated up to a size.
fn filled(pattern: &str, size_bytes: usize) -> String {
    pattern.repeat(size_bytes / pattern.len())
}

/// Everything the crate does with a text, timed.
fn exercise(text: &str) -> Result<(), crate::Error> {
    let start = Instant::now();
    let mut result = Ok(());
    for dialect in [Dialect::Tempo, Dialect::Default] {
        result = compile(text, dialect).map(|_| ());
        if result.is_ok() {
            let query = parse(text, dialect).unwrap();
            assert!(!query.display(dialect).to_string().is_empty());
        }
    }
    drop(lenient_filter(text));
    assert!(start.elapsed() < PATIENCE, "{:.20} took {:?}", text, start.elapsed());
    result
}

#[test]
fn one_sign_over_and_over() {
    for sign in ["(", "!", "-", "{ {", "{ !", "{ -", "{ ("] {
        assert!(exercise(&filled(sign, MAX_QUERY_BYTES)).is_err(), "{sign}");
    }
    for sign in [
        ")",
        "{",
        "}",
        "|",
        "&",
        "&&",
        "=",
        ".",
        "\"",
        "`",
        "'",
        "/*",
        "//",
        "({",
        "(-",
        "-(",
        "!(",
        "{(",
        "{!(",
        "nil = ",
        ".a ^ ",
        ".a",
        "1",
        "1s",
        "span.",
        "span:",
        "by(",
        "avg(",
        "with(",
        "compare({",
        "\0",
        "é",
        "\\",
        "{} | ",
        "({} | rate()) + ",
        "{ } > ",
        "(({ } | count()) + ",
        "{ .a = ",
        "{ nil = ",
        "{ .a ^ ",
        "{ (.a + ",
        "{ .a = nil = ",
    ] {
        assert!(exercise(&filled(sign, MAX_QUERY_BYTES / 8)).is_err(), "{sign}");
    }
}

#[test]
fn deep_nesting_is_refused_and_named() {
    let depth = 20_000;
    for (open, middle, close) in [("{ .a && (", ".b", ") }"), ("{ .a = 1 && (.b ^ (", ".c", ")) }")]
    {
        let inner = open.trim_start_matches("{ ");
        let text = format!(
            "{{ {}{middle}{} }}",
            inner.repeat(depth / 10),
            close.trim_end_matches(" }").repeat(depth / 10)
        );
        assert_eq!(exercise(&text).unwrap_err().kind, ErrorKind::Limit, "{open}");
    }
    let minuses = format!("{{ {}.a = 1 }}", "-".repeat(depth));
    assert_eq!(exercise(&minuses).unwrap_err().kind, ErrorKind::Limit);
    let powers = format!("{{ {}.a = 1 }}", ".a ^ ".repeat(depth));
    assert_eq!(exercise(&powers).unwrap_err().kind, ErrorKind::Limit);
    let groups = format!("{}{{ }}{}", "({ } && ".repeat(depth / 10), ")".repeat(depth / 10));
    assert_eq!(exercise(&groups).unwrap_err().kind, ErrorKind::Limit);
    let alternating = format!("{{ {}.a{} }}", "(".repeat(depth), " + 1) * 2".repeat(depth / 2));
    assert!(exercise(&alternating).is_err());
}

#[test]
fn nesting_up_to_the_limit_is_accepted() {
    // Each of these is a right operand and a parenthesis deeper.
    let depth = MAX_DEPTH / 2 - 2;
    let text = format!("{{ {}.b{} }}", "(.a && ".repeat(depth), ")".repeat(depth));
    assert_eq!(exercise(&text), Ok(()));
    let depth = MAX_DEPTH / 5 - 2;
    let text = format!("{}{{ .a }}{}", "({ } && ".repeat(depth), ")".repeat(depth));
    assert_eq!(exercise(&text), Ok(()));
    // Parentheses around the left operand cost no depth, since canonical text has many of them.
    for inner in ["{ .a }", "{ } | rate()", "count() > 1"] {
        let text = format!("{}{inner}{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(exercise(&text), Ok(()));
    }
    let text = format!("{{ {}.a{} }}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(exercise(&text), Ok(()));
}

#[test]
fn long_flat_queries_are_accepted() {
    let conditions: Vec<String> = (0..4_000).map(|n| format!(".a = {n}")).collect();
    for joined in [conditions.join(" || "), conditions.join(" && ")] {
        let text = format!("{{ {joined} }}");
        assert_eq!(exercise(&text), Ok(()));
        let query = parse(&text, Dialect::Default).unwrap();
        assert_eq!(parse(&query.to_string(), Dialect::Default), Ok(query));
    }
    let filters = vec!["{ .a }"; 4_000];
    assert_eq!(exercise(&filters.join(" && ")), Ok(()));
    assert_eq!(exercise(&filters.join(" | ")), Ok(()));
    // Structure is not associative, so its chain would make a deep tree.
    assert_eq!(exercise(&filters.join(" > ")).unwrap_err().kind, ErrorKind::Limit);
    let bare = format!("{{ {} }}", vec![".a"; 4_000].join(" && "));
    assert_eq!(exercise(&bare).unwrap_err().kind, ErrorKind::Limit);
    let sum = format!("{{ {} = 1 }}", vec![".a"; 4_000].join(" + "));
    assert_eq!(exercise(&sum).unwrap_err().kind, ErrorKind::Limit);
    let math = vec!["({} | rate())"; 4_000].join(" + ");
    assert_eq!(exercise(&math).unwrap_err().kind, ErrorKind::Limit);
}

#[test]
fn the_size_limit_is_checked_first() {
    let text = format!("{{ .a = \"{}\" }}", "x".repeat(MAX_QUERY_BYTES));
    let error = exercise(&text).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit);
    let just_fits = format!("{{ .a = \"{}\" }}", "x".repeat(MAX_QUERY_BYTES - 12));
    assert_eq!(exercise(&just_fits), Ok(()));
}

#[test]
fn every_prefix_of_a_query_is_handled() {
    let text = "({ span.\"a\\\"b\" = \"x\\u00e9\" && .a >= -1.5e3 || nil != parent.duration } | by(name) | avg(.b ^ 2) > 1h30m) &>> ({ 日本 }) with (a=`b`) /* c */ // d";
    for end in 0..=text.len() {
        if let Some(prefix) = text.get(..end) {
            drop(exercise(prefix));
        }
        if let Some(suffix) = text.get(end..) {
            drop(exercise(suffix));
        }
    }
}
