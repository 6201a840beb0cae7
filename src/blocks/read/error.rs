//! What can go wrong inside one page. Knows bytes and offsets only: the caller, who knows the
//! object and where the page lies in it, turns this into [`crate::Error`].

/// A page, or an index of pages, cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The bytes are not what the format demands.
    #[error("{what}: expected {expected}, found {found} at byte {offset}")]
    Corrupt {
        /// The part being decoded: "page header", "definition levels" ….
        what: &'static str,
        /// What the format demands.
        expected: String,
        /// What is there.
        found: String,
        /// Where, counted from the start of the bytes given to the decoder; inside compressed
        /// values, from the start of the decompressed body.
        offset: usize,
    },
    /// Valid Parquet that this decoder leaves to the Parquet library.
    #[error("{0} is not supported by the page decoder")]
    Unsupported(String),
}

impl DecodeError {
    /// Shorthand for [`DecodeError::Corrupt`].
    #[cold]
    pub(crate) fn corrupt(
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
        offset: usize,
    ) -> Self {
        Self::Corrupt { what, expected: expected.to_string(), found: found.to_string(), offset }
    }

    /// The same error for bytes that begin `base` bytes into what the caller was given.
    #[must_use]
    pub(crate) fn shifted(mut self, base: usize) -> Self {
        if let Self::Corrupt { offset, .. } = &mut self {
            *offset = offset.saturating_add(base);
        }
        self
    }
}

/// The result of decoding.
pub(crate) type Result<T, E = DecodeError> = std::result::Result<T, E>;
