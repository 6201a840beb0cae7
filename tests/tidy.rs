//! House rules that a machine can check: file heads, sizes, forgotten test modules, and paths that
//! documents name. It must not know what any file means.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files are split by construct when they pass this many lines.
const MOST_LINES: usize = 700;

/// Files that are longer and wait to be split. This list only ever gets shorter.
const LONG_FILES: &[&str] = &[];

/// Files without a head that wait for one. This list only ever gets shorter.
const SILENT_FILES: &[&str] = &[
    "src/blocks/bucket/meta_tests.rs",
    "src/blocks/bucket/source_tests.rs",
    "src/blocks/bucket/store_tests.rs",
    "src/blocks/read/find_tests.rs",
    "src/blocks/verify/tests.rs",
    "src/blocks/write/otlp/tests.rs",
];

/// Folders that hold nothing written by hand.
const SKIPPED: &[&str] = &["target", ".git", "corpus", "artifacts", "snapshots", "node_modules"];

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder whose name ends so, relative to the root, sorted.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let path = entry.expect("the entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !SKIPPED.contains(&name) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path.strip_prefix(root()).expect("below the root").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file.
fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The modules a file declares by `mod name;`.
fn declared_modules(path: &Path) -> BTreeSet<String> {
    text(path)
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
        })
        .collect()
}

/// Holds the files that break a rule against those known to: no more of them, and no less, so that
/// what was mended stays mended.
#[track_caller]
fn check_debts(breaking: impl Iterator<Item = PathBuf>, known: &[&str], rule: &str) {
    let breaking: BTreeSet<PathBuf> = breaking.collect();
    let known: BTreeSet<PathBuf> = known.iter().map(PathBuf::from).collect();
    let new: Vec<&PathBuf> = breaking.difference(&known).collect();
    assert!(new.is_empty(), "{rule}: {new:#?}");
    let mended: Vec<&PathBuf> = known.difference(&breaking).collect();
    assert!(mended.is_empty(), "take what was mended off the list of tests/tidy.rs: {mended:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = files(root(), ".rs").into_iter().filter(|path| !text(path).starts_with("//!"));
    check_debts(silent, SILENT_FILES, "these files do not open with `//!`");
}

#[test]
fn no_file_is_too_long() {
    let is_long = |path: &PathBuf| text(path).lines().count() > MOST_LINES;
    let long = files(root(), ".rs").into_iter().filter(is_long);
    check_debts(long, LONG_FILES, "split by construct, these are longer than 700 lines");
}

/// The modules that lie directly in a folder: files, and folders with a `mod.rs`.
fn present_modules(folder: &str) -> BTreeSet<String> {
    fs::read_dir(root().join(folder))
        .expect("the folder can be listed")
        .map(|entry| entry.expect("the entry can be read").path())
        .filter(|path| {
            path.extension().is_some_and(|ending| ending == "rs") || path.join("mod.rs").exists()
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "main" && name != "mod")
        .collect()
}

/// Whether a test of some crate includes a file of `tests/support` by its path.
fn is_included(support: &str) -> bool {
    let include = format!("tests/support/{support}.rs\"]");
    files(&root().join("src"), ".rs").iter().any(|path| text(path).contains(&include))
}

#[test]
fn no_test_module_is_forgotten() {
    let in_tests = declared_modules(Path::new("tests/main.rs"));
    assert_eq!(present_modules("tests"), in_tests, "tests/main.rs lists other modules");
    let in_support = declared_modules(Path::new("tests/support/mod.rs"));
    let forgotten: Vec<String> = present_modules("tests/support")
        .into_iter()
        .filter(|name| !in_support.contains(name) && !is_included(name))
        .collect();
    assert!(forgotten.is_empty(), "nobody uses these files of tests/support: {forgotten:?}");
}

/// Paths in backticks that begin with a folder of this repository, or name a file at its top.
fn paths_named(document: &str) -> Vec<String> {
    const FOLDERS: &[&str] = &[
        "src/",
        "tests/",
        "grammar/",
        "queries/",
        "testdata/",
        "benches/",
        "fuzz/",
        "examples/",
        ".ci/",
    ];
    const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".ebnf"];
    let mut in_code_block = false;
    let mut found = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
        }
        if in_code_block {
            continue;
        }
        for word in line.split('`').skip(1).step_by(2) {
            // `file.rs::test` names a test in a file.
            let word = word.split("::").next().unwrap_or(word);
            // `<name>`, `*` and `{a,b}` stand for several paths, blanks for a command.
            let is_pattern = word.contains(['<', '*', '{', ' ', '$', '…']);
            let is_path = FOLDERS.iter().any(|folder| word.starts_with(folder));
            let is_file = word.starts_with(|first: char| first.is_ascii_uppercase())
                && ENDINGS.iter().any(|ending| word.ends_with(ending));
            if !is_pattern && (is_path || is_file) {
                found.push(word.trim_end_matches('/').to_owned());
            }
        }
    }
    found
}

#[test]
fn documents_name_paths_that_exist() {
    let mut missing = Vec::new();
    for document in files(root(), ".md") {
        let beside = document.parent().unwrap_or(Path::new("")).to_path_buf();
        for path in paths_named(&text(&document)) {
            if !root().join(&path).exists() && !root().join(&beside).join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "documents name what does not exist: {missing:#?}");
}

#[test]
fn paths_are_found_in_documents() {
    let document = "See `src/main.rs`, `ARCHITECTURE.md`, `src/<crate>/lib.rs` and `cargo test`.\n\
                    ```\n`src/not/looked/at.rs`\n```\nThen `grammar/`.";
    assert_eq!(paths_named(document), ["src/main.rs", "ARCHITECTURE.md", "grammar"]);
}
