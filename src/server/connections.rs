//! Connections: HTTP/1.1, and HTTP/2 to whoever begins with it, as gRPC comes without TLS. Whoever
//! connects and asks nothing, or asks so slowly that it is no question, is given up: connections are
//! memory and file descriptors. Knows no path and no tenant.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a client over HTTP/2 may take to answer a ping.
const PONG: Duration = Duration::from_secs(20);
/// What is waited when no connection can be accepted, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_secs(1);

/// How long is waited for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first request of a connection to have its head here, and for each next piece of a body.
    pub request: Duration,
    /// For the next request of a connection, its head included.
    pub idle: Duration,
}

impl Default for Patience {
    /// Tempo's.
    fn default() -> Self {
        Self { request: Duration::from_secs(30), idle: Duration::from_secs(120) }
    }
}

/// Serves until `stop` is done, then lets requests end for `drain` at most.
pub(crate) async fn serve_connections(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    stop: impl Future<Output = ()> + Send,
    drain: Duration,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.idle);
    let http2 = &mut builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(patience.idle).keep_alive_timeout(PONG);
    let (builder, (stopping, stopped)) = (Arc::new(builder), watch::channel(false));
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (builder, router) = (Arc::clone(&builder), router.clone());
                    let stopped = stopped.clone();
                    connections.spawn(async move {
                        serve_one(&builder, stream, router, patience, stopped).await;
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Who is not done by then is cut off when the set is dropped.
    let _late = tokio::time::timeout(drain, ended).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_one(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    router: Router,
    patience: Patience,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are written at once and whole; waiting for more to send would only delay them.
    drop(stream.set_nodelay(true));
    let has_asked = Arc::new(AtomicBool::new(false));
    let service = {
        let (service, has_asked) = (TowerToHyperService::new(router), Arc::clone(&has_asked));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            service.call(request.map(|body| patient(body, patience.request)))
        })
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut first = pin!(tokio::time::sleep(patience.request));
    let (mut is_first, mut is_stopping) = (true, false);
    loop {
        tokio::select! {
            _ended = connection.as_mut() => return,
            () = first.as_mut(), if is_first => {
                if !has_asked.load(Ordering::Relaxed) {
                    return;
                }
                is_first = false;
            }
            _ = stopped.wait_for(|stopped| *stopped), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A body that ends with an error when its next piece does not come.
fn patient(body: Incoming, patience: Duration) -> Body {
    if hyper::body::Body::is_end_stream(&body) {
        return Body::new(body);
    }
    let pieces =
        futures::stream::unfold(Body::new(body).into_data_stream(), move |mut body| async move {
            match tokio::time::timeout(patience, body.next()).await {
                Ok(piece) => piece.map(|piece| (piece, body)),
                Err(_) => {
                    let late = io::Error::new(io::ErrorKind::TimedOut, "the body does not come on");
                    Some((Err(axum::Error::new(late)), Body::empty().into_data_stream()))
                }
            }
        });
    Body::from_stream(pieces)
}
