//! Goes through the tests of suites in their order: asks, judges, asks again if data may still be
//! arriving, keeps snapshots.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;
use traceql_engine::QueryOptions;

use super::ask::{self, Answer, Answered};
use super::judge;
use super::sources::Sources;
use super::suite::{Baseline, Snapshot, SnapshotOf, Suite, Test};
use super::{Failure, SuiteReport, TestOutcome, TestReport};
use crate::error::{Error, Kind, Result};
use crate::output::metrics::unit::{Unit, Units};
use crate::session::Session;

/// How tests run.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// Only tests whose names it matches.
    pub(crate) only: Option<Regex>,
    /// Write snapshots anew rather than compare with them.
    pub(crate) update: bool,
    /// Ask nothing after the first test that is bad.
    pub(crate) fail_fast: bool,
    /// How often a test that is bad is asked again.
    pub(crate) retries: u32,
    /// Time between two attempts.
    pub(crate) wait: Duration,
    /// How queries run.
    pub(crate) query: QueryOptions,
    /// The clock of suites that have none of their own.
    pub(crate) now_unix_nanos: u64,
}

/// What has become of the suites so far; whoever waits may look at it at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Mutex<Vec<SuiteReport>>>);

impl Progress {
    /// Takes the reports.
    pub(crate) fn take(&self) -> Vec<SuiteReport> {
        std::mem::take(&mut self.lock())
    }

    /// Adds a suite that is whole, or that tests will be added to.
    pub(crate) fn add_suite(&self, report: SuiteReport) {
        self.lock().push(report);
    }

    fn add_test(&self, test: TestReport, elapsed: Duration) {
        if let Some(suite) = self.lock().last_mut() {
            suite.tests.push(test);
            suite.elapsed = elapsed;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SuiteReport>> {
        // A list is whole whenever the lock is free, whatever became of who held it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is told of each test as it ends.
pub(crate) type OnTest<'a> = &'a (dyn Fn(&Suite, &TestReport) -> Result<()> + Send + Sync);

impl RunOptions {
    /// The tests of a suite that are asked.
    pub(crate) fn tests<'a>(&'a self, suite: &'a Suite) -> impl Iterator<Item = &'a Test> {
        let is_wanted =
            |test: &&Test| self.only.as_ref().is_none_or(|only| only.is_match(&test.name));
        suite.tests.iter().filter(is_wanted)
    }
}

/// Runs all suites. What becomes of each test is added to `progress`.
///
/// # Errors
/// If whoever is told cannot take it; tests that are bad are no error.
pub(crate) async fn run(
    suites: &[Suite],
    options: &RunOptions,
    sources: &mut Sources,
    progress: &Progress,
    on_test: OnTest<'_>,
) -> Result<()> {
    let mut is_stopped = false;
    for suite in suites {
        if options.tests(suite).next().is_none() {
            continue;
        }
        let started = Instant::now();
        progress.add_suite(SuiteReport {
            name: suite.name().to_owned(),
            tests: Vec::new(),
            elapsed: Duration::ZERO,
        });
        for test in options.tests(suite) {
            let report = match is_stopped {
                true => skipped(test),
                false => run_test(suite, test, options, sources).await,
            };
            is_stopped |= options.fail_fast && report.outcome.is_bad();
            on_test(suite, &report)?;
            progress.add_test(report, started.elapsed());
        }
    }
    Ok(())
}

impl TestOutcome {
    /// Whether it failed or had no answer.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Errored(_))
    }
}

fn skipped(test: &Test) -> TestReport {
    TestReport {
        name: test.name.clone(),
        line: test.line,
        outcome: TestOutcome::Skipped("a test before it was bad (--fail-fast)"),
        elapsed: Duration::ZERO,
        attempts: 0,
        notes: Vec::new(),
    }
}

async fn run_test(
    suite: &Suite,
    test: &Test,
    options: &RunOptions,
    sources: &mut Sources,
) -> TestReport {
    let started = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut notes = Vec::new();
        // The clock goes on while data is waited for, unless the suite has stopped it.
        let now = suite.now_unix_nanos.unwrap_or_else(|| {
            let waited = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            options.now_unix_nanos.saturating_add(waited)
        });
        let outcome = match attempt(suite, test, now, options, sources, &mut notes).await {
            Ok(failures) if failures.is_empty() => TestOutcome::Passed,
            Ok(failures) => TestOutcome::Failed(failures),
            Err(error) => TestOutcome::Errored(error),
        };
        let may_change = match &outcome {
            TestOutcome::Failed(_) => true,
            TestOutcome::Errored(error) => error.kind != Kind::Usage,
            TestOutcome::Passed | TestOutcome::Skipped(_) => false,
        };
        if may_change && attempts <= options.retries {
            tokio::time::sleep(options.wait).await;
            sources.look_again();
            continue;
        }
        if attempts > 1 && !outcome.is_bad() {
            notes.push(format!("passed at the {attempts}. attempt"));
        }
        let (name, line, elapsed) = (test.name.clone(), test.line, started.elapsed());
        return TestReport { name, line, outcome, elapsed, attempts, notes };
    }
}

/// Asks once; returns what does not hold.
async fn attempt(
    suite: &Suite,
    test: &Test,
    now: u64,
    options: &RunOptions,
    sources: &mut Sources,
    notes: &mut Vec<String>,
) -> Result<Vec<Failure>> {
    let query = QueryOptions { now_unix_nanos: i64::try_from(now).ok(), ..options.query.clone() };
    let session = sources.of_suite(suite).await?;
    let Answered { answer, warnings } = ask::ask(&session, test, now, &query).await?;
    notes.extend(warnings);
    let mut failures = judge::judge(test, &answer);
    let is_empty = !judge::has_data(&answer);
    if is_empty && !failures.is_empty() {
        // Nothing further can be said of an answer that holds nothing, least of all by a snapshot.
        return Ok(failures);
    }
    if let Some(snapshot) = &test.snapshot {
        match snapshot_text(&session, test, snapshot, &answer, &query).await? {
            Ok(text) => failures.extend(keep(snapshot, &text, options.update, notes)?),
            Err(why) => failures.push(Failure::new(why)),
        }
    }
    if let Some(baseline) = &test.metrics.baseline {
        failures.extend(compare(&session, test, baseline, now, &query, sources, notes).await?);
    }
    Ok(failures)
}

/// The text of which a snapshot is kept, or why there is none.
async fn snapshot_text(
    session: &Session,
    test: &Test,
    snapshot: &Snapshot,
    answer: &Answer,
    query: &QueryOptions,
) -> Result<std::result::Result<String, String>> {
    let trace = match (snapshot.of, answer) {
        (SnapshotOf::Shape(pick), Answer::Search(answer)) => match judge::pick(answer, pick) {
            Some(id) => Some(ask::trace(session, id, query).await?),
            None => return Ok(Ok(String::new())),
        },
        _ => None,
    };
    Ok(judge::text_of(trace.as_ref(), answer, test.metrics.is_instant))
}

/// Compares with a snapshot, or writes it.
fn keep(
    snapshot: &Snapshot,
    text: &str,
    update: bool,
    notes: &mut Vec<String>,
) -> Result<Option<Failure>> {
    let Snapshot { path, name, .. } = snapshot;
    let refuse = |what: &str, error: &std::io::Error| {
        Error::new(Kind::Failed, format!("cannot {what} the snapshot {}: {error}", path.display()))
    };
    let stored = match std::fs::read_to_string(path) {
        Ok(stored) => Some(stored),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(refuse("read", &error)),
    };
    let failure = match &stored {
        Some(stored) => judge::difference(name, stored, text),
        None => {
            Some(Failure::new(format!("there is no snapshot {name} yet; `--update` writes it")))
        }
    };
    if failure.is_none() || !update {
        return Ok(failure);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::create_dir_all(folder.unwrap_or(Path::new(".")))
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| refuse("write", &error))?;
    notes.push(format!("{} {name}", if stored.is_some() { "updated" } else { "wrote" }));
    Ok(None)
}

/// Compares one value a series with those of another source.
async fn compare(
    session: &Session,
    test: &Test,
    baseline: &Baseline,
    now: u64,
    query: &QueryOptions,
    sources: &mut Sources,
    notes: &mut Vec<String>,
) -> Result<Vec<Failure>> {
    let name = |error: Error| error.note(format!("the baseline is {}", baseline.name));
    let key = (baseline.source.clone(), baseline.tenants.clone());
    let other = sources.at(key).await.map_err(name)?;
    let after = ask::metrics(session, test, now, query, true).await?;
    let before = ask::metrics(&other, test, now, query, true).await.map_err(name)?;
    notes.extend(before.warnings);
    let is_empty = |answer: &traceql_engine::metrics::MetricsAnswer| {
        answer.series.iter().all(|series| series.samples.all_absent())
    };
    if is_empty(&before.answer) && !test.allow_empty {
        let message = format!("no data: {} has no series to compare with", baseline.name);
        return Ok(vec![Failure::new(message)]);
    }
    let unit = test.query.metrics.as_ref().map_or(Unit::Number, |expr| Units::of(expr).sample);
    Ok(judge::compare(baseline, &after.answer, &before.answer, unit))
}
