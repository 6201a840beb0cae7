//! Whole traces by their ids, some at a time: what a search found is only part of each.

use tokio::task::JoinSet;
use traceql_blocks::model::{Trace, TraceId};
use traceql_engine::QueryOptions;

use crate::error::{Error, Kind, Result};
use crate::session::Session;

/// Traces that are fetched at a time: as many as a caller should ask for at once.
pub(super) const CONCURRENT_TRACES: usize = 8;

/// The traces that were found, whole, in the same order.
///
/// # Errors
/// Those of the engine; a trace that is no longer there.
pub(super) async fn whole_traces(
    session: &Session,
    ids: &[TraceId],
    options: &QueryOptions,
) -> Result<Vec<Trace>> {
    let mut fetching = JoinSet::new();
    for (at, id) in ids.iter().copied().enumerate() {
        let (engine, source) = (session.engine.clone(), session.source.clone());
        let tenants = session.tenants.clone();
        // Whole traces: the time asked about says which, not how much of them.
        let options = QueryOptions { time_range: None, ..options.clone() };
        fetching.spawn(async move {
            let trace = engine.trace(&source, &tenants, id, &options).await;
            trace.map(|outcome| (at, outcome.answer))
        });
    }
    let mut traces = Vec::new();
    while let Some(fetched) = fetching.join_next().await {
        let fetched = fetched
            .map_err(|error| Error::new(Kind::Failed, format!("internal error: {error}")))?;
        traces.push(fetched?);
    }
    traces.sort_by_key(|(at, _)| *at);
    let whole = traces.into_iter().map(|(at, trace)| {
        trace.ok_or_else(|| {
            let id = ids[at];
            let gone = format!("trace {id} was found, and is gone: the source has changed");
            Error::new(Kind::Failed, gone).hint("run the command again")
        })
    });
    whole.collect()
}
