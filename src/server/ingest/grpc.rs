//! The gRPC receiver: `TraceService/Export`, unary. Framing, compression and statuses are the
//! library's; messages are passed through as bytes, since the reader of files decodes them.

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
use super::status::RpcStatus;
use super::{Receiver, Refused, Sink};
use crate::framing::{Whole, is_grpc};

/// Answers one call.
pub(super) async fn export<S: Sink>(
    State(receiver): State<Receiver<S>>,
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
    grpc.unary(Export(receiver), request).await.map(Body::new)
}

struct Export<S>(Receiver<S>);

type Answering =
    Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send + 'static>>;

impl<S: Sink> UnaryService<Bytes> for Export<S> {
    type Response = Bytes;
    type Future = Answering;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let receiver = self.0.clone();
        Box::pin(async move {
            let (metadata, _, body) = request.into_parts();
            let tenant = tenant(receiver.sink.as_ref(), &metadata.into_headers())?;
            let received = decode(body, Encoding::Protobuf, tenant, receiver.limits)?;
            let taken = receiver.sink.take(received).await?;
            Ok(tonic::Response::new(success(&taken)))
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
