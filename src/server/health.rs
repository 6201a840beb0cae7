//! `grpc.health.v1.Health`, by which load balancers ask whether a server is ready: as a whole, or for one
//! of its services. It says what `/ready` says.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::any;
use bytes::Bytes;
use futures::stream::{self, Stream};
use prost::Message as _;
use tonic::Status;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};

use crate::dispatch::Server;
use crate::framing::{Whole, is_grpc};

/// What paths of the service begin with.
pub(crate) const PATH: &str = "/grpc.health.v1.Health/";

/// How often is looked whether something has changed, for those who watch.
const LOOK: Duration = Duration::from_millis(250);

/// Whom a question is about.
#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(string, tag = "1")]
    service: String,
}

/// What it is.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Answer {
    #[prost(enumeration = "Serving", tag = "1")]
    status: i32,
}

/// Whether requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Serving {
    Unknown = 0,
    Yes = 1,
    No = 2,
    NoSuchService = 3,
}

/// The service alone, for addresses that serve something else.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let path = format!("{PATH}{{method}}");
    Router::new().route(&path, any(asked)).with_state(server)
}

async fn asked(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match is_grpc(request.headers()) {
        true => answer(&server, request).await,
        false => Status::unimplemented("this path is for gRPC").into_http(),
    }
}

/// Answers a call of either method.
pub(crate) async fn answer(server: &Arc<Server>, request: Request) -> Response<Body> {
    let (method, server) = (request.uri().path().strip_prefix(PATH), Arc::clone(server));
    match method {
        Some("Check") => Grpc::new(Whole).unary(Check(server), request).await.map(Body::new),
        Some("Watch") => {
            Grpc::new(Whole).server_streaming(Watch(server), request).await.map(Body::new)
        }
        _ => Status::unimplemented("unknown method").into_http(),
    }
}

/// Whether a service is served at this moment.
fn serving(server: &Server, service: &str) -> Serving {
    let roles = server.context.options.roles();
    let is_here = match service {
        "" => true,
        "tempopb.StreamingQuerier" => roles.query,
        "opentelemetry.proto.collector.trace.v1.TraceService" => roles.ingest,
        _ => return Serving::NoSuchService,
    };
    match is_here && server.why_not_ready().is_none() {
        true => Serving::Yes,
        false => Serving::No,
    }
}

fn read(request: tonic::Request<Bytes>) -> Result<String, Status> {
    let asked = Asked::decode(request.into_inner());
    asked.map(|asked| asked.service).map_err(|e| Status::invalid_argument(e.to_string()))
}

fn written(serving: Serving) -> Bytes {
    Answer { status: serving as i32 }.encode_to_vec().into()
}

struct Check(Arc<Server>);

type Answering<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

impl UnaryService<Bytes> for Check {
    type Response = Bytes;
    type Future = Answering<Bytes>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let server = Arc::clone(&self.0);
        Box::pin(async move {
            match serving(&server, &read(request)?) {
                Serving::NoSuchService => Err(Status::not_found("unknown service")),
                serving => Ok(tonic::Response::new(written(serving))),
            }
        })
    }
}

struct Watch(Arc<Server>);

type Changes = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl ServerStreamingService<Bytes> for Watch {
    type Response = Bytes;
    type ResponseStream = Changes;
    type Future = Answering<Changes>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let server = Arc::clone(&self.0);
        Box::pin(async move {
            let service = read(request)?;
            let changes = stream::unfold(None, move |before| {
                let (server, service) = (Arc::clone(&server), service.clone());
                async move {
                    loop {
                        let now = serving(&server, &service);
                        if before != Some(now) {
                            return Some((Ok(written(now)), Some(now)));
                        }
                        // A server that stops ends what it watches for others.
                        if server.is_closing() {
                            return None;
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                }
            });
            Ok(tonic::Response::new(Box::pin(changes) as Changes))
        })
    }
}
