//! Generated traces of every odd kind: what is read back is what the rules say, by both readers, and
//! the verifier finds nothing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::expected::stored;
use super::*;
use crate::bucket::meta::DedicatedColumn;
use crate::model::trace::SERVICE_NAME;
use crate::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, TraceId,
};

/// Keys of attributes: some have columns of their own, all occur often.
const KEYS: [&str; 10] = [
    "",
    "a",
    "service.name",
    "k8s.pod.name",
    "cluster",
    "http.method",
    "http.status_code",
    "text",
    "number",
    "blob",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["", "x", "y", "\0", "\u{1F600}"]).prop_map(str::to_owned),
        2 => "\\PC{0,12}",
        1 => "[ab]{300,400}",
    ]
}

fn values() -> impl Strategy<Value = AttributeValue> {
    use AttributeValue::{Array, Bool, Bytes, Double, Int, KeyValues, String as Text, Unset};
    let scalar = prop_oneof![
        texts().prop_map(Text),
        any::<i64>().prop_map(Int),
        (-3_i64..3).prop_map(Int),
        // A NaN would not equal itself.
        prop::num::f64::NORMAL.prop_map(Double),
        prop::sample::select(vec![0.0, f64::INFINITY, f64::NEG_INFINITY]).prop_map(Double),
        any::<bool>().prop_map(Bool),
        vec(any::<u8>(), 0..5).prop_map(Bytes),
        Just(Unset),
    ];
    let nested = scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Array),
            vec(("[ab]?", inner), 0..3).prop_map(|pairs| {
                let pairs = pairs.into_iter().map(|(key, value)| KeyValue { key, value });
                KeyValues(pairs.collect())
            }),
        ]
    });
    prop_oneof![
        4 => nested,
        1 => vec(texts(), 0..4).prop_map(|texts| Array(texts.into_iter().map(Text).collect())),
        1 => vec(any::<i64>(), 0..4).prop_map(|ints| Array(ints.into_iter().map(Int).collect())),
        1 => vec(any::<bool>(), 0..4).prop_map(|bools| Array(bools.into_iter().map(Bool).collect())),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = || {
        let key = prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
        (key, values()).prop_map(|(key, value)| KeyValue { key, value })
    };
    prop_oneof![2 => vec(attribute(), 0..3), 1 => vec(attribute(), 0..8)]
}

/// Few, so that spans share ids, are their own parents, and go round in circles.
fn ids() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (1..6_u8).prop_map(|id| vec![0, 0, 0, 0, 0, 0, 0, id]),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..12),
    ]
}

/// Often nothing at all, and the ends of the range.
fn numbers() -> impl Strategy<Value = u64> {
    const NOW: u64 = 1_750_000_000_000_000_000;
    prop_oneof![2 => Just(0), 4 => NOW..NOW + 7_200_000_000_000, 1 => any::<u64>()]
}

fn counts() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => any::<u32>()]
}

fn events() -> impl Strategy<Value = Event> {
    (numbers(), texts(), attributes(), counts()).prop_map(|(time, name, attributes, dropped)| {
        Event { time_unix_nanos: time, name, attributes, dropped_attributes_count: dropped }
    })
}

fn links() -> impl Strategy<Value = Link> {
    (vec(any::<u8>(), 0..20), ids(), texts(), attributes(), counts()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count: dropped,
        },
    )
}

fn spans() -> impl Strategy<Value = Span> {
    let names = (ids(), ids(), texts(), texts(), texts());
    let numbers = (0..8_i32, numbers(), numbers(), 0..3_i32);
    let lists = (attributes(), vec(events(), 0..3), vec(links(), 0..2));
    (names, numbers, lists, (counts(), counts(), counts())).prop_map(
        |(
            (span_id, parent_span_id, name, trace_state, status_message),
            (kind, start_unix_nanos, end_unix_nanos, status_code),
            (attributes, events, links),
            (dropped_attributes_count, dropped_events_count, dropped_links_count),
        )| Span {
            span_id,
            parent_span_id,
            trace_state,
            name,
            kind,
            start_unix_nanos,
            end_unix_nanos,
            status_code,
            status_message,
            attributes,
            dropped_attributes_count,
            events,
            dropped_events_count,
            links,
            dropped_links_count,
        },
    )
}

fn scopes() -> impl Strategy<Value = ScopeSpans> {
    (texts(), texts(), attributes(), counts(), vec(spans(), 0..5)).prop_map(
        |(name, version, attributes, dropped_attributes_count, spans)| ScopeSpans {
            scope: InstrumentationScope { name, version, attributes, dropped_attributes_count },
            spans,
        },
    )
}

fn resources() -> impl Strategy<Value = ResourceSpans> {
    (attributes(), counts(), vec(scopes(), 0..3)).prop_map(
        |(attributes, dropped_attributes_count, scope_spans)| ResourceSpans {
            resource: Resource { attributes, dropped_attributes_count },
            scope_spans,
        },
    )
}

/// Traces in order of their ids.
pub(super) fn traces() -> impl Strategy<Value = Vec<Trace>> {
    let id = prop_oneof![any::<u128>(), 0..50_u128];
    prop::collection::btree_map(id, vec(resources(), 0..3), 1..6).prop_map(|traces| {
        let trace = |(id, resource_spans): (u128, _)| Trace {
            id: TraceId(id.to_be_bytes()),
            resource_spans,
        };
        traces.into_iter().map(trace).collect()
    })
}

pub(super) fn settings() -> impl Strategy<Value = BlockSettings> {
    let own = ["span.text", "span.number:int", "span.blob:blob", "event.text", "event.number:int"];
    let own = own.map(|column| column.parse::<DedicatedColumn>().unwrap());
    let in_v4: Vec<_> = own[..1].to_vec();
    let dedicated = prop_oneof![
        Just((FormatVersion::VParquet5, own.to_vec())),
        Just((FormatVersion::VParquet4, in_v4)),
        Just((FormatVersion::VParquet5, default_dedicated_columns(FormatVersion::VParquet5))),
        Just((FormatVersion::VParquet5, Vec::new())),
    ];
    let row_group_bytes = prop_oneof![1..4_000_u64, Just(u64::MAX)];
    (dedicated, row_group_bytes, 8..200_u32, any::<bool>()).prop_map(
        |((version, dedicated_columns), row_group_bytes, shard_bytes, is_transient)| {
            BlockSettings {
                version,
                dedicated_columns,
                row_group_bytes,
                bloom: BloomSettings { false_positive_rate: 0.01, shard_bytes },
                compaction_level: 0,
                is_transient,
            }
        },
    )
}

fn has_a_repeated_service_name(trace: &Trace) -> bool {
    trace.resource_spans.iter().any(|resource_spans| {
        let keys = resource_spans.resource.attributes.iter().map(|attribute| &attribute.key);
        keys.filter(|key| *key == SERVICE_NAME).count() > 1
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_traces_come_back(traces in traces(), settings in settings()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let block = write(&traces, settings.clone()).await;
            let found = read_twice(&block).await;
            assert_eq!(found.len(), traces.len());
            for (found, sent) in found.iter().zip(&traces) {
                assert_eq!(*found, stored(sent, &settings));
            }
            // Nobody else reads a transient block, so it need not be as the format has it. And of several
            // service names that a root's resource was sent with, the format keeps one, so that a
            // reader cannot tell which of them the trace has.
            if !settings.is_transient && !traces.iter().any(has_a_repeated_service_name) {
                verify(&block).await;
            }
        });
    }
}

/// A page is ended by the value that fills it, however large; and a dictionary never gives up.
#[tokio::test]
async fn huge_attributes_come_back() {
    let text = |n: usize, seed: usize| -> String {
        (0..n).map(|i| char::from(b'a' + u8::try_from((i * seed + i / 7) % 26).unwrap())).collect()
    };
    let attributes = |seed: usize| {
        let value = |n| AttributeValue::String(text(n, seed));
        let deep = AttributeValue::Array(vec![AttributeValue::Int(1), value(300_000)]);
        vec![
            KeyValue { key: "generic".into(), value: value(700_000) },
            KeyValue { key: "text".into(), value: value(600_000) },
            KeyValue { key: "blob".into(), value: value(500_000) },
            KeyValue { key: "deep".into(), value: deep },
        ]
    };
    let traces: Vec<Trace> = (1..=6_u8)
        .map(|id| {
            let span = Span { attributes: attributes(id.into()), ..Span::default() };
            let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
            let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
            Trace { id: TraceId::from_bytes(&[id]), resource_spans }
        })
        .collect();
    for version in FORMATS {
        let mut settings = BlockSettings::new(version);
        settings.dedicated_columns = vec!["span.text".parse().unwrap()];
        if version == FormatVersion::VParquet5 {
            settings.dedicated_columns.push("span.blob:blob".parse().unwrap());
        }
        let block = write(&traces, settings.clone()).await;
        verify(&block).await;
        for (found, sent) in read_twice(&block).await.iter().zip(&traces) {
            assert!(*found == stored(sent, &settings));
        }
    }
}

/// Protobuf nests deeper than JSON is parsed; such a value comes back as its JSON, the others as
/// they were.
#[tokio::test]
async fn deeply_nested_values_cost_no_trace() {
    let nested = |depth: usize| {
        (0..depth).fold(AttributeValue::String("]}\\\"".into()), |inner, _| {
            AttributeValue::Array(vec![inner, AttributeValue::Int(1)])
        })
    };
    for (depth, survives) in [(1, true), (40, true), (60, false), (100, false)] {
        let value = nested(depth);
        let attributes = vec![KeyValue { key: "deep".into(), value: value.clone() }];
        let span = Span { attributes, ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let traces = [Trace { id: TraceId::from_bytes(&[1]), resource_spans }];
        let block = write(&traces, BlockSettings::default()).await;
        let found = read_twice(&block).await;
        let found = &found[0].spans().next().unwrap().span.attributes[0].value;
        let json = crate::write::otlp::attribute_value_to_json(&value);
        let expect = if survives { value } else { AttributeValue::String(json) };
        assert!(*found == expect, "at depth {depth}");
    }
}
