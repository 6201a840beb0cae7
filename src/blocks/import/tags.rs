//! What tags say of a span besides being its attributes, by the conventions of the specification's
//! "transformation to non-OTLP formats": status, instrumentation scope, dropped counts, kind.

use crate::model::{AttributeValue, InstrumentationScope, KeyValue, Span};

/// OTLP's numbers of what has names elsewhere.
pub(super) mod number {
    pub(in crate::import) const INTERNAL: i32 = 1;
    pub(in crate::import) const SERVER: i32 = 2;
    pub(in crate::import) const CLIENT: i32 = 3;
    pub(in crate::import) const PRODUCER: i32 = 4;
    pub(in crate::import) const CONSUMER: i32 = 5;
    pub(in crate::import) const UNSET: i32 = 0;
    pub(in crate::import) const OK: i32 = 1;
    pub(in crate::import) const ERROR: i32 = 2;
}

/// Of which system tags are: what `error` and a status of HTTP mean differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// `error` tells of an error by being there, and says which.
    Zipkin,
    /// `error` is true or false; a status of HTTP tells of an error where nothing else does.
    Jaeger,
}

/// OTLP's number of a span kind by its name in any letters, if it is one.
pub(super) fn kind(name: &str) -> Option<i32> {
    Some(match name.to_ascii_lowercase().as_str() {
        "internal" => number::INTERNAL,
        "server" => number::SERVER,
        "client" => number::CLIENT,
        "producer" => number::PRODUCER,
        "consumer" => number::CONSUMER,
        _ => return None,
    })
}

/// Gives a span what its tags say, and those that say nothing else as attributes.
pub(super) fn apply(
    tags: impl IntoIterator<Item = KeyValue>,
    of: Of,
    span: &mut Span,
    scope: &mut InstrumentationScope,
) {
    let mut status_code = None;
    let mut is_error = false;
    for tag in tags {
        if !says(&tag, span, scope, &mut status_code) {
            if tag.key == "error" {
                let (error, message) = error(&tag.value, of);
                is_error |= error;
                if span.status_message.is_empty() {
                    span.status_message.push_str(message);
                }
                // That there is an error is what the status says.
                if error && message.is_empty() && is_true(&tag.value) {
                    continue;
                }
            }
            span.attributes.push(tag);
        }
    }
    span.status_code = match status_code {
        Some(code) => code,
        None if is_error => number::ERROR,
        None if of == Of::Jaeger && has_http_error(span) => number::ERROR,
        None => number::UNSET,
    };
}

/// Whether a tag is by a convention something else than an attribute; then that is done.
fn says(
    tag: &KeyValue,
    span: &mut Span,
    scope: &mut InstrumentationScope,
    status_code: &mut Option<i32>,
) -> bool {
    let count = |value: &AttributeValue| match value {
        AttributeValue::Int(count) => u32::try_from(*count).ok(),
        AttributeValue::String(text) => text.parse().ok(),
        _ => None,
    };
    let dropped = match tag.key.as_str() {
        "otel.dropped_attributes_count" => Some(&mut span.dropped_attributes_count),
        "otel.dropped_events_count" => Some(&mut span.dropped_events_count),
        "otel.dropped_links_count" => Some(&mut span.dropped_links_count),
        _ => None,
    };
    if let Some(dropped) = dropped {
        return count(&tag.value).map(|count| *dropped = count).is_some();
    }
    let AttributeValue::String(text) = &tag.value else { return false };
    match tag.key.as_str() {
        "otel.status_code" => {
            let code = match text.as_str() {
                "OK" => number::OK,
                "ERROR" => number::ERROR,
                "UNSET" => number::UNSET,
                _ => return false,
            };
            *status_code = Some(code);
        }
        "otel.status_description" => span.status_message.clone_from(text),
        // The words that came before "scope" are still sent.
        "otel.scope.name" | "otel.library.name" => scope.name.clone_from(text),
        "otel.scope.version" | "otel.library.version" => scope.version.clone_from(text),
        "w3c.tracestate" => span.trace_state.clone_from(text),
        "span.kind" if span.kind == 0 => match kind(text) {
            Some(kind) => span.kind = kind,
            None => return false,
        },
        _ => return false,
    }
    true
}

/// Whether `error` with this value tells of an error, and what it says of it.
fn error(value: &AttributeValue, of: Of) -> (bool, &str) {
    match (value, of) {
        (AttributeValue::String(text), Of::Zipkin) => match text.as_str() {
            "false" => (false, ""),
            "true" => (true, ""),
            text => (true, text),
        },
        (value, _) => (is_true(value), ""),
    }
}

fn is_true(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::Bool(truth) => *truth,
        AttributeValue::String(text) => text == "true",
        _ => false,
    }
}

/// Whether a status of HTTP is an error to who has it: to clients those from 400, to others those from
/// 500.
fn has_http_error(span: &Span) -> bool {
    let status = span.attributes.iter().find_map(|attribute| match &attribute.value {
        AttributeValue::Int(status)
            if ["http.status_code", "http.response.status_code"]
                .contains(&attribute.key.as_str()) =>
        {
            Some(*status)
        }
        _ => None,
    });
    let least = if span.kind == number::SERVER { 500 } else { 400 };
    status.is_some_and(|status| (least..600).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: impl Into<AttributeValue>) -> KeyValue {
        KeyValue { key: key.to_owned(), value: value.into() }
    }

    impl From<&str> for AttributeValue {
        fn from(text: &str) -> Self {
            Self::String(text.to_owned())
        }
    }

    impl From<i64> for AttributeValue {
        fn from(number: i64) -> Self {
            Self::Int(number)
        }
    }

    impl From<bool> for AttributeValue {
        fn from(truth: bool) -> Self {
            Self::Bool(truth)
        }
    }

    fn applied<const N: usize>(of: Of, tags: [KeyValue; N]) -> (Span, InstrumentationScope) {
        let (mut span, mut scope) = (Span::default(), InstrumentationScope::default());
        apply(tags, of, &mut span, &mut scope);
        (span, scope)
    }

    #[test]
    fn conventions_become_fields_and_the_rest_attributes() {
        let (span, scope) = applied(
            Of::Jaeger,
            [
                tag("span.kind", "Consumer"),
                tag("otel.scope.name", "lib"),
                tag("otel.library.version", "2"),
                tag("w3c.tracestate", "a=b"),
                tag("otel.dropped_attributes_count", 3),
                tag("otel.dropped_events_count", "4"),
                tag("otel.dropped_links_count", "many"),
                tag("otel.status_code", "OK"),
                tag("otel.status_description", "fine"),
                tag("x", 1),
                tag("span.kind", "server"),
            ],
        );
        assert_eq!((span.kind, span.status_code), (number::CONSUMER, number::OK));
        assert_eq!(span.status_message, "fine");
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("lib", "2"));
        assert_eq!(span.trace_state, "a=b");
        assert_eq!((span.dropped_attributes_count, span.dropped_events_count), (3, 4));
        let keys: Vec<&str> = span.attributes.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(keys, ["otel.dropped_links_count", "x", "span.kind"]);
    }

    #[test]
    fn an_error_is_told_of_in_the_words_of_each_system() {
        let status = |of, tags: &[KeyValue]| {
            let (mut span, mut scope) = (Span::default(), InstrumentationScope::default());
            apply(tags.to_vec(), of, &mut span, &mut scope);
            (span.status_code, span.status_message, span.attributes.len())
        };
        let is = |code: i32, message: &str, n: usize| (code, message.to_owned(), n);
        let (ok, error, unset) = (number::OK, number::ERROR, number::UNSET);
        assert_eq!(status(Of::Zipkin, &[tag("error", "boom")]), is(error, "boom", 1));
        assert_eq!(status(Of::Zipkin, &[tag("error", "true")]), is(error, "", 0));
        assert_eq!(status(Of::Zipkin, &[tag("error", "")]), is(error, "", 1));
        assert_eq!(status(Of::Zipkin, &[tag("error", "false")]), is(unset, "", 1));
        assert_eq!(status(Of::Zipkin, &[tag("http.status_code", "500")]), is(unset, "", 1));
        assert_eq!(status(Of::Jaeger, &[tag("error", true)]), is(error, "", 0));
        assert_eq!(status(Of::Jaeger, &[tag("error", "true")]), is(error, "", 0));
        assert_eq!(status(Of::Jaeger, &[tag("error", false)]), is(unset, "", 1));
        assert_eq!(status(Of::Jaeger, &[tag("error", "boom")]), is(unset, "", 1));
        assert_eq!(status(Of::Jaeger, &[tag("http.status_code", 404)]), is(error, "", 1));
        assert_eq!(status(Of::Jaeger, &[tag("http.status_code", 302)]), is(unset, "", 1));
        let server = [tag("http.status_code", 404), tag("span.kind", "server")];
        assert_eq!(status(Of::Jaeger, &server), is(unset, "", 1));
        let explicit = [tag("otel.status_code", "OK"), tag("error", true)];
        assert_eq!(status(Of::Jaeger, &explicit), is(ok, "", 0));
    }
}
