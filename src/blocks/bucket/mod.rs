//! Which blocks a source holds and where their objects are.

pub mod blocklist;
pub mod bloom;
pub mod counting;
pub mod destination;
pub(crate) mod fetch;
mod index_forms;
mod kept;
pub mod live;
mod lone;
pub mod meta;
pub mod path;
mod profile;
mod s3;
mod sample;
pub mod source;
pub mod store;
pub mod tenant;
mod tenant_index;
pub mod url;
pub mod write_index;

use std::sync::Arc;

use object_store::{ObjectStore, path::Path};

use counting::{CountingStore, IoCounters};
use live::HiddenTraces;
use meta::BlockMeta;

/// One live block: where its objects are and what its `meta.json` says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Block {
    /// The store that holds it.
    pub store: Arc<dyn ObjectStore>,
    /// Names that store so that another process can open it: `s3://bucket`, `file://`, `sample:`.
    pub store_url: Arc<str>,
    /// Key of its `data.parquet` (or of the lone Parquet file that was named as the source).
    pub data: Path,
    /// Prefix of its other objects (`bloom-0` …); `None` for a lone Parquet file.
    pub folder: Option<Path>,
    /// What `meta.json` says; made up from the footer for a lone Parquet file.
    pub meta: Arc<BlockMeta>,
    /// Traces of it that need not be looked at. Only live blocks have any.
    pub hidden: HiddenTraces,
}

impl Block {
    /// The same block, with what is read of it counted.
    #[must_use]
    pub fn counted(&self, counters: &Arc<IoCounters>) -> Self {
        let store = CountingStore::new(Arc::clone(&self.store), Arc::clone(counters));
        Self { store: Arc::new(store), ..self.clone() }
    }

    /// Whether its bytes are on this machine, so that reading them takes no time worth waiting for.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let name = self.store.to_string();
        name.starts_with("LocalFileSystem") || name.starts_with("InMemory")
    }

    /// How messages name one of this block's objects: store and key in one.
    #[must_use]
    pub fn object_url(&self, key: &Path) -> String {
        path::object_url(&self.store_url, key)
    }
}
