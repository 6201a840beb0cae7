//! What a process is for: one does everything, or several share the work over one bucket.

use std::fmt;

/// The parts of the work that a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Takes traces in, and holds them until they are blocks.
    pub ingest: bool,
    /// Answers queries, from blocks and from what this process has taken in.
    pub query: bool,
    /// Compacts the bucket, and gives up what is too old.
    pub compact: bool,
}

impl Roles {
    /// Their names.
    pub const NAMES: [&'static str; 3] = ["ingest", "query", "compact"];

    /// With their names.
    pub fn named(self) -> impl Iterator<Item = (&'static str, bool)> {
        Self::NAMES.into_iter().zip([self.ingest, self.query, self.compact])
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.named().filter(|(_, is_one)| *is_one).map(|(n, _)| n).collect();
        f.write_str(&names.join(","))
    }
}
