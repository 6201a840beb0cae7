//! The groups and leaves that a block's file must have, in order, and how their values are stored
//! (`blocks.md` 4.2 to 4.5): Tempo addresses leaves by position. For what writes and checks files;
//! reading goes by path and is more lenient.

use parquet::errors::ParquetError;
use parquet::schema::types::Type;

use super::tree::{self, Content, Kind, LeafCompression, LeafEncoding, Node, Shape, Storage};
use super::{Level, ROUNDED_STARTS, WELL_KNOWN};
use crate::bucket::meta::{
    BlockMeta, DedicatedColumn, DedicatedScope, DedicatedType, FormatVersion,
};

pub use super::tree::ExpectedLeaf;

/// Ids: compressing random bytes gains nothing.
const IDS: Storage = Storage::new(LeafEncoding::DeltaLengthByteArray, LeafCompression::None);
/// Texts of which few are equal.
const TEXTS: Storage = Storage::new(LeafEncoding::DeltaLengthByteArray, LeafCompression::Snappy);
/// Texts of which many are equal.
const DICTIONARY: Storage = Storage::new(LeafEncoding::Dictionary, LeafCompression::Snappy);
/// The same, one a trace.
const TRACE_DICTIONARY: Storage = Storage::new(LeafEncoding::Dictionary, LeafCompression::None);
/// Numbers that are near each other.
const DELTAS: Storage = Storage::new(LeafEncoding::DeltaBinaryPacked, LeafCompression::None);
/// Numbers that are nearly all 0.
const ZEROS: Storage = Storage::new(LeafEncoding::DeltaBinaryPacked, LeafCompression::Snappy);
/// Values of attributes, and truth values, which readers take in no other encoding.
const PLAIN: Storage = Storage::new(LeafEncoding::Plain, LeafCompression::Snappy);
/// Dedicated columns with the option `blob`.
const BLOBS: Storage = Storage {
    bounds: false,
    ..Storage::new(LeafEncoding::DeltaLengthByteArray, LeafCompression::Zstd)
};

/// Spare columns of a type that each scope has: strings before vParquet5.
pub(crate) const OLD_STRING_CAPACITY: usize = 10;
/// Strings since vParquet5.
pub(crate) const STRING_CAPACITY: usize = 20;
/// Integers since vParquet5.
pub(crate) const INT_CAPACITY: usize = 5;

/// All leaves of a file whose block has this meta.
#[must_use]
pub fn expected_leaves(meta: &BlockMeta) -> Vec<ExpectedLeaf> {
    tree::leaves(&layout(meta))
}

/// The Parquet schema of a file whose block has this meta.
///
/// # Errors
/// Where the Parquet library refuses the schema, which for a known format it does not.
pub fn message_type(meta: &BlockMeta) -> Result<Type, ParquetError> {
    tree::message_type(&layout(meta))
}

fn layout(meta: &BlockMeta) -> Vec<Node> {
    let mut layout = Layout { version: meta.version, nodes: Vec::new() };
    layout.trace(meta);
    layout.nodes
}

struct Layout {
    version: FormatVersion,
    nodes: Vec<Node>,
}

impl Layout {
    fn trace(&mut self, meta: &BlockMeta) {
        self.required("TraceID", Kind::Bytes, IDS);
        self.required("TraceIDText", Kind::Text, TEXTS);
        for name in ["StartTimeUnixNano", "EndTimeUnixNano", "DurationNano"] {
            self.required(name, Kind::U64, DELTAS);
        }
        self.required("RootServiceName", Kind::Text, TRACE_DICTIONARY);
        self.required("RootSpanName", Kind::Text, TRACE_DICTIONARY);
        let counts = |stats: &mut Self| {
            stats.required("SpanCount", Kind::U32, DELTAS);
            stats.required("ErrorCount", Kind::U32, DELTAS);
        };
        match self.version {
            FormatVersion::VParquet3 => {}
            FormatVersion::VParquet4 => self.group("ServiceStats", Shape::Map, |stats| {
                stats.required("key", Kind::Text, IDS);
                stats.group("value", Shape::Required, counts);
            }),
            FormatVersion::VParquet5 => self.group("ServiceStats", Shape::Repeated, |stats| {
                stats.required("ServiceName", Kind::Text, DICTIONARY);
                counts(stats);
            }),
        }
        self.list("rs", |rs| {
            rs.group("Resource", Shape::Required, |resource| resource.resource(meta));
            rs.list("ss", |ss| {
                ss.group("Scope", Shape::Required, Self::scope);
                ss.list("Spans", |span| span.span(meta));
                if ss.is_v5() {
                    ss.required("SpanCount", Kind::I32, DELTAS);
                }
            });
        });
    }

    fn resource(&mut self, meta: &BlockMeta) {
        if self.is_v5() {
            self.required("ServiceName", Kind::Text, DICTIONARY);
        }
        self.attributes();
        if self.version != FormatVersion::VParquet3 {
            self.required("DroppedAttributesCount", Kind::I32, ZEROS);
        }
        if !self.is_v5() {
            self.required("ServiceName", Kind::Text, DICTIONARY);
            self.well_known(Level::Resource);
        }
        self.dedicated(meta, DedicatedScope::Resource);
    }

    fn scope(&mut self) {
        self.required("Name", Kind::Text, DICTIONARY);
        self.required("Version", Kind::Text, DICTIONARY);
        if self.version != FormatVersion::VParquet3 {
            self.attributes();
            self.required("DroppedAttributesCount", Kind::I32, ZEROS);
        }
    }

    fn span(&mut self, meta: &BlockMeta) {
        let is_v3 = self.version == FormatVersion::VParquet3;
        self.required("SpanID", Kind::Bytes, IDS);
        self.required("ParentSpanID", Kind::Bytes, IDS);
        for name in ["ParentID", "NestedSetLeft", "NestedSetRight"] {
            self.required(name, Kind::I32, DELTAS);
        }
        if self.is_v5() {
            self.required("ChildCount", Kind::I32, DELTAS);
        }
        self.required("Name", Kind::Text, DICTIONARY);
        self.required("Kind", Kind::I64, DELTAS);
        self.required("TraceState", Kind::Text, TEXTS);
        self.required("StartTimeUnixNano", Kind::U64, DELTAS);
        self.required("DurationNano", Kind::U64, DELTAS);
        self.required("StatusCode", Kind::I64, DELTAS);
        self.required("StatusMessage", Kind::Text, TEXTS);
        self.attributes();
        self.required("DroppedAttributesCount", Kind::I32, if is_v3 { PLAIN } else { ZEROS });
        self.list("Events", |event| event.event(meta));
        self.required("DroppedEventsCount", Kind::I32, PLAIN);
        if is_v3 {
            self.required("Links", Kind::Bytes, TEXTS);
        } else {
            self.list("Links", Self::link);
        }
        self.required("DroppedLinksCount", Kind::I32, PLAIN);
        if !self.is_v5() {
            self.well_known(Level::Span);
        }
        self.dedicated(meta, DedicatedScope::Span);
        if self.is_v5() {
            for seconds in ROUNDED_STARTS {
                self.required(&format!("StartTimeRounded{seconds}"), Kind::U32, DELTAS);
            }
        }
    }

    fn event(&mut self, meta: &BlockMeta) {
        if self.version == FormatVersion::VParquet3 {
            self.required("TimeUnixNano", Kind::U64, DELTAS);
            self.required("Name", Kind::Text, TEXTS);
            self.list("Attrs", |attribute| {
                attribute.required("Key", Kind::Text, DICTIONARY);
                attribute.required("Value", Kind::Bytes, TEXTS);
            });
            self.required("DroppedAttributesCount", Kind::I32, ZEROS);
            return;
        }
        self.required("TimeSinceStartNano", Kind::U64, DELTAS);
        self.required("Name", Kind::Text, DICTIONARY);
        self.attributes();
        self.required("DroppedAttributesCount", Kind::I32, ZEROS);
        if self.is_v5() {
            self.dedicated(meta, DedicatedScope::Event);
        }
    }

    fn link(&mut self) {
        self.required("TraceID", Kind::Bytes, IDS);
        self.required("SpanID", Kind::Bytes, IDS);
        self.required("TraceState", Kind::Text, TEXTS);
        self.attributes();
        self.required("DroppedAttributesCount", Kind::I32, ZEROS);
    }

    fn attributes(&mut self) {
        let is_v3 = self.version == FormatVersion::VParquet3;
        self.list("Attrs", |attribute| {
            attribute.required("Key", Kind::Text, DICTIONARY);
            if is_v3 {
                attribute.leaf("Value", Shape::Optional, Kind::Text, DICTIONARY);
                attribute.leaf("ValueInt", Shape::Optional, Kind::I64, PLAIN);
                attribute.leaf("ValueDouble", Shape::Optional, Kind::F64, PLAIN);
                attribute.leaf("ValueBool", Shape::Optional, Kind::Bool, PLAIN);
                attribute.leaf("ValueKVList", Shape::Optional, Kind::Text, TEXTS);
                attribute.leaf("ValueArray", Shape::Optional, Kind::Text, TEXTS);
                return;
            }
            attribute.required("IsArray", Kind::Bool, PLAIN);
            attribute.values("Value", Kind::Text, DICTIONARY);
            attribute.values("ValueInt", Kind::I64, PLAIN);
            attribute.values("ValueDouble", Kind::F64, PLAIN);
            attribute.values("ValueBool", Kind::Bool, PLAIN);
            attribute.leaf("ValueUnsupported", Shape::Optional, Kind::Text, TEXTS);
        });
    }

    fn well_known(&mut self, of: Level) {
        for (_, _, name) in WELL_KNOWN.iter().filter(|column| column.0 == of) {
            if *name == "HttpStatusCode" {
                self.leaf(name, Shape::Optional, Kind::I64, PLAIN);
            } else {
                self.leaf(name, Shape::Optional, Kind::Text, DICTIONARY);
            }
        }
    }

    /// Spare columns of a level: all ten before vParquet5, since then only the assigned ones; and
    /// where there are none, no group either.
    fn dedicated(&mut self, meta: &BlockMeta, scope: DedicatedScope) {
        let of_type = |wanted: DedicatedType, capacity: usize| {
            let columns = meta.dedicated_columns.iter();
            columns
                .filter(move |c| c.scope == scope && c.column_type == wanted)
                .take(capacity)
                .zip(1..)
        };
        let is_v5 = self.is_v5();
        if is_v5 && !meta.dedicated_columns.iter().any(|column| column.scope == scope) {
            return;
        }
        self.group("DedicatedAttributes", Shape::Required, |spares| {
            if !is_v5 {
                for n in 1..=OLD_STRING_CAPACITY {
                    spares.leaf(&spare("String", n), Shape::Optional, Kind::Text, DICTIONARY);
                }
                return;
            }
            for (column, n) in of_type(DedicatedType::String, STRING_CAPACITY) {
                let DedicatedColumn { blob, .. } = column;
                spares.values(
                    &spare("String", n),
                    Kind::Text,
                    if *blob { BLOBS } else { DICTIONARY },
                );
            }
            for (_, n) in of_type(DedicatedType::Int, INT_CAPACITY) {
                spares.values(&spare("Int", n), Kind::I64, PLAIN);
            }
        });
    }

    fn is_v5(&self) -> bool {
        self.version == FormatVersion::VParquet5
    }

    fn list(&mut self, name: &str, nodes: impl FnOnce(&mut Self)) {
        let shape = self.list_shape();
        self.group(name, shape, nodes);
    }

    /// Lists are bare repeated groups in vParquet5 and have two groups more before it.
    fn list_shape(&self) -> Shape {
        if self.is_v5() { Shape::Repeated } else { Shape::List }
    }

    fn group(&mut self, name: &str, shape: Shape, nodes: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.nodes);
        nodes(self);
        let inner = std::mem::replace(&mut self.nodes, outer);
        self.nodes.push(Node { name: name.to_owned(), shape, content: Content::Group(inner) });
    }

    fn required(&mut self, name: &str, kind: Kind, storage: Storage) {
        self.leaf(name, Shape::Required, kind, storage);
    }

    /// A list of values.
    fn values(&mut self, name: &str, kind: Kind, storage: Storage) {
        self.leaf(name, self.list_shape(), kind, storage);
    }

    fn leaf(&mut self, name: &str, shape: Shape, kind: Kind, storage: Storage) {
        let content = Content::Leaf(kind, storage);
        self.nodes.push(Node { name: name.to_owned(), shape, content });
    }
}

/// Name of a spare column.
fn spare(of_type: &str, n: usize) -> String {
    format!("{of_type}{n:02}")
}

#[cfg(test)]
mod tests {
    use parquet::basic::{Compression, Encoding};

    use super::*;
    use crate::read::fixtures::{all_block_folders, block_in, context};
    use crate::read::open::OpenBlock;

    /// Names, nesting, repetition, types, annotations and field ids. What is left out is a length
    /// that Tempo's writer gives numbers, where it says nothing.
    fn print(schema: &Type) -> String {
        let mut text = Vec::new();
        parquet::schema::printer::print_schema(&mut text, schema);
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn every_frozen_block_has_the_schema_of_its_version() {
        for folder in all_block_folders() {
            let block = block_in(&folder);
            let open = OpenBlock::open(&block, &context()).await.unwrap();
            let found = open.metadata().file_metadata().schema_descr();
            let expect = message_type(&block.meta).unwrap();
            assert_eq!(print(&expect), print(found.root_schema()), "{}", folder.display());
            let n_leaves = match block.meta.version {
                FormatVersion::VParquet3 => 76,
                FormatVersion::VParquet4 => 103,
                FormatVersion::VParquet5 => found.num_columns(),
            };
            let leaves: Vec<_> = expected_leaves(&block.meta)
                .into_iter()
                .map(|leaf| (leaf.path, leaf.kind.physical(), (leaf.max_def, leaf.max_rep)))
                .collect();
            let columns: Vec<_> = found
                .columns()
                .iter()
                .map(|c| {
                    let levels = (c.max_def_level(), c.max_rep_level());
                    (c.path().string(), c.physical_type(), levels)
                })
                .collect();
            assert_eq!(leaves, columns, "{}", folder.display());
            assert_eq!(leaves.len(), n_leaves);
        }
    }

    #[tokio::test]
    async fn frozen_blocks_store_every_leaf_as_expected() {
        for folder in all_block_folders() {
            let block = block_in(&folder);
            let open = OpenBlock::open(&block, &context()).await.unwrap();
            for row_group in open.metadata().row_groups() {
                for (leaf, chunk) in expected_leaves(&block.meta).iter().zip(row_group.columns()) {
                    let name = format!("{} in {}", leaf.path, folder.display());
                    let dictionary = chunk.dictionary_page_offset().is_some();
                    assert_eq!(leaf.has_dictionary(), dictionary, "{name}");
                    let encoding = match leaf.storage.encoding {
                        LeafEncoding::Plain => Encoding::PLAIN,
                        LeafEncoding::Dictionary => Encoding::RLE_DICTIONARY,
                        LeafEncoding::DeltaBinaryPacked => Encoding::DELTA_BINARY_PACKED,
                        LeafEncoding::DeltaLengthByteArray => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                    };
                    assert!(chunk.encodings().any(|found| found == encoding), "{name}");
                    let compression = match chunk.compression() {
                        Compression::UNCOMPRESSED => LeafCompression::None,
                        Compression::SNAPPY => LeafCompression::Snappy,
                        Compression::ZSTD(_) => LeafCompression::Zstd,
                        other => panic!("{name}: {other}"),
                    };
                    assert_eq!(leaf.storage.compression, compression, "{name}");
                    let statistics = chunk.statistics().unwrap();
                    let has_bounds = statistics.min_bytes_opt().is_some();
                    assert!(leaf.storage.bounds || !has_bounds, "{name}");
                }
            }
        }
    }
}
