//! `traceql test --listen`: the OpenTelemetry SDK for Python as the sender, over every protocol; how the
//! command is started, ended and judged.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::binary::{run_with_input, stderr, stdout, traceql};

/// A Python that has the SDK: where `.ci/run` puts it, or the one on the path.
pub(crate) fn python() -> Option<PathBuf> {
    let home = std::env::vars().find(|(name, _)| name == "HOME").map(|(_, home)| home);
    let installed =
        home.map(|home| Path::new(&home).join(".cache/traceql/servers/opentelemetry/bin/python"));
    let candidates = installed.into_iter().chain([PathBuf::from("python3")]);
    let imports = "import opentelemetry.sdk, opentelemetry.exporter.otlp.proto.grpc, \
                   opentelemetry.exporter.otlp.proto.http";
    let has_sdk = |python: &PathBuf| {
        let run = Command::new(python).args(["-c", imports]).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(has_sdk)
}

/// Checks what a command sends. The path is this process's, so that the command finds its programs.
fn capture(more: &[&str], command: &[&str]) -> Output {
    let listen = ["test", "testdata/checks/sent.yaml", "--listen", "127.0.0.1:0"];
    let mut traceql = traceql(&[&listen[..], more, &["--"], command].concat());
    if let Some(path) = std::env::var_os("PATH") {
        traceql.env("PATH", path);
    }
    run_with_input(&mut traceql, b"")
}

#[test]
fn the_python_sdk_is_understood_over_every_protocol() {
    let Some(python) = python() else {
        // Past the capture of the test runner, so that a test that did not run is seen.
        let said = "SKIPPED capture::the_python_sdk_is_understood_over_every_protocol: no Python \
                    has opentelemetry-sdk and its exporters";
        drop(writeln!(std::io::stderr(), "{said}"));
        return;
    };
    let python = python.to_str().unwrap();
    for how in [&["grpc"][..], &["grpc", "gzip"], &["http"], &["http", "gzip"]] {
        let output = capture(&[], &[&[python, "testdata/otlp/send.py"], how].concat());
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{how:?}: {said}");
        assert!(said.contains("it sent 10 spans in"), "{how:?}: {said}");
        assert!(said.contains("4 passed"), "{how:?}: {said}");
    }
    let failing = capture(&[], &[python, "testdata/otlp/send.py", "http", "--fail"]);
    let said = stdout(&failing);
    assert_eq!(failing.status.code(), Some(1), "{said}");
    assert!(said.contains("the command did not succeed: exit code 3"), "{said}");
    assert!(said.contains("3 passed, 1 failed"), "{said}");
}

#[cfg(unix)]
#[test]
fn the_command_is_told_where_to_send() {
    let script = "echo \"at $OTEL_EXPORTER_OTLP_ENDPOINT\"";
    let output = capture(&["--run", "shape"], &["sh", "-c", script]);
    let said = stdout(&output);
    assert!(said.starts_with("at http://127.0.0.1:"), "{said}");
    let port = said["at http://127.0.0.1:".len()..].lines().next().unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    // Nothing was sent, and that is no success.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it sent nothing to http://127.0.0.1:"), "{said}");
    // Where standard output is TAP, the command writes elsewhere.
    let output = capture(&["--run", "shape", "--tap"], &["sh", "-c", script]);
    assert!(stdout(&output).starts_with("TAP version 14\n1..2\n"), "{}", stdout(&output));
    assert!(stderr(&output).starts_with("at http://"), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn commands_that_do_not_run_are_told() {
    let missing = capture(&[], &["no-such-program"]);
    assert_eq!(missing.status.code(), Some(2), "{}", stdout(&missing));
    assert!(stderr(&missing).contains("cannot run no-such-program"), "{}", stderr(&missing));
    let killed = capture(&["--run", "shape"], &["sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status.code(), Some(1), "{}", stdout(&killed));
    assert!(stdout(&killed).contains("was ended by signal 9"), "{}", stdout(&killed));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["test", "testdata/checks/sent.yaml", "--listen", &address, "--", "true"];
    let output = run_with_input(&mut traceql(&arguments), b"");
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let own = ["test", "testdata/checks/passing.yaml", "--listen", "127.0.0.1:0", "--", "true"];
    let output = run_with_input(&mut traceql(&own), b"");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn signals_are_passed_on_once() {
    for (signal, name) in [("-INT", "INT"), ("-TERM", "TERM")] {
        let script =
            format!("trap 'echo told; exit 0' {name}; echo ready; while :; do sleep 0.1; done");
        let arguments = [
            "test",
            "testdata/checks/sent.yaml",
            "--listen",
            "127.0.0.1:0",
            "--",
            "sh",
            "-c",
            &script,
        ];
        let mut command = traceql(&arguments);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "told\n", "{name}");
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
    }
}
