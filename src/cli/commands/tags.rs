//! `traceql tags`: attribute names by scope.

use traceql_engine::tags::{TagNames, TagNamesRequest};
use traceql_language::ir::AttributeScope;
use traceql_server::api::json;

use super::{Asking, filter, split, whole};
use crate::Success;
use crate::args::{OutputFormat, ScopeName, TagsArgs};
use crate::error::Result;
use crate::output::sheet::{Cell, Column, Sheet};
use crate::settings::World;

pub(crate) fn run(world: &World, args: &TagsArgs) -> Result<Success> {
    let format = world.output(args.output.output);
    let filter = filter(world, args.query.as_deref())?;
    let scope = match args.scope {
        None => None,
        Some(ScopeName::Resource) => Some(AttributeScope::Resource),
        Some(ScopeName::Span) => Some(AttributeScope::Span),
        Some(ScopeName::Event) => Some(AttributeScope::Event),
        Some(ScopeName::Link) => Some(AttributeScope::Link),
        Some(ScopeName::Instrumentation) => Some(AttributeScope::Instrumentation),
        Some(ScopeName::Intrinsic) => {
            // The intrinsics are those of the language; no data is needed to list them.
            let names = TagNames::new();
            world.print(|out| match format {
                OutputFormat::Json => {
                    writeln!(out, "{}", json::tag_names_v2_response(&names, true, None))
                }
                format => sheet(&names, true).write(out, format, &world.terminal),
            })?;
            return Ok(Success::Answered);
        }
    };
    let asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    let options = asking.options.clone();
    let request = TagNamesRequest { scope, filter, limit: args.limit };
    let ended = asking.ask(move |session| async move {
        let (source, tenants) = (&session.source, &session.tenants);
        Ok(session.engine.tag_names(source, tenants, &request, &options).await?)
    });
    let (names, told) = split(whole(ended)?);
    world.print(|out| match format {
        OutputFormat::Json => {
            let body = json::tag_names_v2_response(&names, scope.is_none(), Some(&told.stats));
            writeln!(out, "{body}")
        }
        format => sheet(&names, false).write(out, format, &world.terminal),
    })?;
    asking.finish(&told, names.is_empty(), "no attributes")
}

fn sheet(names: &TagNames, with_intrinsics: bool) -> Sheet {
    let columns = vec![Column::text("Scope", "scope"), Column::text("Name", "name")];
    let mut rows = Vec::new();
    for (scope, names) in names {
        let scope = json::scope_name(*scope);
        rows.extend(names.iter().map(|name| vec![Cell::text(scope), Cell::text(name)]));
    }
    if with_intrinsics {
        let intrinsics = json::LISTED_INTRINSICS;
        rows.extend(intrinsics.iter().map(|name| vec![Cell::text("intrinsic"), Cell::text(*name)]));
    }
    Sheet { columns, rows }
}
