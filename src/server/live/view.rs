//! Live traces as queries see them: blocks of each tenant, in memory, made when a query asks and
//! something has changed since. Whatever reads blocks reads them too; of a server that nobody asks,
//! nothing is made.
//!
//! Traces that still grow are encoded anew by the first query after a change. Those that have come
//! to rest wait much longer until they are flushed; they are encoded once, into blocks of their own,
//! of which small ones are merged into larger ones. If one of them grows all the same it lies in two
//! blocks, as any trace may, and is judged whole.
//!
//! A block that is out of date is removed when no query is left that may have been told of it: each
//! holds a [`Reading`] while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;
use traceql_blocks::bucket::live::{LiveBlocks, LiveBlocksFuture};
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::bucket::{Block, path};
use traceql_blocks::model::TraceId;
use traceql_blocks::write::block::{BlockPlace, BlockSettings, BlockWriter};

use super::Live;
use super::flush::{block_at, write_traces};
use super::traces::SnapshotTrace;

/// How messages name the store.
const STORE_URL: &str = "live:";

/// The blocks of all tenants.
#[derive(Debug, Default)]
pub(super) struct Views {
    store: Arc<InMemory>,
    tenants: Mutex<BTreeMap<TenantId, Arc<tokio::sync::Mutex<View>>>>,
    retired: Mutex<Retired>,
}

/// Everything of a tenant at one moment.
#[derive(Debug, Default)]
struct View {
    version: u64,
    /// Traces that rest, larger blocks first.
    resting: Vec<Resting>,
    /// All others.
    growing: Option<Block>,
}

/// A block of traces that rest.
#[derive(Debug)]
struct Resting {
    block: Block,
    /// The last part of each trace in it.
    traces: BTreeMap<TraceId, u64>,
    bytes: u64,
}

/// Traces to encode.
type Traces = BTreeMap<TraceId, SnapshotTrace>;

impl View {
    fn blocks(&self) -> Vec<Block> {
        let resting = self.resting.iter().map(|resting| &resting.block);
        resting.chain(&self.growing).cloned().collect()
    }

    /// What is to be encoded for the view to become a snapshot: traces that rest, and others. Blocks
    /// that are not worth keeping, or are merged, are taken out of the view.
    fn outdated(&mut self, snapshot: Traces, rests: impl Fn(&SnapshotTrace) -> bool) -> Outdated {
        let mut outdated = Outdated::default();
        let mut left = snapshot;
        let mut covered: Traces = BTreeMap::new();
        for resting in std::mem::take(&mut self.resting) {
            let is_current = |(id, last): &(&TraceId, &u64)| {
                left.get(*id).is_some_and(|trace| trace.last_number == **last)
            };
            let current: Vec<TraceId> =
                resting.traces.iter().filter(is_current).map(|(id, _)| *id).collect();
            if current.len() * 2 < resting.traces.len() {
                outdated.blocks.push(resting.block);
                continue;
            }
            covered.extend(current.into_iter().filter_map(|id| left.remove_entry(&id)));
            self.resting.push(resting);
        }
        (outdated.resting, outdated.growing) =
            left.into_iter().partition(|(_, trace)| rests(trace));
        // Each block is at least twice as large as the next, so there are few.
        let mut bytes: u64 = outdated.resting.values().map(SnapshotTrace::n_bytes).sum();
        while bytes > 0
            && let Some(last) = self.resting.pop_if(|last| last.bytes <= 2 * bytes)
        {
            bytes += last.bytes;
            let again = last.traces.keys().filter_map(|id| covered.remove_entry(id));
            outdated.resting.extend(again);
            outdated.blocks.push(last.block);
        }
        outdated
    }
}

/// What a view lacks, and what it has no use for any longer.
#[derive(Debug, Default)]
struct Outdated {
    resting: Traces,
    growing: Traces,
    blocks: Vec<Block>,
}

/// Blocks that are out of date, and the queries that may read them.
#[derive(Debug, Default)]
struct Retired {
    /// Number of the last removal.
    now: u64,
    /// Queries by the last removal before they began.
    readers: BTreeMap<u64, usize>,
    folders: Vec<(u64, Path)>,
}

/// A query that runs.
#[derive(Debug)]
pub(crate) struct Reading {
    live: Arc<Live>,
    since: u64,
}

impl Live {
    /// Keeps what a query may be told of, for as long as the answer lives.
    pub(crate) fn reading(self: &Arc<Self>) -> Reading {
        let mut retired = self.views.retired.lock();
        let since = retired.now;
        *retired.readers.entry(since).or_default() += 1;
        Reading { live: Arc::clone(self), since }
    }

    /// Blocks of everything of a tenant that lies in no block of the bucket.
    async fn view(&self, tenant: &TenantId) -> traceql_blocks::Result<Option<Vec<Block>>> {
        let Some(wanted) = self.traces.lock().version(tenant) else { return Ok(None) };
        let entry = {
            let mut tenants = self.views.tenants.lock();
            Arc::clone(tenants.entry(tenant.clone()).or_default())
        };
        // Queries that come together wait for one of them to make the blocks.
        let mut view = entry.lock().await;
        if view.version < wanted {
            let Some(snapshot) = self.traces.lock().snapshot(tenant) else {
                // Flushed in the meantime: it is in the bucket.
                self.views.retire(std::mem::take(&mut *view).blocks());
                return Ok(None);
            };
            let (now, rest) = (Instant::now(), self.options.cut.idle / 2);
            let rests = |trace: &SnapshotTrace| {
                trace.last.is_none_or(|last| now.saturating_duration_since(last) >= rest)
            };
            // If the query goes away in between, the next one finds the view as old as it was.
            let outdated = view.outdated(snapshot.traces, rests);
            self.views.retire(outdated.blocks);
            let traces = last_parts(&outdated.resting);
            let bytes = outdated.resting.values().map(SnapshotTrace::n_bytes).sum();
            if let Some(block) = self.encode(tenant, outdated.resting).await? {
                view.resting.push(Resting { block, traces, bytes });
            }
            let growing = self.encode(tenant, outdated.growing).await?;
            let before = std::mem::replace(&mut view.growing, growing);
            self.views.retire(before.into_iter().collect());
            view.version = snapshot.version;
        }
        Ok(Some(view.blocks()))
    }

    /// A block in memory; `None` of no traces.
    async fn encode(
        &self,
        tenant: &TenantId,
        traces: Traces,
    ) -> traceql_blocks::Result<Option<Block>> {
        if traces.is_empty() {
            return Ok(None);
        }
        let place = BlockPlace {
            store: Arc::clone(&self.views.store) as Arc<dyn ObjectStore>,
            store_url: STORE_URL.into(),
            tenant_folder: path::tenant_folder(&Path::ROOT, tenant),
            tenant: tenant.clone(),
            block_id: (self.options.new_block_id)(),
        };
        let unfinished = Unfinished { views: &self.views, folder: Some(place.folder()) };
        let mut writer = BlockWriter::new(place.clone(), BlockSettings::default())?;
        let parts = traces.into_iter().map(|(id, trace)| (id, trace.parts));
        write_traces(&mut writer, parts).await?;
        let written = writer.finish().await?;
        unfinished.finish();
        Ok(written.map(|written| block_at(&place, written.meta)))
    }
}

/// The last part of each trace.
fn last_parts(traces: &Traces) -> BTreeMap<TraceId, u64> {
    traces.iter().map(|(id, trace)| (*id, trace.last_number)).collect()
}

impl LiveBlocks for Live {
    fn blocks<'a>(
        &'a self,
        tenant: &'a TenantId,
        range: Option<TimeRange>,
    ) -> LiveBlocksFuture<'a> {
        Box::pin(async move {
            if range.is_some_and(|range| range.end_unix_nanos <= 0) {
                // Only whether there is such a tenant is asked.
                return Ok(self.traces.lock().version(tenant).map(|_| Vec::new()));
            }
            self.view(tenant).await
        })
    }
}

impl Views {
    /// The blocks, for tests to count.
    #[cfg(test)]
    pub(super) fn store(&self) -> &InMemory {
        &self.store
    }

    /// Gives up the blocks of a tenant if they are out of date and nobody makes new ones: after a
    /// flush, most of what is in them is in the bucket.
    pub(super) fn trim(&self, live: &Live, tenant: &TenantId) {
        let version = live.traces.lock().version(tenant);
        let mut tenants = self.tenants.lock();
        let Some(entry) = tenants.get(tenant).map(Arc::clone) else { return };
        if let Ok(mut view) = entry.try_lock()
            && Some(view.version) != version
        {
            self.retire(std::mem::take(&mut *view).blocks());
        }
        // Who waits for the entry would leave a view where nobody finds it.
        if version.is_none() && Arc::strong_count(&entry) == 2 {
            tenants.remove(tenant);
        }
    }

    fn retire(&self, blocks: Vec<Block>) {
        blocks.into_iter().filter_map(|block| block.folder).for_each(|f| self.retire_folder(f));
    }

    fn retire_folder(&self, folder: Path) {
        let mut retired = self.retired.lock();
        retired.now += 1;
        let now = retired.now;
        retired.folders.push((now, folder));
        self.remove_unread(&mut retired);
    }

    /// Removes what no query can have been told of.
    fn remove_unread(&self, retired: &mut Retired) {
        let oldest = retired.readers.keys().next().copied().unwrap_or(u64::MAX);
        retired.folders.retain(|(at, folder)| {
            if *at > oldest {
                return true;
            }
            for name in [path::DATA, path::META, path::ROW_GROUP_INDEX] {
                self.remove(&path::child(folder, name));
            }
            let mut shard = 0;
            while self.remove(&path::bloom_shard(folder, shard)) {
                shard += 1;
            }
            false
        });
    }

    fn remove(&self, key: &Path) -> bool {
        // A map in memory makes nobody wait.
        let is_there = self.store.head(key).now_or_never().is_some_and(|head| head.is_ok());
        is_there && self.store.delete(key).now_or_never().is_some_and(|deleted| deleted.is_ok())
    }
}

/// A block that is being made: what there is of it goes if the query does that makes it.
struct Unfinished<'a> {
    views: &'a Views,
    folder: Option<Path>,
}

impl Unfinished<'_> {
    fn finish(mut self) {
        self.folder = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            self.views.retire_folder(folder);
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut retired = self.live.views.retired.lock();
        if let Some(readers) = retired.readers.get_mut(&self.since) {
            *readers -= 1;
            if *readers == 0 {
                retired.readers.remove(&self.since);
            }
        }
        self.live.views.remove_unread(&mut retired);
    }
}
