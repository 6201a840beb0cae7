//! `TableScanExec`: the rows of a table, from the same scan that searches and metrics run on. What
//! SQL demands of them is a query of TraceQL here, so conditions prune and narrow as ever.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use parking_lot::Mutex;

use super::columns::{TableColumn, TableKind, schema_of};
use super::rows::TableSink;
use crate::evaluate::compile::Program;
use crate::scan::chains::run_chains;
use crate::scan::exec::{extensions, external, streaming};
use crate::scan::spec::ScanSpec;
use crate::scan::unit::UnitRunner;

/// Batches a partition may be ahead of who reads it.
const BATCHES_AHEAD: usize = 1;

/// Scans blocks for rows of a table.
#[derive(Debug)]
pub(super) struct TableScanExec {
    kind: TableKind,
    columns: Arc<[TableColumn]>,
    schema: SchemaRef,
    spec: Arc<ScanSpec>,
    program: Arc<Program>,
    /// Rows a partition may end after.
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TableScanExec {
    /// Compiles the query of a spec.
    pub(super) fn new(
        kind: TableKind,
        columns: Vec<TableColumn>,
        spec: ScanSpec,
        limit: Option<usize>,
    ) -> crate::error::Result<Self> {
        let schema = schema_of(&columns);
        let properties = streaming(Arc::clone(&schema), spec.n_partitions.max(1) as usize);
        Ok(Self {
            kind,
            columns: columns.into(),
            schema,
            program: Arc::new(spec.program()?),
            spec: Arc::new(spec),
            limit,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl DisplayAs for TableScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        write!(
            f,
            "TableScanExec: table={}, columns=[{}], query={}",
            self.kind.name(),
            names.join(", "),
            self.spec.query
        )?;
        if let Some((start, end)) = self.spec.time_range() {
            write!(f, ", time={start}..={end}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        write!(
            f,
            ", blocks={}, units={}, partitions={}",
            self.spec.blocks.len(),
            self.spec.units.len(),
            self.spec.n_partitions
        )
    }
}

impl ExecutionPlan for TableScanExec {
    fn name(&self) -> &'static str {
        "TableScanExec"
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

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
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
        let sink = Mutex::new(TableSink::new(
            self.kind,
            Arc::clone(&self.columns),
            Arc::clone(&self.schema),
            self.program.conditions.is_empty(),
            self.limit,
        ));
        let spec = Arc::clone(&self.spec);
        let rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        // A task of its own: partitions share pages, and one that nobody polls must not keep others
        // waiting for a page it has promised.
        let mut stream =
            RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD);
        let batches = stream.tx();
        stream.spawn(async move {
            let (sink, rows, batches) = (&sink, &rows, &batches);
            run_chains(&spec, partition, |chain| {
                let (mut runner, mut sink) = (runner.another(), sink);
                async move {
                    for (_, unit) in chain {
                        if sink.lock().is_full() {
                            break;
                        }
                        runner.run(unit, &mut sink).await?;
                        let drained = sink.lock().drain();
                        for batch in drained {
                            rows.add(batch.num_rows());
                            if batches.send(Ok(batch)).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                    Ok(())
                }
            })
            .await
            .map_err(external)
        });
        Ok(stream.build())
    }
}
