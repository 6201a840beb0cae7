//! A snapshot against what is there now.

use similar::TextDiff;

use super::super::Failure;
use super::super::ask::Answer;
use super::shape::{Shape, shape};
use traceql_blocks::model::Trace;

/// Lines of a difference that are shown.
const MAX_DIFF_LINES: usize = 200;

/// How a text differs from its snapshot; `None` if it does not.
pub(crate) fn difference(name: &str, stored: &str, text: &str) -> Option<Failure> {
    // Git may have given the file the line ends of another system.
    let stored = stored.replace("\r\n", "\n");
    if stored == text {
        return None;
    }
    let diff = TextDiff::from_lines(stored.as_str(), text);
    let shown = diff.unified_diff().context_radius(3).header(name, "now").to_string();
    let mut lines: Vec<&str> = shown.lines().collect();
    let n_more = lines.len().saturating_sub(MAX_DIFF_LINES);
    lines.truncate(MAX_DIFF_LINES);
    let mut detail = lines.join("\n");
    if n_more > 0 {
        detail.push_str(&format!("\n… and {n_more} lines more"));
    }
    let message = format!("{name} differs; `--update` takes what is there now");
    Some(Failure::new(message).detail(detail))
}

/// The text of a snapshot of a trace's shape, or of an answer.
pub(crate) fn text_of(trace: Option<&Trace>, answer: &Answer, is_instant: bool) -> Shape {
    match trace {
        Some(trace) => shape(trace),
        None => Ok(super::result_text(answer, is_instant)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_unified() {
        assert_eq!(difference("a.tree", "x\r\ny\r\n", "x\ny\n"), None);
        let failure = difference("a.tree", "x\ny\n", "x\nz\n").unwrap();
        assert_eq!(failure.detail, "--- a.tree\n+++ now\n@@ -1,2 +1,2 @@\n x\n-y\n+z");
    }
}
