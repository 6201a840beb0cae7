//! What an answer promises as a whole, asked of the built-in sample: limits, memory, exemplars, hints.
//! Numbers are the business of the integration tests, which hold the engine against an evaluator.

use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_language::{Dialect, compile};

use super::{Label, LabelValue, MetricsAnswer, MetricsKind, MetricsRequest, series_order};
use crate::{Engine, EngineConfig, Error, Outcome, QueryOptions, Result};

const MINUTE: u64 = 60_000_000_000;

async fn ask_with(
    query: &str,
    request: &MetricsRequest,
    options: &QueryOptions,
) -> Result<Outcome<MetricsAnswer>> {
    let source = Source::open("sample:", &SourceOptions::default()).await.unwrap();
    let query = compile(query, Dialect::Default).unwrap();
    let tenants = [TenantId::single()];
    Engine::new(EngineConfig::default()).metrics(&source, &tenants, &query, request, options).await
}

fn by_minute() -> MetricsRequest {
    let kind = MetricsKind::Range { step_nanos: Some(MINUTE) };
    MetricsRequest { kind, ..MetricsRequest::default() }
}

async fn ask(query: &str) -> MetricsAnswer {
    ask_with(query, &by_minute(), &QueryOptions::default()).await.unwrap().answer
}

#[tokio::test]
async fn an_answer_is_partial_only_if_something_was_left_out() {
    let query = "{ } | rate() by (resource.service.name)";
    let all = ask(query).await.series;
    assert!(all.len() > 3, "the sample has {} services", all.len());
    for (max_series, is_partial) in [(0, false), (all.len(), false), (all.len() - 1, true)] {
        let request = MetricsRequest { max_series, ..by_minute() };
        let outcome = ask_with(query, &request, &QueryOptions::default()).await.unwrap();
        assert_eq!(outcome.partial.is_some(), is_partial, "{max_series}: {:?}", outcome.partial);
        let kept = if is_partial { max_series } else { all.len() };
        assert_eq!(
            outcome.answer.series,
            all[..kept],
            "the first in the order of answers are kept"
        );
    }
    let request = MetricsRequest { max_series: 2, ..by_minute() };
    let top = format!("{query} > 100000 | topk(2)");
    let outcome = ask_with(&top, &request, &QueryOptions::default()).await.unwrap();
    assert_eq!(outcome.partial, None, "what the second stage drops does not count");
}

#[tokio::test]
async fn memory_bounds_series_and_says_so() {
    let query = "{ } | count_over_time() by (span:id, trace:id)";
    let all = ask(query).await;
    assert!(all.series.len() > 1_000, "{} spans", all.series.len());
    let mut refused = 0;
    for memory_bytes in [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 26] {
        let options = QueryOptions { memory_bytes, ..QueryOptions::default() };
        match ask_with(query, &by_minute(), &options).await {
            Ok(outcome) => assert_eq!(outcome.answer, all, "in {memory_bytes} bytes"),
            Err(Error::Memory { limit_bytes, .. }) => {
                assert_eq!(limit_bytes, memory_bytes);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "a little memory is not enough");
    let request = MetricsRequest {
        range: Some((MINUTE, u64::MAX / 2)),
        kind: MetricsKind::Range { step_nanos: Some(1_000_000) },
        max_intervals: 0,
        ..MetricsRequest::default()
    };
    let error = ask_with("{ } | rate()", &request, &QueryOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
}

#[tokio::test]
async fn exemplars_stay_while_their_sample_does() {
    let request = MetricsRequest { exemplars: 20, ..by_minute() };
    let options = QueryOptions::default();
    let count = "{ status = error } | count_over_time() by (resource.service.name)";
    let answer = ask_with(count, &request, &options).await.unwrap().answer;
    let exemplars: Vec<_> = answer.series.iter().flat_map(|s| &s.exemplars).collect();
    assert!((1..=20).contains(&exemplars.len()), "{} exemplars", exemplars.len());
    for series in &answer.series {
        for exemplar in &series.exemplars {
            let interval = answer.axis.interval_of(exemplar.timestamp_unix_nanos).unwrap();
            assert_eq!(exemplar.value, series.samples.get(interval), "its sample is its value");
            let label = |name: &str| exemplar.labels.iter().find(|label| label.name == name);
            assert_eq!(label("resource.service.name"), series.labels.first());
            assert_eq!(label("status").unwrap().value, LabelValue::String("error".to_owned()));
            let id = label("trace:id").unwrap().value.to_text();
            assert!(!id.starts_with('0') && id.len() <= 32, "{id}: as `trace:id` reads elsewhere");
        }
    }
    let kept = ask_with(&format!("{count} > 1"), &request, &options).await.unwrap().answer;
    let exemplars: Vec<_> = kept.series.iter().flat_map(|s| &s.exemplars).collect();
    assert!(!exemplars.is_empty() && exemplars.iter().all(|exemplar| exemplar.value > 1.0));

    let longest = "{ kind = server } | max_over_time(duration) with (exemplars=3)";
    let answer = ask_with(longest, &request, &options).await.unwrap().answer;
    assert_eq!(answer.series[0].exemplars.len(), 3, "the hint counts");
    for exemplar in &answer.series[0].exemplars {
        let interval = answer.axis.interval_of(exemplar.timestamp_unix_nanos).unwrap();
        assert!(exemplar.value <= answer.series[0].samples.get(interval));
    }
    let instant = MetricsRequest { kind: MetricsKind::Instant, ..request.clone() };
    for (query, request) in [
        (longest, &instant),
        ("{ } | rate() with (exemplars=false)", &request),
        ("{ } | compare({ status = error })", &request),
    ] {
        let answer = ask_with(query, request, &options).await.unwrap().answer;
        assert!(answer.series.iter().all(|series| series.exemplars.is_empty()), "{query}");
    }
}

#[tokio::test]
async fn sampling_hints_change_nothing() {
    let query = "{ status = error } | rate() by (name)";
    let exact = ask(query).await;
    for hint in ["sample=true", "sample=0.1", "span_sample=0.5", "trace_sample=0.5", "nosuch=1"] {
        assert_eq!(ask(&format!("{query} with ({hint})")).await, exact, "{hint}");
    }
}

#[tokio::test]
async fn exact_quantiles_are_values() {
    let query = "{ } | quantile_over_time(duration, 0, .5, 1) with (exact=true)";
    let request = MetricsRequest { kind: MetricsKind::Instant, ..MetricsRequest::default() };
    let ample = ask_with(query, &request, &QueryOptions::default()).await.unwrap();
    assert_eq!(ample.warnings, Vec::<String>::new());
    let value = |answer: &MetricsAnswer, at: usize| answer.series[at].samples.get(0);
    for (at, function) in [(0, "min_over_time"), (2, "max_over_time")] {
        let extreme = format!("{{ }} | {function}(duration)");
        let extreme = ask_with(&extreme, &request, &QueryOptions::default()).await.unwrap();
        assert_eq!(value(&ample.answer, at), value(&extreme.answer, 0));
    }
}

#[tokio::test]
async fn answers_do_not_depend_on_threads() {
    for query in [
        "{ } | avg_over_time(duration) by (resource.service.name, name)",
        "{ kind = server } | compare({ status = error })",
        "({ status = error } | rate()) / ({ } | rate())",
    ] {
        let options = |threads| QueryOptions { threads, ..QueryOptions::default() };
        let one = ask_with(query, &by_minute(), &options(1)).await.unwrap().answer;
        for threads in [2, 3, 8] {
            let many = ask_with(query, &by_minute(), &options(threads)).await.unwrap().answer;
            assert_eq!(one.axis, many.axis);
            assert_eq!(one.series.len(), many.series.len(), "{query}");
            for (one, many) in one.series.iter().zip(&many.series) {
                assert_eq!(one.labels, many.labels, "{query}");
                for (a, b) in one.samples.iter().zip(many.samples.iter()) {
                    let near = (a - b).abs() <= 1e-12 * a.abs() || (a.is_nan() && b.is_nan());
                    assert!(near, "{query}: {a} is not {b}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_search_has_no_series() {
    let error = ask_with("{ status = error }", &by_minute(), &QueryOptions::default()).await;
    assert!(matches!(error, Err(Error::Query(_))), "{error:?}");
}

#[test]
fn series_come_in_the_order_of_their_text_forms() {
    let text = |text: &str| LabelValue::String(text.to_owned());
    let ordered = [
        LabelValue::Bool(false),
        LabelValue::Bool(true),
        LabelValue::Float(0.000_131_072),
        LabelValue::Float(1.024e-6),
        LabelValue::Float(1.073_741_824),
        LabelValue::Float(2e-9),
        LabelValue::Int(10),
        LabelValue::Int(3),
        text(""),
        text("GET /"),
        text("GET"),
        text("Zürich"),
        text("Zoo"),
        text("é"),
        text("a b"),
        text("a"),
        text("a\\b"),
        text("a\nb"),
        text("ab"),
    ];
    let series: Vec<Label> =
        ordered.into_iter().map(|value| Label { name: "span.a".to_owned(), value }).collect();
    let mut shuffled = series.clone();
    shuffled.reverse();
    shuffled.sort_by(|a, b| series_order(std::slice::from_ref(a), std::slice::from_ref(b)));
    assert_eq!(shuffled, series);
}
