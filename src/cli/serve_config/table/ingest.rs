//! Settings of what is taken in: receivers, limits, when traces become blocks.

use super::super::setting::{Sets, Setting};
use super::super::value::Form;
use super::of_ingest;
use crate::role_args::Role;

pub(super) const SETTINGS: &[Setting] = &[
    of_ingest(
        "distributor.receivers.otlp.protocols.grpc.endpoint",
        "otlp_grpc",
        Form::Address,
        &[],
    ),
    of_ingest(
        "distributor.receivers.otlp.protocols.http.endpoint",
        "otlp_http",
        Form::Address,
        &[],
    ),
    of_ingest("distributor.receivers.zipkin.endpoint", "zipkin", Form::Address, &[]),
    of_ingest(
        "distributor.receivers.jaeger.protocols.thrift_http.endpoint",
        "jaeger_http",
        Form::Address,
        &[],
    ),
    of_ingest(
        "distributor.receivers.jaeger.protocols.grpc.endpoint",
        "jaeger_grpc",
        Form::Address,
        &[],
    ),
    of_ingest("distributor.max_attribute_bytes", "max_attribute_bytes", Form::Count, &["2048"])
        .limit("ingestion.max_attribute_bytes", |tenant, value| {
            tenant.attribute_bytes = Some(value.size());
        }),
    Setting::alone(
        "distributor.retry_after_on_resource_exhausted",
        Form::Duration,
        &["5s"],
        Sets::Ingest(|limits, value| limits.retry_after = value.duration()),
        "When to come again, for a sender that is told to wait",
    )
    .role(Role::Ingest),
    of_ingest("live_store.max_trace_idle", "trace_idle", Form::Duration, &["5s"]),
    of_ingest("live_store.max_trace_live", "trace_age", Form::Duration, &["30s"]),
    of_ingest("live_store.max_block_duration", "block_age", Form::Duration, &["30s"]),
    of_ingest("live_store.max_block_bytes", "block_size", Form::SizeOrNone, &["50MB"]),
    of_ingest("live_store.max_live_traces_bytes", "max_live_size", Form::SizeOrNone, &["250MB"]),
];

pub(super) const OVERRIDES: &[Setting] = &[
    of_ingest(
        "overrides.defaults.ingestion.rate_limit_bytes",
        "ingest_rate",
        Form::SizeOrNone,
        &["30MB"],
    )
    .limit("ingestion.rate_limit_bytes", |tenant, value| tenant.rate_bytes = Some(value.count())),
    of_ingest(
        "overrides.defaults.ingestion.burst_size_bytes",
        "ingest_burst",
        Form::SizeOrNone,
        &["30MB"],
    )
    .limit("ingestion.burst_size_bytes", |tenant, value| tenant.burst_bytes = Some(value.count())),
    of_ingest(
        "overrides.defaults.ingestion.max_traces_per_user",
        "max_live_traces",
        Form::Count,
        &["10000"],
    )
    .limit("ingestion.max_traces_per_user", |tenant, value| {
        tenant.live_traces = Some(value.size());
    }),
    of_ingest(
        "overrides.defaults.global.max_bytes_per_trace",
        "max_trace_size",
        Form::SizeOrNone,
        &["5MB"],
    )
    .limit("global.max_bytes_per_trace", |tenant, value| tenant.trace_bytes = Some(value.count())),
];
