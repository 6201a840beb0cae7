//! Values at run time and the rules between them (`traceql.md` 5.3 to 5.6). Borrowed from decoded
//! columns where possible: strings are bytes until they are shown.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::bytes::Regex;
use traceql_blocks::read::predicate::Comparison;
use traceql_blocks::read::values::ValueRef;
use traceql_language::analyze::ir::{Arithmetic, Kind, Static, Status};

use crate::search::Value;

/// A value of an expression on one span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val<'a> {
    Nil,
    Int(i64),
    Float(f64),
    /// Signed nanoseconds.
    Duration(i64),
    Bool(bool),
    Bytes(Cow<'a, [u8]>),
    /// OTLP number.
    Status(i64),
    /// OTLP number.
    Kind(i64),
    Array(Vec<Self>),
}

impl<'a> Val<'a> {
    /// An attribute's value; one that cannot be seen is nil (5.2).
    pub(crate) fn attribute(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Nil | ValueRef::Invisible => Self::Nil,
            ValueRef::Int(v) => Self::Int(v),
            ValueRef::Float(v) => Self::Float(v),
            ValueRef::Bool(v) => Self::Bool(v),
            ValueRef::Bytes(v) => Self::Bytes(Cow::Borrowed(v)),
            ValueRef::Array(elements) => Self::Array(elements.map(Self::attribute).collect()),
        }
    }

    pub(crate) fn literal(literal: &'a Static) -> Self {
        match literal {
            Static::Int(v) => Self::Int(*v),
            Static::Float(v) => Self::Float(*v),
            Static::Duration(v) => Self::Duration(*v),
            Static::String(v) => Self::Bytes(Cow::Borrowed(v.as_bytes())),
            Static::Bool(v) => Self::Bool(*v),
            Static::Status(v) => Self::Status(*v as i64),
            Static::Kind(v) => Self::Kind(*v as i64),
        }
    }

    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The value as a double, if it is a number (a duration is its nanoseconds).
    #[expect(clippy::cast_precision_loss, reason = "mixed numbers meet as doubles (5.5)")]
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(v) | Self::Duration(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// As results hold it.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Nil => Value::Nil,
            Self::Int(v) => Value::Int(*v),
            Self::Float(v) => Value::Float(*v),
            Self::Duration(v) => Value::Duration(*v),
            Self::Bool(v) => Value::Bool(*v),
            Self::Bytes(v) => Value::String(String::from_utf8_lossy(v).into_owned()),
            Self::Status(v) => match v {
                1 => Value::Status(Status::Ok),
                2 => Value::Status(Status::Error),
                _ => Value::Status(Status::Unset),
            },
            Self::Kind(v) => Value::Kind(kind(*v)),
            Self::Array(elements) => Value::Array(elements.iter().map(Val::to_value).collect()),
        }
    }

    /// A key under which equal values of equal type meet, for grouping.
    pub(crate) fn group_key(&self, key: &mut Vec<u8>) {
        match self {
            Self::Nil => key.push(0),
            Self::Int(v) => tagged(key, 1, &v.to_le_bytes()),
            Self::Float(v) => tagged(key, 2, &v.to_bits().to_le_bytes()),
            Self::Duration(v) => tagged(key, 3, &v.to_le_bytes()),
            Self::Bool(v) => key.extend([4, u8::from(*v)]),
            Self::Bytes(v) => {
                tagged(key, 5, &(v.len() as u64).to_le_bytes());
                key.extend_from_slice(v);
            }
            Self::Status(v) => tagged(key, 6, &v.to_le_bytes()),
            Self::Kind(v) => tagged(key, 7, &v.to_le_bytes()),
            Self::Array(elements) => {
                tagged(key, 8, &(elements.len() as u64).to_le_bytes());
                elements.iter().for_each(|element| element.group_key(key));
            }
        }
    }
}

fn tagged(key: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    key.push(tag);
    key.extend_from_slice(bytes);
}

/// The kind an OTLP number stands for; numbers of the future are unspecified.
pub(crate) fn kind(number: i64) -> Kind {
    match number {
        1 => Kind::Internal,
        2 => Kind::Server,
        3 => Kind::Client,
        4 => Kind::Producer,
        5 => Kind::Consumer,
        _ => Kind::Unspecified,
    }
}

/// `left op right` (5.5). Incomparable values never satisfy a comparison, `!=` included. An array
/// satisfies `!=` if all elements do, other comparisons if any does; two arrays never compare.
pub(crate) fn compare(left: &Val<'_>, op: Comparison, right: &Val<'_>) -> bool {
    let over = |elements: &[Val<'_>], test: &dyn Fn(&Val<'_>) -> bool| {
        if op == Comparison::NotEqual {
            elements.iter().all(test)
        } else {
            elements.iter().any(test)
        }
    };
    match (left, right) {
        (Val::Array(_), Val::Array(_)) => false,
        (Val::Array(elements), scalar) => over(elements, &|e| compare(e, op, scalar)),
        (scalar, Val::Array(elements)) => over(elements, &|e| compare(scalar, op, e)),
        (Val::Int(a) | Val::Duration(a), Val::Int(b) | Val::Duration(b)) => op.holds(a.cmp(b)),
        (Val::Bytes(a), Val::Bytes(b)) => op.holds(a.as_ref().cmp(b.as_ref())),
        (Val::Bool(a), Val::Bool(b)) => equality(op, a == b),
        (Val::Status(a), Val::Status(b)) | (Val::Kind(a), Val::Kind(b)) => equality(op, a == b),
        _ => match (left.number(), right.number()) {
            (Some(a), Some(b)) => op.holds_f64(a, b),
            _ => false,
        },
    }
}

fn equality(op: Comparison, equal: bool) -> bool {
    match op {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
        _ => false,
    }
}

/// `left =~ regex` or `left !~ regex` (5.8): strings only; arrays as in [`compare`].
pub(crate) fn matches(left: &Val<'_>, regex: &Regex, negated: bool) -> bool {
    match left {
        Val::Bytes(text) => regex.is_match(text) != negated,
        Val::Array(elements) if negated => elements.iter().all(|e| matches(e, regex, true)),
        Val::Array(elements) => elements.iter().any(|e| matches(e, regex, false)),
        _ => false,
    }
}

/// `left op right` (5.6, and section 11 where Tempo fails the query). Nil operands yield false, a
/// bool; integer division by zero and arithmetic on anything but numbers yield nil or false.
pub(crate) fn arithmetic<'a>(left: &Val<'_>, op: Arithmetic, right: &Val<'_>) -> Val<'a> {
    if let (Val::Int(a), Val::Int(b)) = (left, right) {
        return int_arithmetic(*a, op, *b).map_or(Val::Nil, Val::Int);
    }
    match (left, right) {
        (Val::Array(_), _) | (_, Val::Array(_)) => Val::Nil,
        _ => match (left.number(), right.number()) {
            (Some(a), Some(b)) => Val::Float(float_arithmetic(a, op, b)),
            _ => Val::Bool(false),
        },
    }
}

fn int_arithmetic(a: i64, op: Arithmetic, b: i64) -> Option<i64> {
    match op {
        Arithmetic::Add => Some(a.wrapping_add(b)),
        Arithmetic::Subtract => Some(a.wrapping_sub(b)),
        Arithmetic::Multiply => Some(a.wrapping_mul(b)),
        Arithmetic::Divide => (b != 0).then(|| a.wrapping_div(b)),
        Arithmetic::Modulo => (b != 0).then(|| a.wrapping_rem(b)),
        // As a double, truncated, so that overflow and negative exponents end somewhere.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "integer power is defined through doubles (3.4)"
        )]
        Arithmetic::Power => Some((a as f64).powf(b as f64) as i64),
    }
}

/// Arithmetic on doubles; division by zero gives infinities and NaN.
pub(crate) fn float_arithmetic(a: f64, op: Arithmetic, b: f64) -> f64 {
    match op {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Modulo => a % b,
        Arithmetic::Power => a.powf(b),
    }
}

/// The order of `max` and `min` (7.4): numbers among themselves as doubles, then by type.
pub(crate) fn total_order(left: &Val<'_>, right: &Val<'_>) -> Ordering {
    fn type_rank(value: &Val<'_>) -> u8 {
        match value {
            Val::Nil => 0,
            Val::Int(_) | Val::Float(_) | Val::Duration(_) => 1,
            Val::Bytes(_) => 2,
            Val::Bool(_) => 3,
            Val::Array(_) => 4,
            Val::Status(_) => 5,
            Val::Kind(_) => 6,
        }
    }
    match (left, right) {
        (Val::Int(a) | Val::Duration(a), Val::Int(b) | Val::Duration(b)) => a.cmp(b),
        (Val::Bytes(a), Val::Bytes(b)) => a.cmp(b),
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        (Val::Status(a), Val::Status(b)) | (Val::Kind(a), Val::Kind(b)) => a.cmp(b),
        (Val::Array(a), Val::Array(b)) => a
            .iter()
            .zip(b)
            .map(|(a, b)| total_order(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        _ => match (left.number(), right.number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => type_rank(left).cmp(&type_rank(right)),
        },
    }
}

/// The comparison of the typed query as the reader's.
pub(crate) fn comparison(op: traceql_language::analyze::ir::Comparison) -> Comparison {
    use traceql_language::analyze::ir::Comparison as Ir;
    match op {
        Ir::Equal => Comparison::Equal,
        Ir::NotEqual => Comparison::NotEqual,
        Ir::Less => Comparison::Less,
        Ir::LessEqual => Comparison::LessEqual,
        Ir::Greater => Comparison::Greater,
        Ir::GreaterEqual => Comparison::GreaterEqual,
    }
}
