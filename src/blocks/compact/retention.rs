//! Which blocks have had their time (`blocks.md` 6.4): pure functions of times. A block goes in two
//! steps: it is marked, as one that a compaction replaced, and deleted when nobody can still be
//! reading it.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::plan::{LiveBlock, before};
use crate::bucket::meta::BlockMeta;

/// A block that was replaced or given up and waits for its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedBlock {
    /// Its id.
    pub block_id: Uuid,
    /// When it was marked, unix nanoseconds, as far as the store knows: when its mark was written. A
    /// Tempo on a local disk marks by renaming, which keeps the time at which the block was written.
    pub marked_unix_nanos: i64,
}

/// The live blocks that end longer ago than blocks are kept, oldest first. One whose meta does not
/// say when it ends is kept.
#[must_use]
pub fn expired(
    blocks: &[LiveBlock],
    keep: Option<Duration>,
    now_unix_nanos: i64,
) -> Vec<Arc<BlockMeta>> {
    let Some(keep) = keep else { return Vec::new() };
    let until = before(now_unix_nanos, keep);
    let ended = |block: &&LiveBlock| block.meta.end_unix_nanos < until;
    let mut expired: Vec<_> =
        blocks.iter().filter(ended).map(|block| Arc::clone(&block.meta)).collect();
    expired.sort_by_key(|meta| (meta.end_unix_nanos, meta.block_id));
    expired
}

/// The marked blocks whose time of grace is over, by id.
#[must_use]
pub fn deletable(blocks: &[MarkedBlock], grace: Duration, now_unix_nanos: i64) -> Vec<Uuid> {
    let until = before(now_unix_nanos, grace);
    let over = blocks.iter().filter(|block| block.marked_unix_nanos < until);
    let mut ids: Vec<_> = over.map(|block| block.block_id).collect();
    ids.sort();
    ids
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOUR, NOW, block, ids};
    use super::*;

    #[test]
    fn a_block_expires_when_its_end_is_longer_ago_than_blocks_are_kept() {
        let day = Duration::from_secs(24 * 3600);
        let at = |n: u128, end: i64| {
            let mut block = block(n, 0);
            Arc::make_mut(&mut block.meta).end_unix_nanos = end;
            block
        };
        let edge = NOW - 24 * HOUR;
        let blocks =
            [at(1, edge), at(2, edge - 1), at(3, i64::MAX), at(4, NOW + HOUR), at(5, edge - 2)];
        assert_eq!(ids(&expired(&blocks, Some(day), NOW)), [5, 2]);
        assert_eq!(ids(&expired(&blocks, None, NOW)), [0_u128; 0]);
        assert_eq!(ids(&expired(&blocks, Some(Duration::MAX), NOW)), [0_u128; 0]);
        // A planner's flag keeps no block alive.
        let flagged = LiveBlock { no_compact: true, ..at(6, 0) };
        assert_eq!(ids(&expired(&[flagged], Some(day), NOW)), [6]);
    }

    #[test]
    fn a_marked_block_goes_after_its_time_of_grace() {
        let at = |n: u128, marked: i64| MarkedBlock {
            block_id: Uuid::from_u128(n),
            marked_unix_nanos: marked,
        };
        let blocks = [at(3, NOW - HOUR - 1), at(2, NOW - HOUR), at(1, 0), at(4, NOW + HOUR)];
        let grace = Duration::from_secs(3600);
        let gone: Vec<u128> =
            deletable(&blocks, grace, NOW).iter().map(|id| id.as_u128()).collect();
        assert_eq!(gone, [1, 3]);
    }
}
