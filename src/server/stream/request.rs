//! Requests of the service, and the parameters that each would have as an HTTP request. A zero or an
//! empty text is what a message has where nothing was said.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::header::HeaderMap;
use bytes::Bytes;
use prost::Message;
use tonic::Status;

use crate::request::{BadRequest, Parameters};
use crate::route::Query;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SearchRequest {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(uint32, tag = "2")]
    pub(super) min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    pub(super) max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    pub(super) limit: u32,
    /// Unix seconds, as everywhere but in metrics.
    #[prost(uint32, tag = "5")]
    pub(super) start: u32,
    #[prost(uint32, tag = "6")]
    pub(super) end: u32,
    #[prost(string, tag = "8")]
    pub(super) query: String,
    #[prost(uint32, tag = "9")]
    pub(super) spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SearchTagsRequest {
    #[prost(string, tag = "1")]
    pub(super) scope: String,
    #[prost(string, tag = "2")]
    pub(super) query: String,
    #[prost(uint32, tag = "3")]
    pub(super) start: u32,
    #[prost(uint32, tag = "4")]
    pub(super) end: u32,
    #[prost(uint32, tag = "5")]
    pub(super) max_tags_per_scope: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SearchTagValuesRequest {
    #[prost(string, tag = "1")]
    pub(super) tag_name: String,
    #[prost(string, tag = "2")]
    pub(super) query: String,
    #[prost(uint32, tag = "4")]
    pub(super) start: u32,
    #[prost(uint32, tag = "5")]
    pub(super) end: u32,
    #[prost(uint32, tag = "6")]
    pub(super) max_tag_values: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryRangeRequest {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    /// Unix nanoseconds.
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) end: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "4")]
    pub(super) step: u64,
    #[prost(uint32, tag = "16")]
    pub(super) exemplars: u32,
    #[prost(uint32, tag = "17")]
    pub(super) max_series: u32,
    #[prost(bool, optional, tag = "18")]
    pub(super) instant: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct QueryInstantRequest {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    /// Unix nanoseconds.
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) end: u64,
}

/// Reads the message of a request: its parameters, and what the path would have named.
pub(super) fn read(query: Query, message: Bytes) -> Result<(Parameters, String), Status> {
    let decoded = match query {
        Query::Search => SearchRequest::decode(message).map(|m| m.parameters()),
        Query::TagNamesV1 | Query::TagNamesV2 => {
            SearchTagsRequest::decode(message).map(|m| Ok((m.parameters(), String::new())))
        }
        Query::TagValuesV1 | Query::TagValuesV2 => {
            SearchTagValuesRequest::decode(message).map(SearchTagValuesRequest::parameters)
        }
        Query::MetricsRange => QueryRangeRequest::decode(message).map(|m| m.parameters()),
        Query::MetricsInstant => QueryInstantRequest::decode(message).map(|m| m.parameters()),
        Query::TraceV1 | Query::TraceV2 => {
            return Err(Status::unimplemented("a trace by its id is not streamed"));
        }
    };
    let read = decoded.map_err(|error| {
        Status::invalid_argument(format!("the message is not one of this method: {error}"))
    })?;
    read.map_err(|bad: BadRequest| Status::invalid_argument(bad.0))
}

type Read = Result<(Parameters, String), BadRequest>;

impl SearchRequest {
    fn parameters(&self) -> Read {
        let mut pairs = vec![
            ("q", self.query.clone()),
            ("tags", logfmt(&self.tags)?),
            ("limit", number(self.limit)),
            ("spss", number(self.spans_per_span_set)),
            ("start", number(self.start)),
            ("end", number(self.end)),
        ];
        for (name, millis) in
            [("minDuration", self.min_duration_ms), ("maxDuration", self.max_duration_ms)]
        {
            if millis > 0 {
                pairs.push((name, format!("{millis}ms")));
            }
        }
        Ok((Parameters::of(pairs), String::new()))
    }
}

impl SearchTagsRequest {
    fn parameters(&self) -> Parameters {
        Parameters::of([
            ("scope", self.scope.clone()),
            ("q", self.query.clone()),
            ("start", number(self.start)),
            ("end", number(self.end)),
            ("limit", number(self.max_tags_per_scope)),
        ])
    }
}

impl SearchTagValuesRequest {
    fn parameters(self) -> Read {
        let parameters = Parameters::of([
            ("q", self.query),
            ("start", number(self.start)),
            ("end", number(self.end)),
            ("limit", number(self.max_tag_values)),
        ]);
        match self.tag_name.is_empty() {
            true => Err(BadRequest::new("please provide a non-empty tagName")),
            false => Ok((parameters, self.tag_name)),
        }
    }
}

impl QueryRangeRequest {
    fn parameters(&self) -> Read {
        let mut pairs = window(self.start, self.end)?;
        pairs.push(("q", self.query.clone()));
        if self.step > 0 {
            pairs.push(("step", format!("{}ns", self.step)));
        }
        pairs.push(("exemplars", number(self.exemplars)));
        pairs.push(("maxSeries", number(self.max_series)));
        pairs.push(("instant", self.instant.unwrap_or_default().to_string()));
        Ok((Parameters::of(pairs), String::new()))
    }
}

impl QueryInstantRequest {
    fn parameters(&self) -> Read {
        let mut pairs = window(self.start, self.end)?;
        pairs.push(("q", self.query.clone()));
        Ok((Parameters::of(pairs), String::new()))
    }
}

/// Both ends of a window in nanoseconds, or neither.
fn window(start: u64, end: u64) -> Result<Vec<(&'static str, String)>, BadRequest> {
    // So many digits are read as nanoseconds, however small the number.
    let nanos = |time: u64| format!("{time:020}");
    match (start, end) {
        (0, 0) => Ok(Vec::new()),
        (_, 0) | (0, _) => {
            Err(BadRequest::new("only one of start and end provided: must provide both or neither"))
        }
        (start, end) => Ok(vec![("start", nanos(start)), ("end", nanos(end))]),
    }
}

/// A number that was said; a blank parameter is none.
fn number(value: u32) -> String {
    if value == 0 { String::new() } else { value.to_string() }
}

/// Tags as the text of the parameter of that name.
fn logfmt(tags: &BTreeMap<String, String>) -> Result<String, BadRequest> {
    let mut text = String::new();
    for (key, value) in tags {
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c == '=') {
            return Err(BadRequest::new(format!("invalid tags: {key:?} cannot be a key")));
        }
        text.push_str(key);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c => text.push(c),
            }
        }
        text.push_str("\" ");
    }
    Ok(text)
}

/// How long the client is going to wait, by its `grpc-timeout`.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let is_number =
            (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let n: u64 = digits.parse().ok().filter(|_| is_number)?;
        Some(match unit {
            "H" => Duration::from_secs(n * 3600),
            "M" => Duration::from_secs(n * 60),
            "S" => Duration::from_secs(n),
            "m" => Duration::from_millis(n),
            "u" => Duration::from_micros(n),
            "n" => Duration::from_nanos(n),
            _ => return None,
        })
    });
    read.map(Some).ok_or_else(|| Status::invalid_argument("invalid grpc-timeout"))
}
