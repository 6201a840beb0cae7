//! The trace ids of a block, for finding traces that lie in several blocks.

use std::sync::Arc;

use super::block_batch::BlockBatch;
use super::leaf::{Fault, Window};
use super::mask::Mask;
use super::open::{OpenBlock, ReadContext};
use super::values::ValueRef;
use crate::error::Result;
use crate::model::TraceId;
use crate::schema::Column;

/// All trace ids of a block, ascending. 16 bytes a trace are read.
///
/// # Errors
/// Storage errors; corrupt pages.
pub async fn trace_ids(block: &Arc<OpenBlock>, context: &ReadContext) -> Result<Vec<TraceId>> {
    let mut ids = Vec::new();
    for row_group in 0..block.n_row_groups() {
        let n_rows = block.n_rows(row_group);
        let window = Window::new(Arc::clone(block), row_group, 0..n_rows, context.clone());
        let mut batch = BlockBatch::new(window);
        let all = Mask::all(n_rows as usize);
        let column = loop {
            match batch.flat_column(&Column::TraceId, &all) {
                Ok(column) => break column,
                Err(Fault::Failed(error)) => return Err(error),
                Err(Fault::Missing) => batch.fetch().await?,
            }
        };
        ids.extend((0..n_rows as usize).filter_map(|row| match column.get(row) {
            ValueRef::Bytes(bytes) => Some(TraceId::from_bytes(bytes)),
            _ => None,
        }));
    }
    // Rows are sorted by id; a foreign writer's may not be.
    if !ids.is_sorted() {
        ids.sort_unstable();
    }
    ids.dedup();
    Ok(ids)
}
