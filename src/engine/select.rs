//! From a source and options to what a query reads: blocks selected by tenant and time, or traces
//! of an OTLP file.

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
const CONCURRENT_OPENS: usize = 16;

/// What a query reads.
pub(crate) enum Selection {
    /// Blocks in the order that defines "the first N traces".
    Blocks(Vec<Selected>),
    /// Traces in memory, by ascending id, and the name they are known by.
    Memory(String, Arc<Vec<Trace>>),
}

/// A selected block.
pub(crate) struct Selected {
    pub(crate) block: Block,
    /// `None` for blocks beyond the time range, which only complete traces of others.
    pub(crate) open: Option<Arc<OpenBlock>>,
}

/// A block, whether it lies in the time range, and what opening it gave.
type Opened = (Block, bool, Result<Option<Arc<OpenBlock>>, traceql_blocks::Error>);

/// A selection and what making it told.
pub(crate) struct Selecting {
    pub(crate) selection: Selection,
    pub(crate) stats: QueryStats,
    pub(crate) warnings: Vec<String>,
    pub(crate) skipped: bool,
}

/// Lists and opens what a query reads.
pub(crate) async fn select(
    runtime: &Runtime,
    run: &QueryRun,
    source: &Source,
    tenants: &[TenantId],
    options: &QueryOptions,
) -> Result<Selecting> {
    select_with(runtime, run, source, tenants, options, true).await
}

/// Lists what a query may read and opens nothing: a trace by id reads few of the blocks. Blocks
/// beyond the time range are left out.
pub(crate) async fn select_lazily(
    runtime: &Runtime,
    run: &QueryRun,
    source: &Source,
    tenants: &[TenantId],
    options: &QueryOptions,
) -> Result<Selecting> {
    select_with(runtime, run, source, tenants, options, false).await
}

async fn select_with(
    runtime: &Runtime,
    run: &QueryRun,
    source: &Source,
    tenants: &[TenantId],
    options: &QueryOptions,
    opens: bool,
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
        out.skipped |= list.skipped > 0;
        out.warnings.extend(list.warnings.iter().map(ToString::to_string));
        out.stats.total_blocks += list.blocks.len() as u64;
        selected.extend(list.blocks);
    }
    let mut kept = Vec::with_capacity(selected.len());
    let opened: Vec<Opened> = futures::stream::iter(selected)
        .map(|block| {
            let context = context.clone();
            async move {
                let inside = range.is_none_or(|range| block.meta.overlaps(range));
                let open = if inside && opens {
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
            Ok(_) if !inside && !opens => {}
            Ok(open) => {
                runtime.add_store(&block.store_url, &block.store);
                if inside {
                    out.stats.selected_blocks += 1;
                    out.stats.selected_block_bytes += block.meta.size_bytes;
                }
                kept.push(Selected { block, open });
            }
            Err(error) if options.skip_unreadable => {
                out.skipped = true;
                out.warnings.push(format!("skipped: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    out.selection = Selection::Blocks(kept);
    Ok(out)
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
