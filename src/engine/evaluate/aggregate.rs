//! Aggregates and what is computed from them: scalars prepared for a batch, so that computing one for
//! a spanset cannot fail (`traceql.md` 7.4).

use std::borrow::Cow;

use traceql_blocks::read::predicate::Comparison;
use traceql_language::analyze::ir::{AggregateFunction, Arithmetic};

use super::compile::{AggregateNode, ScalarNode};
use super::distinct::Distinct;
use super::field::Reader;
use super::value::{Val, arithmetic, compare, total_order};
use crate::search::Value;

/// Aggregates computed on the way to a verdict, with their names: most spansets are dropped, and
/// only those that are kept need them for their results.
pub(super) type Computed<'s> = Vec<(&'s str, Val<'s>)>;

pub(super) fn holds<'s>(
    left: &'s Scalar<'_>,
    op: Comparison,
    right: &'s Scalar<'_>,
    at: usize,
    spans: &[u32],
    computed: &mut Computed<'s>,
) -> bool {
    computed.clear();
    if let (Some(left), Some(right)) = (left.of_count(spans.len()), right.of_count(spans.len()))
        && !op.holds(left.cmp(&right))
    {
        return false;
    }
    let (left, right) = (left.of(at, spans, computed), right.of(at, spans, computed));
    left.number().is_some() && right.number().is_some() && compare(&left, op, &right)
}

pub(super) fn named(computed: &Computed<'_>) -> impl Iterator<Item = (String, Value)> {
    computed.iter().map(|(label, value)| ((*label).to_owned(), value.to_value()))
}

impl ScalarNode {
    /// True if it is computed from more than the spans of one spanset.
    pub(super) fn has_pipeline(&self) -> bool {
        match self {
            Self::Pipeline { .. } => true,
            Self::Arithmetic { left, right, .. } => left.has_pipeline() || right.has_pipeline(),
            Self::Static(_) | Self::Aggregate(_) => false,
        }
    }
}

/// A scalar prepared for a batch.
pub(super) enum Scalar<'a> {
    Static(Val<'a>),
    Aggregate(Aggregate<'a>),
    Arithmetic {
        left: Box<Self>,
        op: Arithmetic,
        right: Box<Self>,
    },
    /// By spanset (or trace) of the flow.
    Known(Vec<Val<'static>>),
}

impl Scalar<'_> {
    /// Its value if the number of spans decides it: most spansets are dropped by a count.
    fn of_count(&self, n_spans: usize) -> Option<i64> {
        match self {
            Self::Static(Val::Int(value)) => Some(*value),
            Self::Aggregate(Aggregate {
                function: AggregateFunction::Count,
                operand: None,
                ..
            }) => i64::try_from(n_spans).ok(),
            _ => None,
        }
    }

    fn of<'s>(&'s self, at: usize, spans: &[u32], computed: &mut Computed<'s>) -> Val<'s> {
        match self {
            Self::Static(value) => value.clone(),
            Self::Known(known) => known.get(at).cloned().unwrap_or(Val::Nil),
            Self::Aggregate(aggregate) => {
                let value = aggregate.of(spans);
                if !value.is_nil() {
                    computed.push((aggregate.label, value.clone()));
                }
                value
            }
            Self::Arithmetic { left, op, right } => {
                let (left, right) = (left.of(at, spans, computed), right.of(at, spans, computed));
                if left.number().is_none() || right.number().is_none() {
                    return Val::Nil;
                }
                arithmetic(&left, *op, &right)
            }
        }
    }
}

/// An aggregate prepared for a batch.
pub(crate) struct Aggregate<'a> {
    function: AggregateFunction,
    operand: Option<Reader<'a>>,
    label: &'a str,
}

impl<'a> Aggregate<'a> {
    /// An aggregate whose argument, if it has one, is prepared.
    pub(super) fn new(node: &'a AggregateNode, operand: Option<Reader<'a>>) -> Self {
        Self { function: node.function, operand, label: &node.label }
    }

    /// Its name in results.
    pub(super) fn label(&self) -> &str {
        self.label
    }

    /// The aggregate of some spans; nil if none has a value (7.4, numbers as section 11 has them).
    pub(crate) fn of(&self, spans: &[u32]) -> Val<'_> {
        let Some(operand) = &self.operand else {
            return Val::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX));
        };
        if let Some(durations) = operand.span_durations()
            && let Some(value) = of_durations(self.function, durations, spans)
        {
            return value;
        }
        let values = spans.iter().map(|span| operand.get(*span as usize)).filter(|v| !v.is_nil());
        match self.function {
            AggregateFunction::Count => Val::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX)),
            AggregateFunction::CountDistinct => distinct(values),
            AggregateFunction::Max => extreme(values, std::cmp::Ordering::Greater),
            AggregateFunction::Min => extreme(values, std::cmp::Ordering::Less),
            AggregateFunction::Sum => sum(values).0,
            AggregateFunction::Avg => {
                let (sum, n) = sum(values);
                average(&sum, n)
            }
        }
    }
}

/// What most queries aggregate, computed where it lies: the values below come one at a time. `None`
/// for what is no number of durations, and for no spans.
fn of_durations<'a>(
    function: AggregateFunction,
    durations: &[i64],
    spans: &[u32],
) -> Option<Val<'a>> {
    let values = spans.iter().map(|span| durations[*span as usize]);
    Some(Val::Duration(match function {
        AggregateFunction::Min => values.min()?,
        AggregateFunction::Max => values.max()?,
        AggregateFunction::Sum | AggregateFunction::Avg if spans.is_empty() => return None,
        AggregateFunction::Sum => values.fold(0, i64::wrapping_add),
        AggregateFunction::Avg => {
            values.fold(0, i64::wrapping_add) / i64::try_from(spans.len()).unwrap_or(1)
        }
        AggregateFunction::Count | AggregateFunction::CountDistinct => return None,
    }))
}

/// How many different values there are, told apart as groups are.
fn distinct<'a>(values: impl Iterator<Item = Val<'a>>) -> Val<'a> {
    let mut distinct = Distinct::new(|_| Some(()));
    for value in values {
        distinct.number(&value);
    }
    Val::Int(i64::try_from(distinct.all_shown().len()).unwrap_or(i64::MAX))
}

fn extreme<'a>(values: impl Iterator<Item = Val<'a>>, wanted: std::cmp::Ordering) -> Val<'a> {
    // Values that are not numbers count only where there are no numbers.
    values.fold(Val::Nil, |best, value| {
        let better = match (best.number().is_some(), value.number().is_some()) {
            _ if best.is_nil() => true,
            (true, false) => false,
            (false, true) => true,
            _ => total_order(&value, &best) == wanted,
        };
        if better { value } else { best }
    })
}

/// Sum of the numbers and how many there were: integers and durations stay exact, a mixture adds up
/// as doubles.
fn sum<'a>(values: impl Iterator<Item = Val<'a>>) -> (Val<'a>, usize) {
    let mut sum = Val::Nil;
    let mut n = 0;
    for value in values {
        if value.number().is_none() {
            continue;
        }
        n += 1;
        sum = match (&sum, &value) {
            (Val::Nil, _) => value,
            (Val::Int(a), Val::Int(b)) => Val::Int(a.wrapping_add(*b)),
            (Val::Duration(a), Val::Duration(b)) => Val::Duration(a.wrapping_add(*b)),
            _ => Val::Float(sum.number().unwrap_or(0.0) + value.number().unwrap_or(0.0)),
        };
    }
    (sum, n)
}

#[expect(clippy::cast_precision_loss, reason = "a mean of integers is a double (7.4)")]
fn average<'a>(sum: &Val<'_>, n: usize) -> Val<'a> {
    match sum {
        Val::Int(sum) => Val::Float(*sum as f64 / n as f64),
        Val::Float(sum) => Val::Float(*sum / n as f64),
        Val::Duration(sum) => Val::Duration(*sum / i64::try_from(n.max(1)).unwrap_or(1)),
        _ => Val::Nil,
    }
}

impl Val<'_> {
    pub(super) fn into_owned(self) -> Val<'static> {
        match self {
            Self::Nil => Val::Nil,
            Self::Int(v) => Val::Int(v),
            Self::Float(v) => Val::Float(v),
            Self::Duration(v) => Val::Duration(v),
            Self::Bool(v) => Val::Bool(v),
            Self::Bytes(v) => Val::Bytes(Cow::Owned(v.into_owned())),
            Self::Status(v) => Val::Status(v),
            Self::Kind(v) => Val::Kind(v),
            Self::Array(v) => Val::Array(v.into_iter().map(Val::into_owned).collect()),
        }
    }
}
