//! The summary of a step in Markdown, as GitHub shows it on the page of a run.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::{Counts, SuiteReport, TestOutcome};
use super::list::duration;
use super::{text, troubles};

/// What GitHub takes of one step, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// All suites as Markdown.
pub(crate) fn markdown(suites: &[SuiteReport]) -> String {
    let counts = Counts::of_all(suites);
    let elapsed: Duration = suites.iter().map(|suite| suite.elapsed).sum();
    let title = match counts.any_bad() {
        true => "❌ Traces are not as expected",
        false => "✅ Traces are as expected",
    };
    let mut out = format!("### {title}\n\n");
    write(
        &mut out,
        format_args!(
            "{} passed, {} failed, {} without an answer, {} not run, in {}.\n\n",
            counts.passed,
            counts.failed,
            counts.errored,
            counts.skipped,
            duration(elapsed)
        ),
    );
    out.push_str("| | test | suite | time |\n|---|---|---|---|\n");
    for suite in suites {
        for test in &suite.tests {
            let mark = match test.outcome {
                TestOutcome::Passed => "✅",
                TestOutcome::Failed(_) => "❌",
                TestOutcome::Errored(_) => "⚠️",
                TestOutcome::Skipped(_) => "⏭️",
            };
            let (name, file) = (cell(&test.name), cell(&suite.name));
            let place = if test.line == 0 { file } else { format!("{file}:{}", test.line) };
            let time = duration(test.elapsed);
            write(&mut out, format_args!("| {mark} | {name} | {place} | {time} |\n"));
        }
    }
    for suite in suites {
        for test in suite.tests.iter().filter(|test| test.outcome.is_bad()) {
            let body: Vec<String> = troubles(test).iter().map(text).collect();
            let body = body.join("\n\n");
            let fence = fence(&body);
            write(
                &mut out,
                format_args!("\n#### {}\n\n{fence}\n{body}\n{fence}\n", cell(&test.name)),
            );
        }
    }
    if out.len() > MAX_BYTES {
        const MORE: &str = "\n\n… and more";
        out.truncate(out.floor_char_boundary(MAX_BYTES - MORE.len()));
        out.push_str(MORE);
    }
    out
}

/// A text as a cell, and as text: names are no markup.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => cell.push(' '),
            '|' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '\\' | '#' | '&' => {
                cell.push('\\');
                cell.push(c);
            }
            c => cell.push(c),
        }
    }
    cell
}

/// A fence longer than any run of backticks in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat((longest + 1).max(3))
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markup() {
        assert_eq!(cell("a|b <c>\n`d`"), "a\\|b \\<c\\> \\`d\\`");
        assert_eq!(fence("``` and ````"), "`````");
        assert_eq!(fence("none"), "```");
    }
}
