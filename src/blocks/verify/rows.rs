//! Rows: their order, and the columns that follow from others.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Finding, Findings, RowOf, Rule, Severity};
use crate::bucket::meta::FormatVersion;
use crate::error::Result;
use crate::model::nested_set::NestedSet;
use crate::model::trace::{ServiceStats, TraceSummary, rounded_start};
use crate::model::{Trace, TraceId};
use crate::read::materialize::Rows;
use crate::read::open::OpenBlock;
use crate::read::rows::RowReader;
use crate::schema::{Level, ROUNDED_STARTS};

/// Checks the columns of some rows, and gives back their ids.
pub(super) async fn check_rows(
    reader: &mut RowReader,
    open: &OpenBlock,
    row_group: usize,
    step: Range<u32>,
    findings: &mut Findings<'_>,
) -> Result<Vec<RowOf>> {
    let first_row = open.row_group_rows(row_group).start + u64::from(step.start);
    let leaves = reader.all_leaves(step).await?;
    let rows = reader.rows(leaves)?;
    let traces = rows.traces()?;
    let places: Vec<RowOf> =
        (first_row..).zip(&traces).map(|(row, trace)| RowOf { row, trace: trace.id }).collect();
    findings.report.row_count += traces.len() as u64;
    findings.report.span_count += traces.iter().map(|trace| trace.span_count() as u64).sum::<u64>();
    check_ids(&rows, &places, findings)?;
    check_trace_columns(&rows, &traces, &places, open, findings)?;
    check_service_stats(&rows, &traces, &places, open, findings)?;
    check_nested_sets(&rows, &traces, &places, open, findings)?;
    if open.schema.version() == FormatVersion::VParquet5 {
        check_computed(&rows, &traces, &places, findings)?;
    }
    Ok(places)
}

/// Checks that the rows of a row group, `ids[first..]`, ascend and follow on those before them.
pub(super) fn check_order(
    open: &OpenBlock,
    row_group: usize,
    ids: &[RowOf],
    first: usize,
    findings: &mut Findings<'_>,
) {
    for pair in ids[first.saturating_sub(1)..].windows(2) {
        if pair[0].trace >= pair[1].trace {
            let expected = format_args!("an id after {} of the row before", pair[0].trace);
            findings.add_data(Rule::RowOrder, Some(pair[1]), expected, pair[1].trace);
        }
    }
    let Some((min, max)) = open.trace_id_bounds(row_group) else { return };
    let outside =
        ids[first..].iter().find(|row| row.trace < TraceId(min) || TraceId(max) < row.trace);
    if let Some(row) = outside {
        let expected =
            format_args!("an id within the bounds {} and {}", TraceId(min), TraceId(max));
        findings.add_data(Rule::Statistics, Some(*row), expected, row.trace);
    }
}

fn check_ids(rows: &Rows<'_>, places: &[RowOf], findings: &mut Findings<'_>) -> Result<()> {
    let texts = rows.texts("TraceIDText", Level::Trace)?;
    let ids = rows.byte_strings("TraceID", Level::Trace)?;
    for ((place, id), text) in places.iter().zip(ids).zip(texts) {
        if id.len() != 16 {
            let found = format!("{} bytes", id.len());
            findings.add_data(Rule::RowOrder, Some(*place), "a TraceID of 16 bytes", found);
        }
        let hex = place.trace.to_string();
        let expected = hex.trim_start_matches('0');
        if text != expected {
            let expected = format_args!("TraceIDText {expected:?}");
            findings.add_data(Rule::TraceColumns, Some(*place), expected, format!("{text:?}"));
        }
    }
    Ok(())
}

/// What the trace-level columns of one row say.
struct StoredTrace {
    start: u64,
    end: u64,
    duration: u64,
    root_service: String,
    root_span: String,
}

fn check_trace_columns(
    rows: &Rows<'_>,
    traces: &[Trace],
    places: &[RowOf],
    open: &OpenBlock,
    findings: &mut Findings<'_>,
) -> Result<()> {
    let level = Level::Trace;
    let starts = rows.ints("StartTimeUnixNano", level)?;
    let ends = rows.ints("EndTimeUnixNano", level)?;
    let durations = rows.ints("DurationNano", level)?;
    let mut root_services = rows.texts("RootServiceName", level)?.into_iter();
    let mut root_spans = rows.texts("RootSpanName", level)?.into_iter();
    let is_compacted = open.block.meta.compaction_level > 0;
    for (at, (trace, place)) in traces.iter().zip(places).enumerate() {
        let stored = StoredTrace {
            start: starts[at].cast_unsigned(),
            end: ends[at].cast_unsigned(),
            duration: durations[at].cast_unsigned(),
            root_service: root_services.next().unwrap_or_default(),
            root_span: root_spans.next().unwrap_or_default(),
        };
        check_times(trace, *place, &stored, findings);
        check_root(trace, *place, &stored, is_compacted, findings);
    }
    Ok(())
}

fn check_times(trace: &Trace, place: RowOf, stored: &StoredTrace, findings: &mut Findings<'_>) {
    let TraceSummary { start_unix_nanos, end_unix_nanos, .. } = trace.summary();
    // A start of 0 gives way to the next span of the order in which spans came, which the order of
    // the rows need not be.
    let any_start = trace.spans().any(|s| s.span.start_unix_nanos == 0)
        && trace.spans().any(|s| s.span.start_unix_nanos == stored.start);
    if stored.start != start_unix_nanos && !any_start {
        let expected = format_args!("StartTimeUnixNano {start_unix_nanos}");
        findings.add_data(Rule::TraceColumns, Some(place), expected, stored.start);
    }
    if stored.end != end_unix_nanos {
        let expected = format_args!("EndTimeUnixNano {end_unix_nanos}");
        findings.add_data(Rule::TraceColumns, Some(place), expected, stored.end);
    }
    let duration = stored.end.wrapping_sub(stored.start);
    if stored.duration != duration {
        let expected = format_args!("DurationNano {duration}");
        findings.add_data(Rule::TraceColumns, Some(place), expected, stored.duration);
    }
}

/// The root is the last of the spans that may be one, in the order in which spans came; merging of
/// equal resources may have changed that order, so any of them passes. Compaction takes either name
/// from the first copy that has one. Of several service names that a resource was sent with the trace has
/// the first and the format keeps the last: such a trace, which no SDK sends, is reported too.
fn check_root(
    trace: &Trace,
    place: RowOf,
    stored: &StoredTrace,
    is_compacted: bool,
    findings: &mut Findings<'_>,
) {
    let (service, span) = (stored.root_service.as_str(), stored.root_span.as_str());
    let mut roots = trace.roots().peekable();
    let fits = if roots.peek().is_none() {
        service.is_empty() && span.is_empty()
    } else if is_compacted {
        let fits = |name: &str, of: fn(crate::model::trace::SpanInTrace<'_>) -> &str| {
            name.is_empty() || trace.roots().any(|root| of(root) == name)
        };
        fits(service, |root| root.root_service_name()) && fits(span, |root| &root.span.name)
    } else {
        roots.any(|root| root.root_service_name() == service && root.span.name == span)
    };
    if !fits {
        let expected = trace.root().map(|root| (root.root_service_name(), root.span.name.as_str()));
        let (expected_service, expected_span) = expected.unwrap_or_default();
        findings.add_data(
            Rule::TraceColumns,
            Some(place),
            format_args!("RootServiceName {expected_service:?} and RootSpanName {expected_span:?}"),
            format_args!("{service:?} and {span:?}"),
        );
    }
}

fn check_service_stats(
    rows: &Rows<'_>,
    traces: &[Trace],
    places: &[RowOf],
    open: &OpenBlock,
    findings: &mut Findings<'_>,
) -> Result<()> {
    if open.schema.version() == FormatVersion::VParquet3 {
        return Ok(());
    }
    let per_row = rows.values_per_row(rows.leaf("ServiceStats.ServiceName")?)?;
    let mut names = rows.listed_texts("ServiceStats.ServiceName")?.into_iter();
    let mut span_counts = rows.listed_ints("ServiceStats.SpanCount")?.into_iter();
    let mut error_counts = rows.listed_ints("ServiceStats.ErrorCount")?.into_iter();
    let count = |count: Option<i64>| u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX);
    for ((trace, place), &n) in traces.iter().zip(places).zip(&per_row) {
        let stored: Vec<(String, ServiceStats)> = names
            .by_ref()
            .take(n as usize)
            .map(|name| {
                let stats = ServiceStats {
                    span_count: count(span_counts.next()),
                    error_count: count(error_counts.next()),
                };
                (name, stats)
            })
            .collect();
        let sorted = stored.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let expected = trace.summary().service_stats;
        let stored_map: BTreeMap<_, _> = stored.iter().cloned().collect();
        // vParquet4 keeps a map, whose entries are in no order.
        let in_order = sorted || open.schema.version() == FormatVersion::VParquet4;
        if expected != stored_map || stored_map.len() != stored.len() || !in_order {
            findings.add_data(
                Rule::ServiceStats,
                Some(*place),
                show_stats(&expected.into_iter().collect::<Vec<_>>()),
                show_stats(&stored),
            );
        }
    }
    Ok(())
}

/// `"name": spans/errors, …`.
fn show_stats(stats: &[(String, ServiceStats)]) -> String {
    let show = |(name, stats): &(String, ServiceStats)| {
        format!("{name:?}: {}/{}", stats.span_count, stats.error_count)
    };
    stats.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn check_nested_sets(
    rows: &Rows<'_>,
    traces: &[Trace],
    places: &[RowOf],
    open: &OpenBlock,
    findings: &mut Findings<'_>,
) -> Result<()> {
    let level = Level::Span;
    let lefts = rows.ints("rs.ss.Spans.NestedSetLeft", level)?;
    let rights = rows.ints("rs.ss.Spans.NestedSetRight", level)?;
    let parents = rows.ints("rs.ss.Spans.ParentID", level)?;
    let child_counts = match open.schema.version() {
        FormatVersion::VParquet5 => Some(rows.ints("rs.ss.Spans.ChildCount", level)?),
        _ => None,
    };
    let mut first = 0;
    for (trace, place) in traces.iter().zip(places) {
        let expected = trace.nested_sets();
        let spans = first..first + expected.len();
        first = spans.end;
        let numbers = |set: &NestedSet| [set.left, set.right, set.parent_left].map(i64::from);
        let stored = spans.clone().map(|at| [lefts[at], rights[at], parents[at]]);
        let wrong = expected.iter().map(numbers).zip(stored).enumerate();
        let wrong: Vec<_> = wrong.filter(|(_, (expected, stored))| expected != stored).collect();
        if let Some((at, (expected, stored))) = wrong.first() {
            findings.add_data(
                Rule::NestedSet,
                Some(*place),
                format_args!("left, right and parent {expected:?} of {}", span_name(trace, *at)),
                format_args!("{stored:?}, and {} such spans in all", wrong.len()),
            );
        }
        let Some(child_counts) = &child_counts else { continue };
        let counts = expected.iter().map(|set| i64::from(set.child_count));
        let wrong: Vec<_> = counts
            .zip(&child_counts[spans])
            .enumerate()
            .filter(|(_, (expected, stored))| expected != *stored)
            .collect();
        if let Some((at, (expected, stored))) = wrong.first() {
            // Tempo leaves the counts of traces without a root as memory happens to be.
            let has_root = trace.spans().any(|s| s.span.parent_span_id.is_empty());
            findings.add(Finding {
                rule: Rule::ChildCount,
                severity: if has_root { Severity::Error } else { Severity::Warning },
                object: open.name().to_owned(),
                row: Some(place.row),
                trace: Some(place.trace),
                expected: format!("ChildCount {expected} of {}", span_name(trace, *at)),
                found: format!("{stored}, and {} such spans in all", wrong.len()),
            });
        }
    }
    Ok(())
}

fn check_computed(
    rows: &Rows<'_>,
    traces: &[Trace],
    places: &[RowOf],
    findings: &mut Findings<'_>,
) -> Result<()> {
    for seconds in ROUNDED_STARTS {
        let path = format!("rs.ss.Spans.StartTimeRounded{seconds}");
        let mut stored = rows.ints(&path, Level::Span)?.into_iter();
        for (trace, place) in traces.iter().zip(places) {
            for (at, in_place) in trace.spans().enumerate() {
                let expected = rounded_start(in_place.span.start_unix_nanos, seconds);
                // Unsigned in the file, read as signed.
                let found = i32::try_from(stored.next().unwrap_or(0)).unwrap_or(0).cast_unsigned();
                if found != expected {
                    let of = span_name(trace, at);
                    let expected = format_args!("StartTimeRounded{seconds} {expected} of {of}");
                    findings.add_data(Rule::ComputedColumns, Some(*place), expected, found);
                }
            }
        }
    }
    let mut stored = rows.ints("rs.ss.SpanCount", Level::Scope)?.into_iter();
    for (trace, place) in traces.iter().zip(places) {
        for scope_spans in trace.resource_spans.iter().flat_map(|rs| &rs.scope_spans) {
            let (expected, found) = (scope_spans.spans.len(), stored.next().unwrap_or(0));
            if i64::try_from(expected) != Ok(found) {
                let expected = format_args!(
                    "SpanCount {expected} of a scope named {:?}",
                    scope_spans.scope.name
                );
                findings.add_data(Rule::ComputedColumns, Some(*place), expected, found);
            }
        }
    }
    Ok(())
}

fn span_name(trace: &Trace, at: usize) -> String {
    trace.spans().nth(at).map_or_else(String::new, |place| {
        let id: String = place.span.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("span {id}")
    })
}
