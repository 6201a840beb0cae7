//! What a scan for metrics does, as data that can cross a wire.

use prost::Message;
use traceql_blocks::schema::Column;
use traceql_language::analyze::ir::MetricsFunction;

use super::TimeAxis;
use super::observe::Starts;
use super::query::{self, Observed};
use crate::error::{Error, Result};
use crate::evaluate::columns::columns_of;
use crate::evaluate::compile::{Filter, Program, compile_with};
use crate::scan::spec::{FORMAT, ScanSpec, query_of_plan};

/// What is observed over which axis.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObserveSpec {
    /// Canonical text of the whole query, in the default dialect.
    #[prost(string, tag = "1")]
    pub(crate) query: String,
    /// Which selection of the query.
    #[prost(uint32, tag = "2")]
    pub(crate) selection: u32,
    /// The time axis.
    #[prost(uint64, tag = "3")]
    pub(crate) start_unix_nanos: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) step_nanos: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) n_intervals: u64,
    /// Most exemplars; 0 for none.
    #[prost(uint32, tag = "6")]
    pub(crate) n_exemplars: u32,
}

/// A scan that observes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricsScanSpec {
    /// Blocks and units. Its time range only spares work: spans are judged by the axis.
    #[prost(message, required, tag = "1")]
    pub(crate) scan: ScanSpec,
    #[prost(message, required, tag = "2")]
    pub(crate) observe: ObserveSpec,
}

impl ObserveSpec {
    pub(crate) fn axis(&self) -> TimeAxis {
        TimeAxis {
            start_unix_nanos: self.start_unix_nanos,
            step_nanos: self.step_nanos.max(1),
            n_intervals: usize::try_from(self.n_intervals).unwrap_or(usize::MAX),
        }
    }

    /// The selection, compiled anew.
    pub(crate) fn observed(&self) -> Result<Observed> {
        let query = query_of_plan(&self.query)?;
        let selections = query::observed(&query);
        selections.into_iter().nth(self.selection as usize).ok_or_else(|| {
            Error::Internal(format!("{} has no selection {}", self.query, self.selection))
        })
    }
}

/// The program of a selection, and the filter of `compare()`.
pub(crate) fn program(observed: &Observed) -> Result<(Program, Option<Filter>)> {
    let filter = match &observed.function {
        MetricsFunction::Compare { selection, .. } => Some(selection),
        _ => None,
    };
    compile_with(&observed.pipeline, filter)
}

/// What a selection's spans are read for, beside the pipeline: times, groupings, values.
pub(crate) fn columns(observed: &Observed, axis: TimeAxis) -> Vec<Column> {
    let mut columns = vec![Starts::new(axis).column];
    columns.extend(observed.by.iter().flat_map(columns_of));
    columns.extend(observed.field().into_iter().flat_map(columns_of));
    if observed.extrapolate {
        columns.push(Column::TraceState);
    }
    columns
}

impl MetricsScanSpec {
    /// False for what a newer version wrote.
    pub(crate) fn is_known(&self) -> bool {
        self.scan.format == FORMAT
    }
}
