//! Metrics functions, their second stages and math: ranges and combinations checked.

use super::Context;
use super::field::condition;
use super::ir::{Field, MetricsExpr, MetricsFunction, SecondStage};
use super::pipeline::pipeline;
use crate::ast::{self, FieldFunction, Located};
use crate::error::{Code, Error, ErrorKind};

/// Values of each attribute that `compare()` keeps unless told otherwise.
const DEFAULT_TOP_N: u32 = 10;

/// Most values that `compare()` can be asked to keep.
const MAX_TOP_N: i64 = 1000;

/// Most fields that series can be grouped by.
const MAX_GROUPINGS: usize = 5;

/// Deepest math; a chain counts once for each of its operators.
const MAX_MATH_DEPTH: usize = 128;

pub(super) fn metrics(
    context: Context,
    expr: &Located<ast::MetricsExpr>,
) -> Result<MetricsExpr, Error> {
    metrics_expr(context, expr, false, 0)
}

fn metrics_expr(
    context: Context,
    expr: &Located<ast::MetricsExpr>,
    is_operand: bool,
    depth: usize,
) -> Result<MetricsExpr, Error> {
    match &expr.node {
        ast::MetricsExpr::Constant(value) => Ok(MetricsExpr::Constant(*value)),
        ast::MetricsExpr::Query { pipeline: spans, function, by, second } => {
            let typed = function_of(context, function)?;
            if matches!(typed, MetricsFunction::Compare { .. }) {
                check_compare(function, second, is_operand)?;
            }
            check_groupings(function, by)?;
            Ok(MetricsExpr::Query {
                pipeline: pipeline(context, spans)?,
                function: typed,
                by: fields(by),
                second: second_stages(second)?,
            })
        }
        ast::MetricsExpr::Math { first, rest, second } => {
            let depth = depth + rest.len();
            if depth > MAX_MATH_DEPTH {
                return Err(Error::new(
                    ErrorKind::Limit,
                    expr.range,
                    format!("this math has more than {MAX_MATH_DEPTH} operators"),
                ));
            }
            let mut left = metrics_expr(context, first, true, depth)?;
            for (op, operand) in rest {
                let right = metrics_expr(context, operand, true, depth)?;
                left = MetricsExpr::Math {
                    left: Box::new(left),
                    op: *op,
                    right: Box::new(right),
                    second: Vec::new(),
                };
            }
            if let MetricsExpr::Math { second: stages, .. } = &mut left {
                *stages = second_stages(second)?;
            }
            Ok(left)
        }
    }
}

/// `compare()` yields no series that could be chosen among or computed with.
fn check_compare(
    function: &Located<ast::MetricsFunction>,
    second: &[Located<ast::SecondStage>],
    is_operand: bool,
) -> Result<(), Error> {
    if let Some(stage) = second.first() {
        return Err(Error::invalid(Code::Compare, stage.range, "nothing can follow `compare()`")
            .hint("its second argument says how many values of each attribute to keep"));
    }
    if is_operand {
        return Err(Error::invalid(
            Code::Compare,
            function.range,
            "`compare()` cannot take part in math",
        ));
    }
    Ok(())
}

fn check_groupings(
    function: &Located<ast::MetricsFunction>,
    by: &[Located<Field>],
) -> Result<(), Error> {
    // Functions that add a label of their own leave room for one less.
    let most = match &function.node {
        ast::MetricsFunction::OfField(
            FieldFunction::AvgOverTime | FieldFunction::HistogramOverTime,
            _,
        )
        | ast::MetricsFunction::QuantileOverTime { .. } => MAX_GROUPINGS - 1,
        _ => MAX_GROUPINGS,
    };
    match by.get(most) {
        Some(excess) => Err(Error::invalid(
            Code::Unsup,
            excess.range,
            format!("this function can be grouped by {most} fields at most, not {}", by.len()),
        )),
        None => Ok(()),
    }
}

/// Tempo does not check the fields of metrics, so here it accepts the parent and its fields, too; the
/// parent by itself has no value.
fn fields(fields: &[Located<Field>]) -> Vec<Field> {
    fields.iter().map(|field| field.node.clone()).collect()
}

fn function_of(
    context: Context,
    function: &Located<ast::MetricsFunction>,
) -> Result<MetricsFunction, Error> {
    Ok(match &function.node {
        ast::MetricsFunction::Rate => MetricsFunction::Rate,
        ast::MetricsFunction::CountOverTime => MetricsFunction::CountOverTime,
        ast::MetricsFunction::OfField(function, of) => {
            let of = of.node.clone();
            match function {
                FieldFunction::MinOverTime => MetricsFunction::MinOverTime(of),
                FieldFunction::MaxOverTime => MetricsFunction::MaxOverTime(of),
                FieldFunction::AvgOverTime => MetricsFunction::AvgOverTime(of),
                FieldFunction::SumOverTime => MetricsFunction::SumOverTime(of),
                FieldFunction::HistogramOverTime => MetricsFunction::HistogramOverTime(of),
            }
        }
        ast::MetricsFunction::QuantileOverTime { of, quantiles } => {
            for quantile in quantiles {
                if !(0.0..=1.0).contains(&quantile.node) {
                    let error = Error::invalid(
                        Code::Range,
                        quantile.range,
                        "a quantile lies between 0 and 1",
                    );
                    let fraction = quantile.node / 100.0;
                    return Err(if (0.0..=1.0).contains(&fraction) {
                        error.hint(format!(
                            "for the {}th percentile write `{fraction}`",
                            quantile.node
                        ))
                    } else {
                        error
                    });
                }
            }
            MetricsFunction::QuantileOverTime {
                of: of.node.clone(),
                quantiles: quantiles.iter().map(|quantile| quantile.node).collect(),
            }
        }
        ast::MetricsFunction::Compare { selection, top_n, window } => MetricsFunction::Compare {
            selection: condition(context, selection)?,
            top_n: top_n.as_ref().map_or(Ok(DEFAULT_TOP_N), compare_top_n)?,
            window: match window {
                Some((start, end)) => compare_window(start, end)?,
                None => None,
            },
        },
    })
}

fn compare_top_n(top_n: &Located<i64>) -> Result<u32, Error> {
    match u32::try_from(top_n.node) {
        Ok(n) if (1..=MAX_TOP_N).contains(&top_n.node) => Ok(n),
        _ => Err(Error::invalid(
            Code::Range,
            top_n.range,
            format!("`compare()` keeps between 1 and {MAX_TOP_N} values of an attribute"),
        )),
    }
}

/// Start and end of the selection; two zeros stand for none.
fn compare_window(start: &Located<i64>, end: &Located<i64>) -> Result<Option<(i64, i64)>, Error> {
    let range = start.range.cover(end.range);
    match (start.node, end.node) {
        (0, 0) => Ok(None),
        (start, end) if start <= 0 || end <= 0 => Err(Error::invalid(
            Code::Range,
            range,
            "the selection's start and end must be positive unix nanoseconds",
        )),
        (start, end) if end <= start => {
            Err(Error::invalid(Code::Range, range, "the selection ends before it starts"))
        }
        window => Ok(Some(window)),
    }
}

fn second_stages(stages: &[Located<ast::SecondStage>]) -> Result<Vec<SecondStage>, Error> {
    stages
        .iter()
        .map(|stage| {
            Ok(match stage.node {
                ast::SecondStage::TopK(n) => SecondStage::TopK(series_count(n, stage)?),
                ast::SecondStage::BottomK(n) => SecondStage::BottomK(series_count(n, stage)?),
                ast::SecondStage::Filter(op, value) => SecondStage::Filter(op, value),
            })
        })
        .collect()
}

fn series_count(n: i64, stage: &Located<ast::SecondStage>) -> Result<u32, Error> {
    if n <= 0 {
        return Err(Error::invalid(Code::Range, stage.range, "at least one series must be kept"));
    }
    // More series than that cannot be told from all of them.
    Ok(u32::try_from(n).unwrap_or(u32::MAX))
}
