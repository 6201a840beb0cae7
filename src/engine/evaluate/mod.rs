//! Evaluation of a pipeline over batches of whole traces: mask algebra, no joins, no I/O. Decides
//! alone what matches; pruning only spares it work.

mod aggregate;
mod by;
mod children;
pub(crate) mod columns;
pub(crate) mod compile;
pub(crate) mod distinct;
mod family;
pub(crate) mod field;
pub(crate) mod order;
pub(crate) mod pipeline;
mod program;
mod reader;
pub(crate) mod result;
mod structural;
pub(crate) mod value;
mod verdict;
