//! What a query costs in requests and bytes: a store that counts what passes through it.
//!
//! Counts are those of a remote store, wherever the data lies, so that a figure measured on a disk
//! holds for a bucket: ranges of one call that lie close together are one request, and the gaps
//! between them are bytes fetched. Retries are not counted again.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, path::Path,
};

/// Requests and bytes of one query, counted by every store and thread that works for it.
#[derive(Debug, Default)]
pub struct IoCounters {
    gets: AtomicU64,
    lists: AtomicU64,
    bytes: AtomicU64,
}

/// A reading of [`IoCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoStats {
    /// Reads of objects, ranges of objects, or their metadata.
    pub gets: u64,
    /// Listings; one that is long counts once however many pages it has.
    pub lists: u64,
    /// Bytes of objects read. Bytes of a stream count as they arrive.
    pub bytes: u64,
}

impl IoStats {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.gets + self.lists
    }
}

impl IoCounters {
    /// What has been counted so far.
    #[must_use]
    pub fn stats(&self) -> IoStats {
        IoStats {
            gets: self.gets.load(Relaxed),
            lists: self.lists.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }

    fn count_get(&self, bytes: u64) {
        self.gets.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn count_list(&self) {
        self.lists.fetch_add(1, Relaxed);
    }
}

/// Counts reads and listings of the store it wraps. Writes pass uncounted.
#[derive(Clone, Debug)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<IoCounters>,
}

impl CountingStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, counters: Arc<IoCounters>) -> Self {
        Self { inner, counters }
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a default would bypass the wrapped store's own")]
impl ObjectStore for CountingStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let result = self.inner.get_opts(location, options).await;
        let known = match &result {
            Ok(found) if !is_head && matches!(found.payload, GetResultPayload::File(..)) => {
                found.range.end - found.range.start
            }
            _ => 0,
        };
        self.counters.count_get(known);
        let mut found = result?;
        if let GetResultPayload::Stream(stream) = found.payload {
            let counters = Arc::clone(&self.counters);
            found.payload = GetResultPayload::Stream(
                stream
                    .inspect(move |bytes| {
                        if let Ok(bytes) = bytes {
                            counters.bytes.fetch_add(bytes.len() as u64, Relaxed);
                        }
                    })
                    .boxed(),
            );
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let result = self.inner.get_ranges(location, ranges).await;
        for range in merged(ranges) {
            self.counters.count_get(if result.is_ok() { range.end - range.start } else { 0 });
        }
        result
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.count_list();
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.count_list();
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counters.count_list();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// The ranges a remote store fetches for these: the rule of `object_store::coalesce_ranges`.
fn merged(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start.saturating_sub(last.end) <= OBJECT_STORE_COALESCE_DEFAULT => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory};

    use super::*;

    const MIB: u64 = 1 << 20;

    async fn check(inner: Arc<dyn ObjectStore>) {
        let key = Path::from("a/b");
        let payload = vec![7; usize::try_from(5 * MIB).unwrap()];
        inner.put(&key, payload.into()).await.unwrap();
        let counters = Arc::new(IoCounters::default());
        let store = CountingStore::new(inner, Arc::clone(&counters));
        let mut expect = IoStats::default();

        assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap().len(), 5 << 20);
        (expect.gets, expect.bytes) = (1, 5 * MIB);
        assert_eq!(counters.stats(), expect);

        store.head(&key).await.unwrap();
        expect.gets += 1;
        assert_eq!(counters.stats(), expect);

        store.get_range(&key, 10..20).await.unwrap();
        (expect.gets, expect.bytes) = (expect.gets + 1, expect.bytes + 10);
        assert_eq!(counters.stats(), expect);

        // The first two are one request, the gap between them included.
        store.get_ranges(&key, &[100..200, 0..10, 4 * MIB..4 * MIB + 1]).await.unwrap();
        (expect.gets, expect.bytes) = (expect.gets + 2, expect.bytes + 201);
        assert_eq!(counters.stats(), expect);

        assert!(store.get(&Path::from("nothing")).await.is_err());
        expect.gets += 1;
        assert_eq!(counters.stats(), expect);

        assert_eq!(store.list(None).count().await, 1);
        store.list_with_delimiter(None).await.unwrap();
        expect.lists = 2;
        assert_eq!(counters.stats(), expect);
        assert_eq!(expect.requests(), expect.gets + 2);
    }

    #[tokio::test]
    async fn memory_and_disk_count_alike() {
        check(Arc::new(InMemory::new())).await;
        let folder = tempfile::tempdir().unwrap();
        check(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
    }

    #[test]
    fn ranges_merge_across_small_gaps() {
        let check = |ranges: &[Range<u64>], expect: &[(u64, u64)]| {
            let merged: Vec<_> = merged(ranges).iter().map(|r| (r.start, r.end)).collect();
            assert_eq!(merged, expect, "{ranges:?}");
        };
        check(&[], &[]);
        check(&[5..9, 0..3], &[(0, 9)]);
        check(&[0..1, 1 + MIB..2 + MIB], &[(0, 2 + MIB)]);
        check(&[0..1, 2 + MIB..3 + MIB], &[(0, 1), (2 + MIB, 3 + MIB)]);
        check(&[0..100, 10..20], &[(0, 100)]);
    }
}
