//! One request from its arrival to the end of its answer: counted when it is over, and perhaps said in
//! one line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::{HeaderMap, USER_AGENT};
use tonic::Code;
use traceql_blocks::bucket::tenant::TenantId;

use super::Telemetry;
use super::own_spans::{ActiveSpan, Parent};
use crate::options::RequestLog;

/// A query longer than this is cut in the log.
const MAX_LOGGED_QUERY: usize = 500;

/// A path longer than this is cut in the log.
const MAX_LOGGED_PATH: usize = 200;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Http(u16),
    Grpc(i32),
}

/// A request that is not over. If it is dropped it was the client who ended it.
#[derive(Debug)]
pub(crate) struct Request {
    telemetry: Arc<Telemetry>,
    log: fn(&str),
    started: Instant,
    protocol: Protocol,
    route: &'static str,
    method: String,
    path: String,
    tenants: String,
    query: Option<String>,
    bytes: u64,
    end: Option<End>,
    span: ActiveSpan,
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }

    /// What a request is that its client gave up.
    fn given_up(self) -> End {
        match self {
            // Nginx's number for it, and Tempo's.
            Self::Http => End::Http(499),
            Self::Grpc => End::Grpc(Code::Cancelled as i32),
        }
    }
}

impl End {
    pub(super) fn name(self) -> String {
        match self {
            Self::Http(status) => status.to_string(),
            Self::Grpc(code) => format!("{:?}", Code::from(code)),
        }
    }
}

impl From<StatusCode> for End {
    fn from(status: StatusCode) -> Self {
        Self::Http(status.as_u16())
    }
}

impl From<Code> for End {
    fn from(code: Code) -> Self {
        Self::Grpc(code as i32)
    }
}

impl Request {
    pub(super) fn new(
        telemetry: &Arc<Telemetry>,
        log: fn(&str),
        protocol: Protocol,
        route: &'static str,
        method: &str,
        path: &str,
    ) -> Self {
        Self {
            telemetry: Arc::clone(telemetry),
            log,
            started: Instant::now(),
            protocol,
            route,
            method: method.to_owned(),
            path: path.to_owned(),
            tenants: String::new(),
            query: None,
            bytes: 0,
            end: None,
            span: ActiveSpan::default(),
        }
    }

    /// Traces it, if anything is traced; returns where spans within begin. Names are those of the
    /// semantic conventions for HTTP and for gRPC.
    pub(crate) fn trace(&mut self, headers: &HeaderMap) -> Parent {
        let name = || match self.protocol {
            Protocol::Http => format!("{} {}", self.method, self.route),
            Protocol::Grpc => self.route.trim_start_matches('/').to_owned(),
        };
        let mut span = self.telemetry.tracer.request(name, headers, self.started.elapsed());
        match self.protocol {
            Protocol::Http => {
                span.text("http.request.method", || self.method.clone());
                span.text("http.route", || self.route.to_owned());
                span.text("url.path", || self.path.clone());
                span.text("url.scheme", || "http".to_owned());
            }
            Protocol::Grpc => {
                let (service, method) = self.route.rsplit_once('/').unwrap_or_default();
                span.text("rpc.system", || "grpc".to_owned());
                span.text("rpc.service", || service.trim_start_matches('/').to_owned());
                span.text("rpc.method", || method.to_owned());
            }
        }
        if let Some(agent) = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
            span.text("user_agent.original", || agent.to_owned());
        }
        self.span = span;
        self.span.as_parent()
    }

    /// Says what is asked, and of whom.
    pub(crate) fn asks(&mut self, tenants: &[TenantId], query: Option<&str>) {
        self.tenants = tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join("|");
        self.query = query.map(str::to_owned);
        self.span.text("traceql.tenant", || self.tenants.clone());
        if let Some(query) = query {
            self.span.text("traceql.query", || query.to_owned());
        }
    }

    /// Counts bytes of the answer.
    pub(crate) fn sends(&mut self, n_bytes: u64) {
        self.bytes += n_bytes;
    }

    /// It has been answered.
    pub(crate) fn ends(&mut self, end: impl Into<End>) {
        self.end = Some(end.into());
    }

    /// Servers count as failed what is not the client's fault.
    fn end_span(&mut self, end: End) {
        let is_failed = match end {
            End::Http(status) => {
                self.span.number("http.response.status_code", u64::from(status));
                self.span.number("http.response.body.size", self.bytes);
                status >= 500
            }
            End::Grpc(code) => {
                self.span.number("rpc.grpc.status_code", u64::try_from(code).unwrap_or(2));
                matches!(
                    Code::from(code),
                    Code::Unknown
                        | Code::DeadlineExceeded
                        | Code::Unimplemented
                        | Code::Internal
                        | Code::Unavailable
                        | Code::DataLoss
                )
            }
        };
        if is_failed {
            self.span.fails("");
        }
        // It ends here, not when all else of the request is dropped.
        drop(std::mem::take(&mut self.span));
    }

    fn line(&self, end: End, took: Duration) -> String {
        let mut line = format!(
            "method={} path={} tenant={} status={} duration={:.3}s bytes={}",
            self.method,
            quoted(&self.path, MAX_LOGGED_PATH),
            if self.tenants.is_empty() { "-" } else { &self.tenants },
            end.name(),
            took.as_secs_f64(),
            self.bytes
        );
        if let Some(query) = &self.query {
            line.push_str(" query=");
            line.push_str(&quoted(query, MAX_LOGGED_QUERY));
        }
        line
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let end = self.end.unwrap_or_else(|| self.protocol.given_up());
        let took = self.started.elapsed();
        let is_said = match self.telemetry.request_log {
            RequestLog::Off => false,
            RequestLog::Slow(than) => took >= than,
            RequestLog::All => true,
        };
        self.end_span(end);
        self.telemetry.over(self.protocol, self.route, end, took, self.bytes);
        if is_said {
            (self.log)(&self.line(end, took));
        }
    }
}

/// A text on one line, in quotes, so that nothing in it looks like the rest of the line.
fn quoted(text: &str, max_chars: usize) -> String {
    let cut: String = text.chars().take(max_chars).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{:?}", cut + more)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn said_of(log: RequestLog, act: impl FnOnce(&mut Request)) -> Option<String> {
        let telemetry = Arc::new(Telemetry::new(log, 0));
        let say = |line: &str| SAID.lock().push(line.to_owned());
        let mut request =
            telemetry.request(say, Protocol::Http, "/api/search", "GET", "/api/search");
        act(&mut request);
        drop(request);
        let line = SAID.lock().pop()?;
        // How long it took is its own affair.
        let (before, after) = line.split_once(" duration=").unwrap();
        Some(format!("{before} {}", after.split_once("s ").unwrap().1))
    }

    #[test]
    fn a_request_is_one_line() {
        let tenants = [TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap()];
        let line = said_of(RequestLog::All, |request| {
            request.asks(&tenants, Some("{ name = \"x\"\n}"));
            request.sends(100);
            request.sends(23);
            request.ends(StatusCode::OK);
        });
        assert_eq!(
            line.unwrap(),
            "method=GET path=\"/api/search\" tenant=a|b status=200 bytes=123 \
             query=\"{ name = \\\"x\\\"\\n}\""
        );
        let line = said_of(RequestLog::All, |request| {
            request.asks(&[], Some(&"x".repeat(1000)));
        });
        let line = line.unwrap();
        assert!(line.contains(" status=499 ") && line.len() < 600, "{line}");
        assert_eq!(said_of(RequestLog::Off, |_| {}), None);
        assert_eq!(said_of(RequestLog::Slow(Duration::from_secs(9)), |_| {}), None);
        assert!(said_of(RequestLog::Slow(Duration::ZERO), |_| {}).is_some());
    }
}
