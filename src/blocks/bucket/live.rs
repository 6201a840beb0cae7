//! Traces that lie in no block of the bucket yet, seen as blocks: whoever takes traces in gives them to a
//! [`Source`](super::source::Source) and they are queried like all others.

use std::{fmt, future::Future, pin::Pin};

use super::{Block, meta::TimeRange, tenant::TenantId};
use crate::Result;

/// What [`LiveBlocks::blocks`] yields when it is done.
pub type LiveBlocksFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Vec<Block>>>> + Send + 'a>>;

/// Traces that have been received and lie in no block of the bucket yet.
pub trait LiveBlocks: fmt::Debug + Send + Sync {
    /// Blocks that hold them, in a store of their own; `None` for a tenant nothing was received of.
    /// Those beyond the range, if one is given, may be left out. A trace may lie in the bucket too,
    /// as a whole or in part; its spans are counted once all the same.
    ///
    /// What moves into the bucket is visible there before it leaves here. A reader that asks here
    /// first and lists the bucket then misses nothing.
    fn blocks<'a>(&'a self, tenant: &'a TenantId, range: Option<TimeRange>)
    -> LiveBlocksFuture<'a>;
}
