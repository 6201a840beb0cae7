//! Values of the language and what operators make of two of them (`traceql.md` 5.3 to 5.8 and
//! section 11). It must not know spans, traces or queries.

use std::cmp::Ordering;

use traceql_blocks::model::AttributeValue;
use traceql_engine::search::Value;
use traceql_language::analyze::ir::{Arithmetic, Comparison, Static};

/// What looking for an attribute or field can find (`traceql.md` 5.2).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// No such key: `= nil` holds.
    Absent,
    /// The key is there but its value is one the language cannot see (bytes, maps, empty, mixed
    /// and nested arrays, no value at all): neither `= nil` nor `!= nil` holds.
    Invisible,
    /// A value; never nil.
    Value(Value),
}

impl Found {
    /// The value an expression sees (5.4: missing is nil).
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Absent | Self::Invisible => Value::Nil,
            Self::Value(value) => value,
        }
    }
}

/// 5.2: how a stored attribute value reads. A one-element array reads as a scalar.
pub(crate) fn stored(value: &AttributeValue) -> Found {
    match value {
        AttributeValue::Array(elements) => stored_array(elements),
        other => scalar(other).map_or(Found::Invisible, Found::Value),
    }
}

/// 5.2: an array is visible if it has elements and all are of one of the four scalar types.
fn stored_array(elements: &[AttributeValue]) -> Found {
    let Some(values) = elements.iter().map(scalar).collect::<Option<Vec<_>>>() else {
        return Found::Invisible;
    };
    match values.as_slice() {
        [] => Found::Invisible,
        [single] => Found::Value(single.clone()),
        [first, rest @ ..] => {
            let same_type =
                |value: &Value| std::mem::discriminant(value) == std::mem::discriminant(first);
            if rest.iter().all(same_type) {
                Found::Value(Value::Array(values))
            } else {
                Found::Invisible
            }
        }
    }
}

/// 5.2, first row: the four scalar types.
fn scalar(value: &AttributeValue) -> Option<Value> {
    match value {
        AttributeValue::String(text) => Some(Value::String(text.clone())),
        AttributeValue::Int(number) => Some(Value::Int(*number)),
        AttributeValue::Double(number) => Some(Value::Float(*number)),
        AttributeValue::Bool(truth) => Some(Value::Bool(*truth)),
        AttributeValue::Unset
        | AttributeValue::Bytes(_)
        | AttributeValue::Array(_)
        | AttributeValue::KeyValues(_) => None,
    }
}

/// A literal as a value.
pub(crate) fn literal(literal: &Static) -> Value {
    match literal {
        Static::Int(number) => Value::Int(*number),
        Static::Float(number) => Value::Float(*number),
        Static::Duration(nanos) => Value::Duration(*nanos),
        Static::String(text) => Value::String(text.clone()),
        Static::Bool(truth) => Value::Bool(*truth),
        Static::Status(status) => Value::Status(*status),
        Static::Kind(kind) => Value::Kind(*kind),
    }
}

/// 5.5: comparison of two values. An array against a scalar: any element, for `!=` all (Q6).
/// An array against an array is false (section 11: never fail).
pub(crate) fn compare(left: &Value, op: Comparison, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(_), Value::Array(_)) => false,
        (Value::Array(elements), scalar) => {
            any_or_all(elements, op, |element| compare_scalars(element, op, scalar))
        }
        (scalar, Value::Array(elements)) => {
            any_or_all(elements, op, |element| compare_scalars(scalar, op, element))
        }
        _ => compare_scalars(left, op, right),
    }
}

/// 5.5: any element for every operator but `!=`, which wants all.
fn any_or_all(elements: &[Value], op: Comparison, holds: impl Fn(&Value) -> bool) -> bool {
    if op == Comparison::NotEqual { elements.iter().all(holds) } else { elements.iter().any(holds) }
}

/// 5.5: comparison of two values that are no arrays; different types never meet, nor does nil.
fn compare_scalars(left: &Value, op: Comparison, right: &Value) -> bool {
    if let (Some(left), Some(right)) = (number(left), number(right)) {
        return match (left, right) {
            (Number::Exact(left), Number::Exact(right)) => ordered(left.cmp(&right), op),
            _ => match left.as_double().partial_cmp(&right.as_double()) {
                Some(ordering) => ordered(ordering, op),
                None => op == Comparison::NotEqual,
            },
        };
    }
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            ordered(left.as_bytes().cmp(right.as_bytes()), op)
        }
        (Value::Bool(left), Value::Bool(right)) => equal_only(left == right, op),
        (Value::Status(left), Value::Status(right)) => equal_only(left == right, op),
        (Value::Kind(left), Value::Kind(right)) => equal_only(left == right, op),
        _ => false,
    }
}

/// Whether an ordering satisfies a comparison.
fn ordered(ordering: Ordering, op: Comparison) -> bool {
    match op {
        Comparison::Equal => ordering == Ordering::Equal,
        Comparison::NotEqual => ordering != Ordering::Equal,
        Comparison::Less => ordering == Ordering::Less,
        Comparison::LessEqual => ordering != Ordering::Greater,
        Comparison::Greater => ordering == Ordering::Greater,
        Comparison::GreaterEqual => ordering != Ordering::Less,
    }
}

/// 5.5: bools, statuses and kinds know `=` and `!=` only.
fn equal_only(equal: bool, op: Comparison) -> bool {
    match op {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
        _ => false,
    }
}

/// A number of the language: int, float or duration (3.1).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    /// An int, or a duration in nanoseconds.
    Exact(i64),
    /// A float.
    Double(f64),
}

impl Number {
    /// 5.5: numeric mixes are compared, and computed, as doubles.
    #[expect(clippy::cast_precision_loss, reason = "5.5 wants the nearest double")]
    pub(crate) fn as_double(self) -> f64 {
        match self {
            Self::Exact(number) => number as f64,
            Self::Double(number) => number,
        }
    }
}

/// The number a value is, if it is one.
pub(crate) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(number) | Value::Duration(number) => Some(Number::Exact(*number)),
        Value::Float(number) => Some(Number::Double(*number)),
        _ => None,
    }
}

/// 5.6: arithmetic. An operand that is no number makes the result the bool false (5.4), an array
/// makes it nil, and so does an integer division by zero (section 11).
pub(crate) fn arithmetic(left: &Value, op: Arithmetic, right: &Value) -> Value {
    if matches!(left, Value::Array(_)) || matches!(right, Value::Array(_)) {
        return Value::Nil;
    }
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        return integer_arithmetic(*left, op, *right);
    }
    let (Some(left), Some(right)) = (number(left), number(right)) else {
        return Value::Bool(false);
    };
    let (left, right) = (left.as_double(), right.as_double());
    Value::Float(match op {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo => left % right,
        Arithmetic::Power => left.powf(right),
    })
}

/// 5.6 and 3.4: int with int stays int; overflow wraps.
fn integer_arithmetic(left: i64, op: Arithmetic, right: i64) -> Value {
    Value::Int(match op {
        Arithmetic::Add => left.wrapping_add(right),
        Arithmetic::Subtract => left.wrapping_sub(right),
        Arithmetic::Multiply => left.wrapping_mul(right),
        Arithmetic::Divide | Arithmetic::Modulo if right == 0 => return Value::Nil,
        Arithmetic::Divide => left.wrapping_div(right),
        Arithmetic::Modulo => left.wrapping_rem(right),
        Arithmetic::Power => integer_power(left, right),
    })
}

/// 3.4 and section 11: a to the b, exact where an int can hold it, else as a double, truncated.
#[expect(clippy::cast_precision_loss, reason = "3.4: integer power is computed as a double")]
#[expect(clippy::cast_possible_truncation, reason = "3.4: and truncated")]
fn integer_power(base: i64, exponent: i64) -> i64 {
    u32::try_from(exponent)
        .ok()
        .and_then(|exponent| base.checked_pow(exponent))
        .unwrap_or_else(|| (base as f64).powf(exponent as f64) as i64)
}

/// 5.6: unary minus keeps the type; section 11: nil for what is no number.
pub(crate) fn negate(value: &Value) -> Value {
    match value {
        Value::Int(number) => Value::Int(number.wrapping_neg()),
        Value::Float(number) => Value::Float(-number),
        Value::Duration(nanos) => Value::Duration(nanos.wrapping_neg()),
        _ => Value::Nil,
    }
}

/// 7.4: whether two values are one group: same type, same value, arrays as a whole. Floats are
/// told apart by their bits, so that NaN is one group.
pub(crate) fn same_group(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_group(left, right))
        }
        _ => left == right,
    }
}

/// Section 4, durations: Go's notation.
pub(crate) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (unit, name) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
    let rest = nanos % 60_000_000_000;
    let places = unit.to_string().len() - 1;
    let whole = rest / unit;
    let fraction = format!("{:0>places$}", rest % unit);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let hours_text = if hours > 0 { format!("{hours}h") } else { String::new() };
    let minutes_text = if hours > 0 || minutes > 0 { format!("{minutes}m") } else { String::new() };
    format!("{sign}{hours_text}{minutes_text}{whole}{dot}{fraction}{name}")
}
