//! From a request to whoever answers it: the route table, the tenant, a turn in the queue, and a
//! task of the threads that queries run on. What a query means is `handler`'s business.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{HeaderMap, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::{Code, Status};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::read::open::IoStats;

use crate::compaction::Compaction;
use crate::form;
use crate::framing::is_grpc;
use crate::generator::Generator;
use crate::handler::{Asked, Context};
use crate::health;
use crate::options::Tenancy;
use crate::queue::{Queue, Turn};
use crate::reply::{self, Failure, Form, Reply};
use crate::request::parameters::decode_path;
use crate::request::{BadRequest, Parameters, tenants};
use crate::route::{self, Endpoint, Page, Query};
use crate::status::overrides::Audience;
use crate::status::{self, API_VERSION, Service, Shown};
use crate::stream;
use crate::task::AbortOnDrop;
use crate::telemetry::own_spans::Parent;
use crate::telemetry::{self, Protocol, Request as Observed, Telemetry, exposition};

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) context: Arc<Context>,
    pub(crate) queue: Queue,
    pub(crate) telemetry: Arc<Telemetry>,
    /// What has been compacted, if anything is.
    pub(crate) compaction: Option<Arc<Compaction>>,
    /// Whether the server was told to stop.
    pub(crate) leaving: watch::Receiver<bool>,
    /// Whether connections are about to end.
    pub(crate) closing: watch::Receiver<bool>,
    /// What makes metrics of received spans, if anything does.
    pub(crate) generator: Option<Arc<Generator>>,
    /// What all queries have read.
    pub(crate) io_total: Arc<IoStats>,
    /// Queries run here, so that a heavy one does not keep connections waiting.
    pub(crate) compute: Handle,
}

/// Answers a request of the port that takes all of them.
pub(crate) async fn dispatch(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Response<Body> {
    if is_grpc(request.headers()) {
        return call(&server, request).await;
    }
    let (request, body) = request.into_parts();
    let mut observed = server.observe(Protocol::Http, request.method.as_str(), request.uri.path());
    let response = server.answer(&request, body, &mut observed).await;
    observed.sends(response.body().size_hint().exact().unwrap_or_default());
    observed.ends(response.status());
    response
}

/// Answers a request of the port that takes gRPC alone.
pub(crate) async fn dispatch_grpc(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Response<Body> {
    if is_grpc(request.headers()) {
        return call(&server, request).await;
    }
    let text = "this port is for gRPC\n";
    Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response(false)
}

async fn call(server: &Arc<Server>, request: Request) -> Response<Body> {
    let path = request.uri().path();
    let mut observed = server.observe(Protocol::Grpc, "gRPC", path);
    let refused = match route::find(path) {
        Some((Endpoint::Stream, _)) if let Some(why) = server.no_queries() => {
            Status::unimplemented(why)
        }
        Some((Endpoint::Stream, _)) if let Some(why) = server.not_ready() => {
            Status::unavailable(why)
        }
        Some((Endpoint::Stream, method)) => match stream::query(method) {
            Some(query) => return stream::answer(server, query, request, observed).await,
            None => Status::unimplemented(format!("unknown method {method}")),
        },
        Some((Endpoint::Health, _)) => {
            observed.ends(Code::Ok);
            return health::answer(server, request).await;
        }
        Some((Endpoint::NotYet(name), _)) => {
            Status::unimplemented(route::not_yet(path, name).trim_end())
        }
        _ => Status::unimplemented(format!("unknown service or method {path}")),
    };
    observed.ends(refused.code());
    refused.into_http()
}

impl Server {
    fn observe(&self, protocol: Protocol, method: &str, path: &str) -> Observed {
        let log = self.context.options.log;
        self.telemetry.request(log, protocol, route::name(path), method, path)
    }

    async fn answer(&self, request: &Parts, body: Body, observed: &mut Observed) -> Response<Body> {
        let (uri, headers) = (&request.uri, &request.headers);
        let accepts_gzip = reply::accepts_gzip(headers);
        if let Some(path) = route::cleaned(uri.path()) {
            return redirect(&path, uri.query());
        }
        let reply = match route::find(uri.path()) {
            Some((Endpoint::Query(_) | Endpoint::Echo, _)) if let Some(why) = self.no_queries() => {
                Reply::text(StatusCode::NOT_FOUND, format!("{why}\n"))
            }
            Some((Endpoint::Ready, _)) if let Some(why) = self.why_not_ready() => {
                Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
            }
            // An answer without what is still to be replayed would be wrong.
            Some((Endpoint::Query(_) | Endpoint::Flush, _)) if let Some(why) = self.not_ready() => {
                Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
            }
            Some((Endpoint::Query(query), argument)) => {
                let trace = observed.trace(headers);
                let asked = match form::parameters(request, body).await {
                    Ok(parameters) => self.understand(query, argument, &parameters, headers),
                    Err(failure) => Err(failure),
                };
                match asked {
                    Ok(mut asked) => {
                        asked.trace = trace;
                        observed.asks(&asked.tenants, asked.parameters.get("q"));
                        return self.run(asked, accepts_gzip).await;
                    }
                    Err(failure) => failure.into(),
                }
            }
            Some((Endpoint::Echo, _)) => Reply::text(StatusCode::OK, "echo\n"),
            Some((Endpoint::Ready, _)) => self.ready(),
            Some((Endpoint::BuildInfo, _)) => build_info(),
            Some((Endpoint::Flush, _)) => self.flush().await,
            Some((Endpoint::Metrics, _)) => self.metrics(),
            Some((Endpoint::Status(page), _)) => self.status(page, uri.query()),
            Some((Endpoint::Overrides(page), argument)) => {
                let shown = self.overrides(page, argument, uri.query(), headers);
                shown.unwrap_or_else(Reply::from)
            }
            Some((Endpoint::Stream | Endpoint::Health, _)) => {
                Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this path is for gRPC\n")
            }
            Some((Endpoint::NotYet(name), _)) => {
                Reply::text(StatusCode::NOT_IMPLEMENTED, route::not_yet(uri.path(), name))
            }
            None => Reply::text(StatusCode::NOT_FOUND, "404 page not found\n"),
        };
        reply.into_response(accepts_gzip)
    }

    /// Why nobody should send requests here, if nobody should.
    pub(crate) fn why_not_ready(&self) -> Option<&'static str> {
        match *self.leaving.borrow() {
            true => Some("the server is stopping"),
            false => self.not_ready(),
        }
    }

    /// Whether connections are about to end.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Why no query is ever answered here.
    fn no_queries(&self) -> Option<String> {
        let roles = self.context.options.roles();
        (!roles.query).then(|| format!("this process has no role query, only {roles}"))
    }

    /// Why no query can be answered yet.
    fn not_ready(&self) -> Option<&'static str> {
        self.context.live.as_ref()?.not_ready()
    }

    /// Ready, and what goes wrong all the same.
    fn ready(&self) -> Reply {
        let trouble = self.context.live.as_ref().map(|live| live.trouble()).unwrap_or_default();
        Reply::text(StatusCode::OK, format!("ready\n{trouble}"))
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

    fn metrics(&self) -> Reply {
        let io = &self.io_total;
        let state = telemetry::State {
            queue: self.queue.waiting(),
            store: (io.requests.load(Ordering::Relaxed), io.bytes.load(Ordering::Relaxed)),
            caches: self.context.engine.cache_counts(),
            answers: self.context.answers.count(),
            blocklists: self.context.source.kept_counts(),
        };
        let mut page = self.telemetry.page(&state);
        if let Some(live) = &self.context.live {
            page.push_str(&live.exposition());
        }
        if let Some(generator) = &self.generator {
            page.push_str(&generator.expose_own());
        }
        if self.context.options.overrides.is_some() {
            page.push_str(&self.context.overrides.expose());
        }
        if let Some(compaction) = &self.compaction {
            page.push_str(&compaction.counts().expose());
        }
        Reply { content_type: exposition::CONTENT_TYPE, ..Reply::text(StatusCode::OK, page) }
    }

    fn status(&self, page: Page, parameters: Option<&str>) -> Reply {
        let parameters = Parameters::parse(parameters.unwrap_or_default());
        match Shown::of(parameters.get("mode")) {
            Some(shown) => {
                let services = self.services();
                let options = &self.context.options;
                Reply::text(StatusCode::OK, status::page(page, options, &services, shown))
            }
            None => Reply::text(StatusCode::BAD_REQUEST, "mode is diff or defaults\n"),
        }
    }

    /// What holds for single tenants. A request that names tenants, and a server of one tenant, show
    /// those alone.
    fn overrides(
        &self,
        page: route::Overrides,
        argument: &str,
        parameters: Option<&str>,
        headers: &HeaderMap,
    ) -> reply::Result<Reply> {
        let options = &self.context.options;
        let table = self.context.overrides.table();
        let audience = match &options.tenancy {
            Tenancy::One(tenant) => Audience::Tenants(vec![tenant.clone()]),
            Tenancy::Header => match tenants::of(headers)? {
                Some(tenants) => Audience::Tenants(tenants),
                None => Audience::Operator,
            },
        };
        Ok(match page {
            route::Overrides::RuntimeConfig => {
                let parameters = Parameters::parse(parameters.unwrap_or_default());
                let is_diff = match parameters.get("mode") {
                    None => false,
                    Some("diff") => true,
                    Some(_) => return Err(BadRequest::new("mode is diff\n").into()),
                };
                let text = status::overrides::runtime_config(options, &table, &audience, is_diff);
                Reply::text(StatusCode::OK, text)
            }
            route::Overrides::Tenants => Reply::html(status::overrides::tenants(&table, &audience)),
            route::Overrides::Tenant => {
                let name = decode_path(argument)?;
                let tenant = status::overrides::of_path(&name).map_err(BadRequest::new)?;
                if tenant.as_ref().is_some_and(|tenant| !audience.sees(tenant)) {
                    let text = format!("this is not shown to others than tenant {name}\n");
                    return Err(Failure::new(StatusCode::NOT_FOUND, text));
                }
                Reply::html(status::overrides::tenant(options, &table, tenant.as_ref()))
            }
        })
    }

    /// What runs here, in which state, and what there is to say of it.
    fn services(&self) -> Vec<Service> {
        let options = &self.context.options;
        let state = match self.not_ready() {
            _ if *self.leaving.borrow() => "Stopping",
            Some(_) => "Starting",
            None => "Running",
        };
        let service = |name, is_on, says: String| {
            let state = if is_on { state } else { "Off" };
            Service { name, state, says }
        };
        let roles = options.roles();
        let compacted = self.compaction.as_ref().map(|compaction| compaction.counts().summary());
        vec![
            Service { name: "http", state: "Running", says: String::new() },
            service("query", roles.query, String::new()),
            service("streaming", roles.query, String::new()),
            service("grpc-port", options.grpc_listen.is_some(), String::new()),
            service("ingest", roles.ingest, String::new()),
            service("metrics-generator", self.generator.is_some(), String::new()),
            service("compact", roles.compact, compacted.unwrap_or_default()),
        ]
    }

    fn understand(
        &self,
        query: Query,
        argument: &str,
        parameters: &str,
        headers: &HeaderMap,
    ) -> reply::Result<Asked> {
        let form = match query {
            // Of these there is nothing but JSON over HTTP.
            Query::MetricsRange | Query::MetricsInstant => Form::Json,
            _ => Form::wanted(headers),
        };
        Ok(Asked {
            query,
            tenants: self.tenants(headers)?,
            argument: decode_path(argument)?.into_owned(),
            parameters: Parameters::parse(parameters),
            form,
            trace: Parent::default(),
            watch: None,
        })
    }

    pub(crate) fn tenants(&self, headers: &HeaderMap) -> reply::Result<Vec<TenantId>> {
        match &self.context.options.tenancy {
            Tenancy::One(tenant) => Ok(vec![tenant.clone()]),
            Tenancy::Header => tenants::of(headers)?
                .ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "no org id\n")),
        }
    }

    /// Waits until a query may run.
    pub(crate) async fn turn(&self, tenants: &[TenantId]) -> reply::Result<Turn> {
        let asked = Instant::now();
        let turn = self.queue.turn(tenants).await;
        self.telemetry.waited(asked.elapsed());
        turn.map_err(|_full| Failure::new(StatusCode::TOO_MANY_REQUESTS, "job queue full"))
    }

    /// Runs a query when its turn comes. If the client goes away, so does the query.
    async fn run(&self, asked: Asked, accepts_gzip: bool) -> Response<Body> {
        let waiting = asked.trace.child("wait for a turn");
        let turn = self.turn(&asked.tenants).await;
        drop(waiting);
        let turn = match turn {
            Ok(turn) => turn,
            Err(full) => return Reply::from(full).into_response(false),
        };
        let context = Arc::clone(&self.context);
        let work = self.compute.spawn(async move {
            let reply = context.answer(asked).await.unwrap_or_else(|failure| {
                context.log_failure(&failure);
                failure.into()
            });
            let response = reply.into_response(accepts_gzip);
            drop(turn);
            response
        });
        match AbortOnDrop(work).await {
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
