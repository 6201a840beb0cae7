//! `AnswerExec`: the answer of a TraceQL query as rows of SQL. Its input is the plan that the query
//! has everywhere else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt as _;

use super::function::{AnswerColumn, rows_of_series, rows_of_traces};
use crate::metrics::TimeAxis;
use crate::metrics::exec::series_of;
use crate::query::task_context;
use crate::runtime::QueryRun;
use crate::scan::exec::{extensions, external, streaming};
use crate::search::TraceResult;
use crate::search::rows::{self, Row};

/// Rows of answers.
#[derive(Debug)]
pub(super) struct AnswerExec {
    input: Arc<dyn ExecutionPlan>,
    columns: Arc<[AnswerColumn]>,
    schema: SchemaRef,
    /// Of a metrics query.
    axis: Option<TimeAxis>,
    properties: Arc<PlanProperties>,
}

impl AnswerExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: Arc<[AnswerColumn]>,
        schema: SchemaRef,
        axis: Option<TimeAxis>,
    ) -> Self {
        let properties = streaming(Arc::clone(&schema), 1);
        Self { input, columns, schema, axis, properties }
    }
}

impl DisplayAs for AnswerExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        write!(f, "AnswerExec: columns=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for AnswerExec {
    fn name(&self) -> &'static str {
        "AnswerExec"
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
            (Some(input), None) => Ok(Arc::new(Self::new(
                input,
                Arc::clone(&self.columns),
                Arc::clone(&self.schema),
                self.axis,
            ))),
            _ => Err(DataFusionError::Internal("AnswerExec has one input".to_owned())),
        }
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (runtime, statement) = extensions(&context)?;
        // A run of its own: it ends when this answer is complete, the statement goes on.
        let run = statement.part();
        let input = self.input.execute(0, task_context(&runtime, &run))?;
        let (columns, schema) = (Arc::clone(&self.columns), Arc::clone(&self.schema));
        let axis = self.axis;
        let state = (input, Part { run, statement });
        let stream = futures::stream::try_unfold(state, move |(mut input, part)| {
            let (columns, schema) = (Arc::clone(&columns), Arc::clone(&schema));
            async move {
                let Some(batch) = input.next().await else { return Ok(None) };
                let rows = rows(&batch?, axis.as_ref(), &columns, &schema)?;
                Ok(Some((rows, (input, part))))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream.boxed())))
    }
}

/// Adds what was looked at to the statement's sums, however the stream ends.
struct Part {
    run: Arc<QueryRun>,
    statement: Arc<QueryRun>,
}

impl Drop for Part {
    fn drop(&mut self) {
        for (of, to) in [
            (&self.run.inspected_traces, &self.statement.inspected_traces),
            (&self.run.inspected_spans, &self.statement.inspected_spans),
            (&self.run.units_done, &self.statement.units_done),
        ] {
            to.fetch_add(of.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let sketched = self.run.sketched.load(Ordering::Relaxed);
        self.statement.sketched.fetch_or(sketched, Ordering::Relaxed);
    }
}

fn rows(
    batch: &RecordBatch,
    axis: Option<&TimeAxis>,
    columns: &[AnswerColumn],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    if let Some(axis) = axis {
        let series = series_of(batch).map_err(external)?;
        return rows_of_series(&series, axis, columns, schema);
    }
    let traces: Vec<TraceResult> = rows::decode(batch)
        .map_err(external)?
        .into_iter()
        .filter_map(|row| match row {
            Row::Trace(found) => Some(found.result),
            Row::EndOfUnit => None,
        })
        .collect();
    rows_of_traces(&traces, columns, schema)
}
