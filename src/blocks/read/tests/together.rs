//! Readers that want the same at the same time, as those of several units of a row group do, and
//! queries of one dashboard: it is fetched once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use uuid::Uuid;

use super::super::fixtures::{all_block_folders, block_in, context, read_block};
use super::super::open::{BlockCache, OpenBlock, ReadContext};
use crate::bucket::counting::{CountingStore, IoCounters};
use crate::bucket::live::HiddenTraces;
use crate::bucket::tenant::TenantId;
use crate::bucket::{Block, path};
use crate::write::block::{BlockPlace, BlockSettings, BlockWriter};

const READERS: usize = 8;

/// A block whose reads take a while, and what is read of it.
async fn slow_block() -> (Block, Arc<IoCounters>) {
    let traces = read_block(&block_in(all_block_folders().last().unwrap()), &context()).await;
    let memory = InMemory::new();
    let place = BlockPlace {
        store: Arc::new(memory.clone()),
        store_url: "memory:".into(),
        tenant_folder: "t".into(),
        tenant: TenantId::parse("t").unwrap(),
        block_id: Uuid::from_u128(0x1234_0000_4000_8000_0000_0000_0000_0001),
    };
    // So many row groups that the page locations of the first lie far from the footer.
    let settings = BlockSettings { row_group_bytes: 2_000, ..BlockSettings::default() };
    let mut writer = BlockWriter::new(place.clone(), settings).unwrap();
    for trace in &traces {
        writer.write(trace).await.unwrap();
    }
    let meta = writer.finish().await.unwrap().unwrap().meta;
    let wait_get_per_call = Duration::from_millis(5);
    let config = ThrottleConfig { wait_get_per_call, ..ThrottleConfig::default() };
    let slow: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(memory, config));
    let counters = Arc::<IoCounters>::default();
    let folder = place.folder();
    let block = Block {
        store: Arc::new(CountingStore::new(slow, Arc::clone(&counters))),
        store_url: place.store_url,
        data: path::child(&folder, path::DATA),
        folder: Some(folder),
        meta,
        hidden: HiddenTraces::default(),
    };
    (block, counters)
}

/// Requests for a footer, for page locations and for dictionaries, by so many readers that know
/// nothing yet and share a cache of this size.
async fn requests(n_readers: usize, cache_bytes: usize) -> [u64; 3] {
    let (block, counters) = slow_block().await;
    let context = ReadContext::new(Arc::new(BlockCache::new(cache_bytes)));
    let (mut made, mut before) = ([0; 3], 0);
    let mut since = || {
        let now = counters.stats().requests();
        now - std::mem::replace(&mut before, now)
    };
    let opened = join_all((0..n_readers).map(|_| OpenBlock::open(&block, &context))).await;
    let opened: Vec<Arc<OpenBlock>> = opened.into_iter().collect::<Result<_, _>>().unwrap();
    assert!(opened.iter().all(|open| Arc::ptr_eq(open, &opened[0])));
    made[0] = since();
    let leaves: Vec<usize> = (0..opened[0].schema.leaves().len()).collect();
    let load = |open| OpenBlock::load_page_locations(open, 0, &leaves, &context);
    for loaded in join_all(opened.iter().map(AsRef::as_ref).map(load)).await {
        loaded.unwrap();
    }
    assert!(leaves.iter().all(|leaf| opened[0].known_locations(0, *leaf).is_some()));
    made[1] = since();
    let load = |open| OpenBlock::load_tables(open, 0, &leaves, &context);
    let tables: Vec<_> = join_all(opened.iter().map(AsRef::as_ref).map(load)).await;
    let n_tables = tables.iter().map(|tables| tables.as_ref().unwrap().len());
    let n_expected =
        leaves.iter().filter(|leaf| opened[0].dictionary_range(0, **leaf).unwrap().is_some());
    let n_expected = n_expected.count();
    assert!(n_expected > 0 && n_tables.into_iter().all(|n_tables| n_tables == n_expected));
    made[2] = since();
    made
}

#[tokio::test]
async fn many_readers_fetch_what_one_does() {
    // Whether the cache has room or not.
    for cache_bytes in [16 << 20, 0] {
        let alone = requests(1, cache_bytes).await;
        assert!(alone.iter().all(|n| *n > 0), "{alone:?}");
        assert_eq!(requests(READERS, cache_bytes).await, alone, "{cache_bytes} bytes");
    }
}
