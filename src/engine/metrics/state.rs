//! What spans have been added up to: accumulators per series and interval, one kind a function
//! (`metrics.md` section 2). The same state holds what a partition observed and what all partitions
//! observed together; between them it crosses as plain data (`wire.rs`).

use std::collections::BTreeMap;

use datafusion::common::HashMap;
use traceql_language::analyze::ir::MetricsFunction;

use super::buckets::{self, Bucket};
use super::budget::Budget;
use super::cells::{Accumulator as _, Count, Extremes, Sum, Table};
use super::groups::Number;
use super::query::Observed;
use super::ranks::Ranks;
use super::wire::CellsMessage;
use super::{Samples, TimeAxis};
use crate::error::Result;

/// Accumulators of all series.
#[derive(Debug)]
pub(super) enum State {
    Counts(Table<Count>),
    Extremes(Table<Extremes>),
    Sums(Table<Sum>),
    Buckets(BucketTable),
    Ranks {
        table: Table<Ranks>,
        /// Values have become too many: they are sketched from now on.
        sketched: bool,
        /// Values held, each 8 bytes.
        n_values: usize,
    },
}

/// Counts by series and bucket.
#[derive(Debug)]
pub(super) struct BucketTable {
    table: Table<Count>,
    by_key: HashMap<(u32, Bucket), u32>,
    /// Series and bucket looked up last.
    last: Option<((u32, Bucket), u32)>,
    by_series: Vec<BTreeMap<Bucket, u32>>,
}

impl BucketTable {
    fn new(n_intervals: usize) -> Self {
        Self {
            table: Table::new(n_intervals),
            by_key: HashMap::default(),
            last: None,
            by_series: Vec::new(),
        }
    }

    fn row(&mut self, series: u32, bucket: Bucket) -> u32 {
        let key = (series, bucket);
        if let Some((last, row)) = self.last
            && last == key
        {
            return row;
        }
        let next = u32::try_from(self.by_key.len()).unwrap_or(u32::MAX);
        let row = *self.by_key.entry(key).or_insert(next);
        if row == next {
            let at = series as usize;
            if self.by_series.len() <= at {
                self.by_series.resize_with(at + 1, BTreeMap::new);
            }
            self.by_series[at].insert(bucket, row);
        }
        self.last = Some((key, row));
        row
    }

    /// Rows of a series by ascending bucket.
    fn rows(&self, series: u32) -> impl Iterator<Item = (Bucket, u32)> {
        let rows = self.by_series.get(series as usize);
        rows.into_iter().flatten().map(|(bucket, row)| (*bucket, *row))
    }
}

impl State {
    pub(super) fn new(observed: &Observed, n_intervals: usize) -> Self {
        match &observed.function {
            MetricsFunction::Rate
            | MetricsFunction::CountOverTime
            | MetricsFunction::Compare { .. } => Self::Counts(Table::new(n_intervals)),
            MetricsFunction::MinOverTime(_) | MetricsFunction::MaxOverTime(_) => {
                Self::Extremes(Table::new(n_intervals))
            }
            MetricsFunction::SumOverTime(_) | MetricsFunction::AvgOverTime(_) => {
                Self::Sums(Table::new(n_intervals))
            }
            MetricsFunction::QuantileOverTime { .. } if observed.exact => {
                Self::Ranks { table: Table::new(n_intervals), sketched: false, n_values: 0 }
            }
            MetricsFunction::QuantileOverTime { .. } | MetricsFunction::HistogramOverTime(_) => {
                Self::Buckets(BucketTable::new(n_intervals))
            }
        }
    }

    /// True if spans without a number add nothing, not even a series.
    pub(super) fn needs_number(&self) -> bool {
        !matches!(self, Self::Counts(_))
    }

    /// Adds spans: series, intervals and, where the function has them, numbers and weights, in
    /// parallel lists. Weights that are not given are 1.
    pub(super) fn add(
        &mut self,
        series: &[u32],
        intervals: &[u32],
        numbers: Option<&[Option<Number>]>,
        weights: Option<&[f64]>,
    ) {
        let weight = |at: usize| weights.map_or(1.0, |weights| weights[at]);
        let cells = series.iter().copied().zip(intervals.iter().copied()).enumerate();
        if let Self::Counts(table) = self {
            // Neighbours mostly fall into the same cell.
            let mut run: Option<((u32, u32), f64)> = None;
            for (at, cell) in cells {
                match &mut run {
                    Some((known, sum)) if *known == cell => *sum += weight(at),
                    _ => {
                        if let Some(((series, interval), sum)) = run.replace((cell, weight(at))) {
                            table.cell(series, interval).0 += sum;
                        }
                    }
                }
            }
            if let Some(((series, interval), sum)) = run {
                table.cell(series, interval).0 += sum;
            }
            return;
        }
        let numbers = numbers.unwrap_or_default();
        let valued = cells.filter_map(|(at, cell)| Some((at, cell, (*numbers.get(at)?)?)));
        match self {
            Self::Counts(_) => {}
            Self::Extremes(table) => {
                for (_, (series, interval), number) in valued {
                    table.cell(series, interval).add(number.value());
                }
            }
            Self::Sums(table) => {
                for (at, (series, interval), number) in valued {
                    table.cell(series, interval).add(number.value(), weight(at));
                }
            }
            Self::Buckets(table) => {
                for (at, (series, interval), number) in valued {
                    let bucket = match number {
                        Number::Int(v) | Number::Nanos(v) => Some(buckets::of_int(v)),
                        Number::Float(v) => buckets::of_float(v),
                    };
                    if let Some(bucket) = bucket {
                        let row = table.row(series, bucket);
                        table.table.cell(row, interval).0 += weight(at);
                    }
                }
            }
            Self::Ranks { table, sketched, n_values } => {
                for (_, (series, interval), number) in valued {
                    table.cell(series, interval).add(number.value(), *sketched);
                    *n_values += 1;
                }
            }
        }
    }

    /// Bytes held.
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Counts(table) => table.size_bytes(),
            Self::Extremes(table) => table.size_bytes(),
            Self::Sums(table) => table.size_bytes(),
            Self::Buckets(table) => table.table.size_bytes() + table.by_key.len() * 64,
            Self::Ranks { table, .. } => table.size_bytes(),
        }
    }

    /// A number that grows as the state does and costs nothing to know.
    pub(super) fn growth(&self) -> usize {
        match self {
            Self::Counts(table) => table.len(),
            Self::Extremes(table) => table.len(),
            Self::Sums(table) => table.len(),
            Self::Buckets(table) => table.table.len(),
            Self::Ranks { table, n_values, .. } => table.len() + n_values / 4,
        }
    }

    /// Gives exactness up for space; false if there is none to be won.
    pub(super) fn shrink(&mut self) -> bool {
        let Self::Ranks { table, sketched, .. } = self else { return false };
        if *sketched {
            return false;
        }
        *sketched = true;
        table.for_each(Ranks::sketch_values);
        true
    }

    /// Sees to it that the state and what belongs to it keep within a budget.
    pub(super) fn fit(
        &mut self,
        other_bytes: usize,
        budget: &Budget,
        n_series: usize,
        n_intervals: usize,
    ) -> Result<()> {
        let fits = |state: &Self| budget.allows(state.size_bytes() + other_bytes);
        if fits(self) || (self.shrink() && fits(self)) {
            return Ok(());
        }
        Err(budget.error(n_series, n_intervals))
    }

    /// True if quantiles are no longer exact.
    pub(super) fn is_sketched(&self) -> bool {
        matches!(self, Self::Ranks { sketched: true, .. })
    }

    /// The cells of a series as they cross a wire.
    pub(super) fn to_messages(&self, series: u32) -> Vec<CellsMessage> {
        let mut message = CellsMessage::default();
        match self {
            Self::Counts(table) => {
                for (interval, count) in table.cells(series) {
                    message.intervals.push(interval);
                    message.a.push(count.0);
                }
            }
            Self::Extremes(table) => {
                for (interval, extremes) in table.cells(series) {
                    message.intervals.push(interval);
                    message.a.push(extremes.least);
                    message.b.push(extremes.greatest);
                }
            }
            Self::Sums(table) => {
                for (interval, sum) in table.cells(series) {
                    message.intervals.push(interval);
                    message.a.push(sum.sum);
                    message.b.push(sum.lost);
                    message.c.push(sum.weight);
                }
            }
            Self::Buckets(table) => {
                return table
                    .rows(series)
                    .map(|(bucket, row)| {
                        let mut message =
                            CellsMessage { bucket: Some(bucket), ..CellsMessage::default() };
                        for (interval, count) in table.table.cells(row) {
                            message.intervals.push(interval);
                            message.a.push(count.0);
                        }
                        message
                    })
                    .collect();
            }
            Self::Ranks { table, .. } => {
                for (interval, ranks) in table.cells(series) {
                    message.intervals.push(interval);
                    message.ranks.push(ranks.into());
                }
            }
        }
        if message.intervals.is_empty() { Vec::new() } else { vec![message] }
    }

    /// Adds the cells of a series that another partition observed.
    pub(super) fn merge(&mut self, series: u32, message: CellsMessage) {
        let CellsMessage { bucket, intervals, a, b, c, ranks } = message;
        let ab = || a.iter().copied().zip(b.iter().copied());
        match self {
            Self::Counts(table) => {
                table.merge(series, intervals.into_iter().zip(a.into_iter().map(Count)));
            }
            Self::Extremes(table) => {
                let cells = ab().map(|(least, greatest)| Extremes { least, greatest });
                table.merge(series, intervals.into_iter().zip(cells));
            }
            Self::Sums(table) => {
                let cells =
                    ab().zip(&c).map(|((sum, lost), weight)| Sum { sum, lost, weight: *weight });
                table.merge(series, intervals.into_iter().zip(cells));
            }
            Self::Buckets(table) => {
                if let Some(bucket) = bucket {
                    let row = table.row(series, bucket);
                    table.table.merge(row, intervals.into_iter().zip(a.into_iter().map(Count)));
                }
            }
            Self::Ranks { table, sketched, n_values } => {
                let cells: Vec<Ranks> = ranks.into_iter().map(Into::into).collect();
                *sketched |= cells.iter().any(|ranks| !ranks.sketch.is_empty());
                *n_values += cells.iter().map(|ranks| ranks.values.len()).sum::<usize>();
                table.merge(series, intervals.into_iter().zip(cells));
            }
        }
    }

    /// The samples of a series: one list, or one per bucket or quantile (with its bound or `p`).
    pub(super) fn samples(
        &self,
        series: u32,
        observed: &Observed,
        axis: &TimeAxis,
        scale: f64,
    ) -> Vec<(Option<f64>, Samples)> {
        const ABSENT: f64 = f64::NAN;
        let n = axis.n_intervals;
        match self {
            Self::Counts(table) => {
                let factor = match observed.function {
                    // Multiplied by the reciprocal, as the reference does (2.1).
                    MetricsFunction::Rate => 1.0 / axis.step_seconds(),
                    _ => 1.0,
                };
                let cells = table.cells(series).map(|(at, count)| (at, count.0 * factor)).collect();
                vec![(None, Samples::sparse(n, 0.0, cells))]
            }
            Self::Extremes(table) => {
                let least = matches!(observed.function, MetricsFunction::MinOverTime(_));
                let value = |extremes: &Extremes| {
                    if least { extremes.least } else { extremes.greatest }
                };
                let cells = table.cells(series).map(|(at, cell)| (at, value(cell))).collect();
                vec![(None, Samples::sparse(n, ABSENT, cells))]
            }
            Self::Sums(table) => {
                let mean = matches!(observed.function, MetricsFunction::AvgOverTime(_));
                let value = |sum: &Sum| if mean { sum.total() / sum.weight } else { sum.total() };
                let cells = table.cells(series).map(|(at, cell)| (at, value(cell))).collect();
                vec![(None, Samples::sparse(n, ABSENT, cells))]
            }
            Self::Buckets(table) => match &observed.function {
                MetricsFunction::QuantileOverTime { quantiles, .. } => {
                    let by_interval = table.by_interval(series);
                    distinct(quantiles)
                        .into_iter()
                        .map(|p| {
                            let cells = by_interval
                                .iter()
                                .map(|(at, counts)| (*at, buckets::quantile(counts, p, scale)))
                                .collect();
                            (Some(p), Samples::sparse(n, 0.0, cells))
                        })
                        .collect()
                }
                _ => table
                    .rows(series)
                    .map(|(bucket, row)| {
                        let cells = table.table.cells(row).map(|(at, count)| (at, count.0));
                        let bound = buckets::bound(bucket) / scale;
                        (Some(bound), Samples::sparse(n, 0.0, cells.collect()))
                    })
                    .collect(),
            },
            Self::Ranks { table, .. } => match &observed.function {
                MetricsFunction::QuantileOverTime { quantiles, .. } => distinct(quantiles)
                    .into_iter()
                    .map(|p| {
                        let cells = table.cells(series).map(|(at, ranks)| (at, ranks.quantile(p)));
                        (Some(p), Samples::sparse(n, 0.0, cells.collect()))
                    })
                    .collect(),
                _ => Vec::new(),
            },
        }
    }

    /// The quantile of everything observed: all series and intervals together (section 5).
    pub(super) fn overall_quantile(&self, p: f64, scale: f64) -> f64 {
        match self {
            Self::Buckets(table) => {
                let mut pooled: BTreeMap<Bucket, f64> = BTreeMap::new();
                for (bucket, row) in table.by_series.iter().flatten() {
                    let sum: f64 = table.table.cells(*row).map(|(_, count)| count.0).sum();
                    *pooled.entry(*bucket).or_default() += sum;
                }
                let pooled: Vec<(Bucket, f64)> = pooled.into_iter().collect();
                buckets::quantile(&pooled, p, scale)
            }
            Self::Ranks { table, .. } => {
                let mut pooled = Ranks::default();
                for series in 0..table.len() {
                    let series = u32::try_from(series).unwrap_or(u32::MAX);
                    table.cells(series).for_each(|(_, ranks)| pooled.merge(ranks));
                }
                pooled.quantile(p)
            }
            Self::Counts(_) | Self::Extremes(_) | Self::Sums(_) => 0.0,
        }
    }
}

impl BucketTable {
    /// Counts by ascending bucket of every interval that has any.
    fn by_interval(&self, series: u32) -> Vec<(u32, Vec<(Bucket, f64)>)> {
        let mut found: BTreeMap<u32, Vec<(Bucket, f64)>> = BTreeMap::new();
        for (bucket, row) in self.rows(series) {
            for (interval, count) in self.table.cells(row) {
                found.entry(interval).or_default().push((bucket, count.0));
            }
        }
        found.into_iter().collect()
    }
}

/// Equal quantiles are one series (2.4).
pub(super) fn distinct(quantiles: &[f64]) -> Vec<f64> {
    let mut found: Vec<f64> = Vec::new();
    for p in quantiles {
        if !found.contains(p) {
            found.push(*p);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use traceql_language::Dialect;

    use super::super::ranks::RELATIVE_ERROR;
    use super::super::{query, wire};
    use super::*;

    fn near(found: f64, exact: f64) -> bool {
        (found - exact).abs() <= RELATIVE_ERROR * exact + 1e-9
    }

    #[test]
    fn exact_quantiles_give_way_to_a_sketch_also_across_partitions() {
        let text = "{ } | quantile_over_time(duration, .5) with (exact=true)";
        let query = traceql_language::compile(text, Dialect::Default).unwrap();
        let observed = query::observed(&query).remove(0);
        let axis = TimeAxis { start_unix_nanos: 10, step_nanos: 10, n_intervals: 1 };
        let median = |state: &State| state.samples(0, &observed, &axis, 1e9)[0].1.get(0);
        let add = |state: &mut State, seconds: std::ops::Range<i64>| {
            for second in seconds {
                let number = Some(Number::Nanos(second * 1_000_000_000));
                state.add(&[0], &[0], Some(&[number]), None);
            }
        };
        let mut state = State::new(&observed, 1);
        add(&mut state, 0..20_001);
        assert_eq!(median(&state), 10_000.0);
        assert!(state.size_bytes() > 160_000, "{} bytes", state.size_bytes());
        assert!(state.shrink(), "a sketch is smaller");
        assert!(state.size_bytes() < 60_000, "{} bytes", state.size_bytes());
        assert!(!state.shrink(), "there is nothing more to win");
        assert!(near(median(&state), 10_000.0), "{}", median(&state));

        // Another partition had room for its values.
        let mut whole = State::new(&observed, 1);
        add(&mut whole, 20_001..40_001);
        let messages = state.to_messages(0).into_iter();
        let batches: Vec<_> = wire::encode(messages).collect::<Result<_, _>>().unwrap();
        for message in wire::decode::<CellsMessage>(&batches[0]).unwrap() {
            whole.merge(0, message);
        }
        assert!(whole.is_sketched(), "the error is told");
        assert!(near(median(&whole), 20_000.0), "{}", median(&whole));
    }
}
