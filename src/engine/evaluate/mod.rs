//! Evaluation of a pipeline over batches of whole traces: mask algebra, no joins, no I/O. Decides
//! alone what matches; pruning only spares it work.

mod children;
pub(crate) mod columns;
pub(crate) mod compile;
mod family;
pub(crate) mod field;
pub(crate) mod pipeline;
mod reader;
pub(crate) mod result;
mod structural;
pub(crate) mod value;
