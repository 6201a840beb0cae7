//! Writes Tempo blocks of vParquet5 and vParquet4 (`blocks.md`): whole traces in ascending order of
//! their ids go in, the objects of a block come out. Which traces belong into which block, and what
//! happens to the blocks they came from, is not decided here.
//!
//! # Commit protocol
//!
//! *A block exists when its metadata does.* Objects are written in this order, each one whole before
//! the next is begun:
//!
//! 1. `data.parquet`, streamed: one row group at a time leaves the memory;
//! 2. `bloom-0`, `bloom-1` …;
//! 3. `index`, the last id of every row group;
//! 4. `meta.json`, by [`PreparedBlock::commit`].
//!
//! A crash before the last step leaves objects that no reader lists; [`PreparedBlock::discard`] and
//! [`BlockWriter::abort`] remove them where the process lives on. Several blocks that replace others
//! are first all prepared and then committed. No object is ever rewritten.
//!
//! # From the top down
//!
//! [`writer`](BlockWriter) knows objects and their order; `row_group` holds what is not yet in the
//! file; `shred` walks a trace and hands every leaf its levels and values, `attributes` those of
//! attribute lists, by the map of `places`; `leaf` gathers them, or copies those of a row that another
//! block has, and has the Parquet library encode them; `words` are the values of a leaf with a
//! dictionary, whose pages are made by `coded`, with `runs` and `bounds`; `page` puts header and
//! checksum before each page.

mod attributes;
mod bloom;
mod bounds;
mod coded;
mod leaf;
mod page;
mod places;
mod row_group;
mod runs;
mod settings;
mod shred;
#[cfg(test)]
mod tests;
mod words;
mod writer;

pub(crate) use attributes::has_column;
pub use settings::{
    BlockSettings, BloomSettings, check_dedicated_columns, default_dedicated_columns,
};
pub use writer::{BlockPlace, BlockWriter, PreparedBlock, WrittenBlock};
