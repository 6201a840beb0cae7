//! One vocabulary of columns above all block versions, and where each is found in a file
//! (`blocks.md` section 4). Versions end here: nothing above asks which one a block has.

pub mod layout;
pub mod tree;

use std::collections::HashMap;

use parquet::basic::Type as PhysicalType;
use parquet::schema::types::SchemaDescriptor;

use crate::bucket::meta::{BlockMeta, DedicatedScope, DedicatedType, FormatVersion};
use crate::error::{Error, Result};

/// What a column has one row per.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the glossary's")]
pub enum Level {
    Trace,
    Resource,
    Scope,
    Span,
    Event,
    Link,
}

/// Intervals, in seconds, by which vParquet5 keeps rounded starts of spans (`blocks.md` 4.8).
pub const ROUNDED_STARTS: [u16; 4] = [15, 60, 300, 3600];

/// A column as the engine asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of traceql.md 1.6 and blocks.md 4.2")]
pub enum Column {
    /// 16 raw bytes per trace.
    TraceId,
    /// Unix nanoseconds.
    TraceStart,
    /// Unix nanoseconds.
    TraceEnd,
    /// Nanoseconds.
    TraceDuration,
    RootServiceName,
    RootSpanName,
    /// Raw bytes.
    SpanId,
    /// Raw bytes, empty for roots.
    ParentSpanId,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    Name,
    /// OTLP number.
    Kind,
    /// OTLP number.
    StatusCode,
    StatusMessage,
    /// Unix nanoseconds.
    SpanStart,
    /// The start rounded up to a multiple of so many seconds since the epoch, unix nanoseconds.
    /// vParquet5 keeps it for [`ROUNDED_STARTS`], in less space than the start itself.
    SpanStartRounded(u16),
    /// Nanoseconds.
    SpanDuration,
    /// W3C `tracestate`.
    TraceState,
    ScopeName,
    ScopeVersion,
    EventName,
    /// Nanoseconds since the span's start; negative if before it.
    EventTimeSinceStart,
    /// Raw bytes.
    LinkTraceId,
    /// Raw bytes.
    LinkSpanId,
    /// A custom attribute of one level, wherever this block keeps it.
    Attribute(Level, String),
}

impl Column {
    /// What the column has one row per.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::TraceId
            | Self::TraceStart
            | Self::TraceEnd
            | Self::TraceDuration
            | Self::RootServiceName
            | Self::RootSpanName => Level::Trace,
            Self::SpanId
            | Self::ParentSpanId
            | Self::NestedSetLeft
            | Self::NestedSetRight
            | Self::NestedSetParent
            | Self::Name
            | Self::Kind
            | Self::StatusCode
            | Self::StatusMessage
            | Self::SpanStart
            | Self::SpanStartRounded(_)
            | Self::SpanDuration
            | Self::TraceState => Level::Span,
            Self::ScopeName | Self::ScopeVersion => Level::Scope,
            Self::EventName | Self::EventTimeSinceStart => Level::Event,
            Self::LinkTraceId | Self::LinkSpanId => Level::Link,
            Self::Attribute(level, _) => *level,
        }
    }
}

/// Position of a leaf among the leaves of a file.
pub type LeafIndex = usize;

/// One leaf of a file.
#[derive(Clone, Debug)]
pub struct LeafInfo {
    /// Its position in the schema.
    pub index: LeafIndex,
    /// Version-independent path: `rs.ss.Spans.Name`.
    pub path: String,
    /// Greatest definition level.
    pub max_def: u8,
    /// Greatest repetition level.
    pub max_rep: u8,
    /// Physical type.
    pub physical: PhysicalType,
}

/// The generic attribute list of one level.
#[derive(Clone, Debug)]
pub struct AttributeLeaves {
    /// Keys; one entry per attribute.
    pub key: LeafIndex,
    /// Whether the value is an array; v4 and v5 only.
    pub is_array: Option<LeafIndex>,
    /// Strings.
    pub string: Option<LeafIndex>,
    /// Integers.
    pub int: Option<LeafIndex>,
    /// Doubles.
    pub double: Option<LeafIndex>,
    /// Booleans.
    pub bool: Option<LeafIndex>,
    /// v3: arrays as JSON. v4 and v5: everything that is neither scalar nor homogeneous array.
    pub other: Option<LeafIndex>,
    /// v3: key-value lists as JSON.
    pub key_values: Option<LeafIndex>,
    /// v3 events: the value as `AnyValue` protobuf bytes.
    pub protobuf: Option<LeafIndex>,
}

/// An attribute that has a column of its own in this file: well-known or dedicated.
#[derive(Clone, Debug)]
pub struct OwnColumn {
    /// The leaf.
    pub leaf: LeafIndex,
}

/// Where a file keeps what.
#[derive(Clone, Debug)]
pub struct BlockSchema {
    version: FormatVersion,
    leaves: Vec<LeafInfo>,
    by_path: HashMap<String, LeafIndex>,
    own: HashMap<(Level, String), OwnColumn>,
    own_in_order: Vec<(Level, String, LeafIndex)>,
    generic: HashMap<Level, AttributeLeaves>,
}

/// Prefix of a level's leaves.
pub(crate) fn prefix(level: Level) -> &'static str {
    match level {
        Level::Trace => "",
        Level::Resource => "rs.Resource.",
        Level::Scope => "rs.ss.Scope.",
        Level::Span => "rs.ss.Spans.",
        Level::Event => "rs.ss.Spans.Events.",
        Level::Link => "rs.ss.Spans.Links.",
    }
}

/// Well-known columns of vParquet3 and 4 besides `service.name` (4.7).
const WELL_KNOWN: [(Level, &str, &str); 11] = [
    (Level::Resource, "cluster", "Cluster"),
    (Level::Resource, "namespace", "Namespace"),
    (Level::Resource, "pod", "Pod"),
    (Level::Resource, "container", "Container"),
    (Level::Resource, "k8s.cluster.name", "K8sClusterName"),
    (Level::Resource, "k8s.namespace.name", "K8sNamespaceName"),
    (Level::Resource, "k8s.pod.name", "K8sPodName"),
    (Level::Resource, "k8s.container.name", "K8sContainerName"),
    (Level::Span, "http.method", "HttpMethod"),
    (Level::Span, "http.url", "HttpUrl"),
    (Level::Span, "http.status_code", "HttpStatusCode"),
];

/// Whether every block of a format has a column for this attribute, whatever its meta says.
pub(crate) fn has_well_known_column(version: FormatVersion, level: Level, key: &str) -> bool {
    let is_old = version != FormatVersion::VParquet5;
    (level, key) == (Level::Resource, "service.name")
        || is_old && WELL_KNOWN.iter().any(|known| (known.0, known.1) == (level, key))
}

impl BlockSchema {
    /// Maps the leaves of a file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file lacks a leaf every block has, or a leaf has another type:
    /// the file is no block of that version, or its `meta.json` belongs to another file.
    pub fn new(key: &str, meta: &BlockMeta, descriptor: &SchemaDescriptor) -> Result<Self> {
        let mut leaves = Vec::with_capacity(descriptor.num_columns());
        let mut by_path = HashMap::with_capacity(descriptor.num_columns());
        for (index, column) in descriptor.columns().iter().enumerate() {
            let path = plain_path(column.path().parts());
            let level = |value: i16, what: &str| {
                u8::try_from(value).ok().filter(|v| *v < 32).ok_or_else(|| {
                    Error::corrupt(key, None, "levels of a trace block", format!("{what} {value}"))
                })
            };
            by_path.insert(path.clone(), index);
            leaves.push(LeafInfo {
                index,
                path,
                max_def: level(column.max_def_level(), "definition level")?,
                max_rep: level(column.max_rep_level(), "repetition level")?,
                physical: column.physical_type(),
            });
        }
        let mut schema = Self {
            version: meta.version,
            leaves,
            by_path,
            own: HashMap::new(),
            own_in_order: Vec::new(),
            generic: HashMap::new(),
        };
        schema.check(key)?;
        schema.map_attributes();
        schema.map_own_columns(key, meta)?;
        Ok(schema)
    }

    /// Format version; for code inside this crate that decodes version-specific leaves.
    #[must_use]
    pub fn version(&self) -> FormatVersion {
        self.version
    }

    /// All leaves in file order.
    #[must_use]
    pub fn leaves(&self) -> &[LeafInfo] {
        &self.leaves
    }

    /// The leaf with this version-independent path.
    #[must_use]
    pub fn leaf(&self, path: &str) -> Option<&LeafInfo> {
        self.by_path.get(path).map(|index| &self.leaves[*index])
    }

    /// The column of its own that an attribute has here, if any.
    #[must_use]
    pub fn own_column(&self, level: Level, key: &str) -> Option<&OwnColumn> {
        // A tuple of borrowed parts cannot be looked up without an allocation; lookups are per query.
        self.own.get(&(level, key.to_owned()))
    }

    /// All columns of their own, in the order in which rows are read back (5.3).
    #[must_use]
    pub fn own_columns(&self) -> &[(Level, String, LeafIndex)] {
        &self.own_in_order
    }

    /// Whether each leaf of another file stands at the same place here, with the same meaning: of one
    /// version, with the same dedicated columns.
    pub(crate) fn is_laid_out_as(&self, other: &Self) -> bool {
        let place = |leaf: &LeafInfo| (leaf.max_def, leaf.max_rep, leaf.physical);
        self.version == other.version
            && self.own_in_order == other.own_in_order
            && self.leaves.len() == other.leaves.len()
            && self
                .leaves
                .iter()
                .zip(&other.leaves)
                .all(|(one, two)| one.path == two.path && place(one) == place(two))
    }

    /// The generic attribute list of a level; vParquet3 scopes and links have none.
    #[must_use]
    pub fn attributes(&self, level: Level) -> Option<&AttributeLeaves> {
        self.generic.get(&level)
    }

    /// The leaf of a column that is not an attribute, if this version has it.
    #[must_use]
    pub fn intrinsic_leaf(&self, column: &Column) -> Option<&LeafInfo> {
        self.leaf(match column {
            Column::TraceId => "TraceID",
            Column::TraceStart => "StartTimeUnixNano",
            Column::TraceEnd => "EndTimeUnixNano",
            Column::TraceDuration => "DurationNano",
            Column::RootServiceName => "RootServiceName",
            Column::RootSpanName => "RootSpanName",
            Column::SpanId => "rs.ss.Spans.SpanID",
            Column::ParentSpanId => "rs.ss.Spans.ParentSpanID",
            Column::NestedSetLeft => "rs.ss.Spans.NestedSetLeft",
            Column::NestedSetRight => "rs.ss.Spans.NestedSetRight",
            Column::NestedSetParent => "rs.ss.Spans.ParentID",
            Column::Name => "rs.ss.Spans.Name",
            Column::Kind => "rs.ss.Spans.Kind",
            Column::StatusCode => "rs.ss.Spans.StatusCode",
            Column::StatusMessage => "rs.ss.Spans.StatusMessage",
            Column::SpanStart => "rs.ss.Spans.StartTimeUnixNano",
            Column::SpanStartRounded(seconds) => match self.rounded_start(*seconds) {
                Some(leaf) => return Some(leaf),
                None => "rs.ss.Spans.StartTimeUnixNano",
            },
            Column::SpanDuration => "rs.ss.Spans.DurationNano",
            Column::TraceState => "rs.ss.Spans.TraceState",
            Column::ScopeName => "rs.ss.Scope.Name",
            Column::ScopeVersion => "rs.ss.Scope.Version",
            Column::EventName => "rs.ss.Spans.Events.Name",
            Column::EventTimeSinceStart => match self.version {
                FormatVersion::VParquet3 => "rs.ss.Spans.Events.TimeUnixNano",
                _ => "rs.ss.Spans.Events.TimeSinceStartNano",
            },
            // vParquet3 keeps links as one protobuf leaf, decoded by the reader of links.
            Column::LinkTraceId => "rs.ss.Spans.Links.TraceID",
            Column::LinkSpanId => "rs.ss.Spans.Links.SpanID",
            Column::Attribute(..) => return None,
        })
    }

    /// Every leaf that reading a column may touch, those among them that tell how many rows of the
    /// column's level a trace has.
    #[must_use]
    pub fn touched_by(&self, column: &Column) -> Vec<LeafIndex> {
        let v3 = self.version == FormatVersion::VParquet3;
        let named = |path: &str| self.leaf(path).map(|leaf| leaf.index);
        let mut leaves = vec![named("rs.ss.Spans.StatusCode")];
        leaves.push(match column.level() {
            Level::Event => named("rs.ss.Spans.Events.Name"),
            Level::Link if v3 => named("rs.ss.Spans.Links"),
            Level::Link => named("rs.ss.Spans.Links.SpanID"),
            _ => None,
        });
        match column {
            Column::Attribute(level, key) => {
                leaves.push(self.own_column(*level, key).map(|own| own.leaf));
                if let Some(generic) = self.attributes(*level) {
                    leaves.push(Some(generic.key));
                    leaves.extend([generic.is_array, generic.string, generic.int, generic.double]);
                    leaves.extend([generic.bool, generic.other, generic.key_values]);
                    leaves.push(generic.protobuf);
                }
            }
            // Times of events are absolute in vParquet3.
            Column::EventTimeSinceStart if v3 => {
                leaves.extend(
                    [&Column::SpanStart, column]
                        .map(|column| self.intrinsic_leaf(column).map(|leaf| leaf.index)),
                );
            }
            column => leaves.push(self.intrinsic_leaf(column).map(|leaf| leaf.index)),
        }
        leaves.into_iter().flatten().collect()
    }

    /// The leaf of starts by interval of so many seconds, if this version has it.
    pub(crate) fn rounded_start(&self, seconds: u16) -> Option<&LeafInfo> {
        self.leaf(&format!("rs.ss.Spans.StartTimeRounded{seconds}"))
            .filter(|leaf| leaf.physical == PhysicalType::INT32 && leaf.max_def == 3)
    }

    fn check(&self, key: &str) -> Result<()> {
        use PhysicalType::{BYTE_ARRAY, INT32, INT64};
        for (path, physical, max_def, max_rep) in [
            ("TraceID", BYTE_ARRAY, 0, 0),
            ("StartTimeUnixNano", INT64, 0, 0),
            ("EndTimeUnixNano", INT64, 0, 0),
            ("DurationNano", INT64, 0, 0),
            ("RootServiceName", BYTE_ARRAY, 0, 0),
            ("RootSpanName", BYTE_ARRAY, 0, 0),
            ("rs.Resource.ServiceName", BYTE_ARRAY, 1, 1),
            ("rs.Resource.Attrs.Key", BYTE_ARRAY, 2, 2),
            ("rs.ss.Scope.Name", BYTE_ARRAY, 2, 2),
            ("rs.ss.Scope.Version", BYTE_ARRAY, 2, 2),
            ("rs.ss.Spans.SpanID", BYTE_ARRAY, 3, 3),
            ("rs.ss.Spans.ParentSpanID", BYTE_ARRAY, 3, 3),
            ("rs.ss.Spans.ParentID", INT32, 3, 3),
            ("rs.ss.Spans.NestedSetLeft", INT32, 3, 3),
            ("rs.ss.Spans.NestedSetRight", INT32, 3, 3),
            ("rs.ss.Spans.Name", BYTE_ARRAY, 3, 3),
            ("rs.ss.Spans.Kind", INT64, 3, 3),
            ("rs.ss.Spans.StartTimeUnixNano", INT64, 3, 3),
            ("rs.ss.Spans.DurationNano", INT64, 3, 3),
            ("rs.ss.Spans.StatusCode", INT64, 3, 3),
            ("rs.ss.Spans.StatusMessage", BYTE_ARRAY, 3, 3),
            ("rs.ss.Spans.Attrs.Key", BYTE_ARRAY, 4, 4),
            ("rs.ss.Spans.Events.Name", BYTE_ARRAY, 4, 4),
            ("rs.ss.Spans.Events.Attrs.Key", BYTE_ARRAY, 5, 5),
        ] {
            let expected =
                || format!("a {:?} block: leaf {path} of type {physical:?}", self.version);
            match self.leaf(path) {
                None => {
                    return Err(Error::corrupt(key, None, expected(), "no such leaf"));
                }
                Some(leaf)
                    if (leaf.physical, leaf.max_def, leaf.max_rep)
                        != (physical, max_def, max_rep) =>
                {
                    return Err(Error::corrupt(
                        key,
                        None,
                        format!("{} at levels {max_def}/{max_rep}", expected()),
                        format!("{:?} at levels {}/{}", leaf.physical, leaf.max_def, leaf.max_rep),
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn map_attributes(&mut self) {
        for level in [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link] {
            let at =
                |name: &str| self.by_path.get(&format!("{}Attrs.{name}", prefix(level))).copied();
            let Some(key) = at("Key") else { continue };
            let is_array = at("IsArray");
            let v3_event = self.version == FormatVersion::VParquet3 && level == Level::Event;
            let leaves = AttributeLeaves {
                key,
                is_array,
                string: if v3_event { None } else { at("Value") },
                int: at("ValueInt"),
                double: at("ValueDouble"),
                bool: at("ValueBool"),
                other: at("ValueUnsupported").or_else(|| at("ValueArray")),
                key_values: at("ValueKVList"),
                protobuf: if v3_event { at("Value") } else { None },
            };
            self.generic.insert(level, leaves);
        }
    }

    fn map_own_columns(&mut self, key: &str, meta: &BlockMeta) -> Result<()> {
        for scope in [DedicatedScope::Resource, DedicatedScope::Span, DedicatedScope::Event] {
            let level = match scope {
                DedicatedScope::Resource => Level::Resource,
                DedicatedScope::Span => Level::Span,
                DedicatedScope::Event => Level::Event,
            };
            let (mut n_strings, mut n_ints) = (0, 0);
            for column in meta.dedicated_columns.iter().filter(|c| c.scope == scope) {
                let (name, physical, capacity) = match column.column_type {
                    DedicatedType::String => {
                        n_strings += 1;
                        let capacity = match meta.version {
                            FormatVersion::VParquet5 => layout::STRING_CAPACITY,
                            _ => layout::OLD_STRING_CAPACITY,
                        };
                        (
                            format!("String{n_strings:02}"),
                            PhysicalType::BYTE_ARRAY,
                            (n_strings, capacity),
                        )
                    }
                    DedicatedType::Int => {
                        n_ints += 1;
                        (
                            format!("Int{n_ints:02}"),
                            PhysicalType::INT64,
                            (n_ints, layout::INT_CAPACITY),
                        )
                    }
                };
                if capacity.0 > capacity.1 {
                    continue; // Beyond the spare columns: the attribute stays in the generic list.
                }
                let path = format!("{}DedicatedAttributes.{name}", prefix(level));
                match self.leaf(&path) {
                    Some(leaf) if leaf.physical == physical => {
                        let leaf = leaf.index;
                        self.add_own(level, &column.name, leaf);
                    }
                    // Older versions have no int spares and none for events.
                    None if meta.version != FormatVersion::VParquet5 => {}
                    found => {
                        return Err(Error::corrupt(
                            key,
                            None,
                            format!(
                                "leaf {path} of type {physical:?} for the dedicated column {:?} of meta.json",
                                column.name
                            ),
                            found.map_or_else(
                                || "no such leaf".to_owned(),
                                |leaf| format!("{:?}", leaf.physical),
                            ),
                        ));
                    }
                }
            }
        }
        if let Some(leaf) = self.leaf("rs.Resource.ServiceName") {
            let leaf = leaf.index;
            self.add_own(Level::Resource, "service.name", leaf);
        }
        if self.version != FormatVersion::VParquet5 {
            for (level, attribute, name) in WELL_KNOWN {
                if let Some(leaf) = self.leaf(&format!("{}{name}", prefix(level))) {
                    let leaf = leaf.index;
                    self.add_own(level, attribute, leaf);
                }
            }
        }
        Ok(())
    }

    fn add_own(&mut self, level: Level, attribute: &str, leaf: LeafIndex) {
        self.own_in_order.push((level, attribute.to_owned(), leaf));
        self.own.insert((level, attribute.to_owned()), OwnColumn { leaf });
    }
}

/// The path without the `list.element` and `key_value` steps of vParquet3 and 4.
fn plain_path(parts: &[String]) -> String {
    let mut plain: Vec<&str> = Vec::with_capacity(parts.len());
    let mut at = 0;
    while at < parts.len() {
        if parts[at] == "list" && parts.get(at + 1).is_some_and(|next| next == "element") {
            at += 2;
            continue;
        }
        plain.push(&parts[at]);
        at += 1;
    }
    match plain.as_slice() {
        ["ServiceStats", "key_value", "key"] => "ServiceStats.ServiceName".to_owned(),
        ["ServiceStats", "key_value", "value", leaf] => format!("ServiceStats.{leaf}"),
        _ => plain.join("."),
    }
}
