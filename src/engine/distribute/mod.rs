//! Plans on a wire: our operators as bytes, so that the same plan runs in another process.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use prost::Message as _;

use crate::metrics::exec::{MetricsMergeExec, MetricsScanExec, MetricsSeriesExec};
use crate::metrics::spec::{MetricsScanSpec, ObserveSpec};
use crate::scan::exec::{SearchScanExec, external};
use crate::scan::spec::{FORMAT, ScanSpec};
use crate::search::combine::TraceCombineExec;

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
                combine.most_recent,
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
            Kind::Combine(Combine { limit: combine.limit as u64, most_recent: combine.most_recent })
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
