//! `queries/`: each folder promises an outcome, and each file keeps it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Dialect, ErrorKind, Verdict, analyze, compile, parse};

/// One file of the corpus.
struct QueryFile {
    /// Relative to `queries/`, for messages.
    name: String,
    text: String,
}

impl QueryFile {
    /// The value of a header line `// key: value`.
    fn header(&self, key: &str) -> Option<&str> {
        let mut lines = self.text.lines().map_while(|line| line.strip_prefix("// "));
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }
}

/// The repository's folder of queries.
pub(super) fn queries() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../queries")
}

/// Every query file of a folder, sorted.
fn files(folder: &str) -> Vec<QueryFile> {
    let mut paths: Vec<PathBuf> = fs::read_dir(queries().join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "traceql"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    paths
        .into_iter()
        .map(|path| QueryFile {
            name: format!("{folder}/{}", path.file_stem().unwrap().to_string_lossy()),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

#[test]
fn valid_queries_are_accepted_by_the_dialects_they_name() {
    for file in ["select", "structural", "pipeline", "metrics"].into_iter().flat_map(files) {
        let name = &file.name;
        let typed = compile(&file.text, Dialect::Default)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(typed.metrics.is_some(), name.starts_with("metrics/"), "{name}");
        let is_extension = file.header("dialect") == Some("default");
        let in_tempo = compile(&file.text, Dialect::Tempo);
        assert_eq!(in_tempo.is_err(), is_extension, "{name}: {in_tempo:?}");
        if let Err(error) = in_tempo {
            assert!(error.message.contains("extension"), "{name}: {error}");
        }
    }
}

#[test]
fn valid_queries_read_back_from_their_canonical_text() {
    for file in ["select", "structural", "pipeline", "metrics"].into_iter().flat_map(files) {
        let query = parse(&file.text, Dialect::Default).unwrap();
        let text = query.to_string();
        assert_eq!(parse(&text, Dialect::Default).as_ref(), Ok(&query), "{}", file.name);
        assert_eq!(
            compile(&text, Dialect::Default),
            analyze(&query, Dialect::Default),
            "{}",
            file.name
        );
    }
}

#[test]
fn refused_queries_are_refused_as_their_folder_says() {
    for (folder, verdict, kind) in [
        ("invalid/parse", Verdict::ParseError, ErrorKind::Parse),
        ("invalid/analyze", Verdict::Invalid, ErrorKind::Invalid),
        ("unsupported", Verdict::Invalid, ErrorKind::Unsupported),
    ] {
        for file in files(folder) {
            let name = &file.name;
            for dialect in [Dialect::Default, Dialect::Tempo] {
                let error = compile(&file.text, dialect).expect_err(name);
                assert_eq!((error.verdict(), error.kind), (verdict, kind), "{name}: {error:?}");
                assert_eq!(file.header("error"), Some(error.message.as_str()), "{name}");
            }
        }
    }
}

#[test]
fn every_file_asks_its_question_first() {
    for folder in [
        "select",
        "structural",
        "pipeline",
        "metrics",
        "invalid/parse",
        "invalid/analyze",
        "unsupported",
    ] {
        for file in files(folder) {
            let first = file.text.lines().next().unwrap_or_default();
            let question = first.strip_prefix("// ").unwrap_or_default();
            assert!(question.ends_with(['.', '?']), "{}: {first}", file.name);
        }
    }
}
