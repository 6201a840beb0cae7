//! Cut traces into blocks of the bucket: when it is time, in rounds, one round at a time. What fails
//! is tried again under the same block id until it is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use tokio::task::JoinSet;
use traceql_blocks::bucket::live::HiddenTraces;
use traceql_blocks::bucket::meta::{BlockMeta, ParsedMeta};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::{Block, path};
use traceql_blocks::model::TraceId;
use traceql_blocks::model::trace::TraceFields;
use traceql_blocks::write::block::{BlockPlace, BlockWriter};

use super::traces::{Flush, Which, trace_of};
use super::{Live, Step};

/// Blocks written at a time: a remote store takes its time over each.
const CONCURRENT_BLOCKS: usize = 4;
/// What is waited after a failure; it doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Looking more often finds nothing new.
const SHORTEST_CHECK: Duration = Duration::from_millis(10);

/// Who flushes.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// Held for a round: a block has one writer.
    round: tokio::sync::Mutex<()>,
}

impl Live {
    /// Flushes what is due and tends what queries see of the rest, for as long as it is let.
    pub(crate) async fn keep_flushing(self: Arc<Self>, source: Source) {
        let tend = async {
            let mut ticks = self.ticks();
            loop {
                ticks.tick().await;
                self.tend_views().await;
            }
        };
        futures::join!(Arc::clone(&self).keep_flushing_due(source), tend);
    }

    /// When it is looked what is to be done.
    fn ticks(&self) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(self.options.cut.check.max(SHORTEST_CHECK));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    async fn keep_flushing_due(self: Arc<Self>, source: Source) {
        let mut ticks = self.ticks();
        let mut pause = RETRY.0;
        loop {
            ticks.tick().await;
            if Arc::clone(&self).flush(&source, Which::Due).await {
                pause = RETRY.0;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }

    /// Flushes all there is; whether that was done.
    pub(crate) async fn flush_all(self: Arc<Self>, source: &Source) -> bool {
        self.flush(source, Which::All).await
    }

    /// One round: what is left of the last ones, then what is due.
    async fn flush(self: Arc<Self>, source: &Source, which: Which) -> bool {
        let _round = self.flushing.round.lock().await;
        let (left, due) = {
            let traces = self.traces.lock();
            (traces.flushing(), traces.due_tenants(which, &self.options.cut, Instant::now()))
        };
        let mut work = JoinSet::new();
        let mut is_done = true;
        for flush in left {
            if work.len() >= CONCURRENT_BLOCKS {
                is_done &= matches!(work.join_next().await, Some(Ok(true)));
            }
            work.spawn(Arc::clone(&self).finish(flush, true, source.clone()));
        }
        for tenant in due {
            if work.len() >= CONCURRENT_BLOCKS {
                is_done &= matches!(work.join_next().await, Some(Ok(true)));
            }
            match self.thread.cut(tenant, which).await {
                Ok(Some(flush)) => {
                    work.spawn(Arc::clone(&self).finish(flush, false, source.clone()));
                }
                Ok(None) => {}
                // The log has told why.
                Err(_) => is_done = false,
            }
        }
        while let Some(ended) = work.join_next().await {
            is_done &= matches!(ended, Ok(true));
        }
        is_done
    }

    /// Sees to it that the block of cut traces exists, is listed, and is noted in the log. One that
    /// was begun before may exist already.
    async fn finish(self: Arc<Self>, flush: Arc<Flush>, is_again: bool, source: Source) -> bool {
        let place = self.place(&flush);
        let written = match is_again || flush.is_replayed {
            true => find(&place).await,
            false => Ok(Found::Nothing),
        };
        let written = match written {
            Ok(Found::Nothing) => self.write(&place, &flush).await,
            found => found,
        };
        match written {
            Ok(found) => {
                let block = match found {
                    Found::Block(block) => Some(*block),
                    _ => None,
                };
                self.move_to_bucket(&source, &flush, block);
                let noted = self.thread.flushed(flush.block_id).await;
                self.views.trim(&self, &flush.tenant);
                noted.is_ok()
            }
            Err(error) => {
                (self.log_line)(&format!(
                    "cannot flush {} bytes of spans of tenant {}, trying again: {error}",
                    flush.bytes, flush.tenant
                ));
                false
            }
        }
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
    for (id, parts) in traces {
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
            match BlockMeta::parse(&url, &bytes)? {
                ParsedMeta::Block(meta) => Ok(Found::Block(Box::new(block_at(place, meta.into())))),
                _ => Ok(Found::Gone),
            }
        }
        Err(object_store::Error::NotFound { .. }) => {
            match place.store.head(&path::child(&place.folder(), path::COMPACTED_META)).await {
                Ok(_) => Ok(Found::Gone),
                Err(object_store::Error::NotFound { .. }) => Ok(Found::Nothing),
                Err(error) => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
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
