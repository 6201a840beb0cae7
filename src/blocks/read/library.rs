//! Reads a leaf with the Parquet library's own column reader.
//!
//! Slower than [`super::page`], but knows every encoding and codec: the fallback for what the page
//! decoder does not support, and the oracle its tests compare it with.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::encoding::ByteArrays;
use super::error::{DecodeError, Result};
use super::values::StringTable;

/// Levels and values of some rows of a leaf.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeafValues {
    /// Repetition level of each entry.
    pub(crate) rep: Vec<u8>,
    /// Definition level of each entry.
    pub(crate) def: Vec<u8>,
    /// Value of each entry of the largest definition level.
    pub(crate) values: Values,
}

/// Values of one type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// BOOLEAN.
    Bool(Vec<bool>),
    /// INT32.
    I32(Vec<i32>),
    /// INT64.
    I64(Vec<i64>),
    /// DOUBLE, and FLOAT made wider.
    F64(Vec<f64>),
    /// BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY.
    Bytes(ByteArrays),
    /// BYTE_ARRAY as it is stored: codes into the dictionary of the column chunk, all of which it
    /// has.
    Coded(Vec<u32>, Arc<StringTable>),
}

impl Values {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::Coded(codes, _) => codes.len(),
        }
    }

    /// A byte string; empty past the end, and if these are none.
    #[inline]
    pub(crate) fn bytes(&self, at: usize) -> &[u8] {
        match self {
            Self::Bytes(values) => values.get(at).unwrap_or_default(),
            Self::Coded(codes, table) => codes.get(at).map_or(&[], |code| table.get(*code)),
            _ => &[],
        }
    }
}

/// Reads `rows`, counted in the row group, of a column chunk given as all its bytes. `n_rows` is
/// the number of rows in the row group.
pub(crate) fn read_leaf(
    chunk: Bytes,
    meta: &ColumnChunkMetaData,
    n_rows: u64,
    rows: Range<u64>,
) -> Result<LeafValues> {
    let (start, _) = meta.byte_range();
    let chunk = Arc::new(Chunk { start, bytes: chunk });
    let n_rows = to_usize(n_rows)?;
    let pages = SerializedPageReader::new(chunk, meta, n_rows, None).map_err(refused)?;
    let skip = to_usize(rows.start)?;
    let n = to_usize(rows.end.saturating_sub(rows.start))?;
    match get_column_reader(meta.column_descr_ptr(), Box::new(pages)) {
        ColumnReader::BoolColumnReader(reader) => read(reader, meta, skip, n, Values::Bool),
        ColumnReader::Int32ColumnReader(reader) => read(reader, meta, skip, n, Values::I32),
        ColumnReader::Int64ColumnReader(reader) => read(reader, meta, skip, n, Values::I64),
        ColumnReader::FloatColumnReader(reader) => read(reader, meta, skip, n, |values| {
            Values::F64(values.into_iter().map(f64::from).collect())
        }),
        ColumnReader::DoubleColumnReader(reader) => read(reader, meta, skip, n, Values::F64),
        ColumnReader::ByteArrayColumnReader(reader) => read(reader, meta, skip, n, |values| {
            Values::Bytes(values.iter().map(|value| value.data()).collect())
        }),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            read(reader, meta, skip, n, |values| {
                Values::Bytes(values.iter().map(|value| value.data()).collect())
            })
        }
        ColumnReader::Int96ColumnReader(_) => {
            Err(DecodeError::Unsupported("type INT96".to_owned()))
        }
    }
}

fn read<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    meta: &ColumnChunkMetaData,
    skip: usize,
    n: usize,
    collect: impl FnOnce(Vec<T::T>) -> Values,
) -> Result<LeafValues> {
    let skipped = reader.skip_records(skip).map_err(refused)?;
    let (mut def, mut rep, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut n_read = 0;
    let mut n_entries = 0;
    while skipped == skip && n_read < n {
        let (records, _, levels) = reader
            .read_records(n - n_read, Some(&mut def), Some(&mut rep), &mut values)
            .map_err(refused)?;
        if records == 0 {
            break;
        }
        n_read += records;
        n_entries += levels;
    }
    if n_read < n {
        return Err(DecodeError::corrupt("column chunk", skip + n, skipped + n_read, 0));
    }
    let descr = meta.column_descr();
    Ok(LeafValues {
        rep: levels(&rep, descr.max_rep_level(), n_entries)?,
        def: levels(&def, descr.max_def_level(), n_entries)?,
        values: collect(values),
    })
}

/// The library leaves levels out where they can only be 0.
fn levels(levels: &[i16], max: i16, n: usize) -> Result<Vec<u8>> {
    if max == 0 {
        return Ok(vec![0; n]);
    }
    levels
        .iter()
        .map(|&level| {
            u8::try_from(level).map_err(|_| DecodeError::Unsupported(format!("level {level}")))
        })
        .collect()
}

fn to_usize(n: u64) -> Result<usize> {
    usize::try_from(n).map_err(|_| DecodeError::Unsupported(format!("{n} rows")))
}

fn refused(error: ParquetError) -> DecodeError {
    match error {
        ParquetError::NYI(reason) => DecodeError::Unsupported(reason),
        other => DecodeError::corrupt("column chunk", "valid Parquet", other, 0),
    }
}

/// The bytes of one column chunk, addressed by their place in the file.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn slice(&self, start: u64, n: Option<usize>) -> parquet::errors::Result<Bytes> {
        let range = start.checked_sub(self.start).and_then(|from| {
            let from = usize::try_from(from).ok()?;
            let to = n.map_or(Some(self.bytes.len()), |n| from.checked_add(n))?;
            (from <= to && to <= self.bytes.len()).then_some(from..to)
        });
        range.map(|range| self.bytes.slice(range)).ok_or_else(|| {
            ParquetError::EOF(format!("byte {start} lies outside of the column chunk"))
        })
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.slice(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.slice(start, Some(length))
    }
}
