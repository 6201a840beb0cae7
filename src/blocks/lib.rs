//! Traces in a bucket: where blocks are, what they hold, how to read them. No DataFusion, no query
//! language.

pub mod analyse;
pub mod bucket;
pub mod compact;
pub mod error;
pub mod import;
pub mod model;
mod protobuf;
pub mod read;
pub mod schema;
pub mod verify;
pub mod wal;
pub mod write;

pub use error::{Error, Result};
