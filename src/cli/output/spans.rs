//! Spans as rows of one flat table, for exports: the columns of SQL's table `spans`, and all attributes.
//! What cannot be a column of its own stands as text, so that every reader of Parquet takes the rows as
//! they are (`grammar/sql.md` has the columns for people).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, MapBuilder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Map, Value as Json, json};
use traceql_blocks::model::trace::{SpanInTrace, TraceFields};
use traceql_blocks::model::{AttributeValue, KeyValue, Trace};

use super::search::hex;
use crate::error::{Error, Kind, Result};
use crate::units::format_time_exact;

/// Zone of all times, as in the tables of SQL.
const ZONE: &str = "+00:00";

/// Which spans of a trace were found: id, start and duration, as several may share an id.
pub(crate) type Matched = BTreeSet<(Vec<u8>, u64, u64)>;

/// Gathers rows.
pub(crate) struct SpanRows {
    schema: SchemaRef,
    texts: [StringBuilder; TEXTS.len()],
    times: [TimestampNanosecondBuilder; TIMES.len()],
    durations: [Int64Builder; DURATIONS.len()],
    attributes: [MapBuilder<StringBuilder, StringBuilder>; ATTRIBUTES.len()],
    lists: [StringBuilder; LISTS.len()],
    matched: BooleanBuilder,
}

/// Columns of text; those that may be null.
const TEXTS: [(&str, bool); 13] = [
    ("trace_id", false),
    ("span_id", true),
    ("parent_span_id", true),
    ("name", false),
    ("kind", false),
    ("status", false),
    ("status_message", false),
    ("service_name", false),
    ("scope_name", false),
    ("scope_version", false),
    ("trace_state", false),
    ("root_service_name", false),
    ("root_name", false),
];
const TIMES: [&str; 2] = ["start_time", "end_time"];
const DURATIONS: [&str; 2] = ["duration_nanos", "trace_duration_nanos"];
/// Maps of text to text.
const ATTRIBUTES: [&str; 3] = ["attributes", "resource_attributes", "scope_attributes"];
/// JSON, null where there is none.
const LISTS: [&str; 2] = ["events", "links"];

impl SpanRows {
    /// No rows yet.
    pub(crate) fn new() -> Self {
        let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
        let time = DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into()));
        let entry = Fields::from(vec![text("keys", false), text("values", true)]);
        let entries = Field::new("entries", DataType::Struct(entry), false);
        let map = DataType::Map(Arc::new(entries), false);
        let fields = TEXTS
            .iter()
            .map(|(name, nullable)| text(name, *nullable))
            .chain(TIMES.iter().map(|name| Field::new(*name, time.clone(), false)))
            .chain(DURATIONS.iter().map(|name| Field::new(*name, DataType::Int64, false)))
            .chain(ATTRIBUTES.iter().map(|name| Field::new(*name, map.clone(), false)))
            .chain(LISTS.iter().map(|name| text(name, true)))
            .chain([Field::new("matched", DataType::Boolean, false)]);
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            texts: std::array::from_fn(|_| StringBuilder::new()),
            times: std::array::from_fn(|_| TimestampNanosecondBuilder::new().with_timezone(ZONE)),
            durations: std::array::from_fn(|_| Int64Builder::new()),
            attributes: std::array::from_fn(|_| {
                MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
            }),
            lists: std::array::from_fn(|_| StringBuilder::new()),
            matched: BooleanBuilder::new(),
        }
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds the spans of a trace that were found, or all of them.
    pub(crate) fn add(
        &mut self,
        trace: &Trace,
        fields: &TraceFields,
        matched: &Matched,
        all: bool,
    ) -> Result<()> {
        let nanos = integer(fields.end_unix_nanos.wrapping_sub(fields.start_unix_nanos));
        let trace_id = trace.id.to_string();
        for span in trace.spans() {
            let SpanInTrace { resource_spans, scope_spans, span } = span;
            let key = (span.span_id.clone(), span.start_unix_nanos, span.duration_nanos());
            let is_match = matched.contains(&key);
            if !is_match && !all {
                continue;
            }
            let (resource, scope) = (&resource_spans.resource, &scope_spans.scope);
            let id = |id: &[u8]| (!id.is_empty()).then(|| hex(id));
            let texts = [
                Some(trace_id.clone()),
                id(&span.span_id),
                id(&span.parent_span_id),
                Some(span.name.clone()),
                Some(kind(span.kind).to_owned()),
                Some(status(span.status_code).to_owned()),
                Some(span.status_message.clone()),
                Some(resource.service_name().to_owned()),
                Some(scope.name.clone()),
                Some(scope.version.clone()),
                Some(span.trace_state.clone()),
                Some(fields.root_service_name.clone()),
                Some(fields.root_span_name.clone()),
            ];
            for (column, text) in self.texts.iter_mut().zip(texts) {
                column.append_option(text);
            }
            for (column, nanos) in
                self.times.iter_mut().zip([span.start_unix_nanos, span.end_unix_nanos])
            {
                column.append_value(integer(nanos));
            }
            for (column, nanos) in
                self.durations.iter_mut().zip([integer(span.duration_nanos()), nanos])
            {
                column.append_value(nanos);
            }
            let attributes = [&span.attributes, &resource.attributes, &scope.attributes];
            for (column, attributes) in self.attributes.iter_mut().zip(attributes) {
                let mut seen = BTreeSet::new();
                for KeyValue { key, value } in attributes {
                    // Readers refuse a map that has a key twice; the first is the one queries see.
                    if seen.insert(key) {
                        column.keys().append_value(key);
                        column.values().append_option(text(value));
                    }
                }
                column.append(true).map_err(|error| bug(&error))?;
            }
            let lists = [events(span), links(span)];
            for (column, list) in self.lists.iter_mut().zip(lists) {
                column.append_option(list);
            }
            self.matched.append_value(is_match);
        }
        Ok(())
    }

    /// Takes the rows gathered so far.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        columns.extend(self.texts.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef));
        columns.extend(self.times.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef));
        columns.extend(self.durations.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef));
        columns.extend(self.attributes.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef));
        columns.extend(self.lists.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef));
        columns.push(Arc::new(self.matched.finish()));
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map_err(|error| bug(&error))
    }
}

fn bug(error: &arrow::error::ArrowError) -> Error {
    Error::new(Kind::Failed, format!("internal error, please report it: {error}"))
}

/// Nanoseconds as columns hold them; what lies beyond the year 2262 stays there.
fn integer(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn kind(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn status(code: i32) -> &'static str {
    match code {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}

/// A value as text: numbers in the fewest digits that read back, lists and maps as JSON.
fn text(value: &AttributeValue) -> Option<String> {
    match value {
        AttributeValue::Unset => None,
        AttributeValue::String(text) => Some(text.clone()),
        AttributeValue::Double(value) => Some(value.to_string()),
        AttributeValue::Bytes(bytes) => Some(hex(bytes)),
        other => Some(as_json(other).to_string()),
    }
}

fn as_json(value: &AttributeValue) -> Json {
    match value {
        AttributeValue::Unset => Json::Null,
        AttributeValue::String(text) => Json::from(text.as_str()),
        AttributeValue::Int(value) => Json::from(*value),
        AttributeValue::Double(value) => Json::from(*value),
        AttributeValue::Bool(value) => Json::from(*value),
        AttributeValue::Bytes(bytes) => Json::from(hex(bytes)),
        AttributeValue::Array(values) => values.iter().map(as_json).collect(),
        AttributeValue::KeyValues(members) => object(members),
    }
}

fn object(members: &[KeyValue]) -> Json {
    let mut object = Map::new();
    for KeyValue { key, value } in members {
        object.entry(key.as_str()).or_insert_with(|| as_json(value));
    }
    Json::Object(object)
}

fn events(span: &traceql_blocks::model::Span) -> Option<String> {
    let events = span.events.iter().map(|event| {
        json!({
            "time": format_time_exact(event.time_unix_nanos),
            "name": event.name,
            "attributes": object(&event.attributes),
        })
    });
    (!span.events.is_empty()).then(|| events.collect::<Json>().to_string())
}

fn links(span: &traceql_blocks::model::Span) -> Option<String> {
    let links = span.links.iter().map(|link| {
        json!({
            "trace_id": hex(&link.trace_id),
            "span_id": hex(&link.span_id),
            "attributes": object(&link.attributes),
        })
    });
    (!span.links.is_empty()).then(|| links.collect::<Json>().to_string())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use traceql_blocks::model::{Event, ResourceSpans, ScopeSpans, Span, TraceId};

    use super::*;

    fn attribute(key: &str, value: AttributeValue) -> KeyValue {
        KeyValue { key: key.to_owned(), value }
    }

    #[test]
    fn a_span_is_a_row_and_values_are_texts() {
        use AttributeValue as V;
        let one = V::Int(1);
        let span = |id: u8| Span {
            span_id: vec![id],
            kind: 3,
            start_unix_nanos: 5,
            end_unix_nanos: 7,
            attributes: vec![
                attribute("text", V::String("a\"b".to_owned())),
                attribute("list", V::Array(vec![V::String("x".to_owned()), one.clone()])),
                attribute("map", V::KeyValues(vec![attribute("k", V::Bool(true))])),
                attribute("half", V::Double(0.5)),
                attribute("text", V::String("again".to_owned())),
                attribute("none", V::Unset),
            ],
            events: vec![Event { name: "e".to_owned(), ..Event::default() }],
            ..Span::default()
        };
        let scope_spans =
            vec![ScopeSpans { spans: vec![span(1), span(2)], ..ScopeSpans::default() }];
        let trace = Trace {
            id: TraceId::from_bytes(&[9]),
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        };
        let mut rows = SpanRows::new();
        let matched = Matched::from([(vec![2], 5, 2)]);
        rows.add(&trace, &TraceFields::default(), &matched, false).unwrap();
        let batch = rows.take().unwrap();
        assert_eq!(batch.num_rows(), 1);
        assert_eq!(batch.column_by_name("span_id").unwrap().as_string::<i32>().value(0), "02");
        assert!(batch.column_by_name("parent_span_id").unwrap().is_null(0));
        let map = batch.column_by_name("attributes").unwrap().as_map().value(0);
        let (keys, values) = (map.column(0).as_string::<i32>(), map.column(1).as_string::<i32>());
        let pairs: Vec<_> = (0..keys.len()).map(|at| (keys.value(at), values.value(at))).collect();
        assert_eq!(
            pairs,
            [
                ("text", "a\"b"),
                ("list", "[\"x\",1]"),
                ("map", "{\"k\":true}"),
                ("half", "0.5"),
                ("none", "")
            ]
        );
        assert!(values.is_null(4));
        let events = batch.column_by_name("events").unwrap().as_string::<i32>();
        assert!(events.value(0).contains("\"name\":\"e\""), "{}", events.value(0));
        rows.add(&trace, &TraceFields::default(), &matched, true).unwrap();
        let all = rows.take().unwrap();
        let matched = all.column_by_name("matched").unwrap().as_boolean();
        assert_eq!((matched.value(0), matched.value(1)), (false, true));
    }
}
