//! What became of the tests, each form in its own file. They know no source and no query.

pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod list;
pub(crate) mod summary;
pub(crate) mod tap;

use super::{Failure, TestOutcome, TestReport};
use crate::diagnostic::{self, Page};
use crate::error::Error;

/// An error as one line, and all that is known of it below.
pub(super) fn told(error: &Error) -> Failure {
    let rendered = diagnostic::render(error, Page::PLAIN);
    let rest = rendered.split_once('\n').map(|(_, rest)| rest.trim_end()).unwrap_or_default();
    Failure::new(error.to_string()).detail(rest)
}

/// What is bad about a test: its failures, or why it has no answer.
pub(super) fn troubles(test: &TestReport) -> Vec<Failure> {
    match &test.outcome {
        TestOutcome::Failed(failures) => failures.clone(),
        TestOutcome::Errored(error) => vec![told(error)],
        TestOutcome::Passed | TestOutcome::Skipped(_) => Vec::new(),
    }
}

/// A failure as one text.
pub(super) fn text(failure: &Failure) -> String {
    match failure.detail.is_empty() {
        true => failure.message.clone(),
        false => format!("{}\n{}", failure.message, failure.detail),
    }
}
