//! What an editor asks of a text that is being typed: how its tokens are to be coloured, whether it
//! is complete, and what could be written at the cursor. Knows no data: names and values of
//! attributes come from whoever asks.

use crate::analyze::ir::AggregateFunction;
use crate::dialect::Dialect;
use crate::lexer::{self, Lexed, Token};
use crate::parser::field::{SUBJECT_INTRINSICS, intrinsic_word};
use crate::range::TextRange;
use crate::token::{Keyword, Scope, Symbol, begins_word, ends_name};

/// What a token is, for colouring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenClass {
    /// A stage, an aggregate, a metrics function.
    Function,
    /// `duration`, `status`, `span:id`.
    Intrinsic,
    /// An attribute with its scope.
    Attribute,
    /// A number or a duration.
    Number,
    /// A quoted text.
    Text,
    /// `true`, `nil`, `error`, `server`.
    Constant,
    /// An operator or a pipe.
    Operator,
    /// Braces, parentheses, commas.
    Punctuation,
    /// Any other word.
    Word,
    /// No token of the language.
    Bad,
}

/// The tokens of a text in order. What lies between them is white space or a comment.
#[must_use]
pub fn classes(text: &str) -> Vec<(TextRange, TokenClass)> {
    let tokens = lexer::tokens(text, Dialect::Default);
    let mut classes = Vec::with_capacity(tokens.len());
    let mut after_scope = false;
    for Lexed { token, range } in &tokens {
        let class = match token {
            Token::End => break,
            Token::Symbol(symbol) => class_of_symbol(*symbol),
            Token::Keyword(_) if after_scope => TokenClass::Intrinsic,
            Token::Keyword(word) => class_of_word(*word),
            Token::Word(_) => TokenClass::Word,
            Token::Int(_) | Token::Float(_) | Token::Duration(_) => TokenClass::Number,
            Token::Text(_) => TokenClass::Text,
            Token::Attribute(_) => TokenClass::Attribute,
            Token::ScopeColon(_) => TokenClass::Intrinsic,
            // An open quote swallows the rest of what was typed.
            Token::Bad(_) if is_quote(range.of(text)) => {
                classes.push((TextRange::new(range.start as usize, text.len()), TokenClass::Text));
                break;
            }
            Token::Bad(_) => TokenClass::Bad,
        };
        after_scope = matches!(token, Token::ScopeColon(_));
        classes.push((*range, class));
    }
    classes
}

fn class_of_symbol(symbol: Symbol) -> TokenClass {
    match symbol {
        Symbol::OpenBrace
        | Symbol::CloseBrace
        | Symbol::OpenParen
        | Symbol::CloseParen
        | Symbol::Comma => TokenClass::Punctuation,
        _ => TokenClass::Operator,
    }
}

fn class_of_word(word: Keyword) -> TokenClass {
    if intrinsic_word(word).is_some() {
        return TokenClass::Intrinsic;
    }
    match word {
        Keyword::True
        | Keyword::False
        | Keyword::Nil
        | Keyword::MinInt
        | Keyword::MaxInt
        | Keyword::Ok
        | Keyword::Error
        | Keyword::Unset
        | Keyword::Unspecified
        | Keyword::Internal
        | Keyword::Server
        | Keyword::Client
        | Keyword::Producer
        | Keyword::Consumer
        | Keyword::Ascending
        | Keyword::Descending => TokenClass::Constant,
        word if is_stage(word) || is_aggregate(word) || word == Keyword::With => {
            TokenClass::Function
        }
        _ => TokenClass::Word,
    }
}

/// Whether a text can be run, as far as brackets, quotes and what stands last tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It may be run; it may yet be wrong.
    Complete,
    /// Something is open: a brace, a parenthesis, a quote, a comment.
    Open,
    /// It ends in an operator or a pipe, to which more belongs.
    Unfinished,
}

/// Whether a text can be run.
#[must_use]
pub fn completeness(text: &str) -> Completeness {
    let tokens = lexer::tokens(text, Dialect::Default);
    let mut depth = 0_i64;
    let mut last = None;
    for Lexed { token, range } in &tokens {
        match token {
            Token::Symbol(Symbol::OpenBrace | Symbol::OpenParen) => depth += 1,
            Token::Symbol(Symbol::CloseBrace | Symbol::CloseParen) => depth -= 1,
            Token::Bad(_) if is_quote(range.of(text)) || range.of(text) == "/*" => {
                return Completeness::Open;
            }
            Token::End => continue,
            _ => {}
        }
        last = Some(token);
    }
    if depth > 0 {
        return Completeness::Open;
    }
    match last {
        Some(Token::Symbol(symbol)) if class_of_symbol(*symbol) == TokenClass::Operator => {
            Completeness::Unfinished
        }
        _ => Completeness::Complete,
    }
}

/// What could be written at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What has been typed of it, to be replaced.
    pub range: TextRange,
    /// What it would be.
    pub wanted: Wanted,
}

/// What a place in a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An attribute or an intrinsic.
    Field,
    /// A value of this field, written as it stands in the query.
    Value {
        /// The field.
        field: String,
        /// The quote that was typed already.
        quote: Option<char>,
    },
    /// What follows a pipe: a stage or a metrics function.
    Stage,
    /// A spanset: `{`.
    Spanset,
    /// A hint inside `with(…)`.
    Hint,
    /// An operator or the end.
    Operator,
    /// Nothing that can be listed: a number, the inside of a comment.
    Nothing,
}

/// What stands around a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Filter,
    /// A list of fields: `by(…)`, `select(…)`, `order_by(…)`, the argument of an aggregate.
    Fields,
    Hints,
    /// Parentheses around pipelines.
    Pipelines,
    /// Numbers: `topk(…)`, `limit(…)`.
    Numbers,
}

/// What could be written at the end of `before`, the text in front of the cursor.
#[must_use]
pub fn completion(before: &str) -> Completion {
    let mut tokens = lexer::tokens(before, Dialect::Default);
    tokens.pop();
    if let Some(at) = tokens
        .iter()
        .position(|lexed| matches!(lexed.token, Token::Bad(_)) && is_quote(lexed.range.of(before)))
    {
        let start = tokens[at].range.start as usize;
        let quote = before[start..].chars().next();
        let range = TextRange::new(start, before.len());
        let wanted = match wanted_after(before, &tokens[..at]) {
            Wanted::Value { field, .. } => Wanted::Value { field, quote },
            _ => Wanted::Nothing,
        };
        return Completion { range, wanted };
    }
    let start = typed_from(before);
    tokens.retain(|lexed| lexed.range.end as usize <= start);
    let range = TextRange::new(start, before.len());
    Completion { range, wanted: wanted_after(before, &tokens) }
}

/// Where the word at the end begins; the end itself if there is none. Names are cut where the lexer
/// cuts them, but a scope whose name is still to come is a word too.
fn typed_from(before: &str) -> usize {
    let ends = |c: char| ends_name(c) || matches!(c, '"' | '`');
    let start = before.char_indices().rev().take_while(|(_, c)| !ends(*c)).last();
    match start {
        Some((start, first)) if begins_word(first) || first == '.' => start,
        _ => before.len(),
    }
}

/// What may follow these tokens.
fn wanted_after(text: &str, tokens: &[Lexed]) -> Wanted {
    let mut inside: Vec<Inside> = Vec::new();
    let mut before: Option<&Token> = None;
    for Lexed { token, .. } in tokens {
        match token {
            Token::Symbol(Symbol::OpenBrace) => inside.push(Inside::Filter),
            Token::Symbol(Symbol::OpenParen) => {
                let of = match before {
                    Some(Token::Keyword(word)) => of_arguments(*word),
                    _ => inside.last().copied().unwrap_or(Inside::Pipelines),
                };
                inside.push(of);
            }
            Token::Symbol(Symbol::CloseBrace | Symbol::CloseParen) => {
                inside.pop();
            }
            _ => {}
        }
        before = Some(token);
    }
    let begins = match before {
        None | Some(Token::Keyword(Keyword::Not)) => true,
        Some(Token::Symbol(symbol)) => {
            !matches!(symbol, Symbol::CloseBrace | Symbol::CloseParen | Symbol::Pipe)
        }
        _ => false,
    };
    match inside.last() {
        None | Some(Inside::Pipelines) => match before {
            Some(Token::Symbol(Symbol::Pipe)) => Wanted::Stage,
            _ if begins => Wanted::Spanset,
            _ => Wanted::Operator,
        },
        Some(Inside::Filter) => match before {
            Some(Token::Symbol(symbol)) if is_comparison(*symbol) => {
                match field_before(text, &tokens[..tokens.len() - 1]) {
                    Some(field) => Wanted::Value { field, quote: None },
                    None => Wanted::Field,
                }
            }
            _ if begins => Wanted::Field,
            _ => Wanted::Operator,
        },
        Some(Inside::Fields) if begins => Wanted::Field,
        Some(Inside::Hints) => match before {
            Some(Token::Symbol(Symbol::OpenParen | Symbol::Comma)) => Wanted::Hint,
            _ => Wanted::Nothing,
        },
        Some(Inside::Fields | Inside::Numbers) => Wanted::Nothing,
    }
}

/// What the parentheses after a word hold.
fn of_arguments(word: Keyword) -> Inside {
    match word {
        Keyword::With => Inside::Hints,
        Keyword::TopK | Keyword::BottomK | Keyword::Limit => Inside::Numbers,
        Keyword::Compare | Keyword::Not => Inside::Pipelines,
        _ => Inside::Fields,
    }
}

/// The field that tokens end with, as written.
fn field_before(text: &str, tokens: &[Lexed]) -> Option<String> {
    let written = |from: &Lexed, to: &Lexed| {
        text[from.range.start as usize..to.range.end as usize].to_owned()
    };
    match tokens {
        [.., Lexed { token: Token::ScopeColon(_), range }, last] => {
            Some(text[range.start as usize..last.range.end as usize].to_owned())
        }
        [.., last @ Lexed { token: Token::Attribute(_), .. }] => Some(written(last, last)),
        [.., last @ Lexed { token: Token::Keyword(word), .. }]
            if intrinsic_word(*word).is_some() =>
        {
            Some(written(last, last))
        }
        _ => None,
    }
}

fn is_comparison(symbol: Symbol) -> bool {
    matches!(
        symbol,
        Symbol::Equal
            | Symbol::NotEqual
            | Symbol::Match
            | Symbol::NotMatch
            | Symbol::Less
            | Symbol::LessEqual
            | Symbol::Greater
            | Symbol::GreaterEqual
    )
}

fn is_quote(text: &str) -> bool {
    text == "\"" || text == "`"
}

/// Words that may follow a pipe, as they are typed.
pub fn stages() -> impl Iterator<Item = &'static str> {
    Keyword::ALL.iter().filter(|word| is_stage(**word) || is_aggregate(**word)).map(|w| w.text())
}

fn is_stage(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::By
            | Keyword::Coalesce
            | Keyword::Select
            | Keyword::Not
            | Keyword::OrderBy
            | Keyword::Limit
            | Keyword::Rate
            | Keyword::CountOverTime
            | Keyword::MinOverTime
            | Keyword::MaxOverTime
            | Keyword::AvgOverTime
            | Keyword::SumOverTime
            | Keyword::QuantileOverTime
            | Keyword::HistogramOverTime
            | Keyword::Compare
            | Keyword::TopK
            | Keyword::BottomK
    )
}

fn is_aggregate(word: Keyword) -> bool {
    AggregateFunction::of(word).is_some()
}

/// Intrinsics, bare and scoped, as a query writes them.
#[must_use]
pub fn intrinsics() -> Vec<String> {
    let bare = Keyword::ALL.iter().filter(|word| intrinsic_word(**word).is_some());
    let mut names: Vec<String> = bare.map(|word| word.text().to_owned()).collect();
    for scope in Scope::ALL.iter().filter(|scope| scope.has_intrinsics()) {
        for word in Keyword::ALL {
            let name = format!("{}:{}", scope.text(), word.text());
            if crate::compile(&format!("{{ {name} != nil }}"), Dialect::Default).is_ok() {
                names.push(name);
            }
        }
    }
    names
}

/// Fields of the parent and of the root that a word may become, given the attributes that spans have:
/// `root.` of `ro`, `root.name` and `root.resource.service.name` of `root.`.
#[must_use]
pub fn fields_of_others(typed: &str, attributes: &[String]) -> Vec<String> {
    let scopes = [Scope::Parent, Scope::Root].map(|scope| format!("{scope}."));
    let Some(scope) = scopes.iter().find(|scope| typed.starts_with(*scope)) else {
        return scopes.to_vec();
    };
    let intrinsics = SUBJECT_INTRINSICS.iter().map(|intrinsic| intrinsic.name());
    let is_reached = |name: &&str| name.starts_with("span.") || name.starts_with("resource.");
    let attributes = attributes.iter().map(String::as_str).filter(is_reached);
    intrinsics.chain(attributes).map(|name| format!("{scope}{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cursor is at the end; `typed` is what there is of what is wanted.
    fn check(text: &str, typed: &str, wanted: Wanted) {
        let completion = completion(text);
        assert_eq!((completion.range.of(text), completion.wanted), (typed, wanted), "{text:?}");
    }

    fn value(field: &str, quote: Option<char>) -> Wanted {
        Wanted::Value { field: field.to_owned(), quote }
    }

    #[test]
    fn fields_are_wanted_in_filters() {
        check("{", "", Wanted::Field);
        check("{ ", "", Wanted::Field);
        check("{ sta", "sta", Wanted::Field);
        check("{ span.", "span.", Wanted::Field);
        check("{ span.http.ro", "span.http.ro", Wanted::Field);
        check("{ .http", ".http", Wanted::Field);
        check("{ span:", "span:", Wanted::Field);
        check("{ span:chi", "span:chi", Wanted::Field);
        check("{ parent.span.x", "parent.span.x", Wanted::Field);
        check("{ status = error && re", "re", Wanted::Field);
        check("{ !(na", "na", Wanted::Field);
        check("{ } | by(resource.se", "resource.se", Wanted::Field);
        check("{ } | select(name, span.", "span.", Wanted::Field);
        check("{ } | avg(dur", "dur", Wanted::Field);
        check("{ } | rate() by (", "", Wanted::Field);
    }

    #[test]
    fn fields_of_the_parent_and_the_root_are_known() {
        let names = ["span.a", "resource.b", "event.c"].map(str::to_owned);
        assert_eq!(fields_of_others("ro", &names), ["parent.", "root."]);
        let root = fields_of_others("root.", &names);
        assert!(
            root.contains(&"root.duration".to_owned()) && root.contains(&"root.span.a".to_owned())
        );
        assert_eq!(root.len(), SUBJECT_INTRINSICS.len() + 2);
        assert!(intrinsics().contains(&"span:gap".to_owned()));
    }

    #[test]
    fn values_are_wanted_after_comparisons() {
        check("{ resource.service.name = ", "", value("resource.service.name", None));
        check("{ resource.service.name=\"che", "\"che", value("resource.service.name", Some('"')));
        check("{ name =~ `GET ", "`GET ", value("name", Some('`')));
        check("{ status = er", "er", value("status", None));
        check("{ span:kind = ", "", value("span:kind", None));
        check("{ .a = 1 && span.b != tr", "tr", value("span.b", None));
        check("{ 5 = ", "", Wanted::Field);
    }

    #[test]
    fn stages_are_wanted_after_pipes() {
        check("{ } | ", "", Wanted::Stage);
        check("{ } | cou", "cou", Wanted::Stage);
        check("({ } | count() > 3) | ", "", Wanted::Stage);
        check("", "", Wanted::Spanset);
        check("{ } >> ", "", Wanted::Spanset);
        check("{ } | compare(", "", Wanted::Spanset);
        check("{ } && not ", "", Wanted::Spanset);
        check("{ } | order_by(", "", Wanted::Field);
        check("{ } | order_by(root.", "root.", Wanted::Field);
        check("{ } | order_by(duration, ", "", Wanted::Field);
        check("{ } | limit(", "", Wanted::Nothing);
        check("{ } ", "", Wanted::Operator);
        check("{ } | topk(", "", Wanted::Nothing);
        check("{ } | rate() with(", "", Wanted::Hint);
        check("{ } | rate() with(exe", "exe", Wanted::Hint);
        check("{ } | rate() with(exemplars=", "", Wanted::Nothing);
        check("{ duration > 1", "", Wanted::Operator);
        check("{ name ", "", Wanted::Operator);
    }

    #[test]
    fn a_text_is_complete_or_it_is_not() {
        for (text, expected) in [
            ("{ }", Completeness::Complete),
            ("{ status = error", Completeness::Open),
            ("{ name = \"a", Completeness::Open),
            ("{ name = `a\nb", Completeness::Open),
            ("/* why", Completeness::Open),
            ("{ } |", Completeness::Unfinished),
            ("{ } && ", Completeness::Unfinished),
            ("{ } | count() >", Completeness::Unfinished),
            ("{ } }", Completeness::Complete),
            ("nonsense", Completeness::Complete),
            ("", Completeness::Complete),
            ("{ } | // more to come\n", Completeness::Unfinished),
        ] {
            assert_eq!(completeness(text), expected, "{text:?}");
        }
    }

    #[test]
    fn tokens_have_classes() {
        use TokenClass::*;
        let text = "{ span.a = 1 && status = error && name = \"x\" } | rate() by (span:id) #";
        let classes: Vec<TokenClass> = classes(text).into_iter().map(|(_, class)| class).collect();
        assert_eq!(
            classes,
            [
                Punctuation,
                Attribute,
                Operator,
                Number,
                Operator,
                Intrinsic,
                Operator,
                Constant,
                Operator,
                Intrinsic,
                Operator,
                Text,
                Punctuation,
                Operator,
                Function,
                Punctuation,
                Punctuation,
                Function,
                Punctuation,
                Intrinsic,
                Intrinsic,
                Punctuation,
                Bad
            ]
        );
    }

    #[test]
    fn nothing_typed_is_too_strange() {
        for text in
            ["{\"", "{ span.\"", "\u{0}", "é{ é = \"é", "{ span.é", "| | |", "))))", "{ 1s", "{ .5"]
        {
            let completion = completion(text);
            assert!(text.is_char_boundary(completion.range.start as usize), "{text:?}");
            drop((completeness(text), classes(text)));
        }
    }

    #[test]
    fn intrinsics_are_those_of_the_language() {
        let names = intrinsics();
        for name in ["duration", "rootName", "span:childCount", "trace:id", "event:name"] {
            assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
        }
        assert!(stages().any(|stage| stage == "quantile_over_time"));
    }
}
