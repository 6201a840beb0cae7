//! The list that people read while tests run: a line a test, what is wrong below it.

use std::fmt::Write as _;
use std::time::Duration;

use unicode_width::UnicodeWidthStr as _;

use super::super::{Counts, TestOutcome, TestReport};
use super::troubles;
use crate::output::printable;
use crate::terminal::{ERROR, FAINT, HEADING, HINT, NOTE, Paint, WARNING};
use crate::units::format_duration;

/// Where durations stand, unless a name is longer.
const NAME_WIDTH: usize = 60;

/// Writes the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    /// Colours.
    pub(crate) paint: Paint,
    /// Only what is bad.
    pub(crate) quiet: bool,
    /// Letters outside ASCII are shown.
    pub(crate) unicode: bool,
}

impl List {
    /// The heading of a suite.
    pub(crate) fn suite(self, name: &str) -> String {
        format!("{}\n", self.paint.paint(HEADING, printable(name)))
    }

    /// A test and what is wrong with it.
    pub(crate) fn test(self, test: &TestReport) -> String {
        if self.quiet && !test.outcome.is_bad() {
            return String::new();
        }
        let paint = self.paint;
        let (style, mark, plain_mark) = match test.outcome {
            TestOutcome::Passed => (HINT, "✓", "+"),
            TestOutcome::Failed(_) => (ERROR, "✗", "x"),
            TestOutcome::Errored(_) => (ERROR, "!", "!"),
            TestOutcome::Skipped(_) => (FAINT, "-", "-"),
        };
        let mark = paint.paint(style, if self.unicode { mark } else { plain_mark });
        let name = printable(&test.name);
        let blanks = NAME_WIDTH.saturating_sub(name.width());
        let time = match test.outcome {
            TestOutcome::Skipped(why) => why.to_owned(),
            _ => duration(test.elapsed),
        };
        let mut text = String::new();
        let time = paint.paint(FAINT, time);
        writeln!(text, "  {mark} {name}{:blanks$}  {time}", "").expect("a string takes everything");
        for failure in troubles(test) {
            writeln!(text, "      {}", printable(&failure.message))
                .expect("a string takes everything");
            for line in failure.detail.lines() {
                let line = printable(line);
                let line = match line.as_bytes().first() {
                    Some(b'+') => paint.paint(HINT, line).to_string(),
                    Some(b'-') => paint.paint(ERROR, line).to_string(),
                    Some(b'@') => paint.paint(NOTE, line).to_string(),
                    _ => line,
                };
                writeln!(text, "        {line}").expect("a string takes everything");
            }
        }
        for note in &test.notes {
            writeln!(text, "      {}: {}", paint.paint(NOTE, "note"), printable(note))
                .expect("a string takes everything");
        }
        text
    }

    /// The last line.
    pub(crate) fn end(self, counts: Counts, elapsed: Duration) -> String {
        let paint = self.paint;
        let mut parts = Vec::new();
        let mut part = |n: usize, what: &str, style| {
            if n > 0 {
                parts.push(paint.paint(style, format!("{n} {what}")).to_string());
            }
        };
        part(counts.passed, "passed", HINT);
        part(counts.failed, "failed", ERROR);
        part(counts.errored, "without an answer", ERROR);
        part(counts.skipped, "not run", WARNING);
        format!("{} in {}\n", parts.join(", "), duration(elapsed))
    }
}

pub(super) fn duration(elapsed: Duration) -> String {
    format_duration(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}
