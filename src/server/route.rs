//! Every path the API has, as a table: what is served, and what is not served yet and says so.

use std::borrow::Cow;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Echo,
    Ready,
    BuildInfo,
    /// The server's own counters, as Prometheus reads them.
    Metrics,
    /// What the server is and does, for people.
    Status(Page),
    /// The methods of the service that streams answers, by the rest of the path.
    Stream,
    /// What holds for single tenants.
    Overrides(Overrides),
    /// Whether the server is ready, as gRPC asks it.
    Health,
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

/// Pages for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    All,
    Version,
    Services,
    Endpoints,
    Config,
    UsageStats,
}

/// Pages that name tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overrides {
    /// All of it, as YAML.
    RuntimeConfig,
    /// Who has any.
    Tenants,
    /// What one has, the argument.
    Tenant,
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

use Endpoint::{BuildInfo, Echo, Flush, Health, Metrics, NotYet, Ready, Status, Stream};
use Pattern::{Below, Between, Exact, Segment};

/// The first route that takes a path has it.
const ROUTES: [(Pattern, Endpoint); 39] = [
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
    (Below("/tempopb.StreamingQuerier/"), Stream),
    (Below(crate::health::PATH), Health),
    (
        Below("/opentelemetry.proto.collector.trace.v1."),
        NotYet("OTLP on the address of queries rather than on --otlp-grpc"),
    ),
    (Exact("/api/overrides"), NotYet("overrides by the user")),
    (Exact("/api/mcp"), NotYet("the MCP server")),
    (Exact("/metrics"), Metrics),
    (Exact("/usage_metrics"), NotYet("usage metrics")),
    (Exact("/status"), Status(Page::All)),
    (Exact("/status/version"), Status(Page::Version)),
    (Exact("/status/services"), Status(Page::Services)),
    (Exact("/status/endpoints"), Status(Page::Endpoints)),
    (Exact("/status/config"), Status(Page::Config)),
    (Exact("/status/usage-stats"), Status(Page::UsageStats)),
    (Exact("/status/runtime_config"), Endpoint::Overrides(Overrides::RuntimeConfig)),
    (Exact("/status/overrides"), Endpoint::Overrides(Overrides::Tenants)),
    (Segment("/status/overrides/"), Endpoint::Overrides(Overrides::Tenant)),
    (Below("/status/"), NotYet("this status page")),
    (Exact("/memberlist"), NotYet("pages of a cluster")),
    (Exact("/partition-ring"), NotYet("pages of a cluster")),
    (Below("/live-store/"), NotYet("pages of a cluster")),
    (Exact("/distributor/ring"), NotYet("pages of a cluster")),
    (Exact("/backend-worker/ring"), NotYet("pages of a cluster")),
    (Below("/querier/"), NotYet("the interface between parts of a cluster")),
    (Below("/debug/"), NotYet("profiles of the server")),
];

/// What a request is counted under whose path leads nowhere: there is no end of such paths.
pub(crate) const OTHER: &str = "other";

/// Finds what a path leads to, and its argument as it stands in the path.
pub(crate) fn find(path: &str) -> Option<(Endpoint, &str)> {
    ROUTES.iter().find_map(|(pattern, endpoint)| Some((*endpoint, pattern.argument(path)?)))
}

/// The route that a path takes, without its argument.
pub(crate) fn name(path: &str) -> &'static str {
    match ROUTES.iter().find(|(pattern, _)| pattern.argument(path).is_some()) {
        // Methods of a service are few, and each is a question of its own.
        Some((_, Stream)) => STREAMS.into_iter().find(|name| *name == path).unwrap_or(OTHER),
        Some((_, NotYet(_))) | None => OTHER,
        Some((pattern, _)) => pattern.name(),
    }
}

/// The paths that are served, with what stands for their arguments; and those that are not yet.
pub(crate) fn table() -> impl Iterator<Item = (&'static str, bool)> {
    let methods = STREAMS.into_iter().map(|name| (name, true));
    let others = ROUTES.iter().filter(|(_, endpoint)| *endpoint != Stream);
    let others = others.map(|(pattern, endpoint)| (pattern.name(), !matches!(endpoint, NotYet(_))));
    others.chain(methods)
}

/// The methods of the service that streams answers.
const STREAMS: [&str; 7] = [
    "/tempopb.StreamingQuerier/Search",
    "/tempopb.StreamingQuerier/SearchTags",
    "/tempopb.StreamingQuerier/SearchTagsV2",
    "/tempopb.StreamingQuerier/SearchTagValues",
    "/tempopb.StreamingQuerier/SearchTagValuesV2",
    "/tempopb.StreamingQuerier/MetricsQueryRange",
    "/tempopb.StreamingQuerier/MetricsQueryInstant",
];

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

    fn name(&self) -> &'static str {
        match self {
            Exact(name) | Segment(name) | Between(name, _) | Below(name) => name,
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
        check("/tempopb.StreamingQuerier/Search", Some((Stream, "Search")));
        check("/", None);
        check("/api/nosuch", None);
    }

    #[test]
    fn every_path_is_counted_under_one_of_few_names() {
        assert_eq!(name("/api/search"), "/api/search");
        assert_eq!(name("/api/traces/abc"), "/api/traces/");
        assert_eq!(name("/api/v2/search/tag/span.a/values"), "/api/v2/search/tag/");
        let method = "/tempopb.StreamingQuerier/Search";
        assert_eq!(name(method), method);
        for unknown in ["/", "/x", "/tempopb.StreamingQuerier/X", "/debug/x", "/status/x"] {
            assert_eq!(name(unknown), OTHER, "{unknown}");
        }
        let names: std::collections::BTreeSet<_> = table().map(|(name, _)| name).collect();
        assert_eq!(names.len(), table().count(), "no two routes have one name");
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
