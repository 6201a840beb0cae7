//! Recorded answers of metrics queries over the web shop, and how an answer is held against one: free
//! of order; of `compare()` only what the reference determines. It must not know who gave the answer.

use serde_json::{Map, Value as Json, json};
use traceql_engine::metrics::{Label, LabelValue};

use super::evaluate::metrics::When;
use super::golden;
use super::series::Shown;

/// The range that was recorded: the shop's hour and five minutes more, unix nanoseconds.
const START: u64 = 1_767_225_600_000_000_000;
const END: u64 = 1_767_229_500_000_000_000;

/// The step of recorded ranges, nanoseconds.
const STEP: u64 = 300_000_000_000;

/// One recorded metrics query.
#[derive(Debug)]
pub(crate) struct Question {
    /// The query.
    pub(crate) query: String,
    /// Range or instant.
    pub(crate) when: When,
    /// The series.
    pub(crate) expected: Vec<Json>,
}

/// Every recorded metrics query.
pub(crate) fn questions() -> Vec<Question> {
    let range = When::Range { start: START, end: END, step: Some(STEP) };
    let instant = When::Instant { start: START, end: END };
    golden::questions()
        .into_iter()
        .filter_map(|(question, mut answer)| {
            let (kind, query) = question.split_once(" :: ")?;
            let when = match kind.split_once('/')?.0 {
                "range" => range,
                "instant" => instant,
                _ => return None,
            };
            let Some(Json::Array(expected)) = answer.get_mut("expect").map(Json::take) else {
                panic!("{question}: all metrics queries were answered");
            };
            Some(Question { query: query.to_owned(), when, expected })
        })
        .collect()
}

/// The first difference between what was recorded and an answer, or nothing.
pub(crate) fn difference(question: &Question, answer: &[Shown]) -> Option<String> {
    let given: Vec<Json> = answer.iter().map(|series| series_json(series, question.when)).collect();
    let expected = canonical(&question.query, question.expected.clone());
    let given = canonical(&question.query, given);
    let n_series = |series: &Json| series.as_array().map_or(0, Vec::len);
    golden::first_difference("", &expected, &given).map(|difference| {
        let (expected, given) = (n_series(&expected), n_series(&given));
        format!("{expected} series expected, {given} given; {difference}")
    })
}

/// A series in the shape of the recording.
fn series_json(series: &Shown, when: When) -> Json {
    let labels: Vec<Json> = series.labels.iter().map(label_json).collect();
    let samples = series.samples.iter();
    match when {
        When::Range { .. } => {
            let samples: Vec<Json> = samples
                .map(|(time, sample)| json!([(time / 1_000_000).to_string(), sample]))
                .collect();
            json!({ "labels": labels, "samples": samples })
        }
        When::Instant { .. } => {
            let samples: Vec<f64> = samples.map(|(_, sample)| *sample).collect();
            let [sample] = samples.as_slice() else { panic!("one sample an instant series") };
            json!({ "labels": labels, "value": sample })
        }
    }
}

/// Name and typed value.
fn label_json(label: &Label) -> Json {
    let value = match &label.value {
        LabelValue::String(text) => json!({ "stringValue": text }),
        LabelValue::Int(number) => json!({ "intValue": number.to_string() }),
        LabelValue::Float(number) => json!({ "doubleValue": number }),
        LabelValue::Bool(truth) => json!({ "boolValue": truth }),
    };
    json!([label.name, value])
}

/// Series and labels sorted, whole doubles written alike, and `compare()` cut to what is determined.
fn canonical(query: &str, series: Vec<Json>) -> Json {
    let mut series: Vec<Json> = series.into_iter().map(with_sorted_labels).collect();
    if query.contains("compare(") {
        series = determined(query, series);
    }
    let mut series: Vec<(String, Json)> =
        series.into_iter().map(|series| (series["labels"].to_string(), series)).collect();
    series.sort_by(|(left, _), (right, _)| left.cmp(right));
    Json::Array(series.into_iter().map(|(_, series)| series).collect())
}

/// A series whose labels stand in the order of their texts.
fn with_sorted_labels(mut series: Json) -> Json {
    let Json::Array(mut labels) = series["labels"].take() else { panic!("a series has labels") };
    for value in labels.iter_mut().filter_map(|label| label[1].get_mut("doubleValue")) {
        if let Some(number) = value.as_f64() {
            *value = json!(number);
        }
    }
    series["labels"] = golden::sorted(labels);
    series
}

/// What the reference determines of `compare()`. Out go absent values, lists, attributes that the
/// outer filter mentions, which it counts more than once, and attributes with so many values that ties
/// decide which of them are shown.
fn determined(query: &str, series: Vec<Json>) -> Vec<Json> {
    let outer = query.split("compare(").next().unwrap_or_default();
    let mut by_attribute: Map<String, Json> = Map::new();
    for series in series {
        let labels = series["labels"].as_array().expect("labels");
        let (group, others): (Vec<&Json>, Vec<&Json>) =
            labels.iter().partition(|label| label[0] == "__meta_type");
        let is_left_out = others.iter().any(|label| {
            let name = label[0].as_str().expect("a name");
            let name_alone = name.split_once('.').map_or(name, |(_, name)| name);
            let value = label[1]["stringValue"].as_str().unwrap_or_default();
            value == "nil"
                || value.starts_with('[')
                || label[1].get("arrayValue").is_some()
                || outer.contains(name)
                || outer.contains(name_alone)
                || name == "__meta_error"
        });
        if !is_left_out {
            let names: Vec<&Json> = others.iter().map(|label| &label[0]).collect();
            let key = json!([group, names]).to_string();
            let of_attribute = by_attribute.entry(key).or_insert_with(|| json!([]));
            of_attribute.as_array_mut().expect("a list").push(series);
        }
    }
    let lists = by_attribute.into_iter().filter_map(|(_, series)| series.as_array().cloned());
    lists.filter(|series| series.len() < 3).flatten().collect()
}
