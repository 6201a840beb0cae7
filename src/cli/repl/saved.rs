//! Queries kept by name: a folder of `.traceql` files, as a repository of queries is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

const ENDING: &str = "traceql";

/// Names are file names: nothing in them leads out of the folder.
fn path(folder: &Path, name: &str) -> Result<PathBuf> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(Error::usage(format!("{name:?} is no name to keep a query by"))
            .hint("letters, digits, - and _"));
    }
    Ok(folder.join(format!("{name}.{ENDING}")))
}

pub(super) fn save(folder: &Path, name: &str, query: &str) -> Result<()> {
    let path = path(folder, name)?;
    let written =
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, format!("{}\n", query.trim())));
    written.map_err(|error| {
        Error::new(Kind::Failed, format!("cannot write {}: {error}", path.display()))
    })
}

pub(super) fn read(folder: &Path, name: &str) -> Result<String> {
    let path = path(folder, name)?;
    fs::read_to_string(&path).map_err(|_| {
        let error = Error::usage(format!("no query is kept as {name:?}"));
        let names: Vec<String> =
            list(folder).unwrap_or_default().into_iter().map(|(name, _)| name).collect();
        match names.is_empty() {
            true => error.hint("\\save NAME keeps the last query"),
            false => error.hint(format!("kept are: {}", names.join(", "))),
        }
    })
}

/// Names and texts, by name; none if nothing was ever kept.
pub(super) fn list(folder: &Path) -> Result<Vec<(String, String)>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut queries: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_query = path.extension().is_some_and(|ending| ending == ENDING);
            let name = path.file_stem()?.to_str()?.to_owned();
            is_query.then(|| Some((name, fs::read_to_string(&path).ok()?))).flatten()
        })
        .collect();
    queries.sort();
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_out_of_the_folder() {
        let folder = Path::new("/kept");
        for bad in ["", "..", "../x", "a/b", ".hidden", "a b", "a\\b"] {
            assert_eq!(path(folder, bad).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
        assert_eq!(
            path(folder, "slow-checkout").unwrap(),
            Path::new("/kept/slow-checkout.traceql")
        );
    }
}
