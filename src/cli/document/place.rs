//! From a place in a value to the place in the file where it was written: escapes, indentation and
//! folded lines lie between the two.

use traceql_language::TextRange;

use super::Node;

/// The range of the file that a range of a scalar's value was written in. Where the two cannot be
/// brought together, the scalar's own range.
pub(crate) fn locate(text: &str, node: &Node, range: TextRange) -> TextRange {
    let whole = || TextRange::new(node.range.start, node.range.end);
    let Some(value) = node.text() else { return whole() };
    let (start, end) = (range.start as usize, range.end as usize);
    let Some(raw) = text.get(node.range.start..) else { return whole() };
    let mut ends = [None; 2];
    let mut at = 0;
    for (offset, c) in value.char_indices() {
        let Some((found, length)) = next(raw, at, c) else { return whole() };
        if offset == start {
            ends[0] = Some(found);
        }
        if offset + c.len_utf8() == end {
            ends[1] = Some(found + length);
        }
        at = found + length;
    }
    let from = ends[0].unwrap_or(at);
    let to = if end <= start { from } else { ends[1].unwrap_or(at) };
    TextRange::new(node.range.start + from, node.range.start + to.max(from))
}

/// Where the character was written, and in how many bytes.
fn next(raw: &str, at: usize, wanted: char) -> Option<(usize, usize)> {
    for (offset, c) in raw.get(at..)?.char_indices() {
        if c == wanted || c.is_ascii_whitespace() && wanted == ' ' {
            return Some((at + offset, c.len_utf8()));
        }
        if c == '\\'
            && let Some(length) = escape(&raw[at + offset + 1..], wanted)
        {
            return Some((at + offset, 1 + length));
        }
    }
    None
}

/// The length of what follows a backslash, if it stands for the character.
fn escape(after: &str, wanted: char) -> Option<usize> {
    let letter = after.chars().next()?;
    let stands_for = match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'u' => {
            let code = u32::from_str_radix(after.get(1..5)?, 16).ok()?;
            return (char::from_u32(code) == Some(wanted)).then_some(5);
        }
        other => other,
    };
    (stands_for == wanted).then(|| letter.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::super::{json, yaml};
    use super::*;

    /// The text of the file in which a part of the value under `q` was written.
    #[track_caller]
    fn check(text: &str, part: &str, expect: &str, start: usize) {
        let document = if text.starts_with('{') { json::parse(text) } else { yaml::parse(text) };
        let document = document.unwrap();
        let node = document.get("q").unwrap();
        let value = node.text().unwrap();
        let at = value.find(part).unwrap();
        let found = locate(text, node, TextRange::new(at, at + part.len()));
        assert_eq!((found.of(text), found.start as usize), (expect, start), "{text:?}");
    }

    #[test]
    fn scalars_of_every_style_are_followed() {
        check("q: '{ eror }'\n", "eror", "eror", 6);
        check("q: '{ ''x'' eror }'\n", "eror", "eror", 12);
        check("q: \"{ \\\"x\\\" eror }\"\n", "eror", "eror", 12);
        check("q: |\n  { a }\n  | eror\n", "eror", "eror", 17);
        check("q: >-\n  { a }\n  | eror\n", "eror", "eror", 18);
        check("{\"q\": \"{ \\\"é\\\" \\u0041 eror }\"}", "eror", "eror", 23);
        check("{\"q\": \"{ \\\"é\\\" \\u0041 eror }\"}", "A", "\\u0041", 16);
        check("{\"q\": \"{ a }\\n| eror\"}", "eror", "eror", 16);
    }
}
