//! The HTTP receiver of OTLP: `POST /v1/traces`, protobuf or JSON, gzip or not. A body answers in the
//! encoding of its request, errors included, as `google.rpc.Status`. What it does with bodies and
//! refusals the receivers of other protocols do too.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use prost::Message as _;

use traceql_blocks::model::Trace;

use super::decode::{self, Encoding, decode, tenant};
use super::status::RpcStatus;
use super::{Received, Receiver, Refused, Sink, Taken};

/// A request that is not taken.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
    retry_after: Option<Duration>,
}

/// Answers one request.
pub(super) async fn export<S: Sink>(
    State(receiver): State<Receiver<S>>,
    request: Request,
) -> Response<Body> {
    let response = answer(&receiver, request).await;
    if let Some(counts) = receiver.sink.counts() {
        counts.answered(OTLP_HTTP, response.status());
    }
    response
}

async fn answer<S: Sink>(receiver: &Receiver<S>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let encoding = match encoding(&parts.headers) {
        Ok(encoding) => encoding,
        // In which encoding to answer is not known, so it is the protocol's first.
        Err(failure) => return refuse(Encoding::Protobuf, &failure),
    };
    match take(receiver, &parts.headers, body, OTLP_HTTP, |body| {
        decode(body, encoding, receiver.limits)
    })
    .await
    {
        Ok(taken) => respond(StatusCode::OK, encoding, success(encoding, &taken)),
        Err(failure) => refuse(encoding, &failure),
    }
}

/// The name that counts have.
const OTLP_HTTP: &str = "otlp_http";

/// Answers whatever is no `POST`.
pub(super) async fn wrong_method() -> Response<Body> {
    let mut response = Response::new(Body::from("traces are sent with POST\n"));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Hands the traces of a request to the sink, if its body decodes.
pub(super) async fn take<S: Sink>(
    receiver: &Receiver<S>,
    headers: &HeaderMap,
    body: Body,
    protocol: &'static str,
    decode: impl FnOnce(Bytes) -> Result<Vec<Trace>, Refused>,
) -> Result<Taken, Failure> {
    let tenant = tenant(receiver.sink.as_ref(), headers)?;
    let body = whole(receiver, headers, body).await?;
    let size_bytes = body.len();
    let traces = decode(body)?;
    let skips_metrics = skips_metrics(headers);
    let wanted_after = false;
    let mut received =
        Received { tenant, traces, size_bytes, protocol, skips_metrics, wanted_after };
    Ok(receiver.sink.take(&mut received).await?)
}

/// The body of a request, whole and decompressed, within the limits.
pub(super) async fn whole<S: Sink>(
    receiver: &Receiver<S>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, Failure> {
    let limit_bytes = receiver.limits.request_bytes;
    let is_gzip = is_gzip(headers)?;
    let body = receiver.room.bound(body);
    let body = axum::body::to_bytes(body, limit_bytes).await.map_err(|error| {
        if let Some(refused) = receiver.room.refused(&error) {
            return refused.into();
        }
        // The library does not say which; a body that breaks off is read by nobody.
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Failure::new(
            status,
            format!("the body has more than {limit_bytes} bytes, or breaks off: {error}"),
        )
    })?;
    if is_gzip { gunzip(&body, limit_bytes) } else { Ok(body) }
}

/// Whether the sender wants no metrics made of its spans. Only that the header is there counts.
pub(super) fn skips_metrics(headers: &HeaderMap) -> bool {
    headers.contains_key("no-generate-metrics")
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Encoding::Protobuf),
        "application/json" => Ok(Encoding::Json),
        other => Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "content type {other:?} is none of application/x-protobuf and application/json"
            ),
        )),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Failure> {
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(false) };
    match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "gzip" => Ok(true),
        "" | "identity" => Ok(false),
        other => Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content encoding {other:?} is not gzip"),
        )),
    }
}

fn gunzip(body: &[u8], limit_bytes: usize) -> Result<Bytes, Failure> {
    let mut expanded = Vec::new();
    let most = (limit_bytes as u64).saturating_add(1);
    flate2::read::MultiGzDecoder::new(body).take(most).read_to_end(&mut expanded).map_err(
        |error| {
            Failure::new(StatusCode::BAD_REQUEST, format!("the body is no whole gzip: {error}"))
        },
    )?;
    if expanded.len() > limit_bytes {
        let message = format!("the body expands to more than {limit_bytes} bytes");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(expanded.into())
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    /// Tells when to come again, in the header that says so.
    pub(super) fn put_retry_after(&self, headers: &mut HeaderMap) {
        if let Some(after) = self.retry_after {
            // Rounded up: who comes too early is refused again.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(why) => Self::new(StatusCode::BAD_REQUEST, why),
            Refused::Full(why, after) => {
                Self { retry_after: Some(after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, why) }
            }
            Refused::Unavailable(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
}

/// An `ExportTraceServiceResponse`.
fn success(encoding: Encoding, taken: &Taken) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => decode::success(taken).to_vec(),
        Encoding::Json if taken.rejected_spans == 0 => br#"{"partialSuccess":{}}"#.to_vec(),
        Encoding::Json => serde_json::json!({
            "partialSuccess": {
                // Integers of 64 bits are text in the protocol's JSON.
                "rejectedSpans": taken.rejected_spans.to_string(),
                "errorMessage": taken.why,
            }
        })
        .to_string()
        .into_bytes(),
    }
}

fn refuse(encoding: Encoding, failure: &Failure) -> Response<Body> {
    let code = match failure.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => {
            tonic::Code::ResourceExhausted
        }
        StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
        _ => tonic::Code::InvalidArgument,
    };
    let status = RpcStatus::new(code, &failure.message, failure.retry_after);
    let body = match encoding {
        Encoding::Protobuf => status.encode_to_vec(),
        Encoding::Json => crate::api::json::to_text(&status).into_bytes(),
    };
    let mut response = respond(failure.status, encoding, body);
    failure.put_retry_after(response.headers_mut());
    response
}

fn respond(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
