//! Arguments of a page of an answer.

use clap::Args;
use traceql_engine::search::Cursor;

/// Where an answer begins.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PageArgs {
    /// The next page: the traces behind a cursor, which the page before names
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<Cursor>,
}
