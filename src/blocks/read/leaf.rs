//! Pages of the leaves of one row group, for a window of trace rows: which ones are needed, which
//! are there, and walks over their entries. Everything here is synchronous but [`Window::fetch`];
//! a reader that lacks a page says which, and is asked again once it has been fetched.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::library::{self, LeafValues};
use super::mask::Mask;
use super::memo::PageMemo;
use super::open::{OpenBlock, ReadContext};
use super::page::{DataPage, DecodeError, Encoding};
use super::shared::{Claim, GroupCounts, PageKey, Promise};
use super::thrift::PageLocation;
use super::values::StringTable;
use crate::error::{Error, Result};
use crate::schema::{LeafIndex, Level};

/// If fewer than one row in so many is selected, pages are decoded no further than the last of them.
const SPARSE: usize = 16;

/// Why a synchronous read has no answer yet, or never will.
#[derive(Debug)]
pub enum Fault {
    /// Pages or dictionaries must be fetched first; the window knows which.
    Missing,
    /// The data cannot be read.
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What is decoded, if it is there.
pub type Demand<T> = Result<T, Fault>;

/// One data page: ours, still encoded, or a whole column chunk that the Parquet library decoded.
#[derive(Clone, Debug)]
pub(crate) enum LeafPage {
    Encoded(DataPage),
    Library(Arc<LeafValues>),
}

/// A page that a window holds, and what has been decoded of it; windows of one query share it.
#[derive(Debug)]
pub(crate) struct HeldPage {
    pub(crate) page: LeafPage,
    pub(crate) memo: PageMemo,
}

impl HeldPage {
    pub(super) fn new(page: LeafPage) -> Arc<Self> {
        Arc::new(Self { page, memo: PageMemo::default() })
    }
}

/// A page and the part of it that lies in the window.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) held: Arc<HeldPage>,
    /// Rows of the page, in the row group.
    pub(crate) rows: Range<u32>,
    /// Nothing is wanted of the rows from here on.
    pub(crate) wanted_end: u32,
    /// Where its bytes are, for messages.
    pub(crate) bytes: Range<u64>,
}

/// Whole-trace rows `rows` of one row group and the pages of them that have been fetched.
#[derive(Debug)]
pub struct Window {
    pub(crate) block: Arc<OpenBlock>,
    pub(crate) context: ReadContext,
    pub(crate) row_group: usize,
    rows: Range<u32>,
    pages: BTreeMap<LeafIndex, BTreeMap<usize, Arc<HeldPage>>>,
    tables: HashMap<LeafIndex, Arc<StringTable>>,
    /// Leaves that must be read through the library: an encoding or codec we do not decode.
    through_library: HashMap<LeafIndex, Arc<HeldPage>>,
    missing: Mutex<Missing>,
    /// Rows of a level per trace.
    counts: Arc<GroupCounts>,
}

/// What is counted per trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    /// Rows of a level.
    Rows(Level),
    /// Entries of the generic attribute list of a level.
    Attributes(Level),
}

#[derive(Debug, Default)]
struct Missing {
    tables: Vec<LeafIndex>,
    pages: Vec<(LeafIndex, Mask)>,
}

impl Window {
    /// The rows `rows` of a row group, with nothing fetched.
    #[must_use]
    pub fn new(
        block: Arc<OpenBlock>,
        row_group: usize,
        rows: Range<u32>,
        context: ReadContext,
    ) -> Self {
        let counts = context.shared.counts(&block.name_shared(), row_group);
        Self {
            block,
            context,
            row_group,
            rows,
            pages: BTreeMap::new(),
            tables: HashMap::new(),
            through_library: HashMap::new(),
            missing: Mutex::default(),
            counts,
        }
    }

    /// Notes how many of something each of some rows has, counted in the row group.
    pub(crate) fn note_counts(
        &self,
        what: Counted,
        first: u32,
        counts: impl ExactSizeIterator<Item = u32>,
    ) {
        self.counts.lock().entry(what).or_default().note(first, counts);
    }

    /// How many of something some rows have together, if that is known of all of them.
    pub(crate) fn known_sum(&self, what: Counted, rows: Range<u32>) -> Option<usize> {
        if rows.is_empty() {
            return Some(0);
        }
        self.counts.lock().get(&what)?.sum(rows)
    }

    /// How many of something each of some rows has, if that is known of all of them.
    pub(crate) fn known_counts(&self, what: Counted, rows: Range<u32>) -> Option<Vec<u32>> {
        Some(self.counts.lock().get(&what)?.of(rows)?.to_vec())
    }

    /// Moves on to later rows, keeping pages that reach into them and all dictionaries.
    pub fn advance(&mut self, rows: Range<u32>) {
        for (leaf, pages) in &mut self.pages {
            let Some(locations) = self.block.known_locations(self.row_group, *leaf) else {
                continue;
            };
            let n_rows = self.block.n_rows(self.row_group);
            pages.retain(|page, _| page_rows(&locations, *page, n_rows).end > rows.start);
        }
        self.rows = rows;
    }

    /// The row group.
    #[must_use]
    pub fn row_group(&self) -> usize {
        self.row_group
    }

    /// Rows of the window, counted in the row group.
    #[must_use]
    pub fn rows(&self) -> Range<u32> {
        self.rows.clone()
    }

    /// Number of rows (traces).
    #[must_use]
    pub fn n_rows(&self) -> usize {
        (self.rows.end - self.rows.start) as usize
    }

    /// Notes that pages of a leaf will be wanted for the selected rows of the window.
    pub fn want_pages(&self, leaf: LeafIndex, rows: &Mask) {
        self.missing.lock().pages.push((leaf, rows.clone()));
    }

    /// Notes that the dictionary of a leaf will be wanted, if it has one.
    pub fn want_table(&self, leaf: LeafIndex) {
        self.missing.lock().tables.push(leaf);
    }

    /// True if something was wanted that is not there.
    #[must_use]
    pub fn is_wanting(&self) -> bool {
        let missing = self.missing.lock();
        !missing.tables.is_empty() || !missing.pages.is_empty()
    }

    /// Fetches everything that was noted as wanted: near ranges in one request, all at once.
    ///
    /// # Errors
    /// Storage errors; corrupt pages, named with object and bytes.
    pub async fn fetch(&mut self) -> Result<()> {
        let Missing { mut tables, pages } = std::mem::take(&mut *self.missing.lock());
        tables.sort_unstable();
        tables.dedup();
        tables.retain(|leaf| !self.tables.contains_key(leaf));
        if self.context.library_reader {
            for (leaf, _) in pages {
                self.fetch_through_library(leaf).await?;
            }
        } else {
            self.fetch_pages(pages).await?;
        }
        if !tables.is_empty() {
            let loaded = self.block.load_tables(self.row_group, &tables, &self.context).await?;
            self.tables.extend(loaded);
        }
        self.context.memory.check(self.held_bytes(), self.block.name(), || {
            let Range { start, end } = self.rows;
            format!("what is held of rows {start} to {end} of row group {}", self.row_group)
        })
    }

    /// What all that has been fetched takes once it is decoded, about.
    fn held_bytes(&self) -> u64 {
        let pages = self.pages.values().flat_map(BTreeMap::values);
        let pages: u64 = pages
            .map(|held| match &held.page {
                LeafPage::Encoded(page) => page.decoded_bytes(),
                LeafPage::Library(_) => 0,
            })
            .sum();
        let tables: u64 = self.tables.values().map(|table| table.size_bytes() as u64).sum();
        let chunks = self.through_library.keys();
        let chunks: u64 = chunks.map(|leaf| self.block.chunk_bytes(self.row_group, *leaf)).sum();
        pages + tables + chunks
    }

    async fn fetch_pages(&mut self, wanted: Vec<(LeafIndex, Mask)>) -> Result<()> {
        let leaves: Vec<LeafIndex> = wanted.iter().map(|(leaf, _)| *leaf).collect();
        self.block.load_page_locations(self.row_group, &leaves, &self.context).await?;
        let mut lacking = self.lacking(&wanted);
        while !lacking.is_empty() {
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            for ((leaf, page), range) in std::mem::take(&mut lacking) {
                let (file, row_group) = (self.block.name_shared(), self.row_group);
                match self.context.shared.claim(PageKey { file, row_group, leaf, page }) {
                    Claim::Held(held) => self.hold(leaf, page, held),
                    Claim::Mine(promise) => mine.push((leaf, page, range, promise)),
                    Claim::Theirs(done) => theirs.push(((leaf, page), range, done)),
                }
            }
            self.fetch_mine(mine).await?;
            for (page, range, mut done) in theirs {
                // Ends in an error when the other reader is done, for better or worse.
                done.changed().await.ok();
                lacking.insert(page, range);
            }
        }
        Ok(())
    }

    /// Pages that are wanted and not held, with their bytes.
    fn lacking(&self, wanted: &[(LeafIndex, Mask)]) -> BTreeMap<(LeafIndex, usize), Range<u64>> {
        let n_rows = self.block.n_rows(self.row_group);
        let mut lacking = BTreeMap::new();
        for (leaf, rows) in wanted {
            let Some(locations) = self.block.known_locations(self.row_group, *leaf) else {
                continue;
            };
            for page in self.overlapping(&locations, n_rows, rows) {
                if self.pages.get(leaf).is_some_and(|have| have.contains_key(&page)) {
                    continue;
                }
                let location = &locations[page];
                let end = location.offset + location.compressed_size as u64;
                lacking.insert((*leaf, page), location.offset..end);
            }
        }
        lacking
    }

    fn hold(&mut self, leaf: LeafIndex, page: usize, held: Arc<HeldPage>) {
        self.pages.entry(leaf).or_default().insert(page, held);
    }

    /// Fetches the pages that this window has promised, and hands them to others that wait.
    async fn fetch_mine(
        &mut self,
        mine: Vec<(LeafIndex, usize, Range<u64>, Promise)>,
    ) -> Result<()> {
        let ranges = mine.iter().map(|(_, _, range, _)| range.clone()).collect();
        let blobs = self.context.fetch(&self.block.block, ranges).await?;
        self.context.stats.pages.fetch_add(blobs.len() as u64, Ordering::Relaxed);
        let mut unsupported = Vec::new();
        for ((leaf, page, range, promise), blob) in mine.into_iter().zip(blobs) {
            let parsed = self
                .block
                .shape(self.row_group, leaf)
                .and_then(|shape| DataPage::parse(blob, &shape))
                // A damaged page must not pass for data; the sum costs a fraction of decoding.
                .and_then(|page| {
                    if self.context.checksums { page.verify_crc().map(|()| page) } else { Ok(page) }
                });
            match parsed {
                Ok(data) if matches!(data.encoding(), Encoding::Other(_)) => unsupported.push(leaf),
                Ok(data) => {
                    let held = HeldPage::new(LeafPage::Encoded(data));
                    promise.keep(&held);
                    self.hold(leaf, page, held);
                }
                Err(DecodeError::Unsupported(_)) => unsupported.push(leaf),
                Err(error) => {
                    return Err(self.block.decode_error(self.row_group, leaf, Some(range), error));
                }
            }
        }
        for leaf in unsupported {
            self.fetch_through_library(leaf).await?;
        }
        Ok(())
    }

    async fn fetch_through_library(&mut self, leaf: LeafIndex) -> Result<()> {
        if !self.through_library.contains_key(&leaf) {
            let range = self.block.chunk_range(self.row_group, leaf)?;
            let n_bytes = self.block.chunk_bytes(self.row_group, leaf);
            self.context.memory.check(n_bytes, self.block.name(), || {
                let path = &self.block.schema.leaves()[leaf].path;
                format!("leaf {path} in row group {}", self.row_group)
            })?;
            let bytes = self
                .context
                .fetch(&self.block.block, std::iter::once(range.clone()).collect())
                .await?
                .pop()
                .unwrap_or_default();
            let n_rows = u64::from(self.block.n_rows(self.row_group));
            let chunk = self.block.chunk(self.row_group, leaf);
            let decoded = library::read_leaf(bytes, chunk, n_rows, 0..n_rows).map_err(|error| {
                self.block.decode_error(self.row_group, leaf, Some(range), error)
            })?;
            let held = HeldPage::new(LeafPage::Library(Arc::new(decoded)));
            self.through_library.insert(leaf, held);
        }
        Ok(())
    }

    fn overlapping<'a>(
        &'a self,
        locations: &'a [PageLocation],
        n_rows: u32,
        rows: &'a Mask,
    ) -> impl Iterator<Item = usize> + 'a {
        let first = locations
            .partition_point(|location| location.first_row <= u64::from(self.rows.start))
            .saturating_sub(1);
        (first..locations.len())
            .map(move |page| (page, page_rows(locations, page, n_rows)))
            .take_while(|(_, page)| page.start < self.rows.end)
            .filter(|(_, page)| rows.any_in(self.local(page)))
            .map(|(page, _)| page)
    }

    /// The part of a range of row-group rows that lies in the window, counted in the window.
    pub(crate) fn local(&self, rows: &Range<u32>) -> Range<usize> {
        let start = rows.start.max(self.rows.start) - self.rows.start;
        let end = rows.end.clamp(self.rows.start, self.rows.end) - self.rows.start;
        start as usize..end.max(start) as usize
    }

    /// Pages of a leaf that hold selected rows of the window, in row order.
    pub(crate) fn pieces(&self, leaf: LeafIndex, rows: &Mask) -> Demand<Vec<Piece>> {
        let n_rows = self.block.n_rows(self.row_group);
        if let Some(held) = self.through_library.get(&leaf) {
            return Ok(if rows.any() {
                vec![Piece {
                    held: Arc::clone(held),
                    rows: 0..n_rows,
                    wanted_end: n_rows,
                    bytes: self.block.chunk_range(self.row_group, leaf)?,
                }]
            } else {
                Vec::new()
            });
        }
        let locations = self.block.known_locations(self.row_group, leaf);
        let Some(locations) = locations.filter(|_| !self.context.library_reader) else {
            if !rows.any() {
                return Ok(Vec::new());
            }
            self.want_pages(leaf, rows);
            return Err(Fault::Missing);
        };
        let have = self.pages.get(&leaf);
        let is_sparse = rows.count() < rows.len() / SPARSE;
        let mut pieces = Vec::new();
        for page in self.overlapping(&locations, n_rows, rows) {
            let Some(held) = have.and_then(|have| have.get(&page)) else {
                self.want_pages(leaf, rows);
                return Err(Fault::Missing);
            };
            let location = &locations[page];
            let page_rows = page_rows(&locations, page, n_rows);
            let mut wanted_end = self.rows.end.min(page_rows.end);
            if is_sparse && let Some(last) = rows.last_in(self.local(&page_rows)) {
                wanted_end = self.rows.start + u32::try_from(last + 1).unwrap_or(u32::MAX);
            }
            pieces.push(Piece {
                held: Arc::clone(held),
                rows: page_rows,
                wanted_end,
                bytes: location.offset..location.offset + location.compressed_size as u64,
            });
        }
        Ok(pieces)
    }

    /// The dictionary of a leaf; `None` if its chunk has none.
    pub(crate) fn table(&self, leaf: LeafIndex) -> Demand<Option<Arc<StringTable>>> {
        if let Some(table) = self.tables.get(&leaf) {
            return Ok(Some(Arc::clone(table)));
        }
        if self.block.dictionary_range(self.row_group, leaf)?.is_none() {
            return Ok(None);
        }
        if let Some(table) = self.block.known_table(self.row_group, leaf, &self.context) {
            return Ok(Some(table));
        }
        self.want_table(leaf);
        Err(Fault::Missing)
    }

    /// Adds object and bytes to what went wrong in a page.
    pub(crate) fn fail(&self, leaf: LeafIndex, piece: &Piece, error: DecodeError) -> Fault {
        Fault::Failed(self.block.decode_error(
            self.row_group,
            leaf,
            Some(piece.bytes.clone()),
            error,
        ))
    }
}

fn page_rows(locations: &[PageLocation], page: usize, n_rows: u32) -> Range<u32> {
    let row = |row: u64| u32::try_from(row).unwrap_or(u32::MAX);
    let end = locations.get(page + 1).map_or(n_rows, |next| row(next.first_row));
    row(locations[page].first_row)..end
}
