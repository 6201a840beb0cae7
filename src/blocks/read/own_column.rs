//! Attributes that have a column of their own, well-known or dedicated: read and tested.

use std::sync::Arc;

use parquet::basic::Type as PhysicalType;

use super::batch::{Condition, TraceData as _};
use super::block_batch::{BlockBatch, PageStrings};
use super::leaf::Demand;
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
            let cells: Vec<AttributeCell> = if is_int {
                self.page_ints(leaf, piece)?.iter().copied().map(AttributeCell::Int).collect()
            } else {
                match (self.page_strings(leaf, piece)?, &table) {
                    (PageStrings::Codes(codes), Some(table)) => {
                        self.check_codes(leaf, piece, &codes, table)?;
                        codes.iter().map(|code| AttributeCell::String(0, *code)).collect()
                    }
                    (PageStrings::Codes(_), None) => return Err(self.no_dictionary(leaf, piece)),
                    (PageStrings::Plain(plain), _) => {
                        let mut own_table = StringTable::default();
                        let at = count(column.tables.len());
                        let cells = plain
                            .iter()
                            .map(|value| AttributeCell::String(at, own_table.push(value)))
                            .collect();
                        column.tables.push(Arc::new(own_table));
                        cells
                    }
                }
            };
            if info.max_def == rank(level) {
                // Required: a value an owner, in their order.
                let (span, first) =
                    self.window.value_span(leaf, piece, level, cells.len(), &owners)?;
                let rows = count(first)..;
                column.rows.extend(rows.take(span.len()));
                column.values.extend_from_slice(&cells[span]);
                continue;
            }
            self.window.each_element(leaf, piece, ranks, &owners, |owner, run| {
                push_run(&mut column, owner, cells.get(run));
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
            let passes: Vec<bool> = if is_int {
                self.page_ints(leaf, piece)?.iter().map(|v| predicate.test_int(*v)).collect()
            } else {
                match (self.page_strings(leaf, piece)?, verdicts.as_mut()) {
                    (PageStrings::Codes(codes), Some(verdicts)) => {
                        codes.iter().map(|code| verdicts.test(*code)).collect()
                    }
                    (PageStrings::Codes(_), None) => return Err(self.no_dictionary(leaf, piece)),
                    (PageStrings::Plain(plain), _) => {
                        plain.iter().map(|value| predicate.test_bytes(value)).collect()
                    }
                }
            };
            if !passes.iter().any(|p| *p) {
                continue;
            }
            let required = info.max_def == rank(level);
            if required {
                let (span, first) =
                    self.window.value_span(leaf, piece, level, passes.len(), &owners)?;
                for (at, _) in passes[span].iter().enumerate().filter(|(_, p)| **p) {
                    if first + at < mask.len() {
                        mask.set(first + at);
                    }
                }
            } else {
                self.window.each_element(leaf, piece, ranks, &owners, |owner, run| {
                    let passed = passes.get(run).is_some_and(|run| run.iter().any(|p| *p));
                    if passed && (owner as usize) < mask.len() {
                        mask.set(owner as usize);
                    }
                })?;
            }
        }
        Ok(mask)
    }
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
