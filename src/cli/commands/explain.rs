//! `traceql explain`: each stage of one query, for people.

use traceql_engine::{ExplainMode, Explanation};

use super::{Asking, whole};
use crate::Success;
use crate::args::ExplainArgs;
use crate::error::{Error, Result};
use crate::settings::{self, World};
use crate::terminal::HEADING;

pub(crate) fn run(world: &World, args: &ExplainArgs) -> Result<Success> {
    let (name, text) = settings::query_text(&args.text)?;
    let refuse = |error| Error::query(&name, &text, error);
    let parsed = traceql_language::parse(&text, world.dialect).map_err(refuse)?;
    let query = traceql_language::analyze(&parsed, world.dialect).map_err(refuse)?;
    let mode = match (args.analyze, args.dry_run) {
        (true, _) => ExplainMode::Analyze,
        (_, true) => ExplainMode::DryRun,
        _ => ExplainMode::Plan,
    };
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    asking.options.limit = args.limit.or(world.config.limit()).unwrap_or(asking.options.limit);
    asking.options.spans_per_spanset = args.spans_per_spanset;
    let options = asking.options.clone();
    let ended = asking.ask(move |session| async move {
        let (source, tenants) = (&session.source, &session.tenants);
        Ok(session.engine.explain(source, tenants, &query, &options, mode).await?)
    });
    let explanation: Explanation = whole(ended)?;
    world.print(|out| {
        for (i, (title, body)) in explanation.sections.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{}", world.terminal.stdout.paint(HEADING, title))?;
            for line in body.lines() {
                writeln!(out, "  {line}")?;
            }
        }
        Ok(())
    })?;
    Ok(Success::Answered)
}
