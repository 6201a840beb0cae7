//! Runs a command and takes what it sends: OTLP over gRPC and HTTP, for as long as it runs.
use std::ffi::OsString;

use traceql_blocks::model::Trace;

use super::SuiteReport;
use crate::error::{Error, Result};
use crate::settings::World;
use crate::supervise::Runtimes;

pub(crate) fn run(
    _world: &World,
    _runtimes: &Runtimes,
    _listen: &str,
    _command: &[OsString],
    _memory_bytes: usize,
) -> Result<(Vec<Trace>, SuiteReport)> {
    Err(Error::usage("not yet"))
}
