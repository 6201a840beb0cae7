//! What whoever streams an answer sees of it before it is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use traceql_engine::metrics::{MetricsAnswer, Partials};
use traceql_engine::search::TraceResult;
use traceql_engine::{Progress, QueryStats};

use crate::api::protobuf::TraceSearchMetadata;

/// A window on a running query.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Moved by the engine.
    pub(super) progress: Arc<Progress>,
    /// Filled by the engine with what a metrics query has found.
    pub(super) partials: Arc<Partials>,
    /// Traces of the answer that nobody has been told of yet.
    found: Mutex<Vec<TraceSearchMetadata>>,
    /// Units done when somebody was told last.
    told_units: AtomicU64,
}

impl Watch {
    pub(super) fn found(&self, trace: &TraceResult) {
        self.found.lock().push(trace.into());
    }

    /// What has happened since the last call; `None` if that is nothing.
    pub(crate) fn news(&self) -> Option<News> {
        let traces = std::mem::take(&mut *self.found.lock());
        let stats = self.progress.stats();
        let told = self.told_units.swap(stats.units_done, Ordering::Relaxed);
        if traces.is_empty() && stats.units_done <= told {
            return None;
        }
        // With all units done it would look like the answer.
        let is_part = stats.units_done < stats.units_total;
        let series = is_part.then(|| self.partials.news()).flatten();
        Some(News { traces, series, stats })
    }
}

/// What has happened to a running query.
#[derive(Debug)]
pub(crate) struct News {
    /// Traces of the answer that were found.
    pub(crate) traces: Vec<TraceSearchMetadata>,
    /// Series of a metrics query with samples that are new.
    pub(crate) series: Option<MetricsAnswer>,
    /// What it has cost so far.
    pub(crate) stats: QueryStats,
}
