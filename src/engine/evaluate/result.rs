//! From matching spans to what a search returns: names, times and the attributes the query asked
//! for, read for the matching traces alone (`traceql.md` 8.3, 8.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use traceql_blocks::model::TraceId;
use traceql_blocks::read::leaf::{Demand, Fault};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{Field, FieldName};

use super::compile::{Listed, Program, TestKind};
use super::field::{Batch, FieldReader, row_number};
use super::pipeline::Spanset;
use super::value::Val;
use crate::search::{ResultAttribute, ServiceStats, SpanResult, SpansetResult, TraceResult, Value};

/// How results are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultOptions {
    /// Most spans per spanset; 0 for all.
    pub(crate) spans_per_spanset: usize,
}

/// What every result shows, in the order in which [`Batch::results`] reads it.
pub(crate) fn shown_columns(program: &Program) -> Vec<Column> {
    let mut columns = vec![
        Column::TraceId,
        Column::RootServiceName,
        Column::RootSpanName,
        Column::TraceStart,
        Column::TraceDuration,
        Column::SpanId,
        Column::SpanStart,
        Column::SpanDuration,
        Column::StatusCode,
        Column::Attribute(Level::Resource, "service.name".to_owned()),
    ];
    if program.names_wanted {
        columns.push(Column::Name);
    }
    columns
}

impl Batch<'_> {
    /// The results of spansets, which come by ascending trace. `self.traces` holds exactly their
    /// traces, so that nothing else is read.
    pub(crate) fn results(
        &self,
        sets: &[Spanset],
        options: ResultOptions,
    ) -> Demand<Vec<(u32, TraceResult)>> {
        let columns = shown_columns(self.program);
        let mut missing = None;
        let mut data: Vec<Arc<ColumnData>> = Vec::new();
        for column in &columns {
            match self.data.column(column, &self.traces) {
                Ok(column) => data.push(column),
                Err(fault) => missing = Some(fault),
            }
        }
        let listed = self.listed();
        if let Some(fault) = missing {
            return Err(fault);
        }
        let listed = listed?;
        let [
            trace_id,
            root_service,
            root_name,
            start,
            duration,
            id,
            span_start,
            span_duration,
            status,
            service,
            ..,
        ] = data.as_slice()
        else {
            return Err(Fault::Missing);
        };
        let mut results: Vec<(u32, TraceResult)> = Vec::new();
        for set in sets {
            let trace = set.trace as usize;
            if results.last().is_none_or(|(last, _)| *last != set.trace) {
                results.push((
                    set.trace,
                    TraceResult {
                        trace_id: TraceId::from_bytes(bytes(trace_id, trace)),
                        root_service_name: text(root_service, trace),
                        root_trace_name: text(root_name, trace),
                        start_unix_nanos: int(start, trace).cast_unsigned(),
                        duration_nanos: int(duration, trace).cast_unsigned(),
                        service_stats: self.service_stats(trace, status, service),
                        spansets: Vec::new(),
                    },
                ));
            }
            let most = match options.spans_per_spanset {
                0 => usize::MAX,
                most => most,
            };
            let spans = set
                .spans
                .iter()
                .take(most)
                .map(|span| {
                    let at = *span as usize;
                    SpanResult {
                        span_id: bytes(id, at).to_vec(),
                        name: data.get(10).map(|names| text(names, at)),
                        start_unix_nanos: int(span_start, at).cast_unsigned(),
                        duration_nanos: int(span_duration, at).cast_unsigned(),
                        attributes: listed.iter().flat_map(|listed| listed.of(self, at)).collect(),
                    }
                })
                .collect();
            if let Some((_, result)) = results.last_mut() {
                result.spansets.push(SpansetResult {
                    matched: row_number(set.spans.len()),
                    attributes: set
                        .values
                        .iter()
                        .map(|(key, value)| ResultAttribute {
                            key: key.clone(),
                            value: value.clone(),
                        })
                        .collect(),
                    spans,
                });
            }
        }
        Ok(results)
    }

    fn service_stats(
        &self,
        trace: usize,
        status: &ColumnData,
        service: &ColumnData,
    ) -> BTreeMap<String, ServiceStats> {
        let mut stats: BTreeMap<String, ServiceStats> = BTreeMap::new();
        let mut counted: Option<(u32, ServiceStats)> = None;
        let mut close = |counted: Option<(u32, ServiceStats)>| {
            if let Some((resource, counts)) = counted {
                let sum = stats.entry(text(service, resource as usize)).or_default();
                sum.span_count += counts.span_count;
                sum.error_count += counts.error_count;
            }
        };
        for span in self.structure.trace_spans.range(trace) {
            let resource = self.structure.span_resource[span];
            if counted.is_none_or(|(last, _)| last != resource) {
                close(counted.take());
                counted = Some((resource, ServiceStats::default()));
            }
            if let Some((_, counts)) = &mut counted {
                counts.span_count += 1;
                counts.error_count += u32::from(int(status, span) == 2);
            }
        }
        close(counted);
        stats
    }

    fn listed(&self) -> Demand<Vec<ListedReader>> {
        let rows = self.span_rows();
        let mut readers = Vec::new();
        let mut missing = None;
        for listed in &self.program.listed {
            match self.listed_reader(listed, &rows) {
                Ok(reader) => readers.push(reader),
                Err(fault) => missing = Some(fault),
            }
        }
        match missing {
            None => Ok(readers),
            Some(fault) => Err(fault),
        }
    }

    fn listed_reader(&self, listed: &Listed, rows: &super::field::Rows) -> Demand<ListedReader> {
        let field = &self.program.fields[listed.field];
        let level = super::columns::field_level(field);
        let many = matches!(level, Level::Event | Level::Link) && field.is_own();
        Ok(ListedReader {
            key: result_key(field),
            value: match field.name {
                FieldName::Parent => FieldReader::Nil,
                _ => self.field(field, rows)?,
            },
            of_children: if many { self.child_reader(field, level)? } else { None },
            unlimited: listed.unlimited,
            tests: listed
                .tests
                .iter()
                .map(|test| self.span_test(*test, many))
                .collect::<Demand<_>>()?,
            missing: listed
                .missing
                .iter()
                .map(|test| self.span_test(*test, many).map(|(_, _, mask)| mask))
                .collect::<Demand<_>>()?,
        })
    }

    /// A test by span: its predicate, the events (links) for which it holds, the spans.
    fn span_test(&self, number: usize, many: bool) -> Demand<(usize, Option<Mask>, Mask)> {
        let level = super::columns::field_level(&self.program.tests[number].field);
        if !many {
            return Ok((number, None, self.test(number, &self.span_rows())?));
        }
        let children = match level {
            Level::Event => self.data.span_events()?,
            _ => self.data.span_links()?,
        };
        let rows = self.child_rows(level)?;
        let by_child = self.test(number, &rows)?;
        let spans = Mask::from_fn(self.n_spans(), |span| by_child.any_in(children.range(span)));
        Ok((number, Some(by_child), spans))
    }

    fn child_reader(
        &self,
        field: &Field,
        level: Level,
    ) -> Demand<Option<(Arc<traceql_blocks::read::structure::Offsets>, FieldReader)>> {
        let children = match level {
            Level::Event => self.data.span_events()?,
            _ => self.data.span_links()?,
        };
        let rows = self.child_rows(level)?;
        Ok(Some((children, self.field(field, &rows)?)))
    }
}

/// Reads what spans list of one field.
struct ListedReader {
    key: String,
    value: FieldReader,
    of_children: Option<(Arc<traceql_blocks::read::structure::Offsets>, FieldReader)>,
    unlimited: bool,
    tests: Vec<(usize, Option<Mask>, Mask)>,
    missing: Vec<Mask>,
}

impl ListedReader {
    fn of(&self, batch: &Batch<'_>, span: usize) -> Option<ResultAttribute> {
        let attribute = |value| Some(ResultAttribute { key: self.key.clone(), value });
        if self.missing.iter().any(|mask| mask.get(span)) {
            return attribute(Value::String("nil".to_owned()));
        }
        let held: Vec<&(usize, Option<Mask>, Mask)> =
            self.tests.iter().filter(|(_, _, mask)| mask.get(span)).collect();
        if !self.unlimited && held.is_empty() {
            return None;
        }
        let value = match &self.of_children {
            // The last event (link) that satisfies is shown, or has the field if nothing limits it.
            Some((children, reader)) => children
                .range(span)
                .rev()
                .filter(|child| {
                    self.unlimited
                        || held.iter().any(|(_, by_child, _)| {
                            by_child.as_ref().is_some_and(|mask| mask.get(*child))
                        })
                })
                .map(|child| reader.get(child))
                .find(|value| !value.is_nil())
                .unwrap_or(if self.unlimited { self.value.get(span) } else { Val::Nil }),
            None => self.value.get(span),
        };
        let value = match value {
            Val::Array(elements) if !self.unlimited => {
                let shown: Vec<Val<'_>> = elements
                    .into_iter()
                    .filter(|element| {
                        held.iter().any(|(test, _, _)| {
                            let kind = &batch.program.tests[*test].what;
                            satisfies(batch, kind, element)
                        })
                    })
                    .collect();
                match shown.len() {
                    1 => shown.into_iter().next().unwrap_or(Val::Nil),
                    _ => Val::Array(shown),
                }
            }
            value => value,
        };
        match value {
            Val::Nil => None,
            value => attribute(value.to_value()),
        }
    }
}

/// True if one element of an array satisfies a test by itself.
fn satisfies(batch: &Batch<'_>, kind: &TestKind, element: &Val<'_>) -> bool {
    let test = |number: usize| {
        let predicate = &batch.program.conditions[number].predicate;
        match element {
            Val::Int(v) => predicate.test_int(*v),
            Val::Float(v) => predicate.test_float(*v),
            Val::Bool(v) => predicate.test_bool(*v),
            Val::Bytes(v) => predicate.test_bytes(v),
            _ => false,
        }
    };
    match kind {
        TestKind::Column(number) => test(*number),
        TestKind::Unscoped { span, .. } => test(*span),
        _ => true,
    }
}

/// Key of a listed attribute: without scope, intrinsics by their canonical name.
fn result_key(field: &Field) -> String {
    let name = match &field.name {
        FieldName::Parent => "parent",
        FieldName::Attribute { key, .. } => key,
        FieldName::Intrinsic(intrinsic) => intrinsic.name(),
    };
    name.to_owned()
}

fn int(column: &ColumnData, row: usize) -> i64 {
    match column {
        ColumnData::Int(values) => values.get(row).copied().unwrap_or(0),
        _ => 0,
    }
}

fn bytes(column: &ColumnData, row: usize) -> &[u8] {
    match column.get(row) {
        ValueRef::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn text(column: &ColumnData, row: usize) -> String {
    String::from_utf8_lossy(bytes(column, row)).into_owned()
}
