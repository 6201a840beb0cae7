//! `google.rpc.Status` as far as senders read it, with `RetryInfo`: when to come again.

use std::time::Duration;

use prost::Message;
use serde::Serialize;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "retry_infos")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`, holding a `RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl RpcStatus {
    pub(super) fn new(code: tonic::Code, message: &str, retry_after: Option<Duration>) -> Self {
        let any = |after: Duration| {
            let delay = ProtoDuration {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(after.subsec_nanos()).unwrap_or(0),
            };
            let value = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
            Any { type_url: RETRY_INFO.to_owned(), value }
        };
        let details = retry_after.map(any).into_iter().collect();
        Self { code: i32::from(code), message: message.to_owned(), details }
    }
}

/// JSON spells what an `Any` holds out, and durations as text.
fn retry_infos<S: serde::Serializer>(details: &[Any], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Json {
        #[serde(rename = "@type")]
        type_url: &'static str,
        #[serde(rename = "retryDelay")]
        retry_delay: String,
    }
    serializer.collect_seq(details.iter().map(|any| {
        let info = RetryInfo::decode(any.value.as_slice()).unwrap_or_default();
        let ProtoDuration { seconds, nanos } = info.retry_delay.unwrap_or_default();
        let retry_delay = match nanos {
            0 => format!("{seconds}s"),
            nanos => format!("{seconds}.{nanos:09}s"),
        };
        Json { type_url: RETRY_INFO, retry_delay }
    }))
}
