//! What a server's process has used so far, as Linux tells: processor time of all its threads,
//! memory, bytes written, open files; and what lies in its folders.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;

/// Units of processor time in `/proc`: fixed on Linux, whatever the kernel counts in.
const TICKS_PER_SECOND: u32 = 100;

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    blocks: Option<PathBuf>,
    wal: Option<PathBuf>,
}

/// What it has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
    /// The most that was resident.
    pub(crate) peak_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) open_files: usize,
    pub(crate) block_bytes: u64,
    pub(crate) block_count: usize,
    pub(crate) wal_bytes: u64,
}

impl Process {
    pub(crate) fn of(
        pid: u32,
        blocks: &Option<PathBuf>,
        wal: &Option<PathBuf>,
    ) -> Result<Self, Error> {
        let process = Self { pid, blocks: blocks.clone(), wal: wal.clone() };
        process.sample().map(|_| process)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(name)
    }

    /// Lets the peak begin anew, where the system allows that.
    pub(crate) fn forget_peak(&self) {
        drop(std::fs::write(self.path("clear_refs"), "5"));
    }

    pub(crate) fn sample(&self) -> Result<Usage, Error> {
        let stat = std::fs::read_to_string(self.path("stat"))?;
        // The name before it may hold anything, blanks among it.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let ticks = |at: usize| fields.split(' ').nth(at).and_then(|n| n.parse::<u32>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).ok_or("/proc/PID/stat is unlike it")?;
        let status = std::fs::read_to_string(self.path("status"))?;
        let io = std::fs::read_to_string(self.path("io")).unwrap_or_default();
        let (blocks, wal) = (self.blocks.as_deref(), self.wal.as_deref());
        let (mut block_bytes, mut block_count, mut wal_bytes) = (0, 0, 0);
        visit(blocks, &mut |path, bytes| {
            if path.ends_with("data.parquet") {
                block_bytes += bytes;
                block_count += 1;
            }
        });
        visit(wal, &mut |_, bytes| wal_bytes += bytes);
        Ok(Usage {
            cpu: Duration::from_secs(1) * (user + system) / TICKS_PER_SECOND,
            resident_bytes: number(&status, "VmRSS:") * 1024,
            peak_bytes: number(&status, "VmHWM:") * 1024,
            written_bytes: number(&io, "write_bytes:"),
            open_files: std::fs::read_dir(self.path("fd")).map_or(0, Iterator::count),
            block_bytes,
            block_count,
            wal_bytes,
        })
    }
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Visits all files below a folder; those that go away meanwhile are not there.
fn visit(folder: Option<&Path>, to: &mut dyn FnMut(&Path, u64)) {
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(found) if found.is_dir() => visit(Some(&path), to),
            Ok(found) => to(&path, found.len()),
            Err(_) => {}
        }
    }
}
