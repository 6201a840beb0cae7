//! Statements of SQL: reading them, with what is ours in them, never panics, and an error points into
//! the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use traceql_engine::Error;
use traceql_engine::tables::SqlStatement;

fuzz_target!(|text: &str| match SqlStatement::parse(text) {
    Ok(statements) => statements.iter().for_each(|statement| {
        std::hint::black_box(statement.is_explain());
    }),
    Err(Error::Sql(error)) => {
        assert!(!error.message.is_empty());
        if let Some(range) = error.range {
            assert!(text.get(range.clone()).is_some(), "{range:?} in {text:?}");
        }
    }
    Err(error) => assert!(!error.to_string().is_empty()),
});
