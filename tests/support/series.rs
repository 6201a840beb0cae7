//! Answers of metrics queries in one shape, whoever gave them, and how two are held against each other:
//! labels and times to the letter, samples to 1e-9 of their size. It must not know how series are made.

use std::collections::BTreeMap;

use traceql_engine::metrics::{Label, MetricsAnswer};

use super::evaluate::metrics::{Axis, NaiveSeries};

/// One series as a client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// In order.
    pub(crate) labels: Vec<Label>,
    /// By time, unix nanoseconds; absent ones are left out.
    pub(crate) samples: BTreeMap<i128, f64>,
}

/// What the evaluator answers.
pub(crate) fn of_evaluator(axis: &Axis, series: &[NaiveSeries]) -> Vec<Shown> {
    let shown = series.iter().map(|series| Shown {
        labels: series.labels.clone(),
        samples: series
            .samples
            .iter()
            .enumerate()
            .filter_map(|(interval, sample)| Some((axis.timestamp(interval), (*sample)?)))
            .collect(),
    });
    shown.collect()
}

/// What the engine answers. Times are computed from the plain numbers of its axis.
pub(crate) fn of_engine(answer: &MetricsAnswer) -> Vec<Shown> {
    let axis = &answer.axis;
    let timestamp = |interval: usize| {
        let steps = i128::try_from(interval).expect("an axis of a test") + 1;
        i128::from(axis.start_unix_nanos) + steps * i128::from(axis.step_nanos)
    };
    let shown = answer.series.iter().map(|series| {
        assert_eq!(series.samples.len(), axis.n_intervals, "a sample for every interval");
        Shown {
            labels: series.labels.clone(),
            samples: series
                .samples
                .iter()
                .enumerate()
                .filter(|(_, sample)| !sample.is_nan())
                .map(|(interval, sample)| (timestamp(interval), sample))
                .collect(),
        }
    });
    shown.collect()
}

/// The first difference between two answers, or nothing. The order of series counts.
pub(crate) fn difference(expected: &[Shown], given: &[Shown]) -> Option<String> {
    for index in 0..expected.len().max(given.len()) {
        let (expected, given) = match (expected.get(index), given.get(index)) {
            (Some(expected), Some(given)) if identity(expected) == identity(given) => {
                (expected, given)
            }
            (expected, given) => {
                return Some(format!(
                    "series {index} should be {}, but is {}",
                    expected.map_or_else(|| "missing".to_owned(), text),
                    given.map_or_else(|| "missing".to_owned(), text),
                ));
            }
        };
        if let Some(difference) = sample_difference(&expected.samples, &given.samples) {
            return Some(format!("{}: {difference}", text(expected)));
        }
    }
    None
}

/// The first sample that is not the same.
fn sample_difference(
    expected: &BTreeMap<i128, f64>,
    given: &BTreeMap<i128, f64>,
) -> Option<String> {
    let times = expected.keys().chain(given.keys());
    let at = times
        .filter(|time| match (expected.get(time), given.get(time)) {
            (Some(expected), Some(given)) => !is_close(*expected, *given),
            _ => true,
        })
        .min()?;
    Some(format!("at {at} expected {:?}, got {:?}", expected.get(at), given.get(at)))
}

/// To 1e-9 of their size; numbers of opposite sign that add up to nothing leave 1e-12 at most.
fn is_close(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= (1e-9 * left.abs().max(right.abs())).max(1e-12)
}

/// Labels that can be compared: NaN is equal to itself.
fn identity(series: &Shown) -> String {
    format!("{:?}", series.labels)
}

/// Labels for people.
fn text(series: &Shown) -> String {
    let labels: Vec<String> =
        series.labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
    format!("{{{}}}", labels.join(", "))
}
