//! `traceql test`: reads suites, runs them, writes the reports, ends as CI expects.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::QueryOptions;

use crate::Success;
use crate::check::capture::{Capture, Captured};
use crate::check::report::github::{self, Workspace};
use crate::check::report::list::List;
use crate::check::report::{json, junit, summary, tap};
use crate::check::run::{self, Progress, RunOptions};
use crate::check::sources::{Instead, Sources, unnamed};
use crate::check::suite::{self, Reading, Suite, SuiteSource};
use crate::check::{Counts, SuiteReport, TestOutcome, TestReport};
use crate::check_args::TestArgs;
use crate::error::{Error, Kind, Result};
use crate::output::to_stdout;
use crate::settings::{self, World};
use crate::supervise::{Ended, Runtimes};
use crate::terminal::Terminal;
use crate::units::plural;

/// How a suite is written.
const REFERENCE: &str = include_str!("../check/README.md");
/// Time between two attempts.
const WAIT: Duration = Duration::from_secs(1);

pub(crate) fn run(world: &World, args: &TestArgs) -> Result<Success> {
    if args.reference {
        to_stdout(|out| out.write_all(REFERENCE.as_bytes()))?;
        return Ok(Success::Answered);
    }
    let suites = read(world, args)?;
    let mut options = options(world, args)?;
    refuse_no_test(&suites, &options, args)?;
    let timeout = settings::duration("timeout", args.timeout.as_deref())?;
    let mut instead = instead(args)?;
    let takes_capture = |suite: &&Suite| suite.source == SuiteSource::Unnamed;
    if args.listen.is_none()
        && args.source.is_none()
        && let Some(suite) = suites.iter().find(takes_capture)
    {
        return Err(unnamed(suite));
    }
    let runtimes = Runtimes::start(options.query.threads)?;
    let started = Instant::now();
    let progress = Progress::default();
    let teller = Arc::new(Teller::new(world, args));
    if let Some(listen) = &args.listen {
        if !suites.iter().any(|suite| takes_capture(&suite)) {
            return Err(Error::usage("with --listen a suite is asked of what the command sent")
                .note("every suite given names a source of its own")
                .hint("leave out `source:` of the suite that is meant"));
        }
        let capture = Capture {
            listen,
            command: &args.command,
            memory_bytes: options.query.memory_bytes,
            is_stdout_taken: args.tap,
        };
        let Captured { traces, report } = capture.run(&runtimes)?;
        // Whoever asks about the last minutes means those in which the command ran.
        options.now_unix_nanos = crate::now_unix_nanos();
        instead = Instead::Captured(Arc::new(traces));
        teller.start(n_tests(&suites, &options) + 1)?;
        teller.tell(&report.name, &report.tests[0])?;
        progress.add_suite(report);
    } else {
        teller.start(n_tests(&suites, &options))?;
    }

    let mut sources = Sources::new(world, &args.stores, runtimes.io(), instead);
    let (telling, so_far) = (Arc::clone(&teller), progress.clone());
    let work = async move {
        let on_test = move |suite: &Suite, test: &TestReport| telling.tell(suite.name(), test);
        run::run(&suites, &options, &mut sources, &so_far, &on_test).await
    };
    // A bar would be drawn over the list.
    let terminal = Terminal { quiet: true, ..world.terminal };
    let ended = runtimes.supervise(&terminal, timeout, &Arc::default(), work);
    runtimes.stop();
    let reports = progress.take();
    let told = teller.end(&reports, started.elapsed());
    write_reports(world, args, &reports)?;
    match ended {
        Ended::Done(result) => result?,
        Ended::Interrupted => return Err(Error::interrupted()),
        Ended::TimedOut(after) => return Err(Error::timeout(after)),
    }
    told?;
    verdict(&reports)
}

fn read(world: &World, args: &TestArgs) -> Result<Vec<Suite>> {
    let reading = Reading {
        dialect: world.dialect,
        now_unix_nanos: world.now_unix_nanos,
        home: world.variable("HOME").map(Into::into),
    };
    let read = |path: &std::path::PathBuf| match path.is_dir() {
        true => Err(Error::usage(format!("{} is a folder", path.display()))
            .hint(format!("name the suites in it: {}", path.join("*.yaml").display()))),
        false => suite::read(path, &reading),
    };
    args.files.iter().map(read).collect()
}

fn options(world: &World, args: &TestArgs) -> Result<RunOptions> {
    let defaults = QueryOptions::default();
    let only = args
        .run
        .as_deref()
        .map(|text| Regex::new(text).map_err(|error| Error::usage(format!("--run: {error}"))));
    Ok(RunOptions {
        only: only.transpose()?,
        update: args.update,
        fail_fast: args.fail_fast,
        retries: args.retry,
        wait: settings::duration("wait", args.wait.as_deref())?.unwrap_or(WAIT),
        query: QueryOptions {
            threads: settings::threads(args.threads),
            memory_bytes: settings::memory(args.memory.as_deref())?
                .unwrap_or(defaults.memory_bytes),
            ..defaults
        },
        now_unix_nanos: world.now_unix_nanos,
    })
}

fn instead(args: &TestArgs) -> Result<Instead> {
    let Some(url) = &args.source else { return Ok(Instead::Nothing) };
    let tenants = args.tenant.iter().map(|name| TenantId::parse(name).map_err(Error::from));
    Ok(Instead::All { url: url.clone(), tenants: tenants.collect::<Result<_>>()? })
}

fn n_tests(suites: &[Suite], options: &RunOptions) -> usize {
    suites.iter().map(|suite| options.tests(suite).count()).sum()
}

/// A pattern that matches nothing would pass for ever.
fn refuse_no_test(suites: &[Suite], options: &RunOptions, args: &TestArgs) -> Result<()> {
    if n_tests(suites, options) > 0 {
        return Ok(());
    }
    let pattern = args.run.as_deref().unwrap_or_default();
    let names: Vec<&str> =
        suites.iter().flat_map(|suite| &suite.tests).map(|test| test.name.as_str()).collect();
    let error = Error::usage(format!("--run {pattern:?} matches the name of no test"));
    Err(match traceql_language::nearest(pattern, &names) {
        Some(near) => error.hint(format!("did you mean {near:?}?")),
        None => error.note(format!("the tests are: {}", names.join(", "))),
    })
}

/// How the command ends.
fn verdict(reports: &[SuiteReport]) -> Result<Success> {
    let counts = Counts::of_all(reports);
    let tests = reports.iter().flat_map(|suite| &suite.tests);
    let errors = tests.filter_map(|test| match &test.outcome {
        TestOutcome::Errored(error) => Some(error),
        _ => None,
    });
    // An answer that is missing weighs more than one that is wrong: nothing is known.
    if let Some(first) = errors.into_iter().next() {
        let n = plural(counts.errored as u64, "test");
        let have = if counts.errored == 1 { "has" } else { "have" };
        return Err(Error::new(first.kind, format!("{n} {have} no answer")));
    }
    Ok(if counts.failed > 0 { Success::CheckFailed } else { Success::Answered })
}

/// Tells of each test on standard output as it ends.
struct Teller {
    list: List,
    is_tap: bool,
    n_told: AtomicUsize,
    suite: Mutex<String>,
}

impl Teller {
    fn new(world: &World, args: &TestArgs) -> Self {
        let terminal = &world.terminal;
        let (paint, quiet, unicode) = (terminal.stdout, terminal.quiet, terminal.unicode);
        let list = List { paint, quiet, unicode };
        Self { list, is_tap: args.tap, n_told: AtomicUsize::new(0), suite: Mutex::default() }
    }

    fn start(&self, n_tests: usize) -> Result<()> {
        if !self.is_tap {
            return Ok(());
        }
        to_stdout(|out| out.write_all(tap::head(n_tests).as_bytes()))
    }

    fn tell(&self, suite: &str, test: &TestReport) -> Result<()> {
        let number = self.n_told.fetch_add(1, Ordering::Relaxed) + 1;
        let text = match self.is_tap {
            true => tap::test(number, suite, test),
            false => {
                let text = self.list.test(test);
                let mut last = self.suite.lock().unwrap_or_else(PoisonError::into_inner);
                match text.is_empty() || *last == suite {
                    true => text,
                    false => {
                        suite.clone_into(&mut last);
                        self.list.suite(suite) + &text
                    }
                }
            }
        };
        to_stdout(|out| out.write_all(text.as_bytes()))
    }

    fn end(&self, reports: &[SuiteReport], elapsed: Duration) -> Result<()> {
        let counts = Counts::of_all(reports);
        if self.is_tap || self.list.quiet && !counts.any_bad() {
            return Ok(());
        }
        let text = self.list.end(counts, elapsed);
        to_stdout(|out| out.write_all(text.as_bytes()))
    }
}

fn write_reports(world: &World, args: &TestArgs, reports: &[SuiteReport]) -> Result<()> {
    if let Some(path) = &args.junit {
        write_file(path, &junit::document(reports), false)?;
    }
    if let Some(path) = &args.json {
        let text = json::document(reports)
            .map_err(|error| Error::new(Kind::Failed, format!("cannot write JSON: {error}")))?;
        write_file(path, &text, false)?;
    }
    if world.variable("GITHUB_ACTIONS") == Some("true") {
        let workspace = Workspace {
            root: world.variable("GITHUB_WORKSPACE").map(Into::into),
            current: std::env::current_dir().unwrap_or_default(),
        };
        let text = github::annotations(reports, &workspace);
        match args.tap {
            // Lines that are no TAP would only be ignored by luck; GitHub reads both streams.
            true => drop(std::io::stderr().lock().write_all(text.as_bytes())),
            false => to_stdout(|out| out.write_all(text.as_bytes()))?,
        }
    }
    if let Some(path) = world.variable("GITHUB_STEP_SUMMARY") {
        write_file(Path::new(path), &summary::markdown(reports), true)?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str, append: bool) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).append(append).truncate(!append);
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Error::new(Kind::Failed, format!("cannot write {}: {error}", path.display()))
    })
}
