//! A waterfall of one trace: the tree of its spans on the left, a bar for each on a time axis.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::builder::styling::{AnsiColor, Style};
use traceql_blocks::model::trace::SpanInTrace;
use traceql_blocks::model::{AttributeValue, KeyValue, Trace};
use unicode_width::UnicodeWidthStr as _;

use super::search::hex;
use super::tree::{self, Node, Place};
use super::{fit, printable};
use crate::terminal::{ERROR, FAINT, HEADING, Paint};
use crate::units;

/// Narrower than this the picture says nothing; longer lines are then the lesser evil.
const MIN_WIDTH: usize = 50;
/// Columns of the durations on the right.
const DURATION_WIDTH: usize = 8;
/// Columns the axis has at least.
const MIN_AXIS_WIDTH: usize = 16;
/// Columns between two ticks of the axis, at least.
const TICK_WIDTH: usize = 12;
/// OTLP number of the status `error`.
const STATUS_ERROR: i32 = 2;
/// Colours of services, given out in the order of their first spans.
const COLORS: [AnsiColor; 5] =
    [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Yellow, AnsiColor::Blue, AnsiColor::Magenta];

/// How a waterfall is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waterfall {
    /// Columns available.
    pub(crate) width: usize,
    /// List attributes, events and links below each span.
    pub(crate) attributes: bool,
    /// Colours.
    pub(crate) paint: Paint,
}

/// The time axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    start: u64,
    duration: u64,
    width: usize,
}

impl Waterfall {
    /// Draws the trace.
    pub(crate) fn write(&self, out: &mut dyn Write, trace: &Trace) -> io::Result<()> {
        let nodes = tree::forest(trace);
        self.write_summary(out, trace, &nodes)?;
        if nodes.is_empty() {
            return Ok(());
        }
        let labels = labels(&nodes);
        let width = self.width.max(MIN_WIDTH);
        let longest = labels.iter().map(|label| label.width()).max().unwrap_or(0);
        let tree_width = longest.min((width - DURATION_WIDTH - 2) / 2).max(20);
        let axis_width = (width - tree_width - DURATION_WIDTH - 2).max(MIN_AXIS_WIDTH);
        let axis = Axis::of(&nodes, axis_width);
        writeln!(out)?;
        let ticks = self.paint.paint(FAINT, axis.ticks());
        writeln!(out, "{:tree_width$} {ticks}", "")?;
        let colors = service_colors(&nodes);
        for (node, label) in nodes.iter().zip(labels) {
            self.write_span(out, node, &label, &axis, tree_width, &colors)?;
            let parent = node.parent.map(|parent| nodes[parent].span);
            self.write_details(out, trace, node, parent, width)?;
        }
        Ok(())
    }

    fn write_summary(
        &self,
        out: &mut dyn Write,
        trace: &Trace,
        nodes: &[Node<'_>],
    ) -> io::Result<()> {
        let summary = trace.summary();
        let title = match trace.root() {
            Some(_) => format!("{}: {}", summary.root_service_name, summary.root_span_name),
            None => "<no root span>".to_owned(),
        };
        let n_errors = nodes.iter().filter(|node| is_error(node.span)).count() as u64;
        writeln!(
            out,
            "{} {}",
            self.paint.paint(HEADING, trace.id),
            self.paint.paint(HEADING, printable(&title))
        )?;
        let mut facts = vec![
            format!("{} UTC", units::format_time(summary.start_unix_nanos)),
            units::format_duration(summary.duration_nanos),
            units::plural(nodes.len() as u64, "span"),
            units::plural(summary.service_stats.len() as u64, "service"),
        ];
        for (place, noun) in [(Place::Orphan, "orphan"), (Place::Cycle, "cycle")] {
            let n = nodes.iter().filter(|node| node.place == place).count() as u64;
            if n > 0 {
                facts.push(units::plural(n, noun));
            }
        }
        write!(out, "{}", facts.join(" · "))?;
        if n_errors > 0 {
            write!(out, " · {}", self.paint.paint(ERROR, units::plural(n_errors, "error")))?;
        }
        writeln!(out)
    }

    fn write_span(
        &self,
        out: &mut dyn Write,
        node: &Node<'_>,
        label: &Label,
        axis: &Axis,
        tree_width: usize,
        colors: &BTreeMap<&str, Style>,
    ) -> io::Result<()> {
        let failed = is_error(node.span);
        let style = match colors.get(service(node.span)) {
            _ if failed => ERROR,
            Some(style) => *style,
            None => Style::new(),
        };
        let lines = cut_left(&label.lines, tree_width * 2 / 3);
        let room = tree_width.saturating_sub(lines.width());
        let text = fit(&label.text, room);
        let padding = " ".repeat(room.saturating_sub(text.width()));
        let (before, bar) = axis.bar(node.span.span.start_unix_nanos, duration(node.span));
        let after = " ".repeat(axis.width.saturating_sub(before + bar.width()));
        let duration_text = units::format_duration(duration(node.span));
        writeln!(
            out,
            "{}{}{padding} {}{}{after} {duration_text:>DURATION_WIDTH$}",
            self.paint.paint(FAINT, &lines),
            self.paint.paint(if failed { ERROR } else { Style::new() }, &text),
            " ".repeat(before),
            self.paint.paint(style, &bar),
        )
    }

    /// What went wrong, always; attributes, events and links on request.
    fn write_details(
        &self,
        out: &mut dyn Write,
        trace: &Trace,
        node: &Node<'_>,
        parent: Option<SpanInTrace<'_>>,
        width: usize,
    ) -> io::Result<()> {
        let span = node.span.span;
        let lines = cut_left(&continuation(node), width / 3);
        let mut write = |style: Style, text: &str| {
            let room = width.saturating_sub(lines.width() + 2).max(20);
            for (i, part) in wrap(&printable(text), room).into_iter().enumerate() {
                let indent = if i == 0 { "" } else { "  " };
                let text = self.paint.paint(style, part);
                writeln!(out, "{}{indent}{text}", self.paint.paint(FAINT, &lines))?;
            }
            Ok::<(), io::Error>(())
        };
        match node.place {
            Place::Orphan => {
                write(
                    FAINT,
                    &format!("its parent {} is not in the trace", hex(&span.parent_span_id)),
                )?;
            }
            Place::Cycle => {
                write(FAINT, &format!("its parent {} is below it", hex(&span.parent_span_id)))?;
            }
            Place::Root | Place::Child => {}
        }
        if is_error(node.span) && !span.status_message.is_empty() {
            write(ERROR, &format!("! {}", span.status_message))?;
        }
        if !self.attributes {
            return Ok(());
        }
        write(FAINT, &format!("span {} · {}", hex(&span.span_id), kind(span.kind)))?;
        // The resource is told where it changes.
        let scope = &node.span.scope_spans.scope;
        let resource = &node.span.resource_spans.resource;
        let is_new = parent.is_none_or(|parent| parent.resource_spans.resource != *resource);
        if is_new {
            for attribute in &resource.attributes {
                write(FAINT, &format!("resource.{}", key_value(attribute)))?;
            }
            if !scope.name.is_empty() {
                let version = if scope.version.is_empty() { "" } else { " " };
                write(
                    FAINT,
                    &format!("instrumentation: {}{version}{}", scope.name, scope.version),
                )?;
            }
        }
        for attribute in &span.attributes {
            write(Style::new(), &key_value(attribute))?;
        }
        for event in &span.events {
            let offset = event.time_unix_nanos.saturating_sub(span.start_unix_nanos);
            let attributes = event.attributes.iter().map(key_value).collect::<Vec<_>>().join(", ");
            let gap = if attributes.is_empty() { "" } else { ": " };
            let offset = units::format_duration(offset);
            write(Style::new(), &format!("event {} +{offset}{gap}{attributes}", event.name))?;
        }
        for link in &span.links {
            let elsewhere = traceql_blocks::model::TraceId::from_bytes(&link.trace_id);
            let place =
                if elsewhere == trace.id { "this trace".to_owned() } else { elsewhere.to_string() };
            write(Style::new(), &format!("link to span {} of {place}", hex(&link.span_id)))?;
        }
        Ok(())
    }
}

impl Axis {
    fn of(nodes: &[Node<'_>], width: usize) -> Self {
        let spans = || nodes.iter().map(|node| node.span);
        // A start of 0 is an unknown one; it would stretch the axis over fifty years.
        let starts = spans().map(|s| s.span.start_unix_nanos).filter(|start| *start > 0);
        let start = starts.min().unwrap_or(0);
        let ends = spans().map(|s| s.span.start_unix_nanos.saturating_add(duration(s)));
        let end = ends.max().unwrap_or(0);
        Self { start, duration: end.saturating_sub(start), width }
    }

    /// The scale: times at even distances, each beginning at its place.
    fn ticks(&self) -> String {
        let n_ticks = (self.width / TICK_WIDTH).clamp(1, 8);
        let mut text = String::new();
        for i in 0..n_ticks {
            let at = self.width * i / n_ticks;
            let time = u128::from(self.duration) * at as u128 / self.width as u128;
            let time = units::format_duration(u64::try_from(time).unwrap_or(u64::MAX));
            let label = if i == 0 { "│0".to_owned() } else { format!("│{time}") };
            text.push_str(&" ".repeat(at.saturating_sub(text.width())));
            text.push_str(&label);
        }
        text
    }

    /// Columns before the bar, and the bar, at least one column wide.
    fn bar(&self, start: u64, duration: u64) -> (usize, String) {
        let offset = start.saturating_sub(self.start);
        let column = |time: u64| -> usize {
            if self.duration == 0 {
                return 0;
            }
            let at = u128::from(time) * self.width as u128 / u128::from(self.duration);
            usize::try_from(at).unwrap_or(self.width).min(self.width)
        };
        let from = column(offset).min(self.width - 1);
        let to =
            if self.duration == 0 { self.width } else { column(offset.saturating_add(duration)) };
        match to.saturating_sub(from) {
            0 => (from, "╸".to_owned()),
            n => (from, "━".repeat(n)),
        }
    }
}

/// What stands left of a bar.
struct Label {
    /// Lines that tie it to its parent.
    lines: String,
    /// Service, where it changes, and name.
    text: String,
}

impl Label {
    fn width(&self) -> usize {
        self.lines.width() + self.text.width()
    }
}

fn labels(nodes: &[Node<'_>]) -> Vec<Label> {
    nodes
        .iter()
        .map(|node| {
            let mut lines = levels(node, &node.last[..node.last.len() - 1]);
            if node.depth > 0 {
                lines.push_str(if node.last.last() == Some(&true) { "└ " } else { "├ " });
            }
            let own = service(node.span);
            let inherited = node.parent.is_some_and(|parent| service(nodes[parent].span) == own);
            let mark = if is_error(node.span) { "✗ " } else { "" };
            let name = match node.span.span.name.as_str() {
                "" => "<no name>",
                name => name,
            };
            let text = match own {
                own if inherited || own.is_empty() => format!("{mark}{name}"),
                own => format!("{mark}{own}: {name}"),
            };
            Label { lines, text: printable(&text) }
        })
        .collect()
}

/// The lines that go on below a span: those of its ancestors, its own if it has younger siblings,
/// and the one to its children.
fn continuation(node: &Node<'_>) -> String {
    let mut lines = levels(node, &node.last);
    lines.push_str(if node.has_children { "│ " } else { "  " });
    lines
}

/// Vertical lines of levels; those above the ones known are left out, and so is the top, which has
/// no line.
fn levels(node: &Node<'_>, last: &[bool]) -> String {
    let skip = usize::from(node.depth < tree::SHOWN_LEVELS);
    let lines = last.iter().skip(skip).map(|last| if *last { "  " } else { "│ " });
    let cut = if skip == 0 { "… " } else { "" };
    format!("{cut}{}", lines.collect::<String>())
}

/// Keeps the right part of the lines of a tree, which is the one that ties a span to its parent.
fn cut_left(lines: &str, width: usize) -> String {
    let n_chars = lines.chars().count();
    if n_chars <= width {
        return lines.to_owned();
    }
    let kept = lines.chars().skip(n_chars - width.saturating_sub(1));
    std::iter::once('…').chain(kept).collect()
}

fn service(span: SpanInTrace<'_>) -> &str {
    span.resource_spans.resource.service_name()
}

fn service_colors<'a>(nodes: &[Node<'a>]) -> BTreeMap<&'a str, Style> {
    let mut colors = BTreeMap::new();
    for node in nodes {
        let next = COLORS[colors.len() % COLORS.len()].on_default();
        colors.entry(service(node.span)).or_insert(next);
    }
    colors
}

fn is_error(span: SpanInTrace<'_>) -> bool {
    span.span.status_code == STATUS_ERROR
}

/// Broken data has ends before starts; such a span lasts no time.
fn duration(span: SpanInTrace<'_>) -> u64 {
    span.span.end_unix_nanos.saturating_sub(span.span.start_unix_nanos)
}

fn kind(number: i32) -> &'static str {
    match number {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn key_value(attribute: &KeyValue) -> String {
    format!("{} = {}", attribute.key, attribute_text(&attribute.value))
}

fn attribute_text(value: &AttributeValue) -> String {
    let list =
        |texts: Vec<String>, open: &str, close: &str| format!("{open}{}{close}", texts.join(", "));
    match value {
        AttributeValue::Unset => "nil".to_owned(),
        AttributeValue::String(text) => text.clone(),
        AttributeValue::Int(value) => value.to_string(),
        AttributeValue::Double(value) => value.to_string(),
        AttributeValue::Bool(value) => value.to_string(),
        AttributeValue::Bytes(bytes) => format!("0x{}", hex(bytes)),
        AttributeValue::Array(values) => {
            list(values.iter().map(attribute_text).collect(), "[", "]")
        }
        AttributeValue::KeyValues(members) => {
            list(members.iter().map(key_value).collect(), "{", "}")
        }
    }
}

/// Breaks a text into parts of at most so many columns, at spaces where there are some.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    use unicode_width::UnicodeWidthChar as _;
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        let mut used = 0;
        let hard = rest
            .char_indices()
            .find(|(_, c)| {
                used += c.width().unwrap_or(0);
                used > width
            })
            .map_or(rest.len(), |(at, _)| at)
            .max(rest.chars().next().map_or(1, char::len_utf8));
        let at = rest[..hard].rfind(' ').filter(|at| *at > hard / 2).map_or(hard, |at| at + 1);
        parts.push(rest[..at].trim_end());
        rest = &rest[at..];
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
#[path = "waterfall_tests.rs"]
mod tests;
