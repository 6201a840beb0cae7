//! What a server says of itself: its counters as Prometheus scrapes them, a line a request, pages for
//! people, and whose query runs next.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use prost::Message as _;

use crate::support::golden;
use crate::support::grpc::{Client, Search, framed};
use crate::support::http::{RANGE, Server, encoded};

const EVERYTHING: Search = Search {
    limit: 1000,
    start: 1_767_225_600,
    end: 1_767_229_500,
    query: String::new(),
    spans_per_span_set: 1000,
};

/// Samples by their name and labels.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.ask("GET", "/metrics", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    assert!(!text.contains("shop5"), "a tenant's name is nobody's business");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

#[test]
fn requests_and_what_they_read_are_counted() {
    let server = Server::start();
    let before = scrape(&server);
    assert_eq!(before["traceql_blocks"], 0.0);
    let target = format!("/api/search?{RANGE}&q={}", encoded("{ status = error }"));
    for _ in 0..3 {
        assert_eq!(server.get(&target).status, 200);
    }
    assert_eq!(server.get("/api/search?limit=0").status, 400);
    assert_eq!(server.get("/api/nosuch").status, 404);
    assert_eq!(server.get("/api/traces/abc").status, 404);
    let client = Client::connect(&server.address);
    assert_eq!(client.call("Search", &EVERYTHING).code, 0);
    let wrong = Search { query: "{".to_owned(), ..EVERYTHING };
    assert_eq!(client.call("Search", &wrong).code, 3);

    let after = scrape(&server);
    let count = |protocol: &str, route: &str, status: &str| {
        let labels = format!("protocol=\"{protocol}\",route=\"{route}\",status=\"{status}\"");
        after[&format!("traceql_request_duration_seconds_count{{{labels}}}")]
    };
    assert_eq!(count("http", "/api/search", "200"), 3.0);
    assert_eq!(count("http", "/api/search", "400"), 1.0);
    assert_eq!(count("http", "other", "404"), 1.0);
    assert_eq!(count("http", "/api/traces/", "404"), 1.0);
    assert_eq!(count("grpc", "/tempopb.StreamingQuerier/Search", "Ok"), 1.0);
    assert_eq!(count("grpc", "/tempopb.StreamingQuerier/Search", "InvalidArgument"), 1.0);
    let sent =
        "traceql_response_bytes_total{protocol=\"http\",route=\"/api/search\",status=\"200\"}";
    assert!(after[sent] > 1000.0);
    assert!(after["traceql_store_read_bytes_total"] > 10_000.0);
    assert!(after["traceql_store_read_requests_total"] >= 2.0);
    assert_eq!(after["traceql_cache_misses_total{cache=\"footer\"}"], 2.0);
    assert!(after["traceql_cache_hits_total{cache=\"footer\"}"] >= 4.0);
    assert!(after["traceql_cache_bytes{cache=\"footer\"}"] > 1000.0);
    assert_eq!((after["traceql_blocklists"], after["traceql_blocks"]), (1.0, 2.0));
    // The scrape itself is under way.
    assert_eq!(after["traceql_requests_in_flight"], 1.0);
    assert_eq!((after["traceql_queries_running"], after["traceql_queries_waiting"]), (0.0, 0.0));
    assert_eq!(after["traceql_query_wait_seconds_count"], 7.0);
    assert_eq!(after["traceql_queries_refused_total"], 0.0);
}

/// Prometheus' own checker is held against the page where it is installed.
#[test]
fn prometheus_finds_nothing_wrong_with_the_page() {
    let server = Server::start();
    assert_eq!(server.get(&format!("/api/search?{RANGE}")).status, 200);
    let page = server.ask("GET", "/metrics", &[]);
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else {
        // Not by `eprintln!`, whose text the test runner swallows when a test passes.
        let said = writeln!(std::io::stderr(), "SKIPPED: promtool is not installed");
        said.expect("stderr takes a line");
        return;
    };
    let stdin = checker.stdin.take();
    stdin.expect("it is piped").write_all(&page.body).expect("it reads");
    let output = checker.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_request_is_a_line_if_it_is_wanted() {
    let shop = golden::testdata("blocks/shop");
    let shop = ["--source", shop.to_str().expect("UTF-8"), "--multitenant"];
    let mut server = Server::start_with(&[&shop[..], &["--log-requests", "all"]].concat());
    let mut line = || {
        let mut line = String::new();
        server.stderr.read_line(&mut line).expect("stderr is text");
        let (before, rest) = line.trim_end().split_once(" duration=").expect("a duration");
        let (seconds, rest) = rest.split_once("s bytes=").expect("bytes");
        assert!(seconds.parse::<f64>().expect("a number") < 60.0);
        (before.to_owned(), rest.to_owned())
    };
    let address = server.address.clone();
    let get = |target: &str, headers: &[(&str, &str)]| {
        let stream = std::net::TcpStream::connect(&address).expect("it listens");
        let mut connection = std::io::BufReader::new(stream);
        crate::support::http::exchange(&mut connection, "GET", target, headers)
    };
    let query = "{ name =\n\"a\" }";
    let target = format!("/api/search?{RANGE}&q={}", encoded(query));
    let answer = get(&target, &[("X-Scope-OrgID", "shop5|shop4")]);
    let (before, rest) = line();
    assert_eq!(before, "traceql: method=GET path=\"/api/search\" tenant=shop4|shop5 status=200");
    let expected = format!(r#"{} query="{{ name =\n\"a\" }}""#, answer.body.len());
    assert_eq!(rest, expected.as_str());
    assert_eq!(get("/api/search", &[]).status, 401);
    assert_eq!(line().0, "traceql: method=GET path=\"/api/search\" tenant=- status=401");
    let client = Client::connect(&address);
    let answered = client.call("Search", &Search { query: "{ }".to_owned(), ..EVERYTHING });
    let n_bytes: usize = answered.messages.iter().map(|(_, message)| message.len()).sum();
    let path = "/tempopb.StreamingQuerier/Search";
    let expected = format!("traceql: method=gRPC path=\"{path}\" tenant=shop5 status=Ok");
    assert_eq!(line(), (expected, format!("{n_bytes} query=\"{{ }}\"")));

    let mut quiet = Server::start_with(&[&shop[..], &["--log-requests", "slow"]].concat());
    assert_eq!(quiet.get(&target).status, 200);
    assert!(quiet.terminate().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut quiet.stderr, &mut said).expect("stderr is text");
    assert_eq!(said, "");
}

#[test]
fn pages_say_what_the_server_is() {
    let shop = golden::testdata("blocks/shop/shop5");
    let server = Server::start_with(&[
        "--source",
        shop.to_str().expect("UTF-8"),
        "--max-limit",
        "77",
        "--timeout",
        "90s",
    ]);
    let page = |target: &str| {
        let answer = server.ask("GET", target, &[]);
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        answer.text()
    };
    assert!(page("/status/version").contains(env!("CARGO_PKG_VERSION")));
    assert!(page("/status/services").contains("http              Running\n"));
    let endpoints = page("/status/endpoints");
    assert!(endpoints.contains("served          /api/v2/search/tags\n"), "{endpoints}");
    assert!(
        endpoints.contains("served          /tempopb.StreamingQuerier/Search\n"),
        "{endpoints}"
    );
    assert!(endpoints.contains("not implemented /api/mcp\n"), "{endpoints}");
    let config = page("/status/config");
    assert!(config.contains("multitenancy_enabled: false\n"), "{config}");
    assert!(config.contains("query_frontend:\n"), "{config}");
    assert!(config.contains("\n  search:\n    default_result_limit: 20\n"), "{config}");
    for section in ["\nquery_frontend:\n", "\n  metrics:\n", "\n  search:\n", "\nstorage:\n"] {
        assert_eq!(config.matches(section).count(), 1, "{section} in {config}");
    }
    let changed = page("/status/config?mode=diff");
    assert!(changed.contains("    max_result_limit: 77\n"), "{changed}");
    assert!(changed.contains("  api_timeout: 1m30s\n"), "{changed}");
    assert!(!changed.contains("default_result_limit"), "{changed}");
    let defaults = page("/status/config?mode=defaults");
    assert!(defaults.contains("    max_result_limit: 0\n"), "{defaults}");
    assert_eq!(server.ask("GET", "/status/config?mode=x", &[]).status, 400);
    assert_eq!(page("/status/usage-stats"), "usage-stats is not enabled\n");
    let all = page("/status");
    assert!([endpoints, config].iter().all(|part| all.contains(part.as_str())));
}

#[test]
fn a_tenant_with_many_queries_keeps_no_other_waiting() {
    const MANY: usize = 150;
    let shop = golden::testdata("blocks/shop");
    let arguments = ["--multitenant", "--concurrent-queries", "1", "--source"];
    let server = Server::start_with(&[&arguments[..], &[shop.to_str().expect("UTF-8")]].concat());
    let path = "/tempopb.StreamingQuerier/Search";
    // It looks at everything and finds nothing: answers that nobody reads yet would fill the window
    // of the connection.
    let heavy = "{ } | by(name) | avg(duration) > 1000h".to_owned();
    let message = framed(&Search { query: heavy, ..EVERYTHING }.encode_to_vec());
    let waiting = || scrape(&server)["traceql_queries_waiting"];
    let client = Client::connect(&server.address);
    let of_many: Vec<_> =
        (0..MANY).map(|_| client.start(path, &[("x-scope-orgid", "shop5")], &message)).collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while waiting() < 100.0 {
        assert!(std::time::Instant::now() < deadline, "queries do not queue");
        std::thread::sleep(Duration::from_millis(5));
    }
    let other = Client::connect(&server.address);
    let one = Search { query: "{ status = error }".to_owned(), ..EVERYTHING };
    let before = waiting();
    assert_eq!(other.call_as(&[("x-scope-orgid", "shop4")], "Search", &one).code, 0);
    let after = waiting();
    assert!(after > before / 2.0, "{before} waited, and {after} when the other had its answer");
    for call in of_many {
        assert_eq!(call.finish().code, 0);
    }
    let samples = scrape(&server);
    assert_eq!(
        (samples["traceql_queries_waiting"], samples["traceql_queries_running"]),
        (0.0, 0.0)
    );
}
