//! Spans of a batch become observations: each span that the pipeline leaves is counted once, in the
//! series of its groupings and the interval in which it starts (`metrics.md` 7.1, 7.2).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use traceql_blocks::read::leaf::{Demand, Fault};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::values::{ColumnData, ValueRef};
use traceql_blocks::schema::{Column, ROUNDED_STARTS};
use traceql_language::analyze::ir::{Field, FieldName, Intrinsic};

use super::budget::Budget;
use super::exemplars::Spread;
use super::groups::{Number, SeriesIndex, field_numbers, label_value};
use super::query::Observed;
use super::spec::columns;
use super::state::State;
use super::weight::weights_of;
use super::wire::{self, PartialMessage};
use super::{Exemplar, Label, LabelValue, TimeAxis};
use crate::error::Result;
use crate::evaluate::columns::columns_of;
use crate::evaluate::distinct::Distinct;
use crate::evaluate::field::{Batch, FieldReader, trace_id_text};
use crate::evaluate::pipeline::{Flow, Stop};
use crate::scan::unit::Sink;

/// The spans a batch contributes, ascending, each with its interval.
#[derive(Debug, Default)]
pub(super) struct Observations {
    pub(super) spans: Vec<u32>,
    pub(super) intervals: Vec<u32>,
}

/// How starts are read: as exactly as the intervals need.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    pub(super) axis: TimeAxis,
    pub(super) column: Column,
}

impl Starts {
    pub(super) fn new(axis: TimeAxis) -> Self {
        // Intervals are closed on the right and starts rounded up, so both agree where every edge
        // of the axis is a multiple of the granularity (1.7). A start of 0 is rounded up, too.
        let divides = |seconds: u16| {
            let nanos = u64::from(seconds) * 1_000_000_000;
            axis.start_unix_nanos > 0
                && axis.start_unix_nanos.is_multiple_of(nanos)
                && axis.step_nanos.is_multiple_of(nanos)
        };
        let coarsest = ROUNDED_STARTS.into_iter().filter(|seconds| divides(*seconds)).max();
        let column = match coarsest {
            Some(seconds) => Column::SpanStartRounded(seconds),
            None => Column::SpanStart,
        };
        Self { axis, column }
    }

    /// The spans that start within the range.
    pub(super) fn observations(&self, starts: &ColumnData, spans: &Mask) -> Observations {
        let ColumnData::Int(starts) = starts else { return Observations::default() };
        let n = spans.count();
        let mut found =
            Observations { spans: Vec::with_capacity(n), intervals: Vec::with_capacity(n) };
        // Neighbours often start in the same interval.
        let mut last = 0..0;
        let mut last_interval = 0;
        for span in spans.ones() {
            let start = starts[span].cast_unsigned();
            if !last.contains(&start) {
                let Some(interval) = self.axis.interval_of(start) else { continue };
                let end = self.axis.timestamp_unix_nanos(interval);
                last = (end - self.axis.step_nanos).saturating_add(1)..end.saturating_add(1);
                last_interval = u32::try_from(interval).unwrap_or(u32::MAX);
            }
            found.spans.push(crate::evaluate::field::row_number(span));
            found.intervals.push(last_interval);
        }
        found
    }
}

/// The spans of a flow, and the traces they lie in.
pub(super) fn matched<'a>(batch: &Batch<'_>, flow: &'a Flow) -> Option<(Cow<'a, Mask>, Mask)> {
    let spans = match flow {
        Flow::Mask(mask) => Cow::Borrowed(mask),
        Flow::Sets(_) => Cow::Owned(batch.flatten(flow.clone())),
    };
    let mut traces = Mask::none(batch.structure.n_traces());
    for trace in batch.traces.ones() {
        if spans.any_in(batch.structure.trace_spans.range(trace)) {
            traces.set(trace);
        }
    }
    traces.any().then_some((spans, traces))
}

/// What was found, or the fault that most needs to be told: all are asked before one is reported,
/// so that one fetch serves them together.
pub(super) fn all<T>(demands: Vec<Demand<T>>) -> Demand<Vec<T>> {
    let mut found = Vec::with_capacity(demands.len());
    let mut missing = false;
    for demand in demands {
        match demand {
            Ok(value) => found.push(value),
            Err(Fault::Missing) => missing = true,
            Err(failed) => return Err(failed),
        }
    }
    if missing { Err(Fault::Missing) } else { Ok(found) }
}

/// Gathers what one partition observes for one selection.
pub(crate) struct Observer {
    observed: Arc<Observed>,
    starts: Starts,
    names: Vec<String>,
    values: Vec<Distinct<LabelValue>>,
    index: SeriesIndex,
    state: State,
    exemplars: Option<Exemplars>,
    budget: Budget,
}

/// The exemplars of a partition.
struct Exemplars {
    /// One spread over all series, or one a series for quantiles (section 5).
    spreads: Vec<Spread>,
    per_series: bool,
    limit: usize,
    fields: Vec<Field>,
    kept: Vec<(u32, Exemplar)>,
}

/// Spans with their intervals and series, in parallel lists.
#[derive(Clone, Copy)]
struct Found<'a> {
    spans: &'a [u32],
    intervals: &'a [u32],
    series: &'a [u32],
}

/// A span that may become an exemplar, before anything of it is read.
struct Candidate {
    at: usize,
    series: u32,
}

impl Observer {
    pub(super) fn new(
        observed: Arc<Observed>,
        axis: TimeAxis,
        n_exemplars: usize,
        budget: Budget,
    ) -> Self {
        let exemplars = (n_exemplars > 0).then(|| {
            let fields: Vec<Field> = observed
                .fields()
                .into_iter()
                .filter(|field| field.name != FieldName::Intrinsic(Intrinsic::TraceId))
                .collect();
            Exemplars {
                spreads: Vec::new(),
                per_series: matches!(
                    observed.function,
                    traceql_language::analyze::ir::MetricsFunction::QuantileOverTime { .. }
                ),
                limit: n_exemplars,
                fields,
                kept: Vec::new(),
            }
        });
        Self {
            starts: Starts::new(axis),
            names: observed.by.iter().map(ToString::to_string).collect(),
            values: observed.by.iter().map(|_| Distinct::new(label_value)).collect(),
            index: SeriesIndex::default(),
            state: State::new(&observed, axis.n_intervals),
            observed,
            exemplars,
            budget,
        }
    }

    fn reader(batch: &Batch<'_>, field: &Field) -> Demand<FieldReader> {
        batch.standing_in(field, |level| batch.satisfying_children(level))
    }

    /// What was observed, a row a series. Whoever tells of a query before its end may look on.
    pub(super) fn finish(
        observer: Arc<Mutex<Self>>,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let exemplars = observer.lock().take_exemplars();
        let rows = exemplars.into_iter().enumerate().filter_map(move |(series, exemplars)| {
            let row = observer.lock().row(series, |_| true)?;
            let exemplars = exemplars.iter().map(Into::into).collect();
            Some(PartialMessage { exemplars, ..row })
        });
        wire::encode(rows)
    }

    /// Those of each series.
    fn take_exemplars(&mut self) -> Vec<Vec<Exemplar>> {
        let mut exemplars: Vec<Vec<Exemplar>> = vec![Vec::new(); self.index.len()];
        for (series, exemplar) in self.exemplars.iter_mut().flat_map(|e| e.kept.drain(..)) {
            exemplars[series as usize].push(exemplar);
        }
        exemplars
    }

    /// What was observed of a series in some intervals, but for exemplars; `None` if that is nothing.
    fn row(&self, series: usize, is_wanted: impl Fn(u32) -> bool) -> Option<PartialMessage> {
        let cells = self.state.to_messages(u32::try_from(series).unwrap_or(u32::MAX));
        let cells: Vec<_> = cells.into_iter().filter_map(|cells| cells.of(&is_wanted)).collect();
        if cells.is_empty() {
            return None;
        }
        let labels = self.index.labels(series, &self.names, &self.values);
        let labels = labels.iter().map(Into::into).collect();
        Some(PartialMessage { labels, cells, exemplars: Vec::new() })
    }

    /// What was observed so far in some intervals, but for exemplars.
    pub(super) fn rows_of(&self, wanted: &[bool]) -> Vec<PartialMessage> {
        let is_wanted = |interval: u32| wanted.get(interval as usize).copied().unwrap_or(false);
        (0..self.index.len()).filter_map(|series| self.row(series, is_wanted)).collect()
    }

    /// About how many accumulators there are.
    pub(super) fn n_cells(&self) -> usize {
        self.state.growth()
    }

    fn check_size(&mut self) -> Result<()> {
        if !self.budget.is_due(self.state.growth() + self.index.len()) {
            return Ok(());
        }
        let values: usize = self.values.iter().map(Distinct::size_bytes).sum();
        let others = values + self.index.size_bytes();
        self.state.fit(others, &self.budget, self.index.len(), self.starts.axis.n_intervals)
    }
}

impl Sink for Observer {
    fn columns(&self) -> Vec<Column> {
        columns(&self.observed, self.starts.axis)
    }

    fn take(&mut self, batch: &Batch<'_>, flow: &Flow) -> Result<(), Stop> {
        let Some((spans, traces)) = matched(batch, flow) else { return Ok(()) };
        for column in self.columns() {
            batch.data.hint(&column, &traces);
        }
        let batch = Batch::new(batch.data, batch.program, traces)?;
        let starts = batch.data.column(&self.starts.column, &batch.traces);
        let mut fields: Vec<&Field> = self.observed.by.iter().collect();
        fields.extend(self.observed.field());
        let readers = all(fields.into_iter().map(|field| Self::reader(&batch, field)).collect());
        let weights = self
            .observed
            .extrapolate
            .then(|| batch.data.column(&Column::TraceState, &batch.traces))
            .transpose();
        let (starts, mut readers, weights) = (starts?, readers?, weights?);
        let Observations { mut spans, mut intervals } = self.starts.observations(&starts, &spans);
        let of = self.observed.field().and_then(|_| readers.pop());
        let mut numbers = of.as_ref().map(|of| field_numbers(of, &spans));
        if self.state.needs_number()
            && let Some(numbers) = &mut numbers
        {
            // A span without a number makes no series.
            let keep: Vec<bool> = numbers.iter().map(Option::is_some).collect();
            let mut kept = keep.iter();
            spans.retain(|_| kept.next().is_some_and(|keep| *keep));
            let mut kept = keep.iter();
            intervals.retain(|_| kept.next().is_some_and(|keep| *keep));
            numbers.retain(Option::is_some);
        }
        if spans.is_empty() {
            return Ok(());
        }
        // Numbers of values and series are but names: giving them changes no answer.
        let values: Vec<Vec<u32>> = self
            .values
            .iter_mut()
            .zip(&readers)
            .map(|(values, reader)| values.numbers_of_field(reader, &spans))
            .collect();
        let series = self.index.series_of(&values, spans.len());
        if let Some(exemplars) = &mut self.exemplars {
            let found = Found { spans: &spans, intervals: &intervals, series: &series };
            exemplars.take(&batch, &self.starts.axis, found, numbers.as_deref())?;
        }
        let weights = weights.map(|states| weights_of(&states, &spans));
        self.state.add(&series, &intervals, numbers.as_deref(), weights.as_deref());
        self.check_size().map_err(Stop::Query)
    }
}

impl Exemplars {
    fn spread(&mut self, series: u32, axis: &TimeAxis) -> &mut Spread {
        let at = if self.per_series { series as usize } else { 0 };
        if self.spreads.len() <= at {
            self.spreads.resize(at + 1, Spread::new(self.limit, axis));
        }
        &mut self.spreads[at]
    }

    /// Chooses among the spans of a batch and reads what the chosen ones show. Nothing is kept
    /// before all of it is there.
    fn take(
        &mut self,
        batch: &Batch<'_>,
        axis: &TimeAxis,
        found: Found<'_>,
        numbers: Option<&[Option<Number>]>,
    ) -> Demand<()> {
        if !self.per_series && self.spread(0, axis).is_full() {
            return Ok(());
        }
        let before = self.spreads.clone();
        let Found { spans, intervals, series } = found;
        let mut chosen = Vec::new();
        let mut traces = Mask::none(batch.structure.n_traces());
        let mut last_trace = None;
        for (at, span) in spans.iter().enumerate() {
            let trace = batch.structure.span_trace[*span as usize];
            if last_trace == Some(trace) {
                continue;
            }
            last_trace = Some(trace);
            if self.spread(series[at], axis).take(intervals[at] as usize, axis) {
                chosen.push(Candidate { at, series: series[at] });
                traces.set(trace as usize);
            }
        }
        if chosen.is_empty() {
            return Ok(());
        }
        match self.read(batch, traces, &chosen, spans, numbers) {
            Ok(exemplars) => {
                self.kept.extend(exemplars);
                Ok(())
            }
            Err(fault) => {
                self.spreads = before;
                Err(fault)
            }
        }
    }

    fn read(
        &self,
        batch: &Batch<'_>,
        traces: Mask,
        chosen: &[Candidate],
        spans: &[u32],
        numbers: Option<&[Option<Number>]>,
    ) -> Demand<Vec<(u32, Exemplar)>> {
        let mut columns = vec![Column::TraceId, Column::SpanStart];
        columns.extend(self.fields.iter().flat_map(columns_of));
        columns.iter().for_each(|column| batch.data.hint(column, &traces));
        let batch = Batch::new(batch.data, batch.program, traces)?;
        let ids = batch.data.column(&Column::TraceId, &batch.traces);
        let starts = batch.data.column(&Column::SpanStart, &batch.traces);
        let readers =
            all(self.fields.iter().map(|field| Observer::reader(&batch, field)).collect());
        let (ids, starts, readers) = (ids?, starts?, readers?);
        Ok(chosen
            .iter()
            .map(|candidate| {
                let span = spans[candidate.at] as usize;
                let trace = batch.structure.span_trace[span] as usize;
                let id = match ids.get(trace) {
                    ValueRef::Bytes(bytes) => trace_id_text(bytes),
                    _ => Vec::new(),
                };
                let id = String::from_utf8_lossy(&id);
                let mut labels = vec![Label::text("trace:id", id)];
                labels.extend(self.fields.iter().zip(&readers).filter_map(|(field, reader)| {
                    let value = label_value(&reader.get(span))?;
                    Some(Label::new(reader.scoped(field, span).to_string(), value))
                }));
                let value = match numbers {
                    None => f64::NAN,
                    Some(numbers) => numbers[candidate.at].map_or(0.0, Number::value),
                };
                let timestamp_unix_nanos = match starts.get(span) {
                    ValueRef::Int(nanos) => nanos.cast_unsigned(),
                    _ => 0,
                };
                (candidate.series, Exemplar { labels, value, timestamp_unix_nanos })
            })
            .collect())
    }
}
