//! From a received request to a block: spans are checked and bounded (`admit`), made durable (`log`),
//! held by trace (`traces`), seen by queries (`view`, `tend`), cut and flushed (`flush`). Knows the log and
//! the writer of blocks; neither HTTP nor queries.
//!
//! # Who does what
//!
//! ```text
//!   request ──admit──▶ ┌─ log thread ──────────────────────────────┐ ──▶ answered
//!   request ──admit──▶ │ batch ▶ one sync ▶ into the live traces   │ ──▶ answered
//!   flusher ──cut────▶ │ Flush record ▶ traces leave the live ones │ ──▶ block written, listed
//!   flusher ──done───▶ │ Flushed record ▶ segments removed         │
//!                      └───────────────────────────────────────────┘
//! ```
//!
//! One thread appends to the log and changes the live traces, in the same order; so replay, which does
//! the same with the same records, comes to the same traces, and a block that was announced holds
//! exactly what its record says. That is what makes a flush happen once: the record names the block
//! before it is written, and after a crash the block either exists, and its spans are dropped, or it
//! does not, and is written again under the same id.

mod admit;
mod counts;
mod flush;
mod log;
mod options;
mod rate;
mod tend;
#[cfg(test)]
mod tests;
mod traces;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{Trace, TraceId};

use crate::error::Result;
use crate::ingest::{self, Discard, Received, Refused, Sink, Taken};
use crate::options::Tenancy;
use crate::overrides::Overrides;
use flush::Flushing;
use log::LogThread;
pub use options::{CutSettings, FlushedBlock, IngestLimits, IngestOptions, OnFlush, Step};
use rate::Rates;
use traces::LiveTraces;
pub(crate) use view::Forget;

/// What is being received: one for a server.
#[derive(Debug)]
pub(crate) struct Live {
    options: IngestOptions,
    tenancy: Tenancy,
    overrides: Arc<Overrides>,
    log_line: fn(&str),
    traces: Mutex<LiveTraces>,
    rates: Mutex<Rates>,
    /// Bytes of spans on their way into the log, live or being flushed.
    held_bytes: AtomicU64,
    state: AtomicU8,
    thread: LogThread,
    flushing: Flushing,
    counts: counts::Counts,
    received: Arc<ingest::Counts>,
    views: Arc<view::Views>,
}

/// Whether spans are taken.
const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Live {
    /// Prepares; nothing is taken and nothing is seen before [`Live::open`]. Blocks in memory that are
    /// gone are to be forgotten by whoever has read them.
    pub(crate) fn new(
        options: IngestOptions,
        tenancy: Tenancy,
        overrides: Arc<Overrides>,
        log_line: fn(&str),
        forget: Forget,
    ) -> Arc<Self> {
        Arc::new(Self {
            options,
            tenancy,
            overrides,
            log_line,
            traces: Mutex::default(),
            rates: Mutex::default(),
            held_bytes: AtomicU64::new(0),
            state: AtomicU8::new(STARTING),
            thread: LogThread::default(),
            flushing: Flushing::default(),
            counts: counts::Counts::default(),
            received: Arc::default(),
            views: Arc::new(view::Views::new(forget)),
        })
    }

    /// Replays the log and begins to take spans. It reads files, so it is done on a thread that may
    /// wait.
    ///
    /// # Errors
    /// If the log cannot be read or written.
    pub(crate) fn open(self: &Arc<Self>) -> Result<()> {
        let began = Instant::now();
        let replayed = self.thread.start(self)?;
        for (path, damage) in &replayed.damage {
            (self.log_line)(&format!("{}: {damage}", path.display()));
        }
        if replayed.segments > 0 {
            let (n_spans_bytes, elapsed) = (replayed.bytes, began.elapsed());
            (self.log_line)(&format!(
                "replayed {n_spans_bytes} bytes of the write-ahead log in {elapsed:.1?}"
            ));
        }
        self.state.store(READY, Ordering::Release);
        Ok(())
    }

    /// Why queries and spans have to wait, if they have to.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        match self.state.load(Ordering::Acquire) {
            READY if self.thread.has_ended() => Some("the write-ahead log has ended; restart"),
            READY => None,
            STOPPING => Some("the server is stopping"),
            _ => Some("the server is starting: it replays its write-ahead log"),
        }
    }

    /// Takes no more spans, flushes those it has within a time, and ends the log.
    pub(crate) async fn stop(self: &Arc<Self>, source: &Source) {
        if self.state.swap(STOPPING, Ordering::AcqRel) == STARTING {
            return; // What was replayed so far is in the log still.
        }
        let within = self.options.final_flush;
        let flushed = tokio::time::timeout(within, Arc::clone(self).flush_all(source)).await;
        if !matches!(flushed, Ok(true)) {
            (self.log_line)("not all spans are flushed; they stay in the write-ahead log");
        }
        self.thread.stop();
    }

    /// The spans of a trace that lie in no block yet.
    ///
    /// # Errors
    /// For bytes in the log that are none of ours.
    pub(crate) fn trace(
        &self,
        tenant: &TenantId,
        id: TraceId,
    ) -> std::result::Result<Option<Trace>, traceql_blocks::Error> {
        let parts = self.traces.lock().parts_of(tenant, id);
        traces::trace_of(id, &parts)
    }

    /// Whom the spans of a request belong to.
    fn tenant(&self, named: Option<TenantId>) -> std::result::Result<TenantId, Refused> {
        match &self.tenancy {
            Tenancy::One(tenant) => Ok(tenant.clone()),
            // The words and the code are Tempo's; senders try again after it.
            Tenancy::Header => named.ok_or_else(|| Refused::Unavailable("no org id".to_owned())),
        }
    }

    /// Sets bytes aside for spans, if there are so many.
    fn reserve(&self, n_bytes: u64) -> bool {
        let most = self.options.limits.live_bytes;
        let more = |held: u64| held.checked_add(n_bytes).filter(|held| *held <= most);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        self.held_bytes.fetch_update(success, failure, more).is_ok()
    }

    fn release(&self, n_bytes: u64) {
        self.held_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
    }
}

impl Sink for Live {
    fn reads_tenants(&self) -> bool {
        self.tenancy == Tenancy::Header
    }

    async fn take(&self, received: &mut Received) -> std::result::Result<Taken, Refused> {
        let (protocol, n_bytes) = (received.protocol, received.size_bytes as u64);
        let n_spans = received.traces.iter().map(|trace| trace.span_count() as u64).sum();
        let taken = self.admit(received, n_spans).await?;
        self.received.took(protocol, n_spans, n_bytes);
        Ok(taken)
    }

    fn counts(&self) -> Option<&ingest::Counts> {
        Some(&self.received)
    }
}

impl Live {
    /// Counts of what is received, for whoever shows them.
    pub(crate) fn received(&self) -> Arc<ingest::Counts> {
        Arc::clone(&self.received)
    }

    async fn admit(
        &self,
        received: &mut Received,
        n_spans: u64,
    ) -> std::result::Result<Taken, Refused> {
        if let Some(why) = self.not_ready() {
            return Err(Refused::Unavailable(why.to_owned()));
        }
        let tenant = self.tenant(received.tenant.clone())?;
        let limits = &self.overrides.of(&tenant).ingest(&self.options.limits);
        let rate = (limits.rate_bytes, limits.burst_bytes);
        let n_bytes = received.size_bytes as u64;
        if !self.rates.lock().take(&tenant, n_bytes, rate, Instant::now()) {
            let why = format!(
                "RATE_LIMITED: ingestion rate limit (local: {} bytes, burst: {} bytes) exceeded \
                 while adding {n_bytes} bytes for user {tenant}",
                limits.rate_bytes, limits.burst_bytes
            );
            self.received.discarded(Discard::RateLimited, n_spans);
            return Err(Refused::Full(why, limits.retry_after));
        }
        admit::check(&received.traces).map_err(|(why, refused)| {
            self.received.discarded(why, n_spans);
            refused
        })?;
        let n_cut = admit::truncate(&mut received.traces, limits.attribute_bytes);
        self.received.truncated(n_cut);
        let admitted = admit::within_limits(&self.traces, &tenant, &received.traces, limits);
        for (why, n_spans) in admitted.discarded {
            self.received.discarded(why, n_spans);
        }
        if admitted.parts.is_empty() {
            return Ok(admitted.taken);
        }
        if !received.wanted_after {
            // They take several times the bytes of their parts, and a disk that is busy has many
            // requests wait for it.
            received.traces = Vec::new();
        }
        let n_bytes = admitted.parts.iter().map(traces::part_bytes).sum();
        if !self.reserve(n_bytes) {
            let why = format!(
                "RATE_LIMITED: {} bytes of spans wait to be flushed, and there is no room for \
                 {n_bytes} more",
                self.held_bytes.load(Ordering::Relaxed)
            );
            return Err(Refused::Full(why, limits.retry_after));
        }
        // From here on the log has to give the bytes back, whether anyone waits for it or not.
        self.thread.append(self, tenant, admitted.parts, n_bytes).await?;
        Ok(admitted.taken)
    }
}
