//! Byte strings stored end to end in one buffer.

use std::ops::Range;

use super::super::error::{DecodeError, Result};

/// A list of byte strings: one buffer and the places where each string ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByteArrays {
    /// One more than there are strings; the first is 0, none is smaller than the one before.
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl Default for ByteArrays {
    fn default() -> Self {
        Self::new()
    }
}

impl ByteArrays {
    /// An empty list.
    pub(crate) fn new() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }

    /// How many strings there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The string at `idx`; `None` past the end.
    #[inline]
    pub(crate) fn get(&self, idx: usize) -> Option<&[u8]> {
        let end = *self.offsets.get(idx.checked_add(1)?)?;
        let start = *self.offsets.get(idx)?;
        self.data.get(start as usize..end as usize)
    }

    /// All strings in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.offsets
            .windows(2)
            .map(|ends| self.data.get(ends[0] as usize..ends[1] as usize).unwrap_or_default())
    }

    /// Gives up the offsets and the bytes.
    pub(crate) fn into_parts(self) -> (Vec<u32>, Vec<u8>) {
        (self.offsets, self.data)
    }

    /// Appends one string; fails when the buffer would pass 4 GiB.
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<()> {
        let end = self.end_after(value.len())?;
        self.data.extend_from_slice(value);
        self.offsets.push(end);
        Ok(())
    }

    /// The strings of a range, end to end, and where each of them ends, counted from the first byte
    /// of all strings. `None` past the end.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<(&[u8], u32, &[u32])> {
        let ends = self.offsets.get(range.start..=range.end)?;
        let (first, ends) = ends.split_first()?;
        let last = ends.last().unwrap_or(first);
        Some((self.data.get(*first as usize..*last as usize)?, *first, ends))
    }

    /// Appends some strings of others.
    pub(crate) fn push_range(&mut self, from: &Self, range: Range<usize>) -> Result<()> {
        let n = from.len();
        let Some((data, first, ends)) = from.slice(range.clone()) else {
            return Err(DecodeError::corrupt("values", format!("{} values", range.end), n, 0));
        };
        self.end_after(data.len())?;
        let base = self.offsets.last().copied().unwrap_or_default();
        self.offsets.extend(ends.iter().map(|end| base + (end - first)));
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// Whether all strings are UTF-8.
    pub(crate) fn is_text(&self) -> bool {
        std::str::from_utf8(&self.data)
            .is_ok_and(|text| self.offsets.iter().all(|end| text.is_char_boundary(*end as usize)))
    }

    /// Appends strings that lie end to end in `data`, given their lengths, which must sum to
    /// `data.len()`.
    pub(super) fn extend(&mut self, lengths: &[u32], data: &[u8]) -> Result<()> {
        debug_assert_eq!(lengths.iter().map(|&n| n as usize).sum::<usize>(), data.len());
        self.end_after(data.len())?;
        let mut end = self.offsets.last().copied().unwrap_or_default();
        self.offsets.extend(lengths.iter().map(|&n| {
            end = end.wrapping_add(n);
            end
        }));
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// Makes room for more strings and bytes.
    pub(super) fn reserve(&mut self, n: usize, n_bytes: usize) {
        self.offsets.reserve(n);
        self.data.reserve(n_bytes);
    }

    fn end_after(&self, n: usize) -> Result<u32> {
        self.data.len().checked_add(n).and_then(|end| u32::try_from(end).ok()).ok_or_else(|| {
            DecodeError::Unsupported(format!(
                "{n} more bytes of strings after {} in one buffer",
                self.data.len()
            ))
        })
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for ByteArrays {
    /// Collects strings; those past 4 GiB are left out.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut arrays = Self::new();
        for value in values {
            if arrays.push(value.as_ref()).is_err() {
                break;
            }
        }
        arrays
    }
}
