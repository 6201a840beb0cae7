//! gRPC spoken frame by frame over HTTP/2 without TLS, so that no client library mends what it sends
//! or gets.

use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use tokio::runtime::Runtime;

/// What of `SearchRequest` is asked in tests.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Search {
    #[prost(uint32, tag = "4")]
    pub(crate) limit: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) start: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) end: u32,
    #[prost(string, tag = "8")]
    pub(crate) query: String,
    #[prost(uint32, tag = "9")]
    pub(crate) spans_per_span_set: u32,
}

/// `QueryRangeRequest`, and without a step `QueryInstantRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Query {
    #[prost(string, tag = "1")]
    pub(crate) query: String,
    #[prost(uint64, tag = "2")]
    pub(crate) start: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) end: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) step: u64,
}

/// A service's package and name.
const SERVICE: &str = "/tempopb.StreamingQuerier/";

/// A connection.
pub(crate) struct Client {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Every message, and when it came.
    pub(crate) messages: Vec<(Duration, Bytes)>,
    /// `grpc-status`.
    pub(crate) code: u32,
    /// `grpc-message`, decoded.
    pub(crate) text: String,
}

/// A call whose answer is on its way.
pub(crate) struct Call<'a> {
    client: &'a Client,
    started: Instant,
    response: ResponseFuture,
    /// Held, since dropping it resets the stream.
    request: SendStream<Bytes>,
}

impl Client {
    /// Connects to a server that knows that HTTP/2 comes.
    pub(crate) fn connect(address: &str) -> Self {
        // A thread of its own, so that frames leave and come while nobody waits for an answer.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let requests = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
            let (requests, connection) =
                h2::client::handshake(stream).await.expect("it speaks HTTP/2");
            tokio::spawn(async move { drop(connection.await) });
            requests
        });
        Self { runtime, requests }
    }

    /// Calls a method of the service as tenant `shop5`.
    pub(crate) fn call(&self, method: &str, message: &impl Message) -> Answered {
        let path = format!("{SERVICE}{method}");
        let message = message.encode_to_vec();
        self.start(&path, &[("x-scope-orgid", "shop5")], &framed(&message)).finish()
    }

    /// Calls a method of the service with these metadata.
    pub(crate) fn call_as(
        &self,
        metadata: &[(&str, &str)],
        method: &str,
        message: &impl Message,
    ) -> Answered {
        let path = format!("{SERVICE}{method}");
        self.start(&path, metadata, &framed(&message.encode_to_vec())).finish()
    }

    /// Sends a body to a path.
    pub(crate) fn start(&self, path: &str, metadata: &[(&str, &str)], body: &[u8]) -> Call<'_> {
        let mut request = http::Request::post(format!("http://test{path}"))
            .version(http::Version::HTTP_2)
            .header("te", "trailers");
        if !metadata.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let body = Bytes::copy_from_slice(body);
        let (response, request) = self.runtime.block_on(async {
            let mut requests = self.requests.clone().ready().await.expect("room for a stream");
            let (response, mut send) =
                requests.send_request(request, false).expect("the request can be sent");
            // A server that refuses a request by its headers need not wait for its body.
            drop(send.send_data(body, true));
            (response, send)
        });
        Call { client: self, started: Instant::now(), response, request }
    }
}

impl Call<'_> {
    /// Waits for the end.
    pub(crate) fn finish(self) -> Answered {
        let Self { client, started, response, request: _request } = self;
        client.runtime.block_on(async {
            let response = response.await.expect("an answer");
            let (head, body) = response.into_parts();
            assert_eq!(head.status, 200);
            let (messages, trailers) = read(body, started).await;
            let status = trailers.unwrap_or(head.headers);
            let text = |name: &str| {
                let value = status.get(name).map(|value| value.to_str().expect("ASCII"));
                url_decoded(value.unwrap_or_default())
            };
            Answered {
                messages,
                code: text("grpc-status").parse().expect("a status"),
                text: text("grpc-message"),
            }
        })
    }

    /// Cancels before an answer is there.
    pub(crate) fn cancel(self) {
        let Self { client, response, mut request, .. } = self;
        client.runtime.block_on(async {
            // The server is given the time to begin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            request.send_reset(h2::Reason::CANCEL);
            drop(response);
            // The connection's task has to be let send it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
    }
}

impl Answered {
    /// The last message.
    pub(crate) fn last<M: Message + Default>(&self) -> M {
        assert_eq!((self.code, self.text.as_str()), (0, ""));
        let (_, last) = self.messages.last().expect("at least one message");
        M::decode(last.clone()).expect("protobuf")
    }
}

/// A message with what goes before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.put_u32(message.len().try_into().expect("a short message"));
    frame.extend_from_slice(message);
    frame
}

async fn read(
    mut body: RecvStream,
    started: Instant,
) -> (Vec<(Duration, Bytes)>, Option<http::HeaderMap>) {
    let (mut messages, mut buffer) = (Vec::new(), BytesMut::new());
    while let Some(data) = body.data().await {
        let data = data.expect("the body comes whole");
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        buffer.extend_from_slice(&data);
        while let Some(message) = next(&mut buffer) {
            messages.push((started.elapsed(), message));
        }
    }
    assert!(buffer.is_empty(), "half a message");
    (messages, body.trailers().await.expect("trailers or none"))
}

fn next(buffer: &mut BytesMut) -> Option<Bytes> {
    let n_bytes = buffer.get(1..5)?.try_into().map(u32::from_be_bytes).expect("four bytes");
    let end = 5 + usize::try_from(n_bytes).expect("it fits");
    let is_whole = buffer.len() >= end;
    is_whole.then(|| {
        assert_eq!(buffer[0], 0, "nobody asked for compression");
        buffer.advance(5);
        buffer.split_to(end - 5).freeze()
    })
}

fn url_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (*first == b'%').then(|| {
            let digits = std::str::from_utf8(&tail[..2]).expect("two digits");
            u8::from_str_radix(digits, 16).expect("hex")
        });
        if escaped.is_some() {
            rest = &tail[2..];
        }
        bytes.push(escaped.unwrap_or(*first));
    }
    String::from_utf8(bytes).expect("UTF-8")
}
