//! Strings: `"…"` with Go's escapes, and raw ones between backticks.

use super::{LexError, LexResult};

/// A string's value.
pub(super) fn text(text: &str) -> LexResult<'_, String> {
    if let Some(inside) = text.strip_prefix('`') {
        return raw(text, inside);
    }
    match text.strip_prefix('"') {
        Some(inside) => interpreted(text, inside),
        None => Err(super::does_not_apply(text)),
    }
}

/// Between backticks everything stands for itself; carriage returns are dropped.
fn raw<'a>(open: &'a str, inside: &'a str) -> LexResult<'a, String> {
    match inside.find(['`', '\0']) {
        Some(end) if inside.as_bytes()[end] == b'`' => {
            Ok((&inside[end + 1..], inside[..end].replace('\r', "")))
        }
        _ => Err(LexError::failure_with_hint(
            open,
            1,
            "this string never ends",
            "close it with a backtick",
        )),
    }
}

/// Between double quotes a backslash begins an escape. Bytes, not characters, are collected, since
/// `\xe2\x82\xac` spells one character.
fn interpreted<'a>(open: &'a str, inside: &'a str) -> LexResult<'a, String> {
    let mut bytes = Vec::new();
    let mut rest = inside;
    loop {
        let plain = rest.find(['"', '\\', '\n', '\0']).unwrap_or(rest.len());
        bytes.extend_from_slice(&rest.as_bytes()[..plain]);
        rest = &rest[plain..];
        match rest.as_bytes().first() {
            Some(b'"') => break,
            Some(b'\\') => rest = escape(rest, &mut bytes)?,
            _ => {
                return Err(LexError::failure_with_hint(
                    open,
                    1,
                    "this string never ends on its line",
                    "close it with `\"`, or write a string of several lines between backticks",
                ));
            }
        }
    }
    let after = &rest[1..];
    String::from_utf8(bytes).map(|value| (after, value)).map_err(|_| {
        LexError::failure_with_hint(
            open,
            open.len() - after.len(),
            "this string is not valid UTF-8",
            "attribute values are UTF-8, so it could match nothing; write a character as `\\u00e9`",
        )
    })
}

/// Reads the escape at the beginning of `text`, gives the rest.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, nom::Err<LexError<'a>>> {
    let invalid = |len| {
        let shown: String = text.chars().take(len).collect();
        LexError::failure_with_hint(
            text,
            shown.len(),
            format!(
                "`{}` is not an escape",
                shown.escape_debug().to_string().replace("\\\\", "\\")
            ),
            "write `\\\\` for a backslash, or the string between backticks, where nothing is escaped",
        )
    };
    let Some(c) = text.as_bytes().get(1).copied() else { return Err(invalid(1)) };
    let simple = match c {
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(0x0b),
        b'\\' | b'"' => Some(c),
        _ => None,
    };
    if let Some(byte) = simple {
        bytes.push(byte);
        return Ok(&text[2..]);
    }
    let digits = |from: usize, len: usize, radix| {
        let digits = text.get(from..from + len)?;
        digits.chars().all(|c| c.is_digit(radix)).then_some(())?;
        u32::from_str_radix(digits, radix).ok()
    };
    let (len, value, is_char) = match c {
        b'x' => (4, digits(2, 2, 16), false),
        b'0'..=b'7' => (4, digits(1, 3, 8), false),
        b'u' => (6, digits(2, 4, 16), true),
        b'U' => (10, digits(2, 8, 16), true),
        _ => return Err(invalid(2)),
    };
    let value = value.ok_or_else(|| invalid(2))?;
    if is_char {
        let c = char::from_u32(value).ok_or_else(|| invalid(len))?;
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(value).map_err(|_| invalid(len))?);
    }
    Ok(&text[len..])
}
