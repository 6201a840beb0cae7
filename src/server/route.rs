//! Every path the API has, as a table: what is served, and what is not served yet and says so.

use std::borrow::Cow;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Echo,
    Ready,
    BuildInfo,
    /// Writes what was received into blocks.
    Flush,
    /// Answered from data, for a tenant.
    Query(Query),
    /// Tempo has it, we do not yet; by name.
    NotYet(&'static str),
}

/// Endpoints that ask the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Search,
    TraceV1,
    TraceV2,
    TagNamesV1,
    TagNamesV2,
    TagValuesV1,
    TagValuesV2,
    MetricsRange,
    MetricsInstant,
}

/// Which paths a route takes.
enum Pattern {
    /// This one.
    Exact(&'static str),
    /// Those with one more segment, the argument.
    Segment(&'static str),
    /// Those that begin and end so, with an argument between that may hold slashes.
    Between(&'static str, &'static str),
    /// Those that begin so.
    Below(&'static str),
}

use Endpoint::{BuildInfo, Echo, Flush, NotYet, Ready};
use Pattern::{Below, Between, Exact, Segment};

/// The first route that takes a path has it.
const ROUTES: [(Pattern, Endpoint); 30] = [
    (Exact("/api/echo"), Echo),
    (Exact("/ready"), Ready),
    (Exact("/api/status/buildinfo"), BuildInfo),
    (Exact("/flush"), Flush),
    (Exact("/api/search"), Endpoint::Query(Query::Search)),
    (Exact("/api/search/tags"), Endpoint::Query(Query::TagNamesV1)),
    (Exact("/api/v2/search/tags"), Endpoint::Query(Query::TagNamesV2)),
    (Between("/api/search/tag/", "/values"), Endpoint::Query(Query::TagValuesV1)),
    (Between("/api/v2/search/tag/", "/values"), Endpoint::Query(Query::TagValuesV2)),
    (Exact("/api/v2/traces/diff"), NotYet("the comparison of two traces")),
    (Segment("/api/traces/"), Endpoint::Query(Query::TraceV1)),
    (Segment("/api/v2/traces/"), Endpoint::Query(Query::TraceV2)),
    (Exact("/api/metrics/query_range"), Endpoint::Query(Query::MetricsRange)),
    (Exact("/api/metrics/query"), Endpoint::Query(Query::MetricsInstant)),
    (Exact("/v1/traces"), NotYet("OTLP on the address of queries rather than on --otlp-http")),
    (Below("/tempopb.StreamingQuerier/"), NotYet("streaming of answers over gRPC")),
    (
        Below("/opentelemetry.proto.collector.trace.v1."),
        NotYet("OTLP on the address of queries rather than on --otlp-grpc"),
    ),
    (Exact("/api/overrides"), NotYet("overrides by the user")),
    (Exact("/api/mcp"), NotYet("the MCP server")),
    (Exact("/metrics"), NotYet("the server's own metrics")),
    (Exact("/usage_metrics"), NotYet("usage metrics")),
    (Exact("/status"), NotYet("the status pages")),
    (Below("/status/"), NotYet("the status pages")),
    (Exact("/memberlist"), NotYet("pages of a cluster")),
    (Exact("/partition-ring"), NotYet("pages of a cluster")),
    (Below("/live-store/"), NotYet("pages of a cluster")),
    (Exact("/distributor/ring"), NotYet("pages of a cluster")),
    (Exact("/backend-worker/ring"), NotYet("pages of a cluster")),
    (Below("/querier/"), NotYet("the interface between parts of a cluster")),
    (Below("/debug/"), NotYet("profiles of the server")),
];

/// Finds what a path leads to, and its argument as it stands in the path.
pub(crate) fn find(path: &str) -> Option<(Endpoint, &str)> {
    ROUTES.iter().find_map(|(pattern, endpoint)| Some((*endpoint, pattern.argument(path)?)))
}

impl Pattern {
    fn argument<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self {
            Exact(whole) => (path == *whole).then_some(""),
            Segment(before) => {
                path.strip_prefix(before).filter(|rest| !rest.is_empty() && !rest.contains('/'))
            }
            Between(before, after) => path
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .filter(|rest| !rest.is_empty()),
            Below(before) => path.strip_prefix(before),
        }
    }
}

/// The path without doubled slashes and dot segments, if it has any: requests are redirected there.
pub(crate) fn cleaned(path: &str) -> Option<String> {
    let is_odd = |segment: &str| matches!(segment, "" | "." | "..");
    let inner = path.strip_prefix('/').unwrap_or(path);
    let (inner, end) = match inner.strip_suffix('/') {
        Some(inner) => (inner, "/"),
        None => (inner, ""),
    };
    if inner.is_empty() && path.len() <= 1 || !inner.split('/').any(is_odd) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in inner.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if kept.is_empty() { "" } else { end };
    Some(format!("/{}{end}", kept.join("/")))
}

/// The text of the answer for what is not there yet.
pub(crate) fn not_yet(path: &str, name: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{name} ({path}) is not implemented by this server yet\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_endpoint_and_argument() {
        let check = |path: &str, expected: Option<(Endpoint, &str)>| {
            assert_eq!(find(path), expected, "{path}");
        };
        check("/api/search", Some((Endpoint::Query(Query::Search), "")));
        check("/api/search/", None);
        check("/api/traces/abc", Some((Endpoint::Query(Query::TraceV1), "abc")));
        check("/api/v2/traces/abc", Some((Endpoint::Query(Query::TraceV2), "abc")));
        check("/api/traces/", None);
        check("/api/traces/a/b", None);
        check(
            "/api/v2/search/tag/span.a/values/b/values",
            Some((Endpoint::Query(Query::TagValuesV2), "span.a/values/b")),
        );
        check("/api/search/tag//values", None);
        assert!(matches!(find("/api/v2/traces/diff"), Some((NotYet(_), _))));
        assert!(matches!(find("/tempopb.StreamingQuerier/Search"), Some((NotYet(_), "Search"))));
        check("/", None);
        check("/api/nosuch", None);
    }

    #[test]
    fn doubled_slashes_and_dots_are_cleaned_away() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(cleaned(path).as_deref(), expected, "{path}");
        };
        check("/api/search", None);
        check("/", None);
        check("/api/", None);
        check("//api/search", Some("/api/search"));
        check("/api//search", Some("/api/search"));
        check("/api/search//", Some("/api/search/"));
        check("/api/./x/../search", Some("/api/search"));
        check("//", Some("/"));
        check("/..", Some("/"));
    }
}
