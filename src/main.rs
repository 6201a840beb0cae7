//! Calls `traceql_cli::run` and returns its exit code. Chooses the allocator, as a binary may and a library
//! must not.

use std::process::ExitCode;

/// Spans are many small allocations: `Cargo.toml` says what this one is worth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    traceql_cli::run()
}
