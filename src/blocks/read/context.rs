//! How one query reads: its counters, the memory it may take, and ranges of a block's file fetched,
//! near ones in one request. Knows nothing of what is in the bytes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;

use super::open::BlockCache;
use super::resident;
use super::shared::SharedPages;
use crate::bucket::Block;
use crate::error::{Error, Result};

/// Ranges closer than this are read in one request: a request costs more than the bytes between.
const COALESCE_GAP_BYTES: u64 = 32 << 10;

/// Requests and bytes of one query.
#[derive(Debug, Default)]
pub struct IoStats {
    /// Requests made to the store.
    pub requests: AtomicU64,
    /// Bytes that came back.
    pub bytes: AtomicU64,
    /// Data pages decoded.
    pub pages: AtomicU64,
    /// Row groups that a dictionary or statistics proved empty.
    pub row_groups_skipped: AtomicU64,
    /// Requests and bytes of all queries together, where somebody counts them: a query that is given
    /// up has read what it has read.
    pub total: Option<Arc<Self>>,
}

impl IoStats {
    /// One request that brought so many bytes.
    pub(crate) fn count(&self, n_bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(n_bytes, Ordering::Relaxed);
        if let Some(total) = &self.total {
            total.count(n_bytes);
        }
    }
}

/// How much memory a query may take, and among how many readers at a time it is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Of the whole query.
    pub bytes: u64,
    /// Readers that hold pages at the same time, at least 1.
    pub readers: u64,
}

impl MemoryLimit {
    /// No limit.
    pub const NONE: Self = Self { bytes: u64::MAX, readers: 1 };

    /// What one reader may hold.
    #[must_use]
    pub fn share_bytes(self) -> u64 {
        self.bytes / self.readers.max(1)
    }

    /// Refuses what would not fit a reader's share: `what` is a part of the object `key`.
    ///
    /// # Errors
    /// [`Error::Memory`] naming object and sizes.
    pub(crate) fn check(
        self,
        needed_bytes: u64,
        key: &str,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        let share_bytes = self.share_bytes();
        if needed_bytes <= share_bytes {
            return Ok(());
        }
        let limit_bytes = self.bytes;
        Err(Error::Memory {
            key: key.to_owned(),
            what: what(),
            needed_bytes,
            share_bytes,
            limit_bytes,
        })
    }
}

/// How one query reads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadContext {
    /// What is known of blocks already.
    pub cache: Arc<BlockCache>,
    /// What this query has read.
    pub stats: Arc<IoStats>,
    /// What the readers of this query have fetched and hold.
    pub shared: Arc<SharedPages>,
    /// Where reads run; `None` for the caller's runtime.
    pub io: Option<tokio::runtime::Handle>,
    /// Skip what metadata proves empty. Off only in tests.
    pub pruning: bool,
    /// Decode with the Parquet library's own column reader. For tests, and as the fallback.
    pub library_reader: bool,
    /// Refuse pages that do not fit their checksum. The verifier reads on, to say what else is wrong.
    pub checksums: bool,
    /// The reader may stop before the end of a row group: of a page that goes on behind the window
    /// only the beginning is decoded.
    pub stops_early: bool,
    /// What pages and dictionaries may take that must be held at once.
    pub memory: MemoryLimit,
}

impl ReadContext {
    /// Reads with a cache of this size, everything else at its default.
    #[must_use]
    pub fn new(cache: Arc<BlockCache>) -> Self {
        Self {
            cache,
            stats: Arc::default(),
            shared: Arc::default(),
            io: None,
            pruning: true,
            library_reader: false,
            checksums: true,
            stops_early: false,
            memory: MemoryLimit::NONE,
        }
    }

    /// Reads ranges of a block's Parquet file, near ones in one request, all at once.
    pub(crate) async fn fetch(&self, block: &Block, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let merged = coalesce(&ranges);
        let n_bytes: u64 = merged.iter().map(|range| range.end - range.start).sum();
        self.memory.check(n_bytes, &block.object_url(&block.data), || {
            let (start, end) = (merged[0].start, merged[merged.len() - 1].end);
            format!("what is read between bytes {start} and {end}")
        })?;
        self.stats.requests.fetch_add(merged.len() as u64, Ordering::Relaxed);
        self.stats.bytes.fetch_add(n_bytes, Ordering::Relaxed);
        let blobs = match resident::read(block, &merged) {
            Some(blobs) => blobs,
            None => self.read_stored(block, &merged).await?,
        };
        ranges
            .into_iter()
            .map(|range| {
                let at = merged.partition_point(|m| m.end < range.end);
                let (Some(from), Some(blob)) = (merged.get(at), blobs.get(at)) else {
                    return Err(short_read(block, &range, 0));
                };
                let start = usize::try_from(range.start - from.start).unwrap_or(usize::MAX);
                let end = usize::try_from(range.end - from.start).unwrap_or(usize::MAX);
                if end > blob.len() {
                    return Err(short_read(block, &range, blob.len()));
                }
                Ok(blob.slice(start..end))
            })
            .collect()
    }

    /// Reads through the store, where its runtime's threads may wait.
    async fn read_stored(&self, block: &Block, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (store, path, asked) = (Arc::clone(&block.store), block.data.clone(), ranges.to_vec());
        let is_local = block.is_local();
        // `get_ranges` of a remote store would merge ranges across a megabyte; ours are merged already.
        let read = async move {
            if asked.len() == 1 {
                store.get_range(&path, asked[0].clone()).await.map(|bytes| vec![bytes])
            } else if is_local {
                store.get_ranges(&path, &asked).await
            } else {
                let reads = asked.iter().map(|range| store.get_range(&path, range.clone()));
                futures::future::try_join_all(reads).await
            }
        };
        match &self.io {
            Some(io) => io.spawn(read).await.map_err(|join| Error::Unreachable {
                key: block.object_url(&block.data),
                reason: join.to_string(),
            })?,
            None => read.await,
        }
        .map_err(|error| Error::storage("block data", block.object_url(&block.data), error))
    }
}

fn short_read(block: &Block, range: &Range<u64>, found: usize) -> Error {
    Error::corrupt(
        block.object_url(&block.data),
        Some(range.clone()),
        format!("{} bytes", range.end - range.start),
        format!("{found} bytes: the object is shorter than its metadata says"),
    )
}

fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(COALESCE_GAP_BYTES) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}
