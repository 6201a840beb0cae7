//! Spanset expressions with `not`, which judges whole traces (`grammar/extensions.md`): each operand
//! holds for some traces and yields spans of some of them, and the two need not agree.

use traceql_blocks::read::leaf::Demand;
use traceql_blocks::read::mask::Mask;

use super::compile::VerdictNode;
use super::field::Batch;
use super::pipeline::Run;

/// What an operand says.
struct Verdict {
    /// Traces it holds for.
    holds: Mask,
    /// Spans it names, of those traces alone.
    spans: Mask,
}

impl Batch<'_> {
    /// The spans of an expression: those its operands name, of the traces it holds for. Where they name
    /// none all spans of the input stand.
    pub(super) fn judge(&self, node: &VerdictNode, input: &Mask) -> Run<Mask> {
        let Verdict { holds, mut spans } = self.verdict(node, input)?;
        for trace in holds.ones() {
            let range = self.structure.trace_spans.range(trace);
            if !spans.any_in(range.clone()) {
                input.ones_in(range).for_each(|span| spans.set(span));
            }
        }
        Ok(spans)
    }

    fn verdict(&self, node: &VerdictNode, input: &Mask) -> Run<Verdict> {
        Ok(match node {
            VerdictNode::Spans(node) => {
                let spans = self.operand(node, input, false)?;
                let mut holds = Mask::none(self.traces.len());
                for trace in self.traces.ones() {
                    if spans.any_in(self.structure.trace_spans.range(trace)) {
                        holds.set(trace);
                    }
                }
                Verdict { holds, spans }
            }
            // The whole trace is looked at, whatever an earlier stage has left of it.
            VerdictNode::Not(operand) => {
                let mut holds = self.traces.clone();
                holds.and_not(&self.verdict(operand, &self.candidate_spans())?.holds);
                Verdict { holds, spans: Mask::none(self.n_spans()) }
            }
            // Both sides are asked before a fault is reported, so that one fetch serves both.
            VerdictNode::And(left, right) => {
                let (left, right) = (self.verdict(left, input), self.verdict(right, input));
                let (Verdict { mut holds, mut spans }, right) = (left?, right?);
                let mut either = holds.clone();
                either.or(&right.holds);
                holds.and(&right.holds);
                spans.or(&right.spans);
                either.and_not(&holds);
                for trace in either.ones() {
                    self.structure.trace_spans.range(trace).for_each(|span| spans.clear(span));
                }
                Verdict { holds, spans }
            }
            VerdictNode::Or(left, right) => {
                let (left, right) = (self.verdict(left, input), self.verdict(right, input));
                let (Verdict { mut holds, mut spans }, right) = (left?, right?);
                holds.or(&right.holds);
                spans.or(&right.spans);
                Verdict { holds, spans }
            }
        })
    }

    /// A superset of the spans that [`Self::judge`] gives. What is negated is not looked at: that it may
    /// match says nothing.
    pub(super) fn upper_verdict(&self, node: &VerdictNode) -> Demand<Mask> {
        Ok(match node {
            VerdictNode::Spans(node) => self.upper(node)?,
            VerdictNode::Not(_) => self.candidate_spans(),
            VerdictNode::And(left, right) => {
                let (left, right) = (self.upper_verdict(left), self.upper_verdict(right));
                self.both(&left?, &right?)
            }
            VerdictNode::Or(left, right) => {
                let (left, right) = (self.upper_verdict(left), self.upper_verdict(right));
                let mut union = left?;
                union.or(&right?);
                union
            }
        })
    }
}
