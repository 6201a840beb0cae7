//! Labels of a series: built in a buffer that is reused for every span, compared and kept as one
//! text. Names and values are bounded here and nowhere else.

use std::borrow::{Borrow, Cow};
use std::fmt::Write as _;
use std::sync::Arc;

use traceql_blocks::model::{AttributeValue, KeyValue};

/// Most bytes of a label's name; what is longer is cut (`api.md` 6.4).
const MAX_NAME_BYTES: usize = 1024;
/// Most bytes of a label's value; what is longer is cut (`api.md` 6.4).
const MAX_VALUE_BYTES: usize = 2048;

/// Ends every name and every value. It cannot occur in them, so that different labels never make
/// the same text.
const END: char = '\0';

/// Labels that are being put together.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelBuffer(String);

/// Labels of one series, without the name of its metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Labels(Arc<str>);

impl LabelBuffer {
    /// Adds a label. An empty value is no label. The name must be valid and not be there yet.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.append(cut(name, MAX_NAME_BYTES));
        self.append(cut(value, MAX_VALUE_BYTES));
    }

    fn append(&mut self, text: &str) {
        if text.contains(END) {
            self.0.push_str(&text.replace(END, "\u{fffd}"));
        } else {
            self.0.push_str(text);
        }
        self.0.push(END);
    }

    /// Where the next label begins, for [`Self::truncate`].
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forgets every label pushed since the mark was taken.
    pub(super) fn truncate(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    /// What stands in an index for these labels.
    pub(super) fn key(&self) -> &str {
        &self.0
    }

    /// The labels, by name and value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.0)
    }

    /// The labels, to be kept.
    pub(super) fn to_labels(&self) -> Labels {
        Labels(Arc::from(self.0.as_str()))
    }
}

impl Labels {
    /// The labels, by name and value, in the order they were built.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.0)
    }
}

impl Borrow<str> for Labels {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut parts = text.split_terminator(END);
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
}

/// The longest beginning that has no more bytes than that.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// A name of attributes as Prometheus takes names of labels: what is neither letter nor digit
/// becomes `_`, and a digit does not come first.
pub(super) fn label_name(attribute: &str) -> String {
    let mut name: String =
        attribute.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// The value of an attribute as a label's value: text as it is, lists and maps as JSON.
pub(super) fn label_value(value: &AttributeValue) -> Cow<'_, str> {
    match value {
        AttributeValue::String(text) => Cow::Borrowed(text),
        AttributeValue::Unset => Cow::Borrowed(""),
        other => {
            let mut text = String::new();
            write_value(other, &mut text);
            Cow::Owned(text)
        }
    }
}

fn write_value(value: &AttributeValue, to: &mut String) {
    // Writing to a string does not fail.
    let _written = match value {
        AttributeValue::Unset => write!(to, "null"),
        AttributeValue::String(text) => write!(to, "{}", serde_json::Value::from(text.as_str())),
        AttributeValue::Int(number) => write!(to, "{number}"),
        AttributeValue::Double(number) => write!(to, "{number}"),
        AttributeValue::Bool(truth) => write!(to, "{truth}"),
        AttributeValue::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(to, "{byte:02x}")),
        AttributeValue::Array(values) => {
            write_list(to, ['[', ']'], values, write_value);
            Ok(())
        }
        AttributeValue::KeyValues(pairs) => {
            write_list(to, ['{', '}'], pairs, |pair, to| {
                to.push_str(&serde_json::Value::from(pair.key.as_str()).to_string());
                to.push(':');
                write_value(&pair.value, to);
            });
            Ok(())
        }
    };
}

fn write_list<T>(
    to: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    item: fn(&T, &mut String),
) {
    to.push(open);
    for (idx, each) in items.iter().enumerate() {
        if idx > 0 {
            to.push(',');
        }
        // A label's value ends here anyway.
        if to.len() > MAX_VALUE_BYTES {
            break;
        }
        item(each, to);
    }
    to.push(close);
}

/// The first value under a key that has one.
pub(super) fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AttributeValue> {
    attributes.iter().find(|kv| kv.key == key).map(|kv| &kv.value)
}

/// The value under a key of the resource, else of the span, as a label's value; empty if neither
/// has it.
pub(super) fn find_text<'a>(
    resource: &'a [KeyValue],
    span: &'a [KeyValue],
    key: &str,
) -> Cow<'a, str> {
    match find(resource, key).map(label_value) {
        Some(text) if !text.is_empty() => text,
        _ => find(span, key).map(label_value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (attribute, label) in [
            ("http.method", "http_method"),
            ("a-b/c", "a_b_c"),
            ("1st", "_1st"),
            ("", "_"),
            ("größe", "gr__e"),
        ] {
            assert_eq!(label_name(attribute), label);
        }
    }

    #[test]
    fn values_become_text() {
        let pair = |key: &str, value| KeyValue { key: key.into(), value };
        let list = AttributeValue::Array(vec![
            AttributeValue::Int(-1),
            AttributeValue::String("a\"b".into()),
            AttributeValue::Unset,
        ]);
        for (value, text) in [
            (AttributeValue::Double(1.5), "1.5"),
            (AttributeValue::Double(2.0), "2"),
            (AttributeValue::Bool(true), "true"),
            (AttributeValue::Bytes(vec![1, 255]), "01ff"),
            (AttributeValue::KeyValues(vec![pair("k", list)]), r#"{"k":[-1,"a\"b",null]}"#),
        ] {
            assert_eq!(label_value(&value), text);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut buffer = LabelBuffer::default();
        buffer.push(&"n".repeat(1100), &"ü".repeat(1500));
        buffer.push("odd", &format!("x{}", "ü".repeat(1500)));
        let lengths: Vec<_> = buffer.iter().map(|(n, v)| (n.len(), v.len())).collect();
        assert_eq!(lengths, [(1024, 2048), (3, 2047)]);
    }

    #[test]
    fn different_labels_have_different_keys() {
        let key = |pairs: &[(&str, &str)]| {
            let mut buffer = LabelBuffer::default();
            pairs.iter().for_each(|(name, value)| buffer.push(name, value));
            buffer.to_labels()
        };
        assert_ne!(key(&[("a", "b\0c\0d")]), key(&[("a", "b"), ("c", "d")]));
        assert_eq!(key(&[("a", ""), ("c", "d")]), key(&[("c", "d")]));
    }
}
