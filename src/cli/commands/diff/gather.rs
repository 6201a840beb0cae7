//! The calls of one side: a trace by its id, or a search and then one scan for the spans of all traces
//! that it found, of which a comparison needs few columns.

use std::collections::HashMap;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use traceql_blocks::bucket::source::SourceKind;
use traceql_blocks::model::trace::SERVICE_NAME;
use traceql_blocks::model::{
    AttributeValue, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId,
};
use traceql_engine::tables::SqlStatement;
use traceql_engine::{QueryOptions, QueryStats};
use traceql_language::{Dialect, TypedQuery};

use super::super::{Told, split};
use super::Operand;
use crate::diff::Calls;
use crate::error::{Error, Kind, Result};
use crate::session::Session;

/// Every trace of a file.
const EVERYTHING: &str = "{ }";
/// From this many traces on, the scan is told their time alone, and the others are left out here.
const MAX_NAMED_TRACES: usize = 1_000;
/// What a comparison needs to know of a span.
const COLUMNS: &str = "trace_id, span_id, parent_span_id, service_name, name, kind, status, \
                       start_time, duration_nanos";

/// What was found on one side.
pub(super) struct Gathered {
    pub(super) calls: Calls,
    pub(super) told: Told,
    /// There may be more traces than were looked at.
    pub(super) is_cut: bool,
}

/// Finds the traces of a side and their calls.
pub(super) async fn gather(
    session: &Session,
    operand: &Operand,
    options: &QueryOptions,
) -> Result<Gathered> {
    match operand {
        Operand::Trace(id) => one_trace(session, *id, options).await,
        Operand::Query(_, query) => matching(session, query, options).await,
        Operand::File(name) => {
            if !matches!(session.source.kind(), SourceKind::Otlp(_)) {
                return Err(Error::usage(format!("{name} is no file of traces")).hint(format!(
                    "of blocks, compare what a query finds: --query '{EVERYTHING}' --source {name} --against-source OTHER"
                )));
            }
            let query = traceql_language::compile(EVERYTHING, Dialect::Default)
                .map_err(|error| Error::query("query", EVERYTHING, error))?;
            let options = QueryOptions { limit: 0, time_range: None, ..options.clone() };
            matching(session, &query, &options).await
        }
    }
}

async fn one_trace(session: &Session, id: TraceId, options: &QueryOptions) -> Result<Gathered> {
    let (source, tenants) = (&session.source, &session.tenants);
    let (trace, told) = split(session.engine.trace(source, tenants, id, options).await?);
    let Some(trace) = trace else {
        return Err(Error::new(Kind::Unreachable, format!("there is no trace {id} in {source}"))
            .hint("--source says where both are, --against-source where A is"));
    };
    let mut calls = Calls::default();
    add(&mut calls, trace);
    Ok(Gathered { calls, told, is_cut: false })
}

async fn matching(
    session: &Session,
    query: &TypedQuery,
    options: &QueryOptions,
) -> Result<Gathered> {
    let (source, tenants) = (&session.source, &session.tenants);
    let outcome = session.engine.search(source, tenants, query, options).await?;
    let (answer, mut told) = split(outcome);
    let mut ids: Vec<TraceId> = answer.traces.iter().map(|trace| trace.trace_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let starts = answer.traces.iter().map(|trace| trace.start_unix_nanos);
    let ends = answer
        .traces
        .iter()
        .map(|trace| trace.start_unix_nanos.saturating_add(trace.duration_nanos));
    let mut calls = Calls::default();
    if let (Some(start), Some(end)) = (starts.min(), ends.max()) {
        let options = QueryOptions { time_range: Some((start, end)), ..options.clone() };
        let (spans, of_spans) = spans(session, &ids, &options).await?;
        told.add(of_spans);
        spans.into_traces(&ids).for_each(|trace| add(&mut calls, trace));
    }
    Ok(Gathered { calls, told, is_cut: options.limit > 0 && ids.len() == options.limit })
}

fn add(calls: &mut Calls, mut trace: Trace) {
    // A client's span and the server's that share an id are two.
    trace.separate_shared_ids();
    calls.add(&trace);
}

/// The spans of these traces, whole traces in the given time.
async fn spans(
    session: &Session,
    ids: &[TraceId],
    options: &QueryOptions,
) -> Result<(Spans, Told)> {
    let named = match ids.len() <= MAX_NAMED_TRACES {
        true => {
            let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
            format!(" WHERE trace_id IN ({})", ids.join(", "))
        }
        false => String::new(),
    };
    let sql = format!("SELECT {COLUMNS} FROM spans{named}");
    let mut told = Told::default();
    let mut spans = Spans::default();
    for statement in SqlStatement::parse(&sql)? {
        let (source, tenants) = (&session.source, &session.tenants);
        let mut answer = session.engine.sql(source, tenants, &statement, options).await?;
        while let Some(batch) = answer.next().await? {
            spans.add(&batch, ids)?;
            spans.check_memory(options.memory_bytes)?;
        }
        told.add(split(answer.finish()).1);
    }
    // The same blocks and traces were counted by the search.
    told.stats = QueryStats { inspected_traces: 0, inspected_spans: 0, ..told.stats };
    Ok((spans, told))
}

/// Spans of many traces in little room, in the order in which they are stored.
#[derive(Default)]
struct Spans {
    rows: Vec<Row>,
    /// Services and names, each once.
    operations: HashMap<(String, String), usize>,
}

struct Row {
    /// Which of the traces.
    trace: usize,
    operation: usize,
    span_id: Option<u64>,
    parent_span_id: Option<u64>,
    kind: i32,
    is_error: bool,
    start_unix_nanos: u64,
    duration_nanos: u64,
}

impl Spans {
    /// Adds the rows of these traces.
    fn add(&mut self, batch: &RecordBatch, ids: &[TraceId]) -> Result<()> {
        let columns = Columns::of(batch).ok_or_else(|| {
            Error::new(Kind::Failed, "internal error, please report it: unexpected columns")
        })?;
        let hex = |column: &StringArray, row: usize| {
            column.is_valid(row).then(|| u64::from_str_radix(column.value(row), 16).ok()).flatten()
        };
        for row in 0..batch.num_rows() {
            let id = u128::from_str_radix(columns.trace_id.value(row), 16).unwrap_or(0);
            let Ok(trace) = ids.binary_search(&TraceId(id.to_be_bytes())) else { continue };
            let operation =
                (columns.service.value(row).to_owned(), columns.name.value(row).to_owned());
            let next = self.operations.len();
            self.rows.push(Row {
                trace,
                operation: *self.operations.entry(operation).or_insert(next),
                span_id: hex(columns.span_id, row),
                parent_span_id: hex(columns.parent_span_id, row),
                kind: kind(columns.kind.value(row)),
                is_error: columns.status.value(row) == "error",
                start_unix_nanos: u64::try_from(columns.start[row]).unwrap_or(0),
                duration_nanos: u64::try_from(columns.nanos[row]).unwrap_or(0),
            });
        }
        Ok(())
    }

    fn check_memory(&self, limit_bytes: usize) -> Result<()> {
        match self.rows.len() * size_of::<Row>() > limit_bytes {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Failed,
                format!("{} spans are more than the memory there is for them", self.rows.len()),
            )
            .hint("allow more with --memory, or compare fewer traces with --limit")),
        }
    }

    /// The traces, one after the other.
    fn into_traces(mut self, ids: &[TraceId]) -> impl Iterator<Item = Trace> {
        let mut names = vec![(String::new(), String::new()); self.operations.len()];
        #[expect(clippy::iter_over_hash_type, reason = "each goes to its own place")]
        for (operation, at) in self.operations {
            names[at] = operation;
        }
        // Stable: within a trace the order in which spans are stored says which root is the last.
        self.rows.sort_by_key(|row| row.trace);
        let mut rows = self.rows.into_iter().peekable();
        std::iter::from_fn(move || {
            let at = rows.peek()?.trace;
            let mut trace = Trace { id: ids[at], ..Trace::default() };
            while let Some(row) = rows.next_if(|row| row.trace == at) {
                trace.resource_spans.push(row.into_span(&names));
            }
            Some(trace)
        })
    }
}

impl Row {
    fn into_span(self, names: &[(String, String)]) -> ResourceSpans {
        let (service, name) = &names[self.operation];
        let id = |id: Option<u64>| id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
        let span = Span {
            span_id: id(self.span_id),
            parent_span_id: id(self.parent_span_id),
            name: name.clone(),
            kind: self.kind,
            start_unix_nanos: self.start_unix_nanos,
            end_unix_nanos: self.start_unix_nanos.saturating_add(self.duration_nanos),
            status_code: if self.is_error { 2 } else { 0 },
            ..Span::default()
        };
        let value = AttributeValue::String(service.clone());
        let attributes = vec![KeyValue { key: SERVICE_NAME.to_owned(), value }];
        ResourceSpans {
            resource: Resource { attributes, ..Resource::default() },
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        }
    }
}

/// The columns of a batch of [`COLUMNS`].
struct Columns<'a> {
    trace_id: &'a StringArray,
    span_id: &'a StringArray,
    parent_span_id: &'a StringArray,
    service: &'a StringArray,
    name: &'a StringArray,
    kind: &'a StringArray,
    status: &'a StringArray,
    start: &'a [i64],
    nanos: &'a [i64],
}

impl<'a> Columns<'a> {
    /// `None` if they are others.
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let text = |at: usize| batch.columns().get(at)?.as_string_opt::<i32>();
        let column = |at: usize| batch.columns().get(at);
        Some(Self {
            trace_id: text(0)?,
            span_id: text(1)?,
            parent_span_id: text(2)?,
            service: text(3)?,
            name: text(4)?,
            kind: text(5)?,
            status: text(6)?,
            start: column(7)?.as_primitive_opt::<TimestampNanosecondType>()?.values(),
            nanos: column(8)?.as_primitive_opt::<Int64Type>()?.values(),
        })
    }
}

/// The number of a kind's word.
fn kind(word: &str) -> i32 {
    let words = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    let at = words.iter().position(|known| *known == word).unwrap_or(0);
    i32::try_from(at).unwrap_or(0)
}
