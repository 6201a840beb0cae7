//! How many spans a sampled span stands for (`metrics.md` 4.2): `extrapolate=true` counts it so often.
//!
//! Choices made where the specification is silent:
//! - Of several `ot` members, and of several `th` or `rv` fields, the first counts.
//! - Hex digits are read in either case. A threshold has 1 to 14 of them; a random value that has not
//!   exactly 14 is as good as none.

use traceql_language::analyze::ir::{Hints, Static};

/// Digits of a whole threshold.
const DIGITS: usize = 14;

/// 4.2: off unless the hint says `true`; of equal names the first that is a bool counts.
pub(super) fn is_asked_for(hints: &Hints) -> bool {
    hints
        .all
        .iter()
        .filter(|(name, _)| name == "extrapolate")
        .find_map(|(_, value)| if let Static::Bool(truth) = value { Some(*truth) } else { None })
        .unwrap_or(false)
}

/// 4.2: the multiplier that a span's trace state carries; 1 without a readable one.
pub(super) fn of_trace_state(trace_state: &str) -> f64 {
    let member = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="));
    let Some(member) = member else { return 1.0 };
    let field = |name: &str| {
        member.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix(':'))
    };
    let Some(threshold) = field("th").and_then(threshold) else { return 1.0 };
    // Whole numbers first: a threshold close to the end is no double.
    let space = 1_u64 << 56;
    let multiplier = as_double(space) / as_double(space - threshold);
    let fraction = multiplier.fract();
    match field("rv").filter(|random| random.len() == DIGITS).and_then(hex) {
        Some(random) if fraction != 0.0 => {
            let is_above = as_double(random >> 3) / 2.0_f64.powi(53) < fraction;
            multiplier.floor() + if is_above { 1.0 } else { 0.0 }
        }
        _ => multiplier,
    }
}

/// Hex digits, filled up on the right.
fn threshold(digits: &str) -> Option<u64> {
    if digits.len() > DIGITS {
        return None;
    }
    hex(digits).and_then(|_| hex(&format!("{digits:0<DIGITS$}")))
}

/// At least one hex digit and nothing else.
fn hex(digits: &str) -> Option<u64> {
    // A leading sign would pass for a number.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// A number of at most 56 bits.
#[expect(clippy::cast_precision_loss, reason = "the specification computes with doubles")]
fn as_double(number: u64) -> f64 {
    number as f64
}
