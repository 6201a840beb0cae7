//! The `traceql` command line: arguments to validated options to one command. The only code that
//! prints, reads the environment and the clock, and decides how the process ends.

mod args;
mod check;
mod check_args;
mod commands;
mod compact_args;
mod config;
mod config_args;
mod diagnostic;
mod diff;
mod diff_args;
mod document;
mod error;
mod generator_args;
mod host;
mod ingest_args;
mod lint;
mod metric_label_args;
mod output;
mod page_args;
mod repl;
mod role_args;
mod serve_args;
mod serve_config;
mod session;
mod settings;
mod sql_args;
mod supervise;
mod terminal;
mod tracing_args;
mod units;
mod write_args;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::num::{IntErrorKind, ParseIntError};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};

use args::{Command, CommandLine};
use config::Config;
use error::{Error, Kind, Result};
use output::sink::Sink;
use serve_config::ServeFile;
use settings::World;
use terminal::Terminal;

/// Exit code of a command that did its work and found that something is not as it should be.
const NOT_AS_ASKED: u8 = 1;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Success {
    /// It answered.
    Answered,
    /// It answered that there is nothing, and this was asked for as an exit code.
    NothingMatched,
    /// It checked something, which did not hold.
    CheckFailed,
}

/// Runs the command that the process was started with. Everything that goes wrong has been said on
/// standard error when this returns.
#[must_use]
pub fn run() -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    run_with(std::env::args_os(), environment, now_unix_nanos())
}

/// Reads a text as a suite of checks and as files of settings, and draws what is wrong with it: what
/// people write by hand and `fuzz/` throws at it.
#[doc(hidden)]
pub fn read_documents(text: &str) {
    let file =
        || document::File { path: "text".into(), name: "text".to_owned(), text: text.to_owned() };
    let reading = check::suite::Reading {
        dialect: traceql_language::Dialect::Default,
        now_unix_nanos: 1_767_225_600_000_000_000,
        home: None,
    };
    let errors = [
        check::suite::check(file(), &reading).err(),
        config::check(&file()).err(),
        ServeFile::of(&file()).err(),
    ];
    for error in errors.into_iter().flatten() {
        // It names the text, and has something to say.
        assert!(diagnostic::render(&error, diagnostic::Page::PLAIN).len() > "error: \n".len());
    }
}

/// The clock, for the few who need it after the start.
fn now_unix_nanos() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}

fn run_with(
    arguments: impl Iterator<Item = OsString>,
    environment: Vec<(String, String)>,
    now_unix_nanos: u64,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let variable = |name: &str| {
        environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    // Once to find the file of settings, once more with what it says.
    let asked = match CommandLine::try_parse_from(&arguments) {
        Ok(line) => line,
        // Beside a file some options say more.
        Err(error) => match serve_config::asked(&arguments) {
            Some(line) => line,
            None => return refused(&error),
        },
    };
    let terminal = Terminal::detect(asked.common.color, asked.common.quiet, variable);
    let config = match Config::load(&asked.common, &environment) {
        Ok(config) => config,
        Err(error) => {
            report(&terminal, &error);
            return ExitCode::from(error.kind.exit_code());
        }
    };
    let served = match served(&asked, &environment) {
        Ok(served) => served,
        Err(error) => {
            report(&terminal, &error);
            return ExitCode::from(error.kind.exit_code());
        }
    };
    let line = match config.parse(&arguments, served) {
        Ok(line) => line,
        Err(error) => return refused(&error),
    };
    let terminal = Terminal::detect(line.common.color, line.common.quiet, variable);
    let world = World {
        environment: config.environment(),
        config: Arc::new(config),
        now_unix_nanos,
        terminal,
        dialect: line.common.dialect.into(),
        sink: Sink::Stdout,
        host: None,
    };
    match dispatch(&world, &line) {
        Ok(Success::Answered) => ExitCode::SUCCESS,
        Ok(Success::NothingMatched | Success::CheckFailed) => ExitCode::from(NOT_AS_ASKED),
        Err(error) => {
            report(&world.terminal, &error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// The file of settings that `serve` was given.
fn served(asked: &CommandLine, environment: &[(String, String)]) -> Result<Option<Arc<ServeFile>>> {
    let Some(Command::Serve(args)) = &asked.command else { return Ok(None) };
    let Some(path) = &args.config.config_file else { return Ok(None) };
    let environment = args.config.config_expand_env.then_some(environment);
    Ok(Some(Arc::new(ServeFile::load(path, environment)?)))
}

/// Help and version go to standard output and are no failure. A closed pipe is none either.
fn refused(error: &clap::Error) -> ExitCode {
    match about_number(error) {
        Some(plain) => drop(plain.print()),
        None => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code()))
}

/// The same error about a number in words for a person: those of Rust's parser are for programmers.
fn about_number(error: &clap::Error) -> Option<clap::Error> {
    use clap::error::{ContextKind, ContextValue};
    let why = std::error::Error::source(error)?.downcast_ref::<ParseIntError>()?;
    let tip = match why.kind() {
        IntErrorKind::PosOverflow => "the number is too large",
        IntErrorKind::NegOverflow => "the number is too small",
        IntErrorKind::Zero => "1 is the least",
        _ => "a whole number is expected",
    };
    let mut plain = clap::Error::new(error.kind()).with_cmd(&CommandLine::command());
    for (kind, value) in error.context() {
        plain.insert(kind, value.clone());
    }
    let tips = ContextValue::StyledStrs(vec![tip.into()]);
    plain.insert(ContextKind::Suggested, tips);
    Some(plain)
}

fn dispatch(world: &World, line: &CommandLine) -> Result<Success> {
    let Some(command) = &line.command else {
        if !io::stdin().is_terminal() || !world.terminal.stdout_is_terminal {
            return Err(Error::usage("no command given")
                .hint("`traceql query` asks one question; `traceql --help` lists the commands"));
        }
        return repl::run(world, line.common.color, &world.config.repl()?.1);
    };
    match command {
        Command::Query(args) => commands::query::run(world, args),
        Command::Trace(args) => commands::trace::run(world, args),
        Command::Tags(args) => commands::tags::run(world, args),
        Command::Values(args) => commands::values::run(world, args),
        Command::Explain(args) => commands::explain::run(world, args),
        Command::Sql(args) => commands::sql::run(world, args),
        Command::Blocks(args) => commands::blocks::run(world, &args.command),
        Command::Compact(args) => commands::compact::run(world, args),
        Command::Convert(args) => commands::convert::run(world, args),
        Command::Export(args) => commands::export::run(world, args),
        Command::Diff(args) => commands::diff::run(world, args),
        Command::Fmt(args) => commands::fmt::run(world, args),
        Command::Repl(args) => repl::run(world, line.common.color, args),
        Command::Test(args) => commands::test::run(world, args),
        Command::Lint(args) => commands::lint::run(world, args),
        Command::Serve(args) => commands::serve::run(world, args),
        Command::Config(args) => commands::config::run(world, args),
        Command::Completions { shell } => commands::generate::completions(*shell),
        Command::Man { folder } => commands::generate::man(world, folder.as_deref()),
    }
}

fn report(terminal: &Terminal, error: &Error) {
    if error.kind != Kind::BrokenPipe {
        let text = diagnostic::render(error, diagnostic::Page::of_stderr(terminal));
        // There is nobody to tell if standard error is closed.
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }
}
