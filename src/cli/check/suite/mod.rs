//! A suite as it was written, checked: queries compiled, times and units understood, every name known.
//! Nothing here has been asked yet.

mod expect;
mod read;
mod spans;
mod threshold;
mod when;

use std::path::PathBuf;

use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_language::TypedQuery;

use crate::document::File;

#[cfg(test)]
pub(crate) use expect::{Bounds, Predicate};
pub(crate) use expect::{Expect, FieldRule, value_text};
pub(crate) use read::{Reading, check, read};
pub(crate) use threshold::Threshold;
pub(crate) use when::When;

/// One file of tests over one source.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The file it was read from.
    pub(crate) file: File,
    /// What its tests are asked of.
    pub(crate) source: SuiteSource,
    /// Whose data; empty if it is up to the source.
    pub(crate) tenants: Vec<TenantId>,
    /// The clock, if the suite stops it: unix nanoseconds.
    pub(crate) now_unix_nanos: Option<u64>,
    /// At least one.
    pub(crate) tests: Vec<Test>,
}

/// What tests are asked of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SuiteSource {
    /// Data that has an address; paths are resolved.
    Url(String),
    /// Traces written in the suite itself.
    Spans(Vec<Trace>),
    /// None was named: what `--source` or `--listen` gives.
    Unnamed,
}

/// One question and what is expected of its answer.
#[derive(Debug)]
pub(crate) struct Test {
    /// Unique in its suite.
    pub(crate) name: String,
    /// Line of the file in which it begins.
    pub(crate) line: usize,
    /// The question.
    pub(crate) query: TypedQuery,
    /// Which time is asked about.
    pub(crate) when: When,
    /// Whether an answer without data may pass.
    pub(crate) allow_empty: bool,
    /// What the answer must be like.
    pub(crate) expect: Expect,
    /// A file that holds what the answer was.
    pub(crate) snapshot: Option<Snapshot>,
    /// What is for metrics alone.
    pub(crate) metrics: MetricsChecks,
}

/// Expectations of series, and how they are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MetricsChecks {
    /// Bounds on samples.
    pub(crate) thresholds: Vec<Threshold>,
    /// Another source whose series are about the same.
    pub(crate) baseline: Option<Baseline>,
    /// Length of a step in nanoseconds; `None`: by the range.
    pub(crate) step_nanos: Option<u64>,
    /// One value for the whole range.
    pub(crate) is_instant: bool,
}

/// A file that holds what an answer was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// As it is written in the suite.
    pub(crate) name: String,
    /// What is written into it.
    pub(crate) of: SnapshotOf,
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotOf {
    /// The tree of one matching trace.
    Shape(Pick),
    /// The answer.
    Result,
}

/// Which of the matching traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The longest.
    Slowest,
    /// The shortest.
    Fastest,
    /// The one that began last.
    Newest,
    /// The one that began first.
    Oldest,
}

/// Series of another source to compare with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Baseline {
    /// Its address; paths are resolved.
    pub(crate) source: String,
    /// As it is written in the suite.
    pub(crate) name: String,
    /// Whose data there; empty if it is up to the source.
    pub(crate) tenants: Vec<TenantId>,
    /// How far a value may be off, as a share of the baseline's.
    pub(crate) tolerance: f64,
    /// Which way a value may not go.
    pub(crate) worse: Worse,
}

/// Which way a value may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worse {
    /// Up: latencies, failures.
    Higher,
    /// Down: throughput.
    Lower,
    /// Neither.
    Either,
}

impl Suite {
    /// What messages and reports call it.
    pub(crate) fn name(&self) -> &str {
        &self.file.name
    }
}
