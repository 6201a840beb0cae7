//! The traces of several blocks in order of their ids, each once: the copies and parts that the
//! blocks have of a trace are combined (`blocks.md` 5.4, 6.3). For whatever rewrites blocks.
//!
//! Of each block only some rows are held at a time, a step. How far all of them reach together can be
//! put in order: a plan. What is in one block alone need not become a trace if the block that is
//! written is laid out as the one that is read: it is given as a row, to be copied leaf by leaf
//! (`copyable` says which rows can be). All other rows of a plan are taken apart at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::copyable::{CopyRules, RowFacts};
use super::materialize::Rows;
use super::open::{OpenBlock, ReadContext};
use super::rows::{RowReader, StoredTrace};
use super::step::Step;
use crate::bucket::Block;
use crate::error::{Error, Result};
use crate::model::{Trace, TraceId};
use crate::schema::{BlockSchema, LeafIndex};

/// Rows that all blocks together hold, uncompressed and encoded; decoded they take some three times
/// as much.
const HELD_BYTES: u64 = 16 << 20;
/// Rows of one block that are held at least: a step decodes the pages it lies in anew, so that many
/// small ones take long.
const LEAST_HELD_BYTES: u64 = 1 << 20;
/// Rows, in the same measure, that are traces at a time; as such they take some twenty times as much.
const TRACE_BYTES: u64 = 4 << 20;

/// Reads several blocks at once.
#[derive(Debug)]
pub struct MergedTraces {
    inputs: Vec<Input>,
    plan: VecDeque<Planned>,
}

/// A trace of all blocks that have it.
#[derive(Debug)]
pub enum MergedRow<'a> {
    /// As it is to be written.
    Trace(StoredTrace),
    /// As one block has it, which is as it is to be written.
    Row(StoredRow<'a>),
}

/// A row of one of the blocks.
#[derive(Clone, Copy, Debug)]
pub struct StoredRow<'a> {
    /// Which of the blocks.
    pub(crate) input: usize,
    pub(crate) id: TraceId,
    pub(crate) step: &'a Step,
    /// Which row of the step.
    pub(crate) row: usize,
    pub(crate) facts: RowFacts,
}

/// What comes next.
#[derive(Debug)]
enum Planned {
    /// This row of the step of an input.
    Row { input: usize, row: usize, facts: RowFacts },
    /// The next trace of each of these inputs, together.
    Traces(Vec<usize>),
}

impl MergedTraces {
    /// Opens the blocks. Of a span that several of them hold, the first block's copy counts.
    ///
    /// # Errors
    /// Failures to read a block.
    pub async fn open(blocks: &[Block], context: &ReadContext) -> Result<Self> {
        let share = HELD_BYTES / blocks.len().max(1) as u64;
        let step_bytes = share.max(LEAST_HELD_BYTES);
        let mut inputs = Vec::with_capacity(blocks.len());
        for block in blocks {
            let open = OpenBlock::open(block, context).await?;
            inputs.push(Input::new(open, context, step_bytes)?);
        }
        Ok(Self { inputs, plan: VecDeque::new() })
    }

    /// Leaves rows as they are, if they can be copied into a block with this schema.
    #[must_use]
    pub fn copying_into(mut self, schema: &BlockSchema) -> Self {
        for input in &mut self.inputs {
            input.rules = CopyRules::new(&input.open.schema, schema);
        }
        self
    }

    /// The next trace; `None` at the end.
    ///
    /// # Errors
    /// Failures to read a block.
    pub async fn next(&mut self) -> Result<Option<MergedRow<'_>>> {
        if self.plan.is_empty() {
            self.plan().await?;
        }
        Ok(match self.plan.pop_front() {
            None => None,
            Some(Planned::Traces(inputs)) => self.combine(&inputs).map(MergedRow::Trace),
            Some(Planned::Row { input, row, facts }) => {
                let held = self.inputs[input].step.as_ref();
                held.map(|held| {
                    let (id, step) = (held.ids[row], &held.step);
                    MergedRow::Row(StoredRow { input, id, step, row, facts })
                })
            }
        })
    }

    /// Puts in order what the steps of all inputs hold up to where the first of them ends.
    async fn plan(&mut self) -> Result<()> {
        for input in &mut self.inputs {
            input.fill().await?;
        }
        let end = self.inputs.iter().filter_map(Input::end).min();
        let next = |(at, input): (usize, &Input)| Some(Reverse((input.next_id()?, at)));
        let mut queue: BinaryHeap<_> = self.inputs.iter().enumerate().filter_map(next).collect();
        let mut n_bytes = 0;
        while let Some(Reverse((id, _))) = queue.peek().copied()
            && end.is_none_or(|end| id < end)
            && n_bytes < TRACE_BYTES
        {
            let mut parts = Vec::new();
            while let Some(Reverse((_, at))) = queue.peek().filter(|next| next.0.0 == id).copied() {
                queue.pop();
                parts.push((at, self.inputs[at].advance()));
                queue.extend(self.inputs[at].next_id().map(|id| Reverse((id, at))));
            }
            if let [(input, Some(row))] = parts.as_slice()
                && let Some(facts) = self.inputs[*input].facts(*row)
            {
                self.plan.push_back(Planned::Row { input: *input, row: *row, facts });
                continue;
            }
            for (at, row) in &parts {
                self.inputs[*at].taken_apart.extend(row);
                n_bytes += self.inputs[*at].row_bytes;
            }
            self.plan.push_back(Planned::Traces(parts.into_iter().map(|part| part.0).collect()));
        }
        self.inputs.iter_mut().try_for_each(Input::take_apart)
    }

    /// The next traces of some inputs, which are of one id, as one.
    fn combine(&mut self, inputs: &[usize]) -> Option<StoredTrace> {
        let mut stored = inputs.iter().filter_map(|at| self.inputs[*at].traces.pop_front());
        let mut whole = stored.next()?;
        let mut parts: Vec<Trace> = Vec::new();
        for part in stored {
            if part != whole {
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
        Some(whole)
    }
}

/// The rows of one block, some at a time.
#[derive(Debug)]
struct Input {
    open: Arc<OpenBlock>,
    context: ReadContext,
    /// Which rows can be copied; `None` if none can.
    rules: Option<CopyRules>,
    trace_id: LeafIndex,
    step_bytes: u64,
    /// The next row group to begin.
    row_group: usize,
    /// The row group being read, and the rows of it that are left.
    reader: Option<(RowReader, VecDeque<Range<u32>>)>,
    /// What a row of that row group takes, about, uncompressed.
    row_bytes: u64,
    step: Option<HeldStep>,
    /// The first row of the step that is not planned.
    next: usize,
    /// Planned rows of the step that are to become traces.
    taken_apart: Vec<usize>,
    /// Rows that have become traces.
    traces: VecDeque<StoredTrace>,
    /// Those at the end of them that are not planned: they were the last rows of a step.
    n_unplanned: usize,
    /// The last id that was read.
    last: TraceId,
}

/// Rows that are held.
#[derive(Debug)]
struct HeldStep {
    step: Step,
    ids: Vec<TraceId>,
    facts: Vec<Option<RowFacts>>,
}

impl Input {
    fn new(open: Arc<OpenBlock>, context: &ReadContext, step_bytes: u64) -> Result<Self> {
        let trace_id =
            open.schema.leaf("TraceID").map(|leaf| leaf.index).ok_or_else(|| {
                Error::corrupt(open.name(), None, "a leaf TraceID", "no such leaf")
            })?;
        Ok(Self {
            open,
            context: context.clone(),
            rules: None,
            trace_id,
            step_bytes,
            row_group: 0,
            reader: None,
            row_bytes: 0,
            step: None,
            next: 0,
            taken_apart: Vec::new(),
            traces: VecDeque::new(),
            n_unplanned: 0,
            last: TraceId::default(),
        })
    }

    /// Reads on if nothing of the step can be planned.
    ///
    /// Rows of one id belong together, and those behind the step may have the id of its last: where
    /// nothing else is left of a step, that becomes traces, which wait for what comes next.
    async fn fill(&mut self) -> Result<()> {
        while self.has_more() && self.step.as_ref().is_none_or(|held| held.is_used(self.next)) {
            if let Some(held) = &self.step {
                self.taken_apart.extend(self.next..held.ids.len());
                self.n_unplanned += held.ids.len() - self.next;
                self.take_apart()?;
            }
            self.next = 0;
            self.step = self.read().await?;
            self.check_order()?;
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        let is_in_row_group = self.reader.as_ref().is_some_and(|(_, steps)| !steps.is_empty());
        is_in_row_group || self.row_group < self.open.n_row_groups()
    }

    /// Where rows may follow that are not held; `None` at the end of the block.
    fn end(&self) -> Option<TraceId> {
        self.step.as_ref().filter(|_| self.has_more()).and_then(|held| held.ids.last().copied())
    }

    /// The next rows, unless the row group has none left.
    async fn read(&mut self) -> Result<Option<HeldStep>> {
        let rows = match &mut self.reader {
            Some((_, steps)) => steps.pop_front(),
            None => None,
        };
        let Some(rows) = rows else {
            let reader = RowReader::new(&self.open, self.row_group, &self.context).keeping_codes();
            let steps: VecDeque<_> = reader.steps_within(self.step_bytes).collect();
            let n_rows = steps.back().map_or(0, |last| last.end);
            self.row_bytes = reader.n_bytes() / u64::from(n_rows.max(1));
            self.reader = Some((reader, steps));
            self.row_group += 1;
            return Ok(None);
        };
        let Some((reader, _)) = &mut self.reader else { return Ok(None) };
        let n_rows = rows.len();
        let leaves = reader.all_leaves(rows).await?;
        let step = Step::new(leaves, self.open.schema.leaves(), n_rows);
        let ids = step.ids(self.trace_id, self.open.name())?;
        let facts = match &mut self.rules {
            Some(rules) => rules.look(&step),
            None => vec![None; n_rows],
        };
        Ok(Some(HeldStep { step, ids, facts }))
    }

    /// Refuses rows that do not ascend: merged with others, their traces would be torn apart.
    fn check_order(&mut self) -> Result<()> {
        for id in self.step.iter().flat_map(|held| &held.ids) {
            if self.last > *id {
                return Err(Error::corrupt(
                    self.open.name(),
                    None,
                    "rows in ascending order of their trace ids",
                    format!("{id} behind {}", self.last),
                ));
            }
            self.last = *id;
        }
        Ok(())
    }

    /// The id of the next trace to plan.
    fn next_id(&self) -> Option<TraceId> {
        match self.n_unplanned {
            0 => self.step.as_ref()?.ids.get(self.next).copied(),
            n => self.traces.get(self.traces.len() - n).map(|stored| stored.trace.id),
        }
    }

    /// Counts the next trace as planned, and tells its row unless it has become a trace already.
    fn advance(&mut self) -> Option<usize> {
        if self.n_unplanned > 0 {
            self.n_unplanned -= 1;
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    fn facts(&self, row: usize) -> Option<RowFacts> {
        *self.step.as_ref()?.facts.get(row)?
    }

    /// Makes traces of the rows that are to become some.
    fn take_apart(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.taken_apart);
        let Some(held) = self.step.as_ref().filter(|_| !rows.is_empty()) else { return Ok(()) };
        let name = self.open.name();
        let leaves = held.step.select(&rows, name)?;
        let rows = Rows::new(&self.open.schema, name, rows.len(), leaves)?;
        self.traces.extend(StoredTrace::of_rows(&rows)?);
        Ok(())
    }
}

impl HeldStep {
    /// Whether nothing is left but rows of the last id.
    fn is_used(&self, next: usize) -> bool {
        self.ids.get(next).is_none_or(|id| Some(id) == self.ids.last())
    }
}
