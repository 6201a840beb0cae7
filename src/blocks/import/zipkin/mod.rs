//! Spans of Zipkin: JSON in the second and the first version of its API, and protobuf. What of them
//! becomes what is said by the specification's "OpenTelemetry to Zipkin transformation".

mod json;
mod protobuf;
#[cfg(test)]
mod tests;
mod v1;

use serde_json::Value as Json;

use super::gather::Gathered;
use super::tags::{self, Of};
use super::{SPAN_ID_BYTES, micros, needed_id, parent};
use crate::error::Result;
use crate::model::{AttributeValue, Event, InstrumentationScope, KeyValue, Span, Trace};

/// What a byte of JSON takes at most while it is read: an element of a list is as short as `0,`.
const MOST_PER_BYTE: u64 = 48;

const SERVICE_NAME: &str = "service.name";

/// Decodes a list of spans as version 2 of the API has them in JSON.
///
/// # Errors
/// Where the text is no such list, with its place; [`crate::Error::Memory`] if the spans would take
/// more than so many bytes, about.
pub fn decode_v2(text: &[u8], name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut to = Gathered::new(name, text.len(), limit_bytes)?;
    json::read(text, name, |span: json::Span| add(span, name, &mut to))?;
    Ok(to.finish())
}

/// Decodes a list of spans as version 1 of the API has them in JSON.
///
/// # Errors
/// As [`decode_v2`].
pub fn decode_v1(text: &[u8], name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut to = Gathered::new(name, text.len(), limit_bytes)?;
    json::read(text, name, |span: v1::Span| {
        span.sides().into_iter().try_for_each(|span| add(span, name, &mut to))
    })?;
    Ok(to.finish())
}

/// Decodes the message `ListOfSpans` of version 2.
///
/// # Errors
/// As [`decode_v2`].
pub fn decode_protobuf(message: &[u8], name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut to = Gathered::new(name, message.len(), limit_bytes)?;
    protobuf::read(message, name, &mut to)?;
    Ok(to.finish())
}

/// Adds one span in the terms of the second version, which the others are brought to.
fn add(from: json::Span, name: &str, to: &mut Gathered) -> Result<()> {
    let trace_id = needed_id(&from.trace_id, "a trace id", name)?;
    let span_id: [u8; SPAN_ID_BYTES] = needed_id(&from.id, "a span id", name)?;
    let parent_id = match from.parent_id.as_deref() {
        None | Some("") => [0; SPAN_ID_BYTES],
        Some(id) => needed_id(id, "a parent's id", name)?,
    };
    let start_unix_nanos = micros(from.timestamp.unwrap_or_default());
    let annotations = from.annotations.unwrap_or_default();
    // What they hold is weighed with the span; until then, by the most it can be.
    let json_bytes = annotations.iter().map(|a| a.value.len() as u64 * MOST_PER_BYTE).sum();
    to.budget.take(json_bytes)?;
    let mut span = Span {
        span_id: span_id.to_vec(),
        parent_span_id: parent(parent_id),
        name: from.name.unwrap_or_default(),
        // Without one it may be local or not known.
        kind: from.kind.as_deref().and_then(tags::kind).unwrap_or_default(),
        start_unix_nanos,
        end_unix_nanos: start_unix_nanos.saturating_add(micros(from.duration.unwrap_or_default())),
        events: annotations.into_iter().map(event).collect(),
        ..Span::default()
    };
    let tags = from.tags.unwrap_or_default().into_iter();
    let tags = tags.map(|(key, value)| KeyValue { key, value: AttributeValue::String(value) });
    // Exporters of OpenTelemetry have no other place for what a resource says.
    let (mut resource, tags): (Vec<_>, Vec<_>) = tags.partition(|tag| is_of_resource(&tag.key));
    let mut scope = InstrumentationScope::default();
    tags::apply(tags, Of::Zipkin, &mut span, &mut scope);
    let local = from.local_endpoint.unwrap_or_default();
    let remote = from.remote_endpoint.unwrap_or_default();
    let at = |key: &str, value| KeyValue { key: key.to_owned(), value };
    if let Some(service) = text(local.service_name)
        && !resource.iter().any(|attribute| attribute.key == SERVICE_NAME)
    {
        resource.insert(0, at(SERVICE_NAME, service));
    }
    let addresses = [
        ("peer.service", text(remote.service_name)),
        ("net.host.ip", text(local.ipv6).or(text(local.ipv4))),
        ("net.host.port", port(local.port)),
        ("net.peer.ip", text(remote.ipv6).or(text(remote.ipv4))),
        ("net.peer.port", port(remote.port)),
    ];
    for (key, value) in addresses {
        // A tag of that name was meant.
        let is_there = span.attributes.iter().any(|attribute| attribute.key == key);
        if let (Some(value), false) = (value, is_there) {
            span.attributes.push(at(key, value));
        }
    }
    to.budget.give_back(json_bytes);
    to.add(trace_id, &resource, &scope, span)
}

/// Whether a key is one of the conventions for resources.
fn is_of_resource(key: &str) -> bool {
    const NAMESPACES: [&str; 10] = [
        "cloud.",
        "container.",
        "deployment.",
        "device.",
        "host.",
        "k8s.",
        "os.",
        "process.",
        "service.",
        "telemetry.",
    ];
    const KEYS: [&str; 3] = ["faas.instance", "faas.name", "faas.version"];
    (NAMESPACES.iter().any(|namespace| key.starts_with(namespace)) || KEYS.contains(&key))
        // Of whom a span calls.
        && !key.starts_with("service.peer.")
}

fn text(text: Option<String>) -> Option<AttributeValue> {
    text.filter(|text| !text.is_empty()).map(AttributeValue::String)
}

fn port(port: Option<i64>) -> Option<AttributeValue> {
    port.filter(|port| *port != 0).map(AttributeValue::Int)
}

/// An annotation is the name of an event, with its attributes if it was one of OpenTelemetry: as
/// exporters write it, `{"name":{…}}`, and as Collectors do, `name|{…}|dropped`.
fn event(from: json::Annotation) -> Event {
    let time_unix_nanos = micros(from.timestamp);
    let (name, attributes, dropped) =
        with_attributes(&from.value).unwrap_or((from.value, Vec::new(), 0));
    Event { time_unix_nanos, name, attributes, dropped_attributes_count: dropped }
}

fn with_attributes(text: &str) -> Option<(String, Vec<KeyValue>, u32)> {
    if text.starts_with('{') {
        let Ok(Json::Object(object)) = serde_json::from_str(text) else { return None };
        let mut entries = object.into_iter();
        let (Some((name, Json::Object(attributes))), None) = (entries.next(), entries.next())
        else {
            return None;
        };
        return Some((name, values(attributes), 0));
    }
    let (head, dropped) = text.rsplit_once('|')?;
    let (name, attributes) = head.split_once('|')?;
    let Ok(Json::Object(attributes)) = serde_json::from_str(attributes) else { return None };
    Some((name.to_owned(), values(attributes), dropped.parse().ok()?))
}

fn values(object: serde_json::Map<String, Json>) -> Vec<KeyValue> {
    let each = object.into_iter();
    each.map(|(key, value)| KeyValue { key, value: value_of(value) }).collect()
}

/// Plain JSON as an attribute's value.
fn value_of(json: Json) -> AttributeValue {
    match json {
        Json::Null => AttributeValue::Unset,
        Json::Bool(truth) => AttributeValue::Bool(truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => AttributeValue::Int(number),
            None => AttributeValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => AttributeValue::String(text),
        Json::Array(list) => AttributeValue::Array(list.into_iter().map(value_of).collect()),
        Json::Object(object) => AttributeValue::KeyValues(values(object)),
    }
}
