//! A web server of our own over a folder, which can be told to keep its answers back: a store as slow
//! as a test wants it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The server; it serves as long as the process lives.
#[derive(Debug)]
pub(crate) struct Files {
    gate: Arc<Gate>,
    /// `http://127.0.0.1:<port>`.
    pub(crate) url: String,
}

#[derive(Debug, Default)]
struct Gate {
    /// Requests of data that still pass; `None` for all.
    passes: Mutex<Option<u32>>,
    changed: Condvar,
    /// Requests that are kept back now.
    waiting: AtomicUsize,
    /// Paths of the data that was asked for.
    asked: Mutex<BTreeSet<String>>,
}

impl Files {
    /// Serves a folder.
    pub(crate) fn serve(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let gate = Arc::new(Gate::default());
        let of_thread = Arc::clone(&gate);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (gate, folder) = (Arc::clone(&of_thread), folder.clone());
                // A client that goes away is its own affair.
                std::thread::spawn(move || drop(serve(&client, &folder, &gate)));
            }
        });
        Self { gate, url }
    }

    /// Lets so many requests of data pass and keeps back those that follow; `None` lets all pass.
    pub(crate) fn let_pass(&self, passes: Option<u32>) {
        *self.gate.passes.lock().expect("no thread panics with it") = passes;
        self.gate.changed.notify_all();
    }

    /// Requests of data that are kept back now.
    pub(crate) fn n_waiting(&self) -> usize {
        self.gate.waiting.load(Ordering::Relaxed)
    }

    /// Data objects that were asked for since the last call.
    pub(crate) fn take_asked(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.gate.asked.lock().expect("no thread panics with it"))
    }
}

impl Gate {
    fn pass(&self, path: &str) {
        self.asked.lock().expect("no thread panics with it").insert(path.to_owned());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wait();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn wait(&self) {
        let mut passes = self.passes.lock().expect("no thread panics with it");
        while *passes == Some(0) {
            // Not for ever: the thread of a test that is over must end.
            let waited = self.changed.wait_timeout(passes, Duration::from_secs(60));
            let (guard, timed_out) = waited.expect("no thread panics with it");
            passes = guard;
            if timed_out.timed_out() {
                return;
            }
        }
        *passes = passes.map(|passes| passes - 1);
    }
}

/// Serves one connection.
fn serve(client: &TcpStream, folder: &Path, gate: &Gate) -> std::io::Result<()> {
    let mut requests = BufReader::new(client);
    loop {
        let (mut first, mut range) = (String::new(), None);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(asked) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = Some(asked.trim().to_owned());
            }
            if first.is_empty() {
                first = line;
            }
        }
        let mut words = first.split(' ');
        let is_head = words.next() == Some("HEAD");
        let path = words.next().unwrap_or_default();
        if path.ends_with("data.parquet") {
            gate.pass(path);
        }
        answer(
            client,
            is_head,
            range.as_deref(),
            fs::read(folder.join(path.trim_start_matches('/'))).ok(),
        )?;
    }
}

fn answer(
    mut client: &TcpStream,
    is_head: bool,
    range: Option<&str>,
    file: Option<Vec<u8>>,
) -> std::io::Result<()> {
    let Some(file) = file else {
        return client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let size = file.len();
    let bounds = range.and_then(|range| {
        Some(match range.split_once('-')? {
            ("", last) => (size - last.parse::<usize>().ok()?.min(size), size),
            (from, "") => (from.parse().ok()?, size),
            (from, to) => (from.parse().ok()?, (to.parse::<usize>().ok()? + 1).min(size)),
        })
    });
    let (from, to) = bounds.unwrap_or((0, size));
    let status = if bounds.is_some() { "206 Partial Content" } else { "200 OK" };
    let n_bytes = to - from;
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {n_bytes}\r\nAccept-Ranges: bytes\r\n\
         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    );
    if bounds.is_some() {
        head.push_str(&format!("Content-Range: bytes {from}-{}/{size}\r\n", to - 1));
    }
    head.push_str("\r\n");
    client.write_all(head.as_bytes())?;
    if is_head { Ok(()) } else { client.write_all(&file[from..to]) }
}
