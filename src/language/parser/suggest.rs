//! What was probably meant: near misses of words, and habits of other languages. Runs once for a
//! query that is refused anyway, so nothing here needs to be fast, only bounded.

use super::Problem;
use super::combinators::{expected_found, fail};
use super::field::{BARE_INTRINSICS, SCOPED_INTRINSICS, intrinsic_word, literal_word};
use super::input::Input;
use crate::analyze::ir::SpansetOp;
use crate::error::Error;
use crate::lexer::Token;
use crate::token::{Keyword, Scope, Symbol};

/// An expression was expected.
pub(super) fn operand(input: Input<'_>) -> Error {
    let error = match input.token() {
        Token::Word(word) => unknown_word(input, word),
        Token::Keyword(word) => misplaced_keyword(input, *word),
        Token::Symbol(Symbol::OpenBrace) => {
            Error::parse(input.range(), "a filter cannot stand inside a filter").hint(
                "write each filter in braces of its own and combine them outside: `{ … } && { … }`",
            )
        }
        Token::Symbol(Symbol::Equal | Symbol::Match | Symbol::Greater | Symbol::Less) => {
            expected_found(input, "an expression before the operator")
        }
        _ => expected_found(input, "an attribute, an intrinsic or a literal"),
    };
    if error.hints.is_empty() {
        return error.expecting(["an attribute", "an intrinsic", "a literal", "(", "!", "-"]);
    }
    // What was meant says more than what could have been.
    error
}

/// A field was expected where no expressions are taken.
pub(super) fn field(input: Input<'_>, place: &str) -> Error {
    let error = match input.token() {
        Token::Word(word) => unknown_word(input, word),
        Token::Keyword(word) if literal_word(*word).is_none() => misplaced_keyword(input, *word),
        _ => expected_found(input, &format!("an attribute or an intrinsic for `{place}`")),
    };
    if error.hints.is_empty() { error.expecting(["an attribute", "an intrinsic"]) } else { error }
}

/// A word of the language that means something elsewhere.
fn misplaced_keyword(input: Input<'_>, word: Keyword) -> Error {
    if word.is_extension() && !input.dialect().has_extensions() {
        return unknown_word(input, word.text());
    }
    let range = input.range();
    let alike: &[Scope] = match word {
        Keyword::TraceId => &[Scope::Trace],
        Keyword::SpanId => &[Scope::Span],
        _ => &[],
    };
    let mut written: Vec<String> = alike.iter().map(|scope| format!("`{scope}:id`")).collect();
    let scoped = SCOPED_INTRINSICS.iter().filter(|entry| entry.1 == word);
    written.extend(scoped.map(|entry| format!("`{}:{word}`", entry.0)));
    if !written.is_empty() {
        return Error::parse(range, format!("`{word}` needs a scope"))
            .hint(format!("write {}", written.join(" or ")))
            .hint(format!("for an attribute of that name write `.{word}` or `span.{word}`"));
    }
    match word {
        Keyword::Not => {
            Error::parse(range, "`not` judges whole traces, so it stands outside braces")
                .hint("for \"not\" of a condition write `!`, or `!=` and `!~`")
        }
        Keyword::Count
        | Keyword::CountDistinct
        | Keyword::Avg
        | Keyword::Max
        | Keyword::Min
        | Keyword::Sum => Error::parse(
            range,
            format!("`{word}` looks at many spans, so it cannot stand inside a filter"),
        )
        .hint(format!(
            "pipe the filter into it: `{{ … }} | {word}({}) > 1`",
            if word == Keyword::Count { "" } else { "duration" }
        ))
        .hint(format!("for an attribute of that name write `.{word}` or `span.{word}`")),
        _ => Error::parse(range, format!("`{word}` cannot stand here"))
            .hint(format!("for an attribute of that name write `.{word}` or `span.{word}`")),
    }
}

/// A word that is not one of the language's.
fn unknown_word(input: Input<'_>, word: &str) -> Error {
    let mut error = Error::parse(input.range(), format!("unknown identifier `{}`", clipped(word)));
    let next = input.nth(1);
    if input.is_adjacent(1)
        && let Token::Attribute(attribute) = &next.token
    {
        error.range = error.range.cover(next.range);
        if let Some(scope) =
            near(word, Scope::ALL.iter().filter(|s| s.has_attributes()).map(|s| s.text()))
        {
            return error.hint(format!("did you mean `{scope}.{}`?", clipped(&attribute.name)));
        }
        if word == "trace" {
            return error
                .hint("a trace has no attributes of its own; its intrinsics are `trace:id`, `trace:duration`, `trace:rootName`, `trace:rootService`");
        }
        if word == "scope" {
            return error
                .hint(format!("did you mean `instrumentation.{}`?", clipped(&attribute.name)));
        }
        let name = format!("{word}.{}", attribute.name);
        let scope = if is_resource_attribute(&name) { "resource" } else { "span" };
        let name = clipped(&name);
        return error.hint(format!(
            "an attribute needs a scope or a dot: write `{scope}.{name}` or `.{name}`"
        ));
    }
    if let Some(hint) = foreign_word(word) {
        return error.hint(hint);
    }
    let words = BARE_INTRINSICS.iter().map(|intrinsic| intrinsic.name()).chain(
        Keyword::ALL.iter().filter(|word| literal_word(**word).is_some()).map(|word| word.text()),
    );
    if let Some(near) = near(word, words) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    if let Some((scope, near, _)) =
        SCOPED_INTRINSICS.iter().find(|entry| entry.1.text().eq_ignore_ascii_case(word))
    {
        return error.hint(format!("did you mean `{scope}:{near}`?"));
    }
    if Scope::of(word).is_some() {
        return error
            .hint(format!("a scope is followed by its dot without white space: `{word}.name`"));
    }
    let word = clipped(word);
    match next.token {
        Token::Symbol(
            Symbol::Equal
            | Symbol::NotEqual
            | Symbol::Match
            | Symbol::NotMatch
            | Symbol::Less
            | Symbol::LessEqual
            | Symbol::Greater
            | Symbol::GreaterEqual,
        ) => error.hint(format!("an attribute needs a scope or a dot: write `.{word}`, `span.{word}` or `resource.{word}`")),
        _ => error
            .hint(format!("for a string write `\"{word}\"`"))
            .hint(format!("for an attribute write `.{word}`, `span.{word}` or `resource.{word}`")),
    }
}

/// Words of other query languages.
fn foreign_word(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => "for \"and\" write `&&`",
        "or" => "for \"or\" write `||`",
        "not" => "for \"not\" write `!`, or `!=` and `!~`",
        "null" | "none" | "undefined" => "for a missing value write `= nil`",
        "in" => {
            "there is no `in`: write `.a = 1 || .a = 2`, or a regular expression, `.a =~ \"x|y\"`"
        }
        "like" | "matches" | "contains" | "regexp" | "rlike" => {
            "match with a regular expression, which must fit the whole value: `=~ \".*part.*\"`"
        }
        "is" => "compare with `=` or `!=`",
        "where" | "select" | "from" => "conditions stand in braces: `{ .a = 1 }`",
        _ => return None,
    })
}

/// The hint for a word of another language, if it is one.
pub(super) fn foreign(input: Input<'_>, error: Error) -> Error {
    match input.token() {
        Token::Word(word) => match foreign_word(word) {
            Some(hint) => error.hint(hint),
            None => error,
        },
        _ => error,
    }
}

/// What follows an operand is neither an operator nor the end of the group.
pub(super) fn after_operand(input: Input<'_>, close: Symbol) -> Error {
    let error = expected_found(input, &format!("an operator or `{close}`"))
        .expecting(["an operator", close.text()]);
    match input.token() {
        Token::End => error.hint(match close {
            Symbol::CloseBrace => "close the filter with `}`",
            _ => "close the parenthesis with `)`",
        }),
        Token::Word(word) => {
            let hint = foreign_word(word).map(str::to_owned).or_else(|| stray_word(input, word));
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
        Token::Symbol(Symbol::Comma) => error.hint("combine conditions with `&&` or `||`"),
        Token::Symbol(Symbol::Pipe) => match input.nth(1).token {
            Token::Keyword(_) | Token::Symbol(_) => {
                error.hint("close the filter with `}` before the next stage")
            }
            _ => error.hint("for \"or\" write `||`"),
        },
        Token::Symbol(Symbol::Not) => error.hint("for \"not equal\" write `!=` without white space"),
        Token::Symbol(Symbol::OpenBrace) => error.hint("close this filter before the next begins"),
        Token::Symbol(symbol) if SpansetOp::of(*symbol).is_some() => {
            error.hint("structural operators stand between filters: `{ … } >> { … }`")
        }
        Token::Attribute(_) if input.byte_before().is_some_and(|b| !b.is_ascii_whitespace()) => error
            .hint("an intrinsic has no parts; for an attribute with dots in its name begin with a scope: `span.name.part`"),
        Token::Attribute(_) => error.hint("combine conditions with `&&` or `||`"),
        Token::Keyword(_) if matches!(input.before(), Token::Attribute(_)) => {
            error.hint("a name with white space needs quotes: `span.\"a name\"`")
        }
        Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::Keyword(_) => {
            error.hint("an operator is missing between the two")
        }
        _ => error,
    }
}

/// A word after an operand: the rest of a unit, or of a name.
fn stray_word(input: Input<'_>, word: &str) -> Option<String> {
    match input.before() {
        Token::Int(value)
            if matches!(word, "s" | "ms" | "us" | "ns" | "m" | "h" | "d" | "w" | "y") =>
        {
            Some(format!("a duration has no white space: write `{value}{word}`"))
        }
        Token::Int(_) | Token::Float(_) | Token::Duration(_) => Some(
            "units are `ns`, `us`, `ms`, `s`, `m`, `h`, and for whole numbers `d`, `w`, `y`"
                .to_owned(),
        ),
        Token::Attribute(_) => {
            Some("a name with white space needs quotes: `span.\"a name\"`".to_owned())
        }
        _ => None,
    }
}

/// Two operators in a row that are one in other languages.
pub(super) fn check_doubled_operator(input: Input<'_>) -> Result<(), nom::Err<Problem>> {
    if !input.is_adjacent(1) {
        return Ok(());
    }
    let (Some(first), Token::Symbol(second)) = (input.symbol(), &input.nth(1).token) else {
        return Ok(());
    };
    let instead = match (first, second) {
        (Symbol::Equal, Symbol::Equal | Symbol::Match) => "=",
        (Symbol::Equal, Symbol::Greater) => ">=",
        (Symbol::Equal, Symbol::Less) => "<=",
        (Symbol::NotEqual, Symbol::Equal) => "!=",
        (Symbol::Less, Symbol::Greater) => "!=",
        (Symbol::Star, Symbol::Star) => "^",
        _ => return Ok(()),
    };
    let range = input.range().cover(input.nth(1).range);
    Err(fail(
        Error::parse(range, format!("`{first}{second}` is not an operator"))
            .expecting([instead])
            .hint(format!("write `{instead}`")),
    ))
}

/// `scope:` with a word that the scope does not have.
pub(super) fn scoped_intrinsic(scope: Scope, input: Input<'_>) -> Error {
    let words: Vec<&str> = SCOPED_INTRINSICS
        .iter()
        .filter(|entry| entry.0 == scope)
        .map(|entry| entry.1.text())
        .collect();
    let error = match input.token() {
        Token::Word(_) | Token::Keyword(_) => {
            Error::parse(input.range(), format!("`{scope}:` has no intrinsic {}", input.found()))
        }
        _ => expected_found(input, &format!("an intrinsic after `{scope}:`")),
    };
    let text = input.text(input.range());
    let near = near(text, words.iter().copied())
        .or_else(|| near_prefixed(text, &words))
        .map(|word| format!("did you mean `{scope}:{word}`?"));
    let bare = input
        .keyword()
        .and_then(intrinsic_word)
        .map(|intrinsic| format!("`{}` stands without a scope", intrinsic.name()));
    let mut error = error.expecting(words.iter().map(|word| format!("{scope}:{word}")));
    error.hints.extend(near.or(bare));
    if error.hints.is_empty() {
        let all: Vec<String> = words.iter().map(|word| format!("`{scope}:{word}`")).collect();
        error = error.hint(format!("there are {}", all.join(", ")));
    }
    error
}

/// The word that is the beginning of another or the other way round: `rootServiceName` and
/// `rootService`.
fn near_prefixed<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    words
        .iter()
        .find(|word| {
            let word = word.to_ascii_lowercase();
            word.len() > 1 && (lower.starts_with(&word) || lower.ends_with(&word))
        })
        .copied()
}

/// The candidate that a word is a misspelling of: other case, or an edit or two away.
pub(crate) fn near<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let allowed = match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    candidates
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, exchange neighbours) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edited = (table[(i - 1) * width + j] + 1).min(table[i * width + j - 1] + 1);
                let exchanged = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    table[(i - 2) * width + j - 2] + 1
                } else {
                    usize::MAX
                };
                replaced.min(edited).min(exchanged)
            };
        }
    }
    table[a.len() * width + b.len()]
}

/// Whether an attribute by its usual name belongs to resources.
pub(crate) fn is_resource_attribute(name: &str) -> bool {
    const PREFIXES: [&str; 9] = [
        "service.",
        "k8s.",
        "host.",
        "process.",
        "cloud.",
        "telemetry.",
        "deployment.",
        "container.",
        "os.",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A word short enough for a message.
fn clipped(word: &str) -> String {
    const LONGEST: usize = 60;
    if word.chars().count() <= LONGEST {
        return word.to_owned();
    }
    let mut clipped: String = word.chars().take(LONGEST).collect();
    clipped.push('…');
    clipped
}
