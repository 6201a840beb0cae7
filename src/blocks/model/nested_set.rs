//! Nested-set numbers of the spans of one trace (`blocks.md` 4.9, `traceql.md` 7.2): who is whose
//! parent, and the left and right numbers from which ancestry is read off. Works on ids alone, so
//! that the writer, the verifier and in-memory traces share it; knows no columns.

use super::span_key;

/// OTLP number of the kind `server`.
const SERVER: i32 = 2;
/// OTLP number of the kind `client`.
const CLIENT: i32 = 3;

/// What the numbering needs to know of one span.
#[derive(Clone, Copy, Debug)]
pub struct SpanLink<'a> {
    /// Its id.
    pub span_id: &'a [u8],
    /// Its parent's id; empty for a root. (Eight zero bytes are an id like any other.)
    pub parent_span_id: &'a [u8],
    /// OTLP number of its kind: tells the two spans apart that share an id in Zipkin's style.
    pub kind: i32,
}

/// The numbers of one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedSet {
    /// Number on entering the span, from 1; 0 if no root leads to it.
    pub left: i32,
    /// Number on leaving it; 0 if no root leads to it.
    pub right: i32,
    /// The parent's left number; −1 for a root, 0 if no root leads to it.
    pub parent_left: i32,
    /// Index of the parent among the given spans, also where no root leads to it. May be the span
    /// itself. `None` for roots, for orphans, and where three spans share an id.
    pub parent_index: Option<u32>,
    /// Number of spans whose parent this is, also where no root leads to it; 0 where three spans
    /// share an id.
    pub child_count: i32,
}

/// Numbers `spans`, given in storage order; the result has the same order.
///
/// Takes no more time than sorting them by id, and no stack, however deep the trace.
#[must_use]
pub fn number_spans(spans: &[SpanLink<'_>]) -> Vec<NestedSet> {
    let mut numbers = vec![NestedSet::default(); spans.len()];
    // Two numbers a span must fit the stored type. Longer traces are treated like those with
    // ambiguous ids: no structure is claimed for them.
    if i32::try_from(spans.len()).is_ok_and(|n| n <= i32::MAX / 2)
        && let Some(by_key) = index_by_key(spans)
    {
        resolve_parents(spans, &by_key, &mut numbers);
        walk(spans, &mut numbers);
    }
    numbers
}

/// Places of spans by id, and then by place; `None` if three or more share one.
///
/// Sorted rather than hashed: most traces are small, and there are very many of them.
fn index_by_key(spans: &[SpanLink<'_>]) -> Option<Vec<(u64, u32)>> {
    let keys = spans.iter().map(|span| span_key(span.span_id));
    let mut by_key: Vec<(u64, u32)> = keys.zip(0_u32..).collect();
    by_key.sort_unstable();
    by_key.windows(3).all(|three| three[0].0 != three[2].0).then_some(by_key)
}

fn resolve_parents(spans: &[SpanLink<'_>], by_key: &[(u64, u32)], numbers: &mut [NestedSet]) {
    for (index, span) in spans.iter().enumerate() {
        if span.parent_span_id.is_empty() {
            continue;
        }
        let key = span_key(span.parent_span_id);
        let first = by_key.partition_point(|place| place.0 < key);
        let mut same = by_key[first..].iter().take_while(|place| place.0 == key).map(|it| it.1);
        let parent = match (same.next(), same.next()) {
            (Some(first), Some(second)) => {
                let wanted = if span.kind == SERVER { CLIENT } else { SERVER };
                [first, second].into_iter().find(|&i| spans[i as usize].kind == wanted)
            }
            (only, _) => only,
        };
        if let Some(parent) = parent {
            numbers[index].parent_index = Some(parent);
            numbers[parent as usize].child_count += 1;
        }
    }
}

/// Hands out the numbers, depth first from each root, children in storage order.
fn walk(spans: &[SpanLink<'_>], numbers: &mut [NestedSet]) {
    // Children of span i are children[starts[i]..starts[i + 1]].
    let mut starts = Vec::with_capacity(spans.len() + 1);
    let mut end = 0usize;
    for number in numbers.iter() {
        starts.push(end);
        end += usize::try_from(number.child_count).unwrap_or(0);
    }
    starts.push(end);
    let mut next_free = starts.clone();
    let mut children = vec![0usize; end];
    for (index, number) in numbers.iter().enumerate() {
        if let Some(parent) = number.parent_index {
            let slot = &mut next_free[parent as usize];
            children[*slot] = index;
            *slot += 1;
        }
    }

    let mut next_child = starts.clone();
    let mut counter = 1;
    let mut open: Vec<usize> = Vec::new();
    for root in (0..spans.len()).filter(|&i| spans[i].parent_span_id.is_empty()) {
        numbers[root].parent_left = -1;
        numbers[root].left = counter;
        counter += 1;
        open.push(root);
        while let Some(&span) = open.last() {
            let slot = next_child[span];
            if slot == starts[span + 1] {
                numbers[span].right = counter;
                counter += 1;
                open.pop();
                continue;
            }
            next_child[span] += 1;
            // A span has one parent, so it is entered at most once; and a cycle cannot be entered,
            // for each of its spans has its parent in the cycle.
            let child = children[slot];
            numbers[child].parent_left = numbers[span].left;
            numbers[child].left = counter;
            counter += 1;
            open.push(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spans as `(id, parent, kind)`; parent 0 is none.
    fn number(spans: &[(u64, u64, i32)]) -> Vec<NestedSet> {
        let ids: Vec<_> = spans
            .iter()
            .map(|&(id, parent, kind)| (id.to_be_bytes(), parent.to_be_bytes(), kind))
            .collect();
        let links: Vec<_> = ids
            .iter()
            .map(|(id, parent, kind)| SpanLink {
                span_id: id,
                parent_span_id: if *parent == [0; 8] { &[] } else { parent },
                kind: *kind,
            })
            .collect();
        number_spans(&links)
    }

    /// `left right parent_left parent_index child_count` of each span.
    fn check(spans: &[(u64, u64, i32)], expect: &[(i32, i32, i32, Option<u32>, i32)]) {
        let found: Vec<_> = number(spans)
            .iter()
            .map(|n| (n.left, n.right, n.parent_left, n.parent_index, n.child_count))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn zipkin_shared_id_as_in_the_specification() {
        check(
            &[(1, 0, 1), (7, 1, CLIENT), (7, 7, SERVER), (3, 7, 1), (4, 7, CLIENT), (5, 7, SERVER)],
            &[
                (1, 12, -1, None, 1),
                (2, 11, 1, Some(0), 2),
                (3, 8, 2, Some(1), 2),
                (4, 5, 3, Some(2), 0),
                (6, 7, 3, Some(2), 0),
                (9, 10, 2, Some(1), 0),
            ],
        );
    }

    #[test]
    fn the_counter_runs_on_over_roots_in_storage_order() {
        check(
            &[(3, 2, 0), (1, 0, 0), (2, 0, 0)],
            &[(4, 5, 3, Some(2), 0), (1, 2, -1, None, 0), (3, 6, -1, None, 1)],
        );
    }

    #[test]
    fn unreachable_spans_keep_zero_but_are_counted() {
        check(
            // A root, an orphan with a child, a self-parent, a cycle of two.
            &[(1, 0, 0), (2, 9, 0), (3, 2, 0), (4, 4, 0), (5, 6, 0), (6, 5, 0)],
            &[
                (1, 2, -1, None, 0),
                (0, 0, 0, None, 1),
                (0, 0, 0, Some(1), 0),
                (0, 0, 0, Some(3), 1),
                (0, 0, 0, Some(5), 1),
                (0, 0, 0, Some(4), 1),
            ],
        );
    }

    #[test]
    fn a_trace_without_root_has_true_child_counts() {
        check(&[(1, 9, 0), (2, 1, 0)], &[(0, 0, 0, None, 1), (0, 0, 0, Some(0), 0)]);
    }

    #[test]
    fn three_equal_ids_abandon_everything() {
        check(&[(1, 0, 1), (2, 1, 2), (2, 1, 3), (2, 1, 1)], &[(0, 0, 0, None, 0); 4]);
    }

    #[test]
    fn two_equal_ids_of_which_neither_fits_make_orphans() {
        let numbers = number(&[(1, 0, 1), (1, 0, 1), (2, 1, 1)]);
        assert_eq!(numbers[2], NestedSet::default());
        assert_eq!((numbers[0].left, numbers[1].left), (1, 3));
    }

    #[test]
    fn ids_are_compared_by_their_first_eight_bytes() {
        let short = [5u8];
        let padded = [5u8, 0, 0, 0, 0, 0, 0, 0, 1];
        let numbers = number_spans(&[
            SpanLink { span_id: &short, parent_span_id: &[], kind: 0 },
            SpanLink { span_id: &[6], parent_span_id: &padded, kind: 0 },
        ]);
        assert_eq!(numbers[1].parent_index, Some(0));
    }

    #[test]
    fn a_chain_of_a_million_spans_needs_no_stack() {
        const N: u64 = 1_000_000;
        let spans: Vec<_> = (0..N).map(|i| (i + 1, i, 0)).collect();
        let numbers = number(&spans);
        assert_eq!((numbers[0].left, numbers[0].right), (1, 2_000_000));
        let last = numbers[999_999];
        assert_eq!((last.left, last.right, last.parent_left), (1_000_000, 1_000_001, 999_999));
    }

    #[test]
    fn no_spans_no_numbers() {
        assert_eq!(number_spans(&[]), []);
    }
}
