//! `tempopb.StreamingQuerier`: the queries of the HTTP API over gRPC, with what is found and how far
//! the query has come told on the way (`api.md` 4). A message becomes the parameters that the HTTP
//! request would have had, so that both check alike, and the last message is the body that HTTP has.

mod messages;
mod request;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Code, Status};

use crate::dispatch::Server;
use crate::framing::Whole;
use crate::handler::{Asked, Watch};
use crate::reply::{Failure, Form};
use crate::route::Query;
use crate::telemetry::Request as Observed;
use messages::{Messages, Stream};

/// The longest message of a request: the longest query several times over.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// What a method of the service asks.
pub(crate) fn query(method: &str) -> Option<Query> {
    Some(match method {
        "Search" => Query::Search,
        "SearchTags" => Query::TagNamesV1,
        "SearchTagsV2" => Query::TagNamesV2,
        "SearchTagValues" => Query::TagValuesV1,
        "SearchTagValuesV2" => Query::TagValuesV2,
        "MetricsQueryRange" => Query::MetricsRange,
        "MetricsQueryInstant" => Query::MetricsInstant,
        _ => return None,
    })
}

/// Answers a call.
pub(crate) async fn answer(
    server: &Arc<Server>,
    query: Query,
    request: Request,
    observed: Observed,
) -> Response<Body> {
    let mut grpc = Grpc::new(Whole)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let observed = Arc::new(Mutex::new(Some(observed)));
    let call = Call { server: Arc::clone(server), query, observed: Arc::clone(&observed) };
    let response = grpc.server_streaming(call, request).await;
    // Whoever began to answer has taken it.
    if let Some(mut observed) = observed.lock().take() {
        let code = Status::from_header_map(response.headers()).map(|status| status.code());
        observed.ends(code.unwrap_or(Code::Unknown));
    }
    response.map(Body::new)
}

struct Call {
    server: Arc<Server>,
    query: Query,
    observed: Arc<Mutex<Option<Observed>>>,
}

type Starting = Pin<Box<dyn Future<Output = Result<tonic::Response<Messages>, Status>> + Send>>;

impl ServerStreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Starting;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (server, query) = (Arc::clone(&self.server), self.query);
        let observed = Arc::clone(&self.observed);
        Box::pin(async move {
            let (metadata, _, message) = request.into_parts();
            let headers = metadata.into_headers();
            let trace = observed
                .lock()
                .as_mut()
                .map(|observed| observed.trace(&headers))
                .unwrap_or_default();
            let tenants = server.tenants(&headers)?;
            let (parameters, argument) = request::read(query, message)?;
            let deadline = request::deadline(&headers)?;
            if let Some(observed) = &mut *observed.lock() {
                observed.asks(&tenants, parameters.get("q"));
            }
            let watch = Arc::new(Watch::default());
            let asked = Asked {
                query,
                argument,
                parameters,
                tenants,
                form: Form::Protobuf,
                trace,
                watch: Some(Arc::clone(&watch)),
            };
            let waiting = asked.trace.child("wait for a turn");
            let turn = server.turn(&asked.tenants).await?;
            drop(waiting);
            let stream = Stream { context: Arc::clone(&server.context), asked, watch };
            let observed = observed.lock().take();
            Ok(tonic::Response::new(stream.start(&server.compute, turn, deadline, observed)))
        })
    }
}

impl From<Failure> for Status {
    /// What Tempo's clients expect, and for what Tempo calls internal the code that says more.
    fn from(failure: Failure) -> Self {
        let code = match failure.status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidArgument,
            StatusCode::UNAUTHORIZED => Code::Unknown,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            StatusCode::NOT_IMPLEMENTED => Code::Unimplemented,
            // The only one is a query that took longer than it may.
            StatusCode::SERVICE_UNAVAILABLE => Code::DeadlineExceeded,
            _ => Code::Internal,
        };
        Self::new(code, failure.text.trim_end())
    }
}
