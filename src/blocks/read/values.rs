//! Decoded columns of one batch, one row per row of the column's level.

use std::sync::Arc;

/// A decoded column.
#[derive(Clone, Debug)]
pub enum ColumnData {
    /// Numbers that are always there: times, kinds, nested-set numbers.
    Int(Vec<i64>),
    /// Strings or bytes.
    Strings(Strings),
    /// An attribute: anything, or nothing.
    Attribute(AttributeColumn),
}

/// Strings by code into a shared table.
#[derive(Clone, Debug)]
pub struct Strings {
    /// One code per row; [`Strings::ABSENT`] for none.
    pub codes: Vec<u32>,
    /// What the codes stand for.
    pub table: Arc<StringTable>,
}

impl Strings {
    /// The code of a row that has no value.
    pub const ABSENT: u32 = u32::MAX;

    /// The string of a row, if it has one.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        match self.codes[row] {
            Self::ABSENT => None,
            code => Some(self.table.get(code)),
        }
    }
}

/// Byte strings end to end with their offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringTable {
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl StringTable {
    /// A table from `n + 1` ascending offsets into `data`, the last one its length.
    ///
    /// # Panics
    /// If the offsets do not describe the data; decoders check before they build.
    #[must_use]
    pub fn new(offsets: Vec<u32>, data: Vec<u8>) -> Self {
        assert!(
            offsets.is_empty() || offsets.last().is_some_and(|end| *end as usize <= data.len()),
            "offsets lie inside the data"
        );
        Self { offsets, data }
    }

    /// The string with this code; empty for a code beyond the table, which decoders never produce.
    #[must_use]
    pub fn get(&self, code: u32) -> &[u8] {
        let at = code as usize;
        match (self.offsets.get(at), self.offsets.get(at + 1)) {
            (Some(start), Some(end)) => &self.data[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// Number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True if there is no string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The strings in code order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.windows(2).map(|pair| &self.data[pair[0] as usize..pair[1] as usize])
    }

    /// Adds a string and returns its code.
    pub fn push(&mut self, value: &[u8]) -> u32 {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.data.extend_from_slice(value);
        let end = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        self.offsets.push(end);
        u32::try_from(self.len() - 1).unwrap_or(u32::MAX)
    }

    /// The code of a string; the first of several equal ones.
    #[must_use]
    pub fn find(&self, wanted: &[u8]) -> Option<u32> {
        let at = self.offsets.windows(2).position(|pair| {
            (pair[1] - pair[0]) as usize == wanted.len()
                && &self.data[pair[0] as usize..pair[1] as usize] == wanted
        })?;
        u32::try_from(at).ok()
    }

    /// Bytes it holds.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.offsets.len() * 4 + self.data.len()
    }
}

/// An attribute of a batch: only the rows that have its key.
#[derive(Clone, Debug, Default)]
pub struct AttributeColumn {
    /// Rows that have the key, ascending, each once.
    pub rows: Vec<u32>,
    /// Their values, parallel to `rows`.
    pub values: Vec<AttributeCell>,
    /// Elements of arrays.
    pub elements: Vec<AttributeCell>,
    /// Tables of the strings.
    pub tables: Vec<Arc<StringTable>>,
}

impl AttributeColumn {
    /// No rows yet, but room for so many.
    pub(crate) fn with_capacity(n_rows: usize) -> Self {
        Self {
            rows: Vec::with_capacity(n_rows),
            values: Vec::with_capacity(n_rows),
            ..Self::default()
        }
    }
}

/// The value of one attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeCell {
    /// The key is there, its value cannot be seen by queries (`traceql.md` 5.2).
    Invisible,
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string: table and code.
    String(u32, u32),
    /// An array of at least two scalars: start and end in `elements`.
    Array(u32, u32),
}

/// A value as a predicate sees it.
#[derive(Clone, Debug)]
pub enum ValueRef<'a> {
    /// Not there.
    Nil,
    /// There, but not visible to queries.
    Invisible,
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string or an id.
    Bytes(&'a [u8]),
    /// An array.
    Array(Elements<'a>),
}

/// The elements of an array value.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    column: &'a AttributeColumn,
    cells: std::slice::Iter<'a, AttributeCell>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cells.next().map(|cell| self.column.resolve(*cell))
    }
}

impl AttributeColumn {
    /// The value of a row.
    #[must_use]
    pub fn get(&self, row: u32) -> ValueRef<'_> {
        match self.rows.binary_search(&row) {
            Ok(at) => self.resolve(self.values[at]),
            Err(_) => ValueRef::Nil,
        }
    }

    /// Rows and their values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, ValueRef<'_>)> {
        self.rows.iter().zip(&self.values).map(|(row, cell)| (*row, self.resolve(*cell)))
    }

    /// A cell of this column as a value.
    #[must_use]
    pub fn resolve(&self, cell: AttributeCell) -> ValueRef<'_> {
        match cell {
            AttributeCell::Invisible => ValueRef::Invisible,
            AttributeCell::Int(v) => ValueRef::Int(v),
            AttributeCell::Float(v) => ValueRef::Float(v),
            AttributeCell::Bool(v) => ValueRef::Bool(v),
            AttributeCell::String(table, code) => {
                ValueRef::Bytes(self.tables[table as usize].get(code))
            }
            AttributeCell::Array(start, end) => ValueRef::Array(Elements {
                column: self,
                cells: self.elements[start as usize..end as usize].iter(),
            }),
        }
    }

    /// Adds the cells of an array: none is invisible, one is a scalar, more are an array.
    pub fn push_elements(
        &mut self,
        cells: impl IntoIterator<Item = AttributeCell>,
    ) -> AttributeCell {
        let start = self.elements.len();
        self.elements.extend(cells);
        match self.elements.len() - start {
            0 => AttributeCell::Invisible,
            1 => self.elements.pop().unwrap_or(AttributeCell::Invisible),
            _ => AttributeCell::Array(
                u32::try_from(start).unwrap_or(u32::MAX),
                u32::try_from(self.elements.len()).unwrap_or(u32::MAX),
            ),
        }
    }
}

impl ColumnData {
    /// The value of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> ValueRef<'_> {
        match self {
            Self::Int(values) => ValueRef::Int(values[row]),
            Self::Strings(strings) => strings.get(row).map_or(ValueRef::Nil, ValueRef::Bytes),
            Self::Attribute(column) => {
                u32::try_from(row).map_or(ValueRef::Nil, |row| column.get(row))
            }
        }
    }
}
