//! Tracing of ourselves: spans of queries, flushes and compactions, sent over OTLP to wherever they are wanted. A span
//! that finds no room is dropped and counted; nothing here makes a query wait.
//!
//! Requests of senders of traces are not traced. So a server that takes in its own spans, directly or
//! through Collectors, makes no spans of that; and a flush of nothing but spans of flushes and
//! compactions makes none either ([`Tracer::flushed`]).

mod compaction;
mod context;
mod export;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::header::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use traceql_blocks::model::{AttributeValue, KeyValue, Span, TraceId};
use traceql_engine::{Progress, QueryStats};
use uuid::Uuid;

use crate::live::{FlushedBlock, IngestOptions};
use context::Context;
pub use export::TracingError;
pub(crate) use export::start;

/// Spans that may wait to be sent; the number of OpenTelemetry's SDKs.
const MAX_WAITING: usize = 2048;
/// So many are sent at a time, and without waiting longer.
const BATCH: usize = 512;
/// Traces of flushes and compactions that are remembered, and blocks that hold nothing else.
const REMEMBERED: usize = 256;

/// OTLP's numbers.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const ERROR: i32 = 2;

/// Where spans of our own go, and whose they are.
#[derive(Clone, Debug)]
pub struct TracingOptions {
    /// Where to post, `http://collector:4318/v1/traces`.
    pub url: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Attributes of the resource, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// Makes an id, one that no other has.
    pub new_id: fn() -> Uuid,
}

/// Begins spans; one that traces nothing is the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    options: TracingOptions,
    /// Unix nanoseconds.
    clock: fn() -> u64,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<(TraceId, Span)>,
    counts: Counts,
    /// Traces of the last flushes and compactions.
    own_traces: VecDeque<TraceId>,
    /// The last blocks that hold nothing else.
    own_blocks: VecDeque<Uuid>,
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Taken by the receiver.
    pub(crate) sent: u64,
    /// There was no room for them.
    pub(crate) dropped: u64,
    /// The receiver would not have them, or was not there for too long.
    pub(crate) failed: u64,
}

/// A span that has not ended; it does when this is dropped. Of one that is not traced nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct ActiveSpan(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    tracer: Arc<Shared>,
    trace_id: TraceId,
    begun: Instant,
    /// When it did, if it is over already.
    ended: Option<Instant>,
    span: Span,
}

/// Where spans within another one begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parent(Option<Within>);

#[derive(Clone, Debug)]
struct Within {
    tracer: Arc<Shared>,
    trace_id: TraceId,
    span_id: Vec<u8>,
    /// Of the query that is made within.
    progress: Arc<Progress>,
}

impl Tracer {
    /// A tracer that sends nothing before [`Tracer::export`] runs.
    pub(crate) fn new(options: TracingOptions, clock: fn() -> u64) -> Self {
        let (waiting, wake) = (Mutex::default(), Notify::new());
        Self(Some(Arc::new(Shared { options, clock, waiting, wake })))
    }

    /// What became of spans so far; `None` if there are none.
    pub(crate) fn counts(&self) -> Option<Counts> {
        self.0.as_ref().map(|shared| shared.waiting.lock().counts)
    }

    /// Begins the span of a request that arrived so long ago, within the one that its `traceparent`
    /// names. Whoever sent that decides whether it is traced; without one everything is.
    pub(crate) fn request(
        &self,
        name: impl FnOnce() -> String,
        headers: &HeaderMap,
        since: Duration,
    ) -> ActiveSpan {
        let Some(shared) = &self.0 else { return ActiveSpan::default() };
        let mut span = match Context::of(headers) {
            Some(context) if !context.is_sampled => return ActiveSpan::default(),
            Some(context) => {
                let mut span = shared.begin(name(), SERVER, context.span_id);
                span.trace_state = context.trace_state;
                Open {
                    tracer: Arc::clone(shared),
                    trace_id: context.trace_id,
                    begun: Instant::now(),
                    ended: None,
                    span,
                }
            }
            None => shared.root(name(), SERVER),
        };
        span.begin_earlier(since);
        ActiveSpan(Some(Box::new(span)))
    }

    /// The same ingest, whose flushes are traced.
    pub(crate) fn tracing_flushes(&self, ingest: IngestOptions) -> IngestOptions {
        if self.0.is_none() {
            return ingest;
        }
        let tracer = self.clone();
        let on_flush = move |block: &FlushedBlock| {
            tracer.flushed(block, |span| {
                span.text("traceql.tenant", || block.tenant.to_string());
                span.text("traceql.block.id", || block.id.to_string());
                span.number("traceql.block.traces", block.traces.len() as u64);
                span.number("traceql.block.span_bytes", block.bytes);
            });
        };
        IngestOptions { on_flush: Some(Arc::new(on_flush)), ..ingest }
    }

    /// The span of a flush that is over. One of nothing but traces of flushes and compactions has none,
    /// or each would be the cause of the next.
    pub(crate) fn flushed(&self, block: &FlushedBlock, tell: impl FnOnce(&mut ActiveSpan)) {
        let Some(shared) = &self.0 else { return };
        let is_own = {
            let waiting = shared.waiting.lock();
            block.traces.iter().all(|id| waiting.own_traces.contains(id))
        };
        if is_own {
            shared.remember_block(block.id);
            return;
        }
        let mut span = shared.root("flush".to_owned(), INTERNAL);
        span.begin_earlier(block.took);
        shared.remember_trace(span.trace_id);
        let mut span = ActiveSpan(Some(Box::new(span)));
        tell(&mut span);
    }
}

impl Shared {
    fn begin(&self, name: String, kind: i32, parent: Vec<u8>) -> Span {
        let start = (self.clock)();
        Span {
            span_id: self.span_id(),
            parent_span_id: parent,
            name,
            kind,
            start_unix_nanos: start,
            end_unix_nanos: start,
            ..Span::default()
        }
    }

    fn root(self: &Arc<Self>, name: String, kind: i32) -> Open {
        let trace_id = TraceId((self.options.new_id)().into_bytes());
        let span = self.begin(name, kind, Vec::new());
        Open { tracer: Arc::clone(self), trace_id, begun: Instant::now(), ended: None, span }
    }

    fn span_id(&self) -> Vec<u8> {
        let (high, low) = (self.options.new_id)().as_u64_pair();
        // Some bits of an id are always the same; both halves together have none that are.
        (high ^ low).max(1).to_be_bytes().to_vec()
    }

    fn remember_trace(&self, id: TraceId) {
        remember(&mut self.waiting.lock().own_traces, id);
    }

    fn remember_block(&self, id: Uuid) {
        remember(&mut self.waiting.lock().own_blocks, id);
    }

    fn is_own_block(&self, id: Uuid) -> bool {
        self.waiting.lock().own_blocks.contains(&id)
    }

    fn end(&self, trace_id: TraceId, span: Span) {
        let mut waiting = self.waiting.lock();
        if waiting.spans.len() >= MAX_WAITING {
            waiting.counts.dropped += 1;
            return;
        }
        waiting.spans.push_back((trace_id, span));
        let is_batch = waiting.spans.len() == BATCH;
        drop(waiting);
        if is_batch {
            self.wake.notify_one();
        }
    }
}

fn remember<T>(among: &mut VecDeque<T>, new: T) {
    if among.len() == REMEMBERED {
        among.pop_front();
    }
    among.push_back(new);
}

impl Open {
    fn begin_earlier(&mut self, since: Duration) {
        let start = self.span.start_unix_nanos;
        self.span.start_unix_nanos = start.saturating_sub(nanos(since));
        self.span.end_unix_nanos = self.span.start_unix_nanos;
        self.begun = self.begun.checked_sub(since).unwrap_or(self.begun);
    }
}

impl ActiveSpan {
    /// Where spans within this one begin.
    pub(crate) fn as_parent(&self) -> Parent {
        Parent(self.0.as_ref().map(|open| Within {
            tracer: Arc::clone(&open.tracer),
            trace_id: open.trace_id,
            span_id: open.span.span_id.clone(),
            progress: Arc::default(),
        }))
    }

    /// A part of it that is over, as a span within, of which more may be said.
    pub(crate) fn part(&self, name: &str, from: Instant, to: Instant) -> Self {
        Self(self.0.as_ref().map(|open| {
            let parent = open.span.span_id.clone();
            let mut span = open.tracer.begin(name.to_owned(), INTERNAL, parent);
            let since = nanos(from.saturating_duration_since(open.begun));
            span.start_unix_nanos = open.span.start_unix_nanos.saturating_add(since);
            Box::new(Open {
                tracer: Arc::clone(&open.tracer),
                trace_id: open.trace_id,
                begun: from,
                ended: Some(to),
                span,
            })
        }))
    }

    /// Says something of it in text. What it is is not asked for if nobody is told.
    pub(crate) fn text(&mut self, key: &str, text: impl FnOnce() -> String) {
        if self.0.is_some() {
            self.set(key, AttributeValue::String(text()));
        }
    }

    /// Says a number of it.
    pub(crate) fn number(&mut self, key: &str, number: u64) {
        self.set(key, AttributeValue::Int(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    /// What a query has cost.
    pub(crate) fn cost(&mut self, stats: &QueryStats) {
        for (key, number) in [
            ("traceql.blocks.total", stats.total_blocks),
            ("traceql.blocks.selected", stats.selected_blocks),
            ("traceql.units.total", stats.units_total),
            ("traceql.units.done", stats.units_done),
            ("traceql.inspected.traces", stats.inspected_traces),
            ("traceql.inspected.spans", stats.inspected_spans),
            ("traceql.row_groups.skipped", stats.row_groups_skipped),
            ("traceql.pages.read", stats.pages_read),
            ("traceql.store.requests", stats.requests),
            ("traceql.store.bytes", stats.bytes_read),
        ] {
            self.number(key, number);
        }
    }

    /// It failed.
    pub(crate) fn fails(&mut self, why: &str) {
        if let Some(open) = &mut self.0 {
            open.span.status_code = ERROR;
            why.clone_into(&mut open.span.status_message);
        }
    }

    fn set(&mut self, key: &str, value: AttributeValue) {
        if let Some(open) = &mut self.0 {
            open.span.attributes.push(KeyValue { key: key.to_owned(), value });
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { tracer, trace_id, begun, ended, mut span } = *open;
        let took = ended.unwrap_or_else(Instant::now).saturating_duration_since(begun);
        span.end_unix_nanos = span.start_unix_nanos.saturating_add(nanos(took));
        tracer.end(trace_id, span);
    }
}

impl Parent {
    /// Begins a span within.
    pub(crate) fn child(&self, name: &str) -> ActiveSpan {
        ActiveSpan(self.0.as_ref().map(|within| {
            let parent = within.span_id.clone();
            Box::new(Open {
                tracer: Arc::clone(&within.tracer),
                trace_id: within.trace_id,
                begun: Instant::now(),
                ended: None,
                span: within.tracer.begin(name.to_owned(), INTERNAL, parent),
            })
        }))
    }

    /// What a query is to move, if it is traced.
    pub(crate) fn progress(&self) -> Option<&Arc<Progress>> {
        self.0.as_ref().map(|within| &within.progress)
    }
}
