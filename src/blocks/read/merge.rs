//! The traces of several blocks in order of their ids, each once: the copies and parts that the
//! blocks have of a trace are combined (`blocks.md` 5.4, 6.3). For whatever rewrites blocks.
//!
//! Of each block only some rows are held at a time; how many follows from the bytes that all of them
//! may take together.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::open::{OpenBlock, ReadContext};
use super::rows::{RowReader, StoredTrace};
use crate::bucket::Block;
use crate::error::{Error, Result};
use crate::model::{Trace, TraceId};

/// Rows that all blocks together hold, uncompressed; as traces of the model they take some twenty
/// times as much.
const HELD_BYTES: u64 = 4 << 20;
/// Rows of one block that are held at least: a step decodes the pages it lies in anew, so that many
/// small ones take long.
const LEAST_HELD_BYTES: u64 = 1 << 19;

/// Reads several blocks at once.
#[derive(Debug)]
pub struct MergedTraces {
    blocks: Vec<BlockTraces>,
    /// The next id of each block that has one, the smallest on top, then the first block.
    next: BinaryHeap<Reverse<(TraceId, usize)>>,
}

impl MergedTraces {
    /// Opens the blocks. Of a span that several of them hold, the first block's copy counts.
    ///
    /// # Errors
    /// Failures to read a block.
    pub async fn open(blocks: &[Block], context: &ReadContext) -> Result<Self> {
        let share = HELD_BYTES / blocks.len().max(1) as u64;
        let step_bytes = share.max(LEAST_HELD_BYTES);
        let mut merged = Self { blocks: Vec::new(), next: BinaryHeap::new() };
        for block in blocks {
            let open = OpenBlock::open(block, context).await?;
            merged.blocks.push(BlockTraces {
                open,
                context: context.clone(),
                step_bytes,
                row_group: 0,
                reader: None,
                ready: VecDeque::new(),
                last: None,
            });
            merged.queue(merged.blocks.len() - 1).await?;
        }
        Ok(merged)
    }

    /// The next trace; `None` at the end.
    ///
    /// # Errors
    /// Failures to read a block.
    pub async fn next(&mut self) -> Result<Option<StoredTrace>> {
        let Some(Reverse((id, first))) = self.next.pop() else { return Ok(None) };
        let Some(mut whole) = self.take(first).await? else { return Ok(None) };
        let mut parts: Vec<Trace> = Vec::new();
        while let Some(Reverse((_, at))) = self.next.peek().filter(|next| next.0.0 == id).copied() {
            self.next.pop();
            if let Some(part) = self.take(at).await?
                && part != whole
            {
                whole.fields.combine(part.fields);
                parts.push(part.trace);
            }
        }
        if !parts.is_empty() {
            let first = std::mem::take(&mut whole.trace);
            let combined = Trace::combine(std::iter::once(first).chain(parts));
            whole.trace = combined.unwrap_or_default();
            whole.trace.merge_equal_resources();
        }
        Ok(Some(whole))
    }

    /// Takes the next trace of a block and queues the one after it.
    async fn take(&mut self, at: usize) -> Result<Option<StoredTrace>> {
        let trace = self.blocks[at].ready.pop_front();
        self.queue(at).await?;
        Ok(trace)
    }

    async fn queue(&mut self, at: usize) -> Result<()> {
        let block = &mut self.blocks[at];
        block.fill().await?;
        if let Some(next) = block.ready.front() {
            let id = next.trace.id;
            block.check_order(id)?;
            self.next.push(Reverse((id, at)));
        }
        Ok(())
    }
}

/// The rows of one block, some at a time.
#[derive(Debug)]
struct BlockTraces {
    open: Arc<OpenBlock>,
    context: ReadContext,
    step_bytes: u64,
    /// The next row group to begin.
    row_group: usize,
    /// The row group being read, and the rows of it that are left.
    reader: Option<(RowReader, VecDeque<Range<u32>>)>,
    ready: VecDeque<StoredTrace>,
    /// The last id that was queued.
    last: Option<TraceId>,
}

impl BlockTraces {
    /// Refuses rows that do not ascend: merged with others, their traces would be torn apart.
    fn check_order(&mut self, id: TraceId) -> Result<()> {
        match self.last.replace(id) {
            Some(last) if last > id => Err(Error::corrupt(
                self.open.name(),
                None,
                "rows in ascending order of their trace ids",
                format!("{id} behind {last}"),
            )),
            _ => Ok(()),
        }
    }

    /// Reads on if nothing is ready.
    async fn fill(&mut self) -> Result<()> {
        while self.ready.is_empty() {
            if let Some((reader, steps)) = &mut self.reader {
                match steps.pop_front() {
                    Some(rows) => self.ready.extend(reader.stored_traces(rows).await?),
                    None => self.reader = None,
                }
            } else if self.row_group < self.open.n_row_groups() {
                let reader = RowReader::new(&self.open, self.row_group, &self.context);
                let steps = reader.steps_within(self.step_bytes).collect();
                self.reader = Some((reader, steps));
                self.row_group += 1;
            } else {
                break;
            }
        }
        Ok(())
    }
}
