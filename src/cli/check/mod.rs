//! Checks that a pipeline runs: suites of questions with what is expected of their answers. `suite` is
//! what was written, `ask` puts the questions, `judge` holds answers against expectations, `run` goes
//! through the tests, `report` tells. How a suite is written stands in `README.md` beside this file.

pub(crate) mod ask;
pub(crate) mod capture;
pub(crate) mod judge;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod suite;

use std::time::Duration;

use crate::error::Error;

/// What became of a suite.
#[derive(Debug)]
pub(crate) struct SuiteReport {
    /// The suite's path as it was given.
    pub(crate) name: String,
    /// Its tests in order, those left out by `--run` not among them.
    pub(crate) tests: Vec<TestReport>,
    /// Time from its first test to its last.
    pub(crate) elapsed: Duration,
}

/// What became of a test.
#[derive(Debug)]
pub(crate) struct TestReport {
    /// Its name.
    pub(crate) name: String,
    /// Line of the suite in which it begins; 0 for what stands in none.
    pub(crate) line: usize,
    /// How it ended.
    pub(crate) outcome: TestOutcome,
    /// Time of all attempts, waits included.
    pub(crate) elapsed: Duration,
    /// How often the question was asked; 0 if never.
    pub(crate) attempts: u32,
    /// What to know besides: a snapshot that was written, a warning.
    pub(crate) notes: Vec<String>,
}

/// How a test ended.
#[derive(Debug)]
pub(crate) enum TestOutcome {
    /// Everything that was expected holds.
    Passed,
    /// Something does not; at least one.
    Failed(Vec<Failure>),
    /// There was no answer to judge.
    Errored(Error),
    /// It was not asked, for this reason.
    Skipped(&'static str),
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One line.
    pub(crate) message: String,
    /// The difference, several lines; empty if the message says all.
    pub(crate) detail: String,
}

impl Failure {
    /// One that the message says all about.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: String::new() }
    }

    /// The same with the difference.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Tests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) tests: usize,
    /// By outcome.
    pub(crate) passed: usize,
    /// See `passed`.
    pub(crate) failed: usize,
    /// See `passed`.
    pub(crate) errored: usize,
    /// See `passed`.
    pub(crate) skipped: usize,
}

impl Counts {
    /// Counts tests.
    pub(crate) fn of<'a>(tests: impl IntoIterator<Item = &'a TestReport>) -> Self {
        let mut counts = Self::default();
        for test in tests {
            counts.tests += 1;
            *match test.outcome {
                TestOutcome::Passed => &mut counts.passed,
                TestOutcome::Failed(_) => &mut counts.failed,
                TestOutcome::Errored(_) => &mut counts.errored,
                TestOutcome::Skipped(_) => &mut counts.skipped,
            } += 1;
        }
        counts
    }

    /// Counts the tests of all suites.
    pub(crate) fn of_all(suites: &[SuiteReport]) -> Self {
        Self::of(suites.iter().flat_map(|suite| &suite.tests))
    }

    /// Whether a test failed or had no answer.
    pub(crate) fn any_bad(self) -> bool {
        self.failed + self.errored > 0
    }
}
