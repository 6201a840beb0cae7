//! From a file to a checked suite. Everything that is wrong is refused here, drawn under the suite's
//! own text, before anything is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::bucket::url::SourceUrl;
use traceql_language::ir::MetricsExpr;
use traceql_language::{Dialect, TextRange, TypedQuery, ast};

use super::expect::select;
use super::spans;
use super::threshold::parse_share;
use super::{
    Baseline, Expect, MetricsChecks, Pick, Snapshot, SnapshotOf, Suite, SuiteSource, Test,
    Threshold, When, Worse,
};
use crate::document::{Content, Fields, File, Node};
use crate::error::Result;
use crate::output::metrics::unit::{Unit, Units};
use crate::{settings, units};

/// The keys of a suite.
const SUITE_KEYS: [&str; 5] = ["source", "spans", "tenant", "now", "tests"];
/// The keys of a test.
const TEST_KEYS: [&str; 12] = [
    "name",
    "query",
    "since",
    "start",
    "end",
    "step",
    "instant",
    "expect",
    "threshold",
    "snapshot",
    "baseline",
    "allow_empty",
];

/// What reading a suite needs to know of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// The language of the queries.
    pub(crate) dialect: Dialect,
    /// The clock, unless the suite has its own.
    pub(crate) now_unix_nanos: u64,
    /// What `~` stands for in paths.
    pub(crate) home: Option<PathBuf>,
}

/// Reads a suite.
///
/// # Errors
/// Usage errors that name file, line and test.
pub(crate) fn read(path: &Path, reading: &Reading) -> Result<Suite> {
    check(File::read(path)?, reading)
}

/// The same of a text that was read.
///
/// # Errors
/// As [`read`].
pub(crate) fn check(file: File, reading: &Reading) -> Result<Suite> {
    let document = file.yaml()?;
    let fields = Fields::of(&file, &document, "a suite", &SUITE_KEYS)?;
    let now = fields.text("now")?;
    let now_unix_nanos = now
        .map(|text| {
            units::parse_time(text.value, reading.now_unix_nanos)
                .map_err(|why| file.error(text.node.wrong(why)))
        })
        .transpose()?;
    let clock = now_unix_nanos.unwrap_or(reading.now_unix_nanos);
    let source = source(&file, &fields, reading, clock)?;
    let tenants = tenants(&file, &fields)?;
    let tests = match fields.get("tests")? {
        None => return Err(file.error(fields.wrong("this suite has no `tests`"))),
        Some(node) => tests(&file, node, reading, clock)?,
    };
    Ok(Suite { source, tenants, now_unix_nanos, tests, file })
}

fn source(file: &File, fields: &Fields<'_>, reading: &Reading, clock: u64) -> Result<SuiteSource> {
    match (fields.text("source")?, fields.text("spans")?) {
        (Some(_), Some(spans)) => {
            let message = "a suite has a `source` or its own `spans`, not both";
            Err(file.error(spans.node.wrong(message)))
        }
        (Some(source), None) => {
            let url = resolve(file, source.value, reading)
                .map_err(|error| file.error(source.node.wrong(error.to_string())))?;
            Ok(SuiteSource::Url(url))
        }
        (None, Some(text)) => {
            let traces = spans::parse(text.value, clock).map_err(|wrong| {
                let range = TextRange::new(wrong.range.start, wrong.range.end);
                let error = traceql_language::Error::parse(range, wrong.message);
                file.query_error(text.node, error)
            })?;
            match traces.is_empty() {
                true => Err(file.error(text.node.wrong("`spans` holds no span"))),
                false => Ok(SuiteSource::Spans(traces)),
            }
        }
        (None, None) => Ok(SuiteSource::Unnamed),
    }
}

/// A source as it is opened: paths are relative to the suite.
fn resolve(file: &File, source: &str, reading: &Reading) -> Result<String> {
    let parsed = SourceUrl::parse(source, reading.home.as_deref())?;
    let is_relative = matches!(parsed, SourceUrl::Local(_))
        && !Path::new(source).is_absolute()
        && !source.starts_with('~')
        && !source.to_ascii_lowercase().starts_with("file:");
    if !is_relative {
        return Ok(source.to_owned());
    }
    let path = file.beside(source);
    // A file name may hold a colon, and would be taken for a scheme without a folder before it.
    Ok(match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(&path),
        _ => path,
    }
    .display()
    .to_string())
}

fn tenants(file: &File, fields: &Fields<'_>) -> Result<Vec<TenantId>> {
    let Some(text) = fields.text("tenant")? else { return Ok(Vec::new()) };
    let parse = |name: &str| {
        TenantId::parse(name).map_err(|error| file.error(text.node.wrong(error.to_string())))
    };
    text.value.split('|').map(parse).collect()
}

fn tests(file: &File, node: &Node, reading: &Reading, clock: u64) -> Result<Vec<Test>> {
    let Content::List(items) = &node.content else {
        let message = format!("`tests` is a list, each test after a dash; found {}", node.kind());
        return Err(file.error(node.wrong(message)));
    };
    if items.is_empty() {
        return Err(file.error(node.wrong("this suite has no test")));
    }
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tests = Vec::with_capacity(items.len());
    for item in items {
        let fields = Fields::of(file, item, "a test", &TEST_KEYS)?;
        let name = fields.required_text("name", "a test")?;
        if name.value.trim().is_empty() {
            return Err(file.error(name.node.wrong("a test needs a name")));
        }
        let line = file.line(item.range.start);
        if let Some(other) = lines.insert(name.value, line) {
            let message = format!("another test is called so, in line {other}");
            return Err(file.error(name.node.wrong(message)));
        }
        let test = test(file, &fields, name.value, line, reading, clock)
            .map_err(|error| error.note(format!("in the test {:?}, line {line}", name.value)))?;
        tests.push(test);
    }
    Ok(tests)
}

fn test(
    file: &File,
    fields: &Fields<'_>,
    name: &str,
    line: usize,
    reading: &Reading,
    clock: u64,
) -> Result<Test> {
    let expect_node = fields.get("expect")?;
    let expect = expect_node.map(|node| Expect::read(file, node)).transpose()?.unwrap_or_default();
    let query = query(file, fields, reading.dialect, &expect)?;
    let when = When::read(file, fields, clock)?;
    let expr = query.metrics.as_ref();
    if let Some(node) = expect_node
        && expr.is_some()
        && (expect.traces.is_some() || !expect.fields.is_empty())
    {
        let message = "`traces` and `fields` are of searches, and this query computes metrics";
        return Err(file.error(node.wrong(message)));
    }
    let metrics = match expr {
        Some(expr) => metrics(file, fields, expr, &when, reading)?,
        None => {
            refuse_metrics_keys(file, fields)?;
            MetricsChecks::default()
        }
    };
    let snapshot = match fields.get("snapshot")? {
        Some(node) => Some(snapshot(file, node, expr.is_some())?),
        None => None,
    };
    let is_idle = expect.is_nothing()
        && snapshot.is_none()
        && metrics.thresholds.is_empty()
        && metrics.baseline.is_none();
    if is_idle {
        let keys = match expr {
            Some(_) => "`threshold`, `baseline`, `expect` or `snapshot`",
            None => "`expect` or `snapshot`",
        };
        let wrong = fields.wrong("this test expects nothing, so it could not fail");
        return Err(file.error(wrong.hint(format!("give it {keys}"))));
    }
    let allow_empty = fields.flag("allow_empty")?.unwrap_or(false);
    let name = name.to_owned();
    Ok(Test { name, line, query, when, allow_empty, expect, snapshot, metrics })
}

/// Compiles the query, which is drawn in its place in the suite if it is wrong.
fn query(
    file: &File,
    fields: &Fields<'_>,
    dialect: Dialect,
    expect: &Expect,
) -> Result<TypedQuery> {
    if let Some(node) = fields.get("query")?
        && node.text().is_none()
    {
        let wrong = node.wrong(format!("`query` is text; found {}", node.kind()));
        return Err(file.error(wrong.hint("a query begins with a brace: put it in quotes")));
    }
    let text = fields.required_text("query", "a test")?;
    let refuse = |error| file.query_error(text.node, error);
    let mut query = traceql_language::parse(text.value, dialect).map_err(refuse)?;
    let typed = traceql_language::analyze(&query, dialect).map_err(refuse)?;
    // Answers list a field if the query mentions or selects it.
    let ast::Body::Search(pipeline) = &mut query.body else { return Ok(typed) };
    if expect.fields.is_empty() {
        return Ok(typed);
    }
    pipeline.stages.extend(select(&expect.fields));
    traceql_language::analyze(&query, dialect).map_err(refuse)
}

fn refuse_metrics_keys(file: &File, fields: &Fields<'_>) -> Result<()> {
    for key in ["threshold", "baseline", "step", "instant"] {
        if let Some(node) = fields.get(key)? {
            let wrong = node.wrong(format!("`{key}` is for metrics, and this query searches"));
            return Err(file.error(wrong.hint(
                "end the query in a function to compute metrics: `| rate()`, `| quantile_over_time(duration, .9)`",
            )));
        }
    }
    Ok(())
}

fn metrics(
    file: &File,
    fields: &Fields<'_>,
    expr: &MetricsExpr,
    when: &When,
    reading: &Reading,
) -> Result<MetricsChecks> {
    if let Some(end) = fields.text("end")?
        && when.lacks_start()
    {
        let wrong = end.node.wrong("`end` alone says not where the steps of metrics begin");
        return Err(file.error(wrong.hint("give `start` as well")));
    }
    let unit = Units::of(expr).sample;
    let step = fields.text("step")?;
    let is_instant = fields.flag("instant")?.unwrap_or(false);
    if let (Some(step), true) = (step, is_instant) {
        let message = "an instant query has one value for the whole range, and no `step`";
        return Err(file.error(step.node.wrong(message)));
    }
    let step_nanos = match step {
        None => None,
        Some(text) => settings::step(Some(text.value))
            .map_err(|error| file.error(text.node.wrong(error.to_string())))?,
    };
    let threshold = |node: &Node| {
        let text = node.text().ok_or_else(|| "a threshold is text: 'value < 300ms'".to_owned());
        text.and_then(|text| Threshold::parse(text, unit))
            .map_err(|why| file.error(node.wrong(why)))
    };
    let thresholds: Vec<Threshold> =
        fields.list_or_one("threshold")?.iter().map(threshold).collect::<Result<_>>()?;
    let baseline = match fields.get("baseline")? {
        Some(node) => Some(baseline(file, node, unit, reading)?),
        None => None,
    };
    Ok(MetricsChecks { thresholds, baseline, step_nanos, is_instant })
}

fn baseline(file: &File, node: &Node, unit: Unit, reading: &Reading) -> Result<Baseline> {
    let fields = Fields::of(file, node, "`baseline`", &["source", "tenant", "tolerance", "worse"])?;
    let source = fields.required_text("source", "`baseline`")?;
    let tolerance = fields.required_text("tolerance", "`baseline`")?;
    let worse = match fields.text("worse")? {
        // A latency that falls is what everybody hopes for.
        None if unit == Unit::Seconds => Worse::Higher,
        None => Worse::Either,
        Some(text) => match text.value {
            "higher" => Worse::Higher,
            "lower" => Worse::Lower,
            "either" => Worse::Either,
            _ => {
                let message = "`worse` is higher, lower or either";
                return Err(file.error(text.node.wrong(message)));
            }
        },
    };
    Ok(Baseline {
        source: resolve(file, source.value, reading)
            .map_err(|error| file.error(source.node.wrong(error.to_string())))?,
        name: source.value.to_owned(),
        tenants: tenants(file, &fields)?,
        tolerance: parse_share(tolerance.value)
            .map_err(|why| file.error(tolerance.node.wrong(why)))?,
        worse,
    })
}

/// A path alone, or a mapping that says what the file holds.
fn snapshot(file: &File, node: &Node, is_metrics: bool) -> Result<Snapshot> {
    let by_path = |path: &str| match path.ends_with(".tree") && !is_metrics {
        true => SnapshotOf::Shape(Pick::Slowest),
        false => SnapshotOf::Result,
    };
    if let Some(path) = node.text() {
        return Ok(Snapshot { path: file.beside(path), name: path.to_owned(), of: by_path(path) });
    }
    let fields = Fields::of(file, node, "`snapshot`", &["file", "of", "pick"])?;
    let path = fields.required_text("file", "`snapshot`")?.value;
    let pick = match fields.text("pick")? {
        None => None,
        Some(text) => Some(match text.value {
            "slowest" => Pick::Slowest,
            "fastest" => Pick::Fastest,
            "newest" => Pick::Newest,
            "oldest" => Pick::Oldest,
            _ => {
                let message = "`pick` is slowest, fastest, newest or oldest";
                return Err(file.error(text.node.wrong(message)));
            }
        }),
    };
    let shape = SnapshotOf::Shape(pick.unwrap_or(Pick::Slowest));
    let of = match fields.text("of")? {
        None if pick.is_some() => shape,
        None => by_path(path),
        Some(text) => match text.value {
            "shape" => shape,
            "result" if pick.is_some() => {
                let message = "`pick` chooses one trace for its shape; a result holds all";
                return Err(file.error(text.node.wrong(message)));
            }
            "result" => SnapshotOf::Result,
            _ => return Err(file.error(text.node.wrong("`of` is shape or result"))),
        },
    };
    if is_metrics && of != SnapshotOf::Result {
        let message = "metrics have no shape of a trace; their snapshot is of the result";
        return Err(file.error(node.wrong(message)));
    }
    Ok(Snapshot { path: file.beside(path), name: path.to_owned(), of })
}
