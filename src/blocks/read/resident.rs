//! Reads of what is in memory: of stores there, and of local files that the system holds, copied at
//! once on the thread that asked. Handing such a read to another thread and waiting for it takes longer
//! than the read. What would have to come from a disk is left to the store, whose threads may wait.

use std::ops::Range;

use bytes::Bytes;
use futures::FutureExt as _;
use object_store::ObjectStore as _;

use crate::bucket::Block;

/// Ranges of a block's Parquet file, if all of them are in memory. `None` says nothing about the
/// file: the store reads it then, and reports what is wrong with it.
pub(super) fn read(block: &Block, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    let store = block.store.to_string();
    if store.starts_with(MEMORY_STORE) {
        return block.store.get_ranges(&block.data, ranges).now_or_never()?.ok();
    }
    match block.store_url.as_ref() == LOCAL_URL && store.starts_with(LOCAL_STORE) {
        true => read_file(block, ranges),
        false => None,
    }
}

#[cfg(target_os = "linux")]
fn read_file(block: &Block, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    let store = object_store::local::LocalFileSystem::new();
    let file = std::fs::File::open(store.path_to_filesystem(&block.data).ok()?).ok()?;
    ranges.iter().map(|range| read_range(&file, range)).collect()
}

/// Other systems have no read that does not wait.
#[cfg(not(target_os = "linux"))]
fn read_file(_block: &Block, _ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    None
}

/// The store of all local files, by URL and by name.
const LOCAL_URL: &str = "file://";
const LOCAL_STORE: &str = "LocalFileSystem";
/// The store of live blocks, by name.
const MEMORY_STORE: &str = "InMemory";

#[cfg(target_os = "linux")]
fn read_range(file: &std::fs::File, range: &Range<u64>) -> Option<Bytes> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
    let mut filled = 0;
    while filled < bytes.len() {
        let room = std::io::IoSliceMut::new(&mut bytes[filled..]);
        match preadv2(file, &mut [room], range.start + filled as u64, ReadWriteFlags::NOWAIT) {
            // The file is shorter than it was said to be.
            Ok(0) => return None,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            // Most of all `AGAIN`: it is on disk.
            Err(_) => return None,
        }
    }
    Some(Bytes::from(bytes))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn ranges_come_as_they_are_in_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        file.write_all(&content).unwrap();
        for range in [0..1, 4_095..4_097, 100..399_000, 399_999..400_000, 7..7] {
            let Some(bytes) = read_range(&file, &range) else {
                continue; // The system need not hold it, nor have such reads.
            };
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
            assert_eq!(bytes, content[start..end], "{range:?}");
        }
        assert_eq!(read_range(&file, &(399_999..400_001)), None, "behind the end");
        #[expect(clippy::reversed_empty_ranges, reason = "it must not be taken for a length")]
        let reversed = 8..7;
        assert_eq!(read_range(&file, &reversed), None);
    }
}
