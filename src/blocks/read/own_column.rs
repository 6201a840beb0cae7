//! Attributes that have a column of their own, well-known or dedicated: read and tested.

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::Type as PhysicalType;

use super::batch::{Condition, TraceData as _};
use super::block_batch::{BlockBatch, PageStrings};
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
        let ranks = Ranks::of_rows(rank(level), info.max_def);
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
            let values = self.own_values(leaf, piece)?;
            let (span, first) = self.own_span(leaf, piece, level, values.len(), &owners)?;
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
            if let Some(first) = first {
                // Required: a value an owner, in their order.
                let rows = count(first)..;
                column.rows.extend(rows.take(cells.len()));
                column.values.extend_from_slice(&cells);
                continue;
            }
            self.window.each_element(leaf, piece, ranks, &owners, |owner, run| {
                push_run(&mut column, owner, cells.get(shifted(&run, span.start)));
            })?;
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
        let ranks = Ranks::of_rows(rank(level), info.max_def);
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
            let values = self.own_values(leaf, piece)?;
            let (span, first) = self.own_span(leaf, piece, level, values.len(), &owners)?;
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
            if let Some(first) = first {
                for (at, _) in passes.iter().enumerate().filter(|(_, p)| **p) {
                    if first + at < mask.len() {
                        mask.set(first + at);
                    }
                }
                continue;
            }
            self.window.each_element(leaf, piece, ranks, &owners, |owner, run| {
                let passed = passes.get(shifted(&run, span.start));
                let passed = passed.is_some_and(|run| run.iter().any(|p| *p));
                if passed && (owner as usize) < mask.len() {
                    mask.set(owner as usize);
                }
            })?;
        }
        Ok(mask)
    }

    fn own_values(&self, leaf: LeafIndex, piece: &Piece) -> Demand<OwnValues> {
        Ok(match self.info(leaf).physical {
            PhysicalType::INT64 => OwnValues::Ints(self.page_ints(leaf, piece)?),
            _ => OwnValues::Strings(self.page_strings(leaf, piece)?),
        })
    }

    /// The values of a page that lie in the window; with the owner of the first of them if the leaf
    /// is required and so has a value an owner.
    fn own_span(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        level: Level,
        n_values: usize,
        owners: impl Fn(usize) -> u32,
    ) -> Demand<(Range<usize>, Option<usize>)> {
        let max_def = self.info(leaf).max_def;
        if max_def == rank(level) {
            let (span, first) = self.window.value_span(leaf, piece, level, n_values, owners)?;
            return Ok((span, Some(first)));
        }
        let ranks = Ranks::of_rows(rank(level), max_def);
        let index = self.window.index(leaf, piece, ranks)?;
        let span = index.values_of(self.window.page_rows(piece));
        Ok((span.start.min(n_values)..span.end.min(n_values), None))
    }
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
