//! Who is whose parent, and what follows from it: from the ids of the spans, and from a block's own
//! nested set numbers where those cover a whole trace.

use std::sync::Arc;

use traceql_blocks::model::TraceId;
use traceql_blocks::model::nested_set::{NestedSet, SpanLink, number_spans};
use traceql_blocks::read::leaf::Demand;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::structure::Offsets;
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::{Column, Level};

use super::field::{Batch, NONE, row_number};

impl Batch<'_> {
    /// Parent span of each span, [`NONE`] without one; from the ids, which hold for orphans too.
    pub(crate) fn parents(&self) -> Demand<Arc<Vec<u32>>> {
        if let Some(parents) = self.parents.get() {
            return Ok(Arc::clone(parents));
        }
        let mut parents = vec![NONE; self.n_spans()];
        self.each_family(&self.traces, |first, family| {
            for (parent, set) in parents[first..].iter_mut().zip(family) {
                *parent = set.parent_index.map_or(NONE, |parent| parent + row_number(first));
            }
        })?;
        let parents = Arc::new(parents);
        Ok(Arc::clone(self.parents.get_or_init(|| parents)))
    }

    /// The span that names its trace (`traceql.md` 5.12) for each span, [`NONE`] without one: the last
    /// without a parent id that no `child_of` link ties to another span of the trace. Links are read
    /// only where such a span has any into its own trace.
    pub(crate) fn roots(&self) -> Demand<Arc<Vec<u32>>> {
        if let Some(roots) = self.roots.get() {
            return Ok(Arc::clone(roots));
        }
        let parents = self.data.column(&Column::ParentSpanId, &self.traces);
        let links = self.data.span_links();
        let (parents, links) = (parents?, links?);
        let is_first = |span: usize| bytes_of(&parents, span).is_empty();
        let mut linked = Mask::none(self.traces.len());
        for trace in self.traces.ones() {
            let mut spans = self.structure.trace_spans.range(trace);
            if spans.any(|span| is_first(span) && !links.range(span).is_empty()) {
                linked.set(trace);
            }
        }
        let tied = if linked.any() { Some(self.tied_by_link(&linked, &links)?) } else { None };
        let mut roots = vec![NONE; self.n_spans()];
        for trace in self.traces.ones() {
            let spans = self.structure.trace_spans.range(trace);
            let is_tied = |span| tied.as_ref().is_some_and(|tied| tied.get(span));
            let root = spans.clone().rfind(|span| is_first(*span) && !is_tied(*span));
            roots[spans].fill(root.map_or(NONE, row_number));
        }
        let roots = Arc::new(roots);
        Ok(Arc::clone(self.roots.get_or_init(|| roots)))
    }

    /// Spans with an OpenTracing `child_of` link into their own trace.
    fn tied_by_link(&self, traces: &Mask, links: &Offsets) -> Demand<Mask> {
        let reference = Column::Attribute(Level::Link, "opentracing.ref_type".to_owned());
        let ids = self.data.column(&Column::TraceId, traces);
        let targets = self.data.column(&Column::LinkTraceId, traces);
        let references = self.data.column(&reference, traces);
        let (ids, targets, references) = (ids?, targets?, references?);
        let mut tied = Mask::none(self.n_spans());
        for trace in traces.ones() {
            let id = TraceId::from_bytes(bytes_of(&ids, trace));
            for span in self.structure.trace_spans.range(trace) {
                let ties = |link: usize| {
                    TraceId::from_bytes(bytes_of(&targets, link)) == id
                        && bytes_of(&references, link) == b"child_of"
                };
                if links.range(span).any(ties) {
                    tied.set(span);
                }
            }
        }
        Ok(tied)
    }

    /// `span:gap` of each span in nanoseconds: how long nothing had been going on below its parent
    /// when it started, that is, the time since the latest of the parent's start and the ends of those
    /// siblings that started before it, and 0 if that lies later. `None` without a parent.
    pub(crate) fn gaps(&self) -> Demand<Arc<Vec<Option<i64>>>> {
        if let Some(gaps) = self.gaps.get() {
            return Ok(Arc::clone(gaps));
        }
        let starts = self.data.column(&Column::SpanStart, &self.traces);
        let durations = self.data.column(&Column::SpanDuration, &self.traces);
        let parents = self.parents();
        let (starts, durations, parents) = (starts?, durations?, parents?);
        let start = |span: usize| number(&starts, span).cast_unsigned();
        let end = |span: usize| start(span).wrapping_add(number(&durations, span).cast_unsigned());
        let mut gaps = vec![None; self.n_spans()];
        let mut children: Vec<(u32, u64, usize)> = Vec::new();
        for trace in self.traces.ones() {
            children.clear();
            let spans = self.structure.trace_spans.range(trace);
            let with_parent = spans.filter(|span| parents[*span] != NONE);
            children.extend(with_parent.map(|span| (parents[span], start(span), span)));
            children.sort_unstable();
            for siblings in children.chunk_by(|a, b| a.0 == b.0) {
                let mut busy_until = siblings.first().map_or(0, |child| start(child.0 as usize));
                for together in siblings.chunk_by(|a, b| a.1 == b.1) {
                    for (_, start, span) in together {
                        let gap = start.saturating_sub(busy_until);
                        gaps[*span] = Some(i64::try_from(gap).unwrap_or(i64::MAX));
                    }
                    let ends = together.iter().map(|(_, _, span)| end(*span));
                    busy_until = ends.fold(busy_until, u64::max);
                }
            }
        }
        let gaps = Arc::new(gaps);
        Ok(Arc::clone(self.gaps.get_or_init(|| gaps)))
    }

    /// Number of children of each span (`traceql.md` 7.2): from the nested sets of traces in which
    /// every span has one, since these are small and read fast; else from the ids.
    pub(crate) fn child_counts(&self) -> Demand<Arc<Vec<u32>>> {
        if let Some(counts) = self.child_counts.get() {
            return Ok(Arc::clone(counts));
        }
        let lefts = self.data.column(&Column::NestedSetLeft, &self.traces);
        let parents = self.data.column(&Column::NestedSetParent, &self.traces);
        let (lefts, parents) = (lefts?, parents?);
        let mut counts = vec![0; self.n_spans()];
        let mut without = Mask::none(self.traces.len());
        let mut counter = Counter::default();
        for trace in self.traces.ones() {
            let spans = self.structure.trace_spans.range(trace);
            let numbers = spans.clone().map(|span| (number(&lefts, span), number(&parents, span)));
            if !counter.count(numbers, &mut counts[spans]) {
                without.set(trace);
            }
        }
        if without.any() {
            self.each_family(&without, |first, family| {
                for (count, set) in counts[first..].iter_mut().zip(family) {
                    *count = u32::try_from(set.child_count).unwrap_or(0);
                }
            })?;
        }
        let counts = Arc::new(counts);
        Ok(Arc::clone(self.child_counts.get_or_init(|| counts)))
    }

    /// First span and numbers, made from the ids, of each of some traces.
    fn each_family(&self, traces: &Mask, mut f: impl FnMut(usize, Vec<NestedSet>)) -> Demand<()> {
        let ids = self.data.column(&Column::SpanId, traces);
        let parents = self.data.column(&Column::ParentSpanId, traces);
        let kinds = self.data.column(&Column::Kind, traces);
        let (ids, parents, kinds) = (ids?, parents?, kinds?);
        for trace in traces.ones() {
            let spans = self.structure.trace_spans.range(trace);
            let first = spans.start;
            let links: Vec<SpanLink<'_>> = spans
                .map(|span| SpanLink {
                    span_id: bytes_of(&ids, span),
                    parent_span_id: bytes_of(&parents, span),
                    kind: i32::try_from(number(&kinds, span)).unwrap_or(0),
                })
                .collect();
            f(first, number_spans(&links));
        }
        Ok(())
    }
}

/// Counts children by nested set numbers, trace after trace.
#[derive(Default)]
struct Counter {
    /// By left number: children so far, and whether a span has the number.
    by_left: Vec<(u32, bool)>,
}

impl Counter {
    /// Counts the children of spans given by their own and their parents' left numbers. False, with
    /// nothing counted, unless every span has a number of its own and a parent among them or none.
    fn count(
        &mut self,
        numbers: impl ExactSizeIterator<Item = (i64, i64)> + Clone,
        counts: &mut [u32],
    ) -> bool {
        self.by_left.clear();
        // Each span takes two numbers, its left and its right.
        self.by_left.resize(2 * numbers.len() + 1, (0, false));
        for (left, parent) in numbers.clone() {
            let Some(own) = at(&mut self.by_left, left) else { return false };
            if std::mem::replace(&mut own.1, true) {
                return false;
            }
            if parent != ROOT {
                let Some(of_parent) = at(&mut self.by_left, parent) else { return false };
                of_parent.0 += 1;
            }
        }
        if self.by_left.iter().any(|(children, is_span)| *children > 0 && !is_span) {
            return false;
        }
        for ((left, _), count) in numbers.zip(counts) {
            *count = at(&mut self.by_left, left).map_or(0, |own| own.0);
        }
        true
    }
}

/// What stands for the parent of a root (`blocks.md` 4.8).
const ROOT: i64 = -1;

fn at(by_left: &mut [(u32, bool)], left: i64) -> Option<&mut (u32, bool)> {
    let left = usize::try_from(left).ok().filter(|left| *left > 0)?;
    by_left.get_mut(left)
}

fn number(column: &ColumnData, row: usize) -> i64 {
    match column.get(row) {
        ValueRef::Int(number) => number,
        _ => 0,
    }
}

fn bytes_of(column: &ColumnData, row: usize) -> &[u8] {
    match column.get(row) {
        ValueRef::Bytes(bytes) => bytes,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[(i64, i64)], expected: Option<&[u32]>) {
        let mut counts = vec![0; numbers.len()];
        let counted = Counter::default().count(numbers.iter().copied(), &mut counts);
        assert_eq!(counted.then_some(&*counts), expected, "{numbers:?}");
    }

    #[test]
    fn children_are_counted_where_all_spans_are_numbered() {
        check(&[], Some(&[]));
        check(&[(1, -1)], Some(&[0]));
        // Stored in any order; two roots.
        check(&[(2, 1), (1, -1), (4, 1), (7, -1)], Some(&[0, 2, 0, 0]));
    }

    #[test]
    fn numbers_that_are_no_nested_sets_are_not_believed() {
        check(&[(0, 0)], None);
        check(&[(1, -1), (0, 0)], None);
        check(&[(1, -1), (1, -1)], None);
        check(&[(1, -1), (2, 3)], None);
        check(&[(1, -1), (2, 0)], None);
        check(&[(1, -1), (2, -2)], None);
        check(&[(1, -1), (i64::MAX, 1)], None);
        check(&[(-5, -1)], None);
    }
}
