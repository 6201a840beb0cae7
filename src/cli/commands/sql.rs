//! `traceql sql`: statements over the tables of traces, their rows printed while they come.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use traceql_engine::tables::{CopyTo, SqlStatement};
use traceql_engine::{Error as EngineError, QueryOptions};
use traceql_language::{Error as QueryError, TextRange};

use super::{Asking, Told, split};
use crate::Success;
use crate::args::QueryText;
use crate::error::{Error, Result};
use crate::output::rows::{Output, RowsWriter};
use crate::output::sink::Sink;
use crate::session::Session;
use crate::settings::{self, World};
use crate::sql_args::{SqlArgs, SqlFormat};
use crate::supervise::Ended;
use crate::terminal::{HEADING, Terminal};
use crate::units::plural;

/// Forms that a file's ending names.
const ENDINGS: &str = "endings that say the form: .parquet, .arrow, .csv, .json, .ndjson, .md";

/// How the rows of statements are printed.
#[derive(Clone)]
struct Printing {
    /// The form, not `Auto`.
    format: SqlFormat,
    /// The file they go to; the screen without.
    file: Option<PathBuf>,
    /// Where they go without a file.
    screen: Output,
    /// Who reads it.
    terminal: Terminal,
}

/// What came of some statements.
#[derive(Debug, Default)]
struct SqlRun {
    /// What there is to say besides the rows, of all statements together.
    told: Told,
    /// Rows of the last statement.
    n_rows: u64,
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
    let screen = printing.screen.clone();
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    // Rows and a progress bar on one terminal would write over each other.
    asking.shows_progress = printing.file.is_some() || !world.terminal.stdout_is_terminal;
    let options = asking.options.clone();
    let ended = asking.ask(move |session| async move {
        run_sql(&session, &options, &name, &text, &printing).await
    });
    // A pager has the terminal until it is left, also after an error.
    screen.leave()?;
    let partial = "what was printed is not all; a file is not written in part";
    match ended {
        Ended::Done(Err(error)) if screen.was_left(&error) => Ok(Success::Answered),
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
async fn run_sql(
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
            writeln!(printing.screen.clone())?;
        }
        let (source, tenants) = (&session.source, &session.tenants);
        let mut answer =
            session.engine.sql(source, tenants, statement, options).await.map_err(refuse)?;
        if statement.is_explain() && printing.is_for_people() {
            while let Some(batch) = answer.next().await.map_err(refuse)? {
                run.n_rows = batch.num_rows() as u64;
                print_plan(&batch, &mut printing.screen.clone(), &printing.terminal)?;
            }
        } else {
            let (file, format) = match statement.copy_to() {
                None => (printing.file.clone(), printing.format),
                Some(copy) => copy_target(copy).map(|(file, format)| (Some(file), format))?,
            };
            let output = match &file {
                None => printing.screen.clone(),
                Some(file) => Output::file(file)?,
            };
            let mut rows = RowsWriter::new(output, format, answer.schema(), &printing.terminal)?;
            while let Some(batch) = answer.next().await.map_err(refuse)? {
                rows.write(&batch)?;
            }
            run.n_rows = rows.finish()?;
            if let Some(path) = &file {
                let n_rows = plural(run.n_rows, "row");
                printing.terminal.note(&format!("{n_rows} written to {}", path.display()));
            }
        }
        let ((), told) = split(answer.finish());
        run.told.add(told);
    }
    Ok(run)
}

impl Printing {
    fn is_for_people(&self) -> bool {
        self.file.is_none() && matches!(self.format, SqlFormat::Table | SqlFormat::Wide)
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
    let (name, text) =
        settings::query_text(&QueryText { query: args.sql.clone(), named: None, file })?;
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
    let terminal = world.terminal;
    let format = match (args.output, &args.out) {
        (SqlFormat::Auto, Some(path)) => {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            SqlFormat::named(ending).ok_or_else(|| {
                Error::usage(format!("the name of {} does not say its form", path.display()))
                    .hint(format!("give --output, or one of the {ENDINGS}"))
            })?
        }
        (SqlFormat::Auto, None) => {
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
    if format.is_binary() && args.out.is_none() && terminal.stdout_is_terminal {
        return Err(Error::usage("Parquet and Arrow are no text for a terminal")
            .hint("write it with --out FILE, or pipe it on"));
    }
    let sink = match (&world.sink, &args.out) {
        // At a prompt it has been decided.
        (Sink::Stdout, None) if world.host.is_none() && std::io::stdin().is_terminal() => {
            Sink::Pager(world.pager().to_owned())
        }
        (sink, _) => sink.clone(),
    };
    let screen = Output::screen(sink.open(&terminal));
    Ok(Printing { format, file: args.out.clone(), screen, terminal })
}

fn copy_target(copy: &CopyTo) -> Result<(PathBuf, SqlFormat)> {
    let CopyTo { target, format } = copy;
    if target.contains("://") || target.is_empty() {
        return Err(Error::usage(format!("COPY writes to a file, and {target:?} names none")));
    }
    let path = PathBuf::from(target);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let named = format.as_deref().unwrap_or(ending);
    match SqlFormat::named(named) {
        Some(form) => Ok((path, form)),
        None => Err(Error::usage(format!("COPY does not know the form of {target:?}"))
            .hint(format!("write STORED AS PARQUET, or one of the {ENDINGS}"))),
    }
}

/// A plan as people read it: each under its kind.
fn print_plan(
    batch: &arrow::array::RecordBatch,
    out: &mut Output,
    terminal: &Terminal,
) -> Result<()> {
    use arrow::array::AsArray as _;
    let [kinds, plans] = batch.columns() else { return Ok(()) };
    let (Some(kinds), Some(plans)) = (kinds.as_string_opt::<i32>(), plans.as_string_opt::<i32>())
    else {
        return Ok(());
    };
    for (kind, plan) in kinds.iter().zip(plans.iter()) {
        writeln!(out, "{}", terminal.stdout.paint(HEADING, kind.unwrap_or_default()))?;
        for line in plan.unwrap_or_default().lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(out.flush()?)
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
