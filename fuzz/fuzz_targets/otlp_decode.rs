//! OTLP files of any form: decoding never panics, what was decoded survives being written and read
//! again, in protobuf and in both kinds of JSON, and with little memory there is the same or none.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use traceql_blocks::Error;
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;

/// Enough for small inputs, too little for large ones.
const LITTLE_BYTES: u64 = 16 << 10;

fuzz_target!(|data: &[u8]| {
    for hint in [None, Some("fuzz.json"), Some("fuzz.pb")] {
        let decoded = otlp::decode(Bytes::copy_from_slice(data), hint);
        match (otlp::decode_within(Bytes::copy_from_slice(data), hint, LITTLE_BYTES), &decoded) {
            (Ok(within), Ok(traces)) => assert_eq!(format!("{within:?}"), format!("{traces:?}")),
            (Err(Error::Memory { .. } | Error::OverLimit { .. }), _) => {}
            (Err(error), Err(same)) => assert_eq!(error.to_string(), same.to_string()),
            (within, _) => panic!("{within:?}, but {decoded:?}"),
        }
        let Ok(traces) = decoded else { continue };
        check(&traces, otlp::to_protobuf(&traces));
        check(&traces, otlp::to_otlp_json(&traces).into_bytes());
        if let [trace] = traces.as_slice() {
            check(&traces, otlp::to_tempo_json_v1(trace).into_bytes());
            check(&traces, otlp::to_tempo_json_v2(trace).into_bytes());
        }
    }
});

fn check(traces: &[Trace], written: Vec<u8>) {
    match otlp::decode(written.into(), None) {
        // As text: a NaN, though it survives, equals nothing.
        Ok(read) => assert_eq!(format!("{traces:?}"), format!("{read:?}")),
        // The two parsers bound nesting at different depths.
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
    }
}
