//! From spans to updates of series: one file per kind of metric. All of it is pure: spans and the
//! time come in, a registry is changed.

mod edges;
mod filter;
mod host_info;
mod multiplier;
mod service_graph;
mod span_metrics;
mod span_size;
#[cfg(test)]
mod tests;

use traceql_blocks::model::{KeyValue, Span, TraceId};

pub(super) use host_info::HostInfo;
pub(super) use service_graph::{GraphStats, ServiceGraph};
pub(super) use span_metrics::{SpanMetrics, SpanMetricsPlan};

/// OTLP number of the status of a failed span.
const STATUS_ERROR: i32 = 2;

/// OTLP numbers of the kinds of spans that processors tell apart.
mod kind {
    pub(super) const SERVER: i32 = 2;
    pub(super) const CLIENT: i32 = 3;
    pub(super) const PRODUCER: i32 = 4;
    pub(super) const CONSUMER: i32 = 5;
}

/// A span with what it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed<'a> {
    pub(super) trace: TraceId,
    pub(super) resource: &'a [KeyValue],
    pub(super) span: &'a Span,
}

/// How long a span took, seconds. One that ends before it starts took no time.
fn duration_seconds(span: &Span) -> f64 {
    nanos_to_seconds(span.end_unix_nanos.saturating_sub(span.start_unix_nanos))
}

// Of durations above 104 days nanoseconds are lost.
fn nanos_to_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The protocol's name of a span kind. Numbers it does not know are unspecified.
fn kind_name(kind: i32) -> &'static str {
    match kind {
        1 => "SPAN_KIND_INTERNAL",
        kind::SERVER => "SPAN_KIND_SERVER",
        kind::CLIENT => "SPAN_KIND_CLIENT",
        kind::PRODUCER => "SPAN_KIND_PRODUCER",
        kind::CONSUMER => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_UNSPECIFIED",
    }
}

/// The protocol's name of a status code. Numbers it does not know are unset.
fn status_name(code: i32) -> &'static str {
    match code {
        1 => "STATUS_CODE_OK",
        STATUS_ERROR => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}
