//! A query that searches for traces.

use std::sync::{Arc, Mutex, PoisonError};

use traceql_engine::search::{Gathered, SearchAnswer};
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
    let query_wants_newest = query.hints.most_recent;
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    let defaults = QueryOptions::default();
    let limit = args.limit.or(world.config.limit()).unwrap_or(defaults.limit);
    asking.options.limit = limit;
    asking.options.spans_per_spanset = args.spans_per_spanset.unwrap_or(defaults.spans_per_spanset);

    // What is found is held here alone, so that it can be shown if the search does not come to its end.
    let found = Arc::new(Mutex::new(Some(Gathered::within(asking.options.memory_bytes))));
    let (options, so_far) = (asking.options.clone(), Arc::clone(&found));
    let ended = asking.ask(move |session| async move {
        let keep = |trace| lock(&so_far).as_mut().map_or(Ok(()), |found| found.push(trace));
        let outcome = session
            .engine
            .search_each(&session.source, &session.tenants, &query, &options, &keep)
            .await?;
        Ok::<Outcome<()>, Error>(outcome)
    });
    let answer = || lock(&found).take().map_or_else(SearchAnswer::default, Gathered::into_answer);

    let print = |answer: &SearchAnswer, stats: &QueryStats| print(world, answer, stats, format);
    let error = match ended {
        Ended::Done(result) => {
            let ((), told) = split(result?);
            let answer = answer();
            print(&answer, &told.stats)?;
            let for_people = matches!(format, OutputFormat::Table | OutputFormat::Wide);
            if for_people && limit > 0 && answer.traces.len() == limit {
                world.terminal.note(&more(limit, query_wants_newest, world.host.is_some()));
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

/// What to know of an answer that ends at its limit: the first traces found are not the newest.
fn more(limit: usize, newest: bool, is_prompt: bool) -> String {
    let all = if is_prompt { "\\limit 0" } else { "--limit 0" };
    match newest {
        true => format!("the newest {limit}; {all} finds all"),
        false => {
            format!("the first {limit}; `with (most_recent=true)` finds the newest, {all} all")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A list is whole whenever the lock is free, whatever became of who held it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
