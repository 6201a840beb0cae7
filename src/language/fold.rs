//! Constant folding: an operator whose operands are literals is its value, bottom-up, as far as its
//! types allow and its value is finite (`traceql.md` 3.4). A folded query is what canonical text
//! shows and what analysis checks.

use crate::analyze::ir::{Arithmetic, Comparison, FieldName, Intrinsic, Pattern, Static};
use crate::ast::{
    Aggregate, BinaryOp, Body, FieldExpr, Located, MetricsExpr, MetricsFunction, OrderBy, Pipeline,
    Query, ScalarExpr, SpansetExpr, Stage,
};

/// What an integer power is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Powers {
    /// `a ^ b` is a to the b: in every answer, and in our text.
    Exact,
    /// b to the a, as Tempo computes it. Its canonical text shows it; nothing else uses it.
    Swapped,
}

/// Folds every expression of a query.
pub(crate) fn query(query: &mut Query, powers: Powers) {
    match &mut query.body {
        Body::Search(pipeline) => fold_pipeline(pipeline, powers),
        Body::Metrics(expr) => fold_metrics(expr, powers),
    }
    for key in &mut query.arrangement.order_by {
        match &mut key.node.by {
            OrderBy::Span(expr) => field_expr(expr, powers),
            OrderBy::Spanset(aggregate) => fold_aggregate(&mut aggregate.node, powers),
        }
    }
}

fn fold_metrics(expr: &mut Located<MetricsExpr>, powers: Powers) {
    match &mut expr.node {
        MetricsExpr::Query { pipeline, function, .. } => {
            fold_pipeline(pipeline, powers);
            if let MetricsFunction::Compare { selection, .. } = &mut function.node {
                field_expr(selection, powers);
            }
        }
        MetricsExpr::Math { first, rest, .. } => {
            fold_metrics(first, powers);
            rest.iter_mut().for_each(|(_, operand)| fold_metrics(operand, powers));
        }
        MetricsExpr::Constant(_) => {}
    }
}

fn fold_pipeline(pipeline: &mut Pipeline, powers: Powers) {
    for stage in &mut pipeline.stages {
        match &mut stage.node {
            Stage::Spanset(expr) => fold_spanset(expr, powers),
            Stage::ScalarFilter { left, right, .. } => {
                fold_scalar(left, powers);
                fold_scalar(right, powers);
            }
            Stage::By(key) => field_expr(key, powers),
            Stage::Coalesce | Stage::Select(_) => {}
        }
    }
}

fn fold_spanset(expr: &mut SpansetExpr, powers: Powers) {
    match expr {
        SpansetExpr::Filter(filter) => field_expr(filter, powers),
        SpansetExpr::Pipeline(pipeline) => fold_pipeline(pipeline, powers),
        SpansetExpr::Operation { first, rest } => {
            fold_spanset(&mut first.node, powers);
            rest.iter_mut().for_each(|(_, operand)| fold_spanset(&mut operand.node, powers));
        }
        SpansetExpr::Not(operand) => fold_spanset(&mut operand.node, powers),
    }
}

fn fold_scalar(expr: &mut Located<ScalarExpr>, powers: Powers) {
    match &mut expr.node {
        ScalarExpr::Static(_) => {}
        ScalarExpr::Aggregate(aggregate) => fold_aggregate(aggregate, powers),
        ScalarExpr::Pipeline { pipeline, aggregate } => {
            fold_pipeline(pipeline, powers);
            fold_aggregate(aggregate, powers);
        }
        ScalarExpr::Arithmetic { first, rest } => {
            fold_scalar(first, powers);
            rest.iter_mut().for_each(|(_, operand)| fold_scalar(operand, powers));
        }
    }
}

fn fold_aggregate(aggregate: &mut Aggregate, powers: Powers) {
    aggregate.operand.iter_mut().for_each(|operand| field_expr(operand, powers));
}

/// Folds one expression over a span.
pub(crate) fn field_expr(expr: &mut Located<FieldExpr>, powers: Powers) {
    let folded = match &mut expr.node {
        FieldExpr::Static(_) | FieldExpr::Field(_) => None,
        FieldExpr::Not(operand) => {
            field_expr(operand, powers);
            match operand.node {
                FieldExpr::Static(Static::Bool(value)) => Some(Static::Bool(!value)),
                _ => None,
            }
        }
        FieldExpr::Negate(operand) => {
            field_expr(operand, powers);
            match &operand.node {
                FieldExpr::Static(value) => negate(value),
                _ => None,
            }
        }
        FieldExpr::Exists(operand) => {
            field_expr(operand, powers);
            matches!(operand.node, FieldExpr::Static(_)).then_some(Static::Bool(true))
        }
        FieldExpr::Missing(operand) => {
            field_expr(operand, powers);
            matches!(operand.node, FieldExpr::Static(_)).then_some(Static::Bool(false))
        }
        FieldExpr::Binary { first, rest } => {
            field_expr(first, powers);
            rest.iter_mut().for_each(|(_, operand)| field_expr(operand, powers));
            fold_chain(first, rest, powers);
            match &first.node {
                FieldExpr::Static(value) if rest.is_empty() => Some(value.clone()),
                _ => None,
            }
        }
    };
    if let Some(value) = folded {
        expr.node = FieldExpr::Static(value);
    }
}

/// Folds the constant beginning of a chain, and trims trace ids that are compared in it.
fn fold_chain(
    first: &mut Located<FieldExpr>,
    rest: &mut Vec<(BinaryOp, Located<FieldExpr>)>,
    powers: Powers,
) {
    let mut n_folded = 0;
    for (op, operand) in rest.iter() {
        let (FieldExpr::Static(left), FieldExpr::Static(right)) = (&first.node, &operand.node)
        else {
            break;
        };
        let Some(value) = binary(left, *op, right, powers) else { break };
        let range = first.range.cover(operand.range);
        *first = Located::new(FieldExpr::Static(value), range);
        n_folded += 1;
    }
    rest.drain(..n_folded);
    if let Some((BinaryOp::Compare(_) | BinaryOp::Match { .. }, operand)) = rest.first_mut() {
        trim_trace_id(&first.node, &mut operand.node);
        trim_trace_id(&operand.node, &mut first.node);
    }
}

/// Trace ids have no leading zeros, so a literal that is compared with one loses its own.
fn trim_trace_id(field: &FieldExpr, literal: &mut FieldExpr) {
    let FieldExpr::Field(field) = field else { return };
    if field.name != FieldName::Intrinsic(Intrinsic::TraceId) {
        return;
    }
    if let FieldExpr::Static(Static::String(id)) = literal {
        *id = id.trim_start_matches('0').to_owned();
    }
}

/// `-x` of a literal, if it has one.
pub(crate) fn negate(value: &Static) -> Option<Static> {
    Some(match value {
        Static::Int(value) => Static::Int(value.wrapping_neg()),
        Static::Float(value) => Static::Float(-value),
        Static::Duration(nanos) => Static::Duration(nanos.wrapping_neg()),
        Static::String(_) | Static::Bool(_) | Static::Status(_) | Static::Kind(_) => return None,
    })
}

/// `left op right` of two literals, if it has a value.
fn binary(left: &Static, op: BinaryOp, right: &Static, powers: Powers) -> Option<Static> {
    match op {
        BinaryOp::And | BinaryOp::Or => match (left, right) {
            (Static::Bool(left), Static::Bool(right)) => {
                Some(Static::Bool(if op == BinaryOp::And {
                    *left && *right
                } else {
                    *left || *right
                }))
            }
            _ => None,
        },
        BinaryOp::Compare(op) => compare(left, op, right).map(Static::Bool),
        BinaryOp::Match { negated } => match (left, right) {
            (Static::String(text), Static::String(pattern)) => {
                let regex = Pattern::translate(pattern).ok()?.compile().ok()?;
                Some(Static::Bool(regex.is_match(text) != negated))
            }
            _ => None,
        },
        BinaryOp::Arithmetic(op) => arithmetic(left, op, right, powers),
    }
}

/// A comparison of literals whose types allow it (`traceql.md` 5.5).
fn compare(left: &Static, op: Comparison, right: &Static) -> Option<bool> {
    let order = match (left, right) {
        (Static::Int(left), Static::Int(right)) => left.partial_cmp(right),
        (Static::Duration(left), Static::Duration(right) | Static::Int(right))
        | (Static::Int(left), Static::Duration(right))
            if !op.is_ordering() =>
        {
            left.partial_cmp(right)
        }
        (Static::String(left), Static::String(right)) => left.partial_cmp(right),
        (Static::Bool(left), Static::Bool(right)) if !op.is_ordering() => left.partial_cmp(right),
        (Static::Status(left), Static::Status(right)) if !op.is_ordering() => {
            left.partial_cmp(right)
        }
        (Static::Kind(left), Static::Kind(right)) if !op.is_ordering() => left.partial_cmp(right),
        (left, right) => as_float(left)?.partial_cmp(&as_float(right)?),
    };
    Some(match op {
        Comparison::Equal => order.is_some_and(|order| order.is_eq()),
        Comparison::NotEqual => order.is_none_or(|order| order.is_ne()),
        Comparison::Less => order.is_some_and(|order| order.is_lt()),
        Comparison::LessEqual => order.is_some_and(|order| order.is_le()),
        Comparison::Greater => order.is_some_and(|order| order.is_gt()),
        Comparison::GreaterEqual => order.is_some_and(|order| order.is_ge()),
    })
}

/// Arithmetic on literals: integers stay integers, everything else becomes a float (durations in
/// nanoseconds). Nothing comes of a division of integers by zero, nor of a float that is not finite:
/// both stay in the tree as they were written.
pub(crate) fn arithmetic(
    left: &Static,
    op: Arithmetic,
    right: &Static,
    powers: Powers,
) -> Option<Static> {
    if let (Static::Int(left), Static::Int(right)) = (left, right) {
        return integer_arithmetic(*left, op, *right, powers).map(Static::Int);
    }
    let (left, right) = (as_float(left)?, as_float(right)?);
    let value = match op {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo => left % right,
        Arithmetic::Power => left.powf(right),
    };
    // Tempo's text does show infinities.
    (value.is_finite() || powers == Powers::Swapped).then_some(Static::Float(value))
}

fn integer_arithmetic(left: i64, op: Arithmetic, right: i64, powers: Powers) -> Option<i64> {
    Some(match op {
        Arithmetic::Add => left.wrapping_add(right),
        Arithmetic::Subtract => left.wrapping_sub(right),
        Arithmetic::Multiply => left.wrapping_mul(right),
        Arithmetic::Divide if right == 0 => return None,
        Arithmetic::Modulo if right == 0 => return None,
        Arithmetic::Divide => left.wrapping_div(right),
        Arithmetic::Modulo => left.wrapping_rem(right),
        Arithmetic::Power => match powers {
            Powers::Exact => integer_power(left, right),
            Powers::Swapped => integer_power(right, left),
        },
    })
}

/// a to the b, computed in floats and truncated as Tempo does, but exactly where 64 bits suffice.
#[must_use]
pub fn integer_power(base: i64, exponent: i64) -> i64 {
    if let Some(exact) =
        u32::try_from(exponent).ok().and_then(|exponent| base.checked_pow(exponent))
    {
        return exact;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "truncation is the rule, and saturates"
    )]
    let power = (base as f64).powf(exponent as f64) as i64;
    power
}

/// A number as a float, durations in nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "mixed arithmetic is done in floats")]
fn as_float(value: &Static) -> Option<f64> {
    match value {
        Static::Int(value) | Static::Duration(value) => Some(*value as f64),
        Static::Float(value) => Some(*value),
        Static::String(_) | Static::Bool(_) | Static::Status(_) | Static::Kind(_) => None,
    }
}
