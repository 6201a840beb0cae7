//! Results between operators: one row per matching trace, and one row that ends each work unit, so
//! that whoever merges partitions knows which units are complete.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryBuilder, FixedSizeBinaryBuilder, Int64Builder,
    RecordBatch, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use prost::Message;
use traceql_blocks::model::TraceId;
use traceql_language::analyze::ir::{Kind, Status};

use super::{ResultAttribute, ServiceStats, SpanResult, SpansetResult, TraceResult, Value};
use crate::error::{Error, Result};

/// Columns: number of the unit; trace id, start and result of a trace, null in rows that end one.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("unit", DataType::UInt32, false),
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("start_unix_nanos", DataType::Int64, true),
        Field::new("result", DataType::Binary, true),
    ]))
});

pub(crate) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// A trace that was found, and its place among the others.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The unit it was found in.
    pub(crate) unit: u32,
    /// Its key, if the query orders traces: they stand in the order of these bytes.
    pub(crate) key: Vec<u8>,
    pub(crate) result: TraceResult,
}

/// Rows of traces; with `ended` the row that ends this unit.
pub(crate) fn encode(found: &[Found], ended: Option<u32>) -> Result<RecordBatch> {
    let n = found.len() + usize::from(ended.is_some());
    let mut units = UInt32Builder::with_capacity(n);
    let mut ids = FixedSizeBinaryBuilder::with_capacity(n, 16);
    let mut starts = Int64Builder::with_capacity(n);
    let mut payloads = BinaryBuilder::new();
    let internal = |error: arrow::error::ArrowError| Error::Internal(error.to_string());
    for Found { unit, key, result } in found {
        units.append_value(*unit);
        ids.append_value(result.trace_id.0).map_err(internal)?;
        starts.append_value(result.start_unix_nanos.cast_signed());
        let message = TraceMessage { key: key.clone(), ..TraceMessage::from(result) };
        payloads.append_value(message.encode_to_vec());
    }
    if let Some(unit) = ended {
        units.append_value(unit);
        ids.append_null();
        starts.append_null();
        payloads.append_null();
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(units.finish()),
        Arc::new(ids.finish()),
        Arc::new(starts.finish()),
        Arc::new(payloads.finish()),
    ];
    RecordBatch::try_new(schema(), columns).map_err(internal)
}

/// One row.
pub(crate) enum Row {
    Trace(Box<Found>),
    EndOfUnit,
}

/// The rows of a batch.
pub(crate) fn decode(batch: &RecordBatch) -> Result<Vec<Row>> {
    let bad = || Error::Internal("a batch of results has other columns".to_owned());
    let units = batch.column(0).as_primitive_opt::<UInt32Type>().ok_or_else(bad)?;
    let starts = batch.column(2).as_primitive_opt::<Int64Type>().ok_or_else(bad)?;
    let payloads = batch.column(3).as_binary_opt::<i32>().ok_or_else(bad)?;
    (0..batch.num_rows())
        .map(|row| {
            if starts.is_null(row) {
                return Ok(Row::EndOfUnit);
            }
            let mut message = TraceMessage::decode(payloads.value(row))
                .map_err(|error| Error::Internal(format!("a result row: {error}")))?;
            let key = std::mem::take(&mut message.key);
            Ok(Row::Trace(Box::new(Found { unit: units.value(row), key, result: message.into() })))
        })
        .collect()
}

#[derive(Clone, PartialEq, Message)]
struct TraceMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(string, tag = "2")]
    root_service_name: String,
    #[prost(string, tag = "3")]
    root_trace_name: String,
    #[prost(fixed64, tag = "4")]
    start_unix_nanos: u64,
    #[prost(uint64, tag = "5")]
    duration_nanos: u64,
    #[prost(message, repeated, tag = "6")]
    services: Vec<ServiceMessage>,
    #[prost(message, repeated, tag = "7")]
    spansets: Vec<SpansetMessage>,
    #[prost(bytes = "vec", tag = "8")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    span_count: u32,
    #[prost(uint32, tag = "3")]
    error_count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SpansetMessage {
    #[prost(uint32, tag = "1")]
    matched: u32,
    #[prost(message, repeated, tag = "2")]
    attributes: Vec<AttributeMessage>,
    #[prost(message, repeated, tag = "3")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    span_id: Vec<u8>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(fixed64, tag = "3")]
    start_unix_nanos: u64,
    #[prost(uint64, tag = "4")]
    duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<AttributeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, required, tag = "2")]
    value: ValueMessage,
}

#[derive(Clone, PartialEq, Message)]
struct ValueMessage {
    #[prost(oneof = "OneValue", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    value: Option<OneValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OneValue {
    #[prost(sint64, tag = "1")]
    Int(i64),
    #[prost(double, tag = "2")]
    Float(f64),
    #[prost(sint64, tag = "3")]
    Duration(i64),
    #[prost(string, tag = "4")]
    String(String),
    #[prost(bool, tag = "5")]
    Bool(bool),
    #[prost(int32, tag = "6")]
    Status(i32),
    #[prost(int32, tag = "7")]
    Kind(i32),
    #[prost(message, tag = "8")]
    Array(ArrayMessage),
}

#[derive(Clone, PartialEq, Message)]
struct ArrayMessage {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ValueMessage>,
}

impl From<&TraceResult> for TraceMessage {
    fn from(result: &TraceResult) -> Self {
        Self {
            trace_id: result.trace_id.0.to_vec(),
            root_service_name: result.root_service_name.clone(),
            root_trace_name: result.root_trace_name.clone(),
            start_unix_nanos: result.start_unix_nanos,
            duration_nanos: result.duration_nanos,
            services: result
                .service_stats
                .iter()
                .map(|(name, stats)| ServiceMessage {
                    name: name.clone(),
                    span_count: stats.span_count,
                    error_count: stats.error_count,
                })
                .collect(),
            spansets: result
                .spansets
                .iter()
                .map(|set| SpansetMessage {
                    matched: set.matched,
                    attributes: set.attributes.iter().map(Into::into).collect(),
                    spans: set
                        .spans
                        .iter()
                        .map(|span| SpanMessage {
                            span_id: span.span_id.clone(),
                            name: span.name.clone(),
                            start_unix_nanos: span.start_unix_nanos,
                            duration_nanos: span.duration_nanos,
                            attributes: span.attributes.iter().map(Into::into).collect(),
                        })
                        .collect(),
                })
                .collect(),
            key: Vec::new(),
        }
    }
}

impl From<TraceMessage> for TraceResult {
    fn from(message: TraceMessage) -> Self {
        Self {
            trace_id: TraceId::from_bytes(&message.trace_id),
            root_service_name: message.root_service_name,
            root_trace_name: message.root_trace_name,
            start_unix_nanos: message.start_unix_nanos,
            duration_nanos: message.duration_nanos,
            service_stats: message
                .services
                .into_iter()
                .map(|service| {
                    let ServiceMessage { name, span_count, error_count } = service;
                    (name, ServiceStats { span_count, error_count })
                })
                .collect(),
            spansets: message
                .spansets
                .into_iter()
                .map(|set| SpansetResult {
                    matched: set.matched,
                    attributes: set.attributes.into_iter().map(Into::into).collect(),
                    spans: set
                        .spans
                        .into_iter()
                        .map(|span| SpanResult {
                            span_id: span.span_id,
                            name: span.name,
                            start_unix_nanos: span.start_unix_nanos,
                            duration_nanos: span.duration_nanos,
                            attributes: span.attributes.into_iter().map(Into::into).collect(),
                        })
                        .collect(),
                })
                .collect(),
        }
    }
}

impl From<&ResultAttribute> for AttributeMessage {
    fn from(attribute: &ResultAttribute) -> Self {
        Self { key: attribute.key.clone(), value: (&attribute.value).into() }
    }
}

impl From<AttributeMessage> for ResultAttribute {
    fn from(message: AttributeMessage) -> Self {
        Self { key: message.key, value: message.value.into() }
    }
}

impl From<&Value> for ValueMessage {
    fn from(value: &Value) -> Self {
        Self {
            value: match value {
                Value::Nil => None,
                Value::Int(v) => Some(OneValue::Int(*v)),
                Value::Float(v) => Some(OneValue::Float(*v)),
                Value::Duration(v) => Some(OneValue::Duration(*v)),
                Value::String(v) => Some(OneValue::String(v.clone())),
                Value::Bool(v) => Some(OneValue::Bool(*v)),
                Value::Status(v) => Some(OneValue::Status(*v as i32)),
                Value::Kind(v) => Some(OneValue::Kind(*v as i32)),
                Value::Array(values) => Some(OneValue::Array(ArrayMessage {
                    values: values.iter().map(Into::into).collect(),
                })),
            },
        }
    }
}

impl From<ValueMessage> for Value {
    fn from(message: ValueMessage) -> Self {
        match message.value {
            None => Self::Nil,
            Some(OneValue::Int(v)) => Self::Int(v),
            Some(OneValue::Float(v)) => Self::Float(v),
            Some(OneValue::Duration(v)) => Self::Duration(v),
            Some(OneValue::String(v)) => Self::String(v),
            Some(OneValue::Bool(v)) => Self::Bool(v),
            Some(OneValue::Status(v)) => Self::Status(match v {
                1 => Status::Ok,
                2 => Status::Error,
                _ => Status::Unset,
            }),
            Some(OneValue::Kind(v)) => Self::Kind(match v {
                1 => Kind::Internal,
                2 => Kind::Server,
                3 => Kind::Client,
                4 => Kind::Producer,
                5 => Kind::Consumer,
                _ => Kind::Unspecified,
            }),
            Some(OneValue::Array(array)) => {
                Self::Array(array.values.into_iter().map(Into::into).collect())
            }
        }
    }
}
