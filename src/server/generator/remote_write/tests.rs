//! What receivers get: decoded with messages of their own, over real connections; and what the
//! sender does when they fail, refuse or are slow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use prost::Message;
use traceql_blocks::bucket::tenant::TenantId;

use super::collect::Collected;
use crate::generator::options::{Histograms, RemoteWriteOptions, TenantMetrics};
use crate::generator::tenant::{Plan, Tenant};
use crate::generator::tests::{NOW, SECOND, of_service, options, processors, span, trace};
use crate::generator::{Generator, GeneratorOptions};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<SentExemplar>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<SentHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SentExemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SentHistogram {
    #[prost(double, tag = "2")]
    count: f64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(double, tag = "7")]
    zero_count: f64,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<BucketSpan>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

impl TimeSeries {
    /// `name{label="value"} value @millis`, exemplars behind.
    fn show(&self) -> String {
        let names: Vec<_> = self.labels.iter().map(|label| label.name.as_str()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let labels = |labels: &[Label]| {
            let labels = labels.iter().map(|label| format!("{}={}", label.name, label.value));
            labels.collect::<Vec<_>>().join(",")
        };
        let mut text = labels(&self.labels);
        for sample in &self.samples {
            let value = match sample.value {
                value if value.to_bits() == 0x7ff0_0000_0000_0002 => "stale".to_owned(),
                value => value.to_string(),
            };
            text += &format!(" {value} @{}", sample.timestamp);
        }
        for exemplar in &self.exemplars {
            let (id, at) = (labels(&exemplar.labels), exemplar.timestamp);
            text += &format!(" # {id} {} @{at}", exemplar.value);
        }
        text
    }
}

const NOW_MILLIS: i64 = (NOW / 1_000_000).cast_signed();

fn tenant(change: impl FnOnce(&mut TenantMetrics)) -> Tenant {
    let mut metrics = TenantMetrics::default();
    change(&mut metrics);
    Tenant::new(Arc::new(Plan::new(metrics).unwrap()))
}

/// Announcements, then samples.
fn collect(tenant: &mut Tenant, now: u64, stale: u64) -> [Vec<TimeSeries>; 2] {
    let external = BTreeMap::from([
        ("__metrics_gen_instance".to_owned(), "host".to_owned()),
        ("cluster".to_owned(), "c".to_owned()),
        ("service".to_owned(), "loses".to_owned()),
    ]);
    let collected = Collected::of(tenant, now, stale, &external, 1000);
    let mut sent = [Vec::new(), Vec::new()];
    for (body, is_announcement) in collected.requests() {
        let request = WriteRequest::decode(body.as_slice()).unwrap();
        sent[usize::from(!is_announcement)].extend(request.timeseries);
    }
    sent
}

fn shown(series: &[TimeSeries]) -> Vec<String> {
    series.iter().map(TimeSeries::show).collect()
}

#[test]
fn a_series_begins_with_0_goes_on_and_ends() {
    let mut tenant = tenant(processors(&["span-metrics-count"]));
    let traces = [trace(1, vec![of_service("shop", vec![span("a", 1, 1)])])];
    tenant.observe(&traces, NOW);
    let labels = "__metrics_gen_instance=host,__name__=traces_spanmetrics_calls_total,cluster=c,\
                  service=shop,span_kind=SPAN_KIND_INTERNAL,span_name=a,status_code=STATUS_CODE_UNSET";
    // `NOW` is 20 seconds into a minute.
    let zero = NOW_MILLIS - 20_000 - 1;
    let [announced, samples] = collect(&mut tenant, NOW, 0);
    assert_eq!(shown(&announced), [format!("{labels} 0 @{zero}")]);
    assert_eq!(shown(&samples), [format!("{labels} 1 @{NOW_MILLIS}")]);

    tenant.observe(&traces, NOW);
    let [announced, samples] = collect(&mut tenant, NOW + SECOND, 0);
    assert!(announced.is_empty());
    assert_eq!(shown(&samples), [format!("{labels} 2 @{}", NOW_MILLIS + 1000)]);

    let [announced, samples] = collect(&mut tenant, NOW + 2 * SECOND, NOW + 1);
    assert!(announced.is_empty());
    assert_eq!(shown(&samples), [format!("{labels} stale @{}", NOW_MILLIS + 2000)]);

    // It comes again within the minute: its 0 lies behind its end.
    tenant.observe(&traces, NOW + SECOND);
    let [announced, _] = collect(&mut tenant, NOW + 3 * SECOND, 0);
    assert_eq!(shown(&announced), [format!("{labels} 0 @{}", NOW_MILLIS + 2001)]);
}

#[test]
fn a_histogram_is_announced_but_for_its_sum_and_an_exemplar_is_sent_once() {
    let mut tenant = tenant(|metrics| {
        processors(&["span-metrics-latency"])(metrics);
        metrics.span_metrics.histogram_buckets = vec![0.5];
    });
    tenant.observe(&[trace(1, vec![of_service("a", vec![span("a", 1, 400)])])], NOW + SECOND);
    let [announced, samples] = collect(&mut tenant, NOW + 2 * SECOND, 0);
    let ends = |series: &[TimeSeries], without: &str| {
        let shown = shown(series);
        let of_label = |text: &str, label: &str| {
            text.split(',').find_map(|pair| pair.strip_prefix(label).map(str::to_owned))
        };
        shown
            .iter()
            .map(|text| {
                let name = of_label(text, "__name__=traces_spanmetrics_latency").unwrap();
                let bound = of_label(text, "le=").unwrap_or_default();
                let end = text.split_once(without).unwrap().1;
                format!("{name} {bound} {end}")
            })
            .collect::<Vec<_>>()
    };
    let last = "STATUS_CODE_UNSET ";
    let zero = NOW_MILLIS - 20_001;
    assert_eq!(
        ends(&announced, last),
        [
            format!("_bucket 0.5 0 @{zero}"),
            format!("_bucket +Inf 0 @{zero}"),
            format!("_count  0 @{zero}"),
        ]
    );
    let (at, seen) = (NOW_MILLIS + 2000, NOW_MILLIS + 1000);
    let id = "1".to_owned() + &"01".repeat(15);
    assert_eq!(
        ends(&samples, last),
        [
            format!("_bucket 0.5 1 @{at} # traceID={id} 0.4 @{seen}"),
            format!("_bucket +Inf 1 @{at}"),
            format!("_sum  0.4 @{at}"),
            format!("_count  1 @{at}"),
        ]
    );
    let [_, samples] = collect(&mut tenant, NOW + 3 * SECOND, 0);
    assert!(samples.iter().all(|series| series.exemplars.is_empty()));
}

#[test]
fn native_histograms_are_one_series() {
    let mut tenant = tenant(|metrics| {
        processors(&["span-metrics-latency"])(metrics);
        metrics.histograms = Histograms::Native;
    });
    // Seconds: 1 is bucket 0 of schema 3, 2 is bucket 8; 0 is none; 1.2 is bucket 3.
    let spans = [0, 1000, 1000, 1200, 2000].map(|millis| span("a", 1, millis));
    tenant.observe(&[trace(1, vec![of_service("a", spans.into())])], NOW);
    let [announced, samples] = collect(&mut tenant, NOW, 0);
    assert!(announced.is_empty());
    assert_eq!(samples.len(), 1);
    let name = samples[0].labels.iter().find(|label| label.name == "__name__").unwrap();
    assert_eq!(name.value, "traces_spanmetrics_latency");
    assert_eq!(
        samples[0].histograms,
        [SentHistogram {
            count: 5.0,
            sum: 5.2,
            schema: 3,
            zero_threshold: 2_f64.powi(-128),
            zero_count: 1.0,
            positive_spans: vec![
                BucketSpan { offset: 0, length: 4 },
                BucketSpan { offset: 4, length: 1 },
            ],
            positive_counts: vec![2.0, 0.0, 0.0, 1.0, 1.0],
            timestamp: NOW_MILLIS,
        }]
    );
    // Of every classic bucket the latest, though those are not sent.
    assert_eq!(samples[0].exemplars.len(), 3);
}

#[test]
fn requests_are_bounded_in_samples() {
    let mut tenant = tenant(processors(&["span-metrics-count"]));
    let spans = (0..25).map(|n| span(&format!("n{n}"), 1, 1)).collect();
    tenant.observe(&[trace(1, vec![of_service("a", spans)])], NOW);
    let collected = Collected::of(&mut tenant, NOW, 0, &BTreeMap::new(), 10);
    let sizes = collected.requests().map(|(body, is_announcement)| {
        (is_announcement, WriteRequest::decode(body.as_slice()).unwrap().timeseries.len())
    });
    let each = |announced| [(announced, 10), (announced, 10), (announced, 5)];
    assert_eq!(sizes.collect::<Vec<_>>(), [each(true), each(false)].concat());
}

/// A receiver that answers from a list of statuses, then with success.
#[derive(Clone, Default)]
struct Answers {
    statuses: Arc<Mutex<Vec<u16>>>,
    got: Arc<Mutex<Vec<(HeaderMap, WriteRequest)>>>,
}

async fn receive(State(answers): State<Answers>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let request = WriteRequest::decode(body.as_slice()).unwrap();
    let status = answers.statuses.lock().unwrap().pop().unwrap_or(204);
    answers.got.lock().unwrap().push((headers, request));
    StatusCode::from_u16(status).unwrap()
}

async fn receiver(mut statuses: Vec<u16>) -> (Answers, RemoteWriteOptions) {
    statuses.reverse();
    let answers = Answers { statuses: Arc::new(Mutex::new(statuses)), ..Answers::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/write", post(receive)).with_state(answers.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut options =
        RemoteWriteOptions::new(format!("http://u:secret@{address}/write?key=hidden"));
    options.min_backoff = Duration::from_millis(1);
    (answers, options)
}

/// Observes, and sends with the one collection that the end brings.
async fn send_once(mut options: GeneratorOptions, receivers: Vec<RemoteWriteOptions>) -> Generator {
    options.remote_write = receivers;
    options.collection_interval = Duration::from_secs(3600);
    let generator = Generator::new(options).unwrap();
    let traces = [trace(1, vec![of_service("a", vec![span("a", 1, 1)])])];
    generator.observe(&TenantId::parse("t").unwrap(), &traces, NOW);
    generator.run_remote_write(async {}, Duration::from_secs(20)).await;
    generator
}

#[tokio::test]
async fn requests_say_what_they_are_and_whose() {
    let (answers, mut receiver) = receiver(vec![]).await;
    receiver.headers.push(("X-Extra".into(), "more".into()));
    let mut options = options(processors(&["span-metrics-count"]));
    options.multitenant = true;
    let generator = send_once(options, vec![receiver]).await;
    let got = answers.got.lock().unwrap().clone();
    assert_eq!(got.len(), 2, "what is new is announced in a request of its own");
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("x-scope-orgid", "t"),
        ("x-extra", "more"),
        ("authorization", "Basic dTpzZWNyZXQ="),
    ] {
        assert_eq!(got[0].0[name], value, "{name}");
    }
    assert!(got[0].0["user-agent"].to_str().unwrap().starts_with("traceql/"));
    assert_eq!(
        (got[0].1.timeseries[0].samples[0].value, got[1].1.timeseries[0].samples[0].value),
        (0.0, 1.0)
    );
    let own = generator.expose_own();
    assert!(own.contains("/write\"} 2\n"), "{own}");
    assert!(!own.contains("secret") && !own.contains("hidden"), "{own}");
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[tokio::test]
async fn failures_are_repeated_in_order_and_refusals_are_not() {
    let (failing, first) = receiver(vec![503, 429, 500, 204, 502]).await;
    let (refusing, second) = receiver(vec![204, 400]).await;
    let mut options = options(processors(&["span-metrics-count"]));
    options.log = |line| LINES.lock().unwrap().push(line.to_owned());
    let generator = send_once(options, vec![first, second]).await;
    let values = |answers: &Answers| {
        let got = answers.got.lock().unwrap();
        got.iter().map(|(_, request)| request.timeseries[0].samples[0].value).collect::<Vec<_>>()
    };
    assert_eq!(values(&failing), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(values(&refusing), [0.0, 1.0]);
    let own = generator.expose_own();
    let counts: Vec<_> = own
        .lines()
        .filter(|line| line.contains("remote_write") && !line.starts_with('#'))
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    // Sent, retried, refused, dropped; of either receiver.
    assert_eq!(counts, ["2", "1", "4", "0", "0", "1", "0", "0"]);
    let lines = LINES.lock().unwrap().join("\n");
    for part in
        ["fails and is repeated: 503", "works again", "was refused with 400", "samples are lost"]
    {
        assert!(lines.contains(part), "{part}\n{lines}");
    }
    assert!(!lines.contains("secret") && !lines.contains("hidden"), "{lines}");
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[tokio::test]
async fn a_receiver_that_is_away_costs_no_more_than_its_queue() {
    static CLOCK: AtomicU64 = AtomicU64::new(NOW);
    // Nobody listens there.
    let mut away = RemoteWriteOptions::new("http://127.0.0.1:1/write");
    (away.queue_bytes, away.max_backoff) = (2000, Duration::from_millis(20));
    let mut options = options(processors(&["span-metrics"]));
    options.remote_write = vec![away];
    options.collection_interval = Duration::from_millis(5);
    options.clock = || CLOCK.fetch_add(SECOND, Ordering::Relaxed);
    options.log = |line| SAID.lock().unwrap().push(line.to_owned());
    let generator = Generator::new(options).unwrap();
    let traces = [trace(1, vec![of_service("a", vec![span("a", 1, 1)])])];
    generator.observe(&TenantId::single(), &traces, NOW);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let watch = async {
        // Until the queue has overflowed.
        while !SAID.lock().unwrap().iter().any(|line| line.contains("queue is full")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stop);
    };
    tokio::join!(generator.run_remote_write(stopped, Duration::from_millis(50)), watch);
    let said = SAID.lock().unwrap().join("\n");
    assert!(said.contains("fails and is repeated: error sending request"), "{said}");
    assert!(said.contains("requests could not be sent before the end"), "{said}");
    assert_eq!(said.matches("queue is full at 2000 bytes").count(), 1, "{said}");
}
