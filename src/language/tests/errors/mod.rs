//! What people get to read. Each case is a typical mistake: the text, the part of it that is marked,
//! the message, and the hints.

mod stages;
mod words;

use crate::error::ErrorKind;
use crate::{Code, Dialect, Verdict, compile};

/// Asserts what is said about a query, and where.
fn check(text: &str, marked: &str, message: &str, hints: &[&str]) {
    let error = compile(text, Dialect::Default).expect_err(text);
    assert_eq!(error.message, message, "{text}");
    assert_eq!(error.range.of(text), marked, "{text}: {:?}", error.range);
    assert_eq!(error.hints, hints, "{text}");
    let is_one_clause = !error.message.ends_with(['.', '!', '?'])
        && !error.message.starts_with(|c: char| c.is_uppercase());
    assert!(is_one_clause, "{}", error.message);
}

#[test]
fn errors_say_whose_fault_they_are() {
    let check = |text: &str, dialect, kind, code, verdict| {
        let error = compile(text, dialect).expect_err(text);
        assert_eq!((error.kind, error.code, error.verdict()), (kind, code, verdict), "{text}");
    };
    let default = Dialect::Default;
    check("{", default, ErrorKind::Parse, None, Verdict::ParseError);
    check("{ name = 1 }", default, ErrorKind::Invalid, Some(Code::Type), Verdict::Invalid);
    check("{ status > ok }", default, ErrorKind::Invalid, Some(Code::Op), Verdict::Invalid);
    check("{ 1 }", default, ErrorKind::Invalid, Some(Code::Bool), Verdict::Invalid);
    check("{ } | avg(name) > 1", default, ErrorKind::Invalid, Some(Code::Num), Verdict::Invalid);
    check("{ } | by(1)", default, ErrorKind::Invalid, Some(Code::Ref), Verdict::Invalid);
    check("{ .a =~ `[` }", default, ErrorKind::Invalid, Some(Code::Regex), Verdict::Invalid);
    check("{ name = nil }", default, ErrorKind::Invalid, Some(Code::Nil), Verdict::Invalid);
    check(
        "{ } | rate() | topk(0)",
        default,
        ErrorKind::Invalid,
        Some(Code::Range),
        Verdict::Invalid,
    );
    check(
        "({} | compare({ .a })) + 1",
        default,
        ErrorKind::Invalid,
        Some(Code::Compare),
        Verdict::Invalid,
    );
    check(
        "{ } | rate() by (.a,.b,.c,.d,.e,.f)",
        default,
        ErrorKind::Unsupported,
        Some(Code::Unsup),
        Verdict::Invalid,
    );
    check(
        "{ parent.a = 1 }",
        Dialect::Tempo,
        ErrorKind::Unsupported,
        Some(Code::Unsup),
        Verdict::Invalid,
    );
}

#[test]
fn tempo_names_our_extensions() {
    for text in [
        "{ parent.name = `x` }",
        "{ parent = nil }",
        "{ } | max(duration) - min(duration) > 1s",
        "{ } | 1 < count()",
        "{ } | count() > avg(duration)",
        "({ .a } | count()) > ({ .b } | count())",
        "({ .a } | count()) + 1 > 1",
        "1 < ({ .a } | count())",
        "({ .a } | count()) > count()",
        "{ .b } && ({ .a } | count() > 1)",
        "({ .a } | count() > 1) && { .b }",
        "({ .a } | { .b }) | { .c }",
        "{ .a } | ({ .b } | count() > 1)",
        "({ .a } | count() > 1) | rate()",
        "({ .a } | count()) > 1 | { .b }",
        "{ } | count() > 2 ^ 2",
        "{ } | count() > minInt",
        "{ root.name = `x` }",
        "{ root.span.a = 1 }",
        "{ span:gap > 1s }",
        "{ } | count_distinct(name) > 1",
        "{ .a } && not { .b }",
        "not ({ .a } | count() > 1)",
        "{ } | order_by(duration desc)",
        "{ } | limit(3)",
    ] {
        assert!(compile(text, Dialect::Default).is_ok(), "{text}");
        let error = compile(text, Dialect::Tempo).expect_err(text);
        assert!(error.message.contains("is an extension that Tempo does not"), "{text}: {error}");
        assert!(error.hints[0].starts_with("use the default dialect"), "{text}");
    }
}

#[test]
fn the_first_error_is_reported() {
    // What is no token at all is found on the way, not first.
    check("{ .a + } 'x'", "}", "expected an attribute, an intrinsic or a literal, found `}`", &[]);
}
