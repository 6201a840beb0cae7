//! The real binary as a server, its answers streamed over gRPC: the last message is what HTTP answers,
//! and before it comes what is new.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value as Json;
use traceql_server::api::protobuf::{
    QueryInstantResponse, QueryRangeResponse, SearchResponse, SearchTagValuesResponse,
    SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response,
};

use crate::support::files::Files;
use crate::support::golden;
use crate::support::grpc::{Client, Query, Search, framed};
use crate::support::http::{RANGE, Server, encoded};

const START: u32 = 1_767_225_600;
const END: u32 = 1_767_229_500;
const SECOND: u64 = 1_000_000_000;

/// `SearchTagsRequest`.
#[derive(Clone, PartialEq, Message)]
struct SearchTags {
    #[prost(string, tag = "1")]
    scope: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "3")]
    start: u32,
    #[prost(uint32, tag = "4")]
    end: u32,
}

/// `SearchTagValuesRequest`.
#[derive(Clone, PartialEq, Message)]
struct SearchTagValues {
    #[prost(string, tag = "1")]
    tag_name: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "4")]
    start: u32,
    #[prost(uint32, tag = "5")]
    end: u32,
}

fn search(query: &str) -> Search {
    Search { query: query.to_owned(), start: START, end: END, limit: 1000, ..Search::default() }
}

fn metrics(query: &str, step: u64) -> Query {
    let (start, end) = (u64::from(START) * SECOND, u64::from(END) * SECOND);
    Query { query: query.to_owned(), start, end, step: step * SECOND }
}

/// The protobuf that HTTP answers.
fn over_http<M: Message + Default>(server: &Server, target: &str) -> M {
    let headers = [("X-Scope-OrgID", "shop5"), ("Accept", "application/protobuf")];
    let answer = server.ask("GET", target, &headers);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    M::decode(answer.body.as_slice()).expect("protobuf")
}

#[test]
fn the_last_message_is_what_http_answers() {
    let server = Server::start();
    let client = Client::connect(&server.address);
    for query in [
        "{ status = error }",
        "{ } | by(resource.service.name) | count() > 3",
        "{ nestedSetParent < 0 } | select(duration, span.http.route)",
        "{ resource.service.name = \"absent\" }",
    ] {
        let streamed: SearchResponse = client.call("Search", &search(query)).last();
        let target = format!("/api/search?{RANGE}&limit=1000&q={}", encoded(query));
        let whole: SearchResponse = over_http(&server, &target);
        assert_eq!(streamed.traces, whole.traces, "{query}");
    }

    let names = |scope: &str| SearchTags {
        scope: scope.to_owned(),
        start: START,
        end: END,
        ..SearchTags::default()
    };
    let streamed: SearchTagsResponse = client.call("SearchTags", &names("span")).last();
    let whole: SearchTagsResponse =
        over_http(&server, &format!("/api/search/tags?{RANGE}&scope=span"));
    assert!(!whole.tag_names.is_empty());
    assert_eq!(streamed.tag_names, whole.tag_names);
    let streamed: SearchTagsV2Response = client.call("SearchTagsV2", &names("")).last();
    let whole: SearchTagsV2Response = over_http(&server, &format!("/api/v2/search/tags?{RANGE}"));
    assert!(whole.scopes.len() > 2);
    assert_eq!(streamed.scopes, whole.scopes);

    let values = |tag: &str, query: &str| SearchTagValues {
        tag_name: tag.to_owned(),
        query: query.to_owned(),
        start: START,
        end: END,
    };
    let streamed: SearchTagValuesResponse =
        client.call("SearchTagValues", &values("service.name", "")).last();
    let whole: SearchTagValuesResponse =
        over_http(&server, &format!("/api/search/tag/service.name/values?{RANGE}"));
    assert!(!whole.tag_values.is_empty());
    assert_eq!(streamed.tag_values, whole.tag_values);
    let filter = "{ status = error && name = }";
    let streamed: SearchTagValuesV2Response =
        client.call("SearchTagValuesV2", &values("resource.service.name", filter)).last();
    let target =
        format!("/api/v2/search/tag/resource.service.name/values?{RANGE}&q={}", encoded(filter));
    let whole: SearchTagValuesV2Response = over_http(&server, &target);
    assert!(!whole.tag_values.is_empty());
    assert_eq!(streamed.tag_values, whole.tag_values);
}

/// Labels as text and samples as pairs, of a body of HTTP.
fn series(body: &Json) -> Vec<(String, Vec<(i64, f64)>)> {
    let list = |of: &Json, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let value = |of: &Json| of["value"].as_f64().unwrap_or_default();
    let each = list(body, "series").into_iter().map(|series| {
        let labels = list(&series, "labels").iter().map(|label| label["key"].to_string()).collect();
        let samples = list(&series, "samples").into_iter().map(|sample| {
            let millis = sample["timestampMs"].as_str().expect("a time").parse().expect("digits");
            (millis, value(&sample))
        });
        let samples: Vec<_> = samples.collect();
        let instant = || vec![(0, value(&series))];
        (labels, if samples.is_empty() { instant() } else { samples })
    });
    each.collect()
}

#[test]
fn metrics_are_streamed_as_http_answers_them() {
    let server = Server::start();
    let client = Client::connect(&server.address);
    for query in [
        "{ } | rate()",
        "{ } | count_over_time() by (resource.service.name, status)",
        "{ } | quantile_over_time(duration, .5, .9)",
    ] {
        let quoted = |keys: Vec<String>| keys.iter().map(|key| format!("{key:?}")).collect();
        let streamed: QueryRangeResponse =
            client.call("MetricsQueryRange", &metrics(query, 300)).last();
        let given: Vec<(String, Vec<_>)> = streamed
            .series
            .iter()
            .map(|series| {
                let samples = series.samples.iter().map(|s| (s.timestamp_ms, s.value));
                let keys = series.labels.iter().map(|label| label.key.clone());
                (quoted(keys.collect()), samples.collect())
            })
            .collect();
        let target = format!("/api/metrics/query_range?{RANGE}&step=300&q={}", encoded(query));
        let body = server.json(&target);
        assert!(!given.is_empty());
        assert_eq!(given, series(&body), "{query}");
        let exemplars = streamed.series.iter().map(|series| series.exemplars.len());
        let listed = body["series"].as_array().expect("series").iter();
        let in_body = listed.map(|series| series["exemplars"].as_array().map_or(0, Vec::len));
        assert_eq!(exemplars.sum::<usize>(), in_body.sum::<usize>(), "{query}");

        let streamed: QueryInstantResponse =
            client.call("MetricsQueryInstant", &metrics(query, 0)).last();
        let given: Vec<(String, Vec<_>)> = streamed
            .series
            .iter()
            .map(|series| {
                let keys = series.labels.iter().map(|label| label.key.clone());
                (quoted(keys.collect()), vec![(0, series.value)])
            })
            .collect();
        let body = server.json(&format!("/api/metrics/query?{RANGE}&q={}", encoded(query)));
        assert_eq!(given, series(&body), "{query}");
    }
}

#[test]
fn what_cannot_be_answered_has_a_status() {
    let server = Server::start();
    let client = Client::connect(&server.address);
    let check = |answered: crate::support::grpc::Answered, code: u32, text: &str| {
        assert!(answered.messages.is_empty());
        assert_eq!((answered.code, answered.text.as_str()), (code, text));
    };
    check(
        client.call("Search", &search("{ status = }")),
        3,
        server.get("/api/search?q=%7B%20status%20%3D%20%7D").text().as_str(),
    );
    let one_end = Search { end: 0, ..search("{ }") };
    let text = "error parsing date range: only one of start and end provided: must provide both \
                or neither";
    check(client.call("Search", &one_end), 3, text);
    check(client.call("MetricsQueryRange", &metrics("{ }", 60)), 3, "not a metrics query");
    check(client.call_as(&[], "Search", &search("{ }")), 2, "no org id");
    check(client.call_as(&[("x-scope-orgid", "")], "Search", &search("{ }")), 2, "no org id");
    let two = [("x-scope-orgid", "shop5"), ("x-scope-orgid", "shop4")];
    check(
        client.call_as(&two, "Search", &search("{ }")),
        3,
        "several X-Scope-OrgID headers that differ",
    );
    check(client.call("Nosuch", &search("{ }")), 12, "unknown method Nosuch");
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let text = format!("unknown service or method {path}");
    check(client.start(path, &[], &framed(&[])).finish(), 12, &text);
    let answer = server.get("/tempopb.StreamingQuerier/Search");
    assert_eq!((answer.status, answer.text().as_str()), (415, "this path is for gRPC\n"));
}

#[test]
fn a_tenant_without_data_has_an_empty_answer() {
    let server = Server::start();
    let client = Client::connect(&server.address);
    let nobody = [("x-scope-orgid", "nobody")];
    let recent = Search { query: "{}".to_owned(), limit: 1, ..Search::default() };
    let answered = client.call_as(&nobody, "Search", &recent);
    assert_eq!(answered.messages.len(), 1);
    assert!(answered.last::<SearchResponse>().traces.is_empty());
    let answered = client.call_as(&nobody, "SearchTagsV2", &SearchTags::default());
    assert_eq!(answered.last::<SearchTagsV2Response>().scopes.len(), 1);
}

#[test]
fn a_port_may_be_for_grpc_alone() {
    let shop = golden::testdata("blocks/shop");
    let arguments = ["--multitenant", "--grpc-listen", "127.0.0.1:0", "--source"];
    let shop = shop.to_str().expect("UTF-8");
    let mut server = Server::start_with(&[&arguments[..], &[shop]].concat());
    let mut line = String::new();
    server.stderr.read_line(&mut line).expect("stderr is text");
    let (_, address) = line.trim_end().split_once("gRPC alone on ").expect("it says where");
    let client = Client::connect(address);
    let alone: SearchResponse = client.call("Search", &search("{ status = error }")).last();
    let shared = Client::connect(&server.address).call("Search", &search("{ status = error }"));
    assert_eq!(alone.traces, shared.last::<SearchResponse>().traces);
    server.address = address.to_owned();
    assert_eq!(server.get("/ready").status, 415);
}

#[test]
fn what_is_found_is_told_on_the_way() {
    let files = Files::serve(golden::testdata("blocks/shop"));
    let server = Server::start_with(&["--source", &format!("{}/shop5", files.url)]);
    let client = Client::connect(&server.address);
    // Enough for footers and the first of two blocks, whichever is first; then nothing until the
    // first traces have been told.
    let whole: SearchResponse = client.call("Search", &search("{ status = error }")).last();
    let server = Server::start_with(&["--source", &format!("{}/shop5", files.url)]);
    let client = Client::connect(&server.address);
    let path = "/tempopb.StreamingQuerier/Search";
    let message = framed(&search("{ status = error }").encode_to_vec());
    for passes in 2.. {
        files.let_pass(Some(passes));
        let call = client.start(path, &[], &message);
        std::thread::sleep(Duration::from_millis(800));
        files.let_pass(None);
        let answered = call.finish();
        let last: SearchResponse = answered.last();
        assert_eq!(last.traces, whole.traces);
        let told: Vec<SearchResponse> = answered.messages[..answered.messages.len() - 1]
            .iter()
            .map(|(_, message)| SearchResponse::decode(message.clone()).expect("protobuf"))
            .collect();
        let mut seen = BTreeSet::new();
        for trace in told.iter().flat_map(|message| &message.traces) {
            assert!(whole.traces.contains(trace), "what is told is final");
            assert!(seen.insert(trace.trace_id.clone()), "and told once");
        }
        let jobs: Vec<u32> = told
            .iter()
            .chain([&last])
            .map(|message| message.metrics.expect("in every message").completed_jobs)
            .collect();
        assert!(jobs.is_sorted(), "{jobs:?}");
        if !seen.is_empty() && seen.len() < whole.traces.len() {
            return;
        }
        assert!(passes < 30, "nothing was told before the end");
    }
}

/// Runs a metrics query over many blocks, of which so many requests pass at first, until something of
/// its series is told before the end.
fn told_on_the_way<M: Message + Default>(
    method: &str,
    query: &str,
    step: u64,
    has_series: impl Fn(&M) -> bool,
) -> (Vec<M>, M) {
    let files = Files::serve(crate::many_blocks::bucket().to_owned());
    let path = format!("/tempopb.StreamingQuerier/{method}");
    let message = framed(&metrics(query, step).encode_to_vec());
    let decode = |message: &bytes::Bytes| M::decode(message.clone()).expect("protobuf");
    // Lists and footers come first; nothing is known of answers of an earlier server.
    for passes in (60..).step_by(15) {
        let server = Server::start_with(&["--source", &format!("{}/shop", files.url)]);
        let client = Client::connect(&server.address);
        files.let_pass(Some(passes));
        let call = client.start(&path, &[], &message);
        std::thread::sleep(Duration::from_millis(700));
        files.let_pass(None);
        let answered = call.finish();
        let last = answered.last();
        let (_, told) = answered.messages.split_last().expect("an answer");
        let told: Vec<M> = told.iter().map(|(_, message)| decode(message)).collect();
        if told.iter().any(&has_series) {
            return (told, last);
        }
        assert!(passes < 1_000, "{query}: nothing was told before the end");
    }
    unreachable!("passes have no end")
}

#[test]
fn samples_of_a_range_are_told_once_and_when_they_are_final() {
    for query in [
        "{ } | count_over_time() by (resource.service.name)",
        "{ status = error } | rate()",
        "{ } | quantile_over_time(duration, .5, .9) by (kind) > 0",
        "({ } | avg_over_time(duration) by (name)) * 2",
    ] {
        let (told, last): (Vec<QueryRangeResponse>, _) =
            told_on_the_way("MetricsQueryRange", query, 60, |m: &QueryRangeResponse| {
                !m.series.is_empty()
            });
        let samples = |message: &QueryRangeResponse| -> Vec<(String, i64, u64)> {
            let each = message.series.iter().flat_map(|series| {
                let labels = format!("{:?}", series.labels);
                series
                    .samples
                    .iter()
                    .map(move |s| (labels.clone(), s.timestamp_ms, s.value.to_bits()))
            });
            each.collect()
        };
        let whole: BTreeSet<_> = samples(&last).into_iter().collect();
        let mut seen = BTreeSet::new();
        for sample in told.iter().flat_map(samples) {
            assert!(whole.contains(&sample), "{query}: {sample:?} is final");
            assert!(seen.insert(sample), "{query}: told once");
        }
        assert!(seen.len() < whole.len(), "{query}: {} of {}", seen.len(), whole.len());
        for message in &told {
            let metrics = message.metrics.expect("in every message");
            assert!(metrics.completed_jobs < metrics.total_jobs, "{query}: {metrics:?}");
            assert!(message.series.iter().all(|series| series.exemplars.is_empty()), "{query}");
        }
        let metrics = last.metrics.expect("in every message");
        assert_eq!(metrics.completed_jobs, metrics.total_jobs, "{query}");
    }
}

#[test]
fn the_value_so_far_of_an_instant_query_is_told() {
    let query = "{ } | count_over_time() by (resource.service.name)";
    let (told, last): (Vec<QueryInstantResponse>, _) =
        told_on_the_way("MetricsQueryInstant", query, 0, |m: &QueryInstantResponse| {
            !m.series.is_empty()
        });
    let sum = |message: &QueryInstantResponse| message.series.iter().map(|s| s.value).sum::<f64>();
    let mut sums: Vec<f64> = told.iter().map(sum).collect();
    sums.push(sum(&last));
    assert!(sums.is_sorted() && sums[0] < sum(&last), "{sums:?}");
    let metrics = told[0].metrics.expect("in every message");
    assert!(metrics.completed_jobs < metrics.total_jobs, "{metrics:?}");
}

#[test]
fn what_depends_on_all_series_is_told_at_the_end() {
    for query in
        ["{ } | rate() by (name) | topk(2)", "({ } | rate()) / ({ status = error } | rate())"]
    {
        let (told, last): (Vec<QueryRangeResponse>, _) =
            told_on_the_way("MetricsQueryRange", query, 60, |_: &QueryRangeResponse| true);
        assert!(told.iter().all(|message| message.series.is_empty()), "{query}");
        assert!(!last.series.is_empty(), "{query}");
    }
}

#[test]
fn a_cancelled_stream_ends_its_query() {
    let files = Files::serve(golden::testdata("blocks/shop"));
    let source = format!("{}/shop5", files.url);
    let server = Server::start_with(&["--source", &source, "--concurrent-queries", "1"]);
    let client = Client::connect(&server.address);
    // The query hangs in the store.
    files.let_pass(Some(1));
    let message = framed(&search("{ status = error }").encode_to_vec());
    let call = client.start("/tempopb.StreamingQuerier/Search", &[], &message);
    call.cancel();
    // It has to give up the only turn, though its requests are still kept back.
    let started = Instant::now();
    let status = client.call(
        "SearchTagValuesV2",
        &SearchTagValues { tag_name: "status".to_owned(), ..SearchTagValues::default() },
    );
    assert_eq!(status.last::<SearchTagValuesV2Response>().tag_values.len(), 3);
    assert!(started.elapsed() < Duration::from_secs(30), "it waited for the store");
    files.let_pass(None);
    let after: SearchResponse = client.call("Search", &search("{ status = error }")).last();
    assert!(!after.traces.is_empty());
}

#[test]
fn a_deadline_ends_a_query() {
    let files = Files::serve(golden::testdata("blocks/shop"));
    let server = Server::start_with(&["--source", &format!("{}/shop5", files.url)]);
    let client = Client::connect(&server.address);
    files.let_pass(Some(0));
    let answered =
        client.call_as(&[("grpc-timeout", "300m")], "Search", &search("{ status = error }"));
    assert_eq!((answered.code, answered.text.as_str()), (4, "no answer within the deadline"));
    let odd = client.call_as(&[("grpc-timeout", "soon")], "Search", &search("{ }"));
    assert_eq!((odd.code, odd.text.as_str()), (3, "invalid grpc-timeout"));
    files.let_pass(None);
}
