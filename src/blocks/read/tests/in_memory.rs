//! Blocks of a store in memory, as live ones are.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::super::fixtures::{all_block_folders, block_in, context, read_block};
use super::super::open::{OpenBlock, ReadContext};
use crate::bucket::Block;

/// A frozen block's data in memory.
async fn in_memory() -> (Arc<InMemory>, Block) {
    let on_disk = block_in(all_block_folders().last().unwrap());
    let bytes = on_disk.store.get(&on_disk.data).await.unwrap().bytes().await.unwrap();
    let store = Arc::new(InMemory::new());
    store.put(&on_disk.data, bytes.into()).await.unwrap();
    let block = Block {
        store: Arc::clone(&store) as Arc<dyn ObjectStore>,
        store_url: "memory:".into(),
        ..on_disk
    };
    (store, block)
}

#[tokio::test]
async fn what_is_kept_of_a_block_holds_none_of_its_bytes() {
    let (store, block) = in_memory().await;
    let context = context();
    let open = OpenBlock::open(&block, &context).await.unwrap();
    let traces = read_block(&block, &context).await;
    assert!(!traces.is_empty());
    let object = store.get(&block.data).await.unwrap().bytes().await.unwrap();
    store.delete(&block.data).await.unwrap();
    // Footers, page locations and dictionaries are kept, and may be for a long time.
    assert!(object.is_unique(), "something of the object is kept");
    drop((open, context));
}

#[tokio::test]
async fn nothing_is_handed_to_another_runtime() {
    let (store, block) = in_memory().await;
    let gone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = ReadContext { io: Some(gone.handle().clone()), ..context() };
    gone.shutdown_background();
    assert!(!read_block(&block, &context).await.is_empty());
    // What is not there is still told by the store, for which a runtime is needed.
    store.delete(&block.data).await.unwrap();
    let fresh = ReadContext { io: context.io, ..super::super::fixtures::context() };
    OpenBlock::open(&block, &fresh).await.unwrap_err();
}
