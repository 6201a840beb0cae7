//! Partial results of all partitions become series (`metrics.md` section 8): labels completed, rates
//! divided, quantiles interpolated, once and at the end. `compare()` has a merge of its own.

use arrow::array::RecordBatch;
use datafusion::common::HashMap;
use prost::Message as _;
use traceql_language::analyze::ir::MetricsFunction;

use super::budget::Budget;
use super::exemplars::{Spread, by_time};
use super::groups::Number;
use super::query::Observed;
use super::state::State;
use super::wire::{self, LabelMessage, PartialMessage};
use super::{Exemplar, Label, LabelValue, Samples, Series, TimeAxis, buckets};
use crate::error::Result;

/// Adds partial results up.
#[derive(Debug)]
pub(super) struct Merge {
    observed: Observed,
    axis: TimeAxis,
    n_exemplars: usize,
    by_labels: HashMap<Vec<u8>, u32>,
    labels: Vec<Vec<Label>>,
    exemplars: Vec<Vec<Exemplar>>,
    state: State,
    budget: Budget,
    label_bytes: usize,
}

/// The labels of a series as a key.
#[derive(Clone, PartialEq, prost::Message)]
struct Key {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelMessage>,
}

impl Merge {
    pub(super) fn new(
        observed: Observed,
        axis: TimeAxis,
        n_exemplars: usize,
        budget: Budget,
    ) -> Self {
        Self {
            state: State::new(&observed, axis.n_intervals),
            observed,
            axis,
            n_exemplars,
            by_labels: HashMap::default(),
            labels: Vec::new(),
            exemplars: Vec::new(),
            budget,
            label_bytes: 0,
        }
    }

    /// Adds the rows of a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in wire::decode::<PartialMessage>(batch)? {
            self.merge(row);
        }
        self.check_size()
    }

    /// Adds a row.
    pub(super) fn add_row(&mut self, row: PartialMessage) -> Result<()> {
        self.merge(row);
        self.check_size()
    }

    fn merge(&mut self, row: PartialMessage) {
        let PartialMessage { labels, cells, exemplars } = row;
        let labels = self.complete(labels.into_iter().map(Into::into).collect());
        let key = Key { labels: labels.iter().map(Into::into).collect() }.encode_to_vec();
        let next = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        self.label_bytes += 3 * key.len();
        let series = *self.by_labels.entry(key).or_insert(next);
        if series == next {
            self.labels.push(labels);
            self.exemplars.push(Vec::new());
        }
        cells.into_iter().for_each(|cells| self.state.merge(series, cells));
        self.exemplars[series as usize].extend(exemplars.into_iter().map(Into::into));
    }

    fn check_size(&mut self) -> Result<()> {
        if self.budget.is_due(self.state.growth() + self.labels.len()) {
            let (n_series, n_intervals) = (self.labels.len(), self.axis.n_intervals);
            self.state.fit(self.label_bytes, &self.budget, n_series, n_intervals)?;
        }
        Ok(())
    }

    /// Labels as series have them: without any grouping that has a value the first one is the word
    /// `nil`; without grouping the function's name stands (2.5).
    fn complete(&self, mut labels: Vec<Label>) -> Vec<Label> {
        let of_its_own = matches!(
            self.observed.function,
            MetricsFunction::QuantileOverTime { .. } | MetricsFunction::HistogramOverTime(_)
        );
        if labels.is_empty() && !of_its_own {
            labels.push(match self.observed.by.first() {
                Some(field) => Label::text(field.to_string(), "nil"),
                None => Label::text("__name__", self.observed.function.name()),
            });
        }
        labels
    }

    /// True if quantiles are no longer exact.
    pub(super) fn is_sketched(&self) -> bool {
        self.state.is_sketched()
    }

    /// All series, in no order, each made when it is asked for.
    pub(super) fn finish(mut self) -> impl Iterator<Item = Series> + Send {
        let counts = matches!(
            self.observed.function,
            MetricsFunction::Rate | MetricsFunction::CountOverTime
        );
        if counts
            && self.observed.by.is_empty()
            && self.labels.is_empty()
            && !self.observed.selects_nothing()
        {
            // No span is a count, too: zero (section 0, row 17).
            self.labels.push(self.complete(Vec::new()));
            self.exemplars.push(Vec::new());
        }
        self.thin_exemplars();
        let overall = self.overall_quantiles();
        let scale = self.scale();
        let labels = std::mem::take(&mut self.labels);
        let exemplars = std::mem::take(&mut self.exemplars);
        let all = (0_u32..).zip(labels.into_iter().zip(exemplars));
        all.flat_map(move |(series, (labels, exemplars))| {
            let lists = self.state.samples(series, &self.observed, &self.axis, scale);
            let mut of_series: Vec<Series> = lists
                .into_iter()
                .map(|(own, samples)| self.series(&labels, own, samples))
                .collect();
            for exemplar in exemplars {
                if let Some(series) = self.owner(&mut of_series, &overall, scale, &exemplar) {
                    series.exemplars.push(self.without_value(exemplar));
                }
            }
            of_series.retain(|series| !series.samples.all_absent());
            of_series
        })
    }

    fn series(&self, labels: &[Label], own: Option<f64>, samples: Samples) -> Series {
        let mut labels = labels.to_vec();
        let name = match self.observed.function {
            MetricsFunction::QuantileOverTime { .. } => "p",
            _ => "__bucket",
        };
        labels.extend(own.map(|own| Label::new(name, LabelValue::Float(own))));
        Series { labels, samples, exemplars: Vec::new() }
    }

    /// What bounds of buckets are divided by: durations are bucketed in nanoseconds and shown in
    /// seconds.
    fn scale(&self) -> f64 {
        use traceql_language::analyze::ir::{FieldName, Intrinsic as I};
        let is_duration = self.observed.field().is_some_and(|field| {
            matches!(
                field.name,
                FieldName::Intrinsic(I::Duration | I::TraceDuration | I::EventTimeSinceStart)
            )
        });
        if is_duration { 1e9 } else { 1.0 }
    }

    /// Partitions chose apart: what is too many is left out, evenly over the range.
    fn thin_exemplars(&mut self) {
        let per_series = matches!(self.observed.function, MetricsFunction::QuantileOverTime { .. });
        let mut spread = Spread::new(self.n_exemplars, &self.axis);
        for exemplars in &mut self.exemplars {
            if per_series {
                spread = Spread::new(self.n_exemplars, &self.axis);
            }
            by_time(exemplars);
            exemplars.retain(|exemplar| {
                let interval = self.axis.interval_of(exemplar.timestamp_unix_nanos);
                interval.is_some_and(|interval| spread.take(interval, &self.axis))
            });
        }
    }

    /// Each quantile of all observations together, for placing exemplars.
    fn overall_quantiles(&self) -> Vec<f64> {
        match &self.observed.function {
            MetricsFunction::QuantileOverTime { quantiles, .. } if self.n_exemplars > 0 => {
                super::state::distinct(quantiles)
                    .into_iter()
                    .map(|p| self.state.overall_quantile(p, self.scale()))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The series of a group that an exemplar stands in.
    fn owner<'a>(
        &self,
        series: &'a mut [Series],
        overall: &[f64],
        scale: f64,
        exemplar: &Exemplar,
    ) -> Option<&'a mut Series> {
        let at = match &self.observed.function {
            MetricsFunction::QuantileOverTime { .. } => {
                let distance = |at: &usize| (overall[*at] - exemplar.value).abs();
                // The first of equally near ones.
                (0..overall.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))?
            }
            MetricsFunction::HistogramOverTime(_) => {
                let bound = bound_of(exemplar.value, scale)?;
                series.iter().position(|series| {
                    series.labels.last().is_some_and(|l| l.value == LabelValue::Float(bound))
                })?
            }
            _ => 0,
        };
        series.get_mut(at)
    }

    /// Where the sample is the exemplar's value it is filled in at the very end.
    fn without_value(&self, exemplar: Exemplar) -> Exemplar {
        match self.observed.function {
            MetricsFunction::Rate
            | MetricsFunction::CountOverTime
            | MetricsFunction::HistogramOverTime(_) => Exemplar { value: f64::NAN, ..exemplar },
            _ => exemplar,
        }
    }
}

/// The bound of the bucket of a value, both in the unit of labels.
fn bound_of(value: f64, scale: f64) -> Option<f64> {
    #[expect(clippy::cast_possible_truncation, reason = "nanoseconds that were whole before")]
    let number = if scale == 1.0 {
        Number::Float(value)
    } else {
        Number::Nanos((value * scale).round() as i64)
    };
    let bucket = match number {
        Number::Int(v) | Number::Nanos(v) => buckets::of_int(v),
        Number::Float(v) => buckets::of_float(v)?,
    };
    Some(buckets::bound(bucket) / scale)
}

/// The value of every exemplar that has none of its own: its interval's sample. One whose interval
/// has no sample any more is dropped.
pub(super) fn fill_exemplars(series: &mut Series, axis: &TimeAxis) {
    let samples = &series.samples;
    series.exemplars.retain_mut(|exemplar| {
        let sample = axis
            .interval_of(exemplar.timestamp_unix_nanos)
            .map_or(f64::NAN, |interval| samples.get(interval));
        if exemplar.value.is_nan() {
            exemplar.value = sample;
        }
        !sample.is_nan()
    });
}
