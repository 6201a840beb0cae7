//! From the bytes of a request to traces, the same for both receivers.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use traceql_blocks::Error as BlocksError;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;

use super::{Limits, Refused, Sink, Taken};
use crate::request::tenants;

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// Decodes a body. This is work; requests are small enough to do it where they arrive.
pub(super) fn decode(
    body: Bytes,
    encoding: Encoding,
    limits: Limits,
) -> Result<Vec<Trace>, Refused> {
    const NAME: &str = "the request";
    let decoded = match encoding {
        Encoding::Protobuf => otlp::decode_protobuf_within(body, NAME, limits.decode_bytes),
        Encoding::Json => otlp::decode_json_within(&body, NAME, limits.decode_bytes),
    };
    decoded.map_err(refused)
}

/// Bytes that cannot be decoded are wrong, and so are those that would take too much memory.
pub(super) fn refused(error: BlocksError) -> Refused {
    match error {
        error @ (BlocksError::Memory { .. } | BlocksError::OverLimit { .. }) => {
            Refused::Invalid(format!("{error}; send smaller batches"))
        }
        error => Refused::Invalid(error.to_string()),
    }
}

/// An `ExportTraceServiceResponse` as protobuf: without bytes if everything was taken.
pub(super) fn success(taken: &Taken) -> Bytes {
    if taken.rejected_spans == 0 {
        return Bytes::new();
    }
    let partial_success = ExportTracePartialSuccess {
        rejected_spans: i64::try_from(taken.rejected_spans).unwrap_or(i64::MAX),
        error_message: taken.why.clone(),
    };
    ExportTraceServiceResponse { partial_success: Some(partial_success) }.encode_to_vec().into()
}

/// The tenant of a request, if it names one and that matters.
pub(super) fn tenant<S: Sink>(
    sink: &S,
    headers: &axum::http::HeaderMap,
) -> Result<Option<TenantId>, Refused> {
    if !sink.reads_tenants() {
        return Ok(None);
    }
    // The same rule as for queries, of whom one more thing is true: they may name several.
    match tenants::of(headers).map_err(|bad| Refused::Invalid(bad.0))?.as_deref() {
        None => Ok(None),
        Some([tenant]) => Ok(Some(tenant.clone())),
        // The words are Tempo's.
        Some(_) => Err(Refused::Invalid("multiple org IDs present".to_owned())),
    }
}
