//! How many queries run at once, and how many wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns for queries.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
}

/// Too many queries wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One of those who wait; dropping it leaves the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(crate) fn new(max_running: usize, max_waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(max_running.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: Arc::default(),
            max_waiting,
        }
    }

    /// Waits for a turn, which lasts until the permit is dropped. Giving up waiting gives up the
    /// place.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(Full);
        }
        let permit = Arc::clone(&self.running).acquire_owned().await;
        drop(waiting);
        Ok(permit.expect("the semaphore is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_places_come_back() {
        let queue = Queue::new(1, 1);
        let first = queue.turn().await.unwrap();
        let second = tokio::spawn({
            let queue = queue.clone();
            async move { queue.turn().await }
        });
        while queue.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.turn().await.err(), Some(Full));
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
        let waits = tokio::spawn({
            let queue = queue.clone();
            async move { queue.turn().await }
        });
        while queue.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        waits.abort();
        assert!(waits.await.unwrap_err().is_cancelled());
        assert_eq!(queue.waiting.load(Ordering::Relaxed), 0);
        drop(second);
    }
}
