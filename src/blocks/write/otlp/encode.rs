//! Traces to protobuf, straight from the model: between them and the bytes are no messages, into which
//! every text would be copied. The bytes are those that the messages of [`super::to_messages`] encode
//! to, field by field in order of their numbers.

use crate::model::{AttributeValue, Event, KeyValue, Link, ResourceSpans, ScopeSpans, Span, Trace};

/// What a span takes, about: room that is made before it is needed.
const SPAN_BYTES: usize = 384;

/// Wire types of the protocol.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;

/// Encodes traces as one `TracesData` message, which as bytes is also an export request, and
/// Tempo's `Trace`.
#[must_use]
pub fn to_protobuf(traces: &[Trace]) -> Vec<u8> {
    let n_spans: usize = traces.iter().map(Trace::span_count).sum();
    let mut to = Writer { bytes: Vec::with_capacity(n_spans * SPAN_BYTES) };
    for trace in traces {
        for of_resource in &trace.resource_spans {
            to.message(1, |to| to.resource_spans(of_resource, &trace.id.0));
        }
    }
    // Live traces are held for a while.
    to.bytes.shrink_to_fit();
    to.bytes
}

/// Bytes under construction. Fields whose value is the default are left out, as the protocol has it,
/// but for messages and for values of attributes.
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn resource_spans(&mut self, of: &ResourceSpans, trace_id: &[u8]) {
        self.message(1, |to| {
            to.attributes(1, &of.resource.attributes);
            to.number(2, of.resource.dropped_attributes_count.into());
        });
        for of_scope in &of.scope_spans {
            self.message(2, |to| to.scope_spans(of_scope, trace_id));
        }
    }

    fn scope_spans(&mut self, of: &ScopeSpans, trace_id: &[u8]) {
        self.message(1, |to| {
            to.text(1, &of.scope.name);
            to.text(2, &of.scope.version);
            to.attributes(3, &of.scope.attributes);
            to.number(4, of.scope.dropped_attributes_count.into());
        });
        for span in &of.spans {
            self.message(2, |to| to.span(span, trace_id));
        }
    }

    fn span(&mut self, span: &Span, trace_id: &[u8]) {
        self.data(1, trace_id);
        self.data(2, &span.span_id);
        self.text(3, &span.trace_state);
        self.data(4, &span.parent_span_id);
        self.text(5, &span.name);
        self.signed(6, span.kind);
        self.fixed(7, span.start_unix_nanos);
        self.fixed(8, span.end_unix_nanos);
        self.attributes(9, &span.attributes);
        self.number(10, span.dropped_attributes_count.into());
        for event in &span.events {
            self.message(11, |to| to.event(event));
        }
        self.number(12, span.dropped_events_count.into());
        for link in &span.links {
            self.message(13, |to| to.link(link));
        }
        self.number(14, span.dropped_links_count.into());
        self.message(15, |to| {
            to.text(2, &span.status_message);
            to.signed(3, span.status_code);
        });
    }

    fn event(&mut self, event: &Event) {
        self.fixed(1, event.time_unix_nanos);
        self.text(2, &event.name);
        self.attributes(3, &event.attributes);
        self.number(4, event.dropped_attributes_count.into());
    }

    fn link(&mut self, link: &Link) {
        self.data(1, &link.trace_id);
        self.data(2, &link.span_id);
        self.text(3, &link.trace_state);
        self.attributes(4, &link.attributes);
        self.number(5, link.dropped_attributes_count.into());
    }

    fn attributes(&mut self, number: u8, attributes: &[KeyValue]) {
        for KeyValue { key, value } in attributes {
            self.message(number, |to| {
                to.text(1, key);
                to.message(2, |to| to.value(value));
            });
        }
    }

    /// Which of the fields is there says of which type the value is, so it is there whatever it holds.
    fn value(&mut self, value: &AttributeValue) {
        match value {
            AttributeValue::Unset => {}
            AttributeValue::String(text) => self.whole_data(1, text.as_bytes()),
            AttributeValue::Bool(truth) => {
                self.tag(2, VARINT);
                self.bytes.push(u8::from(*truth));
            }
            AttributeValue::Int(number) => {
                self.tag(3, VARINT);
                self.varint(number.cast_unsigned());
            }
            AttributeValue::Double(number) => {
                self.tag(4, FIXED64);
                self.bytes.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            AttributeValue::Array(values) => self.message(5, |to| {
                for value in values {
                    to.message(1, |to| to.value(value));
                }
            }),
            AttributeValue::KeyValues(pairs) => self.message(6, |to| to.attributes(1, pairs)),
            AttributeValue::Bytes(bytes) => self.whole_data(7, bytes),
        }
    }

    /// A message that `write` writes the fields of. Its length comes before it, and most are so
    /// short that the one byte left for it will do.
    fn message(&mut self, number: u8, write: impl FnOnce(&mut Self)) {
        self.tag(number, LENGTH_DELIMITED);
        let at = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let n_bytes = self.bytes.len() - at - 1;
        match u8::try_from(n_bytes) {
            Ok(short) if short < 0x80 => self.bytes[at] = short,
            _ => {
                let mut length = Self { bytes: Vec::with_capacity(10) };
                length.varint(n_bytes as u64);
                self.bytes.splice(at..=at, length.bytes);
            }
        }
    }

    fn text(&mut self, number: u8, text: &str) {
        self.data(number, text.as_bytes());
    }

    fn data(&mut self, number: u8, data: &[u8]) {
        if !data.is_empty() {
            self.whole_data(number, data);
        }
    }

    fn whole_data(&mut self, number: u8, data: &[u8]) {
        self.tag(number, LENGTH_DELIMITED);
        self.varint(data.len() as u64);
        self.bytes.extend_from_slice(data);
    }

    fn number(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.tag(number, VARINT);
            self.varint(value);
        }
    }

    /// A signed number takes all its 64 bits if it is negative.
    fn signed(&mut self, number: u8, value: i32) {
        self.number(number, i64::from(value).cast_unsigned());
    }

    fn fixed(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.tag(number, FIXED64);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// All fields have numbers below 16, so a tag is a byte.
    fn tag(&mut self, number: u8, wire: u8) {
        debug_assert!(number < 16, "a field's number fits a tag of one byte");
        self.bytes.push(number << 3 | wire);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }
}
