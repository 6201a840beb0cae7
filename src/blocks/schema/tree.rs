//! The schema of a block's file as a tree: what the format demands of each group and leaf, flattened
//! into the list that files are checked against, or turned into the Parquet type that files are
//! written with. Which groups and leaves there are is [`super::layout`]'s business.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::Type;

/// Name of the root of every schema (`blocks.md` 4.1).
const ROOT: &str = "Trace";

/// One leaf as the format demands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedLeaf {
    /// The literal path, steps of lists included.
    pub path: String,
    /// Type of its values.
    pub kind: Kind,
    /// Greatest definition level.
    pub max_def: i16,
    /// Greatest repetition level.
    pub max_rep: i16,
    /// How its values are stored.
    pub storage: Storage,
}

/// Type of a leaf's values, with what the annotation adds to the physical type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    /// Byte strings without annotation.
    Bytes,
    /// Byte strings annotated as text.
    Text,
    Bool,
    I32,
    U32,
    I64,
    U64,
    F64,
}

/// How a leaf's values are stored (`blocks.md` 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// How they are encoded.
    pub encoding: LeafEncoding,
    /// How pages are compressed.
    pub compression: LeafCompression,
    /// Whether bounds of values are kept; not worth it for large texts.
    pub bounds: bool,
}

/// How a leaf's values are encoded; every page of a chunk in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Parquet's")]
pub enum LeafEncoding {
    Plain,
    Dictionary,
    DeltaBinaryPacked,
    DeltaLengthByteArray,
}

/// How a leaf's pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Parquet's")]
pub enum LeafCompression {
    None,
    Snappy,
    Zstd,
}

impl ExpectedLeaf {
    /// Whether column chunks may have a dictionary.
    #[must_use]
    pub fn has_dictionary(&self) -> bool {
        self.storage.encoding == LeafEncoding::Dictionary
    }
}

impl Kind {
    /// The type that its values have in a file.
    #[must_use]
    pub fn physical(self) -> PhysicalType {
        match self {
            Self::Bytes | Self::Text => PhysicalType::BYTE_ARRAY,
            Self::Bool => PhysicalType::BOOLEAN,
            Self::I32 | Self::U32 => PhysicalType::INT32,
            Self::I64 | Self::U64 => PhysicalType::INT64,
            Self::F64 => PhysicalType::DOUBLE,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        let integer = |bit_width, is_signed| Some(LogicalType::integer(bit_width, is_signed));
        match self {
            Self::Bytes | Self::Bool | Self::F64 => None,
            Self::Text => Some(LogicalType::String),
            Self::I32 => integer(32, true),
            Self::U32 => integer(32, false),
            Self::I64 => integer(64, true),
            Self::U64 => integer(64, false),
        }
    }
}

impl Storage {
    pub(super) const fn new(encoding: LeafEncoding, compression: LeafCompression) -> Self {
        Self { encoding, compression, bounds: true }
    }
}

/// How often something occurs in its parent, and in which notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Required,
    Optional,
    /// A bare repeated field, as vParquet5 has them.
    Repeated,
    /// Three groups annotated as a list, as earlier versions have them.
    List,
    /// Two groups annotated as a map.
    Map,
}

/// A group or a leaf.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) content: Content,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Group(Vec<Node>),
    Leaf(Kind, Storage),
}

/// The leaves of a tree in file order.
pub(super) fn leaves(nodes: &[Node]) -> Vec<ExpectedLeaf> {
    let mut leaves = Vec::new();
    flatten(nodes, "", (0, 0), &mut leaves);
    leaves
}

fn flatten(nodes: &[Node], prefix: &str, (def, rep): (i16, i16), to: &mut Vec<ExpectedLeaf>) {
    for Node { name, shape, content } in nodes {
        let (steps, (max_def, max_rep)) = match shape {
            Shape::Required => ("", (def, rep)),
            Shape::Optional => ("", (def + 1, rep)),
            Shape::Repeated => ("", (def + 1, rep + 1)),
            Shape::List => (".list.element", (def + 1, rep + 1)),
            Shape::Map => (".key_value", (def + 1, rep + 1)),
        };
        let path = format!("{prefix}{name}{steps}");
        match content {
            Content::Group(nodes) => flatten(nodes, &format!("{path}."), (max_def, max_rep), to),
            Content::Leaf(kind, storage) => {
                to.push(ExpectedLeaf { path, kind: *kind, max_def, max_rep, storage: *storage });
            }
        }
    }
}

/// The Parquet type of a tree.
pub(super) fn message_type(nodes: &[Node]) -> Result<Type, ParquetError> {
    Type::group_type_builder(ROOT).with_fields(fields(nodes)?).build()
}

fn fields(nodes: &[Node]) -> Result<Vec<Arc<Type>>, ParquetError> {
    nodes.iter().map(|node| field(node).map(Arc::new)).collect()
}

fn field(node: &Node) -> Result<Type, ParquetError> {
    let Node { name, shape, content } = node;
    match shape {
        Shape::Required => plain(name, Repetition::REQUIRED, content),
        Shape::Optional => plain(name, Repetition::OPTIONAL, content),
        Shape::Repeated => plain(name, Repetition::REPEATED, content),
        Shape::List => {
            let element = plain("element", Repetition::REQUIRED, content)?;
            let list = group("list", Repetition::REPEATED, vec![Arc::new(element)]).build()?;
            group(name, Repetition::REQUIRED, vec![Arc::new(list)])
                .with_converted_type(ConvertedType::LIST)
                .with_logical_type(Some(LogicalType::List))
                .build()
        }
        Shape::Map => {
            let entries = plain("key_value", Repetition::REPEATED, content)?;
            group(name, Repetition::REQUIRED, vec![Arc::new(entries)])
                .with_converted_type(ConvertedType::MAP)
                .with_logical_type(Some(LogicalType::Map))
                .build()
        }
    }
}

fn plain(name: &str, repetition: Repetition, content: &Content) -> Result<Type, ParquetError> {
    match content {
        Content::Group(nodes) => group(name, repetition, fields(nodes)?).build(),
        Content::Leaf(kind, _) => Type::primitive_type_builder(name, kind.physical())
            .with_repetition(repetition)
            .with_logical_type(kind.logical())
            .build(),
    }
}

fn group(
    name: &str,
    repetition: Repetition,
    fields: Vec<Arc<Type>>,
) -> parquet::schema::types::GroupTypeBuilder<'_> {
    Type::group_type_builder(name).with_repetition(repetition).with_fields(fields)
}
