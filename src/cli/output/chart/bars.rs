//! Single values as bars beside each other: the largest first, buckets in their order.

use std::cmp::Ordering;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::{Chart, Look, bucket, ink, share_of};
use crate::output::fit;
use crate::output::metrics::names::Names;
use crate::terminal::{FAINT, HEADING};
use crate::units::format_time;

/// Bars that a screen has room for.
const MAX_BARS: usize = 30;
/// Eighths of a column, the whole one last.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// Columns between name, value and bar.
const GAP: usize = 2;

/// How far bars reach to the left and to the right of zero.
struct Reach {
    left: f64,
    right: f64,
    /// Columns for each.
    columns: (usize, usize),
}

pub(super) fn draw(chart: &Chart<'_>, look: &Look) -> String {
    let values = chart.series.iter().map(|series| series.samples.get(0));
    let mut bars: Vec<(usize, f64)> = values.enumerate().filter(|(_, v)| !v.is_nan()).collect();
    if !chart.series.iter().all(|series| bucket(series).is_some()) {
        bars.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    }
    let n_bars = bars.len();
    bars.truncate(MAX_BARS);
    let names = Names::new(chart.series, chart.units.bucket, None);
    let texts: Vec<String> =
        bars.iter().map(|(_, value)| chart.units.sample.text(*value)).collect();
    let value_width = texts.iter().map(|text| text.width()).max().unwrap_or(0).max("VALUE".len());
    let longest = bars.iter().map(|(n, _)| names.of[*n].width()).max().unwrap_or(0);
    let longest = longest.max(names.heading.width());
    let name_width =
        longest.min((look.width * 2 / 5).max(look.width.saturating_sub(value_width + 2 * GAP) / 2));
    let columns = look.width.saturating_sub(name_width + value_width + 2 * GAP).max(4);
    let reach = Reach::new(bars.iter().map(|(_, value)| *value), columns);

    let mut text = String::new();
    let heading = fit(&names.heading.to_uppercase(), name_width);
    let padding = " ".repeat(name_width.saturating_sub(heading.width()) + GAP);
    let heading = format!("{heading}{padding}{:>value_width$}", "VALUE");
    writeln!(text, "{}", look.paint.paint(HEADING, heading)).expect("strings take all");
    for ((n, value), value_text) in bars.iter().zip(&texts) {
        let name = fit(&names.of[*n], name_width);
        let name_padding = " ".repeat(name_width.saturating_sub(name.width()) + GAP);
        let value_padding = " ".repeat(value_width.saturating_sub(value_text.width()));
        let line = format!("{name}{name_padding}{value_padding}{value_text}");
        let (before, bar) = reach.bar(*value, look);
        if bar.is_empty() {
            writeln!(text, "{line}").expect("strings take all");
        } else {
            let bar = look.paint.paint(ink(0), bar);
            writeln!(text, "{line}  {}{bar}", " ".repeat(before)).expect("strings take all");
        }
    }
    let mut notes = Vec::new();
    if n_bars > bars.len() {
        notes.push(format!("and {} more", n_bars - bars.len()));
    }
    notes.push(range_text(chart.axis.start_unix_nanos, chart.axis.end_unix_nanos()));
    for note in notes {
        writeln!(text, "{}", look.paint.paint(FAINT, fit(&note, look.width)))
            .expect("strings take all");
    }
    text
}

/// The range that was asked about; its date once if there is only one, whole seconds as such.
fn range_text(start: u64, end: u64) -> String {
    let (start, end) = (format_time(start), format_time(end));
    let is_one_day = start.get(..11).is_some_and(|day| end.starts_with(day));
    let end = if is_one_day { end.get(11..).unwrap_or(&end) } else { &end };
    let whole = |text: &str| text.strip_suffix(".000").unwrap_or(text).to_owned();
    format!("{} until {} UTC", whole(&start), whole(end))
}

impl Reach {
    fn new(values: impl Iterator<Item = f64>, columns: usize) -> Self {
        let values: Vec<f64> = values.collect();
        let finite = values.iter().filter(|value| value.is_finite());
        let (left, right) =
            finite.fold((0.0_f64, 0.0_f64), |(left, right), v| (left.max(-v), right.max(*v)));
        // As shares of the larger, whose sum is a number whatever they are.
        let larger = left.max(right);
        let left_share = if larger > 0.0 { left / larger } else { 0.0 };
        let right_share = if larger > 0.0 { right / larger } else { 1.0 };
        let left_columns = share_of(left_share / (left_share + right_share), columns);
        // Every bar that is one is seen.
        let least = usize::from(values.iter().any(|value| *value < 0.0));
        let most = columns - usize::from(values.iter().any(|value| *value > 0.0));
        let left_columns = left_columns.min(most).max(least);
        Self { left, right, columns: (left_columns, columns - left_columns) }
    }

    /// Blanks before a bar, and the bar. Only zero has none.
    fn bar(&self, value: f64, look: &Look) -> (usize, String) {
        let (left_columns, right_columns) = self.columns;
        let share = |size: f64, most: f64| match (size.is_infinite(), most > 0.0) {
            (true, _) => 1.0,
            (false, true) => size / most,
            (false, false) => 0.0,
        };
        if value < 0.0 {
            let length = share_of(share(-value, self.left), left_columns).max(1);
            let bar = look.pick("█", "#").repeat(length);
            (left_columns.saturating_sub(length), bar)
        } else if value > 0.0 {
            let share = share(value, self.right);
            let bar = if look.unicode {
                let eighths = share_of(share, right_columns * 8).max(1);
                let whole = EIGHTHS[7].to_string().repeat(eighths / 8);
                let part = (eighths % 8).checked_sub(1).map(|at| EIGHTHS[at]);
                whole.chars().chain(part).collect()
            } else {
                "#".repeat(share_of(share, right_columns).max(1))
            };
            (left_columns, bar)
        } else {
            (0, String::new())
        }
    }
}
