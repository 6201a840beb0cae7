//! What series may take in memory, and when it is worth looking at what they do take.

use crate::error::Error;

/// A bound on what one operator of one partition may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    bytes: usize,
    /// Of the whole query, as the user gave it.
    limit_bytes: usize,
    /// How far the state had grown when its size was looked at last.
    measured: usize,
}

/// States below this growth are too small to be looked at.
const UNMEASURED: usize = 512;

impl Budget {
    /// So many bytes of a query that has `limit_bytes`.
    pub(super) fn new(bytes: usize, limit_bytes: usize) -> Self {
        Self { bytes, limit_bytes, measured: 0 }
    }

    /// True whenever the state has grown by a tenth: measuring goes through every series.
    pub(super) fn is_due(&mut self, growth: usize) -> bool {
        let is_due = growth >= self.measured + self.measured / 10 + UNMEASURED;
        if is_due {
            self.measured = growth;
        }
        is_due
    }

    pub(super) fn allows(&self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    pub(super) fn error(&self, n_series: usize, n_intervals: usize) -> Error {
        Error::Memory {
            limit_bytes: self.limit_bytes,
            what: format!(
                "{n_series} series so far, of up to {n_intervals} intervals; group by fields with \
                 fewer values, or ask for a shorter range or a longer step"
            ),
        }
    }
}
