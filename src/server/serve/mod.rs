//! A server from its start to its end, step by step: what it is made of (`parts`), where it listens
//! (`listeners`), how it stops (`phases`). Who answers a request is `dispatch`'s business, what becomes of
//! spans that of `live`.

mod listeners;
mod parts;
mod phases;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::dispatch::Server;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::options::ServeOptions;
use crate::task::AbortOnDrop;
use crate::telemetry::own_spans;
use listeners::Listeners;
pub use listeners::Listening;
use parts::{Compute, Parts};
use phases::Phases;

/// Serves until `stop` is done, then lets requests end for [`ServeOptions::drain`] at most, and
/// flushes what was received. `on_listening` learns the addresses.
///
/// # Errors
/// If an address cannot be listened on, the source lacks the one tenant to serve while it has
/// others, or the write-ahead log cannot be used.
pub async fn serve(
    options: ServeOptions,
    on_listening: impl FnOnce(Listening) + Send,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (drain, log, shutdown_delay) = (options.drain, options.log, options.shutdown_delay);
    let (tracer, exporting) = own_spans::start(&options)?;
    let parts = Parts::make(&options, tracer).await?;
    let compute = Compute::start(&options)?;
    let listeners = Listeners::bind(&options).await?;
    let phases = Phases::new();
    let stopped = phases.stopped();
    let compaction = parts.compact(&options, stopped.clone(), &compute.handle())?;
    let (compaction, compacting) = compaction.unzip();
    on_listening(listeners.at);

    let server = parts.server(options, compaction, &phases, compute.handle());
    let _background = in_background(&server);
    let _phases = phases.follow(stop, shutdown_delay);
    let (received_all, sending) = send_metrics(&server);
    let connections = listeners.serve(&server, &stopped);
    let _flushing = until_all_are_served(connections, &server).await?;

    // No span comes any more, and no question.
    drop(received_all);
    if let Some(compacting) = compacting {
        // It gives up what it is at, and its lease; a store that hangs keeps nobody waiting for long.
        match tokio::time::timeout(drain, compacting).await {
            Ok(ended) => ended.map_err(|error| Error::Runtime(error.into()))?,
            Err(_) => log("compaction does not end; its lease will run out"),
        }
    }
    if let Some(live) = parts.live {
        flush_the_rest(live, parts.source, &compute.handle()).await?;
    }
    exporting.end().await;
    if let Some(sending) = sending {
        sending.await.map_err(|error| Error::Runtime(error.into()))?;
    }
    Ok(())
}

/// What is done again and again while the server runs: overrides are read anew, and block lists where
/// somebody looks at them.
fn in_background(server: &Arc<Server>) -> Vec<AbortOnDrop<()>> {
    let options = &server.context.options;
    let mut tasks = Vec::new();
    if let Some(overrides) = options.overrides.clone() {
        let (generator, clock, log) = (server.generator.clone(), options.clock, options.log);
        let in_force = Arc::clone(&server.context.overrides);
        tasks.push(tokio::spawn(in_force.keep_reading(overrides, generator, clock, log)));
    }
    if options.answers_queries {
        tasks.push(tokio::spawn(refresh(Arc::clone(server), options.poll)));
    }
    tasks.into_iter().map(AbortOnDrop).collect()
}

/// Sends metrics of spans, if any are made, until what is returned first is dropped, and then what is
/// left.
fn send_metrics(server: &Server) -> (tokio::sync::oneshot::Sender<()>, Option<AbortOnDrop<()>>) {
    let (received_all, all_received) = tokio::sync::oneshot::channel::<()>();
    let drain = server.context.options.drain;
    let sending = server.generator.clone().map(|generator| {
        let stop = async { drop(all_received.await) };
        AbortOnDrop(tokio::spawn(async move { generator.run_remote_write(stop, drain).await }))
    });
    (received_all, sending)
}

/// Replays the log, flushes from then on, and waits until the last connection has ended. Flushing goes
/// on until what is returned is dropped.
async fn until_all_are_served(
    mut connections: JoinSet<()>,
    server: &Server,
) -> Result<JoinSet<()>> {
    let mut opening = JoinSet::new();
    let mut flushing = JoinSet::new();
    if let Some(live) = server.context.live.clone() {
        opening.spawn_blocking(move || live.open());
    }
    loop {
        tokio::select! {
            // A log that cannot be used ends the server; one that can is flushed from now on.
            Some(opened) = opening.join_next() => {
                opened.map_err(|error| Error::Runtime(error.into()))??;
                if let Some(live) = server.context.live.clone() {
                    let keep = live.keep_flushing(server.context.source.clone());
                    flushing.spawn_on(keep, &server.compute);
                }
            }
            served = connections.join_next() => match served {
                Some(served) => served.map_err(|error| Error::Runtime(error.into()))?,
                None => return Ok(flushing),
            },
        }
    }
}

/// Writes what is live into blocks. They are encoded where queries are: not on the threads that hold
/// connections.
async fn flush_the_rest(
    live: Arc<Live>,
    source: traceql_blocks::bucket::source::Source,
    compute: &Handle,
) -> Result<()> {
    let flushing = compute.spawn(async move { live.stop(&source).await });
    flushing.await.map_err(|error| Error::Runtime(error.into()))
}

/// Reads block lists anew, for as long as it is let.
async fn refresh(server: Arc<Server>, poll: Duration) {
    let context = &server.context;
    let mut ticks = tokio::time::interval(poll.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = i64::try_from((context.options.clock)()).ok();
        context.warned.lock().clear();
        let errors = context.source.refresh_blocklists(now).await;
        server.telemetry.refreshed(errors.len(), (context.options.clock)());
        for error in errors {
            (context.options.log)(&format!("cannot read the block list: {error}"));
        }
    }
}

/// Completes when the process is asked to end: Ctrl-C, or SIGTERM.
///
/// # Errors
/// If the system lets no signals be watched.
pub async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
