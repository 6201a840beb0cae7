//! The receivers of other tracing systems: Zipkin's over HTTP, Jaeger's over HTTP and gRPC. Their answers
//! have no body; what is wrong is told as text, with the statuses of OTLP.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{any, post};
use bytes::Bytes;
use traceql_blocks::import::{jaeger, zipkin};
use traceql_blocks::model::Trace;

use super::decode::refused;
use super::http::{Failure, take, wrong_method};
use super::{Limits, Receiver, Refused, Sink, grpc};

/// Path of Jaeger's gRPC receiver.
pub(super) const POST_SPANS_PATH: &str = "/jaeger.api_v2.CollectorService/PostSpans";

/// How the spans of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    ZipkinJson,
    ZipkinJsonV1,
    ZipkinProtobuf,
    JaegerThrift,
    JaegerProtobuf,
}

impl Form {
    /// The name that counts have.
    fn protocol(self) -> &'static str {
        match self {
            Self::ZipkinJson | Self::ZipkinJsonV1 | Self::ZipkinProtobuf => "zipkin",
            Self::JaegerThrift => "jaeger_http",
            Self::JaegerProtobuf => "jaeger_grpc",
        }
    }
}

/// Routes of Zipkin. Senders that know no path post to the root.
pub(super) fn zipkin<S: Sink>() -> Router<Receiver<S>> {
    let v2 = || post(zipkin_v2::<S>).fallback(wrong_method);
    Router::new()
        .route("/api/v2/spans", v2())
        .route("/", v2())
        .route("/api/v1/spans", post(zipkin_v1::<S>).fallback(wrong_method))
}

/// Routes of Jaeger.
pub(super) fn jaeger<S: Sink>() -> Router<Receiver<S>> {
    Router::new()
        .route("/api/traces", post(jaeger_thrift::<S>).fallback(wrong_method))
        .route(POST_SPANS_PATH, any(grpc::post_spans::<S>))
}

async fn zipkin_v2<S: Sink>(State(receiver): State<Receiver<S>>, of: Request) -> Response<Body> {
    let form = match kind(of.headers()).as_str() {
        "application/x-protobuf" | "application/protobuf" => Form::ZipkinProtobuf,
        _ => Form::ZipkinJson,
    };
    answer(&receiver, of, form).await
}

async fn zipkin_v1<S: Sink>(State(receiver): State<Receiver<S>>, of: Request) -> Response<Body> {
    match kind(of.headers()).as_str() {
        kind @ ("application/x-thrift" | "application/x-protobuf" | "application/protobuf") => {
            let why = format!("spans of version 1 are taken as JSON, not as {kind}");
            let failure = Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
            counted(&receiver, Form::ZipkinJsonV1, refuse(&failure))
        }
        _ => answer(&receiver, of, Form::ZipkinJsonV1).await,
    }
}

async fn jaeger_thrift<S: Sink>(
    State(receiver): State<Receiver<S>>,
    of: Request,
) -> Response<Body> {
    match kind(of.headers()).as_str() {
        "application/x-thrift" | "application/vnd.apache.thrift.binary" => {
            answer(&receiver, of, Form::JaegerThrift).await
        }
        other => {
            let why = format!(
                "content type {other:?} is none of application/x-thrift and \
                 application/vnd.apache.thrift.binary"
            );
            let failure = Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
            counted(&receiver, Form::JaegerThrift, refuse(&failure))
        }
    }
}

/// The kind of a body, without its parameters.
fn kind(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Answers one request.
async fn answer<S: Sink>(receiver: &Receiver<S>, request: Request, form: Form) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let decode = |body: Bytes| decode(&body, form, receiver.limits);
    let response = match take(receiver, &parts.headers, body, form.protocol(), decode).await {
        // These protocols have no way to say that some spans were dropped.
        Ok(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(failure) => refuse(&failure),
    };
    counted(receiver, form, response)
}

fn counted<S: Sink>(
    receiver: &Receiver<S>,
    form: Form,
    response: Response<Body>,
) -> Response<Body> {
    if let Some(counts) = receiver.sink.counts() {
        counts.answered(form.protocol(), response.status());
    }
    response
}

/// Decodes a body.
pub(super) fn decode(body: &[u8], form: Form, limits: Limits) -> Result<Vec<Trace>, Refused> {
    let decode = match form {
        Form::ZipkinJson => zipkin::decode_v2,
        Form::ZipkinJsonV1 => zipkin::decode_v1,
        Form::ZipkinProtobuf => zipkin::decode_protobuf,
        Form::JaegerThrift => jaeger::decode_thrift,
        Form::JaegerProtobuf => jaeger::decode_post_spans,
    };
    decode(body, "the request", limits.decode_bytes).map_err(refused)
}

fn refuse(failure: &Failure) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{}\n", failure.message)));
    *response.status_mut() = failure.status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    failure.put_retry_after(response.headers_mut());
    response
}
