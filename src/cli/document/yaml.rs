//! YAML to the tree. The parser yields events with marks; this puts them together, bounded in depth
//! and size, with aliases resolved. One document a file; tags and merge keys are not part of it.

use std::collections::{BTreeSet, HashMap};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::{Content, MAX_DEPTH, MAX_NODES, Node, Wrong};

/// Reads the one document of a text; an empty text is an empty scalar.
pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        offsets: Offsets::of(text),
        anchors: HashMap::new(),
        n_nodes: 0,
    };
    let mut document = None;
    while let Some((event, at)) = reader.next()? {
        match event {
            Event::DocumentStart(_) if document.is_some() => {
                return Err(Wrong::at(at, "a second document begins here, where one is expected"));
            }
            Event::StreamStart
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamEnd
            | Event::Nothing => {}
            event => document = Some(reader.node(event, at, 0)?),
        }
    }
    let empty = || Node {
        content: Content::Scalar { text: String::new(), is_plain: true },
        range: text.len()..text.len(),
    };
    Ok(document.unwrap_or_else(empty))
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    offsets: Offsets,
    anchors: HashMap<usize, (Node, usize)>,
    n_nodes: usize,
}

type Range = std::ops::Range<usize>;

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Range)>, Wrong> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, self.offsets.range(span)))),
            Some(Err(error)) => Err(self.refused(&error)),
        }
    }

    fn refused(&self, error: &ScanError) -> Wrong {
        let at = self.offsets.of_mark(*error.marker());
        Wrong::at(at..at, format!("this is no YAML: {}", error.info()))
    }

    /// The node that begins with this event.
    fn node(&mut self, event: Event<'a>, at: Range, depth: usize) -> Result<Node, Wrong> {
        if depth > MAX_DEPTH {
            return Err(Wrong::at(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let before = self.n_nodes;
        self.count(1, &at)?;
        let (content, anchor, end) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                (Content::Scalar { text: text.into_owned(), is_plain }, anchor, at.end)
            }
            Event::SequenceStart(anchor, _) => {
                let (items, end) = self.list(depth)?;
                (Content::List(items), anchor, end)
            }
            Event::MappingStart(anchor, _) => {
                let (entries, end) = self.map(depth)?;
                (Content::Map(entries), anchor, end)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (node, n_nodes) =
                    known.ok_or_else(|| Wrong::at(at.clone(), "nothing bears this name"))?;
                self.count(n_nodes, &at)?;
                return Ok(node);
            }
            _ => return Err(Wrong::at(at, "expected a value")),
        };
        let node = Node { content, range: at.start..end.max(at.start) };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.n_nodes - before));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, usize), Wrong> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Some((Event::SequenceEnd, at)) => return Ok((items, at.end)),
                Some((event, at)) => items.push(self.node(event, at, depth + 1)?),
                None => return Ok((items, 0)),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<(Node, Node)>, usize), Wrong> {
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let key = match self.next()? {
                Some((Event::MappingEnd, at)) => return Ok((entries, at.end)),
                Some((event, at)) => self.node(event, at, depth + 1)?,
                None => return Ok((entries, 0)),
            };
            let Some(name) = key.text() else {
                return Err(key.wrong(format!("expected a key, found {}", key.kind())));
            };
            if !seen.insert(name.to_owned()) {
                return Err(key.wrong(format!("`{name}` stands here twice")));
            }
            let value = match self.next()? {
                Some((event, at)) => self.node(event, at, depth + 1)?,
                None => return Ok((entries, 0)),
            };
            entries.push((key, value));
        }
    }

    fn count(&mut self, n: usize, at: &Range) -> Result<(), Wrong> {
        self.n_nodes = self.n_nodes.saturating_add(n);
        if self.n_nodes > MAX_NODES {
            return Err(Wrong::at(at.clone(), format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }
}

/// Bytes of characters: marks count characters.
struct Offsets {
    /// `None` where each character is a byte.
    of_chars: Option<Vec<usize>>,
    len: usize,
}

impl Offsets {
    fn of(text: &str) -> Self {
        let of_chars = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { of_chars, len: text.len() }
    }

    fn of_mark(&self, mark: Marker) -> usize {
        match &self.of_chars {
            None => mark.index().min(self.len),
            Some(offsets) => offsets.get(mark.index()).copied().unwrap_or(self.len),
        }
    }

    fn range(&self, span: Span) -> Range {
        self.of_mark(span.start)..self.of_mark(span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.content {
            Content::Scalar { text, is_plain: true } => text.clone(),
            Content::Scalar { text, .. } => format!("{text:?}"),
            Content::List(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            Content::Map(entries) => {
                let entry =
                    |(key, value): &(Node, Node)| format!("{}: {}", shown(key), shown(value));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn documents_become_trees() {
        let check = |text: &str, expect: &str| {
            assert_eq!(parse(text).map(|node| shown(&node)), Ok(expect.to_owned()), "{text}");
        };
        check("", "");
        check("# nothing\n", "");
        check("a: 1\nb: [x, 'y']\n", "{a: 1, b: [x, \"y\"]}");
        check("a:\n- b: |\n    c\n    d\n", "{a: [{b: \"c\\nd\\n\"}]}");
        check("a: &n {b: 1}\nc: *n\n", "{a: {b: 1}, c: {b: 1}}");
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        let check = |text: &str, message: &str, start: usize| {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.message.contains(message), "{text:?}: {}", wrong.message);
            assert_eq!(wrong.range.start, start, "{text:?}: {}", wrong.message);
        };
        check("a: 1\na: 2\n", "`a` stands here twice", 5);
        check("a: 1\n---\nb: 2\n", "a second document", 5);
        check("é: 1\né: 2\n", "twice", 6);
        check("[a]: 1\n", "expected a key, found a list", 0);
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
        assert!(parse("a: [1").unwrap_err().message.starts_with("this is no YAML"));
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let of = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{of}]\n"));
        }
        assert!(parse(&text).unwrap_err().message.starts_with("more than"));
    }
}
