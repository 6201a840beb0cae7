//! What a running metrics query has found so far, for whoever tells of it before the end.
//!
//! Over a range a sample is told once it is final: when every unit that may hold a span of its interval
//! is done. Times of units are those of statistics, so that nothing rests on what a `meta.json` says;
//! only a span that ends before it starts may come later than them. Blocks are read newest first, so
//! that the newest samples are final first. An instant query has one interval, which is final at the
//! end: of it the value so far is told.
//!
//! Nothing is told of queries whose samples depend on those of other intervals or series: of `compare()`,
//! of ranks among series, of math between selections. Exemplars are chosen at the end.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use traceql_language::analyze::ir::{MetricsExpr, MetricsFunction, SecondStage, TypedQuery};

use super::budget::Budget;
use super::merge::Merge;
use super::observe::Observer;
use super::query::Observed;
use super::{MetricsAnswer, MetricsKind, MetricsRequest, Samples, TimeAxis, math, series_order};
use crate::error::Result;
use crate::scan::spec::ScanSpec;
use crate::select::Selection;

/// Accumulators beyond which nothing is told: adding them up again and again would slow the query down.
const MAX_CELLS: usize = 100_000;

const SECOND: u64 = 1_000_000_000;

/// A window on the series of a running query.
#[derive(Default)]
pub struct Partials(Mutex<Option<Watched>>);

impl fmt::Debug for Partials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partials").finish_non_exhaustive()
    }
}

/// A query that is told of.
struct Watched {
    query: TypedQuery,
    observed: Vec<Observed>,
    axis: TimeAxis,
    is_instant: bool,
    max_series: usize,
    memory_bytes: usize,
    /// The intervals that each unit may have spans of.
    units: Vec<Range<usize>>,
    done: Arc<UnitsDone>,
    /// Of every partition that has begun.
    observers: Vec<Arc<Mutex<Observer>>>,
    told: Told,
}

/// What was told last.
struct Told {
    intervals: Vec<bool>,
    units: u64,
}

/// Which units are done.
#[derive(Debug)]
pub(super) struct UnitsDone {
    each: Vec<AtomicBool>,
    count: AtomicU64,
}

impl UnitsDone {
    /// A unit is done: what its spans add is in the observer of its partition.
    pub(super) fn add(&self, unit: u32) {
        if let Some(done) = self.each.get(unit as usize)
            && !done.swap(true, Ordering::Release)
        {
            self.count.fetch_add(1, Ordering::Release);
        }
    }
}

impl Partials {
    /// A query was planned.
    pub(super) fn plan(
        &self,
        query: &TypedQuery,
        observed: &[Observed],
        axis: TimeAxis,
        request: &MetricsRequest,
        (selection, scan): (&Selection, &ScanSpec),
        memory_bytes: usize,
    ) {
        let Some(units) = times_of_units(selection, scan, axis) else { return };
        if !is_tellable(query, observed) {
            return;
        }
        let each = units.iter().map(|_| AtomicBool::new(false)).collect();
        *self.0.lock() = Some(Watched {
            query: query.clone(),
            observed: observed.to_vec(),
            is_instant: request.kind == MetricsKind::Instant,
            max_series: request.max_series,
            memory_bytes,
            done: Arc::new(UnitsDone { each, count: AtomicU64::new(0) }),
            units,
            observers: Vec::new(),
            told: Told { intervals: vec![false; axis.n_intervals], units: 0 },
            axis,
        });
    }

    /// A partition begins. Where it is to say which units are done, if anybody wants to know.
    pub(super) fn watch(&self, observer: &Arc<Mutex<Observer>>) -> Option<Arc<UnitsDone>> {
        let mut watched = self.0.lock();
        let watched = watched.as_mut()?;
        watched.observers.push(Arc::clone(observer));
        Some(Arc::clone(&watched.done))
    }

    /// The answer is about to come: there is nothing more to tell, and nothing held for it.
    pub(super) fn close(&self) {
        *self.0.lock() = None;
    }

    /// Samples that nobody was told of: over a range those that have become final, of an instant query
    /// those that may have changed. `None` if there are none.
    pub fn news(&self) -> Option<MetricsAnswer> {
        let mut watched = self.0.lock();
        match watched.as_mut()?.news() {
            Ok(news) => news,
            // What has no room here, or is too much to be told: the query itself goes on.
            Err(_) => {
                *watched = None;
                None
            }
        }
    }
}

impl Watched {
    fn news(&mut self) -> Result<Option<MetricsAnswer>, ()> {
        let n_done = self.done.count.load(Ordering::Acquire);
        if n_done == self.told.units || n_done == self.units.len() as u64 {
            return Ok(None);
        }
        self.told.units = n_done;
        let wanted = match self.is_instant {
            true => vec![true; self.axis.n_intervals],
            false => self.newly_final(),
        };
        if !wanted.contains(&true) {
            return Ok(None);
        }
        let n_cells: usize = self.observers.iter().map(|observer| observer.lock().n_cells()).sum();
        if n_cells > MAX_CELLS {
            return Err(());
        }
        let answer = self.answer(&wanted).map_err(drop)?;
        if self.max_series > 0 && answer.series.len() > self.max_series {
            return Err(());
        }
        for (told, wanted) in self.told.intervals.iter_mut().zip(wanted) {
            *told |= wanted;
        }
        Ok((!answer.series.is_empty()).then_some(answer))
    }

    /// Intervals that nobody was told of and of which no unit that is not done may have a span.
    fn newly_final(&self) -> Vec<bool> {
        let mut edges = vec![0_i64; self.axis.n_intervals + 1];
        for (unit, done) in self.units.iter().zip(&self.done.each) {
            if !done.load(Ordering::Acquire) {
                edges[unit.start] += 1;
                edges[unit.end] -= 1;
            }
        }
        let mut n_pending = 0;
        let told = self.told.intervals.iter();
        told.zip(edges)
            .map(|(told, edge)| {
                n_pending += edge;
                n_pending == 0 && !told
            })
            .collect()
    }

    /// The query's answer in some intervals.
    fn answer(&self, wanted: &[bool]) -> Result<MetricsAnswer> {
        let budget = Budget::new(self.memory_bytes / 8, self.memory_bytes);
        let [observed] = self.observed.as_slice() else { return Ok(self.with(Vec::new())) };
        let mut merge = Merge::new(observed.clone(), self.axis, 0, budget);
        for observer in &self.observers {
            let rows = observer.lock().rows_of(wanted);
            rows.into_iter().try_for_each(|row| merge.add_row(row))?;
        }
        let selection: Vec<_> = merge.finish().collect();
        let mut series = math::compute(&self.query, &self.observed, &[selection])?;
        for series in &mut series {
            let samples = series.samples.present().filter(|(interval, _)| wanted[*interval]);
            let samples = samples
                .map(|(interval, value)| (u32::try_from(interval).unwrap_or(u32::MAX), value));
            series.samples = Samples::sparse(wanted.len(), f64::NAN, samples.collect());
        }
        series.retain(|series| !series.samples.all_absent());
        series.sort_by(|a, b| series_order(&a.labels, &b.labels));
        Ok(self.with(series))
    }

    fn with(&self, series: Vec<super::Series>) -> MetricsAnswer {
        MetricsAnswer { axis: self.axis, series }
    }
}

/// Whether each sample is a matter of its own series and interval.
fn is_tellable(query: &TypedQuery, observed: &[Observed]) -> bool {
    let [observed] = observed else { return false };
    if matches!(observed.function, MetricsFunction::Compare { .. }) {
        return false;
    }
    query.metrics.as_ref().is_some_and(is_by_sample)
}

fn is_by_sample(expr: &MetricsExpr) -> bool {
    let filters = |stages: &[SecondStage]| {
        stages.iter().all(|stage| matches!(stage, SecondStage::Filter(..)))
    };
    match expr {
        MetricsExpr::Constant(_) => true,
        MetricsExpr::Query { second, .. } => filters(second),
        MetricsExpr::Math { left, right, second, .. } => {
            let is_scaled = matches!(**left, MetricsExpr::Constant(_))
                || matches!(**right, MetricsExpr::Constant(_));
            is_scaled && is_by_sample(left) && is_by_sample(right) && filters(second)
        }
    }
}

/// The intervals that the units of a scan may have spans of. `None` for what is no scan of blocks.
fn times_of_units(
    selection: &Selection,
    scan: &ScanSpec,
    axis: TimeAxis,
) -> Option<Vec<Range<usize>>> {
    let Selection::Blocks(selected) = selection else { return None };
    // What statistics do not tell may be anywhere.
    const ANYWHERE: (u64, u64) = (0, u64::MAX);
    let of_row_group = |block: usize, row_group: usize| {
        let open = selected.get(block).and_then(|selected| selected.open.as_ref());
        open.and_then(|open| open.trace_times(row_group)).unwrap_or(ANYWHERE)
    };
    let both = |a: (u64, u64), b: (u64, u64)| (a.0.min(b.0), a.1.max(b.1));
    let of_blocks: Vec<Option<(u64, u64)>> = (0..selected.len())
        .map(|block| match &selected[block].open {
            Some(open) => (0..open.n_row_groups()).map(|at| of_row_group(block, at)).reduce(both),
            // It lies beyond the range, as its meta says, and only completes traces.
            None => {
                let meta = &selected[block].block.meta;
                let (start, end) = (meta.start_unix_nanos.max(0), meta.end_unix_nanos.max(0));
                Some((start.cast_unsigned(), end.cast_unsigned().saturating_add(SECOND)))
            }
        })
        .collect();
    // A trace that others share is judged with the first block that has it.
    let of_shared: Vec<Option<(u64, u64)>> = (0_u32..)
        .zip(&scan.blocks)
        .map(|(number, block)| {
            let is_scanned =
                |other: u32| scan.blocks.get(other as usize).is_some_and(|b| b.scanned);
            let judged = block.companions.iter().filter(|o| **o > number || !is_scanned(**o));
            let times =
                judged.filter_map(|other| of_blocks.get(*other as usize).copied().flatten());
            times.reduce(both)
        })
        .collect();
    let units = scan.units.iter().map(|unit| {
        let own = match unit.is_whole() {
            true => ANYWHERE,
            false => of_row_group(unit.block as usize, unit.row_group as usize),
        };
        let shared = of_shared.get(unit.block as usize).copied().flatten();
        let (first, last) = shared.map_or(own, |shared| both(own, shared));
        intervals(axis, first, last)
    });
    Some(units.collect())
}

/// The intervals with starts from `first` to `last`, both included.
fn intervals(axis: TimeAxis, first: u64, last: u64) -> Range<usize> {
    let starts = axis.starts();
    if last < starts.start || starts.end <= first {
        return 0..0;
    }
    let first = axis.interval_of(first).unwrap_or(0);
    let end = axis.interval_of(last).map_or(axis.n_intervals, |last| last + 1);
    first..end.max(first)
}

#[cfg(test)]
mod tests {
    use traceql_language::Dialect;

    use super::super::query;
    use super::*;

    #[test]
    fn times_lie_in_the_intervals_that_they_touch() {
        let axis = TimeAxis { start_unix_nanos: 100, step_nanos: 10, n_intervals: 3 };
        for ((first, last), expected) in [
            ((0, 100), 0..0),
            ((101, 110), 0..1),
            ((110, 111), 0..2),
            ((125, 200), 2..3),
            ((131, 200), 0..0),
            ((0, u64::MAX), 0..3),
        ] {
            assert_eq!(intervals(axis, first, last), expected, "{first} to {last}");
        }
    }

    #[test]
    fn samples_that_depend_on_others_are_not_told() {
        for (text, expected) in [
            ("{ } | rate() by (name)", true),
            ("{ } | quantile_over_time(duration, .9) > 0.5", true),
            ("2 * ({ } | sum_over_time(duration))", true),
            ("{ } | rate() by (name) | topk(3)", false),
            ("({ } | rate() by (name) | bottomk(3)) * 2", false),
            ("({ } | rate()) / ({ status = error } | rate())", false),
            ("({ } | rate()) - ({ } | rate())", false),
            ("{ } | compare({ status = error })", false),
        ] {
            let query = traceql_language::compile(text, Dialect::Default).unwrap();
            assert_eq!(is_tellable(&query, &query::observed(&query)), expected, "{text}");
        }
    }
}
