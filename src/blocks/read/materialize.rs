//! Rows of a block to traces of the model: what `blocks.md` 5.3 says, with the differences between
//! the format versions (4.3 to 4.7). Works on decoded leaves; does not know where they come from.
//!
//! A leaf is read as a flat list: one value per row of its level, in storage order, so that walking
//! resources, scopes, spans, events and attributes in that order takes from the front of each list.
//! How many of them belong to which owner is told by the levels of one leaf.

use super::library::{LeafValues, Values};
use super::walk::rank;
use crate::bucket::meta::FormatVersion;
use crate::error::{Error, Result};
use crate::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Trace, TraceId,
};
use crate::schema::{BlockSchema, LeafIndex, LeafInfo, Level};
use crate::write::otlp;

/// All leaves of some whole rows of one row group.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    schema: &'a BlockSchema,
    /// What the rows are part of, for messages.
    name: &'a str,
    n_rows: usize,
    /// By [`LeafIndex`].
    leaves: Vec<LeafValues>,
    counts: Counts,
}

/// How many there are of everything, over all the rows; and of which owner.
#[derive(Debug, Default)]
struct Counts {
    resources: Vec<u32>,
    scopes: Vec<u32>,
    spans: Vec<u32>,
    events: Vec<u32>,
    /// Empty for vParquet3, which has no leaves per link.
    links: Vec<u32>,
    n: [usize; 5],
}

impl<'a> Rows<'a> {
    /// Takes the leaves of `n_rows` rows, one for each leaf of the schema.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the leaves disagree about the structure of the rows.
    pub(crate) fn new(
        schema: &'a BlockSchema,
        name: &'a str,
        n_rows: usize,
        leaves: Vec<LeafValues>,
    ) -> Result<Self> {
        let mut rows = Self { schema, name, n_rows, leaves, counts: Counts::default() };
        let total = |counts: &[u32]| counts.iter().map(|&n| n as usize).sum::<usize>();
        let mut counts = Counts::default();
        counts.n[0] = n_rows;
        counts.resources = rows.runs(rows.leaf("rs.Resource.ServiceName")?, 0, n_rows)?;
        counts.n[1] = total(&counts.resources);
        counts.scopes = rows.runs(rows.leaf("rs.ss.Scope.Name")?, 1, counts.n[1])?;
        counts.n[2] = total(&counts.scopes);
        counts.spans = rows.runs(rows.leaf("rs.ss.Spans.StatusCode")?, 2, counts.n[2])?;
        counts.n[3] = total(&counts.spans);
        counts.events = rows.runs(rows.leaf("rs.ss.Spans.Events.Name")?, 3, counts.n[3])?;
        counts.n[4] = total(&counts.events);
        if rows.schema.version() != FormatVersion::VParquet3 {
            counts.links = rows.runs(rows.leaf("rs.ss.Spans.Links.SpanID")?, 3, counts.n[3])?;
        }
        rows.counts = counts;
        Ok(rows)
    }

    /// Number of rows of a level, over all the rows of the file.
    fn n(&self, level: Level) -> usize {
        match level {
            Level::Link => self.counts.links.iter().map(|&n| n as usize).sum(),
            level => self.counts.n[usize::from(rank(level))],
        }
    }

    /// The traces, one per row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the leaves disagree about the structure of the rows, or hold values
    /// that no trace can have, such as text that is not UTF-8.
    pub(crate) fn traces(&self) -> Result<Vec<Trace>> {
        let mut resources = self.resources()?.into_iter();
        let mut scopes = self.scopes()?.into_iter();
        let mut spans = self.spans()?.into_iter();
        let mut n_scopes = self.counts.scopes.iter();
        let mut n_spans = self.counts.spans.iter();
        let ids = self.byte_strings("TraceID", Level::Trace)?;
        let mut traces = Vec::with_capacity(self.n_rows);
        for (id, &n_resources) in ids.into_iter().zip(&self.counts.resources) {
            let resource_spans = resources
                .by_ref()
                .zip(n_scopes.by_ref())
                .take(n_resources as usize)
                .map(|(resource, &n_scopes)| ResourceSpans {
                    resource,
                    scope_spans: scopes
                        .by_ref()
                        .zip(n_spans.by_ref())
                        .take(n_scopes as usize)
                        .map(|(scope, &n_spans)| ScopeSpans {
                            scope,
                            spans: spans.by_ref().take(n_spans as usize).collect(),
                        })
                        .collect(),
                })
                .collect();
            traces.push(Trace { id: TraceId::from_bytes(id), resource_spans });
        }
        Ok(traces)
    }

    fn resources(&self) -> Result<Vec<Resource>> {
        let attributes = self.attributes(Level::Resource)?;
        let dropped = self.dropped("DroppedAttributesCount", Level::Resource)?;
        let parts = attributes.into_iter().zip(dropped);
        Ok(parts
            .map(|(attributes, dropped_attributes_count)| Resource {
                attributes,
                dropped_attributes_count,
            })
            .collect())
    }

    fn scopes(&self) -> Result<Vec<InstrumentationScope>> {
        let mut names = self.texts("rs.ss.Scope.Name", Level::Scope)?.into_iter();
        let mut versions = self.texts("rs.ss.Scope.Version", Level::Scope)?.into_iter();
        let attributes = self.attributes(Level::Scope)?;
        let dropped = self.dropped("DroppedAttributesCount", Level::Scope)?;
        let parts = attributes.into_iter().zip(dropped);
        Ok(parts
            .map(|(attributes, dropped_attributes_count)| InstrumentationScope {
                name: names.next().unwrap_or_default(),
                version: versions.next().unwrap_or_default(),
                attributes,
                dropped_attributes_count,
            })
            .collect())
    }

    fn spans(&self) -> Result<Vec<Span>> {
        let level = Level::Span;
        let span_ids = self.byte_strings("rs.ss.Spans.SpanID", level)?;
        let parents = self.byte_strings("rs.ss.Spans.ParentSpanID", level)?;
        let starts = self.ints("rs.ss.Spans.StartTimeUnixNano", level)?;
        let durations = self.ints("rs.ss.Spans.DurationNano", level)?;
        let kinds = self.enum_numbers("rs.ss.Spans.Kind", level)?;
        let status_codes = self.enum_numbers("rs.ss.Spans.StatusCode", level)?;
        let mut names = self.texts("rs.ss.Spans.Name", level)?.into_iter();
        let mut trace_states = self.texts("rs.ss.Spans.TraceState", level)?.into_iter();
        let mut messages = self.texts("rs.ss.Spans.StatusMessage", level)?.into_iter();
        let mut attributes = self.attributes(level)?.into_iter();
        let dropped_attributes = self.dropped("DroppedAttributesCount", level)?;
        let dropped_events = self.dropped("DroppedEventsCount", level)?;
        let dropped_links = self.dropped("DroppedLinksCount", level)?;
        let mut links = self.links()?.into_iter();
        let mut events = self.events()?.into_iter();
        let mut spans = Vec::with_capacity(self.n(level));
        for (at, (span_id, parent)) in span_ids.into_iter().zip(parents).enumerate() {
            let start_unix_nanos = starts[at].cast_unsigned();
            let mut events: Vec<Event> =
                events.by_ref().take(self.counts.events[at] as usize).collect();
            if self.schema.version() != FormatVersion::VParquet3 {
                for event in &mut events {
                    event.time_unix_nanos = start_unix_nanos.wrapping_add(event.time_unix_nanos);
                }
            }
            spans.push(Span {
                span_id: span_id.to_vec(),
                parent_span_id: parent.to_vec(),
                trace_state: trace_states.next().unwrap_or_default(),
                name: names.next().unwrap_or_default(),
                kind: kinds[at],
                start_unix_nanos,
                end_unix_nanos: start_unix_nanos.wrapping_add(durations[at].cast_unsigned()),
                status_code: status_codes[at],
                status_message: messages.next().unwrap_or_default(),
                attributes: attributes.next().unwrap_or_default(),
                dropped_attributes_count: dropped_attributes[at],
                events,
                dropped_events_count: dropped_events[at],
                links: links.next().unwrap_or_default(),
                dropped_links_count: dropped_links[at],
            });
        }
        Ok(spans)
    }

    /// All events; times count from the span's start, but in vParquet3 from the epoch.
    fn events(&self) -> Result<Vec<Event>> {
        let level = Level::Event;
        let times = match self.schema.version() {
            FormatVersion::VParquet3 => self.ints("rs.ss.Spans.Events.TimeUnixNano", level)?,
            _ => self.ints("rs.ss.Spans.Events.TimeSinceStartNano", level)?,
        };
        let mut names = self.texts("rs.ss.Spans.Events.Name", level)?.into_iter();
        let dropped = self.dropped("DroppedAttributesCount", level)?;
        let attributes = self.attributes(level)?;
        let parts = attributes.into_iter().zip(times).zip(dropped);
        Ok(parts
            .map(|((attributes, time), dropped_attributes_count)| Event {
                time_unix_nanos: time.cast_unsigned(),
                name: names.next().unwrap_or_default(),
                attributes,
                dropped_attributes_count,
            })
            .collect())
    }

    /// Links of each span.
    fn links(&self) -> Result<Vec<Vec<Link>>> {
        if self.schema.version() == FormatVersion::VParquet3 {
            let path = "rs.ss.Spans.Links";
            let encoded = self.byte_strings(path, Level::Span)?;
            let decode = |bytes: &[u8]| {
                otlp::decode_links(bytes)
                    .map_err(|found| self.corrupt(path, "links as protobuf", found))
            };
            return encoded.into_iter().map(decode).collect();
        }
        let level = Level::Link;
        let trace_ids = self.byte_strings("rs.ss.Spans.Links.TraceID", level)?;
        let mut span_ids = self.byte_strings("rs.ss.Spans.Links.SpanID", level)?.into_iter();
        let mut trace_states = self.texts("rs.ss.Spans.Links.TraceState", level)?.into_iter();
        let mut attributes = self.attributes(level)?.into_iter();
        let mut dropped = self.dropped("DroppedAttributesCount", level)?.into_iter();
        let mut links = trace_ids.into_iter().map(|trace_id| Link {
            trace_id: trace_id.to_vec(),
            span_id: span_ids.next().unwrap_or_default().to_vec(),
            trace_state: trace_states.next().unwrap_or_default(),
            attributes: attributes.next().unwrap_or_default(),
            dropped_attributes_count: dropped.next().unwrap_or_default(),
        });
        let counts = self.counts.links.iter();
        Ok(counts.map(|&n| links.by_ref().take(n as usize).collect()).collect())
    }

    /// Attributes of each row of a level: the generic ones, then those with a column of their own,
    /// in the order that the schema gives them.
    fn attributes(&self, level: Level) -> Result<Vec<Vec<KeyValue>>> {
        let n_owners = self.n(level);
        let mut attributes = match self.schema.attributes(level) {
            Some(generic) => {
                let key = &self.schema.leaves()[generic.key];
                let per_owner = self.runs(key, rank(level), n_owners)?;
                let keys = self.texts_of(key)?;
                let values = self.generic_values(generic, level, keys.len())?;
                let mut all = keys.into_iter().zip(values).map(|(key, value)| match value {
                    // A key without a value: vParquet5 drops the attribute.
                    None if self.schema.version() == FormatVersion::VParquet5 => None,
                    value => Some(KeyValue { key, value: value.unwrap_or_default() }),
                });
                per_owner
                    .into_iter()
                    .map(|n| all.by_ref().take(n as usize).flatten().collect())
                    .collect()
            }
            None => vec![Vec::new(); n_owners],
        };
        for (_, key, leaf) in self.schema.own_columns().iter().filter(|own| own.0 == level) {
            self.add_own(level, key, *leaf, &mut attributes)?;
        }
        Ok(attributes)
    }

    /// Values of the generic attributes of a level; `None` where no column has one.
    fn generic_values(
        &self,
        leaves: &crate::schema::AttributeLeaves,
        level: Level,
        n: usize,
    ) -> Result<Vec<Option<AttributeValue>>> {
        let rank = rank(level) + 1;
        if let Some(leaf) = leaves.protobuf {
            let leaf = &self.schema.leaves()[leaf];
            self.check_count(leaf, n)?;
            let decode = |bytes: &[u8]| {
                otlp::decode_attribute_value(bytes)
                    .map(Some)
                    .map_err(|found| self.corrupt(&leaf.path, "an attribute value", found))
            };
            return self.bytes_of(leaf)?.map(decode).collect();
        }
        let mut strings = self.columns(leaves.string, rank, n, |leaf| {
            Ok(self.texts_of(leaf)?.into_iter().map(AttributeValue::String).collect())
        })?;
        let mut ints = self.columns(leaves.int, rank, n, |leaf| {
            Ok(self.ints_of(leaf)?.into_iter().map(AttributeValue::Int).collect())
        })?;
        let mut doubles = self.columns(leaves.double, rank, n, |leaf| {
            Ok(self.doubles_of(leaf)?.iter().copied().map(AttributeValue::Double).collect())
        })?;
        let mut bools = self.columns(leaves.bool, rank, n, |leaf| {
            Ok(self.bools_of(leaf)?.iter().copied().map(AttributeValue::Bool).collect())
        })?;
        let json = |leaf: &LeafInfo| {
            let parse = |text: String| {
                otlp::attribute_value_from_json(&text)
                    .map_err(|found| self.corrupt(&leaf.path, "an attribute value as JSON", found))
            };
            self.texts_of(leaf)?.into_iter().map(parse).collect()
        };
        let mut others = self.columns(leaves.other, rank, n, json)?;
        let mut key_values = self.columns(leaves.key_values, rank, n, json)?;
        let is_array = match leaves.is_array {
            Some(leaf) => {
                let leaf = &self.schema.leaves()[leaf];
                self.check_count(leaf, n)?;
                self.bools_of(leaf)?
            }
            None => &[],
        };
        let values = (0..n).map(|at| {
            // Every list is asked, so that none falls behind.
            let lists = [
                strings.next_values(),
                ints.next_values(),
                doubles.next_values(),
                bools.next_values(),
                others.next_values(),
                key_values.next_values(),
            ];
            let first = lists.into_iter().find(|list| !list.is_empty());
            if is_array.get(at).copied().unwrap_or(false) {
                Some(AttributeValue::Array(first.unwrap_or_default()))
            } else {
                first.and_then(|list| list.into_iter().next())
            }
        });
        Ok(values.collect())
    }

    /// Adds an attribute with a column of its own, optional in vParquet3 and 4, a list in
    /// vParquet5: no value means no attribute, several are an array.
    fn add_own(
        &self,
        level: Level,
        key: &str,
        leaf: LeafIndex,
        attributes: &mut [Vec<KeyValue>],
    ) -> Result<()> {
        let info = &self.schema.leaves()[leaf];
        let is_service_name = info.path == "rs.Resource.ServiceName";
        let mut column = self.columns(Some(leaf), rank(level), attributes.len(), |leaf| {
            Ok(match &self.leaves[leaf.index].values {
                Values::Bytes(_) | Values::Coded(..) => {
                    self.texts_of(leaf)?.into_iter().map(AttributeValue::String).collect()
                }
                _ => self.ints_of(leaf)?.into_iter().map(AttributeValue::Int).collect(),
            })
        })?;
        for attributes in attributes {
            let mut values = column.next_values();
            let value = match values.pop() {
                None => continue,
                // The one column that must always have a value: empty stands for none.
                Some(AttributeValue::String(name)) if is_service_name && name.is_empty() => {
                    continue;
                }
                Some(only) if values.is_empty() => only,
                Some(last) => {
                    values.push(last);
                    AttributeValue::Array(values)
                }
            };
            attributes.push(KeyValue { key: key.to_owned(), value });
        }
        Ok(())
    }

    fn columns(
        &self,
        leaf: Option<LeafIndex>,
        rank: u8,
        n_owners: usize,
        values: impl FnOnce(&LeafInfo) -> Result<Vec<AttributeValue>>,
    ) -> Result<ValueLists> {
        let Some(leaf) = leaf.map(|leaf| &self.schema.leaves()[leaf]) else {
            return Ok(ValueLists::default());
        };
        let counts = self.runs(leaf, rank, n_owners)?.into_iter();
        Ok(ValueLists { counts, values: values(leaf)?.into_iter() })
    }

    /// Number of values of a leaf for each row of the level of this rank, which is the leaf's own
    /// or the next above it.
    fn runs(&self, leaf: &LeafInfo, rank: u8, n_owners: usize) -> Result<Vec<u32>> {
        let LeafValues { rep, def, .. } = &self.leaves[leaf.index];
        let mut runs = Vec::with_capacity(n_owners);
        for (&rep, &def) in rep.iter().zip(def) {
            if def < rank {
                continue;
            }
            if rep <= rank {
                runs.push(0);
            }
            if def == leaf.max_def
                && let Some(run) = runs.last_mut()
            {
                *run += 1;
            }
        }
        if runs.len() == n_owners {
            return Ok(runs);
        }
        let expected = format!("entries for {n_owners} rows of its level");
        Err(self.corrupt(&leaf.path, &expected, runs.len().to_string()))
    }

    pub(crate) fn leaf(&self, path: &str) -> Result<&'a LeafInfo> {
        let leaf = self.schema.leaf(path);
        leaf.ok_or_else(|| self.corrupt(path, "one in every block", "no such leaf".to_owned()))
    }

    fn check_count(&self, leaf: &LeafInfo, n: usize) -> Result<()> {
        let found = self.leaves[leaf.index].values.len();
        if found == n {
            return Ok(());
        }
        Err(self.corrupt(&leaf.path, &format!("{n} values"), found.to_string()))
    }

    fn required(&self, path: &str, level: Level) -> Result<&'a LeafInfo> {
        let leaf = self.leaf(path)?;
        self.check_count(leaf, self.n(level))?;
        Ok(leaf)
    }

    /// A leaf of integers with one value per row of the level.
    pub(crate) fn ints(&self, path: &str, level: Level) -> Result<Vec<i64>> {
        self.ints_of(self.required(path, level)?)
    }

    /// A leaf of texts with one value per row of the level.
    pub(crate) fn texts(&self, path: &str, level: Level) -> Result<Vec<String>> {
        self.texts_of(self.required(path, level)?)
    }

    /// A leaf of byte strings with one value per row of the level.
    pub(crate) fn byte_strings(&self, path: &str, level: Level) -> Result<Vec<&[u8]>> {
        Ok(self.bytes_of(self.required(path, level)?)?.collect())
    }

    /// All values of a leaf of texts; [`Rows::values_per_row`] tells which row has which.
    pub(crate) fn listed_texts(&self, path: &str) -> Result<Vec<String>> {
        self.texts_of(self.leaf(path)?)
    }

    /// All values of a leaf of integers.
    pub(crate) fn listed_ints(&self, path: &str) -> Result<Vec<i64>> {
        self.ints_of(self.leaf(path)?)
    }

    /// Number of values of a leaf in each row.
    pub(crate) fn values_per_row(&self, leaf: &LeafInfo) -> Result<Vec<u32>> {
        self.runs(leaf, 0, self.n_rows)
    }

    fn enum_numbers(&self, path: &str, level: Level) -> Result<Vec<i32>> {
        let narrow = |wide: i64| {
            i32::try_from(wide)
                .map_err(|_| self.corrupt(path, "a number of an enumeration", wide.to_string()))
        };
        self.ints(path, level)?.into_iter().map(narrow).collect()
    }

    /// Dropped counts of a level, stored as signed; all 0 where the version has none.
    fn dropped(&self, name: &str, level: Level) -> Result<Vec<u32>> {
        let path = format!("{}{name}", crate::schema::prefix(level));
        if self.schema.leaf(&path).is_none() {
            return Ok(vec![0; self.n(level)]);
        }
        let leaf = self.required(&path, level)?;
        match &self.leaves[leaf.index].values {
            Values::I32(values) => Ok(values.iter().map(|count| count.cast_unsigned()).collect()),
            other => Err(self.wrong_type(leaf, "32-bit integers", other)),
        }
    }

    fn ints_of(&self, leaf: &LeafInfo) -> Result<Vec<i64>> {
        match &self.leaves[leaf.index].values {
            Values::I64(values) => Ok(values.clone()),
            Values::I32(values) => Ok(values.iter().map(|&value| value.into()).collect()),
            other => Err(self.wrong_type(leaf, "integers", other)),
        }
    }

    fn doubles_of(&self, leaf: &LeafInfo) -> Result<&[f64]> {
        match &self.leaves[leaf.index].values {
            Values::F64(values) => Ok(values),
            other => Err(self.wrong_type(leaf, "doubles", other)),
        }
    }

    fn bools_of(&self, leaf: &LeafInfo) -> Result<&[bool]> {
        match &self.leaves[leaf.index].values {
            Values::Bool(values) => Ok(values),
            other => Err(self.wrong_type(leaf, "booleans", other)),
        }
    }

    fn bytes_of(&self, leaf: &LeafInfo) -> Result<impl Iterator<Item = &[u8]>> {
        match &self.leaves[leaf.index].values {
            values @ (Values::Bytes(_) | Values::Coded(..)) => {
                Ok((0..values.len()).map(|at| values.bytes(at)))
            }
            other => Err(self.wrong_type(leaf, "byte arrays", other)),
        }
    }

    fn texts_of(&self, leaf: &LeafInfo) -> Result<Vec<String>> {
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map(str::to_owned);
            text.map_err(|_| {
                let found = bytes.escape_ascii().to_string();
                self.corrupt(&leaf.path, "text in UTF-8", found)
            })
        };
        self.bytes_of(leaf)?.map(text).collect()
    }

    fn wrong_type(&self, leaf: &LeafInfo, expected: &str, found: &Values) -> Error {
        let found = match found {
            Values::Bool(_) => "booleans",
            Values::I32(_) | Values::I64(_) => "integers",
            Values::F64(_) => "doubles",
            Values::Bytes(_) | Values::Coded(..) => "byte arrays",
        };
        self.corrupt(&leaf.path, expected, found.to_owned())
    }

    fn corrupt(&self, path: &str, expected: &str, found: String) -> Error {
        Error::corrupt(self.name, None, format!("in leaf {path} {expected}"), found)
    }
}

/// Values of a leaf, list by list.
#[derive(Default)]
struct ValueLists {
    counts: std::vec::IntoIter<u32>,
    values: std::vec::IntoIter<AttributeValue>,
}

impl ValueLists {
    fn next_values(&mut self) -> Vec<AttributeValue> {
        let n = self.counts.next().unwrap_or(0);
        self.values.by_ref().take(n as usize).collect()
    }
}
