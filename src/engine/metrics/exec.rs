//! The operators of a metrics query: `MetricsScanExec` observes spans, a partition for itself;
//! `MetricsMergeExec` adds partitions up to series; `MetricsSeriesExec` computes the query's answer
//! of the series of its selections. A row is a series everywhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use traceql_language::analyze::ir::MetricsFunction;

use super::budget::Budget;
use super::compare::{CompareMerge, Comparer};
use super::merge::{Merge, fill_exemplars};
use super::observe::Observer;
use super::partials::UnitsDone;
use super::query::Observed;
use super::spec::{MetricsScanSpec, ObserveSpec, program};
use super::{Series, math, query, series_order, wire};
use crate::evaluate::compile::{Filter, Program};
use crate::runtime::QueryRun;
use crate::scan::chains::run_chains;
use crate::scan::exec::{extensions, external};
use crate::scan::spec::{ScanSpec, query_of_plan};
use crate::scan::unit::{Sink, UnitRunner};

fn properties(n_partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(wire::schema()),
        Partitioning::UnknownPartitioning(n_partitions),
        EmissionType::Final,
        Boundedness::Bounded,
    ))
}

/// A stream of batches that are made, one by one, once their source has been computed.
fn when_done<I>(
    batches: impl Future<Output = crate::error::Result<I>> + Send + 'static,
) -> SendableRecordBatchStream
where
    I: Iterator<Item = crate::error::Result<RecordBatch>> + Send + 'static,
{
    let stream = futures::stream::once(batches)
        .map_ok(|batches| futures::stream::iter(batches).map_err(external))
        .map_err(external)
        .try_flatten();
    Box::pin(RecordBatchStreamAdapter::new(wire::schema(), stream.boxed()))
}

/// Scans blocks and observes the spans that a pipeline leaves.
#[derive(Debug)]
pub(crate) struct MetricsScanExec {
    pub(crate) spec: MetricsScanSpec,
    observed: Arc<Observed>,
    program: Arc<Program>,
    /// What `compare()` selects; its conditions are the program's.
    selection: Option<Arc<Filter>>,
    properties: Arc<PlanProperties>,
}

impl MetricsScanExec {
    /// Compiles the selection, here or on a worker.
    pub(crate) fn new(spec: MetricsScanSpec) -> crate::error::Result<Self> {
        let observed = spec.observe.observed()?;
        let (program, selection) = program(&observed)?;
        Ok(Self {
            properties: properties(spec.scan.n_partitions.max(1) as usize),
            spec,
            observed: Arc::new(observed),
            program: Arc::new(program),
            selection: selection.map(Arc::new),
        })
    }
}

impl DisplayAs for MetricsScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MetricsScanSpec { scan, observe } = &self.spec;
        write!(
            f,
            "MetricsScanExec: {}, selection={}, blocks={}, units={}, partitions={}",
            self.observed.function.name(),
            observe.selection,
            scan.blocks.len(),
            scan.units.len(),
            scan.n_partitions,
        )
    }
}

impl ExecutionPlan for MetricsScanExec {
    fn name(&self) -> &'static str {
        "MetricsScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (runtime, run) = extensions(&context)?;
        let axis = self.spec.observe.axis();
        let n_partitions = self.spec.scan.n_partitions.max(1) as usize;
        let budget = budget(&run, n_partitions);
        let partials = run.partials.clone();
        let scan = Arc::new(self.spec.scan.clone());
        let runner = UnitRunner::new(Arc::clone(&scan), Arc::clone(&self.program), runtime, run)
            .map_err(external)?;
        if let Some(selection) = &self.selection {
            let selection = Arc::clone(selection);
            let comparer = Comparer::new(&self.observed, selection, axis, budget);
            return Ok(when_done(async move {
                let comparer = Mutex::new(comparer);
                observe(&scan, partition, &runner, &comparer, None).await?;
                Ok(comparer.into_inner().finish())
            }));
        }
        let n_exemplars = self.spec.observe.n_exemplars as usize;
        let observer = Observer::new(Arc::clone(&self.observed), axis, n_exemplars, budget);
        let observer = Arc::new(Mutex::new(observer));
        let done = partials.and_then(|partials| partials.watch(&observer));
        Ok(when_done(async move {
            observe(&scan, partition, &runner, &observer, done.as_deref()).await?;
            Ok(Observer::finish(observer))
        }))
    }
}

/// Hands what the units of a partition leave to a sink, and says which are done.
async fn observe<S: Sink>(
    scan: &ScanSpec,
    partition: usize,
    runner: &UnitRunner,
    sink: &Mutex<S>,
    done: Option<&UnitsDone>,
) -> crate::error::Result<()> {
    run_chains(scan, partition, |chain| {
        let (mut runner, mut sink) = (runner.another(), sink);
        async move {
            for (number, unit) in chain {
                runner.run(unit, &mut sink).await?;
                if let Some(done) = done {
                    done.add(number);
                }
            }
            Ok(())
        }
    })
    .await
}

/// One part in so many of the memory is for what partitions hold, another for what they are merged
/// into; the rest is for pages, for what crosses between operators, and for finished series.
const STATE_SHARE: usize = 4;

/// What each of so many partitions may hold.
fn budget(run: &QueryRun, n_partitions: usize) -> Budget {
    let limit_bytes = run.memory_limit_bytes;
    Budget::new(limit_bytes / STATE_SHARE / n_partitions.max(1), limit_bytes)
}

/// Adds the partitions of a scan up.
#[derive(Debug)]
pub(crate) struct MetricsMergeExec {
    pub(crate) input: Arc<dyn ExecutionPlan>,
    pub(crate) spec: ObserveSpec,
    properties: Arc<PlanProperties>,
}

impl MetricsMergeExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, spec: ObserveSpec) -> Self {
        Self { input, spec, properties: properties(1) }
    }
}

impl DisplayAs for MetricsMergeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = self.spec.axis();
        write!(f, "MetricsMergeExec: intervals={}, step={}s", axis.n_intervals, axis.step_seconds())
    }
}

impl ExecutionPlan for MetricsMergeExec {
    fn name(&self) -> &'static str {
        "MetricsMergeExec"
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
            (Some(input), None) => Ok(Arc::new(Self::new(input, self.spec.clone()))),
            _ => Err(DataFusionError::Internal("MetricsMergeExec has one input".to_owned())),
        }
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (_, run) = extensions(&context)?;
        let observed = self.spec.observed().map_err(external)?;
        let partitions = Partitions::spawn(&self.input, &context)?;
        let n_exemplars = self.spec.n_exemplars as usize;
        let (axis, budget) = (self.spec.axis(), budget(&run, 1));
        if let MetricsFunction::Compare { top_n, .. } = observed.function {
            let mut merge = CompareMerge::new(axis, top_n, budget);
            return Ok(when_done(async move {
                partitions.each(|batch| merge.add(&batch)).await?;
                let series = merge.finish().into_iter();
                Ok(wire::encode(series.map(|series| wire::SeriesMessage::from(&series))))
            }));
        }
        let mut merge = Merge::new(observed, axis, n_exemplars, budget);
        Ok(when_done(async move {
            partitions.each(|batch| merge.add(&batch)).await?;
            if let Some(partials) = &run.partials {
                partials.close();
            }
            run.sketched.fetch_or(merge.is_sketched(), Ordering::Relaxed);
            Ok(wire::encode(merge.finish().map(|series| wire::SeriesMessage::from(&series))))
        }))
    }
}

/// The partitions of an input, all running. Dropping them aborts their tasks.
struct Partitions {
    tasks: Vec<SpawnedTask<()>>,
    batches: Vec<mpsc::Receiver<Result<RecordBatch>>>,
}

impl Partitions {
    fn spawn(input: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Self> {
        let n = input.properties().output_partitioning().partition_count();
        let mut partitions = Self { tasks: Vec::with_capacity(n), batches: Vec::with_capacity(n) };
        for partition in 0..n {
            let mut stream = input.execute(partition, Arc::clone(context))?;
            let (sender, receiver) = mpsc::channel(1);
            partitions.batches.push(receiver);
            partitions.tasks.push(SpawnedTask::spawn(async move {
                while let Some(batch) = stream.next().await {
                    if sender.send(batch).await.is_err() {
                        break;
                    }
                }
            }));
        }
        Ok(partitions)
    }

    /// Hands over the batches of one partition after the other, so that sums do not depend on which
    /// was faster. The first error ends all.
    async fn each(
        mut self,
        mut take: impl FnMut(RecordBatch) -> crate::error::Result<()>,
    ) -> crate::error::Result<()> {
        for batches in &mut self.batches {
            while let Some(batch) = batches.recv().await {
                take(batch.map_err(crate::error::from_datafusion)?)?;
            }
        }
        for task in self.tasks {
            let joined = task.join().await;
            joined
                .map_err(|error| crate::Error::Internal(format!("a partition ended: {error}")))?;
        }
        Ok(())
    }
}

/// Computes the answer of a query from the series of its selections.
#[derive(Debug)]
pub(crate) struct MetricsSeriesExec {
    /// One per selection, in the order of the text.
    pub(crate) inputs: Vec<Arc<dyn ExecutionPlan>>,
    pub(crate) spec: ObserveSpec,
    properties: Arc<PlanProperties>,
}

impl MetricsSeriesExec {
    pub(crate) fn new(inputs: Vec<Arc<dyn ExecutionPlan>>, spec: ObserveSpec) -> Self {
        Self { inputs, spec, properties: properties(1) }
    }
}

impl DisplayAs for MetricsSeriesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MetricsSeriesExec: {}", self.spec.query)
    }
}

impl ExecutionPlan for MetricsSeriesExec {
    fn name(&self) -> &'static str {
        "MetricsSeriesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children, self.spec.clone())))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let query = query_of_plan(&self.spec.query).map_err(external)?;
        let axis = self.spec.axis();
        // One selection after the other: each has all threads and all memory.
        let inputs: Vec<_> = self.inputs.iter().map(Arc::clone).collect();
        Ok(when_done(async move {
            let observed = query::observed(&query);
            let mut selections = Vec::with_capacity(inputs.len());
            for input in inputs {
                let stream = input
                    .execute(0, Arc::clone(&context))
                    .map_err(crate::error::from_datafusion)?;
                selections.push(collect(stream).await?);
            }
            let mut series = math::compute(&query, &observed, &selections)?;
            series.sort_by(|a, b| series_order(&a.labels, &b.labels));
            series.iter_mut().for_each(|series| fill_exemplars(series, &axis));
            let series = series.into_iter();
            Ok(wire::encode(series.map(|series| wire::SeriesMessage::from(&series))))
        }))
    }
}

/// All series of a stream.
pub(super) async fn collect(
    mut stream: SendableRecordBatchStream,
) -> crate::error::Result<Vec<Series>> {
    let mut series = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(crate::error::from_datafusion)?;
        series.extend(series_of(&batch)?);
    }
    Ok(series)
}

/// The series of a batch of [`MetricsSeriesExec`].
pub(crate) fn series_of(batch: &RecordBatch) -> crate::error::Result<Vec<Series>> {
    Ok(wire::decode::<wire::SeriesMessage>(batch)?.into_iter().map(Into::into).collect())
}
