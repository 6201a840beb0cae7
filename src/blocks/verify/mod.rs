//! What `blocks verify` checks of one block: the rules that a foreign writer must obey
//! (`blocks.md` 0), trace-level and computed columns (4.8), nested-set numbers (4.9), checksums.
//! Everything found is data; nothing is repaired, and a broken part does not end the check of the
//! others.

mod objects;
mod pages;
mod rows;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::bucket::Block;
use crate::error::{Error, Result};
use crate::model::TraceId;
use crate::read::open::{BlockCache, OpenBlock, ReadContext};
use crate::read::rows::RowReader;

/// Findings kept of one rule; of a block written by a broken writer every row may break it.
const MAX_FINDINGS_OF_A_RULE: u64 = 100;

/// What was found to be wrong with a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, object by object and then row by row.
    pub findings: Vec<Finding>,
    /// How many more findings there were of a rule than are listed.
    pub omitted: BTreeMap<Rule, u64>,
    /// Rows (traces) that were checked.
    pub row_count: u64,
    /// Spans that were checked.
    pub span_count: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// URL of the object.
    pub object: String,
    /// Row of the file, if the finding is about one.
    pub row: Option<u64>,
    /// Id of the trace in that row.
    pub trace: Option<TraceId>,
    /// What the rule demands.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Readers get by, or only some features suffer.
    Warning,
    /// A reader fails or answers wrongly.
    Error,
}

/// A rule of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The file can be opened and decoded at all.
    Readable,
    /// Leaves in the order and nesting of the format version (rules 1 and 2).
    Leaves,
    /// Dictionaries only where allowed and for all pages of a chunk, booleans PLAIN (3 to 5).
    Encoding,
    /// Page bytes agree with their checksum.
    Checksum,
    /// Rows ascend by trace id, one per id, and so do row groups (6).
    RowOrder,
    /// Statistics of trace ids hold what the rows hold.
    Statistics,
    /// `size` and `footerSize` are those of the file (7).
    FileSize,
    /// `totalRecords` is the number of row groups (8).
    RowGroupCount,
    /// `totalObjects` is the number of rows (9).
    RowCount,
    /// All bloom shards are there and know every trace (10).
    Bloom,
    /// `replicationFactor` is 1 (11).
    ReplicationFactor,
    /// Id, tenant and times in `meta.json` make sense.
    Meta,
    /// `index` names the last id of every row group (3).
    RowGroupIndex,
    /// Trace-level columns follow from the spans (4.8).
    TraceColumns,
    /// `ServiceStats` follows from the spans (4.8).
    ServiceStats,
    /// Rounded starts and span counts follow from the spans (4.8).
    ComputedColumns,
    /// Nested-set numbers follow from the parent ids (4.9).
    NestedSet,
    /// Child counts follow from the parent ids (4.9).
    ChildCount,
}

impl Rule {
    /// Its name, for people and scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Readable => "readable",
            Self::Leaves => "leaves",
            Self::Encoding => "encoding",
            Self::Checksum => "checksum",
            Self::RowOrder => "row-order",
            Self::Statistics => "statistics",
            Self::FileSize => "file-size",
            Self::RowGroupCount => "row-group-count",
            Self::RowCount => "row-count",
            Self::Bloom => "bloom",
            Self::ReplicationFactor => "replication-factor",
            Self::Meta => "meta",
            Self::RowGroupIndex => "row-group-index",
            Self::TraceColumns => "trace-columns",
            Self::ServiceStats => "service-stats",
            Self::ComputedColumns => "computed-columns",
            Self::NestedSet => "nested-set",
            Self::ChildCount => "child-count",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line: `error nested-set: <object> row 3 trace 01…: expected …, found …`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity} {}: {}", self.rule, self.object)?;
        if let Some(row) = self.row {
            write!(f, " row {row}")?;
        }
        if let Some(trace) = self.trace {
            write!(f, " trace {trace}")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

/// Checks everything about one block; reads all of it.
///
/// # Errors
/// Where the store fails. What is wrong with the block's own bytes is in the report.
pub async fn verify_block(block: &Block, context: &ReadContext) -> Result<Report> {
    let mut findings = Findings::new(block);
    // A cache of its own: the footer is read again although it may be known, and by the file's true
    // size although `meta.json` may state another.
    let context = ReadContext {
        cache: Arc::new(BlockCache::new(0)),
        checksums: false,
        shared: Arc::default(),
        ..context.clone()
    };
    let block = objects::check_file_size(block, &mut findings).await?;
    objects::check_meta(&block, &mut findings);
    let open = match OpenBlock::open(&block, &context).await {
        Ok(open) => open,
        Err(error) => {
            findings.add_error(error)?;
            return Ok(findings.report);
        }
    };
    objects::check_counts(&open, &mut findings);
    let leaves_fit = pages::check_leaves(&open, &mut findings);
    let mut ids = Vec::new();
    let mut last_ids = Vec::new();
    for row_group in 0..open.n_row_groups() {
        pages::check_row_group(&open, row_group, leaves_fit, &context, &mut findings).await?;
        let mut reader = RowReader::new(&open, row_group, &context);
        let first = ids.len();
        for step in reader.steps() {
            match rows::check_rows(&mut reader, &open, row_group, step, &mut findings).await {
                Ok(more) => ids.extend(more),
                Err(error) => {
                    findings.add_error(error)?;
                    break;
                }
            }
        }
        rows::check_order(&open, row_group, &ids, first, &mut findings);
        last_ids.push(ids.last().copied());
    }
    objects::check_bloom(&block, &ids, &mut findings).await?;
    objects::check_index(&block, &last_ids, &mut findings).await?;
    Ok(findings.report)
}

/// The report under construction.
struct Findings<'a> {
    block: &'a Block,
    report: Report,
    counts: BTreeMap<Rule, u64>,
}

/// A row of the file, for findings about it.
#[derive(Clone, Copy)]
struct RowOf {
    row: u64,
    trace: TraceId,
}

impl<'a> Findings<'a> {
    fn new(block: &'a Block) -> Self {
        Self { block, report: Report::default(), counts: BTreeMap::new() }
    }

    fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.rule).or_default();
        *count += 1;
        if *count <= MAX_FINDINGS_OF_A_RULE {
            self.report.findings.push(finding);
        } else {
            *self.report.omitted.entry(finding.rule).or_default() += 1;
        }
    }

    /// Something about the Parquet file or one of its rows.
    fn add_data(
        &mut self,
        rule: Rule,
        row: Option<RowOf>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        self.add(Finding {
            rule,
            severity: Severity::Error,
            object: self.block.object_url(&self.block.data),
            row: row.map(|row| row.row),
            trace: row.map(|row| row.trace),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }

    /// Turns what is wrong with the block into a finding; gives back what is wrong with the store.
    fn add_error(&mut self, error: Error) -> Result<()> {
        let (object, expected, found) = match error {
            Error::Corrupt { key, bytes, expected, found } => {
                let at = bytes.map(|b| format!(" at bytes {}..{}", b.start, b.end));
                (key, format!("{expected}{}", at.unwrap_or_default()), found)
            }
            Error::Unsupported { key, reason } => (key, "a format this build reads".into(), reason),
            Error::NotFound { what, key, .. } => (key, format!("a {what}"), "no object".into()),
            other => return Err(other),
        };
        self.add(Finding {
            rule: Rule::Readable,
            severity: Severity::Error,
            object,
            row: None,
            trace: None,
            expected,
            found,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
