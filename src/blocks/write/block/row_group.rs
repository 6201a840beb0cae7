//! The rows that are not in the file yet: one column a leaf, encoded as rows come, so that a row
//! group is held as its pages rather than as its rows.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::leaf::LeafColumn;
use crate::read::merge::StoredRow;
use crate::schema::tree::{ExpectedLeaf, LeafCompression, LeafEncoding};

/// Values gathered before they are encoded together.
const BATCH_BYTES: u64 = 1 << 20;
/// A data page ends when it is about this large, uncompressed (`blocks.md` 4.1).
pub(super) const PAGE_BYTES: usize = 256 << 10;
/// Bounds of pages are cut to this length: no shorter than a trace id.
pub(super) const PAGE_BOUND_BYTES: usize = 16;
/// Bounds of column chunks are cut to this length, so that no footer holds whole texts.
pub(super) const CHUNK_BOUND_BYTES: usize = 64;
/// Pages of version 2 may say that they are not compressed. Ours always are where their chunk is, as
/// Tempo writes them.
const ALWAYS_COMPRESS: f64 = 1e9;

/// How the file is written: each leaf as the format demands, or, of a transient one, with the least
/// work. There, numbers are plain above all: each encoder of deltas sets a megabyte aside, and a block
/// of a few hundred traces has a hundred of them.
pub(super) fn properties(leaves: &[ExpectedLeaf], is_transient: bool) -> WriterPropertiesPtr {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(concat!("traceql version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_dictionary_enabled(false)
        // A chunk that falls back to another encoding is searched by its dictionary alone, and what
        // is not in there is not found.
        .set_dictionary_page_size_limit(usize::MAX)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(usize::MAX)
        .set_data_page_v2_compression_ratio_threshold(ALWAYS_COMPRESS)
        .set_column_index_truncate_length(Some(PAGE_BOUND_BYTES))
        .set_statistics_truncate_length(Some(CHUNK_BOUND_BYTES))
        // Of whole chunks they tell which columns hold anything, and so which attributes there are.
        .set_statistics_enabled(match is_transient {
            true => EnabledStatistics::Chunk,
            false => EnabledStatistics::Page,
        });
    for leaf in leaves {
        let path = ColumnPath::from(leaf.path.split('.').map(str::to_owned).collect::<Vec<_>>());
        let compression = match leaf.storage.compression {
            _ if is_transient => Compression::UNCOMPRESSED,
            LeafCompression::None => Compression::UNCOMPRESSED,
            LeafCompression::Snappy => Compression::SNAPPY,
            LeafCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
        };
        properties = properties.set_column_compression(path.clone(), compression);
        let encoding = match leaf.storage.encoding {
            LeafEncoding::Dictionary => None,
            _ if is_transient => Some(Encoding::PLAIN),
            LeafEncoding::Plain => Some(Encoding::PLAIN),
            LeafEncoding::DeltaBinaryPacked => Some(Encoding::DELTA_BINARY_PACKED),
            LeafEncoding::DeltaLengthByteArray => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        };
        properties = match encoding {
            Some(encoding) => properties.set_column_encoding(path.clone(), encoding),
            None => properties.set_column_dictionary_enabled(path.clone(), true),
        };
        if !leaf.storage.bounds {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    Arc::new(properties.build())
}

/// A row group under construction.
#[derive(Debug)]
pub(super) struct RowGroup {
    leaves: Vec<LeafColumn>,
    n_bytes: u64,
    flushed_bytes: u64,
}

impl RowGroup {
    pub(super) fn new(
        leaves: &[ExpectedLeaf],
        schema: &SchemaDescriptor,
        properties: &WriterPropertiesPtr,
    ) -> Self {
        let columns = leaves.iter().zip(schema.columns());
        let leaves = columns
            .map(|(leaf, column)| LeafColumn::new(leaf, Arc::clone(column), Arc::clone(properties)))
            .collect();
        Self { leaves, n_bytes: 0, flushed_bytes: 0 }
    }

    /// The leaves, for one more row.
    pub(super) fn leaves(&mut self) -> &mut [LeafColumn] {
        &mut self.leaves
    }

    /// Adds a row that another file has, laid out as this one.
    pub(super) fn copy(&mut self, row: StoredRow<'_>) -> Result<()> {
        let leaves = self.leaves.iter_mut().zip(row.step.leaves());
        for (leaf, from) in leaves {
            leaf.copy(from, row.row, row.input)?;
        }
        Ok(())
    }

    /// Ends a row.
    pub(super) fn end_row(&mut self) -> Result<()> {
        self.n_bytes = self.leaves.iter().map(LeafColumn::n_bytes).sum();
        if self.n_bytes - self.flushed_bytes >= BATCH_BYTES {
            self.leaves.iter_mut().try_for_each(LeafColumn::flush)?;
            self.flushed_bytes = self.n_bytes;
        }
        Ok(())
    }

    /// Bytes of all rows once encoded, but not compressed; an estimate.
    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Moves the rows into the file.
    pub(super) fn close(self, file: &mut SerializedFileWriter<Vec<u8>>) -> Result<()> {
        let mut row_group = file.next_row_group()?;
        for leaf in self.leaves {
            let (pages, closed) = leaf.close()?;
            row_group.append_column(&pages, closed)?;
        }
        row_group.close()?;
        Ok(())
    }
}
