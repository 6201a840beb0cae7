//! `traceql lint`.
use crate::Success;
use crate::args::LintArgs;
use crate::error::{Error, Result};
use crate::settings::World;

pub(crate) fn run(_world: &World, _args: &LintArgs) -> Result<Success> {
    Err(Error::usage("not yet"))
}
