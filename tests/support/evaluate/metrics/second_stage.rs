//! Second stages (`metrics.md` section 3): the largest and smallest series, and comparisons with a
//! constant. They see nothing of a series but its labels and samples.
//!
//! Choices made where the specification is silent:
//! - In a tie a label list that ends where the other goes on ranks higher: what is not there has the
//!   empty text and the empty name.

use std::cmp::Ordering;

use traceql_engine::metrics::{Label, LabelValue};
use traceql_language::analyze::ir::{Comparison, SecondStage};

use super::NaiveSeries;

/// Applies the stages from left to right. Series that lose all samples vanish, after each stage.
pub(super) fn apply(mut series: Vec<NaiveSeries>, stages: &[SecondStage]) -> Vec<NaiveSeries> {
    for stage in stages {
        series = match stage {
            SecondStage::TopK(k) => choose(series, *k, better),
            SecondStage::BottomK(k) => choose(series, *k, |left, right| better(right, left)),
            SecondStage::Filter(op, constant) => filter(series, *op, *constant),
        };
        series.retain(NaiveSeries::has_samples);
    }
    series
}

/// 3.2: samples for which the comparison does not hold go.
fn filter(mut series: Vec<NaiveSeries>, op: Comparison, constant: f64) -> Vec<NaiveSeries> {
    let holds = |sample: f64| match op {
        Comparison::Equal => sample == constant,
        Comparison::NotEqual => sample != constant,
        Comparison::Less => sample < constant,
        Comparison::LessEqual => sample <= constant,
        Comparison::Greater => sample > constant,
        Comparison::GreaterEqual => sample >= constant,
    };
    for sample in series.iter_mut().flat_map(|series| &mut series.samples) {
        *sample = sample.filter(|sample| holds(*sample));
    }
    series
}

/// 3.1: in each interval the first `k` of the series with a value stay, in the given order.
fn choose(
    mut series: Vec<NaiveSeries>,
    k: u32,
    order: impl Fn((f64, &[Label]), (f64, &[Label])) -> Ordering,
) -> Vec<NaiveSeries> {
    let k = usize::try_from(k).expect("a 32-bit number");
    if series.len() <= k {
        return series;
    }
    let n_intervals = series.first().map_or(0, |series| series.samples.len());
    for interval in 0..n_intervals {
        let mut present: Vec<(usize, f64)> = series
            .iter()
            .enumerate()
            .filter_map(|(index, series)| Some((index, series.samples[interval]?)))
            .collect();
        present.sort_by(|&(left, left_sample), &(right, right_sample)| {
            order((left_sample, &series[left].labels), (right_sample, &series[right].labels))
        });
        for &(index, _) in present.iter().skip(k) {
            series[index].samples[interval] = None;
        }
    }
    series
}

/// Which of two samples `topk` takes first.
fn better(left: (f64, &[Label]), right: (f64, &[Label])) -> Ordering {
    let by_sample = right.0.partial_cmp(&left.0).expect("samples are no NaN");
    by_sample.then_with(|| tie(left.1, right.1))
}

/// 3.1, the table: the list that ranks higher comes first.
fn tie(left: &[Label], right: &[Label]) -> Ordering {
    for position in 0..left.len().max(right.len()) {
        let (left, right) = (left.get(position), right.get(position));
        let order = text(left)
            .cmp(text(right))
            .then_with(|| name(left).cmp(name(right)))
            .then_with(|| type_rank(right).cmp(&type_rank(left)))
            .then_with(|| bits(right).cmp(&bits(left)));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Row 1: only strings have a text.
fn text(label: Option<&Label>) -> &str {
    match label {
        Some(Label { value: LabelValue::String(text), .. }) => text,
        _ => "",
    }
}

/// Row 2.
fn name(label: Option<&Label>) -> &str {
    label.map_or("", |label| &label.name)
}

/// Row 3.
fn type_rank(label: Option<&Label>) -> u8 {
    match label.map(|label| &label.value) {
        None => 0,
        Some(LabelValue::Int(_)) => 1,
        Some(LabelValue::Float(_)) => 2,
        Some(LabelValue::String(_)) => 3,
        Some(LabelValue::Bool(_)) => 4,
    }
}

/// Row 4.
fn bits(label: Option<&Label>) -> u64 {
    match label.map(|label| &label.value) {
        None | Some(LabelValue::String(_)) => 0,
        Some(LabelValue::Int(number)) => number.cast_unsigned(),
        Some(LabelValue::Float(number)) => number.to_bits(),
        Some(LabelValue::Bool(truth)) => u64::from(*truth),
    }
}
