//! Traces in the forms of the OpenTelemetry protocol: protobuf, the protocol's own JSON, and the
//! JSON of Tempo's API, read and written; and files of them. Knows nothing of blocks.
//!
//! Reading is lenient where the producers in the field differ (ids in hex or base64, numbers as
//! numbers or strings, enumerations by name or number, `batches` or `resourceSpans`) and strict
//! about everything else. Nesting of attribute values is bounded by the two parsers (100 protobuf
//! messages, 128 JSON levels), decompression by [`MAX_DECOMPRESSED_BYTES`].

mod encode;
mod group;
mod protobuf;
mod read_json;
#[cfg(test)]
mod tests;
pub(crate) mod weigh;
mod write_json;

use std::io::Read as _;

use bytes::{Buf as _, Bytes};

use crate::error::{Error, Result};
use crate::model::Trace;

pub use encode::to_protobuf;
pub use protobuf::{decode_attribute_value, decode_links, to_messages};
pub use read_json::attribute_value_from_json;
pub use write_json::{
    AttributeValueJson, Dialect, TraceJson, attribute_value_to_json, to_otlp_json,
    to_tempo_json_v1, to_tempo_json_v2,
};

/// How many bytes a compressed file may expand to. Files are decoded in memory; this keeps a small
/// file from claiming all of it.
pub const MAX_DECOMPRESSED_BYTES: u64 = 2 << 30;

/// What the bytes of an OTLP file look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document or several, one after the other (`.json`, `.jsonl`).
    Json,
    /// One bare `TracesData` or `ExportTraceServiceRequest` message.
    Protobuf,
    /// Such messages, each after its length as four big-endian bytes.
    ProtobufRecords,
}

/// Decodes a whole OTLP file, compressed with gzip or not, and gathers its spans by trace; traces
/// come in order of their ids, spans in the order of the file. Spans that occur twice are kept
/// twice: see [`Trace::remove_duplicate_spans`].
///
/// `name_hint` is the file's name, if it has one: errors name it, and its extension decides the
/// format. Without a telling extension the format is [recognised](recognise).
///
/// # Errors
///
/// Where the bytes are not what they should be, with the place.
pub fn decode(bytes: Bytes, name_hint: Option<&str>) -> Result<Vec<Trace>> {
    decode_within(bytes, name_hint, u64::MAX)
}

/// Decodes as [`decode`] does, in so many bytes of memory, about, the given ones included. What the
/// traces take is told from the bytes before they are decoded: no file, however small or crafted,
/// takes much more on the way to the error.
///
/// # Errors
///
/// As [`decode`]; [`Error::Memory`] or [`Error::OverLimit`] naming the file.
pub fn decode_within(
    bytes: Bytes,
    name_hint: Option<&str>,
    limit_bytes: u64,
) -> Result<Vec<Trace>> {
    let name = name_hint.unwrap_or("input");
    let bytes = if bytes.starts_with(&GZIP_MAGIC) {
        let left = limit_bytes.saturating_sub(bytes.len() as u64);
        decompress_within(&bytes, name, left.min(MAX_DECOMPRESSED_BYTES))?
    } else {
        bytes
    };
    let format = match format_of_name(name) {
        Some(Extension::Json) => Format::Json,
        Some(Extension::Protobuf) => recognise_protobuf(&bytes, name)?,
        None => recognise(&bytes, name)?,
    };
    let mut budget = weigh::Budget::new(name, limit_bytes);
    budget.take(bytes.len() as u64)?;
    let mut traces = group::TracesById::within(budget);
    match format {
        Format::Json => read_json::read_documents(&bytes, name, &mut traces)?,
        Format::Protobuf => protobuf::read_message(bytes, name, 0, &mut traces)?,
        Format::ProtobufRecords => read_records(bytes, name, &mut traces)?,
    }
    Ok(traces.finish())
}

/// Decodes one protobuf message: the body of an export request, or a `TracesData`.
///
/// # Errors
///
/// Where the bytes are no such message.
pub fn decode_protobuf(bytes: Bytes, name: &str) -> Result<Vec<Trace>> {
    let mut traces = group::TracesById::default();
    protobuf::read_message(bytes, name, 0, &mut traces)?;
    Ok(traces.finish())
}

/// Decodes what was received as [`decode_protobuf`] does, in so many bytes of memory, about, the
/// given ones included.
///
/// # Errors
///
/// As [`decode_protobuf`]; ids of traces that are shorter or longer; [`Error::Memory`].
pub fn decode_protobuf_within(bytes: Bytes, name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut traces = received(name, bytes.len(), limit_bytes)?;
    protobuf::read_message(bytes, name, 0, &mut traces)?;
    Ok(traces.finish())
}

/// Decodes what was received as [`decode_json`] does, in so many bytes of memory, about, the given
/// ones included.
///
/// # Errors
///
/// As [`decode_json`]; ids of traces that are shorter or longer; [`Error::Memory`].
pub fn decode_json_within(text: &[u8], name: &str, limit_bytes: u64) -> Result<Vec<Trace>> {
    let mut traces = received(name, text.len(), limit_bytes)?;
    read_json::read_documents(text, name, &mut traces)?;
    Ok(traces.finish())
}

/// The traces of a request, which may take so much memory, its own bytes included.
fn received(name: &str, input_bytes: usize, limit_bytes: u64) -> Result<group::TracesById> {
    let mut budget = weigh::Budget::new(name, limit_bytes);
    budget.take(input_bytes as u64)?;
    let mut traces = group::TracesById::within(budget);
    traces.is_received = true;
    Ok(traces)
}

/// Decodes JSON: the body of an export request, an answer of Tempo's trace API, or several such
/// documents in a row.
///
/// # Errors
///
/// Where the text is no such document, with line and column.
pub fn decode_json(text: &[u8], name: &str) -> Result<Vec<Trace>> {
    let mut traces = group::TracesById::default();
    read_json::read_documents(text, name, &mut traces)?;
    Ok(traces.finish())
}

/// Tells the format of uncompressed bytes by their beginning and structure. Empty input passes as a
/// protobuf message without spans.
///
/// # Errors
///
/// Where the bytes are none of the formats.
pub fn recognise(bytes: &[u8], name: &str) -> Result<Format> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        // The tag of `resource_spans` is a line feed, and its length may be a bracket.
        Some(b'{' | b'[') if !is_bare_message(bytes) || begins_with_json(text) => Ok(Format::Json),
        _ => recognise_protobuf(bytes, name),
    }
}

fn begins_with_json(text: &[u8]) -> bool {
    let mut documents = serde_json::Deserializer::from_slice(text).into_iter();
    matches!(documents.next(), Some(Ok(serde::de::IgnoredAny)))
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

enum Extension {
    Json,
    Protobuf,
}

fn format_of_name(name: &str) -> Option<Extension> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "json" | "jsonl" | "ndjson" => Some(Extension::Json),
        "pb" | "binpb" => Some(Extension::Protobuf),
        _ => None,
    }
}

/// A bare message is a run of whole fields, records a run of whole records. Neither can pass for
/// the other: a bare message begins with the tag of `resource_spans`, which as a length would mean
/// more than 160 MB, and a shorter record begins with a tag that does not exist.
fn recognise_protobuf(bytes: &[u8], name: &str) -> Result<Format> {
    if is_bare_message(bytes) {
        return Ok(Format::Protobuf);
    }
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(tail) = tail.get(length..) else { break };
        rest = tail;
    }
    if rest.is_empty() {
        return Ok(Format::ProtobufRecords);
    }
    let shown = &bytes[..bytes.len().min(8)];
    Err(Error::corrupt(
        name,
        None,
        "OTLP traces as JSON, as one protobuf message, or as protobuf records with a 4-byte length",
        format!("{} bytes beginning with {shown:02x?}", bytes.len()),
    ))
}

/// Whether the bytes are whole protobuf fields with number 1 and a length, the only ones that the
/// outermost message has.
fn is_bare_message(mut bytes: &[u8]) -> bool {
    while bytes.has_remaining() {
        let whole = prost::encoding::decode_key(&mut bytes).is_ok_and(|(number, wire)| {
            number == 1 && wire == prost::encoding::WireType::LengthDelimited
        });
        let length = if whole { prost::encoding::decode_varint(&mut bytes).ok() } else { None };
        match length.and_then(|n| bytes.get(usize::try_from(n).ok()?..)) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    true
}

fn read_records(mut bytes: Bytes, name: &str, to: &mut group::TracesById) -> Result<()> {
    let total = bytes.len();
    while bytes.has_remaining() {
        let offset = (total - bytes.len()) as u64;
        let length = bytes.try_get_u32().unwrap_or(u32::MAX);
        if bytes.len() < length as usize {
            return Err(Error::corrupt(
                name,
                Some(offset..total as u64),
                format!("a record of {length} bytes"),
                format!("{} bytes to the end", bytes.len()),
            ));
        }
        protobuf::read_message(bytes.split_to(length as usize), name, offset + 4, to)?;
    }
    Ok(())
}

fn decompress_within(bytes: &[u8], name: &str, limit_bytes: u64) -> Result<Bytes> {
    let mut expanded = Vec::new();
    // Compressed files are often joined ones, and a member ends without a sign of the next.
    flate2::read::MultiGzDecoder::new(bytes)
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut expanded)
        .map_err(|e| Error::corrupt(name, None, "gzip data", e.to_string()))?;
    if expanded.len() as u64 > limit_bytes {
        return Err(Error::OverLimit { what: format!("decompressing {name}"), limit_bytes });
    }
    Ok(expanded.into())
}
