//! The traces of one window of a block as [`TraceData`]: structure and columns decoded on demand,
//! each once. Attributes of the generic lists are read in `attribute.rs`, what is peculiar to
//! vParquet3 in `v3.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use parquet::basic::Type as PhysicalType;

use super::batch::{Condition, NamedColumn, TraceData, attributes_by_key, test_column};
use super::leaf::{Counted, Demand, Fault, Piece, Window};
use super::mask::Mask;
use super::page::{ByteArrays, DecodeError};
use super::structure::{Offsets, Structure, count};
use super::values::{AttributeCell, AttributeColumn, ColumnData, StringTable, Strings};
use super::walk::{Ranks, first_owner};
use crate::bucket::meta::FormatVersion;
use crate::error::{Error, Result};
use crate::model::trace::SERVICE_NAME;
use crate::schema::{Column, LeafIndex, LeafInfo, Level};

/// The leaf whose levels give the structure: required, small, in every version.
const STRUCTURE_LEAF: &str = "rs.ss.Spans.StatusCode";

/// The traces of one window of one row group.
#[derive(Debug)]
pub struct BlockBatch {
    pub(super) window: Window,
    pub(super) decoded: Mutex<Decoded>,
}

/// What has been decoded of the window so far.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    structure: Option<Arc<Structure>>,
    events: Option<Arc<Offsets>>,
    links: Option<Arc<Offsets>>,
    columns: HashMap<Column, (Mask, Arc<ColumnData>)>,
    tests: HashMap<usize, (Mask, Mask)>,
    pub(super) positions: HashMap<(Level, String), (Mask, Arc<super::attribute::Positions>)>,
    pub(super) v3_links: Option<Arc<super::v3::Links>>,
}

/// Strings of one page: codes into the chunk's dictionary, or the strings themselves.
pub(super) enum PageStrings {
    Codes(Arc<Vec<u32>>),
    Plain(Arc<ByteArrays>),
}

impl BlockBatch {
    /// The traces of a window; nothing is decoded yet.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self { window, decoded: Mutex::default() }
    }

    /// The window, to note what will be wanted.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The window, to move it on to later rows.
    #[must_use]
    pub fn into_window(self) -> Window {
        self.window
    }

    /// Fetches what was found missing.
    ///
    /// # Errors
    /// Storage errors; corrupt pages.
    pub async fn fetch(&mut self) -> Result<()> {
        self.window.fetch().await
    }

    pub(super) fn leaf(&self, path: &str) -> Result<&LeafInfo> {
        self.window.block.schema.leaf(path).ok_or_else(|| {
            Error::corrupt(self.window.block.name(), None, format!("a leaf {path}"), "none")
        })
    }

    pub(super) fn info(&self, leaf: LeafIndex) -> &LeafInfo {
        &self.window.block.schema.leaves()[leaf]
    }

    pub(super) fn all(&self) -> Mask {
        Mask::all(self.window.n_rows())
    }

    pub(super) fn children(&self, level: Level) -> Demand<Option<Arc<Offsets>>> {
        Ok(match level {
            Level::Event => Some(self.span_events()?),
            Level::Link => Some(self.span_links()?),
            _ => None,
        })
    }

    /// Notes what a column needs as wanted, so that one fetch brings all columns of a query.
    pub fn prefetch(&self, column: &Column, traces: &Mask) {
        let schema = &self.window.block.schema;
        let window = &self.window;
        let want = |leaf: LeafIndex| {
            window.want_pages(leaf, traces);
            window.want_table(leaf);
        };
        if let Some(leaf) = schema.leaf(STRUCTURE_LEAF) {
            window.want_pages(leaf.index, &self.all());
        }
        match column.level() {
            Level::Event => {
                if let Some(leaf) = schema.leaf("rs.ss.Spans.Events.Name") {
                    window.want_pages(leaf.index, &self.all());
                }
            }
            Level::Link => {
                let path = match schema.version() {
                    FormatVersion::VParquet3 => "rs.ss.Spans.Links",
                    _ => "rs.ss.Spans.Links.SpanID",
                };
                if let Some(leaf) = schema.leaf(path) {
                    window.want_pages(leaf.index, &self.all());
                }
            }
            _ => {}
        }
        match column {
            Column::Attribute(level, key) => {
                if let Some(own) = schema.own_column(*level, key) {
                    want(own.leaf);
                }
                if let Some(generic) = schema.attributes(*level) {
                    // Whether the key occurs is known only with the dictionary of keys.
                    window.want_table(generic.key);
                }
            }
            _ => {
                if let Some(leaf) = schema.intrinsic_leaf(column) {
                    want(leaf.index);
                }
            }
        }
    }

    /// A code of a page, checked against its dictionary.
    pub(super) fn check_codes(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        codes: &[u32],
        table: &StringTable,
    ) -> Demand<()> {
        match codes.iter().max() {
            Some(max) if *max as usize >= table.len() => Err(self.window.fail(
                leaf,
                piece,
                DecodeError::corrupt(
                    "dictionary codes",
                    format!("codes below {}", table.len()),
                    max,
                    0,
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The trace ids of the window, 16 bytes each.
    ///
    /// # Errors
    /// As every read of a column.
    pub fn trace_ids(&self, traces: &Mask) -> Demand<ColumnData> {
        self.flat_column(&Column::TraceId, traces)
    }

    /// Notes the dictionaries that can prove a condition impossible as wanted.
    pub fn prefetch_tables(&self, column: &Column) {
        let schema = &self.window.block.schema;
        match column {
            Column::Attribute(level, key) => {
                if let Some(own) = schema.own_column(*level, key) {
                    self.window.want_table(own.leaf);
                }
                if let Some(generic) = schema.attributes(*level) {
                    self.window.want_table(generic.key);
                }
            }
            _ => {
                if let Some(leaf) = schema.intrinsic_leaf(column) {
                    self.window.want_table(leaf.index);
                }
            }
        }
    }

    /// A trace-level column, read without the structure.
    pub(super) fn flat_column(&self, column: &Column, traces: &Mask) -> Demand<ColumnData> {
        debug_assert_eq!(column.level(), Level::Trace, "other levels need the structure");
        self.read_column(column, traces)
    }

    /// The structure, unless the level is that of rows, which need none.
    fn structure_for(&self, level: Level) -> Demand<Arc<Structure>> {
        if level == Level::Trace { Ok(Arc::default()) } else { self.structure() }
    }

    fn n_rows_of(&self, level: Level) -> Demand<usize> {
        if level == Level::Trace { Ok(self.window.n_rows()) } else { self.n_rows(level) }
    }

    /// A required integer leaf of a level.
    pub(super) fn read_ints(
        &self,
        leaf: LeafIndex,
        level: Level,
        traces: &Mask,
    ) -> Demand<Vec<i64>> {
        let structure = self.structure_for(level)?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let pieces = self.window.pieces(leaf, traces)?;
        let mut column = vec![0; self.n_rows_of(level)?];
        for piece in &pieces {
            let values = self.page_ints(leaf, piece)?;
            let (span, first) =
                self.window.value_span(leaf, piece, level, values.len(), &owners)?;
            let target = self.target(leaf, piece, &mut column, first, span.len())?;
            target.copy_from_slice(&values[span]);
        }
        Ok(column)
    }

    fn target<'a, T>(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        column: &'a mut [T],
        first: usize,
        n: usize,
    ) -> Demand<&'a mut [T]> {
        let n_rows = column.len();
        column.get_mut(first..first + n).ok_or_else(|| {
            self.window.fail(
                leaf,
                piece,
                DecodeError::corrupt("values", format!("{n_rows} values"), first + n, 0),
            )
        })
    }

    /// A required string leaf of a level.
    fn read_strings(&self, leaf: LeafIndex, level: Level, traces: &Mask) -> Demand<Strings> {
        let structure = self.structure_for(level)?;
        let children = self.children(level)?;
        let owners = first_owner(level, &structure, children.as_deref());
        let pieces = self.window.pieces(leaf, traces)?;
        let table = self.window.table(leaf)?;
        let mut codes = vec![Strings::ABSENT; self.n_rows_of(level)?];
        // Pages without a dictionary add to a table of the batch's own; a coded page beside them
        // (no known writer makes such a chunk) is copied into it.
        let mut own = StringTable::default();
        let mut decoded = Vec::with_capacity(pieces.len());
        let mut any_plain = false;
        for piece in &pieces {
            let strings = self.page_strings(leaf, piece)?;
            any_plain |= matches!(strings, PageStrings::Plain(_));
            decoded.push(strings);
        }
        for (piece, strings) in pieces.iter().zip(decoded) {
            let n = match &strings {
                PageStrings::Plain(plain) => plain.len(),
                PageStrings::Codes(page_codes) => page_codes.len(),
            };
            let (span, first) = self.window.value_span(leaf, piece, level, n, &owners)?;
            let target = self.target(leaf, piece, &mut codes, first, span.len())?;
            match (strings, &table) {
                (PageStrings::Plain(plain), _) => {
                    for (code, at) in target.iter_mut().zip(span) {
                        *code = own.push(plain.get(at).unwrap_or_default());
                    }
                }
                (PageStrings::Codes(page_codes), Some(table)) => {
                    self.check_codes(leaf, piece, &page_codes[span.clone()], table)?;
                    if any_plain {
                        for (code, of_page) in target.iter_mut().zip(&page_codes[span]) {
                            *code = own.push(table.get(*of_page));
                        }
                    } else {
                        target.copy_from_slice(&page_codes[span]);
                    }
                }
                (PageStrings::Codes(_), None) => return Err(self.no_dictionary(leaf, piece)),
            }
        }
        let table = match table {
            Some(table) if !any_plain => table,
            _ => Arc::new(own),
        };
        Ok(Strings { codes, table })
    }

    pub(super) fn no_dictionary(&self, leaf: LeafIndex, piece: &Piece) -> Fault {
        self.window.fail(
            leaf,
            piece,
            DecodeError::corrupt("dictionary codes", "a dictionary page", "none in the chunk", 0),
        )
    }

    /// An attribute wherever the block keeps it: the generic list first, as rows are read back.
    fn read_attribute(&self, level: Level, key: &str, traces: &Mask) -> Demand<AttributeColumn> {
        let generic = self.read_generic(level, key, traces);
        let own = self.read_own(level, key, traces);
        // Both are asked before either fault is reported, so that one fetch brings all.
        Ok(match (generic?, own?) {
            (Some(generic), Some(own)) => merge(generic, &own),
            (Some(column), None) | (None, Some(column)) => column,
            (None, None) => AttributeColumn::default(),
        })
    }

    fn read_column(&self, column: &Column, traces: &Mask) -> Demand<ColumnData> {
        if let Column::Attribute(level, key) = column {
            if *level == Level::Link && self.window.block.schema.attributes(Level::Link).is_none() {
                return Ok(ColumnData::Attribute(self.v3_link_attribute(key)?));
            }
            return Ok(ColumnData::Attribute(self.read_attribute(*level, key, traces)?));
        }
        if self.window.block.schema.version() == FormatVersion::VParquet3 {
            match column {
                Column::LinkTraceId | Column::LinkSpanId => return self.v3_link_ids(column),
                Column::EventTimeSinceStart => return self.v3_event_times(traces),
                _ => {}
            }
        }
        let leaf = self.window.block.schema.intrinsic_leaf(column).ok_or_else(|| {
            Error::corrupt(self.window.block.name(), None, format!("column {column:?}"), "no leaf")
        })?;
        let (index, level) = (leaf.index, column.level());
        if let Column::SpanStartRounded(seconds) = column {
            let mut starts = self.read_ints(index, level, traces)?;
            let of_intervals = self.window.block.schema.rounded_start(*seconds).is_some();
            starts.iter_mut().for_each(|start| {
                *start = if of_intervals {
                    // The leaf is unsigned; interval i ends at (i + 1) * seconds (blocks.md 4.8).
                    let interval = *start & i64::from(u32::MAX);
                    (interval + 1) * i64::from(*seconds) * 1_000_000_000
                } else {
                    rounded_up(*start, *seconds)
                };
            });
            return Ok(ColumnData::Int(starts));
        }
        if leaf.physical == PhysicalType::BYTE_ARRAY {
            Ok(ColumnData::Strings(self.read_strings(index, level, traces)?))
        } else {
            Ok(ColumnData::Int(self.read_ints(index, level, traces)?))
        }
    }

    fn test_attribute(
        &self,
        condition: &Condition,
        level: Level,
        key: &str,
        traces: &Mask,
    ) -> Demand<Mask> {
        let own = self.window.block.schema.own_column(level, key).cloned();
        let generic = self.test_generic(condition, level, key, traces);
        let Some(own) = own else {
            return match generic? {
                Some(mask) => Ok(mask),
                None => Ok(Mask::none(self.n_rows(level)?)),
            };
        };
        // Arrays must satisfy `!=` whole: that needs real columns.
        let mut mask = if condition.predicate.needs_all_elements() {
            match self.read_own(level, key, traces)? {
                Some(column) => test_column(
                    &ColumnData::Attribute(column),
                    &condition.predicate,
                    self.n_rows(level)?,
                ),
                None => Mask::none(self.n_rows(level)?),
            }
        } else {
            self.test_own(own.leaf, condition, level, traces)?
        };
        if let Some(generic) = generic? {
            if let Some(positions) = self.positions(level, key, traces)? {
                for owner in positions.owners() {
                    mask.clear(owner as usize);
                }
            }
            mask.or(&generic);
        }
        Ok(mask)
    }
}

/// A time, unix nanoseconds, rounded up to a multiple of so many seconds.
pub(super) fn rounded_up(unix_nanos: i64, seconds: u16) -> i64 {
    let step = u64::from(seconds) * 1_000_000_000;
    let rounded = unix_nanos.cast_unsigned().div_ceil(step.max(1)).saturating_mul(step);
    rounded.cast_signed()
}

/// Rows of `first`, and those of `second` that it lacks.
pub(super) fn merge(mut first: AttributeColumn, second: &AttributeColumn) -> AttributeColumn {
    if first.rows.is_empty() {
        return second.clone();
    }
    let (table_base, element_base) = (count(first.tables.len()), count(first.elements.len()));
    first.tables.extend(second.tables.iter().map(Arc::clone));
    let moved = |cell: AttributeCell| match cell {
        AttributeCell::String(table, code) => AttributeCell::String(table + table_base, code),
        AttributeCell::Array(start, end) => {
            AttributeCell::Array(start + element_base, end + element_base)
        }
        other => other,
    };
    first.elements.extend(second.elements.iter().map(|cell| moved(*cell)));
    let mut rows: Vec<(u32, AttributeCell)> =
        first.rows.iter().copied().zip(first.values.iter().copied()).collect();
    let have = first.rows.clone();
    rows.extend(
        second
            .rows
            .iter()
            .zip(&second.values)
            .filter(|(row, _)| have.binary_search(row).is_err())
            .map(|(row, cell)| (*row, moved(*cell))),
    );
    rows.sort_unstable_by_key(|(row, _)| *row);
    (first.rows, first.values) = rows.into_iter().unzip();
    first
}

impl TraceData for BlockBatch {
    fn structure(&self) -> Demand<Arc<Structure>> {
        if let Some(structure) = &self.decoded.lock().structure {
            return Ok(Arc::clone(structure));
        }
        let leaf = self.leaf(STRUCTURE_LEAF)?.index;
        let mut structure = Structure::default();
        for piece in self.window.pieces(leaf, &self.all())? {
            let window = self.window.rows();
            let here = piece.rows.start.max(window.start)..piece.rows.end.min(window.end);
            let before = piece.rows.start..here.start;
            if self.window.known_sum(Counted::Rows(Level::Span), before.clone()).is_none() {
                // Other leaves' pages begin among these rows and need their counts.
                let mut earlier = Structure::default();
                self.window.with_levels(leaf, &piece, before.clone(), |rep, def| {
                    earlier.extend_from_levels(rep, def);
                })?;
                self.note_rows(&earlier, before.start);
            }
            self.window.with_levels(leaf, &piece, here, |rep, def| {
                structure.extend_from_levels(rep, def);
            })?;
        }
        if structure.n_traces() != self.window.n_rows() {
            return Err(Fault::Failed(Error::corrupt(
                self.window.block.name(),
                None,
                format!("{} rows in leaf {STRUCTURE_LEAF}", self.window.n_rows()),
                structure.n_traces().to_string(),
            )));
        }
        self.note_rows(&structure, self.window.rows().start);
        let structure = Arc::new(structure);
        self.decoded.lock().structure = Some(Arc::clone(&structure));
        Ok(structure)
    }

    fn span_events(&self) -> Demand<Arc<Offsets>> {
        if let Some(events) = &self.decoded.lock().events {
            return Ok(Arc::clone(events));
        }
        let leaf = self.leaf("rs.ss.Spans.Events.Name")?.index;
        let events = Arc::new(self.read_offsets(leaf)?);
        self.decoded.lock().events = Some(Arc::clone(&events));
        Ok(events)
    }

    fn span_links(&self) -> Demand<Arc<Offsets>> {
        if let Some(links) = &self.decoded.lock().links {
            return Ok(Arc::clone(links));
        }
        let links = Arc::new(if self.window.block.schema.version() == FormatVersion::VParquet3 {
            self.v3_links()?.offsets.clone()
        } else {
            self.read_offsets(self.leaf("rs.ss.Spans.Links.SpanID")?.index)?
        });
        self.decoded.lock().links = Some(Arc::clone(&links));
        Ok(links)
    }

    fn column(&self, column: &Column, traces: &Mask) -> Demand<Arc<ColumnData>> {
        if let Some((have, data)) = self.decoded.lock().columns.get(column)
            && covers(have, traces)
        {
            return Ok(Arc::clone(data));
        }
        let data = Arc::new(self.read_column(column, traces)?);
        self.decoded.lock().columns.insert(column.clone(), (traces.clone(), Arc::clone(&data)));
        Ok(data)
    }

    fn attribute_keys(&self, level: Level) -> Demand<Vec<String>> {
        let mut keys = self.keys(level)?;
        if level == Level::Resource {
            keys.push(SERVICE_NAME.to_owned());
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn attributes(&self, level: Level, traces: &Mask, rows: &Mask) -> Demand<Vec<NamedColumn>> {
        match self.read_every_attribute(level, traces, rows)? {
            Some(attributes) => Ok(attributes),
            None => attributes_by_key(self, level, traces),
        }
    }

    fn hint(&self, column: &Column, traces: &Mask) {
        self.prefetch(column, traces);
    }

    fn test(&self, condition: &Condition, traces: &Mask) -> Demand<Mask> {
        if let Some((have, mask)) = self.decoded.lock().tests.get(&condition.id)
            && covers(have, traces)
        {
            return Ok(mask.clone());
        }
        let mask = match &condition.column {
            Column::Attribute(level, key)
                if *level != Level::Link
                    || self.window.block.schema.attributes(Level::Link).is_some() =>
            {
                self.test_attribute(condition, *level, key, traces)?
            }
            column => {
                let data = self.column(column, traces)?;
                test_column(&data, &condition.predicate, self.n_rows(column.level())?)
            }
        };
        self.decoded.lock().tests.insert(condition.id, (traces.clone(), mask.clone()));
        Ok(mask)
    }
}

impl BlockBatch {
    /// Remembers how many rows of each level the traces from row `first` on have.
    fn note_rows(&self, structure: &Structure, first: u32) {
        for (level, offsets) in [
            (Level::Span, &structure.trace_spans),
            (Level::Resource, &structure.trace_resources),
            (Level::Scope, &structure.trace_scopes),
        ] {
            self.window.note_counts(Counted::Rows(level), first, offsets.counts());
        }
    }

    /// Children (events, links) of each span from the levels of one of their required leaves.
    fn read_offsets(&self, leaf: LeafIndex) -> Demand<Offsets> {
        let structure = self.structure()?;
        let mut counts = vec![0_u32; structure.n_spans()];
        let ranks = Ranks { owner: 3, element: 4, max_def: 4, keeps_empty: false };
        let owners = first_owner(Level::Span, &structure, None);
        for piece in self.window.pieces(leaf, &self.all())? {
            self.window.each_element(leaf, &piece, ranks, &owners, |owner, _| {
                if let Some(n) = counts.get_mut(owner as usize) {
                    *n += 1;
                }
            })?;
        }
        let mut offsets = Offsets::new();
        let mut end = 0;
        for n in counts {
            end += n;
            offsets.push_end(end);
        }
        Ok(offsets)
    }
}

/// True if every trace of `wanted` is among `have`.
pub(super) fn covers(have: &Mask, wanted: &Mask) -> bool {
    let mut rest = wanted.clone();
    rest.and_not(have);
    !rest.any()
}
