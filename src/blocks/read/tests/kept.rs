//! What caches keep of a block whose objects are gone.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::super::fixtures::{all_block_folders, block_in, context, read_block};
use super::super::open::OpenBlock;
use crate::bucket::Block;

#[tokio::test]
async fn an_open_block_holds_no_bytes_of_a_store_in_memory() {
    let on_disk = block_in(all_block_folders().last().unwrap());
    let bytes = on_disk.store.get(&on_disk.data).await.unwrap().bytes().await.unwrap();
    let store = Arc::new(InMemory::new());
    store.put(&on_disk.data, bytes.into()).await.unwrap();
    let block = Block {
        store: Arc::clone(&store) as Arc<dyn ObjectStore>,
        store_url: "memory:".into(),
        ..on_disk
    };
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
