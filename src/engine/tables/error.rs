//! Why a SQL statement was refused, as data: the place in its text where that is known, and what
//! was probably meant. Here DataFusion's errors become ours.

use std::fmt;
use std::ops::Range;

use datafusion::common::diagnostic::Diagnostic;
use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::error::Error;

/// Columns listed where none is near to what was written.
const MAX_LISTED: usize = 24;

/// A statement that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlError {
    /// Bytes of the text that are at fault.
    pub range: Option<Range<usize>>,
    /// One clause.
    pub message: String,
    /// What to do about it, most helpful first.
    pub hints: Vec<String>,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}

impl SqlError {
    /// An error without place and hints.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// The same with a place.
    pub(super) fn at(self, range: Option<Range<usize>>) -> Self {
        Self { range, ..self }
    }

    /// The same with one more hint.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        Self::Sql(Box::new(error))
    }
}

/// The bytes of a text between two of its places, lines and columns counted from 1.
pub(super) fn bytes_between(
    text: &str,
    start: (u64, u64),
    end: (u64, u64),
) -> Option<Range<usize>> {
    let start = byte_at(text, start)?;
    let end = byte_at(text, end).unwrap_or(start);
    Some(start..end.max(start))
}

fn byte_at(text: &str, (line, column): (u64, u64)) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let mut at = 0;
    for _ in 1..line {
        at += text[at..].find('\n')? + 1;
    }
    let rest = &text[at..];
    let within = rest.char_indices().nth(column.checked_sub(1)?);
    Some(at + within.map_or(rest.len(), |(at, _)| at))
}

fn range_of(text: &str, span: Option<Span>) -> Option<Range<usize>> {
    let span = span?;
    bytes_between(text, (span.start.line, span.start.column), (span.end.line, span.end.column))
}

/// Our error of one of DataFusion's, about a statement of `text`.
pub(super) fn of_datafusion(error: DataFusionError, text: &str) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => match other.downcast::<SqlError>() {
                Ok(error) => (*error).into(),
                Err(other) => Error::Internal(other.to_string()),
            },
        },
        DataFusionError::Context(_, inner) => of_datafusion(*inner, text),
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(error) => of_datafusion(error, text),
            Err(shared) => of_shared(&shared, text),
        },
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => of_datafusion(first, text),
            None => Error::Internal("no error among several".to_owned()),
        },
        DataFusionError::Diagnostic(diagnostic, inner) => {
            match (of_datafusion(*inner, text), &*diagnostic) {
                (Error::Sql(mut error), diagnostic) => {
                    with_diagnostic(&mut error, diagnostic, text);
                    Error::Sql(error)
                }
                (other, _) => other,
            }
        }
        DataFusionError::SQL(error, _) => syntax(&error, text).into(),
        DataFusionError::SchemaError(error, _) => schema(&error).into(),
        DataFusionError::ResourcesExhausted(what) => {
            Error::Memory { limit_bytes: 0, what: first_line(&what).to_owned() }
        }
        DataFusionError::Internal(what) => Error::Internal(first_line(&what).to_owned()),
        DataFusionError::ArrowError(error, _) => match *error {
            arrow::error::ArrowError::ExternalError(inner) => {
                match inner.downcast::<DataFusionError>() {
                    Ok(inner) => of_datafusion(*inner, text),
                    Err(inner) => SqlError::new(inner.to_string()).into(),
                }
            }
            error => refused(&error.to_string()).into(),
        },
        DataFusionError::NotImplemented(what) => Error::Unsupported(first_line(&what).to_owned()),
        DataFusionError::Plan(what)
        | DataFusionError::Execution(what)
        | DataFusionError::Configuration(what) => refused(&what).into(),
        other => SqlError::new(plain(&other.strip_backtrace())).into(),
    }
}

/// An error that others hold too.
fn of_shared(error: &DataFusionError, text: &str) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => match inner.downcast_ref::<SqlError>() {
                Some(error) => error.clone().into(),
                None => Error::Internal(inner.to_string()),
            },
        },
        DataFusionError::SchemaError(error, _) => schema(error).into(),
        DataFusionError::SQL(error, _) => syntax(error, text).into(),
        other => SqlError::new(plain(&other.strip_backtrace())).into(),
    }
}

fn with_diagnostic(error: &mut SqlError, diagnostic: &Diagnostic, text: &str) {
    if error.range.is_none() {
        error.range = range_of(text, diagnostic.span);
    }
    for help in diagnostic.helps.iter().map(|help| &help.message) {
        if error.hints.is_empty() {
            error.hints.push(help.clone());
        }
    }
}

/// The parser says places in its message alone: `… at Line: 1, Column: 8`.
fn syntax(error: &ParserError, text: &str) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            message.as_str()
        }
        ParserError::RecursionLimitExceeded => {
            return SqlError::new("the statement is nested too deeply");
        }
    };
    let (what, place) = match message.rsplit_once(" at Line: ") {
        Some((what, place)) => (what, Some(place)),
        None => (message, None),
    };
    let place = place.and_then(|place| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
    });
    let range = match place {
        Some(start) => bytes_between(text, start, start),
        // It ends too early.
        None if what.contains("found: EOF") => Some(text.trim_end().len()..text.trim_end().len()),
        None => None,
    };
    SqlError::new(plain(what)).at(range.map(|range| word_at(text, range.start)))
}

/// The word that begins here.
fn word_at(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    start..start + word
}

fn schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => missing_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            SqlError::new(format!("{} is a column of several tables here", shown(&field.name)))
                .hint("name the table too: s.name, attr(s, 'http.route')")
        }
        other => SqlError::new(plain(&other.to_string())),
    }
}

fn missing_column(field: &Column, valid: &[Column]) -> SqlError {
    let attribute = called(&field.name);
    if let Some(call) = attribute {
        return SqlError::new(format!("{call} cannot be read here"))
            .hint(
                "attributes are read of spans, events, links and resources in FROM: \
                 attr(span, …) and attr(resource, …) of the first three, attr(event, …) of events",
            )
            .hint("a subquery passes on what it selects: SELECT attr('k') AS k FROM spans");
    }
    let names: Vec<&str> =
        valid.iter().map(|column| column.name.as_str()).filter(|n| called(n).is_none()).collect();
    let table = field.relation.as_ref().map(|table| format!(" of {table}")).unwrap_or_default();
    let error = SqlError::new(format!("there is no column {}{table}", shown(&field.name)));
    // `http.route` reads as a column of a table.
    if let Some(table) = &field.relation
        && !valid.iter().any(|column| column.relation.as_ref() == Some(table))
    {
        return error.hint(format!(
            "there is no table {table} here; an attribute is read by attr('{table}.{}')",
            field.name
        ));
    }
    match nearest(&field.name, &names) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None if names.is_empty() => error.hint("name a table with FROM"),
        None if field.name.contains('.') => error.hint(format!(
            "attributes are read by attr(): attr('{}')",
            field.name.replace('\'', "''")
        )),
        None => {
            let more = if names.len() > MAX_LISTED { ", …" } else { "" };
            let listed = names[..names.len().min(MAX_LISTED)].join(", ");
            error
                .hint(format!("the columns here are {listed}{more}"))
                .hint(format!("attributes are read by attr(): attr('{}')", field.name))
        }
    }
}

fn shown(name: &str) -> String {
    called(name).unwrap_or_else(|| name.to_owned())
}

/// The call behind the name of an attribute's column ([`super::columns::AskedAttribute`]).
pub(super) fn called(name: &str) -> Option<String> {
    let (level, rest) = name.split_once('.')?;
    let (key, as_type) = rest.rsplit_once(':')?;
    let function = match as_type {
        "text" => "attr".to_owned(),
        "int" | "float" | "bool" => format!("attr_{as_type}"),
        _ => return None,
    };
    match level {
        "attr" => Some(format!("{function}('{key}')")),
        level => {
            super::columns::level_of_word(level).map(|_| format!("{function}({level}, '{key}')"))
        }
    }
}

/// What DataFusion says of a statement.
fn refused(text: &str) -> SqlError {
    let meant = text.lines().find_map(|line| line.trim().strip_prefix("Did you mean "));
    let text = first_line(text);
    let between = |start: &str, end: &str| {
        let rest = &text[text.find(start)? + start.len()..];
        rest.find(end).map(|at| &rest[..at])
    };
    let message = match (
        text.contains("failed to match any signature"),
        between("Function '", "'"),
        between("DataType: ", ")."),
    ) {
        (true, Some(function), Some(given)) => format!("{function}() does not take {given}"),
        _ => plain(text),
    };
    let error = SqlError::new(message);
    match meant {
        Some(meant) => {
            let meant = meant.trim_end_matches('?').trim_matches('\'');
            error.hint(format!("did you mean {meant}?"))
        }
        None if text.contains("Duration(") => {
            error.hint("duration_nanos is the same number in nanoseconds")
        }
        None => error,
    }
}

/// DataFusion's text in our style: one clause, lower case, no full stop.
fn plain(text: &str) -> String {
    let text = first_line(text);
    let text = [
        "Error during planning: ",
        "Execution error: ",
        "Schema error: ",
        "SQL error: ",
        "Parser error: ",
    ]
    .iter()
    .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if chars.as_str().starts_with(|c: char| c.is_lowercase() || c == ' ') => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

/// The name that was probably meant. SQL's names are small letters, however they are written.
pub(super) fn nearest<'a>(name: &str, names: &'a [&str]) -> Option<&'a str> {
    traceql_language::nearest(&name.to_lowercase(), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bytes() {
        let text = "SELECT 'é',\n  foo";
        assert_eq!(bytes_between(text, (1, 8), (1, 11)), Some(7..11));
        assert_eq!(bytes_between(text, (2, 3), (2, 6)), Some(15..18));
        assert_eq!(bytes_between(text, (2, 30), (2, 30)), Some(18..18));
        assert_eq!(bytes_between(text, (5, 1), (5, 1)), None);
        assert_eq!(bytes_between(text, (0, 0), (0, 0)), None);
    }

    #[test]
    fn attribute_columns_are_shown_as_they_were_called() {
        assert_eq!(shown("attr.http.route:text"), "attr('http.route')");
        assert_eq!(shown("resource.a:b:int"), "attr_int(resource, 'a:b')");
        assert_eq!(shown("name"), "name");
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(nearest("Duration", &["duration", "name"]), Some("duration"));
        assert_eq!(nearest("servicename", &["service_name", "name"]), Some("service_name"));
        assert_eq!(nearest("nonsense", &["name"]), None);
    }
}
