//! `traceql lint` against the real binary: queries of every kind of file, what is said about them, in
//! which form, and how it ends.

use std::fs;

use crate::support::binary::{check_snapshot, run, stderr, stdout, transcript};

const FOLDER: &str = "testdata/lint";

#[test]
fn every_kind_of_file_is_checked() {
    let mut text = String::new();
    for arguments in [
        &["lint", FOLDER][..],
        &["lint", FOLDER, "--source", "sample:"],
        &["lint", "testdata/lint/fine.traceql", "testdata/lint/extended.traceql"],
        &["lint", "testdata/lint/extended.traceql", "--dialect", "tempo"],
        &["lint", "testdata/lint/other.json"],
        &["lint", "README.md"],
        &["lint", "nowhere"],
        &["lint", "testdata/golden"],
    ] {
        text.push_str(&transcript(arguments, &run(arguments)));
    }
    check_snapshot("lint/text", &text);
}

#[test]
fn it_ends_as_asked() {
    let code = |arguments: &[&str]| {
        let output = run(&[&["lint"], arguments].concat());
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    #[track_caller]
    fn check((code, text): (Option<i32>, String), expect: i32) {
        assert_eq!(code, Some(expect), "{text}");
    }
    let slow = "testdata/lint/slow.traceql";
    check(code(&["testdata/lint/fine.traceql"]), 0);
    check(code(&[slow]), 0);
    check(code(&[slow, "--deny-warnings"]), 1);
    check(code(&[FOLDER]), 1);
    check(code(&[slow, "--source", "nowhere"]), 3);
    check(code(&["queries/select", "queries/pipeline", "queries/metrics"]), 0);
    check(code(&["queries/invalid"]), 1);
}

#[test]
fn sarif_says_the_same_at_the_same_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.sarif");
    let to_file = run(&["lint", FOLDER, &format!("--sarif={}", file.display())]);
    let printed = run(&["lint", FOLDER, "--sarif"]);
    assert_eq!(printed.status.code(), Some(1), "{}", stderr(&printed));
    assert_eq!(fs::read_to_string(file).unwrap(), stdout(&printed));
    assert_eq!(stdout(&to_file), stdout(&run(&["lint", FOLDER])));

    let sarif: serde_json::Value = serde_json::from_str(&stdout(&printed)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    let mut lines = String::new();
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        let number = |name: &str| place["region"][name].as_u64().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        lines.push_str(&format!(
            "{}:{}:{}-{}:{} {} {} {}\n",
            text(&place["artifactLocation"]["uri"]),
            number("startLine"),
            number("startColumn"),
            number("endLine"),
            number("endColumn"),
            text(&result["level"]),
            text(&result["ruleId"]),
            text(&result["message"]["text"]),
        ));
    }
    check_snapshot("lint/sarif", &lines);
}
