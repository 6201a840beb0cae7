//! What the readers of one query share. Partitions that work on neighbouring rows want the same
//! pages: the first to ask fetches and decodes them, the others wait and take them over. A page lives
//! as long as a reader holds it; nothing is cached here beyond that.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::counts::RowCounts;
use super::leaf::{Counted, HeldPage};
use crate::schema::LeafIndex;

/// Rows of each level per trace of one row group, as far as any reader has learnt them.
pub(crate) type GroupCounts = Mutex<HashMap<Counted, RowCounts>>;

/// By file and row group.
type CountsByGroup = HashMap<(Arc<str>, usize), Weak<GroupCounts>>;

/// Pages and counts that are known to some reader of a query. An empty one shares with nobody.
#[derive(Debug, Default)]
pub struct SharedPages {
    pages: Mutex<HashMap<PageKey, Slot>>,
    counts: Mutex<CountsByGroup>,
}

/// A data page of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    pub(crate) file: Arc<str>,
    pub(crate) row_group: usize,
    pub(crate) leaf: LeafIndex,
    pub(crate) page: usize,
}

#[derive(Debug)]
enum Slot {
    Held(Weak<HeldPage>),
    /// Someone is fetching it: ends when it is there or has failed.
    Coming(watch::Receiver<()>),
}

/// Who brings a page.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is there.
    Held(Arc<HeldPage>),
    /// The caller does, and publishes it or drops the promise.
    Mine(Promise),
    /// Another reader is fetching it; once this has ended, claim again.
    Theirs(watch::Receiver<()>),
}

/// The duty to bring a page. Dropped unfulfilled, the next reader that claims it gets the duty.
#[derive(Debug)]
pub(crate) struct Promise {
    key: PageKey,
    shared: Arc<SharedPages>,
    /// Dropping it wakes whoever waits.
    _done: watch::Sender<()>,
}

impl SharedPages {
    /// The page, or who brings it.
    pub(crate) fn claim(self: &Arc<Self>, key: PageKey) -> Claim {
        let mut pages = self.pages.lock();
        match pages.get(&key) {
            Some(Slot::Held(page)) => {
                if let Some(page) = page.upgrade() {
                    return Claim::Held(page);
                }
            }
            // A sender that is gone without a page behind it has failed.
            Some(Slot::Coming(done)) if done.has_changed().is_ok() => {
                return Claim::Theirs(done.clone());
            }
            Some(Slot::Coming(_)) | None => {}
        }
        let (sender, done) = watch::channel(());
        pages.insert(key.clone(), Slot::Coming(done));
        Claim::Mine(Promise { key, shared: Arc::clone(self), _done: sender })
    }

    /// What is known of a row group.
    pub(crate) fn counts(&self, file: &Arc<str>, row_group: usize) -> Arc<GroupCounts> {
        let mut counts = self.counts.lock();
        let known = counts.entry((Arc::clone(file), row_group)).or_default();
        known.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *known = Arc::downgrade(&new);
            new
        })
    }
}

impl Promise {
    /// Hands the page to whoever waits for it.
    pub(crate) fn keep(self, page: &Arc<HeldPage>) {
        let slot = Slot::Held(Arc::downgrade(page));
        self.shared.pages.lock().insert(self.key.clone(), slot);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut pages = self.shared.pages.lock();
        if let Some(Slot::Coming(_)) = pages.get(&self.key) {
            pages.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::leaf::LeafPage;
    use crate::read::library::{LeafValues, Values};

    fn key(page: usize) -> PageKey {
        PageKey { file: "a".into(), row_group: 0, leaf: 3, page }
    }

    fn page() -> Arc<HeldPage> {
        let values = LeafValues { rep: Vec::new(), def: Vec::new(), values: Values::I64(vec![7]) };
        HeldPage::new(LeafPage::Library(Arc::new(values)))
    }

    #[tokio::test]
    async fn the_first_to_ask_brings_the_page_and_the_others_get_it() {
        let shared = Arc::new(SharedPages::default());
        let Claim::Mine(promise) = shared.claim(key(0)) else { panic!("nobody has it") };
        let Claim::Theirs(mut done) = shared.claim(key(0)) else { panic!("it is coming") };
        assert!(matches!(shared.claim(key(1)), Claim::Mine(_)), "another page is another's");
        let brought = page();
        promise.keep(&brought);
        done.changed().await.unwrap_err();
        let Claim::Held(held) = shared.claim(key(0)) else { panic!("it is there") };
        assert!(Arc::ptr_eq(&held, &brought));
        drop((held, brought));
        assert!(matches!(shared.claim(key(0)), Claim::Mine(_)), "nobody holds it any more");
    }

    #[tokio::test]
    async fn a_broken_promise_passes_to_whoever_claims_next() {
        let shared = Arc::new(SharedPages::default());
        let Claim::Mine(promise) = shared.claim(key(0)) else { panic!("nobody has it") };
        let Claim::Theirs(mut done) = shared.claim(key(0)) else { panic!("it is coming") };
        drop(promise);
        done.changed().await.unwrap_err();
        let Claim::Mine(promise) = shared.claim(key(0)) else { panic!("it failed") };
        promise.keep(&page());
        assert!(matches!(shared.claim(key(0)), Claim::Mine(_)), "kept by nobody");
    }

    #[test]
    fn counts_of_a_row_group_are_shared_while_someone_has_them() {
        let shared = SharedPages::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let counts = shared.counts(&a, 0);
        counts.lock().entry(Counted::Attributes(crate::schema::Level::Span)).or_default();
        assert_eq!(shared.counts(&a, 0).lock().len(), 1);
        assert_eq!(shared.counts(&a, 1).lock().len(), 0);
        assert_eq!(shared.counts(&b, 0).lock().len(), 0);
        drop(counts);
        assert_eq!(shared.counts(&a, 0).lock().len(), 0);
    }
}
