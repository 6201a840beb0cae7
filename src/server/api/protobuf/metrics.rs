//! Answers of metrics queries as protobuf messages: what streams carry. Over HTTP these answers are
//! JSON whatever the client accepts, as Tempo's are.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message;
use traceql_engine::QueryStats;
use traceql_engine::metrics::{self, Label, LabelValue, MetricsAnswer, TimeAxis};

use super::{PartialStatus, SearchMetrics};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Answer of a metrics query over a range.
#[derive(Clone, PartialEq, Message)]
pub struct QueryRangeResponse {
    /// In the order of their labels.
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<TimeSeries>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<SearchMetrics>,
    /// Whether all series are there.
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub status: i32,
    /// Why some are not.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// One series over time.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// What tells it from the others.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<KeyValue>,
    /// A sample for each interval that has a value.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// By ascending time.
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<Exemplar>,
}

/// The value of one interval.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// The end of its interval, unix milliseconds.
    #[prost(int64, tag = "2")]
    pub timestamp_ms: i64,
}

/// A span that stands for a sample.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// Its trace, and what the query asked of it.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<KeyValue>,
    /// Its value, in the unit of the series.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Its start, unix milliseconds.
    #[prost(int64, tag = "3")]
    pub timestamp_ms: i64,
}

/// Answer of a metrics query for one value.
#[derive(Clone, PartialEq, Message)]
pub struct QueryInstantResponse {
    /// In the order of their labels.
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<InstantSeries>,
    /// What it cost.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<SearchMetrics>,
    /// Whether all series are there.
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub status: i32,
    /// Why some are not.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// One series with its only value.
#[derive(Clone, PartialEq, Message)]
pub struct InstantSeries {
    /// What tells it from the others.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<KeyValue>,
    /// The value.
    #[prost(double, tag = "2")]
    pub value: f64,
}

/// The answer over a range; `partial` says why it is not whole.
#[must_use]
pub fn query_range_response(
    answer: &MetricsAnswer,
    stats: &QueryStats,
    partial: Option<&str>,
) -> QueryRangeResponse {
    QueryRangeResponse {
        series: answer.series.iter().map(|series| over_range(&answer.axis, series)).collect(),
        metrics: Some(stats.into()),
        status: status(partial),
        message: partial.unwrap_or_default().to_owned(),
    }
}

/// The answer for one value; series without one are left out. `partial` says why it is not whole.
#[must_use]
pub fn query_instant_response(
    answer: &MetricsAnswer,
    stats: &QueryStats,
    partial: Option<&str>,
) -> QueryInstantResponse {
    let series = answer.series.iter().map(|series| InstantSeries {
        labels: series.labels.iter().map(key_value).collect(),
        value: series.samples.get(0),
    });
    QueryInstantResponse {
        series: series.filter(|series| !series.value.is_nan()).collect(),
        metrics: Some(stats.into()),
        status: status(partial),
        message: partial.unwrap_or_default().to_owned(),
    }
}

fn status(partial: Option<&str>) -> i32 {
    let status = if partial.is_some() { PartialStatus::Partial } else { PartialStatus::Complete };
    status.into()
}

fn over_range(axis: &TimeAxis, series: &metrics::Series) -> TimeSeries {
    TimeSeries {
        labels: series.labels.iter().map(key_value).collect(),
        samples: series
            .samples
            .present()
            .map(|(interval, value)| Sample {
                value,
                timestamp_ms: millis(axis.timestamp_unix_nanos(interval)),
            })
            .collect(),
        exemplars: series
            .exemplars
            .iter()
            .map(|exemplar| Exemplar {
                labels: exemplar.labels.iter().map(key_value).collect(),
                value: exemplar.value,
                timestamp_ms: millis(exemplar.timestamp_unix_nanos),
            })
            .collect(),
    }
}

/// Milliseconds of all 64-bit nanoseconds fit.
fn millis(unix_nanos: u64) -> i64 {
    (unix_nanos / NANOS_PER_MILLI).cast_signed()
}

fn key_value(label: &Label) -> KeyValue {
    use any_value::Value as Any;
    let value = match &label.value {
        LabelValue::String(text) => Any::StringValue(text.clone()),
        LabelValue::Int(value) => Any::IntValue(*value),
        LabelValue::Float(value) => Any::DoubleValue(*value),
        LabelValue::Bool(value) => Any::BoolValue(*value),
    };
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: label.name.clone(), value, ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use traceql_engine::metrics::Samples;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn answer(samples: &[f64]) -> MetricsAnswer {
        let start_unix_nanos = 1_699_999_185 * SECOND;
        let exemplar = metrics::Exemplar {
            labels: vec![Label::text("trace:id", "abc")],
            value: 2.5,
            timestamp_unix_nanos: 1_699_999_215 * SECOND + 999_999,
        };
        MetricsAnswer {
            axis: TimeAxis {
                start_unix_nanos,
                step_nanos: 15 * SECOND,
                n_intervals: samples.len(),
            },
            series: vec![metrics::Series {
                labels: vec![Label::new("p", LabelValue::Float(0.9))],
                samples: Samples::dense(samples.to_vec()),
                exemplars: vec![exemplar],
            }],
        }
    }

    #[test]
    fn a_range_has_the_samples_that_are_there() {
        let stats = QueryStats { inspected_spans: 5, ..QueryStats::default() };
        let response = query_range_response(&answer(&[0.0, f64::NAN, 1.5]), &stats, Some("cut"));
        let bytes = response.encode_to_vec();
        let back = QueryRangeResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(back, response);
        let samples: Vec<_> =
            back.series[0].samples.iter().map(|s| (s.timestamp_ms, s.value)).collect();
        assert_eq!(samples, [(1_699_999_200_000, 0.0), (1_699_999_230_000, 1.5)]);
        assert_eq!(back.series[0].exemplars[0].timestamp_ms, 1_699_999_215_000);
        assert_eq!((back.status, back.message.as_str()), (1, "cut"));
        assert_eq!(back.metrics.unwrap().inspected_spans, 5);
    }

    #[test]
    fn an_instant_without_a_value_is_left_out() {
        let stats = QueryStats::default();
        assert!(query_instant_response(&answer(&[f64::NAN]), &stats, None).series.is_empty());
        let one = query_instant_response(&answer(&[0.0]), &stats, None);
        assert_eq!((one.series.len(), one.series[0].value, one.status), (1, 0.0, 0));
    }
}
