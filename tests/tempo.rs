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

use crate::golden::{engine_agrees, metrics_engine_agrees};
use crate::support::binary::{run, stderr, stdout};
use crate::support::golden;
use crate::support::http::RANGE;

/// How long the server may take to start, and to compact a megabyte.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Tempo over a bucket; it ends with the test.
struct Tempo {
    child: Child,
    address: String,
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
        let sockets: [TcpListener; 4] =
            std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, grpc, gossip, otlp] =
            sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
        drop(sockets);
        let (bucket, own_path) = (bucket.display(), own.display());
        let config = format!(
            "multitenancy_enabled: true
server: {{http_listen_port: {http}, grpc_listen_port: {grpc}, log_level: warn}}
memberlist: {{bind_port: {gossip}}}
distributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{otlp}'}}}}}}}}}}
storage: {{trace: {{backend: local, local: {{path: {bucket}}}, wal: {{path: {own_path}/wal}}, blocklist_poll: 5s}}}}
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
        let tempo = Self { child, address: format!("127.0.0.1:{http}") };
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

    /// Ids of the traces that a search finds.
    fn search(&self, tenant: &str, query: &str) -> BTreeSet<String> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/search?q={query}&limit=10000&{RANGE}");
        let (status, body) = self.get(tenant, &path).unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{text}");
        let answer: Json = serde_json::from_slice(&body).unwrap();
        let traces = answer["traces"].as_array().cloned().unwrap_or_default();
        traces.iter().map(|trace| trace["traceID"].as_str().unwrap().to_owned()).collect()
    }
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

/// A bucket with Tempo's blocks of the shop, with ours of the same traces, five of each format, and
/// with ours after our compaction.
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
        let tenant = format!("ours{version}-compacted");
        ours(&["compact", "--source", bucket, "-t", &tenant, "--once", "--max-blocks", "10"]);
        assert_eq!(live(folder.path(), &tenant).len(), 1);
    }
    folder
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
        for ours in [format!("ours{version}"), format!("ours{version}-compacted")] {
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
