//! Labels of series: what a value is called, which labels a group has, and the order of series
//! (`metrics.md` 2.5 and 6.1).
//!
//! Choices made where the specification is silent:
//! - The text of a float in the order of 6.1 has no exponent and, if whole, no decimal point.
//! - A list is printed as `traceql.md` section 4 prints literals: strings in backticks, verbatim,
//!   floats in C's `%g` style. A list and a string that read the same are one label.
//! - Floats are one group if their bits are, so that `-0` and `0` are two, and NaN is one.

use std::cmp::Ordering;

use traceql_engine::metrics::{Label, LabelValue};
use traceql_engine::search::Value;
use traceql_language::analyze::ir::Field;

use super::super::values::duration_text;

/// 2.5: a value as a label's; nothing for a missing one.
pub(super) fn of_value(value: &Value) -> Option<LabelValue> {
    Some(match value {
        Value::Nil => return None,
        Value::Int(number) => LabelValue::Int(*number),
        Value::Float(number) => LabelValue::Float(*number),
        Value::Bool(truth) => LabelValue::Bool(*truth),
        Value::String(text) => LabelValue::String(text.clone()),
        Value::Status(status) => LabelValue::String(status.to_string()),
        Value::Kind(kind) => LabelValue::String(kind.to_string()),
        Value::Duration(nanos) => LabelValue::String(duration_text(*nanos)),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(printed).collect();
            LabelValue::String(format!("[{}]", elements.join(", ")))
        }
    })
}

/// `traceql.md` section 4: an element of a list.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Float(number) => printed_float(*number),
        other => unreachable!("{other:?} is no element of a list (5.2)"),
    }
}

/// `traceql.md` section 4: shortest digits; an exponent of at least two digits below -4 and from 6
/// on, otherwise a decimal point.
fn printed_float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("that is what `e` prints");
    let exponent: i32 = exponent.parse().expect("an exponent");
    if (-4..6).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// 2.5: the labels of a group: missing ones are left out. If all are missing, one stays with the text
/// `nil`, but not for functions that add a label of their own.
pub(super) fn of_group(by: &[Field], values: &[Value], adds_label: bool) -> Vec<Label> {
    let labels: Vec<Label> = by
        .iter()
        .zip(values)
        .filter_map(|(field, value)| Some(Label::new(field.to_string(), of_value(value)?)))
        .collect();
    match by.first() {
        Some(first) if labels.is_empty() && !adds_label => {
            vec![Label::text(first.to_string(), "nil")]
        }
        _ => labels,
    }
}

/// What tells series apart: names and values with their types, in order.
pub(super) fn identity(labels: &[Label]) -> String {
    format!("{labels:?}")
}

/// 6.1: fewer labels first, then label by label.
pub(super) fn order(left: &[Label], right: &[Label]) -> Ordering {
    if left.len() != right.len() {
        return left.len().cmp(&right.len());
    }
    for (left, right) in left.iter().zip(right) {
        let order = left.name.cmp(&right.name).then_with(|| value_order(&left.value, &right.value));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// 6.1: values by the name of their type, then by their text.
pub(super) fn value_order(left: &LabelValue, right: &LabelValue) -> Ordering {
    (tag(left), text(left)).cmp(&(tag(right), text(right)))
}

/// 6.1: the type's name.
fn tag(value: &LabelValue) -> &'static str {
    match value {
        LabelValue::Bool(_) => "bool_value",
        LabelValue::Float(_) => "double_value",
        LabelValue::Int(_) => "int_value",
        LabelValue::String(_) => "string_value",
    }
}

/// 6.1: the value's text in the protocol's text form.
fn text(value: &LabelValue) -> String {
    match value {
        LabelValue::Bool(truth) => truth.to_string(),
        LabelValue::Float(number) => traceql_language::float_text(*number),
        LabelValue::Int(number) => number.to_string(),
        LabelValue::String(text) => {
            let escaped: String = text
                .bytes()
                .map(|byte| match byte {
                    b'\n' => "\\n".to_owned(),
                    b'\r' => "\\r".to_owned(),
                    b'\t' => "\\t".to_owned(),
                    b'"' => "\\\"".to_owned(),
                    b'\\' => "\\\\".to_owned(),
                    b' '..=b'~' => char::from(byte).to_string(),
                    _ => format!("\\{byte:03o}"),
                })
                .collect();
            format!("\"{escaped}\"")
        }
    }
}
