//! The listeners: connections, dispatch by the route table, the threads that queries run on, start
//! and stop. What a query means is `handler`'s business, what becomes of spans that of `live`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{HeaderMap, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::serve::ListenerExt as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::task::{JoinHandle, JoinSet};
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::live::LiveBlocks;
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::{Engine, EngineConfig};

use crate::error::{Error, Result};
use crate::form;
use crate::generator::{self, Generator, GeneratorOptions, Tee};
use crate::handler::{Asked, Context};
use crate::ingest;
use crate::live::Live;
use crate::options::{ServeOptions, Tenancy};
use crate::queue::Queue;
use crate::reply::{self, Failure, Form, Reply};
use crate::request::parameters::decode_path;
use crate::request::{Parameters, tenants};
use crate::route::{self, Endpoint, Query};

/// The version of Tempo whose API this is; old Grafana looks at it to decide what it may ask.
const API_VERSION: &str = "3.1.0";

/// Largest OTLP request that is taken, as sent and decompressed: Tempo's bound.
const MAX_REQUEST_BYTES: usize = 20 << 20;

/// What every connection shares.
#[derive(Debug)]
struct Server {
    context: Arc<Context>,
    queue: Queue,
    /// Queries run here, so that a heavy one does not keep connections waiting.
    compute: Handle,
}

/// Where a server listens; the system may have chosen the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For queries.
    pub http: SocketAddr,
    /// For OTLP over gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// For OTLP over HTTP.
    pub otlp_http: Option<SocketAddr>,
}

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
    let ingest = options.ingest.clone();
    let live = ingest.clone().map(|ingest| Live::new(ingest, options.tenancy.clone(), options.log));
    let generator = options.generator.as_ref().map(|g| make_generator(g, &options.tenancy));
    let generator = generator.transpose()?;
    let mut source = options.source.clone().keeping_blocklists();
    match &live {
        // The tenant comes with its first span.
        Some(live) => source = source.with_live(Arc::clone(live) as Arc<dyn LiveBlocks>),
        None => check_tenant(&source, &options).await?,
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
    let mut otlp = [None, None];
    if let Some(ingest) = &ingest {
        for (address, at) in [&ingest.otlp_grpc, &ingest.otlp_http].into_iter().zip(&mut otlp) {
            if let Some(address) = address {
                let (listener, address) = bind(address).await?;
                *at = Some(address);
                receivers.push(listener);
            }
        }
    }
    let [otlp_grpc, otlp_http] = otlp;
    on_listening(Listening { http, otlp_grpc, otlp_http });

    let engine = EngineConfig { io_runtime: Some(Handle::current()), ..options.engine.clone() };
    let (poll, drain) = (options.poll, options.drain);
    let server = Arc::new(Server {
        queue: Queue::new(options.limits.concurrent_queries, options.limits.queued_queries),
        compute: compute.handle(),
        context: Arc::new(Context {
            engine: Engine::new(engine),
            source: source.clone(),
            live: live.clone(),
            options,
            warned: Mutex::default(),
        }),
    });
    let _poller = AbortOnDrop(tokio::spawn(refresh(Arc::clone(&server.context), poll)));
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let _stopper = AbortOnDrop(tokio::spawn(async move {
        stop.await;
        // Receivers may be gone only if serving has ended already.
        let _gone = stopping.send(true);
        std::future::pending::<()>().await;
    }));

    let mut serving: JoinSet<Result<()>> = JoinSet::new();
    serving.spawn(serve_queries(listener, server, generator.clone(), stopped.clone(), drain));
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
        for listener in receivers {
            let (sink, stop) = (Arc::clone(live), is_stopped(stopped.clone()));
            let generator = generator.clone();
            serving.spawn(async move {
                let received = match generator {
                    Some(generator) => {
                        let tee = Arc::new(Tee::new(sink, generator));
                        ingest::receive(listener, tee, limits, stop, drain).await
                    }
                    None => ingest::receive(listener, sink, limits, stop, drain).await,
                };
                received.map_err(Error::Serve)
            });
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
                Some(served) => served.map_err(|error| Error::Runtime(error.into()))??,
                None => break,
            },
        }
    }
    drop(received_all);
    if let Some(live) = live {
        // Its blocks are encoded where queries are: not on the threads that hold connections.
        let stop = compute.handle().spawn(async move { live.stop(&source).await });
        stop.await.map_err(|error| Error::Runtime(error.into()))?;
    }
    if let Some(generating) = generating {
        generating.join().await.map_err(|error| Error::Runtime(error.into()))?;
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
async fn is_stopped(mut stopped: tokio::sync::watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn serve_queries(
    listener: TcpListener,
    server: Arc<Server>,
    generator: Option<Arc<Generator>>,
    stopped: tokio::sync::watch::Receiver<bool>,
    drain: Duration,
) -> Result<()> {
    let bounded = DefaultBodyLimit::max(form::MAX_FORM_BYTES);
    let router = Router::new().fallback(dispatch).layer(bounded).with_state(server);
    let router = match generator {
        Some(generator) => router.merge(generator::router(generator)),
        None => router,
    };
    // Answers are written at once and whole; waiting for more to send would only delay them.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let stop = is_stopped(stopped.clone());
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop);
    tokio::select! {
        served = serving => served.map_err(Error::Serve),
        () = async {
            is_stopped(stopped).await;
            tokio::time::sleep(drain).await;
        } => Ok(()),
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
async fn refresh(context: Arc<Context>, poll: Duration) {
    let mut ticks = tokio::time::interval(poll.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = i64::try_from((context.options.clock)()).ok();
        context.warned.lock().clear();
        for error in context.source.refresh_blocklists(now).await {
            (context.options.log)(&format!("cannot read the block list: {error}"));
        }
    }
}

async fn dispatch(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let (request, body) = request.into_parts();
    let (uri, headers) = (&request.uri, &request.headers);
    let accepts_gzip = reply::accepts_gzip(headers);
    if let Some(path) = route::cleaned(uri.path()) {
        return redirect(&path, uri.query());
    }
    let not_ready = server.context.live.as_ref().and_then(|live| live.not_ready());
    let reply = match route::find(uri.path()) {
        // An answer without what is still to be replayed would be wrong.
        Some((Endpoint::Query(_) | Endpoint::Ready | Endpoint::Flush, _))
            if let Some(why) = not_ready =>
        {
            Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
        }
        Some((Endpoint::Query(query), argument)) => {
            let asked = match form::parameters(&request, body).await {
                Ok(parameters) => server.understand(query, argument, &parameters, headers),
                Err(failure) => Err(failure),
            };
            match asked {
                Ok(asked) => return server.run(asked, accepts_gzip).await,
                Err(failure) => failure.into(),
            }
        }
        Some((Endpoint::Echo, _)) => Reply::text(StatusCode::OK, "echo\n"),
        Some((Endpoint::Ready, _)) => Reply::text(StatusCode::OK, "ready\n"),
        Some((Endpoint::BuildInfo, _)) => build_info(),
        Some((Endpoint::Flush, _)) => server.flush().await,
        Some((Endpoint::NotYet(name), _)) => {
            Reply::text(StatusCode::NOT_IMPLEMENTED, route::not_yet(uri.path(), name))
        }
        None => Reply::text(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    reply.into_response(accepts_gzip)
}

impl Server {
    fn understand(
        &self,
        query: Query,
        argument: &str,
        parameters: &str,
        headers: &HeaderMap,
    ) -> reply::Result<Asked> {
        Ok(Asked {
            query,
            tenants: self.tenants(headers)?,
            argument: decode_path(argument)?.into_owned(),
            parameters: Parameters::parse(parameters),
            form: Form::wanted(headers),
        })
    }

    fn tenants(&self, headers: &HeaderMap) -> reply::Result<Vec<TenantId>> {
        match &self.context.options.tenancy {
            Tenancy::One(tenant) => Ok(vec![tenant.clone()]),
            Tenancy::Header => {
                let header = headers.get(tenants::TENANT_HEADER);
                let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()));
                tenants::parse(header.as_deref())?
                    .ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "no org id\n"))
            }
        }
    }

    /// Flushes everything that was received, and answers when it is in blocks.
    async fn flush(&self) -> Reply {
        let Some(live) = self.context.live.clone() else {
            return Reply::text(StatusCode::NOT_FOUND, "this server takes no traces in\n");
        };
        let source = self.context.source.clone();
        let flush = self.compute.spawn(async move { live.flush_all(&source).await });
        match flush.await {
            Ok(true) => Reply::text(StatusCode::OK, "flushed\n"),
            _ => Reply::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not everything could be flushed; the server's log says why\n",
            ),
        }
    }

    /// Runs a query when its turn comes. If the client goes away, so does the query.
    async fn run(&self, asked: Asked, accepts_gzip: bool) -> Response<Body> {
        let Ok(turn) = self.queue.turn().await else {
            let full = Reply::text(StatusCode::TOO_MANY_REQUESTS, "job queue full");
            return full.into_response(false);
        };
        let context = Arc::clone(&self.context);
        let work = self.compute.spawn(async move {
            let reply = context.answer(asked).await.unwrap_or_else(|failure| {
                if failure.status.is_server_error() {
                    (context.options.log)(&format!("{}: {}", failure.status, failure.text));
                }
                failure.into()
            });
            let response = reply.into_response(accepts_gzip);
            drop(turn);
            response
        });
        match AbortOnDrop(work).join().await {
            Ok(response) => response,
            Err(error) => {
                let text = format!("internal error, please report it: {error}");
                (self.context.options.log)(&text);
                Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text).into_response(false)
            }
        }
    }
}

fn redirect(path: &str, query: Option<&str>) -> Response<Body> {
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut response = Response::new(Body::empty());
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            response.headers_mut().insert(LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

fn build_info() -> Reply {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct BuildInfo {
        version: &'static str,
        revision: &'static str,
        branch: &'static str,
        build_user: &'static str,
        build_date: &'static str,
        go_version: &'static str,
    }
    Reply::json(crate::api::json::to_text(&BuildInfo {
        version: API_VERSION,
        revision: concat!("traceql-", env!("CARGO_PKG_VERSION")),
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    }))
}

/// A task that ends when no one waits for it any longer.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> std::result::Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
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
