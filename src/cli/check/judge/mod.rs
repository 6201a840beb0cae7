//! Holds answers against what was expected of them. Pure functions: what they need has been read.

mod baseline;
mod result;
mod searches;
mod series;
mod shape;
mod snapshot;

use std::fmt::Display;

use super::Failure;
use super::ask::Answer;
use super::suite::Test;

pub(crate) use baseline::compare;
pub(crate) use result::result_text;
pub(crate) use shape::pick;
pub(crate) use snapshot::{difference, text_of};

/// Lines of a difference that are shown; more would not be read.
const MAX_LINES: usize = 10;

/// What of an answer does not hold, snapshots and baselines apart. A question that found nothing fails
/// by that alone, unless nothing is allowed.
pub(crate) fn judge(test: &Test, answer: &Answer) -> Vec<Failure> {
    let may_be_empty = test.allow_empty || test.expect.allows_empty();
    if !(may_be_empty || has_data(answer)) {
        let what = match answer {
            Answer::Search(_) => "no trace matched",
            Answer::Metrics(_) => "no series has a sample",
        };
        let message = format!("no data: {what}; `allow_empty: true` would let it pass");
        return vec![Failure::new(message)];
    }
    match answer {
        Answer::Search(answer) => searches::judge(&test.expect, answer),
        Answer::Metrics(answer) => {
            let mut failures = series::judge_count(&test.expect, answer);
            failures.extend(series::judge(test, answer));
            failures
        }
    }
}

/// Whether an answer holds anything.
pub(crate) fn has_data(answer: &Answer) -> bool {
    match answer {
        Answer::Search(answer) => !answer.traces.is_empty(),
        Answer::Metrics(answer) => answer.series.iter().any(|series| !series.samples.all_absent()),
    }
}

/// The first lines of a list, and how many there are besides.
fn first_lines<T: Display>(lines: impl ExactSizeIterator<Item = T>) -> String {
    let n_more = lines.len().saturating_sub(MAX_LINES);
    let mut shown: Vec<String> = lines.take(MAX_LINES).map(|line| line.to_string()).collect();
    if n_more > 0 {
        shown.push(format!("… and {n_more} more"));
    }
    shown.join("\n")
}
