//! `traceql fmt`: canonical text. Reads no data.

use std::io::{self, BufRead as _, Read as _, Write};

use serde::Serialize;
use traceql_language::{Dialect, Error as QueryError, Verdict};

use crate::Success;
use crate::args::FmtArgs;
use crate::error::{Error, Kind, Result};
use crate::output::to_stdout;
use crate::settings::World;

/// One line of `--jsonl`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    query: &'a str,
    verdict: String,
    canonical: Option<String>,
    error: Option<String>,
}

pub(crate) fn run(world: &World, args: &FmtArgs) -> Result<Success> {
    if args.jsonl {
        judge_lines(world.dialect)?;
        return Ok(Success::Answered);
    }
    let mut queries = args.queries.clone();
    if queries.is_empty() {
        queries.push("-".to_owned());
    }
    for query in queries.iter_mut().filter(|query| *query == "-") {
        query.clear();
        let read = io::stdin().lock().read_to_string(query);
        read.map_err(|error| Error::usage(format!("cannot read standard input: {error}")))?;
    }
    for text in &queries {
        let canonical =
            canonical(text, world.dialect).map_err(|error| Error::query("query", text, error))?;
        to_stdout(|out| writeln!(out, "{canonical}"))?;
    }
    Ok(Success::Answered)
}

/// The canonical text of a query that is valid in its dialect.
fn canonical(text: &str, dialect: Dialect) -> Result<String, QueryError> {
    let query = traceql_language::parse(text, dialect)?;
    traceql_language::analyze(&query, dialect)?;
    Ok(query.display(dialect).to_string())
}

/// One JSON string a line in, one verdict a line out, each at once: whoever asks may wait for it.
fn judge_lines(dialect: Dialect) -> Result<()> {
    let input = io::stdin().lock();
    let mut out = io::stdout().lock();
    for (i, line) in input.lines().enumerate() {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::usage(format!("standard input, line {}: {why}", i + 1))
                .hint("with --jsonl each line is one JSON string")
        };
        let line = line.map_err(|error| wrong(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        let query: String = serde_json::from_str(&line).map_err(|error| wrong(&error))?;
        judge(&mut out, &query, dialect)?;
    }
    Ok(())
}

fn judge(out: &mut dyn Write, query: &str, dialect: Dialect) -> Result<()> {
    let line = match canonical(query, dialect) {
        Ok(canonical) => Line {
            query,
            verdict: Verdict::Valid.to_string(),
            canonical: Some(canonical),
            error: None,
        },
        Err(error) => {
            let place = error.position(query);
            Line {
                query,
                verdict: error.verdict().to_string(),
                canonical: None,
                error: Some(format!("line {}, column {}: {error}", place.line, place.column)),
            }
        }
    };
    let text = serde_json::to_string(&line)
        .map_err(|error| Error::new(Kind::Failed, format!("cannot write JSON: {error}")))?;
    writeln!(out, "{text}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expect: &str) {
        let mut out = Vec::new();
        judge(&mut out, query, Dialect::Default).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(expect), "{query:?}: {text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["query", "verdict", "canonical", "error"]);
    }

    #[test]
    fn verdicts_have_all_members_in_order() {
        check(
            "{status=error}",
            r#"{"query":"{status=error}","verdict":"valid","canonical":"{ status = error }","error":null}"#,
        );
        check(
            "{",
            r#"{"query":"{","verdict":"parse_error","canonical":null,"error":"line 1, column "#,
        );
        check(
            "{ 1 }",
            r#"{"query":"{ 1 }","verdict":"invalid","canonical":null,"error":"line 1, column "#,
        );
    }
}
