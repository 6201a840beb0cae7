//! Findings as text for people, and as SARIF 2.1.0 for whoever shows them beside the code.

use serde::Serialize;

use super::{Finding, Found, Level, Rule};
use crate::diagnostic::{Page, Remark, render_remark};
use crate::document::File;
use crate::terminal::{ERROR, NOTE, WARNING};
use crate::units::plural;

/// A finding with all that it is about.
#[derive(Debug)]
pub(crate) struct Reported<'a> {
    /// The file.
    pub(crate) file: &'a File,
    /// The query.
    pub(crate) found: &'a Found,
    /// What there is to say.
    pub(crate) finding: Finding,
}

/// A finding, drawn under its place.
pub(crate) fn text(reported: &Reported<'_>, page: Page) -> String {
    let Reported { file, found, finding } = reported;
    let style = match finding.level {
        Level::Error => ERROR,
        Level::Warning => WARNING,
        Level::Note => NOTE,
    };
    let message = match found.owner.is_empty() {
        true => finding.message.clone(),
        false => format!("{} (in {:?})", finding.message, found.owner),
    };
    let remark = Remark {
        label: &format!("{}[{}]", finding.level.name(), finding.rule.name()),
        style,
        message: &message,
        name: &file.name,
        text: &file.text,
        range: found.place(file, finding.range),
        hints: &finding.hints,
    };
    render_remark(&remark, page) + "\n"
}

/// The last line.
pub(crate) fn end(reports: &[Reported<'_>], n_queries: usize, n_files: usize) -> String {
    let count = |level| reports.iter().filter(|r| r.finding.level == level).count() as u64;
    let checked = format!("{} in {}", queries(n_queries as u64), plural(n_files as u64, "file"));
    let counts: Vec<String> = [Level::Error, Level::Warning, Level::Note]
        .into_iter()
        .filter(|level| count(*level) > 0)
        .map(|level| plural(count(level), level.name()))
        .collect();
    match counts.is_empty() {
        true => format!("{checked}: nothing to say\n"),
        false => format!("{checked}: {}\n", counts.join(", ")),
    }
}

fn queries(n: u64) -> String {
    if n == 1 { "1 query".to_owned() } else { format!("{n} queries") }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sarif<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    version: &'static str,
    information_uri: &'static str,
    rules: Vec<SarifRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifRule {
    id: &'static str,
    short_description: Text<&'static str>,
}

#[derive(Serialize)]
struct Text<T> {
    text: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Text<String>,
    locations: [Location<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    logical_locations: Vec<LogicalLocation<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
struct LogicalLocation<'a> {
    name: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
}

/// All findings as one SARIF document.
pub(crate) fn sarif(reports: &[Reported<'_>]) -> serde_json::Result<String> {
    let document = Sarif {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "traceql lint",
                    version: env!("CARGO_PKG_VERSION"),
                    information_uri: env!("CARGO_PKG_REPOSITORY"),
                    rules: Rule::ALL.into_iter().map(sarif_rule).collect(),
                },
            },
            column_kind: "unicodeCodePoints",
            results: reports.iter().map(result).collect(),
        }],
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

fn sarif_rule(rule: Rule) -> SarifRule {
    SarifRule { id: rule.name(), short_description: Text { text: rule.description() } }
}

fn result<'a>(reported: &'a Reported<'_>) -> SarifResult<'a> {
    let Reported { file, found, finding } = reported;
    let range = found.place(file, finding.range);
    let (start_line, start_column) = position(&file.text, range.start as usize);
    let (end_line, end_column) = position(&file.text, range.end as usize);
    let mut message = finding.message.clone();
    for hint in &finding.hints {
        message.push_str("; ");
        message.push_str(hint);
    }
    let owner = Some(found.owner.as_str()).filter(|owner| !owner.is_empty());
    SarifResult {
        rule_id: finding.rule.name(),
        rule_index: Rule::ALL.iter().position(|rule| *rule == finding.rule).unwrap_or(0),
        level: finding.level.name(),
        message: Text { text: message },
        locations: [Location {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation { uri: uri(&file.name) },
                region: Region { start_line, start_column, end_line, end_column },
            },
            logical_locations: owner.into_iter().map(|name| LogicalLocation { name }).collect(),
        }],
    }
}

/// Line and column, both from one, the column in code points.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A path as a relative reference.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.replace('\\', "/").trim_start_matches("./").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_code_points() {
        assert_eq!(position("日本x\ny", 6), (1, 3));
        assert_eq!(position("a\nbc", 3), (2, 2));
        assert_eq!(uri("./a b/ü.json"), "a%20b/%C3%BC.json");
    }
}
