//! A Parquet file of any bytes as the data of a block: opening it, decoding all leaves of all rows
//! and verifying them never panics. The first byte chooses the format version.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use tokio::runtime::{Builder, Runtime};
use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::meta::{BlockMeta, ParsedMeta};
use traceql_blocks::read::open::{BlockCache, ReadContext};
use traceql_blocks::verify::verify_block;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime can be built"));

fuzz_target!(|data: &[u8]| {
    let Some((version, file)) = data.split_first() else { return };
    let metas: [&[u8]; 3] = [
        include_bytes!(
            "../../testdata/blocks/fixtures/vParquet3/synthetic/33333333-0000-4000-8000-000000000001/meta.json"
        ),
        include_bytes!(
            "../../testdata/blocks/fixtures/vParquet4/synthetic/44444444-0000-4000-8000-000000000001/meta.json"
        ),
        include_bytes!(
            "../../testdata/blocks/fixtures/vParquet5/synthetic/55555555-0000-4000-8000-000000000001/meta.json"
        ),
    ];
    let meta = metas[usize::from(*version) % metas.len()];
    let Ok(ParsedMeta::Block(meta)) = BlockMeta::parse("meta.json", meta) else { return };
    let store = Arc::new(InMemory::new());
    let block = Block {
        store: store.clone(),
        store_url: "memory:".into(),
        data: "data.parquet".into(),
        folder: None,
        meta: Arc::new(meta),
        hidden: traceql_blocks::bucket::live::HiddenTraces::default(),
    };
    let context = ReadContext::new(Arc::new(BlockCache::new(1 << 16)));
    RUNTIME.block_on(async {
        let bytes = file.to_vec().into();
        store.put(&block.data, bytes).await.expect("memory takes everything");
        let report = verify_block(&block, &context).await.expect("the store does not fail");
        // Formatting is part of what users see of it.
        report.findings.iter().for_each(|finding| drop(finding.to_string()));
    });
});
