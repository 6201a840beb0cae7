//! The calls of traces: who calls what, how often, how long it takes, how often it fails. A call takes
//! 8 bytes, whatever its trace holds.

use std::collections::BTreeMap;

use traceql_blocks::model::Trace;
use traceql_blocks::model::trace::SpanInTrace;

use crate::output::tree::{Place, forest};

/// OTLP number of the status `error`.
const STATUS_ERROR: i32 = 2;

/// A span by what it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    /// `service.name`, or `""`.
    pub(crate) service: String,
    /// Name of the span.
    pub(crate) name: String,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// Nobody: the call is a root span.
    Nobody,
    /// A span that the trace does not have.
    Missing,
    /// A span.
    Operation(Operation),
}

/// An edge between parent and child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    /// The parent.
    pub(crate) caller: Caller,
    /// The child.
    pub(crate) callee: Operation,
}

/// The calls of some traces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    /// Whole traces, by their durations.
    pub(crate) traces: Durations,
    /// All spans of them.
    pub(crate) n_spans: u64,
    /// Spans with status error.
    pub(crate) n_errors: u64,
    /// The calls.
    pub(crate) by_call: BTreeMap<Call, Durations>,
    /// The root of the trace that came last.
    pub(crate) root: Option<Operation>,
}

/// How long something took, each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations {
    nanos: Vec<u64>,
    n_errors: u64,
}

/// Durations in few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How many.
    pub(crate) count: u64,
    /// Those with status error.
    pub(crate) error_count: u64,
    /// The median: at least half of them took no longer.
    pub(crate) p50_nanos: u64,
    /// 95 of 100 took no longer.
    pub(crate) p95_nanos: u64,
    /// All together.
    pub(crate) total_nanos: u64,
}

impl Calls {
    /// Adds the calls of a trace.
    pub(crate) fn add(&mut self, trace: &Trace) {
        let nodes = forest(trace);
        for node in &nodes {
            let caller = match (node.place, node.parent) {
                (Place::Child, Some(parent)) => Caller::Operation(operation(nodes[parent].span)),
                (Place::Orphan, _) => Caller::Missing,
                _ => Caller::Nobody,
            };
            let span = node.span.span;
            // Broken data ends before it begins.
            let nanos = span.end_unix_nanos.saturating_sub(span.start_unix_nanos);
            let is_error = span.status_code == STATUS_ERROR;
            let call = Call { caller, callee: operation(node.span) };
            self.by_call.entry(call).or_default().push(nanos, is_error);
            self.n_spans += 1;
            self.n_errors += u64::from(is_error);
        }
        let summary = trace.summary();
        let duration = summary.end_unix_nanos.saturating_sub(summary.start_unix_nanos);
        self.traces.push(duration, false);
        self.root = trace.root().map(operation);
    }

    /// How many traces were added.
    pub(crate) fn n_traces(&self) -> u64 {
        self.traces.nanos.len() as u64
    }
}

fn operation(span: SpanInTrace<'_>) -> Operation {
    let service = span.resource_spans.resource.service_name().to_owned();
    Operation { service, name: span.span.name.clone() }
}

impl Durations {
    fn push(&mut self, nanos: u64, is_error: bool) {
        self.nanos.push(nanos);
        self.n_errors += u64::from(is_error);
    }

    /// The few numbers.
    pub(crate) fn figures(&self) -> Figures {
        let mut sorted = self.nanos.clone();
        sorted.sort_unstable();
        Figures {
            count: sorted.len() as u64,
            error_count: self.n_errors,
            p50_nanos: percentile(&sorted, 50),
            p95_nanos: percentile(&sorted, 95),
            total_nanos: sorted.iter().fold(0, |sum, nanos| sum.saturating_add(*nanos)),
        }
    }

    /// A percentile of these and others together.
    pub(super) fn together_with(&self, others: &Self, percent: usize) -> u64 {
        let mut all = [self.nanos.as_slice(), &others.nanos].concat();
        all.sort_unstable();
        percentile(&all, percent)
    }

    /// How many took longer.
    pub(super) fn n_above(&self, nanos: u64) -> u64 {
        self.nanos.iter().filter(|duration| **duration > nanos).count() as u64
    }
}

/// Nearest rank: a duration that did occur.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

impl Figures {
    /// The share of errors, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    pub(crate) fn error_share(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.error_count as f64 / self.count as f64 }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use traceql_blocks::model::{
        AttributeValue, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
    };

    use super::*;

    /// A trace of spans `(id, parent, "service name", milliseconds, is_error)`.
    pub(in super::super) fn trace(spans: &[(u8, u8, &str, u64, bool)]) -> Trace {
        let spans = spans.iter().map(|(id, parent, operation, millis, is_error)| {
            let (service, name) = operation.split_once(' ').unwrap();
            let span = Span {
                span_id: vec![*id],
                parent_span_id: if *parent == 0 { vec![] } else { vec![*parent] },
                name: name.to_owned(),
                start_unix_nanos: u64::from(*id),
                end_unix_nanos: u64::from(*id) + millis * 1_000_000,
                status_code: if *is_error { STATUS_ERROR } else { 0 },
                ..Span::default()
            };
            let value = AttributeValue::String(service.to_owned());
            let attributes = vec![KeyValue { key: "service.name".to_owned(), value }];
            ResourceSpans {
                resource: Resource { attributes, ..Resource::default() },
                scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            }
        });
        Trace { resource_spans: spans.collect(), ..Trace::default() }
    }

    #[test]
    fn calls_are_told_apart_by_both_ends() {
        let mut calls = Calls::default();
        calls.add(&trace(&[
            (1, 0, "web GET", 100, false),
            (2, 1, "cart Get", 10, true),
            (3, 1, "cart Get", 30, false),
            (4, 2, "db SELECT", 5, false),
            (5, 99, "db SELECT", 7, false),
        ]));
        let seen: Vec<String> = calls
            .by_call
            .iter()
            .map(|(call, durations)| {
                let caller = match &call.caller {
                    Caller::Nobody => "-",
                    Caller::Missing => "?",
                    Caller::Operation(operation) => &operation.service,
                };
                let Figures { count, error_count, p50_nanos, p95_nanos, .. } = durations.figures();
                format!(
                    "{caller} {} {count} {error_count} {} {}",
                    call.callee.service,
                    p50_nanos / 1_000_000,
                    p95_nanos / 1_000_000
                )
            })
            .collect();
        assert_eq!(
            seen,
            ["- web 1 0 100 100", "? db 1 0 7 7", "cart db 1 0 5 5", "web cart 2 1 10 30"]
        );
        assert_eq!((calls.n_traces(), calls.n_spans, calls.n_errors), (1, 5, 1));
    }

    #[test]
    fn figures_of_nothing_are_zero() {
        assert_eq!(Durations::default().figures(), Figures::default());
        assert!(Figures::default().error_share().abs() < f64::EPSILON);
    }

    #[test]
    fn percentiles_are_durations_that_occurred() {
        let mut durations = Durations::default();
        (1..=100).for_each(|nanos| durations.push(nanos, false));
        let Figures { p50_nanos, p95_nanos, total_nanos, .. } = durations.figures();
        assert_eq!((p50_nanos, p95_nanos, total_nanos), (50, 95, 5_050));
    }
}
