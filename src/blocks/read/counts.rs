//! How many rows of a level each trace of a row group has, as far as it is known. What the structure
//! or a list's keys have told once saves going through the levels of every other leaf: its pages are
//! cut elsewhere, but at trace rows too.

use std::ops::Range;

/// Counts by row of the row group.
#[derive(Debug, Default)]
pub(crate) struct RowCounts {
    /// [`RowCounts::UNKNOWN`] where nothing has been learnt.
    counts: Vec<u32>,
}

impl RowCounts {
    const UNKNOWN: u32 = u32::MAX;

    /// Notes the counts of rows from `first` on.
    pub(crate) fn note(&mut self, first: u32, counts: impl ExactSizeIterator<Item = u32>) {
        let first = first as usize;
        let end = first + counts.len();
        if self.counts.len() < end {
            self.counts.resize(end, Self::UNKNOWN);
        }
        self.counts[first..end].iter_mut().zip(counts).for_each(|(slot, count)| *slot = count);
    }

    /// The counts of some rows, if all of them are known.
    pub(crate) fn of(&self, rows: Range<u32>) -> Option<&[u32]> {
        let counts = self.counts.get(rows.start as usize..rows.end as usize)?;
        (!counts.contains(&Self::UNKNOWN)).then_some(counts)
    }

    /// The sum of the counts of some rows, if all of them are known.
    pub(crate) fn sum(&self, rows: Range<u32>) -> Option<usize> {
        Some(self.of(rows)?.iter().map(|count| *count as usize).sum())
    }
}

/// How many of some definition levels are the greatest: the values among so many entries.
pub(crate) fn count_values(def: &[u8], max_def: u8) -> usize {
    // Sums of 255 bits fit a byte, which lets the compiler add many at a time.
    def.chunks(255)
        .map(|chunk| usize::from(chunk.iter().map(|d| u8::from(*d == max_def)).sum::<u8>()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_known_or_not() {
        let mut counts = RowCounts::default();
        counts.note(3, [2, 0, 5].into_iter());
        assert_eq!(counts.sum(3..6), Some(7));
        assert_eq!(counts.sum(4..5), Some(0));
        assert_eq!(counts.sum(2..6), None);
        assert_eq!(counts.sum(3..7), None);
        assert_eq!(counts.of(7..9), None);
        counts.note(0, [1; 3].into_iter());
        assert_eq!(counts.sum(0..6), Some(10));
        assert_eq!(counts.sum(2..2), Some(0));
    }

    #[test]
    fn values_are_counted_in_any_length() {
        for n in [0_usize, 1, 254, 255, 256, 1_000] {
            let def: Vec<u8> = (0..n).map(|at| u8::from(at % 3 == 0) * 5).collect();
            assert_eq!(count_values(&def, 5), n.div_ceil(3), "{n}");
        }
    }
}
