//! Spans that are made, dropped, not made at all, and sent.

use traceql_blocks::bucket::meta::{BlockMeta, ParsedMeta};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::compact::plan::CompactionJob;
use traceql_blocks::compact::{JobOutcome, JobReport, TenantPlan, TenantReport};
use traceql_blocks::model::Trace;
use traceql_blocks::write::block::WrittenBlock;
use traceql_blocks::write::otlp;

use super::export::Exporter;
use super::*;

fn options(url: &str) -> TracingOptions {
    TracingOptions {
        url: url.to_owned(),
        headers: vec![("X-Scope-OrgID".to_owned(), "own".to_owned())],
        resource: vec![("service.name".to_owned(), "traceql".to_owned())],
        new_id: Uuid::new_v4,
    }
}

fn tracer() -> Tracer {
    Tracer::new(options("http://127.0.0.1:1/v1/traces"), || 1_000_000_000_000)
}

fn ended(tracer: &Tracer) -> Vec<(TraceId, Span)> {
    tracer.0.as_ref().unwrap().waiting.lock().spans.drain(..).collect()
}

fn headers(parent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", "a=b".parse().unwrap());
    headers
}

#[test]
fn a_request_is_within_its_senders_span_and_has_spans_within() {
    let tracer = tracer();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request =
        tracer.request(|| "GET /x".to_owned(), &headers(parent), Duration::from_micros(5));
    request.text("tenant", || "a".to_owned());
    let mut child = request.as_parent().child("scan");
    child.cost(&QueryStats { bytes_read: 7, requests: 2, ..QueryStats::default() });
    drop(child);
    request.fails("no");
    drop(request);
    let spans = ended(&tracer);
    let [(of_child, child), (of_request, request)] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(of_child, of_request);
    assert_eq!(of_request.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(request.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!((request.kind, request.trace_state.as_str()), (SERVER, "a=b"));
    assert_eq!((request.status_code, request.status_message.as_str()), (ERROR, "no"));
    assert_eq!(request.start_unix_nanos, 1_000_000_000_000 - 5_000);
    assert!(request.end_unix_nanos >= 1_000_000_000_000, "{request:?}");
    assert_eq!((child.kind, &child.parent_span_id), (INTERNAL, &request.span_id));
    let bytes = child.attributes.iter().find(|a| a.key == "traceql.store.bytes").unwrap();
    assert_eq!(bytes.value, AttributeValue::Int(7));
    assert_ne!(child.span_id, request.span_id);
}

#[test]
fn what_is_not_sampled_or_not_wanted_makes_no_span() {
    let tracer = tracer();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let unsampled = tracer.request(|| "x".to_owned(), &headers(parent), Duration::ZERO);
    drop(unsampled.as_parent().child("y"));
    drop(unsampled);
    assert!(ended(&tracer).is_empty());
    let none = Tracer::default();
    let mut span = none.request(|| "x".to_owned(), &HeaderMap::new(), Duration::ZERO);
    span.text("key", || unreachable!("nobody is told"));
    assert_eq!(none.counts(), None);
}

#[test]
fn spans_without_room_are_dropped_and_counted() {
    let tracer = tracer();
    for _ in 0..MAX_WAITING + 3 {
        drop(tracer.request(|| "x".to_owned(), &HeaderMap::new(), Duration::ZERO));
    }
    assert_eq!(tracer.counts(), Some(Counts { dropped: 3, ..Counts::default() }));
    assert_eq!(ended(&tracer).len(), MAX_WAITING);
}

#[test]
fn a_flush_of_spans_of_flushes_makes_none() {
    let tracer = tracer();
    let flushed = |id: u128, traces: &[TraceId]| FlushedBlock {
        tenant: TenantId::single(),
        id: Uuid::from_u128(id),
        traces: traces.to_vec(),
        bytes: 0,
        took: Duration::ZERO,
    };
    tracer.flushed(&flushed(1, &[TraceId([1; 16])]), |span| span.number("n", 1));
    let (id, span) = ended(&tracer).remove(0);
    assert_eq!((span.name.as_str(), span.attributes.len()), ("flush", 1));
    tracer.flushed(&flushed(2, &[id]), |_| {});
    assert!(ended(&tracer).is_empty());
    tracer.flushed(&flushed(3, &[id, TraceId([2; 16])]), |_| {});
    assert_eq!(ended(&tracer).len(), 1);
    let shared = tracer.0.as_ref().unwrap();
    let is_own = |id| shared.is_own_block(Uuid::from_u128(id));
    assert_eq!([1, 2, 3].map(is_own), [false, true, false]);
}

fn meta(id: u128) -> Arc<BlockMeta> {
    let json = format!(
        r#"{{"format": "vParquet5", "blockID": "{}", "tenantID": "a", "size": 100, "totalObjects": 3,
            "startTime": "2027-01-01T00:00:00Z", "endTime": "2027-01-01T00:00:09Z"}}"#,
        Uuid::from_u128(id)
    );
    match BlockMeta::parse("meta.json", json.as_bytes()).unwrap() {
        ParsedMeta::Block(meta) => Arc::new(meta),
        other => panic!("{other:?}"),
    }
}

/// A cycle with a job over some blocks.
fn cycle(inputs: &[u128], outcome: JobOutcome) -> TenantReport {
    let began = Instant::now();
    let job = CompactionJob {
        inputs: inputs.iter().map(|id| meta(*id)).collect(),
        window_start_unix_seconds: 0,
    };
    let plan = TenantPlan {
        tenant: TenantId::single(),
        jobs: vec![job.clone()],
        expired: Vec::new(),
        deletable: Vec::new(),
        left_out: Vec::new(),
        unreadable: Vec::new(),
        live_count: 7,
    };
    let ended = began + Duration::from_micros(3);
    TenantReport { jobs: vec![JobReport { job, outcome, began, ended }], ..TenantReport::of(plan) }
}

fn replaced(id: u128) -> JobOutcome {
    let block = WrittenBlock { meta: meta(id), span_count: 12 };
    JobOutcome::Replaced { block: Some(block), unmarked: None }
}

#[test]
fn a_cycle_has_a_span_and_each_job_one_within() {
    let tracer = tracer();
    tracer.compacted(&TenantId::single(), &cycle(&[1, 2], replaced(3)));
    let spans = ended(&tracer);
    let [(of_job, job), (of_cycle, cycle)] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((of_job, &job.parent_span_id), (of_cycle, &cycle.span_id));
    assert_eq!((job.name.as_str(), cycle.name.as_str()), ("compaction", "compaction cycle"));
    assert_eq!(job.end_unix_nanos - job.start_unix_nanos, 3_000);
    let said = |span: &Span, key: &str| {
        span.attributes.iter().find(|a| a.key == key).map(|a| a.value.clone())
    };
    for (key, number) in [
        ("traceql.compaction.input.blocks", 2),
        ("traceql.compaction.input.bytes", 200),
        ("traceql.block.spans", 12),
        ("traceql.block.bytes", 100),
    ] {
        assert_eq!(said(job, key), Some(AttributeValue::Int(number)), "{key}");
    }
    let outcome = said(job, "traceql.compaction.outcome");
    assert_eq!(outcome, Some(AttributeValue::String("replaced".to_owned())));
    assert_eq!(said(cycle, "traceql.blocks.live"), Some(AttributeValue::Int(7)));
    assert_eq!(job.status_code, 0);
}

#[test]
fn compaction_of_what_only_compaction_has_caused_is_not_traced() {
    let (tracer, tenant) = (tracer(), TenantId::single());
    let shared = tracer.0.as_ref().unwrap();
    let n_spans = |inputs: &[u128], outcome| {
        tracer.compacted(&tenant, &cycle(inputs, outcome));
        ended(&tracer).len()
    };
    shared.remember_block(Uuid::from_u128(1));
    shared.remember_block(Uuid::from_u128(2));
    assert_eq!(n_spans(&[1, 2], replaced(3)), 0);
    assert_eq!(n_spans(&[3, 4], replaced(5)), 0, "what came of our own is our own");
    assert_eq!(n_spans(&[5, 6], replaced(7)), 2, "there is something of others in both");
    assert_eq!(n_spans(&[1, 3], JobOutcome::Stopped), 0);
    let reason = "no".to_owned();
    let error = traceql_blocks::Error::Usage { what: "x", value: String::new(), reason };
    assert_eq!(n_spans(&[1, 3], JobOutcome::Failed(error)), 2, "what fails is told");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut TracingOptions)| {
        let mut options = options("http://127.0.0.1:1/");
        change(&mut options);
        Exporter::new(Tracer::default(), &options, |_| {}).unwrap_err().to_string()
    };
    assert!(refused(|o| o.url = "grpc://x".to_owned()).contains("neither http nor https"));
    assert!(refused(|o| o.url = "x".to_owned()).contains("cannot be sent traces to"));
    assert!(refused(|o| o.headers = vec![("a b".to_owned(), String::new())]).contains("a b"));
}

/// Headers and bodies of requests.
type Bodies = Arc<Mutex<Vec<(HeaderMap, Vec<u8>)>>>;

/// Answers requests in turn with these statuses and keeps what they brought.
async fn receiver(statuses: &'static [u16]) -> (String, Bodies) {
    let received = Bodies::default();
    let kept = Arc::clone(&received);
    let answer = move |headers: HeaderMap, body: bytes::Bytes| {
        let mut kept = kept.lock();
        let status = statuses.get(kept.len()).copied().unwrap_or(200);
        kept.push((headers, body.to_vec()));
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        async move { (status, [("retry-after", "0")]) }
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

#[tokio::test]
async fn batches_are_sent_again_when_asked_and_given_up_when_refused() {
    let (url, received) = receiver(&[503, 200, 400]).await;
    let tracer = Tracer::new(options(&url), || 5_000);
    let mut exporter = Exporter::new(tracer.clone(), &options(&url), |_| {}).unwrap();
    let shared = tracer.0.clone().unwrap();
    for _ in 0..BATCH + 1 {
        drop(tracer.request(|| "x".to_owned(), &HeaderMap::new(), Duration::ZERO));
    }
    exporter.send_all(&shared, 2).await;
    let counts = Counts { sent: BATCH as u64, failed: 1, dropped: 0 };
    assert_eq!(tracer.counts(), Some(counts));
    let received = received.lock();
    let n_spans: Vec<usize> = received
        .iter()
        .map(|(headers, body)| {
            assert_eq!(headers["x-scope-orgid"], "own");
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let traces = otlp::decode_protobuf(body.clone().into(), "it").unwrap();
            traces.iter().map(Trace::span_count).sum()
        })
        .collect();
    assert_eq!(n_spans, [BATCH, BATCH, 1]);
}

#[tokio::test]
async fn what_is_left_is_sent_at_the_end() {
    let (url, received) = receiver(&[]).await;
    let tracer = Tracer::new(options(&url), || 5_000);
    drop(tracer.request(|| "x".to_owned(), &HeaderMap::new(), Duration::ZERO));
    let exporter = Exporter::new(tracer.clone(), &options(&url), |_| {}).unwrap();
    exporter.run(std::future::ready(()), Duration::from_secs(5)).await;
    assert_eq!(received.lock().len(), 1);
    assert_eq!(tracer.counts().unwrap().sent, 1);
}

#[tokio::test]
async fn what_was_being_sent_at_the_end_is_sent_again() {
    let (url, received) = receiver(&[]).await;
    let tracer = Tracer::new(options(&url), || 5_000);
    drop(tracer.request(|| "x".to_owned(), &HeaderMap::new(), Duration::ZERO));
    let mut exporter = Exporter::new(tracer.clone(), &options(&url), |_| {}).unwrap();
    exporter.under_way = exporter.batch(tracer.0.as_ref().unwrap());
    exporter.run(std::future::ready(()), Duration::from_secs(5)).await;
    assert_eq!((received.lock().len(), tracer.counts().unwrap().sent), (1, 1));
}
