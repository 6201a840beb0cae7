//! Counts of what was received: requests by protocol and by what came of them, spans by protocol, and
//! spans that were not kept by why. The only counts of it: whoever refuses or drops says so here.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use parking_lot::Mutex;
use tonic::Code;

use crate::telemetry::exposition::{Kind, Page};

/// What came of requests, since the server started.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    protocols: BTreeMap<&'static str, OfProtocol>,
    discarded_spans: BTreeMap<Discard, u64>,
    truncated_attributes: u64,
}

#[derive(Debug, Default)]
struct OfProtocol {
    /// Requests by their end: `taken`, or why they were not.
    requests: BTreeMap<&'static str, u64>,
    /// Spans of requests that were taken.
    spans: u64,
    /// Bytes of requests that were taken, decompressed.
    bytes: u64,
}

/// Why spans that could be decoded were not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Discard {
    /// Their tenant sends more than its rate allows.
    RateLimited,
    /// A span of their request has an id that is none.
    InvalidSpanId,
    /// Their traces would be more than may be live.
    LiveTracesExceeded,
    /// Their trace would be larger than it may be.
    TraceTooLarge,
    /// Their request is wrong in another way.
    Other,
}

impl Discard {
    const ALL: [Self; 5] = [
        Self::RateLimited,
        Self::InvalidSpanId,
        Self::LiveTracesExceeded,
        Self::TraceTooLarge,
        Self::Other,
    ];

    /// Tempo's word for it (`api.md` 5.3).
    fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::InvalidSpanId => "invalid_span_id",
            Self::LiveTracesExceeded => "live_traces_exceeded",
            Self::TraceTooLarge => "trace_too_large",
            Self::Other => "unknown_error",
        }
    }
}

impl Counts {
    fn ended(&self, protocol: &'static str, end: &'static str) {
        let mut counted = self.0.lock();
        *counted.protocols.entry(protocol).or_default().requests.entry(end).or_default() += 1;
    }

    /// A request over HTTP was answered.
    pub(super) fn answered(&self, protocol: &'static str, status: StatusCode) {
        let end = match status {
            status if status.is_success() => "taken",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported",
            StatusCode::TOO_MANY_REQUESTS => "full",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "invalid",
        };
        self.ended(protocol, end);
    }

    /// A call over gRPC was answered.
    pub(super) fn called(&self, protocol: &'static str, code: Code) {
        let end = match code {
            Code::Ok => "taken",
            Code::ResourceExhausted => "full",
            Code::Unimplemented => "unsupported",
            Code::Unavailable => "unavailable",
            _ => "invalid",
        };
        self.ended(protocol, end);
    }

    /// A request was taken. Spans of it may have been discarded all the same.
    pub(crate) fn took(&self, protocol: &'static str, n_spans: u64, n_bytes: u64) {
        let mut counted = self.0.lock();
        let of_protocol = counted.protocols.entry(protocol).or_default();
        of_protocol.spans += n_spans;
        of_protocol.bytes += n_bytes;
    }

    /// Spans were not kept.
    pub(crate) fn discarded(&self, why: Discard, n_spans: u64) {
        *self.0.lock().discarded_spans.entry(why).or_default() += n_spans;
    }

    /// Attributes had a key or a text that was too long.
    pub(crate) fn truncated(&self, n_attributes: u64) {
        self.0.lock().truncated_attributes += n_attributes;
    }

    /// All of them, as Prometheus reads them. Two families have Tempo's names, which rules of alerts
    /// ask for, and lack its label `tenant`: this page names no tenant.
    pub(crate) fn write(&self, page: &mut Page) {
        let counted = self.0.lock();
        let name = "traceql_received_requests_total";
        page.family(name, Kind::Counter, "Requests of senders of traces, by what came of them.");
        for (protocol, counts) in &counted.protocols {
            for (result, count) in &counts.requests {
                page.sample(name, &[("protocol", protocol), ("result", result)], *count);
            }
        }
        type Count = fn(&OfProtocol) -> u64;
        let families: [(&str, &str, Count); 2] = [
            ("traceql_received_spans_total", "Spans of requests that were taken.", |c| c.spans),
            ("traceql_received_bytes_total", "Bytes of requests that were taken.", |c| c.bytes),
        ];
        for (name, help, count) in families {
            page.family(name, Kind::Counter, help);
            for (protocol, counts) in &counted.protocols {
                page.sample(name, &[("protocol", protocol)], count(counts));
            }
        }
        let name = "tempo_discarded_spans_total";
        page.family(name, Kind::Counter, "Spans that were received and not kept, by why.");
        for why in Discard::ALL {
            let n_spans = counted.discarded_spans.get(&why).copied().unwrap_or_default();
            page.sample(name, &[("reason", why.name())], n_spans);
        }
        page.single(
            "tempo_distributor_attributes_truncated_total",
            Kind::Counter,
            "Attributes of which a key or a text was cut, being longer than it may be.",
            counted.truncated_attributes,
        );
    }
}
