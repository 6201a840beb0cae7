//! Queries in dashboards and alerts as Grafana stores them: objects with a `query`, whose data source
//! is a Tempo or whose `queryType` is TraceQL. Variables are replaced by letters where they are part of
//! a text; elsewhere nobody knows what they stand for.

use std::sync::LazyLock;

use regex::Regex;
use traceql_language::TextRange;

use super::{Found, Origin};
use crate::document::{Content, Node};

/// `$name`, `${name}`, `${name:format}`, `[[name]]`.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\$\{[^}]+\}|\[\[[^\]]+\]\]|\$[A-Za-z_][A-Za-z0-9_]*")
        .expect("the pattern is well formed")
});

/// All queries of a document, in the order of the text.
pub(super) fn queries(document: &Node) -> Vec<Found> {
    let mut found = Vec::new();
    walk(document, &Above { is_tempo: false, title: "" }, &mut found);
    found
}

/// What an object takes over from those around it.
struct Above<'a> {
    is_tempo: bool,
    title: &'a str,
}

fn walk<'a>(node: &'a Node, above: &Above<'a>, found: &mut Vec<Found>) {
    match &node.content {
        Content::Scalar { .. } => {}
        Content::List(items) => items.iter().for_each(|item| walk(item, above, found)),
        Content::Map(entries) => {
            let kind = node.get("datasource").map(|source| source.get("type"));
            let is_tempo = match kind {
                Some(Some(kind)) => kind.text() == Some("tempo"),
                // A data source by its name alone, or by a variable, says nothing.
                Some(None) => false,
                None => above.is_tempo,
            };
            let title = node.get("title").and_then(Node::text).unwrap_or(above.title);
            found.extend(query(node, is_tempo, title));
            let here = Above { is_tempo, title };
            entries.iter().for_each(|(_, value)| walk(value, &here, found));
        }
    }
}

/// The query of an object that is a target.
fn query(target: &Node, is_tempo: bool, title: &str) -> Option<Found> {
    let query = target.get("query")?;
    let text = query.text()?;
    let is_traceql = match target.get("queryType").and_then(Node::text) {
        Some(kind) => kind.starts_with("traceql"),
        None => is_tempo && target.get("refId").is_some(),
    };
    // The same box of Grafana takes the id of a trace.
    let is_id = text.trim().chars().all(|c| c.is_ascii_hexdigit());
    if !is_traceql || is_id {
        return None;
    }
    let (masked, variable) = mask(text);
    let reference = target.get("refId").and_then(Node::text).unwrap_or_default();
    let owner = [title, reference].into_iter().filter(|part| !part.is_empty());
    Some(Found {
        is_masked: masked != text,
        text: masked,
        owner: owner.collect::<Vec<_>>().join(", "),
        origin: Origin::Grafana,
        node: Some(query.clone()),
        variable,
    })
}

/// The text with as many letters in place of each variable, and where one stands outside of a text.
fn mask(text: &str) -> (String, Option<TextRange>) {
    let mut masked = String::with_capacity(text.len());
    let mut outside = None;
    let mut done = 0;
    for variable in VARIABLE.find_iter(text) {
        masked.push_str(&text[done..variable.start()]);
        if !ends_in_text(&text[..variable.start()]) && outside.is_none() {
            outside = Some(TextRange::new(variable.start(), variable.end()));
        }
        masked.extend(std::iter::repeat_n('x', variable.len()));
        done = variable.end();
    }
    masked.push_str(&text[done..]);
    (masked, outside)
}

/// Whether a quote is still open at the end.
fn ends_in_text(before: &str) -> bool {
    let mut quote = None;
    let mut chars = before.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '`') => quote = Some(c),
            _ => {}
        }
    }
    quote.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_texts_become_letters() {
        let check = |text: &str, masked: &str, outside: Option<(usize, usize)>| {
            let outside = outside.map(|(start, end)| TextRange::new(start, end));
            assert_eq!(mask(text), (masked.to_owned(), outside), "{text}");
        };
        check("{ .a = \"$b\" }", "{ .a = \"xx\" }", None);
        check("{ .a =~ \"${b:regex}|[[c]]\" }", "{ .a =~ \"xxxxxxxxxx|xxxxx\" }", None);
        check("{ .a =~ \"x$\" }", "{ .a =~ \"x$\" }", None);
        check("{ .a = \"\\\"\" && $b }", "{ .a = \"\\\"\" && xx }", Some((15, 17)));
        check("{ .a = `\\` && $b }", "{ .a = `\\` && xx }", Some((14, 16)));
    }
}
