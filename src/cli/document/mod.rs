//! YAML, JSON and TOML as one tree whose nodes know where in the text they stand, so that whatever is wrong
//! with a value, a query inside it included, can be drawn under the text people wrote. Knows no suite,
//! no dashboard and no setting.

mod fields;
mod json;
mod place;
mod toml;
mod yaml;

use std::ops::Range;
use std::path::{Path, PathBuf};

use traceql_language::{Error as QueryError, LineColumn, TextRange};

use crate::error::{Error, Result};

pub(crate) use fields::{Fields, Text};
pub(crate) use place::locate;

/// Largest document read. People write suites of kilobytes; dashboards have a few megabytes.
const MAX_BYTES: u64 = 32 << 20;
/// Deepest nesting read.
const MAX_DEPTH: usize = 100;
/// Most nodes read, those that aliases repeat included.
const MAX_NODES: usize = 1_000_000;

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What messages call it: the path as it was given.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// What stands there.
    pub(crate) content: Content,
    /// Bytes of the text; quotes belong to it.
    pub(crate) range: Range<usize>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// Text, a number, a truth value: the reader knows which is wanted.
    Scalar {
        /// Its text, escapes undone.
        text: String,
        /// Whether it stands without quotes, and so may be more than text.
        is_plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the text, keys unique.
    Map(Vec<(Node, Node)>),
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    range: Range<usize>,
    message: String,
    hints: Vec<String>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// A usage error that names it: it was named on the command line, or by a file that was.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let refuse =
            |why: &dyn std::fmt::Display| Error::usage(format!("cannot read {name}: {why}"));
        let size = std::fs::metadata(path).map_err(|error| refuse(&error))?.len();
        if size > MAX_BYTES {
            return Err(refuse(&format_args!("it has {size} bytes, more than {MAX_BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
        Ok(Self { path: path.to_path_buf(), name, text })
    }

    /// The file as YAML.
    pub(crate) fn yaml(&self) -> Result<Node> {
        yaml::parse(&self.text).map_err(|wrong| self.error(wrong))
    }

    /// The file as JSON.
    pub(crate) fn json(&self) -> Result<Node> {
        json::parse(&self.text).map_err(|wrong| self.error(wrong))
    }

    /// The file as TOML.
    pub(crate) fn toml(&self) -> Result<Node> {
        toml::parse(&self.text).map_err(|wrong| self.error(wrong))
    }

    /// What is wrong, drawn under the file's text.
    pub(crate) fn error(&self, wrong: Wrong) -> Error {
        let range = TextRange::new(wrong.range.start, wrong.range.end);
        let mut error = QueryError::parse(range, wrong.message);
        error.hints = wrong.hints;
        Error::query(&self.name, &self.text, error)
    }

    /// A refused query that stands in this file, drawn where it stands.
    pub(crate) fn query_error(&self, query: &Node, error: QueryError) -> Error {
        let range = locate(&self.text, query, error.range);
        Error::query(&self.name, &self.text, QueryError { range, ..error })
    }

    /// The line of a byte, counted from one.
    pub(crate) fn line(&self, offset: usize) -> usize {
        LineColumn::of(&self.text, offset).line
    }

    /// A path written in this file: relative to the file.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Whether it is an empty plain scalar, or `null`: a key without a value.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, is_plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What kind of thing it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            _ if self.is_nothing() => "nothing",
            Content::Scalar { .. } => "a value",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// Something wrong with it.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Wrong {
        // A mapping or list that spans lines is marked at its beginning.
        let range = match &self.content {
            Content::Scalar { .. } => self.range.clone(),
            _ => self.range.start..self.range.start,
        };
        Wrong { range, message: message.into(), hints: Vec::new() }
    }
}

impl Wrong {
    /// Something wrong at a place.
    fn at(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { range, message: message.into(), hints: Vec::new() }
    }

    /// The same with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
