//! What can be checked of a block's objects without its rows, or with nothing of them but the ids.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::{ObjectStoreExt as _, path::Path};

use super::{Finding, Findings, RowOf, Rule, Severity};
use crate::bucket::bloom::{BloomShard, shard_of};
use crate::bucket::meta::BlockMeta;
use crate::bucket::{Block, path};
use crate::error::{Error, Result};
use crate::read::open::OpenBlock;

impl Findings<'_> {
    fn add_object(
        &mut self,
        rule: Rule,
        severity: Severity,
        object: &Path,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.add(Finding {
            rule,
            severity,
            object: self.block.object_url(object),
            row: None,
            trace: None,
            expected: expected.into(),
            found: found.into(),
        });
    }

    fn add_meta(
        &mut self,
        rule: Rule,
        severity: Severity,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        // A lone file has no meta.json; what stands for it comes from the file.
        if let Some(folder) = &self.block.folder {
            let meta = path::child(folder, path::META);
            self.add_object(rule, severity, &meta, expected, found);
        }
    }
}

/// Compares `size` and `footerSize` with the file, and gives back the block as the file has it.
pub(super) async fn check_file_size(block: &Block, findings: &mut Findings<'_>) -> Result<Block> {
    let url = block.object_url(&block.data);
    let failed = |error| Error::storage("data.parquet", url.clone(), error);
    let size = block.store.head(&block.data).await.map_err(failed)?.size;
    let mut meta = BlockMeta::clone(&block.meta);
    if meta.size_bytes != size {
        let found = format!("size {}", meta.size_bytes);
        findings.add_meta(
            Rule::FileSize,
            Severity::Error,
            format!("the file's size {size}"),
            found,
        );
        meta.size_bytes = size;
    }
    if size >= 8 && meta.footer_size != 0 {
        let ending =
            block.store.get_range(&block.data, size - 8..size - 4).await.map_err(failed)?;
        let footer = <[u8; 4]>::try_from(ending.as_ref()).map_or(0, u32::from_le_bytes);
        if footer != meta.footer_size {
            findings.add_meta(
                Rule::FileSize,
                Severity::Error,
                format!("footerSize 0 or the file's {footer}"),
                format!("footerSize {}", meta.footer_size),
            );
        }
    }
    meta.footer_size = 0;
    Ok(Block { meta: Arc::new(meta), ..block.clone() })
}

/// What `meta.json` says of itself.
pub(super) fn check_meta(block: &Block, findings: &mut Findings<'_>) {
    let Some(folder) = &block.folder else { return };
    let meta = &block.meta;
    if meta.replication_factor != 1 {
        findings.add_meta(
            Rule::ReplicationFactor,
            Severity::Warning,
            "replicationFactor 1, without which metrics queries ignore the block",
            meta.replication_factor.to_string(),
        );
    }
    let mut parts: Vec<_> = folder.parts().collect();
    let id = meta.block_id.hyphenated().to_string();
    if parts.pop().is_some_and(|name| name.as_ref() != id) {
        findings.add_meta(Rule::Meta, Severity::Error, "blockID as the folder is named", id);
    }
    if parts.pop().is_some_and(|name| name.as_ref() != meta.tenant) {
        findings.add_meta(
            Rule::Meta,
            Severity::Error,
            "tenantID as the folder above is named",
            meta.tenant.clone(),
        );
    }
    if meta.end_unix_nanos < meta.start_unix_nanos {
        findings.add_meta(
            Rule::Meta,
            Severity::Warning,
            "endTime not before startTime",
            format!("{} before {}", meta.end_unix_nanos, meta.start_unix_nanos),
        );
    }
}

/// Compares the counts of `meta.json` with the footer.
pub(super) fn check_counts(open: &OpenBlock, findings: &mut Findings<'_>) {
    let meta = &open.block.meta;
    let n_row_groups = open.n_row_groups() as u64;
    let stated = u64::from(meta.total_records);
    // Tempo's writer counts a last flush even if nothing was left to flush.
    if stated != n_row_groups && stated != n_row_groups + 1 || stated == 0 {
        findings.add_meta(
            Rule::RowGroupCount,
            Severity::Error,
            format!("totalRecords {n_row_groups}, the number of row groups"),
            format!("totalRecords {stated}"),
        );
    }
    let n_rows: u64 = (0..open.n_row_groups()).map(|group| u64::from(open.n_rows(group))).sum();
    if meta.total_objects != n_rows || n_rows == 0 {
        findings.add_meta(
            Rule::RowCount,
            Severity::Error,
            format!("totalObjects {n_rows}, the number of rows, and at least 1"),
            format!("totalObjects {}", meta.total_objects),
        );
    }
}

/// Checks that every bloom shard is there and that they know every id.
pub(super) async fn check_bloom(
    block: &Block,
    ids: &[RowOf],
    findings: &mut Findings<'_>,
) -> Result<()> {
    let Some(folder) = &block.folder else { return Ok(()) };
    let n_shards = block.meta.bloom_shards;
    let mut by_shard: Vec<(u32, RowOf)> =
        ids.iter().map(|&row| (shard_of(row.trace, n_shards), row)).collect();
    by_shard.sort_unstable_by_key(|(shard, row)| (*shard, row.row));
    let mut rest = by_shard.as_slice();
    for shard in 0..n_shards {
        let of_shard;
        (of_shard, rest) = rest.split_at(rest.partition_point(|(s, _)| *s <= shard));
        let key = path::bloom_shard(folder, shard);
        let Some(bytes) = fetch_if_any(block, &key).await? else {
            let expected = format!("{n_shards} bloom shards, this among them");
            findings.add_object(Rule::Bloom, Severity::Error, &key, expected, "no object");
            continue;
        };
        let parsed = match BloomShard::parse(&block.object_url(&key), &bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                findings.add_object(
                    Rule::Bloom,
                    Severity::Error,
                    &key,
                    "a bloom shard",
                    error.to_string(),
                );
                continue;
            }
        };
        for (_, row) in of_shard.iter().filter(|(_, row)| !parsed.may_contain(row.trace)) {
            findings.add(Finding {
                rule: Rule::Bloom,
                severity: Severity::Error,
                object: block.object_url(&key),
                row: Some(row.row),
                trace: Some(row.trace),
                expected: "the id in its bloom shard".to_owned(),
                found: "a shard without it".to_owned(),
            });
        }
    }
    Ok(())
}

/// Compares the `index` object, if there is one, with the last ids of the row groups.
pub(super) async fn check_index(
    block: &Block,
    last_ids: &[Option<RowOf>],
    findings: &mut Findings<'_>,
) -> Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Index {
        row_groups: Vec<String>,
    }
    let Some(folder) = &block.folder else { return Ok(()) };
    let key = path::child(folder, path::ROW_GROUP_INDEX);
    let Some(bytes) = fetch_if_any(block, &key).await? else { return Ok(()) };
    let index: Index = match serde_json::from_slice(&bytes) {
        Ok(index) => index,
        Err(error) => {
            let expected = "JSON with a list rowGroups";
            let found = error.to_string();
            findings.add_object(Rule::RowGroupIndex, Severity::Error, &key, expected, found);
            return Ok(());
        }
    };
    let expected: Vec<String> =
        last_ids.iter().flatten().map(|row| STANDARD.encode(row.trace.0)).collect();
    if expected != index.row_groups {
        findings.add_object(
            Rule::RowGroupIndex,
            Severity::Error,
            &key,
            format!("the last ids of the row groups, {expected:?}"),
            format!("{:?}", index.row_groups),
        );
    }
    Ok(())
}

async fn fetch_if_any(block: &Block, key: &Path) -> Result<Option<Bytes>> {
    let failed = |error| Error::storage("object", block.object_url(key), error);
    match block.store.get(key).await {
        Ok(found) => found.bytes().await.map(Some).map_err(failed),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
