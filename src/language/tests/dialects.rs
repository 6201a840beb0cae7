//! Where our text differs from Tempo's, and where both stay alike (`grammar/compatibility.md`).

use crate::{Dialect, Verdict, analyze, compile, parse};

/// Canonical text as both dialects print it.
fn canonical(text: &str, dialect: Dialect) -> String {
    parse(text, dialect)
        .unwrap_or_else(|error| panic!("{text}: {error:?}"))
        .display(dialect)
        .to_string()
}

#[test]
fn and_does_not_bind_tighter_than_or() {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        assert_eq!(canonical("{ .a || .b && .c }", dialect), "{ (.a || .b) && .c }");
        assert_eq!(
            canonical("{ .a } || { .b } && { .c } >> { .d }", dialect),
            "(({ .a }) || ({ .b })) && (({ .c }) >> ({ .d }))"
        );
    }
}

#[test]
fn prefix_minus_is_loose() {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        assert_eq!(canonical("{ -.a * 2 = 1 }", dialect), "{ (-(.a * 2)) = 1 }");
        assert_eq!(canonical("{ -.a + 2 = 1 }", dialect), "{ ((-.a) + 2) = 1 }");
        assert_eq!(canonical("{ -.a ^ 2 = 1 }", dialect), "{ (-(.a ^ 2)) = 1 }");
        assert_eq!(canonical("{ } | count() > -1 * 2", dialect), "{ true }|(count()) > -2");
    }
}

#[test]
fn the_lexer_keeps_no_state() {
    let text = "{ parent.a = 1 && .span.b = 2 }";
    assert!(compile(text, Dialect::Default).is_ok());
    assert_eq!(compile(text, Dialect::Tempo).unwrap_err().verdict(), Verdict::ParseError);
    // With a scope in between the flag is not raised.
    let text = "{ parent.span.a = 1 && .span.b = 2 }";
    assert_eq!(compile(text, Dialect::Tempo).unwrap_err().verdict(), Verdict::Invalid);
}

#[test]
fn canonical_text_can_be_read_where_tempos_cannot() {
    let check = |text: &str, ours: &str, tempos: &str| {
        assert_eq!(canonical(text, Dialect::Default), ours);
        assert_eq!(canonical(text, Dialect::Tempo), tempos);
        let query = parse(text, Dialect::Default).unwrap();
        assert_eq!(parse(ours, Dialect::Default), Ok(query), "{ours}");
    };
    check("{ .a = \"x`y\" }", "{ .a = \"x`y\" }", "{ .a = `x`y` }");
    check(
        "{ .a = \"x`\\n\\u0001\\\\\" }",
        "{ .a = \"x`\\n\\u0001\\\\\" }",
        "{ .a = `x`\n\u{1}\\` }",
    );
    check("{ .a = \"x\\r\" }", "{ .a = \"x\\r\" }", "{ .a = `x\r` }");
    check("{ .a = minInt }", "{ .a = minInt }", "{ .a = -9223372036854775808 }");
    check("{ 1.0 / 0 = .a }", "{ (1.0 / 0) = .a }", "{ +Inf.0 = .a }");
    check("{ span.\"\" = 2 }", "{ span.\"\" = 2 }", "{ span. = 2 }");
    check("{ .\"5xx\" = 2 }", "{ .\"5xx\" = 2 }", "{ .5xx = 2 }");
    check("{ (-5) * .a = 2 }", "{ ((-5) * .a) = 2 }", "{ (-5 * .a) = 2 }");
    check("{ -5 + .a = 2 }", "{ (-5 + .a) = 2 }", "{ (-5 + .a) = 2 }");
    check(
        "{} | compare({ .a }, 5, 6, 7)",
        "{ true } | compare({ .a }, 5, 6, 7)",
        "{ true } | compare({ .a }}",
    );
    check(
        "{} | quantile_over_time(duration, 0.9999999, 0.5)",
        "{ true } | quantile_over_time(duration,0.9999999,0.50000)",
        "{ true } | quantile_over_time(duration,1.00000,0.50000)",
    );
}

#[test]
fn parents_attributes_are_told_from_its_intrinsics() {
    let check = |text: &str, ours: &str| {
        assert_eq!(canonical(text, Dialect::Default), ours);
        assert_eq!(parse(ours, Dialect::Default), parse(text, Dialect::Default), "{ours}");
    };
    check("{ parent.duration > 1 }", "{ parent.duration > 1 }");
    check("{ parent.\"duration\" > 1 }", "{ parent.\"duration\" > 1 }");
    check("{ parent.\"span\".x > 1 }", "{ parent.\"span.x\" > 1 }");
    check("{ parent.span.duration > 1 }", "{ parent.span.duration > 1 }");
    check("{ parent.\"5xx\" > 1 }", "{ parent.5xx > 1 }");
}

#[test]
fn strings_are_text() {
    assert!(compile(r#"{ .a = "\xc3\xa9" }"#, Dialect::Default).is_ok());
    let error = compile(r#"{ .a = "\xff" }"#, Dialect::Default).unwrap_err();
    assert_eq!(error.message, "this string is not valid UTF-8");
}

#[test]
fn instrumentation_is_untyped() {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        assert!(compile("{ instrumentation:name = 1 }", dialect).is_ok());
    }
}

#[test]
fn analysis_under_tempo_accepts_what_the_default_dialect_parsed() {
    // A query that uses no extension may cross over.
    let query = parse("{ .a = 1 } | count() > 2", Dialect::Default).unwrap();
    assert_eq!(analyze(&query, Dialect::Tempo), analyze(&query, Dialect::Default));
}
