//! What decoding a file of traces takes, told from its bytes before it is decoded: a few bytes can
//! stand for a span of hundreds. Reads along with the decoders, keeps nothing, and leaves what is
//! wrong with the bytes for them to say.

use std::fmt;

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::trace::v1 as trace;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::group::{SentResourceSpans, SentScopeSpans, SentSpan};
use super::read_json::ELEMENTS;
use crate::error::{Error, Result};
use crate::model::{AttributeValue, Event, KeyValue, Link};
use crate::protobuf::fields;

/// A list grows by doubling, and while it does its old half is still there.
const GROWTH: usize = 2;

/// What a byte of input takes at most once decoded: a span is as short as `{},` in JSON, and two
/// bytes in protobuf.
pub(super) const MOST_PER_BYTE: u64 = 768;

/// The memory that decoding one file may take.
#[derive(Debug)]
pub(crate) struct Budget {
    name: String,
    limit_bytes: u64,
    used_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new("input", u64::MAX)
    }
}

impl Budget {
    /// Nothing is used yet; `name` is the file's, for the error.
    pub(crate) fn new(name: &str, limit_bytes: u64) -> Self {
        Self { name: name.to_owned(), limit_bytes, used_bytes: 0 }
    }

    /// Whether so many bytes of input may be decoded without a look at them.
    pub(super) fn covers(&self, input_bytes: usize) -> bool {
        let most = (input_bytes as u64).saturating_mul(MOST_PER_BYTE);
        self.used_bytes.saturating_add(most) <= self.limit_bytes
    }

    /// Takes memory.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not so much left.
    pub(crate) fn take(&mut self, n_bytes: u64) -> Result<()> {
        self.used_bytes = self.used_bytes.saturating_add(n_bytes);
        if self.used_bytes <= self.limit_bytes {
            return Ok(());
        }
        Err(Error::Memory {
            key: self.name.clone(),
            what: "the traces".to_owned(),
            needed_bytes: self.used_bytes,
            share_bytes: self.limit_bytes,
            limit_bytes: self.limit_bytes,
        })
    }

    /// Gives memory back.
    pub(crate) fn give_back(&mut self, n_bytes: u64) {
        self.used_bytes = self.used_bytes.saturating_sub(n_bytes);
    }
}

/// What attributes take besides the list's own header.
pub(crate) fn attribute_bytes(attributes: &[KeyValue]) -> u64 {
    let each = attributes.iter().map(|kv| kv.key.len() as u64 + value_bytes(&kv.value));
    size_of_val(attributes) as u64 + each.sum::<u64>()
}

fn value_bytes(value: &AttributeValue) -> u64 {
    match value {
        AttributeValue::String(text) => text.len() as u64,
        AttributeValue::Bytes(bytes) => bytes.len() as u64,
        AttributeValue::Array(values) => {
            size_of_val(values.as_slice()) as u64 + values.iter().map(value_bytes).sum::<u64>()
        }
        AttributeValue::KeyValues(pairs) => attribute_bytes(pairs),
        AttributeValue::Unset
        | AttributeValue::Int(_)
        | AttributeValue::Double(_)
        | AttributeValue::Bool(_) => 0,
    }
}

/// What a JSON value takes once decoded, about. Of a list the elements are counted, for it is the
/// key it stands under that tells what they become.
pub(super) struct JsonWeight {
    /// What is below it takes.
    pub(super) bytes: u64,
    elements: u64,
}

impl<'de> Deserialize<'de> for JsonWeight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WeightVisitor)
    }
}

struct WeightVisitor;

impl WeightVisitor {
    fn bytes(bytes: usize) -> JsonWeight {
        JsonWeight { bytes: bytes as u64, elements: 0 }
    }
}

impl<'de> Visitor<'de> for WeightVisitor {
    type Value = JsonWeight;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonWeight, A::Error> {
        let mut bytes = 0;
        while let Some(ElementBytes(element)) = map.next_key()? {
            let below: JsonWeight = map.next_value()?;
            bytes += below.bytes + below.elements.saturating_mul(element as u64);
        }
        Ok(JsonWeight { bytes, elements: 0 })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonWeight, A::Error> {
        let mut weight = JsonWeight { bytes: 0, elements: 0 };
        while let Some(below) = list.next_element::<JsonWeight>()? {
            weight.bytes += below.bytes;
            weight.elements += 1;
        }
        Ok(weight)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonWeight, E> {
        Ok(Self::bytes(text.len()))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<JsonWeight, E> {
        Ok(Self::bytes(0))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<JsonWeight, E> {
        Ok(Self::bytes(0))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<JsonWeight, E> {
        Ok(Self::bytes(0))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<JsonWeight, E> {
        Ok(Self::bytes(0))
    }

    fn visit_unit<E: de::Error>(self) -> Result<JsonWeight, E> {
        Ok(Self::bytes(0))
    }
}

/// What an element of a list under a key takes; 0 where the decoder knows no list.
struct ElementBytes(usize);

impl<'de> Deserialize<'de> for ElementBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = ElementBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<ElementBytes, E> {
        let known = ELEMENTS.iter().find(|(keys, _)| keys.contains(&key));
        Ok(ElementBytes(known.map_or(0, |(_, bytes)| bytes * GROWTH)))
    }
}

/// Messages of a protobuf file, as far as they take memory of their own.
#[derive(Clone, Copy)]
enum Message {
    Traces,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    KeyValue,
    Value,
    Array,
    Map,
    /// Text, bytes, or what is skipped.
    Other,
}

impl Message {
    /// What a length-delimited field holds, and what one of it takes besides its contents.
    fn field(self, number: u32) -> (Self, usize) {
        let attribute =
            (Self::KeyValue, GROWTH * (size_of::<common::KeyValue>() + size_of::<KeyValue>()));
        match (self, number) {
            (Self::Traces, 1) => (
                Self::ResourceSpans,
                GROWTH * (size_of::<trace::ResourceSpans>() + size_of::<SentResourceSpans>()),
            ),
            (Self::ResourceSpans, 1) => (Self::Resource, 0),
            (Self::ResourceSpans, 2) => (
                Self::ScopeSpans,
                GROWTH * (size_of::<trace::ScopeSpans>() + size_of::<SentScopeSpans>()),
            ),
            (Self::ScopeSpans, 1) => (Self::Scope, 0),
            (Self::ScopeSpans, 2) => {
                (Self::Span, GROWTH * (size_of::<trace::Span>() + size_of::<SentSpan>()))
            }
            (Self::Span, 11) => {
                (Self::Event, GROWTH * (size_of::<trace::span::Event>() + size_of::<Event>()))
            }
            (Self::Span, 13) => {
                (Self::Link, GROWTH * (size_of::<trace::span::Link>() + size_of::<Link>()))
            }
            (Self::Resource, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Span, 9)
            | (Self::Link, 4)
            | (Self::Map, 1) => attribute,
            (Self::KeyValue, 2) => (Self::Value, 0),
            (Self::Value, 5) => (Self::Array, 0),
            (Self::Value, 6) => (Self::Map, 0),
            (Self::Array, 1) => (
                Self::Value,
                GROWTH * (size_of::<common::AnyValue>() + size_of::<AttributeValue>()),
            ),
            _ => (Self::Other, 0),
        }
    }
}

/// What a protobuf message of traces takes once decoded, about.
pub(super) fn protobuf_bytes(message: &[u8]) -> u64 {
    /// Deeper than the decoder goes.
    const MAX_DEPTH: usize = 128;
    fn weigh(kind: Message, message: &[u8], depth: usize) -> u64 {
        if depth >= MAX_DEPTH {
            return 0;
        }
        let mut bytes = 0;
        for (number, field) in fields(message).map_while(Result::ok) {
            let (below, own) = kind.field(number);
            bytes += own as u64;
            bytes += match below {
                Message::Other => field.len() as u64,
                below => weigh(below, field, depth + 1),
            };
        }
        bytes
    }
    weigh(Message::Traces, message, 0)
}
