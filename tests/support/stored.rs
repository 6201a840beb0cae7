//! Traces read back from blocks, whole, for the evaluator to look at. Reads every row of every leaf
//! and prunes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::read::open::{BlockCache, OpenBlock, ReadContext};
use traceql_blocks::read::rows::RowReader;

/// Every trace of a tenant, ascending by id; one that lies in several blocks is combined, one that
/// lies in a single block stays in the order it is stored in.
pub(crate) async fn traces(bucket: &Path, tenant: &str) -> Vec<Trace> {
    let url = bucket.to_str().expect("a readable path");
    let source = Source::open(url, &SourceOptions::default()).await.expect("the bucket opens");
    let tenant = TenantId::parse(tenant).expect("a tenant id");
    let list = source.blocks(&tenant, &BlocklistOptions::default()).await.expect("it has blocks");
    let context = ReadContext::new(Arc::new(BlockCache::new(1 << 20)));
    let mut parts: BTreeMap<TraceId, Vec<Trace>> = BTreeMap::new();
    for block in &list.blocks {
        let open = OpenBlock::open(block, &context).await.expect("the block opens");
        for row_group in 0..open.n_row_groups() {
            let mut reader = RowReader::new(&open, row_group, &context);
            for rows in reader.steps() {
                for trace in reader.traces(rows).await.expect("the rows decode") {
                    parts.entry(trace.id).or_default().push(trace);
                }
            }
        }
    }
    parts
        .into_values()
        .filter_map(|mut parts| if parts.len() == 1 { parts.pop() } else { Trace::combine(parts) })
        .collect()
}
