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
use traceql_language::analyze::ir::MetricsFunction;

use super::compare::{CompareMerge, Comparer};
use super::merge::{Merge, fill_exemplars};
use super::observe::{Budget, Observer};
use super::query::Observed;
use super::spec::{MetricsScanSpec, ObserveSpec, program};
use super::{Series, math, query, series_order, wire};
use crate::evaluate::compile::Program;
use crate::runtime::QueryRun;
use crate::scan::exec::{extensions, external};
use crate::scan::unit::UnitRunner;

fn properties(n_partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(wire::schema()),
        Partitioning::UnknownPartitioning(n_partitions),
        EmissionType::Final,
        Boundedness::Bounded,
    ))
}

/// A stream that yields batches once they have all been computed.
fn when_done(
    batches: impl Future<Output = crate::error::Result<Vec<RecordBatch>>> + Send + 'static,
) -> SendableRecordBatchStream {
    let stream = futures::stream::once(batches)
        .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok)))
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
    properties: Arc<PlanProperties>,
}

impl MetricsScanExec {
    /// Compiles the selection, here or on a worker.
    pub(crate) fn new(spec: MetricsScanSpec) -> crate::error::Result<Self> {
        let observed = spec.observe.observed()?;
        let (program, _) = program(&observed)?;
        Ok(Self {
            properties: properties(spec.scan.n_partitions.max(1) as usize),
            spec,
            observed: Arc::new(observed),
            program: Arc::new(program),
        })
    }
}

impl DisplayAs for MetricsScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MetricsScanSpec { scan, observe } = &self.spec;
        write!(
            f,
            "MetricsScanExec: {}, selection={}, blocks={}, units={}, partitions={}",
            self.observed.name(),
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
        let scan = Arc::new(self.spec.scan.clone());
        let units = scan.units_of(partition);
        let mut runner =
            UnitRunner::new(scan, Arc::clone(&self.program), runtime, run).map_err(external)?;
        let (_, filter) = program(&self.observed).map_err(external)?;
        if let Some(filter) = filter {
            let mut comparer = Comparer::new(&self.observed, filter, axis, budget);
            return Ok(when_done(async move {
                for (_, unit) in units {
                    runner.run(unit, &mut comparer).await?;
                }
                comparer.finish()
            }));
        }
        let n_exemplars = self.spec.observe.n_exemplars as usize;
        let mut observer = Observer::new(Arc::clone(&self.observed), axis, n_exemplars, budget);
        Ok(when_done(async move {
            for (_, unit) in units {
                runner.run(unit, &mut observer).await?;
            }
            observer.finish()
        }))
    }
}

/// What each of so many partitions may hold. Half of the memory is for the pages they decode.
fn budget(run: &QueryRun, n_partitions: usize) -> Budget {
    let limit_bytes = run.memory_limit_bytes;
    Budget { bytes: limit_bytes / 2 / n_partitions.max(1), limit_bytes }
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
        let partitions = spawn_partitions(&self.input, &context)?;
        let n_exemplars = self.spec.n_exemplars as usize;
        let (axis, budget) = (self.spec.axis(), budget(&run, 1));
        if let MetricsFunction::Compare { top_n, .. } = observed.function {
            let mut merge = CompareMerge::new(axis, top_n, budget);
            return Ok(when_done(async move {
                for batches in join(partitions).await? {
                    for batch in batches {
                        merge.add(&batch)?;
                    }
                }
                wire::encode(merge.finish().iter().map(wire::SeriesMessage::from))
            }));
        }
        let mut merge = Merge::new(observed, axis, n_exemplars, budget);
        Ok(when_done(async move {
            for batches in join(partitions).await? {
                for batch in batches {
                    merge.add(&batch)?;
                }
            }
            run.sketched.fetch_or(merge.is_sketched(), Ordering::Relaxed);
            wire::encode(merge.finish().iter().map(wire::SeriesMessage::from))
        }))
    }
}

type Partition = SpawnedTask<Result<Vec<RecordBatch>>>;

/// Runs every partition of an input at once. Dropping the tasks aborts them.
fn spawn_partitions(
    input: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Vec<Partition>> {
    let n = input.properties().output_partitioning().partition_count();
    (0..n)
        .map(|partition| {
            let stream = input.execute(partition, Arc::clone(context))?;
            Ok(SpawnedTask::spawn(stream.try_collect()))
        })
        .collect()
}

/// What the partitions yield, in their order; the first error ends all.
async fn join(partitions: Vec<Partition>) -> crate::error::Result<Vec<Vec<RecordBatch>>> {
    futures::future::try_join_all(partitions.into_iter().map(async |partition| {
        let joined = partition.join().await;
        let batches = joined
            .map_err(|error| crate::Error::Internal(format!("a partition ended: {error}")))?;
        batches.map_err(crate::error::from_datafusion)
    }))
    .await
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
        let query = query::compile(&self.spec.query).map_err(external)?;
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
                let batches: Vec<RecordBatch> =
                    stream.try_collect().await.map_err(crate::error::from_datafusion)?;
                let mut series: Vec<Series> = Vec::new();
                for batch in &batches {
                    let rows = wire::decode::<wire::SeriesMessage>(batch)?;
                    series.extend(rows.into_iter().map(Into::into));
                }
                selections.push(series);
            }
            let mut series = math::compute(&query, &observed, &selections)?;
            series.sort_by(|a, b| series_order(&a.labels, &b.labels));
            series.iter_mut().for_each(|series| fill_exemplars(series, &axis));
            wire::encode(series.iter().map(wire::SeriesMessage::from))
        }))
    }
}
