//! Answers as text: each form in its own file, each taking a writer. Nothing here knows where rows
//! came from or what they cost.

pub(crate) mod chart;
pub(crate) mod diff;
pub(crate) mod metrics;
pub(crate) mod rows;
pub(crate) mod search;
pub(crate) mod sheet;
pub(crate) mod sink;
pub(crate) mod spans;
pub(crate) mod tree;
pub(crate) mod waterfall;

use std::io::{self, Write};

use crate::error::Result;

/// Standard output, buffered. Everything that is data goes through here.
pub(crate) fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    write(&mut out)?;
    out.flush()?;
    // A writer that is dropped after an error must not try again: its buffer is empty now.
    Ok(())
}

/// The text with everything replaced that could steer a terminal: data is written by strangers.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            '\0'..='\x1f' => {
                char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            '\x7f'..='\u{9f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Cuts a text to a number of columns, `…` in the last one if something is missing.
pub(crate) fn fit(text: &str, width: usize) -> String {
    use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut kept = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_their_width() {
        assert_eq!(fit("basket", 6), "basket");
        assert_eq!(fit("basket", 5), "bask…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("basket", 0), "");
    }

    #[test]
    fn data_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}"), "a␛[2Jb c\u{fffd}");
    }
}
