//! Runs a command and takes what it sends, OTLP over gRPC and HTTP, for as long as it runs. The signals
//! that would end this process end the command, and then this.

use std::ffi::OsString;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use traceql_blocks::model::Trace;
use traceql_server::ingest::{
    Limits, Protocol, Received, Refused, Room, Sink, Taken, receive, router,
};

use super::{Failure, SuiteReport, TestOutcome, TestReport};
use crate::error::{Error, Kind, Result};
use crate::supervise::Runtimes;
use crate::units::{format_size, plural};

/// Where senders look for the address.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// It would win over the one above and lead elsewhere.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// How long requests may go on after the command has ended: what it sent last may still be on its way.
const DRAIN: Duration = Duration::from_secs(2);
/// What traces take in memory, as a multiple of what they take on the wire, about.
const MEMORY_PER_BYTE: usize = 4;
/// After how long a sender that was refused for want of room may try again.
const RETRY: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug)]
pub(crate) struct Capture<'a> {
    /// Address and port to take traces on.
    pub(crate) listen: &'a str,
    /// The command and its arguments.
    pub(crate) command: &'a [OsString],
    /// Memory that what it sends may take, about.
    pub(crate) memory_bytes: usize,
    /// Whether its standard output belongs to a report of ours.
    pub(crate) is_stdout_taken: bool,
}

/// What a command sent, and how it ended: as a suite of one test.
#[derive(Debug)]
pub(crate) struct Captured {
    /// The traces, or parts of them.
    pub(crate) traces: Vec<Trace>,
    /// How it ended.
    pub(crate) report: SuiteReport,
}

impl Capture<'_> {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// If the address cannot be listened on or the command cannot be started; if a signal ended it.
    pub(crate) fn run(&self, runtimes: &Runtimes) -> Result<Captured> {
        let started = Instant::now();
        let kept = Arc::new(Kept::new(self.memory_bytes / MEMORY_PER_BYTE));
        let sink = Arc::clone(&kept);
        let (status, address) = runtimes.io().block_on(async {
            let listener =
                TcpListener::bind(self.listen).await.map_err(|e| self.cannot_listen(&e))?;
            let address = listener.local_addr().map_err(|e| self.cannot_listen(&e))?;
            let endpoint = endpoint(address);
            let (stop, stopped) = oneshot::channel();
            let stopped = async { drop(stopped.await) };
            let router = router(Protocol::Otlp, sink, Room::new(Limits::default()));
            let serving = tokio::spawn(receive(listener, router, stopped, DRAIN));
            let signals = Signals::watch().map_err(|error| failed(&error))?;
            let child = self.start(&endpoint)?;
            let status = wait(child, signals).await;
            // The receiver is gone only if serving failed, which is told below.
            let _gone = stop.send(());
            let served = serving.await.map_err(|error| failed(&error))?;
            served.map_err(|error| failed(&error))?;
            Ok::<_, Error>((status?, endpoint))
        })?;
        let (traces, notes) = kept.end(&address);
        let outcome = match failure(status) {
            None => TestOutcome::Passed,
            Some(failure) => TestOutcome::Failed(vec![failure]),
        };
        let test = TestReport {
            name: self.line(),
            line: 0,
            outcome,
            elapsed: started.elapsed(),
            attempts: 1,
            notes,
        };
        let report = SuiteReport {
            name: "the command".to_owned(),
            elapsed: test.elapsed,
            tests: vec![test],
        };
        Ok(Captured { traces, report })
    }

    fn start(&self, endpoint: &str) -> Result<Child> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| Error::usage("no command is given"))?;
        let mut command = Command::new(program);
        command.args(arguments).env(ENDPOINT, endpoint).env_remove(TRACES_ENDPOINT);
        if self.is_stdout_taken {
            command.stdout(Stdio::from(std::io::stderr()));
        }
        #[cfg(unix)]
        {
            use std::io::IsTerminal as _;
            use std::os::unix::process::CommandExt as _;
            // A group of its own: a signal of the terminal comes to us alone, and is passed on once.
            command.process_group(0);
            if std::io::stdin().is_terminal() {
                // Such a group is stopped when it reads from the terminal.
                command.stdin(Stdio::null());
            }
        }
        command.spawn().map_err(|error| {
            Error::usage(format!("cannot run {}: {error}", program.display()))
                .hint("the command stands behind --, the program first")
        })
    }

    /// The command as one line.
    fn line(&self) -> String {
        let words: Vec<String> =
            self.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    fn cannot_listen(&self, error: &std::io::Error) -> Error {
        Error::new(Kind::Failed, format!("cannot listen on {}: {error}", self.listen))
            .hint("choose another address or port; port 0 takes any free one")
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Failed, format!("cannot take traces any longer: {error}"))
}

/// The address as a sender on this machine reaches it.
fn endpoint(address: std::net::SocketAddr) -> String {
    let port = address.port();
    match address {
        address if !address.ip().is_unspecified() => format!("http://{address}"),
        std::net::SocketAddr::V4(_) => format!("http://127.0.0.1:{port}"),
        std::net::SocketAddr::V6(_) => format!("http://[::1]:{port}"),
    }
}

/// Waits for the end of the command, and passes signals on to it.
async fn wait(mut child: Child, mut signals: Signals) -> Result<ExitStatus> {
    let id = child.id();
    let (tell, mut told) = oneshot::channel();
    // Waiting blocks, and there is nothing else to wait with.
    std::thread::spawn(move || {
        // Nobody listens any longer if this process is on its way out.
        let _gone = tell.send(child.wait());
    });
    let mut was_interrupted = false;
    loop {
        tokio::select! {
            status = &mut told => {
                let status = status.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
                return if was_interrupted { Err(Error::interrupted()) } else { Ok(status) };
            }
            signal = signals.next() => {
                was_interrupted = true;
                pass_on(id, signal);
            }
        }
    }
}

/// The signals that would end this process; watched from before the command starts, so that none is
/// missed.
#[cfg(unix)]
struct Signals([(&'static str, tokio::signal::unix::Signal); 3]);

#[cfg(unix)]
impl Signals {
    fn watch() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            ("INT", signal(SignalKind::interrupt())?),
            ("TERM", signal(SignalKind::terminate())?),
            ("HUP", signal(SignalKind::hangup())?),
        ]))
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.1.recv() => interrupt.0,
            _ = terminate.1.recv() => terminate.0,
            _ = hangup.1.recv() => hangup.0,
        }
    }
}

/// Ctrl-C, the one signal there is.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn watch() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "INT"
    }
}

/// Sends a signal to the group of the command. The system call for it is beyond safe Rust, and the
/// program of that name is on every Unix.
#[cfg(unix)]
fn pass_on(id: u32, signal: &str) {
    let mut kill = Command::new("kill");
    kill.args(["-s", signal, "--", &format!("-{id}")]).stderr(Stdio::null());
    // A command that has just ended cannot be told; its end is on the way.
    drop(kill.status());
}

/// The command shares our console and has been told already.
#[cfg(not(unix))]
fn pass_on(_id: u32, _signal: &str) {}

/// Why the run fails, if the command did not succeed.
fn failure(status: ExitStatus) -> Option<Failure> {
    if status.success() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            return Some(Failure::new(format!("the command was ended by signal {signal}")));
        }
    }
    let code = status.code().map_or_else(|| "no exit code".to_owned(), |code| code.to_string());
    Some(Failure::new(format!("the command did not succeed: exit code {code}")))
}

/// What the command has sent so far.
#[derive(Debug)]
struct Kept {
    limit_bytes: usize,
    so_far: Mutex<SoFar>,
}

#[derive(Debug, Default)]
struct SoFar {
    traces: Vec<Trace>,
    n_requests: u64,
    n_bytes: usize,
    n_refused: u64,
}

impl Kept {
    fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, so_far: Mutex::default() }
    }

    /// All that was sent, and what to say about it.
    fn end(&self, address: &str) -> (Vec<Trace>, Vec<String>) {
        let so_far = std::mem::take(&mut *self.lock());
        let spans: usize = so_far.traces.iter().map(Trace::span_count).sum();
        let mut notes = vec![match so_far.n_requests {
            0 => format!("it sent nothing to {address}"),
            n => format!("it sent {} in {}", plural(spans as u64, "span"), plural(n, "request")),
        }];
        if so_far.n_refused > 0 {
            notes.push(format!(
                "{} refused: more than {} were sent; --memory allows more",
                plural(so_far.n_refused, "request"),
                format_size(self.limit_bytes as u64)
            ));
        }
        (so_far.traces, notes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SoFar> {
        // What is kept is whole whenever the lock is free.
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Kept {
    async fn take(&self, received: &mut Received) -> Result<Taken, Refused> {
        let mut so_far = self.lock();
        let n_bytes = so_far.n_bytes.saturating_add(received.size_bytes);
        if n_bytes > self.limit_bytes {
            so_far.n_refused += 1;
            return Err(Refused::Full("more was sent than may be kept".to_owned(), RETRY));
        }
        so_far.n_bytes = n_bytes;
        so_far.n_requests += 1;
        so_far.traces.append(&mut received.traces);
        Ok(Taken::default())
    }
}
