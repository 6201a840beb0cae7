//! Which series a span belongs to: the values of the groupings by number, and series by the numbers
//! of their values (`metrics.md` 2.5). Strings are told apart by their dictionary codes, each looked
//! at once.

use std::sync::Arc;

use datafusion::common::HashMap;
use traceql_blocks::read::values::{
    AttributeCell, AttributeColumn, ColumnData, StringTable, Strings,
};
use traceql_language::analyze::ir::Intrinsic;

use super::{Label, LabelValue};
use crate::evaluate::field::{FieldReader, NONE};
use crate::evaluate::value::Val;
use crate::search::Value;

/// Number of a value that is not there.
pub(super) const MISSING: u32 = u32::MAX;

/// Number of no value yet.
const UNKNOWN: u32 = u32::MAX - 1;

/// Dictionaries whose codes are remembered; a partition reads one row group at a time.
const TABLES: usize = 8;

/// The value of a grouping as a label has it; none for a missing one.
pub(super) fn label_value(value: &Val<'_>) -> Option<LabelValue> {
    Some(match value {
        Val::Nil => return None,
        Val::Int(v) => LabelValue::Int(*v),
        Val::Float(v) => LabelValue::Float(*v),
        Val::Bool(v) => LabelValue::Bool(*v),
        value => LabelValue::String(text(&value.to_value())),
    })
}

/// Values that are no string, number or truth value, as text.
fn text(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::String(text) => text.clone(),
        Value::Duration(nanos) => traceql_language::duration_text(*nanos),
        Value::Status(status) => status.to_string(),
        Value::Kind(kind) => kind.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Array(values) => {
            let items: Vec<String> = values.iter().map(item).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// An element of a list, as canonical text has it (`traceql.md` section 4).
fn item(value: &Value) -> String {
    use traceql_language::ir::Static;
    match value {
        Value::String(text) => Static::String(text.clone()).to_string(),
        Value::Float(v) => Static::Float(*v).to_string(),
        value => text(value),
    }
}

/// The distinct values of one grouping.
#[derive(Debug, Default)]
pub(super) struct Values {
    labels: Vec<LabelValue>,
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

impl Values {
    /// The label of a value.
    pub(super) fn label(&self, number: u32) -> Option<&LabelValue> {
        self.labels.get(number as usize)
    }

    /// The labels of all values, by their numbers.
    pub(super) fn labels(&self) -> &[LabelValue] {
        &self.labels
    }

    /// Bytes held, roughly.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes + self.tables.iter().map(|(_, codes)| codes.len() * 4).sum::<usize>()
    }

    /// The number of a value.
    pub(super) fn number(&mut self, value: &Val<'_>) -> u32 {
        if value.is_nil() {
            return MISSING;
        }
        self.key.clear();
        value.group_key(&mut self.key);
        if let Some(number) = self.by_key.get(&self.key) {
            return *number;
        }
        let Some(label) = label_value(value) else { return MISSING };
        let number = u32::try_from(self.labels.len()).unwrap_or(UNKNOWN - 1);
        self.size_bytes += 2 * self.key.len() + 96;
        self.labels.push(label);
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
    pub(super) fn numbers_of_column(&mut self, column: &AttributeColumn) -> Vec<u32> {
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

    /// The numbers of a field's values on some spans, ascending.
    pub(super) fn numbers(&mut self, reader: &FieldReader, spans: &[u32]) -> Vec<u32> {
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
pub(super) fn mapped(map: Option<&[u32]>, span: u32) -> Option<u32> {
    match map {
        None => Some(span),
        Some(map) => map.get(span as usize).copied().filter(|row| *row != NONE),
    }
}

/// Reads an attribute column at rows that mostly ascend.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    column: &'a AttributeColumn,
    at: usize,
}

/// Rows passed one by one before a search by halves.
const STEPS: usize = 8;

impl<'a> Cursor<'a> {
    pub(super) fn new(column: &'a AttributeColumn) -> Self {
        Self { column, at: 0 }
    }

    /// The cell of a row, if the row has the key.
    pub(super) fn get(&mut self, row: u32) -> Option<AttributeCell> {
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

/// A number as metrics take it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    Nanos(i64),
}

impl Number {
    /// The value itself; durations in seconds.
    #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
    pub(super) fn value(self) -> f64 {
        match self {
            Self::Int(v) => v as f64,
            Self::Float(v) => v,
            Self::Nanos(v) => v as f64 / 1e9,
        }
    }

    fn of(value: &Val<'_>) -> Option<Self> {
        match value {
            Val::Int(v) => Some(Self::Int(*v)),
            Val::Float(v) if !v.is_nan() => Some(Self::Float(*v)),
            Val::Duration(v) => Some(Self::Nanos(*v)),
            _ => None,
        }
    }

    fn of_cell(cell: AttributeCell) -> Option<Self> {
        match cell {
            AttributeCell::Int(v) => Some(Self::Int(v)),
            AttributeCell::Float(v) if !v.is_nan() => Some(Self::Float(v)),
            _ => None,
        }
    }
}

/// The numbers a field has on some spans; none for what is no number (2.2).
pub(super) fn field_numbers(reader: &FieldReader, spans: &[u32]) -> Vec<Option<Number>> {
    match reader {
        FieldReader::Attribute { data, map } => {
            if let ColumnData::Attribute(column) = &**data {
                let mut cursor = Cursor::new(column);
                return spans
                    .iter()
                    .map(|span| Number::of_cell(cursor.get(mapped(map.as_deref(), *span)?)?))
                    .collect();
            }
        }
        FieldReader::Intrinsic { intrinsic: Intrinsic::Duration, data, map: None } => {
            if let ColumnData::Int(nanos) = &**data {
                return spans
                    .iter()
                    .map(|span| Some(Number::Nanos(nanos[*span as usize])))
                    .collect();
            }
        }
        _ => {}
    }
    spans.iter().map(|span| Number::of(&reader.get(*span as usize))).collect()
}

/// Series by the numbers of their values.
#[derive(Debug, Default)]
pub(super) struct SeriesIndex {
    /// For each grouping but the first: from the series so far and a value to the next number.
    steps: Vec<HashMap<u64, u32>>,
    /// The first grouping's numbers, directly.
    first: Vec<u32>,
    first_missing: Option<u32>,
    /// Values of each series.
    series: Vec<Vec<u32>>,
    n_by_step: Vec<u32>,
}

impl SeriesIndex {
    /// The series of some spans. `numbers` holds a list per grouping, all of one length.
    pub(super) fn series_of(&mut self, numbers: &[Vec<u32>], n_spans: usize) -> Vec<u32> {
        let Some((first, rest)) = numbers.split_first() else {
            if self.series.is_empty() && n_spans > 0 {
                self.series.push(Vec::new());
            }
            return vec![0; n_spans];
        };
        self.steps.resize_with(rest.len(), HashMap::default);
        self.n_by_step.resize(numbers.len(), 0);
        let mut found = Vec::with_capacity(n_spans);
        for at in 0..n_spans {
            let mut prefix = self.first_step(first[at], rest.is_empty());
            for (step, numbers) in rest.iter().enumerate() {
                let key = u64::from(prefix) << 32 | u64::from(numbers[at]);
                let next = &mut self.n_by_step[step + 1];
                let number = *self.steps[step].entry(key).or_insert_with(|| {
                    *next += 1;
                    *next - 1
                });
                prefix = number;
                if step + 1 == rest.len() && number as usize == self.series.len() {
                    let mut values = vec![first[at]];
                    values.extend(rest.iter().map(|numbers| numbers[at]));
                    self.series.push(values);
                }
            }
            found.push(prefix);
        }
        found
    }

    fn first_step(&mut self, number: u32, is_last: bool) -> u32 {
        let slot = if number == MISSING {
            self.first_missing.get_or_insert(UNKNOWN)
        } else {
            let at = number as usize;
            if self.first.len() <= at {
                self.first.resize(at + 1, UNKNOWN);
            }
            &mut self.first[at]
        };
        if *slot == UNKNOWN {
            *slot = self.n_by_step[0];
            self.n_by_step[0] += 1;
            if is_last {
                self.series.push(vec![number]);
            }
        }
        *slot
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Bytes held, roughly.
    pub(super) fn size_bytes(&self) -> usize {
        let of_series = size_of::<Vec<u32>>() + self.series.first().map_or(0, |v| v.len() * 4);
        self.first.len() * 4
            + self.series.len() * of_series
            + self.steps.iter().map(|step| step.len() * 16).sum::<usize>()
    }

    /// The labels of a series, missing values left out.
    pub(super) fn labels(&self, series: usize, names: &[String], values: &[Values]) -> Vec<Label> {
        let numbers = self.series.get(series).map_or(&[][..], Vec::as_slice);
        names
            .iter()
            .zip(values)
            .zip(numbers)
            .filter_map(|((name, values), number)| {
                Some(Label::new(name.clone(), values.label(*number)?.clone()))
            })
            .collect()
    }
}
