//! Annotations as GitHub Actions takes them from a step's output: "Workflow commands for GitHub
//! Actions", `::error file={name},line={line},title={title}::{message}`.

use std::path::{Component, Path, PathBuf};

use super::super::{SuiteReport, TestReport};
use super::{text, troubles};

/// Where files lie as GitHub sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    /// The folder the repository was checked out to.
    pub(crate) root: Option<PathBuf>,
    /// The folder paths are relative to.
    pub(crate) current: PathBuf,
}

/// A line for each test that is bad.
pub(crate) fn annotations(suites: &[SuiteReport], workspace: &Workspace) -> String {
    let mut out = String::new();
    for suite in suites {
        let file = workspace.path(&suite.name);
        for test in suite.tests.iter().filter(|test| test.outcome.is_bad()) {
            out.push_str(&annotation(&file, test));
        }
    }
    out
}

fn annotation(file: &str, test: &TestReport) -> String {
    let message: Vec<String> = troubles(test).iter().map(text).collect();
    let place = match test.line {
        // A command stands in no file.
        0 => String::new(),
        line => format!("file={},line={line},", property(file)),
    };
    let (title, message) = (property(&test.name), data(&message.join("\n")));
    format!("::error {place}title={title}::{message}\n")
}

impl Workspace {
    /// The path within the repository; unchanged outside of it.
    fn path(&self, path: &str) -> String {
        let absolute = normal(&self.current.join(path));
        let within = self.root.as_ref().and_then(|root| absolute.strip_prefix(root).ok());
        let shown = within.map_or_else(|| path.to_owned(), |within| within.display().to_string());
        shown.replace('\\', "/")
    }
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value before the message.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::{Failure, TestOutcome};
    use super::*;

    #[test]
    fn commands_are_escaped_as_documented() {
        let test = TestReport {
            name: "p95: 100%, always".to_owned(),
            line: 7,
            outcome: TestOutcome::Failed(vec![Failure::new("50% off").detail("a\r\nb: c, d")]),
            elapsed: Duration::ZERO,
            attempts: 1,
            notes: Vec::new(),
        };
        assert_eq!(
            annotation("checks/a,b.yaml", &test),
            "::error file=checks/a%2Cb.yaml,line=7,title=p95%3A 100%25%2C always::50%25 off%0Aa%0D%0Ab: c, d\n"
        );
    }

    #[test]
    fn paths_are_those_of_the_repository() {
        let workspace = Workspace {
            root: Some(PathBuf::from("/work/repo")),
            current: PathBuf::from("/work/repo/service"),
        };
        assert_eq!(workspace.path("checks/a.yaml"), "service/checks/a.yaml");
        assert_eq!(workspace.path("../checks/./a.yaml"), "checks/a.yaml");
        assert_eq!(workspace.path("/tmp/a.yaml"), "/tmp/a.yaml");
        assert_eq!(Workspace::default().path("a.yaml"), "a.yaml");
    }
}
