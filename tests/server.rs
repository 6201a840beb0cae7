//! The real binary as a server, asked over HTTP as Tempo's clients ask.

use std::collections::BTreeSet;
use std::io::{BufReader, Read as _};
use std::process::Command;

use prost::Message as _;
use serde_json::{Map, Value as Json, json};
use traceql_server::api::protobuf::{SearchResponse, TraceByIdResponse};

use crate::support::golden;
use crate::support::http::{Answer, RANGE, Server, encoded, exchange, exchange_body, spans};

fn search(query: &str, more: &str) -> String {
    format!("/api/search?{RANGE}&q={}{more}", encoded(query))
}

/// A search's answer in the shape of the recording.
fn search_shape(answer: &Json) -> Map<String, Json> {
    let list = |of: &Json, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let attributes = |of: &Json| -> Vec<Json> {
        list(of, "attributes").iter().map(|a| json!([a["key"], a["value"]])).collect()
    };
    let traces = list(answer, "traces");
    let shape = |trace: &Json| {
        let stats: Map<String, Json> = trace["serviceStats"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, stats)| {
                let count = |what: &str| stats[what].as_u64().unwrap_or_default();
                (name.clone(), json!([count("spanCount"), count("errorCount")]))
            })
            .collect();
        let spansets: Vec<Json> = list(trace, "spanSets")
            .iter()
            .map(|spanset| {
                let spans: Vec<Json> = list(spanset, "spans")
                    .iter()
                    .map(|span| {
                        let duration = span["durationNanos"].as_str().unwrap_or("0");
                        json!([
                            span["spanID"],
                            null,
                            span["startTimeUnixNano"],
                            duration,
                            attributes(span)
                        ])
                    })
                    .collect();
                json!({
                    "matched": spanset["matched"],
                    "attributes": attributes(spanset),
                    "spans": spans,
                })
            })
            .collect();
        json!({
            "rootServiceName": trace["rootServiceName"],
            "rootTraceName": trace["rootTraceName"],
            "startTimeUnixNano": trace["startTimeUnixNano"],
            "durationMs": trace["durationMs"].as_u64().unwrap_or_default(),
            "serviceStats": stats,
            "spanSets": spansets,
        })
    };
    let id = |trace: &Json| format!("{:0>32}", trace["traceID"].as_str().expect("an id"));
    traces.iter().map(|trace| (id(trace), shape(trace))).collect()
}

/// The recorded answers whose question begins so, by the rest of the question.
fn recorded(kind: &str) -> Vec<(String, Json)> {
    let questions = golden::questions().into_iter();
    let of_kind: Vec<_> = questions
        .filter_map(|(question, mut answer)| {
            let rest = question.strip_prefix(kind)?.strip_prefix(" :: ")?;
            Some((rest.to_owned(), answer["expect"].take()))
        })
        .collect();
    assert!(!of_kind.is_empty(), "{kind}");
    of_kind
}

#[test]
fn searches_have_pages_for_who_asks() {
    let server = Server::start();
    let query = "{ } | order_by(duration desc)";
    let page = |after: &str| {
        let answer = server.json(&search(query, &format!("&limit=2{after}")));
        let traces = answer["traces"].as_array().expect("traces").clone();
        let ids: Vec<Json> = traces.iter().map(|trace| trace["traceID"].clone()).collect();
        (ids, answer.get("cursor").and_then(Json::as_str).map(str::to_owned))
    };
    let (first, cursor) = page("&after=start");
    let (second, _) = page(&format!("&after={}", cursor.expect("there is more")));
    let whole = server.json(&search(query, "&limit=4"));
    let ids: Vec<Json> = whole["traces"]
        .as_array()
        .expect("traces")
        .iter()
        .map(|trace| trace["traceID"].clone())
        .collect();
    assert_eq!([first.clone(), second].concat(), ids);
    // Tempo's clients are told nothing that they do not know.
    assert_eq!(page(""), (first, None));
    let refused = server.get(&search(query, "&after=x"));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("invalid after: this is no cursor"), "{}", refused.text());
}

#[test]
fn searches_answer_as_recorded() {
    let server = Server::start();
    let connection = &mut BufReader::new(server.connect());
    for tenant in ["shop5", "shop4", "shop3"] {
        let mut differences = Vec::new();
        let mut n_agreeing = 0;
        for question in golden::searches() {
            if tenant == "shop3" && question.query.contains("instrumentation.") {
                continue;
            }
            let Some(expected) = question.expected else { continue };
            let target = search(&question.query, "&limit=100000&spss=10000");
            let answer = exchange(connection, "GET", &target, &[("X-Scope-OrgID", tenant)]);
            if answer.status != 200 {
                differences.push(format!("{}\n  {}", question.query, answer.text()));
                continue;
            }
            let answer = search_shape(&answer.json(&target));
            match golden::shape_difference(&expected, answer) {
                Some(difference) => differences.push(format!("{}\n  {difference}", question.query)),
                None => n_agreeing += 1,
            }
        }
        assert!(differences.is_empty(), "{tenant}: {}", differences.join("\n"));
        assert!(n_agreeing >= 120, "{tenant}: {n_agreeing}");
    }
}

#[test]
fn tag_names_and_values_answer_as_recorded() {
    let server = Server::start();
    for (scope, expected) in recorded("tags") {
        let target = format!("/api/v2/search/tags?scope={scope}&{RANGE}&limit=1000");
        let answer = server.json(&target);
        let scopes = answer["scopes"].as_array().expect("scopes").iter();
        let names: Map<String, Json> = scopes
            .map(|s| (s["name"].as_str().expect("a name").into(), s["tags"].clone()))
            .collect();
        assert_eq!(Json::Object(names), expected, "{target}");
    }
    for (question, expected) in recorded("tagvalues") {
        let (tag, filter) = question.split_once(' ').expect("a tag and a filter");
        let (tag, filter) = (encoded(tag), encoded(filter));
        let target = format!("/api/v2/search/tag/{tag}/values?q={filter}&{RANGE}&limit=1000");
        let answer = server.json(&target);
        let values = answer["tagValues"].as_array().expect("values").iter();
        let mut values: Vec<Json> = values.map(|v| json!([v["type"], v["value"]])).collect();
        values.sort_by_cached_key(Json::to_string);
        let mut expected = expected.as_array().expect("a list").clone();
        expected.sort_by_cached_key(Json::to_string);
        assert_eq!(values, expected, "{target}");
    }
}

#[test]
fn a_trace_comes_in_every_version_and_form() {
    let server = Server::start();
    for (id, expected) in recorded("trace") {
        let n_spans = expected.as_array().expect("one row a span").len();
        let second = server.json(&format!("/api/v2/traces/{id}"));
        assert_eq!(spans(&second["trace"], "resourceSpans").len(), n_spans, "{id}");
        let first = server.json(&format!("/api/traces/{}", id.to_uppercase()));
        assert_eq!(first["batches"], second["trace"]["resourceSpans"], "{id}");

        let tenant = ("X-Scope-OrgID", "shop5");
        let protobuf = ("Accept", "application/protobuf");
        let answer = server.ask("GET", &format!("/api/v2/traces/{id}"), &[tenant, protobuf]);
        assert_eq!(answer.headers["content-type"], "application/protobuf");
        let message = TraceByIdResponse::decode(answer.body.as_slice()).expect("protobuf");
        let resource_spans = message.trace.expect("a trace").resource_spans;
        let scopes = resource_spans.iter().flat_map(|rs| &rs.scope_spans);
        assert_eq!(scopes.map(|ss| ss.spans.len()).sum::<usize>(), n_spans, "{id}");

        let llm = ("Accept", "application/vnd.grafana.llm");
        let answer = server.ask("GET", &format!("/api/v2/traces/{id}"), &[tenant, llm]);
        assert_eq!(answer.headers["content-type"], "application/vnd.grafana.llm+json");
        let shape: Json = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(shape["trace"]["traceId"], json!(id));
        let span = &shape["trace"]["services"][0]["scopes"][0]["spans"][0];
        let time =
            |name: &str| -> u64 { span[name].as_str().expect("text").parse().expect("time") };
        let nanos = time("endTimeUnixNano") - time("startTimeUnixNano");
        assert_eq!(span["durationMs"].as_f64(), Some(nanos as f64 / 1e6), "{id}: {span}");
    }
}

#[test]
fn an_unknown_trace_is_empty_or_not_found() {
    let server = Server::start();
    let id = "ffffffffffffffffffffffffffffff01";
    let answer = server.json(&format!("/api/v2/traces/{id}"));
    assert_eq!(answer["trace"], json!({}));
    let accept = [("X-Scope-OrgID", "shop5"), ("Accept", "application/protobuf")];
    let answer = server.ask("GET", &format!("/api/v2/traces/{id}"), &accept);
    assert_eq!((answer.status, &answer.body[..2]), (200, &[0x0a, 0][..]));
    let answer = server.get(&format!("/api/traces/{id}"));
    assert_eq!((answer.status, answer.text().as_str()), (404, ""));
}

#[test]
fn spans_of_a_trace_can_be_filtered() {
    let server = Server::start();
    let (id, _) = recorded("trace").swap_remove(0);
    let whole = server.json(&format!("/api/v2/traces/{id}"));
    let all = spans(&whole["trace"], "resourceSpans");
    let child = all.iter().find(|span| span["parentSpanId"].is_string()).expect("a child");
    let name = &child["name"];
    let filter = encoded(&format!("{{ name = {name} }}"));
    let named = all.iter().filter(|span| span["name"] == *name).count();
    assert!(named < all.len());

    let answer = server.json(&format!("/api/v2/traces/{id}?q={filter}"));
    let kept = spans(&answer["trace"], "resourceSpans");
    assert_eq!(kept.len(), named);
    assert!(kept.iter().all(|span| span["name"] == *name));
    assert_eq!(answer["status"], "PARTIAL");
    assert_eq!(
        answer["message"],
        "Trace filtered, only a subset of spans matching the filter is returned"
    );

    let answer = server.json(&format!("/api/v2/traces/{id}?q={filter}&keep_hierarchy=true"));
    let kept = spans(&answer["trace"], "resourceSpans");
    assert!(kept.iter().any(|span| span["spanId"] == child["parentSpanId"]), "{answer}");

    let answer = server.json(&format!("/api/v2/traces/{id}?q={}", encoded("{ }")));
    assert_eq!(answer["trace"], whole["trace"]);
    assert_eq!(answer["status"], Json::Null);
}

#[test]
fn spans_that_share_an_id_get_one_each() {
    let fixtures = golden::testdata("blocks/fixtures/vParquet5");
    let fixtures = fixtures.to_str().expect("UTF-8");
    let server = Server::start_with(&["--source", fixtures, "--tenant", "synthetic"]);
    // A client and a server span share an id; the server span names it as its parent already.
    let path = "/api/v2/traces/ff112e369081b13d328cd57916c2374f";
    let of_kind = |target: &str, kind: &str| -> Vec<Json> {
        let trace = server.json(target)["trace"].clone();
        let spans = spans(&trace, "resourceSpans").into_iter();
        spans.filter(|span| span["kind"] == kind).cloned().collect()
    };
    let clients = of_kind(path, "SPAN_KIND_CLIENT");
    let servers = of_kind(path, "SPAN_KIND_SERVER");
    let pair = servers.iter().find_map(|server| {
        let client = clients.iter().find(|client| client["spanId"] == server["parentSpanId"])?;
        Some((client, server))
    });
    let (client, moved) = pair.expect("the server span is the client's child");
    assert_ne!(client["spanId"], moved["spanId"]);
    let whole = server.json(path)["trace"].clone();
    let all = spans(&whole, "resourceSpans");
    let ids: BTreeSet<String> = all.iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!(ids.len(), all.len());
    let first = server.json("/api/traces/ff112e369081b13d328cd57916c2374f");
    assert_eq!(first["batches"], whole["resourceSpans"]);

    // A filter tells the two apart, and the hierarchy is that of the new ids.
    let filter = encoded(&format!("{{ kind = server && name = {} }}", moved["name"]));
    let alone = server.json(&format!("{path}?q={filter}"))["trace"].clone();
    assert!(spans(&alone, "resourceSpans").iter().all(|span| span["kind"] == moved["kind"]));
    let upward = format!("{path}?q={filter}&keep_hierarchy=true&ancestor_depth=1");
    assert_eq!(of_kind(&upward, "SPAN_KIND_CLIENT"), std::slice::from_ref(client));
}

#[test]
fn parameters_that_only_spare_work_change_no_answer() {
    let server = Server::start();
    let (id, _) = recorded("trace").swap_remove(0);
    for (target, more) in [
        (format!("/api/v2/traces/{id}?"), "span_pruning=true&span_pruning_min_spans=2"),
        (format!("/api/v2/search/tags?{RANGE}"), "&maxStaleValues=1"),
        (format!("/api/v2/search/tag/name/values?{RANGE}"), "&maxStaleValues=1"),
    ] {
        let without_cost = |target: &str| {
            let mut answer = server.json(target);
            answer.as_object_mut().expect("an object").remove("metrics");
            answer
        };
        assert_eq!(without_cost(&target), without_cost(&format!("{target}{more}")), "{target}");
    }
}

#[test]
fn wrong_requests_get_tempos_answers() {
    let server = Server::start();
    let id33 = "a".repeat(33);
    let cases = [
        ("/api/search?q=%7B%20", 400, "invalid TraceQL query: parse error at line 1, col 3: "),
        (
            "/api/search?q=%7B%20span.foo%20%3D%201%20%26%26%20%22x%22%20%7D",
            400,
            "invalid TraceQL query: ",
        ),
        ("/api/search?limit=0", 400, "invalid limit: must be a positive number"),
        (
            "/api/search?start=100&end=50",
            400,
            "http parameter start must be before end. received start=100 end=50",
        ),
        (
            "/api/search?q=%7B%7D&tags=a%3Db",
            400,
            "invalid request: can't specify tags and q in the same query",
        ),
        ("/api/search?tags=a%3Db%20a%3Dc", 400, "invalid tags: tag a has been set twice"),
        (
            "/api/search?minDuration=5x",
            400,
            "invalid minDuration: time: unknown unit \"x\" in duration \"5x\"",
        ),
        (
            "/api/search?minDuration=1s&maxDuration=10ms",
            400,
            "invalid maxDuration: must be greater than minDuration",
        ),
        ("/api/search?limit=many", 400, "invalid limit: \"many\" is not a whole number"),
        (
            "/api/search?spss=99999999999999999999",
            400,
            "invalid spss: 99999999999999999999 is too large",
        ),
        (
            "/api/search?since=xx",
            400,
            "error parsing date range: could not parse 'since' parameter: not a valid duration string: \"xx\"",
        ),
        ("/api/search?start=2026-01-01T00:00:00Z&end=1767229500", 400, "invalid start: "),
        (
            "/api/v2/search/tags?start=1795338050",
            400,
            "error parsing date range: only one of start and end provided: must provide both or neither",
        ),
        ("/api/v2/search/tags?scope=bogus", 400, "invalid scope: bogus"),
        (
            "/api/v2/search/tag/service.name/values",
            400,
            "please provide a valid tagName: failed to parse identifier service.name: parse error at line 1, col 1: ",
        ),
        (
            "/api/v2/search/tag/name)%20%7C%20select(kind/values",
            400,
            "please provide a valid tagName",
        ),
        (
            "/api/traces/zzzz",
            400,
            "trace IDs can only contain hex characters: invalid character 'z' at position 1",
        ),
        (&format!("/api/v2/traces/{id33}"), 400, "trace IDs can't be larger than 128 bits"),
        ("/api/v2/traces/a?q=%7Bname%3D%22x%22%7D%7Ccount()%3E1", 400, "invalid TraceQL filter: "),
        ("/api/v2/traces/a?mode=nosuch", 400, "invalid value for mode: nosuch"),
        ("/api/nosuch", 404, "404 page not found\n"),
        ("/v1/traces", 501, "OTLP on the address of queries"),
    ];
    for (target, status, text) in cases {
        let answer = server.get(target);
        let shown = &target[..target.len().min(100)];
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        assert!(answer.text().starts_with(text), "{shown}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8", "{shown}");
    }
}

#[test]
fn wrong_metrics_requests_get_tempos_answers() {
    let server = Server::start();
    let too_long = "metrics query time range exceeds the maximum allowed duration of 24h0m0s";
    let inside = "query window falls entirely within query_end_cutoff";
    let cases = [
        ("q={ }", "not a metrics query"),
        ("query={ }", "not a metrics query"),
        ("q={ }&query={ } | rate()", "not a metrics query"),
        ("", "invalid TraceQL query: parse error at line 1, col 1: "),
        ("q={ } | rate(", "invalid TraceQL query: parse error at line 1, col 12: "),
        ("q={ } | quantile_over_time(duration, 2)", "invalid TraceQL query: "),
        ("q={ } | rate()&start=100&end=100", "end must be greater than start"),
        ("q={ } | rate()&since=3d", too_long),
        ("q={ } | rate()&start=2026-01-01T00:00:00Z&end=2026-01-03T00:00:00+02:00", too_long),
        ("q={ } | rate()&since=1s", inside),
        ("q={ } | rate()&start=1.7e", "could not parse 'start' parameter: "),
        ("q={ } | rate()&end=yesterday", "could not parse 'end' parameter: "),
        ("q={ } | rate()&since=1.5h", "could not parse 'since' parameter: "),
    ];
    for (parameters, text) in cases {
        let parameters: Vec<String> = parameters
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        for endpoint in ["query_range", "query"] {
            let answer = server.get(&format!("/api/metrics/{endpoint}?{}", parameters.join("&")));
            let shown = format!("{endpoint} {parameters:?}: {}", answer.text());
            assert_eq!(answer.status, 400, "{shown}");
            assert!(answer.text().starts_with(text), "{shown}");
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8", "{shown}");
        }
    }
    let rate = encoded("{ } | rate()");
    for (parameters, text) in [
        ("step=1d", "could not parse 'step' parameter: time: unknown unit \"d\""),
        ("step=-15", "could not parse 'step' parameter: "),
        ("step=0", "the step must be greater than zero"),
        (
            "step=1ms&start=100&end=3700",
            "step of 1ms is too small, minimum step for given range is 360ms",
        ),
        ("instant=maybe", "invalid instant: "),
        ("maxSeries=few", "invalid maxSeries: "),
    ] {
        let answer = server.get(&format!("/api/metrics/query_range?q={rate}&{parameters}"));
        assert_eq!(answer.status, 400, "{parameters}");
        assert!(answer.text().starts_with(text), "{parameters}: {}", answer.text());
    }
}

#[test]
fn bounds_of_metrics_queries_can_be_set() {
    let shop = golden::testdata("blocks/shop/shop5");
    let source = ["--source", shop.to_str().expect("UTF-8")];
    let bounds = [
        "--max-metrics-duration",
        "2h",
        "--max-metrics-intervals",
        "60",
        "--metrics-end-cutoff",
        "5m",
    ];
    let server = Server::start_with(&[&source[..], &bounds].concat());
    let rate = encoded("{ } | rate()");
    for (parameters, text) in [
        ("since=3h", "metrics query time range exceeds the maximum allowed duration of 2h0m0s"),
        (
            "start=3600&end=7200&step=10",
            "step of 10s is too small, minimum step for given range is 1m0s",
        ),
        ("since=4m", "query window falls entirely within query_end_cutoff"),
    ] {
        let answer = server.get(&format!("/api/metrics/query_range?q={rate}&{parameters}"));
        assert_eq!((answer.status, answer.text().as_str()), (400, text), "{parameters}");
    }
    let bad = Command::new(env!("CARGO_BIN_EXE_traceql"))
        .args(["serve", "--source", "sample:", "--max-metrics-duration", "1x"])
        .env_clear()
        .output()
        .expect("the binary starts");
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("--max-metrics-duration: "));
}

#[test]
fn an_absurdly_long_request_is_refused_and_no_more() {
    let server = Server::start();
    let answer = server.get(&format!("/api/search?q={}", "x".repeat(100_000)));
    assert_eq!(answer.status, 414);
    assert_eq!(server.get("/api/echo").text(), "echo\n");
}

/// The query as a form of its own, the range in the URL.
fn posted(server: &Server, query: &str) -> Answer {
    let headers = [
        ("X-Scope-OrgID", "shop5"),
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
    ];
    let connection = &mut BufReader::new(server.connect());
    let body = format!("q={}&limit=7", encoded(query));
    exchange_body(connection, "POST", &format!("/api/search?{RANGE}&q="), &headers, &body)
}

#[test]
fn a_query_too_long_for_a_url_comes_as_a_form() {
    let server = Server::start();
    let target = search("{ status = error }", "&limit=7");
    let expected = server.json(&target)["traces"].clone();
    assert_eq!(expected.as_array().expect("traces").len(), 7);
    assert_eq!(posted(&server, "{ status = error }").json(&target)["traces"], expected);

    // As long as a query may be, each byte three of the form.
    const MOST_BYTES: usize = 128 << 10;
    let long = |n_bytes: usize| {
        let query = "{ status = error }";
        format!("/*{}*/{query}", "*".repeat(n_bytes - query.len() - 4))
    };
    assert_eq!(posted(&server, &long(MOST_BYTES)).json(&target)["traces"], expected);
    let answer = posted(&server, &long(MOST_BYTES + 1));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("maximum size of 131072 bytes"), "{}", answer.text());
    assert_eq!(posted(&server, &long(1 << 20)).status, 413);
    // Bodies of other types are not read, as Tempo reads none.
    let json = [("X-Scope-OrgID", "shop5"), ("Content-Type", "application/json")];
    let connection = &mut BufReader::new(server.connect());
    let answer = exchange_body(connection, "POST", &target, &json, "{\"limit\":1}");
    assert_eq!(answer.json(&target)["traces"], expected);
}

#[test]
fn tenants_come_from_the_header() {
    let server = Server::start();
    let target = search("{ status = error }", "&limit=1000");
    let ask = |tenant: &str| server.ask("GET", &target, &[("X-Scope-OrgID", tenant)]);
    let count = |answer: &Answer| answer.json(&target)["traces"].as_array().expect("traces").len();

    let one = count(&ask("shop5"));
    assert!(one > 20);
    // Both tenants hold the same traces, which are answered once.
    assert_eq!(count(&ask("shop5|shop4|shop5|nosuch")), one);
    assert_eq!(count(&ask("nosuch")), 0);
    for missing in [server.ask("GET", &target, &[]), ask("")] {
        assert_eq!((missing.status, missing.text().as_str()), (401, "no org id\n"));
    }
    for bad in ["../shop5", "a b", "a||b"] {
        assert_eq!(ask(bad).status, 400, "{bad}");
    }
    for open in ["/api/echo", "/ready", "/api/status/buildinfo"] {
        assert_eq!(server.ask("GET", open, &[]).status, 200, "{open}");
    }
}

#[test]
fn limits_have_tempos_defaults_and_no_maxima() {
    let server = Server::start();
    let shape = |more: &str| {
        let answer = server.json(&search("{ }", more));
        let traces = answer["traces"].as_array().expect("traces").clone();
        let spansets = traces.iter().map(|trace| &trace["spanSets"][0]);
        let spans = spansets.clone().map(|s| s["spans"].as_array().expect("spans").len());
        let matched = spansets.map(|s| s["matched"].as_u64().expect("a number")).max();
        (traces.len(), spans.max().expect("traces"), matched)
    };
    let (traces, spans, matched) = shape("");
    assert_eq!((traces, spans), (20, 3));
    assert_eq!(shape("&spss=0&blockID=&limit="), (20, 3, matched));
    assert_eq!(shape("&spss=1"), (20, 1, matched));
    let (traces, spans, _) = shape("&spss=1000&limit=300000");
    assert_eq!(traces, 500);
    assert!(spans > 3);

    let bounded = {
        let shop = golden::testdata("blocks/shop/shop5");
        Server::start_with(&["--source", shop.to_str().expect("UTF-8"), "--max-limit", "100"])
    };
    let answer = bounded.get("/api/search?limit=101");
    assert_eq!((answer.status, answer.text().as_str()), (400, "limit 101 exceeds max limit 100"));
    // One tenant's folder needs no header.
    assert_eq!(bounded.ask("GET", &search("{ }", "&limit=100"), &[]).status, 200);
}

#[test]
fn too_many_and_too_slow_queries_are_refused() {
    let shop = golden::testdata("blocks/shop/shop5");
    let source = ["--source", shop.to_str().expect("UTF-8")];
    let slow = Server::start_with(&[&source[..], &["--timeout", "1us"]].concat());
    let target = search("{ }", "&limit=100000&spss=1000");
    let answer = slow.get(&target);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text(), "unable to process request in the configured timeout");

    let bounds = ["--concurrent-queries", "1", "--queued-queries", "0"];
    let narrow = Server::start_with(&[&source[..], &bounds].concat());
    let statuses = || -> Vec<u16> {
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let answer = narrow.get(&target);
                        if answer.status == 429 {
                            assert_eq!(answer.text(), "job queue full");
                        }
                        answer.status
                    })
                })
                .collect();
            asking.into_iter().map(|asked| asked.join().expect("no panic")).collect()
        })
    };
    // Whether two overlap is chance; that none of a hundred do is not.
    let refused = (0..100).map(|_| statuses()).find(|statuses| statuses.contains(&429));
    let refused = refused.expect("one runs while another asks");
    assert!(refused.contains(&200) && refused.iter().all(|status| [200, 429].contains(status)));
}

#[test]
fn without_a_range_only_the_last_quarter_of_an_hour_is_searched() {
    let server = Server::start();
    let count = |target: &str| server.json(target)["traces"].as_array().expect("traces").len();
    assert_eq!(count("/api/search?q=%7B%7D"), 0);
    assert_eq!(count("/api/search?q=%7B%7D&since=50y"), 20);
}

#[test]
fn a_search_by_tags_returns_bare_traces() {
    let server = Server::start();
    let tags = encoded("service.name=paym http.response.status_code=500");
    let answer = server.json(&format!("/api/search?tags={tags}&{RANGE}"));
    let traces = answer["traces"].as_array().expect("traces");
    assert!(!traces.is_empty());
    for trace in traces {
        assert_eq!(trace["spanSets"], Json::Null);
        assert_eq!(trace["serviceStats"], Json::Null);
    }
    let query = r#"{ .service.name =~ ".*paym.*" } && { .http.response.status_code = 500 }"#;
    let same = server.json(&search(query, ""));
    let ids = |answer: &Json| -> Vec<Json> {
        answer["traces"].as_array().expect("traces").iter().map(|t| t["traceID"].clone()).collect()
    };
    assert_eq!(ids(&answer), ids(&same));
}

#[test]
fn answers_are_compressed_and_encoded_as_asked() {
    let server = Server::start();
    let target = search("{ status = error }", "");
    let tenant = ("X-Scope-OrgID", "shop5");
    let plain = server.get(&target);
    assert_eq!(plain.headers["vary"], "Accept-Encoding");
    assert!(!plain.headers.contains_key("content-encoding"));
    let packed = server.ask("GET", &target, &[tenant, ("Accept-Encoding", "gzip")]);
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).expect("gzip");
    let unpacked: Json = serde_json::from_slice(&unpacked).expect("JSON");
    assert_eq!(unpacked["traces"], plain.json(&target)["traces"]);

    let answer = server.ask("GET", &target, &[tenant, ("Accept", "application/protobuf")]);
    let message = SearchResponse::decode(answer.body.as_slice()).expect("protobuf");
    let ids: Vec<Json> = message.traces.iter().map(|trace| json!(trace.trace_id)).collect();
    let traces = unpacked["traces"].as_array().expect("traces").iter();
    assert_eq!(ids, traces.map(|trace| trace["traceID"].clone()).collect::<Vec<_>>());
}

#[test]
fn methods_and_paths_are_taken_as_tempo_takes_them() {
    let server = Server::start();
    let target = search("{ status = error }", "");
    let tenant = [("X-Scope-OrgID", "shop5")];
    let connection = &mut BufReader::new(server.connect());
    let get = exchange(connection, "GET", &target, &tenant).json(&target);
    // The same connection serves the next request, and POST is GET.
    let post = exchange(connection, "POST", &target, &tenant).json(&target);
    assert_eq!(get["traces"], post["traces"]);
    let doubled = server.get(&format!("/{target}"));
    assert_eq!((doubled.status, doubled.headers["location"].as_str()), (301, target.as_str()));
}

#[test]
fn it_ends_when_told_to() {
    let mut server = Server::start();
    let mut idle = server.connect();
    assert_eq!(server.ask("GET", "/ready", &[]).text(), "ready\n");
    assert!(server.terminate().success());
    let mut said = String::new();
    server.stderr.read_to_string(&mut said).expect("stderr is text");
    assert!(!said.contains("error") && !said.contains("panic"), "{said}");
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or_default(), 0);
}

#[test]
fn a_tenant_that_is_not_there_is_refused_at_the_start() {
    let shop = golden::testdata("blocks/shop");
    let output = Command::new(env!("CARGO_BIN_EXE_traceql"))
        .args(["serve", "--listen", "127.0.0.1:0", "--source"])
        .arg(shop)
        .env_clear()
        .output()
        .expect("the binary starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("shop3") && said.contains("shop5"), "{said}");
}
