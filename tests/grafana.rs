//! The requests of Grafana's Tempo data source, replayed: what it sends, and what it reads of the
//! answers, as strictly as it reads them. Its JSON decoder fails on a name that it does not know.

use prost::Message;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use traceql_server::api::protobuf::{SearchResponse, Trace, TraceByIdResponse};

use crate::support::grpc::{Client, Query, Search};
use crate::support::http::{Answer, RANGE, Server, encoded};

const TRACE: &str = "29a05474238c49cf1b5e17b72f2388dc";

/// The bodies that the plugin decodes, with every name they may have. 64-bit numbers are texts.
mod body {
    #![expect(dead_code, reason = "what is decoded is that the names are known")]

    use super::{BTreeMap, Deserialize};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Search {
        pub(super) traces: Vec<Trace>,
        pub(super) metrics: Metrics,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Trace {
        #[serde(rename = "traceID")]
        pub(super) trace_id: String,
        pub(super) root_service_name: String,
        #[serde(default)]
        pub(super) root_trace_name: String,
        pub(super) start_time_unix_nano: String,
        #[serde(default)]
        pub(super) duration_ms: u32,
        pub(super) span_set: SpanSet,
        pub(super) span_sets: Vec<SpanSet>,
        pub(super) service_stats: BTreeMap<String, ServiceStats>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct ServiceStats {
        pub(super) span_count: u32,
        #[serde(default)]
        pub(super) error_count: u32,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct SpanSet {
        pub(super) spans: Vec<Span>,
        pub(super) matched: u32,
        #[serde(default)]
        pub(super) attributes: Vec<Attribute>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Span {
        #[serde(rename = "spanID")]
        pub(super) span_id: String,
        #[serde(default)]
        pub(super) name: String,
        pub(super) start_time_unix_nano: String,
        #[serde(default)]
        pub(super) duration_nanos: String,
        #[serde(default)]
        pub(super) attributes: Vec<Attribute>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Attribute {
        pub(super) key: String,
        pub(super) value: Value,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) enum Value {
        #[serde(rename = "stringValue")]
        Text(String),
        #[serde(rename = "intValue")]
        Int(String),
        #[serde(rename = "doubleValue")]
        Double(f64),
        #[serde(rename = "boolValue")]
        Bool(bool),
        #[serde(rename = "arrayValue")]
        Array(serde_json::Value),
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
    #[derive(Default)]
    pub(super) struct Metrics {
        pub(super) inspected_traces: u32,
        pub(super) inspected_bytes: String,
        pub(super) total_blocks: u32,
        pub(super) completed_jobs: u32,
        pub(super) total_jobs: u32,
        pub(super) total_block_bytes: String,
        pub(super) inspected_spans: String,
        pub(super) backend_reads: String,
        pub(super) backend_bytes: String,
        pub(super) additional_metrics: BTreeMap<String, String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Range {
        pub(super) series: Vec<TimeSeries>,
        pub(super) metrics: Metrics,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct TimeSeries {
        pub(super) labels: Vec<Attribute>,
        pub(super) samples: Vec<Sample>,
        #[serde(default)]
        pub(super) exemplars: Vec<Exemplar>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Sample {
        pub(super) timestamp_ms: String,
        #[serde(default)]
        pub(super) value: f64,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Exemplar {
        pub(super) labels: Vec<Attribute>,
        #[serde(default)]
        pub(super) value: f64,
        pub(super) timestamp_ms: String,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Instant {
        pub(super) series: Vec<InstantSeries>,
        pub(super) metrics: Metrics,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct InstantSeries {
        pub(super) labels: Vec<Attribute>,
        #[serde(default)]
        pub(super) value: f64,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Tags {
        pub(super) scopes: Vec<Scope>,
        pub(super) metrics: Metrics,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Scope {
        pub(super) name: String,
        pub(super) tags: Vec<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct OldTags {
        pub(super) tag_names: Vec<String>,
        pub(super) metrics: Metrics,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(super) struct Values {
        pub(super) tag_values: Vec<TagValue>,
        pub(super) metrics: Metrics,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct TagValue {
        #[serde(rename = "type")]
        pub(super) kind: String,
        #[serde(default)]
        pub(super) value: String,
    }
}

fn get(server: &Server, target: &str, accept: &str) -> Answer {
    let headers = [
        ("X-Scope-OrgID", "shop5"),
        ("Accept", accept),
        ("User-Agent", "Grafana/12.3.0"),
        ("Accept-Encoding", "identity"),
    ];
    server.ask("GET", target, &headers)
}

fn json<T: DeserializeOwned>(server: &Server, target: &str) -> T {
    let answer = get(server, target, "application/json");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{target}: {error}"))
}

fn protobuf<T: Message + Default>(server: &Server, target: &str) -> T {
    let answer = get(server, target, "application/protobuf");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    T::decode(answer.body.as_slice()).expect("protobuf")
}

#[test]
fn save_and_test_succeeds_without_and_with_streaming() {
    let server = Server::start();
    let echo = server.ask("GET", "/api/echo", &[]);
    assert_eq!((echo.status, echo.text().as_str()), (200, "echo\n"));

    let now = u32::try_from(now_seconds()).expect("before 2106");
    let recent = Search {
        limit: 1,
        start: now - 900,
        end: now,
        query: "{}".to_owned(),
        ..Search::default() // The plugin fills in no more.
    };
    let client = Client::connect(&server.address);
    let answered = client.call("Search", &recent);
    assert!(answered.last::<SearchResponse>().traces.is_empty());
}

#[expect(clippy::disallowed_methods, reason = "the plugin asks of its own present")]
fn now_seconds() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[test]
fn a_trace_is_opened() {
    let server = Server::start();
    for times in ["", "?start=1767225600&end=1767229500"] {
        let target = format!("/api/v2/traces/{TRACE}{times}");
        let found: TraceByIdResponse = protobuf(&server, &target);
        let trace = found.trace.expect("read without looking");
        assert!(!trace.resource_spans.is_empty(), "{target}");
        let old: Trace = protobuf(&server, &format!("/api/traces/{TRACE}{times}"));
        assert_eq!(old, trace);
    }
    // One that is not there: the second version has an empty trace, the first a status.
    let nobody = "ffffffffffffffffffffffffffffff01";
    let missing: TraceByIdResponse = protobuf(&server, &format!("/api/v2/traces/{nobody}"));
    assert!(missing.trace.expect("read without looking").resource_spans.is_empty());
    let answer = get(&server, &format!("/api/traces/{nobody}"), "application/protobuf");
    assert_eq!(answer.status, 404);
}

#[test]
fn searches_are_read_strictly() {
    let server = Server::start();
    for query in [
        "{}",
        "{resource.service.name=\"frontend\" && status=error}",
        "{ status = error } | select(span.http.route, span.http.response.status_code, kind)",
        "{ } | by(resource.service.name) | count() > 1",
        "{ kind = server } >> { status = error }",
        "{nestedSetParent<0 && true} | select(duration)",
    ] {
        let query = encoded(query);
        let target = format!("/api/search?q={query}&limit=20&spss=3&{RANGE}");
        let found: body::Search = json(&server, &target);
        assert!(!found.traces.is_empty(), "{target}");
        for trace in &found.traces {
            assert!(trace.trace_id.len() <= 32 && !trace.trace_id.starts_with('0'));
            assert!(trace.start_time_unix_nano.parse::<u64>().is_ok());
            assert_eq!(trace.span_set.matched, trace.span_sets[0].matched);
            let spans = trace.span_sets.iter().map(|set| set.spans.len());
            assert!(spans.clone().all(|n| (1..=3).contains(&n)));
            assert!(trace.span_set.spans.iter().all(|span| span.span_id.len() == 16));
        }
        assert!(found.metrics.completed_jobs <= found.metrics.total_jobs);
    }
}

#[test]
fn metrics_are_read_strictly() {
    let server = Server::start();
    for query in [
        "{} | rate()",
        "{nestedSetParent<0 && true} | rate() by(resource.service.name)",
        "{status=error} | count_over_time() with(sample=true)",
        "{} | quantile_over_time(duration, .5, .9)",
        "{} | histogram_over_time(duration)",
        "{} | compare({status=error}, 10)",
    ] {
        let query = encoded(query);
        let target = format!("/api/metrics/query_range?q={query}&{RANGE}&step=60s&exemplars=100");
        let found: body::Range = json(&server, &target);
        assert!(!found.series.is_empty(), "{target}");
        for series in &found.series {
            assert!(!series.labels.is_empty());
            let times = series.samples.iter().map(|sample| &sample.timestamp_ms);
            let times: Vec<u64> = times.map(|time| time.parse().expect("digits")).collect();
            assert!(times.is_sorted() && times.iter().all(|time| time % 60_000 == 0));
            for exemplar in &series.exemplars {
                assert!(exemplar.labels.iter().any(|label| label.key == "trace:id"));
            }
        }
        let found: body::Instant = json(&server, &format!("/api/metrics/query?q={query}&{RANGE}"));
        assert!(!found.series.is_empty(), "{target}");
    }
}

#[test]
fn names_and_values_are_completed() {
    let server = Server::start();
    let filter = encoded("{resource.service.name=\"frontend\" && name=}");
    for more in ["", &format!("&{RANGE}"), &format!("&{RANGE}&q={filter}")] {
        let tags: body::Tags = json(&server, &format!("/api/v2/search/tags?limit=5000{more}"));
        let intrinsic = tags.scopes.iter().find(|scope| scope.name == "intrinsic");
        assert_eq!(intrinsic.expect("always there").tags.len(), 25);
        assert_eq!(tags.scopes.len() > 2, !more.is_empty());
    }
    for (tag, kind) in [
        ("resource.service.name", "string"),
        ("name", "string"),
        ("status", "keyword"),
        ("span.http.response.status_code", "int"),
        (".http.response.status_code", "int"),
    ] {
        for filter in ["", "{}", "{resource.service.name=\"frontend\" && }"] {
            let (path, query) = (encoded(tag), encoded(filter));
            let target =
                format!("/api/v2/search/tag/{path}/values?limit=5000&q={query}&{RANGE}&tag={path}");
            let values: body::Values = json(&server, &target);
            assert!(!values.tag_values.is_empty(), "{target}");
            assert!(values.tag_values.iter().all(|value| value.kind == kind), "{target}");
        }
    }
}

#[test]
fn old_releases_find_what_they_look_for() {
    let server = Server::start();
    let tags: body::OldTags = json(&server, &format!("/api/search/tags?{RANGE}"));
    assert!(tags.tag_names.contains(&"service.name".to_owned()));
    let values =
        get(&server, &format!("/api/search/tag/service.name/values?{RANGE}"), "application/json");
    assert!(values.text().starts_with("{\"tagValues\":[\""));
    let info = server.ask("GET", "/api/status/buildinfo", &[]);
    let info: BTreeMap<String, String> = serde_json::from_slice(&info.body).expect("JSON");
    let major: u32 = info["version"].split('.').next().expect("a part").parse().expect("a number");
    assert!(major >= 3);
}

#[test]
fn what_a_client_adds_changes_no_answer() {
    use std::io::Read as _;

    let server = Server::start();
    let query = encoded("{ status = error } | select(name)");
    let rate = encoded("{ } | rate() by (resource.service.name)");
    let targets = [
        format!("/api/v2/traces/{TRACE}"),
        format!("/api/search?q={query}&limit=20&spss=3&{RANGE}"),
        format!("/api/metrics/query_range?q={rate}&{RANGE}&step=60s&exemplars=0"),
        format!("/api/metrics/query?q={rate}&{RANGE}"),
        format!("/api/v2/search/tags?limit=5000&{RANGE}"),
        format!("/api/v2/search/tag/resource.service.name/values?limit=5000&{RANGE}"),
    ];
    // What it cost differs: pages are kept.
    let body = |bytes: &[u8]| {
        let mut body: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        body.as_object_mut().expect("an object").remove("metrics");
        body.to_string()
    };
    for target in targets {
        let plain = get(&server, &target, "application/json");
        assert_eq!(plain.status, 200, "{target}: {}", plain.text());
        // The client of Go takes gzip unless told otherwise; the plugin passes on what it was asked
        // with, and a proxy may make a GET a POST.
        let added = [
            ("X-Scope-OrgID", "shop5"),
            ("Accept", "application/json, text/plain;q=0.5"),
            ("Accept-Encoding", "gzip"),
            ("User-Agent", "Grafana/12.3.0"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("X-Grafana-Org-Id", "1"),
            ("X-Query-Group-Id", "a-group"),
            ("Recent-Data-Target", "live-store"),
            ("Authorization", "Basic YWRtaW46YWRtaW4="),
        ];
        for method in ["GET", "POST"] {
            let answer = server.ask(method, &target, &added);
            assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
            let bytes = match answer.headers.get("content-encoding").map(String::as_str) {
                Some("gzip") => {
                    let mut expanded = Vec::new();
                    let mut reader = flate2::read::GzDecoder::new(answer.body.as_slice());
                    reader.read_to_end(&mut expanded).expect("gzip");
                    assert_eq!(answer.headers["vary"].to_lowercase(), "accept-encoding");
                    expanded
                }
                _ => answer.body,
            };
            assert_eq!(body(&bytes), body(&plain.body), "{method} {target}");
        }
    }
}

#[test]
fn metrics_are_streamed_to_the_same_end() {
    use traceql_server::api::protobuf::{QueryInstantResponse, QueryRangeResponse};

    let server = Server::start();
    let client = Client::connect(&server.address);
    let query = "{ } | rate() by (resource.service.name)";
    let (start, end) = (1_767_225_600_000_000_000, 1_767_229_500_000_000_000);
    let mut asked = Query { query: query.to_owned(), start, end, step: 60_000_000_000 };
    let range: QueryRangeResponse = client.call("MetricsQueryRange", &asked).last();
    let target = format!("/api/metrics/query_range?q={}&{RANGE}&step=60s", encoded(query));
    let over_http: body::Range = json(&server, &target);
    assert_eq!(range.series.len(), over_http.series.len());
    for (streamed, other) in range.series.iter().zip(&over_http.series) {
        assert_eq!(streamed.labels[0].key, other.labels[0].key);
        assert_eq!(streamed.samples.len(), other.samples.len());
    }
    asked.step = 0;
    let instant: QueryInstantResponse = client.call("MetricsQueryInstant", &asked).last();
    assert_eq!(instant.series.len(), range.series.len());
}
