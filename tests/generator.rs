//! Generated metrics in a real Prometheus, scraped from us and sent to it: its answers are held
//! against a count of the spans that were sent over OTLP.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use traceql_blocks::model::{
    AttributeValue, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId,
};
use traceql_blocks::write::otlp;
use traceql_server::generator::{
    self, Generator, GeneratorOptions, Histograms, RemoteWriteOptions, Tee,
};
use traceql_server::ingest::{self, Received, Refused, Sink, Taken};

use crate::support::binary;
use crate::support::http::encoded;
use crate::support::ingesting::Folders;
use crate::support::servers::Server;

/// How long a Prometheus has to show what it is to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accepts everything, keeps nothing.
#[derive(Debug)]
struct Nowhere;

impl Sink for Nowhere {
    async fn take(&self, _: &mut Received) -> Result<Taken, Refused> {
        Ok(Taken::default())
    }
}

#[expect(clippy::disallowed_methods, reason = "a Prometheus has no clock but the wall's")]
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}

fn of_service(name: &str, span: Span) -> ResourceSpans {
    let value = AttributeValue::String(name.to_owned());
    let attributes = vec![KeyValue { key: "service.name".to_owned(), value }];
    ResourceSpans {
        resource: Resource { attributes, dropped_attributes_count: 0 },
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
    }
}

/// Calls from `web` to `shop`, the n-th taking n times 10 ms, every fifth failing.
fn traces(calls: u64) -> Vec<Trace> {
    let now = now();
    (1..=calls)
        .map(|n| {
            let span = |id: u64, parent: Vec<u8>, kind| Span {
                span_id: id.to_be_bytes().to_vec(),
                parent_span_id: parent,
                name: "buy".to_owned(),
                kind,
                status_code: if n % 5 == 0 { 2 } else { 0 },
                start_unix_nanos: now - n * 10_000_000,
                end_unix_nanos: now,
                ..Span::default()
            };
            let client = span(2 * n, Vec::new(), 3);
            let server = span(2 * n + 1, client.span_id.clone(), 2);
            Trace {
                id: TraceId::from_bytes(&(u128::from(n) << 64 | 7).to_be_bytes()),
                resource_spans: vec![of_service("web", client), of_service("shop", server)],
            }
        })
        .collect()
}

/// A Prometheus with that configuration, which takes remote writes, exemplars and native
/// histograms, and keeps its data in the folder.
fn prometheus(folder: &Path, configuration: &str) -> Option<Server> {
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, configuration).expect("the folder can be written");
    let (file, data) = (format!("--config.file={}", file.display()), folder.join("data"));
    let arguments = [
        file.as_str(),
        &format!("--storage.tsdb.path={}", data.display()),
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage,native-histograms",
    ];
    Server::start("prometheus", "prometheus", &arguments)
}

/// One request that closes its connection; status and body.
fn exchange(address: &str, request: &str, body: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    // In 1.0, no answer comes in pieces.
    let length = body.len();
    let head = format!("{request} HTTP/1.0\r\nContent-Type: application/x-protobuf\r\n");
    stream
        .write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())
        .and_then(|()| stream.write_all(body))
        .expect("the request is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer of text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned())
}

/// A Prometheus that is asked.
struct Asked<'a>(&'a Server);

impl Asked<'_> {
    fn get(&self, path: &str) -> Json {
        let begun = Instant::now();
        loop {
            let (status, body) = exchange(&self.0.address, &format!("GET {path}"), b"");
            // It listens before it is ready.
            if status == "503" && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            assert_eq!(status, "200", "{path}: {body}");
            return serde_json::from_str(&body).expect("JSON");
        }
    }

    /// Values by the labels that are asked for, of an instant query.
    fn query(&self, query: &str, labels: &[&str]) -> BTreeMap<String, f64> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(query)));
        let result = answer["data"]["result"].as_array().expect("a list of series").iter();
        result
            .map(|series| {
                let metric = &series["metric"];
                let values = labels.iter().map(|label| metric[label].as_str().unwrap_or("-"));
                let value = series["value"][1].as_str().expect("a number as text");
                (values.collect::<Vec<_>>().join(" "), value.parse().expect("a number"))
            })
            .collect()
    }

    /// Asks until the answer is that.
    fn wait_for(&self, query: &str, labels: &[&str], expect: &[(&str, f64)]) {
        let expect: BTreeMap<_, _> = expect.iter().map(|(l, v)| ((*l).to_owned(), *v)).collect();
        let begun = Instant::now();
        loop {
            let found = self.query(query, labels);
            let is_near = |(label, value): (&String, &f64)| {
                expect
                    .get(label)
                    .is_some_and(|expect| (expect - value).abs() < 1e-6 * expect.abs().max(1.0))
            };
            if found.len() == expect.len() && found.iter().all(is_near) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{query}: {found:?} is not {expect:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Receivers of OTLP and the path for scrapes, before a generator, on one address.
fn serve(listener: std::net::TcpListener, generator: Arc<Generator>, stop: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener).expect("a socket");
        let tee = Arc::new(Tee::new(Arc::new(Nowhere), Arc::clone(&generator)));
        let router = ingest::router(
            ingest::Protocol::Otlp,
            tee,
            ingest::Room::new(ingest::Limits::default()),
        )
        .merge(generator::router(Arc::clone(&generator)));
        let stopped = async { drop(stop.await) };
        tokio::select! {
            served = axum::serve(listener, router) => served.expect("connections are served"),
            () = generator.run_remote_write(stopped, Duration::from_secs(10)) => {}
        }
    });
}

#[test]
fn a_prometheus_gets_the_same_by_scraping_and_by_remote_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let own: SocketAddr = listener.local_addr().expect("an address");
    let configuration = format!(
        "global: {{scrape_interval: 500ms}}\n\
         scrape_configs:\n\
         - job_name: scraped\n  \
           metrics_path: {}\n  \
           static_configs: [{{targets: ['{own}']}}]\n",
        generator::SCRAPE_PATH
    );
    let Some(prometheus) = prometheus(folder.path(), &configuration) else { return };

    // A Prometheus that has just started may ask to come again, but refuses nothing.
    let mut options = GeneratorOptions::new(now, |line| {
        assert!(line.contains("is repeated") || line.contains("works again"), "{line}");
    });
    for name in ["span-metrics", "service-graphs"] {
        options.defaults.processors.enable(name).expect("it is one");
    }
    options.defaults.histograms = Histograms::Both;
    options.collection_interval = Duration::from_millis(500);
    options.instance = "here".to_owned();
    options.external_labels.insert("job".to_owned(), "sent".to_owned());
    let url = format!("http://{}/api/v1/write", prometheus.address);
    options.remote_write.push(RemoteWriteOptions::new(url));
    let generator = Arc::new(Generator::new(options).expect("the options are right"));
    let (stop, stopped) = oneshot::channel();
    let server = std::thread::spawn(move || serve(listener, generator, stopped));

    // In two requests, the first of which is seen before the second is sent.
    let own = own.to_string();
    let traces = traces(30);
    let send = |traces: &[Trace]| {
        let body = otlp::to_protobuf(traces);
        assert_eq!(exchange(&own, "POST /v1/traces", &body).0, "200");
    };
    let asked = Asked(&prometheus);
    send(&traces[..10]);
    let calls = "traces_spanmetrics_calls_total";
    let by = ["job", "service", "span_kind", "status_code"];
    asked.wait_for(
        &format!("sum by (job) ({calls})"),
        &["job"],
        &[("scraped", 20.0), ("sent", 20.0)],
    );
    send(&traces[10..]);
    let mut expect = Vec::new();
    for job in ["scraped", "sent"] {
        for side in ["shop SPAN_KIND_SERVER", "web SPAN_KIND_CLIENT"] {
            expect.push((format!("{job} {side} STATUS_CODE_ERROR"), 6.0));
            expect.push((format!("{job} {side} STATUS_CODE_UNSET"), 24.0));
        }
    }
    let expect: Vec<_> = expect.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
    asked.wait_for(calls, &by, &expect);

    // The n-th call takes n times 10 ms, so 25 take no longer than 0.256 s, and 20 no longer than 0.2.
    let both = |value| [("scraped", value), ("sent", value)];
    for (query, value) in [
        ("sum by (job) (traces_spanmetrics_latency_count)", 60.0),
        ("sum by (job) (traces_spanmetrics_latency_sum)", 9.3),
        (r#"sum by (job) (traces_spanmetrics_latency_bucket{le="0.256"})"#, 50.0),
        ("sum by (job) (traces_service_graph_request_total)", 30.0),
        ("sum by (job) (traces_service_graph_request_failed_total)", 6.0),
        (r#"sum by (job) (traces_service_graph_request_server_seconds_bucket{le="0.2"})"#, 20.0),
        (
            r#"count by (job) (traces_service_graph_request_client_seconds_bucket{client="web",server="shop"})"#,
            9.0,
        ),
    ] {
        asked.wait_for(query, &["job"], &both(value));
    }
    let of_instance = format!(r#"count by (__metrics_gen_instance) ({calls}{{job="sent"}})"#);
    asked.wait_for(&of_instance, &["__metrics_gen_instance"], &[("here", 4.0)]);
    // Only remote write says that a series began at 0.
    let began = format!(r#"min by (job) (min_over_time({calls}[5m]))"#);
    asked.wait_for(&began, &["job"], &[("scraped", 2.0), ("sent", 0.0)]);
    // Native histograms are sent beside the buckets.
    let native = "sum(histogram_count(traces_spanmetrics_latency)) by (job)";
    asked.wait_for(native, &["job"], &[("sent", 60.0)]);
    let median = r#"histogram_quantile(0.5, sum(traces_spanmetrics_latency{job="sent"}))"#;
    let median = asked.query(median, &[])[""];
    assert!((0.14..0.165).contains(&median), "half of the calls take up to 150 ms, not {median}");

    // Exemplars came either way; the trace that an id names is the one whose duration is the value.
    let seconds = now() / 1_000_000_000;
    let (start, end) = (seconds - 300, seconds + 10);
    let exemplars = asked.get(&format!(
        "/api/v1/query_exemplars?query=traces_spanmetrics_latency_bucket&start={start}&end={end}"
    ));
    for job in ["scraped", "sent"] {
        let data = exemplars["data"].as_array().expect("a list").iter();
        let found: Vec<&Json> = data
            .filter(|series| series["seriesLabels"]["job"] == job)
            .flat_map(|series| series["exemplars"].as_array().expect("a list"))
            .collect();
        assert!(found.len() >= 8, "{job}: {exemplars}");
        for exemplar in found {
            let id = exemplar["labels"]["traceID"].as_str().expect("an id");
            let id = u128::from_str_radix(id, 16).expect("hexadecimal");
            let value: f64 = exemplar["value"].as_str().expect("text").parse().expect("a number");
            let calls = u32::try_from(id >> 64).expect("one of the traces");
            assert!((value - f64::from(calls) / 100.0).abs() < 1e-9, "{exemplar}");
        }
    }
    stop.send(()).expect("the server runs");
    server.join().expect("the server ends well");
}

#[test]
fn the_server_shows_what_it_takes_in() {
    let folders = Folders::new();
    let names = "span-metrics-count,service-graphs-request";
    let ingesting = folders.start(&["--metrics-processors", names]);
    assert_eq!(ingesting.send_protobuf(None, &otlp::to_protobuf(&traces(5))), Some(200));
    let answer = ingesting.server.ask("GET", generator::SCRAPE_PATH, &[]);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let calls = |service: &str, kind: &str, status: &str, value: u32| {
        format!(
            "traces_spanmetrics_calls_total{{service=\"{service}\",span_name=\"buy\",\
             span_kind=\"SPAN_KIND_{kind}\",status_code=\"STATUS_CODE_{status}\"}} {value}"
        )
    };
    let edges = |name: &str, value: u32| {
        format!("traces_service_graph_request_{name}{{client=\"web\",server=\"shop\"}} {value}")
    };
    assert_eq!(
        lines,
        [
            calls("web", "CLIENT", "UNSET", 4),
            calls("shop", "SERVER", "UNSET", 4),
            calls("web", "CLIENT", "ERROR", 1),
            calls("shop", "SERVER", "ERROR", 1),
            edges("total", 5),
            edges("failed_total", 1),
        ]
    );
}

#[test]
fn settings_that_nothing_can_be_made_with_are_refused() {
    let folders = Folders::new();
    let (bucket, wal) = (folders.bucket(), folders.wal());
    let serve = ["serve", "--otlp-http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let check = |more: &[&str], expect: &str| {
        let mut command = binary::traceql(&serve);
        command.arg("--source").arg(&bucket).arg("--wal").arg(&wal).args(more);
        let output = binary::run_with_input(&mut command, b"");
        let told = binary::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {told}");
        assert!(told.contains(expect), "{more:?}: {told}");
    };
    let on = ["--metrics-processors", "span-metrics"];
    let with = |more: &[&'static str]| [&on[..], more].concat();
    check(&["--metrics-processors", "spans"], "\"spans\" is no processor; there are span-metrics,");
    check(&["--remote-write", "http://x/"], "--metrics-processors");
    check(&with(&["--remote-write", "x"]), "\"x\" cannot be written to: relative URL");
    check(&with(&["--span-buckets", "2,1"]), "the buckets of span metrics are not ascending");
    let labelled = ["--remote-write", "http://x/", "--external-label", "cluster"];
    check(&with(&labelled), "\"cluster\" is no name=value");
    check(&with(&["--metrics-slack", "soon"]), "\"soon\" is no duration");
}
