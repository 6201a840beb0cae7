//! Durations as parameters spell them: Prometheus' notation (`1h`, `2d`), and Go's (`1.5s`).

use std::time::Duration;

/// Reads whole numbers with units, each unit at most once, largest first: `1d12h`, `5m`, `10ms`.
pub(crate) fn prometheus(text: &str) -> Option<Duration> {
    /// The units, largest first, in milliseconds.
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut millis: u64 = 0;
    let mut allowed = &UNITS[..];
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) =
            tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let place = allowed.iter().position(|(name, _)| *name == unit)?;
        let amount = digits.parse::<u64>().ok()?.checked_mul(allowed[place].1)?;
        millis = millis.checked_add(amount)?;
        allowed = &allowed[place + 1..];
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// Reads Go's notation: decimal numbers with units in any order. The error is Go's own text.
pub(crate) fn go(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let invalid = || format!("time: invalid duration {text:?}");
    let mut nanos = 0.0;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (digits, tail) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let amount: f64 = digits.parse().map_err(|_| invalid())?;
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        nanos += amount * factor;
        rest = tail;
    }
    Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_durations() {
        let seconds = |text: &str| prometheus(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("1h"), Some(3600.0));
        assert_eq!(seconds("1d12h"), Some(129_600.0));
        assert_eq!(seconds("2s500ms"), Some(2.5));
        for bad in
            ["", "xx", "1", "1.5h", "1s1h", "1h1h", "h", "99999999999999999999s", "9999999999999y"]
        {
            assert_eq!(prometheus(bad), None, "{bad}");
        }
    }

    #[test]
    fn go_durations() {
        assert_eq!(go("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(go("1h1m"), Ok(Duration::from_secs(3660)));
        assert_eq!(go("5x").unwrap_err(), "time: unknown unit \"x\" in duration \"5x\"");
        assert_eq!(go("5").unwrap_err(), "time: missing unit in duration \"5\"");
        for bad in ["", "-1s", "s", "1..2s", "1e999s"] {
            assert!(go(bad).is_err(), "{bad}");
        }
    }
}
