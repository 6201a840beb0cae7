//! Bodies of metrics queries (`metrics.md` 6.3, 6.4): series with their samples, or one value each.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use traceql_engine::QueryStats;
use traceql_engine::metrics::{Exemplar, Label, LabelValue, MetricsAnswer, Series, TimeAxis};

use super::{As, List, SearchMetrics, to_text};
use crate::api::value::{Double, Text};

/// The body of `/api/metrics/query_range`. `partial` says why the answer is not whole.
#[must_use]
pub fn metrics_range_response(
    answer: &MetricsAnswer,
    stats: &QueryStats,
    partial: Option<&str>,
) -> String {
    let axis = &answer.axis;
    let series: Vec<_> = answer.series.iter().map(|series| OverRange { axis, series }).collect();
    to_text(&Body::new(Some(series), stats, partial))
}

/// The body of `/api/metrics/query`. Series without a value are left out, and so is an empty list of
/// them.
#[must_use]
pub fn metrics_instant_response(
    answer: &MetricsAnswer,
    stats: &QueryStats,
    partial: Option<&str>,
) -> String {
    let series: Vec<_> = answer.series.iter().filter_map(AtInstant::new).collect();
    to_text(&Body::new(Some(series).filter(|series| !series.is_empty()), stats, partial))
}

/// One element of the `series` of a range: a line of `-o ndjson`.
#[must_use]
pub fn metrics_range_series(axis: &TimeAxis, series: &Series) -> String {
    to_text(&OverRange { axis, series })
}

/// One element of the `series` of an instant; `None` if it has no value.
#[must_use]
pub fn metrics_instant_series(series: &Series) -> Option<String> {
    AtInstant::new(series).map(|series| to_text(&series))
}

#[derive(serde::Serialize)]
struct Body<'a, S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Vec<S>>,
    metrics: SearchMetrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a, S: Serialize> Body<'a, S> {
    fn new(series: Option<Vec<S>>, stats: &QueryStats, partial: Option<&'a str>) -> Self {
        Self {
            series,
            metrics: SearchMetrics::from(stats),
            status: partial.map(|_| "PARTIAL"),
            message: partial,
        }
    }
}

/// A series with a sample for each interval that has a value.
struct OverRange<'a> {
    axis: &'a TimeAxis,
    series: &'a Series,
}

impl Serialize for OverRange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { axis, series } = self;
        let mut object = serializer.serialize_map(None)?;
        if !series.labels.is_empty() {
            object.serialize_entry("labels", &List(&series.labels))?;
        }
        if !series.samples.all_absent() {
            object.serialize_entry("samples", &Samples { axis, series })?;
        }
        if !series.exemplars.is_empty() {
            object.serialize_entry("exemplars", &List(&series.exemplars))?;
        }
        object.end()
    }
}

struct Samples<'a> {
    axis: &'a TimeAxis,
    series: &'a Series,
}

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.series.samples.present().map(|(interval, value)| Sample {
            timestamp_millis: self.axis.timestamp_unix_nanos(interval) / NANOS_PER_MILLI,
            value,
        }))
    }
}

struct Sample {
    timestamp_millis: u64,
    value: f64,
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if self.timestamp_millis > 0 {
            object.serialize_entry("timestampMs", &Text(self.timestamp_millis))?;
        }
        if self.value != 0.0 {
            object.serialize_entry("value", &Double(self.value))?;
        }
        object.end()
    }
}

/// A series with its only value.
struct AtInstant<'a> {
    labels: &'a [Label],
    value: f64,
}

impl<'a> AtInstant<'a> {
    fn new(series: &'a Series) -> Option<Self> {
        let value = series.samples.get(0);
        (!value.is_nan()).then_some(Self { labels: &series.labels, value })
    }
}

impl Serialize for AtInstant<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if !self.labels.is_empty() {
            object.serialize_entry("labels", &List(self.labels))?;
        }
        if self.value != 0.0 {
            object.serialize_entry("value", &Double(self.value))?;
        }
        object.end()
    }
}

impl Serialize for As<'_, Exemplar> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Exemplar { labels, value, timestamp_unix_nanos } = self.0;
        let mut object = serializer.serialize_map(None)?;
        if !labels.is_empty() {
            object.serialize_entry("labels", &List(labels))?;
        }
        if *value != 0.0 {
            object.serialize_entry("value", &Double(*value))?;
        }
        let timestamp_millis = timestamp_unix_nanos / NANOS_PER_MILLI;
        if timestamp_millis > 0 {
            object.serialize_entry("timestampMs", &Text(timestamp_millis))?;
        }
        object.end()
    }
}

impl Serialize for As<'_, Label> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("key", &self.0.name)?;
        object.serialize_entry("value", &As(&self.0.value))?;
        object.end()
    }
}

impl Serialize for As<'_, LabelValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        match self.0 {
            LabelValue::String(text) => object.serialize_entry("stringValue", text)?,
            LabelValue::Int(value) => object.serialize_entry("intValue", &Text(value))?,
            LabelValue::Float(value) => object.serialize_entry("doubleValue", &Double(*value))?,
            LabelValue::Bool(value) => object.serialize_entry("boolValue", value)?,
        }
        object.end()
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
