//! What the generator says of itself: counts by tenant, and as text under Tempo's names.

use std::fmt::Write as _;

use super::Generator;
use super::remote_write::Counts;
use super::tenant::Tenant;

/// What happened at a tenant since the generator first saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Spans observed.
    pub spans_received: u64,
    /// Of those, spans that ended too long ago or too far ahead to be counted.
    pub spans_outside_time_range: u64,
    /// Of those, spans that a filter policy kept out of span metrics.
    pub spans_filtered: u64,
    /// Series there are, as the limit counts them.
    pub active_series: usize,
    /// Series there ever were.
    pub series_added: u64,
    /// Series dropped as stale.
    pub series_removed: u64,
    /// Updates that went to a series of overflow.
    pub series_limited: u64,
    /// Edges of the service graph counted.
    pub edges_completed: u64,
    /// Edges whose other side did not come in time, counted with a guess or not at all.
    pub edges_expired: u64,
    /// Spans for whose edge there was no room.
    pub edges_dropped: u64,
    /// Edges that wait for their other side.
    pub edges_waiting: usize,
}

impl Stats {
    pub(super) fn new(tenant: &Tenant) -> Self {
        let (spans, series, edges) = tenant.stats();
        Self {
            spans_received: spans.received,
            spans_outside_time_range: spans.outside_time_range,
            spans_filtered: spans.filtered,
            active_series: series.active_series,
            series_added: series.added,
            series_removed: series.removed,
            series_limited: series.limited,
            edges_completed: edges.completed,
            edges_expired: edges.expired,
            edges_dropped: edges.dropped,
            edges_waiting: edges.waiting,
        }
    }
}

/// Name, type, what it is, further labels, value. What it is stands with the first of a name.
type Own = (&'static str, &'static str, &'static str, &'static str, fn(&Stats) -> u64);

/// Name, meaning and value of a count of requests.
type OwnCount = (&'static str, &'static str, fn(Counts) -> u64);

const OWN: [Own; 11] = [
    ("spans_received_total", "counter", "Spans that metrics are made of.", "", |s| {
        s.spans_received
    }),
    (
        "spans_discarded_total",
        "counter",
        "Spans that no metrics are made of.",
        ",reason=\"outside_metrics_ingestion_slack\"",
        |s| s.spans_outside_time_range,
    ),
    ("spans_discarded_total", "counter", "", ",reason=\"span_metrics_filtered\"", |s| {
        s.spans_filtered
    }),
    ("registry_active_series", "gauge", "Series that are exposed.", "", |s| s.active_series as u64),
    ("registry_series_added_total", "counter", "Series that began.", "", |s| s.series_added),
    ("registry_series_removed_total", "counter", "Series that went stale.", "", |s| {
        s.series_removed
    }),
    ("registry_series_limited_total", "counter", "Series that there was no room for.", "", |s| {
        s.series_limited
    }),
    ("processor_service_graphs_edges", "counter", "Requests seen from both sides.", "", |s| {
        s.edges_completed
    }),
    (
        "processor_service_graphs_expired_edges",
        "counter",
        "Requests of which the other side did not come.",
        "",
        |s| s.edges_expired,
    ),
    (
        "processor_service_graphs_dropped_spans",
        "counter",
        "Sides of requests that there was no room for.",
        "",
        |s| s.edges_dropped,
    ),
    (
        "processor_service_graphs_waiting_edges",
        "gauge",
        "Requests that wait for their other side.",
        "",
        |s| s.edges_waiting as u64,
    ),
];

impl Generator {
    /// The generator's own metrics in Prometheus' text format, to be shown beside the server's:
    /// `tempo_metrics_generator_…{tenant="…"}`, and what became of requests of remote write.
    #[must_use]
    pub fn expose_own(&self) -> String {
        let stats = self.stats();
        let mut text = String::new();
        let mut last = "";
        for (name, kind, help, labels, value) in OWN {
            // Writing to a string does not fail.
            if name != last {
                let _written = writeln!(
                    text,
                    "# HELP tempo_metrics_generator_{name} {help}\n\
                     # TYPE tempo_metrics_generator_{name} {kind}"
                );
                last = name;
            }
            for (tenant, stats) in &stats {
                let _written = writeln!(
                    text,
                    "tempo_metrics_generator_{name}{{tenant=\"{tenant}\"{labels}}} {}",
                    value(stats)
                );
            }
        }
        let counts: [OwnCount; 4] = [
            ("sent_total", "Requests that were taken.", |counts| counts.sent),
            ("retried_total", "Requests that were made again.", |counts| counts.retried),
            ("refused_total", "Requests that the receiver would not have.", |counts| {
                counts.refused
            }),
            ("dropped_total", "Requests that were given up.", |counts| counts.dropped),
        ];
        for (name, help, value) in counts.into_iter().filter(|_| !self.receivers.is_empty()) {
            let name = format!("tempo_metrics_generator_remote_write_requests_{name}");
            let _written = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for receiver in &self.receivers {
                let count = value(receiver.counts());
                let _written = writeln!(text, "{name}{{url=\"{}\"}} {count}", receiver.name());
            }
        }
        text
    }
}
