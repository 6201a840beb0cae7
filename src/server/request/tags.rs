//! The older search by tags, `tags=service.name=cart http.status_code=500`, turned into
//! TraceQL: one spanset per pair, all of which a trace must have.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{BadRequest, Result};

/// Attributes whose value the pair's value need only be a part of, as in Tempo, which keeps them
/// in columns of their own.
const MATCHED_IN_PART: [&str; 12] = [
    "cluster",
    "container",
    "http.method",
    "http.url",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "namespace",
    "pod",
    "service.name",
    "service.namespace",
];

/// What an older search asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TagSearch {
    /// Pairs of key and value, each of which some span of the trace must have.
    pub(crate) pairs: Vec<(String, String)>,
    /// Shortest trace wanted.
    pub(crate) min_duration: Option<Duration>,
    /// Longest trace wanted.
    pub(crate) max_duration: Option<Duration>,
}

impl TagSearch {
    /// The same as a query.
    pub(crate) fn query(&self) -> String {
        let durations = [(self.min_duration, ">="), (self.max_duration, "<=")];
        let durations = durations.into_iter().filter_map(|(duration, op)| {
            Some(format!("traceDuration {op} {}ns", duration?.as_nanos()))
        });
        let conditions = self.pairs.iter().map(|(key, value)| condition(key, value));
        let spansets: Vec<String> =
            conditions.chain(durations).map(|condition| format!("{{ {condition} }}")).collect();
        if spansets.is_empty() { "{ }".to_owned() } else { spansets.join(" && ") }
    }
}

/// Reads `key=value` pairs with white space between; a value may stand in double quotes.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, tail) = rest.split_at(end);
        if key.is_empty() {
            return Err(BadRequest::new(format!("invalid tags: no key before {tail:?}")));
        }
        if !seen.insert(key) {
            return Err(BadRequest::new(format!("invalid tags: tag {key} has been set twice")));
        }
        let (value, tail) = match tail.strip_prefix('=') {
            Some(tail) => value(tail)?,
            None => (String::new(), tail),
        };
        pairs.push((key.to_owned(), value));
        rest = tail.trim_start();
    }
    Ok(pairs)
}

fn value(text: &str) -> Result<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(BadRequest::new(format!("invalid tags: unterminated quoted value {text:?}")))
}

fn condition(key: &str, value: &str) -> String {
    match (key, value) {
        ("status.code", "unset" | "ok" | "error") => format!("status = {value}"),
        ("status.code", _) => "false".to_owned(),
        ("error", "true") => "status = error".to_owned(),
        ("name", _) => contains("name", value),
        ("root.name", _) => contains("rootName", value),
        ("root.service.name", _) => contains("rootServiceName", value),
        _ if MATCHED_IN_PART.contains(&key) => contains(&attribute(key), value),
        _ => {
            // The pair has no type, so the value may be any that reads like it.
            let attribute = attribute(key);
            let number = match (value.parse::<i64>(), value.parse::<f64>()) {
                (Ok(int), _) => Some(int.to_string()),
                (_, Ok(float)) if float.is_finite() => Some(format!("{float:?}")),
                _ => None,
            };
            let truth = value.parse::<bool>().ok().map(|truth| truth.to_string());
            let values = [Some(quoted(value)), number, truth].into_iter().flatten();
            let equal: Vec<String> = values.map(|value| format!("{attribute} = {value}")).collect();
            equal.join(" || ")
        }
    }
}

fn contains(field: &str, value: &str) -> String {
    let mut pattern = String::from(".*");
    for c in value.chars() {
        if c.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push_str(".*");
    format!("{field} =~ {}", quoted(&pattern))
}

/// An attribute of any name, looked for in span and resource.
fn attribute(key: &str) -> String {
    format!(".\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A string literal.
fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c if c.is_control() => literal.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_logfmt() {
        let expected =
            [("a", "b"), ("c.d-e", "two words"), ("f", "say \"x\""), ("g", ""), ("h", "")];
        let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(pairs(r#" a=b c.d-e="two words" f="say \"x\"" g= h "#), Ok(expected));
        assert_eq!(pairs(""), Ok(Vec::new()));
        assert_eq!(pairs("a=b a=c").unwrap_err().0, "invalid tags: tag a has been set twice");
        assert!(pairs("=b").is_err());
        assert!(pairs("a=\"b").is_err());
    }

    fn query(text: &str) -> String {
        let search = TagSearch { pairs: pairs(text).unwrap(), ..TagSearch::default() };
        let query = search.query();
        traceql_language::compile(&query, traceql_language::Dialect::Default).unwrap();
        query
    }

    #[test]
    fn each_pair_is_a_spanset_of_its_own() {
        assert_eq!(query(""), "{ }");
        assert_eq!(
            query("vulture-0=x service.name=car.t"),
            r#"{ ."vulture-0" = "x" } && { ."service.name" =~ ".*car\\.t.*" }"#
        );
        assert_eq!(query("error=true status.code=x"), "{ status = error } && { false }");
        let search = TagSearch {
            pairs: Vec::new(),
            min_duration: Some(Duration::from_millis(10)),
            max_duration: Some(Duration::from_secs(1)),
        };
        assert_eq!(
            search.query(),
            "{ traceDuration >= 10000000ns } && { traceDuration <= 1000000000ns }"
        );
    }

    #[test]
    fn a_value_matches_every_type_it_reads_as() {
        assert_eq!(query("n=5"), r#"{ ."n" = "5" || ."n" = 5 }"#);
        assert_eq!(query("n=-1e3"), r#"{ ."n" = "-1e3" || ."n" = -1000.0 }"#);
        assert_eq!(query("n=true"), r#"{ ."n" = "true" || ."n" = true }"#);
        assert_eq!(query("n=inf"), r#"{ ."n" = "inf" }"#);
    }

    #[test]
    fn nothing_escapes_its_quotes() {
        assert_eq!(query(r#"a"b=c"#), r#"{ ."a\"b" = "c" }"#);
        assert_eq!(query(r#"a="\"} | x\\""#), r#"{ ."a" = "\"} | x\\" }"#);
        assert_eq!(query("a=\u{1}"), r#"{ ."a" = "\u0001" }"#);
    }
}
