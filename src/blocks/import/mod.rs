//! Traces in the forms of other tracing systems, read: spans of Zipkin and of Jaeger become those of the
//! OpenTelemetry protocol. Knows nothing of connections and nothing of blocks.
//!
//! Which field becomes which is the specification's ("OpenTelemetry to Zipkin transformation", the
//! same for Jaeger, and "transformation to non-OTLP formats"), read backwards: what an exporter of
//! OpenTelemetry wrote comes back as it was. Where it says nothing, attributes are named as an
//! OpenTelemetry Collector, and so a Tempo, names them, and no tag is dropped.
//!
//! Whatever is sent is bounded: lengths are held against the bytes that are there, and what decoding
//! takes is weighed while it goes on.

mod gather;
pub mod jaeger;
mod tags;
mod weigh;
pub mod zipkin;

use crate::error::{Error, Result};

/// Bytes of a span id.
const SPAN_ID_BYTES: usize = 8;

/// Nanoseconds of microseconds; what does not fit is the end of time.
fn micros(micros: u64) -> u64 {
    micros.saturating_mul(1_000)
}

/// The bytes of an id as it is written in hex, which may lack leading zeros.
fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.is_empty() || digits.len() > 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (place, digit) in digits.iter().rev().enumerate() {
        let value = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        bytes[N - 1 - place / 2] |= value << (4 * (place % 2));
    }
    Some(bytes)
}

/// An id that has to be one.
fn needed_id<const N: usize>(text: &str, what: &str, name: &str) -> Result<[u8; N]> {
    id(text).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        let expected = format!("{what} of 1 to {} hex digits", 2 * N);
        Error::corrupt(name, None, expected, format!("{shown:?}"))
    })
}

/// The id of a parent, which is no bytes where there is none.
fn parent(bytes: [u8; SPAN_ID_BYTES]) -> Vec<u8> {
    if bytes == [0; SPAN_ID_BYTES] { Vec::new() } else { bytes.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_lack_leading_zeros() {
        assert_eq!(id::<2>("1"), Some([0, 1]));
        assert_eq!(id::<2>("aBc"), Some([0x0a, 0xbc]));
        assert_eq!(id::<2>("ffff"), Some([0xff, 0xff]));
        for bad in ["", "10000", "g", "-1", "0x1", "ä"] {
            assert_eq!(id::<2>(bad), None, "{bad}");
        }
        let told = needed_id::<8>("x", "a span id", "it").unwrap_err().to_string();
        assert!(told.contains("a span id of 1 to 16 hex digits"), "{told}");
    }
}
