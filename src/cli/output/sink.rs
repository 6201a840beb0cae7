//! Where answers go: standard output, a pager that starts once an answer is longer than the screen, or
//! a file.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use super::to_stdout;
use crate::error::Result;
use crate::terminal::Terminal;

/// Where answers go.
#[derive(Clone, Debug, Default)]
pub(crate) enum Sink {
    /// Standard output.
    #[default]
    Stdout,
    /// The screen, or a program that pages what does not fit on it: its command line.
    Pager(String),
    /// A file, written to its end.
    File(Arc<File>),
}

impl Sink {
    /// Writes an answer.
    pub(crate) fn print(
        &self,
        terminal: &Terminal,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        match (self, terminal.height) {
            (Self::Pager(command), Some(height)) if terminal.stdout_is_terminal => {
                let mut pager = Pager::new(command, usize::from(height));
                let written = write(&mut pager).and_then(|()| pager.finish());
                match written {
                    // Who leaves the pager has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    written => Ok(written?),
                }
            }
            (Self::File(file), _) => {
                let mut out = io::BufWriter::new(&**file);
                write(&mut out)?;
                Ok(out.flush()?)
            }
            _ => to_stdout(write),
        }
    }
}

/// Holds back what fits on a screen; more goes to a program that is started then.
struct Pager<'a> {
    command: &'a str,
    /// Lines that fit, one left for the prompt.
    lines_left: usize,
    held: Vec<u8>,
    running: Option<(Child, ChildStdin)>,
    /// The program could not be started: everything goes to standard output.
    failed: bool,
}

impl<'a> Pager<'a> {
    fn new(command: &'a str, height: usize) -> Self {
        let lines_left = height.saturating_sub(1);
        Self { command, lines_left, held: Vec::new(), running: None, failed: false }
    }

    fn start(&mut self) -> io::Result<()> {
        let child = Command::new("sh").args(["-c", self.command]).stdin(Stdio::piped()).spawn();
        match child {
            Ok(mut child) => self.running = child.stdin.take().map(|stdin| (child, stdin)),
            Err(_) => self.failed = true,
        }
        let held = std::mem::take(&mut self.held);
        self.write_all(&held)
    }

    fn finish(mut self) -> io::Result<()> {
        match self.running.take() {
            Some((mut child, stdin)) => {
                drop(stdin);
                child.wait().map(drop)
            }
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&self.held)?;
                out.flush()
            }
        }
    }
}

impl Write for Pager<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((_, stdin)) = &mut self.running {
            return stdin.write(bytes);
        }
        if self.failed {
            return io::stdout().lock().write(bytes);
        }
        self.held.extend_from_slice(bytes);
        let n_lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        if n_lines > self.lines_left {
            self.start()?;
        }
        self.lines_left = self.lines_left.saturating_sub(n_lines);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.running {
            Some((_, stdin)) => stdin.flush(),
            None => Ok(()),
        }
    }
}

impl Drop for Pager<'_> {
    fn drop(&mut self) {
        // After an error the program still has the terminal: it is waited for.
        if let Some((mut child, stdin)) = self.running.take() {
            drop(stdin);
            child.wait().ok();
        }
    }
}
