//! A Parquet file without a `meta.json`: what can be learnt from its footer stands in for the meta.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{GetOptions, GetRange, path::Path};
use parquet::{
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
    schema::types::SchemaDescriptor,
};
use uuid::Uuid;

use super::{
    Block,
    blocklist::Warning,
    fetch::At,
    live::HiddenTraces,
    meta::{BlockMeta, FormatVersion},
    store::OpenStore,
    tenant::TenantId,
};
use crate::{Error, Result};

/// Bytes at the end of a Parquet file: length of the footer, then magic.
const TAIL_BYTES: u64 = 8;
/// Largest footer read; a block of 100 GiB has some 30 MB.
const MAX_FOOTER_BYTES: u64 = 512 << 20;

/// Opens a Parquet file as a block. The warning says what cannot be known without a meta.
pub(super) async fn open(store: &OpenStore, key: &Path) -> Result<(Block, Option<Warning>)> {
    let at = store.at();
    let url = at.url(key);
    let (tail, size_bytes) = tail(at, key, &url).await?;
    let footer_bytes = footer_length(&url, &tail, size_bytes)?;
    let end = size_bytes - TAIL_BYTES;
    let footer = range(at, key, &url, GetRange::Bounded(end - footer_bytes..end)).await?.0;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(|e| {
        Error::corrupt(&url, Some(end - footer_bytes..end), "a Parquet footer", e.to_string())
    })?;
    let meta = BlockMeta {
        version: format_version(&url, metadata.file_metadata().schema_descr())?,
        block_id: Uuid::nil(),
        tenant: TenantId::single().to_string(),
        start_unix_nanos: 0,
        end_unix_nanos: i64::MAX,
        total_objects: row_count(&metadata),
        size_bytes,
        compaction_level: 0,
        total_records: u32::try_from(metadata.num_row_groups()).unwrap_or(u32::MAX),
        bloom_shards: 0,
        footer_size: u32::try_from(footer_bytes).unwrap_or(0),
        dedicated_columns: Vec::new(),
        replication_factor: 1,
    };
    let block = Block {
        store: Arc::clone(&store.store),
        store_url: Arc::clone(&store.url),
        data: key.clone(),
        folder: None,
        meta: Arc::new(meta),
        hidden: HiddenTraces::default(),
    };
    let n_nameless = nameless_columns(&metadata);
    let warning = (n_nameless > 0).then(|| Warning {
        key: url,
        reason: format!(
            "{n_nameless} dedicated columns hold attributes whose names only the block's meta.json \
             tells; they are not seen"
        ),
    });
    Ok((block, warning))
}

/// Dedicated columns with values in them: which attribute each one is stands in the meta alone. In
/// vParquet5 a column exists only if it was assigned; before, an unassigned one is all null.
fn nameless_columns(metadata: &ParquetMetaData) -> usize {
    let schema = metadata.file_metadata().schema_descr();
    (0..schema.num_columns())
        .filter(|i| schema.column(*i).path().string().contains(".DedicatedAttributes."))
        .filter(|i| {
            metadata.row_groups().iter().any(|group| {
                let chunk = group.column(*i);
                let n_nulls = chunk.statistics().and_then(|s| s.null_count_opt());
                n_nulls != u64::try_from(chunk.num_values()).ok()
            })
        })
        .count()
}

fn row_count(metadata: &ParquetMetaData) -> u64 {
    metadata.row_groups().iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).sum()
}

/// The last bytes of the file, and the file's length.
async fn tail(at: At<'_>, key: &Path, url: &str) -> Result<(Bytes, u64)> {
    match range(at, key, url, GetRange::Suffix(TAIL_BYTES)).await {
        // Azure knows no ranges that count from the end.
        Err(Error::Unsupported { .. }) => {
            let options = GetOptions::new().with_head(true);
            let head = at.store.get_opts(key, options).await;
            let size = head.map_err(|e| Error::storage("file", url, e))?.meta.size;
            let start = size.saturating_sub(TAIL_BYTES);
            range(at, key, url, GetRange::Bounded(start..size)).await
        }
        result => result,
    }
}

async fn range(at: At<'_>, key: &Path, url: &str, range: GetRange) -> Result<(Bytes, u64)> {
    let options = GetOptions::new().with_range(Some(range));
    let found =
        at.store.get_opts(key, options).await.map_err(|e| Error::storage("file", url, e))?;
    let size = found.meta.size;
    let bytes = found.bytes().await.map_err(|e| Error::storage("file", url, e))?;
    Ok((bytes, size))
}

fn footer_length(url: &str, tail: &[u8], size_bytes: u64) -> Result<u64> {
    let at_end = Some(size_bytes.saturating_sub(TAIL_BYTES)..size_bytes);
    let Some((length, magic)) = tail.split_first_chunk::<4>().filter(|(_, rest)| rest.len() == 4)
    else {
        let found = format!("{} bytes", tail.len());
        return Err(Error::corrupt(url, at_end, "the end of a Parquet file", found));
    };
    match magic {
        b"PAR1" => {}
        b"PARE" => {
            let reason = "its footer is encrypted".to_owned();
            return Err(Error::Unsupported { key: url.to_owned(), reason });
        }
        other => {
            let found = format!("{:?}", String::from_utf8_lossy(other));
            return Err(Error::corrupt(url, at_end, "\"PAR1\" at the end", found));
        }
    }
    let length = u64::from(u32::from_le_bytes(*length));
    if length + TAIL_BYTES > size_bytes {
        let (expected, found) =
            (format!("a footer within {size_bytes} bytes"), format!("one of {length} bytes"));
        return Err(Error::corrupt(url, at_end, expected, found));
    }
    if length > MAX_FOOTER_BYTES {
        let what = format!("reading the footer of {url}");
        return Err(Error::OverLimit { what, limit_bytes: MAX_FOOTER_BYTES });
    }
    Ok(length)
}

/// Tells the versions apart by columns only one of them has (`blocks.md` 4.2 to 4.4).
fn format_version(url: &str, schema: &SchemaDescriptor) -> Result<FormatVersion> {
    let has = |path: &str| schema.columns().iter().any(|column| column.path().string() == path);
    if !has("TraceID") {
        let reason = "it has no column TraceID, so it is no block of traces".to_owned();
        return Err(Error::Unsupported { key: url.to_owned(), reason });
    }
    if has("rs.Resource.ServiceName") {
        Ok(FormatVersion::VParquet5)
    } else if has("rs.list.element.Resource.Attrs.list.element.IsArray") {
        Ok(FormatVersion::VParquet4)
    } else if has("rs.list.element.Resource.Attrs.list.element.ValueArray") {
        Ok(FormatVersion::VParquet3)
    } else {
        let reason = "its columns are those of none of vParquet3, vParquet4, vParquet5".to_owned();
        Err(Error::Unsupported { key: url.to_owned(), reason })
    }
}
