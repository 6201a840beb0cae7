//! Recorded answers and how an answer is held against one: free of order, floats to 1e-9, names of
//! spans left out. It must not know who gave the answer.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use traceql_engine::search::{ResultAttribute, SpansetResult, TraceResult, Value};

use super::evaluate::duration_text;

/// The file of a path below `testdata/`.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder of the test data") {
        let from = entry.expect("it can be listed").path();
        let to = to.join(from.file_name().expect("an entry has a name"));
        match from.is_dir() {
            true => copy_folder(&from, &to),
            false => drop(std::fs::copy(from, to).expect("a file can be copied")),
        }
    }
}

/// One recorded search.
#[derive(Debug)]
pub(crate) struct Question {
    /// The query.
    pub(crate) query: String,
    /// What the answer is, by trace id; nothing if the reference refuses the query, and then it may
    /// be refused or answered.
    pub(crate) expected: Option<Map<String, Json>>,
}

/// Every recorded question over the shop (`testdata/README.md`): its kind and text, and the answer.
pub(crate) fn questions() -> Map<String, Json> {
    let file = std::fs::File::open(testdata("golden/shop.json.zst")).expect("golden answers");
    let decoder = zstd::Decoder::new(file).expect("golden answers are zstd");
    serde_json::from_reader(decoder).expect("and JSON")
}

/// Every recorded search.
pub(crate) fn searches() -> Vec<Question> {
    questions()
        .into_iter()
        .filter_map(|(question, mut answer)| {
            let (_, query) = question.strip_prefix("search/")?.split_once(" :: ")?;
            let expected = match answer.get_mut("expect").map(Json::take) {
                Some(Json::Object(traces)) => Some(traces),
                _ => None,
            };
            Some(Question { query: query.to_owned(), expected })
        })
        .collect()
}

/// The first difference between an answer and what is expected, or nothing.
pub(crate) fn difference(expected: &Map<String, Json>, answer: &[TraceResult]) -> Option<String> {
    let given = answer_json(answer);
    if given.len() != answer.len() {
        return Some("a trace is listed twice".to_owned());
    }
    shape_difference(expected, given)
}

/// The same for an answer that is in the shape of the recording already.
pub(crate) fn shape_difference(
    expected: &Map<String, Json>,
    given: Map<String, Json>,
) -> Option<String> {
    first_difference(
        "",
        &canonical(Json::Object(expected.clone())),
        &canonical(Json::Object(given)),
    )
}

/// An answer in the shape of the recording, by trace id.
pub(crate) fn answer_json(answer: &[TraceResult]) -> Map<String, Json> {
    answer.iter().map(|trace| (trace.trace_id.to_string(), trace_json(trace))).collect()
}

/// 8.3 in the shape of the recording.
fn trace_json(trace: &TraceResult) -> Json {
    let service = match trace.root_service_name.as_str() {
        "" => "<root span not yet received>",
        name => name,
    };
    let name = match trace.root_trace_name.as_str() {
        "" => Json::Null,
        name => json!(name),
    };
    let stats: Map<String, Json> = trace
        .service_stats
        .iter()
        .map(|(service, stats)| (service.clone(), json!([stats.span_count, stats.error_count])))
        .collect();
    json!({
        "rootServiceName": service,
        "rootTraceName": name,
        "startTimeUnixNano": trace.start_unix_nanos.to_string(),
        "durationMs": trace.duration_nanos / 1_000_000,
        "serviceStats": stats,
        "spanSets": trace.spansets.iter().map(spanset_json).collect::<Vec<_>>(),
    })
}

/// 8.4 in the shape of the recording.
fn spanset_json(spanset: &SpansetResult) -> Json {
    let spans: Vec<Json> = spanset
        .spans
        .iter()
        .map(|span| {
            let id: String = span.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
            json!([
                format!("{id:0>16}"),
                null,
                span.start_unix_nanos.to_string(),
                span.duration_nanos.to_string(),
                span.attributes.iter().map(attribute_json).collect::<Vec<_>>(),
            ])
        })
        .collect();
    json!({
        "matched": spanset.matched,
        "attributes": spanset.attributes.iter().map(attribute_json).collect::<Vec<_>>(),
        "spans": spans,
    })
}

/// Key and value.
fn attribute_json(attribute: &ResultAttribute) -> Json {
    json!([attribute.key, value_json(&attribute.value)])
}

/// 8.4, value encoding.
pub(crate) fn value_json(value: &Value) -> Json {
    match value {
        Value::Nil => json!({ "stringValue": "nil" }),
        Value::Int(number) => json!({ "intValue": number.to_string() }),
        Value::Float(number) if number.is_finite() => json!({ "doubleValue": number }),
        Value::Float(number) => json!({ "doubleValue": number.to_string() }),
        Value::Duration(nanos) => json!({ "stringValue": duration_text(*nanos) }),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Status(status) => json!({ "stringValue": status.to_string() }),
        Value::Kind(kind) => json!({ "stringValue": kind.to_string() }),
        Value::Array(elements) => json!({
            "arrayValue": { "values": elements.iter().map(value_json).collect::<Vec<_>>() }
        }),
    }
}

/// Sorts every list but those of array values, whose order counts, and the pairs and quintuples.
fn canonical(value: Json) -> Json {
    match value {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .map(|(key, member)| match (key.as_str(), member) {
                    ("spanSets" | "spans" | "attributes", Json::Array(elements)) => {
                        (key, sorted(elements.into_iter().map(canonical).collect()))
                    }
                    (_, member) => (key, canonical(member)),
                })
                .collect(),
        ),
        // A span: identity, no name, start, duration, attributes.
        Json::Array(mut span) if span.len() == 5 => {
            span[1] = Json::Null;
            if let Json::Array(attributes) = span[4].take() {
                span[4] = sorted(attributes);
            }
            Json::Array(span)
        }
        other => other,
    }
}

/// A list in the order of its elements' texts.
pub(crate) fn sorted(mut elements: Vec<Json>) -> Json {
    elements.sort_by_cached_key(Json::to_string);
    Json::Array(elements)
}

/// Where two values first differ; numbers may differ by 1e-9 of their size.
pub(crate) fn first_difference(at: &str, expected: &Json, given: &Json) -> Option<String> {
    match (expected, given) {
        (Json::Object(expected), Json::Object(given)) => {
            let missing = expected.keys().find(|key| !given.contains_key(*key));
            if let Some(key) = missing {
                return Some(format!("{at}/{key} is missing: {}", shortened(&expected[key])));
            }
            let extra = given.keys().find(|key| !expected.contains_key(*key));
            if let Some(key) = extra {
                return Some(format!("{at}/{key} should not be there: {}", shortened(&given[key])));
            }
            expected.iter().find_map(|(key, value)| {
                first_difference(&format!("{at}/{key}"), value, &given[key])
            })
        }
        (Json::Array(expected), Json::Array(given)) if expected.len() == given.len() => expected
            .iter()
            .zip(given)
            .enumerate()
            .find_map(|(i, (e, g))| first_difference(&format!("{at}[{i}]"), e, g)),
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let close = (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
            (!close).then(|| format!("{at}: expected {a}, got {b}"))
        }
        (expected, given) if expected == given => None,
        (expected, given) => {
            Some(format!("{at}: expected {}, got {}", shortened(expected), shortened(given)))
        }
    }
}

/// Enough of a value to know it by.
fn shortened(value: &Json) -> String {
    value.to_string().chars().take(400).collect()
}
