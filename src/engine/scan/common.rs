//! Which rows of a block are traces that another block has too, by the ascending ids of both.

use traceql_blocks::model::TraceId;

/// Positions in `ids` of those that are among `others`; both ascend. Takes time by the shorter of
/// the two, and little more where neither has many ids between two of the other.
pub(crate) fn common_rows(ids: &[TraceId], others: &[TraceId]) -> Vec<usize> {
    let (mut rows, mut at, mut other) = (Vec::new(), 0, 0);
    while let (Some(id), Some(other_id)) = (ids.get(at), others.get(other)) {
        let (id, other_id) = (number(id), number(other_id));
        if id == other_id {
            rows.push(at);
            at += 1;
        } else if id < other_id {
            at = seek(ids, at + 1, other_id);
        } else {
            other = seek(others, other + 1, id);
        }
    }
    rows
}

/// The first position from `from` on whose id is not smaller: looked for in steps that double, then
/// between the last two of them.
fn seek(ids: &[TraceId], from: usize, id: u128) -> usize {
    let is_smaller = |other: &TraceId| number(other) < id;
    let (mut start, mut step) = (from, 1);
    while ids.get(start + step - 1).is_some_and(is_smaller) {
        start += step;
        step *= 2;
    }
    let end = (start + step - 1).min(ids.len());
    let between = ids.get(start..end).unwrap_or_default();
    start + between.partition_point(is_smaller)
}

/// Numbers are ordered as the ids are, and are compared in one step.
fn number(id: &TraceId) -> u128 {
    u128::from_be_bytes(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids of the bits that are set, far apart.
    fn ids(bits: u32) -> Vec<TraceId> {
        let set = (0..32_u32).filter(|bit| bits >> bit & 1 == 1);
        set.map(|bit| TraceId((u128::from(bit) << 120).to_be_bytes())).collect()
    }

    #[test]
    fn all_sets_of_few_ids() {
        for a in 0..1 << 7 {
            for b in 0..1 << 7 {
                let a_ids = ids(a);
                let found: Vec<TraceId> =
                    common_rows(&a_ids, &ids(b)).iter().map(|row| a_ids[*row]).collect();
                assert_eq!(found, ids(a & b), "{a:b} and {b:b}");
            }
        }
    }

    /// Steps that double go beyond the end, and end anywhere in a longer list.
    #[test]
    fn few_among_many_and_many_among_few() {
        let all = ids(u32::MAX);
        for first in 0..32 {
            for second in first..32 {
                let few = ids(1 << first | 1 << second);
                let mut rows = vec![first, second];
                rows.dedup();
                assert_eq!(common_rows(&all, &few), rows);
                assert_eq!(common_rows(&few, &all).len(), few.len());
                let gone = ids(!(1 << first | 1 << second));
                assert!(common_rows(&few, &gone).is_empty());
            }
        }
    }
}
