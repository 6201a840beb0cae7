//! Values of a whole trace (`blocks.md` 4.8, `traceql.md` 5.12): start, end, root, statistics by
//! service. The same rules make the trace-level columns of a block and check them.

use std::collections::BTreeMap;

use super::nested_set::{NestedSet, SpanLink, number_spans};
use super::{AttributeValue, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId};

/// Resource attribute that names the service.
pub const SERVICE_NAME: &str = "service.name";
/// OTLP number of the status `error`.
pub(crate) const STATUS_ERROR: i32 = 2;

/// The first bytes of a span id as a number; shorter ids are padded with zeros on the right. Ids
/// are told apart by this alone (`blocks.md` 4.9, 5.4).
#[must_use]
pub fn span_key(span_id: &[u8]) -> u64 {
    let mut key = [0; 8];
    let n = span_id.len().min(8);
    key[..n].copy_from_slice(&span_id[..n]);
    u64::from_be_bytes(key)
}

/// What the trace-level columns of a block say of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceSummary {
    /// Earliest start of a span, unix nanoseconds. A start of 0 counts as unknown: it gives way to
    /// whatever span comes next.
    pub start_unix_nanos: u64,
    /// Latest end of a span.
    pub end_unix_nanos: u64,
    /// End less start, wrapping as the format does.
    pub duration_nanos: u64,
    /// Service of the root span; `""` without root.
    pub root_service_name: String,
    /// Name of the root span; `""` without root.
    pub root_span_name: String,
    /// Statistics by service name (`""` included), in byte order of the names.
    pub service_stats: BTreeMap<String, ServiceStats>,
}

/// What the trace-level columns say that does not always follow from the spans as they stand: a
/// trace that was stored before keeps what it had, since its spans may have come in another order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFields {
    /// Earliest start, unix nanoseconds; 0 is unknown.
    pub start_unix_nanos: u64,
    /// Latest end, unix nanoseconds.
    pub end_unix_nanos: u64,
    /// Service of the root span, or `""`.
    pub root_service_name: String,
    /// Name of the root span, or `""`.
    pub root_span_name: String,
}

impl From<&TraceSummary> for TraceFields {
    fn from(summary: &TraceSummary) -> Self {
        Self {
            start_unix_nanos: summary.start_unix_nanos,
            end_unix_nanos: summary.end_unix_nanos,
            root_service_name: summary.root_service_name.clone(),
            root_span_name: summary.root_span_name.clone(),
        }
    }
}

impl TraceFields {
    /// Adds what is known of a further copy of the same trace (`blocks.md` 5.4).
    pub fn combine(&mut self, other: Self) {
        // A start of 0 is unknown and gives way.
        self.start_unix_nanos = match (self.start_unix_nanos, other.start_unix_nanos) {
            (0, start) | (start, 0) => start,
            (one, two) => one.min(two),
        };
        self.end_unix_nanos = self.end_unix_nanos.max(other.end_unix_nanos);
        if self.root_service_name.is_empty() {
            self.root_service_name = other.root_service_name;
        }
        if self.root_span_name.is_empty() {
            self.root_span_name = other.root_span_name;
        }
    }
}

/// Numbers of spans of one service in one trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    /// All its spans.
    pub span_count: u32,
    /// Those whose status is an error.
    pub error_count: u32,
}

/// A span in its place.
#[derive(Clone, Copy, Debug)]
pub struct SpanInTrace<'a> {
    /// The resource and all its spans.
    pub resource_spans: &'a ResourceSpans,
    /// The instrumentation scope and all its spans.
    pub scope_spans: &'a ScopeSpans,
    /// The span.
    pub span: &'a Span,
}

impl Trace {
    /// All spans in storage order.
    pub fn spans(&self) -> impl Iterator<Item = SpanInTrace<'_>> {
        self.resource_spans.iter().flat_map(|resource_spans| {
            resource_spans.scope_spans.iter().flat_map(move |scope_spans| {
                scope_spans.spans.iter().map(move |span| SpanInTrace {
                    resource_spans,
                    scope_spans,
                    span,
                })
            })
        })
    }

    /// Number of spans.
    #[must_use]
    pub fn span_count(&self) -> usize {
        let scopes = self.resource_spans.iter().flat_map(|rs| &rs.scope_spans);
        scopes.map(|ss| ss.spans.len()).sum()
    }

    /// Nested-set numbers of all spans, in storage order.
    #[must_use]
    pub fn nested_sets(&self) -> Vec<NestedSet> {
        let links: Vec<_> = self
            .spans()
            .map(|s| SpanLink {
                span_id: &s.span.span_id,
                parent_span_id: &s.span.parent_span_id,
                kind: s.span.kind,
            })
            .collect();
        number_spans(&links)
    }

    /// The spans that may name the trace, in storage order: those that have no parent id and are
    /// not tied to another span of this trace by an OpenTracing `child_of` reference.
    pub fn roots(&self) -> impl Iterator<Item = SpanInTrace<'_>> {
        self.spans()
            .filter(|s| s.span.parent_span_id.is_empty() && !is_child_by_link(s.span, self.id))
    }

    /// The span that names the trace: the last of its roots.
    #[must_use]
    pub fn root(&self) -> Option<SpanInTrace<'_>> {
        self.roots().last()
    }

    /// Everything the trace-level columns hold.
    #[must_use]
    pub fn summary(&self) -> TraceSummary {
        let mut summary = TraceSummary::default();
        for resource_spans in &self.resource_spans {
            let service = resource_spans.resource.service_name();
            let mut stats = ServiceStats::default();
            for span in resource_spans.scope_spans.iter().flat_map(|ss| &ss.spans) {
                stats.span_count = stats.span_count.saturating_add(1);
                if span.status_code == STATUS_ERROR {
                    stats.error_count = stats.error_count.saturating_add(1);
                }
                if summary.start_unix_nanos == 0 || span.start_unix_nanos < summary.start_unix_nanos
                {
                    summary.start_unix_nanos = span.start_unix_nanos;
                }
                summary.end_unix_nanos = summary.end_unix_nanos.max(span.end_unix_nanos);
            }
            if stats.span_count > 0 {
                let sum = summary.service_stats.entry(service.to_owned()).or_default();
                sum.span_count = sum.span_count.saturating_add(stats.span_count);
                sum.error_count = sum.error_count.saturating_add(stats.error_count);
            }
        }
        summary.duration_nanos = summary.end_unix_nanos.wrapping_sub(summary.start_unix_nanos);
        if let Some(root) = self.root() {
            summary.root_span_name.clone_from(&root.span.name);
            root.root_service_name().clone_into(&mut summary.root_service_name);
        }
        summary
    }
}

impl<'a> SpanInTrace<'a> {
    /// The service name that a trace has of its root: the first value under that key, or `""` if
    /// it is no string.
    #[must_use]
    pub fn root_service_name(&self) -> &'a str {
        let mut attributes = self.resource_spans.resource.attributes.iter();
        match attributes.find(|kv| kv.key == SERVICE_NAME) {
            Some(KeyValue { value: AttributeValue::String(name), .. }) => name,
            _ => "",
        }
    }
}

impl Resource {
    /// The service name as blocks store it: the last string under that key, or `""`.
    #[must_use]
    pub fn service_name(&self) -> &str {
        self.attributes
            .iter()
            .rev()
            .find_map(|kv| match &kv.value {
                AttributeValue::String(name) if kv.key == SERVICE_NAME => Some(name.as_str()),
                _ => None,
            })
            .unwrap_or_default()
    }
}

impl Span {
    /// End less start, wrapping as the format does.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        self.end_unix_nanos.wrapping_sub(self.start_unix_nanos)
    }
}

/// Number of the interval of so many seconds that a start lies in (`blocks.md` 4.8). Intervals are
/// closed on the right, and interval 0 holds a start of 0 as well.
#[must_use]
pub fn rounded_start(start_unix_nanos: u64, seconds: u16) -> u32 {
    let interval = start_unix_nanos.saturating_sub(1) / (u64::from(seconds) * 1_000_000_000);
    #[expect(clippy::cast_possible_truncation, reason = "the format keeps the low 32 bits")]
    let interval = interval as u32;
    interval
}

fn is_child_by_link(span: &Span, trace: TraceId) -> bool {
    span.links.iter().any(|link| {
        TraceId::from_bytes(&link.trace_id) == trace
            && link.attributes.iter().any(|kv| {
                kv.key == "opentracing.ref_type"
                    && matches!(&kv.value, AttributeValue::String(v) if v == "child_of")
            })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Link;
    use super::*;

    fn string(key: &str, value: &str) -> KeyValue {
        KeyValue { key: key.into(), value: AttributeValue::String(value.into()) }
    }

    fn of_service(name: &str, spans: Vec<Span>) -> ResourceSpans {
        let attributes = if name.is_empty() { vec![] } else { vec![string(SERVICE_NAME, name)] };
        ResourceSpans {
            resource: Resource { attributes, dropped_attributes_count: 0 },
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        }
    }

    fn span(name: &str, parent: &[u8], start: u64, end: u64) -> Span {
        Span {
            name: name.into(),
            parent_span_id: parent.into(),
            start_unix_nanos: start,
            end_unix_nanos: end,
            ..Span::default()
        }
    }

    fn trace(resource_spans: Vec<ResourceSpans>) -> Trace {
        Trace { id: TraceId::from_bytes(&[7]), resource_spans }
    }

    #[test]
    fn the_last_parentless_span_is_the_root() {
        let summary = trace(vec![
            of_service("a", vec![span("one", &[], 5, 9), span("child", &[1], 3, 4)]),
            of_service("b", vec![span("two", &[], 6, 8)]),
        ])
        .summary();
        assert_eq!(
            (summary.root_service_name.as_str(), summary.root_span_name.as_str()),
            ("b", "two")
        );
        assert_eq!(
            (summary.start_unix_nanos, summary.end_unix_nanos, summary.duration_nanos),
            (3, 9, 6)
        );
    }

    #[test]
    fn a_child_of_link_to_the_own_trace_makes_no_root() {
        let linked = |trace_id: &[u8], kind: &str| Span {
            links: vec![Link {
                trace_id: trace_id.into(),
                attributes: vec![string("opentracing.ref_type", kind)],
                ..Link::default()
            }],
            ..span("linked", &[], 1, 2)
        };
        let root_name = |second: Span| {
            let t = trace(vec![of_service("", vec![span("first", &[], 1, 2), second])]);
            t.summary().root_span_name
        };
        assert_eq!(root_name(linked(&[7], "child_of")), "first");
        assert_eq!(root_name(linked(&[8], "child_of")), "linked");
        assert_eq!(root_name(linked(&[7], "follows_from")), "linked");
    }

    #[test]
    fn orphans_are_no_roots() {
        let summary = trace(vec![of_service("a", vec![span("orphan", &[9], 1, 2)])]).summary();
        assert_eq!((summary.root_service_name, summary.root_span_name), Default::default());
    }

    #[test]
    fn a_start_of_zero_is_overridden_by_the_next() {
        let starts = |starts: &[u64]| {
            let spans = starts.iter().map(|&s| span("", &[], s, s)).collect();
            trace(vec![of_service("", spans)]).summary().start_unix_nanos
        };
        assert_eq!(starts(&[0, 5, 3]), 3);
        assert_eq!(starts(&[5, 0, 7]), 7);
        assert_eq!(starts(&[5, 0]), 0);
    }

    #[test]
    fn an_end_before_the_start_wraps() {
        let summary = trace(vec![of_service("", vec![span("", &[], 5, 4)])]).summary();
        assert_eq!(summary.duration_nanos, u64::MAX);
    }

    #[test]
    fn statistics_are_by_service_and_include_the_nameless() {
        let failed = Span { status_code: STATUS_ERROR, ..Span::default() };
        let summary = trace(vec![
            of_service("a", vec![failed.clone(), Span::default()]),
            of_service("", vec![failed]),
            of_service("a", vec![Span::default()]),
        ])
        .summary();
        let expect = [
            (String::new(), ServiceStats { span_count: 1, error_count: 1 }),
            ("a".into(), ServiceStats { span_count: 3, error_count: 1 }),
        ];
        assert_eq!(summary.service_stats, expect.into());
    }

    #[test]
    fn repeated_service_names_are_read_by_the_formats_two_rules() {
        let mut t = trace(vec![of_service("first", vec![span("root", &[], 1, 2)])]);
        t.resource_spans[0].resource.attributes.push(string(SERVICE_NAME, "last"));
        let summary = t.summary();
        assert_eq!(summary.root_service_name, "first");
        assert!(summary.service_stats.contains_key("last"));
    }
}
