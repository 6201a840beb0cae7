//! Bounds of texts, cut to a length: what is no greater than a text, and what is no smaller.

/// A prefix of a text of at most so many bytes, and whether it is all of it.
pub(super) fn lower(text: &[u8], n_bytes: usize) -> (Vec<u8>, bool) {
    if text.len() <= n_bytes {
        return (text.to_vec(), true);
    }
    (prefix(text, n_bytes).to_vec(), false)
}

/// The least text of at most so many bytes that is greater than all that begin as this one does, and
/// whether it is the text itself. If there is none, the text, however long.
pub(super) fn upper(text: &[u8], n_bytes: usize) -> (Vec<u8>, bool) {
    if text.len() <= n_bytes {
        return (text.to_vec(), true);
    }
    match next_after(prefix(text, n_bytes)) {
        Some(next) => (next, false),
        None => (text.to_vec(), true),
    }
}

/// Cuts no character, unless the text is none.
fn prefix(text: &[u8], n_bytes: usize) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(text) => &text.as_bytes()[..text.floor_char_boundary(n_bytes)],
        Err(_) => &text[..n_bytes],
    }
}

/// What follows on a text and all that begin with it. A text stays one, of characters as long.
fn next_after(text: &[u8]) -> Option<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(text) else {
        let at = text.iter().rposition(|byte| *byte < u8::MAX)?;
        let mut next = text[..=at].to_vec();
        next[at] += 1;
        return Some(next);
    };
    text.char_indices().rev().find_map(|(at, character)| {
        let next = char::from_u32(u32::from(character) + 1)?;
        (next.len_utf8() == character.len_utf8())
            .then(|| format!("{}{next}", &text[..at]).into_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_their_own_bounds() {
        assert_eq!(lower(b"abc", 3), (b"abc".to_vec(), true));
        assert_eq!(upper(b"abc", 3), (b"abc".to_vec(), true));
    }

    #[test]
    fn long_ones_are_cut_between_characters() {
        assert_eq!(lower(b"abcd", 3), (b"abc".to_vec(), false));
        assert_eq!(upper(b"abcd", 3), (b"abd".to_vec(), false));
        assert_eq!(lower("ab\u{e9}".as_bytes(), 3), (b"ab".to_vec(), false));
        assert_eq!(upper("ab\u{e9}".as_bytes(), 3), (b"ac".to_vec(), false));
        // The greatest character of its length gives way to the one before it.
        assert_eq!(upper("a\u{7f}b".as_bytes(), 2), (b"b".to_vec(), false));
        let endless = "\u{10ffff}\u{10ffff}";
        assert_eq!(upper(endless.as_bytes(), 4), (endless.as_bytes().to_vec(), true));
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_anywhere() {
        assert_eq!(lower(b"\xff\xff\xff", 2), (b"\xff\xff".to_vec(), false));
        assert_eq!(upper(b"\x01\xff\xff", 2), (b"\x02".to_vec(), false));
        assert_eq!(upper(b"\xff\xff\xff", 2), (b"\xff\xff\xff".to_vec(), true));
    }
}
