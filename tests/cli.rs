//! The command line as its users meet it: the real binary, whole outputs, exit codes, pipes,
//! signals, terminals. What answers are right is `golden`'s and `oracle`'s business.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::binary::{
    check_snapshot, root, run, run_with_input, stderr, stdout, traceql, transcript,
};
#[cfg(unix)]
use crate::support::terminal::{self, Terminal};

const FAILED_CHECKOUT: &str = "29a05474238c49cf1b5e17b72f2388dc";
const SHOP5: &str = "testdata/blocks/shop/shop5";

/// Runs each command line and pins everything that comes of them.
#[track_caller]
fn check(name: &str, columns: u16, lines: &[&[&str]]) {
    let mut text = String::new();
    for arguments in lines {
        let mut command = traceql(arguments);
        let output = run_with_input(command.env("COLUMNS", columns.to_string()), b"");
        text.push_str(&transcript(arguments, &output));
    }
    check_snapshot(&format!("cli/{name}"), &text);
}

#[test]
fn help_of_every_command() {
    check(
        "help",
        100,
        &[
            &["--help"],
            &["query", "-h"],
            &["query", "--help"],
            &["trace", "-h"],
            &["tags", "-h"],
            &["values", "-h"],
            &["explain", "-h"],
            &["blocks", "-h"],
            &["blocks", "list", "-h"],
            &["blocks", "verify", "-h"],
            &["convert", "-h"],
            &["compact", "-h"],
            &["export", "-h"],
            &["diff", "-h"],
            &["diff", "--help"],
            &["fmt", "-h"],
            &["test", "-h"],
            &["test", "--help"],
            &["lint", "-h"],
            &["lint", "--help"],
            &["config", "--help"],
            &["serve", "-h"],
        ],
    );
}

#[test]
fn wrong_command_lines() {
    check(
        "errors",
        100,
        &[
            &["query", "{ }"],
            &["query", "--source", "sample:"],
            &["query", "--source", "sample:", "{ }", "--lmit", "3"],
            &["query", "--source", "sample:", "{ }", "-o", "xml"],
            &["query", "--source", "sample:", "{ }", "--since", "1x"],
            &["query", "--source", "sample:", "{ }", "--start", "yesterday"],
            &["query", "--source", "sample:", "{ }", "--start", "2026-01-01T00:00:00"],
            &["query", "--source", "sample:", "{ }", "--start", "20", "--end", "10"],
            &["query", "--source", "sample:", "{ }", "--memory", "much"],
            &["query", "--source", "sample:", "{ }", "--timeout", "0s"],
            &["query", "--source", "sample:", "{ }", "--tenant", "a/b"],
            &["query", "--source", "sample:", "{ }", "--tenant", "acme"],
            &["query", "--source", "ftp://host/x", "{ }"],
            &["query", "--source", "testdata/blocks/shop", "{ }"],
            &["query", "--source", "testdata/blocks/shob", "{ }"],
            &["query", "--source", "README.md", "{ }"],
            &["query", "--source", "src", "{ }"],
            &["query", "--source", "sample:", "--file", "nothing.traceql"],
            &["query", "--source", "sample:", "{ }", "--step", "15"],
            &["query", "--source", "sample:", "{ }", "--instant"],
            &["query", "--source", "sample:", "{ }", "--exemplars", "3"],
            &["query", "--source", "sample:", "{ }", "--prometheus-json"],
            &["query", "--source", "sample:", "{ }", "-o", "chart"],
            &["query", "--source", "sample:", "{ }", "-o", "prom"],
            &["query", "--source", "sample:", "{ } | rate()", "--limit", "3"],
            &["query", "--source", "sample:", "{ } | rate()", "--spans-per-spanset", "3"],
            &["query", "--source", "sample:", "{ } | rate()", "--step", "soon"],
            &["query", "--source", "sample:", "{ } | rate()", "--step", "0"],
            &["query", "--source", "sample:", "{ } | rate()", "--step", "1m", "--instant"],
            &["query", "--source", "sample:", "{ } | rate()", "--end", "now"],
            &["query", "--source", "sample:", "{ } | rate()", "-o", "csv", "--prometheus-json"],
            &["query", "--source", "sample:", "{ }", "--limit", "many"],
            &["query", "--source", "sample:", "{ }", "--threads", "0"],
            &["trace", "--source", "sample:", "xyz"],
            &["trace", "--source", "sample:", "123456789012345678901234567890123"],
            &["values", "--source", "sample:", "1 + 1"],
            &["tags", "--source", "sample:", "{ } | count() > 1"],
            &["blocks", "inspect", "--source", "sample:"],
            &["blocks", "inspect", "--source", "sample:", "ffff"],
        ],
    );
}

#[test]
fn wrong_queries_are_drawn() {
    check(
        "diagnostics",
        100,
        &[
            &["query", "--source", "sample:", "{ status = eror }"],
            &["query", "--source", "sample:", "{ status = error"],
            &["query", "--source", "sample:", ""],
            &["query", "--source", "sample:", "{ duration > }"],
            &["query", "--source", "sample:", "{ duration > \"a\" }"],
            &["query", "--source", "sample:", "{ name =~ \"(\" }"],
            &["query", "--source", "sample:", "{ }\n| cuont() > 2"],
            &["fmt", "{ 日本 = }"],
        ],
    );
}

#[test]
fn forms_of_a_search() {
    let query = "{ status = error && resource.service.name = \"payment\" } | select(span.rpc.method, status)";
    let search = |form| ["query", "--source", "sample:", query, "--limit", "3", "-o", form];
    for form in ["table", "wide", "ndjson", "csv", "markdown"] {
        check(&format!("search-{form}"), 100, &[&search(form)]);
    }
    check("search-table-80", 80, &[&search("table")]);
    check("search-table-160", 160, &[&search("table")]);
    let grouped = "{ status = error } | by(resource.service.name) | count() > 2";
    check(
        "search-grouped",
        120,
        &[&["query", "--source", "sample:", grouped, "--limit", "2", "-o", "table"]],
    );
}

#[test]
fn forms_of_metrics() {
    let errors = "{ status = error } | count_over_time() by (resource.service.name) | topk(3)";
    let range = |form| ["query", "-s", "sample:", errors, "--step", "10m", "-o", form];
    for form in ["chart", "table", "wide", "csv", "markdown", "prom"] {
        check(&format!("metrics-{form}"), 100, &[&range(form)]);
    }
    check("metrics-chart-60", 60, &[&range("chart")]);
    let latency = "{ kind = server } | histogram_over_time(duration)";
    let instant = ["query", "-s", "sample:", errors, "--instant", "-o"];
    let prometheus = ["query", "-s", "sample:", errors, "--step", "30m", "--prometheus-json"];
    check(
        "metrics-more",
        100,
        &[
            &["query", "-s", "sample:", latency, "--step", "1m", "-o", "chart"],
            &[&instant[..], &["chart"]].concat(),
            &[&instant[..], &["csv"]].concat(),
            &[&instant[..], &["ndjson"]].concat(),
            &[&instant[..5], &["--prometheus-json"]].concat(),
            &prometheus,
        ],
    );
}

#[test]
fn metrics_end_as_searches_do() {
    let ask = |more: &[&str]| run(&[&["query", "-s", "sample:"], more].concat());
    let nothing = "{ name = \"no such span\" } | rate() by (name)";
    assert_eq!(ask(&[nothing, "--exit-status"]).status.code(), Some(1));
    let none = ask(&[nothing]);
    assert_eq!((none.status.code(), stdout(&none)), (Some(0), String::new()));
    assert!(stderr(&none).starts_with("note: no series in 2 blocks"), "{}", stderr(&none));
    // Without groupings nothing is zero, which is an answer.
    let zeros = ask(&["{ name = \"no such span\" } | rate()", "--exit-status"]);
    assert_eq!(zeros.status.code(), Some(0), "{}", stderr(&zeros));
    let stats = ask(&["{ } | rate()", "--stats"]);
    assert!(stderr(&stats).starts_with("stats: 2 of 2 blocks ("), "{}", stderr(&stats));
    let steps = ask(&["{ } | rate()", "--step", "1us"]);
    assert_eq!(steps.status.code(), Some(2), "{}", stderr(&steps));
    assert!(stderr(&steps).contains("the smallest step for this range is"), "{}", stderr(&steps));
    let reversed = ask(&["{ } | rate()", "--start", "now+1h"]);
    assert_eq!(reversed.status.code(), Some(2), "{}", stderr(&reversed));

    let lines = |more: &[&str]| -> Vec<serde_json::Value> {
        let text = stdout(&ask(more));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let rate = "{ status = error } | rate() by (resource.service.name)";
    let (ndjson, body) = (lines(&[rate]), lines(&[rate, "-o", "json"]));
    assert_eq!(body[0]["series"].as_array().unwrap(), &ndjson);
    assert!(ndjson.iter().all(|series| series.get("exemplars").is_none()));
    let with = lines(&[rate, "--exemplars", "5"]);
    assert!(with.iter().any(|series| series.get("exemplars").is_some()));

    let broken = Copy::of(SHOP5, "t");
    fs::write(broken.meta(), "{").unwrap();
    let partial = run(&["query", "-s", &broken.path("t"), rate, "--skip-unreadable", "-o", "json"]);
    assert_eq!(partial.status.code(), Some(4), "{}", stderr(&partial));
    assert!(stdout(&partial).contains(r#""status":"PARTIAL""#), "{}", stdout(&partial));
}

#[test]
fn json_is_tempos_response() {
    let output =
        run(&["query", "--source", "sample:", "{ status = error }", "--limit", "2", "-o", "json"]);
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    // The cursor is ours, and there is none when nothing can follow.
    assert_eq!(members, ["traces", "metrics", "cursor"]);
    let all =
        run(&["query", "--source", "sample:", "{ status = error }", "--limit", "0", "-o", "json"]);
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["traces", "metrics"]);
    let ndjson = run(&["query", "--source", "sample:", "{ status = error }", "--limit", "2"]);
    let lines: Vec<serde_json::Value> =
        stdout(&ndjson).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(body["traces"].as_array().unwrap(), &lines, "ndjson has the same traces");
    assert_eq!(body["traces"][0]["spanSets"][0]["matched"], 8);
}

#[test]
fn one_trace_in_every_form() {
    for columns in [80, 160] {
        let line = ["trace", "--source", "sample:", FAILED_CHECKOUT, "-o", "waterfall"];
        check(&format!("trace-{columns}"), columns, &[&line]);
    }
    let line = ["trace", "-s", "sample:", FAILED_CHECKOUT, "-o", "waterfall", "--attributes"];
    check("trace-attributes", 100, &[&line]);

    let tempo = run(&["trace", "-s", "sample:", FAILED_CHECKOUT, "-o", "json"]);
    let body: serde_json::Value = serde_json::from_slice(&tempo.stdout).unwrap();
    assert!(body["trace"]["resourceSpans"].is_array());
    let missing = run(&["trace", "-s", "sample:", "1", "-o", "json"]);
    assert!(stdout(&missing).starts_with(r#"{"trace":{},"metrics":{"#), "{}", stdout(&missing));
    assert!(stderr(&missing).contains("no trace 00000000000000000000000000000001"));
}

#[test]
fn a_trace_that_was_printed_can_be_asked_again() {
    for form in ["otlp", "otlp-proto"] {
        let trace = run(&["trace", "-s", "sample:", FAILED_CHECKOUT, "-o", form]);
        let again = run_with_input(
            &mut traceql(&["query", "--source", "-", "{ status = error }", "-o", "csv"]),
            &trace.stdout,
        );
        let from_block =
            run(&["query", "-s", "sample:", "{ status = error }", "-o", "csv", "--limit", "0"]);
        let wanted: Vec<String> = stdout(&from_block)
            .lines()
            .filter(|l| l.contains(FAILED_CHECKOUT))
            .map(str::to_owned)
            .collect();
        let found: Vec<String> = stdout(&again).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(found.len(), 3, "{form}: {}", stderr(&again));
        assert_eq!(found, wanted, "{form}");
    }
}

#[test]
fn names_values_and_blocks() {
    check(
        "tags",
        100,
        &[
            &["tags", "-s", "sample:", "--scope", "resource", "-o", "table"],
            &["tags", "-s", "sample:", "--scope", "intrinsic", "-o", "ndjson"],
            &["tags", "-s", "sample:", "{ status = error }", "--scope", "span", "-o", "csv"],
            &["values", "-s", "sample:", "resource.service.name", "-o", "table"],
            &["values", "-s", "sample:", "kind", "-o", "csv"],
            &["values", "-s", "sample:", "span.http.status_code", "{ status = error }"],
        ],
    );
    check(
        "blocks",
        120,
        &[
            &["blocks", "list", "-s", "sample:", "-o", "table"],
            &["blocks", "list", "-s", "sample:"],
            &["blocks", "inspect", "-s", "sample:", "2c", "-o", "table"],
            &["blocks", "schema", "-s", "sample:", "2c", "-o", "csv"],
            &["blocks", "verify", "-s", "sample:", "29", "-o", "table"],
            &["blocks", "analyse", "-s", "sample:", "-o", "table"],
        ],
    );
}

#[test]
fn queries_in_canonical_form() {
    check(
        "fmt",
        100,
        &[
            &["fmt", "{status=error}", "{.a}|count()>1"],
            &["fmt", "--dialect", "tempo", "{ 2 ^ 3 = 8 }"],
        ],
    );
    let output = run_with_input(&mut traceql(&["fmt"]), b"// a comment\n{status=error}\n");
    assert_eq!(stdout(&output), "{ status = error }\n");
    let output = run_with_input(&mut traceql(&["fmt", "{.a}", "-"]), b"{status=error}");
    assert_eq!(stdout(&output), "{ .a }\n{ status = error }\n");
    let lines = b"\"{status=error}\"\n\n\"{\"\n\"{ 1 }\"\n";
    let output = run_with_input(&mut traceql(&["fmt", "--jsonl"]), lines);
    check_snapshot("cli/fmt-jsonl", &transcript(&["fmt", "--jsonl"], &output));
    let output = run_with_input(&mut traceql(&["fmt", "--jsonl"]), b"{ }\n");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("line 1"), "{}", stderr(&output));
}

#[test]
fn what_an_answer_cost_is_told_on_request() {
    let twenty = ["query", "-s", "sample:", "{ status = error }", "--limit", "20"];
    let text = stderr(&run(&[&twenty[..], &["--stats"]].concat()));
    assert!(text.starts_with("stats: 2 of 2 blocks ("), "{text}");
    assert!(run(&twenty).stderr.is_empty());
    // Twenty that nobody asked for may be taken for all.
    let text = stderr(&run(&["query", "-s", "sample:", "{ status = error }"]));
    assert!(text.starts_with("note: the first 20;"), "{text}");
    let quiet = run(&["query", "-s", "sample:", "{ status = error }", "--stats", "--quiet"]);
    assert!(quiet.stderr.is_empty(), "{}", stderr(&quiet));
}

#[test]
fn the_source_may_come_from_the_environment() {
    let mut command = traceql(&["query", "{ status = error }", "--limit", "1"]);
    let output = run_with_input(command.env("TRACEQL_SOURCE", "sample:"), b"");
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn the_only_tenant_is_taken_and_named() {
    let folder = Copy::of(SHOP5, "only/acme");
    let output = run(&["query", "-s", &folder.path("only"), "{ }", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "note: asking tenant acme, the only one there is\n");
}

#[test]
fn exit_codes_are_as_documented() {
    let code = |arguments: &[&str]| {
        let output = run(arguments);
        (output.status.code(), stderr(&output))
    };
    #[track_caller]
    fn check((code, errors): (Option<i32>, String), expect: i32) {
        assert_eq!(code, Some(expect), "{errors}");
    }
    let nothing = "{ name = \"no such span\" }";
    check(code(&["query", "-s", "sample:", nothing]), 0);
    check(code(&["query", "-s", "sample:", nothing, "--exit-status"]), 1);
    check(code(&["trace", "-s", "sample:", "1", "--exit-status"]), 1);
    check(code(&["query", "-s", "sample:", "{ true }", "--exit-status"]), 0);
    check(code(&["query", "-s", "sample:", "{"]), 2);
    check(code(&["query", "-s", "/nonexistent/place", "{ }"]), 3);
    check(code(&["query", "-s", &Answering::start("403 Forbidden").url(), "{ }"]), 3);

    let broken = Copy::of(SHOP5, "t");
    let meta = broken.meta();
    fs::write(&meta, "{").unwrap();
    check(code(&["query", "-s", &broken.path("t"), "{ }", "--limit", "0"]), 5);
    check(code(&["query", "-s", &broken.path("t"), "{ }", "--limit", "0", "--skip-unreadable"]), 4);
    let foreign =
        fs::read_to_string(root().join(SHOP5).join(block_of(&meta)).join("meta.json")).unwrap();
    fs::write(&meta, foreign.replace("vParquet5", "vParquet9")).unwrap();
    check(code(&["query", "-s", &broken.path("t"), "{ }", "--limit", "0"]), 6);
}

#[test]
fn a_closed_pipe_is_no_error() {
    for form in ["ndjson", "table", "csv", "json"] {
        let mut child = traceql(&["query", "-s", "sample:", "{ }", "--limit", "0", "-o", form])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{form}");
    }
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let table = ["query", "-s", "sample:", "{ status = error }", "--limit", "1", "-o", "table"];
    assert!(!stdout(&run(&table)).contains('\u{1b}'));
    let always = [&table[..], &["--color", "always"]].concat();
    assert!(stdout(&run(&always)).contains("\u{1b}["));
    assert!(stderr(&run(&["fmt", "{", "--color", "always"])).contains("\u{1b}["));
    assert!(!stderr(&run(&["fmt", "{"])).contains('\u{1b}'));
}

#[test]
fn the_deadline_ends_a_query_that_hangs() {
    let server = Answering::never();
    let started = Instant::now();
    let output = run(&["query", "-s", &server.url(), "{ }", "--timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(stderr(&output).contains("the answer is partial: 0 traces"), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn an_interrupted_query_says_so() {
    let server = Answering::never();
    let mut child = traceql(&["query", "-s", &server.url(), "{ }"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for_request();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{errors}");
    assert!(errors.starts_with("error: interrupted\nnote: the answer is partial"), "{errors}");
}

#[cfg(unix)]
#[test]
fn the_server_says_where_it_listens_and_ends_when_told() {
    let mut serve = traceql(&["serve", "-s", "sample:", "--listen", "127.0.0.1:0"]);
    let mut child = Child(serve.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let child = &mut child.0;
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert!(line.starts_with("traceql: serving sample: on http://127.0.0.1:"), "{line}");
    let address = line.trim_end().rsplit_once("http://").unwrap().1;
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /api/echo HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("echo\n"), "{answer}");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let commands =
        ["query", "trace", "convert", "compact", "repl", "test", "lint", "serve", "completions"];
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let script = stdout(&output);
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}: {script}");
    }
    // A shell reads what is made for it.
    let script = stdout(&run(&["completions", "bash"]));
    let sourced = run_with_input(Command::new("bash").arg("-n"), script.as_bytes());
    assert!(sourced.status.success(), "{}", stderr(&sourced));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("man").display().to_string();
    let output = run(&["man", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for page in ["traceql", "traceql-query", "traceql-blocks-verify", "traceql-repl"] {
        let text = fs::read_to_string(folder.path().join(format!("man/{page}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let page = stdout(&run(&["man"]));
    assert!(page.starts_with(".ie") || page.contains(".TH traceql"), "{page}");
}

/// What a person sees, at two widths: the table fits, the waterfall fits, colour is there unless
/// `NO_COLOR` is.
#[cfg(unix)]
#[test]
fn in_a_terminal() {
    if !terminal::is_there("cli::in_a_terminal") {
        return;
    }
    for width in [80, 160] {
        let query = "query -s sample: '{ status = error }' --limit 5";
        let table = in_tmux(width, "", query);
        let plain = without_colour(&table);
        assert!(
            plain.contains("DURATION") && plain.contains("0087f2130eca07014edc578c1d29fc5d"),
            "{plain}"
        );
        assert!(table.contains("\u{1b}["), "a terminal gets colour");
        assert!(
            !in_tmux(width, "NO_COLOR=1 ", query).contains("\u{1b}[36"),
            "unless it is unwanted"
        );
        // Lines that are too long would have been wrapped and the header come apart from its rows.
        let lines: Vec<&str> = plain.lines().filter(|line| !line.is_empty()).collect();
        let per_trace = if width == 80 { 2 } else { 1 };
        // Header, rows, the note that the limit was reached, and the cursor, which is longer than a line.
        let of_cursor = if width == 80 { 2 } else { 1 };
        assert_eq!(lines.len(), 1 + 5 * per_trace + 1 + of_cursor, "{plain}");

        let query = "query -s sample: '{ kind = server } | rate() by (resource.service.name)'";
        let chart = in_tmux(width, "", query);
        assert!(chart.contains("38;5;33m"), "lines have colours: {chart}");
        let plain = without_colour(&chart);
        assert!(plain.contains("2026-01-01 UTC, step 10s"), "{plain}");
        let rows = plain.lines().filter(|line| line.contains(['│', '┤'])).count();
        assert_eq!(rows, 16, "{plain}");
        // The axis, an empty line, the heading, ten series and a note: no line was wrapped.
        let end = plain.lines().position(|line| line.starts_with("and 2 more: ")).unwrap();
        assert_eq!(end, 16 + 3 + 1 + 1 + 10, "{plain}");
        assert!(!in_tmux(width, "NO_COLOR=1 ", query).contains("38;5;"), "unless it is unwanted");

        let trace = in_tmux(width, "", &format!("trace -s sample: {FAILED_CHECKOUT}"));
        let plain = without_colour(&trace);
        let bars: Vec<&str> =
            plain.lines().filter(|line| line.contains('━') || line.contains('╸')).collect();
        assert_eq!(bars.len(), 25, "one line a span: {plain}");
        assert!(bars.iter().all(|line| line.trim_end().ends_with('s')), "{plain}");
    }
}

/// Runs the binary in a terminal of this width; returns the screen with its colours.
#[cfg(unix)]
fn in_tmux(width: u32, environment: &str, arguments: &str) -> String {
    let terminal = Terminal::start((width, 60), environment, arguments);
    terminal.wait_for_end();
    terminal.colours()
}

#[cfg(unix)]
fn without_colour(text: &str) -> String {
    regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(text, "").into_owned()
}

/// A process that does not outlive its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A copy of a folder of test data that may be damaged; removed when dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(original: &str, name: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("traceql-cli-{}-{n}", std::process::id()));
        copy(&root().join(original), &folder.join(name));
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// The `meta.json` of one of its blocks. The tenant index goes, so that it is read.
    fn meta(&self) -> PathBuf {
        let mut metas = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.file_name().and_then(|name| name.to_str()) {
                    _ if path.is_dir() => folders.push(path),
                    Some("meta.json") => metas.push(path),
                    Some("index.json.gz" | "index.pb.zst") => fs::remove_file(path).unwrap(),
                    _ => {}
                }
            }
        }
        metas.sort();
        metas.swap_remove(0)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn block_of(meta: &Path) -> &Path {
    Path::new(meta.parent().unwrap().file_name().unwrap())
}

/// An HTTP server that says one thing, or nothing at all.
struct Answering {
    port: u16,
    asked: std::sync::mpsc::Receiver<()>,
}

impl Answering {
    /// Answers everything with this status.
    fn start(status: &'static str) -> Self {
        Self::serve(Some(status))
    }

    /// Takes requests and never answers.
    fn never() -> Self {
        Self::serve(None)
    }

    fn serve(status: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, asked) = std::sync::mpsc::channel();
        // The thread ends with the process; connections that wait are kept open until then.
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut request = [0; 1024];
                let _length = connection.read(&mut request).unwrap_or(0);
                // The test may be over and nobody listening.
                let _told = tell.send(());
                match status {
                    Some(status) => {
                        let answer = format!(
                            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        );
                        drop(connection.write_all(answer.as_bytes()));
                    }
                    None => open.push(connection),
                }
            }
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/bucket/tenant", self.port)
    }

    fn wait_for_request(&self) {
        self.asked.recv_timeout(Duration::from_secs(30)).expect("the binary asks the server");
    }
}
