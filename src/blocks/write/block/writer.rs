//! The writer of one block: rows into row groups, row groups into the store, then the other objects
//! in the order of the commit protocol.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::bloom::BloomFilter;
use super::places::Places;
use super::row_group::{RowGroup, properties};
use super::settings::BlockSettings;
use super::shred::Shredder;
use crate::bucket::meta::BlockMeta;
use crate::bucket::path;
use crate::bucket::tenant::TenantId;
use crate::error::{Error, Result};
use crate::model::trace::{TraceFields, TraceSummary};
use crate::model::{Trace, TraceId};
use crate::read::copyable::RowFacts;
use crate::read::merge::{MergedRow, StoredRow};
use crate::schema::BlockSchema;
use crate::schema::layout::{self, ExpectedLeaf};

/// Smaller files are written in one request, larger ones in parts of this size. Stores take 10,000
/// parts: more than the largest block that Tempo writes.
const PART_BYTES: usize = 16 << 20;
/// Why an id is refused.
const ID_TAKEN: &str = "there is a block of this id";
/// Blocks of other replication factors are left out of metrics queries.
const REPLICATION_FACTOR: u32 = 1;

/// Where a block is to be.
#[derive(Clone, Debug)]
pub struct BlockPlace {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// Its URL, for messages.
    pub store_url: Arc<str>,
    /// The folder of the tenant.
    pub tenant_folder: Path,
    /// The tenant.
    pub tenant: TenantId,
    /// The block's id: one that no other block has or had.
    pub block_id: Uuid,
}

impl BlockPlace {
    /// The folder of the block.
    #[must_use]
    pub fn folder(&self) -> Path {
        path::block_folder(&self.tenant_folder, self.block_id)
    }

    fn object(&self, name: &str) -> Path {
        path::child(&self.folder(), name)
    }

    fn failed(&self, key: &Path, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
        Error::not_written(path::object_url(&self.store_url, key), error)
    }

    fn data_failed(&self, error: &ParquetError) -> Error {
        self.failed(&self.object(path::DATA), error)
    }

    fn id_is_taken(&self, key: &Path) -> Error {
        let key = path::object_url(&self.store_url, key);
        Error::NotWritten { key, reason: ID_TAKEN.to_owned() }
    }

    /// Refuses an id that a block has already.
    async fn check_id_is_free(&self) -> Result<()> {
        for name in [path::META, path::COMPACTED_META] {
            let key = self.object(name);
            match self.store.head(&key).await {
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&key, &error)),
                Ok(_) => return Err(self.id_is_taken(&key)),
            }
        }
        Ok(())
    }

    async fn put(&self, key: &Path, bytes: Vec<u8>, mode: PutMode) -> Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(key, PutPayload::from(bytes), options).await;
        put.map(drop).map_err(|error| self.failed(key, &error))
    }
}

/// Writes one block. Encoding runs on the caller's thread, uploading on the store's runtime.
///
/// Memory: the pages of one row group ([`BlockSettings::row_group_bytes`]), the parts that are being
/// uploaded, and 16 bytes a trace for the bloom filter.
pub struct BlockWriter {
    place: BlockPlace,
    settings: BlockSettings,
    meta: BlockMeta,
    leaves: Vec<ExpectedLeaf>,
    properties: WriterPropertiesPtr,
    schema: BlockSchema,
    /// Boxed: the map of leaves is large, and writers live in futures.
    shredder: Box<Shredder>,
    row_group: Option<RowGroup>,
    file: SerializedFileWriter<Vec<u8>>,
    upload: BufWriter,
    ids: Vec<TraceId>,
    last_ids: Vec<TraceId>,
    span_count: u64,
}

impl fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockWriter")
            .field("place", &self.place)
            .field("row_count", &self.ids.len())
            .finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// Begins a block. Nothing is written yet.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting that no block can have.
    pub fn new(place: BlockPlace, settings: BlockSettings) -> Result<Self> {
        settings.check()?;
        if place.block_id.is_nil() {
            return Err(Error::Usage {
                what: "block id",
                value: place.block_id.to_string(),
                reason: "readers refuse the nil id".to_owned(),
            });
        }
        let meta = BlockMeta {
            version: settings.version,
            block_id: place.block_id,
            tenant: place.tenant.to_string(),
            start_unix_nanos: 0,
            end_unix_nanos: 0,
            total_objects: 0,
            size_bytes: 0,
            compaction_level: settings.compaction_level,
            total_records: 0,
            bloom_shards: 0,
            footer_size: 0,
            dedicated_columns: settings.dedicated_columns.clone(),
            replication_factor: REPLICATION_FACTOR,
        };
        let leaves = layout::expected_leaves(&meta);
        let properties = properties(&leaves, settings.is_transient);
        let schema = layout::message_type(&meta).map_err(|error| place.data_failed(&error))?;
        let file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::clone(&properties))
            .map_err(|error| place.data_failed(&error))?;
        let data = place.object(path::DATA);
        let url = path::object_url(&place.store_url, &data);
        let schema = BlockSchema::new(&url, &meta, file.schema_descr())?;
        let upload = BufWriter::with_capacity(Arc::clone(&place.store), data, PART_BYTES);
        Ok(Self {
            settings,
            meta,
            leaves,
            properties,
            shredder: Box::new(Shredder::new(Places::new(&schema))),
            schema,
            row_group: None,
            file,
            upload,
            ids: Vec::new(),
            last_ids: Vec::new(),
            span_count: 0,
            place,
        })
    }

    /// Adds a trace whose id is greater than that of the last one.
    ///
    /// # Errors
    /// [`Error::Usage`] for an id out of order; storage errors. The block cannot be finished after
    /// an error: [`BlockWriter::abort`] it.
    pub async fn write(&mut self, trace: &Trace) -> Result<()> {
        let summary = trace.summary();
        self.write_row(trace, &TraceFields::from(&summary), &summary).await
    }

    /// Adds a trace that was stored before, with what was known of it.
    ///
    /// # Errors
    /// As [`BlockWriter::write`].
    pub async fn write_stored(&mut self, trace: &Trace, fields: &TraceFields) -> Result<()> {
        self.write_row(trace, fields, &trace.summary()).await
    }

    /// Adds the next trace of several blocks.
    ///
    /// # Errors
    /// As [`BlockWriter::write`].
    pub async fn write_merged(&mut self, row: MergedRow<'_>) -> Result<()> {
        match row {
            MergedRow::Trace(stored) => self.write_stored(&stored.trace, &stored.fields).await,
            MergedRow::Row(row) => self.copy_row(row).await,
        }
    }

    /// The columns of the block.
    #[must_use]
    pub fn schema(&self) -> &BlockSchema {
        &self.schema
    }

    /// Traces written so far.
    #[must_use]
    pub fn trace_count(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Bytes of `data.parquet` so far; those of the open row group are not compressed yet.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.meta.size_bytes + self.row_group.as_ref().map_or(0, RowGroup::n_bytes)
    }

    async fn write_row(
        &mut self,
        trace: &Trace,
        fields: &TraceFields,
        summary: &TraceSummary,
    ) -> Result<()> {
        self.check_order(trace.id)?;
        let row_group = self.row_group.get_or_insert_with(|| {
            RowGroup::new(&self.leaves, self.file.schema_descr(), &self.properties)
        });
        self.shredder.write(trace, fields, summary, row_group.leaves());
        let last_start = trace.spans().map(|at| at.span.start_unix_nanos).max();
        let facts = RowFacts {
            start_unix_nanos: fields.start_unix_nanos,
            end_unix_nanos: fields.end_unix_nanos,
            last_start_unix_nanos: last_start.unwrap_or(0),
            n_spans: trace.span_count() as u64,
        };
        self.end_row(trace.id, facts).await
    }

    async fn copy_row(&mut self, row: StoredRow<'_>) -> Result<()> {
        self.check_order(row.id)?;
        let row_group = self.row_group.get_or_insert_with(|| {
            RowGroup::new(&self.leaves, self.file.schema_descr(), &self.properties)
        });
        row_group.copy(row).map_err(|error| self.place.data_failed(&error))?;
        self.end_row(row.id, row.facts).await
    }

    fn check_order(&self, id: TraceId) -> Result<()> {
        match self.ids.last().filter(|last| **last >= id) {
            Some(last) => Err(Error::Usage {
                what: "trace",
                value: id.to_string(),
                reason: format!("a block takes traces in order of their ids, and {last} is in it"),
            }),
            None => Ok(()),
        }
    }

    /// Ends a row, and its row group if that is large enough.
    async fn end_row(&mut self, id: TraceId, facts: RowFacts) -> Result<()> {
        self.note(id, facts);
        let Some(row_group) = &mut self.row_group else { return Ok(()) };
        row_group.end_row().map_err(|error| self.place.data_failed(&error))?;
        if row_group.n_bytes() >= self.settings.row_group_bytes {
            self.close_row_group().await?;
        }
        Ok(())
    }

    /// Keeps what the meta says of the rows.
    fn note(&mut self, id: TraceId, facts: RowFacts) {
        let nanos = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
        let (start, end) = (nanos(facts.start_unix_nanos), nanos(facts.end_unix_nanos));
        let meta = &mut self.meta;
        if meta.start_unix_nanos == 0 || (start != 0 && start < meta.start_unix_nanos) {
            meta.start_unix_nanos = start;
        }
        // Spans may end before they start, and yet they are to be found where they start.
        let last_start = nanos(facts.last_start_unix_nanos);
        meta.end_unix_nanos = meta.end_unix_nanos.max(end).max(last_start);
        self.ids.push(id);
        self.span_count += facts.n_spans;
    }

    async fn close_row_group(&mut self) -> Result<()> {
        let Some(row_group) = self.row_group.take() else { return Ok(()) };
        row_group.close(&mut self.file).map_err(|error| self.place.data_failed(&error))?;
        self.last_ids.extend(self.ids.last());
        self.upload_written().await.map(drop)
    }

    /// Uploads what the file has grown by, and gives it back.
    async fn upload_written(&mut self) -> Result<Bytes> {
        let data = self.place.object(path::DATA);
        self.file.flush().map_err(|error| self.place.failed(&data, &error))?;
        let bytes = Bytes::from(std::mem::take(self.file.inner_mut()));
        self.meta.size_bytes += bytes.len() as u64;
        let put = self.upload.put(bytes.clone()).await;
        put.map_err(|error| self.place.failed(&data, &error))?;
        Ok(bytes)
    }

    /// Writes everything but `meta.json`. `None` if no trace was written: then there is no block.
    ///
    /// # Errors
    /// Storage errors; what was written is removed as far as the store lets us.
    pub async fn prepare(mut self) -> Result<Option<PreparedBlock>> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        let data = self.place.object(path::DATA);
        if let Err(error) = self.finish_data().await {
            self.abort().await;
            return Err(error);
        }
        // Before the file replaces another: no block is ever rewritten.
        if let Err(error) = self.place.check_id_is_free().await {
            self.abort().await;
            return Err(error);
        }
        // From here on there is no upload left that could be aborted.
        if let Err(error) = self.upload.shutdown().await {
            let error = self.place.failed(&data, &error);
            drop(self.place.store.delete(&data).await);
            return Err(error);
        }
        let folder = self.place.folder();
        let filter = BloomFilter::of(&self.ids, self.settings.bloom);
        self.meta.bloom_shards = filter.n_shards();
        self.meta.total_objects = self.ids.len() as u64;
        self.meta.total_records = u32::try_from(self.last_ids.len()).unwrap_or(u32::MAX);
        self.meta.end_unix_nanos = self.meta.end_unix_nanos.max(self.meta.start_unix_nanos);
        let mut prepared = PreparedBlock {
            written: WrittenBlock { span_count: self.span_count, meta: Arc::new(self.meta) },
            objects: vec![data],
            place: self.place,
        };
        let shards =
            (0..).zip(filter.objects()).map(|(n, shard)| (path::bloom_shard(&folder, n), shard));
        let index = (prepared.place.object(path::ROW_GROUP_INDEX), row_group_index(&self.last_ids));
        for (key, bytes) in shards.chain(std::iter::once(index)) {
            if let Err(error) = prepared.place.put(&key, bytes, PutMode::Overwrite).await {
                prepared.discard().await;
                return Err(error);
            }
            prepared.objects.push(key);
        }
        Ok(Some(prepared))
    }

    /// Prepares and commits.
    ///
    /// # Errors
    /// As [`BlockWriter::prepare`].
    pub async fn finish(self) -> Result<Option<WrittenBlock>> {
        match self.prepare().await? {
            Some(prepared) => prepared.commit().await.map(Some),
            None => Ok(None),
        }
    }

    async fn finish_data(&mut self) -> Result<()> {
        self.close_row_group().await?;
        self.file.finish().map_err(|error| self.place.data_failed(&error))?;
        let footer = self.upload_written().await?;
        let length = footer.len().checked_sub(8).and_then(|at| footer.get(at..at + 4));
        let length = length.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        self.meta.footer_size = length.unwrap_or(0);
        Ok(())
    }

    /// Gives the block up and removes what was uploaded of it, as far as the store lets us.
    pub async fn abort(mut self) {
        drop(self.upload.abort().await);
    }
}

/// The object that names the last id of every row group.
fn row_group_index(last_ids: &[TraceId]) -> Vec<u8> {
    let ids: Vec<String> = last_ids.iter().map(|id| STANDARD.encode(id.0)).collect();
    serde_json::json!({ "rowGroups": ids }).to_string().into_bytes()
}

/// A block that is written but does not exist yet: `meta.json` is missing.
#[derive(Debug)]
#[must_use = "a block that is neither committed nor discarded leaves objects that nobody lists"]
pub struct PreparedBlock {
    place: BlockPlace,
    written: WrittenBlock,
    objects: Vec<Path>,
}

/// A block that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenBlock {
    /// What its `meta.json` says.
    pub meta: Arc<BlockMeta>,
    /// Spans in it.
    pub span_count: u64,
}

impl PreparedBlock {
    /// What is about to be.
    #[must_use]
    pub fn written(&self) -> &WrittenBlock {
        &self.written
    }

    /// What the meta of a block says that stands for others: their times together and their replication
    /// factor. Ingest may have clamped the times, so that one span with a wrong clock does not make
    /// every query open the block; those of the spans would undo it (`blocks.md` 1.1, 6.3).
    pub fn standing_for(mut self, inputs: &[Arc<BlockMeta>]) -> Self {
        let meta = Arc::make_mut(&mut self.written.meta);
        if let Some(first) = inputs.first() {
            meta.replication_factor = first.replication_factor;
            let starts = inputs.iter().map(|input| input.start_unix_nanos);
            meta.start_unix_nanos = starts.min().unwrap_or(meta.start_unix_nanos);
            let ends = inputs.iter().map(|input| input.end_unix_nanos);
            meta.end_unix_nanos = ends.max().unwrap_or(meta.end_unix_nanos);
        }
        self
    }

    /// Whether the file lies in the store as it was written. It may have been taken for the remains of
    /// somebody who is gone.
    ///
    /// # Errors
    /// [`Error::NotWritten`] if it does not; storage errors.
    pub async fn check_data(&self) -> Result<()> {
        let key = self.place.object(path::DATA);
        let found = self.place.store.head(&key).await;
        let found = found.map_err(|error| self.place.failed(&key, &error))?;
        let expected = self.written.meta.size_bytes;
        if found.size != expected {
            let reason = format!("{expected} bytes were written and {} are there", found.size);
            let key = path::object_url(&self.place.store_url, &key);
            return Err(Error::NotWritten { key, reason });
        }
        Ok(())
    }

    /// Makes the block visible.
    ///
    /// # Errors
    /// Storage errors, one of which is that a block of this id exists. The other objects are left
    /// alone then: they may be its.
    pub async fn commit(self) -> Result<WrittenBlock> {
        self.put_meta().await.map(|()| self.written)
    }

    async fn put_meta(&self) -> Result<()> {
        let key = self.place.object(path::META);
        let json = self.written.meta.to_json();
        match self.place.store.put_opts(&key, json.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            // Not every store can tell whether an object is new.
            Err(
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            ) => self.place.put(&key, self.written.meta.to_json(), PutMode::Overwrite).await,
            Err(object_store::Error::AlreadyExists { .. }) => Err(self.place.id_is_taken(&key)),
            Err(error) => Err(self.place.failed(&key, &error)),
        }
    }

    /// Makes several blocks visible, or none: if one cannot be, those before it are taken back.
    /// Whoever reads in between sees some of them.
    ///
    /// # Errors
    /// As [`PreparedBlock::commit`].
    pub async fn commit_all(blocks: Vec<Self>) -> Result<Vec<WrittenBlock>> {
        for (at, block) in blocks.iter().enumerate() {
            let Err(error) = block.put_meta().await else { continue };
            for (n, block) in blocks.into_iter().enumerate() {
                if n < at {
                    // First it disappears, then it goes.
                    drop(block.place.store.delete(&block.place.object(path::META)).await);
                }
                if n != at {
                    block.discard().await;
                }
            }
            return Err(error);
        }
        Ok(blocks.into_iter().map(|block| block.written).collect())
    }

    /// Gives the block up and removes its objects, as far as the store lets us.
    pub async fn discard(self) {
        for key in &self.objects {
            drop(self.place.store.delete(key).await);
        }
    }
}
