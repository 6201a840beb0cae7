//! Settings of metrics that are made of spans.

use traceql_server::generator::{Histograms, Processors, TenantMetrics};

use super::super::setting::{Sets, Setting};
use super::super::value::{Form, Value};
use super::of_ingest;
use crate::role_args::Role;

/// A setting that no option says, of all tenants and of single ones.
const fn unsaid(
    path: &'static str,
    of_tenant: &'static str,
    form: Form,
    default: &'static [&'static str],
    set: fn(&mut TenantMetrics, Value),
    meaning: &'static str,
) -> Setting {
    Setting::alone(path, form, default, Sets::Metrics(set), meaning)
        .role(Role::Ingest)
        .metrics(of_tenant, set)
}

pub(super) const SETTINGS: &[Setting] = &[
    of_ingest("metrics_generator.instance_id", "metrics_instance", Form::Text, &[]),
    unsaid(
        "metrics_generator.processor.service_graphs.peer_attributes",
        "metrics_generator.processor.service_graphs.peer_attributes",
        Form::Texts,
        &["peer.service", "db.name", "db.system", "db.system.name"],
        |metrics, value| metrics.service_graphs.peer_attributes = value.list(),
        "Attributes that name the other side of a request whose other side does not come",
    )
    .said_by(&["graph_peer_attributes"]),
    unsaid(
        "metrics_generator.processor.service_graphs.database_name_attributes",
        "metrics_generator.processor.service_graphs.database_name_attributes",
        Form::Texts,
        &["db.namespace", "db.name", "db.system", "db.system.name"],
        |metrics, value| metrics.service_graphs.database_name_attributes = value.list(),
        "Attributes of which a client span has one if it asks a database",
    )
    .said_by(&["graph_database_attributes"]),
    of_ingest(
        "metrics_generator.processor.service_graphs.histogram_buckets",
        "graph_buckets",
        Form::Numbers,
        &["0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8"],
    )
    .metrics("metrics_generator.processor.service_graphs.histogram_buckets", |metrics, value| {
        metrics.service_graphs.histogram_buckets = value.numbers();
    }),
    of_ingest("metrics_generator.processor.service_graphs.wait", "graph_wait", Form::Duration, &["10s"])
        .metrics("metrics_generator.processor.service_graphs.wait", |metrics, value| {
            metrics.service_graphs.wait = value.duration();
        }),
    of_ingest(
        "metrics_generator.processor.service_graphs.max_items",
        "graph_max_items",
        Form::Count,
        &["10000"],
    )
    .metrics("metrics_generator.processor.service_graphs.max_items", |metrics, value| {
        metrics.service_graphs.max_items = value.size();
    }),
    of_ingest(
        "metrics_generator.processor.service_graphs.dimensions",
        "graph_dimension",
        Form::Texts,
        &[],
    )
    .metrics("metrics_generator.processor.service_graphs.dimensions", |metrics, value| {
        metrics.service_graphs.dimensions = value.list();
    }),
    of_ingest(
        "metrics_generator.processor.service_graphs.enable_client_server_prefix",
        "graph_dimensions_by_side",
        Form::Flag,
        &["false"],
    )
    .metrics(
        "metrics_generator.processor.service_graphs.enable_client_server_prefix",
        |metrics, value| metrics.service_graphs.enable_client_server_prefix = value.flag(),
    ),
    of_ingest(
        "metrics_generator.processor.service_graphs.enable_virtual_node_label",
        "graph_virtual_node_label",
        Form::Flag,
        &["false"],
    )
    .metrics(
        "metrics_generator.processor.service_graphs.enable_virtual_node_label",
        |metrics, value| metrics.service_graphs.enable_virtual_node_label = value.flag(),
    ),
    of_ingest(
        "metrics_generator.processor.service_graphs.enable_messaging_system_latency_histogram",
        "graph_messaging_latency",
        Form::Flag,
        &["false"],
    )
    .metrics(
        "metrics_generator.processor.service_graphs.enable_messaging_system_latency_histogram",
        |metrics, value| {
            metrics.service_graphs.enable_messaging_system_latency_histogram = value.flag();
        },
    ),
    of_ingest(
        "metrics_generator.processor.span_metrics.histogram_buckets",
        "span_buckets",
        Form::Numbers,
        &[
            "0.002", "0.004", "0.008", "0.016", "0.032", "0.064", "0.128", "0.256", "0.512",
            "1.024", "2.048", "4.096", "8.192", "16.384",
        ],
    )
    .metrics("metrics_generator.processor.span_metrics.histogram_buckets", |metrics, value| {
        metrics.span_metrics.histogram_buckets = value.numbers();
    }),
    unsaid(
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.service",
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.service",
        Form::Flag,
        &["true"],
        |metrics, value| metrics.span_metrics.intrinsics.service = value.flag(),
        "Whether span metrics have the label `service`",
    )
    .said_by(&["span_intrinsics"]),
    unsaid(
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.span_name",
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.span_name",
        Form::Flag,
        &["true"],
        |metrics, value| metrics.span_metrics.intrinsics.span_name = value.flag(),
        "Whether span metrics have the label `span_name`",
    )
    .said_by(&["span_intrinsics"]),
    unsaid(
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.span_kind",
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.span_kind",
        Form::Flag,
        &["true"],
        |metrics, value| metrics.span_metrics.intrinsics.span_kind = value.flag(),
        "Whether span metrics have the label `span_kind`",
    )
    .said_by(&["span_intrinsics"]),
    unsaid(
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.status_code",
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.status_code",
        Form::Flag,
        &["true"],
        |metrics, value| metrics.span_metrics.intrinsics.status_code = value.flag(),
        "Whether span metrics have the label `status_code`",
    )
    .said_by(&["span_intrinsics"]),
    unsaid(
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.status_message",
        "metrics_generator.processor.span_metrics.intrinsic_dimensions.status_message",
        Form::Flag,
        &["false"],
        |metrics, value| metrics.span_metrics.intrinsics.status_message = value.flag(),
        "Whether span metrics have the label `status_message`",
    )
    .said_by(&["span_intrinsics"]),
    of_ingest("metrics_generator.processor.span_metrics.dimensions", "span_dimension", Form::Texts, &[])
        .metrics("metrics_generator.processor.span_metrics.dimensions", |metrics, value| {
            metrics.span_metrics.dimensions = value.list();
        }),
    unsaid(
        "metrics_generator.processor.span_metrics.dimension_mappings",
        "metrics_generator.processor.span_metrics.dimension_mappings",
        Form::Mappings,
        &[],
        |metrics, value| {
            if let Value::Mappings(mappings) = value {
                metrics.span_metrics.dimension_mappings = mappings;
            }
        },
        "Labels made of several attributes: name, source_labels and join of each",
    )
    .said_by(&["span_dimension_mapping"]),
    unsaid(
        "metrics_generator.processor.span_metrics.filter_policies",
        "metrics_generator.processor.span_metrics.filter_policies",
        Form::Policies,
        &[],
        |metrics, value| {
            if let Value::Policies(policies) = value {
                metrics.span_metrics.filter_policies = policies;
            }
        },
        "Which spans count: include, include_any and exclude of each, with match_type and attributes",
    )
    .said_by(&["span_include", "span_include_any", "span_exclude"]),
    of_ingest(
        "metrics_generator.processor.span_metrics.enable_target_info",
        "target_info",
        Form::Flag,
        &["false"],
    )
    .metrics(
        "metrics_generator.processor.span_metrics.enable_target_info",
        |metrics, value| {
            metrics.span_metrics.enable_target_info = value.flag();
        },
    ),
    unsaid(
        "metrics_generator.processor.span_metrics.enable_instance_label",
        "metrics_generator.processor.span_metrics.enable_instance_label",
        Form::Flag,
        &["true"],
        |metrics, value| metrics.span_metrics.enable_instance_label = value.flag(),
        "With enable_target_info: whether there is the label `instance`",
    )
    .said_by(&["no_instance_label"]),
    unsaid(
        "metrics_generator.processor.span_metrics.target_info_excluded_dimensions",
        "metrics_generator.processor.span_metrics.target_info_excluded_dimensions",
        Form::Texts,
        &[],
        |metrics, value| metrics.span_metrics.target_info_excluded_dimensions = value.list(),
        "Resource attributes that are no labels of traces_target_info",
    )
    .said_by(&["target_info_exclude"]),
    of_ingest(
        "metrics_generator.processor.span_metrics.span_multiplier_key",
        "span_multiplier_key",
        Form::Text,
        &[],
    )
    .metrics(
        "metrics_generator.processor.span_metrics.span_multiplier_key",
        |metrics, value| {
            metrics.span_metrics.span_multiplier_key =
                Some(value.text()).filter(|key| !key.is_empty());
        },
    ),
    unsaid(
        "metrics_generator.processor.span_metrics.enable_tracestate_span_multiplier",
        "metrics_generator.processor.span_metrics.enable_tracestate_span_multiplier",
        Form::Flag,
        &["false"],
        |metrics, value| metrics.span_metrics.enable_tracestate_span_multiplier = value.flag(),
        "Take the sampling ratio of a span from `ot=th:` of its trace state, if it is there",
    )
    .said_by(&["span_tracestate_multiplier"]),
    unsaid(
        "metrics_generator.processor.host_info.host_identifiers",
        "metrics_generator.processor.host_info.host_identifiers",
        Form::Texts,
        &["k8s.node.name", "host.id"],
        |metrics, value| metrics.host_identifiers = value.list(),
        "Resource attributes that name a host; the first that is there counts",
    )
    .said_by(&["host_identifiers"]),
    of_ingest(
        "metrics_generator.registry.collection_interval",
        "metrics_interval",
        Form::Duration,
        &["15s"],
    ),
    Setting::alone(
        "metrics_generator.registry.stale_duration",
        Form::Duration,
        &["15m"],
        Sets::Generator(|generator, value| generator.stale_after = value.duration()),
        "A series that has had no span for this long is dropped",
    )
    .role(Role::Ingest),
    of_ingest("metrics_generator.registry.external_labels", "external_label", Form::Labels, &[]),
    Setting::alone(
        "metrics_generator.storage.remote_write",
        Form::RemoteWrite,
        &[],
        Sets::Receivers,
        "Receivers of Prometheus' remote write: url, headers, remote_timeout and send_exemplars of \
         each; --remote-write and --remote-write-header take the place of all",
    )
    .role(Role::Ingest),
    of_ingest(
        "metrics_generator.metrics_ingestion_time_range_slack",
        "metrics_slack",
        Form::Duration,
        &["30s"],
    )
    .metrics("metrics_generator.ingestion_time_range_slack", |metrics, value| {
        metrics.time_range_slack = value.duration();
    }),
];

pub(super) const OVERRIDES: &[Setting] = &[
    of_ingest(
        "overrides.defaults.metrics_generator.processors",
        "metrics_processors",
        Form::Choices(&Processors::NAMES),
        &[],
    )
    .metrics("metrics_generator.processors", |metrics, value| {
        metrics.processors = Processors::default();
        for name in value.list() {
            // Its form has refused what is none.
            let _known = metrics.processors.enable(&name);
        }
    }),
    of_ingest(
        "overrides.defaults.metrics_generator.generate_native_histograms",
        "histograms",
        Form::Choice(&["classic", "native", "both"]),
        &["classic"],
    )
    .metrics("metrics_generator.generate_native_histograms", |metrics, value| {
        metrics.histograms = match value.text().as_str() {
            "native" => Histograms::Native,
            "both" => Histograms::Both,
            _ => Histograms::Classic,
        };
    }),
    of_ingest(
        "overrides.defaults.metrics_generator.max_active_series",
        "max_active_series",
        Form::Count,
        &["0"],
    )
    .metrics("metrics_generator.max_active_series", |metrics, value| {
        metrics.limits.max_active_series = value.size();
    }),
    of_ingest(
        "overrides.defaults.metrics_generator.max_active_entities",
        "max_active_entities",
        Form::Count,
        &["0"],
    )
    .metrics("metrics_generator.max_active_entities", |metrics, value| {
        metrics.limits.max_active_entities = value.size();
    }),
    of_ingest(
        "overrides.defaults.metrics_generator.max_cardinality_per_label",
        "max_label_values",
        Form::Count,
        &["0"],
    )
    .metrics("metrics_generator.max_cardinality_per_label", |metrics, value| {
        metrics.limits.max_cardinality_per_label = value.size();
    }),
    unsaid(
        "overrides.defaults.metrics_generator.trace_id_label_name",
        "metrics_generator.trace_id_label_name",
        Form::Text,
        &["traceID"],
        |metrics, value| metrics.trace_id_label = value.text(),
        "Label of an exemplar that holds the trace id",
    )
    .said_by(&["trace_id_label"]),
    of_ingest(
        "overrides.defaults.metrics_generator.disable_collection",
        "metrics_dry_run",
        Form::Flag,
        &["false"],
    )
    .metrics("metrics_generator.disable_collection", |metrics, value| {
        metrics.is_dry_run = value.flag();
    }),
];
