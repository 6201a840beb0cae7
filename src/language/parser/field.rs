//! Expressions over one span, by precedence climbing. Opening parentheses and prefix operators are
//! counted rather than recursed into, and chains are flat, so long queries cost no stack; what is
//! left of nesting is limited.

use nom::Parser as _;
use nom::branch::alt;

use super::combinators::{
    Parsed, comma_separated, covering, expect, expect_symbol, expected_found, fail, keyword,
    nested, refuse_extension, too_deep, unexpected,
};
use super::input::Input;
use super::suggest;
use crate::MAX_DEPTH;
use crate::analyze::ir::{
    AttributeScope, Comparison, Field, FieldName, Intrinsic, Kind, Static, Status, Subject,
};
use crate::ast::{BinaryOp, FieldExpr, Level, Located, join, joined_height};
use crate::error::Error;
use crate::lexer::{AttributeToken, Token};
use crate::range::TextRange;
use crate::token::{Keyword, Scope, Symbol};

/// An expression and how deep its tree is.
#[derive(Debug)]
struct Tree {
    expr: Located<FieldExpr>,
    height: usize,
}

/// A whole expression.
pub(super) fn field_expr(input: Input<'_>) -> Parsed<'_, Located<FieldExpr>> {
    let (rest, tree) = climb(input, Level::Boolean)?;
    Ok((rest, tree.expr))
}

/// An operand and the operators after it that bind at least as tightly as `least`.
fn climb(input: Input<'_>, least: Level) -> Parsed<'_, Tree> {
    nested(input, |input| {
        let (rest, left) = operand(input)?;
        climb_on(rest, left, least)
    })
}

/// The operators after an operand.
fn climb_on(mut input: Input<'_>, mut left: Tree, least: Level) -> Parsed<'_, Tree> {
    while let Some(op) = input.symbol().and_then(BinaryOp::of) {
        if op.level() < least {
            break;
        }
        let after = input.advance();
        if after.keyword() == Some(Keyword::Nil)
            && let BinaryOp::Compare(op @ (Comparison::Equal | Comparison::NotEqual)) = op
        {
            left = nil_test(left, op, after.range())?;
            input = after.advance();
            continue;
        }
        suggest::check_doubled_operator(input)?;
        let (rest, right) = climb(after, op.level().tighter())?;
        left = binary(left, op, right)?;
        input = rest;
    }
    Ok((input, left))
}

/// `left op right`, with the depth of the tree watched.
fn binary(left: Tree, op: BinaryOp, right: Tree) -> Result<Tree, nom::Err<super::Problem>> {
    let height = joined_height(&left.expr.node, left.height, op, right.height);
    let range = left.expr.range;
    limited(Tree { expr: join(left.expr, op, right.expr), height }, range)
}

/// The tree, if it is not too deep.
fn limited(tree: Tree, range: TextRange) -> Result<Tree, nom::Err<super::Problem>> {
    if tree.height > MAX_DEPTH { Err(fail(too_deep(range))) } else { Ok(tree) }
}

/// `x = nil`, `x != nil`.
fn nil_test(tree: Tree, op: Comparison, nil: TextRange) -> Result<Tree, nom::Err<super::Problem>> {
    let range = tree.expr.range.cover(nil);
    let expr = Box::new(tree.expr);
    let node = match op {
        Comparison::Equal => FieldExpr::Missing(expr),
        _ => FieldExpr::Exists(expr),
    };
    limited(Tree { expr: Located::new(node, range), height: tree.height + 1 }, range)
}

/// Prefix operators and what they stand before. Both bind looser than `*`, so what follows them runs
/// to the next `+` or comparison.
fn operand(mut input: Input<'_>) -> Parsed<'_, Tree> {
    let mut prefixes = Vec::new();
    while let Some(symbol @ (Symbol::Minus | Symbol::Not)) = input.symbol() {
        prefixes.push((symbol, input.range()));
        input = input.advance();
    }
    let (mut rest, mut tree) = primary(input)?;
    if !prefixes.is_empty() {
        (rest, tree) = climb_on(rest, tree, Level::Multiplicative)?;
    }
    for (symbol, at) in prefixes.into_iter().rev() {
        let range = at.cover(tree.expr.range);
        let expr = Box::new(tree.expr);
        let node =
            if symbol == Symbol::Not { FieldExpr::Not(expr) } else { FieldExpr::Negate(expr) };
        tree = limited(Tree { expr: Located::new(node, range), height: tree.height + 1 }, range)?;
    }
    Ok((rest, tree))
}

fn primary(input: Input<'_>) -> Parsed<'_, Tree> {
    if input.symbol() == Some(Symbol::OpenParen) {
        return parenthesised(input);
    }
    if input.keyword() == Some(Keyword::Nil) {
        return leading_nil(input);
    }
    let leaf = alt((
        |input| literal(input).map(|(rest, value)| (rest, value.map(FieldExpr::Static))),
        |input| field_or_nothing(input).map(|(rest, field)| (rest, field.map(FieldExpr::Field))),
    ));
    let (rest, expr) = expect(leaf, suggest::operand)(input)?;
    Ok((rest, Tree { expr, height: 1 }))
}

/// `(((…) op …) op …)`: all opening parentheses in a row, then each closed in turn.
fn parenthesised(mut input: Input<'_>) -> Parsed<'_, Tree> {
    let mut opens = Vec::new();
    while input.symbol() == Some(Symbol::OpenParen) {
        opens.push(input.range());
        input = input.advance();
    }
    if input.symbol() == Some(Symbol::CloseParen) {
        return Err(fail(
            Error::parse(input.range(), "expected an expression between the parentheses")
                .expecting(["an expression"]),
        ));
    }
    let (mut rest, mut tree) = climb(input, Level::Boolean)?;
    while let Some(open) = opens.pop() {
        let close;
        (rest, close) = close_paren(rest)?;
        tree.expr = covering(tree.expr, open, close);
        if !opens.is_empty() {
            (rest, tree) = climb_on(rest, tree, Level::Boolean)?;
        }
    }
    Ok((rest, tree))
}

fn close_paren(input: Input<'_>) -> Parsed<'_, TextRange> {
    match input.symbol() {
        Some(Symbol::CloseParen) => Ok((input.advance(), input.range())),
        _ => {
            Err(fail(unexpected(input, |input| suggest::after_operand(input, Symbol::CloseParen))))
        }
    }
}

/// `nil = x`, `nil != x` and `nil = nil`; both forms of the last are false.
fn leading_nil(input: Input<'_>) -> Parsed<'_, Tree> {
    let nil = input.range();
    let after = input.advance();
    let exists = match after.symbol() {
        Some(Symbol::Equal) => false,
        Some(Symbol::NotEqual) => true,
        _ => {
            return Err(fail(
                Error::parse(nil, "nil is no value: it can only be compared with `=` or `!=`")
                    .expecting(["nil =", "nil !="])
                    .hint("write `.a = nil` for a missing and `.a != nil` for a present attribute"),
            ));
        }
    };
    let rest = after.advance();
    if rest.keyword() == Some(Keyword::Nil) {
        let expr = Located::new(FieldExpr::Static(Static::Bool(false)), nil.cover(rest.range()));
        return Ok((rest.advance(), Tree { expr, height: 1 }));
    }
    let (rest, tree) = climb(rest, Level::Additive)?;
    let range = nil.cover(tree.expr.range);
    let expr = Box::new(tree.expr);
    let node = if exists { FieldExpr::Exists(expr) } else { FieldExpr::Missing(expr) };
    Ok((rest, limited(Tree { expr: Located::new(node, range), height: tree.height + 1 }, range)?))
}

/// A literal, without sign.
pub(super) fn literal(input: Input<'_>) -> Parsed<'_, Located<Static>> {
    let value = match input.token() {
        Token::Int(value) => Static::Int(*value),
        Token::Float(value) => Static::Float(*value),
        Token::Duration(nanos) => Static::Duration(*nanos),
        Token::Text(text) => Static::String(text.clone()),
        Token::Keyword(word) => match literal_word(*word) {
            Some(value) => value,
            None => return Err(super::combinators::does_not_apply()),
        },
        _ => return Err(super::combinators::does_not_apply()),
    };
    Ok((input.advance(), Located::new(value, input.range())))
}

/// The literal that is a word.
pub(crate) fn literal_word(word: Keyword) -> Option<Static> {
    Some(match word {
        Keyword::True => Static::Bool(true),
        Keyword::False => Static::Bool(false),
        Keyword::MinInt => Static::Int(i64::MIN),
        Keyword::MaxInt => Static::Int(i64::MAX),
        Keyword::Ok => Static::Status(Status::Ok),
        Keyword::Error => Static::Status(Status::Error),
        Keyword::Unset => Static::Status(Status::Unset),
        Keyword::Unspecified => Static::Kind(Kind::Unspecified),
        Keyword::Internal => Static::Kind(Kind::Internal),
        Keyword::Server => Static::Kind(Kind::Server),
        Keyword::Client => Static::Kind(Kind::Client),
        Keyword::Producer => Static::Kind(Kind::Producer),
        Keyword::Consumer => Static::Kind(Kind::Consumer),
        _ => return None,
    })
}

/// Fields with commas between, as in `select(…)` and `by (…)` of metrics.
pub(super) fn fields<'a>(
    place: &'static str,
) -> impl FnMut(Input<'a>) -> Parsed<'a, Vec<Located<Field>>> {
    comma_separated(field(place))
}

/// A field that must stand here; `place` names the construct that takes no expressions.
pub(super) fn field<'a>(
    place: &'static str,
) -> impl FnMut(Input<'a>) -> Parsed<'a, Located<Field>> {
    move |input| expect(field_or_nothing, |input| suggest::field(input, place))(input)
}

fn field_or_nothing(input: Input<'_>) -> Parsed<'_, Located<Field>> {
    alt((attribute, scoped_intrinsic, bare_intrinsic)).parse(input)
}

fn attribute(input: Input<'_>) -> Parsed<'_, Located<Field>> {
    let Token::Attribute(token) = input.token() else {
        return Err(super::combinators::does_not_apply());
    };
    if token.of == Subject::Root {
        refuse_extension(input, input.range(), "reading the root span")?;
    }
    let name = match subject_intrinsic(token) {
        Some(intrinsic) if input.dialect().has_extensions() => FieldName::Intrinsic(intrinsic),
        _ => FieldName::Attribute { scope: token.scope, key: token.name.clone() },
    };
    let field = Field { of: token.of, name };
    Ok((input.advance(), Located::new(field, input.range())))
}

/// `parent.duration` reads the parent's duration; the parent's attribute of that name is written
/// `parent.span.duration` or `parent."duration"`. The same after `root.`.
fn subject_intrinsic(token: &AttributeToken) -> Option<Intrinsic> {
    if token.of == Subject::Itself || token.scope != AttributeScope::Unscoped || token.is_quoted {
        return None;
    }
    SUBJECT_INTRINSICS.into_iter().find(|intrinsic| intrinsic.name() == token.name)
}

/// The intrinsics that `parent.` and `root.` reach.
pub(crate) const SUBJECT_INTRINSICS: [Intrinsic; 5] = [
    Intrinsic::Duration,
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
];

fn scoped_intrinsic(input: Input<'_>) -> Parsed<'_, Located<Field>> {
    let Token::ScopeColon(scope) = *input.token() else {
        return Err(super::combinators::does_not_apply());
    };
    let after = input.advance();
    let word = after.keyword();
    let Some(intrinsic) = word.and_then(|word| intrinsic_in(scope, word)) else {
        return Err(fail(unexpected(after, |after| suggest::scoped_intrinsic(scope, after))));
    };
    let range = input.range().cover(after.range());
    if intrinsic == Intrinsic::Gap {
        refuse_extension(input, range, &format!("`{}`", intrinsic.name()))?;
    }
    Ok((after.advance(), Located::new(Field::intrinsic(intrinsic), range)))
}

/// What `scope:word` reads.
pub(crate) fn intrinsic_in(scope: Scope, word: Keyword) -> Option<Intrinsic> {
    SCOPED_INTRINSICS.iter().find(|entry| (entry.0, entry.1) == (scope, word)).map(|entry| entry.2)
}

/// Every `scope:word`.
pub(crate) const SCOPED_INTRINSICS: [(Scope, Keyword, Intrinsic); 19] = [
    (Scope::Span, Keyword::Duration, Intrinsic::Duration),
    (Scope::Span, Keyword::Name, Intrinsic::Name),
    (Scope::Span, Keyword::Status, Intrinsic::Status),
    (Scope::Span, Keyword::StatusMessage, Intrinsic::StatusMessage),
    (Scope::Span, Keyword::Kind, Intrinsic::Kind),
    (Scope::Span, Keyword::Id, Intrinsic::SpanId),
    (Scope::Span, Keyword::ParentId, Intrinsic::SpanParentId),
    (Scope::Span, Keyword::ChildCount, Intrinsic::SpanChildCount),
    (Scope::Span, Keyword::Gap, Intrinsic::Gap),
    (Scope::Trace, Keyword::Duration, Intrinsic::TraceDuration),
    (Scope::Trace, Keyword::RootName, Intrinsic::RootName),
    (Scope::Trace, Keyword::RootService, Intrinsic::RootServiceName),
    (Scope::Trace, Keyword::Id, Intrinsic::TraceId),
    (Scope::Event, Keyword::Name, Intrinsic::EventName),
    (Scope::Event, Keyword::TimeSinceStart, Intrinsic::EventTimeSinceStart),
    (Scope::Link, Keyword::SpanId, Intrinsic::LinkSpanId),
    (Scope::Link, Keyword::TraceId, Intrinsic::LinkTraceId),
    (Scope::Instrumentation, Keyword::Name, Intrinsic::InstrumentationName),
    (Scope::Instrumentation, Keyword::Version, Intrinsic::InstrumentationVersion),
];

fn bare_intrinsic(input: Input<'_>) -> Parsed<'_, Located<Field>> {
    if let Ok((rest, range)) = keyword(Keyword::Parent)(input) {
        let field = Field { of: Subject::Itself, name: FieldName::Parent };
        return Ok((rest, Located::new(field, range)));
    }
    match input.keyword().and_then(intrinsic_word) {
        Some(intrinsic) => {
            Ok((input.advance(), Located::new(Field::intrinsic(intrinsic), input.range())))
        }
        None => Err(super::combinators::does_not_apply()),
    }
}

/// The intrinsic that is a word of its own.
pub(crate) fn intrinsic_word(word: Keyword) -> Option<Intrinsic> {
    BARE_INTRINSICS.into_iter().find(|intrinsic| intrinsic.name() == word.text())
}

/// Every intrinsic that needs no scope.
pub(crate) const BARE_INTRINSICS: [Intrinsic; 11] = [
    Intrinsic::Duration,
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::RootName,
    Intrinsic::RootServiceName,
    Intrinsic::TraceDuration,
    Intrinsic::NestedSetLeft,
    Intrinsic::NestedSetRight,
    Intrinsic::NestedSetParent,
];

/// `{ … }`.
pub(super) fn filter(input: Input<'_>) -> Parsed<'_, Located<FieldExpr>> {
    let (rest, open) = super::combinators::symbol(Symbol::OpenBrace)(input)?;
    if rest.symbol() == Some(Symbol::CloseBrace) {
        let range = open.cover(rest.range());
        return Ok((rest.advance(), Located::new(FieldExpr::Static(Static::Bool(true)), range)));
    }
    let (rest, expr) = field_expr(rest)?;
    match rest.symbol() {
        Some(Symbol::CloseBrace) => Ok((rest.advance(), expr)),
        _ => Err(fail(unexpected(rest, |rest| suggest::after_operand(rest, Symbol::CloseBrace)))),
    }
}

/// `( field expression )`, after the word that takes it.
pub(super) fn argument<'a>(
    word: Keyword,
) -> impl FnOnce(Input<'a>) -> Parsed<'a, Located<FieldExpr>> {
    move |input| {
        let (rest, _) = expect_symbol(Symbol::OpenParen, &format!("after `{word}`"))(input)?;
        if rest.symbol() == Some(Symbol::CloseParen) {
            return Err(fail(
                expected_found(rest, &format!("an expression for `{word}`"))
                    .hint(format!("write `{word}(duration)` or another field")),
            ));
        }
        let (rest, expr) = field_expr(rest)?;
        if rest.symbol() == Some(Symbol::Comma) {
            return Err(fail(
                Error::parse(rest.range(), format!("`{word}` takes exactly one expression"))
                    .expecting([")"])
                    .hint(if word == Keyword::By {
                        "group by several keys in several stages: `by(.a) | by(.b)`".to_owned()
                    } else {
                        format!("write one `{word}(…)` for each")
                    }),
            ));
        }
        let (rest, _) = close_paren(rest)?;
        Ok((rest, expr))
    }
}
