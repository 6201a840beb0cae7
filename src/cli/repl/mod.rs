//! The prompt: reads a query or a command, runs it, prints the answer. Ctrl-C ends a query and never
//! the program. What a query does is the business of the commands of the command line, which run here
//! unchanged; this folder adds what hands expect of a prompt.

mod command;
mod helper;
mod saved;
mod state;
mod vocabulary;

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use traceql_blocks::Error::NotFound;
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::source::SourceKind;
use traceql_engine::Progress;

use crate::Success;
use crate::args::{ColorChoice, DialectName, ReplArgs};
use crate::commands;
use crate::config::user_folder;
use crate::error::{Error, Kind, Message, Result};
use crate::host::Host;
use crate::output::sink::Sink;
use crate::session::{Session, SessionOptions};
use crate::settings::{self, World};
use crate::supervise::Runtimes;
use crate::terminal::{FAINT, Terminal};
use crate::units::{format_duration, parse_duration, parse_size, plural};
use helper::PromptHelper;
use state::{AnswerFile, State};
use vocabulary::Vocabulary;

/// Lines of history kept.
const HISTORY: usize = 10_000;

/// What `\set` knows.
const SETTINGS: [&str; 9] = [
    "dialect",
    "memory",
    "pager",
    "skip_unreadable",
    "spans",
    "stats",
    "threads",
    "timeout",
    "timing",
];

/// Whether the prompt goes on.
enum Flow {
    Go,
    Leave,
}

/// A session at the prompt.
struct Repl {
    world: World,
    color: ColorChoice,
    host: Arc<Host>,
    vocabulary: Vocabulary,
    state: State,
    /// What `\e` ran, to be added to the history.
    edited: Vec<String>,
}

/// Runs the prompt until it is left.
pub(crate) fn run(world: &World, color: ColorChoice, args: &ReplArgs) -> Result<Success> {
    let threads = settings::threads(args.run.threads);
    let host = Arc::new(Host::new(Runtimes::start_for_prompt(threads)?));
    let vocabulary = Vocabulary::new(host.runtimes.compute().clone());
    let state = State {
        source: args.source.clone(),
        time: args.time.clone(),
        run: args.run.clone(),
        limit: args.limit.or(world.config.limit()),
        spans_per_spanset: None,
        step: None,
        format: args.output,
        wide: false,
        timing: true,
        pager: true,
        file: None,
        last_query: None,
    };
    let mut repl = Repl {
        world: World { host: Some(Arc::clone(&host)), ..world.clone() },
        color,
        host,
        vocabulary,
        state,
        edited: Vec::new(),
    };
    // The options are checked before anything is shown.
    repl.world().time_range(&repl.state.time)?;
    if !io::stdin().is_terminal() {
        return repl.run_stdin();
    }
    repl.greet();
    if !args.no_startup {
        repl.run_startup_file();
    }
    repl.prompt()?;
    Ok(Success::Answered)
}

impl Repl {
    /// The world as it is now: the clock goes on, and windows change their size.
    fn world(&self) -> World {
        let variable = |name: &str| self.variable(name);
        let terminal = Terminal::detect(self.color, self.world.terminal.quiet, variable);
        let sink = match &self.state.file {
            Some(target) => Sink::File(Arc::clone(&target.file)),
            None if self.state.pager && io::stdin().is_terminal() => {
                Sink::Pager(self.world.pager().to_owned())
            }
            None => Sink::Stdout,
        };
        World { now_unix_nanos: self.now(), terminal, sink, ..self.world.clone() }
    }

    fn now(&self) -> u64 {
        u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.world.variable(name)
    }

    /// Says something that is no answer.
    fn say(&self, text: &str) {
        if !self.world.terminal.quiet {
            let text = self.world.terminal.stderr.paint(FAINT, text);
            // There is nobody to tell if standard error is closed.
            drop(io::Write::write_fmt(&mut io::stderr().lock(), format_args!("{text}\n")));
        }
    }

    fn greet(&mut self) {
        self.say(&format!(
            "traceql {}. \\? lists the commands, Tab completes, Ctrl-D leaves.",
            env!("CARGO_PKG_VERSION")
        ));
        match self.state.source.source.as_deref().filter(|source| !source.is_empty()) {
            None => self.say("No source yet: \\source sample: is built-in data."),
            Some(_) => match self.open() {
                Ok(opened) => self.say(&opened),
                Err(error) => crate::report(&self.world.terminal, &error),
            },
        }
    }

    /// Opens the source and learns its words; returns what it holds.
    fn open(&mut self) -> Result<String> {
        let world = self.world();
        let progress = Arc::new(Progress::default());
        let options = world.query_options(&self.state.time, &self.state.run, &progress)?;
        let session = SessionOptions::new(&world, &self.state.source, self.host.runtimes.io())?;
        let (kept, asked) = (Arc::clone(&self.host.kept), session.clone());
        let may_choose = self.state.source.tenant.is_empty();
        let ended = self.host.runtimes.supervise(&world.terminal, None, &progress, async move {
            kept.reopen().await;
            let session = kept.session(asked).await?;
            // A wrong tenant is told now, not by the first query.
            let holds = match count_blocks(&session).await {
                // To choose one, a source of several has to be open.
                Err(NotFound { what: "tenant", candidates, .. })
                    if may_choose && !candidates.is_empty() =>
                {
                    Holds::Tenants(candidates)
                }
                holds => holds?,
            };
            Ok((session, holds))
        });
        let (opened, holds) = commands::whole(ended)?;
        self.vocabulary.reset(Arc::clone(&self.host.kept), session, options);
        let tenants: Vec<String> = opened.tenants.iter().map(ToString::to_string).collect();
        Ok(match holds {
            Holds::Blocks(n) => format!("{} of tenant {}", plural(n, "block"), tenants.join("|")),
            Holds::Traces => "a file of traces".to_owned(),
            Holds::Tenants(all) => {
                format!("tenants {}; choose one with \\tenant", all.join(", "))
            }
        })
    }

    /// The time range has changed, and with it the words that occur.
    fn forget_names(&self) {
        let world = self.world();
        let progress = Arc::new(Progress::default());
        let options = world.query_options(&self.state.time, &self.state.run, &progress);
        let session = SessionOptions::new(&world, &self.state.source, self.host.runtimes.io());
        if let (Ok(options), Ok(session)) = (options, session) {
            self.vocabulary.reset(Arc::clone(&self.host.kept), session, options);
        }
    }

    fn prompt(&mut self) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(Kind::Failed, format!("the prompt cannot use this terminal: {error}"))
        };
        let config = Config::builder()
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .auto_add_history(true)
            .max_history_size(HISTORY)
            .map_err(|error| failed(&error))?
            .build();
        let mut editor: Editor<PromptHelper, FileHistory> =
            Editor::with_config(config).map_err(|error| failed(&error))?;
        let paint = self.world.terminal.stdout;
        let folder = self.folder().ok();
        editor.set_helper(Some(PromptHelper::new(self.vocabulary.clone(), paint, folder)));
        let history = self.history_path();
        if let Some(path) = &history {
            // There is none the first time.
            editor.load_history(path).ok();
        }
        loop {
            match editor.readline("traceql> ") {
                Ok(line) => {
                    let flow = self.statement(&line);
                    for text in self.edited.drain(..) {
                        editor.add_history_entry(text).ok();
                    }
                    if let Some(path) = &history {
                        self.keep_history(&mut editor, path);
                    }
                    match flow {
                        Ok(Flow::Go) => {}
                        Ok(Flow::Leave) => break,
                        Err(error) => crate::report(&self.world.terminal, &error),
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// Written after every statement: a window that is closed loses nothing.
    fn keep_history(&self, editor: &mut Editor<PromptHelper, FileHistory>, path: &Path) {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).ok();
        }
        // A history that cannot be written is no reason to stop.
        editor.append_history(path).ok();
    }

    /// Runs what was typed.
    fn statement(&mut self, text: &str) -> Result<Flow> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Flow::Go);
        }
        let bare = text.trim_end_matches(';').trim_end();
        // Who comes from other prompts leaves by these; no query is a word.
        let is_command = text.starts_with('\\') || ["exit", "quit", "help"].contains(&bare);
        match is_command {
            true => command::run(self, text),
            false => self.query(bare).map(|()| Flow::Go),
        }
        .map_err(said_here)
    }

    /// Runs a query and says how long it took.
    fn query(&mut self, text: &str) -> Result<()> {
        self.state.last_query = Some(text.to_owned());
        let world = self.world();
        let started = Instant::now();
        let outcome = if is_sql(text) {
            commands::sql::run(&world, &self.state.sql(text))
        } else {
            let query = world.compile(text)?;
            let args = self.state.query(text, query.metrics.is_some());
            commands::query::run(&world, &args)
        };
        if self.state.timing && outcome.is_ok() {
            let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.say(&format!("({})", format_duration(nanos)));
        }
        outcome.map(drop)
    }

    fn last_query(&self) -> Result<String> {
        let last = self.state.last_query.clone();
        last.ok_or_else(|| Error::usage("no query was run yet"))
    }

    fn keep_in_history(&mut self, text: &str) {
        self.edited.push(text.to_owned());
    }

    /// Runs the statements of a text one after the other; the first error ends it.
    fn script(&mut self, name: &str, text: &str) -> Result<Flow> {
        for statement in statements(text) {
            let flow =
                self.statement(&statement).map_err(|error| error.note(format!("in {name}")))?;
            if matches!(flow, Flow::Leave) {
                return Ok(Flow::Leave);
            }
        }
        Ok(Flow::Go)
    }

    fn run_stdin(&mut self) -> Result<Success> {
        self.state.timing = false;
        let mut text = String::new();
        io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Error::usage(format!("cannot read standard input: {error}")))?;
        self.script("standard input", &text)?;
        Ok(Success::Answered)
    }

    fn run_startup_file(&mut self) {
        let Some(path) = self.config_folder().map(|folder| folder.join("startup.traceql")) else {
            return;
        };
        let Ok(text) = fs::read_to_string(&path) else { return };
        if let Err(error) = self.script(&path.display().to_string(), &text) {
            crate::report(&self.world.terminal, &error);
        }
    }

    /// Where settings lie: `$XDG_CONFIG_HOME/traceql`, or `~/.config/traceql`.
    fn config_folder(&self) -> Option<PathBuf> {
        self.home_folder("XDG_CONFIG_HOME", ".config")
    }

    fn home_folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        user_folder(|name| self.variable(name), variable, below_home)
    }

    fn history_path(&self) -> Option<PathBuf> {
        Some(self.home_folder("XDG_STATE_HOME", ".local/state")?.join("history"))
    }

    /// Where kept queries lie.
    fn folder(&self) -> Result<PathBuf> {
        let folder = self.config_folder().ok_or_else(|| {
            Error::usage("there is no home to keep queries in").hint("set HOME or XDG_CONFIG_HOME")
        })?;
        Ok(folder.join("queries"))
    }

    /// Sends answers to a file.
    fn write_to(&mut self, path: &Path) -> Result<()> {
        let file = fs::File::create(path).map_err(|error| {
            Error::new(Kind::Failed, format!("cannot write {}: {error}", path.display()))
        })?;
        self.state.file = Some(AnswerFile { path: path.to_owned(), file: Arc::new(file) });
        Ok(())
    }

    /// Lets a text be changed in the user's editor.
    fn edit(&self, text: &str) -> Result<String> {
        let failed =
            |what: &str, error: io::Error| Error::new(Kind::Failed, format!("{what}: {error}"));
        let chosen = self.variable("VISUAL").or_else(|| self.variable("EDITOR"));
        let editor = chosen.filter(|editor| !editor.is_empty()).unwrap_or("vi").to_owned();
        let file = tempfile::Builder::new().prefix("traceql-").suffix(".traceql").tempfile();
        let file = file.map_err(|error| failed("cannot make a file to edit", error))?;
        fs::write(file.path(), text)
            .map_err(|error| failed("cannot write the file to edit", error))?;
        // An editor may come with options, as in `code --wait`.
        let status = std::process::Command::new("sh")
            .args(["-c", &format!("{editor} \"$1\""), "sh"])
            .arg(file.path())
            .status()
            .map_err(|error| failed(&format!("cannot run {editor}"), error))?;
        if !status.success() {
            return Err(Error::new(Kind::Failed, format!("{editor} ended with {status}"))
                .hint("EDITOR or VISUAL names the editor"));
        }
        fs::read_to_string(file.path())
            .map_err(|error| failed("cannot read what was edited", error))
    }

    /// All settings and their values.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let or = |value: &Option<String>, default: &str| {
            value.clone().unwrap_or_else(|| default.to_owned())
        };
        let on = |value: bool| if value { "on" } else { "off" }.to_owned();
        let State { source, time, run, .. } = &self.state;
        let range = match (&time.since, &time.start, &time.end) {
            (Some(since), ..) => format!("the last {since}"),
            (None, None, None) => "the whole source".to_owned(),
            (None, start, end) => {
                format!("{} to {}", or(start, "the beginning"), or(end, "the end"))
            }
        };
        let dialect = match self.world.dialect {
            traceql_language::Dialect::Tempo => "tempo",
            _ => "default",
        };
        let file = self.state.file.as_ref().map(|target| target.path.display().to_string());
        vec![
            ("source", or(&source.source, "none")),
            (
                "tenant",
                match source.tenant.as_slice() {
                    [] => "by the source".to_owned(),
                    tenants => tenants.join("|"),
                },
            ),
            ("range", range),
            ("limit", self.state.limit.unwrap_or(20).to_string()),
            ("step", or(&self.state.step, "by the range")),
            ("output", or(&file, &format!("{:?}", self.state.query_format()).to_lowercase())),
            ("dialect", dialect.to_owned()),
            ("spans", self.state.spans_per_spanset.unwrap_or(3).to_string()),
            ("threads", settings::threads(run.threads).to_string()),
            ("memory", or(&run.memory, "512MiB")),
            ("timeout", or(&run.timeout, "none")),
            ("stats", on(run.stats)),
            ("skip_unreadable", on(run.skip_unreadable)),
            ("pager", on(self.state.pager)),
            ("timing", on(self.state.timing)),
        ]
    }

    /// Changes a setting.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let on = || match value {
            "on" | "true" | "1" => Ok(true),
            "off" | "false" | "0" => Ok(false),
            _ => Err(Error::usage(format!("{name} is on or off, not {value:?}"))),
        };
        let number =
            || value.parse::<usize>().map_err(|_| Error::usage(format!("{value:?} is no number")));
        let some = || (!value.is_empty() && value != "none").then(|| value.to_owned());
        let wrong = |why: String| Error::usage(format!("{name}: {why}"));
        match name {
            "dialect" => {
                self.world.dialect = command::one_of::<DialectName>("dialect", value)?.into();
            }
            "memory" => {
                some().map(|text| parse_size(&text).map_err(wrong)).transpose()?;
                self.state.run.memory = some();
            }
            "timeout" => {
                some().map(|text| parse_duration(&text).map_err(wrong)).transpose()?;
                self.state.run.timeout = some();
            }
            "threads" => {
                let threads = std::num::NonZeroUsize::new(number()?);
                self.state.run.threads =
                    Some(threads.ok_or_else(|| wrong("at least 1".to_owned()))?);
            }
            "spans" => self.state.spans_per_spanset = Some(number()?),
            "stats" => self.state.run.stats = on()?,
            "skip_unreadable" => self.state.run.skip_unreadable = on()?,
            "pager" => self.state.pager = on()?,
            "timing" => self.state.timing = on()?,
            _ => {
                return Err(Error::usage(format!("there is no setting {name:?}"))
                    .hint(format!("there are: {}", SETTINGS.join(", "))));
            }
        }
        self.say(&format!("{name}: {}", if value.is_empty() { "none" } else { value }));
        Ok(())
    }
}

/// What a source holds of what is asked.
enum Holds {
    /// So many live blocks of the tenants.
    Blocks(u64),
    /// The traces of a file.
    Traces,
    /// These tenants, of which none was chosen.
    Tenants(Vec<String>),
}

async fn count_blocks(session: &Session) -> Result<Holds, traceql_blocks::Error> {
    if matches!(session.source.kind(), SourceKind::Otlp(_)) {
        return Ok(Holds::Traces);
    }
    let mut n = 0;
    for tenant in &session.tenants {
        let list = session.source.blocks(tenant, &BlocklistOptions::default()).await?;
        n += list.blocks.len() as u64;
    }
    Ok(Holds::Blocks(n))
}

/// What the options that errors speak of are called at the prompt.
const SAID_HERE: [(&str, &str); 11] = [
    ("--source", "\\source"),
    ("--tenant", "\\tenant"),
    ("--since", "\\since"),
    ("--start", "\\range"),
    ("--end", "\\range"),
    ("--step", "\\step"),
    ("--limit", "\\limit"),
    ("--spans-per-spanset", "\\set spans"),
    ("--memory", "\\set memory"),
    ("--timeout", "\\set timeout"),
    ("--skip-unreadable", "\\set skip_unreadable on"),
];

/// An error of a command in the words of the prompt.
fn said_here(mut error: Error) -> Error {
    let message = match &mut error.message {
        Message::Text(text) => Some(text),
        Message::Query { .. } => None,
    };
    for text in message.into_iter().chain(&mut error.notes).chain(&mut error.hints) {
        for (option, command) in SAID_HERE {
            if text.contains(option) {
                *text = text.replace(option, command);
            }
        }
    }
    error
}

/// Whether a text is SQL: it begins with a word that no TraceQL query begins with.
fn is_sql(text: &str) -> bool {
    let word: String = text.trim_start().chars().take_while(|c| c.is_alphabetic()).collect();
    ["select", "with", "explain", "show", "describe", "values", "copy"]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// The statements of a text: as many lines each as belong together. A line that begins with an
/// operator goes on the query above it.
fn statements(text: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let is_comment = line.trim_start().starts_with("//");
        if open.is_empty() && (line.trim().is_empty() || is_comment) {
            continue;
        }
        let goes_on = line.trim_start().starts_with(['|', '&', '>', '<', '~', '!', ')', '}']);
        if open.is_empty()
            && goes_on
            && let Some(last) = statements.pop_if(|last| !last.starts_with('\\'))
        {
            open = last + "\n";
        }
        open.push_str(line);
        if line.trim().is_empty() || !helper::is_unfinished(&open) {
            statements.push(std::mem::take(&mut open));
        } else {
            open.push('\n');
        }
    }
    if !open.trim().is_empty() {
        statements.push(open);
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        let text = "// first\n\\limit 5\n{ status = error }\n{\n  name = \"a\"\n}\n| count() > 1\n\
                    select 1\nfrom spans;\n{ open\n\n{ }";
        let expected = [
            "\\limit 5",
            "{ status = error }",
            "{\n  name = \"a\"\n}\n| count() > 1",
            "select 1\nfrom spans;",
            "{ open\n",
            "{ }",
        ];
        assert_eq!(statements(text), expected);
    }

    #[test]
    fn sql_is_recognised_by_its_first_word() {
        for (text, expected) in [
            ("SELECT 1", true),
            ("with x as (select 1) select * from x", true),
            ("explain select 1", true),
            ("{ select }", false),
            ("selected", false),
            ("", false),
        ] {
            assert_eq!(is_sql(text), expected, "{text:?}");
        }
    }
}
