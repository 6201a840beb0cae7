//! Takes traces in: over OTLP, gRPC and HTTP on one address, protobuf and JSON, gzip; from senders of
//! Zipkin and of Jaeger. Bodies are bounded, decoded by the readers of `traceql_blocks`, and handed to a
//! [`Sink`]; what becomes of them then is not known here.
//!
//! The protocol is `docs/specification.md` of opentelemetry-proto 1.x: which statuses a sender may
//! repeat a request after, and what a body says in each encoding.

mod count;
mod decode;
mod foreign;
mod grpc;
mod http;
mod room;
mod status;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;

pub use count::Counts;
pub(crate) use count::Discard;
pub use room::Room;

/// Path of the HTTP receiver.
pub const HTTP_PATH: &str = "/v1/traces";
/// Path of the gRPC receiver.
pub const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Whose senders an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenTelemetry's, over gRPC and HTTP.
    Otlp,
    /// Zipkin's, over HTTP: JSON of both versions, protobuf.
    Zipkin,
    /// Jaeger's: Thrift over HTTP, and gRPC.
    Jaeger,
}

/// What received traces are handed to.
pub trait Sink: Send + Sync + 'static {
    /// Takes the traces of one request. The sender is told of success when this is done, and forgets
    /// the traces then. A sink may take them out of `received`, unless whoever gave them wants them
    /// back ([`Received::wanted_after`]).
    fn take(&self, received: &mut Received) -> impl Future<Output = Result<Taken, Refused>> + Send;

    /// Whether it matters whose traces a request says they are. If not, what it says is not looked
    /// at, and so cannot be wrong.
    fn reads_tenants(&self) -> bool {
        true
    }

    /// Where receivers count what they do, if it is counted.
    fn counts(&self) -> Option<&Counts> {
        None
    }
}

/// What was taken of a request; the default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Spans that were dropped, and will be again if they are sent again.
    pub rejected_spans: u64,
    /// Why.
    pub why: String,
}

/// What one request brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Whose traces, if the request says so (`X-Scope-OrgID`).
    pub tenant: Option<TenantId>,
    /// The traces, or parts of them: a request holds what one sender had at hand.
    pub traces: Vec<Trace>,
    /// Size of the request, decompressed.
    pub size_bytes: usize,
    /// How it came in, by the name that counts have.
    pub protocol: &'static str,
    /// Whether the sender wants no metrics made of them (`no-generate-metrics`).
    pub skips_metrics: bool,
    /// Whether the traces are to be where they are when the sink is done with them.
    pub wanted_after: bool,
}

/// Why traces are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// They are wrong; sending them again will not help.
    Invalid(String),
    /// There is no room for them now; the sender may try again after this long.
    Full(String, Duration),
    /// Nobody can take them at present; the sender may try again.
    Unavailable(String),
}

/// Bounds on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a body, as sent and decompressed.
    pub request_bytes: usize,
    /// Most bytes of memory that decoding it may take, about.
    pub decode_bytes: u64,
    /// Most bytes of all bodies that are being received at a time; who sends more is told to come
    /// again.
    pub bytes_at_once: usize,
    /// When.
    pub retry_after: Duration,
}

impl Default for Limits {
    /// Collectors send at most 4 MiB unless told otherwise; there is room above that.
    fn default() -> Self {
        Self {
            request_bytes: 16 << 20,
            decode_bytes: 256 << 20,
            bytes_at_once: 256 << 20,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// What the receivers of an address share.
#[derive(Debug)]
struct Receiver<S> {
    sink: Arc<S>,
    limits: Limits,
    room: Room,
}

impl<S> Receiver<S> {
    fn new(sink: Arc<S>, room: Room) -> Self {
        Self { sink, limits: room.limits(), room }
    }
}

impl<S> Clone for Receiver<S> {
    fn clone(&self) -> Self {
        Self { sink: Arc::clone(&self.sink), limits: self.limits, room: self.room.clone() }
    }
}

/// The routes of a protocol's receivers, to be served alone or beside others, which may share the room
/// for what is being received.
pub fn router<S: Sink>(protocol: Protocol, sink: Arc<S>, room: Room) -> Router {
    let routes = match protocol {
        Protocol::Otlp => Router::new()
            .route(HTTP_PATH, post(http::export::<S>).fallback(http::wrong_method))
            .route(GRPC_PATH, any(grpc::export::<S>)),
        Protocol::Zipkin => foreign::zipkin(),
        Protocol::Jaeger => foreign::jaeger(),
    };
    routes.layer(DefaultBodyLimit::disable()).with_state(Receiver::new(sink, room))
}

/// Receives what a [`router`] takes until `stop` is done, then until the requests on their way are
/// answered, for `drain` at most.
///
/// # Errors
/// If connections cannot be served any longer.
pub async fn receive(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) -> io::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        // The receiver may be gone only if serving has ended already.
        let _gone = stopping.send(());
    };
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop);
    tokio::select! {
        served = serving => served,
        () = async {
            match stopped.await {
                Ok(()) => tokio::time::sleep(drain).await,
                Err(_) => std::future::pending().await,
            }
        } => Ok(()),
    }
}
