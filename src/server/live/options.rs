//! What ingest is configured with: plain data. Defaults are Tempo's (`api.md` 5.3, 7.2).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use traceql_blocks::bucket::destination::Destination;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::TraceId;
use traceql_blocks::write::block::BlockSettings;
use uuid::Uuid;

/// How traces are taken in.
#[derive(Clone)]
pub struct IngestOptions {
    /// Address and port for OTLP over gRPC.
    pub otlp_grpc: Option<String>,
    /// Address and port for OTLP over HTTP.
    pub otlp_http: Option<String>,
    /// Address and port for Zipkin.
    pub zipkin: Option<String>,
    /// Address and port for Jaeger over HTTP.
    pub jaeger_http: Option<String>,
    /// Address and port for Jaeger over gRPC.
    pub jaeger_grpc: Option<String>,
    /// Folder of the write-ahead log.
    pub wal: PathBuf,
    /// A segment of the log is ended by the batch that makes it this large.
    pub segment_bytes: u64,
    /// Where blocks go: the bucket that is queried.
    pub destination: Destination,
    /// How blocks are written.
    pub block: BlockSettings,
    /// Makes the id of a block, one that no other has.
    pub new_block_id: fn() -> Uuid,
    /// Bounds on what is taken.
    pub limits: IngestLimits,
    /// When traces are cut and flushed.
    pub cut: CutSettings,
    /// How long a server that was told to stop may go on flushing.
    pub final_flush: Duration,
    /// Is told of every block that was flushed.
    pub on_flush: Option<OnFlush>,
    /// Is told of every step that a crash may come before or after: tests end the process there.
    pub on_step: Arc<dyn Fn(Step) + Send + Sync>,
}

impl fmt::Debug for IngestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestOptions")
            .field("otlp_grpc", &self.otlp_grpc)
            .field("otlp_http", &self.otlp_http)
            .field("zipkin", &self.zipkin)
            .field("jaeger_http", &self.jaeger_http)
            .field("jaeger_grpc", &self.jaeger_grpc)
            .field("wal", &self.wal)
            .field("destination", &self.destination)
            .field("limits", &self.limits)
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

/// What is told of flushed blocks.
pub type OnFlush = Arc<dyn Fn(&FlushedBlock) + Send + Sync>;

/// A block that was flushed.
#[derive(Clone, Debug)]
pub struct FlushedBlock {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: Uuid,
    /// Traces that it has spans of.
    pub traces: Vec<TraceId>,
    /// Bytes of those spans, as they were held.
    pub bytes: u64,
    /// How long it took to write, list and note.
    pub took: Duration,
}

/// A step on the way of spans into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Spans are about to be written to the log.
    Received,
    /// Spans are durable; nobody was told.
    Durable,
    /// The log says that traces become a block; nothing of it is written.
    Announced,
    /// All objects of the block but `meta.json` are written.
    Prepared,
    /// The block exists; the log does not say so.
    Committed,
    /// The log says that the block exists; no segment is removed.
    Flushed,
    /// Segments are removed.
    Removed,
}

impl Step {
    /// All steps, by the names that tests give them.
    pub const ALL: [(&'static str, Self); 7] = [
        ("received", Self::Received),
        ("durable", Self::Durable),
        ("announced", Self::Announced),
        ("prepared", Self::Prepared),
        ("committed", Self::Committed),
        ("flushed", Self::Flushed),
        ("removed", Self::Removed),
    ];
}

/// Bounds on what is taken. Of sizes 0 means none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Bytes a second of one tenant's requests, decompressed.
    pub rate_bytes: u64,
    /// Bytes that may come at once.
    pub burst_bytes: u64,
    /// Traces of one tenant that are live at a time; spans of further ones are dropped.
    pub live_traces: usize,
    /// Bytes of one live trace; spans beyond are dropped.
    pub trace_bytes: u64,
    /// Keys and texts of attributes that are longer are cut.
    pub attribute_bytes: usize,
    /// Bytes of spans that are live or being flushed, of all tenants: when they are used up, senders
    /// are told to wait.
    pub live_bytes: u64,
    /// Bytes of requests that are read and decoded at a time; further ones wait on their
    /// connections.
    pub request_bytes_at_once: usize,
    /// When to come again, for who is told to wait.
    pub retry_after: Duration,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            rate_bytes: 30_000_000,
            burst_bytes: 30_000_000,
            live_traces: 10_000,
            trace_bytes: 5_000_000,
            attribute_bytes: 2048,
            live_bytes: 250_000_000,
            request_bytes_at_once: 64 << 20,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// When traces are cut and flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutSettings {
    /// A trace that got no span for this long is cut.
    pub idle: Duration,
    /// A trace this old is cut, though it still grows.
    pub age: Duration,
    /// Cut traces of a tenant become a block when the first of them has waited this long …
    pub block_age: Duration,
    /// … or when together they have this many bytes.
    pub block_bytes: u64,
    /// How often all this is looked at.
    pub check: Duration,
}

impl Default for CutSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5),
            age: Duration::from_secs(30),
            block_age: Duration::from_secs(30),
            block_bytes: 50_000_000,
            check: Duration::from_secs(1),
        }
    }
}
