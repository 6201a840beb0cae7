//! Stages over the spansets of a batch (`traceql.md` 7). As long as every trace has one spanset
//! without values, the spansets of all traces together are one mask.

use traceql_blocks::read::leaf::{Demand, Fault};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::predicate::Comparison;
use traceql_blocks::read::values::ColumnData;
use traceql_blocks::schema::Column;
use traceql_language::analyze::ir::{SpansetOp, StructuralMode};

use super::aggregate::{Aggregate, Scalar, holds, named};
use super::compile::{AggregateNode, ScalarNode, SpansetNode, StageNode};
use super::field::Batch;
use super::structural::{NestedSets, apply};
use super::value::Val;
use crate::error::Error;
use crate::search::Value;

/// Spans of one trace that matched, with the values the pipeline has named.
#[derive(Clone, Debug)]
pub(crate) struct Spanset {
    pub(crate) trace: u32,
    /// In storage order.
    pub(crate) spans: Vec<u32>,
    pub(crate) values: Vec<(String, Value)>,
}

/// What flows between stages.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    /// One spanset per trace that has a span in the mask, without values.
    Mask(Mask),
    /// Spansets by ascending trace.
    Sets(Vec<Spanset>),
}

/// What stopped evaluation: data must be fetched, or the query cannot be evaluated on this data.
#[derive(Debug)]
pub(crate) enum Stop {
    Fault(Fault),
    Query(Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(crate) type Run<T> = Result<T, Stop>;

impl Batch<'_> {
    /// Runs the whole pipeline on the candidate traces.
    pub(crate) fn run(&self) -> Run<Flow> {
        let input = Flow::Mask(self.candidate_spans());
        self.stages(&self.program.stages, input)
    }

    /// Traces that may match, judged by the conditions that are cheap to test. A superset.
    pub(crate) fn narrow(&self) -> Demand<Mask> {
        let Some(StageNode::Spanset(node)) = self.program.stages.first() else {
            return Ok(self.traces.clone());
        };
        let spans = self.upper(node)?;
        let mut traces = self.traces.clone();
        for trace in self.traces.ones() {
            if !spans.any_in(self.structure.trace_spans.range(trace)) {
                traces.clear(trace);
            }
        }
        Ok(traces)
    }

    /// A superset of the spans a spanset expression yields.
    pub(super) fn upper(&self, node: &SpansetNode) -> Demand<Mask> {
        Ok(match node {
            SpansetNode::Filter(filter) => {
                let mut mask = self.filter(filter)?;
                mask.and(&self.candidate_spans());
                mask
            }
            SpansetNode::Pipeline(stages) => match stages.first() {
                Some(StageNode::Spanset(first)) => self.upper(first)?,
                _ => self.candidate_spans(),
            },
            SpansetNode::Verdict(node) => self.upper_verdict(node)?,
            SpansetNode::Operation { left, op, right } => {
                let (left, right) = (self.upper(left), self.upper(right));
                let (mut left, right) = (left?, right?);
                match op {
                    SpansetOp::Or => {
                        left.or(&right);
                        left
                    }
                    SpansetOp::And => self.both(&left, &right),
                    SpansetOp::Structural { mode: StructuralMode::Negated, .. } => right,
                    SpansetOp::Structural { mode: StructuralMode::Plain, .. } => {
                        let mut both = self.both(&left, &right);
                        both.and(&right);
                        both
                    }
                    SpansetOp::Structural { mode: StructuralMode::Union, .. } => {
                        self.both(&left, &right)
                    }
                }
            }
        })
    }

    /// The union in traces where both are non-empty.
    pub(super) fn both(&self, left: &Mask, right: &Mask) -> Mask {
        let mut result = left.clone();
        result.or(right);
        for trace in self.traces.ones() {
            let spans = self.structure.trace_spans.range(trace);
            if !(left.any_in(spans.clone()) && right.any_in(spans.clone())) {
                spans.for_each(|span| result.clear(span));
            }
        }
        result
    }

    fn stages(&self, stages: &[StageNode], input: Flow) -> Run<Flow> {
        let mut flow = input;
        for (at, stage) in stages.iter().enumerate() {
            flow = self.stage(stage, stages.get(at + 1), flow)?;
        }
        Ok(flow)
    }

    fn stage(&self, stage: &StageNode, next: Option<&StageNode>, flow: Flow) -> Run<Flow> {
        match stage {
            StageNode::Spanset(node) => self.spanset_stage(node, flow),
            StageNode::ScalarFilter { left, op, right } => {
                self.scalar_filter(left, *op, right, flow)
            }
            StageNode::By { key, label } => self.by(key, label, next, &flow),
            StageNode::Coalesce => Ok(self.coalesce(flow)),
            StageNode::Select => Ok(flow),
        }
    }

    fn spanset_stage(&self, node: &SpansetNode, flow: Flow) -> Run<Flow> {
        match flow {
            Flow::Mask(input) => Ok(Flow::Mask(self.spanset(node, &input)?)),
            Flow::Sets(sets) => {
                // A filter judges spans one by one: it is the same for all spansets.
                if let SpansetNode::Filter(filter) = node {
                    let mask = self.filter(filter)?;
                    let mut sets = sets;
                    sets.retain_mut(|set| {
                        set.spans.retain(|span| mask.get(*span as usize));
                        !set.spans.is_empty()
                    });
                    return Ok(Flow::Sets(sets));
                }
                self.by_layers(sets, |mask| self.spanset(node, mask))
            }
        }
    }

    /// Spansets of one trace are evaluated apart: the first ones of all traces together, then the
    /// second ones, and so on.
    fn by_layers(&self, sets: Vec<Spanset>, f: impl Fn(&Mask) -> Run<Mask>) -> Run<Flow> {
        let mut layers: Vec<Mask> = Vec::new();
        let mut layer_of = Vec::with_capacity(sets.len());
        let (mut last, mut layer) = (u32::MAX, 0);
        for set in &sets {
            layer = if set.trace == last { layer + 1 } else { 0 };
            last = set.trace;
            if layers.len() == layer {
                layers.push(Mask::none(self.n_spans()));
            }
            set.spans.iter().for_each(|span| layers[layer].set(*span as usize));
            layer_of.push(layer);
        }
        let layers = layers.iter().map(f).collect::<Run<Vec<Mask>>>()?;
        let sets = sets.into_iter().zip(layer_of).filter_map(|(mut set, layer)| {
            let spans = self.structure.trace_spans.range(set.trace as usize);
            set.spans = layers[layer].ones_in(spans).map(super::field::row_number).collect();
            (!set.spans.is_empty()).then_some(set)
        });
        Ok(Flow::Sets(sets.collect()))
    }

    /// A spanset expression on one spanset per trace.
    fn spanset(&self, node: &SpansetNode, input: &Mask) -> Run<Mask> {
        match node {
            SpansetNode::Filter(filter) => {
                let mut mask = self.filter(filter)?;
                mask.and(input);
                Ok(mask)
            }
            SpansetNode::Pipeline(stages) => {
                Ok(self.flatten(self.stages(stages, Flow::Mask(input.clone()))?))
            }
            SpansetNode::Verdict(node) => self.judge(node, input),
            SpansetNode::Operation { left, op, right } => {
                let structural = matches!(op, SpansetOp::Structural { .. });
                // Both sides are asked before a fault is reported, so that one fetch serves both.
                let (left, right) =
                    (self.operand(left, input, structural), self.operand(right, input, structural));
                let (left, right) = (left?, right?);
                match *op {
                    SpansetOp::And => Ok(self.both(&left, &right)),
                    SpansetOp::Or => {
                        let mut union = left;
                        union.or(&right);
                        Ok(union)
                    }
                    SpansetOp::Structural { relation, mode } => {
                        let columns = [
                            Column::NestedSetLeft,
                            Column::NestedSetRight,
                            Column::NestedSetParent,
                        ]
                        .map(|column| self.data.column(&column, &self.traces));
                        let [Ok(lefts), Ok(rights), Ok(parents)] = columns else {
                            return Err(Stop::Fault(first_fault(columns)));
                        };
                        let sets = NestedSets {
                            left: ints(&lefts),
                            right: ints(&rights),
                            parent: ints(&parents),
                        };
                        let mut result = Mask::none(self.n_spans());
                        for trace in self.traces.ones() {
                            let spans = self.structure.trace_spans.range(trace);
                            apply(&sets, spans, &left, &right, relation, mode, &mut result);
                        }
                        Ok(result)
                    }
                }
            }
        }
    }

    pub(super) fn operand(&self, node: &SpansetNode, input: &Mask, structural: bool) -> Run<Mask> {
        if let SpansetNode::Pipeline(stages) = node {
            let flow = self.stages(stages, Flow::Mask(input.clone()))?;
            if structural
                && let Flow::Sets(sets) = &flow
                && sets.windows(2).any(|pair| pair[0].trace == pair[1].trace)
            {
                return Err(Stop::Query(Error::Query(
                    "an operand of a structural operator yields several spansets per trace; \
                     end it with `| coalesce()`"
                        .to_owned(),
                )));
            }
            return Ok(self.flatten(flow));
        }
        self.spanset(node, input)
    }

    /// The spans of all spansets.
    pub(crate) fn flatten(&self, flow: Flow) -> Mask {
        match flow {
            Flow::Mask(mask) => mask,
            Flow::Sets(sets) => {
                let mut mask = Mask::none(self.n_spans());
                for set in sets {
                    set.spans.iter().for_each(|span| mask.set(*span as usize));
                }
                mask
            }
        }
    }

    fn coalesce(&self, flow: Flow) -> Flow {
        Flow::Mask(self.flatten(flow))
    }

    /// The spansets themselves, where a stage needs them one by one.
    pub(crate) fn sets(&self, flow: Flow) -> Vec<Spanset> {
        match flow {
            Flow::Sets(sets) => sets,
            Flow::Mask(mask) => self
                .traces
                .ones()
                .filter_map(|trace| {
                    let spans: Vec<u32> = mask
                        .ones_in(self.structure.trace_spans.range(trace))
                        .map(super::field::row_number)
                        .collect();
                    (!spans.is_empty()).then(|| Spanset {
                        trace: super::field::row_number(trace),
                        spans,
                        values: Vec::new(),
                    })
                })
                .collect(),
        }
    }

    fn scalar_filter(
        &self,
        left: &ScalarNode,
        op: Comparison,
        right: &ScalarNode,
        flow: Flow,
    ) -> Run<Flow> {
        let (left, right) = (self.scalar(left, &flow), self.scalar(right, &flow));
        let (left, right) = (left?, right?);
        let mut kept = Vec::new();
        let mut computed = Vec::new();
        match flow {
            // Spansets are built only for traces that pass.
            Flow::Mask(mask) => {
                let mut spans = Vec::new();
                for trace in self.traces.ones() {
                    spans.clear();
                    let range = self.structure.trace_spans.range(trace);
                    spans.extend(mask.ones_in(range).map(super::field::row_number));
                    if spans.is_empty() {
                        continue;
                    }
                    let trace = super::field::row_number(trace);
                    if holds(&left, op, &right, trace as usize, &spans, &mut computed) {
                        let values = named(&computed).collect();
                        kept.push(Spanset { trace, spans: spans.clone(), values });
                    }
                }
            }
            Flow::Sets(sets) => {
                for (at, mut set) in sets.into_iter().enumerate() {
                    if holds(&left, op, &right, at, &set.spans, &mut computed) {
                        set.values.extend(named(&computed));
                        kept.push(set);
                    }
                }
            }
        }
        Ok(Flow::Sets(kept))
    }

    /// Prepares a scalar for every spanset of the flow.
    pub(super) fn scalar<'b>(&'b self, node: &'b ScalarNode, flow: &Flow) -> Run<Scalar<'b>> {
        Ok(match node {
            ScalarNode::Static(literal) => Scalar::Static(Val::literal(literal)),
            ScalarNode::Aggregate(aggregate) => Scalar::Aggregate(self.aggregate(aggregate)?),
            ScalarNode::Arithmetic { left, op, right } => Scalar::Arithmetic {
                left: Box::new(self.scalar(left, flow)?),
                op: *op,
                right: Box::new(self.scalar(right, flow)?),
            },
            ScalarNode::Pipeline { stages, aggregate } => {
                let aggregate = self.aggregate(aggregate)?;
                let values = match flow {
                    Flow::Mask(mask) => {
                        let out = self.flatten(self.stages(stages, Flow::Mask(mask.clone()))?);
                        (0..self.structure.n_traces())
                            .map(|trace| {
                                let range = self.structure.trace_spans.range(trace);
                                let spans: Vec<u32> =
                                    out.ones_in(range).map(super::field::row_number).collect();
                                aggregate.of(&spans).into_owned()
                            })
                            .collect()
                    }
                    Flow::Sets(sets) => {
                        let mut values = Vec::with_capacity(sets.len());
                        for set in sets {
                            let mut mask = Mask::none(self.n_spans());
                            set.spans.iter().for_each(|span| mask.set(*span as usize));
                            let out = self.flatten(self.stages(stages, Flow::Mask(mask))?);
                            let spans: Vec<u32> =
                                out.ones().map(super::field::row_number).collect();
                            values.push(aggregate.of(&spans).into_owned());
                        }
                        values
                    }
                };
                Scalar::Known(values)
            }
        })
    }

    pub(super) fn aggregate<'b>(&'b self, node: &'b AggregateNode) -> Run<Aggregate<'b>> {
        let operand = match &node.operand {
            Some(operand) => Some(self.reader(operand, &self.span_rows())?),
            None => None,
        };
        Ok(Aggregate::new(node, operand))
    }
}

fn ints(column: &ColumnData) -> &[i64] {
    match column {
        ColumnData::Int(values) => values,
        _ => &[],
    }
}

fn first_fault<T, const N: usize>(columns: [Demand<T>; N]) -> Fault {
    let mut missing = Fault::Missing;
    for column in columns {
        if let Err(Fault::Failed(error)) = column {
            missing = Fault::Failed(error);
        }
    }
    missing
}
