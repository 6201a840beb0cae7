//! Bodies are pinned to the worked samples of `metrics.md` 6.4, compared as JSON and so that names
//! keep their order.

use traceql_engine::metrics::Samples;

use super::*;

const SECOND: u64 = 1_000_000_000;
const ABSENT: f64 = f64::NAN;

/// Three intervals of 15 s; the first sample is stamped 1699999200.
fn answer(series: Vec<Series>) -> MetricsAnswer {
    let start_unix_nanos = 1_699_999_185 * SECOND;
    MetricsAnswer {
        axis: TimeAxis { start_unix_nanos, step_nanos: 15 * SECOND, n_intervals: 3 },
        series,
    }
}

fn series(labels: Vec<Label>, samples: &[f64]) -> Series {
    Series { labels, samples: Samples::dense(samples.to_vec()), exemplars: Vec::new() }
}

fn stats() -> QueryStats {
    QueryStats {
        bytes_read: 10_654,
        selected_blocks: 1,
        units_done: 1,
        units_total: 1,
        selected_block_bytes: 1_000,
        inspected_spans: 5,
        ..QueryStats::default()
    }
}

fn few() -> QueryStats {
    QueryStats { selected_blocks: 1, units_done: 1, units_total: 1, ..QueryStats::default() }
}

#[test]
fn a_range_has_samples_and_exemplars() {
    let service = |name| vec![Label::text("resource.service.name", name)];
    let exemplar = Exemplar {
        labels: vec![
            Label::text("trace:id", "628b49d96dcde97a430dd4f597705899"),
            Label::text("resource.service.name", "fe"),
        ],
        value: 2.0 / 15.0,
        timestamp_unix_nanos: 1_699_999_215 * SECOND + 999_999,
    };
    let fe = Series {
        exemplars: vec![exemplar],
        ..series(service("fe"), &[0.0, 2.0 / 15.0, 1.0 / 15.0])
    };
    let be = series(service("be"), &[0.0, 1.0 / 15.0, ABSENT]);
    assert_eq!(
        metrics_range_response(&answer(vec![be, fe]), &stats(), None),
        concat!(
            r#"{"series":["#,
            r#"{"labels":[{"key":"resource.service.name","value":{"stringValue":"be"}}],"#,
            r#""samples":[{"timestampMs":"1699999200000"},"#,
            r#"{"timestampMs":"1699999215000","value":0.06666666666666667}]},"#,
            r#"{"labels":[{"key":"resource.service.name","value":{"stringValue":"fe"}}],"#,
            r#""samples":[{"timestampMs":"1699999200000"},"#,
            r#"{"timestampMs":"1699999215000","value":0.13333333333333333},"#,
            r#"{"timestampMs":"1699999230000","value":0.06666666666666667}],"#,
            r#""exemplars":[{"labels":["#,
            r#"{"key":"trace:id","value":{"stringValue":"628b49d96dcde97a430dd4f597705899"}},"#,
            r#"{"key":"resource.service.name","value":{"stringValue":"fe"}}],"#,
            r#""value":0.13333333333333333,"timestampMs":"1699999215000"}]}],"#,
            r#""metrics":{"inspectedBytes":"10654","totalBlocks":1,"completedJobs":1,"#,
            r#""totalJobs":1,"totalBlockBytes":"1000","inspectedSpans":"5"}}"#,
        )
    );
}

#[test]
fn labels_keep_their_types_and_their_zeros() {
    let labels = vec![
        Label::new("span.x", LabelValue::Float(1.0)),
        Label::new("span.i", LabelValue::Int(0)),
        Label::new("span.b", LabelValue::Bool(false)),
        Label::text("span.s", ""),
        Label::new("span.n", LabelValue::Float(f64::NAN)),
    ];
    assert_eq!(
        metrics_range_series(&answer(Vec::new()).axis, &series(labels, &[ABSENT, 1.0, ABSENT])),
        concat!(
            r#"{"labels":[{"key":"span.x","value":{"doubleValue":1}},"#,
            r#"{"key":"span.i","value":{"intValue":"0"}},"#,
            r#"{"key":"span.b","value":{"boolValue":false}},"#,
            r#"{"key":"span.s","value":{"stringValue":""}},"#,
            r#"{"key":"span.n","value":{"doubleValue":"NaN"}}],"#,
            r#""samples":[{"timestampMs":"1699999215000","value":1}]}"#,
        )
    );
}

#[test]
fn values_that_json_lacks_are_words() {
    let odd = series(Vec::new(), &[f64::INFINITY, f64::NEG_INFINITY, -0.0]);
    assert_eq!(
        metrics_range_series(&answer(Vec::new()).axis, &odd),
        concat!(
            r#"{"samples":[{"timestampMs":"1699999200000","value":"Infinity"},"#,
            r#"{"timestampMs":"1699999215000","value":"-Infinity"},"#,
            r#"{"timestampMs":"1699999230000"}]}"#,
        )
    );
}

#[test]
fn an_instant_has_one_value_a_series() {
    let quantile =
        |p: f64, value: f64| series(vec![Label::new("p", LabelValue::Float(p))], &[value]);
    let body = metrics_instant_response(
        &answer(vec![quantile(0.5, 2.147_483_648), quantile(0.9, ABSENT)]),
        &few(),
        None,
    );
    assert_eq!(
        body,
        concat!(
            r#"{"series":[{"labels":[{"key":"p","value":{"doubleValue":0.5}}],"value":2.147483648}],"#,
            r#""metrics":{"totalBlocks":1,"completedJobs":1,"totalJobs":1}}"#,
        )
    );
    let zero = series(vec![Label::text("__name__", "count_over_time")], &[0.0]);
    assert_eq!(
        metrics_instant_response(&answer(vec![zero.clone()]), &few(), None),
        concat!(
            r#"{"series":[{"labels":[{"key":"__name__","value":{"stringValue":"count_over_time"}}]}],"#,
            r#""metrics":{"totalBlocks":1,"completedJobs":1,"totalJobs":1}}"#,
        )
    );
    assert!(metrics_instant_series(&zero).is_some());
    assert_eq!(metrics_instant_series(&quantile(0.9, ABSENT)), None);
}

#[test]
fn nothing_is_an_empty_list_or_none() {
    let nothing = answer(Vec::new());
    assert_eq!(
        metrics_range_response(&nothing, &QueryStats::default(), None),
        r#"{"series":[],"metrics":{}}"#
    );
    assert_eq!(
        metrics_instant_response(&nothing, &QueryStats::default(), None),
        r#"{"metrics":{}}"#
    );
}

#[test]
fn an_answer_that_is_not_whole_says_so() {
    let message = "series limit 1 reached; result is partial";
    let one = series(vec![Label::new("span.x", LabelValue::Float(2.5))], &[ABSENT, 1.0, ABSENT]);
    let stats =
        QueryStats { selected_blocks: 3, units_done: 1, units_total: 3, ..QueryStats::default() };
    assert_eq!(
        metrics_range_response(&answer(vec![one]), &stats, Some(message)),
        concat!(
            r#"{"series":[{"labels":[{"key":"span.x","value":{"doubleValue":2.5}}],"#,
            r#""samples":[{"timestampMs":"1699999215000","value":1}]}],"#,
            r#""metrics":{"totalBlocks":3,"completedJobs":1,"totalJobs":3},"#,
            r#""status":"PARTIAL","message":"series limit 1 reached; result is partial"}"#,
        )
    );
}
