//! Answers of a search as plain data: one row a trace, spansets inside (`traceql.md` 8.3, 8.4).

pub(crate) mod collect;
pub(crate) mod combine;
mod cursor;
mod gathered;
pub(crate) mod page;
pub(crate) mod rows;
pub(crate) mod top;

use std::collections::BTreeMap;

use traceql_blocks::model::TraceId;
use traceql_language::analyze::ir::{Kind, Status};

use crate::error::Result;
pub(crate) use cursor::Position;
pub use cursor::{BadCursor, Cursor};
pub use gathered::Gathered;

/// Takes one trace of an answer as soon as it is known to be part of it; an error ends the search.
pub type OnTrace<'a> = &'a (dyn Fn(TraceResult) -> Result<()> + Send + Sync);

/// The answer of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchAnswer {
    /// Matching traces: in the order of the query if it has one, else newest start first, ties by
    /// ascending trace id.
    pub traces: Vec<TraceResult>,
    /// Where the next page begins, if the answer ended at its limit.
    pub next: Option<Cursor>,
}

/// One matching trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceResult {
    /// Its id.
    pub trace_id: TraceId,
    /// `service.name` of the root span's resource; empty if there is no root span.
    pub root_service_name: String,
    /// Name of the root span; empty if there is none.
    pub root_trace_name: String,
    /// Earliest start of its spans, unix nanoseconds.
    pub start_unix_nanos: u64,
    /// Latest end minus earliest start.
    pub duration_nanos: u64,
    /// Spans and error spans of the whole trace by `service.name`, `""` for none.
    pub service_stats: BTreeMap<String, ServiceStats>,
    /// At least one.
    pub spansets: Vec<SpansetResult>,
}

/// Spans of one service in one trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    /// All spans.
    pub span_count: u32,
    /// Spans with status error.
    pub error_count: u32,
}

/// One spanset that came out of the pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpansetResult {
    /// Number of its spans, before the cut to spans-per-spanset.
    pub matched: u32,
    /// Group values and aggregates in pipeline order, keyed by canonical text.
    pub attributes: Vec<ResultAttribute>,
    /// The first spans of it in storage order.
    pub spans: Vec<SpanResult>,
}

/// One span of a spanset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanResult {
    /// Its id as stored, normally 8 bytes.
    pub span_id: Vec<u8>,
    /// Its name, if the query mentions or selects `name`.
    pub name: Option<String>,
    /// Start, unix nanoseconds.
    pub start_unix_nanos: u64,
    /// Duration in nanoseconds.
    pub duration_nanos: u64,
    /// What the query asked for and this span has (8.4).
    pub attributes: Vec<ResultAttribute>,
}

/// A named value of a span or spanset.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultAttribute {
    /// Key without scope for attributes, canonical name for intrinsics and group values.
    pub key: String,
    /// The value.
    pub value: Value,
}

/// A value of the language at run time.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the types of the language")]
pub enum Value {
    Nil,
    Int(i64),
    Float(f64),
    /// Signed nanoseconds.
    Duration(i64),
    String(String),
    Bool(bool),
    Status(Status),
    Kind(Kind),
    Array(Vec<Self>),
}

/// What an allocation takes besides what it was asked for.
const ALLOCATION_BYTES: usize = 16;

/// A node of a map of services, which has room for eleven of them.
const SERVICES_NODE_BYTES: usize = 11 * size_of::<(String, ServiceStats)>() + ALLOCATION_BYTES;

impl TraceResult {
    /// What holding it takes, about: most of it is small texts.
    pub(crate) fn memory_bytes(&self) -> usize {
        let services: usize = self.service_stats.keys().map(String::len).sum();
        let nodes = self.service_stats.len().div_ceil(6) * SERVICES_NODE_BYTES;
        let names = self.root_service_name.len() + self.root_trace_name.len();
        let spansets: usize = self.spansets.iter().map(SpansetResult::memory_bytes).sum();
        size_of::<Self>() + services + nodes + names + spansets + 3 * ALLOCATION_BYTES
    }
}

impl SpansetResult {
    fn memory_bytes(&self) -> usize {
        let span = |span: &SpanResult| {
            let name = span.name.as_ref().map_or(0, String::len);
            let texts = span.span_id.len() + name + 2 * ALLOCATION_BYTES;
            size_of::<SpanResult>() + texts + attribute_bytes(&span.attributes)
        };
        let spans: usize = self.spans.iter().map(span).sum();
        size_of::<Self>() + attribute_bytes(&self.attributes) + spans + ALLOCATION_BYTES
    }
}

fn attribute_bytes(attributes: &[ResultAttribute]) -> usize {
    let each = |attribute: &ResultAttribute| {
        attribute.key.len() + ALLOCATION_BYTES + value_bytes(&attribute.value)
    };
    size_of_val(attributes) + attributes.iter().map(each).sum::<usize>() + ALLOCATION_BYTES
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + ALLOCATION_BYTES,
        Value::Array(values) => {
            size_of_val(values.as_slice()) + values.iter().map(value_bytes).sum::<usize>()
        }
        _ => 0,
    }
}

/// The order answers are shown in: newest start first, ties by ascending trace id.
pub(crate) fn newest_first(traces: &mut [TraceResult]) {
    traces.sort_by(|a, b| {
        b.start_unix_nanos.cmp(&a.start_unix_nanos).then(a.trace_id.cmp(&b.trace_id))
    });
}
