//! Buckets over time as a heat map: a row a bucket, the largest on top; a column a step, or several.
//! The more spans, the darker.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use traceql_engine::metrics::{Label, Series};
use unicode_width::UnicodeWidthStr as _;

use super::time::{self, Below};
use super::{Chart, HEAT, Look, bucket, color};
use crate::output::fit;
use crate::output::metrics::names::{BUCKET, Names};
use crate::output::metrics::unit::Unit;
use crate::terminal::{FAINT, HEADING};

/// Groups drawn one below the other.
const MAX_GROUPS: usize = 4;
/// Rows of one map; more buckets share rows.
const MAX_ROWS: usize = 32;
/// Shades from few to many.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];
const ASCII_SHADES: [char; 4] = ['.', ':', '*', '#'];

/// Buckets of one group of spans.
struct Group<'a> {
    name: String,
    series: Vec<&'a Series>,
    total: f64,
}

/// A row of a map: a value a column.
type Row = Vec<f64>;

/// From which value on a shade is used.
struct Shades(Vec<(f64, usize)>);

pub(super) fn draw(chart: &Chart<'_>, look: &Look) -> String {
    let groups = groups(chart);
    let drawn = &groups[..groups.len().min(MAX_GROUPS)];
    // Bounds are the same for all groups, so that maps can be compared.
    let bounds = bounds(drawn.iter().flat_map(|group| &group.series).filter_map(|s| bucket(s)));
    let per_row = bounds.len().div_ceil(MAX_ROWS.min(look.height.max(16)).max(1)).max(1);
    let rows: Vec<&[f64]> = bounds.chunks(per_row).collect();
    let labels: Vec<String> =
        rows.iter().map(|row| chart.units.bucket.text(*row.last().unwrap_or(&0.0))).collect();
    let label_width = labels.iter().map(|label| label.width()).max().unwrap_or(0);
    let indent = label_width + 2;
    let width = look.width.saturating_sub(indent).max(8);
    let columns = Columns::new(chart.axis.n_intervals, width);

    let maps: Vec<Vec<Row>> = drawn.iter().map(|group| cells(group, &rows, &columns)).collect();
    let all = maps.iter().flatten().flatten().copied();
    let shades = Shades::new(all);
    let mut text = String::new();
    for (group, map) in drawn.iter().zip(&maps) {
        if !group.name.is_empty() {
            let name = fit(&group.name, look.width);
            writeln!(text, "{}", look.paint.paint(HEADING, name)).expect("strings take all");
        }
        for (row, label) in map.iter().zip(&labels).rev() {
            let padding = " ".repeat(label_width.saturating_sub(label.width()));
            let edge = look.pick("┤", "|");
            let left = look.paint.paint(FAINT, format!("{padding}{label} {edge}"));
            let cells = shades.row(row, columns.repeat, look);
            writeln!(text, "{left}{cells}").expect("strings take all");
        }
        let times = (chart.axis.start_unix_nanos, chart.axis.end_unix_nanos());
        let step_nanos = chart.axis.step_nanos;
        let below = Below { indent, width: columns.width(), times, step_nanos };
        time::draw(&mut text, &below, look);
        text.push('\n');
    }
    shades.write_legend(&mut text, chart.units.sample, columns.merged, look);
    if groups.len() > drawn.len() {
        let n_left = groups.len() - drawn.len();
        let note = format!("and {n_left} more groups: these have the most spans");
        writeln!(text, "{}", look.paint.paint(FAINT, fit(&note, look.width)))
            .expect("strings take all");
    }
    text
}

/// Series that differ in their bucket alone, those with most spans first.
fn groups<'a>(chart: &Chart<'a>) -> Vec<Group<'a>> {
    let names = Names::new(chart.series, chart.units.bucket, Some(BUCKET));
    let mut groups: Vec<(&[Label], Group<'a>)> = Vec::new();
    for (series, name) in chart.series.iter().zip(names.of) {
        let labels = &series.labels[..series.labels.len().saturating_sub(1)];
        let at = groups.iter().position(|(others, _)| *others == labels).unwrap_or_else(|| {
            groups.push((labels, Group { name, series: Vec::new(), total: 0.0 }));
            groups.len() - 1
        });
        let group = &mut groups[at].1;
        group.total += series.samples.present().map(|(_, value)| value).sum::<f64>();
        group.series.push(series);
    }
    let mut groups: Vec<Group<'a>> = groups.into_iter().map(|(_, group)| group).collect();
    groups.sort_by(|a, b| b.total.total_cmp(&a.total));
    groups
}

/// All bounds, ascending, with those between that no span fell under: buckets double.
fn bounds(found: impl Iterator<Item = f64>) -> Vec<f64> {
    /// Between the largest double and the smallest one lie fewer powers of two.
    const MAX_BOUNDS: usize = 2200;
    let mut found: Vec<f64> = found.collect();
    found.sort_by(f64::total_cmp);
    found.dedup();
    let mut bounds: Vec<f64> = Vec::new();
    for bound in found {
        if let Some(before) = bounds.last().copied().filter(|before| *before > 0.0) {
            let mut between = before * 2.0;
            while between < bound * 0.75 && bounds.len() < MAX_BOUNDS {
                bounds.push(between);
                between *= 2.0;
            }
        }
        bounds.push(bound);
    }
    bounds
}

/// How steps become columns.
struct Columns {
    n_intervals: usize,
    /// Steps in one column.
    merged: usize,
    /// Columns of one step.
    repeat: usize,
}

impl Columns {
    fn new(n_intervals: usize, width: usize) -> Self {
        let n_intervals = n_intervals.max(1);
        let merged = n_intervals.div_ceil(width);
        let repeat = if merged == 1 { (width / n_intervals).max(1) } else { 1 };
        Self { n_intervals, merged, repeat }
    }

    fn n_cells(&self) -> usize {
        self.n_intervals.div_ceil(self.merged)
    }

    fn width(&self) -> usize {
        self.n_cells() * self.repeat
    }
}

fn cells(group: &Group<'_>, rows: &[&[f64]], columns: &Columns) -> Vec<Row> {
    let mut of_bound: BTreeMap<u64, Vec<&Series>> = BTreeMap::new();
    for series in &group.series {
        if let Some(bound) = bucket(series) {
            of_bound.entry(bound.to_bits()).or_default().push(series);
        }
    }
    rows.iter()
        .map(|bounds| {
            let mut cells = vec![0.0; columns.n_cells()];
            let series = bounds.iter().filter_map(|bound| of_bound.get(&bound.to_bits())).flatten();
            for series in series {
                for (interval, value) in series.samples.present() {
                    if let Some(cell) = cells.get_mut(interval / columns.merged) {
                        *cell += value;
                    }
                }
            }
            cells
        })
        .collect()
}

impl Shades {
    /// Shades for values up to the largest. Their bounds grow as squares do: most cells hold few.
    fn new(values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let max = finite.clone().fold(0.0_f64, f64::max);
        let is_whole = finite.clone().all(|value| value.fract() == 0.0);
        let mut shades: Vec<(f64, usize)> = Vec::new();
        for (n, share) in [1.0_f64, 2.0, 3.0, 4.0].into_iter().enumerate() {
            let bound = max * (share / 4.0).powi(2);
            let bound = if is_whole { bound.ceil() } else { bound };
            match shades.last_mut() {
                // Of shades for the same values the darker one is used.
                Some(last) if last.0 >= bound => last.1 = n,
                _ => shades.push((bound, n)),
            }
        }
        Self(shades)
    }

    /// The shade of a value; `None` for nothing.
    fn of(&self, value: f64) -> Option<usize> {
        if value.is_nan() || value <= 0.0 {
            return None;
        }
        let shade = self.0.iter().find(|(bound, _)| value <= *bound).or(self.0.last());
        shade.map(|(_, shade)| *shade)
    }

    fn row(&self, cells: &[f64], repeat: usize, look: &Look) -> String {
        let used = cells.iter().rposition(|cell| self.of(*cell).is_some()).map_or(0, |at| at + 1);
        let mut text = String::new();
        for run in cells[..used].chunk_by(|a, b| self.of(*a) == self.of(*b)) {
            let length = run.len() * repeat;
            match self.of(run[0]) {
                None => text.push_str(&" ".repeat(length)),
                Some(shade) => {
                    let glyphs = glyph(shade, look).to_string().repeat(length);
                    let painted = look.paint.paint(color(HEAT[shade]), glyphs);
                    write!(text, "{painted}").expect("strings take all");
                }
            }
        }
        text
    }

    /// Which shade stands for how many, over as many lines as it takes.
    fn write_legend(&self, text: &mut String, unit: Unit, merged: usize, look: &Look) {
        const GAP: usize = 2;
        let mut used = 0;
        let mut put = |plain_width: usize, item: &str| {
            let gap = match used {
                0 => String::new(),
                used if used + GAP + plain_width > look.width => "\n".to_owned(),
                _ => " ".repeat(GAP),
            };
            used = if gap == "\n" { plain_width } else { used + gap.len() + plain_width };
            text.push_str(&gap);
            text.push_str(item);
        };
        for (bound, shade) in self.0.iter().filter(|(bound, _)| *bound > 0.0) {
            let glyphs = glyph(*shade, look).to_string().repeat(2);
            let of = format!("{} {}", look.pick("≤", "<="), unit.text(*bound));
            let painted = look.paint.paint(color(HEAT[*shade]), &glyphs);
            put(glyphs.width() + 1 + of.width(), &format!("{painted} {of}"));
        }
        let per = match merged {
            1 => "a step".to_owned(),
            n => format!("a column, which is {n} steps"),
        };
        put(per.width(), &per);
        text.push('\n');
    }
}

fn glyph(shade: usize, look: &Look) -> char {
    let shades = if look.unicode { SHADES } else { ASCII_SHADES };
    shades[shade.min(shades.len() - 1)]
}
