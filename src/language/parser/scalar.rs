//! Aggregates, constants, and what operators make of them.

use super::Problem;
use super::combinators::{
    Parsed, expect_symbol, expected_found, fail, hint_extension, refuse_extension,
};
use super::field;
use super::input::Input;
use super::node::{Node, Operand, ScalarSort};
use super::pipeline;
use crate::analyze::ir::{AggregateFunction, Arithmetic, Comparison, Static};
use crate::ast::{Aggregate, Located, ScalarExpr, Stage, join, joined_height};
use crate::error::Error;
use crate::fold;
use crate::lexer::Token;
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// `count()`, `avg(…)`.
pub(super) fn aggregate(input: Input<'_>) -> Parsed<'_, Located<Aggregate>> {
    let Some((word, function)) =
        input.keyword().and_then(|word| Some((word, AggregateFunction::of(word)?)))
    else {
        return Err(super::combinators::does_not_apply());
    };
    let start = input.range();
    if word.is_extension() {
        refuse_extension(input, start, &format!("`{word}`"))?;
    }
    let after = input.advance();
    let (rest, operand) = if function == AggregateFunction::Count {
        (no_arguments(word)(after)?.0, None)
    } else {
        let (rest, operand) = field::argument(word)(after)?;
        (rest, Some(Box::new(operand)))
    };
    let range = start.cover(rest.last());
    Ok((rest, Located::new(Aggregate { function, operand }, range)))
}

/// `()` after a word that takes nothing.
pub(super) fn no_arguments<'a>(word: Keyword) -> impl FnOnce(Input<'a>) -> Parsed<'a, TextRange> {
    move |input| {
        let (rest, _) = expect_symbol(Symbol::OpenParen, &format!("after `{word}`"))(input)?;
        if rest.symbol() == Some(Symbol::CloseParen) {
            return Ok((rest.advance(), rest.range()));
        }
        let error =
            expected_found(rest, &format!("`)`: `{word}` takes no argument")).expecting([")"]);
        Err(fail(match word {
            Keyword::Count => hint_extension(
                rest,
                error.hint(
                    "to count spans that have an attribute filter first: `{ .a != nil } | count() > 1`",
                ),
                "to count its different values write `count_distinct(…)`",
            ),
            Keyword::Rate | Keyword::CountOverTime
                if matches!(rest.token(), Token::Duration(_)) =>
            {
                error.hint("there is no interval argument: the step of the request is the interval")
            }
            _ => error,
        }))
    }
}

/// A literal number, or `-` and a constant: the sign of a constant binds tightest.
pub(super) fn constant(mut input: Input<'_>) -> Parsed<'_, Operand> {
    let start = input.range();
    let mut minuses = 0_usize;
    while input.symbol() == Some(Symbol::Minus) {
        minuses += 1;
        input = input.advance();
    }
    let (rest, operand) = match input.token() {
        Token::Int(value) => {
            (input.advance(), Operand::new(Node::Constant(Static::Int(*value)), input.range()))
        }
        Token::Float(value) => {
            (input.advance(), Operand::new(Node::Constant(Static::Float(*value)), input.range()))
        }
        Token::Duration(nanos) => {
            (input.advance(), Operand::new(Node::Constant(Static::Duration(*nanos)), input.range()))
        }
        Token::Keyword(word @ (Keyword::MinInt | Keyword::MaxInt)) => {
            refuse_extension(
                input,
                input.range(),
                &format!("`{word}` as a constant beside aggregates"),
            )?;
            let value = if *word == Keyword::MinInt { i64::MIN } else { i64::MAX };
            (input.advance(), Operand::new(Node::Constant(Static::Int(value)), input.range()))
        }
        Token::Symbol(Symbol::OpenParen) if minuses > 0 => pipeline::parenthesised(input)?,
        _ if minuses > 0 => return Err(fail(no_minus(input))),
        _ => return Err(super::combinators::does_not_apply()),
    };
    if minuses == 0 {
        return Ok((rest, operand));
    }
    let range = start.cover(operand.range);
    let Node::Constant(mut value) = operand.node else {
        return Err(fail(
            Error::parse(
                range,
                format!("a minus sign cannot stand before {}", operand.node.name()),
            )
            .hint("write `0 - …`"),
        ));
    };
    if minuses % 2 == 1 {
        value = fold::negate(&value).unwrap_or(value);
    }
    Ok((rest, Operand::new(Node::Constant(value), range)))
}

fn no_minus(input: Input<'_>) -> Error {
    let error = expected_found(input, "a number after the minus sign").expecting(["a number"]);
    match input.token() {
        Token::Symbol(Symbol::OpenBrace) => {
            error.hint("a spanset has no sign; to leave spans out use `!=` inside the braces")
        }
        Token::Keyword(word) if AggregateFunction::of(*word).is_some() => {
            error.hint(format!("write `0 - {word}(…)`"))
        }
        _ => error,
    }
}

/// `left op right` of two numbers.
pub(super) fn arithmetic(
    input: Input<'_>,
    left: Operand,
    op: Arithmetic,
    right: Operand,
) -> Result<Operand, nom::Err<Problem>> {
    let range = left.range.cover(right.range);
    let (left_range, right_range) = (left.range, right.range);
    let (left_height, right_height) = (left.height, right.height);
    let mut height = 1;
    let node = match (left.node, right.node) {
        (Node::Constant(left), Node::Constant(right)) => {
            Node::Constant(fold_constants(input, range, &left, op, &right)?)
        }
        (left, right) => {
            let (left, left_sort) = scalar(left, left_range)?;
            let (right, right_sort) = scalar(right, right_range)?;
            let sort = match (left_sort, right_sort) {
                (Some(left), Some(right)) if left == right => left,
                (Some(ScalarSort::Aggregates), None) | (None, Some(ScalarSort::Aggregates)) => {
                    ScalarSort::Aggregates
                }
                _ => ScalarSort::Mixed,
            };
            if sort == ScalarSort::Mixed {
                refuse_extension(input, range, "this arithmetic on a pipeline's aggregate")?;
            }
            height = joined_height(&left, left_height, op, right_height);
            let expr = join(Located::new(left, left_range), op, Located::new(right, right_range));
            Node::Scalar(expr.node, sort)
        }
    };
    Ok(Operand { height, ..Operand::new(node, range) })
}

/// `left cmp right` of two numbers, at least one of them an aggregate.
pub(super) fn comparison(
    input: Input<'_>,
    left: Operand,
    op: Comparison,
    right: Operand,
) -> Result<Operand, nom::Err<Problem>> {
    let range = left.range.cover(right.range);
    let (left_range, right_range) = (left.range, right.range);
    let height = left.height.max(right.height) + 1;
    let (left, left_sort) = scalar(left.node, left_range)?;
    let (right, right_sort) = scalar(right.node, right_range)?;
    let sort = match (left_sort, right_sort) {
        (None, None) => {
            return Err(fail(
                Error::parse(range, "a scalar filter needs an aggregate on one side")
                    .expecting(["count()", "avg(…)", "max(…)", "min(…)", "sum(…)"])
                    .hint("to compare constants or fields of a span write them in braces: `{ duration > 1s }`"),
            ));
        }
        (Some(left), Some(right)) if left == right => left,
        (Some(ScalarSort::Pipelines), None) => ScalarSort::Pipelines,
        (Some(ScalarSort::Aggregates), None) | (None, Some(ScalarSort::Aggregates)) => {
            ScalarSort::Aggregates
        }
        _ => ScalarSort::Mixed,
    };
    if sort == ScalarSort::Mixed {
        refuse_extension(input, range, "this comparison of a pipeline's aggregate")?;
    }
    let stage = Stage::ScalarFilter {
        left: Located::new(left, left_range),
        op,
        right: Located::new(right, right_range),
    };
    Ok(Operand { height, ..Operand::new(Node::ScalarFilter(stage, sort), range) })
}

/// A number as an expression, and which aggregates it is made of, if any.
fn scalar(
    node: Node,
    range: TextRange,
) -> Result<(ScalarExpr, Option<ScalarSort>), nom::Err<Problem>> {
    match node {
        Node::Scalar(expr, sort) => Ok((expr, Some(sort))),
        Node::Constant(value) => Ok((ScalarExpr::Static(value), None)),
        node => {
            let message = format!("expected a number, found {}", node.name());
            Err(fail(Error::parse(range, message)))
        }
    }
}

/// Arithmetic on constants, which Tempo folds while it parses.
fn fold_constants(
    input: Input<'_>,
    range: TextRange,
    left: &Static,
    op: Arithmetic,
    right: &Static,
) -> Result<Static, nom::Err<Problem>> {
    if matches!(op, Arithmetic::Modulo | Arithmetic::Power) {
        refuse_extension(input, range, &format!("`{op}` between constants beside aggregates"))?;
    }
    if matches!(left, Static::Duration(_)) || matches!(right, Static::Duration(_)) {
        return Err(fail(
            Error::parse(range, "durations cannot take part in arithmetic between constants")
                .hint("write the result as one duration: `1m30s`"),
        ));
    }
    let is_zero =
        matches!(right, Static::Int(0)) || matches!(right, Static::Float(value) if *value == 0.0);
    if is_zero && matches!(op, Arithmetic::Divide | Arithmetic::Modulo) {
        return Err(fail(Error::parse(range, "this divides by zero")));
    }
    match fold::arithmetic(left, op, right, fold::Powers::Exact) {
        Some(value) => Ok(value),
        None => Err(fail(Error::parse(range, "this number is larger than any float"))),
    }
}
