//! Puts one question of a suite to the engine.

use traceql_blocks::model::{Trace, TraceId};
use traceql_engine::metrics::{MetricsAnswer, MetricsKind, MetricsRequest};
use traceql_engine::search::SearchAnswer;
use traceql_engine::{Outcome, QueryOptions};

use super::suite::{SnapshotOf, Test};
use crate::error::{Error, Kind, Result};
use crate::session::Session;

/// Most steps of an axis, as on the command line.
const MAX_INTERVALS: u64 = 1_000_000;

/// What a question was answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Traces.
    Search(SearchAnswer),
    /// Series.
    Metrics(MetricsAnswer),
}

/// An answer, and what its user should know besides.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    /// The answer; it is whole.
    pub(crate) answer: T,
    /// Skipped blocks, a stale index ….
    pub(crate) warnings: Vec<String>,
}

/// Asks what a test asks.
pub(crate) async fn ask(
    session: &Session,
    test: &Test,
    now_unix_nanos: u64,
    options: &QueryOptions,
) -> Result<Answered<Answer>> {
    if test.query.metrics.is_some() {
        let is_instant = test.metrics.is_instant;
        let answered = metrics(session, test, now_unix_nanos, options, is_instant).await?;
        let Answered { answer, warnings } = answered;
        return Ok(Answered { answer: Answer::Metrics(answer), warnings });
    }
    let shows_spans = !test.expect.fields.is_empty()
        || test.snapshot.as_ref().is_some_and(|snapshot| snapshot.of == SnapshotOf::Result);
    let options = QueryOptions {
        time_range: test.when.range(now_unix_nanos),
        limit: 0,
        // One span of each spanset is there anyway; all of them only if they are looked at.
        spans_per_spanset: if shows_spans { 0 } else { 1 },
        ..options.clone()
    };
    let (source, tenants) = (&session.source, &session.tenants);
    let search = session.engine.search(source, tenants, &test.query, &options);
    let Answered { answer, warnings } = whole(search.await?)?;
    Ok(Answered { answer: Answer::Search(answer), warnings })
}

/// Asks a metrics query for one value a series, or one a step.
pub(crate) async fn metrics(
    session: &Session,
    test: &Test,
    now_unix_nanos: u64,
    options: &QueryOptions,
    is_instant: bool,
) -> Result<Answered<MetricsAnswer>> {
    let request = MetricsRequest {
        range: test.when.range(now_unix_nanos),
        kind: match is_instant {
            true => MetricsKind::Instant,
            false => MetricsKind::Range { step_nanos: test.metrics.step_nanos },
        },
        max_intervals: MAX_INTERVALS,
        ..MetricsRequest::default()
    };
    let (source, tenants) = (&session.source, &session.tenants);
    whole(session.engine.metrics(source, tenants, &test.query, &request, options).await?)
}

/// A trace that an answer named.
pub(crate) async fn trace(session: &Session, id: TraceId, options: &QueryOptions) -> Result<Trace> {
    let (source, tenants) = (&session.source, &session.tenants);
    let found = whole(session.engine.trace(source, tenants, id, options).await?)?;
    let gone = || Error::new(Kind::Failed, format!("trace {id} was found, and then it was not"));
    found.answer.ok_or_else(gone)
}

/// The answer, if nothing is missing: a test must not pass for want of data.
fn whole<T>(outcome: Outcome<T>) -> Result<Answered<T>> {
    match outcome.partial {
        Some(why) => Err(Error::new(Kind::Partial, format!("the answer is partial: {why}"))),
        None => Ok(Answered { answer: outcome.answer, warnings: outcome.warnings }),
    }
}
