//! Calls `traceql_cli::run` and returns its exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    traceql_cli::run()
}
