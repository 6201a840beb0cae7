//! The receivers over real connections: every encoding, and what each wrong request is told.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Keeps what it is given, or refuses everything.
#[derive(Debug, Default)]
struct Kept {
    received: Mutex<Vec<Received>>,
    refuse: Option<Refused>,
    taken: Taken,
}

impl Sink for Kept {
    async fn take(&self, received: &mut Received) -> Result<Taken, Refused> {
        match &self.refuse {
            Some(refused) => Err(refused.clone()),
            None => {
                self.received.lock().unwrap().push(received.clone());
                Ok(self.taken.clone())
            }
        }
    }
}

/// A receiver of its own for a test.
struct Running {
    address: std::net::SocketAddr,
    kept: Arc<Kept>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start(limits: Limits, refuse: Option<Refused>) -> Self {
        Self::start_for(Protocol::Otlp, limits, refuse).await
    }

    async fn start_for(protocol: Protocol, limits: Limits, refuse: Option<Refused>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Kept { refuse, ..Kept::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let drain = Duration::from_secs(5);
        let router = router(protocol, Arc::clone(&kept), Room::new(limits));
        let task = tokio::spawn(receive(listener, router, stopped, drain));
        Self { address, kept, stop, task }
    }

    /// One request over HTTP/1.1; status, headers and body of its answer.
    async fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
        self.ask("POST", HTTP_PATH, headers, body).await
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String, Vec<u8>) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // A request that is too large is answered before all of it was read.
        drop(stream.write_all(body).await);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }

    async fn end(self) -> Vec<Received> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        std::mem::take(&mut self.kept.received.lock().unwrap())
    }
}

fn json() -> Vec<u8> {
    let span =
        r#"{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"x"}"#;
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#).into_bytes()
}

fn protobuf() -> Vec<u8> {
    use traceql_blocks::write::otlp;
    otlp::to_protobuf(&otlp::decode_json(&json(), "test").unwrap())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

#[tokio::test]
async fn every_encoding_of_http_is_taken() {
    let running = Running::start(Limits::default(), None).await;
    let (status, head, body) = running.post(&[JSON], &json()).await;
    assert_eq!((status, body.as_slice()), (200, br#"{"partialSuccess":{}}"#.as_slice()));
    assert!(head.contains("content-type: application/json"), "{head}");
    let (status, head, body) = running.post(&[PROTOBUF], &protobuf()).await;
    assert_eq!((status, body.len()), (200, 0));
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    assert_eq!(running.post(&[JSON, GZIP], &gzip(&json())).await.0, 200);
    assert_eq!(running.post(&[PROTOBUF, GZIP], &gzip(&protobuf())).await.0, 200);
    let tenant = ("X-Scope-OrgID", "acme");
    assert_eq!(running.post(&[PROTOBUF, tenant], &protobuf()).await.0, 200);
    let received = running.end().await;
    assert_eq!(received.len(), 5);
    assert!(received.iter().all(|received| received.traces == received.traces[..1]));
    assert!(received.iter().all(|r| r.traces.len() == 1 && r.traces == received[0].traces));
    let tenants: Vec<_> =
        received.iter().map(|r| r.tenant.as_ref().map(TenantId::as_str)).collect();
    assert_eq!(tenants, [None, None, None, None, Some("acme")]);
}

#[tokio::test]
async fn fields_that_nobody_knows_are_passed_over() {
    let running = Running::start(Limits::default(), None).await;
    assert_eq!(running.post(&[JSON], b"{\"later\":1}").await.0, 200);
    let received = running.end().await;
    assert!(received.iter().all(|received| received.traces.is_empty()), "{received:?}");
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let limits = Limits { request_bytes: 4_096, ..Limits::default() };
    let running = Running::start(limits, None).await;
    let status = |answer: (u16, String, Vec<u8>)| answer.0;
    let (code, _, body) = running.post(&[JSON], b"{").await;
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((code, &told["code"]), (400, &serde_json::json!(3)), "{told}");
    assert!(told["message"].as_str().unwrap().contains("OTLP traces as JSON"), "{told}");
    assert_eq!(status(running.post(&[PROTOBUF], b"\xff\xff").await), 400);
    assert_eq!(status(running.post(&[PROTOBUF, GZIP], b"no gzip").await), 400);
    assert_eq!(status(running.post(&[JSON, ("X-Scope-OrgID", "a/b")], &json()).await), 400);
    assert_eq!(status(running.post(&[("Content-Type", "text/plain")], &json()).await), 415);
    assert_eq!(status(running.post(&[], &json()).await), 415);
    assert_eq!(status(running.post(&[JSON, ("Content-Encoding", "zstd")], &json()).await), 415);
    assert_eq!(status(running.post(&[JSON], &[b' '; 5_000]).await), 413);
    assert_eq!(status(running.post(&[JSON, GZIP], &gzip(&[b' '; 5_000])).await), 413);
    assert_eq!(status(running.ask("GET", HTTP_PATH, &[], b"").await), 405);
    assert_eq!(status(running.ask("POST", "/v1/metrics", &[JSON], b"{}").await), 404);
    assert_eq!(status(running.ask("POST", GRPC_PATH, &[JSON], b"{}").await), 415);
    assert!(running.end().await.is_empty());
}

#[tokio::test]
async fn crafted_requests_take_little_memory() {
    let limits = Limits { decode_bytes: 100_000, ..Limits::default() };
    let running = Running::start(limits, None).await;
    let spans = vec!["{}"; 5_000].join(",");
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let (status, _, body) = running.post(&[JSON], body.as_bytes()).await;
    let told = String::from_utf8(body).unwrap();
    assert_eq!(status, 400, "{told}");
    assert!(told.contains("send smaller batches"), "{told}");
    assert!(running.end().await.is_empty());
}

#[tokio::test]
async fn refusals_say_whether_to_try_again() {
    let full = Refused::Full("no room".to_owned(), Duration::from_millis(1_500));
    let running = Running::start(Limits::default(), Some(full.clone())).await;
    let (status, head, body) = running.post(&[PROTOBUF], &protobuf()).await;
    assert_eq!(status, 429);
    assert!(head.contains("retry-after: 2"), "{head}");
    // Field 1 is the code, 8 for RESOURCE_EXHAUSTED; field 2 the message; field 3 the retry hint.
    assert!(body.starts_with(b"\x08\x08\x12\x07no room\x1a"), "{body:?}");
    let (_, _, body) = running.post(&[JSON], &json()).await;
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let hint = serde_json::json!([{
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": "1.500000000s",
    }]);
    assert_eq!((&told["code"], &told["details"]), (&serde_json::json!(8), &hint));
    drop(running.end().await);
    let gone = Refused::Unavailable("later".to_owned());
    let running = Running::start(Limits::default(), Some(gone.clone())).await;
    assert_eq!(running.post(&[JSON], &json()).await.0, 503);
    drop(running.end().await);

    let code = |refused: Refused| tonic::Status::from(refused).code();
    assert!(!tonic::Status::from(full.clone()).details().is_empty());
    assert_eq!(code(full), tonic::Code::ResourceExhausted);
    assert_eq!(code(gone), tonic::Code::Unavailable);
    assert_eq!(code(Refused::Invalid(String::new())), tonic::Code::InvalidArgument);
}

/// A gRPC message: not compressed, its length, its bytes.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

#[tokio::test]
async fn a_grpc_call_is_answered_with_a_message_and_a_status() {
    let kept = Arc::new(Kept::default());
    let receiver = Receiver::new(Arc::clone(&kept), Room::new(Limits::default()));
    let call = |body: Vec<u8>, encoding: Option<&'static str>| {
        let mut request = axum::extract::Request::builder()
            .method("POST")
            .uri(GRPC_PATH)
            .header("content-type", "application/grpc")
            .header("x-scope-orgid", "acme");
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let request = request.body(axum::body::Body::from(body)).unwrap();
        grpc::export(axum::extract::State(receiver.clone()), request)
    };
    let answer = call(framed(&protobuf()), None).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let body: Bytes = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
    assert_eq!(body.as_ref(), framed(b""), "an empty ExportTraceServiceResponse");
    let received = std::mem::take(&mut *kept.received.lock().unwrap());
    assert_eq!((received.len(), received[0].traces.len()), (1, 1));
    assert_eq!(received[0].tenant.as_ref().map(TenantId::as_str), Some("acme"));

    let mut compressed = framed(&gzip(&protobuf()));
    compressed[0] = 1;
    let answer = call(compressed, Some("gzip")).await;
    assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
    assert_eq!(kept.received.lock().unwrap().len(), 1);

    let refused = call(framed(b"\xff\xff"), None).await;
    assert_eq!(refused.headers()["grpc-status"], "3");
    let mut bomb = framed(&gzip(&vec![0; 64 << 20]));
    bomb[0] = 1;
    let refused = call(bomb, Some("gzip")).await;
    assert_eq!(refused.headers()["grpc-status"], "8", "{refused:?}");
    let unknown = call(framed(&protobuf()), Some("zstd")).await;
    assert_eq!(unknown.headers()["grpc-status"], "12");
}

#[tokio::test]
async fn who_has_spans_dropped_is_told_in_every_encoding() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    let taken = Taken { rejected_spans: 3, why: "too many".to_owned() };
    let told: ExportTraceServiceResponse = prost::Message::decode(decode::success(&taken)).unwrap();
    let told = told.partial_success.unwrap();
    assert_eq!((told.rejected_spans, told.error_message.as_str()), (3, "too many"));
}

#[tokio::test]
async fn bodies_beyond_the_room_are_told_to_come_again() {
    let limits = Limits { bytes_at_once: 10, ..Limits::default() };
    let running = Running::start(limits, None).await;
    let (status, head, _) = running.post(&[JSON], &json()).await;
    assert_eq!(status, 429, "{head}");
    assert!(head.contains("retry-after: 5"), "{head}");
    assert!(running.end().await.is_empty());
    // One that no room would be enough for need not come again.
    let small = Limits { request_bytes: 5, ..limits };
    let running = Running::start(small, None).await;
    assert_eq!(running.post(&[JSON], &json()).await.0, 413);
    assert!(running.end().await.is_empty());

    let receiver = Receiver::new(Arc::new(Kept::default()), Room::new(limits));
    let request = axum::extract::Request::builder()
        .method("POST")
        .uri(GRPC_PATH)
        .header("content-type", "application/grpc")
        .body(axum::body::Body::from(framed(&protobuf())))
        .unwrap();
    let refused = grpc::export(axum::extract::State(receiver.clone()), request).await;
    assert_eq!(refused.headers()["grpc-status"], "8", "{refused:?}");
    assert!(refused.headers().contains_key("grpc-status-details-bin"), "{refused:?}");
    assert_eq!(receiver.room.left(), 10, "what a body took is given back");
}

#[test]
fn the_success_of_the_protocol_has_no_bytes() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    assert!(ExportTraceServiceResponse::default().encode_to_vec().is_empty());
}
