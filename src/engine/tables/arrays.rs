//! From decoded columns of a batch to Arrow arrays, one value per row of a table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, DurationNanosecondArray, Float64Builder, Int64Array, Int64Builder,
    StringBuilder, TimestampNanosecondArray,
};
use traceql_blocks::model::TraceId;
use traceql_blocks::model::trace::SERVICE_NAME;
use traceql_blocks::read::structure::Structure;
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{Kind, Status};

use super::columns::{AttributeType, Shape, ZONE};

/// The rows of a table that a batch yields: for each, the row of every level it belongs to. Levels
/// that the table's rows do not have are empty.
#[derive(Debug, Default)]
pub(super) struct Picked {
    pub(super) n_rows: usize,
    pub(super) traces: Vec<u32>,
    pub(super) resources: Vec<u32>,
    pub(super) scopes: Vec<u32>,
    pub(super) spans: Vec<u32>,
    /// Events or links.
    pub(super) children: Vec<u32>,
    /// The rows are resources: spans are counted by them.
    pub(super) are_resources: bool,
}

/// A batch as arrays are made of it: what was decoded, and the rows.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) structure: &'a Structure,
    pub(super) columns: HashMap<Column, Arc<ColumnData>>,
    pub(super) picked: Picked,
}

impl Picked {
    fn rows(&self, level: Level) -> &[u32] {
        match level {
            Level::Trace => &self.traces,
            Level::Resource => &self.resources,
            Level::Scope => &self.scopes,
            Level::Span => &self.spans,
            Level::Event | Level::Link => &self.children,
        }
    }
}

impl Decoded<'_> {
    /// The array of a column.
    pub(super) fn array(&self, shape: &Shape) -> ArrayRef {
        match shape {
            Shape::TraceId(column) => self.texts(column, |value| match value {
                ValueRef::Bytes([]) => None,
                ValueRef::Bytes(id) => Some(TraceId::from_bytes(id).to_string()),
                _ => None,
            }),
            Shape::SpanId(column) => self.texts(column, |value| match value {
                ValueRef::Bytes([]) => None,
                ValueRef::Bytes(id) => Some(hex(id)),
                _ => None,
            }),
            Shape::Text(column) | Shape::Attribute(column, AttributeType::Text) => {
                self.texts(column, |value| text(&value))
            }
            Shape::Kind => self.texts(&Column::Kind, |value| Some(kind_word(int(&value)))),
            Shape::Status => {
                self.texts(&Column::StatusCode, |value| Some(status_word(int(&value))))
            }
            Shape::Time(column) => times(self.ints(column)),
            Shape::EndTime => {
                times(sums(self.ints(&Column::SpanStart), &self.ints(&Column::SpanDuration)))
            }
            Shape::EventTime => {
                times(sums(self.ints(&Column::SpanStart), &self.ints(&Column::EventTimeSinceStart)))
            }
            Shape::Duration(column) => Arc::new(DurationNanosecondArray::from(self.ints(column))),
            Shape::Int(column) => Arc::new(Int64Array::from(self.ints(column))),
            Shape::Attribute(column, AttributeType::Int) => {
                let mut values = Int64Builder::with_capacity(self.picked.n_rows);
                self.each(column, |value| match value {
                    ValueRef::Int(value) => values.append_value(value),
                    _ => values.append_null(),
                });
                Arc::new(values.finish())
            }
            Shape::Attribute(column, AttributeType::Float) => {
                let mut values = Float64Builder::with_capacity(self.picked.n_rows);
                self.each(column, |value| match value {
                    ValueRef::Float(value) => values.append_value(value),
                    ValueRef::Int(value) => values.append_value(as_double(value)),
                    _ => values.append_null(),
                });
                Arc::new(values.finish())
            }
            Shape::Attribute(column, AttributeType::Bool) => {
                let mut values = BooleanBuilder::with_capacity(self.picked.n_rows);
                self.each(column, |value| match value {
                    ValueRef::Bool(value) => values.append_value(value),
                    _ => values.append_null(),
                });
                Arc::new(values.finish())
            }
            Shape::SpanCount => self.counts(|at| self.span_count(at)),
            Shape::ErrorCount => {
                let Some(codes) = self.columns.get(&Column::StatusCode) else {
                    return self.counts(|_| 0);
                };
                let is_error = |span: &usize| int(&codes.get(*span)) == Status::Error as i64;
                self.counts(|at| self.spans_of(at).filter(is_error).count())
            }
            Shape::ServiceCount => {
                let names = Column::Attribute(Level::Resource, SERVICE_NAME.to_owned());
                let Some(names) = self.columns.get(&names) else { return self.counts(|_| 0) };
                self.counts(|at| {
                    let mut found: Vec<Option<String>> = self
                        .spans_of(at)
                        .map(|span| self.structure.span_resource[span])
                        .collect::<std::collections::BTreeSet<u32>>()
                        .into_iter()
                        .map(|resource| text(&names.get(resource as usize)))
                        .collect();
                    found.sort();
                    found.dedup();
                    found.len()
                })
            }
        }
    }

    /// Calls for the value of each row.
    fn each(&self, column: &Column, mut take: impl FnMut(ValueRef<'_>)) {
        let rows = self.picked.rows(column.level());
        match self.columns.get(column) {
            Some(data) => rows.iter().for_each(|row| take(data.get(*row as usize))),
            None => rows.iter().for_each(|_| take(ValueRef::Nil)),
        }
    }

    fn texts(&self, column: &Column, say: impl Fn(ValueRef<'_>) -> Option<String>) -> ArrayRef {
        let mut texts = StringBuilder::with_capacity(self.picked.n_rows, self.picked.n_rows * 8);
        let is_plain = is_plain(column);
        self.each(column, |value| match value {
            ValueRef::Bytes(bytes) if is_plain => {
                texts.append_value(String::from_utf8_lossy(bytes));
            }
            value => texts.append_option(say(value)),
        });
        Arc::new(texts.finish())
    }

    fn ints(&self, column: &Column) -> Vec<i64> {
        let mut ints = Vec::with_capacity(self.picked.n_rows);
        self.each(column, |value| ints.push(int(&value)));
        ints
    }

    fn counts(&self, count: impl Fn(usize) -> usize) -> ArrayRef {
        let counts = (0..self.picked.n_rows).map(|at| i64::try_from(count(at)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(counts))
    }

    /// The spans of the row's trace.
    fn spans_of(&self, at: usize) -> std::ops::Range<usize> {
        self.structure.trace_spans.range(self.picked.traces[at] as usize)
    }

    fn span_count(&self, at: usize) -> usize {
        let spans = self.spans_of(at);
        if !self.picked.are_resources {
            return spans.len();
        }
        let resource = self.picked.resources[at];
        spans.filter(|span| self.structure.span_resource[*span] == resource).count()
    }
}

/// Strings that are shown as they are; ids are bytes.
fn is_plain(column: &Column) -> bool {
    !matches!(
        column,
        Column::TraceId
            | Column::SpanId
            | Column::ParentSpanId
            | Column::LinkTraceId
            | Column::LinkSpanId
    )
}

fn sums(mut a: Vec<i64>, b: &[i64]) -> Vec<i64> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = a.wrapping_add(*b));
    a
}

fn times(nanos: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(nanos).with_timezone(ZONE))
}

fn int(value: &ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Int(value) => *value,
        _ => 0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an integer asked for as a double is one")]
fn as_double(value: i64) -> f64 {
    value as f64
}

/// A value as text: numbers in the fewest digits that read back, arrays as JSON.
fn text(value: &ValueRef<'_>) -> Option<String> {
    Some(match value {
        ValueRef::Nil | ValueRef::Invisible => return None,
        ValueRef::Int(value) => value.to_string(),
        ValueRef::Float(value) => value.to_string(),
        ValueRef::Bool(value) => value.to_string(),
        ValueRef::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Array(elements) => {
            let elements: Vec<String> = elements
                .clone()
                .map(|element| match &element {
                    ValueRef::Bytes(bytes) => quoted(&String::from_utf8_lossy(bytes)),
                    element => text(element).unwrap_or_else(|| "null".to_owned()),
                })
                .collect();
            format!("[{}]", elements.join(","))
        }
    })
}

/// A string of JSON.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Lower-case hex; span ids have 16 digits, damaged ones as many as they have.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

/// The word of a kind; a number that has none is shown as it is.
fn kind_word(number: i64) -> String {
    [Kind::Unspecified, Kind::Internal, Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer]
        .into_iter()
        .find(|kind| *kind as i64 == number)
        .map_or_else(|| number.to_string(), |kind| kind.to_string())
}

fn status_word(number: i64) -> String {
    [Status::Unset, Status::Ok, Status::Error]
        .into_iter()
        .find(|status| *status as i64 == number)
        .map_or_else(|| number.to_string(), |status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_words_are_those_of_traceql() {
        assert_eq!(hex(&[0, 0xab, 0x10]), "00ab10");
        assert_eq!(kind_word(2), "server");
        assert_eq!(kind_word(9), "9");
        assert_eq!(status_word(2), "error");
        assert_eq!(quoted("a\"\n\u{1}"), "\"a\\\"\\n\\u0001\"");
    }
}
