//! What can go wrong between a source URL and decoded values. Fields hold data (which object, what
//! was expected, what was found), so that the command line and the server can each say it well.

use std::ops::Range;

/// A failure of storage or of what lies in it.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// An object could not be written.
    #[error("cannot write {key}: {reason}")]
    NotWritten {
        /// The object's key.
        key: String,
        /// The words of the store, or of the library that encodes.
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
    /// What has to be held at once does not fit the memory that the reader was given.
    #[error(
        "{what} of {key} takes {needed_bytes} bytes, more than the {share_bytes} there are for it"
    )]
    Memory {
        /// The object's key.
        key: String,
        /// Which part of it.
        what: String,
        /// What it takes, as far as was counted.
        needed_bytes: u64,
        /// What one reader may hold: its share of `limit_bytes`.
        share_bytes: u64,
        /// The limit that was set.
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
        let reason = reason(&error);
        // A local disk says so in words, stores by a status.
        if reason.status.as_deref() == Some("416") || reason.text.starts_with("Wanted range ") {
            let expected = "the bytes that its metadata speaks of";
            return Self::corrupt(key, None, expected, "an object that ends before them");
        }
        match (error, reason.status.as_deref()) {
            (Store::NotFound { .. }, _) | (_, Some("404")) => Self::not_found(what, key),
            (Store::PermissionDenied { .. } | Store::Unauthenticated { .. }, _)
            | (_, Some("401" | "403")) => Self::Unauthorised { key, reason: reason.text },
            (Store::NotSupported { .. } | Store::NotImplemented { .. }, _) => {
                Self::Unsupported { key, reason: reason.text }
            }
            _ => Self::Unreachable { key, reason: reason.text },
        }
    }

    /// What was not written, and why, in the words of whoever failed: a store's message repeats the key
    /// and counts retries, which its innermost cause does not.
    #[must_use]
    pub fn not_written(
        key: impl Into<String>,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Self {
        Self::NotWritten { key: key.into(), reason: reason(error).text }
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

/// What a store said.
struct Reason {
    text: String,
    /// HTTP status, if it answered with an error.
    status: Option<String>,
}

/// The innermost cause, which is the part of a store's message that says something: what wraps it
/// repeats the key and counts retries.
///
/// object_store keeps the status of a failed listing to itself, so it is read from the text.
fn reason(error: &(dyn std::error::Error + 'static)) -> Reason {
    let mut cause = error;
    let mut asked_for_credentials = false;
    while let Some(inner) = cause.source() {
        cause = inner;
        // The address where cloud machines, and they alone, find their credentials.
        asked_for_credentials |= cause.to_string().contains("169.254.169.254");
    }
    let text = cause.to_string();
    let Some(answer) = text.strip_prefix("Server returned non-2xx status code: ") else {
        return match asked_for_credentials {
            true => Reason {
                text: "no credentials were given, and this machine has none of its own".to_owned(),
                status: Some("401".to_owned()),
            },
            false => Reason { text, status: None },
        };
    };
    let status = answer.split_whitespace().next().map(str::to_owned);
    let (line, body) = answer.split_once(": ").unwrap_or((answer, ""));
    // S3, Google and Azure explain themselves in the same two elements.
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim().replace('\n', " "))
    };
    let explained: Vec<_> = ["Code", "Message"].into_iter().filter_map(element).collect();
    let text = match (explained.is_empty(), body.trim()) {
        (false, _) => format!("{line} ({})", explained.join(": ")),
        (true, "") => line.to_owned(),
        (true, body) => format!("{line} ({})", first_line(body)),
    };
    Reason { text, status }
}

/// As much of a foreign text as belongs into a message.
fn first_line(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use object_store::Error as Store;

    use super::*;

    fn check(answer: &str, expect: &str) {
        let error = Store::Generic { store: "S3", source: answer.to_owned().into() };
        assert_eq!(Error::storage("tenant", "s3://b/k", error).to_string(), expect);
    }

    #[test]
    fn stores_are_quoted_where_they_say_something() {
        let prefix = "Server returned non-2xx status code:";
        check(
            &format!(
                "{prefix} 503 Service Unavailable: <?xml version=\"1.0\"?>\n<Error>\
                 <Code>SlowDown</Code><Message>Reduce your\nrate</Message></Error>"
            ),
            "cannot read s3://b/k: 503 Service Unavailable (SlowDown: Reduce your rate)",
        );
        check(
            &format!("{prefix} 403 Forbidden: <Error><Code>AccessDenied</Code></Error>"),
            "not allowed to read s3://b/k: 403 Forbidden (AccessDenied)",
        );
        check(&format!("{prefix} 404 Not Found: "), "tenant not found: s3://b/k");
        check(&format!("{prefix} 500 Oops: one\ntwo"), "cannot read s3://b/k: 500 Oops (one)");
        check("connection refused", "cannot read s3://b/k: connection refused");
    }

    #[test]
    fn what_is_not_written_says_why_once() {
        let full = std::io::Error::other("No space left on device (os error 28)");
        let error = Store::Generic { store: "LocalFileSystem", source: Box::new(full) };
        let said = "cannot write /b/k: No space left on device (os error 28)";
        assert_eq!(Error::not_written("/b/k", &error).to_string(), said);
        let error = std::io::Error::other(error);
        assert_eq!(Error::not_written("/b/k", &error).to_string(), said);
    }

    #[test]
    fn missing_credentials_are_named() {
        let asked =
            std::io::Error::other("error sending request for http://169.254.169.254/latest");
        let error = Store::Generic { store: "S3", source: Box::new(asked) };
        let error = Error::storage("object", "s3://b/k", error);
        assert!(matches!(&error, Error::Unauthorised { .. }), "{error}");
        assert!(error.to_string().contains("no credentials"), "{error}");
    }
}
