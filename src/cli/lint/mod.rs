//! Checks queries in files without asking them: `find` looks for the queries, `rules` judges one,
//! `report` tells. Nothing here knows a suite's or a dashboard's other contents.

pub(crate) mod find;
mod grafana;
pub(crate) mod report;
pub(crate) mod rules;

use traceql_language::TextRange;

use crate::document::{File, Node, locate};

/// A query in a file.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its text; variables of Grafana are replaced by as many letters.
    pub(crate) text: String,
    /// What it belongs to: a test, a panel. Empty if the file is the query.
    pub(crate) owner: String,
    /// What wrote it.
    pub(crate) origin: Origin,
    /// Where it stands; `None` if the file is the query.
    node: Option<Node>,
    /// Where a variable stands that is no part of a text.
    pub(crate) variable: Option<TextRange>,
    /// Whether letters stand in place of variables.
    pub(crate) is_masked: bool,
}

/// What wrote a query, which says who will be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A `.traceql` file; `extended` if its header says that it uses our dialect.
    Query {
        /// Tempo is not to be asked.
        extended: bool,
    },
    /// A suite, which we ask ourselves.
    Suite,
    /// A dashboard or an alert: Grafana asks Tempo.
    Grafana,
}

/// Something to say about a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which rule says it.
    pub(crate) rule: Rule,
    /// How much it weighs.
    pub(crate) level: Level,
    /// Where in the query.
    pub(crate) range: TextRange,
    /// One clause.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hints: Vec<String>,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Worth knowing.
    Note,
    /// Probably not meant.
    Warning,
    /// It will not work.
    Error,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The query is refused.
    Syntax,
    /// Tempo would refuse it.
    Tempo,
    /// No span has the attribute.
    UnknownAttribute,
    /// An attribute without scope.
    Unscoped,
    /// Nothing limits what is read.
    FullScan,
    /// It can match nothing, or not what it seems to.
    Doubtful,
    /// A variable stands where the query cannot be checked.
    Template,
}

impl Rule {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Syntax,
        Self::Tempo,
        Self::UnknownAttribute,
        Self::Unscoped,
        Self::FullScan,
        Self::Doubtful,
        Self::Template,
    ];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Tempo => "tempo",
            Self::UnknownAttribute => "unknown-attribute",
            Self::Unscoped => "unscoped",
            Self::FullScan => "full-scan",
            Self::Doubtful => "doubtful",
            Self::Template => "template",
        }
    }

    /// What it looks for, one sentence.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Syntax => "The query is no TraceQL, or breaks a rule of the language.",
            Self::Tempo => "The query uses what Grafana's Tempo refuses.",
            Self::UnknownAttribute => "No span of the source has the attribute.",
            Self::Unscoped => "An attribute without scope is looked for in two places.",
            Self::FullScan => "No condition limits which spans are read.",
            Self::Doubtful => "The query can match nothing, or not what it seems to.",
            Self::Template => "A variable of Grafana stands where the query cannot be checked.",
        }
    }
}

impl Level {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Found {
    /// A range of the query as a range of the file.
    pub(crate) fn place(&self, file: &File, range: TextRange) -> TextRange {
        match &self.node {
            Some(node) => locate(&file.text, node, range),
            None => range,
        }
    }
}
