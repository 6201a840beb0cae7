//! The leaves that a block's file must have, in order (`blocks.md` 4.2 to 4.5): Tempo addresses
//! leaves by position. For what checks files; reading goes by path and is more lenient.

use parquet::basic::Type as PhysicalType;

use super::WELL_KNOWN;
use crate::bucket::meta::{BlockMeta, DedicatedScope, DedicatedType, FormatVersion};

use PhysicalType::{BOOLEAN, BYTE_ARRAY, DOUBLE, INT32, INT64};

/// One leaf as the format demands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedLeaf {
    /// The literal path, steps of lists included.
    pub path: String,
    /// Physical type.
    pub physical: PhysicalType,
    /// Greatest definition level.
    pub max_def: i16,
    /// Greatest repetition level.
    pub max_rep: i16,
    /// Whether column chunks may have a dictionary.
    pub dictionary: bool,
}

/// All leaves of a file whose block has this meta.
#[must_use]
pub fn expected_leaves(meta: &BlockMeta) -> Vec<ExpectedLeaf> {
    let mut layout = Layout { version: meta.version, prefix: String::new(), leaves: Vec::new() };
    layout.trace(meta);
    layout.leaves
}

struct Layout {
    version: FormatVersion,
    prefix: String,
    leaves: Vec<ExpectedLeaf>,
}

/// Whether a leaf may have a dictionary.
const DICTIONARY: bool = true;
const NO_DICTIONARY: bool = false;

impl Layout {
    fn trace(&mut self, meta: &BlockMeta) {
        let is_v5 = self.version == FormatVersion::VParquet5;
        self.required("TraceID", BYTE_ARRAY, 0, NO_DICTIONARY);
        self.required("TraceIDText", BYTE_ARRAY, 0, NO_DICTIONARY);
        self.numbers(INT64, 0, &["StartTimeUnixNano", "EndTimeUnixNano", "DurationNano"]);
        self.required("RootServiceName", BYTE_ARRAY, 0, DICTIONARY);
        self.required("RootSpanName", BYTE_ARRAY, 0, DICTIONARY);
        match self.version {
            FormatVersion::VParquet3 => {}
            FormatVersion::VParquet4 => {
                self.required("ServiceStats.key_value.key", BYTE_ARRAY, 1, NO_DICTIONARY);
                self.within("ServiceStats.key_value.value", |stats| {
                    stats.numbers(INT32, 1, &["SpanCount", "ErrorCount"]);
                });
            }
            FormatVersion::VParquet5 => {
                self.required("ServiceStats.ServiceName", BYTE_ARRAY, 1, DICTIONARY);
                self.within("ServiceStats", |stats| {
                    stats.numbers(INT32, 1, &["SpanCount", "ErrorCount"]);
                });
            }
        }
        self.within_list("rs", |rs| {
            rs.within("Resource", |resource| resource.resource(meta));
            rs.within_list("ss", |ss| {
                ss.within("Scope", Self::scope);
                ss.within_list("Spans", |span| span.span(meta));
                if is_v5 {
                    ss.numbers(INT32, 2, &["SpanCount"]);
                }
            });
        });
    }

    fn resource(&mut self, meta: &BlockMeta) {
        match self.version {
            FormatVersion::VParquet5 => {
                self.required("ServiceName", BYTE_ARRAY, 1, DICTIONARY);
                self.attributes(2);
                self.numbers(INT32, 1, &["DroppedAttributesCount"]);
            }
            version => {
                self.attributes(2);
                if version == FormatVersion::VParquet4 {
                    self.numbers(INT32, 1, &["DroppedAttributesCount"]);
                }
                self.required("ServiceName", BYTE_ARRAY, 1, DICTIONARY);
                self.well_known(super::Level::Resource, 1);
            }
        }
        self.dedicated(meta, DedicatedScope::Resource, 1);
    }

    fn scope(&mut self) {
        self.required("Name", BYTE_ARRAY, 2, DICTIONARY);
        self.required("Version", BYTE_ARRAY, 2, DICTIONARY);
        if self.version != FormatVersion::VParquet3 {
            self.attributes(3);
            self.numbers(INT32, 2, &["DroppedAttributesCount"]);
        }
    }

    fn span(&mut self, meta: &BlockMeta) {
        let is_v5 = self.version == FormatVersion::VParquet5;
        self.required("SpanID", BYTE_ARRAY, 3, NO_DICTIONARY);
        self.required("ParentSpanID", BYTE_ARRAY, 3, NO_DICTIONARY);
        self.numbers(INT32, 3, &["ParentID", "NestedSetLeft", "NestedSetRight"]);
        if is_v5 {
            self.numbers(INT32, 3, &["ChildCount"]);
        }
        self.required("Name", BYTE_ARRAY, 3, DICTIONARY);
        self.numbers(INT64, 3, &["Kind"]);
        self.required("TraceState", BYTE_ARRAY, 3, NO_DICTIONARY);
        self.numbers(INT64, 3, &["StartTimeUnixNano", "DurationNano", "StatusCode"]);
        self.required("StatusMessage", BYTE_ARRAY, 3, NO_DICTIONARY);
        self.attributes(4);
        self.numbers(INT32, 3, &["DroppedAttributesCount"]);
        self.within_list("Events", |event| event.event(meta));
        self.numbers(INT32, 3, &["DroppedEventsCount"]);
        if self.version == FormatVersion::VParquet3 {
            self.required("Links", BYTE_ARRAY, 3, NO_DICTIONARY);
        } else {
            self.within_list("Links", Self::link);
        }
        self.numbers(INT32, 3, &["DroppedLinksCount"]);
        if !is_v5 {
            self.well_known(super::Level::Span, 3);
        }
        self.dedicated(meta, DedicatedScope::Span, 3);
        if is_v5 {
            let rounded = [15, 60, 300, 3600].map(|seconds| format!("StartTimeRounded{seconds}"));
            self.numbers(INT32, 3, &rounded.each_ref().map(String::as_str));
        }
    }

    fn event(&mut self, meta: &BlockMeta) {
        if self.version == FormatVersion::VParquet3 {
            self.numbers(INT64, 4, &["TimeUnixNano"]);
            self.required("Name", BYTE_ARRAY, 4, NO_DICTIONARY);
            self.within_list("Attrs", |attribute| {
                attribute.required("Key", BYTE_ARRAY, 5, DICTIONARY);
                attribute.required("Value", BYTE_ARRAY, 5, NO_DICTIONARY);
            });
            self.numbers(INT32, 4, &["DroppedAttributesCount"]);
            return;
        }
        self.numbers(INT64, 4, &["TimeSinceStartNano"]);
        self.required("Name", BYTE_ARRAY, 4, DICTIONARY);
        self.attributes(5);
        self.numbers(INT32, 4, &["DroppedAttributesCount"]);
        if self.version == FormatVersion::VParquet5 {
            self.dedicated(meta, DedicatedScope::Event, 4);
        }
    }

    fn link(&mut self) {
        self.required("TraceID", BYTE_ARRAY, 4, NO_DICTIONARY);
        self.required("SpanID", BYTE_ARRAY, 4, NO_DICTIONARY);
        self.required("TraceState", BYTE_ARRAY, 4, NO_DICTIONARY);
        self.attributes(5);
        self.numbers(INT32, 4, &["DroppedAttributesCount"]);
    }

    /// The attribute list whose elements have this level.
    fn attributes(&mut self, level: i16) {
        let is_v3 = self.version == FormatVersion::VParquet3;
        self.within_list("Attrs", |attribute| {
            attribute.required("Key", BYTE_ARRAY, level, DICTIONARY);
            if is_v3 {
                attribute.optional("Value", BYTE_ARRAY, level, DICTIONARY);
                attribute.optional("ValueInt", INT64, level, NO_DICTIONARY);
                attribute.optional("ValueDouble", DOUBLE, level, NO_DICTIONARY);
                attribute.optional("ValueBool", BOOLEAN, level, NO_DICTIONARY);
                attribute.optional("ValueKVList", BYTE_ARRAY, level, NO_DICTIONARY);
                attribute.optional("ValueArray", BYTE_ARRAY, level, NO_DICTIONARY);
                return;
            }
            attribute.required("IsArray", BOOLEAN, level, NO_DICTIONARY);
            attribute.repeated("Value", BYTE_ARRAY, level, DICTIONARY);
            attribute.repeated("ValueInt", INT64, level, NO_DICTIONARY);
            attribute.repeated("ValueDouble", DOUBLE, level, NO_DICTIONARY);
            attribute.repeated("ValueBool", BOOLEAN, level, NO_DICTIONARY);
            attribute.optional("ValueUnsupported", BYTE_ARRAY, level, NO_DICTIONARY);
        });
    }

    fn well_known(&mut self, of: super::Level, level: i16) {
        for (_, _, name) in WELL_KNOWN.iter().filter(|column| column.0 == of) {
            if *name == "HttpStatusCode" {
                self.optional(name, INT64, level, NO_DICTIONARY);
            } else {
                self.optional(name, BYTE_ARRAY, level, DICTIONARY);
            }
        }
    }

    /// Spare columns of a level: all ten before vParquet5, since then only the assigned ones.
    fn dedicated(&mut self, meta: &BlockMeta, scope: DedicatedScope, level: i16) {
        self.within("DedicatedAttributes", |spares| {
            if spares.version != FormatVersion::VParquet5 {
                for n in 1..=10 {
                    spares.optional(&format!("String{n:02}"), BYTE_ARRAY, level, DICTIONARY);
                }
                return;
            }
            let of_type = |wanted: DedicatedType, capacity: usize| {
                let columns = meta.dedicated_columns.iter();
                columns
                    .filter(move |c| c.scope == scope && c.column_type == wanted)
                    .take(capacity)
                    .zip(1..)
            };
            for (column, n) in of_type(DedicatedType::String, 20) {
                spares.repeated(&format!("String{n:02}"), BYTE_ARRAY, level, !column.blob);
            }
            for (_, n) in of_type(DedicatedType::Int, 5) {
                spares.repeated(&format!("Int{n:02}"), INT64, level, NO_DICTIONARY);
            }
        });
    }

    fn within(&mut self, group: &str, leaves: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.push_str(group);
        self.prefix.push('.');
        leaves(self);
        self.prefix.truncate(outer);
    }

    /// Lists are bare repeated groups in vParquet5 and have two groups more before it.
    fn within_list(&mut self, list: &str, leaves: impl FnOnce(&mut Self)) {
        if self.version == FormatVersion::VParquet5 {
            self.within(list, leaves);
        } else {
            self.within(&format!("{list}.list.element"), leaves);
        }
    }

    fn numbers(&mut self, physical: PhysicalType, level: i16, names: &[&str]) {
        for name in names {
            self.required(name, physical, level, NO_DICTIONARY);
        }
    }

    fn required(&mut self, name: &str, physical: PhysicalType, level: i16, dictionary: bool) {
        self.leaf(name, physical, (level, level), dictionary);
    }

    fn optional(&mut self, name: &str, physical: PhysicalType, level: i16, dictionary: bool) {
        self.leaf(name, physical, (level + 1, level), dictionary);
    }

    fn repeated(&mut self, name: &str, physical: PhysicalType, level: i16, dictionary: bool) {
        let levels = (level + 1, level + 1);
        if self.version == FormatVersion::VParquet5 {
            self.leaf(name, physical, levels, dictionary);
        } else {
            self.leaf(&format!("{name}.list.element"), physical, levels, dictionary);
        }
    }

    fn leaf(
        &mut self,
        name: &str,
        physical: PhysicalType,
        (max_def, max_rep): (i16, i16),
        dictionary: bool,
    ) {
        let path = format!("{}{name}", self.prefix);
        self.leaves.push(ExpectedLeaf { path, physical, max_def, max_rep, dictionary });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::fixtures::{all_block_folders, block_in, context};
    use crate::read::open::OpenBlock;

    #[tokio::test]
    async fn every_frozen_block_has_the_leaves_of_its_version() {
        for folder in all_block_folders() {
            let block = block_in(&folder);
            let open = OpenBlock::open(&block, &context()).await.unwrap();
            let found: Vec<_> = open
                .metadata()
                .file_metadata()
                .schema_descr()
                .columns()
                .iter()
                .map(|c| {
                    let levels = (c.max_def_level(), c.max_rep_level());
                    (c.path().string(), c.physical_type(), levels)
                })
                .collect();
            let expect: Vec<_> = expected_leaves(&block.meta)
                .into_iter()
                .map(|leaf| (leaf.path, leaf.physical, (leaf.max_def, leaf.max_rep)))
                .collect();
            assert_eq!(expect, found, "{}", folder.display());
            let n_leaves = match block.meta.version {
                FormatVersion::VParquet3 => 76,
                FormatVersion::VParquet4 => 103,
                FormatVersion::VParquet5 => expect.len(),
            };
            assert_eq!(found.len(), n_leaves);
        }
    }

    #[tokio::test]
    async fn only_columns_meant_for_it_have_dictionaries() {
        for folder in all_block_folders() {
            let block = block_in(&folder);
            let open = OpenBlock::open(&block, &context()).await.unwrap();
            for row_group in open.metadata().row_groups() {
                for (leaf, chunk) in expected_leaves(&block.meta).iter().zip(row_group.columns()) {
                    let found = chunk.dictionary_page_offset().is_some();
                    assert!(leaf.dictionary || !found, "{} in {}", leaf.path, folder.display());
                }
            }
        }
    }
}
