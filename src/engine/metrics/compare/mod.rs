//! `compare()` (`metrics.md` 2.6): how often each value of each attribute occurs on the selected
//! spans and on all others. Attributes of resources, scopes and traces are counted once a run of
//! spans that share them, not once a span.

mod merge;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::values::{AttributeColumn, ColumnData, ValueRef};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{Field, FieldName, Intrinsic, MetricsFunction};

use super::budget::Budget;
use super::cells::{Count, Table};
use super::groups::label_value;
use super::observe::{Observations, Starts, all, matched};
use super::query::Observed;
use super::weight::weights_of;
use super::{LabelValue, TimeAxis, wire};
use crate::error::Result;
use crate::evaluate::columns::{columns_of, field_level};
use crate::evaluate::compile::Filter;
use crate::evaluate::distinct::{Distinct, MISSING};
use crate::evaluate::field::{Batch, FieldReader};
use crate::evaluate::pipeline::{Flow, Stop};
use crate::scan::unit::Sink;
pub(super) use merge::CompareMerge;
use merge::{AttributeMessage, SideMessage};

/// Intrinsics that are compared; others differ on every span, or are times.
const INTRINSICS: [Intrinsic; 9] = [
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::StatusMessage,
    Intrinsic::Kind,
    Intrinsic::RootName,
    Intrinsic::RootServiceName,
    Intrinsic::SpanChildCount,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];

const META: &str = "__meta_type";

/// Names of the two sides, of their values and of their totals.
const SIDES: [(&str, &str); 2] = [("baseline", "baseline_total"), ("selection", "selection_total")];

/// Gathers what one partition compares.
pub(crate) struct Comparer {
    starts: Starts,
    selection: Arc<Filter>,
    window: Option<(i64, i64)>,
    extrapolate: bool,
    /// Event and link fields the query filters on: those alone are compared.
    children: Vec<Field>,
    attributes: Vec<Compared>,
    by_name: HashMap<String, usize>,
    table: Table<Count>,
    n_series: u32,
    budget: Budget,
}

/// One attribute.
struct Compared {
    name: String,
    values: Distinct<LabelValue>,
    /// By side and value; [`MISSING`] for none.
    series: [Vec<u32>; 2],
}

/// Some spans that share a side and an interval, and what they weigh.
#[derive(Clone, Copy)]
struct Run {
    /// A span of the run.
    span: u32,
    interval: u32,
    side: u8,
    weight: f64,
}

impl Comparer {
    pub(super) fn new(
        observed: &Arc<Observed>,
        selection: Arc<Filter>,
        axis: TimeAxis,
        budget: Budget,
    ) -> Self {
        let window = match &observed.function {
            MetricsFunction::Compare { window, .. } => *window,
            _ => None,
        };
        let mut children: Vec<Field> = Vec::new();
        observed.filtered_fields(&mut |field| {
            let of_child = matches!(field_level(field), Level::Event | Level::Link);
            let is_time = field.name == FieldName::Intrinsic(Intrinsic::EventTimeSinceStart);
            if of_child && field.is_own() && !is_time && !children.contains(field) {
                children.push(field.clone());
            }
        });
        Self {
            starts: Starts::new(axis),
            selection,
            window,
            extrapolate: observed.extrapolate,
            children,
            attributes: Vec::new(),
            by_name: HashMap::new(),
            table: Table::new(axis.n_intervals),
            n_series: 0,
            budget,
        }
    }

    fn attribute(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        self.attributes.push(Compared {
            name: name.to_owned(),
            values: Distinct::new(label_value),
            series: [Vec::new(), Vec::new()],
        });
        self.by_name.insert(name.to_owned(), self.attributes.len() - 1);
        self.attributes.len() - 1
    }

    /// Counts the values that runs have of one field.
    fn count(&mut self, name: &str, reader: &FieldReader, runs: &[Run]) {
        let at = self.attribute(name);
        let spans: Vec<u32> = runs.iter().map(|run| run.span).collect();
        let numbers = self.attributes[at].values.numbers_of_field(reader, &spans);
        self.add(at, runs.iter().zip(numbers));
    }

    /// Counts the values of an attribute on its rows; `run_of` leads from a row to its runs.
    fn count_column(&mut self, name: &str, column: &AttributeColumn, runs: &[Run], run_of: &Runs) {
        let at = self.attribute(name);
        let numbers = self.attributes[at].values.numbers_of_column(column);
        let of_rows = column.rows.iter().zip(numbers);
        self.add(
            at,
            of_rows.flat_map(|(row, number)| {
                run_of.of(*row, runs).iter().map(move |run| (run, number))
            }),
        );
    }

    fn add<'a>(&mut self, attribute: usize, found: impl Iterator<Item = (&'a Run, u32)>) {
        let series = &mut self.attributes[attribute].series;
        for (run, number) in found.filter(|(_, number)| *number != MISSING) {
            let (number, of_side) = (number as usize, &mut series[usize::from(run.side)]);
            if of_side.len() <= number {
                of_side.resize(number + 1, MISSING);
            }
            if of_side[number] == MISSING {
                of_side[number] = self.n_series;
                self.n_series += 1;
            }
            self.table.cell(of_side[number], run.interval).0 += run.weight;
        }
    }

    /// What was counted, a row an attribute.
    pub(super) fn finish(self) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let Self { attributes, table, .. } = self;
        wire::encode(attributes.into_iter().map(move |attribute| {
            let values = attribute.values.all_shown().iter().map(Into::into).collect();
            let sides = attribute.series.iter().map(|series| {
                let mut side = SideMessage::default();
                for (number, series) in (0_u32..).zip(series).filter(|(_, row)| **row != MISSING) {
                    side.push(number, table.cells(*series));
                }
                side
            });
            let sides = sides.collect();
            AttributeMessage { name: attribute.name, values, sides }
        }))
    }

    fn check_size(&mut self) -> Result<()> {
        let n_series = self.n_series as usize;
        if !self.budget.is_due(n_series) {
            return Ok(());
        }
        let values: usize = self.attributes.iter().map(|a| a.values.size_bytes()).sum();
        if !self.budget.allows(self.table.size_bytes() + values) {
            return Err(self.budget.error(n_series, self.starts.axis.n_intervals));
        }
        Ok(())
    }
}

impl Sink for Comparer {
    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![self.starts.column.clone()];
        if self.window.is_some() {
            columns.push(Column::SpanStart);
        }
        columns
    }

    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
        let Some((spans, traces)) = matched(batch, flow) else { return Ok(()) };
        let mut hinted = self.columns();
        for intrinsic in INTRINSICS {
            hinted.extend(columns_of(&Field::intrinsic(intrinsic)));
        }
        hinted.iter().for_each(|column| batch.data.hint(column, &traces));
        let batch = Batch::new(batch.data, batch.program, traces)?;
        let starts = batch.data.column(&self.starts.column, &batch.traces);
        let exact = self.window.map(|_| batch.data.column(&Column::SpanStart, &batch.traces));
        let selected = batch.filter(&self.selection);
        let weights =
            self.extrapolate.then(|| batch.data.column(&Column::TraceState, &batch.traces));
        let rows = batch.span_rows();
        let intrinsics =
            all(INTRINSICS.iter().map(|i| batch.field(&Field::intrinsic(*i), &rows)).collect());
        let children = all(self
            .children
            .iter()
            .map(|field| batch.standing_in(field, |level| batch.satisfying_children(level)))
            .collect());
        let attributes = all([Level::Span, Level::Resource, Level::Scope]
            .map(|level| {
                let rows = match level {
                    Level::Span => spans.as_ref().clone(),
                    level => Mask::all(batch.data.n_rows(level)?),
                };
                batch.data.attributes(level, &batch.traces, &rows)
            })
            .into());
        let (starts, exact, selected) = (starts?, exact.transpose()?, selected?);
        let (weights, intrinsics) = (weights.transpose()?, intrinsics?);
        let (children, attributes) = (children?, attributes?);
        let Observations { spans, intervals } = self.starts.observations(&starts, &spans);
        if spans.is_empty() {
            return Ok(());
        }
        let side = |span: u32| {
            let inside = match (self.window, &exact) {
                (Some((start, end)), Some(starts)) => match starts.get(span as usize) {
                    // Judged by exact times (section 0, row 13).
                    ValueRef::Int(nanos) => start < nanos && nanos <= end,
                    _ => false,
                },
                _ => true,
            };
            u8::from(inside && selected.get(span as usize))
        };
        let weights = weights.map(|states| weights_of(&states, &spans));
        let by_span: Vec<Run> = spans
            .iter()
            .zip(&intervals)
            .enumerate()
            .map(|(at, (span, interval))| Run {
                span: *span,
                interval: *interval,
                side: side(*span),
                weight: weights.as_ref().map_or(1.0, |weights| weights[at]),
            })
            .collect();
        let by_owner = |owners: &[u32]| merged(&by_span, owners);
        let of_traces = by_owner(&batch.structure.span_trace);
        let of_resources = by_owner(&batch.structure.span_resource);
        let of_scopes = by_owner(&batch.structure.span_scope);
        for (intrinsic, reader) in INTRINSICS.iter().zip(&intrinsics) {
            let runs = match field_level(&Field::intrinsic(*intrinsic)) {
                Level::Trace => &of_traces,
                Level::Scope => &of_scopes,
                _ => &by_span,
            };
            self.count(intrinsic.name(), reader, runs);
        }
        let children_of_query = std::mem::take(&mut self.children);
        for (field, reader) in children_of_query.iter().zip(&children) {
            self.count(&field.to_string(), reader, &by_span);
        }
        self.children = children_of_query;
        use traceql_language::ir::AttributeScope as Scope;
        let structure = &batch.structure;
        let levels = [
            (Scope::Span, &by_span, Runs::of_spans(&by_span, structure.n_spans())),
            (
                Scope::Resource,
                &of_resources,
                Runs::of_owners(&of_resources, &structure.span_resource, structure.n_resources()),
            ),
            (
                Scope::Instrumentation,
                &of_scopes,
                Runs::of_owners(&of_scopes, &structure.span_scope, structure.n_scopes()),
            ),
        ];
        for ((scope, runs, run_of), columns) in levels.into_iter().zip(attributes) {
            for (key, data) in columns {
                if let ColumnData::Attribute(column) = &*data {
                    let name = Field::attribute(scope, key).to_string();
                    self.count_column(&name, column, runs, &run_of);
                }
            }
        }
        self.check_size().map_err(Stop::Query)
    }
}

/// The runs of each row of a level, which lie together.
struct Runs {
    /// First run of each row, and the number of runs. Rows without runs are empty.
    first: Vec<u32>,
}

impl Runs {
    fn of_spans(runs: &[Run], n_rows: usize) -> Self {
        Self::new(runs, n_rows, |run| run.span as usize)
    }

    fn of_owners(runs: &[Run], owners: &[u32], n_rows: usize) -> Self {
        Self::new(runs, n_rows, |run| owners[run.span as usize] as usize)
    }

    /// Runs ascend by their rows.
    fn new(runs: &[Run], n_rows: usize, row: impl Fn(&Run) -> usize) -> Self {
        let mut first = Vec::with_capacity(n_rows + 1);
        for (at, run) in (0_u32..).zip(runs) {
            first.resize((row(run) + 1).max(first.len()), at);
        }
        first.resize(n_rows + 1, u32::try_from(runs.len()).unwrap_or(u32::MAX));
        Self { first }
    }

    fn of<'a>(&self, row: u32, runs: &'a [Run]) -> &'a [Run] {
        let row = row as usize;
        match (self.first.get(row), self.first.get(row + 1)) {
            (Some(start), Some(end)) => &runs[*start as usize..*end as usize],
            _ => &[],
        }
    }
}

/// Runs of spans by what owns them.
fn merged(spans: &[Run], owners: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut first_of_owner = 0;
    let mut last = None;
    for run in spans {
        let owner = owners[run.span as usize];
        if last != Some(owner) {
            first_of_owner = runs.len();
            last = Some(owner);
        }
        // An owner's spans fall into few intervals.
        let same = |known: &&mut Run| known.interval == run.interval && known.side == run.side;
        match runs[first_of_owner..].iter_mut().find(same) {
            Some(known) => known.weight += run.weight,
            None => runs.push(*run),
        }
    }
    runs
}
