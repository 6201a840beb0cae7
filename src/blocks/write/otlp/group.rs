//! Gathering the spans of requests by trace. A request groups spans by sender; a row of a block
//! holds one trace, so each trace gets its own copy of the resources and scopes it occurs under.

use std::collections::BTreeMap;

use super::weigh::{Budget, attribute_bytes};
use crate::error::{Error, Result};
use crate::model::{
    InstrumentationScope, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId,
};

/// Spans of one resource as a request holds them: of any number of traces.
pub(super) struct SentResourceSpans {
    pub(super) resource: Resource,
    pub(super) scope_spans: Vec<SentScopeSpans>,
}

impl SentResourceSpans {
    /// Whether all its spans are of one trace, as those that were stored or are held by trace.
    fn is_of_one_trace(&self) -> bool {
        let mut spans = self.scope_spans.iter().flat_map(|scope_spans| &scope_spans.spans);
        let first = spans.next();
        spans.all(|span| first.is_some_and(|first| first.trace_id == span.trace_id))
    }
}

/// Spans of one instrumentation scope as a request holds them.
pub(super) struct SentScopeSpans {
    pub(super) scope: InstrumentationScope,
    pub(super) spans: Vec<SentSpan>,
}

/// A span, with the id of its trace as sent.
pub(super) struct SentSpan {
    pub(super) trace_id: Vec<u8>,
    pub(super) span: Span,
}

/// Traces under construction.
#[derive(Default)]
pub(super) struct TracesById {
    traces: BTreeMap<TraceId, UnfinishedTrace>,
    /// Number of resource entries and of scope entries read so far, over all requests.
    resources: u64,
    scopes: u64,
    /// What reading may take. Spans are weighed by who reads them; here, the copies that each trace
    /// gets of resources and scopes.
    pub(super) budget: Budget,
    /// It is a request, as opposed to a file: ids of traces must have all their bytes, and an object
    /// of which nothing is known holds no spans, as the protocol has it.
    pub(super) is_received: bool,
}

#[derive(Default)]
struct UnfinishedTrace {
    resource_spans: Vec<ResourceSpans>,
    /// Which entry the last element of `resource_spans` copies, and its last scope likewise.
    last_resource: u64,
    last_scope: u64,
}

impl TracesById {
    /// None yet.
    pub(super) fn within(budget: Budget) -> Self {
        Self { budget, ..Self::default() }
    }

    /// Adds what one resource sent.
    ///
    /// # Errors
    ///
    /// What `corrupt` makes of the reason, where a span belongs to no trace; more copies of the
    /// resource than there is memory for.
    pub(super) fn add(
        &mut self,
        sent: SentResourceSpans,
        corrupt: impl Fn(String) -> Error,
    ) -> Result<()> {
        let copy_bytes = |attributes: &[_], own: usize| own as u64 + attribute_bytes(attributes);
        let resource_bytes =
            copy_bytes(&sent.resource.attributes, size_of::<(TraceId, UnfinishedTrace)>());
        self.resources += 1;
        let is_of_one_trace = sent.is_of_one_trace();
        // Who alone has them need not copy them.
        let mut resource = Some(sent.resource);
        for SentScopeSpans { scope, spans } in sent.scope_spans {
            self.scopes += 1;
            let text_bytes = scope.name.len() + scope.version.len();
            let scope_bytes = copy_bytes(&scope.attributes, size_of::<ScopeSpans>() + text_bytes);
            let mut scope = Some(scope);
            for SentSpan { trace_id, mut span } in spans {
                if trace_id.is_empty() {
                    return Err(corrupt(format!(
                        "a span named {:?} without a trace id",
                        span.name
                    )));
                }
                if self.is_received && trace_id.len() != size_of::<TraceId>() {
                    let bits = trace_id.len() * 8;
                    return Err(corrupt(format!(
                        "trace ids must be 128 bit, received {bits} bits"
                    )));
                }
                // Zeros stand for "no parent" in some SDKs; the format wants no bytes at all.
                if span.parent_span_id.iter().all(|&byte| byte == 0) {
                    span.parent_span_id.clear();
                }
                let trace = self.traces.entry(TraceId::from_bytes(&trace_id)).or_default();
                if trace.last_resource != self.resources {
                    trace.last_resource = self.resources;
                    self.budget.take(resource_bytes)?;
                    trace.resource_spans.push(ResourceSpans {
                        resource: given(&mut resource, is_of_one_trace),
                        scope_spans: Vec::new(),
                    });
                }
                let Some(resource_spans) = trace.resource_spans.last_mut() else { continue };
                if trace.last_scope != self.scopes {
                    trace.last_scope = self.scopes;
                    self.budget.take(scope_bytes)?;
                    resource_spans.scope_spans.push(ScopeSpans {
                        scope: given(&mut scope, is_of_one_trace),
                        spans: Vec::new(),
                    });
                }
                if let Some(scope_spans) = resource_spans.scope_spans.last_mut() {
                    scope_spans.spans.push(span);
                }
            }
        }
        Ok(())
    }

    /// The traces in order of their ids.
    pub(super) fn finish(self) -> Vec<Trace> {
        self.traces
            .into_iter()
            .map(|(id, trace)| Trace { id, resource_spans: trace.resource_spans })
            .collect()
    }
}

/// What there is, or a copy of it for a trace that is not the only one to have it.
fn given<T: Clone + Default>(from: &mut Option<T>, is_only: bool) -> T {
    if is_only { from.take() } else { from.clone() }.unwrap_or_default()
}
