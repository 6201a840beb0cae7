//! A trace to levels and values of every leaf (`blocks.md` 4.2, 4.8, 4.9). One walk; knows no files.
//!
//! A list adds 1 to the definition level. Its first element has the repetition level of what holds
//! the list, the others have the list's own; where a list is empty, each leaf below it gets one entry
//! with the definition level of what holds the list.

use super::attributes::{Scratch, absent};
use super::leaf::LeafColumn;
use super::places::Places;
use crate::model::nested_set::NestedSet;
use crate::model::trace::{TraceFields, TraceSummary, rounded_start};
use crate::model::{Event, Link, ResourceSpans, ScopeSpans, Span, Trace};

/// Repetition and definition levels of the lists.
const RESOURCES: i16 = 1;
const SCOPES: i16 = 2;
const SPANS: i16 = 3;
/// Events and links.
const DETAILS: i16 = 4;

/// Shreds traces.
#[derive(Debug)]
pub(super) struct Shredder {
    places: Places,
    scratch: Scratch,
}

impl Shredder {
    pub(super) fn new(places: Places) -> Self {
        Self { places, scratch: Scratch::default() }
    }

    /// Adds a row.
    pub(super) fn write(
        &mut self,
        trace: &Trace,
        fields: &TraceFields,
        summary: &TraceSummary,
        to: &mut [LeafColumn],
    ) {
        let places = &self.places;
        let hex = trace.id.to_string();
        to[places.trace_id].bytes(0, &trace.id.0);
        to[places.trace_id_text].text(0, hex.trim_start_matches('0'));
        to[places.trace_start].u64(0, fields.start_unix_nanos);
        to[places.trace_end].u64(0, fields.end_unix_nanos);
        let duration = fields.end_unix_nanos.wrapping_sub(fields.start_unix_nanos);
        to[places.trace_duration].u64(0, duration);
        to[places.root_service_name].text(0, &fields.root_service_name);
        to[places.root_span_name].text(0, &fields.root_span_name);
        if summary.service_stats.is_empty() {
            absent(&mut to[places.all_stats.clone()], 0, 0);
        }
        for (at, (service, stats)) in summary.service_stats.iter().enumerate() {
            let rep = rep_of(at, 0, 1);
            to[places.stats_service].text(rep, service);
            to[places.stats_spans].u32(rep, stats.span_count);
            to[places.stats_errors].u32(rep, stats.error_count);
        }
        if trace.resource_spans.is_empty() {
            absent(&mut to[places.all_resources.clone()], 0, 0);
        }
        let nested_sets = trace.nested_sets();
        let mut numbers = nested_sets.iter();
        for (at, resource_spans) in trace.resource_spans.iter().enumerate() {
            self.resource(resource_spans, rep_of(at, 0, RESOURCES), &mut numbers, to);
        }
    }

    fn resource(
        &mut self,
        ResourceSpans { resource, scope_spans }: &ResourceSpans,
        rep: i16,
        numbers: &mut std::slice::Iter<'_, NestedSet>,
        to: &mut [LeafColumn],
    ) {
        let n_dropped = resource.dropped_attributes_count;
        let owner = &self.places.resource;
        owner.write(&resource.attributes, n_dropped, rep, &mut self.scratch, to);
        if scope_spans.is_empty() {
            absent(&mut to[self.places.all_scopes.clone()], rep, RESOURCES);
        }
        for (at, scope_spans) in scope_spans.iter().enumerate() {
            self.scope(scope_spans, rep_of(at, rep, SCOPES), numbers, to);
        }
    }

    fn scope(
        &mut self,
        ScopeSpans { scope, spans }: &ScopeSpans,
        rep: i16,
        numbers: &mut std::slice::Iter<'_, NestedSet>,
        to: &mut [LeafColumn],
    ) {
        let places = &self.places;
        to[places.scope_name].text(rep, &scope.name);
        to[places.scope_version].text(rep, &scope.version);
        let n_dropped = scope.dropped_attributes_count;
        places.scope.write(&scope.attributes, n_dropped, rep, &mut self.scratch, to);
        if let Some(count) = places.scope_span_count {
            to[count].i32(rep, i32::try_from(spans.len()).unwrap_or(i32::MAX));
        }
        if spans.is_empty() {
            absent(&mut to[places.all_spans.clone()], rep, SCOPES);
        }
        for (at, span) in spans.iter().enumerate() {
            let numbers = numbers.next().copied().unwrap_or_default();
            self.span(span, rep_of(at, rep, SPANS), numbers, to);
        }
    }

    fn span(&mut self, span: &Span, rep: i16, numbers: NestedSet, to: &mut [LeafColumn]) {
        let places = &self.places.span;
        to[places.span_id].bytes(rep, &span.span_id);
        to[places.parent_span_id].bytes(rep, &span.parent_span_id);
        to[places.parent_left].i32(rep, numbers.parent_left);
        to[places.left].i32(rep, numbers.left);
        to[places.right].i32(rep, numbers.right);
        if let Some(child_count) = places.child_count {
            to[child_count].i32(rep, numbers.child_count);
        }
        to[places.name].text(rep, &span.name);
        to[places.kind].i64(rep, span.kind.into());
        to[places.trace_state].text(rep, &span.trace_state);
        to[places.start].u64(rep, span.start_unix_nanos);
        to[places.duration].u64(rep, span.duration_nanos());
        to[places.status_code].i64(rep, span.status_code.into());
        to[places.status_message].text(rep, &span.status_message);
        for &(seconds, leaf) in &places.rounded_starts {
            to[leaf].u32(rep, rounded_start(span.start_unix_nanos, seconds));
        }
        to[places.dropped_events].u32(rep, span.dropped_events_count);
        to[places.dropped_links].u32(rep, span.dropped_links_count);
        let n_dropped = span.dropped_attributes_count;
        places.owner.write(&span.attributes, n_dropped, rep, &mut self.scratch, to);
        if span.events.is_empty() {
            absent(&mut to[self.places.all_events.clone()], rep, SPANS);
        }
        for (at, event) in span.events.iter().enumerate() {
            self.event(event, span.start_unix_nanos, rep_of(at, rep, DETAILS), to);
        }
        if span.links.is_empty() {
            absent(&mut to[self.places.all_links.clone()], rep, SPANS);
        }
        for (at, link) in span.links.iter().enumerate() {
            self.link(link, rep_of(at, rep, DETAILS), to);
        }
    }

    fn event(&mut self, event: &Event, span_start: u64, rep: i16, to: &mut [LeafColumn]) {
        let places = &self.places;
        to[places.event_time].u64(rep, event.time_unix_nanos.wrapping_sub(span_start));
        to[places.event_name].text(rep, &event.name);
        let n_dropped = event.dropped_attributes_count;
        places.event.write(&event.attributes, n_dropped, rep, &mut self.scratch, to);
    }

    fn link(&mut self, link: &Link, rep: i16, to: &mut [LeafColumn]) {
        let places = &self.places;
        to[places.link_trace_id].bytes(rep, &link.trace_id);
        to[places.link_span_id].bytes(rep, &link.span_id);
        to[places.link_trace_state].text(rep, &link.trace_state);
        let n_dropped = link.dropped_attributes_count;
        places.link.write(&link.attributes, n_dropped, rep, &mut self.scratch, to);
    }
}

/// Repetition level of an element of a list: the first continues what holds the list.
fn rep_of(at: usize, of_holder: i16, of_list: i16) -> i16 {
    if at == 0 { of_holder } else { of_list }
}
