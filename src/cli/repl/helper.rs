//! What the line editor asks while a query is typed: colours, matching brackets, whether the query is
//! complete, what could come next.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Style};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use traceql_language::editor::{self, Completeness, TokenClass, Wanted};

use super::command::COMMANDS;
use super::vocabulary::Vocabulary;
use super::{SETTINGS, is_sql, saved};
use crate::args::{QueryFormat, ScopeName};
use crate::terminal::{FAINT, Paint};

/// Most candidates shown: a longer list is no help.
const MAX_CANDIDATES: usize = 200;

/// Hints of the language, as they are begun.
const HINTS: [&str; 6] =
    ["exact=true", "exemplars=", "extrapolate=true", "most_recent=true", "sample=", "span_sample="];

/// Helps to type.
pub(super) struct PromptHelper {
    pub(super) vocabulary: Vocabulary,
    pub(super) paint: Paint,
    /// Where kept queries lie.
    pub(super) folder: Option<PathBuf>,
    files: FilenameCompleter,
    history: HistoryHinter,
}

impl PromptHelper {
    pub(super) fn new(vocabulary: Vocabulary, paint: Paint, folder: Option<PathBuf>) -> Self {
        let (files, history) = (FilenameCompleter::new(), HistoryHinter::new());
        Self { vocabulary, paint, folder, files, history }
    }

    /// Candidates and where they go.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<Pair>) {
        let before = &line[..position];
        let completion = editor::completion(before);
        let start = completion.range.start as usize;
        let typed = completion.range.of(before);
        let plain = |text: String| Pair { display: text.clone(), replacement: text };
        let candidates: Vec<Pair> = match completion.wanted {
            Wanted::Field => {
                let names = self.vocabulary.names();
                let mut fields = editor::intrinsics();
                fields.extend(names.iter().cloned());
                fields.extend(editor::fields_of_others(typed, &names));
                begin_with(typed, fields.into_iter().map(plain))
            }
            Wanted::Value { field, quote } => {
                let values = self.vocabulary.values(&field, &before[..start]);
                let typed = typed.trim_start_matches(['"', '`']);
                let fitting = values.iter().filter(|value| value.value.starts_with(typed));
                let literals = fitting.map(|v| plain(literal(v.value_type, &v.value, quote)));
                literals.take(MAX_CANDIDATES).collect()
            }
            Wanted::Stage => begin_with(typed, editor::stages().map(str::to_owned).map(plain)),
            Wanted::Hint => begin_with(typed, HINTS.map(str::to_owned).into_iter().map(plain)),
            Wanted::Spanset if typed.is_empty() => vec![plain("{ ".to_owned())],
            Wanted::Spanset | Wanted::Operator | Wanted::Nothing => Vec::new(),
        };
        (start, candidates)
    }

    /// The same for a command.
    fn of_command(&self, line: &str, position: usize) -> (usize, Vec<Pair>) {
        let before = &line[..position];
        let plain = |text: &str| Pair { display: text.to_owned(), replacement: text.to_owned() };
        let Some((name, rest)) = before.split_once(char::is_whitespace) else {
            let names = COMMANDS.iter().flat_map(|command| command.names);
            let names = names.map(|name| plain(&format!("\\{name}")));
            return (0, begin_with(before, names));
        };
        let word = rest.rfind(char::is_whitespace).map_or(rest, |at| &rest[at + 1..]);
        let start = position - word.len();
        let candidates = match name.trim_start_matches('\\') {
            "values" if !rest.contains('{') => {
                let mut fields = editor::intrinsics();
                fields.extend(self.vocabulary.names().iter().cloned());
                begin_with(word, fields.iter().map(|field| plain(field)))
            }
            "o" | "last" => of_variants::<QueryFormat>(word),
            "tags" if !rest.contains('{') => of_variants::<ScopeName>(word),
            "set" => begin_with(word, SETTINGS.iter().map(|name| plain(name))),
            "run" => {
                let kept = self.folder.as_deref().and_then(|folder| saved::list(folder).ok());
                let kept = kept.unwrap_or_default();
                begin_with(word, kept.iter().map(|(name, _)| plain(name)))
            }
            "explain" | "values" | "tags" | "save" => {
                let query = rest.find('{').map_or(rest.len(), |at| at);
                let offset = position - rest.len() + query;
                let (start, pairs) = self.candidates(&line[offset..], position - offset);
                return (start + offset, pairs);
            }
            _ => Vec::new(),
        };
        (start, candidates)
    }
}

fn of_variants<T: clap::ValueEnum>(typed: &str) -> Vec<Pair> {
    let names = T::value_variants().iter().filter_map(|value| value.to_possible_value());
    let names = names.map(|value| value.get_name().to_owned());
    begin_with(typed, names.map(|name| Pair { display: name.clone(), replacement: name }))
}

fn begin_with(typed: &str, candidates: impl Iterator<Item = Pair>) -> Vec<Pair> {
    candidates
        .filter(|pair| pair.replacement.starts_with(typed) && pair.replacement != typed)
        .take(MAX_CANDIDATES)
        .collect()
}

/// A value as a query writes it, in the quotes that were begun.
fn literal(value_type: &str, value: &str, quote: Option<char>) -> String {
    match (value_type, quote) {
        ("string", Some('`')) if !value.contains('`') => format!("`{value}`"),
        ("string", _) => quoted(value),
        _ => value.to_owned(),
    }
}

fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

impl Completer for PromptHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if line.starts_with("\\i ") || line.starts_with("\\include ") {
            return self.files.complete(line, position, context);
        }
        if line.starts_with('\\') {
            return Ok(self.of_command(line, position));
        }
        Ok(self.candidates(line, position))
    }
}

impl Hinter for PromptHelper {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, context: &Context<'_>) -> Option<String> {
        // Called at every key: time to fetch the values that Tab will be asked for.
        if !line.starts_with('\\') && position == line.len() {
            let completion = editor::completion(line);
            if let Wanted::Value { field, .. } = completion.wanted {
                self.vocabulary.prefetch(&field, &line[..completion.range.start as usize]);
            }
        }
        if line.is_empty() || line.contains('\n') {
            return None;
        }
        self.history.hint(line, position, context)
    }
}

impl Validator for PromptHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let more = is_unfinished(context.input());
        Ok(if more { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

/// Whether more lines belong to what was typed. An empty line always ends it.
pub(super) fn is_unfinished(text: &str) -> bool {
    if text.starts_with('\\') || text.ends_with("\n\n") || text.ends_with('\n') {
        return false;
    }
    if is_sql(text) {
        return !text.trim_end().ends_with(';');
    }
    editor::completeness(text) != Completeness::Complete
}

impl Highlighter for PromptHelper {
    fn highlight<'l>(&self, line: &'l str, position: usize) -> Cow<'l, str> {
        if !self.paint.on || line.is_empty() || is_sql(line) {
            return Cow::Borrowed(line);
        }
        let command = match line.strip_prefix('\\') {
            Some(rest) => rest.find('{').map_or(line.len(), |at| at + 1),
            None => 0,
        };
        let matching = matching_bracket(line, position);
        let mut text = String::with_capacity(line.len() * 2);
        let key = Style::new().bold();
        let mut at = command;
        write!(text, "{}", self.paint.paint(key, &line[..command])).ok();
        for (range, class) in editor::classes(&line[command..]) {
            let bytes = range.start as usize + command..range.end as usize + command;
            text.push_str(&line[at..bytes.start]);
            let mut style = style_of(class);
            if matching == Some(bytes.start) {
                style = style.bold().underline();
            }
            write!(text, "{}", self.paint.paint(style, &line[bytes.clone()])).ok();
            at = bytes.end;
        }
        text.push_str(&line[at..]);
        Cow::Owned(text)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.paint.paint(AnsiColor::Cyan.on_default().bold(), prompt).to_string())
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.paint.paint(FAINT, hint).to_string())
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

impl Helper for PromptHelper {}

fn style_of(class: TokenClass) -> Style {
    match class {
        TokenClass::Function => AnsiColor::Magenta.on_default(),
        TokenClass::Intrinsic => AnsiColor::Blue.on_default(),
        TokenClass::Attribute => AnsiColor::Cyan.on_default(),
        TokenClass::Number => AnsiColor::Yellow.on_default(),
        TokenClass::Text => AnsiColor::Green.on_default(),
        TokenClass::Constant => AnsiColor::Yellow.on_default().bold(),
        TokenClass::Operator | TokenClass::Punctuation | TokenClass::Word => Style::new(),
        TokenClass::Bad => AnsiColor::Red.on_default(),
    }
}

/// The partner of the bracket at or before the cursor.
fn matching_bracket(line: &str, position: usize) -> Option<usize> {
    let tokens: Vec<(usize, &str)> = editor::classes(line)
        .into_iter()
        .filter(|(_, class)| *class == TokenClass::Punctuation)
        .map(|(range, _)| (range.start as usize, range.of(line)))
        .filter(|(_, text)| *text != ",")
        .collect();
    let here = tokens.iter().position(|(at, _)| *at == position);
    let here = here.or_else(|| tokens.iter().position(|(at, _)| *at + 1 == position))?;
    let opens = |text: &str| matches!(text, "{" | "(");
    let forward = opens(tokens[here].1);
    let mut depth = 0_i64;
    let mut closes = |(at, text): &(usize, &str)| {
        depth += if opens(text) == forward { 1 } else { -1 };
        (depth == 0).then_some(*at)
    };
    match forward {
        true => tokens[here..].iter().find_map(&mut closes),
        false => tokens[..=here].iter().rev().find_map(&mut closes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_match() {
        let line = "({ a } | b)";
        assert_eq!(matching_bracket(line, 0), Some(10));
        assert_eq!(matching_bracket(line, 11), Some(0));
        assert_eq!(matching_bracket(line, 1), Some(5));
        assert_eq!(matching_bracket(line, 5), Some(1));
        assert_eq!(matching_bracket(line, 3), None);
        assert_eq!(matching_bracket("{ (", 0), None);
    }

    #[test]
    fn lines_go_on_until_the_query_is_complete() {
        for (text, expected) in [
            ("{ status = error }", false),
            ("{ status = error", true),
            ("{ } |", true),
            ("{ } |\n", false),
            ("\\open {", false),
            ("select 1", true),
            ("select 1;", false),
            ("with (", true),
        ] {
            assert_eq!(is_unfinished(text), expected, "{text:?}");
        }
    }

    #[test]
    fn values_are_written_as_literals() {
        assert_eq!(literal("string", "a\"b\\c\n", None), r#""a\"b\\c\n""#);
        assert_eq!(literal("string", "größe", Some('"')), "\"größe\"");
        assert_eq!(literal("string", "a\"b", Some('`')), "`a\"b`");
        assert_eq!(literal("string", "a`b", Some('`')), "\"a`b\"");
        assert_eq!(literal("int", "5", None), "5");
        assert_eq!(literal("keyword", "error", None), "error");
    }
}
