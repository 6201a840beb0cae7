//! `traceql lint`: finds queries in files, judges them, tells.

use std::sync::Arc;

use traceql_engine::tags::{TagNames, TagNamesRequest};
use traceql_engine::{Progress, QueryOptions};

use super::whole;
use crate::Success;
use crate::args::SourceArgs;
use crate::check_args::LintArgs;
use crate::diagnostic::Page;
use crate::error::{Error, Kind, Result};
use crate::lint::find::find;
use crate::lint::report::{Reported, end, sarif, text};
use crate::lint::rules::Against;
use crate::lint::{Finding, Level};
use crate::output::to_stdout;
use crate::session::SessionOptions;
use crate::settings::{self, World};
use crate::supervise::Runtimes;

pub(crate) fn run(world: &World, args: &LintArgs) -> Result<Success> {
    let files = find(&args.paths)?;
    let names = args.source.as_ref().map(|source| names(world, args, source)).transpose()?;
    let against = Against { dialect: world.dialect, names };
    let mut reports = Vec::new();
    for (file, queries) in &files {
        for found in queries {
            let reported = |finding: Finding| Reported { file, found, finding };
            reports.extend(against.judge(found).into_iter().map(reported));
        }
    }
    let as_sarif = || {
        sarif(&reports)
            .map_err(|error| Error::new(Kind::Failed, format!("cannot write JSON: {error}")))
    };
    if let Some(Some(path)) = &args.sarif {
        std::fs::write(path, as_sarif()?).map_err(|error| {
            Error::new(Kind::Failed, format!("cannot write {}: {error}", path.display()))
        })?;
    }
    if let Some(None) = &args.sarif {
        let document = as_sarif()?;
        to_stdout(|out| out.write_all(document.as_bytes()))?;
    } else {
        let n_queries = files.iter().map(|(_, queries)| queries.len()).sum();
        to_stdout(|out| {
            for reported in &reports {
                out.write_all(text(reported, Page::of_stdout(&world.terminal)).as_bytes())?;
            }
            out.write_all(end(&reports, n_queries, files.len()).as_bytes())
        })?;
    }
    let fails_from = if args.deny_warnings { Level::Warning } else { Level::Error };
    match reports.iter().any(|reported| reported.finding.level >= fails_from) {
        true => Ok(Success::CheckFailed),
        false => Ok(Success::Answered),
    }
}

/// The attributes that a source has.
fn names(world: &World, args: &LintArgs, source: &str) -> Result<TagNames> {
    let options = QueryOptions {
        threads: settings::threads(None),
        now_unix_nanos: i64::try_from(world.now_unix_nanos).ok(),
        ..QueryOptions::default()
    };
    let runtimes = Runtimes::start(options.threads)?;
    let source = SourceArgs {
        source: Some(source.to_owned()),
        tenant: args.tenant.clone(),
        stores: args.stores.clone(),
    };
    let session = SessionOptions::new(world, &source, runtimes.io())?;
    let progress: Arc<Progress> = Arc::default();
    let ended = runtimes.supervise(&world.terminal, None, &progress, async move {
        let session = session.open().await?;
        let (source, tenants) = (&session.source, &session.tenants);
        let request = TagNamesRequest::default();
        Ok(session.engine.tag_names(source, tenants, &request, &options).await?)
    });
    runtimes.stop();
    let outcome = whole(ended)?;
    for warning in &outcome.warnings {
        world.terminal.warn(warning);
    }
    match outcome.partial {
        Some(why) => Err(Error::new(Kind::Partial, format!("not all attributes are known: {why}"))),
        None => Ok(outcome.answer),
    }
}
