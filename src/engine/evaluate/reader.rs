//! Expressions and fields prepared for a batch: their columns are decoded, so that reading the value
//! of a row cannot fail. What to decode, and which rows there are, is the business of `field`.

use std::borrow::Cow;
use std::sync::Arc;

use traceql_blocks::read::predicate::{Comparison, Literal, Predicate};
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_language::analyze::ir::{AttributeScope, Field, FieldName, Intrinsic, Static};

use super::field::{NONE, Truth};
use super::value::{Val, arithmetic};

/// A prepared value expression.
pub(crate) enum Reader<'a> {
    Static(&'a Static),
    Field(FieldReader),
    Negate(Box<Self>),
    Arithmetic { left: Box<Self>, op: traceql_language::analyze::ir::Arithmetic, right: Box<Self> },
    Bool(Truth),
}

impl Reader<'_> {
    pub(crate) fn get(&self, row: usize) -> Val<'_> {
        match self {
            Self::Static(literal) => Val::literal(literal),
            Self::Field(field) => field.get(row),
            Self::Negate(operand) => match operand.get(row) {
                Val::Int(v) => Val::Int(v.wrapping_neg()),
                Val::Duration(v) => Val::Duration(v.wrapping_neg()),
                Val::Float(v) => Val::Float(-v),
                _ => Val::Nil,
            },
            Self::Arithmetic { left, op, right } => {
                arithmetic(&left.get(row), *op, &right.get(row))
            }
            Self::Bool(truth) => {
                if truth.yes.get(row) {
                    Val::Bool(true)
                } else if truth.no.get(row) {
                    Val::Bool(false)
                } else {
                    Val::Nil
                }
            }
        }
    }

    /// The durations of all spans, if that is what is read: one each, none of them nil.
    pub(crate) fn span_durations(&self) -> Option<&[i64]> {
        let Self::Field(FieldReader::Intrinsic { intrinsic: Intrinsic::Duration, data, map: None }) =
            self
        else {
            return None;
        };
        match &**data {
            ColumnData::Int(durations) => Some(durations),
            _ => None,
        }
    }
}

/// A prepared field. Maps lead from rows to rows of the column; `None`: they are the same.
pub(crate) enum FieldReader {
    Nil,
    Intrinsic {
        intrinsic: Intrinsic,
        data: Arc<ColumnData>,
        map: Option<Vec<u32>>,
    },
    Attribute {
        data: Arc<ColumnData>,
        map: Option<Vec<u32>>,
    },
    Unscoped {
        span: Arc<ColumnData>,
        spans: Option<Vec<u32>>,
        resource: Arc<ColumnData>,
        resources: Option<Vec<u32>>,
    },
    ChildCount {
        counts: Arc<Vec<u32>>,
        map: Option<Vec<u32>>,
    },
    /// Nanoseconds, by span.
    Gap {
        gaps: Arc<Vec<Option<i64>>>,
        map: Option<Vec<u32>>,
    },
}

impl FieldReader {
    pub(crate) fn get(&self, row: usize) -> Val<'_> {
        match self {
            Self::Nil => Val::Nil,
            Self::Attribute { data, map } => {
                at(map.as_deref(), row).map_or(Val::Nil, |row| Val::attribute(data.get(row)))
            }
            Self::Unscoped { span, spans, resource, resources } => {
                let own = at(spans.as_deref(), row).map_or(ValueRef::Nil, |row| span.get(row));
                match own {
                    ValueRef::Nil => at(resources.as_deref(), row)
                        .map_or(Val::Nil, |row| Val::attribute(resource.get(row))),
                    own => Val::attribute(own),
                }
            }
            Self::ChildCount { counts, map } => {
                at(map.as_deref(), row).map_or(Val::Nil, |span| Val::Int(i64::from(counts[span])))
            }
            Self::Gap { gaps, map } => {
                at(map.as_deref(), row).and_then(|span| gaps[span]).map_or(Val::Nil, Val::Duration)
            }
            Self::Intrinsic { intrinsic, data, map } => match at(map.as_deref(), row) {
                Some(row) => intrinsic_value(*intrinsic, data.get(row)),
                // Read without a comparison these have defaults on spans without events or links
                // (5.10).
                None => match intrinsic {
                    Intrinsic::EventName | Intrinsic::LinkTraceId => Val::Bytes(Cow::Borrowed(b"")),
                    Intrinsic::EventTimeSinceStart => Val::Duration(0),
                    Intrinsic::LinkSpanId => Val::Bytes(Cow::Borrowed(NO_SPAN_ID)),
                    _ => Val::Nil,
                },
            },
        }
    }

    /// The field with the scope in which the attribute of a row was found, if its name says none.
    pub(crate) fn scoped<'f>(&self, field: &'f Field, row: usize) -> Cow<'f, Field> {
        match (self, &field.name) {
            (Self::Unscoped { span, spans, .. }, FieldName::Attribute { key, .. }) => {
                let own = at(spans.as_deref(), row).map_or(ValueRef::Nil, |row| span.get(row));
                let scope = match own {
                    ValueRef::Nil => AttributeScope::Resource,
                    _ => AttributeScope::Span,
                };
                let name = FieldName::Attribute { scope, key: key.clone() };
                Cow::Owned(Field { of: field.of, name })
            }
            _ => Cow::Borrowed(field),
        }
    }
}

pub(super) fn at(map: Option<&[u32]>, row: usize) -> Option<usize> {
    match map {
        None => Some(row),
        Some(map) => map.get(row).filter(|row| **row != NONE).map(|row| *row as usize),
    }
}

fn intrinsic_value(intrinsic: Intrinsic, value: ValueRef<'_>) -> Val<'_> {
    match (intrinsic, value) {
        (
            Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart,
            ValueRef::Int(v),
        ) => Val::Duration(v),
        (Intrinsic::Status, ValueRef::Int(v)) => Val::Status(v),
        (Intrinsic::Kind, ValueRef::Int(v)) => Val::Kind(v),
        (_, ValueRef::Int(v)) => Val::Int(v),
        (Intrinsic::TraceId | Intrinsic::LinkTraceId, ValueRef::Bytes(v)) => {
            Val::Bytes(Cow::Owned(trace_id_text(v)))
        }
        (Intrinsic::SpanParentId, ValueRef::Bytes([])) => Val::Bytes(Cow::Borrowed(NO_SPAN_ID)),
        (
            Intrinsic::SpanId | Intrinsic::SpanParentId | Intrinsic::LinkSpanId,
            ValueRef::Bytes(v),
        ) => Val::Bytes(Cow::Owned(hex(v))),
        (_, ValueRef::Bytes(v)) => Val::Bytes(Cow::Borrowed(v)),
        _ => Val::Nil,
    }
}

/// `span:parentID` of a span without a parent (1.6), `link:spanID` of one without links.
const NO_SPAN_ID: &[u8] = b"0000000000000000";

/// Ids are compared as the text the language shows (5.11). `span:parentID != ""` asks for a parent
/// (1.6).
pub(super) fn test_id(id: Intrinsic, bytes: &[u8], predicate: &Predicate) -> bool {
    match id {
        Intrinsic::SpanParentId if bytes.is_empty() => match predicate {
            Predicate::Compare(Comparison::NotEqual, Literal::Bytes(text)) if text.is_empty() => {
                false
            }
            predicate => predicate.test_bytes(NO_SPAN_ID),
        },
        Intrinsic::TraceId | Intrinsic::LinkTraceId => predicate.test_bytes(&trace_id_text(bytes)),
        _ => predicate.test_bytes(&hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .collect()
}

/// The id of a trace as the language shows it: hexadecimal, without leading zeros (1.6).
pub(crate) fn trace_id_text(bytes: &[u8]) -> Vec<u8> {
    let text = hex(bytes);
    let zeros = text.iter().take_while(|digit| **digit == b'0').count();
    text[zeros..].to_vec()
}
