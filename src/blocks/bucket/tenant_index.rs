//! The tenant index: one object that says which blocks a tenant has (`blocks.md` 1.4), as zstd
//! compressed protobuf or as gzip compressed JSON.

use object_store::path::Path;
use prost::Message as _;

use super::{
    fetch::{At, gunzip, unzstd},
    index_forms::{JsonIndex, ProtoIndex, ProtoMeta, time},
    meta::{RawMeta, Time},
    path::{TENANT_INDEX_JSON, TENANT_INDEX_PROTOBUF, child},
};
use crate::{Error, Result};

/// Largest tenant index read, before and after decompression: a million blocks' worth.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// Contents of a tenant index, as far as readers ask for them.
#[derive(Clone, Debug)]
pub(super) struct TenantIndex {
    /// When it was written, if it says so.
    pub(super) created_unix_nanos: Option<i64>,
    /// Metas of live blocks.
    pub(super) live: Vec<RawMeta>,
    /// Metas of blocks that a compaction has replaced.
    pub(super) compacted: Vec<RawMeta>,
}

impl TenantIndex {
    /// Reads a tenant's index: the protobuf object, and only if that does not exist the JSON one.
    /// `None` if there is neither.
    pub(super) async fn fetch(at: At<'_>, tenant_folder: &Path) -> Result<Option<Self>> {
        let key = child(tenant_folder, TENANT_INDEX_PROTOBUF);
        if let Some(bytes) = at.fetch_if_any(&key, MAX_INDEX_BYTES).await? {
            return Self::parse_protobuf(&at.url(&key), &bytes).map(Some);
        }
        let key = child(tenant_folder, TENANT_INDEX_JSON);
        if let Some(bytes) = at.fetch_if_any(&key, MAX_INDEX_BYTES).await? {
            return Self::parse_json(&at.url(&key), &bytes).map(Some);
        }
        Ok(None)
    }

    pub(super) fn parse_protobuf(key: &str, bytes: &[u8]) -> Result<Self> {
        let bytes = unzstd(key, bytes, MAX_INDEX_BYTES)?;
        let index = ProtoIndex::decode(bytes.as_slice())
            .map_err(|e| Error::corrupt(key, None, "a tenant index in protobuf", e.to_string()))?;
        let metas = |metas: Vec<ProtoMeta>| -> Result<Vec<RawMeta>> {
            metas.into_iter().map(|meta| meta.into_raw(key)).collect()
        };
        Ok(Self {
            created_unix_nanos: time(index.created_at).map(Time::unix_nanos),
            live: metas(index.meta)?,
            compacted: metas(index.compacted.into_iter().filter_map(|c| c.meta).collect())?,
        })
    }

    pub(super) fn parse_json(key: &str, bytes: &[u8]) -> Result<Self> {
        let bytes = gunzip(key, bytes, MAX_INDEX_BYTES)?;
        let index: JsonIndex = serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt(key, None, "a tenant index in JSON", e.to_string()))?;
        Ok(Self {
            created_unix_nanos: index.created_at.map(Time::unix_nanos),
            live: index.meta.unwrap_or_default(),
            compacted: index.compacted.unwrap_or_default().into_iter().map(|c| c.meta).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::meta::{BlockMeta, ParsedMeta};

    const BLOCKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/blocks");

    fn metas(raw: Vec<RawMeta>) -> Vec<BlockMeta> {
        raw.into_iter()
            .map(|raw| match raw.interpret("k").unwrap() {
                ParsedMeta::Block(meta) => meta,
                ParsedMeta::Inert { format } => panic!("{format}"),
            })
            .collect()
    }

    #[test]
    fn both_forms_say_the_same_and_what_the_metas_say() {
        for (tenant, n_live, n_compacted) in [
            ("shop/shop5", 2, 0),
            ("shop/shop3", 2, 0),
            ("fixtures/vParquet4/synthetic", 1, 0),
            ("fixtures/vParquet5/synthetic-compaction", 1, 2),
        ] {
            let read = |name: &str| std::fs::read(format!("{BLOCKS}/{tenant}/{name}")).unwrap();
            let proto = TenantIndex::parse_protobuf("k", &read(TENANT_INDEX_PROTOBUF)).unwrap();
            let json = TenantIndex::parse_json("k", &read(TENANT_INDEX_JSON)).unwrap();
            assert!(json.created_unix_nanos > Some(1_700_000_000_000_000_000));
            assert_eq!(proto.created_unix_nanos, json.created_unix_nanos);
            assert_eq!((json.live.len(), json.compacted.len()), (n_live, n_compacted), "{tenant}");
            let live = metas(proto.live);
            assert_eq!(live, metas(json.live));
            assert_eq!(metas(proto.compacted), metas(json.compacted));
            for meta in live {
                let own = read(&format!("{}/meta.json", meta.block_id));
                assert_eq!(BlockMeta::parse("k", &own).unwrap(), ParsedMeta::Block(meta));
            }
        }
    }

    proptest::proptest! {
        /// Flipped bytes and cut ends of a real index are read or refused, never a panic; below
        /// the compression too, where damage is not caught by a checksum.
        #[test]
        fn damaged_indexes_never_panic(at in 0_usize..600, byte: u8, keep in 0_usize..600) {
            let read = |name| std::fs::read(format!("{BLOCKS}/shop/shop5/{name}")).unwrap();
            let damage = |mut bytes: Vec<u8>| {
                let n = bytes.len();
                bytes[at % n] = byte;
                bytes.truncate(n - (600 - keep).min(n) / 8);
                bytes
            };
            let (proto, json) = (read(TENANT_INDEX_PROTOBUF), read(TENANT_INDEX_JSON));
            let inner = unzstd("k", &proto, MAX_INDEX_BYTES).unwrap();
            let zipped = zstd::encode_all(&damage(inner)[..], 1).unwrap();
            for result in [
                TenantIndex::parse_protobuf("k", &damage(proto)),
                TenantIndex::parse_protobuf("k", &zipped),
                TenantIndex::parse_json("k", &damage(json)),
            ] {
                for meta in result.into_iter().flat_map(|index| index.live) {
                    drop(meta.interpret("k"));
                }
            }
        }
    }

    #[test]
    fn a_bad_index_is_corrupt() {
        let proto = |index: &ProtoIndex| zstd::encode_all(&index.encode_to_vec()[..], 3).unwrap();
        let with = |meta: ProtoMeta| ProtoIndex {
            created_at: None,
            meta: vec![meta],
            compacted: Vec::new(),
        };
        let short_id = with(ProtoMeta { block_id: vec![1; 15], ..ProtoMeta::default() });
        let bad_columns = with(ProtoMeta {
            block_id: vec![1; 16],
            dedicated_columns: b"[{".to_vec(),
            ..ProtoMeta::default()
        });
        for bytes in [
            proto(&short_id),
            proto(&bad_columns),
            zstd::encode_all(&b"\xff\xff\xff"[..], 3).unwrap(),
            b"no zstd".to_vec(),
        ] {
            let error = TenantIndex::parse_protobuf("k", &bytes).unwrap_err();
            assert!(matches!(&error, Error::Corrupt { key, .. } if key == "k"), "{error}");
        }
        let error = TenantIndex::parse_json("k", b"{}").unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}
