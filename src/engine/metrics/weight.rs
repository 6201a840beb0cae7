//! How many spans a sampled span stands for, by its W3C `tracestate` (`metrics.md` 4.2; OpenTelemetry
//! consistent probability sampling).

use traceql_blocks::read::values::{ColumnData, ValueRef};

/// Values of a rejection threshold.
const THRESHOLDS: u64 = 1 << 56;

/// The weights of some spans, by the column of their trace states.
pub(super) fn weights_of(states: &ColumnData, spans: &[u32]) -> Vec<f64> {
    let of_span = |span: &u32| match states.get(*span as usize) {
        ValueRef::Bytes(state) => weight(state),
        _ => 1.0,
    };
    spans.iter().map(of_span).collect()
}

/// The weight of a span; 1 for whatever does not say.
fn weight(trace_state: &[u8]) -> f64 {
    std::str::from_utf8(trace_state).ok().and_then(of_text).unwrap_or(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "weights are doubles")]
fn of_text(trace_state: &str) -> Option<f64> {
    let member = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="))?;
    let field = |name: &str| {
        member.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix(':'))
    };
    let hex = |digits: &str| {
        let valid = !digits.is_empty()
            && digits.len() <= 14
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if valid { u64::from_str_radix(digits, 16).ok() } else { None }
    };
    let threshold = field("th")?;
    let rejected = hex(threshold)? << (4 * (14 - threshold.len()));
    let kept = THRESHOLDS - rejected;
    let weight = THRESHOLDS as f64 / kept as f64;
    let fraction = weight.fract();
    match field("rv").filter(|digits| digits.len() == 14).and_then(hex) {
        // The random value decides on which side of a broken weight this span stands.
        Some(random) if fraction > 0.0 => {
            let random = (random >> 3) as f64 / (1_u64 << 53) as f64;
            Some(weight.floor() + if random < fraction { 1.0 } else { 0.0 })
        }
        _ => Some(weight),
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn thresholds_are_weights() {
        for (state, expected) in [
            ("", 1.0),
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("vendor=x, ot=rv:11111111111111;th:c", 4.0),
            ("ot=th:4", 4.0 / 3.0),
            ("ot=th:4;rv:00000000000000", 2.0),
            ("ot=th:4;rv:ffffffffffffff", 1.0),
            ("ot=th:4;rv:ff", 4.0 / 3.0),
            ("ot=th:", 1.0),
            ("ot=th:xyz", 1.0),
            ("ot=th:123456789012345", 1.0),
            ("ot=th:+8", 1.0),
            ("other=th:8", 1.0),
        ] {
            let found = weight(state.as_bytes());
            assert!((found - expected).abs() < 1e-12, "{state}: {found}");
        }
        assert!((weight(b"ot=th:fd70a4") - 100.0).abs() < 0.01);
        assert!(weight(b"ot=th:ffffffffffffff").is_finite());
        assert_eq!(weight(b"\xff\xfe"), 1.0);
    }
}
