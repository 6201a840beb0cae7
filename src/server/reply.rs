//! Answers on their way out: status, type, body, compression; and every failure as the status and
//! text a client of Tempo expects.

use std::io::Write as _;

use axum::body::Body;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
};
use axum::http::{Response, StatusCode};

use crate::request::BadRequest;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Forms a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
    /// The shape for language models.
    Llm,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Reply {
    pub(crate) fn json(body: String) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: body.into_bytes() }
    }

    pub(crate) fn llm(body: String) -> Self {
        Self { content_type: "application/vnd.grafana.llm+json", ..Self::json(body) }
    }

    pub(crate) fn protobuf(message: &impl prost::Message) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "application/protobuf",
            body: message.encode_to_vec(),
        }
    }

    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into().into_bytes() }
    }

    pub(crate) fn html(body: String) -> Self {
        Self { content_type: "text/html; charset=utf-8", ..Self::text(StatusCode::OK, body) }
    }

    /// Compresses the body if that is `accepted` and pays, and makes the response. This is work: it
    /// belongs where queries run, not where connections are served.
    pub(crate) fn into_response(mut self, accepts_gzip: bool) -> Response<Body> {
        /// Bodies below this fit a packet anyway.
        const MIN_COMPRESSED_BYTES: usize = 1400;
        let compressed = (accepts_gzip && self.body.len() >= MIN_COMPRESSED_BYTES)
            .then(|| gzip(&self.body))
            .flatten();
        let is_compressed = compressed.is_some();
        if let Some(compressed) = compressed {
            self.body = compressed;
        }
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    // The fastest level: answers repeat themselves so much that more effort saves little.
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), level);
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether a request takes gzip: it is named, or `*` is, and not with the weight 0.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip =
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let is_refused = parts
            .filter_map(|part| part.strip_prefix("q="))
            .any(|weight| weight.parse().is_ok_and(|weight: f32| weight == 0.0));
        is_gzip && !is_refused
    })
}

impl Form {
    /// What a request wants. Tempo looks for these words in this order, whatever their weights.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.contains("application/protobuf") {
            Self::Protobuf
        } else if accept.contains("application/json") {
            Self::Json
        } else if accept.contains("application/vnd.grafana.llm") {
            Self::Llm
        } else {
            Self::Json
        }
    }
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// An answer that is not whole and cannot say so.
    pub(crate) fn partial(reason: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("only part of the answer could be found: {reason}"),
        )
    }
}

impl From<BadRequest> for Failure {
    fn from(BadRequest(text): BadRequest) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text }
    }
}

impl From<traceql_engine::Error> for Failure {
    fn from(error: traceql_engine::Error) -> Self {
        use traceql_engine::Error;
        let status = match &error {
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Query(_) | Error::Axis(_) => StatusCode::BAD_REQUEST,
            Error::Timeout(_) => {
                let text = "unable to process request in the configured timeout";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, text);
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, text: error.to_string() }
    }
}

impl From<traceql_blocks::Error> for Failure {
    fn from(error: traceql_blocks::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::text(failure.status, failure.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_form_is_found_by_substring_in_tempos_order() {
        let form = |accept| Form::wanted(&headers(ACCEPT, accept));
        assert_eq!(form("application/json, application/protobuf"), Form::Protobuf);
        assert_eq!(form("application/vnd.grafana.llm+json"), Form::Llm);
        assert_eq!(form("application/vnd.grafana.llm, application/json"), Form::Json);
        assert_eq!(form("text/html"), Form::Json);
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Json);
    }

    #[test]
    fn gzip_is_taken_when_offered() {
        let gzip = |accept| accepts_gzip(&headers(ACCEPT_ENCODING, accept));
        assert!(gzip("gzip"));
        assert!(gzip("deflate, gzip;q=0.5"));
        assert!(gzip("*"));
        assert!(!gzip("gzip;q=0"));
        assert!(!gzip("identity"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
