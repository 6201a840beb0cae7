//! `traceql query`: searches for traces, or computes metrics from spans; the query says which.

mod metrics;
mod search;

use crate::Success;
use crate::args::QueryArgs;
use crate::error::{Error, Result};
use crate::settings::{self, World};

pub(crate) use search::show;

pub(crate) fn run(world: &World, args: &QueryArgs) -> Result<Success> {
    let (name, text) = settings::query_text(&args.text)?;
    let query = traceql_language::compile(&text, world.dialect)
        .map_err(|error| Error::query(&name, &text, error))?;
    match query.metrics.clone() {
        Some(expr) => metrics::run(world, args, query, &expr),
        None => search::run(world, args, query),
    }
}
