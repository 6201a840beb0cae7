//! The thread that appends to the log and changes the live traces in the same order: requests that
//! wait are written together and synced once.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::wal::{Log, LogOptions, Part, Record, Replayed};
use uuid::Uuid;

use super::traces::{Flush, LiveTraces, Which};
use super::{Live, Step};
use crate::error::Result;
use crate::ingest::Refused;

/// A batch is written when it has this many bytes, though more wait.
const BATCH_BYTES: u64 = 8 << 20;

/// What the thread is asked to do.
enum Item {
    Spans(Waiting),
    Cut { tenant: TenantId, which: Which, done: oneshot::Sender<io::Result<Option<Arc<Flush>>>> },
    Flushed { block_id: Uuid, done: oneshot::Sender<io::Result<()>> },
}

/// Spans that wait to be durable.
struct Waiting {
    tenant: TenantId,
    parts: Vec<Part>,
    bytes: u64,
    done: oneshot::Sender<std::result::Result<(), Refused>>,
}

/// The way to the thread.
#[derive(Default)]
pub(super) struct LogThread {
    queue: Mutex<Option<Sender<Item>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl std::fmt::Debug for LogThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogThread").finish_non_exhaustive()
    }
}

impl LogThread {
    /// Replays the log into the live traces and starts the thread. It ends with [`LogThread::stop`],
    /// or when there is nobody left who could ask for something.
    pub(super) fn start(&self, live: &Arc<Live>) -> Result<Replayed> {
        let options = LogOptions {
            folder: live.options.wal.clone(),
            segment_bytes: live.options.segment_bytes,
        };
        let now = Instant::now();
        let mut traces = LiveTraces::default();
        let (log, replayed) = Log::open(options, |segment, record| {
            replay(&mut traces, segment, record, now);
        })?;
        live.held_bytes.store(traces.bytes(), std::sync::atomic::Ordering::Relaxed);
        *live.traces.lock() = traces;
        let (sender, receiver) = channel();
        let weak = Arc::downgrade(live);
        let writer = Writer { log, is_failing: false };
        let thread = std::thread::Builder::new()
            .name("traceql-wal".to_owned())
            .spawn(move || writer.run(&receiver, &weak))
            .map_err(crate::error::Error::Runtime)?;
        *self.queue.lock() = Some(sender);
        *self.thread.lock() = Some(thread);
        Ok(replayed)
    }

    /// Lets the thread do what it was asked to, and waits for its end.
    pub(super) fn stop(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            // It has no result, and a panic has been told by the runtime.
            drop(thread.join());
        }
    }

    /// Whether the thread has ended, though nobody asked it to.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.lock().as_ref().is_some_and(std::thread::JoinHandle::is_finished)
    }

    /// Makes spans durable and live.
    pub(super) async fn append(
        &self,
        live: &Live,
        tenant: TenantId,
        parts: Vec<Part>,
        bytes: u64,
    ) -> std::result::Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        if !self.ask(Item::Spans(Waiting { tenant, parts, bytes, done })) {
            live.release(bytes);
            return Err(Refused::Unavailable("the server is stopping".to_owned()));
        }
        answer.await.unwrap_or_else(|_| {
            Err(Refused::Unavailable("the write-ahead log has ended".to_owned()))
        })
    }

    /// Announces a block of traces that are to be cut, if there are any, and cuts them.
    pub(super) async fn cut(
        &self,
        tenant: TenantId,
        which: Which,
    ) -> io::Result<Option<Arc<Flush>>> {
        let (done, answer) = oneshot::channel();
        match self.ask(Item::Cut { tenant, which, done }) {
            true => answer.await.unwrap_or_else(|_| Err(ended())),
            false => Err(ended()),
        }
    }

    /// Notes that a block exists, and forgets its traces.
    pub(super) async fn flushed(&self, block_id: Uuid) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        match self.ask(Item::Flushed { block_id, done }) {
            true => answer.await.unwrap_or_else(|_| Err(ended())),
            false => Err(ended()),
        }
    }

    fn ask(&self, item: Item) -> bool {
        self.queue.lock().as_ref().is_some_and(|queue| queue.send(item).is_ok())
    }
}

fn ended() -> io::Error {
    io::Error::other("the write-ahead log has ended")
}

/// Does again what a record says.
fn replay(traces: &mut LiveTraces, segment: u64, record: Record, now: Instant) {
    match record {
        Record::Spans { tenant, parts } => {
            // They share the bytes of the whole segment, which need not stay for the last of them.
            let own = |part: Part| Part { spans: Bytes::copy_from_slice(&part.spans), ..part };
            traces.add(&tenant, parts.into_iter().map(own).collect(), segment, now);
        }
        Record::Flush { tenant, block_id, traces: ids } => {
            drop(traces.cut(&tenant, block_id, &ids, true));
        }
        Record::Flushed { block_id } => {
            traces.flushed(block_id);
        }
    }
}

/// What the thread has.
struct Writer {
    log: Log,
    /// The last append failed: that was told.
    is_failing: bool,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Item>, live: &Weak<Live>) {
        while let Ok(first) = queue.recv() {
            let Some(live) = live.upgrade() else { return };
            let (mut batch, mut bytes, mut next) = (Vec::new(), 0, Some(first));
            let other = loop {
                match next {
                    Some(Item::Spans(waiting)) => {
                        bytes += waiting.bytes;
                        batch.push(waiting);
                        next = (bytes < BATCH_BYTES).then(|| queue.try_recv().ok()).flatten();
                    }
                    other => break other,
                }
            };
            if !batch.is_empty() {
                self.append(&live, batch);
            }
            match other {
                Some(Item::Cut { tenant, which, done }) => {
                    // Nobody waits any longer if the server stops; the cut stands all the same.
                    drop(done.send(self.cut(&live, tenant, which)));
                }
                Some(Item::Flushed { block_id, done }) => {
                    drop(done.send(self.flushed(&live, block_id)));
                }
                Some(Item::Spans(_)) | None => {}
            }
        }
    }

    fn append(&mut self, live: &Live, mut batch: Vec<Waiting>) {
        let record = |waiting: &Waiting| Record::Spans {
            tenant: waiting.tenant.clone(),
            parts: waiting.parts.clone(),
        };
        let records: Vec<Record> = batch.iter().map(record).collect();
        (live.options.on_step)(Step::Received);
        let appended = self.log.append(&records);
        self.note(live, appended.as_ref().err());
        let answer = match appended {
            Ok(segment) => {
                (live.options.on_step)(Step::Durable);
                let now = Instant::now();
                let mut traces = live.traces.lock();
                for waiting in &mut batch {
                    let parts = std::mem::take(&mut waiting.parts);
                    traces.add(&waiting.tenant, parts, segment, now);
                }
                Ok(())
            }
            Err(error) => {
                live.release(batch.iter().map(|waiting| waiting.bytes).sum());
                Err(Refused::Unavailable(format!("cannot write the write-ahead log: {error}")))
            }
        };
        for waiting in batch {
            // Who went away sends them again, as if they had been refused.
            drop(waiting.done.send(answer.clone()));
        }
    }

    fn cut(
        &mut self,
        live: &Live,
        tenant: TenantId,
        which: Which,
    ) -> io::Result<Option<Arc<Flush>>> {
        let ids = live.traces.lock().due(&tenant, which, &live.options.cut, Instant::now());
        if ids.is_empty() {
            return Ok(None);
        }
        let block_id = (live.options.new_block_id)();
        let record = Record::Flush { tenant: tenant.clone(), block_id, traces: ids.clone() };
        let appended = self.log.append_in_need(&[record]);
        self.note(live, appended.as_ref().err());
        appended?;
        (live.options.on_step)(Step::Announced);
        Ok(live.traces.lock().cut(&tenant, block_id, &ids, false))
    }

    fn flushed(&mut self, live: &Live, block_id: Uuid) -> io::Result<()> {
        let appended = self.log.append_in_need(&[Record::Flushed { block_id }]);
        self.note(live, appended.as_ref().err());
        appended?;
        (live.options.on_step)(Step::Flushed);
        let (bytes, oldest) = {
            let mut traces = live.traces.lock();
            (traces.flushed(block_id), traces.oldest_segment())
        };
        live.release(bytes);
        let removed = self.log.remove_before(oldest.unwrap_or(self.log.next_number()));
        (live.options.on_step)(Step::Removed);
        if let Err(error) = removed {
            // They are tried again with the next ones.
            (live.log_line)(&format!("cannot remove segments of the write-ahead log: {error}"));
        }
        Ok(())
    }

    /// Tells of the first failure and of the end of failures.
    fn note(&mut self, live: &Live, error: Option<&io::Error>) {
        match error {
            Some(error) if !self.is_failing => {
                let line = format!("cannot write the write-ahead log, spans are refused: {error}");
                (live.log_line)(&line);
            }
            None if self.is_failing => (live.log_line)("the write-ahead log is written again"),
            _ => {}
        }
        self.is_failing = error.is_some();
        live.counts.log_written(error);
    }
}
