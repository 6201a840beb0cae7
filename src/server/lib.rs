//! Tempo's API over the engine, HTTP and streams over gRPC: routes, parameters, tenants, shapes of
//! answers, limits; and the receivers of OTLP (`ingest`), which know no engine. It prints nothing,
//! reads no environment and no clock of its own, and knows nothing of the command line.

pub mod api;
mod dispatch;
pub mod error;
mod form;
mod framing;
mod handler;
pub mod ingest;
pub mod options;
mod queue;
mod reply;
mod request;
mod route;
mod serve;
mod status;
mod stream;
mod task;
pub mod telemetry;

pub use error::{Error, Result};
pub use options::{ANSWER_CACHE_BYTES, Limits, MetricsLimits, RequestLog, ServeOptions, Tenancy};
pub use serve::{serve, stop_signal};
