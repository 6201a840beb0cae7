//! `order_by` (`grammar/extensions.md`): spans of a spanset, spansets of a trace and traces in the order
//! of some keys.

use std::cmp::Ordering;

use traceql_engine::search::{ResultAttribute, Value};
use traceql_language::analyze::ir::{OrderBy, OrderKey};

use super::fields::{self, Place, Reading};
use super::forest::Forest;
use super::values::{Number, number};
use super::{Spanset, aggregate};

/// Puts spans and spansets in order; the values of the first span of all.
pub(super) fn sort(forest: &Forest<'_>, keys: &[OrderKey], spansets: &mut [Spanset]) -> Vec<Value> {
    for spanset in spansets.iter_mut() {
        let values: Vec<Vec<Value>> =
            (0..forest.spans.len()).map(|span| values(forest, keys, spanset, span)).collect();
        spanset.spans.sort_by(|left, right| compare(keys, &values[*left], &values[*right]));
    }
    let first = |spanset: &Spanset| values(forest, keys, spanset, spanset.spans[0]);
    spansets.sort_by(|left, right| compare(keys, &first(left), &first(right)));
    let key = spansets.first().map(first).unwrap_or_default();
    for spanset in spansets {
        name(forest, keys, spanset);
    }
    key
}

/// A spanset shows the aggregates it is ordered by, as those of a comparison: each once, none without
/// a value.
fn name(forest: &Forest<'_>, keys: &[OrderKey], spanset: &mut Spanset) {
    for key in keys {
        let OrderBy::Spanset(function) = &key.by else { continue };
        let value = aggregate(forest, function, &spanset.spans);
        let is_named = spanset.values.iter().any(|named| named.key == function.label);
        if value != Value::Nil && !is_named {
            spanset.values.push(ResultAttribute { key: function.label.clone(), value });
        }
    }
}

/// What the keys have for a span of a spanset.
fn values(forest: &Forest<'_>, keys: &[OrderKey], spanset: &Spanset, span: usize) -> Vec<Value> {
    keys.iter()
        .map(|key| match &key.by {
            OrderBy::Span(expression) => {
                fields::evaluate(Place { forest, span, reading: Reading::First }, expression)
            }
            OrderBy::Spanset(function) => aggregate(forest, function, &spanset.spans),
        })
        .collect()
}

/// Key by key. A missing value is last in either direction.
pub(super) fn compare(keys: &[OrderKey], left: &[Value], right: &[Value]) -> Ordering {
    keys.iter()
        .zip(left.iter().zip(right))
        .map(|(key, (left, right))| match (left, right) {
            (Value::Nil, Value::Nil) => Ordering::Equal,
            (Value::Nil, _) => Ordering::Greater,
            (_, Value::Nil) => Ordering::Less,
            _ if key.descending => ascending(right, left),
            _ => ascending(left, right),
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers, texts, bools, statuses, kinds, lists, in this order.
fn ascending(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Status(left), Value::Status(right)) => left.cmp(right),
        (Value::Kind(left), Value::Kind(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => left
            .iter()
            .zip(right)
            .map(|(left, right)| ascending(left, right))
            .find(|order| order.is_ne())
            .unwrap_or(left.len().cmp(&right.len())),
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => numbers(left, right),
            _ => rank(left).cmp(&rank(right)),
        },
    }
}

/// By size, as doubles where they are not both exact; what is no number at all is greatest.
fn numbers(left: Number, right: Number) -> Ordering {
    let (Number::Exact(left), Number::Exact(right)) = (left, right) else {
        let (left, right) = (left.as_double(), right.as_double());
        return left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()));
    };
    left.cmp(&right)
}

/// The place of a type among the others.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Int(_) | Value::Float(_) | Value::Duration(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Status(_) => 3,
        Value::Kind(_) => 4,
        Value::Array(_) => 5,
        Value::Nil => 6,
    }
}
