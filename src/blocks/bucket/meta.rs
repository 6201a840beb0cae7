//! `meta.json`: what a block says of itself (`blocks.md` 1.2).

use uuid::Uuid;

/// Contents of `meta.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMeta {
    /// Format version of the block.
    pub version: FormatVersion,
    /// The block's id.
    pub block_id: Uuid,
    /// The owner of the data.
    pub tenant: String,
    /// Earliest span start, unix nanoseconds.
    pub start_unix_nanos: i64,
    /// Latest span end, unix nanoseconds.
    pub end_unix_nanos: i64,
    /// Number of traces (rows).
    pub total_objects: u64,
    /// Bytes of `data.parquet`.
    pub size_bytes: u64,
    /// 0 for a flushed block, one more for each compaction.
    pub compaction_level: u32,
    /// Number of row groups, perhaps one too many (3.1).
    pub total_records: u32,
    /// Number of bloom shards; the 0 of old writers has become 10.
    pub bloom_shards: u32,
    /// Length of the Parquet footer without the 8 trailing bytes; 0 if unknown.
    pub footer_size: u32,
    /// Dedicated columns in order (4.5).
    pub dedicated_columns: Vec<DedicatedColumn>,
    /// 1 for blocks of Tempo 3.x, 0 for old replicated ones.
    pub replication_factor: u32,
}

/// Format version of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the format's own")]
pub enum FormatVersion {
    VParquet3,
    VParquet4,
    VParquet5,
}

/// An attribute that has a column of its own in this block (`blocks.md` 4.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DedicatedColumn {
    /// Where the attribute lives.
    pub scope: DedicatedScope,
    /// Its key.
    pub name: String,
    /// The type the column holds; other types stay in the generic list.
    pub column_type: DedicatedType,
    /// Option `blob`: no dictionary, zstd.
    pub blob: bool,
    /// Option `array`: a hint that arrays are expected.
    pub array: bool,
}

/// Scope of a dedicated column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the scopes of the language")]
pub enum DedicatedScope {
    Resource,
    Span,
    Event,
}

/// Type of a dedicated column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the types of the language")]
pub enum DedicatedType {
    String,
    Int,
}
