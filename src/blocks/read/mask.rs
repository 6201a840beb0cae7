//! A set of rows (spans, events, traces …) of one batch, as bits.

/// Bits `0..len`; bits beyond the length are always zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
    len: usize,
}

impl Mask {
    /// The empty set among `len` rows.
    #[must_use]
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// All of `len` rows.
    #[must_use]
    pub fn all(len: usize) -> Self {
        let mut mask = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        mask.clear_tail();
        mask
    }

    /// The rows for which `f` holds.
    pub fn from_fn(len: usize, mut f: impl FnMut(usize) -> bool) -> Self {
        let words = (0..len.div_ceil(64))
            .map(|word| {
                let base = word * 64;
                let end = (len - base).min(64);
                (0..end).fold(0, |bits, bit| bits | (u64::from(f(base + bit)) << bit))
            })
            .collect();
        Self { words, len }
    }

    /// Number of rows the set is taken from.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if the set is taken from no rows at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if `row` is in the set.
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Adds `row`.
    pub fn set(&mut self, row: usize) {
        self.words[row / 64] |= 1 << (row % 64);
    }

    /// Removes `row`.
    pub fn clear(&mut self, row: usize) {
        self.words[row / 64] &= !(1 << (row % 64));
    }

    /// Adds the rows of a range.
    pub fn set_range(&mut self, range: std::ops::Range<usize>) {
        let (mut at, end) = (range.start, range.end.min(self.len));
        while at < end {
            let bit = at % 64;
            let n = (64 - bit).min(end - at);
            self.words[at / 64] |= (u64::MAX >> (64 - n)) << bit;
            at += n;
        }
    }

    /// True if any row is in the set.
    #[must_use]
    pub fn any(&self) -> bool {
        self.words.iter().any(|word| *word != 0)
    }

    /// True if any row of a range is in the set.
    #[must_use]
    pub fn any_in(&self, range: std::ops::Range<usize>) -> bool {
        let (mut at, end) = (range.start, range.end.min(self.len));
        while at < end {
            let bit = at % 64;
            let n = (64 - bit).min(end - at);
            if self.words[at / 64] & ((u64::MAX >> (64 - n)) << bit) != 0 {
                return true;
            }
            at += n;
        }
        false
    }

    /// The last row of the set within a range.
    #[must_use]
    pub fn last_in(&self, range: std::ops::Range<usize>) -> Option<usize> {
        let (start, mut end) = (range.start, range.end.min(self.len));
        while start < end {
            let first = start.max((end - 1) / 64 * 64);
            let word = (self.words[first / 64] << (63 - (end - 1) % 64)) >> (63 - (end - 1) % 64);
            let word = word >> (first % 64) << (first % 64);
            if word != 0 {
                return Some(first / 64 * 64 + 63 - word.leading_zeros() as usize);
            }
            end = first;
        }
        None
    }

    /// Number of rows in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows in the set, ascending.
    pub fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    at * 64 + bit
                })
            })
        })
    }

    /// The rows of a range in the set, ascending.
    pub fn ones_in(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let end = range.end.min(self.len);
        let mut at = range.start;
        let mut rest = if at < end { self.words[at / 64] & (u64::MAX << (at % 64)) } else { 0 };
        std::iter::from_fn(move || {
            while at < end {
                if rest != 0 {
                    let row = at / 64 * 64 + rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    return (row < end).then_some(row);
                }
                at = (at / 64 + 1) * 64;
                rest = self.words.get(at / 64).copied().unwrap_or(0);
            }
            None
        })
    }

    /// Keeps the rows that are also in `other`, which has the same length.
    pub fn and(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len, "masks of one batch have one length");
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    /// Adds the rows of `other`, which has the same length.
    pub fn or(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len, "masks of one batch have one length");
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    /// Removes the rows of `other`, which has the same length.
    pub fn and_not(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len, "masks of one batch have one length");
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    /// Exchanges rows in the set and rows outside.
    #[must_use]
    pub fn complement(mut self) -> Self {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.clear_tail();
        self
    }

    fn clear_tail(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= u64::MAX >> (64 - self.len % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn ranges_and_tails_stay_inside_the_length() {
        for len in [0, 1, 63, 64, 65, 130] {
            assert_eq!(Mask::all(len).count(), len);
            assert_eq!(Mask::none(len).complement(), Mask::all(len));
            let mut mask = Mask::none(len);
            mask.set_range(3..200);
            assert_eq!(mask, Mask::from_fn(len, |row| row >= 3), "length {len}");
            assert_eq!(mask.ones().collect::<Vec<_>>(), (3..len).collect::<Vec<_>>());
            assert_eq!(
                mask.ones_in(60..66).collect::<Vec<_>>(),
                (60..66.min(len)).collect::<Vec<_>>()
            );
            for (start, end) in [(0, 200), (0, 64), (2, 65), (60, 63), (0, 3), (5, 5), (64, 130)] {
                let last = (start..end.min(len)).rev().find(|row| mask.get(*row));
                assert_eq!(mask.last_in(start..end), last, "{start}..{end} of {len}");
                let sparse = Mask::from_fn(len, |row| row == 7 || row == 64);
                let last = (start..end.min(len)).rev().find(|row| sparse.get(*row));
                assert_eq!(sparse.last_in(start..end), last, "{start}..{end} of {len}");
            }
            assert!(!mask.any_in(0..3));
            assert_eq!(mask.any_in(0..4), len > 3, "length {len}");
        }
    }
}
