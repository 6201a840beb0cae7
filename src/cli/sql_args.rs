//! The arguments of `traceql sql` as clap sees them; see [`crate::args`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::{RunArgs, SourceArgs, TimeArgs};

#[derive(Args, Debug)]
pub(crate) struct SqlArgs {
    /// Statements, in quotes, separated by `;` [default: read from standard input]
    #[arg(value_name = "SQL")]
    pub(crate) sql: Option<String>,
    /// Read the statements from a file; - is standard input
    #[arg(long, short, value_name = "PATH", conflicts_with = "sql")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Form of the rows
    #[arg(long, short, value_enum, default_value = "auto", value_name = "FORM")]
    pub(crate) output: SqlFormat,
    /// Write the rows to a file; its ending says the form unless --output does
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Forms of the rows of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SqlFormat {
    /// Table on a terminal, ndjson otherwise
    Auto,
    /// Columns fitted to the terminal
    Table,
    /// Columns as wide as they get
    Wide,
    /// One JSON document, an array of objects
    Json,
    /// One JSON object a line
    Ndjson,
    /// With a header
    Csv,
    /// A Markdown table
    Markdown,
    /// A Parquet file
    Parquet,
    /// Arrow IPC: a stream; in a file that does not end in .arrows, the file format
    Arrow,
}

impl SqlFormat {
    /// The form that a file's ending or a word of `STORED AS` names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "parquet" => Self::Parquet,
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Ndjson,
            "md" | "markdown" => Self::Markdown,
            "txt" => Self::Wide,
            _ => return None,
        })
    }

    /// True if people cannot read it.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}
