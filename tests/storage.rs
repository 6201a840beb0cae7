//! Answers that in Tempo depend on where a block keeps a value: in a dedicated column, in one with
//! statistics, in several. Ours are the same of traces in a file and of blocks of both versions, with
//! and without a column for the attribute. `grammar/compatibility.md` lists what Tempo says instead.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use traceql_engine::search::{SpansetResult, TraceResult, Value};
use traceql_engine::tags::TypedTagValue;
use traceql_language::analyze::ir::{AttributeScope, Field};

use crate::support::asking::{Asked, everything};
use crate::support::binary::{run, stderr};
use crate::support::data_set::RUNTIME;
use crate::support::http::{Server, encoded};

/// When the trace begins.
const START: u64 = 1_780_272_000_000_000_000;

/// Span `1` with children `2` to `6`. Only `5` has no service; the service of `6` is a number; `4` ends
/// before it starts. `span.ded` is kept in a column for text.
fn document() -> String {
    let span = |number: u64, millis: i64, attributes: serde_json::Value| {
        let mut span = json!({
            "traceId": "000000000000000000000000000000a1",
            "spanId": format!("{number:016x}"),
            "name": if number == 1 { "GET /" } else { "step" },
            "startTimeUnixNano": START.to_string(),
            "endTimeUnixNano": START.wrapping_add_signed(millis * 1_000_000).to_string(),
            "attributes": attributes,
        });
        if number > 1 {
            span["parentSpanId"] = json!(format!("{:016x}", 1));
        }
        span
    };
    let text = |key: &str, text: &str| json!({ "key": key, "value": { "stringValue": text } });
    let int = |key: &str, int: i64| json!({ "key": key, "value": { "intValue": int } });
    let float = |key: &str, float: f64| json!({ "key": key, "value": { "doubleValue": float } });
    let resource = |attributes: serde_json::Value, spans: serde_json::Value| json!({ "resource": { "attributes": attributes }, "scopeSpans": [{ "spans": spans }] });
    let of_shop = json!([
        span(1, 1, json!([float("price", 1.0), text("ded", "nil")])),
        span(2, 1, json!([text("ded", "x")])),
        span(3, 1, json!([int("ded", 5), float("price", 1e300)])),
        span(4, -1, json!([])),
    ]);
    let request = json!({ "resourceSpans": [
        resource(json!([text("service.name", "shop")]), of_shop),
        resource(json!([]), json!([span(5, 1, json!([]))])),
        resource(json!([int("service.name", 7)]), json!([span(6, 1, json!([]))])),
    ] });
    request.to_string() + "\n"
}

/// The trace in a file, and in a block of each version in which `span.ded` has a column.
fn sources(folder: &Path) -> Vec<(String, Asked)> {
    let file = folder.join("traces.jsonl");
    fs::write(&file, document()).expect("the file can be written");
    let file = file.to_str().expect("UTF-8").to_owned();
    let mut urls = vec![file.clone()];
    for format in ["vparquet4", "vparquet5"] {
        let out = folder.join(format).to_str().expect("UTF-8").to_owned();
        let said = run(&[
            "convert",
            "--source",
            &file,
            "--out",
            &out,
            "--format",
            format,
            "--dedicated-column",
            "span.ded",
        ]);
        assert!(said.status.success(), "{}", stderr(&said));
        urls.push(out);
    }
    let open = |url: String| {
        let options = traceql_blocks::bucket::store::SourceOptions::default();
        let asked = RUNTIME.block_on(Asked::open(&url, "single-tenant", &options));
        (url, asked)
    };
    urls.into_iter().map(open).collect()
}

fn search(asked: &Asked, query: &str) -> Vec<TraceResult> {
    let answer = RUNTIME.block_on(asked.search(query, &everything()));
    answer.unwrap_or_else(|error| panic!("{query}: {error}")).answer.traces
}

/// The spans of each spanset by their numbers.
fn found(traces: &[TraceResult]) -> String {
    let numbers = |set: &SpansetResult| {
        let mut numbers: Vec<u8> = set.spans.iter().map(|span| span.span_id[7] + b'0').collect();
        numbers.sort_unstable();
        String::from_utf8(numbers).expect("digits")
    };
    let mut sets: Vec<String> =
        traces.iter().flat_map(|trace| &trace.spansets).map(numbers).collect();
    sets.sort();
    sets.join(" ")
}

fn check(questions: &[(&str, &str)]) {
    let folder = TempDir::new().expect("a folder");
    for (url, asked) in sources(folder.path()) {
        for (query, expected) in questions {
            assert_eq!(found(&search(&asked, query)), *expected, "{query} in {url}");
        }
    }
}

#[test]
fn what_is_missing_has_no_value_in_any_column() {
    check(&[
        ("{ span.nosuch = nil }", "123456"),
        ("{ span.ded = nil }", "456"),
        ("{ span.ded != nil }", "123"),
        ("{ span.ded >= \"a\" }", "12"),
        ("{ span.ded = \"nil\" }", "1"),
        ("{ } | by(span.ded = \"nil\")", "1 23456"),
        // The text `nil`, a number beside the column, and nothing are three values.
        ("{ } | by(span.ded)", "1 2 3 456"),
        ("{ span.ded = 5 }", "3"),
        ("{ span.ded > name }", "12"),
    ]);
    let folder = TempDir::new().expect("a folder");
    for (url, asked) in sources(folder.path()) {
        let traces = search(&asked, "{ } | select(span.ded)");
        let mut listed: Vec<(u8, Vec<Value>)> = traces[0].spansets[0]
            .spans
            .iter()
            .map(|span| {
                (span.span_id[7], span.attributes.iter().map(|a| a.value.clone()).collect())
            })
            .collect();
        listed.sort_by_key(|(number, _)| *number);
        let text = |text: &str| vec![Value::String(text.to_owned())];
        let nothing = Vec::new();
        let expected = [
            text("nil"),
            text("x"),
            vec![Value::Int(5)],
            nothing.clone(),
            nothing.clone(),
            nothing,
        ];
        let listed: Vec<Vec<Value>> = listed.into_iter().map(|(_, values)| values).collect();
        assert_eq!(listed, expected, "{url}");
    }
}

#[test]
fn the_name_of_a_service_is_what_the_resource_says() {
    check(&[
        ("{ resource.service.name = \"\" }", "5"),
        ("{ resource.service.name = 7 }", "6"),
        ("{ resource.service.name != \"zz\" }", "12345"),
        ("{ } | by(resource.service.name)", "1234 5 6"),
    ]);
}

#[test]
fn durations_may_be_negative() {
    check(&[
        ("{ duration > 0s }", "12356"),
        ("{ duration = 1ms }", "12356"),
        ("{ duration < 0s }", "4"),
        ("{ duration >= -1ms }", "123456"),
        ("{ duration = 0.5 }", ""),
    ]);
}

#[test]
fn conditions_hide_no_value_from_each_other() {
    check(&[
        ("{ nestedSetLeft < 2 || span.price > 0 }", "13"),
        ("{ nestedSetParent = 5 || span.ded = \"x\" }", "2"),
        // An attribute is no built-in field, an event's is none of the span's.
        ("{ name != \"zz\" && .name != \"zz\" }", ""),
        ("{ event:name = \"zz\" || .name != \"zz\" }", ""),
        // No link differs from anything, whether the text is an id or not.
        ("{ link:spanID != \"x\" }", ""),
        ("{ link:spanID != \"00000000000000ff\" }", ""),
        ("{ event:name != nil } | by(name)", ""),
    ]);
}

#[test]
fn results_name_their_trace_whatever_the_query_reads_of_it() {
    let folder = TempDir::new().expect("a folder");
    for (url, asked) in sources(folder.path()) {
        for query in [
            "{ }",
            "{ } | by(trace:id)",
            "{ } | by(rootName) | by(rootServiceName)",
            "{ } | max(traceDuration) > 0s",
            "{ rootName = \"GET /\" && rootServiceName = \"shop\" } | coalesce()",
        ] {
            let traces = search(&asked, query);
            let [trace] = traces.as_slice() else { panic!("{query} in {url}: {traces:?}") };
            assert_eq!(trace.trace_id.0[15], 0xa1, "{query} in {url}");
            assert_eq!(trace.root_trace_name, "GET /", "{query} in {url}");
            assert_eq!(trace.root_service_name, "shop", "{query} in {url}");
            assert_eq!(found(&traces), "123456", "{query} in {url}");
        }
    }
}

#[test]
fn names_and_values_are_those_of_every_column() {
    let folder = TempDir::new().expect("a folder");
    for (url, asked) in sources(folder.path()) {
        let names = RUNTIME.block_on(asked.names(&everything())).expect("names").answer;
        let names: Vec<&str> = names[&AttributeScope::Span].iter().map(String::as_str).collect();
        assert_eq!(names, ["ded", "price"], "{url}");
        let values = |scope, key| {
            let field = Field::attribute(scope, key);
            let values = RUNTIME.block_on(asked.values(field, &everything())).expect("values");
            let text = |value: TypedTagValue| format!("{} {}", value.value_type, value.value);
            values.answer.into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            values(AttributeScope::Span, "ded"),
            ["int 5", "string nil", "string x"],
            "{url}"
        );
        // As a query writes them.
        assert_eq!(values(AttributeScope::Span, "price"), ["float 1.0", "float 1e+300"], "{url}");
        // A resource that names no service has the empty name.
        let services = ["int 7", "string ", "string shop"];
        assert_eq!(values(AttributeScope::Resource, "service.name"), services, "{url}");
    }
}

#[test]
fn names_and_values_are_those_of_the_spans_of_a_filter() {
    let folder = TempDir::new().expect("a folder");
    let (url, _) = sources(folder.path()).pop().expect("a block");
    let server = Server::start_with(&["--source", &url]);
    let range = "start=1780271000&end=1780273000";
    for (path, filter, list, expected) in [
        ("/api/search/tags", "{ span.ded = `x` }", "tagNames", json!(["ded", "service.name"])),
        ("/api/search/tags", "{ .ded = `x` }", "tagNames", json!(["ded", "service.name"])),
        (
            "/api/v2/search/tag/span.price/values",
            "{ .ded = 5 }",
            "tagValues",
            json!([{ "type": "float", "value": "1e+300" }]),
        ),
        ("/api/v2/search/tag/span.price/values", "{ .ded = `x` }", "tagValues", json!([])),
    ] {
        let answer = server.json(&format!("{path}?{range}&q={}", encoded(filter)));
        assert_eq!(answer[list], expected, "{path} {filter}");
    }
    let target = format!("/api/search?{range}&minDuration=2s&maxDuration=1s");
    let answer = server.get(&target);
    assert_eq!((answer.status, answer.text().contains("maxDuration")), (400, true));
}
