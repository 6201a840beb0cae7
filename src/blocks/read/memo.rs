//! What has been decoded of a page that serves several windows or several conditions. Readers of one
//! query share it: what one of them decodes, the others wait for rather than decode it too.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::encoding::ByteArrays;
use super::leaf::{Demand, LeafPage};
use super::walk::{PageIndex, Ranks, RowLevels};

/// What is known of one page.
#[derive(Debug, Default)]
pub(crate) struct PageMemo {
    pub(super) index: Mutex<Option<(Ranks, Arc<PageIndex>)>>,
    /// First value of each row, for all of the page's rows or the first ones.
    pub(super) rows: Mutex<Option<Arc<Vec<u32>>>>,
    /// The page's levels, or those of its first rows.
    pub(super) levels: Mutex<Option<Arc<RowLevels>>>,
    /// The page's definition levels alone.
    pub(super) def: OnceLock<Arc<Vec<u8>>>,
    /// The page's integers.
    pub(super) ints: Beginning<i64>,
    /// The page's dictionary codes.
    pub(super) codes: Beginning<u32>,
    /// The page's strings.
    pub(super) strings: OnceLock<Arc<ByteArrays>>,
}

/// The values of a page, or the first of them: a search that stops early does without the rest.
#[derive(Debug)]
pub(super) struct Beginning<T>(Mutex<Option<Arc<Vec<T>>>>);

impl<T> Default for Beginning<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Beginning<T> {
    /// At least the first `wanted` values of a page, or all if there are fewer. `decode` is told how
    /// many to decode, and what it gives is kept if the page will be asked again.
    pub(super) fn get(
        &self,
        wanted: Option<usize>,
        page: &LeafPage,
        is_kept: bool,
        decode: impl FnOnce(usize) -> Demand<Vec<T>>,
    ) -> Demand<Arc<Vec<T>>> {
        let mut n = wanted.unwrap_or(usize::MAX);
        let mut known = self.0.lock();
        if let Some(values) = &*known {
            if values.len() >= n || is_whole(values.len(), page) {
                return Ok(Arc::clone(values));
            }
            // So that a page is not decoded anew for every window.
            n = n.max(values.len() * 2);
        }
        if !is_kept {
            drop(known);
            return decode(n).map(Arc::new);
        }
        let values = Arc::new(decode(n)?);
        *known = Some(Arc::clone(&values));
        Ok(values)
    }
}

/// True if so many values are all that a page has.
fn is_whole(n: usize, page: &LeafPage) -> bool {
    match page {
        LeafPage::Encoded(page) => page.n_values().is_ok_and(|all| n >= all),
        LeafPage::Library(_) => true,
    }
}
