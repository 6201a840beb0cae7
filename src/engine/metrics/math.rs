//! Arithmetic between metrics (`metrics.md` 3.3, 3.4), and the whole of a query above its first
//! stages: operands, their second stages, and what is computed of them.

use std::collections::HashMap;

use traceql_language::analyze::ir::{Arithmetic, MetricsExpr, TypedQuery};

use super::query::{Observed, of_expr};
use super::{Label, LabelValue, Series, second_stage};
use crate::error::{Error, Result};
use crate::evaluate::value::float_arithmetic;

/// Label of series that have no grouping.
const NAME: &str = "__name__";

/// Computes a query from the series of its selections, which come in the order of `observed`.
pub(super) fn compute(
    query: &TypedQuery,
    observed: &[Observed],
    series: &[Vec<Series>],
) -> Result<Vec<Series>> {
    let expr = query
        .metrics
        .as_ref()
        .ok_or_else(|| Error::Internal("a plan of metrics holds a search".to_owned()))?;
    match evaluate(expr, query, observed, series)? {
        Operand::Series(series) => Ok(series),
        Operand::Constant(_) => Err(Error::Internal("a metrics query without metrics".to_owned())),
    }
}

enum Operand {
    Series(Vec<Series>),
    Constant(f64),
}

fn evaluate(
    expr: &MetricsExpr,
    query: &TypedQuery,
    observed: &[Observed],
    series: &[Vec<Series>],
) -> Result<Operand> {
    let (found, second) = match expr {
        MetricsExpr::Constant(value) => return Ok(Operand::Constant(*value)),
        MetricsExpr::Query { second, .. } => {
            let wanted = of_expr(expr, query);
            let at = observed.iter().position(|known| Some(known) == wanted.as_ref());
            let found = at.and_then(|at| series.get(at)).cloned();
            let missing = || Error::Internal("a selection of the query was not planned".to_owned());
            (found.ok_or_else(missing)?, second)
        }
        MetricsExpr::Math { left, op, right, second } => {
            let left = evaluate(left, query, observed, series)?;
            let right = evaluate(right, query, observed, series)?;
            let found = match (left, right) {
                (Operand::Series(left), Operand::Series(right)) => join(left, *op, right),
                (Operand::Series(series), Operand::Constant(constant)) => {
                    scaled(series, |sample| calculate(sample, *op, constant))
                }
                (Operand::Constant(constant), Operand::Series(series)) => {
                    scaled(series, |sample| calculate(constant, *op, sample))
                }
                (Operand::Constant(left), Operand::Constant(right)) => {
                    return Ok(Operand::Constant(float_arithmetic(left, *op, right)));
                }
            };
            (found, second)
        }
    };
    let stages = second.iter();
    Ok(Operand::Series(stages.fold(found, |series, stage| second_stage::apply(stage, series))))
}

/// Division by zero leaves no sample (3.3).
fn calculate(left: f64, op: Arithmetic, right: f64) -> f64 {
    if op == Arithmetic::Divide && right == 0.0 {
        return f64::NAN;
    }
    float_arithmetic(left, op, right)
}

/// Every sample, and every exemplar's value, computed with a constant.
fn scaled(mut series: Vec<Series>, f: impl Fn(f64) -> f64) -> Vec<Series> {
    for series in &mut series {
        series.samples = series.samples.map(&f);
        for exemplar in &mut series.exemplars {
            // One without a value of its own gets its sample's in the end.
            if !exemplar.value.is_nan() {
                exemplar.value = f(exemplar.value);
            }
        }
    }
    series.retain(|series| !series.samples.all_absent());
    series
}

/// The series of both sides that have the same labels in the same order. A side without labels goes
/// with every series of the other.
fn join(left: Vec<Series>, op: Arithmetic, right: Vec<Series>) -> Vec<Series> {
    let f = |left: f64, right: f64| calculate(left, op, right);
    let mut joined: Vec<Series> = match (unlabelled(&left), unlabelled(&right)) {
        (Some(one), Some(other)) => vec![Series {
            labels: named(&one.labels, op, &other.labels),
            samples: one.samples.zip(&other.samples, f),
            exemplars: one.exemplars.iter().chain(&other.exemplars).cloned().collect(),
        }],
        (Some(one), None) => right
            .into_iter()
            .map(|series| Series {
                samples: one.samples.zip(&series.samples, f),
                labels: without_name(series.labels),
                exemplars: series.exemplars,
            })
            .collect(),
        (None, Some(one)) => left
            .into_iter()
            .map(|series| Series {
                samples: series.samples.zip(&one.samples, f),
                labels: without_name(series.labels),
                exemplars: series.exemplars,
            })
            .collect(),
        (None, None) => {
            let mut by_labels: HashMap<String, Series> =
                right.into_iter().map(|series| (key(&series.labels), series)).collect();
            left.into_iter()
                .filter_map(|series| {
                    let other = by_labels.remove(&key(&series.labels))?;
                    Some(Series {
                        samples: series.samples.zip(&other.samples, f),
                        labels: without_name(series.labels),
                        exemplars: series.exemplars.into_iter().chain(other.exemplars).collect(),
                    })
                })
                .collect()
        }
    };
    joined.retain(|series| !series.samples.all_absent());
    joined
}

/// The one series of a side without grouping.
fn unlabelled(series: &[Series]) -> Option<&Series> {
    match series {
        [one] if one.labels.iter().all(|label| label.name == NAME) => Some(one),
        _ => None,
    }
}

/// The name of what is computed of two series without grouping: `(left op right)`.
fn named(left: &[Label], op: Arithmetic, right: &[Label]) -> Vec<Label> {
    let name = |labels: &[Label]| {
        labels.iter().find(|label| label.name == NAME).map(|label| label.value.to_text())
    };
    let sign = match op {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Modulo => "%",
        Arithmetic::Power => "^",
    };
    match (name(left), name(right)) {
        (Some(left), Some(right)) => {
            vec![Label::text(NAME, format!("({left} {sign} {right})"))]
        }
        _ => Vec::new(),
    }
}

fn without_name(mut labels: Vec<Label>) -> Vec<Label> {
    labels.retain(|label| label.name != NAME);
    labels
}

/// Labels in order, with types, as a key.
fn key(labels: &[Label]) -> String {
    let mut key = String::new();
    for label in labels {
        let value = match &label.value {
            LabelValue::String(text) => format!("s{text:?}"),
            LabelValue::Int(v) => format!("i{v}"),
            LabelValue::Float(v) => format!("f{}", v.to_bits()),
            LabelValue::Bool(v) => format!("b{v}"),
        };
        key.push_str(&format!("{:?}{value};", label.name));
    }
    key
}
