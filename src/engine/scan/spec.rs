//! What a scan does, as data that can cross a wire: the query's text and options, the blocks, and
//! which rows of them each partition takes. A worker compiles the text again.

use bytes::Bytes;
use object_store::path::Path;
use prost::Message;
use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::live::HiddenTraces;
use traceql_blocks::bucket::meta::{BlockMeta, ParsedMeta};
use traceql_blocks::model::TraceId;
use traceql_language::{Dialect, TypedQuery};

use crate::error::{Error, Result};
use crate::evaluate::compile::{Program, compile_search};
use crate::runtime::Runtime;
use crate::search::top::Place;

/// A scan of a search.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScanSpec {
    /// Version of this message.
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// Canonical text of the query, in the default dialect.
    #[prost(string, tag = "2")]
    pub(crate) query: String,
    /// Unix nanoseconds, both inclusive; both 0 for no range.
    #[prost(uint64, tag = "3")]
    pub(crate) start_unix_nanos: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) end_unix_nanos: u64,
    /// 0 for all.
    #[prost(uint64, tag = "5")]
    pub(crate) spans_per_spanset: u64,
    /// A unit may stop after so many matching traces; 0 for never.
    #[prost(uint64, tag = "6")]
    pub(crate) limit: u64,
    #[prost(bool, tag = "7")]
    pub(crate) pruning: bool,
    #[prost(bool, tag = "8")]
    pub(crate) library_reader: bool,
    #[prost(message, repeated, tag = "9")]
    pub(crate) blocks: Vec<BlockRef>,
    /// In the order that defines "the first N traces".
    #[prost(message, repeated, tag = "10")]
    pub(crate) units: Vec<WorkUnit>,
    /// Units are dealt out by [`partition_of`], unless they need no order: then each partition has
    /// neighbouring units, which share pages.
    #[prost(uint32, tag = "11")]
    pub(crate) n_partitions: u32,
    /// Name of an in-memory source; units are then rows of it.
    #[prost(string, optional, tag = "12")]
    pub(crate) memory_source: Option<String>,
    /// Units are merged in their order, since the first N results are wanted.
    #[prost(bool, tag = "13")]
    pub(crate) ordered: bool,
    /// Of the time range only the start of a trace is judged. Spans are judged by their starts, and
    /// a damaged one may end before it starts.
    #[prost(bool, tag = "14")]
    pub(crate) by_start: bool,
    /// Where the page before ended, if this is not the first.
    #[prost(message, optional, tag = "15")]
    pub(crate) after: Option<After>,
    /// Chains of units that a partition may have under way at a time, so that what one waits for
    /// does not keep the others waiting.
    #[prost(uint32, tag = "16")]
    pub(crate) n_readers: u32,
}

/// The place in the order of a query behind which a page begins.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct After {
    /// The last trace of the page before.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    /// In the order in which traces are found: the block it was found in. There are no units of blocks
    /// before it.
    #[prost(uint32, optional, tag = "2")]
    pub(crate) block: Option<u32>,
    /// In the order of a query: its key.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) key: Option<Vec<u8>>,
}

/// A block by name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BlockRef {
    #[prost(string, tag = "1")]
    pub(crate) store_url: String,
    #[prost(string, tag = "2")]
    pub(crate) data: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) folder: Option<String>,
    /// `meta.json`.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) meta: Vec<u8>,
    /// Other blocks of the list that may hold parts of the same traces.
    #[prost(uint32, repeated, tag = "5")]
    pub(crate) companions: Vec<u32>,
    /// It is scanned; a block beyond the time range only completes traces of others.
    #[prost(bool, tag = "6")]
    pub(crate) scanned: bool,
    /// Ids of traces that another block of the list has whole, 16 bytes each, ascending.
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) hidden: Bytes,
}

/// Trace rows of one row group, or all of a block that was not opened when the plan was made.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct WorkUnit {
    /// Index into the blocks.
    #[prost(uint32, tag = "1")]
    pub(crate) block: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) row_group: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) first_row: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) end_row: u32,
}

/// Version of [`ScanSpec`] written and read. 2: pages, and queries that order their traces. 3: blocks
/// that are opened when their turn comes, several readers in a partition.
pub(crate) const FORMAT: u32 = 3;

impl WorkUnit {
    /// A block as a whole. It is cut where it is opened.
    pub(crate) fn whole(block: u32) -> Self {
        Self { block, row_group: 0, first_row: 0, end_row: 0 }
    }

    /// No unit of a row group is without rows.
    pub(crate) fn is_whole(&self) -> bool {
        self.end_row == 0
    }
}

/// Small units at the start of a search that may stop early: dealt out one by one.
const SMALL_UNITS: usize = 8;

/// Later units that stay together, since neighbours share pages.
const UNITS_TOGETHER: usize = 2;

/// The partition, of `n`, that a unit of an ordered scan belongs to.
pub(crate) fn partition_of(unit: u32, n: usize) -> usize {
    let unit = unit as usize;
    match unit.checked_sub(SMALL_UNITS) {
        None => unit % n,
        Some(later) => later / UNITS_TOGETHER % n,
    }
}

/// The query that a plan holds as text. It was compiled when the plan was made.
pub(crate) fn query_of_plan(text: &str) -> Result<TypedQuery> {
    traceql_language::compile(text, Dialect::Default).map_err(|error| {
        Error::Internal(format!("the query {text:?} of a plan does not compile: {error}"))
    })
}

impl ScanSpec {
    /// The query's pipeline, and what orders its traces, ready to run.
    pub(crate) fn program(&self) -> Result<Program> {
        compile_search(&query_of_plan(&self.query)?)
    }

    /// Traces of a block up to this id were shown by the page before.
    pub(crate) fn shown_of(&self, block: u32) -> Option<TraceId> {
        let after = self.after.as_ref().filter(|after| after.block == Some(block))?;
        Some(TraceId::from_bytes(&after.trace_id))
    }

    /// The place in the order of the query behind which the page begins.
    pub(crate) fn after_place(&self) -> Option<Place> {
        let after = self.after.as_ref()?;
        Some((after.key.clone()?, TraceId::from_bytes(&after.trace_id)))
    }

    pub(crate) fn time_range(&self) -> Option<(u64, u64)> {
        (self.start_unix_nanos != 0 || self.end_unix_nanos != 0)
            .then_some((self.start_unix_nanos, self.end_unix_nanos))
    }

    /// Units of a partition with their numbers.
    pub(crate) fn units_of(&self, partition: usize) -> Vec<(u32, WorkUnit)> {
        let n = self.n_partitions.max(1) as usize;
        let units = (0_u32..).zip(self.units.iter().copied());
        if self.ordered {
            return units.filter(|(unit, _)| partition_of(*unit, n) == partition).collect();
        }
        let (start, end) =
            (self.units.len() * partition / n, self.units.len() * (partition + 1) / n);
        units.skip(start).take(end - start).collect()
    }
}

impl BlockRef {
    pub(crate) fn new(block: &Block, companions: Vec<u32>, scanned: bool) -> Self {
        Self {
            store_url: block.store_url.to_string(),
            data: block.data.to_string(),
            folder: block.folder.as_ref().map(ToString::to_string),
            meta: block.meta.to_json(),
            companions,
            scanned,
            hidden: block.hidden.as_bytes().clone(),
        }
    }

    fn parsed_meta(&self) -> Result<BlockMeta> {
        match BlockMeta::parse(&self.data, &self.meta)? {
            ParsedMeta::Block(meta) => Ok(meta),
            _ => {
                Err(Error::Internal(format!("unusable meta.json of block {} in a plan", self.data)))
            }
        }
    }

    /// The block's id.
    pub(crate) fn block_id(&self) -> Result<[u8; 16]> {
        Ok(self.parsed_meta()?.block_id.into_bytes())
    }

    /// The block, in a store of this process.
    pub(crate) fn open(&self, runtime: &Runtime) -> Result<Block> {
        let bad = |what: &str| Error::Internal(format!("{what} of block {} in a plan", self.data));
        let meta = self.parsed_meta()?;
        Ok(Block {
            store: runtime.store(&self.store_url)?,
            store_url: self.store_url.as_str().into(),
            data: Path::parse(&self.data).map_err(|_| bad("bad key"))?,
            folder: match &self.folder {
                Some(folder) => Some(Path::parse(folder).map_err(|_| bad("bad folder"))?),
                None => None,
            },
            meta: meta.into(),
            hidden: HiddenTraces::from_bytes(self.hidden.clone()),
        })
    }
}
