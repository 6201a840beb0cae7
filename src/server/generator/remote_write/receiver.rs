//! One receiver of remote write: a bounded queue, and a sender that repeats what may be repeated.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio::sync::Notify;

use super::Request;
use crate::generator::options::{OptionsError, RemoteWriteOptions};
use crate::target::{PostError, Target};

/// The same refusal is logged again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Longest pause that a receiver is granted by its `Retry-After`.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What became of requests.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::generator) struct Counts {
    pub(in crate::generator) sent: u64,
    /// Attempts that failed and were repeated.
    pub(in crate::generator) retried: u64,
    /// Requests the receiver would not have.
    pub(in crate::generator) refused: u64,
    /// Requests that gave way to newer ones.
    pub(in crate::generator) dropped: u64,
}

/// A receiver, and what waits to be sent to it.
#[derive(Debug)]
pub(in crate::generator) struct Receiver {
    options: RemoteWriteOptions,
    target: Target,
    /// The URL without what is secret.
    name: String,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    bytes: usize,
    is_closed: bool,
    is_overflowing: bool,
    counts: Counts,
}

/// How an attempt ended.
enum Outcome {
    Sent,
    /// Repeat it, after this long if the receiver said so.
    Retry(String, Option<Duration>),
    Refused(StatusCode, String),
}

impl Receiver {
    pub(in crate::generator) fn new(options: &RemoteWriteOptions) -> Result<Self, OptionsError> {
        let of_protocol = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        let target = Target::new(&options.url, &options.headers, &of_protocol, options.timeout)?;
        let mut name = target.url.clone();
        name.set_query(None);
        // Of a URL with a host, user and password can always be taken off.
        let _without = (name.set_username(""), name.set_password(None));
        Ok(Self {
            target,
            name: name.to_string(),
            queue: Mutex::default(),
            wake: Notify::new(),
            options: options.clone(),
        })
    }

    pub(in crate::generator) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::generator) fn counts(&self) -> Counts {
        self.queue.lock().counts
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().requests.len()
    }

    /// Lets a request wait its turn. If there is no room the oldest give way: counters say with
    /// their next sample what was lost with the last.
    pub(super) fn push(&self, request: Request, log: fn(&str)) {
        let mut queue = self.queue.lock();
        queue.bytes += request.body.len();
        queue.requests.push_back(request);
        let mut is_overflowing = false;
        while queue.bytes > self.options.queue_bytes && queue.requests.len() > 1 {
            let Some(oldest) = queue.requests.pop_front() else { break };
            queue.bytes -= oldest.body.len();
            queue.counts.dropped += 1;
            is_overflowing = true;
        }
        if is_overflowing && !queue.is_overflowing {
            log(&format!(
                "remote write to {}: the queue is full at {} bytes, older samples are dropped",
                self.name, self.options.queue_bytes
            ));
        }
        queue.is_overflowing |= is_overflowing;
        drop(queue);
        self.wake.notify_one();
    }

    /// Says that nothing more comes.
    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// Sends what waits, in order, until the queue is closed and empty.
    pub(super) async fn send_all(&self, log: fn(&str)) {
        let mut said: Option<(String, Instant)> = None;
        loop {
            let next = {
                let mut queue = self.queue.lock();
                match queue.requests.pop_front() {
                    Some(request) => {
                        queue.bytes -= request.body.len();
                        Some(request)
                    }
                    None if queue.is_closed => return,
                    None => {
                        queue.is_overflowing = false;
                        None
                    }
                }
            };
            match next {
                Some(request) => self.send(&request, log, &mut said).await,
                None => self.wake.notified().await,
            }
        }
    }

    /// Sends a request, as often as it takes.
    async fn send(&self, request: &Request, log: fn(&str), said: &mut Option<(String, Instant)>) {
        let mut pause = self.options.min_backoff;
        let mut has_failed = false;
        loop {
            match self.attempt(request).await {
                Outcome::Sent => {
                    self.queue.lock().counts.sent += 1;
                    if has_failed {
                        log(&format!("remote write to {} works again", self.name));
                    }
                    return;
                }
                Outcome::Refused(status, why) => {
                    self.queue.lock().counts.refused += 1;
                    let line = if request.is_announcement {
                        format!(
                            "remote write to {}: first samples of new series were refused with \
                             {status}, as after a restart; their values follow: {why}",
                            self.name
                        )
                    } else {
                        format!(
                            "remote write to {} was refused with {status}, samples are lost: {why}",
                            self.name
                        )
                    };
                    say(log, said, line);
                    return;
                }
                Outcome::Retry(why, after) => {
                    self.queue.lock().counts.retried += 1;
                    if !has_failed {
                        log(&format!("remote write to {} fails and is repeated: {why}", self.name));
                        has_failed = true;
                    }
                    tokio::time::sleep(after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause = (pause * 2).min(self.options.max_backoff);
                }
            }
        }
    }

    async fn attempt(&self, request: &Request) -> Outcome {
        let tenant = request.tenant.as_ref().map(|tenant| tenant.as_str());
        match self.target.post(request.body.clone(), tenant).await {
            Ok(()) => Outcome::Sent,
            Err(PostError::Unanswered(why)) => Outcome::Retry(why, None),
            // What the protocol lets a sender repeat.
            Err(PostError::Refused(status, reason, after))
                if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Outcome::Retry(format!("{status}: {reason}"), after)
            }
            Err(PostError::Refused(status, reason, _)) => Outcome::Refused(status, reason),
        }
    }
}

/// Logs a line unless it was said a moment ago.
fn say(log: fn(&str), said: &mut Option<(String, Instant)>, line: String) {
    let is_old = said.as_ref().is_none_or(|(last, at)| *last != line || at.elapsed() >= SAY_AGAIN);
    if is_old {
        log(&line);
        *said = Some((line, Instant::now()));
    }
}
