//! `TraceCombineExec`: the partitions of a scan in the order of their units, up to the limit. The
//! answer is thus the same whatever the number of threads, and what lies behind the limit stops.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use traceql_blocks::model::TraceId;

use super::rows::{self, Found, Row};
use crate::error::Error;
use crate::runtime::QueryRun;
use crate::scan::exec::{extensions, external, streaming};
use crate::scan::spec::partition_of;

/// Finished units a partition may be ahead of the merge.
const UNITS_AHEAD: usize = 4;

/// Which traces come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TraceOrder {
    /// Those of the first units, and of the first rows in them.
    #[default]
    Found,
    /// Those that start last, then by id; behind this start and id, if the page before ends there.
    Newest { after: Option<(u64, TraceId)> },
    /// Those with the first keys, then by id. The scan leaves out what a page before showed.
    Keyed,
}

impl fmt::Display for TraceOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found => f.write_str("found"),
            Self::Newest { after: None } => f.write_str("newest"),
            Self::Newest { after: Some((start, id)) } => write!(f, "newest after {start} {id}"),
            Self::Keyed => f.write_str("keys"),
        }
    }
}

/// Merges partitions of a search.
#[derive(Debug)]
pub(crate) struct TraceCombineExec {
    pub(crate) input: Arc<dyn ExecutionPlan>,
    /// Most traces; 0 for all.
    pub(crate) limit: usize,
    pub(crate) order: TraceOrder,
    properties: Arc<PlanProperties>,
}

impl TraceCombineExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, limit: usize, order: TraceOrder) -> Self {
        let properties = streaming(rows::schema(), 1);
        Self { input, limit, order, properties }
    }
}

impl DisplayAs for TraceCombineExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceCombineExec: limit={}, order={}", self.limit, self.order)
    }
}

impl ExecutionPlan for TraceCombineExec {
    fn name(&self) -> &'static str {
        "TraceCombineExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => Ok(Arc::new(Self::new(input, self.limit, self.order))),
            _ => Err(DataFusionError::Internal("TraceCombineExec has one input".to_owned())),
        }
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let n = self.input.properties().output_partitioning().partition_count();
        let (_, run) = extensions(&context)?;
        let mut merge = Merge {
            run,
            inputs: Vec::with_capacity(n),
            ordered: self.limit > 0 && self.order == TraceOrder::Found,
            tasks: Vec::with_capacity(n),
            next_unit: 0,
            seen: HashSet::new(),
            limit: self.limit,
            held: None,
            done: false,
        };
        merge.held = Held::new(self.order, self.limit, merge.run.memory_limit_bytes);
        // Where order does not matter all partitions write into one channel.
        let mut shared = (!merge.ordered).then(|| mpsc::channel(UNITS_AHEAD * n.max(1)));
        for partition in 0..n {
            let mut stream = self.input.execute(partition, Arc::clone(&context))?;
            let sender = match &shared {
                Some((sender, _)) => sender.clone(),
                None => {
                    let (sender, receiver) = mpsc::channel(UNITS_AHEAD);
                    merge.inputs.push(receiver);
                    sender
                }
            };
            // Dropping the merge aborts the tasks, and so all work behind the limit.
            merge.tasks.push(SpawnedTask::spawn(async move {
                while let Some(batch) = stream.next().await {
                    if sender.send(batch).await.is_err() {
                        break;
                    }
                }
            }));
        }
        if let Some((_, receiver)) = shared.take() {
            merge.inputs.push(receiver);
        }
        let stream = futures::stream::try_unfold(merge, |mut merge| async move {
            Ok(merge.next().await?.map(|batch| (batch, merge)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(rows::schema(), stream.boxed())))
    }
}

struct Merge {
    run: Arc<QueryRun>,
    inputs: Vec<mpsc::Receiver<Result<RecordBatch>>>,
    /// Each unit comes from the input of its partition; else there is one input.
    ordered: bool,
    /// Held so that dropping the merge stops them.
    tasks: Vec<SpawnedTask<()>>,
    next_unit: u32,
    seen: HashSet<[u8; 16]>,
    limit: usize,
    /// What may be among the first, if that is known at the end only.
    held: Option<Held>,
    done: bool,
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.run.stopped.store(true, Ordering::Relaxed);
    }
}

impl Merge {
    /// The next accepted rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.done {
            let partition = match self.ordered {
                true => partition_of(self.next_unit, self.inputs.len().max(1)),
                false => 0,
            };
            let Some(input) = self.inputs.get_mut(partition) else { break };
            // If the partition of the next unit has ended, all units are done.
            let Some(batch) = input.recv().await else { break };
            let mut accepted = Vec::new();
            for row in rows::decode(&batch?).map_err(external)? {
                match row {
                    Row::EndOfUnit => self.next_unit += 1,
                    Row::Trace(found) => {
                        if self.held.is_some() || self.seen.insert(found.result.trace_id.0) {
                            accepted.push(*found);
                        }
                    }
                }
            }
            if let Some(held) = &mut self.held {
                held.keep(accepted).map_err(external)?;
                continue;
            }
            if self.limit > 0 && self.seen.len() >= self.limit {
                accepted.truncate(accepted.len() - (self.seen.len() - self.limit));
                self.done = true;
                self.run.stopped.store(true, Ordering::Relaxed);
                self.inputs.clear();
                self.tasks.clear();
            }
            if !accepted.is_empty() {
                return rows::encode(&accepted, None).map(Some).map_err(external);
            }
        }
        self.done = true;
        let Some(mut held) = self.held.take() else { return Ok(None) };
        held.put_in_order();
        if held.traces.is_empty() {
            return Ok(None);
        }
        rows::encode(&held.traces, None).map(Some).map_err(external)
    }
}

/// The first traces of an order that is not the order in which they are found.
struct Held {
    /// By start instead of by key; only what lies behind this place.
    newest: Option<Option<(u64, TraceId)>>,
    limit: usize,
    limit_bytes: usize,
    /// More than are wanted may be among them, in any order.
    traces: Vec<Found>,
    held_bytes: usize,
}

/// Traces beyond twice the limit that are held before those too many are dropped: putting them in order
/// with every batch would cost more than holding them.
const SPARE: usize = 256;

impl Held {
    fn new(order: TraceOrder, limit: usize, limit_bytes: usize) -> Option<Self> {
        let newest = match order {
            TraceOrder::Found => return None,
            TraceOrder::Newest { after } => Some(after),
            TraceOrder::Keyed => None,
        };
        Some(Self { newest, limit, limit_bytes, traces: Vec::new(), held_bytes: 0 })
    }

    /// Adds traces.
    fn keep(&mut self, found: Vec<Found>) -> crate::error::Result<()> {
        for found in found {
            if let Some(Some(after)) = self.newest
                && !is_behind(&found, after)
            {
                continue;
            }
            self.held_bytes += memory_bytes(&found);
            self.traces.push(found);
        }
        let is_full = self.limit > 0 && self.traces.len() > self.limit.saturating_mul(2) + SPARE;
        if is_full || self.held_bytes > self.limit_bytes {
            self.put_in_order();
        }
        if self.held_bytes > self.limit_bytes {
            let what = format!("{} results to put in order; ask for fewer", self.traces.len());
            return Err(Error::Memory { limit_bytes: self.limit_bytes, what });
        }
        Ok(())
    }

    /// Leaves the first, in order and each trace once.
    fn put_in_order(&mut self) {
        match self.newest {
            Some(_) => self.traces.sort_by_key(|found| {
                let result = &found.result;
                (Reverse(result.start_unix_nanos), result.trace_id, found.unit)
            }),
            // Copies of a trace in two tenants may have two keys; the first stands.
            None => self.traces.sort_by(|a, b| {
                let place = |found: &Found| (found.result.trace_id, found.unit);
                a.key.cmp(&b.key).then_with(|| place(a).cmp(&place(b)))
            }),
        }
        let mut seen = HashSet::with_capacity(self.traces.len());
        self.traces.retain(|found| seen.insert(found.result.trace_id));
        if self.limit > 0 {
            self.traces.truncate(self.limit);
        }
        self.held_bytes = self.traces.iter().map(memory_bytes).sum();
    }
}

fn memory_bytes(found: &Found) -> usize {
    found.key.len() + found.result.memory_bytes()
}

/// Whether a trace comes after a start and an id, newest first.
fn is_behind(found: &Found, after: (u64, TraceId)) -> bool {
    let result = &found.result;
    (Reverse(result.start_unix_nanos), result.trace_id) > (Reverse(after.0), after.1)
}
