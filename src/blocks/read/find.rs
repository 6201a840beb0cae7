//! A trace by its id (`blocks.md` 3): bloom filter, row group, `TraceID` leaf, row; and the copies
//! of a trace that lies in several blocks, combined.

use std::sync::Arc;

use futures::StreamExt as _;

use super::library::Values;
use super::open::{OpenBlock, ReadContext};
use super::rows::{RowReader, StoredTrace};
use crate::bucket::{Block, bloom};
use crate::error::{Error, Result};
use crate::model::{Trace, TraceId};

/// Blocks that are asked at a time.
const CONCURRENT_BLOCKS: usize = 16;

/// The trace with this id, its parts in all the blocks combined; `None` if no block has it.
///
/// Of a span that several blocks hold, the first block's copy counts.
///
/// # Errors
/// What `without` says of the first failure to read a block: an answer from the others passes a part
/// off as the whole, unless whoever asks lets that block pass, and says so.
pub async fn find_trace<E>(
    blocks: &[Block],
    id: TraceId,
    context: &ReadContext,
    without: impl Fn(&Block, Error) -> Result<(), E>,
) -> Result<Option<Trace>, E> {
    // The searches are made before the stream: a closure over borrowed blocks inside it would keep
    // the future from being sent to another thread.
    let searches: Vec<_> = blocks.iter().map(|block| find_in_block(block, id, context)).collect();
    let mut found = futures::stream::iter(searches).buffered(CONCURRENT_BLOCKS);
    let mut parts = Vec::new();
    for block in blocks {
        match found.next().await.unwrap_or(Ok(None)) {
            Ok(part) => parts.extend(part),
            Err(error) => without(block, error)?,
        }
    }
    Ok(Trace::combine(parts))
}

/// The part of a trace that one block holds, as stored.
///
/// # Errors
/// Failures to read the block.
pub async fn find_in_block(
    block: &Block,
    id: TraceId,
    context: &ReadContext,
) -> Result<Option<Trace>> {
    if let Some((shard, n_bytes)) = bloom::fetch_shard(block, id).await? {
        context.stats.count(n_bytes);
        if !shard.may_contain(id) {
            return Ok(None);
        }
    }
    Ok(find_present(block, id, context).await?.map(|stored| stored.trace))
}

/// The same for a trace that the block is known to hold, so that its bloom filter tells nothing, with
/// what its trace-level columns say.
///
/// # Errors
/// Failures to read the block.
pub async fn find_present(
    block: &Block,
    id: TraceId,
    context: &ReadContext,
) -> Result<Option<StoredTrace>> {
    let open = OpenBlock::open(block, context).await?;
    for row_group in 0..open.n_row_groups() {
        // Rows are sorted by id, so at most one row group comes into question; but statistics are
        // optional, and without them every one has to be looked through.
        if open.trace_id_bounds(row_group).is_some_and(|(min, max)| id.0 < min || max < id.0) {
            continue;
        }
        if let Some(row) = find_row(&open, row_group, id, context).await? {
            let mut reader = RowReader::new(&open, row_group, context);
            return Ok(reader.stored_traces(row..row + 1).await?.into_iter().next());
        }
    }
    Ok(None)
}

/// The row of a row group that holds a trace.
async fn find_row(
    open: &Arc<OpenBlock>,
    row_group: usize,
    id: TraceId,
    context: &ReadContext,
) -> Result<Option<u32>> {
    let Some(leaf) = open.schema.leaf("TraceID").map(|leaf| leaf.index) else { return Ok(None) };
    let mut reader = RowReader::new(open, row_group, context);
    let leaves = reader.leaves(&[leaf], 0..open.n_rows(row_group)).await?;
    let found = match leaves.first().map(|leaf| &leaf.values) {
        Some(Values::Bytes(ids)) => ids.iter().position(|bytes| TraceId::from_bytes(bytes) == id),
        _ => None,
    };
    Ok(found.and_then(|row| u32::try_from(row).ok()))
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
