//! `SearchScanExec`: scans and evaluates in one, so that nothing can come between that would cut a
//! trace in two. Partitions are lists of work units; each unit's rows end with a marker.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
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

use super::spec::ScanSpec;
use super::unit::UnitRunner;
use crate::error::Error;
use crate::evaluate::compile::Program;
use crate::runtime::{QueryRun, Runtime};
use crate::search::collect::ResultSink;
use crate::search::rows;

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
        let spec = &self.spec;
        let sink = match self.program.order.is_empty() {
            true => ResultSink::new(spec.limit, spec.spans_per_spanset),
            false => ResultSink::ordered(spec.limit, spec.after_place(), spec.spans_per_spanset),
        };
        let units = self.spec.units_of(partition);
        let state = (runner, sink, units.into_iter());
        let stream =
            futures::stream::try_unfold(state, |(mut runner, mut sink, mut units)| async move {
                let Some((number, unit)) = units.next() else { return Ok(None) };
                runner.run(unit, &mut sink).await.map_err(external)?;
                let found = sink.finish_unit(number);
                let batch = rows::encode(&found, Some(number)).map_err(external)?;
                Ok(Some((batch, (runner, sink, units))))
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(rows::schema(), stream.boxed())))
    }
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
