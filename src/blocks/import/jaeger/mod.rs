//! Spans of Jaeger: batches as Thrift, the body of `POST /api/traces`, and as protobuf, the message of
//! `jaeger.api_v2.CollectorService/PostSpans`. What of them becomes what is said by the
//! specification's "OpenTelemetry to Jaeger transformation".

mod protobuf;
#[cfg(test)]
mod tests;
mod thrift;
mod wire;

use super::gather::Gathered;
use super::tags::{self, Of};
use super::{SPAN_ID_BYTES, parent};
use crate::error::Result;
use crate::model::{AttributeValue, Event, InstrumentationScope, KeyValue, Link, Span, Trace};

/// Decodes a `Batch` in Thrift's binary protocol.
///
/// # Errors
/// Where the bytes are none, with their place; [`crate::Error::Memory`] if the spans would take more
/// than so many bytes, about.
pub fn decode_thrift(bytes: &[u8], name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut to = Gathered::new(name, bytes.len(), limit_bytes)?;
    thrift::read(bytes, name, &mut to)?;
    Ok(to.finish())
}

/// Decodes a `PostSpansRequest` in protobuf.
///
/// # Errors
/// As [`decode_thrift`].
pub fn decode_post_spans(message: &[u8], name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut to = Gathered::new(name, message.len(), limit_bytes)?;
    protobuf::read(message, name, &mut to)?;
    Ok(to.finish())
}

/// A span in the terms that both forms share.
#[derive(Debug, Default)]
struct Sent {
    trace_id: [u8; 16],
    span_id: [u8; SPAN_ID_BYTES],
    /// Zeros if there is none, or it is among the references.
    parent_id: [u8; SPAN_ID_BYTES],
    name: String,
    start_unix_nanos: u64,
    duration_nanos: u64,
    references: Vec<Reference>,
    tags: Vec<KeyValue>,
    logs: Vec<Log>,
}

/// A span that this one refers to.
#[derive(Debug)]
struct Reference {
    trace_id: [u8; 16],
    span_id: [u8; SPAN_ID_BYTES],
    follows: bool,
}

#[derive(Debug)]
struct Log {
    time_unix_nanos: u64,
    fields: Vec<KeyValue>,
}

/// What sent the spans, as the attributes of a resource.
fn resource(service_name: String, tags: Vec<KeyValue>) -> Vec<KeyValue> {
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: AttributeValue::String(service_name.clone()),
    };
    let renamed = tags.into_iter().map(|tag| match tag.key.as_str() {
        "hostname" => KeyValue { key: "host.name".to_owned(), ..tag },
        _ => tag,
    });
    let service = (!service_name.is_empty()).then_some(service);
    service.into_iter().chain(renamed).collect()
}

/// Adds one span.
fn add(sent: Sent, resource: &[KeyValue], to: &mut Gathered) -> Result<()> {
    let (parent_id, links) = parent_and_links(&sent);
    let mut span = Span {
        span_id: sent.span_id.to_vec(),
        parent_span_id: parent(parent_id),
        name: sent.name,
        start_unix_nanos: sent.start_unix_nanos,
        end_unix_nanos: sent.start_unix_nanos.saturating_add(sent.duration_nanos),
        events: sent.logs.into_iter().map(event).collect(),
        links,
        ..Span::default()
    };
    let mut scope = InstrumentationScope::default();
    tags::apply(sent.tags, Of::Jaeger, &mut span, &mut scope);
    to.add(sent.trace_id, resource, &scope, span)
}

/// A parent that is not named is the first span of the trace that this one is a child of, or else
/// that it follows. All other references are links, and so is what it follows.
fn parent_and_links(sent: &Sent) -> ([u8; SPAN_ID_BYTES], Vec<Link>) {
    let own = |follows: bool| {
        let is = move |r: &&Reference| r.trace_id == sent.trace_id && r.follows == follows;
        sent.references.iter().find(is)
    };
    let parent_id = match sent.parent_id {
        [0, 0, 0, 0, 0, 0, 0, 0] => {
            own(false).or_else(|| own(true)).map(|reference| reference.span_id).unwrap_or_default()
        }
        named => named,
    };
    let is_parent = |reference: &Reference| {
        reference.trace_id == sent.trace_id && reference.span_id == parent_id && !reference.follows
    };
    let link = |reference: &Reference| Link {
        trace_id: reference.trace_id.to_vec(),
        span_id: reference.span_id.to_vec(),
        attributes: vec![KeyValue {
            key: "opentracing.ref_type".to_owned(),
            value: AttributeValue::String(
                if reference.follows { "follows_from" } else { "child_of" }.to_owned(),
            ),
        }],
        ..Link::default()
    };
    let links = sent.references.iter().filter(|reference| !is_parent(reference)).map(link);
    (parent_id, links.collect())
}

/// A log is an event; its name is the field `event`, as OpenTracing has it.
fn event(log: Log) -> Event {
    let mut name = String::new();
    let mut attributes = log.fields;
    attributes.retain_mut(|field| match &mut field.value {
        AttributeValue::String(text) if field.key == "event" && name.is_empty() => {
            name = std::mem::take(text);
            false
        }
        _ => true,
    });
    Event { time_unix_nanos: log.time_unix_nanos, name, attributes, ..Event::default() }
}
