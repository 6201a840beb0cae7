//! The generator as a whole: what scrapes show, tenants, the sink; totals against a naive count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use traceql_blocks::model::{
    AttributeValue, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, TraceId,
};

use super::*;
use crate::ingest::{Received, Refused, Sink, Taken};

pub(super) const SECOND: u64 = 1_000_000_000;
/// When spans of these tests are observed.
pub(super) const NOW: u64 = 1_700_000_000 * SECOND;

pub(super) fn options(change: impl FnOnce(&mut TenantMetrics)) -> GeneratorOptions {
    let mut options = GeneratorOptions::new(|| NOW, |_| {});
    change(&mut options.defaults);
    options
}

pub(super) fn generator(change: impl FnOnce(&mut TenantMetrics)) -> Generator {
    Generator::new(options(change)).unwrap()
}

pub(super) fn processors(names: &'static [&'static str]) -> impl Fn(&mut TenantMetrics) {
    move |metrics| names.iter().for_each(|name| metrics.processors.enable(name).unwrap())
}

pub(super) fn attribute(key: &str, value: AttributeValue) -> KeyValue {
    KeyValue { key: key.into(), value }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, AttributeValue::String(value.into()))
}

/// A span that ends now.
pub(super) fn span(name: &str, kind: i32, millis: u64) -> Span {
    Span {
        span_id: vec![1; 8],
        name: name.into(),
        kind,
        start_unix_nanos: NOW - millis * 1_000_000,
        end_unix_nanos: NOW,
        ..Span::default()
    }
}

/// A span of a client with that id.
pub(super) fn client(id: u8, parent: u8, millis: u64) -> Span {
    Span { span_id: vec![id; 8], ..child(parent, span("call", 3, millis)) }
}

/// A span of a server with that id; parent 0 is none.
pub(super) fn server(id: u8, parent: u8, millis: u64) -> Span {
    Span { span_id: vec![id; 8], ..child(parent, span("serve", 2, millis)) }
}

fn child(parent: u8, span: Span) -> Span {
    Span { parent_span_id: if parent == 0 { vec![] } else { vec![parent; 8] }, ..span }
}

pub(super) fn of_service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = if name.is_empty() { vec![] } else { vec![text("service.name", name)] };
    ResourceSpans {
        resource: Resource { attributes, dropped_attributes_count: 0 },
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
    }
}

pub(super) fn trace(id: u8, resource_spans: Vec<ResourceSpans>) -> Trace {
    Trace { id: TraceId([id; 16]), resource_spans }
}

/// Lines of samples with that in them.
pub(super) fn samples(generator: &Generator, now: u64, about: &str) -> Vec<String> {
    let text = generator.expose(&TenantId::single(), Format::Text, now);
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(about));
    lines.map(str::to_owned).collect()
}

#[test]
fn open_metrics_has_exemplars_and_an_end() {
    let generator = generator(|metrics| {
        processors(&["span-metrics-count", "span-metrics-latency"])(metrics);
        metrics.span_metrics.histogram_buckets = vec![0.5, 1.0];
        metrics.trace_id_label = "trace_id".into();
    });
    let mut trace = trace(0, vec![of_service("a\nb", vec![span("x\\y", 1, 700)])]);
    trace.id.0[15] = 0xab;
    generator.observe(&TenantId::single(), &[trace], NOW + 250_000_000);
    let shown = generator.expose(&TenantId::single(), Format::OpenMetrics, NOW);
    let labels = r#"service="a\nb",span_name="x\\y",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET""#;
    let expect = format!(
        r#"# HELP traces_spanmetrics_calls Spans.
# TYPE traces_spanmetrics_calls counter
traces_spanmetrics_calls_total{{{labels}}} 1
# HELP traces_spanmetrics_latency Durations of spans in seconds.
# TYPE traces_spanmetrics_latency histogram
traces_spanmetrics_latency_bucket{{{labels},le="0.5"}} 0
traces_spanmetrics_latency_bucket{{{labels},le="1.0"}} 1 # {{trace_id="ab"}} 0.7 1700000000.250
traces_spanmetrics_latency_bucket{{{labels},le="+Inf"}} 1
traces_spanmetrics_latency_sum{{{labels}}} 0.7
traces_spanmetrics_latency_count{{{labels}}} 1
# EOF
"#
    );
    assert_eq!(shown, expect);
    let plain = generator.expose(&TenantId::single(), Format::Text, NOW);
    assert!(plain.contains("# TYPE traces_spanmetrics_calls_total counter\n"), "{plain}");
    assert!(!plain.contains("trace_id") && !plain.contains("EOF"), "{plain}");
    let nobody = TenantId::parse("nobody").unwrap();
    assert_eq!(generator.expose(&nobody, Format::OpenMetrics, NOW), "# EOF\n");
}

#[test]
fn a_scrape_drops_what_is_stale() {
    let generator = generator(processors(&["span-metrics-count"]));
    generator.observe(
        &TenantId::single(),
        &[trace(1, vec![of_service("a", vec![span("a", 1, 1)])])],
        NOW,
    );
    assert_eq!(samples(&generator, NOW + 15 * 60 * SECOND, "").len(), 1);
    assert_eq!(samples(&generator, NOW + 15 * 60 * SECOND + 1, "").len(), 0);
    assert_eq!(generator.stats()[0].1.series_removed, 1);
}

#[test]
fn a_dry_run_counts_and_shows_nothing() {
    let generator = generator(|metrics| {
        processors(&["span-metrics"])(metrics);
        metrics.is_dry_run = true;
    });
    generator.observe(
        &TenantId::single(),
        &[trace(1, vec![of_service("a", vec![span("a", 1, 1)])])],
        NOW,
    );
    assert!(samples(&generator, NOW, "").is_empty());
    // Calls and bytes, and of latency 15 buckets, a sum and a count.
    assert_eq!(generator.stats()[0].1.active_series, 19);
    assert!(generator.expose_own().contains(
        "\ntempo_metrics_generator_registry_active_series{tenant=\"single-tenant\"} 19\n"
    ));
}

#[test]
fn tenants_have_series_and_settings_of_their_own() {
    let [a, b, c] = ["a", "b", "c"].map(|name| TenantId::parse(name).unwrap());
    let mut options = options(processors(&["span-metrics-count"]));
    let mut graph = TenantMetrics::default();
    processors(&["service-graphs-request"])(&mut graph);
    options.tenants.insert(b.clone(), graph);
    options.tenants.insert(c.clone(), TenantMetrics::default());
    let generator = Generator::new(options).unwrap();
    let traces = [trace(
        1,
        vec![of_service("x", vec![client(7, 0, 1)]), of_service("y", vec![server(8, 7, 1)])],
    )];
    for tenant in [&a, &b, &c] {
        generator.observe(tenant, &traces, NOW);
    }
    let lines = |tenant| {
        let text = generator.expose(tenant, Format::Text, NOW);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&a).len(), 2);
    assert_eq!(lines(&b), [r#"traces_service_graph_request_total{client="x",server="y"} 1"#]);
    assert_eq!(lines(&c).len(), 0);
    assert!(!generator.is_active(&c));
    assert_eq!(generator.stats().len(), 2);
}

#[test]
fn wrong_settings_are_refused() {
    let check = |change: fn(&mut GeneratorOptions), expect: &str| {
        let mut options = options(|_| {});
        change(&mut options);
        assert_eq!(Generator::new(options).unwrap_err().to_string(), expect);
    };
    check(
        |o| o.defaults.span_metrics.histogram_buckets = vec![1.0, 1.0],
        "the buckets of span metrics are not ascending finite numbers",
    );
    check(
        |o| o.defaults.service_graphs.histogram_buckets = vec![f64::NAN],
        "the buckets of service graphs are not ascending finite numbers",
    );
    check(
        |o| o.defaults.trace_id_label = "trace-id".into(),
        "\"trace-id\" is no name of a label; letters, digits and _ are",
    );
    check(
        |o| o.collection_interval = Duration::ZERO,
        "the collection interval must be longer than nothing",
    );
    check(
        |o| drop(o.external_labels.insert("1".into(), "x".into())),
        "\"1\" is no name of a label; letters, digits and _ are",
    );
    check(
        |o| o.remote_write.push(RemoteWriteOptions::new("ftp://x/")),
        "\"ftp://x/\" cannot be written to: its scheme is neither http nor https",
    );
    check(
        |o| o.remote_write.push(RemoteWriteOptions::new("nowhere")),
        "\"nowhere\" cannot be written to: relative URL without a base",
    );
    check(
        |o| {
            let mut receiver = RemoteWriteOptions::new("http://x/");
            receiver.headers.push(("a b".into(), "c".into()));
            o.remote_write.push(receiver);
        },
        "\"a b\" is no header of a request",
    );
}

/// Accepts until it does not.
#[derive(Debug, Default)]
struct Accepting {
    left: AtomicU64,
}

impl Sink for Accepting {
    async fn take(&self, _: &mut Received) -> Result<Taken, Refused> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 { Ok(Taken::default()) } else { Err(Refused::Unavailable("full".into())) }
    }
}

#[tokio::test]
async fn only_what_was_accepted_is_counted() {
    let generator = Arc::new(generator(processors(&["span-metrics-count"])));
    let sink = Arc::new(Accepting { left: AtomicU64::new(3) });
    let tee = Tee::new(sink, Arc::clone(&generator));
    let traces = vec![trace(1, vec![of_service("a", vec![span("a", 1, 1)])])];
    let tenant = Some(TenantId::parse("ignored-without-tenancy").unwrap());
    let mut received = Received {
        tenant,
        traces,
        size_bytes: 1,
        protocol: "",
        skips_metrics: false,
        wanted_after: false,
    };
    let mut skipped = Received { skips_metrics: true, ..received.clone() };
    assert_eq!(tee.take(&mut received).await, Ok(Taken::default()));
    assert_eq!(tee.take(&mut skipped).await, Ok(Taken::default()));
    assert_eq!(tee.take(&mut received).await, Ok(Taken::default()));
    assert_eq!(tee.take(&mut received).await, Err(Refused::Unavailable("full".into())));
    assert!(samples(&generator, NOW, "")[0].ends_with(" 2"));
}

#[tokio::test]
async fn a_scrape_of_several_tenants_names_one() {
    let tenant = TenantId::parse("a").unwrap();
    let mut options = options(processors(&["span-metrics-count"]));
    options.multitenant = true;
    let generator = Generator::new(options).unwrap();
    generator.observe(&tenant, &[trace(1, vec![of_service("x", vec![span("a", 1, 1)])])], NOW);
    let ask = async |headers: &[(&'static str, &str)], query: Option<&str>| {
        let mut map = axum::http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let response = scrape(&generator, &map, query);
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap().contains("calls"))
    };
    assert_eq!(ask(&[("x-scope-orgid", "a")], None).await, (200, true));
    assert_eq!(ask(&[("x-scope-orgid", "")], Some("tenant=a")).await, (200, true));
    assert_eq!(ask(&[("x-scope-orgid", "b")], Some("tenant=a")).await, (200, false));
    assert_eq!(ask(&[], Some("tenant=..")).await, (400, false));
    assert_eq!(ask(&[], None).await, (401, false));
}

#[tokio::test]
async fn without_receivers_what_is_stale_is_forgotten_too() {
    static CLOCK: AtomicU64 = AtomicU64::new(NOW);
    let mut options = options(processors(&["span-metrics"]));
    options.collection_interval = Duration::from_millis(1);
    options.clock = || CLOCK.load(Ordering::Relaxed);
    let generator = Generator::new(options).unwrap();
    let traces = [trace(1, vec![of_service("a", vec![span("a", 1, 1)])])];
    generator.observe(&TenantId::single(), &traces, NOW);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let watch = async {
        assert_eq!(generator.stats().len(), 1);
        CLOCK.fetch_add(16 * 60 * SECOND, Ordering::Relaxed);
        while !generator.stats().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(stop);
    };
    let run = generator.run_remote_write(stopped, Duration::ZERO);
    let both = async { tokio::join!(run, watch) };
    assert!(tokio::time::timeout(Duration::from_secs(20), both).await.is_ok());
    // A tenant that comes again begins anew.
    generator.observe(&TenantId::single(), &traces, NOW);
    assert_eq!(generator.stats()[0].1.spans_received, 1);
}

/// A small generator of numbers, the same for ever.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn totals_are_those_of_a_naive_count() {
    for (seed, limit) in [(1, 0), (2, 60), (3, 200)] {
        let mut numbers = Numbers(seed);
        let generator = generator(|metrics| {
            processors(&["span-metrics", "service-graphs"])(metrics);
            metrics.limits.max_active_series = limit;
        });
        let mut spans_by_label: BTreeMap<(u64, i32), u32> = BTreeMap::new();
        let (mut spans, mut seconds, mut pairs) = (0_u32, 0.0, 0_u32);
        // Sides of calls, dealt out to requests at random.
        let mut requests: Vec<Vec<Trace>> = vec![Vec::new(); 40];
        for call in 0..2000_u64 {
            let id = TraceId::from_bytes(&(call / 3 + 1).to_be_bytes());
            let key = (call + 1).to_be_bytes().to_vec();
            let (from, to) = (numbers.below(4), numbers.below(4));
            let is_answered = numbers.below(10) > 0;
            pairs += u32::from(is_answered);
            for (service, kind) in [(from, 3), (to, 2)] {
                if kind == 2 && !is_answered {
                    continue;
                }
                let millis = numbers.below(3000);
                let mut side = span("call", kind, millis);
                if kind == 3 {
                    (side.span_id, side.parent_span_id) = (key.clone(), vec![9; 8]);
                } else {
                    side.parent_span_id = key.clone();
                }
                spans += 1;
                seconds += millis as f64 / 1000.0;
                *spans_by_label.entry((service, kind)).or_default() += 1;
                let spans = of_service(&format!("s{service}"), vec![side]);
                let request = usize::try_from(numbers.below(40)).unwrap();
                requests[request].push(Trace { id, resource_spans: vec![spans] });
            }
        }
        for (n, request) in requests.iter().enumerate() {
            generator.observe(&TenantId::single(), request, NOW + n as u64 * SECOND / 10);
        }
        let now = NOW + 30 * SECOND;
        let sum = |about: &str| {
            let values = samples(&generator, now, about);
            values
                .iter()
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum::<f64>()
        };
        assert_eq!(sum("calls_total"), f64::from(spans));
        assert_eq!(sum("spanmetrics_latency_count"), f64::from(spans));
        assert!((sum("spanmetrics_latency_sum") - seconds).abs() < 1e-6);
        assert_eq!(sum("graph_request_total"), f64::from(pairs));
        assert_eq!(sum("client_seconds_count"), f64::from(pairs));
        let stats = generator.stats()[0].1;
        let pairs = u64::from(pairs);
        assert_eq!((stats.edges_completed, stats.edges_expired), (pairs, 2000 - pairs));
        let lines = samples(&generator, now, "").len();
        let overflow = samples(&generator, now, "metric_overflow").len();
        if limit == 0 {
            assert_eq!(overflow, 0);
            for ((service, kind), count) in &spans_by_label {
                let kind = if *kind == 3 { "CLIENT" } else { "SERVER" };
                let about = format!(
                    r#"calls_total{{service="s{service}",span_name="call",span_kind="SPAN_KIND_{kind}""#
                );
                assert_eq!(sum(&about), f64::from(*count), "{about}");
            }
        } else {
            assert!(overflow > 0 && lines - overflow <= limit, "{lines} less {overflow}");
            assert!(stats.active_series <= limit);
        }
    }
}
