//! Which series a span belongs to: the values of the groupings by number, and series by the numbers
//! of their values (`metrics.md` 2.5).

use datafusion::common::HashMap;
use traceql_blocks::read::values::{AttributeCell, ColumnData};
use traceql_language::analyze::ir::Intrinsic;

use super::{Label, LabelValue};
use crate::evaluate::distinct::{Cursor, Distinct, MISSING, mapped};
use crate::evaluate::field::FieldReader;
use crate::evaluate::value::Val;
use crate::search::Value;

/// Number of no series yet.
const UNKNOWN: u32 = u32::MAX - 1;

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
    pub(super) fn labels(
        &self,
        series: usize,
        names: &[String],
        values: &[Distinct<LabelValue>],
    ) -> Vec<Label> {
        let numbers = self.series.get(series).map_or(&[][..], Vec::as_slice);
        names
            .iter()
            .zip(values)
            .zip(numbers)
            .filter_map(|((name, values), number)| {
                Some(Label::new(name.clone(), values.shown(*number)?.clone()))
            })
            .collect()
    }
}
