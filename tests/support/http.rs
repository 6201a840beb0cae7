//! The real binary as a server of its own for a test, and HTTP spoken to it byte by byte, so that
//! no client library mends what it sends or gets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use serde_json::Value as Json;

use super::golden;

/// The whole of the shop's data.
pub(crate) const RANGE: &str = "start=1767225600&end=1767229500";

/// A server of our own on a port of its own; it ends with the test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// What it says.
    pub(crate) stderr: BufReader<ChildStderr>,
    /// `127.0.0.1:<port>`.
    pub(crate) address: String,
}

/// What it answers to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// All of it.
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// Over the shop, with tenants.
    pub(crate) fn start() -> Self {
        let shop = golden::testdata("blocks/shop");
        Self::start_with(&["--source", shop.to_str().expect("UTF-8"), "--multitenant"])
    }

    /// With these arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_as_told(&[&["--listen", "127.0.0.1:0"], arguments].concat())
    }

    /// With these arguments, which say where to listen.
    pub(crate) fn start_as_told(arguments: &[&str]) -> Self {
        let mut command = Command::new(super::binary::TRACEQL);
        command.env_clear();
        Self::start_by(command, arguments)
    }

    /// By a command that becomes the binary: what comes before it has made its surroundings.
    pub(crate) fn start_as(command: Command, arguments: &[&str]) -> Self {
        Self::start_by(command, &[&["--listen", "127.0.0.1:0"], arguments].concat())
    }

    fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut said = String::new();
        let address = loop {
            let before = said.len();
            stderr.read_line(&mut said).expect("stderr is text");
            assert!(said.len() > before, "the server ended: {said}");
            if let Some(at) = said[before..].rfind("127.0.0.1:") {
                let address = &said[before + at..];
                let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                break address[..end.unwrap_or(address.len())].to_owned();
            }
        };
        Self { child, stderr, address }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("the server listens")
    }

    /// Asks as tenant `shop5`.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[("X-Scope-OrgID", "shop5")])
    }

    /// A number of its `/metrics`.
    #[track_caller]
    pub(crate) fn sample(&self, name: &str) -> f64 {
        let page = self.get("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().expect("a number")
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        exchange(&mut BufReader::new(self.connect()), method, target, headers)
    }

    /// Asks as tenant `shop5` for JSON.
    pub(crate) fn json(&self, target: &str) -> Json {
        self.get(target).json(target)
    }

    /// Kills it: it has no time for anything.
    pub(crate) fn kill(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
    }

    /// Asks it to end.
    pub(crate) fn tell_to_stop(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }

    /// Asks it to end, and waits.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.tell_to_stop();
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success.
    pub(crate) fn json(&self, target: &str) -> Json {
        assert_eq!(self.status, 200, "{target}: {}", self.text());
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// One request and its answer; the connection stays open.
pub(crate) fn exchange(
    connection: &mut BufReader<TcpStream>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    exchange_body(connection, method, target, headers, "")
}

/// The same with a body.
pub(crate) fn exchange_body(
    connection: &mut BufReader<TcpStream>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let length = body.len();
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("a string takes everything");
    }
    request.push_str("\r\n");
    request.push_str(body);
    connection.get_mut().write_all(request.as_bytes()).expect("the server reads");
    let mut line = || {
        let mut line = String::new();
        connection.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    };
    let status = line().split(' ').nth(1).expect("a status line").parse().expect("a status");
    let mut answer = Answer { status, headers: BTreeMap::new(), body: Vec::new() };
    loop {
        let header = line();
        let Some((name, value)) = header.split_once(": ") else { break };
        answer.headers.insert(name.to_owned(), value.to_owned());
    }
    let length = answer.headers.get("content-length").expect("a length");
    answer.body = vec![0; length.parse().expect("a number")];
    connection.read_exact(&mut answer.body).expect("the whole body");
    answer
}

/// Percent-encoded for a URL or a form.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
        encoded
    })
}

/// Every span of a trace's JSON.
pub(crate) fn spans<'a>(trace: &'a Json, list: &str) -> Vec<&'a Json> {
    let each = |of: &'a Json, name: &str| of[name].as_array().into_iter().flatten();
    each(trace, list)
        .flat_map(|resource_spans| each(resource_spans, "scopeSpans"))
        .flat_map(|scope_spans| each(scope_spans, "spans"))
        .collect()
}
