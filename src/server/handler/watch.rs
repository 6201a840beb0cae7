//! What whoever streams an answer sees of it before it is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use traceql_engine::search::TraceResult;
use traceql_engine::{Progress, QueryStats};

use crate::api::protobuf::TraceSearchMetadata;

/// A window on a running query.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Moved by the engine.
    pub(super) progress: Arc<Progress>,
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
    pub(crate) fn news(&self) -> Option<(Vec<TraceSearchMetadata>, QueryStats)> {
        let found = std::mem::take(&mut *self.found.lock());
        let stats = self.progress.stats();
        let told = self.told_units.swap(stats.units_done, Ordering::Relaxed);
        (!found.is_empty() || stats.units_done > told).then_some((found, stats))
    }
}
