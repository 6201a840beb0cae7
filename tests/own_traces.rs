//! The server's traces of itself: one process traces into another, which is asked for them with TraceQL;
//! and a server that traces into itself comes to rest.

use std::time::Duration;

use serde_json::Value as Json;

use crate::support::golden;
use crate::support::http::{RANGE, Server, encoded};
use crate::support::ingesting::{Folders, request};
use crate::support::waiting::wait_until;

const PARENT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Traces that a query finds, whenever they were.
fn found(server: &Server, query: &str) -> Vec<Json> {
    let query = encoded(query);
    let target = format!("/api/search?q={query}&limit=1000&spss=100&start=1&end=4000000000");
    let answer = server.ask("GET", &target, &[("X-Scope-OrgID", "own")]).json(&target);
    answer["traces"].as_array().cloned().unwrap_or_default()
}

#[test]
fn one_server_is_asked_for_the_traces_of_another() {
    let folders = Folders::new();
    let receiving = folders.start(&["--multitenant"]);
    let shop = golden::testdata("blocks/shop");
    let url = format!("http://{}", receiving.http());
    let mut traced = Server::start_with(&[
        "--source",
        shop.to_str().expect("UTF-8"),
        "--multitenant",
        "--trace-to",
        &url,
        "--trace-header",
        "X-Scope-OrgID: own",
    ]);
    let query = encoded("{ status = error }");
    let parent = format!("00-{PARENT}-00f067aa0ba902b7-01");
    let headers = [("X-Scope-OrgID", "shop5"), ("traceparent", &*parent)];
    let searched = traced.ask("GET", &format!("/api/search?q={query}&{RANGE}"), &headers);
    assert_eq!(searched.status, 200);
    let unsampled = parent.replace("-01", "-00").replace("4bf92f", "ffffff");
    let headers = [("X-Scope-OrgID", "shop5"), ("traceparent", &*unsampled)];
    assert_eq!(traced.ask("GET", "/api/v2/search/tags", &headers).status, 200);
    assert_eq!(traced.get("/api/search?q=%7B").status, 400);
    assert_eq!(traced.get(&format!("/api/search?q=%7B%7D&{RANGE}")).status, 200);
    assert_eq!(traced.get("/api/echo").status, 200);
    let client = crate::support::grpc::Client::connect(&traced.address);
    let search = crate::support::grpc::Search {
        start: 1_767_225_600,
        end: 1_767_229_500,
        query: "{ }".to_owned(),
        ..crate::support::grpc::Search::default()
    };
    assert_eq!(client.call("Search", &search).code, 0);
    drop(client);
    // What has not been sent is when it ends.
    assert!(traced.terminate().success());

    let server = &receiving.server;
    let all = found(server, r#"{ resource.service.name = "traceql" && kind = server }"#);
    assert_eq!(all.len(), 4, "{all:#?}");
    // Its parent is in no span that was sent, so it is asked for without structure.
    let http = found(
        server,
        r#"{ span:parentID = "00f067aa0ba902b7" && span.http.route = "/api/search"
             && span.http.response.status_code = 200 && span.traceql.tenant = "shop5"
             && span.traceql.query = "{ status = error }" }"#,
    );
    assert_eq!(http.len(), 1, "{all:#?}");
    assert_eq!(http[0]["traceID"], PARENT);
    let cost = "span.traceql.store.bytes > 0 && span.traceql.inspected.spans > 0";
    let query = format!("{{ trace:id = \"{PARENT}\" && name = \"search\" && {cost} }}");
    assert_eq!(found(server, &query).len(), 1);
    for (parent, child) in [
        ("GET /api/search", "wait for a turn"),
        ("GET /api/search", "compile"),
        ("GET /api/search", "search"),
        ("search", "plan"),
        ("search", "scan"),
    ] {
        let query = format!("{{ name = \"{parent}\" }} > {{ name = \"{child}\" }}");
        assert!(!found(server, &query).is_empty(), "{child}");
    }
    let refused = found(server, "{ span.http.response.status_code = 400 && status = unset }");
    assert_eq!(refused.len(), 1, "a client's fault is no error of the server");
    let grpc = found(
        server,
        r#"{ name = "tempopb.StreamingQuerier/Search" && span.rpc.system = "grpc"
             && span.rpc.grpc.status_code = 0 }"#,
    );
    assert_eq!(grpc.len(), 1);
}

#[test]
fn compaction_is_traced_by_cycle_and_job() {
    let receiving_folders = Folders::new();
    let receiving = receiving_folders.start(&["--multitenant"]);
    let url = format!("http://{}", receiving.http());
    let folders = Folders::new();
    let mut traced = folders.start(&[
        "--trace-to",
        &url,
        "--trace-header",
        "X-Scope-OrgID: own",
        "--compact",
        "--compact-interval",
        "50ms",
    ]);
    for n in 0..2 {
        assert_eq!(traced.send(None, &request(&[(n, n)])).expect("an answer").0, 200);
        assert_eq!(traced.flush().status, 200);
    }
    let replaced = "traceql_compactions_total{result=\"replaced\"}";
    wait_until("two blocks are one", || traced.sample(replaced) >= 1.0);
    assert!(traced.server.terminate().success());
    let server = &receiving.server;
    assert_eq!(found(server, "{ name = \"flush\" }").len(), 2);
    let jobs = found(
        server,
        r#"{ name = "compaction cycle" && span.traceql.compaction.jobs = 1 }
           > { name = "compaction" && span.traceql.compaction.outcome = "replaced"
               && span.traceql.compaction.input.blocks = 2 && span.traceql.block.spans = 2
               && span.traceql.block.bytes > 0 && status != error }"#,
    );
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    // Cycles with nothing to do are not worth a span.
    assert_eq!(found(server, "{ name = \"compaction cycle\" }").len(), 1);
}

#[test]
fn a_server_that_traces_into_itself_comes_to_rest() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let address = port.expect("an address").to_string();
    let folders = Folders::new();
    let url = format!("http://{address}");
    let (bucket, wal) = (folders.bucket(), folders.wal());
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (bucket, wal) = (text(&bucket), text(&wal));
    let folders = ["--source", &*bucket, "--wal", &*wal];
    let own = ["--otlp-http", &*address, "--trace-to", &*url];
    let server = Server::start_with(&[&folders[..], &own].concat());
    while server.get("/ready").status != 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = || {
        let page = server.get("/metrics").text();
        let line = page.lines().find(|line| line.contains("own_spans_total{result=\"sent\"}"));
        let count = line.and_then(|line| line.rsplit_once(' ')).map(|(_, count)| count.to_owned());
        count.expect("a count").parse::<u64>().expect("a number")
    };
    // So many that a batch is full and sent at once: three spans each, as there is no tenant yet.
    for _ in 0..200 {
        assert_eq!(server.get("/api/search?q=%7B%7D").status, 200);
    }
    for _ in 0..500 {
        if sent() > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = sent();
    assert!((512..=600).contains(&before), "{before}");
    assert_eq!(server.ask("POST", "/flush", &[]).status, 200);
    let n_traces = found(&server, r#"{ resource.service.name = "traceql" }"#).len();
    assert!((170..=200).contains(&n_traces), "{n_traces}");
}
