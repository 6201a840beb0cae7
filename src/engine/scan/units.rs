//! Cuts blocks into work units, and finds which blocks may hold parts of the same traces.

use std::sync::Arc;

use traceql_blocks::bucket::Block;
use traceql_blocks::read::open::OpenBlock;

use super::spec::WorkUnit;

/// Traces of the first unit of a search that may stop early; later ones double.
const FIRST_ROWS: u32 = 256;

/// Most traces of a unit.
const MAX_ROWS: u32 = 4_096;

/// Spans a unit should hold at most, to bound what is decoded at a time.
const UNIT_SPANS: u64 = 24 << 10;

/// What decoding a span takes at worst: generic attributes with all their levels and codes.
const SPAN_BYTES: u64 = 2 << 10;

/// Spans a unit may hold when so many readers share so much memory.
pub(crate) fn spans_within(memory_bytes: u64, n_readers: u64) -> u64 {
    (memory_bytes / SPAN_BYTES / n_readers.max(1)).clamp(256, UNIT_SPANS)
}

/// Units of blocks, in block and row order; a block that is not open is one. With `early_stop` they
/// start small, so that the first results need few pages.
pub(crate) fn cut(
    blocks: &[(u32, Option<Arc<OpenBlock>>)],
    early_stop: bool,
    unit_spans: u64,
) -> Vec<WorkUnit> {
    let mut units = Vec::new();
    let mut size = if early_stop { FIRST_ROWS } else { MAX_ROWS };
    for (number, block) in blocks {
        let Some(block) = block else {
            units.push(WorkUnit::whole(*number));
            continue;
        };
        for row_group in 0..block.n_row_groups() {
            let n_rows = block.n_rows(row_group);
            let spans_per_row = n_spans(block, row_group) / u64::from(n_rows.max(1)) + 1;
            let most = u32::try_from(unit_spans / spans_per_row).unwrap_or(MAX_ROWS);
            let most = most.clamp(1, MAX_ROWS);
            let mut row = 0;
            while row < n_rows {
                let end = row.saturating_add(size.min(most)).min(n_rows);
                units.push(WorkUnit {
                    block: *number,
                    row_group: u32::try_from(row_group).unwrap_or(u32::MAX),
                    first_row: row,
                    end_row: end,
                });
                row = end;
                // Two units of a size, one for each of two threads, before it doubles.
                if units.len() % 2 == 0 {
                    size = size.saturating_mul(2).min(MAX_ROWS);
                }
            }
        }
    }
    units
}

fn n_spans(block: &OpenBlock, row_group: usize) -> u64 {
    let Some(leaf) = block.schema.leaf("rs.ss.Spans.StatusCode") else { return 0 };
    let chunk = block.metadata().row_group(row_group).column(leaf.index);
    u64::try_from(chunk.num_values()).unwrap_or(0)
}

/// Smallest and greatest trace id of a block.
pub(crate) type IdBounds = ([u8; 16], [u8; 16]);

/// For each block the others that overlap it in time and in trace ids: only those may hold parts of
/// its traces, and of those that show traces apart from each other, none does.
pub(crate) fn companions(blocks: &[(Block, Option<IdBounds>)]) -> Vec<Vec<u32>> {
    let overlap = |a: usize, b: usize| {
        let ((a, a_ids), (b, b_ids)) = (&blocks[a], &blocks[b]);
        let times = a.meta.start_unix_nanos <= b.meta.end_unix_nanos
            && b.meta.start_unix_nanos <= a.meta.end_unix_nanos;
        let ids = match (a_ids, b_ids) {
            (Some((a_min, a_max)), Some((b_min, b_max))) => a_min <= b_max && b_min <= a_max,
            _ => true,
        };
        let apart = a.hidden.is_apart() && b.hidden.is_apart();
        times && ids && !apart && a.meta.tenant == b.meta.tenant
    };
    (0..blocks.len())
        .map(|block| {
            (0..blocks.len())
                .filter(|other| *other != block && overlap(block, *other))
                .filter_map(|other| u32::try_from(other).ok())
                .collect()
        })
        .collect()
}
