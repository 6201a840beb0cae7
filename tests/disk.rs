//! The real binary on disks that are full or read-only: small file systems in memory, in a mount
//! namespace of their own, which goes with the test. Where none may be made, the tests say so on stderr
//! and do nothing. What a file system does to the log is further tested, error by error, in
//! `src/blocks/wal/tests.rs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use crate::support::ingesting::{Folders, Ingesting, name, request, text};
use crate::support::sending::TENANT;

/// A mount namespace; it ends when this is dropped, or the test process ends.
struct Namespace {
    holder: Child,
    pid: u32,
    /// Whether it has a user namespace too: others than root may mount there alone.
    has_users: bool,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}

impl Namespace {
    fn new() -> Option<Self> {
        let made = [false, true].into_iter().find_map(|has_users| {
            let more: &[&str] = if has_users { &["--user", "--map-root-user"] } else { &[] };
            let mut holder = Command::new("unshare")
                .arg("--mount")
                .args(more)
                .args(["sh", "-c", "echo $$; cat >/dev/null"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            let mut line = String::new();
            BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
            let Ok(pid) = line.trim().parse() else {
                drop(holder.wait());
                return None;
            };
            Some(Self { holder, pid, has_users })
        });
        if made.is_none() {
            // Not by `eprintln!`, whose text the test runner swallows when a test passes.
            let said = writeln!(
                std::io::stderr(),
                "SKIPPED: no mount namespace can be made here, so no disk was filled"
            );
            said.expect("stderr takes a line");
        }
        made
    }

    /// The words before a command that is to run in it.
    fn enter(&self) -> Vec<String> {
        let mut words =
            vec!["nsenter".to_owned(), format!("--target={}", self.pid), "--mount".to_owned()];
        if self.has_users {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words
    }

    #[track_caller]
    fn run(&self, words: &[&str]) {
        let enter = self.enter();
        let status = Command::new(&enter[0]).args(&enter[1..]).args(words).status();
        assert!(status.expect("nsenter runs").success(), "{words:?}");
    }

    /// Puts a file system of so many bytes on a folder.
    fn mount(&self, folder: &Path, size: &str) {
        std::fs::create_dir_all(folder).expect("a folder");
        self.run(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(folder)]);
    }

    fn remount(&self, folder: &Path, how: &str) {
        self.run(&["mount", "-o", &format!("remount,{how}"), text(folder)]);
    }

    /// A path within it, as it is seen from outside.
    fn seen(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").expect("it is absolute");
        Path::new("/proc").join(self.pid.to_string()).join("root").join(path)
    }

    fn folders(&self) -> Folders {
        let (words, path) = (self.enter(), std::env::vars().find(|(name, _)| name == "PATH"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let path = path.map(|(_, path)| path).unwrap_or_default();
        Folders::new().by(&words, &[("PATH", &path)])
    }

    fn segments(&self, folders: &Folders) -> usize {
        let files = std::fs::read_dir(self.seen(&folders.wal())).expect("it can be read");
        let names = files.map(|file| file.expect("it can be read").path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).count()
    }
}

/// A span of so many bytes, of a trace of its own.
fn large(span: u64, n_bytes: usize) -> Json {
    let mut body = request(&[(span, span)]);
    // They are cut at 2,048 bytes.
    let attributes: Vec<Json> = (0..n_bytes / 2_000)
        .map(|n| {
            let text = format!("{span}-{n}-").repeat(2_000 / 4);
            serde_json::json!({"key": format!("k{n}"), "value": {"stringValue": text}})
        })
        .collect();
    body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = attributes.into();
    body
}

/// Sends until the log is full; how many spans were acknowledged of all that begin at one.
fn fill(ingesting: &Ingesting, first: u64) -> u64 {
    for n in 0..1_000 {
        let (status, body) = ingesting.send(None, &large(first + n, 100_000)).expect("an answer");
        match status {
            200 => {}
            503 => {
                let told = body["message"].as_str().unwrap_or_default();
                assert!(told.starts_with("cannot write the write-ahead log"), "{body}");
                assert!(told.contains("No space left"), "{body}");
                return n;
            }
            status => panic!("{status} {body}"),
        }
    }
    panic!("the disk is never full")
}

fn check_found(ingesting: &Ingesting, n: u64, when: &str) {
    let found = ingesting.found(TENANT);
    let expected: Vec<String> = (0..n).map(name).collect();
    let lost: Vec<_> = expected.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(lost.is_empty(), "{when}: lost {lost:?}");
    assert!(found.len() == expected.len() && found.values().all(|n| *n == 1), "{when}: {found:?}");
}

#[test]
fn a_full_disk_of_the_log_refuses_spans_and_keeps_those_it_took() {
    let Some(namespace) = Namespace::new() else { return };
    let folders = namespace.folders();
    namespace.mount(&folders.wal(), "6m");
    let quiet = ["--trace-idle", "1h", "--trace-age", "1h"];
    let ingesting = folders.start(&quiet);
    let mut n = fill(&ingesting, 0);
    assert!(n > 20, "{n} spans of 100 kB fit into 6 MB");
    // What is smaller than what was refused is no more welcome: the answer says why.
    let ready = ingesting.server.get("/ready");
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("spans are refused: the write-ahead log"), "{}", ready.text());
    assert!(ingesting.sample("traceql_wal_failing_seconds") > 0.0);
    check_found(&ingesting, n, "while the disk is full");
    // Killed and started on a disk that is full.
    ingesting.server.kill();
    drop(ingesting);
    let ingesting = folders.start(&quiet);
    check_found(&ingesting, n, "after a start on a full disk");
    // Flushing makes room, for which there is a reserve.
    assert_eq!(ingesting.flush().status, 200);
    assert_eq!(namespace.segments(&folders), 0);
    for _ in 0..5 {
        let (status, body) = ingesting.send(None, &large(n, 100_000)).expect("an answer");
        assert_eq!(status, 200, "{body}");
        n += 1;
    }
    assert_eq!(ingesting.server.get("/ready").text(), "ready\n");
    // Full once more, and told to stop.
    n += fill(&ingesting, n);
    let mut ingesting = ingesting;
    assert!(ingesting.server.terminate().success());
    assert_eq!(namespace.segments(&folders), 0);
    let stored = folders.stored(TENANT);
    assert!(stored.len() as u64 == n && stored.values().all(|count| *count == 1), "{stored:?}");
}

#[test]
fn a_full_disk_of_blocks_keeps_spans_in_the_log_until_there_is_room() {
    let Some(namespace) = Namespace::new() else { return };
    let folders = namespace.folders();
    // A block has a bloom filter of 100 kB.
    namespace.mount(&folders.bucket(), "256k");
    let mut ingesting = folders.start(&["--trace-idle", "1h", "--trace-age", "1h"]);
    let mut n = 0;
    let mut status = 200;
    while status == 200 {
        assert!(n < 20, "the disk is never full");
        assert_eq!(ingesting.send(None, &large(n, 100_000)).expect("an answer").0, 200);
        n += 1;
        status = ingesting.flush().status;
    }
    assert_eq!(status, 500);
    let told = ingesting.server.get("/ready").text();
    assert!(told.contains("blocks cannot be written") && told.contains("No space left"), "{told}");
    for _ in 0..5 {
        assert_eq!(ingesting.send(None, &large(n, 100_000)).expect("an answer").0, 200);
        n += 1;
    }
    check_found(&ingesting, n, "while the disk is full");
    ingesting.server.kill();
    drop(ingesting);
    ingesting = folders.start(&["--trace-idle", "1h", "--trace-age", "1h"]);
    check_found(&ingesting, n, "after a start on a full disk");
    assert_eq!(ingesting.flush().status, 500);
    namespace.remount(&folders.bucket(), "size=64m");
    assert_eq!(ingesting.flush().status, 200);
    check_found(&ingesting, n, "when there is room");
    assert!(folders.segments().is_empty());
    // No block is half there.
    let blocks = std::fs::read_dir(namespace.seen(&folders.bucket().join(TENANT))).expect("it is");
    for block in blocks.map(|block| block.expect("it can be read").path()) {
        assert!(block.join("meta.json").exists(), "{}", block.display());
    }
}

#[test]
fn a_log_that_cannot_be_written_is_named_at_the_start() {
    let Some(namespace) = Namespace::new() else { return };
    let folders = namespace.folders();
    namespace.mount(&folders.wal(), "6m");
    let ingesting = folders.start(&[]);
    assert_eq!(ingesting.send(None, &request(&[(0, 0)])).expect("an answer").0, 200);
    ingesting.server.kill();
    drop(ingesting);
    namespace.remount(&folders.wal(), "ro");
    let source = folders.source();
    let mut command = folders.command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--wal"]);
    let output = command.arg(folders.wal()).args(source).output().expect("it ends");
    let said = crate::support::binary::stderr(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(text(&folders.wal())) && said.contains("Read-only"), "{said}");
    // Nothing of it was touched.
    namespace.remount(&folders.wal(), "rw");
    check_found(&folders.start(&[]), 1, "when it can be written");
}
