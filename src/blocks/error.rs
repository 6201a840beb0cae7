//! What can go wrong between a source URL and decoded values. Fields hold data (which object, what
//! was expected, what was found), so that the command line and the server can each say it well.

use std::ops::Range;

/// A failure of storage or of what lies in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source, tenant or object does not exist.
    #[error("{what} not found: {key}")]
    NotFound {
        /// What was looked for: "block", "tenant", "meta.json" ….
        what: &'static str,
        /// Its full key or URL.
        key: String,
        /// What there is instead, if that is known and helps: the tenants of the bucket, say.
        candidates: Vec<String>,
    },
    /// The store refused us or cannot be reached.
    #[error("cannot read {key}: {reason}")]
    Unreachable {
        /// The object's key, or the URL of the store.
        key: String,
        /// The store's own words.
        reason: String,
    },
    /// The store refused our credentials.
    #[error("not allowed to read {key}: {reason}")]
    Unauthorised {
        /// The object's key, or the URL of the store.
        key: String,
        /// The store's own words.
        reason: String,
    },
    /// An object is not what its name says.
    #[error("{key} is corrupt{}: expected {expected}, found {found}", at(.bytes.as_ref()))]
    Corrupt {
        /// The object's key.
        key: String,
        /// Where in it, if known.
        bytes: Option<Range<u64>>,
        /// What the format demands.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A block of a format, encoding or codec this build does not read.
    #[error("{key} is not supported: {reason}")]
    Unsupported {
        /// The object's key.
        key: String,
        /// Which format and which are supported.
        reason: String,
    },
    /// A source URL, tenant id or setting makes no sense.
    #[error("{what} {value:?}: {reason}")]
    Usage {
        /// What was given: "source", "tenant" ….
        what: &'static str,
        /// As given.
        value: String,
        /// What is expected instead.
        reason: String,
    },
    /// A bound of ours was reached.
    #[error("{what} needs more than the limit of {limit_bytes} bytes")]
    OverLimit {
        /// What was being done.
        what: String,
        /// The limit.
        limit_bytes: u64,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn at(bytes: Option<&Range<u64>>) -> String {
    bytes.map(|b| format!(" at bytes {}..{}", b.start, b.end)).unwrap_or_default()
}

impl Error {
    /// Shorthand for [`Error::NotFound`] when nothing else is on offer.
    #[must_use]
    pub fn not_found(what: &'static str, key: impl Into<String>) -> Self {
        Self::NotFound { what, key: key.into(), candidates: Vec::new() }
    }

    /// What a store's error means: `what` was wanted, `key` is its URL.
    #[must_use]
    pub fn storage(what: &'static str, key: impl Into<String>, error: object_store::Error) -> Self {
        use object_store::Error as Store;
        let key = key.into();
        match error {
            Store::NotFound { .. } => Self::not_found(what, key),
            Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
                Self::Unauthorised { key, reason: reason(&error) }
            }
            Store::NotSupported { .. } | Store::NotImplemented { .. } => {
                Self::Unsupported { key, reason: reason(&error) }
            }
            _ => Self::Unreachable { key, reason: reason(&error) },
        }
    }

    /// Shorthand for [`Error::Corrupt`].
    #[must_use]
    pub fn corrupt(
        key: impl Into<String>,
        bytes: Option<Range<u64>>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corrupt { key: key.into(), bytes, expected: expected.into(), found: found.into() }
    }
}

/// The innermost cause, which is the part of a store's message that says something: what wraps it
/// repeats the key and counts retries.
fn reason(error: &object_store::Error) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
