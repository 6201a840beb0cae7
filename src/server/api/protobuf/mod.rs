//! Tempo's answers as protobuf messages, written by hand from their field numbers: the body of a
//! request that accepts protobuf, and what streams will carry. Attribute values are OTLP's messages.

mod metrics;
pub(crate) mod packets;

use std::collections::BTreeMap;

pub use metrics::{
    Exemplar, InstantSeries, QueryInstantResponse, QueryRangeResponse, Sample, TimeSeries,
    query_instant_response, query_range_response,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use traceql_blocks::model;
use traceql_blocks::write::otlp;
use traceql_engine::QueryStats;
use traceql_engine::search::{self, ResultAttribute, SearchAnswer, Value};
use traceql_engine::tags::{TagNames, TypedTagValue};
use traceql_language::duration_text;

use super::json::{
    LISTED_INTRINSICS, ROOT_NOT_RECEIVED, ShortTraceId, SpanId, duration_millis, saturating,
    scope_name,
};

/// Answer of a search.
#[derive(Clone, PartialEq, Message)]
pub struct SearchResponse {
    /// Matching traces, newest first.
    #[prost(message, repeated, tag = "1")]
    pub traces: Vec<TraceSearchMetadata>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<SearchMetrics>,
}

/// One matching trace.
#[derive(Clone, PartialEq, Message)]
pub struct TraceSearchMetadata {
    /// Hex, without leading zeros.
    #[prost(string, tag = "1")]
    pub trace_id: String,
    /// Service of the root span.
    #[prost(string, tag = "2")]
    pub root_service_name: String,
    /// Name of the root span.
    #[prost(string, tag = "3")]
    pub root_trace_name: String,
    /// Earliest start.
    #[prost(uint64, tag = "4")]
    pub start_time_unix_nano: u64,
    /// Whole milliseconds.
    #[prost(uint32, tag = "5")]
    pub duration_ms: u32,
    /// A copy of the first spanset, for old clients.
    #[prost(message, optional, tag = "6")]
    pub span_set: Option<SpanSet>,
    /// All spansets.
    #[prost(message, repeated, tag = "7")]
    pub span_sets: Vec<SpanSet>,
    /// Numbers of spans by service.
    #[prost(btree_map = "string, message", tag = "8")]
    pub service_stats: BTreeMap<String, ServiceStats>,
}

/// Spans of one service in a trace.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ServiceStats {
    /// All of them.
    #[prost(uint32, tag = "1")]
    pub span_count: u32,
    /// Those with status error.
    #[prost(uint32, tag = "2")]
    pub error_count: u32,
}

/// A spanset.
#[derive(Clone, PartialEq, Message)]
pub struct SpanSet {
    /// The first of its spans.
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<Span>,
    /// Number of all its spans.
    #[prost(uint32, tag = "2")]
    pub matched: u32,
    /// Group values and aggregates.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

/// A span of a spanset.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// 16 hex digits.
    #[prost(string, tag = "1")]
    pub span_id: String,
    /// Its name, if it was asked for.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its start.
    #[prost(uint64, tag = "3")]
    pub start_time_unix_nano: u64,
    /// Its duration.
    #[prost(uint64, tag = "4")]
    pub duration_nanos: u64,
    /// What was asked for.
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<KeyValue>,
}

/// What a search cost.
#[derive(Clone, Copy, PartialEq, Message)]
#[expect(missing_docs, reason = "QueryStats describes them")]
pub struct SearchMetrics {
    #[prost(uint32, tag = "1")]
    pub inspected_traces: u32,
    #[prost(uint64, tag = "2")]
    pub inspected_bytes: u64,
    #[prost(uint32, tag = "3")]
    pub total_blocks: u32,
    #[prost(uint32, tag = "4")]
    pub completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    pub total_jobs: u32,
    #[prost(uint64, tag = "6")]
    pub total_block_bytes: u64,
    #[prost(uint64, tag = "7")]
    pub inspected_spans: u64,
}

/// What an answer about tags cost.
#[derive(Clone, Copy, PartialEq, Message)]
#[expect(missing_docs, reason = "QueryStats describes them")]
pub struct MetadataMetrics {
    #[prost(uint64, tag = "1")]
    pub inspected_bytes: u64,
    #[prost(uint32, tag = "2")]
    pub total_jobs: u32,
    #[prost(uint32, tag = "3")]
    pub completed_jobs: u32,
    #[prost(uint32, tag = "4")]
    pub total_blocks: u32,
    #[prost(uint64, tag = "5")]
    pub total_block_bytes: u64,
}

/// A trace, the body of the first version's trace by id.
#[derive(Clone, PartialEq, Message)]
pub struct Trace {
    /// Its spans, by resource.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// Answer of the second version's trace by id.
#[derive(Clone, PartialEq, Message)]
pub struct TraceByIdResponse {
    /// Always there, even if empty: Grafana reads through it without looking.
    #[prost(message, optional, tag = "1")]
    pub trace: Option<Trace>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<TraceByIdMetrics>,
    /// Whether the trace is whole.
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub status: i32,
    /// Why it is not.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// What a trace by id cost.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct TraceByIdMetrics {
    /// Bytes read.
    #[prost(uint64, tag = "1")]
    pub inspected_bytes: u64,
}

/// Whether an answer is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PartialStatus {
    /// It is.
    Complete = 0,
    /// It is not.
    Partial = 1,
}

/// Tag names of the first version.
#[derive(Clone, PartialEq, Message)]
pub struct SearchTagsResponse {
    /// Sorted.
    #[prost(string, repeated, tag = "1")]
    pub tag_names: Vec<String>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

/// Tag names of the second version.
#[derive(Clone, PartialEq, Message)]
pub struct SearchTagsV2Response {
    /// Those that have any names.
    #[prost(message, repeated, tag = "1")]
    pub scopes: Vec<SearchTagsV2Scope>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

/// The tag names of a scope.
#[derive(Clone, PartialEq, Message)]
pub struct SearchTagsV2Scope {
    /// The scope.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Sorted.
    #[prost(string, repeated, tag = "2")]
    pub tags: Vec<String>,
}

/// Tag values of the first version.
#[derive(Clone, PartialEq, Message)]
pub struct SearchTagValuesResponse {
    /// Sorted.
    #[prost(string, repeated, tag = "1")]
    pub tag_values: Vec<String>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

/// Tag values of the second version.
#[derive(Clone, PartialEq, Message)]
pub struct SearchTagValuesV2Response {
    /// Sorted by type and value.
    #[prost(message, repeated, tag = "1")]
    pub tag_values: Vec<TagValue>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<MetadataMetrics>,
}

/// A value and its type.
#[derive(Clone, PartialEq, Message)]
pub struct TagValue {
    /// The word of the API.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// The value as text.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The answer of a search.
#[must_use]
pub fn search_response(answer: &SearchAnswer, stats: &QueryStats) -> SearchResponse {
    SearchResponse {
        traces: answer.traces.iter().map(Into::into).collect(),
        metrics: Some(stats.into()),
    }
}

/// A trace, or an empty one.
#[must_use]
pub fn trace(trace: Option<&model::Trace>) -> Trace {
    Trace { resource_spans: trace.map(otlp::to_messages).unwrap_or_default() }
}

/// The answer of the second version's trace by id; `partial` says why the trace is not whole.
#[must_use]
pub fn trace_by_id_response(
    found: Option<&model::Trace>,
    stats: &QueryStats,
    partial: Option<&str>,
) -> TraceByIdResponse {
    let status = if partial.is_some() { PartialStatus::Partial } else { PartialStatus::Complete };
    TraceByIdResponse {
        trace: Some(trace(found)),
        metrics: Some(TraceByIdMetrics { inspected_bytes: stats.bytes_read }),
        status: status.into(),
        message: partial.unwrap_or_default().to_owned(),
    }
}

/// Tag names by scope, and the intrinsics if they were asked for.
#[must_use]
pub fn tags_v2_response(
    names: &TagNames,
    with_intrinsics: bool,
    stats: &QueryStats,
) -> SearchTagsV2Response {
    let mut scopes: Vec<_> = names
        .iter()
        .map(|(scope, tags)| SearchTagsV2Scope {
            name: scope_name(*scope).to_owned(),
            tags: tags.iter().cloned().collect(),
        })
        .collect();
    if with_intrinsics {
        let tags = LISTED_INTRINSICS.map(str::to_owned).to_vec();
        scopes.push(SearchTagsV2Scope { name: "intrinsic".to_owned(), tags });
    }
    SearchTagsV2Response { scopes, metrics: Some(stats.into()) }
}

/// Tag values with their types.
#[must_use]
pub fn tag_values_v2_response(
    values: &[TypedTagValue],
    stats: &QueryStats,
) -> SearchTagValuesV2Response {
    let tag_values = values
        .iter()
        .map(|v| TagValue { r#type: v.value_type.to_owned(), value: v.value.clone() })
        .collect();
    SearchTagValuesV2Response { tag_values, metrics: Some(stats.into()) }
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

impl From<&search::TraceResult> for TraceSearchMetadata {
    fn from(trace: &search::TraceResult) -> Self {
        let span_sets: Vec<SpanSet> = trace.spansets.iter().map(Into::into).collect();
        let root_service_name = match trace.root_service_name.as_str() {
            "" => ROOT_NOT_RECEIVED,
            name => name,
        };
        Self {
            trace_id: ShortTraceId(trace.trace_id).to_string(),
            root_service_name: root_service_name.to_owned(),
            root_trace_name: trace.root_trace_name.clone(),
            start_time_unix_nano: trace.start_unix_nanos,
            duration_ms: duration_millis(trace.duration_nanos),
            span_set: span_sets.first().cloned(),
            span_sets,
            service_stats: trace
                .service_stats
                .iter()
                .map(|(name, stats)| {
                    let &search::ServiceStats { span_count, error_count } = stats;
                    (name.clone(), ServiceStats { span_count, error_count })
                })
                .collect(),
        }
    }
}

impl From<&search::SpansetResult> for SpanSet {
    fn from(spanset: &search::SpansetResult) -> Self {
        Self {
            spans: spanset.spans.iter().map(Into::into).collect(),
            matched: spanset.matched,
            attributes: spanset.attributes.iter().map(key_value).collect(),
        }
    }
}

impl From<&search::SpanResult> for Span {
    fn from(span: &search::SpanResult) -> Self {
        Self {
            span_id: SpanId(&span.span_id).to_string(),
            name: span.name.clone().unwrap_or_default(),
            start_time_unix_nano: span.start_unix_nanos,
            duration_nanos: span.duration_nanos,
            attributes: span.attributes.iter().map(key_value).collect(),
        }
    }
}

fn key_value(attribute: &ResultAttribute) -> KeyValue {
    let value = Some(any_value(&attribute.value));
    KeyValue { key: attribute.key.clone(), value, ..KeyValue::default() }
}

fn any_value(value: &Value) -> AnyValue {
    use any_value::Value as Any;
    let value = match value {
        Value::Nil => Any::StringValue("nil".to_owned()),
        Value::Int(value) => Any::IntValue(*value),
        Value::Float(value) => Any::DoubleValue(*value),
        Value::Duration(nanos) => Any::StringValue(duration_text(*nanos)),
        Value::String(text) => Any::StringValue(text.clone()),
        Value::Bool(value) => Any::BoolValue(*value),
        Value::Status(status) => Any::StringValue(status.to_string()),
        Value::Kind(kind) => Any::StringValue(kind.to_string()),
        Value::Array(values) => {
            Any::ArrayValue(ArrayValue { values: values.iter().map(any_value).collect() })
        }
    };
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_trace_is_an_empty_message_and_not_none() {
        let response = trace_by_id_response(None, &QueryStats::default(), None);
        assert_eq!(response.encode_to_vec(), [0x0a, 0, 0x12, 0]);
    }

    #[test]
    fn a_search_result_reads_back() {
        let trace = search::TraceResult {
            trace_id: model::TraceId(0xabc_u128.to_be_bytes()),
            duration_nanos: 2_000_000,
            spansets: vec![search::SpansetResult {
                matched: 7,
                attributes: vec![ResultAttribute {
                    key: "avg(duration)".into(),
                    value: Value::Duration(1_500_000),
                }],
                spans: vec![search::SpanResult { span_id: vec![1; 8], ..Default::default() }],
            }],
            ..Default::default()
        };
        let response = search_response(
            &SearchAnswer { traces: vec![trace], next: None },
            &QueryStats::default(),
        );
        let bytes = response.encode_to_vec();
        let back = SearchResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(back, response);
        assert_eq!(back.traces[0].trace_id, "abc");
        assert_eq!(back.traces[0].root_service_name, ROOT_NOT_RECEIVED);
        assert_eq!(back.traces[0].span_set.as_ref(), back.traces[0].span_sets.first());
        assert_eq!(back.traces[0].span_sets[0].spans[0].span_id, "0101010101010101");
    }
}
