//! Host info (`api.md` 6.3): which hosts sent spans.

use traceql_blocks::model::KeyValue;

use crate::generator::labels::{LabelBuffer, find, label_value};
use crate::generator::registry::{GroupId, Kind, Metric, Registry};

/// The processor of one tenant.
#[derive(Debug)]
pub(in crate::generator) struct HostInfo {
    group: GroupId,
    identifiers: Vec<String>,
    labels: LabelBuffer,
}

impl HostInfo {
    /// The processor, with its metric in the registry. The first of the attributes that a resource
    /// has is its host.
    pub(in crate::generator) fn new(identifiers: Vec<String>, registry: &mut Registry) -> Self {
        let metric = Metric {
            name: "traces_host_info",
            help: "Hosts that spans came from.",
            kind: Kind::Gauge,
        };
        let group = registry.add_group(vec![metric]);
        Self { group, identifiers, labels: LabelBuffer::default() }
    }

    /// Notes the host of a resource.
    pub(in crate::generator) fn observe(
        &mut self,
        resource: &[KeyValue],
        registry: &mut Registry,
        now_unix_nanos: u64,
    ) {
        let host = self.identifiers.iter().find_map(|key| {
            let value = label_value(find(resource, key)?);
            (!value.is_empty()).then_some((key, value))
        });
        let Some((source, id)) = host else { return };
        self.labels.truncate(0);
        self.labels.push("grafana_host_id", &id);
        self.labels.push("host_source", source);
        registry.update(self.group, &self.labels, now_unix_nanos).set(0, 1.0);
    }
}
