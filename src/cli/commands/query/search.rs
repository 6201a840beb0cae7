//! A query that searches for traces.

use std::sync::{Arc, Mutex, PoisonError};

use traceql_engine::search::{Cursor, Gathered, SearchAnswer};
use traceql_engine::{Outcome, QueryOptions, QueryStats};
use traceql_language::TypedQuery;

use crate::Success;
use crate::args::{OutputFormat, QueryArgs, QueryFormat};
use crate::commands::{Asking, Told, split};
use crate::error::{Error, Result};
use crate::output::search;
use crate::settings::World;
use crate::supervise::Ended;
use crate::units::plural;

pub(super) fn run(world: &World, args: &QueryArgs, query: TypedQuery) -> Result<Success> {
    let format = world.output(args.output.of_rows().ok_or_else(|| for_metrics(args.output))?);
    refuse_options_of_metrics(args)?;
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    let defaults = QueryOptions::default();
    // A limit that nobody asked for does not lower that of the query.
    let by_default = if query.limit.is_some() { 0 } else { defaults.limit };
    asking.options.limit = args.limit.or(world.config.limit()).unwrap_or(by_default);
    // Who gave a limit knows it; who gave none may take 20 traces for all, a program too.
    let is_default = asking.options.limit == defaults.limit && args.limit.is_none();
    asking.options.after = args.page.cursor();
    let limit = asking.options.limit_of(&query);
    let order = Order::of(&query);
    let wants_pages = args.page.after.is_some();
    asking.options.spans_per_spanset = args.spans_per_spanset.unwrap_or(defaults.spans_per_spanset);

    // What is found is held here alone, so that it can be shown if the search does not come to its end.
    let found = Arc::new(Mutex::new(Some(Gathered::of(&query, asking.options.memory_bytes))));
    let (options, so_far) = (asking.options.clone(), Arc::clone(&found));
    let ended = asking.ask(move |session| async move {
        let keep = |trace| lock(&so_far).as_mut().map_or(Ok(()), |found| found.push(trace));
        let outcome = session
            .engine
            .search_each(&session.source, &session.tenants, &query, &options, &keep)
            .await?;
        Ok::<Outcome<Option<Cursor>>, Error>(outcome)
    });
    let answer = || lock(&found).take().map_or_else(SearchAnswer::default, Gathered::into_answer);

    let print = |answer: &SearchAnswer, stats: &QueryStats| print(world, answer, stats, format);
    let error = match ended {
        Ended::Done(result) => {
            let (next, told) = split(result?);
            let answer = SearchAnswer { next, ..answer() };
            print(&answer, &told.stats)?;
            let for_people = matches!(format, OutputFormat::Table | OutputFormat::Wide);
            if (for_people || is_default) && limit > 0 && answer.traces.len() == limit {
                world.terminal.note(&more(limit, order, world.host.is_some()));
            }
            // JSON has it in the answer; at a prompt there is nowhere to write it.
            let tells_next = for_people || wants_pages && format != OutputFormat::Json;
            if let Some(next) = answer.next.as_ref().filter(|_| tells_next && world.host.is_none())
            {
                world.terminal.note(&format!("the next page: --after {next}"));
            }
            let is_empty = answer.traces.is_empty();
            remember(world, answer);
            return asking.finish(&told, is_empty, "nothing matched");
        }
        Ended::Interrupted => Error::interrupted(),
        Ended::TimedOut(after) => Error::timeout(after),
    };
    let answer = answer();
    print(&answer, &QueryStats::default())?;
    let n_found = plural(answer.traces.len() as u64, "trace");
    let is_empty = answer.traces.is_empty();
    remember(world, answer);
    // Nothing may pass for an answer that there is nothing.
    let told = Told { partial: Some("stopped".to_owned()), ..Told::default() };
    drop(asking.finish(&told, is_empty, ""));
    Err(error.note(format!("the answer is partial: {n_found} found so far")))
}

/// Prints an answer that was found before.
pub(crate) fn show(world: &World, answer: &SearchAnswer, format: OutputFormat) -> Result<()> {
    print(world, answer, &QueryStats::default(), world.output(format))
}

fn print(
    world: &World,
    answer: &SearchAnswer,
    stats: &QueryStats,
    format: OutputFormat,
) -> Result<()> {
    let is_prompt = world.host.is_some();
    world.print(|out| match format {
        // At a prompt the next command names a row by its number.
        OutputFormat::Table if is_prompt => search::write_numbered(out, answer, &world.terminal),
        format => search::write(out, answer, stats, format, &world.terminal),
    })
}

/// Keeps an answer for the next command at a prompt.
fn remember(world: &World, answer: SearchAnswer) {
    if let Some(host) = &world.host {
        host.kept.remember(answer);
    }
}

fn for_metrics(format: QueryFormat) -> Error {
    let form = match format {
        QueryFormat::Chart => "a chart",
        _ => "Prometheus' format",
    };
    Error::usage(format!("{form} shows metrics, and this query searches for traces"))
        .hint(WRITE_METRICS)
}

const WRITE_METRICS: &str = "end the query in a function to compute metrics: `| rate()`, `| quantile_over_time(duration, .9)`";

/// An option that does nothing would be taken for one that did.
fn refuse_options_of_metrics(args: &QueryArgs) -> Result<()> {
    let metrics = &args.metrics;
    let given = [
        ("--step", metrics.step.is_some()),
        ("--instant", metrics.instant),
        ("--exemplars", metrics.exemplars.is_some()),
        ("--prometheus-json", metrics.prometheus_json),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Error::usage(format!(
            "{option} is for metrics, and this query searches for traces"
        ))
        .hint(WRITE_METRICS)),
        None => Ok(()),
    }
}

/// Which traces of an answer come first.
#[derive(Clone, Copy, Debug)]
enum Order {
    Found,
    Newest,
    /// As the query says; whether it says how many, too.
    Asked {
        has_limit: bool,
    },
}

impl Order {
    fn of(query: &TypedQuery) -> Self {
        let has_limit = query.limit.is_some();
        match (query.order_by.is_empty(), query.hints.most_recent) {
            (false, _) => Self::Asked { has_limit },
            (true, true) => Self::Newest,
            (true, false) => Self::Found,
        }
    }
}

/// What to know of an answer that ends at its limit: the first traces found are not the newest.
fn more(limit: usize, order: Order, is_prompt: bool) -> String {
    let all = if is_prompt { "\\limit 0" } else { "--limit 0" };
    match order {
        Order::Newest => format!("the newest {limit}; {all} finds all"),
        Order::Asked { has_limit: true } => format!("the first {limit} in the order of the query"),
        Order::Asked { has_limit: false } => {
            format!("the first {limit} in the order of the query; {all} finds all")
        }
        Order::Found => {
            format!("the first {limit}; `with (most_recent=true)` finds the newest, {all} all")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A list is whole whenever the lock is free, whatever became of who held it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
