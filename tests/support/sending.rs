//! Senders of spans that remember what was acknowledged, and the check that all of it is there once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ingesting::{Folders, Ingesting, name, request};

/// Whose spans are sent.
pub(crate) const TENANT: &str = "single-tenant";

/// Traces are cut and flushed many times a second, so that faults come into all of it.
pub(crate) const SHORT: [&str; 6] =
    ["--trace-idle", "20ms", "--trace-age", "100ms", "--block-age", "30ms"];

/// What senders know.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<String>>,
    refused: AtomicU64,
}

impl Sent {
    /// Sends a request of new spans, some of traces that others send too; `false` if the server is
    /// gone.
    pub(crate) fn send(&self, to: &Ingesting) -> bool {
        self.status(to).is_some()
    }

    /// The same; the status of the answer.
    pub(crate) fn status(&self, to: &Ingesting) -> Option<u16> {
        let first = self.next.fetch_add(3, Ordering::Relaxed);
        let spans: Vec<(u64, u64)> = (first..first + 3).map(|span| (span / 7, span)).collect();
        let (status, body) = to.send(None, &request(&spans))?;
        match status {
            200 => {
                let rejected = &body["partialSuccess"]["rejectedSpans"];
                assert!(rejected.is_null(), "dropped rather than refused: {body}");
                let names = spans.iter().map(|(_, span)| name(*span));
                self.acknowledged.lock().expect("no sender panics").extend(names);
            }
            503 | 429 => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            status => panic!("{status} {body}"),
        }
        Some(status)
    }

    /// How many spans were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().expect("no sender panics").len()
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The names of the spans that were acknowledged.
    pub(crate) fn acknowledged(&self) -> BTreeSet<String> {
        self.acknowledged.lock().expect("no sender panics").clone()
    }

    /// Forgets what was acknowledged.
    pub(crate) fn forget(&self) {
        self.acknowledged.lock().expect("no sender panics").clear();
    }

    /// Acknowledged spans that are not among those found.
    pub(crate) fn lost<T>(&self, found: &std::collections::BTreeMap<String, T>) -> Vec<String> {
        self.acknowledged().into_iter().filter(|name| !found.contains_key(name)).collect()
    }

    /// Everything is there once, live and then in blocks: asked of a server that is started for it.
    pub(crate) fn check(&self, folders: &Folders, when: &str) {
        self.check_server(folders, folders.start(&[]), when);
    }

    /// The same of a server that runs, which is told to stop.
    pub(crate) fn check_server(&self, folders: &Folders, mut ingesting: Ingesting, when: &str) {
        let found = ingesting.found(TENANT);
        let lost = self.lost(&found);
        assert!(lost.is_empty(), "{when}: lost {lost:?}");
        let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "{when}: doubled {doubled:?}");
        assert!(ingesting.server.terminate().success(), "{when}");
        let stored = folders.stored(TENANT);
        assert!(folders.segments().is_empty(), "{when}");
        assert_eq!(stored, found, "{when}");
    }
}
