//! The model to JSON, in the protocol's dialect and in that of Tempo's API. They differ in ids
//! (hex, base64) and enumerations (numbers, names); fields without a value are left out of both.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Trace,
};

/// Names of the span kinds, each at its number.
pub(super) const KIND_NAMES: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
/// Names of the status codes, each at its number.
pub(super) const STATUS_NAMES: [&str; 3] =
    ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Which JSON to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The protocol's own: ids in hex, enumerations as numbers.
    Otlp,
    /// Tempo's, which is protobuf's JSON mapping: ids in base64, enumerations by name.
    Tempo,
}

/// Serialises traces as an object with their resource spans; for embedding in answers.
#[derive(Clone, Copy, Debug)]
pub struct TraceJson<'a> {
    /// What to write; spans of several traces may stand in one object.
    pub traces: &'a [Trace],
    /// How.
    pub dialect: Dialect,
    /// Name of the list: `resourceSpans`, or the `batches` of Tempo's older interface.
    pub list_name: &'static str,
}

/// Serialises an attribute value as the object with its type and value, `{"intValue":"5"}`; the
/// same in both dialects.
#[derive(Clone, Copy, Debug)]
pub struct AttributeValueJson<'a>(pub &'a AttributeValue);

/// Writes traces as one document of the protocol's JSON, on one line: a line of a `.jsonl` file,
/// or an export request.
#[must_use]
pub fn to_otlp_json(traces: &[Trace]) -> String {
    to_text(&TraceJson { traces, dialect: Dialect::Otlp, list_name: "resourceSpans" })
}

/// Writes a trace as Tempo's `/api/traces/{id}` does.
#[must_use]
pub fn to_tempo_json_v1(trace: &Trace) -> String {
    let traces = std::slice::from_ref(trace);
    to_text(&TraceJson { traces, dialect: Dialect::Tempo, list_name: "batches" })
}

/// Writes a trace as the `trace` of Tempo's `/api/v2/traces/{id}`, without the members beside it.
#[must_use]
pub fn to_tempo_json_v2(trace: &Trace) -> String {
    let traces = std::slice::from_ref(trace);
    let inner = TraceJson { traces, dialect: Dialect::Tempo, list_name: "resourceSpans" };
    to_text(&Nested { trace: inner })
}

/// Writes an attribute value as blocks store those that have no column (`blocks.md` 4.6).
#[must_use]
pub fn attribute_value_to_json(value: &AttributeValue) -> String {
    to_text(&AttributeValueJson(value))
}

#[derive(serde::Serialize)]
struct Nested<'a> {
    trace: TraceJson<'a>,
}

fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("writes to memory, and every key is a string")
}

impl Serialize for TraceJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        let entries = self.traces.iter().flat_map(|trace| {
            trace.resource_spans.iter().map(move |item| In { item, trace, dialect: self.dialect })
        });
        if self.traces.iter().any(|trace| !trace.resource_spans.is_empty()) {
            object.always(self.list_name, &Sequence(entries))?;
        }
        object.end()
    }
}

/// Something of a trace, and how to write it.
#[derive(Clone, Copy)]
struct In<'a, T> {
    item: &'a T,
    trace: &'a Trace,
    dialect: Dialect,
}

impl<'a, T> In<'a, T> {
    fn with<U>(&self, item: &'a U) -> In<'a, U> {
        In { item, trace: self.trace, dialect: self.dialect }
    }

    fn each<U>(
        &self,
        items: &'a [U],
    ) -> Sequence<impl Iterator<Item = In<'a, U>> + Clone + use<'a, T, U>> {
        let (trace, dialect) = (self.trace, self.dialect);
        Sequence(items.iter().map(move |item| In { item, trace, dialect }))
    }

    fn id(&self, bytes: &'a [u8]) -> Id<'a> {
        Id { bytes, dialect: self.dialect }
    }
}

impl Serialize for In<'_, ResourceSpans> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.always("resource", &self.with(&self.item.resource))?;
        object.list("scopeSpans", &self.item.scope_spans, self.each(&self.item.scope_spans))?;
        object.end()
    }
}

impl Serialize for In<'_, Resource> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.attributes(&self.item.attributes)?;
        object.count("droppedAttributesCount", self.item.dropped_attributes_count)?;
        object.end()
    }
}

impl Serialize for In<'_, ScopeSpans> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.always("scope", &self.with(&self.item.scope))?;
        object.list("spans", &self.item.spans, self.each(&self.item.spans))?;
        object.end()
    }
}

impl Serialize for In<'_, InstrumentationScope> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.text("name", &self.item.name)?;
        object.text("version", &self.item.version)?;
        object.attributes(&self.item.attributes)?;
        object.count("droppedAttributesCount", self.item.dropped_attributes_count)?;
        object.end()
    }
}

impl Serialize for In<'_, Span> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.item;
        let mut object = Object::begin(serializer)?;
        object.always("traceId", &self.id(&self.trace.id.0))?;
        object.always("spanId", &self.id(&span.span_id))?;
        object.text("traceState", &span.trace_state)?;
        if !span.parent_span_id.is_empty() {
            object.always("parentSpanId", &self.id(&span.parent_span_id))?;
        }
        object.text("name", &span.name)?;
        object.enumeration("kind", span.kind, &KIND_NAMES, self.dialect)?;
        object.nanos("startTimeUnixNano", span.start_unix_nanos)?;
        object.nanos("endTimeUnixNano", span.end_unix_nanos)?;
        object.attributes(&span.attributes)?;
        object.count("droppedAttributesCount", span.dropped_attributes_count)?;
        object.list("events", &span.events, self.each(&span.events))?;
        object.count("droppedEventsCount", span.dropped_events_count)?;
        object.list("links", &span.links, self.each(&span.links))?;
        object.count("droppedLinksCount", span.dropped_links_count)?;
        object.always(
            "status",
            &Status { code: span.status_code, text: &span.status_message, dialect: self.dialect },
        )?;
        object.end()
    }
}

impl Serialize for In<'_, Event> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.nanos("timeUnixNano", self.item.time_unix_nanos)?;
        object.text("name", &self.item.name)?;
        object.attributes(&self.item.attributes)?;
        object.count("droppedAttributesCount", self.item.dropped_attributes_count)?;
        object.end()
    }
}

impl Serialize for In<'_, Link> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        for (name, id) in [("traceId", &self.item.trace_id), ("spanId", &self.item.span_id)] {
            if !id.is_empty() {
                object.always(name, &self.id(id))?;
            }
        }
        object.text("traceState", &self.item.trace_state)?;
        object.attributes(&self.item.attributes)?;
        object.count("droppedAttributesCount", self.item.dropped_attributes_count)?;
        object.end()
    }
}

struct Status<'a> {
    code: i32,
    text: &'a str,
    dialect: Dialect,
}

impl Serialize for Status<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.text("message", self.text)?;
        object.enumeration("code", self.code, &STATUS_NAMES, self.dialect)?;
        object.end()
    }
}

impl Serialize for AttributeValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        match self.0 {
            AttributeValue::Unset => {}
            AttributeValue::String(text) => object.always("stringValue", text)?,
            AttributeValue::Int(number) => object.always("intValue", &Digits(number))?,
            AttributeValue::Double(number) => object.always("doubleValue", &Double(*number))?,
            AttributeValue::Bool(truth) => object.always("boolValue", truth)?,
            AttributeValue::Bytes(bytes) => {
                object.always("bytesValue", &STANDARD.encode(bytes))?;
            }
            AttributeValue::Array(values) => {
                let items = Sequence(values.iter().map(AttributeValueJson));
                object.always("arrayValue", &Values { items, is_empty: values.is_empty() })?;
            }
            AttributeValue::KeyValues(pairs) => {
                let items = Sequence(pairs.iter().map(KeyValueJson));
                object.always("kvlistValue", &Values { items, is_empty: pairs.is_empty() })?;
            }
        }
        object.end()
    }
}

struct Values<I> {
    items: Sequence<I>,
    is_empty: bool,
}

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Values<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        if !self.is_empty {
            object.always("values", &self.items)?;
        }
        object.end()
    }
}

#[derive(Clone, Copy)]
struct KeyValueJson<'a>(&'a KeyValue);

impl Serialize for KeyValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Object::begin(serializer)?;
        object.always("key", &self.0.key)?;
        object.always("value", &AttributeValueJson(&self.0.value))?;
        object.end()
    }
}

/// A JSON object whose fields may be left out.
struct Object<S: Serializer>(S::SerializeMap);

impl<S: Serializer> Object<S> {
    fn begin(serializer: S) -> Result<Self, S::Error> {
        serializer.serialize_map(None).map(Self)
    }

    fn always(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), S::Error> {
        self.0.serialize_entry(name, value)
    }

    fn text(&mut self, name: &'static str, text: &str) -> Result<(), S::Error> {
        if text.is_empty() { Ok(()) } else { self.0.serialize_entry(name, text) }
    }

    fn count(&mut self, name: &'static str, count: u32) -> Result<(), S::Error> {
        if count == 0 { Ok(()) } else { self.always(name, &count) }
    }

    fn nanos(&mut self, name: &'static str, nanos: u64) -> Result<(), S::Error> {
        if nanos == 0 { Ok(()) } else { self.always(name, &Digits(nanos)) }
    }

    fn attributes(&mut self, attributes: &[KeyValue]) -> Result<(), S::Error> {
        self.list("attributes", attributes, Sequence(attributes.iter().map(KeyValueJson)))
    }

    fn list<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        json: impl Serialize,
    ) -> Result<(), S::Error> {
        if items.is_empty() { Ok(()) } else { self.always(name, &json) }
    }

    fn enumeration(
        &mut self,
        name: &'static str,
        number: i32,
        names: &[&'static str],
        dialect: Dialect,
    ) -> Result<(), S::Error> {
        let known = usize::try_from(number).ok().and_then(|number| names.get(number));
        match known {
            _ if number == 0 => Ok(()),
            Some(text) if dialect == Dialect::Tempo => self.always(name, text),
            _ => self.always(name, &number),
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

struct Sequence<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Sequence<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// A 64-bit integer, which JSON's readers would round, as a string.
struct Digits<T>(T);

impl<T: fmt::Display> Serialize for Digits<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            number if number.is_nan() => serializer.serialize_str("NaN"),
            f64::INFINITY => serializer.serialize_str("Infinity"),
            f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            number => serializer.serialize_f64(number),
        }
    }
}

struct Id<'a> {
    bytes: &'a [u8],
    dialect: Dialect,
}

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.dialect {
            Dialect::Otlp => serializer.collect_str(&Hex(self.bytes)),
            Dialect::Tempo => serializer.serialize_str(&STANDARD.encode(self.bytes)),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
