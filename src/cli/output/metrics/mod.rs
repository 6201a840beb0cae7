//! Answers of metrics queries: charts and tables for people, rows of samples, Tempo's JSON, and the
//! two forms of Prometheus.

mod compare;
pub(crate) mod names;
mod prometheus;
pub(crate) mod unit;

use std::io::{self, Write};

use traceql_engine::QueryStats;
use traceql_engine::metrics::{LabelValue, MetricsAnswer, Series};
use traceql_language::ir::{MetricsExpr, MetricsFunction};
use traceql_server::api::json;

use self::names::Names;
use self::unit::Units;
use super::chart::{Chart, Look};
use super::sheet::{Cell, Column, Sheet};
use crate::args::{OutputFormat, QueryFormat};
use crate::terminal::Terminal;
use crate::units::{format_time, format_time_exact};

/// An answer and what is needed to print it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsOutput<'a> {
    /// The series.
    pub(crate) answer: &'a MetricsAnswer,
    /// What they cost.
    pub(crate) stats: &'a QueryStats,
    /// Why the answer is not whole.
    pub(crate) partial: Option<&'a str>,
    /// Each series has one value for the whole range.
    pub(crate) is_instant: bool,
    /// What was asked.
    pub(crate) expr: &'a MetricsExpr,
    /// Prometheus' JSON in place of its text.
    pub(crate) prometheus_json: bool,
}

impl MetricsOutput<'_> {
    /// Writes the answer; `Auto` counts as a chart.
    pub(crate) fn write(
        &self,
        out: &mut dyn Write,
        format: QueryFormat,
        terminal: &Terminal,
    ) -> io::Result<()> {
        let series = &self.answer.series;
        match format {
            QueryFormat::Json => writeln!(out, "{}", self.tempo_json()),
            QueryFormat::Ndjson => self.write_lines(out),
            QueryFormat::Prom if self.prometheus_json => prometheus::write_json(out, self),
            QueryFormat::Prom => prometheus::write_text(out, self),
            QueryFormat::Csv => self.samples().write(out, OutputFormat::Csv, terminal),
            QueryFormat::Auto | QueryFormat::Chart if self.is_comparison() => {
                self.summary().write_table(out, terminal)
            }
            QueryFormat::Auto | QueryFormat::Chart => {
                out.write_all(self.chart().draw(&Look::of(terminal)).as_bytes())
            }
            QueryFormat::Table | QueryFormat::Wide if series.is_empty() => Ok(()),
            QueryFormat::Table => self.summary().write_table(out, terminal),
            QueryFormat::Markdown => self.summary().write(out, OutputFormat::Markdown, terminal),
            QueryFormat::Wide if self.is_instant => self.summary().write_wide(out, terminal),
            QueryFormat::Wide => self.steps().write_wide(out, terminal),
        }
    }

    fn tempo_json(&self) -> String {
        match self.is_instant {
            true => json::metrics_instant_response(self.answer, self.stats, self.partial),
            false => json::metrics_range_response(self.answer, self.stats, self.partial),
        }
    }

    /// One line a series, as in the response.
    fn write_lines(&self, out: &mut dyn Write) -> io::Result<()> {
        self.answer.series.iter().try_for_each(|series| {
            let line = match self.is_instant {
                true => json::metrics_instant_series(series),
                false => Some(json::metrics_range_series(&self.answer.axis, series)),
            };
            line.map_or(Ok(()), |line| writeln!(out, "{line}"))
        })
    }

    fn chart(&self) -> Chart<'_> {
        Chart {
            axis: &self.answer.axis,
            series: &self.answer.series,
            is_instant: self.is_instant,
            units: Units::of(self.expr),
        }
    }

    /// Its series are told best side by side.
    fn is_comparison(&self) -> bool {
        let MetricsExpr::Query { function, .. } = self.expr else { return false };
        matches!(function, MetricsFunction::Compare { .. }) && !self.answer.series.is_empty()
    }

    /// One row a series: its labels, and its value or a summary of them.
    fn summary(&self) -> Sheet {
        if self.is_comparison() {
            return compare::sheet(&self.answer.series);
        }
        let units = Units::of(self.expr);
        let labels = names::label_names(&self.answer.series);
        let label = |name: &&str| Column::text(names::heading(name), *name);
        let mut columns: Vec<Column> = labels.iter().map(label).collect();
        let numbers: &[&str] =
            if self.is_instant { &["Value"] } else { &["Min", "Mean", "Max", "Last"] };
        columns.extend(numbers.iter().map(|name| Column::number(*name, name.to_lowercase())));
        let row = |series: &Series| {
            let mut row: Vec<Cell> = labels
                .iter()
                .map(|name| match names::find(series, name) {
                    Some(label) => Cell::text(names::text(label, units.bucket)),
                    None => Cell::empty(),
                })
                .collect();
            let value = |value: f64| Cell::text(units.sample.text(value));
            if self.is_instant {
                row.push(value(series.samples.get(0)));
            } else {
                row.extend(super::chart::summary(&series.samples).map(value));
            }
            row
        };
        Sheet { rows: self.answer.series.iter().map(row).collect(), columns }
    }

    /// One row a step, a column a series.
    fn steps(&self) -> Sheet {
        let units = Units::of(self.expr);
        let names = Names::new(&self.answer.series, units.bucket, None);
        let mut columns = vec![Column::text("Time (UTC)", "timestamp")];
        columns.extend(names.of.iter().map(|name| Column::number(name, name)));
        let mut rows: Vec<Vec<Cell>> = (0..self.answer.axis.n_intervals)
            .map(|interval| {
                vec![Cell::text(format_time(self.answer.axis.timestamp_unix_nanos(interval)))]
            })
            .collect();
        for series in &self.answer.series {
            for (row, value) in rows.iter_mut().zip(series.samples.iter()) {
                row.push(Cell::text(units.sample.text(value)));
            }
        }
        Sheet { columns, rows }
    }

    /// One row a sample, labels and numbers exact.
    fn samples(&self) -> Sheet {
        let labels = names::label_names(&self.answer.series);
        let mut columns: Vec<Column> =
            labels.iter().map(|name| Column::text(*name, *name)).collect();
        columns.extend(["timestamp", "value"].map(|name| Column::text(name, name)));
        let mut rows = Vec::new();
        for series in &self.answer.series {
            let own: Vec<Cell> = labels
                .iter()
                .map(|name| match names::find(series, name) {
                    Some(label) => Cell::text(label_text(&label.value)),
                    None => Cell::empty(),
                })
                .collect();
            for (interval, value) in series.samples.present() {
                let time = self.answer.axis.timestamp_unix_nanos(interval);
                let mut row = own.clone();
                row.push(Cell::text(format_time_exact(time)));
                row.push(Cell::text(number_text(value)));
                rows.push(row);
            }
        }
        Sheet { columns, rows }
    }
}

/// A label's value for machines.
fn label_text(value: &LabelValue) -> String {
    match value {
        LabelValue::Float(value) => number_text(*value),
        other => other.to_text(),
    }
}

/// A number that reads back as the same one; exponents where digits would be zeros, infinities as
/// JSON of Tempo has them.
fn number_text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let text = format!("{value:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
