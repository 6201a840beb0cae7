//! Spans in the forms of Zipkin and Jaeger: decoding never panics, with little memory there are the same
//! traces or none, and what was decoded survives being written as OTLP and read again. The first byte
//! says which form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use traceql_blocks::Error;
use traceql_blocks::import::{jaeger, zipkin};
use traceql_blocks::write::otlp;

/// Enough for small inputs, too little for large ones.
const LITTLE_BYTES: u64 = 16 << 10;

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let decode = match form % 5 {
        0 => zipkin::decode_v2,
        1 => zipkin::decode_v1,
        2 => zipkin::decode_protobuf,
        3 => jaeger::decode_thrift,
        _ => jaeger::decode_post_spans,
    };
    let decoded = decode(data, "fuzz", u64::MAX);
    match (decode(data, "fuzz", LITTLE_BYTES), &decoded) {
        // As text: a NaN equals nothing.
        (Ok(within), Ok(traces)) => assert_eq!(format!("{within:?}"), format!("{traces:?}")),
        (Err(Error::Memory { .. }), _) => {}
        (Err(error), Err(same)) => assert_eq!(error.to_string(), same.to_string()),
        (within, _) => panic!("{within:?}, but {decoded:?}"),
    }
    let Ok(traces) = decoded else { return };
    match otlp::decode(otlp::to_protobuf(&traces).into(), Some("fuzz.pb")) {
        Ok(read) => assert_eq!(format!("{traces:?}"), format!("{read:?}")),
        // The two parsers bound nesting at different depths.
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
    }
});
