//! What comparisons with a literal mean here. `duration > '200ms'` and `duration > INTERVAL '1 day'`
//! compare durations: DataFusion would compare intervals field by field, and a day with hours would
//! be wrong. `attr('k') > 5` compares the numbers among the values: DataFusion would fail on the
//! first text that is none.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, Window, cast, try_cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use traceql_language::Dialect;
use traceql_language::analyze::ir::{FieldExpr, SpansetExpr, Stage, Static};

use super::error::{SqlError, called};

const DAY_NANOS: i64 = 86_400_000_000_000;

/// Reads the two sides of a comparison as one type.
#[derive(Debug)]
pub(super) struct ComparisonPlanner;

impl ExprPlanner for ComparisonPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_comparison = matches!(
            expr.op,
            BinaryOperator::Gt
                | BinaryOperator::GtEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
        );
        if !is_comparison {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        let is_duration = |expr: &Expr| {
            matches!(expr.get_type(schema), Ok(DataType::Duration(TimeUnit::Nanosecond)))
        };
        let (left, right) = match (is_duration(&left), is_duration(&right)) {
            (true, false) => (left, of_literal(right)?),
            (false, true) => (of_literal(left)?, right),
            _ if is_number(&right) => (number_of(left), right),
            _ if is_number(&left) => (left, number_of(right)),
            _ => (left, right),
        };
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(literal, _) if literal.data_type().is_numeric())
}

/// The numbers of an attribute that is asked for as text; everything else stays what it is.
fn number_of(expr: Expr) -> Expr {
    match &expr {
        Expr::Column(column) if is_text_attribute(&column.name) => {
            try_cast(expr, DataType::Float64)
        }
        _ => expr,
    }
}

fn is_text_attribute(name: &str) -> bool {
    name.ends_with(":text") && called(name).is_some()
}

/// Windows ordered by durations are ordered by their numbers: DataFusion knows no ranges of durations,
/// and `OVER (ORDER BY …)` is one even if it does not say so.
pub(super) fn order_by_numbers(plan: LogicalPlan) -> Result<LogicalPlan> {
    let ordered = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Window(Window { input, window_expr, .. }) = node else {
            return Ok(Transformed::no(node));
        };
        let exprs = window_expr
            .into_iter()
            .map(|expr| order_by_number(expr, input.schema()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Transformed::yes(LogicalPlan::Window(Window::try_new(exprs, input)?)))
    })?;
    Ok(ordered.data)
}

fn order_by_number(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let name = expr.schema_name().to_string();
    let numbered = expr.transform(|expr| {
        let Expr::WindowFunction(mut window) = expr else { return Ok(Transformed::no(expr)) };
        let mut is_changed = false;
        for key in &mut window.params.order_by {
            if matches!(key.expr.get_type(schema), Ok(DataType::Duration(_))) {
                key.expr = cast(key.expr.clone(), DataType::Int64);
                is_changed = true;
            }
        }
        let expr = Expr::WindowFunction(window);
        Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    })?;
    // Whoever reads the column knows it by its name.
    Ok(if numbered.transformed { numbered.data.alias(name) } else { numbered.data })
}

/// The duration of a literal; everything else stays what it is.
fn of_literal(expr: Expr) -> Result<Expr> {
    let Expr::Literal(literal, metadata) = expr else { return Ok(expr) };
    let refuse = |what: String| {
        let error = SqlError::new(what)
            .hint("write a duration: '200ms', '1.5s', '1h30m'")
            .hint("duration_nanos is the same number in nanoseconds");
        DataFusionError::External(Box::new(crate::Error::from(error)))
    };
    let nanos = match &literal {
        ScalarValue::IntervalMonthDayNano(Some(interval)) => {
            if interval.months != 0 {
                return Err(refuse("a month is no fixed duration".to_owned()));
            }
            i64::from(interval.days)
                .checked_mul(DAY_NANOS)
                .and_then(|days| days.checked_add(interval.nanoseconds))
                .ok_or_else(|| refuse("the interval is too long".to_owned()))?
        }
        ScalarValue::Int64(Some(_)) | ScalarValue::Float64(Some(_)) => {
            return Err(refuse(format!("{literal} has no unit, and a duration is wanted")));
        }
        literal => match literal.try_as_str() {
            Some(Some(text)) => {
                parse(text).ok_or_else(|| refuse(format!("{text:?} is no duration")))?
            }
            _ => return Ok(Expr::Literal(literal.clone(), metadata)),
        },
    };
    Ok(Expr::Literal(ScalarValue::DurationNanosecond(Some(nanos)), metadata))
}

/// A duration as TraceQL writes it. Nanoseconds.
pub(super) fn parse(text: &str) -> Option<i64> {
    // Nothing but the characters of a duration reaches the query.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | 'µ' | 'μ' | '-');
    if text.is_empty() || !text.chars().all(is_plain) {
        return None;
    }
    let query =
        traceql_language::compile(&format!("{{ duration = {text} }}"), Dialect::Default).ok()?;
    match query.pipeline.stages.first()? {
        Stage::Spanset(SpansetExpr::Filter(FieldExpr::Compare { right, .. })) => match &**right {
            FieldExpr::Static(Static::Duration(nanos)) => Some(*nanos),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_traceql_reads_them() {
        assert_eq!(parse("200ms"), Some(200_000_000));
        assert_eq!(parse("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse("1.5s"), Some(1_500_000_000));
        for bad in ["", "5", "x", "1s } || { true", "name"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
