//! Reads blocks. From the bottom up: [`thrift`] headers and indexes, [`encoding`] of levels and
//! values, one [`page`], and the Parquet [`library`]'s own reader for what these leave to it.

// Until the leaf reader above uses all of it.
#![allow(
    dead_code,
    unused_imports,
    reason = "the leaf reader on top of the page decoder is being built"
)]

mod compression;
mod dictionary;
mod encoding;
pub(crate) mod error;
pub(crate) mod library;
pub(crate) mod page;
pub(crate) mod thrift;

#[cfg(test)]
mod tests;
