//! Spans of one trace as a forest: who is whose child, in which order to show them. Broken traces
//! have a shape too: orphans stand at the top, cycles are cut at their earliest span.

use std::collections::HashMap;

use traceql_blocks::model::trace::SpanInTrace;
use traceql_blocks::model::{Trace, span_key};

/// OTLP number of the kind `server`.
const SERVER: i32 = 2;

/// One line of a tree.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    /// The span.
    pub(crate) span: SpanInTrace<'a>,
    /// 0 at the top.
    pub(crate) depth: usize,
    /// For each level from the top down to this one, whether the line ends there: no sibling
    /// follows. Only the last [`SHOWN_LEVELS`] levels are kept.
    pub(crate) last: Vec<bool>,
    /// The parent among the nodes before this one.
    pub(crate) parent: Option<usize>,
    /// Whether spans below it follow.
    pub(crate) has_children: bool,
    /// Why the span stands where it does.
    pub(crate) place: Place,
}

/// Why a span stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has no parent.
    Root,
    /// Its parent is above it.
    Child,
    /// It names a parent that the trace does not have.
    Orphan,
    /// It is its own ancestor.
    Cycle,
}

/// Levels whose lines are drawn. Deeper trees show the nearest ones, so that a chain of a hundred
/// thousand spans costs no more than its length.
pub(crate) const SHOWN_LEVELS: usize = 24;

/// All spans, parents before children, siblings by start.
pub(crate) fn forest(trace: &Trace) -> Vec<Node<'_>> {
    let mut spans: Vec<SpanInTrace<'_>> = trace.spans().collect();
    spans.sort_by_key(|s| s.span.start_unix_nanos);
    let mut by_id: HashMap<u64, Vec<usize>> = HashMap::with_capacity(spans.len());
    for (at, s) in spans.iter().enumerate() {
        by_id.entry(span_key(&s.span.span_id)).or_default().push(at);
    }
    let mut children = vec![Vec::new(); spans.len()];
    let mut tops = Vec::new();
    for (at, s) in spans.iter().enumerate() {
        if s.span.parent_span_id.is_empty() {
            tops.push((at, Place::Root));
            continue;
        }
        let candidates =
            by_id.get(&span_key(&s.span.parent_span_id)).map_or(&[][..], Vec::as_slice);
        // Two spans may share an id, a client's and the server's that answered it: what happens
        // next happens in the server.
        let others = || candidates.iter().copied().filter(|other| *other != at);
        let parent =
            others().find(|other| spans[*other].span.kind == SERVER).or_else(|| others().next());
        match parent {
            Some(parent) => children[parent].push(at),
            None if candidates.is_empty() => tops.push((at, Place::Orphan)),
            None => tops.push((at, Place::Cycle)),
        }
    }
    let mut forest = Forest { spans, children, seen: Vec::new(), nodes: Vec::new() };
    forest.seen = vec![false; forest.spans.len()];
    let n_tops = tops.len();
    for (i, (at, place)) in tops.into_iter().enumerate() {
        forest.descend(at, place, i + 1 == n_tops);
    }
    // What no top leads to runs in circles.
    for at in 0..forest.spans.len() {
        if !forest.seen[at] {
            forest.descend(at, Place::Cycle, true);
        }
    }
    forest.nodes
}

struct Forest<'a> {
    spans: Vec<SpanInTrace<'a>>,
    children: Vec<Vec<usize>>,
    seen: Vec<bool>,
    nodes: Vec<Node<'a>>,
}

impl Forest<'_> {
    /// Adds a span and all below it. Not recursive: traces may be deeper than a stack.
    fn descend(&mut self, top: usize, place: Place, is_last: bool) {
        let mut open = vec![(top, 0, vec![is_last], None, place)];
        while let Some((at, depth, last, parent, place)) = open.pop() {
            if std::mem::replace(&mut self.seen[at], true) {
                continue;
            }
            let node = self.nodes.len();
            let children: Vec<usize> =
                self.children[at].iter().copied().filter(|child| !self.seen[*child]).collect();
            for (i, child) in children.iter().enumerate().rev() {
                let kept = last.len().saturating_sub(SHOWN_LEVELS - 1);
                let mut below = last[kept..].to_vec();
                below.push(i + 1 == children.len());
                open.push((*child, depth + 1, below, Some(node), Place::Child));
            }
            let has_children = !children.is_empty();
            self.nodes.push(Node {
                span: self.spans[at],
                depth,
                last,
                parent,
                has_children,
                place,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use traceql_blocks::model::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    /// Spans as `(id, parent, start)`.
    fn shape(spans: &[(u8, u8, u64)]) -> Vec<(u8, usize, Place)> {
        let spans = spans.iter().map(|(id, parent, start)| Span {
            span_id: vec![*id],
            parent_span_id: if *parent == 0 { vec![] } else { vec![*parent] },
            start_unix_nanos: *start,
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let trace = Trace { resource_spans, ..Trace::default() };
        forest(&trace).iter().map(|n| (n.span.span.span_id[0], n.depth, n.place)).collect()
    }

    #[test]
    fn siblings_are_ordered_by_start_and_follow_their_parent() {
        assert_eq!(
            shape(&[(3, 1, 30), (1, 0, 10), (2, 1, 20), (4, 2, 25)]),
            [(1, 0, Place::Root), (2, 1, Place::Child), (4, 2, Place::Child), (3, 1, Place::Child)]
        );
    }

    #[test]
    fn orphans_stand_at_the_top() {
        assert_eq!(
            shape(&[(1, 0, 10), (2, 9, 5), (3, 2, 6)]),
            [(2, 0, Place::Orphan), (3, 1, Place::Child), (1, 0, Place::Root)]
        );
    }

    #[test]
    fn cycles_are_cut_at_their_earliest_span() {
        assert_eq!(
            shape(&[(1, 0, 10), (2, 3, 6), (3, 2, 5), (4, 4, 1)]),
            [(4, 0, Place::Cycle), (1, 0, Place::Root), (3, 0, Place::Cycle), (2, 1, Place::Child)]
        );
    }

    #[test]
    fn a_very_deep_chain_is_no_problem() {
        let spans = (0..100_000_u64).map(|i| Span {
            span_id: (i + 1).to_be_bytes().to_vec(),
            parent_span_id: if i == 0 { vec![] } else { i.to_be_bytes().to_vec() },
            start_unix_nanos: i,
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let trace = Trace { resource_spans, ..Trace::default() };
        let nodes = forest(&trace);
        assert_eq!(nodes.len(), 100_000);
        assert_eq!(nodes.last().unwrap().depth, 99_999);
    }
}
