//! Partial results and finished series between operators: one row a series, encoded, so that they
//! cross a wire as they are.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use prost::Message;

use super::ranks::Ranks;
use super::{Exemplar, Label, LabelValue, Samples, Series};
use crate::error::{Error, Result};

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("series", DataType::Binary, false)])));

/// Rows of a batch.
const ROWS: usize = 4_096;

/// One column: a message per row.
pub(crate) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Messages as batches, each made when it is asked for.
pub(super) fn encode<M: Message>(
    rows: impl Iterator<Item = M>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let mut payloads = BinaryBuilder::new();
        rows.by_ref().take(ROWS).for_each(|row| payloads.append_value(row.encode_to_vec()));
        let columns: Vec<ArrayRef> = vec![Arc::new(payloads.finish())];
        let batch = RecordBatch::try_new(schema(), columns);
        Some(batch.map_err(|error| Error::Internal(error.to_string())))
    })
}

/// The messages of a batch.
pub(super) fn decode<M: Message + Default>(batch: &RecordBatch) -> Result<Vec<M>> {
    let payloads = batch
        .column(0)
        .as_binary_opt::<i32>()
        .ok_or_else(|| Error::Internal("a batch of series has other columns".to_owned()))?;
    (0..payloads.len())
        .map(|row| {
            M::decode(payloads.value(row))
                .map_err(|error| Error::Internal(format!("a row of a series: {error}")))
        })
        .collect()
}

/// What one partition observed of one series.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialMessage {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<LabelMessage>,
    /// One, or one per bucket.
    #[prost(message, repeated, tag = "2")]
    pub(super) cells: Vec<CellsMessage>,
    #[prost(message, repeated, tag = "3")]
    pub(super) exemplars: Vec<ExemplarMessage>,
}

impl CellsMessage {
    /// Those of some intervals; `None` if that are none.
    pub(super) fn of(self, is_wanted: impl Fn(u32) -> bool) -> Option<Self> {
        let wanted: Vec<bool> = self.intervals.iter().map(|at| is_wanted(*at)).collect();
        if !wanted.contains(&true) {
            return None;
        }
        if !wanted.contains(&false) {
            return Some(self);
        }
        fn kept<T>(of: Vec<T>, wanted: &[bool]) -> Vec<T> {
            of.into_iter().zip(wanted).filter_map(|(part, wanted)| wanted.then_some(part)).collect()
        }
        let Self { bucket, intervals, a, b, c, ranks } = self;
        Some(Self {
            bucket,
            intervals: kept(intervals, &wanted),
            a: kept(a, &wanted),
            b: kept(b, &wanted),
            c: kept(c, &wanted),
            ranks: kept(ranks, &wanted),
        })
    }
}

/// Accumulators by ascending interval, their parts in parallel lists.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CellsMessage {
    #[prost(sint32, optional, tag = "1")]
    pub(super) bucket: Option<i32>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) intervals: Vec<u32>,
    #[prost(double, repeated, tag = "3")]
    pub(super) a: Vec<f64>,
    #[prost(double, repeated, tag = "4")]
    pub(super) b: Vec<f64>,
    #[prost(double, repeated, tag = "5")]
    pub(super) c: Vec<f64>,
    #[prost(message, repeated, tag = "6")]
    pub(super) ranks: Vec<RanksMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RanksMessage {
    #[prost(double, repeated, tag = "1")]
    values: Vec<f64>,
    #[prost(sint32, repeated, tag = "2")]
    signs: Vec<i32>,
    #[prost(sint32, repeated, tag = "3")]
    numbers: Vec<i32>,
    #[prost(uint64, repeated, tag = "4")]
    counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(oneof = "OneValue", tags = "2, 3, 4, 5")]
    value: Option<OneValue>,
}

/// A label's value by itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueMessage {
    #[prost(oneof = "OneValue", tags = "2, 3, 4, 5")]
    value: Option<OneValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OneValue {
    #[prost(string, tag = "2")]
    String(String),
    #[prost(sint64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(bool, tag = "5")]
    Bool(bool),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExemplarMessage {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelMessage>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(fixed64, tag = "3")]
    timestamp_unix_nanos: u64,
}

/// A finished series.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesMessage {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelMessage>,
    #[prost(uint64, tag = "2")]
    n_intervals: u64,
    #[prost(double, tag = "3")]
    fill: f64,
    #[prost(uint32, repeated, tag = "4")]
    intervals: Vec<u32>,
    /// One per interval listed, or one per interval if none is.
    #[prost(double, repeated, tag = "5")]
    values: Vec<f64>,
    #[prost(message, repeated, tag = "6")]
    exemplars: Vec<ExemplarMessage>,
}

impl From<&Label> for LabelMessage {
    fn from(label: &Label) -> Self {
        Self { name: label.name.clone(), value: Some((&label.value).into()) }
    }
}

impl From<&LabelValue> for OneValue {
    fn from(value: &LabelValue) -> Self {
        match value {
            LabelValue::String(v) => Self::String(v.clone()),
            LabelValue::Int(v) => Self::Int(*v),
            LabelValue::Float(v) => Self::Float(*v),
            LabelValue::Bool(v) => Self::Bool(*v),
        }
    }
}

impl From<OneValue> for LabelValue {
    fn from(value: OneValue) -> Self {
        match value {
            OneValue::String(v) => Self::String(v),
            OneValue::Int(v) => Self::Int(v),
            OneValue::Float(v) => Self::Float(v),
            OneValue::Bool(v) => Self::Bool(v),
        }
    }
}

impl From<&LabelValue> for ValueMessage {
    fn from(value: &LabelValue) -> Self {
        Self { value: Some(value.into()) }
    }
}

impl From<ValueMessage> for LabelValue {
    fn from(message: ValueMessage) -> Self {
        message.value.map_or_else(|| Self::String(String::new()), Into::into)
    }
}

impl From<LabelMessage> for Label {
    fn from(message: LabelMessage) -> Self {
        Self { name: message.name, value: ValueMessage { value: message.value }.into() }
    }
}

impl From<&Exemplar> for ExemplarMessage {
    fn from(exemplar: &Exemplar) -> Self {
        Self {
            labels: exemplar.labels.iter().map(Into::into).collect(),
            value: exemplar.value,
            timestamp_unix_nanos: exemplar.timestamp_unix_nanos,
        }
    }
}

impl From<ExemplarMessage> for Exemplar {
    fn from(message: ExemplarMessage) -> Self {
        Self {
            labels: message.labels.into_iter().map(Into::into).collect(),
            value: message.value,
            timestamp_unix_nanos: message.timestamp_unix_nanos,
        }
    }
}

impl From<&Ranks> for RanksMessage {
    fn from(ranks: &Ranks) -> Self {
        Self {
            values: ranks.values.clone(),
            signs: ranks.sketch.keys().map(|(sign, _)| *sign).collect(),
            numbers: ranks.sketch.keys().map(|(_, number)| *number).collect(),
            counts: ranks.sketch.values().copied().collect(),
        }
    }
}

impl From<RanksMessage> for Ranks {
    fn from(message: RanksMessage) -> Self {
        let buckets = message.signs.into_iter().zip(message.numbers);
        Self { values: message.values, sketch: buckets.zip(message.counts).collect() }
    }
}

impl From<&Series> for SeriesMessage {
    fn from(series: &Series) -> Self {
        let (fill, intervals, values) = series.samples.parts();
        Self {
            labels: series.labels.iter().map(Into::into).collect(),
            n_intervals: series.samples.len() as u64,
            fill,
            intervals,
            values,
            exemplars: series.exemplars.iter().map(Into::into).collect(),
        }
    }
}

impl From<SeriesMessage> for Series {
    fn from(message: SeriesMessage) -> Self {
        let SeriesMessage { labels, n_intervals, fill, intervals, values, exemplars } = message;
        let n = usize::try_from(n_intervals).unwrap_or(usize::MAX);
        let samples = if intervals.is_empty() && !values.is_empty() {
            Samples::dense(values)
        } else {
            Samples::sparse(n, fill, intervals.into_iter().zip(values).collect())
        };
        Self {
            labels: labels.into_iter().map(Into::into).collect(),
            samples,
            exemplars: exemplars.into_iter().map(Into::into).collect(),
        }
    }
}
