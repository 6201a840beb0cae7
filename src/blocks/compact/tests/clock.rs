//! Clocks that are wrong or set while compactors work: nothing is deleted for its age by them, and no
//! tenant is kept from being compacted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::super::settings::CompactSettings;
use super::super::{Compactor, Doubt, Exclusion, LEASE, Surroundings};
use super::cycle::{GRACE, THEN, V5, bucket, live, source, spans, succeeded};
use super::store::TestStore;
use super::*;
use crate::bucket::tenant::TenantId;
use crate::read::fixtures::context;

const DAY: i64 = 24 * HOUR;

/// A machine with a compactor: its clock differs from the store's.
struct Machine {
    compactor: Compactor,
    /// Nanoseconds by which its clock is ahead.
    ahead: Arc<AtomicI64>,
    _stop: watch::Sender<bool>,
}

impl Machine {
    /// It keeps blocks for a day.
    async fn new(store: &TestStore, first_id: u128, ahead: i64) -> Self {
        Self::keeping(store, first_id, ahead, Some(Duration::from_secs(24 * 3600))).await
    }

    async fn keeping(
        store: &TestStore,
        first_id: u128,
        ahead: i64,
        keep: Option<Duration>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let ahead = Arc::new(AtomicI64::new(ahead));
        let (of_now, by) = (store.clone(), Arc::clone(&ahead));
        let next = parking_lot::Mutex::new(first_id);
        let surroundings = Surroundings {
            now: Arc::new(move || of_now.now() + by.load(Ordering::Relaxed)),
            new_id: Arc::new(move || {
                *next.lock() += 1;
                Uuid::from_u128(*next.lock())
            }),
            stop: stopped,
        };
        let mut settings = CompactSettings::default();
        settings.retention.keep = keep;
        let source = source(store).await;
        let compactor =
            Compactor::new(source, settings, Exclusion::Lease, context(), surroundings).unwrap();
        let of_uptime = store.clone();
        let uptime = move || Duration::from_nanos((of_uptime.now() - THEN).unsigned_abs());
        Self { compactor: compactor.with_uptime(uptime), ahead, _stop: stop }
    }

    fn set(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    async fn run(&mut self) -> super::super::TenantReport {
        self.compactor.run(&TenantId::parse(V5.1).unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_gives_nothing_up_before_it_has_stood_by_it() {
    let store = bucket(V5).await;
    let expected = spans(&live(&store, V5.1).await).await;
    let mut machine = Machine::new(&store, 1_000, 0).await;
    // The store is on the same machine: its clock jumps too, and is no witness.
    store.advance(Duration::from_secs(60));
    succeeded(&machine.run().await);
    machine.set(400 * DAY);
    for _ in 0..3 {
        store.advance(Duration::from_secs(60));
        let report = machine.run().await;
        assert!(matches!(report.doubt, Some(Doubt::Jumped(_))), "{report:?}");
        assert!(report.expired.is_empty() && report.deleted.is_empty(), "{report:?}");
    }
    assert_eq!(spans(&live(&store, V5.1).await).await, expected);
    // It comes back, and an hour later there is no doubt; what was replaced goes, and nothing else.
    machine.set(0);
    store.advance(GRACE);
    let report = machine.run().await;
    assert_eq!((report.doubt, report.deleted.len()), (None, 2), "{report:?}");
    assert_eq!(spans(&live(&store, V5.1).await).await, expected);
    // A day later it is time.
    store.advance(Duration::from_secs(25 * 3600));
    assert_eq!(machine.run().await.expired.len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_ahead_of_the_stores_gives_nothing_up() {
    let store = bucket(V5).await;
    let expected = spans(&live(&store, V5.1).await).await;
    // A process that was just started has seen no jump; the store's clock is right.
    for _ in 0..3 {
        let mut machine = Machine::new(&store, 1_000, 400 * DAY).await;
        let report = machine.run().await;
        assert!(matches!(report.doubt, Some(Doubt::AheadOfStore(_))), "{report:?}");
        assert!(report.expired.is_empty() && report.deleted.is_empty(), "{report:?}");
        store.advance(GRACE);
    }
    assert_eq!(spans(&live(&store, V5.1).await).await, expected);
    // Behind, things are kept longer.
    let mut machine = Machine::new(&store, 5_000, -400 * DAY).await;
    let report = machine.run().await;
    assert_eq!((report.doubt, report.expired.len(), report.deleted.len()), (None, 0, 0));
}

/// A holder that is gone has left a record that his clock let last for a year.
#[tokio::test]
async fn a_lease_of_a_wrong_clock_runs_out() {
    for is_clock_of_store_wrong in [false, true] {
        let store = bucket(V5).await;
        // On one machine the store's clock is as wrong as that of the process.
        let by = Duration::from_secs(365 * 24 * 3600);
        if is_clock_of_store_wrong {
            store.advance(by);
        }
        let year = if is_clock_of_store_wrong { 0 } else { 365 * DAY };
        let mut gone = Machine::keeping(&store, 1_000, year, None).await;
        let meta = 3;
        store.end_at(meta, store::End::Before);
        drop(gone.run().await);
        assert!(store.heal());
        // Whoever comes next has a clock that is right.
        let behind = if is_clock_of_store_wrong { -365 * DAY } else { 0 };
        let mut next = Machine::keeping(&store, 2_000, behind, None).await;
        assert!(next.run().await.held_until.is_some(), "it may be at work still");
        store.advance(LEASE + Duration::from_secs(1));
        let report = next.run().await;
        assert_eq!(report.held_until, None, "{is_clock_of_store_wrong}");
        succeeded(&report);
        assert_eq!(live(&store, V5.1).await.len(), 1);
    }
}

/// Two compactors whose clocks differ by hours, set at random while they work.
#[tokio::test]
async fn compactors_whose_clocks_are_set_lose_nothing() {
    let expected = spans(&live(&bucket(V5).await, V5.1).await).await;
    for (first, second) in [(0, 5 * HOUR), (5 * HOUR, 0), (-5 * HOUR, 5 * HOUR)] {
        let store = bucket(V5).await;
        let mut one = Machine::new(&store, 1_000, first).await;
        let mut two = Machine::new(&store, 2_000, second).await;
        for round in 0..4 {
            let (a, b) = tokio::join!(one.run(), two.run());
            for report in [a, b] {
                assert!(report.expired.is_empty(), "{report:?}");
            }
            assert_eq!(spans(&live(&store, V5.1).await).await, expected, "{round}");
            one.set(if round % 2 == 0 { second } else { first });
            two.set(if round % 2 == 0 { first } else { second });
            store.advance(LEASE / 2);
        }
    }
}
