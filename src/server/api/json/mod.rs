//! JSON of Tempo's HTTP API, which is protobuf's JSON mapping: 64-bit integers are strings, zeros
//! and empty fields are left out. Clients decode it strictly, so nothing may be added.

mod metrics;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::write::otlp;
use traceql_engine::QueryStats;
use traceql_engine::search::{
    ResultAttribute, SearchAnswer, ServiceStats, SpanResult, SpansetResult, TraceResult,
};
use traceql_engine::tags::{TagNames, TypedTagValue};
use traceql_language::analyze::ir::AttributeScope;

use super::value::{AttributeJson, Text};

pub use metrics::{
    metrics_instant_response, metrics_instant_series, metrics_range_response, metrics_range_series,
};

/// What stands in place of the root's service while no root span is known.
pub const ROOT_NOT_RECEIVED: &str = "<root span not yet received>";

/// The intrinsics Tempo lists among the tag names, sorted.
pub const LISTED_INTRINSICS: [&str; 25] = [
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "link:spanID",
    "link:traceID",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:id",
    "span:kind",
    "span:name",
    "span:parentID",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:id",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
];

/// The body of `/api/search`.
#[must_use]
pub fn search_response(answer: &SearchAnswer, stats: &QueryStats) -> String {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        traces: List<'a, TraceResult>,
        metrics: SearchMetrics,
        /// Not Tempo's: clients that read strictly are given it only if they ask for pages.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    }
    to_text(&Body {
        traces: List(&answer.traces),
        metrics: SearchMetrics::from(stats),
        cursor: answer.next.as_ref().map(ToString::to_string),
    })
}

/// One element of the `traces` of a search: a line of `-o ndjson`.
#[must_use]
pub fn search_trace(trace: &TraceResult) -> String {
    to_text(&As(trace))
}

/// The body of `/api/traces/{id}`.
#[must_use]
pub fn trace_v1_response(trace: &Trace) -> String {
    otlp::to_tempo_json_v1(trace)
}

/// The body of `/api/v2/traces/{id}`. No trace gives an empty object, and `partial` says why the
/// trace is not whole.
#[must_use]
pub fn trace_v2_response(
    trace: Option<&Trace>,
    stats: &QueryStats,
    partial: Option<&str>,
) -> String {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        trace: otlp::TraceJson<'a>,
        metrics: TraceMetrics,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    to_text(&Body {
        trace: otlp::TraceJson {
            traces: trace.map(std::slice::from_ref).unwrap_or_default(),
            dialect: otlp::Dialect::Tempo,
            list_name: "resourceSpans",
        },
        metrics: TraceMetrics { inspected_bytes: stats.bytes_read },
        status: partial.map(|_| "PARTIAL"),
        message: partial,
    })
}

/// The body of `/api/search/tags`: names of all scopes, each once, sorted.
#[must_use]
pub fn tag_names_v1_response<'a>(
    names: impl IntoIterator<Item = &'a str>,
    stats: Option<&QueryStats>,
) -> String {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        tag_names: std::collections::BTreeSet<&'a str>,
        metrics: MetadataMetrics,
    }
    to_text(&Body {
        tag_names: names.into_iter().collect(),
        metrics: stats.map(MetadataMetrics::from).unwrap_or_default(),
    })
}

/// The body of `/api/v2/search/tags`: names by scope, and the intrinsics if they were asked for.
#[must_use]
pub fn tag_names_v2_response(
    names: &TagNames,
    with_intrinsics: bool,
    stats: Option<&QueryStats>,
) -> String {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        scopes: Vec<Scope<'a>>,
        metrics: MetadataMetrics,
    }
    #[derive(serde::Serialize)]
    struct Scope<'a> {
        name: &'a str,
        tags: Vec<&'a str>,
    }
    let mut scopes: Vec<Scope<'_>> = names
        .iter()
        .map(|(scope, tags)| Scope {
            name: scope_name(*scope),
            tags: tags.iter().map(String::as_str).collect(),
        })
        .collect();
    if with_intrinsics {
        scopes.push(Scope { name: "intrinsic", tags: LISTED_INTRINSICS.to_vec() });
    }
    to_text(&Body { scopes, metrics: stats.map(MetadataMetrics::from).unwrap_or_default() })
}

/// The body of `/api/search/tag/{name}/values`: each text once, sorted.
#[must_use]
pub fn tag_values_v1_response<'a>(
    values: impl IntoIterator<Item = &'a str>,
    stats: Option<&QueryStats>,
) -> String {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        tag_values: std::collections::BTreeSet<&'a str>,
        metrics: MetadataMetrics,
    }
    to_text(&Body {
        tag_values: values.into_iter().collect(),
        metrics: stats.map(MetadataMetrics::from).unwrap_or_default(),
    })
}

/// The body of `/api/v2/search/tag/{identifier}/values`.
#[must_use]
pub fn tag_values_v2_response(values: &[TypedTagValue], stats: Option<&QueryStats>) -> String {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        tag_values: List<'a, TypedTagValue>,
        metrics: MetadataMetrics,
    }
    to_text(&Body {
        tag_values: List(values),
        metrics: stats.map(MetadataMetrics::from).unwrap_or_default(),
    })
}

/// The word for a scope in lists of tag names.
#[must_use]
pub fn scope_name(scope: AttributeScope) -> &'static str {
    match scope {
        AttributeScope::Unscoped => "none",
        AttributeScope::Span => "span",
        AttributeScope::Resource => "resource",
        AttributeScope::Event => "event",
        AttributeScope::Link => "link",
        AttributeScope::Instrumentation => "instrumentation",
    }
}

pub(crate) fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("writes to memory, and every key is a string")
}

/// Whole milliseconds as the API's 32-bit number holds them.
pub(super) fn duration_millis(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000_000).unwrap_or(u32::MAX)
}

/// The API's trace ids have no leading zeros.
pub(crate) struct ShortTraceId(pub(crate) TraceId);

impl std::fmt::Display for ShortTraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match u128::from_be_bytes(self.0.0) {
            0 => Ok(()),
            id => write!(f, "{id:x}"),
        }
    }
}

/// 16 hex digits; an id that is not 8 bytes long is padded in front, or has more digits.
pub(super) struct SpanId<'a>(pub(super) &'a [u8]);

impl std::fmt::Display for SpanId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Ok(id) = <[u8; 8]>::try_from(self.0) {
            return write!(f, "{:016x}", u64::from_be_bytes(id));
        }
        for _ in self.0.len()..8 {
            f.write_str("00")?;
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A slice of things that know how to write themselves.
struct List<'a, T>(&'a [T]);

impl<'a, T> Serialize for List<'a, T>
where
    As<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(As))
    }
}

/// Something of the engine's, written in the API's form.
struct As<'a, T>(&'a T);

impl Serialize for As<'_, TraceResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let trace = self.0;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("traceID", &Text(ShortTraceId(trace.trace_id)))?;
        let root_service = match trace.root_service_name.as_str() {
            "" => ROOT_NOT_RECEIVED,
            name => name,
        };
        object.serialize_entry("rootServiceName", root_service)?;
        if !trace.root_trace_name.is_empty() {
            object.serialize_entry("rootTraceName", &trace.root_trace_name)?;
        }
        if trace.start_unix_nanos > 0 {
            object.serialize_entry("startTimeUnixNano", &Text(trace.start_unix_nanos))?;
        }
        let millis = duration_millis(trace.duration_nanos);
        if millis > 0 {
            object.serialize_entry("durationMs", &millis)?;
        }
        if let Some(first) = trace.spansets.first() {
            // Old clients read only this copy of the first.
            object.serialize_entry("spanSet", &As(first))?;
            object.serialize_entry("spanSets", &List(&trace.spansets))?;
        }
        if !trace.service_stats.is_empty() {
            object.serialize_entry("serviceStats", &Services(trace))?;
        }
        object.end()
    }
}

struct Services<'a>(&'a TraceResult);

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.service_stats.iter().map(|(name, stats)| (name, As(stats))))
    }
}

impl Serialize for As<'_, ServiceStats> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if self.0.span_count > 0 {
            object.serialize_entry("spanCount", &self.0.span_count)?;
        }
        if self.0.error_count > 0 {
            object.serialize_entry("errorCount", &self.0.error_count)?;
        }
        object.end()
    }
}

impl Serialize for As<'_, SpansetResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if !self.0.spans.is_empty() {
            object.serialize_entry("spans", &List(&self.0.spans))?;
        }
        if self.0.matched > 0 {
            object.serialize_entry("matched", &self.0.matched)?;
        }
        if !self.0.attributes.is_empty() {
            object.serialize_entry("attributes", &List(&self.0.attributes))?;
        }
        object.end()
    }
}

impl Serialize for As<'_, SpanResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("spanID", &Text(SpanId(&span.span_id)))?;
        if let Some(name) = span.name.as_deref().filter(|name| !name.is_empty()) {
            object.serialize_entry("name", name)?;
        }
        if span.start_unix_nanos > 0 {
            object.serialize_entry("startTimeUnixNano", &Text(span.start_unix_nanos))?;
        }
        if span.duration_nanos > 0 {
            object.serialize_entry("durationNanos", &Text(span.duration_nanos))?;
        }
        if !span.attributes.is_empty() {
            object.serialize_entry("attributes", &List(&span.attributes))?;
        }
        object.end()
    }
}

impl Serialize for As<'_, ResultAttribute> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AttributeJson::from(self.0).serialize(serializer)
    }
}

impl Serialize for As<'_, TypedTagValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("type", self.0.value_type)?;
        if !self.0.value.is_empty() {
            object.serialize_entry("value", &self.0.value)?;
        }
        object.end()
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct SearchMetrics {
    #[serde(skip_serializing_if = "is_zero")]
    inspected_traces: u32,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    inspected_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_blocks: u32,
    #[serde(skip_serializing_if = "is_zero")]
    completed_jobs: u32,
    #[serde(skip_serializing_if = "is_zero")]
    total_jobs: u32,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    total_block_bytes: u64,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    inspected_spans: u64,
}

impl From<&QueryStats> for SearchMetrics {
    fn from(stats: &QueryStats) -> Self {
        Self {
            inspected_traces: saturating(stats.inspected_traces),
            inspected_bytes: stats.bytes_read,
            total_blocks: saturating(stats.selected_blocks),
            completed_jobs: saturating(stats.units_done),
            total_jobs: saturating(stats.units_total),
            total_block_bytes: stats.selected_block_bytes,
            inspected_spans: stats.inspected_spans,
        }
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceMetrics {
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    inspected_bytes: u64,
}

#[derive(Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataMetrics {
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    inspected_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_jobs: u32,
    #[serde(skip_serializing_if = "is_zero")]
    completed_jobs: u32,
    #[serde(skip_serializing_if = "is_zero")]
    total_blocks: u32,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "as_text")]
    total_block_bytes: u64,
}

impl From<&QueryStats> for MetadataMetrics {
    fn from(stats: &QueryStats) -> Self {
        Self {
            inspected_bytes: stats.bytes_read,
            total_jobs: saturating(stats.units_total),
            completed_jobs: saturating(stats.units_done),
            total_blocks: saturating(stats.selected_blocks),
            total_block_bytes: stats.selected_block_bytes,
        }
    }
}

pub(super) fn saturating(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn as_text<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
