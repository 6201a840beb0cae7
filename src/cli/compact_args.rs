//! The arguments of `compact` as clap sees them. As in [`crate::args`], nothing here is acted on.

use clap::Args;

use crate::args::{OutputArgs, SourceArgs};

const COMPACTION: &str = "Compaction";
const RETENTION: &str = "Retention";

pub(crate) const COMPACT_HELP: &str = "\
Examples:
  traceql compact --source s3://traces/tempo --once --dry-run
  traceql compact --source ./bucket --retention 14d

Several of these may work on one bucket; beside a Tempo that compacts the same tenant, one of the two
should be told not to.";

#[derive(Args, Debug)]
pub(crate) struct CompactArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Do one round over the tenants and end; without, go on until interrupted
    #[arg(long)]
    pub(crate) once: bool,
    /// Only print what there is to do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Time between two rounds [default: 30s]
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["once", "dry_run"])]
    pub(crate) interval: Option<String>,
    /// Write the indexes of tenants that have none; those that are there are always brought up to date
    #[arg(long)]
    pub(crate) tenant_index: bool,
    /// No other compactor works on the bucket: take no leases. For stores without conditional writes
    #[arg(long)]
    pub(crate) alone: bool,
    #[command(flatten)]
    pub(crate) compaction: CompactionArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which blocks are put together.
#[derive(Args, Debug)]
pub(crate) struct CompactionArgs {
    /// Put no blocks together
    #[arg(help_heading = COMPACTION, long)]
    pub(crate) no_compaction: bool,
    /// Length of the windows of time within which blocks are put together [default: 1h]
    #[arg(help_heading = COMPACTION, long, value_name = "DURATION")]
    pub(crate) window: Option<String>,
    /// Fewest blocks worth it
    #[arg(help_heading = COMPACTION, long, default_value_t = 2, value_name = "N")]
    pub(crate) min_blocks: usize,
    /// Most blocks at once
    #[arg(help_heading = COMPACTION, long, default_value_t = 4, value_name = "N")]
    pub(crate) max_blocks: usize,
    /// Leave blocks alone from this compaction level on [default: none]
    #[arg(help_heading = COMPACTION, long, value_name = "N")]
    pub(crate) max_level: Option<u32>,
    /// Most traces of blocks that are put together
    #[arg(help_heading = COMPACTION, long, default_value_t = 6_000_000, value_name = "N")]
    pub(crate) max_block_traces: u64,
    /// Largest size of blocks that are put together [default: 100GiB]
    #[arg(help_heading = COMPACTION, long, value_name = "SIZE")]
    pub(crate) max_block_size: Option<String>,
    /// Size of a row group, not compressed [default: 100MB]
    #[arg(help_heading = COMPACTION, long, value_name = "SIZE")]
    pub(crate) row_group_size: Option<String>,
}

/// How long blocks are kept.
#[derive(Args, Debug)]
pub(crate) struct RetentionArgs {
    /// Give up blocks that end longer ago than this: 14d [default: keep them for ever]
    #[arg(help_heading = RETENTION, long, value_name = "DURATION")]
    pub(crate) retention: Option<String>,
    /// What holds for one tenant instead: acme=30d; 0 keeps for ever; several times
    #[arg(help_heading = RETENTION, long, value_name = "TENANT=DURATION")]
    pub(crate) tenant_retention: Vec<String>,
    /// Delete blocks that were given up or replaced after this long [default: 1h]
    #[arg(help_heading = RETENTION, long, value_name = "DURATION")]
    pub(crate) grace: Option<String>,
}
