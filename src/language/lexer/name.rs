//! Attributes: a scope and a name (`traceql.md` 1.3). A name begins right after its dot and runs to
//! white space or one of a few operators; quoted parts may stand anywhere in it.

use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::char;
use nom::combinator::{opt, value};

use super::{AttributeToken, LexError, LexResult};
use crate::analyze::ir::{AttributeScope, Subject};
use crate::token::{Scope, ends_name};

/// `.name`, after the scope that was read; after `parent` and `root` also `.span.name`.
pub(super) fn attribute<'a>(
    scope: Option<Scope>,
) -> impl FnMut(&'a str) -> LexResult<'a, AttributeToken> {
    move |text| {
        let (rest, _) = char('.').parse(text)?;
        let of = match scope {
            Some(Scope::Parent) => Subject::Parent,
            Some(Scope::Root) => Subject::Root,
            _ => Subject::Itself,
        };
        let is_own = of == Subject::Itself;
        let (rest, sub) = if is_own { (rest, None) } else { opt(sub_scope).parse(rest)? };
        let (after, name) = name(rest)?;
        let Some((name, is_quoted)) = name else {
            return Err(LexError::failure_with_hint(
                text,
                text.len() - rest.len(),
                "this attribute has no name",
                "the name follows its dot without white space, as in `.name`",
            ));
        };
        let scope = attribute_scope(if is_own { scope } else { sub });
        Ok((after, AttributeToken { of, scope, name, is_quoted }))
    }
}

/// `span.` and `resource.` after `parent.` and `root.`.
fn sub_scope(text: &str) -> LexResult<'_, Scope> {
    alt((value(Scope::Span, tag("span.")), value(Scope::Resource, tag("resource.")))).parse(text)
}

fn attribute_scope(scope: Option<Scope>) -> AttributeScope {
    match scope {
        Some(Scope::Span) => AttributeScope::Span,
        Some(Scope::Resource) => AttributeScope::Resource,
        Some(Scope::Event) => AttributeScope::Event,
        Some(Scope::Link) => AttributeScope::Link,
        Some(Scope::Instrumentation) => AttributeScope::Instrumentation,
        Some(Scope::Parent | Scope::Root | Scope::Trace) | None => AttributeScope::Unscoped,
    }
}

/// The name, and whether a part of it was quoted; `None` when there is none.
fn name(mut rest: &str) -> LexResult<'_, Option<(String, bool)>> {
    let mut name = String::new();
    let mut is_quoted = false;
    loop {
        if let Some(inside) = rest.strip_prefix('"') {
            let (after, part) = quoted_part(rest, inside)?;
            name.push_str(&part);
            is_quoted = true;
            rest = after;
        } else {
            let plain =
                take_while1::<_, _, LexError<'_>>(|c: char| !ends_name(c) && c != '"' && c != '\0');
            match opt(plain).parse(rest)? {
                (after, Some(part)) => {
                    name.push_str(part);
                    rest = after;
                }
                (rest, None) => {
                    return Ok((
                        rest,
                        (is_quoted || !name.is_empty()).then_some((name, is_quoted)),
                    ));
                }
            }
        }
    }
}

/// What stands between double quotes in a name; `open` begins with the quote, `inside` after it.
fn quoted_part<'a>(open: &'a str, inside: &'a str) -> LexResult<'a, String> {
    let mut part = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((&inside[at + 1..], part)),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => part.push(c),
                Some((_, c)) => {
                    return Err(LexError::failure_with_hint(
                        &inside[at..],
                        1 + c.len_utf8(),
                        format!("`\\{c}` is not an escape in an attribute's name"),
                        "a quoted name knows `\\\"` and `\\\\` only",
                    ));
                }
                None => break,
            },
            '\0' => break,
            c => part.push(c),
        }
    }
    Err(LexError::failure_with_hint(open, 1, "this quoted name never ends", "close it with `\"`"))
}
