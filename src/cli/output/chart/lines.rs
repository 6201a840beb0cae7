//! Series as lines over time. A step without a value is a gap.

use std::cmp::Ordering;
use std::fmt::Write as _;

use traceql_engine::metrics::Series;
use unicode_width::UnicodeWidthStr as _;

use super::canvas::{Canvas, Dot};
use super::legend::{self, Entry};
use super::scale::Scale;
use super::time::{self, Below};
use super::{Chart, Look, share_of};
use crate::output::fit;
use crate::output::metrics::names::Names;
use crate::terminal::FAINT;

/// More lines than this cannot be told apart.
const MAX_LINES: usize = 10;
/// Rows between two named values, at least.
const ROWS_PER_TICK: usize = 3;
/// Columns between two letters on one line.
const MARK_PERIOD: usize = 24;
/// Columns right of the plot for the letters at the ends of lines.
const END_WIDTH: usize = 2;

pub(super) fn draw(chart: &Chart<'_>, look: &Look) -> String {
    let drawn = highest(chart.series);
    let samples: Vec<Vec<f64>> =
        drawn.iter().map(|n| chart.series[*n].samples.iter().collect()).collect();
    let n_ticks = (look.height / ROWS_PER_TICK).clamp(2, 6);
    let scale = Scale::new(samples.iter().flatten().copied(), n_ticks, chart.units.sample);
    let ticks = scale.ticks();
    let label_width = ticks.iter().map(|(_, name)| name.width()).max().unwrap_or(0);
    let indent = label_width + 2;
    let is_single = drawn.len() == 1;
    let end_width = if is_single { 0 } else { END_WIDTH };
    let width = look.width.saturating_sub(indent + end_width).max(8);

    let mut canvas = Canvas::new(width + end_width, look.height, look, is_single);
    let plot = Plot { n_dots: canvas.dots_across(width), n_rows: canvas.dots_down(), scale };
    // The highest is drawn last, so that it is whole.
    for (n, samples) in samples.iter().enumerate().rev() {
        plot.line(&mut canvas, samples, n);
    }
    if !is_single {
        mark_ends(&mut canvas, &plot, &samples);
        if !look.paint.on {
            mark_ways(&mut canvas, &plot, &samples, width);
        }
    }

    let mut text = String::new();
    let mut labels = vec![""; look.height];
    for (value, name) in &ticks {
        let (_, row) = canvas.cell_of((0, plot.row_of(*value)));
        if let Some(label) = labels.get_mut(row).filter(|label| label.is_empty()) {
            *label = name;
        }
    }
    for (row, label) in labels.iter().enumerate() {
        let edge = match label.is_empty() {
            true => look.pick("│", "|"),
            false => look.pick("┤", "+"),
        };
        let padding = " ".repeat(label_width.saturating_sub(label.width()));
        let left = look.paint.paint(FAINT, format!("{padding}{label} {edge}"));
        writeln!(text, "{left}{}", canvas.row(row, look)).expect("strings take all");
    }
    let times = (chart.axis.timestamp_unix_nanos(0), chart.axis.end_unix_nanos());
    let below = Below { indent, width, times, step_nanos: chart.axis.step_nanos };
    time::draw(&mut text, &below, look);
    text.push('\n');
    let names = Names::new(chart.series, chart.units.bucket, None);
    let entries =
        drawn.iter().map(|n| Entry { name: &names.of[*n], samples: &chart.series[*n].samples });
    legend::draw(&mut text, &names.heading, &entries.collect::<Vec<_>>(), chart.units.sample, look);
    if drawn.len() < chart.series.len() {
        let n_left = chart.series.len() - drawn.len();
        let note = format!("and {n_left} more: these have the highest peaks");
        writeln!(text, "{}", look.paint.paint(FAINT, fit(&note, look.width)))
            .expect("strings take all");
    }
    text
}

/// The series with the highest peaks, highest first; of equal ones the first of the answer.
fn highest(series: &[Series]) -> Vec<usize> {
    let peak = |series: &Series| {
        series.samples.present().map(|(_, value)| value).fold(f64::NEG_INFINITY, f64::max)
    };
    let mut peaks: Vec<(usize, f64)> = series.iter().map(peak).enumerate().collect();
    peaks.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    peaks.into_iter().take(MAX_LINES).map(|(n, _)| n).collect()
}

/// Where values lie on the canvas, in dots.
struct Plot {
    n_dots: usize,
    n_rows: usize,
    scale: Scale,
}

impl Plot {
    fn row_of(&self, value: f64) -> usize {
        let last = self.n_rows.saturating_sub(1);
        last - share_of(self.scale.position(value), last)
    }

    fn column_of(&self, interval: usize, n_intervals: usize) -> usize {
        let last = self.n_dots.saturating_sub(1);
        match n_intervals.saturating_sub(1) {
            // The only sample stands in the middle.
            0 => last / 2,
            steps => (interval * last + steps / 2) / steps,
        }
    }

    fn dot_of(&self, interval: usize, samples: &[f64]) -> Option<Dot> {
        let value = *samples.get(interval)?;
        let x = self.column_of(interval, samples.len());
        (!value.is_nan()).then(|| (x, self.row_of(value)))
    }

    /// Draws what is there of a line; a sample without neighbours is a blot.
    fn line(&self, canvas: &mut Canvas, samples: &[f64], owner: usize) {
        let mut before = None;
        for interval in 0..samples.len() {
            let here = self.dot_of(interval, samples);
            match (before, here) {
                (Some(before), Some(here)) => canvas.line(before, here, owner),
                (None, Some(here)) if self.dot_of(interval + 1, samples).is_none() => {
                    canvas.blot(here, owner);
                }
                _ => {}
            }
            before = here;
        }
    }
}

/// Puts letters behind the last values, above or below their places if those are taken.
fn mark_ends(canvas: &mut Canvas, plot: &Plot, samples: &[Vec<f64>]) {
    const WAY: [isize; 9] = [0, -1, 1, -2, 2, -3, 3, -4, 4];
    for (n, samples) in samples.iter().enumerate() {
        let last = (0..samples.len()).rev().find_map(|interval| plot.dot_of(interval, samples));
        let Some((column, row)) = last.map(|dot| canvas.cell_of(dot)) else { continue };
        let rows = WAY.iter().filter_map(|by| row.checked_add_signed(*by));
        for row in rows {
            if canvas.mark((column + 1, row), n) {
                break;
            }
        }
    }
}

/// Puts letters on the lines, each at columns of its own, where colours do not tell them apart.
fn mark_ways(canvas: &mut Canvas, plot: &Plot, samples: &[Vec<f64>], width: usize) {
    let n_lines = samples.len();
    let period = MARK_PERIOD.max(3 * n_lines);
    for (n, samples) in samples.iter().enumerate() {
        let mut wanted = period * (2 * n + 1) / (2 * n_lines);
        for interval in 0..samples.len() {
            let Some(dot) = plot.dot_of(interval, samples) else { continue };
            let place = canvas.cell_of(dot);
            if place.0 >= wanted && place.0 + 1 < width {
                canvas.mark(place, n);
                wanted = (place.0 / period + 1) * period + period * (2 * n + 1) / (2 * n_lines);
            }
        }
    }
}
