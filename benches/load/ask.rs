//! Questions asked while spans are sent: each in turn, one at a time, as a dashboard would, over the
//! API that both servers have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;

/// How far back questions look, in seconds.
const RANGE: u64 = 900;

/// What became of a question.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) times: Vec<Duration>,
    pub(crate) n_failed: usize,
    pub(crate) answer_bytes: usize,
}

/// By question.
pub(crate) type Answers = BTreeMap<String, Asked>;

/// Asks until the end. A question that ends in a function of metrics is asked for series, one that
/// is an id for its trace (`last` is one that a search has told of), others are searches.
pub(crate) async fn ask(
    address: String,
    questions: Vec<String>,
    every: Duration,
    end: Instant,
) -> Result<Answers, Error> {
    let mut answers = Answers::new();
    let mut last_trace = None;
    for question in questions.iter().cycle() {
        tokio::time::sleep(every).await;
        if Instant::now() >= end || questions.is_empty() {
            break;
        }
        let Some(path) = path(question, last_trace.as_deref()) else { continue };
        let began = Instant::now();
        let answer = get(&address, &path).await;
        let elapsed = began.elapsed();
        let asked = answers.entry(question.clone()).or_default();
        asked.times.push(elapsed);
        match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => {
                asked.answer_bytes += answer.len();
                let id = answer.split("\"traceID\":\"").nth(1).and_then(|id| id.split('"').next());
                last_trace = id.map(ToOwned::to_owned).or(last_trace);
            }
            _ => asked.n_failed += 1,
        }
    }
    Ok(answers)
}

fn path(question: &str, last_trace: Option<&str>) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "live spans are of the present")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (start, end) = (now - RANGE, now + 1);
    let text: String = question.bytes().map(|byte| format!("%{byte:02x}")).collect();
    if question == "last" {
        return last_trace.map(|id| format!("/api/v2/traces/{id}"));
    }
    Some(match question.rsplit_once('|') {
        Some((_, stage)) if stage.contains("rate()") || stage.contains("over_time") => {
            format!("/api/metrics/query_range?q={text}&start={start}&end={end}&step=15s")
        }
        _ => format!("/api/search?q={text}&start={start}&end={end}&limit=20"),
    })
}

async fn get(address: &str, path: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
