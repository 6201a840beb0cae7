//! How blocks are written: the format, its dedicated columns, sizes. Checked before anything is
//! written; defaults are Tempo's (`blocks.md` 4.5, 7).

use std::collections::HashSet;

use crate::bucket::meta::{DedicatedColumn, DedicatedScope, DedicatedType, FormatVersion};
use crate::error::{Error, Result};
use crate::schema::layout::{INT_CAPACITY, OLD_STRING_CAPACITY, STRING_CAPACITY};
use crate::schema::{Level, has_well_known_column};

/// How to write a block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockSettings {
    /// Format of the block: vParquet5 or vParquet4.
    pub version: FormatVersion,
    /// Attributes that get a column of their own, in the order that assigns the spare columns.
    pub dedicated_columns: Vec<DedicatedColumn>,
    /// A row group ends with the trace that makes it this large: bytes encoded but not compressed.
    /// Memory is bounded by about twice as much, and by what one trace takes.
    pub row_group_bytes: u64,
    /// Size and precision of the bloom filter.
    pub bloom: BloomSettings,
    /// 0 for a fresh block, one more than the inputs' greatest for a compacted one.
    pub compaction_level: u32,
    /// The block is read by this process and never stored: it is to be written quickly, whatever a
    /// format says of encodings and compression.
    pub is_transient: bool,
}

/// Size and precision of the bloom filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BloomSettings {
    /// Share of foreign ids that a block may wrongly claim, above 0 and below 1.
    pub false_positive_rate: f64,
    /// Bytes of one shard, at least 1.
    pub shard_bytes: u32,
}

impl Default for BloomSettings {
    fn default() -> Self {
        Self { false_positive_rate: 0.01, shard_bytes: 100 << 10 }
    }
}

impl BlockSettings {
    /// A fresh block of a format, with everything at its default.
    #[must_use]
    pub fn new(version: FormatVersion) -> Self {
        Self {
            version,
            dedicated_columns: default_dedicated_columns(version),
            row_group_bytes: 100_000_000,
            bloom: BloomSettings::default(),
            compaction_level: 0,
            is_transient: false,
        }
    }

    /// Refuses what no block can be written with.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let refuse = |what, value: String, reason: &str| {
            Err(Error::Usage { what, value, reason: reason.to_owned() })
        };
        if self.version == FormatVersion::VParquet3 {
            let reason = "this format is read but not written; vParquet5 and vParquet4 are";
            return refuse("block format", self.version.to_string(), reason);
        }
        let rate = self.bloom.false_positive_rate;
        if !(rate > 0.0 && rate < 1.0) {
            return refuse("bloom false-positive rate", rate.to_string(), "it is a share below 1");
        }
        if self.bloom.shard_bytes == 0 {
            return refuse("bloom shard size", "0".to_owned(), "a shard has at least one byte");
        }
        check_dedicated_columns(self.version, &self.dedicated_columns)
    }
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self::new(FormatVersion::VParquet5)
    }
}

/// The dedicated columns that Tempo gives a format unless told otherwise. Before vParquet5 most of
/// these attributes have well-known columns, and there are no others by default.
#[must_use]
pub fn default_dedicated_columns(version: FormatVersion) -> Vec<DedicatedColumn> {
    use DedicatedScope::{Resource, Span};
    use DedicatedType::{Int, String};
    if version != FormatVersion::VParquet5 {
        return Vec::new();
    }
    [
        (Resource, "k8s.cluster.name", String),
        (Resource, "k8s.namespace.name", String),
        (Resource, "k8s.pod.name", String),
        (Resource, "k8s.container.name", String),
        (Span, "http.request.method", String),
        (Span, "http.response.status_code", Int),
        (Span, "url.path", String),
        (Span, "url.route", String),
        (Span, "server.address", String),
        (Span, "server.port", Int),
        (Span, "http.method", String),
        (Span, "http.url", String),
        (Span, "http.route", String),
        (Span, "http.status_code", Int),
    ]
    .into_iter()
    .map(|(scope, name, column_type)| DedicatedColumn {
        scope,
        name: name.to_owned(),
        column_type,
        blob: false,
        array: false,
    })
    .collect()
}

/// Refuses dedicated columns that a format cannot have. A foreign writer may leave attributes in the
/// generic list without a word; who names a column wants it.
///
/// # Errors
/// [`Error::Usage`] naming the first column that is refused.
pub fn check_dedicated_columns(version: FormatVersion, columns: &[DedicatedColumn]) -> Result<()> {
    let is_v5 = version == FormatVersion::VParquet5;
    let mut seen = HashSet::new();
    for (at, column) in columns.iter().enumerate() {
        let level = level_of(column.scope);
        let of_type = columns[..at]
            .iter()
            .filter(|c| (c.scope, c.column_type) == (column.scope, column.column_type))
            .count();
        let capacity = match (is_v5, column.column_type) {
            (true, DedicatedType::String) => STRING_CAPACITY,
            (true, DedicatedType::Int) => INT_CAPACITY,
            (false, _) => OLD_STRING_CAPACITY,
        };
        let reason = if column.name.is_empty() {
            "it names no attribute".to_owned()
        } else if !seen.insert((column.scope, column.name.as_str())) {
            "it is named twice".to_owned()
        } else if has_well_known_column(version, level, &column.name) {
            format!("{version} has a column for it in every block")
        } else if !is_v5 && column.scope == DedicatedScope::Event {
            format!("{version} has dedicated columns for resources and spans only")
        } else if !is_v5 && column.column_type == DedicatedType::Int {
            format!("{version} has dedicated columns for strings only")
        } else if !is_v5 && (column.blob || column.array) {
            format!("{version} knows no options of dedicated columns")
        } else if column.blob && column.column_type == DedicatedType::Int {
            "the option blob is for strings".to_owned()
        } else if of_type >= capacity {
            format!("{version} has {capacity} columns of its scope and type")
        } else {
            continue;
        };
        let value = column.to_string();
        return Err(Error::Usage { what: "dedicated column", value, reason });
    }
    Ok(())
}

pub(super) fn level_of(scope: DedicatedScope) -> Level {
    match scope {
        DedicatedScope::Resource => Level::Resource,
        DedicatedScope::Span => Level::Span,
        DedicatedScope::Event => Level::Event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: FormatVersion, names: &[&str]) -> String {
        let columns: Vec<DedicatedColumn> =
            names.iter().map(|name| name.parse().unwrap()).collect();
        check_dedicated_columns(version, &columns).err().map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn defaults_are_possible() {
        for version in [FormatVersion::VParquet4, FormatVersion::VParquet5] {
            BlockSettings::new(version).check().unwrap();
        }
        let error = BlockSettings::new(FormatVersion::VParquet3).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "block format \"vParquet3\": this format is read but not written; vParquet5 and \
             vParquet4 are"
        );
    }

    #[test]
    fn what_a_format_cannot_hold_is_refused_by_name() {
        let (v4, v5) = (FormatVersion::VParquet4, FormatVersion::VParquet5);
        let expect = |name: &str, reason: &str| format!("dedicated column {name:?}: {reason}");
        assert_eq!(check(v5, &["span.a", "resource.a", "event.a:int", "span.b:blob"]), "");
        assert_eq!(check(v5, &["span.a", "span.a:int"]), expect("span.a:int", "it is named twice"));
        assert_eq!(
            check(v4, &["span.http.method"]),
            expect("span.http.method", "vParquet4 has a column for it in every block")
        );
        assert_eq!(check(v5, &["span.http.method"]), "");
        assert_eq!(
            check(v5, &["resource.service.name"]),
            expect("resource.service.name", "vParquet5 has a column for it in every block")
        );
        assert_eq!(
            check(v4, &["event.a"]),
            expect("event.a", "vParquet4 has dedicated columns for resources and spans only")
        );
        assert_eq!(
            check(v4, &["span.a:int"]),
            expect("span.a:int", "vParquet4 has dedicated columns for strings only")
        );
        assert_eq!(
            check(v4, &["span.a:blob"]),
            expect("span.a:blob", "vParquet4 knows no options of dedicated columns")
        );
        let six: Vec<String> = (0..6).map(|n| format!("span.n{n}:int")).collect();
        let six: Vec<&str> = six.iter().map(String::as_str).collect();
        assert_eq!(
            check(v5, &six),
            expect("span.n5:int", "vParquet5 has 5 columns of its scope and type")
        );
    }
}
