//! What partitions compared, added up; of each attribute and side the values that occur most are
//! kept, once and at the end, so that counts of the kept ones are whole (`metrics.md` section 0, row
//! 12). Most values of most attributes are rare: series are made for the kept ones alone.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use datafusion::common::HashMap;
use prost::Message;

use super::{META, SIDES};
use crate::error::Result;
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

struct Side {
    values: Table<Count>,
    /// Sum over all intervals of each value.
    sums: Vec<f64>,
}

impl Side {
    /// Spans that have the attribute, kept values or not.
    fn totals(&self, n_intervals: usize) -> Samples {
        let mut totals = vec![0.0; n_intervals];
        let rows = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        for (interval, count) in (0..rows).flat_map(|row| self.values.cells(row)) {
            totals[interval as usize] += count.0;
        }
        Samples::dense(totals)
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
            let tables: usize = sides.map(|side| side.values.size_bytes()).sum();
            if !self.budget.allows(tables + self.value_bytes) {
                return Err(self.budget.error(self.n_values, self.axis.n_intervals));
            }
        }
        Ok(())
    }

    fn add_attribute(&mut self, message: AttributeMessage) {
        let n = self.axis.n_intervals;
        let side = || Side { values: Table::new(n), sums: Vec::new() };
        let merged = self.attributes.entry(message.name).or_insert_with(|| Merged {
            values: Vec::new(),
            by_value: HashMap::default(),
            sides: [side(), side()],
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
            let SideMessage { values, lengths, intervals, counts } = message;
            let mut cells = intervals.into_iter().zip(counts.into_iter().map(Count));
            for (value, length) in values.into_iter().zip(lengths) {
                let Some(number) = numbers.get(value as usize) else { continue };
                let at = *number as usize;
                if side.sums.len() <= at {
                    side.sums.resize(at + 1, 0.0);
                }
                let sum = &mut side.sums[at];
                let counted = cells.by_ref().take(length as usize).inspect(|(_, n)| *sum += n.0);
                side.values.merge(*number, counted);
            }
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
                for number in largest(&side.sums, &merged.values, self.top_n) {
                    let value = merged.values[number as usize].clone();
                    finished.push(Series {
                        labels: vec![Label::text(META, *of_values), Label::new(name, value)],
                        samples: samples(&side.values, number),
                        exemplars: Vec::new(),
                    });
                }
                if side.sums.iter().any(|sum| *sum > 0.0) {
                    finished.push(Series {
                        labels: vec![
                            Label::text(META, *of_totals),
                            Label::text(name.as_str(), "nil"),
                        ],
                        samples: side.totals(n),
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
