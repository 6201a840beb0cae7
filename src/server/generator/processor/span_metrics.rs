//! Span metrics (`api.md` 6.1): calls, latency and bytes of spans by service, name, kind, status and
//! attributes; and what is known of each resource.

use std::collections::BTreeSet;
use std::sync::Arc;

use traceql_blocks::model::{KeyValue, TraceId};

use super::filter::Filter;
use super::span_size::span_bytes;
use super::{Observed, duration_seconds, kind_name, multiplier, status_name};
use crate::generator::labels::{LabelBuffer, find, find_text, label_name, label_value};
use crate::generator::options::{OptionsError, Processors, SpanMetricsOptions};
use crate::generator::registry::{GroupId, Kind, Metric, Registry};

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE_ID: &str = "service.instance.id";

/// Labels that attributes may not be: those of every series and those that Prometheus puts there.
const INTRINSIC_LABELS: [&str; 10] = [
    "service",
    "span_name",
    "span_kind",
    "status_code",
    "status_message",
    "job",
    "instance",
    "le",
    "quantile",
    "metric_overflow",
];

/// Settings, checked and ready for any number of tenants.
#[derive(Debug)]
pub(in crate::generator) struct SpanMetricsPlan {
    options: SpanMetricsOptions,
    filter: Filter,
    dimensions: Vec<Dimension>,
    excluded: BTreeSet<String>,
}

#[derive(Debug)]
struct Dimension {
    label: String,
    attributes: Vec<String>,
    join: String,
}

/// The processor of one tenant.
#[derive(Debug)]
pub(in crate::generator) struct SpanMetrics {
    plan: Arc<SpanMetricsPlan>,
    spans: GroupId,
    calls: Option<usize>,
    latency: Option<usize>,
    size: Option<usize>,
    target_info: Option<GroupId>,
    labels: LabelBuffer,
    target_labels: LabelBuffer,
}

impl SpanMetricsPlan {
    pub(in crate::generator) fn new(options: &SpanMetricsOptions) -> Result<Self, OptionsError> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let plain = options.dimensions.iter().map(|key| Dimension {
            label: label_name(key),
            attributes: vec![key.clone()],
            join: String::new(),
        });
        let mapped = options.dimension_mappings.iter().map(|mapping| Dimension {
            label: label_name(&mapping.name),
            attributes: mapping.source_labels.clone(),
            join: mapping.join.clone(),
        });
        let mut dimensions = Vec::new();
        for mut dimension in plain.chain(mapped) {
            if INTRINSIC_LABELS.contains(&dimension.label.as_str()) {
                dimension.label.insert_str(0, "__");
            }
            // Prometheus refuses a label that is there twice; the first is as good as the second.
            if taken.insert(dimension.label.clone()) {
                dimensions.push(dimension);
            }
        }
        Ok(Self {
            filter: Filter::new(&options.filter_policies)?,
            dimensions,
            excluded: options.target_info_excluded_dimensions.iter().cloned().collect(),
            options: options.clone(),
        })
    }
}

impl SpanMetrics {
    /// The processor, with its metrics in the registry.
    pub(in crate::generator) fn new(
        plan: Arc<SpanMetricsPlan>,
        processors: Processors,
        registry: &mut Registry,
    ) -> Self {
        let mut metrics = Vec::new();
        let mut add = |wanted: bool, metric: Metric| {
            wanted.then(|| {
                metrics.push(metric);
                metrics.len() - 1
            })
        };
        let calls = add(
            processors.span_calls,
            Metric { name: "traces_spanmetrics_calls_total", help: "Spans.", kind: Kind::Counter },
        );
        let latency = add(
            processors.span_latency,
            Metric {
                name: "traces_spanmetrics_latency",
                help: "Durations of spans in seconds.",
                kind: Kind::Histogram(plan.options.histogram_buckets.as_slice().into()),
            },
        );
        let size = add(
            processors.span_size,
            Metric {
                name: "traces_spanmetrics_size_total",
                help: "Bytes of spans.",
                kind: Kind::Counter,
            },
        );
        let spans = registry.add_group(metrics);
        let target_info = plan.options.enable_target_info.then(|| {
            registry.add_group(vec![Metric {
                name: "traces_target_info",
                help: "Attributes of resources that spans came from.",
                kind: Kind::Gauge,
            }])
        });
        Self {
            plan,
            spans,
            calls,
            latency,
            size,
            target_info,
            labels: LabelBuffer::default(),
            target_labels: LabelBuffer::default(),
        }
    }

    /// Begins with the spans of a resource.
    pub(in crate::generator) fn begin_resource(
        &mut self,
        resource: &[KeyValue],
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) {
        self.labels.truncate(0);
        let options = &self.plan.options;
        let text = |key| find(resource, key).map(label_value).unwrap_or_default();
        let service = text(SERVICE_NAME);
        if options.intrinsics.service {
            self.labels.push("service", &service);
        }
        let Some(target_info) = self.target_info else { return };
        let namespace = text(SERVICE_NAMESPACE);
        let job = match (namespace.is_empty(), service.is_empty()) {
            (_, true) => String::new(),
            (true, false) => service.into_owned(),
            (false, false) => format!("{namespace}/{service}"),
        };
        let instance = text(SERVICE_INSTANCE_ID);
        let target = &mut self.target_labels;
        target.truncate(0);
        target.push("job", &job);
        self.labels.push("job", &job);
        if options.enable_instance_label {
            target.push("instance", &instance);
            self.labels.push("instance", &instance);
        }
        let named = target.mark();
        let mut taken = BTreeSet::from(["job".to_owned(), "instance".to_owned()]);
        for kv in resource {
            let is_own = [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE_ID]
                .contains(&kv.key.as_str())
                || kv.key.starts_with(|c: char| c.is_ascii_digit())
                || self.plan.excluded.contains(&kv.key);
            if is_own {
                continue;
            }
            let mut label = label_name(&kv.key);
            if INTRINSIC_LABELS.contains(&label.as_str()) {
                label.insert_str(0, "__");
            }
            if taken.insert(label.clone()) {
                target.push(&label, &label_value(&kv.value));
            }
        }
        if named > 0 && target.mark() > named {
            registry.update(target_info, target, now_unix_nanos).set(0, 1.0);
        }
    }

    /// Counts a span of the resource last begun with; whether it passed the filter.
    pub(in crate::generator) fn observe(
        &mut self,
        observed: Observed<'_>,
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) -> bool {
        if !self.plan.filter.is_kept(observed) {
            return false;
        }
        let resource_mark = self.labels.mark();
        self.push_span_labels(observed);
        let weight = self.weight(observed);
        let (span, trace): (_, TraceId) = (observed.span, observed.trace);
        let mut update = registry.update(self.spans, &self.labels, now_unix_nanos);
        if let Some(calls) = self.calls {
            update.add(calls, weight);
        }
        if let Some(latency) = self.latency {
            update.observe(latency, duration_seconds(span), weight, trace);
        }
        if let Some(size) = self.size {
            // A span has fewer than 2^53 bytes.
            update.add(size, span_bytes(span) as f64);
        }
        self.labels.truncate(resource_mark);
        true
    }

    fn push_span_labels(&mut self, observed: Observed<'_>) {
        let span = observed.span;
        let has = self.plan.options.intrinsics;
        let labels = &mut self.labels;
        if has.span_name {
            labels.push("span_name", &span.name);
        }
        if has.span_kind {
            labels.push("span_kind", kind_name(span.kind));
        }
        if has.status_code {
            labels.push("status_code", status_name(span.status_code));
        }
        if has.status_message {
            labels.push("status_message", &span.status_message);
        }
        for dimension in &self.plan.dimensions {
            let value = |key: &String| find_text(observed.resource, &span.attributes, key);
            match dimension.attributes.as_slice() {
                [attribute] => labels.push(&dimension.label, &value(attribute)),
                several => {
                    let values = several.iter().map(value).filter(|value| !value.is_empty());
                    let joined = values.collect::<Vec<_>>().join(&dimension.join);
                    labels.push(&dimension.label, &joined);
                }
            }
        }
    }

    fn weight(&self, observed: Observed<'_>) -> f64 {
        let options = &self.plan.options;
        let by_state = options
            .enable_tracestate_span_multiplier
            .then(|| multiplier::by_trace_state(observed.span))
            .flatten();
        match (by_state, &options.span_multiplier_key) {
            (Some(weight), _) => weight,
            (None, Some(key)) => multiplier::by_attribute(observed, key),
            (None, None) => 1.0,
        }
    }
}
