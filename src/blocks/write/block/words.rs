//! The values of a leaf with a dictionary: each different one once, by its code. Codes of a block that
//! rows are copied from are translated, so that each of its values is looked up once and not each time
//! it occurs.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};

use super::leaf::Levels;
use crate::read::values::StringTable;

/// The dictionary of a column chunk under construction, and the codes that are not encoded yet.
///
/// The words are held here, once, so that the library's dictionary does not keep every batch alive
/// that it met a value in.
#[derive(Default)]
pub(super) struct Words {
    codes: Vec<u32>,
    words: Vec<ByteArray>,
    /// Room for values on their way to the library.
    values: Vec<ByteArray>,
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

/// Entries that are given to the library at once, at least, if there are as many.
const ENTRIES_AT_ONCE: usize = 4096;
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

    /// Encodes what has been added since the last time, some rows at once: a value in the form that
    /// the library takes is eight times as large as its code.
    pub(super) fn encode(
        &mut self,
        levels: Option<&Levels>,
        max_def: i16,
        writer: &mut ColumnWriterImpl<'_, ByteArrayType>,
    ) -> Result<()> {
        let Self { codes, words, values, .. } = self;
        let mut rest = codes.as_slice();
        let mut write = |n: usize, def: Option<&[i16]>, rep: Option<&[i16]>| {
            let (next, behind) = rest.split_at_checked(n).ok_or_else(|| {
                ParquetError::General("a leaf has fewer values than its levels say".to_owned())
            })?;
            rest = behind;
            values.clear();
            values.extend(next.iter().map(|code| words[*code as usize].clone()));
            writer.write_batch(values, def, rep).map(drop)
        };
        match levels {
            None => {
                let n_values = codes.len();
                for start in (0..n_values).step_by(ENTRIES_AT_ONCE) {
                    write(ENTRIES_AT_ONCE.min(n_values - start), None, None)?;
                }
            }
            Some(Levels { rep, def }) => {
                let mut start = 0;
                while start < rep.len() {
                    // Only whole rows may be written.
                    let behind = (start + ENTRIES_AT_ONCE).min(rep.len());
                    let next_row = rep[behind..].iter().position(|rep| *rep == 0);
                    let end = next_row.map_or(rep.len(), |at| behind + at);
                    let def = &def[start..end];
                    let n_values = def.iter().filter(|def| **def == max_def).count();
                    write(n_values, Some(def), Some(&rep[start..end]))?;
                    start = end;
                }
            }
        }
        codes.clear();
        values.clear();
        Ok(())
    }

    fn code(&mut self, value: &[u8]) -> u32 {
        if let Some(code) = self.known.get(value) {
            return *code;
        }
        let code = u32::try_from(self.words.len()).unwrap_or(UNKNOWN);
        let word = Bytes::copy_from_slice(value);
        self.n_bytes += value.len() as u64;
        self.known.insert(word.clone(), code);
        self.words.push(word.into());
        code
    }
}
