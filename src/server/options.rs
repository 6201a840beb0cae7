//! What a server is started with: plain data, gathered and checked by whoever starts it.

use std::time::Duration;

use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::{EngineConfig, QueryOptions};
use traceql_language::Dialect;

use crate::compaction::CompactOptions;
use crate::connections::Patience;
use crate::generator::GeneratorOptions;
use crate::live::IngestOptions;
use crate::overrides::OverridesOptions;
use crate::roles::Roles;
use crate::status::ShownSetting;
use crate::telemetry::own_spans::TracingOptions;

/// Threads of a runtime that wait for files: reading the metadata of many blocks at once would start as
/// many, and each leaves memory behind that is cut up a little differently.
pub const FILE_THREADS: usize = 8;

/// Bytes kept of answers of metrics queries unless told otherwise.
pub const ANSWER_CACHE_BYTES: usize = 32 << 20;

/// Everything a server needs to know.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The data.
    pub source: Source,
    /// Address and port to listen on, `127.0.0.1:3200`; port 0 takes any free one.
    pub listen: String,
    /// Address and port for gRPC alone, if it is to have one of its own; `listen` takes it as well.
    pub grpc_listen: Option<String>,
    /// Whether queries are answered.
    pub answers_queries: bool,
    /// How traces are taken in, if they are.
    pub ingest: Option<IngestOptions>,
    /// How the bucket is compacted, if it is.
    pub compact: Option<CompactOptions>,
    /// Which metrics are made of them, if any are. Whose they are is as `tenancy` says.
    pub generator: Option<GeneratorOptions>,
    /// Whose data requests see.
    pub tenancy: Tenancy,
    /// What holds for single tenants instead of what is said here, if anything does.
    pub overrides: Option<OverridesOptions>,
    /// What `/status/config` shows: the settings in force as they are written in a file.
    pub settings: Vec<ShownSetting>,
    /// Which texts are accepted.
    pub dialect: Dialect,
    /// Bounds on requests.
    pub limits: Limits,
    /// What every query is asked with: threads, memory, time-out. Limit, range, clock and spans per
    /// spanset come from the request.
    pub query: QueryOptions,
    /// Settings of the engine; its I/O runtime is set by the server.
    pub engine: EngineConfig,
    /// Bytes kept of answers of metrics queries; 0 keeps none.
    pub answer_cache_bytes: usize,
    /// How often block lists are read anew.
    pub poll: Duration,
    /// How long is waited for clients.
    pub patience: Patience,
    /// How long the server goes on as ever after it was told to stop, but for saying that it is not
    /// ready: who sends requests here has to find another server first.
    pub shutdown_delay: Duration,
    /// How long requests may go on after that.
    pub drain: Duration,
    /// Where traces of what the server does itself are sent, if they are.
    pub tracing: Option<TracingOptions>,
    /// The time, unix nanoseconds.
    pub clock: fn() -> u64,
    /// Which requests are told of in a line when they are over.
    pub request_log: RequestLog,
    /// Takes a line for whoever runs the server: a failed request, a skipped block.
    pub log: fn(&str),
}

impl ServeOptions {
    /// What the process is for.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles {
            ingest: self.ingest.is_some(),
            query: self.answers_queries,
            compact: self.compact.is_some(),
        }
    }
}

/// Whose data requests see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// One tenant's, whatever the request says.
    One(TenantId),
    /// The tenants' that the request names in its header; it must name one.
    Header,
}

/// Which requests are told of in a line when they are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestLog {
    /// None.
    Off,
    /// Those that took at least so long.
    Slow(Duration),
    /// Every one.
    All,
}

/// Bounds on requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Traces a search returns that names no limit.
    pub default_traces: usize,
    /// Most traces a search may ask for.
    pub max_traces: Option<usize>,
    /// Spans per spanset of a search that names no number.
    pub default_spans_per_spanset: usize,
    /// Most spans per spanset a search may ask for.
    pub max_spans_per_spanset: Option<usize>,
    /// How far back a request looks that names no range.
    pub default_range: Duration,
    /// Longest range of a search.
    pub max_search_range: Option<Duration>,
    /// The newest part of the data that searches and tags do not look at.
    pub end_cutoff: Duration,
    /// Bounds on metrics queries.
    pub metrics: MetricsLimits,
    /// Queries that run at once; more wait.
    pub concurrent_queries: usize,
    /// Queries of one tenant that run at once.
    pub concurrent_queries_per_tenant: usize,
    /// Queries of one tenant that wait; more are refused.
    pub queued_queries: usize,
}

/// Bounds on metrics queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsLimits {
    /// How far back a query looks that names no range.
    pub default_range: Duration,
    /// Longest range a query may ask for.
    pub max_range: Option<Duration>,
    /// The newest part of the data, which is still arriving and is not looked at.
    pub end_cutoff: Duration,
    /// Most steps a range may be cut into; 0 for no bound.
    pub max_intervals: u64,
    /// Most series of an answer; 0 for no bound. An answer that had more says that it is partial.
    pub max_series: usize,
    /// Exemplars of a query that names no number, and most that one can have.
    pub max_exemplars: u32,
}

impl Default for MetricsLimits {
    /// Tempo's defaults, maxima included: dashboards send ranges and steps that nobody has looked
    /// at, and a refusal tells more than a picture of ten thousand points.
    fn default() -> Self {
        Self {
            default_range: Duration::from_secs(60 * 60),
            max_range: Some(Duration::from_secs(24 * 60 * 60)),
            end_cutoff: Duration::from_secs(30),
            max_intervals: 10_000,
            max_series: 0,
            max_exemplars: 100,
        }
    }
}

impl Default for Limits {
    /// Tempo's defaults, for searches without its maxima, which protect a cluster: here a query is
    /// bounded by its memory and its time.
    fn default() -> Self {
        Self {
            default_traces: 20,
            max_traces: None,
            default_spans_per_spanset: 3,
            max_spans_per_spanset: None,
            default_range: Duration::from_secs(15 * 60),
            max_search_range: None,
            end_cutoff: Duration::ZERO,
            metrics: MetricsLimits::default(),
            concurrent_queries: 4,
            concurrent_queries_per_tenant: 4,
            queued_queries: 2000,
        }
    }
}
