//! What the server is, does and was told, for people: plain text, and settings as YAML with Tempo's
//! names where the meaning is the same.

use std::fmt::Write as _;
use std::time::Duration;

use crate::options::{ANSWER_CACHE_BYTES, Limits, RequestLog, ServeOptions, Tenancy};
use crate::route::{self, Page};

/// The version of Tempo whose API this is; old Grafana looks at it to decide what it may ask.
pub(crate) const API_VERSION: &str = "3.1.0";

/// Which settings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    /// Those that differ from their defaults.
    Changed,
    /// The defaults.
    Defaults,
}

impl Shown {
    /// Of the parameter `mode`.
    pub(crate) fn of(mode: Option<&str>) -> Option<Self> {
        match mode {
            None => Some(Self::All),
            Some("diff") => Some(Self::Changed),
            Some("defaults") => Some(Self::Defaults),
            Some(_) => None,
        }
    }
}

/// The text of a page.
pub(crate) fn page(page: Page, options: &ServeOptions, shown: Shown) -> String {
    match page {
        Page::Version => version(),
        Page::Services => services(options),
        Page::Endpoints => endpoints(),
        Page::Config => config(options, shown),
        Page::All => format!(
            "# version\n{}\n# services\n{}\n# endpoints\n{}\n# config\n{}",
            version(),
            services(options),
            endpoints(),
            config(options, shown)
        ),
    }
}

fn version() -> String {
    format!("traceql {}\nAPI of Tempo {API_VERSION}\n", env!("CARGO_PKG_VERSION"))
}

fn services(options: &ServeOptions) -> String {
    let grpc = if options.grpc_listen.is_some() { "Running" } else { "Off" };
    format!("http          Running\nstreaming     Running\ngrpc-port     {grpc}\n")
}

fn endpoints() -> String {
    let mut text = String::new();
    for (name, is_served) in route::table() {
        let state = if is_served { "served" } else { "not implemented" };
        // A string takes everything.
        let _written = writeln!(text, "{state:<16}{name}");
    }
    text
}

/// A setting, its value and its default. A setting that has no default is shown by all.
struct Setting {
    /// Sections and name, with dots between.
    path: &'static str,
    value: String,
    default: Option<String>,
}

fn config(options: &ServeOptions, shown: Shown) -> String {
    yaml(settings(options), shown)
}

/// Settings as they are written; those of a section have to stand together.
fn yaml(settings: impl IntoIterator<Item = Setting>, shown: Shown) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for Setting { path, value, default } in settings {
        let value = match shown {
            Shown::All => value,
            Shown::Changed if default.as_ref() == Some(&value) => continue,
            Shown::Changed => value,
            Shown::Defaults => match default {
                Some(default) => default,
                None => continue,
            },
        };
        let sections: Vec<&str> = path.split('.').collect();
        let (name, sections) = sections.split_last().unwrap_or((&"", &[]));
        let n_common = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(n_common) {
            let _written = writeln!(text, "{:1$}{section}:", "", 2 * depth);
        }
        open = sections.to_vec();
        let _written = writeln!(text, "{:1$}{name}: {value}", "", 2 * sections.len());
    }
    text
}

fn settings(options: &ServeOptions) -> Vec<Setting> {
    let (limits, defaults) = (&options.limits, Limits::default());
    let query = traceql_engine::QueryOptions::default();
    let given = |path, value: String| Setting { path, value, default: None };
    let with =
        |path, value: String, default: String| Setting { path, value, default: Some(default) };
    let number =
        |path, value: usize, default: usize| with(path, value.to_string(), default.to_string());
    let bound = |path, value: Option<usize>, default: Option<usize>| {
        with(path, value.unwrap_or(0).to_string(), default.unwrap_or(0).to_string())
    };
    let duration = |path, value: Duration, default: Duration| {
        with(path, duration_text(value), duration_text(default))
    };
    let longest = |path, value: Option<Duration>, default: Option<Duration>| {
        duration(path, value.unwrap_or_default(), default.unwrap_or_default())
    };
    vec![
        with(
            "multitenancy_enabled",
            (options.tenancy == Tenancy::Header).to_string(),
            "false".to_owned(),
        ),
        given("server.listen", quoted(&options.listen)),
        given("server.grpc_listen", quoted(options.grpc_listen.as_deref().unwrap_or(""))),
        duration("server.graceful_shutdown_timeout", options.drain, Duration::from_secs(10)),
        with("server.log_requests", request_log(options.request_log), "off".to_owned()),
        given("storage.trace.source", quoted(&options.source.to_string())),
        duration("storage.trace.blocklist_poll", options.poll, Duration::from_secs(60)),
        number(
            "query_frontend.max_outstanding_per_tenant",
            limits.queued_queries,
            defaults.queued_queries,
        ),
        number(
            "query_frontend.concurrent_queries",
            limits.concurrent_queries,
            defaults.concurrent_queries,
        ),
        number(
            "query_frontend.concurrent_queries_per_tenant",
            limits.concurrent_queries_per_tenant,
            defaults.concurrent_queries_per_tenant,
        ),
        longest("query_frontend.api_timeout", options.query.timeout, query.timeout),
        number("query_frontend.query_memory_bytes", options.query.memory_bytes, query.memory_bytes),
        given("query_frontend.query_threads", options.query.threads.to_string()),
        number(
            "query_frontend.search.default_result_limit",
            limits.default_traces,
            defaults.default_traces,
        ),
        bound("query_frontend.search.max_result_limit", limits.max_traces, defaults.max_traces),
        number(
            "query_frontend.search.default_spans_per_span_set",
            limits.default_spans_per_spanset,
            defaults.default_spans_per_spanset,
        ),
        bound(
            "query_frontend.search.max_spans_per_span_set",
            limits.max_spans_per_spanset,
            defaults.max_spans_per_spanset,
        ),
        longest(
            "query_frontend.search.max_duration",
            limits.max_search_range,
            defaults.max_search_range,
        ),
        duration("query_frontend.search.query_end_cutoff", limits.end_cutoff, defaults.end_cutoff),
        with(
            "query_frontend.metrics.answer_cache_bytes",
            options.answer_cache_bytes.to_string(),
            ANSWER_CACHE_BYTES.to_string(),
        ),
        longest(
            "query_frontend.metrics.max_duration",
            limits.metrics.max_range,
            defaults.metrics.max_range,
        ),
        with(
            "query_frontend.metrics.max_intervals",
            limits.metrics.max_intervals.to_string(),
            defaults.metrics.max_intervals.to_string(),
        ),
        number(
            "query_frontend.metrics.max_response_series",
            limits.metrics.max_series,
            defaults.metrics.max_series,
        ),
        with(
            "query_frontend.metrics.max_exemplars",
            limits.metrics.max_exemplars.to_string(),
            defaults.metrics.max_exemplars.to_string(),
        ),
        duration(
            "query_frontend.metrics.query_end_cutoff",
            limits.metrics.end_cutoff,
            defaults.metrics.end_cutoff,
        ),
    ]
}

fn request_log(log: RequestLog) -> String {
    match log {
        RequestLog::Off => "off".to_owned(),
        RequestLog::Slow(than) => format!("slow # {}", duration_text(than)),
        RequestLog::All => "all".to_owned(),
    }
}

fn duration_text(duration: Duration) -> String {
    traceql_language::duration_text(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// As YAML takes every text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_opens_once() {
        let settings = ["a", "b.c", "b.d.e", "b.d.f", "g.h"];
        let setting = |path| Setting { path, value: "1".to_owned(), default: None };
        let text = yaml(settings.map(setting), Shown::All);
        assert_eq!(text, "a: 1\nb:\n  c: 1\n  d:\n    e: 1\n    f: 1\ng:\n  h: 1\n");
    }
}
