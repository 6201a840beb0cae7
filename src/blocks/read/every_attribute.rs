//! All attributes of a level at once: one walk over the keys and one over each value leaf, where
//! reading key by key would go through the same pages as often as there are keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::{NamedColumn, TraceData as _};
use super::block_batch::{BlockBatch, PageStrings, merge};
use super::leaf::{Demand, Fault, Piece};
use super::mask::Mask;
use super::structure::count;
use super::values::{AttributeCell, AttributeColumn, ColumnData, StringTable};
use super::walk::first_owner;
use crate::schema::{AttributeLeaves, LeafIndex, Level};

/// Key of an entry that is no attribute: the list is empty there.
const NO_KEY: u32 = u32::MAX;

/// The attribute lists of the selected traces of a window, entry by entry.
#[derive(Default)]
struct Entries {
    /// First entry of each trace of the window, and the number of entries.
    of_trace: Vec<usize>,
    /// Dictionary code of the key.
    keys: Vec<u32>,
    owners: Vec<u32>,
    cells: Vec<AttributeCell>,
    /// Elements of arrays.
    elements: Vec<AttributeCell>,
}

impl BlockBatch {
    /// Every attribute of a level on some rows of it; `None` where keys or values are stored in a
    /// way that only reading key by key understands.
    pub(super) fn read_every_attribute(
        &self,
        level: Level,
        traces: &Mask,
        rows: &Mask,
    ) -> Demand<Option<Vec<NamedColumn>>> {
        let schema = &self.window.block.schema;
        let Some(leaves) = schema.attributes(level).cloned() else { return Ok(None) };
        if leaves.protobuf.is_some() || leaves.is_array.is_none() {
            return Ok(None); // vParquet3 keeps arrays apart.
        }
        let Some(names) = self.window.table(leaves.key)? else { return Ok(None) };
        if self.has_plain_pages(leaves.key) {
            return Ok(None);
        }
        let value_leaves: Vec<LeafIndex> = [leaves.int, leaves.double, leaves.bool, leaves.string]
            .into_iter()
            .flatten()
            .filter(|leaf| !self.is_all_null(*leaf))
            .collect();
        // All are asked before a fault is reported, so that one fetch brings them together.
        let own: Vec<Demand<(String, Option<AttributeColumn>)>> = schema
            .own_columns()
            .iter()
            .filter(|(of, _, _)| *of == level)
            .map(|(_, key, _)| Ok((key.clone(), self.read_own(level, key, traces)?)))
            .collect();
        let missing = std::iter::once(&leaves.key)
            .chain(&value_leaves)
            .filter(|leaf| self.window.pieces(**leaf, traces).is_err())
            .count();
        let table = leaves.string.map(|leaf| self.window.table(leaf)).transpose();
        if missing > 0 {
            return Err(Fault::Missing);
        }
        let table = table?.flatten();
        let mut own: BTreeMap<String, Option<AttributeColumn>> =
            own.into_iter().collect::<Demand<_>>()?;
        let Some(mut entries) = self.entries(&leaves, level, traces, &names)? else {
            return Ok(None);
        };
        let mut tables: Vec<Arc<StringTable>> = table.iter().map(Arc::clone).collect();
        for leaf in value_leaves {
            if leaves.string == Some(leaf) {
                tables.extend(self.fill_entry_strings(
                    leaf,
                    level,
                    &mut entries,
                    table.as_deref(),
                )?);
            } else if leaves.int == Some(leaf) {
                self.fill_entries(leaf, level, &mut entries, |piece| {
                    let ints = self.page_ints(leaf, piece)?;
                    Ok(ints.iter().copied().map(AttributeCell::Int).collect())
                })?;
            } else if leaves.double == Some(leaf) {
                self.fill_entries(leaf, level, &mut entries, |piece| {
                    let floats = self.page_floats(leaf, piece)?;
                    Ok(floats.into_iter().map(AttributeCell::Float).collect())
                })?;
            } else {
                self.fill_entries(leaf, level, &mut entries, |piece| {
                    let bools = self.page_bools(leaf, piece)?;
                    Ok(bools.into_iter().map(AttributeCell::Bool).collect())
                })?;
            }
        }
        let mut found = Vec::new();
        for (code, mut column) in entries.by_key(names.len(), rows).into_iter().enumerate() {
            let key = String::from_utf8_lossy(names.get(count(code))).into_owned();
            column.tables.clone_from(&tables);
            let column = match own.remove(&key).flatten() {
                Some(own) => merge(column, &own),
                None => column,
            };
            found.push((key, column));
        }
        found.extend(own.into_iter().filter_map(|(key, column)| Some((key, column?))));
        found.retain(|(_, column)| !column.rows.is_empty());
        let data = |(key, column)| (key, Arc::new(ColumnData::Attribute(column)));
        Ok(Some(found.into_iter().map(data).collect()))
    }

    /// Keys and owners of all attributes; `None` if a page holds keys themselves, not codes.
    fn entries(
        &self,
        leaves: &AttributeLeaves,
        level: Level,
        traces: &Mask,
        names: &StringTable,
    ) -> Demand<Option<Entries>> {
        let structure = self.structure()?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let mut entries = Entries::default();
        for piece in &self.window.pieces(leaves.key, traces)? {
            let index = self.window.index(leaves.key, piece, self.ranks(leaves.key, level))?;
            self.note_entries(level, piece, &index);
            let PageStrings::Codes(codes) = self.page_strings(leaves.key, piece)? else {
                return Ok(None);
            };
            self.check_codes(leaves.key, piece, &codes, names)?;
            let rows = self.window.page_rows(piece);
            let n = index.elements_of(rows).len();
            entries.keys.reserve(n);
            entries.owners.reserve(n);
            for (trace, row) in self.window.rows_of(piece) {
                entries.of_trace.resize(trace + 1, entries.keys.len());
                if !traces.get(trace) {
                    continue;
                }
                let first = owners(trace);
                for element in index.elements(row) {
                    let key = match index.values(element) {
                        run if run.is_empty() => NO_KEY,
                        run => codes.get(run.start).copied().unwrap_or(NO_KEY),
                    };
                    entries.keys.push(key);
                    entries.owners.push(first.wrapping_add(index.owner(element)));
                }
            }
        }
        entries.of_trace.resize(self.window.n_rows() + 1, entries.keys.len());
        entries.cells = vec![AttributeCell::Invisible; entries.keys.len()];
        Ok(Some(entries))
    }

    /// Puts the values of a leaf beside their keys.
    fn fill_entries(
        &self,
        leaf: LeafIndex,
        level: Level,
        entries: &mut Entries,
        mut decode: impl FnMut(&Piece) -> Demand<Vec<AttributeCell>>,
    ) -> Demand<()> {
        let max_def = self.info(leaf).max_def;
        let by_entry = self.has_no_lists(leaf, level);
        let traces = Mask::from_fn(self.window.n_rows(), |trace| !entries.range(trace).is_empty());
        for piece in &self.window.pieces(leaf, &traces)? {
            if self.is_without_values(leaf, piece)? {
                continue;
            }
            let values = decode(piece)?;
            let local = self.window.local(&piece.rows);
            if by_entry && let Some(bases) = self.entry_bases(level, piece) {
                let def = self.def_levels(leaf, piece)?;
                let (mut entry, mut value) = (0, 0);
                for (trace, base) in local.zip(bases) {
                    let range = entries.range(trace);
                    if range.is_empty() {
                        continue;
                    }
                    let (Some(passed), Some(own)) =
                        (def.get(entry..base), def.get(base..base + range.len()))
                    else {
                        break;
                    };
                    value += super::counts::count_values(passed, max_def);
                    for (cell, def) in entries.cells[range].iter_mut().zip(own) {
                        if *def == max_def {
                            if let Some(found) = values.get(value) {
                                *cell = *found;
                            }
                            value += 1;
                        }
                    }
                    entry = base + own.len();
                }
                continue;
            }
            let index = self.window.index(leaf, piece, self.ranks(leaf, level))?;
            for (trace, row) in self.window.rows_of(piece) {
                for (entry, element) in entries.range(trace).zip(index.elements(row)) {
                    match values.get(index.values(element)) {
                        None | Some([]) => {}
                        Some([one]) => entries.cells[entry] = *one,
                        Some(many) => {
                            let start = count(entries.elements.len());
                            entries.elements.extend_from_slice(many);
                            let end = count(entries.elements.len());
                            entries.cells[entry] = AttributeCell::Array(start, end);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Strings, by their codes; those of pages without a dictionary in a table of their own, which is
    /// returned.
    fn fill_entry_strings(
        &self,
        leaf: LeafIndex,
        level: Level,
        entries: &mut Entries,
        table: Option<&StringTable>,
    ) -> Demand<Option<Arc<StringTable>>> {
        let own_at = u32::from(table.is_some());
        let mut own = StringTable::default();
        self.fill_entries(leaf, level, entries, |piece| {
            self.string_cells(leaf, piece, table, own_at, &mut own)
        })?;
        Ok((!own.is_empty()).then(|| Arc::new(own)))
    }
}

impl Entries {
    /// Entries of a trace of the window.
    fn range(&self, trace: usize) -> std::ops::Range<usize> {
        self.of_trace[trace]..self.of_trace[trace + 1]
    }

    /// A column per key code. Of equal keys of one owner the first counts.
    fn by_key(&self, n_keys: usize, rows: &Mask) -> Vec<AttributeColumn> {
        let mut sizes = vec![0_usize; n_keys];
        for (key, owner) in self.keys.iter().zip(&self.owners) {
            if let Some(size) = sizes.get_mut(*key as usize) {
                *size += usize::from(rows.get(*owner as usize));
            }
        }
        let mut columns: Vec<AttributeColumn> =
            sizes.into_iter().map(AttributeColumn::with_capacity).collect();
        for ((key, owner), cell) in self.keys.iter().zip(&self.owners).zip(&self.cells) {
            let Some(column) = columns.get_mut(*key as usize) else { continue };
            if !rows.get(*owner as usize) || column.rows.last() == Some(owner) {
                continue;
            }
            let cell = match *cell {
                AttributeCell::Array(start, end) => {
                    let elements = &self.elements[start as usize..end as usize];
                    column.push_elements(elements.iter().copied())
                }
                cell => cell,
            };
            column.rows.push(*owner);
            column.values.push(cell);
        }
        columns
    }
}
