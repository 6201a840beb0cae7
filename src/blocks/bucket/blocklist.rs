//! Which live blocks a tenant has, in the order that defines "the first N traces": end time
//! descending, then id. Taken from the tenant index, or from a listing of the tenant's folder.
//!
//! **Index or listing.** An index is one or two requests however many blocks there are, so it is
//! read first. But it is only as good as its writer: a bucket that a foreign writer fills, or that
//! outlived its Tempo, may hold blocks its index does not know. Hence an index older than
//! [`MAX_INDEX_AGE_NANOS`] is checked against a listing where the store can list; metas the index
//! holds are then taken from it, as Tempo's own index builders do, and only unknown ones are read.
//! Where the store cannot list (plain HTTP), the index stands and its age is a warning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, path::Path};
use uuid::Uuid;

use super::{
    Block,
    fetch::At,
    live::HiddenTraces,
    meta::{ParsedMeta, RawMeta, TimeRange},
    path::{self, BlockMark},
    tenant_index::TenantIndex,
};
use crate::{Error, Result};

/// Age from which an index is not taken at its word: three of Tempo's polling periods.
pub const MAX_INDEX_AGE_NANOS: i64 = 15 * 60 * 1_000_000_000;

/// Largest `meta.json` read. A real one has a kilobyte.
pub(crate) const MAX_META_BYTES: u64 = 16 << 20;

/// Metas read at once.
pub(crate) const CONCURRENT_METAS: usize = 32;

/// How to make a blocklist.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlocklistOptions {
    /// Leave out blocks that hold no span of this range. `None`: the whole source.
    pub range: Option<TimeRange>,
    /// List the tenant's folder whatever its index says.
    pub no_index: bool,
    /// What to do about blocks whose meta cannot be read.
    pub unreadable: Unreadable,
    /// The time, to judge the index's age by. `None` trusts an index of any age.
    pub now_unix_nanos: Option<i64>,
}

/// What to do about a block whose meta is corrupt or of an unknown format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// Fail, naming the object.
    #[default]
    Fail,
    /// Leave the block out, with a warning.
    Skip,
}

/// The live blocks of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Blocklist {
    /// By end time descending, then by id.
    pub blocks: Vec<Block>,
    /// What is to be known of the list besides, in a fixed order.
    pub warnings: Vec<Warning>,
    /// Live blocks that were left out because their meta cannot be read, and why: the list is not whole.
    pub skipped: Vec<Warning>,
}

/// Something the answer does not cover.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The object it is about.
    pub key: String,
    /// What was found and what follows from it.
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.contains(&self.key) {
            true => f.write_str(&self.reason),
            false => write!(f, "{}: {}", self.key, self.reason),
        }
    }
}

impl Blocklist {
    /// Keeps the blocks that may hold a span of the range.
    pub fn prune(&mut self, range: TimeRange) {
        self.blocks.retain(|block| block.meta.overlaps(range));
    }

    fn skip(&mut self, key: String, error: &Error) {
        self.skipped.push(Warning { key, reason: format!("skipped: {error}") });
    }

    /// All that is to be told of the list, what was left out last.
    pub fn told(&self) -> impl Iterator<Item = &Warning> {
        self.warnings.iter().chain(&self.skipped)
    }

    pub(super) fn sort(&mut self) {
        self.blocks.sort_by(|a, b| {
            let by_end = b.meta.end_unix_nanos.cmp(&a.meta.end_unix_nanos);
            by_end.then(a.meta.block_id.cmp(&b.meta.block_id))
        });
        self.warnings.sort();
        self.skipped.sort();
    }
}

/// A tenant's folder in a store.
#[derive(Debug)]
pub(super) struct TenantFolder<'a> {
    pub(super) store: &'a Arc<dyn ObjectStore>,
    pub(super) store_url: &'a Arc<str>,
    pub(super) folder: Path,
    /// Whether the store can list; plain HTTP cannot.
    pub(super) listable: bool,
}

impl TenantFolder<'_> {
    /// `None` if there is neither an index nor a block: the tenant does not exist.
    pub(super) async fn blocklist(&self, options: &BlocklistOptions) -> Result<Option<Blocklist>> {
        let mut list = Blocklist::default();
        let index = if options.no_index { None } else { self.index(options, &mut list).await? };
        let metas = match index {
            Some(index) if !self.listable || self.is_fresh(&index, options) => {
                self.warn_of_age(&index, options, &mut list);
                index.live.into_iter().map(|meta| (meta.block_id, meta)).collect()
            }
            _ if !self.listable => return Ok(None),
            index => {
                let marks = self.marks().await?;
                if index.is_none() && marks.is_empty() {
                    return Ok(None);
                }
                self.metas(marks, index, options, &mut list).await?
            }
        };
        for (id, raw) in metas {
            self.add(id, raw, options, &mut list)?;
        }
        list.sort();
        Ok(Some(list))
    }

    async fn index(
        &self,
        options: &BlocklistOptions,
        list: &mut Blocklist,
    ) -> Result<Option<TenantIndex>> {
        match TenantIndex::fetch(self.at(), &self.folder).await {
            Err(error @ Error::Corrupt { .. })
                if options.unreadable == Unreadable::Skip && self.listable =>
            {
                let reason = format!("{error}; the blocks were listed instead");
                list.warnings.push(Warning { key: self.at().url(&self.folder), reason });
                Ok(None)
            }
            result => result,
        }
    }

    fn is_fresh(&self, index: &TenantIndex, options: &BlocklistOptions) -> bool {
        age_nanos(index, options).is_none_or(|age| age <= MAX_INDEX_AGE_NANOS)
    }

    fn warn_of_age(&self, index: &TenantIndex, options: &BlocklistOptions, list: &mut Blocklist) {
        if let Some(age) = age_nanos(index, options).filter(|age| *age > MAX_INDEX_AGE_NANOS) {
            let minutes = age / 60_000_000_000;
            let reason = format!(
                "the tenant index is {minutes} minutes old and this store cannot list; \
                 blocks written since are not seen"
            );
            list.warnings.push(Warning { key: self.at().url(&self.folder), reason });
        }
    }

    /// Block ids by listing. A block that is marked live and compacted at once is live: it is
    /// between the two steps of being marked, and reading it twice beats not reading it.
    async fn marks(&self) -> Result<BTreeSet<Uuid>> {
        let mut live = BTreeSet::new();
        let mut objects = self.store.list(Some(&self.folder));
        while let Some(object) = objects
            .try_next()
            .await
            .map_err(|e| Error::storage("tenant", self.at().url(&self.folder), e))?
        {
            if let Some(BlockMark::Live(id)) = path::block_mark(&self.folder, &object.location) {
                live.insert(id);
            }
        }
        Ok(live)
    }

    async fn metas(
        &self,
        live: BTreeSet<Uuid>,
        index: Option<TenantIndex>,
        options: &BlocklistOptions,
        list: &mut Blocklist,
    ) -> Result<BTreeMap<Uuid, RawMeta>> {
        // A block the index calls compacted has the same meta it had while live; the listing
        // alone says which it is now.
        let known = index.into_iter().flat_map(|index| [index.live, index.compacted]).flatten();
        let mut metas: BTreeMap<_, _> =
            known.map(|meta| (meta.block_id, meta)).filter(|(id, _)| live.contains(id)).collect();
        let unknown: Vec<Uuid> = live.into_iter().filter(|id| !metas.contains_key(id)).collect();
        let mut read = futures::stream::iter(unknown)
            .map(|id| async move { (id, self.meta(id).await) })
            .buffered(CONCURRENT_METAS);
        while let Some((id, meta)) = read.next().await {
            match meta {
                Ok(Some(meta)) => {
                    metas.insert(id, meta);
                }
                // Compacted and deleted since it was listed.
                Ok(None) => {}
                Err(error) => self.pass_over(error, options, list)?,
            }
        }
        Ok(metas)
    }

    async fn meta(&self, id: Uuid) -> Result<Option<RawMeta>> {
        let key = path::child(&path::block_folder(&self.folder, id), path::META);
        match self.at().fetch_if_any(&key, MAX_META_BYTES).await? {
            Some(json) => RawMeta::parse(&self.at().url(&key), &json).map(Some),
            None => Ok(None),
        }
    }

    fn add(
        &self,
        id: Uuid,
        raw: RawMeta,
        options: &BlocklistOptions,
        list: &mut Blocklist,
    ) -> Result<()> {
        if options.range.is_some_and(|range| !raw.overlaps(range)) {
            return Ok(());
        }
        let folder = path::block_folder(&self.folder, id);
        let key = self.at().url(&path::child(&folder, path::META));
        match self.interpret(id, raw, &key) {
            Ok(ParsedMeta::Block(meta)) => list.blocks.push(Block {
                store: Arc::clone(self.store),
                store_url: Arc::clone(self.store_url),
                data: path::child(&folder, path::DATA),
                folder: Some(folder),
                meta: Arc::new(meta),
                hidden: HiddenTraces::default(),
            }),
            Ok(ParsedMeta::Inert { format }) => {
                let reason = format!("preview format {format:?} is not read");
                list.warnings.push(Warning { key, reason });
            }
            Err(error) => self.pass_over(error, options, list)?,
        }
        Ok(())
    }

    fn interpret(&self, id: Uuid, raw: RawMeta, key: &str) -> Result<ParsedMeta> {
        if raw.block_id != id {
            let found = raw.block_id.to_string();
            return Err(Error::corrupt(key, None, format!("blockID {id}"), found));
        }
        raw.interpret(key)
    }

    /// Turns what is wrong with one block into a warning, if that was asked for.
    fn pass_over(
        &self,
        error: Error,
        options: &BlocklistOptions,
        list: &mut Blocklist,
    ) -> Result<()> {
        match (options.unreadable, &error) {
            (
                Unreadable::Skip,
                Error::Corrupt { key, .. }
                | Error::Unsupported { key, .. }
                | Error::Unauthorised { key, .. },
            ) => {
                list.skip(key.clone(), &error);
                Ok(())
            }
            (Unreadable::Skip, Error::OverLimit { what, .. }) => {
                list.skip(what.clone(), &error);
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn at(&self) -> At<'_> {
        At { store: self.store.as_ref(), store_url: self.store_url }
    }
}

fn age_nanos(index: &TenantIndex, options: &BlocklistOptions) -> Option<i64> {
    Some(options.now_unix_nanos?.saturating_sub(index.created_unix_nanos.unwrap_or(i64::MIN)))
}
