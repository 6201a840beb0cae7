//! The Test Anything Protocol, version 14: a line a test, what is wrong as YAML below it.

use std::fmt::Write as _;

use super::super::{TestOutcome, TestReport};
use super::{text, troubles};
use crate::output::printable;

/// What comes first: the version, and how many tests follow.
pub(crate) fn head(n_tests: usize) -> String {
    format!("TAP version 14\n1..{n_tests}\n")
}

/// A test, by its number counted from one.
pub(crate) fn test(number: usize, suite: &str, test: &TestReport) -> String {
    let ok = if test.outcome.is_bad() { "not ok" } else { "ok" };
    let name = escape(&format!("{suite}: {}", test.name));
    let skip = match test.outcome {
        TestOutcome::Skipped(why) => format!(" # SKIP {why}"),
        _ => String::new(),
    };
    let mut out = format!("{ok} {number} - {name}{skip}\n");
    if matches!(test.outcome, TestOutcome::Skipped(_)) {
        return out;
    }
    let mut line = |text: std::fmt::Arguments<'_>| {
        writeln!(out, "  {text}").expect("a string takes everything");
    };
    line(format_args!("---"));
    line(format_args!("duration_ms: {:.3}", test.elapsed.as_secs_f64() * 1e3));
    if test.line > 0 {
        line(format_args!("line: {}", test.line));
    }
    let severity = match test.outcome {
        TestOutcome::Failed(_) => Some("fail"),
        TestOutcome::Errored(_) => Some("error"),
        TestOutcome::Passed | TestOutcome::Skipped(_) => None,
    };
    if let Some(severity) = severity {
        line(format_args!("severity: {severity}"));
        line(format_args!("message: |"));
        for failure in troubles(test) {
            for part in text(&failure).lines() {
                line(format_args!("  {}", printable(part)));
            }
        }
    }
    line(format_args!("..."));
    out
}

/// A description: `#` would begin a directive.
fn escape(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_are_no_directives() {
        let report = TestReport {
            name: "all # TODO \\ well\n".to_owned(),
            line: 3,
            outcome: TestOutcome::Passed,
            elapsed: Duration::from_micros(1500),
            attempts: 1,
            notes: Vec::new(),
        };
        assert_eq!(
            test(1, "a.yaml", &report),
            "ok 1 - a.yaml: all \\# TODO \\\\ well \n  ---\n  duration_ms: 1.500\n  line: 3\n  ...\n"
        );
    }
}
