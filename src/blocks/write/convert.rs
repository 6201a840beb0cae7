//! Traces from anywhere into new blocks: of another format, with other dedicated columns, several
//! into one, or out of an OTLP file. Inputs are only read; what happens to them afterwards is the
//! caller's business.
//!
//! No block becomes visible before all of them are written, so that a conversion that fails leaves
//! nothing that a second attempt would double.

use uuid::Uuid;

use super::block::{
    BlockPlace, BlockSettings, BlockWriter, PreparedBlock, WrittenBlock, default_dedicated_columns,
};
use super::otlp;
use crate::bucket::Block;
use crate::bucket::destination::Destination;
use crate::bucket::meta::{DedicatedColumn, FormatVersion};
use crate::bucket::source::Source;
use crate::bucket::tenant::TenantId;
use crate::error::{Error, Result};
use crate::model::trace::TraceFields;
use crate::read::merge::MergedTraces;
use crate::read::open::ReadContext;
use crate::read::rows::StoredTrace;

/// How traces are divided into blocks, and how those are written.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvertSettings {
    /// How each block is written.
    pub block: BlockSettings,
    /// A block ends with the trace that makes its file this large.
    pub max_block_bytes: u64,
    /// Or with this many traces.
    pub max_block_traces: u64,
}

impl ConvertSettings {
    /// Blocks as large as Tempo's own compaction makes them.
    #[must_use]
    pub fn new(block: BlockSettings) -> Self {
        Self { block, max_block_bytes: 100 << 30, max_block_traces: 6_000_000 }
    }
}

/// Where the blocks go.
pub struct Target<'a> {
    /// The bucket or folder.
    pub destination: &'a Destination,
    /// The tenant they will belong to.
    pub tenant: &'a TenantId,
    /// Ids for them: each call a new one.
    pub new_id: &'a mut (dyn FnMut() -> Uuid + Send),
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("destination", &self.destination)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// The dedicated columns that conversion gives blocks unless told otherwise: those of the inputs, if
/// they are of the same format and agree, or else the format's defaults.
#[must_use]
pub fn inherited_dedicated_columns(
    inputs: &[Block],
    version: FormatVersion,
) -> Vec<DedicatedColumn> {
    match inputs.split_first() {
        Some((first, others))
            if first.meta.version == version
                && others.iter().all(|block| {
                    block.meta.version == version
                        && block.meta.dedicated_columns == first.meta.dedicated_columns
                }) =>
        {
            first.meta.dedicated_columns.clone()
        }
        _ => default_dedicated_columns(version),
    }
}

/// Writes the traces of blocks into new blocks. A trace that several of them hold becomes one, a span
/// that they hold twice counts once.
///
/// Memory: some rows of every input, and what one [`BlockWriter`] holds.
///
/// # Errors
/// As [`refuse_source`]. Failures to read and to write.
pub async fn convert_blocks(
    inputs: &[Block],
    settings: &ConvertSettings,
    target: Target<'_>,
    context: &ReadContext,
) -> Result<Vec<WrittenBlock>> {
    refuse_source(inputs, target.destination, target.tenant)?;
    let mut output = Output::new(settings, target);
    let written = async {
        let traces = MergedTraces::open(inputs, context).await?;
        let mut traces = traces.copying_into(output.writer().await?.schema());
        while let Some(row) = traces.next().await? {
            output.writer().await?.write_merged(row).await?;
        }
        Ok(())
    }
    .await;
    output.finish(written).await
}

/// Refuses to write beside the blocks that new ones are made of: readers would have every trace of
/// them twice.
///
/// # Errors
/// [`Error::Usage`] naming the first of the inputs that lies in the destination's tenant.
pub fn refuse_source(inputs: &[Block], destination: &Destination, tenant: &TenantId) -> Result<()> {
    match inputs.iter().find(|block| destination.holds(tenant, block)) {
        None => Ok(()),
        Some(input) => Err(Error::Usage {
            what: "destination",
            value: destination.to_string(),
            reason: format!(
                "block {} of the source lies there, for tenant {tenant}; blocks are not written \
                 beside those they are made of",
                input.meta.block_id
            ),
        }),
    }
}

/// Writes traces in order of their ids, as [`read_traces`] gives them, into new blocks.
///
/// # Errors
/// Failures to write.
pub async fn convert_traces(
    traces: &[StoredTrace],
    settings: &ConvertSettings,
    target: Target<'_>,
) -> Result<Vec<WrittenBlock>> {
    let mut output = Output::new(settings, target);
    let written = async {
        for StoredTrace { trace, fields } in traces {
            output.writer().await?.write_stored(trace, fields).await?;
        }
        Ok(())
    }
    .await;
    output.finish(written).await
}

/// The traces of an OTLP source as blocks take them: by ascending id, no span twice, spans of equal
/// resources and instrumentation scopes together. Which span is the root was decided by the order in
/// which they were sent.
///
/// # Errors
/// Failures to read; [`Error::Memory`] or [`Error::OverLimit`] if they take more than so many bytes.
pub async fn read_traces(source: &Source, limit_bytes: u64) -> Result<Vec<StoredTrace>> {
    let name = source.to_string();
    let bytes = source.read_otlp(limit_bytes).await?;
    let mut traces = otlp::decode_within(bytes, Some(&name), limit_bytes)?;
    traces.sort_by_key(|trace| trace.id);
    let stored = traces.into_iter().map(|mut trace| {
        trace.remove_duplicate_spans();
        let fields = TraceFields::from(&trace.summary());
        trace.merge_equal_resources();
        StoredTrace { trace, fields }
    });
    // A trace without spans is nothing that could be found again.
    Ok(stored.filter(|stored| stored.trace.span_count() > 0).collect())
}

/// The blocks under construction.
struct Output<'s, 't> {
    settings: &'s ConvertSettings,
    target: Target<'t>,
    current: Option<BlockWriter>,
    prepared: Vec<PreparedBlock>,
}

impl<'s, 't> Output<'s, 't> {
    fn new(settings: &'s ConvertSettings, target: Target<'t>) -> Self {
        Self { settings, target, current: None, prepared: Vec::new() }
    }

    /// The writer for the next trace.
    async fn writer(&mut self) -> Result<&mut BlockWriter> {
        let is_full = self.current.as_ref().is_some_and(|writer| {
            writer.n_bytes() >= self.settings.max_block_bytes
                || writer.trace_count() >= self.settings.max_block_traces
        });
        if is_full {
            self.end_block().await?;
        }
        if self.current.is_none() {
            let Target { destination, tenant, new_id } = &mut self.target;
            let store = destination.store();
            let place = BlockPlace {
                store: std::sync::Arc::clone(&store.store),
                store_url: std::sync::Arc::clone(&store.url),
                tenant_folder: destination.tenant_folder(tenant),
                tenant: tenant.clone(),
                block_id: new_id(),
            };
            self.current = Some(BlockWriter::new(place, self.settings.block.clone())?);
        }
        Ok(self.current.as_mut().expect("it was made just now, if not before"))
    }

    async fn end_block(&mut self) -> Result<()> {
        if let Some(writer) = self.current.take() {
            self.prepared.extend(writer.prepare().await?);
        }
        Ok(())
    }

    /// Makes the blocks visible if all went well, and removes them if not.
    async fn finish(mut self, written: Result<()>) -> Result<Vec<WrittenBlock>> {
        let ended = match written {
            Ok(()) => self.end_block().await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            if let Some(writer) = self.current {
                writer.abort().await;
            }
            for prepared in self.prepared {
                prepared.discard().await;
            }
            return Err(error);
        }
        PreparedBlock::commit_all(self.prepared).await
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
