//! What may stand behind a setting of the server: read from a file or an option, and written back in one
//! way, so that two texts of the same meaning are one value.

use std::time::Duration;

use traceql_blocks::bucket::meta::DedicatedColumn;
use traceql_server::generator::{DimensionMapping, FilterPolicy, RemoteWriteOptions};

use super::structures;
use crate::document::{Content, File, Node, Wrong};
use crate::error::Result;
use crate::units;

/// What may stand behind a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Any text.
    Text,
    /// A text that is not shown.
    Secret,
    /// Host and port.
    Address,
    Host,
    Port,
    /// A whole number.
    Count,
    /// One that is not 0.
    Positive,
    Flag,
    /// A time that is not 0.
    Duration,
    /// A time; 0 has a meaning of its own.
    DurationOrNone,
    /// A number of bytes that is not 0.
    Size,
    /// A number of bytes; 0 has a meaning of its own.
    SizeOrNone,
    /// A number above 0 and below 1.
    Share,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Some of these.
    Choices(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of numbers.
    Numbers,
    /// A mapping of names to texts.
    Labels,
    RemoteWrite,
    Policies,
    Mappings,
    Columns,
}

/// What stands behind a setting.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Texts(Vec<String>),
    Count(u64),
    Flag(bool),
    Duration(Duration),
    Number(f64),
    Numbers(Vec<f64>),
    Labels(Vec<(String, String)>),
    RemoteWrite(Vec<RemoteWriteOptions>),
    Policies(Vec<FilterPolicy>),
    Mappings(Vec<DimensionMapping>),
    Columns(Vec<DedicatedColumn>),
}

impl Form {
    /// What is expected, for messages and the document.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text | Self::Secret => "text".to_owned(),
            Self::Address => "host and port".to_owned(),
            Self::Host => "a host".to_owned(),
            Self::Port => "a port".to_owned(),
            Self::Count => "a whole number".to_owned(),
            Self::Positive => "a whole number above 0".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Duration | Self::DurationOrNone => "a duration".to_owned(),
            Self::Size | Self::SizeOrNone => "a size".to_owned(),
            Self::Share => "a number between 0 and 1".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Choices(words) => format!("a list of {}", words.join(", ")),
            Self::Texts => "a list of texts".to_owned(),
            Self::Numbers => "a list of numbers".to_owned(),
            Self::Labels => "a mapping of names to texts".to_owned(),
            Self::RemoteWrite => "a list of receivers".to_owned(),
            Self::Policies => "a list of policies".to_owned(),
            Self::Mappings => "a list of mappings".to_owned(),
            Self::Columns => "a list of columns".to_owned(),
        }
    }

    /// Whether it is a text of some kind, of which an empty one says nothing.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Secret | Self::Host | Self::Address | Self::Choice(_))
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::Numbers | Self::Choices(_))
    }

    /// Reads what a file says. `path` names the setting.
    pub(crate) fn read(self, file: &File, path: &str, node: &Node) -> Result<Value> {
        let expected = |node: &Node| -> Wrong {
            let found = match node.text() {
                Some(text) if !node.is_nothing() => format!("{text:?}"),
                _ => node.kind().to_owned(),
            };
            node.wrong(format!("`{path}` is {}; found {found}", self.name()))
        };
        match self {
            Self::RemoteWrite => return structures::remote_write(file, node),
            Self::Policies => return structures::policies(file, node),
            Self::Mappings => return structures::mappings(file, node),
            Self::Columns => return structures::columns(file, node),
            Self::Labels => {
                let Content::Map(entries) = &node.content else {
                    return Err(file.error(expected(node)));
                };
                let mut labels = Vec::new();
                for (name, value) in entries {
                    let text = value.text().filter(|_| !value.is_nothing());
                    let text = text.ok_or_else(|| file.error(expected(value)))?;
                    labels.push((name.text().unwrap_or_default().to_owned(), text.to_owned()));
                }
                return Ok(Value::Labels(labels));
            }
            _ => {}
        }
        let nodes = match &node.content {
            Content::List(items) if self.is_list() => items.as_slice(),
            Content::Scalar { .. } if !node.is_nothing() => std::slice::from_ref(node),
            _ => return Err(file.error(expected(node))),
        };
        let mut texts = Vec::new();
        for node in nodes {
            let text = node.text().filter(|_| !node.is_nothing());
            let text = text.ok_or_else(|| file.error(expected(node)))?;
            // Each alone, so that what is wrong has its place.
            if let Err(why) = self.parse(&[text]) {
                return Err(file.error(node.wrong(format!("`{path}`: {why}"))));
            }
            texts.push(text);
        }
        self.parse(&texts).map_err(|why| file.error(node.wrong(format!("`{path}`: {why}"))))
    }

    /// Reads what options say.
    pub(crate) fn parse(self, texts: &[&str]) -> std::result::Result<Value, String> {
        let text = texts.first().copied().unwrap_or_default();
        let duration = || units::parse_duration(text).map(Duration::from_nanos);
        Ok(match self {
            Self::Text | Self::Secret | Self::Host => Value::Text(text.to_owned()),
            Self::Address => {
                let (host, port) = text
                    .rsplit_once(':')
                    .ok_or_else(|| format!("{text:?} has no port; write 127.0.0.1:4317"))?;
                port_of(port)?;
                let host = if host.is_empty() { "0.0.0.0" } else { host };
                Value::Text(format!("{host}:{port}"))
            }
            Self::Port => Value::Count(u64::from(port_of(text)?)),
            Self::Count => Value::Count(whole(text)?),
            Self::Positive => match whole(text)? {
                0 => return Err("0 would allow nothing".to_owned()),
                number => Value::Count(number),
            },
            Self::Flag => match text {
                "true" => Value::Flag(true),
                "false" => Value::Flag(false),
                _ => return Err(format!("{text:?} is neither true nor false")),
            },
            Self::Duration => match duration()? {
                Duration::ZERO => return Err("a time of 0 would allow nothing".to_owned()),
                duration => Value::Duration(duration),
            },
            Self::DurationOrNone if text == "0" => Value::Duration(Duration::ZERO),
            Self::DurationOrNone => Value::Duration(duration()?),
            Self::SizeOrNone if text == "0" => Value::Count(0),
            Self::Size | Self::SizeOrNone => {
                let plain = whole(text).map_err(drop);
                let size = plain.or_else(|()| units::parse_size(text).map(|size| size as u64))?;
                match size {
                    0 => return Err("a size of 0 would allow nothing".to_owned()),
                    size => Value::Count(size),
                }
            }
            Self::Share => match text.parse() {
                Ok(share) if 0.0 < share && share < 1.0 => Value::Number(share),
                _ => return Err(format!("{text:?} is no number between 0 and 1")),
            },
            Self::Choice(words) => {
                known(words, text)?;
                Value::Text(text.to_owned())
            }
            Self::Choices(words) => {
                texts.iter().try_for_each(|text| known(words, text))?;
                Value::Texts(texts.iter().map(|&text| text.to_owned()).collect())
            }
            Self::Texts => Value::Texts(texts.iter().map(|&text| text.to_owned()).collect()),
            Self::Numbers => {
                let number = |text: &&str| match text.parse::<f64>() {
                    Ok(number) if number.is_finite() => Ok(number),
                    _ => Err(format!("{text:?} is no number")),
                };
                Value::Numbers(texts.iter().map(number).collect::<std::result::Result<_, _>>()?)
            }
            Self::Labels => {
                let pair = |text: &&str| {
                    let (name, value) = text.split_once('=')?;
                    Some((name.trim().to_owned(), value.trim().to_owned()))
                };
                let labels = texts.iter().map(pair).collect::<Option<_>>();
                Value::Labels(labels.ok_or("a label is name=value")?)
            }
            Self::RemoteWrite => {
                Value::RemoteWrite(texts.iter().map(|url| RemoteWriteOptions::new(*url)).collect())
            }
            Self::Policies => Value::Policies(Vec::new()),
            Self::Mappings => Value::Mappings(Vec::new()),
            Self::Columns => {
                let column = |text: &&str| text.parse::<DedicatedColumn>();
                let columns = texts.iter().map(column).collect::<std::result::Result<_, _>>();
                Value::Columns(columns.map_err(|error| error.to_string())?)
            }
        })
    }
}

fn port_of(text: &str) -> std::result::Result<u16, String> {
    text.parse().map_err(|_| format!("{text:?} is no port; ports are numbers up to 65535"))
}

/// A whole number; `_` may group its digits, as YAML has it.
fn whole(text: &str) -> std::result::Result<u64, String> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let number = is_number.then(|| text.replace('_', "").parse().ok()).flatten();
    number.ok_or_else(|| format!("{text:?} is no whole number"))
}

fn known(words: &[&str], text: &str) -> std::result::Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    let near = traceql_language::nearest(text, words);
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(format!("{text:?} is none of {}{near}", words.join(", ")))
}

impl Value {
    /// As options have it.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::Texts(texts) => texts.clone(),
            Self::Numbers(numbers) => numbers.iter().map(ToString::to_string).collect(),
            Self::Labels(labels) => {
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
            }
            Self::RemoteWrite(receivers) => receivers.iter().map(|r| r.url.clone()).collect(),
            Self::Columns(columns) => columns.iter().map(ToString::to_string).collect(),
            Self::Policies(_) | Self::Mappings(_) => Vec::new(),
            Self::Text(text) => vec![text.clone()],
            other => vec![other.yaml()],
        }
    }

    /// As a file has it, on one line. Secrets within are left out.
    pub(crate) fn yaml(&self) -> String {
        let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
        match self {
            // As YAML takes every text.
            Self::Text(text) => quoted(text),
            Self::Texts(texts) => list(texts.iter().map(|text| quoted(text)).collect()),
            Self::Count(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Duration(duration) => {
                let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
                traceql_language::duration_text(nanos)
            }
            Self::Number(number) => number.to_string(),
            Self::Numbers(numbers) => list(numbers.iter().map(ToString::to_string).collect()),
            Self::Labels(labels) => {
                let pair = |(name, value): &(String, String)| {
                    format!("{}: {}", quoted(name), quoted(value))
                };
                format!("{{{}}}", labels.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Self::RemoteWrite(receivers) => {
                list(receivers.iter().map(structures::receiver_yaml).collect())
            }
            Self::Policies(policies) => {
                list(policies.iter().map(structures::policy_yaml).collect())
            }
            Self::Mappings(mappings) => {
                list(mappings.iter().map(structures::mapping_yaml).collect())
            }
            Self::Columns(columns) => list(columns.iter().map(structures::column_yaml).collect()),
        }
    }

    // A setting's form says which of these is asked; what else there might be is then a default.

    pub(crate) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            _ => String::new(),
        }
    }

    pub(crate) fn list(self) -> Vec<String> {
        match self {
            Self::Texts(texts) => texts,
            _ => Vec::new(),
        }
    }

    pub(crate) fn numbers(self) -> Vec<f64> {
        match self {
            Self::Numbers(numbers) => numbers,
            _ => Vec::new(),
        }
    }

    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Number(number) => number,
            _ => 0.0,
        }
    }

    pub(crate) fn count(self) -> u64 {
        match self {
            Self::Count(number) => number,
            _ => 0,
        }
    }

    pub(crate) fn size(self) -> usize {
        usize::try_from(self.count()).unwrap_or(usize::MAX)
    }

    pub(crate) fn flag(self) -> bool {
        matches!(self, Self::Flag(true))
    }

    pub(crate) fn duration(self) -> Duration {
        match self {
            Self::Duration(duration) => duration,
            _ => Duration::ZERO,
        }
    }
}

/// A text between quotes.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_meaning_are_one_value() {
        for (form, texts, yaml) in [
            (Form::Duration, &["90s"][..], "1m30s"),
            (Form::DurationOrNone, &["0"], "0s"),
            (Form::Size, &["30MB"], "30000000"),
            (Form::Size, &["5_000_000"], "5000000"),
            (Form::SizeOrNone, &["0"], "0"),
            (Form::Address, &[":4317"], "\"0.0.0.0:4317\""),
            (Form::Choices(&["a", "b"]), &["b", "a"], "[\"b\", \"a\"]"),
            (Form::Numbers, &["0.5", "1"], "[0.5, 1]"),
            (Form::Labels, &["a = b", "c=d=e"], "{\"a\": \"b\", \"c\": \"d=e\"}"),
            (Form::Text, &["a: b #"], "\"a: b #\""),
        ] {
            assert_eq!(form.parse(texts).map(|value| value.yaml()), Ok(yaml.to_owned()));
        }
    }

    #[test]
    fn what_is_no_value_says_why() {
        for (form, text, why) in [
            (Form::Duration, "0s", "a time of 0"),
            (Form::Duration, "10", "is no duration"),
            (Form::Size, "0", "a size of 0"),
            (Form::Size, "big", "is no size"),
            (Form::Address, "localhost", "has no port"),
            (Form::Address, "a:70000", "is no port"),
            (Form::Count, "-1", "is no whole number"),
            (Form::Positive, "0", "0 would allow nothing"),
            (Form::Flag, "yes", "neither true nor false"),
            (Form::Share, "1", "between 0 and 1"),
            (Form::Choice(&["query", "ingest"]), "querry", "did you mean query?"),
            (Form::Numbers, "NaN", "is no number"),
        ] {
            let found = form.parse(&[text]).expect_err(text);
            assert!(found.contains(why), "{found}");
        }
    }
}
