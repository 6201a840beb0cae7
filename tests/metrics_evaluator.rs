//! Pins the naive evaluator of metrics, rule by rule, where the worked cases do not: the accidents that
//! are not copied, and the choices that the heads of `support/evaluate/metrics` name. All numbers were
//! computed by hand.

use traceql_blocks::model::{
    AttributeValue, Event, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId,
};
use traceql_engine::metrics::LabelValue;
use traceql_language::Dialect;

use crate::support::evaluate::metrics::{self as evaluate, Axis, When};

/// Start of the range that is asked: no span of this file starts before.
const START: u64 = 1_000_000_000_000;

/// End of the range, one minute later.
const END: u64 = START + 60_000_000_000;

/// An attribute.
fn attribute(key: &str, value: AttributeValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value }
}

/// An int attribute.
fn int(key: &str, number: i64) -> KeyValue {
    attribute(key, AttributeValue::Int(number))
}

/// A float attribute.
fn float(key: &str, number: f64) -> KeyValue {
    attribute(key, AttributeValue::Double(number))
}

/// A string attribute.
fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, AttributeValue::String(text.to_owned()))
}

/// A root of one millisecond that starts within the range.
fn span(attributes: Vec<KeyValue>) -> Span {
    Span {
        name: "op".to_owned(),
        start_unix_nanos: START + 1,
        end_unix_nanos: START + 1_000_001,
        attributes,
        ..Span::default()
    }
}

/// A span for each list of attributes.
fn spans<const N: usize>(attributes: [Vec<KeyValue>; N]) -> Vec<Span> {
    attributes.into_iter().map(span).collect()
}

/// An event at the start of its span.
fn event(name: &str, attributes: Vec<KeyValue>) -> Event {
    Event { name: name.to_owned(), time_unix_nanos: START + 1, attributes, ..Event::default() }
}

/// Every span as a trace of its own.
fn traces(spans: Vec<Span>) -> Vec<Trace> {
    let trace = |(index, span): (usize, Span)| {
        let id = u8::try_from(index + 1).expect("few spans");
        let span = Span { span_id: vec![id; 8], ..span };
        Trace {
            id: TraceId([id; 16]),
            resource_spans: vec![ResourceSpans {
                resource: Resource::default(),
                scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            }],
        }
    };
    spans.into_iter().enumerate().map(trace).collect()
}

/// The answer as text: labels and samples of each series.
fn answer(traces: &[Trace], query: &str, when: When) -> Vec<String> {
    let query = traceql_language::compile(query, Dialect::Default)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let series = evaluate::metrics(traces, &query, when).expect("an answer");
    let value = |value: &LabelValue| match value {
        LabelValue::String(text) => format!("{text:?}"),
        LabelValue::Int(number) => number.to_string(),
        LabelValue::Float(number) => format!("{number:?}"),
        LabelValue::Bool(truth) => truth.to_string(),
    };
    series
        .iter()
        .map(|series| {
            let labels: Vec<String> = series
                .labels
                .iter()
                .map(|label| format!("{}={}", label.name, value(&label.value)))
                .collect();
            let samples: Vec<String> = series
                .samples
                .iter()
                .map(|sample| sample.map_or_else(|| "-".to_owned(), |sample| sample.to_string()))
                .collect();
            format!("{}: {}", labels.join(" "), samples.join(" "))
        })
        .collect()
}

/// Holds an instant answer over spans that are traces of their own against what it should be.
#[track_caller]
fn check(spans: Vec<Span>, query: &str, expected: &[&str]) {
    let when = When::Instant { start: START, end: END };
    assert_eq!(answer(&traces(spans), query, when), expected, "{query}");
}

/// 0 rows 4 and 5: whatever is a number has a bucket.
#[test]
fn every_number_has_a_bucket() {
    let numbers = || {
        spans([
            vec![float("x", 0.3)],
            vec![float("x", 0.5)],
            vec![float("x", 3.0)],
            vec![int("x", 4)],
            vec![int("x", 1)],
            vec![int("x", 0)],
            vec![float("x", -2.5)],
            vec![int("x", i64::MAX)],
            vec![text("x", "7")],
            vec![attribute("x", AttributeValue::Bool(true))],
            vec![float("x", f64::INFINITY)],
            vec![float("x", f64::NAN)],
            vec![],
        ])
    };
    check(
        numbers(),
        "{ } | histogram_over_time(span.x)",
        &[
            "__bucket=0.0: 2",
            "__bucket=0.5: 2",
            "__bucket=1.0: 1",
            "__bucket=4.0: 2",
            "__bucket=9.223372036854776e18: 1",
        ],
    );
    check(numbers(), "{ span.x < 1 } | quantile_over_time(span.x, 0.5)", &["p=0.5: 0"]);
}

/// 2.4: the walks that the specification gives, and one that begins above the bucket 0.
#[test]
fn quantiles_walk_the_buckets() {
    let counted = |counts: &[(i64, usize)]| {
        let spans = counts.iter().flat_map(|&(x, n)| (0..n).map(move |_| span(vec![int("x", x)])));
        spans.collect::<Vec<_>>()
    };
    let quantile = |spans: Vec<Span>, p: &str| {
        let query = format!("{{ }} | quantile_over_time(span.x, {p})");
        let when = When::Instant { start: START, end: END };
        let answer = answer(&traces(spans), &query, when);
        let sample = answer[0].split(": ").last().expect("a sample");
        sample.parse::<f64>().expect("a number")
    };
    let close = |left: f64, right: f64| assert!((left - right).abs() < 1e-4, "{left} {right}");
    for (p, expected) in [
        ("0", 0.5_f64.sqrt()),
        ("0.2", 1.0),
        ("0.25", 1.1487),
        ("0.5", 1.5157),
        ("0.7", 2.0),
        ("0.75", 2.5198),
        ("0.9", 3.1748),
        ("1", 4.0),
    ] {
        close(quantile(counted(&[(1, 2), (2, 5), (4, 3)]), p), expected);
    }
    close(quantile(counted(&[(2, 10), (1024, 10)]), "0.51"), 3.7321);
    close(quantile(counted(&[(2, 10), (1024, 10)]), "0.75"), 45.2548);
    // Half of the bucket 8, from 4 on: the bucket 0 is no start.
    close(quantile(counted(&[(0, 2), (8, 2)]), "0.75"), 5.6569);
    close(quantile(counted(&[(0, 3), (8, 1)]), "0.5"), 0.0);
}

/// 2.2 and 0 row 6.
#[test]
fn durations_are_seconds_and_text_is_no_number() {
    let mut with_event = span(vec![text("s", "5"), int("n", 5)]);
    with_event.end_unix_nanos = START + 1 + 2_500_000_000;
    with_event.events = vec![Event { time_unix_nanos: START + 500_000_001, ..Event::default() }];
    for (query, expected) in [
        ("max_over_time(duration)", "__name__=\"max_over_time\": 2.5"),
        ("sum_over_time(trace:duration)", "__name__=\"sum_over_time\": 2.5"),
        ("avg_over_time(event:timeSinceStart)", "__name__=\"avg_over_time\": 0.5"),
        ("min_over_time(span.n)", "__name__=\"min_over_time\": 5"),
    ] {
        check(vec![with_event.clone()], &format!("{{ }} | {query}"), &[expected]);
    }
    for field in ["span.s", "name", "status", "kind", "span.nosuch"] {
        check(vec![with_event.clone()], &format!("{{ }} | max_over_time({field})"), &[]);
        check(vec![with_event.clone()], &format!("{{ }} | histogram_over_time({field})"), &[]);
    }
}

/// 0 row 10: the three orders that Tempo answers differently.
#[test]
fn sums_skip_what_is_missing() {
    let (five, seven) = (span(vec![int("x", 5)]), span(vec![int("x", 7)]));
    let missing = span(vec![]);
    for order in [[&five, &missing, &seven], [&missing, &five, &seven], [&five, &seven, &missing]] {
        check(
            order.into_iter().cloned().collect(),
            "{ } | sum_over_time(span.x)",
            &["__name__=\"sum_over_time\": 12"],
        );
    }
}

/// 2.5: types are kept, what is no plain value becomes text.
#[test]
fn labels_keep_types_and_lists_are_text() {
    let list =
        |elements: &[AttributeValue]| attribute("x", AttributeValue::Array(elements.to_vec()));
    let string = |text: &str| AttributeValue::String(text.to_owned());
    let numbers = [AttributeValue::Int(1), AttributeValue::Int(2)];
    check(
        spans([
            vec![list(&numbers)],
            vec![text("x", "[1, 2]")],
            vec![list(&[string("a"), string("b")])],
            vec![list(&[AttributeValue::Double(1.0), AttributeValue::Double(2.5e6)])],
            vec![list(&numbers[..1])],
            vec![float("x", 1.0)],
            vec![text("x", "1")],
            vec![list(&[])],
            vec![attribute("x", AttributeValue::Bytes(vec![1]))],
        ]),
        "{ } | count_over_time() by (span.x)",
        &[
            "span.x=1.0: 1",
            "span.x=1: 1",
            "span.x=\"1\": 1",
            "span.x=\"[1, 2]\": 2",
            "span.x=\"[1.0, 2.5e+06]\": 1",
            "span.x=\"[`a`, `b`]\": 1",
            "span.x=\"nil\": 2",
        ],
    );
    check(
        spans([
            vec![attribute("x", AttributeValue::Bool(true)), int("n", 4)],
            vec![text("x", "true"), int("n", 64)],
        ]),
        "{ } | quantile_over_time(span.n, 0.5) by (span.x)",
        &["span.x=true p=0.5: 4", "span.x=\"true\" p=0.5: 64"],
    );
    check(
        vec![Span { status_code: 2, kind: 3, ..span(vec![]) }],
        "{ } | count_over_time() by (status, kind, duration, statusMessage)",
        &["status=\"error\" kind=\"client\" duration=\"1ms\" statusMessage=\"\": 1"],
    );
}

/// 2.5: what becomes of missing values.
#[test]
fn missing_values_leave_their_label_out() {
    let groups = || {
        spans([
            vec![],
            vec![text("a", "nil")],
            vec![int("b", 1)],
            vec![text("a", "x"), int("b", 1)],
        ])
    };
    check(
        groups(),
        "{ } | count_over_time() by (span.a, span.b)",
        &["span.a=\"nil\": 2", "span.b=1: 1", "span.a=\"x\" span.b=1: 1"],
    );
    check(
        groups(),
        "{ } | count_over_time() by (span.b, span.b)",
        &["span.b=\"nil\": 2", "span.b=1 span.b=1: 2"],
    );
    check(
        vec![span(vec![int("n", 2)])],
        "{ } | histogram_over_time(span.n) by (span.a)",
        &["__bucket=2.0: 1"],
    );
}

/// 2.1 and 0 row 17.
#[test]
fn only_ungrouped_counts_have_zeros_without_spans() {
    let one = || vec![span(vec![])];
    for filter in ["{ span.nosuch = 1 }", "{ } | { false }", "{ false } && { true }"] {
        check(one(), &format!("{filter} | rate()"), &["__name__=\"rate\": 0"]);
    }
    for query in [
        "{ false } | rate()",
        "{ false } && { false } | count_over_time()",
        "{ span.nosuch = 1 } | rate() by (name)",
        "{ span.nosuch = 1 } | sum_over_time(duration)",
        "{ span.nosuch = 1 } | histogram_over_time(duration)",
        "{ span.nosuch = 1 } | compare({ status = error })",
    ] {
        check(one(), query, &[]);
    }
    check(vec![], "{ } | count_over_time()", &["__name__=\"count_over_time\": 0"]);
}

/// 0 row 16: which event stands for its span.
#[test]
fn the_event_that_satisfied_the_filter_stands_for_its_span() {
    let mut one = span(vec![]);
    one.events = vec![
        event("start", vec![int("k", 1)]),
        event("exception", vec![]),
        event("exception", vec![int("k", 2), text("type", "A")]),
        event("exception", vec![int("k", 3), text("type", "B")]),
        event("end", vec![int("k", 4), text("only", "end")]),
    ];
    let by = |filter: &str, field: &str, expected: &str| {
        let query = format!("{filter} | count_over_time() by ({field})");
        check(vec![one.clone()], &query, &[expected]);
    };
    by("{ }", "event.k", "event.k=1: 1");
    by("{ }", "event.type", "event.type=\"A\": 1");
    by("{ event.k > 2 }", "event.k", "event.k=3: 1");
    by("{ event:name = \"exception\" }", "event.k", "event.k=2: 1");
    by("{ event.k = 4 }", "event:name", "event:name=\"end\": 1");
    // The satisfying event lacks the attribute: the first that has it.
    by("{ event.k = 3 }", "event.only", "event.only=\"end\": 1");
    // The filters of the text in order, those without events passed over.
    by("{ name = \"op\" } | { event.k = 3 } | { event.k = 4 }", "event.k", "event.k=3: 1");
    by("{ event.k = 4 } && { event.k = 3 }", "event.k", "event.k=4: 1");
    // The left side of `!>` lets nothing through.
    by("{ event.k = 3 } !> { event.k = 4 }", "event.k", "event.k=4: 1");
    by("{ } | max(event.k) > 0", "event.k", "event.k=1: 1");
    check(
        vec![one.clone()],
        "{ event.k >= 3 } | max_over_time(event.k)",
        &["__name__=\"max_over_time\": 3"],
    );
    // Without events the name is empty, and no time has passed.
    check(
        vec![span(vec![])],
        "{ } | max_over_time(event:timeSinceStart) by (event:name, event.k)",
        &["event:name=\"\": 0"],
    );
}

/// 3.1: ties, as the specification gives them and with labels left out.
#[test]
fn ties_are_broken_by_labels() {
    let each = |values: &[AttributeValue]| {
        values.iter().map(|value| span(vec![attribute("x", value.clone())])).collect::<Vec<_>>()
    };
    let strings = ["a", "b", "c", "d"].map(|text| AttributeValue::String(text.to_owned()));
    let ints = [1, 2, 3, 10].map(AttributeValue::Int);
    let floats = [-1.5, 0.5, 2.5, 7.0].map(AttributeValue::Double);
    let mixed = [
        AttributeValue::Int(5),
        AttributeValue::Double(5.0),
        AttributeValue::Bool(false),
        AttributeValue::String("a".to_owned()),
    ];
    for (values, stage, kept) in [
        (&strings, "topk(1)", &["span.x=\"a\": 1"][..]),
        (&strings, "bottomk(1)", &["span.x=\"d\": 1"]),
        (&ints, "topk(2)", &["span.x=10: 1", "span.x=3: 1"]),
        (&ints, "bottomk(2)", &["span.x=1: 1", "span.x=2: 1"]),
        (&floats, "topk(2)", &["span.x=-1.5: 1", "span.x=7.0: 1"]),
        (&mixed, "topk(1)", &["span.x=false: 1"]),
        (&mixed, "topk(2)", &["span.x=false: 1", "span.x=5.0: 1"]),
        (&mixed, "bottomk(1)", &["span.x=\"a\": 1"]),
        (
            &mixed,
            "topk(4)",
            &["span.x=false: 1", "span.x=5.0: 1", "span.x=5: 1", "span.x=\"a\": 1"],
        ),
    ] {
        check(each(values), &format!("{{ }} | count_over_time() by (span.x) | {stage}"), kept);
    }
    let partial = || spans([vec![text("a", "x")], vec![text("a", "x"), int("b", 1)]]);
    let query = "{ } | count_over_time() by (span.a, span.b)";
    check(partial(), &format!("{query} | topk(1)"), &["span.a=\"x\": 1"]);
    check(partial(), &format!("{query} | bottomk(1)"), &["span.a=\"x\" span.b=1: 1"]);
}

/// 3.3 and 3.4.
#[test]
fn math_joins_names_and_leaves_out_what_is_no_number() {
    let two =
        |n: f64| spans([vec![text("a", "x"), float("n", n)], vec![text("a", "y"), int("n", 0)]]);
    let count = "({ } | count_over_time())";
    let by = "({ } | count_over_time() by (span.a))";
    let sum = "({ } | sum_over_time(span.n) by (span.a))";
    for (n, query, expected) in [
        (
            4.0,
            format!("{count} * 2 - {count}"),
            &["__name__=\"(count_over_time - count_over_time)\": 2"][..],
        ),
        (
            4.0,
            format!("{count} / {count} + 1"),
            &["__name__=\"(count_over_time / count_over_time)\": 2"],
        ),
        (4.0, format!("1 / {count}"), &["__name__=\"count_over_time\": 0.5"]),
        (4.0, format!("{by} / {count}"), &["span.a=\"x\": 0.5", "span.a=\"y\": 0.5"]),
        (4.0, format!("{by} / {sum}"), &["span.a=\"x\": 0.25"]),
        (1e308, format!("{sum} * 10 - {sum}"), &["span.a=\"x\": inf", "span.a=\"y\": 0"]),
        (1e308, format!("{sum} * 10 - {sum} * 10"), &["span.a=\"y\": 0"]),
        (4.0, format!("({{ }} | rate() by (span.a, name)) + {by}"), &[]),
        (4.0, format!("({{ false }} | rate()) + {by}"), &[]),
        (4.0, format!("{count} / 0"), &[]),
        (4.0, format!("{by} > 5"), &[]),
    ] {
        check(two(n), &query, expected);
    }
}

/// 4.2, with the multipliers that the specification gives; 4.1: sampling hints do nothing.
#[test]
fn extrapolation_weighs_spans() {
    let weigh = |trace_state: &str| {
        let spans = vec![Span { trace_state: trace_state.to_owned(), ..span(vec![]) }];
        let when = When::Instant { start: START, end: END };
        let query = "{ } | count_over_time() with (extrapolate=true)";
        let answer = answer(&traces(spans), query, when);
        let sample = answer[0].split(": ").last().expect("a sample");
        sample.parse::<f64>().expect("a number")
    };
    for (trace_state, expected) in [
        ("", 1.0),
        ("ot=th:0", 1.0),
        ("ot=th:8", 2.0),
        ("ot=th:c", 4.0),
        ("ot=th:4", 1.333_333_333_333),
        ("ot=th:fd70a4", 100.0),
        ("ot=th:4;rv:00000000000000", 2.0),
        ("ot=rv:ffffffffffffff;th:4", 1.0),
        ("ot=th:8;rv:00000000000000", 2.0),
        ("a=b, ot=th:8 ,c=d", 2.0),
        ("other=th:8", 1.0),
        ("ot=th:", 1.0),
        ("ot=th:xyz", 1.0),
        ("ot=th:+8", 1.0),
        ("ot=th:800000000000000", 1.0),
        ("ot=th:ffffffffffffff", 72_057_594_037_927_936.0),
    ] {
        let weight = weigh(trace_state);
        assert!((weight - expected).abs() < 1e-4 * expected, "{trace_state}: {weight}");
    }
    let sampled = |x: i64, trace_state: &str| Span {
        trace_state: trace_state.to_owned(),
        ..span(vec![int("x", x)])
    };
    let two = || vec![sampled(2, "ot=th:c"), sampled(8, "")];
    for (query, expected) in [
        ("sum_over_time(span.x)", &["__name__=\"sum_over_time\": 16"][..]),
        ("avg_over_time(span.x)", &["__name__=\"avg_over_time\": 3.2"]),
        ("max_over_time(span.x)", &["__name__=\"max_over_time\": 8"]),
        ("histogram_over_time(span.x)", &["__bucket=2.0: 4", "__bucket=8.0: 1"]),
        ("quantile_over_time(span.x, 0.8)", &["p=0.8: 2"]),
    ] {
        check(two(), &format!("{{ }} | {query} with (extrapolate=true)"), expected);
    }
    check(
        two(),
        "{ } | sum_over_time(span.x) with (sample=0.1, span_sample=0.5, extrapolate=false)",
        &["__name__=\"sum_over_time\": 10"],
    );
    // Two and two thirds of a span count as two: the first two of three, so that two thirds of all
    // lie below 2.
    let thirds = vec![sampled(2, "ot=th:4"), sampled(2, "ot=th:4"), sampled(8, "")];
    check(thirds, "{ } | quantile_over_time(span.x, 0.6) with (extrapolate=true)", &["p=0.6: 2"]);
}

/// 2.6 and 0 rows 11 and 12.
#[test]
fn compare_counts_once_and_trims_once() {
    let of_key = |answer: Vec<String>, key: &str| {
        let lines = answer.into_iter().filter(|line| line.contains(&format!(" {key}=")));
        lines.map(|line| line.replace("__meta_type=", "")).collect::<Vec<_>>()
    };
    let mut list = span(vec![text("k", "x")]);
    list.attributes.push(attribute("l", AttributeValue::Array(vec![AttributeValue::Int(1); 2])));
    list.attributes.push(text("k", "hidden"));
    list.attributes.push(attribute("m", AttributeValue::Bytes(vec![1])));
    list.events = vec![event("e1", vec![int("j", 1)]), event("e2", vec![int("j", 2)])];
    let spans = || {
        vec![
            list.clone(),
            span(vec![text("k", "x")]),
            span(vec![text("k", "z")]),
            span(vec![text("k", "y")]),
            Span { status_code: 2, ..span(vec![int("k", 5)]) },
        ]
    };
    let ask = |query: &str, key: &str| {
        let when = When::Instant { start: START, end: END };
        of_key(answer(&traces(spans()), query, when), key)
    };
    assert_eq!(
        ask("{ span.k != nil } | compare({ status = error }, 2)", "span.k"),
        [
            "\"baseline\" span.k=\"x\": 2",
            "\"baseline\" span.k=\"y\": 1",
            "\"baseline_total\" span.k=\"nil\": 4",
            "\"selection\" span.k=5: 1",
            "\"selection_total\" span.k=\"nil\": 1",
        ]
    );
    assert_eq!(
        ask("{ } | compare({ status = error })", "span.l"),
        ["\"baseline\" span.l=\"[1, 1]\": 1", "\"baseline_total\" span.l=\"nil\": 1"]
    );
    assert_eq!(ask("{ } | compare({ status = error })", "span.m"), [""; 0], "it has no value");
    assert_eq!(ask("{ } | compare({ event.j = 2 })", "event.j"), [""; 0]);
    // The filter sees more than what is counted.
    for (filter, n_selected) in [
        ("event.j = 2", 1),
        ("event:name = \"e1\"", 1),
        ("span.l = nil", 4),
        ("span.nosuch = nil", 5),
        ("nestedSetParent = -1", 5),
        ("span:parentID = \"0000000000000000\"", 5),
    ] {
        let selected = ask(&format!("{{ }} | compare({{ {filter} }})"), "kind");
        let total = format!("\"selection_total\" kind=\"nil\": {n_selected}");
        assert!(selected.contains(&total), "{filter}: {selected:?}");
    }
    assert_eq!(
        ask("{ event.j = 2 } | compare({ event.j = 1 })", "event.j"),
        ["\"selection\" event.j=2: 1", "\"selection_total\" event.j=\"nil\": 1"]
    );
    for key in ["duration", "traceDuration", "span:id", "trace:id", "nestedSetLeft", "event:name"] {
        assert_eq!(ask("{ event.j = 2 } | compare({ status = error })", key), [""; 0]);
    }
    // A window that ends before the spans start leaves nothing selected.
    let window = format!("{{ }} | compare({{ status = error }}, 10, 5, {START})");
    assert_eq!(ask(&window, "status").len(), 3);
    let window = format!("{{ }} | compare({{ status = error }}, 10, 5, {})", START + 1);
    assert_eq!(ask(&window, "status").len(), 4);
    let window = format!("{{ }} | compare({{ status = error }}, 10, {}, {END})", START + 1);
    assert_eq!(ask(&window, "status").len(), 3);
}

/// 1.3: the steps of ranges without one, by the table of the specification.
#[test]
fn steps_follow_from_the_range() {
    let millis = 1_000_000;
    let second = 1_000 * millis;
    let (minute, hour) = (60 * second, 3_600 * second);
    for (length, step) in [
        (second, 50 * millis),
        (12 * second, 50 * millis),
        (30 * second, 100 * millis),
        (59 * second, 200 * millis),
        (minute, second),
        (5 * minute, second),
        (10 * minute, 2 * second),
        (15 * minute, 3 * second),
        (20 * minute, 5 * second),
        (30 * minute, 5 * second),
        (59 * minute + 59_500 * millis, 10 * second),
        (hour, 15 * second),
        (2 * hour, 30 * second),
        (3 * hour, 45 * second),
        (4 * hour, minute),
        (6 * hour, minute),
        (12 * hour, 3 * minute),
        (20 * hour + second, 5 * minute),
        (24 * hour, 5 * minute),
        (48 * hour, 10 * minute),
        (7 * 24 * hour, 40 * minute),
    ] {
        let axis = Axis::of(When::Range { start: START, end: START + length, step: None });
        assert_eq!(axis.expect("an axis").step, i128::from(step), "{length}");
    }
}

/// 1.5 and 1.6: to the nanosecond, and not before 1970.
#[test]
fn every_condition_of_a_filter_is_tested() {
    for filter in
        ["duration = 0.5", "span:id =~ \"x.*\"", "span:parentID =~ \"x.*\"", "trace:id =~ \"x.*\""]
    {
        let query = format!("{{ {filter} }} | count_over_time() by (kind)");
        check(vec![span(vec![])], &query, &[]);
    }
    check(
        vec![span(vec![])],
        "{ duration != 0.5 } | count_over_time() by (kind)",
        &["kind=\"unspecified\": 1"],
    );
}

#[test]
fn intervals_are_open_on_the_left_and_closed_on_the_right() {
    let starting = |start_unix_nanos: u64| {
        let end_unix_nanos = start_unix_nanos;
        traces(vec![Span { start_unix_nanos, end_unix_nanos, ..span(vec![]) }])
    };
    let range = When::Range { start: 20, end: 41, step: Some(10) };
    for (start, expected) in [
        (10, "0 0 0 0"),
        (11, "1 0 0 0"),
        (20, "1 0 0 0"),
        (21, "0 1 0 0"),
        (50, "0 0 0 1"),
        (51, "0 0 0 0"),
    ] {
        let expected = format!("__name__=\"count_over_time\": {expected}");
        let query = "{ } | count_over_time()";
        assert_eq!(answer(&starting(start), query, range), [expected], "{start}");
        let is_seen = !(start == 10 || start == 51);
        let grouped = answer(&starting(start), "{ } | count_over_time() by (kind)", range);
        assert_eq!(grouped.len(), usize::from(is_seen), "{start}");
    }
    for (start, expected) in [(20, "0"), (21, "1"), (41, "1"), (42, "0")] {
        let when = When::Instant { start: 20, end: 41 };
        let expected = format!("__name__=\"count_over_time\": {expected}");
        assert_eq!(
            answer(&starting(start), "{ } | count_over_time()", when),
            [expected],
            "{start}"
        );
    }
    let early = Axis::of(When::Range { start: 15, end: 25, step: Some(10) }).expect("an axis");
    assert_eq!((early.start, early.end()), (10, 30), "a step earlier would begin at 0");
    assert!(Axis::of(When::Range { start: 5, end: 5, step: Some(1) }).is_err());
    assert!(Axis::of(When::Range { start: 1, end: 5, step: Some(0) }).is_err());
    assert!(Axis::of(When::Instant { start: 6, end: 5 }).is_err());
}
