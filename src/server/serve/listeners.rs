//! The addresses of a server: taken before anything else runs, then served, each with the routes that
//! are its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::phases::is_stopped;
use crate::connections::{Patience, serve_connections};
use crate::dispatch::{Server, dispatch, dispatch_grpc};
use crate::error::{Error, Result};
use crate::form;
use crate::generator::{self, Generator, Tee};
use crate::health;
use crate::ingest::{self, Protocol};
use crate::live::{IngestLimits, IngestOptions, Live};
use crate::options::ServeOptions;

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

/// Addresses that are taken, and not served yet.
pub(super) struct Listeners {
    http: TcpListener,
    grpc: Option<TcpListener>,
    receivers: Vec<(TcpListener, Protocol)>,
    pub(super) at: Listening,
}

impl Listeners {
    /// Takes the addresses.
    ///
    /// # Errors
    /// Naming the first that cannot be taken.
    pub(super) async fn bind(options: &ServeOptions) -> Result<Self> {
        let (http, http_at) = bind(&options.listen).await?;
        let mut receivers = Vec::new();
        let mut received_at = [None; 5];
        for ((address, protocol), at) in wanted(options.ingest.as_ref()).zip(&mut received_at) {
            if let Some(address) = address {
                let (listener, address) = bind(address).await?;
                *at = Some(address);
                receivers.push((listener, protocol));
            }
        }
        let [otlp_grpc, otlp_http, zipkin, jaeger_http, jaeger_grpc] = received_at;
        let (grpc, grpc_at) = match &options.grpc_listen {
            Some(address) => {
                let (listener, address) = bind(address).await?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        let at = Listening {
            http: http_at,
            grpc: grpc_at,
            otlp_grpc,
            otlp_http,
            zipkin,
            jaeger_http,
            jaeger_grpc,
        };
        Ok(Self { http, grpc, receivers, at })
    }

    /// Serves all of them until `stopped`, then until requests have ended, for
    /// [`ServeOptions::drain`] at most.
    pub(super) fn serve(
        self,
        server: &Arc<Server>,
        stopped: &watch::Receiver<bool>,
    ) -> JoinSet<()> {
        let options = &server.context.options;
        let mut serving = Serving {
            connections: JoinSet::new(),
            patience: options.patience,
            drain: options.drain,
            stopped: stopped.clone(),
        };
        serving.add(self.http, queries(server));
        if let Some(listener) = self.grpc {
            let router = Router::new().fallback(dispatch_grpc);
            serving.add(listener, router.with_state(Arc::clone(server)));
        }
        if let (Some(live), Some(ingest)) = (&server.context.live, &options.ingest) {
            let room = ingest::Room::new(request_limits(&ingest.limits));
            for (listener, protocol) in self.receivers {
                let router = receiver(protocol, live, server.generator.as_ref(), room.clone());
                serving.add(listener, router.merge(health::router(Arc::clone(server))));
            }
        }
        serving.connections
    }
}

/// Addresses to take traces in at, in the order of [`Listening`].
fn wanted(ingest: Option<&IngestOptions>) -> impl Iterator<Item = (Option<&String>, Protocol)> {
    ingest.into_iter().flat_map(|ingest| {
        [
            (ingest.otlp_grpc.as_ref(), Protocol::Otlp),
            (ingest.otlp_http.as_ref(), Protocol::Otlp),
            (ingest.zipkin.as_ref(), Protocol::Zipkin),
            (ingest.jaeger_http.as_ref(), Protocol::Jaeger),
            (ingest.jaeger_grpc.as_ref(), Protocol::Jaeger),
        ]
    })
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let listen_error = |error| Error::Listen { address: address.to_owned(), error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let local = listener.local_addr().map_err(listen_error)?;
    Ok((listener, local))
}

/// Listeners that are served.
struct Serving {
    connections: JoinSet<()>,
    patience: Patience,
    drain: Duration,
    stopped: watch::Receiver<bool>,
}

impl Serving {
    fn add(&mut self, listener: TcpListener, router: Router) {
        let stop = is_stopped(self.stopped.clone());
        let connections = serve_connections(listener, router, self.patience, stop, self.drain);
        self.connections.spawn(connections);
    }
}

/// The routes of the address that takes every question.
fn queries(server: &Arc<Server>) -> Router {
    let bounded = DefaultBodyLimit::max(form::MAX_FORM_BYTES);
    let router = Router::new().fallback(dispatch).layer(bounded).with_state(Arc::clone(server));
    match &server.generator {
        Some(generator) => router.merge(generator::router(Arc::clone(generator))),
        None => router,
    }
}

/// The routes of an address that takes traces in.
fn receiver(
    protocol: Protocol,
    live: &Arc<Live>,
    generator: Option<&Arc<Generator>>,
    room: ingest::Room,
) -> Router {
    let sink = Arc::clone(live);
    match generator {
        Some(generator) => {
            let tee = Tee::new(sink, Arc::clone(generator));
            ingest::router(protocol, Arc::new(tee), room)
        }
        None => ingest::router(protocol, sink, room),
    }
}

/// What all receivers together may hold.
fn request_limits(limits: &IngestLimits) -> ingest::Limits {
    ingest::Limits {
        request_bytes: MAX_REQUEST_BYTES,
        bytes_at_once: limits.request_bytes_at_once,
        retry_after: limits.retry_after,
        ..ingest::Limits::default()
    }
}
