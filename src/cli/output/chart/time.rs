//! A time axis below a plot: marks, times of the day, and the date, once. Knows no values.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::Look;
use crate::output::fit;
use crate::terminal::FAINT;
use crate::units::{format_duration, format_utc};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Distances of times that are named, shortest first; longer ones are multiples of the last.
const STEPS: [u64; 31] = [
    MILLI,
    2 * MILLI,
    5 * MILLI,
    10 * MILLI,
    20 * MILLI,
    50 * MILLI,
    100 * MILLI,
    200 * MILLI,
    500 * MILLI,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    28 * DAY,
    364 * DAY,
];

/// Columns between two names, at least.
const GAP: usize = 3;

/// Where an axis lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Below {
    /// Columns left of the plot, the value axis included.
    pub(super) indent: usize,
    /// Columns of the plot.
    pub(super) width: usize,
    /// The time of its first column, and of its last one, unix nanoseconds.
    pub(super) times: (u64, u64),
    /// What a column stands for at least.
    pub(super) step_nanos: u64,
}

/// A time that is named.
struct Tick {
    column: usize,
    unix_nanos: u64,
}

/// Writes the three lines of the axis.
pub(super) fn draw(text: &mut String, below: &Below, look: &Look) {
    let (line, mark, corner) = if look.unicode { ('─', '┬', '└') } else { ('-', '+', '+') };
    let (format, ticks) = ticks(below);
    let mut marks = vec![line; below.width];
    for tick in &ticks {
        marks[tick.column] = mark;
    }
    let marks: String = marks.into_iter().collect();
    let before = " ".repeat(below.indent.saturating_sub(1));
    let axis = look.paint.paint(FAINT, format!("{before}{corner}{marks}"));
    writeln!(text, "{axis}").expect("strings take all");
    let room = below.indent + below.width;
    let times = names(&ticks, format, below, room);
    writeln!(text, "{}", look.paint.paint(FAINT, times)).expect("strings take all");
    let dates = dates(&ticks, format, below, room);
    writeln!(text, "{}", look.paint.paint(FAINT, dates)).expect("strings take all");
}

/// The times to be named, and how.
fn ticks(below: &Below) -> (&'static str, Vec<Tick>) {
    let (first, last) = below.times;
    let range = last.saturating_sub(first);
    let last_column = below.width.saturating_sub(1);
    let longer = (1..60).map(|n| (364 * DAY).saturating_mul(1 << n.min(20)));
    let fits = |step: &u64| {
        let room = GAP + width_of(format_of(*step));
        usize::try_from(range / step).is_ok_and(|n| n.saturating_mul(room) <= below.width)
    };
    let step = STEPS.into_iter().chain(longer).find(fits).unwrap_or(u64::MAX);
    let column = |unix_nanos: u64| {
        let at = u128::from(unix_nanos - first) * last_column as u128 + u128::from(range / 2);
        usize::try_from(at / u128::from(range.max(1))).unwrap_or(last_column).min(last_column)
    };
    let mut ticks = Vec::new();
    // A single time has no distances.
    let step = if range == 0 { u64::MAX } else { step };
    let mut next = first.div_ceil(step).checked_mul(step);
    while let Some(unix_nanos) = next.filter(|unix_nanos| *unix_nanos <= last) {
        ticks.push(Tick { column: column(unix_nanos), unix_nanos });
        next = unix_nanos.checked_add(step);
    }
    if ticks.is_empty() {
        // No round time lies in the range; any is better than none.
        let column = if range == 0 { last_column / 2 } else { 0 };
        ticks.push(Tick { column, unix_nanos: first });
        return (format_of(if first.is_multiple_of(SECOND) { SECOND } else { MILLI }), ticks);
    }
    (format_of(step), ticks)
}

fn format_of(step: u64) -> &'static str {
    match step {
        0..SECOND => "%H:%M:%S%.3f",
        SECOND..MINUTE => "%H:%M:%S",
        MINUTE..DAY => "%H:%M",
        _ => "%Y-%m-%d",
    }
}

fn width_of(format: &str) -> usize {
    format_utc(0, format).map_or(0, |text| text.width())
}

/// Each time below its mark, as far as there is room.
fn names(ticks: &[Tick], format: &str, below: &Below, room: usize) -> String {
    let mut text = String::new();
    for tick in ticks {
        let Some(name) = format_utc(tick.unix_nanos, format) else { continue };
        let middle = below.indent + tick.column;
        let start = middle.saturating_sub(name.width() / 2).min(room.saturating_sub(name.width()));
        if text.is_empty() || start > text.width() {
            text.push_str(&" ".repeat(start.saturating_sub(text.width())));
            text.push_str(&name);
        }
    }
    fit(&text, room)
}

/// The date where it begins, the time zone and the step.
fn dates(ticks: &[Tick], format: &str, below: &Below, room: usize) -> String {
    let day = |unix_nanos: u64| format_utc(unix_nanos, "%Y-%m-%d").unwrap_or_default();
    let (first, last) = (day(below.times.0), day(below.times.1));
    let mut text = " ".repeat(below.indent);
    if format != format_of(DAY) {
        text.push_str(&first);
        text.push(' ');
        let mut before = first.clone();
        for tick in ticks.iter().filter(|_| first != last) {
            let date = day(tick.unix_nanos);
            // The year is told by the first.
            let short = date.get("2026-".len()..).unwrap_or(&date);
            let start = below.indent + tick.column;
            if date != before && start >= text.width() && start + short.width() <= room {
                text.push_str(&" ".repeat(start - text.width()));
                text.push_str(short);
                text.push(' ');
                before.clone_from(&date);
            }
        }
    }
    let steps = [format!("UTC, step {}", step_text(below.step_nanos)), "UTC".to_owned()];
    let step = steps.into_iter().find(|step| text.width() + step.width() <= room);
    text.push_str(&step.unwrap_or_default());
    fit(text.trim_end(), room)
}

/// A duration without the zeros at its end.
fn step_text(nanos: u64) -> String {
    let text = format_duration(nanos);
    let trimmed = text.strip_suffix(" 0s").or_else(|| text.strip_suffix(" 0m"));
    trimmed.or_else(|| text.strip_suffix(" 0h")).unwrap_or(&text).to_owned()
}
