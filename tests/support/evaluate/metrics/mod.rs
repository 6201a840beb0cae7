//! A naive evaluator of TraceQL metrics over traces in memory: `metrics.md`, executed slowly. Section
//! 0 of it wins over what its later sections say. What the specification leaves open is settled in the
//! head of the file concerned. It shares nothing with the engine but the types of labels, and must
//! never borrow its code: its only worth is to be written twice.
//!
//! Traces are whole: the parts of a trace that lies in several blocks are put together by the caller.
//! Exemplars are left out. Sampling hints are ignored, so that all numbers are exact (row 21).

mod axis;
mod buckets;
mod compare;
mod first_stage;
mod labels;
mod math;
mod second_stage;
mod spans;
mod weight;

use std::fmt;

use traceql_blocks::model::Trace;
use traceql_engine::metrics::Label;
use traceql_language::analyze::ir::{MetricsExpr, MetricsFunction, TypedQuery};

pub(crate) use self::axis::{Axis, When};
use self::math::Operand;

/// One series.
#[derive(Clone, Debug)]
pub(crate) struct NaiveSeries {
    /// In the order of 2.5.
    pub(crate) labels: Vec<Label>,
    /// One per interval of the axis, some absent; none is NaN.
    pub(crate) samples: Vec<Option<f64>>,
}

impl NaiveSeries {
    /// Whether it is there at all.
    fn has_samples(&self) -> bool {
        self.samples.iter().any(Option::is_some)
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An empty range, or a step of zero (1.4).
    NoAxis,
    /// `traceql.md` 7.3: an operand of a structural operator yielded several spansets.
    NeedsCoalesce,
    /// A search.
    NoMetrics,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAxis => "the range is empty or the step is zero",
            Self::NeedsCoalesce => {
                "an operand of a structural operator yields several spansets: use coalesce()"
            }
            Self::NoMetrics => "this is no metrics query",
        })
    }
}

/// The answer of a metrics query, series in the order of 6.1; [`Axis::of`] says what their samples
/// stand for.
pub(crate) fn metrics(
    traces: &[Trace],
    query: &TypedQuery,
    when: When,
) -> Result<Vec<NaiveSeries>, Refusal> {
    let axis = Axis::of(when)?;
    let expression = query.metrics.as_ref().ok_or(Refusal::NoMetrics)?;
    let extrapolate = weight::is_asked_for(&query.hints);
    let mut series = match operand(traces, expression, &axis, extrapolate)? {
        Operand::Series(series) => series,
        Operand::Constant(_) => return Err(Refusal::NoMetrics),
    };
    series.sort_by(|left, right| labels::order(&left.labels, &right.labels));
    Ok(series)
}

/// 3.3: one query with its second stages, or math over several.
fn operand(
    traces: &[Trace],
    expression: &MetricsExpr,
    axis: &Axis,
    extrapolate: bool,
) -> Result<Operand, Refusal> {
    let (result, stages) = match expression {
        MetricsExpr::Constant(number) => return Ok(Operand::Constant(*number)),
        MetricsExpr::Query { pipeline, function, by, second } => {
            let mut series = match function {
                MetricsFunction::Compare { selection, top_n, window } => {
                    let top_n = usize::try_from(*top_n).expect("a 32-bit number");
                    let question = compare::Question { selection, top_n, window: *window };
                    compare::series(traces, pipeline, question, axis, extrapolate)?
                }
                _ => first_stage::series(traces, pipeline, function, by, axis, extrapolate)?,
            };
            series.retain(NaiveSeries::has_samples);
            (Operand::Series(series), second)
        }
        MetricsExpr::Math { left, op, right, second } => {
            let left = operand(traces, left, axis, extrapolate)?;
            let right = operand(traces, right, axis, extrapolate)?;
            (math::combine(left, *op, right), second)
        }
    };
    Ok(match result {
        Operand::Series(series) => Operand::Series(second_stage::apply(series, stages)),
        constant @ Operand::Constant(_) => constant,
    })
}
