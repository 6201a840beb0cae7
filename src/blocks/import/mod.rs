//! Traces in the forms of other tracing systems, read: spans of Zipkin and of Jaeger become those of the
//! OpenTelemetry protocol. Knows nothing of connections and nothing of blocks.
//!
//! Which field becomes which is the specification's ("OpenTelemetry to Zipkin transformation", the
//! same for Jaeger, and "transformation to non-OTLP formats"), read backwards: what an exporter of
//! OpenTelemetry wrote comes back as it was. Where it says nothing, attributes are named as an
//! OpenTelemetry Collector, and so a Tempo, names them, and no tag is dropped.
//!
//! Fed the same bytes, a Tempo 3.0.3 makes the same spans but for these, where ours follow the
//! specification or keep more: instrumentation scopes, dropped counts, trace states and attributes of
//! events that it leaves in tags or names; the text of a Zipkin error as status message; `OK` beside an
//! `error`; tags of resources without a local endpoint; `jaeger.version` under its own name.
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

    /// Bytes that clients have sent.
    const SENT: [&[u8]; 6] = [
        include_bytes!("../../../testdata/import/zipkin-opentelemetry.json"),
        include_bytes!("../../../testdata/import/zipkin-opentelemetry.pb"),
        include_bytes!("../../../testdata/import/zipkin-v1-node.json"),
        include_bytes!("../../../testdata/import/jaeger-batch.thrift"),
        include_bytes!("../../../testdata/import/jaeger-opentelemetry-node.thrift"),
        include_bytes!("../../../testdata/import/jaeger-post-spans.pb"),
    ];

    /// What `fuzz/fuzz_targets/import_decode.rs` asks of any bytes, of a few thousand.
    #[test]
    fn mutated_bytes_are_traces_or_an_error() {
        let decoders = [
            zipkin::decode_v2,
            zipkin::decode_v1,
            zipkin::decode_protobuf,
            jaeger::decode_thrift,
            jaeger::decode_post_spans,
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % (below as u64)).unwrap()
        };
        let (mut decoded, mut refused) = (0, 0);
        for sent in SENT {
            for _ in 0..400 {
                let mut bytes = sent.to_vec();
                for _ in 0..=random(3) {
                    let Some(at) = (!bytes.is_empty()).then(|| random(bytes.len())) else { break };
                    match random(5) {
                        0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                        1 => bytes[at] ^= 1 << random(8),
                        2 => bytes.truncate(at.max(1)),
                        3 => drop(bytes.splice(at..at, [0xff; 4])),
                        _ => drop(bytes.drain(at..bytes.len().min(at + random(9)))),
                    }
                }
                for decode in decoders {
                    match (decode(&bytes, "it", u64::MAX), decode(&bytes, "it", 8 << 10)) {
                        (Ok(traces), within) => {
                            decoded += usize::from(!traces.is_empty());
                            // As text: a NaN equals nothing.
                            let same = |within| format!("{within:?}") == format!("{traces:?}");
                            assert!(within.map_or(true, same));
                        }
                        (Err(_), within) => {
                            refused += 1;
                            assert!(within.is_err());
                        }
                    }
                }
            }
        }
        assert!(decoded > 100 && refused > 1000, "{decoded} decoded, {refused} refused");
    }
}
