//! OTLP files of any form: decoding never panics, and what was decoded survives being written and
//! read again, in protobuf and in both kinds of JSON.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;

fuzz_target!(|data: &[u8]| {
    for hint in [None, Some("fuzz.json"), Some("fuzz.pb")] {
        let Ok(traces) = otlp::decode(Bytes::copy_from_slice(data), hint) else { continue };
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
