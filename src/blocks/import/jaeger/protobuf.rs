//! Jaeger's `PostSpansRequest` (`collector.proto`, `model.proto` of `jaeger.api_v2`), from its field
//! numbers.

use prost::Message;

use super::super::gather::Gathered;
use super::super::weigh::{Shape, decoded_bytes, elements};
use super::{Log as SentLog, Reference, SPAN_ID_BYTES, Sent, add, resource};
use crate::error::{Error, Result};
use crate::model::{AttributeValue, KeyValue as Attribute};

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    operation_name: String,
    #[prost(message, repeated, tag = "4")]
    references: Vec<SpanRef>,
    #[prost(message, optional, tag = "6")]
    start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    duration: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "9")]
    logs: Vec<Log>,
    #[prost(message, optional, tag = "10")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(int32, tag = "3")]
    ref_type: i32,
}

/// `google.protobuf.Timestamp` and `Duration`, which look the same.
#[derive(Clone, Copy, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(int32, tag = "2")]
    v_type: i32,
    #[prost(string, tag = "3")]
    v_str: String,
    #[prost(bool, tag = "4")]
    v_bool: bool,
    #[prost(int64, tag = "5")]
    v_int64: i64,
    #[prost(double, tag = "6")]
    v_float64: f64,
    #[prost(bytes = "vec", tag = "7")]
    v_binary: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Log {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(message, repeated, tag = "2")]
    tags: Vec<KeyValue>,
}

const TAG_BYTES: usize = size_of::<KeyValue>() + size_of::<Attribute>();
static TAGS: Shape = Shape(&[(2, TAG_BYTES, &Shape(&[]))]);
static SPAN: Shape = Shape(&[
    (4, size_of::<SpanRef>() + size_of::<Reference>(), &Shape(&[])),
    (8, TAG_BYTES, &Shape(&[])),
    (9, size_of::<Log>() + size_of::<SentLog>(), &TAGS),
    (10, 0, &TAGS),
]);

/// Numbers of fields: of a request and of a batch.
const BATCH: u32 = 1;
const SPANS: u32 = 1;
const PROCESS: u32 = 2;

/// Reads a request, span by span.
pub(super) fn read(request: &[u8], name: &str, to: &mut Gathered) -> Result<()> {
    let corrupt = |found: String| {
        Error::corrupt(name, None, "Jaeger spans as a protobuf message PostSpansRequest", found)
    };
    // A field that comes again adds to what was there before, so one batch is all of them.
    let mut sender = Process::default();
    let of_batches = |field: u32, batch: &[u8]| match field {
        BATCH => elements(
            batch,
            |field, bytes| {
                if field == PROCESS {
                    to.budget.take(decoded_bytes(&TAGS, bytes))?;
                    sender.merge(bytes).map_err(|error| corrupt(error.to_string()))?;
                }
                Ok(())
            },
            corrupt,
        ),
        _ => Ok(()),
    };
    elements(request, of_batches, corrupt)?;
    let sender = sender.into_resource();
    let of_batches = |field: u32, batch: &[u8]| match field {
        BATCH => elements(
            batch,
            |field, bytes| {
                if field != SPANS {
                    return Ok(());
                }
                let weight = decoded_bytes(&SPAN, bytes);
                to.budget.take(weight)?;
                let mut span = Span::decode(bytes).map_err(|error| corrupt(error.to_string()))?;
                let own = span.process.take().map(Process::into_resource);
                add(span.into_sent().map_err(corrupt)?, own.as_deref().unwrap_or(&sender), to)?;
                to.budget.give_back(weight);
                Ok(())
            },
            corrupt,
        ),
        _ => Ok(()),
    };
    elements(request, of_batches, corrupt)
}

impl Process {
    fn into_resource(self) -> Vec<Attribute> {
        resource(self.service_name, attributes(self.tags))
    }
}

impl Span {
    fn into_sent(self) -> std::result::Result<Sent, String> {
        let reference = |from: SpanRef| {
            Ok::<_, String>(Reference {
                trace_id: trace_id(&from.trace_id)?,
                span_id: span_id(&from.span_id)?,
                follows: from.ref_type == 1,
            })
        };
        let log = |from: Log| SentLog {
            time_unix_nanos: nanos(from.timestamp),
            fields: attributes(from.fields),
        };
        Ok(Sent {
            trace_id: trace_id(&self.trace_id)?,
            span_id: span_id(&self.span_id)?,
            parent_id: [0; SPAN_ID_BYTES],
            name: self.operation_name,
            start_unix_nanos: nanos(self.start_time),
            duration_nanos: nanos(self.duration),
            references: self.references.into_iter().map(reference).collect::<Result<_, _>>()?,
            tags: attributes(self.tags),
            logs: self.logs.into_iter().map(log).collect(),
        })
    }
}

fn attributes(tags: Vec<KeyValue>) -> Vec<Attribute> {
    let attribute = |tag: KeyValue| {
        let value = match tag.v_type {
            0 => AttributeValue::String(tag.v_str),
            1 => AttributeValue::Bool(tag.v_bool),
            2 => AttributeValue::Int(tag.v_int64),
            3 => AttributeValue::Double(tag.v_float64),
            4 => AttributeValue::Bytes(tag.v_binary),
            _ => AttributeValue::Unset,
        };
        Attribute { key: tag.key, value }
    };
    tags.into_iter().map(attribute).collect()
}

/// Ids of 64 bits are padded.
fn trace_id(bytes: &[u8]) -> std::result::Result<[u8; 16], String> {
    let mut id = [0; 16];
    match bytes.len() {
        16 => id.copy_from_slice(bytes),
        8 => id[8..].copy_from_slice(bytes),
        n => return Err(format!("a trace id of {n} bytes, not 8 or 16")),
    }
    Ok(id)
}

fn span_id(bytes: &[u8]) -> std::result::Result<[u8; SPAN_ID_BYTES], String> {
    bytes.try_into().map_err(|_| format!("a span id of {} bytes, not 8", bytes.len()))
}

/// Nanoseconds, of which there are none below zero.
fn nanos(time: Option<Time>) -> u64 {
    let Time { seconds, nanos } = time.unwrap_or_default();
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanos = u64::try_from(nanos).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
