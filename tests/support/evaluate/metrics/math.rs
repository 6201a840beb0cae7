//! Arithmetic of series and constants (`metrics.md` 3.3 and 3.4). It must not know where series come
//! from.

use traceql_engine::metrics::{Label, LabelValue};
use traceql_language::analyze::ir::Arithmetic;

use super::{NaiveSeries, labels};

/// What an operand is.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A number.
    Constant(f64),
    /// Series, each with a sample at least.
    Series(Vec<NaiveSeries>),
}

/// `left op right`.
pub(super) fn combine(left: Operand, op: Arithmetic, right: Operand) -> Operand {
    let mut series = match (left, right) {
        (Operand::Constant(left), Operand::Constant(right)) => {
            return Operand::Constant(compute(left, op, right).unwrap_or(f64::NAN));
        }
        (Operand::Series(series), Operand::Constant(constant)) => {
            mapped(series, |sample| compute(sample, op, constant))
        }
        (Operand::Constant(constant), Operand::Series(series)) => {
            mapped(series, |sample| compute(constant, op, sample))
        }
        (Operand::Series(left), Operand::Series(right)) => joined(&left, op, &right),
    };
    series.retain(NaiveSeries::has_samples);
    Operand::Series(series)
}

/// 3.4: every sample changed, labels as they are.
fn mapped(mut series: Vec<NaiveSeries>, change: impl Fn(f64) -> Option<f64>) -> Vec<NaiveSeries> {
    for sample in series.iter_mut().flat_map(|series| &mut series.samples) {
        *sample = sample.and_then(&change);
    }
    series
}

/// 3.3: every pair of series that belong together.
fn joined(left: &[NaiveSeries], op: Arithmetic, right: &[NaiveSeries]) -> Vec<NaiveSeries> {
    let mut series = Vec::new();
    for l in left {
        for r in right {
            if let Some(labels) = joined_labels(&l.labels, op, &r.labels) {
                let pairs = l.samples.iter().zip(&r.samples);
                let samples = pairs.map(|(l, r)| compute((*l)?, op, (*r)?)).collect();
                series.push(NaiveSeries { labels, samples });
            }
        }
    }
    series
}

/// 3.3: the labels of a pair, if its two belong together.
fn joined_labels(left: &[Label], op: Arithmetic, right: &[Label]) -> Option<Vec<Label>> {
    match (only_name(left), only_name(right)) {
        (Some(left), Some(right)) => {
            let op = match op {
                Arithmetic::Add => '+',
                Arithmetic::Subtract => '-',
                Arithmetic::Multiply => '*',
                Arithmetic::Divide => '/',
                Arithmetic::Modulo | Arithmetic::Power => unreachable!("the parser refuses them"),
            };
            Some(vec![Label::text("__name__", format!("({left} {op} {right})"))])
        }
        (Some(_), None) => Some(right.to_vec()),
        (None, Some(_)) => Some(left.to_vec()),
        (None, None) => (labels::identity(left) == labels::identity(right)).then(|| left.to_vec()),
    }
}

/// The name of a series without labels of its own.
fn only_name(labels: &[Label]) -> Option<&str> {
    match labels {
        [Label { name, value: LabelValue::String(value) }] if name == "__name__" => Some(value),
        _ => None,
    }
}

/// 3.3: division by zero has no result, nor has what is no number.
fn compute(left: f64, op: Arithmetic, right: f64) -> Option<f64> {
    let result = match op {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide if right == 0.0 => return None,
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo | Arithmetic::Power => unreachable!("the parser refuses them"),
    };
    (!result.is_nan()).then_some(result)
}
