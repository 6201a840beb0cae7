//! Keeps the blocks of a bucket: puts small ones together, gives up those that have had their time,
//! deletes what was replaced (`blocks.md` 6). Knows no query language and prints nothing.
//!
//! # From the outside in
//!
//! [`Compactor`] does one cycle over a tenant, or cycle after cycle until told to stop. What a cycle
//! does is decided by pure functions of metas and a time: [`plan`] which blocks become one,
//! [`retention`] which go. `job` carries a compaction out, `place` lists, marks and deletes, `lease`
//! says whose turn it is where several compactors work on one bucket.
//!
//! # Why nothing is lost
//!
//! *A block is marked only after its spans are in a block that exists*, or because it has had its
//! time; and it is deleted only after its time of grace. Of a cycle that ends anywhere, by a crash or
//! by a store that fails, this is left:
//!
//! | it ends | what queries read | what sets it right |
//! |---|---|---|
//! | before the new block's `meta.json` | the inputs | the next cycle; what was written is removed by the note in the lease, a day later |
//! | between it and the last mark | the new block and some inputs: their spans are in both, and answer once | the next cycle marks them by the note; without a lease, plans of the next days put them together |
//! | between the two steps of a mark | the block, as it has a `meta.json` | the same |
//! | before the tenant index is written | blocks that are marked and still there | an index is written before anything is deleted |
//! | while a block is deleted | nothing of it: the mark goes last | the next cycle |
//!
//! Two compactors that compact the same blocks at once, because a lease ran out under one of them,
//! leave two blocks with the same spans; those answer once, too. Beside a Tempo that compacts the same
//! tenant it is the same, and the more often: there should be one compactor a tenant.
//!
//! Nothing is deleted, and no block given up, while there is reason to doubt the clock (`clock`).
//!
//! An input that cannot be read fails its job as a whole, and nothing of it is marked. A trace is
//! never cut, however large it grows; Tempo drops the parts of one above `max_bytes_per_trace`.

mod clock;
mod cycle;
mod job;
mod lease;
mod place;
pub mod plan;
pub mod retention;
pub mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

pub use clock::Doubt;
pub use cycle::{
    Compactor, Deletion, Exclusion, Expiry, JobOutcome, JobReport, TenantPlan, TenantReport,
    TenantSettings,
};
pub use lease::LEASE;

/// What a compactor asks of the process around it.
#[derive(Clone)]
pub struct Surroundings {
    /// The time, unix nanoseconds.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// A new id, random.
    pub new_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
    /// Becomes true when there shall be no more work. A compaction under way is given up, and nothing
    /// is left of it.
    pub stop: watch::Receiver<bool>,
}

impl Surroundings {
    /// Whether to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// Who was quicker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overtaken {
    /// Another compactor has the tenant's lease.
    Lease,
    /// This input is not live any more.
    Input(Uuid),
}

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => write!(f, "another compactor has taken over the tenant"),
            Self::Input(id) => write!(f, "block {id} is not live any more"),
        }
    }
}
