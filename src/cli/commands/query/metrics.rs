//! A query that ends in metrics: series over time, or one value each.

use traceql_engine::Outcome;
use traceql_engine::metrics::{MetricsAnswer, MetricsKind, MetricsRequest};
use traceql_language::TypedQuery;
use traceql_language::ir::MetricsExpr;

use crate::Success;
use crate::args::{QueryArgs, QueryFormat};
use crate::commands::{Asking, split, whole};
use crate::error::{Error, Result};
use crate::output::metrics::MetricsOutput;
use crate::settings::{self, World};

/// Most steps of an axis: eleven days of seconds. A slip of the finger in `--step` is told at once,
/// not when memory is full.
const MAX_INTERVALS: u64 = 1_000_000;

pub(super) fn run(
    world: &World,
    args: &QueryArgs,
    query: TypedQuery,
    expr: &MetricsExpr,
) -> Result<Success> {
    refuse_options_of_searches(args)?;
    let format = format(world, args)?;
    let request = request(world, args)?;
    let is_instant = request.kind == MetricsKind::Instant;
    let asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    let options = asking.options.clone();
    let ended = asking.ask(move |session| async move {
        let (source, tenants) = (&session.source, &session.tenants);
        let outcome = session.engine.metrics(source, tenants, &query, &request, &options).await?;
        Ok::<Outcome<MetricsAnswer>, Error>(outcome)
    });
    let (answer, told) = split(whole(ended)?);
    let output = MetricsOutput {
        answer: &answer,
        stats: &told.stats,
        partial: told.partial.as_deref(),
        is_instant,
        expr,
        prometheus_json: args.metrics.prometheus_json,
    };
    world.print(|out| output.write(out, format, &world.terminal))?;
    asking.finish(&told, answer.series.is_empty(), "no series")
}

fn request(world: &World, args: &QueryArgs) -> Result<MetricsRequest> {
    let defaults = MetricsRequest::default();
    let exemplars = args.metrics.exemplars.unwrap_or(0);
    Ok(MetricsRequest {
        range: world.metrics_range(&args.time)?,
        kind: match args.metrics.instant {
            true => MetricsKind::Instant,
            false => {
                MetricsKind::Range { step_nanos: settings::step(args.metrics.step.as_deref())? }
            }
        },
        exemplars,
        max_exemplars: defaults.max_exemplars.max(exemplars),
        max_intervals: MAX_INTERVALS,
        ..defaults
    })
}

fn format(world: &World, args: &QueryArgs) -> Result<QueryFormat> {
    match (args.metrics.prometheus_json, args.output) {
        (false, format) => Ok(world.metrics_output(format)),
        (true, QueryFormat::Auto | QueryFormat::Prom) => Ok(QueryFormat::Prom),
        (true, _) => Err(Error::usage("--prometheus-json is a form of its own")
            .hint("leave out --output, or write -o prom")),
    }
}

/// An option that does nothing would be taken for one that did.
fn refuse_options_of_searches(args: &QueryArgs) -> Result<()> {
    if args.page.after.is_some() {
        return Err(Error::usage("--after is for searches, and this query computes metrics")
            .hint("an answer of series has no pages"));
    }
    if args.limit.is_some() {
        return Err(Error::usage("--limit is for searches, and this query computes metrics")
            .hint("`| topk(5)` keeps the five largest series of each step"));
    }
    if args.spans_per_spanset.is_some() {
        return Err(Error::usage(
            "--spans-per-spanset is for searches, and this query computes metrics",
        ));
    }
    Ok(())
}
