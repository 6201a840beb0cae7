//! What the tests of this folder share: made-up metas and a fixed time.

mod clock;
mod crash;
mod cycle;
mod lease;
mod plan;
mod store;

use std::sync::Arc;

use uuid::Uuid;

use super::plan::LiveBlock;
use crate::bucket::meta::{BlockMeta, FormatVersion};

/// Noon of a day, so that windows of an hour begin at it.
pub(super) const NOW: i64 = 1_764_244_800_000_000_000;
/// An hour in nanoseconds.
pub(super) const HOUR: i64 = 3_600_000_000_000;

/// A live block of a kind like all others, that ended so many hours and a minute ago.
pub(super) fn block(n: u128, hours_ago: i64) -> LiveBlock {
    let end_unix_nanos = NOW - hours_ago * HOUR - HOUR / 60;
    let meta = BlockMeta {
        version: FormatVersion::VParquet5,
        block_id: Uuid::from_u128(n),
        tenant: "t".to_owned(),
        start_unix_nanos: end_unix_nanos - HOUR / 6,
        end_unix_nanos,
        total_objects: 100,
        size_bytes: 10_000,
        compaction_level: 0,
        total_records: 1,
        bloom_shards: 1,
        footer_size: 100,
        dedicated_columns: Vec::new(),
        replication_factor: 1,
    };
    LiveBlock { meta: Arc::new(meta), no_compact: false }
}

/// Ids as the numbers they were made of.
pub(super) fn ids(metas: &[Arc<BlockMeta>]) -> Vec<u128> {
    metas.iter().map(|meta| meta.block_id.as_u128()).collect()
}
