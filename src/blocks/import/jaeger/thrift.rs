//! Jaeger's `Batch` (`jaeger.thrift`), from its field numbers. Fields that the definition requires have
//! to be there.

use super::super::gather::Gathered;
use super::super::micros;
use super::wire::{Kind, Reader};
use super::{Log, Reference, Sent, add, resource};
use crate::error::Result;
use crate::model::{AttributeValue, KeyValue};

/// Reads a batch.
pub(super) fn read(bytes: &[u8], name: &str, to: &mut Gathered) -> Result<()> {
    let mut reader = Reader::new(bytes, name);
    let (mut sender, mut spans) = (None, None);
    while let Some(field) = reader.field()? {
        match field {
            (Kind::Struct, 1) => sender = Some(process(&mut reader)?),
            (Kind::List, 2) => {
                // They need what sent them, which may come after them.
                spans = Some(reader.at());
                reader.skip(Kind::List)?;
            }
            (kind, _) => reader.skip(kind)?,
        }
    }
    if !reader.is_at_end() {
        return Err(reader.corrupt("its end", "more bytes"));
    }
    let (Some(sender), Some(spans)) = (sender, spans) else {
        return Err(reader.corrupt("a process and spans", "a batch without them"));
    };
    let mut reader = reader.from(spans);
    for _ in 0..reader.structs()? {
        let span = span(&mut reader)?;
        add(span, &sender, to)?;
    }
    Ok(())
}

fn process(reader: &mut Reader<'_>) -> Result<Vec<KeyValue>> {
    let (mut service_name, mut tags) = (None, Vec::new());
    while let Some(field) = reader.field()? {
        match field {
            (Kind::Binary, 1) => service_name = Some(reader.text()?),
            (Kind::List, 2) => tags = list(reader, tag)?,
            (kind, _) => reader.skip(kind)?,
        }
    }
    let service_name = needed(service_name, "a process with a name", reader)?;
    Ok(resource(service_name, tags))
}

fn span(reader: &mut Reader<'_>) -> Result<Sent> {
    let mut sent = Sent::default();
    let (mut low, mut high, mut id, mut start) = (None, None, None, None);
    while let Some(field) = reader.field()? {
        match field {
            (Kind::I64, 1) => low = Some(reader.i64()?),
            (Kind::I64, 2) => high = Some(reader.i64()?),
            (Kind::I64, 3) => id = Some(reader.i64()?),
            (Kind::I64, 4) => sent.parent_id = reader.i64()?.to_be_bytes(),
            (Kind::Binary, 5) => sent.name = reader.text()?,
            (Kind::List, 6) => sent.references = list(reader, reference)?,
            (Kind::I64, 8) => start = Some(reader.i64()?),
            (Kind::I64, 9) => sent.duration_nanos = nanos(reader.i64()?),
            (Kind::List, 10) => sent.tags = list(reader, tag)?,
            (Kind::List, 11) => sent.logs = list(reader, log)?,
            (kind, _) => reader.skip(kind)?,
        }
    }
    let low = needed(low, "a span with a trace id", reader)?;
    sent.trace_id = trace_id(high.unwrap_or_default(), low);
    sent.span_id = needed(id, "a span with an id", reader)?.to_be_bytes();
    sent.start_unix_nanos = nanos(needed(start, "a span with a start", reader)?);
    Ok(sent)
}

fn reference(reader: &mut Reader<'_>) -> Result<Reference> {
    let (mut kind, mut low, mut high, mut id) = (None, None, 0, None);
    while let Some(field) = reader.field()? {
        match field {
            (Kind::I32, 1) => kind = Some(reader.i32()?),
            (Kind::I64, 2) => low = Some(reader.i64()?),
            (Kind::I64, 3) => high = reader.i64()?,
            (Kind::I64, 4) => id = Some(reader.i64()?),
            (other, _) => reader.skip(other)?,
        }
    }
    Ok(Reference {
        trace_id: trace_id(high, needed(low, "a reference with a trace id", reader)?),
        span_id: needed(id, "a reference with a span id", reader)?.to_be_bytes(),
        follows: needed(kind, "a reference with a type", reader)? == 1,
    })
}

fn log(reader: &mut Reader<'_>) -> Result<Log> {
    let (mut time, mut fields) = (None, Vec::new());
    while let Some(field) = reader.field()? {
        match field {
            (Kind::I64, 1) => time = Some(reader.i64()?),
            (Kind::List, 2) => fields = list(reader, tag)?,
            (kind, _) => reader.skip(kind)?,
        }
    }
    let time_unix_nanos = nanos(needed(time, "a log with a time", reader)?);
    Ok(Log { time_unix_nanos, fields })
}

/// A tag says which of its values counts.
fn tag(reader: &mut Reader<'_>) -> Result<KeyValue> {
    let (mut key, mut kind) = (None, None);
    let mut values: [Option<AttributeValue>; 5] = Default::default();
    while let Some(field) = reader.field()? {
        match field {
            (Kind::Binary, 1) => key = Some(reader.text()?),
            (Kind::I32, 2) => kind = Some(reader.i32()?),
            (Kind::Binary, 3) => values[0] = Some(AttributeValue::String(reader.text()?)),
            (Kind::Double, 4) => values[1] = Some(AttributeValue::Double(reader.double()?)),
            (Kind::Bool, 5) => values[2] = Some(AttributeValue::Bool(reader.bool()?)),
            (Kind::I64, 6) => values[3] = Some(AttributeValue::Int(reader.i64()?)),
            (Kind::Binary, 7) => {
                values[4] = Some(AttributeValue::Bytes(reader.binary()?.to_vec()));
            }
            (other, _) => reader.skip(other)?,
        }
    }
    let key = needed(key, "a tag with a key", reader)?;
    let kind = needed(kind, "a tag with a type", reader)?;
    let value = usize::try_from(kind).ok().and_then(|kind| values.get_mut(kind));
    let Some(value) = value else {
        return Err(reader.corrupt("a tag of type 0 to 4", format!("type {kind}")));
    };
    Ok(KeyValue { key, value: value.take().unwrap_or_default() })
}

/// A list of structures. Its room is made as they come: its length may be a lie.
fn list<T>(
    reader: &mut Reader<'_>,
    mut element: impl FnMut(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let n = reader.structs()?;
    let mut list = Vec::new();
    for _ in 0..n {
        list.push(element(reader)?);
    }
    Ok(list)
}

fn needed<T>(value: Option<T>, what: &str, reader: &Reader<'_>) -> Result<T> {
    value.ok_or_else(|| reader.corrupt(what, "none"))
}

fn trace_id(high: i64, low: i64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    id
}

/// Nanoseconds of microseconds, of which there are none below zero.
fn nanos(sent: i64) -> u64 {
    micros(u64::try_from(sent).unwrap_or(0))
}
