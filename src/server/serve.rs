//! The listeners: connections, the threads that queries run on, start and stop. Who answers a request
//! is `dispatch`'s business.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::read::open::IoStats;
use traceql_engine::{Engine, EngineConfig};

use crate::dispatch::{Server, dispatch, dispatch_grpc};
use crate::error::{Error, Result};
use crate::form;
use crate::handler::{Answers, Context};
use crate::options::{ServeOptions, Tenancy};
use crate::queue::{Bounds, Queue};
use crate::task::AbortOnDrop;
use crate::telemetry::Telemetry;

/// Serves until `stop` is done, then lets requests end for [`ServeOptions::drain`] at most.
/// `on_listening` learns the address, whose port the system may have chosen.
///
/// # Errors
/// If the address cannot be listened on, or the source lacks the one tenant to serve while it has
/// others.
pub async fn serve(
    mut options: ServeOptions,
    on_listening: impl FnOnce(SocketAddr) + Send,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let source = options.source.clone().keeping_blocklists();
    check_tenant(&source, &options).await?;
    let compute = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.query.threads.max(1))
        .thread_name("query")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let compute = Compute(Some(compute));
    let (listener, address) = bind(&options.listen).await?;
    let grpc_listener = match &options.grpc_listen {
        Some(grpc_listen) => Some(bind(grpc_listen).await?),
        None => None,
    };
    on_listening(address);
    if let Some((_, address)) = &grpc_listener {
        (options.log)(&format!("serving gRPC alone on {address}"));
    }

    let engine = EngineConfig { io_runtime: Some(Handle::current()), ..options.engine.clone() };
    let (poll, drain) = (options.poll, options.drain);
    let io_total = Arc::<IoStats>::default();
    options.query.io_total = Some(Arc::clone(&io_total));
    let server = Arc::new(Server {
        queue: Queue::new(Bounds {
            running: options.limits.concurrent_queries,
            running_of_tenant: options.limits.concurrent_queries_per_tenant,
            waiting_of_tenant: options.limits.queued_queries,
        }),
        telemetry: Arc::new(Telemetry::new(options.request_log, (options.clock)())),
        io_total,
        compute: compute.handle(),
        context: Arc::new(Context {
            engine: Engine::new(engine),
            answers: Answers::within(options.answer_cache_bytes),
            source,
            options,
            warned: Mutex::default(),
        }),
    });
    let _poller = AbortOnDrop(tokio::spawn(refresh(Arc::clone(&server), poll)));
    let bounded = DefaultBodyLimit::max(form::MAX_FORM_BYTES);
    let router = Router::new().fallback(dispatch).layer(bounded).with_state(Arc::clone(&server));
    let (stopping, stopped) = watch::channel(false);
    let _stopper = AbortOnDrop(tokio::spawn(async move {
        stop.await;
        // The receivers may be gone only if serving has ended already.
        let _gone = stopping.send(true);
    }));
    let serving = async {
        let whole = connections(listener, router, stopped.clone());
        match grpc_listener {
            None => whole.await,
            Some((listener, _)) => {
                let router = Router::new().fallback(dispatch_grpc).with_state(server);
                let grpc = connections(listener, router, stopped.clone());
                tokio::try_join!(whole, grpc).map(|_| ())
            }
        }
    };
    tokio::select! {
        served = serving => served.map_err(Error::Serve),
        () = async {
            until(stopped.clone()).await;
            tokio::time::sleep(drain).await;
        } => Ok(()),
    }
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let listen_error = |error| Error::Listen { address: address.to_owned(), error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok((listener, bound))
}

/// Serves HTTP/1.1, and HTTP/2 to whoever begins with it: gRPC comes without TLS.
async fn connections(
    listener: TcpListener,
    router: Router,
    stopped: watch::Receiver<bool>,
) -> std::io::Result<()> {
    // Answers are written at once and whole; waiting for more to send would only delay them.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).with_graceful_shutdown(until(stopped)).await
}

/// Completes when the server was told to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        // Whoever was to tell is gone, which ends nothing.
        std::future::pending::<()>().await;
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

/// Refuses to serve a tenant that is not there while others are: that is a mistake. An empty bucket
/// is none, it may fill.
async fn check_tenant(source: &Source, options: &ServeOptions) -> Result<()> {
    let (Tenancy::One(tenant), false) =
        (&options.tenancy, matches!(source.kind(), SourceKind::Otlp(_)))
    else {
        return Ok(());
    };
    let options = BlocklistOptions {
        range: Some(TimeRange { start_unix_nanos: 0, end_unix_nanos: 0 }),
        ..BlocklistOptions::default()
    };
    match source.blocks(tenant, &options).await {
        Err(error @ traceql_blocks::Error::NotFound { .. }) => match &error {
            traceql_blocks::Error::NotFound { candidates, .. } if !candidates.is_empty() => {
                Err(error.into())
            }
            _ => Ok(()),
        },
        // Damaged blocks are for queries to report.
        _ => Ok(()),
    }
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

/// The runtime of queries. A runtime must not be dropped where waiting is not allowed, so it is left
/// to end on its own.
struct Compute(Option<Runtime>);

impl Compute {
    fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken only when dropped").handle().clone()
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
