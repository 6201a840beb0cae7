//! What dictionaries and statistics of a row group tell without a data page: which keys occur, what
//! cannot match, which columns are cheap. Facts only spare work; they never say that a span matches.

use std::sync::Arc;

use parquet::basic::Type as PhysicalType;

use super::batch::Condition;
use super::block_batch::{BlockBatch, PageStrings};
use super::leaf::Demand;
use super::values::StringTable;
use crate::schema::{Column, LeafIndex, Level};

impl BlockBatch {
    /// Keys of the attributes of a level that occur in this row group, from dictionaries and
    /// statistics; nothing is decoded where keys have a dictionary.
    ///
    /// # Errors
    /// As every read of a column.
    pub fn keys(&self, level: Level) -> Demand<Vec<String>> {
        let schema = &self.window.block.schema;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut keys: Vec<String> = Vec::new();
        match schema.attributes(level) {
            Some(leaves) => match self.window.table(leaves.key)? {
                Some(table) if !self.has_plain_pages(leaves.key) => {
                    keys.extend(table.iter().map(text));
                }
                _ => {
                    for piece in &self.window.pieces(leaves.key, &self.all())? {
                        if let PageStrings::Plain(plain) = self.page_strings(leaves.key, piece)? {
                            keys.extend(plain.iter().map(text));
                        }
                    }
                }
            },
            None if level == Level::Link => keys.extend(self.v3_links()?.keys()),
            None => {}
        }
        for (own_level, key, leaf) in schema.own_columns() {
            if *own_level == level && self.has_values(*leaf)? {
                keys.push(key.clone());
            }
        }
        Ok(keys)
    }

    /// True if a column of its own holds a value (for `service.name`, more than `""`) anywhere in the
    /// row group.
    fn has_values(&self, leaf: LeafIndex) -> Demand<bool> {
        if self.info(leaf).physical == PhysicalType::BYTE_ARRAY
            && let Some(table) = self.window.table(leaf)?
        {
            let required = self.info(leaf).max_def == 1;
            return Ok(table.iter().any(|text| !required || !text.is_empty()));
        }
        Ok(!self.is_all_null(leaf))
    }

    /// The dictionary that alone holds all values of a column in this row group; `None` if there is
    /// none such: keys in generic lists, pages without dictionary, numbers.
    ///
    /// # Errors
    /// As every read of a column.
    pub fn only_dictionary(&self, column: &Column) -> Demand<Option<Arc<StringTable>>> {
        let schema = &self.window.block.schema;
        let leaf = match column {
            Column::Attribute(level, key) => {
                if let Some(generic) = schema.attributes(*level) {
                    match self.window.table(generic.key)? {
                        Some(keys) if keys.find(key.as_bytes()).is_none() => {}
                        _ => return Ok(None),
                    }
                }
                schema.own_column(*level, key).map(|own| own.leaf)
            }
            _ => schema.intrinsic_leaf(column).map(|leaf| leaf.index),
        };
        match leaf {
            Some(leaf)
                if self.info(leaf).physical == PhysicalType::BYTE_ARRAY
                    && !self.has_plain_pages(leaf) =>
            {
                self.window.table(leaf)
            }
            _ => Ok(None),
        }
    }

    /// True if metadata proves that no value of the column can satisfy the predicate in this row
    /// group: the key does not occur, or a string does not.
    pub fn is_impossible(&self, condition: &Condition) -> Demand<bool> {
        let Column::Attribute(level, key) = &condition.column else {
            let Some(leaf) = self.window.block.schema.intrinsic_leaf(&condition.column) else {
                return Ok(false);
            };
            return self.string_is_absent(leaf.index, condition);
        };
        let schema = &self.window.block.schema;
        let own = match schema.own_column(*level, key) {
            Some(own) => self.string_is_absent(own.leaf, condition),
            None => Ok(true),
        };
        let generic = match schema.attributes(*level) {
            Some(leaves) => match self.window.table(leaves.key) {
                Ok(Some(keys)) if keys.find(key.as_bytes()).is_none() => Ok(true),
                Ok(Some(_)) => match leaves.string {
                    Some(leaf) if leaves.is_array.is_some() => {
                        self.string_is_absent(leaf, condition)
                    }
                    _ => Ok(false),
                },
                Ok(None) => Ok(false),
                Err(fault) => Err(fault),
            },
            None => Ok(*level != Level::Link),
        };
        Ok(own? && generic?)
    }

    fn string_is_absent(&self, leaf: LeafIndex, condition: &Condition) -> Demand<bool> {
        use super::predicate::{Comparison, Literal, Predicate};
        let Predicate::Compare(Comparison::Equal, Literal::Bytes(wanted)) = &condition.predicate
        else {
            return Ok(false);
        };
        if self.info(leaf).physical != PhysicalType::BYTE_ARRAY {
            return Ok(true);
        }
        Ok(match self.window.table(leaf)? {
            // Every page of a chunk with a dictionary uses it (blocks.md 0, rule 3); a writer that
            // falls back to plain pages declares so in the chunk's encodings.
            Some(table) => !self.has_plain_pages(leaf) && table.find(wanted).is_none(),
            None => false,
        })
    }

    pub(super) fn has_plain_pages(&self, leaf: LeafIndex) -> bool {
        use parquet::basic::Encoding;
        let chunk = self.window.block.chunk(self.window.row_group, leaf);
        match chunk.page_encoding_stats() {
            Some(stats) => stats.iter().any(|stat| {
                stat.page_type != parquet::basic::PageType::DICTIONARY_PAGE
                    && !matches!(
                        stat.encoding,
                        Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY
                    )
            }),
            None => chunk.encodings().any(|encoding| {
                matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
            }),
        }
    }

    /// True if testing the column means going through a generic attribute list.
    #[must_use]
    pub fn is_expensive(&self, column: &Column) -> bool {
        let Column::Attribute(level, key) = column else { return false };
        let schema = &self.window.block.schema;
        schema.attributes(*level).is_some_and(|leaves| match self.window.table(leaves.key) {
            Ok(Some(keys)) => keys.find(key.as_bytes()).is_some(),
            _ => true,
        })
    }
}
