//! How a server ends: first it is leaving, and says so to whoever asks whether it is ready; then it is
//! stopped, takes no more connections, and lets requests end.

use std::time::Duration;

use tokio::sync::watch;

use crate::task::AbortOnDrop;

/// How far a server is in ending.
#[derive(Debug)]
pub(super) struct Phases {
    leaving: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
}

impl Phases {
    /// It is not.
    pub(super) fn new() -> Self {
        Self { leaving: watch::Sender::new(false), stopped: watch::Sender::new(false) }
    }

    /// Whether it was told to stop.
    pub(super) fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }

    /// Whether connections are about to end.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    /// Begins to end when `stop` is done, and goes on after `delay`.
    pub(super) fn follow(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        delay: Duration,
    ) -> AbortOnDrop<()> {
        AbortOnDrop(tokio::spawn(async move {
            stop.await;
            self.leaving.send_replace(true);
            tokio::time::sleep(delay).await;
            self.stopped.send_replace(true);
            // Who looks on finds it stopped for as long as the server lives.
            std::future::pending::<()>().await;
        }))
    }
}

/// Completes when the server is to stop.
pub(super) async fn is_stopped(mut stopped: watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}
