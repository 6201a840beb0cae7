//! What became of the tests as one JSON document, for whoever draws conclusions by program.

use serde::Serialize;

use super::super::{Counts, SuiteReport, TestOutcome, TestReport};
use super::troubles;
use crate::error::Kind;

/// The version of this shape. It grows when a member changes its meaning or goes.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    version: u32,
    summary: Summary,
    suites: Vec<Suite<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    tests: usize,
    passed: usize,
    failed: usize,
    errored: usize,
    skipped: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Suite<'a> {
    file: &'a str,
    duration_nanos: u128,
    tests: Vec<Test<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Test<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    duration_nanos: u128,
    attempts: u32,
    failures: Vec<Trouble>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trouble {
    message: String,
    detail: String,
}

/// All suites as one document.
pub(crate) fn document(suites: &[SuiteReport]) -> serde_json::Result<String> {
    let Counts { tests, passed, failed, errored, skipped } = Counts::of_all(suites);
    let document = Document {
        version: VERSION,
        summary: Summary { tests, passed, failed, errored, skipped },
        suites: suites
            .iter()
            .map(|suite| Suite {
                file: &suite.name,
                duration_nanos: suite.elapsed.as_nanos(),
                tests: suite.tests.iter().map(test).collect(),
            })
            .collect(),
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

fn test(test: &TestReport) -> Test<'_> {
    let (outcome, kind): (_, Option<Kind>) = match &test.outcome {
        TestOutcome::Passed => ("passed", None),
        TestOutcome::Failed(_) => ("failed", None),
        TestOutcome::Errored(error) => ("errored", Some(error.kind)),
        TestOutcome::Skipped(_) => ("skipped", None),
    };
    let trouble = |failure: super::Failure| {
        let super::Failure { message, detail } = failure;
        Trouble { message, detail }
    };
    Test {
        name: &test.name,
        line: Some(test.line).filter(|line| *line > 0),
        outcome,
        exit_code: kind.map(Kind::exit_code),
        duration_nanos: test.elapsed.as_nanos(),
        attempts: test.attempts,
        failures: troubles(test).into_iter().map(trouble).collect(),
        notes: &test.notes,
    }
}
