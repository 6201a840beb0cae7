//! What is known of the two output streams: whether people look at them, how wide they are, whether
//! colour is wanted. Decided once, at the start.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use clap::builder::styling::{AnsiColor, Style};

use crate::args::ColorChoice;

/// Width taken where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 100;

/// Standard output and standard error as this process finds them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Standard output is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// Standard error is a terminal.
    pub(crate) stderr_is_terminal: bool,
    /// Columns of the terminal; [`DEFAULT_WIDTH`] without one.
    pub(crate) width: u16,
    /// Rows of the terminal; `None` without one.
    pub(crate) height: Option<u16>,
    /// It shows letters outside ASCII, as far as the environment says.
    pub(crate) unicode: bool,
    /// Colours for standard output.
    pub(crate) stdout: Paint,
    /// Colours for standard error.
    pub(crate) stderr: Paint,
    /// Nothing but errors on standard error.
    pub(crate) quiet: bool,
}

impl Terminal {
    /// Looks at the streams. `variable` finds a variable of the environment.
    pub(crate) fn detect<'a>(
        choice: ColorChoice,
        quiet: bool,
        variable: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        let stderr_is_terminal = io::stderr().is_terminal();
        let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty())
            || variable("TERM") == Some("dumb");
        let paint = |is_terminal| Paint {
            on: match choice {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => is_terminal && !unwanted,
            },
        };
        // What pipes into a pager says how wide it is by this variable, as do tests.
        let columns = variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let size = terminal_size::terminal_size_of(io::stdout());
        let width = size.map(|(width, _)| width.0).or(columns).filter(|width| *width > 0);
        let height = size.map(|(_, height)| height.0).filter(|height| *height > 0);
        Self {
            stdout_is_terminal,
            stderr_is_terminal,
            width: width.unwrap_or(DEFAULT_WIDTH),
            height,
            unicode: shows_unicode(&variable),
            stdout: paint(stdout_is_terminal),
            stderr: paint(stderr_is_terminal),
            quiet,
        }
    }

    /// Says something on standard error that is no error; nothing with `--quiet`.
    pub(crate) fn say(&self, label: &str, style: Style, text: &str) {
        if !self.quiet {
            let label = self.stderr.paint(style, label);
            // There is nobody to tell if standard error is closed.
            drop(writeln!(io::stderr().lock(), "{label}: {text}"));
        }
    }

    /// A warning.
    pub(crate) fn warn(&self, text: &str) {
        self.say("warning", WARNING, text);
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: &str) {
        self.say("note", NOTE, text);
    }
}

/// Whether letters outside ASCII can be shown. The console of Linux has a few hundred glyphs only, and
/// braille is not among them.
fn shows_unicode<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    // Containers often have no locale at all, in terminals that show everything.
    let is_utf8 = locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    is_utf8 && !matches!(set("TERM"), Some("linux" | "dumb"))
}

/// Style of `error:` and of what failed.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Style of `warning:`.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Style of `note:`.
pub(crate) const NOTE: Style = AnsiColor::Cyan.on_default().bold();
/// Style of `hint:`.
pub(crate) const HINT: Style = AnsiColor::Green.on_default().bold();
/// Style of what is there for orientation only.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Style of headings.
pub(crate) const HEADING: Style = Style::new().bold();

/// Whether to write colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    /// Write them.
    pub(crate) on: bool,
}

impl Paint {
    /// The text in a style, or plain.
    pub(crate) fn paint<T: fmt::Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.on { style } else { Style::new() }, text }
    }
}

/// A text in a style.
#[derive(Debug)]
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = self.style;
        write!(f, "{style}{}{style:#}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_what_can_be_shown() {
        let check = |variables: &[(&str, &'static str)], expect: bool| {
            let variable = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
            };
            assert_eq!(shows_unicode(variable), expect, "{variables:?}");
        };
        check(&[], true);
        check(&[("LANG", "de_DE.UTF-8")], true);
        check(&[("LANG", "C.utf8"), ("LC_ALL", "")], true);
        check(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")], false);
        check(&[("LANG", "de_DE.ISO-8859-1")], false);
        check(&[("TERM", "linux")], false);
        check(&[("TERM", "xterm-256color")], true);
    }
}
