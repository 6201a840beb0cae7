//! The entries of a page by row and element, for leaves whose levels matter: optional and repeated
//! ones, and pages that reach beyond the window. Levels are gone through once per page; after that
//! every attribute is found by its number.

use std::ops::Range;
use std::sync::Arc;

use super::error::DecodeError;
use super::leaf::{Counted, Demand, LeafPage, Piece, Window};
use super::structure::{Offsets, count};
use crate::schema::{LeafIndex, Level, prefix};

/// Definition and repetition level at which an entry stands for a row of a level.
pub(crate) fn rank(level: Level) -> u8 {
    match level {
        Level::Trace => 0,
        Level::Resource => 1,
        Level::Scope => 2,
        Level::Span => 3,
        Level::Event | Level::Link => 4,
    }
}

/// How the levels of a leaf are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranks {
    /// Level of the owner.
    pub(crate) owner: u8,
    /// Level of the element: one deeper than the owner for attributes, the owner's own otherwise.
    pub(crate) element: u8,
    /// Definition level at which there is a value.
    pub(crate) max_def: u8,
    /// An empty list keeps its entry as an element without values, so that the lists of one level
    /// agree entry by entry in all their leaves.
    pub(crate) keeps_empty: bool,
}

impl Ranks {
    /// Of a leaf whose elements are the rows of a level themselves.
    pub(crate) fn of_rows(rank: u8, max_def: u8) -> Self {
        Self { owner: rank, element: rank, max_def, keeps_empty: false }
    }

    /// Of a leaf of the attribute list of a level.
    pub(crate) fn of_attributes(rank: u8, max_def: u8) -> Self {
        Self { owner: rank, element: rank + 1, max_def, keeps_empty: true }
    }
}

/// The levels of one page, or of its first rows.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) rep: Vec<u8>,
    pub(crate) def: Vec<u8>,
}

impl Levels {
    /// The first value of each row, and the number of values.
    fn row_values(&self, max_def: u8) -> Vec<u32> {
        let mut rows = Vec::new();
        let mut value = 0_u32;
        for (&rep, &def) in self.rep.iter().zip(&self.def) {
            if rep == 0 {
                rows.push(value);
            }
            value += u32::from(def == max_def);
        }
        rows.push(value);
        rows
    }
}

/// Levels, and where each row begins in them.
#[derive(Debug)]
pub(crate) struct RowLevels {
    levels: Levels,
    /// First entry of each row, and the end of the last one that is whole.
    starts: Vec<u32>,
}

impl RowLevels {
    /// The last row may go on unless the levels are those of a whole page.
    fn new(levels: Levels, is_whole: bool) -> Self {
        let mut starts: Vec<u32> = Vec::new();
        starts.extend((0_u32..).zip(&levels.rep).filter(|(_, rep)| **rep == 0).map(|(at, _)| at));
        if is_whole {
            starts.push(count(levels.rep.len()));
        }
        Self { levels, starts }
    }

    fn n_rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
}

impl LeafPage {
    pub(crate) fn levels(&self) -> Result<Levels, DecodeError> {
        match self {
            Self::Encoded(page) => {
                let mut levels = Levels {
                    rep: Vec::with_capacity(page.n_entries()),
                    def: Vec::with_capacity(page.n_entries()),
                };
                page.rep_levels(&mut levels.rep)?;
                page.def_levels(&mut levels.def)?;
                Ok(levels)
            }
            Self::Library(leaf) => Ok(Levels { rep: leaf.rep.clone(), def: leaf.def.clone() }),
        }
    }
}

/// Where rows and elements of a page begin, for all of its rows or the first ones. An element is an attribute in a generic list, a row of
/// the owner's level in a column of its own.
#[derive(Debug)]
pub(crate) struct PageIndex {
    /// First element of each row of the page, and the number of elements.
    row_elements: Vec<u32>,
    /// First value of each element, and the number of values.
    element_values: Vec<u32>,
    /// Owner of each element, counted from the first owner of its row.
    element_owners: Vec<u32>,
}

impl PageIndex {
    /// An index of the rows that some levels hold whole: all rows of the page if `n_rows` says how
    /// many it has, else all but the last one, which may go on.
    fn new(levels: &Levels, ranks: Ranks, n_rows: Option<usize>) -> Result<Self, DecodeError> {
        let n_entries = levels.rep.len();
        let mut index = Self {
            row_elements: Vec::with_capacity(n_rows.unwrap_or(0) + 1),
            element_values: vec![0; n_entries + 1],
            element_owners: vec![0; n_entries],
        };
        let (mut value, mut next_owner, mut elements) = (0_u32, 0_u32, 0_usize);
        // Every entry is written as if it were an element; the next one takes its place if it is not.
        for (&rep, &def) in levels.rep.iter().zip(&levels.def) {
            if rep == 0 {
                index.row_elements.push(count(elements));
                next_owner = 0;
            }
            next_owner += u32::from(def >= ranks.owner) & u32::from(rep <= ranks.owner);
            index.element_values[elements] = value;
            index.element_owners[elements] = next_owner.wrapping_sub(1);
            elements += usize::from(rep <= ranks.element)
                & (usize::from(def >= ranks.element) | usize::from(ranks.keeps_empty));
            value += u32::from(def == ranks.max_def);
        }
        index.element_values[elements] = value;
        index.element_values.truncate(elements + 1);
        index.element_owners.truncate(elements);
        let elements = count(elements);
        let Some(n_rows) = n_rows else { return Ok(index) };
        index.row_elements.push(elements);
        if index.n_rows() != n_rows {
            return Err(DecodeError::corrupt(
                "repetition levels",
                format!("{n_rows} rows"),
                format!("{} rows", index.n_rows()),
                0,
            ));
        }
        Ok(index)
    }

    /// Rows it knows.
    fn n_rows(&self) -> usize {
        self.row_elements.len().saturating_sub(1)
    }

    /// Values of the first rows of the page.
    pub(crate) fn values_to(&self, row: usize) -> usize {
        let element = self.row_elements[row.min(self.n_rows())] as usize;
        self.element_values[element] as usize
    }

    /// Values of some rows of the page that it knows.
    pub(crate) fn values_of(&self, rows: Range<usize>) -> Range<usize> {
        self.values_to(rows.start)..self.values_to(rows.end)
    }

    /// The first value beyond the rows it knows.
    pub(crate) fn end_value(&self) -> u32 {
        count(self.values_to(self.n_rows()))
    }

    /// Elements of a row of the page.
    pub(crate) fn elements(&self, row: usize) -> Range<usize> {
        self.row_elements[row] as usize..self.row_elements[row + 1] as usize
    }

    /// Elements of some rows of the page that it knows.
    pub(crate) fn elements_of(&self, rows: Range<usize>) -> Range<usize> {
        self.row_elements[rows.start] as usize..self.row_elements[rows.end] as usize
    }

    /// Values of an element.
    pub(crate) fn values(&self, element: usize) -> Range<usize> {
        self.element_values[element] as usize..self.element_values[element + 1] as usize
    }

    /// Owner of an element, counted from the first owner of its row.
    pub(crate) fn owner(&self, element: usize) -> u32 {
        self.element_owners[element]
    }

    /// The element that has a value.
    pub(crate) fn element_of(&self, value: u32) -> usize {
        // Most leaves have a value per element: the first guess is right.
        let guess = value as usize;
        if self.element_values.get(guess) == Some(&value)
            && self.element_values.get(guess + 1).is_some_and(|next| *next > value)
        {
            return guess;
        }
        self.element_values.partition_point(|first| *first <= value).saturating_sub(1)
    }

    /// The row of the page that has an element.
    pub(crate) fn row_of(&self, element: usize) -> usize {
        let element = count(element);
        self.row_elements.partition_point(|first| *first <= element).saturating_sub(1)
    }

    /// Number of elements of each row it knows.
    pub(crate) fn element_counts(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.row_elements.windows(2).map(|pair| pair[1] - pair[0])
    }
}

impl Window {
    /// The index of a page, made once.
    pub(crate) fn index(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        ranks: Ranks,
    ) -> Demand<Arc<PageIndex>> {
        let wanted = (self.rows().end.min(piece.rows.end) - piece.rows.start) as usize;
        let mut memo = piece.held.memo.index.lock();
        let mut known_rows = 0;
        if let Some((known, index)) = &*memo
            && *known == ranks
        {
            if index.n_rows() >= wanted {
                return Ok(Arc::clone(index));
            }
            known_rows = index.n_rows();
        }
        let index = self
            .make_index(piece, ranks, wanted, known_rows)
            .map_err(|error| self.fail(leaf, piece, error))?;
        let index = Arc::new(index);
        *memo = Some((ranks, Arc::clone(&index)));
        Ok(index)
    }

    /// Goes through as many levels of a page as the first `wanted` rows take: a search that stops
    /// early is done long before the page ends.
    fn make_index(
        &self,
        piece: &Piece,
        ranks: Ranks,
        wanted: usize,
        known_rows: usize,
    ) -> Result<PageIndex, DecodeError> {
        let beginning = self.beginning(piece, wanted, known_rows, |levels| {
            let index = PageIndex::new(&levels, ranks, None)?;
            Ok((index.n_rows() >= wanted).then_some(index))
        })?;
        if let Some(index) = beginning {
            return Ok(index);
        }
        PageIndex::new(&piece.held.page.levels()?, ranks, Some(piece.rows.len()))
    }

    /// What the first levels of a page tell of the rows that are wanted, where the reader may stop
    /// before the page ends: `read` is given more and more of them until it has an answer. `None`
    /// if it takes the whole page.
    fn beginning<T>(
        &self,
        piece: &Piece,
        wanted: usize,
        known_rows: usize,
        read: impl Fn(Levels) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        let n_rows = piece.rows.len();
        let LeafPage::Encoded(page) = &piece.held.page else { return Ok(None) };
        if wanted >= n_rows || !self.context.stops_early {
            return Ok(None);
        }
        let n_entries = page.n_entries();
        let per_row = n_entries / n_rows.max(1) + 1;
        // Twice what is known at least, so that a page is not gone through once a window.
        let mut n = (per_row * wanted + 256).max(2 * per_row * known_rows);
        while n < n_entries {
            let mut levels = Levels { rep: Vec::new(), def: Vec::new() };
            page.rep_levels_to(n, &mut levels.rep)?;
            page.def_levels_to(n, &mut levels.def)?;
            if let Some(found) = read(levels)? {
                return Ok(Some(found));
            }
            n *= 2;
        }
        Ok(None)
    }

    /// Rows of a level that lie in the window, counted among those of the page, if that is known.
    pub(crate) fn level_rows(&self, level: Level, piece: &Piece) -> Option<Range<usize>> {
        let window = self.rows();
        let first = piece.rows.start.max(window.start);
        let end = piece.rows.end.min(window.end).max(first);
        let start = self.known_sum(Counted::Rows(level), piece.rows.start..first)?;
        Some(start..start + self.known_sum(Counted::Rows(level), first..end)?)
    }

    /// Rows of a page that lie in the window, counted in the page.
    pub(crate) fn page_rows(&self, piece: &Piece) -> Range<usize> {
        let first = self.rows().start.saturating_sub(piece.rows.start) as usize;
        first..first + self.local(&piece.rows).len()
    }

    /// Rows of the window that a piece covers: trace of the window, row of the page.
    pub(crate) fn rows_of(&self, piece: &Piece) -> impl Iterator<Item = (usize, usize)> + use<> {
        self.local(&piece.rows).zip(self.page_rows(piece))
    }

    /// Calls `f` with owner and values of every element of a piece that lies in the window.
    /// `owners(trace)` is the first owner row of a trace.
    pub(crate) fn each_element(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        ranks: Ranks,
        owners: impl Fn(usize) -> u32,
        mut f: impl FnMut(u32, Range<usize>),
    ) -> Demand<()> {
        let index = self.index(leaf, piece, ranks)?;
        for (trace, row) in self.rows_of(piece) {
            let first = owners(trace);
            for element in index.elements(row) {
                f(first.wrapping_add(index.owner(element)), index.values(element));
            }
        }
        Ok(())
    }

    /// Positions among the values of a required leaf of a level that lie in the window, and the
    /// owner row of the first of them.
    pub(crate) fn value_span(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        level: Level,
        n_values: usize,
        owners: impl Fn(usize) -> u32,
    ) -> Demand<(Range<usize>, usize)> {
        let local = self.local(&piece.rows);
        let first = owners(local.start) as usize;
        if !self.is_cut(piece) {
            return Ok((0..n_values, first));
        }
        let skipped = self.rows().start.saturating_sub(piece.rows.start) as usize;
        if level == Level::Trace {
            return Ok((skipped..(skipped + local.len()).min(n_values), first));
        }
        if let Some(rows) = self.level_rows(level, piece) {
            return Ok((rows.start.min(n_values)..rows.end.min(n_values), first));
        }
        let rows = self.row_values(leaf, piece, rank(level))?;
        let at = |row: usize| rows.get(row).map_or(n_values, |value| *value as usize);
        let (start, end) = (at(skipped), at(skipped + local.len()));
        Ok((start.min(n_values)..end.min(n_values), first))
    }

    /// The first value of each row of a page of a leaf that has a value per row of its level, and
    /// the number of values; of a page that goes on behind the window, at least as far as it.
    fn row_values(&self, leaf: LeafIndex, piece: &Piece, max_def: u8) -> Demand<Arc<Vec<u32>>> {
        let wanted = (self.rows().end.min(piece.rows.end) - piece.rows.start) as usize;
        let mut known = piece.held.memo.rows.lock();
        if let Some(rows) = &*known
            && rows.len() > wanted
        {
            return Ok(Arc::clone(rows));
        }
        let fail = |error| self.fail(leaf, piece, error);
        let n_rows = piece.rows.len();
        let known_rows = known.as_ref().map_or(0, |rows| rows.len());
        let beginning = self.beginning(piece, wanted, known_rows, |levels| {
            let mut rows = levels.row_values(max_def);
            // The last row may go on.
            rows.pop();
            Ok((rows.len() > wanted).then_some(rows))
        });
        let rows = match beginning.map_err(fail)? {
            Some(rows) => rows,
            None => {
                let rows = piece.held.page.levels().map_err(fail)?.row_values(max_def);
                if rows.len() != n_rows + 1 {
                    return Err(fail(DecodeError::corrupt(
                        "repetition levels",
                        format!("{n_rows} rows"),
                        format!("{} rows", rows.len().saturating_sub(1)),
                        0,
                    )));
                }
                rows
            }
        };
        let rows = Arc::new(rows);
        *known = Some(Arc::clone(&rows));
        Ok(rows)
    }

    /// The levels of some rows of a page that lie before the end of the window.
    pub(crate) fn with_levels(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        rows: Range<u32>,
        read: impl FnOnce(&[u8], &[u8]),
    ) -> Demand<()> {
        let levels = self.row_levels(leaf, piece)?;
        let at = |row: u32| row.saturating_sub(piece.rows.start) as usize;
        let rows = at(rows.start)..at(rows.end);
        let entries = levels.starts[rows.start] as usize..levels.starts[rows.end] as usize;
        read(&levels.levels.rep[entries.clone()], &levels.levels.def[entries]);
        Ok(())
    }

    /// The levels of a page, at least as far as the window.
    fn row_levels(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Arc<RowLevels>> {
        let wanted = (self.rows().end.min(piece.rows.end) - piece.rows.start) as usize;
        let mut known = piece.held.memo.levels.lock();
        let known_rows = known.as_ref().map_or(0, |known| known.n_rows());
        if let Some(levels) = &*known
            && known_rows >= wanted
        {
            return Ok(Arc::clone(levels));
        }
        let fail = |error| self.fail(leaf, piece, error);
        let beginning = self.beginning(piece, wanted, known_rows, |levels| {
            let levels = RowLevels::new(levels, false);
            Ok((levels.n_rows() >= wanted).then_some(levels))
        });
        let levels = match beginning.map_err(fail)? {
            Some(levels) => levels,
            None => {
                let levels = RowLevels::new(piece.held.page.levels().map_err(fail)?, true);
                if levels.n_rows() != piece.rows.len() {
                    let expected = format!("{} rows", piece.rows.len());
                    let found = format!("{} rows", levels.n_rows());
                    return Err(fail(DecodeError::corrupt(
                        "repetition levels",
                        expected,
                        found,
                        0,
                    )));
                }
                levels
            }
        };
        let levels = Arc::new(levels);
        *known = Some(Arc::clone(&levels));
        Ok(levels)
    }

    /// How many of a page's values are wanted for the window; `None` for all of them.
    pub(crate) fn wanted_values(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Option<usize>> {
        let is_last = piece.wanted_end >= piece.rows.end.min(self.rows().end);
        if piece.wanted_end >= piece.rows.end
            || matches!(piece.held.page, LeafPage::Library(_))
            || (is_last && !self.context.stops_early)
        {
            return Ok(None);
        }
        let info = &self.block.schema.leaves()[leaf];
        let (level, rest) = place(&info.path);
        let rank = rank(level);
        let row = (piece.wanted_end - piece.rows.start) as usize;
        if info.max_def == rank {
            if level == Level::Trace {
                return Ok(Some(row));
            }
            let rows = piece.rows.start..piece.wanted_end;
            if let Some(n) = self.known_sum(Counted::Rows(level), rows) {
                return Ok(Some(n));
            }
            if !self.context.stops_early {
                return Ok(None);
            }
            return Ok(self.row_values(leaf, piece, rank)?.get(row).map(|value| *value as usize));
        }
        if !self.context.stops_early {
            return Ok(None);
        }
        let ranks = match rest.starts_with("Attrs.") {
            true => Ranks::of_attributes(rank, info.max_def),
            false => Ranks::of_rows(rank, info.max_def),
        };
        let index = self.index(leaf, piece, ranks)?;
        Ok(Some(index.values_to(row)))
    }

    /// True if a page reaches beyond the window: it will serve another one too.
    pub(crate) fn is_cut(&self, piece: &Piece) -> bool {
        piece.rows.start < self.rows().start || piece.rows.end > self.rows().end
    }
}

/// The level of a leaf's owner and the rest of its path.
pub(crate) fn place(path: &str) -> (Level, &str) {
    [Level::Event, Level::Link, Level::Span, Level::Scope, Level::Resource]
        .into_iter()
        .find_map(|level| Some((level, path.strip_prefix(prefix(level))?)))
        .unwrap_or((Level::Trace, path))
}

/// The first owner row of a trace, by the owner's level.
pub(crate) fn first_owner<'a>(
    level: Level,
    structure: &'a super::structure::Structure,
    children: Option<&'a Offsets>,
) -> impl Fn(usize) -> u32 + 'a {
    move |trace| match level {
        Level::Trace => count(trace),
        Level::Resource => structure.trace_resources.start(trace),
        Level::Scope => structure.trace_scopes.start(trace),
        Level::Span => structure.trace_spans.start(trace),
        Level::Event | Level::Link => {
            let span = structure.trace_spans.start(trace) as usize;
            children.map_or(0, |offsets| offsets.start(span))
        }
    }
}
