//! From a source and options to what a query reads: blocks selected by tenant and time, or traces
//! of an OTLP file.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt as _, TryStreamExt as _};
use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::blocklist::{BlocklistOptions, Unreadable};
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_blocks::read::open::{MemoryLimit, OpenBlock, ReadContext};
use traceql_blocks::write::otlp;

use crate::error::{Error, Result};
use crate::options::QueryOptions;
use crate::outcome::QueryStats;
use crate::runtime::{QueryRun, Runtime};

/// Blocks opened at a time.
const CONCURRENT_OPENS: usize = 32;

/// Which blocks are opened for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// All in the time range: all are read.
    All,
    /// So many from a block on, or from the first: reading may stop before it comes to the others.
    Some { from: Option<[u8; 16]>, n_blocks: usize },
    /// None: a trace by id reads few of the blocks. Blocks beyond the time range are left out.
    None,
}

/// What a query reads.
pub(crate) enum Selection {
    /// Blocks in the order that defines "the first N traces".
    Blocks(Vec<Selected>),
    /// Traces in memory, by ascending id, and the name they are known by.
    Memory(String, Arc<Vec<Trace>>),
}

/// Memory that a reader has at least, of several.
const READER_BYTES: usize = 32 << 20;

impl Selection {
    /// How much may be under way at a time, so that what one read waits for does not keep the others
    /// waiting; 1 where nothing is waited for.
    pub(crate) fn n_readers(&self, options: &QueryOptions) -> usize {
        match self {
            Self::Blocks(selected) if selected.iter().any(|s| !s.block.is_local()) => {
                (options.memory_bytes / READER_BYTES).clamp(1, options.remote_readers.max(1))
            }
            _ => 1,
        }
    }
}

/// A selected block.
pub(crate) struct Selected {
    pub(crate) block: Block,
    /// Blocks beyond the time range only complete traces of others.
    pub(crate) scanned: bool,
    /// What was opened, of those that are scanned.
    pub(crate) open: Option<Arc<OpenBlock>>,
}

/// A block, whether it lies in the time range, and what opening it gave.
type Opened = (Block, bool, Result<Option<Arc<OpenBlock>>, traceql_blocks::Error>);

/// A selection and what making it told.
pub(crate) struct Selecting {
    pub(crate) selection: Selection,
    pub(crate) stats: QueryStats,
    pub(crate) warnings: Vec<String>,
    /// Blocks were left out whose `meta.json` cannot be read.
    pub(crate) skipped: bool,
}

/// Lists what a query reads, and opens what it is planned by.
pub(crate) async fn select(
    runtime: &Runtime,
    run: &QueryRun,
    source: &Source,
    tenants: &[TenantId],
    options: &QueryOptions,
    opens: Opens,
) -> Result<Selecting> {
    let mut out = Selecting {
        selection: Selection::Blocks(Vec::new()),
        stats: QueryStats::default(),
        warnings: Vec::new(),
        skipped: false,
    };
    if matches!(source.kind(), SourceKind::Otlp(_)) {
        let name = source.to_string();
        let traces = match runtime.traces(&name) {
            Some(traces) => traces,
            None => {
                let traces = Arc::new(read_otlp(run, source, &name, options.memory_bytes).await?);
                runtime.add_traces(&name, Arc::clone(&traces));
                traces
            }
        };
        out.selection = Selection::Memory(name, traces);
        return Ok(out);
    }
    let context = read_context(runtime, run, options);
    let range = options.time_range.map(|(start, end)| TimeRange {
        start_unix_nanos: start.cast_signed().max(0),
        end_unix_nanos: i64::try_from(end).unwrap_or(i64::MAX - 1) + 1,
    });
    let mut selected = Vec::new();
    for tenant in tenants {
        let list = source
            .blocks(
                tenant,
                &BlocklistOptions {
                    range: None,
                    no_index: false,
                    unreadable: if options.skip_unreadable {
                        Unreadable::Skip
                    } else {
                        Unreadable::Fail
                    },
                    now_unix_nanos: options.now_unix_nanos,
                },
            )
            .await?;
        out.skipped |= !list.skipped.is_empty();
        out.warnings.extend(list.told().map(ToString::to_string));
        out.stats.total_blocks += list.blocks.len() as u64;
        selected.extend(list.blocks);
    }
    let is_inside = |block: &Block| range.is_none_or(|range| block.meta.overlaps(range));
    let wanted = wanted(&selected, is_inside, opens, options);
    let mut kept = Vec::with_capacity(selected.len());
    let opened: Vec<Opened> = futures::stream::iter(selected.into_iter().enumerate())
        .map(|(at, block)| {
            let (context, wanted) = (context.clone(), wanted.clone());
            async move {
                let inside = is_inside(&block);
                let open = if inside && wanted.contains(&at) {
                    OpenBlock::open(&block, &context).await.map(Some)
                } else {
                    Ok(None)
                };
                (block, inside, open)
            }
        })
        .buffered(CONCURRENT_OPENS)
        .map(Ok::<_, Error>)
        .try_collect()
        .await?;
    for (block, inside, open) in opened {
        match open {
            Ok(_) if !inside && opens == Opens::None => {}
            Ok(open) => {
                runtime.add_store(&block.store_url, &block.store);
                if inside {
                    out.stats.selected_blocks += 1;
                    out.stats.selected_block_bytes += block.meta.size_bytes;
                }
                kept.push(Selected { block, scanned: inside, open });
            }
            Err(error) => run.left_out.pass_over(&block, error.into())?,
        }
    }
    out.selection = Selection::Blocks(kept);
    Ok(out)
}

/// The blocks that are opened, as far as they lie inside.
fn wanted(
    blocks: &[Block],
    is_inside: impl Fn(&Block) -> bool,
    opens: Opens,
    options: &QueryOptions,
) -> Range<usize> {
    let (from, n_blocks) = match opens {
        Opens::None => return 0..0,
        Opens::All => return 0..blocks.len(),
        // What cannot be opened is left out of a plan, so all of it is tried.
        Opens::Some { .. } if options.skip_unreadable => return 0..blocks.len(),
        Opens::Some { from, n_blocks } => (from, n_blocks),
    };
    let is_first = |block: &Block| from.is_none_or(|from| block.meta.block_id.into_bytes() == from);
    let first = blocks.iter().position(is_first).unwrap_or(0);
    let inside = (first..blocks.len()).filter(|at| is_inside(&blocks[*at]));
    first..inside.take(n_blocks).last().map_or(first, |last| last + 1)
}

/// All traces of an OTLP file, by ascending id. They are held whole, and what they take is counted
/// before they are decoded.
async fn read_otlp(
    run: &QueryRun,
    source: &Source,
    name: &str,
    memory_bytes: usize,
) -> Result<Vec<Trace>> {
    let over = |error: traceql_blocks::Error| match error {
        traceql_blocks::Error::OverLimit { .. } | traceql_blocks::Error::Memory { .. } => {
            Error::Memory {
                limit_bytes: memory_bytes,
                what: format!("{error}; a file of traces is held whole, so give it in parts"),
            }
        }
        error => error.into(),
    };
    let limit_bytes = memory_bytes as u64;
    let bytes = source.read_otlp(limit_bytes).await.map_err(over)?;
    run.io.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    run.io.requests.fetch_add(1, Ordering::Relaxed);
    let mut traces = otlp::decode_within(bytes, Some(name), limit_bytes).map_err(over)?;
    // A span that was sent twice counts once.
    traces.iter_mut().for_each(Trace::remove_duplicate_spans);
    traces.sort_by_key(|trace| trace.id);
    Ok(traces)
}

/// How a query with these options reads.
pub(crate) fn read_context(
    runtime: &Runtime,
    run: &QueryRun,
    options: &QueryOptions,
) -> ReadContext {
    ReadContext {
        cache: Arc::clone(&runtime.cache),
        stats: Arc::clone(&run.io),
        shared: Arc::clone(&run.pages),
        io: runtime.io.clone(),
        pruning: options.pruning,
        library_reader: options.library_reader,
        checksums: true,
        stops_early: false,
        memory: MemoryLimit { bytes: options.memory_bytes as u64, readers: 1 },
    }
}
