//! Plans on a wire: our operators as bytes, so that the same plan runs in another process.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use prost::Message as _;
use traceql_blocks::model::TraceId;

use crate::metrics::exec::{MetricsMergeExec, MetricsScanExec, MetricsSeriesExec};
use crate::metrics::spec::{MetricsScanSpec, ObserveSpec};
use crate::scan::exec::{SearchScanExec, external};
use crate::scan::spec::{FORMAT, ScanSpec};
use crate::search::combine::{TraceCombineExec, TraceOrder};

/// Encodes and decodes the engine's operators. Stateless: stores and caches are found through the
/// session in which a plan runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Scan(ScanSpec),
    #[prost(message, tag = "2")]
    Combine(Combine),
    #[prost(message, tag = "3")]
    MetricsScan(MetricsScanSpec),
    #[prost(message, tag = "4")]
    MetricsMerge(ObserveSpec),
    #[prost(message, tag = "5")]
    MetricsSeries(ObserveSpec),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Combine {
    #[prost(uint64, tag = "1")]
    limit: u64,
    #[prost(bool, tag = "2")]
    most_recent: bool,
    /// Traces come by their keys.
    #[prost(bool, tag = "3")]
    keyed: bool,
    /// Of the newest those behind this start and this trace.
    #[prost(uint64, optional, tag = "4")]
    after_start_unix_nanos: Option<u64>,
    #[prost(bytes = "vec", tag = "5")]
    after_trace_id: Vec<u8>,
}

impl Combine {
    fn new(limit: usize, order: TraceOrder) -> Self {
        let mut combine = Self { limit: limit as u64, ..Self::default() };
        match order {
            TraceOrder::Found => {}
            TraceOrder::Newest { after } => {
                combine.most_recent = true;
                if let Some((start_unix_nanos, id)) = after {
                    combine.after_start_unix_nanos = Some(start_unix_nanos);
                    combine.after_trace_id = id.0.to_vec();
                }
            }
            TraceOrder::Keyed => combine.keyed = true,
        }
        combine
    }

    fn order(&self) -> TraceOrder {
        let id = TraceId::from_bytes(&self.after_trace_id);
        match (self.keyed, self.most_recent) {
            (true, _) => TraceOrder::Keyed,
            (_, true) => {
                TraceOrder::Newest { after: self.after_start_unix_nanos.map(|start| (start, id)) }
            }
            _ => TraceOrder::Found,
        }
    }
}

impl PhysicalExtensionCodec for EngineCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _ctx: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bad = |what: String| DataFusionError::Plan(format!("cannot decode a plan: {what}"));
        let node = Node::decode(buf).map_err(|error| bad(error.to_string()))?;
        match (node.kind, inputs) {
            (Some(Kind::Scan(spec)), []) if spec.format == FORMAT => {
                Ok(Arc::new(SearchScanExec::new(spec).map_err(external)?))
            }
            (Some(Kind::Scan(spec)), []) => {
                Err(bad(format!("its format is {}, this process reads {FORMAT}", spec.format)))
            }
            (Some(Kind::Combine(combine)), [input]) => Ok(Arc::new(TraceCombineExec::new(
                Arc::clone(input),
                usize::try_from(combine.limit).map_err(|error| bad(error.to_string()))?,
                combine.order(),
            ))),
            (Some(Kind::MetricsScan(spec)), []) if spec.is_known() => {
                Ok(Arc::new(MetricsScanExec::new(spec).map_err(external)?))
            }
            (Some(Kind::MetricsScan(spec)), []) => {
                let format = spec.scan.format;
                Err(bad(format!("its format is {format}, this process reads {FORMAT}")))
            }
            (Some(Kind::MetricsMerge(spec)), [input]) => {
                Ok(Arc::new(MetricsMergeExec::new(Arc::clone(input), spec)))
            }
            (Some(Kind::MetricsSeries(spec)), inputs) => {
                let inputs = inputs.iter().map(Arc::clone).collect();
                Ok(Arc::new(MetricsSeriesExec::new(inputs, spec)))
            }
            (_, inputs) => Err(bad(format!("an unknown node with {} inputs", inputs.len()))),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = if let Some(scan) = node.downcast_ref::<SearchScanExec>() {
            Kind::Scan(scan.spec.as_ref().clone())
        } else if let Some(combine) = node.downcast_ref::<TraceCombineExec>() {
            Kind::Combine(Combine::new(combine.limit, combine.order))
        } else if let Some(scan) = node.downcast_ref::<MetricsScanExec>() {
            Kind::MetricsScan(scan.spec.clone())
        } else if let Some(merge) = node.downcast_ref::<MetricsMergeExec>() {
            Kind::MetricsMerge(merge.spec.clone())
        } else if let Some(series) = node.downcast_ref::<MetricsSeriesExec>() {
            Kind::MetricsSeries(series.spec.clone())
        } else {
            return Err(DataFusionError::Plan(format!("{} is none of ours", node.name())));
        };
        Node { kind: Some(kind) }
            .encode(buf)
            .map_err(|error| DataFusionError::Plan(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
