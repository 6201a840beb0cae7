//! Runs the real binary with an environment of its own and compares what it prints with files of
//! `tests/snapshots`. `UPDATE_SNAPSHOTS=1 cargo test` writes the files anew.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary under test.
pub(crate) const TRACEQL: &str = env!("CARGO_BIN_EXE_traceql");

/// The root of the repository, where commands run.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary with nothing of this machine in its environment.
pub(crate) fn traceql(arguments: &[&str]) -> Command {
    let mut command = Command::new(TRACEQL);
    command.args(arguments).current_dir(root()).env_clear().env("HOME", "/nonexistent");
    command
}

/// Runs to the end, with this on standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let input = input.to_vec();
    // From another thread, so that neither side waits for the other to read.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("the writer does not panic");
    output
}

/// Runs to the end, with nothing on standard input.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with_input(&mut traceql(arguments), b"")
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command line and everything that came of it, as a snapshot has it.
pub(crate) fn transcript(arguments: &[&str], output: &Output) -> String {
    let mut text = String::from("$ traceql");
    for argument in arguments {
        let plain = argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/".contains(c));
        if plain && !argument.is_empty() {
            write!(text, " {argument}").expect("strings take all");
        } else {
            write!(text, " '{argument}'").expect("strings take all");
        }
    }
    text.push('\n');
    text.push_str(&stdout(output));
    let errors = stderr(output);
    if !errors.is_empty() {
        text.push_str("-- standard error\n");
        text.push_str(&errors);
    }
    writeln!(text, "-- exit code {}\n", output.status.code().unwrap_or(-1))
        .expect("strings take all");
    text.replace(&root().display().to_string(), "<root>")
}

/// Compares a text with `tests/snapshots/<name>.txt`.
#[track_caller]
pub(crate) fn check_snapshot(name: &str, text: &str) {
    let path: PathBuf = root().join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::vars().any(|(key, value)| key == "UPDATE_SNAPSHOTS" && value == "1") {
        fs::create_dir_all(path.parent().expect("a snapshot lies in a folder")).expect("writable");
        fs::write(&path, text).expect("writable");
        return;
    }
    let expect = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; UPDATE_SNAPSHOTS=1 writes it", path.display())
    });
    if let Some((at, (new, old))) =
        text.lines().zip(expect.lines()).enumerate().find(|(_, (new, old))| new != old)
    {
        panic!("{name}.txt, line {}:\n  was {old}\n  is  {new}\n\n{text}", at + 1);
    }
    assert_eq!(text, expect, "{name}.txt differs in length");
}
