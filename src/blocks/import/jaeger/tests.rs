//! Batches as clients of Jaeger send them, in both forms.

use super::*;
use crate::import::tags::number;

const LIMIT: u64 = 1 << 20;

/// Written by the Thrift library for Python from the definitions of Jaeger: testdata/README.md.
const BATCH: &[u8] = include_bytes!("../../../../testdata/import/jaeger-batch.thrift");
/// Written by the exporter of OpenTelemetry for Python: testdata/README.md.
const POST_SPANS: &[u8] = include_bytes!("../../../../testdata/import/jaeger-post-spans.pb");

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let text = |value: &AttributeValue| match value {
        AttributeValue::String(text) => text.clone(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|a| format!("{}={}", a.key, text(&a.value))).collect()
}

#[test]
fn a_batch_of_every_kind_of_tag_log_and_reference() {
    let traces = decode_thrift(BATCH, "it", LIMIT).unwrap();
    assert_eq!(traces.len(), 1);
    assert_eq!(traces[0].id.to_string(), "5982fe77008310cc1122334455667788");
    let resource = &traces[0].resource_spans[0].resource;
    assert_eq!(
        shown(&resource.attributes),
        ["service.name=svc", "host.name=h", "p=Int(1)", "ip=1.1.1.1", "jaeger.version=x"]
    );
    let of = |name: &str| traces[0].spans().find(|at| at.span.name == name).unwrap();
    let root = of("root");
    assert_eq!(root.scope_spans.scope.name, "lib");
    assert_eq!(root.span.span_id, [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!((root.span.kind, root.span.parent_span_id.len()), (number::SERVER, 0));
    assert_eq!(root.span.start_unix_nanos, 1_516_781_775_726_000_000);
    assert_eq!(root.span.end_unix_nanos, 1_516_781_775_752_000_000);
    assert_eq!(
        shown(&root.span.attributes),
        ["s=t", "d=Double(1.5)", "b=Bool(true)", "l=Int(-7)", "bin=Bytes([0, 1, 255])"]
    );
    let failed = of("err");
    assert_eq!((failed.span.kind, failed.span.status_code), (number::CLIENT, number::ERROR));
    assert!(failed.span.attributes.is_empty(), "{failed:?}");
    let events: Vec<String> = failed
        .span
        .events
        .iter()
        .map(|e| format!("{} {} {:?}", e.time_unix_nanos, e.name, shown(&e.attributes)))
        .collect();
    assert_eq!(
        events,
        [
            r#"1516781775727000000 exception ["message=m", "n=Int(3)"]"#,
            r#"1516781775727001000  ["message=only"]"#,
            r#"1516781775727002000  ["x=y"]"#,
        ]
    );
    let told = of("otelerr").span;
    assert_eq!((told.status_code, told.status_message.as_str()), (number::ERROR, "desc"));
    assert_eq!((told.trace_state.as_str(), told.dropped_attributes_count), ("a=b", 3));
    assert_eq!(of("ok").span.status_code, number::OK);
    assert_eq!(of("http").span.status_code, number::ERROR);
    assert_eq!(of("http4").span.status_code, number::ERROR);
    assert_eq!(of("errmsg").span.status_code, number::UNSET);
}

#[test]
fn a_reference_is_the_parent_or_a_link() {
    let traces = decode_thrift(BATCH, "it", LIMIT).unwrap();
    let of = |name: &str| {
        let span = traces[0].spans().find(|at| at.span.name == name).unwrap().span;
        let links = span.links.iter().map(|link| {
            format!("{:?} {}", link.span_id.last().unwrap(), shown(&link.attributes).join(" "))
        });
        (span.parent_span_id.last().copied(), links.collect::<Vec<_>>())
    };
    let (parent, links) = of("refs");
    assert_eq!(parent, Some(1));
    let (child, follows) = ("opentracing.ref_type=child_of", "opentracing.ref_type=follows_from");
    assert_eq!(links, [format!("77 {follows}"), format!("78 {child}"), format!("2 {child}")]);
    assert_eq!(of("follows"), (Some(1), vec![format!("1 {follows}")]));
    assert_eq!(of("err"), (Some(1), Vec::new()));
}

#[test]
fn no_part_of_a_batch_is_a_batch() {
    for end in 0..BATCH.len() {
        assert!(decode_thrift(&BATCH[..end], "it", LIMIT).is_err(), "{end}");
    }
    let mut longer = BATCH.to_vec();
    longer.push(0);
    let told = decode_thrift(&longer, "it", LIMIT).unwrap_err().to_string();
    assert!(told.contains("its end"), "{told}");
    let told = decode_thrift(&[0], "it", LIMIT).unwrap_err().to_string();
    assert!(told.contains("a process and spans"), "{told}");
    // A span without anything: an empty process name, one empty structure.
    let bare = [12, 0, 1, 11, 0, 1, 0, 0, 0, 0, 0, 15, 0, 2, 12, 0, 0, 0, 1, 0, 0];
    let told = decode_thrift(&bare, "it", LIMIT).unwrap_err().to_string();
    assert!(told.contains("a span with a trace id"), "{told}");
    let error = decode_thrift(BATCH, "it", 2_000).unwrap_err();
    assert!(matches!(error, crate::Error::Memory { .. }), "{error}");
}

#[test]
fn what_an_exporter_of_opentelemetry_posts_comes_back() {
    let traces = decode_post_spans(POST_SPANS, "it", LIMIT).unwrap();
    assert_eq!(traces.iter().map(Trace::span_count).sum::<usize>(), 3);
    let spans: Vec<_> = traces.iter().flat_map(Trace::spans).collect();
    let of = |name: &str| spans.iter().find(|at| at.span.name == name).unwrap();
    let root = of("GET /basket");
    let resource = shown(&root.resource_spans.resource.attributes);
    assert!(resource.contains(&"service.name=jaeger-grpc".to_owned()), "{resource:?}");
    assert_eq!(root.scope_spans.scope.name, "sender");
    assert_eq!((root.span.kind, root.span.parent_span_id.len()), (number::SERVER, 0));
    // This exporter repeats the resource in the tags of each span.
    assert_eq!(
        shown(&root.span.attributes)[..4],
        ["text=t", "int=Int(7)", "double=Double(0.5)", "bool=Bool(true)"]
    );
    assert_eq!(root.span.events.len(), 1);
    // It does not say `event`, as the specification has it.
    assert_eq!(root.span.events[0].name, "");
    assert_eq!(shown(&root.span.events[0].attributes), ["n=Int(1)", "message=hit"]);
    let child = of("charge");
    assert_eq!(child.span.parent_span_id, root.span.span_id);
    assert_eq!((child.span.kind, child.span.status_code), (number::CLIENT, number::ERROR));
    assert_eq!(child.span.status_message, "card declined");
    let linked = of("later");
    assert_eq!(linked.span.links[0].span_id, root.span.span_id);
    let half = &POST_SPANS[..POST_SPANS.len() / 2];
    assert!(decode_post_spans(half, "it", LIMIT).is_err());
    let error =
        decode_post_spans(&[[0x0a, 4, 0x0a, 2, 0x42, 0].as_slice(), &[]].concat(), "it", 100);
    assert!(matches!(error, Err(crate::Error::Memory { .. })), "{error:?}");
}
