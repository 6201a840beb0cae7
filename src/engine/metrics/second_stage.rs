//! What follows the first stage (`metrics.md` 3.1, 3.2): the largest or smallest series of each
//! interval, and samples kept by comparison.

use std::cmp::Ordering;

use traceql_language::analyze::ir::{Comparison, SecondStage};

use super::{Label, LabelValue, Samples, Series};

/// Applies a stage.
pub(super) fn apply(stage: &SecondStage, series: Vec<Series>) -> Vec<Series> {
    match stage {
        SecondStage::TopK(k) => keep(series, *k as usize, Ordering::Greater),
        SecondStage::BottomK(k) => keep(series, *k as usize, Ordering::Less),
        SecondStage::Filter(op, value) => filter(series, *op, *value),
    }
}

/// Keeps, interval by interval, the `k` values that rank first.
fn keep(mut series: Vec<Series>, k: usize, first: Ordering) -> Vec<Series> {
    if series.len() <= k {
        return series;
    }
    // Ties go by labels (3.1), whose order is the same in every interval.
    let mut by_rank: Vec<usize> = (0..series.len()).collect();
    by_rank.sort_by(|a, b| tie(&series[*b].labels, &series[*a].labels));
    if first == Ordering::Less {
        by_rank.reverse();
    }
    let mut rank = vec![0; series.len()];
    by_rank.iter().enumerate().for_each(|(place, at)| rank[*at] = place);
    let n = series.iter().map(|series| series.samples.len()).max().unwrap_or(0);
    let mut kept: Vec<Vec<(u32, f64)>> = vec![Vec::new(); series.len()];
    // Best last.
    let mut best: Vec<(f64, usize)> = Vec::with_capacity(k + 1);
    let better = |a: (f64, usize), b: (f64, usize)| match a.0.partial_cmp(&b.0) {
        Some(Ordering::Equal) | None => rank[a.1] < rank[b.1],
        Some(order) => order == first,
    };
    for (interval, number) in (0..n).zip(0_u32..) {
        best.clear();
        for (at, series) in series.iter().enumerate() {
            let candidate = (series.samples.get(interval), at);
            if candidate.0.is_nan() || (best.len() == k && !better(candidate, best[0])) {
                continue;
            }
            let place = best.partition_point(|known| better(candidate, *known));
            best.insert(place, candidate);
            if best.len() > k {
                best.remove(0);
            }
        }
        for (value, at) in &best {
            kept[*at].push((number, *value));
        }
    }
    for (series, kept) in series.iter_mut().zip(kept) {
        series.samples = Samples::sparse(n, f64::NAN, kept);
    }
    series.retain(|series| !series.samples.all_absent());
    series
}

/// Which labels rank higher on a tie: `Greater` if `a` does.
fn tie(a: &[Label], b: &[Label]) -> Ordering {
    let text = |value: &LabelValue| match value {
        LabelValue::String(text) => text.clone(),
        _ => String::new(),
    };
    let rank = |value: &LabelValue| match value {
        LabelValue::Int(_) => 0,
        LabelValue::Float(_) => 1,
        LabelValue::String(_) => 2,
        LabelValue::Bool(_) => 3,
    };
    let raw = |value: &LabelValue| match value {
        LabelValue::Int(v) => v.cast_unsigned(),
        LabelValue::Float(v) => v.to_bits(),
        LabelValue::Bool(v) => u64::from(*v),
        LabelValue::String(_) => 0,
    };
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            // Earlier texts rank higher, later types and larger raw values do.
            text(&b.value)
                .cmp(&text(&a.value))
                .then_with(|| b.name.cmp(&a.name))
                .then_with(|| rank(&a.value).cmp(&rank(&b.value)))
                .then_with(|| raw(&a.value).cmp(&raw(&b.value)))
        })
        .find(|order| order.is_ne())
        // A label that is not there is the empty text without a name.
        .unwrap_or_else(|| b.len().cmp(&a.len()))
}

fn filter(mut series: Vec<Series>, op: Comparison, value: f64) -> Vec<Series> {
    let holds = |sample: f64| match op {
        Comparison::Equal => sample == value,
        Comparison::NotEqual => sample != value,
        Comparison::Less => sample < value,
        Comparison::LessEqual => sample <= value,
        Comparison::Greater => sample > value,
        Comparison::GreaterEqual => sample >= value,
    };
    let kept = |sample: f64| if holds(sample) { sample } else { f64::NAN };
    for series in &mut series {
        series.samples = series.samples.map(kept);
        series.exemplars.retain(|exemplar| exemplar.value.is_nan() || holds(exemplar.value));
    }
    series.retain(|series| !series.samples.all_absent());
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(value: LabelValue, samples: &[f64]) -> Series {
        Series {
            labels: vec![Label::new("x", value)],
            samples: Samples::dense(samples.to_vec()),
            exemplars: Vec::new(),
        }
    }

    fn texts(series: &[Series]) -> Vec<String> {
        series.iter().map(|series| series.labels[0].value.to_text()).collect()
    }

    fn ints(values: &[i64]) -> Vec<Series> {
        values.iter().map(|v| series(LabelValue::Int(*v), &[1.0])).collect()
    }

    #[test]
    fn ties_go_by_labels() {
        let words = ["c", "a", "d", "b"];
        let words = || words.map(|w| series(LabelValue::String(w.to_owned()), &[1.0])).to_vec();
        assert_eq!(texts(&apply(&SecondStage::TopK(1), words())), ["a"]);
        assert_eq!(texts(&apply(&SecondStage::BottomK(1), words())), ["d"]);
        assert_eq!(texts(&apply(&SecondStage::TopK(2), ints(&[1, 2, 3, 10]))), ["3", "10"]);
        assert_eq!(texts(&apply(&SecondStage::BottomK(2), ints(&[1, 2, 3, 10]))), ["1", "2"]);
        let floats = [-1.5, 0.5, 2.5, 7.0].map(|v| series(LabelValue::Float(v), &[1.0])).to_vec();
        assert_eq!(texts(&apply(&SecondStage::TopK(2), floats)), ["-1.5", "7"]);
    }

    #[test]
    fn each_interval_chooses_for_itself() {
        let absent = f64::NAN;
        let all = [[5.0, 1.0, absent], [4.0, 2.0, 0.0], [3.0, 3.0, absent]];
        let all = || {
            let of = |(n, samples): (i64, &[f64; 3])| series(LabelValue::Int(n), samples);
            (0..).zip(&all).map(of).collect::<Vec<_>>()
        };
        let top = apply(&SecondStage::TopK(1), all());
        assert_eq!(texts(&top), ["0", "1", "2"]);
        assert_eq!(top[0].samples.present().collect::<Vec<_>>(), [(0, 5.0)]);
        assert_eq!(top[1].samples.present().collect::<Vec<_>>(), [(2, 0.0)]);
        let few = apply(&SecondStage::BottomK(9), all());
        assert_eq!(few, all(), "as many series as there may be pass unchanged");
        let two = apply(&SecondStage::BottomK(2), all());
        assert_eq!(two[1].samples.present().map(|(at, _)| at).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn filtered_samples_are_absent() {
        let all = vec![
            series(LabelValue::Int(0), &[0.0, 2.0, f64::NAN]),
            series(LabelValue::Int(1), &[0.0; 3]),
        ];
        let kept = apply(&SecondStage::Filter(Comparison::Greater, 1.0), all.clone());
        assert_eq!(texts(&kept), ["0"]);
        assert_eq!(kept[0].samples.present().collect::<Vec<_>>(), [(1, 2.0)]);
        let unequal = apply(&SecondStage::Filter(Comparison::NotEqual, 2.0), all);
        assert_eq!(unequal[0].samples.present().count(), 1, "an absent sample stays absent");
    }
}
