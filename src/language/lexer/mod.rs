//! Text to tokens. White space and comments end here; attribute names, which follow rules of their
//! own (`traceql.md` 1.3), are one token with their scope. Knows nothing of the grammar: a text that
//! is no token becomes [`Token::Bad`], so that the parser reports whatever is wrong first.

mod name;
mod number;
mod text;

use nom::IResult;
use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{take_till, take_while};
use nom::character::complete::anychar;
use nom::combinator::{map, recognize, verify};

use crate::analyze::ir::{AttributeScope, Subject};
use crate::dialect::Dialect;
use crate::error::Error;
use crate::range::TextRange;
use crate::token::{Keyword, Scope, Symbol, begins_word, continues_word};

/// One token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lexed {
    pub(crate) token: Token,
    pub(crate) range: TextRange,
}

/// What the parser sees.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Symbol(Symbol),
    Keyword(Keyword),
    /// A word that is not reserved.
    Word(String),
    Int(i64),
    Float(f64),
    /// Signed nanoseconds.
    Duration(i64),
    Text(String),
    /// `.name`, `span.name`, `parent.span.name`, `root.span.name`.
    Attribute(AttributeToken),
    /// `span:`, before the word of an intrinsic.
    ScopeColon(Scope),
    /// No token at all.
    Bad(Box<Error>),
    /// The end of the text, which is not at fault for anything.
    End,
}

/// An attribute as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttributeToken {
    pub(crate) of: Subject,
    pub(crate) scope: AttributeScope,
    pub(crate) name: String,
    /// Whether a part of the name was quoted, which `parent."duration"` uses to mean the attribute.
    pub(crate) is_quoted: bool,
}

/// What a token function returns: the rest and the token, or a hard error with its range.
type LexResult<'a, T> = IResult<&'a str, T, LexError<'a>>;

/// A lexical error at the beginning of `at`, `len` bytes long.
#[derive(Debug)]
struct LexError<'a> {
    at: &'a str,
    len: usize,
    message: String,
    hint: Option<String>,
}

impl<'a> LexError<'a> {
    /// An error that no other alternative may paper over.
    fn failure(at: &'a str, len: usize, message: impl Into<String>) -> nom::Err<Self> {
        nom::Err::Failure(LexError { at, len, message: message.into(), hint: None })
    }

    /// The same with a hint.
    fn failure_with_hint(
        at: &'a str,
        len: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> nom::Err<Self> {
        nom::Err::Failure(LexError { at, len, message: message.into(), hint: Some(hint.into()) })
    }
}

impl<'a> nom::error::ParseError<&'a str> for LexError<'a> {
    fn from_error_kind(at: &'a str, _kind: nom::error::ErrorKind) -> Self {
        LexError { at, len: 0, message: String::new(), hint: None }
    }

    fn append(_at: &'a str, _kind: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// Every token of the text, ending with [`Token::End`]. After a [`Token::Bad`] the rest is read on
/// as far as it makes sense, for lenient readers.
pub(crate) fn tokens(text: &str, dialect: Dialect) -> Vec<Lexed> {
    let mut lexed = Vec::with_capacity(text.len() / 4 + 2);
    let mut rest = text;
    // Tempo's lexer keeps a flag raised after `parent.x`, and then stumbles over a bare `.span.y`.
    let mut parent_flag = false;
    loop {
        rest = match blank(rest) {
            Ok(rest) => rest,
            Err(error) => {
                lexed.push(bad(text, error));
                break;
            }
        };
        if rest.is_empty() {
            break;
        }
        let start = text.len() - rest.len();
        match token(rest) {
            Ok((after, token)) => {
                let range = TextRange::new(start, text.len() - after.len());
                let token = match token {
                    Token::Attribute(attribute) if !dialect.has_extensions() => {
                        let bare = &text[start..];
                        let stumbles = parent_flag
                            && (bare.starts_with(".span.") || bare.starts_with(".resource."));
                        if attribute.of == Subject::Parent
                            && attribute.scope == AttributeScope::Unscoped
                        {
                            parent_flag = true;
                        }
                        if stumbles {
                            Token::Bad(Box::new(sticky_scope(range)))
                        } else {
                            Token::Attribute(attribute)
                        }
                    }
                    token => token,
                };
                lexed.push(Lexed { token, range });
                rest = after;
            }
            Err(error) => {
                let error = bad(text, unwrap_error(error, rest));
                // Going on a character further keeps the loop linear and always ends it.
                let next = (error.range.end as usize).max(start + 1);
                rest = &text[text.ceil_char_boundary(next)..];
                lexed.push(error);
            }
        }
    }
    lexed.push(Lexed { token: Token::End, range: TextRange::new(text.len(), text.len()) });
    lexed
}

/// Skips white space and comments.
fn blank(mut rest: &str) -> Result<&str, LexError<'_>> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if let Some(comment) = rest.strip_prefix("//") {
            rest = &comment[comment.find('\n').unwrap_or(comment.len())..];
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let Some(end) = comment.find("*/") else {
                return Err(LexError {
                    at: rest,
                    len: 2,
                    message: "this comment never ends".to_owned(),
                    hint: Some("close it with `*/`".to_owned()),
                });
            };
            rest = &comment[end + 2..];
        } else {
            return Ok(rest);
        }
    }
}

/// One token at the beginning of the text; the first character decides which sort.
fn token(text: &str) -> LexResult<'_, Token> {
    match text.chars().next().unwrap_or_default() {
        '0'..='9' => number::number(text),
        '.' => alt((number::number, map(name::attribute(None), Token::Attribute), no_token))
            .parse(text),
        '"' | '`' => map(text::text, Token::Text).parse(text),
        c if begins_word(c) => word_token(text),
        _ => alt((map(symbol, Token::Symbol), no_token)).parse(text),
    }
}

/// A reserved word, another word, or a scope with what it scopes.
fn word_token(text: &str) -> LexResult<'_, Token> {
    let (rest, word) = word(text)?;
    let token = match (Scope::of(word), rest.as_bytes().first()) {
        (Some(scope), Some(b'.')) if scope.has_attributes() => {
            return map(name::attribute(Some(scope)), Token::Attribute).parse(rest);
        }
        (Some(scope), Some(b':')) if scope.has_intrinsics() => {
            return Ok((&rest[1..], Token::ScopeColon(scope)));
        }
        _ => Keyword::of(word).map_or_else(|| Token::Word(word.to_owned()), Token::Keyword),
    };
    Ok((rest, token))
}

/// A letter or `_`, then letters, digits and `_`.
fn word(text: &str) -> LexResult<'_, &str> {
    recognize((verify(anychar, |c| begins_word(*c)), take_while(continues_word))).parse(text)
}

/// The longest operator or punctuation.
fn symbol(text: &str) -> LexResult<'_, Symbol> {
    let n_signs = text.bytes().take(3).take_while(u8::is_ascii_punctuation).count();
    let longest =
        (1..=n_signs).rev().find_map(|len| Some((&text[len..], Symbol::of(&text[..len])?)));
    longest.ok_or_else(|| does_not_apply(text))
}

/// The production does not begin here.
fn does_not_apply(at: &str) -> nom::Err<LexError<'_>> {
    nom::Err::Error(LexError { at, len: 0, message: String::new(), hint: None })
}

/// What to say of a text that is no token.
fn no_token(text: &str) -> LexResult<'_, Token> {
    let c = text.chars().next().unwrap_or_default();
    let len = c.len_utf8();
    Err(match c {
        '\'' => {
            let (_, body) =
                take_till::<_, _, ()>(|c| c == '\'' || c == '\n')(&text[1..]).unwrap_or_default();
            let closed = text[1 + body.len()..].starts_with('\'');
            let len = 1 + body.len() + usize::from(closed);
            let hint = if closed && !body.contains(['"', '\\']) {
                format!("write `\"{body}\"`")
            } else {
                "write a string in double quotes or backticks".to_owned()
            };
            LexError::failure_with_hint(text, len, "single quotes do not make a string", hint)
        }
        '&' => LexError::failure_with_hint(
            text,
            len,
            "`&` is not an operator",
            "for \"and\" write `&&`",
        ),
        '#' => LexError::failure_with_hint(
            text,
            len,
            "`#` does not begin a comment",
            "write `//` before a comment",
        ),
        '[' => LexError::failure_with_hint(
            text,
            len,
            "there are no lists in TraceQL",
            "compare with each value, `.a = 1 || .a = 2`, or use a regular expression, `.a =~ \"x|y\"`",
        ),
        '\0' => LexError::failure(text, len, "a query cannot contain a NUL character"),
        '.' => LexError::failure_with_hint(
            text,
            len,
            "this attribute has no name",
            "the name follows its dot without white space, as in `.name`",
        ),
        c => LexError::failure(text, len, format!("unexpected character `{}`", c.escape_debug())),
    })
}

/// The error of an attribute that Tempo's lexer stumbles over.
fn sticky_scope(range: TextRange) -> Error {
    Error::parse(range, "Tempo reads `.span.…` after `parent.…` as a scope")
        .hint("write the name in quotes, or the scope in front of it")
}

/// The token of a lexical error.
fn bad(text: &str, error: LexError<'_>) -> Lexed {
    let start = text.len() - error.at.len();
    let range = TextRange::new(start, start + error.len);
    let mut found = Error::parse(range, error.message);
    found.hints.extend(error.hint);
    Lexed { token: Token::Bad(Box::new(found)), range }
}

/// Nom's wrapper off a lexical error.
fn unwrap_error<'a>(error: nom::Err<LexError<'a>>, at: &'a str) -> LexError<'a> {
    match error {
        nom::Err::Error(error) | nom::Err::Failure(error) => error,
        nom::Err::Incomplete(_) => {
            LexError { at, len: 0, message: "unexpected end".to_owned(), hint: None }
        }
    }
}
