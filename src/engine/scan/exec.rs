//! `SearchScanExec`: scans and evaluates in one, so that nothing can come between that would cut a
//! trace in two. Partitions are lists of work units; each unit's rows end with a marker.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
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
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::chains::{Chain, run_chains};
use super::spec::{ScanSpec, WorkUnit};
use super::unit::UnitRunner;
use crate::error::Error;
use crate::evaluate::compile::Program;
use crate::runtime::{QueryRun, Runtime};
use crate::search::collect::ResultSink;
use crate::search::rows;

/// Finished units a chain may be ahead of who reads it.
const UNITS_AHEAD: usize = 2;

/// Scans blocks and evaluates a query on them.
#[derive(Debug)]
pub(crate) struct SearchScanExec {
    pub(crate) spec: Arc<ScanSpec>,
    program: Arc<Program>,
    properties: Arc<PlanProperties>,
}

impl SearchScanExec {
    /// Compiles the query of a spec, here or on a worker.
    pub(crate) fn new(spec: ScanSpec) -> crate::error::Result<Self> {
        let program = Arc::new(spec.program()?);
        let properties = streaming(rows::schema(), spec.n_partitions.max(1) as usize);
        Ok(Self { spec: Arc::new(spec), program, properties })
    }
}

impl DisplayAs for SearchScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SearchScanExec: query={}, blocks={}, units={}, partitions={}",
            self.spec.query,
            self.spec.blocks.len(),
            self.spec.units.len(),
            self.spec.n_partitions,
        )
    }
}

impl ExecutionPlan for SearchScanExec {
    fn name(&self) -> &'static str {
        "SearchScanExec"
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
        let runner =
            UnitRunner::new(Arc::clone(&self.spec), Arc::clone(&self.program), runtime, run)
                .map_err(external)?;
        let scan = Scan {
            spec: Arc::clone(&self.spec),
            has_order: !self.program.order.is_empty(),
            runner,
        };
        let stream = match self.spec.n_readers {
            0 | 1 => scan.in_turn(partition),
            _ => scan.ahead(partition),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(rows::schema(), stream)))
    }
}

/// Rows of units, in the order of the units.
type Rows = BoxStream<'static, Result<RecordBatch>>;

/// A scan that runs.
struct Scan {
    spec: Arc<ScanSpec>,
    has_order: bool,
    runner: UnitRunner,
}

impl Scan {
    fn sink(&self) -> ResultSink {
        let spec = &self.spec;
        match self.has_order {
            false => ResultSink::new(spec.limit, spec.spans_per_spanset),
            true => ResultSink::ordered(spec.limit, spec.after_place(), spec.spans_per_spanset),
        }
    }

    /// One unit after the other, each when it is asked for.
    fn in_turn(self, partition: usize) -> Rows {
        let units = self.spec.units_of(partition);
        let state = (self.sink(), self.runner, units.into_iter());
        futures::stream::try_unfold(state, |(mut sink, mut runner, mut units)| async move {
            let Some((number, unit)) = units.next() else { return Ok(None) };
            let batch = rows_of(&mut runner, number, unit, &mut sink).await?;
            Ok(Some((batch, (sink, runner, units))))
        })
        .boxed()
    }

    /// Several chains of units at a time. They have a task of their own, which runs whether or not
    /// rows are asked for: a chain that nobody polls would keep others waiting for a page it has
    /// promised.
    fn ahead(self, partition: usize) -> Rows {
        let (begin, begun) = mpsc::unbounded_channel();
        let task = SpawnedTask::spawn(async move {
            let scan = &self;
            run_chains(&scan.spec, partition, |chain| {
                let (sender, receiver) = mpsc::channel(UNITS_AHEAD);
                // If nobody wants rows any more, sending the first of them says so.
                drop(begin.send(receiver));
                scan.chain(chain, sender)
            })
            .await
        });
        let ahead = Ahead { task: Some(task), begun, current: None };
        futures::stream::try_unfold(ahead, |mut ahead| async move {
            Ok(ahead.next().await?.map(|batch| (batch, ahead)))
        })
        .boxed()
    }

    /// Sends the rows of a chain, or what it failed with.
    async fn chain(
        &self,
        chain: Chain,
        to: mpsc::Sender<Result<RecordBatch>>,
    ) -> crate::error::Result<()> {
        let (mut sink, mut runner) = (self.sink(), self.runner.another());
        for (number, unit) in chain {
            let rows = rows_of(&mut runner, number, unit, &mut sink).await;
            let is_end = rows.is_err();
            if to.send(rows).await.is_err() || is_end {
                break;
            }
        }
        Ok(())
    }
}

/// The rows of chains in their order, while later ones are under way.
struct Ahead {
    /// Dropping it aborts them.
    task: Option<SpawnedTask<crate::error::Result<()>>>,
    begun: mpsc::UnboundedReceiver<mpsc::Receiver<Result<RecordBatch>>>,
    current: Option<mpsc::Receiver<Result<RecordBatch>>>,
}

impl Ahead {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(current) = &mut self.current
                && let Some(batch) = current.recv().await
            {
                return batch.map(Some);
            }
            self.current = self.begun.recv().await;
            if self.current.is_none() {
                // A task that panicked has begun no more chains either, and is no end.
                let Some(task) = self.task.take() else { return Ok(None) };
                let ended = task.join().await;
                ended
                    .map_err(|join| DataFusionError::ExecutionJoin(Box::new(join)))?
                    .map_err(external)?;
                return Ok(None);
            }
        }
    }
}

/// The rows of a unit, which end with a marker.
async fn rows_of(
    runner: &mut UnitRunner,
    number: u32,
    unit: WorkUnit,
    sink: &mut ResultSink,
) -> Result<RecordBatch> {
    runner.run(unit, sink).await.map_err(external)?;
    rows::encode(&sink.finish_unit(number), Some(number)).map_err(external)
}

/// Properties of an operator whose rows come while it works, in no order.
pub(crate) fn streaming(schema: SchemaRef, n_partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(n_partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// What running plans share, from the session.
pub(crate) fn extensions(context: &TaskContext) -> Result<(Arc<Runtime>, Arc<QueryRun>)> {
    let config = context.session_config();
    match (config.get_extension::<Runtime>(), config.get_extension::<QueryRun>()) {
        (Some(runtime), Some(run)) => Ok((runtime, run)),
        _ => Err(DataFusionError::Internal("the session lacks the engine's runtime".to_owned())),
    }
}

/// Our error inside DataFusion's.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
