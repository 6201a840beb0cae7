//! The service graph (`api.md` 6.2): a request from one service to another is a span of each, the
//! server's being the child of the client's. The two may come in different requests and in either
//! order; who comes first waits for the other, for a while.

use std::borrow::Cow;
use std::collections::BTreeSet;

use traceql_blocks::model::TraceId;

use super::edges::{EdgeKey, Edges, SpanKey};
use super::{Observed, STATUS_ERROR, duration_seconds, kind, nanos_to_seconds};
use crate::generator::labels::{LabelBuffer, find, find_text, label_name, label_value};
use crate::generator::options::{Processors, ServiceGraphOptions};
use crate::generator::registry::{GroupId, Kind, Metric, Registry};

/// Who calls a server whose client does not send spans and goes unnamed.
const UNKNOWN_CLIENT: &str = "user";

/// What happened to edges, since the processor was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::generator) struct GraphStats {
    /// Edges counted, those with a guessed side included.
    pub(in crate::generator) completed: u64,
    /// Edges whose other side did not come in time, those with a guessed side included.
    pub(in crate::generator) expired: u64,
    /// Spans for whose edge there was no room.
    pub(in crate::generator) dropped: u64,
    /// Edges that wait now.
    pub(in crate::generator) waiting: usize,
}

/// How two services talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Plain,
    Messaging,
    Database,
    Virtual(VirtualNode),
}

/// Which side of an edge is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VirtualNode {
    Client,
    Server,
}

/// An edge that waits.
#[derive(Debug)]
struct Edge {
    trace: TraceId,
    side: Side,
}

/// What one span says of an edge.
#[derive(Debug)]
struct Side {
    is_client: bool,
    is_messaging: bool,
    service: String,
    seconds: f64,
    is_failed: bool,
    start_unix_nanos: u64,
    end_unix_nanos: u64,
    /// Who the other side is, as far as attributes tell; empty if they do not.
    peer: String,
    /// By number of the dimension; empty where the span has none.
    dimensions: Box<[String]>,
}

/// Numbers of the metrics in their group.
#[derive(Debug, Default)]
struct MetricIds {
    requests: Option<usize>,
    failed: Option<usize>,
    server_seconds: Option<usize>,
    client_seconds: Option<usize>,
    messaging_seconds: Option<usize>,
    connection_info: Option<usize>,
}

/// An edge with both its sides.
#[derive(Debug)]
struct Complete<'a> {
    trace: TraceId,
    connection: Connection,
    client: &'a str,
    server: &'a str,
    client_seconds: f64,
    server_seconds: f64,
    messaging_seconds: Option<f64>,
    is_failed: bool,
    /// Dimensions of the client's and of the server's span.
    dimensions: [&'a [String]; 2],
}

/// The processor of one tenant.
#[derive(Debug)]
pub(in crate::generator) struct ServiceGraph {
    options: ServiceGraphOptions,
    /// Labels of the dimensions, for the client's and for the server's side.
    dimension_labels: [Vec<String>; 2],
    edges: Edges<Edge>,
    group: GroupId,
    metrics: MetricIds,
    labels: LabelBuffer,
    stats: GraphStats,
}

impl ServiceGraph {
    /// The processor, with its metrics in the registry.
    pub(in crate::generator) fn new(
        mut options: ServiceGraphOptions,
        processors: Processors,
        registry: &mut Registry,
    ) -> Self {
        // Prometheus refuses a label that is there twice; the first is as good as the second.
        let mut taken = BTreeSet::new();
        options.dimensions.retain(|key| taken.insert(label_name(key)));
        let buckets = || Kind::Histogram(options.histogram_buckets.as_slice().into());
        let mut metrics = Vec::new();
        let mut add = |wanted: bool, name, help, kind| {
            wanted.then(|| {
                metrics.push(Metric { name, help, kind });
                metrics.len() - 1
            })
        };
        let (requests, latency) = (processors.graph_requests, processors.graph_latency);
        let ids = MetricIds {
            requests: add(
                requests,
                "traces_service_graph_request_total",
                "Requests from one service to another.",
                Kind::Counter,
            ),
            failed: add(
                requests,
                "traces_service_graph_request_failed_total",
                "Requests of which either side failed.",
                Kind::Counter,
            ),
            server_seconds: add(
                latency,
                "traces_service_graph_request_server_seconds",
                "Durations of requests as the server saw them.",
                buckets(),
            ),
            client_seconds: add(
                latency,
                "traces_service_graph_request_client_seconds",
                "Durations of requests as the client saw them.",
                buckets(),
            ),
            messaging_seconds: add(
                latency && options.enable_messaging_system_latency_histogram,
                "traces_service_graph_request_messaging_system_seconds",
                "Times between the sending of messages and their processing.",
                buckets(),
            ),
            connection_info: add(
                processors.graph_connections,
                "traces_service_graph_connection_info",
                "Services of which one asks the other.",
                Kind::Gauge,
            ),
        };
        let group = registry.add_group(metrics);
        let labels = |side: &str| -> Vec<String> {
            let prefix = if options.enable_client_server_prefix { side } else { "" };
            let name = |key: &String| {
                let name = label_name(&format!("{prefix}{key}"));
                let is_own = ["client", "server", "connection_type", "virtual_node", "le"]
                    .contains(&name.as_str());
                if is_own { format!("__{name}") } else { name }
            };
            options.dimensions.iter().map(name).collect()
        };
        Self {
            dimension_labels: [labels("client_"), labels("server_")],
            edges: Edges::new(options.max_items),
            group,
            metrics: ids,
            labels: LabelBuffer::default(),
            stats: GraphStats::default(),
            options,
        }
    }

    pub(in crate::generator) fn stats(&self) -> GraphStats {
        GraphStats { waiting: self.edges.len(), ..self.stats }
    }

    /// Takes a span into account: completes an edge, or lets one wait.
    pub(in crate::generator) fn observe(
        &mut self,
        observed: Observed<'_>,
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) {
        let span = observed.span;
        let (is_client, is_messaging) = match span.kind {
            kind::CLIENT => (true, false),
            kind::PRODUCER => (true, true),
            kind::SERVER => (false, false),
            kind::CONSUMER => (false, true),
            _ => return,
        };
        let service = find(observed.resource, "service.name").map(label_value).unwrap_or_default();
        if service.is_empty() {
            return;
        }
        let key = if is_client { &span.span_id } else { &span.parent_span_id };
        let Some(span_id) = SpanKey::new(key) else { return };
        let side = self.side(observed, is_client, is_messaging, service);
        if is_client
            && !is_messaging
            && self.complete_database(observed, &side, registry, now_unix_nanos)
        {
            return;
        }
        // A request that began with the server has no client that could still come.
        if !is_client && key.is_empty() {
            self.stats.expired += 1;
            self.complete_virtual(observed.trace, &side, registry, now_unix_nanos);
            return;
        }
        let key = EdgeKey { trace: observed.trace, span_id };
        match self.edges.get_mut(&key) {
            // The same side again: sent twice, or a message with several consumers.
            Some(waiting) if waiting.side.is_client == is_client => waiting.side = side,
            Some(_) => {
                if let Some(waiting) = self.edges.take(&key) {
                    let (client, server) =
                        if is_client { (&side, &waiting.side) } else { (&waiting.side, &side) };
                    self.complete_pair(observed.trace, client, server, registry, now_unix_nanos);
                }
            }
            None => {
                let wait = u64::try_from(self.options.wait.as_nanos()).unwrap_or(u64::MAX);
                let expires = now_unix_nanos.saturating_add(wait);
                let edge = Edge { trace: observed.trace, side };
                if self.edges.insert(key, edge, expires).is_err() {
                    self.stats.dropped += 1;
                }
            }
        }
    }

    /// Ends the waiting of edges whose time is over.
    pub(in crate::generator) fn expire(&mut self, registry: &mut Registry, now_unix_nanos: u64) {
        while let Some(edge) = self.edges.pop_expired(now_unix_nanos) {
            self.stats.expired += 1;
            // A server's span with a parent has a client, which just was not sent.
            if edge.side.is_client && !edge.side.peer.is_empty() {
                self.complete_virtual(edge.trace, &edge.side, registry, now_unix_nanos);
            }
        }
    }

    fn side(
        &self,
        observed: Observed<'_>,
        is_client: bool,
        is_messaging: bool,
        service: Cow<'_, str>,
    ) -> Side {
        let span = observed.span;
        let text = |key: &String| find_text(observed.resource, &span.attributes, key).into_owned();
        Side {
            is_client,
            is_messaging,
            service: service.into_owned(),
            seconds: duration_seconds(span),
            is_failed: span.status_code == STATUS_ERROR,
            start_unix_nanos: span.start_unix_nanos,
            end_unix_nanos: span.end_unix_nanos,
            peer: self
                .options
                .peer_attributes
                .iter()
                .map(text)
                .find(|peer| !peer.is_empty())
                .unwrap_or_default(),
            dimensions: self.options.dimensions.iter().map(text).collect(),
        }
    }

    /// Counts a request to a database, which sends no spans; whether it was one.
    fn complete_database(
        &mut self,
        observed: Observed<'_>,
        client: &Side,
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) -> bool {
        let text = |key: &str| find_text(observed.resource, &observed.span.attributes, key);
        let names = self.options.database_name_attributes.iter();
        let Some(database) = names.map(|key| text(key)).find(|name| !name.is_empty()) else {
            return false;
        };
        let address = || {
            let address = text("network.peer.address");
            let port = text("network.peer.port");
            match (address.is_empty(), port.is_empty()) {
                (false, false) => Cow::Owned(format!("{address}:{port}")),
                _ => address,
            }
        };
        let named = [text("peer.service"), text("server.address"), address()];
        let server = named.into_iter().find(|name| !name.is_empty()).unwrap_or(database);
        self.complete(
            &Complete {
                trace: observed.trace,
                connection: Connection::Database,
                client: &client.service,
                server: &server,
                client_seconds: client.seconds,
                server_seconds: client.seconds,
                messaging_seconds: None,
                is_failed: client.is_failed,
                dimensions: [&client.dimensions, &[]],
            },
            registry,
            now_unix_nanos,
        );
        true
    }

    fn complete_pair(
        &mut self,
        trace: TraceId,
        client: &Side,
        server: &Side,
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) {
        let is_messaging = client.is_messaging || server.is_messaging;
        let waited = server.start_unix_nanos.saturating_sub(client.end_unix_nanos);
        self.complete(
            &Complete {
                trace,
                connection: if is_messaging { Connection::Messaging } else { Connection::Plain },
                client: &client.service,
                server: &server.service,
                client_seconds: client.seconds,
                server_seconds: server.seconds,
                messaging_seconds: is_messaging.then(|| nanos_to_seconds(waited)),
                is_failed: client.is_failed || server.is_failed,
                dimensions: [&client.dimensions, &server.dimensions],
            },
            registry,
            now_unix_nanos,
        );
    }

    /// Counts an edge of which one side sends no spans.
    fn complete_virtual(
        &mut self,
        trace: TraceId,
        side: &Side,
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) {
        let peer = if side.peer.is_empty() { UNKNOWN_CLIENT } else { &side.peer };
        let (node, client, server) = if side.is_client {
            (VirtualNode::Server, side.service.as_str(), peer)
        } else {
            (VirtualNode::Client, peer, side.service.as_str())
        };
        let (client_seconds, server_seconds) =
            if side.is_client { (side.seconds, 0.0) } else { (0.0, side.seconds) };
        let mut dimensions: [&[String]; 2] = [&[], &[]];
        dimensions[usize::from(!side.is_client)] = &side.dimensions;
        self.complete(
            &Complete {
                trace,
                connection: Connection::Virtual(node),
                client,
                server,
                client_seconds,
                server_seconds,
                messaging_seconds: None,
                is_failed: side.is_failed,
                dimensions,
            },
            registry,
            now_unix_nanos,
        );
    }

    fn complete(&mut self, edge: &Complete<'_>, registry: &mut Registry, now_unix_nanos: u64) {
        self.stats.completed += 1;
        self.push_labels(edge);
        let mut update = registry.update(self.group, &self.labels, now_unix_nanos);
        if let Some(requests) = self.metrics.requests {
            update.add(requests, 1.0);
        }
        if let (Some(failed), true) = (self.metrics.failed, edge.is_failed) {
            update.add(failed, 1.0);
        }
        if let Some(metric) = self.metrics.server_seconds {
            update.observe(metric, edge.server_seconds, 1.0, edge.trace);
        }
        if let Some(metric) = self.metrics.client_seconds {
            update.observe(metric, edge.client_seconds, 1.0, edge.trace);
        }
        if let (Some(metric), Some(seconds)) =
            (self.metrics.messaging_seconds, edge.messaging_seconds)
        {
            update.observe(metric, seconds, 1.0, edge.trace);
        }
        if let Some(metric) = self.metrics.connection_info {
            update.set(metric, 1.0);
        }
    }

    fn push_labels(&mut self, edge: &Complete<'_>) {
        let labels = &mut self.labels;
        labels.truncate(0);
        labels.push("client", edge.client);
        labels.push("server", edge.server);
        let connection = match edge.connection {
            Connection::Plain => "",
            Connection::Messaging => "messaging_system",
            Connection::Database => "database",
            Connection::Virtual(_) => "virtual_node",
        };
        labels.push("connection_type", connection);
        if self.options.enable_virtual_node_label {
            let guessed = match edge.connection {
                Connection::Virtual(VirtualNode::Client) => "client",
                Connection::Virtual(VirtualNode::Server) => "server",
                // A database is named by its span, not guessed.
                Connection::Plain | Connection::Messaging | Connection::Database => "",
            };
            labels.push("virtual_node", guessed);
        }
        let [of_client, of_server] = edge.dimensions;
        let [client_labels, server_labels] = &self.dimension_labels;
        for (idx, (client_label, server_label)) in
            client_labels.iter().zip(server_labels).enumerate()
        {
            let (client, server) = (text_at(of_client, idx), text_at(of_server, idx));
            if self.options.enable_client_server_prefix {
                labels.push(client_label, client);
                labels.push(server_label, server);
            } else {
                // One label for both sides: it is the client's, if that has a value.
                labels.push(client_label, if client.is_empty() { server } else { client });
            }
        }
    }
}

fn text_at(texts: &[String], idx: usize) -> &str {
    texts.get(idx).map_or("", String::as_str)
}
