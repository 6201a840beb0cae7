use std::path::PathBuf;

use super::*;
use crate::read::fixtures::{
    all_block_folders, block_in, by_id, context, normal, read_block, testdata,
};
use crate::write::otlp;

/// Fixture blocks beside which lies what Tempo reads back from them, and those traces.
fn recorded_blocks() -> Vec<(PathBuf, Vec<Trace>)> {
    let record = |folder: PathBuf| {
        let record = std::fs::read(folder.join("readback.otlp.jsonl.gz")).ok()?;
        let traces = otlp::decode(record.into(), Some("readback.otlp.jsonl.gz")).unwrap();
        Some((folder, traces))
    };
    all_block_folders().into_iter().filter_map(record).collect()
}

#[tokio::test]
async fn every_trace_reads_back_as_tempo_recorded() {
    let blocks = recorded_blocks();
    assert_eq!(blocks.len(), 6);
    let n_spans: usize = blocks.iter().flat_map(|(_, t)| t).map(Trace::span_count).sum();
    assert!(n_spans > 3 * 560, "{n_spans}");
    for library_reader in [false, true] {
        for (folder, recorded) in &blocks {
            let context = ReadContext { library_reader, ..context() };
            let read = read_block(&block_in(folder), &context).await;
            let (expect, found) = (by_id(recorded), by_id(&read));
            assert!(expect.keys().eq(found.keys()), "{}", folder.display());
            for (id, lines) in expect {
                assert_eq!(lines, found[&id], "trace {id} of {}", folder.display());
            }
        }
    }
}

#[tokio::test]
async fn every_trace_is_found_by_its_id_and_no_other() {
    for (folder, recorded) in recorded_blocks() {
        let (block, context) = (block_in(&folder), context());
        for trace in &recorded {
            let found = find_in_block(&block, trace.id, &context).await.unwrap();
            assert_eq!(normal(trace), normal(&found.unwrap()), "{} {}", trace.id, folder.display());
            let mut other = trace.id;
            other.0[15] ^= 1;
            let expect = recorded.iter().any(|trace| trace.id == other);
            let found = find_in_block(&block, other, &context).await.unwrap();
            assert_eq!(found.is_some(), expect, "{other} in {}", folder.display());
        }
    }
}

#[tokio::test]
async fn a_trace_in_two_blocks_is_one() {
    for (version, inputs, output) in [
        (
            "vParquet4",
            ["44444444-0000-4000-8000-000000000002", "44444444-0000-4000-8000-000000000003"],
            "259abbf0-fedb-4c88-93a4-b4c147fcbc9f",
        ),
        (
            "vParquet5",
            ["55555555-0000-4000-8000-000000000002", "55555555-0000-4000-8000-000000000003"],
            "190320b4-6596-45f4-b8bb-a3e5a08dfce8",
        ),
    ] {
        let block = |id: &str| {
            block_in(&testdata(&format!("blocks/fixtures/{version}/synthetic-compaction/{id}")))
        };
        let inputs = inputs.map(block);
        let context = context();
        let compacted = read_block(&block(output), &context).await;
        assert_eq!(compacted.len(), 14);
        let mut n_split = 0;
        for trace in compacted {
            let found = find_trace(&inputs, trace.id, &context, |_, error| Err(error))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(normal(&trace), normal(&found), "{version} {}", trace.id);
            let parts = [
                find_in_block(&inputs[0], trace.id, &context).await.unwrap(),
                find_in_block(&inputs[1], trace.id, &context).await.unwrap(),
            ];
            n_split += usize::from(parts.iter().all(Option::is_some));
        }
        assert!(n_split > 0);
    }
}

#[tokio::test]
async fn without_bloom_shards_a_block_cannot_answer() {
    let (folder, recorded) = recorded_blocks().remove(0);
    let copy = tempfile::tempdir().unwrap();
    let block = block_in(&folder);
    let folder_copy = copy.path().join(block.meta.block_id.to_string());
    std::fs::create_dir(&folder_copy).unwrap();
    for object in ["data.parquet", "meta.json"] {
        std::fs::copy(folder.join(object), folder_copy.join(object)).unwrap();
    }
    let error =
        find_in_block(&block_in(&folder_copy), recorded[0].id, &context()).await.unwrap_err();
    assert!(error.to_string().contains("bloom"), "{error}");
    let lone = Block { folder: None, ..block_in(&folder_copy) };
    let found = find_in_block(&lone, recorded[0].id, &context()).await.unwrap();
    assert_eq!(found.unwrap().id, recorded[0].id);
}
