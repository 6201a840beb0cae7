//! The walk-through of `README.md` is run as it stands: every `$` line of a `console` block, with
//! the output below it. A line `…` stands for any number of lines.

use std::process::{Command, Stdio};

use crate::support::binary::{TRACEQL, root};

/// One command of the walk-through and what it prints.
#[derive(Debug, Default)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The steps of all `console` blocks, in order.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_console = false;
    for line in document.lines() {
        if line.starts_with("```") {
            in_console = line == "```console";
        } else if in_console {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.to_owned(), output: Vec::new() });
                }
                (None, Some(step)) => step.output.push(line.to_owned()),
                (None, None) => panic!("a console block begins with output: {line}"),
            }
        }
    }
    steps
}

/// The command as the shell here is to run it: the binary under test in place of cargo, and the
/// forms that a terminal gets in place of those that a pipe gets.
fn as_run(command: &str) -> String {
    let command = command.replace("cargo run --release -- ", "traceql ");
    let unquoted: String = command.split('\'').step_by(2).collect();
    if unquoted.contains('|') || unquoted.contains(" -o ") {
        return command;
    }
    match command.split_whitespace().nth(1) {
        Some("query" | "tags" | "values") => format!("{command} -o table"),
        Some("trace") => format!("{command} -o waterfall"),
        _ => command,
    }
}

/// Whether the lines are as expected, `…` standing for any number of them.
fn matches(expect: &[String], lines: &[&str]) -> bool {
    match expect.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((first, rest)) => lines.split_first().is_some_and(|(line, lines)| {
            line.trim_end() == first.trim_end() && matches(rest, lines)
        }),
    }
}

#[cfg(unix)]
#[test]
fn the_walk_through_works() {
    let document = std::fs::read_to_string(root().join("README.md")).unwrap();
    let steps = steps(&document);
    assert!(steps.len() >= 5, "the walk-through is gone: {steps:?}");
    let folder = std::path::Path::new(TRACEQL).parent().unwrap().display().to_string();
    for step in steps {
        let output = Command::new("sh")
            .args(["-c", &as_run(&step.command)])
            .current_dir(root())
            .env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"))
            .env("COLUMNS", "100")
            .env_remove("TRACEQL_SOURCE")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        // A terminal shows both.
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = text.lines().collect();
        assert!(matches(&step.output, &lines), "$ {}\n{text}", step.command);
    }
}

#[test]
fn the_two_commands_are_there() {
    let document = std::fs::read_to_string(root().join("README.md")).unwrap();
    for command in
        ["cargo run --release -- query --source sample: '{ status = error }'", "cargo test"]
    {
        assert!(document.lines().any(|line| line == command), "{command}");
    }
}

#[test]
fn an_ellipsis_stands_for_any_lines() {
    let expect = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(matches(&expect(&["a", "…", "d"]), &["a", "b", "c", "d"]));
    assert!(matches(&expect(&["a", "…"]), &["a"]));
    assert!(!matches(&expect(&["a", "…", "d"]), &["a", "b"]));
    assert!(!matches(&expect(&["a"]), &["a", "b"]));
}
