//! The arguments of `compact` as clap sees them, those that `serve` shares with it among them, and what
//! they mean to a compactor.

use std::collections::BTreeMap;

use clap::Args;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::compact::settings::{CompactSettings, CompactionSettings, RetentionSettings};

use crate::args::{OutputArgs, SourceArgs};
use crate::error::{Error, Result};
use crate::settings;

pub(crate) const COMPACTION: &str = "Compaction";
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
    /// Leave blocks alone from this compaction level on; 0 leaves none alone [default: 0]
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
    /// Give up blocks that end longer ago than this: 14d; 0 keeps them for ever [default: 0]
    #[arg(help_heading = RETENTION, long, value_name = "DURATION")]
    pub(crate) retention: Option<String>,
    /// What holds for one tenant instead: acme=30d; 0 keeps for ever; several times
    #[arg(help_heading = RETENTION, long, value_name = "TENANT=DURATION")]
    pub(crate) tenant_retention: Vec<String>,
    /// Delete blocks that were given up or replaced after this long [default: 1h]
    #[arg(help_heading = RETENTION, long, value_name = "DURATION")]
    pub(crate) grace: Option<String>,
}

/// What is done with the blocks of every tenant. `tenant_index` says whether tenants without an index
/// get one.
///
/// # Errors
/// Arguments that say nothing, or by which nothing can be planned.
pub(crate) fn compact_settings(
    compaction: &CompactionArgs,
    retention: &RetentionArgs,
    tenant_index: bool,
) -> Result<CompactSettings> {
    let defaults = CompactSettings::default();
    let row_group = size("row-group-size", compaction.row_group_size.as_deref())?;
    Ok(CompactSettings {
        compaction: match compaction.no_compaction {
            true => None,
            false => Some(compaction.settings()?),
        },
        retention: retention.settings()?,
        row_group_bytes: row_group.unwrap_or(defaults.row_group_bytes),
        tenant_index,
        ..defaults
    })
}

impl CompactionArgs {
    fn settings(&self) -> Result<CompactionSettings> {
        let defaults = CompactionSettings::default();
        let window = settings::duration("window", self.window.as_deref())?;
        let settings = CompactionSettings {
            window: window.unwrap_or(defaults.window),
            min_inputs: self.min_blocks,
            max_inputs: self.max_blocks,
            max_level: self.max_level.filter(|level| *level > 0),
            max_traces: self.max_block_traces,
            max_bytes: size("max-block-size", self.max_block_size.as_deref())?
                .unwrap_or(defaults.max_bytes),
        };
        settings.check()?;
        Ok(settings)
    }
}

impl RetentionArgs {
    fn settings(&self) -> Result<RetentionSettings> {
        let defaults = RetentionSettings::default();
        let mut keep_of_tenant = BTreeMap::new();
        for text in &self.tenant_retention {
            let Some((tenant, keep)) = text.split_once('=') else {
                let why = format!("--tenant-retention: {text:?} names no time");
                return Err(Error::usage(why).hint("write tenant and duration: acme=30d"));
            };
            let keep = settings::duration_or_none("tenant-retention", Some(keep), None)?;
            keep_of_tenant.insert(TenantId::parse(tenant)?, keep);
        }
        let grace = self.grace.as_deref();
        let grace = settings::duration_or_none("grace", grace, Some(defaults.grace))?;
        Ok(RetentionSettings {
            keep: settings::duration_or_none("retention", self.retention.as_deref(), None)?,
            keep_of_tenant,
            grace: grace.unwrap_or_default(),
        })
    }
}

fn size(option: &str, text: Option<&str>) -> Result<Option<u64>> {
    Ok(settings::size(option, text)?.map(|bytes| bytes as u64))
}
