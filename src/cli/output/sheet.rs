//! Rows and columns of any content, printed as a table, CSV, Markdown or JSON.

use std::io::{self, Write};

use comfy_table::{
    Attribute, Cell as TableCell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table,
};
use serde_json::Value as Json;
use unicode_width::UnicodeWidthStr;

use super::printable;
use crate::args::OutputFormat;
use crate::terminal::Terminal;

/// Columns between two columns.
pub(crate) const GAP: usize = 2;

/// Rows under named columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// As many cells a row as there are columns.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Heading for people.
    pub(crate) title: String,
    /// Name for machines.
    pub(crate) key: String,
    /// Numbers stand on the right.
    pub(crate) right: bool,
}

/// A cell, for people and for machines.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// What a table shows.
    pub(crate) text: String,
    /// What CSV and JSON hold.
    pub(crate) value: Json,
    /// How it stands out.
    pub(crate) tone: Tone,
}

/// How a cell stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Not at all.
    Plain,
    /// What is looked for.
    Key,
    /// Something is wrong.
    Bad,
}

impl Column {
    /// A column of text.
    pub(crate) fn text(title: impl Into<String>, key: impl Into<String>) -> Self {
        Self { title: title.into(), key: key.into(), right: false }
    }

    /// A column of numbers.
    pub(crate) fn number(title: impl Into<String>, key: impl Into<String>) -> Self {
        Self { right: true, ..Self::text(title, key) }
    }
}

impl Cell {
    /// The same text for people and machines.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: Json::String(text.clone()), text: printable(&text), tone: Tone::Plain }
    }

    /// A value that people read in another form.
    pub(crate) fn shown(text: impl Into<String>, value: impl Into<Json>) -> Self {
        Self { text: text.into(), value: value.into(), tone: Tone::Plain }
    }

    /// No value.
    pub(crate) fn empty() -> Self {
        Self::shown("", Json::Null)
    }

    /// The same, standing out.
    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl Sheet {
    /// Writes the sheet; `Auto` counts as a table.
    pub(crate) fn write(
        &self,
        out: &mut dyn Write,
        format: OutputFormat,
        terminal: &Terminal,
    ) -> io::Result<()> {
        match format {
            OutputFormat::Auto | OutputFormat::Table => self.write_table(out, terminal),
            OutputFormat::Wide => self.write_wide(out, terminal),
            OutputFormat::Json => {
                let rows: Vec<Json> = self.objects().collect();
                serde_json::to_writer_pretty(&mut *out, &rows)?;
                writeln!(out)
            }
            OutputFormat::Ndjson => self.objects().try_for_each(|row| {
                serde_json::to_writer(&mut *out, &row)?;
                writeln!(out)
            }),
            OutputFormat::Csv => self.write_csv(out),
            OutputFormat::Markdown => self.write_markdown(out),
        }
    }

    /// How wide it is as a table.
    pub(crate) fn width(&self) -> usize {
        let gaps = GAP * self.columns.len().saturating_sub(1);
        (0..self.columns.len()).map(|at| self.column_width(at)).sum::<usize>() + gaps
    }

    /// How wide a column is as part of a table.
    pub(crate) fn column_width(&self, at: usize) -> usize {
        let title = self.columns[at].title.width();
        let cells = self.rows.iter().flat_map(|row| row[at].text.lines());
        cells.map(UnicodeWidthStr::width).chain([title]).max().unwrap_or(0)
    }

    /// Moves columns below the first one, numbers behind their titles: for a terminal in which they do
    /// not fit side by side.
    pub(crate) fn fold(&mut self, keys: &[&str]) {
        let folds: Vec<bool> =
            self.columns.iter().map(|column| keys.contains(&column.key.as_str())).collect();
        for row in &mut self.rows {
            let below = self.columns.iter().zip(row.iter()).zip(&folds);
            let below: Vec<String> = below
                .filter(|((_, cell), folds)| **folds && !cell.text.is_empty())
                .map(|((column, cell), _)| match column.right {
                    true => format!("{} {}", column.title.to_lowercase(), cell.text),
                    false => cell.text.clone(),
                })
                .collect();
            if let (Some(first), false) = (row.first_mut(), below.is_empty()) {
                first.text = format!("{}\n  {}", first.text, below.join(", "));
            }
            retain(row, &folds);
        }
        retain(&mut self.columns, &folds);
    }

    /// As a table within the terminal's width; texts that do not fit are wrapped.
    pub(crate) fn write_table(&self, out: &mut dyn Write, terminal: &Terminal) -> io::Result<()> {
        let mut table = self.table(terminal);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(terminal.width);
        // What is looked for is there to be copied: it stays in one piece.
        for (at, column) in table.column_iter_mut().enumerate() {
            if self.rows.iter().any(|row| row[at].tone == Tone::Key) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        write_lines(&table, out)
    }

    /// As a table of any width.
    pub(crate) fn write_wide(&self, out: &mut dyn Write, terminal: &Terminal) -> io::Result<()> {
        write_lines(&self.table(terminal), out)
    }

    fn table(&self, terminal: &Terminal) -> Table {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        if terminal.stdout.on {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(self.columns.iter().map(|column| {
            TableCell::new(column.title.to_uppercase()).add_attribute(Attribute::Bold)
        }));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| {
                let shown = TableCell::new(&cell.text);
                match cell.tone {
                    Tone::Plain => shown,
                    Tone::Key => shown.fg(Color::Cyan),
                    Tone::Bad => shown.fg(Color::Red),
                }
            }));
        }
        for (column, spec) in table.column_iter_mut().zip(&self.columns) {
            column.set_padding((0, 2));
            if spec.right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = self.columns.iter().map(|column| csv_field(&column.key));
        writeln!(out, "{}", header.collect::<Vec<_>>().join(","))?;
        for row in &self.rows {
            let fields = row.iter().map(|cell| match &cell.value {
                Json::Null => String::new(),
                Json::String(text) => csv_field(text),
                other => csv_field(&other.to_string()),
            });
            writeln!(out, "{}", fields.collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }

    fn write_markdown(&self, out: &mut dyn Write) -> io::Result<()> {
        let titles = self.columns.iter().map(|column| markdown_field(&column.title));
        writeln!(out, "| {} |", titles.collect::<Vec<_>>().join(" | "))?;
        let rules = self.columns.iter().map(|column| if column.right { "---:" } else { "---" });
        writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))?;
        for row in &self.rows {
            let fields = row.iter().map(|cell| markdown_field(&cell.text));
            writeln!(out, "| {} |", fields.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }

    /// The rows as JSON objects; empty cells are left out.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Json> + '_ {
        self.rows.iter().map(|row| self.object(row))
    }

    fn object(&self, row: &[Cell]) -> Json {
        let members = self.columns.iter().zip(row);
        Json::Object(
            members
                .filter(|(_, cell)| !cell.value.is_null())
                .map(|(column, cell)| (column.key.clone(), cell.value.clone()))
                .collect(),
        )
    }
}

/// Keeps those that do not fold.
fn retain<T>(of: &mut Vec<T>, folds: &[bool]) {
    let mut folds = folds.iter();
    of.retain(|_| !folds.next().copied().unwrap_or(false));
}

/// Lines without the padding at their end, which would wrap in a terminal that is exactly as wide.
fn write_lines(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn markdown_field(text: &str) -> String {
    let text = printable(text);
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '|' | '\\' | '`' | '*' | '_' | '<' | '[') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ColorChoice;

    fn sheet() -> Sheet {
        Sheet {
            columns: vec![Column::text("Name", "name"), Column::number("Bytes", "size_bytes")],
            rows: vec![
                vec![Cell::text("a,\"b\""), Cell::shown("1 kB", 1_000)],
                vec![Cell::text("x|y"), Cell::empty()],
            ],
        }
    }

    fn check(format: OutputFormat, expect: &str) {
        let terminal = Terminal::detect(ColorChoice::Never, true, |_| None);
        let mut out = Vec::new();
        sheet().write(&mut out, format, &terminal).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expect, "{format:?}");
    }

    #[test]
    fn every_form_keeps_to_its_rules() {
        check(OutputFormat::Csv, "name,size_bytes\n\"a,\"\"b\"\"\",1000\nx|y,\n");
        check(
            OutputFormat::Markdown,
            "| Name | Bytes |\n| --- | ---: |\n| a,\"b\" | 1 kB |\n| x\\|y |  |\n",
        );
        check(
            OutputFormat::Ndjson,
            "{\"name\":\"a,\\\"b\\\"\",\"size_bytes\":1000}\n{\"name\":\"x|y\"}\n",
        );
        check(OutputFormat::Table, "NAME   BYTES\na,\"b\"   1 kB\nx|y\n");
    }

    #[test]
    fn columns_fold_below_the_first() {
        let mut sheet = sheet();
        assert_eq!(sheet.width(), 12);
        sheet.fold(&["size_bytes"]);
        let texts: Vec<&str> = sheet.rows.iter().map(|row| row[0].text.as_str()).collect();
        assert_eq!(texts, ["a,\"b\"\n  bytes 1 kB", "x|y"]);
        assert_eq!((sheet.columns.len(), sheet.rows[0].len(), sheet.width()), (1, 1, 12));
    }
}
