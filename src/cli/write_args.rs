//! The arguments of `convert` and `export` as clap sees them. As in [`crate::args`], nothing here is
//! acted on.

use clap::{Args, ValueEnum};
use traceql_blocks::bucket::meta::FormatVersion;

use crate::args::{OutputArgs, QueryText, RunArgs, SourceArgs, TimeArgs};

const REDACTION: &str = "Redaction";

/// What new blocks are like.
#[derive(Args, Debug)]
pub(crate) struct NewBlockArgs {
    /// Tenant of the new blocks [default: the source's]
    #[arg(long, value_name = "TENANT")]
    pub(crate) out_tenant: Option<String>,
    /// Format of the new blocks
    #[arg(long, value_enum, default_value = "vparquet5", value_name = "FORMAT")]
    pub(crate) format: BlockFormat,
    /// An attribute to give a column: scope.key[:int][:blob][:array], several times; `none` for none
    /// [default: the columns of the source's blocks if they are of this format, or else Tempo's]
    #[arg(long = "dedicated-column", value_name = "ATTRIBUTE")]
    pub(crate) dedicated_columns: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) text: QueryText,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// What to export the traces as
    #[arg(long, short, value_enum, default_value = "otlp", value_name = "FORM")]
    pub(crate) output: ExportFormat,
    /// Where a block goes, a folder of tenants or s3://, gs://, az://; or the file of -o parquet
    #[arg(long, value_name = "URL", required_if_eq("output", "block"))]
    pub(crate) out: Option<String>,
    /// As Parquet: every span of the traces, with a column that tells which match
    #[arg(long)]
    pub(crate) all_spans: bool,
    #[command(flatten)]
    pub(crate) blocks: NewBlockArgs,
    /// Most traces; 0 is all
    #[arg(long, short, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    /// Leave out an attribute: scope.key, or .key of any scope; several times
    #[arg(help_heading = REDACTION, long, value_name = "ATTRIBUTE")]
    pub(crate) drop: Vec<String>,
    /// Replace the values of an attribute by hashes: scope.key, or .key of any scope; several times
    #[arg(help_heading = REDACTION, long, value_name = "ATTRIBUTE")]
    pub(crate) hash: Vec<String>,
    /// Secret under which values are hashed; equal values of exports with one secret stay equal
    /// [default: a new one every time]
    #[arg(help_heading = REDACTION, long, env = "TRACEQL_HASH_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub(crate) hash_secret: Option<String>,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Where the blocks go: a folder of tenants, or s3://, gs://, az://
    #[arg(long, value_name = "URL")]
    pub(crate) out: String,
    #[command(flatten)]
    pub(crate) blocks: NewBlockArgs,
    /// Size of a row group, not compressed [default: 100MB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) row_group_size: Option<String>,
    /// Size from which a block is ended and another begun [default: 100GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_block_size: Option<String>,
    /// Write the tenant's index too; one that is there is always brought up to date
    #[arg(long)]
    pub(crate) tenant_index: bool,
    /// Memory for an OTLP file, which is held whole: 256MiB, 1GB [default: 512MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Forms of exported traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// OTLP as JSON, one line a trace
    #[value(alias = "jsonl", alias = "ndjson")]
    Otlp,
    /// OTLP as protobuf, one message
    OtlpProto,
    /// A block, in the folder or bucket that --out names
    Block,
    /// A flat Parquet file, a row a span that matches
    Parquet,
}

/// Formats of blocks that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BlockFormat {
    /// What Tempo 3 writes
    Vparquet5,
    /// The format before it
    Vparquet4,
}

impl BlockFormat {
    /// As blocks say it.
    pub(crate) fn version(self) -> FormatVersion {
        match self {
            Self::Vparquet5 => FormatVersion::VParquet5,
            Self::Vparquet4 => FormatVersion::VParquet4,
        }
    }
}
