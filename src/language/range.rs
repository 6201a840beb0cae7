//! Where in the query's text something stands. Knows text only; never called "span", which is
//! what the queried data consists of.

use std::ops::Range;

/// A half-open range of bytes of the query's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextRange {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

/// A line and a column for people, both counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    /// The line.
    pub line: usize,
    /// The column in terminal cells: a tab reaches to the next multiple of [`TAB_WIDTH`], a wide
    /// character takes two cells, a combining one none.
    pub column: usize,
}

/// Cells between tab stops.
pub const TAB_WIDTH: usize = 4;

impl TextRange {
    /// The range from `start` to `end`. Queries are far shorter than 4 GiB ([`crate::MAX_QUERY_BYTES`]),
    /// so positions past `u32` are clamped rather than reported.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn cover(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The empty range just before this one's first byte.
    #[must_use]
    pub fn before(self) -> Self {
        Self { start: self.start, end: self.start }
    }

    /// The empty range just after this one's last byte.
    #[must_use]
    pub fn after(self) -> Self {
        Self { start: self.end, end: self.end }
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.bytes().len()
    }

    /// Whether it holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// As a range to slice with.
    #[must_use]
    pub fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The text it denotes; empty when it does not fit `text`.
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        text.get(self.bytes()).unwrap_or_default()
    }
}

impl LineColumn {
    /// Where the byte at `offset` of `text` stands. An offset past the end is the end; one inside a
    /// character is that character.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let offset = text.floor_char_boundary(offset.min(text.len()));
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        Self { line, column: display_width(&before[line_start..]) + 1 }
    }
}

/// Cells that a terminal needs for one line of text, with tabs as [`LineColumn`] counts them.
#[must_use]
pub fn display_width(line: &str) -> usize {
    line.chars().fold(0, |column, c| match c {
        '\t' => (column / TAB_WIDTH + 1) * TAB_WIDTH,
        _ => column + char_width(c),
    })
}

/// Cells of one character. A few ranges cover the scripts that terminals draw wide; a table of all
/// of Unicode would be a dependency for the sake of a caret.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x00..=0x1f | 0x7f..=0x9f | 0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let check = |text: &str, offset, line, column| {
            assert_eq!(LineColumn::of(text, offset), LineColumn { line, column }, "{text:?}");
        };
        check("abc", 0, 1, 1);
        check("abc", 2, 1, 3);
        check("a\nbc", 3, 2, 2);
        check("a\nbc", 99, 2, 3);
        check("\tx", 1, 1, 5);
        check("ab\tx", 3, 1, 5);
        check("日本x", 6, 1, 5);
        check("e\u{301}x", 3, 1, 2);
        check("日本", 1, 1, 1);
    }

    #[test]
    fn ranges_cover_and_slice() {
        let range = TextRange::new(2, 4).cover(TextRange::new(6, 7));
        assert_eq!(range, TextRange::new(2, 7));
        assert_eq!(range.of("0123456789"), "23456");
        assert_eq!(range.of("012"), "");
        assert!(range.after().is_empty());
    }
}
