//! Which blocks a source holds and where their objects are.

pub mod meta;

use std::sync::Arc;

use object_store::{ObjectStore, path::Path};

use meta::BlockMeta;

/// One live block: where its objects are and what its `meta.json` says. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Block {
    /// The store that holds it.
    pub store: Arc<dyn ObjectStore>,
    /// Key of its `data.parquet` (or of the lone Parquet file that was named as the source).
    pub data: Path,
    /// Prefix of its other objects (`bloom-0` …); `None` for a lone Parquet file.
    pub folder: Option<Path>,
    /// What `meta.json` says; made up from the footer for a lone Parquet file.
    pub meta: Arc<BlockMeta>,
}
