//! The listeners: connections, the threads that queries run on, start and stop. Who answers a request
//! is `dispatch`'s business, what becomes of spans that of `live`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::live::LiveBlocks;
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::read::open::IoStats;
use traceql_engine::{Engine, EngineConfig};

use crate::compaction::Compaction;
use crate::connections::serve_connections;
use crate::dispatch::{Server, dispatch, dispatch_grpc};
use crate::error::{Error, Result};
use crate::form;
use crate::generator::{self, Generator, GeneratorOptions, Tee};
use crate::handler::{Answers, Context};
use crate::health;
use crate::ingest::{self, Protocol};
use crate::live::Live;
use crate::options::{ServeOptions, Tenancy};
use crate::overrides::Overrides;
use crate::queue::{Bounds, Queue};
use crate::task::AbortOnDrop;
use crate::telemetry::{Telemetry, own_spans};

/// Largest OTLP request that is taken, as sent and decompressed: Tempo's bound.
const MAX_REQUEST_BYTES: usize = 20 << 20;

/// Where a server listens; the system may have chosen the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For queries.
    pub http: SocketAddr,
    /// For streams over gRPC alone.
    pub grpc: Option<SocketAddr>,
    /// For OTLP over gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// For OTLP over HTTP.
    pub otlp_http: Option<SocketAddr>,
    /// For Zipkin.
    pub zipkin: Option<SocketAddr>,
    /// For Jaeger over HTTP.
    pub jaeger_http: Option<SocketAddr>,
    /// For Jaeger over gRPC.
    pub jaeger_grpc: Option<SocketAddr>,
}

/// Serves until `stop` is done, then lets requests end for [`ServeOptions::drain`] at most, and
/// flushes what was received. `on_listening` learns the addresses.
///
/// # Errors
/// If an address cannot be listened on, the source lacks the one tenant to serve while it has
/// others, or the write-ahead log cannot be used.
pub async fn serve(
    mut options: ServeOptions,
    on_listening: impl FnOnce(Listening) + Send,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (tracer, exporting) = own_spans::start(&options)?;
    let ingest = options.ingest.clone().map(|ingest| tracer.tracing_flushes(ingest));
    let overrides = Arc::new(Overrides::new(options.overrides.as_ref()));
    let live = ingest.clone().map(|ingest| {
        let (tenancy, overrides) = (options.tenancy.clone(), Arc::clone(&overrides));
        Live::new(ingest, tenancy, overrides, options.log)
    });
    let generator = options.generator.as_ref().map(|g| make_generator(g, &options.tenancy));
    let generator = generator.transpose()?;
    if let (Some(generator), Some(overrides)) = (&generator, &options.overrides) {
        generator.set_overrides(&overrides.table)?;
    }
    let mut source = options.source.clone().keeping_blocklists();
    match &live {
        // The tenant comes with its first span.
        Some(live) => source = source.with_live(Arc::clone(live) as Arc<dyn LiveBlocks>),
        None if options.answers_queries => check_tenant(&source, &options).await?,
        None => {}
    }
    let compute = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.query.threads.max(1))
        .thread_name("query")
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let compute = Compute(Some(compute));
    let (listener, http) = bind(&options.listen).await?;
    let mut receivers = Vec::new();
    let mut received_at = [None; 5];
    if let Some(ingest) = &ingest {
        let wanted = [
            (&ingest.otlp_grpc, Protocol::Otlp),
            (&ingest.otlp_http, Protocol::Otlp),
            (&ingest.zipkin, Protocol::Zipkin),
            (&ingest.jaeger_http, Protocol::Jaeger),
            (&ingest.jaeger_grpc, Protocol::Jaeger),
        ];
        for ((address, protocol), at) in wanted.into_iter().zip(&mut received_at) {
            if let Some(address) = address {
                let (listener, address) = bind(address).await?;
                *at = Some(address);
                receivers.push((listener, protocol));
            }
        }
    }
    let [otlp_grpc, otlp_http, zipkin, jaeger_http, jaeger_grpc] = received_at;
    let (grpc_listener, grpc) = match &options.grpc_listen {
        Some(grpc_listen) => {
            let (listener, address) = bind(grpc_listen).await?;
            (Some(listener), Some(address))
        }
        None => (None, None),
    };
    let (stopping, stopped) = watch::channel(false);
    let (leaving, left) = watch::channel(false);
    let (compaction, compacting) = match &options.compact {
        Some(compact) => {
            let compaction = Arc::new(Compaction::traced_by(tracer.clone()));
            let (bucket, stop) = (options.source.clone(), stopped.clone());
            let compute = compute.handle();
            let running =
                compaction.start(bucket, &options, compact, &overrides, stop, &compute)?;
            (Some(compaction), Some(AbortOnDrop(running)))
        }
        None => (None, None),
    };
    on_listening(Listening { http, grpc, otlp_grpc, otlp_http, zipkin, jaeger_http, jaeger_grpc });

    let engine = EngineConfig { io_runtime: Some(Handle::current()), ..options.engine.clone() };
    let (poll, drain, log) = (options.poll, options.drain, options.log);
    let (shutdown_delay, answers_queries) = (options.shutdown_delay, options.answers_queries);
    let io_total = Arc::<IoStats>::default();
    options.query.io_total = Some(Arc::clone(&io_total));
    let server = Arc::new(Server {
        queue: Queue::new(Bounds {
            running: options.limits.concurrent_queries,
            running_of_tenant: options.limits.concurrent_queries_per_tenant,
            waiting_of_tenant: options.limits.queued_queries,
        }),
        telemetry: Arc::new(
            Telemetry::new(options.request_log, (options.clock)())
                .traced_by(tracer)
                .receiving(live.as_ref().map(|live| live.received())),
        ),
        compaction,
        leaving: left,
        closing: stopped.clone(),
        generator: generator.clone(),
        io_total,
        compute: compute.handle(),
        context: Arc::new(Context {
            engine: Engine::new(engine),
            answers: Answers::within(options.answer_cache_bytes),
            source: source.clone(),
            live: live.clone(),
            options,
            overrides: Arc::clone(&overrides),
            warned: Mutex::default(),
        }),
    });
    let _reader = server.context.options.overrides.clone().map(|options| {
        let generator = generator.clone();
        let clock = server.context.options.clock;
        AbortOnDrop(tokio::spawn(overrides.keep_reading(options, generator, clock, log)))
    });
    // Nobody else looks at the lists.
    let _poller =
        answers_queries.then(|| AbortOnDrop(tokio::spawn(refresh(Arc::clone(&server), poll))));
    let _stopper = AbortOnDrop(tokio::spawn(async move {
        stop.await;
        leaving.send_replace(true);
        tokio::time::sleep(shutdown_delay).await;
        stopping.send_replace(true);
        std::future::pending::<()>().await;
    }));

    let mut serving = JoinSet::new();
    let patience = server.context.options.patience;
    let bounded = DefaultBodyLimit::max(form::MAX_FORM_BYTES);
    let router = Router::new().fallback(dispatch).layer(bounded).with_state(Arc::clone(&server));
    let router = match &generator {
        Some(generator) => router.merge(generator::router(Arc::clone(generator))),
        None => router,
    };
    let stop = is_stopped(stopped.clone());
    serving.spawn(serve_connections(listener, router, patience, stop, drain));
    if let Some(listener) = grpc_listener {
        let router = Router::new().fallback(dispatch_grpc).with_state(Arc::clone(&server));
        let stop = is_stopped(stopped.clone());
        serving.spawn(serve_connections(listener, router, patience, stop, drain));
    }
    let (received_all, all_received) = tokio::sync::oneshot::channel::<()>();
    let generating = generator.clone().map(|generator| {
        let stop = async { drop(all_received.await) };
        AbortOnDrop(tokio::spawn(async move { generator.run_remote_write(stop, drain).await }))
    });
    let mut opening = JoinSet::new();
    let mut flushing = JoinSet::new();
    if let (Some(live), Some(ingest)) = (&live, &ingest) {
        let n = receivers.len().max(1);
        let limits = ingest::Limits {
            request_bytes: MAX_REQUEST_BYTES,
            bytes_at_once: ingest.limits.request_bytes_at_once / n,
            retry_after: ingest.limits.retry_after,
            ..ingest::Limits::default()
        };
        for (listener, protocol) in receivers {
            let (sink, stop) = (Arc::clone(live), is_stopped(stopped.clone()));
            let router = match generator.clone() {
                Some(generator) => {
                    ingest::router(protocol, Arc::new(Tee::new(sink, generator)), limits)
                }
                None => ingest::router(protocol, sink, limits),
            };
            let router = router.merge(health::router(Arc::clone(&server)));
            serving.spawn(serve_connections(listener, router, patience, stop, drain));
        }
        let live = Arc::clone(live);
        opening.spawn_blocking(move || live.open());
    }
    loop {
        tokio::select! {
            // A log that cannot be used ends the server; one that can is flushed from now on.
            Some(opened) = opening.join_next() => {
                opened.map_err(|error| Error::Runtime(error.into()))??;
                if let Some(live) = &live {
                    let keep = Arc::clone(live).keep_flushing(source.clone());
                    flushing.spawn_on(keep, &compute.handle());
                }
            }
            served = serving.join_next() => match served {
                Some(served) => served.map_err(|error| Error::Runtime(error.into()))?,
                None => break,
            },
        }
    }
    drop(received_all);
    if let Some(compacting) = compacting {
        // It gives up what it is at, and its lease; a store that hangs keeps nobody waiting for long.
        match tokio::time::timeout(drain, compacting).await {
            Ok(ended) => ended.map_err(|error| Error::Runtime(error.into()))?,
            Err(_) => log("compaction does not end; its lease will run out"),
        }
    }
    if let Some(live) = live {
        // Its blocks are encoded where queries are: not on the threads that hold connections.
        let stop = compute.handle().spawn(async move { live.stop(&source).await });
        stop.await.map_err(|error| Error::Runtime(error.into()))?;
    }
    exporting.end().await;
    if let Some(generating) = generating {
        generating.await.map_err(|error| Error::Runtime(error.into()))?;
    }
    Ok(())
}

/// The generator for the tenants of this server.
fn make_generator(options: &GeneratorOptions, tenancy: &Tenancy) -> Result<Arc<Generator>> {
    let mut options = options.clone();
    match tenancy {
        Tenancy::One(tenant) => {
            options.multitenant = false;
            options.single_tenant = tenant.clone();
        }
        Tenancy::Header => options.multitenant = true,
    }
    Ok(Arc::new(Generator::new(options)?))
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let listen_error = |error| Error::Listen { address: address.to_owned(), error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let local = listener.local_addr().map_err(listen_error)?;
    Ok((listener, local))
}

/// Completes when the server is to stop.
async fn is_stopped(mut stopped: watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
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
