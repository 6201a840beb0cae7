//! Records: what the log says has happened, as protobuf messages within a frame.

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::bucket::tenant::TenantId;
use crate::model::TraceId;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Spans were received.
    Spans {
        /// Whose.
        tenant: TenantId,
        /// By trace.
        parts: Vec<Part>,
    },
    /// All spans of these traces that were received before are about to become a block. Those that
    /// come later belong to another one.
    Flush {
        /// Whose.
        tenant: TenantId,
        /// The block's id: it exists if its `meta.json` does.
        block_id: Uuid,
        /// The traces.
        traces: Vec<TraceId>,
    },
    /// The block exists.
    Flushed {
        /// Its id.
        block_id: Uuid,
    },
}

/// Spans of one trace as one request brought them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The trace.
    pub trace_id: TraceId,
    /// An OTLP `TracesData` message with spans of this trace alone.
    pub spans: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BatchMessage {
    #[prost(message, repeated, tag = "1")]
    records: Vec<RecordMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordMessage {
    #[prost(oneof = "Kind", tags = "1, 2, 3")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Spans(SpansMessage),
    #[prost(message, tag = "2")]
    Flush(FlushMessage),
    #[prost(bytes = "bytes", tag = "3")]
    Flushed(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
struct SpansMessage {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(message, repeated, tag = "2")]
    parts: Vec<PartMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartMessage {
    #[prost(bytes = "bytes", tag = "1")]
    trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    spans: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FlushMessage {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "bytes", tag = "2")]
    block_id: Bytes,
    /// 16 bytes each.
    #[prost(bytes = "bytes", tag = "3")]
    traces: Bytes,
}

/// A batch as bytes.
#[must_use]
pub fn encode(records: &[Record]) -> Vec<u8> {
    encode_behind(records, 0)
}

/// A batch as bytes, behind so many zeros: room for what stands before it.
pub(super) fn encode_behind(records: &[Record], n_zeros: usize) -> Vec<u8> {
    let id = |bytes: &[u8; 16]| Bytes::copy_from_slice(bytes);
    let record = |record: &Record| {
        let kind = match record {
            Record::Spans { tenant, parts } => Kind::Spans(SpansMessage {
                tenant: tenant.to_string(),
                parts: parts
                    .iter()
                    .map(|part| PartMessage {
                        trace_id: id(&part.trace_id.0),
                        spans: part.spans.clone(),
                    })
                    .collect(),
            }),
            Record::Flush { tenant, block_id, traces } => Kind::Flush(FlushMessage {
                tenant: tenant.to_string(),
                block_id: id(block_id.as_bytes()),
                traces: traces.iter().flat_map(|id| id.0).collect::<Vec<u8>>().into(),
            }),
            Record::Flushed { block_id } => Kind::Flushed(id(block_id.as_bytes())),
        };
        RecordMessage { kind: Some(kind) }
    };
    let batch = BatchMessage { records: records.iter().map(record).collect() };
    let mut bytes = Vec::with_capacity(n_zeros + batch.encoded_len());
    bytes.resize(n_zeros, 0);
    batch.encode(&mut bytes).expect("a vector has room for whatever is written to it");
    bytes
}

/// A batch from bytes, which it shares.
///
/// # Errors
/// What is wrong with them. Bytes whose checksum was right are wrong only if another version wrote
/// them.
pub fn decode(bytes: Bytes) -> Result<Vec<Record>, String> {
    let batch = BatchMessage::decode(bytes).map_err(|error| error.to_string())?;
    batch.records.into_iter().map(record_from).collect()
}

fn record_from(message: RecordMessage) -> Result<Record, String> {
    let id = |bytes: &[u8]| -> Result<[u8; 16], String> {
        bytes.try_into().map_err(|_| format!("an id of {} bytes", bytes.len()))
    };
    let tenant = |name: &str| TenantId::parse(name).map_err(|error| error.to_string());
    match message.kind {
        Some(Kind::Spans(SpansMessage { tenant: name, parts })) => {
            let part = |part: PartMessage| {
                Ok(Part { trace_id: TraceId(id(&part.trace_id)?), spans: part.spans })
            };
            let parts = parts.into_iter().map(part).collect::<Result<_, String>>()?;
            Ok(Record::Spans { tenant: tenant(&name)?, parts })
        }
        Some(Kind::Flush(FlushMessage { tenant: name, block_id, traces })) => {
            let (ids, rest) = traces.as_chunks::<16>();
            if !rest.is_empty() {
                return Err(format!("a list of ids of {} bytes", traces.len()));
            }
            Ok(Record::Flush {
                tenant: tenant(&name)?,
                block_id: Uuid::from_bytes(id(&block_id)?),
                traces: ids.iter().map(|id| TraceId(*id)).collect(),
            })
        }
        Some(Kind::Flushed(block_id)) => {
            Ok(Record::Flushed { block_id: Uuid::from_bytes(id(&block_id)?) })
        }
        None => Err("a record of an unknown kind".to_owned()),
    }
}
