//! The real binary taking traces in, in folders of a test, and spans to send to it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_engine::{Engine, EngineConfig, QueryOptions};
use traceql_language::Dialect;

use super::http::{Answer, Server};

/// Folders of a server: its blocks and its log.
#[derive(Debug)]
pub(crate) struct Folders(pub(crate) tempfile::TempDir);

/// A server that takes traces in.
#[derive(Debug)]
pub(crate) struct Ingesting {
    pub(crate) server: Server,
    pub(crate) grpc: String,
    http: String,
}

impl Folders {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.0.path().join("bucket")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.0.path().join("wal")
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn start(&self, more: &[&str]) -> Ingesting {
        let ingesting = self.start_at_once(more);
        for _ in 0..500 {
            if ingesting.server.get("/ready").status == 200 {
                return ingesting;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not become ready");
    }

    /// Starts a server.
    pub(crate) fn start_at_once(&self, more: &[&str]) -> Ingesting {
        let (bucket, wal) = (self.bucket(), self.wal());
        let folders = ["--source", text(&bucket), "--wal", text(&wal)];
        let listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"];
        // Spans of tests are of long ago or of just now.
        let newest = ["--metrics-end-cutoff", "0"];
        let newest = if more.contains(&"ingest") { &[][..] } else { &newest };
        let mut server = Server::start_with(&[&folders[..], &listen, newest, more].concat());
        let mut address = || {
            let mut line = String::new();
            server.stderr.read_line(&mut line).expect("a line");
            let at = line.find("127.0.0.1:").unwrap_or_else(|| panic!("no address in {line:?}"));
            line[at..].trim().to_owned()
        };
        let (grpc, http) = (address(), address());
        Ingesting { server, grpc, http }
    }

    /// How often each span, by name, lies in the blocks of a tenant: read one by one, so that copies
    /// are not combined. A folder of a block that has no `meta.json` is a block half visible.
    pub(crate) fn stored(&self, tenant: &str) -> BTreeMap<String, usize> {
        let mut stored = BTreeMap::new();
        let engine = Engine::new(EngineConfig::default());
        let query = traceql_language::compile("{ } | select(name)", Dialect::Default)
            .expect("folders and queries of a test are sound");
        let options = QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() };
        for block in self.stored_blocks(tenant) {
            assert!(block.join("meta.json").exists(), "{} is half a block", block.display());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("folders and queries of a test are sound");
            let found = runtime.block_on(async {
                let source = Source::open(text(&block), &SourceOptions::default())
                    .await
                    .expect("folders and queries of a test are sound");
                let tenants =
                    [source.tenant(None).await.expect("folders and queries of a test are sound")];
                engine
                    .search(&source, &tenants, &query, &options)
                    .await
                    .expect("folders and queries of a test are sound")
            });
            for trace in found.answer.traces {
                for span in trace.spansets.into_iter().flat_map(|set| set.spans) {
                    *stored.entry(span.name.unwrap_or_default()).or_default() += 1;
                }
            }
        }
        stored
    }

    /// Folders of blocks of a tenant.
    pub(crate) fn stored_blocks(&self, tenant: &str) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.bucket().join(tenant));
        folders
            .into_iter()
            .flatten()
            .map(|block| block.expect("folders and queries of a test are sound").path())
            .collect()
    }

    /// Segments of the log.
    pub(crate) fn segments(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.wal()).expect("folders and queries of a test are sound");
        let names = files.map(|file| {
            file.expect("folders and queries of a test are sound")
                .file_name()
                .into_string()
                .expect("folders and queries of a test are sound")
        });
        names.filter(|name| name.ends_with(".wal") || name.ends_with(".damaged")).collect()
    }
}

impl Ingesting {
    /// Sends spans over HTTP as JSON; the status of the answer, and the answer. `None` if the server
    /// is not there any longer.
    pub(crate) fn send(&self, tenant: Option<&str>, body: &Json) -> Option<(u16, Json)> {
        send_to(
            &self.http,
            tenant,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
        .map(|(status, body)| (status, serde_json::from_slice(&body).unwrap_or(Json::Null)))
    }

    /// Sends a protobuf message over HTTP; the status of the answer.
    pub(crate) fn send_protobuf(&self, tenant: Option<&str>, body: &[u8]) -> Option<u16> {
        let kind = [("Content-Type", "application/x-protobuf")];
        send_to(&self.http, tenant, &kind, body).map(|(status, _)| status)
    }

    /// The address of OTLP over HTTP.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// Writes everything into blocks.
    pub(crate) fn flush(&self) -> Answer {
        self.server.ask("POST", "/flush", &[])
    }

    /// Names of the spans that a search finds, as often as it finds them.
    pub(crate) fn found(&self, tenant: &str) -> BTreeMap<String, usize> {
        let query = super::http::encoded("{ } | select(name)");
        let target =
            format!("/api/search?q={query}&limit=1000000&spss=1000000&start=1&end=4000000000");
        let answer = self.server.ask("GET", &target, &[("X-Scope-OrgID", tenant)]).json(&target);
        let mut found = BTreeMap::new();
        for trace in answer["traces"].as_array().into_iter().flatten() {
            for set in trace["spanSets"].as_array().into_iter().flatten() {
                for span in set["spans"].as_array().into_iter().flatten() {
                    let name = span["name"].as_str().expect("a name").to_owned();
                    *found.entry(name).or_default() += 1;
                }
            }
        }
        found
    }
}

/// A request of spans, each given by the number of its trace and its own, in the whole test.
pub(crate) fn request(spans: &[(u64, u64)]) -> Json {
    let spans: Vec<Json> = spans
        .iter()
        .map(|(trace, span)| {
            let start = 1_800_000_000_000_000_000 + span * 1_000;
            json!({
                "traceId": format!("{:032x}", trace + 1),
                "spanId": format!("{:016x}", span + 1),
                "name": name(*span),
                "startTimeUnixNano": start.to_string(),
                "endTimeUnixNano": (start + 1_000_000).to_string(),
            })
        })
        .collect();
    let service = json!({"key": "service.name", "value": {"stringValue": "test"}});
    json!({"resourceSpans": [{
        "resource": {"attributes": [service]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

/// The name of a span.
pub(crate) fn name(span: u64) -> String {
    format!("span {span}")
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn send_to(
    address: &str,
    tenant: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<(u16, Vec<u8>)> {
    let mut request = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers.iter().chain(&tenant.map(|tenant| ("X-Scope-OrgID", tenant))) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

/// Traces of a source.
pub(crate) fn traces_of(path: &Path, tenant: &str) -> Vec<traceql_blocks::model::Trace> {
    let tenant = ["--tenant", tenant];
    let arguments = ["export", "-s", text(path), "{ }", "-o", "otlp-proto"];
    let output = super::binary::run(&[&arguments[..], &tenant].concat());
    assert!(output.status.success(), "{}", super::binary::stderr(&output));
    traceql_blocks::write::otlp::decode(output.stdout.into(), Some("shop.pb")).expect("traces")
}
