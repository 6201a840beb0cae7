//! Tokens to the query as written. Recursive descent on nom: the next token always decides which
//! production applies, and a production that has begun never backtracks, so parsing is linear. What
//! cannot be told from the first token (whether `(` opens a spanset, a pipeline, a number or a
//! metrics query) is parsed once, as [`node::Node`], and sorted out afterwards.

mod arrange;
mod combinators;
pub(crate) mod field;
mod input;
mod metrics;
mod node;
mod pipeline;
mod scalar;
pub(crate) mod suggest;

use self::combinators::{
    Parsed, Problem, comma_separated, expect, expect_symbol, expected_found, fail, unexpected,
};
use self::input::{Input, Source};
use crate::MAX_QUERY_BYTES;
use crate::ast::{Hint, Located, Query};
use crate::dialect::Dialect;
use crate::error::{Error, ErrorKind};
use crate::lexer::{self, Token};
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// Parses a whole query.
pub(crate) fn query(text: &str, dialect: Dialect) -> Result<Query, Error> {
    check_size(text)?;
    let tokens = lexer::tokens(text, dialect);
    let source = Source::new(&tokens, text, dialect);
    match whole_query(source.input()) {
        Ok((_, query)) => Ok(query),
        Err(nom::Err::Error(Problem(error)) | nom::Err::Failure(Problem(error))) => Err(error
            .map_or_else(
                || Error::parse(TextRange::new(0, text.len()), "this is not a query"),
                |error| *error,
            )),
        Err(nom::Err::Incomplete(_)) => {
            Err(Error::parse(TextRange::new(text.len(), text.len()), "the query ends too early"))
        }
    }
}

/// Refuses a text that is too long before anything of it is read.
pub(crate) fn check_size(text: &str) -> Result<(), Error> {
    if text.len() <= MAX_QUERY_BYTES {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        TextRange::new(MAX_QUERY_BYTES, text.len()),
        format!("the query has {} bytes, more than the {MAX_QUERY_BYTES} allowed", text.len()),
    ))
}

fn whole_query(input: Input<'_>) -> Parsed<'_, Query> {
    if *input.token() == Token::End {
        return Err(fail(
            Error::parse(input.range(), "the query is empty")
                .expecting(["{"])
                .hint("`{ }` selects every span"),
        ));
    }
    let (rest, body) = pipeline::body(input)?;
    let (mut rest, arrangement) = arrange::arrangement(rest)?;
    let mut hints = Vec::new();
    while rest.keyword() == Some(Keyword::With) {
        // The last clause wins.
        (rest, hints) = hint_clause(rest.advance())?;
    }
    if *rest.token() != Token::End {
        return Err(fail(unexpected(rest, after_query)));
    }
    Ok((rest, Query { body, arrangement, hints }))
}

/// What follows a complete query is neither a stage nor a hint.
fn after_query(input: Input<'_>) -> Error {
    let error = expected_found(input, "an operator, `|` or the end of the query").expecting([
        "an operator",
        "|",
        "with",
    ]);
    match input.token() {
        Token::Symbol(Symbol::OpenBrace) => error
            .hint("combine filters with an operator: `{ … } && { … }`, or pipe one into the next: `{ … } | { … }`"),
        Token::Symbol(Symbol::CloseBrace) => error.hint("there is a `}` too many, or a `{` too few"),
        Token::Symbol(Symbol::CloseParen) => error.hint("there is a `)` too many, or a `(` too few"),
        Token::Keyword(Keyword::By) => {
            error.hint("`by (…)` follows a metrics function directly; to group spansets pipe into it: `| by(…)`")
        }
        Token::Keyword(word) => error.hint(format!("stages begin with a pipe: `| {word}`")),
        Token::Word(word) => match suggest::near(word, ["with"].into_iter()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => suggest::foreign(input, error),
        },
        _ => error,
    }
}

/// `( name = literal , … )` after `with`.
fn hint_clause(input: Input<'_>) -> Parsed<'_, Vec<Hint>> {
    let (rest, _) = expect_symbol(Symbol::OpenParen, "after `with`")(input)?;
    let (rest, hints) = comma_separated(hint)(rest)?;
    let (rest, _) = expect_symbol(Symbol::CloseParen, "to close the hints")(rest)?;
    Ok((rest, hints))
}

fn hint(input: Input<'_>) -> Parsed<'_, Hint> {
    let (rest, name) = expect(hint_name, |input| {
        let error = expected_found(input, "the name of a hint").expecting(["a name"]);
        match input.keyword() {
            Some(word) => error.hint(format!("`{word}` is a reserved word and cannot name a hint")),
            None => error.hint("hints look like `with (most_recent=true)`"),
        }
    })(input)?;
    let (rest, _) = expect_symbol(Symbol::Equal, "after the hint's name")(rest)?;
    let (rest, value) = expect(field::literal, |input| {
        expected_found(input, "a literal").expecting(["a literal"]).hint(match input.token() {
            Token::Word(word) => format!("for a string write `\"{word}\"`"),
            Token::Symbol(Symbol::Minus) => "hints take no negative numbers".to_owned(),
            _ => "a hint's value is a string, a number, a duration, `true` or `false`".to_owned(),
        })
    })(rest)?;
    Ok((rest, Hint { name, value }))
}

fn hint_name(input: Input<'_>) -> Parsed<'_, Located<String>> {
    match input.token() {
        Token::Word(name) => Ok((input.advance(), Located::new(name.clone(), input.range()))),
        // What Tempo does not reserve names a hint here too.
        Token::Keyword(word) if word.is_extension() => {
            Ok((input.advance(), Located::new(word.text().to_owned(), input.range())))
        }
        _ => Err(combinators::does_not_apply()),
    }
}

/// A number of a given kind, with its range.
fn integer<'a>(what: &'static str) -> impl FnMut(Input<'a>) -> Parsed<'a, Located<i64>> {
    move |input| {
        expect(
            |input: Input<'a>| match input.token() {
                Token::Int(value) => Ok((input.advance(), Located::new(*value, input.range()))),
                _ => Err(combinators::does_not_apply()),
            },
            |input| {
                let error = expected_found(input, what).expecting(["an integer"]);
                if input.symbol() == Some(Symbol::Minus) {
                    error.hint("it must be positive")
                } else {
                    error
                }
            },
        )(input)
    }
}
