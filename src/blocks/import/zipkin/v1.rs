//! The JSON of Zipkin's API, version 1: kinds, endpoints and times are told by annotations with known
//! values, and one span may hold both sides of a call. Brought to the terms of version 2.

use serde_json::Value as Json;

use super::json::{self, Endpoint};

/// A span. Times are microseconds.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    name: Option<String>,
    timestamp: Option<u64>,
    duration: Option<u64>,
    annotations: Option<Vec<Annotation>>,
    binary_annotations: Option<Vec<BinaryAnnotation>>,
}

#[derive(Debug, serde::Deserialize)]
struct Annotation {
    timestamp: u64,
    value: String,
    endpoint: Option<Endpoint>,
}

#[derive(Debug, serde::Deserialize)]
struct BinaryAnnotation {
    key: String,
    #[serde(default)]
    value: Json,
    endpoint: Option<Endpoint>,
}

/// A side of a call: its kind, the annotations at which it begins and ends, and the binary annotation
/// whose endpoint is the other side.
struct Side {
    kind: &'static str,
    begin: &'static str,
    end: &'static str,
    other: &'static str,
}

const SIDES: [Side; 4] = [
    Side { kind: "CLIENT", begin: "cs", end: "cr", other: "sa" },
    Side { kind: "SERVER", begin: "sr", end: "ss", other: "ca" },
    Side { kind: "PRODUCER", begin: "ms", end: "ws", other: "ma" },
    Side { kind: "CONSUMER", begin: "mr", end: "wr", other: "ma" },
];

impl Span {
    /// The same as spans of version 2: one, or one for each side that it holds.
    pub(super) fn sides(self) -> Vec<json::Span> {
        let annotations = self.annotations.unwrap_or_default();
        let binary = self.binary_annotations.unwrap_or_default();
        let find = |value: &str| annotations.iter().find(|a| a.value == value);
        let is_address = |key: &str| ["ca", "sa", "ma"].contains(&key);
        let endpoint_of_any = || {
            let of_tags = binary.iter().filter(|tag| !is_address(&tag.key)).map(|t| &t.endpoint);
            annotations.iter().map(|a| &a.endpoint).chain(of_tags).flatten().next().cloned()
        };
        let base = || json::Span {
            trace_id: self.trace_id.clone(),
            id: self.id.clone(),
            parent_id: self.parent_id.clone(),
            name: self.name.clone(),
            timestamp: self.timestamp,
            duration: self.duration,
            ..json::Span::default()
        };
        let mut spans: Vec<json::Span> = Vec::new();
        for side in &SIDES {
            let (begin, end) = (find(side.begin), find(side.end));
            let Some(endpoint) = begin.or(end).map(|known| known.endpoint.clone()) else {
                continue;
            };
            let other = binary.iter().find(|tag| tag.key == side.other);
            let took = begin.zip(end).map(|(b, e)| e.timestamp.saturating_sub(b.timestamp));
            let mut span = json::Span {
                kind: Some(side.kind.to_owned()),
                local_endpoint: endpoint,
                remote_endpoint: other.and_then(|tag| tag.endpoint.clone()),
                ..base()
            };
            // The times of a span that both sides share are the client's.
            if spans.is_empty() {
                span.timestamp = span.timestamp.or(begin.map(|begin| begin.timestamp));
                span.duration = span.duration.or(took);
            } else {
                span.timestamp = begin.map(|begin| begin.timestamp).or(span.timestamp);
                span.duration = took.or(span.duration);
            }
            spans.push(span);
        }
        if spans.is_empty() {
            spans.push(json::Span { local_endpoint: endpoint_of_any(), ..base() });
        }
        // What is left belongs to the side that said it, or to the first.
        let whose = |spans: &[json::Span], endpoint: &Option<Endpoint>| {
            let service = |e: &Option<Endpoint>| e.as_ref().and_then(|e| e.service_name.clone());
            let said_by = service(endpoint);
            let of = |span: &json::Span| service(&span.local_endpoint) == said_by;
            spans.iter().position(of).unwrap_or(0)
        };
        for annotation in annotations {
            let is_known = |side: &Side| [side.begin, side.end].contains(&&*annotation.value);
            if !SIDES.iter().any(is_known) {
                let span = whose(&spans, &annotation.endpoint);
                let Annotation { timestamp, value, .. } = annotation;
                let list = spans[span].annotations.get_or_insert_default();
                list.push(json::Annotation { timestamp, value });
            }
        }
        for tag in binary {
            let value = match tag.value {
                Json::String(text) => text,
                // An address is what its endpoint says.
                Json::Bool(true) if is_address(&tag.key) => continue,
                Json::Null => String::new(),
                other => other.to_string(),
            };
            let span = whose(&spans, &tag.endpoint);
            spans[span].tags.get_or_insert_default().insert(tag.key, value);
        }
        spans
    }
}
