//! What the server knows of itself: requests counted and perhaps logged, and the page that Prometheus
//! scrapes. No name of a tenant is on that page: whoever may scrape need not know them.

pub mod exposition;
mod histogram;
pub(crate) mod own_spans;
mod page;
mod process;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::ingest::Counts;
use crate::options::RequestLog;
use histogram::Histogram;
use own_spans::Tracer;
pub(crate) use page::State;
pub(crate) use request::{End, Protocol, Request};

/// Counters of a server.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) request_log: RequestLog,
    tracer: Tracer,
    /// Of what was received, if anything is.
    received: Option<Arc<Counts>>,
    /// Unix nanoseconds.
    started: u64,
    /// By protocol, route and end. Routes are those of a table, so there are few.
    requests: Mutex<BTreeMap<(Protocol, &'static str, End), Requests>>,
    in_flight: AtomicU64,
    queue: Mutex<Histogram>,
    refreshes: Mutex<Refreshes>,
}

#[derive(Debug, Default)]
struct Requests {
    durations: Histogram,
    bytes: u64,
}

/// What came of reading block lists anew.
#[derive(Clone, Copy, Debug, Default)]
struct Refreshes {
    done: u64,
    errors: u64,
    /// Unix nanoseconds; 0 before the first.
    last: u64,
}

impl Telemetry {
    /// Nothing counted yet; `now` is unix nanoseconds.
    pub(crate) fn new(request_log: RequestLog, now_unix_nanos: u64) -> Self {
        Self {
            request_log,
            tracer: Tracer::default(),
            received: None,
            started: now_unix_nanos,
            requests: Mutex::default(),
            in_flight: AtomicU64::new(0),
            queue: Mutex::default(),
            refreshes: Mutex::default(),
        }
    }

    /// The same, with its queries traced.
    pub(crate) fn traced_by(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// The same, with what is received.
    pub(crate) fn receiving(self, received: Option<Arc<Counts>>) -> Self {
        Self { received, ..self }
    }

    /// A request begins.
    pub(crate) fn request(
        self: &Arc<Self>,
        log: fn(&str),
        protocol: Protocol,
        route: &'static str,
        method: &str,
        path: &str,
    ) -> Request {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Request::new(self, log, protocol, route, method, path)
    }

    /// A query waited so long for its turn.
    pub(crate) fn waited(&self, duration: Duration) {
        self.queue.lock().observe(duration);
    }

    /// Block lists were read anew, and so many could not be.
    pub(crate) fn refreshed(&self, n_errors: usize, now_unix_nanos: u64) {
        let mut refreshes = self.refreshes.lock();
        refreshes.done += 1;
        refreshes.errors += n_errors as u64;
        refreshes.last = now_unix_nanos;
    }

    fn over(
        &self,
        protocol: Protocol,
        route: &'static str,
        end: End,
        took: Duration,
        n_bytes: u64,
    ) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut requests = self.requests.lock();
        let requests = requests.entry((protocol, route, end)).or_default();
        requests.durations.observe(took);
        requests.bytes += n_bytes;
    }
}
