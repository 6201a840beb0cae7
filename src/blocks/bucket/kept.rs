//! Block lists kept between queries, for a server: read once, then as new as the last refresh. A
//! query never waits for a list but for a tenant's first one. Blocks that this process writes are
//! added at once, and stay until a list has them: an index may be some time behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    Block,
    blocklist::{Blocklist, BlocklistOptions, Unreadable},
    tenant::TenantId,
};
use crate::{Error, Result};

/// A list is forgotten when this many refreshes found that no query had asked for it.
const MAX_IDLE_REFRESHES: u32 = 60;

/// Beyond so many, tenants that do not exist are not remembered: requests name them, and there is no
/// end of names.
const MAX_REMEMBERED: usize = 10_000;

/// After this many refreshes a block that no list has is taken to be gone: by then the tenant index
/// that the lists may be made from is no longer believed.
const MAX_ADDED_REFRESHES: u32 = 20;

/// What distinguishes lists: the tenant, and whether unreadable blocks are skipped.
type Key = (TenantId, bool);

/// The lists of a source.
#[derive(Debug, Default)]
pub(super) struct KeptBlocklists {
    entries: Mutex<BTreeMap<Key, Arc<Entry>>>,
    added: Mutex<BTreeMap<TenantId, Vec<Added>>>,
}

/// A block that was written since lists were read.
#[derive(Debug)]
struct Added {
    block: Block,
    /// Refreshes begun since.
    refreshes: u32,
}

#[derive(Debug, Default)]
struct Entry {
    /// Held while the list is read for the first time, so that it is read once.
    kept: tokio::sync::Mutex<Option<Kept>>,
    idle_refreshes: AtomicU32,
}

#[derive(Clone, Debug)]
enum Kept {
    /// A list, and the number that only this one has.
    List(Arc<Blocklist>, u64),
    /// There is no such tenant: the rest of [`Error::NotFound`].
    Missing { key: String, candidates: Vec<String> },
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptCounts {
    /// Lists.
    pub lists: usize,
    /// Blocks in them.
    pub blocks: usize,
    /// Blocks left out of them because they cannot be read.
    pub unreadable: u64,
}

impl Kept {
    /// What to keep of a result; other errors may be gone the next time.
    fn of(read: Result<Blocklist>) -> Result<Self> {
        match read {
            Ok(list) => Ok(Self::List(Arc::new(list), next_version())),
            Err(Error::NotFound { what: "tenant", key, candidates }) => {
                Ok(Self::Missing { key, candidates })
            }
            Err(error) => Err(error),
        }
    }

    fn within(self, options: &BlocklistOptions) -> Result<Blocklist> {
        match self {
            Self::Missing { key, candidates } => {
                Err(Error::NotFound { what: "tenant", key, candidates })
            }
            Self::List(list, _) => {
                let blocks = list.blocks.iter();
                let inside = blocks
                    .filter(|block| options.range.is_none_or(|range| block.meta.overlaps(range)));
                Ok(Blocklist {
                    blocks: inside.cloned().collect(),
                    warnings: list.warnings.clone(),
                    skipped: list.skipped.clone(),
                })
            }
        }
    }
}

/// Whether two lists give the same answers to everything.
fn are_same(a: &Blocklist, b: &Blocklist) -> bool {
    a.blocks.len() == b.blocks.len()
        && a.told().eq(b.told())
        && a.blocks.iter().zip(&b.blocks).all(|(a, b)| {
            (&a.store_url, &a.data, &a.folder, &a.meta)
                == (&b.store_url, &b.data, &b.folder, &b.meta)
        })
}

/// A number that no list has had.
fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl KeptBlocklists {
    /// The number of a list as it is kept now. Lists of one number hold the same blocks; another
    /// number may say the same.
    pub(super) async fn version(&self, tenant: &TenantId, skips_unreadable: bool) -> Option<u64> {
        let entry = self.entries.lock().get(&(tenant.clone(), skips_unreadable)).map(Arc::clone)?;
        let kept = entry.kept.lock().await;
        match &*kept {
            Some(Kept::List(_, version)) => Some(*version),
            _ => None,
        }
    }

    /// The list as kept, or as `read` reads it with the options it is given.
    pub(super) async fn get<R>(
        &self,
        tenant: &TenantId,
        options: &BlocklistOptions,
        read: impl FnOnce(BlocklistOptions) -> R,
    ) -> Result<Blocklist>
    where
        R: Future<Output = Result<Blocklist>>,
    {
        let key = (tenant.clone(), options.unreadable == Unreadable::Skip);
        let entry = Arc::clone(self.entries.lock().entry(key.clone()).or_default());
        entry.idle_refreshes.store(0, Ordering::Relaxed);
        let kept = {
            let mut kept = entry.kept.lock().await;
            match &*kept {
                Some(kept) => kept.clone(),
                None => {
                    let whole = BlocklistOptions { range: None, ..*options };
                    kept.insert(Kept::of(read(whole).await)?).clone()
                }
            }
        };
        if matches!(kept, Kept::Missing { .. }) {
            let mut entries = self.entries.lock();
            if entries.len() > MAX_REMEMBERED {
                entries.remove(&key);
            }
        }
        self.with_added(tenant, options, kept.within(options))
    }

    /// Adds a block that has just been written, if it was not before.
    pub(super) fn add(&self, tenant: &TenantId, block: Block) {
        let added = Added { block, refreshes: 0 };
        let mut all = self.added.lock();
        let of_tenant = all.entry(tenant.clone()).or_default();
        of_tenant.retain(|known| known.block.meta.block_id != added.block.meta.block_id);
        of_tenant.push(added);
    }

    /// A list with the blocks that it does not have yet.
    fn with_added(
        &self,
        tenant: &TenantId,
        options: &BlocklistOptions,
        list: Result<Blocklist>,
    ) -> Result<Blocklist> {
        let added = self.added.lock();
        let Some(added) = added.get(tenant) else { return list };
        let mut list = match list {
            Err(Error::NotFound { what: "tenant", .. }) => Blocklist::default(),
            list => list?,
        };
        let known: BTreeSet<_> = list.blocks.iter().map(|block| block.meta.block_id).collect();
        let blocks = added.iter().map(|added| &added.block).filter(|block| {
            options.range.is_none_or(|range| block.meta.overlaps(range))
                && !known.contains(&block.meta.block_id)
        });
        list.blocks.extend(blocks.cloned());
        list.sort();
        Ok(list)
    }

    /// Forgets the added blocks that a list has, and those that are too old. The lists were read in
    /// this refresh.
    fn forget_added(&self, lists: &[(TenantId, Arc<Blocklist>)]) {
        self.added.lock().retain(|tenant, added| {
            added.retain(|added| {
                let mut of_tenant = lists.iter().filter(|(of, _)| of == tenant).peekable();
                let id = added.block.meta.block_id;
                let is_listed = of_tenant.peek().is_some()
                    && of_tenant.all(|(_, list)| list.blocks.iter().any(|b| b.meta.block_id == id));
                !is_listed && added.refreshes < MAX_ADDED_REFRESHES
            });
            !added.is_empty()
        });
    }

    /// How much is kept. A list that is being read at this moment does not count.
    pub(super) fn counts(&self) -> KeptCounts {
        let mut counts = KeptCounts::default();
        for entry in self.entries.lock().values() {
            let Ok(kept) = entry.kept.try_lock() else { continue };
            if let Some(Kept::List(list, _)) = &*kept {
                counts.lists += 1;
                counts.blocks += list.blocks.len();
                counts.unreadable += list.skipped.len() as u64;
            }
        }
        counts
    }

    /// Reads every list anew. One that cannot be read is forgotten, so that the next query meets
    /// the error itself instead of an answer from a list that may be wrong; so is one that no query
    /// has asked for in a long time, and the absence of a tenant.
    pub(super) async fn refresh<R>(
        &self,
        now_unix_nanos: Option<i64>,
        read: impl Fn(TenantId, BlocklistOptions) -> R,
    ) -> Vec<Error>
    where
        R: Future<Output = Result<Blocklist>>,
    {
        let entries: Vec<_> =
            self.entries.lock().iter().map(|(key, e)| (key.clone(), Arc::clone(e))).collect();
        self.added.lock().values_mut().flatten().for_each(|added| added.refreshes += 1);
        let mut errors = Vec::new();
        let mut lists = Vec::new();
        for (key, entry) in entries {
            let is_list = matches!(*entry.kept.lock().await, Some(Kept::List(..)));
            let idle = entry.idle_refreshes.fetch_add(1, Ordering::Relaxed);
            if !is_list || idle >= MAX_IDLE_REFRESHES {
                self.entries.lock().remove(&key);
                continue;
            }
            let (tenant, skip) = key.clone();
            let unreadable = if skip { Unreadable::Skip } else { Unreadable::Fail };
            let options =
                BlocklistOptions { range: None, no_index: false, unreadable, now_unix_nanos };
            match Kept::of(read(tenant, options).await) {
                Ok(new) => {
                    let mut kept = entry.kept.lock().await;
                    match (&*kept, &new) {
                        // It keeps its number, and with it what was concluded from it.
                        (Some(Kept::List(old, _)), Kept::List(new, _)) if are_same(old, new) => {}
                        _ => *kept = Some(new),
                    }
                    if let Some(Kept::List(list, _)) = &*kept {
                        lists.push((key.0, Arc::clone(list)));
                    }
                }
                Err(error) => {
                    self.entries.lock().remove(&key);
                    errors.push(error);
                }
            }
        }
        self.forget_added(&lists);
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::{BlockMeta, ParsedMeta};
    use super::*;

    fn missing() -> Error {
        Error::NotFound { what: "tenant", key: "t".to_owned(), candidates: vec!["a".to_owned()] }
    }

    async fn get(lists: &KeptBlocklists, read: Result<Blocklist>) -> Result<Blocklist> {
        let options = BlocklistOptions::default();
        lists.get(&TenantId::single(), &options, |_| async { read }).await
    }

    fn warned(reason: &str) -> Blocklist {
        let warning =
            super::super::blocklist::Warning { key: String::new(), reason: reason.to_owned() };
        Blocklist { warnings: vec![warning], ..Blocklist::default() }
    }

    fn reason(list: Result<Blocklist>) -> String {
        list.unwrap().warnings[0].reason.clone()
    }

    #[tokio::test]
    async fn a_list_is_read_once_and_then_by_refreshes_only() {
        let lists = KeptBlocklists::default();
        assert_eq!(reason(get(&lists, Ok(warned("first"))).await), "first");
        assert_eq!(reason(get(&lists, Err(missing())).await), "first");
        assert_eq!(lists.counts(), KeptCounts { lists: 1, ..KeptCounts::default() });
        let errors = lists.refresh(None, |_, _| async { Ok(warned("second")) }).await;
        assert!(errors.is_empty());
        assert_eq!(reason(get(&lists, Err(missing())).await), "second");
    }

    #[tokio::test]
    async fn a_list_has_its_number_until_it_changes() {
        let lists = KeptBlocklists::default();
        let version = async || lists.version(&TenantId::single(), false).await;
        assert_eq!(version().await, None);
        get(&lists, Ok(warned("first"))).await.unwrap();
        let first = version().await;
        assert!(first.is_some());
        lists.refresh(None, |_, _| async { Ok(warned("first")) }).await;
        assert_eq!(version().await, first);
        lists.refresh(None, |_, _| async { Ok(warned("second")) }).await;
        let second = version().await;
        assert!(second.is_some() && second != first);
        lists.refresh(None, |_, _| async { Ok(warned("first")) }).await;
        assert!(version().await != first, "what was is not what is");
        lists.refresh(None, |_, _| async { Err(missing()) }).await;
        assert_eq!(version().await, None);
    }

    #[tokio::test]
    async fn a_failed_refresh_leaves_the_error_to_the_next_query() {
        let lists = KeptBlocklists::default();
        get(&lists, Ok(warned("first"))).await.unwrap();
        let broken = || Error::Unreachable { key: "k".to_owned(), reason: "r".to_owned() };
        let errors = lists.refresh(None, |_, _| async { Err(broken()) }).await;
        assert_eq!(errors.len(), 1);
        assert!(matches!(get(&lists, Err(broken())).await, Err(Error::Unreachable { .. })));
        assert_eq!(reason(get(&lists, Ok(warned("back"))).await), "back");
    }

    #[tokio::test]
    async fn a_missing_tenant_is_remembered_until_the_next_refresh() {
        let lists = KeptBlocklists::default();
        for read in [Err(missing()), Ok(Blocklist::default())] {
            let error = get(&lists, read).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { candidates, .. } if candidates == ["a"]));
        }
        lists.refresh(None, |_, _| async { Err(missing()) }).await;
        get(&lists, Ok(Blocklist::default())).await.unwrap();
    }

    #[tokio::test]
    async fn no_end_of_tenants_that_do_not_exist_is_not_remembered() {
        let lists = KeptBlocklists::default();
        let options = BlocklistOptions::default();
        for n in 0..MAX_REMEMBERED + 100 {
            let tenant = TenantId::parse(&format!("t{n}")).unwrap();
            lists.get(&tenant, &options, |_| async { Err(missing()) }).await.unwrap_err();
        }
        assert_eq!(lists.entries.lock().len(), MAX_REMEMBERED);
        // One that exists is kept all the same.
        get(&lists, Ok(Blocklist::default())).await.unwrap();
        assert_eq!(lists.entries.lock().len(), MAX_REMEMBERED + 1);
    }

    #[tokio::test]
    async fn a_list_no_one_asks_for_is_forgotten() {
        let lists = KeptBlocklists::default();
        get(&lists, Ok(Blocklist::default())).await.unwrap();
        for _ in 0..=MAX_IDLE_REFRESHES {
            lists.refresh(None, |_, _| async { Ok(Blocklist::default()) }).await;
        }
        assert!(lists.entries.lock().is_empty());
    }

    fn block(n: u8) -> Block {
        let json = format!(
            r#"{{"format":"vParquet5","blockID":"{}","tenantID":"t","totalObjects":1}}"#,
            uuid::Uuid::from_bytes([n; 16])
        );
        let ParsedMeta::Block(meta) = BlockMeta::parse("t", json.as_bytes()).unwrap() else {
            panic!("{json}");
        };
        Block {
            store: Arc::new(object_store::memory::InMemory::new()),
            store_url: "t:".into(),
            data: "data.parquet".into(),
            folder: None,
            meta: meta.into(),
            hidden: super::super::live::HiddenTraces::default(),
        }
    }

    fn listing(blocks: &[u8]) -> Blocklist {
        Blocklist { blocks: blocks.iter().map(|n| block(*n)).collect(), ..Blocklist::default() }
    }

    async fn ids(lists: &KeptBlocklists, read: Result<Blocklist>) -> Vec<u8> {
        let list = get(lists, read).await.unwrap();
        list.blocks.iter().map(|block| block.meta.block_id.as_bytes()[0]).collect()
    }

    #[tokio::test]
    async fn an_added_block_is_listed_until_a_list_has_it_and_then_as_lists_say() {
        let lists = KeptBlocklists::default();
        lists.add(&TenantId::single(), block(2));
        lists.add(&TenantId::single(), block(2));
        assert_eq!(ids(&lists, Err(missing())).await, [2], "a tenant's first block, once");
        let refresh = async |blocks: &'static [u8]| {
            lists.refresh(None, |_, _| async { Ok(listing(blocks)) }).await
        };
        refresh(&[]).await;
        assert_eq!(ids(&lists, Ok(listing(&[1]))).await, [1, 2]);
        refresh(&[1]).await;
        assert_eq!(ids(&lists, Err(missing())).await, [1, 2], "an index is behind");
        refresh(&[1, 2]).await;
        assert_eq!(ids(&lists, Err(missing())).await, [1, 2]);
        refresh(&[3]).await;
        assert_eq!(ids(&lists, Err(missing())).await, [3], "compacted");
    }

    #[tokio::test]
    async fn an_added_block_that_no_list_ever_has_is_forgotten() {
        let lists = KeptBlocklists::default();
        lists.add(&TenantId::single(), block(2));
        for _ in 0..MAX_ADDED_REFRESHES {
            assert_eq!(ids(&lists, Ok(listing(&[1]))).await, [1, 2]);
            lists.refresh(None, |_, _| async { Ok(listing(&[1])) }).await;
        }
        assert_eq!(ids(&lists, Ok(listing(&[1]))).await, [1]);
        assert!(lists.added.lock().is_empty());
    }
}
