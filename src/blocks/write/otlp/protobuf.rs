//! The model and the protocol's protobuf messages.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message as _;

use super::group::{SentResourceSpans, SentScopeSpans, SentSpan, TracesById};
use super::weigh::protobuf_bytes;
use crate::error::{Error, Result};
use crate::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, Span, Trace,
};

/// Reads one message that lies at `offset` of the named object.
pub(super) fn read_message(
    bytes: Bytes,
    name: &str,
    offset: u64,
    to: &mut TracesById,
) -> Result<()> {
    let range = offset..offset + bytes.len() as u64;
    let corrupt = |found: String| {
        Error::corrupt(name, Some(range.clone()), "an OTLP protobuf message with spans", found)
    };
    let weight = if to.budget.covers(bytes.len()) { 0 } else { protobuf_bytes(&bytes) };
    to.budget.take(weight)?;
    let message = trace::TracesData::decode(bytes).map_err(|e| corrupt(e.to_string()))?;
    for sent in message.resource_spans {
        to.add(resource_spans_from(sent), corrupt)?;
    }
    // What stays is the model; the messages were as large.
    to.budget.give_back(weight / 2);
    Ok(())
}

/// The messages of one trace, for embedding in a message of one's own. Scope, status and attribute
/// values are always present, even if empty, as in Tempo's answers.
#[must_use]
pub fn to_messages(from: &Trace) -> Vec<trace::ResourceSpans> {
    let id = from.id.0;
    from.resource_spans
        .iter()
        .map(|rs| trace::ResourceSpans {
            resource: Some(resource::Resource {
                attributes: key_values_to(&rs.resource.attributes),
                dropped_attributes_count: rs.resource.dropped_attributes_count,
                entity_refs: Vec::new(),
            }),
            scope_spans: rs
                .scope_spans
                .iter()
                .map(|ss| trace::ScopeSpans {
                    scope: Some(common::InstrumentationScope {
                        name: ss.scope.name.clone(),
                        version: ss.scope.version.clone(),
                        attributes: key_values_to(&ss.scope.attributes),
                        dropped_attributes_count: ss.scope.dropped_attributes_count,
                    }),
                    spans: ss.spans.iter().map(|span| span_to(id, span)).collect(),
                    schema_url: String::new(),
                })
                .collect(),
            schema_url: String::new(),
        })
        .collect()
}

fn span_to(trace_id: [u8; 16], span: &Span) -> trace::Span {
    trace::Span {
        trace_id: trace_id.to_vec(),
        span_id: span.span_id.clone(),
        trace_state: span.trace_state.clone(),
        parent_span_id: span.parent_span_id.clone(),
        flags: 0,
        name: span.name.clone(),
        kind: span.kind,
        start_time_unix_nano: span.start_unix_nanos,
        end_time_unix_nano: span.end_unix_nanos,
        attributes: key_values_to(&span.attributes),
        dropped_attributes_count: span.dropped_attributes_count,
        events: span
            .events
            .iter()
            .map(|event| trace::span::Event {
                time_unix_nano: event.time_unix_nanos,
                name: event.name.clone(),
                attributes: key_values_to(&event.attributes),
                dropped_attributes_count: event.dropped_attributes_count,
            })
            .collect(),
        dropped_events_count: span.dropped_events_count,
        links: span
            .links
            .iter()
            .map(|link| trace::span::Link {
                trace_id: link.trace_id.clone(),
                span_id: link.span_id.clone(),
                trace_state: link.trace_state.clone(),
                attributes: key_values_to(&link.attributes),
                dropped_attributes_count: link.dropped_attributes_count,
                flags: 0,
            })
            .collect(),
        dropped_links_count: span.dropped_links_count,
        status: Some(trace::Status {
            message: span.status_message.clone(),
            code: span.status_code,
        }),
    }
}

fn key_values_to(attributes: &[KeyValue]) -> Vec<common::KeyValue> {
    attributes
        .iter()
        .map(|kv| common::KeyValue {
            key: kv.key.clone(),
            value: Some(value_to(&kv.value)),
            key_strindex: 0,
        })
        .collect()
}

fn value_to(value: &AttributeValue) -> common::AnyValue {
    use common::any_value::Value;
    let value = match value {
        AttributeValue::Unset => None,
        AttributeValue::String(text) => Some(Value::StringValue(text.clone())),
        AttributeValue::Int(number) => Some(Value::IntValue(*number)),
        AttributeValue::Double(number) => Some(Value::DoubleValue(*number)),
        AttributeValue::Bool(truth) => Some(Value::BoolValue(*truth)),
        AttributeValue::Bytes(bytes) => Some(Value::BytesValue(bytes.clone())),
        AttributeValue::Array(values) => Some(Value::ArrayValue(common::ArrayValue {
            values: values.iter().map(value_to).collect(),
        })),
        AttributeValue::KeyValues(pairs) => {
            Some(Value::KvlistValue(common::KeyValueList { values: key_values_to(pairs) }))
        }
    };
    common::AnyValue { value }
}

fn resource_spans_from(sent: trace::ResourceSpans) -> SentResourceSpans {
    let resource = sent.resource.unwrap_or_default();
    SentResourceSpans {
        resource: Resource {
            attributes: key_values_from(resource.attributes),
            dropped_attributes_count: resource.dropped_attributes_count,
        },
        scope_spans: sent
            .scope_spans
            .into_iter()
            .map(|ss| {
                let scope = ss.scope.unwrap_or_default();
                SentScopeSpans {
                    scope: InstrumentationScope {
                        name: scope.name,
                        version: scope.version,
                        attributes: key_values_from(scope.attributes),
                        dropped_attributes_count: scope.dropped_attributes_count,
                    },
                    spans: ss.spans.into_iter().map(span_from).collect(),
                }
            })
            .collect(),
    }
}

fn span_from(sent: trace::Span) -> SentSpan {
    let status = sent.status.unwrap_or_default();
    SentSpan {
        trace_id: sent.trace_id,
        span: Span {
            span_id: sent.span_id,
            parent_span_id: sent.parent_span_id,
            trace_state: sent.trace_state,
            name: sent.name,
            kind: sent.kind,
            start_unix_nanos: sent.start_time_unix_nano,
            end_unix_nanos: sent.end_time_unix_nano,
            status_code: status.code,
            status_message: status.message,
            attributes: key_values_from(sent.attributes),
            dropped_attributes_count: sent.dropped_attributes_count,
            events: sent
                .events
                .into_iter()
                .map(|event| Event {
                    time_unix_nanos: event.time_unix_nano,
                    name: event.name,
                    attributes: key_values_from(event.attributes),
                    dropped_attributes_count: event.dropped_attributes_count,
                })
                .collect(),
            dropped_events_count: sent.dropped_events_count,
            links: sent.links.into_iter().map(link_from).collect(),
            dropped_links_count: sent.dropped_links_count,
        },
    }
}

fn link_from(sent: trace::span::Link) -> Link {
    Link {
        trace_id: sent.trace_id,
        span_id: sent.span_id,
        trace_state: sent.trace_state,
        attributes: key_values_from(sent.attributes),
        dropped_attributes_count: sent.dropped_attributes_count,
    }
}

fn key_values_from(sent: Vec<common::KeyValue>) -> Vec<KeyValue> {
    sent.into_iter()
        .map(|kv| KeyValue { key: kv.key, value: kv.value.map(value_from).unwrap_or_default() })
        .collect()
}

fn value_from(sent: common::AnyValue) -> AttributeValue {
    use common::any_value::Value;
    match sent.value {
        // Indexes into a dictionary belong to another signal; the protocol has us ignore them.
        None | Some(Value::StringValueStrindex(_)) => AttributeValue::Unset,
        Some(Value::StringValue(text)) => AttributeValue::String(text),
        Some(Value::IntValue(number)) => AttributeValue::Int(number),
        Some(Value::DoubleValue(number)) => AttributeValue::Double(number),
        Some(Value::BoolValue(truth)) => AttributeValue::Bool(truth),
        Some(Value::BytesValue(bytes)) => AttributeValue::Bytes(bytes),
        Some(Value::ArrayValue(array)) => {
            AttributeValue::Array(array.values.into_iter().map(value_from).collect())
        }
        Some(Value::KvlistValue(list)) => AttributeValue::KeyValues(key_values_from(list.values)),
    }
}

/// The links of a span as vParquet3 stores them: one message around them.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredLinks {
    #[prost(message, repeated, tag = "1")]
    links: Vec<trace::span::Link>,
}

/// Decodes the links of a span as vParquet3 stores them (`blocks.md` 4.4).
///
/// # Errors
///
/// What is wrong with the bytes.
pub fn decode_links(bytes: &[u8]) -> Result<Vec<Link>, String> {
    let stored = StoredLinks::decode(bytes).map_err(|e| e.to_string())?;
    Ok(stored.links.into_iter().map(link_from).collect())
}

/// Decodes the value of an event's attribute as vParquet3 stores it: protobuf, in very old files
/// JSON (`blocks.md` 4.4).
///
/// # Errors
///
/// What is wrong with the bytes.
pub fn decode_attribute_value(bytes: &[u8]) -> Result<AttributeValue, String> {
    common::AnyValue::decode(bytes).map(value_from).or_else(|e| {
        let text = std::str::from_utf8(bytes).map_err(|_| e.to_string())?;
        super::attribute_value_from_json(text).map_err(|_| e.to_string())
    })
}
