use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, TraceId,
};

const TRACE_HEX: &str = "0102030405060708090a0b0c0d0e0f10";

fn string(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: AttributeValue::String(value.into()) }
}

/// One trace with a value in every field.
fn full_trace() -> Trace {
    let values = vec![
        AttributeValue::Unset,
        AttributeValue::String("ž\0𝄞".into()),
        AttributeValue::Int(i64::MIN),
        AttributeValue::Double(f64::NEG_INFINITY),
        AttributeValue::Double(0.1),
        AttributeValue::Bool(false),
        AttributeValue::Bytes(vec![0, 1, 2, 254, 255]),
        AttributeValue::Array(vec![]),
        AttributeValue::Array(vec![AttributeValue::Unset, AttributeValue::Array(vec![])]),
        AttributeValue::KeyValues(vec![]),
        AttributeValue::KeyValues(vec![string("n", "v"), KeyValue::default()]),
    ];
    let attributes: Vec<_> =
        values.into_iter().map(|value| KeyValue { key: "k".into(), value }).collect();
    let span = Span {
        span_id: vec![1, 2, 3, 4, 5, 6, 7, 8],
        parent_span_id: vec![8, 7, 6, 5, 4, 3, 2, 1],
        trace_state: "a=b".into(),
        name: "GET /".into(),
        kind: 3,
        start_unix_nanos: 1_795_338_536_105_665_792,
        end_unix_nanos: u64::MAX,
        status_code: 2,
        status_message: "bad".into(),
        attributes: attributes.clone(),
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nanos: 7,
            name: "e".into(),
            attributes: attributes.clone(),
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![8; 8],
            trace_state: "c=d".into(),
            attributes: attributes.clone(),
            dropped_attributes_count: 4,
        }],
        dropped_links_count: u32::MAX,
    };
    Trace {
        id: TraceId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        resource_spans: vec![ResourceSpans {
            resource: Resource { attributes: attributes.clone(), dropped_attributes_count: 5 },
            scope_spans: vec![ScopeSpans {
                scope: InstrumentationScope {
                    name: "lib".into(),
                    version: "1".into(),
                    attributes,
                    dropped_attributes_count: 6,
                },
                spans: vec![span, Span { span_id: vec![1], ..Span::default() }],
            }],
        }],
    }
}

fn decode_text(text: &str) -> Result<Vec<Trace>> {
    decode(Bytes::copy_from_slice(text.as_bytes()), Some("t.json"))
}

/// A document with one span whose members are `fields` beside the trace id.
fn with_span(fields: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{TRACE_HEX}"{fields}}}]}}]}}]}}"#
    )
}

fn first_span(text: &str) -> Span {
    let traces = decode_text(text).unwrap();
    traces[0].resource_spans[0].scope_spans[0].spans[0].clone()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the protocol's library makes of traces.
fn through_messages(traces: &[Trace]) -> Vec<u8> {
    use opentelemetry_proto::tonic::trace::v1::TracesData;
    use prost::Message as _;
    let resource_spans = traces.iter().flat_map(to_messages).collect();
    TracesData { resource_spans }.encode_to_vec()
}

#[test]
fn a_trace_with_everything_is_encoded_as_its_messages_are() {
    let mut trace = full_trace();
    // Longer than the lengths of one, two and three bytes tell.
    for length in [1, 0x7f, 0x80, 0x3fff, 0x4000, 0x20_0000] {
        trace.resource_spans[0].resource.attributes.push(string("long", &"x".repeat(length)));
        assert!(to_protobuf(&[trace.clone()]) == through_messages(&[trace.clone()]), "{length}");
    }
    trace.resource_spans[0].scope_spans[0].spans[0].kind = -1;
    assert!(to_protobuf(&[trace.clone()]) == through_messages(&[trace]));
}

#[test]
fn every_form_reads_back_what_was_written() {
    let traces = vec![full_trace()];
    let protobuf = to_protobuf(&traces);
    let mut records = Vec::new();
    for _ in 0..2 {
        records.extend_from_slice(&u32::try_from(protobuf.len()).unwrap().to_be_bytes());
        records.extend_from_slice(&protobuf);
    }
    let json = to_otlp_json(&traces);
    let forms: [(&str, Vec<u8>); 6] = [
        ("a.pb", protobuf),
        ("a.json", json.clone().into()),
        ("v1.json", to_tempo_json_v1(&traces[0]).into()),
        ("v2.json", to_tempo_json_v2(&traces[0]).into()),
        ("a.jsonl", format!("{json}\n\n{json}\n").into()),
        ("records.pb", records),
    ];
    for (name, bytes) in forms {
        let copies = if name == "a.jsonl" || name == "records.pb" { 2 } else { 1 };
        let once = &traces[0].resource_spans;
        let expect =
            Trace { id: traces[0].id, resource_spans: [&once[..]].repeat(copies).concat() };
        let check = |bytes: Vec<u8>, hint: Option<&str>| {
            assert_eq!(
                decode(bytes.into(), hint).unwrap(),
                std::slice::from_ref(&expect),
                "{name} {hint:?}"
            );
        };
        check(bytes.clone(), Some(name));
        check(bytes.clone(), None);
        check(gzip(&bytes), Some(&format!("{name}.gz")));
        check(gzip(&bytes), None);
    }
}

#[test]
fn tempos_json_is_as_its_interface_describes() {
    let mut trace = full_trace();
    let scope_spans = &mut trace.resource_spans[0].scope_spans[0];
    scope_spans.scope = InstrumentationScope::default();
    scope_spans.spans.truncate(1);
    let span = &mut scope_spans.spans[0];
    span.attributes = vec![
        KeyValue { key: "i".into(), value: AttributeValue::Int(0) },
        KeyValue { key: "u".into(), value: AttributeValue::Unset },
        KeyValue { key: "d".into(), value: AttributeValue::Double(f64::NAN) },
    ];
    (span.events, span.links) = (vec![], vec![]);
    span.dropped_links_count = 0;
    trace.resource_spans[0].resource = Resource::default();
    let rest = r#""traceState":"a=b","parentSpanId":"CAcGBQQDAgE=","name":"GET /","kind":"SPAN_KIND_CLIENT","startTimeUnixNano":"1795338536105665792","endTimeUnixNano":"18446744073709551615","attributes":[{"key":"i","value":{"intValue":"0"}},{"key":"u","value":{}},{"key":"d","value":{"doubleValue":"NaN"}}],"droppedAttributesCount":1,"droppedEventsCount":3,"status":{"message":"bad","code":"STATUS_CODE_ERROR"}"#;
    let spans = format!(
        r#"[{{"resource":{{}},"scopeSpans":[{{"scope":{{}},"spans":[{{"traceId":"AQIDBAUGBwgJCgsMDQ4PEA==","spanId":"AQIDBAUGBwg=",{rest}}}]}}]}}]"#
    );
    assert_eq!(to_tempo_json_v1(&trace), format!(r#"{{"batches":{spans}}}"#));
    assert_eq!(to_tempo_json_v2(&trace), format!(r#"{{"trace":{{"resourceSpans":{spans}}}}}"#));
    assert_eq!(to_tempo_json_v2(&Trace::default()), r#"{"trace":{}}"#);
}

#[test]
fn the_protocols_json_has_hex_ids_and_numbered_enumerations() {
    let json = to_otlp_json(&[full_trace()]);
    assert!(
        json.contains(
            r#""traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708""#
        )
    );
    assert!(json.contains(r#""kind":3"#) && json.contains(r#""code":2"#), "{json}");
}

#[test]
fn values_without_a_column_are_written_as_blocks_store_them() {
    let check = |value: AttributeValue, expect: &str| {
        assert_eq!(attribute_value_to_json(&value), expect);
        assert_eq!(attribute_value_from_json(expect), Ok(value));
    };
    check(AttributeValue::Bytes(vec![0, 1, 2, 254, 255]), r#"{"bytesValue":"AAEC/v8="}"#);
    check(AttributeValue::Unset, "{}");
    check(AttributeValue::Array(vec![]), r#"{"arrayValue":{}}"#);
    check(
        AttributeValue::Array(vec![AttributeValue::String("x".into()), AttributeValue::Int(2)]),
        r#"{"arrayValue":{"values":[{"stringValue":"x"},{"intValue":"2"}]}}"#,
    );
    check(
        AttributeValue::KeyValues(vec![KeyValue {
            key: "n".into(),
            value: AttributeValue::Int(7),
        }]),
        r#"{"kvlistValue":{"values":[{"key":"n","value":{"intValue":"7"}}]}}"#,
    );
}

#[test]
fn reading_is_lenient_where_producers_differ() {
    let span = first_span(&with_span(
        r#","spanId":"AQIDBAUGBwg=","parent_span_id":"0807060504030201","kind":"SPAN_KIND_SERVER",
           "startTimeUnixNano":17,"end_time_unix_nano":"18","status":{"code":"STATUS_CODE_OK"},
           "droppedEventsCount":"3","events":null,"somethingNew":{"a":[1]},
           "attributes":[{"key":"i","value":{"intValue":-5}},{"key":"d","value":{"doubleValue":"Infinity"}},
             {"key":"e","value":{"intValue":2e3}},{"key":"b","value":{"bytesValue":"_-8"}},{"key":"n","value":null}]"#,
    ));
    assert_eq!(span.span_id, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(span.parent_span_id, [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!((span.kind, span.status_code, span.dropped_events_count), (2, 1, 3));
    assert_eq!((span.start_unix_nanos, span.end_unix_nanos), (17, 18));
    let values: Vec<_> = span.attributes.into_iter().map(|kv| kv.value).collect();
    let expect = [
        AttributeValue::Int(-5),
        AttributeValue::Double(f64::INFINITY),
        AttributeValue::Int(2000),
        AttributeValue::Bytes(vec![255, 239]),
        AttributeValue::Unset,
    ];
    assert_eq!(values, expect);
}

#[test]
fn a_parent_of_zeros_is_none() {
    let span = first_span(&with_span(r#","parentSpanId":"0000000000000000""#));
    assert!(span.parent_span_id.is_empty());
}

#[test]
fn spans_are_gathered_by_trace_over_the_whole_file() {
    let span = |trace: u8, id: u8| {
        format!(r#"{{"traceId":"{}{trace:02x}","spanId":"{id:016x}"}}"#, "00".repeat(15))
    };
    let line = |service: &str, spans: &[String]| {
        format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
            spans.join(",")
        )
    };
    let text = format!(
        "{}\n{}\n",
        line("a", &[span(2, 1), span(1, 2), span(2, 3)]),
        line("b", &[span(1, 4)])
    );
    let found: Vec<_> = decode(text.into(), None)
        .unwrap()
        .iter()
        .map(|trace| {
            let spans: Vec<_> = trace
                .spans()
                .map(|s| (s.resource_spans.resource.service_name().to_owned(), s.span.span_id[7]))
                .collect();
            (trace.id.0[15], trace.resource_spans.len(), spans)
        })
        .collect();
    let expect = [
        (1, 2, vec![("a".to_owned(), 2), ("b".to_owned(), 4)]),
        (2, 1, vec![("a".to_owned(), 1), ("a".to_owned(), 3)]),
    ];
    assert_eq!(found, expect);
}

#[test]
fn errors_name_object_place_and_expectation() {
    let check = |text: &str, expect: &[&str]| {
        let error = decode_text(text).unwrap_err().to_string();
        for part in expect {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    };
    check(
        "{\n  \"resourceSpans\": 5\n}",
        &["t.json is corrupt at bytes 21..22", "line 2 column 20"],
    );
    check(&with_span(r#","kind":"SERVER""#), &["SPAN_KIND_SERVER", "\"SERVER\""]);
    check(&with_span(r#","startTimeUnixNano":"-1""#), &["fits u64"]);
    check(&with_span(r#","spanId":"xyz!""#), &["an id in hex or base64"]);
    check(
        &with_span(r#","attributes":[{"key":"a","value":{"intValue":1,"boolValue":true}}]"#),
        &["two"],
    );
    check(r#"{"traces":[]}"#, &["resourceSpans", "\"traces\""]);
    check("[]", &["expected an object with resourceSpans"]);
    check(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"n"}]}]}]}"#,
        &["trace id", "\"n\""],
    );
    check("{\"resourceSpans\":[", &["EOF"]);
}

#[test]
fn a_second_line_that_is_broken_is_named() {
    let text = format!("{}\n{{\"resourceSpans\":[{{]}}\n", with_span(""));
    let error = decode_text(&text).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn bad_bytes_are_errors() {
    let fails = |bytes: &[u8], hint: Option<&str>| {
        decode(Bytes::copy_from_slice(bytes), hint).unwrap_err().to_string()
    };
    assert!(fails(b"hello", None).contains("OTLP traces as JSON"));
    assert!(fails(&[0, 0, 0, 9, 1], Some("x.pb")).starts_with("x.pb is corrupt"));
    assert!(fails(&[0x1f, 0x8b, 8, 0], Some("x.gz")).contains("gzip"));
    assert!(
        fails(b"{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"\xff\"}]}}]}", None)
            .contains("line 1")
    );
    // Field 1 holding a span's bytes with an invalid name.
    let mut message = to_protobuf(&[full_trace()]);
    let at = message.windows(5).position(|w| w == b"GET /").unwrap();
    message[at] = 0xff;
    assert!(fails(&message, Some("x.pb")).contains("UTF-8"));
    message.truncate(at);
    assert!(fails(&message, Some("x.pb")).starts_with("x.pb is corrupt"));
}

#[test]
fn nothing_is_no_traces() {
    for empty in ["", "{}", r#"{"resourceSpans":[]}"#, r#"{"trace":{}}"#] {
        assert_eq!(decode(Bytes::copy_from_slice(empty.as_bytes()), None).unwrap(), [], "{empty}");
    }
}

#[test]
fn hostile_nesting_is_refused_and_not_a_crash() {
    let depth = 100_000;
    let json = with_span(&format!(
        r#","attributes":[{{"key":"a","value":{}{}}}]"#,
        r#"{"arrayValue":{"values":["#.repeat(depth),
        "]}}".repeat(depth)
    ));
    assert!(decode_text(&json).unwrap_err().to_string().contains("recursion limit"));

    // The same in protobuf: an AnyValue holding an ArrayValue holding an AnyValue ….
    let mut message = Vec::new();
    let wrap = |tag: u8, message: &mut Vec<u8>| {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(message.len() as u64, &mut outer);
        outer.append(message);
        *message = outer;
    };
    for _ in 0..2_000 {
        wrap(0x0a, &mut message);
        wrap(0x2a, &mut message);
    }
    for tag in [0x12, 0x0a, 0x0a, 0x0a] {
        wrap(tag, &mut message);
    }
    let error = decode(message.into(), Some("x.pb")).unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn decompression_is_bounded() {
    let bomb = gzip(&vec![b' '; 1 << 20]);
    assert!(bomb.len() < 1 << 14);
    let error = decompress_within(&bomb, "bomb.gz", 1 << 10).unwrap_err();
    assert!(matches!(error, Error::OverLimit { limit_bytes: 1024, .. }), "{error}");
}

#[test]
fn decoding_stays_within_its_memory() {
    const LIMIT_BYTES: u64 = 1 << 20;
    let over = |name: &str, bytes: Vec<u8>| {
        assert!((bytes.len() as u64) < LIMIT_BYTES / 2, "{name}");
        let error = decode_within(bytes.into(), Some(name), LIMIT_BYTES).unwrap_err();
        assert!(matches!(&error, Error::Memory { key, .. } if key == name), "{error}");
        assert!(error.to_string().contains("1048576"), "{error}");
    };
    let spans =
        |inside: &str| format!(r#"{{"batches":[{{"scopeSpans":[{{"spans":[{inside}]}}]}}]}}"#);
    let many = |one: &str, n: usize| vec![one; n].join(",");
    // Many empty things that are large once decoded.
    over("spans.json", spans(&many("{}", 5_000)).into_bytes());
    let span = |list: &str, n: usize| format!(r#"{{"traceId":"01","{list}":[{}]}}"#, many("{}", n));
    for list in ["attributes", "events", "links"] {
        over("lists.json", spans(&span(list, 20_000)).into_bytes());
    }
    over("batches.json", format!(r#"{{"batches":[{}]}}"#, many("{}", 10_000)).into_bytes());
    over("spans.pb", nested(&[0x0a, 0x12], &[0x12, 0].repeat(5_000)));
    over("attributes.pb", nested(&[0x0a, 0x12, 0x12], &[0x4a, 0].repeat(20_000)));
    // One large resource, which each of many traces gets a copy of.
    let resource = format!(
        r#"{{"attributes":[{{"key":"k","value":{{"stringValue":"{}"}}}}]}}"#,
        "x".repeat(10_000)
    );
    let traces: Vec<String> = (1..500).map(|id| format!(r#"{{"traceId":"{id:032x}"}}"#)).collect();
    let copied = format!(
        r#"{{"batches":[{{"resource":{resource},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        traces.join(",")
    );
    over("resource.json", copied.into_bytes());

    // What fits is decoded, also where it has to be weighed: the documents of a file together.
    let documents = format!("{}\n", spans(&many(r#"{"traceId":"01"}"#, 20))).repeat(20);
    let traces = decode_within(documents.into_bytes().into(), Some("x.jsonl"), LIMIT_BYTES);
    assert_eq!(traces.unwrap()[0].span_count(), 400);
    let message = to_protobuf(&[full_trace()]);
    let traces = decode_within(message.into(), Some("x.pb"), 64 << 10).unwrap();
    assert_eq!(traces, [full_trace()]);
}

/// Bytes as the length-delimited fields with these tags, the outermost first.
fn nested(tags: &[u8], bytes: &[u8]) -> Vec<u8> {
    tags.iter().rev().fold(bytes.to_vec(), |inner, tag| {
        let mut outer = vec![*tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    })
}

#[test]
fn a_byte_takes_no_more_than_is_assumed() {
    for tags in [&[0x0a][..], &[0x0a, 0x12], &[0x0a, 0x12, 0x12]] {
        for field in 1..16 {
            let one = nested(tags, &[field << 3 | 2, 0].repeat(1_000));
            let most = one.len() as u64 * weigh::MOST_PER_BYTE;
            assert!(weigh::protobuf_bytes(&one) <= most, "{tags:?} {field}");
        }
    }
    for (keys, _) in read_json::ELEMENTS {
        let text = format!(r#"{{"{}":[{}]}}"#, keys[0], vec!["{}"; 1_000].join(","));
        let weight: weigh::JsonWeight = serde_json::from_str(&text).unwrap();
        assert!(weight.bytes <= text.len() as u64 * weigh::MOST_PER_BYTE, "{keys:?}");
    }
}

#[test]
fn formats_are_recognised() {
    let protobuf = to_protobuf(&[full_trace()]);
    let length = u32::try_from(protobuf.len()).unwrap().to_be_bytes();
    let check = |bytes: &[u8], expect| assert_eq!(recognise(bytes, "-").unwrap(), expect);
    check(b"\xef\xbb\xbf \n{}", Format::Json);
    check(&[&length[..], &protobuf].concat(), Format::ProtobufRecords);
    check(&protobuf, Format::Protobuf);
    check(b"", Format::Protobuf);
    // A message of one resource: its tag is a line feed, its length a bracket.
    for bracket in [b'[', b'{'] {
        let resource = [&[0x0a, bracket - 2][..], &vec![0; usize::from(bracket) - 2]].concat();
        check(&[&[0x0a, bracket][..], &resource].concat(), Format::Protobuf);
    }
    // A text whose length is that of such a message.
    let text = [b"\n{", &[b' '; 122][..], b"}"].concat();
    assert!(is_bare_message(&text));
    check(&text, Format::Json);
}

fn any_value() -> impl Strategy<Value = AttributeValue> {
    let leaf = prop_oneof![
        Just(AttributeValue::Unset),
        any::<String>().prop_map(AttributeValue::String),
        any::<i64>().prop_map(AttributeValue::Int),
        // Equality of the model is Rust's: a NaN, though it survives, equals nothing.
        any::<f64>().prop_map(AttributeValue::Double),
        any::<bool>().prop_map(AttributeValue::Bool),
        any::<Vec<u8>>().prop_map(AttributeValue::Bytes),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let pair = (any::<String>(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(AttributeValue::Array),
            prop::collection::vec(pair, 0..4).prop_map(|pairs| {
                let pairs = pairs.into_iter().map(|(key, value)| KeyValue { key, value });
                AttributeValue::KeyValues(pairs.collect())
            }),
        ]
    })
}

fn any_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = (any::<String>(), any_value()).prop_map(|(key, value)| KeyValue { key, value });
    prop::collection::vec(attribute, 0..3)
}

fn any_span() -> impl Strategy<Value = Span> {
    let ids = (any::<[u8; 8]>(), prop::option::of(1..=u64::MAX));
    let numbers = (any::<i32>(), any::<i32>(), any::<u64>(), any::<u64>(), any::<u32>());
    let lists = (
        prop::collection::vec((any::<u64>(), any::<String>(), any_attributes()), 0..3),
        prop::collection::vec((any::<[u8; 16]>(), any::<[u8; 8]>(), any_attributes()), 0..3),
    );
    (ids, any::<[String; 3]>(), numbers, any_attributes(), lists).prop_map(
        |((id, parent), [name, state, message], numbers, attributes, (events, links))| Span {
            span_id: id.into(),
            parent_span_id: parent.map(|p| p.to_be_bytes().into()).unwrap_or_default(),
            trace_state: state,
            name,
            kind: numbers.0,
            start_unix_nanos: numbers.2,
            end_unix_nanos: numbers.3,
            status_code: numbers.1,
            status_message: message,
            attributes,
            dropped_attributes_count: numbers.4,
            events: events
                .into_iter()
                .map(|(time_unix_nanos, name, attributes)| Event {
                    time_unix_nanos,
                    name,
                    attributes,
                    dropped_attributes_count: numbers.4,
                })
                .collect(),
            dropped_events_count: numbers.4,
            links: links
                .into_iter()
                .map(|(trace_id, span_id, attributes)| Link {
                    trace_id: trace_id.into(),
                    span_id: span_id.into(),
                    attributes,
                    ..Link::default()
                })
                .collect(),
            dropped_links_count: numbers.4,
        },
    )
}

fn any_trace() -> impl Strategy<Value = Trace> {
    let scope_spans = (
        any::<[String; 2]>(),
        any_attributes(),
        prop::collection::vec(any_span(), 1..3),
    )
        .prop_map(|([name, version], attributes, spans)| ScopeSpans {
            scope: InstrumentationScope { name, version, attributes, dropped_attributes_count: 0 },
            spans,
        });
    let resource_spans = (any_attributes(), prop::collection::vec(scope_spans, 1..3)).prop_map(
        |(attributes, scope_spans)| ResourceSpans {
            resource: Resource { attributes, dropped_attributes_count: 1 },
            scope_spans,
        },
    );
    (any::<[u8; 16]>(), prop::collection::vec(resource_spans, 1..3))
        .prop_map(|(id, resource_spans)| Trace { id: TraceId(id), resource_spans })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_trace_survives_every_form(trace in any_trace()) {
        let traces = [trace];
        let forms = [
            to_protobuf(&traces),
            to_otlp_json(&traces).into(),
            to_tempo_json_v1(&traces[0]).into(),
            to_tempo_json_v2(&traces[0]).into(),
        ];
        for form in forms {
            prop_assert_eq!(&decode(form.into(), None).unwrap(), &traces);
        }
    }

    #[test]
    fn traces_are_encoded_as_their_messages_are(traces in prop::collection::vec(any_trace(), 1..3)) {
        prop_assert_eq!(to_protobuf(&traces), through_messages(&traces));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        for hint in [None, Some("a.json"), Some("a.pb")] {
            // Whether it is an error does not matter here.
            let _unused = decode(bytes.clone().into(), hint).is_ok();
        }
    }

    #[test]
    fn no_damage_makes_it_panic(trace in any_trace(), at: prop::sample::Index, byte: u8) {
        let traces = [trace];
        for mut form in [to_protobuf(&traces), to_otlp_json(&traces).into_bytes()] {
            let at = at.index(form.len());
            form[at] = byte;
            let _unused = decode(form.into(), None).is_ok();
        }
    }
}
