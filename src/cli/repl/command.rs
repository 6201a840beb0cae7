//! The commands of the prompt as one table: what they are called, what they take, what they do. Help
//! and completion print it.

use std::fs;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::saved;
use super::{Flow, Repl};
use crate::args::{QueryFormat, ScopeName};
use crate::commands;
use crate::error::{Error, Kind, Result};
use crate::output::sheet::{Cell, Column, Sheet, Tone};
use crate::settings;
use crate::units;

/// A command of the prompt.
pub(super) struct Command {
    /// How it is written, the shortest first; without the backslash.
    pub(super) names: &'static [&'static str],
    /// What it takes.
    pub(super) takes: &'static str,
    /// What it does.
    pub(super) help: &'static str,
    run: fn(&mut Repl, &str) -> Result<Flow>,
}

/// All of them, in the order of the help.
pub(super) const COMMANDS: &[Command] = &[
    Command { names: &["?", "h", "help"], takes: "", help: "List the commands", run: help },
    Command {
        names: &["source"],
        takes: "[URL]",
        help: "Ask another source: sample:, a path, s3://, an OTLP file",
        run: source,
    },
    Command {
        names: &["profile"],
        takes: "[NAME]",
        help: "Use another profile: its source and settings",
        run: profile,
    },
    Command { names: &["tenant"], takes: "[NAME]", help: "Ask another tenant", run: tenant },
    Command {
        names: &["since"],
        takes: "[DURATION]",
        help: "From this long ago until now: 30m, 7d; without: the whole source",
        run: since,
    },
    Command {
        names: &["range"],
        takes: "[START [END]]",
        help: "From here until there: RFC 3339, unix, now-1h",
        run: range,
    },
    Command {
        names: &["tags"],
        takes: "[SCOPE] [{ FILTER }]",
        help: "List attribute names",
        run: tags,
    },
    Command {
        names: &["values"],
        takes: "FIELD [{ FILTER }]",
        help: "List the values of a field",
        run: values,
    },
    Command { names: &["blocks"], takes: "", help: "List the live blocks", run: blocks },
    Command {
        names: &["open"],
        takes: "N|ID [-a]",
        help: "Show a trace: the N-th found last, or by id; -a with attributes",
        run: open,
    },
    Command {
        names: &["last"],
        takes: "[FORM]",
        help: "Show what was found last again, in another form",
        run: last,
    },
    Command {
        names: &["explain"],
        takes: "[-a] [QUERY]",
        help: "Show each stage of a query, or of the last one; -a runs it too",
        run: explain,
    },
    Command {
        names: &["sql"],
        takes: "STATEMENT",
        help: "Ask SQL, as SELECT, WITH and EXPLAIN do by themselves; end lines with ;",
        run: sql,
    },
    Command {
        names: &["watch"],
        takes: "[SECONDS]",
        help: "Run the last query again and again until Ctrl-C",
        run: watch,
    },
    Command {
        names: &["o"],
        takes: "[FORM|FILE]",
        help: "Form of answers, or a file they go to; without: as at first",
        run: output,
    },
    Command { names: &["x"], takes: "", help: "A row a span, or a row a trace", run: wide },
    Command { names: &["limit"], takes: "[N]", help: "Most traces; 0 is all", run: limit },
    Command { names: &["step"], takes: "[STEP]", help: "Length of a step of metrics", run: step },
    Command {
        names: &["timing"],
        takes: "",
        help: "Say how long answers took, or not",
        run: timing,
    },
    Command { names: &["e", "edit"], takes: "", help: "Edit the last query in $EDITOR", run: edit },
    Command {
        names: &["i", "include"],
        takes: "FILE",
        help: "Run a file of queries",
        run: include,
    },
    Command {
        names: &["save"],
        takes: "NAME [QUERY]",
        help: "Keep a query, or the last one, by a name",
        run: save,
    },
    Command {
        names: &["run"],
        takes: "[NAME]",
        help: "Run a kept query; without: list them",
        run: run_saved,
    },
    Command {
        names: &["set"],
        takes: "[NAME VALUE]",
        help: "Show or change: dialect, memory, threads, timeout, spans, stats, pager",
        run: set,
    },
    Command { names: &["q", "quit", "exit"], takes: "", help: "Leave, as does Ctrl-D", run: quit },
];

/// Runs the command that a line beginning with a backslash names.
pub(super) fn run(repl: &mut Repl, line: &str) -> Result<Flow> {
    let line = line.trim().trim_start_matches('\\').trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let found = COMMANDS.iter().find(|command| command.names.contains(&name));
    match found {
        Some(command) => (command.run)(repl, rest.trim()),
        None => {
            let error = Error::usage(format!("there is no command \\{name}"));
            let names = COMMANDS.iter().flat_map(|command| command.names);
            let names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
            let near = traceql_language::nearest(name, &names).filter(|known| known.len() > 1);
            Err(match near {
                Some(near) => error.hint(format!("did you mean \\{near}?")),
                None => error.hint("\\? lists the commands"),
            })
        }
    }
}

fn help(repl: &mut Repl, _: &str) -> Result<Flow> {
    let columns = vec![
        Column::text("Command", "command"),
        Column::text("Takes", "takes"),
        Column::text("What it does", "help"),
    ];
    let row = |command: &Command| {
        let names: Vec<String> = command.names.iter().map(|name| format!("\\{name}")).collect();
        vec![
            Cell::text(names.join(" ")).tone(Tone::Key),
            Cell::text(command.takes),
            Cell::text(command.help),
        ]
    };
    let sheet = Sheet { columns, rows: COMMANDS.iter().map(row).collect() };
    let world = repl.world();
    world.print(|out| {
        sheet.write_table(out, &world.terminal)?;
        writeln!(
            out,
            "\nAnything else is a TraceQL query. It may take several lines; an empty one runs it."
        )?;
        writeln!(out, "Tab completes, Ctrl-R searches what was typed, Ctrl-C stops a query.")
    })?;
    Ok(Flow::Go)
}

fn source(repl: &mut Repl, url: &str) -> Result<Flow> {
    if url.is_empty() {
        let source = repl.state.source.source.as_deref();
        repl.say(&format!(
            "source: {}",
            source.unwrap_or("none; \\source sample: is built-in data")
        ));
        return Ok(Flow::Go);
    }
    let before = repl.state.source.clone();
    repl.state.source.source = Some(url.to_owned());
    // Tenants are the source's own.
    repl.state.source.tenant.clear();
    match repl.open() {
        Ok(opened) => repl.say(&opened),
        Err(error) => {
            repl.state.source = before;
            return Err(error);
        }
    }
    Ok(Flow::Go)
}

fn profile(repl: &mut Repl, name: &str) -> Result<Flow> {
    if name.is_empty() {
        let config = &repl.world.config;
        let there = match config.profiles().as_slice() {
            [] => "none; `traceql config --help` shows a file of settings".to_owned(),
            some => some.join(", "),
        };
        repl.say(&format!("profile: {}", config.profile().unwrap_or("none")));
        repl.say(&format!("there are: {there}"));
        return Ok(Flow::Go);
    }
    let config = repl.world.config.with_profile(name)?;
    let (common, args) = config.repl()?;
    let before = (repl.world.clone(), repl.state.clone());
    repl.world.environment = config.environment();
    repl.world.dialect = common.dialect.into();
    repl.state.limit = args.limit.or(config.limit());
    (repl.state.source, repl.state.run, repl.state.format) = (args.source, args.run, args.output);
    repl.world.config = Arc::new(config);
    match repl.open() {
        Ok(opened) => repl.say(&opened),
        Err(error) => {
            (repl.world, repl.state) = before;
            return Err(error);
        }
    }
    Ok(Flow::Go)
}

fn tenant(repl: &mut Repl, names: &str) -> Result<Flow> {
    if names.is_empty() {
        let opened = repl.open()?;
        repl.say(&opened);
        return Ok(Flow::Go);
    }
    let before = repl.state.source.tenant.clone();
    repl.state.source.tenant = names.split('|').map(|name| name.trim().to_owned()).collect();
    let changed = settings::tenants(&repl.state.source).and_then(|_| repl.open());
    match changed {
        Ok(opened) => repl.say(&opened),
        Err(error) => {
            repl.state.source.tenant = before;
            return Err(error);
        }
    }
    Ok(Flow::Go)
}

fn since(repl: &mut Repl, duration: &str) -> Result<Flow> {
    let mut time = repl.state.time.clone();
    (time.start, time.end) = (None, None);
    time.since = (!duration.is_empty()).then(|| duration.to_owned());
    set_time(repl, time)
}

fn range(repl: &mut Repl, ends: &str) -> Result<Flow> {
    let mut time = repl.state.time.clone();
    let mut ends = ends.split_whitespace().map(str::to_owned);
    (time.since, time.start, time.end) = (None, ends.next(), ends.next());
    if ends.next().is_some() {
        return Err(Error::usage("\\range takes a start and an end")
            .hint("write times without spaces: 2026-01-01T10:00:00Z"));
    }
    set_time(repl, time)
}

fn set_time(repl: &mut Repl, time: crate::args::TimeArgs) -> Result<Flow> {
    let world = repl.world();
    let range = world.time_range(&time)?;
    repl.state.time = time;
    repl.forget_names();
    repl.say(&match range {
        None => "range: the whole source".to_owned(),
        Some((start, end)) => {
            let until = match end {
                u64::MAX => "its end".to_owned(),
                end => units::format_time(end),
            };
            format!("range: {} to {until}", units::format_time(start))
        }
    });
    Ok(Flow::Go)
}

/// Splits `SCOPE { FILTER }` before the filter.
fn before_filter(text: &str) -> (&str, Option<String>) {
    match text.find('{') {
        Some(at) => (text[..at].trim(), Some(text[at..].to_owned())),
        None => (text, None),
    }
}

fn tags(repl: &mut Repl, text: &str) -> Result<Flow> {
    let (scope, filter) = before_filter(text);
    let scope = match scope {
        "" => None,
        name => Some(one_of::<ScopeName>("scope", name)?),
    };
    commands::tags::run(&repl.world(), &repl.state.tags(scope, filter))?;
    Ok(Flow::Go)
}

fn values(repl: &mut Repl, text: &str) -> Result<Flow> {
    let (field, filter) = before_filter(text);
    if field.is_empty() {
        return Err(Error::usage("\\values takes a field").hint("\\values resource.service.name"));
    }
    commands::values::run(&repl.world(), &repl.state.values(field.to_owned(), filter))?;
    Ok(Flow::Go)
}

fn blocks(repl: &mut Repl, _: &str) -> Result<Flow> {
    commands::blocks::run(&repl.world(), &repl.state.blocks())?;
    Ok(Flow::Go)
}

fn open(repl: &mut Repl, text: &str) -> Result<Flow> {
    let (which, attributes) = match text.strip_suffix("-a") {
        Some(which) => (which.trim(), true),
        None => (text, false),
    };
    if which.is_empty() {
        return Err(Error::usage("\\open takes a number of the last answer, or a trace id"));
    }
    // A number that was just shown; longer ones are ids.
    let id = match which.parse::<usize>() {
        Ok(number) if which.len() < 7 => {
            let Some(found) = repl.host.kept.found() else {
                return Err(Error::usage("nothing was found yet"));
            };
            match number.checked_sub(1).and_then(|at| found.traces.get(at)) {
                Some(trace) => trace.trace_id.to_string(),
                None => {
                    let n = found.traces.len() as u64;
                    let held = format!("the last answer has {}", units::plural(n, "trace"));
                    return Err(Error::usage(format!("there is no trace {number}: {held}")));
                }
            }
        }
        _ => which.to_owned(),
    };
    commands::trace::run(&repl.world(), &repl.state.trace(id, attributes))?;
    Ok(Flow::Go)
}

fn last(repl: &mut Repl, form: &str) -> Result<Flow> {
    let Some(found) = repl.host.kept.found() else {
        return Err(
            Error::usage("nothing was found yet").hint("\\last shows a search's answer again")
        );
    };
    let format = match form {
        "" => repl.state.query_format(),
        form => one_of::<QueryFormat>("form", form)?,
    };
    let Some(format) = format.of_rows() else {
        return Err(Error::usage(format!("{form} shows metrics, and traces were found")));
    };
    commands::query::show(&repl.world(), &found, format)?;
    Ok(Flow::Go)
}

fn explain(repl: &mut Repl, text: &str) -> Result<Flow> {
    let (analyze, text) = match text.strip_prefix("-a") {
        Some(text) => (true, text.trim()),
        None => (false, text),
    };
    let text = match text {
        "" => repl.last_query()?,
        text => text.to_owned(),
    };
    commands::explain::run(&repl.world(), &repl.state.explain(&text, analyze))?;
    Ok(Flow::Go)
}

fn sql(repl: &mut Repl, text: &str) -> Result<Flow> {
    if text.is_empty() {
        return Err(Error::usage("\\sql takes a statement")
            .hint("SELECT service_name, count(*) FROM spans GROUP BY 1;"));
    }
    commands::sql::run(&repl.world(), &repl.state.sql(text))?;
    Ok(Flow::Go)
}

fn watch(repl: &mut Repl, seconds: &str) -> Result<Flow> {
    let period = match seconds {
        "" => Duration::from_secs(2),
        text => match text.trim_end_matches('s').parse::<f64>() {
            Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Duration::from_secs_f64(seconds),
            _ => {
                return Err(Error::usage(format!("{text:?} is no number of seconds"))
                    .hint("\\watch 5 asks every five seconds"));
            }
        },
    };
    let query = repl.last_query()?;
    let interrupts = repl.host.runtimes.interrupts();
    loop {
        let title = format!("{}, every {period:?}; Ctrl-C stops", units::format_time(repl.now()));
        repl.say(&title);
        match repl.query(&query) {
            Err(error) if error.kind == Kind::Interrupted => return Ok(Flow::Go),
            result => result?,
        }
        if !repl.host.runtimes.wait(period, interrupts) {
            return Ok(Flow::Go);
        }
    }
}

fn output(repl: &mut Repl, text: &str) -> Result<Flow> {
    if text.is_empty() {
        (repl.state.format, repl.state.file) = (QueryFormat::Auto, None);
        repl.state.wide = false;
        repl.say("answers go to the screen");
        return Ok(Flow::Go);
    }
    if let Ok(format) = QueryFormat::from_str(text, true) {
        repl.state.format = format;
        repl.state.wide = false;
        return Ok(Flow::Go);
    }
    let path = Path::new(text);
    // What it will be is said by its ending.
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    repl.state.format = match ending {
        "json" => QueryFormat::Json,
        "ndjson" | "jsonl" => QueryFormat::Ndjson,
        "csv" => QueryFormat::Csv,
        "md" => QueryFormat::Markdown,
        "txt" => QueryFormat::Table,
        _ => {
            return Err(Error::usage(format!("{text:?} is neither a form nor a file of one")).hint(
                "forms: auto table wide json ndjson csv markdown chart prom; files end in .json, .ndjson, .csv, .md, .txt",
            ));
        }
    };
    repl.write_to(path)?;
    repl.say(&format!("answers go to {text}; \\o brings them back"));
    Ok(Flow::Go)
}

fn wide(repl: &mut Repl, _: &str) -> Result<Flow> {
    repl.state.wide = !repl.state.wide;
    repl.say(if repl.state.wide { "a row a span" } else { "a row a trace" });
    Ok(Flow::Go)
}

fn limit(repl: &mut Repl, text: &str) -> Result<Flow> {
    repl.state.limit = match text {
        "" => None,
        text => match usize::from_str(text) {
            Ok(limit) => Some(limit),
            Err(_) => return Err(Error::usage(format!("{text:?} is no number of traces"))),
        },
    };
    repl.say(&match repl.state.limit {
        Some(0) => "limit: all traces".to_owned(),
        limit => format!("limit: {}", units::plural(limit.unwrap_or(20) as u64, "trace")),
    });
    Ok(Flow::Go)
}

fn step(repl: &mut Repl, text: &str) -> Result<Flow> {
    let text = (!text.is_empty()).then_some(text);
    settings::step(text)?;
    repl.state.step = text.map(str::to_owned);
    repl.say(&format!("step: {}", text.unwrap_or("by the range")));
    Ok(Flow::Go)
}

fn timing(repl: &mut Repl, _: &str) -> Result<Flow> {
    repl.state.timing = !repl.state.timing;
    repl.say(if repl.state.timing { "timing is on" } else { "timing is off" });
    Ok(Flow::Go)
}

fn edit(repl: &mut Repl, _: &str) -> Result<Flow> {
    let text = repl.state.last_query.clone().unwrap_or_default();
    match repl.edit(&text)? {
        edited if edited.trim().is_empty() => repl.say("nothing to run"),
        edited => {
            repl.say(edited.trim_end());
            repl.keep_in_history(edited.trim_end());
            repl.query(edited.trim_end())?;
        }
    }
    Ok(Flow::Go)
}

fn include(repl: &mut Repl, path: &str) -> Result<Flow> {
    if path.is_empty() {
        return Err(Error::usage("\\i takes a file"));
    }
    let text = fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read {path}: {error}")))?;
    repl.script(path, &text)
}

fn save(repl: &mut Repl, text: &str) -> Result<Flow> {
    let (name, query) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let query = match query.trim() {
        "" => repl.last_query()?,
        query => query.to_owned(),
    };
    repl.world().compile(&query)?;
    saved::save(&repl.folder()?, name, &query)?;
    repl.say(&format!("kept; \\run {name} runs it"));
    Ok(Flow::Go)
}

fn run_saved(repl: &mut Repl, name: &str) -> Result<Flow> {
    let folder = repl.folder()?;
    if name.is_empty() {
        let columns = vec![Column::text("Name", "name"), Column::text("Query", "query")];
        let rows = saved::list(&folder)?.into_iter().map(|(name, query)| {
            let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
            vec![Cell::text(name).tone(Tone::Key), Cell::text(query)]
        });
        let sheet = Sheet { columns, rows: rows.collect() };
        let world = repl.world();
        world.print(|out| sheet.write_wide(out, &world.terminal))?;
        return Ok(Flow::Go);
    }
    let query = saved::read(&folder, name)?;
    repl.say(query.trim_end());
    repl.query(query.trim_end())?;
    Ok(Flow::Go)
}

fn set(repl: &mut Repl, text: &str) -> Result<Flow> {
    if text.is_empty() {
        let shown = repl.settings();
        let columns = vec![Column::text("Setting", "setting"), Column::text("Value", "value")];
        let rows = shown.into_iter().map(|(name, value)| vec![Cell::text(name), Cell::text(value)]);
        let sheet = Sheet { columns, rows: rows.collect() };
        let world = repl.world();
        world.print(|out| sheet.write_wide(out, &world.terminal))?;
        return Ok(Flow::Go);
    }
    let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    repl.set(name, value.trim())?;
    Ok(Flow::Go)
}

fn quit(_: &mut Repl, _: &str) -> Result<Flow> {
    Ok(Flow::Leave)
}

/// One of the names of an option of the command line.
pub(super) fn one_of<T: ValueEnum>(what: &str, text: &str) -> Result<T> {
    T::from_str(text, true).map_err(|_| {
        let names = T::value_variants().iter().filter_map(|v| v.to_possible_value());
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        Error::usage(format!("{text:?} is no {what}")).hint(format!("one of: {}", names.join(", ")))
    })
}
