//! JSON to the tree. The JSON library checks the text; this walks over what it accepted and keeps the
//! places.

use serde::de::IgnoredAny;

use super::{Content, MAX_DEPTH, MAX_NODES, Node, Wrong};

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let line_start: usize =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (line_start + error.column().saturating_sub(1)).min(text.len());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        return Err(Wrong::at(at..at, format!("this is no JSON: {message}")));
    }
    let mut walk = Walk { text, at: 0, n_nodes: 0 };
    walk.value(0)
}

/// A walk over JSON that is known to be well formed.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    n_nodes: usize,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Wrong> {
        self.skip_blanks();
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(Wrong::at(start..start, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.n_nodes += 1;
        if self.n_nodes > MAX_NODES {
            return Err(Wrong::at(start..start, format!("more than {MAX_NODES} values")));
        }
        let content = match self.peek() {
            b'{' => Content::Map(self.members(depth + 1)?),
            b'[' => Content::List(self.elements(depth + 1)?),
            b'"' => Content::Scalar { text: self.string(), is_plain: false },
            _ => {
                let ends = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ']' | '}');
                let rest = &self.text[start..];
                self.at += rest.find(ends).unwrap_or(rest.len()).max(1).min(rest.len());
                Content::Scalar { text: self.text[start..self.at].to_owned(), is_plain: true }
            }
        };
        Ok(Node { content, range: start..self.at })
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(Node, Node)>, Wrong> {
        let mut members: Vec<(Node, Node)> = Vec::new();
        self.at += 1;
        while self.goes_on(b'}') {
            let key = self.value(depth)?;
            self.skip_blanks();
            // The colon.
            self.at += 1;
            let value = self.value(depth)?;
            members.push((key, value));
        }
        Ok(members)
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Node>, Wrong> {
        let mut elements = Vec::new();
        self.at += 1;
        while self.goes_on(b']') {
            elements.push(self.value(depth)?);
        }
        Ok(elements)
    }

    /// Whether another element follows; what ends the list is passed over.
    fn goes_on(&mut self, end: u8) -> bool {
        self.skip_blanks();
        if self.peek() == b',' {
            self.at += 1;
        } else if self.peek() == end || self.at >= self.text.len() {
            self.at = (self.at + 1).min(self.text.len());
            return false;
        }
        true
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                b'"' => break,
                _ => 1,
            };
        }
        self.at = (self.at + 1).min(self.text.len());
        serde_json::from_str(&self.text[start..self.at]).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    /// The next byte; 0 at the end.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_places() {
        let text = "{ \"a\" : [1, \"x\\\"y\", {}],\n\t\"é\": { \"b\": null } }";
        let node = parse(text).unwrap();
        assert_eq!(&text[node.range.clone()], text);
        let list = node.get("a").unwrap();
        assert_eq!(&text[list.range.clone()], "[1, \"x\\\"y\", {}]");
        let Content::List(items) = &list.content else { panic!("{list:?}") };
        assert_eq!(items[1].text(), Some("x\"y"));
        assert_eq!(&text[items[1].range.clone()], "\"x\\\"y\"");
        assert!(node.get("é").unwrap().get("b").unwrap().is_nothing());
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_is() {
        let wrong = parse("{\n  \"a\": }").unwrap_err();
        assert_eq!(
            (wrong.message.as_str(), wrong.range),
            ("this is no JSON: expected value", 9..9)
        );
        assert!(parse("").is_err());
        let deep = "[".repeat(500) + &"]".repeat(500);
        assert!(parse(&deep).unwrap_err().message.contains("nested deeper"));
    }
}
