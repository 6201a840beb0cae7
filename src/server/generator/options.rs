//! What the generator is started with: plain data under Tempo's names, checked when a
//! [`super::Generator`] is made from it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use traceql_blocks::bucket::tenant::TenantId;

use crate::target::TargetError;

/// Everything the generator needs to know.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// What is made of the spans of a tenant that is not named in `tenants`.
    pub defaults: TenantMetrics,
    /// Tenants with settings of their own, which replace the defaults altogether.
    pub tenants: BTreeMap<TenantId, TenantMetrics>,
    /// How often series are collected: sent, and dropped if stale.
    pub collection_interval: Duration,
    /// A series that has had no span for this long is dropped.
    pub stale_after: Duration,
    /// Where series are sent; none if they are only scraped.
    pub remote_write: Vec<RemoteWriteOptions>,
    /// Labels of every series that is sent; a series' own label of the same name wins.
    pub external_labels: BTreeMap<String, String>,
    /// Value of the label `__metrics_gen_instance` of every series that is sent, which keeps several
    /// generators apart; without the label if empty.
    pub instance: String,
    /// Whether what is sent names its tenant in `X-Scope-OrgID`, and a scrape must name one.
    pub multitenant: bool,
    /// Whose spans these are if there is one tenant only.
    pub single_tenant: TenantId,
    /// The time, unix nanoseconds.
    pub clock: fn() -> u64,
    /// Takes a line for whoever runs the server.
    pub log: fn(&str),
}

impl GeneratorOptions {
    /// Tempo's defaults, in which no processor is on.
    #[must_use]
    pub fn new(clock: fn() -> u64, log: fn(&str)) -> Self {
        Self {
            defaults: TenantMetrics::default(),
            tenants: BTreeMap::new(),
            collection_interval: Duration::from_secs(15),
            stale_after: Duration::from_secs(15 * 60),
            remote_write: Vec::new(),
            external_labels: BTreeMap::new(),
            instance: String::new(),
            multitenant: false,
            single_tenant: TenantId::single(),
            clock,
            log,
        }
    }
}

/// What is made of the spans of one tenant.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    /// Which metrics are made.
    pub processors: Processors,
    /// Settings of span metrics.
    pub span_metrics: SpanMetricsOptions,
    /// Settings of the service graph.
    pub service_graphs: ServiceGraphOptions,
    /// Resource attributes that name a host, the first that is there counts.
    pub host_identifiers: Vec<String>,
    /// Bounds on series.
    pub limits: SeriesLimits,
    /// In which form histograms are sent.
    pub histograms: Histograms,
    /// Label of an exemplar that holds the trace id.
    pub trace_id_label: String,
    /// Spans that end further than this from now, either way, are not counted.
    pub time_range_slack: Duration,
    /// Counts, but neither sends nor shows: to see how many series there would be.
    pub is_dry_run: bool,
}

impl Default for TenantMetrics {
    fn default() -> Self {
        Self {
            processors: Processors::default(),
            span_metrics: SpanMetricsOptions::default(),
            service_graphs: ServiceGraphOptions::default(),
            host_identifiers: vec!["k8s.node.name".into(), "host.id".into()],
            limits: SeriesLimits::default(),
            histograms: Histograms::Classic,
            trace_id_label: "traceID".into(),
            time_range_slack: Duration::from_secs(30),
            is_dry_run: false,
        }
    }
}

/// Which metrics are made; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// `traces_spanmetrics_calls_total`.
    pub span_calls: bool,
    /// `traces_spanmetrics_latency`.
    pub span_latency: bool,
    /// `traces_spanmetrics_size_total`.
    pub span_size: bool,
    /// `traces_service_graph_request_total` and `…_failed_total`.
    pub graph_requests: bool,
    /// `traces_service_graph_request_server_seconds` and `…_client_seconds`.
    pub graph_latency: bool,
    /// `traces_service_graph_connection_info`.
    pub graph_connections: bool,
    /// `traces_host_info`.
    pub host_info: bool,
}

/// No processor has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProcessor(pub String);

impl Processors {
    /// Names that [`Self::enable`] takes.
    pub const NAMES: [&str; 9] = [
        "span-metrics",
        "span-metrics-count",
        "span-metrics-latency",
        "span-metrics-size",
        "service-graphs",
        "service-graphs-request",
        "service-graphs-latency",
        "service-graphs-connection-info",
        "host-info",
    ];

    /// Switches on what goes by Tempo's name.
    ///
    /// # Errors
    /// If nothing goes by it.
    pub fn enable(&mut self, name: &str) -> Result<(), UnknownProcessor> {
        match name {
            "span-metrics" => {
                (self.span_calls, self.span_latency, self.span_size) = (true, true, true);
            }
            "span-metrics-count" => self.span_calls = true,
            "span-metrics-latency" => self.span_latency = true,
            "span-metrics-size" => self.span_size = true,
            "service-graphs" => (self.graph_requests, self.graph_latency) = (true, true),
            "service-graphs-request" => self.graph_requests = true,
            "service-graphs-latency" => self.graph_latency = true,
            "service-graphs-connection-info" => self.graph_connections = true,
            "host-info" => self.host_info = true,
            other => return Err(UnknownProcessor(other.to_owned())),
        }
        Ok(())
    }

    pub(super) fn any_span_metrics(self) -> bool {
        self.span_calls || self.span_latency || self.span_size
    }

    pub(super) fn any_graph(self) -> bool {
        self.graph_requests || self.graph_latency || self.graph_connections
    }
}

impl fmt::Display for UnknownProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no processor; there are {}", self.0, Processors::NAMES.join(", "))
    }
}

impl std::error::Error for UnknownProcessor {}

/// Settings of span metrics (`api.md` 6.1).
#[derive(Clone, Debug)]
pub struct SpanMetricsOptions {
    /// Which intrinsic labels there are.
    pub intrinsics: IntrinsicDimensions,
    /// Attributes, of the resource or else of the span, that become labels.
    pub dimensions: Vec<String>,
    /// Labels made of several attributes.
    pub dimension_mappings: Vec<DimensionMapping>,
    /// Upper bounds of the buckets of latency, seconds, ascending.
    pub histogram_buckets: Vec<f64>,
    /// Whether there is `traces_target_info`, and labels `job` and `instance`.
    pub enable_target_info: bool,
    /// Whether `instance` is among them.
    pub enable_instance_label: bool,
    /// Resource attributes that are no labels of `traces_target_info`.
    pub target_info_excluded_dimensions: Vec<String>,
    /// Attribute that holds the ratio at which spans were sampled; a span counts 1/ratio.
    pub span_multiplier_key: Option<String>,
    /// Takes that ratio from `ot=th:` of the trace state, if it is there.
    pub enable_tracestate_span_multiplier: bool,
    /// Which spans count.
    pub filter_policies: Vec<FilterPolicy>,
}

impl Default for SpanMetricsOptions {
    fn default() -> Self {
        Self {
            intrinsics: IntrinsicDimensions::default(),
            dimensions: Vec::new(),
            dimension_mappings: Vec::new(),
            histogram_buckets: doubling(0.002, 14),
            enable_target_info: false,
            enable_instance_label: true,
            target_info_excluded_dimensions: Vec::new(),
            span_multiplier_key: None,
            enable_tracestate_span_multiplier: false,
            filter_policies: Vec::new(),
        }
    }
}

/// Which labels every series of span metrics has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntrinsicDimensions {
    /// `service`.
    pub service: bool,
    /// `span_name`.
    pub span_name: bool,
    /// `span_kind`.
    pub span_kind: bool,
    /// `status_code`.
    pub status_code: bool,
    /// `status_message`.
    pub status_message: bool,
}

impl Default for IntrinsicDimensions {
    fn default() -> Self {
        Self {
            service: true,
            span_name: true,
            span_kind: true,
            status_code: true,
            status_message: false,
        }
    }
}

/// A label made of the values of several attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimensionMapping {
    /// Name of the label.
    pub name: String,
    /// Attributes whose values it is made of; those that are missing are left out.
    pub source_labels: Vec<String>,
    /// What stands between the values.
    pub join: String,
}

/// A rule on which spans count. A span that some `include_any` matches counts without meeting the
/// `include`s; else it must meet all of those, if there are any. What an `exclude` matches never
/// counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterPolicy {
    /// A span must match.
    pub include: Option<PolicyMatch>,
    /// A span may match instead.
    pub include_any: Option<PolicyMatch>,
    /// A span must not match.
    pub exclude: Option<PolicyMatch>,
}

/// Attributes of a span, all of which must match.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyMatch {
    /// Whether values are regular expressions, which match anywhere in a text.
    pub is_regex: bool,
    /// `kind`, `name`, `status`, `resource.<key>` or `span.<key>`, and what it must be.
    pub attributes: Vec<(String, PolicyValue)>,
}

/// What an attribute must be.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyValue {
    /// This text, or what this regular expression matches.
    String(String),
    /// This integer.
    Int(i64),
    /// This double.
    Double(f64),
    /// This truth value.
    Bool(bool),
}

/// Settings of the service graph (`api.md` 6.2).
#[derive(Clone, Debug)]
pub struct ServiceGraphOptions {
    /// How long one side of an edge waits for the other.
    pub wait: Duration,
    /// Most edges that wait; further ones are dropped.
    pub max_items: usize,
    /// Attributes, of either side, that become labels.
    pub dimensions: Vec<String>,
    /// Whether those labels are prefixed with `client_` and `server_`.
    pub enable_client_server_prefix: bool,
    /// Attributes that name the other side of a span whose other side does not come; the first that
    /// is there counts.
    pub peer_attributes: Vec<String>,
    /// Attributes of which a client span has one if it asks a database.
    pub database_name_attributes: Vec<String>,
    /// Whether edges with a guessed side say which, in the label `virtual_node`.
    pub enable_virtual_node_label: bool,
    /// Whether there is `traces_service_graph_request_messaging_system_seconds`.
    pub enable_messaging_system_latency_histogram: bool,
    /// Upper bounds of the buckets of latencies, seconds, ascending.
    pub histogram_buckets: Vec<f64>,
}

impl Default for ServiceGraphOptions {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            wait: Duration::from_secs(10),
            max_items: 10_000,
            dimensions: Vec::new(),
            enable_client_server_prefix: false,
            peer_attributes: names(&["peer.service", "db.name", "db.system", "db.system.name"]),
            database_name_attributes: names(&[
                "db.namespace",
                "db.name",
                "db.system",
                "db.system.name",
            ]),
            enable_virtual_node_label: false,
            enable_messaging_system_latency_histogram: false,
            histogram_buckets: doubling(0.1, 8),
        }
    }
}

/// Bounds on the series of a tenant; 0 is no bound. What goes beyond them is counted in a series of
/// the same metric whose only label is `metric_overflow="true"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Most series, every bucket of a classic histogram being one.
    pub max_active_series: usize,
    /// Most sets of labels.
    pub max_active_entities: usize,
    /// Most values of one label; what comes after is `__cardinality_overflow__`.
    pub max_cardinality_per_label: usize,
}

/// In which form histograms are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histograms {
    /// A series for every bucket.
    Classic,
    /// One series, whose buckets grow by 9 % each.
    Native,
    /// Either.
    Both,
}

impl Histograms {
    pub(super) fn has_classic(self) -> bool {
        matches!(self, Self::Classic | Self::Both)
    }

    pub(super) fn has_native(self) -> bool {
        matches!(self, Self::Native | Self::Both)
    }
}

/// One receiver of remote write.
#[derive(Clone, Debug)]
pub struct RemoteWriteOptions {
    /// Where to post, `http://prometheus:9090/api/v1/write`. A user and a password in it are sent as
    /// basic authentication.
    pub url: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Time-out of one request.
    pub timeout: Duration,
    /// Most samples of one request.
    pub max_samples_per_send: usize,
    /// Most bytes that wait to be sent; the oldest give way, since newer ones say more.
    pub queue_bytes: usize,
    /// Whether exemplars are sent.
    pub send_exemplars: bool,
    /// First pause after a failure, doubled with each further one.
    pub min_backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
}

impl RemoteWriteOptions {
    /// Prometheus' defaults for a receiver.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            timeout: Duration::from_secs(30),
            max_samples_per_send: 2000,
            queue_bytes: 64 << 20,
            send_exemplars: true,
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
        }
    }
}

/// Settings that nothing can be made with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A regular expression of a filter policy cannot be read.
    #[error("the filter policy on {attribute} has no regular expression: {error}")]
    Regex {
        /// What it looks at.
        attribute: String,
        /// Why not.
        error: Box<regex::Error>,
    },
    /// A filter policy looks at something that spans do not have.
    #[error(
        "a filter policy looks at {0:?}, which is none of kind, name, status, resource.<key> and \
         span.<key>"
    )]
    PolicyKey(String),
    /// Buckets are not ascending, or no numbers.
    #[error("the buckets of {0} are not ascending finite numbers")]
    Buckets(&'static str),
    /// A label's name that Prometheus would refuse.
    #[error("{0:?} is no name of a label; letters, digits and _ are")]
    LabelName(String),
    /// An interval of no length.
    #[error("{0} must be longer than nothing")]
    Zero(&'static str),
    /// A URL that cannot be posted to.
    #[error("{url:?} cannot be written to: {found}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong.
        found: String,
    },
    /// A header that cannot be sent.
    #[error("{0:?} is no header of a request")]
    Header(String),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
}

impl From<TargetError> for OptionsError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Url(url, found) => Self::Url { url, found },
            TargetError::Header(name) => Self::Header(name),
            TargetError::Client(error) => Self::Client(error),
        }
    }
}

/// `first`, and each twice the one before.
fn doubling(first: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(first), |bound| Some(bound * 2.0)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_switches_something_on() {
        for name in Processors::NAMES {
            let mut processors = Processors::default();
            processors.enable(name).unwrap();
            assert_ne!(processors, Processors::default(), "{name}");
        }
        let error = Processors::default().enable("span_metrics").unwrap_err();
        assert!(error.to_string().starts_with("\"span_metrics\" is no processor; there are span-"));
    }

    #[test]
    fn buckets_are_those_of_the_specification() {
        let spans = SpanMetricsOptions::default().histogram_buckets;
        assert_eq!((spans.len(), spans[0], spans[13]), (14, 0.002, 16.384));
        let graph = ServiceGraphOptions::default().histogram_buckets;
        assert_eq!((graph.len(), graph[0], graph[7]), (8, 0.1, 12.8));
    }
}
