//! The gRPC receivers: OTLP's `TraceService/Export` and Jaeger's `CollectorService/PostSpans`, unary.
//! Framing, compression and statuses are the library's; messages are passed through as bytes, since the
//! readers of files decode them.

use std::pin::Pin;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::decode::{Encoding, decode, success, tenant};
use super::foreign::{self, Form};
use super::http::skips_metrics;
use super::status::RpcStatus;
use super::{Received, Receiver, Refused, Sink};
use crate::framing::{Whole, is_grpc};

/// Answers one call of OTLP.
pub(super) async fn export<S: Sink>(
    State(receiver): State<Receiver<S>>,
    request: Request,
) -> Response<Body> {
    answer(Service::Export, receiver, request).await
}

/// Answers one call of Jaeger.
pub(super) async fn post_spans<S: Sink>(
    State(receiver): State<Receiver<S>>,
    request: Request,
) -> Response<Body> {
    answer(Service::PostSpans, receiver, request).await
}

async fn answer<S: Sink>(
    service: Service,
    receiver: Receiver<S>,
    request: Request,
) -> Response<Body> {
    if !is_grpc(request.headers()) {
        let mut response = Response::new(Body::from("this path is for gRPC\n"));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let mut grpc = Grpc::new(Whole)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(receiver.limits.request_bytes);
    let request = request.map(|body| receiver.room.bound(body));
    let call = Call { service, receiver: receiver.clone() };
    let response = grpc.unary(call, request).await.map(Body::new);
    if let Some(counts) = receiver.sink.counts() {
        // A call that succeeds says so behind its message.
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |s| s.code());
        counts.called(service.name(), code);
    }
    response
}

/// Whose messages a call holds.
#[derive(Clone, Copy)]
enum Service {
    Export,
    PostSpans,
}

impl Service {
    /// The name that counts have.
    fn name(self) -> &'static str {
        match self {
            Self::Export => "otlp_grpc",
            Self::PostSpans => "jaeger_grpc",
        }
    }
}

struct Call<S> {
    service: Service,
    receiver: Receiver<S>,
}

type Answering =
    Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send + 'static>>;

impl<S: Sink> UnaryService<Bytes> for Call<S> {
    type Response = Bytes;
    type Future = Answering;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (service, receiver) = (self.service, self.receiver.clone());
        Box::pin(async move {
            let (metadata, _, body) = request.into_parts();
            let headers = metadata.into_headers();
            let tenant = tenant(receiver.sink.as_ref(), &headers)?;
            let size_bytes = body.len();
            let traces = match service {
                Service::Export => decode(body, Encoding::Protobuf, receiver.limits),
                Service::PostSpans => foreign::decode(&body, Form::JaegerProtobuf, receiver.limits),
            }?;
            let (protocol, skips_metrics) = (service.name(), skips_metrics(&headers));
            let wanted_after = false;
            let mut received =
                Received { tenant, traces, size_bytes, protocol, skips_metrics, wanted_after };
            let taken = receiver.sink.take(&mut received).await?;
            Ok(tonic::Response::new(match service {
                Service::Export => success(&taken),
                // Its answer has no fields: of dropped spans a sender cannot be told.
                Service::PostSpans => Bytes::new(),
            }))
        })
    }
}

impl From<Refused> for Status {
    /// Senders repeat a call after `UNAVAILABLE`, and after `RESOURCE_EXHAUSTED` if told when.
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(why) => Self::invalid_argument(why),
            Refused::Full(why, after) => {
                let code = Code::ResourceExhausted;
                let details = RpcStatus::new(code, &why, Some(after)).encode_to_vec();
                Self::with_details(code, why, details.into())
            }
            Refused::Unavailable(why) => Self::unavailable(why),
        }
    }
}
