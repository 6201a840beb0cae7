//! Queries that are still being typed, and queries that may only filter (`traceql.md` section 10).
//! Completion of tag names and values asks for spans that fit the rest of the query; the endpoint of
//! one trace takes a filter of its spans.

use crate::analyze::ir::{
    Field, FieldExpr, FieldName, Intrinsic, SpansetExpr, Stage, Static, TypedQuery,
};
use crate::dialect::Dialect;
use crate::error::{Error, ErrorKind};
use crate::lexer::{self, Token};
use crate::range::TextRange;
use crate::token::Symbol;

/// The filter of a query that may be unfinished, or nothing if it narrows nothing or cannot be
/// understood. A comparison whose right side is not written yet is left out, open braces are closed,
/// and whatever follows the first `|` does not matter.
#[must_use]
pub fn lenient_filter(text: &str) -> Option<FieldExpr> {
    let filter = crate::compile(text, Dialect::Default)
        .or_else(|_| crate::compile(&completed(text), Dialect::Default))
        .ok()
        .and_then(|query| first_filter(&query).cloned())?;
    (filter != FieldExpr::Static(Static::Bool(true))).then_some(filter)
}

/// The first stage of a query, if it is a single filter.
fn first_filter(query: &TypedQuery) -> Option<&FieldExpr> {
    match query.pipeline.stages.first() {
        Some(Stage::Spanset(SpansetExpr::Filter(filter))) => Some(filter),
        _ => None,
    }
}

/// The part before the first pipe, with unfinished comparisons replaced by `true` and open braces
/// and parentheses closed.
fn completed(text: &str) -> String {
    if crate::parser::check_size(text).is_err() {
        return String::new();
    }
    let tokens = lexer::tokens(text, Dialect::Default);
    let tokens: Vec<(&Token, TextRange)> = tokens
        .iter()
        .take_while(|lexed| {
            // A string that is still being typed swallows what follows.
            let is_open = matches!(lexed.token, Token::Bad(_))
                && matches!(lexed.range.of(text), "\"" | "`" | "/*");
            !is_open && !matches!(lexed.token, Token::Symbol(Symbol::Pipe) | Token::End)
        })
        .filter(|lexed| !matches!(lexed.token, Token::Bad(_)))
        .map(|lexed| (&lexed.token, lexed.range))
        .collect();
    let mut completed = String::with_capacity(text.len() + 8);
    let mut open = Vec::new();
    let mut at = 0;
    while let Some((token, range)) = tokens.get(at) {
        let len = field_len(&tokens[at..]);
        if len > 0 && is_unfinished(&tokens[at + len..]) {
            completed.push_str("true ");
            at += len + 1;
            continue;
        }
        match token {
            Token::Symbol(Symbol::OpenBrace) => open.push('}'),
            Token::Symbol(Symbol::OpenParen) => open.push(')'),
            Token::Symbol(Symbol::CloseBrace | Symbol::CloseParen) => {
                open.pop();
            }
            _ => {}
        }
        completed.push_str(range.of(text));
        // A scope keeps its word, everything else is kept apart.
        if !matches!(token, Token::ScopeColon(_)) {
            completed.push(' ');
        }
        at += 1;
    }
    completed.extend(open.into_iter().rev());
    completed
}

/// How many tokens the field at the beginning takes, none if there is none.
fn field_len(tokens: &[(&Token, TextRange)]) -> usize {
    match tokens.first() {
        Some((Token::Attribute(_), _)) => 1,
        Some((Token::Keyword(word), _))
            if crate::parser::field::intrinsic_word(*word).is_some() =>
        {
            1
        }
        Some((Token::ScopeColon(_), _))
            if matches!(tokens.get(1), Some((Token::Keyword(_), _))) =>
        {
            2
        }
        _ => 0,
    }
}

/// Whether a comparison follows that compares with nothing.
fn is_unfinished(tokens: &[(&Token, TextRange)]) -> bool {
    let is_comparison = matches!(
        tokens.first(),
        Some((
            Token::Symbol(
                Symbol::Equal
                    | Symbol::NotEqual
                    | Symbol::Match
                    | Symbol::NotMatch
                    | Symbol::Less
                    | Symbol::LessEqual
                    | Symbol::Greater
                    | Symbol::GreaterEqual
            ),
            _
        ))
    );
    let is_cut_off = matches!(
        tokens.get(1),
        None | Some((
            Token::Symbol(Symbol::CloseBrace | Symbol::CloseParen | Symbol::And | Symbol::Or),
            _
        ))
    );
    is_comparison && is_cut_off
}

impl TypedQuery {
    /// The filter of a query that is asked of the spans of one trace: exactly one filter, no
    /// pipeline, no metrics, and nothing that needs the rest of the trace.
    ///
    /// # Errors
    /// If the query is anything else.
    pub fn span_filter(&self) -> Result<&FieldExpr, Error> {
        let refused = |message: String| {
            Error::new(ErrorKind::Unsupported, TextRange::default(), message)
                .hint("one filter is taken here: `{ status = error }`")
        };
        let filter = match self.pipeline.stages.as_slice() {
            [Stage::Spanset(SpansetExpr::Filter(filter))]
                if self.metrics.is_none() && self.order_by.is_empty() && self.limit.is_none() =>
            {
                filter
            }
            _ => {
                return Err(refused(
                    "only a single filter can select spans of one trace".to_owned(),
                ));
            }
        };
        match filter.fields().find(|field| needs_the_trace(field)) {
            Some(field) => Err(refused(format!("`{field}` cannot select spans of one trace"))),
            None => Ok(filter),
        }
    }
}

/// Whether a field cannot be told from one span alone.
fn needs_the_trace(field: &Field) -> bool {
    !field.is_own()
        || field.name == FieldName::Parent
        || field.is_of_trace()
        || matches!(
            field.name,
            FieldName::Intrinsic(
                Intrinsic::SpanChildCount
                    | Intrinsic::Gap
                    | Intrinsic::NestedSetLeft
                    | Intrinsic::NestedSetRight
                    | Intrinsic::NestedSetParent
            )
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        lenient_filter(text)?;
        let strict = crate::parse(text, Dialect::Default);
        let query = strict.or_else(|_| crate::parse(&completed(text), Dialect::Default)).unwrap();
        Some(query.to_string())
    }

    #[test]
    fn unfinished_comparisons_are_left_out() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(canonical(text).as_deref(), expect, "{text}");
        };
        check("{ .a = 1 && .b = }", Some("{ (.a = 1) && true }"));
        check("{ .a = 1 && .b =", Some("{ (.a = 1) && true }"));
        check(
            "{ span:name = `x` && resource.service.name =~ && .c > 2",
            Some("{ ((name = `x`) && true) && (.c > 2) }"),
        );
        check(
            "{ (.a = 1 || name = ) && status = error",
            Some("{ ((.a = 1) || true) && (status = error) }"),
        );
        check("{ .a = 1 && span:name != } | count() >", Some("{ (.a = 1) && true }"));
        check("{ .a = 1 && .b = \"unterm", Some("{ (.a = 1) && true }"));
        check("{ .a = 1 && .b = \"x y\" && .c = `", Some("{ ((.a = 1) && (.b = `x y`)) && true }"));
        check("{ name = `x` && .b = 'x' }", Some("{ (name = `x`) && true }"));
    }

    #[test]
    fn what_narrows_nothing_is_no_filter() {
        for text in [
            "",
            "{",
            "{ }",
            "{ true }",
            "{ .a = }",
            "{ .a = 1 } >> { }",
            "nonsense",
            "by(.a)",
            "{ 1 }",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn a_pipeline_counts_by_its_first_filter() {
        assert_eq!(
            lenient_filter("{ .a = 1 } | count() > 2 | { .b = 2 }"),
            lenient_filter("{ .a = 1 }")
        );
        assert!(lenient_filter("{ .a = 1 }").is_some());
    }

    #[test]
    fn one_trace_takes_one_plain_filter() {
        let check = |text: &str| {
            crate::compile(text, Dialect::Default)
                .unwrap()
                .span_filter()
                .map(|_| ())
                .map_err(|e| e.message)
        };
        assert_eq!(check("{ .a = 1 && event:name = `x` }"), Ok(()));
        for text in [
            "{ .a } | count() > 1",
            "{ .a } && { .b }",
            "{ } | rate()",
            "count() > 1",
            "{ .a } | limit(1)",
            "{ .a } | order_by(name)",
        ] {
            assert_eq!(
                check(text),
                Err("only a single filter can select spans of one trace".to_owned()),
                "{text}"
            );
        }
        for (text, field) in [
            ("{ rootName = `x` }", "rootName"),
            ("{ trace:duration > 1s }", "traceDuration"),
            ("{ nestedSetParent = -1 }", "nestedSetParent"),
            ("{ span:childCount = 0 }", "span:childCount"),
            ("{ parent.name = `x` }", "parent.name"),
            ("{ root.name = `x` }", "root.name"),
            ("{ span:gap > 1s }", "span:gap"),
        ] {
            assert_eq!(check(text), Err(format!("`{field}` cannot select spans of one trace")));
        }
    }
}
