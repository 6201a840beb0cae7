//! The dictionary codes a scan looks for.

/// Codes wanted by a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CodeSet {
    /// One code: compared without unpacking.
    One(u32),
    /// Any number of codes.
    Many(CodeBitmap),
}

impl CodeSet {
    /// Whether `code` is wanted.
    #[inline]
    pub(crate) fn contains(&self, code: u32) -> bool {
        match self {
            Self::One(wanted) => *wanted == code,
            Self::Many(bitmap) => bitmap.contains(code),
        }
    }

    /// Whether no code is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(bitmap) if bitmap.is_empty())
    }
}

impl FromIterator<u32> for CodeSet {
    fn from_iter<I: IntoIterator<Item = u32>>(codes: I) -> Self {
        let bitmap: CodeBitmap = codes.into_iter().collect();
        let mut wanted = bitmap.iter();
        match (wanted.next(), wanted.next()) {
            (Some(code), None) => Self::One(code),
            _ => {
                drop(wanted);
                Self::Many(bitmap)
            }
        }
    }
}

/// A set of codes, one bit a code. Grows to the largest code it holds, so codes must come from a
/// dictionary, not from a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CodeBitmap {
    words: Vec<u64>,
}

impl CodeBitmap {
    /// Adds a code.
    pub(crate) fn insert(&mut self, code: u32) {
        let word = code as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (code % 64);
    }

    /// Whether `code` is in the set; any code may be asked for.
    #[inline]
    pub(crate) fn contains(&self, code: u32) -> bool {
        self.words.get(code as usize / 64).is_some_and(|word| word >> (code % 64) & 1 == 1)
    }

    /// Whether the set is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The codes in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.words).flat_map(|(idx, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| idx * 64 + bit)
        })
    }
}

impl FromIterator<u32> for CodeBitmap {
    fn from_iter<I: IntoIterator<Item = u32>>(codes: I) -> Self {
        let mut bitmap = Self::default();
        for code in codes {
            bitmap.insert(code);
        }
        bitmap
    }
}
