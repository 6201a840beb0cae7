//! In which span of another program a request is made: the header `traceparent` of W3C's Trace Context,
//! with `tracestate`.

use axum::http::header::HeaderMap;
use traceql_blocks::model::TraceId;

/// A span of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace_id: TraceId,
    pub(super) span_id: Vec<u8>,
    pub(super) is_sampled: bool,
    pub(super) trace_state: String,
}

/// W3C asks for 512 characters at least to be passed on; longer ones are not worth keeping.
const MAX_TRACE_STATE: usize = 512;

impl Context {
    /// The context of a request; one that cannot be read is none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let mut context = Self::parse(value.to_str().ok()?.trim())?;
        let states = headers.get_all("tracestate").iter().filter_map(|state| state.to_str().ok());
        let states = states.collect::<Vec<_>>().join(",");
        if states.len() <= MAX_TRACE_STATE {
            context.trace_state = states;
        }
        Some(context)
    }

    /// `version-traceid-parentid-flags`, in lower-case hex. Of later versions the beginning is read.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = byte(parts.next()?)?;
        let trace_id: [u8; 16] = bytes(parts.next()?)?;
        let span_id: [u8; 8] = bytes(parts.next()?)?;
        let flags = byte(parts.next()?)?;
        let has_more = parts.next().is_some();
        let is_valid = version != 0xff
            && !(version == 0 && has_more)
            && trace_id != [0; 16]
            && span_id != [0; 8];
        is_valid.then(|| Self {
            trace_id: TraceId(trace_id),
            span_id: span_id.to_vec(),
            is_sampled: flags & 1 == 1,
            trace_state: String::new(),
        })
    }
}

fn byte(digits: &str) -> Option<u8> {
    bytes::<1>(digits).map(|[byte]| byte)
}

fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read() {
        let context = Context::parse(EXAMPLE).unwrap();
        assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(context.is_sampled);
        let unsampled = EXAMPLE.replace("-01", "-02");
        assert!(!Context::parse(&unsampled).unwrap().is_sampled);
        let later = EXAMPLE.replacen("00", "cc", 1) + "-what-comes";
        assert_eq!(Context::parse(&later).unwrap().trace_id, context.trace_id);
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let wrong = [
            String::new(),
            "00".to_owned(),
            zeros.to_owned(),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replacen("00", "ff", 1),
            format!("{EXAMPLE}-more"),
            EXAMPLE.replace("-01", "-1"),
            EXAMPLE.replace("4736", "473g"),
            EXAMPLE.replace("00f067aa0ba902b7", "0000000000000000"),
        ];
        for text in wrong {
            assert_eq!(Context::parse(&text), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.append("traceparent", EXAMPLE.parse().unwrap());
        headers.append("tracestate", "a=1".parse().unwrap());
        headers.append("tracestate", "b=2".parse().unwrap());
        assert_eq!(Context::of(&headers).unwrap().trace_state, "a=1,b=2");
        headers.append("traceparent", EXAMPLE.parse().unwrap());
        assert_eq!(Context::of(&headers), None, "two of them");
    }
}
