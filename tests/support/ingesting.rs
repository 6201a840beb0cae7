//! The real binary taking traces in, in folders of a test, and spans to send to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use serde_json::{Value as Json, json};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::{OpenStore, SourceOptions};
use traceql_engine::{Engine, EngineConfig, QueryOptions};
use traceql_language::Dialect;

use super::http::{Answer, Server};

/// Folders of a server: its blocks and its log.
#[derive(Debug)]
pub(crate) struct Folders {
    folder: tempfile::TempDir,
    /// Where blocks go instead.
    s3: Option<S3>,
    /// What comes before the binary, and what is in its environment.
    by: (Vec<String>, Vec<(String, String)>),
}

/// A bucket of an S3-compatible server.
#[derive(Clone, Debug)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    /// How the server reaches it: by way of a proxy, perhaps.
    pub(crate) address: String,
    /// How a test does.
    pub(crate) own_address: String,
}

impl S3 {
    fn arguments(&self) -> Vec<String> {
        let url = format!("s3://{}", self.bucket);
        let endpoint = format!("http://{}", self.address);
        let of = [
            "--source",
            &url,
            "--s3-endpoint",
            &endpoint,
            "--s3-access-key-id",
            "id",
            "--s3-secret-access-key",
            "secret",
        ];
        of.map(str::to_owned).to_vec()
    }

    fn options(&self) -> SourceOptions {
        super::servers::s3_options(&self.own_address)
    }
}

/// A server that takes traces in.
#[derive(Debug)]
pub(crate) struct Ingesting {
    pub(crate) server: Server,
    pub(crate) grpc: String,
    http: String,
}

impl Folders {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, s3: None, by: (Vec::new(), Vec::new()) }
    }

    /// Blocks go to a bucket.
    pub(crate) fn with_s3(s3: S3) -> Self {
        Self { s3: Some(s3), ..Self::new() }
    }

    /// The binary is started by way of another program, which becomes it, or with something in its
    /// environment.
    #[cfg(target_os = "linux")]
    pub(crate) fn by(mut self, program: &[&str], environment: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.by.0 = program.iter().map(|word| (*word).to_owned()).collect();
        self.by.1 = environment.iter().map(pair).collect();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.path().join("bucket")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.path().join("wal")
    }

    /// The binary, as servers of these folders are started.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.by.0.iter().map(String::as_str).chain([super::binary::TRACEQL]);
        let mut command = Command::new(words.next().expect("there is the binary"));
        command.args(words).env_clear().envs(self.by.1.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Arguments that name where blocks are.
    pub(crate) fn source(&self) -> Vec<String> {
        match &self.s3 {
            Some(s3) => s3.arguments(),
            None => vec!["--source".to_owned(), text(&self.bucket()).to_owned()],
        }
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
        let (source, wal) = (self.source(), self.wal());
        let source: Vec<&str> = source.iter().map(String::as_str).collect();
        let folders = [&source[..], &["--wal", text(&wal)]].concat();
        let listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"];
        // Spans of tests are of long ago or of just now.
        let newest = ["--metrics-end-cutoff", "0"];
        let newest = if more.contains(&"ingest") { &[][..] } else { &newest };
        let arguments = [&folders[..], &listen, newest, more].concat();
        let mut server = Server::start_as(self.command(), &arguments);
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
        for block in self.blocks(tenant) {
            for (name, count) in self.spans_of(&block) {
                *stored.entry(name).or_default() += count;
            }
        }
        stored
    }

    /// URLs of the blocks of a tenant, none of which may be half there.
    fn blocks(&self, tenant: &str) -> Vec<String> {
        let Some(s3) = &self.s3 else {
            let blocks = self.stored_blocks(tenant);
            for block in &blocks {
                assert!(block.join("meta.json").exists(), "{} is half a block", block.display());
            }
            return blocks.iter().map(|block| text(block).to_owned()).collect();
        };
        let keys = run(async {
            let url = format!("s3://{}", s3.bucket);
            let store = OpenStore::open(&url, &s3.options()).await.expect("a store").store;
            let objects: Vec<_> =
                store.list(Some(&tenant.into())).try_collect().await.expect("a listing");
            objects.into_iter().map(|object| object.location.to_string()).collect::<Vec<_>>()
        });
        let folder = |key: &String| key.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let folders: BTreeSet<String> =
            keys.iter().filter_map(folder).filter(|folder| folder.contains('/')).collect();
        for folder in &folders {
            assert!(keys.contains(&format!("{folder}/meta.json")), "{folder} is half a block");
        }
        folders.iter().map(|folder| format!("s3://{}/{folder}", s3.bucket)).collect()
    }

    /// How often each span lies in a block.
    fn spans_of(&self, block: &str) -> BTreeMap<String, usize> {
        let engine = Engine::new(EngineConfig::default());
        let query = traceql_language::compile("{ } | select(name)", Dialect::Default)
            .expect("the query is sound");
        let options = QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() };
        let stores = self.s3.as_ref().map(S3::options).unwrap_or_default();
        let found = run(async {
            let source = Source::open(block, &stores).await.expect("a block");
            let tenants = [source.tenant(None).await.expect("its tenant")];
            let found = engine.search(&source, &tenants, &query, &options).await;
            found.expect("an answer")
        });
        let mut stored = BTreeMap::new();
        for trace in found.answer.traces {
            for span in trace.spansets.into_iter().flat_map(|set| set.spans) {
                *stored.entry(span.name.unwrap_or_default()).or_default() += 1;
            }
        }
        stored
    }

    /// Folders of blocks of a tenant, on a disk.
    pub(crate) fn stored_blocks(&self, tenant: &str) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.bucket().join(tenant)).into_iter().flatten();
        folders.map(|block| block.expect("the folder can be read").path()).collect()
    }

    /// Segments of the log.
    pub(crate) fn segments(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.wal()).expect("the folder can be read");
        let names = files.map(|file| {
            file.expect("the folder can be read").file_name().into_string().expect("UTF-8")
        });
        names.filter(|name| name.ends_with(".wal") || name.ends_with(".damaged")).collect()
    }
}

impl Ingesting {
    /// Sends spans over HTTP as JSON; the status of the answer, and the answer. `None` if the server
    /// is not there any longer.
    pub(crate) fn send(&self, tenant: Option<&str>, body: &Json) -> Option<(u16, Json)> {
        let kind = [("Content-Type", "application/json")];
        post(&self.http, "/v1/traces", tenant, &kind, body.to_string().as_bytes())
            .map(|(status, body)| (status, serde_json::from_slice(&body).unwrap_or(Json::Null)))
    }

    /// Sends a protobuf message over HTTP; the status of the answer.
    pub(crate) fn send_protobuf(&self, tenant: Option<&str>, body: &[u8]) -> Option<u16> {
        let kind = [("Content-Type", "application/x-protobuf")];
        post(&self.http, "/v1/traces", tenant, &kind, body).map(|(status, _)| status)
    }

    /// The address of OTLP over HTTP.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// A sample of `/metrics`.
    pub(crate) fn sample(&self, name: &str) -> f64 {
        self.server.sample(name)
    }

    /// Writes everything into blocks.
    pub(crate) fn flush(&self) -> Answer {
        self.server.ask("POST", "/flush", &[])
    }

    /// A search for all spans that there are.
    pub(crate) fn search(&self, tenant: &str) -> Answer {
        let query = super::http::encoded("{ } | select(name)");
        let target =
            format!("/api/search?q={query}&limit=1000000&spss=1000000&start=1&end=4000000000");
        self.server.ask("GET", &target, &[("X-Scope-OrgID", tenant)])
    }

    /// Names of the spans that a search finds, as often as it finds them.
    pub(crate) fn found(&self, tenant: &str) -> BTreeMap<String, usize> {
        let answer = self.search(tenant).json("a search");
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
            let start = 1_700_000_000_000_000_000 + span * 1_000;
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

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Posts a body; the status of the answer, and its body. `None` if nobody answers.
pub(crate) fn post(
    address: &str,
    path: &str,
    tenant: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<(u16, Vec<u8>)> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {}\r\n",
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

/// Sends so many spans of a megabyte that nothing compresses; how many there are.
pub(crate) fn send_megabytes(to: &Ingesting, n: u64) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = || -> String {
        (0..2_000)
            .map(|_| {
                // xorshift64
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b' ' + u8::try_from(state % 95).expect("it is below 95"))
            })
            .collect()
    };
    for span in 0..n {
        let mut body = request(&[(span, span)]);
        let attributes: Vec<Json> = (0..512)
            .map(|n| json!({"key": format!("k{n}"), "value": {"stringValue": text()}}))
            .collect();
        body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = json!(attributes);
        let (status, body) = to.send(None, &body).expect("an answer");
        assert_eq!(status, 200, "{body}");
    }
    usize::try_from(n).expect("few")
}
