//! The table below a plot: which letter and colour is which series, and what its values are.

use std::fmt::Write as _;

use traceql_engine::metrics::Samples;
use unicode_width::UnicodeWidthStr as _;

use super::{Look, ink, letter};
use crate::output::fit;
use crate::output::metrics::unit::Unit;
use crate::terminal::HEADING;

/// A line of the legend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) samples: &'a Samples,
}

/// A name is not cut below this as long as columns of numbers can be left out.
const MIN_NAME_WIDTH: usize = 20;
/// Columns between two columns.
const GAP: usize = 2;

/// The numbers, and which of them go first where there is little room.
const COLUMNS: [(&str, usize); 4] = [("MIN", 2), ("MEAN", 1), ("MAX", 3), ("LAST", 0)];

/// Writes the legend; a single entry needs no letter.
pub(super) fn draw(
    text: &mut String,
    heading: &str,
    entries: &[Entry<'_>],
    unit: Unit,
    look: &Look,
) {
    let mark_width = if entries.len() > 1 { 2 } else { 0 };
    let rows: Vec<[String; 4]> =
        entries.iter().map(|entry| summary(entry.samples).map(|value| unit.text(value))).collect();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|at| {
            rows.iter().map(|row| row[at].width()).max().unwrap_or(0).max(COLUMNS[at].0.len())
        })
        .collect();
    let longest =
        entries.iter().map(|entry| entry.name.width()).max().unwrap_or(0).max(heading.width());
    let mut shown = vec![true; COLUMNS.len()];
    let taken = |shown: &[bool]| -> usize {
        let widths = widths.iter().zip(shown).filter(|(_, shown)| **shown);
        mark_width + widths.map(|(width, _)| width + GAP).sum::<usize>()
    };
    for first in 0..COLUMNS.len() - 1 {
        if look.width.saturating_sub(taken(&shown)) >= longest.min(MIN_NAME_WIDTH) {
            break;
        }
        if let Some(at) = COLUMNS.iter().position(|(_, order)| *order == first) {
            shown[at] = false;
        }
    }
    let name_width = longest.min(look.width.saturating_sub(taken(&shown)).max(8));
    let mut line = |mark: &str, name: &str, cells: [&str; 4], is_heading: bool| {
        let name = fit(name, name_width);
        let mut row = name.clone();
        row.push_str(&" ".repeat(name_width.saturating_sub(name.width())));
        for (at, cell) in cells.iter().enumerate().filter(|(at, _)| shown[*at]) {
            row.push_str(&" ".repeat(GAP + widths[at] - cell.width()));
            row.push_str(cell);
        }
        let row = row.trim_end();
        if is_heading {
            writeln!(text, "{mark}{}", look.paint.paint(HEADING, row)).expect("strings take all");
        } else {
            writeln!(text, "{mark}{row}").expect("strings take all");
        }
    };
    let heading = heading.to_uppercase();
    line(&" ".repeat(mark_width), &heading, COLUMNS.map(|(title, _)| title), true);
    for (n, (entry, row)) in entries.iter().zip(&rows).enumerate() {
        let mark = match mark_width {
            0 => String::new(),
            _ => format!("{} ", look.paint.paint(ink(n).bold(), letter(n))),
        };
        line(&mark, entry.name, row.each_ref().map(String::as_str), false);
    }
}

/// Lowest, mean, highest and last value; NaN where there is none. The first interval counts only if
/// there is no other: it lies before the range (`TimeAxis::range`), and its zero would be every rate's
/// lowest.
pub(crate) fn summary(samples: &Samples) -> [f64; 4] {
    let has_others = samples.present().any(|(interval, _)| interval > 0);
    let counted = samples.present().filter(|(interval, _)| *interval > 0 || !has_others);
    let mut values = counted.map(|(_, value)| value);
    let Some(first) = values.next() else { return [f64::NAN; 4] };
    let (mut min, mut max, mut mean, mut last, mut n) = (first, first, first, first, 1.0);
    for value in values {
        n += 1.0;
        (min, max, last) = (min.min(value), max.max(value), value);
        // As a running mean, which does not leave the range of doubles.
        mean += value / n - mean / n;
    }
    [min, mean, max, last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_leaves_out_what_is_absent() {
        let samples = Samples::dense(vec![f64::NAN, 1.0, 5.0, f64::NAN, 3.0, f64::NAN]);
        assert_eq!(summary(&samples), [1.0, 3.0, 5.0, 3.0]);
        assert_eq!(summary(&Samples::dense(vec![0.0, 2.0, 4.0])), [2.0, 3.0, 4.0, 4.0]);
        assert_eq!(summary(&Samples::dense(vec![7.0, f64::NAN])), [7.0; 4]);
        assert!(summary(&Samples::filled(3, f64::NAN)).iter().all(|value| value.is_nan()));
        let huge = summary(&Samples::dense(vec![f64::MAX; 3]));
        assert!(huge.iter().all(|value| value.is_finite()), "{huge:?}");
    }
}
