//! The settings of the server as one table, from which files are read, `/status/config` is written and
//! `src/server/configuration.md` is made; options that a file has in another form; and sections that
//! mean something without a setting in them.

mod compaction;
mod generator;
mod ingest;
mod query;
mod server;
mod storage;

use super::setting::Setting;
use super::value::Form;
use crate::role_args::Role;

/// Where overrides of tenants are read from.
const OVERRIDES_FILE: &[Setting] = &[
    Setting::argument("overrides.per_tenant_override_config", "overrides", Form::Text, &[]),
    Setting::argument(
        "overrides.per_tenant_override_period",
        "overrides_period",
        Form::Duration,
        &["10s"],
    ),
];

/// All of them, in the order they are shown; those of a section stand together.
pub(crate) const SETTINGS: [&[Setting]; 10] = [
    server::SETTINGS,
    storage::SETTINGS,
    ingest::SETTINGS,
    query::SETTINGS,
    generator::SETTINGS,
    compaction::SETTINGS,
    ingest::OVERRIDES,
    compaction::OVERRIDES,
    generator::OVERRIDES,
    OVERRIDES_FILE,
];

/// All of them.
pub(crate) fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.into_iter().flatten()
}

/// An option of `serve` that a file says otherwise, or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionAlone {
    /// Id of its argument.
    pub(crate) id: &'static str,
    pub(crate) role: Option<Role>,
    /// How a file says it.
    pub(crate) instead: &'static str,
}

const fn option(id: &'static str, role: Option<Role>, instead: &'static str) -> OptionAlone {
    OptionAlone { id, role, instead }
}

/// These options.
pub(crate) const OPTIONS: &[OptionAlone] = &[
    option("config_file", None, "names the file"),
    option("config_expand_env", None, "is about the file"),
    option("check_config", None, "is about the file"),
    option("list_settings", None, "prints this document"),
    option("compact", Some(Role::Compact), "`compact` among the `roles`"),
    option(
        "tenant_retention",
        Some(Role::Compact),
        "`compaction.block_retention` of a tenant in the file of overrides",
    ),
    option(
        "remote_write",
        Some(Role::Ingest),
        "`url` of a receiver in `metrics_generator.storage.remote_write`",
    ),
    option(
        "remote_write_header",
        Some(Role::Ingest),
        "`headers` of a receiver in `metrics_generator.storage.remote_write`",
    ),
    option("listen", None, "`server.http_listen_address` and `server.http_listen_port`"),
    option(
        "grpc_listen",
        Some(Role::Query),
        "`server.grpc_listen_address` and `server.grpc_listen_port`",
    ),
    option("block_format", Some(Role::Ingest), "`storage.trace.block.version`"),
    option(
        "span_include",
        Some(Role::Ingest),
        "`include` in `metrics_generator.processor.span_metrics.filter_policies`",
    ),
    option(
        "span_include_any",
        Some(Role::Ingest),
        "`include_any` in `metrics_generator.processor.span_metrics.filter_policies`",
    ),
    option(
        "span_exclude",
        Some(Role::Ingest),
        "`exclude` in `metrics_generator.processor.span_metrics.filter_policies`",
    ),
    option(
        "span_dimension_mapping",
        Some(Role::Ingest),
        "`metrics_generator.processor.span_metrics.dimension_mappings`",
    ),
    option(
        "span_intrinsics",
        Some(Role::Ingest),
        "`metrics_generator.processor.span_metrics.intrinsic_dimensions`",
    ),
    option(
        "span_tracestate_multiplier",
        Some(Role::Ingest),
        "`metrics_generator.processor.span_metrics.enable_tracestate_span_multiplier`",
    ),
    option(
        "target_info_exclude",
        Some(Role::Ingest),
        "`metrics_generator.processor.span_metrics.target_info_excluded_dimensions`",
    ),
    option(
        "no_instance_label",
        Some(Role::Ingest),
        "`metrics_generator.processor.span_metrics.enable_instance_label`",
    ),
    option(
        "graph_peer_attributes",
        Some(Role::Ingest),
        "`metrics_generator.processor.service_graphs.peer_attributes`",
    ),
    option(
        "graph_database_attributes",
        Some(Role::Ingest),
        "`metrics_generator.processor.service_graphs.database_name_attributes`",
    ),
    option(
        "host_identifiers",
        Some(Role::Ingest),
        "`metrics_generator.processor.host_info.host_identifiers`",
    ),
    option(
        "trace_id_label",
        Some(Role::Ingest),
        "`overrides.defaults.metrics_generator.trace_id_label_name`",
    ),
    option("trace_to", None, "`OTEL_EXPORTER_OTLP_ENDPOINT` of the environment"),
    option("trace_header", None, "`OTEL_EXPORTER_OTLP_HEADERS` of the environment"),
    option("crash_at", Some(Role::Ingest), "for tests alone"),
];

/// Sections that switch something on though nothing stands in them: Tempo's receivers listen on this
/// machine then.
pub(crate) const EMPTY_SECTIONS: &[(&str, &str, &str)] = &[
    (
        "distributor.receivers.otlp.protocols.grpc",
        "distributor.receivers.otlp.protocols.grpc.endpoint",
        "127.0.0.1:4317",
    ),
    (
        "distributor.receivers.otlp.protocols.http",
        "distributor.receivers.otlp.protocols.http.endpoint",
        "127.0.0.1:4318",
    ),
    ("distributor.receivers.zipkin", "distributor.receivers.zipkin.endpoint", "127.0.0.1:9411"),
    (
        "distributor.receivers.jaeger.protocols.thrift_http",
        "distributor.receivers.jaeger.protocols.thrift_http.endpoint",
        "127.0.0.1:14268",
    ),
    (
        "distributor.receivers.jaeger.protocols.grpc",
        "distributor.receivers.jaeger.protocols.grpc.endpoint",
        "127.0.0.1:14250",
    ),
];

/// The default of an option of whoever takes traces in.
const fn of_ingest(
    path: &'static str,
    id: &'static str,
    form: Form,
    default: &'static [&'static str],
) -> Setting {
    Setting::argument(path, id, form, default).role(Role::Ingest)
}
