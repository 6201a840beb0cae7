//! Typed query to DataFusion plan to answers. The only place where all stages meet; it prints
//! nothing and opens no socket.

pub mod search;

use std::time::Duration;

/// What a query is asked with, apart from its text and its source.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Only traces that overlap this range: start and end, unix nanoseconds, both inclusive.
    pub time_range: Option<(u64, u64)>,
    /// Most traces to return; 0 is all.
    pub limit: usize,
    /// Most spans to return per spanset; 0 is all.
    pub spans_per_spanset: usize,
    /// Partitions of the scan.
    pub threads: usize,
    /// Bound on the memory of one query.
    pub memory_bytes: usize,
    /// The query fails with a time-out after this long.
    pub timeout: Option<Duration>,
}
