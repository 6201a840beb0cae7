//! One collection of a tenant: every series as of now, those that are new with a 0 before, those
//! that are gone with a marker of staleness.

use std::collections::BTreeMap;

use super::message::{EncodedLabels, Point, Requests};
use crate::generator::expose::bound_text;
use crate::generator::options::Histograms;
use crate::generator::registry::{Entry, Exemplar, Histogram, Metric, Value};
use crate::generator::tenant::Tenant;

const MINUTE_MILLIS: i64 = 60_000;

/// The number, one of the many that are none, by which Prometheus knows that a series has ended.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Bodies of requests, not compressed.
#[derive(Debug)]
pub(super) struct Collected {
    announcements: Requests,
    samples: Requests,
}

/// What all series of a collection are written with.
struct Writer<'a> {
    collected: Collected,
    /// When the series are as they are.
    now_millis: i64,
    /// When those that are new were 0.
    zero_millis: i64,
    external: &'a BTreeMap<String, String>,
    trace_id_label: &'a str,
    histograms: Histograms,
}

impl Collected {
    /// Collects, and drops series that have not been updated since.
    pub(super) fn of(
        tenant: &mut Tenant,
        now_unix_nanos: u64,
        stale_before_unix_nanos: u64,
        external: &BTreeMap<String, String>,
        most_samples: usize,
    ) -> Self {
        let now_millis = i64::try_from(now_unix_nanos / 1_000_000).unwrap_or(i64::MAX);
        let removed = tenant.remove_stale(stale_before_unix_nanos);
        // A series that was dropped a moment ago and comes again must not begin before it ended.
        let minute = now_millis - now_millis.rem_euclid(MINUTE_MILLIS) - 1;
        let ended = tenant.removed_unix_millis.map_or(i64::MIN, |millis| millis + 1);
        if !removed.is_empty() {
            tenant.removed_unix_millis = Some(now_millis);
        }
        let plan = std::sync::Arc::clone(&tenant.plan);
        let mut writer = Writer {
            collected: Self {
                announcements: Requests::new(most_samples),
                samples: Requests::new(most_samples),
            },
            now_millis,
            zero_millis: minute.max(ended).min(now_millis - 1),
            external,
            trace_id_label: &plan.options.trace_id_label,
            histograms: plan.options.histograms,
        };
        if plan.options.is_dry_run {
            return writer.collected;
        }
        for (metrics, entries) in removed {
            entries.iter().for_each(|entry| writer.write_end(&metrics, entry));
        }
        for group in tenant.registry.groups_mut() {
            let (metrics, entries) = group.parts_mut();
            entries.for_each(|entry| writer.write_entry(metrics, entry));
        }
        writer.collected
    }

    /// The bodies in the order in which they are to be sent, and whether they are announcements.
    pub(super) fn requests(self) -> impl Iterator<Item = (Vec<u8>, bool)> {
        let announcements = self.announcements.finish().into_iter().map(|body| (body, true));
        announcements.chain(self.samples.finish().into_iter().map(|body| (body, false)))
    }
}

impl Writer<'_> {
    fn write_entry(&mut self, metrics: &[Metric], entry: &mut Entry) {
        let labels = EncodedLabels::new(entry.labels.iter(), self.external);
        for (idx, metric) in metrics.iter().enumerate() {
            let name = metric.name;
            match entry.value_mut(idx) {
                None => {}
                Some(Value::Gauge(value)) => {
                    self.write_sample(&labels, (name, "", ""), *value, None);
                }
                Some(Value::Counter(counter)) => {
                    if !counter.is_announced {
                        self.announce(&labels, (name, "", ""));
                        counter.is_announced = true;
                    }
                    self.write_sample(&labels, (name, "", ""), counter.sum, None);
                }
                Some(Value::Histogram(histogram)) => {
                    self.write_histogram(&labels, name, histogram);
                    histogram.is_announced = true;
                    histogram.exemplars_mut().for_each(|exemplar| exemplar.is_sent = true);
                }
            }
        }
    }

    fn write_histogram(&mut self, labels: &EncodedLabels, name: &str, histogram: &Histogram) {
        let is_new = !histogram.is_announced;
        if self.histograms.has_classic() {
            for bucket in histogram.buckets() {
                let bound = bound_text(bucket.bound);
                let series = (name, "_bucket", bound.as_str());
                if is_new {
                    self.announce(labels, series);
                }
                self.write_sample(labels, series, bucket.cumulative, bucket.exemplar);
            }
            if is_new {
                self.announce(labels, (name, "_count", ""));
            }
            self.write_sample(labels, (name, "_sum", ""), histogram.sum, None);
            self.write_sample(labels, (name, "_count", ""), histogram.count, None);
        }
        if let Some(native) = &histogram.native {
            let label = self.trace_id_label;
            // Receivers want the examples of a series in the order of their times.
            let unsent = histogram.buckets().filter_map(|bucket| bucket.exemplar.copied());
            let mut unsent: Vec<Exemplar> = unsent.filter(|exemplar| !exemplar.is_sent).collect();
            unsent.sort_by_key(|exemplar| exemplar.unix_millis);
            self.collected.samples.push(
                labels,
                (name, "", ""),
                Point::Histogram(native),
                self.now_millis,
                &mut unsent.into_iter().map(|exemplar| (label, exemplar)),
            );
        }
    }

    fn write_sample(
        &mut self,
        labels: &EncodedLabels,
        series: (&str, &str, &str),
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        let unsent = exemplar.filter(|exemplar| !exemplar.is_sent);
        self.collected.samples.push(
            labels,
            series,
            Point::Sample(value),
            self.now_millis,
            &mut unsent.into_iter().map(|exemplar| (self.trace_id_label, *exemplar)),
        );
    }

    /// Says that a series was 0 before it was first counted, lest its first increment go unseen.
    fn announce(&mut self, labels: &EncodedLabels, series: (&str, &str, &str)) {
        let (zero, none) = (Point::Sample(0.0), &mut std::iter::empty());
        self.collected.announcements.push(labels, series, zero, self.zero_millis, none);
    }

    /// Says that the series of an entry are no more.
    fn write_end(&mut self, metrics: &[Metric], entry: &Entry) {
        let labels = EncodedLabels::new(entry.labels.iter(), self.external);
        for (idx, metric) in metrics.iter().enumerate() {
            let name = metric.name;
            match entry.value(idx) {
                None => {}
                Some(Value::Gauge(_) | Value::Counter(_)) => {
                    self.write_sample(&labels, (name, "", ""), STALE, None);
                }
                Some(Value::Histogram(histogram)) => {
                    if self.histograms.has_classic() {
                        for bucket in histogram.buckets() {
                            let bound = bound_text(bucket.bound);
                            self.write_sample(&labels, (name, "_bucket", &bound), STALE, None);
                        }
                        self.write_sample(&labels, (name, "_sum", ""), STALE, None);
                        self.write_sample(&labels, (name, "_count", ""), STALE, None);
                    }
                    if histogram.native.is_some() {
                        self.write_sample(&labels, (name, "", ""), STALE, None);
                    }
                }
            }
        }
    }
}
