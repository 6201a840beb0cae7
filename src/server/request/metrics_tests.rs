//! Windows, steps and bounds as `metrics.md` 1.1 to 1.4 has them, at a fixed time.

use std::time::Duration;

use super::*;

/// A full hour.
const NOW: u64 = 1_800_000_000 * SECOND_NANOS;

fn limits() -> MetricsLimits {
    MetricsLimits::default()
}

fn range(query: &str) -> Result<MetricsRequest> {
    of_range(&Parameters::parse(query), &limits(), NOW)
}

/// Start and end in seconds from now, and the step in seconds.
fn shape(request: MetricsRequest) -> (f64, f64, Option<f64>) {
    #[expect(clippy::cast_precision_loss, reason = "the tests' times are a few hours")]
    let from_now = |nanos: u64| nanos.wrapping_sub(NOW).cast_signed() as f64 / 1e9;
    let (start, end) = request.range.unwrap();
    let step = match request.kind {
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        MetricsKind::Range { step_nanos } => Some(step_nanos.unwrap() as f64 / 1e9),
        MetricsKind::Instant => None,
    };
    (from_now(start), from_now(end), step)
}

#[track_caller]
fn check(query: &str, start: f64, end: f64, step: f64) {
    assert_eq!(shape(range(query).unwrap()), (start, end, Some(step)), "{query}");
}

#[track_caller]
fn check_instant(query: &str, start: f64, end: f64) {
    let request = of_instant(&Parameters::parse(query), &limits(), NOW).unwrap();
    assert_eq!(shape(request), (start, end, None), "{query}");
}

#[track_caller]
fn refused(query: &str, text: &str) {
    assert_eq!(range(query).unwrap_err().0, text, "{query}");
}

#[test]
fn without_a_range_the_last_hour_is_meant() {
    // The step that is not over is left out.
    check("", -3600.0, -30.0, 15.0);
    check("since=2h", -7200.0, -30.0, 30.0);
    check("since=2h&start=1799999000&step=10", -1000.0, -30.0, 10.0);
    check("since=xx&start=1799999000&step=10", -1000.0, -30.0, 10.0);
    check("end=1799990000&since=5m", -10_300.0, -10_000.0, 1.0);
    check("start=1799999880", -120.0, -30.0, 1.0);
    // The end lies in the future: the range begins before now.
    check("end=1800003600&since=10m", -600.0, -30.0, 15.0);
}

#[test]
fn the_newest_data_is_left_out() {
    check("start=1799999000&end=1799999990&step=60", -1000.0, -60.0, 60.0);
    check("start=1799999000&end=1799999900&step=60", -1000.0, -100.0, 60.0);
    let now = MetricsLimits { end_cutoff: Duration::ZERO, ..limits() };
    let request = of_range(&Parameters::parse("since=10m&step=7"), &now, NOW).unwrap();
    assert_eq!(shape(request).1, -1.0, "a multiple of 7 s");
    refused(
        "start=1799999975&end=1800000000",
        "query window falls entirely within query_end_cutoff",
    );
    refused("since=1s", "query window falls entirely within query_end_cutoff");
}

#[test]
fn a_window_within_one_step_is_answered_by_the_step_before() {
    let request = range("start=1799999950&end=1799999990&step=1h").unwrap();
    // Now is a full hour, so an hour ago is the last one that was over by the cutoff.
    assert_eq!(shape(request), (-7200.0, -3600.0, None));
}

#[test]
fn an_instant_is_shortened_by_whole_seconds() {
    check_instant("start=1799990000&end=1799999000.25", -10_000.0, -999.75);
    check_instant("start=1799990000&end=1799999990.25", -10_000.0, -30.75);
    check_instant("", -3600.0, -30.0);
    check_instant("since=5m&step=nonsense&exemplars=5", -300.0, -30.0);
    let error = of_instant(&Parameters::parse("since=1s"), &limits(), NOW).unwrap_err();
    assert_eq!(error.0, "query window falls entirely within query_end_cutoff");
    let internal = range("start=1799990000&end=1799999990.25&instant=true").unwrap();
    assert_eq!(shape(internal), (-10_000.0, -30.75, None));
}

#[test]
fn windows_that_are_none_are_refused() {
    for query in ["start=100&end=100", "start=101&end=100", "end=1799990000&since=0"] {
        refused(query, "end must be greater than start");
    }
    refused("since=3d", "metrics query time range exceeds the maximum allowed duration of 24h0m0s");
    check("since=24h&step=60", -86_400.0, -60.0, 60.0);
    let any = MetricsLimits { max_range: None, ..limits() };
    assert!(of_range(&Parameters::parse("since=3y"), &any, NOW).is_ok());
    let error = range("start=1.7e").unwrap_err().0;
    assert!(error.starts_with("could not parse 'start' parameter: "), "{error}");
}

#[test]
fn steps_are_seconds_or_durations() {
    for (text, seconds) in [("15", 15.0), ("1.5", 1.5), ("500ms", 0.5), ("1m30s", 90.0)] {
        let query = format!("start=1799990000&end=1799992000&step={text}");
        assert_eq!(shape(range(&query).unwrap()).2, Some(seconds), "{text}");
    }
    for text in ["1d", "-15", "-1s", "inf", "NaN", "x", "1e300", "5 m"] {
        let error = range(&format!("step={}", text.replace(' ', "%20"))).unwrap_err().0;
        assert!(error.starts_with("could not parse 'step' parameter: "), "{text}: {error}");
    }
    for zero in ["0", "0s", "0.0"] {
        refused(&format!("step={zero}"), "the step must be greater than zero");
    }
    refused(
        "start=1799990000&end=1799993600&step=1ms",
        "step of 1ms is too small, minimum step for given range is 360ms",
    );
    let any = MetricsLimits { max_intervals: 0, ..limits() };
    assert!(of_range(&Parameters::parse("step=1ms"), &any, NOW).is_ok());
}

#[test]
fn exemplars_and_series_keep_to_the_servers_bounds() {
    let bounds = MetricsLimits { max_series: 50, max_exemplars: 10, ..limits() };
    let of = |query: &str| of_range(&Parameters::parse(query), &bounds, NOW).unwrap();
    for (text, exemplars) in [("", 10), ("exemplars=0", 10), ("exemplars=x", 10)] {
        assert_eq!(of(text).exemplars, exemplars, "{text}");
    }
    assert_eq!((of("exemplars=3").exemplars, of("exemplars=11").exemplars), (3, 10));
    assert_eq!(of("").max_exemplars, 10);
    assert_eq!((of("").max_series, of("maxSeries=0").max_series), (50, 50));
    assert_eq!((of("maxSeries=7").max_series, of("maxSeries=70").max_series), (7, 50));
    assert_eq!(range("maxSeries=7").unwrap().max_series, 7);
    assert!(range("maxSeries=-1").unwrap_err().0.starts_with("invalid maxSeries: "));
    let instant = of_instant(&Parameters::parse("exemplars=5&maxSeries=7"), &bounds, NOW).unwrap();
    assert_eq!((instant.exemplars, instant.max_series), (0, 50));
}
