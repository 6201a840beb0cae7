//! Where rows go: standard output, or a file that takes its name when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Where rows are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output.
    Stdout,
    /// A file, replaced if it is there.
    File(PathBuf),
}

/// An open target. Clones write to one place.
#[derive(Clone)]
pub(super) struct Output {
    held: Arc<Mutex<Held>>,
}

struct Held {
    out: BufWriter<Box<dyn Write + Send>>,
    failure: Option<(io::ErrorKind, String)>,
    file: Option<Unfinished>,
}

/// A file under another name until it is complete.
struct Unfinished {
    part: PathBuf,
    target: PathBuf,
    is_complete: bool,
}

impl Target {
    /// True if it is a file in which Arrow's format with a footer is expected.
    pub(super) fn is_seekable_file(&self) -> bool {
        match self {
            Self::Stdout => false,
            Self::File(path) => path.extension().is_none_or(|ending| ending != "arrows"),
        }
    }

    pub(super) fn open(&self) -> Result<Output> {
        let (out, file): (Box<dyn Write + Send>, _) = match self {
            Self::Stdout => (Box::new(io::stdout()), None),
            Self::File(target) => {
                let part = part_of(target);
                let file = File::create(&part).map_err(|error| {
                    Error::new(Kind::Failed, format!("cannot write {}: {error}", target.display()))
                })?;
                let target = target.clone();
                (Box::new(file), Some(Unfinished { part, target, is_complete: false }))
            }
        };
        let out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let held = Held { out, failure: None, file };
        Ok(Output { held: Arc::new(Mutex::new(held)) })
    }
}

/// The name of a file that is not complete yet, beside its place.
fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    target.with_file_name(name)
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // What is held is whole whenever the lock is free.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the system said when it last refused to write.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.lock().failure.take().map(|(kind, text)| io::Error::new(kind, text))
    }

    /// Writes what is buffered and gives a file its name.
    pub(super) fn close(self) -> Result<()> {
        let mut held = self.lock();
        held.out.flush()?;
        if let Some(file) = &mut held.file {
            fs::rename(&file.part, &file.target).map_err(|error| {
                Error::new(Kind::Failed, format!("cannot write {}: {error}", file.target.display()))
            })?;
            file.is_complete = true;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.lock();
        let written = held.out.write(bytes);
        note(&mut held, written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut held = self.lock();
        let flushed = held.out.flush();
        note(&mut held, flushed)
    }
}

fn note<T>(held: &mut Held, result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result {
        held.failure = Some((error.kind(), error.to_string()));
    }
    result
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_complete {
            // What is left of it is of use to nobody; that it stays is no worse than this.
            drop(fs::remove_file(&self.part));
        }
    }
}
