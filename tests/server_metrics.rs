//! The real binary as a server, asked for metrics over HTTP. What is refused and why is `server`'s
//! business.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use traceql_engine::metrics::{Label, LabelValue};

use crate::support::evaluate::metrics::When;
use crate::support::golden;
use crate::support::golden_metrics;
use crate::support::http::{RANGE, Server, encoded};
use crate::support::series::Shown;

fn over_range(query: &str, more: &str) -> String {
    format!("/api/metrics/query_range?{RANGE}&step=5m&q={}{more}", encoded(query))
}

fn of_instant(query: &str) -> String {
    format!("/api/metrics/query?{RANGE}&q={}", encoded(query))
}

fn list<'a>(of: &'a Json, name: &str) -> &'a [Json] {
    of[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn label(label: &Json) -> Label {
    let value = &label["value"];
    let number = |name: &str| value[name].as_f64().or_else(|| value[name].as_str()?.parse().ok());
    let value = match value.as_object().and_then(|object| object.keys().next()).map(String::as_str)
    {
        Some("stringValue") => LabelValue::String(value["stringValue"].as_str().unwrap().into()),
        Some("intValue") => LabelValue::Int(value["intValue"].as_str().unwrap().parse().unwrap()),
        Some("doubleValue") => LabelValue::Float(number("doubleValue").unwrap()),
        Some("boolValue") => LabelValue::Bool(value["boolValue"].as_bool().unwrap()),
        other => panic!("{other:?}"),
    };
    Label::new(label["key"].as_str().unwrap(), value)
}

/// A value, zero if it is left out.
fn value(of: &Json) -> f64 {
    match &of["value"] {
        Json::Null => 0.0,
        Json::String(word) => word.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}

fn shown(answer: &Json) -> Vec<Shown> {
    let nanos = |sample: &Json| -> i128 {
        sample["timestampMs"].as_str().unwrap().parse::<i128>().unwrap() * 1_000_000
    };
    let series = list(answer, "series").iter().map(|series| Shown {
        labels: list(series, "labels").iter().map(label).collect(),
        samples: match series.get("samples") {
            Some(_) => list(series, "samples").iter().map(|s| (nanos(s), value(s))).collect(),
            None => BTreeMap::from([(0, value(series))]),
        },
    });
    series.collect()
}

#[test]
fn metrics_answer_as_recorded() {
    let server = Server::start();
    let mut differences = Vec::new();
    let mut n_agreeing = 0;
    for question in golden_metrics::questions() {
        let target = match question.when {
            When::Range { .. } => over_range(&question.query, ""),
            When::Instant { .. } => of_instant(&question.query),
        };
        match golden_metrics::difference(&question, &shown(&server.json(&target))) {
            None => n_agreeing += 1,
            Some(difference) => differences.push(format!("{}\n  {difference}", question.query)),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(n_agreeing >= 60, "{n_agreeing}");
}

#[test]
fn tenants_without_data_have_zeros() {
    let server = Server::start();
    let ask = |tenant: &str, target: &str| {
        server.ask("GET", target, &[("X-Scope-OrgID", tenant)]).json(target)
    };
    let target = over_range("{ } | count_over_time()", "");
    let (none, one) = (ask("nosuch", &target), ask("shop5", &target));
    let (none, one) = (shown(&none), shown(&one));
    assert_eq!((none.len(), one.len()), (1, 1));
    assert!(none[0].samples.keys().eq(one[0].samples.keys()), "they have the same steps");
    assert!(none[0].samples.values().all(|count| *count == 0.0));
    let total: f64 = one[0].samples.values().sum();
    // Both tenants hold the same spans, each its own.
    let both: f64 = shown(&ask("shop5|shop4|nosuch", &target))[0].samples.values().sum();
    assert_eq!((total, both), (6764.0, 2.0 * 6764.0));

    let grouped = "{ name = \"no such span\" } | rate() by (name)";
    let range = server.json(&over_range(grouped, ""));
    assert_eq!(range["series"], json!([]));
    let instant = server.json(&of_instant(grouped));
    assert_eq!(instant.get("series"), None, "{instant}");
    assert!(instant["metrics"]["totalBlocks"].is_number(), "{instant}");
}

#[test]
fn exemplars_come_as_many_as_asked_for_at_most() {
    let server = Server::start();
    let count = |query: &str, more: &str| {
        let answer = server.json(&over_range(query, more));
        list(&answer, "series").iter().map(|series| list(series, "exemplars").len()).sum::<usize>()
    };
    let rate = "{ status = error } | rate()";
    let all = count(rate, "");
    assert!((10..=100).contains(&all), "{all}");
    assert_eq!(count(rate, "&exemplars=0"), all, "only the hint turns them off");
    assert_eq!(count(rate, "&exemplars=many"), all);
    let few = count(rate, "&exemplars=4");
    assert!((1..=4).contains(&few), "{few}");
    assert_eq!(count("{ status = error } | rate() with (exemplars=false)", ""), 0);
    let answer = server.json(&over_range(rate, "&exemplars=1"));
    let exemplar = &answer["series"][0]["exemplars"][0];
    assert_eq!(exemplar["labels"][0]["key"], "trace:id", "{exemplar}");
    let instant = server.json(&of_instant(rate));
    assert_eq!(instant["series"][0].get("exemplars"), None);
}

#[test]
fn too_many_series_are_cut_and_the_answer_says_so() {
    let server = Server::start();
    let query = "{ } | rate() by (resource.service.name)";
    let whole = server.json(&over_range(query, ""));
    assert_eq!((whole.get("status"), whole.get("message")), (None, None));
    let n_all = list(&whole, "series").len();
    let cut = server.json(&over_range(query, "&maxSeries=3"));
    assert_eq!(list(&cut, "series").len(), 3);
    assert_eq!(cut["status"], "PARTIAL", "{cut}");
    assert!(cut["message"].as_str().is_some_and(|why| why.contains('3')), "{cut}");
    let exact = server.json(&over_range(query, &format!("&maxSeries={n_all}")));
    assert_eq!(exact["series"], whole["series"]);
    assert_eq!(exact.get("status"), None, "nothing was left out");
    // The limit holds for what is answered.
    let best = server.json(&over_range(&format!("{query} | topk(1) > 100"), "&maxSeries=3"));
    assert_eq!(best.get("status"), None, "{best}");

    let shop = golden::testdata("blocks/shop/shop5");
    let bounded = Server::start_with(&[
        "--source",
        shop.to_str().expect("UTF-8"),
        "--max-metrics-series",
        "2",
    ]);
    for target in [over_range(query, "&maxSeries=9"), of_instant(query)] {
        let answer = bounded.json(&target);
        assert_eq!((list(&answer, "series").len(), &answer["status"]), (2, &json!("PARTIAL")));
    }
}

#[test]
fn the_newest_steps_wait_until_they_are_over() {
    let server = Server::start();
    let count = encoded("{ } | count_over_time()");
    let answer = server.json(&format!("/api/metrics/query_range?q={count}&since=10m&step=60"));
    let series = shown(&answer);
    let (first, last) = (series[0].samples.keys().next(), series[0].samples.keys().last());
    let minute = 60_000_000_000;
    let n_steps = (last.unwrap() - first.unwrap()) / minute;
    assert!(last.unwrap() % minute == 0 && (8..=10).contains(&n_steps), "{n_steps}");
    #[expect(clippy::disallowed_methods, reason = "a test of what the time of the request does")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i128::try_from(now.as_nanos()).unwrap();
    assert!(*last.unwrap() <= now - minute / 2, "half a minute is left out");
    // The window lies within one step: the one before is answered.
    let target = format!("/api/metrics/query_range?q={count}&since=1m&step=24h");
    assert_eq!(shown(&server.json(&target))[0].samples.len(), 1);
}

#[test]
fn blank_parameters_posts_and_the_internal_switch_are_taken() {
    let server = Server::start();
    let query = "{ } | count_over_time()";
    let blank = "&blockID=&startPage=0&encoding=none&exemplars=&maxSeries=&instant=";
    let plain = server.json(&over_range(query, ""));
    assert_eq!(server.json(&over_range(query, blank))["series"], plain["series"]);
    let tenant = [("X-Scope-OrgID", "shop5"), ("Accept", "application/protobuf")];
    let target = over_range(query, "");
    let post = server.ask("POST", &target, &tenant).json(&target);
    assert_eq!(post["series"], plain["series"], "and it is JSON whatever is accepted");
    let aliased = target.replace("&q=", "&query=");
    assert_eq!(server.json(&aliased)["series"], plain["series"]);
    let instant = server.json(&over_range(query, "&instant=true"));
    let samples = list(&instant["series"][0], "samples");
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0], json!({ "timestampMs": "1767229500000", "value": 6764 }));
}
