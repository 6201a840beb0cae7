//! The two forms of a tenant index as they stand in their objects (`blocks.md` 1.4), for what reads
//! and what writes them. Compression is not theirs.

use prost::Message;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::meta::{RawMeta, Time};
use crate::{Error, Result};

/// The JSON form.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct JsonIndex {
    #[serde(default)]
    pub(super) created_at: Option<Time>,
    #[serde(default)]
    pub(super) meta: Option<Vec<RawMeta>>,
    #[serde(default)]
    pub(super) compacted: Option<Vec<JsonCompactedMeta>>,
}

/// A compacted block in the JSON form: a meta, and when the block was compacted.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct JsonCompactedMeta {
    #[serde(flatten)]
    pub(super) meta: RawMeta,
    #[serde(rename = "compactedTime", default, skip_serializing_if = "Option::is_none")]
    pub(super) compacted_time: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoIndex {
    #[prost(message, optional, tag = "1")]
    pub(super) created_at: Option<ProtoTime>,
    #[prost(message, repeated, tag = "2")]
    pub(super) meta: Vec<ProtoMeta>,
    #[prost(message, repeated, tag = "3")]
    pub(super) compacted: Vec<ProtoCompactedMeta>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoCompactedMeta {
    #[prost(message, optional, tag = "1")]
    pub(super) meta: Option<ProtoMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) compacted_time: Option<ProtoTime>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoMeta {
    #[prost(string, tag = "1")]
    pub(super) format: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) block_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) tenant: String,
    #[prost(message, optional, tag = "6")]
    pub(super) start_time: Option<ProtoTime>,
    #[prost(message, optional, tag = "7")]
    pub(super) end_time: Option<ProtoTime>,
    #[prost(int64, tag = "8")]
    pub(super) total_objects: i64,
    #[prost(uint64, tag = "9")]
    pub(super) size: u64,
    #[prost(uint32, tag = "10")]
    pub(super) compaction_level: u32,
    #[prost(uint32, tag = "12")]
    pub(super) index_page_size: u32,
    #[prost(uint32, tag = "13")]
    pub(super) total_records: u32,
    #[prost(uint32, tag = "15")]
    pub(super) bloom_shards: u32,
    #[prost(uint32, tag = "16")]
    pub(super) footer_size: u32,
    /// The JSON text of the array, as in `meta.json`.
    #[prost(bytes = "vec", tag = "17")]
    pub(super) dedicated_columns: Vec<u8>,
    #[prost(uint32, tag = "18")]
    pub(super) replication_factor: u32,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ProtoTime {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

pub(super) fn time(time: Option<ProtoTime>) -> Option<Time> {
    time.and_then(|t| Time::from_parts(t.seconds, t.nanos))
}

impl ProtoMeta {
    pub(super) fn into_raw(self, key: &str) -> Result<RawMeta> {
        let block_id = Uuid::from_slice(&self.block_id).map_err(|_| {
            let found = format!("{} bytes", self.block_id.len());
            Error::corrupt(key, None, "a block id of 16 bytes", found)
        })?;
        let dedicated_columns = match self.dedicated_columns.as_slice() {
            [] => None,
            json => serde_json::from_slice(json).map_err(|e| {
                let expected = format!("the JSON of dedicated columns of block {block_id}");
                Error::corrupt(key, None, expected, e.to_string())
            })?,
        };
        Ok(RawMeta {
            format: self.format,
            block_id,
            tenant: self.tenant,
            start_time: time(self.start_time),
            end_time: time(self.end_time),
            total_objects: self.total_objects,
            size: self.size,
            compaction_level: self.compaction_level,
            index_page_size: self.index_page_size,
            total_records: self.total_records,
            bloom_shards: self.bloom_shards,
            footer_size: self.footer_size,
            dedicated_columns,
            replication_factor: self.replication_factor,
        })
    }
}

impl From<&RawMeta> for ProtoMeta {
    fn from(meta: &RawMeta) -> Self {
        let columns = meta.dedicated_columns.as_ref();
        let dedicated_columns = columns.and_then(|columns| serde_json::to_vec(columns).ok());
        Self {
            format: meta.format.clone(),
            block_id: meta.block_id.as_bytes().to_vec(),
            tenant: meta.tenant.clone(),
            start_time: meta.start_time.map(ProtoTime::from),
            end_time: meta.end_time.map(ProtoTime::from),
            total_objects: meta.total_objects,
            size: meta.size,
            compaction_level: meta.compaction_level,
            index_page_size: meta.index_page_size,
            total_records: meta.total_records,
            bloom_shards: meta.bloom_shards,
            footer_size: meta.footer_size,
            dedicated_columns: dedicated_columns.unwrap_or_default(),
            replication_factor: meta.replication_factor,
        }
    }
}

impl From<Time> for ProtoTime {
    fn from(time: Time) -> Self {
        let (seconds, nanos) = time.parts();
        Self { seconds, nanos }
    }
}
