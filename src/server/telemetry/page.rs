//! The page that Prometheus scrapes.

use std::sync::atomic::Ordering;

use traceql_blocks::bucket::source::KeptCounts;
use traceql_blocks::read::open::{CacheCount, CacheCounts};

use super::exposition::{Kind, Page};
use super::{Refreshes, Telemetry, process};
use crate::queue::Waiting;

/// What others count and the page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) queue: Waiting,
    /// Requests made to the store and bytes read from it.
    pub(crate) store: (u64, u64),
    pub(crate) caches: CacheCounts,
    pub(crate) answers: CacheCount,
    pub(crate) blocklists: KeptCounts,
}

impl Telemetry {
    /// All counters as they stand.
    pub(crate) fn page(&self, state: &State) -> String {
        let mut page = Page::default();
        page.family("traceql_build_info", Kind::Gauge, "The version that runs.");
        page.sample("traceql_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.write_requests(&mut page);
        self.write_queue(&mut page, &state.queue);
        write_store(&mut page, state);
        if let Some(received) = &self.received {
            received.write(&mut page);
        }
        self.write_own_spans(&mut page);
        write_blocklists(&mut page, &state.blocklists, *self.refreshes.lock());
        process::write(&mut page, self.started);
        page.into_text()
    }

    fn write_requests(&self, page: &mut Page) {
        let requests = self.requests.lock();
        let name = "traceql_request_duration_seconds";
        page.family(name, Kind::Histogram, "Time from a request to the end of its answer.");
        for ((protocol, route, end), requests) in &*requests {
            let end = end.name();
            let labels = [("protocol", protocol.name()), ("route", route), ("status", &*end)];
            requests.durations.write(page, name, &labels);
        }
        let name = "traceql_response_bytes_total";
        page.family(name, Kind::Counter, "Bytes of answers, as they were sent.");
        for ((protocol, route, end), requests) in &*requests {
            let end = end.name();
            let labels = [("protocol", protocol.name()), ("route", route), ("status", &*end)];
            page.sample(name, &labels, requests.bytes);
        }
        drop(requests);
        page.single(
            "traceql_requests_in_flight",
            Kind::Gauge,
            "Requests that are not answered yet.",
            self.in_flight.load(Ordering::Relaxed),
        );
    }

    fn write_own_spans(&self, page: &mut Page) {
        let Some(counts) = self.tracer.counts() else { return };
        let name = "traceql_own_spans_total";
        page.family(
            name,
            Kind::Counter,
            "Spans of this server's own work, by what became of them.",
        );
        for (result, count) in
            [("sent", counts.sent), ("dropped", counts.dropped), ("failed", counts.failed)]
        {
            page.sample(name, &[("result", result)], count);
        }
    }

    fn write_queue(&self, page: &mut Page, queue: &Waiting) {
        page.single(
            "traceql_queries_running",
            Kind::Gauge,
            "Queries that are being answered.",
            queue.running,
        );
        page.single(
            "traceql_queries_waiting",
            Kind::Gauge,
            "Queries that wait for their turn.",
            queue.waiting,
        );
        page.single(
            "traceql_queries_waiting_tenants",
            Kind::Gauge,
            "Tenants whose queries wait.",
            queue.tenants,
        );
        page.single(
            "traceql_queries_refused_total",
            Kind::Counter,
            "Queries refused because too many waited.",
            queue.refused,
        );
        let name = "traceql_query_wait_seconds";
        page.family(name, Kind::Histogram, "Time that a query waited for its turn.");
        self.queue.lock().write(page, name, &[]);
    }
}

fn write_store(page: &mut Page, state: &State) {
    let (requests, bytes) = state.store;
    page.single(
        "traceql_store_read_requests_total",
        Kind::Counter,
        "Requests made to the object store by queries.",
        requests,
    );
    page.single(
        "traceql_store_read_bytes_total",
        Kind::Counter,
        "Bytes read from the object store by queries.",
        bytes,
    );
    let CacheCounts { footers, dictionaries } = &state.caches;
    let caches = [("footer", footers), ("dictionary", dictionaries), ("answer", &state.answers)];
    type Count = fn(&CacheCount) -> u64;
    let families: [(&str, Kind, &str, Count); 3] = [
        ("traceql_cache_hits_total", Kind::Counter, "Found in a cache.", |count| count.hits),
        ("traceql_cache_misses_total", Kind::Counter, "Not found in a cache.", |count| {
            count.misses
        }),
        ("traceql_cache_bytes", Kind::Gauge, "Held by a cache.", |count| count.bytes),
    ];
    for (name, kind, help, count) in families {
        page.family(name, kind, help);
        for (cache, counts) in caches {
            page.sample(name, &[("cache", cache)], count(counts));
        }
    }
}

fn write_blocklists(page: &mut Page, lists: &KeptCounts, refreshes: Refreshes) {
    page.single(
        "traceql_blocklists",
        Kind::Gauge,
        "Tenants whose block lists are kept.",
        lists.lists,
    );
    page.single("traceql_blocks", Kind::Gauge, "Blocks in those lists.", lists.blocks);
    page.single(
        "traceql_blocks_unreadable",
        Kind::Gauge,
        "Blocks left out of those lists because they cannot be read.",
        lists.unreadable,
    );
    page.single(
        "traceql_blocklist_refreshes_total",
        Kind::Counter,
        "Times the block lists were read anew.",
        refreshes.done,
    );
    page.single(
        "traceql_blocklist_errors_total",
        Kind::Counter,
        "Block lists that could not be read anew.",
        refreshes.errors,
    );
    page.single(
        "traceql_blocklist_refresh_timestamp_seconds",
        Kind::Gauge,
        "When the block lists were read anew last, since unix epoch; 0 is never.",
        std::time::Duration::from_nanos(refreshes.last).as_secs_f64(),
    );
}
