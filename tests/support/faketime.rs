//! A clock that a test sets, for processes that it starts: libfaketime, where it is installed. The
//! clock that nobody sets goes on as ever.

use std::io::Write as _;
use std::path::PathBuf;

/// A clock; it is right until it is set.
#[derive(Debug)]
pub(crate) struct Clock {
    file: tempfile::NamedTempFile,
    library: PathBuf,
}

impl Clock {
    /// `None` where there is no libfaketime, which is said.
    pub(crate) fn new() -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.find(|library| library.exists()) else {
            // Not by `eprintln!`, whose text the test runner swallows when a test passes.
            let said = writeln!(
                std::io::stderr(),
                "SKIPPED: libfaketime is not installed, so no clock was set"
            );
            said.expect("stderr takes a line");
            return None;
        };
        let clock = Self { file: tempfile::NamedTempFile::new().expect("a file"), library };
        clock.set("+0");
        Some(clock)
    }

    /// Sets the clock: `+400d` and `-5h` are from the time it really is.
    pub(crate) fn set(&self, offset: &str) {
        std::fs::write(self.file.path(), format!("{offset}\n")).expect("the file can be written");
    }

    /// What has to be in the environment of a process for it to have this clock.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 6] {
        [
            ("LD_PRELOAD", self.library.to_str().expect("UTF-8")),
            ("FAKETIME_TIMESTAMP_FILE", self.file.path().to_str().expect("UTF-8")),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]
    }
}
