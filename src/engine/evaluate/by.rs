//! `by()`: spansets split by a value (`traceql.md` 7.2). Values become numbers first, for all spans of
//! the batch at once; a spanset is then split by comparing integers.

use traceql_blocks::read::mask::Mask;

use super::aggregate::holds;
use super::compile::{StageNode, ValueNode};
use super::distinct::{Distinct, MISSING};
use super::field::{Batch, Reader, row_number};
use super::pipeline::{Flow, Run, Spanset};
use crate::search::Value;

impl Batch<'_> {
    /// Splits spansets by a value. A scalar filter that follows is looked at already here, so that
    /// groups it drops are never built; it still runs as a stage of its own.
    pub(super) fn by(
        &self,
        key: &ValueNode,
        label: &str,
        next: Option<&StageNode>,
        flow: &Flow,
    ) -> Run<Flow> {
        let reader = self.reader(key, &self.span_rows())?;
        let filter = match next {
            Some(StageNode::ScalarFilter { left, op, right })
                if !left.has_pipeline() && !right.has_pipeline() =>
            {
                let empty = Flow::Sets(Vec::new());
                let (left, right) = (self.scalar(left, &empty), self.scalar(right, &empty));
                Some((left?, *op, right?))
            }
            _ => None,
        };
        let mut distinct = Distinct::new(|value| (!value.is_nil()).then(|| value.to_value()));
        let numbers = self.numbers_of_spans(&mut distinct, &reader, flow);
        let mut groups = Groups::default();
        let mut grouped = Vec::new();
        let mut computed = Vec::new();
        self.each_set(flow, |trace, spans, values| {
            for group in groups.split(spans, &numbers) {
                let dropped = filter.as_ref().is_some_and(|(left, op, right)| {
                    !holds(left, *op, right, 0, &group.spans, &mut computed)
                });
                if dropped {
                    continue;
                }
                let value = distinct.shown(group.number).cloned().unwrap_or(Value::Nil);
                let mut values = values.to_vec();
                values.push((label.to_owned(), value));
                grouped.push(Spanset { trace, spans: group.spans.clone(), values });
            }
        });
        Ok(Flow::Sets(grouped))
    }

    /// The number of the value of every span of the flow, by span.
    fn numbers_of_spans(
        &self,
        distinct: &mut Distinct<Value>,
        reader: &Reader<'_>,
        flow: &Flow,
    ) -> Vec<u32> {
        let wanted = match flow {
            Flow::Mask(mask) => {
                let mut wanted = self.candidate_spans();
                wanted.and(mask);
                wanted
            }
            Flow::Sets(sets) => {
                let mut wanted = Mask::none(self.n_spans());
                sets.iter().flat_map(|set| &set.spans).for_each(|span| wanted.set(*span as usize));
                wanted
            }
        };
        let spans: Vec<u32> = wanted.ones().map(row_number).collect();
        let numbers = distinct.numbers(reader, &spans);
        if spans.len() == self.n_spans() {
            return numbers;
        }
        let mut by_span = vec![MISSING; self.n_spans()];
        for (span, number) in spans.iter().zip(numbers) {
            by_span[*span as usize] = number;
        }
        by_span
    }

    /// Calls `f` with trace, spans and values of each spanset.
    fn each_set(&self, flow: &Flow, mut f: impl FnMut(u32, &[u32], &[(String, Value)])) {
        match flow {
            Flow::Sets(sets) => sets.iter().for_each(|set| f(set.trace, &set.spans, &set.values)),
            Flow::Mask(mask) => {
                let mut spans = Vec::new();
                for trace in self.traces.ones() {
                    spans.clear();
                    let range = self.structure.trace_spans.range(trace);
                    spans.extend(mask.ones_in(range).map(row_number));
                    if !spans.is_empty() {
                        f(row_number(trace), &spans, &[]);
                    }
                }
            }
        }
    }
}

/// The groups of one spanset after another, in memory that is used again.
#[derive(Default)]
struct Groups {
    /// By number of a value, what is missing first: the spanset that had it last, and its group there.
    last: Vec<(u32, u32)>,
    /// Spansets so far.
    n_sets: u32,
    groups: Vec<Group>,
}

/// Spans with one value.
#[derive(Default)]
struct Group {
    number: u32,
    spans: Vec<u32>,
}

impl Groups {
    /// The groups of a spanset, in the order in which their values come.
    fn split(&mut self, spans: &[u32], numbers: &[u32]) -> &[Group] {
        self.n_sets += 1;
        let mut n_groups = 0;
        let mut current = 0;
        let mut current_number = None;
        for span in spans {
            let number = numbers[*span as usize];
            // Neighbours usually share a group.
            if current_number != Some(number) {
                current_number = Some(number);
                current = self.group(number, &mut n_groups);
            }
            self.groups[current].spans.push(*span);
        }
        &self.groups[..n_groups]
    }

    fn group(&mut self, number: u32, n_groups: &mut usize) -> usize {
        let at = number.wrapping_add(1) as usize;
        if self.last.len() <= at {
            self.last.resize(at + 1, (0, 0));
        }
        let (set, group) = &mut self.last[at];
        if *set == self.n_sets {
            return *group as usize;
        }
        (*set, *group) = (self.n_sets, row_number(*n_groups));
        if *n_groups == self.groups.len() {
            self.groups.push(Group::default());
        }
        let fresh = &mut self.groups[*n_groups];
        fresh.number = number;
        fresh.spans.clear();
        *n_groups += 1;
        *n_groups - 1
    }
}
