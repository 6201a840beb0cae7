//! Sends spans that have ended, in batches: when there are enough of them, or after a time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::sync::oneshot;
use traceql_blocks::model::{
    AttributeValue, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
    Trace, TraceId,
};
use traceql_blocks::write::otlp;

use super::{BATCH, Shared, Tracer, TracingOptions};
use crate::options::ServeOptions;
use crate::target::{PostError, Target, TargetError};
use crate::task::AbortOnDrop;

/// Spans are sent after so long at the latest.
const DELAY: Duration = Duration::from_secs(5);
/// Time-out of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at one batch.
const ATTEMPTS: u32 = 5;
/// First pause after a failure; it doubles. A receiver may ask for a longer one.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Settings with which nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracingError {
    /// A URL that cannot be posted to.
    #[error("{url:?} cannot be sent traces to: {found}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong.
        found: String,
    },
    /// A header that cannot be sent.
    #[error("{0:?} is no header of a request")]
    Header(String),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
}

/// Sends batches.
#[derive(Debug)]
pub(crate) struct Exporter {
    tracer: Tracer,
    target: Target,
    log: fn(&str),
    /// Whether it was said that nothing can be sent, and nothing has been since.
    is_failing: bool,
    /// A batch that is being sent, and how many spans it has.
    pub(super) under_way: Option<(Bytes, u64)>,
}

impl Exporter {
    /// An exporter of what a tracer traces.
    ///
    /// # Errors
    /// If the options are wrong.
    pub(crate) fn new(
        tracer: Tracer,
        options: &TracingOptions,
        log: fn(&str),
    ) -> Result<Self, TracingError> {
        let of_protocol = [("content-type", "application/x-protobuf")];
        let target = Target::new(&options.url, &options.headers, &of_protocol, TIMEOUT)?;
        Ok(Self { tracer, target, log, is_failing: false, under_way: None })
    }

    /// Sends until `stop` is done, then what is left, for `drain` at most.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()> + Send, drain: Duration) {
        let Some(shared) = self.tracer.0.clone() else { return };
        tokio::pin!(stop);
        loop {
            let waited = tokio::time::timeout(DELAY, shared.wake.notified());
            tokio::select! {
                () = &mut stop => break,
                _woken = waited => {}
            }
            tokio::select! {
                () = &mut stop => break,
                () = self.send_all(&shared, ATTEMPTS) => {}
            }
        }
        // What cannot be sent in time is lost, as it would be without a drain.
        drop(tokio::time::timeout(drain, self.send_all(&shared, 1)).await);
    }

    /// Sends all that waits, each batch with so many attempts.
    pub(super) async fn send_all(&mut self, shared: &Shared, attempts: u32) {
        loop {
            // What was being sent when the server was told to stop is sent once more.
            let next = self.under_way.clone().or_else(|| self.batch(shared));
            let Some((body, n_spans)) = next else { return };
            self.under_way = Some((body.clone(), n_spans));
            let is_sent = self.send(body, attempts).await;
            self.under_way = None;
            let counts = &mut shared.waiting.lock().counts;
            match is_sent {
                true => counts.sent += n_spans,
                false => counts.failed += n_spans,
            }
        }
    }

    /// The next spans to be sent; `None` if none wait.
    pub(super) fn batch(&self, shared: &Shared) -> Option<(Bytes, u64)> {
        let spans: Vec<(TraceId, Span)> = {
            let mut waiting = shared.waiting.lock();
            let n = waiting.spans.len().min(BATCH);
            waiting.spans.drain(..n).collect()
        };
        let n_spans = spans.len() as u64;
        (n_spans > 0).then(|| (encode(spans, &shared.options.resource).into(), n_spans))
    }

    /// Whether a batch was taken, after so many attempts at most.
    async fn send(&mut self, body: Bytes, attempts: u32) -> bool {
        /// What OTLP lets a sender repeat.
        const REPEATED: [StatusCode; 4] = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let mut pause = PAUSE;
        for attempt in 1.. {
            let (why, asked) = match self.target.post(body.clone(), None).await {
                Ok(()) => {
                    self.is_failing = false;
                    return true;
                }
                Err(PostError::Unanswered(why)) => {
                    self.say(&why);
                    (why, None)
                }
                Err(PostError::Refused(status, ..)) if !REPEATED.contains(&status) => {
                    self.say(&status.to_string());
                    return false;
                }
                Err(PostError::Refused(status, _, after)) => (status.to_string(), after),
            };
            if attempt >= attempts {
                self.say(&why);
                return false;
            }
            tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
        false
    }

    /// Says what goes wrong, unless that was said already.
    fn say(&mut self, why: &str) {
        if !self.is_failing {
            let host = self.target.url.host_str().unwrap_or_default();
            (self.log)(&format!("cannot send traces of our own to {host}: {why}"));
        }
        self.is_failing = true;
    }
}

impl From<TargetError> for TracingError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Url(url, found) => Self::Url { url, found },
            TargetError::Header(name) => Self::Header(name),
            TargetError::Client(error) => Self::Client(error),
        }
    }
}

/// An exporter at work, if there is one.
#[derive(Debug)]
pub(crate) struct Exporting(Option<(oneshot::Sender<()>, AbortOnDrop<()>)>);

/// Begins to trace, if that is wanted.
///
/// # Errors
/// If the settings are wrong.
pub(crate) fn start(options: &ServeOptions) -> Result<(Tracer, Exporting), TracingError> {
    let Some(tracing) = &options.tracing else { return Ok((Tracer::default(), Exporting(None))) };
    let tracer = Tracer::new(tracing.clone(), options.clock);
    let exporter = Exporter::new(tracer.clone(), tracing, options.log)?;
    let (stop, stopped) = oneshot::channel();
    let drain = options.drain;
    let work = tokio::spawn(exporter.run(async { drop(stopped.await) }, drain));
    Ok((tracer, Exporting(Some((stop, AbortOnDrop(work))))))
}

impl Exporting {
    /// Sends what is left.
    pub(crate) async fn end(self) {
        let Some((stop, work)) = self.0 else { return };
        // The exporter is gone only if it has ended already.
        let _gone = stop.send(());
        drop(work.await);
    }
}

/// A request of spans, by trace.
fn encode(spans: Vec<(TraceId, Span)>, resource: &[(String, String)]) -> Vec<u8> {
    let mut traces: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
    for (trace_id, span) in spans {
        traces.entry(trace_id).or_default().push(span);
    }
    let attributes = resource.iter().map(|(key, value)| KeyValue {
        key: key.clone(),
        value: AttributeValue::String(value.clone()),
    });
    let resource = Resource { attributes: attributes.collect(), dropped_attributes_count: 0 };
    let scope = InstrumentationScope {
        name: "traceql".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let trace = |(id, spans): (TraceId, Vec<Span>)| {
        let scope_spans = vec![ScopeSpans { scope: scope.clone(), spans }];
        let resource_spans = vec![ResourceSpans { resource: resource.clone(), scope_spans }];
        Trace { id, resource_spans }
    };
    let traces: Vec<Trace> = traces.into_iter().map(trace).collect();
    otlp::to_protobuf(&traces)
}
