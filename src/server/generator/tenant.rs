//! Everything of one tenant: its processors and the registry they update.

use std::sync::Arc;

use traceql_blocks::model::Trace;

use super::options::{OptionsError, TenantMetrics};
use super::processor::{
    GraphStats, HostInfo, Observed, ServiceGraph, SpanMetrics, SpanMetricsPlan,
};
use super::registry::{Entry, Metric, Registry, RegistryStats};

/// Settings of a tenant, checked, for as many tenants as have them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: TenantMetrics,
    span_metrics: Arc<SpanMetricsPlan>,
}

/// Processors and series of one tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) plan: Arc<Plan>,
    pub(super) registry: Registry,
    span_metrics: Option<SpanMetrics>,
    service_graph: Option<ServiceGraph>,
    host_info: Option<HostInfo>,
    spans: SpanStats,
    /// When series were last taken out and receivers told so, unix milliseconds.
    pub(super) removed_unix_millis: Option<i64>,
    /// Whether the generator has another one by now, or none.
    pub(super) is_forgotten: bool,
}

/// What happened to spans, since the tenant was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpanStats {
    pub(super) received: u64,
    /// Ended too long ago, or too far ahead.
    pub(super) outside_time_range: u64,
    /// A filter policy kept them out of span metrics.
    pub(super) filtered: u64,
}

impl Plan {
    pub(super) fn new(options: TenantMetrics) -> Result<Self, OptionsError> {
        check_buckets("span metrics", &options.span_metrics.histogram_buckets)?;
        check_buckets("service graphs", &options.service_graphs.histogram_buckets)?;
        if !is_label_name(&options.trace_id_label) {
            return Err(OptionsError::LabelName(options.trace_id_label));
        }
        let span_metrics = Arc::new(SpanMetricsPlan::new(&options.span_metrics)?);
        Ok(Self { options, span_metrics })
    }

    /// Whether spans are of any use.
    pub(super) fn is_active(&self) -> bool {
        let processors = self.options.processors;
        processors.any_span_metrics() || processors.any_graph() || processors.host_info
    }
}

impl Tenant {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let options = &plan.options;
        let processors = options.processors;
        let mut registry = Registry::new(options.limits, options.histograms);
        let span_metrics = processors
            .any_span_metrics()
            .then(|| SpanMetrics::new(Arc::clone(&plan.span_metrics), processors, &mut registry));
        let service_graph = processors
            .any_graph()
            .then(|| ServiceGraph::new(options.service_graphs.clone(), processors, &mut registry));
        let host_info = processors
            .host_info
            .then(|| HostInfo::new(options.host_identifiers.clone(), &mut registry));
        Self {
            registry,
            span_metrics,
            service_graph,
            host_info,
            spans: SpanStats::default(),
            removed_unix_millis: None,
            is_forgotten: false,
            plan,
        }
    }

    /// Counts the spans of some traces.
    pub(super) fn observe(&mut self, traces: &[Trace], now_unix_nanos: u64) {
        self.expire(now_unix_nanos);
        let slack = self.plan.options.time_range_slack.as_nanos();
        let slack = u64::try_from(slack).unwrap_or(u64::MAX);
        let times = now_unix_nanos.saturating_sub(slack)..=now_unix_nanos.saturating_add(slack);
        let registry = &mut self.registry;
        for trace in traces {
            for resource_spans in &trace.resource_spans {
                let resource = resource_spans.resource.attributes.as_slice();
                let mut is_begun = false;
                for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
                    self.spans.received += 1;
                    if !times.contains(&span.end_unix_nanos) {
                        self.spans.outside_time_range += 1;
                        continue;
                    }
                    if !is_begun {
                        is_begun = true;
                        if let Some(processor) = &mut self.span_metrics {
                            processor.begin_resource(resource, registry, now_unix_nanos);
                        }
                        if let Some(processor) = &mut self.host_info {
                            processor.observe(resource, registry, now_unix_nanos);
                        }
                    }
                    let observed = Observed { trace: trace.id, resource, span };
                    if let Some(processor) = &mut self.span_metrics
                        && !processor.observe(observed, registry, now_unix_nanos)
                    {
                        self.spans.filtered += 1;
                    }
                    if let Some(processor) = &mut self.service_graph {
                        processor.observe(observed, registry, now_unix_nanos);
                    }
                }
            }
        }
    }

    /// Ends the waiting of edges whose time is over.
    pub(super) fn expire(&mut self, now_unix_nanos: u64) {
        if let Some(processor) = &mut self.service_graph {
            processor.expire(&mut self.registry, now_unix_nanos);
        }
    }

    /// Takes out series that have not been updated since.
    pub(super) fn remove_stale(
        &mut self,
        before_unix_nanos: u64,
    ) -> Vec<(Box<[Metric]>, Vec<Entry>)> {
        self.registry.remove_stale(before_unix_nanos)
    }

    /// Whether nothing is lost with it.
    pub(super) fn is_idle(&self) -> bool {
        self.registry.is_empty() && self.stats().2.waiting == 0
    }

    pub(super) fn stats(&self) -> (SpanStats, RegistryStats, GraphStats) {
        let graph = self.service_graph.as_ref().map(ServiceGraph::stats).unwrap_or_default();
        (self.spans, self.registry.stats(), graph)
    }
}

fn check_buckets(of: &'static str, bounds: &[f64]) -> Result<(), OptionsError> {
    let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    if ascending && bounds.iter().all(|bound| bound.is_finite()) {
        Ok(())
    } else {
        Err(OptionsError::Buckets(of))
    }
}

/// Whether Prometheus takes it.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
