//! A histogram with fixed buckets, an example trace for each, and a native one beside or instead.

use std::sync::Arc;

use traceql_blocks::model::TraceId;

use super::native::Native;
use crate::generator::options::Histograms;

/// A trace in which a value was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::generator) struct Exemplar {
    pub(in crate::generator) trace: TraceId,
    pub(in crate::generator) value: f64,
    /// When it was observed, unix milliseconds.
    pub(in crate::generator) unix_millis: i64,
    /// Whether a receiver has it already.
    pub(in crate::generator) is_sent: bool,
}

/// Observations of one series.
#[derive(Debug)]
pub(in crate::generator) struct Histogram {
    bounds: Arc<[f64]>,
    /// By bucket, the last being that without bound; not added up.
    counts: Box<[f64]>,
    exemplars: Box<[Option<Exemplar>]>,
    pub(in crate::generator) sum: f64,
    pub(in crate::generator) count: f64,
    pub(in crate::generator) native: Option<Native>,
    /// Whether a receiver has been told that it began at 0.
    pub(in crate::generator) is_announced: bool,
}

/// A bucket of a histogram as it is shown.
#[derive(Debug)]
pub(in crate::generator) struct Bucket<'a> {
    /// Upper bound, inclusive.
    pub(in crate::generator) bound: f64,
    /// Observations up to there.
    pub(in crate::generator) cumulative: f64,
    /// The latest observation in it.
    pub(in crate::generator) exemplar: Option<&'a Exemplar>,
}

impl Histogram {
    pub(super) fn new(bounds: Arc<[f64]>, histograms: Histograms, now_unix_nanos: u64) -> Self {
        let buckets = bounds.len() + 1;
        Self {
            bounds,
            counts: vec![0.0; buckets].into(),
            exemplars: vec![None; buckets].into(),
            sum: 0.0,
            count: 0.0,
            native: histograms.has_native().then(|| Native::new(now_unix_nanos)),
            is_announced: false,
        }
    }

    pub(super) fn observe(&mut self, value: f64, weight: f64, trace: TraceId, now_unix_nanos: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += weight;
        self.count += weight;
        self.sum += value * weight;
        if let Some(native) = &mut self.native {
            native.observe(value, weight, now_unix_nanos);
        }
        let unix_millis = i64::try_from(now_unix_nanos / 1_000_000).unwrap_or(i64::MAX);
        self.exemplars[bucket] = Some(Exemplar { trace, value, unix_millis, is_sent: false });
    }

    /// The buckets, that without bound last.
    pub(in crate::generator) fn buckets(&self) -> impl Iterator<Item = Bucket<'_>> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut cumulative = 0.0;
        bounds.zip(&self.counts).zip(&self.exemplars).map(move |((bound, count), exemplar)| {
            cumulative += count;
            Bucket { bound, cumulative, exemplar: exemplar.as_ref() }
        })
    }

    /// The examples, by bucket.
    pub(in crate::generator) fn exemplars_mut(&mut self) -> impl Iterator<Item = &mut Exemplar> {
        self.exemplars.iter_mut().flatten()
    }
}
