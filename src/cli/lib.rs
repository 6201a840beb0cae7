//! The `traceql` command line: arguments to validated options to one command. The only code that
//! prints, reads the environment and the clock, and decides how the process ends.

mod args;
mod commands;
mod diagnostic;
mod error;
mod output;
mod session;
mod settings;
mod sql_args;
mod supervise;
mod terminal;
mod units;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Command, CommandLine};
use error::{Error, Kind, Result};
use settings::World;
use terminal::Terminal;

/// Exit code of `--exit-status` if nothing matched.
const NOTHING_MATCHED: u8 = 1;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Success {
    /// It answered.
    Answered,
    /// It answered that there is nothing, and this was asked for as an exit code.
    NothingMatched,
}

/// Runs the command that the process was started with. Everything that goes wrong has been said on
/// standard error when this returns.
#[must_use]
pub fn run() -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let now = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
    run_with(std::env::args_os(), environment, now)
}

fn run_with(
    arguments: impl Iterator<Item = OsString>,
    environment: Vec<(String, String)>,
    now_unix_nanos: u64,
) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Help and version go to standard output and are no failure. A closed pipe is none either.
            drop(error.print());
            return ExitCode::from(
                u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code()),
            );
        }
    };
    let variable = |name: &str| {
        environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let terminal = Terminal::detect(line.common.color, line.common.quiet, variable);
    let world =
        World { environment, now_unix_nanos, terminal, dialect: line.common.dialect.into() };
    match dispatch(&world, &line.command) {
        Ok(Success::Answered) => ExitCode::SUCCESS,
        Ok(Success::NothingMatched) => ExitCode::from(NOTHING_MATCHED),
        Err(error) => {
            report(&world.terminal, &error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

fn dispatch(world: &World, command: &Command) -> Result<Success> {
    match command {
        Command::Query(args) => commands::query::run(world, args),
        Command::Trace(args) => commands::trace::run(world, args),
        Command::Tags(args) => commands::tags::run(world, args),
        Command::Values(args) => commands::values::run(world, args),
        Command::Explain(args) => commands::explain::run(world, args),
        Command::Sql(args) => commands::sql::run(world, args),
        Command::Blocks(args) => commands::blocks::run(world, &args.command),
        Command::Fmt(args) => commands::fmt::run(world, args),
        Command::Serve(args) => commands::serve::run(world, args),
    }
}

fn report(terminal: &Terminal, error: &Error) {
    if error.kind != Kind::BrokenPipe {
        let text = diagnostic::render(error, terminal.stderr);
        // There is nobody to tell if standard error is closed.
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }
}
