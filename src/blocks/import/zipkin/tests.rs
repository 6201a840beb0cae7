//! Examples in the forms that Zipkin's documents show, and what exporters of OpenTelemetry write.

use super::*;
use crate::import::tags::number;

const LIMIT: u64 = 1 << 20;

fn v2(text: &str) -> Vec<Trace> {
    decode_v2(text.as_bytes(), "it", LIMIT).unwrap()
}

/// Every span with the service it is of.
fn spans(traces: &[Trace]) -> Vec<(String, Span)> {
    let each = traces.iter().flat_map(Trace::spans).map(|at| {
        let service = at.resource_spans.resource.attributes.first();
        (service.map(|a| shown(&a.value)).unwrap_or_default(), at.span.clone())
    });
    each.collect()
}

fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn attributes(of: &[KeyValue]) -> Vec<String> {
    of.iter().map(|a| format!("{}={}", a.key, shown(&a.value))).collect()
}

#[test]
fn a_span_of_version_2_has_all_its_parts() {
    let traces = v2(r#"[{
        "traceId": "5982fe77008310cc80f1da5e10147517", "parentId": "90394f6bcffb5d13",
        "id": "67fae42571535f60", "kind": "SERVER", "name": "/m/n/2.6.1",
        "timestamp": 1516781775726000, "duration": 26000, "shared": true, "debug": true,
        "localEndpoint": {"serviceName": "api", "ipv4": "10.1.2.3", "port": 8080},
        "remoteEndpoint": {"serviceName": "apip", "ipv4": "1.2.3.4", "ipv6": "2001:db8::1"},
        "annotations": [
            {"timestamp": 1516781775727000, "value": "cache miss"},
            {"timestamp": 1516781775728000, "value": "{\"retry\": {\"n\": 2, \"why\": [\"slow\", 1.5]}}"},
            {"timestamp": 1516781775729000, "value": "redirect|{\"to\":\"x\"}|4"},
            {"timestamp": 1516781775729001, "value": "{\"no\": 1}"},
            {"timestamp": 1516781775729002, "value": "a|b|c"}],
        "tags": {"data.http_response_code": "201", "net.peer.ip": "4.4.4.4",
                 "otel.scope.name": "lib", "otel.scope.version": "1.2"}
    }]"#);
    assert_eq!(traces[0].id.to_string(), "5982fe77008310cc80f1da5e10147517");
    let at = traces[0].spans().next().unwrap();
    assert_eq!(at.scope_spans.scope.name, "lib");
    assert_eq!(at.scope_spans.scope.version, "1.2");
    assert_eq!(attributes(&at.resource_spans.resource.attributes), ["service.name=api"]);
    let span = at.span;
    assert_eq!((span.kind, span.name.as_str()), (number::SERVER, "/m/n/2.6.1"));
    assert_eq!(span.span_id, [0x67, 0xfa, 0xe4, 0x25, 0x71, 0x53, 0x5f, 0x60]);
    assert_eq!(span.parent_span_id, [0x90, 0x39, 0x4f, 0x6b, 0xcf, 0xfb, 0x5d, 0x13]);
    assert_eq!(span.start_unix_nanos, 1_516_781_775_726_000_000);
    assert_eq!(span.end_unix_nanos, 1_516_781_775_752_000_000);
    assert_eq!(
        attributes(&span.attributes),
        [
            "data.http_response_code=201",
            "net.peer.ip=4.4.4.4",
            "peer.service=apip",
            "net.host.ip=10.1.2.3",
            "net.host.port=Int(8080)",
        ]
    );
    let events: Vec<String> = span
        .events
        .iter()
        .map(|e| {
            format!("{} {:?} {}", e.name, attributes(&e.attributes), e.dropped_attributes_count)
        })
        .collect();
    assert_eq!(
        events,
        [
            "cache miss [] 0",
            r#"retry ["n=Int(2)", "why=Array([String(\"slow\"), Double(1.5)])"] 0"#,
            r#"redirect ["to=x"] 4"#,
            "{\"no\": 1} [] 0",
            "a|b|c [] 0",
        ]
    );
}

#[test]
fn spans_are_gathered_by_trace_and_service() {
    let span = |trace: &str, id: u8, service: &str| {
        format!(
            r#"{{"traceId":"{trace}","id":"{id}","localEndpoint":{{"serviceName":"{service}"}}}}"#
        )
    };
    let text =
        [span("2", 1, "a"), span("1", 2, "b"), span("2", 3, "b"), span("2", 4, "a")].join(",");
    let traces = v2(&format!("[{text}]"));
    assert_eq!(traces.iter().map(Trace::span_count).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(traces[1].resource_spans.len(), 2, "equal resources are one");
    assert_eq!(traces[0].id.to_string(), format!("{:032x}", 1));
    assert!(v2("[]").is_empty());
}

#[test]
fn what_exporters_of_opentelemetry_send_comes_back() {
    // Sent by the SDK for Python in both forms: testdata/README.md.
    let json = include_bytes!("../../../../testdata/import/zipkin-opentelemetry.json");
    let protobuf = include_bytes!("../../../../testdata/import/zipkin-opentelemetry.pb");
    for traces in
        [decode_v2(json, "it", LIMIT).unwrap(), decode_protobuf(protobuf, "it", LIMIT).unwrap()]
    {
        assert_eq!((traces.len(), traces[0].span_count()), (1, 6));
        assert_eq!(traces[0].resource_spans.len(), 1);
        let resource = attributes(&traces[0].resource_spans[0].resource.attributes);
        for one in ["service.name=zipkin-sender", "telemetry.sdk.language=python"] {
            assert!(resource.iter().any(|attribute| attribute == one), "{one}: {resource:?}");
        }
        let of = |name: &str| traces[0].spans().find(|at| at.span.name == name).unwrap();
        let root = of("POST /order");
        assert_eq!(root.scope_spans.scope.name, "sender");
        assert_eq!(root.scope_spans.scope.version, "1.0");
        assert_eq!(root.span.kind, number::SERVER);
        assert_eq!(
            attributes(&root.span.attributes),
            ["order.number=7", "vip=true", "net.host.ip=10.0.0.7", "net.host.port=Int(31313)"]
        );
        let names: Vec<&str> = root.span.events.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["cache miss", "retry"]);
        assert_eq!(attributes(&root.span.events[1].attributes), ["n=Int(2)", "why=slow"]);
        let failed = of("charge").span;
        assert_eq!(failed.parent_span_id, root.span.span_id);
        assert_eq!((failed.kind, failed.status_code), (number::CLIENT, number::ERROR));
        assert_eq!(failed.status_message, "card declined");
    }
}

#[test]
fn what_is_missing_is_told() {
    let told = |text: &str| decode_v2(text.as_bytes(), "it", LIMIT).unwrap_err().to_string();
    for text in ["", "{", "[{}]", "[1]", r#"{"traceId":"1"}"#, "[] []"] {
        assert!(told(text).contains("Zipkin spans as a JSON array"), "{text}: {}", told(text));
    }
    assert!(told(r#"[{"traceId":"x","id":"1"}]"#).contains("a trace id of 1 to 32 hex digits"));
    let long = format!(r#"[{{"traceId":"1","id":"{}"}}]"#, "1".repeat(17));
    assert!(told(&long).contains("a span id of 1 to 16 hex digits"));
    let parent = r#"[{"traceId":"1","id":"1","parentId":"?"}]"#;
    assert!(told(parent).contains("a parent's id"));
    assert!(told(r#"[{"traceId":"1","id":"1","timestamp":-5}]"#).contains("line 1 column"));
    let none = r#"[{"traceId":"1","id":"1","parentId":"","kind":"?","name":null,"tags":null}]"#;
    let (_, span) = spans(&v2(none)).remove(0);
    assert_eq!((span.parent_span_id.len(), span.kind), (0, 0));
}

#[test]
fn small_spans_take_no_more_memory_than_allowed() {
    let text = format!("[{}]", [r#"{"traceId":"1","id":"1"}"#; 5_000].join(","));
    let error = decode_v2(text.as_bytes(), "it", 500_000).unwrap_err();
    assert!(matches!(error, crate::Error::Memory { .. }), "{error}");
    let nested = format!(r#"{{\"a\":{{\"b\":[{}0]}}}}"#, "0,".repeat(50_000));
    let text = format!(
        r#"[{{"traceId":"1","id":"1","annotations":[{{"timestamp":1,"value":"{nested}"}}]}}]"#
    );
    let error = decode_v2(text.as_bytes(), "it", 500_000).unwrap_err();
    assert!(matches!(error, crate::Error::Memory { .. }), "{error}");
    let spans = [0x0a, 0].repeat(10_000);
    assert!(decode_protobuf(&spans, "it", LIMIT).is_err(), "a span without ids");
}

#[test]
fn a_span_of_version_1_is_one_of_version_2_for_each_side() {
    let text = r#"[
      {"traceId": "5982fe77008310cc80f1da5e10147517", "name": "get", "id": "bd7a977555f6b982",
       "timestamp": 1458702548467000, "duration": 386000,
       "annotations": [
         {"endpoint": {"serviceName": "query", "ipv4": "192.168.1.2", "port": 9411},
          "timestamp": 1458702548467000, "value": "sr"},
         {"endpoint": {"serviceName": "front"}, "timestamp": 1458702548460000, "value": "cs"},
         {"endpoint": {"serviceName": "query"}, "timestamp": 1458702548853000, "value": "ss"},
         {"endpoint": {"serviceName": "front"}, "timestamp": 1458702548860000, "value": "cr"},
         {"endpoint": {"serviceName": "query"}, "timestamp": 1458702548500000, "value": "found"}],
       "binaryAnnotations": [
         {"key": "lc", "value": "comp", "endpoint": {"serviceName": "query"}},
         {"key": "ca", "value": true, "endpoint": {"serviceName": "front", "ipv4": "192.168.1.9"}},
         {"key": "n", "value": 5}]},
      {"traceId": "5982fe77008310cc80f1da5e10147517", "name": "local", "id": "ebf33e1a81dc6f71",
       "parentId": "bd7a977555f6b982", "timestamp": 1458702548478000, "duration": 354374,
       "binaryAnnotations": [{"key": "lc", "value": "jdbc", "endpoint": {"serviceName": "query"}}]}
    ]"#;
    let traces = decode_v1(text.as_bytes(), "it", LIMIT).unwrap();
    assert_eq!(traces.len(), 1);
    let of = |service: &str, name: &str| {
        let all = spans(&traces);
        all.into_iter().find(|(of, span)| of == service && span.name == name).unwrap().1
    };
    let client = of("front", "get");
    assert_eq!(client.kind, number::CLIENT);
    assert_eq!(client.start_unix_nanos, 1_458_702_548_467_000_000);
    assert_eq!(attributes(&client.attributes), ["n=5"]);
    let server = of("query", "get");
    assert_eq!((server.kind, server.span_id == client.span_id), (number::SERVER, true));
    assert_eq!(server.end_unix_nanos - server.start_unix_nanos, 386_000_000);
    assert_eq!(
        attributes(&server.attributes),
        [
            "lc=comp",
            "peer.service=front",
            "net.host.ip=192.168.1.2",
            "net.host.port=Int(9411)",
            "net.peer.ip=192.168.1.9",
        ]
    );
    assert_eq!(server.events.len(), 1);
    assert_eq!(server.events[0].name, "found");
    assert_eq!(of("query", "local").kind, 0);
}

#[test]
fn protobuf_says_the_same_as_json() {
    use prost::encoding::encode_varint;
    // By hand, so that a wrong number of ours does not agree with itself.
    fn field(to: &mut Vec<u8>, number: u64, bytes: &[u8]) {
        encode_varint(number << 3 | 2, to);
        encode_varint(bytes.len() as u64, to);
        to.extend_from_slice(bytes);
    }
    let mut span = Vec::new();
    field(&mut span, 1, &[7; 8]);
    field(&mut span, 2, &[1; 8]);
    field(&mut span, 3, &[2; 8]);
    span.extend([4 << 3, 1]);
    field(&mut span, 5, b"get");
    span.push(6 << 3 | 1);
    span.extend(1_516_781_775_726_000_u64.to_le_bytes());
    span.extend([7 << 3, 100]);
    let mut endpoint = Vec::new();
    field(&mut endpoint, 1, b"api");
    field(&mut endpoint, 2, &[127, 0, 0, 1]);
    field(&mut endpoint, 3, &[0; 16]);
    endpoint.extend([4 << 3, 80]);
    field(&mut span, 8, &endpoint);
    let mut annotation = vec![1 << 3 | 1];
    annotation.extend(5_u64.to_le_bytes());
    field(&mut annotation, 2, b"hit");
    field(&mut span, 10, &annotation);
    let mut tag = Vec::new();
    field(&mut tag, 1, b"k");
    field(&mut tag, 2, b"v");
    field(&mut span, 11, &tag);
    let mut list = Vec::new();
    field(&mut list, 1, &span);
    let json = r#"[{"traceId":"0707070707070707","parentId":"0101010101010101",
        "id":"0202020202020202","kind":"CLIENT","name":"get","timestamp":1516781775726000,
        "duration":100,"localEndpoint":{"serviceName":"api","ipv4":"127.0.0.1","ipv6":"::",
        "port":80},"annotations":[{"timestamp":5,"value":"hit"}],"tags":{"k":"v"}}]"#;
    assert_eq!(decode_protobuf(&list, "it", LIMIT).unwrap(), v2(json));
    for end in 1..list.len() {
        assert!(decode_protobuf(&list[..end], "it", LIMIT).is_err(), "{end}");
    }
    let mut wrong = Vec::new();
    let mut endpoint = Vec::new();
    field(&mut endpoint, 2, &[1, 2, 3]);
    let mut short = span.clone();
    field(&mut short, 9, &endpoint);
    field(&mut wrong, 1, &short);
    let told = decode_protobuf(&wrong, "it", LIMIT).unwrap_err().to_string();
    assert!(told.contains("an IP address of 3 bytes"), "{told}");
}
