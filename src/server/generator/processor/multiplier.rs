//! For how many spans a sampled one stands.

use traceql_blocks::model::{AttributeValue, Span};

use super::Observed;
use crate::generator::labels::find;

/// Most hexadecimal digits of a threshold.
const THRESHOLD_DIGITS: usize = 14;

/// 1 over the ratio under the key, on the span or else its resource; 1 without a ratio above 0.
pub(super) fn by_attribute(observed: Observed<'_>, key: &str) -> f64 {
    let value = find(&observed.span.attributes, key).or_else(|| find(observed.resource, key));
    // As Tempo: a ratio is a double, an integer is none.
    let Some(AttributeValue::Double(ratio)) = value else { return 1.0 };
    let multiplier = ratio.recip();
    if *ratio > 0.0 && multiplier.is_finite() { multiplier } else { 1.0 }
}

/// 1 over the probability that the trace state gives: a threshold `T` of 56 bits under `ot=th:`
/// drops `T` in 2^56. OpenTelemetry's "TraceState: probability sampling" has the rule.
pub(super) fn by_trace_state(span: &Span) -> Option<f64> {
    let members = span.trace_state.split(',').map(str::trim);
    let vendor = members.filter_map(|member| member.strip_prefix("ot=")).next()?;
    let digits = vendor.split(';').find_map(|part| part.trim().strip_prefix("th:"))?;
    if digits.is_empty()
        || digits.len() > THRESHOLD_DIGITS
        || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return None;
    }
    let threshold =
        u64::from_str_radix(digits, 16).ok()? << (4 * (THRESHOLD_DIGITS - digits.len()));
    let kept = (1 << 56) - threshold;
    // Three bits of a probability.
    Some(2_f64.powi(56) / kept as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_probabilities() {
        let of =
            |state: &str| by_trace_state(&Span { trace_state: state.into(), ..Span::default() });
        for (state, multiplier) in [
            ("ot=th:0", Some(1.0)),
            ("ot=th:8", Some(2.0)),
            ("a=b, ot=rv:1234;th:c", Some(4.0)),
            ("ot=th:ffffffffffffff", Some(2_f64.powi(56))),
            ("ot=rv:12", None),
            ("ot=th:", None),
            ("ot=th:xyz", None),
            ("ot=th:+8", None),
            ("ot=th:000000000000000", None),
            ("th:8", None),
        ] {
            assert_eq!(of(state), multiplier, "{state}");
        }
    }
}
