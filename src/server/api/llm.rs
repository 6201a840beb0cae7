//! The shape that language models are given (`application/vnd.grafana.llm`): hex ids, flat
//! attributes with native JSON values, `service.name` lifted out of its resource.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Number, Value as Json};
use traceql_blocks::model::{AttributeValue, KeyValue, Span, Trace};
use traceql_engine::QueryStats;
use traceql_engine::tags::TypedTagValue;

use super::json::to_text;

const SERVICE_NAME: &str = "service.name";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    inspected_bytes: Option<u64>,
}

impl From<&QueryStats> for Metrics {
    fn from(stats: &QueryStats) -> Self {
        Self { inspected_bytes: Some(stats.bytes_read).filter(|bytes| *bytes > 0) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceShape<'a> {
    trace_id: String,
    services: Vec<Service<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    service_name: &'a str,
    resource: BTreeMap<&'a str, Json>,
    scopes: Vec<Scope<'a>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'a str,
    version: &'a str,
    spans: Vec<SpanShape<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanShape<'a> {
    span_id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_span_id: String,
    kind: &'static str,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    duration_ms: Number,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventShape<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<LinkShape<'a>>,
    status: StatusShape<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventShape<'a> {
    name: &'a str,
    time_unix_nano: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, Json>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkShape<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, Json>,
}

#[derive(Serialize)]
struct StatusShape<'a> {
    code: &'static str,
    message: &'a str,
}

/// The body of `/api/v2/traces/{id}`.
#[must_use]
pub fn trace_response(trace: Option<&Trace>, stats: &QueryStats, partial: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        trace: Option<TraceShape<'a>>,
        metrics: Metrics,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct NoTrace<'a> {
        trace: BTreeMap<(), ()>,
        metrics: Metrics,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    let status = if partial.is_some() { "PARTIAL" } else { "COMPLETE" };
    match trace.filter(|trace| trace.span_count() > 0) {
        Some(trace) => to_text(&Body {
            trace: Some(trace_shape(trace)),
            metrics: stats.into(),
            status,
            message: partial,
        }),
        None => to_text(&NoTrace {
            trace: BTreeMap::new(),
            metrics: stats.into(),
            status,
            message: partial,
        }),
    }
}

/// The body of `/api/v2/search/tag/{identifier}/values`: values by type.
#[must_use]
pub fn tag_values_response(values: &[TypedTagValue], stats: &QueryStats) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        tag_values: BTreeMap<&'a str, Vec<&'a str>>,
        metrics: Metrics,
    }
    let mut tag_values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for value in values {
        tag_values.entry(value.value_type).or_default().push(&value.value);
    }
    to_text(&Body { tag_values, metrics: stats.into() })
}

/// Milliseconds, with what of one is left as a fraction.
fn millis(nanos: u64) -> Number {
    const MILLI: u64 = 1_000_000;
    match nanos % MILLI {
        0 => (nanos / MILLI).into(),
        #[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are a hundred days")]
        _ => Number::from_f64(nanos as f64 / MILLI as f64).unwrap_or_else(|| 0.into()),
    }
}

fn trace_shape(trace: &Trace) -> TraceShape<'_> {
    let services = trace.resource_spans.iter().map(|resource_spans| {
        let resource = &resource_spans.resource;
        let mut attributes = flat(&resource.attributes);
        attributes.remove(SERVICE_NAME);
        Service {
            service_name: resource.service_name(),
            resource: attributes,
            scopes: resource_spans
                .scope_spans
                .iter()
                .map(|scope_spans| Scope {
                    name: &scope_spans.scope.name,
                    version: &scope_spans.scope.version,
                    spans: scope_spans.spans.iter().map(span_shape).collect(),
                })
                .collect(),
        }
    });
    TraceShape { trace_id: trace.id.to_string(), services: services.collect() }
}

fn span_shape(span: &Span) -> SpanShape<'_> {
    SpanShape {
        span_id: hex(&span.span_id),
        name: &span.name,
        parent_span_id: hex(&span.parent_span_id),
        kind: named(
            span.kind,
            &[
                "SPAN_KIND_UNSPECIFIED",
                "SPAN_KIND_INTERNAL",
                "SPAN_KIND_SERVER",
                "SPAN_KIND_CLIENT",
                "SPAN_KIND_PRODUCER",
                "SPAN_KIND_CONSUMER",
            ],
        ),
        start_time_unix_nano: span.start_unix_nanos.to_string(),
        end_time_unix_nano: span.end_unix_nanos.to_string(),
        duration_ms: millis(span.end_unix_nanos.saturating_sub(span.start_unix_nanos)),
        attributes: flat(&span.attributes),
        events: span
            .events
            .iter()
            .map(|event| EventShape {
                name: &event.name,
                time_unix_nano: event.time_unix_nanos.to_string(),
                attributes: flat(&event.attributes),
            })
            .collect(),
        links: span
            .links
            .iter()
            .map(|link| LinkShape {
                trace_id: hex(&link.trace_id),
                span_id: hex(&link.span_id),
                attributes: flat(&link.attributes),
            })
            .collect(),
        status: StatusShape {
            code: named(
                span.status_code,
                &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"],
            ),
            message: &span.status_message,
        },
    }
}

/// The name at a number's place; unknown numbers read as the first, which means "none".
fn named(number: i32, names: &[&'static str]) -> &'static str {
    let place = usize::try_from(number).unwrap_or_default();
    names.get(place).or_else(|| names.first()).copied().unwrap_or_default()
}

fn flat(attributes: &[KeyValue]) -> BTreeMap<&str, Json> {
    attributes.iter().map(|attribute| (attribute.key.as_str(), native(&attribute.value))).collect()
}

fn native(value: &AttributeValue) -> Json {
    match value {
        AttributeValue::Unset => Json::Null,
        AttributeValue::String(text) => text.as_str().into(),
        AttributeValue::Int(value) => (*value).into(),
        AttributeValue::Double(value) if value.is_finite() => (*value).into(),
        AttributeValue::Double(value) => value.to_string().into(),
        AttributeValue::Bool(value) => (*value).into(),
        AttributeValue::Bytes(bytes) => STANDARD.encode(bytes).into(),
        AttributeValue::Array(values) => values.iter().map(native).collect(),
        AttributeValue::KeyValues(pairs) => {
            pairs.iter().map(|pair| (pair.key.clone(), native(&pair.value))).collect()
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use traceql_blocks::write::otlp;

    use super::*;

    #[test]
    fn a_trace_is_flat() {
        let json = r#"{"batches":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"basket"}},{"key":"host.id","value":{"stringValue":"h"}}]},"scopeSpans":[{"scope":{"name":"demo-lib","version":"0.3.1"},"spans":[{"traceId":"tbenZ8dvsAj4a+uyc39qbw==","spanId":"D7I8b12izsI=","parentSpanId":"VUBOT7RAA00=","name":"GET /basket","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1795338536105665792","endTimeUnixNano":"1795338536225665792","attributes":[{"key":"n","value":{"intValue":"200"}},{"key":"tags","value":{"arrayValue":{"values":[{"stringValue":"x"},{"doubleValue":0.5}]}}}],"events":[{"name":"retry","timeUnixNano":"5","attributes":[{"key":"attempt","value":{"intValue":"2"}}]}],"status":{}}]}]}]}"#;
        let traces = otlp::decode_json(json.as_bytes(), "test").unwrap();
        assert_eq!(
            trace_response(traces.first(), &QueryStats::default(), None),
            r#"{"trace":{"traceId":"b5b7a767c76fb008f86bebb2737f6a6f","services":[{"serviceName":"basket","resource":{"host.id":"h"},"scopes":[{"name":"demo-lib","version":"0.3.1","spans":[{"spanId":"0fb23c6f5da2cec2","name":"GET /basket","parentSpanId":"55404e4fb440034d","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1795338536105665792","endTimeUnixNano":"1795338536225665792","durationMs":120,"attributes":{"n":200,"tags":["x",0.5]},"events":[{"name":"retry","timeUnixNano":"5","attributes":{"attempt":2}}],"status":{"code":"STATUS_CODE_UNSET","message":""}}]}]}]},"metrics":{},"status":"COMPLETE"}"#
        );
    }

    #[test]
    fn no_trace_and_no_values_are_empty_objects() {
        assert_eq!(
            trace_response(None, &QueryStats::default(), Some("why")),
            r#"{"trace":{},"metrics":{},"status":"PARTIAL","message":"why"}"#
        );
        assert_eq!(
            tag_values_response(&[], &QueryStats::default()),
            r#"{"tagValues":{},"metrics":{}}"#
        );
    }
}
