//! Attributes that have a column of their own, well-known or dedicated: read and tested.

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::Type as PhysicalType;

use super::batch::{Condition, TraceData as _};
use super::block_batch::{BlockBatch, PageStrings};
use super::counts::count_values;
use super::leaf::{Demand, Piece};
use super::mask::Mask;
use super::structure::count;
use super::values::{AttributeCell, AttributeColumn, StringTable};
use super::walk::{Ranks, first_owner, rank};
use crate::schema::{LeafIndex, Level};

impl BlockBatch {
    /// An attribute's column of its own: optional (v3, v4), repeated (v5) or required
    /// (`service.name`, where `""` is a value: it is never nil, `traceql.md` 5.2).
    pub(super) fn read_own(
        &self,
        level: Level,
        key: &str,
        traces: &Mask,
    ) -> Demand<Option<AttributeColumn>> {
        let Some(own) = self.window.block.schema.own_column(level, key).cloned() else {
            return Ok(None);
        };
        let leaf = own.leaf;
        let info = self.info(leaf);
        let is_int = info.physical == PhysicalType::INT64;
        let structure = self.structure()?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let pieces = self.window.pieces(leaf, traces)?;
        let table = if is_int { None } else { self.window.table(leaf)? };
        let mut column = AttributeColumn::default();
        if let Some(table) = &table {
            column.tables.push(Arc::clone(table));
        }
        for piece in &pieces {
            if self.is_without_values(leaf, piece)? {
                continue;
            }
            let values = self.own_values(leaf, piece)?;
            let (span, of_values) = self.own_span(leaf, piece, level, values.len(), &owners)?;
            let cells: Vec<AttributeCell> = match (&values, &table) {
                (OwnValues::Ints(ints), _) => {
                    ints[span.clone()].iter().copied().map(AttributeCell::Int).collect()
                }
                (OwnValues::Strings(PageStrings::Codes(codes)), Some(table)) => {
                    let codes = &codes[span.clone()];
                    self.check_codes(leaf, piece, codes, table)?;
                    codes.iter().map(|code| AttributeCell::String(0, *code)).collect()
                }
                (OwnValues::Strings(PageStrings::Codes(_)), None) => {
                    return Err(self.no_dictionary(leaf, piece));
                }
                (OwnValues::Strings(PageStrings::Plain(plain)), _) => {
                    let mut own_table = StringTable::default();
                    let at = count(column.tables.len());
                    let cells = plain.iter().skip(span.start).take(span.len());
                    let cells = cells.map(|value| AttributeCell::String(at, own_table.push(value)));
                    let cells = cells.collect();
                    column.tables.push(Arc::new(own_table));
                    cells
                }
            };
            match of_values {
                Owners::From(first) => {
                    column.rows.extend((count(first)..).take(cells.len()));
                    column.values.extend_from_slice(&cells);
                }
                Owners::Each(owners) => {
                    column.rows.extend(owners);
                    column.values.extend_from_slice(&cells);
                }
                Owners::OfLists(ranks) => {
                    self.window.each_element(leaf, piece, ranks, &owners, |owner, run| {
                        push_run(&mut column, owner, cells.get(shifted(&run, span.start)));
                    })?;
                }
            }
        }
        Ok(Some(column))
    }

    /// A column of its own tested without building it: pages in which no value passes cost nothing
    /// but their values. `None` if the predicate needs whole values.
    pub(super) fn test_own(
        &self,
        leaf: LeafIndex,
        condition: &Condition,
        level: Level,
        traces: &Mask,
    ) -> Demand<Mask> {
        let info = self.info(leaf);
        let predicate = &condition.predicate;
        let is_int = info.physical == PhysicalType::INT64;
        let mut mask = Mask::none(self.n_rows(level)?);
        if (is_int && predicate.wants_strings())
            || (!is_int && predicate.wants_numbers())
            || predicate.wants_bools()
        {
            return Ok(mask);
        }
        let structure = self.structure()?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let pieces = self.window.pieces(leaf, traces)?;
        let table = if is_int { None } else { self.window.table(leaf)? };
        let mut verdicts = table.as_ref().map(|table| Verdicts::new(table, predicate));
        if let Some(Verdicts { known_empty: true, .. }) = verdicts {
            return Ok(mask);
        }
        for piece in &pieces {
            if self.is_without_values(leaf, piece)? {
                continue;
            }
            let values = self.own_values(leaf, piece)?;
            let (span, of_values) = self.own_span(leaf, piece, level, values.len(), &owners)?;
            let passes: Vec<bool> = match (&values, verdicts.as_mut()) {
                (OwnValues::Ints(ints), _) => {
                    ints[span.clone()].iter().map(|v| predicate.test_int(*v)).collect()
                }
                (OwnValues::Strings(PageStrings::Codes(codes)), Some(verdicts)) => {
                    codes[span.clone()].iter().map(|code| verdicts.test(*code)).collect()
                }
                (OwnValues::Strings(PageStrings::Codes(_)), None) => {
                    return Err(self.no_dictionary(leaf, piece));
                }
                (OwnValues::Strings(PageStrings::Plain(plain)), _) => {
                    let values = plain.iter().skip(span.start).take(span.len());
                    values.map(|value| predicate.test_bytes(value)).collect()
                }
            };
            if !passes.iter().any(|p| *p) {
                continue;
            }
            let mut pass = |owner: usize| {
                if owner < mask.len() {
                    mask.set(owner);
                }
            };
            match of_values {
                Owners::From(first) => {
                    let passed = passes.iter().enumerate().filter(|(_, p)| **p);
                    passed.for_each(|(at, _)| pass(first + at));
                }
                Owners::Each(owners) => {
                    let passed = owners.iter().zip(&passes).filter(|(_, p)| **p);
                    passed.for_each(|(owner, _)| pass(*owner as usize));
                }
                Owners::OfLists(ranks) => {
                    self.window.each_element(leaf, piece, ranks, &owners, |owner, run| {
                        let passed = passes.get(shifted(&run, span.start));
                        if passed.is_some_and(|run| run.iter().any(|p| *p)) {
                            pass(owner as usize);
                        }
                    })?;
                }
            }
        }
        Ok(mask)
    }

    fn own_values(&self, leaf: LeafIndex, piece: &Piece) -> Demand<OwnValues> {
        Ok(match self.info(leaf).physical {
            PhysicalType::INT64 => OwnValues::Ints(self.page_ints(leaf, piece)?),
            _ => OwnValues::Strings(self.page_strings(leaf, piece)?),
        })
    }

    /// The values of a page that lie in the window, and whose they are.
    fn own_span(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        level: Level,
        n_values: usize,
        owners: impl Fn(usize) -> u32,
    ) -> Demand<(Range<usize>, Owners)> {
        let max_def = self.info(leaf).max_def;
        if max_def == rank(level) {
            let (span, first) = self.window.value_span(leaf, piece, level, n_values, owners)?;
            return Ok((span, Owners::From(first)));
        }
        let first = owners(self.window.local(&piece.rows).start);
        if self.has_one_value_a_row(leaf, level)
            && let Some(rows) = self.window.level_rows(level, piece)
        {
            let def = self.def_levels(leaf, piece)?;
            let (start, owners) = owners_of_values(&def, rank(level), max_def, rows, first);
            let end = start + owners.len();
            if end <= n_values {
                return Ok((start..end, Owners::Each(owners)));
            }
        }
        let ranks = Ranks::of_rows(rank(level), max_def);
        let index = self.window.index(leaf, piece, ranks)?;
        let span = index.values_of(self.window.page_rows(piece));
        Ok((span.start.min(n_values)..span.end.min(n_values), Owners::OfLists(ranks)))
    }

    /// True if no row of the level has several values in a leaf: its entries are then those of a leaf
    /// with exactly one a row.
    fn has_one_value_a_row(&self, leaf: LeafIndex, level: Level) -> bool {
        let Some(required) = required_leaf(level) else { return false };
        let entries = |leaf| self.window.block.chunk(self.window.row_group, leaf).num_values();
        let required = self.window.block.schema.leaf(required).map(|info| entries(info.index));
        required == Some(entries(leaf))
    }
}

/// A leaf with one value for each row of a level.
fn required_leaf(level: Level) -> Option<&'static str> {
    match level {
        Level::Resource => Some("rs.Resource.ServiceName"),
        Level::Span => Some("rs.ss.Spans.StatusCode"),
        _ => None,
    }
}

/// Whose the values of a page are.
enum Owners {
    /// One after the other, from this one on.
    From(usize),
    /// One a value.
    Each(Vec<u32>),
    /// A list of values has one; its levels tell.
    OfLists(Ranks),
}

/// The number of values before the rows `rows` of a level, and the owner of each of their values.
/// An entry is a row of the level if its definition level says so, and else stands for an empty list.
fn owners_of_values(
    def: &[u8],
    rank: u8,
    max_def: u8,
    rows: Range<usize>,
    first_owner: u32,
) -> (usize, Vec<u32>) {
    let (mut entry, mut row, mut value) = (0, 0, 0);
    while let Some(chunk) = def.get(entry..entry + 128) {
        let n: u8 = chunk.iter().map(|d| u8::from(*d >= rank)).sum();
        if row + usize::from(n) > rows.start {
            break;
        }
        row += usize::from(n);
        value += count_values(chunk, max_def);
        entry += chunk.len();
    }
    let mut rest = def[entry..].iter();
    while row < rows.start {
        let Some(def) = rest.next() else { break };
        row += usize::from(*def >= rank);
        value += usize::from(*def == max_def);
    }
    let mut owners = Vec::new();
    let mut owner = first_owner;
    let end = first_owner + count(rows.len());
    while owner < end {
        let Some(def) = rest.next() else { break };
        if *def == max_def {
            owners.push(owner);
        }
        owner += u32::from(*def >= rank);
    }
    (value, owners)
}

/// The values of one page of a column.
enum OwnValues {
    Ints(Arc<Vec<i64>>),
    Strings(PageStrings),
}

impl OwnValues {
    fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Strings(PageStrings::Codes(codes)) => codes.len(),
            Self::Strings(PageStrings::Plain(plain)) => plain.len(),
        }
    }
}

/// Positions among the values from `base` on.
fn shifted(run: &Range<usize>, base: usize) -> Range<usize> {
    run.start.saturating_sub(base)..run.end.saturating_sub(base)
}

fn push_run(column: &mut AttributeColumn, owner: u32, cells: Option<&[AttributeCell]>) {
    let Some(cells) = cells.filter(|cells| !cells.is_empty()) else { return };
    let cell = match cells {
        [one] => *one,
        many => column.push_elements(many.iter().copied()),
    };
    column.rows.push(owner);
    column.values.push(cell);
}

/// Which codes of a dictionary satisfy a predicate, each string tested at most once.
pub(super) struct Verdicts<'a> {
    table: &'a StringTable,
    predicate: &'a super::predicate::Predicate,
    verdicts: Vec<u8>,
    /// No string of the dictionary can satisfy it.
    pub(super) known_empty: bool,
}

impl<'a> Verdicts<'a> {
    pub(super) fn new(table: &'a StringTable, predicate: &'a super::predicate::Predicate) -> Self {
        use super::predicate::{Comparison, Literal, Predicate};
        let mut verdicts = vec![0; table.len()];
        let mut known_empty = predicate.wants_numbers() || predicate.wants_bools();
        if let Predicate::Compare(Comparison::Equal, Literal::Bytes(wanted)) = predicate {
            verdicts.fill(1);
            match table.find(wanted) {
                Some(code) => verdicts[code as usize] = 2,
                None => known_empty = true,
            }
        }
        Self { table, predicate, verdicts, known_empty }
    }

    pub(super) fn test(&mut self, code: u32) -> bool {
        let Some(verdict) = self.verdicts.get_mut(code as usize) else { return false };
        if *verdict == 0 {
            *verdict = 1 + u8::from(self.predicate.test_bytes(self.table.get(code)));
        }
        *verdict == 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_counted_by_definition_levels() {
        // Rows have levels of 3 and more; 5 is a value; 1 stands for a trace without rows.
        let def = [5, 3, 1, 4, 5, 5, 3, 2, 5];
        let rows: Vec<(usize, bool)> =
            def.iter().filter(|d| **d >= 3).map(|d| *d == 5).enumerate().collect();
        for start in 0..=rows.len() {
            for end in start..=rows.len() {
                let before = rows[..start].iter().filter(|(_, has)| *has).count();
                let of_rows = rows[start..end].iter().filter(|(_, has)| *has);
                let expected = of_rows.map(|(row, _)| 100 + count(row - start)).collect();
                assert_eq!(owners_of_values(&def, 3, 5, start..end, 100), (before, expected));
            }
        }
    }

    #[test]
    fn owners_far_into_a_page_are_found() {
        let def: Vec<u8> = (0..1_000).map(|at| [5, 3, 1][at % 3]).collect();
        for start in [0, 1, 85, 86, 127, 300, 600] {
            let (before, owners) = owners_of_values(&def, 3, 5, start..start + 4, 0);
            assert_eq!(before, start.div_ceil(2), "{start}");
            assert_eq!(owners, if start % 2 == 0 { [0, 2] } else { [1, 3] }, "{start}");
        }
    }
}
