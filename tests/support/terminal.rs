//! A real terminal: tmux, which draws what a program writes and types what a person would.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::binary::{TRACEQL, root, stderr, stdout};

/// How long a screen may take to show what is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// True if there is tmux; else says past the capture of the test runner that a test did not run.
pub(crate) fn is_there(test: &str) -> bool {
    let there = Command::new("tmux").arg("-V").output().is_ok();
    if !there {
        drop(writeln!(std::io::stderr(), "SKIPPED {test}: there is no tmux"));
    }
    there
}

/// A terminal with one program in it; gone when dropped.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs the binary, its arguments written as in a shell, after settings of variables.
    pub(crate) fn start(size: (u32, u32), environment: &str, arguments: &str) -> Self {
        // A socket of its own for each: a server that was told to end may still be about it.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: format!("traceql-test-{}-{n}", std::process::id()) };
        let socket = &terminal.socket;
        // The shell stays until it is told to go, so that there is a screen to capture: a Ctrl-C that
        // it gets together with the program is no reason to go.
        let line = format!(
            "trap : INT; {environment} {TRACEQL} {arguments}; tmux -L {socket} wait-for -S done; cat"
        );
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let folder = root().display().to_string();
        let settings = ["-f", "/dev/null", "new-session", "-d", "-c", &folder];
        let shape = ["-x", &width, "-y", &height, "sh", "-c", &line];
        terminal.tmux(&[&settings[..], &shape[..]].concat());
        terminal
    }

    fn try_tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-L", &self.socket]).args(arguments).output().expect("tmux starts")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.try_tmux(arguments);
        assert!(output.status.success(), "tmux {arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket, "wait-for", "done"]);
        let mut waiting = tmux.spawn().expect("tmux starts");
        let until = Instant::now() + PATIENCE;
        while waiting.try_wait().expect("tmux can be asked").is_none() {
            if Instant::now() > until {
                drop((waiting.kill(), waiting.wait()));
                panic!("the program does not end:\n{}", self.screen());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The screen with its colours.
    pub(crate) fn colours(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// The screen, its lines without what trails.
    pub(crate) fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p"]);
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// Types a text.
    pub(crate) fn type_text(&self, text: &str) {
        // A semicolon at the end of an argument would end tmux's command.
        let text = match text.strip_suffix(';') {
            Some(before) => format!("{before}\\;"),
            None => text.to_owned(),
        };
        self.tmux(&["send-keys", "-l", "--", &text]);
    }

    /// Presses a key by its name in tmux: `Enter`, `Tab`, `C-c`.
    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "no {what}:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.try_tmux(&["kill-server"]);
    }
}

/// A folder for a home of its own, empty at first and gone when dropped.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the home"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Settings of variables for [`Terminal::start`].
    pub(crate) fn environment(&self) -> String {
        let home = self.path().display();
        format!(
            "env -i HOME={home} PATH=/usr/local/bin:/usr/bin:/bin TERM=xterm-256color LANG=C.UTF-8 "
        )
    }
}
