//! One error over the engine's stages. Four meanings stay apart: the query is wrong, it is not
//! supported, storage failed, we have a bug.

use std::time::Duration;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A construct that is valid TraceQL but not supported here, by name.
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// The query cannot be evaluated on this data: structural operators over several spansets ….
    #[error("{0}")]
    Query(String),
    /// A statement of SQL is wrong, or asks for what is not done.
    #[error(transparent)]
    Sql(Box<crate::tables::SqlError>),
    /// The range and step asked for give no time axis.
    #[error(transparent)]
    Axis(#[from] crate::metrics::AxisError),
    /// Storage failed or is corrupt.
    #[error(transparent)]
    Storage(traceql_blocks::Error),
    /// The time given is over.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The memory given is used up.
    #[error("the query needs more than its memory limit of {limit_bytes} bytes: {what}")]
    Memory {
        /// The limit.
        limit_bytes: usize,
        /// Which part grew.
        what: String,
    },
    /// We have a bug.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl From<traceql_blocks::Error> for Error {
    fn from(error: traceql_blocks::Error) -> Self {
        let what = error.to_string();
        match error {
            // Memory is one thing to whoever asks, wherever it was counted.
            traceql_blocks::Error::Memory { limit_bytes, .. } => Self::Memory {
                limit_bytes: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
                what,
            },
            error => Self::Storage(error),
        }
    }
}

/// Our own error out of DataFusion's, if it carries one.
pub(crate) fn from_datafusion(error: datafusion::error::DataFusionError) -> Error {
    use datafusion::error::DataFusionError;
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => Error::Internal(other.to_string()),
        },
        DataFusionError::Context(_, inner) => from_datafusion(*inner),
        other => Error::Internal(other.to_string()),
    }
}
