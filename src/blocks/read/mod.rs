//! Reads blocks. From the bottom up: `thrift` headers and indexes, `encoding` of levels and
//! values, one `page` (or the Parquet `library`'s own reader for what these leave to it); a
//! block's footer, page locations and dictionaries in [`open`]; the pages of a window of trace rows
//! in [`leaf`]; and whole traces as columns in [`block_batch`], behind the trait of [`batch`]. What
//! needs all of a trace goes another way up from there: whole rows in [`rows`], traces of the model
//! in `materialize`, trace by id in [`find`].

mod attribute;
mod attribute_lists;
pub mod batch;
pub mod block_batch;
mod compression;
mod context;
pub(crate) mod copyable;
mod counts;
mod dictionary;
pub mod digest;
pub(crate) mod encoding;
pub(crate) mod error;
mod every_attribute;
mod facts;
pub mod find;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod leaf;
pub(crate) mod library;
mod locate;
pub mod mask;
pub(crate) mod materialize;
mod memo;
pub mod memory;
pub mod merge;
pub mod open;
mod own_column;
pub(crate) mod page;
mod page_values;
pub mod predicate;
mod resident;
pub mod rows;
mod shared;
pub(crate) mod step;
pub mod structure;
pub(crate) mod thrift;
mod v3;
pub mod values;
mod walk;

#[cfg(test)]
mod tests;
