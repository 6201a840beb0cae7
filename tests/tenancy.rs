//! Nothing that a request can say reaches another tenant's data, and nothing that it can say brings
//! the server down. Requests are made up at random from what has been tried on other servers.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::path::Path;
use std::time::Duration;

use prost::Message;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::support::binary::{run, stderr};
use crate::support::grpc::{Client, framed};
use crate::support::http::{Server, encoded};

/// The tenant who asks, and the one whose data must stay his.
const ASKING: &str = "alpha";
const OTHER: &str = "bravo";

/// What is in every text of the other tenant's data, and nowhere else.
const SECRET: &str = "hush";

const OTHERS_TRACE: &str = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0";
const OWN_TRACE: &str = "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0";
const RANGE: &str = "start=1767225000&end=1767229500";

/// A bucket with both tenants.
fn bucket(folder: &Path) {
    for (tenant, trace, text) in [(ASKING, OWN_TRACE, "open"), (OTHER, OTHERS_TRACE, SECRET)] {
        let file = folder.join(format!("{tenant}.json"));
        let attribute =
            |key: &str| format!(r#"[{{"key":"{key}","value":{{"stringValue":"{text}-value"}}}}]"#);
        let otlp = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":{}}},"scopeSpans":[{{"spans":[{{
            "traceId":"{trace}","spanId":"{}","name":"{text}-name","kind":2,
            "startTimeUnixNano":"1767226000000000000","endTimeUnixNano":"1767226001000000000",
            "attributes":{}}}]}}]}}]}}"#,
            attribute("service.name"),
            &trace[..16],
            attribute(&format!("{text}-key")),
        );
        fs::write(&file, otlp).unwrap();
        let out = folder.join("bucket");
        let output = run(&[
            "convert",
            "--source",
            file.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--out-tenant",
            tenant,
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

fn start(folder: &Path) -> Server {
    bucket(folder);
    let bucket = folder.join("bucket");
    Server::start_with(&["--source", bucket.to_str().unwrap(), "--multitenant"])
}

/// Everything the server says to a request that asks it to hang up afterwards.
fn say(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut said = Vec::new();
    drop(stream.read_to_end(&mut said));
    said
}

/// What it says to bytes after which nothing will come.
fn babble(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may refuse to read on.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut said = Vec::new();
    drop(stream.read_to_end(&mut said));
    said
}

/// Ways to name the other tenant that must not work: the header itself names `alpha`, or nobody.
fn headers(random: &mut StdRng) -> String {
    let lines = [
        "X-Scope-OrgID: alpha",
        "X-Scope-OrgID: alpha|alpha",
        "X-Scope-OrgID: alpha/../bravo",
        "X-Scope-OrgID: ../bravo",
        "X-Scope-OrgID: bravo/",
        "X-Scope-OrgID: ./bravo",
        "X-Scope-OrgID: %62ravo",
        "X-Scope-OrgID: BRAVO",
        "X-Scope-OrgID: bravo\u{0}",
        "X-Scope-OrgID: bravo,alpha",
        "X-Scope-OrgID: bravo;alpha",
        "X-Scope-OrgID: \"bravo\"",
        "X-Scope-OrgID: alpha||bravo",
        "X-Scope-OrgID: bravo*",
        "X-Scope-OrgID: (bravo)",
        "X-Scope-OrgID: alpha\r\nX-Scope-OrgID: bravo",
        "X-Scope-OrgID: bravo\r\nX-Scope-OrgID: alpha",
        "X-Scope-OrgID:\r\nX-Scope-OrgID: bravo",
        "X-Scope-OrgID: alpha\r\nX_Scope_OrgID: bravo",
        "X-Scope-OrgID: alpha\r\nX-Scope-OrgID : bravo",
        "X-Scope-OrgID: alpha\r\n X-Scope-OrgID: bravo",
        "X-Scope-OrgID: alpha\r\nCookie: X-Scope-OrgID=bravo",
        "X-Scope-OrgID: alpha\r\nHost: bravo",
        "X-Scope-OrgID: alpha\r\nX-Forwarded-For: bravo\r\nX-Original-URL: /bravo",
        "X-Scope-OrgID: alpha\r\nConnection: X-Scope-OrgID",
        "X-Scope-OrgID: alpha\r\nAuthorization: Basic YnJhdm86",
    ];
    (*lines.choose(random).unwrap()).to_owned()
}

fn target(random: &mut StdRng) -> String {
    let path = *[
        "/api/search",
        "/api/search/tags",
        "/api/v2/search/tags",
        "/api/search/tag/service.name/values",
        "/api/v2/search/tag/resource.service.name/values",
        "/api/v2/search/tag/span.hush-key/values",
        "/api/v2/search/tag/..%2f..%2fbravo%2f/values",
        "/api/v2/search/tag/name/values/../../../../../bravo/values",
        "/api/metrics/query_range",
        "/api/metrics/query",
        "/api/traces/b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
        "/api/v2/traces/b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
        "/api/v2/traces/%62%30b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
        "/api/traces/..%2f..%2fbravo",
        "/api/traces/../../bravo/",
        "/bravo/api/search",
        "/api/search/../../bravo/api/search",
        "//bravo/api/search",
        "http://bravo/api/search",
        "/querier/api/search",
        "/api/overrides",
        "/status/overrides/bravo",
        "/status/config",
        "/metrics",
    ]
    .choose(random)
    .unwrap();
    let queries = [
        "{ }",
        "{ name = \"hush-name\" }",
        "{ .hush-key = \"hush-value\" } | select(.hush-key)",
        "{ trace:id = \"b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0\" }",
        "{ } | rate() by (.service.name)",
        "{ } | count_over_time() by (name)",
        "{ } || { resource.tenant = \"bravo\" }",
        "{ } | compare({ name = \"hush-name\" })",
        "\"} || { } with (tenant=\"bravo\")",
        "' UNION SELECT * FROM bravo --",
        "{ } with (most_recent=true)",
        "{ name =~ \".*hush.*\" }",
    ];
    let mut target = format!("{path}?{RANGE}");
    for _ in 0..random.random_range(0..4) {
        let (name, value) = *[
            ("tenant", "bravo"),
            ("orgID", "bravo"),
            ("X-Scope-OrgID", "bravo"),
            ("tenantID", "bravo"),
            ("tags", "service.name=hush-value"),
            ("blockID", "../bravo"),
            ("blockStart", "00000000-0000-0000-0000-000000000000"),
            ("mode", "blocks"),
            ("limit", "1000"),
            ("spss", "1000"),
            ("scope", "span"),
        ]
        .choose(random)
        .unwrap();
        write!(target, "&{name}={}", encoded(value)).unwrap();
    }
    if random.random_bool(0.8) {
        write!(target, "&q={}", encoded(queries.choose(random).unwrap())).unwrap();
    }
    target
}

/// The other tenant's secret in any of the forms in which an answer could hold it. What a request
/// said itself, an error may repeat.
fn leaks(request: &str, answer: &[u8]) -> bool {
    let said = String::from_utf8_lossy(answer);
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    let is_success = head.starts_with("HTTP/1.1 200");
    // `sLCwsLCwsLCwsLCwsLCwsA==` is the id of the other trace as JSON has it in spans.
    let others = ["hush-", "sLCwsLCw", "b0b0b0b0b0b0b0b"];
    // Comparisons and labels repeat values that a query names, whatever the data.
    others.iter().any(|secret| is_success && body.contains(secret) && !request.contains(secret))
        || body.contains("hush-value") && is_success && body.contains("spanID")
}

#[test]
fn no_request_reaches_another_tenants_data() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut random = StdRng::seed_from_u64(20_261_127);
    let (mut answered, mut refused) = (0, 0);
    for n in 0..1500 {
        let (headers, target) = (headers(&mut random), target(&mut random));
        let accept = *["*/*", "application/protobuf", "application/vnd.grafana.llm"]
            .choose(&mut random)
            .unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\nAccept: {accept}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = say(&server, request.as_bytes());
        assert!(!answer.is_empty(), "{n}: no answer to {request}");
        assert!(!leaks(&request, &answer), "{n}: {request}\n{}", String::from_utf8_lossy(&answer));
        match answer.starts_with(b"HTTP/1.1 200") {
            true => answered += 1,
            false => refused += 1,
        }
    }
    assert!(answered > 200 && refused > 200, "{answered} answered, {refused} refused");
    still_serves(&server);
}

/// Both tenants see their own.
fn still_serves(server: &Server) {
    for (tenant, own, others) in
        [(ASKING, "open-name", "hush-name"), (OTHER, "hush-name", "open-name")]
    {
        let query = encoded("{ } | select(name)");
        let target = format!("/api/search?{RANGE}&q={query}");
        let answer = server.ask("GET", &target, &[("X-Scope-OrgID", tenant)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains(own) && !answer.text().contains(others), "{tenant}");
    }
}

/// What of `SearchRequest` is asked here.
#[derive(Clone, PartialEq, Message)]
struct Search {
    #[prost(uint32, tag = "5")]
    start: u32,
    #[prost(uint32, tag = "6")]
    end: u32,
    #[prost(string, tag = "8")]
    query: String,
}

#[test]
fn no_call_reaches_another_tenants_data() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let client = Client::connect(&server.address);
    let search =
        Search { start: 1_767_225_000, end: 1_767_229_500, query: "{ } | select(name)".to_owned() };
    let named: [&[(&str, &str)]; 8] = [
        &[("x-scope-orgid", "alpha")],
        &[("x-scope-orgid", "alpha"), ("x-scope-orgid", "bravo")],
        &[("x-scope-orgid", "bravo"), ("x-scope-orgid", "alpha")],
        &[("x-scope-orgid", "../bravo")],
        &[("x-scope-orgid", "alpha"), ("x-scope-orgid-bin", "YnJhdm8=")],
        &[("x-scope-orgid", "alpha"), ("grpc-tenant", "bravo")],
        &[("x-scope-orgid-bin", "YnJhdm8=")],
        &[("x-scope-orgid", "bravo,alpha")],
    ];
    let mut codes = Vec::new();
    for metadata in named {
        let answered = client.call_as(metadata, "Search", &search);
        for (_, message) in &answered.messages {
            assert!(!String::from_utf8_lossy(message).contains(SECRET), "{metadata:?}");
        }
        codes.push(answered.code);
    }
    assert_eq!(codes, [0, 3, 3, 3, 0, 0, 2, 3]);
    let own = client.call_as(&[("x-scope-orgid", OTHER)], "Search", &search);
    assert!(String::from_utf8_lossy(&own.messages[0].1).contains(SECRET));
}

#[test]
fn nonsense_leaves_the_server_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let mut random = StdRng::seed_from_u64(7);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for _ in 0..150 {
        let mut bytes = Vec::new();
        match random.random_range(0..5) {
            0 => bytes.extend_from_slice(b"GET /api/search HTTP/1.1\r\n"),
            1 => bytes.extend_from_slice(preface),
            2 => {
                bytes.extend_from_slice(preface);
                // An empty SETTINGS frame, and then anything.
                bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
            }
            3 => bytes.extend_from_slice(b"POST /api/search HTTP/1.1\r\nContent-Length: 5\r\n\r\n"),
            _ => {}
        }
        let n_bytes = random.random_range(0..300);
        bytes.extend((0..n_bytes).map(|_| random.random::<u8>()));
        babble(&server, &bytes);
    }
    // Headers and lines that do not end, bodies that are longer than anything asks for.
    babble(&server, &[b"GET /".as_slice(), &vec![b'a'; 1 << 20]].concat());
    let header = vec![b'b'; 1 << 20];
    babble(&server, &[b"GET / HTTP/1.1\r\nX: ".as_slice(), &header, b"\r\n\r\n"].concat());
    let many = "X-Scope-OrgID: alpha\r\n".repeat(5000);
    babble(&server, format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes());
    let form = "POST /api/search HTTP/1.1\r\nX-Scope-OrgID: alpha\r\nContent-Type: \
                application/x-www-form-urlencoded\r\nContent-Length: 100000000\r\n\r\nq=";
    babble(&server, &[form.as_bytes(), &vec![b'c'; 4 << 20]].concat());
    let nested = format!("{}true{}", "(".repeat(30_000), ")".repeat(30_000));
    let answer = server.ask(
        "GET",
        &format!("/api/search?{RANGE}&q={}", encoded(&format!("{{ {} }}", &nested[..10_000]))),
        &[("X-Scope-OrgID", ASKING)],
    );
    assert_eq!(answer.status, 400);
    still_serves(&server);
}

#[test]
fn nonsense_in_frames_has_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let client = Client::connect(&server.address);
    let path = "/tempopb.StreamingQuerier/Search";
    let tenant = ("x-scope-orgid", ASKING);
    let code =
        |metadata: &[(&str, &str)], body: &[u8]| client.start(path, metadata, body).finish().code;
    // No message at all, half a message, one that is not protobuf, one that says it is 4 GiB.
    assert_ne!(code(&[tenant], &[]), 0);
    assert_ne!(code(&[tenant], &framed(b"abc")[..6]), 0);
    assert_eq!(code(&[tenant], &framed(&[0xff; 40])), 3);
    assert_ne!(code(&[tenant], &[0, 0xff, 0xff, 0xff, 0xff, 1]), 0);
    assert_ne!(code(&[tenant], &[9, 0, 0, 0, 0]), 0);
    // 64 MiB of nothing in 64 KiB.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 64 << 20]).unwrap();
    let mut bomb = framed(&encoder.finish().unwrap());
    bomb[0] = 1;
    assert_ne!(code(&[tenant, ("grpc-encoding", "gzip")], &bomb), 0);
    assert_ne!(code(&[tenant, ("grpc-encoding", "zstd")], &bomb), 0);
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..200 {
        let n_bytes = random.random_range(0..60);
        let bytes: Vec<u8> = (0..n_bytes).map(|_| random.random()).collect();
        // Any status will do, as long as there is one.
        client.start(path, &[tenant], &framed(&bytes)).finish();
    }
    still_serves(&server);
}
