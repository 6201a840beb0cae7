//! Arguments of a page of an answer.

use clap::Args;
use traceql_engine::search::{BadCursor, Cursor};

/// Which page of an answer is asked for.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PageArgs {
    /// The next page: what follows the cursor that the page before named; `start` for the first
    #[arg(long, value_name = "CURSOR", value_parser = page)]
    pub(crate) after: Option<After>,
}

/// Where a page begins.
#[derive(Clone, Debug)]
pub(crate) enum After {
    /// At the beginning, by whoever wants to be told of the next one.
    Start,
    /// Behind the page before.
    Page(Cursor),
}

impl PageArgs {
    /// The cursor, if a later page than the first is asked for.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        match &self.after {
            Some(After::Page(cursor)) => Some(cursor.clone()),
            Some(After::Start) | None => None,
        }
    }
}

fn page(text: &str) -> Result<After, BadCursor> {
    if text == "start" {
        return Ok(After::Start);
    }
    text.parse().map(After::Page)
}
