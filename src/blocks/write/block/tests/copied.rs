//! Rows that are copied from block to block leaf by leaf, held against the same rows taken apart and
//! written anew: that both give the same file is the whole of the rule (`read::copyable`).

use std::collections::BTreeMap;

use object_store::ObjectStoreExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::generated::{settings, traces};
use super::*;
use crate::model::{AttributeValue, KeyValue};
use crate::read::copyable::CopyRules;
use crate::read::fixtures::{all_block_folders, block_in};
use crate::read::library::{LeafValues, Values};
use crate::read::materialize::Rows;
use crate::read::merge::{MergedRow, MergedTraces};
use crate::read::open::OpenBlock;
use crate::read::rows::{RowReader, StoredTrace};
use crate::read::step::Step;
use crate::schema::LeafInfo;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Generated values, the same each time.
fn runner() -> TestRunner {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Gives every attribute a value, and a key that has no column of its own: a value that such a column
/// cannot hold keeps a row from being copied, as having none does, and generated traces are full of both.
fn with_plain_attributes(mut traces: Vec<Trace>) -> Vec<Trace> {
    fn rename(attributes: &mut Vec<KeyValue>) {
        attributes.retain(|attribute| match &attribute.value {
            AttributeValue::Unset => false,
            AttributeValue::Array(elements) => !elements.is_empty(),
            _ => true,
        });
        attributes.iter_mut().for_each(|attribute| attribute.key.push('!'));
    }
    for resource_spans in traces.iter_mut().flat_map(|trace| &mut trace.resource_spans) {
        rename(&mut resource_spans.resource.attributes);
        for scope_spans in &mut resource_spans.scope_spans {
            rename(&mut scope_spans.scope.attributes);
            for span in &mut scope_spans.spans {
                rename(&mut span.attributes);
                span.events.iter_mut().for_each(|event| rename(&mut event.attributes));
                span.links.iter_mut().for_each(|link| rename(&mut link.attributes));
            }
        }
    }
    traces
}

/// Generated traces, from so many sets: every other time without what keeps their rows from being copied.
fn sent(runner: &mut TestRunner, case: usize, n_sets: usize) -> Vec<Trace> {
    let mut all = BTreeMap::new();
    for _ in 0..n_sets {
        let sent = traces().new_tree(runner).unwrap().current();
        all.extend(sent.into_iter().map(|trace| (trace.id, trace)));
    }
    let all: Vec<Trace> = all.into_values().collect();
    let full = without_the_empty(all.clone());
    if case.is_multiple_of(2) || full.is_empty() { all } else { with_plain_attributes(full) }
}

/// What has no spans is left out: rows of a step that holds such a thing are all taken apart.
fn without_the_empty(mut traces: Vec<Trace>) -> Vec<Trace> {
    for trace in &mut traces {
        for resource_spans in &mut trace.resource_spans {
            resource_spans.scope_spans.retain(|scope_spans| !scope_spans.spans.is_empty());
        }
        trace.resource_spans.retain(|resource_spans| !resource_spans.scope_spans.is_empty());
    }
    traces.retain(|trace| !trace.resource_spans.is_empty());
    traces
}

/// Writes the traces of some blocks into one, and counts the rows that were copied.
async fn merge(blocks: &[Block], settings: &BlockSettings, copies: bool) -> (Block, usize) {
    let place = place_in(Arc::new(InMemory::new()), "t");
    let mut writer = BlockWriter::new(place.clone(), settings.clone()).unwrap();
    let mut merged = MergedTraces::open(blocks, &context()).await.unwrap();
    if copies {
        merged = merged.copying_into(writer.schema());
    }
    let mut n_copied = 0;
    while let Some(row) = merged.next().await.unwrap() {
        n_copied += usize::from(matches!(row, MergedRow::Row(_)));
        writer.write_merged(row).await.unwrap();
    }
    (block_at(&place, &writer.finish().await.unwrap().unwrap()), n_copied)
}

async fn file(block: &Block) -> Vec<u8> {
    block.store.get(&block.data).await.unwrap().bytes().await.unwrap().to_vec()
}

/// Merges with and without copying; the blocks must be the same, byte by byte.
async fn check_merge(blocks: &[Block], settings: &BlockSettings) -> (usize, usize) {
    let (copied, n_copied) = merge(blocks, settings, true).await;
    let (anew, none) = merge(blocks, settings, false).await;
    assert_eq!(none, 0);
    assert_eq!(copied.meta, anew.meta);
    assert!(file(&copied).await == file(&anew).await);
    (n_copied, usize::try_from(copied.meta.total_objects).unwrap())
}

#[test]
fn copied_rows_are_written_as_rows_taken_apart() {
    let mut runner = runner();
    let (mut n_copied, mut n_rows) = (0, 0);
    for case in 0..96 {
        // The last row of a block is never copied, so there are to be some more.
        let sent = sent(&mut runner, case, 4);
        let settings = settings().new_tree(&mut runner).unwrap().current();
        // The last row of a row group waits for the next one, as a trace.
        let mut of_inputs = settings.clone();
        if !case.is_multiple_of(4) {
            of_inputs.row_group_bytes = u64::MAX;
        }
        // Each trace goes into some of three blocks: all seven choices come up.
        let is_in = |at: usize, n: usize| ((at + case) % 7 + 1) >> n & 1 == 1;
        run(async {
            let mut blocks = Vec::new();
            for n in 0..3 {
                let of_block = sent.iter().enumerate().filter(|(at, _)| is_in(*at, n));
                let of_block: Vec<Trace> = of_block.map(|(_, trace)| trace.clone()).collect();
                if !of_block.is_empty() {
                    let tenant = format!("t{n}");
                    blocks.push(write_of(&tenant, &of_block, of_inputs.clone()).await);
                }
            }
            let (copied, rows) = check_merge(&blocks, &settings).await;
            n_copied += copied;
            n_rows += rows;
        });
    }
    // Of seven choices of blocks three are of one alone.
    assert!(n_copied > n_rows / 10 && n_rows > 150, "{n_copied} of {n_rows}");
}

#[tokio::test]
async fn blocks_of_tempo_are_copied_as_they_are_taken_apart() {
    let (mut n_copied, mut n_rows) = (0, 0);
    for folder in all_block_folders() {
        let block = block_in(&folder);
        if block.meta.version == FormatVersion::VParquet3 {
            continue;
        }
        let mut settings = BlockSettings::new(block.meta.version);
        settings.dedicated_columns.clone_from(&block.meta.dedicated_columns);
        settings.row_group_bytes = 100_000;
        let (copied, n_copied_here) = merge(std::slice::from_ref(&block), &settings, true).await;
        verify(&copied).await;
        let (anew, _) = merge(std::slice::from_ref(&block), &settings, false).await;
        assert_eq!(copied.meta.total_objects, anew.meta.total_objects);
        assert!(read_twice(&copied).await == read_twice(&anew).await);
        // Their maps are in no order, and copied so.
        if block.meta.version == FormatVersion::VParquet5 {
            assert!(file(&copied).await == file(&anew).await, "{}", folder.display());
        }
        n_copied += n_copied_here;
        n_rows += usize::try_from(copied.meta.total_objects).unwrap();
    }
    // The others have JSON of Tempo's spelling, or values that their key's column cannot hold.
    assert!(n_copied * 10 > n_rows * 8 && n_rows > 1_000, "{n_copied} of {n_rows}");
}

/// Other dedicated columns make other leaves, and another version does.
#[tokio::test]
async fn nothing_is_copied_into_a_block_laid_out_otherwise() {
    let folder =
        all_block_folders().into_iter().find(|folder| folder.to_string_lossy().contains("shop5"));
    let block = block_in(&folder.unwrap());
    let mut other = BlockSettings::new(FormatVersion::VParquet5);
    other.dedicated_columns = vec!["span.other".parse().unwrap()];
    for settings in [other, BlockSettings::new(FormatVersion::VParquet4)] {
        let (ours, n_copied) = merge(std::slice::from_ref(&block), &settings, true).await;
        assert_eq!(n_copied, 0);
        verify(&ours).await;
    }
}

/// All leaves of the first row group, their strings decoded.
async fn leaves_of(block: &Block) -> (Arc<OpenBlock>, Vec<LeafValues>) {
    let open = OpenBlock::open(block, &context()).await.unwrap();
    let mut reader = RowReader::new(&open, 0, &context());
    let leaves = reader.all_leaves(0..open.n_rows(0)).await.unwrap();
    (open, leaves)
}

/// Damages an entry of a leaf, in levels or value.
fn damage(leaf: &mut LeafValues, info: &LeafInfo, entry: usize, how: u8, n_rows: usize) -> bool {
    let value = leaf.def[..entry].iter().filter(|def| **def == info.max_def).count();
    match how {
        0 => leaf.def[entry] = leaf.def[entry].saturating_sub(1),
        1 => leaf.def[entry] += 1,
        2 => leaf.rep[entry] = leaf.rep[entry].saturating_sub(1),
        3 => leaf.rep[entry] += 1,
        4 => {
            leaf.rep.remove(entry);
            leaf.def.remove(entry);
        }
        5 => {
            leaf.rep.insert(entry, leaf.rep[entry]);
            leaf.def.insert(entry, leaf.def[entry]);
        }
        _ if leaf.def[entry] == info.max_def => match &mut leaf.values {
            Values::Bool(values) => values[value] = !values[value],
            Values::I32(values) => values[value] ^= 1,
            Values::I64(values) => values[value] ^= if how == 6 { 1 } else { 1 << 40 },
            Values::F64(values) => values[value] = 0.5,
            Values::Bytes(values) => {
                let changed = values.iter().enumerate().map(|(at, text)| match text {
                    _ if at != value => text.to_vec(),
                    [] => b"x".to_vec(),
                    _ if how == 6 => text[1..].to_vec(),
                    _ => b"\xff".to_vec(),
                });
                *values = changed.collect();
            }
            Values::Coded(..) => unreachable!("strings are decoded"),
        },
        _ => return false,
    }
    // What no reader of pages lets pass.
    let n_values = leaf.def.iter().filter(|def| **def == info.max_def).count();
    match &mut leaf.values {
        Values::Bool(values) => values.resize(n_values, true),
        Values::I32(values) => values.resize(n_values, 7),
        Values::I64(values) => values.resize(n_values, 7),
        Values::F64(values) => values.resize(n_values, 7.0),
        Values::Bytes(values) => {
            let mut all: Vec<Vec<u8>> = values.iter().map(<[u8]>::to_vec).collect();
            all.resize(n_values, b"7".to_vec());
            *values = all.into_iter().collect();
        }
        Values::Coded(..) => unreachable!("strings are decoded"),
    }
    leaf.rep.first() == Some(&0)
        && leaf.rep.iter().filter(|rep| **rep == 0).count() == n_rows
        && leaf.rep.iter().all(|rep| *rep <= info.max_rep)
        && leaf.def.iter().all(|def| *def <= info.max_def)
}

/// Whatever one leaf of a block says that it should not: rows that are copied nevertheless are those
/// which would be written in just that way.
#[test]
fn no_damage_is_copied_that_rewriting_would_not_leave() {
    let mut runner = runner();
    let (mut n_copied, mut n_refused) = (0, 0);
    for case in 0..400 {
        let sent = sent(&mut runner, case, 1);
        let mut settings = settings().new_tree(&mut runner).unwrap().current();
        settings.row_group_bytes = u64::MAX;
        let (leaf, entry, how) =
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8)
                .new_tree(&mut runner)
                .unwrap()
                .current();
        run(async {
            let block = write(&sent, settings.clone()).await;
            let (open, mut leaves) = leaves_of(&block).await;
            let infos = open.schema.leaves();
            let at = leaf.index(leaves.len());
            let entry = entry.index(leaves[at].rep.len());
            if !damage(&mut leaves[at], &infos[at], entry, how, sent.len()) {
                return;
            }
            let step = Step::new(leaves, infos, sent.len());
            let mut rules = CopyRules::new(&open.schema, &open.schema).unwrap();
            for (row, facts) in rules.look(&step).into_iter().enumerate() {
                if facts.is_none() {
                    n_refused += 1;
                    continue;
                }
                n_copied += 1;
                let what = || format!("{how} of entry {entry} in {}", infos[at].path);
                let leaves = step.select(&[row], "damaged").unwrap();
                let rows = Rows::new(&open.schema, "damaged", 1, leaves.clone()).unwrap();
                let stored = StoredTrace::of_rows(&rows).unwrap();
                let place = place_in(Arc::new(InMemory::new()), "t");
                let mut writer = BlockWriter::new(place.clone(), settings.clone()).unwrap();
                writer.write_stored(&stored[0].trace, &stored[0].fields).await.unwrap();
                let anew = block_at(&place, &writer.finish().await.unwrap().unwrap());
                let (_, anew) = leaves_of(&anew).await;
                for ((anew, copied), info) in anew.iter().zip(&leaves).zip(infos) {
                    assert!(anew == copied, "{}, {}: {anew:?} {copied:?}", info.path, what());
                }
            }
        });
    }
    assert!(n_copied > 100 && n_refused > 400, "{n_copied} copied, {n_refused} refused");
}
