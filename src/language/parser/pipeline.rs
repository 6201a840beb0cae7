//! Everything outside braces: stages, spanset operators, scalar filters, and where metrics begin.

use super::Problem;
use super::arrange;
use super::combinators::{
    Parsed, comma_separated, expect_symbol, expect_symbol_or_hint, expected_found, fail,
    hint_extension, nested, refuse_extension, too_deep, unexpected,
};
use super::field;
use super::input::Input;
use super::metrics;
use super::node::{Content, Node, Operand, ScalarSort, Sequence};
use super::scalar;
use super::suggest;
use crate::MAX_DEPTH;
use crate::analyze::ir::{AggregateFunction, Arithmetic, Comparison, SpansetOp};
use crate::ast::{
    Body, Level, Located, MetricsExpr, Pipeline, ScalarExpr, SpansetExpr, Stage, join,
    joined_height,
};
use crate::error::Error;
use crate::lexer::Token;
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// A query without its hints.
pub(super) fn body(input: Input<'_>) -> Parsed<'_, Body> {
    let (rest, sequence) = sequence(input)?;
    let body = match sequence.content {
        Content::Single(operand) => {
            let mut stages = Vec::new();
            push_stage(rest, &mut stages, operand)?;
            Body::Search(Pipeline { stages })
        }
        Content::Pipeline(pipeline) => Body::Search(pipeline),
        Content::ScalarPipeline(_, aggregate) => return Err(fail(uncompared(aggregate.range))),
        Content::Metrics { expr, .. } => Body::Metrics(expr),
    };
    Ok((rest, body))
}

/// Operands with pipes between them, up to whatever cannot go on.
fn sequence(input: Input<'_>) -> Parsed<'_, Sequence> {
    let (rest, first) = climb(input, Level::Boolean)?;
    sequence_on(rest, first)
}

/// The same, with the first operand already read.
fn sequence_on(input: Input<'_>, first: Operand) -> Parsed<'_, Sequence> {
    if let Node::Metrics(expr) = first.node {
        return metrics::after_math(input, Located::new(expr, first.range), first.height);
    }
    if !is_piped_on(input) {
        let height = first.height;
        return Ok((input, Sequence { content: Content::Single(first), height }));
    }
    refuse_piped_group(input, &first)?;
    let mut height = first.height + 1;
    let mut stages = Vec::new();
    push_stage(input, &mut stages, first)?;
    let mut input = input;
    while is_piped_on(input) {
        let after = input.advance();
        if let Some(word) = after.keyword().filter(|word| metrics::is_first_stage(*word)) {
            return metrics::after_pipeline(after, word, Pipeline { stages }, height);
        }
        let (rest, next) = climb(after, Level::Boolean)?;
        height = height.max(next.height + 1);
        if is_end_of_scalar_pipeline(rest, &next)
            && let Node::Scalar(ScalarExpr::Aggregate(aggregate), _) = next.node
        {
            let aggregate = Located::new(aggregate, next.range);
            let content = Content::ScalarPipeline(Pipeline { stages }, aggregate);
            return Ok((rest, Sequence { content, height }));
        }
        if is_made_of_pipelines(&next.node) {
            refuse_extension(after, next.range, "a parenthesised pipeline after a pipe")?;
        }
        push_stage(rest, &mut stages, next)?;
        input = rest;
    }
    Ok((input, Sequence { content: Content::Pipeline(Pipeline { stages }), height }))
}

/// Whether a stage follows. What arranges the traces of the whole query is none of a pipeline.
fn is_piped_on(input: Input<'_>) -> bool {
    input.symbol() == Some(Symbol::Pipe) && !arrange::begins_at(input)
}

/// Whether an operand is the aggregate in `({ … } | count())`.
fn is_end_of_scalar_pipeline(rest: Input<'_>, operand: &Operand) -> bool {
    let is_aggregate = matches!(operand.node, Node::Scalar(ScalarExpr::Aggregate(_), _));
    is_aggregate
        && !operand.is_wrapped
        && rest.symbol() == Some(Symbol::CloseParen)
        && rest.depth > 0
}

/// Whether it is something that Tempo's grammar knows only as a whole query.
fn is_made_of_pipelines(node: &Node) -> bool {
    matches!(
        node,
        Node::Group(_) | Node::ScalarFilter(_, ScalarSort::Pipelines | ScalarSort::Mixed)
    )
}

/// Tempo pipes neither a combination of parenthesised pipelines nor a comparison of them any further.
fn refuse_piped_group(pipe: Input<'_>, first: &Operand) -> Result<(), nom::Err<Problem>> {
    if is_made_of_pipelines(&first.node) {
        refuse_extension(pipe, pipe.range(), "a stage after parenthesised pipelines")?;
    }
    Ok(())
}

/// Adds an operand as a stage.
fn push_stage(
    input: Input<'_>,
    stages: &mut Vec<Located<Stage>>,
    operand: Operand,
) -> Result<(), nom::Err<Problem>> {
    let range = operand.range;
    let stage = match operand.node {
        Node::Group(SpansetExpr::Pipeline(mut pipeline)) => {
            // Parentheses around the first stages, or around a single one, group nothing.
            if stages.is_empty() {
                stages.append(&mut pipeline.stages);
                return Ok(());
            }
            if pipeline.stages.len() == 1
                && let Some(only) = pipeline.stages.pop()
            {
                stages.push(only);
                return Ok(());
            }
            Stage::Spanset(SpansetExpr::Pipeline(pipeline))
        }
        Node::Spanset(expr) | Node::Group(expr) => Stage::Spanset(expr),
        Node::ScalarFilter(stage, _) => stage,
        Node::Stage(Stage::Coalesce) if stages.is_empty() => {
            return Err(fail(
                Error::parse(range, "`coalesce()` merges spansets, so it cannot come first")
                    .hint("put a filter before it: `{ } | by(name) | coalesce()`"),
            ));
        }
        Node::Stage(stage) => stage,
        Node::Scalar(..) => return Err(fail(unexpected(input, |_| uncompared(range)))),
        Node::Constant(_) => {
            return Err(fail(unexpected(input, |_| {
                Error::parse(range, "a number is no stage of a pipeline")
                    .expecting(["{", "by(…)", "select(…)", "an aggregate"])
                    .hint("compare an aggregate with it: `count() > 2`")
            })));
        }
        Node::Metrics(_) => {
            return Err(fail(Error::parse(range, "a metrics query cannot follow a pipe").hint(
                "a metrics query is one pipeline that ends in a metrics function: `{ … } | rate()`",
            )));
        }
    };
    stages.push(Located::new(stage, range));
    Ok(())
}

/// An aggregate that nothing compares.
fn uncompared(range: TextRange) -> Error {
    Error::parse(range, "an aggregate must be compared with something")
        .expecting(["=", "!=", "<", "<=", ">", ">="])
        .hint("write a comparison after it, for example `> 1`; to get a number over time use a metrics function: `| rate()`, `| count_over_time()`")
}

/// An operand and the operators after it that bind at least as tightly as `least`.
pub(super) fn climb(input: Input<'_>, least: Level) -> Parsed<'_, Operand> {
    nested(input, |input| {
        let (rest, left) = operand(input)?;
        climb_on(rest, left, least)
    })
}

/// The operators after an operand.
fn climb_on(mut input: Input<'_>, mut left: Operand, least: Level) -> Parsed<'_, Operand> {
    while let Some(symbol) = input.symbol() {
        let Some(level) = Level::of(symbol).filter(|level| *level >= least) else { break };
        if matches!(left.node, Node::Metrics(_)) && Comparison::of(symbol).is_some() {
            break;
        }
        check_operator(input, symbol, &left)?;
        let (rest, right) = climb(input.advance(), level.tighter())?;
        left = combine(input, left, symbol, right)?;
        if left.height > MAX_DEPTH {
            return Err(fail(too_deep(left.range)));
        }
        input = rest;
    }
    Ok((input, left))
}

/// Refuses an operator that can never follow its left operand, before the right one is read.
fn check_operator(
    input: Input<'_>,
    symbol: Symbol,
    left: &Operand,
) -> Result<(), nom::Err<Problem>> {
    suggest::check_doubled_operator(input)?;
    let fits = match &left.node {
        Node::Spanset(_) | Node::Group(_) => SpansetOp::of(symbol).is_some(),
        Node::Scalar(..) | Node::Constant(_) => {
            Comparison::of(symbol).is_some() || Arithmetic::of(symbol).is_some()
        }
        Node::Metrics(_) => {
            matches!(symbol, Symbol::Plus | Symbol::Minus | Symbol::Star | Symbol::Slash)
        }
        Node::ScalarFilter(..) | Node::Stage(_) => false,
    };
    if fits {
        return Ok(());
    }
    let error =
        Error::parse(input.range(), format!("`{symbol}` cannot follow {}", left.node.name()));
    let text = input.text(left.range);
    let is_short = text.len() <= 60;
    Err(fail(match &left.node {
        Node::ScalarFilter(..) | Node::Stage(_) if SpansetOp::of(symbol).is_some() && Comparison::of(symbol).is_none() => {
            error
                .hint("to go on with the spans that are left, pipe on: `| { … }`")
                .hint("to combine two results, put each pipeline in parentheses: `({ … } | count() > 1) && ({ … })`")
        }
        Node::ScalarFilter(..) => error.hint("comparisons do not chain: write `| count() > 1 | count() < 5`"),
        Node::Spanset(_) | Node::Group(_) if Comparison::of(symbol).is_some() => error.hint(
            "spansets are combined by `&&`, `||` and the structural operators `>`, `>>`, `<`, `<<`, `~`",
        ),
        Node::Metrics(_) => error.expecting(["+", "-", "*", "/"]).hint(if is_short {
            format!("math over metrics knows `+ - * /`, and comparisons at the end, as in `{text} > 5`")
        } else {
            "math over metrics knows `+ - * /`, and comparisons at the end".to_owned()
        }),
        _ => error,
    }))
}

/// `left op right`.
fn combine(
    input: Input<'_>,
    left: Operand,
    symbol: Symbol,
    right: Operand,
) -> Result<Operand, nom::Err<Problem>> {
    if left.node.is_number() && right.node.is_number() {
        if let Some(op) = Arithmetic::of(symbol) {
            return scalar::arithmetic(input, left, op, right);
        }
        if let Some(op) = Comparison::of(symbol) {
            return scalar::comparison(input, left, op, right);
        }
    }
    if left.node.is_spanset()
        && right.node.is_spanset()
        && let Some(op) = SpansetOp::of(symbol)
    {
        return spansets(input, left, op, right);
    }
    if let Some(op) = Arithmetic::of(symbol)
        && (matches!(left.node, Node::Metrics(_)) || matches!(right.node, Node::Metrics(_)))
    {
        return metrics::math(input, left, op, right);
    }
    let error = Error::parse(
        left.range.cover(right.range),
        format!("`{symbol}` cannot combine {} with {}", left.node.name(), right.node.name()),
    );
    Err(fail(if left.node.is_spanset() && right.node.is_number() {
        error.hint(format!("to compare how many spans match, count them: `| count() {symbol} …`"))
    } else if left.node.is_spanset() {
        error.hint("to test an aggregate of the left side pipe into it: `{ … } | count() > 1`")
    } else {
        error
    }))
}

/// `left op right` of two spansets. Tempo wants every operand in parentheses once one of them is a
/// pipeline, and the leftmost operand decides which grammar applies.
fn spansets(
    input: Input<'_>,
    left: Operand,
    op: SpansetOp,
    right: Operand,
) -> Result<Operand, nom::Err<Problem>> {
    let range = left.range.cover(right.range);
    if matches!(op, SpansetOp::Structural { .. }) {
        for side in [&left, &right] {
            if let Node::Spanset(SpansetExpr::Not(_)) | Node::Group(SpansetExpr::Not(_)) = side.node
            {
                return Err(fail(not_in_structure(side.range, op)));
            }
        }
    }
    let is_group = match (&left.node, &right.node) {
        (Node::Spanset(_), Node::Spanset(_)) => false,
        (Node::Group(_), Node::Spanset(_)) => {
            if !right.is_wrapped {
                refuse_extension(
                    input,
                    right.range,
                    "a filter without parentheses beside a parenthesised pipeline",
                )?;
            }
            true
        }
        (Node::Spanset(_), _) => {
            refuse_extension(
                input,
                right.range,
                "a parenthesised pipeline to the right of a filter",
            )?;
            true
        }
        _ => true,
    };
    let (
        Node::Spanset(left_expr) | Node::Group(left_expr),
        Node::Spanset(right_expr) | Node::Group(right_expr),
    ) = (left.node, right.node)
    else {
        return Err(fail(Error::parse(range, "only spansets can be combined so")));
    };
    let height = joined_height(&left_expr, left.height, op, right.height);
    let expr =
        join(Located::new(left_expr, left.range), op, Located::new(right_expr, right.range)).node;
    let node = if is_group { Node::Group(expr) } else { Node::Spanset(expr) };
    Ok(Operand { node, range, is_wrapped: left.is_wrapped && right.is_wrapped, height })
}

/// `{ … } > not { … }`.
fn not_in_structure(range: TextRange, op: SpansetOp) -> Error {
    Error::parse(range, format!("`{op}` relates spans, and `not` judges whole traces"))
        .hint("for spans that lack a related one use a negated operator: `{ … } !>> { … }`")
        .hint("for traces that lack something write `{ … } && not { … }`")
}

fn operand(input: Input<'_>) -> Parsed<'_, Operand> {
    let start = input.range();
    match input.token() {
        Token::Symbol(Symbol::OpenBrace) => {
            let (rest, expr) = field::filter(input)?;
            let range = start.cover(rest.last());
            Ok((rest, Operand::new(Node::Spanset(SpansetExpr::Filter(expr)), range)))
        }
        Token::Symbol(Symbol::OpenParen) => parenthesised(input),
        Token::Symbol(Symbol::Minus) | Token::Int(_) | Token::Float(_) | Token::Duration(_) => {
            scalar::constant(input)
        }
        Token::Keyword(Keyword::MinInt | Keyword::MaxInt) => scalar::constant(input),
        Token::Keyword(Keyword::By) => {
            let (rest, key) = field::argument(Keyword::By)(input.advance())?;
            let range = start.cover(rest.last());
            Ok((rest, Operand::new(Node::Stage(Stage::By(key)), range)))
        }
        Token::Keyword(Keyword::Coalesce) => {
            let (rest, close) = scalar::no_arguments(Keyword::Coalesce)(input.advance())?;
            Ok((rest, Operand::new(Node::Stage(Stage::Coalesce), start.cover(close))))
        }
        Token::Keyword(Keyword::Select) => {
            let (rest, _) = expect_symbol(Symbol::OpenParen, "after `select`")(input.advance())?;
            let (rest, fields) = comma_separated(field::field("select"))(rest)?;
            let (rest, close) = expect_symbol_or_hint(
                Symbol::CloseParen,
                "to close `select`",
                "`select` takes attributes and intrinsics, no expressions",
            )(rest)?;
            Ok((rest, Operand::new(Node::Stage(Stage::Select(fields)), start.cover(close))))
        }
        Token::Keyword(Keyword::Not) => negated(input),
        Token::Keyword(word) if AggregateFunction::of(*word).is_some() => {
            let (rest, aggregate) = scalar::aggregate(input)?;
            let node = Node::Scalar(ScalarExpr::Aggregate(aggregate.node), ScalarSort::Aggregates);
            Ok((rest, Operand::new(node, aggregate.range)))
        }
        _ => Err(fail(unexpected(input, no_operand))),
    }
}

/// `not` and what it negates: a spanset expression with the structural operators in it, up to the
/// next `&&` or `||`. Several in a row are counted rather than recursed into.
fn negated(mut input: Input<'_>) -> Parsed<'_, Operand> {
    let mut nots = Vec::new();
    while input.keyword() == Some(Keyword::Not) {
        refuse_extension(input, input.range(), "`not` before a spanset")?;
        nots.push(input.range());
        input = input.advance();
    }
    let (rest, inner) = climb(input, Level::Comparison)?;
    let is_group = matches!(inner.node, Node::Group(_));
    let range = inner.range;
    let (Node::Spanset(mut expr) | Node::Group(mut expr)) = inner.node else {
        let message = format!("`not` needs a spanset after it, and this is {}", inner.node.name());
        return Err(fail(Error::parse(range, message).hint(
            "put a pipeline in parentheses: `not ({ … } | count() > 1)`; turn a comparison round: `<=` for `>`",
        )));
    };
    let height = inner.height + nots.len();
    if height > MAX_DEPTH {
        return Err(fail(too_deep(range)));
    }
    let mut range = range;
    for not in nots.into_iter().rev() {
        expr = SpansetExpr::Not(Box::new(Located::new(expr, range)));
        range = not.cover(range);
    }
    let node = if is_group { Node::Group(expr) } else { Node::Spanset(expr) };
    Ok((rest, Operand { height, ..Operand::new(node, range) }))
}

/// What stands where a stage should begin.
fn no_operand(input: Input<'_>) -> Error {
    let error = match input.token() {
        Token::Keyword(word) if metrics::is_first_stage(*word) => {
            return Error::parse(input.range(), format!("`{word}` needs a pipeline before it"))
                .hint(format!("select the spans first: `{{ }} | {word}(…)`"));
        }
        Token::Keyword(word @ (Keyword::TopK | Keyword::BottomK)) => {
            return Error::parse(
                input.range(),
                format!("`{word}` needs a metrics function before it"),
            )
            .hint(format!("choose among series: `{{ }} | rate() by (name) | {word}(5)`"));
        }
        Token::Keyword(word @ (Keyword::OrderBy | Keyword::Limit)) => {
            return Error::parse(input.range(), format!("`{word}` needs a pipeline before it"))
                .hint(format!("select the spans first: `{{ }} | {word}(…)`"));
        }
        Token::Keyword(Keyword::With) => {
            return Error::parse(input.range(), "hints stand at the end of the query")
                .hint("write `{ … } with (most_recent=true)`");
        }
        Token::Symbol(Symbol::Not) => {
            let error = Error::parse(input.range(), "a spanset cannot be negated").hint(
                "negate inside the braces, `{ !(…) }`, or use a negated structural operator, `!>>`",
            );
            return hint_extension(
                input,
                error,
                "for traces that lack such spans write `not { … }`",
            );
        }
        Token::Word(word) => {
            let error = Error::parse(input.range(), format!("unknown stage {}", input.found()));
            let stages = Keyword::ALL.iter().copied().filter(|word| begins_stage(*word));
            return match suggest::near(word, stages.map(Keyword::text)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if *input.token() == input.nth(0).token && input.range().start == 0 => {
                    error.hint("a query begins with a filter in braces: `{ .a = 1 }`")
                }
                None => error.hint("stages are filters, `by(…)`, `coalesce()`, `select(…)`, aggregates such as `count() > 1`, and metrics functions such as `rate()`"),
            };
        }
        Token::Attribute(_) | Token::ScopeColon(_) => {
            expected_found(input, "a filter").hint("conditions stand in braces: `{ .a = 1 }`")
        }
        Token::Keyword(_) | Token::Text(_) => expected_found(input, "a filter")
            .hint("conditions stand in braces: `{ status = error }`"),
        Token::Symbol(Symbol::Pipe) => {
            expected_found(input, "a stage").hint("for \"or\" write `||`")
        }
        Token::End => expected_found(input, "a filter or a stage"),
        _ => expected_found(input, "a filter, a stage or `(`"),
    };
    error.expecting(["{", "(", "by", "select", "an aggregate"])
}

/// Whether a word begins a stage.
fn begins_stage(word: Keyword) -> bool {
    AggregateFunction::of(word).is_some()
        || metrics::is_first_stage(word)
        || matches!(
            word,
            Keyword::By
                | Keyword::Coalesce
                | Keyword::Select
                | Keyword::Not
                | Keyword::OrderBy
                | Keyword::Limit
                | Keyword::TopK
                | Keyword::BottomK
        )
}

/// `(((…) op …) | …)`, whatever is inside: all opening parentheses in a row, then each closed in turn,
/// so that the parentheses of canonical text cost no stack.
pub(super) fn parenthesised(mut input: Input<'_>) -> Parsed<'_, Operand> {
    let mut opens = Vec::new();
    while input.symbol() == Some(Symbol::OpenParen) {
        opens.push(input.range());
        input = input.advance();
    }
    let outer_depth = input.depth;
    let inside = input.at_depth(outer_depth + PARENTHESIS_DEPTH);
    let (mut rest, mut sequence) = sequence(inside)?;
    loop {
        let close = rest.range();
        if rest.symbol() != Some(Symbol::CloseParen) {
            return Err(fail(unexpected(rest, not_closed)));
        }
        rest = rest.advance();
        let range = opens.pop().unwrap_or(close).cover(close);
        let operand = closed(rest, sequence, range)?;
        if opens.is_empty() {
            return Ok((rest.at_depth(outer_depth), operand));
        }
        let (after, operand) = climb_on(rest, operand, Level::Boolean)?;
        (rest, sequence) = sequence_on(after, operand)?;
    }
}

/// Levels that a parenthesis outside braces counts for: its productions need more stack than those
/// of a field.
const PARENTHESIS_DEPTH: u32 = 3;

fn not_closed(input: Input<'_>) -> Error {
    let error =
        expected_found(input, "an operator, `|` or `)`").expecting(["an operator", "|", ")"]);
    match input.token() {
        Token::Symbol(Symbol::Pipe) if arrange::begins_at(input) => arrange::inside(input),
        Token::Keyword(Keyword::With) => {
            error.hint("hints stand at the end of the whole query, outside parentheses")
        }
        Token::End => error.hint("close the parenthesis with `)`"),
        _ => suggest::foreign(input, error),
    }
}

/// What a sequence is once its parenthesis is closed.
fn closed(
    input: Input<'_>,
    sequence: Sequence,
    range: TextRange,
) -> Result<Operand, nom::Err<Problem>> {
    let group = |stages| Node::Group(SpansetExpr::Pipeline(Pipeline { stages }));
    let mut height = sequence.height;
    let node = match sequence.content {
        Content::Single(operand) => match operand.node {
            Node::ScalarFilter(stage, sort) => {
                if sort != ScalarSort::Aggregates {
                    refuse_extension(input, range, "a comparison of pipelines in parentheses")?;
                }
                height += 1;
                group(vec![Located::new(stage, operand.range)])
            }
            Node::Stage(stage) => {
                let mut stages = Vec::new();
                push_stage(input, &mut stages, Operand::new(Node::Stage(stage), operand.range))?;
                height += 1;
                group(stages)
            }
            node => node,
        },
        Content::Pipeline(pipeline) => Node::Group(SpansetExpr::Pipeline(pipeline)),
        Content::ScalarPipeline(pipeline, aggregate) => {
            let expr = ScalarExpr::Pipeline { pipeline, aggregate: aggregate.node };
            Node::Scalar(expr, ScalarSort::Pipelines)
        }
        Content::Metrics { expr, is_filtered_math: false } => Node::Metrics(expr.node),
        Content::Metrics { expr, is_filtered_math: true } => {
            return Err(fail(filtered_math(&expr)));
        }
    };
    Ok(Operand { node, range, is_wrapped: true, height })
}

fn filtered_math(expr: &Located<MetricsExpr>) -> Error {
    let second = match &expr.node {
        MetricsExpr::Query { second, .. } | MetricsExpr::Math { second, .. } => second.first(),
        MetricsExpr::Constant(_) => None,
    };
    Error::parse(
        second.map_or(expr.range, |second| second.range),
        "this can be applied to math only at the end of the whole query",
    )
    .hint("apply it to one of the queries, `({ … } | rate() > 2) * 3`, or at the very end")
}
