//! What stands at the end of a search and arranges its traces: `| order_by(…)` and `| limit(…)`. They
//! see the whole answer, unlike stages, which see one trace; so they are no stages of a pipeline.

use super::combinators::{
    Parsed, comma_separated, expect, expect_symbol, expected_found, fail, refuse_extension,
    unexpected,
};
use super::input::Input;
use super::suggest;
use super::{field, integer, scalar};
use crate::analyze::ir::AggregateFunction;
use crate::ast::{Arrangement, Located, OrderBy, OrderKey};
use crate::error::Error;
use crate::lexer::Token;
use crate::token::{Keyword, Symbol};

/// Whether a pipe and one of the words stand here.
pub(super) fn begins_at(input: Input<'_>) -> bool {
    input.symbol() == Some(Symbol::Pipe) && word(input.advance()).is_some()
}

fn word(input: Input<'_>) -> Option<Keyword> {
    input.keyword().filter(|word| matches!(word, Keyword::OrderBy | Keyword::Limit))
}

/// `[ | order_by(…) ] [ | limit(…) ]`.
pub(super) fn arrangement(mut input: Input<'_>) -> Parsed<'_, Arrangement> {
    let mut arrangement = Arrangement::default();
    let mut last = None;
    while input.symbol() == Some(Symbol::Pipe) {
        let after = input.advance();
        let Some(word) = word(after) else {
            return Err(fail(unexpected(after, |after| misplaced_stage(after, last))));
        };
        refuse_extension(after, after.range(), &format!("`{word}`"))?;
        match (word, last) {
            (Keyword::OrderBy, None) => {
                (input, arrangement.order_by) = order_by(after.advance())?;
            }
            (Keyword::Limit, None | Some(Keyword::OrderBy)) => {
                let (rest, limit) = limit(after.advance())?;
                arrangement.limit = Some(limit);
                input = rest;
            }
            (word, last) => {
                let error = match last {
                    Some(last) if last == word => {
                        Error::parse(after.range(), format!("there is a second `{word}`"))
                    }
                    _ => Error::parse(after.range(), "`order_by` comes before `limit`"),
                };
                return Err(fail(error.hint(match word {
                    Keyword::OrderBy => "name all keys in one: `order_by(.a desc, .b) | limit(10)`",
                    _ => "leave one of them out",
                })));
            }
        }
        last = Some(word);
    }
    Ok((input, arrangement))
}

/// `( key , … )`.
fn order_by(input: Input<'_>) -> Parsed<'_, Vec<Located<OrderKey>>> {
    let (rest, _) = expect_symbol(Symbol::OpenParen, "after `order_by`")(input)?;
    if rest.symbol() == Some(Symbol::CloseParen) {
        return Err(fail(
            expected_found(rest, "a field or an aggregate for `order_by`")
                .hint("write `order_by(duration desc)`, `order_by(count() desc)`"),
        ));
    }
    let (rest, keys) = comma_separated(order_key)(rest)?;
    let (rest, _) = expect(super::combinators::symbol(Symbol::CloseParen), after_key)(rest)?;
    Ok((rest, keys))
}

/// A field, an expression or an aggregate, and the direction.
fn order_key(input: Input<'_>) -> Parsed<'_, Located<OrderKey>> {
    let start = input.range();
    let (rest, by) = if input.keyword().and_then(AggregateFunction::of).is_some() {
        let (rest, aggregate) = scalar::aggregate(input)?;
        (rest, OrderBy::Spanset(aggregate))
    } else {
        let (rest, expr) = field::field_expr(input)?;
        (rest, OrderBy::Span(expr))
    };
    let (rest, descending) = match rest.keyword() {
        Some(Keyword::Descending) => (rest.advance(), true),
        Some(Keyword::Ascending) => (rest.advance(), false),
        _ => (rest, false),
    };
    Ok((rest, Located::new(OrderKey { by, descending }, start.cover(rest.last()))))
}

/// Something else than a direction, a comma or the end after a key.
fn after_key(input: Input<'_>) -> Error {
    let error =
        expected_found(input, "`asc`, `desc`, `,` or `)`").expecting(["asc", "desc", ",", ")"]);
    match input.token() {
        Token::Word(word) => match suggest::near(word, ["asc", "desc"].into_iter()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        },
        Token::Symbol(_) => {
            error.hint("an aggregate stands alone here: `order_by(max(duration) desc)`")
        }
        _ => error,
    }
}

/// `( n )`.
fn limit(input: Input<'_>) -> Parsed<'_, Located<i64>> {
    let (rest, _) = expect_symbol(Symbol::OpenParen, "after `limit`")(input)?;
    let (rest, n) = integer("how many traces to keep")(rest)?;
    let (rest, _) = expect_symbol(Symbol::CloseParen, "to close `limit`")(rest)?;
    Ok((rest, n))
}

/// A stage after `order_by` or `limit`.
fn misplaced_stage(input: Input<'_>, last: Option<Keyword>) -> Error {
    let last = last.unwrap_or(Keyword::Limit);
    Error::parse(
        input.range(),
        format!("no stage can follow `{last}`, which arranges the whole answer"),
    )
    .hint("put the stage before it")
}

/// `order_by` or `limit` inside parentheses.
pub(super) fn inside(pipe: Input<'_>) -> Error {
    let at = pipe.advance();
    let found = at.found();
    Error::parse(
        at.range(),
        format!("{found} arranges the whole answer, so it cannot stand in parentheses"),
    )
    .hint("put it at the end of the query")
}
