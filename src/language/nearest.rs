//! What was probably meant: the name that differs least from the one that was written.

/// The entry that differs least, by letters inserted, removed and replaced, if it differs little: a
/// third of the name's letters at most, one at least and never more than three.
#[must_use]
pub fn nearest<'a, S: AsRef<str>>(name: &str, entries: &'a [S]) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    entries
        .iter()
        .map(|entry| (edits(name, entry.as_ref()), entry.as_ref()))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, entry)| entry)
}

/// Insertions, removals and replacements between two names.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found() {
        let entries = ["blocks", "index"];
        assert_eq!(nearest("block", &entries), Some("blocks"));
        assert_eq!(nearest("blokcs", &entries), Some("blocks"));
        assert_eq!(nearest("data", &entries), None);
    }
}
