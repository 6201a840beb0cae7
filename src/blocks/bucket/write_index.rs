//! Writes the tenant index (`blocks.md` 1.4): what a listing of the tenant's folder finds, in both
//! forms. Tempo's index builders do the same in every poll; a bucket without them has no index but
//! this, and plain HTTP can be read by no other means.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;

use flate2::GzBuilder;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStoreExt as _, path::Path};
use prost::Message as _;
use uuid::Uuid;

use super::{
    blocklist::{CONCURRENT_METAS, MAX_META_BYTES},
    index_forms::{JsonCompactedMeta, JsonIndex, ProtoCompactedMeta, ProtoIndex, ProtoMeta},
    meta::{RawMeta, Time},
    path::{self, BlockMark, TENANT_INDEX_JSON, TENANT_INDEX_PROTOBUF},
    store::OpenStore,
    tenant_index::TenantIndex,
};
use crate::{Error, Result};

/// How hard the protobuf form is compressed: Tempo's choice, and zstd's usual one.
const ZSTD_LEVEL: i32 = 3;

/// Whether a tenant has an index.
///
/// # Errors
/// Storage errors.
pub async fn has_tenant_index(store: &OpenStore, tenant_folder: &Path) -> Result<bool> {
    for name in [TENANT_INDEX_PROTOBUF, TENANT_INDEX_JSON] {
        let key = path::child(tenant_folder, name);
        match store.store.head(&key).await {
            Ok(_) => return Ok(true),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(Error::storage("tenant index", store.at().url(&key), error)),
        }
    }
    Ok(false)
}

/// Lists a tenant's blocks and writes its index; removes it where there are none. Gives back the
/// number of live blocks.
///
/// Metas that the present index knows are taken from it: metas never change.
///
/// # Errors
/// Storage errors, and metas that are none.
pub async fn write_tenant_index(
    store: &OpenStore,
    tenant_folder: &Path,
    now_unix_nanos: i64,
) -> Result<usize> {
    let marks = Marks::list(store, tenant_folder).await?;
    // Whatever is wrong with the present index, it is about to be replaced.
    let known = TenantIndex::fetch(store.at(), tenant_folder).await.ok().flatten();
    let known: HashMap<Uuid, RawMeta> = known
        .into_iter()
        .flat_map(|index| index.live.into_iter().chain(index.compacted))
        .map(|meta| (meta.block_id, meta))
        .collect();
    let ids: BTreeSet<Uuid> = marks.live.iter().chain(marks.compacted.keys()).copied().collect();
    let known = &known;
    let metas = futures::stream::iter(ids)
        .map(|id| async move {
            Ok::<_, Error>(match known.get(&id) {
                Some(meta) => Some((id, meta.clone())),
                None => fetch_meta(store, tenant_folder, id).await?.map(|meta| (id, meta)),
            })
        })
        .buffered(CONCURRENT_METAS);
    let metas: BTreeMap<Uuid, RawMeta> =
        metas.try_filter_map(|meta| async { Ok(meta) }).try_collect().await?;
    let live: Vec<RawMeta> = marks.live.iter().filter_map(|id| metas.get(id)).cloned().collect();
    let compacted: Vec<(RawMeta, Time)> = marks
        .compacted
        .iter()
        .filter_map(|(id, time)| Some((metas.get(id)?.clone(), *time)))
        .collect();
    put(store, tenant_folder, &live, &compacted, Time::from_unix_nanos(now_unix_nanos)).await?;
    Ok(live.len())
}

/// What a listing says of a tenant's blocks.
struct Marks {
    live: BTreeSet<Uuid>,
    /// With the time at which each was marked.
    compacted: BTreeMap<Uuid, Time>,
}

impl Marks {
    async fn list(store: &OpenStore, tenant_folder: &Path) -> Result<Self> {
        let mut marks = Self { live: BTreeSet::new(), compacted: BTreeMap::new() };
        let mut objects = store.store.list(Some(tenant_folder));
        let failed = |error| Error::storage("tenant", store.at().url(tenant_folder), error);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            match path::block_mark(tenant_folder, &object.location) {
                Some(BlockMark::Live(id)) => {
                    marks.live.insert(id);
                }
                Some(BlockMark::Compacted(id)) => {
                    let nanos = object.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
                    marks.compacted.insert(id, Time::from_unix_nanos(nanos));
                }
                None => {}
            }
        }
        Ok(marks)
    }
}

/// The meta of a block, live or compacted; `None` if it is gone meanwhile.
async fn fetch_meta(store: &OpenStore, tenant_folder: &Path, id: Uuid) -> Result<Option<RawMeta>> {
    let folder = path::block_folder(tenant_folder, id);
    for name in [path::META, path::COMPACTED_META] {
        let key = path::child(&folder, name);
        if let Some(json) = store.at().fetch_if_any(&key, MAX_META_BYTES).await? {
            return RawMeta::parse(&store.at().url(&key), &json).map(Some);
        }
    }
    Ok(None)
}

/// Writes both forms, the one that is read first before the other.
async fn put(
    store: &OpenStore,
    tenant_folder: &Path,
    live: &[RawMeta],
    compacted: &[(RawMeta, Time)],
    created: Time,
) -> Result<()> {
    let forms = [
        (TENANT_INDEX_PROTOBUF, protobuf(live, compacted, created)),
        (TENANT_INDEX_JSON, json(live, compacted, created)),
    ];
    for (name, bytes) in forms {
        let key = path::child(tenant_folder, name);
        let url = || store.at().url(&key);
        if live.is_empty() && compacted.is_empty() {
            match store.store.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(Error::not_written(url(), &error)),
            }
            continue;
        }
        let bytes = bytes.map_err(|error| Error::not_written(url(), &error))?;
        let put = store.store.put(&key, bytes.into()).await;
        put.map_err(|error| Error::not_written(url(), &error))?;
    }
    Ok(())
}

fn protobuf(
    live: &[RawMeta],
    compacted: &[(RawMeta, Time)],
    created: Time,
) -> std::io::Result<Vec<u8>> {
    let index = ProtoIndex {
        created_at: Some(created.into()),
        meta: live.iter().map(ProtoMeta::from).collect(),
        compacted: compacted
            .iter()
            .map(|(meta, time)| ProtoCompactedMeta {
                meta: Some(meta.into()),
                compacted_time: Some((*time).into()),
            })
            .collect(),
    };
    zstd::encode_all(index.encode_to_vec().as_slice(), ZSTD_LEVEL)
}

fn json(
    live: &[RawMeta],
    compacted: &[(RawMeta, Time)],
    created: Time,
) -> std::io::Result<Vec<u8>> {
    let index = JsonIndex {
        created_at: Some(created),
        meta: Some(live.to_vec()),
        compacted: Some(
            compacted
                .iter()
                .map(|(meta, time)| JsonCompactedMeta {
                    meta: meta.clone(),
                    compacted_time: Some(*time),
                })
                .collect(),
        ),
    };
    let mut gzip =
        GzBuilder::new().filename("index.json").write(Vec::new(), flate2::Compression::default());
    gzip.write_all(&serde_json::to_vec(&index)?)?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::store::SourceOptions;

    const NOW: i64 = 1_800_000_000_000_000_000;

    fn copy(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else if entry.file_name().to_string_lossy().contains("meta") {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    fn key(mut metas: Vec<RawMeta>) -> Vec<String> {
        metas.sort_by_key(|meta| meta.block_id);
        metas.iter().map(|meta| serde_json::to_string(meta).unwrap()).collect()
    }

    /// Tempo's own indexes of the same folders, in both forms.
    #[tokio::test]
    async fn an_index_says_what_tempos_says() {
        let blocks = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/blocks");
        for tenant in ["shop/shop5", "shop/shop3", "fixtures/vParquet5/synthetic-compaction"] {
            let theirs = std::path::Path::new(blocks).join(tenant);
            let folder = tempfile::tempdir().unwrap();
            copy(&theirs, folder.path());
            let store = OpenStore::open("file:///", &SourceOptions::default()).await.unwrap();
            let ours = Path::from_absolute_path(folder.path()).unwrap();
            assert!(!has_tenant_index(&store, &ours).await.unwrap());
            // The second time metas come from the index itself.
            for _ in 0..2 {
                let n_live = write_tenant_index(&store, &ours, NOW).await.unwrap();
                assert!(n_live > 0 && has_tenant_index(&store, &ours).await.unwrap());
                for name in [TENANT_INDEX_PROTOBUF, TENANT_INDEX_JSON] {
                    let parse = match name {
                        TENANT_INDEX_JSON => TenantIndex::parse_json,
                        _ => TenantIndex::parse_protobuf,
                    };
                    let read = |folder: &std::path::Path| {
                        parse("k", &std::fs::read(folder.join(name)).unwrap()).unwrap()
                    };
                    let (ours, theirs) = (read(folder.path()), read(&theirs));
                    assert_eq!(ours.created_unix_nanos, Some(NOW));
                    assert_eq!(key(ours.live), key(theirs.live), "{tenant} {name}");
                    assert_eq!(key(ours.compacted), key(theirs.compacted), "{tenant} {name}");
                }
            }
            let json = std::fs::read(folder.path().join(TENANT_INDEX_JSON)).unwrap();
            let text = crate::bucket::fetch::gunzip("k", &json, 1 << 20).unwrap();
            let has_time = String::from_utf8(text).unwrap().contains("\"compactedTime\":\"20");
            assert_eq!(has_time, tenant.ends_with("compaction"));
        }
    }

    #[tokio::test]
    async fn without_blocks_there_is_no_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = OpenStore::open("file:///", &SourceOptions::default()).await.unwrap();
        let key = Path::from_absolute_path(folder.path()).unwrap();
        std::fs::write(folder.path().join(TENANT_INDEX_JSON), "stale").unwrap();
        assert_eq!(write_tenant_index(&store, &key, NOW).await.unwrap(), 0);
        assert!(!has_tenant_index(&store, &key).await.unwrap());
    }
}
