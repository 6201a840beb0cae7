//! Any text in both dialects: reading, checking and printing it never panics, an error points into
//! the text, and the default dialect takes what Tempo's takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use traceql_language::{Dialect, Error, analyze, compile, lenient_filter, parse};

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        match parse(text, dialect) {
            Ok(query) => {
                assert!(!query.display(dialect).to_string().is_empty());
                match analyze(&query, dialect) {
                    Ok(typed) => drop(traceql_language::advice(&typed)),
                    Err(error) => check(text, &error),
                }
            }
            Err(error) => check(text, &error),
        }
    }
    if compile(text, Dialect::Tempo).is_ok() {
        compile(text, Dialect::Default).expect("the default dialect takes what Tempo's takes");
    }
    drop(lenient_filter(text));
});

/// What whoever draws an error relies on.
fn check(text: &str, error: &Error) {
    let range = error.range.bytes();
    assert!(text.get(range).is_some(), "{error:?}");
    assert!(!error.message.is_empty());
    assert!(error.position(text).line >= 1);
}
