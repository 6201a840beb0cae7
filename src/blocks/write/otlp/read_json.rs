//! JSON to the model: the protocol's JSON, its JSON-lines files, and Tempo's answers. Names may be
//! in camel or snake case, as protobuf's JSON mapping demands of readers; unknown ones are skipped.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed as _, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::BYTE_ORDER_MARK;
use super::group::{SentResourceSpans, SentScopeSpans, SentSpan, TracesById};
use super::weigh::JsonWeight;
use super::write_json::{KIND_NAMES, STATUS_NAMES};
use crate::error::{Error, Result};
use crate::model::{AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, Span};

/// Reads all documents of a text.
pub(super) fn read_documents(text: &[u8], name: &str, to: &mut TracesById) -> Result<()> {
    let skipped = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let text = &text[skipped..];
    let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<Document>();
    // Runs before the decoder, document by document, as long as what is left might not fit.
    let mut weights = serde_json::Deserializer::from_slice(text).into_iter::<JsonWeight>();
    let mut is_weighed = true;
    loop {
        let start = documents.byte_offset();
        is_weighed = is_weighed && !to.budget.covers(text.len() - start);
        let weight = match is_weighed.then(|| weights.next()) {
            Some(Some(Ok(weight))) => weight.bytes,
            // The decoder finds the same end or error.
            _ => 0,
        };
        to.budget.take(weight)?;
        match documents.next() {
            None => return Ok(()),
            Some(Ok(document)) => {
                let end = documents.byte_offset();
                if let (Some(key), false) = (document.foreign_key, to.is_received) {
                    // An object of something else entirely must not pass for a trace without spans.
                    let range = (start + skipped) as u64..(end + skipped) as u64;
                    let found = format!("an object with {key:?}");
                    let expected = "resourceSpans, batches or trace";
                    return Err(Error::corrupt(name, Some(range), expected, found));
                }
                for sent in document.resource_spans {
                    to.add(sent.into(), |found| {
                        let range = (start + skipped) as u64..(end + skipped) as u64;
                        Error::corrupt(name, Some(range), "spans with a trace id", found)
                    })?;
                }
                // What stays is the model; the decoder's own form of it was as large.
                to.budget.give_back(weight / 2);
            }
            Some(Err(e)) => {
                let at = (offset_of(text, e.line(), e.column()) + skipped) as u64;
                let found = format!("{e}");
                return Err(Error::corrupt(name, Some(at..at + 1), "OTLP traces as JSON", found));
            }
        }
    }
}

/// Lists by their keys, and what an element takes as read and in the model.
pub(super) const ELEMENTS: [(&[&str], usize); 7] = [
    (
        &["resourceSpans", "resource_spans", "batches"],
        size_of::<SentResourceSpansJson>() + size_of::<SentResourceSpans>(),
    ),
    (
        &[
            "scopeSpans",
            "scope_spans",
            "instrumentationLibrarySpans",
            "instrumentation_library_spans",
        ],
        size_of::<ScopeSpansJson>() + size_of::<SentScopeSpans>(),
    ),
    (&["spans"], size_of::<SpanJson>() + size_of::<SentSpan>()),
    (&["attributes"], size_of::<KeyValueJson>() + size_of::<KeyValue>()),
    (&["events"], size_of::<EventJson>() + size_of::<Event>()),
    (&["links"], size_of::<LinkJson>() + size_of::<Link>()),
    // Of an array or of a map; the elements of a map are the larger ones.
    (&["values"], size_of::<KeyValueJson>() + size_of::<KeyValue>()),
];

/// Reads one attribute value in the JSON form that blocks store for values without a column. One
/// that is nested deeper than the parser goes, as protobuf allows, stays what it is: text. It must
/// not cost the trace it is in.
///
/// # Errors
///
/// What is wrong with it.
pub fn attribute_value_from_json(text: &str) -> Result<AttributeValue, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Ok(value.0),
        Err(_) if json_depth(text) >= MAX_JSON_DEPTH => Ok(AttributeValue::String(text.to_owned())),
        Err(error) => Err(error.to_string()),
    }
}

/// Levels of nesting at which serde_json gives up.
const MAX_JSON_DEPTH: usize = 128;

/// How deep a JSON text is nested.
fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The byte that a parser's line and column, counted from 1, stand for.
fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let line_start = if line <= 1 {
        0
    } else {
        let mut ends = text.iter().enumerate().filter(|&(_, &byte)| byte == b'\n');
        ends.nth(line - 2).map_or(text.len(), |(end, _)| end + 1)
    };
    (line_start + column.saturating_sub(1)).min(text.len())
}

/// One document: `resourceSpans` or `batches`, alone or inside `trace`.
#[derive(Default)]
struct Document {
    resource_spans: Vec<SentResourceSpansJson>,
    /// The first key that there is, if nothing is known of any.
    foreign_key: Option<String>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DocumentVisitor { may_nest: true }.deserialize(deserializer)
    }
}

struct DocumentVisitor {
    may_nest: bool,
}

impl<'de> de::DeserializeSeed<'de> for DocumentVisitor {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with resourceSpans, batches or trace")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut document = Document::default();
        let mut is_known = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "resourceSpans" | "resource_spans" | "batches" => {
                    let list: Option<Vec<_>> = map.next_value()?;
                    document.resource_spans.extend(list.unwrap_or_default());
                    is_known = true;
                }
                "trace" if self.may_nest => {
                    let inner = map.next_value_seed(Self { may_nest: false })?;
                    document.resource_spans.extend(inner.resource_spans);
                    is_known |= inner.foreign_key.is_none();
                    document.foreign_key = document.foreign_key.or(inner.foreign_key);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    document.foreign_key.get_or_insert(key);
                }
            }
        }
        document.foreign_key = document.foreign_key.filter(|_| !is_known);
        Ok(document)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SentResourceSpansJson {
    #[serde(deserialize_with = "nullable")]
    resource: ResourceJson,
    #[serde(
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        alias = "instrumentation_library_spans",
        deserialize_with = "nullable"
    )]
    scope_spans: Vec<ScopeSpansJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceJson {
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<KeyValueJson>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeSpansJson {
    #[serde(
        alias = "instrumentationLibrary",
        alias = "instrumentation_library",
        deserialize_with = "nullable"
    )]
    scope: ScopeJson,
    #[serde(deserialize_with = "nullable")]
    spans: Vec<SpanJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeJson {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<KeyValueJson>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpanJson {
    #[serde(alias = "trace_id", deserialize_with = "nullable")]
    trace_id: Id,
    #[serde(alias = "span_id", deserialize_with = "nullable")]
    span_id: Id,
    #[serde(alias = "parent_span_id", deserialize_with = "nullable")]
    parent_span_id: Id,
    #[serde(alias = "trace_state", deserialize_with = "nullable")]
    trace_state: String,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    kind: Kind,
    #[serde(alias = "start_time_unix_nano", deserialize_with = "nullable")]
    start_time_unix_nano: Integer<u64>,
    #[serde(alias = "end_time_unix_nano", deserialize_with = "nullable")]
    end_time_unix_nano: Integer<u64>,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<KeyValueJson>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Integer<u32>,
    #[serde(deserialize_with = "nullable")]
    events: Vec<EventJson>,
    #[serde(alias = "dropped_events_count", deserialize_with = "nullable")]
    dropped_events_count: Integer<u32>,
    #[serde(deserialize_with = "nullable")]
    links: Vec<LinkJson>,
    #[serde(alias = "dropped_links_count", deserialize_with = "nullable")]
    dropped_links_count: Integer<u32>,
    #[serde(deserialize_with = "nullable")]
    status: StatusJson,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusJson {
    #[serde(deserialize_with = "nullable")]
    code: StatusCode,
    #[serde(deserialize_with = "nullable")]
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EventJson {
    #[serde(alias = "time_unix_nano", deserialize_with = "nullable")]
    time_unix_nano: Integer<u64>,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<KeyValueJson>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LinkJson {
    #[serde(alias = "trace_id", deserialize_with = "nullable")]
    trace_id: Id,
    #[serde(alias = "span_id", deserialize_with = "nullable")]
    span_id: Id,
    #[serde(alias = "trace_state", deserialize_with = "nullable")]
    trace_state: String,
    #[serde(deserialize_with = "nullable")]
    attributes: Vec<KeyValueJson>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValueJson {
    #[serde(deserialize_with = "nullable")]
    key: String,
    #[serde(deserialize_with = "nullable")]
    value: Value,
}

impl From<SentResourceSpansJson> for SentResourceSpans {
    fn from(json: SentResourceSpansJson) -> Self {
        Self {
            resource: Resource {
                attributes: key_values(json.resource.attributes),
                dropped_attributes_count: json.resource.dropped_attributes_count.0,
            },
            scope_spans: json
                .scope_spans
                .into_iter()
                .map(|ss| SentScopeSpans {
                    scope: InstrumentationScope {
                        name: ss.scope.name,
                        version: ss.scope.version,
                        attributes: key_values(ss.scope.attributes),
                        dropped_attributes_count: ss.scope.dropped_attributes_count.0,
                    },
                    spans: ss.spans.into_iter().map(SentSpan::from).collect(),
                })
                .collect(),
        }
    }
}

impl From<SpanJson> for SentSpan {
    fn from(json: SpanJson) -> Self {
        Self {
            trace_id: json.trace_id.0,
            span: Span {
                span_id: json.span_id.0,
                parent_span_id: json.parent_span_id.0,
                trace_state: json.trace_state,
                name: json.name,
                kind: json.kind.0,
                start_unix_nanos: json.start_time_unix_nano.0,
                end_unix_nanos: json.end_time_unix_nano.0,
                status_code: json.status.code.0,
                status_message: json.status.message,
                attributes: key_values(json.attributes),
                dropped_attributes_count: json.dropped_attributes_count.0,
                events: json
                    .events
                    .into_iter()
                    .map(|event| Event {
                        time_unix_nanos: event.time_unix_nano.0,
                        name: event.name,
                        attributes: key_values(event.attributes),
                        dropped_attributes_count: event.dropped_attributes_count.0,
                    })
                    .collect(),
                dropped_events_count: json.dropped_events_count.0,
                links: json
                    .links
                    .into_iter()
                    .map(|link| Link {
                        trace_id: link.trace_id.0,
                        span_id: link.span_id.0,
                        trace_state: link.trace_state,
                        attributes: key_values(link.attributes),
                        dropped_attributes_count: link.dropped_attributes_count.0,
                    })
                    .collect(),
                dropped_links_count: json.dropped_links_count.0,
            },
        }
    }
}

fn key_values(json: Vec<KeyValueJson>) -> Vec<KeyValue> {
    json.into_iter().map(|kv| KeyValue { key: kv.key, value: kv.value.0 }).collect()
}

/// `null` stands for the default of any field.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An attribute value: an object with one member that names the type.
#[derive(Default)]
struct Value(AttributeValue);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = AttributeValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with stringValue, intValue, doubleValue, boolValue, bytesValue, arrayValue or kvlistValue")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AttributeValue, A::Error> {
        let mut value = None;
        while let Some(key) = map.next_key::<String>()? {
            let read = match key.as_str() {
                "stringValue" | "string_value" => {
                    map.next_value::<Option<String>>()?.map(AttributeValue::String)
                }
                "intValue" | "int_value" => {
                    map.next_value::<Option<Integer<i64>>>()?.map(|v| AttributeValue::Int(v.0))
                }
                "doubleValue" | "double_value" => {
                    map.next_value::<Option<Double>>()?.map(|v| AttributeValue::Double(v.0))
                }
                "boolValue" | "bool_value" => {
                    map.next_value::<Option<bool>>()?.map(AttributeValue::Bool)
                }
                "bytesValue" | "bytes_value" => {
                    map.next_value::<Option<Base64>>()?.map(|v| AttributeValue::Bytes(v.0))
                }
                "arrayValue" | "array_value" => {
                    map.next_value::<Option<ValuesJson<Value>>>()?.map(|list| {
                        AttributeValue::Array(list.values.into_iter().map(|v| v.0).collect())
                    })
                }
                "kvlistValue" | "kvlist_value" => map
                    .next_value::<Option<ValuesJson<KeyValueJson>>>()?
                    .map(|list| AttributeValue::KeyValues(key_values(list.values))),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            if read.is_some() && value.is_some() {
                return Err(de::Error::custom("two values in one object, where one is expected"));
            }
            value = value.or(read);
        }
        Ok(value.unwrap_or_default())
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct ValuesJson<T> {
    #[serde(default = "Vec::new", deserialize_with = "nullable")]
    values: Vec<T>,
}

/// An integer as a number or a string of digits.
#[derive(Clone, Copy, Default)]
struct Integer<T>(T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Integer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor(PhantomData)).map(Self)
    }
}

struct IntegerVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> Visitor<'_> for IntegerVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer that fits {}, as a number or a string", std::any::type_name::<T>())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::try_from(number.into())
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number.into())
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and is then out of range")]
        let whole = if number.fract() == 0.0 { T::try_from(number as i128).ok() } else { None };
        whole.ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse::<i128>()
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A double as a number, or as a string for those that JSON lacks.
struct Double(f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor).map(Self)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a string such as \"NaN\" or \"-Infinity\"")
    }

    #[expect(clippy::cast_precision_loss, reason = "the field is a double, however it is written")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "the field is a double, however it is written")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// An enumeration as its number or its name; the names stand at their numbers.
struct EnumVisitor(&'static [&'static str]);

impl Visitor<'_> for EnumVisitor {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number, or one of {}", self.0.join(", "))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<i32, E> {
        IntegerVisitor(PhantomData).visit_i64(number)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<i32, E> {
        IntegerVisitor(PhantomData).visit_u64(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i32, E> {
        let number = self.0.iter().position(|name| *name == text);
        number
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[derive(Default)]
struct Kind(i32);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EnumVisitor(&KIND_NAMES)).map(Self)
    }
}

#[derive(Default)]
struct StatusCode(i32);

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EnumVisitor(&STATUS_NAMES)).map(Self)
    }
}

/// Raw bytes in base64.
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BytesVisitor { or_hex: false }).map(Self)
    }
}

/// An id in hex, as the protocol writes it, or in base64, as protobuf's JSON mapping does.
#[derive(Default)]
struct Id(Vec<u8>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BytesVisitor { or_hex: true }).map(Self)
    }
}

struct BytesVisitor {
    or_hex: bool,
}

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.or_hex { "an id in hex or base64" } else { "bytes in base64" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        // Ids of 8 and 16 bytes end in `=` in base64, so nothing of theirs reads as hex.
        if self.or_hex
            && let Some(bytes) = from_hex(text)
        {
            return Ok(bytes);
        }
        let standard = text.bytes().all(|byte| byte != b'-' && byte != b'_');
        let engine = if standard { &STANDARD } else { &URL_SAFE };
        engine.decode(text).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
