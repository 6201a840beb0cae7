//! The worked metrics cases of `testdata/language/metrics_examples.json`, each with its spans as traces
//! (`metrics.md` section 11). It must not know who answers them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use traceql_blocks::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans,
    Span, Trace, TraceId,
};
use traceql_engine::metrics::{Label, LabelValue};

use super::evaluate::metrics::When;
use super::golden;
use super::series::Shown;

/// A question over a few spans.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) id: String,
    /// The query.
    pub(crate) query: String,
    /// What it is asked over.
    pub(crate) when: When,
    /// Edges of the axis, unix nanoseconds; not told where the query is refused.
    pub(crate) aligned: Option<(i128, i128)>,
    /// The spans. Whatever block a span was recorded in, its trace is whole here.
    pub(crate) traces: Vec<Trace>,
    /// The recorded series in order, their times in whole milliseconds; nothing if the query is
    /// refused.
    pub(crate) expected: Option<Vec<Shown>>,
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let path = golden::testdata("language/metrics_examples.json");
    let text = std::fs::read_to_string(path).expect("the cases can be read");
    let recorded: Vec<RecordedCase> = serde_json::from_str(&text).expect("and are JSON");
    recorded.into_iter().map(RecordedCase::into_case).collect()
}

/// Series as they are recorded: a list of labels and samples.
pub(crate) fn series(text: &str) -> Vec<Shown> {
    let recorded: Vec<RecordedSeries> = serde_json::from_str(text).expect("recorded series");
    recorded.into_iter().map(RecordedSeries::into_shown).collect()
}

/// An answer with its times cut to whole milliseconds, as it would leave a server (1.5).
pub(crate) fn in_milliseconds(series: Vec<Shown>) -> Vec<Shown> {
    let cut = |(time, sample): (i128, f64)| (time - time % 1_000_000, sample);
    series
        .into_iter()
        .map(|Shown { labels, samples }| Shown {
            labels,
            samples: samples.into_iter().map(cut).collect(),
        })
        .collect()
}

/// A case in the file.
#[derive(Debug, Deserialize)]
struct RecordedCase {
    id: String,
    query: String,
    start_ns: u64,
    end_ns: u64,
    step_ns: u64,
    instant: bool,
    aligned_start_ns: Option<u64>,
    aligned_end_ns: Option<u64>,
    spans: Vec<RecordedSpan>,
    expected_series: Vec<RecordedSeries>,
    #[serde(default)]
    expected_error: bool,
}

/// A series in the file.
#[derive(Debug, Deserialize)]
struct RecordedSeries {
    labels: Map<String, Json>,
    samples: Vec<(i64, f64)>,
}

/// A span in the file.
#[derive(Debug, Deserialize)]
struct RecordedSpan {
    trace: Option<String>,
    id: Option<String>,
    parent: Option<String>,
    start_ns: u64,
    duration_ns: u64,
    name: String,
    status: String,
    #[serde(default)]
    status_message: String,
    kind: String,
    attrs: Map<String, Json>,
    resource_attrs: Map<String, Json>,
    #[serde(default)]
    events: Vec<RecordedEvent>,
    #[serde(default)]
    tracestate: String,
}

/// An event in the file.
#[derive(Debug, Deserialize)]
struct RecordedEvent {
    name: String,
    time_ns: u64,
    #[serde(default)]
    attrs: Map<String, Json>,
}

impl RecordedCase {
    fn into_case(self) -> Case {
        let (start, end) = (self.start_ns, self.end_ns);
        Case {
            id: self.id,
            query: self.query,
            when: if self.instant {
                When::Instant { start, end }
            } else {
                When::Range { start, end, step: Some(self.step_ns) }
            },
            aligned: self
                .aligned_start_ns
                .zip(self.aligned_end_ns)
                .map(|(start, end)| (i128::from(start), i128::from(end))),
            traces: traces(self.spans),
            expected: (!self.expected_error).then(|| {
                self.expected_series.into_iter().map(RecordedSeries::into_shown).collect()
            }),
        }
    }
}

impl RecordedSeries {
    fn into_shown(self) -> Shown {
        let label = |(name, value)| Label::new(name, label_value(&value));
        Shown {
            labels: self.labels.into_iter().map(label).collect(),
            samples: self
                .samples
                .into_iter()
                .map(|(millis, sample)| (i128::from(millis) * 1_000_000, sample))
                .collect(),
        }
    }
}

/// A label's value by the number rule of section 11.
fn label_value(value: &Json) -> LabelValue {
    match attribute_value(value) {
        AttributeValue::String(text) => LabelValue::String(text),
        AttributeValue::Int(number) => LabelValue::Int(number),
        AttributeValue::Double(number) => LabelValue::Float(number),
        AttributeValue::Bool(truth) => LabelValue::Bool(truth),
        other => panic!("{other:?} labels nothing"),
    }
}

/// Section 11: a number without point and exponent is an int, one with is a float.
fn attribute_value(value: &Json) -> AttributeValue {
    match value {
        Json::String(text) => AttributeValue::String(text.clone()),
        Json::Bool(truth) => AttributeValue::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(int) => AttributeValue::Int(int),
            None => AttributeValue::Double(number.as_f64().expect("a number")),
        },
        other => panic!("{other} is no attribute of a case"),
    }
}

fn attributes(attributes: &Map<String, Json>) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(key, value)| KeyValue { key: key.clone(), value: attribute_value(value) })
        .collect()
}

/// Spans gathered by trace, in the order of the file; one without a trace is a trace of its own. Every
/// span has a resource of its own and an empty instrumentation scope.
fn traces(spans: Vec<RecordedSpan>) -> Vec<Trace> {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut traces: Vec<Trace> = Vec::new();
    for (index, span) in spans.into_iter().enumerate() {
        let name = span.trace.clone().unwrap_or_else(|| format!("alone {index}"));
        let number = *numbers.entry(name).or_insert_with(|| {
            let number = u128::try_from(traces.len()).expect("few traces") + 1;
            traces.push(Trace { id: TraceId(number.to_be_bytes()), ..Trace::default() });
            traces.len() - 1
        });
        let resource_attributes = attributes(&span.resource_attrs);
        traces[number].resource_spans.push(ResourceSpans {
            resource: Resource { attributes: resource_attributes, ..Resource::default() },
            scope_spans: vec![ScopeSpans {
                scope: InstrumentationScope::default(),
                spans: vec![self::span(span, index)],
            }],
        });
    }
    traces
}

/// A span; without a name for its id, the id is its place in the file.
fn span(recorded: RecordedSpan, index: usize) -> Span {
    let id = |name: &str| {
        let mut bytes = [0; 8];
        assert!(name.len() < bytes.len(), "{name} is a short name");
        bytes[1..=name.len()].copy_from_slice(name.as_bytes());
        bytes.to_vec()
    };
    let event = |event: &RecordedEvent| Event {
        time_unix_nanos: event.time_ns,
        name: event.name.clone(),
        attributes: attributes(&event.attrs),
        ..Event::default()
    };
    Span {
        span_id: recorded.id.as_deref().map_or_else(|| id(&format!("#{index}")), id),
        parent_span_id: recorded.parent.as_deref().map(id).unwrap_or_default(),
        trace_state: recorded.tracestate,
        name: recorded.name,
        kind: position(
            &["unspecified", "internal", "server", "client", "producer", "consumer"],
            &recorded.kind,
        ),
        start_unix_nanos: recorded.start_ns,
        end_unix_nanos: recorded.start_ns + recorded.duration_ns,
        status_code: position(&["unset", "ok", "error"], &recorded.status),
        status_message: recorded.status_message,
        attributes: attributes(&recorded.attrs),
        events: recorded.events.iter().map(event).collect(),
        ..Span::default()
    }
}

/// The OTLP number of a word (`traceql.md` 5.9).
fn position(words: &[&str], word: &str) -> i32 {
    let position = words.iter().position(|candidate| *candidate == word);
    i32::try_from(position.unwrap_or_else(|| panic!("{word}"))).expect("few words")
}
