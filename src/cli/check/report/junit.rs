//! JUnit's XML as Jenkins, GitLab and others read it: the schema is `junit-10.xsd` of Jenkins' xUnit
//! plugin, which has the elements in this order.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::{Counts, SuiteReport, TestOutcome, TestReport};
use super::{text, told, troubles};

/// All suites as one document.
pub(crate) fn document(suites: &[SuiteReport]) -> String {
    let counts = Counts::of_all(suites);
    let elapsed: Duration = suites.iter().map(|suite| suite.elapsed).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    line(
        &mut out,
        format_args!(
            "<testsuites name=\"traceql\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{}\">",
            counts.tests,
            counts.failed,
            counts.errored,
            seconds(elapsed)
        ),
    );
    for suite in suites {
        let counts = Counts::of(&suite.tests);
        line(
            &mut out,
            format_args!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\">",
                escape(&suite.name),
                counts.tests,
                counts.failed,
                counts.errored,
                counts.skipped,
                seconds(suite.elapsed)
            ),
        );
        for test in &suite.tests {
            testcase(&mut out, &suite.name, test);
        }
        line(&mut out, format_args!("  </testsuite>"));
    }
    line(&mut out, format_args!("</testsuites>"));
    out
}

fn testcase(out: &mut String, suite: &str, test: &TestReport) {
    let (name, class) = (escape(&test.name), escape(suite));
    let time = seconds(test.elapsed);
    line(out, format_args!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time}\">"));
    match &test.outcome {
        TestOutcome::Passed => {}
        TestOutcome::Skipped(why) => {
            line(out, format_args!("      <skipped message=\"{}\"/>", escape(why)));
        }
        TestOutcome::Errored(error) => trouble(out, "error", &[told(error)]),
        TestOutcome::Failed(_) => trouble(out, "failure", &troubles(test)),
    }
    if !test.notes.is_empty() {
        let notes = escape(&test.notes.join("\n"));
        line(out, format_args!("      <system-out>{notes}</system-out>"));
    }
    line(out, format_args!("    </testcase>"));
}

/// One element: readers differ in what they make of several.
fn trouble(out: &mut String, element: &str, failures: &[super::Failure]) {
    let messages: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
    let message = escape(&messages.join("; "));
    let body: Vec<String> = failures.iter().map(text).collect();
    let body = escape(&body.join("\n\n"));
    line(
        out,
        format_args!(
            "      <{element} message=\"{message}\" type=\"{element}\">{body}</{element}>"
        ),
    );
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.3}", elapsed.as_secs_f64())
}

/// A text as content and attribute value. What XML cannot hold at all is shown by its picture.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            '\0'..='\x1f' => {
                let picture = char::from_u32(0x2400 + u32::from(c));
                escaped.push(picture.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_the_markup() {
        assert_eq!(
            escape("a<b>&\"c\"\n\u{1b}[31m\u{0}\u{ffff}é"),
            "a&lt;b&gt;&amp;&quot;c&quot;&#10;␛[31m␀\u{fffd}é"
        );
    }
}
