//! Object keys: the only code that spells them (`blocks.md` 1). It knows names, not stores.

use object_store::path::{Path, PathPart};
use uuid::Uuid;

use super::tenant::TenantId;

/// The rows of a block.
pub const DATA: &str = "data.parquet";
/// Says what a block holds; makes it live.
pub const META: &str = "meta.json";
/// Takes the place of [`META`] once a compaction has replaced the block.
pub const COMPACTED_META: &str = "meta.compacted.json";
/// Last trace id of every row group.
pub const ROW_GROUP_INDEX: &str = "index";
/// Keeps the compaction planner away while it exists.
pub const NO_COMPACT_FLAG: &str = "nocompact.flg";
/// Below the tenant: where compactors of ours note whose turn it is.
pub const COMPACTOR: &str = "traceql-compactor";
/// The tenant index as zstd-compressed protobuf; read first.
pub const TENANT_INDEX_PROTOBUF: &str = "index.pb.zst";
/// The tenant index as gzip-compressed JSON; read if the other does not exist.
pub const TENANT_INDEX_JSON: &str = "index.json.gz";
/// Names directly below a bucket's root that are no tenants.
pub const NOT_TENANTS: [&str; 2] = ["tempo_cluster_seed.json", "work.json"];

/// `<parent>/<name>`, with `name` taken verbatim.
///
/// [`Path::join`] of a plain string would percent-encode some of the characters a tenant id may
/// hold (`*`), and Tempo writes ids verbatim.
#[must_use]
pub fn child(parent: &Path, name: &str) -> Path {
    match PathPart::parse(name) {
        Ok(part) => parent.clone().join(part),
        Err(_) => parent.clone().join(name),
    }
}

/// Folder of a tenant.
#[must_use]
pub fn tenant_folder(root: &Path, tenant: &TenantId) -> Path {
    child(root, tenant.as_str())
}

/// Folder of a block.
#[must_use]
pub fn block_folder(tenant_folder: &Path, block_id: Uuid) -> Path {
    child(tenant_folder, &block_id.hyphenated().to_string())
}

/// One bloom shard of a block.
#[must_use]
pub fn bloom_shard(block_folder: &Path, shard: u32) -> Path {
    child(block_folder, &format!("bloom-{shard}"))
}

/// What a key below a tenant's folder tells about a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockMark {
    /// `<uuid>/meta.json`.
    Live(Uuid),
    /// `<uuid>/meta.compacted.json`.
    Compacted(Uuid),
}

/// Reads a listed key: exactly two segments below the tenant's folder, a canonical UUID and one of
/// the two meta names. Everything else is none of our business and yields `None`.
#[must_use]
pub fn block_mark(tenant_folder: &Path, key: &Path) -> Option<BlockMark> {
    let mut parts = key.prefix_match(tenant_folder)?;
    let (id, name) = (parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let id = block_id(id.as_ref())?;
    match name.as_ref() {
        META => Some(BlockMark::Live(id)),
        COMPACTED_META => Some(BlockMark::Compacted(id)),
        _ => None,
    }
}

/// The block id a folder's name spells: lower-case and hyphenated, nothing else.
#[must_use]
pub fn block_id(name: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(name).ok()?;
    (id.hyphenated().to_string() == name).then_some(id)
}

/// How messages name an object: the store's URL and the key in one.
#[must_use]
pub fn object_url(store_url: &str, key: &Path) -> String {
    match store_url {
        "file://" => format!("/{key}"),
        // A query string (a signed URL) is a secret and no part of the object's name.
        _ => match store_url.split_once('?') {
            Some((url, _)) => object_url(url, key),
            None if store_url.ends_with([':', '/']) => format!("{store_url}{key}"),
            None => format!("{store_url}/{key}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelt_as_tempo_spells_them() {
        let tenant = TenantId::parse("a*b(c)'!").unwrap();
        let folder = tenant_folder(&Path::from("prefix/deep"), &tenant);
        assert_eq!(folder.as_ref(), "prefix/deep/a*b(c)'!");
        let id = Uuid::from_u128(0x5555_5555_0000_4000_8000_0000_0000_00AB);
        let block = block_folder(&folder, id);
        assert_eq!(block.as_ref(), "prefix/deep/a*b(c)'!/55555555-0000-4000-8000-0000000000ab");
        assert_eq!(bloom_shard(&block, 10).filename(), Some("bloom-10"));
    }

    #[test]
    fn only_metas_two_levels_down_mark_a_block() {
        let folder = Path::from("t");
        let id = "55555555-0000-4000-8000-0000000000ab";
        let check = |key: &str| block_mark(&folder, &Path::parse(key).unwrap());
        let uuid = Uuid::try_parse(id).unwrap();
        assert_eq!(check(&format!("t/{id}/meta.json")), Some(BlockMark::Live(uuid)));
        assert_eq!(check(&format!("t/{id}/meta.compacted.json")), Some(BlockMark::Compacted(uuid)));
        for other in [
            format!("t/{id}/data.parquet"),
            format!("t/x/{id}/meta.json"),
            format!("t/{}/meta.json", id.to_uppercase()),
            format!("t/{}/meta.json", id.replace('-', "")),
            format!("tt/{id}/meta.json"),
            "t/index.json.gz".to_owned(),
            "t/meta.json".to_owned(),
        ] {
            assert_eq!(check(&other), None, "{other}");
        }
    }

    #[test]
    fn object_urls_hide_signatures() {
        let key = Path::from("a/b");
        assert_eq!(object_url("file://", &key), "/a/b");
        assert_eq!(object_url("s3://bucket", &key), "s3://bucket/a/b");
        assert_eq!(object_url("sample:", &key), "sample:a/b");
        assert_eq!(object_url("https://h?X-Amz-Signature=1", &key), "https://h/a/b");
    }
}
