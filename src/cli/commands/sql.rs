//! `traceql sql`: statements over the tables of traces, their rows printed while they come.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use traceql_engine::tables::{CopyTo, SqlStatement};
use traceql_engine::{Error as EngineError, QueryOptions, QueryStats};
use traceql_language::{Error as QueryError, TextRange};

use super::{Asking, Told, split};
use crate::Success;
use crate::args::QueryText;
use crate::error::{Error, Result};
use crate::output::rows::{RowsWriter, Target};
use crate::output::to_stdout;
use crate::session::Session;
use crate::settings::{self, World};
use crate::sql_args::{SqlArgs, SqlFormat};
use crate::supervise::Ended;
use crate::terminal::{HEADING, Terminal};
use crate::units::plural;

/// Forms that a file's ending names.
const ENDINGS: &str = "endings that say the form: .parquet, .arrow, .csv, .json, .ndjson, .md";

/// How the rows of statements are printed.
#[derive(Clone, Debug)]
pub(crate) struct Printing {
    /// The form, not `Auto`.
    pub(crate) format: SqlFormat,
    /// Where to.
    pub(crate) target: Target,
    /// Who reads standard output.
    pub(crate) terminal: Terminal,
}

/// What came of some statements.
#[derive(Clone, Debug, Default)]
pub(crate) struct SqlRun {
    /// What there is to say besides the rows, of all statements together.
    pub(crate) told: Told,
    /// Rows of the last statement.
    pub(crate) n_rows: u64,
}

pub(crate) fn run(world: &World, args: &SqlArgs) -> Result<Success> {
    let (name, text) = text(args)?;
    // A statement that is refused is said before threads are started.
    let statements = parse(&name, &text)?;
    statements
        .iter()
        .filter_map(SqlStatement::copy_to)
        .try_for_each(|copy| copy_target(copy).map(drop))?;
    let printing = printing(world, args, &statements)?;
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    // Rows and a progress bar on one terminal would write over each other.
    asking.shows_progress = printing.target != Target::Stdout || !world.terminal.stdout_is_terminal;
    let options = asking.options.clone();
    let ended = asking.ask(move |session| async move {
        run_sql(&session, &options, &name, &text, &printing).await
    });
    let partial = "what was printed is not all; a file is not written in part";
    match ended {
        Ended::Done(result) => {
            let SqlRun { told, n_rows } = result?;
            asking.finish(&told, n_rows == 0, "no rows")
        }
        Ended::Interrupted => Err(Error::interrupted().note(partial)),
        Ended::TimedOut(after) => Err(Error::timeout(after).note(partial)),
    }
}

/// Runs the statements of a text on an opened session, one after the other, and prints the rows of
/// each while they come. `name` is what messages call the text.
pub(crate) async fn run_sql(
    session: &Session,
    options: &QueryOptions,
    name: &str,
    text: &str,
    printing: &Printing,
) -> Result<SqlRun> {
    let refuse = |error| refused(name, text, error);
    let mut run = SqlRun::default();
    for (at, statement) in parse(name, text)?.iter().enumerate() {
        if at > 0 && printing.is_for_people() {
            to_stdout(|out| writeln!(out))?;
        }
        let (source, tenants) = (&session.source, &session.tenants);
        let mut answer =
            session.engine.sql(source, tenants, statement, options).await.map_err(refuse)?;
        if statement.is_explain() && printing.is_for_people() {
            while let Some(batch) = answer.next().await.map_err(refuse)? {
                run.n_rows = batch.num_rows() as u64;
                print_plan(&batch, &printing.terminal)?;
            }
        } else {
            let (target, format) = match statement.copy_to() {
                None => (printing.target.clone(), printing.format),
                Some(copy) => copy_target(copy)?,
            };
            let mut rows = RowsWriter::new(&target, format, answer.schema(), &printing.terminal)?;
            while let Some(batch) = answer.next().await.map_err(refuse)? {
                rows.write(&batch)?;
            }
            run.n_rows = rows.finish()?;
            if let Target::File(path) = &target {
                let n_rows = plural(run.n_rows, "row");
                printing.terminal.note(&format!("{n_rows} written to {}", path.display()));
            }
        }
        let ((), told) = split(answer.finish());
        add(&mut run.told, told);
    }
    Ok(run)
}

impl Printing {
    fn is_for_people(&self) -> bool {
        self.target == Target::Stdout && matches!(self.format, SqlFormat::Table | SqlFormat::Wide)
    }
}

fn text(args: &SqlArgs) -> Result<(String, String)> {
    let file = match (&args.sql, &args.file) {
        (None, None) if std::io::stdin().is_terminal() => {
            return Err(Error::usage("no statement given")
                .hint("write one in quotes: traceql sql --source sample: 'SELECT name FROM spans LIMIT 5'")
                .hint("-f FILE reads statements from a file, -f - from standard input"));
        }
        (None, None) => Some(PathBuf::from("-")),
        (_, file) => file.clone(),
    };
    let (name, text) = settings::query_text(&QueryText { query: args.sql.clone(), file })?;
    Ok((if args.sql.is_some() { "sql".to_owned() } else { name }, text))
}

fn parse(name: &str, text: &str) -> Result<Vec<SqlStatement>> {
    let statements = SqlStatement::parse(text).map_err(|error| refused(name, text, error))?;
    if statements.is_empty() {
        return Err(Error::usage(format!("there is no statement in {name}"))
            .hint("SELECT name, duration FROM spans LIMIT 5"));
    }
    Ok(statements)
}

/// Where the rows of statements go, and as what.
fn printing(world: &World, args: &SqlArgs, statements: &[SqlStatement]) -> Result<Printing> {
    let target = match &args.out {
        None => Target::Stdout,
        Some(path) => Target::File(path.clone()),
    };
    let terminal = world.terminal;
    let format = match (args.output, &target) {
        (SqlFormat::Auto, Target::File(path)) => {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            SqlFormat::named(ending).ok_or_else(|| {
                Error::usage(format!("the name of {} does not say its form", path.display()))
                    .hint(format!("give --output, or one of the {ENDINGS}"))
            })?
        }
        (SqlFormat::Auto, Target::Stdout) => {
            let is_plan = statements.iter().all(SqlStatement::is_explain);
            if terminal.stdout_is_terminal || is_plan {
                SqlFormat::Table
            } else {
                SqlFormat::Ndjson
            }
        }
        (format, _) => format,
    };
    let n_printed = statements.iter().filter(|statement| statement.copy_to().is_none()).count();
    if n_printed > 1 && (args.out.is_some() || format.is_binary() || format == SqlFormat::Json) {
        return Err(Error::usage(format!("{n_printed} statements cannot share one file"))
            .hint("ask one statement at a time, or COPY (SELECT …) TO 'FILE' each"));
    }
    if format.is_binary() && target == Target::Stdout && terminal.stdout_is_terminal {
        return Err(Error::usage("such a file is no text for a terminal")
            .hint("write it with --out FILE, or pipe it on"));
    }
    Ok(Printing { format, target, terminal })
}

fn copy_target(copy: &CopyTo) -> Result<(Target, SqlFormat)> {
    let CopyTo { target, format } = copy;
    if target.contains("://") || target.is_empty() {
        return Err(Error::usage(format!("COPY writes to a file, and {target:?} names none")));
    }
    let path = PathBuf::from(target);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let named = format.as_deref().unwrap_or(ending);
    match SqlFormat::named(named) {
        Some(form) => Ok((Target::File(path), form)),
        None => Err(Error::usage(format!("COPY does not know the form of {target:?}"))
            .hint(format!("write STORED AS PARQUET, or one of the {ENDINGS}"))),
    }
}

/// A plan as people read it: each under its kind.
fn print_plan(batch: &arrow::array::RecordBatch, terminal: &Terminal) -> Result<()> {
    use arrow::array::AsArray as _;
    let [kinds, plans] = batch.columns() else { return Ok(()) };
    let (Some(kinds), Some(plans)) = (kinds.as_string_opt::<i32>(), plans.as_string_opt::<i32>())
    else {
        return Ok(());
    };
    to_stdout(|out| {
        for (kind, plan) in kinds.iter().zip(plans.iter()) {
            writeln!(out, "{}", terminal.stdout.paint(HEADING, kind.unwrap_or_default()))?;
            for line in plan.unwrap_or_default().lines() {
                writeln!(out, "  {line}")?;
            }
        }
        Ok(())
    })
}

/// An error of a statement, drawn under its text where its place is known.
fn refused(name: &str, text: &str, error: EngineError) -> Error {
    let EngineError::Sql(error) = error else { return error.into() };
    match error.range {
        Some(range) => {
            let place = TextRange::new(range.start, range.end);
            let mut refused = QueryError::parse(place, error.message);
            refused.hints = error.hints;
            Error::query(name, text, refused)
        }
        None => error.hints.into_iter().fold(Error::usage(error.message), Error::hint),
    }
}

/// Adds what a statement told to what the others have.
fn add(sum: &mut Told, told: Told) {
    let Told { stats, partial, warnings } = told;
    let of = &mut sum.stats;
    *of = QueryStats {
        total_blocks: of.total_blocks.max(stats.total_blocks),
        selected_blocks: of.selected_blocks.max(stats.selected_blocks),
        selected_block_bytes: of.selected_block_bytes.max(stats.selected_block_bytes),
        units_total: of.units_total + stats.units_total,
        units_done: of.units_done + stats.units_done,
        inspected_traces: of.inspected_traces + stats.inspected_traces,
        inspected_spans: of.inspected_spans + stats.inspected_spans,
        bytes_read: of.bytes_read + stats.bytes_read,
        requests: of.requests + stats.requests,
        row_groups_skipped: of.row_groups_skipped + stats.row_groups_skipped,
        pages_read: of.pages_read + stats.pages_read,
        elapsed: of.elapsed + stats.elapsed,
    };
    sum.partial = sum.partial.take().or(partial);
    for warning in warnings {
        if !sum.warnings.contains(&warning) {
            sum.warnings.push(warning);
        }
    }
}
