//! Rows for people: a table whose columns take their widths from the first rows, so that the others
//! can follow as they come, and the same as Markdown.

use std::io::Write;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, DurationNanosecondType, Schema, SchemaRef, TimeUnit, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr as _;

use super::super::{fit, printable};
use crate::terminal::{FAINT, HEADING, Terminal};
use crate::units::{format_duration, format_utc};

/// Rows that say how wide columns are.
const PREVIEW_ROWS: usize = 1_000;

/// What a column keeps when there is no room for all.
const LEAST_WIDTH: usize = 8;

/// Between two columns.
const GAP: &str = "  ";

/// What stands where there is no value.
const NULL: &str = "NULL";

type Result<T> = std::result::Result<T, ArrowError>;

/// Writes a table row by row.
pub(super) struct TableWriter {
    titles: Vec<String>,
    right: Vec<bool>,
    /// Columns that are of no use in part: ids.
    whole: Vec<bool>,
    terminal: Terminal,
    /// Columns of the terminal; `None` for any width.
    room: Option<u16>,
    /// Known once rows have come.
    widths: Option<Vec<usize>>,
    n_rows: u64,
}

/// Writes Markdown row by row.
pub(super) struct MarkdownWriter {
    schema: SchemaRef,
    has_begun: bool,
}

fn titles(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| printable(field.name())).collect()
}

/// Numbers stand on the right.
fn stands_right(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Duration(_))
}

impl TableWriter {
    pub(super) fn new(schema: &Schema, terminal: Terminal, room: Option<u16>) -> Self {
        let right = schema.fields().iter().map(|field| stands_right(field.data_type())).collect();
        let whole = schema.fields().iter().map(|field| field.name().ends_with("_id")).collect();
        Self { titles: titles(schema), right, whole, terminal, room, widths: None, n_rows: 0 }
    }

    pub(super) fn write(&mut self, out: &mut impl Write, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 || self.titles.is_empty() {
            return Ok(());
        }
        let columns = texts(batch)?;
        let is_first = self.widths.is_none();
        let (titles, whole, room) = (&self.titles, &self.whole, self.room);
        let widths =
            self.widths.get_or_insert_with(|| widths(titles, whole, &columns, room)).clone();
        if self.is_too_narrow(&widths) {
            return self.write_records(out, &columns);
        }
        if is_first {
            self.head(out, &widths)?;
        }
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for (at, column) in columns.iter().enumerate() {
                let cell = &column[row];
                let text = cell.as_deref().unwrap_or(NULL);
                let text = match self.room {
                    Some(_) => fit(text, widths[at]),
                    None => text.to_owned(),
                };
                let fill = " ".repeat(widths[at].saturating_sub(text.width()));
                let shown = match cell {
                    Some(_) => text,
                    None => self.terminal.stdout.paint(FAINT, text).to_string(),
                };
                push(&mut line, at, &shown, &fill, self.right[at]);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Even columns of the least width do not fit.
    fn is_too_narrow(&self, widths: &[usize]) -> bool {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        self.room.is_some_and(|room| widths.iter().sum::<usize>() + gaps > usize::from(room))
    }

    /// A line a value, where columns do not fit side by side.
    fn write_records(
        &mut self,
        out: &mut impl Write,
        columns: &[Vec<Option<String>>],
    ) -> Result<()> {
        let names = self.titles.iter().map(|title| title.width()).max().unwrap_or(0);
        let room = usize::from(self.room.unwrap_or(u16::MAX));
        for row in 0..columns.first().map_or(0, Vec::len) {
            self.n_rows += 1;
            let paint = self.terminal.stdout;
            writeln!(out, "{}", paint.paint(HEADING, format!("row {}", self.n_rows)))?;
            for (title, column) in self.titles.iter().zip(columns) {
                let fill = " ".repeat(names - title.width());
                let value = match &column[row] {
                    Some(text) => {
                        fit(text, room.saturating_sub(names + GAP.len() * 2).max(LEAST_WIDTH))
                    }
                    None => paint.paint(FAINT, NULL).to_string(),
                };
                writeln!(out, "{}", format!("{GAP}{title}{fill}{GAP}{value}").trim_end())?;
            }
        }
        Ok(())
    }

    /// An answer without rows still says which columns it has.
    pub(super) fn finish(self, out: &mut impl Write) -> Result<()> {
        if self.widths.is_none() && !self.titles.is_empty() {
            let none = vec![Vec::new(); self.titles.len()];
            self.head(out, &widths(&self.titles, &self.whole, &none, self.room))?;
        }
        Ok(())
    }

    fn head(&self, out: &mut impl Write, widths: &[usize]) -> Result<()> {
        let mut line = String::new();
        for (at, title) in self.titles.iter().enumerate() {
            let title = if self.room.is_some() { fit(title, widths[at]) } else { title.clone() };
            let fill = " ".repeat(widths[at].saturating_sub(title.width()));
            let title = self.terminal.stdout.paint(HEADING, title).to_string();
            push(&mut line, at, &title, &fill, self.right[at]);
        }
        writeln!(out, "{}", line.trim_end())?;
        Ok(())
    }
}

fn push(line: &mut String, at: usize, text: &str, fill: &str, right: bool) {
    if at > 0 {
        line.push_str(GAP);
    }
    match right {
        true => line.extend([fill, text]),
        false => line.extend([text, fill]),
    }
}

/// Widths for titles and first rows; the widest columns give way until all fit the room.
fn widths(
    titles: &[String],
    whole: &[bool],
    columns: &[Vec<Option<String>>],
    room: Option<u16>,
) -> Vec<usize> {
    let mut widths: Vec<usize> = titles
        .iter()
        .zip(columns)
        .map(|(title, column)| {
            let cells = column.iter().take(PREVIEW_ROWS);
            let widest = cells.map(|cell| cell.as_deref().unwrap_or(NULL).width()).max();
            title.width().max(widest.unwrap_or(0))
        })
        .collect();
    let Some(room) = room else { return widths };
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    let room = usize::from(room).saturating_sub(gaps);
    let gives = |at: usize| !whole.get(at).copied().unwrap_or(false);
    while widths.iter().sum::<usize>() > room {
        let giving = || widths.iter().enumerate().filter(|(at, _)| gives(*at)).map(|(_, w)| *w);
        let widest = giving().max().unwrap_or(0);
        if widest <= LEAST_WIDTH {
            break;
        }
        // All that are widest come down together, to the next one or as far as is needed.
        let next = giving().filter(|width| *width < widest).max();
        let n = giving().filter(|width| *width == widest).count();
        let excess = (widths.iter().sum::<usize>() - room).div_ceil(n);
        let to = widest.saturating_sub(excess).max(next.unwrap_or(0)).max(LEAST_WIDTH);
        let of_widest = |(at, width): &(usize, &mut usize)| gives(*at) && **width == widest;
        widths.iter_mut().enumerate().filter(of_widest).for_each(|(_, width)| *width = to);
    }
    widths
}

impl MarkdownWriter {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema), has_begun: false }
    }

    pub(super) fn write(&mut self, out: &mut impl Write, batch: &RecordBatch) -> Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.head(out)?;
        }
        let columns = texts(batch)?;
        for row in 0..batch.num_rows() {
            let cells = columns
                .iter()
                .map(|column| column[row].as_deref().map(markdown_field).unwrap_or_default());
            writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }

    pub(super) fn finish(self, out: &mut impl Write) -> Result<()> {
        if self.has_begun { Ok(()) } else { self.head(out) }
    }

    fn head(&self, out: &mut impl Write) -> Result<()> {
        let titles = titles(&self.schema);
        let titles: Vec<String> = titles.iter().map(|title| markdown_field(title)).collect();
        let rules = self
            .schema
            .fields()
            .iter()
            .map(|field| if stands_right(field.data_type()) { "---:" } else { "---" });
        writeln!(out, "| {} |", titles.join(" | "))?;
        writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))?;
        Ok(())
    }
}

fn markdown_field(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|")
}

/// The cells of each column; `None` for null.
fn texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    batch.columns().iter().map(column_texts).collect()
}

fn column_texts(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    let rows = 0..column.len();
    match column.data_type() {
        DataType::Duration(TimeUnit::Nanosecond) => {
            let values = column.as_primitive::<DurationNanosecondType>();
            Ok(rows.map(|row| values.is_valid(row).then(|| duration(values.value(row)))).collect())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>();
            Ok(rows.map(|row| values.is_valid(row).then(|| time(values.value(row)))).collect())
        }
        _ => {
            let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
            rows.map(|row| match column.is_valid(row) {
                true => Ok(Some(printable(&formatter.value(row).try_to_string()?))),
                false => Ok(None),
            })
            .collect()
        }
    }
}

fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", format_duration(nanos.unsigned_abs()))
}

/// UTC with as many digits as are needed.
fn time(unix_nanos: i64) -> String {
    let Ok(nanos) = u64::try_from(unix_nanos) else { return unix_nanos.to_string() };
    let format = match nanos {
        nanos if nanos.is_multiple_of(1_000_000_000) => "%Y-%m-%d %H:%M:%S",
        nanos if nanos.is_multiple_of(1_000_000) => "%Y-%m-%d %H:%M:%S%.3f",
        nanos if nanos.is_multiple_of(1_000) => "%Y-%m-%d %H:%M:%S%.6f",
        _ => "%Y-%m-%d %H:%M:%S%.9f",
    };
    format_utc(nanos, format).unwrap_or_else(|| nanos.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_give_way_first() {
        let titles: Vec<String> = ["a", "bb", "c"].map(str::to_owned).to_vec();
        let cell = |n: usize| vec![Some("x".repeat(n))];
        let columns = vec![cell(40), cell(3), cell(30)];
        assert_eq!(widths(&titles, &[], &columns, None), [40, 3, 30]);
        assert_eq!(widths(&titles, &[], &columns, Some(67)), [30, 3, 30]);
        assert_eq!(widths(&titles, &[], &columns, Some(47)), [20, 3, 20]);
        assert_eq!(widths(&titles, &[], &columns, Some(10)), [8, 3, 8]);
        // An id is of no use in part.
        let ids = [false, false, true];
        assert_eq!(widths(&titles, &ids, &columns, Some(57)), [20, 3, 30]);
    }

    #[test]
    fn times_have_the_digits_they_need() {
        assert_eq!(time(1_767_225_600_000_000_000), "2026-01-01 00:00:00");
        assert_eq!(time(1_767_225_600_120_000_000), "2026-01-01 00:00:00.120");
        assert_eq!(time(1_767_225_600_000_000_001), "2026-01-01 00:00:00.000000001");
        assert_eq!(duration(-1_500_000), "-1.5ms");
    }
}
