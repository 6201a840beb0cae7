//! Structural operators as arithmetic on nested-set numbers (`traceql.md` 7.3, `engine-notes.md`
//! 5.3): linear in the spans of a trace, no sorting, no joins.

use std::ops::Range;

use traceql_blocks::read::mask::Mask;
use traceql_language::analyze::ir::{Relation, StructuralMode};

/// Nested-set numbers of the spans of a batch.
pub(crate) struct NestedSets<'a> {
    pub(crate) left: &'a [i64],
    pub(crate) right: &'a [i64],
    /// Left number of the parent: −1 for roots, 0 where no root leads.
    pub(crate) parent: &'a [i64],
}

/// Spans of one trace that `left op right` yields, added to `result`.
pub(crate) fn apply(
    sets: &NestedSets<'_>,
    spans: Range<usize>,
    left: &Mask,
    right: &Mask,
    relation: Relation,
    mode: StructuralMode,
    result: &mut Mask,
) {
    if !right.any_in(spans.clone()) {
        return;
    }
    match mode {
        StructuralMode::Plain => {
            related(sets, spans, left, right, relation, &mut |span| result.set(span));
        }
        StructuralMode::Negated => {
            let mut witnessed = Mask::none(right.len());
            related(sets, spans.clone(), left, right, relation, &mut |span| witnessed.set(span));
            for span in right.ones_in(spans) {
                if !witnessed.get(span) {
                    result.set(span);
                }
            }
        }
        StructuralMode::Union => {
            related(sets, spans.clone(), left, right, relation, &mut |span| result.set(span));
            related(sets, spans, right, left, inverse(relation), &mut |span| result.set(span));
        }
    }
}

fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

/// Calls `f` for the spans on the right that stand in the relation to some span on the left.
fn related(
    sets: &NestedSets<'_>,
    spans: Range<usize>,
    left: &Mask,
    right: &Mask,
    relation: Relation,
    f: &mut dyn FnMut(usize),
) {
    let Some(size) = number_space(sets, spans.clone()) else {
        return pairwise(sets, spans, left, right, relation, f);
    };
    let slot = |number: i64| usize::try_from(number).ok().filter(|slot| *slot > 0 && *slot < size);
    let mut counts = vec![0_i32; size + 1];
    match relation {
        Relation::Descendant => {
            // Depth below spans of the left: +1 after entering, −1 on leaving.
            for span in left.ones_in(spans.clone()) {
                if let (Some(enter), Some(leave)) = (slot(sets.left[span]), slot(sets.right[span]))
                {
                    counts[enter + 1] += 1;
                    counts[leave] -= 1;
                }
            }
            running_sum(&mut counts);
            for span in right.ones_in(spans) {
                if slot(sets.left[span]).is_some_and(|at| counts[at] > 0) {
                    f(span);
                }
            }
        }
        Relation::Ancestor => {
            for span in left.ones_in(spans.clone()) {
                if let Some(at) = slot(sets.left[span]) {
                    counts[at] += 1;
                }
            }
            running_sum(&mut counts);
            for span in right.ones_in(spans) {
                if let (Some(enter), Some(leave)) = (slot(sets.left[span]), slot(sets.right[span]))
                    && leave > enter
                    && counts[leave - 1] > counts[enter]
                {
                    f(span);
                }
            }
        }
        Relation::Child => {
            for span in left.ones_in(spans.clone()) {
                if let Some(at) = slot(sets.left[span]) {
                    counts[at] = 1;
                }
            }
            for span in right.ones_in(spans) {
                if slot(sets.parent[span]).is_some_and(|at| counts[at] > 0) {
                    f(span);
                }
            }
        }
        Relation::Parent => {
            for span in left.ones_in(spans.clone()) {
                if let Some(at) = slot(sets.parent[span]) {
                    counts[at] = 1;
                }
            }
            for span in right.ones_in(spans) {
                if slot(sets.left[span]).is_some_and(|at| counts[at] > 0) {
                    f(span);
                }
            }
        }
        Relation::Sibling => {
            // Roots have the parent number −1 and are siblings of each other: they take slot 0.
            let place = |number: i64| if number == -1 { Some(0) } else { slot(number) };
            for span in left.ones_in(spans.clone()) {
                if let Some(at) = place(sets.parent[span]) {
                    counts[at] += 1;
                }
            }
            for span in right.ones_in(spans) {
                let own = i32::from(left.get(span));
                if place(sets.parent[span]).is_some_and(|at| counts[at] > own) {
                    f(span);
                }
            }
        }
    }
}

/// One more than the greatest number of a trace; `None` if its numbers are not dense, which no
/// writer makes but damaged or foreign data may hold.
fn number_space(sets: &NestedSets<'_>, spans: Range<usize>) -> Option<usize> {
    let greatest = spans.clone().map(|span| sets.right[span].max(sets.left[span])).max()?;
    let dense = usize::try_from(greatest).is_ok_and(|greatest| greatest <= 4 * spans.len() + 64);
    if dense { usize::try_from(greatest + 1).ok() } else { None }
}

fn running_sum(counts: &mut [i32]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

/// The definition itself, for numbers that are not dense.
fn pairwise(
    sets: &NestedSets<'_>,
    spans: Range<usize>,
    left: &Mask,
    right: &Mask,
    relation: Relation,
    f: &mut dyn FnMut(usize),
) {
    let inside = |inner: usize, outer: usize| {
        [sets.left[inner], sets.right[inner], sets.left[outer], sets.right[outer]]
            .iter()
            .all(|number| *number != 0)
            && sets.left[inner] > sets.left[outer]
            && sets.right[inner] < sets.right[outer]
    };
    let child = |child: usize, parent: usize| {
        sets.parent[child] != 0 && sets.left[parent] != 0 && sets.parent[child] == sets.left[parent]
    };
    for r in right.ones_in(spans.clone()) {
        let witness = left.ones_in(spans.clone()).any(|l| match relation {
            Relation::Descendant => inside(r, l),
            Relation::Ancestor => inside(l, r),
            Relation::Child => child(r, l),
            Relation::Parent => child(l, r),
            Relation::Sibling => l != r && sets.parent[l] == sets.parent[r] && sets.parent[r] != 0,
        });
        if witness {
            f(r);
        }
    }
}
