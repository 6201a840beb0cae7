//! What is peculiar to vParquet3: arrays as JSON, attributes of events and links as protobuf, event
//! times absolute (`blocks.md` 4.4).

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::Link;
use prost::Message as _;

use super::attribute::Positions;
use super::batch::TraceData as _;
use super::block_batch::{BlockBatch, PageStrings};
use super::leaf::{Demand, Piece};
use super::mask::Mask;
use super::page::DecodeError;
use super::structure::{Offsets, count};
use super::values::{AttributeCell, AttributeColumn, ColumnData, StringTable, Strings};
use crate::schema::{AttributeLeaves, Column, LeafIndex, Level};

/// Links of the window, decoded from their protobuf leaf.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Links of each span.
    pub(super) offsets: Offsets,
    list: Vec<Link>,
}

impl Links {
    /// Keys of the attributes of all links.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().flat_map(|link| link.attributes.iter().map(|a| a.key.clone()))
    }
}

/// The links of a span as vParquet3 keeps them.
#[derive(Clone, PartialEq, prost::Message)]
struct LinkList {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

impl BlockBatch {
    pub(super) fn v3_links(&self) -> Demand<Arc<Links>> {
        if let Some(links) = &self.decoded.lock().v3_links {
            return Ok(Arc::clone(links));
        }
        let leaf = self.leaf("rs.ss.Spans.Links")?.index;
        let structure = self.structure()?;
        let mut links = Links::default();
        let mut n = 0_usize;
        for piece in &self.window.pieces(leaf, &self.all())? {
            let values = self.plain_values(leaf, piece)?;
            let (span, _) =
                self.window.value_span(leaf, piece, Level::Span, values.len(), |trace| {
                    structure.trace_spans.start(trace)
                })?;
            for value in &values[span] {
                let list = LinkList::decode(value.as_slice()).map_err(|error| {
                    let what = "links of a span";
                    self.window.fail(
                        leaf,
                        piece,
                        DecodeError::corrupt(what, "an OTLP span's links", error, 0),
                    )
                })?;
                n += list.links.len();
                links.offsets.push_end(count(n));
                links.list.extend(list.links);
            }
        }
        let links = Arc::new(links);
        self.decoded.lock().v3_links = Some(Arc::clone(&links));
        Ok(links)
    }

    pub(super) fn v3_link_ids(&self, column: &Column) -> Demand<ColumnData> {
        let links = self.v3_links()?;
        let mut table = StringTable::default();
        let codes = links
            .list
            .iter()
            .map(|link| {
                table.push(match column {
                    Column::LinkTraceId => &link.trace_id,
                    _ => &link.span_id,
                })
            })
            .collect();
        Ok(ColumnData::Strings(Strings { codes, table: Arc::new(table) }))
    }

    /// Attributes of links: vParquet3 has no leaves for them.
    pub(super) fn v3_link_attribute(&self, key: &str) -> Demand<AttributeColumn> {
        let links = self.v3_links()?;
        let mut column = AttributeColumn::default();
        let mut table = StringTable::default();
        for (row, link) in links.list.iter().enumerate() {
            if let Some(attribute) = link.attributes.iter().find(|a| a.key == key) {
                let cell = cell_of(attribute.value.as_ref(), &mut column, &mut table);
                column.rows.push(count(row));
                column.values.push(cell);
            }
        }
        column.tables.push(Arc::new(table));
        Ok(column)
    }

    /// Event times are absolute: the span's start is taken off, wrapping as Tempo's do.
    pub(super) fn v3_event_times(&self, traces: &Mask) -> Demand<ColumnData> {
        let starts = self.column(&Column::SpanStart, traces)?;
        let leaf = self.leaf("rs.ss.Spans.Events.TimeUnixNano")?.index;
        let mut values = self.read_ints(leaf, Level::Event, traces)?;
        let events = self.span_events()?;
        if let ColumnData::Int(starts) = &*starts {
            for (span, start) in starts.iter().enumerate() {
                for value in &mut values[events.range(span)] {
                    *value = value.wrapping_sub(*start);
                }
            }
        }
        Ok(ColumnData::Int(values))
    }

    pub(super) fn v3_event_values(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        column: &mut AttributeColumn,
    ) -> Demand<()> {
        let mut table = StringTable::default();
        self.each_plain(leaf, level, positions, |at, value| {
            let value = any_value(value)?;
            column.values[at] = cell_of(value.as_ref(), column, &mut table);
            Ok(())
        })?;
        column.tables.push(Arc::new(table));
        Ok(())
    }

    /// Arrays of the generic list: JSON in vParquet3, nothing to do in later versions.
    pub(super) fn fill_v3_arrays(
        &self,
        leaves: &AttributeLeaves,
        level: Level,
        positions: &Positions,
        column: &mut AttributeColumn,
    ) -> Demand<()> {
        let (None, Some(leaf)) = (leaves.is_array, leaves.other) else { return Ok(()) };
        let mut table = StringTable::default();
        let table_at = count(column.tables.len());
        self.each_plain(leaf, level, positions, |at, value| {
            let value: serde_json::Value = serde_json::from_slice(value)
                .map_err(|error| ("an AnyValue as JSON", error.to_string()))?;
            let values = value.pointer("/arrayValue/values").and_then(|v| v.as_array());
            let cells: Option<Vec<AttributeCell>> = values
                .into_iter()
                .flatten()
                .map(|element| json_cell(element, table_at, &mut table))
                .collect();
            column.values[at] = match cells {
                Some(cells) if same_type(&cells) => column.push_elements(cells),
                _ => AttributeCell::Invisible,
            };
            Ok(())
        })?;
        column.tables.push(Arc::new(table));
        Ok(())
    }

    fn each_plain(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        mut f: impl FnMut(usize, &[u8]) -> Result<(), (&'static str, String)>,
    ) -> Demand<()> {
        let mut page: Option<(std::ops::Range<u64>, Vec<Vec<u8>>)> = None;
        self.each_v3_value(leaf, level, positions, |at, piece, run| {
            if page.as_ref().is_none_or(|(bytes, _)| *bytes != piece.bytes) {
                page = Some((piece.bytes.clone(), self.plain_values(leaf, piece)?));
            }
            let values = page.as_ref().and_then(|(_, values)| values.get(run)).unwrap_or_default();
            for value in values {
                f(at, value).map_err(|(expected, found)| {
                    let error = DecodeError::corrupt("attribute value", expected, found, 0);
                    self.window.fail(leaf, piece, error)
                })?;
            }
            Ok(())
        })
    }

    fn plain_values(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Vec<Vec<u8>>> {
        match self.page_strings(leaf, piece)? {
            PageStrings::Plain(plain) => Ok(plain.iter().map(<[u8]>::to_vec).collect()),
            PageStrings::Codes(codes) => match self.window.table(leaf)? {
                Some(table) => Ok(codes.iter().map(|code| table.get(*code).to_vec()).collect()),
                None => Err(self.no_dictionary(leaf, piece)),
            },
        }
    }
}

/// An event attribute's value: protobuf, or JSON in files of very old versions.
fn any_value(bytes: &[u8]) -> Result<Option<AnyValue>, (&'static str, String)> {
    if bytes.is_empty() {
        return Ok(None);
    }
    AnyValue::decode(bytes).map(Some).map_err(|error| ("an OTLP AnyValue", error.to_string()))
}

fn cell_of(
    value: Option<&AnyValue>,
    column: &mut AttributeColumn,
    table: &mut StringTable,
) -> AttributeCell {
    use any_value::Value;
    let table_at = count(column.tables.len());
    let scalar = |value: &Value, table: &mut StringTable| match value {
        Value::StringValue(v) => Some(AttributeCell::String(table_at, table.push(v.as_bytes()))),
        Value::IntValue(v) => Some(AttributeCell::Int(*v)),
        Value::DoubleValue(v) => Some(AttributeCell::Float(*v)),
        Value::BoolValue(v) => Some(AttributeCell::Bool(*v)),
        _ => None,
    };
    match value.and_then(|v| v.value.as_ref()) {
        Some(Value::ArrayValue(array)) => {
            let cells: Option<Vec<_>> = array
                .values
                .iter()
                .map(|element| element.value.as_ref().and_then(|value| scalar(value, table)))
                .collect();
            match cells {
                Some(cells) if same_type(&cells) => column.push_elements(cells),
                _ => AttributeCell::Invisible,
            }
        }
        Some(value) => scalar(value, table).unwrap_or(AttributeCell::Invisible),
        None => AttributeCell::Invisible,
    }
}

fn json_cell(
    value: &serde_json::Value,
    table_at: u32,
    table: &mut StringTable,
) -> Option<AttributeCell> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "stringValue" => {
            Some(AttributeCell::String(table_at, table.push(value.as_str()?.as_bytes())))
        }
        "intValue" => match value {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_i64(),
        }
        .map(AttributeCell::Int),
        "doubleValue" => match value {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_f64(),
        }
        .map(AttributeCell::Float),
        "boolValue" => value.as_bool().map(AttributeCell::Bool),
        _ => None,
    }
}

fn same_type(cells: &[AttributeCell]) -> bool {
    cells
        .windows(2)
        .all(|pair| std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]))
}
