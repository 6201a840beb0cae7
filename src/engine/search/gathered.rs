//! The traces of a search kept until all are found, within a memory limit.

use traceql_language::TypedQuery;

use super::{SearchAnswer, TraceResult, newest_first};
use crate::error::{Error, Result};

/// What was found so far, in search order.
#[derive(Debug)]
pub struct Gathered {
    traces: Vec<TraceResult>,
    held_bytes: usize,
    limit_bytes: usize,
    /// The query says in which order they are to stand, and they come in it.
    is_ordered: bool,
}

impl Gathered {
    /// Nothing yet of what a query finds, and never more than so many bytes.
    #[must_use]
    pub fn of(query: &TypedQuery, limit_bytes: usize) -> Self {
        let is_ordered = !query.order_by.is_empty();
        Self { traces: Vec::new(), held_bytes: 0, limit_bytes, is_ordered }
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

    /// The answer they are: in the order of the query, or newest start first, ties by ascending trace
    /// id.
    #[must_use]
    pub fn into_answer(self) -> SearchAnswer {
        let mut traces = self.traces;
        if !self.is_ordered {
            newest_first(&mut traces);
        }
        SearchAnswer { traces, next: None }
    }
}
