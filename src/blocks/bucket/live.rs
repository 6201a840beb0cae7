//! Traces that lie in no block of the bucket yet, seen as blocks: whoever takes traces in gives them to a
//! [`Source`](super::source::Source) and they are queried like all others.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;

use super::{Block, meta::TimeRange, tenant::TenantId};
use crate::Result;
use crate::model::TraceId;

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

    /// Grows whenever traces begin and end to move into the bucket, so it is odd while they do.
    /// Between two calls with the same even number nothing is both here and there.
    fn moves(&self) -> u64;
}

/// Traces of a live block that need not be looked at: another block of the same list has all their
/// spans. Whoever looks all the same comes to the same answer, in more time, since copies count once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HiddenTraces {
    /// Ids one after the other, ascending.
    ids: Bytes,
    is_apart: bool,
}

impl HiddenTraces {
    /// Traces given by ascending id.
    #[must_use]
    pub fn new(ids: impl Iterator<Item = TraceId>) -> Self {
        let ids = ids.flat_map(|id| id.0).collect::<Vec<u8>>().into();
        Self { ids, is_apart: false }
    }

    /// Of all blocks of the list that say this, one at most does not hide a trace that lies in several
    /// of them: nobody has to look for what they share.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }

    /// Whether [`HiddenTraces::apart`] was said.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// What [`HiddenTraces::as_bytes`] gave.
    #[must_use]
    pub fn from_bytes(ids: Bytes) -> Self {
        Self { ids, is_apart: false }
    }

    /// The ids one after the other.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.ids
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether a trace is one of them.
    #[must_use]
    pub fn contains(&self, id: TraceId) -> bool {
        let (ids, _) = self.ids.as_chunks::<16>();
        ids.binary_search(&id.0).is_ok()
    }
}

impl fmt::Debug for HiddenTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} traces", self.ids.len() / size_of::<TraceId>())
    }
}
