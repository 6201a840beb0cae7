//! Where answers go: standard output, a pager that starts once an answer is longer than the screen, or
//! a file.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::to_stdout;
use crate::error::Result;
use crate::terminal::Terminal;

/// What pages answers unless the user chooses: short answers are printed, wide ones are not wrapped,
/// colours stay. Small systems have no `less`; there answers are printed.
pub(crate) const PAGER: &str =
    "if command -v less >/dev/null; then exec less -FRSX; else exec cat; fi";

/// How long what fits on a screen is held back for what may follow it.
const PATIENCE: Duration = Duration::from_millis(500);

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

/// An opened sink, for answers that are written as they come.
#[derive(Debug)]
pub(crate) enum Screen {
    Stdout,
    File(Arc<File>),
    Pager(Pager),
}

impl Sink {
    /// Opens it.
    pub(crate) fn open(&self, terminal: &Terminal) -> Screen {
        match (self, terminal.height) {
            (Self::Pager(command), Some(height)) if terminal.stdout_is_terminal => {
                Screen::Pager(Pager::new(command, usize::from(height)))
            }
            (Self::File(file), _) => Screen::File(Arc::clone(file)),
            _ => Screen::Stdout,
        }
    }

    /// Writes an answer.
    pub(crate) fn print(
        &self,
        terminal: &Terminal,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        match self.open(terminal) {
            Screen::Pager(mut pager) => {
                let written = write(&mut pager).and_then(|()| pager.finish());
                match written {
                    // Who leaves the pager has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    written => Ok(written?),
                }
            }
            Screen::File(file) => {
                let mut out = io::BufWriter::new(&*file);
                write(&mut out)?;
                Ok(out.flush()?)
            }
            Screen::Stdout => to_stdout(write),
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().lock().write(bytes),
            Self::File(file) => (&**file).write(bytes),
            Self::Pager(pager) => pager.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File(file) => (&**file).flush(),
            Self::Pager(pager) => pager.flush(),
        }
    }
}

/// Holds back what fits on a screen; more goes to a program that is started then. Dropped, it waits
/// until the program gives back the terminal.
#[derive(Debug)]
pub(crate) struct Pager {
    command: String,
    /// Lines that fit, one left for the prompt.
    lines_left: usize,
    held: Vec<u8>,
    /// When something was held back first.
    held_since: Option<Instant>,
    running: Option<(Child, ChildStdin)>,
    /// What the program was given, as long as it may not have read any of it.
    unread: Option<Vec<u8>>,
    /// The program could not be started: everything goes to standard output.
    failed: bool,
    /// The program was left: nobody reads what follows.
    left: bool,
}

/// More than a pipe holds: whoever was given this has read some of it.
const PIPE_BYTES: usize = 1 << 20;

/// Whether the shell says that there is no such program, or that it is none.
fn was_not_started(status: ExitStatus) -> bool {
    matches!(status.code(), Some(126 | 127))
}

impl Pager {
    fn new(command: &str, height: usize) -> Self {
        Self {
            command: command.to_owned(),
            lines_left: height.saturating_sub(1),
            held: Vec::new(),
            held_since: None,
            running: None,
            unread: Some(Vec::new()),
            failed: false,
            left: false,
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let child = Command::new("sh").args(["-c", &self.command]).stdin(Stdio::piped()).spawn();
        match child {
            Ok(mut child) => self.running = child.stdin.take().map(|stdin| (child, stdin)),
            Err(_) => self.failed = true,
        }
        let held = std::mem::take(&mut self.held);
        self.write_all(&held)
    }

    /// Waits until the program is left. If there is no such program, its share is printed, and so is
    /// what follows; whether that is so.
    fn leave(&mut self) -> io::Result<bool> {
        let Some((mut child, stdin)) = self.running.take() else { return Ok(false) };
        drop(stdin);
        let status = child.wait()?;
        let Some(unread) = self.unread.take().filter(|_| was_not_started(status)) else {
            self.left = true;
            return Ok(false);
        };
        self.failed = true;
        io::stdout().lock().write_all(&unread)?;
        Ok(true)
    }

    /// Prints what was held back, or waits until the program is left.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self.running {
            Some(_) => self.leave().map(drop),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&std::mem::take(&mut self.held))?;
                out.flush()
            }
        }
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((_, stdin)) = &mut self.running {
            return match stdin.write(bytes) {
                Ok(n_bytes) => {
                    if let Some(unread) = &mut self.unread {
                        unread.extend_from_slice(&bytes[..n_bytes]);
                    }
                    self.unread.take_if(|unread| unread.len() > PIPE_BYTES);
                    Ok(n_bytes)
                }
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => match self.leave()? {
                    true => io::stdout().lock().write(bytes),
                    false => Err(error),
                },
                Err(error) => Err(error),
            };
        }
        if self.left {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.failed {
            return io::stdout().lock().write(bytes);
        }
        self.held_since.get_or_insert_with(Instant::now);
        self.held.extend_from_slice(bytes);
        let n_lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        if n_lines > self.lines_left {
            self.start()?;
        }
        self.lines_left = self.lines_left.saturating_sub(n_lines);
        Ok(bytes.len())
    }

    /// Shows what has been held back for long: whoever asked waits for it.
    fn flush(&mut self) -> io::Result<()> {
        if let Some((_, stdin)) = &mut self.running {
            return stdin.flush();
        }
        match self.held_since {
            Some(since) if !self.failed && since.elapsed() > PATIENCE => self.start(),
            _ => Ok(()),
        }
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // After an error the program still has the terminal: it is waited for.
        self.leave().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_screen_goes_to_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paged");
        let command = format!("cat > '{}'", file.display());
        let mut pager = Pager::new(&command, 3);
        pager.write_all(b"1\n2\n").unwrap();
        pager.flush().unwrap();
        assert!(pager.running.is_none(), "two lines and a prompt fit");
        pager.write_all(b"3\n").unwrap();
        assert!(pager.running.is_some());
        pager.write_all(b"4\n").unwrap();
        pager.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n4\n");
    }

    #[test]
    fn a_program_that_is_left_is_a_closed_pipe() {
        let mut pager = Pager::new("exit 0", 1);
        let lines = "line\n".repeat(100_000);
        let error = pager.write_all(lines.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
