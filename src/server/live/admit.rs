//! What of a request is taken: ids are checked, long attributes cut, and spans beyond the limits of
//! live traces dropped (`api.md` 5.2, 5.3).

use parking_lot::Mutex;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{AttributeValue, KeyValue, Trace};
use traceql_blocks::wal::Part;
use traceql_blocks::write::otlp;

use super::options::IngestLimits;
use super::traces::{LiveTraces, part_bytes};
use crate::ingest::{Discard, Refused, Taken};

/// Bytes of a span id.
const SPAN_ID_BYTES: usize = 8;

/// What of a request is taken.
pub(super) struct Admitted {
    /// By trace.
    pub(super) parts: Vec<Part>,
    /// What the sender is told.
    pub(super) taken: Taken,
    /// Spans that are dropped, by why.
    pub(super) discarded: [(Discard, u64); 2],
}

/// Messages below a span that an attribute may nest: what is stored is decoded again, by a parser
/// that takes 100 from the outermost on.
const MAX_NESTED_MESSAGES: usize = 90;

/// Refuses a request with a span id that is none, or attributes nested too deeply to be stored. Ids
/// of traces were checked when they were decoded. The error says what its spans count as, too.
pub(super) fn check(traces: &[Trace]) -> Result<(), (Discard, Refused)> {
    for at in traces.iter().flat_map(Trace::spans) {
        let (span, resource) = (at.span, &at.resource_spans.resource);
        let lists = [&span.attributes, &resource.attributes, &at.scope_spans.scope.attributes];
        let of_events = span.events.iter().map(|event| &event.attributes);
        let of_links = span.links.iter().map(|link| &link.attributes);
        let mut all = lists.into_iter().chain(of_events).chain(of_links).flatten();
        if all.any(|attribute| nested_messages(&attribute.value) > MAX_NESTED_MESSAGES) {
            let why = "an attribute's value is nested too deeply".to_owned();
            return Err((Discard::Other, Refused::Invalid(why)));
        }
        let id = &at.span.span_id;
        if id.len() != SPAN_ID_BYTES || id.iter().all(|byte| *byte == 0) {
            let bits = id.len() * 8;
            let why = format!("span ids must be 64 bit and not all zero, received {bits} bits");
            return Err((Discard::InvalidSpanId, Refused::Invalid(why)));
        }
    }
    Ok(())
}

/// Messages that a value nests in protobuf.
fn nested_messages(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::Array(values) => {
            2 + values.iter().map(nested_messages).max().unwrap_or_default()
        }
        AttributeValue::KeyValues(pairs) => {
            let below = pairs.iter().map(|pair| nested_messages(&pair.value));
            3 + below.max().unwrap_or_default()
        }
        _ => 0,
    }
}

/// Cuts keys and texts of attributes to a length; 0 is none. How many attributes had to be cut.
pub(super) fn truncate(traces: &mut [Trace], most_bytes: usize) -> u64 {
    if most_bytes == 0 {
        return 0;
    }
    let mut n_cut = 0;
    let mut cut = |attributes: &mut Vec<KeyValue>| {
        for attribute in attributes {
            let mut is_cut = cut_text(&mut attribute.key, most_bytes);
            if let AttributeValue::String(text) = &mut attribute.value {
                is_cut |= cut_text(text, most_bytes);
            }
            n_cut += u64::from(is_cut);
        }
    };
    for resource_spans in traces.iter_mut().flat_map(|trace| &mut trace.resource_spans) {
        cut(&mut resource_spans.resource.attributes);
        for scope_spans in &mut resource_spans.scope_spans {
            cut(&mut scope_spans.scope.attributes);
            for span in &mut scope_spans.spans {
                cut(&mut span.attributes);
                span.events.iter_mut().for_each(|event| cut(&mut event.attributes));
                span.links.iter_mut().for_each(|link| cut(&mut link.attributes));
            }
        }
    }
    n_cut
}

/// Whether it was too long.
fn cut_text(text: &mut String, most_bytes: usize) -> bool {
    let is_long = text.len() > most_bytes;
    if is_long {
        text.truncate(text.floor_char_boundary(most_bytes));
        text.shrink_to_fit();
    }
    is_long
}

/// Encodes the traces that there is room for. Requests that are on their way do not see each other,
/// so a limit may be exceeded by what is received in the same moment.
pub(super) fn within_limits(
    live: &Mutex<LiveTraces>,
    tenant: &TenantId,
    traces: &[Trace],
    limits: &IngestLimits,
) -> Admitted {
    let encoded: Vec<(usize, Part)> = traces
        .iter()
        .map(|trace| {
            let spans = otlp::to_protobuf(std::slice::from_ref(trace)).into();
            (trace.span_count(), Part { trace_id: trace.id, spans })
        })
        .collect();
    let live = live.lock();
    let mut n_new = 0;
    let (mut too_many, mut too_large) = (0, 0);
    let n_live = live.trace_count(tenant);
    let mut parts = Vec::with_capacity(encoded.len());
    for (n_spans, part) in encoded {
        let held_bytes = live.trace_bytes(tenant, part.trace_id);
        if held_bytes.is_none() && limits.live_traces > 0 && n_live + n_new >= limits.live_traces {
            too_many += n_spans as u64;
            continue;
        }
        let bytes = held_bytes.unwrap_or(0) + part_bytes(&part);
        if limits.trace_bytes > 0 && bytes > limits.trace_bytes {
            too_large += n_spans as u64;
            continue;
        }
        n_new += usize::from(held_bytes.is_none());
        parts.push(part);
    }
    drop(live);
    let mut reasons = Vec::new();
    if too_many > 0 {
        let most = limits.live_traces;
        reasons.push(format!(
            "LIVE_TRACES_EXCEEDED: {too_many} spans of traces beyond the {most} that may be live"
        ));
    }
    if too_large > 0 {
        let most = limits.trace_bytes;
        reasons.push(format!(
            "TRACE_TOO_LARGE: {too_large} spans of traces that would exceed {most} bytes"
        ));
    }
    let taken = Taken { rejected_spans: too_many + too_large, why: reasons.join("; ") };
    let discarded = [(Discard::LiveTracesExceeded, too_many), (Discard::TraceTooLarge, too_large)];
    Admitted { parts, taken, discarded }
}

#[cfg(test)]
mod tests {
    use traceql_blocks::model::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn trace(span: Span) -> Trace {
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        Trace { resource_spans, ..Trace::default() }
    }

    #[test]
    fn span_ids_are_eight_bytes_and_not_all_zero() {
        let of =
            |span_id: &[u8]| check(&[trace(Span { span_id: span_id.into(), ..Span::default() })]);
        assert_eq!(of(&[0, 0, 0, 0, 0, 0, 0, 1]), Ok(()));
        for (id, bits) in [(&[0; 8][..], 64), (&[1; 7], 56), (&[1; 16], 128), (&[], 0)] {
            let why = format!("span ids must be 64 bit and not all zero, received {bits} bits");
            assert_eq!(of(id), Err((Discard::InvalidSpanId, Refused::Invalid(why))));
        }
    }

    #[test]
    fn long_attributes_are_cut_between_characters() {
        let attribute = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: AttributeValue::String(value.into()),
        };
        let span = Span {
            attributes: vec![attribute("abcdef", "äöü"), attribute("a", "b")],
            ..Span::default()
        };
        let mut traces = [trace(span)];
        let whole = traces.clone();
        assert_eq!(truncate(&mut traces, 0), 0);
        assert_eq!(traces, whole);
        assert_eq!(truncate(&mut traces, 5), 1, "key and text of one attribute");
        let at = traces[0].spans().next().unwrap();
        assert_eq!(at.span.attributes, [attribute("abcde", "äö"), attribute("a", "b")]);
    }
}
