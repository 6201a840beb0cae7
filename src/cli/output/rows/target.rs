//! Where rows go: the screen with its pager, or a file that takes its name when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::sink::Screen;
use crate::error::{Error, Kind, Result};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// An open target. Clones write to one place.
#[derive(Clone)]
pub(crate) struct Output {
    held: Arc<Mutex<Held>>,
    is_seekable_file: bool,
}

struct Held {
    out: BufWriter<Device>,
    failure: Option<(io::ErrorKind, String)>,
    file: Option<Unfinished>,
}

enum Device {
    Screen(Screen),
    File(File),
}

/// A file under another name until it is complete.
struct Unfinished {
    part: PathBuf,
    target: PathBuf,
    is_complete: bool,
}

impl Output {
    /// A file, replaced once it is complete if it is there.
    pub(crate) fn file(target: &Path) -> Result<Self> {
        let part = part_of(target);
        let file = File::create(&part).map_err(|error| {
            Error::new(Kind::Failed, format!("cannot write {}: {error}", target.display()))
        })?;
        let unfinished = Unfinished { part, target: target.to_owned(), is_complete: false };
        let is_seekable_file = target.extension().is_none_or(|ending| ending != "arrows");
        Ok(Self::new(Device::File(file), Some(unfinished), is_seekable_file))
    }

    /// Where answers go; several statements may.
    pub(crate) fn screen(screen: Screen) -> Self {
        Self::new(Device::Screen(screen), None, false)
    }

    fn new(device: Device, file: Option<Unfinished>, is_seekable_file: bool) -> Self {
        let out = BufWriter::with_capacity(BUFFER_BYTES, device);
        let held = Arc::new(Mutex::new(Held { out, failure: None, file }));
        Self { held, is_seekable_file }
    }

    /// True if it is a file in which Arrow's format with a footer is expected.
    pub(super) fn is_seekable_file(&self) -> bool {
        self.is_seekable_file
    }

    /// Ends a screen: prints what is left, or waits until its pager is left. Whoever leaves it before
    /// its end has seen enough.
    pub(crate) fn leave(&self) -> io::Result<()> {
        let mut held = self.lock();
        let left = held.out.flush().and_then(|()| match held.out.get_mut() {
            Device::Screen(Screen::Pager(pager)) => pager.finish(),
            _ => Ok(()),
        });
        match left {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.is_paged(&held) => {
                Ok(())
            }
            left => left,
        }
    }

    fn is_paged(&self, held: &Held) -> bool {
        matches!(held.out.get_ref(), Device::Screen(Screen::Pager(_)))
    }

    /// True if a pager was left before all was written.
    pub(crate) fn was_left(&self, error: &Error) -> bool {
        error.kind == Kind::BrokenPipe && self.is_paged(&self.lock())
    }
}

/// The name of a file that is not complete yet, beside its place.
fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    target.with_file_name(name)
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Screen(screen) => screen.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Screen(screen) => screen.flush(),
            Self::File(file) => file.flush(),
        }
    }
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
