//! Sends spans that have ended, in batches: when there are enough of them, or after a time.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::oneshot;
use traceql_blocks::model::{
    AttributeValue, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
    Trace, TraceId,
};
use traceql_blocks::write::otlp;

use super::{BATCH, Shared, Tracer, TracingOptions};
use crate::options::ServeOptions;
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
    client: Client,
    url: Url,
    headers: HeaderMap,
    log: fn(&str),
    /// Whether the last batch failed; that is told once.
    is_failing: bool,
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
        let wrong =
            |found: &str| TracingError::Url { url: options.url.clone(), found: found.to_owned() };
        let url = Url::parse(&options.url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("its scheme is neither http nor https"));
        }
        let mut headers = HeaderMap::new();
        for (key, value) in &options.headers {
            let bad = || TracingError::Header(key.clone());
            let key: HeaderName = key.parse().map_err(|_| bad())?;
            headers.insert(key, value.parse().map_err(|_| bad())?);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("traceql/", env!("CARGO_PKG_VERSION"))));
        let client = Client::builder().timeout(TIMEOUT).build().map_err(TracingError::Client)?;
        Ok(Self { tracer, client, url, headers, log, is_failing: false })
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
            let batch: Vec<(TraceId, Span)> = {
                let mut waiting = shared.waiting.lock();
                let n = waiting.spans.len().min(BATCH);
                waiting.spans.drain(..n).collect()
            };
            if batch.is_empty() {
                return;
            }
            let n_spans = batch.len() as u64;
            let sent = self.send(encode(batch, &shared.options.resource), attempts).await;
            let counts = &mut shared.waiting.lock().counts;
            match &sent {
                Ok(()) => counts.sent += n_spans,
                Err(_) => counts.failed += n_spans,
            }
            if let Err(why) = &sent
                && !self.is_failing
            {
                (self.log)(&format!(
                    "cannot send traces of our own to {}: {why}",
                    self.url.host_str().unwrap_or_default()
                ));
            }
            self.is_failing = sent.is_err();
        }
    }

    async fn send(&self, body: Vec<u8>, attempts: u32) -> Result<(), String> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let request = self.client.post(self.url.clone()).headers(self.headers.clone());
            let (why, asked) = match request.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let may_repeat = [
                        StatusCode::TOO_MANY_REQUESTS,
                        StatusCode::BAD_GATEWAY,
                        StatusCode::SERVICE_UNAVAILABLE,
                        StatusCode::GATEWAY_TIMEOUT,
                    ];
                    if !may_repeat.contains(&status) {
                        return Err(status.to_string());
                    }
                    let after = answer.headers().get(RETRY_AFTER);
                    let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
                    (status.to_string(), after.map(Duration::from_secs))
                }
                Err(error) => (error.to_string(), None),
            };
            if attempt >= attempts {
                return Err(why);
            }
            tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
        Ok(())
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
