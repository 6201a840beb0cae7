//! Whose turn it is, by a clock that is set by hand.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::super::LEASE;
use super::super::lease::{Claim, Lease};
use super::super::place::TenantPlace;
use super::cycle::THEN;
use super::store::TestStore;
use super::*;
use crate::bucket::store::OpenStore;
use crate::bucket::tenant::TenantId;
use crate::error::Error;

fn place(store: &TestStore) -> TenantPlace {
    let of: Arc<dyn ObjectStore> = Arc::new(store.clone());
    TenantPlace {
        store: OpenStore { store: of, url: "memory:".into(), listable: true },
        folder: Path::from("t"),
        tenant: TenantId::parse("t").unwrap(),
    }
}

async fn claim(store: &TestStore, who: u128) -> Claim {
    Lease::claim(&place(store), Uuid::from_u128(who), store.now(), None).await.unwrap()
}

async fn ours(store: &TestStore, who: u128) -> Lease {
    match claim(store, who).await {
        Claim::Ours(lease) => lease,
        theirs => panic!("{theirs:?}"),
    }
}

#[tokio::test]
async fn one_has_it_until_he_gives_it_back() {
    let store = TestStore::at(THEN);
    let lease = ours(&store, 1).await;
    let Claim::Theirs { until_unix_nanos: Some(until), .. } = claim(&store, 2).await else {
        panic!("two have it")
    };
    assert_eq!(until, THEN + i64::try_from(LEASE.as_nanos()).unwrap());
    lease.release(store.now()).await.unwrap();
    assert_eq!(store.keys().await, [] as [String; 0]);
    drop(ours(&store, 2).await);
}

#[tokio::test]
async fn it_is_made_to_last_and_runs_out() {
    let store = TestStore::at(THEN);
    let mut first = ours(&store, 1).await;
    for _ in 0..10 {
        store.advance(LEASE / 4 * 3);
        assert!(first.keep(store.now()).await.unwrap());
        assert!(matches!(claim(&store, 2).await, Claim::Theirs { .. }));
    }
    assert_eq!(store.keys().await.len(), 1);
    store.advance(LEASE);
    let mut second = ours(&store, 2).await;
    // Who slept learns that he has lost it, and does not disturb who has it.
    assert!(!first.keep(store.now()).await.unwrap());
    assert!(!first.begin(Uuid::from_u128(7), Vec::new(), store.now()).await.unwrap());
    store.advance(LEASE / 4 * 3);
    assert!(second.keep(store.now()).await.unwrap());
    assert!(!first.keep(store.now()).await.unwrap());
    // Nobody was there in between: it goes on.
    store.advance(LEASE * 5);
    assert!(second.keep(store.now()).await.unwrap());
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_it() {
    let store = TestStore::at(THEN);
    drop(ours(&store, 9).await);
    store.advance(LEASE);
    let claims = futures::future::join_all((0..8).map(|who| claim(&store, who))).await;
    let n_ours = claims.iter().filter(|claim| matches!(claim, Claim::Ours(_))).count();
    assert_eq!(n_ours, 1, "{claims:?}");
}

#[tokio::test]
async fn what_is_being_written_is_known_to_the_next() {
    let store = TestStore::at(THEN);
    let (one, two) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let mut lease = ours(&store, 1).await;
    assert!(lease.begin(one, Vec::new(), store.now()).await.unwrap());
    assert!(lease.begin(two, vec![one], store.now()).await.unwrap());
    lease.end(one);
    lease.release(store.now()).await.unwrap();
    let next = ours(&store, 2).await;
    let left: Vec<Uuid> = next.writing().iter().map(|block| block.block_id).collect();
    assert_eq!(left, [two]);
    assert_eq!(next.writing()[0].since_unix_nanos, THEN);
    assert_eq!(next.writing()[0].inputs, [one]);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out() {
    let store = TestStore::at(THEN);
    store.ignore_conditions();
    let claimed = Lease::claim(&place(&store), Uuid::from_u128(1), store.now(), None).await;
    let error = claimed.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("whose turn it is"), "{error}");
    assert_eq!(store.keys().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_record_that_is_none_is_named() {
    let store = TestStore::at(THEN);
    let key = Path::from("t/traceql-compactor/3.json");
    for (json, expect) in [
        ("{", "memory:t/traceql-compactor/3.json is corrupt"),
        (
            r#"{"version":9,"holder":"00000000-0000-0000-0000-000000000001","until_unix_nanos":0,"writing":[]}"#,
            "lease of version 9; this build knows 1",
        ),
    ] {
        store.put(&key, json.into()).await.unwrap();
        let claimed = Lease::claim(&place(&store), Uuid::from_u128(1), store.now(), None).await;
        let error = claimed.unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}
