//! Bytes of a span as OTLP's protobuf, without encoding it. What the model does not keep (flags) is
//! not counted, and a status always is, as SDKs send one.

use prost::encoding::encoded_len_varint;
use traceql_blocks::model::{AttributeValue, KeyValue, Span};

/// Fields have numbers below 16, so their tags have one byte.
const TAG: usize = 1;
const TRACE_ID_BYTES: usize = 16;

/// Bytes of the message.
pub(super) fn span_bytes(span: &Span) -> usize {
    let events = span.events.iter().map(|event| {
        nested(
            fixed(event.time_unix_nanos)
                + text(event.name.len())
                + attributes(&event.attributes)
                + number(event.dropped_attributes_count.into()),
        )
    });
    let links = span.links.iter().map(|link| {
        nested(
            text(link.trace_id.len())
                + text(link.span_id.len())
                + text(link.trace_state.len())
                + attributes(&link.attributes)
                + number(link.dropped_attributes_count.into()),
        )
    });
    nested(TRACE_ID_BYTES)
        + text(span.span_id.len())
        + text(span.trace_state.len())
        + text(span.parent_span_id.len())
        + text(span.name.len())
        + signed(span.kind)
        + fixed(span.start_unix_nanos)
        + fixed(span.end_unix_nanos)
        + attributes(&span.attributes)
        + number(span.dropped_attributes_count.into())
        + events.sum::<usize>()
        + number(span.dropped_events_count.into())
        + links.sum::<usize>()
        + number(span.dropped_links_count.into())
        + nested(text(span.status_message.len()) + signed(span.status_code))
}

fn attributes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(|kv| nested(text(kv.key.len()) + nested(value_bytes(&kv.value)))).sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::Unset => 0,
        // Alternatives are written even if they are empty.
        AttributeValue::String(text) => nested(text.len()),
        AttributeValue::Bytes(bytes) => nested(bytes.len()),
        AttributeValue::Bool(_) => TAG + 1,
        AttributeValue::Int(number) => TAG + encoded_len_varint(number.cast_unsigned()),
        AttributeValue::Double(_) => TAG + 8,
        AttributeValue::Array(values) => {
            nested(values.iter().map(|value| nested(value_bytes(value))).sum())
        }
        AttributeValue::KeyValues(pairs) => nested(attributes(pairs)),
    }
}

/// A text or bytes, which are left out if empty.
fn text(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { nested(bytes) }
}

/// A message, text or bytes with their length.
fn nested(bytes: usize) -> usize {
    TAG + encoded_len_varint(bytes as u64) + bytes
}

fn number(value: u64) -> usize {
    if value == 0 { 0 } else { TAG + encoded_len_varint(value) }
}

fn signed(value: i32) -> usize {
    number(i64::from(value).cast_unsigned())
}

fn fixed(value: u64) -> usize {
    if value == 0 { 0 } else { TAG + 8 }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use traceql_blocks::model::{Event, Link, ResourceSpans, ScopeSpans, Trace};
    use traceql_blocks::write::otlp;

    use super::*;

    #[test]
    fn it_is_the_length_of_the_encoding() {
        let pair = |key: &str, value| KeyValue { key: key.into(), value };
        let values = vec![
            pair("unset", AttributeValue::Unset),
            pair("empty", AttributeValue::String(String::new())),
            pair("text", AttributeValue::String("x".repeat(300))),
            pair("minus", AttributeValue::Int(-1)),
            pair("zero", AttributeValue::Int(0)),
            pair("double", AttributeValue::Double(0.0)),
            pair("bool", AttributeValue::Bool(false)),
            pair("bytes", AttributeValue::Bytes(vec![0; 200])),
        ];
        let array = values.iter().map(|kv| kv.value.clone()).collect();
        let mut nested = values.clone();
        nested.push(pair("array", AttributeValue::Array(array)));
        nested.push(pair("map", AttributeValue::KeyValues(values)));
        let full = Span {
            span_id: vec![1; 8],
            parent_span_id: vec![2; 8],
            trace_state: "a=b".into(),
            name: "GET /".into(),
            kind: 2,
            start_unix_nanos: 1,
            end_unix_nanos: u64::MAX,
            status_code: 2,
            status_message: "no".into(),
            attributes: nested.clone(),
            dropped_attributes_count: 300,
            events: vec![
                Event::default(),
                Event {
                    time_unix_nanos: 5,
                    name: "e".into(),
                    attributes: nested.clone(),
                    ..Event::default()
                },
            ],
            dropped_events_count: 1,
            links: vec![
                Link::default(),
                Link {
                    trace_id: vec![1; 16],
                    span_id: vec![1; 8],
                    attributes: nested,
                    ..Link::default()
                },
            ],
            dropped_links_count: 2,
        };
        for span in [Span::default(), Span { kind: -1, ..Span::default() }, full] {
            let scope_spans =
                vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }];
            let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
            let messages = otlp::to_messages(&Trace { resource_spans, ..Trace::default() });
            assert_eq!(span_bytes(&span), messages[0].scope_spans[0].spans[0].encoded_len());
        }
    }
}
