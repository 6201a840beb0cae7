//! `traceql convert`: traces of a source into new blocks.

use std::sync::Arc;

use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::destination::Destination;
use traceql_blocks::bucket::meta::{DedicatedColumn, FormatVersion};
use traceql_blocks::bucket::source::SourceKind;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::bucket::write_index;
use traceql_blocks::read::open::{BlockCache, ReadContext};
use traceql_blocks::write::block::{BlockSettings, WrittenBlock, check_dedicated_columns};
use traceql_blocks::write::convert::{self, ConvertSettings, Target};
use traceql_engine::{Progress, QueryOptions};
use uuid::Uuid;

use super::whole;
use crate::Success;
use crate::args::OutputFormat;
use crate::error::{Error, Kind, Result};
use crate::output::sheet::{Cell, Column, Sheet, Tone};
use crate::output::to_stdout;
use crate::session::{Session, SessionOptions};
use crate::settings::{self, World};
use crate::supervise::Runtimes;
use crate::units::{format_count, format_size, plural};
use crate::write_args::{ConvertArgs, NewBlockArgs};

/// Bytes of dictionaries kept while blocks are read: each is read once.
const CACHE_BYTES: usize = 16 << 20;
/// Says that there are to be no dedicated columns.
const NO_COLUMNS: &str = "none";

pub(crate) fn run(world: &World, args: &ConvertArgs) -> Result<Success> {
    settings::source(&args.source)?;
    let plan = Plan::new(world, args)?;
    let runtimes = Runtimes::start(settings::threads(None))?;
    let session = SessionOptions::new(world, &args.source, runtimes.io())?;
    let stores = world.source_options(&args.source.stores, runtimes.io())?;
    let context = ReadContext {
        io: Some(runtimes.io().clone()),
        ..ReadContext::new(Arc::new(BlockCache::new(CACHE_BYTES)))
    };
    let out = args.out.clone();
    let work = async move {
        // What cannot be written to is said before anything is read.
        let destination = Destination::open(&out, &stores).await?;
        let session = session.open().await?;
        plan.carry_out(&session, &destination, &context).await
    };
    let ended = runtimes.supervise(&world.terminal, None, &Arc::new(Progress::default()), work);
    runtimes.stop();
    let Converted { blocks, tenant, warnings } = whole(ended)?;
    let format = world.output(args.output.output);
    let mut sheet = sheet(&blocks);
    if format == OutputFormat::Table && sheet.width() > usize::from(world.terminal.width) {
        sheet.fold(&["format", "row_group_count"]);
    }
    to_stdout(|out| {
        if blocks.is_empty() && args.output.output == OutputFormat::Auto {
            return Ok(());
        }
        sheet.write(out, format, &world.terminal)
    })?;
    warnings.iter().for_each(|warning| world.terminal.warn(warning));
    world.terminal.note(&match blocks.len() as u64 {
        0 => "the source has no traces, so there is no block".to_owned(),
        n => format!("{} written for tenant {tenant} in {}", plural(n, "block"), args.out),
    });
    Ok(Success::Answered)
}

/// What new blocks are like, as far as the command line says.
#[derive(Debug)]
pub(crate) struct NewBlocks {
    version: FormatVersion,
    /// `None`: whatever the inputs have.
    dedicated_columns: Option<Vec<DedicatedColumn>>,
    tenant: Option<TenantId>,
}

impl NewBlocks {
    /// Checks the arguments.
    pub(crate) fn new(args: &NewBlockArgs) -> Result<Self> {
        let version = args.format.version();
        let dedicated_columns = match args.dedicated_columns.as_slice() {
            [] => None,
            [none] if none == NO_COLUMNS => Some(Vec::new()),
            columns => {
                Some(columns.iter().map(|column| column.parse()).collect::<Result<Vec<_>, _>>()?)
            }
        };
        if let Some(columns) = &dedicated_columns {
            check_dedicated_columns(version, columns)?;
        }
        let tenant = args.out_tenant.as_deref().map(TenantId::parse).transpose()?;
        Ok(Self { version, dedicated_columns, tenant })
    }

    /// The tenant they belong to, if the traces come from this one.
    pub(crate) fn tenant(&self, from: &TenantId) -> TenantId {
        self.tenant.as_ref().unwrap_or(from).clone()
    }

    /// How to write them, if they are made of these.
    pub(crate) fn settings(&self, inputs: &[Block]) -> BlockSettings {
        let mut settings = BlockSettings::new(self.version);
        settings.dedicated_columns = match &self.dedicated_columns {
            Some(columns) => columns.clone(),
            None => convert::inherited_dedicated_columns(inputs, self.version),
        };
        settings
    }
}

/// What was done.
struct Converted {
    blocks: Vec<WrittenBlock>,
    tenant: TenantId,
    warnings: Vec<String>,
}

/// What to do, as far as the command line says.
struct Plan {
    blocks: NewBlocks,
    row_group_bytes: Option<u64>,
    max_block_bytes: Option<u64>,
    tenant_index: bool,
    memory_bytes: u64,
    now_unix_nanos: i64,
}

impl Plan {
    fn new(world: &World, args: &ConvertArgs) -> Result<Self> {
        let size =
            |option: &str, text: &Option<String>| match settings::size(option, text.as_deref())? {
                Some(0) => Err(Error::new(Kind::Usage, format!("--{option}: 0 holds nothing"))),
                bytes => Ok(bytes.map(|bytes| bytes as u64)),
            };
        let default_memory = QueryOptions::default().memory_bytes;
        Ok(Self {
            blocks: NewBlocks::new(&args.blocks)?,
            row_group_bytes: size("row-group-size", &args.row_group_size)?,
            max_block_bytes: size("max-block-size", &args.max_block_size)?,
            tenant_index: args.tenant_index,
            memory_bytes: settings::memory(args.memory.as_deref())?.unwrap_or(default_memory)
                as u64,
            now_unix_nanos: i64::try_from(world.now_unix_nanos).unwrap_or(i64::MAX),
        })
    }

    async fn carry_out(
        self,
        session: &Session,
        destination: &Destination,
        context: &ReadContext,
    ) -> Result<Converted> {
        let from = session.tenant()?;
        let tenant = self.blocks.tenant(from);
        let (mut new_id, mut warnings) = (Uuid::new_v4, Vec::new());
        let target = Target { destination, tenant: &tenant, new_id: &mut new_id };
        let blocks = if matches!(session.source.kind(), SourceKind::Otlp(_)) {
            let traces = convert::read_traces(&session.source, self.memory_bytes).await?;
            convert::convert_traces(&traces, &self.settings(&[]), target).await?
        } else {
            let options = BlocklistOptions {
                now_unix_nanos: Some(self.now_unix_nanos),
                ..BlocklistOptions::default()
            };
            let list = session.source.blocks(from, &options).await?;
            warnings.extend(list.told().map(ToString::to_string));
            let inputs = list.blocks;
            convert::convert_blocks(&inputs, &self.settings(&inputs), target, context).await?
        };
        // The blocks are there: whoever believed otherwise would write them twice.
        if let Err(error) = self.index(destination, &tenant, &blocks).await {
            warnings.push(format!("the blocks are written, but not the tenant's index: {error}"));
        }
        Ok(Converted { blocks, tenant, warnings })
    }

    /// Brings the tenant's index up to date, if it has one or shall have one.
    async fn index(
        &self,
        destination: &Destination,
        tenant: &TenantId,
        blocks: &[WrittenBlock],
    ) -> Result<(), traceql_blocks::Error> {
        let (store, folder) = (destination.store(), destination.tenant_folder(tenant));
        let wanted = self.tenant_index || write_index::has_tenant_index(store, &folder).await?;
        if wanted && !blocks.is_empty() {
            write_index::write_tenant_index(store, &folder, self.now_unix_nanos).await?;
        }
        Ok(())
    }

    fn settings(&self, inputs: &[Block]) -> ConvertSettings {
        let mut block = self.blocks.settings(inputs);
        // A block that was compacted remains one: its planner need not begin anew.
        let levels = inputs.iter().map(|input| input.meta.compaction_level);
        block.compaction_level = levels.max().unwrap_or(0);
        if let Some(bytes) = self.row_group_bytes {
            block.row_group_bytes = bytes;
        }
        let mut settings = ConvertSettings::new(block);
        if let Some(bytes) = self.max_block_bytes {
            settings.max_block_bytes = bytes;
        }
        settings
    }
}

fn sheet(blocks: &[WrittenBlock]) -> Sheet {
    let columns = vec![
        Column::text("Block", "block_id"),
        Column::text("Format", "format"),
        Column::number("Traces", "trace_count"),
        Column::number("Spans", "span_count"),
        Column::number("Row groups", "row_group_count"),
        Column::number("Size", "size_bytes"),
    ];
    let count = |n: u64| Cell::shown(format_count(n), n);
    let rows = blocks.iter().map(|WrittenBlock { meta, span_count }| {
        vec![
            Cell::text(meta.block_id.to_string()).tone(Tone::Key),
            Cell::text(meta.version.as_str()),
            count(meta.total_objects),
            count(*span_count),
            count(meta.total_records.into()),
            Cell::shown(format_size(meta.size_bytes), meta.size_bytes),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}
