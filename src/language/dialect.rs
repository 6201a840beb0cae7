//! The two languages this crate speaks.

/// Which texts are accepted and how canonical text is printed. Answers never depend on it: what
/// both dialects accept means the same in both (`grammar/compatibility.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// What Tempo 3.x accepts, plus our extensions.
    #[default]
    Default,
    /// Exactly what Tempo 3.x accepts, printed exactly as Tempo prints it.
    Tempo,
}

impl Dialect {
    /// Whether our extensions are accepted.
    #[must_use]
    pub fn has_extensions(self) -> bool {
        self == Self::Default
    }
}
