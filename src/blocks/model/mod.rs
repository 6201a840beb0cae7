//! Traces as the OpenTelemetry protocol has them, in plain Rust: what rows are made from and read
//! back to. Knows no Arrow, no Parquet and no protobuf.

pub mod combine;
pub mod nested_set;
mod shared_ids;
pub mod trace;

use std::fmt;

pub use trace::span_key;

/// A trace id in the 16-byte form of `blocks.md` 2.1: shorter ids are padded with zeros on the
/// left, longer ones keep their last 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// All known spans of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The id every span of it carries.
    pub id: TraceId,
    /// Spans, grouped as they were sent or stored.
    pub resource_spans: Vec<ResourceSpans>,
}

/// Spans of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSpans {
    /// What produced the spans.
    pub resource: Resource,
    /// Spans, grouped by instrumentation scope.
    pub scope_spans: Vec<ScopeSpans>,
}

/// What produced spans: a service instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// Attributes, in the order they were sent.
    pub attributes: Vec<KeyValue>,
    /// Attributes the sender dropped.
    pub dropped_attributes_count: u32,
}

/// Spans of one instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeSpans {
    /// Which library produced the spans; empty if unknown.
    pub scope: InstrumentationScope,
    /// The spans, in the order they were sent or stored.
    pub spans: Vec<Span>,
}

/// The library that produced spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstrumentationScope {
    /// Its name, `""` if unknown.
    pub name: String,
    /// Its version, `""` if unknown.
    pub version: String,
    /// Attributes.
    pub attributes: Vec<KeyValue>,
    /// Attributes the sender dropped.
    pub dropped_attributes_count: u32,
}

/// One timed operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// The id as sent, normally 8 bytes.
    pub span_id: Vec<u8>,
    /// The parent's id, empty for a root.
    pub parent_span_id: Vec<u8>,
    /// W3C trace state.
    pub trace_state: String,
    /// Name of the operation.
    pub name: String,
    /// OTLP number of the span kind.
    pub kind: i32,
    /// Start, nanoseconds since the epoch.
    pub start_unix_nanos: u64,
    /// End, nanoseconds since the epoch; may lie before the start in broken data.
    pub end_unix_nanos: u64,
    /// OTLP number of the status code.
    pub status_code: i32,
    /// Status text.
    pub status_message: String,
    /// Attributes, in order; keys may repeat.
    pub attributes: Vec<KeyValue>,
    /// Attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// Events, in order.
    pub events: Vec<Event>,
    /// Events the sender dropped.
    pub dropped_events_count: u32,
    /// Links, in order.
    pub links: Vec<Link>,
    /// Links the sender dropped.
    pub dropped_links_count: u32,
}

/// Something that happened during a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// When, nanoseconds since the epoch.
    pub time_unix_nanos: u64,
    /// Its name.
    pub name: String,
    /// Attributes.
    pub attributes: Vec<KeyValue>,
    /// Attributes the sender dropped.
    pub dropped_attributes_count: u32,
}

/// A reference to another span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// The other span's trace id as sent.
    pub trace_id: Vec<u8>,
    /// The other span's id as sent.
    pub span_id: Vec<u8>,
    /// W3C trace state.
    pub trace_state: String,
    /// Attributes.
    pub attributes: Vec<KeyValue>,
    /// Attributes the sender dropped.
    pub dropped_attributes_count: u32,
}

/// An attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyValue {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AttributeValue {
    /// No value was set.
    #[default]
    Unset,
    /// Text.
    String(String),
    /// A signed integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// A list, of any mixture of values.
    Array(Vec<Self>),
    /// A nested map.
    KeyValues(Vec<KeyValue>),
}

impl TraceId {
    /// The id from raw bytes of any length (`blocks.md` 2.1).
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut id = [0; 16];
        let tail = &bytes[bytes.len().saturating_sub(16)..];
        id[16 - tail.len()..].copy_from_slice(tail);
        Self(id)
    }
}

/// Lower-case hex, all 32 digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
