//! Metrics functions, what follows them, and math over whole metrics queries.

use super::combinators::{
    Parsed, comma_separated, does_not_apply, expect, expect_symbol, expect_symbol_or_hint,
    expected_found, fail, unexpected,
};
use super::field;
use super::input::Input;
use super::node::{Content, Node, Operand, Sequence};
use super::pipeline;
use super::scalar::no_arguments;
use super::suggest;
use super::{Problem, integer};
use crate::analyze::ir::{Arithmetic, Comparison, Static};
use crate::ast::{
    FieldFunction, Level, Located, MetricsExpr, MetricsFunction, Pipeline, SecondStage, join,
    joined_height,
};
use crate::error::Error;
use crate::lexer::Token;
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// Whether a word calls a first-stage function.
pub(super) fn is_first_stage(word: Keyword) -> bool {
    of_field(word).is_some()
        || matches!(
            word,
            Keyword::Rate | Keyword::CountOverTime | Keyword::QuantileOverTime | Keyword::Compare
        )
}

/// Functions of exactly one field.
fn of_field(word: Keyword) -> Option<FieldFunction> {
    Some(match word {
        Keyword::MinOverTime => FieldFunction::MinOverTime,
        Keyword::MaxOverTime => FieldFunction::MaxOverTime,
        Keyword::AvgOverTime => FieldFunction::AvgOverTime,
        Keyword::SumOverTime => FieldFunction::SumOverTime,
        Keyword::HistogramOverTime => FieldFunction::HistogramOverTime,
        _ => return None,
    })
}

/// The function after `pipeline |`, its grouping and its second stages.
pub(super) fn after_pipeline(
    input: Input<'_>,
    word: Keyword,
    pipeline: Pipeline,
    height: usize,
) -> Parsed<'_, Sequence> {
    let start = pipeline.stages.first().map_or(input.range(), |stage| stage.range);
    let (after, function) = function(input, word)?;
    let (after, by) = if after.keyword() == Some(Keyword::By) {
        if word == Keyword::Compare {
            return Err(fail(
                Error::parse(after.range(), "`compare` takes no grouping")
                    .hint("it counts the values of every attribute by itself"),
            ));
        }
        grouping(after.advance())?
    } else {
        (after, Vec::new())
    };
    let (rest, second) = second_stages(after)?;
    if let Some(op) = rest.symbol().and_then(Arithmetic::of) {
        return Err(fail(
            Error::parse(
                rest.range(),
                format!("`{op}` needs a metrics query in parentheses before it"),
            )
            .hint(format!("write `({{ … }} | {word}(…)) {op} …`")),
        ));
    }
    let range = start.cover(rest.last());
    let expr = MetricsExpr::Query { pipeline, function, by, second };
    let expr = Located::new(expr, range);
    Ok((rest, Sequence { content: Content::Metrics { expr, is_filtered_math: false }, height }))
}

/// Second stages after a parenthesised metrics query or math.
pub(super) fn after_math<'a>(
    input: Input<'a>,
    mut expr: Located<MetricsExpr>,
    height: usize,
) -> Parsed<'a, Sequence> {
    let (rest, more) = second_stages(input)?;
    if rest.keyword() == Some(Keyword::By) {
        return Err(fail(
            Error::parse(rest.range(), "math over metrics takes no grouping")
                .hint("group each query: `({ … } | rate() by (name)) / (…)`"),
        ));
    }
    let mut is_filtered_math = false;
    if !more.is_empty() {
        is_filtered_math = true;
        expr.range = expr.range.cover(rest.last());
        match &mut expr.node {
            MetricsExpr::Query { second, .. } | MetricsExpr::Math { second, .. } => {
                second.extend(more);
            }
            MetricsExpr::Constant(_) => {}
        }
    }
    Ok((rest, Sequence { content: Content::Metrics { expr, is_filtered_math }, height }))
}

/// `name(arguments)`.
fn function(input: Input<'_>, word: Keyword) -> Parsed<'_, Located<MetricsFunction>> {
    let start = input.range();
    let after = input.advance();
    let (rest, function) = match word {
        Keyword::Rate => (no_arguments(word)(after)?.0, MetricsFunction::Rate),
        Keyword::CountOverTime => (no_arguments(word)(after)?.0, MetricsFunction::CountOverTime),
        Keyword::QuantileOverTime => quantile(after)?,
        Keyword::Compare => compare(after)?,
        word => {
            let Some(function) = of_field(word) else { return Err(does_not_apply()) };
            let (rest, of) = only_field(word)(after)?;
            (rest, MetricsFunction::OfField(function, of))
        }
    };
    let range = start.cover(rest.last());
    Ok((rest, Located::new(function, range)))
}

/// `( field )`.
fn only_field<'a>(
    word: Keyword,
) -> impl FnOnce(Input<'a>) -> Parsed<'a, Located<crate::ast::Field>> {
    move |input| {
        let (rest, _) = expect_symbol(Symbol::OpenParen, &format!("after `{word}`"))(input)?;
        let (rest, of) = field::field(word.text())(rest)?;
        let (rest, _) = expect_symbol_or_hint(
            Symbol::CloseParen,
            &format!("to close `{word}`"),
            &format!("`{word}` takes one attribute or intrinsic, no expression"),
        )(rest)?;
        Ok((rest, of))
    }
}

/// `( field , 0.5 , … )`.
fn quantile(input: Input<'_>) -> Parsed<'_, MetricsFunction> {
    let (rest, _) = expect_symbol(Symbol::OpenParen, "after `quantile_over_time`")(input)?;
    let (rest, of) = field::field("quantile_over_time")(rest)?;
    let (rest, _) = expect_symbol_or_hint(
        Symbol::Comma,
        "and a quantile",
        "name the quantiles: `quantile_over_time(duration, 0.5, 0.99)`",
    )(rest)?;
    let (rest, quantiles) = comma_separated(quantile_literal)(rest)?;
    let (rest, _) = expect_symbol(Symbol::CloseParen, "to close `quantile_over_time`")(rest)?;
    Ok((rest, MetricsFunction::QuantileOverTime { of, quantiles }))
}

fn quantile_literal(input: Input<'_>) -> Parsed<'_, Located<f64>> {
    let number = |input: Input<'_>| match input.token() {
        Token::Int(value) => Ok(as_float(*value)),
        Token::Float(value) => Ok(*value),
        _ => Err(does_not_apply()),
    };
    expect(
        |input| number(input).map(|value| (input.advance(), Located::new(value, input.range()))),
        |input| expected_found(input, "a quantile between 0 and 1").expecting(["a number"]),
    )(input)
}

/// `( { … } , top , start , end )`.
fn compare(input: Input<'_>) -> Parsed<'_, MetricsFunction> {
    let (rest, _) = expect_symbol(Symbol::OpenParen, "after `compare`")(input)?;
    let (mut rest, selection) = expect(field::filter, |input| {
        expected_found(input, "one filter, which selects the spans to compare with the others")
            .expecting(["{"])
            .hint("write `compare({ status = error })`")
    })(rest)?;
    let mut top_n = None;
    let mut window = None;
    if rest.symbol() == Some(Symbol::Comma) {
        let (after, top) = integer("how many values of each attribute to keep")(rest.advance())?;
        top_n = Some(top);
        rest = after;
        if rest.symbol() == Some(Symbol::Comma) {
            let (after, start) =
                integer("the start of the selection in unix nanoseconds")(rest.advance())?;
            let (after, _) = expect_symbol(
                Symbol::Comma,
                "and the end of the selection in unix nanoseconds",
            )(after)?;
            let (after, end) = integer("the end of the selection in unix nanoseconds")(after)?;
            window = Some((start, end));
            rest = after;
        }
    }
    let (rest, _) = expect_symbol(Symbol::CloseParen, "to close `compare`")(rest)?;
    Ok((rest, MetricsFunction::Compare { selection, top_n, window }))
}

/// `( field , … )` after `by`.
fn grouping(input: Input<'_>) -> Parsed<'_, Vec<Located<crate::ast::Field>>> {
    let (rest, _) = expect_symbol(Symbol::OpenParen, "after `by`")(input)?;
    let (rest, fields) = field::fields("by")(rest)?;
    let (rest, _) = expect_symbol_or_hint(
        Symbol::CloseParen,
        "to close the grouping",
        "series are grouped by attributes and intrinsics, not by expressions",
    )(rest)?;
    Ok((rest, fields))
}

/// `| topk(n)`, `| bottomk(n)` and comparisons, in any order.
fn second_stages(mut input: Input<'_>) -> Parsed<'_, Vec<Located<SecondStage>>> {
    let mut stages = Vec::new();
    loop {
        let start = input.range();
        let (rest, stage) = match input.symbol() {
            Some(Symbol::Pipe) => choice(input.advance())?,
            Some(symbol) => match Comparison::of(symbol) {
                Some(op) => {
                    suggest::check_doubled_operator(input)?;
                    threshold(input.advance(), op)?
                }
                None => break,
            },
            None => break,
        };
        stages.push(Located::new(stage, start.cover(rest.last())));
        input = rest;
    }
    Ok((input, stages))
}

/// `topk(n)`, `bottomk(n)`.
fn choice(input: Input<'_>) -> Parsed<'_, SecondStage> {
    let Some(word @ (Keyword::TopK | Keyword::BottomK)) = input.keyword() else {
        return Err(fail(unexpected(input, no_choice)));
    };
    let (rest, _) = expect_symbol(Symbol::OpenParen, &format!("after `{word}`"))(input.advance())?;
    let (rest, n) = integer("how many series to keep")(rest)?;
    let (rest, _) = expect_symbol(Symbol::CloseParen, &format!("to close `{word}`"))(rest)?;
    let stage = if word == Keyword::TopK {
        SecondStage::TopK(n.node)
    } else {
        SecondStage::BottomK(n.node)
    };
    Ok((rest, stage))
}

/// Something else than a choice among series after a pipe.
fn no_choice(input: Input<'_>) -> Error {
    let found = input.found();
    let error = Error::parse(
        input.range(),
        format!("only `topk` and `bottomk` follow a metrics function, found {found}"),
    )
    .expecting(["topk", "bottomk"]);
    match input.token() {
        Token::Symbol(Symbol::OpenBrace) => error.hint("filter spans before the metrics function"),
        Token::Keyword(Keyword::OrderBy | Keyword::Limit) => {
            error.hint("series are chosen by `topk(…)` and `bottomk(…)`; `order_by` and `limit` arrange traces")
        }
        Token::Word(word) => match suggest::near(word, ["topk", "bottomk"].into_iter()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        },
        _ => error,
    }
}

/// The constant after a comparison.
fn threshold(input: Input<'_>, op: Comparison) -> Parsed<'_, SecondStage> {
    let (rest, operand) = pipeline::climb(input, Level::Additive)?;
    let Node::Constant(value) = operand.node else {
        return Err(fail(
            Error::parse(operand.range, "series can be compared with a constant only")
                .expecting(["a number", "a duration"])
                .hint("divide one query by the other and compare the result: `({ … } | rate()) / ({ … } | rate()) > 0.5`"),
        ));
    };
    let value = match value {
        Static::Duration(nanos) => as_float(nanos) / 1e9,
        value => number(&value, operand.range)?,
    };
    Ok((rest, SecondStage::Filter(op, value)))
}

/// `left op right`, at least one of them metrics.
pub(super) fn math(
    input: Input<'_>,
    left: Operand,
    op: Arithmetic,
    right: Operand,
) -> Result<Operand, nom::Err<Problem>> {
    let range = left.range.cover(right.range);
    if matches!(op, Arithmetic::Modulo | Arithmetic::Power) {
        return Err(fail(
            Error::parse(input.range(), format!("`{op}` is not defined for metrics"))
                .expecting(["+", "-", "*", "/"]),
        ));
    }
    let operand = |operand: Operand| {
        match operand.node {
        Node::Metrics(expr) => Ok(Located::new(expr, operand.range)),
        Node::Constant(Static::Duration(_)) => Err(fail(
            Error::parse(operand.range, "a duration cannot take part in math over metrics")
                .hint("series of durations are in seconds: write `0.5` for `500ms`"),
        )),
        Node::Constant(value) => {
            let value = number(&value, operand.range)?;
            Ok(Located::new(MetricsExpr::Constant(value), operand.range))
        }
        node => Err(fail(
            Error::parse(operand.range, format!("math over metrics cannot take {}", node.name()))
                .hint("each operand is a metrics query in parentheses or a number: `({ … } | rate()) * 100`"),
        )),
    }
    };
    let (left_height, right_height) = (left.height, right.height);
    let (left, right) = (operand(left)?, operand(right)?);
    let height = joined_height(&left.node, left_height, op, right_height);
    let node = Node::Metrics(join(left, op, right).node);
    Ok(Operand { height, ..Operand::new(node, range) })
}

/// A constant as a number.
fn number(value: &Static, range: TextRange) -> Result<f64, nom::Err<Problem>> {
    match value {
        Static::Int(value) => Ok(as_float(*value)),
        Static::Float(value) => Ok(*value),
        _ => Err(fail(Error::parse(range, "expected a number"))),
    }
}

/// The nearest float.
#[expect(clippy::cast_precision_loss, reason = "metrics are computed in floats")]
fn as_float(value: i64) -> f64 {
    value as f64
}
