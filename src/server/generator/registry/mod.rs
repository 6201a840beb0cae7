//! The series of one tenant: counters, gauges and histograms by labels, bounded in number, dropped
//! when stale. It knows no span and no wire format.
//!
//! Metrics that share their labels form a group, so that a span costs one look-up however many
//! metrics it counts in.

mod histogram;
mod native;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use traceql_blocks::model::TraceId;

use super::labels::{LabelBuffer, Labels};
use super::options::{Histograms, SeriesLimits};
pub(super) use histogram::{Exemplar, Histogram};
pub(super) use native::Native;

/// The only label of the series that takes what is beyond the limits.
const OVERFLOW: (&str, &str) = ("metric_overflow", "true");
/// The value of a label that has too many.
const VALUE_OVERFLOW: &str = "__cardinality_overflow__";

/// What a metric measures.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// With upper bounds of buckets.
    Histogram(Arc<[f64]>),
}

/// A metric, whose series differ in their labels.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// Metrics whose series have the same labels.
#[derive(Debug)]
pub(super) struct Group {
    metrics: Box<[Metric]>,
    entries: Vec<Entry>,
    index: HashMap<Labels, usize>,
    overflow: Option<Box<Entry>>,
    /// Series that one entry counts as, be they there yet or not.
    series_per_entry: usize,
}

/// Names a group of a registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupId(usize);

/// The series of a group that have the same labels.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) labels: Labels,
    updated_unix_nanos: u64,
    /// By number of the metric; what has not been counted yet is not there.
    values: Box<[Option<Value>]>,
}

/// What a series is at.
#[derive(Debug)]
pub(super) enum Value {
    Counter(Counter),
    Gauge(f64),
    Histogram(Box<Histogram>),
}

/// A sum that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) sum: f64,
    /// Whether a receiver has been told that it began at 0.
    pub(super) is_announced: bool,
}

/// What happened to series, since the registry was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RegistryStats {
    pub(super) active_series: usize,
    pub(super) added: u64,
    pub(super) removed: u64,
    /// Updates that went to a series of overflow.
    pub(super) limited: u64,
}

/// All series of one tenant.
#[derive(Debug)]
pub(super) struct Registry {
    groups: Vec<Group>,
    limits: SeriesLimits,
    histograms: Histograms,
    active_entities: usize,
    /// Values by label, while they are bounded.
    label_values: BTreeMap<String, HashSet<String>>,
    stats: RegistryStats,
}

impl Registry {
    pub(super) fn new(limits: SeriesLimits, histograms: Histograms) -> Self {
        Self {
            groups: Vec::new(),
            limits,
            histograms,
            active_entities: 0,
            label_values: BTreeMap::new(),
            stats: RegistryStats::default(),
        }
    }

    /// Adds metrics that share their labels; those are numbered in this order.
    pub(super) fn add_group(&mut self, metrics: Vec<Metric>) -> GroupId {
        let series = |metric: &Metric| match &metric.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram(bounds) => {
                // Buckets, the one without bound, sum and count; a native histogram is one series.
                let classic = if self.histograms.has_classic() { bounds.len() + 3 } else { 0 };
                classic + usize::from(self.histograms.has_native())
            }
        };
        let series_per_entry = metrics.iter().map(series).sum();
        self.groups.push(Group {
            metrics: metrics.into(),
            entries: Vec::new(),
            index: HashMap::new(),
            overflow: None,
            series_per_entry,
        });
        GroupId(self.groups.len() - 1)
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn groups_mut(&mut self) -> &mut [Group] {
        &mut self.groups
    }

    pub(super) fn histograms(&self) -> Histograms {
        self.histograms
    }

    pub(super) fn stats(&self) -> RegistryStats {
        self.stats
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.entries.is_empty() && group.overflow.is_none())
    }

    /// The series with these labels, to be updated; those of overflow if the labels are new and
    /// there is no room.
    pub(super) fn update(
        &mut self,
        group: GroupId,
        labels: &LabelBuffer,
        now_unix_nanos: u64,
    ) -> Update<'_> {
        let idx = match self.groups[group.0].index.get(labels.key()) {
            Some(&idx) => Some(idx),
            None => self.insert(group, labels),
        };
        let histograms = self.histograms;
        let group = &mut self.groups[group.0];
        let entry = match idx {
            Some(idx) => &mut group.entries[idx],
            None => {
                self.stats.limited += 1;
                let metrics = group.metrics.len();
                group.overflow.get_or_insert_with(|| {
                    let mut labels = LabelBuffer::default();
                    labels.push(OVERFLOW.0, OVERFLOW.1);
                    Box::new(Entry::new(labels.to_labels(), metrics))
                })
            }
        };
        entry.updated_unix_nanos = entry.updated_unix_nanos.max(now_unix_nanos);
        Update { entry, metrics: &group.metrics, histograms, now_unix_nanos }
    }

    /// Makes an entry if there is room; its number.
    fn insert(&mut self, group: GroupId, labels: &LabelBuffer) -> Option<usize> {
        let bounded = self.bound_values(labels);
        let labels = bounded.as_ref().unwrap_or(labels);
        let limits = self.limits;
        let group = &mut self.groups[group.0];
        if let Some(&idx) = group.index.get(labels.key()) {
            return Some(idx);
        }
        let series = self.stats.active_series + group.series_per_entry;
        let is_full = |limit, count| limit != 0 && count > limit;
        if is_full(limits.max_active_series, series)
            || is_full(limits.max_active_entities, self.active_entities + 1)
        {
            return None;
        }
        self.stats.active_series = series;
        self.stats.added += group.series_per_entry as u64;
        self.active_entities += 1;
        if limits.max_cardinality_per_label != 0 {
            remember_values(&mut self.label_values, labels.iter());
        }
        let labels = labels.to_labels();
        group.entries.push(Entry::new(labels.clone(), group.metrics.len()));
        group.index.insert(labels, group.entries.len() - 1);
        Some(group.entries.len() - 1)
    }

    /// The labels without values that are too many; none if they may stay as they are.
    fn bound_values(&self, labels: &LabelBuffer) -> Option<LabelBuffer> {
        let limit = self.limits.max_cardinality_per_label;
        let is_beyond = |name: &str, value: &str| {
            let values = self.label_values.get(name);
            values.is_some_and(|values| values.len() >= limit && !values.contains(value))
        };
        if limit == 0 || !labels.iter().any(|(name, value)| is_beyond(name, value)) {
            return None;
        }
        let mut bounded = LabelBuffer::default();
        for (name, value) in labels.iter() {
            bounded.push(name, if is_beyond(name, value) { VALUE_OVERFLOW } else { value });
        }
        Some(bounded)
    }

    /// Takes out the series that have not been updated since. They come with the metrics of their
    /// group.
    pub(super) fn remove_stale(
        &mut self,
        before_unix_nanos: u64,
    ) -> Vec<(Box<[Metric]>, Vec<Entry>)> {
        let mut removed = Vec::new();
        for group in &mut self.groups {
            let mut entries = Vec::new();
            let mut idx = 0;
            while idx < group.entries.len() {
                if group.entries[idx].updated_unix_nanos >= before_unix_nanos {
                    idx += 1;
                    continue;
                }
                let entry = group.entries.swap_remove(idx);
                group.index.remove(&entry.labels);
                if let Some(moved) = group.entries.get(idx) {
                    group.index.insert(moved.labels.clone(), idx);
                }
                self.stats.active_series -= group.series_per_entry;
                self.stats.removed += group.series_per_entry as u64;
                self.active_entities -= 1;
                entries.push(entry);
            }
            let is_stale = |entry: &mut Box<Entry>| entry.updated_unix_nanos < before_unix_nanos;
            entries.extend(group.overflow.take_if(is_stale).map(|entry| *entry));
            if !entries.is_empty() {
                removed.push((group.metrics.clone(), entries));
            }
        }
        if !removed.is_empty() && self.limits.max_cardinality_per_label != 0 {
            self.label_values.clear();
            for entry in self.groups.iter().flat_map(|group| &group.entries) {
                remember_values(&mut self.label_values, entry.labels.iter());
            }
        }
        removed
    }
}

fn remember_values<'a>(
    seen: &mut BTreeMap<String, HashSet<String>>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) {
    for (name, value) in labels {
        if value == VALUE_OVERFLOW {
            continue;
        }
        match seen.get_mut(name) {
            Some(values) if values.contains(value) => {}
            Some(values) => drop(values.insert(value.to_owned())),
            None => drop(seen.insert(name.to_owned(), HashSet::from([value.to_owned()]))),
        }
    }
}

impl Group {
    pub(super) fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Every entry, the one of overflow last.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(self.overflow.as_deref())
    }

    /// The metrics, and every entry as [`Self::entries`] has them.
    pub(super) fn parts_mut(&mut self) -> (&[Metric], impl Iterator<Item = &mut Entry>) {
        (&self.metrics, self.entries.iter_mut().chain(self.overflow.as_deref_mut()))
    }
}

impl Entry {
    fn new(labels: Labels, metrics: usize) -> Self {
        Self { labels, updated_unix_nanos: 0, values: (0..metrics).map(|_| None).collect() }
    }

    /// The value of a metric by its number in the group, if it has been counted.
    pub(super) fn value(&self, metric: usize) -> Option<&Value> {
        self.values.get(metric)?.as_ref()
    }

    /// The same, to note what was sent of it.
    pub(super) fn value_mut(&mut self, metric: usize) -> Option<&mut Value> {
        self.values.get_mut(metric)?.as_mut()
    }
}

/// Series of the same labels while they are updated.
#[derive(Debug)]
pub(super) struct Update<'a> {
    entry: &'a mut Entry,
    metrics: &'a [Metric],
    histograms: Histograms,
    now_unix_nanos: u64,
}

impl Update<'_> {
    /// Adds to a counter.
    pub(super) fn add(&mut self, metric: usize, amount: f64) {
        let value = self.entry.values[metric].get_or_insert(Value::Counter(Counter::default()));
        if let Value::Counter(counter) = value {
            counter.sum += amount;
        }
    }

    /// Sets a gauge.
    pub(super) fn set(&mut self, metric: usize, to: f64) {
        self.entry.values[metric] = Some(Value::Gauge(to));
    }

    /// Observes a value so many times, of which the trace is an example.
    pub(super) fn observe(&mut self, metric: usize, value: f64, weight: f64, trace: TraceId) {
        let Kind::Histogram(bounds) = &self.metrics[metric].kind else { return };
        let (histograms, now) = (self.histograms, self.now_unix_nanos);
        let slot = self.entry.values[metric].get_or_insert_with(|| {
            Value::Histogram(Box::new(Histogram::new(Arc::clone(bounds), histograms, now)))
        });
        if let Value::Histogram(histogram) = slot {
            histogram.observe(value, weight, trace, now);
        }
    }
}
