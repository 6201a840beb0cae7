//! The prompt in a real terminal: typing, completion from the data, mistakes, cancelling, paging,
//! history after a restart, and every command with what it shows at two widths.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::binary::{check_snapshot, run_with_input, stderr, stdout, traceql};
use crate::support::terminal::{Home, Terminal, is_there};

const PROMPT: &str = "traceql>";

/// A prompt on the built-in data that has come up.
fn prompt(size: (u32, u32), home: &Home, environment: &str) -> Terminal {
    let environment = format!("{} {environment}", home.environment());
    let terminal = Terminal::start(size, &environment, "repl --source sample:");
    terminal.wait("prompt", at_prompt);
    terminal
}

/// The last line is a prompt with nothing behind it.
fn at_prompt(screen: &str) -> bool {
    screen.lines().last() == Some(PROMPT)
}

/// Types a statement on an empty screen and returns what the screen then shows.
fn ask(terminal: &Terminal, statement: &str) -> String {
    terminal.press("C-l");
    terminal.wait("empty screen", |screen| screen == PROMPT);
    terminal.type_text(statement);
    terminal.press("Enter");
    // The prompt before the statement is not the one after it.
    let screen =
        terminal.wait("answer", |screen| at_prompt(screen) && screen.matches(PROMPT).count() > 1);
    screen.strip_suffix(PROMPT).expect("it ends with a prompt").to_owned()
}

#[test]
fn every_command_shows_what_it_says() {
    if !is_there("repl::every_command_shows_what_it_says") {
        return;
    }
    for width in [80, 160] {
        let home = Home::new();
        let editor = home.path().join("editor");
        // An editor that asks for less.
        std::fs::write(
            &editor,
            "sed -i 's/status = error/status = error \\&\\& kind = client/' \"$1\"\n",
        )
        .unwrap();
        let terminal = prompt((width, 120), &home, &format!("EDITOR='sh {}'", editor.display()));
        let mut transcript = String::new();
        for statement in [
            "\\timing",
            "\\?",
            "\\source",
            "\\source sample:",
            "\\tenant",
            "\\tenant nobody",
            "\\limit 3",
            "{ status = error }",
            "\\open 2",
            "\\open 9",
            "\\last csv",
            "\\x",
            "\\x",
            "\\explain",
            "\\values span.http.request.method",
            "\\tags resource",
            "\\tags span { resource.service.name = \"payment\" }",
            "\\blocks",
            "\\range 2026-01-01T00:30:00Z 2026-01-01T00:40:00Z",
            "{ } | count() > 15",
            "\\range",
            "\\since soon",
            "\\step 10m",
            "{ kind = server } | rate() by (resource.service.name)",
            "\\o table",
            "{ kind = server } | rate() by (resource.service.name)",
            "\\o nonsense",
            "\\o",
            "{ status = error && resource.service.name = \"payment\" }",
            "SELECT service_name, count(*) AS n FROM spans GROUP BY 1 ORDER BY 2 DESC LIMIT 3;",
            "\\sql SELECT nme FROM spans",
            "{ status = error && resource.service.name = \"payment\" } | count() > 2",
            "\\e",
            "\\save slow { duration > 1s }",
            "\\save ../out",
            "\\run",
            "\\run slow",
            "\\run missing",
            "\\set",
            "\\set dialect tempo",
            "\\set spans many",
            "\\sett",
            "\\nothing",
            "\\set dialect default",
            "\\i queries/pipeline/average.traceql",
            "\\i nowhere",
        ] {
            writeln!(transcript, "{}\n", ask(&terminal, statement)).unwrap();
        }
        check_snapshot(&format!("repl/commands-{width}"), &without_noise(&transcript));
        terminal.type_text("\\q");
        terminal.press("Enter");
        terminal.wait_for_end();
    }
}

/// Without what differs from run to run.
fn without_noise(text: &str) -> String {
    let threads = regex::Regex::new(r"(threads +)\d+").expect("a pattern");
    let partitions = regex::Regex::new(r"partitions=\d+").expect("a pattern");
    let text = threads.replace_all(text, "${1}<n>");
    partitions.replace_all(&text, "partitions=<n>").into_owned()
}

#[test]
fn names_and_values_are_completed_from_the_data() {
    if !is_there("repl::names_and_values_are_completed_from_the_data") {
        return;
    }
    let home = Home::new();
    let terminal = prompt((100, 30), &home, "");
    // Reading them takes a moment the first time; a second Tab is what a person does.
    let tab_until = |wanted: &str| {
        terminal.wait(wanted, |screen| {
            let there = screen.contains(wanted);
            if !there {
                terminal.press("Tab");
                std::thread::sleep(Duration::from_millis(250));
            }
            there
        })
    };
    terminal.type_text("{ resource.service.na");
    tab_until("{ resource.service.name");
    terminal.type_text(" = \"check");
    tab_until("{ resource.service.name = \"checkout\"");
    // Values are those of spans that fit what is typed before.
    terminal.type_text(" && status = er");
    tab_until("&& status = error");
    terminal.type_text(" && name = ");
    let screen = tab_until("\"shop.Payment/Charge\"");
    assert!(!screen.contains("pageload"), "checkout has no such span: {screen}");
    terminal.press("C-u");
    terminal.type_text("{ } | quant");
    tab_until("{ } | quantile_over_time");
    terminal.press("C-u");
    terminal.type_text("\\wat");
    tab_until("\\watch");
}

#[test]
fn a_mistake_is_drawn_under_the_query_and_brackets_keep_a_line_open() {
    if !is_there("repl::a_mistake_is_drawn_under_the_query_and_brackets_keep_a_line_open") {
        return;
    }
    let home = Home::new();
    let terminal = prompt((80, 40), &home, "");
    let screen = ask(&terminal, "{ staus = error }");
    assert!(
        screen.contains("1 | { staus = error }\n  |   ^^^^^\nhint: did you mean `status`?"),
        "{screen}"
    );
    terminal.press("C-l");
    terminal.type_text("{ status = error");
    terminal.press("Enter");
    terminal.type_text("} | count() > 7 |");
    terminal.press("Enter");
    terminal.type_text("select(name)");
    terminal.press("Enter");
    let screen = terminal.wait("answer", |screen| at_prompt(screen) && screen.contains("DURATION"));
    assert!(screen.contains("frontend: POST /cart/checkout"), "{screen}");
    // Colours while typing: the attribute in cyan, the text in green.
    terminal.press("C-l");
    terminal.type_text("{ span.a = \"b\" }");
    terminal.wait_for("\"b\" }");
    let colours = terminal.colours();
    assert!(
        colours.contains("\u{1b}[36mspan.a") && colours.contains("\u{1b}[32m\"b\""),
        "{colours:?}"
    );
}

#[test]
fn ctrl_c_ends_a_query_and_not_the_program() {
    if !is_there("repl::ctrl_c_ends_a_query_and_not_the_program") {
        return;
    }
    let home = Home::new();
    let terminal = prompt((100, 40), &home, "");
    // A source that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tempo/single-tenant", silent.local_addr().unwrap());
    terminal.type_text(&format!("\\source {url}"));
    terminal.press("Enter");
    silent.set_nonblocking(true).unwrap();
    let mut connection = None;
    terminal.wait("connection", |_| {
        connection = connection.take().or_else(|| silent.accept().ok());
        connection.is_some()
    });
    terminal.press("C-c");
    // Of a terminal on a machine that does much else a key has been lost; whoever sits there presses it
    // again.
    let mut pressed = Instant::now();
    terminal.wait("prompt", |screen| {
        if pressed.elapsed() > Duration::from_secs(8) {
            terminal.press("C-c");
            pressed = Instant::now();
        }
        at_prompt(screen) && screen.contains("error: interrupted")
    });
    // The source is the one it was.
    let screen = ask(&terminal, "\\source");
    assert!(screen.contains("source: sample:"), "{screen}");
    terminal.type_text("{ status = error } | count() > 7");
    terminal.press("Enter");
    terminal.wait("answer", |screen| at_prompt(screen) && screen.contains("DURATION"));
    terminal.type_text("\\watch 0.2");
    terminal.press("Enter");
    terminal.wait("two answers", |screen| screen.matches("Ctrl-C stops").count() >= 2);
    terminal.press("C-c");
    terminal.wait("prompt", at_prompt);
    // At the prompt it gives up the line.
    terminal.press("C-l");
    terminal.type_text("{ half a line");
    terminal.wait_for("{ half a line");
    terminal.press("C-c");
    terminal.wait("new prompt", |s| at_prompt(s) && s.matches(PROMPT).count() > 1);
    terminal.press("C-d");
    terminal.wait_for_end();
}

#[test]
fn long_answers_are_paged() {
    if !is_there("repl::long_answers_are_paged") {
        return;
    }
    let home = Home::new();
    let terminal = prompt((100, 20), &home, "PAGER=no-such-pager");
    terminal.type_text("{ }");
    terminal.press("Enter");
    terminal.wait("answer", |screen| at_prompt(screen) && screen.contains("frontend"));
    let terminal = prompt((100, 20), &home, "PAGER='sh -c \"head -3; echo paged\"'");
    terminal.type_text("{ }");
    terminal.press("Enter");
    terminal.wait("pager", |screen| screen.contains("paged") && at_prompt(screen));
    let screen = ask(&terminal, "{ } | count() > 200");
    assert!(!screen.contains("paged"), "what fits is printed: {screen}");
    ask(&terminal, "\\set pager off");
    terminal.type_text("{ }");
    terminal.press("Enter");
    let screen = terminal.wait("answer", |screen| at_prompt(screen) && screen.contains("frontend"));
    assert!(!screen.contains("paged"), "{screen}");
}

#[test]
fn history_outlives_the_program() {
    if !is_there("repl::history_outlives_the_program") {
        return;
    }
    let home = Home::new();
    let terminal = prompt((100, 30), &home, "");
    ask(&terminal, "{ status = error } | count() > 7");
    ask(&terminal, "{ name = \"GET /cart\" } | count() > 90");
    terminal.press("C-d");
    terminal.wait_for_end();
    let terminal = prompt((100, 30), &home, "");
    terminal.press("Up");
    terminal.wait_for("traceql> { name = \"GET /cart\" } | count() > 90");
    terminal.press("C-u");
    terminal.press("C-r");
    terminal.type_text("status");
    terminal.wait_for("{ status = error } | count() > 7");
    // What begins as something typed before is offered.
    terminal.press("C-c");
    terminal.wait("prompt", at_prompt);
    terminal.type_text("{ sta");
    terminal.wait_for("{ status = error } | count() > 7");
}

#[test]
fn a_startup_file_runs_and_its_mistakes_are_told() {
    if !is_there("repl::a_startup_file_runs_and_its_mistakes_are_told") {
        return;
    }
    let home = Home::new();
    let folder = home.path().join(".config/traceql");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("startup.traceql"), "\\limit 2\n\\nothing\n").unwrap();
    let terminal = prompt((100, 30), &home, "");
    let screen = terminal.wait_for("there is no command \\nothing");
    assert!(screen.contains("limit: 2 traces") && screen.contains("startup.traceql"), "{screen}");
}

#[test]
fn statements_can_come_from_standard_input() {
    let input = "{ status = error } | count() > 7\n\\limit 1\n{\n  kind = client\n}\n";
    let output = run_with_input(&mut traceql(&["repl", "--source", "sample:"]), input.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert!(
        lines.len() > 2 && lines.iter().all(|line| line.starts_with("{\"traceID\":")),
        "{lines:?}"
    );
    let output = run_with_input(&mut traceql(&["repl", "--source", "sample:"]), b"{ } }\n{ }\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("note: in standard input"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "", "nothing runs after a mistake");
    let output = run_with_input(&mut traceql(&[]), b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("traceql --help"), "{}", stderr(&output));
}

#[test]
fn answers_of_both_languages_go_to_a_file_and_back_to_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answers.csv");
    let input = format!(
        "\\o {}\n{{ status = error }} | count() > 7\nSELECT 7 AS seven;\n\\o\nSELECT 8 AS eight;\n",
        file.display()
    );
    let output = run_with_input(&mut traceql(&["repl", "--source", "sample:"]), input.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "{\"eight\":8}\n");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("trace_id,") && written.ends_with("\nseven\n7\n"), "{written}");
}

#[test]
fn a_profile_brings_its_source_and_settings() {
    let home = Home::new();
    let folder = home.path().join(".config/traceql");
    std::fs::create_dir_all(&folder).unwrap();
    let settings =
        "[profiles.shop]\nsource = \"sample:\"\nlimit = 1\n[profiles.gone]\nsource = \"nowhere\"\n";
    std::fs::write(folder.join("config.toml"), settings).unwrap();
    let run = |input: &str| {
        let mut command = traceql(&["repl"]);
        command.env("HOME", home.path());
        run_with_input(&mut command, input.as_bytes())
    };
    let output = run("\\profile shop\n{ status = error }\n\\profile\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("profile: shop\nthere are: shop, gone\n"), "{said}");
    // One that cannot be used changes nothing.
    let output = run("\\profile gone\n");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn of_a_source_with_several_tenants_one_is_chosen_at_the_prompt() {
    let typed = |lines: &str| run_with_input(&mut traceql(&["repl"]), lines.as_bytes());
    let source = "\\source testdata/blocks/fixtures/vParquet5\n";
    let chosen = typed(&format!("{source}\\tenant synthetic\n{{ status = error }}\nquit\n"));
    let told = stderr(&chosen);
    assert!(chosen.status.success(), "{told}");
    let choice =
        "tenants synthetic, synthetic-compaction, synthetic-defaults; choose one with \\tenant";
    assert!(told.contains(choice), "{told}");
    assert!(stdout(&chosen).contains("traceID"), "{told}");
    let none = typed(&format!("{source}{{ status = error }}\n"));
    assert_eq!(none.status.code(), Some(3));
    let told = stderr(&none);
    assert!(told.contains("choose one with \\tenant") && !told.contains("--tenant"), "{told}");
}
