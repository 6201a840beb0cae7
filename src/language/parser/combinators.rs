//! The only place that shapes syntax errors. A parser that merely does not apply gives
//! `nom::Err::Error`, and `alt` tries the next; once a construct has begun, `expect` turns the same
//! into a failure with a sentence for people, at the right place, and nothing is tried again: that is
//! what keeps both messages precise and parsing linear.

use nom::error::ErrorKind as NomErrorKind;
use nom::{IResult, Parser};

use super::input::Input;
use crate::MAX_DEPTH;
use crate::ast::Located;
use crate::error::{Error, ErrorKind};
use crate::lexer::Token;
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// What parsers give.
pub(super) type Parsed<'a, T> = IResult<Input<'a>, T, Problem>;

/// An error on its way through nom. `None` is a production that does not apply: nobody asked for a
/// sentence yet.
#[derive(Debug)]
pub(super) struct Problem(pub(super) Option<Box<Error>>);

impl<'a> nom::error::ParseError<Input<'a>> for Problem {
    fn from_error_kind(_input: Input<'a>, _kind: NomErrorKind) -> Self {
        Self(None)
    }

    fn append(_input: Input<'a>, _kind: NomErrorKind, other: Self) -> Self {
        other
    }
}

/// A failure that nothing recovers from.
pub(super) fn fail(error: Error) -> nom::Err<Problem> {
    nom::Err::Failure(Problem(Some(Box::new(error))))
}

/// The production does not begin here.
pub(super) fn does_not_apply() -> nom::Err<Problem> {
    nom::Err::Error(Problem(None))
}

/// Requires a parser to apply: a construct has begun, and only this can follow.
pub(super) fn expect<'a, T>(
    mut parser: impl Parser<Input<'a>, Output = T, Error = Problem>,
    error: impl FnOnce(Input<'a>) -> Error,
) -> impl FnOnce(Input<'a>) -> Parsed<'a, T> {
    move |input| match parser.parse(input) {
        Err(nom::Err::Error(_)) => Err(fail(unexpected(input, error))),
        other => other,
    }
}

/// The error for the next token. A text that is no token at all is what is wrong, whatever was
/// expected there.
pub(super) fn unexpected<'a>(input: Input<'a>, error: impl FnOnce(Input<'a>) -> Error) -> Error {
    match input.token() {
        Token::Bad(bad) => (**bad).clone(),
        _ => error(input),
    }
}

/// "expected …, found …".
pub(super) fn expected_found(input: Input<'_>, expected: &str) -> Error {
    Error::parse(input.range(), format!("expected {expected}, found {}", input.found()))
}

/// A symbol.
pub(super) fn symbol<'a>(symbol: Symbol) -> impl Fn(Input<'a>) -> Parsed<'a, TextRange> {
    move |input| match input.symbol() {
        Some(found) if found == symbol => Ok((input.advance(), input.range())),
        _ => Err(does_not_apply()),
    }
}

/// A reserved word.
pub(super) fn keyword<'a>(keyword: Keyword) -> impl Fn(Input<'a>) -> Parsed<'a, TextRange> {
    move |input| match input.keyword() {
        Some(found) if found == keyword => Ok((input.advance(), input.range())),
        _ => Err(does_not_apply()),
    }
}

/// A symbol that must come now; `purpose` says what for: "to close this filter".
pub(super) fn expect_symbol<'a>(
    wanted: Symbol,
    purpose: &str,
) -> impl FnOnce(Input<'a>) -> Parsed<'a, TextRange> {
    expect(symbol(wanted), move |input| {
        expected_found(input, &format!("`{wanted}` {purpose}")).expecting([wanted.text()])
    })
}

/// The same where people are likely to have something else in mind.
pub(super) fn expect_symbol_or_hint<'a>(
    wanted: Symbol,
    purpose: &str,
    hint: &str,
) -> impl FnOnce(Input<'a>) -> Parsed<'a, TextRange> {
    expect(symbol(wanted), move |input| {
        let error =
            expected_found(input, &format!("`{wanted}` {purpose}")).expecting([wanted.text()]);
        if *input.token() == Token::End { error } else { error.hint(hint) }
    })
}

/// One or more items with commas between.
pub(super) fn comma_separated<'a, T>(
    mut item: impl FnMut(Input<'a>) -> Parsed<'a, T>,
) -> impl FnMut(Input<'a>) -> Parsed<'a, Vec<T>> {
    move |input| {
        let (mut input, first) = item(input)?;
        let mut items = vec![first];
        while input.symbol() == Some(Symbol::Comma) {
            let (rest, next) = item(input.advance())?;
            items.push(next);
            input = rest;
        }
        Ok((input, items))
    }
}

/// Runs a parser one level deeper.
pub(super) fn nested<'a, T>(
    input: Input<'a>,
    parser: impl FnOnce(Input<'a>) -> Parsed<'a, T>,
) -> Parsed<'a, T> {
    if input.depth as usize >= MAX_DEPTH {
        return Err(fail(too_deep(input.range())));
    }
    let (rest, value) = parser(input.at_depth(input.depth + 1))?;
    Ok((rest.at_depth(input.depth), value))
}

/// The query is nested deeper than anything a person or a program needs.
pub(super) fn too_deep(range: TextRange) -> Error {
    Error::new(ErrorKind::Limit, range, format!("the query is nested deeper than {MAX_DEPTH} levels"))
        .hint("operators of one level in a row do not count: write long lists of conditions without parentheses")
}

/// A construct that Tempo has no grammar for.
pub(super) fn refuse_extension(
    input: Input<'_>,
    range: TextRange,
    construct: &str,
) -> Result<(), nom::Err<Problem>> {
    if input.dialect().has_extensions() {
        return Ok(());
    }
    Err(fail(
        Error::parse(range, format!("{construct} is an extension that Tempo does not accept"))
            .hint("use the default dialect"),
    ))
}

/// The error with a hint that only whoever may use extensions can follow.
pub(super) fn hint_extension(input: Input<'_>, error: Error, hint: &str) -> Error {
    if input.dialect().has_extensions() { error.hint(hint) } else { error }
}

/// A value with the range that it covers together with what stands around it.
pub(super) fn covering<T>(value: Located<T>, open: TextRange, close: TextRange) -> Located<T> {
    Located { range: open.cover(close), ..value }
}
