//! `compare()` for people: what the selected spans have that the others have not, most telling first.
//! Series are a poor form of it, since each attribute would be a label of its own.

use std::collections::BTreeMap;

use traceql_engine::metrics::{LabelValue, Series};

use super::names;
use super::unit::Unit;
use crate::output::sheet::{Cell, Column, Sheet};

/// Spans with one value of one attribute, over the whole range.
#[derive(Clone, Debug, Default)]
struct Counts {
    baseline: f64,
    selection: f64,
}

/// One row a value: how many of the selected and of the other spans have it, and what share of them;
/// by the difference of the shares, largest first.
pub(super) fn sheet(series: &[Series]) -> Sheet {
    let mut by_value: BTreeMap<(String, String), Counts> = BTreeMap::new();
    let mut all = Counts::default();
    for series in series {
        let [side, attribute] = series.labels.as_slice() else { continue };
        let LabelValue::String(side) = &side.value else { continue };
        let sum: f64 = series.samples.present().map(|(_, count)| count).sum();
        // Every span has a name and a kind, so the largest total is the number of spans.
        match side.as_str() {
            "baseline_total" => all.baseline = all.baseline.max(sum),
            "selection_total" => all.selection = all.selection.max(sum),
            side => {
                let value = names::text(attribute, Unit::Number);
                let counts = by_value.entry((attribute.name.clone(), value)).or_default();
                match side {
                    "selection" => counts.selection += sum,
                    _ => counts.baseline += sum,
                }
            }
        }
    }
    let share = |count: f64, of: f64| if of > 0.0 { count / of } else { 0.0 };
    let difference = |counts: &Counts| {
        share(counts.selection, all.selection) - share(counts.baseline, all.baseline)
    };
    let mut rows: Vec<_> = by_value.into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| difference(b).abs().total_cmp(&difference(a).abs()));
    let percent = |share: f64| Cell::text(format!("{:.1}%", share * 100.0));
    let count = |count: f64| Cell::text(Unit::Number.text(count));
    let row = |((name, value), counts): ((String, String), Counts)| {
        vec![
            Cell::text(name),
            Cell::text(value),
            count(counts.selection),
            percent(share(counts.selection, all.selection)),
            count(counts.baseline),
            percent(share(counts.baseline, all.baseline)),
            Cell::text(format!("{:+.1}%", difference(&counts) * 100.0)),
        ]
    };
    Sheet {
        columns: vec![
            Column::text("Attribute", "attribute"),
            Column::text("Value", "value"),
            Column::number("Selection", "selection"),
            Column::number("Share", "selection_share"),
            Column::number("Baseline", "baseline"),
            Column::number("Share", "baseline_share"),
            Column::number("Difference", "difference"),
        ],
        rows: rows.into_iter().map(row).collect(),
    }
}
