//! Reads mappings by their keys: unknown ones are refused with what was probably meant, values of the
//! wrong kind with what was expected.

use super::{Content, File, Node, Wrong};
use crate::error::Result;

/// A mapping whose keys are all known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    file: &'a File,
    node: &'a Node,
}

/// A text and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The text.
    pub(crate) value: &'a str,
    /// Its place.
    pub(crate) node: &'a Node,
}

impl<'a> Fields<'a> {
    /// Checks that the node is a mapping of these keys. `what` names it in messages: `a test`.
    pub(crate) fn of(file: &'a File, node: &'a Node, what: &str, known: &[&str]) -> Result<Self> {
        let wrong = |wrong: Wrong| file.error(wrong);
        let Content::Map(entries) = &node.content else {
            let message = format!("expected {what} with its keys, found {}", node.kind());
            return Err(wrong(node.wrong(message)));
        };
        for (key, _) in entries {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                let error = key.wrong(format!("{what} has no key `{name}`"));
                return Err(wrong(match traceql_language::nearest(name, known) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("its keys are: {}", known.join(", "))),
                }));
            }
        }
        Ok(Self { file, node })
    }

    /// The value under a key. A key without a value is refused: something was forgotten.
    pub(crate) fn get(&self, key: &str) -> Result<Option<&'a Node>> {
        match self.node.get(key) {
            Some(node) if node.is_nothing() => {
                Err(self.file.error(node.wrong(format!("`{key}` has no value"))))
            }
            node => Ok(node),
        }
    }

    /// A text, number or truth value as it was written.
    pub(crate) fn text(&self, key: &str) -> Result<Option<Text<'a>>> {
        let Some(node) = self.get(key)? else { return Ok(None) };
        match node.text() {
            Some(value) => Ok(Some(Text { value, node })),
            None => Err(self.expected(node, key, "text")),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, key: &str, what: &str) -> Result<Text<'a>> {
        let missing = || self.file.error(self.node.wrong(format!("{what} needs the key `{key}`")));
        self.text(key)?.ok_or_else(missing)
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(node) = self.get(key)? else { return Ok(None) };
        match &node.content {
            Content::Scalar { text, is_plain: true } if text == "true" => Ok(Some(true)),
            Content::Scalar { text, is_plain: true } if text == "false" => Ok(Some(false)),
            _ => Err(self.expected(node, key, "true or false")),
        }
    }

    /// A whole number, zero or more.
    pub(crate) fn count(&self, key: &str) -> Result<Option<u64>> {
        let Some(node) = self.get(key)? else { return Ok(None) };
        let count = node.text().and_then(|text| text.parse().ok());
        count.map(Some).ok_or_else(|| self.expected(node, key, "a whole number"))
    }

    /// The elements of a list, or the one value that stands in its place.
    pub(crate) fn list_or_one(&self, key: &str) -> Result<&'a [Node]> {
        Ok(match self.get(key)? {
            None => &[],
            Some(Node { content: Content::List(items), .. }) => items,
            Some(one) => std::slice::from_ref(one),
        })
    }

    /// An error at the mapping itself.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Wrong {
        self.node.wrong(message)
    }

    fn expected(&self, node: &Node, key: &str, what: &str) -> crate::error::Error {
        let found = match node.text() {
            Some(text) => format!("{text:?}"),
            None => node.kind().to_owned(),
        };
        self.file.error(node.wrong(format!("`{key}` is {what}; found {found}")))
    }
}
