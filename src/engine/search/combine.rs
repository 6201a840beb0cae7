//! `TraceCombineExec`: the partitions of a scan in the order of their units, up to the limit. The
//! answer is thus the same whatever the number of threads, and what lies behind the limit stops.

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

use super::TraceResult;
use super::rows::{self, Row};
use crate::runtime::QueryRun;
use crate::scan::exec::{extensions, external, streaming};
use crate::scan::spec::partition_of;

/// Finished units a partition may be ahead of the merge.
const UNITS_AHEAD: usize = 4;

/// Merges partitions of a search.
#[derive(Debug)]
pub(crate) struct TraceCombineExec {
    pub(crate) input: Arc<dyn ExecutionPlan>,
    /// Most traces; 0 for all.
    pub(crate) limit: usize,
    /// Keep the newest traces instead of the first.
    pub(crate) most_recent: bool,
    properties: Arc<PlanProperties>,
}

impl TraceCombineExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, limit: usize, most_recent: bool) -> Self {
        let properties = streaming(rows::schema(), 1);
        Self { input, limit, most_recent, properties }
    }
}

impl DisplayAs for TraceCombineExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceCombineExec: limit={}, most_recent={}", self.limit, self.most_recent)
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
            (Some(input), None) => Ok(Arc::new(Self::new(input, self.limit, self.most_recent))),
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
            ordered: self.limit > 0 && !self.most_recent,
            tasks: Vec::with_capacity(n),
            next_unit: 0,
            seen: HashSet::new(),
            limit: self.limit,
            newest: self.most_recent.then(Vec::new),
            done: false,
        };
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
    newest: Option<Vec<TraceResult>>,
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
                    Row::Trace(result) => {
                        if self.seen.insert(result.trace_id.0) {
                            accepted.push(*result);
                        }
                    }
                }
            }
            if let Some(newest) = &mut self.newest {
                newest.extend(accepted);
                keep_newest(newest, self.limit);
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
                return rows::encode(0, &accepted, false).map(Some).map_err(external);
            }
        }
        self.done = true;
        match self.newest.take() {
            Some(newest) if !newest.is_empty() => {
                rows::encode(0, &newest, false).map(Some).map_err(external)
            }
            _ => Ok(None),
        }
    }
}

fn keep_newest(traces: &mut Vec<TraceResult>, limit: usize) {
    super::newest_first(traces);
    if limit > 0 {
        traces.truncate(limit);
    }
}
