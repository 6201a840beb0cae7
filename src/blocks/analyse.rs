//! What takes the bytes of a block: its columns, exactly; its attributes and services, by the share
//! of the columns they are kept in; and what a dedicated column would save, as an estimate. Reads
//! the whole block.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use crate::bucket::Block;
use crate::error::Result;
use crate::model::{AttributeValue, KeyValue, Trace};
use crate::read::open::{OpenBlock, ReadContext};
use crate::read::rows::RowReader;
use crate::schema::{AttributeLeaves, LeafIndex, Level, prefix};

/// Distinct values of one attribute that are told apart; an attribute with more is no candidate for
/// a dictionary anyway.
const MAX_DISTINCT: usize = 1 << 20;
/// Bytes a dictionary spends on the length of each string.
const LENGTH_BYTES: u64 = 4;

/// What was found in one block, or in several added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// Bytes of `data.parquet`.
    pub size_bytes: u64,
    /// Traces read.
    pub trace_count: u64,
    /// Spans read.
    pub span_count: u64,
    /// Bytes by column path.
    pub columns: BTreeMap<String, ColumnBytes>,
    /// Bytes by attribute.
    pub attributes: BTreeMap<(Level, String), AttributeBytes>,
    /// Bytes by `service.name`, `""` for none.
    pub services: BTreeMap<String, ServiceBytes>,
}

/// What a column takes; exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnBytes {
    /// In the file.
    pub compressed_bytes: u64,
    /// Before compression.
    pub uncompressed_bytes: u64,
    /// Values, missing ones included.
    pub value_count: u64,
}

/// What an attribute takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AttributeBytes {
    /// How often it occurs.
    pub count: u64,
    /// Bytes of its values, before any encoding.
    pub plain_bytes: u64,
    /// Distinct values, up to a bound.
    pub distinct_count: u64,
    /// Its share of the file: all of its own column, or its part of the list it is kept in.
    pub file_bytes: u64,
    /// It has a column of its own already.
    pub has_own_column: bool,
    /// Estimate of what a dedicated column would save; 0 where none is possible or none would help.
    pub saved_bytes: u64,
}

/// What a service takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceBytes {
    /// Its spans.
    pub span_count: u64,
    /// Bytes of its resources and spans, before any encoding.
    pub plain_bytes: u64,
    /// Its share of the file in proportion to that.
    pub file_bytes: u64,
}

impl Analysis {
    /// Adds what another block holds.
    pub fn add(&mut self, other: Self) {
        self.size_bytes += other.size_bytes;
        self.trace_count += other.trace_count;
        self.span_count += other.span_count;
        for (path, column) in other.columns {
            let sum = self.columns.entry(path).or_default();
            sum.compressed_bytes += column.compressed_bytes;
            sum.uncompressed_bytes += column.uncompressed_bytes;
            sum.value_count += column.value_count;
        }
        for (key, attribute) in other.attributes {
            let sum = self.attributes.entry(key).or_default();
            sum.count += attribute.count;
            sum.plain_bytes += attribute.plain_bytes;
            sum.distinct_count = sum.distinct_count.max(attribute.distinct_count);
            sum.file_bytes += attribute.file_bytes;
            sum.has_own_column |= attribute.has_own_column;
            sum.saved_bytes += attribute.saved_bytes;
        }
        for (name, service) in other.services {
            let sum = self.services.entry(name).or_default();
            sum.span_count += service.span_count;
            sum.plain_bytes += service.plain_bytes;
            sum.file_bytes += service.file_bytes;
        }
    }
}

/// Reads a block and says what takes its bytes.
///
/// # Errors
/// Failures to read the block.
pub async fn analyse_block(block: &Block, context: &ReadContext) -> Result<Analysis> {
    let open = OpenBlock::open(block, context).await?;
    let mut tally = Tally::default();
    for row_group in 0..open.n_row_groups() {
        let mut reader = RowReader::new(&open, row_group, context);
        for rows in reader.steps() {
            for trace in reader.traces(rows).await? {
                tally.add(&trace);
            }
        }
    }
    Ok(tally.finish(&open))
}

/// Plain counts of what traces hold.
#[derive(Debug, Default)]
struct Tally {
    trace_count: u64,
    span_count: u64,
    /// Rows of each level: how many values a column of its own would have.
    rows: BTreeMap<Level, u64>,
    attributes: BTreeMap<(Level, String), AttributeTally>,
    services: BTreeMap<String, ServiceBytes>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct AttributeTally {
    count: u64,
    plain_bytes: u64,
    /// Hashes of the values: two that collide make a dictionary look one value smaller.
    distinct: HashSet<u64>,
    distinct_bytes: u64,
    /// Every value is a string, or every value is an integer.
    is_uniform: Option<bool>,
    kind: Option<std::mem::Discriminant<AttributeValue>>,
}

impl Tally {
    fn add(&mut self, trace: &Trace) {
        self.trace_count += 1;
        for resource_spans in &trace.resource_spans {
            let mut bytes = self.attributes(Level::Resource, &resource_spans.resource.attributes);
            let mut n_spans = 0;
            for scope_spans in &resource_spans.scope_spans {
                let scope = &scope_spans.scope;
                bytes += (scope.name.len() + scope.version.len()) as u64;
                bytes += self.attributes(Level::Scope, &scope.attributes);
                for span in &scope_spans.spans {
                    n_spans += 1;
                    // Ids, times, numbers: what every span has.
                    bytes += 64 + (span.name.len() + span.status_message.len()) as u64;
                    bytes += self.attributes(Level::Span, &span.attributes);
                    for event in &span.events {
                        bytes += 8 + event.name.len() as u64;
                        bytes += self.attributes(Level::Event, &event.attributes);
                    }
                    for link in &span.links {
                        bytes += 24;
                        bytes += self.attributes(Level::Link, &link.attributes);
                    }
                }
            }
            self.span_count += n_spans;
            let service = resource_spans.resource.service_name().to_owned();
            let sum = self.services.entry(service).or_default();
            sum.span_count += n_spans;
            sum.plain_bytes += bytes;
        }
    }

    /// Counts one row of a level and its attributes; returns their plain bytes.
    fn attributes(&mut self, level: Level, attributes: &[KeyValue]) -> u64 {
        *self.rows.entry(level).or_default() += 1;
        let mut sum = 0;
        for attribute in attributes {
            let bytes = plain_bytes(&attribute.value);
            sum += bytes + attribute.key.len() as u64;
            let tally = self.attributes.entry((level, attribute.key.clone())).or_default();
            tally.count += 1;
            tally.plain_bytes += bytes;
            let kind = std::mem::discriminant(&attribute.value);
            let is_simple =
                matches!(attribute.value, AttributeValue::String(_) | AttributeValue::Int(_));
            let same = tally.kind.is_none_or(|known| known == kind);
            tally.kind = Some(kind);
            tally.is_uniform = Some(tally.is_uniform.unwrap_or(true) && is_simple && same);
            if tally.distinct.len() < MAX_DISTINCT && is_simple {
                let hash = match &attribute.value {
                    AttributeValue::String(text) => self.hasher.hash_one(text),
                    AttributeValue::Int(value) => self.hasher.hash_one(value),
                    _ => 0,
                };
                if tally.distinct.insert(hash) {
                    tally.distinct_bytes += bytes;
                }
            }
        }
        sum
    }

    fn finish(self, open: &OpenBlock) -> Analysis {
        let mut columns: BTreeMap<String, ColumnBytes> = BTreeMap::new();
        for leaf in open.schema.leaves() {
            columns.insert(leaf.path.clone(), column_bytes(open, leaf.index));
        }
        let lists: BTreeMap<Level, ListShares> =
            [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link]
                .into_iter()
                .filter_map(|level| {
                    let leaves = open.schema.attributes(level)?;
                    Some((level, self.list_shares(open, level, leaves)))
                })
                .collect();
        let mut attributes = BTreeMap::new();
        for ((level, key), tally) in &self.attributes {
            let own = open.schema.own_column(*level, key);
            let mut bytes = AttributeBytes {
                count: tally.count,
                plain_bytes: tally.plain_bytes,
                distinct_count: tally.distinct.len() as u64,
                has_own_column: own.is_some(),
                ..AttributeBytes::default()
            };
            if let Some(own) = own {
                bytes.file_bytes = column_bytes(open, own.leaf).compressed_bytes;
            } else if let Some(list) = lists.get(level) {
                bytes.file_bytes = list.share(tally);
                let may_have_column = matches!(level, Level::Resource | Level::Span | Level::Event);
                if may_have_column && tally.is_uniform == Some(true) {
                    let n_rows = self.rows.get(level).copied().unwrap_or(0);
                    let cost = list.compressed(own_column_bytes(tally, n_rows));
                    bytes.saved_bytes = bytes.file_bytes.saturating_sub(cost);
                }
            }
            attributes.insert((*level, key.clone()), bytes);
        }
        let size_bytes = open.block.meta.size_bytes;
        let all: u64 = self.services.values().map(|service| service.plain_bytes).sum();
        let services = self.services.into_iter().map(|(name, service)| {
            let file_bytes = proportion(size_bytes, service.plain_bytes, all);
            (name, ServiceBytes { file_bytes, ..service })
        });
        Analysis {
            size_bytes,
            trace_count: self.trace_count,
            span_count: self.span_count,
            columns,
            attributes,
            services: services.collect(),
        }
    }

    /// What the generic list of a level takes, and what of it is in the list at all.
    fn list_shares(&self, open: &OpenBlock, level: Level, leaves: &AttributeLeaves) -> ListShares {
        let listed = || {
            let of_level = self.attributes.iter().filter(|((at, _), _)| *at == level);
            of_level.filter(|((level, key), _)| open.schema.own_column(*level, key).is_none())
        };
        let start = format!("{}Attrs.", prefix(level));
        let (mut keys, mut values) = (ColumnBytes::default(), ColumnBytes::default());
        for leaf in open.schema.leaves().iter().filter(|leaf| leaf.path.starts_with(&start)) {
            let sum = if leaf.index == leaves.key { &mut keys } else { &mut values };
            let column = column_bytes(open, leaf.index);
            sum.compressed_bytes += column.compressed_bytes;
            sum.uncompressed_bytes += column.uncompressed_bytes;
        }
        ListShares {
            keys,
            values,
            count: listed().map(|(_, tally)| tally.count).sum(),
            plain_bytes: listed().map(|(_, tally)| tally.plain_bytes).sum(),
        }
    }
}

/// The columns of a generic attribute list.
#[derive(Clone, Copy, Debug)]
struct ListShares {
    keys: ColumnBytes,
    values: ColumnBytes,
    count: u64,
    plain_bytes: u64,
}

impl ListShares {
    /// An entry costs the same in the columns of keys whatever it is; in those of values it costs
    /// what its value is long, and the levels that every entry has.
    fn share(&self, tally: &AttributeTally) -> u64 {
        let in_keys = proportion(self.keys.compressed_bytes, tally.count, self.count);
        let weight = |count: u64, bytes: u64| count + bytes;
        let in_values = proportion(
            self.values.compressed_bytes,
            weight(tally.count, tally.plain_bytes),
            weight(self.count, self.plain_bytes),
        );
        in_keys + in_values
    }

    /// What so many bytes are after compression, if they compress as the values of the list do.
    fn compressed(&self, bytes: u64) -> u64 {
        let values = self.values;
        match values.uncompressed_bytes {
            0 => bytes,
            all => proportion(bytes, values.compressed_bytes, all).min(bytes),
        }
    }
}

/// A column with a dictionary: each distinct value once, and for each row a code of as few bits as
/// suffice. Runs, which real columns have, are left out, so that the estimate errs on the low side.
fn own_column_bytes(tally: &AttributeTally, n_rows: u64) -> u64 {
    let n_distinct = tally.distinct.len() as u64;
    let dictionary = tally.distinct_bytes + LENGTH_BYTES * n_distinct;
    let code_bits = u64::from(u64::BITS - n_distinct.leading_zeros());
    let codes = tally.count * code_bits / 8;
    let levels = if tally.count == n_rows { 0 } else { n_rows / 8 };
    dictionary + codes + levels
}

fn column_bytes(open: &OpenBlock, leaf: LeafIndex) -> ColumnBytes {
    let mut sum = ColumnBytes::default();
    for row_group in open.metadata().row_groups() {
        let chunk = row_group.column(leaf);
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        sum.compressed_bytes += count(chunk.compressed_size());
        sum.uncompressed_bytes += count(chunk.uncompressed_size());
        sum.value_count += count(chunk.num_values());
    }
    sum
}

fn plain_bytes(value: &AttributeValue) -> u64 {
    match value {
        AttributeValue::Unset => 0,
        AttributeValue::String(text) => text.len() as u64,
        AttributeValue::Int(_) | AttributeValue::Double(_) => 8,
        AttributeValue::Bool(_) => 1,
        AttributeValue::Bytes(bytes) => bytes.len() as u64,
        AttributeValue::Array(values) => values.iter().map(plain_bytes).sum(),
        AttributeValue::KeyValues(members) => {
            members.iter().map(|kv| kv.key.len() as u64 + plain_bytes(&kv.value)).sum()
        }
    }
}

/// `total * part / whole`, 0 of nothing.
fn proportion(total: u64, part: u64, whole: u64) -> u64 {
    let share = (u128::from(total) * u128::from(part)).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::blocklist::BlocklistOptions;
    use crate::bucket::source::Source;
    use crate::bucket::store::SourceOptions;
    use crate::read::open::BlockCache;

    async fn sample() -> Vec<(Block, Analysis)> {
        let source = Source::open("sample:", &SourceOptions::default()).await.unwrap();
        let tenant = source.tenant(None).await.unwrap();
        let list = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap();
        let context = ReadContext::new(Arc::new(BlockCache::new(1 << 20)));
        let mut analyses = Vec::new();
        for block in list.blocks {
            let analysis = analyse_block(&block, &context).await.unwrap();
            analyses.push((block, analysis));
        }
        analyses
    }

    #[tokio::test]
    async fn columns_make_up_the_file() {
        for (block, analysis) in sample().await {
            let columns: u64 = analysis.columns.values().map(|c| c.compressed_bytes).sum();
            assert!(columns < block.meta.size_bytes);
            // The rest is footer and page index, which weigh much in blocks this small.
            assert!(columns > block.meta.size_bytes / 4, "{columns} of {}", block.meta.size_bytes);
            assert_eq!(analysis.trace_count, block.meta.total_objects);
        }
    }

    #[tokio::test]
    async fn shares_add_up_to_what_they_are_shares_of() {
        for (_, analysis) in sample().await {
            let services: u64 = analysis.services.values().map(|s| s.file_bytes).sum();
            let n_services = analysis.services.len() as u64;
            assert!(services <= analysis.size_bytes);
            assert!(services + n_services >= analysis.size_bytes);
            let spans: u64 = analysis.services.values().map(|s| s.span_count).sum();
            assert_eq!(spans, analysis.span_count);
            let listed = analysis.attributes.iter().filter(|((level, _), attribute)| {
                *level == Level::Span && !attribute.has_own_column
            });
            let (n_listed, bytes) =
                listed.fold((0, 0), |(n, sum), (_, attribute)| (n + 1, sum + attribute.file_bytes));
            let list =
                analysis.columns.iter().filter(|(path, _)| path.starts_with("rs.ss.Spans.Attrs."));
            let list: u64 = list.map(|(_, column)| column.compressed_bytes).sum();
            assert!(bytes <= list && bytes + 2 * n_listed >= list, "{bytes} of {list}");
        }
    }

    #[tokio::test]
    async fn blocks_add_up() {
        let mut sum = Analysis::default();
        let (mut n_traces, mut n_bytes) = (0, 0);
        for (_, analysis) in sample().await {
            n_traces += analysis.trace_count;
            n_bytes += analysis.size_bytes;
            sum.add(analysis);
        }
        assert_eq!((sum.trace_count, sum.size_bytes), (n_traces, n_bytes));
        assert_eq!(sum.trace_count, 500);
    }

    #[test]
    fn a_dictionary_pays_for_each_value_once() {
        let repeated = AttributeTally {
            count: 1_000,
            plain_bytes: 20_000,
            distinct: HashSet::from([1, 2]),
            distinct_bytes: 40,
            ..AttributeTally::default()
        };
        assert_eq!(own_column_bytes(&repeated, 1_000), 40 + 8 + 1_000 * 2 / 8);
        assert_eq!(own_column_bytes(&repeated, 8_000), 40 + 8 + 250 + 1_000);
    }
}
