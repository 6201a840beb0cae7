//! The table function `traceql('{ … }')`: a row per matched span, or of a metrics query a row per
//! sample. The plan below is that of the query itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DurationNanosecondBuilder, Float64Builder, Int64Builder, RecordBatch,
    RecordBatchOptions, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use traceql_language::Dialect;
use traceql_language::analyze::ir::{
    Aggregate, AggregateFunction, FieldExpr, FieldName, Intrinsic, MetricsExpr, MetricsFunction,
    OrderBy, ScalarExpr, Stage, TypedQuery,
};

use super::arrays::{hex, quoted};
use super::columns::{ZONE, time_type};
use super::comparisons;
use super::error::SqlError;
use super::function_exec::AnswerExec;
use super::provider::Asked;
use crate::evaluate::compile::{Program, compile_search};
use crate::metrics::{self, Label, LabelValue, MetricsKind, MetricsRequest, Series, TimeAxis};
use crate::options::QueryOptions;
use crate::query;
use crate::scan::exec::external;
use crate::search::{ResultAttribute, SpanResult, TraceResult, Value};

/// Most steps of a metrics query, as on the command line.
const MAX_INTERVALS: u64 = 10_000;

/// `traceql(query [, step])`.
#[derive(Debug)]
pub(super) struct TraceqlFunction {
    pub(super) asked: Arc<Asked>,
}

/// The answer of a query as a table.
#[derive(Debug)]
struct AnswerTable {
    asked: Arc<Asked>,
    query: TypedQuery,
    kind: MetricsKind,
    columns: Arc<[AnswerColumn]>,
    schema: SchemaRef,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AnswerColumn {
    name: String,
    data_type: DataType,
    from: From,
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq)]
enum From {
    TraceId,
    RootServiceName,
    RootName,
    TraceStart,
    /// Number of the spanset in its trace, from 1.
    Spanset,
    SpanId,
    Name,
    Start,
    Duration,
    /// What the span lists under a key.
    Listed(String),
    /// What its spanset lists under a key: groups, aggregates.
    OfSpanset(String),
    Time,
    Sample,
    /// All labels as a JSON object.
    Labels,
    Label(String),
}

impl TableFunctionImpl for TraceqlFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let texts: Option<Vec<&str>> = args
            .exprs()
            .iter()
            .map(|expr| match expr {
                Expr::Literal(literal, _) => literal.try_as_str().flatten(),
                _ => None,
            })
            .collect();
        let refuse = |error: SqlError| external(error.into());
        let usage =
            "write traceql('{ status = error }'), for metrics traceql('{ } | rate()', '1m')";
        let (text, step) = match texts.as_deref() {
            Some([text]) => (*text, None),
            Some([text, step]) => (*text, Some(*step)),
            _ => {
                let what = "traceql() takes a query in single quotes, and for metrics a step";
                return Err(refuse(SqlError::new(what).hint(usage)));
            }
        };
        let query = traceql_language::compile(text, Dialect::Default).map_err(|error| {
            let hints = error.hints;
            refuse(SqlError { hints, ..SqlError::new(error.message) })
        })?;
        let kind = match step {
            Some("instant") => MetricsKind::Instant,
            Some(step) => {
                match comparisons::parse(step).and_then(|step| u64::try_from(step).ok()) {
                    Some(step_nanos @ 1..) => MetricsKind::Range { step_nanos: Some(step_nanos) },
                    _ => {
                        let error = SqlError::new(format!("{step:?} is no step"));
                        return Err(refuse(error.hint("write a duration, '30s', or 'instant'")));
                    }
                }
            }
            None => MetricsKind::Range { step_nanos: None },
        };
        if step.is_some() && query.metrics.is_none() {
            let error = SqlError::new("a step is for metrics, and this query searches for traces");
            return Err(refuse(error.hint(usage)));
        }
        let columns = match &query.metrics {
            Some(metrics) => metrics_columns(metrics),
            None => search_columns(&query, &compile_search(&query).map_err(external)?),
        };
        let fields: Vec<ArrowField> = columns
            .iter()
            .map(|column| ArrowField::new(&column.name, column.data_type.clone(), true))
            .collect();
        Ok(Arc::new(AnswerTable {
            asked: Arc::clone(&self.asked),
            query,
            kind,
            columns: columns.into(),
            schema: Arc::new(Schema::new(fields)),
        }))
    }
}

fn column(name: impl Into<String>, data_type: DataType, from: From) -> AnswerColumn {
    AnswerColumn { name: name.into(), data_type, from }
}

fn search_columns(query: &TypedQuery, program: &Program) -> Vec<AnswerColumn> {
    let duration = DataType::Duration(TimeUnit::Nanosecond);
    let mut columns = vec![
        column("trace_id", DataType::Utf8, From::TraceId),
        column("root_service_name", DataType::Utf8, From::RootServiceName),
        column("root_name", DataType::Utf8, From::RootName),
        column("trace_start_time", time_type(), From::TraceStart),
        column("spanset", DataType::Int64, From::Spanset),
        column("span_id", DataType::Utf8, From::SpanId),
        column("start_time", time_type(), From::Start),
        column("duration", duration.clone(), From::Duration),
        column("duration_nanos", DataType::Int64, From::Duration),
    ];
    if program.names_wanted {
        columns.push(column("name", DataType::Utf8, From::Name));
    }
    for listed in &program.listed {
        let field = &program.fields[listed.field];
        let (key, data_type) = match &field.name {
            FieldName::Parent => continue,
            FieldName::Attribute { key, .. } => (key.clone(), DataType::Utf8),
            FieldName::Intrinsic(intrinsic) => {
                (intrinsic.name().to_owned(), intrinsic_type(*intrinsic))
            }
        };
        add(&mut columns, &key, data_type, From::Listed(key.clone()));
    }
    for stage in &query.pipeline.stages {
        match stage {
            Stage::By { label, .. } => {
                add(&mut columns, label, DataType::Utf8, From::OfSpanset(label.clone()));
            }
            Stage::ScalarFilter { left, right, .. } => {
                for aggregate in aggregates(left).into_iter().chain(aggregates(right)) {
                    let label = &aggregate.label;
                    let from = From::OfSpanset(label.clone());
                    add(&mut columns, label, aggregate_type(aggregate), from);
                }
            }
            Stage::Spanset(_) | Stage::Coalesce | Stage::Select(_) => {}
        }
    }
    for key in &query.order_by {
        if let OrderBy::Spanset(aggregate) = &key.by {
            let label = &aggregate.label;
            let from = From::OfSpanset(label.clone());
            add(&mut columns, label, aggregate_type(aggregate), from);
        }
    }
    columns
}

/// Adds a column, once; an attribute that is called like another column gets its scope's dot.
fn add(columns: &mut Vec<AnswerColumn>, name: &str, data_type: DataType, from: From) {
    if columns.iter().any(|known| known.from == from) {
        return;
    }
    let is_taken = columns.iter().any(|known| known.name == name);
    let name = if is_taken { format!(".{name}") } else { name.to_owned() };
    columns.push(column(name, data_type, from));
}

fn intrinsic_type(intrinsic: Intrinsic) -> DataType {
    match intrinsic {
        Intrinsic::Duration
        | Intrinsic::Gap
        | Intrinsic::TraceDuration
        | Intrinsic::EventTimeSinceStart => DataType::Duration(TimeUnit::Nanosecond),
        Intrinsic::NestedSetLeft
        | Intrinsic::NestedSetRight
        | Intrinsic::NestedSetParent
        | Intrinsic::SpanChildCount => DataType::Int64,
        _ => DataType::Utf8,
    }
}

fn aggregates(scalar: &ScalarExpr) -> Vec<&Aggregate> {
    match scalar {
        ScalarExpr::Static(_) | ScalarExpr::Pipeline { .. } => Vec::new(),
        ScalarExpr::Aggregate(aggregate) => vec![aggregate],
        ScalarExpr::Arithmetic { left, right, .. } => {
            aggregates(left).into_iter().chain(aggregates(right)).collect()
        }
    }
}

fn aggregate_type(aggregate: &Aggregate) -> DataType {
    match (aggregate.function, &aggregate.operand) {
        (AggregateFunction::Count | AggregateFunction::CountDistinct, _) => DataType::Int64,
        (_, Some(FieldExpr::Field(field))) => match field.name {
            FieldName::Intrinsic(intrinsic)
                if intrinsic_type(intrinsic) == DataType::Duration(TimeUnit::Nanosecond) =>
            {
                DataType::Duration(TimeUnit::Nanosecond)
            }
            _ => DataType::Float64,
        },
        _ => DataType::Float64,
    }
}

fn metrics_columns(metrics: &MetricsExpr) -> Vec<AnswerColumn> {
    fn labels(metrics: &MetricsExpr, names: &mut Vec<(String, DataType)>) {
        match metrics {
            MetricsExpr::Query { function, by, .. } => {
                names.extend(by.iter().map(|field| (field.to_string(), DataType::Utf8)));
                match function {
                    MetricsFunction::HistogramOverTime(_) => {
                        names.push(("__bucket".to_owned(), DataType::Float64));
                    }
                    MetricsFunction::QuantileOverTime { .. } => {
                        names.push(("p".to_owned(), DataType::Float64));
                    }
                    MetricsFunction::Compare { .. } => {
                        names.push(("__meta_type".to_owned(), DataType::Utf8));
                    }
                    _ => {}
                }
            }
            MetricsExpr::Math { left, right, .. } => {
                labels(left, names);
                labels(right, names);
            }
            MetricsExpr::Constant(_) => {}
        }
    }
    let mut columns = vec![
        column("time", time_type(), From::Time),
        column("value", DataType::Float64, From::Sample),
        column("labels", DataType::Utf8, From::Labels),
    ];
    let mut names = Vec::new();
    labels(metrics, &mut names);
    for (name, data_type) in names {
        add(&mut columns, &name, data_type, From::Label(name.clone()));
    }
    columns
}

#[async_trait]
impl TableProvider for AnswerTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let chosen: Vec<usize> = match projection {
            None => (0..self.columns.len()).collect(),
            Some(chosen) => chosen.clone(),
        };
        let schema = Arc::new(self.schema.project(&chosen)?);
        let columns: Arc<[AnswerColumn]> =
            chosen.iter().filter_map(|at| self.columns.get(*at).cloned()).collect();
        self.plan(columns, schema).await.map_err(external)
    }
}

impl AnswerTable {
    async fn plan(
        &self,
        columns: Arc<[AnswerColumn]>,
        schema: SchemaRef,
    ) -> crate::error::Result<Arc<dyn ExecutionPlan>> {
        let Asked { runtime, run, source, tenants, options, .. } = &*self.asked;
        let query = &self.query;
        if query.metrics.is_none() {
            let options = QueryOptions { limit: 0, spans_per_spanset: 0, ..options.clone() };
            let plan = query::plan(runtime, run, source, tenants, query, &options).await?;
            self.asked.note(&plan.stats, plan.warnings, plan.skipped, plan.spec.units.len());
            return Ok(Arc::new(AnswerExec::new(plan.physical, columns, schema, None)));
        }
        let request = MetricsRequest {
            range: options.time_range.map(|(start, end)| (start, self.end(end))),
            kind: self.kind,
            max_intervals: MAX_INTERVALS,
            ..MetricsRequest::default()
        };
        let plan = metrics::plan(runtime, run, source, tenants, query, &request, options).await?;
        let n_units = plan.selections.iter().map(|(_, spec)| spec.units.len()).sum();
        self.asked.note(&plan.stats, plan.warnings, plan.skipped, n_units);
        if plan.is_timeless {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        Ok(Arc::new(AnswerExec::new(plan.physical, columns, schema, Some(plan.axis))))
    }

    /// An open end is now.
    fn end(&self, end: u64) -> u64 {
        let now = self.asked.options.now_unix_nanos.and_then(|now| u64::try_from(now).ok());
        if end == u64::MAX { now.unwrap_or(end) } else { end }
    }
}

/// The rows of some traces.
pub(super) fn rows_of_traces(
    traces: &[TraceResult],
    columns: &[AnswerColumn],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    for trace in traces {
        for (number, spanset) in (1_i64..).zip(&trace.spansets) {
            for span in &spanset.spans {
                rows.push((trace, number, spanset.attributes.as_slice(), span));
            }
        }
    }
    let arrays = columns.iter().map(|column| {
        let mut array = Array::new(&column.data_type, rows.len());
        for (trace, number, values, span) in &rows {
            array.push(span_cell(&column.from, trace, *number, values, span));
        }
        array.finish()
    });
    batch(arrays.collect(), rows.len(), schema)
}

/// The rows of some series.
pub(super) fn rows_of_series(
    series: &[Series],
    axis: &TimeAxis,
    columns: &[AnswerColumn],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let samples: Vec<(&Series, i64, f64)> = series
        .iter()
        .flat_map(|series| {
            series.samples.present().map(move |(interval, value)| {
                (series, axis.timestamp_unix_nanos(interval).cast_signed(), value)
            })
        })
        .collect();
    let arrays = columns.iter().map(|column| {
        let mut array = Array::new(&column.data_type, samples.len());
        for (series, time, value) in &samples {
            array.push(match &column.from {
                From::Time => Cell::Int(*time),
                From::Sample => Cell::Float(*value),
                From::Labels => Cell::Text(labels_json(&series.labels)),
                From::Label(name) => match series.labels.iter().find(|label| label.name == *name) {
                    None => Cell::Null,
                    Some(Label { value: LabelValue::Int(v), .. }) => Cell::Int(*v),
                    Some(Label { value: LabelValue::Float(v), .. }) => Cell::Float(*v),
                    Some(label) => Cell::Text(label.value.to_text()),
                },
                _ => Cell::Null,
            });
        }
        array.finish()
    });
    batch(arrays.collect(), samples.len(), schema)
}

fn batch(arrays: Vec<ArrayRef>, n_rows: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

fn labels_json(labels: &[Label]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|label| {
            let value = match &label.value {
                LabelValue::String(text) => quoted(text),
                LabelValue::Float(value) if !value.is_finite() => quoted(&value.to_string()),
                value => value.to_text(),
            };
            format!("{}:{value}", quoted(&label.name))
        })
        .collect();
    format!("{{{}}}", labels.join(","))
}

fn span_cell(
    from: &From,
    trace: &TraceResult,
    number: i64,
    values: &[ResultAttribute],
    span: &SpanResult,
) -> Cell {
    let named = |attributes: &[ResultAttribute], key: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == key);
        found.map_or(Cell::Null, |attribute| Cell::of(&attribute.value))
    };
    match from {
        From::TraceId => Cell::Text(trace.trace_id.to_string()),
        From::RootServiceName => Cell::Text(trace.root_service_name.clone()),
        From::RootName => Cell::Text(trace.root_trace_name.clone()),
        From::TraceStart => Cell::Int(trace.start_unix_nanos.cast_signed()),
        From::Spanset => Cell::Int(number),
        From::SpanId => Cell::Text(hex(&span.span_id)),
        From::Name => span.name.clone().map_or(Cell::Null, Cell::Text),
        From::Start => Cell::Int(span.start_unix_nanos.cast_signed()),
        From::Duration => Cell::Int(span.duration_nanos.cast_signed()),
        From::Listed(key) => named(&span.attributes, key),
        From::OfSpanset(key) => named(values, key),
        From::Time | From::Sample | From::Labels | From::Label(_) => Cell::Null,
    }
}

/// A value on its way into an array.
enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
}

impl Cell {
    fn of(value: &Value) -> Self {
        match value {
            Value::Nil => Self::Null,
            Value::Int(value) | Value::Duration(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::String(text) => Self::Text(text.clone()),
            Value::Bool(value) => Self::Text(value.to_string()),
            Value::Status(value) => Self::Text(value.to_string()),
            Value::Kind(value) => Self::Text(value.to_string()),
            Value::Array(values) => {
                let values = values.iter().map(|value| match value {
                    Value::String(text) => quoted(text),
                    value => Self::of(value).text().unwrap_or_else(|| "null".to_owned()),
                });
                Self::Text(format!("[{}]", values.collect::<Vec<_>>().join(",")))
            }
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(text) => Some(text),
        }
    }

    fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            #[expect(clippy::cast_possible_truncation, reason = "a mean of durations is rounded")]
            Self::Float(value) => Some(value.round() as i64),
            Self::Null | Self::Text(_) => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a column of doubles holds doubles")]
    fn float(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            Self::Null => None,
        }
    }
}

/// An array of one of the types that answers have.
enum Array {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Time(TimestampNanosecondBuilder),
    Duration(DurationNanosecondBuilder),
}

impl Array {
    fn new(data_type: &DataType, n: usize) -> Self {
        match data_type {
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(n)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(n)),
            DataType::Timestamp(..) => {
                Self::Time(TimestampNanosecondBuilder::with_capacity(n).with_timezone(ZONE))
            }
            DataType::Duration(_) => Self::Duration(DurationNanosecondBuilder::with_capacity(n)),
            _ => Self::Text(StringBuilder::with_capacity(n, n * 8)),
        }
    }

    fn push(&mut self, cell: Cell) {
        match self {
            Self::Text(array) => array.append_option(cell.text()),
            Self::Int(array) => array.append_option(cell.int()),
            Self::Float(array) => array.append_option(cell.float()),
            Self::Time(array) => array.append_option(cell.int()),
            Self::Duration(array) => array.append_option(cell.int()),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut array) => Arc::new(array.finish()),
            Self::Int(mut array) => Arc::new(array.finish()),
            Self::Float(mut array) => Arc::new(array.finish()),
            Self::Time(mut array) => Arc::new(array.finish()),
            Self::Duration(mut array) => Arc::new(array.finish()),
        }
    }
}

impl fmt::Display for AnswerColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
