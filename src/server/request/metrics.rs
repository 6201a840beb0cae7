//! What a metrics query asks for: window, step, exemplars, series (`metrics.md` 1.1 to 1.4). Knows
//! which window is answered; what an interval is, the engine knows.

use traceql_engine::metrics::intervals::default_step;
use traceql_engine::metrics::{AxisError, MetricsKind, MetricsRequest, TimeAxis};

use super::time::{SECOND_NANOS, instant, nanos};
use super::{BadRequest, Parameters, Result, duration};
use crate::options::MetricsLimits;

/// Reads the parameters of a query over a range.
pub(crate) fn of_range(
    parameters: &Parameters,
    limits: &MetricsLimits,
    now_unix_nanos: u64,
) -> Result<MetricsRequest> {
    let request = MetricsRequest {
        exemplars: exemplars(parameters, limits.max_exemplars),
        max_series: max_series(parameters, limits.max_series)?,
        ..of_limits(limits)
    };
    let step = step(parameters)?;
    if parameters.flag("instant")? {
        let range = instant_window(parameters, limits, now_unix_nanos)?;
        return Ok(MetricsRequest { range: Some(range), kind: MetricsKind::Instant, ..request });
    }
    let (start, asked_end) = window(parameters, limits, now_unix_nanos)?;
    // The default follows the range asked for, not what the cutoff leaves of it: the step of "the
    // last hour" is the same however much of it is still arriving.
    let step = step.unwrap_or_else(|| default_step(asked_end - start));
    let latest = latest(limits, now_unix_nanos);
    let end = asked_end.min(latest);
    check_window(start, end, limits)?;
    let axis = TimeAxis::range(start, end, step, limits.max_intervals).map_err(in_tempos_words)?;
    let (kind, range) = if axis.end_unix_nanos() <= latest {
        (MetricsKind::Range { step_nanos: Some(step) }, (start, end))
    } else {
        until(start, latest, step)?
    };
    Ok(MetricsRequest { range: Some(range), kind, ..request })
}

/// Reads the parameters of a query for one value.
pub(crate) fn of_instant(
    parameters: &Parameters,
    limits: &MetricsLimits,
    now_unix_nanos: u64,
) -> Result<MetricsRequest> {
    Ok(MetricsRequest {
        range: Some(instant_window(parameters, limits, now_unix_nanos)?),
        kind: MetricsKind::Instant,
        ..of_limits(limits)
    })
}

fn of_limits(limits: &MetricsLimits) -> MetricsRequest {
    MetricsRequest {
        max_exemplars: limits.max_exemplars,
        max_series: limits.max_series,
        max_intervals: limits.max_intervals,
        ..MetricsRequest::default()
    }
}

/// The window as it is asked for; it is not empty.
fn window(
    parameters: &Parameters,
    limits: &MetricsLimits,
    now_unix_nanos: u64,
) -> Result<(u64, u64)> {
    let time = |name: &str| parameters.get(name).map(|text| instant(name, text)).transpose();
    let end = time("end")?.unwrap_or(now_unix_nanos);
    let start = match (time("start")?, parameters.get("since")) {
        (Some(start), _) => start,
        (None, since) => {
            let since = match since {
                Some(text) => duration::prometheus(text).ok_or_else(|| {
                    BadRequest::new(format!(
                        "could not parse 'since' parameter: not a valid duration string: {text:?}"
                    ))
                })?,
                None => limits.default_range,
            };
            end.min(now_unix_nanos).saturating_sub(nanos(since))
        }
    };
    if start >= end {
        return Err(BadRequest::new("end must be greater than start"));
    }
    Ok((start, end))
}

/// The window of a query for one value. It is shortened by whole seconds, so that the same window
/// asked for a moment later is answered by the same data.
fn instant_window(
    parameters: &Parameters,
    limits: &MetricsLimits,
    now_unix_nanos: u64,
) -> Result<(u64, u64)> {
    let (start, asked_end) = window(parameters, limits, now_unix_nanos)?;
    let late = asked_end.saturating_sub(latest(limits, now_unix_nanos));
    let end = asked_end.saturating_sub(late.div_ceil(SECOND_NANOS).saturating_mul(SECOND_NANOS));
    check_window(start, end, limits)?;
    Ok((start, end))
}

/// What is later is still arriving.
fn latest(limits: &MetricsLimits, now_unix_nanos: u64) -> u64 {
    now_unix_nanos.saturating_sub(nanos(limits.end_cutoff))
}

/// Checks what the cutoff has left of a window.
fn check_window(start: u64, end: u64, limits: &MetricsLimits) -> Result<()> {
    if start >= end {
        return Err(inside_cutoff());
    }
    match limits.max_range {
        Some(max) if end - start > nanos(max) => Err(BadRequest::new(format!(
            "metrics query time range exceeds the maximum allowed duration of {}",
            duration_text(nanos(max))
        ))),
        _ => Ok(()),
    }
}

fn inside_cutoff() -> BadRequest {
    BadRequest::new("query window falls entirely within query_end_cutoff")
}

/// The same range without the step that is not over.
fn until(start: u64, latest: u64, step: u64) -> Result<(MetricsKind, (u64, u64))> {
    let last = latest / step * step;
    if last > start {
        return Ok((MetricsKind::Range { step_nanos: Some(step) }, (start, last)));
    }
    // The whole window lies within that step; what is left is the one before it, with which every
    // answer begins. No range gives that step alone, so it is asked for as an instant.
    match last.checked_sub(step) {
        Some(first) if first < last => Ok((MetricsKind::Instant, (first, last))),
        _ => Err(inside_cutoff()),
    }
}

/// Seconds, or a duration in Go's notation.
fn step(parameters: &Parameters) -> Result<Option<u64>> {
    let Some(text) = parameters.get("step") else { return Ok(None) };
    let bad = |reason: &str| {
        BadRequest::new(format!("could not parse 'step' parameter: {reason}: {text:?}"))
    };
    // Rust reads words such as `inf` as numbers.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || ".+-".contains(c));
    let step = match text.parse::<f64>() {
        Ok(seconds) if is_number => std::time::Duration::try_from_secs_f64(seconds)
            .map_err(|error| bad(&error.to_string()))?,
        _ => duration::go(text).map_err(|reason| bad(&reason))?,
    };
    u64::try_from(step.as_nanos()).map(Some).map_err(|_| bad("it is too long"))
}

/// How many exemplars are wanted. What is no number counts as absent, as does 0: only a hint of the
/// query turns exemplars off.
fn exemplars(parameters: &Parameters, max: u32) -> u32 {
    let asked = parameters.get("exemplars").and_then(|text| text.parse::<u32>().ok());
    asked.filter(|n| *n > 0).map_or(max, |n| n.min(max))
}

/// The lower of both bounds; 0 is none.
fn max_series(parameters: &Parameters, max: usize) -> Result<usize> {
    let asked = parameters.number::<u32>("maxSeries")?.unwrap_or(0);
    Ok(match (usize::try_from(asked).unwrap_or(usize::MAX), max) {
        (0, bound) | (bound, 0) => bound,
        (asked, max) => asked.min(max),
    })
}

fn in_tempos_words(error: AxisError) -> BadRequest {
    match error {
        AxisError::TooManyIntervals { step_nanos, smallest_step_nanos, .. } => {
            BadRequest::new(format!(
                "step of {} is too small, minimum step for given range is {}",
                duration_text(step_nanos),
                duration_text(smallest_step_nanos)
            ))
        }
        other => BadRequest::new(other.to_string()),
    }
}

fn duration_text(nanos: u64) -> String {
    traceql_language::duration_text(i64::try_from(nanos).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
