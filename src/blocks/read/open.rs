//! Opening a block: footer, schema, page locations and dictionaries, each read once and cached,
//! since blocks never change. Knows nothing of conditions.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

pub use super::context::{IoStats, MemoryLimit, ReadContext};
use super::dictionary::{dictionary_bytes, parse_dictionary};
use super::encoding::ByteArrays;
use super::page::{DecodeError, LeafShape};
pub use super::shared::SharedPages;
use super::thrift::{self, PageLocation};
use super::values::StringTable;
use crate::bucket::Block;
use crate::error::{Error, Result};
use crate::schema::{BlockSchema, LeafIndex};

/// Bytes before the footer that are read with it: page locations usually lie there.
const TAIL_BYTES: u64 = 64 << 10;

/// Blocks whose footers are kept, about: for the size of tables, not a bound.
const OPEN_BLOCKS: usize = 64;

/// One part in so many of the cache is for footers.
const FOOTER_SHARE: u64 = 2;

/// Footers, page locations and dictionaries of blocks, bounded in bytes.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Cache<String, Arc<OpenBlock>, BlockWeight>,
    /// Blocks that someone holds, kept or not: a footer that is larger than the cache is not to be
    /// read again for every unit of a query.
    held: Mutex<HashMap<String, Weak<OpenBlock>>>,
    /// Footers that were read: the cache counts a miss again while others wait for it.
    read: AtomicU64,
    tables: Cache<TableKey, Arc<StringTable>, TableWeight>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TableKey {
    file: Arc<str>,
    row_group: usize,
    leaf: LeafIndex,
}

#[derive(Clone, Debug)]
struct TableWeight;

impl Weighter<TableKey, Arc<StringTable>> for TableWeight {
    fn weight(&self, _: &TableKey, table: &Arc<StringTable>) -> u64 {
        table.size_bytes() as u64 + 64
    }
}

#[derive(Clone, Debug)]
struct BlockWeight;

impl Weighter<String, Arc<OpenBlock>> for BlockWeight {
    fn weight(&self, name: &String, open: &Arc<OpenBlock>) -> u64 {
        let footer = open.metadata.memory_size();
        // The library shares columns' descriptions between row groups, our schema adds as many.
        (name.len() + footer + open.tail.1.len()) as u64
    }
}

/// What a cache has been good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCount {
    /// Times something was found.
    pub hits: u64,
    /// Times it was not.
    pub misses: u64,
    /// Bytes kept.
    pub bytes: u64,
}

/// The same of both caches of a [`BlockCache`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Footers, with page indexes.
    pub footers: CacheCount,
    /// Dictionaries.
    pub dictionaries: CacheCount,
}

impl BlockCache {
    /// What the caches have been good for.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        let Self { blocks, read, tables, .. } = self;
        CacheCounts {
            footers: CacheCount {
                hits: blocks.hits(),
                misses: read.load(Ordering::Relaxed),
                bytes: blocks.weight(),
            },
            dictionaries: CacheCount {
                hits: tables.hits(),
                misses: tables.misses(),
                bytes: tables.weight(),
            },
        }
    }

    /// A cache that keeps at most this many bytes: up to half of them footers, the rest
    /// dictionaries.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Self {
        let footers = capacity_bytes as u64 / FOOTER_SHARE;
        Self {
            blocks: Cache::with_weighter(OPEN_BLOCKS, footers, BlockWeight),
            held: Mutex::default(),
            read: AtomicU64::new(0),
            tables: Cache::with_weighter(1_024, capacity_bytes as u64 - footers, TableWeight),
        }
    }

    /// Forgets what is kept of a block that is gone, given the URL of its file.
    pub fn forget(&self, file: &str) {
        self.blocks.remove(file);
        self.tables.retain(|key, _| &*key.file != file);
    }

    /// The block of this name that somebody holds.
    fn held(&self, name: &str) -> Option<Arc<OpenBlock>> {
        self.held.lock().get(name).and_then(Weak::upgrade)
    }

    fn hold(&self, name: String, open: &Arc<OpenBlock>) {
        let mut held = self.held.lock();
        held.retain(|_, open| open.strong_count() > 0);
        held.insert(name, Arc::downgrade(open));
    }
}

/// Page locations by row group and leaf, as far as they have been read.
type PageIndexes = HashMap<(usize, LeafIndex), Arc<[PageLocation]>>;

/// A block whose footer has been read.
#[derive(Debug)]
pub struct OpenBlock {
    /// Where it is and what its `meta.json` says.
    pub block: Block,
    /// Where its file keeps what.
    pub schema: BlockSchema,
    name: Arc<str>,
    metadata: ParquetMetaData,
    first_rows: Vec<u64>,
    indexes: Mutex<PageIndexes>,
    /// One for each row group.
    turns: Vec<Turns>,
    tail: (u64, Bytes),
}

/// Held by who fetches what every reader of a row group will want: the others then find it known, and
/// need not fetch it too.
#[derive(Debug, Default)]
struct Turns {
    locations: tokio::sync::Mutex<()>,
    /// Dictionaries that somebody holds, whether the cache has room for them or not.
    tables: tokio::sync::Mutex<HashMap<LeafIndex, Weak<StringTable>>>,
}

impl OpenBlock {
    /// Reads the footer, or takes it from the cache. Of those who ask at the same time one reads it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the object and the bytes if it is not the Parquet file that
    /// `meta.json` describes; storage errors.
    pub async fn open(block: &Block, context: &ReadContext) -> Result<Arc<Self>> {
        let name = block.object_url(&block.data);
        let cache = &context.cache;
        let place = match cache.blocks.get_value_or_guard_async(&name).await {
            Ok(open) => return Ok(open),
            Err(place) => place,
        };
        let open = match cache.held(&name) {
            Some(open) => open,
            None => {
                cache.read.fetch_add(1, Ordering::Relaxed);
                Arc::new(Self::read(block, &name, context).await?)
            }
        };
        cache.hold(name, &open);
        // It is refused if the block was forgotten in the meantime.
        place.insert(Arc::clone(&open)).ok();
        Ok(open)
    }

    async fn read(block: &Block, name: &str, context: &ReadContext) -> Result<Self> {
        let size = block.meta.size_bytes;
        if size < 12 {
            return Err(Error::corrupt(name, None, "a Parquet file", format!("{size} bytes")));
        }
        let guess = u64::from(block.meta.footer_size) + 8 + TAIL_BYTES;
        let mut tail_start = size.saturating_sub(guess);
        let mut tail =
            one(context.fetch(block, std::iter::once(tail_start..size).collect()).await?)?;
        let ending = &tail[tail.len() - 8..];
        if &ending[4..] != b"PAR1" {
            return Err(Error::corrupt(
                name,
                Some(size - 4..size),
                "the magic PAR1 at the end",
                format!("{:?}", String::from_utf8_lossy(&ending[4..])),
            ));
        }
        let footer = u64::from(u32::from_le_bytes([ending[0], ending[1], ending[2], ending[3]]));
        let Some(footer_start) = size.checked_sub(footer + 8) else {
            return Err(Error::corrupt(
                name,
                Some(size - 8..size - 4),
                format!("a footer length below the file's {size} bytes"),
                footer.to_string(),
            ));
        };
        if footer_start < tail_start {
            tail =
                one(context.fetch(block, std::iter::once(footer_start..size).collect()).await?)?;
            tail_start = footer_start;
        }
        let from = usize::try_from(footer_start - tail_start).unwrap_or(usize::MAX);
        let metadata = ParquetMetaDataReader::decode_metadata(&tail[from..tail.len() - 8])
            .map_err(|error| {
                Error::corrupt(
                    name,
                    Some(footer_start..size - 8),
                    "a Parquet footer",
                    error.to_string(),
                )
            })?;
        let schema = BlockSchema::new(name, &block.meta, metadata.file_metadata().schema_descr())?;
        let mut first_rows = vec![0];
        for row_group in metadata.row_groups() {
            let n_rows = u32::try_from(row_group.num_rows()).map_err(|_| {
                Error::corrupt(
                    name,
                    Some(footer_start..size - 8),
                    "a row count of 32 bits per row group",
                    row_group.num_rows().to_string(),
                )
            })?;
            first_rows.push(first_rows.last().copied().unwrap_or(0) + u64::from(n_rows));
        }
        Ok(Self {
            block: block.clone(),
            schema,
            name: Arc::from(name),
            turns: std::iter::repeat_with(Turns::default).take(metadata.num_row_groups()).collect(),
            metadata,
            first_rows,
            indexes: Mutex::default(),
            // A copy: a store in memory gives parts of whole objects, which would stay as long as this
            // is kept, though the object is gone.
            tail: (tail_start, Bytes::copy_from_slice(&tail[..from])),
        })
    }

    /// URL of the Parquet file, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, for keys that outlive this.
    pub(crate) fn name_shared(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The footer as the Parquet library has it.
    #[must_use]
    pub fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Number of row groups in the file (its `meta.json` may say one more).
    #[must_use]
    pub fn n_row_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Rows (traces) of a row group, counted over the file.
    #[must_use]
    pub fn row_group_rows(&self, row_group: usize) -> Range<u64> {
        self.first_rows[row_group]..self.first_rows[row_group + 1]
    }

    /// Number of rows (traces) of a row group.
    #[must_use]
    pub fn n_rows(&self, row_group: usize) -> u32 {
        let rows = self.row_group_rows(row_group);
        u32::try_from(rows.end - rows.start).unwrap_or(u32::MAX)
    }

    pub(crate) fn chunk(&self, row_group: usize, leaf: LeafIndex) -> &ColumnChunkMetaData {
        self.metadata.row_group(row_group).column(leaf)
    }

    /// Smallest and greatest trace id of a row group, if statistics tell.
    #[must_use]
    pub fn trace_id_bounds(&self, row_group: usize) -> Option<([u8; 16], [u8; 16])> {
        let leaf = self.schema.leaf("TraceID")?.index;
        let statistics = self.chunk(row_group, leaf).statistics()?;
        let bound = |bytes: Option<&[u8]>| <[u8; 16]>::try_from(bytes?).ok();
        Some((bound(statistics.min_bytes_opt())?, bound(statistics.max_bytes_opt())?))
    }

    /// When the first trace of a row group starts and the last one ends, unix nanoseconds, if statistics
    /// tell. A span that ends before it starts may start later.
    #[must_use]
    pub fn trace_times(&self, row_group: usize) -> Option<(u64, u64)> {
        let bounds = |leaf: &str| {
            let leaf = self.schema.leaf(leaf)?.index;
            match self.chunk(row_group, leaf).statistics()? {
                Statistics::Int64(times) => Some((*times.min_opt()?, *times.max_opt()?)),
                _ => None,
            }
        };
        let (start, _) = bounds("StartTimeUnixNano")?;
        let (_, end) = bounds("EndTimeUnixNano")?;
        Some((start.cast_unsigned(), end.cast_unsigned()))
    }

    /// Level and type facts of a leaf, for decoding its pages.
    pub(crate) fn shape(
        &self,
        row_group: usize,
        leaf: LeafIndex,
    ) -> Result<LeafShape, DecodeError> {
        let chunk = self.chunk(row_group, leaf);
        LeafShape::of(chunk.column_descr(), chunk.compression())
    }

    /// The bytes of a column chunk, dictionary page included.
    pub(crate) fn chunk_range(&self, row_group: usize, leaf: LeafIndex) -> Result<Range<u64>> {
        let chunk = self.chunk(row_group, leaf);
        let start = match chunk.dictionary_page_offset() {
            // Some writers leave 0 for "none".
            Some(offset) if offset > 0 => offset.min(chunk.data_page_offset()),
            _ => chunk.data_page_offset(),
        };
        let (start, length) =
            (u64::try_from(start).ok(), u64::try_from(chunk.compressed_size()).ok());
        match (start, length) {
            (Some(start), Some(length))
                if start
                    .checked_add(length)
                    .is_some_and(|end| end <= self.block.meta.size_bytes) =>
            {
                Ok(start..start + length)
            }
            _ => Err(self.corrupt_chunk(row_group, leaf, "a column chunk inside the file")),
        }
    }

    /// What a column chunk takes once it is decoded, as the footer says.
    pub(crate) fn chunk_bytes(&self, row_group: usize, leaf: LeafIndex) -> u64 {
        u64::try_from(self.chunk(row_group, leaf).uncompressed_size()).unwrap_or(u64::MAX)
    }

    fn corrupt_chunk(&self, row_group: usize, leaf: LeafIndex, expected: &str) -> Error {
        let chunk = self.chunk(row_group, leaf);
        Error::corrupt(
            self.name(),
            None,
            format!("{expected} for leaf {}", self.schema.leaves()[leaf].path),
            format!("offset {}, {} bytes", chunk.data_page_offset(), chunk.compressed_size()),
        )
    }

    /// Adds the place and meaning of a decoding failure.
    pub(crate) fn decode_error(
        &self,
        row_group: usize,
        leaf: LeafIndex,
        bytes: Option<Range<u64>>,
        error: DecodeError,
    ) -> Error {
        let path = &self.schema.leaves()[leaf].path;
        match error {
            DecodeError::Unsupported(reason) => Error::Unsupported {
                key: self.name().to_owned(),
                reason: format!("leaf {path} in row group {row_group}: {reason}"),
            },
            DecodeError::Corrupt { what, expected, found, .. } => Error::corrupt(
                self.name(),
                bytes,
                format!("{expected} in {what} of leaf {path}, row group {row_group}"),
                found,
            ),
        }
    }

    /// Page locations of leaves that are not known yet are read, all in one go.
    pub(crate) async fn load_page_locations(
        &self,
        row_group: usize,
        leaves: &[LeafIndex],
        context: &ReadContext,
    ) -> Result<()> {
        let is_known = |leaf: &LeafIndex| self.known_locations(row_group, *leaf).is_some();
        if leaves.iter().all(is_known) {
            return Ok(());
        }
        let _turn = self.turns[row_group].locations.lock().await;
        let mut wanted = Vec::new();
        for &leaf in leaves {
            if is_known(&leaf) {
                continue;
            }
            if self.locations_in_tail(row_group, leaf)?.is_none() {
                wanted.push(leaf);
            }
        }
        let ranges = wanted
            .iter()
            .map(|leaf| match self.offset_index_range(row_group, *leaf) {
                Some(range) => Ok(range),
                // No offset index: the pages are found by walking the chunk.
                None => self.chunk_range(row_group, *leaf),
            })
            .collect::<Result<Vec<_>>>()?;
        let blobs = context.fetch(&self.block, ranges.clone()).await?;
        for ((leaf, range), blob) in wanted.into_iter().zip(ranges).zip(blobs) {
            let locations = if self.offset_index_range(row_group, leaf).is_some() {
                thrift::parse_offset_index(&blob)
            } else {
                self.shape(row_group, leaf)
                    .and_then(|shape| super::locate::locate_pages(&blob, range.start, &shape))
            }
            .map_err(|error| self.decode_error(row_group, leaf, Some(range), error))?;
            self.remember_locations(row_group, leaf, locations)?;
        }
        Ok(())
    }

    fn locations_in_tail(&self, row_group: usize, leaf: LeafIndex) -> Result<Option<()>> {
        let (tail_start, tail) = &self.tail;
        let Some(range) = self.offset_index_range(row_group, leaf) else { return Ok(None) };
        if range.start < *tail_start || range.end > tail_start + tail.len() as u64 {
            return Ok(None);
        }
        let at = |offset: u64| usize::try_from(offset - tail_start).unwrap_or(usize::MAX);
        let locations = thrift::parse_offset_index(&tail[at(range.start)..at(range.end)])
            .map_err(|error| self.decode_error(row_group, leaf, Some(range), error))?;
        self.remember_locations(row_group, leaf, locations).map(Some)
    }

    fn remember_locations(
        &self,
        row_group: usize,
        leaf: LeafIndex,
        locations: Vec<PageLocation>,
    ) -> Result<()> {
        let chunk = self.chunk_range(row_group, leaf)?;
        let n_rows = u64::from(self.n_rows(row_group));
        let rows_ascend = locations.windows(2).all(|pair| pair[0].first_row < pair[1].first_row)
            && locations.first().is_none_or(|first| first.first_row == 0)
            && locations.last().is_none_or(|last| last.first_row < n_rows)
            && locations.is_empty() == (n_rows == 0);
        let inside = locations.iter().all(|location| {
            location.offset >= chunk.start
                && location
                    .offset
                    .checked_add(location.compressed_size as u64)
                    .is_some_and(|end| end <= chunk.end)
        });
        if !rows_ascend || !inside {
            return Err(self.corrupt_chunk(
                row_group,
                leaf,
                "pages in row order inside the column chunk",
            ));
        }
        self.indexes.lock().insert((row_group, leaf), locations.into());
        Ok(())
    }

    fn offset_index_range(&self, row_group: usize, leaf: LeafIndex) -> Option<Range<u64>> {
        let chunk = self.chunk(row_group, leaf);
        let start = u64::try_from(chunk.offset_index_offset()?).ok()?;
        let end = start.checked_add(u64::try_from(chunk.offset_index_length()?).ok()?)?;
        (end <= self.block.meta.size_bytes && start < end).then_some(start..end)
    }

    pub(crate) fn known_locations(
        &self,
        row_group: usize,
        leaf: LeafIndex,
    ) -> Option<Arc<[PageLocation]>> {
        self.indexes.lock().get(&(row_group, leaf)).cloned()
    }

    /// Bytes of the dictionary page of a leaf, `None` if its chunk has none.
    pub(crate) fn dictionary_range(
        &self,
        row_group: usize,
        leaf: LeafIndex,
    ) -> Result<Option<Range<u64>>> {
        let chunk = self.chunk(row_group, leaf);
        let Some(start) = chunk.dictionary_page_offset().filter(|offset| *offset > 0) else {
            return Ok(None);
        };
        // The dictionary page ends where the first data page starts.
        match (u64::try_from(start), u64::try_from(chunk.data_page_offset())) {
            (Ok(start), Ok(end)) if start < end && end <= self.block.meta.size_bytes => {
                Ok(Some(start..end))
            }
            _ => {
                Err(self.corrupt_chunk(row_group, leaf, "a dictionary page before the data pages"))
            }
        }
    }

    /// The dictionary of a leaf if it is in the cache.
    pub(crate) fn known_table(
        &self,
        row_group: usize,
        leaf: LeafIndex,
        context: &ReadContext,
    ) -> Option<Arc<StringTable>> {
        context.cache.tables.get(&self.table_key(row_group, leaf))
    }

    /// Reads dictionaries, all in one go, and keeps them in the cache as far as there is room.
    pub(crate) async fn load_tables(
        &self,
        row_group: usize,
        leaves: &[LeafIndex],
        context: &ReadContext,
    ) -> Result<Vec<(LeafIndex, Arc<StringTable>)>> {
        let mut held = self.turns[row_group].tables.lock().await;
        let mut tables = Vec::with_capacity(leaves.len());
        let (mut wanted, mut ranges) = (Vec::new(), Vec::new());
        for &leaf in leaves {
            let known = self.known_table(row_group, leaf, context);
            if let Some(table) = known.or_else(|| held.get(&leaf).and_then(Weak::upgrade)) {
                tables.push((leaf, table));
            } else if let Some(range) = self.dictionary_range(row_group, leaf)? {
                wanted.push(leaf);
                ranges.push(range);
            }
        }
        for (leaf, range) in wanted.iter().zip(&ranges) {
            self.check_dictionary(row_group, *leaf, range.end - range.start, context)?;
        }
        let blobs = context.fetch(&self.block, ranges.clone()).await?;
        for ((leaf, range), blob) in wanted.into_iter().zip(ranges).zip(blobs) {
            let fail = |error| self.decode_error(row_group, leaf, Some(range.clone()), error);
            let n_bytes = dictionary_bytes(&blob).map_err(fail)?;
            self.check_dictionary(row_group, leaf, n_bytes, context)?;
            let table = self
                .shape(row_group, leaf)
                .and_then(|shape| parse_dictionary(blob, &shape))
                .map(string_table)
                .map_err(fail)?;
            let table = Arc::new(table);
            context.cache.tables.insert(self.table_key(row_group, leaf), Arc::clone(&table));
            held.insert(leaf, Arc::downgrade(&table));
            tables.push((leaf, table));
        }
        Ok(tables)
    }

    fn check_dictionary(
        &self,
        row_group: usize,
        leaf: LeafIndex,
        n_bytes: u64,
        context: &ReadContext,
    ) -> Result<()> {
        context.memory.check(n_bytes, self.name(), || {
            let path = &self.schema.leaves()[leaf].path;
            format!("the dictionary of leaf {path} in row group {row_group}")
        })
    }

    fn table_key(&self, row_group: usize, leaf: LeafIndex) -> TableKey {
        TableKey { file: Arc::clone(&self.name), row_group, leaf }
    }
}

fn string_table(strings: ByteArrays) -> StringTable {
    let (offsets, data) = strings.into_parts();
    StringTable::new(offsets, data)
}

fn one(mut blobs: Vec<Bytes>) -> Result<Bytes> {
    blobs.pop().ok_or_else(|| Error::Unreachable {
        key: String::new(),
        reason: "the store answered without bytes".to_owned(),
    })
}
