//! What a request asks for: parameters read and checked, with Tempo's defaults, bounds and texts.
//! Knows no sockets and asks no engine; the time is handed in.

pub(crate) mod duration;
pub(crate) mod metrics;
pub(crate) mod parameters;
pub(crate) mod tags;
pub(crate) mod tenants;
pub(crate) mod time;
pub(crate) mod trace_id;

pub(crate) use parameters::Parameters;

/// A request that cannot be answered as it stands; its text is the body of a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadRequest(pub(crate) String);

impl BadRequest {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

pub(crate) type Result<T, E = BadRequest> = std::result::Result<T, E>;
