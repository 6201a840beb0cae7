//! What an engine and a query are configured with: plain data, validated by whoever gathers it.

use std::sync::Arc;
use std::time::Duration;

use traceql_blocks::read::open::IoStats;
use traceql_language::TypedQuery;

use crate::metrics::Partials;
use crate::outcome::Progress;
use crate::search::Cursor;

/// Settings of an [`crate::Engine`].
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Bytes kept of footers, page indexes and dictionaries.
    pub cache_bytes: usize,
    /// Where blocking and remote reads run; decode never runs there. `None`: the caller's runtime.
    pub io_runtime: Option<tokio::runtime::Handle>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, io_runtime: None }
    }
}

/// What a query is asked with, apart from its text and its source.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Only traces that overlap this range: start and end, unix nanoseconds, both inclusive.
    pub time_range: Option<(u64, u64)>,
    /// Most traces to return; 0 is all. A query's own `limit` may lower it.
    pub limit: usize,
    /// Return the traces behind this place in the order of the query: the next page.
    pub after: Option<Cursor>,
    /// Most spans to return per spanset; 0 is all.
    pub spans_per_spanset: usize,
    /// Partitions of the scan, at least 1.
    pub threads: usize,
    /// Most reads of blocks in an object store that wait at a time, at least 1.
    pub remote_readers: usize,
    /// Bound on the memory of one query.
    pub memory_bytes: usize,
    /// The query fails with [`crate::Error::Timeout`] after this long.
    pub timeout: Option<Duration>,
    /// Skip unreadable blocks, with a warning and a partial answer, instead of failing.
    pub skip_unreadable: bool,
    /// Use statistics, indexes and dictionaries to skip data. Off only in tests: answers are equal.
    pub pruning: bool,
    /// Decode with the Parquet library's own column reader instead of ours. For tests.
    pub library_reader: bool,
    /// The time, unix nanoseconds, to judge the age of a tenant index by; `None` trusts any index.
    pub now_unix_nanos: Option<i64>,
    /// Counters that the query moves while it runs, for whoever waits for it.
    pub progress: Option<Arc<Progress>>,
    /// Where a metrics query shows what it has found while it runs.
    pub partials: Option<Arc<Partials>>,
    /// Counters of all queries that are given the same ones, moved by each while it runs.
    pub io_total: Option<Arc<IoStats>>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            time_range: None,
            limit: 20,
            after: None,
            spans_per_spanset: 3,
            threads: 2,
            remote_readers: 16,
            memory_bytes: 512 << 20,
            timeout: None,
            skip_unreadable: false,
            pruning: true,
            library_reader: false,
            now_unix_nanos: None,
            progress: None,
            partials: None,
            io_total: None,
        }
    }
}

impl QueryOptions {
    /// Most traces that a search returns, 0 for all: the smaller of these options' limit and of the
    /// query's own.
    #[must_use]
    pub fn limit_of(&self, query: &TypedQuery) -> usize {
        let own = query.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        match (own, self.limit) {
            (None, limit) => limit,
            (Some(own), 0) => own,
            (Some(own), limit) => own.min(limit),
        }
    }
}
