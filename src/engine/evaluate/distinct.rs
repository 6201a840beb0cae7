//! Values by number: spans with equal values of equal type have equal numbers, so that whoever groups
//! them compares integers. Strings are told apart by their dictionary codes, each looked at once.

use std::sync::Arc;

use datafusion::common::HashMap;
use traceql_blocks::read::values::{
    AttributeCell, AttributeColumn, ColumnData, StringTable, Strings,
};
use traceql_language::analyze::ir::Intrinsic;

use super::field::{FieldReader, NONE, Reader};
use super::value::Val;

/// Number of a value that is not there.
pub(crate) const MISSING: u32 = u32::MAX;

/// Number of no value yet.
const UNKNOWN: u32 = u32::MAX - 1;

/// Dictionaries whose codes are remembered; a partition reads one row group at a time.
const TABLES: usize = 8;

/// The distinct values of a field or an expression, and what each is shown as.
#[derive(Debug)]
pub(crate) struct Distinct<T> {
    show: fn(&Val<'_>) -> Option<T>,
    shown: Vec<T>,
    by_key: HashMap<Vec<u8>, u32>,
    by_int: HashMap<(IntKind, i64), u32>,
    tables: Vec<(Arc<StringTable>, Vec<u32>)>,
    key: Vec<u8>,
    size_bytes: usize,
}

/// What an integer of a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum IntKind {
    Number,
    Duration,
    Status,
    Kind,
}

impl<T> Distinct<T> {
    /// No values yet. A value for which `show` has nothing counts as not there.
    pub(crate) fn new(show: fn(&Val<'_>) -> Option<T>) -> Self {
        Self {
            show,
            shown: Vec::new(),
            by_key: HashMap::default(),
            by_int: HashMap::default(),
            tables: Vec::new(),
            key: Vec::new(),
            size_bytes: 0,
        }
    }

    /// What a value is shown as; none for [`MISSING`].
    pub(crate) fn shown(&self, number: u32) -> Option<&T> {
        self.shown.get(number as usize)
    }

    /// What all values are shown as, by their numbers.
    pub(crate) fn all_shown(&self) -> &[T] {
        &self.shown
    }

    /// Bytes held, roughly.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes + self.tables.iter().map(|(_, codes)| codes.len() * 4).sum::<usize>()
    }

    /// The number of a value.
    pub(crate) fn number(&mut self, value: &Val<'_>) -> u32 {
        if value.is_nil() {
            return MISSING;
        }
        self.key.clear();
        value.group_key(&mut self.key);
        if let Some(number) = self.by_key.get(&self.key) {
            return *number;
        }
        let Some(shown) = (self.show)(value) else { return MISSING };
        let number = u32::try_from(self.shown.len()).unwrap_or(UNKNOWN - 1);
        self.size_bytes += 2 * self.key.len() + 96;
        self.shown.push(shown);
        self.by_key.insert(self.key.clone(), number);
        number
    }

    fn number_of_int(&mut self, kind: IntKind, value: i64) -> u32 {
        if let Some(number) = self.by_int.get(&(kind, value)) {
            return *number;
        }
        let number = self.number(&match kind {
            IntKind::Number => Val::Int(value),
            IntKind::Duration => Val::Duration(value),
            IntKind::Status => Val::Status(value),
            IntKind::Kind => Val::Kind(value),
        });
        self.size_bytes += 24;
        self.by_int.insert((kind, value), number);
        number
    }

    fn numbers_of_ints(
        &mut self,
        kind: IntKind,
        values: impl Iterator<Item = Option<i64>>,
    ) -> Vec<u32> {
        // Neighbours are often equal.
        let mut last: Option<(i64, u32)> = None;
        values
            .map(|value| match (value, last) {
                (None, _) => MISSING,
                (Some(value), Some((known, number))) if known == value => number,
                (Some(value), _) => {
                    let number = self.number_of_int(kind, value);
                    last = Some((value, number));
                    number
                }
            })
            .collect()
    }

    /// Place of a dictionary among the remembered ones.
    fn table(&mut self, table: &Arc<StringTable>) -> usize {
        if let Some(at) = self.tables.iter().position(|(known, _)| Arc::ptr_eq(known, table)) {
            return at;
        }
        if self.tables.len() == TABLES {
            self.tables.remove(0);
        }
        self.tables.push((Arc::clone(table), vec![UNKNOWN; table.len()]));
        self.tables.len() - 1
    }

    fn number_of_code(&mut self, table: usize, code: u32) -> u32 {
        let known = self.tables[table].1.get(code as usize).copied();
        if let Some(number) = known.filter(|number| *number != UNKNOWN) {
            return number;
        }
        let strings = Arc::clone(&self.tables[table].0);
        let number = self.number(&Val::Bytes(strings.get(code).into()));
        if let Some(slot) = self.tables[table].1.get_mut(code as usize) {
            *slot = number;
        }
        number
    }

    fn numbers_of_strings(
        &mut self,
        strings: &Strings,
        rows: impl Iterator<Item = Option<u32>>,
    ) -> Vec<u32> {
        let table = self.table(&strings.table);
        rows.map(|row| match row.map(|row| strings.codes[row as usize]) {
            None | Some(Strings::ABSENT) => MISSING,
            Some(code) => self.number_of_code(table, code),
        })
        .collect()
    }

    fn number_of_cell(
        &mut self,
        column: &AttributeColumn,
        tables: &[usize],
        cell: AttributeCell,
    ) -> u32 {
        match cell {
            AttributeCell::String(table, code) => match tables.get(table as usize) {
                Some(table) => self.number_of_code(*table, code),
                None => MISSING,
            },
            AttributeCell::Int(value) => self.number_of_int(IntKind::Number, value),
            cell => self.number(&Val::attribute(column.resolve(cell))),
        }
    }

    fn tables_of(&mut self, column: &AttributeColumn) -> Vec<usize> {
        // More tables than are remembered would push each other out while in use.
        if column.tables.len() > TABLES / 2 {
            return Vec::new();
        }
        column.tables.iter().for_each(|table| {
            self.table(table);
        });
        column.tables.iter().map(|table| self.table(table)).collect()
    }

    /// The numbers of an attribute's values; none where the row lacks the key.
    fn numbers_of_attribute(
        &mut self,
        column: &AttributeColumn,
        rows: impl Iterator<Item = Option<u32>>,
    ) -> Vec<Option<u32>> {
        let tables = self.tables_of(column);
        let by_code = tables.len() == column.tables.len();
        let mut cursor = Cursor::new(column);
        // Neighbours often share a row: spans of one resource.
        let mut last: Option<(u32, Option<u32>)> = None;
        rows.map(|row| {
            let row = row?;
            if let Some((known, number)) = last
                && known == row
            {
                return number;
            }
            let number = cursor.get(row).map(|cell| {
                if by_code {
                    self.number_of_cell(column, &tables, cell)
                } else {
                    self.number(&Val::attribute(column.resolve(cell)))
                }
            });
            last = Some((row, number));
            number
        })
        .collect()
    }

    /// The numbers of all values of an attribute column, in the order of its rows.
    pub(crate) fn numbers_of_column(&mut self, column: &AttributeColumn) -> Vec<u32> {
        let tables = self.tables_of(column);
        let by_code = tables.len() == column.tables.len();
        let cells = column.values.iter();
        cells
            .map(|cell| {
                if by_code {
                    self.number_of_cell(column, &tables, *cell)
                } else {
                    self.number(&Val::attribute(column.resolve(*cell)))
                }
            })
            .collect()
    }

    /// The numbers of an expression's values on some spans, ascending.
    pub(crate) fn numbers(&mut self, reader: &Reader<'_>, spans: &[u32]) -> Vec<u32> {
        match reader {
            Reader::Field(field) => self.numbers_of_field(field, spans),
            reader => spans.iter().map(|span| self.number(&reader.get(*span as usize))).collect(),
        }
    }

    /// The numbers of a field's values on some spans, ascending.
    pub(crate) fn numbers_of_field(&mut self, reader: &FieldReader, spans: &[u32]) -> Vec<u32> {
        match reader {
            FieldReader::Attribute { data, map } => {
                if let ColumnData::Attribute(column) = &**data {
                    let rows = spans.iter().map(|span| mapped(map.as_deref(), *span));
                    let numbers = self.numbers_of_attribute(column, rows);
                    return numbers.into_iter().map(|n| n.unwrap_or(MISSING)).collect();
                }
            }
            FieldReader::Unscoped { span, spans: own, resource, resources } => {
                if let (ColumnData::Attribute(span), ColumnData::Attribute(resource)) =
                    (&**span, &**resource)
                {
                    let rows = spans.iter().map(|span| mapped(own.as_deref(), *span));
                    let inner = self.numbers_of_attribute(span, rows);
                    let rows = spans.iter().map(|span| mapped(resources.as_deref(), *span));
                    let outer = self.numbers_of_attribute(resource, rows);
                    // A key on the span hides the resource's, also if its value cannot be seen.
                    let both = inner.into_iter().zip(outer);
                    return both.map(|(inner, outer)| inner.or(outer).unwrap_or(MISSING)).collect();
                }
            }
            FieldReader::Intrinsic { intrinsic, data, map } => {
                let rows = spans.iter().map(|span| mapped(map.as_deref(), *span));
                match (&**data, int_kind(*intrinsic)) {
                    (ColumnData::Strings(strings), None) if is_text(*intrinsic) => {
                        return self.numbers_of_strings(strings, rows);
                    }
                    (ColumnData::Int(ints), Some(kind)) if !is_of_event(*intrinsic) => {
                        let ints = rows.map(|row| row.map(|row| ints[row as usize]));
                        return self.numbers_of_ints(kind, ints);
                    }
                    _ => {}
                }
            }
            FieldReader::ChildCount { counts, map } => {
                let rows = spans.iter().map(|span| mapped(map.as_deref(), *span));
                let ints = rows.map(|row| row.map(|row| i64::from(counts[row as usize])));
                return self.numbers_of_ints(IntKind::Number, ints);
            }
            FieldReader::Gap { .. } | FieldReader::Nil => {}
        }
        spans.iter().map(|span| self.number(&reader.get(*span as usize))).collect()
    }
}

fn int_kind(intrinsic: Intrinsic) -> Option<IntKind> {
    match intrinsic {
        Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart => {
            Some(IntKind::Duration)
        }
        Intrinsic::Status => Some(IntKind::Status),
        Intrinsic::Kind => Some(IntKind::Kind),
        Intrinsic::NestedSetLeft | Intrinsic::NestedSetRight | Intrinsic::NestedSetParent => {
            Some(IntKind::Number)
        }
        _ => None,
    }
}

fn is_of_event(intrinsic: Intrinsic) -> bool {
    matches!(intrinsic, Intrinsic::EventName | Intrinsic::EventTimeSinceStart)
}

/// Strings that are values as they are stored; ids are not.
fn is_text(intrinsic: Intrinsic) -> bool {
    matches!(
        intrinsic,
        Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::RootName
            | Intrinsic::RootServiceName
            | Intrinsic::InstrumentationName
            | Intrinsic::InstrumentationVersion
    )
}

/// The row of a column for a span.
pub(crate) fn mapped(map: Option<&[u32]>, span: u32) -> Option<u32> {
    match map {
        None => Some(span),
        Some(map) => map.get(span as usize).copied().filter(|row| *row != NONE),
    }
}

/// Reads an attribute column at rows that mostly ascend.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    column: &'a AttributeColumn,
    at: usize,
}

/// Rows passed one by one before a search by halves.
const STEPS: usize = 8;

impl<'a> Cursor<'a> {
    pub(crate) fn new(column: &'a AttributeColumn) -> Self {
        Self { column, at: 0 }
    }

    /// The cell of a row, if the row has the key.
    pub(crate) fn get(&mut self, row: u32) -> Option<AttributeCell> {
        let rows = &self.column.rows;
        if self.at > 0 && rows[self.at - 1] >= row {
            self.at = rows[..self.at].partition_point(|known| *known < row);
        }
        let mut steps = 0;
        while rows.get(self.at).is_some_and(|known| *known < row) {
            if steps == STEPS {
                self.at += rows[self.at..].partition_point(|known| *known < row);
                break;
            }
            self.at += 1;
            steps += 1;
        }
        (rows.get(self.at) == Some(&row)).then(|| self.column.values[self.at])
    }
}
