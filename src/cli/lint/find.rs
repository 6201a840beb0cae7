//! Looks for queries: in the files named, and in the folders named, whatever lies in them.

use std::path::{Path, PathBuf};

use super::grafana;
use super::{Found, Origin};
use crate::document::{Content, File, Node};
use crate::error::{Error, Result};

/// Folders that are nobody's own work.
const SKIPPED: [&str; 3] = ["node_modules", "target", "vendor"];
/// Deepest folder looked into: links may lead in circles.
const MAX_DEPTH: usize = 64;

/// Files that hold queries, with their queries.
///
/// # Errors
/// Paths that do not exist; files that were named and are nothing that holds queries.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<(File, Vec<Found>)>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut files = Vec::new();
            list(path, 0, &mut files)?;
            for path in files {
                // Whatever else lies there is not ours to judge, broken files included.
                if let Ok(file) = File::read(&path)
                    && let Ok(Some(queries)) = queries(&file)
                {
                    found.push((file, queries));
                }
            }
            continue;
        }
        let file = File::read(path)?;
        let queries = queries(&file)?.ok_or_else(|| {
            Error::usage(format!("{} holds no query that could be checked", file.name)).hint(
                "queries are looked for in .traceql files, in suites (.yaml) and in dashboards and \
                 alerts of Grafana (.json)",
            )
        })?;
        found.push((file, queries));
    }
    if found.iter().all(|(_, queries)| queries.is_empty()) {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::usage(format!("no query was found in {}", paths.join(", "))));
    }
    Ok(found)
}

/// Files below a folder that may hold queries, in order.
fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let refuse =
        |error: std::io::Error| Error::usage(format!("cannot list {}: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(refuse)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(refuse)?;
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_hidden = name.starts_with('.');
        if path.is_dir() {
            if !is_hidden && !SKIPPED.contains(&name) && depth < MAX_DEPTH {
                list(&path, depth + 1, files)?;
            }
        } else if !is_hidden && Kind::of(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

/// What a file is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Query,
    Yaml,
    Json,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "traceql" => Some(Self::Query),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The queries of a file; `None` if it is nothing that holds any.
fn queries(file: &File) -> Result<Option<Vec<Found>>> {
    Ok(match Kind::of(&file.path) {
        Some(Kind::Query) => Some(vec![whole(file)]),
        Some(Kind::Yaml) => of_suite(&file.yaml()?),
        Some(Kind::Json) => {
            let found = grafana::queries(&file.json()?);
            Some(found).filter(|found| !found.is_empty())
        }
        None => None,
    })
}

/// A file that is a query.
fn whole(file: &File) -> Found {
    let headers = file.text.lines().map_while(|line| line.trim().strip_prefix("//"));
    let extended = headers
        .filter_map(|header| header.trim().strip_prefix("dialect:"))
        .any(|dialect| dialect.trim() == "default");
    Found {
        text: file.text.clone(),
        owner: String::new(),
        origin: Origin::Query { extended },
        node: None,
        variable: None,
        is_masked: false,
    }
}

/// The queries of a suite.
fn of_suite(document: &Node) -> Option<Vec<Found>> {
    let Content::List(tests) = &document.get("tests")?.content else { return None };
    let found = |test: &Node| {
        let query = test.get("query")?;
        Some(Found {
            text: query.text()?.to_owned(),
            owner: test.get("name").and_then(Node::text).unwrap_or_default().to_owned(),
            origin: Origin::Suite,
            node: Some(query.clone()),
            variable: None,
            is_masked: false,
        })
    };
    Some(tests.iter().filter_map(found).collect())
}
