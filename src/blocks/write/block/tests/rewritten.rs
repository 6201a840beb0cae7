//! The frozen blocks, which Tempo wrote, written again by us.

use std::path::PathBuf;

use object_store::ObjectStoreExt as _;

use super::expected::stored;
use super::*;
use crate::bucket::meta::BlockMeta;
use crate::read::fixtures::{all_block_folders, block_in};
use crate::read::library::{LeafValues, Values};
use crate::read::merge::{MergedRow, MergedTraces};
use crate::read::open::OpenBlock;
use crate::read::rows::{RowReader, StoredTrace};
use crate::write::otlp;

async fn stored_traces(block: &Block) -> Vec<StoredTrace> {
    let mut merged = MergedTraces::open(std::slice::from_ref(block), &context()).await.unwrap();
    let mut traces = Vec::new();
    while let Some(MergedRow::Trace(trace)) = merged.next().await.unwrap() {
        traces.push(trace);
    }
    traces
}

/// Writes the rows of a block again, under the settings given.
async fn rewrite(block: &Block, settings: BlockSettings) -> Block {
    let place = place_in(Arc::new(InMemory::new()), &block.meta.tenant);
    let mut writer = BlockWriter::new(place.clone(), settings).unwrap();
    for row in stored_traces(block).await {
        writer.write_stored(&row.trace, &row.fields).await.unwrap();
    }
    block_at(&place, &writer.finish().await.unwrap().unwrap())
}

/// Settings that write the block as it was written.
fn settings_of(meta: &BlockMeta, row_group_bytes: u64) -> BlockSettings {
    let mut settings = BlockSettings::new(meta.version);
    settings.dedicated_columns.clone_from(&meta.dedicated_columns);
    settings.row_group_bytes = row_group_bytes;
    settings.compaction_level = meta.compaction_level;
    if meta.bloom_shards > 1 {
        settings.bloom.shard_bytes = 20;
    }
    settings
}

fn blocks() -> Vec<(PathBuf, Block)> {
    let folders = all_block_folders();
    folders.into_iter().map(|folder| (folder.clone(), block_in(&folder))).collect()
}

async fn check_round_trips(version: FormatVersion) {
    let mut n_traces = 0;
    for (folder, block) in blocks() {
        let originals: Vec<_> = stored_traces(&block).await;
        let row_group_bytes = block.meta.size_bytes / 4;
        let settings = BlockSettings { row_group_bytes, ..BlockSettings::new(version) };
        let ours = rewrite(&block, settings.clone()).await;
        assert!(ours.meta.total_records > 1, "{}", folder.display());
        verify(&ours).await;
        // The shop is large and its traces are plain: one reader will do.
        let found = match block.meta.total_objects {
            0..100 => read_twice(&ours).await,
            _ => read_block(&ours, &context()).await,
        };
        assert_eq!(found.len(), originals.len());
        for (found, original) in found.iter().zip(&originals) {
            assert_eq!(*found, stored(&original.trace, &settings), "{}", folder.display());
        }
        let again = stored_traces(&ours).await;
        assert!(again.iter().map(|t| &t.fields).eq(originals.iter().map(|t| &t.fields)));
        n_traces += found.len();
    }
    assert!(n_traces > 1_500, "{n_traces}");
}

#[tokio::test]
async fn traces_of_every_frozen_block_come_back_through_vparquet5() {
    check_round_trips(FormatVersion::VParquet5).await;
}

#[tokio::test]
async fn traces_of_every_frozen_block_come_back_through_vparquet4() {
    check_round_trips(FormatVersion::VParquet4).await;
}

/// All levels and values of a leaf, in all row groups.
async fn whole_leaves(open: &Arc<OpenBlock>) -> Vec<LeafValues> {
    let mut whole: Vec<LeafValues> = Vec::new();
    for row_group in 0..open.n_row_groups() {
        let mut reader = RowReader::new(open, row_group, &context());
        let leaves = reader.all_leaves(0..open.n_rows(row_group)).await.unwrap();
        if whole.is_empty() {
            whole = leaves;
            continue;
        }
        for (whole, mut more) in whole.iter_mut().zip(leaves) {
            whole.rep.append(&mut more.rep);
            whole.def.append(&mut more.def);
            match (&mut whole.values, more.values) {
                (Values::Bool(whole), Values::Bool(more)) => whole.extend(more),
                (Values::I32(whole), Values::I32(more)) => whole.extend(more),
                (Values::I64(whole), Values::I64(more)) => whole.extend(more),
                (Values::F64(whole), Values::F64(more)) => whole.extend(more),
                (Values::Bytes(whole), Values::Bytes(more)) => {
                    more.iter().for_each(|bytes| whole.push(bytes).unwrap());
                }
                _ => panic!("row groups have one schema"),
            }
        }
    }
    whole
}

/// A block written again with its own settings has, leaf by leaf, the levels and values that Tempo
/// wrote; and the same schema. What Tempo leaves to chance is excepted by name.
#[tokio::test]
async fn a_rewritten_block_has_tempos_levels_and_values() {
    let mut n_leaves = 0;
    for (folder, block) in blocks() {
        if block.meta.version == FormatVersion::VParquet3 {
            continue;
        }
        let ours = rewrite(&block, settings_of(&block.meta, 40_000)).await;
        let theirs = OpenBlock::open(&block, &context()).await.unwrap();
        let ours = OpenBlock::open(&ours, &context()).await.unwrap();
        let schema = |open: &OpenBlock| {
            let mut text = Vec::new();
            let schema = open.metadata().file_metadata().schema_descr().root_schema();
            parquet::schema::printer::print_schema(&mut text, schema);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(schema(&ours), schema(&theirs));
        let (our_leaves, their_leaves) = (whole_leaves(&ours).await, whole_leaves(&theirs).await);
        for ((info, our), their) in ours.schema.leaves().iter().zip(our_leaves).zip(their_leaves) {
            // Counts of rootless traces are what memory happened to hold, entries of a map are in no
            // order.
            let by_chance = info.path.ends_with("ChildCount")
                || block.meta.version == FormatVersion::VParquet4
                    && info.path.starts_with("ServiceStats");
            if by_chance {
                assert_eq!((our.rep, our.def), (their.rep, their.def), "{}", info.path);
            } else {
                assert!(our == their, "{} of {}", info.path, folder.display());
                n_leaves += 1;
            }
        }
    }
    assert!(n_leaves > 800, "{n_leaves}");
}

/// The traces that were sent to Tempo, written by us: the meta says what Tempo's says, as far as
/// bytes and row groups do not come into it.
#[tokio::test]
async fn metas_and_blooms_of_sent_traces_are_tempos() {
    let mut n_blocks = 0;
    for (folder, block) in blocks() {
        let Ok(sent) = std::fs::read(folder.join("traces.otlp.jsonl")) else { continue };
        if block.meta.version == FormatVersion::VParquet3 {
            continue;
        }
        let mut traces = otlp::decode_json(&sent, "sent").unwrap();
        traces.iter_mut().for_each(Trace::merge_equal_resources);
        let settings = settings_of(&block.meta, 60_000);
        let ours = write(&traces, settings.clone()).await;
        verify(&ours).await;
        let found = read_twice(&ours).await;
        for (found, sent) in found.iter().zip(&traces) {
            assert_eq!(*found, stored(sent, &settings));
        }
        let second = |nanos: i64| nanos.div_euclid(1_000_000_000);
        let comparable = |meta: &BlockMeta| BlockMeta {
            block_id: Uuid::nil(),
            tenant: String::new(),
            // Tempo's was flushed from a log of whole seconds.
            start_unix_nanos: second(meta.start_unix_nanos),
            end_unix_nanos: second(meta.end_unix_nanos),
            size_bytes: 0,
            footer_size: 0,
            total_records: 0,
            ..meta.clone()
        };
        assert_eq!(comparable(&ours.meta), comparable(&block.meta), "{}", folder.display());
        for n in 0..block.meta.bloom_shards {
            let name = format!("bloom-{n}");
            let key = path::child(ours.folder.as_ref().unwrap(), &name);
            let shard = ours.store.get(&key).await.unwrap().bytes().await.unwrap();
            assert!(shard == std::fs::read(folder.join(name)).unwrap());
        }
        n_blocks += 1;
    }
    assert!(n_blocks >= 3, "{n_blocks}");
}

/// With as many row groups, a file of ours takes no more bytes than Tempo's.
#[tokio::test]
async fn files_are_no_larger_than_tempos() {
    for (folder, block) in blocks() {
        if block.meta.version == FormatVersion::VParquet3 {
            continue;
        }
        let open = OpenBlock::open(&block, &context()).await.unwrap();
        let n_row_groups = open.n_row_groups();
        let n_bytes: i64 =
            open.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
        let mut row_group_bytes = match n_row_groups {
            1 => u64::MAX,
            n => u64::try_from(n_bytes).unwrap() * 3 / 2 / n as u64,
        };
        let ours = loop {
            let ours = rewrite(&block, settings_of(&block.meta, row_group_bytes)).await;
            if ours.meta.total_records as usize >= n_row_groups {
                break ours;
            }
            row_group_bytes = row_group_bytes / 8 * 7;
        };
        let (ours, theirs) = (ours.meta.size_bytes, block.meta.size_bytes);
        assert!(ours <= theirs, "{ours} of {theirs} bytes, {}", folder.display());
    }
}
