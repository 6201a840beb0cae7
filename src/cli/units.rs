//! Durations, sizes and times as people write and read them. Knows no clock: `now` is given.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Units of a duration, longest name first where one is the beginning of another.
const DURATION_UNITS: [(&str, f64); 9] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
];

/// Reads a duration: `90s`, `1h30m`, `1.5h`, `7d`. Nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let refuse =
        || format!("{text:?} is no duration; write a number and a unit: 30s, 15m, 1h30m, 7d");
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        let (_, nanos) =
            DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
        total += number * nanos;
        rest = &rest[end..];
    }
    // Beyond 292 years nothing is lost by refusing.
    if total > 9.2e18 {
        return Err(format!("{text:?} is longer than 292 years"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is neither negative nor above i64::MAX"
    )]
    Ok(total.round() as u64)
}

/// Reads a size: `64MiB`, `1GB`, `512k`, plain bytes.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let refuse = || format!("{text:?} is no size; write bytes or a number and a unit: 256MiB, 1GB");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..split].parse().map_err(|_| refuse())?;
    let factor = match text[split..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "ki" | "kib" => 1024.0,
        "m" | "mb" => 1e6,
        "mi" | "mib" => 1_048_576.0,
        "g" | "gb" => 1e9,
        "gi" | "gib" => 1_073_741_824.0,
        _ => return Err(refuse()),
    };
    let bytes = number * factor;
    if !(1.0..9e15).contains(&bytes) {
        return Err(refuse());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 1 and 2^53"
    )]
    usize::try_from(bytes as u64).map_err(|_| refuse())
}

/// Reads a point in time: RFC 3339, a date, unix seconds (with a fraction), milli-, micro- or
/// nanoseconds, `now`, `now-1h`. Unix nanoseconds.
pub(crate) fn parse_time(text: &str, now_unix_nanos: u64) -> Result<u64, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("now") {
        return match rest.trim_start().split_at_checked(1) {
            None => Ok(now_unix_nanos),
            Some(("-", by)) => Ok(now_unix_nanos.saturating_sub(parse_duration(by.trim())?)),
            Some(("+", by)) => Ok(now_unix_nanos.saturating_add(parse_duration(by.trim())?)),
            _ => Err(not_a_time(text)),
        };
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return parse_unix(text);
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let (seconds, fraction) = text.split_once('.').ok_or_else(|| not_a_time(text))?;
        let nanos = format!("{fraction:0<9}").get(..9).and_then(|f| f.parse::<u64>().ok());
        let whole = seconds.parse::<u64>().ok().and_then(|s| s.checked_mul(NANOS_PER_SECOND));
        let sum = whole.zip(nanos).and_then(|(whole, nanos)| whole.checked_add(nanos));
        return sum.ok_or_else(|| not_a_time(text));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return from_timestamp(time, text);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        if text.len() == "2026-11-22".len() {
            let midnight = date.to_zoned(TimeZone::UTC).map_err(|_| not_a_time(text))?;
            return from_timestamp(midnight.timestamp(), text);
        }
        return Err(format!(
            "{text:?} has no time zone; add Z for UTC or an offset such as +02:00"
        ));
    }
    Err(not_a_time(text))
}

fn not_a_time(text: &str) -> String {
    format!(
        "{text:?} is no time; write 2026-11-22T12:00:00Z, unix seconds or nanoseconds, now or now-1h"
    )
}

/// Tells the unit by the number of digits: seconds have ten until the year 2286.
fn parse_unix(digits: &str) -> Result<u64, String> {
    let factor = match digits.len() {
        0..=11 => NANOS_PER_SECOND,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| not_a_time(digits))
}

fn from_timestamp(time: Timestamp, text: &str) -> Result<u64, String> {
    u64::try_from(time.as_nanosecond()).map_err(|_| format!("{text:?} is before 1970 or too late"))
}

/// A time as tables show it: UTC, milliseconds.
pub(crate) fn format_time(unix_nanos: u64) -> String {
    timestamp(unix_nanos).map_or_else(
        || unix_nanos.to_string(),
        |time| time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    )
}

/// A time as machines read it: RFC 3339, nanoseconds.
pub(crate) fn format_time_exact(unix_nanos: u64) -> String {
    timestamp(unix_nanos).map_or_else(|| unix_nanos.to_string(), |time| format!("{time:.9}"))
}

/// A time in UTC by a format of its own; `None` if it lies too far in the future.
pub(crate) fn format_utc(unix_nanos: u64, format: &str) -> Option<String> {
    let time = timestamp(unix_nanos)?.to_zoned(TimeZone::UTC);
    Some(time.strftime(format).to_string())
}

fn timestamp(unix_nanos: u64) -> Option<Timestamp> {
    let duration = SignedDuration::from_nanos(i64::try_from(unix_nanos).ok()?);
    Timestamp::from_duration(duration).ok()
}

/// A duration as people read it: three digits, the unit that suits, `1m 5s` from a minute on.
pub(crate) fn format_duration(nanos: u64) -> String {
    const MICRO: u64 = 1_000;
    const MILLI: u64 = 1_000_000;
    const MINUTE: u64 = 60 * NANOS_PER_SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match nanos {
        0..MICRO => format!("{nanos}ns"),
        MICRO..MILLI => three_digits(nanos, MICRO, "µs"),
        MILLI..NANOS_PER_SECOND => three_digits(nanos, MILLI, "ms"),
        NANOS_PER_SECOND..MINUTE => three_digits(nanos, NANOS_PER_SECOND, "s"),
        MINUTE..HOUR => format!("{}m {}s", nanos / MINUTE, nanos % MINUTE / NANOS_PER_SECOND),
        HOUR..DAY => format!("{}h {}m", nanos / HOUR, nanos % HOUR / MINUTE),
        _ if nanos < 1_000 * DAY => format!("{}d {}h", nanos / DAY, nanos % DAY / HOUR),
        _ => format!("{}d", nanos / DAY),
    }
}

/// `1.23`, `12.3`, `123`, cut rather than rounded so that 999.9 stays below its next unit; zeros at
/// the end of the fraction are left out.
fn three_digits(value: u64, unit: u64, name: &str) -> String {
    let whole = value / unit;
    let thousandths = value % unit * 1_000 / unit;
    let fraction = match whole {
        0..10 => format!("{:02}", thousandths / 10),
        10..100 => format!("{}", thousandths / 100),
        _ => String::new(),
    };
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}{name}"),
        fraction => format!("{whole}.{fraction}{name}"),
    }
}

/// A size as people read it, decimal units.
pub(crate) fn format_size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [(" TB", 1_000_000_000_000), (" GB", 1_000_000_000), (" MB", 1_000_000), (" kB", 1_000)];
    let unit = UNITS.into_iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(|| format!("{bytes} B"), |(name, unit)| three_digits(bytes, unit, name))
}

/// A count with separators: `6,764`.
pub(crate) fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 block`, `2 blocks`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", format_count(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, nanos) in [
            ("1s", 1_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("7d", 604_800_000_000_000),
            ("1w", 604_800_000_000_000),
            ("250ms", 250_000_000),
            ("3µs", 3_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for text in ["", "1", "h", "1x", "-1h", "1h30", "1..5h", "300y", "99999w999999w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("10", 10),
            ("1kB", 1_000),
            ("1KiB", 1_024),
            ("1.5MiB", 1_572_864),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "1XB", "-1", "0", "0.1"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_every_form() {
        let now = 1_800_000_000_000_000_000;
        for (text, nanos) in [
            ("now", now),
            ("now-1h", now - 3_600_000_000_000),
            ("now - 90s", now - 90_000_000_000),
            ("now+1m", now + 60_000_000_000),
            ("1795338536", 1_795_338_536_000_000_000),
            ("1795338536.25", 1_795_338_536_250_000_000),
            ("1795338536105", 1_795_338_536_105_000_000),
            ("1795338536105665", 1_795_338_536_105_665_000),
            ("1795338536105665792", 1_795_338_536_105_665_792),
            ("2026-11-22T12:00:00Z", 1_795_348_800_000_000_000),
            ("2026-11-22 14:00:00+02:00", 1_795_348_800_000_000_000),
            ("2026-11-22", 1_795_305_600_000_000_000),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse_time(text, now), Ok(nanos), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "now-",
            "now*2",
            "1.2.3",
            "99999999999999999999",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(parse_time(text, now).is_err(), "{text}");
        }
        let error = parse_time("2026-11-22T12:00:00", now).unwrap_err();
        assert!(error.contains("add Z"), "{error}");
    }

    #[test]
    fn durations_are_written() {
        for (nanos, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (62_666_666, "62.6ms"),
            (145_999_999, "145ms"),
            (1_000_000_000, "1s"),
            (1_230_000_000, "1.23s"),
            (59_999_999_999, "59.9s"),
            (65_000_000_000, "1m 5s"),
            (3_660_000_000_000, "1h 1m"),
            (90_000_000_000_000, "1d 1h"),
            (u64::MAX, "213503d"),
        ] {
            assert_eq!(format_duration(nanos), text);
        }
    }

    #[test]
    fn times_sizes_and_counts_are_written() {
        assert_eq!(format_time(1_795_338_536_105_665_792), "2026-11-22 09:08:56.105");
        assert_eq!(format_time_exact(1_795_338_536_105_665_792), "2026-11-22T09:08:56.105665792Z");
        assert_eq!(format_time(u64::MAX), u64::MAX.to_string());
        assert_eq!(format_size(999), "999 B");
        assert_eq!(format_size(33_958), "33.9 kB");
        assert_eq!(format_size(1_200_000), "1.2 MB");
        assert_eq!(format_count(0), "0");
        assert_eq!(format_count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "block"), "1 block");
        assert_eq!(plural(2, "trace"), "2 traces");
    }
}
