//! `traceql test` against the real binary: a passing and a failing suite, every report, snapshots that
//! are updated, data that arrives late, and the message for each way a suite can be wrong.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use regex::Regex;
use tempfile::TempDir;

use crate::support::binary::{
    check_snapshot, root, run, run_with_input, stderr, stdout, traceql, transcript,
};

const PASSING: &str = "testdata/checks/passing.yaml";
const FAILING: &str = "testdata/checks/failing.yaml";

/// The text with what differs from run to run taken out.
fn stable(text: &str) -> String {
    let filters = [
        (r"(?m)^(  [✓✗!] .*  )[0-9.]+(?:ns|µs|ms|s)$", "${1}<time>"),
        (r"(?m) in [0-9.]+(?:ns|µs|ms|s)(\.?)$", " in <time>$1"),
        (r"duration_ms: [0-9.]+", "duration_ms: <time>"),
        (r#" time="[0-9.]+""#, r#" time="<time>""#),
        (r#""durationNanos": [0-9]+"#, r#""durationNanos": <time>"#),
        (r"(?m)(:[0-9]+ \| )[0-9.]+(?:ns|µs|ms|s) \|$", "$1<time> |"),
    ];
    filters.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}

/// A folder with the suites in it.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&root().join("testdata/checks"), folder.path());
    folder
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// Runs in a folder.
fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    run_with_input(traceql(arguments).current_dir(folder), b"")
}

#[test]
fn a_passing_and_a_failing_suite() {
    let mut text = String::new();
    for arguments in [
        &["test", PASSING][..],
        &["test", FAILING],
        &["test", PASSING, FAILING, "--quiet", "--run", "payments|traces"],
        &["test", FAILING, "--fail-fast", "--run", "a"],
        &["test", PASSING, "--run", "p95 of checkuot"],
        &["test", PASSING, "--run", "("],
    ] {
        text.push_str(&stable(&transcript(arguments, &run(arguments))));
    }
    check_snapshot("checks/list", &text);
}

#[test]
fn exit_codes_are_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("s.yaml");
    let suite = suite.to_str().unwrap();
    let code = |source: &str, more: &[&str]| {
        let text = format!(
            "source: '{source}'\ntests:\n  - name: a\n    query: '{{ status = error }}'\n    expect: {{ count: {{ min: 1 }} }}\n"
        );
        fs::write(suite, text).unwrap();
        let output = run(&[&["test", suite], more].concat());
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    #[track_caller]
    fn check((code, text): (Option<i32>, String), expect: i32, says: &str) {
        assert_eq!(code, Some(expect), "{text}");
        assert!(text.contains(says), "{text}");
    }
    check(code("sample:", &[]), 0, "1 passed");
    check(code("sample:", &["--run", "b"]), 2, "matches the name of no test");
    check(code("nowhere", &[]), 3, "1 test has no answer");
    check(code("ftp://x", &[]), 2, "ftp");
    check(code("nowhere", &["--source", "sample:"]), 0, "1 passed");
    let blocks = folder.path().join("t/2904655c-7134-5dc4-88ef-d24797772124");
    copy_folder(
        &root().join("testdata/sample/single-tenant/2904655c-7134-5dc4-88ef-d24797772124"),
        &blocks,
    );
    fs::write(blocks.join("meta.json"), "{").unwrap();
    check(code("t", &[]), 5, "1 test has no answer");
}

#[test]
fn every_report_tells_the_same() {
    let folder = copy();
    let names = "no failures|these traces|teapot|shape$|payments$";
    let mut command = traceql(&[
        "test",
        "failing.yaml",
        "passing.yaml",
        "--run",
        names,
        "--junit",
        "junit.xml",
        "--json",
        "report.json",
    ]);
    fs::write(folder.path().join("summary.md"), "# Before\n\n").unwrap();
    command
        .current_dir(folder.path())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_WORKSPACE", folder.path().parent().unwrap())
        .env("GITHUB_STEP_SUMMARY", folder.path().join("summary.md"));
    let output = run_with_input(&mut command, b"");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let here = folder.path().file_name().unwrap().to_str().unwrap();
    let said = stdout(&output);
    let annotations: Vec<&str> = said.lines().filter(|line| line.starts_with("::")).collect();
    let mut text = annotations.join("\n").replace(here, "<folder>") + "\n\n";
    for name in ["junit.xml", "report.json", "summary.md"] {
        text.push_str(&format!("== {name}\n{}\n", stable(&read(name))));
    }
    let tap = ["test", "failing.yaml", "passing.yaml", "--run", names, "--tap"];
    text.push_str(&stable(&transcript(&tap, &run_in(folder.path(), &tap))));
    check_snapshot("checks/reports", &text);

    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(json["summary"]["failed"], 4);
    assert_eq!(json["summary"]["passed"], 2);
}

/// The schema that Jenkins' xUnit plugin holds reports against, where `.ci/run` has put it.
fn junit_schema() -> Option<std::path::PathBuf> {
    let home = std::env::vars().find(|(name, _)| name == "HOME")?.1;
    let schema = Path::new(&home).join(".cache/traceql/servers/junit-10.xsd");
    let has_xmllint = Command::new("xmllint").arg("--version").output().is_ok();
    (has_xmllint && schema.is_file()).then_some(schema)
}

#[test]
fn junit_is_valid_by_the_schema_of_jenkins() {
    let Some(schema) = junit_schema() else {
        use std::io::Write as _;
        // Past the capture of the test runner, so that a test that did not run is seen.
        let said = "SKIPPED checks::junit_is_valid_by_the_schema_of_jenkins: there is no xmllint, \
                    or no ~/.cache/traceql/servers/junit-10.xsd";
        drop(writeln!(std::io::stderr(), "{said}"));
        return;
    };
    let folder = copy();
    let hostile = "source: nowhere\ntests:\n  - name: \"a <b> & \\\"c\\\" \\e[31m \\0 é\"\n    query: '{ }'\n    expect: { empty: true }\n";
    fs::write(folder.path().join("hostile.yaml"), hostile).unwrap();
    let output = run_in(
        folder.path(),
        &["test", "failing.yaml", "passing.yaml", "hostile.yaml", "--junit", "j.xml"],
    );
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let mut lint = Command::new("xmllint");
    lint.args(["--noout", "--schema"]).arg(schema).arg(folder.path().join("j.xml"));
    let output = lint.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn snapshots_are_updated_on_request() {
    let folder = copy();
    let names = ["--run", "shape$|missing"];
    let test = |more: &[&str]| {
        let output = run_in(folder.path(), &[&["test", "failing.yaml"], &names[..], more].concat());
        (output.status.code(), stdout(&output))
    };
    let (code, text) = test(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no snapshot snapshots/missing.tree yet; `--update` writes it"));
    let (code, text) = test(&["--update"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("note: updated snapshots/cart.tree"), "{text}");
    assert!(text.contains("note: wrote snapshots/missing.tree"), "{text}");
    let shape = "frontend: GET /cart (server) error\n  frontend: cart.Get (client) ×2\n";
    let tree = folder.path().join("snapshots/cart.tree");
    assert_eq!(fs::read_to_string(&tree).unwrap(), shape);
    let (code, text) = test(&[]);
    assert_eq!(code, Some(0), "{text}");
    // Nothing is written if nothing has changed, and line ends of another system are no change.
    fs::write(&tree, shape.replace('\n', "\r\n")).unwrap();
    let (code, text) = test(&["--update"]);
    assert_eq!((code, text.contains("updated")), (Some(0), false), "{text}");
    assert!(fs::read_to_string(&tree).unwrap().contains('\r'));
}

#[test]
fn data_that_arrives_late_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let suite = "source: late.json\ntests:\n  - name: it arrives\n    query: '{ name = \"x\" }'\n    expect: { count: 1 }\n";
    fs::write(folder.path().join("late.yaml"), suite).unwrap();
    let late = folder.path().join("late.json");
    fs::write(&late, "{}").unwrap();
    let none = run_in(folder.path(), &["test", "late.yaml", "--retry", "1", "--wait", "1ms"]);
    assert_eq!(none.status.code(), Some(1), "{}", stdout(&none));
    let child = std::thread::spawn({
        let folder = folder.path().to_path_buf();
        move || run_in(&folder, &["test", "late.yaml", "--retry", "600", "--wait", "50ms"])
    });
    // However late it is, it is found; this only makes it likely that it was looked for before.
    std::thread::sleep(Duration::from_millis(300));
    let span = r#"{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"x","startTimeUnixNano":"1","endTimeUnixNano":"2"}"#;
    let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let draft = folder.path().join("draft");
    fs::write(&draft, request).unwrap();
    fs::rename(draft, late).unwrap();
    let output = child.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn a_source_that_hangs_ends_with_the_deadline_and_a_report() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let suite = format!(
        "source: http://{}/bucket/t\ntests:\n  - name: a\n    query: '{{ }}'\n    expect: {{ empty: true }}\n",
        listener.local_addr().unwrap()
    );
    fs::write(folder.path().join("s.yaml"), suite).unwrap();
    let arguments = ["test", "s.yaml", "--timeout", "200ms", "--junit", "j.xml"];
    let output = run_in(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    assert!(fs::read_to_string(folder.path().join("j.xml")).unwrap().contains("</testsuites>"));
}

/// Suites that are wrong, each in one way.
const WRONG: &[(&str, &str)] = &[
    ("no YAML", "tests: [\n"),
    ("empty file", ""),
    ("no tests", "source: 'sample:'\n"),
    ("an empty list", "source: 'sample:'\ntests: []\n"),
    ("no list", "source: 'sample:'\ntests: { name: a }\n"),
    ("an unknown key", "sorce: 'sample:'\ntests: []\n"),
    ("a key twice", "source: 'sample:'\nsource: 'sample:'\ntests: []\n"),
    ("two documents", "source: 'sample:'\n---\ntests: []\n"),
    ("no source", "tests:\n  - { name: a, query: '{ }', expect: { empty: true } }\n"),
    ("source and spans", "source: 'sample:'\nspans: 'a: b 1ms'\ntests: []\n"),
    ("a key without value", "source:\ntests: []\n"),
    (
        "a wrong source",
        "source: ftp://x\ntests:\n  - { name: a, query: '{ }', expect: { empty: true } }\n",
    ),
    ("a wrong tenant", "source: 'sample:'\ntenant: a/b\ntests: []\n"),
    ("a wrong clock", "source: 'sample:'\nnow: tomorrow\ntests: []\n"),
    ("a span without duration", "spans: |\n  a: b 1ms\n    c: d\ntests: []\n"),
    ("no span", "spans: '# none'\ntests: []\n"),
    (
        "a test without name",
        "source: 'sample:'\ntests:\n  - query: '{ }'\n    expect: { empty: true }\n",
    ),
    (
        "a test without query",
        "source: 'sample:'\ntests:\n  - name: a\n    expect: { empty: true }\n",
    ),
    (
        "a query without quotes",
        "source: 'sample:'\ntests:\n  - name: a\n    query: { status = error }\n    expect: { empty: true }\n",
    ),
    (
        "a name twice",
        "source: 'sample:'\ntests:\n  - { name: a, query: '{ }', expect: { empty: true } }\n  - { name: a, query: '{ }', expect: { empty: true } }\n",
    ),
    ("nothing expected", "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n"),
    (
        "nothing expected of metrics",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | rate()'\n",
    ),
    (
        "an empty expectation",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: {}\n",
    ),
    (
        "an unknown expectation",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { emty: true }\n",
    ),
    (
        "empty and more",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { empty: true, count: 1 }\n",
    ),
    (
        "a wrong count",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { count: { min: 3, max: 2 } }\n",
    ),
    (
        "a count that is none",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { count: many }\n",
    ),
    (
        "a wrong trace id",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { traces: [xyz] }\n",
    ),
    (
        "a wrong field",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { fields: { 'a b': 1 } }\n",
    ),
    (
        "a wrong pattern",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    expect: { fields: { name: '=~ (' } }\n",
    ),
    (
        "fields of metrics",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | rate()'\n    expect: { fields: { name: x } }\n",
    ),
    (
        "a threshold of a search",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    threshold: value < 1\n",
    ),
    (
        "a threshold without unit",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | max_over_time(duration)'\n    threshold: value < 300\n",
    ),
    (
        "a threshold of something else",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | rate()'\n    threshold: p95 < 300ms\n",
    ),
    (
        "a baseline without tolerance",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | rate()'\n    baseline: { source: 'sample:' }\n",
    ),
    (
        "a wrong share",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | rate()'\n    baseline: { source: 'sample:', tolerance: much }\n",
    ),
    (
        "a wrong pick",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    snapshot: { file: a.tree, pick: best }\n",
    ),
    (
        "a shape of metrics",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ } | rate()'\n    snapshot: { file: a.tree, of: shape }\n",
    ),
    (
        "since and start",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    since: 1h\n    start: now-2h\n    expect: { empty: true }\n",
    ),
    (
        "a wrong duration",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ }'\n    since: soon\n    expect: { empty: true }\n",
    ),
    (
        "a query that is refused",
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ status = eror }'\n    expect: { empty: true }\n",
    ),
    (
        "a query in a block that is refused",
        "source: 'sample:'\ntests:\n  - name: a\n    query: |\n      { status = error }\n      | cuont() > 2\n    expect: { empty: true }\n",
    ),
    (
        "a query in double quotes that is refused",
        "source: 'sample:'\ntests:\n  - name: a\n    query: \"{ name = \\\"x\\\" && duration > }\"\n    expect: { empty: true }\n",
    ),
];

#[test]
fn suites_that_are_wrong_are_told_where() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (what, suite) in WRONG {
        fs::write(folder.path().join("s.yaml"), suite).unwrap();
        let output = run_in(folder.path(), &["test", "s.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{what}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{what}");
        text.push_str(&format!("# {what}\n{}\n", stderr(&output)));
    }
    for arguments in [
        &["test", "none.yaml"][..],
        &["test", "."],
        &["test"],
        &["test", "s.yaml", "--listen", "127.0.0.1:0"],
        &["test", "s.yaml", "--", "true"],
    ] {
        text.push_str(&transcript(arguments, &run_in(folder.path(), arguments)));
    }
    check_snapshot("checks/wrong", &text);
}

#[test]
fn the_reference_can_be_printed_and_its_examples_are_suites() {
    let output = run(&["test", "--reference"]);
    let reference = fs::read_to_string(root().join("src/cli/check/README.md")).unwrap();
    assert_eq!(stdout(&output), reference);
    let blocks =
        || reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole = blocks().find(|block| block.contains("tests:")).unwrap();
    let test = "tests:\n  - name: a\n    query: '{ true }'\n";
    let indented =
        |block: &str| -> String { block.lines().map(|line| format!("    {line}\n")).collect() };
    let metrics =
        "source: 'sample:'\ntests:\n  - name: a\n    query: '{ true } | avg_over_time(duration)'\n";
    let mut suites = vec![whole.to_owned()];
    for block in blocks().filter(|block| *block != whole) {
        match block.split(':').next().unwrap() {
            "spans" => suites.push(format!("{block}{test}    expect: {{ count: 2 }}\n")),
            "expect" => suites.push(format!("source: 'sample:'\n{test}{}", indented(block))),
            "threshold" => suites.push(format!("{metrics}{}", indented(block))),
            // Each line is an example.
            "snapshot" => suites
                .extend(block.lines().map(|line| format!("source: 'sample:'\n{test}    {line}\n"))),
            other => panic!("an example of {other} that nobody tries"),
        }
    }
    assert!(suites.len() >= 6, "{suites:#?}");
    let folder = tempfile::tempdir().unwrap();
    for suite in suites {
        fs::write(folder.path().join("s.yaml"), &suite).unwrap();
        let output = run_in(folder.path(), &["test", "s.yaml"]);
        // What they find is no matter; that they are understood is.
        let said = stdout(&output) + &stderr(&output);
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{suite}\n{said}");
        assert!(!suite.starts_with("spans") || output.status.code() == Some(0), "{said}");
    }
}

#[test]
fn the_list_is_fit_for_its_terminal() {
    let list = |variable: (&str, &str), more: &[&str]| {
        let arguments = [&["test", FAILING, "--run", "^shape$"], more].concat();
        stdout(&run_with_input(traceql(&arguments).env(variable.0, variable.1), b""))
    };
    let plain = list(("LANG", "C"), &[]);
    assert!(plain.contains("\n  x shape  "), "{plain}");
    let coloured = list(("LANG", "C.UTF-8"), &["--color", "always"]);
    assert!(coloured.contains("\u{1b}[1m\u{1b}[31m✗\u{1b}[0m shape"), "{coloured:?}");
    assert!(coloured.contains("\u{1b}[32m+  frontend: cart.Get"), "{coloured:?}");
}
