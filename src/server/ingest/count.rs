//! Counts of what was received, by protocol, and of what was not taken, by why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use parking_lot::Mutex;
use tonic::Code;
use traceql_blocks::model::Trace;

use super::{Received, Refused, Sink, Taken};

/// What came of requests, since the server started.
#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<&'static str, OfProtocol>>);

/// The same of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfProtocol {
    /// Requests by their end: `taken`, or why they were not.
    pub requests: BTreeMap<&'static str, u64>,
    /// Spans of requests that were taken.
    pub spans: u64,
    /// Of those, spans that were dropped.
    pub dropped_spans: u64,
    /// Bytes of requests that were taken, decompressed.
    pub bytes: u64,
}

impl Counts {
    /// All of them, by protocol.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, OfProtocol> {
        self.0.lock().clone()
    }

    fn ended(&self, protocol: &'static str, end: &'static str) {
        *self.0.lock().entry(protocol).or_default().requests.entry(end).or_default() += 1;
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

    fn took(&self, protocol: &'static str, n_spans: u64, n_bytes: u64, taken: &Taken) {
        let mut counts = self.0.lock();
        let counts = counts.entry(protocol).or_default();
        counts.spans += n_spans;
        counts.dropped_spans += taken.rejected_spans;
        counts.bytes += n_bytes;
    }
}

/// A sink before another, with counts of what receivers do with it.
#[derive(Debug)]
pub(crate) struct Counting<S> {
    sink: Arc<S>,
    counts: Arc<Counts>,
}

impl<S: Sink> Counting<S> {
    pub(crate) fn new(sink: Arc<S>, counts: Arc<Counts>) -> Self {
        Self { sink, counts }
    }
}

impl<S: Sink> Sink for Counting<S> {
    async fn take(&self, received: &mut Received) -> Result<Taken, Refused> {
        let n_spans = received.traces.iter().map(|trace| Trace::span_count(trace) as u64).sum();
        let taken = self.sink.take(received).await?;
        self.counts.took(received.protocol, n_spans, received.size_bytes as u64, &taken);
        Ok(taken)
    }

    fn reads_tenants(&self) -> bool {
        self.sink.reads_tenants()
    }

    fn counts(&self) -> Option<&Counts> {
        Some(&self.counts)
    }
}
