//! What the prompt remembers: source, time range, limits, form of answers, the last query. Turns it
//! into the arguments of the same commands that the command line runs.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::args::{
    BlocksCommand, BlocksListArgs, ExplainArgs, MetricsArgs, OutputArgs, OutputFormat, QueryArgs,
    QueryFormat, QueryText, RunArgs, ScopeName, SourceArgs, TagsArgs, TimeArgs, TraceArgs,
    TraceFormat, ValuesArgs,
};
use crate::page_args::PageArgs;
use crate::sql_args::{SqlArgs, SqlFormat};

/// Settings of a session at the prompt.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) source: SourceArgs,
    pub(super) time: TimeArgs,
    pub(super) run: RunArgs,
    /// Most traces; the command's default without.
    pub(super) limit: Option<usize>,
    pub(super) spans_per_spanset: Option<usize>,
    pub(super) step: Option<String>,
    pub(super) format: QueryFormat,
    /// A row a span, all columns: `\x`.
    pub(super) wide: bool,
    /// Say how long each answer took.
    pub(super) timing: bool,
    /// Page answers that do not fit on the screen.
    pub(super) pager: bool,
    /// Answers go here in place of the screen.
    pub(super) file: Option<AnswerFile>,
    /// The query that was run last.
    pub(super) last_query: Option<String>,
}

/// A file that answers go to.
#[derive(Clone, Debug)]
pub(super) struct AnswerFile {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Written to its end by every answer.
    pub(super) file: Arc<File>,
}

impl State {
    fn query_text(text: &str) -> QueryText {
        QueryText { query: Some(text.to_owned()), named: None, file: None }
    }

    /// The form of answers: what was set, or wide.
    pub(super) fn query_format(&self) -> QueryFormat {
        if self.wide { QueryFormat::Wide } else { self.format }
    }

    /// The form of answers that are neither traces nor series.
    fn row_format(&self) -> OutputArgs {
        OutputArgs { output: self.query_format().of_rows().unwrap_or(OutputFormat::Auto) }
    }

    /// A query; `is_metrics` says which of the settings apply to it.
    pub(super) fn query(&self, text: &str, is_metrics: bool) -> QueryArgs {
        QueryArgs {
            text: Self::query_text(text),
            source: self.source.clone(),
            output: self.query_format(),
            limit: self.limit.filter(|_| !is_metrics),
            page: PageArgs::default(),
            spans_per_spanset: self.spans_per_spanset.filter(|_| !is_metrics),
            metrics: MetricsArgs {
                step: self.step.clone().filter(|_| is_metrics),
                instant: false,
                exemplars: None,
                prometheus_json: false,
            },
            time: self.time.clone(),
            run: self.run.clone(),
        }
    }

    /// SQL; its rows are printed while they come, and are not kept.
    pub(super) fn sql(&self, text: &str) -> SqlArgs {
        let output = match self.query_format() {
            QueryFormat::Auto | QueryFormat::Chart | QueryFormat::Prom => SqlFormat::Auto,
            QueryFormat::Table => SqlFormat::Table,
            QueryFormat::Wide => SqlFormat::Wide,
            QueryFormat::Json => SqlFormat::Json,
            QueryFormat::Ndjson => SqlFormat::Ndjson,
            QueryFormat::Csv => SqlFormat::Csv,
            QueryFormat::Markdown => SqlFormat::Markdown,
        };
        SqlArgs {
            sql: Some(text.to_owned()),
            file: None,
            source: self.source.clone(),
            output,
            out: None,
            time: self.time.clone(),
            run: self.run.clone(),
        }
    }

    pub(super) fn trace(&self, id: String, attributes: bool) -> TraceArgs {
        let output = match self.format {
            QueryFormat::Json => TraceFormat::Json,
            QueryFormat::Ndjson => TraceFormat::Otlp,
            _ => TraceFormat::Waterfall,
        };
        TraceArgs {
            id,
            source: self.source.clone(),
            output,
            attributes,
            width: None,
            time: self.time.clone(),
            run: self.run.clone(),
        }
    }

    pub(super) fn tags(&self, scope: Option<ScopeName>, filter: Option<String>) -> TagsArgs {
        TagsArgs {
            query: filter,
            scope,
            source: self.source.clone(),
            output: self.row_format(),
            limit: 0,
            time: self.time.clone(),
            run: self.run.clone(),
        }
    }

    pub(super) fn values(&self, field: String, filter: Option<String>) -> ValuesArgs {
        ValuesArgs {
            field,
            query: filter,
            source: self.source.clone(),
            output: self.row_format(),
            limit: 0,
            time: self.time.clone(),
            run: self.run.clone(),
        }
    }

    pub(super) fn explain(&self, text: &str, analyze: bool) -> ExplainArgs {
        ExplainArgs {
            text: Self::query_text(text),
            analyze,
            dry_run: false,
            source: self.source.clone(),
            limit: self.limit,
            spans_per_spanset: self.spans_per_spanset.unwrap_or(3),
            time: self.time.clone(),
            run: self.run.clone(),
        }
    }

    pub(super) fn blocks(&self) -> BlocksCommand {
        BlocksCommand::List(BlocksListArgs {
            source: self.source.clone(),
            output: self.row_format(),
            time: self.time.clone(),
            skip_unreadable: self.run.skip_unreadable,
            no_index: false,
        })
    }
}
