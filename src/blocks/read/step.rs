//! Some rows of one block leaf by leaf, with where each row lies in each leaf: what rows are copied
//! from, or taken out of to become traces. Knows neither pages nor what the leaves mean.

use std::ops::Range;
use std::sync::Arc;

use super::encoding::ByteArrays;
use super::library::{LeafValues, Values};
use super::structure::count;
use crate::error::{Error, Result};
use crate::model::TraceId;
use crate::schema::{LeafIndex, LeafInfo};

/// Some rows of one row group.
#[derive(Debug)]
pub(crate) struct Step {
    n_rows: usize,
    leaves: Vec<StepLeaf>,
}

/// A leaf of some rows.
#[derive(Debug)]
pub(crate) struct StepLeaf {
    content: LeafValues,
    /// The first entry of each row, and the number of entries. Leaves of one level share it.
    entries: Arc<[u32]>,
    /// The first value of each row, and the number of values.
    values: Arc<[u32]>,
}

impl Step {
    /// Takes the leaves of `n_rows` rows, one for each of the schema.
    pub(crate) fn new(leaves: Vec<LeafValues>, infos: &[LeafInfo], n_rows: usize) -> Self {
        let none: Arc<[u32]> = vec![0; n_rows + 1].into();
        let mut whole: Vec<StepLeaf> = Vec::with_capacity(leaves.len());
        // Of each set of leaves whose repetition levels are the same, the first.
        let mut known: Vec<usize> = Vec::new();
        for (content, info) in leaves.into_iter().zip(infos) {
            let alike = known.iter().find(|at| whole[**at].content.rep == content.rep);
            let entries = match alike {
                Some(at) => Arc::clone(&whole[*at].entries),
                None => {
                    known.push(whole.len());
                    row_starts(&content.rep)
                }
            };
            let values = match content.values.len() {
                0 => Arc::clone(&none),
                n if n == content.rep.len() => Arc::clone(&entries),
                _ => value_starts(&content.def, info.max_def, &entries),
            };
            whole.push(StepLeaf { content, entries, values });
        }
        Self { n_rows, leaves: whole }
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The leaves, in the order of the schema.
    pub(crate) fn leaves(&self) -> &[StepLeaf] {
        &self.leaves
    }

    /// The ids in a leaf of trace ids.
    ///
    /// # Errors
    /// [`Error::Corrupt`] unless each row has one.
    pub(crate) fn ids(&self, leaf: LeafIndex, name: &str) -> Result<Vec<TraceId>> {
        let values = &self.leaves[leaf].content.values;
        if values.len() != self.n_rows {
            let expected = format!("{} trace ids", self.n_rows);
            return Err(Error::corrupt(name, None, expected, values.len().to_string()));
        }
        Ok((0..self.n_rows).map(|row| TraceId::from_bytes(values.bytes(row))).collect())
    }

    /// The leaves of these rows alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for more than 4 GiB of strings.
    pub(crate) fn select(&self, rows: &[usize], name: &str) -> Result<Vec<LeafValues>> {
        let leaves = self.leaves.iter().map(|leaf| leaf.select(rows));
        leaves
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Unsupported { key: name.to_owned(), reason: error.to_string() })
    }
}

impl StepLeaf {
    /// Levels and values of all rows.
    pub(crate) fn content(&self) -> &LeafValues {
        &self.content
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.entries.len() - 1
    }

    /// Entries of a row.
    pub(crate) fn entries(&self, row: usize) -> Range<usize> {
        self.entries[row] as usize..self.entries[row + 1] as usize
    }

    /// Values of a row.
    pub(crate) fn values(&self, row: usize) -> Range<usize> {
        self.values[row] as usize..self.values[row + 1] as usize
    }

    /// The row that an entry belongs to.
    pub(crate) fn row_of_entry(&self, entry: usize) -> usize {
        self.entries.partition_point(|first| *first as usize <= entry).saturating_sub(1)
    }

    /// The row that a value belongs to.
    pub(crate) fn row_of_value(&self, value: usize) -> usize {
        self.values.partition_point(|first| *first as usize <= value).saturating_sub(1)
    }

    fn select(&self, rows: &[usize]) -> Result<LeafValues, super::error::DecodeError> {
        fn gather<T: Copy>(from: &[T], ranges: impl Iterator<Item = Range<usize>>) -> Vec<T> {
            let mut to = Vec::new();
            ranges.for_each(|range| to.extend_from_slice(&from[range]));
            to
        }
        let LeafValues { rep, def, values } = &self.content;
        let entries = || rows.iter().map(|row| self.entries(*row));
        let ranges = rows.iter().map(|row| self.values(*row));
        Ok(LeafValues {
            rep: gather(rep, entries()),
            def: gather(def, entries()),
            values: match values {
                Values::Bool(values) => Values::Bool(gather(values, ranges)),
                Values::I32(values) => Values::I32(gather(values, ranges)),
                Values::I64(values) => Values::I64(gather(values, ranges)),
                Values::F64(values) => Values::F64(gather(values, ranges)),
                Values::Coded(codes, table) => {
                    Values::Coded(gather(codes, ranges), Arc::clone(table))
                }
                Values::Bytes(values) => {
                    let mut gathered = ByteArrays::new();
                    for range in ranges {
                        gathered.push_range(values, range)?;
                    }
                    Values::Bytes(gathered)
                }
            },
        })
    }
}

fn row_starts(rep: &[u8]) -> Arc<[u32]> {
    let starts = rep.iter().enumerate().filter(|(_, rep)| **rep == 0).map(|(at, _)| count(at));
    starts.chain(std::iter::once(count(rep.len()))).collect()
}

fn value_starts(def: &[u8], max_def: u8, entries: &[u32]) -> Arc<[u32]> {
    let mut values = 0;
    let starts = entries.windows(2).map(|row| {
        let def = &def[row[0] as usize..row[1] as usize];
        values += def.iter().filter(|def| **def == max_def).count();
        count(values)
    });
    std::iter::once(0).chain(starts).collect()
}
