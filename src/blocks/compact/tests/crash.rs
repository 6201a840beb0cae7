//! A cycle that ends at each of its changes, by a crash before or after the change: all spans are
//! there whatever was reached, and later cycles bring everything to the same end.

use super::super::{Compactor, Exclusion, LEASE};
use super::cycle::{GRACE, THEN, V5, bucket, live, source, spans, succeeded, surroundings};
use super::store::{End, TestStore};
use super::*;
use crate::bucket::tenant::TenantId;
use crate::read::fixtures::context;
use crate::verify::{Severity, verify_block};

/// A cycle of a process of its own, which may end in the middle of it.
async fn cycle(store: &TestStore, first_id: u128, exclusion: Exclusion) {
    let (surroundings, _stop) = surroundings(store, first_id);
    let settings = super::super::settings::CompactSettings {
        tenant_index: true,
        ..super::super::settings::CompactSettings::default()
    };
    let source = source(store).await;
    let mut compactor =
        Compactor::new(source, settings, exclusion, context(), surroundings).unwrap();
    drop(compactor.run(&TenantId::parse(V5.1).unwrap()).await);
}

/// Cycles until there is nothing left to do and nothing left to delete.
async fn settle(store: &TestStore, exclusion: Exclusion, n: usize, end: End) {
    // Without a lease there is no note of inputs that were not marked: they have another level than the
    // block that replaced them until their window is a day old.
    let wait = match exclusion {
        Exclusion::Lease => GRACE.max(LEASE * 2),
        Exclusion::Alone => 26 * GRACE,
    };
    for round in 0..8 {
        store.advance(wait);
        let (surroundings, _stop) = surroundings(store, 1_000_000 * (round + 1));
        let source = source(store).await;
        let settings = super::super::settings::CompactSettings::default();
        let mut compactor =
            Compactor::new(source, settings, Exclusion::Lease, context(), surroundings).unwrap();
        let report = compactor.run(&TenantId::parse(V5.1).unwrap()).await.unwrap();
        assert_eq!(report.held_until, None, "{n} {end:?}");
        succeeded(&report);
        if report.plan.is_empty() && report.remains.is_empty() {
            return;
        }
    }
    panic!("{n} {end:?}: there is always something left to do");
}

#[tokio::test]
async fn wherever_a_cycle_ends_no_span_is_lost() {
    let expected = spans(&live(&bucket(V5).await, V5.1).await).await;
    for exclusion in [Exclusion::Lease, Exclusion::Alone] {
        for end in [End::Before, End::After] {
            let mut n = 0;
            loop {
                let store = bucket(V5).await;
                store.end_at(n, end);
                cycle(&store, 1_000, exclusion).await;
                let (log, has_ended) = (store.log(), store.heal());
                if !has_ended {
                    // The whole cycle, so that nobody thinks that steps were tried that are none.
                    assert!(n >= 10, "{log:?}");
                    assert_eq!(live(&store, V5.1).await.len(), 1);
                    break;
                }
                let blocks = live(&store, V5.1).await;
                assert_eq!(spans(&blocks).await, expected, "{end:?} {log:?}");
                for block in &blocks {
                    // Tempo's own inputs have child counts that are wrong.
                    let mut findings = verify_block(block, &context()).await.unwrap().findings;
                    findings.retain(|finding| finding.severity == Severity::Error);
                    assert_eq!(findings, [], "{end:?} {log:?}");
                }
                settle(&store, exclusion, n, end).await;
                let blocks = live(&store, V5.1).await;
                assert_eq!(blocks.len(), 1, "{end:?} {log:?}");
                assert_eq!(spans(&blocks).await, expected, "{end:?} {log:?}");
                n += 1;
            }
        }
    }
}

/// What a crash leaves of a block that never came to be is removed a day later, and nothing before.
#[tokio::test]
async fn remains_are_removed_by_the_note_of_who_left_them() {
    let store = bucket(V5).await;
    // The last change before the block would have existed.
    store.end_at(usize::MAX, End::Before);
    cycle(&store, 1_000, Exclusion::Lease).await;
    let meta = store.log().iter().position(|change| change == "put meta.json").unwrap();
    let store = bucket(V5).await;
    store.end_at(meta, End::Before);
    cycle(&store, 1_000, Exclusion::Lease).await;
    assert!(store.heal());
    // The first id is the compactor's own.
    let remains = Uuid::from_u128(1_002).to_string();
    let left = |keys: Vec<String>| keys.iter().filter(|key| key.contains(&remains)).count();
    assert_eq!(left(store.keys().await), 3);
    settle(&store, Exclusion::Lease, meta, End::Before).await;
    assert_eq!(left(store.keys().await), 3);
    let records = |keys: Vec<String>| keys.iter().filter(|k| k.contains("traceql-comp")).count();
    assert_eq!(records(store.keys().await), 1);
    store.advance(std::time::Duration::from_secs(25 * 3600));
    cycle(&store, 5_000, Exclusion::Lease).await;
    assert_eq!((left(store.keys().await), records(store.keys().await)), (0, 0));
    assert_eq!(live(&store, V5.1).await.len(), 1);
    assert!(store.now() > THEN);
}

/// Two that do not know of each other compact the same blocks at once.
#[tokio::test]
async fn two_compactors_at_once_lose_nothing() {
    let expected = spans(&live(&bucket(V5).await, V5.1).await).await;
    for exclusion in [Exclusion::Lease, Exclusion::Alone] {
        let store = bucket(V5).await;
        let both = tokio::join!(cycle(&store, 1_000, exclusion), cycle(&store, 2_000, exclusion));
        let ((), ()) = both;
        let blocks = live(&store, V5.1).await;
        assert_eq!(spans(&blocks).await, expected, "{exclusion:?}");
        settle(&store, Exclusion::Alone, 0, End::Before).await;
        let blocks = live(&store, V5.1).await;
        assert_eq!(blocks.len(), 1);
        assert_eq!(spans(&blocks).await, expected, "{exclusion:?}");
    }
}
