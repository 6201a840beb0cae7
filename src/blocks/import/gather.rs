//! Gathers spans that come one by one, each with its resource and instrumentation scope, by trace.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::model::{
    InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId,
};
use crate::write::otlp::weigh::{Budget, attribute_bytes};

/// Traces under construction.
pub(super) struct Gathered {
    traces: BTreeMap<TraceId, Trace>,
    pub(super) budget: Budget,
}

impl Gathered {
    /// None yet; they and the input may take so many bytes, about.
    ///
    /// # Errors
    /// If the input alone takes more.
    pub(super) fn new(name: &str, input_bytes: usize, limit_bytes: u64) -> Result<Self> {
        let mut budget = Budget::new(name, limit_bytes);
        budget.take(input_bytes as u64)?;
        Ok(Self { traces: BTreeMap::new(), budget })
    }

    /// Adds a span.
    ///
    /// # Errors
    /// If there is no memory left for it.
    pub(super) fn add(
        &mut self,
        trace_id: [u8; 16],
        resource: &[KeyValue],
        scope: &InstrumentationScope,
        span: Span,
    ) -> Result<()> {
        self.budget.take(span_bytes(&span))?;
        let id = TraceId(trace_id);
        let trace = self.traces.entry(id).or_insert_with(|| Trace { id, ..Trace::default() });
        // Equal ones that are not neighbours are merged at the end.
        if trace.resource_spans.last().is_none_or(|last| last.resource.attributes != resource) {
            let bytes = size_of::<Trace>() + size_of::<ResourceSpans>();
            self.budget.take(bytes as u64 + attribute_bytes(resource))?;
            trace.resource_spans.push(ResourceSpans {
                resource: Resource { attributes: resource.to_vec(), dropped_attributes_count: 0 },
                scope_spans: Vec::new(),
            });
        }
        let Some(resource_spans) = trace.resource_spans.last_mut() else { return Ok(()) };
        if resource_spans.scope_spans.last().is_none_or(|last| last.scope != *scope) {
            let bytes = size_of::<ScopeSpans>() + scope.name.len() + scope.version.len();
            self.budget.take(bytes as u64)?;
            resource_spans
                .scope_spans
                .push(ScopeSpans { scope: scope.clone(), ..ScopeSpans::default() });
        }
        if let Some(scope_spans) = resource_spans.scope_spans.last_mut() {
            scope_spans.spans.push(span);
        }
        Ok(())
    }

    /// The traces in order of their ids.
    pub(super) fn finish(self) -> Vec<Trace> {
        let mut traces: Vec<Trace> = self.traces.into_values().collect();
        traces.iter_mut().for_each(Trace::merge_equal_resources);
        traces
    }
}

/// What a span takes, about.
fn span_bytes(span: &Span) -> u64 {
    let own = size_of::<Span>()
        + span.span_id.len()
        + span.parent_span_id.len()
        + span.trace_state.len()
        + span.name.len()
        + span.status_message.len();
    let events = span.events.iter().map(|event| {
        (size_of_val(event) + event.name.len()) as u64 + attribute_bytes(&event.attributes)
    });
    let links = span.links.iter().map(|link| {
        (size_of_val(link) + link.trace_id.len() + link.span_id.len()) as u64
            + attribute_bytes(&link.attributes)
    });
    own as u64 + attribute_bytes(&span.attributes) + events.sum::<u64>() + links.sum::<u64>()
}
