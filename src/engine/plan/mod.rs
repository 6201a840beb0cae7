//! Logical nodes of a query and how they become operators. Synchronous and pure: a plan can be
//! made and shown with no storage at hand.

mod metrics;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use prost::Message as _;

pub(crate) use self::metrics::metrics;
use crate::scan::exec::{SearchScanExec, external};
use crate::scan::spec::ScanSpec;
use crate::search::combine::{TraceCombineExec, TraceOrder};
use crate::search::rows;

/// Scan and evaluation: blocks in, one row per matching trace out.
#[derive(Clone, Debug)]
pub(crate) struct SearchScan {
    spec: Arc<ScanSpec>,
    schema: DFSchemaRef,
}

/// Partitions in unit order, up to a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TraceCombine {
    input: LogicalPlan,
    limit: usize,
    order: TraceOrder,
}

/// The logical plan of a search.
///
/// # Errors
/// None that a query can cause.
pub(crate) fn search(spec: ScanSpec, limit: usize, order: TraceOrder) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(rows::schema())?);
    let scan = extension(SearchScan { spec: Arc::new(spec), schema });
    Ok(extension(TraceCombine { input: scan, limit, order }))
}

fn extension(node: impl UserDefinedLogicalNode + 'static) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

impl PartialEq for SearchScan {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Eq for SearchScan {}

impl Hash for SearchScan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.encode_to_vec().hash(state);
    }
}

impl PartialOrd for SearchScan {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.spec.encode_to_vec().partial_cmp(&other.spec.encode_to_vec())
    }
}

impl UserDefinedLogicalNodeCore for SearchScan {
    fn name(&self) -> &'static str {
        "SearchScan"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SearchScan: {}", self.spec.query)?;
        if let Some((start, end)) = self.spec.time_range() {
            write!(f, ", time={start}..={end}")?;
        }
        if self.spec.after.is_some() {
            f.write_str(", behind the page before")?;
        }
        write!(f, ", spans_per_spanset={}", self.spec.spans_per_spanset)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}

impl PartialOrd for TraceCombine {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.limit, self.order).partial_cmp(&(other.limit, other.order))
    }
}

impl UserDefinedLogicalNodeCore for TraceCombine {
    fn name(&self) -> &'static str {
        "TraceCombine"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.limit, self.order) {
            (0, TraceOrder::Keyed) => write!(f, "TraceCombine: all traces, by their keys"),
            (0, _) => write!(f, "TraceCombine: all traces"),
            (limit, TraceOrder::Found) => write!(f, "TraceCombine: first {limit} traces"),
            (limit, TraceOrder::Newest { .. }) => write!(f, "TraceCombine: newest {limit} traces"),
            (limit, TraceOrder::Keyed) => {
                write!(f, "TraceCombine: first {limit} traces by their keys")
            }
        }
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.pop() {
            Some(input) => Ok(Self { input, ..*self }),
            None => Err(DataFusionError::Internal("TraceCombine has one input".to_owned())),
        }
    }
}

/// Makes operators of our nodes.
#[derive(Debug)]
pub(crate) struct NodePlanner;

#[async_trait]
impl ExtensionPlanner for NodePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(scan) = node.as_any().downcast_ref::<SearchScan>() {
            let exec = SearchScanExec::new(scan.spec.as_ref().clone()).map_err(external)?;
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(combine) = node.as_any().downcast_ref::<TraceCombine>()
            && let [input] = physical_inputs
        {
            let exec = TraceCombineExec::new(Arc::clone(input), combine.limit, combine.order);
            return Ok(Some(Arc::new(exec)));
        }
        metrics::operator(node, physical_inputs)
    }
}
