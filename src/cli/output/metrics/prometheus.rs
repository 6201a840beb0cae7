//! The two forms of Prometheus: its text exposition format with a timestamp a sample, and the JSON
//! of its HTTP API, a matrix or a vector.
//!
//! Names are made valid, which loses little: characters other than letters, digits and `_` become
//! `_`, a digit in front gets one before it, and the `__` that Prometheus keeps for itself is taken
//! off. Two labels whose names become the same are told apart by `_2`; two series whose labels become
//! the same, because their values differ in type alone, by a label `type`.
//! The metric is named after the first-stage function; math, which has none, is `traceql`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use traceql_engine::metrics::{LabelValue, Series, TimeAxis};
use traceql_language::ir::MetricsExpr;

use super::MetricsOutput;
use super::names::{NAME, label_names};

/// The name of a metric that was computed from others.
const MATH: &str = "traceql";

/// Writes `name{label="value"} 1 1700000000000`, a line a sample.
pub(super) fn write_text(out: &mut dyn Write, output: &MetricsOutput<'_>) -> io::Result<()> {
    let answer = output.answer;
    if answer.series.is_empty() {
        return Ok(());
    }
    let metric = metric_name(output.expr);
    writeln!(out, "# TYPE {metric} gauge")?;
    for (series, labels) in answer.series.iter().zip(labels(&answer.series)) {
        let mut name = metric.to_owned();
        for (n, (label, value)) in labels.iter().enumerate() {
            let before = if n == 0 { '{' } else { ',' };
            write!(name, "{before}{label}=\"{}\"", escaped(value)).expect("strings take all");
        }
        if !labels.is_empty() {
            name.push('}');
        }
        for (interval, value) in series.samples.present() {
            let millis = millis(&answer.axis, interval);
            writeln!(out, "{name} {} {millis}", value_text(value))?;
        }
    }
    Ok(())
}

/// Writes the response of `/api/v1/query_range` or `/api/v1/query`.
pub(super) fn write_json(out: &mut dyn Write, output: &MetricsOutput<'_>) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        status: &'static str,
        data: Data<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        warnings: Option<[&'a str; 1]>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        result_type: &'static str,
        result: Vec<Element<'a>>,
    }
    let series = &output.answer.series;
    let metric = metric_name(output.expr);
    let elements = series.iter().zip(labels(series)).map(|(series, labels)| Element {
        metric,
        labels,
        series,
        axis: &output.answer.axis,
        is_instant: output.is_instant,
    });
    let body = Body {
        status: "success",
        data: Data {
            result_type: if output.is_instant { "vector" } else { "matrix" },
            result: elements.collect(),
        },
        warnings: output.partial.map(|why| [why]),
    };
    serde_json::to_writer(&mut *out, &body)?;
    writeln!(out)
}

/// A series in JSON.
struct Element<'a> {
    metric: &'a str,
    labels: Labels,
    series: &'a Series,
    axis: &'a TimeAxis,
    is_instant: bool,
}

/// Names and values, in order.
type Labels = Vec<(String, String)>;

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("metric", &Metric(self))?;
        if self.is_instant {
            object.serialize_entry("value", &Point(self.axis, 0, self.series.samples.get(0)))?;
        } else {
            object.serialize_entry("values", &Points(self))?;
        }
        object.end()
    }
}

struct Metric<'a>(&'a Element<'a>);

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let labels = self.0.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        serializer.collect_map([(NAME, self.0.metric)].into_iter().chain(labels))
    }
}

struct Points<'a>(&'a Element<'a>);

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points = self.0.series.samples.present();
        serializer.collect_seq(points.map(|(interval, value)| Point(self.0.axis, interval, value)))
    }
}

struct Point<'a>(&'a TimeAxis, usize, f64);

impl Serialize for Point<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(axis, interval, value) = self;
        let mut pair = serializer.serialize_seq(Some(2))?;
        let millis = millis(axis, *interval);
        if millis.is_multiple_of(1000) {
            pair.serialize_element(&(millis / 1000))?;
        } else {
            #[expect(
                clippy::cast_precision_loss,
                reason = "milliseconds fit until the year 287396"
            )]
            pair.serialize_element(&(millis as f64 / 1e3))?;
        }
        pair.serialize_element(&value_text(*value))?;
        pair.end()
    }
}

fn millis(axis: &TimeAxis, interval: usize) -> u64 {
    axis.timestamp_unix_nanos(interval) / 1_000_000
}

fn metric_name(expr: &MetricsExpr) -> &'static str {
    match expr {
        MetricsExpr::Query { function, .. } => function.name(),
        _ => MATH,
    }
}

/// The labels of each series. The metric's name is not among them.
fn labels(series: &[Series]) -> Vec<Labels> {
    let mut taken = BTreeSet::from(["type".to_owned()]);
    let mut valid: BTreeMap<&str, String> = BTreeMap::new();
    for name in label_names(series).into_iter().filter(|name| *name != NAME) {
        let wanted = valid_name(name);
        let numbered = (2..).map(|n| format!("{wanted}_{n}"));
        let free =
            std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken.contains(name));
        let name_here = free.unwrap_or(wanted);
        taken.insert(name_here.clone());
        valid.insert(name, name_here);
    }
    let mut seen = BTreeSet::new();
    series
        .iter()
        .map(|series| {
            let mut labels: Labels = Vec::new();
            for label in &series.labels {
                // A field that is grouped by twice is there twice, with one value.
                match valid.get(label.name.as_str()) {
                    Some(name) if labels.iter().all(|(there, _)| there != name) => {
                        labels.push((name.clone(), super::label_text(&label.value)));
                    }
                    _ => {}
                }
            }
            if !seen.insert(labels.clone()) {
                let types = series.labels.iter().map(|label| type_name(&label.value));
                labels.push(("type".to_owned(), types.collect::<Vec<_>>().join(",")));
            }
            labels
        })
        .collect()
}

fn type_name(value: &LabelValue) -> &'static str {
    match value {
        LabelValue::String(_) => "string",
        LabelValue::Int(_) => "int",
        LabelValue::Float(_) => "float",
        LabelValue::Bool(_) => "bool",
    }
}

fn valid_name(name: &str) -> String {
    let name = name.strip_prefix("__").unwrap_or(name);
    let valid = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let digit = name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty();
    let mut made: String = name.chars().map(valid).collect();
    if digit {
        made.insert(0, '_');
    }
    // What is left of a name that begins with two odd characters must not look reserved.
    while made.starts_with("__") {
        made.remove(0);
    }
    made
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn value_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    super::number_text(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_valid() {
        for (name, valid) in [
            ("resource.service.name", "resource_service_name"),
            ("span.\"a b\"", "span__a_b_"),
            ("trace:id", "trace_id"),
            (".x", "_x"),
            ("..x", "_x"),
            ("__bucket", "bucket"),
            ("__meta_type", "meta_type"),
            ("p", "p"),
            ("1st", "_1st"),
            ("日本", "_"),
            ("", "_"),
        ] {
            assert_eq!(valid_name(name), valid, "{name}");
        }
    }
}
