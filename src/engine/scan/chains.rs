//! The units of a partition as chains, several of which may be under way at a time: where a read
//! takes a while, as from an object store, what one chain waits for keeps no other waiting.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::spec::{ScanSpec, WorkUnit};
use crate::error::Result;

/// Units that are run one after the other, with their numbers.
pub(crate) type Chain = Vec<(u32, WorkUnit)>;

/// Units of a chain, if there are several: neighbours share pages and dictionaries.
const UNITS: usize = 4;

/// The chains of a partition, in the order of its units: a single one for a single reader, else
/// neighbours in a row group.
fn chains(spec: &ScanSpec, partition: usize) -> Vec<Chain> {
    let units = spec.units_of(partition);
    if spec.n_readers <= 1 {
        return vec![units];
    }
    units
        .chunk_by(|(_, a), (_, b)| (a.block, a.row_group) == (b.block, b.row_group))
        .flat_map(|of_row_group| of_row_group.chunks(UNITS))
        .map(<[_]>::to_vec)
        .collect()
}

/// Begins the chains of a partition in their order and ends with the last of them, or with the first
/// error. As many are under way as the scan has readers for; if it may stop early there is one at
/// first, and twice as many whenever one has ended and more were wanted, so that little is read that
/// nobody asked for.
///
/// # Errors
/// What a chain fails with.
pub(crate) async fn run_chains<F: Future<Output = Result<()>>>(
    spec: &ScanSpec,
    partition: usize,
    mut run: impl FnMut(Chain) -> F,
) -> Result<()> {
    let n_readers = spec.n_readers.max(1) as usize;
    let mut width = if spec.ordered { 1 } else { n_readers };
    let mut waiting = chains(spec, partition).into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        let room = width.saturating_sub(running.len());
        running.extend(waiting.by_ref().take(room).map(&mut run));
        match running.next().await {
            None => return Ok(()),
            Some(ended) => ended?,
        }
        width = (2 * width).min(n_readers);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::Mutex;

    use super::*;

    fn spec(n_readers: u32, ordered: bool, units: Vec<WorkUnit>) -> ScanSpec {
        ScanSpec { n_readers, ordered, units, n_partitions: 1, ..ScanSpec::default() }
    }

    fn unit(block: u32, row_group: u32, row: u32) -> WorkUnit {
        WorkUnit { block, row_group, first_row: row, end_row: row + 1 }
    }

    #[test]
    fn a_single_reader_has_a_single_chain() {
        let units = vec![unit(0, 0, 0), unit(0, 1, 0), WorkUnit::whole(1)];
        assert_eq!(chains(&spec(1, true, units), 0).len(), 1);
    }

    #[test]
    fn a_chain_is_of_one_row_group_and_short() {
        let mut units: Vec<WorkUnit> = (0..6).map(|row| unit(0, 0, row)).collect();
        units.extend([unit(0, 1, 0), WorkUnit::whole(1), WorkUnit::whole(2)]);
        let lengths: Vec<usize> = chains(&spec(8, true, units), 0).iter().map(Vec::len).collect();
        assert_eq!(lengths, [4, 2, 1, 1, 1]);
    }

    /// The most chains that were under way at a time when each of them ended.
    async fn widths(spec: &ScanSpec) -> Vec<usize> {
        let running = AtomicUsize::new(0);
        let seen = Mutex::new(Vec::new());
        let run = |_chain: Chain| {
            running.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::task::yield_now().await;
                seen.lock().push(running.fetch_sub(1, Ordering::Relaxed));
                Ok(())
            }
        };
        run_chains(spec, 0, run).await.unwrap();
        seen.into_inner()
    }

    #[tokio::test]
    async fn a_scan_that_may_stop_early_starts_slowly() {
        let units: Vec<WorkUnit> = (0..12).map(WorkUnit::whole).collect();
        let slow = widths(&spec(4, true, units.clone())).await;
        assert_eq!((slow.len(), slow[0], slow.iter().max()), (12, 1, Some(&4)));
        let fast = widths(&spec(4, false, units)).await;
        assert_eq!((fast.len(), fast[0]), (12, 4));
    }

    #[tokio::test]
    async fn the_first_error_ends_all() {
        let units = (0..12).map(WorkUnit::whole).collect();
        let begun = AtomicUsize::new(0);
        let run = |chain: Chain| {
            begun.fetch_add(1, Ordering::Relaxed);
            async move {
                match chain[0].0 {
                    1 => Err(crate::Error::Query("no".to_owned())),
                    _ => std::future::pending().await,
                }
            }
        };
        assert!(run_chains(&spec(4, false, units), 0, run).await.is_err());
        assert_eq!(begun.load(Ordering::Relaxed), 4);
    }
}
