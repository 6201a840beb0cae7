//! Which blocks are put together (`blocks.md` 6.2): a pure function of their metas and the time.
//!
//! Blocks that end in the same window of time are put together, smallest first, as far as limits
//! allow. In the windows of the last day only blocks of one level are, so that what keeps coming in is
//! rewritten a logarithmic number of times; in older ones all are. The window in between, where a
//! block passes from one rule to the other while plans are being carried out, is left alone.
//!
//! Where Tempo's plan lets blocks of another format or with other dedicated columns interrupt a row
//! of blocks that belong together, ours sets them apart first: neighbours that differ are no obstacle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::settings::{ACTIVE_PERIOD, CompactionSettings};
use crate::bucket::meta::{BlockMeta, FormatVersion};

/// A live block, as a plan sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveBlock {
    /// What its `meta.json` says.
    pub meta: Arc<BlockMeta>,
    /// It has a `nocompact.flg`: whoever made it is not done with it.
    pub no_compact: bool,
}

/// What is to be compacted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompactionPlan {
    /// In the order in which to do it: newest windows of the last day first, then older ones.
    pub jobs: Vec<CompactionJob>,
    /// Blocks that are never compacted as they are, by id. Those that merely have no neighbour are
    /// not among them.
    pub left_out: Vec<(Uuid, LeftOut)>,
}

/// Blocks to be replaced by one: of one tenant, format, list of dedicated columns, replication factor
/// and window.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionJob {
    /// The blocks, in the order in which queries read them: of a span that two of them hold, the copy
    /// of the first counts, before as after.
    pub inputs: Vec<Arc<BlockMeta>>,
    /// Start of the window of time in which they end, unix seconds.
    pub window_start_unix_seconds: i64,
}

impl CompactionJob {
    /// The level of the block they become.
    #[must_use]
    pub fn level(&self) -> u32 {
        let levels = self.inputs.iter().map(|meta| meta.compaction_level);
        levels.max().unwrap_or(0).saturating_add(1)
    }

    /// Traces of the inputs, those that several of them hold counted several times.
    #[must_use]
    pub fn trace_count(&self) -> u64 {
        self.inputs.iter().fold(0, |sum, meta| sum.saturating_add(meta.total_objects))
    }

    /// Bytes of the inputs' files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.inputs.iter().fold(0, |sum, meta| sum.saturating_add(meta.size_bytes))
    }
}

/// Why a block is not compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// We do not write its format, and compaction never changes one.
    Format(FormatVersion),
    /// It has a `nocompact.flg`.
    Flagged,
    /// It has reached the level from which blocks are left alone.
    Level(u32),
    /// Its meta does not say when it ends.
    NoEnd,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(version) => write!(
                f,
                "{version} is read but not written; `traceql convert` makes a newer block of it"
            ),
            Self::Flagged => write!(f, "it has a nocompact.flg"),
            Self::Level(level) => write!(f, "it has reached level {level}"),
            Self::NoEnd => write!(f, "its meta.json says no endTime"),
        }
    }
}

/// What blocks must have in common. Ordered as jobs are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    /// Its window is older than a day.
    is_settled: bool,
    /// 0 in settled windows, where levels do not matter.
    level: u32,
    /// Windows back from now; negative for those that the clock has not reached.
    age: i64,
    replication_factor: u32,
    version: FormatVersion,
    dedicated_columns: Vec<String>,
    tenant: String,
}

/// Plans what to compact. The same blocks and time give the same plan, in whatever order they come.
#[must_use]
pub fn plan_compaction(
    blocks: &[LiveBlock],
    settings: &CompactionSettings,
    now_unix_nanos: i64,
) -> CompactionPlan {
    let window = i64::try_from(settings.window.as_secs()).unwrap_or(i64::MAX).max(1);
    let window_of = |unix_nanos: i64| unix_nanos.div_euclid(NANOS_PER_SECOND).div_euclid(window);
    let current = window_of(now_unix_nanos);
    let handover = window_of(before(now_unix_nanos, ACTIVE_PERIOD));
    let mut plan = CompactionPlan::default();
    let mut groups: BTreeMap<Group, Vec<&Arc<BlockMeta>>> = BTreeMap::new();
    for block in blocks {
        let meta = &block.meta;
        if let Some(reason) = left_out(block, settings) {
            plan.left_out.push((meta.block_id, reason));
            continue;
        }
        let at = window_of(meta.end_unix_nanos);
        if at == handover {
            continue;
        }
        let is_settled = at < handover;
        let group = Group {
            is_settled,
            level: if is_settled { 0 } else { meta.compaction_level },
            age: current.saturating_sub(at),
            replication_factor: meta.replication_factor,
            version: meta.version,
            dedicated_columns: meta.dedicated_columns.iter().map(ToString::to_string).collect(),
            tenant: meta.tenant.clone(),
        };
        groups.entry(group).or_default().push(meta);
    }
    for (group, mut metas) in groups {
        metas.sort_by_key(|meta| (meta.compaction_level, meta.total_objects, meta.block_id));
        let at = current.saturating_sub(group.age);
        let jobs = runs(&metas, settings).into_iter().map(|mut inputs| {
            inputs.sort_by(|a, b| {
                let by_end = b.end_unix_nanos.cmp(&a.end_unix_nanos);
                by_end.then(a.block_id.cmp(&b.block_id))
            });
            CompactionJob { inputs, window_start_unix_seconds: at.saturating_mul(window) }
        });
        plan.jobs.extend(jobs);
    }
    plan.left_out.sort_by_key(|(id, _)| *id);
    plan
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An instant so long before another.
pub(super) fn before(unix_nanos: i64, time: Duration) -> i64 {
    unix_nanos.saturating_sub(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

fn left_out(block: &LiveBlock, settings: &CompactionSettings) -> Option<LeftOut> {
    let meta = &block.meta;
    if block.no_compact {
        Some(LeftOut::Flagged)
    } else if meta.version == FormatVersion::VParquet3 {
        Some(LeftOut::Format(meta.version))
    } else if settings.max_level.is_some_and(|max| meta.compaction_level >= max) {
        Some(LeftOut::Level(meta.compaction_level))
    } else if meta.end_unix_nanos == i64::MAX {
        Some(LeftOut::NoEnd)
    } else {
        None
    }
}

/// Cuts a row of blocks into runs within the limits, and keeps those of enough blocks.
fn runs(metas: &[&Arc<BlockMeta>], settings: &CompactionSettings) -> Vec<Vec<Arc<BlockMeta>>> {
    let mut runs: Vec<Vec<Arc<BlockMeta>>> = Vec::new();
    let (mut n_traces, mut n_bytes) = (0_u64, 0_u64);
    for meta in metas {
        n_traces = n_traces.saturating_add(meta.total_objects);
        n_bytes = n_bytes.saturating_add(meta.size_bytes);
        let fits = n_traces <= settings.max_traces && n_bytes <= settings.max_bytes;
        match runs.last_mut() {
            Some(run) if run.len() < settings.max_inputs && fits => run.push(Arc::clone(meta)),
            _ => {
                runs.push(vec![Arc::clone(meta)]);
                (n_traces, n_bytes) = (meta.total_objects, meta.size_bytes);
            }
        }
    }
    runs.retain(|run| run.len() >= settings.min_inputs.max(2));
    runs
}
