//! What partitions compared, added up; of each attribute and side the values that occur most are
//! kept, once and at the end, so that counts of the kept ones are whole (`metrics.md` section 0, row
//! 12). Most values of most attributes are rare: series are made for the kept ones alone.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use datafusion::common::HashMap;
use prost::Message;

use super::{META, SIDES};
use crate::error::Result;
use crate::evaluate::distinct::MISSING;
use crate::metrics::budget::Budget;
use crate::metrics::cells::{Count, Table};
use crate::metrics::wire::{self, ValueMessage};
use crate::metrics::{Label, LabelValue, Samples, Series, TimeAxis, value_order};

/// What one partition found of one attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributeMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Distinct values.
    #[prost(message, repeated, tag = "2")]
    pub(super) values: Vec<ValueMessage>,
    /// Baseline, then selection.
    #[prost(message, repeated, tag = "3")]
    pub(super) sides: Vec<SideMessage>,
}

/// Counts of the values of one side. Lists of cells lie one after the other.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SideMessage {
    /// Places in the list of values.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) values: Vec<u32>,
    /// Number of cells of each of these values.
    #[prost(uint32, repeated, tag = "2")]
    pub(super) lengths: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) intervals: Vec<u32>,
    #[prost(double, repeated, tag = "4")]
    pub(super) counts: Vec<f64>,
}

impl SideMessage {
    /// Adds the cells of a value.
    pub(super) fn push<'a>(&mut self, value: u32, cells: impl Iterator<Item = (u32, &'a Count)>) {
        let before = self.intervals.len();
        for (interval, count) in cells {
            self.intervals.push(interval);
            self.counts.push(count.0);
        }
        self.values.push(value);
        let n = self.intervals.len() - before;
        self.lengths.push(u32::try_from(n).unwrap_or(u32::MAX));
    }
}

/// A label's value as a key.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    String(String),
    Int(i64),
    Float(u64),
    Bool(bool),
}

impl From<&LabelValue> for Key {
    fn from(value: &LabelValue) -> Self {
        match value {
            LabelValue::String(v) => Self::String(v.clone()),
            LabelValue::Int(v) => Self::Int(*v),
            LabelValue::Float(v) => Self::Float(v.to_bits()),
            LabelValue::Bool(v) => Self::Bool(*v),
        }
    }
}

/// One attribute over all partitions.
struct Merged {
    values: Vec<LabelValue>,
    by_value: HashMap<Key, u32>,
    sides: [Side; 2],
}

/// What partitions counted on one side. Most values are rare and will not be kept: their counts stay
/// in the lists they came in, and only sums are made of them.
struct Side {
    parts: Vec<Part>,
    /// Sum over all intervals of each value.
    sums: Vec<f64>,
    /// Spans that have the attribute, kept values or not, by interval.
    totals: Vec<f64>,
}

/// The lists of one partition.
struct Part {
    /// The value of each list; [`MISSING`] for one that the message does not name.
    values: Vec<u32>,
    /// Where each list ends.
    ends: Vec<usize>,
    intervals: Vec<u32>,
    counts: Vec<f64>,
}

impl Side {
    fn new(n_intervals: usize) -> Self {
        Self { parts: Vec::new(), sums: Vec::new(), totals: vec![0.0; n_intervals] }
    }

    /// Adds a partition, whose values have these numbers here.
    fn add(&mut self, message: SideMessage, numbers: &[u32]) {
        let SideMessage { values, lengths, intervals, counts } = message;
        for (interval, count) in intervals.iter().zip(&counts) {
            if let Some(total) = self.totals.get_mut(*interval as usize) {
                *total += count;
            }
        }
        let mut part = Part { values, ends: Vec::with_capacity(lengths.len()), intervals, counts };
        let mut end = 0;
        for (value, length) in part.values.iter_mut().zip(lengths) {
            let start = end;
            end = (start + length as usize).min(part.counts.len());
            part.ends.push(end);
            *value = numbers.get(*value as usize).copied().unwrap_or(MISSING);
            if *value != MISSING {
                let at = *value as usize;
                if self.sums.len() <= at {
                    self.sums.resize(at + 1, 0.0);
                }
                self.sums[at] += part.counts[start..end].iter().sum::<f64>();
            }
        }
        self.parts.push(part);
    }

    /// The cells of some values, a row each in their order.
    fn cells(&self, values: &[u32], n_intervals: usize) -> Table<Count> {
        let mut rows = vec![MISSING; self.sums.len()];
        for (row, value) in (0_u32..).zip(values) {
            rows[*value as usize] = row;
        }
        let mut table = Table::new(n_intervals);
        for part in &self.parts {
            let mut start = 0;
            for (value, end) in part.values.iter().zip(&part.ends) {
                let row = rows.get(*value as usize).filter(|row| **row != MISSING);
                if let Some(row) = row {
                    let cells = part.intervals[start..*end].iter().zip(&part.counts[start..*end]);
                    table.merge(*row, cells.map(|(interval, count)| (*interval, Count(*count))));
                }
                start = *end;
            }
        }
        table
    }

    /// Bytes held.
    fn size_bytes(&self) -> usize {
        let of = |part: &Part| {
            part.values.len() * (size_of::<u32>() + size_of::<usize>())
                + part.counts.len() * (size_of::<u32>() + size_of::<f64>())
        };
        let parts: usize = self.parts.iter().map(of).sum();
        parts + (self.sums.len() + self.totals.len()) * size_of::<f64>()
    }
}

/// Adds partitions up.
pub(in crate::metrics) struct CompareMerge {
    axis: TimeAxis,
    top_n: usize,
    attributes: BTreeMap<String, Merged>,
    n_values: usize,
    value_bytes: usize,
    budget: Budget,
}

impl CompareMerge {
    pub(in crate::metrics) fn new(axis: TimeAxis, top_n: u32, budget: Budget) -> Self {
        Self {
            axis,
            top_n: top_n as usize,
            attributes: BTreeMap::new(),
            n_values: 0,
            value_bytes: 0,
            budget,
        }
    }

    /// Adds the rows of a batch.
    pub(in crate::metrics) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for message in wire::decode::<AttributeMessage>(batch)? {
            self.add_attribute(message);
        }
        if self.budget.is_due(self.n_values) {
            let sides = self.attributes.values().flat_map(|merged| &merged.sides);
            let counts: usize = sides.map(Side::size_bytes).sum();
            if !self.budget.allows(counts + self.value_bytes) {
                return Err(self.budget.error(self.n_values, self.axis.n_intervals));
            }
        }
        Ok(())
    }

    fn add_attribute(&mut self, message: AttributeMessage) {
        let n = self.axis.n_intervals;
        let merged = self.attributes.entry(message.name).or_insert_with(|| Merged {
            values: Vec::new(),
            by_value: HashMap::default(),
            sides: [Side::new(n), Side::new(n)],
        });
        let mut numbers = Vec::with_capacity(message.values.len());
        for value in message.values {
            let value: LabelValue = value.into();
            let next = u32::try_from(merged.values.len()).unwrap_or(u32::MAX);
            let number = *merged.by_value.entry(Key::from(&value)).or_insert(next);
            if number == next {
                self.n_values += 1;
                self.value_bytes += 128;
                if let LabelValue::String(text) = &value {
                    self.value_bytes += 2 * text.len();
                }
                merged.values.push(value);
            }
            numbers.push(number);
        }
        for (side, message) in merged.sides.iter_mut().zip(message.sides) {
            side.add(message, &numbers);
        }
    }

    /// The kept series.
    pub(in crate::metrics) fn finish(self) -> Vec<Series> {
        let n = self.axis.n_intervals;
        let samples = |table: &Table<Count>, row: u32| {
            Samples::sparse(n, 0.0, table.cells(row).map(|(at, count)| (at, count.0)).collect())
        };
        let mut finished = Vec::new();
        for (name, merged) in &self.attributes {
            for ((of_values, of_totals), side) in SIDES.iter().zip(&merged.sides) {
                let kept = largest(&side.sums, &merged.values, self.top_n);
                let cells = side.cells(&kept, n);
                for (row, number) in (0_u32..).zip(kept) {
                    let value = merged.values[number as usize].clone();
                    finished.push(Series {
                        labels: vec![Label::text(META, *of_values), Label::new(name, value)],
                        samples: samples(&cells, row),
                        exemplars: Vec::new(),
                    });
                }
                if side.sums.iter().any(|sum| *sum > 0.0) {
                    finished.push(Series {
                        labels: vec![
                            Label::text(META, *of_totals),
                            Label::text(name.as_str(), "nil"),
                        ],
                        samples: Samples::dense(side.totals.clone()),
                        exemplars: Vec::new(),
                    });
                }
            }
        }
        finished
    }
}

/// The values with the largest sums; of equal ones those first in the order of answers.
fn largest(sums: &[f64], values: &[LabelValue], n: usize) -> Vec<u32> {
    let order = |a: &u32, b: &u32| {
        let (a, b) = (*a as usize, *b as usize);
        sums[b].total_cmp(&sums[a]).then_with(|| value_order(&values[a], &values[b]))
    };
    let occurring = (0_u32..).zip(sums).filter(|(_, sum)| **sum > 0.0);
    let mut numbers: Vec<u32> = occurring.map(|(number, _)| number).collect();
    if numbers.len() > n {
        numbers.select_nth_unstable_by(n.saturating_sub(1), order);
        numbers.truncate(n);
    }
    numbers.sort_by(order);
    numbers
}
