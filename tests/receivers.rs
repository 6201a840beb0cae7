//! The real binary taking spans of Zipkin and Jaeger: bytes that their clients have sent, at every
//! receiver; what is found of them, what wrong ones are told, and whose they become.

use std::io::{BufRead as _, Write as _};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::support::golden;
use crate::support::grpc::{Client, framed};
use crate::support::ingesting::{Folders, Ingesting, post};

const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const THRIFT: (&str, &str) = ("Content-Type", "application/x-thrift");

/// A server with all receivers.
struct Receivers {
    ingesting: Ingesting,
    zipkin: String,
    jaeger_http: String,
    jaeger_grpc: String,
}

fn start(folders: &Folders, more: &[&str]) -> Receivers {
    let anywhere = "127.0.0.1:0";
    let listen = ["--zipkin", anywhere, "--jaeger-http", anywhere, "--jaeger-grpc", anywhere];
    let mut ingesting = folders.start(&[&listen[..], more].concat());
    let mut address = |what: &str| {
        let mut line = String::new();
        ingesting.server.stderr.read_line(&mut line).expect("a line");
        assert!(line.contains(what), "{line}");
        line[line.find("127.0.0.1:").expect("an address")..].trim().to_owned()
    };
    let zipkin = address("taking Zipkin over HTTP");
    let jaeger_http = address("taking Jaeger over HTTP");
    let jaeger_grpc = address("taking Jaeger over gRPC");
    Receivers { ingesting, zipkin, jaeger_http, jaeger_grpc }
}

/// What a client has sent: testdata/README.md.
fn sent(name: &str) -> Vec<u8> {
    std::fs::read(golden::testdata("import").join(name)).expect("a file of the repository")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A gRPC message of Jaeger, and the code of the answer.
fn call(address: &str, metadata: &[(&str, &str)], message: &[u8]) -> u32 {
    Client::connect(address).start(POST_SPANS, metadata, &framed(message)).finish().code
}

#[test]
fn what_clients_of_zipkin_and_jaeger_send_is_found() {
    let folders = Folders::new();
    let receivers = start(&folders, &[]);
    let Receivers { ingesting, zipkin, jaeger_http, jaeger_grpc } = &receivers;
    let mut n_found = 0;
    let mut check = |what: &str, answer: Option<(u16, Vec<u8>)>, n_spans: usize| {
        assert_eq!(answer, Some((202, Vec::new())), "{what}");
        let found: usize = ingesting.found("").values().sum();
        assert_eq!(found - n_found, n_spans, "{what}");
        n_found = found;
    };
    let body = sent("zipkin-opentelemetry.json");
    check("JSON", post(zipkin, "/api/v2/spans", None, &[JSON], &body), 6);
    let other = String::from_utf8(body).expect("JSON").replace("edbe9a6d", "00000001");
    let encoded = [JSON, ("Content-Encoding", "gzip")];
    check("gzip", post(zipkin, "/", None, &encoded, &gzip(other.as_bytes())), 6);
    let body = sent("zipkin-opentelemetry.pb");
    check("protobuf", post(zipkin, "/api/v2/spans", None, &[PROTOBUF], &body), 6);
    let body = sent("zipkin-v1-node.json");
    check("version 1", post(zipkin, "/api/v1/spans", None, &[JSON], &body), 2);
    let body = sent("jaeger-batch.thrift");
    check("Thrift", post(jaeger_http, "/api/traces", None, &[THRIFT], &body), 10);
    let body = sent("jaeger-opentelemetry-node.thrift");
    let kind = [("Content-Type", "application/vnd.apache.thrift.binary")];
    check("Node", post(jaeger_http, "/api/traces", None, &kind, &body), 4);
    assert_eq!(call(jaeger_grpc, &[], &sent("jaeger-post-spans.pb")), 0);
    assert_eq!(ingesting.found("").values().sum::<usize>(), n_found + 3);

    let page = ingesting.server.get("/metrics").text();
    for line in [
        "traceql_received_requests_total{protocol=\"zipkin\",result=\"taken\"} 4",
        "traceql_received_spans_total{protocol=\"zipkin\"} 20",
        "traceql_received_spans_total{protocol=\"jaeger_http\"} 14",
        "traceql_received_requests_total{protocol=\"jaeger_grpc\",result=\"taken\"} 1",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }

    // They are spans like all others: asked by what the conventions made of them, and flushed.
    let ask = |query: &str| {
        let query = crate::support::http::encoded(query);
        let target = format!("/api/search?q={query}&limit=100&start=1&end=4000000000");
        ingesting.server.json(&target)["traces"].as_array().map_or(0, Vec::len)
    };
    let check = || {
        assert_eq!(ask(r#"{ resource.service.name = "jaeger-grpc" && kind = client }"#), 1);
        assert_eq!(ask(r#"{ span:statusMessage = "card declined" && status = error }"#), 4);
        assert_eq!(ask(r#"{ event:name = "retry" && event.n = 2 }"#), 3);
        assert_eq!(ask(r#"{ span.peer.service = "stock" && kind = client }"#), 1);
        assert_eq!(ask(r#"{ instrumentation:name = "sender" } >> { name = "charge" }"#), 4);
        assert_eq!(ask(r#"{ link:spanID = "000000000000004d" && span.nothing = nil }"#), 1);
    };
    check();
    assert_eq!(ingesting.flush().status, 200);
    check();
}

#[test]
fn wrong_bodies_are_told_what_is_wrong() {
    let folders = Folders::new();
    let limits = ["--ingest-rate", "1", "--ingest-burst", "1500"];
    let receivers = start(&folders, &limits);
    let Receivers { ingesting, zipkin, jaeger_http, jaeger_grpc } = &receivers;
    let told = |address: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let (status, body) = post(address, path, None, headers, body).expect("an answer");
        (status, String::from_utf8(body).expect("text"))
    };
    let (status, why) = told(zipkin, "/api/v2/spans", &[JSON], b"{");
    assert_eq!(status, 400, "{why}");
    assert!(why.contains("Zipkin spans as a JSON array"), "{why}");
    let (status, why) = told(zipkin, "/api/v2/spans", &[JSON], br#"[{"traceId":"1","id":"0"}]"#);
    assert_eq!(status, 400);
    assert!(why.starts_with("span ids must be 64 bit and not all zero"), "{why}");
    assert_eq!(told(zipkin, "/api/v2/spans", &[PROTOBUF], b"\xff").0, 400);
    assert_eq!(told(zipkin, "/api/v1/spans", &[THRIFT], b"").0, 415);
    assert_eq!(told(zipkin, "/v1/traces", &[JSON], b"{}").0, 404);
    assert_eq!(told(jaeger_http, "/api/traces", &[THRIFT], b"\x0c\x00\x01").0, 400);
    assert_eq!(told(jaeger_http, "/api/traces", &[JSON], b"[]").0, 415);
    assert_eq!(told(jaeger_http, POST_SPANS, &[PROTOBUF], b"").0, 415);
    assert_eq!(call(jaeger_grpc, &[], b"\xff\xff"), 3);
    assert!(ingesting.found("").is_empty());

    // The limits are those of OTLP, and so are the words.
    let body = sent("jaeger-batch.thrift");
    let (status, why) = told(jaeger_http, "/api/traces", &[THRIFT], &body);
    assert_eq!(status, 429, "{why}");
    assert!(why.starts_with("RATE_LIMITED: "), "{why}");
    assert_eq!(call(jaeger_grpc, &[], &sent("jaeger-post-spans.pb")), 8);
    assert_eq!(told(zipkin, "/api/v2/spans", &[JSON], &sent("zipkin-opentelemetry.json")).0, 429);
    let page = ingesting.server.get("/metrics").text();
    for line in [
        "{protocol=\"jaeger_http\",result=\"full\"} 1",
        "{protocol=\"jaeger_http\",result=\"invalid\"} 1",
        "{protocol=\"jaeger_grpc\",result=\"full\"} 1",
        "{protocol=\"zipkin\",result=\"invalid\"} 3",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
}

/// Ways to name the tenant `bravo` that must not work, and two that name `alpha`.
const NAMED: [&[(&str, &str)]; 14] = [
    &[],
    &[("X-Scope-OrgID", "alpha")],
    &[("X-Scope-OrgID", "alpha"), ("X-Scope-OrgID", "alpha")],
    &[("X-Scope-OrgID", "alpha"), ("X-Scope-OrgID", "bravo")],
    &[("X-Scope-OrgID", "bravo"), ("X-Scope-OrgID", "alpha")],
    &[("X-Scope-OrgID", ""), ("X-Scope-OrgID", "bravo")],
    &[("X-Scope-OrgID", "alpha|bravo")],
    &[("X-Scope-OrgID", "../bravo")],
    &[("X-Scope-OrgID", "alpha/../bravo")],
    &[("X-Scope-OrgID", "bravo/")],
    &[("X-Scope-OrgID", "bravo,alpha")],
    &[("X-Scope-OrgID", "alpha"), ("X-Scope-OrgID-bin", "YnJhdm8=")],
    &[("X-Scope-OrgID", "%62ravo")],
    &[("X-Scope-OrgID", "alpha"), ("Cookie", "X-Scope-OrgID=bravo")],
];

#[test]
fn no_sender_reaches_another_tenant() {
    let folders = Folders::new();
    let receivers = start(&folders, &["--multitenant"]);
    let Receivers { ingesting, zipkin, jaeger_http, jaeger_grpc } = &receivers;
    let otlp = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"own",
        "traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331"}]}]}]}"#;
    let bodies = ["zipkin-opentelemetry.json", "zipkin-v1-node.json", "jaeger-batch.thrift"];
    let [v2, v1, thrift] = bodies.map(sent);
    let posted = sent("jaeger-post-spans.pb");
    let mut random = StdRng::seed_from_u64(20_261_127);
    let (mut taken, mut refused) = (0, 0);
    for n in 0..300 {
        let named = *NAMED.choose(&mut random).expect("some");
        let send = |address: &str, path: &str, kind, body: &[u8]| {
            post(address, path, None, &[&[kind], named].concat(), body).expect("an answer").0
        };
        let is_taken = match random.random_range(0..6) {
            0 => send(zipkin, "/api/v2/spans", JSON, &v2) == 202,
            1 => send(zipkin, "/api/v1/spans", JSON, &v1) == 202,
            2 => send(jaeger_http, "/api/traces", THRIFT, &thrift) == 202,
            3 => send(ingesting.http(), "/v1/traces", JSON, otlp) == 200,
            4 => {
                let lower: Vec<_> =
                    named.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
                let lower: Vec<_> = lower.iter().map(|(n, value)| (n.as_str(), *value)).collect();
                call(jaeger_grpc, &lower, &posted) == 0
            }
            // Anything at all, to any of them.
            _ => {
                let bytes: Vec<u8> =
                    (0..random.random_range(0..200)).map(|_| random.random()).collect();
                let (address, path, kind) = *[
                    (zipkin, "/api/v2/spans", JSON),
                    (zipkin, "/api/v2/spans", PROTOBUF),
                    (zipkin, "/api/v1/spans", JSON),
                    (jaeger_http, "/api/traces", THRIFT),
                ]
                .choose(&mut random)
                .expect("some");
                let status = send(address, path, kind, &bytes);
                assert!([202, 400, 503].contains(&status), "{n}: {status} for {bytes:?}");
                continue;
            }
        };
        match is_taken {
            true => taken += 1,
            false => refused += 1,
        }
        let names_alpha = named.first().is_some_and(|first| first.1 == "alpha")
            && named.iter().all(|(name, value)| *name != "X-Scope-OrgID" || *value == "alpha");
        assert_eq!(is_taken, names_alpha, "{n}: {named:?}");
    }
    assert!(taken > 30 && refused > 30, "{taken} taken, {refused} refused");
    assert!(ingesting.found("bravo").is_empty());
    assert!(!ingesting.found("alpha").is_empty());
    assert_eq!(ingesting.flush().status, 200);
    let tenants = std::fs::read_dir(folders.bucket()).expect("a folder");
    let tenants: Vec<_> = tenants.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(tenants, ["alpha"]);
}

/// Where the packages of OpenTelemetry's SDK for Node are, if `.ci/run` could install them.
fn node_modules() -> Option<std::path::PathBuf> {
    let home = std::env::vars().find(|(name, _)| name == "HOME").map(|(_, home)| home)?;
    let modules =
        std::path::Path::new(&home).join(".cache/traceql/servers/opentelemetry-node/node_modules");
    let is_there = modules.join("@opentelemetry/exporter-jaeger").exists();
    let node = std::process::Command::new("node").arg("--version").output();
    (is_there && node.is_ok_and(|output| output.status.success())).then_some(modules)
}

#[test]
fn the_node_sdk_sends_over_every_protocol() {
    let Some(modules) = node_modules() else {
        // Past the capture of the test runner, so that a test that did not run is seen.
        let said = "SKIPPED receivers::the_node_sdk_sends_over_every_protocol: no Node with \
                    @opentelemetry/sdk-trace-node and its exporters";
        drop(writeln!(std::io::stderr(), "{said}"));
        return;
    };
    let folders = Folders::new();
    let receivers = start(&folders, &[]);
    let Receivers { ingesting, zipkin, jaeger_http, .. } = &receivers;
    let (grpc, http) = (ingesting.grpc.as_str(), ingesting.http());
    let ways: [(&[&str], &str); 8] = [
        (&["grpc"], grpc),
        (&["grpc", "gzip"], grpc),
        (&["proto"], http),
        (&["proto", "gzip"], http),
        (&["json"], http),
        (&["json", "gzip"], http),
        (&["zipkin"], zipkin),
        (&["jaeger"], jaeger_http),
    ];
    for (n, (how, address)) in ways.into_iter().enumerate() {
        let sent = std::process::Command::new("node")
            .arg("testdata/otlp/send.js")
            .args([how[0], address])
            .args(&how[1..])
            .env("NODE_PATH", &modules)
            .stdin(std::process::Stdio::null())
            .status()
            .expect("node starts");
        assert!(sent.success(), "{how:?}");
        let found: usize = ingesting.found("").values().sum();
        assert_eq!(found, (n + 1) * 8, "{how:?}");
        let query = format!(
            "{{ resource.service.name = \"node-{}\" && kind = server }} > {{ name = \"charge\" \
             && kind = client && status = error }}",
            how[0]
        );
        let query = crate::support::http::encoded(&query);
        let target = format!("/api/search?q={query}&start=1&end=4000000000");
        let n_traces = ingesting.server.json(&target)["traces"].as_array().map_or(0, Vec::len);
        let n_before = usize::from(how.len() > 1);
        assert_eq!(n_traces, 2 * (1 + n_before), "{how:?}");
    }
}
