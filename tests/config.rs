//! Settings from a file: who wins, what is shown, how mistakes in it are told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in helpers too")]

use std::fs;
use std::process::Output;

use crate::support::binary::{run_with_input, stderr, stdout, traceql};

const FILE: &str = r#"
profile = "dev"
limit = 2

[profiles.dev]
source = "sample:"
output = "csv"

[profiles.shop]
source = "testdata/blocks/shop"
tenant = "shop5"
s3_secret_access_key_env = "SHOP_SECRET"

[profiles.gone]
source = "nowhere"
"#;

/// A home with this file of settings in it.
fn home(file: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/traceql");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), file).unwrap();
    home
}

fn run(home: &tempfile::TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = traceql(arguments);
    command.env("HOME", home.path()).envs(environment.iter().copied());
    run_with_input(&mut command, b"")
}

#[test]
fn options_win_over_the_environment_and_that_over_the_profile() {
    let home = home(FILE);
    let query = "{ status = error }";
    let rows = |environment: &[(&str, &str)], more: &[&str]| {
        let output = run(&home, environment, &[&["query", query], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    // Two traces as CSV, the header before them.
    let csv = rows(&[], &["--spans-per-spanset", "1"]);
    assert!(csv.starts_with("trace_id,") && csv.lines().count() == 3, "{csv}");
    assert_eq!(rows(&[], &["--limit", "1", "-o", "ndjson"]).lines().count(), 1);
    let shop = rows(&[], &["--profile", "shop", "-o", "ndjson"]);
    assert_eq!(rows(&[("TRACEQL_PROFILE", "shop")], &["-o", "ndjson"]), shop);
    let elsewhere = [("TRACEQL_SOURCE", "sample:")];
    assert_ne!(rows(&elsewhere, &["--profile", "gone"]), "");
    // A limit is no reason to refuse metrics.
    let output = run(&home, &[], &["query", "{ } | rate()", "--instant"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // A suite says itself what it asks.
    let output = run(&home, &[], &["test", "--profile", "gone", "testdata/checks/passing.yaml"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let output = run(&home, &[], &["blocks", "list", "--profile", "shop", "-o", "ndjson"]);
    assert_eq!(stdout(&output).lines().count(), 2, "{}", stderr(&output));
}

#[test]
fn what_is_in_force_is_shown_with_who_says_so() {
    let home = home(FILE);
    let lines = |environment: &[(&str, &str)], more: &[&str]| {
        let output = run(&home, environment, &[&["config", "-o", "csv"], more].concat());
        (stdout(&output), stderr(&output))
    };
    let (out, err) = lines(&[("AWS_PROFILE", "me")], &[]);
    for line in
        ["source,sample:,profile dev", "limit,2,file", "s3_profile,,environment: AWS_PROFILE"]
    {
        assert!(out.lines().any(|there| there == line), "{line} in {out}");
    }
    assert!(err.contains("config.toml has 3 profiles: dev, shop, gone"), "{err}");
    let (out, err) = lines(&[], &["--profile", "shop"]);
    assert!(out.contains("tenant,shop5,profile shop"), "{out}");
    assert!(err.contains("s3_secret_access_key_env names SHOP_SECRET, which is not set"), "{err}");
    let (out, _) = lines(&[("SHOP_SECRET", "hunter2")], &["--profile", "shop"]);
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn mistakes_name_file_line_and_remedy() {
    let check = |file: &str, arguments: &[&str], parts: &[&str]| {
        let output = run(&home(file), &[], arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    };
    let query = ["query", "{ }"];
    check("sorce = \"x\"\n", &query, &["config.toml:1:1", "did you mean `source`?"]);
    check("\nlimit = \"few\"\n", &query, &["config.toml:2:9", "is no whole number"]);
    check(FILE, &["query", "--profile", "shp", "{ }"], &["\"shp\"", "did you mean shop?"]);
    check(FILE, &["query", "--config", "nowhere.toml", "{ }"], &["cannot read nowhere.toml"]);
    check("azure_key = \"hunter2\"", &query, &["azure_key_env = \"NAME\""]);
    // Help is there whatever the file says.
    let output = run(&home("broken"), &[], &["query", "--help"]);
    assert!(output.status.success());
}
