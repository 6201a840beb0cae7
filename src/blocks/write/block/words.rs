//! The values of a leaf with a dictionary: each different one once, by its code. Codes of a block that
//! rows are copied from are translated, so that each of its values is looked up once and not each time
//! it occurs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::read::values::StringTable;
use ahash::RandomState;
use bytes::Bytes;

/// The dictionary of a column chunk under construction, and the codes that are in no page yet.
#[derive(Default)]
pub(super) struct Words {
    codes: Vec<u32>,
    words: Vec<Bytes>,
    known: HashMap<Bytes, u32, RandomState>,
    /// By input.
    translations: Vec<Option<Translation>>,
    /// Bytes of all words.
    n_bytes: u64,
}

/// From the codes of another dictionary to ours.
struct Translation {
    from: Arc<StringTable>,
    /// [`UNKNOWN`] where a code has not occurred yet.
    codes: Vec<u32>,
}

/// No word: a dictionary is far smaller.
const UNKNOWN: u32 = u32::MAX;

impl Words {
    /// Number of different words.
    pub(super) fn n_words(&self) -> usize {
        self.words.len()
    }

    /// Bytes of all words.
    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Adds a value.
    pub(super) fn push(&mut self, value: &[u8]) {
        let code = self.code(value);
        self.codes.push(code);
    }

    /// Adds values of the dictionary of an input.
    pub(super) fn copy(&mut self, codes: &[u32], from: &Arc<StringTable>, input: usize) {
        if codes.is_empty() {
            return;
        }
        if self.translations.len() <= input {
            self.translations.resize_with(input + 1, || None);
        }
        let known = self.translations[input].take();
        let mut translation =
            known.filter(|known| Arc::ptr_eq(&known.from, from)).unwrap_or_else(|| Translation {
                from: Arc::clone(from),
                codes: vec![UNKNOWN; from.len()],
            });
        for &code in codes {
            let Some(ours) = translation.codes.get_mut(code as usize) else { continue };
            if *ours == UNKNOWN {
                *ours = self.code(from.get(code));
            }
            self.codes.push(*ours);
        }
        self.translations[input] = Some(translation);
    }

    /// Codes of the values that are in no page yet, to be taken out, and all words.
    pub(super) fn parts(&mut self) -> (&mut Vec<u32>, &[Bytes]) {
        (&mut self.codes, &self.words)
    }

    fn code(&mut self, value: &[u8]) -> u32 {
        if let Some(code) = self.known.get(value) {
            return *code;
        }
        let code = u32::try_from(self.words.len()).unwrap_or(UNKNOWN);
        let word = Bytes::copy_from_slice(value);
        self.n_bytes += value.len() as u64;
        self.known.insert(word.clone(), code);
        self.words.push(word);
        code
    }
}
