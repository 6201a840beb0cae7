//! Settings of Tempo that this server does not have: those that mean nothing here are passed over with a
//! warning, those that ask for something it does not do are refused, unless they only say that it shall
//! not be done.

use crate::document::{Content, Node};

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing here has this to set; answers are the same without.
    Meaningless,
    /// It asks for what is not done here.
    Missing,
    /// It has another name here.
    Elsewhere,
}

/// A setting or a section of Tempo, and what to say of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign {
    /// Its place; of the last name there may be several, with `|` between.
    pub(crate) path: &'static str,
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) why: &'static str,
}

const fn meaningless(path: &'static str, why: &'static str) -> Foreign {
    Foreign { path, verdict: Verdict::Meaningless, why }
}

const fn missing(path: &'static str, why: &'static str) -> Foreign {
    Foreign { path, verdict: Verdict::Missing, why }
}

const fn elsewhere(path: &'static str, why: &'static str) -> Foreign {
    Foreign { path, verdict: Verdict::Elsewhere, why }
}

const NO_RING: &str = "processes share the bucket and nothing else, there is no ring";
const NO_PARTS: &str = "queries run in the process that is asked, there are no parts to connect";
const NO_KAFKA: &str = "what is taken in goes to the write-ahead log of the process";
const NO_CACHE: &str = "caches are in memory, and answers do not depend on them";
const NO_TLS: &str = "there is no TLS; put a proxy before the server";
const NO_OTHER_RECEIVER: &str =
    "traces are taken in over OTLP, Zipkin and Jaeger: `distributor.receivers.otlp`";
const NO_POLLING: &str = "block lists are read by each process itself, every `blocklist_poll`";
const STORE_TUNING: &str = "requests to the store are retried and sized by the store's client";

/// The first that matches counts.
pub(crate) const FOREIGN: &[Foreign] = &[
    elsewhere("target", "what a process does is said by `roles`: ingest, query, compact"),
    elsewhere("ingester", "this is of Tempo 2; when traces are cut is said by `live_store`"),
    elsewhere(
        "compactor",
        "this is of Tempo 2; `backend_scheduler.provider.compaction` says it now",
    ),
    missing("http_api_prefix", "paths have no prefix; a proxy can take one off"),
    meaningless("stream_over_http_enabled", "the port of HTTP always takes gRPC"),
    meaningless("memory", "the memory of queries is `query_frontend.query_memory_bytes`"),
    missing("server.http_tls_config", NO_TLS),
    missing("server.grpc_tls_config", NO_TLS),
    missing("server.tls_cipher_suites", NO_TLS),
    missing("server.tls_min_version", NO_TLS),
    missing("server.http_path_prefix", "paths have no prefix; a proxy can take one off"),
    missing("server.proxy_protocol_enabled", "the PROXY protocol is not spoken"),
    missing("server.http_listen_conn_limit", "connections are not bounded in number"),
    missing("server.grpc_listen_conn_limit", "connections are not bounded in number"),
    missing("server.cluster_validation", "requests carry no label of a cluster"),
    meaningless("server.log_level", "errors are said, and requests by `server.log_requests`"),
    meaningless("server.log_format", "lines of the log are plain text"),
    meaningless(
        "server.http_listen_network|grpc_listen_network|\
         grpc_collect_max_streams_by_conn|register_instrumentation|\
         report_grpc_codes_in_instrumentation_label_enabled|\
         http_server_read_header_timeout|http_server_write_timeout|\
         http_log_closed_connections_without_response_enabled|\
         grpc_server_max_recv_msg_size|grpc_server_max_send_msg_size|\
         grpc_server_max_concurrent_streams|grpc_server_max_connection_idle|\
         grpc_server_max_connection_age|grpc_server_max_connection_age_grace|\
         grpc_server_keepalive_time|grpc_server_keepalive_timeout|\
         grpc_server_min_time_between_pings|grpc_server_ping_without_stream_allowed|\
         grpc_server_num_workers|grpc_server_stats_tracking_enabled|\
         grpc_server_recv_buffer_pools_enabled|grpc_server_read_buffer_size|\
         grpc_server_write_buffer_size|log_source_ips_enabled|log_source_ips_full|\
         log_source_ips_header|log_source_ips_regex|log_request_headers|\
         log_request_at_info_level_enabled|log_request_exclude_headers_list|\
         trace_request_headers|trace_request_exclude_headers_list|create_new_traces|\
         log_source_ips",
        "connections need no such setting here",
    ),
    missing("internal_server.enable", "there is one server"),
    meaningless("internal_server", "there is one server"),
    missing("distributor.receivers.otlp.protocols.grpc.tls", NO_TLS),
    missing("distributor.receivers.otlp.protocols.http.tls", NO_TLS),
    missing("distributor.receivers.otlp.protocols.http.cors", "browsers are not let in (CORS)"),
    missing("distributor.receivers.otlp.protocols.grpc.auth", "senders are not asked who they are"),
    missing("distributor.receivers.otlp.protocols.http.auth", "senders are not asked who they are"),
    meaningless(
        "distributor.receivers.otlp.protocols.grpc.transport|max_recv_msg_size_mib|\
         max_concurrent_streams|read_buffer_size|write_buffer_size|keepalive|\
         include_metadata",
        "the receiver needs no such setting here",
    ),
    missing(
        "distributor.receivers.otlp.protocols.http.traces_url_path",
        "traces are taken in at /v1/traces; a proxy can send other paths there",
    ),
    meaningless(
        "distributor.receivers.otlp.protocols.http.max_request_body_size|\
         include_metadata|response_headers|\
         compression_algorithms|read_timeout|read_header_timeout|write_timeout|\
         idle_timeout",
        "the receiver needs no such setting here",
    ),
    missing("distributor.receivers.kafka|opencensus", NO_OTHER_RECEIVER),
    missing(
        "distributor.receivers.jaeger.protocols.thrift_binary|thrift_compact",
        "spans of Jaeger are not taken over UDP",
    ),
    missing("distributor.forwarders", "received spans are not forwarded"),
    missing("distributor.usage.cost_attribution", "costs are not attributed"),
    meaningless("distributor.ring", NO_RING),
    meaningless("distributor.kafka_config", NO_KAFKA),
    meaningless("distributor.override_ring_key", "receiving needs no such setting here"),
    meaningless("ingest", NO_KAFKA),
    meaningless("block_builder", NO_KAFKA),
    meaningless("live_store.ring", NO_RING),
    meaningless("live_store.partition_ring", NO_RING),
    meaningless("live_store.wal", "the log of a process lies in `storage.trace.wal.path`"),
    meaningless(
        "live_store.metrics|commit_interval|query_block_concurrency|\
         complete_block_timeout|complete_block_concurrency|block_reclaim_grace|\
         shutdown_marker_dir|flush_check_period|flush_op_timeout|readiness_target_lag|\
         readiness_max_wait|fail_on_high_lag|remove_owner_on_shutdown",
        "holding live traces needs no such setting here",
    ),
    meaningless("live_store_client", NO_PARTS),
    missing("querier.trace_by_id.external.endpoint", "no other store is asked for traces"),
    elsewhere(
        "querier.search.query_timeout",
        "the time of a query is `query_frontend.api_timeout`",
    ),
    elsewhere(
        "querier.trace_by_id.query_timeout",
        "the time of a query is `query_frontend.api_timeout`",
    ),
    elsewhere(
        "querier.max_concurrent_queries",
        "how many queries run is `query_frontend.concurrent_queries`",
    ),
    meaningless("querier", NO_PARTS),
    missing("query_frontend.mcp_server.enabled", "there is no MCP server"),
    meaningless("query_frontend.mcp_server", "there is no MCP server"),
    missing("query_frontend.url_deny_list", "no path is denied"),
    meaningless("query_frontend.multi_tenant_queries_enabled", "they always are"),
    elsewhere(
        "query_frontend.query_end_cutoff",
        "`query_frontend.metrics.query_end_cutoff` and `query_frontend.search.query_end_cutoff` \
         say it apart",
    ),
    meaningless(
        "query_frontend.search.concurrent_jobs|target_bytes_per_job|\
         query_backend_after|ingester_shards|most_recent_shards",
        NO_PARTS,
    ),
    meaningless(
        "query_frontend.metrics.concurrent_jobs|target_bytes_per_job|\
         query_backend_after|interval|streaming_shards",
        NO_PARTS,
    ),
    meaningless("query_frontend.trace_by_id", NO_PARTS),
    meaningless(
        "query_frontend.max_batch_size|log_query_request_headers|max_retries|\
         response_consumers|weights|max_grpc_streaming_packet_size",
        NO_PARTS,
    ),
    meaningless(
        "query_frontend.max_query_expression_size_bytes",
        "queries of more than 128 KiB are refused, which is Tempo's default",
    ),
    meaningless("metrics_generator.ring", NO_RING),
    meaningless("metrics_generator.storage.path", "series that wait to be sent wait in memory"),
    meaningless("metrics_generator.storage.wal", "series that wait to be sent wait in memory"),
    meaningless(
        "metrics_generator.storage.remote_write_add_org_id_header",
        "X-Scope-OrgID is sent whenever there are several tenants",
    ),
    missing(
        "metrics_generator.processor.service_graphs.filter_policies",
        "every span counts in the service graph",
    ),
    missing(
        "metrics_generator.processor.service_graphs.span_multiplier_key",
        "requests of the service graph count once",
    ),
    missing(
        "metrics_generator.processor.service_graphs.enable_tracestate_span_multiplier",
        "requests of the service graph count once",
    ),
    missing(
        "metrics_generator.processor.service_graphs.dimension_mappings",
        "labels of the service graph are single attributes",
    ),
    missing(
        "metrics_generator.processor.host_info.metric_name",
        "the metric is called traces_host_info",
    ),
    elsewhere(
        "metrics_generator.processor.span_metrics.subprocessors",
        "parts are switched on by name, in `overrides.defaults.metrics_generator.processors`",
    ),
    meaningless(
        "metrics_generator.processor.service_graphs.workers",
        "the thread that receives counts",
    ),
    meaningless(
        "metrics_generator.registry.max_label_name_length|max_label_value_length",
        "labels are cut at Prometheus' own lengths",
    ),
    meaningless(
        "metrics_generator.storage.remote_write_flush_deadline",
        "sending needs no such setting here",
    ),
    meaningless(
        "metrics_generator.override_ring_key|ring_mode|codec|limiter_type|\
         ingest_concurrency|leave_consumer_group_on_shutdown",
        "the generator runs where spans are taken in",
    ),
    meaningless("storage.trace.pool", NO_PARTS),
    meaningless("storage.trace.search", "pages are read as they are needed"),
    meaningless("storage.trace.cache", NO_CACHE),
    meaningless("storage.trace.background_cache", NO_CACHE),
    meaningless("storage.trace.memcached", NO_CACHE),
    meaningless("storage.trace.redis", NO_CACHE),
    meaningless("storage.trace.cache_min_compaction_level", NO_CACHE),
    meaningless("storage.trace.cache_max_block_age", NO_CACHE),
    missing("storage.trace.empty_tenant_deletion_enabled", "folders of tenants are never removed"),
    meaningless("storage.trace.empty_tenant_deletion_age", "folders of tenants are never removed"),
    meaningless(
        "storage.trace.wal.ingestion_time_range_slack",
        "times of spans are taken as they are, and the log has one format",
    ),
    missing("storage.trace.s3.sse", "objects are encrypted as the bucket says"),
    missing("storage.trace.s3.tags", "objects get no tags"),
    missing("storage.trace.s3.metadata", "objects get no metadata"),
    missing("storage.trace.s3.storage_class", "objects are of the bucket's storage class"),
    missing("storage.trace.s3.signature_v2", "requests are signed with version 4"),
    missing("storage.trace.s3.tls_insecure_skip_verify", "certificates are always checked"),
    missing("storage.trace.s3.tls_cert_path", "there is no certificate for clients"),
    missing("storage.trace.s3.tls_ca_path", "certificates are checked by those of the system"),
    missing("storage.trace.s3.enable_dual_stack", "name the endpoint instead"),
    elsewhere(
        "storage.trace.s3.bucket_lookup_type",
        "`storage.trace.s3.virtual_hosted` says how buckets are addressed",
    ),
    meaningless(
        "storage.trace.s3.forcepathstyle",
        "buckets are part of the path unless `storage.trace.s3.virtual_hosted` is true",
    ),
    meaningless(
        "storage.trace.s3.tls_key_path|tls_server_name|tls_cipher_suites|\
         tls_min_version|part_size|hedge_requests_at|hedge_requests_up_to|\
         retry_max_attempts|retry_backoff_initial|retry_backoff_max|\
         native_aws_auth_enabled|list_blocks_concurrency",
        STORE_TUNING,
    ),
    missing("storage.trace.gcs.endpoint", "the backend `gcs` is Google's own"),
    missing("storage.trace.gcs.insecure", "the backend `gcs` is Google's own"),
    missing("storage.trace.gcs.object_metadata", "objects get no metadata"),
    meaningless(
        "storage.trace.gcs.chunk_buffer_size|hedge_requests_at|hedge_requests_up_to|\
         object_cache_control|list_blocks_concurrency|max_retries",
        STORE_TUNING,
    ),
    meaningless(
        "storage.trace.azure.use_managed_identity",
        "credentials that the environment has are found by themselves",
    ),
    meaningless(
        "storage.trace.azure.use_federated_token",
        "credentials that the environment has are found by themselves",
    ),
    elsewhere("storage.trace.azure.user_assigned_id", "set AZURE_CLIENT_ID in the environment"),
    meaningless(
        "storage.trace.azure.endpoint_suffix",
        "`storage.trace.azure.endpoint` names another server",
    ),
    meaningless(
        "storage.trace.azure.max_buffers|buffer_size|hedge_requests_at|\
         hedge_requests_up_to",
        STORE_TUNING,
    ),
    meaningless(
        "storage.trace.blocklist_poll_concurrency|blocklist_poll_tenant_concurrency|\
         blocklist_poll_fallback|blocklist_poll_tenant_index_builders|\
         blocklist_poll_stale_tenant_index|blocklist_poll_jitter_ms|\
         blocklist_poll_tolerate_consecutive_errors|\
         blocklist_poll_tolerate_tenant_failures",
        NO_POLLING,
    ),
    missing("overrides.user_configurable_overrides.enabled", "tenants do not set their own"),
    meaningless("overrides.user_configurable_overrides", "tenants do not set their own"),
    missing("overrides.enable_legacy_overrides", "the flat form of Tempo 2.2 is not read"),
    missing("overrides.defaults.cost_attribution", "costs are not attributed"),
    missing("overrides.defaults.forwarders", "received spans are not forwarded"),
    meaningless("overrides.defaults.ingestion.tenant_shard_size", NO_RING),
    missing(
        "overrides.defaults.ingestion.artificial_delay",
        "answers to senders are never delayed on purpose",
    ),
    meaningless(
        "overrides.defaults.ingestion.rate_strategy",
        "each process bounds what it takes in itself",
    ),
    meaningless("overrides.defaults.ingestion.retry_info_enabled", "senders are always told when"),
    meaningless(
        "overrides.defaults.ingestion.max_local_traces_per_user",
        "taking traces in needs no such setting here",
    ),
    meaningless(
        "overrides.defaults.read.max_bytes_per_tag_values_query",
        "answers are bounded by the memory of a query",
    ),
    meaningless(
        "overrides.defaults.read.max_condition_groups_per_tag_query|\
         max_blocks_per_tag_values_query|unsafe_query_hints|metrics_spanonly_fetch|\
         span_pruning_enabled|span_pruning_awareness|engine_bytes_tracking",
        "queries need no such setting here",
    ),
    missing(
        "overrides.defaults.storage.parquet_dedicated_columns",
        "columns are the same for all tenants: `storage.trace.block.parquet_dedicated_columns`",
    ),
    elsewhere(
        "overrides.defaults.metrics_generator.collection_interval",
        "series are collected at one time: `metrics_generator.registry.collection_interval`",
    ),
    missing(
        "overrides.defaults.metrics_generator.remote_write_headers",
        "headers are those of `metrics_generator.storage.remote_write`",
    ),
    missing(
        "overrides.defaults.metrics_generator.span_name_sanitization",
        "names of spans are not clustered",
    ),
    meaningless(
        "overrides.defaults.metrics_generator.native_histogram_bucket_factor|\
         native_histogram_max_bucket_number|native_histogram_min_reset_duration|\
         ring_size|forwarder",
        "the generator needs no such setting here",
    ),
    meaningless("memberlist", NO_RING),
    missing("usage_report.reporting_enabled", "nothing is ever reported"),
    meaningless("usage_report", "nothing is ever reported"),
    meaningless("cache", NO_CACHE),
    meaningless(
        "backend_scheduler.provider.retention",
        "what is too old is given up in every round of compaction",
    ),
    meaningless("backend_scheduler.provider.redaction", "`traceql export` leaves attributes out"),
    meaningless(
        "backend_scheduler.provider.compaction.compaction.retention_concurrency|\
         max_time_per_tenant",
        "a round goes over all tenants, one job at a time",
    ),
    meaningless(
        "backend_scheduler.provider.compaction.measure_interval|max_jobs_per_tenant|\
         min_cycle_interval",
        "a round goes over all tenants, one job at a time",
    ),
    meaningless(
        "backend_scheduler.work|maintenance_interval|backend_flush_interval|\
         job_timeout|local_work_path",
        "who plans compactions carries them out",
    ),
    meaningless("backend_scheduler_client", "who plans compactions carries them out"),
    meaningless(
        "backend_worker",
        "who plans compactions carries them out: `backend_scheduler.provider.compaction`",
    ),
];

/// What there is to say of a setting, if Tempo has it.
pub(crate) fn find(path: &str) -> Option<&'static Foreign> {
    FOREIGN.iter().find(|foreign| matches(foreign.path, path))
}

/// Whether a section holds settings of Tempo that this server lacks, one by one.
pub(crate) fn has_below(section: &str) -> bool {
    FOREIGN
        .iter()
        .any(|foreign| foreign.path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
}

/// Names that Tempo has in a section.
pub(crate) fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    let names = FOREIGN.iter().filter_map(move |foreign| {
        let rest = match section {
            "" => foreign.path,
            section => foreign.path.strip_prefix(section)?.strip_prefix('.')?,
        };
        rest.split('.').next()
    });
    names.flat_map(|names| names.split('|'))
}

fn matches(pattern: &str, path: &str) -> bool {
    let split = |path| -> (&str, &str) { str::rsplit_once(path, '.').unwrap_or(("", path)) };
    let ((section, names), (in_section, name)) = (split(pattern), split(path));
    section == in_section && names.split('|').any(|known| known == name)
}

/// Whether a value only says that something shall not be done.
pub(crate) fn is_off(node: &Node) -> bool {
    match &node.content {
        Content::Scalar { text, .. } => {
            node.is_nothing() || ["", "false", "0", "0s"].contains(&text.as_str())
        }
        Content::List(items) => items.is_empty(),
        Content::Map(entries) => entries.iter().all(|(_, value)| is_off(value)),
    }
}
