//! Every form of one small made-up answer.

use traceql_engine::metrics::{Label, Samples, TimeAxis};
use traceql_language::{Dialect, compile};

use super::*;
use crate::args::ColorChoice;

const SECOND: u64 = 1_000_000_000;
const ABSENT: f64 = f64::NAN;

/// Two intervals of a quarter of a minute and a half; the first sample is stamped 10:00:00.
fn axis() -> TimeAxis {
    let step_nanos = 15 * SECOND + 500_000_000;
    TimeAxis { start_unix_nanos: 1_795_773_600 * SECOND - step_nanos, step_nanos, n_intervals: 2 }
}

fn series(labels: Vec<Label>, samples: &[f64]) -> Series {
    Series { labels, samples: Samples::dense(samples.to_vec()), exemplars: Vec::new() }
}

fn services() -> Vec<Series> {
    let service = |name: &str| Label::text("resource.service.name", name);
    vec![
        series(vec![service("cart")], &[1.0 / 15.0, ABSENT]),
        series(
            vec![service("the \"shop\", \\ really\n"), Label::new("span.n", LabelValue::Int(5))],
            &[0.0, f64::INFINITY],
        ),
    ]
}

struct Asked<'a> {
    query: &'a str,
    is_instant: bool,
    prometheus_json: bool,
}

fn over_range(query: &str) -> Asked<'_> {
    Asked { query, is_instant: false, prometheus_json: false }
}

#[track_caller]
fn check(asked: &Asked<'_>, series: Vec<Series>, format: QueryFormat, expect: &str) {
    let expr = compile(asked.query, Dialect::Default).unwrap().metrics.unwrap();
    let answer = MetricsAnswer { axis: axis(), series };
    let output = MetricsOutput {
        answer: &answer,
        stats: &QueryStats::default(),
        partial: asked.prometheus_json.then_some("a block is gone"),
        is_instant: asked.is_instant,
        expr: &expr,
        prometheus_json: asked.prometheus_json,
    };
    let terminal = Terminal::detect(ColorChoice::Never, true, |_| None);
    let mut out = Vec::new();
    output.write(&mut out, format, &terminal).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, expect.trim_start_matches('\n'), "\n{text}");
}

#[test]
fn tables_summarise_and_wide_ones_list_every_step() {
    let rate = over_range("{ } | rate() by (resource.service.name, span.n)");
    check(
        &rate,
        services(),
        QueryFormat::Table,
        r#"
RESOURCE.SERVICE.NAME  SPAN.N       MIN      MEAN       MAX      LAST
cart                           0.0667/s  0.0667/s  0.0667/s  0.0667/s
the "shop", \ really   5          inf/s     inf/s     inf/s     inf/s
"#,
    );
    check(
        &rate,
        services(),
        QueryFormat::Wide,
        r#"
TIME (UTC)                CART, -  THE "SHOP", \ REALLY , 5
2026-11-27 10:00:00.000  0.0667/s                       0/s
2026-11-27 10:00:15.500                               inf/s
"#,
    );
    check(
        &rate,
        services(),
        QueryFormat::Markdown,
        r#"
| resource.service.name | span.n | Min | Mean | Max | Last |
| --- | --- | ---: | ---: | ---: | ---: |
| cart |  | 0.0667/s | 0.0667/s | 0.0667/s | 0.0667/s |
| the "shop", \\ really  | 5 | inf/s | inf/s | inf/s | inf/s |
"#,
    );
    let instant = Asked { is_instant: true, ..over_range("{ } | max_over_time(duration)") };
    check(
        &instant,
        vec![series(vec![Label::text("__name__", "max_over_time")], &[0.25])],
        QueryFormat::Table,
        r#"
SERIES         VALUE
max_over_time  250ms
"#,
    );
    for format in [QueryFormat::Table, QueryFormat::Wide, QueryFormat::Chart] {
        check(&rate, Vec::new(), format, "");
    }
}

#[test]
fn csv_has_one_row_a_sample() {
    check(
        &over_range("{ } | rate()"),
        services(),
        QueryFormat::Csv,
        r#"
resource.service.name,span.n,timestamp,value
cart,,2026-11-27T10:00:00.000000000Z,0.06666666666666667
"the ""shop"", \ really
",5,2026-11-27T10:00:00.000000000Z,0
"the ""shop"", \ really
",5,2026-11-27T10:00:15.500000000Z,Infinity
"#,
    );
    let empty = over_range("{ } | rate()");
    check(&empty, Vec::new(), QueryFormat::Csv, "timestamp,value\n");
}

#[test]
fn json_is_tempos_and_ndjson_its_series() {
    let rate = over_range("{ } | rate()");
    let one = || services().into_iter().take(1).collect::<Vec<_>>();
    let line = r#"{"labels":[{"key":"resource.service.name","value":{"stringValue":"cart"}}],"samples":[{"timestampMs":"1795773600000","value":0.06666666666666667}]}"#;
    check(&rate, one(), QueryFormat::Ndjson, &format!("{line}\n"));
    let body = format!("{{\"series\":[{line}],\"metrics\":{{}}}}\n");
    check(&rate, one(), QueryFormat::Json, &body);
    let instant = Asked { is_instant: true, ..rate };
    let line = r#"{"labels":[{"key":"resource.service.name","value":{"stringValue":"cart"}}],"value":0.06666666666666667}"#;
    check(&instant, one(), QueryFormat::Ndjson, &format!("{line}\n"));
    check(&instant, Vec::new(), QueryFormat::Json, "{\"metrics\":{}}\n");
}

#[test]
fn prometheus_text_has_valid_names_and_escapes() {
    check(
        &over_range("{ } | rate() by (resource.service.name, span.n)"),
        services(),
        QueryFormat::Prom,
        r#"
# TYPE rate gauge
rate{resource_service_name="cart"} 0.06666666666666667 1795773600000
rate{resource_service_name="the \"shop\", \\ really\n",span_n="5"} 0 1795773600000
rate{resource_service_name="the \"shop\", \\ really\n",span_n="5"} +Inf 1795773615500
"#,
    );
    let ungrouped = vec![series(vec![Label::text("__name__", "count_over_time")], &[3.0, 1e21])];
    check(
        &over_range("{ } | count_over_time()"),
        ungrouped,
        QueryFormat::Prom,
        r#"
# TYPE count_over_time gauge
count_over_time 3 1795773600000
count_over_time 1e21 1795773615500
"#,
    );
    let math = "({ } | rate() by (name)) / ({ } | rate() by (name))";
    check(
        &over_range(math),
        vec![series(vec![Label::text("name", "GET")], &[0.5, ABSENT])],
        QueryFormat::Prom,
        r#"
# TYPE traceql gauge
traceql{name="GET"} 0.5 1795773600000
"#,
    );
    check(&over_range("{ } | rate()"), Vec::new(), QueryFormat::Prom, "");
}

#[test]
fn prometheus_keeps_apart_what_would_be_the_same() {
    let of = |labels: &[(&str, LabelValue)]| {
        let labels = labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
        series(labels, &[1.0, ABSENT])
    };
    check(
        &over_range("{ } | count_over_time() by (span.a)"),
        vec![
            of(&[("span.a", LabelValue::Int(1))]),
            of(&[("span.a", LabelValue::Float(1.0))]),
            of(&[("span.a", LabelValue::String("1".into()))]),
            of(&[("span.a", LabelValue::Bool(true)), ("span:a", LabelValue::Int(2))]),
            of(&[("span.a", LabelValue::Int(7)), ("span.a", LabelValue::Int(7))]),
            of(&[("type", LabelValue::Int(7))]),
        ],
        QueryFormat::Prom,
        r#"
# TYPE count_over_time gauge
count_over_time{span_a="1"} 1 1795773600000
count_over_time{span_a="1",type="float"} 1 1795773600000
count_over_time{span_a="1",type="string"} 1 1795773600000
count_over_time{span_a="true",span_a_2="2"} 1 1795773600000
count_over_time{span_a="7"} 1 1795773600000
count_over_time{type_2="7"} 1 1795773600000
"#,
    );
}

#[test]
fn prometheus_json_is_a_matrix_or_a_vector() {
    let query = "{ } | rate() by (resource.service.name, span.n)";
    let range = Asked { query, is_instant: false, prometheus_json: true };
    check(
        &range,
        services(),
        QueryFormat::Prom,
        r#"
{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"rate","resource_service_name":"cart"},"values":[[1795773600,"0.06666666666666667"]]},{"metric":{"__name__":"rate","resource_service_name":"the \"shop\", \\ really\n","span_n":"5"},"values":[[1795773600,"0"],[1795773615.5,"+Inf"]]}]},"warnings":["a block is gone"]}
"#,
    );
    let instant = Asked { is_instant: true, ..range };
    check(
        &instant,
        services(),
        QueryFormat::Prom,
        r#"
{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"rate","resource_service_name":"cart"},"value":[1795773600,"0.06666666666666667"]},{"metric":{"__name__":"rate","resource_service_name":"the \"shop\", \\ really\n","span_n":"5"},"value":[1795773600,"0"]}]},"warnings":["a block is gone"]}
"#,
    );
}

#[test]
fn a_comparison_shows_what_the_selection_has_more_often() {
    let of = |side: &str, name: &str, value: &str, count: f64| Series {
        labels: vec![Label::text("__meta_type", side), Label::text(name, value)],
        samples: Samples::dense(vec![count, 0.0]),
        exemplars: Vec::new(),
    };
    let series = vec![
        of("baseline", "kind", "server", 80.0),
        of("baseline", "kind", "client", 20.0),
        of("baseline_total", "kind", "nil", 100.0),
        of("baseline", "span.code", "503", 1.0),
        of("baseline_total", "span.code", "nil", 1.0),
        of("selection", "kind", "server", 4.0),
        of("selection_total", "kind", "nil", 4.0),
        of("selection", "span.code", "503", 3.0),
        of("selection_total", "span.code", "nil", 3.0),
    ];
    let asked = over_range("{ } | compare({ status = error })");
    let expect = "\
ATTRIBUTE  VALUE   SELECTION   SHARE  BASELINE  SHARE  DIFFERENCE
span.code  503             3   75.0%         1   1.0%      +74.0%
kind       client          0    0.0%        20  20.0%      -20.0%
kind       server          4  100.0%        80  80.0%      +20.0%
";
    check(&asked, series.clone(), QueryFormat::Table, expect);
    check(&asked, series, QueryFormat::Auto, expect);
}
