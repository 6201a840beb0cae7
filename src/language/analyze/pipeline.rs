//! Stages, spanset expressions and scalars: checked and typed.

use super::Context;
use super::field::{condition, key, lone_field, number};
use super::ir::{
    Aggregate, AggregateFunction, OrderBy, OrderKey, Pipeline, ScalarExpr, SpansetExpr, SpansetOp,
    Stage,
};
use crate::ast::{self, Located};
use crate::display;
use crate::error::{Code, Error, ErrorKind};
use crate::range::TextRange;

/// Most operands of a chain of structural operators or of arithmetic on aggregates, each of which
/// makes the typed query one level deeper.
const MAX_CHAIN: usize = 64;

pub(super) fn pipeline(context: Context, pipeline: &ast::Pipeline) -> Result<Pipeline, Error> {
    let stages =
        pipeline.stages.iter().map(|stage| stage_of(context, stage)).collect::<Result<_, _>>()?;
    Ok(Pipeline { stages })
}

/// The keys of `order_by`.
pub(super) fn order_by(
    context: Context,
    keys: &[Located<ast::OrderKey>],
) -> Result<Vec<OrderKey>, Error> {
    keys.iter()
        .map(|key| {
            let by = match &key.node.by {
                ast::OrderBy::Span(expr) => {
                    OrderBy::Span(super::field::key(context, expr, "order_by")?)
                }
                ast::OrderBy::Spanset(aggregate) => {
                    OrderBy::Spanset(aggregate_of(context, &aggregate.node)?)
                }
            };
            Ok(OrderKey { by, descending: key.node.descending })
        })
        .collect()
}

fn stage_of(context: Context, stage: &Located<ast::Stage>) -> Result<Stage, Error> {
    Ok(match &stage.node {
        ast::Stage::Spanset(expr) => Stage::Spanset(spanset(context, expr, stage.range)?),
        ast::Stage::ScalarFilter { left, op, right } => {
            check_scalar_filter(context, left, right)?;
            Stage::ScalarFilter {
                left: scalar(context, left)?,
                op: *op,
                right: scalar(context, right)?,
            }
        }
        ast::Stage::By(expr) => {
            let label = format!("by({})", display::field_expr_text(expr));
            Stage::By { key: key(context, expr, "by")?, label }
        }
        ast::Stage::Coalesce => Stage::Coalesce,
        ast::Stage::Select(fields) => Stage::Select(
            fields.iter().map(|field| lone_field(context, field)).collect::<Result<_, _>>()?,
        ),
    })
}

/// Tempo parses arithmetic and comparisons of aggregates, but answers one aggregate against one
/// constant only.
fn check_scalar_filter(
    context: Context,
    left: &Located<ast::ScalarExpr>,
    right: &Located<ast::ScalarExpr>,
) -> Result<(), Error> {
    if context.dialect.has_extensions() {
        return Ok(());
    }
    let unsupported = |range: TextRange, what: &str| {
        Err(Error::invalid(Code::Unsup, range, format!("{what} is an extension that Tempo does not answer"))
            .hint("use the default dialect, or write one aggregate to the left and one constant to the right"))
    };
    match (&left.node, &right.node) {
        (ast::ScalarExpr::Aggregate(_), ast::ScalarExpr::Static(_)) => Ok(()),
        (ast::ScalarExpr::Aggregate(_), _) => {
            unsupported(right.range, "an aggregate to the right of a comparison")
        }
        (ast::ScalarExpr::Static(_), _) => {
            unsupported(left.range, "a constant to the left of a comparison")
        }
        (ast::ScalarExpr::Arithmetic { .. }, _) => {
            unsupported(left.range, "arithmetic on aggregates")
        }
        (ast::ScalarExpr::Pipeline { .. }, _) => {
            unsupported(left.range, "the aggregate of a pipeline")
        }
    }
}

fn spanset(
    context: Context,
    expr: &ast::SpansetExpr,
    range: TextRange,
) -> Result<SpansetExpr, Error> {
    Ok(match expr {
        ast::SpansetExpr::Filter(filter) => SpansetExpr::Filter(condition(context, filter)?),
        ast::SpansetExpr::Pipeline(inner) => SpansetExpr::Pipeline(pipeline(context, inner)?),
        ast::SpansetExpr::Operation { first, rest } => {
            let left = spanset(context, &first.node, first.range)?;
            let operands = rest
                .iter()
                .map(|(op, operand)| Ok((*op, spanset(context, &operand.node, operand.range)?)))
                .collect::<Result<Vec<_>, Error>>()?;
            if operands.len() > MAX_CHAIN {
                return long_chain(left, operands, range);
            }
            operands.into_iter().fold(left, operation)
        }
        ast::SpansetExpr::Not(operand) => {
            SpansetExpr::Not(Box::new(spanset(context, &operand.node, operand.range)?))
        }
    })
}

fn operation(left: SpansetExpr, (op, right): (SpansetOp, SpansetExpr)) -> SpansetExpr {
    SpansetExpr::Operation { left: Box::new(left), op, right: Box::new(right) }
}

/// A long chain of one of `&&` and `||`, which are associative over spansets, is grouped in halves.
fn long_chain(
    left: SpansetExpr,
    rest: Vec<(SpansetOp, SpansetExpr)>,
    range: TextRange,
) -> Result<SpansetExpr, Error> {
    let op = rest.first().map_or(SpansetOp::And, |(op, _)| *op);
    if matches!(op, SpansetOp::Structural { .. }) || rest.iter().any(|(other, _)| *other != op) {
        return Err(too_long(range));
    }
    let mut operands: Vec<SpansetExpr> =
        std::iter::once(left).chain(rest.into_iter().map(|(_, operand)| operand)).collect();
    while operands.len() > 1 {
        let mut halved = Vec::with_capacity(operands.len().div_ceil(2));
        let mut pairs = operands.into_iter();
        while let Some(left) = pairs.next() {
            halved.push(match pairs.next() {
                Some(right) => operation(left, (op, right)),
                None => left,
            });
        }
        operands = halved;
    }
    operands.pop().ok_or_else(|| too_long(range))
}

fn too_long(range: TextRange) -> Error {
    Error::new(ErrorKind::Limit, range, format!("this chain has more than {MAX_CHAIN} operators"))
        .hint("long chains of `&&` alone or of `||` alone are fine")
}

fn scalar(context: Context, expr: &Located<ast::ScalarExpr>) -> Result<ScalarExpr, Error> {
    Ok(match &expr.node {
        ast::ScalarExpr::Static(value) => ScalarExpr::Static(value.clone()),
        ast::ScalarExpr::Aggregate(aggregate) => {
            ScalarExpr::Aggregate(aggregate_of(context, aggregate)?)
        }
        ast::ScalarExpr::Pipeline { pipeline: inner, aggregate } => ScalarExpr::Pipeline {
            pipeline: pipeline(context, inner)?,
            aggregate: aggregate_of(context, aggregate)?,
        },
        ast::ScalarExpr::Arithmetic { first, rest } => {
            if rest.len() > MAX_CHAIN {
                return Err(too_long(expr.range));
            }
            rest.iter().try_fold(scalar(context, first)?, |left, (op, right)| {
                let right = scalar(context, right)?;
                Ok(ScalarExpr::Arithmetic { left: Box::new(left), op: *op, right: Box::new(right) })
            })?
        }
    })
}

fn aggregate_of(context: Context, aggregate: &ast::Aggregate) -> Result<Aggregate, Error> {
    let word = aggregate.function.keyword().text();
    let operand = aggregate.operand.as_deref();
    let operand = operand.map(|operand| match aggregate.function {
        AggregateFunction::CountDistinct => key(context, operand, word),
        _ => number(context, operand, word),
    });
    let operand = operand.transpose()?;
    Ok(Aggregate {
        function: aggregate.function,
        operand,
        label: display::aggregate_text(aggregate),
    })
}
