//! The worked metrics cases, whose answers a Tempo 3.x gave: the naive evaluator gives them, which is
//! what makes it fit to judge the engine; and so does the engine. Ten hold an accident that `metrics.md` section 0 says not to
//! reproduce; for these the language's answer stands here, derived by hand from the spans of the case,
//! never from a run.

use traceql_blocks::model::Trace;
use traceql_engine::QueryOptions;
use traceql_language::Dialect;
use traceql_language::analyze::ir::TypedQuery;

use crate::support::data_set::DataSet;
use crate::support::evaluate::metrics::{self as evaluate, Axis, When};
use crate::support::metrics_cases::{self, Case};
use crate::support::series::{self, Shown};

/// The language's answer where the recorded one is an accident: the case, why, and the series.
const CORRECTIONS: &[(&str, &str, &str)] = &[
    (
        "duration-quantile",
        "row 4: in the last interval lie one span of 1 ns and one of 0; the median is the bucket 0, the \
         90th percentile the bucket of 1 ns",
        r#"[
        {"labels": {"p": 0.5}, "samples": [[1699999200000, 0], [1699999215000, 1.073741824],
            [1699999230000, 4.294967296], [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"p": 0.9}, "samples": [[1699999200000, 0], [1699999215000, 4.294967296],
            [1699999230000, 8.589934592], [1699999245000, 0], [1699999260000, 1e-9]]}
        ]"#,
    ),
    (
        "duration-histogram",
        "row 4: the spans of 1 ns and of 0 have buckets of their own",
        r#"[
        {"labels": {"__bucket": 0.0}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 1]]},
        {"labels": {"__bucket": 0.536870912}, "samples": [[1699999200000, 0], [1699999215000, 1],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"__bucket": 1.073741824}, "samples": [[1699999200000, 0], [1699999215000, 1],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"__bucket": 1e-9}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 1]]},
        {"labels": {"__bucket": 2.147483648}, "samples": [[1699999200000, 0], [1699999215000, 1],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"__bucket": 4.294967296}, "samples": [[1699999200000, 0], [1699999215000, 1],
            [1699999230000, 1], [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"__bucket": 8.589934592}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 1], [1699999245000, 0], [1699999260000, 0]]}
        ]"#,
    ),
    (
        "instant-quantile",
        "row 4: eight spans count, not six: 0, 1 ns, 0.5 s, 1 s, 2 s, 3 s and 4 s (one bucket), 5 s; the \
         first is in the bucket 0, the fourth, at 1 s, is the median",
        r#"[
        {"labels": {"p": 0.0}, "samples": [[1699999260000, 0]]},
        {"labels": {"p": 0.5}, "samples": [[1699999260000, 1.073741824]]},
        {"labels": {"p": 0.9}, "samples": [[1699999260000, 8.589934592]]},
        {"labels": {"p": 1.0}, "samples": [[1699999260000, 8.589934592]]}
        ]"#,
    ),
    (
        "attr-quantile-int",
        "rows 4 and 5: 2.5 shares the bucket 4 with 3, so that half of the first four values lie there; \
         of 0, -4, 1 and 2 half lie in the bucket 0",
        r#"[
        {"labels": {"p": 0.5}, "samples": [[1699999200000, 0], [1699999215000, 4],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 1024]]},
        {"labels": {"p": 1.0}, "samples": [[1699999200000, 0], [1699999215000, 8],
            [1699999230000, 0], [1699999245000, 2], [1699999260000, 2048]]}
        ]"#,
    ),
    (
        "attr-histogram-int",
        "rows 4 and 5: 0 and -4 are in the bucket 0, 1 is in the bucket 1, 2.5 is with 3 in the bucket 4",
        r#"[
        {"labels": {"__bucket": 0.0}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 2], [1699999260000, 0]]},
        {"labels": {"__bucket": 1.0}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 1], [1699999260000, 0]]},
        {"labels": {"__bucket": 1024.0}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 1]]},
        {"labels": {"__bucket": 2.0}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 1], [1699999260000, 0]]},
        {"labels": {"__bucket": 2048.0}, "samples": [[1699999200000, 0], [1699999215000, 0],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 1]]},
        {"labels": {"__bucket": 4.0}, "samples": [[1699999200000, 0], [1699999215000, 2],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"__bucket": 8.0}, "samples": [[1699999200000, 0], [1699999215000, 2],
            [1699999230000, 0], [1699999245000, 0], [1699999260000, 0]]}
        ]"#,
    ),
    (
        "attr-histogram-by",
        "rows 4 and 5: the same spans, all of one name and service",
        r#"[
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 0.0},
            "samples": [[1699999200000, 0], [1699999215000, 0], [1699999230000, 0],
                [1699999245000, 2], [1699999260000, 0]]},
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 1.0},
            "samples": [[1699999200000, 0], [1699999215000, 0], [1699999230000, 0],
                [1699999245000, 1], [1699999260000, 0]]},
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 1024.0},
            "samples": [[1699999200000, 0], [1699999215000, 0], [1699999230000, 0],
                [1699999245000, 0], [1699999260000, 1]]},
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 2.0},
            "samples": [[1699999200000, 0], [1699999215000, 0], [1699999230000, 0],
                [1699999245000, 1], [1699999260000, 0]]},
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 2048.0},
            "samples": [[1699999200000, 0], [1699999215000, 0], [1699999230000, 0],
                [1699999245000, 0], [1699999260000, 1]]},
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 4.0},
            "samples": [[1699999200000, 0], [1699999215000, 2], [1699999230000, 0],
                [1699999245000, 0], [1699999260000, 0]]},
        {"labels": {"name": "op", "resource.service.name": "a", "__bucket": 8.0},
            "samples": [[1699999200000, 0], [1699999215000, 2], [1699999230000, 0],
                [1699999245000, 0], [1699999260000, 0]]}
        ]"#,
    ),
    (
        "trace-duration-avg",
        "row 6: seconds; the trace runs from second 1 to second 3",
        r#"[{"labels": {"__name__": "avg_over_time"}, "samples": [[1699999215000, 2]]}]"#,
    ),
    (
        "event-time-since-start",
        "row 6: seconds; the event happens one second after its span began",
        r#"[{"labels": {"__name__": "max_over_time"}, "samples": [[1699999215000, 1]]}]"#,
    ),
    (
        "attr-sum-filtered",
        "row 15: `span.x > -100` keeps the float 2.5, beside 5, 7 and 3",
        r#"[{"labels": {"__name__": "sum_over_time"}, "samples": [[1699999215000, 17.5],
            [1699999245000, -1], [1699999260000, 2049]]}]"#,
    ),
    (
        "multiblock-trace-split",
        "row 14: either trace has two spans, one of them in two blocks",
        r#"[{"labels": {"__name__": "count_over_time"}, "samples": [[1699999200000, 0],
            [1699999215000, 4], [1699999230000, 0]]}]"#,
    ),
];

/// Cases in the file.
const N_CASES: usize = 133;

/// Cases whose query is refused.
const N_REFUSED: usize = 8;

/// Every case with the answer that the language gives.
fn cases() -> Vec<Case> {
    let mut cases = metrics_cases::cases();
    for (id, why, answer) in CORRECTIONS {
        let case = cases.iter_mut().find(|case| case.id == *id).expect("a case of the file");
        let corrected = metrics_cases::series(answer);
        let recorded = case.expected.replace(corrected.clone()).expect("an answer was recorded");
        // A correction that changes nothing would be a misunderstanding.
        assert!(series::difference(&corrected, &recorded).is_some(), "{id}: {why}");
    }
    cases
}

/// The series somebody gives to a question over some traces, or why there are none.
type Ask<'a> = &'a dyn Fn(&[Trace], &TypedQuery, When) -> Result<Vec<Shown>, String>;

/// Holds answers to all cases against the recorded ones. Whatever Tempo refuses is refused in its own
/// dialect; some of it is a question in ours (`grammar/compatibility.md`).
fn answers_agree(ask: Ask<'_>) {
    let cases = cases();
    assert_eq!(cases.len(), N_CASES);
    let mut differences = Vec::new();
    let mut n_refused = 0;
    for case in cases {
        let compiled = traceql_language::compile(&case.query, Dialect::Tempo);
        let (query, expected) = match (compiled, case.expected) {
            (Ok(query), Some(expected)) => (query, expected),
            (Err(_), None) => {
                n_refused += 1;
                continue;
            }
            (Ok(_), None) => {
                differences.push(format!("{} {}: is not refused", case.id, case.query));
                continue;
            }
            (Err(error), Some(_)) => {
                differences.push(format!("{} {}: {error}", case.id, case.query));
                continue;
            }
        };
        let difference = match ask(&case.traces, &query, case.when) {
            Ok(given) => series::difference(&expected, &metrics_cases::in_milliseconds(given)),
            Err(error) => Some(error),
        };
        if let Some(difference) = difference {
            differences.push(format!("{} {}\n  {difference}", case.id, case.query));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(n_refused, N_REFUSED);
}

#[test]
fn evaluator_gives_every_answer() {
    answers_agree(&|traces, query, when| {
        let axis = Axis::of(when).map_err(|refusal| refusal.to_string())?;
        let series = evaluate::metrics(traces, query, when);
        Ok(series::of_evaluator(&axis, &series.map_err(|refusal| refusal.to_string())?))
    });
}

#[test]
fn engine_gives_every_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    answers_agree(&|traces, query, when| {
        let data = DataSet::of_file(folder.path(), traces.to_vec());
        let answer = data.metrics(query, when, &QueryOptions::default())?;
        Ok(series::of_engine(&answer))
    });
}

#[test]
fn evaluator_aligns_as_recorded() {
    let mut n_aligned = 0;
    for case in metrics_cases::cases() {
        let Some(aligned) = case.aligned else { continue };
        let axis = Axis::of(case.when).expect("an axis");
        assert_eq!((axis.start, axis.end()), aligned, "{}", case.id);
        n_aligned += 1;
    }
    assert_eq!(n_aligned, N_CASES - N_REFUSED);
}

/// The default dialect asks the same of every query that both know.
#[test]
fn both_dialects_read_the_cases_alike() {
    for case in metrics_cases::cases() {
        let Ok(tempo) = traceql_language::compile(&case.query, Dialect::Tempo) else { continue };
        let default = traceql_language::compile(&case.query, Dialect::Default);
        let default = default.unwrap_or_else(|error| panic!("{}: {error}", case.query));
        assert_eq!(default.metrics, tempo.metrics, "{}", case.query);
    }
}
