//! The log as files: opened and replayed, appended to with a sync for each batch, shortened from its
//! oldest end. One process at a time has a folder.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::record::Record;
use super::segment::{self, Damage, HEADER_BYTES};
use crate::error::{Error, Result};

/// Held for as long as a log is open.
const LOCK: &str = "lock";
/// Taken by nothing; given up when the disk is full, so that flushes, which make room, can still be
/// noted.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: usize = 1 << 20;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder; it is made if it is not there.
    pub folder: PathBuf,
    /// A segment is ended by the batch that makes it this large.
    pub segment_bytes: u64,
}

/// A log that is open.
#[derive(Debug)]
pub struct Log {
    options: LogOptions,
    /// From the oldest on; the last may be the open one.
    segments: VecDeque<Segment>,
    open: Option<File>,
    next_number: u64,
    /// Where the open segment ends as far as is certain.
    end: u64,
    /// Length of the segment before the next one.
    previous_bytes: u64,
    has_reserve: bool,
    /// Released when the log is closed.
    _lock: File,
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    /// It holds what could not be read, and is kept when its time comes.
    is_damaged: bool,
}

/// What replaying told.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Segments read.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is damaged, by file.
    pub damage: Vec<(PathBuf, Damage)>,
}

impl Log {
    /// Opens a log and hands over every record it holds, with the number of its segment, in the
    /// order in which they were written.
    ///
    /// # Errors
    /// If the folder cannot be made, read or written, or another process has it.
    pub fn open(
        options: LogOptions,
        mut visit: impl FnMut(u64, Record),
    ) -> Result<(Self, Replayed)> {
        let folder = &options.folder;
        std::fs::create_dir_all(folder).map_err(|error| not_written(folder, &error))?;
        let lock = lock(folder)?;
        let mut segments = list(folder)?;
        let mut replayed = Replayed::default();
        let mut end = 0;
        for at in 0..segments.len() {
            let (number, path) = (segments[at].number, segments[at].path.clone());
            let mut bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            if at + 1 == segments.len() && bytes.len() < HEADER_BYTES {
                // It was being begun.
                std::fs::remove_file(&path).map_err(|error| not_written(&path, &error))?;
                segments.pop_back();
                break;
            }
            let mut damage = Vec::new();
            if let Some(next) = segments.get(at + 1) {
                if next.number != number + 1 {
                    damage.push(Damage::Missing { segments: number + 1..next.number });
                } else if let Some(expected) = length_before(next)? {
                    let found_bytes = bytes.len() as u64;
                    if found_bytes < expected {
                        damage.push(Damage::Truncated { expected_bytes: expected, found_bytes });
                    }
                    // What is behind was taken back, though not from the disk.
                    bytes.truncate(usize::try_from(expected).unwrap_or(usize::MAX));
                }
            }
            replayed.segments += 1;
            replayed.bytes += bytes.len() as u64;
            let reading = segment::read(&Bytes::from(bytes), |record| visit(number, record));
            if reading.header.is_some_and(|(found, _)| found != number) {
                damage.push(Damage::Header);
            }
            damage.extend(reading.damage);
            if let Some(Damage::TornTail { bytes: torn }) = damage.last() {
                truncate(&path, torn.start).map_err(|error| not_written(&path, &error))?;
            }
            segments[at].is_damaged = damage.iter().any(|damage| !damage.is_harmless());
            replayed.damage.extend(damage.into_iter().map(|damage| (path.clone(), damage)));
            end = reading.end;
        }
        let next_number = segments.back().map_or(1, |last| last.number + 1);
        let mut log = Self {
            options,
            segments,
            open: None,
            next_number,
            end: 0,
            previous_bytes: end,
            has_reserve: false,
            _lock: lock,
            #[cfg(test)]
            faults: super::tests::Faults::default(),
        };
        log.restore_reserve();
        Ok((log, replayed))
    }

    /// Appends a batch and makes it durable; the number of the segment it lies in. After an error
    /// nothing of it is in the log.
    ///
    /// # Errors
    /// Whatever the file system says; a batch that is too large for a frame.
    pub fn append(&mut self, records: &[Record]) -> io::Result<u64> {
        let frame = segment::frame(records).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a batch is too large for one frame")
        })?;
        if self.open.is_some() && self.end >= self.options.segment_bytes {
            self.close();
        }
        if self.open.is_none() {
            self.begin()?;
        }
        let written = self.write(&frame);
        if let Err(error) = written {
            self.take_back();
            return Err(error);
        }
        self.end += frame.len() as u64;
        Ok(self.next_number - 1)
    }

    /// Appends as [`Log::append`] does, with the bytes kept in reserve if the disk is full: for what
    /// leads to there being room again.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_in_need(&mut self, records: &[Record]) -> io::Result<u64> {
        let appended = self.append(records);
        match &appended {
            Err(error) if is_full(error) && self.has_reserve => {
                drop(std::fs::remove_file(self.options.folder.join(RESERVE)));
                self.has_reserve = false;
                self.append(records)
            }
            _ => appended,
        }
    }

    /// Removes the segments before this number; a damaged one is renamed instead.
    ///
    /// # Errors
    /// Whatever the file system says; what is left is tried again the next time.
    pub fn remove_before(&mut self, number: u64) -> io::Result<()> {
        let mut is_changed = false;
        while let Some(oldest) = self.segments.front().filter(|oldest| oldest.number < number) {
            if oldest.number + 1 == self.next_number && self.open.is_some() {
                self.close();
            }
            let Some(oldest) = self.segments.front() else { break };
            match oldest.is_damaged {
                true => std::fs::rename(&oldest.path, oldest.path.with_extension("damaged"))?,
                false => std::fs::remove_file(&oldest.path)?,
            }
            self.segments.pop_front();
            is_changed = true;
        }
        if is_changed {
            sync_folder(&self.options.folder)?;
            self.restore_reserve();
        }
        Ok(())
    }

    /// The number that the next segment gets: all present ones are before it.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Ends the open segment.
    fn close(&mut self) {
        if self.open.take().is_some() {
            self.previous_bytes = self.end;
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let number = self.next_number;
        let path = self.options.folder.join(format!("{number:08}.wal"));
        let header = segment::header(number, self.previous_bytes);
        let begun = (|| {
            // One that could not be begun before may be there.
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            #[cfg(test)]
            self.faults.before_write(&mut file, &header)?;
            file.write_all(&header)?;
            file.sync_data()?;
            sync_folder(&self.options.folder)?;
            Ok(file)
        })();
        match begun {
            Ok(file) => {
                self.open = Some(file);
                self.end = HEADER_BYTES as u64;
                self.segments.push_back(Segment { number, path, is_damaged: false });
                self.next_number += 1;
                Ok(())
            }
            Err(error) => {
                drop(std::fs::remove_file(&path));
                Err(error)
            }
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.open else {
            return Err(io::Error::other("no segment is open"));
        };
        #[cfg(test)]
        self.faults.before_write(file, frame)?;
        file.write_all(frame)?;
        #[cfg(test)]
        self.faults.before_sync()?;
        file.sync_data()
    }

    /// Removes what an append has left behind. The segment is ended where that fails, and in any
    /// case: after a failed sync nobody knows what of its pages reached the disk. The next segment
    /// says how far this one counts.
    fn take_back(&mut self) {
        let Some(file) = &self.open else { return };
        // If it fails, what is behind the end is not read, for the next header says so.
        drop(file.set_len(self.end).and_then(|()| file.sync_data()));
        self.close();
    }

    /// Sets bytes aside if there are enough.
    fn restore_reserve(&mut self) {
        if self.has_reserve {
            return;
        }
        let path = self.options.folder.join(RESERVE);
        // Written, not only made long: a hole is no room.
        self.has_reserve = std::fs::write(&path, vec![0xa5; RESERVE_BYTES]).is_ok();
        if !self.has_reserve {
            drop(std::fs::remove_file(&path));
        }
    }
}

/// Whether an error says that there is no room.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|error| not_written(&path, &error))?;
    file.try_lock().map_err(|error| Error::Usage {
        what: "folder of the write-ahead log",
        value: folder.display().to_string(),
        reason: match error {
            std::fs::TryLockError::WouldBlock => "another process has it open".to_owned(),
            std::fs::TryLockError::Error(error) => error.to_string(),
        },
    })?;
    Ok(file)
}

fn list(folder: &Path) -> Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if path.extension().is_some_and(|extension| extension == "wal")
            && let Some(number) = stem.and_then(|stem| stem.parse().ok())
        {
            segments.push(Segment { number, path, is_damaged: false });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments.into())
}

/// How long the segment before this one was when this one was begun.
fn length_before(segment: &Segment) -> Result<Option<u64>> {
    let mut head = Vec::new();
    let file = File::open(&segment.path).map_err(|error| unreadable(&segment.path, &error))?;
    let read = file.take(HEADER_BYTES as u64).read_to_end(&mut head);
    read.map_err(|error| unreadable(&segment.path, &error))?;
    Ok(segment::read_header(&head).map(|(_, before)| before))
}

fn truncate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes)?;
    file.sync_data()
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _not_possible = folder;
    Ok(())
}

fn not_written(path: &Path, error: &io::Error) -> Error {
    Error::NotWritten { key: path.display().to_string(), reason: error.to_string() }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Unreachable { key: path.display().to_string(), reason: error.to_string() }
}
