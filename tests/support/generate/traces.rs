//! Random traces: every attribute type in every list, events and links, roots, orphans, cycles and
//! shared ids.

use traceql_blocks::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Trace, TraceId,
};

use super::vocabulary::{DOUBLES, INTS, KEYS, STRINGS, UNEVEN_WEIGHTS, WHOLE_WEIGHTS};
use super::{Dice, NANOS};

/// When the first trace starts: 2026-01-01T00:00:00Z.
const EPOCH_UNIX_NANOS: u64 = 1_767_225_600_000_000_000;

/// Parents that no span of a trace has.
const UNKNOWN_ID: [u8; 8] = [0xee; 8];

/// Some traces, ascending by id, each with at least one span.
pub(crate) fn traces(dice: &mut Dice, n_traces: usize) -> Vec<Trace> {
    (0..n_traces).map(|index| trace(dice, index)).collect()
}

/// One trace; ids ascend with the index and begin with zeros.
fn trace(dice: &mut Dice, index: usize) -> Trace {
    let index = u64::try_from(index).expect("a small index");
    let mut bytes = [0; 16];
    bytes[1..9].copy_from_slice(&(index * 0x0101_0101 + 7).to_be_bytes());
    bytes[15] = 0xab;
    let id = TraceId(bytes);
    let start_unix_nanos = EPOCH_UNIX_NANOS + index * 1_000_000_000;

    let n_spans = 1 + dice.below(9);
    let ids = span_ids(dice, n_spans);
    let mut spans: Vec<Span> = Vec::new();
    for own in &ids {
        let mut span = span(dice, id, own, &ids, start_unix_nanos);
        // One id and kind is one span (`blocks.md` 5.4): those that share an id differ in kind.
        while spans.iter().any(|other| other.span_id == span.span_id && other.kind == span.kind) {
            span.kind = (span.kind + 1) % 6;
        }
        spans.push(span);
    }
    let mut resource_spans = Vec::new();
    while !spans.is_empty() {
        let mut scope_spans = Vec::new();
        for _ in 0..=dice.below(2) {
            let taken = spans
                .split_off(spans.len() - (1 + dice.below(spans.len().max(1))).min(spans.len()));
            scope_spans.push(ScopeSpans { scope: scope(dice), spans: taken });
        }
        resource_spans.push(ResourceSpans { resource: resource(dice), scope_spans });
    }
    Trace { id, resource_spans }
}

/// Ids of the spans: mostly distinct, sometimes two alike (client and server), rarely three.
fn span_ids(dice: &mut Dice, n_spans: usize) -> Vec<[u8; 8]> {
    let mut ids: Vec<[u8; 8]> = Vec::new();
    for index in 0..n_spans {
        let fresh = (u64::try_from(index).expect("a small index") + 1).to_be_bytes();
        let id = match ids.last() {
            Some(previous) if dice.once_in(8) => *previous,
            // Ids of all 8 bytes and ids that begin with zero bytes.
            _ if dice.once_in(2) => fresh,
            _ => [0xa1, fresh[7], 0, 0, 0, 0, 0, fresh[7]],
        };
        ids.push(id);
    }
    ids
}

/// One span, its parent drawn from none, any span of the trace (itself too), and an unknown one.
fn span(dice: &mut Dice, trace: TraceId, own: &[u8; 8], ids: &[[u8; 8]], start: u64) -> Span {
    let position = ids.iter().position(|id| id == own).unwrap_or_default();
    let parent_span_id = match dice.below(12) {
        0 | 1 => Vec::new(),
        2 => UNKNOWN_ID.to_vec(),
        3 => dice.one_of(ids).to_vec(),
        _ if position == 0 => Vec::new(),
        _ => ids[dice.below(position)].to_vec(),
    };
    let start_unix_nanos = start + *dice.one_of(NANOS) % 1_000_000_000;
    let duration_nanos = *dice.one_of(NANOS);
    let end_unix_nanos = if dice.once_in(20) {
        start_unix_nanos - duration_nanos
    } else {
        start_unix_nanos + duration_nanos
    };
    let status_code = i32::try_from(dice.below(3)).expect("a small number");
    Span {
        span_id: own.to_vec(),
        parent_span_id,
        name: text(dice),
        kind: i32::try_from(dice.below(6)).expect("a small number"),
        start_unix_nanos,
        end_unix_nanos,
        status_code,
        status_message: if status_code == 2 { text(dice) } else { String::new() },
        attributes: attributes(dice, 5),
        events: (0..dice.below(4)).map(|_| event(dice, start_unix_nanos)).collect(),
        links: (0..dice.below(3)).map(|_| link(dice, trace, ids)).collect(),
        ..Span::default()
    }
}

/// A resource, one in four without a service name.
fn resource(dice: &mut Dice) -> Resource {
    let mut attributes = attributes(dice, 3);
    attributes.retain(|attribute| attribute.key != "service.name");
    match dice.below(8) {
        0 | 1 => {}
        // Visible: a resource's service.name is never nil, but its bytes are no name either.
        2 => attributes.push(KeyValue { key: "service.name".to_owned(), value: scalar(dice, 1) }),
        _ => attributes.push(KeyValue {
            key: "service.name".to_owned(),
            value: AttributeValue::String(text(dice)),
        }),
    }
    Resource { attributes, ..Resource::default() }
}

/// An instrumentation scope, sometimes an empty one.
fn scope(dice: &mut Dice) -> InstrumentationScope {
    if dice.once_in(4) {
        return InstrumentationScope::default();
    }
    InstrumentationScope {
        name: text(dice),
        version: text(dice),
        attributes: attributes(dice, 2),
        ..InstrumentationScope::default()
    }
}

/// An event, sometimes before its span.
fn event(dice: &mut Dice, start_unix_nanos: u64) -> Event {
    let offset = *dice.one_of(NANOS);
    Event {
        time_unix_nanos: if dice.once_in(10) {
            start_unix_nanos - offset
        } else {
            start_unix_nanos + offset
        },
        name: text(dice),
        attributes: attributes(dice, 3),
        ..Event::default()
    }
}

/// A link into this trace or another, sometimes the one that keeps a root from naming its trace.
fn link(dice: &mut Dice, trace: TraceId, ids: &[[u8; 8]]) -> Link {
    let mut attributes = attributes(dice, 2);
    if dice.once_in(3) {
        attributes.push(KeyValue {
            key: "opentracing.ref_type".to_owned(),
            value: AttributeValue::String("child_of".to_owned()),
        });
    }
    Link {
        trace_id: if dice.once_in(2) { trace.0.to_vec() } else { [0x0b; 16].to_vec() },
        span_id: dice.one_of(ids).to_vec(),
        attributes,
        ..Link::default()
    }
}

/// Up to so many attributes; keys repeat now and then.
fn attributes(dice: &mut Dice, at_most: usize) -> Vec<KeyValue> {
    (0..dice.below(at_most + 1))
        .map(|_| {
            let key = dice.word(KEYS);
            attribute(dice, key)
        })
        .collect()
}

/// A value that mostly has the type its key suggests.
fn attribute(dice: &mut Dice, key: &str) -> KeyValue {
    let value = match key {
        _ if dice.once_in(6) => any_value(dice),
        "n" | "http.status_code" | "http.response.status_code" => scalar(dice, 1),
        "flag" => scalar(dice, 3),
        "mixed" => {
            let type_index = dice.below(3);
            scalar(dice, type_index)
        }
        "list" => array(dice),
        _ => scalar(dice, 0),
    };
    KeyValue { key: key.to_owned(), value }
}

/// A value of any type, the ones the language cannot see among them.
fn any_value(dice: &mut Dice) -> AttributeValue {
    match dice.below(10) {
        0 => AttributeValue::Bytes(vec![0, 1, 255]),
        1 => AttributeValue::KeyValues(vec![KeyValue {
            key: "n".to_owned(),
            value: AttributeValue::Int(1),
        }]),
        2 => AttributeValue::Array(Vec::new()),
        3 => AttributeValue::Array(vec![
            AttributeValue::Int(1),
            AttributeValue::String("x".to_owned()),
        ]),
        4 => AttributeValue::Array(vec![AttributeValue::Array(vec![AttributeValue::Int(1)])]),
        5 | 6 => array(dice),
        _ => {
            let type_index = dice.below(4);
            scalar(dice, type_index)
        }
    }
}

/// One to three values of one type.
fn array(dice: &mut Dice) -> AttributeValue {
    let type_index = dice.below(4);
    let n_elements = 1 + dice.below(3);
    AttributeValue::Array((0..n_elements).map(|_| scalar(dice, type_index)).collect())
}

/// A string, int, double or bool.
fn scalar(dice: &mut Dice, type_index: usize) -> AttributeValue {
    match type_index {
        0 => AttributeValue::String(text(dice)),
        1 => AttributeValue::Int(*dice.one_of(INTS)),
        2 => AttributeValue::Double(*dice.one_of(DOUBLES)),
        _ => AttributeValue::Bool(dice.once_in(2)),
    }
}

/// One of the texts.
fn text(dice: &mut Dice) -> String {
    dice.word(STRINGS).to_owned()
}

/// The same traces, half of their spans sampled; in half of the cases so that all stand for whole
/// numbers of spans.
pub(crate) fn sampled(dice: &mut Dice, mut traces: Vec<Trace>) -> Vec<Trace> {
    let is_uneven = dice.once_in(2);
    for resource_spans in traces.iter_mut().flat_map(|trace| &mut trace.resource_spans) {
        for span in resource_spans.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
            span.trace_state = match dice.below(4) {
                0 => dice.word(WHOLE_WEIGHTS).to_owned(),
                1 if is_uneven => dice.word(UNEVEN_WEIGHTS).to_owned(),
                _ => String::new(),
            };
        }
    }
    traces
}

/// Traces with one thing less, biggest things first: what a failing trace is cut down by.
pub(crate) fn smaller(trace: &Trace) -> Vec<Trace> {
    let mut found = Vec::new();
    for_each_span(
        trace,
        &mut |copy, resource, scope, span| {
            let spans = &mut copy.resource_spans[resource].scope_spans[scope].spans;
            spans.remove(span);
            true
        },
        &mut found,
    );
    for_each_span(
        trace,
        &mut |copy, resource, scope, span| {
            let span = &mut copy.resource_spans[resource].scope_spans[scope].spans[span];
            span.events.pop().is_some()
        },
        &mut found,
    );
    for_each_span(
        trace,
        &mut |copy, resource, scope, span| {
            let span = &mut copy.resource_spans[resource].scope_spans[scope].spans[span];
            span.links.pop().is_some()
        },
        &mut found,
    );
    for_each_span(
        trace,
        &mut |copy, resource, scope, span| {
            let span = &mut copy.resource_spans[resource].scope_spans[scope].spans[span];
            span.attributes.pop().is_some()
        },
        &mut found,
    );
    for_each_span(
        trace,
        &mut |copy, resource, scope, span| {
            let span = &mut copy.resource_spans[resource].scope_spans[scope].spans[span];
            span.events.iter_mut().any(|event| event.attributes.pop().is_some())
                || span.links.iter_mut().any(|link| link.attributes.pop().is_some())
        },
        &mut found,
    );
    for_each_span(
        trace,
        &mut |copy, resource, scope, _| {
            copy.resource_spans[resource].resource.attributes.pop().is_some()
                || copy.resource_spans[resource].scope_spans[scope].scope.attributes.pop().is_some()
        },
        &mut found,
    );
    found
}

/// A copy of the trace for every span for which `change` says that it changed something.
fn for_each_span(
    trace: &Trace,
    change: &mut dyn FnMut(&mut Trace, usize, usize, usize) -> bool,
    found: &mut Vec<Trace>,
) {
    for (resource, resource_spans) in trace.resource_spans.iter().enumerate() {
        for (scope, scope_spans) in resource_spans.scope_spans.iter().enumerate() {
            for span in 0..scope_spans.spans.len() {
                let mut copy = trace.clone();
                let changed = change(&mut copy, resource, scope, span);
                let has_spans = |copy: &Trace| {
                    copy.resource_spans
                        .iter()
                        .flat_map(|resource_spans| &resource_spans.scope_spans)
                        .any(|scope_spans| !scope_spans.spans.is_empty())
                };
                if changed && has_spans(&copy) {
                    found.push(copy);
                }
            }
        }
    }
}
