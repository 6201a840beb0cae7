//! The frozen blocks of `testdata/`, for the tests of whatever reads blocks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;

use super::open::{BlockCache, OpenBlock, ReadContext};
use super::rows::RowReader;
use crate::bucket::Block;
use crate::bucket::meta::{BlockMeta, ParsedMeta};
use crate::model::{KeyValue, Trace, TraceId};
use crate::write::otlp;

/// A folder of the test data.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

/// A way to read that shares nothing with other tests.
pub(crate) fn context() -> ReadContext {
    ReadContext::new(Arc::new(BlockCache::new(1 << 20)))
}

/// The block of a folder; one that was compacted away counts as live.
pub(crate) fn block_in(folder: &Path) -> Block {
    let live = folder.join("meta.json");
    let compacted = folder.join("meta.compacted.json");
    let json = std::fs::read(if live.exists() { live } else { compacted }).unwrap();
    let name = folder.display().to_string();
    let ParsedMeta::Block(meta) = BlockMeta::parse(&name, &json).unwrap() else {
        panic!("{name} is of a preview format")
    };
    Block {
        store: Arc::new(LocalFileSystem::new_with_prefix(folder.parent().unwrap()).unwrap()),
        store_url: format!("file://{}", folder.parent().unwrap().display()).into(),
        data: format!("{}/data.parquet", meta.block_id).into(),
        folder: Some(meta.block_id.to_string().into()),
        meta: Arc::new(meta),
        hidden: crate::bucket::live::HiddenTraces::default(),
    }
}

/// Folders of all blocks of the test data, whether live or compacted away.
pub(crate) fn all_block_folders() -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let mut buckets = entries(&testdata("blocks/fixtures"));
    buckets.push(testdata("blocks/shop"));
    let tenants = buckets.iter().flat_map(|bucket| entries(bucket));
    let mut blocks: Vec<_> = tenants.flat_map(|tenant| entries(&tenant)).collect();
    blocks.sort();
    blocks
}

/// All traces of a block in row order.
pub(crate) async fn read_block(block: &Block, context: &ReadContext) -> Vec<Trace> {
    let open = OpenBlock::open(block, context).await.unwrap();
    let mut traces = Vec::new();
    for row_group in 0..open.n_row_groups() {
        let mut reader = RowReader::new(&open, row_group, context);
        for rows in reader.steps() {
            traces.extend(reader.traces(rows).await.unwrap());
        }
    }
    traces
}

/// One line per span with its resource and scope, free of batching and of the order of spans,
/// attributes, events and links: what is compared of two readings of a trace.
pub(crate) fn normal(trace: &Trace) -> Vec<String> {
    fn sort(attributes: &mut [KeyValue]) {
        attributes.sort_by_cached_key(|kv| format!("{kv:?}"));
    }
    let mut lines = Vec::new();
    for place in trace.spans() {
        let mut resource_spans = place.resource_spans.clone();
        let mut scope_spans = place.scope_spans.clone();
        let mut span = place.span.clone();
        sort(&mut resource_spans.resource.attributes);
        sort(&mut scope_spans.scope.attributes);
        sort(&mut span.attributes);
        span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
        span.links.iter_mut().for_each(|link| sort(&mut link.attributes));
        span.events.sort_by_cached_key(|event| format!("{event:?}"));
        span.links.sort_by_cached_key(|link| format!("{link:?}"));
        scope_spans.spans = vec![span];
        resource_spans.scope_spans = vec![scope_spans];
        lines.push(otlp::to_otlp_json(&[Trace {
            id: trace.id,
            resource_spans: vec![resource_spans],
        }]));
    }
    lines.sort();
    lines
}

pub(crate) fn by_id(traces: &[Trace]) -> BTreeMap<TraceId, Vec<String>> {
    traces.iter().map(|trace| (trace.id, normal(trace))).collect()
}
