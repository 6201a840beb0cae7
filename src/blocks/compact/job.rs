//! Carries out one job: the traces of its blocks into a new one, which then takes their place.
//!
//! Steps, and what a crash after each leaves (`super` says why nothing is lost):
//!
//! 1. the new block's id is noted in the lease: a note;
//! 2. its objects are written, all but `meta.json`: what no reader lists, removed by way of the note;
//! 3. that the inputs are live, the file is there and the lease is ours is looked at once more;
//! 4. `meta.json` is created: new block and inputs side by side;
//! 5. the inputs are marked one after the other: the new block and some of them.

use std::sync::Arc;

use uuid::Uuid;

use super::lease::Lease;
use super::place::TenantPlace;
use super::plan::CompactionJob;
use super::settings::CompactSettings;
use super::{Overtaken, Surroundings};
use crate::bucket::Block;
use crate::error::Result;
use crate::read::merge::MergedTraces;
use crate::read::open::ReadContext;
use crate::write::block::{BlockPlace, BlockSettings, BlockWriter, PreparedBlock, WrittenBlock};

/// Traces between two looks at the clock, the lease and whether to stop.
const TRACES_OF_A_TURN: u64 = 64;

/// What a job works with.
pub(super) struct Work<'a> {
    /// Where.
    pub(super) place: &'a TenantPlace,
    /// How blocks are written.
    pub(super) settings: &'a CompactSettings,
    /// How they are read.
    pub(super) context: &'a ReadContext,
    /// Clock, ids, and whether to stop.
    pub(super) surroundings: &'a Surroundings,
    /// Says that it is our turn; `None` where nobody else takes one.
    pub(super) lease: Option<&'a mut Lease>,
}

/// Why a job goes no further, other than by an error.
pub(super) enum Halt {
    Stopped,
    Overtaken(Overtaken),
}

impl Work<'_> {
    /// Writes the block that takes the place of the job's inputs. It does not exist yet. `None` if they
    /// hold no trace.
    ///
    /// # Errors
    /// Failures to read and to write; nothing is left then, as far as the store lets us.
    pub(super) async fn prepare(
        &mut self,
        job: &CompactionJob,
    ) -> Result<Result<Option<PreparedBlock>, Halt>> {
        if let Some(halt) = self.look(job).await? {
            return Ok(Err(halt));
        }
        let block_id = (self.surroundings.new_id)();
        let now = (self.surroundings.now)();
        if let Some(lease) = &mut self.lease
            && !lease.begin(block_id, job.inputs.iter().map(|m| m.block_id).collect(), now).await?
        {
            lease.end(block_id);
            return Ok(Err(Halt::Overtaken(Overtaken::Lease)));
        }
        let mut writer = BlockWriter::new(self.block_place(block_id), self.block_settings(job))?;
        let prepared = match self.merge(job, &mut writer).await {
            Ok(None) => writer.prepare().await.map(Ok),
            halted => {
                writer.abort().await;
                halted.map(|halt| halt.map_or(Ok(None), Err))
            }
        };
        match prepared {
            Ok(Ok(Some(prepared))) => Ok(Ok(Some(prepared.standing_for(&job.inputs)))),
            none => {
                self.clear(block_id).await;
                none
            }
        }
    }

    /// Makes the block visible, unless somebody else was quicker.
    ///
    /// # Errors
    /// Storage errors. The block may exist nevertheless: then its inputs do too.
    pub(super) async fn commit(
        &mut self,
        job: &CompactionJob,
        prepared: PreparedBlock,
    ) -> Result<Result<WrittenBlock, Halt>> {
        let block_id = prepared.written().meta.block_id;
        let looked = match self.look(job).await {
            Ok(None) => match prepared.check_data().await {
                Ok(()) => self.confirm().await,
                Err(error) => Err(error),
            },
            looked => looked,
        };
        match looked {
            Ok(None) => {}
            halted => {
                prepared.discard().await;
                self.clear(block_id).await;
                return halted.map(|halt| halt.map_or(Err(Halt::Stopped), Err));
            }
        }
        // If this fails it may have happened: the note stays, for the next cycle to look.
        prepared.commit().await.map(Ok)
    }

    /// Marks the inputs, which the new block has replaced. One that fails keeps no other from being
    /// marked, and the lease's note has it done later.
    ///
    /// # Errors
    /// The first failure.
    pub(super) async fn mark_inputs(
        &mut self,
        job: &CompactionJob,
        replaced_by: Option<Uuid>,
    ) -> Result<()> {
        let mut result = Ok(());
        for meta in &job.inputs {
            let marked = self.place.mark(meta.block_id).await;
            result = result.and(marked);
        }
        if let (Ok(()), Some(block_id)) = (&result, replaced_by) {
            self.end(block_id);
        }
        result
    }

    async fn merge(
        &mut self,
        job: &CompactionJob,
        writer: &mut BlockWriter,
    ) -> Result<Option<Halt>> {
        let inputs: Vec<Block> = job.inputs.iter().map(|meta| self.place.block(meta)).collect();
        let traces = MergedTraces::open(&inputs, self.context).await?;
        let mut traces = traces.copying_into(writer.schema());
        while let Some(row) = traces.next().await? {
            writer.write_merged(row).await?;
            if writer.trace_count().is_multiple_of(TRACES_OF_A_TURN) {
                tokio::task::yield_now().await;
                if let Some(halt) = self.turn().await? {
                    return Ok(Some(halt));
                }
            }
        }
        Ok(None)
    }

    /// Whether there is still reason to go on.
    async fn turn(&mut self) -> Result<Option<Halt>> {
        if self.surroundings.is_stopping() {
            return Ok(Some(Halt::Stopped));
        }
        let now = (self.surroundings.now)();
        if let Some(lease) = &mut self.lease
            && !lease.keep(now).await?
        {
            return Ok(Some(Halt::Overtaken(Overtaken::Lease)));
        }
        Ok(None)
    }

    /// Whether the lease is ours by what the store says: clocks may have been set since, and a block
    /// that another compactor makes too is work for both.
    async fn confirm(&mut self) -> Result<Option<Halt>> {
        let now = (self.surroundings.now)();
        if let Some(lease) = &mut self.lease
            && !lease.confirm(now).await?
        {
            return Ok(Some(Halt::Overtaken(Overtaken::Lease)));
        }
        Ok(None)
    }

    /// Whether there is still reason to go on, and whether the inputs are all live: if not, somebody else has replaced them, and a
    /// block of ours would bring their spans back beside his.
    async fn look(&mut self, job: &CompactionJob) -> Result<Option<Halt>> {
        for meta in &job.inputs {
            if !self.place.is_live(meta.block_id).await? {
                return Ok(Some(Halt::Overtaken(Overtaken::Input(meta.block_id))));
            }
        }
        self.turn().await
    }

    /// Removes whatever is left of a block that is not to be; if it cannot, the note stays.
    async fn clear(&mut self, block_id: Uuid) {
        if self.place.delete_objects(block_id).await.is_ok() {
            self.end(block_id);
        }
    }

    fn end(&mut self, block_id: Uuid) {
        if let Some(lease) = &mut self.lease {
            lease.end(block_id);
        }
    }

    fn block_place(&self, block_id: Uuid) -> BlockPlace {
        let store = &self.place.store;
        BlockPlace {
            store: Arc::clone(&store.store),
            store_url: Arc::clone(&store.url),
            tenant_folder: self.place.folder.clone(),
            tenant: self.place.tenant.clone(),
            block_id,
        }
    }

    fn block_settings(&self, job: &CompactionJob) -> BlockSettings {
        let first = job.inputs.first();
        BlockSettings {
            dedicated_columns: first.map(|m| m.dedicated_columns.clone()).unwrap_or_default(),
            row_group_bytes: self.settings.row_group_bytes,
            bloom: self.settings.bloom,
            compaction_level: job.level(),
            ..first.map(|meta| BlockSettings::new(meta.version)).unwrap_or_default()
        }
    }
}
