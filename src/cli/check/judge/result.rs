//! An answer as the text of a snapshot. Of a search: the roots of the traces and what matched in them,
//! without ids and times, equal traces folded. Of metrics: every sample.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use traceql_engine::metrics::MetricsAnswer;
use traceql_engine::search::{ResultAttribute, SearchAnswer, SpanResult, TraceResult};

use super::super::ask::Answer;
use super::series::name;
use crate::check::suite::value_text;
use crate::output::printable;
use crate::units::{format_time_exact, plural};

/// The answer as text, the same for the same answer.
pub(crate) fn result_text(answer: &Answer, is_instant: bool) -> String {
    match answer {
        Answer::Search(answer) => search(answer),
        Answer::Metrics(answer) => metrics(answer, is_instant),
    }
}

fn search(answer: &SearchAnswer) -> String {
    let mut text = plural(answer.traces.len() as u64, "trace") + "\n";
    for (trace, count) in folded(answer.traces.iter().map(trace_text)) {
        let (head, rest) = trace.split_once('\n').unwrap_or((&trace, ""));
        writeln!(text, "{head}{}", times(count)).expect("a string takes everything");
        text.push_str(rest);
    }
    text
}

fn trace_text(trace: &TraceResult) -> String {
    let root = match (trace.root_service_name.as_str(), trace.root_trace_name.as_str()) {
        ("", "") => "(no root span)".to_owned(),
        (service, name) => format!("{}: {}", printable(service), printable(name)),
    };
    let mut text = root + "\n";
    for spanset in &trace.spansets {
        let values = attributes(&spanset.attributes);
        let values = if values.is_empty() { values } else { format!(", {values}") };
        let matched = plural(u64::from(spanset.matched), "span");
        writeln!(text, "  {matched}{values}").expect("a string takes everything");
        for (span, count) in folded(spanset.spans.iter().map(span_text)) {
            if !span.is_empty() {
                writeln!(text, "    {span}{}", times(count)).expect("a string takes everything");
            }
        }
    }
    text
}

/// What the query asked of a span.
fn span_text(span: &SpanResult) -> String {
    let name = span.name.iter().map(|name| printable(name));
    let values = Some(attributes(&span.attributes)).filter(|values| !values.is_empty());
    name.chain(values).collect::<Vec<_>>().join("  ")
}

fn attributes(attributes: &[ResultAttribute]) -> String {
    // Times differ from run to run.
    let is_stable = |attribute: &&ResultAttribute| {
        !matches!(attribute.value, traceql_engine::search::Value::Duration(_))
    };
    let text = |attribute: &ResultAttribute| {
        format!("{} = {}", printable(&attribute.key), printable(&value_text(&attribute.value)))
    };
    attributes.iter().filter(is_stable).map(text).collect::<Vec<_>>().join(", ")
}

/// Texts in order, equal ones once with their number.
fn folded(texts: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut folded = BTreeMap::new();
    for text in texts {
        *folded.entry(text).or_insert(0) += 1;
    }
    folded
}

fn times(count: usize) -> String {
    if count > 1 { format!(" ×{count}") } else { String::new() }
}

fn metrics(answer: &MetricsAnswer, is_instant: bool) -> String {
    let mut text = String::new();
    for series in &answer.series {
        writeln!(text, "{}", name(series)).expect("a string takes everything");
        for (interval, value) in series.samples.present() {
            let when = match is_instant {
                true => String::new(),
                false => format_time_exact(answer.axis.timestamp_unix_nanos(interval)) + " ",
            };
            writeln!(text, "  {when}{value}").expect("a string takes everything");
        }
    }
    if text.is_empty() { "no series\n".to_owned() } else { text }
}
