//! Draws errors. The only renderer of ranged errors: what is wrong with a query appears under its
//! text, with what was expected and what to write instead. Decides nothing.

use std::fmt::Write as _;

use clap::builder::styling::Style;
use traceql_language::{Error as QueryError, ErrorKind, LineColumn, TextRange};
use unicode_width::UnicodeWidthStr as _;

use crate::error::{Error, Message};
use crate::output::fit;
use crate::terminal::{ERROR, FAINT, HINT, NOTE, Paint, Terminal};

/// Expectations listed; more would not be read.
const MAX_EXPECTED: usize = 8;
/// Columns of query text shown of one line where no terminal says how many there are; the place of
/// the error is always among them.
const MAX_LINE_WIDTH: usize = 120;
/// The least shown of a line, however narrow the terminal is.
const MIN_LINE_WIDTH: usize = 20;

/// What errors are drawn on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// Its colours.
    pub(crate) paint: Paint,
    /// Its columns, where it is a terminal: a drawing that wraps is none.
    pub(crate) width: Option<u16>,
}

impl Page {
    /// No terminal.
    pub(crate) const PLAIN: Self = Self { paint: Paint { on: false }, width: None };

    /// Standard output.
    pub(crate) fn of_stdout(terminal: &Terminal) -> Self {
        let width = terminal.stdout_is_terminal.then_some(terminal.width);
        Self { paint: terminal.stdout, width }
    }

    /// Standard error; of two terminals only the width of the one is known.
    pub(crate) fn of_stderr(terminal: &Terminal) -> Self {
        let is_terminal = terminal.stderr_is_terminal && terminal.stdout_is_terminal;
        Self { paint: terminal.stderr, width: is_terminal.then_some(terminal.width) }
    }
}

/// An error as it is printed, several lines with a newline at the end.
pub(crate) fn render(error: &Error, page: Page) -> String {
    let paint = page.paint;
    let mut text = match &error.message {
        Message::Text(message) => format!("{}: {message}\n", paint.paint(ERROR, "error")),
        Message::Query { name, text, error } => render_query_error(name, text, error, page),
    };
    for note in &error.notes {
        line(&mut text, format_args!("{}: {note}", paint.paint(NOTE, "note")));
    }
    for hint in &error.hints {
        line(&mut text, format_args!("{}: {hint}", paint.paint(HINT, "hint")));
    }
    text
}

/// A refused query with its text.
pub(crate) fn render_query_error(
    name: &str,
    query: &str,
    error: &QueryError,
    page: Page,
) -> String {
    let (mut text, paint) = (String::new(), page.paint);
    let kind = match error.kind {
        ErrorKind::Parse => String::new(),
        kind => format!(" ({kind})"),
    };
    line(&mut text, format_args!("{}{kind}: {}", paint.paint(ERROR, "error"), error.message));
    draw(&mut text, name, query, error.range, ERROR, page);
    // Many messages say it themselves.
    if !error.expected.is_empty() && !error.message.starts_with("expected ") {
        let expected = expected(&error.expected);
        line(&mut text, format_args!("{}: {expected}", paint.paint(NOTE, "expected")));
    }
    for hint in &error.hints {
        line(&mut text, format_args!("{}: {hint}", paint.paint(HINT, "hint")));
    }
    text
}

/// Something to say about a place in a text that is no refusal of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remark<'a> {
    /// What it begins with: `warning[unscoped]`.
    pub(crate) label: &'a str,
    /// The style of label and marks.
    pub(crate) style: Style,
    /// One clause.
    pub(crate) message: &'a str,
    /// What is the text called.
    pub(crate) name: &'a str,
    /// The text.
    pub(crate) text: &'a str,
    /// The place.
    pub(crate) range: TextRange,
    /// What to do.
    pub(crate) hints: &'a [String],
}

/// A remark with the text it is about.
pub(crate) fn render_remark(remark: &Remark<'_>, page: Page) -> String {
    let paint = page.paint;
    let Remark { label, style, message, name, text, range, hints } = *remark;
    let mut out = String::new();
    line(&mut out, format_args!("{}: {message}", paint.paint(style, label)));
    draw(&mut out, name, text, range, style, page);
    for hint in hints {
        line(&mut out, format_args!("{}: {hint}", paint.paint(HINT, "hint")));
    }
    out
}

fn expected(expected: &[String]) -> String {
    // Symbols alone would be lost among the commas.
    let quote = |text: &String| match text.chars().any(|c| c.is_alphanumeric() || c == '`') {
        true => text.clone(),
        false => format!("`{text}`"),
    };
    let mut list = expected.iter().take(MAX_EXPECTED).map(quote).collect::<Vec<_>>();
    if expected.len() > MAX_EXPECTED {
        list.push("…".to_owned());
    }
    match list.as_slice() {
        [but_last @ .., last] if !but_last.is_empty() && expected.len() <= MAX_EXPECTED => {
            format!("{} or {last}", but_last.join(", "))
        }
        list => list.join(", "),
    }
}

/// The line of the query where the error begins, and marks under the range.
fn draw(text: &mut String, name: &str, query: &str, range: TextRange, style: Style, page: Page) {
    let start = query.floor_char_boundary((range.start as usize).min(query.len()));
    let end = query.floor_char_boundary((range.end as usize).min(query.len())).max(start);
    let place = LineColumn::of(query, start);
    let line_start = query[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = query[start..].find('\n').map_or(query.len(), |at| start + at);
    let before = printable(&query[line_start..start]);
    let marked = printable(&query[start..end.min(line_end)]);
    let after = printable(&query[end.min(line_end)..line_end]);
    let number = place.line.to_string();
    let paint = page.paint;
    let room = page.width.map_or(MAX_LINE_WIDTH, |width| {
        usize::from(width).saturating_sub(number.len() + " | ".len()).max(MIN_LINE_WIDTH)
    });
    let (before, marked, after) = cut(before, marked, after, room);

    let gutter = " ".repeat(number.len());
    let bar = paint.paint(FAINT, "|").to_string();
    let arrow = paint.paint(FAINT, "-->");
    line(text, format_args!("{gutter}{arrow} {name}:{number}:{}", place.column));
    line(text, format_args!("{gutter} {bar}"));
    line(text, format_args!("{} {bar} {before}{marked}{after}", paint.paint(FAINT, &number)));
    let marks = "^".repeat(marked.width().max(1));
    let indent = " ".repeat(before.width());
    line(text, format_args!("{gutter} {bar} {indent}{}", paint.paint(style, marks)));
}

/// Tabs as spaces, other control characters as their pictures, so that columns line up and nothing
/// in a query can steer a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            '\0'..='\x1f' => {
                char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            '\x7f'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                char::REPLACEMENT_CHARACTER
            }
            c => c,
        })
        .collect()
}

/// Keeps what lies around the error of a line that is too long: up to half of the room before it.
fn cut(before: String, marked: String, after: String, room: usize) -> (String, String, String) {
    if before.width() + marked.width() + after.width() <= room {
        return (before, marked, after);
    }
    let half = room / 2;
    let before = match before.char_indices().nth_back(half - 1) {
        Some((at, c)) if at > 0 => format!("…{}", &before[at + c.len_utf8()..]),
        _ => before,
    };
    let marked = fit(&marked, room.saturating_sub(before.width()));
    let after = fit(&after, room.saturating_sub(before.width() + marked.width()));
    (before, marked, after)
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, range: std::ops::Range<usize>, drawing: &str) {
        let error = QueryError::parse(TextRange::new(range.start, range.end), "wrong");
        let text = render_query_error("query", query, &error, Page::PLAIN);
        assert_eq!(text, format!("error: wrong\n{drawing}"), "{query:?}\n{text}");
    }

    #[test]
    fn marks_stand_under_the_range() {
        check(
            "{ status = eror }",
            11..15,
            " --> query:1:12\n  |\n1 | { status = eror }\n  |            ^^^^\n",
        );
    }

    #[test]
    fn an_empty_range_has_one_mark() {
        check("{ ", 2..2, " --> query:1:3\n  |\n1 | { \n  |   ^\n");
        check("", 0..0, " --> query:1:1\n  |\n1 | \n  | ^\n");
    }

    #[test]
    fn only_the_line_of_the_error_is_shown() {
        check("{ a }\n| b\n| c", 8..9, " --> query:2:3\n  |\n2 | | b\n  |   ^\n");
        check("{\n  a b\n}", 6..9, " --> query:2:5\n  |\n2 |   a b\n  |     ^\n");
    }

    #[test]
    fn wide_and_control_characters_keep_the_columns() {
        check("日本 x", 7..8, " --> query:1:6\n  |\n1 | 日本 x\n  |      ^\n");
        check("\u{1b}[31m x", 6..7, " --> query:1:6\n  |\n1 | ␛[31m x\n  |       ^\n");
    }

    #[test]
    fn long_lines_are_cut_around_the_error() {
        let query = format!("{}bad{}", "a".repeat(500), "z".repeat(500));
        let error = QueryError::parse(TextRange::new(500, 503), "wrong");
        let text = render_query_error("query", &query, &error, Page::PLAIN);
        let shown = text.lines().nth(3).unwrap();
        assert_eq!(shown, format!("1 | …{}bad{}…", "a".repeat(59), "z".repeat(56)));
        assert_eq!(text.lines().nth(4).unwrap(), format!("  | {}^^^", " ".repeat(60)));
        // A terminal is filled, and not more than that.
        let page = Page { width: Some(30), ..Page::PLAIN };
        let text = render_query_error("query", &query, &error, page);
        let shown = text.lines().nth(3).unwrap();
        assert_eq!(shown, format!("1 | …{}bad{}…", "a".repeat(12), "z".repeat(9)));
        assert_eq!(shown.width(), 30);
        let error = QueryError::parse(TextRange::new(0, 1_003), "wrong");
        let text = render_query_error("query", &query, &error, page);
        assert_eq!(text.lines().nth(4).unwrap(), format!("  | {}", "^".repeat(26)));
    }

    #[test]
    fn ranges_that_do_not_fit_do_no_harm() {
        check("日", 1..2, " --> query:1:1\n  |\n1 | 日\n  | ^\n");
        check("ab", 7..9, " --> query:1:3\n  |\n1 | ab\n  |   ^\n");
    }

    #[test]
    fn expectations_and_hints_follow() {
        let error = QueryError::parse(TextRange::new(0, 1), "unexpected `x`")
            .expecting(["`{`", "`(`", "a number"])
            .hint("write a spanset");
        let text = render_query_error("query", "x", &error, Page::PLAIN);
        assert!(
            text.ends_with("expected: `{`, `(` or a number\nhint: write a spanset\n"),
            "{text}"
        );
    }

    #[test]
    fn colour_is_written_only_when_wanted() {
        let error = Error::usage("no").hint("yes");
        assert_eq!(render(&error, Page::PLAIN), "error: no\nhint: yes\n");
        assert!(
            render(&error, Page { paint: Paint { on: true }, ..Page::PLAIN }).contains("\u{1b}[")
        );
    }
}
