//! Tests of the waterfall over a small broken trace.

use traceql_blocks::model::trace::SERVICE_NAME;
use traceql_blocks::model::{Resource, ResourceSpans, ScopeSpans, Span, TraceId};

use super::*;

const MILLI: u64 = 1_000_000;

fn string(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: AttributeValue::String(value.into()) }
}

fn span(id: u8, parent: u8, name: &str, start: u64, end: u64) -> Span {
    const DAY: u64 = 1_795_305_600_000_000_000;
    Span {
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { vec![] } else { vec![parent; 8] },
        name: name.into(),
        start_unix_nanos: DAY + start * MILLI,
        end_unix_nanos: DAY + end * MILLI,
        ..Span::default()
    }
}

fn of_service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Resource { attributes: vec![string(SERVICE_NAME, name)], ..Resource::default() },
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
    }
}

fn trace() -> Trace {
    let failed = Span {
        status_code: STATUS_ERROR,
        status_message: "connection reset".into(),
        attributes: vec![string("db.system", "redis")],
        ..span(3, 2, "GET", 40, 80)
    };
    Trace {
        id: TraceId::from_bytes(&[0xab]),
        resource_spans: vec![
            of_service("storefront", vec![span(1, 0, "GET /basket", 0, 100)]),
            of_service(
                "basket",
                vec![span(2, 1, "Fetch", 20, 90), failed, span(4, 1, "Log", 90, 90)],
            ),
            of_service("mailer", vec![span(6, 5, "send", 95, 96)]),
        ],
    }
}

fn draw(trace: &Trace, width: usize, attributes: bool) -> String {
    let mut out = Vec::new();
    let waterfall = Waterfall { width, attributes, paint: Paint { on: false } };
    waterfall.write(&mut out, trace).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_tree_stands_left_and_the_bars_on_one_axis() {
    let text = draw(&trace(), 60, false);
    let expect = "\
000000000000000000000000000000ab storefront: GET /basket
2026-11-22 00:00:00.000 UTC · 100ms · 5 spans · 3 services · 1 orphan · 1 error

                        │0           │48.1ms
storefront: GET /basket ━━━━━━━━━━━━━━━━━━━━━━━━━━━    100ms
├ basket: Fetch              ━━━━━━━━━━━━━━━━━━━        70ms
│ └ ✗ GET                         ━━━━━━━━━━━           40ms
│     ! connection reset
└ basket: Log                                   ╸        0ns
mailer: send                                     ╸       1ms
  its parent 0505050505050505 is not in the trace
";
    assert_eq!(text, expect, "{text}");
}

#[test]
fn lines_keep_within_the_width() {
    for width in [50, 80, 120, 160] {
        for attributes in [false, true] {
            let text = draw(&trace(), width, attributes);
            let longest = text.lines().skip(3).map(|line| line.width()).max().unwrap();
            assert!(longest <= width, "{longest} at {width}\n{text}");
        }
    }
}

#[test]
fn attributes_come_on_request() {
    assert!(!draw(&trace(), 80, false).contains("db.system"));
    let text = draw(&trace(), 80, true);
    assert!(text.contains("db.system = redis"), "{text}");
    assert!(text.contains("resource.service.name = storefront"), "{text}");
}

#[test]
fn extreme_times_do_no_harm() {
    let mut broken = span(1, 0, "backwards", 10, 5);
    broken.end_unix_nanos = 1;
    let forever =
        Span { start_unix_nanos: 0, end_unix_nanos: u64::MAX, ..span(2, 1, "forever", 0, 0) };
    let trace = Trace {
        id: TraceId::default(),
        resource_spans: vec![of_service("a", vec![broken, forever])],
    };
    let text = draw(&trace, 80, false);
    assert!(text.lines().skip(3).all(|line| line.width() <= 80), "{text}");
    assert!(draw(&Trace::default(), 80, false).contains("<no root span>"));
}

#[test]
fn texts_wrap_at_spaces_where_they_can() {
    assert_eq!(wrap("aaa bbb ccc", 8), ["aaa bbb", "ccc"]);
    assert_eq!(wrap("aaaaaaaaaa", 4), ["aaaa", "aaaa", "aa"]);
    assert_eq!(wrap("日本語", 3), ["日", "本", "語"]);
    assert_eq!(wrap("", 3), [""]);
}
