//! Why a query was refused, as data: the place, what was expected there, what was probably meant.
//! Drawing it under the query is the command line's business.

use std::fmt;

use crate::range::{LineColumn, TextRange};

/// A query that was refused. One precise error is enough: the first one found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The text that is at fault; empty where something is missing.
    pub range: TextRange,
    /// Whose fault it is.
    pub kind: ErrorKind,
    /// The rule that was broken, if the query parsed.
    pub code: Option<Code>,
    /// One clause, lower case, no full stop.
    pub message: String,
    /// What could have stood there, most likely first; empty when that would not help.
    pub expected: Vec<String>,
    /// What to do about it, one sentence each, most helpful first.
    pub hints: Vec<String>,
}

/// Whose fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The text is not TraceQL.
    Parse,
    /// It is TraceQL, but breaks a rule that the grammar cannot state.
    Invalid,
    /// It is valid, but not supported (in this dialect).
    Unsupported,
    /// It is too long or too deep.
    Limit,
}

/// The rules of analysis (`grammar/compatibility.md` lists them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The two operands can never be compared or combined.
    Type,
    /// The operator is not defined for the operand's type.
    Op,
    /// A filter's body is not a condition.
    Bool,
    /// An aggregate's argument is not a number.
    Num,
    /// An aggregate or a group key mentions no data of a span.
    Ref,
    /// The right side of `=~` is no literal or no regular expression.
    Regex,
    /// `= nil` on a field that is never missing.
    Nil,
    /// Understood, but not supported.
    Unsup,
    /// A number out of its range.
    Range,
    /// `compare()` combined with something.
    Compare,
}

/// How the reference classes a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It parses and passes every check.
    Valid,
    /// It does not parse.
    ParseError,
    /// It parses but is refused.
    Invalid,
}

impl Error {
    /// An error without expectations and hints.
    #[must_use]
    pub fn new(kind: ErrorKind, range: TextRange, message: impl Into<String>) -> Self {
        Self {
            range,
            kind,
            code: None,
            message: message.into(),
            expected: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// A syntax error.
    #[must_use]
    pub fn parse(range: TextRange, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Parse, range, message)
    }

    /// A broken rule.
    #[must_use]
    pub fn invalid(code: Code, range: TextRange, message: impl Into<String>) -> Self {
        let kind = if code == Code::Unsup { ErrorKind::Unsupported } else { ErrorKind::Invalid };
        Self { code: Some(code), ..Self::new(kind, range, message) }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with what could have stood there.
    #[must_use]
    pub fn expecting<S: Into<String>>(mut self, expected: impl IntoIterator<Item = S>) -> Self {
        self.expected.extend(expected.into_iter().map(Into::into));
        self
    }

    /// How the reference classes this refusal.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.kind {
            ErrorKind::Parse | ErrorKind::Limit => Verdict::ParseError,
            ErrorKind::Invalid | ErrorKind::Unsupported => Verdict::Invalid,
        }
    }

    /// Line and column of the first byte at fault.
    #[must_use]
    pub fn position(&self, text: &str) -> LineColumn {
        LineColumn::of(text, self.range.start as usize)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "syntax error",
            Self::Invalid => "invalid query",
            Self::Unsupported => "not supported",
            Self::Limit => "query too large",
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "TYPE",
            Self::Op => "OP",
            Self::Bool => "BOOL",
            Self::Num => "NUM",
            Self::Ref => "REF",
            Self::Regex => "REGEX",
            Self::Nil => "NIL",
            Self::Unsup => "UNSUP",
            Self::Range => "RANGE",
            Self::Compare => "COMPARE",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::ParseError => "parse_error",
            Self::Invalid => "invalid",
        })
    }
}
