//! Traces held in memory as [`TraceData`]: OTLP files, traces whose parts lie in several blocks.
//! The same columns as a block's, without a Parquet between.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::batch::TraceData;
use super::block_batch::rounded_up;
use super::leaf::Demand;
use super::mask::Mask;
use super::rows::StoredTrace;
use super::structure::{Offsets, Structure, count};
use super::values::{AttributeCell, AttributeColumn, ColumnData, StringTable, Strings};
use crate::model::trace::{SERVICE_NAME, TraceFields};
use crate::model::{AttributeValue, Event, KeyValue, Link, ResourceSpans, ScopeSpans, Span, Trace};
use crate::schema::{Column, Level};

/// Some traces.
#[derive(Debug)]
pub struct MemoryBatch {
    traces: Vec<Trace>,
    /// What their trace-level columns say, if not what follows from their spans.
    fields: Option<Vec<TraceFields>>,
    structure: Arc<Structure>,
    events: Arc<Offsets>,
    links: Arc<Offsets>,
    columns: Mutex<HashMap<Column, Arc<ColumnData>>>,
}

impl MemoryBatch {
    /// The traces in the order they have here.
    #[must_use]
    pub fn new(traces: Vec<Trace>) -> Self {
        let (mut structure, mut events, mut links) =
            (Structure::default(), Offsets::new(), Offsets::new());
        let (mut n_events, mut n_links) = (0, 0);
        let (mut resource, mut scope) = (0, 0);
        for (trace, held) in traces.iter().enumerate() {
            for resource_spans in &held.resource_spans {
                for scope_spans in &resource_spans.scope_spans {
                    for span in &scope_spans.spans {
                        structure.span_trace.push(count(trace));
                        structure.span_resource.push(resource);
                        structure.span_scope.push(scope);
                        n_events += span.events.len();
                        n_links += span.links.len();
                        events.push_end(count(n_events));
                        links.push_end(count(n_links));
                    }
                    scope += 1;
                }
                resource += 1;
            }
            structure.trace_spans.push_end(count(structure.span_trace.len()));
            structure.trace_resources.push_end(resource);
            structure.trace_scopes.push_end(scope);
        }
        Self {
            traces,
            fields: None,
            structure: Arc::new(structure),
            events: Arc::new(events),
            links: Arc::new(links),
            columns: Mutex::default(),
        }
    }

    /// Traces of which blocks hold parts, with what a block would say of them into which those are
    /// compacted: which of several roots is shown does not follow from the spans together.
    #[must_use]
    pub fn of_stored(stored: Vec<StoredTrace>) -> Self {
        let (traces, fields) =
            stored.into_iter().map(|stored| (stored.trace, stored.fields)).unzip();
        Self { fields: Some(fields), ..Self::new(traces) }
    }

    /// The traces.
    #[must_use]
    pub fn traces(&self) -> &[Trace] {
        &self.traces
    }

    /// What the trace-level columns say.
    fn fields(&self) -> Vec<TraceFields> {
        match &self.fields {
            Some(fields) => fields.clone(),
            None => self.traces.iter().map(|trace| (&trace.summary()).into()).collect(),
        }
    }

    fn resources(&self) -> impl Iterator<Item = &ResourceSpans> {
        self.traces.iter().flat_map(|trace| &trace.resource_spans)
    }

    fn scopes(&self) -> impl Iterator<Item = &ScopeSpans> {
        self.resources().flat_map(|resource_spans| &resource_spans.scope_spans)
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        self.scopes().flat_map(|scope_spans| &scope_spans.spans)
    }

    fn events(&self) -> impl Iterator<Item = (&Span, &Event)> {
        self.spans().flat_map(|span| span.events.iter().map(move |event| (span, event)))
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.spans().flat_map(|span| &span.links)
    }

    fn build(&self, column: &Column) -> ColumnData {
        match column {
            Column::TraceId => strings(self.traces.iter().map(|trace| trace.id.0.as_slice())),
            Column::TraceStart => ints(self.fields().iter().map(|of| of.start_unix_nanos)),
            Column::TraceEnd => ints(self.fields().iter().map(|of| of.end_unix_nanos)),
            Column::TraceDuration => ints(
                self.fields().iter().map(|of| of.end_unix_nanos.wrapping_sub(of.start_unix_nanos)),
            ),
            Column::RootServiceName => {
                strings(self.fields().into_iter().map(|of| of.root_service_name.into_bytes()))
            }
            Column::RootSpanName => {
                strings(self.fields().into_iter().map(|of| of.root_span_name.into_bytes()))
            }
            Column::SpanId => strings(self.spans().map(|span| span.span_id.as_slice())),
            Column::ParentSpanId => strings(self.spans().map(|s| s.parent_span_id.as_slice())),
            Column::NestedSetLeft => self.nested_sets(|set| set.left),
            Column::NestedSetRight => self.nested_sets(|set| set.right),
            Column::NestedSetParent => self.nested_sets(|set| set.parent_left),
            Column::Name => strings(self.spans().map(|span| span.name.as_bytes())),
            Column::Kind => ColumnData::Int(self.spans().map(|s| i64::from(s.kind)).collect()),
            Column::StatusCode => {
                ColumnData::Int(self.spans().map(|s| i64::from(s.status_code)).collect())
            }
            Column::StatusMessage => strings(self.spans().map(|s| s.status_message.as_bytes())),
            Column::SpanStart => ints(self.spans().map(|span| span.start_unix_nanos)),
            Column::SpanStartRounded(seconds) => ColumnData::Int(
                self.spans()
                    .map(|span| rounded_up(span.start_unix_nanos.cast_signed(), *seconds))
                    .collect(),
            ),
            Column::SpanDuration => ints(self.spans().map(Span::duration_nanos)),
            Column::TraceState => strings(self.spans().map(|s| s.trace_state.as_bytes())),
            Column::ScopeName => strings(self.scopes().map(|s| s.scope.name.as_bytes())),
            Column::ScopeVersion => strings(self.scopes().map(|s| s.scope.version.as_bytes())),
            Column::EventName => strings(self.events().map(|(_, event)| event.name.as_bytes())),
            Column::EventTimeSinceStart => ints(
                self.events()
                    .map(|(span, event)| event.time_unix_nanos.wrapping_sub(span.start_unix_nanos)),
            ),
            Column::LinkTraceId => strings(self.links().map(|link| link.trace_id.as_slice())),
            Column::LinkSpanId => strings(self.links().map(|link| link.span_id.as_slice())),
            Column::Attribute(Level::Resource, key) if key == SERVICE_NAME => {
                attribute(self.resources().map(|rs| Some(service_name(&rs.resource.attributes))))
            }
            Column::Attribute(level, key) => match level {
                Level::Trace => attribute(std::iter::empty()),
                Level::Resource => {
                    attribute(self.resources().map(|rs| first(&rs.resource.attributes, key)))
                }
                Level::Scope => attribute(self.scopes().map(|s| first(&s.scope.attributes, key))),
                Level::Span => attribute(self.spans().map(|span| first(&span.attributes, key))),
                Level::Event => {
                    attribute(self.events().map(|(_, event)| first(&event.attributes, key)))
                }
                Level::Link => attribute(self.links().map(|link| first(&link.attributes, key))),
            },
        }
    }

    fn nested_sets(
        &self,
        number: impl Fn(&crate::model::nested_set::NestedSet) -> i32,
    ) -> ColumnData {
        let numbers = self.traces.iter().flat_map(|trace| {
            trace.nested_sets().iter().map(|set| i64::from(number(set))).collect::<Vec<_>>()
        });
        ColumnData::Int(numbers.collect())
    }
}

fn ints(values: impl Iterator<Item = u64>) -> ColumnData {
    ColumnData::Int(values.map(u64::cast_signed).collect())
}

fn strings<T: AsRef<[u8]>>(values: impl Iterator<Item = T>) -> ColumnData {
    let mut table = StringTable::default();
    let codes = values.map(|value| table.push(value.as_ref())).collect();
    ColumnData::Strings(Strings { codes, table: Arc::new(table) })
}

fn first<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AttributeValue> {
    attributes.iter().find(|attribute| attribute.key == key).map(|attribute| &attribute.value)
}

/// The service name as blocks hold it: a value that is no string comes first, as it is kept in the
/// generic list; of several strings the last counts; without any it is empty (`traceql.md` 5.2).
fn service_name(attributes: &[KeyValue]) -> &AttributeValue {
    static NO_NAME: AttributeValue = AttributeValue::String(String::new());
    let mut named = attributes.iter().filter(|attribute| attribute.key == SERVICE_NAME);
    let is_string = |value: &AttributeValue| matches!(value, AttributeValue::String(_));
    let other = named.clone().find(|attribute| !is_string(&attribute.value));
    other
        .or_else(|| named.rfind(|attribute| is_string(&attribute.value)))
        .map_or(&NO_NAME, |attribute| &attribute.value)
}

fn attribute<'a>(values: impl Iterator<Item = Option<&'a AttributeValue>>) -> ColumnData {
    let mut column = AttributeColumn::default();
    let mut table = StringTable::default();
    for (row, value) in values.enumerate() {
        let Some(value) = value else { continue };
        let cell = match value {
            AttributeValue::Array(elements) => {
                let cells: Option<Vec<AttributeCell>> =
                    elements.iter().map(|element| scalar(element, &mut table)).collect();
                let same_type = |cells: &Vec<AttributeCell>| {
                    cells.windows(2).all(|pair| {
                        std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1])
                    })
                };
                match cells.filter(same_type) {
                    Some(cells) => column.push_elements(cells),
                    None => AttributeCell::Invisible,
                }
            }
            value => scalar(value, &mut table).unwrap_or(AttributeCell::Invisible),
        };
        column.rows.push(count(row));
        column.values.push(cell);
    }
    column.tables.push(Arc::new(table));
    ColumnData::Attribute(column)
}

fn scalar(value: &AttributeValue, table: &mut StringTable) -> Option<AttributeCell> {
    match value {
        AttributeValue::String(v) => Some(AttributeCell::String(0, table.push(v.as_bytes()))),
        AttributeValue::Int(v) => Some(AttributeCell::Int(*v)),
        AttributeValue::Double(v) => Some(AttributeCell::Float(*v)),
        AttributeValue::Bool(v) => Some(AttributeCell::Bool(*v)),
        AttributeValue::Unset
        | AttributeValue::Bytes(_)
        | AttributeValue::Array(_)
        | AttributeValue::KeyValues(_) => None,
    }
}

impl TraceData for MemoryBatch {
    fn structure(&self) -> Demand<Arc<Structure>> {
        Ok(Arc::clone(&self.structure))
    }

    fn span_events(&self) -> Demand<Arc<Offsets>> {
        Ok(Arc::clone(&self.events))
    }

    fn span_links(&self) -> Demand<Arc<Offsets>> {
        Ok(Arc::clone(&self.links))
    }

    fn attribute_keys(&self, level: Level) -> Demand<Vec<String>> {
        let mut keys = BTreeSet::new();
        let mut add = |attributes: &[KeyValue]| {
            attributes.iter().for_each(|attribute| {
                if !keys.contains(&attribute.key) {
                    keys.insert(attribute.key.clone());
                }
            });
        };
        match level {
            Level::Trace => {}
            Level::Resource => {
                self.resources().for_each(|r| add(&r.resource.attributes));
                add(&[KeyValue {
                    key: SERVICE_NAME.to_owned(),
                    value: AttributeValue::String(String::new()),
                }]);
            }
            Level::Scope => self.scopes().for_each(|s| add(&s.scope.attributes)),
            Level::Span => self.spans().for_each(|span| add(&span.attributes)),
            Level::Event => self.events().for_each(|(_, event)| add(&event.attributes)),
            Level::Link => self.links().for_each(|link| add(&link.attributes)),
        }
        Ok(keys.into_iter().collect())
    }

    fn column(&self, column: &Column, _traces: &Mask) -> Demand<Arc<ColumnData>> {
        if let Some(data) = self.columns.lock().get(column) {
            return Ok(Arc::clone(data));
        }
        let data = Arc::new(self.build(column));
        self.columns.lock().insert(column.clone(), Arc::clone(&data));
        Ok(data)
    }
}
