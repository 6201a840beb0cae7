//! Answers of searches: a table that fits, a wide one, CSV, Markdown, Tempo's JSON, JSON lines.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::Value as Json;
use traceql_engine::QueryStats;
use traceql_engine::search::{ResultAttribute, SearchAnswer, SpanResult, TraceResult, Value};
use traceql_server::api::json;

use super::sheet::{Cell, Column, GAP, Sheet, Tone};
use super::{fit, printable};
use crate::args::OutputFormat;
use crate::terminal::Terminal;
use crate::units;

/// Below this, service and name of the root are no longer worth a column each.
const MIN_ROOT_WIDTH: usize = 34;
/// Columns a value of a spanset may take in a table.
const MAX_VALUE_WIDTH: usize = 24;

/// Writes an answer; `Auto` counts as a table.
pub(crate) fn write(
    out: &mut dyn Write,
    answer: &SearchAnswer,
    stats: &QueryStats,
    format: OutputFormat,
    terminal: &Terminal,
) -> io::Result<()> {
    match format {
        OutputFormat::Json => writeln!(out, "{}", json::search_response(answer, stats)),
        OutputFormat::Ndjson => answer
            .traces
            .iter()
            .try_for_each(|trace| writeln!(out, "{}", json::search_trace(trace))),
        OutputFormat::Auto | OutputFormat::Table if answer.traces.is_empty() => Ok(()),
        OutputFormat::Auto | OutputFormat::Table => {
            fitted(answer, usize::from(terminal.width)).write_wide(out, terminal)
        }
        OutputFormat::Markdown => traces(answer).write(out, format, terminal),
        OutputFormat::Wide => spans_for_people(answer).write_wide(out, terminal),
        OutputFormat::Csv => spans_for_machines(answer).write(out, format, terminal),
    }
}

/// The table with the number of its trace before each row.
pub(crate) fn write_numbered(
    out: &mut dyn Write,
    answer: &SearchAnswer,
    terminal: &Terminal,
) -> io::Result<()> {
    if answer.traces.is_empty() {
        return Ok(());
    }
    let width = answer.traces.len().to_string().len();
    let mut sheet = fitted(answer, usize::from(terminal.width).saturating_sub(width + GAP));
    let traces = answer.traces.iter().enumerate();
    let numbers = traces.flat_map(|(at, trace)| std::iter::repeat_n(at + 1, trace.spansets.len()));
    sheet.columns.insert(0, Column::number("#", "number"));
    for (row, number) in sheet.rows.iter_mut().zip(numbers) {
        row.insert(0, Cell::text(number.to_string()).tone(Tone::Key));
    }
    sheet.write_wide(out, terminal)
}

/// The keys of the values that spansets have, in the order of their first appearance.
fn spanset_keys(answer: &SearchAnswer) -> Vec<&str> {
    let spansets = answer.traces.iter().flat_map(|trace| &trace.spansets);
    distinct(spansets.flat_map(|spanset| &spanset.attributes))
}

/// The keys of the attributes that spans list, in the order of their first appearance.
fn span_keys(answer: &SearchAnswer) -> Vec<&str> {
    let spansets = answer.traces.iter().flat_map(|trace| &trace.spansets);
    let spans = spansets.flat_map(|spanset| &spanset.spans);
    distinct(spans.flat_map(|span| &span.attributes))
}

fn distinct<'a>(attributes: impl Iterator<Item = &'a ResultAttribute>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    attributes.map(|a| a.key.as_str()).filter(|key| seen.insert(*key)).collect()
}

/// One row a spanset, every column as wide as it needs to be.
fn traces(answer: &SearchAnswer) -> Sheet {
    let keys = spanset_keys(answer);
    let mut columns = vec![
        Column::text("Start (UTC)", "start_time"),
        Column::number("Duration", "duration_nanos"),
        Column::text("Service", "root_service_name"),
        Column::text("Name", "root_trace_name"),
        Column::number("Matched", "matched"),
    ];
    columns.extend(keys.iter().map(|key| Column::text(*key, *key)));
    columns.push(Column::text("Trace", "trace_id"));
    let mut rows = Vec::new();
    for trace in &answer.traces {
        for spanset in &trace.spansets {
            let mut row = vec![
                Cell::text(units::format_time(trace.start_unix_nanos)),
                Cell::text(units::format_duration(trace.duration_nanos)),
                Cell::text(root_service(trace)),
                Cell::text(&trace.root_trace_name),
                Cell::text(spanset.matched.to_string()),
            ];
            row.extend(keys.iter().map(|key| value_cell(&spanset.attributes, key)));
            row.push(Cell::text(trace.trace_id.to_string()).tone(Tone::Key));
            rows.push(row);
        }
    }
    Sheet { columns, rows }
}

/// The same within a width: the date moves into the heading if there is only one, service and name
/// are cut; where even that leaves too little, the trace gets a second line.
fn fitted(answer: &SearchAnswer, width: usize) -> Sheet {
    let mut sheet = traces(answer);
    for row in &mut sheet.rows {
        for cell in row.iter_mut().skip(5) {
            cell.text = fit(&cell.text, MAX_VALUE_WIDTH.max(32));
        }
    }
    if sheet.width() <= width {
        return sheet;
    }
    let day_of = |trace: &TraceResult| units::format_time(trace.start_unix_nanos)[..10].to_owned();
    let days: BTreeSet<String> = answer.traces.iter().map(day_of).collect();
    if let (1, Some(day)) = (days.len(), days.first()) {
        sheet.columns[0].title.clone_from(day);
        for row in &mut sheet.rows {
            row[0].text = row[0].text.get(11..).unwrap_or_default().to_owned();
        }
    }
    let (service, name) = (sheet.column_width(2), sheet.column_width(3));
    let others = sheet.width() - service - name;
    let left = width.saturating_sub(others);
    if left >= MIN_ROOT_WIDTH.min(service + name) {
        let service_width = service.min((left * 2 / 5).max(left.saturating_sub(name)));
        for row in &mut sheet.rows {
            row[2].text = fit(&row[2].text, service_width);
            row[3].text = fit(&row[3].text, left - service_width);
        }
        return sheet;
    }
    two_lines(sheet, width)
}

/// Start, duration, matched and, below each other, the root, the values and the trace id.
fn two_lines(sheet: Sheet, width: usize) -> Sheet {
    let titles: Vec<String> = sheet.columns.iter().map(|column| column.title.clone()).collect();
    let n_columns = sheet.columns.len();
    let others = [0, 1, 4].map(|at| sheet.column_width(at) + GAP).iter().sum::<usize>();
    let left = width.saturating_sub(others).max(32);
    let rows = sheet.rows.into_iter().map(|row| {
        let mut lines = vec![fit(&format!("{}: {}", row[2].text, row[3].text), left)];
        for (title, cell) in titles.iter().zip(&row).take(n_columns - 1).skip(5) {
            lines.push(fit(&format!("{title} = {}", cell.text), left));
        }
        lines.push(row[n_columns - 1].text.clone());
        let matched = row[4].clone();
        let mut row = row.into_iter();
        let start_and_duration = row.by_ref().take(2);
        let mut cells: Vec<Cell> = start_and_duration.collect();
        cells.push(matched);
        cells.push(Cell::shown(lines.join("\n"), Json::Null));
        cells
    });
    let rows = rows.collect();
    let mut columns = sheet.columns.into_iter();
    let (start, duration) = (columns.next(), columns.next());
    let matched = columns.nth(2);
    let trace = Some(Column::text("Trace", "trace"));
    Sheet { columns: [start, duration, matched, trace].into_iter().flatten().collect(), rows }
}

/// One row a listed span, its attributes in one column.
fn spans_for_people(answer: &SearchAnswer) -> Sheet {
    let keys = spanset_keys(answer);
    let mut columns = vec![
        Column::text("Start (UTC)", "start_time"),
        Column::number("Duration", "duration_nanos"),
        Column::text("Service", "root_service_name"),
        Column::text("Name", "root_trace_name"),
        Column::text("Trace", "trace_id"),
        Column::number("Matched", "matched"),
    ];
    columns.extend(keys.iter().map(|key| Column::text(*key, *key)));
    columns.extend([
        Column::text("Span", "span_id"),
        Column::number("Offset", "span_offset_nanos"),
        Column::number("Duration", "span_duration_nanos"),
        Column::text("Attributes", "attributes"),
    ]);
    let mut rows = Vec::new();
    for_each_span(answer, |trace, index, span| {
        let spanset = &trace.spansets[index];
        let mut row = vec![
            Cell::text(units::format_time(trace.start_unix_nanos)),
            Cell::text(units::format_duration(trace.duration_nanos)),
            Cell::text(root_service(trace)),
            Cell::text(&trace.root_trace_name),
            Cell::text(trace.trace_id.to_string()).tone(Tone::Key),
            Cell::text(spanset.matched.to_string()),
        ];
        row.extend(keys.iter().map(|key| value_cell(&spanset.attributes, key)));
        let offset = span.start_unix_nanos.saturating_sub(trace.start_unix_nanos);
        let name = span.name.iter().map(|name| format!("name={}", printable(name)));
        let attributes =
            span.attributes.iter().map(|a| format!("{}={}", a.key, value_text(&a.value)));
        row.extend([
            Cell::text(hex(&span.span_id)),
            Cell::text(format!("+{}", units::format_duration(offset))),
            Cell::text(units::format_duration(span.duration_nanos)),
            Cell::text(name.chain(attributes).collect::<Vec<_>>().join(" ")),
        ]);
        rows.push(row);
    });
    Sheet { columns, rows }
}

/// One row a listed span, one column an attribute, times and durations exact.
fn spans_for_machines(answer: &SearchAnswer) -> Sheet {
    let (set_keys, keys) = (spanset_keys(answer), span_keys(answer));
    let fixed = |names: &[&str]| -> Vec<Column> {
        names.iter().map(|name| Column::text(*name, *name)).collect()
    };
    let mut columns = fixed(&[
        "trace_id",
        "start_time",
        "duration_nanos",
        "root_service_name",
        "root_trace_name",
        "spanset",
        "matched",
    ]);
    columns.extend(set_keys.iter().map(|key| Column::text(*key, *key)));
    columns.extend(fixed(&["span_id", "span_name", "span_start_time", "span_duration_nanos"]));
    columns.extend(keys.iter().map(|key| Column::text(*key, *key)));
    let mut rows = Vec::new();
    for_each_span(answer, |trace, index, span| {
        let spanset = &trace.spansets[index];
        let mut row = vec![
            Cell::text(trace.trace_id.to_string()),
            Cell::text(units::format_time_exact(trace.start_unix_nanos)),
            Cell::text(trace.duration_nanos.to_string()),
            Cell::text(&trace.root_service_name),
            Cell::text(&trace.root_trace_name),
            Cell::text(index.to_string()),
            Cell::text(spanset.matched.to_string()),
        ];
        row.extend(set_keys.iter().map(|key| value_cell(&spanset.attributes, key)));
        row.extend([
            Cell::text(hex(&span.span_id)),
            span.name.as_ref().map_or_else(Cell::empty, Cell::text),
            Cell::text(units::format_time_exact(span.start_unix_nanos)),
            Cell::text(span.duration_nanos.to_string()),
        ]);
        row.extend(keys.iter().map(|key| value_cell(&span.attributes, key)));
        rows.push(row);
    });
    Sheet { columns, rows }
}

fn for_each_span<'a>(
    answer: &'a SearchAnswer,
    mut f: impl FnMut(&'a TraceResult, usize, &'a SpanResult),
) {
    for trace in &answer.traces {
        for (index, spanset) in trace.spansets.iter().enumerate() {
            for span in &spanset.spans {
                f(trace, index, span);
            }
        }
    }
}

fn root_service(trace: &TraceResult) -> &str {
    let unknown = trace.root_service_name.is_empty() && trace.root_trace_name.is_empty();
    if unknown { "<no root span>" } else { &trace.root_service_name }
}

fn value_cell(attributes: &[ResultAttribute], key: &str) -> Cell {
    let value = attributes.iter().find(|attribute| attribute.key == key);
    value.map_or_else(Cell::empty, |attribute| Cell::text(value_text(&attribute.value)))
}

/// A value as text: durations as Go prints them, arrays in brackets.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Duration(nanos) => traceql_language::duration_text(*nanos),
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Status(status) => status.to_string(),
        Value::Kind(kind) => kind.to_string(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(value_text).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
