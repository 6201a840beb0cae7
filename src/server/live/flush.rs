//! Cut traces into blocks of the bucket: when it is time, in rounds, one round at a time. What fails
//! is tried again under the same block id until it is done, each block in longer and longer intervals
//! of its own, so that one that can never be written keeps none waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use traceql_blocks::bucket::live::HiddenTraces;
use traceql_blocks::bucket::meta::{BlockMeta, ParsedMeta};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::{Block, path};
use traceql_blocks::model::TraceId;
use traceql_blocks::model::trace::TraceFields;
use traceql_blocks::write::block::{BlockPlace, BlockWriter};
use uuid::Uuid;

use super::traces::{Flush, Which, trace_of};
use super::{FlushedBlock, Live, Step};

/// Blocks written at a time: a remote store takes its time over each.
const CONCURRENT_BLOCKS: usize = 4;
/// What is waited after a failure; it doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Looking more often finds nothing new.
const SHORTEST_CHECK: Duration = Duration::from_millis(10);

/// Encoding takes a processor to itself for so many bytes of spans, some milliseconds; then others,
/// queries above all, have a turn.
const TURN_BYTES: usize = 256 << 10;

/// A failure is told of at most this often: while a store is away, all that wait fail.
const TOLD: Duration = Duration::from_secs(10);

/// Who flushes.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// Held for a round: a block has one writer.
    round: tokio::sync::Mutex<()>,
    /// Something was cut.
    cut: Notify,
    failed: Mutex<Failed>,
}

/// Blocks that could not be written so far.
#[derive(Debug, Default)]
struct Failed {
    blocks: BTreeMap<Uuid, Retry>,
    told: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Failed {
    /// Whether a block is to be tried: it was not yet, or has waited long enough.
    fn is_due(&self, block_id: Uuid, now: Instant) -> bool {
        self.blocks.get(&block_id).is_none_or(|retry| retry.at <= now)
    }

    /// A block failed; when it is tried again, and whether that is to be told.
    fn failed(&mut self, block_id: Uuid, now: Instant) -> (Duration, bool) {
        let before = self.blocks.get(&block_id).map(|retry| retry.pause * 2);
        let pause = before.unwrap_or(RETRY.0).min(RETRY.1);
        self.blocks.insert(block_id, Retry { at: now + pause, pause });
        let is_told = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD);
        if is_told {
            self.told = Some(now);
        }
        (pause, is_told)
    }

    /// A block was written: whatever was in the way of others may be gone.
    fn written(&mut self, block_id: Uuid, now: Instant) {
        if self.blocks.remove(&block_id).is_some() {
            self.blocks.values_mut().for_each(|retry| retry.at = retry.at.min(now));
            self.told = None;
        }
    }
}

/// Which of the blocks that are cut a round writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// Those whose time it is.
    Due,
    /// All, though they failed just now.
    All,
}

impl Live {
    /// Flushes what is due, for as long as it is let. Traces are cut when it is time though blocks
    /// cannot be written: they would grow, and others would find no room. What queries see of the rest is
    /// tended meanwhile.
    pub(crate) async fn keep_flushing(self: Arc<Self>, source: Source) {
        let cutting = async {
            let mut ticks = self.ticks();
            loop {
                ticks.tick().await;
                self.cut(Which::Due).await;
            }
        };
        let writing = async {
            let mut ticks = self.ticks();
            loop {
                tokio::select! {
                    () = self.flushing.cut.notified() => {}
                    _ = ticks.tick() => {}
                }
                self.write_cut(&source, Tried::Due).await;
            }
        };
        // They work on processors, each in a task of its own, and end with this one.
        let mut tending = JoinSet::new();
        tending.spawn(Arc::clone(&self).keep_adding_to_views());
        tending.spawn(Arc::clone(&self).keep_merging_views());
        tokio::join!(cutting, writing, tending.join_next());
    }

    /// When it is looked what is to be done.
    fn ticks(&self) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(self.options.cut.check.max(SHORTEST_CHECK));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    /// Flushes all there is; whether that was done.
    pub(crate) async fn flush_all(self: Arc<Self>, source: &Source) -> bool {
        let is_cut = self.cut(Which::All).await;
        self.write_cut(source, Tried::All).await && is_cut
    }

    /// Cuts what is due of all tenants; whether the log let us.
    async fn cut(&self, which: Which) -> bool {
        let due = self.traces.lock().due_tenants(which, &self.options.cut, Instant::now());
        let mut is_done = true;
        for tenant in due {
            match self.thread.cut(tenant, which).await {
                Ok(Some(_)) => self.flushing.cut.notify_one(),
                Ok(None) => {}
                // The log has told why.
                Err(_) => is_done = false,
            }
        }
        is_done
    }

    /// One round: writes what is cut; whether all that was tried exists now.
    async fn write_cut(self: &Arc<Self>, source: &Source, tried: Tried) -> bool {
        let _round = self.flushing.round.lock().await;
        let mut cut = self.traces.lock().flushing();
        if tried == Tried::Due {
            let (failed, now) = (self.flushing.failed.lock(), Instant::now());
            cut.retain(|flush| failed.is_due(flush.block_id, now));
        }
        let mut work = JoinSet::new();
        let mut is_done = true;
        for flush in cut {
            if work.len() >= CONCURRENT_BLOCKS {
                is_done &= matches!(work.join_next().await, Some(Ok(true)));
            }
            work.spawn(Arc::clone(self).finish(flush, source.clone()));
        }
        while let Some(ended) = work.join_next().await {
            is_done &= matches!(ended, Ok(true));
        }
        is_done
    }

    /// Sees to it that the block of cut traces exists, is listed, and is noted in the log.
    async fn finish(self: Arc<Self>, flush: Arc<Flush>, source: Source) -> bool {
        let begun = Instant::now();
        let Err(failure) = self.make(&flush, &source).await else {
            if let Some(on_flush) = &self.options.on_flush {
                on_flush(&FlushedBlock {
                    tenant: flush.tenant.clone(),
                    id: flush.block_id,
                    traces: flush.traces().map(|(id, _)| id).collect(),
                    bytes: flush.bytes,
                    took: begun.elapsed(),
                });
            }
            self.flushing.failed.lock().written(flush.block_id, Instant::now());
            self.counts.flushed();
            return true;
        };
        let (pause, is_told) = self.flushing.failed.lock().failed(flush.block_id, Instant::now());
        self.counts.flush_failed(&failure);
        if is_told {
            let (waiting, bytes) = self.waiting();
            (self.log_line)(&format!(
                "cannot flush {} bytes of spans of tenant {}, trying again in {pause:?}: \
                 {failure}; {waiting} blocks of {bytes} bytes wait",
                flush.bytes, flush.tenant
            ));
        }
        false
    }

    /// One try. A block that was begun before may exist already.
    async fn make(&self, flush: &Flush, source: &Source) -> Result<(), String> {
        let place = self.place(flush);
        let was_begun =
            flush.is_replayed || self.flushing.failed.lock().blocks.contains_key(&flush.block_id);
        let found = match was_begun {
            true => find(&place).await.map_err(|error| error.to_string())?,
            false => Found::Nothing,
        };
        let found = match found {
            Found::Nothing => self.write(&place, flush).await.map_err(|error| error.to_string())?,
            found => found,
        };
        let block = match found {
            Found::Block(block) => Some(*block),
            _ => None,
        };
        self.move_to_bucket(source, flush, block);
        let noted = self.thread.flushed(flush.block_id).await;
        self.views.trim(self, &flush.tenant);
        noted.map_err(|error| format!("the write-ahead log: {error}"))
    }

    /// Blocks that are cut and do not exist yet, and their bytes.
    pub(super) fn waiting(&self) -> (usize, u64) {
        let waiting = self.traces.lock().flushing();
        (waiting.len(), waiting.iter().map(|flush| flush.bytes).sum())
    }

    fn place(&self, flush: &Flush) -> BlockPlace {
        let destination = &self.options.destination;
        let store = destination.store();
        BlockPlace {
            store: Arc::clone(&store.store),
            store_url: Arc::clone(&store.url),
            tenant_folder: destination.tenant_folder(&flush.tenant),
            tenant: flush.tenant.clone(),
            block_id: flush.block_id,
        }
    }

    /// Writes the block and notes it nowhere, as a crash leaves it.
    #[cfg(test)]
    pub(super) async fn write_for_test(&self, flush: &Flush) {
        let written = self.write(&self.place(flush), flush).await;
        assert!(matches!(written, Ok(Found::Block(_))));
    }

    async fn write(&self, place: &BlockPlace, flush: &Flush) -> traceql_blocks::Result<Found> {
        let mut writer = BlockWriter::new(place.clone(), self.options.block.clone())?;
        if let Err(error) = write_traces(&mut writer, flush.traces()).await {
            writer.abort().await;
            return Err(error);
        }
        let Some(prepared) = writer.prepare().await? else { return Ok(Found::Gone) };
        sync_local(place).await?;
        (self.options.on_step)(Step::Prepared);
        let written = prepared.commit().await?;
        sync_local(place).await?;
        (self.options.on_step)(Step::Committed);
        Ok(Found::Block(Box::new(block_at(place, written.meta))))
    }
}

/// Writes traces given by ascending id.
pub(super) async fn write_traces(
    writer: &mut BlockWriter,
    traces: impl Iterator<Item = (TraceId, Vec<Bytes>)>,
) -> traceql_blocks::Result<()> {
    let mut bytes = 0;
    for (id, parts) in traces {
        bytes += parts.iter().map(Bytes::len).sum::<usize>();
        if bytes >= TURN_BYTES {
            bytes = 0;
            tokio::task::yield_now().await;
        }
        if let Some(mut trace) = trace_of(id, &parts)? {
            // Which span is the root was decided by the order in which they were sent.
            let fields = TraceFields::from(&trace.summary());
            trace.merge_equal_resources();
            writer.write_stored(&trace, &fields).await?;
        }
    }
    Ok(())
}

/// What is at the place of a block.
enum Found {
    /// The block.
    Block(Box<Block>),
    /// A block that has been compacted since: its spans are in another one. Or nothing, because
    /// there was nothing to write.
    Gone,
    /// No block.
    Nothing,
}

/// Looks for a block that was announced.
async fn find(place: &BlockPlace) -> traceql_blocks::Result<Found> {
    let key = path::child(&place.folder(), path::META);
    let url = path::object_url(&place.store_url, &key);
    let failed = |error: object_store::Error| traceql_blocks::Error::Unreachable {
        key: url.clone(),
        reason: error.to_string(),
    };
    match place.store.get(&key).await {
        Ok(found) => {
            let bytes = found.bytes().await.map_err(failed)?;
            let ParsedMeta::Block(meta) = BlockMeta::parse(&url, &bytes)? else {
                return Ok(Found::Gone);
            };
            if is_whole(place, &meta).await.map_err(failed)? {
                return Ok(Found::Block(Box::new(block_at(place, meta.into()))));
            }
            // A request of an earlier try that was given up may come to the store all the same, and
            // after objects were removed because that try had failed. It is written anew.
            match place.store.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(failed(error)),
    }
    match place.store.head(&path::child(&place.folder(), path::COMPACTED_META)).await {
        Ok(_) => Ok(Found::Gone),
        Err(object_store::Error::NotFound { .. }) => Ok(Found::Nothing),
        Err(error) => Err(failed(error)),
    }
}

/// Whether all objects of a block are there.
async fn is_whole(place: &BlockPlace, meta: &BlockMeta) -> object_store::Result<bool> {
    let folder = place.folder();
    let data = (path::child(&folder, path::DATA), Some(meta.size_bytes));
    let shards = (0..meta.bloom_shards).map(|shard| (path::bloom_shard(&folder, shard), None));
    let index = (path::child(&folder, path::ROW_GROUP_INDEX), None);
    for (key, size) in std::iter::once(data).chain(shards).chain(std::iter::once(index)) {
        match place.store.head(&key).await {
            Ok(found) if size.is_none_or(|size| size == found.size) => {}
            Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A block as readers name it.
pub(super) fn block_at(place: &BlockPlace, meta: Arc<BlockMeta>) -> Block {
    let folder = place.folder();
    Block {
        store: Arc::clone(&place.store),
        store_url: Arc::clone(&place.store_url),
        data: path::child(&folder, path::DATA),
        folder: Some(folder),
        meta,
        hidden: HiddenTraces::default(),
    }
}

/// Makes the objects of a block durable where the store is a disk; others do so themselves. The log
/// gives up its copy of the spans, so they must not be in a cache alone.
async fn sync_local(place: &BlockPlace) -> traceql_blocks::Result<()> {
    if place.store_url.as_ref() != "file://" {
        return Ok(());
    }
    let folder = path::object_url(&place.store_url, &place.folder());
    let sync = {
        let folder = std::path::PathBuf::from(&folder);
        move || -> std::io::Result<()> {
            for entry in std::fs::read_dir(&folder)? {
                std::fs::File::open(entry?.path())?.sync_all()?;
            }
            // The names: of the objects, of the block, and of the tenant if it is new.
            #[cfg(unix)]
            for folder in folder.ancestors().take(3) {
                std::fs::File::open(folder)?.sync_all()?;
            }
            Ok(())
        }
    };
    let synced = tokio::task::spawn_blocking(sync).await;
    let failed = |reason: String| traceql_blocks::Error::NotWritten { key: folder, reason };
    match synced {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}
