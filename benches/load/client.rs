//! A connection to a receiver: OTLP over gRPC or HTTP, one request at a time, nothing compressed.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;
use crate::arguments::{Protocol, Target};

const GRPC_PATH: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH: &str = "v1/traces";
const TENANT: &str = "x-scope-orgid";

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was acknowledged; so many of its spans were dropped.
    Taken { rejected_spans: u64 },
    /// It was not, and why.
    Refused(String),
}

/// A connection.
pub(crate) enum Client {
    Grpc { sender: SendRequest<Bytes>, address: String, tenant: Option<String> },
    Http { stream: TcpStream, head: String },
}

impl Client {
    pub(crate) async fn connect(target: &Target) -> Result<Self, Error> {
        let stream = TcpStream::connect(&target.address).await?;
        stream.set_nodelay(true)?;
        let (address, tenant) = (target.address.clone(), target.tenant.clone());
        match target.protocol {
            Protocol::Grpc => {
                let (sender, connection) = h2::client::handshake(stream).await?;
                // It ends with its last sender; what fails is seen by who sends.
                tokio::spawn(async move { drop(connection.await) });
                Ok(Self::Grpc { sender, address, tenant })
            }
            Protocol::Http => {
                let tenant = tenant.map(|tenant| format!("{TENANT}: {tenant}\r\n"));
                let head = format!(
                    "POST /{HTTP_PATH} HTTP/1.1\r\nhost: {address}\r\n\
                     content-type: application/x-protobuf\r\n{}",
                    tenant.unwrap_or_default()
                );
                Ok(Self::Http { stream, head })
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn send(&mut self, body: &[u8]) -> Result<Answer, Error> {
        match self {
            Self::Grpc { sender, address, tenant } => {
                let mut request = http::Request::post(format!("http://{address}/{GRPC_PATH}"))
                    .version(http::Version::HTTP_2)
                    .header("content-type", "application/grpc")
                    .header("te", "trailers");
                if let Some(tenant) = tenant {
                    request = request.header(TENANT, tenant.as_str());
                }
                *sender = sender.clone().ready().await?;
                let (response, mut sending) = sender.send_request(request.body(())?, false)?;
                let mut framed = BytesMut::with_capacity(body.len() + 5);
                framed.put_u8(0);
                framed.put_u32(u32::try_from(body.len())?);
                framed.put_slice(body);
                sending.send_data(framed.freeze(), true)?;
                grpc_answer(response.await?).await
            }
            Self::Http { stream, head } => {
                let head = format!("{head}content-length: {}\r\n\r\n", body.len());
                let mut whole = head.into_bytes();
                whole.extend_from_slice(body);
                stream.write_all(&whole).await?;
                http_answer(stream).await
            }
        }
    }
}

async fn grpc_answer(response: http::Response<h2::RecvStream>) -> Result<Answer, Error> {
    let (head, mut body) = response.into_parts();
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        message.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let of = |name: &str| {
        let value = trailers.get(name).or_else(|| head.headers.get(name));
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match of("grpc-status").as_deref() {
        Some("0") => {
            Ok(Answer::Taken { rejected_spans: rejected(message.get(5..).unwrap_or(&[])) })
        }
        status => Ok(Answer::Refused(format!("{status:?} {:?}", of("grpc-message")))),
    }
}

async fn http_answer(stream: &mut TcpStream) -> Result<Answer, Error> {
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the server has closed the connection".into());
        }
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
        let Some(body) = answer[end + 4..].get(..length) else { continue };
        return match head.contains(" 200 ") {
            true => Ok(Answer::Taken { rejected_spans: rejected(body) }),
            false => Ok(Answer::Refused(head.lines().next().unwrap_or_default().to_owned())),
        };
    }
}

/// `rejected_spans` of an `ExportTraceServiceResponse`: a message in field 1, in it a number in
/// field 1.
fn rejected(response: &[u8]) -> u64 {
    match response {
        [0x0a, _, 0x08, number @ ..] => {
            let mut value = 0;
            for (at, byte) in number.iter().enumerate().take(9) {
                value |= u64::from(byte & 0x7f) << (7 * at);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        _ => 0,
    }
}
