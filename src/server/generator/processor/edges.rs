//! Edges of which one side has been seen and the other is waited for: bounded in number and in time.
//! It knows neither spans nor metrics.

use std::collections::{HashMap, VecDeque};

use traceql_blocks::model::TraceId;

/// Places of the queue beyond twice the edges before it is tidied up.
const SPARE_PLACES: usize = 1024;

/// What both sides of an edge agree on: the trace, and the id of the span of the client's side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EdgeKey {
    pub(super) trace: TraceId,
    /// As sent; the 8 bytes of a valid id are kept in place.
    pub(super) span_id: SpanKey,
}

/// A span id; one that is longer than 8 bytes is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SpanKey {
    bytes: [u8; 8],
    len: u8,
}

impl SpanKey {
    /// The id, if it may be one.
    pub(super) fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: u8::try_from(id.len()).ok()? })
    }
}

/// Edges that wait, oldest first to expire.
#[derive(Debug)]
pub(super) struct Edges<E> {
    waiting: HashMap<EdgeKey, (u64, E)>,
    /// Every edge that waits, and some that do no longer, by when they expire.
    queue: VecDeque<(u64, EdgeKey)>,
    most: usize,
}

/// There is no room for a further edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl<E> Edges<E> {
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: HashMap::new(), queue: VecDeque::new(), most }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The edge that waits under the key.
    pub(super) fn get_mut(&mut self, key: &EdgeKey) -> Option<&mut E> {
        self.waiting.get_mut(key).map(|(_, edge)| edge)
    }

    /// Takes the edge out.
    pub(super) fn take(&mut self, key: &EdgeKey) -> Option<E> {
        self.waiting.remove(key).map(|(_, edge)| edge)
    }

    /// Lets an edge wait until a time. Times do not decrease from call to call, or the edge waits
    /// for those before it.
    pub(super) fn insert(&mut self, key: EdgeKey, edge: E, expires: u64) -> Result<(), NoRoom> {
        if self.waiting.len() >= self.most {
            return Err(NoRoom);
        }
        if self.queue.len() > 2 * self.waiting.len() + SPARE_PLACES {
            let waiting = &self.waiting;
            self.queue.retain(|(expires, key)| waiting.get(key).is_some_and(|(e, _)| e == expires));
        }
        self.queue.push_back((expires, key.clone()));
        self.waiting.insert(key, (expires, edge));
        Ok(())
    }

    /// Takes out one edge that has waited until now.
    pub(super) fn pop_expired(&mut self, now: u64) -> Option<E> {
        loop {
            let (expires, _) = self.queue.front()?;
            if *expires > now {
                return None;
            }
            let (expires, key) = self.queue.pop_front()?;
            if self.waiting.get(&key).is_some_and(|(e, _)| *e == expires) {
                return self.take(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> EdgeKey {
        EdgeKey { trace: TraceId([n; 16]), span_id: SpanKey::new(&[n; 8]).unwrap() }
    }

    #[test]
    fn what_was_taken_and_came_again_expires_at_its_new_time() {
        let mut edges = Edges::new(2);
        edges.insert(key(1), "first", 10).unwrap();
        assert_eq!(edges.take(&key(1)), Some("first"));
        edges.insert(key(1), "again", 20).unwrap();
        edges.insert(key(2), "other", 20).unwrap();
        assert_eq!(edges.insert(key(3), "third", 20), Err(NoRoom));
        assert_eq!(edges.pop_expired(19), None);
        assert_eq!(edges.pop_expired(20), Some("again"));
        assert_eq!(edges.pop_expired(20), Some("other"));
        assert_eq!((edges.pop_expired(u64::MAX), edges.len()), (None, 0));
    }

    #[test]
    fn the_queue_is_bounded_by_what_waits() {
        let mut edges = Edges::new(10);
        for n in 0..100_000_u64 {
            let key = EdgeKey {
                trace: TraceId::from_bytes(&n.to_be_bytes()),
                span_id: SpanKey::new(&[1; 8]).unwrap(),
            };
            edges.insert(key.clone(), (), 10).unwrap();
            edges.take(&key);
        }
        assert!(edges.queue.len() <= SPARE_PLACES + 1, "{}", edges.queue.len());
    }

    #[test]
    fn ids_of_other_lengths_differ() {
        assert_ne!(SpanKey::new(&[1]), SpanKey::new(&[1, 0]));
        assert_eq!(SpanKey::new(&[0; 9]), None);
    }
}
