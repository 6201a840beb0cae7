//! Putting copies of one trace together (`blocks.md` 5.4), and the merging of equal resources and
//! instrumentation scopes (5.2). Knows nothing of where the copies come from.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use ahash::RandomState;

use super::{AttributeValue, KeyValue, ResourceSpans, Span, Trace, span_key};

/// Says which spans of the copies of a trace are the same: those whose ids agree in the first eight
/// bytes and whose kinds are equal (a client and a server span may share an id, in Zipkin's style).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanIdentity {
    key: u64,
    kind: i32,
}

impl From<&Span> for SpanIdentity {
    fn from(span: &Span) -> Self {
        // Kinds that OTLP does not know count as unspecified.
        Self {
            key: span_key(&span.span_id),
            kind: if (0..8).contains(&span.kind) { span.kind } else { 0 },
        }
    }
}

impl Trace {
    /// Combines copies or parts of one trace; `None` if there are none.
    ///
    /// The first part is kept whole; a later one adds the spans that no earlier part has, with
    /// their resources and scopes. The result is sorted as [`Trace::sort`] does. The parts must
    /// have one id; the first part's is kept.
    #[must_use]
    pub fn combine(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut whole = parts.next()?;
        let mut seen: HashSet<SpanIdentity, RandomState> = HashSet::default();
        for (n, mut part) in parts.enumerate() {
            if n == 0 {
                seen.extend(whole.spans().map(|s| SpanIdentity::from(s.span)));
            }
            part.retain_spans(|span| seen.insert(span.into()));
            whole.resource_spans.append(&mut part.resource_spans);
        }
        whole.sort();
        Some(whole)
    }

    /// Removes the spans for which `keep` says no, then the scopes and resources left without any.
    pub fn retain_spans(&mut self, mut keep: impl FnMut(&Span) -> bool) {
        for resource_spans in &mut self.resource_spans {
            for scope_spans in &mut resource_spans.scope_spans {
                scope_spans.spans.retain(&mut keep);
            }
            resource_spans.scope_spans.retain(|ss| !ss.spans.is_empty());
        }
        self.resource_spans.retain(|rs| !rs.scope_spans.is_empty());
    }

    /// Removes spans that occurred before, as ingest does with what it is sent.
    pub fn remove_duplicate_spans(&mut self) {
        let mut seen: HashSet<SpanIdentity, RandomState> =
            HashSet::with_capacity_and_hasher(self.span_count(), RandomState::new());
        self.retain_spans(|span| seen.insert(span.into()));
    }

    /// Sorts the spans of each scope by start and id, scopes by their first span, resources by the
    /// first span of their first scope. Equal ones keep their order.
    pub fn sort(&mut self) {
        fn order(span: Option<&Span>) -> Option<(u64, &[u8])> {
            span.map(|s| (s.start_unix_nanos, s.span_id.as_slice()))
        }
        for resource_spans in &mut self.resource_spans {
            for scope_spans in &mut resource_spans.scope_spans {
                scope_spans.spans.sort_by(|a, b| order(Some(a)).cmp(&order(Some(b))));
            }
            resource_spans
                .scope_spans
                .sort_by(|a, b| order(a.spans.first()).cmp(&order(b.spans.first())));
        }
        fn first(rs: &ResourceSpans) -> Option<&Span> {
            rs.scope_spans.first().and_then(|ss| ss.spans.first())
        }
        self.resource_spans.sort_by(|a, b| order(first(a)).cmp(&order(first(b))));
    }

    /// Merges equal resources into the first of them, and within each resource equal
    /// instrumentation scopes. Equal means every stored value: attributes whatever their order, and
    /// dropped counts. No span is reordered within its scope, and no attribute at all.
    pub fn merge_equal_resources(&mut self) {
        let mut places: HashMap<Vec<u8>, usize, RandomState> = HashMap::default();
        let mut merged: Vec<ResourceSpans> = Vec::with_capacity(self.resource_spans.len());
        for mut resource_spans in std::mem::take(&mut self.resource_spans) {
            let resource = &resource_spans.resource;
            let key = identity(&[], &resource.attributes, resource.dropped_attributes_count);
            match places.get(&key) {
                Some(&place) => {
                    merged[place].scope_spans.append(&mut resource_spans.scope_spans);
                }
                None => {
                    places.insert(key, merged.len());
                    merged.push(resource_spans);
                }
            }
        }
        for resource_spans in &mut merged {
            merge_equal_scopes(resource_spans);
        }
        self.resource_spans = merged;
    }
}

fn merge_equal_scopes(resource_spans: &mut ResourceSpans) {
    if resource_spans.scope_spans.len() < 2 {
        return;
    }
    let mut places: HashMap<Vec<u8>, usize, RandomState> = HashMap::default();
    let mut merged = Vec::with_capacity(resource_spans.scope_spans.len());
    for mut scope_spans in std::mem::take(&mut resource_spans.scope_spans) {
        let scope = &scope_spans.scope;
        let key = identity(
            &[&scope.name, &scope.version],
            &scope.attributes,
            scope.dropped_attributes_count,
        );
        match places.get(&key) {
            Some(&place) => {
                let target: &mut super::ScopeSpans = &mut merged[place];
                target.spans.append(&mut scope_spans.spans);
            }
            None => {
                places.insert(key, merged.len());
                merged.push(scope_spans);
            }
        }
    }
    resource_spans.scope_spans = merged;
}

/// Bytes that are equal exactly if all given values are. Doubles count by their bits, so that a NaN
/// equals itself and the two zeros stay apart, as they do in storage.
fn identity(texts: &[&str], attributes: &[KeyValue], dropped: u32) -> Vec<u8> {
    // One after the other in one buffer; what is sorted is where each lies.
    let mut encoded = Vec::new();
    let mut places: Vec<Range<usize>> = attributes
        .iter()
        .map(|kv| {
            let start = encoded.len();
            push_key_value(&mut encoded, kv);
            start..encoded.len()
        })
        .collect();
    places.sort_by(|a, b| encoded[a.clone()].cmp(&encoded[b.clone()]));
    let mut bytes = dropped.to_be_bytes().to_vec();
    for text in texts {
        push_bytes(&mut bytes, text.as_bytes());
    }
    for place in places {
        push_bytes(&mut bytes, &encoded[place]);
    }
    bytes
}

fn push_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    push_length(to, bytes.len());
    to.extend_from_slice(bytes);
}

fn push_length(to: &mut Vec<u8>, length: usize) {
    to.extend_from_slice(&(length as u64).to_be_bytes());
}

fn push_key_value(to: &mut Vec<u8>, kv: &KeyValue) {
    push_bytes(to, kv.key.as_bytes());
    push_value(to, &kv.value);
}

fn push_value(to: &mut Vec<u8>, value: &AttributeValue) {
    match value {
        AttributeValue::Unset => to.push(0),
        AttributeValue::String(text) => {
            to.push(1);
            push_bytes(to, text.as_bytes());
        }
        AttributeValue::Int(number) => {
            to.push(2);
            to.extend_from_slice(&number.to_be_bytes());
        }
        AttributeValue::Double(number) => {
            to.push(3);
            to.extend_from_slice(&number.to_bits().to_be_bytes());
        }
        AttributeValue::Bool(truth) => to.extend_from_slice(&[4, u8::from(*truth)]),
        AttributeValue::Bytes(bytes) => {
            to.push(5);
            push_bytes(to, bytes);
        }
        AttributeValue::Array(values) => {
            to.push(6);
            push_length(to, values.len());
            values.iter().for_each(|v| push_value(to, v));
        }
        AttributeValue::KeyValues(pairs) => {
            to.push(7);
            push_length(to, pairs.len());
            pairs.iter().for_each(|kv| push_key_value(to, kv));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Resource, ScopeSpans, TraceId};
    use super::*;

    fn span(id: u8, kind: i32, start: u64) -> Span {
        Span {
            span_id: vec![id, 0, 0, 0, 0, 0, 0, 0],
            kind,
            start_unix_nanos: start,
            ..Span::default()
        }
    }

    fn resource(name: &str, spans: Vec<Span>) -> ResourceSpans {
        let attributes =
            vec![KeyValue { key: "a".into(), value: AttributeValue::String(name.into()) }];
        ResourceSpans {
            resource: Resource { attributes, dropped_attributes_count: 0 },
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        }
    }

    fn trace(resource_spans: Vec<ResourceSpans>) -> Trace {
        Trace { id: TraceId::from_bytes(&[1]), resource_spans }
    }

    fn ids(trace: &Trace) -> Vec<(u8, i32)> {
        trace.spans().map(|s| (s.span.span_id[0], s.span.kind)).collect()
    }

    #[test]
    fn nothing_combines_to_nothing() {
        assert_eq!(Trace::combine([]), None);
    }

    #[test]
    fn a_span_stored_twice_counts_once() {
        let part = trace(vec![resource("x", vec![span(1, 2, 10), span(2, 3, 20)])]);
        let other = trace(vec![resource("x", vec![span(2, 3, 20), span(2, 2, 30)])]);
        let whole = Trace::combine([part.clone(), other, part]).unwrap();
        assert_eq!(ids(&whole), [(1, 2), (2, 3), (2, 2)]);
    }

    #[test]
    fn the_first_copy_keeps_its_own_duplicates_and_wins() {
        let first = trace(vec![resource("x", vec![span(1, 2, 10), span(1, 2, 11)])]);
        let second = trace(vec![resource("x", vec![span(1, 2, 99)])]);
        let whole = Trace::combine([first.clone(), second]).unwrap();
        assert_eq!(whole, first);
    }

    #[test]
    fn the_second_copys_own_duplicates_are_dropped() {
        let second = trace(vec![resource("x", vec![span(2, 1, 1), span(2, 1, 2)])]);
        let whole = Trace::combine([trace(vec![]), second]).unwrap();
        assert_eq!(ids(&whole), [(2, 1)]);
    }

    #[test]
    fn kinds_outside_the_known_range_count_as_unspecified() {
        let whole = Trace::combine([
            trace(vec![resource("x", vec![span(1, 0, 1)])]),
            trace(vec![resource("x", vec![span(1, 8, 1), span(1, -1, 1), span(1, 7, 1)])]),
        ]);
        assert_eq!(ids(&whole.unwrap()), [(1, 0), (1, 7)]);
    }

    #[test]
    fn everything_is_sorted_by_start_then_id() {
        let whole = Trace::combine([
            trace(vec![resource("late", vec![span(3, 0, 30), span(1, 0, 20)])]),
            trace(vec![resource("early", vec![span(9, 0, 10), span(2, 0, 10)])]),
        ]);
        assert_eq!(ids(&whole.unwrap()), [(2, 0), (9, 0), (1, 0), (3, 0)]);
    }

    #[test]
    fn duplicates_within_one_trace_can_be_removed() {
        let mut t =
            trace(vec![resource("x", vec![span(1, 1, 1)]), resource("y", vec![span(1, 1, 2)])]);
        t.remove_duplicate_spans();
        assert_eq!(t, trace(vec![resource("x", vec![span(1, 1, 1)])]));
    }

    #[test]
    fn equal_resources_and_scopes_merge_into_the_first() {
        let mut t = trace(vec![
            resource("x", vec![span(1, 1, 1)]),
            resource("y", vec![span(2, 1, 1)]),
            resource("x", vec![span(3, 1, 1)]),
        ]);
        t.resource_spans[0].scope_spans[0].scope.name = "lib".into();
        t.merge_equal_resources();
        assert_eq!(ids(&t), [(1, 1), (3, 1), (2, 1)]);
        assert_eq!(t.resource_spans.len(), 2);
        assert_eq!(t.resource_spans[0].scope_spans.len(), 2);
        t.resource_spans[0].scope_spans[0].scope.name = String::new();
        t.merge_equal_resources();
        assert_eq!(t.resource_spans[0].scope_spans.len(), 1);
    }

    #[test]
    fn resources_that_differ_in_a_count_or_a_type_stay_apart() {
        let mut t = trace(vec![
            resource("1", vec![span(1, 1, 1)]),
            resource("1", vec![span(2, 1, 1)]),
            resource("1", vec![span(3, 1, 1)]),
        ]);
        t.resource_spans[1].resource.dropped_attributes_count = 1;
        t.resource_spans[2].resource.attributes[0].value = AttributeValue::Int(1);
        t.merge_equal_resources();
        assert_eq!(t.resource_spans.len(), 3);
    }
}
