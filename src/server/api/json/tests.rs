//! Bodies are pinned to answers captured from a Tempo over the same values.

use std::collections::{BTreeMap, BTreeSet};

use traceql_engine::search::Value;
use traceql_language::analyze::ir::Status;

use super::*;

fn stats() -> QueryStats {
    QueryStats {
        selected_blocks: 1,
        selected_block_bytes: 33_958,
        units_total: 2,
        units_done: 1,
        inspected_traces: 4,
        bytes_read: 15_043,
        ..QueryStats::default()
    }
}

fn trace() -> TraceResult {
    let span = |id: u64, start, duration| SpanResult {
        span_id: id.to_be_bytes().to_vec(),
        name: None,
        start_unix_nanos: start,
        duration_nanos: duration,
        attributes: vec![ResultAttribute {
            key: "status".into(),
            value: Value::Status(Status::Error),
        }],
    };
    TraceResult {
        trace_id: TraceId(0x0123_4567_89ab_cdef_u128.to_be_bytes()),
        root_service_name: "storefront".into(),
        root_trace_name: "GET /basket".into(),
        start_unix_nanos: 1_795_338_535_799_964_160,
        duration_nanos: 145_999_999,
        service_stats: BTreeMap::from([
            ("basket".into(), ServiceStats { span_count: 2, error_count: 1 }),
            ("shipping".into(), ServiceStats { span_count: 1, error_count: 0 }),
        ]),
        spansets: vec![SpansetResult {
            matched: 2,
            attributes: vec![ResultAttribute {
                key: "avg(duration)".into(),
                value: Value::Duration(62_666_666),
            }],
            spans: vec![span(0x36b3_216f_daee_b975, 1_795_338_535_799_964_160, 120_000_000)],
        }],
    }
}

#[test]
fn a_search_reads_as_tempo_writes_it() {
    let answer = SearchAnswer { traces: vec![trace()], next: None };
    let spanset = r#"{"spans":[{"spanID":"36b3216fdaeeb975","startTimeUnixNano":"1795338535799964160","durationNanos":"120000000","attributes":[{"key":"status","value":{"stringValue":"error"}}]}],"matched":2,"attributes":[{"key":"avg(duration)","value":{"stringValue":"62.666666ms"}}]}"#;
    assert_eq!(
        search_response(&answer, &stats()),
        [
            r#"{"traces":[{"traceID":"123456789abcdef","rootServiceName":"storefront","rootTraceName":"GET /basket","startTimeUnixNano":"1795338535799964160","durationMs":145,"spanSet":"#,
            spanset,
            r#","spanSets":["#,
            spanset,
            r#"],"serviceStats":{"basket":{"spanCount":2,"errorCount":1},"shipping":{"spanCount":1}}}],"metrics":{"inspectedTraces":4,"inspectedBytes":"15043","totalBlocks":1,"completedJobs":1,"totalJobs":2,"totalBlockBytes":"33958"}}"#,
        ]
        .concat()
    );
}

#[test]
fn nothing_found_still_has_its_list() {
    assert_eq!(
        search_response(&SearchAnswer::default(), &QueryStats::default()),
        r#"{"traces":[],"metrics":{}}"#
    );
}

#[test]
fn a_trace_without_root_says_so() {
    let trace = TraceResult {
        root_service_name: String::new(),
        root_trace_name: String::new(),
        duration_nanos: 999_999,
        service_stats: BTreeMap::new(),
        spansets: Vec::new(),
        ..trace()
    };
    assert_eq!(
        search_response(&SearchAnswer { traces: vec![trace], next: None }, &QueryStats::default()),
        r#"{"traces":[{"traceID":"123456789abcdef","rootServiceName":"<root span not yet received>","startTimeUnixNano":"1795338535799964160"}],"metrics":{}}"#
    );
}

#[test]
fn span_ids_have_sixteen_digits() {
    let text = |id: &[u8]| SpanId(id).to_string();
    assert_eq!(text(&[0, 0, 0, 0, 0, 0, 0, 0xab]), "00000000000000ab");
    assert_eq!(text(&[0xab]), "00000000000000ab");
    assert_eq!(text(&[]), "0000000000000000");
    assert_eq!(text(&[1; 9]), "010101010101010101");
}

#[test]
fn a_missing_trace_is_an_empty_one() {
    let none = trace_v2_response(None, &QueryStats::default(), None);
    assert_eq!(none, r#"{"trace":{},"metrics":{}}"#);
}

#[test]
fn a_partial_trace_says_why() {
    let stats = QueryStats { bytes_read: 65_362, ..QueryStats::default() };
    assert_eq!(
        trace_v2_response(Some(&Trace::default()), &stats, Some("because")),
        r#"{"trace":{},"metrics":{"inspectedBytes":"65362"},"status":"PARTIAL","message":"because"}"#
    );
}

#[test]
fn tag_names_come_by_scope() {
    let names = TagNames::from([
        (AttributeScope::Span, BTreeSet::from(["beta".to_owned(), "alpha".to_owned()])),
        (AttributeScope::Resource, BTreeSet::from(["alpha".to_owned()])),
    ]);
    let stats = QueryStats { bytes_read: 7, ..QueryStats::default() };
    assert_eq!(
        tag_names_v2_response(&names, false, Some(&stats)),
        r#"{"scopes":[{"name":"span","tags":["alpha","beta"]},{"name":"resource","tags":["alpha"]}],"metrics":{"inspectedBytes":"7"}}"#
    );
    let flat = names.values().flatten().map(String::as_str);
    assert_eq!(tag_names_v1_response(flat, None), r#"{"tagNames":["alpha","beta"],"metrics":{}}"#);
    let intrinsics = tag_names_v2_response(&TagNames::new(), true, None);
    assert!(
        intrinsics.starts_with(
            r#"{"scopes":[{"name":"intrinsic","tags":["duration","event:name","event:timeSinceStart","#
        ),
        "{intrinsics}"
    );
}

#[test]
fn tag_values_keep_their_type_in_the_second_version() {
    let value = |value_type, value: &str| TypedTagValue { value_type, value: value.to_owned() };
    let values =
        [value("int", "5"), value("string", ""), value("string", "5"), value("string", "GET")];
    assert_eq!(
        tag_values_v2_response(&values, None),
        r#"{"tagValues":[{"type":"int","value":"5"},{"type":"string"},{"type":"string","value":"5"},{"type":"string","value":"GET"}],"metrics":{}}"#
    );
    assert_eq!(
        tag_values_v1_response(values.iter().map(|v| v.value.as_str()), None),
        r#"{"tagValues":["","5","GET"],"metrics":{}}"#
    );
}
