//! The entries of a page by row and element, for leaves whose levels matter: optional and repeated
//! ones, and pages that reach beyond the window. Levels are gone through once per page; after that
//! every attribute is found by its number.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::error::DecodeError;
use super::leaf::{Demand, LeafPage, Piece, Window};
use super::structure::{Offsets, count};
use crate::schema::{LeafIndex, Level};

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
}

/// The levels of one page.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) rep: Vec<u8>,
    pub(crate) def: Vec<u8>,
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

/// What has been decoded of a page that serves several windows or several conditions.
#[derive(Debug, Default)]
pub(crate) struct PageMemo {
    index: Mutex<Option<(Ranks, Arc<PageIndex>)>>,
    /// The page's levels.
    pub(super) levels: OnceLock<Arc<Levels>>,
    /// The page's integers.
    pub(super) ints: OnceLock<Arc<Vec<i64>>>,
    /// The page's dictionary codes.
    pub(super) codes: OnceLock<Arc<Vec<u32>>>,
}

/// Where rows and elements of a page begin. An element is an attribute in a generic list, a row of
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
    fn new(levels: &Levels, ranks: Ranks, n_rows: usize) -> Result<Self, DecodeError> {
        let mut index = Self {
            row_elements: Vec::with_capacity(n_rows + 1),
            element_values: Vec::with_capacity(levels.rep.len() + 1),
            element_owners: Vec::with_capacity(levels.rep.len()),
        };
        let (mut value, mut next_owner, mut elements) = (0_u32, 0_u32, 0_u32);
        for (&rep, &def) in levels.rep.iter().zip(&levels.def) {
            if rep == 0 {
                index.row_elements.push(elements);
                next_owner = 0;
            }
            next_owner += u32::from(def >= ranks.owner && rep <= ranks.owner);
            if def >= ranks.element && rep <= ranks.element {
                index.element_values.push(value);
                index.element_owners.push(next_owner.wrapping_sub(1));
                elements += 1;
            }
            value += u32::from(def == ranks.max_def);
        }
        index.row_elements.push(elements);
        index.element_values.push(value);
        if index.row_elements.len() != n_rows + 1 {
            return Err(DecodeError::corrupt(
                "repetition levels",
                format!("{n_rows} rows"),
                format!("{} rows", index.row_elements.len() - 1),
                0,
            ));
        }
        Ok(index)
    }

    /// Elements of a row of the page.
    pub(crate) fn elements(&self, row: usize) -> Range<usize> {
        self.row_elements[row] as usize..self.row_elements[row + 1] as usize
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
}

impl Window {
    /// The index of a page, made once.
    pub(crate) fn index(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        ranks: Ranks,
    ) -> Demand<Arc<PageIndex>> {
        if let Some((known, index)) = &*piece.memo.index.lock()
            && *known == ranks
        {
            return Ok(Arc::clone(index));
        }
        let index = piece
            .page
            .levels()
            .and_then(|levels| PageIndex::new(&levels, ranks, piece.rows.len()))
            .map_err(|error| self.fail(leaf, piece, error))?;
        let index = Arc::new(index);
        *piece.memo.index.lock() = Some((ranks, Arc::clone(&index)));
        Ok(index)
    }

    /// Rows of the window that a piece covers: trace of the window, row of the page.
    pub(crate) fn rows_of(&self, piece: &Piece) -> impl Iterator<Item = (usize, usize)> + use<> {
        let local = self.local(&piece.rows);
        let skipped = self.rows().start.saturating_sub(piece.rows.start) as usize;
        let start = local.start;
        local.map(move |trace| (trace, trace - start + skipped))
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
        let rank = rank(level);
        let index = self.index(leaf, piece, Ranks { owner: rank, element: rank, max_def: rank })?;
        let start = index.row_elements[skipped] as usize;
        let end = index.row_elements[skipped + local.len()] as usize;
        Ok((start.min(n_values)..end.min(n_values), first))
    }

    /// True if a page reaches beyond the window: it will serve another one too.
    pub(crate) fn is_cut(&self, piece: &Piece) -> bool {
        piece.rows.start < self.rows().start || piece.rows.end > self.rows().end
    }
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
