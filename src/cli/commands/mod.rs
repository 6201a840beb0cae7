//! One file a subcommand, and what they share: running work under supervision, ending as told.

pub(crate) mod blocks;
pub(crate) mod compact;
pub(crate) mod config;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod fmt;
pub(crate) mod generate;
pub(crate) mod lint;
pub(crate) mod query;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod tags;
pub(crate) mod test;
pub(crate) mod trace;
pub(crate) mod values;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use traceql_blocks::bucket::store::SourceOptions;
use traceql_engine::{Outcome, Progress, QueryOptions, QueryStats};
use traceql_language::TypedQuery;
use traceql_language::ir::{FieldExpr, SpansetExpr, Stage};

use crate::Success;
use crate::args::{RunArgs, SourceArgs, TimeArgs};
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::session::{Session, SessionOptions};
use crate::settings::{self, World};
use crate::supervise::{Ended, Runtimes};
use crate::terminal::HINT;
use crate::units::{format_count, format_duration, format_size, plural};

/// A command that asks the engine: threads, options, source.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    world: &'a World,
    run: &'a RunArgs,
    host: Arc<Host>,
    session: SessionOptions,
    timeout: Option<Duration>,
    progress: Arc<Progress>,
    /// A bar on standard error says how far the query is.
    pub(crate) shows_progress: bool,
    /// How the query runs; limits are for the command to set.
    pub(crate) options: QueryOptions,
}

impl<'a> Asking<'a> {
    /// Checks the arguments and starts the threads.
    pub(crate) fn new(
        world: &'a World,
        source: &SourceArgs,
        time: &TimeArgs,
        run: &'a RunArgs,
    ) -> Result<Self> {
        let progress = Arc::new(Progress::default());
        let options = world.query_options(time, run, &progress)?;
        let timeout = settings::duration("timeout", run.timeout.as_deref())?;
        // A source that is missing is said before threads are started.
        settings::source(source)?;
        let host = match &world.host {
            Some(host) => Arc::clone(host),
            None => Arc::new(Host::new(Runtimes::start(options.threads)?)),
        };
        let session = SessionOptions::new(world, source, host.runtimes.io())?;
        Ok(Self { world, run, host, session, timeout, progress, shows_progress: true, options })
    }

    /// How the stores of this command are reached, for what it writes.
    pub(crate) fn source_options(&self, source: &SourceArgs) -> Result<SourceOptions> {
        self.world.source_options(&source.stores, self.host.runtimes.io())
    }

    /// Another source, to be opened beside that of the command.
    pub(crate) fn beside(&self, source: &SourceArgs) -> Result<SessionOptions> {
        SessionOptions::new(self.world, source, self.host.runtimes.io())
    }

    /// Opens the source and does the work, supervised.
    pub(crate) fn ask<T, F>(&self, work: impl FnOnce(Session) -> F + Send + 'static) -> Ended<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send,
    {
        let (kept, session) = (Arc::clone(&self.host.kept), self.session.clone());
        let work = async move { work(kept.session(session).await?).await };
        let mut terminal = self.world.terminal;
        terminal.quiet |= !self.shows_progress;
        self.host.runtimes.supervise(&terminal, self.timeout, &self.progress, work)
    }

    /// Ends the command: what is to be said besides the answer, and the exit code. The answer has
    /// been printed.
    pub(crate) fn finish(self, told: &Told, is_empty: bool, what: &str) -> Result<Success> {
        if let Ok(host) = Arc::try_unwrap(self.host) {
            host.runtimes.stop();
        }
        let terminal = &self.world.terminal;
        for warning in &told.warnings {
            terminal.warn(warning);
        }
        if is_empty && told.partial.is_none() {
            terminal.note(&format!("{what} in {}", asked_of(&told.stats)));
        }
        if self.run.stats {
            terminal.say("stats", HINT, &stats_text(&told.stats));
        }
        match &told.partial {
            Some(why) => Err(Error::new(Kind::Partial, format!("the answer is partial: {why}"))),
            None if is_empty && self.run.exit_status => Ok(Success::NothingMatched),
            None => Ok(Success::Answered),
        }
    }
}

/// Everything of an [`Outcome`] but the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    stats: QueryStats,
    partial: Option<String>,
    warnings: Vec<String>,
}

impl Told {
    /// Whether the answer is not whole.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Adds what another question told.
    pub(crate) fn add(&mut self, told: Self) {
        let Self { stats, partial, warnings } = told;
        let of = &mut self.stats;
        *of = QueryStats {
            total_blocks: of.total_blocks.max(stats.total_blocks),
            selected_blocks: of.selected_blocks.max(stats.selected_blocks),
            selected_block_bytes: of.selected_block_bytes.max(stats.selected_block_bytes),
            units_total: of.units_total + stats.units_total,
            units_done: of.units_done + stats.units_done,
            inspected_traces: of.inspected_traces + stats.inspected_traces,
            inspected_spans: of.inspected_spans + stats.inspected_spans,
            bytes_read: of.bytes_read + stats.bytes_read,
            requests: of.requests + stats.requests,
            row_groups_skipped: of.row_groups_skipped + stats.row_groups_skipped,
            pages_read: of.pages_read + stats.pages_read,
            elapsed: of.elapsed + stats.elapsed,
        };
        self.partial = self.partial.take().or(partial);
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

/// Takes the answer and leaves the rest.
pub(crate) fn split<T>(outcome: Outcome<T>) -> (T, Told) {
    let Outcome { answer, stats, partial, warnings } = outcome;
    (answer, Told { stats, partial, warnings })
}

/// The outcome, or why there is none; for commands whose answer has no useful part.
pub(crate) fn whole<T>(ended: Ended<T>) -> Result<T> {
    match ended {
        Ended::Done(result) => result,
        Ended::Interrupted => Err(Error::interrupted()),
        Ended::TimedOut(after) => Err(Error::timeout(after)),
    }
}

/// How much was looked at, for whoever wonders why nothing was found.
fn asked_of(stats: &QueryStats) -> String {
    let of = match (stats.selected_blocks, stats.total_blocks) {
        (selected, total) if selected == total => plural(total, "block"),
        (selected, total) => {
            format!("{} of {}", format_count(selected), plural(total, "block"))
        }
    };
    match stats.inspected_traces {
        0 => of,
        n => format!("{of}, {} looked at", plural(n, "trace")),
    }
}

fn stats_text(stats: &QueryStats) -> String {
    [
        format!(
            "{} of {} ({})",
            format_count(stats.selected_blocks),
            plural(stats.total_blocks, "block"),
            format_size(stats.selected_block_bytes)
        ),
        format!("{} read in {}", format_size(stats.bytes_read), plural(stats.requests, "request")),
        format!(
            "{} and {} inspected",
            plural(stats.inspected_traces, "trace"),
            plural(stats.inspected_spans, "span")
        ),
        format!("{} decoded", plural(stats.pages_read, "page")),
        format!("{} skipped", plural(stats.row_groups_skipped, "row group")),
        format!("{} of {} done", format_count(stats.units_done), plural(stats.units_total, "unit")),
        format_duration(u64::try_from(stats.elapsed.as_nanos()).unwrap_or(u64::MAX)),
    ]
    .join(", ")
}

/// The filter of a query that is one, for commands that take no more than that.
pub(crate) fn filter(world: &World, text: Option<&str>) -> Result<Option<FieldExpr>> {
    let Some(text) = text else { return Ok(None) };
    let TypedQuery { mut pipeline, metrics, order_by, limit, .. } = world.compile(text)?;
    let arranges = !order_by.is_empty() || limit.is_some();
    match (pipeline.stages.pop(), pipeline.stages.is_empty(), metrics) {
        (Some(Stage::Spanset(SpansetExpr::Filter(filter))), true, None) if !arranges => {
            Ok(Some(filter))
        }
        _ => Err(Error::usage("only a filter of spans can be given here")
            .hint("write one pair of braces: { resource.service.name = \"checkout\" }")),
    }
}
