//! Walks over the entries of a leaf that keep count of rows and owners, for leaves whose levels
//! matter: optional and repeated ones, and pages that reach beyond the window.

use super::leaf::{Demand, LeafPage, Piece, Window};
use super::page::DecodeError;
use super::structure::Offsets;
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

/// One entry of a leaf inside the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Row (trace) of the window.
    pub(crate) trace: u32,
    /// Row of the owner's level in the batch.
    pub(crate) owner: u32,
    /// Number of the attribute (or other element) within its trace, if the leaf has such elements.
    /// An entry of an owner without any has the number of the element before, 0 if there is none,
    /// and no value: whoever merges by this number is not led past elements to come.
    pub(crate) element: u32,
    /// Whether the entry starts an element.
    pub(crate) starts_element: bool,
    /// Position among the page's values, if the entry has one.
    pub(crate) value: Option<u32>,
}

/// How the levels of a leaf are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranks {
    /// Level of the owner.
    pub(crate) owner: u8,
    /// Level of the element: one deeper than the owner for attributes, the owner's own otherwise.
    pub(crate) element: u8,
    /// Definition level at which there is a value.
    pub(crate) max_def: u8,
}

/// The levels of one page.
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

impl Window {
    /// Calls `f` for every entry of a piece that lies in the window and stands for a row of the
    /// owner's level. `owners(trace)` is the first owner row of a trace.
    pub(crate) fn walk(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        ranks: Ranks,
        owners: impl Fn(usize) -> u32,
        mut f: impl FnMut(Entry),
    ) -> Demand<()> {
        let levels = piece.page.levels().map_err(|error| self.fail(leaf, piece, error))?;
        let window = self.rows();
        let mut row = piece.rows.start.wrapping_sub(1);
        let (mut inside, mut trace, mut next_owner, mut next_element, mut value) =
            (false, 0, 0, 0, 0);
        for (&rep, &def) in levels.rep.iter().zip(&levels.def) {
            if rep == 0 {
                row = row.wrapping_add(1);
                inside = window.contains(&row);
                if inside {
                    trace = row - window.start;
                    next_owner = owners(trace as usize);
                    next_element = 0;
                }
            }
            let has_value = def == ranks.max_def;
            if inside && def >= ranks.owner {
                next_owner += u32::from(rep <= ranks.owner);
                let starts_element = rep <= ranks.element && def >= ranks.element;
                next_element += u32::from(starts_element);
                f(Entry {
                    trace,
                    owner: next_owner.wrapping_sub(1),
                    element: next_element.saturating_sub(1),
                    starts_element,
                    value: has_value.then_some(value),
                });
            }
            value += u32::from(has_value);
        }
        let ended = row.wrapping_add(1);
        if ended == piece.rows.end || levels.rep.is_empty() {
            return Ok(());
        }
        Err(self.fail(
            leaf,
            piece,
            DecodeError::corrupt(
                "repetition levels",
                format!("rows {}..{}", piece.rows.start, piece.rows.end),
                format!("rows {}..{ended}", piece.rows.start),
                0,
            ),
        ))
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
    ) -> Demand<(std::ops::Range<usize>, usize)> {
        let window = self.rows();
        let local = self.local(&piece.rows);
        let first = owners(local.start) as usize;
        if piece.rows.start >= window.start && piece.rows.end <= window.end {
            return Ok((0..n_values, first));
        }
        if level == Level::Trace {
            let start = (window.start.max(piece.rows.start) - piece.rows.start) as usize;
            return Ok((start..(start + local.len()).min(n_values), first));
        }
        let levels = piece.page.levels().map_err(|error| self.fail(leaf, piece, error))?;
        let rank = rank(level);
        let mut row = piece.rows.start.wrapping_sub(1);
        let (mut start, mut end) = (0, 0);
        for (&rep, &def) in levels.rep.iter().zip(&levels.def) {
            row = row.wrapping_add(u32::from(rep == 0));
            if row >= window.end {
                break;
            }
            let counts = usize::from(def >= rank && rep <= rank);
            end += counts;
            if row < window.start {
                start += counts;
            }
        }
        Ok((start..end.min(n_values), first))
    }
}

/// The first owner row of a trace, by the owner's level.
pub(crate) fn first_owner<'a>(
    level: Level,
    structure: &'a super::structure::Structure,
    children: Option<&'a Offsets>,
) -> impl Fn(usize) -> u32 + 'a {
    move |trace| match level {
        Level::Trace => super::structure::count(trace),
        Level::Resource => structure.trace_resources.start(trace),
        Level::Scope => structure.trace_scopes.start(trace),
        Level::Span => structure.trace_spans.start(trace),
        Level::Event | Level::Link => {
            let span = structure.trace_spans.start(trace) as usize;
            children.map_or(0, |offsets| offsets.start(span))
        }
    }
}
