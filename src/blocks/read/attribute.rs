//! Attributes in the generic key-value lists: where a key occurs, its values, and tests that touch
//! as few entries as possible. The lists hold most of a block's entries, so this is the hot path of
//! every query on an attribute without a column of its own (`engine-notes.md` 5.2).

use std::sync::Arc;

use super::batch::{Condition, TraceData as _};
use super::block_batch::{BlockBatch, PageStrings, covers};
use super::counts::count_values;
use super::leaf::{Counted, Demand, LeafPage, Piece};
use super::mask::Mask;
use super::own_column::Verdicts;
use super::page::{CodeSet, Encoding};
use super::predicate::{Comparison, Literal, Predicate};
use super::structure::count;
use super::values::{AttributeCell, AttributeColumn, ColumnData, StringTable};
use super::walk::{PageIndex, Ranks, first_owner, rank};
use crate::schema::{AttributeLeaves, LeafIndex, Level};

/// Where one key occurs: the first attribute of that key of each owner, in storage order.
#[derive(Debug, Default)]
pub(super) struct Positions {
    list: Vec<Position>,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Trace of the window.
    trace: u32,
    /// Number of the attribute within its trace and level.
    element: u32,
    /// Row of the owner's level.
    owner: u32,
}

impl Positions {
    /// Owners that have the key, ascending.
    pub(super) fn owners(&self) -> impl Iterator<Item = u32> + '_ {
        self.list.iter().map(|position| position.owner)
    }

    fn traces(&self, n_traces: usize) -> Mask {
        let mut traces = Mask::none(n_traces);
        self.list.iter().for_each(|position| traces.set(position.trace as usize));
        traces
    }
}

impl BlockBatch {
    pub(super) fn ranks(&self, leaf: LeafIndex, level: Level) -> Ranks {
        Ranks::of_attributes(rank(level), self.info(leaf).max_def)
    }

    /// Where a key occurs among the selected traces; `None` if this row group never has it.
    pub(super) fn positions(
        &self,
        level: Level,
        key: &str,
        traces: &Mask,
    ) -> Demand<Option<Arc<Positions>>> {
        let Some(leaves) = self.window.block.schema.attributes(level).cloned() else {
            return Ok(None);
        };
        let table = self.window.table(leaves.key)?;
        let code = match &table {
            Some(table) => match table.find(key.as_bytes()) {
                Some(code) => Some(code),
                None => return Ok(None),
            },
            None => None,
        };
        let name = (level, key.to_owned());
        if let Some((have, positions)) = self.decoded.lock().positions.get(&name)
            && covers(have, traces)
        {
            return Ok(Some(Arc::clone(positions)));
        }
        let structure = self.structure()?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let mut list: Vec<Position> = Vec::new();
        for piece in &self.window.pieces(leaves.key, traces)? {
            let Some(hits) = self.key_hits(leaves.key, piece, code, key)? else { continue };
            let index = self.window.index(leaves.key, piece, self.ranks(leaves.key, level))?;
            self.note_entries(level, piece, &index);
            self.place(piece, &index, &hits, &owners, |position| {
                if list.last().is_none_or(|last| last.owner != position.owner) {
                    list.push(position);
                }
            });
        }
        let positions = Arc::new(Positions { list });
        self.decoded.lock().positions.insert(name, (traces.clone(), Arc::clone(&positions)));
        Ok(Some(positions))
    }

    /// Values of a page of keys that are the wanted key; `None` if none is.
    fn key_hits(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        code: Option<u32>,
        key: &str,
    ) -> Demand<Option<Vec<u32>>> {
        if let (LeafPage::Encoded(page), Some(code)) = (&piece.held.page, code)
            && page.encoding() == Encoding::RleDictionary
        {
            let mut hits = Vec::new();
            page.find_codes(&CodeSet::One(code), &mut hits)
                .map_err(|e| self.window.fail(leaf, piece, e))?;
            return Ok((!hits.is_empty()).then_some(hits));
        }
        let hits: Vec<u32> = match self.page_strings(leaf, piece)? {
            PageStrings::Plain(plain) => positions_where(plain.iter(), |v| *v == key.as_bytes()),
            PageStrings::Codes(codes) => match code {
                Some(code) => positions_where(codes.iter(), |c| **c == code),
                // The dictionary lacks the text, so no code stands for it.
                None => Vec::new(),
            },
        };
        Ok((!hits.is_empty()).then_some(hits))
    }

    /// Calls `f` with each position and the page values its attribute has in one value leaf.
    fn each_value(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        mut f: impl FnMut(usize, &Piece, std::ops::Range<usize>) -> Demand<()>,
    ) -> Demand<()> {
        let traces = positions.traces(self.window.n_rows());
        let max_def = self.info(leaf).max_def;
        let by_entry = self.has_no_lists(leaf, level);
        let mut next = 0;
        for piece in &self.window.pieces(leaf, &traces)? {
            let rows = self.window.local(&piece.rows);
            next += positions.list[next..].partition_point(|p| (p.trace as usize) < rows.start);
            let n = positions.list[next..].partition_point(|p| (p.trace as usize) < rows.end);
            let (here, first) = (&positions.list[next..next + n], next);
            next += n;
            if here.is_empty() || self.is_without_values(leaf, piece)? {
                continue;
            }
            if by_entry && let Some(bases) = self.entry_bases(level, piece) {
                let def = self.def_levels(leaf, piece)?;
                let (mut entry, mut value) = (0, 0);
                for (at, position) in (first..).zip(here) {
                    let wanted =
                        bases[position.trace as usize - rows.start] + position.element as usize;
                    let Some(passed) = def.get(entry..wanted) else { break };
                    value += count_values(passed, max_def);
                    entry = wanted;
                    if def.get(wanted) == Some(&max_def) {
                        f(at, piece, value..value + 1)?;
                    }
                }
                continue;
            }
            let index = self.window.index(leaf, piece, self.ranks(leaf, level))?;
            let skipped = self.window.rows().start.saturating_sub(piece.rows.start) as usize;
            for (at, position) in (first..).zip(here) {
                let elements = index.elements(position.trace as usize - rows.start + skipped);
                let element = elements.start + position.element as usize;
                if element < elements.end {
                    let run = index.values(element);
                    if !run.is_empty() {
                        f(at, piece, run)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// True if no attribute of the row group has a list in this leaf: then its entries are those of
    /// the keys, one an attribute.
    pub(super) fn has_no_lists(&self, leaf: LeafIndex, level: Level) -> bool {
        let entries = |leaf| self.window.block.chunk(self.window.row_group, leaf).num_values();
        let keys = self.window.block.schema.attributes(level).map(|leaves| leaves.key);
        keys.is_some_and(|key| entries(key) == entries(leaf))
    }

    pub(super) fn is_without_values(&self, leaf: LeafIndex, piece: &Piece) -> Demand<bool> {
        match &piece.held.page {
            LeafPage::Encoded(page) => {
                Ok(page.n_values().map_err(|e| self.window.fail(leaf, piece, e))? == 0)
            }
            LeafPage::Library(_) => Ok(false),
        }
    }

    /// Remembers how many entries the lists of each trace have.
    pub(super) fn note_entries(&self, level: Level, piece: &Piece, index: &PageIndex) {
        let what = Counted::Attributes(level);
        self.window.note_counts(what, piece.rows.start, index.element_counts());
    }

    /// The first entry of each row of the window that a page covers, if the keys have told.
    pub(super) fn entry_bases(&self, level: Level, piece: &Piece) -> Option<Vec<usize>> {
        let window = self.window.rows();
        let first = piece.rows.start.max(window.start);
        let end = piece.rows.end.min(window.end);
        let what = Counted::Attributes(level);
        let mut base = self.window.known_sum(what, piece.rows.start..first)?;
        let counts = self.window.known_counts(what, first..end)?;
        Some(
            counts
                .into_iter()
                .map(|n| {
                    let start = base;
                    base += n as usize;
                    start
                })
                .collect(),
        )
    }

    /// All definition levels of a page.
    pub(super) fn def_levels(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Arc<Vec<u8>>> {
        if let Some(def) = piece.held.memo.def.get() {
            return Ok(Arc::clone(def));
        }
        let def = match &piece.held.page {
            LeafPage::Encoded(page) => {
                let mut def = Vec::with_capacity(page.n_entries());
                page.def_levels(&mut def).map_err(|e| self.window.fail(leaf, piece, e))?;
                def
            }
            LeafPage::Library(decoded) => decoded.def.clone(),
        };
        Ok(Arc::clone(piece.held.memo.def.get_or_init(|| Arc::new(def))))
    }

    /// Calls `f` with the place of each of some values of a page, as far as it lies in the window.
    fn place(
        &self,
        piece: &Piece,
        index: &PageIndex,
        values: &[u32],
        owners: impl Fn(usize) -> u32,
        mut f: impl FnMut(Position),
    ) {
        let rows = self.window.local(&piece.rows);
        let skipped = self.window.rows().start.saturating_sub(piece.rows.start) as usize;
        let mut row = 0;
        let mut elements = 0..0;
        for value in values.iter().take_while(|value| **value < index.end_value()) {
            let element = index.element_of(*value);
            if element >= elements.end {
                row = index.row_of(element);
                elements = index.elements(row);
            }
            if row < skipped || row >= skipped + rows.len() {
                continue;
            }
            let trace = row - skipped + rows.start;
            f(Position {
                trace: count(trace),
                element: count(element - elements.start),
                owner: owners(trace).wrapping_add(index.owner(element)),
            });
        }
    }

    /// True if metadata proves that a leaf of this row group holds no value at all.
    pub(super) fn is_all_null(&self, leaf: LeafIndex) -> bool {
        let chunk = self.window.block.chunk(self.window.row_group, leaf);
        let nulls = chunk.statistics().and_then(|statistics| statistics.null_count_opt());
        u64::try_from(chunk.num_values()).is_ok_and(|n| nulls == Some(n))
    }

    /// The attribute's values; `None` if this row group's list never has the key.
    pub(super) fn read_generic(
        &self,
        level: Level,
        key: &str,
        traces: &Mask,
    ) -> Demand<Option<AttributeColumn>> {
        let Some(leaves) = self.window.block.schema.attributes(level).cloned() else {
            return Ok(None);
        };
        let Some(positions) = self.positions(level, key, traces)? else { return Ok(None) };
        let mut column = AttributeColumn {
            rows: positions.owners().collect(),
            values: vec![AttributeCell::Invisible; positions.list.len()],
            ..AttributeColumn::default()
        };
        if positions.list.is_empty() {
            return Ok(Some(column));
        }
        if let Some(leaf) = leaves.protobuf {
            self.v3_event_values(leaf, level, &positions, &mut column)?;
            return Ok(Some(column));
        }
        // What is missing of any leaf is asked for together.
        let value_leaves: Vec<LeafIndex> =
            [leaves.string, leaves.int, leaves.double, leaves.bool].into_iter().flatten().collect();
        let wanted = positions.traces(self.window.n_rows());
        let missing = value_leaves
            .iter()
            .filter(|leaf| !self.is_all_null(**leaf))
            .filter(|leaf| self.window.pieces(**leaf, &wanted).is_err())
            .count();
        if let Some(leaf) = leaves.string
            && !self.is_all_null(leaf)
        {
            let table = self.window.table(leaf);
            if missing > 0 {
                return Err(super::leaf::Fault::Missing);
            }
            column.tables.extend(table?);
        }
        // An attribute has values of one type: strings, which cost most, are looked for last, where
        // nothing else was found.
        let present = |leaf: &LeafIndex| !self.is_all_null(*leaf);
        if let Some(leaf) = leaves.int.filter(present) {
            self.fill(leaf, level, &positions, &mut column, |piece| {
                Ok(self.page_ints(leaf, piece)?.iter().copied().map(AttributeCell::Int).collect())
            })?;
        }
        if let Some(leaf) = leaves.double.filter(present) {
            self.fill(leaf, level, &positions, &mut column, |piece| {
                Ok(self.page_floats(leaf, piece)?.into_iter().map(AttributeCell::Float).collect())
            })?;
        }
        if let Some(leaf) = leaves.bool.filter(present) {
            self.fill(leaf, level, &positions, &mut column, |piece| {
                Ok(self.page_bools(leaf, piece)?.into_iter().map(AttributeCell::Bool).collect())
            })?;
        }
        if let Some(leaf) = leaves.string.filter(present) {
            self.fill_strings(leaf, level, &positions, &mut column)?;
        }
        self.fill_v3_arrays(&leaves, level, &positions, &mut column)?;
        Ok(Some(column))
    }

    fn fill(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        column: &mut AttributeColumn,
        mut decode: impl FnMut(&Piece) -> Demand<Vec<AttributeCell>>,
    ) -> Demand<()> {
        let (open, places) = open_positions(positions, column);
        let mut page: Option<(std::ops::Range<u64>, Vec<AttributeCell>)> = None;
        self.each_value(leaf, level, &open, |at, piece, run| {
            let fresh = page.as_ref().is_none_or(|(bytes, _)| *bytes != piece.bytes);
            if fresh {
                page = Some((piece.bytes.clone(), decode(piece)?));
            }
            if let Some(cells) = page.as_ref().and_then(|(_, cells)| cells.get(run)) {
                column.values[places[at]] = match cells {
                    [one] => *one,
                    many => column.push_elements(many.iter().copied()),
                };
            }
            Ok(())
        })
    }

    fn fill_strings(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        column: &mut AttributeColumn,
    ) -> Demand<()> {
        let table = self.window.table(leaf)?;
        // Strings of pages without a dictionary go into a table of the column's own.
        let mut own = StringTable::default();
        let own_at = count(column.tables.len());
        self.fill(leaf, level, positions, column, |piece| {
            self.string_cells(leaf, piece, table.as_deref(), own_at, &mut own)
        })?;
        column.tables.push(Arc::new(own));
        Ok(())
    }

    /// Owners whose attribute satisfies the condition; `None` if this row group's list never has
    /// the key.
    pub(super) fn test_generic(
        &self,
        condition: &Condition,
        level: Level,
        key: &str,
        traces: &Mask,
    ) -> Demand<Option<Mask>> {
        let Some(leaves) = self.window.block.schema.attributes(level).cloned() else {
            return Ok(None);
        };
        let predicate = &condition.predicate;
        let has_arrays_elsewhere = leaves.protobuf.is_some()
            || leaves.is_array.is_none() && leaves.other.is_some_and(|l| !self.is_all_null(l));
        if !has_arrays_elsewhere
            && let Predicate::Compare(Comparison::Equal, Literal::Bytes(wanted)) = predicate
            && let Some(leaf) = leaves.string
        {
            return self.test_string_equal(&leaves, leaf, level, key, wanted, traces);
        }
        let Some(positions) = self.positions(level, key, traces)? else { return Ok(None) };
        let mut mask = Mask::none(self.n_rows(level)?);
        let nothing_invisible = leaves.other.is_none_or(|leaf| self.is_all_null(leaf))
            && leaves.is_array.is_none_or(|leaf| self.is_all_false(leaf))
            && leaves.key_values.is_none_or(|leaf| self.is_all_null(leaf))
            && leaves.protobuf.is_none();
        match predicate {
            Predicate::KeyExists => {
                positions.owners().for_each(|owner| mask.set(owner as usize));
                return Ok(Some(mask));
            }
            // An attribute whose value is unset has no value column at all in vParquet3.
            Predicate::Exists if nothing_invisible && leaves.is_array.is_some() => {
                positions.owners().for_each(|owner| mask.set(owner as usize));
                return Ok(Some(mask));
            }
            _ => {}
        }
        if has_arrays_elsewhere || predicate.is_presence() || predicate.needs_all_elements() {
            let column = self.column_of_generic(level, key, traces)?;
            return Ok(Some(super::batch::test_column(&column, predicate, mask.len())));
        }
        if predicate.wants_strings()
            && let Some(leaf) = leaves.string
        {
            let table = self.window.table(leaf)?;
            let mut verdicts = table.as_ref().map(|table| Verdicts::new(table, predicate));
            self.test_values(leaf, level, &positions, &mut mask, |piece, runs| {
                match (self.page_strings(leaf, piece)?, verdicts.as_mut()) {
                    (PageStrings::Codes(codes), Some(verdicts)) => {
                        runs(&mut |value| {
                            codes.get(value).is_some_and(|code| verdicts.test(*code))
                        });
                    }
                    (PageStrings::Codes(_), None) => return Err(self.no_dictionary(leaf, piece)),
                    (PageStrings::Plain(plain), _) => {
                        runs(&mut |value| {
                            plain.get(value).is_some_and(|v| predicate.test_bytes(v))
                        });
                    }
                }
                Ok(())
            })?;
        }
        if predicate.wants_numbers() {
            if let Some(leaf) = leaves.int.filter(|leaf| !self.is_all_null(*leaf)) {
                self.test_values(leaf, level, &positions, &mut mask, |piece, runs| {
                    let values = self.page_ints(leaf, piece)?;
                    runs(&mut |at| values.get(at).is_some_and(|v| predicate.test_int(*v)));
                    Ok(())
                })?;
            }
            if let Some(leaf) = leaves.double.filter(|leaf| !self.is_all_null(*leaf)) {
                self.test_values(leaf, level, &positions, &mut mask, |piece, runs| {
                    let values = self.page_floats(leaf, piece)?;
                    runs(&mut |at| values.get(at).is_some_and(|v| predicate.test_float(*v)));
                    Ok(())
                })?;
            }
        }
        if predicate.wants_bools()
            && let Some(leaf) = leaves.bool.filter(|leaf| !self.is_all_null(*leaf))
        {
            self.test_values(leaf, level, &positions, &mut mask, |piece, runs| {
                let values = self.page_bools(leaf, piece)?;
                runs(&mut |at| values.get(at).is_some_and(|v| predicate.test_bool(*v)));
                Ok(())
            })?;
        }
        Ok(Some(mask))
    }

    fn column_of_generic(&self, level: Level, key: &str, traces: &Mask) -> Demand<ColumnData> {
        Ok(ColumnData::Attribute(self.read_generic(level, key, traces)?.unwrap_or_default()))
    }

    fn is_all_false(&self, leaf: LeafIndex) -> bool {
        use parquet::file::statistics::Statistics;
        let chunk = self.window.block.chunk(self.window.row_group, leaf);
        matches!(chunk.statistics(), Some(Statistics::Boolean(bools)) if bools.max_opt() == Some(&false))
    }

    /// Marks owners any of whose values in one leaf passes. `page` decodes a page and hands a test
    /// of one value to the function it is given, which tests the attribute's values with it.
    fn test_values(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        mask: &mut Mask,
        mut page: impl FnMut(&Piece, &mut dyn FnMut(&mut dyn FnMut(usize) -> bool)) -> Demand<()>,
    ) -> Demand<()> {
        let mut batch: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
        let mut current: Option<Piece> = None;
        let mut flush = |piece: &Piece, batch: &mut Vec<(usize, std::ops::Range<usize>)>| {
            page(piece, &mut |test| {
                for (at, run) in batch.drain(..) {
                    if run.into_iter().any(&mut *test) {
                        mask.set(positions.list[at].owner as usize);
                    }
                }
            })
        };
        self.each_value(leaf, level, positions, |at, piece, run| {
            if let Some(last) = &current
                && last.bytes != piece.bytes
            {
                flush(last, &mut batch)?;
                current = None;
            }
            if current.is_none() {
                current = Some(piece.clone());
            }
            batch.push((at, run));
            Ok(())
        })?;
        match current {
            Some(piece) => flush(&piece, &mut batch),
            None => Ok(()),
        }
    }

    /// `key = "text"`: the value is usually much rarer than the key, so its codes are looked for
    /// first, without levels, and keys are read only where one was found.
    fn test_string_equal(
        &self,
        leaves: &AttributeLeaves,
        leaf: LeafIndex,
        level: Level,
        key: &str,
        wanted: &[u8],
        traces: &Mask,
    ) -> Demand<Option<Mask>> {
        let key_table = self.window.table(leaves.key);
        let is_absent = |table: &Option<Arc<StringTable>>| {
            table.as_ref().is_some_and(|table| table.find(key.as_bytes()).is_none())
        };
        let (key_table, value_table) = match self.window.block.schema.own_column(level, key) {
            // Such a key is hardly ever in the list too: values are wanted once it is known to be.
            Some(_) => {
                let key_table = key_table?;
                if is_absent(&key_table) {
                    return Ok(None);
                }
                (key_table, self.window.table(leaf)?)
            }
            None => {
                let value_table = self.window.table(leaf);
                (key_table?, value_table?)
            }
        };
        if is_absent(&key_table) {
            return Ok(None);
        }
        let mut mask = Mask::none(self.n_rows(level)?);
        let code = value_table.as_ref().and_then(|table| table.find(wanted));
        if value_table.is_some() && code.is_none() && !self.has_plain_pages(leaf) {
            return Ok(Some(mask));
        }
        let structure = self.structure()?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let mut found: Vec<Position> = Vec::new();
        for piece in &self.window.pieces(leaf, traces)? {
            let text = std::str::from_utf8(wanted).unwrap_or_default();
            let Some(hits) = self.key_hits(leaf, piece, code, text)? else { continue };
            let index = self.window.index(leaf, piece, self.ranks(leaf, level))?;
            self.place(piece, &index, &hits, &owners, |position| {
                if found.last() != Some(&position) {
                    found.push(position);
                }
            });
        }
        if found.is_empty() {
            return Ok(Some(mask));
        }
        let found = Positions { list: found };
        let candidates = found.traces(self.window.n_rows());
        if let Some(positions) = self.positions(level, key, &candidates)? {
            let mut keys = positions.list.iter().peekable();
            for value in &found.list {
                while keys.peek().is_some_and(|key| *key < value) {
                    keys.next();
                }
                if keys.peek() == Some(&value) {
                    mask.set(value.owner as usize);
                }
            }
        }
        Ok(Some(mask))
    }

    pub(super) fn each_v3_value(
        &self,
        leaf: LeafIndex,
        level: Level,
        positions: &Positions,
        f: impl FnMut(usize, &Piece, std::ops::Range<usize>) -> Demand<()>,
    ) -> Demand<()> {
        self.each_value(leaf, level, positions, f)
    }
}

/// The positions that have no value yet, and their places among all.
fn open_positions(positions: &Positions, column: &AttributeColumn) -> (Positions, Vec<usize>) {
    let open = |place: &usize| column.values[*place] == AttributeCell::Invisible;
    let places: Vec<usize> = (0..positions.list.len()).filter(open).collect();
    let list = places.iter().map(|place| positions.list[*place]).collect();
    (Positions { list }, places)
}

fn positions_where<T>(values: impl Iterator<Item = T>, test: impl Fn(&T) -> bool) -> Vec<u32> {
    values.enumerate().filter(|(_, value)| test(value)).map(|(at, _)| count(at)).collect()
}
