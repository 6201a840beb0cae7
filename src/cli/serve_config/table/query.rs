//! Settings of queries: what one may ask, what it may cost, how many run.

use std::time::Duration;

use super::super::setting::{Sets, Setting};
use super::super::value::Form;
use crate::role_args::Role;

const fn query(
    path: &'static str,
    id: &'static str,
    form: Form,
    default: &'static [&'static str],
) -> Setting {
    Setting::argument(path, id, form, default).role(Role::Query)
}

fn some(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|duration| !duration.is_zero())
}

pub(super) const SETTINGS: &[Setting] = &[
    query("query_frontend.max_outstanding_per_tenant", "queued_queries", Form::Count, &["2000"]),
    query("query_frontend.concurrent_queries", "concurrent_queries", Form::Positive, &["4"]),
    query(
        "query_frontend.concurrent_queries_per_tenant",
        "concurrent_queries_per_tenant",
        Form::Positive,
        &[],
    ),
    query("query_frontend.api_timeout", "timeout", Form::DurationOrNone, &["0"]),
    query("query_frontend.query_memory_bytes", "memory", Form::Size, &["512MiB"]),
    query("query_frontend.query_threads", "threads", Form::Positive, &[]),
    Setting::alone(
        "query_frontend.search.default_result_limit",
        Form::Positive,
        &["20"],
        Sets::Limits(|limits, value| limits.default_traces = value.size()),
        "Traces that a search gets that asks for no number",
    )
    .role(Role::Query),
    query("query_frontend.search.max_result_limit", "max_limit", Form::Count, &["0"]),
    Setting::alone(
        "query_frontend.search.default_spans_per_span_set",
        Form::Positive,
        &["3"],
        Sets::Limits(|limits, value| limits.default_spans_per_spanset = value.size()),
        "Spans of a spanset that a search gets that asks for no number",
    )
    .role(Role::Query),
    query(
        "query_frontend.search.max_spans_per_span_set",
        "max_spans_per_spanset",
        Form::Count,
        &["0"],
    ),
    Setting::alone(
        "query_frontend.search.default_duration",
        Form::Duration,
        &["15m"],
        Sets::Limits(|limits, value| limits.default_range = value.duration()),
        "How far back a search looks that names no range",
    )
    .role(Role::Query),
    query("query_frontend.search.max_duration", "max_search_range", Form::DurationOrNone, &["0"])
        .limit("read.max_search_duration", |tenant, value| {
            tenant.max_search_range = Some(value.duration());
        }),
    Setting::alone(
        "query_frontend.search.query_end_cutoff",
        Form::DurationOrNone,
        &["0"],
        Sets::Limits(|limits, value| limits.end_cutoff = value.duration()),
        "The newest data, still arriving, which searches and tags leave out",
    )
    .role(Role::Query),
    query(
        "query_frontend.metrics.answer_cache_bytes",
        "answer_cache",
        Form::SizeOrNone,
        &["32MiB"],
    ),
    Setting::alone(
        "query_frontend.metrics.default_duration",
        Form::Duration,
        &["1h"],
        Sets::Limits(|limits, value| {
            if let Some(range) = some(value.duration()) {
                limits.metrics.default_range = range;
            }
        }),
        "How far back a metrics query looks that names no range",
    )
    .role(Role::Query),
    query(
        "query_frontend.metrics.max_duration",
        "max_metrics_duration",
        Form::DurationOrNone,
        &["24h"],
    )
    .limit("read.max_metrics_duration", |tenant, value| {
        tenant.max_metrics_range = Some(value.duration());
    }),
    query("query_frontend.metrics.max_intervals", "max_metrics_intervals", Form::Count, &["10000"]),
    query("query_frontend.metrics.max_response_series", "max_metrics_series", Form::Count, &["0"]),
    query("query_frontend.metrics.max_exemplars", "max_exemplars", Form::Count, &["100"]),
    query(
        "query_frontend.metrics.query_end_cutoff",
        "metrics_end_cutoff",
        Form::DurationOrNone,
        &["30s"],
    ),
];
