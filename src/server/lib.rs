//! Tempo's API over the engine, HTTP and streams over gRPC: routes, parameters, tenants, shapes of
//! answers, limits; the receivers of OTLP (`ingest`) and the metrics made of what they receive
//! (`generator`), which know no engine; and what becomes of it until it is a block (`live`). It prints
//! nothing, reads no environment and no clock of its own, and knows nothing of the command line.

pub mod api;
mod compaction;
mod connections;
mod dispatch;
pub mod error;
mod form;
mod framing;
pub mod generator;
mod handler;
mod health;
pub mod ingest;
mod live;
pub mod options;
mod overrides;
mod queue;
mod reply;
mod request;
mod roles;
mod route;
mod serve;
mod status;
mod stream;
mod target;
mod task;
pub mod telemetry;

pub use compaction::CompactOptions;
pub use connections::Patience;
pub use error::{Error, Result};
pub use live::{CutSettings, FlushedBlock, IngestLimits, IngestOptions, OnFlush, Step};
pub use options::{
    ANSWER_CACHE_BYTES, FILE_THREADS, Limits, MetricsLimits, RequestLog, ServeOptions, Tenancy,
};
pub use overrides::{OverridesOptions, OverridesTable, OwnSetting, TenantOverrides};
pub use roles::Roles;
pub use serve::{Listening, serve, stop_signal};
pub use status::{ShownSetting, settings_as_yaml};
pub use telemetry::own_spans::{TracingError, TracingOptions};
