//! Whole rows of a block: every leaf with levels and values, for what needs all of a trace rather
//! than some columns of many. Built on the pages of a [`Window`]; knows nothing of the model.

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::Type as PhysicalType;

use super::encoding::{ByteArrays, Encoding};
use super::error::DecodeError;
use super::leaf::{Demand, Fault, LeafPage, Piece, Window};
use super::library::{LeafValues, Values};
use super::mask::Mask;
use super::materialize::Rows;
use super::open::{OpenBlock, ReadContext};
use super::values::StringTable;
use crate::error::{Error, Result};
use crate::model::Trace;
use crate::model::trace::TraceFields;
use crate::schema::{LeafIndex, LeafInfo, Level};

/// How many bytes of a row group, uncompressed, are held as rows at a time when all of its rows are
/// read one after the other.
const STEP_BYTES: u64 = 16 << 20;

/// A row of a block: the trace, and what its trace-level columns say.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTrace {
    /// The trace.
    pub trace: Trace,
    /// What its trace-level columns say.
    pub fields: TraceFields,
}

impl StoredTrace {
    /// The traces of some rows, with what their trace-level columns say.
    pub(crate) fn of_rows(rows: &Rows<'_>) -> Result<Vec<Self>> {
        let level = Level::Trace;
        let starts = rows.ints("StartTimeUnixNano", level)?.into_iter();
        let ends = rows.ints("EndTimeUnixNano", level)?.into_iter();
        let services = rows.texts("RootServiceName", level)?.into_iter();
        let names = rows.texts("RootSpanName", level)?.into_iter();
        let fields = starts.zip(ends).zip(services).zip(names);
        let fields =
            fields.map(|(((start, end), root_service_name), root_span_name)| TraceFields {
                start_unix_nanos: start.cast_unsigned(),
                end_unix_nanos: end.cast_unsigned(),
                root_service_name,
                root_span_name,
            });
        let traces = rows.traces()?.into_iter().zip(fields);
        Ok(traces.map(|(trace, fields)| Self { trace, fields }).collect())
    }

    /// Parts of one trace as one, as a compaction makes one of them; `None` of none. Of a span that
    /// several parts hold, the first part's copy counts.
    #[must_use]
    pub fn combine(parts: Vec<Self>) -> Option<Self> {
        let mut fields: Option<TraceFields> = None;
        let mut traces = Vec::with_capacity(parts.len());
        for part in parts {
            match &mut fields {
                Some(fields) => fields.combine(part.fields),
                none => *none = Some(part.fields),
            }
            traces.push(part.trace);
        }
        Some(Self { trace: Trace::combine(traces)?, fields: fields? })
    }
}

/// Reads whole rows of one row group. Rows asked for in ascending order share the pages they share.
#[derive(Debug)]
pub struct RowReader {
    window: Window,
    /// Whether strings of a dictionary are left as codes.
    keeps_codes: bool,
}

impl RowReader {
    /// A reader of one row group; nothing is read yet.
    #[must_use]
    pub fn new(block: &Arc<OpenBlock>, row_group: usize, context: &ReadContext) -> Self {
        let window = Window::new(Arc::clone(block), row_group, 0..0, context.clone());
        Self { window, keeps_codes: false }
    }

    /// Leaves strings as codes wherever all of a leaf's are, for whoever knows what to do with them.
    pub(crate) fn keeping_codes(self) -> Self {
        Self { keeps_codes: true, ..self }
    }

    /// The traces of some rows, counted in the row group.
    ///
    /// # Errors
    /// Storage errors; [`Error::Corrupt`] naming leaf and bytes.
    pub async fn traces(&mut self, rows: Range<u32>) -> Result<Vec<Trace>> {
        let leaves = self.all_leaves(rows).await?;
        self.rows(leaves)?.traces()
    }

    /// The traces of some rows, with what their trace-level columns say.
    ///
    /// # Errors
    /// As [`RowReader::traces`].
    pub async fn stored_traces(&mut self, rows: Range<u32>) -> Result<Vec<StoredTrace>> {
        let leaves = self.all_leaves(rows).await?;
        StoredTrace::of_rows(&self.rows(leaves)?)
    }

    /// The rows of the row group in steps of bounded size.
    pub fn steps(&self) -> impl Iterator<Item = Range<u32>> + use<> {
        self.steps_within(STEP_BYTES)
    }

    /// The rows of the row group in steps of about so many bytes, uncompressed.
    pub(crate) fn steps_within(&self, step_bytes: u64) -> impl Iterator<Item = Range<u32>> + use<> {
        let n_rows = self.window.block.n_rows(self.window.row_group);
        let n_steps = u32::try_from(self.n_bytes().div_ceil(step_bytes)).unwrap_or(u32::MAX);
        let step = n_rows.div_ceil(n_steps.max(1)).max(1);
        (0..n_rows.div_ceil(step)).map(move |at| at * step..((at + 1) * step).min(n_rows))
    }

    /// Bytes of the row group, uncompressed.
    pub(crate) fn n_bytes(&self) -> u64 {
        let row_group = self.window.block.metadata().row_group(self.window.row_group);
        u64::try_from(row_group.total_byte_size()).unwrap_or(0)
    }

    /// Levels and values of all leaves of some rows.
    pub(crate) async fn all_leaves(&mut self, rows: Range<u32>) -> Result<Vec<LeafValues>> {
        let leaves: Vec<_> = (0..self.window.block.schema.leaves().len()).collect();
        self.leaves(&leaves, rows).await
    }

    /// Levels and values of some leaves of some rows.
    pub(crate) async fn leaves(
        &mut self,
        leaves: &[LeafIndex],
        rows: Range<u32>,
    ) -> Result<Vec<LeafValues>> {
        self.window.advance(rows);
        match self.read(leaves).await {
            // The library knows encodings that our pages do not.
            Err(Error::Unsupported { .. }) if !self.window.context.library_reader => {
                let window = &self.window;
                let mut context = window.context.clone();
                context.library_reader = true;
                let block = Arc::clone(&window.block);
                self.window = Window::new(block, window.row_group, window.rows(), context);
                self.read(leaves).await
            }
            read => read,
        }
    }

    /// The rows last read, ready to become traces.
    pub(crate) fn rows(&self, leaves: Vec<LeafValues>) -> Result<Rows<'_>> {
        let block = &self.window.block;
        Rows::new(&block.schema, block.name(), self.window.n_rows(), leaves)
    }

    async fn read(&mut self, leaves: &[LeafIndex]) -> Result<Vec<LeafValues>> {
        let all = Mask::all(self.window.n_rows());
        for &leaf in leaves {
            self.window.want_pages(leaf, &all);
            if self.info(leaf).physical == PhysicalType::BYTE_ARRAY {
                self.window.want_table(leaf);
            }
        }
        self.window.fetch().await?;
        let values = leaves.iter().map(|&leaf| self.leaf(leaf, &all));
        values.collect::<Demand<_>>().map_err(|fault| match fault {
            Fault::Failed(error) => error,
            Fault::Missing => Error::corrupt(
                self.window.block.name(),
                None,
                "pages for all rows of a row group",
                "none for some",
            ),
        })
    }

    fn info(&self, leaf: LeafIndex) -> &LeafInfo {
        &self.window.block.schema.leaves()[leaf]
    }

    fn leaf(&self, leaf: LeafIndex, all: &Mask) -> Demand<LeafValues> {
        let info = self.info(leaf);
        let is_text = info.physical == PhysicalType::BYTE_ARRAY;
        let pieces = self.window.pieces(leaf, all)?;
        let is_coded = |piece: &Piece| matches!(&piece.held.page, LeafPage::Encoded(page) if page.encoding() == Encoding::RleDictionary);
        let table =
            if is_text && pieces.iter().any(is_coded) { self.window.table(leaf)? } else { None };
        let mut whole = LeafValues {
            rep: Vec::new(),
            def: Vec::new(),
            values: match info.physical {
                PhysicalType::BOOLEAN => Values::Bool(Vec::new()),
                PhysicalType::INT32 => Values::I32(Vec::new()),
                PhysicalType::INT64 => Values::I64(Vec::new()),
                PhysicalType::DOUBLE => Values::F64(Vec::new()),
                _ => match &table {
                    Some(table) if self.keeps_codes && pieces.iter().all(is_coded) => {
                        Values::Coded(Vec::new(), Arc::clone(table))
                    }
                    _ => Values::Bytes(ByteArrays::new()),
                },
            },
        };
        for piece in &pieces {
            self.add_piece(info, piece, table.as_deref(), &mut whole)
                .map_err(|error| self.window.fail(leaf, piece, error))?;
        }
        let n_rows = whole.rep.iter().filter(|rep| **rep == 0).count();
        if n_rows != self.window.n_rows() {
            return Err(Fault::Failed(Error::corrupt(
                self.window.block.name(),
                None,
                format!("{} rows in leaf {}", self.window.n_rows(), info.path),
                n_rows.to_string(),
            )));
        }
        Ok(whole)
    }

    /// Adds the part of a page that lies in the window.
    fn add_piece(
        &self,
        info: &LeafInfo,
        piece: &Piece,
        table: Option<&StringTable>,
        to: &mut LeafValues,
    ) -> Result<(), DecodeError> {
        let before = to.rep.len();
        match &piece.held.page {
            LeafPage::Encoded(page) => {
                page.rep_levels(&mut to.rep)?;
                page.def_levels(&mut to.def)?;
            }
            LeafPage::Library(leaf) => {
                to.rep.extend_from_slice(&leaf.rep);
                to.def.extend_from_slice(&leaf.def);
            }
        }
        let (rep, def) = (&to.rep[before..], &to.def[before..]);
        if let Some(rep) = rep.first().filter(|rep| **rep != 0) {
            return Err(DecodeError::corrupt("repetition levels", "a row's first", rep, 0));
        }
        let (window, rows) = (self.window.rows(), &piece.rows);
        let start = row_start(rep, window.start.saturating_sub(rows.start));
        let end = match window.end < rows.end {
            true => row_start(rep, window.end.saturating_sub(rows.start)),
            false => rep.len(),
        };
        let n_values =
            |entries: Range<usize>| def[entries].iter().filter(|def| **def == info.max_def).count();
        let first = n_values(0..start);
        let values = first..first + n_values(start..end);
        keep(&mut to.rep, before, start..end);
        keep(&mut to.def, before, start..end);
        add_values(&piece.held.page, table, values, &mut to.values)
    }
}

/// Where a row of a page begins among its entries.
fn row_start(rep: &[u8], row: u32) -> usize {
    // Blocks in which zeros are counted without looking where they are.
    const BLOCK: usize = 256;
    let (mut row, mut start) = (row as usize, 0);
    for block in rep.chunks(BLOCK) {
        let n_rows = block.iter().filter(|rep| **rep == 0).count();
        if row < n_rows {
            let mut starts = (0..block.len()).filter(|at| block[*at] == 0);
            return start + starts.nth(row).unwrap_or(0);
        }
        row -= n_rows;
        start += block.len();
    }
    start
}

/// Keeps a range, counted from `before`, of what was added behind it.
fn keep<T>(values: &mut Vec<T>, before: usize, range: Range<usize>) {
    values.truncate(before + range.end);
    values.drain(before..before + range.start);
}

/// Adds some values of a page.
fn add_values(
    page: &LeafPage,
    table: Option<&StringTable>,
    range: Range<usize>,
    to: &mut Values,
) -> Result<(), DecodeError> {
    fn extend<T>(
        to: &mut Vec<T>,
        range: Range<usize>,
        decode: impl FnOnce(&mut Vec<T>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let before = to.len();
        decode(to)?;
        if to.len() - before < range.end {
            return Err(too_few(&range, to.len() - before));
        }
        keep(to, before, range);
        Ok(())
    }
    fn copy<T: Copy>(to: &mut Vec<T>, from: &[T], range: Range<usize>) -> Result<(), DecodeError> {
        to.extend_from_slice(from.get(range.clone()).ok_or_else(|| too_few(&range, from.len()))?);
        Ok(())
    }
    let n = range.end;
    match (page, to) {
        (LeafPage::Encoded(page), Values::Bool(to)) => extend(to, range, |to| page.bools(to)),
        (LeafPage::Encoded(page), Values::I32(to)) => extend(to, range, |to| page.i32s_to(n, to)),
        (LeafPage::Encoded(page), Values::I64(to)) => extend(to, range, |to| page.i64s_to(n, to)),
        (LeafPage::Encoded(page), Values::F64(to)) => extend(to, range, |to| page.f64s(to)),
        (LeafPage::Encoded(page), Values::Bytes(to)) => {
            if page.encoding() == Encoding::RleDictionary {
                let mut codes = Vec::new();
                page.codes_to(n, &mut codes)?;
                return add_coded(&codes, table, range, to);
            }
            let mut values = ByteArrays::new();
            page.byte_arrays(&mut values)?;
            to.push_range(&values, range)
        }
        (LeafPage::Encoded(page), Values::Coded(to, table)) => {
            let before = to.len();
            extend(to, range, |to| page.codes_to(n, to))?;
            check_codes(&to[before..], table)
        }
        (LeafPage::Library(leaf), to) => match (&leaf.values, to) {
            (Values::Bool(values), Values::Bool(to)) => copy(to, values, range),
            (Values::I32(values), Values::I32(to)) => copy(to, values, range),
            (Values::I64(values), Values::I64(to)) => copy(to, values, range),
            (Values::F64(values), Values::F64(to)) => copy(to, values, range),
            (Values::Bytes(values), Values::Bytes(to)) => to.push_range(values, range),
            _ => Err(DecodeError::corrupt("values", "the type of the leaf", "another", 0)),
        },
    }
}

fn add_coded(
    codes: &[u32],
    table: Option<&StringTable>,
    range: Range<usize>,
    to: &mut ByteArrays,
) -> Result<(), DecodeError> {
    let Some(table) = table else {
        return Err(DecodeError::corrupt("dictionary codes", "a dictionary page", "none", 0));
    };
    let codes = codes.get(range.clone()).ok_or_else(|| too_few(&range, codes.len()))?;
    check_codes(codes, table)?;
    codes.iter().try_for_each(|code| to.push(table.get(*code)))
}

fn check_codes(codes: &[u32], table: &StringTable) -> Result<(), DecodeError> {
    match codes.iter().max() {
        Some(code) if *code as usize >= table.len() => {
            let expected = format!("codes below {}", table.len());
            Err(DecodeError::corrupt("dictionary codes", expected, code, 0))
        }
        _ => Ok(()),
    }
}

fn too_few(range: &Range<usize>, n: usize) -> DecodeError {
    DecodeError::corrupt("values", format!("{} values", range.end), n, 0)
}
