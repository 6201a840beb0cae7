//! One leaf of one row group: levels and values gathered for a batch of rows, then made into
//! pages, by the Parquet library's column writer or, if there is a dictionary, by `coded`. Knows nothing
//! of traces.

use std::fmt;

use bytes::Bytes;
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::ColumnDescPtr;

use super::coded::CodedChunk;
use super::page::PageBuffer;
use super::words::Words;
use crate::read::library::{self, LeafValues};
use crate::read::step::StepLeaf;
use crate::schema::tree::{ExpectedLeaf, Kind};

/// What a dictionary's code takes, about.
const CODE_BYTES: u64 = 2;
/// What the length of a byte string takes.
const LENGTH_BYTES: u64 = 4;

/// A leaf of a row group under construction.
pub(super) struct LeafColumn {
    /// `None` if every entry has a value and a row of its own: then no levels are stored.
    levels: Option<Levels>,
    max_def: i16,
    values: Values,
    writer: Writer,
    /// Bytes so far, of a leaf without dictionary.
    n_bytes: u64,
    /// Values so far, of a leaf with one.
    n_coded: u64,
}

/// What makes pages of them.
enum Writer {
    Library(Box<ColumnWriter<'static>>, PageBuffer),
    /// Of a leaf with a dictionary.
    Coded(Box<CodedChunk>),
}

#[derive(Default)]
pub(super) struct Levels {
    pub(super) rep: Vec<i16>,
    pub(super) def: Vec<i16>,
}

/// Values that are not encoded yet.
enum Values {
    Bool(Vec<bool>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    /// One after the other, and where each ends.
    Bytes {
        data: Vec<u8>,
        ends: Vec<usize>,
    },
    /// Of a leaf with a dictionary.
    Words(Words),
}

impl LeafColumn {
    pub(super) fn new(
        leaf: &ExpectedLeaf,
        column: ColumnDescPtr,
        properties: WriterPropertiesPtr,
    ) -> Self {
        let values = match leaf.kind {
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::I32 | Kind::U32 => Values::I32(Vec::new()),
            Kind::I64 | Kind::U64 => Values::I64(Vec::new()),
            Kind::F64 => Values::F64(Vec::new()),
            Kind::Bytes | Kind::Text if leaf.has_dictionary() => Values::Words(Words::default()),
            Kind::Bytes | Kind::Text => Values::Bytes { data: Vec::new(), ends: Vec::new() },
        };
        Self {
            levels: (leaf.max_def > 0).then(Levels::default),
            max_def: leaf.max_def,
            writer: if matches!(values, Values::Words(_)) {
                Writer::Coded(Box::new(CodedChunk::new(column, &properties)))
            } else {
                let pages = PageBuffer::default();
                let writer = get_column_writer(column, properties, Box::new(pages.clone()));
                Writer::Library(Box::new(writer), pages)
            },
            values,
            n_bytes: 0,
            n_coded: 0,
        }
    }

    /// Bytes of everything given so far once encoded, but not compressed; an estimate.
    pub(super) fn n_bytes(&self) -> u64 {
        match &self.values {
            Values::Words(words) => {
                let n_words = words.n_words() as u64;
                words.n_bytes() + LENGTH_BYTES * n_words + CODE_BYTES * self.n_coded
            }
            _ => self.n_bytes,
        }
    }

    /// An entry without value: an ancestor of this definition level has no elements.
    pub(super) fn absent(&mut self, rep: i16, def: i16) {
        debug_assert!(def < self.max_def, "an absent value has a smaller definition level");
        if let Some(levels) = &mut self.levels {
            levels.rep.push(rep);
            levels.def.push(def);
        }
    }

    fn present(&mut self, rep: i16) {
        if let Some(levels) = &mut self.levels {
            levels.rep.push(rep);
            levels.def.push(self.max_def);
        }
    }

    /// Adds a truth value; like its siblings it must be called for leaves of its type alone.
    pub(super) fn bool(&mut self, rep: i16, value: bool) {
        self.present(rep);
        if let Values::Bool(values) = &mut self.values {
            values.push(value);
            self.n_bytes += u64::from(values.len() % 8 == 0);
        }
    }

    pub(super) fn i32(&mut self, rep: i16, value: i32) {
        self.present(rep);
        if let Values::I32(values) = &mut self.values {
            values.push(value);
            self.n_bytes += 4;
        }
    }

    /// An unsigned number, stored in the bits of a signed one.
    pub(super) fn u32(&mut self, rep: i16, value: u32) {
        self.i32(rep, value.cast_signed());
    }

    pub(super) fn i64(&mut self, rep: i16, value: i64) {
        self.present(rep);
        if let Values::I64(values) = &mut self.values {
            values.push(value);
            self.n_bytes += 8;
        }
    }

    /// An unsigned number, stored in the bits of a signed one.
    pub(super) fn u64(&mut self, rep: i16, value: u64) {
        self.i64(rep, value.cast_signed());
    }

    pub(super) fn f64(&mut self, rep: i16, value: f64) {
        self.present(rep);
        if let Values::F64(values) = &mut self.values {
            values.push(value);
            self.n_bytes += 8;
        }
    }

    pub(super) fn bytes(&mut self, rep: i16, value: &[u8]) {
        self.present(rep);
        self.value(value);
    }

    fn value(&mut self, value: &[u8]) {
        match &mut self.values {
            Values::Bytes { data, ends } => {
                data.extend_from_slice(value);
                ends.push(data.len());
                self.n_bytes += LENGTH_BYTES + value.len() as u64;
            }
            Values::Words(words) => {
                words.push(value);
                self.n_coded += 1;
            }
            _ => {}
        }
    }

    pub(super) fn text(&mut self, rep: i16, value: &str) {
        self.bytes(rep, value.as_bytes());
    }

    /// Adds a row of the same leaf of another file, one of several inputs.
    ///
    /// # Errors
    /// If the leaf is of another type: no such file is copied from.
    pub(super) fn copy(&mut self, from: &StepLeaf, row: usize, input: usize) -> Result<()> {
        let LeafValues { rep, def, values } = from.content();
        let entries = from.entries(row);
        if let Some(levels) = &mut self.levels {
            levels.rep.extend(rep[entries.clone()].iter().map(|rep| i16::from(*rep)));
            levels.def.extend(def[entries].iter().map(|def| i16::from(*def)));
        }
        let range = from.values(row);
        if range.is_empty() {
            return Ok(());
        }
        let n = range.len() as u64;
        match (&mut self.values, values) {
            (Values::Bool(to), library::Values::Bool(from)) => {
                let before = to.len() / 8;
                to.extend_from_slice(&from[range]);
                self.n_bytes += (to.len() / 8 - before) as u64;
            }
            (Values::I32(to), library::Values::I32(from)) => {
                to.extend_from_slice(&from[range]);
                self.n_bytes += 4 * n;
            }
            (Values::I64(to), library::Values::I64(from)) => {
                to.extend_from_slice(&from[range]);
                self.n_bytes += 8 * n;
            }
            (Values::F64(to), library::Values::F64(from)) => {
                to.extend_from_slice(&from[range]);
                self.n_bytes += 8 * n;
            }
            (Values::Bytes { data, ends }, library::Values::Bytes(from)) => {
                let Some((bytes, first, from_ends)) = from.slice(range) else {
                    return Err(other_type());
                };
                let base = data.len();
                ends.extend(from_ends.iter().map(|end| base + (end - first) as usize));
                data.extend_from_slice(bytes);
                self.n_bytes += LENGTH_BYTES * n + bytes.len() as u64;
            }
            (Values::Words(to), library::Values::Coded(codes, table)) => {
                to.copy(&codes[range], table, input);
                self.n_coded += n;
            }
            // Pages without a dictionary where we write one, or the other way round.
            (
                Values::Bytes { .. } | Values::Words(_),
                library::Values::Bytes(_) | library::Values::Coded(..),
            ) => range.for_each(|at| self.value(values.bytes(at))),
            _ => return Err(other_type()),
        }
        Ok(())
    }

    /// Encodes what has been gathered. Only whole rows may have been.
    pub(super) fn flush(&mut self) -> Result<()> {
        let writer = match (&mut self.writer, &mut self.values) {
            (Writer::Library(writer, _), _) => writer.as_mut(),
            (Writer::Coded(chunk), Values::Words(words)) => {
                let (codes, words) = words.parts();
                return chunk.write_pages(self.levels.as_mut(), codes, words, false);
            }
            (Writer::Coded(_), _) => return Err(other_type()),
        };
        let (def, rep) = match &self.levels {
            Some(levels) => (Some(levels.def.as_slice()), Some(levels.rep.as_slice())),
            None => (None, None),
        };
        match (writer, &mut self.values) {
            (ColumnWriter::BoolColumnWriter(writer), Values::Bool(values)) => {
                writer.write_batch(values, def, rep)?;
                values.clear();
            }
            (ColumnWriter::Int32ColumnWriter(writer), Values::I32(values)) => {
                writer.write_batch(values, def, rep)?;
                values.clear();
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::I64(values)) => {
                writer.write_batch(values, def, rep)?;
                values.clear();
            }
            (ColumnWriter::DoubleColumnWriter(writer), Values::F64(values)) => {
                writer.write_batch(values, def, rep)?;
                values.clear();
            }
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Bytes { data, ends }) => {
                let data = Bytes::from(std::mem::take(data));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let values: Vec<ByteArray> = starts
                    .zip(ends.iter())
                    .map(|(start, end)| data.slice(start..*end).into())
                    .collect();
                writer.write_batch(&values, def, rep)?;
                ends.clear();
            }
            _ => return Err(other_type()),
        }
        if let Some(levels) = &mut self.levels {
            levels.rep.clear();
            levels.def.clear();
        }
        Ok(())
    }

    /// Ends the column chunk: its pages, and what the footer says of them.
    pub(super) fn close(mut self) -> Result<(Bytes, ColumnCloseResult)> {
        self.flush()?;
        match (self.writer, &mut self.values) {
            (Writer::Library(writer, pages), _) => {
                let closed = writer.close()?;
                Ok((pages.take(), closed))
            }
            (Writer::Coded(mut chunk), Values::Words(words)) => {
                let (codes, words) = words.parts();
                chunk.write_pages(self.levels.as_mut(), codes, words, true)?;
                chunk.close(words)
            }
            (Writer::Coded(_), _) => Err(other_type()),
        }
    }
}

fn other_type() -> ParquetError {
    ParquetError::General("the schema and the layout differ in the type of a leaf".to_owned())
}

impl fmt::Debug for LeafColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafColumn").field("n_bytes", &self.n_bytes).finish_non_exhaustive()
    }
}
