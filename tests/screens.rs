//! Commands in a real terminal at 80 and 160 columns: what people see who type them. The prompt has
//! transcripts of its own.

use std::fmt::Write as _;

use crate::support::binary::check_snapshot;
use crate::support::terminal::{Home, Terminal, is_there};

/// Runs each command line in a terminal of its own and pins what is on the screen at the end.
#[track_caller]
fn check(name: &str, lines: &[&str]) {
    if !is_there(&format!("screens::{name}")) {
        return;
    }
    for width in [80, 160] {
        let home = Home::new();
        let mut transcript = String::new();
        for line in lines {
            let out = home.path().join("out").display().to_string();
            let terminal =
                Terminal::start((width, 90), &home.environment(), &line.replace("OUT", &out));
            terminal.wait_for_end();
            let screen = terminal.screen().replace(&out, "OUT");
            writeln!(transcript, "$ traceql {line}\n{screen}\n").expect("strings take all");
        }
        check_snapshot(&format!("screens/{name}-{width}"), &without_noise(&transcript));
    }
}

/// Without what differs from run to run, in as many columns.
fn without_noise(text: &str) -> String {
    let ids = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}");
    let times =
        regex::Regex::new(r"(?m)^(  [✓✗] .*  |\d+ (?:passed|failed) in )[\d.]+(?:ns|µs|ms|s)$");
    let text = ids.expect("a pattern").replace_all(text, "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx");
    times.expect("a pattern").replace_all(&text, "${1}<time>").into_owned()
}

#[test]
fn sql() {
    check(
        "sql",
        &[
            "sql -s sample: \"SELECT service_name, count(*) AS n, max(duration) AS longest, \
             min(start_time) AS first FROM spans GROUP BY 1 ORDER BY 2 DESC LIMIT 4\"",
            "sql -s sample: \"SELECT * FROM traces ORDER BY duration DESC LIMIT 2\"",
            "sql -s sample: \"SELECT nme FROM spans\"",
            "sql -s sample: -o parquet \"SELECT name FROM spans\"",
        ],
    );
}

#[test]
fn long_rows_are_paged_and_a_pager_can_be_left() {
    if !is_there("screens::long_rows_are_paged_and_a_pager_can_be_left") {
        return;
    }
    let home = Home::new();
    let sql = "sql -s sample: \"SELECT trace_id, name FROM spans ORDER BY 1, 2\"";
    let environment = format!("{} PAGER='head -2'", home.environment());
    let terminal = Terminal::start((80, 20), &environment, &format!("{sql}; echo left: $?"));
    let screen = terminal.wait_for("left: 0");
    assert_eq!(screen.lines().count(), 3, "{screen}");
    assert!(screen.starts_with("trace_id"), "{screen}");
    // Ctrl-C ends the statement; the pager has the terminal until it is left.
    let environment = format!("{} PAGER='head -1; cat >/dev/null'", home.environment());
    let terminal = Terminal::start((80, 20), &environment, &format!("{sql}; echo left: $?"));
    terminal.wait_for("left: 0");
    // What fits is printed.
    let few = "sql -s sample: \"SELECT 1 AS one\"; echo left: $?";
    let terminal = Terminal::start((80, 20), &environment, few);
    assert_eq!(terminal.wait_for("left: 0"), "one\n  1\nleft: 0");
}

#[test]
fn test() {
    check("test", &["test testdata/checks/passing.yaml", "test testdata/checks/failing.yaml"]);
}

#[test]
fn lint() {
    check("lint", &["lint testdata/lint", "lint testdata/lint/fine.traceql"]);
}

#[test]
fn diff() {
    check(
        "diff",
        &[
            "diff -s sample: 6e45a1182eae0f0f59afb8665f6fc524 29a05474238c49cf1b5e17b72f2388dc",
            "diff -s sample: --query '{ kind = server }' --start 2026-01-01T00:40:00Z \
             --end 2026-01-01T00:50:00Z --against-offset 20m",
            "diff -s sample: 6e45a1182eae0f0f59afb8665f6fc524",
        ],
    );
}

#[test]
fn export() {
    check(
        "export",
        &[
            "export -s sample: '{ status = error }' --limit 2 | cut -c -72",
            "export -s sample: '{ status = error }' -o block --out OUT",
            "export -s sample: '{ status = error }' -o parquet --out OUT.parquet",
            "export -s sample: '{ status = error }' -o parquet",
            "export -s sample: '{ status = error } | rate()'",
        ],
    );
}

#[test]
fn convert() {
    check("convert", &["convert -s sample: --out OUT", "convert -s sample: --out sample:"]);
}

#[test]
fn blocks() {
    check("blocks", &["blocks list -s sample:", "blocks verify -s sample:"]);
}

#[test]
fn config() {
    check("config", &["config", "config --profile none"]);
}
