//! Settings of the bucket: where it is, how it is reached, how blocks are written.

use traceql_blocks::bucket::meta::FormatVersion;
use traceql_blocks::write::block::default_dedicated_columns;

use super::super::setting::{Sets, Setting};
use super::super::value::{Form, Value};
use crate::role_args::Role;

const fn part(path: &'static str, form: Form, meaning: &'static str) -> Setting {
    Setting::alone(path, form, &[], Sets::Source, meaning)
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting::argument("storage.trace.source", "source", Form::Text, &[]),
    part(
        "storage.trace.backend",
        Form::Choice(&["local", "s3", "gcs", "azure"]),
        "Which of the following says where the bucket is, in place of `source`",
    ),
    part("storage.trace.local.path", Form::Text, "Folder of the backend `local`"),
    part("storage.trace.s3.bucket", Form::Text, "Bucket of the backend `s3`"),
    part("storage.trace.s3.prefix", Form::Text, "Prefix in the bucket"),
    Setting::argument("storage.trace.s3.endpoint", "s3_endpoint", Form::Text, &[]),
    part("storage.trace.s3.insecure", Form::Flag, "Talk to the endpoint without TLS"),
    Setting::argument("storage.trace.s3.region", "s3_region", Form::Text, &[]),
    Setting::argument("storage.trace.s3.access_key", "s3_access_key_id", Form::Secret, &[]),
    Setting::argument("storage.trace.s3.secret_key", "s3_secret_access_key", Form::Secret, &[]),
    Setting::argument("storage.trace.s3.session_token", "s3_session_token", Form::Secret, &[]),
    Setting::argument("storage.trace.s3.profile", "s3_profile", Form::Text, &[]),
    Setting::argument(
        "storage.trace.s3.virtual_hosted",
        "s3_virtual_hosted",
        Form::Flag,
        &["false"],
    ),
    part("storage.trace.gcs.bucket_name", Form::Text, "Bucket of the backend `gcs`"),
    part("storage.trace.gcs.prefix", Form::Text, "Prefix in the bucket"),
    Setting::argument("storage.trace.gcs.service_account", "gcs_service_account", Form::Text, &[]),
    part("storage.trace.azure.container_name", Form::Text, "Container of the backend `azure`"),
    part("storage.trace.azure.prefix", Form::Text, "Prefix in the container"),
    Setting::argument("storage.trace.azure.storage_account_name", "azure_account", Form::Text, &[]),
    Setting::argument("storage.trace.azure.storage_account_key", "azure_key", Form::Secret, &[]),
    Setting::argument("storage.trace.azure.endpoint", "azure_endpoint", Form::Text, &[]),
    Setting::argument("storage.trace.unsigned", "unsigned", Form::Flag, &["false"]),
    Setting::argument("storage.trace.allow_http", "allow_http", Form::Flag, &["false"]),
    Setting::argument("storage.trace.request_timeout", "request_timeout", Form::Duration, &["30s"]),
    Setting::argument("storage.trace.blocklist_poll", "poll", Form::Duration, &["1m"])
        .role(Role::Query),
    Setting::argument("storage.trace.wal.path", "wal", Form::Text, &[]).role(Role::Ingest),
    Setting::alone(
        "storage.trace.block.version",
        Form::Choice(&["vParquet5", "vParquet4"]),
        &["vParquet5"],
        Sets::Block(|block, value| {
            block.version = match value.text().as_str() {
                "vParquet4" => FormatVersion::VParquet4,
                _ => FormatVersion::VParquet5,
            };
            block.dedicated_columns = default_dedicated_columns(block.version);
        }),
        "Format of blocks of received traces; a compacted block has that of its inputs",
    )
    .said_by(&["block_format"])
    .role(Role::Ingest),
    Setting::alone(
        "storage.trace.block.parquet_dedicated_columns",
        Form::Columns,
        &[],
        Sets::Block(|block, value| {
            if let Value::Columns(columns) = value {
                block.dedicated_columns = columns;
            }
        }),
        "Attributes that get a column of their own: scope, name, type and options of each \
         [default: Tempo's]",
    )
    .role(Role::Ingest),
    Setting::alone(
        "storage.trace.block.bloom_filter_false_positive",
        Form::Share,
        &["0.01"],
        Sets::Block(|block, value| block.bloom.false_positive_rate = value.number()),
        "Share of foreign trace ids that the bloom filter of a block may wrongly claim",
    )
    .role(Role::Ingest),
    Setting::alone(
        "storage.trace.block.bloom_filter_shard_size_bytes",
        Form::Size,
        &["102400"],
        Sets::Block(|block, value| {
            block.bloom.shard_bytes = u32::try_from(value.count()).unwrap_or(u32::MAX);
        }),
        "Size of one shard of a bloom filter",
    )
    .role(Role::Ingest),
    Setting::argument(
        "storage.trace.block.parquet_row_group_size_bytes",
        "row_group_size",
        Form::Size,
        &["100MB"],
    ),
];
