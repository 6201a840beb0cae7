//! Logical nodes of a metrics query and how they become operators.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use prost::Message;

use super::extension;
use crate::metrics::exec::{MetricsMergeExec, MetricsScanExec, MetricsSeriesExec};
use crate::metrics::spec::{MetricsScanSpec, ObserveSpec};
use crate::metrics::wire;
use crate::scan::exec::external;

/// A node that holds one message: what it does.
#[derive(Clone, Debug)]
struct Node<M> {
    name: &'static str,
    /// For people.
    text: String,
    spec: M,
    inputs: Vec<LogicalPlan>,
    schema: DFSchemaRef,
}

impl<M: Message> PartialEq for Node<M> {
    fn eq(&self, other: &Self) -> bool {
        self.spec.encode_to_vec() == other.spec.encode_to_vec() && self.inputs == other.inputs
    }
}

impl<M: Message> Eq for Node<M> {}

impl<M: Message> Hash for Node<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.encode_to_vec().hash(state);
        self.inputs.hash(state);
    }
}

impl<M: Message> PartialOrd for Node<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.spec.encode_to_vec().partial_cmp(&other.spec.encode_to_vec())
    }
}

impl<M: Message + Clone + fmt::Debug + 'static> UserDefinedLogicalNodeCore for Node<M> {
    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { inputs, ..self.clone() })
    }
}

/// Adds partitions up.
#[derive(Clone, PartialEq, Message)]
struct MergeSpec {
    #[prost(message, required, tag = "1")]
    observe: ObserveSpec,
}

/// Computes the answer.
#[derive(Clone, PartialEq, Message)]
struct SeriesSpec {
    #[prost(message, required, tag = "1")]
    observe: ObserveSpec,
}

/// The logical plan of a metrics query: a scan for each selection, and what each selects, for people.
///
/// # Errors
/// None that a query can cause.
pub(crate) fn metrics(scans: Vec<(MetricsScanSpec, String)>) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(wire::schema())?);
    let mut selections = Vec::with_capacity(scans.len());
    let mut whole = None;
    for (spec, text) in scans {
        let observe = spec.observe.clone();
        whole.get_or_insert_with(|| observe.clone());
        let axis = observe.axis();
        let scan = Node {
            name: "MetricsScan",
            text: format!("{text}, time={}..={}", observe.start_unix_nanos, axis.end_unix_nanos()),
            spec,
            inputs: Vec::new(),
            schema: Arc::clone(&schema),
        };
        let merge = Node {
            name: "MetricsMerge",
            text: format!("intervals={}, step={}s", axis.n_intervals, axis.step_seconds()),
            spec: MergeSpec { observe },
            inputs: vec![extension(scan)],
            schema: Arc::clone(&schema),
        };
        selections.push(extension(merge));
    }
    let observe = whole
        .ok_or_else(|| DataFusionError::Internal("a metrics query without selection".to_owned()))?;
    Ok(extension(Node {
        name: "MetricsSeries",
        text: observe.query.clone(),
        spec: SeriesSpec { observe },
        inputs: selections,
        schema,
    }))
}

/// The operator of a node of ours.
pub(super) fn operator(
    node: &dyn UserDefinedLogicalNode,
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let node = node.as_any();
    if let Some(scan) = node.downcast_ref::<Node<MetricsScanSpec>>() {
        let exec = MetricsScanExec::new(scan.spec.clone()).map_err(external)?;
        return Ok(Some(Arc::new(exec)));
    }
    if let Some(merge) = node.downcast_ref::<Node<MergeSpec>>()
        && let [input] = inputs
    {
        let spec = merge.spec.observe.clone();
        return Ok(Some(Arc::new(MetricsMergeExec::new(Arc::clone(input), spec))));
    }
    if let Some(series) = node.downcast_ref::<Node<SeriesSpec>>() {
        let inputs = inputs.iter().map(Arc::clone).collect();
        let spec = series.spec.observe.clone();
        return Ok(Some(Arc::new(MetricsSeriesExec::new(inputs, spec))));
    }
    Ok(None)
}
