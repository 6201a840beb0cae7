//! Attribute names and values that occur in the data, for completion.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{KeyValue, Trace};
use traceql_blocks::read::batch::TraceData;
use traceql_blocks::read::block_batch::BlockBatch;
use traceql_blocks::read::leaf::{Demand, Fault, Window};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::memory::MemoryBatch;
use traceql_blocks::read::open::{OpenBlock, ReadContext};
use traceql_blocks::read::rows::RowReader;
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{
    AttributeScope, Field, FieldExpr, FieldName, Intrinsic, Pipeline, SpansetExpr, Stage, Static,
};

use crate::error::{Error, Result};
use crate::evaluate::columns::{field_level, intrinsic_column, level};
use crate::evaluate::compile::{Program, compile};
use crate::evaluate::field::Batch;
use crate::evaluate::pipeline::{Flow, Stop};
use crate::evaluate::value::Val;
use crate::options::QueryOptions;
use crate::outcome::Outcome;
use crate::runtime::{QueryRun, Runtime};
use crate::select::{Opens, Selected, Selecting, Selection, read_context, select};

/// Which attribute names are wanted.
#[derive(Clone, Debug, Default)]
pub struct TagNamesRequest {
    /// One scope, or `None` for all of them.
    pub scope: Option<AttributeScope>,
    /// Only names on spans for which this is true.
    pub filter: Option<FieldExpr>,
    /// Most names per scope; 0 is no maximum.
    pub limit: usize,
}

/// Names by scope, never [`AttributeScope::Unscoped`]; scopes without names are left out.
pub type TagNames = BTreeMap<AttributeScope, BTreeSet<String>>;

/// Which values are wanted.
#[derive(Clone, Debug)]
pub struct TagValuesRequest {
    /// The field whose values are listed.
    pub field: Field,
    /// Only values on spans for which this is true.
    pub filter: Option<FieldExpr>,
    /// Most values; 0 is no maximum.
    pub limit: usize,
}

/// A value with the type word of Tempo's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypedTagValue {
    /// `string`, `int`, `float`, `bool`, `keyword` or `duration`.
    pub value_type: &'static str,
    /// The value as text.
    pub value: String,
}

/// Traces of a file looked at together: a batch copies them.
const MEMORY_TRACES: usize = 1_024;

/// Rows of a row group looked at together.
const WINDOW_ROWS: u32 = 2_048;

/// Collects names.
pub(crate) async fn names(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    source: &Source,
    tenants: &[TenantId],
    request: &TagNamesRequest,
    options: &QueryOptions,
) -> Result<Outcome<TagNames>> {
    let selecting = select(runtime, run, source, tenants, options, Opens::All).await?;
    let scopes: Vec<AttributeScope> = match request.scope {
        Some(AttributeScope::Unscoped) => vec![AttributeScope::Span, AttributeScope::Resource],
        Some(scope) => vec![scope],
        None => ALL_SCOPES.to_vec(),
    };
    let mut names = TagNames::new();
    let program = filter_program(request.filter.as_ref())?;
    match &selecting.selection {
        Selection::Memory(_, traces) => {
            for traces in traces.chunks(MEMORY_TRACES) {
                let batch = MemoryBatch::new(traces.to_vec());
                let spans = matching(&batch, &program, options.time_range).map_err(fault)?;
                names_of(batch.traces(), &spans, &scopes, &mut names);
            }
        }
        Selection::Blocks(blocks) => {
            let (context, n_readers) = reading(runtime, run, &selecting.selection, options);
            let mut found = futures::stream::iter(row_groups(blocks))
                .map(|(open, row_group)| {
                    let (context, scopes, program) = (&context, &scopes, &program);
                    async move {
                        let range = options.time_range;
                        let names = match request.filter.is_none() {
                            true => stored_names(&open, row_group, context, scopes).await,
                            false => {
                                matching_names(&open, row_group, context, scopes, program, range)
                                    .await
                            }
                        };
                        run.left_out.or_nothing(&open.block, names)
                    }
                })
                .buffered(n_readers);
            while !is_full(&names, &scopes, request.limit)
                && let Some(found) = found.try_next().await?
            {
                for (scope, found) in found {
                    names.entry(scope).or_default().extend(found);
                }
            }
        }
    }
    if request.limit > 0 {
        for names in names.values_mut() {
            while names.len() > request.limit {
                names.pop_last();
            }
        }
    }
    names.retain(|_, names| !names.is_empty());
    Ok(finish(names, selecting, run))
}

const ALL_SCOPES: [AttributeScope; 5] = [
    AttributeScope::Span,
    AttributeScope::Resource,
    AttributeScope::Event,
    AttributeScope::Link,
    AttributeScope::Instrumentation,
];

fn is_full(names: &TagNames, scopes: &[AttributeScope], limit: usize) -> bool {
    limit > 0 && scopes.iter().all(|s| names.get(s).is_some_and(|names| names.len() >= limit))
}

/// Names a row group holds, from dictionaries and statistics alone.
async fn stored_names(
    open: &Arc<OpenBlock>,
    row_group: usize,
    context: &ReadContext,
    scopes: &[AttributeScope],
) -> Result<TagNames> {
    let mut names = TagNames::new();
    let mut batch = batch(open, row_group, 0..open.n_rows(row_group), context);
    for scope in scopes {
        let keys = ask(&mut batch, |b| b.keys(level(*scope))).await?;
        names.entry(*scope).or_default().extend(keys);
    }
    Ok(names)
}

/// Names on the spans of a row group for which a filter holds.
async fn matching_names(
    open: &Arc<OpenBlock>,
    row_group: usize,
    context: &ReadContext,
    scopes: &[AttributeScope],
    program: &Program,
    range: Option<(u64, u64)>,
) -> Result<TagNames> {
    let mut names = TagNames::new();
    let mut reader = RowReader::new(open, row_group, context);
    for rows in windows(open.n_rows(row_group)) {
        let mut batch = batch(open, row_group, rows.clone(), context);
        let spans = ask(&mut batch, |b| matching(b, program, range)).await?;
        if spans.any() {
            let traces = reader.traces(rows).await?;
            names_of(&traces, &spans, scopes, &mut names);
        }
    }
    Ok(names)
}

/// The row groups of the blocks that were opened.
fn row_groups(blocks: &[Selected]) -> Vec<(Arc<OpenBlock>, usize)> {
    let opened = blocks.iter().filter_map(|selected| selected.open.as_ref());
    let of = |open: &Arc<OpenBlock>| {
        let open = Arc::clone(open);
        (0..open.n_row_groups()).map(move |row_group| (Arc::clone(&open), row_group))
    };
    opened.flat_map(of).collect()
}

/// How row groups are read, and how many at a time. What they hold is put together in their order.
fn reading(
    runtime: &Runtime,
    run: &QueryRun,
    selection: &Selection,
    options: &QueryOptions,
) -> (ReadContext, usize) {
    let n_readers = selection.n_readers(options);
    let mut context = read_context(runtime, run, options);
    context.memory.readers = n_readers as u64;
    (context, n_readers)
}

/// Names on the matching spans of some traces and on what surrounds them.
fn names_of(traces: &[Trace], spans: &Mask, scopes: &[AttributeScope], names: &mut TagNames) {
    let mut add = |scope: AttributeScope, attributes: &[KeyValue]| {
        if scopes.contains(&scope) {
            let names = names.entry(scope).or_default();
            for attribute in attributes {
                if !names.contains(&attribute.key) {
                    names.insert(attribute.key.clone());
                }
            }
        }
    };
    let all = traces.iter().flat_map(Trace::spans);
    for (_, at) in all.enumerate().filter(|(number, _)| spans.get(*number)) {
        add(AttributeScope::Span, &at.span.attributes);
        add(AttributeScope::Resource, &at.resource_spans.resource.attributes);
        add(AttributeScope::Instrumentation, &at.scope_spans.scope.attributes);
        at.span.events.iter().for_each(|event| add(AttributeScope::Event, &event.attributes));
        at.span.links.iter().for_each(|link| add(AttributeScope::Link, &link.attributes));
    }
}

/// Collects values.
pub(crate) async fn values(
    runtime: &Arc<Runtime>,
    run: &Arc<QueryRun>,
    source: &Source,
    tenants: &[TenantId],
    request: &TagValuesRequest,
    options: &QueryOptions,
) -> Result<Outcome<Vec<TypedTagValue>>> {
    if let FieldName::Intrinsic(intrinsic) = request.field.name {
        let words: Option<&[&str]> = match intrinsic {
            Intrinsic::Status => Some(&["error", "ok", "unset"]),
            Intrinsic::Kind => {
                Some(&["client", "consumer", "internal", "producer", "server", "unspecified"])
            }
            Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::RootName
            | Intrinsic::RootServiceName
            | Intrinsic::EventName
            | Intrinsic::InstrumentationName
            | Intrinsic::InstrumentationVersion => None,
            // Ids, times and numbers of the structure have no values worth listing.
            _ => Some(&[]),
        };
        if let Some(words) = words {
            let keyword =
                |word: &&str| TypedTagValue { value_type: "keyword", value: (*word).to_owned() };
            let answer = words.iter().map(keyword).collect();
            return Ok(Outcome { answer, ..Outcome::default() });
        }
    }
    let selecting = select(runtime, run, source, tenants, options, Opens::All).await?;
    let program = filter_program(request.filter.as_ref())?;
    let mut found = BTreeSet::new();
    // `.x` lists the values of both scopes it may mean.
    let fields: Vec<Field> = match &request.field.name {
        FieldName::Attribute { scope: AttributeScope::Unscoped, key } => {
            [AttributeScope::Span, AttributeScope::Resource]
                .map(|scope| Field::attribute(scope, key.clone()))
                .to_vec()
        }
        _ => vec![request.field.clone()],
    };
    match &selecting.selection {
        Selection::Memory(_, traces) => {
            for traces in traces.chunks(MEMORY_TRACES) {
                let batch = MemoryBatch::new(traces.to_vec());
                for field in &fields {
                    collect(&batch, &program, options.time_range, field, &mut found)
                        .map_err(fault)?;
                }
            }
        }
        Selection::Blocks(blocks) => {
            let (context, n_readers) = reading(runtime, run, &selecting.selection, options);
            let mut of_row_groups = futures::stream::iter(row_groups(blocks))
                .map(|(open, row_group)| {
                    let (context, program, fields) = (&context, &program, &fields);
                    async move {
                        let mut found = BTreeSet::new();
                        for field in fields {
                            let read = values_of_row_group(
                                &open, row_group, context, program, request, options, field,
                                &mut found,
                            );
                            run.left_out.or_nothing(&open.block, read.await)?;
                        }
                        Ok::<_, Error>(found)
                    }
                })
                .buffered(n_readers);
            while (request.limit == 0 || found.len() < request.limit)
                && let Some(of_row_group) = of_row_groups.try_next().await?
            {
                found.extend(of_row_group);
            }
        }
    }
    let mut answer: Vec<TypedTagValue> = found.into_iter().collect();
    if request.limit > 0 {
        answer.truncate(request.limit);
    }
    Ok(finish(answer, selecting, run))
}

#[expect(clippy::too_many_arguments, reason = "one step of a loop, named for readability")]
async fn values_of_row_group(
    open: &Arc<OpenBlock>,
    row_group: usize,
    context: &ReadContext,
    program: &Program,
    request: &TagValuesRequest,
    options: &QueryOptions,
    field: &Field,
    found: &mut BTreeSet<TypedTagValue>,
) -> Result<()> {
    let n_rows = open.n_rows(row_group);
    if request.filter.is_none()
        && options.time_range.is_none_or(|range| covers_block(range, open))
        && let Some(column) = column_of(field)
    {
        let mut whole = batch(open, row_group, 0..n_rows, context);
        if let Some(table) = ask(&mut whole, |b| b.only_dictionary(&column)).await? {
            found.extend(table.iter().map(|text| TypedTagValue {
                value_type: "string",
                value: String::from_utf8_lossy(text).into_owned(),
            }));
            return Ok(());
        }
    }
    for rows in windows(n_rows) {
        let mut batch = batch(open, row_group, rows, context);
        if let Some(column) = column_of(field) {
            let all = Mask::all(batch.window().n_rows());
            batch.prefetch(&column, &all);
        }
        ask(&mut batch, |b| collect(b, program, options.time_range, field, found)).await?;
        if request.limit > 0 && found.len() >= request.limit {
            break;
        }
    }
    Ok(())
}

fn covers_block(range: (u64, u64), open: &OpenBlock) -> bool {
    let meta = &open.block.meta;
    range.0 <= meta.start_unix_nanos.cast_unsigned()
        && range.1 >= meta.end_unix_nanos.cast_unsigned()
}

fn column_of(field: &Field) -> Option<Column> {
    match &field.name {
        FieldName::Attribute { scope, key } => Some(Column::Attribute(level(*scope), key.clone())),
        FieldName::Intrinsic(intrinsic) => intrinsic_column(*intrinsic),
        FieldName::Parent => None,
    }
}

/// Values of a field on the matching spans of a batch.
fn collect(
    data: &dyn TraceData,
    program: &Program,
    range: Option<(u64, u64)>,
    field: &Field,
    found: &mut BTreeSet<TypedTagValue>,
) -> Demand<()> {
    let spans = matching(data, program, range)?;
    if !spans.any() {
        return Ok(());
    }
    let n_traces = data.structure()?.n_traces();
    let batch = Batch::new(data, program, Mask::all(n_traces))?;
    let level = field_level(field);
    let (rows, by_child) = match level {
        Level::Event | Level::Link => (batch.child_rows(level)?, true),
        _ => (batch.span_rows(), false),
    };
    let reader = batch.field(field, &rows)?;
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let mut key = Vec::new();
    for row in 0..rows.len() {
        let span = if by_child { rows.span_of(row) } else { row };
        if !spans.get(span) {
            continue;
        }
        let value = reader.get(row);
        key.clear();
        value.group_key(&mut key);
        if !seen.contains(&key) {
            seen.insert(key.clone());
            typed(&value, found);
        }
    }
    Ok(())
}

/// A value as it is written in a query, text without its quotes.
fn typed(value: &Val<'_>, found: &mut BTreeSet<TypedTagValue>) {
    let (value_type, value) = match value {
        Val::Nil => return,
        Val::Array(elements) => return elements.iter().for_each(|element| typed(element, found)),
        Val::Int(v) => ("int", v.to_string()),
        Val::Float(v) => ("float", Static::Float(*v).to_string()),
        Val::Bool(v) => ("bool", v.to_string()),
        Val::Duration(v) => ("duration", traceql_language::duration_text(*v)),
        Val::Bytes(v) => ("string", String::from_utf8_lossy(v).into_owned()),
        Val::Status(_) | Val::Kind(_) => return,
    };
    found.insert(TypedTagValue { value_type, value });
}

/// Spans for which the program's filter holds, in traces of the range.
fn matching(data: &dyn TraceData, program: &Program, range: Option<(u64, u64)>) -> Demand<Mask> {
    let n_traces = data.structure()?.n_traces();
    let mut traces = Mask::all(n_traces);
    if let Some(range) = range {
        let at = |column: &ColumnData, row| match column.get(row) {
            ValueRef::Int(nanos) => nanos.cast_unsigned(),
            _ => 0,
        };
        let (starts, ends) =
            (data.column(&Column::TraceStart, &traces), data.column(&Column::TraceEnd, &traces));
        let (starts, ends) = (starts?, ends?);
        traces =
            Mask::from_fn(n_traces, |row| at(&starts, row) <= range.1 && at(&ends, row) >= range.0);
    }
    let batch = Batch::new(data, program, traces)?;
    match batch.run() {
        Ok(Flow::Mask(spans)) => Ok(spans),
        Ok(Flow::Sets(_)) | Err(Stop::Query(_)) => Ok(Mask::none(batch.n_spans())),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

fn filter_program(filter: Option<&FieldExpr>) -> Result<Program> {
    let body = filter.cloned().unwrap_or(FieldExpr::Static(Static::Bool(true)));
    compile(&Pipeline { stages: vec![Stage::Spanset(SpansetExpr::Filter(body))] })
}

fn windows(n_rows: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    (0..n_rows.div_ceil(WINDOW_ROWS))
        .map(move |at| at * WINDOW_ROWS..((at + 1) * WINDOW_ROWS).min(n_rows))
}

fn batch(
    open: &Arc<OpenBlock>,
    row_group: usize,
    rows: std::ops::Range<u32>,
    context: &ReadContext,
) -> BlockBatch {
    BlockBatch::new(Window::new(Arc::clone(open), row_group, rows, context.clone()))
}

/// Asks until nothing is missing.
async fn ask<T>(
    batch: &mut BlockBatch,
    mut question: impl FnMut(&BlockBatch) -> Demand<T>,
) -> Result<T> {
    loop {
        match question(batch) {
            Ok(answer) => return Ok(answer),
            Err(Fault::Missing) => batch.fetch().await?,
            Err(Fault::Failed(error)) => return Err(error.into()),
        }
    }
}

fn fault(fault: Fault) -> Error {
    match fault {
        Fault::Failed(error) => error.into(),
        Fault::Missing => Error::Internal("traces in memory lack a column".to_owned()),
    }
}

fn finish<T>(answer: T, selecting: Selecting, run: &QueryRun) -> Outcome<T> {
    run.outcome(answer, selecting.stats, selecting.warnings, selecting.skipped)
}
