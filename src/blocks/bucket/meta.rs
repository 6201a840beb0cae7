//! `meta.json`: what a block says of itself, its JSON form and its times. Where the object lies and
//! whether the block is live is the blocklist's business.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result};

/// Number of bloom shards of a block whose meta says 0, as old writers did.
const LEGACY_BLOOM_SHARDS: u32 = 10;

/// Half-open range of unix nanoseconds: the start belongs to it, the end does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First instant of the range.
    pub start_unix_nanos: i64,
    /// First instant after it.
    pub end_unix_nanos: i64,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self { start_unix_nanos: i64::MIN, end_unix_nanos: i64::MAX };
}

/// Contents of `meta.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMeta {
    /// Format version of the block.
    pub version: FormatVersion,
    /// The block's id.
    pub block_id: Uuid,
    /// The owner of the data.
    pub tenant: String,
    /// Earliest span start, unix nanoseconds.
    pub start_unix_nanos: i64,
    /// Latest span end, unix nanoseconds.
    pub end_unix_nanos: i64,
    /// Number of traces (rows).
    pub total_objects: u64,
    /// Bytes of `data.parquet`.
    pub size_bytes: u64,
    /// 0 for a flushed block, one more for each compaction.
    pub compaction_level: u32,
    /// Number of row groups, perhaps one too many (3.1).
    pub total_records: u32,
    /// Number of bloom shards; the 0 of old writers has become 10.
    pub bloom_shards: u32,
    /// Length of the Parquet footer without the 8 trailing bytes; 0 if unknown.
    pub footer_size: u32,
    /// Dedicated columns in order (4.5).
    pub dedicated_columns: Vec<DedicatedColumn>,
    /// 1 for blocks of Tempo 3.x, 0 for old replicated ones.
    pub replication_factor: u32,
}

impl BlockMeta {
    /// Reads `meta.json`; `key` names the object in errors.
    pub fn parse(key: &str, json: &[u8]) -> Result<ParsedMeta> {
        RawMeta::parse(key, json)?.interpret(key)
    }

    /// The bytes of `meta.json`, in the order of members Tempo writes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&RawMeta::from(self))
            .expect("a struct of strings, numbers and lists has a JSON form")
    }

    /// Whether a span of this block may lie in the range.
    ///
    /// Blocks made from a WAL state their times in whole seconds, so both ends are widened to the
    /// second: the meta may prove that a block holds nothing, it must not decide a close call.
    #[must_use]
    pub fn overlaps(&self, range: TimeRange) -> bool {
        overlaps(self.start_unix_nanos, self.end_unix_nanos, range)
    }
}

/// What `meta.json` turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum ParsedMeta {
    /// A block this build reads.
    Block(BlockMeta),
    /// A block of a preview format: Tempo tolerates it beside others and never looks inside.
    Inert {
        /// The format's name.
        format: String,
    },
}

/// Format version of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the format's own")]
pub enum FormatVersion {
    VParquet3,
    VParquet4,
    VParquet5,
}

impl FormatVersion {
    /// All that can be read, oldest first.
    pub const ALL: [Self; 3] = [Self::VParquet3, Self::VParquet4, Self::VParquet5];

    /// The name `meta.json` uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VParquet3 => "vParquet3",
            Self::VParquet4 => "vParquet4",
            Self::VParquet5 => "vParquet5",
        }
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FormatVersion {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// A block format this build does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block format {0:?} is not one of vParquet3, vParquet4, vParquet5")]
pub struct UnknownFormat(pub String);

/// An attribute that has a column of its own in this block (`blocks.md` 4.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DedicatedColumn {
    /// Where the attribute lives.
    pub scope: DedicatedScope,
    /// Its key.
    pub name: String,
    /// The type the column holds; other types stay in the generic list.
    pub column_type: DedicatedType,
    /// Option `blob`: no dictionary, zstd.
    pub blob: bool,
    /// Option `array`: a hint that arrays are expected.
    pub array: bool,
}

/// `scope.key`, with type and options behind colons as far as they are not the usual.
impl fmt::Display for DedicatedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.scope.as_str(), self.name)?;
        let is_int = self.column_type == DedicatedType::Int;
        let parts = [(is_int, "int"), (self.blob, "blob"), (self.array, "array")];
        parts.into_iter().filter(|(set, _)| *set).try_for_each(|(_, part)| write!(f, ":{part}"))
    }
}

impl FromStr for DedicatedColumn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Usage {
            what: "dedicated column",
            value: text.to_owned(),
            reason,
        };
        let (scope, mut name) = text.split_once('.').ok_or_else(|| {
            refuse("write scope and key, perhaps with a type: span.db.system, span.n:int".into())
        })?;
        let scopes = [DedicatedScope::Resource, DedicatedScope::Span, DedicatedScope::Event];
        let scope = scopes.into_iter().find(|known| known.as_str() == scope).ok_or_else(|| {
            refuse(format!("{scope:?} is no scope of them; resource, span and event are"))
        })?;
        let (mut column_type, mut blob, mut array) = (DedicatedType::String, false, false);
        // Keys may hold colons, so only the words that are known are taken off the end.
        while let Some((key, word)) = name.rsplit_once(':') {
            match word {
                "int" => column_type = DedicatedType::Int,
                "string" => {}
                "blob" => blob = true,
                "array" => array = true,
                _ => break,
            }
            name = key;
        }
        if name.is_empty() {
            return Err(refuse("it names no attribute".to_owned()));
        }
        Ok(Self { scope, name: name.to_owned(), column_type, blob, array })
    }
}

/// Scope of a dedicated column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the scopes of the language")]
pub enum DedicatedScope {
    Resource,
    Span,
    Event,
}

impl DedicatedScope {
    /// The name of the scope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Span => "span",
            Self::Event => "event",
        }
    }
}

/// Type of a dedicated column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the types of the language")]
pub enum DedicatedType {
    String,
    Int,
}

/// `meta.json` as it stands there. An element of the tenant index has the same members.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawMeta {
    pub(super) format: String,
    #[serde(rename = "blockID")]
    pub(super) block_id: Uuid,
    #[serde(rename = "tenantID")]
    pub(super) tenant: String,
    #[serde(default)]
    pub(super) start_time: Option<Time>,
    #[serde(default)]
    pub(super) end_time: Option<Time>,
    #[serde(default)]
    pub(super) total_objects: i64,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) compaction_level: u32,
    #[serde(default)]
    pub(super) index_page_size: u32,
    #[serde(default)]
    pub(super) total_records: u32,
    #[serde(default)]
    pub(super) bloom_shards: u32,
    #[serde(default)]
    pub(super) footer_size: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dedicated_columns: Option<Vec<RawDedicatedColumn>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) replication_factor: u32,
}

/// An element of `dedicatedColumns`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct RawDedicatedColumn {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    column_type: Option<String>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    options: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl RawMeta {
    pub(super) fn parse(key: &str, json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|e| Error::corrupt(key, None, "the JSON of a block's meta", e.to_string()))
    }

    /// Whether the block may hold spans of the range; answered for every format, so that a block
    /// nobody can read is no obstacle to a query about another day.
    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        overlaps(self.start_unix_nanos(), self.end_unix_nanos(), range)
    }

    // A missing time, like the zero time, means that it is unknown: such a block is never pruned.
    fn start_unix_nanos(&self) -> i64 {
        self.start_time.filter(|t| !t.is_zero()).map_or(0, Time::unix_nanos)
    }

    fn end_unix_nanos(&self) -> i64 {
        self.end_time.filter(|t| !t.is_zero()).map_or(i64::MAX, Time::unix_nanos)
    }

    pub(super) fn interpret(self, key: &str) -> Result<ParsedMeta> {
        let version = match self.format.parse::<FormatVersion>() {
            Ok(version) => version,
            Err(_) if self.format.contains("preview") => {
                return Ok(ParsedMeta::Inert { format: self.format });
            }
            Err(unknown) => {
                return Err(Error::Unsupported {
                    key: key.to_owned(),
                    reason: unknown.to_string(),
                });
            }
        };
        let total_objects = u64::try_from(self.total_objects).map_err(|_| {
            Error::corrupt(key, None, "a count as totalObjects", self.total_objects.to_string())
        })?;
        let (start_unix_nanos, end_unix_nanos) = (self.start_unix_nanos(), self.end_unix_nanos());
        let dedicated_columns = self
            .dedicated_columns
            .unwrap_or_default()
            .into_iter()
            .map(|column| column.interpret(key))
            .collect::<Result<_>>()?;
        Ok(ParsedMeta::Block(BlockMeta {
            version,
            block_id: self.block_id,
            tenant: self.tenant,
            start_unix_nanos,
            end_unix_nanos,
            total_objects,
            size_bytes: self.size,
            compaction_level: self.compaction_level,
            total_records: self.total_records,
            bloom_shards: match self.bloom_shards {
                0 => LEGACY_BLOOM_SHARDS,
                n => n,
            },
            footer_size: self.footer_size,
            dedicated_columns,
            replication_factor: self.replication_factor,
        }))
    }
}

impl RawDedicatedColumn {
    fn interpret(self, key: &str) -> Result<DedicatedColumn> {
        let unsupported = |what: &str, found: &str| Error::Unsupported {
            key: key.to_owned(),
            reason: format!("dedicated column {:?} has the unknown {what} {found:?}", self.name),
        };
        let scope = match self.scope.as_deref() {
            Some("resource") => DedicatedScope::Resource,
            None | Some("" | "span") => DedicatedScope::Span,
            Some("event") => DedicatedScope::Event,
            Some(other) => return Err(unsupported("scope", other)),
        };
        let column_type = match self.column_type.as_deref() {
            None | Some("" | "string") => DedicatedType::String,
            Some("int") => DedicatedType::Int,
            Some(other) => return Err(unsupported("type", other)),
        };
        // Options say how a column is written, not what it means, so unknown ones do no harm.
        let has = |option: &str| self.options.iter().flatten().any(|o| o == option);
        let (blob, array) = (has("blob"), has("array"));
        Ok(DedicatedColumn { scope, name: self.name, column_type, blob, array })
    }
}

impl From<&BlockMeta> for RawMeta {
    fn from(meta: &BlockMeta) -> Self {
        let columns: Vec<_> = meta.dedicated_columns.iter().map(Into::into).collect();
        Self {
            format: meta.version.to_string(),
            block_id: meta.block_id,
            tenant: meta.tenant.clone(),
            start_time: Some(Time::from_unix_nanos(meta.start_unix_nanos)),
            end_time: Some(Time::from_unix_nanos(meta.end_unix_nanos)),
            total_objects: i64::try_from(meta.total_objects).unwrap_or(i64::MAX),
            size: meta.size_bytes,
            compaction_level: meta.compaction_level,
            index_page_size: 0,
            total_records: meta.total_records,
            bloom_shards: meta.bloom_shards,
            footer_size: meta.footer_size,
            dedicated_columns: (!columns.is_empty()).then_some(columns),
            replication_factor: meta.replication_factor,
        }
    }
}

impl From<&DedicatedColumn> for RawDedicatedColumn {
    fn from(column: &DedicatedColumn) -> Self {
        let options: Vec<_> = [(column.blob, "blob"), (column.array, "array")]
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name.to_owned())
            .collect();
        Self {
            scope: match column.scope {
                DedicatedScope::Span => None,
                scope => Some(scope.as_str().to_owned()),
            },
            name: column.name.clone(),
            column_type: match column.column_type {
                DedicatedType::String => None,
                DedicatedType::Int => Some("int".to_owned()),
            },
            options: (!options.is_empty()).then_some(options),
        }
    }
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

fn overlaps(start_unix_nanos: i64, end_unix_nanos: i64, range: TimeRange) -> bool {
    let floor = |nanos: i64| nanos.saturating_sub(nanos.rem_euclid(NANOS_PER_SECOND));
    let end_ceiling = floor(end_unix_nanos).saturating_add(NANOS_PER_SECOND);
    floor(start_unix_nanos) < range.end_unix_nanos && end_ceiling >= range.start_unix_nanos
}

/// An RFC 3339 time of a meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(jiff::Timestamp);

impl Time {
    /// Go's zero time, which its writers use for "not set".
    const ZERO_SECOND: i64 = -62_135_596_800;

    fn is_zero(&self) -> bool {
        self.0.as_second() == Self::ZERO_SECOND && self.0.subsec_nanosecond() == 0
    }

    /// Times that nanoseconds in an `i64` cannot hold become the nearest that they can.
    pub(super) fn unix_nanos(self) -> i64 {
        i64::try_from(self.0.as_nanosecond()).unwrap_or(if self.0.as_second() < 0 {
            i64::MIN
        } else {
            i64::MAX
        })
    }

    pub(super) fn from_unix_nanos(nanos: i64) -> Self {
        Self(
            jiff::Timestamp::from_nanosecond(i128::from(nanos))
                .expect("64-bit nanoseconds reach from 1677 to 2262, timestamps much further"),
        )
    }

    /// Seconds since the epoch, and the nanoseconds that follow.
    pub(super) fn parts(self) -> (i64, i32) {
        (self.0.as_second(), self.0.subsec_nanosecond())
    }

    /// `None` if the parts name no instant of the years -9999 to 9999.
    pub(super) fn from_parts(seconds: i64, nanos: i32) -> Option<Self> {
        jiff::Timestamp::new(seconds, nanos).ok().map(Self)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        // Go reads any number of digits and keeps nine.
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let n_digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if n_digits > 9 {
            let (kept, zone) = (&fraction[..9], &fraction[n_digits..]);
            return format!("{seconds}.{kept}{zone}").parse().map(Self);
        }
        text.parse().map(Self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
