//! Pages: where a scan begins that goes on behind a cursor, and the cursor of where one ended.

use traceql_blocks::model::TraceId;
use traceql_language::TypedQuery;

use super::{Cursor, Position};
use crate::error::{Error, Result};
use crate::scan::spec::{After, ScanSpec};
use crate::select::Selection;

/// Where the last trace of an answer stands, by every order there is.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) unit: u32,
    pub(crate) key: Vec<u8>,
    pub(crate) id: TraceId,
    pub(crate) start_unix_nanos: u64,
}

/// The name of traces in memory among blocks.
const MEMORY: [u8; 16] = [0; 16];

/// Lets a scan begin behind a place. What lies before it is left out unread as far as footers tell.
///
/// # Errors
/// If the block that the place names is no longer there.
pub(crate) fn begin(spec: &mut ScanSpec, selection: &Selection, after: Position) -> Result<()> {
    let (block, id) = match after {
        Position::Keyed { key, id } => {
            let trace_id = id.0.to_vec();
            spec.after = Some(After { trace_id, block: None, key: Some(key) });
            return Ok(());
        }
        // Every trace is looked at, and whoever puts them in order leaves out those shown before.
        Position::Newest { .. } => return Ok(()),
        Position::Found { block, id } => (block, id),
    };
    match selection {
        Selection::Memory(_, traces) if block == MEMORY => {
            let n_shown = traces.partition_point(|trace| trace.id <= id);
            let n_shown = u32::try_from(n_shown).unwrap_or(u32::MAX);
            spec.units.retain(|unit| unit.end_row > n_shown);
            for unit in &mut spec.units {
                unit.first_row = unit.first_row.max(n_shown);
            }
        }
        Selection::Blocks(selected) => {
            let is_named = |block: &[u8; 16], at: usize| {
                selected[at].block.meta.block_id.as_bytes() == block && selected[at].scanned
            };
            let Some(at) = (0..selected.len()).find(|at| is_named(&block, *at)) else {
                return Err(gone());
            };
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            // Rows stand by ascending id, so a row group whose greatest was shown is shown.
            let is_shown = |row_group: u32| {
                let open = selected[at].open.as_ref();
                let bounds = open.and_then(|open| open.trace_id_bounds(row_group as usize));
                bounds.is_some_and(|(_, greatest)| greatest <= id.0)
            };
            spec.units.retain(|unit| {
                unit.block > number || unit.block == number && !is_shown(unit.row_group)
            });
            let trace_id = id.0.to_vec();
            spec.after = Some(After { trace_id, block: Some(number), key: None });
        }
        Selection::Memory(..) => return Err(gone()),
    }
    let n_units = u32::try_from(spec.units.len().max(1)).unwrap_or(u32::MAX);
    spec.n_partitions = spec.n_partitions.min(n_units);
    Ok(())
}

fn gone() -> Error {
    Error::Query(
        "the block in which the page before ended is no longer there (compacted, deleted, or outside \
         the time range): begin again with the first page"
            .to_owned(),
    )
}

/// The cursor of an answer that ended with this trace.
///
/// # Errors
/// None that a query can cause.
pub(crate) fn end(spec: &ScanSpec, query: &TypedQuery, last: Last) -> Result<Cursor> {
    let Last { unit, key, id, start_unix_nanos } = last;
    let position = if !query.order_by.is_empty() {
        Position::Keyed { key, id }
    } else if query.hints.most_recent {
        Position::Newest { start_unix_nanos, id }
    } else {
        let unit = spec.units.get(unit as usize);
        let block = unit.and_then(|unit| spec.blocks.get(unit.block as usize));
        let block = match block {
            Some(block) => block.block_id()?,
            None => MEMORY,
        };
        Position::Found { block, id }
    };
    Ok(Cursor::new(query, position))
}
