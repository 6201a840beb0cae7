//! The plan of compactions: examples of each rule, and what holds for any blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::plan::{CompactionJob, LeftOut, plan_compaction};
use super::super::settings::CompactionSettings;
use super::*;

fn plan(blocks: &[LiveBlock], settings: &CompactionSettings) -> Vec<Vec<u128>> {
    plan_compaction(blocks, settings, NOW).jobs.iter().map(|job| ids(&job.inputs)).collect()
}

fn with(mut block: LiveBlock, edit: impl FnOnce(&mut BlockMeta)) -> LiveBlock {
    edit(Arc::make_mut(&mut block.meta));
    block
}

#[test]
fn blocks_of_one_window_are_put_together() {
    let blocks = [block(1, 0), block(2, 1), block(3, 0), block(4, 1), block(5, 2)];
    assert_eq!(plan(&blocks, &CompactionSettings::default()), [[1, 3], [2, 4]]);
    let jobs = plan_compaction(&blocks, &CompactionSettings::default(), NOW).jobs;
    let starts: Vec<i64> = jobs.iter().map(|job| job.window_start_unix_seconds).collect();
    assert_eq!(starts, [(NOW - HOUR) / 1_000_000_000, (NOW - 2 * HOUR) / 1_000_000_000]);
    assert_eq!((jobs[0].level(), jobs[0].trace_count(), jobs[0].size_bytes()), (1, 200, 20_000));
    // A longer window holds more of them; a block alone is left alone.
    let settings =
        CompactionSettings { window: Duration::from_secs(6 * 3600), ..Default::default() };
    assert_eq!(plan(&blocks, &settings), [vec![1, 3, 2, 4]]);
    assert_eq!(plan(&blocks[..1], &settings), [[0_u128; 0]; 0]);
}

#[test]
fn of_the_last_day_only_blocks_of_one_level_are() {
    let level = |block, level| with(block, |meta| meta.compaction_level = level);
    let recent = [
        level(block(1, 3), 0),
        level(block(2, 3), 1),
        level(block(3, 3), 0),
        level(block(4, 3), 1),
        level(block(5, 3), 10),
    ];
    assert_eq!(plan(&recent, &CompactionSettings::default()), [[1, 3], [2, 4]]);
    let older: Vec<_> = recent
        .iter()
        .map(|block| with(block.clone(), |meta| meta.end_unix_nanos -= 48 * HOUR))
        .collect();
    // Lower levels first; the fifth has no neighbour left.
    let planned = plan(&older, &CompactionSettings::default());
    assert_eq!(planned, [[1, 2, 3, 4]]);
    let all = CompactionSettings { max_inputs: 5, ..Default::default() };
    assert_eq!(plan(&older, &all), [[1, 2, 3, 4, 5]]);
    assert_eq!(plan_compaction(&older, &all, NOW).jobs[0].level(), 11);
}

#[test]
fn the_window_between_is_left_alone() {
    let settings = CompactionSettings::default();
    // Noon is the first instant of its window, and a minute before it is the window before.
    for (hours, n) in [(22, 1), (23, 0), (24, 1)] {
        let blocks = [block(1, hours), block(2, hours)];
        assert_eq!(plan(&blocks, &settings).len(), n, "{hours}");
    }
    let between = |n| with(block(n, 0), |meta| meta.end_unix_nanos = NOW - 24 * HOUR);
    assert_eq!(plan(&[between(1), between(2)], &settings).len(), 0);
    let future = [block(1, -5), block(2, -5)];
    assert_eq!(plan(&future, &settings), [[1, 2]]);
}

#[test]
fn limits_end_a_run() {
    let settings = CompactionSettings { max_inputs: 10, ..Default::default() };
    let blocks: Vec<_> = (1..=5).map(|n| block(n, 0)).collect();
    let two = CompactionSettings { max_inputs: 2, ..settings };
    assert_eq!(plan(&blocks, &two), [[1, 2], [3, 4]]);
    let by_traces = CompactionSettings { max_traces: 299, ..settings };
    assert_eq!(plan(&blocks, &by_traces), [[1, 2], [3, 4]]);
    let by_bytes = CompactionSettings { max_bytes: 30_000, ..settings };
    assert_eq!(plan(&blocks, &by_bytes), [vec![1, 2, 3], vec![4, 5]]);
    let many = CompactionSettings { min_inputs: 3, ..by_bytes };
    assert_eq!(plan(&blocks, &many), [[1, 2, 3]]);
    // Small blocks first: one that is too large for anything ends the row.
    let mut blocks = blocks;
    blocks[0] = with(block(1, 0), |meta| meta.total_objects = 6_000_000);
    assert_eq!(plan(&blocks, &settings), [[2, 3, 4, 5]]);
    let overflow: Vec<_> =
        (1..=3).map(|n| with(block(n, 0), |meta| meta.size_bytes = u64::MAX)).collect();
    assert_eq!(plan(&overflow, &settings).len(), 0);
}

#[test]
fn unlike_blocks_stay_apart_and_do_not_part_others() {
    let edits: [fn(&mut BlockMeta); 5] = [
        |meta| meta.version = FormatVersion::VParquet4,
        |meta| meta.replication_factor = 0,
        |meta| meta.tenant = "u".to_owned(),
        |meta| meta.dedicated_columns = vec!["span.a".parse().unwrap()],
        |meta| meta.dedicated_columns = vec!["span.a:blob".parse().unwrap()],
    ];
    for edit in edits {
        let blocks = [block(1, 0), with(block(2, 0), edit), block(3, 0)];
        assert_eq!(plan(&blocks, &CompactionSettings::default()), [[1, 3]]);
        let blocks = [block(1, 0), with(block(2, 0), edit), block(3, 0), with(block(4, 0), edit)];
        let mut planned = plan(&blocks, &CompactionSettings::default());
        planned.sort();
        assert_eq!(planned, [[1, 3], [2, 4]]);
    }
    // The order of columns says which is which.
    let columns = |block, columns: [&str; 2]| {
        with(block, |meta| {
            meta.dedicated_columns = columns.map(|column| column.parse().unwrap()).to_vec();
        })
    };
    let blocks =
        [columns(block(1, 0), ["span.a", "span.b"]), columns(block(2, 0), ["span.b", "span.a"])];
    assert_eq!(plan(&blocks, &CompactionSettings::default()).len(), 0);
}

#[test]
fn what_is_never_compacted_is_said() {
    let blocks = [
        LiveBlock { no_compact: true, ..block(1, 0) },
        with(block(2, 0), |meta| meta.version = FormatVersion::VParquet3),
        with(block(3, 0), |meta| meta.compaction_level = 2),
        with(block(4, 0), |meta| meta.end_unix_nanos = i64::MAX),
        block(5, 0),
    ];
    let settings = CompactionSettings { max_level: Some(2), ..Default::default() };
    let plan = plan_compaction(&blocks, &settings, NOW);
    assert_eq!(plan.jobs, []);
    let reasons: Vec<_> = plan.left_out.iter().map(|(_, reason)| *reason).collect();
    let v3 = LeftOut::Format(FormatVersion::VParquet3);
    assert_eq!(reasons, [LeftOut::Flagged, v3, LeftOut::Level(2), LeftOut::NoEnd]);
}

#[test]
fn senseless_settings_are_refused() {
    let check = |settings: CompactionSettings| settings.check().unwrap_err().to_string();
    let sound = CompactionSettings::default();
    sound.check().unwrap();
    assert_eq!(
        check(CompactionSettings { window: Duration::from_millis(5), ..sound }),
        "compaction window \"5ms\": it is at least a second long"
    );
    assert_eq!(
        check(CompactionSettings { min_inputs: 1, ..sound }),
        "fewest blocks of a compaction \"1\": a block alone is not compacted; 2 and more are"
    );
    assert_eq!(
        check(CompactionSettings { max_inputs: 1, ..sound }),
        "most blocks of a compaction \"1\": at least 2 are to be put together"
    );
}

/// Blocks of few kinds, so that many of them are alike.
fn blocks() -> impl Strategy<Value = Vec<LiveBlock>> {
    let kind = (0..3_u8, 0..2_u32, 0..3_usize, 0..2_u8, 0..10_u8);
    let numbers = (-2..60_i64, 0..4_u32, 0..500_u64, 0..50_000_u64);
    vec((kind, numbers), 0..40).prop_map(|blocks| {
        (1..)
            .zip(blocks)
            .map(
                |(n, ((version, factor, columns, tenant, flag), (hours, level, traces, bytes)))| {
                    let mut block = with(block(n, hours), |meta| {
                        meta.version = FormatVersion::ALL[usize::from(version)];
                        meta.replication_factor = factor;
                        let columns = &["span.a", "span.b"][..columns];
                        meta.dedicated_columns =
                            columns.iter().map(|c| c.parse().unwrap()).collect();
                        meta.tenant = format!("t{tenant}");
                        meta.compaction_level = level;
                        meta.total_objects = traces;
                        meta.size_bytes = bytes;
                    });
                    block.no_compact = flag == 0;
                    block
                },
            )
            .collect()
    })
}

fn settings() -> impl Strategy<Value = CompactionSettings> {
    let limits = (prop::option::of(1..5_u32), 100..2_000_u64, 10_000..200_000_u64);
    ((1..30_000_u64), 2..4_usize, 0..4_usize, limits).prop_map(
        |(seconds, min_inputs, more, (max_level, max_traces, max_bytes))| CompactionSettings {
            window: Duration::from_secs(seconds),
            min_inputs,
            max_inputs: min_inputs + more,
            max_level,
            max_traces,
            max_bytes,
        },
    )
}

/// What a job leaves: one block in place of its inputs.
fn carried_out(blocks: &[LiveBlock], jobs: &[CompactionJob], next: &mut u128) -> Vec<LiveBlock> {
    let gone: BTreeSet<Uuid> =
        jobs.iter().flat_map(|job| &job.inputs).map(|meta| meta.block_id).collect();
    let mut left: Vec<_> =
        blocks.iter().filter(|block| !gone.contains(&block.meta.block_id)).cloned().collect();
    for job in jobs {
        *next += 1;
        let mut meta = BlockMeta::clone(&job.inputs[0]);
        meta.block_id = Uuid::from_u128(*next);
        meta.compaction_level = job.level();
        meta.total_objects = job.trace_count();
        meta.size_bytes = job.size_bytes();
        left.push(LiveBlock { meta: Arc::new(meta), no_compact: false });
    }
    left
}

proptest! {
    #[test]
    fn jobs_keep_to_the_rules(blocks in blocks(), settings in settings()) {
        let plan = plan_compaction(&blocks, &settings, NOW);
        let by_id: BTreeMap<Uuid, &LiveBlock> =
            blocks.iter().map(|block| (block.meta.block_id, block)).collect();
        let mut used = BTreeSet::new();
        let window = i64::try_from(settings.window.as_secs()).unwrap();
        for job in &plan.jobs {
            prop_assert!((settings.min_inputs..=settings.max_inputs).contains(&job.inputs.len()));
            prop_assert!(job.trace_count() <= settings.max_traces);
            prop_assert!(job.size_bytes() <= settings.max_bytes);
            let first = &job.inputs[0];
            for meta in &job.inputs {
                prop_assert!(used.insert(meta.block_id), "{} is in two jobs", meta.block_id);
                prop_assert!(!by_id[&meta.block_id].no_compact);
                prop_assert_eq!(&meta.tenant, &first.tenant);
                prop_assert_eq!(meta.version, first.version);
                prop_assert_eq!(&meta.dedicated_columns, &first.dedicated_columns);
                prop_assert_eq!(meta.replication_factor, first.replication_factor);
                let into = meta.end_unix_nanos / 1_000_000_000 - job.window_start_unix_seconds;
                prop_assert!((0..window).contains(&into));
                if meta.end_unix_nanos > NOW - 24 * HOUR {
                    prop_assert_eq!(meta.compaction_level, first.compaction_level);
                }
            }
        }
        prop_assert!(plan.left_out.iter().all(|(id, _)| !used.contains(id)));
    }

    #[test]
    fn the_order_of_blocks_does_not_matter(
        (blocks, shuffled) in blocks().prop_flat_map(|b| (Just(b.clone()), Just(b).prop_shuffle())),
        settings in settings(),
    ) {
        let of = |blocks: &[LiveBlock]| plan_compaction(blocks, &settings, NOW);
        prop_assert_eq!(of(&blocks), of(&shuffled));
    }

    /// Each plan leaves fewer blocks, until there is nothing left to do; no trace is counted away.
    #[test]
    fn plans_come_to_an_end(blocks in blocks(), settings in settings()) {
        let traces = |blocks: &[LiveBlock]| {
            blocks.iter().map(|block| block.meta.total_objects).sum::<u64>()
        };
        let (mut now, mut next) = (blocks.clone(), 1_000_000);
        loop {
            let jobs = plan_compaction(&now, &settings, NOW).jobs;
            if jobs.is_empty() {
                break;
            }
            let after = carried_out(&now, &jobs, &mut next);
            prop_assert!(after.len() < now.len());
            prop_assert_eq!(traces(&after), traces(&blocks));
            now = after;
        }
        prop_assert_eq!(plan_compaction(&now, &settings, NOW).jobs, []);
    }
}
