//! What became of spans that were taken, as Prometheus scrapes it and as `/ready` tells it. What was
//! taken, and what was not, receivers count (`ingest::Counts`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::Live;
use crate::telemetry::exposition::{Kind, Page};

/// Counters of what is flushed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    blocks: AtomicU64,
    failures: AtomicU64,
    trouble: Mutex<Trouble>,
}

/// What goes wrong at present.
#[derive(Debug, Default)]
struct Trouble {
    /// Since when no block could be written, and why the last one could not.
    flush: Option<(Instant, String)>,
    log: Option<(Instant, String)>,
}

impl Counts {
    /// A block was written.
    pub(super) fn flushed(&self) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.trouble.lock().flush = None;
    }

    /// A block could not be written.
    pub(super) fn flush_failed(&self, why: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble.lock();
        let since = trouble.flush.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        trouble.flush = Some((since, why.to_owned()));
    }

    /// The log was written, or could not be.
    pub(super) fn log_written(&self, error: Option<&std::io::Error>) {
        let mut trouble = self.trouble.lock();
        trouble.log = error.map(|error| {
            let since = trouble.log.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            (since, error.to_string())
        });
    }
}

impl Live {
    /// What a server that is ready has to say nevertheless: it answers queries and keeps what it
    /// acknowledged, but not everything goes as it should. A line each.
    pub(crate) fn trouble(&self) -> String {
        let trouble = self.counts.trouble.lock();
        let mut text = String::new();
        if let Some((since, why)) = &trouble.log {
            let since = since.elapsed().as_secs();
            text.push_str(&format!(
                "spans are refused: the write-ahead log cannot be written for {since} s: {why}\n"
            ));
        }
        if let Some((since, why)) = &trouble.flush {
            let since = since.elapsed().as_secs();
            let (held, most) = (self.held(), self.options.limits.live_bytes);
            text.push_str(&format!(
                "blocks cannot be written for {since} s, {held} of {most} bytes of spans are kept \
                 in the write-ahead log: {why}\n"
            ));
        }
        text
    }

    /// The counters as a page of their own.
    pub(crate) fn exposition(&self) -> String {
        let counts = &self.counts;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut page = Page::default();
        page.single(
            "traceql_live_bytes",
            Kind::Gauge,
            "Bytes of spans that lie in no block, as they are counted against the limit.",
            self.held(),
        );
        page.single(
            "traceql_live_bytes_limit",
            Kind::Gauge,
            "From how many on senders are told to wait.",
            self.options.limits.live_bytes,
        );
        let (waiting, bytes) = self.waiting();
        page.single(
            "traceql_flush_waiting_blocks",
            Kind::Gauge,
            "Blocks that are to be written.",
            waiting,
        );
        page.single(
            "traceql_flush_waiting_bytes",
            Kind::Gauge,
            "Bytes of spans in blocks that are to be written.",
            bytes,
        );
        page.single(
            "traceql_flushed_blocks_total",
            Kind::Counter,
            "Blocks written of received spans.",
            read(&counts.blocks),
        );
        page.single(
            "traceql_flush_failures_total",
            Kind::Counter,
            "Blocks that could not be written; each is tried again.",
            read(&counts.failures),
        );
        let (flush, log) = {
            let trouble = counts.trouble.lock();
            let lasts = |of: &Option<(Instant, String)>| {
                of.as_ref().map_or(0.0, |(since, _)| since.elapsed().as_secs_f64())
            };
            (lasts(&trouble.flush), lasts(&trouble.log))
        };
        page.single(
            "traceql_flush_failing_seconds",
            Kind::Gauge,
            "For how long no block could be written; 0 is not at all.",
            flush,
        );
        page.single(
            "traceql_wal_failing_seconds",
            Kind::Gauge,
            "For how long the write-ahead log could not be written; 0 is not at all.",
            log,
        );
        page.into_text()
    }

    fn held(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }
}
