//! Zipkin's `ListOfSpans` (`zipkin.proto`), from its field numbers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use prost::Message;

use super::super::gather::Gathered;
use super::super::weigh::{Shape, decoded_bytes, elements};
use super::{add, json};
use crate::error::{Error, Result};

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(int32, tag = "4")]
    kind: i32,
    #[prost(string, tag = "5")]
    name: String,
    /// Microseconds, as everywhere.
    #[prost(fixed64, tag = "6")]
    timestamp: u64,
    #[prost(uint64, tag = "7")]
    duration: u64,
    #[prost(message, optional, tag = "8")]
    local_endpoint: Option<Endpoint>,
    #[prost(message, optional, tag = "9")]
    remote_endpoint: Option<Endpoint>,
    #[prost(message, repeated, tag = "10")]
    annotations: Vec<Annotation>,
    #[prost(btree_map = "string, string", tag = "11")]
    tags: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(bytes = "vec", tag = "2")]
    ipv4: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    ipv6: Vec<u8>,
    #[prost(int32, tag = "4")]
    port: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Annotation {
    #[prost(fixed64, tag = "1")]
    timestamp: u64,
    #[prost(string, tag = "2")]
    value: String,
}

static SPAN: Shape = Shape(&[
    (10, size_of::<Annotation>() + size_of::<json::Annotation>(), &Shape(&[])),
    (11, 2 * size_of::<(String, String)>(), &Shape(&[])),
]);

/// Names of kinds by number; 0 is none.
const KINDS: [&str; 5] = ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"];

/// Reads the list, span by span.
pub(super) fn read(message: &[u8], name: &str, to: &mut Gathered) -> Result<()> {
    let corrupt = |found: String| {
        Error::corrupt(name, None, "Zipkin spans as a protobuf message ListOfSpans", found)
    };
    let take = |number: u32, field: &[u8]| {
        if number != 1 {
            return Ok(());
        }
        let weight = decoded_bytes(&SPAN, field);
        to.budget.take(weight)?;
        let span = Span::decode(field).map_err(|error| corrupt(error.to_string()))?;
        add(span.into_json().map_err(corrupt)?, name, to)?;
        to.budget.give_back(weight);
        Ok(())
    };
    elements(message, take, corrupt)
}

impl Span {
    fn into_json(self) -> std::result::Result<json::Span, String> {
        let kind = usize::try_from(self.kind).ok().and_then(|kind| KINDS.get(kind));
        let endpoint = |endpoint: Option<Endpoint>| endpoint.map(Endpoint::into_json).transpose();
        let annotation =
            |a: Annotation| json::Annotation { timestamp: a.timestamp, value: a.value };
        Ok(json::Span {
            trace_id: hex(&self.trace_id),
            id: hex(&self.id),
            parent_id: Some(hex(&self.parent_id)),
            kind: kind.map(|&kind| kind.to_owned()),
            name: Some(self.name),
            timestamp: Some(self.timestamp),
            duration: Some(self.duration),
            local_endpoint: endpoint(self.local_endpoint)?,
            remote_endpoint: endpoint(self.remote_endpoint)?,
            annotations: Some(self.annotations.into_iter().map(annotation).collect()),
            tags: Some(self.tags),
        })
    }
}

impl Endpoint {
    fn into_json(self) -> std::result::Result<json::Endpoint, String> {
        let wrong = |bytes: &[u8]| format!("an IP address of {} bytes", bytes.len());
        let ipv4 = match self.ipv4.as_slice() {
            [] => None,
            bytes => {
                let bytes: [u8; 4] = bytes.try_into().map_err(|_| wrong(bytes))?;
                Some(Ipv4Addr::from(bytes).to_string())
            }
        };
        let ipv6 = match self.ipv6.as_slice() {
            [] => None,
            bytes => {
                let bytes: [u8; 16] = bytes.try_into().map_err(|_| wrong(bytes))?;
                Some(Ipv6Addr::from(bytes).to_string())
            }
        };
        let port = Some(i64::from(self.port));
        Ok(json::Endpoint { service_name: Some(self.service_name), ipv4, ipv6, port })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
