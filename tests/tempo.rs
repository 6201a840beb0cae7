//! Blocks of ours in front of a real Tempo: it searches them, finds traces by id and compacts them, and
//! what it makes of them we read and verify.
//!
//! `TEMPO_BIN` names the binary of a Tempo 3.x. Without it the test says so on stderr and does nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;

use crate::golden::{engine_agrees, metrics_engine_agrees};
use crate::ingest::dealt_out;
use crate::support::binary::{run, stderr, stdout};
use crate::support::golden;
use crate::support::http::{RANGE, encoded, spans};
use crate::support::ingesting::{Folders, traces_of};

/// How long the server may take to start, and to compact a megabyte.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Tempo over a bucket; it ends with the test.
struct Tempo {
    child: Child,
    address: String,
    /// Takes OTLP over HTTP.
    otlp: String,
}

impl Drop for Tempo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Tempo {
    /// Starts the server. Its own folder takes what it writes besides blocks.
    fn start(bucket: &Path, own: &Path, compacts: bool) -> Option<Self> {
        let Some((_, binary)) = std::env::vars().find(|(name, _)| name == "TEMPO_BIN") else {
            // Not by `eprintln!`, whose text the test runner swallows when a test passes.
            let said = writeln!(
                std::io::stderr(),
                "SKIPPED: TEMPO_BIN names no Tempo, so nothing was tested against it"
            );
            said.expect("stderr takes a line");
            return None;
        };
        // Found free now; whoever takes one in between fails the test with Tempo's own words.
        let sockets: [TcpListener; 5] =
            std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, grpc, gossip, otlp_grpc, otlp_http] =
            sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
        drop(sockets);
        let (bucket, own_path) = (bucket.display(), own.display());
        let config = format!(
            "multitenancy_enabled: true
server: {{http_listen_port: {http}, grpc_listen_port: {grpc}, log_level: warn}}
memberlist: {{bind_port: {gossip}}}
distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{otlp_grpc}'}}, http: {{endpoint: '127.0.0.1:{otlp_http}'}}}}}}}}}}
live_store:
  wal: {{path: {own_path}/live, ingestion_time_range_slack: 87600h}}
  shutdown_marker_dir: {own_path}/marker
  max_trace_idle: 1s
  max_trace_live: 2s
  max_block_duration: 3s
  flush_check_period: 1s
storage: {{trace: {{backend: local, local: {{path: {bucket}}}, wal: {{path: {own_path}/wal}}, blocklist_poll: 3s, block: {{version: vParquet5}}}}}}
query_frontend: {{search: {{max_duration: 0, max_spans_per_span_set: 100000}}}}
backend_scheduler:
  local_work_path: {own_path}/work
  provider: {{compaction: {{measure_interval: 1s, min_cycle_interval: 1s, max_input_blocks: 10}}}}
backend_worker:
  backend_scheduler_addr: 127.0.0.1:{grpc}
  ring: {{kvstore: {{store: inmemory}}, wait_stability_min_duration: 1s, wait_stability_max_duration: 2s}}
overrides: {{defaults: {{compaction: {{block_retention: 876000h, compaction_disabled: {}}}}}}}
usage_report: {{reporting_enabled: false}}
",
            !compacts
        );
        let file = own.join("tempo.yaml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(own.join("tempo.log")).unwrap();
        let child = Command::new(binary)
            .arg(format!("-config.file={}", file.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = |port: u16| format!("127.0.0.1:{port}");
        let tempo = Self { child, address: address(http), otlp: address(otlp_http) };
        wait_until(own, "it is ready", || {
            tempo.get("shop5", "/ready").is_some_and(|(status, _)| status == 200)
        });
        Some(tempo)
    }

    /// Status and body; nothing if it does not answer.
    fn get(&self, tenant: &str, path: &str) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nX-Scope-OrgID: {tenant}\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let status = std::str::from_utf8(&answer[..head]).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer[head + 4..].to_vec()))
    }

    /// Sends traces; whether they are taken.
    fn send(&self, tenant: &str, traces: &[Trace]) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.otlp) else { return false };
        let body = otlp::to_protobuf(traces);
        let head = format!(
            "POST /v1/traces HTTP/1.0\r\nX-Scope-OrgID: {tenant}\r\nContent-Type: \
             application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
    }

    /// The JSON of an answer.
    fn json(&self, tenant: &str, path: &str) -> Json {
        let (status, body) = self.get(tenant, path).unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Ids of the traces that a search finds.
    fn search(&self, tenant: &str, query: &str) -> BTreeSet<String> {
        ids(&self.json(tenant, &search_for(query)))
    }
}

fn search_for(query: &str) -> String {
    format!("/api/search?q={}&limit=10000&{RANGE}", encoded(query))
}

/// Ids of the traces of a search's answer, as long as they are whole.
fn ids(answer: &Json) -> BTreeSet<String> {
    let traces = answer["traces"].as_array().into_iter().flatten();
    traces.map(|trace| format!("{:0>32}", trace["traceID"].as_str().unwrap())).collect()
}

/// How many spans a metrics query counts.
fn counted(answer: &Json) -> f64 {
    let series = answer["series"].as_array().into_iter().flatten();
    let samples = series.flat_map(|series| series["samples"].as_array().into_iter().flatten());
    samples.filter_map(|sample| sample["value"].as_f64()).sum()
}

/// The values of a tag.
fn values(answer: &Json) -> BTreeSet<String> {
    answer["tagValues"].as_array().into_iter().flatten().map(|v| v["value"].to_string()).collect()
}

/// Waits for something; what the server said is shown if it does not come.
#[track_caller]
fn wait_until(own: &Path, what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        let log = || fs::read_to_string(own.join("tempo.log")).unwrap_or_default();
        assert!(started.elapsed() < PATIENCE, "Tempo does not come so far that {what}: {}", log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[track_caller]
fn ours(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Ids of a tenant's live blocks.
fn live(bucket: &Path, tenant: &str) -> Vec<String> {
    let blocks = fs::read_dir(bucket.join(tenant)).unwrap().map(|entry| entry.unwrap().path());
    let live = blocks.filter(|block| block.join("meta.json").exists());
    live.map(|block| block.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// A bucket with Tempo's blocks of the shop, with ours of the same traces, five of each format, with
/// ours after our compaction, and with those that a server of ours made of traces it received.
fn bucket() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (bucket, shop) = (folder.path().to_str().unwrap(), golden::testdata("blocks/shop"));
    for version in ["4", "5"] {
        let tenant = format!("shop{version}");
        golden::copy_folder(&shop.join(&tenant), &folder.path().join(&tenant));
        for ending in ["", "-compacted"] {
            ours(&[
                "convert",
                "--source",
                shop.to_str().unwrap(),
                "--tenant",
                &tenant,
                "--out",
                bucket,
                "--out-tenant",
                &format!("ours{version}{ending}"),
                "--format",
                &format!("vparquet{version}"),
                "--max-block-size",
                "300kB",
            ]);
        }
        let (folders, fresh) = (Folders::new(), format!("fresh{version}"));
        let format = format!("vparquet{version}");
        let server = folders.start(&["--multitenant", "--block-format", &format]);
        for part in traces_of(&shop, &tenant).chunks(130) {
            let status = server.send_protobuf(Some(&fresh), &otlp::to_protobuf(part));
            assert_eq!(status, Some(200));
            assert_eq!(server.flush().status, 200);
        }
        golden::copy_folder(&folders.bucket().join(&fresh), &folder.path().join(&fresh));
        let tenant = format!("ours{version}-compacted");
        ours(&["compact", "--source", bucket, "-t", &tenant, "--once", "--max-blocks", "10"]);
        assert_eq!(live(folder.path(), &tenant).len(), 1);
    }
    folder
}

/// The values of the services' names.
const SERVICES: &str = "/api/v2/search/tag/resource.service.name/values?\
                        start=1767225600&end=1767229500&limit=1000";

/// A metrics query that counts spans.
fn count_of(spans: &str) -> String {
    let query = encoded(&format!("{spans} | count_over_time()"));
    format!("/api/metrics/query_range?q={query}&{RANGE}&step=300")
}

#[test]
fn tempo_answers_of_our_blocks_as_of_its_own() {
    let (bucket, own) = (bucket(), tempfile::tempdir().unwrap());
    let Some(tempo) = Tempo::start(bucket.path(), own.path(), false) else { return };
    for version in ["4", "5"] {
        let theirs = format!("shop{version}");
        wait_until(own.path(), "it knows its own blocks", || {
            tempo.search(&theirs, "{ }").len() == 500
        });
        for ours in ["ours", "fresh", "compacted"] {
            let ours = match ours {
                "compacted" => format!("ours{version}-compacted"),
                ours => format!("{ours}{version}"),
            };
            for query in [
                "{ }",
                "{ status = error }",
                "{ resource.service.name = \"payment\" && duration > 10ms }",
                "{ span.http.response.status_code >= 500 || event.exception.type != nil }",
                "{ resource.service.name = \"checkout\" } >> { status = error }",
                "{ nestedSetParent < 0 && kind = server }",
                "{ } | by(resource.service.name) | count() > 3",
            ] {
                let (expected, given) = (tempo.search(&theirs, query), tempo.search(&ours, query));
                assert!(!expected.is_empty(), "{query}");
                assert_eq!(expected, given, "{ours} {query}");
            }
            let id = "/api/v2/traces/29a05474238c49cf1b5e17b72f2388dc";
            let [expected, given] = [&theirs, &ours].map(|tenant| tempo.get(tenant, id).unwrap());
            assert_eq!((expected.0, given.0), (200, 200), "{ours}");
            let spans = |body: &[u8]| String::from_utf8_lossy(body).matches("\"spanId\"").count();
            assert_eq!(spans(&expected.1), spans(&given.1), "{ours}");
            assert!(spans(&given.1) > 0);
            for (target, of) in [
                (count_of("{ }"), (|answer| counted(answer).to_string()) as fn(&Json) -> String),
                (count_of("{ status = error }"), |answer| counted(answer).to_string()),
                (SERVICES.to_owned(), |answer| format!("{:?}", values(answer))),
            ] {
                let [expected, given] =
                    [&theirs, &ours].map(|tenant| of(&tempo.json(tenant, &target)));
                assert_eq!(expected, given, "{ours} {target}");
                assert!(expected.len() > 2, "{target}: {expected}");
            }
        }
    }
}

#[tokio::test]
async fn tempo_compacts_our_blocks_and_we_read_what_it_makes() {
    let (bucket, own) = (bucket(), tempfile::tempdir().unwrap());
    let Some(tempo) = Tempo::start(bucket.path(), own.path(), true) else { return };
    let tenants = ["ours4", "ours5", "shop4", "shop5"];
    let source = bucket.path().to_str().unwrap();
    // By the index that Tempo keeps, which comes after the blocks.
    let listed = |tenant| ours(&["blocks", "list", "--source", source, "-t", tenant]);
    wait_until(own.path(), "each tenant has one block", || {
        tenants.iter().all(|tenant| {
            live(bucket.path(), tenant).len() == 1 && listed(tenant).lines().count() == 1
        })
    });
    drop(tempo);
    for tenant in tenants {
        let verified = ours(&["blocks", "verify", "--source", source, "-t", tenant, "-o", "table"]);
        assert!(verified.contains("500 traces, 6,764 spans"), "{verified}");
        engine_agrees(bucket.path(), tenant).await;
        metrics_engine_agrees(bucket.path(), tenant).await;
    }
    // Its inputs are marked in its way, by renaming, and go in ours.
    let before = fs::read_dir(bucket.path().join("ours5")).unwrap().count();
    ours(&["compact", "--source", source, "-t", "ours5", "--once", "--grace", "0"]);
    assert!(fs::read_dir(bucket.path().join("ours5")).unwrap().count() < before);
    engine_agrees(bucket.path(), "ours5").await;
}

/// Both take traces in at once and write into one bucket, of the same tenant. Each answers for what is
/// in it, the parts of traces that were sent to both put together; then one of them compacts it.
#[test]
fn tempo_and_we_take_traces_in_beside_each_other() {
    const TENANT: &str = "shop5";
    let traces = traces_of(&golden::testdata("blocks/shop"), TENANT);
    let n_spans: usize = traces.iter().map(Trace::span_count).sum();
    for we_compact in [true, false] {
        let (folders, own) = (Folders::new(), tempfile::tempdir().unwrap());
        let bucket = folders.bucket();
        fs::create_dir_all(&bucket).unwrap();
        let Some(tempo) = Tempo::start(&bucket, own.path(), false) else { return };
        let quick = ["--trace-idle", "500ms", "--trace-age", "1s", "--block-age", "500ms"];
        let mut ours = folders.start(&[&quick[..], &["--multitenant", "--poll", "1s"]].concat());
        // A third of the traces goes to either, of the last third each span to one of the two.
        for traces in traces.chunks(100) {
            let whole = |rest: usize| {
                let of_rest = traces.iter().enumerate().filter(move |(n, _)| n % 3 == rest);
                of_rest.map(|(_, trace)| trace.clone()).collect::<Vec<_>>()
            };
            let mut parts = dealt_out(&whole(2), 2).into_iter();
            let (mut for_them, mut for_us) = (parts.next().unwrap(), parts.next().unwrap());
            for_them.extend(whole(0));
            for_us.extend(whole(1));
            assert!(tempo.send(TENANT, &for_them));
            let status = ours.send_protobuf(Some(TENANT), &otlp::to_protobuf(&for_us));
            assert_eq!(status, Some(200));
            let expected: BTreeSet<String> = for_us.iter().map(|t| t.id.to_string()).collect();
            let found = ids(&ours.server.json(&search_for("{ }")));
            assert!(found.is_superset(&expected), "what was sent to us is seen at once");
            std::thread::sleep(Duration::from_millis(1500));
        }
        let all = count_of("{ }");
        #[expect(clippy::cast_precision_loss, reason = "the shop has some thousand spans")]
        let n_spans = n_spans as f64;
        wait_until(own.path(), "we see all that it took in", || {
            counted(&ours.server.json(&all)) == n_spans
        });
        wait_until(own.path(), "it sees all that we took in", || {
            counted(&tempo.json(TENANT, &all)) == n_spans
        });
        let agree = |tempo: &Tempo, ours: &crate::support::http::Server, when: &str| {
            for query in ["{ }", "{ status = error }", "{ kind = server && duration > 20ms }"] {
                let (theirs, given) =
                    (tempo.search(TENANT, query), ids(&ours.json(&search_for(query))));
                assert!(theirs.len() > 20, "{when} {query}: {theirs:?}");
                assert_eq!(theirs, given, "{when} {query}");
            }
            let [theirs, given] =
                [tempo.json(TENANT, SERVICES), ours.json(SERVICES)].map(|json| values(&json));
            assert_eq!(theirs, given, "{when}");
            for trace in traces.iter().step_by(50) {
                let path = format!("/api/v2/traces/{}", trace.id);
                for json in [tempo.json(TENANT, &path), ours.json(&path)] {
                    let n = spans(&json["trace"], "resourceSpans").len();
                    assert_eq!(n, trace.span_count(), "{when} {path}");
                }
            }
        };
        agree(&tempo, &ours.server, "side by side");
        assert!(ours.server.terminate().success());
        let before = live(&bucket, TENANT).len();
        assert!(before >= 4, "{before} blocks");
        let source = bucket.to_str().unwrap();
        drop(tempo);
        let tempo = match we_compact {
            true => {
                let widely = ["--window", "24h", "--max-blocks", "100"];
                let once = ["compact", "--source", source, "-t", TENANT, "--once", "--alone"];
                ours_compact_to_one(&bucket, &[&once[..], &widely].concat());
                Tempo::start(&bucket, own.path(), false).unwrap()
            }
            false => Tempo::start(&bucket, own.path(), true).unwrap(),
        };
        wait_until(own.path(), "there is one block", || live(&bucket, TENANT).len() == 1);
        wait_until(own.path(), "it knows it", || tempo.search(TENANT, "{ }").len() == 500);
        ours = folders.start(&["--multitenant"]);
        agree(&tempo, &ours.server, "compacted");
        drop((tempo, ours));
        verify_whole(&bucket);
    }
}

/// Nothing of the shop is missing, and nothing is there twice.
fn verify_whole(bucket: &Path) {
    let source = bucket.to_str().unwrap();
    let verified = ours(&["blocks", "verify", "--source", source, "-t", "shop5", "-o", "table"]);
    assert!(verified.contains("500 traces, 6,764 spans"), "{verified}");
}

/// Rounds of compaction until one block is left; levels keep some for the next.
fn ours_compact_to_one(bucket: &Path, arguments: &[&str]) {
    for _ in 0..5 {
        ours(arguments);
        if live(bucket, "shop5").len() == 1 {
            return;
        }
    }
    panic!("{:?} are left", live(bucket, "shop5"));
}
