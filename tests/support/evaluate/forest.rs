//! The spans of one trace in storage order and how they hang together (`traceql.md` 5.12 and 7.2).
//! Everything is found by searching the list; nothing is indexed. It must not know queries.

use traceql_blocks::model::{
    AttributeValue, InstrumentationScope, KeyValue, Resource, Span, Trace,
};

/// OTLP numbers of the kinds that 7.2 rule 3 tells apart (5.9).
const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;

/// One trace as a flat list of spans.
#[derive(Debug)]
pub(crate) struct Forest<'t> {
    /// The trace.
    pub(crate) trace: &'t Trace,
    /// Its spans in storage order.
    pub(crate) spans: Vec<Placed<'t>>,
    /// Whether three or more spans share an id (7.2 rule 2).
    has_triple_id: bool,
    /// The parent of each span (7.2 rule 3).
    parents: Vec<Option<usize>>,
    /// Nested-set numbers of each span; zeros where 7.2 gives none.
    pub(crate) numbers: Vec<NestedSet>,
}

/// A span with what surrounds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'t> {
    /// What produced it.
    pub(crate) resource: &'t Resource,
    /// The library that produced it.
    pub(crate) scope: &'t InstrumentationScope,
    /// The span.
    pub(crate) span: &'t Span,
}

/// Nested-set numbers of one span (7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NestedSet {
    /// Number on entry.
    pub(crate) left: i64,
    /// Number on exit.
    pub(crate) right: i64,
    /// Left number of the parent, -1 for a root.
    pub(crate) parent: i64,
}

impl<'t> Forest<'t> {
    /// Lists the spans of a trace and numbers them.
    pub(crate) fn new(trace: &'t Trace) -> Self {
        let mut spans = Vec::new();
        for resource_spans in &trace.resource_spans {
            for scope_spans in &resource_spans.scope_spans {
                for span in &scope_spans.spans {
                    spans.push(Placed {
                        resource: &resource_spans.resource,
                        scope: &scope_spans.scope,
                        span,
                    });
                }
            }
        }
        let numbers = vec![NestedSet::default(); spans.len()];
        let mut forest = Self { trace, spans, has_triple_id: false, parents: Vec::new(), numbers };
        forest.has_triple_id = forest.find_triple_id();
        forest.parents = (0..forest.spans.len()).map(|span| forest.find_parent(span)).collect();
        if forest.is_numbered() {
            let mut counter = 1;
            for root in 0..forest.spans.len() {
                if forest.is_root(root) {
                    forest.number(root, -1, &mut counter);
                }
            }
        }
        forest
    }

    /// 7.2 rule 1: a root has an empty parent id.
    pub(crate) fn is_root(&self, span: usize) -> bool {
        self.spans[span].span.parent_span_id.is_empty()
    }

    /// 7.2 rule 2: without a root, or if three or more spans share an id, nothing is numbered.
    fn is_numbered(&self) -> bool {
        (0..self.spans.len()).any(|span| self.is_root(span)) && !self.has_triple_id
    }

    /// 7.2 rule 2, second half.
    fn find_triple_id(&self) -> bool {
        let key = |span: usize| node_key(&self.spans[span].span.span_id);
        (0..self.spans.len())
            .any(|span| (0..self.spans.len()).filter(|&other| key(other) == key(span)).count() > 2)
    }

    /// 7.2 rule 3: the parent of a span; where three spans share an id, rule 2 ends the numbering
    /// before any span has a parent.
    fn find_parent(&self, span: usize) -> Option<usize> {
        if self.is_root(span) || self.has_triple_id {
            return None;
        }
        let wanted = node_key(&self.spans[span].span.parent_span_id);
        let with_id: Vec<usize> = (0..self.spans.len())
            .filter(|&other| node_key(&self.spans[other].span.span_id) == wanted)
            .collect();
        match with_id.as_slice() {
            [single] => Some(*single),
            [_, _] => {
                let wanted_kind = if self.spans[span].span.kind == KIND_SERVER {
                    KIND_CLIENT
                } else {
                    KIND_SERVER
                };
                with_id.into_iter().find(|&other| self.spans[other].span.kind == wanted_kind)
            }
            _ => None,
        }
    }

    /// The parent of a span by 7.2 rule 3.
    pub(crate) fn parent(&self, span: usize) -> Option<usize> {
        self.parents[span]
    }

    /// The spans whose parent is the given one, in storage order.
    fn children(&self, parent: usize) -> Vec<usize> {
        (0..self.spans.len()).filter(|&span| self.parent(span) == Some(parent)).collect()
    }

    /// 7.2, last paragraph: direct children by rule 3, for orphans and rootless traces too; zero
    /// for every span of a trace where three spans share an id.
    pub(crate) fn child_count(&self, span: usize) -> usize {
        self.children(span).len()
    }

    /// `grammar/extensions.md`, `span:gap`: from the latest of the parent's start and the ends of the
    /// siblings that started earlier to the span's own start, not below zero; none without a parent.
    pub(crate) fn gap_nanos(&self, span: usize) -> Option<i64> {
        let parent = self.parent(span)?;
        let start = |span: usize| self.spans[span].span.start_unix_nanos;
        let busy_until = self
            .children(parent)
            .into_iter()
            .filter(|&sibling| start(sibling) < start(span))
            .map(|sibling| self.spans[sibling].span.end_unix_nanos)
            .fold(start(parent), u64::max);
        Some(i64::try_from(start(span).saturating_sub(busy_until)).unwrap_or(i64::MAX))
    }

    /// 7.2 rule 4: numbers a span and what hangs below it, depth first in storage order.
    fn number(&mut self, span: usize, parent: i64, counter: &mut i64) {
        let left = *counter;
        *counter += 1;
        for child in self.children(span) {
            self.number(child, left, counter);
        }
        self.numbers[span] = NestedSet { left, right: *counter, parent };
        *counter += 1;
    }

    /// 7.2 rule 5: whether the span hangs below a root, that is, has numbers.
    pub(crate) fn is_connected(&self, span: usize) -> bool {
        self.numbers[span].left != 0
    }

    /// 7.3: whether `lower` hangs anywhere below `upper`, by walking up the parent links.
    pub(crate) fn is_descendant(&self, lower: usize, upper: usize) -> bool {
        if !self.is_connected(lower) || !self.is_connected(upper) {
            return false;
        }
        let mut above = self.parent(lower);
        while let Some(span) = above {
            if span == upper {
                return true;
            }
            above = self.parent(span);
        }
        false
    }

    /// 7.3: whether the parent of `lower` is `upper` and both have numbers.
    pub(crate) fn is_child(&self, lower: usize, upper: usize) -> bool {
        self.is_connected(lower) && self.is_connected(upper) && self.parent(lower) == Some(upper)
    }

    /// 7.3: different spans with the same parent; two roots are siblings.
    pub(crate) fn are_siblings(&self, left: usize, right: usize) -> bool {
        left != right
            && self.is_connected(left)
            && self.is_connected(right)
            && self.parent(left) == self.parent(right)
    }

    /// 5.12: the root whose name and service stand for the trace: the last span without a parent id
    /// that is not a `child_of` link into its own trace.
    pub(crate) fn naming_root(&self) -> Option<usize> {
        (0..self.spans.len()).filter(|&span| self.is_root(span)).rfind(|&span| {
            !self.spans[span].span.links.iter().any(|link| {
                traceql_blocks::model::TraceId::from_bytes(&link.trace_id) == self.trace.id
                    && link.attributes.iter().any(|attribute| {
                        attribute.key == "opentracing.ref_type"
                            && attribute.value == AttributeValue::String("child_of".to_owned())
                    })
            })
        })
    }

    /// 5.12 and `blocks.md` 4.8: name of that root, `""` without one.
    pub(crate) fn root_name(&self) -> String {
        self.naming_root().map_or_else(String::new, |root| self.spans[root].span.name.clone())
    }

    /// 5.12 and `blocks.md` 4.8: its resource's first `service.name`, `""` if that is not a string.
    pub(crate) fn root_service_name(&self) -> String {
        let Some(root) = self.naming_root() else { return String::new() };
        let attributes = &self.spans[root].resource.attributes;
        match attributes.iter().find(|attribute| attribute.key == "service.name") {
            Some(KeyValue { value: AttributeValue::String(name), .. }) => name.clone(),
            _ => String::new(),
        }
    }

    /// 5.12 and `blocks.md` 4.8: earliest start; a start of 0 is overridden by the next span.
    pub(crate) fn start_unix_nanos(&self) -> u64 {
        let mut earliest = 0;
        for placed in &self.spans {
            let start = placed.span.start_unix_nanos;
            if earliest == 0 || start < earliest {
                earliest = start;
            }
        }
        earliest
    }

    /// 5.12: latest end minus earliest start, wrapping as it is stored.
    pub(crate) fn duration_nanos(&self) -> u64 {
        let latest = self.spans.iter().map(|placed| placed.span.end_unix_nanos).max();
        latest.unwrap_or_default().wrapping_sub(self.start_unix_nanos())
    }
}

/// `blocks.md` 4.9: spans are told apart by the first 8 bytes of their id, padded with zeros.
fn node_key(id: &[u8]) -> [u8; 8] {
    let mut key = [0; 8];
    for (target, byte) in key.iter_mut().zip(id) {
        *target = *byte;
    }
    key
}
