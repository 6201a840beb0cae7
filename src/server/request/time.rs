//! Which time range a request means.

use std::time::Duration;

use super::{BadRequest, Parameters, Result, duration};

pub(super) const SECOND_NANOS: u64 = 1_000_000_000;

/// Start and end, unix nanoseconds, both inclusive.
pub(crate) type TimeRange = (u64, u64);

/// What a range is made from besides the parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeRules {
    /// The time of the request, unix nanoseconds.
    pub(crate) now_unix_nanos: u64,
    /// How far back a request looks that names no range.
    pub(crate) default_range: Duration,
    /// The newest part of the data that is not looked at.
    pub(crate) end_cutoff: Duration,
    /// The longest range allowed.
    pub(crate) max_range: Option<Duration>,
}

/// The range of a search: unix seconds only.
pub(crate) fn of_search(parameters: &Parameters, rules: &RangeRules) -> Result<TimeRange> {
    range(parameters, rules, seconds)
}

/// The range of all else: unix seconds, also with a fraction, nanoseconds, or RFC 3339.
pub(crate) fn of_tags(parameters: &Parameters, rules: &RangeRules) -> Result<TimeRange> {
    range(parameters, rules, instant)
}

/// The range of blocks that trace by id reads: unix seconds, no default.
pub(crate) fn of_trace(parameters: &Parameters) -> Result<Option<TimeRange>> {
    let start = parameters.get("start").map(|text| seconds("start", text)).transpose()?;
    let end = parameters.get("end").map(|text| seconds("end", text)).transpose()?;
    match (start, end) {
        (Some(start), Some(end)) if end <= start => Err(reversed(parameters)),
        (None, None) => Ok(None),
        (start, end) => Ok(Some((start.unwrap_or(0), end.unwrap_or(u64::MAX)))),
    }
}

fn range(
    parameters: &Parameters,
    rules: &RangeRules,
    read: fn(&str, &str) -> Result<u64>,
) -> Result<TimeRange> {
    let latest = rules.now_unix_nanos.saturating_sub(nanos(rules.end_cutoff));
    let range = match (parameters.get("since"), parameters.get("start"), parameters.get("end")) {
        (Some(since), ..) => {
            let since = duration::prometheus(since).ok_or_else(|| {
                BadRequest::new(format!(
                    "error parsing date range: could not parse 'since' parameter: \
                     not a valid duration string: {since:?}"
                ))
            })?;
            (latest.saturating_sub(nanos(since)), latest)
        }
        (None, Some(start), Some(end)) => {
            let (start, end) = (read("start", start)?, read("end", end)?);
            if start >= end {
                return Err(reversed(parameters));
            }
            (start, if rules.end_cutoff.is_zero() { end } else { end.min(latest) })
        }
        (None, None, None) => {
            let start = rules.now_unix_nanos.saturating_sub(nanos(rules.default_range));
            (start, latest)
        }
        (None, ..) => {
            return Err(BadRequest::new(
                "error parsing date range: only one of start and end provided: \
                 must provide both or neither",
            ));
        }
    };
    // A range wholly inside the cutoff looks at the recent past instead, as Tempo's does.
    let start = match range {
        (start, end) if start > end => end.saturating_sub(nanos(rules.default_range)),
        (start, _) => start,
    };
    let range = (start, range.1);
    match rules.max_range {
        Some(max) if range.1 - range.0 > nanos(max) => Err(BadRequest::new(format!(
            "range specified by start and end exceeds {}. received start={} end={}",
            traceql_language::duration_text(i64::try_from(nanos(max)).unwrap_or(i64::MAX)),
            range.0 / SECOND_NANOS,
            range.1 / SECOND_NANOS,
        ))),
        _ => Ok(range),
    }
}

fn reversed(parameters: &Parameters) -> BadRequest {
    let text = |name| parameters.get(name).unwrap_or_default();
    let (start, end) = (text("start"), text("end"));
    BadRequest::new(format!(
        "http parameter start must be before end. received start={start} end={end}"
    ))
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole unix seconds, 32 bits.
fn seconds(name: &str, text: &str) -> Result<u64> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(u64::from(seconds) * SECOND_NANOS),
        Err(_) => {
            Err(BadRequest::new(format!("invalid {name}: {text:?} is not a time in unix seconds")))
        }
    }
}

/// Unix seconds; more than ten digits are nanoseconds; seconds with a fraction, which is rounded to
/// milliseconds; RFC 3339 (`metrics.md` 1.2).
pub(super) fn instant(name: &str, text: &str) -> Result<u64> {
    /// More digits than any second up to the year 2286 has.
    const MAX_SECOND_DIGITS: usize = 10;
    let bad = || {
        BadRequest::new(format!(
            "could not parse '{name}' parameter: {text:?} is neither a time since 1970 in unix seconds or \
             nanoseconds nor one like 2026-01-31T12:00:00Z"
        ))
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: u64 = text.parse().map_err(|_| bad())?;
        let is_seconds = text.len() <= MAX_SECOND_DIGITS;
        return Ok(if is_seconds { number * SECOND_NANOS } else { number });
    }
    // Only with a point: `1.7e9` is a number of seconds, `1e9` is not.
    if let (true, Ok(seconds)) = (text.contains('.'), text.parse::<f64>()) {
        let since_epoch = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
        let millis = (since_epoch.as_nanos() + 500_000) / 1_000_000;
        return u64::try_from(millis * 1_000_000).map_err(|_| bad());
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
    u64::try_from(time.as_nanosecond()).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000 * SECOND_NANOS;
    const RULES: RangeRules = RangeRules {
        now_unix_nanos: NOW,
        default_range: Duration::from_secs(900),
        end_cutoff: Duration::ZERO,
        max_range: None,
    };

    fn search(query: &str) -> Result<TimeRange> {
        of_search(&Parameters::parse(query), &RULES)
    }

    fn tags(query: &str) -> Result<TimeRange> {
        of_tags(&Parameters::parse(query), &RULES)
    }

    #[test]
    fn no_range_is_the_last_quarter_of_an_hour() {
        assert_eq!(search(""), Ok((NOW - 900 * SECOND_NANOS, NOW)));
        assert_eq!(search("since=1h&start=1&end=2"), Ok((NOW - 3600 * SECOND_NANOS, NOW)));
        let rules = RangeRules { end_cutoff: Duration::from_secs(30), ..RULES };
        let cut = NOW - 30 * SECOND_NANOS;
        let range = |query| of_search(&Parameters::parse(query), &rules);
        assert_eq!(range(""), Ok((NOW - 900 * SECOND_NANOS, cut)));
        assert_eq!(range("start=100&end=1800000000"), Ok((100 * SECOND_NANOS, cut)));
    }

    #[test]
    fn half_a_range_and_a_reversed_one_are_refused() {
        let half = "error parsing date range: only one of start and end provided: must provide both or neither";
        assert_eq!(search("start=5").unwrap_err().0, half);
        assert_eq!(tags("end=5").unwrap_err().0, half);
        for (query, text) in
            [("start=100&end=50", "start=100 end=50"), ("start=100&end=100", "start=100 end=100")]
        {
            let text = format!("http parameter start must be before end. received {text}");
            assert_eq!(search(query).unwrap_err().0, text);
        }
        assert_eq!(
            search("since=xx").unwrap_err().0,
            "error parsing date range: could not parse 'since' parameter: not a valid duration string: \"xx\""
        );
        let rules = RangeRules { max_range: Some(Duration::from_secs(168 * 3600)), ..RULES };
        assert_eq!(
            of_search(&Parameters::parse("start=100&end=1763800000"), &rules).unwrap_err().0,
            "range specified by start and end exceeds 168h0m0s. received start=100 end=1763800000"
        );
    }

    #[test]
    fn searches_take_seconds_and_tags_take_more() {
        let expected = (1_700_000_000 * SECOND_NANOS, 1_700_000_001 * SECOND_NANOS + 500_000_000);
        assert_eq!(tags("start=1700000000&end=1700000001.5"), Ok(expected));
        assert_eq!(tags("start=1700000000000000000&end=1700000001500000000"), Ok(expected));
        assert_eq!(tags("start=2023-11-14T22:13:20Z&end=2023-11-14T22:13:21.5Z"), Ok(expected));
        for bad in ["2023-11-14T22:13:20Z", "1700000000.5", "-1", "4294967296", "x"] {
            let query = format!("start={bad}&end=4294967295");
            assert!(search(&query).is_err(), "{bad}");
        }
        let seconds = |text: &str| instant("start", text).map(|nanos| nanos / 1_000_000);
        assert_eq!(seconds("1700000000.1234567"), Ok(1_700_000_000_123));
        assert_eq!(seconds("1.7e9"), Ok(1_700_000_000_000));
        // Milliseconds have more than ten digits too.
        assert_eq!(instant("start", "1700000000000"), Ok(1_700_000_000_000));
        for bad in ["x", "-1", "NaN", "1e9", "1.7e", "1.0e300", "-1.5", "1960-01-01T00:00:00Z"] {
            assert!(tags(&format!("start={bad}&end=4294967295")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trace_may_name_either_end() {
        let range = |query: &str| of_trace(&Parameters::parse(query));
        assert_eq!(range(""), Ok(None));
        assert_eq!(range("start=5"), Ok(Some((5 * SECOND_NANOS, u64::MAX))));
        assert!(range("start=5&end=5").is_err());
    }
}
