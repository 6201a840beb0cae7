//! The folder of a tenant as a keeper of its blocks works on it: what lies there, marking a block,
//! deleting one. Which blocks, is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutPayload};
use uuid::Uuid;

use super::lease;
use super::plan::LiveBlock;
use super::retention::MarkedBlock;
use crate::bucket::Block;
use crate::bucket::blocklist::{CONCURRENT_METAS, MAX_META_BYTES, Warning};
use crate::bucket::live::HiddenTraces;
use crate::bucket::meta::{BlockMeta, ParsedMeta};
use crate::bucket::path::{self, BlockMark};
use crate::bucket::store::OpenStore;
use crate::bucket::tenant::TenantId;
use crate::error::{Error, Result};

/// Metas read before. They never change, so that only those of new blocks are read.
pub(super) type KnownMetas = BTreeMap<Uuid, Arc<BlockMeta>>;

/// Where a tenant's blocks lie.
#[derive(Clone, Debug)]
pub(super) struct TenantPlace {
    /// The store.
    pub(super) store: OpenStore,
    /// The tenant's folder.
    pub(super) folder: Path,
    /// The tenant.
    pub(super) tenant: TenantId,
}

/// What lies there.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Blocks that queries read.
    pub(super) live: Vec<LiveBlock>,
    /// Blocks that wait for their deletion.
    pub(super) marked: Vec<MarkedBlock>,
    /// Blocks whose metas cannot be read. Nothing is done with them.
    pub(super) unreadable: Vec<Warning>,
    /// When a compactor last wrote a record of its lease that is still there, unix nanoseconds.
    pub(super) lease_written_unix_nanos: Option<i64>,
}

impl Survey {
    /// Whether a block exists, or did until it was replaced.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.live.iter().any(|block| block.meta.block_id == id)
            || self.marked.iter().any(|block| block.block_id == id)
    }
}

impl TenantPlace {
    /// Lists the folder, and reads the metas that are not known yet. Those that are gone are forgotten.
    ///
    /// # Errors
    /// Storage errors. A meta that is none makes a warning.
    pub(super) async fn survey(&self, known: &mut KnownMetas) -> Result<Survey> {
        let listed = self.list().await?;
        known.retain(|id, _| listed.live.contains(id));
        let mut survey = Survey::default();
        let unknown: Vec<Uuid> =
            listed.live.iter().filter(|id| !known.contains_key(id)).copied().collect();
        let mut read = futures::stream::iter(unknown)
            .map(|id| async move { (id, self.meta(id).await) })
            .buffered(CONCURRENT_METAS);
        while let Some((id, meta)) = read.next().await {
            match meta {
                Ok(Some(meta)) => drop(known.insert(id, Arc::new(meta))),
                // Gone since it was listed.
                Ok(None) => {}
                Err(
                    error @ (Error::Corrupt { .. }
                    | Error::Unsupported { .. }
                    | Error::OverLimit { .. }),
                ) => {
                    let key = self.url(id, path::META);
                    survey.unreadable.push(Warning { key, reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        survey.lease_written_unix_nanos = listed.lease_written_unix_nanos;
        survey.live = known
            .iter()
            .map(|(id, meta)| LiveBlock {
                meta: Arc::clone(meta),
                no_compact: listed.flagged.contains(id),
            })
            .collect();
        // A block that has both metas is between the two steps of being marked: it is live.
        let marked = listed.marked.iter().filter(|(id, _)| !listed.live.contains(id));
        survey.marked =
            marked.map(|(id, at)| MarkedBlock { block_id: *id, marked_unix_nanos: *at }).collect();
        Ok(survey)
    }

    async fn list(&self) -> Result<Listed> {
        let mut listed = Listed::default();
        let mut objects = self.store.store.list(Some(&self.folder));
        let failed = |error| {
            Error::storage("tenant", path::object_url(&self.store.url, &self.folder), error)
        };
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let at = object.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
            match path::block_mark(&self.folder, &object.location) {
                Some(BlockMark::Live(id)) => drop(listed.live.insert(id)),
                Some(BlockMark::Compacted(id)) => {
                    listed.marked.insert(id, at);
                }
                None if object.location.filename() == Some(path::NO_COMPACT_FLAG) => {
                    let folder = object.location.parent();
                    let id = folder.as_ref().and_then(Path::filename).and_then(path::block_id);
                    listed.flagged.extend(id);
                }
                None if lease::is_record(&self.folder, &object.location) => {
                    listed.lease_written_unix_nanos = listed.lease_written_unix_nanos.max(Some(at));
                }
                None => {}
            }
        }
        Ok(listed)
    }

    async fn meta(&self, id: Uuid) -> Result<Option<BlockMeta>> {
        let url = self.url(id, path::META);
        let key = self.object(id, path::META);
        let fetched = self.store.at().fetch_if_any(&key, MAX_META_BYTES).await?;
        let Some(json) = fetched else { return Ok(None) };
        match BlockMeta::parse(&url, &json)? {
            ParsedMeta::Block(meta) if meta.block_id == id => Ok(Some(meta)),
            ParsedMeta::Block(meta) => {
                Err(Error::corrupt(url, None, format!("blockID {id}"), meta.block_id.to_string()))
            }
            ParsedMeta::Inert { format } => Err(Error::Unsupported {
                key: url,
                reason: format!("preview format {format:?} is not read"),
            }),
        }
    }

    /// The block, to be read.
    pub(super) fn block(&self, meta: &Arc<BlockMeta>) -> Block {
        let folder = path::block_folder(&self.folder, meta.block_id);
        Block {
            store: Arc::clone(&self.store.store),
            store_url: Arc::clone(&self.store.url),
            data: path::child(&folder, path::DATA),
            folder: Some(folder),
            meta: Arc::clone(meta),
            hidden: HiddenTraces::default(),
        }
    }

    /// Whether queries read the block.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn is_live(&self, id: Uuid) -> Result<bool> {
        self.exists(&self.object(id, path::META)).await
    }

    /// Marks a block: from now on no query that begins reads it. The new meta is written, then the old
    /// one removed; in between it is live still. One that somebody else has marked stays marked.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn mark(&self, id: Uuid) -> Result<()> {
        let live = self.object(id, path::META);
        let Some(json) = self.store.at().fetch_if_any(&live, MAX_META_BYTES).await? else {
            return Ok(());
        };
        self.put(&self.object(id, path::COMPACTED_META), json, PutMode::Overwrite).await?;
        self.delete(&live).await
    }

    /// Deletes a marked block; false if it is live after all. The mark goes last, so that a deletion
    /// that ends halfway is found again.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn delete_block(&self, id: Uuid) -> Result<bool> {
        if self.is_live(id).await? {
            return Ok(false);
        }
        self.delete_objects(id).await?;
        Ok(true)
    }

    /// Deletes everything that lies in the folder of a block, its mark last.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn delete_objects(&self, id: Uuid) -> Result<()> {
        let folder = path::block_folder(&self.folder, id);
        let objects: Vec<_> =
            self.store.store.list(Some(&folder)).try_collect().await.map_err(|error| {
                Error::storage("block", path::object_url(&self.store.url, &folder), error)
            })?;
        let mark = self.object(id, path::COMPACTED_META);
        for object in objects.iter().filter(|object| object.location != mark) {
            self.delete(&object.location).await?;
        }
        self.delete(&mark).await?;
        self.remove_if_empty(&folder).await;
        Ok(())
    }

    /// Removes a folder in which nothing is left, where folders are things of their own. One that stays
    /// does no harm.
    pub(super) async fn remove_if_empty(&self, folder: &Path) {
        if self.store.url.as_ref() == "file://" {
            drop(tokio::fs::remove_dir(path::object_url(&self.store.url, folder)).await);
        }
    }

    /// Writes an object.
    ///
    /// # Errors
    /// [`Error::NotWritten`].
    pub(super) async fn put(&self, key: &Path, bytes: Bytes, mode: PutMode) -> Result<()> {
        let put = self.store.store.put_opts(key, PutPayload::from(bytes), mode.into()).await;
        put.map(drop).map_err(|error| self.not_written(key, &error))
    }

    /// Removes an object, which may be gone already.
    ///
    /// # Errors
    /// [`Error::NotWritten`].
    pub(super) async fn delete(&self, key: &Path) -> Result<()> {
        match self.store.store.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.not_written(key, &error)),
        }
    }

    async fn exists(&self, key: &Path) -> Result<bool> {
        match self.store.store.head(key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => {
                Err(Error::storage("object", path::object_url(&self.store.url, key), error))
            }
        }
    }

    fn not_written(&self, key: &Path, error: &object_store::Error) -> Error {
        let key = path::object_url(&self.store.url, key);
        Error::NotWritten { key, reason: error.to_string() }
    }

    fn object(&self, id: Uuid, name: &str) -> Path {
        path::child(&path::block_folder(&self.folder, id), name)
    }

    fn url(&self, id: Uuid, name: &str) -> String {
        path::object_url(&self.store.url, &self.object(id, name))
    }
}

/// What a listing tells.
#[derive(Debug, Default)]
struct Listed {
    live: BTreeSet<Uuid>,
    /// With the time of each mark, unix nanoseconds.
    marked: BTreeMap<Uuid, i64>,
    flagged: BTreeSet<Uuid>,
    lease_written_unix_nanos: Option<i64>,
}
