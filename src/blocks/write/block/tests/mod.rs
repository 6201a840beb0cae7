//! Blocks of ours against the format, against Tempo's own blocks of the same traces, and through both
//! readers.

mod commit;
mod copied;
mod expected;
mod generated;
mod rewritten;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use uuid::Uuid;

use super::*;
use crate::bucket::meta::FormatVersion;
use crate::bucket::tenant::TenantId;
use crate::bucket::{Block, path};
use crate::model::Trace;
use crate::read::fixtures::{context, read_block};
use crate::read::open::ReadContext;
use crate::verify::verify_block;

/// The formats that are written.
const FORMATS: [FormatVersion; 2] = [FormatVersion::VParquet4, FormatVersion::VParquet5];

/// A place of this tenant in a store.
fn place_in(store: Arc<dyn ObjectStore>, tenant: &str) -> BlockPlace {
    BlockPlace {
        store,
        store_url: "memory:".into(),
        tenant_folder: Path::from(tenant),
        tenant: TenantId::parse(tenant).unwrap(),
        block_id: Uuid::from_u128(0x1234_0000_4000_8000_0000_0000_0000_0001),
    }
}

/// The block that was written to a place.
fn block_at(place: &BlockPlace, written: &WrittenBlock) -> Block {
    let folder = place.folder();
    Block {
        store: Arc::clone(&place.store),
        store_url: Arc::clone(&place.store_url),
        data: path::child(&folder, path::DATA),
        folder: Some(folder),
        meta: Arc::clone(&written.meta),
        hidden: crate::bucket::live::HiddenTraces::default(),
    }
}

/// Writes traces, in order of their ids, into a store in memory.
async fn write(traces: &[Trace], settings: BlockSettings) -> Block {
    write_of("t", traces, settings).await
}

/// The same of a tenant: readers tell blocks apart by their URLs.
async fn write_of(tenant: &str, traces: &[Trace], settings: BlockSettings) -> Block {
    let place = place_in(Arc::new(InMemory::new()), tenant);
    let mut writer = BlockWriter::new(place.clone(), settings).unwrap();
    for trace in traces {
        writer.write(trace).await.unwrap();
    }
    let written = writer.finish().await.unwrap().unwrap();
    block_at(&place, &written)
}

/// Reads a block with our decoder and with the library's, which must agree.
async fn read_twice(block: &Block) -> Vec<Trace> {
    let traces = read_block(block, &context()).await;
    let library = ReadContext { library_reader: true, ..context() };
    assert!(traces == read_block(block, &library).await);
    traces
}

/// Fails with the findings if there are any.
async fn verify(block: &Block) {
    let report = verify_block(block, &context()).await.unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}
