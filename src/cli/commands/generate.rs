//! `traceql completions` and `traceql man`: made from the same description of the command line that
//! reads it, so that they cannot differ from it.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Success;
use crate::args::CommandLine;
use crate::error::{Error, Kind, Result};
use crate::output::to_stdout;
use crate::settings::World;

const NAME: &str = "traceql";

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<Success> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), NAME, &mut script);
    to_stdout(|out| out.write_all(&script))?;
    Ok(Success::Answered)
}

/// Prints the page of the whole, or writes one page a command.
pub(crate) fn man(world: &World, folder: Option<&Path>) -> Result<Success> {
    let command = CommandLine::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        to_stdout(|out| out.write_all(&page))?;
        return Ok(Success::Answered);
    };
    fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder)).map_err(
        |error| Error::new(Kind::Failed, format!("cannot write to {}: {error}", folder.display())),
    )?;
    world
        .terminal
        .note(&format!("`man -l {}` shows the first page", folder.join("traceql.1").display()));
    Ok(Success::Answered)
}
