//! What running plans share but plans themselves never hold: stores, caches, counters. Handed to
//! operators through the session's extensions, so that a plan decoded in another process finds that
//! process's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use datafusion::execution::{SessionState, SessionStateBuilder};
use object_store::ObjectStore;
use parking_lot::RwLock;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use traceql_blocks::bucket::Block;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::read::digest::trace_ids;
use traceql_blocks::read::open::{BlockCache, IoStats, OpenBlock, ReadContext, SharedPages};

use crate::error::{Error, Result};
use crate::left_out::LeftOut;
use crate::metrics::Partials;
use crate::options::QueryOptions;
use crate::outcome::{Outcome, Progress, QueryStats};

/// Blocks whose trace ids are kept, if they are small enough.
const DIGESTS: usize = 256;

/// What the trace ids that are kept take: those of four million traces.
const DIGEST_BYTES: u64 = 64 << 20;

#[derive(Clone, Debug)]
struct DigestWeight;

impl Weighter<String, Arc<Vec<TraceId>>> for DigestWeight {
    fn weight(&self, _block: &String, ids: &Arc<Vec<TraceId>>) -> u64 {
        (size_of::<TraceId>() * ids.len()).max(1) as u64
    }
}

/// Lives as long as the engine.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) io: Option<tokio::runtime::Handle>,
    stores: RwLock<HashMap<String, Arc<dyn ObjectStore>>>,
    memory: RwLock<HashMap<String, Arc<Vec<Trace>>>>,
    digests: Cache<String, Arc<Vec<TraceId>>, DigestWeight>,
    /// Plans our nodes as they stand: there is nothing for the rules of SQL to improve.
    pub(crate) session: SessionState,
}

impl Runtime {
    pub(crate) fn new(cache_bytes: usize, io: Option<tokio::runtime::Handle>) -> Self {
        Self {
            cache: Arc::new(BlockCache::new(cache_bytes)),
            io,
            stores: RwLock::default(),
            memory: RwLock::default(),
            digests: Cache::with_weighter(DIGESTS, DIGEST_BYTES, DigestWeight),
            session: SessionStateBuilder::new()
                .with_analyzer_rules(Vec::new())
                .with_optimizer_rules(Vec::new())
                .with_physical_optimizer_rules(Vec::new())
                .build(),
        }
    }

    /// Makes a store known by its URL.
    pub(crate) fn add_store(&self, url: &str, store: &Arc<dyn ObjectStore>) {
        if !self.stores.read().contains_key(url) {
            self.stores.write().insert(url.to_owned(), Arc::clone(store));
        }
    }

    pub(crate) fn store(&self, url: &str) -> Result<Arc<dyn ObjectStore>> {
        self.stores.read().get(url).map(Arc::clone).ok_or_else(|| {
            Error::Internal(format!("the plan reads {url}, which this process has not opened"))
        })
    }

    /// Makes traces known by the name of the source they came from.
    pub(crate) fn add_traces(&self, name: &str, traces: Arc<Vec<Trace>>) {
        self.memory.write().insert(name.to_owned(), traces);
    }

    pub(crate) fn traces(&self, name: &str) -> Option<Arc<Vec<Trace>>> {
        self.memory.read().get(name).map(Arc::clone)
    }

    /// Forgets what is kept of a block that is gone.
    pub(crate) fn forget(&self, file: &str) {
        self.cache.forget(file);
        self.digests.remove(file);
    }

    /// All trace ids of a block.
    pub(crate) async fn digest(
        &self,
        block: &Block,
        context: &ReadContext,
    ) -> Result<Arc<Vec<TraceId>>> {
        let name = block.object_url(&block.data);
        if let Some(ids) = self.digests.get(&name) {
            return Ok(ids);
        }
        let open = OpenBlock::open(block, context).await?;
        let ids = Arc::new(trace_ids(&open, context).await?);
        self.digests.insert(name, Arc::clone(&ids));
        Ok(ids)
    }
}

/// Lives as long as one query.
#[derive(Debug, Default)]
pub(crate) struct QueryRun {
    pub(crate) io: Arc<IoStats>,
    /// What its partitions hold of blocks.
    pub(crate) pages: Arc<SharedPages>,
    pub(crate) inspected_traces: AtomicU64,
    pub(crate) inspected_spans: AtomicU64,
    pub(crate) units_done: AtomicU64,
    pub(crate) progress: Option<Arc<Progress>>,
    /// Where a metrics query shows what it has found.
    pub(crate) partials: Option<Arc<Partials>>,
    pub(crate) memory_limit_bytes: usize,
    /// Values were too many to keep: exact quantiles are sketched.
    pub(crate) sketched: AtomicBool,
    /// Blocks that it could not read, or not all of.
    pub(crate) left_out: Arc<LeftOut>,
    /// The answer is complete or unwanted: units in progress may stop anywhere.
    pub(crate) stopped: AtomicBool,
}

impl QueryRun {
    pub(crate) fn new(options: &QueryOptions) -> Arc<Self> {
        let io = IoStats { total: options.io_total.clone(), ..IoStats::default() };
        Arc::new(Self {
            io: Arc::new(io),
            progress: options.progress.clone(),
            partials: options.partials.clone(),
            memory_limit_bytes: options.memory_bytes,
            left_out: Arc::new(LeftOut::new(options.skip_unreadable)),
            ..Self::default()
        })
    }

    /// A run for one part of this one that may stop by itself: what it reads counts here, and pages
    /// are shared.
    pub(crate) fn part(&self) -> Arc<Self> {
        Arc::new(Self {
            io: Arc::clone(&self.io),
            pages: Arc::clone(&self.pages),
            progress: self.progress.clone(),
            memory_limit_bytes: self.memory_limit_bytes,
            left_out: Arc::clone(&self.left_out),
            ..Self::default()
        })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// An answer with what it cost, and what is to be known of it: what was told when its blocks were
    /// listed, `skipped` if some of them are not on the list for being unreadable, and what has been left
    /// out since.
    pub(crate) fn outcome<T>(
        &self,
        answer: T,
        mut stats: QueryStats,
        mut warnings: Vec<String>,
        skipped: bool,
    ) -> Outcome<T> {
        self.count_into(&mut stats);
        warnings.extend(self.left_out.warnings());
        let partial = skipped || self.left_out.is_any();
        let partial = partial.then(|| "unreadable blocks were skipped".to_owned());
        Outcome { answer, stats, partial, warnings }
    }

    /// Adds what has been counted so far.
    pub(crate) fn count_into(&self, stats: &mut QueryStats) {
        stats.units_done = self.units_done.load(Ordering::Relaxed);
        stats.inspected_traces = self.inspected_traces.load(Ordering::Relaxed);
        stats.inspected_spans = self.inspected_spans.load(Ordering::Relaxed);
        stats.bytes_read = self.io.bytes.load(Ordering::Relaxed);
        stats.requests = self.io.requests.load(Ordering::Relaxed);
        stats.pages_read = self.io.pages.load(Ordering::Relaxed);
        stats.row_groups_skipped = self.io.row_groups_skipped.load(Ordering::Relaxed);
    }

    /// Says how many units there are to be done.
    pub(crate) fn plan_units(&self, n: u64) {
        if let Some(progress) = &self.progress {
            progress.planned.get_or_init(Instant::now);
            progress.units_total.store(n, Ordering::Relaxed);
        }
    }

    /// Says what the plan will read.
    pub(crate) fn planned(&self, stats: &QueryStats) {
        if let Some(progress) = &self.progress {
            progress.selected_blocks.store(stats.selected_blocks, Ordering::Relaxed);
            progress.selected_block_bytes.store(stats.selected_block_bytes, Ordering::Relaxed);
        }
        self.plan_units(stats.units_total);
    }

    pub(crate) fn unit_done(&self) {
        self.units_done.fetch_add(1, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            // Of several threads the last to store need not have read the highest count.
            let raise = |shown: &AtomicU64, counted: &AtomicU64| {
                shown.fetch_max(counted.load(Ordering::Relaxed), Ordering::Relaxed);
            };
            raise(&progress.bytes_read, &self.io.bytes);
            raise(&progress.inspected_traces, &self.inspected_traces);
            raise(&progress.inspected_spans, &self.inspected_spans);
            progress.units_done.fetch_add(1, Ordering::Relaxed);
        }
    }
}
