//! Two sets of traces side by side: for people what differs, the worst first; for machines every
//! number.

use std::io::{self, Write};

use serde_json::{Value as Json, json};

use super::sheet::{Cell, Column, GAP, Sheet, Tone};
use super::{fit, printable};
use crate::args::OutputFormat;
use crate::diff::{Call, Caller, Calls, Change, Difference, Figures, Operation};
use crate::terminal::{HEADING, Terminal};
use crate::units::{format_count, format_duration, format_time, format_time_exact, plural};

/// From this width on, both values of a figure stand in one line.
const LINE_WIDTH: u16 = 120;
/// What a call keeps, however narrow the terminal is.
const LEAST_CALL_WIDTH: usize = 16;

/// A side of the comparison.
#[derive(Debug)]
pub(crate) struct Side<'a> {
    /// Which traces they are.
    pub(crate) what: String,
    /// The time asked about, if there is one.
    pub(crate) range: Option<(u64, u64)>,
    /// What was found.
    pub(crate) calls: &'a Calls,
}

/// A comparison, ready to be written.
#[derive(Debug)]
pub(crate) struct DiffOutput<'a> {
    /// Before.
    pub(crate) a: Side<'a>,
    /// Now.
    pub(crate) b: Side<'a>,
    /// Every call of either side, in the order they are shown.
    pub(crate) differences: &'a [Difference],
    /// Show those that do not differ, too.
    pub(crate) all: bool,
}

impl DiffOutput<'_> {
    /// Writes the comparison; `Auto` counts as a table.
    pub(crate) fn write(
        &self,
        out: &mut dyn Write,
        format: OutputFormat,
        terminal: &Terminal,
    ) -> io::Result<()> {
        match format {
            OutputFormat::Auto | OutputFormat::Table => self.write_text(out, terminal, false),
            OutputFormat::Wide => self.write_text(out, terminal, true),
            OutputFormat::Json => {
                let calls: Vec<Json> = self.shown().map(json_call).collect();
                let all = json!({
                    "a": json_side(&self.a),
                    "b": json_side(&self.b),
                    "calls": calls,
                    "call_count": self.differences.len(),
                    "changed_call_count": self.n_differ(),
                });
                serde_json::to_writer_pretty(&mut *out, &all)?;
                writeln!(out)
            }
            OutputFormat::Ndjson => self.shown().try_for_each(|difference| {
                serde_json::to_writer(&mut *out, &json_call(difference))?;
                writeln!(out)
            }),
            OutputFormat::Csv => self.figures().write(out, format, terminal),
            OutputFormat::Markdown => {
                for (name, side) in [("A", &self.a), ("B", &self.b)] {
                    // Between backticks nothing of a query is taken for markup.
                    let what = side.title(name).replace('`', "'");
                    let time = side.time().map(|time| format!("{time}: ")).unwrap_or_default();
                    writeln!(out, "- `{what}`: {time}{}", side.numbers())?;
                }
                writeln!(out, "\n{}", self.summary())?;
                let sheet = self.lines();
                if !sheet.rows.is_empty() {
                    writeln!(out)?;
                    sheet.write(out, format, terminal)?;
                }
                Ok(())
            }
        }
    }

    fn n_differ(&self) -> usize {
        self.differences.iter().filter(|difference| !difference.changes.is_empty()).count()
    }

    fn shown(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| self.all || !difference.changes.is_empty())
    }

    fn write_text(
        &self,
        out: &mut dyn Write,
        terminal: &Terminal,
        any_width: bool,
    ) -> io::Result<()> {
        let width = if any_width { usize::MAX } else { usize::from(terminal.width) };
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let title = fit(&side.title(name), width);
            writeln!(out, "{}", terminal.stdout.paint(HEADING, title))?;
            for line in side.time().into_iter().chain([side.numbers()]) {
                writeln!(out, "{}", fit(&format!("   {line}"), width))?;
            }
        }
        writeln!(out)?;
        let sheet = match any_width || terminal.width >= LINE_WIDTH {
            true => fitted(self.lines(), width),
            false => self.stacked(width),
        };
        if !sheet.rows.is_empty() {
            sheet.write_wide(out, terminal)?;
            writeln!(out)?;
        }
        writeln!(out, "{}", self.summary())
    }

    /// `3 of 31 calls differ: 2 missing, 1 slower`.
    fn summary(&self) -> String {
        let n_calls = plural(self.differences.len() as u64, "call");
        let n_differ = self.n_differ();
        if n_differ == 0 {
            return format!("none of {n_calls} differs");
        }
        let words = Change::ALL.iter().filter_map(|change| {
            let with = self.differences.iter().filter(|found| found.changes.contains(change));
            let n = with.count();
            (n > 0).then(|| format!("{} {}", format_count(n as u64), change.word()))
        });
        let words = words.collect::<Vec<_>>().join(", ");
        let verb = if n_differ == 1 { "differs" } else { "differ" };
        format!("{} of {n_calls} {verb}: {words}", format_count(n_differ as u64))
    }

    /// Three lines a call: before, now, the difference.
    fn stacked(&self, width: usize) -> Sheet {
        let rows = self
            .shown()
            .map(|difference| {
                let Difference { a, b, .. } = difference;
                let mut row = vec![change_cell(difference, "\n"), Cell::empty()];
                row.extend(FIGURES.iter().map(|figure| {
                    let text = |figures: &Option<Figures>| {
                        figures.as_ref().map_or_else(|| "-".to_owned(), figure.text)
                    };
                    let (a_text, b_text) = (text(a), text(b));
                    let by = a.as_ref().zip(b.as_ref()).and_then(|(a, b)| (figure.by)(a, b));
                    let lines = [Some(a_text), Some(b_text), by];
                    Cell::shown(
                        lines.into_iter().flatten().collect::<Vec<_>>().join("\n"),
                        Json::Null,
                    )
                }));
                row
            })
            .collect();
        let mut sheet = Sheet { columns: columns(), rows };
        let room = room_of_calls(&sheet, width);
        for (row, difference) in sheet.rows.iter_mut().zip(self.shown()) {
            let lines = call_lines(&difference.call);
            let lines: Vec<String> = lines.iter().map(|line| fit(line, room)).collect();
            row[CALL].text = lines.join("\n");
        }
        sheet
    }

    /// A line a call.
    fn lines(&self) -> Sheet {
        let rows = self.shown().map(|difference| {
            let Difference { call, a, b, .. } = difference;
            let mut row = vec![
                change_cell(difference, ", "),
                Cell::shown(call_lines(call).join(" "), Json::Null),
            ];
            row.extend(FIGURES.iter().map(|figure| {
                let text = match (a, b) {
                    (Some(a), Some(b)) => {
                        let (a_text, b_text) = ((figure.text)(a), (figure.text)(b));
                        match ((figure.by)(a, b), a_text == b_text) {
                            (_, true) => a_text,
                            (None, false) => format!("{a_text} → {b_text}"),
                            (Some(by), false) => format!("{a_text} → {b_text} {by}"),
                        }
                    }
                    (Some(one), None) | (None, Some(one)) => (figure.text)(one),
                    (None, None) => String::new(),
                };
                Cell::shown(text, Json::Null)
            }));
            row
        });
        Sheet { columns: columns(), rows: rows.collect() }
    }

    /// A row a call, every number in a column of its own.
    fn figures(&self) -> Sheet {
        let mut columns: Vec<Column> =
            ["changes", "caller_service", "caller_name", "callee_service", "callee_name"]
                .map(|name| Column::text(name, name))
                .to_vec();
        for side in ["a", "b"] {
            for key in ["count", "error_count", "p50_nanos", "p95_nanos", "total_nanos"] {
                let name = format!("{side}_{key}");
                columns.push(Column::number(&name, &name));
            }
        }
        let rows = self.shown().map(|Difference { call, a, b, changes }| {
            let words: Vec<&str> = changes.iter().map(|change| change.word()).collect();
            let mut row = vec![Cell::text(words.join(" "))];
            match &call.caller {
                Caller::Operation(caller) => row.extend(texts(caller)),
                _ => row.extend([Cell::empty(), Cell::empty()]),
            }
            row.extend(texts(&call.callee));
            for figures in [a, b] {
                let values = figures.map_or([const { None }; 5], |figures| {
                    let Figures { count, error_count, p50_nanos, p95_nanos, total_nanos } = figures;
                    [count, error_count, p50_nanos, p95_nanos, total_nanos].map(Some)
                });
                row.extend(values.map(|value| Cell::shown("", value)));
            }
            row
        });
        Sheet { columns, rows: rows.collect() }
    }
}

fn texts(operation: &Operation) -> [Cell; 2] {
    [Cell::text(&operation.service), Cell::text(&operation.name)]
}

impl Side<'_> {
    fn title(&self, name: &str) -> String {
        format!("{name}  {}", printable(&self.what))
    }

    /// Which time was asked about.
    fn time(&self) -> Option<String> {
        let (start, end) = self.range?;
        let until = match end {
            u64::MAX => "the end".to_owned(),
            end => format_time(end),
        };
        Some(format!("{} to {until}", format_time(start)))
    }

    /// `12 traces, 240 spans, 3 errors, p50 1.2s, p95 3.1s`; of one trace what it is.
    fn numbers(&self) -> String {
        let Calls { traces, n_spans, n_errors, root, .. } = self.calls;
        let figures = traces.figures();
        let spans = format!("{}, {}", plural(*n_spans, "span"), plural(*n_errors, "error"));
        match (figures.count, root) {
            (0, _) => "no traces".to_owned(),
            (1, Some(root)) => {
                let duration = format_duration(figures.p50_nanos);
                format!("{}, {spans}, {duration}", operation(root))
            }
            (n, _) => format!(
                "{}, {spans}, p50 {}, p95 {}",
                plural(n, "trace"),
                format_duration(figures.p50_nanos),
                format_duration(figures.p95_nanos)
            ),
        }
    }
}

/// The column of calls.
const CALL: usize = 1;

fn columns() -> Vec<Column> {
    let mut columns = vec![Column::text("Change", "change"), Column::text("Call", "call")];
    columns.extend(FIGURES.iter().map(|figure| Column::number(figure.title, figure.title)));
    columns
}

/// A figure that people see.
struct Figure {
    title: &'static str,
    text: fn(&Figures) -> String,
    /// By how much it differs, if that says more than the values.
    by: fn(&Figures, &Figures) -> Option<String>,
}

const FIGURES: [Figure; 4] = [
    Figure {
        title: "Calls",
        text: |figures| format_count(figures.count),
        by: |a, b| percent(a.count, b.count),
    },
    Figure {
        title: "p50",
        text: |figures| format_duration(figures.p50_nanos),
        by: |a, b| percent(a.p50_nanos, b.p50_nanos),
    },
    Figure {
        title: "p95",
        text: |figures| format_duration(figures.p95_nanos),
        by: |a, b| percent(a.p95_nanos, b.p95_nanos),
    },
    Figure { title: "Errors", text: |figures| share(figures.error_share()), by: |_, _| None },
];

/// `+25%`; beyond ten times `×12`. `None` without a difference worth a percent.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn percent(a: u64, b: u64) -> Option<String> {
    if a == 0 {
        return None;
    }
    let times = b as f64 / a as f64;
    let percent = ((times - 1.0) * 100.0).round();
    match percent {
        _ if times >= 10.0 => Some(format!("×{times:.0}")),
        percent if percent.abs() < 1.0 => None,
        percent => Some(format!("{percent:+}%")),
    }
}

fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.1 => "<0.1%".to_owned(),
        percent if percent > 0.0 && percent < 10.0 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

fn change_cell(difference: &Difference, between: &str) -> Cell {
    let words: Vec<&str> = difference.changes.iter().map(|change| change.word()).collect();
    let tone = match difference.changes.first() {
        Some(change) if change.is_worse() => Tone::Bad,
        Some(_) => Tone::Key,
        None => Tone::Plain,
    };
    Cell::shown(words.join(between), Json::Null).tone(tone)
}

fn operation(operation: &Operation) -> String {
    let (service, mut name) = (printable(&operation.service), printable(&operation.name));
    if name.is_empty() {
        name.push_str("(no name)");
    }
    if service.is_empty() { name } else { format!("{service}: {name}") }
}

/// Caller and callee; of a root the callee alone.
fn call_lines(call: &Call) -> Vec<String> {
    let callee = operation(&call.callee);
    match &call.caller {
        Caller::Nobody => vec![callee],
        Caller::Missing => vec!["(parent is missing)".to_owned(), format!("→ {callee}")],
        Caller::Operation(caller) => vec![operation(caller), format!("→ {callee}")],
    }
}

/// Cuts calls until a line a call fits.
fn fitted(mut sheet: Sheet, width: usize) -> Sheet {
    let room = room_of_calls(&sheet, width);
    for row in &mut sheet.rows {
        row[CALL].text = fit(&row[CALL].text, room);
    }
    sheet
}

/// What the other columns leave.
fn room_of_calls(sheet: &Sheet, width: usize) -> usize {
    let others = (0..sheet.columns.len()).filter(|at| *at != CALL);
    let taken: usize = others.map(|at| sheet.column_width(at) + GAP).sum();
    width.saturating_sub(taken).max(LEAST_CALL_WIDTH)
}

fn json_side(side: &Side<'_>) -> Json {
    let figures = side.calls.traces.figures();
    let mut json = json!({
        "what": side.what,
        "trace_count": figures.count,
        "span_count": side.calls.n_spans,
        "error_count": side.calls.n_errors,
        "trace_p50_nanos": figures.p50_nanos,
        "trace_p95_nanos": figures.p95_nanos,
    });
    if let Some((start, end)) = side.range {
        json["start_time"] = format_time_exact(start).into();
        if end != u64::MAX {
            json["end_time"] = format_time_exact(end).into();
        }
    }
    json
}

fn json_call(difference: &Difference) -> Json {
    let Difference { call, a, b, changes } = difference;
    let of =
        |operation: &Operation| json!({ "service": operation.service, "name": operation.name });
    let figures = |figures: &Option<Figures>| match figures {
        None => Json::Null,
        Some(Figures { count, error_count, p50_nanos, p95_nanos, total_nanos }) => json!({
            "count": count,
            "error_count": error_count,
            "p50_nanos": p50_nanos,
            "p95_nanos": p95_nanos,
            "total_nanos": total_nanos,
        }),
    };
    json!({
        "changes": changes.iter().map(|change| change.word()).collect::<Vec<_>>(),
        "caller": match &call.caller {
            Caller::Operation(caller) => of(caller),
            _ => Json::Null,
        },
        "parent_is_missing": call.caller == Caller::Missing,
        "callee": of(&call.callee),
        "a": figures(a),
        "b": figures(b),
    })
}
