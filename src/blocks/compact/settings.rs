//! What a keeper of blocks is told to do: which blocks it puts together, how long it keeps them, how
//! it writes. Defaults are Tempo's (`blocks.md` 6.2, 7), except that nothing is ever deleted for its
//! age unless a time is named.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bucket::tenant::TenantId;
use crate::error::{Error, Result};
use crate::write::block::BloomSettings;

/// Blocks that end at least this long ago are no longer sorted by level: nothing new comes to them.
pub const ACTIVE_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// What is done with the blocks of every tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactSettings {
    /// Which blocks are put together; `None`: none are.
    pub compaction: Option<CompactionSettings>,
    /// How long blocks are kept.
    pub retention: RetentionSettings,
    /// A row group ends with the trace that makes it this large: bytes encoded but not compressed.
    pub row_group_bytes: u64,
    /// Size and precision of bloom filters.
    pub bloom: BloomSettings,
    /// Write the index of a tenant that has none. One that is there is always brought up to date.
    pub tenant_index: bool,
}

impl Default for CompactSettings {
    fn default() -> Self {
        Self {
            compaction: Some(CompactionSettings::default()),
            retention: RetentionSettings::default(),
            row_group_bytes: 100_000_000,
            bloom: BloomSettings::default(),
            tenant_index: false,
        }
    }
}

/// Which blocks are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Length of the windows of time, by their end, within which blocks are put together.
    pub window: Duration,
    /// Fewest blocks worth it; at least 2.
    pub min_inputs: usize,
    /// Most blocks at once.
    pub max_inputs: usize,
    /// Blocks of this compaction level and above are left alone.
    pub max_level: Option<u32>,
    /// Most traces that blocks put together may have, by their metas.
    pub max_traces: u64,
    /// Most bytes of their files together.
    pub max_bytes: u64,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(3600),
            min_inputs: 2,
            max_inputs: 4,
            max_level: None,
            max_traces: 6_000_000,
            max_bytes: 100 << 30,
        }
    }
}

impl CompactionSettings {
    /// Refuses what no plan can be made by.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let refuse = |what, value: String, reason: &str| {
            Err(Error::Usage { what, value, reason: reason.to_owned() })
        };
        if self.window < Duration::from_secs(1) {
            let value = format!("{:?}", self.window);
            return refuse("compaction window", value, "it is at least a second long");
        }
        if self.min_inputs < 2 {
            let reason = "a block alone is not compacted; 2 and more are";
            return refuse("fewest blocks of a compaction", self.min_inputs.to_string(), reason);
        }
        if self.max_inputs < self.min_inputs {
            let reason = format!("at least {} are to be put together", self.min_inputs);
            return refuse("most blocks of a compaction", self.max_inputs.to_string(), &reason);
        }
        Ok(())
    }
}

/// How long blocks are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Blocks that end longer ago are given up; `None`: they are kept for ever.
    pub keep: Option<Duration>,
    /// What holds for these tenants instead.
    pub keep_of_tenant: BTreeMap<TenantId, Option<Duration>>,
    /// Blocks that were given up or replaced are deleted after this long. Queries that began before,
    /// and readers with an older list of blocks, still need them: twice their polling period and the
    /// time of the longest query.
    pub grace: Duration,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { keep: None, keep_of_tenant: BTreeMap::new(), grace: Duration::from_secs(3600) }
    }
}

impl RetentionSettings {
    /// How long a tenant's blocks are kept; `None`: for ever.
    #[must_use]
    pub fn keep_of(&self, tenant: &TenantId) -> Option<Duration> {
        self.keep_of_tenant.get(tenant).copied().unwrap_or(self.keep)
    }
}
