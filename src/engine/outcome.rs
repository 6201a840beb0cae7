//! An answer together with what it cost and whether it is whole.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An answer and everything one must know to judge it.
#[derive(Clone, Debug, Default)]
pub struct Outcome<T> {
    /// The answer.
    pub answer: T,
    /// What it cost.
    pub stats: QueryStats,
    /// Why the answer is not whole; `None` if it is. A reached limit is not partial.
    pub partial: Option<String>,
    /// What the user should know besides: skipped blocks, a stale index ….
    pub warnings: Vec<String>,
}

impl<T> Outcome<T> {
    /// The same with another form of the answer.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        let Self { answer, stats, partial, warnings } = self;
        Outcome { answer: f(answer), stats, partial, warnings }
    }
}

/// What a query cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryStats {
    /// Blocks of the tenant.
    pub total_blocks: u64,
    /// Blocks left after pruning by time and id.
    pub selected_blocks: u64,
    /// Bytes of `data.parquet` of the selected blocks.
    pub selected_block_bytes: u64,
    /// Units of work planned and done; fewer are done when a limit ends the search.
    pub units_total: u64,
    /// See `units_total`.
    pub units_done: u64,
    /// Traces whose spans were looked at.
    pub inspected_traces: u64,
    /// Spans looked at.
    pub inspected_spans: u64,
    /// Bytes read from the store, caches excluded.
    pub bytes_read: u64,
    /// Requests made to the store.
    pub requests: u64,
    /// Row groups skipped without reading a page of them.
    pub row_groups_skipped: u64,
    /// Pages decoded.
    pub pages_read: u64,
    /// Time from request to answer.
    pub elapsed: Duration,
}

/// How far a running query has come. Only ever grows; read with relaxed order, for display.
#[derive(Debug, Default)]
pub struct Progress {
    /// When the (first) plan was made.
    pub planned: OnceLock<Instant>,
    /// Blocks left after pruning by time; 0 until the plan is made.
    pub selected_blocks: AtomicU64,
    /// Bytes of `data.parquet` of those blocks.
    pub selected_block_bytes: AtomicU64,
    /// Units of work planned; 0 until the plan is made.
    pub units_total: AtomicU64,
    /// Units of work done.
    pub units_done: AtomicU64,
    /// Traces whose spans were looked at in units that are done.
    pub inspected_traces: AtomicU64,
    /// Spans looked at in units that are done.
    pub inspected_spans: AtomicU64,
    /// Bytes read from the store.
    pub bytes_read: AtomicU64,
}

impl Progress {
    /// What the query has cost so far, as far as it is known before the end.
    #[must_use]
    pub fn stats(&self) -> QueryStats {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryStats {
            selected_blocks: now(&self.selected_blocks),
            selected_block_bytes: now(&self.selected_block_bytes),
            units_total: now(&self.units_total),
            units_done: now(&self.units_done),
            inspected_traces: now(&self.inspected_traces),
            inspected_spans: now(&self.inspected_spans),
            bytes_read: now(&self.bytes_read),
            ..QueryStats::default()
        }
    }
}
