//! Why a server could not start or go on.

use std::io;

/// A server's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What keeps a server from serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// As it was given.
        address: String,
        /// The system's reason.
        error: io::Error,
    },
    /// The threads that run queries cannot be started.
    #[error("cannot start the threads that run queries: {0}")]
    Runtime(io::Error),
    /// The connections cannot be served any longer.
    #[error("cannot serve connections: {0}")]
    Serve(io::Error),
    /// No metrics can be made by these settings.
    #[error(transparent)]
    Generator(#[from] crate::generator::OptionsError),
    /// No traces of our own can be sent by these settings.
    #[error(transparent)]
    Tracing(#[from] crate::telemetry::own_spans::TracingError),
    /// The source cannot be read.
    #[error(transparent)]
    Storage(#[from] traceql_blocks::Error),
}
