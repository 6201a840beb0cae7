//! TraceQL: text to a typed query. No Arrow, no storage, no DataFusion: it can be fuzzed in
//! microseconds and used by editors.
//!
//! ```text
//! text --parse--> ast::Query --analyze--> ir::TypedQuery
//!                     |
//!                     +--display--> canonical text
//! ```
//!
//! The language is that of Grafana Tempo 3.x ([`Dialect::Tempo`]) and a few extensions
//! ([`Dialect::Default`]); `grammar/` describes both and lists every difference.
//!
//! ```
//! use traceql_language::{Dialect, compile, parse};
//!
//! let query = parse("{status=error}|count()>2", Dialect::Default)?;
//! assert_eq!(query.to_string(), "{ status = error }|(count()) > 2");
//!
//! let text = "{ status = error } | cuont() > 2";
//! let error = compile(text, Dialect::Default).unwrap_err();
//! assert_eq!((error.range.of(text), &*error.message), ("cuont", "unknown stage `cuont`"));
//! assert_eq!(error.hints, ["did you mean `count`?"]);
//! # Ok::<(), traceql_language::Error>(())
//! ```

pub mod analyze;
pub mod ast;
pub mod dialect;
mod display;
pub mod editor;
pub mod error;
mod fold;
mod lenient;
mod lexer;
mod lint;
mod mentions;
mod nearest;
mod operator;
mod parser;
pub mod range;
pub mod token;

pub use analyze::ir::TypedQuery;
pub use analyze::{ir, pattern};
pub use ast::Query;
pub use dialect::Dialect;
pub use display::{duration_text, float_text};
pub use error::{Code, Error, ErrorKind, Verdict};
pub use fold::integer_power;
pub use lenient::lenient_filter;
pub use lint::advice;
pub use mentions::mentions;
pub use nearest::nearest;
pub use range::{LineColumn, TextRange};

/// Longest query accepted, in bytes: Tempo's default.
pub const MAX_QUERY_BYTES: usize = 128 << 10;

/// Deepest nesting accepted, in operands within operands. Parsing recurses once a level, and threads
/// may have as little as 2 MiB of stack; queries that people and programs write stay below twenty.
pub const MAX_DEPTH: usize = 128;

/// Parses a query.
///
/// # Errors
/// If the text is not a query of the dialect, or exceeds a limit.
pub fn parse(text: &str, dialect: Dialect) -> Result<Query, Error> {
    let mut query = parser::query(text, dialect)?;
    if dialect == Dialect::Default {
        // Tempo's own powers show in its canonical text, so there folding waits for the printer.
        fold::query(&mut query, fold::Powers::Exact);
    }
    Ok(query)
}

/// Checks a parsed query and gives it types.
///
/// # Errors
/// If it breaks a rule that the grammar cannot state, or is not supported in the dialect.
pub fn analyze(query: &Query, dialect: Dialect) -> Result<TypedQuery, Error> {
    analyze::query(query, dialect)
}

/// Parses and checks a query.
///
/// # Errors
/// As [`parse`] and [`analyze()`].
pub fn compile(text: &str, dialect: Dialect) -> Result<TypedQuery, Error> {
    analyze(&parse(text, dialect)?, dialect)
}

#[cfg(test)]
mod tests;
