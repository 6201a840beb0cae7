//! Live traces as queries see them: blocks of each tenant, in memory, made when a query asks and
//! something has changed since. Whatever reads blocks reads them too; of a server that nobody asks,
//! nothing is made.
//!
//! A view is a list of segments. What has come since the last one becomes a segment of its own,
//! with each trace whole: older segments hide their copies of it, so that nobody has to put a trace
//! together from several segments. A query thus waits for what is new to be encoded, whatever
//! there is besides; and of a server that is asked now and then that is little, since the rest was
//! encoded as it came (`tend`).
//!
//! When a flushed block is listed, its traces are hidden in the same moment, as far as queries can
//! tell ([`LiveBlocks::moves`]). A segment that hides all its traces is removed when no query is left that
//! may have been told of it: each holds a [`Reading`] while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;
use tokio::sync::Notify;
use traceql_blocks::bucket::live::{HiddenTraces, LiveBlocks, LiveBlocksFuture};
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::bucket::{Block, path};
use traceql_blocks::model::TraceId;
use traceql_blocks::write::block::{BlockPlace, BlockSettings, BlockWriter};

use super::Live;
use super::flush::{block_at, write_traces};
use super::traces::Flush;
use crate::task::AbortOnDrop;

/// How messages name the store.
const STORE_URL: &str = "live:";
/// A query that meets so many small segments merges them itself: nobody tends the view, or not fast
/// enough.
const MOST_SMALL: usize = 48;

/// Spans of so many bytes, as received, become a block; more become several, since the first query after
/// a while waits for all there is.
const GROUP_BYTES: u64 = 8 << 20;

/// Forgets what is kept elsewhere of a block that is gone, given the URL of its file.
pub(crate) type Forget = Box<dyn Fn(&str) + Send + Sync>;

/// The blocks of all tenants.
pub(super) struct Views {
    store: Arc<InMemory>,
    forget: Forget,
    tenants: Mutex<BTreeMap<TenantId, Arc<TenantView>>>,
    retired: Mutex<Retired>,
    /// Held while traces move into the bucket.
    moving: Mutex<()>,
    moves: AtomicU64,
    /// A query came.
    pub(super) asked: Notify,
    /// There is something to merge.
    pub(super) crowded: Notify,
}

/// What queries of one tenant share.
#[derive(Debug, Default)]
pub(super) struct TenantView {
    /// Held by who makes a segment of what is new: queries that come together wait for one of them.
    making: tokio::sync::Mutex<()>,
    pub(super) view: Mutex<View>,
}

/// Everything of a tenant at one moment. Of its segments one at most does not hide a trace.
#[derive(Debug, Default)]
pub(super) struct View {
    /// That of the traces it shows.
    version: u64,
    /// The last part in it.
    pub(super) last_part: u64,
    pub(super) segments: Vec<Segment>,
    /// Traces to encode anew though nothing has come: their copies hold spans that have moved.
    outdated: BTreeSet<TraceId>,
    pub(super) asked: Option<Instant>,
}

/// A block of the view.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) block: Block,
    /// Those that are to be read in it.
    pub(super) traces: BTreeSet<TraceId>,
    /// Those that are not.
    pub(super) hidden: BTreeSet<TraceId>,
    /// Of the spans in it, as received.
    pub(super) n_bytes: u64,
}

/// Traces to encode.
type Traces = BTreeMap<TraceId, Vec<Bytes>>;

impl Segment {
    pub(super) fn hide(&mut self, ids: &BTreeSet<TraceId>) {
        let (few, many) = match ids.len() < self.traces.len() {
            true => (ids, &self.traces),
            false => (&self.traces, ids),
        };
        let found: Vec<TraceId> = few.iter().filter(|id| many.contains(id)).copied().collect();
        if found.is_empty() {
            return;
        }
        for id in &found {
            self.traces.remove(id);
        }
        self.hidden.extend(found);
        self.block.hidden = HiddenTraces::new(self.hidden.iter().copied()).apart();
    }
}

impl View {
    fn blocks(&self) -> Vec<Block> {
        self.segments.iter().map(|segment| segment.block.clone()).collect()
    }

    /// Hides traces wherever they are; the blocks that nothing is left of.
    pub(super) fn hide(&mut self, ids: &BTreeSet<TraceId>) -> Vec<Block> {
        self.segments.iter_mut().for_each(|segment| segment.hide(ids));
        let emptied = self.segments.extract_if(.., |segment| segment.traces.is_empty());
        emptied.map(|segment| segment.block).collect()
    }

    pub(super) fn add(&mut self, segment: Segment, views: &Views) {
        match segment.traces.is_empty() {
            true => views.retire(vec![segment.block]),
            false => self.segments.push(segment),
        }
    }

    /// Traces to encode again beside those that are new.
    fn to_encode_again(&self) -> BTreeSet<TraceId> {
        let is_many = self.small().count() >= MOST_SMALL;
        let small = self.small().filter(|_| is_many).flat_map(|segment| &segment.traces);
        small.chain(&self.outdated).copied().collect()
    }
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
        let entry = self.views.of(tenant);
        entry.view.lock().asked = Some(Instant::now());
        self.views.asked.notify_one();
        self.show_new(tenant, &entry, wanted).await?;
        let blocks = entry.view.lock().blocks();
        Ok(Some(blocks))
    }

    /// Adds what is new to a view, if it is older than this version.
    pub(super) async fn show_new(
        &self,
        tenant: &TenantId,
        entry: &TenantView,
        wanted: u64,
    ) -> traceql_blocks::Result<()> {
        let _making = entry.making.lock().await;
        let (since, again) = {
            let view = entry.view.lock();
            if view.version >= wanted && view.outdated.is_empty() {
                return Ok(());
            }
            (view.last_part, view.to_encode_again())
        };
        // Nothing is left of a tenant that has been flushed in the meantime.
        let changes = self.traces.lock().changes(tenant, since, again).unwrap_or_default();
        // If the query goes away while this is done, the next one finds the view as old as it was.
        let made = self.encode(tenant, changes.traces).await?;
        let mut view = entry.view.lock();
        for mut segment in made.into_iter().map(Made::used) {
            view.outdated.retain(|id| !segment.traces.contains(id));
            self.views.retire(view.hide(&segment.traces));
            self.hide_moved(tenant, &mut segment);
            view.add(segment, &self.views);
        }
        view.version = view.version.max(changes.version);
        view.last_part = view.last_part.max(changes.last_part);
        if view.is_crowded() {
            self.views.crowded.notify_one();
        }
        Ok(())
    }

    /// Hides what has moved into the bucket while a segment was made.
    fn hide_moved(&self, tenant: &TenantId, segment: &mut Segment) {
        let present = self.traces.lock().present(tenant, segment.traces.iter().copied());
        let moved = segment.traces.difference(&present).copied().collect();
        segment.hide(&moved);
    }

    /// Lets queries see a block in the bucket, if there is one, and no longer its traces here. Does
    /// nothing if it was done before, and only the log could not be told.
    pub(super) fn move_to_bucket(&self, source: &Source, flush: &Flush, block: Option<Block>) {
        let _moving = self.views.moving.lock();
        if flush.is_listed() {
            return;
        }
        self.views.moves.fetch_add(1, Ordering::AcqRel);
        if let Some(block) = block {
            source.add_block(&flush.tenant, block);
        }
        flush.set_listed();
        let entry = self.views.tenants.lock().get(&flush.tenant).map(Arc::clone);
        if let Some(entry) = entry {
            let mut view = entry.view.lock();
            // Of some, more has come since they were cut.
            let left = self.traces.lock().present(&flush.tenant, flush.ids());
            let moved = flush.ids().filter(|id| !left.contains(id)).collect();
            self.views.retire(view.hide(&moved));
            view.outdated.extend(left);
        }
        self.views.moves.fetch_add(1, Ordering::AcqRel);
    }

    /// Blocks in memory, of which each trace is in one: one of few traces, several of many, which are
    /// made side by side.
    pub(super) async fn encode(
        &self,
        tenant: &TenantId,
        traces: Traces,
    ) -> traceql_blocks::Result<Vec<Made>> {
        let make = |traces| {
            let place = BlockPlace {
                store: Arc::clone(&self.views.store) as Arc<dyn ObjectStore>,
                store_url: STORE_URL.into(),
                tenant_folder: path::tenant_folder(&Path::ROOT, tenant),
                tenant: tenant.clone(),
                block_id: (self.options.new_block_id)(),
            };
            encode(Arc::clone(&self.views), place, traces)
        };
        let mut groups = in_groups(traces);
        if groups.len() <= 1 {
            return match groups.pop() {
                Some(traces) => Ok(make(traces).await?.into_iter().collect()),
                None => Ok(Vec::new()),
            };
        }
        let tasks = groups.into_iter().map(|traces| AbortOnDrop(tokio::spawn(make(traces))));
        let n_threads = tokio::runtime::Handle::current().metrics().num_workers();
        let made: Vec<_> = futures::stream::iter(tasks).buffered(n_threads).collect().await;
        let failed = |error: tokio::task::JoinError| traceql_blocks::Error::NotWritten {
            key: STORE_URL.to_owned(),
            reason: error.to_string(),
        };
        let made: Vec<Option<Made>> =
            made.into_iter().map(|made| made.map_err(failed)?).collect::<Result<_, _>>()?;
        Ok(made.into_iter().flatten().collect())
    }
}

/// Traces by bytes: to be made blocks of at the same time.
fn in_groups(traces: Traces) -> Vec<Traces> {
    let (mut groups, mut last, mut bytes) = (Vec::new(), Traces::new(), 0);
    for (id, parts) in traces {
        bytes += n_bytes(&parts);
        last.insert(id, parts);
        if bytes >= GROUP_BYTES {
            groups.push(std::mem::take(&mut last));
            bytes = 0;
        }
    }
    groups.extend((!last.is_empty()).then_some(last));
    groups
}

fn n_bytes(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

/// A block in memory; `None` if there is nothing in its traces.
async fn encode(
    views: Arc<Views>,
    place: BlockPlace,
    traces: Traces,
) -> traceql_blocks::Result<Option<Made>> {
    let ids = traces.keys().copied().collect();
    let n_bytes = traces.values().map(|parts| n_bytes(parts)).sum();
    let unused = Unused { views, folder: Some(place.folder()) };
    let settings = BlockSettings { is_transient: true, ..BlockSettings::default() };
    let mut writer = BlockWriter::new(place.clone(), settings)?;
    write_traces(&mut writer, traces.into_iter()).await?;
    let Some(written) = writer.finish().await? else { return Ok(None) };
    let block = Block { hidden: HiddenTraces::default().apart(), ..block_at(&place, written.meta) };
    let segment = Segment { block, traces: ids, hidden: BTreeSet::new(), n_bytes };
    Ok(Some(Made { segment, unused }))
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

    fn moves(&self) -> u64 {
        self.views.moves.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").field("tenants", &self.tenants).finish_non_exhaustive()
    }
}

impl Views {
    pub(super) fn new(forget: Forget) -> Self {
        Self {
            store: Arc::default(),
            forget,
            tenants: Mutex::default(),
            retired: Mutex::default(),
            moving: Mutex::default(),
            moves: AtomicU64::default(),
            asked: Notify::default(),
            crowded: Notify::default(),
        }
    }

    /// The blocks, for tests to count.
    #[cfg(test)]
    pub(super) fn store(&self) -> &InMemory {
        &self.store
    }

    /// Forgets the view of a tenant of which everything has moved into the bucket.
    pub(super) fn trim(&self, live: &Live, tenant: &TenantId) {
        if live.traces.lock().version(tenant).is_some() {
            return;
        }
        let mut tenants = self.tenants.lock();
        // Who holds the entry would leave a view where nobody finds it.
        let is_idle = |entry: &Arc<TenantView>| {
            Arc::strong_count(entry) == 1 && entry.view.lock().segments.is_empty()
        };
        if tenants.get(tenant).is_some_and(is_idle) {
            tenants.remove(tenant);
        }
    }

    fn of(&self, tenant: &TenantId) -> Arc<TenantView> {
        Arc::clone(self.tenants.lock().entry(tenant.clone()).or_default())
    }

    /// Those that were asked not longer ago.
    pub(super) fn asked_within(&self, time: Duration) -> Vec<(TenantId, Arc<TenantView>)> {
        let tenants = self.tenants.lock();
        let is_asked = |entry: &TenantView| {
            entry.view.lock().asked.is_some_and(|asked| asked.elapsed() <= time)
        };
        let asked = tenants.iter().filter(|(_, entry)| is_asked(entry));
        asked.map(|(tenant, entry)| (tenant.clone(), Arc::clone(entry))).collect()
    }

    pub(super) fn retire(&self, blocks: Vec<Block>) {
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
            (self.forget)(&path::object_url(STORE_URL, &path::child(folder, path::DATA)));
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

/// A block that no view has yet.
#[derive(Debug)]
pub(super) struct Made {
    segment: Segment,
    unused: Unused,
}

impl Made {
    /// For a view to have.
    pub(super) fn used(self) -> Segment {
        let Self { segment, mut unused } = self;
        unused.folder = None;
        segment
    }
}

/// The folder of a block that no view has: what there is of it goes if the query does that makes it.
#[derive(Debug)]
struct Unused {
    views: Arc<Views>,
    folder: Option<Path>,
}

impl Drop for Unused {
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
