//! TOML to the tree. The TOML library reads the text and keeps the places.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Content, MAX_DEPTH, Node, Wrong};

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        Wrong::at(at, format!("this is no TOML: {}", error.message()))
    })?;
    let range = table.span();
    Ok(Node { content: map(table.into_inner(), 0)?, range })
}

fn map(table: DeTable<'_>, depth: usize) -> Result<Content, Wrong> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let range = key.span();
        let key = Content::Scalar { text: key.into_inner().into_owned(), is_plain: false };
        entries.push((Node { content: key, range }, node(value, depth + 1)?));
    }
    // The library sorts by key; what people wrote first is read first.
    entries.sort_by_key(|(key, _)| key.range.start);
    Ok(Content::Map(entries))
}

fn node(value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Wrong> {
    let range = value.span();
    if depth > MAX_DEPTH {
        return Err(Wrong::at(range, format!("nested deeper than {MAX_DEPTH} levels")));
    }
    let plain = |text: String| Content::Scalar { text, is_plain: true };
    let content = match value.into_inner() {
        DeValue::String(text) => Content::Scalar { text: text.into_owned(), is_plain: false },
        DeValue::Integer(number) => plain(number.to_string()),
        DeValue::Float(number) => plain(number.to_string()),
        DeValue::Boolean(value) => plain(value.to_string()),
        DeValue::Datetime(time) => plain(time.to_string()),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| node(item, depth + 1));
            Content::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => map(table, depth + 1)?,
    };
    Ok(Node { content, range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_places() {
        let text = "a = 1\n[b]\nc = \"x\\ty\"\nd = [true, 'z']\n";
        let node = parse(text).unwrap();
        let at = |node: &Node| text[node.range.clone()].to_owned();
        assert_eq!(node.get("a").map(|a| (a.text().unwrap(), at(a))), Some(("1", "1".to_owned())));
        let b = node.get("b").unwrap();
        let c = b.get("c").unwrap();
        assert_eq!((c.text(), at(c)), (Some("x\ty"), "\"x\\ty\"".to_owned()));
        let Content::List(items) = &b.get("d").unwrap().content else { panic!("{b:?}") };
        assert_eq!(items.iter().map(at).collect::<Vec<_>>(), ["true", "'z'"]);
    }

    #[test]
    fn mistakes_have_a_place() {
        assert_eq!(parse("a = 1\nb = \n").unwrap_err().range.start, 10);
        assert!(parse("a = 1\na = 2\n").is_err());
        let deep = format!("a = {}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(parse(&deep).is_err());
    }
}
