//! How much of bodies may be in memory at a time. A body takes room as it arrives, not as it announces
//! itself: who sends nothing holds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use futures::StreamExt as _;
use tonic::Status;

use super::{Limits, Refused};

/// What frames a message of gRPC, which the bound on one does not count.
const FRAME_BYTES: usize = 5;

/// Room that is left, for all receivers of a process that are to share it. Clones do.
#[derive(Clone, Debug)]
pub struct Room {
    left: Arc<AtomicUsize>,
    limits: Limits,
}

/// What one body has taken; given back when the body is gone.
struct Held {
    room: Room,
    n_bytes: usize,
}

impl Room {
    /// All of it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { left: Arc::new(AtomicUsize::new(limits.bytes_at_once)), limits }
    }

    /// The same body, which ends with an error, a [`Status`], when there is no room for more of it.
    pub(super) fn bound(&self, body: Body) -> Body {
        let mut held = Held { room: self.clone(), n_bytes: 0 };
        Body::from_stream(body.into_data_stream().map(move |piece| {
            let piece = piece?;
            match held.take(piece.len()) {
                true => Ok(piece),
                false => Err(axum::Error::new(Status::from(held.room.refusal()))),
            }
        }))
    }

    /// Bounds on one request.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Bytes that there is room for.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn refusal(&self) -> Refused {
        let most = self.limits.bytes_at_once;
        let why = format!("more than {most} bytes are being received already");
        Refused::Full(why, self.limits.retry_after)
    }

    /// The refusal that an error of reading a body stands for, if it does.
    pub(super) fn refused(&self, error: &(dyn std::error::Error + 'static)) -> Option<Refused> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.any(|cause| cause.is::<Status>()).then(|| self.refusal())
    }
}

impl Held {
    fn take(&mut self, n_bytes: usize) -> bool {
        // A body that is too large is told so, which is another's business: room will not help it.
        if self.n_bytes + n_bytes > self.room.limits.request_bytes + FRAME_BYTES {
            return true;
        }
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let less = |left: usize| left.checked_sub(n_bytes);
        let fits = self.room.left.fetch_update(success, failure, less).is_ok();
        self.n_bytes += if fits { n_bytes } else { 0 };
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.n_bytes, Ordering::Relaxed);
    }
}
