//! `traceql diff`: two traces, or two sets of traces, side by side by their calls.

mod gather;

use traceql_blocks::model::TraceId;
use traceql_engine::QueryOptions;
use traceql_language::TypedQuery;

use self::gather::{Gathered, gather};
use super::{Asking, whole};
use crate::Success;
use crate::args::{SourceArgs, TimeArgs};
use crate::diff::{Tolerance, compare};
use crate::diff_args::{AgainstArgs, DiffArgs};
use crate::error::{Error, Result};
use crate::output::diff::{DiffOutput, Side as ShownSide};
use crate::settings::{self, World};
use crate::units::{self, format_count};

/// What stands on one side of the comparison, as it was written.
#[derive(Clone, Debug)]
enum Operand {
    /// A trace of the source.
    Trace(TraceId),
    /// The traces that match.
    Query(String, Box<TypedQuery>),
    /// All traces of a file, which is a source by itself.
    File(String),
}

/// An operand and where it is.
struct Side {
    operand: Operand,
    source: SourceArgs,
    time: TimeArgs,
    /// How much earlier than that, nanoseconds.
    offset_nanos: u64,
}

pub(crate) fn run(world: &World, args: &DiffArgs) -> Result<Success> {
    let [a, b] = sides(world, args)?;
    let tolerance = tolerance(args)?;
    let mut asking = Asking::new(world, &b.source, &b.time, &args.run)?;
    asking.options.limit = args.limit;
    asking.options.spans_per_spanset = 1;
    let (options_a, options_b) = (options(world, &a, &asking.options)?, asking.options.clone());
    let (beside_a, beside_b) = (asking.beside(&a.source)?, asking.beside(&b.source)?);
    let (operand_a, operand_b) = (a.operand.clone(), b.operand.clone());
    let ended = asking.ask(move |session_b| async move {
        let session_a = match beside_a.name() == beside_b.name() {
            true => session_b.clone(),
            false => beside_a.open().await?,
        };
        let a = gather(&session_a, &operand_a, &options_a).await?;
        let b = gather(&session_b, &operand_b, &options_b).await?;
        Ok::<(Gathered, Gathered), Error>((a, b))
    });
    let (found_a, found_b) = whole(ended)?;
    let differences = compare(&found_a.calls, &found_b.calls, tolerance);
    let n_differ = differences.iter().filter(|found| !found.changes.is_empty()).count();
    let output = DiffOutput {
        a: shown(world, &a, &found_a)?,
        b: shown(world, &b, &found_b)?,
        differences: &differences,
        all: args.all,
    };
    let format = world.output(args.output.output);
    world.print(|out| output.write(out, format, &world.terminal))?;
    let mut is_empty = false;
    for (name, found) in [("A", &found_a), ("B", &found_b)] {
        if found.is_cut {
            let limit = format_count(args.limit as u64);
            let cut = format!("{name} is the newest {limit} traces; --limit 0 compares all");
            world.terminal.note(&cut);
        }
        if found.calls.n_traces() == 0 {
            is_empty = true;
            world.terminal.warn(&format!("nothing matched on side {name}"));
        }
    }
    let mut told = found_a.told;
    told.add(found_b.told);
    let success = asking.finish(&told, false, "")?;
    let differs = n_differ > 0 || is_empty;
    Ok(if args.run.exit_status && differs { Success::CheckFailed } else { success })
}

/// The two sides, checked: A is what was before, B is what is now.
fn sides(world: &World, args: &DiffArgs) -> Result<[Side; 2]> {
    let query = |text: &str| {
        search(world, text).map(|query| Operand::Query(text.to_owned(), Box::new(query)))
    };
    let a = match (&args.query, &args.a) {
        (Some(text), _) => query(text)?,
        (None, Some(text)) => operand(world, text)?,
        (None, None) => return Err(Error::usage("nothing to compare")),
    };
    let b = match &args.b {
        Some(text) => operand(world, text)?,
        None if args.against.is_any() && !matches!(a, Operand::File(_)) => a.clone(),
        None => {
            return Err(Error::usage("there is nothing to compare it with")
                .hint("name a second trace, file or query")
                .hint("of one query: what to ask before, by --against-source, --against-since, --against-offset"));
        }
    };
    let on_stdin = [&a, &b].into_iter().filter(|o| matches!(o, Operand::File(name) if name == "-"));
    if on_stdin.count() > 1 {
        return Err(Error::usage("standard input can be read once, for one side"));
    }
    let (against_time, offset_nanos) = against_time(args)?;
    let AgainstArgs { against_source, against_tenant, .. } = &args.against;
    let before = SourceArgs {
        source: against_source.clone().or_else(|| args.source.source.clone()),
        tenant: match against_tenant.as_slice() {
            [] => args.source.tenant.clone(),
            tenants => tenants.to_vec(),
        },
        ..args.source.clone()
    };
    Ok([
        Side::new(a, before, against_time, offset_nanos),
        Side::new(b, args.source.clone(), args.time.clone(), 0),
    ])
}

impl Side {
    fn new(operand: Operand, source: SourceArgs, time: TimeArgs, offset_nanos: u64) -> Self {
        let source = match &operand {
            Operand::File(path) => {
                SourceArgs { source: Some(path.clone()), tenant: Vec::new(), ..source }
            }
            _ => source,
        };
        Self { operand, source, time, offset_nanos }
    }

    fn range(&self, world: &World) -> Result<Option<(u64, u64)>> {
        let range = world.time_range(&self.time)?;
        let earlier = |nanos: u64| match nanos {
            u64::MAX => nanos,
            nanos => nanos.saturating_sub(self.offset_nanos),
        };
        Ok(range.map(|(start, end)| (earlier(start), earlier(end))))
    }
}

/// Tells traces, queries and files apart by how they are written.
fn operand(world: &World, text: &str) -> Result<Operand> {
    let text = text.trim();
    if text.starts_with(['{', '(']) {
        let query = search(world, text)?;
        return Ok(Operand::Query(text.to_owned(), Box::new(query)));
    }
    if let Ok(id) = settings::trace_id(text) {
        return Ok(Operand::Trace(id));
    }
    let is_there = text == "-" || std::path::Path::new(text).exists();
    // What no file can be is told once it is opened, with what to write instead.
    match is_there || text.contains("://") || text == "sample:" {
        true => Ok(Operand::File(text.to_owned())),
        false => Err(Error::usage(format!("{text:?} is no trace id, no file and no query"))
            .hint("an id is 1 to 32 hex digits, a query begins with a brace")),
    }
}

/// A query that selects traces.
fn search(world: &World, text: &str) -> Result<TypedQuery> {
    let mut query = world.compile(text)?;
    if query.metrics.is_some() {
        return Err(Error::usage("a query that computes metrics selects no traces")
            .hint("leave out the metrics function: its filter alone says which traces")
            .hint("`traceql test` compares metrics with a baseline"));
    }
    // Of too many the newest say most about what is now.
    query.hints.most_recent = true;
    Ok(query)
}

/// The time range of A, and how much earlier it is than that.
fn against_time(args: &DiffArgs) -> Result<(TimeArgs, u64)> {
    let AgainstArgs { against_since, against_start, against_end, against_offset, .. } =
        &args.against;
    let TimeArgs { since, start, end } = &args.time;
    let is_own = [against_since, against_start, against_end].into_iter().any(Option::is_some);
    if is_own {
        let (since, start, end) =
            (against_since.clone(), against_start.clone(), against_end.clone());
        return Ok((TimeArgs { since, start, end }, 0));
    }
    let offset = settings::duration("against-offset", against_offset.as_deref())?;
    if offset.is_some() && [since, start, end].into_iter().all(Option::is_none) {
        return Err(Error::usage("--against-offset moves a time range, and none is given").hint(
            "--since 1h --against-offset 1d compares the last hour with the same hour yesterday",
        ));
    }
    let nanos = offset.map_or(0, |offset| u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX));
    Ok((args.time.clone(), nanos))
}

fn tolerance(args: &DiffArgs) -> Result<Tolerance> {
    let text = args.tolerance.trim();
    let percent = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    let relative = match percent {
        Ok(percent) if (0.0..=10_000.0).contains(&percent) => percent / 100.0,
        _ => {
            return Err(Error::usage(format!("--tolerance: {text:?} is no percentage"))
                .hint("write 10% or 0%"));
        }
    };
    let floor = match args.floor.as_str() {
        "0" => Ok(0),
        text => units::parse_duration(text),
    };
    let floor_nanos = floor.map_err(|why| Error::usage(format!("--floor: {why}")))?;
    Ok(Tolerance { relative, floor_nanos })
}

/// How A is asked, where it differs from B.
fn options(world: &World, side: &Side, of_b: &QueryOptions) -> Result<QueryOptions> {
    Ok(QueryOptions { time_range: side.range(world)?, ..of_b.clone() })
}

/// A side as it is shown.
fn shown<'a>(world: &World, side: &Side, found: &'a Gathered) -> Result<ShownSide<'a>> {
    let source = side.source.source.as_deref().unwrap_or_default();
    let (what, has_range) = match &side.operand {
        Operand::Trace(id) => (format!("trace {id} of {source}"), false),
        Operand::Query(text, _) => {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            (format!("{text} of {source}"), true)
        }
        Operand::File(name) if name == "-" => ("standard input".to_owned(), false),
        Operand::File(name) => (name.clone(), false),
    };
    let range = side.range(world)?.filter(|_| has_range);
    Ok(ShownSide { what, range, calls: &found.calls })
}
