//! The traces of a search kept until all are found, within a memory limit.

use super::{SearchAnswer, TraceResult, newest_first};
use crate::error::{Error, Result};

/// What was found so far, in search order.
#[derive(Debug)]
pub struct Gathered {
    traces: Vec<TraceResult>,
    held_bytes: usize,
    limit_bytes: usize,
}

impl Gathered {
    /// Nothing yet, and never more than so many bytes.
    #[must_use]
    pub fn within(limit_bytes: usize) -> Self {
        Self { traces: Vec::new(), held_bytes: 0, limit_bytes }
    }

    /// Keeps one more.
    ///
    /// # Errors
    /// [`Error::Memory`] if it does not fit beside the others.
    pub fn push(&mut self, trace: TraceResult) -> Result<()> {
        self.held_bytes += trace.memory_bytes();
        if self.held_bytes > self.limit_bytes {
            return Err(Error::Memory {
                limit_bytes: self.limit_bytes,
                what: format!("{} results; ask for fewer with a limit", self.traces.len()),
            });
        }
        self.traces.push(trace);
        Ok(())
    }

    /// The answer they are: newest start first, ties by ascending trace id.
    #[must_use]
    pub fn into_answer(self) -> SearchAnswer {
        let mut traces = self.traces;
        newest_first(&mut traces);
        SearchAnswer { traces }
    }
}
