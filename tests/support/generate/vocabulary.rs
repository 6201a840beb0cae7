//! The keys and values that traces hold and queries ask for.

use traceql_blocks::model::{AttributeValue, KeyValue, Trace};

/// Keys of custom attributes: plain ones, ones with a well-known or dedicated column in some format
/// version, ones named like an intrinsic, and one that must be quoted.
pub(super) const KEYS: &[&str] = &[
    "n",
    "s",
    "flag",
    "mixed",
    "list",
    "http.status_code",
    "http.method",
    "http.url",
    "http.request.method",
    "http.response.status_code",
    "k8s.namespace.name",
    "k8s.pod.name",
    "cluster",
    "service.name",
    "name",
    "duration",
    "a b",
];

/// Strings that occur as attribute values, names, and literals.
pub(super) const STRINGS: &[&str] =
    &["", "x", "y", "GET", "POST", "xx", "500", "nil", "line\nbreak", "日本", "shop"];

/// Ints that occur as attribute values and literals.
pub(super) const INTS: &[i64] = &[-7, -1, 0, 1, 2, 3, 5, 200, 404, 500, i64::MAX];

/// Doubles that occur as attribute values and literals; some equal an int of the list.
pub(super) const DOUBLES: &[f64] = &[-7.5, -1.0, 0.0, 0.5, 1.0, 2.5, 3.0, 500.0, 1e18];

/// Trace states of sampled spans that stand for a whole number of spans: two, four, one and two.
pub(super) const WHOLE_WEIGHTS: &[&str] =
    &["ot=th:8", "k=v,ot=th:c", "ot=th:xyz", "ot=rv:00000000000000;th:4"];

/// And of some that do not: four thirds, eight sevenths.
pub(super) const UNEVEN_WEIGHTS: &[&str] = &["ot=th:4", "ot=th:2"];

/// What queries over some traces are made from.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    /// Keys of custom attributes.
    pub(super) keys: Vec<String>,
    /// Strings, for attributes, names and messages alike.
    pub(super) strings: Vec<String>,
    /// Ints.
    pub(super) ints: Vec<i64>,
    /// Doubles that a literal can spell.
    pub(super) doubles: Vec<f64>,
    /// Ids of spans and traces, padded, stripped and in capitals, and the empty text.
    pub(super) ids: Vec<String>,
    /// Scopes and keys of attributes, and whether the value is a number.
    pub(super) present: Vec<(&'static str, String, bool)>,
    /// Starts of spans, unix nanoseconds; never empty.
    pub(super) starts: Vec<u64>,
    /// Whether some span stands for a number of spans that is not whole.
    pub(super) has_uneven_weights: bool,
}

impl Vocabulary {
    /// What occurs in some traces. Everything is kept as often as it occurs, so that common words
    /// are asked for more often.
    pub(crate) fn of(traces: &[Trace]) -> Self {
        let mut words = Self {
            keys: vec!["nosuch".to_owned()],
            strings: vec![String::new(), "nil".to_owned()],
            ints: vec![0, 1],
            doubles: vec![0.5, 1.0],
            ids: vec![String::new(), "0".repeat(16)],
            present: Vec::new(),
            starts: Vec::new(),
            has_uneven_weights: false,
        };
        for trace in traces {
            words.ids.push(trace.id.to_string());
            words.ids.push(trace.id.to_string().trim_start_matches('0').to_owned());
            for resource_spans in &trace.resource_spans {
                words.attributes("resource.", &resource_spans.resource.attributes);
                for scope_spans in &resource_spans.scope_spans {
                    words.strings.push(scope_spans.scope.name.clone());
                    words.attributes("instrumentation.", &scope_spans.scope.attributes);
                    for span in &scope_spans.spans {
                        let id: String =
                            span.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
                        words.ids.extend([id.to_uppercase(), id]);
                        words.starts.push(span.start_unix_nanos);
                        words.has_uneven_weights |= !(span.trace_state.is_empty()
                            || WHOLE_WEIGHTS.contains(&span.trace_state.as_str()));
                        words.strings.push(span.name.clone());
                        words.attributes("span.", &span.attributes);
                        for event in &span.events {
                            words.strings.push(event.name.clone());
                            words.attributes("event.", &event.attributes);
                        }
                        for link in &span.links {
                            words.attributes("link.", &link.attributes);
                        }
                    }
                }
            }
        }
        words
    }

    /// Keys and values of one list.
    fn attributes(&mut self, scope: &'static str, attributes: &[KeyValue]) {
        for attribute in attributes {
            let is_number =
                matches!(attribute.value, AttributeValue::Int(_) | AttributeValue::Double(_));
            self.present.push((scope, attribute.key.clone(), is_number));
            self.keys.push(attribute.key.clone());
            self.value(&attribute.value);
        }
    }

    /// The scalars in a value.
    fn value(&mut self, value: &AttributeValue) {
        match value {
            AttributeValue::String(text) => self.strings.push(text.clone()),
            // The smallest int cannot be spelled with a minus (`traceql.md` 1.4).
            AttributeValue::Int(number) if *number != i64::MIN => self.ints.push(*number),
            AttributeValue::Double(number) if number.is_finite() => self.doubles.push(*number),
            AttributeValue::Array(elements) => {
                for element in elements {
                    self.value(element);
                }
            }
            _ => {}
        }
    }
}
