//! The real binary taking traces in over OTLP and answering queries about them: live, flushed, and
//! after a restart.

use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;

use crate::support::golden;
use crate::support::http::{RANGE, Server, encoded};
use crate::support::ingesting::{Folders, Ingesting, name, request, traces_of};

/// One answer of each kind and shape of query.
pub(crate) fn questions() -> Vec<String> {
    let searches = [
        "{ }",
        "{ status = error }",
        "{ kind = server } >> { kind = client }",
        "{ } | select(span.http.response.status_code, name)",
        "{ trace:duration > 50ms } | count() > 5",
        "{ } | by(resource.service.name) | avg(duration) > 1ms",
    ];
    let metrics = [
        "{ } | rate() by (resource.service.name)",
        "{ status = error } | count_over_time()",
        "{ } | quantile_over_time(duration, .5, .9) by (name)",
        "{ } | max_over_time(duration) by (status)",
    ];
    let paths = [
        "/api/v2/search/tags?limit=1000",
        "/api/search/tags?scope=resource",
        "/api/v2/search/tag/resource.service.name/values?limit=1000",
        "/api/v2/search/tag/name/values?q=%7Bstatus%3Derror%7D&limit=1000",
    ];
    let search =
        |query: &&str| format!("/api/search?{RANGE}&limit=100000&spss=10000&q={}", encoded(query));
    let metric = |query: &&str| {
        format!("/api/metrics/query_range?{RANGE}&step=60&exemplars=0&q={}", encoded(query))
    };
    let path = |path: &&str| format!("{path}&{RANGE}");
    let searches = searches.iter().map(search);
    searches.chain(metrics.iter().map(metric)).chain(paths.iter().map(path)).collect()
}

/// An answer without what it cost, in an order that does not depend on blocks.
pub(crate) fn answer(server: &Server, target: &str) -> Json {
    let mut answer = server.json(target);
    answer.as_object_mut().expect("an object").remove("metrics");
    for list in ["traces", "tagValues", "scopes", "series"] {
        if let Some(list) = answer[list].as_array_mut() {
            list.sort_by_cached_key(|element| match &element["traceID"] {
                Json::String(id) => id.clone(),
                _ => element.to_string(),
            });
        }
    }
    sort_spans(&mut answer);
    answer
}

/// Which span of a spanset comes first depends on where its trace lies.
fn sort_spans(of: &mut Json) {
    match of {
        Json::Array(list) => list.iter_mut().for_each(sort_spans),
        Json::Object(fields) => {
            fields.remove("spanSet"); // A copy of the first.
            // Of several roots the last that came is shown.
            fields.remove("rootTraceName");
            fields.remove("rootServiceName");
            fields.remove("exemplars"); // Some of many spans, the first that are met.
            fields.values_mut().for_each(sort_spans);
            for name in ["spans", "spanSets"] {
                if let Some(Json::Array(list)) = fields.get_mut(name) {
                    list.sort_by_cached_key(ToString::to_string);
                }
            }
        }
        _ => {}
    }
}

/// Parts of traces as several senders would send them: spans dealt out to so many.
pub(crate) fn dealt_out(traces: &[Trace], n_senders: usize) -> Vec<Vec<Trace>> {
    (0..n_senders)
        .map(|sender| {
            let part = |trace: &Trace| {
                let (mut part, mut number) = (trace.clone(), 0);
                part.retain_spans(|_| {
                    number += 1;
                    number % n_senders == sender
                });
                (!part.resource_spans.is_empty()).then_some(part)
            };
            traces.iter().filter_map(part).collect()
        })
        .collect()
}

/// Of so many questions one is asked at a time: where every trace lies in several places, all of them
/// take long.
const SHARE: usize = 10;

/// The first difference between two servers' answers, to every tenth question from one on.
fn check_same(expected: &[(String, Json)], from: usize, server: &Server, when: &str) {
    for (target, expected) in expected.iter().skip(from).step_by(SHARE) {
        let given = answer(server, target);
        if let Some(difference) = golden::first_difference("", expected, &given) {
            panic!("{when}: {target}\n{difference}");
        }
    }
}

#[test]
fn what_is_sent_answers_like_blocks_while_live_when_flushed_and_after_a_restart() {
    let shop = golden::testdata("blocks/shop");
    let traces = traces_of(&shop, "shop5");
    let reference = Server::start();
    let questions = questions();
    let expected: Vec<(String, Json)> =
        questions.iter().map(|target| (target.clone(), answer(&reference, target))).collect();
    for (target, expected) in &expected {
        assert!(expected.to_string().len() > 150, "{target} tells nothing: {expected}");
    }
    drop(reference);

    let folders = Folders::new();
    // Nothing is flushed on its own, however long the questions take.
    let ingesting = folders.start(&["--multitenant", "--block-age", "1h"]);
    let parts = dealt_out(&traces, 3);
    for part in &parts[..2] {
        let status = ingesting.send_protobuf(Some("shop5"), &otlp::to_protobuf(part));
        assert_eq!(status, Some(200));
    }
    // Some of every trace is in a block, some in memory.
    assert_eq!(ingesting.flush().status, 200);
    assert!(folders.segments().is_empty());
    assert_eq!(ingesting.send_protobuf(Some("shop5"), &otlp::to_protobuf(&parts[2])), Some(200));
    check_same(&expected, 0, &ingesting.server, "partly live");

    // The same trace by id, in every store that is named.
    let id = traces[7].id;
    let spans = |more: &str| {
        let target = format!("/api/v2/traces/{id}?{more}");
        let trace = ingesting.server.json(&target)["trace"].take();
        crate::support::http::spans(&trace, "resourceSpans").len()
    };
    let live = parts[2].iter().find(|part| part.id == id).map_or(0, Trace::span_count);
    assert_eq!(spans(""), traces[7].span_count());
    assert_eq!(spans("mode=ingesters"), live);
    assert_eq!(spans("mode=blocks"), traces[7].span_count() - live);

    assert_eq!(ingesting.flush().status, 200);
    check_same(&expected, 3, &ingesting.server, "flushed");
    drop(ingesting);
    let ingesting = folders.start(&["--multitenant"]);
    check_same(&expected, 6, &ingesting.server, "after a restart");
}

#[test]
fn a_server_that_is_told_to_stop_flushes_and_one_that_is_killed_replays() {
    let folders = Folders::new();
    let mut ingesting = folders.start(&[]);
    assert_eq!(ingesting.send(None, &request(&[(0, 0), (1, 1)])).unwrap().0, 200);
    assert_eq!(ingesting.found("").len(), 2);
    assert!(folders.stored("single-tenant").is_empty());
    assert!(ingesting.server.terminate().success());
    assert_eq!(folders.stored("single-tenant").len(), 2);
    assert!(folders.segments().is_empty());

    let ingesting = folders.start(&[]);
    let (status, body) = ingesting.send(None, &request(&[(0, 2)])).unwrap();
    assert_eq!((status, body), (200, json!({"partialSuccess": {}})));
    drop(ingesting); // It is killed.
    assert_eq!(folders.segments().len(), 1);
    let mut ingesting = folders.start(&[]);
    let found = ingesting.found("");
    assert_eq!(found.values().copied().collect::<Vec<_>>(), [1, 1, 1], "{found:?}");
    assert!(ingesting.server.terminate().success());
    assert_eq!(folders.stored("single-tenant"), found);
}

#[test]
fn traces_are_flushed_when_it_is_time() {
    let folders = Folders::new();
    let short = ["--trace-idle", "100ms", "--trace-age", "300ms", "--block-age", "100ms"];
    let ingesting = folders.start(&short);
    assert_eq!(ingesting.send(None, &request(&[(0, 0)])).unwrap().0, 200);
    for _ in 0..500 {
        if !folders.stored_blocks("single-tenant").is_empty() && folders.segments().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(folders.stored("single-tenant")[&name(0)], 1);
    assert_eq!(ingesting.found("")[&name(0)], 1);
}

#[test]
fn tenants_see_their_own_spans_alone() {
    let folders = Folders::new();
    let ingesting = folders.start(&["--multitenant"]);
    assert_eq!(ingesting.send(Some("a"), &request(&[(0, 1)])).unwrap().0, 200);
    // The same trace id, and another one.
    assert_eq!(ingesting.send(Some("b"), &request(&[(0, 2), (1, 3)])).unwrap().0, 200);
    let (status, body) = ingesting.send(None, &request(&[(0, 6)])).unwrap();
    assert_eq!((status, &body["code"], &body["message"]), (503, &json!(14), &json!("no org id")));
    let (status, body) = ingesting.send(Some("a|b"), &request(&[(0, 4)])).unwrap();
    assert_eq!((status, &body["message"]), (400, &json!("multiple org IDs present")));
    assert_eq!(ingesting.send(Some("../b"), &request(&[(0, 5)])).unwrap().0, 400);
    let check = |ingesting: &Ingesting| {
        let names = |tenant| ingesting.found(tenant).into_keys().collect::<Vec<_>>();
        assert_eq!(names("a"), [name(1)]);
        assert_eq!(names("b"), [name(2), name(3)]);
        assert_eq!(names("c"), [""; 0]);
        // Of a trace that both have, one is shown, as everywhere.
        let both = names("a|b");
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(both.contains(&name(3)), "{both:?}");
        let target = format!("/api/v2/traces/{:032x}", 1);
        let trace = ingesting.server.ask("GET", &target, &[("X-Scope-OrgID", "b")]).json(&target);
        let spans = crate::support::http::spans(&trace["trace"], "resourceSpans");
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0]["name"], json!(name(2)));
    };
    check(&ingesting);
    assert_eq!(ingesting.flush().status, 200);
    check(&ingesting);
}

#[test]
fn wrong_spans_and_too_many_are_told() {
    let folders = Folders::new();
    let limits = ["--max-live-traces", "2", "--ingest-rate", "1", "--ingest-burst", "2000"];
    let ingesting = folders.start(&limits);
    let mut wrong = request(&[(0, 0)]);
    let span = &mut wrong["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["spanId"] = json!("0000000000000000");
    let (status, body) = ingesting.send(None, &wrong).unwrap();
    assert_eq!((status, &body["code"]), (400, &json!(3)));
    let told = body["message"].as_str().unwrap();
    assert_eq!(told, "span ids must be 64 bit and not all zero, received 64 bits");
    let span = &mut wrong["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["traceId"] = json!("0af7651916cd43dd");
    let (status, body) = ingesting.send(None, &wrong).unwrap();
    let told = body["message"].as_str().unwrap();
    assert!(told.contains("trace ids must be 128 bit, received 64 bits"), "{told}");
    assert_eq!(status, 400);

    let (status, body) = ingesting.send(None, &request(&[(0, 0), (1, 1), (2, 2)])).unwrap();
    let partial = &body["partialSuccess"];
    assert_eq!((status, &partial["rejectedSpans"]), (200, &json!("1")), "{body}");
    let mut answers = (0..20).map(|n| ingesting.send(None, &request(&[(0, 10 + n)])).unwrap());
    let (_, body) = answers.find(|(status, _)| *status == 429).expect("a rate limit");
    assert_eq!(body["code"], json!(8));
    assert!(body["message"].as_str().unwrap().starts_with("RATE_LIMITED: "), "{body}");
    let hint = json!([{
        "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s",
    }]);
    assert_eq!(body["details"], hint);

    // Each is counted once, under the name that alerts on a Tempo ask for.
    for (reason, n) in [
        ("invalid_span_id", 1.0),
        ("live_traces_exceeded", 1.0),
        ("rate_limited", 1.0),
        ("trace_too_large", 0.0),
    ] {
        let name = format!("tempo_discarded_spans_total{{reason=\"{reason}\"}}");
        assert_eq!(ingesting.sample(&name), n, "{name}");
    }
    let invalid = "traceql_received_requests_total{protocol=\"otlp_http\",result=\"invalid\"}";
    assert_eq!(ingesting.sample(invalid), 2.0);
}

#[test]
fn arguments_that_cannot_work_are_refused() {
    let refused = |arguments: &[&str]| {
        let output = crate::support::binary::run(&[&["serve"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        crate::support::binary::stderr(&output)
    };
    let otlp = ["--otlp-http", "127.0.0.1:0"];
    let told = refused(&[&["-s", "sample:", "--wal", "/nonexistent/wal"][..], &otlp].concat());
    assert!(told.contains("sample"), "{told}");
    assert!(refused(&[&["-s", "x"][..], &otlp].concat()).contains("--wal"));
    assert!(refused(&["-s", "sample:", "--wal", "/w"]).contains("--otlp-grpc"));
    for (source, wal) in
        [("/nonexistent", "/nonexistent/w"), ("tests", "./tests/w"), ("src/../tests", "tests/w")]
    {
        let inside = refused(&[&["-s", source, "--wal", wal][..], &otlp].concat());
        assert!(inside.contains("lies in the folder of the tenants"), "{inside}");
    }
    let address = refused(&["-s", "sample:", "--listen", "everywhere"]);
    assert!(address.contains("--listen: \"everywhere\" is no address and port"), "{address}");
    let host = refused(&["-s", "sample:", "--otlp-http", ":4318", "--wal", "/w"]);
    assert!(host.contains("0.0.0.0:4318"), "{host}");
}

#[test]
fn spans_of_one_tenant_go_to_the_default_whatever_folder_there_is() {
    let folders = Folders::new();
    std::fs::create_dir_all(folders.bucket().join("backup")).unwrap();
    let mut ingesting = folders.start(&[]);
    assert_eq!(ingesting.send(None, &request(&[(0, 0)])).map(|(status, _)| status), Some(200));
    assert!(ingesting.server.terminate().success());
    assert_eq!(folders.stored("single-tenant").len(), 1);
    assert!(folders.stored_blocks("backup").is_empty());
    let mut again = folders.start(&[]);
    assert_eq!(again.found("single-tenant").len(), 1);
    assert!(again.server.terminate().success());
}

#[test]
fn the_python_sdk_sends_over_every_protocol() {
    let Some(python) = crate::capture::python() else {
        use std::io::Write as _;
        let said = "SKIPPED ingest::the_python_sdk_sends_over_every_protocol: no Python has \
                    opentelemetry-sdk and its exporters";
        drop(writeln!(std::io::stderr(), "{said}"));
        return;
    };
    let folders = Folders::new();
    let ingesting = folders.start(&[]);
    for (n, how) in
        [&["grpc"][..], &["grpc", "gzip"], &["http"], &["http", "gzip"]].iter().enumerate()
    {
        let address = if how[0] == "grpc" { &ingesting.grpc } else { ingesting.http() };
        let sent = Command::new(&python)
            .arg("testdata/otlp/send.py")
            .args(*how)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .env("OTEL_EXPORTER_OTLP_INSECURE", "true")
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(sent.success(), "{how:?}");
        let found: usize = ingesting.found("").values().sum();
        assert_eq!(found, (n + 1) * 10, "{how:?}");
    }
}

/// Blocks of a server, of both formats, give the answers that a Tempo gives of its own.
#[tokio::test]
async fn blocks_of_a_server_give_the_recorded_answers() {
    for (format, tenant) in [("vparquet5", "shop5"), ("vparquet4", "shop4")] {
        let folders = Folders::new();
        let mut ingesting = folders.start(&["--multitenant", "--block-format", format]);
        // Of several roots the last that comes is shown, here as by Tempo. Blocks have them the other
        // way round than they were sent.
        for part in traces_of(&golden::testdata("blocks/shop"), tenant).chunks_mut(170) {
            for resource_spans in part.iter_mut().flat_map(|trace| &mut trace.resource_spans) {
                resource_spans.scope_spans.iter_mut().for_each(|scope| scope.spans.reverse());
                resource_spans.scope_spans.reverse();
            }
            part.iter_mut().for_each(|trace| trace.resource_spans.reverse());
            let status = ingesting.send_protobuf(Some(tenant), &otlp::to_protobuf(part));
            assert_eq!(status, Some(200));
        }
        assert!(ingesting.server.terminate().success());
        let blocks = folders.stored_blocks(tenant);
        assert_eq!(blocks.len(), 1);
        let meta = std::fs::read_to_string(blocks[0].join("meta.json")).unwrap();
        let version = format.replace("vparquet", "vParquet");
        assert!(meta.contains(&format!("\"format\":\"{version}\"")), "{meta}");
        crate::golden::engine_agrees(&folders.bucket(), tenant).await;
        crate::golden::metrics_engine_agrees(&folders.bucket(), tenant).await;
    }
}
