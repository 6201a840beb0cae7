//! Cycles over the frozen blocks: what becomes of blocks, spans, marks, indexes.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::sync::watch;

use super::super::settings::CompactSettings;
use super::super::{Compactor, Exclusion, JobOutcome, Surroundings, TenantReport};
use super::store::TestStore;
use super::*;
use crate::bucket::Block;
use crate::bucket::blocklist::BlocklistOptions;
use crate::bucket::source::Source;
use crate::bucket::store::OpenStore;
use crate::bucket::tenant::TenantId;
use crate::error::Error;
use crate::model::{Trace, TraceId};
use crate::read::fixtures::{by_id, context, testdata};
use crate::read::merge::{MergedRow, MergedTraces};
use crate::verify::verify_block;

/// The blocks that are compacted here: two that share traces, of one format.
pub(super) const V5: (&str, &str) = ("fixtures/vParquet5", "synthetic-compaction");
const V4: (&str, &str) = ("fixtures/vParquet4", "synthetic-compaction");
/// An hour after all of them ended: 2025-06-15T16:12:37Z.
pub(super) const THEN: i64 = 1_750_003_957_000_000_000;
/// After this, marked blocks are deleted.
pub(super) const GRACE: Duration = Duration::from_secs(3601);

/// A bucket with the blocks of a tenant, the inputs of its compaction live and the output left out.
pub(super) async fn bucket((folder, tenant): (&str, &str)) -> TestStore {
    let store = TestStore::at(THEN);
    let from = testdata("blocks").join(folder).join(tenant);
    for block in std::fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().path()) {
        let is_output = tenant == "synthetic-compaction" && block.join("meta.json").exists();
        if !block.is_dir() || is_output {
            continue;
        }
        for object in std::fs::read_dir(&block).unwrap().map(|entry| entry.unwrap().path()) {
            let name = object.file_name().unwrap().to_str().unwrap();
            let name = if name == "meta.compacted.json" { "meta.json" } else { name };
            let id = block.file_name().unwrap().to_str().unwrap();
            let key = Path::from(format!("{tenant}/{id}/{name}"));
            store.put(&key, std::fs::read(object).unwrap().into()).await.unwrap();
        }
    }
    store
}

pub(super) async fn source(store: &TestStore) -> Source {
    let store: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let store = OpenStore { store, url: "memory:".into(), listable: true };
    Source::of_store("memory", store, Path::ROOT)
}

/// What is around a compactor: the store's clock, and ids that begin so.
pub(super) fn surroundings(store: &TestStore, first: u128) -> (Surroundings, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let (store, next) = (store.clone(), parking_lot::Mutex::new(first));
    let surroundings = Surroundings {
        now: Arc::new(move || store.now()),
        new_id: Arc::new(move || {
            *next.lock() += 1;
            Uuid::from_u128(*next.lock())
        }),
        stop: stopped,
    };
    (surroundings, stop)
}

/// A compactor with the default settings, changed.
pub(super) async fn compactor(
    store: &TestStore,
    first_id: u128,
    edit: impl FnOnce(&mut CompactSettings),
) -> Compactor {
    let mut settings = CompactSettings::default();
    edit(&mut settings);
    let (surroundings, stop) = surroundings(store, first_id);
    // It would count as a word to stop.
    std::mem::forget(stop);
    let source = source(store).await;
    let compactor = Compactor::new(source, settings, Exclusion::Lease, context(), surroundings);
    compactor.unwrap().with_uptime(uptime(store))
}

/// Time passes as the store's clock says.
fn uptime(store: &TestStore) -> impl Fn() -> Duration + use<> {
    let store = store.clone();
    move || Duration::from_nanos((store.now() - THEN).unsigned_abs())
}

pub(super) async fn run(store: &TestStore, tenant: &str, first_id: u128) -> TenantReport {
    let mut compactor = compactor(store, first_id, |_| {}).await;
    compactor.run(&TenantId::parse(tenant).unwrap()).await.unwrap()
}

pub(super) async fn live(store: &TestStore, tenant: &str) -> Vec<Block> {
    let options = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    let source = source(store).await;
    source.blocks(&TenantId::parse(tenant).unwrap(), &options).await.unwrap().blocks
}

/// Every span that queries see, once.
pub(super) async fn spans(blocks: &[Block]) -> BTreeMap<TraceId, Vec<String>> {
    let mut merged = MergedTraces::open(blocks, &context()).await.unwrap();
    let mut traces: Vec<Trace> = Vec::new();
    while let Some(MergedRow::Trace(stored)) = merged.next().await.unwrap() {
        traces.push(stored.trace);
    }
    by_id(&traces)
}

/// Fails unless nothing went wrong.
#[track_caller]
pub(super) fn succeeded(report: &TenantReport) {
    let errors: Vec<_> = report.errors().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[tokio::test]
async fn two_blocks_become_one_with_all_their_spans() {
    for which in [V4, V5, ("shop", "shop4"), ("shop", "shop5")] {
        let (store, tenant) = (bucket(which).await, which.1);
        let inputs = live(&store, tenant).await;
        assert_eq!(inputs.len(), 2);
        let before = spans(&inputs).await;
        let report = run(&store, tenant, 1_000).await;
        succeeded(&report);
        let [job] = report.jobs.as_slice() else { panic!("{report:?}") };
        let JobOutcome::Replaced { block: Some(written), unmarked: None } = &job.outcome else {
            panic!("{job:?}")
        };
        let after = live(&store, tenant).await;
        let [output] = after.as_slice() else { panic!("{after:?}") };
        assert_eq!(output.meta, written.meta);
        assert_eq!(spans(&after).await, before);
        let found = verify_block(output, &context()).await.unwrap().findings;
        assert_eq!(found, []);
        // What the metas said of times stays, whatever the spans say.
        let metas = || inputs.iter().map(|block| &block.meta);
        assert_eq!(
            output.meta.start_unix_nanos,
            metas().map(|m| m.start_unix_nanos).min().unwrap()
        );
        assert_eq!(output.meta.end_unix_nanos, metas().map(|m| m.end_unix_nanos).max().unwrap());
        assert_eq!(output.meta.compaction_level, 1);
        assert_eq!(output.meta.version, inputs[0].meta.version);
        assert_eq!(output.meta.dedicated_columns, inputs[0].meta.dedicated_columns);
        // The inputs are marked and whole, the lease is given back, and there is nothing left to do.
        let keys = store.keys().await;
        for input in &inputs {
            let folder = input.folder.as_ref().unwrap();
            assert!(keys.contains(&format!("{folder}/meta.compacted.json")), "{keys:?}");
            assert!(keys.contains(&format!("{folder}/data.parquet")));
            assert!(!keys.contains(&format!("{folder}/meta.json")));
        }
        assert!(keys.iter().all(|key| !key.contains("traceql-compactor")), "{keys:?}");
        assert!(run(&store, tenant, 2_000).await.plan.is_empty());

        store.advance(GRACE);
        let report = run(&store, tenant, 3_000).await;
        succeeded(&report);
        assert_eq!(report.deleted.len(), 2);
        let folder = output.folder.as_ref().unwrap().to_string();
        let keys = store.keys().await;
        assert!(keys.iter().all(|key| key.starts_with(&folder)), "{keys:?}");
        assert_eq!(keys.len(), 4);
        assert_eq!(spans(&live(&store, tenant).await).await, before);
    }
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let store = bucket(V5).await;
    let before = store.keys().await;
    let mut compactor = compactor(&store, 1, |_| {}).await;
    let plan = compactor.plan(&TenantId::parse(V5.1).unwrap()).await.unwrap();
    assert_eq!((plan.jobs.len(), plan.live_count), (1, 2));
    assert_eq!(store.keys().await, before);
    assert_eq!(compactor.tenants().await.unwrap(), [TenantId::parse(V5.1).unwrap()]);
}

#[tokio::test]
async fn blocks_expire_and_go_after_their_time_of_grace() {
    let store = bucket(("shop", "shop4")).await;
    let shop = TenantId::parse("shop4").unwrap();
    let day = Duration::from_secs(24 * 3600);
    let mut compactor = compactor(&store, 1, |settings| {
        settings.compaction = None;
        settings.retention.keep = Some(Duration::from_secs(1));
        settings.retention.keep_of_tenant.insert(shop.clone(), Some(14 * day));
    })
    .await;
    let last_end = live(&store, "shop4").await[0].meta.end_unix_nanos;
    let until_end = Duration::from_nanos(u64::try_from(last_end - THEN).unwrap());
    store.advance(until_end + Duration::from_secs(3600));
    // Fourteen days of this tenant outweigh the second of all others.
    let report = compactor.run(&shop).await.unwrap();
    assert!(report.plan.is_empty(), "{report:?}");
    store.advance(14 * day - Duration::from_secs(3600));
    succeeded(&compactor.run(&shop).await.unwrap());
    let left = live(&store, "shop4").await.len();
    assert!(left >= 1, "the newest block ends exactly as long ago as blocks are kept");
    store.advance(Duration::from_nanos(1));
    succeeded(&compactor.run(&shop).await.unwrap());
    let keys = store.keys().await;
    assert!(keys.iter().all(|key| !key.ends_with("/meta.json")), "{keys:?}");
    assert_eq!(keys.iter().filter(|key| key.ends_with("/data.parquet")).count(), 2);
    store.advance(Duration::from_secs(3600));
    compactor.run(&shop).await.unwrap();
    assert!(!store.keys().await.is_empty());
    store.advance(Duration::from_nanos(1));
    let report = compactor.run(&shop).await.unwrap();
    succeeded(&report);
    assert!(!report.deleted.is_empty());
    assert_eq!(store.keys().await, [] as [String; 0]);
}

#[tokio::test]
async fn an_index_that_is_there_is_brought_up_to_date() {
    let tenant = TenantId::parse(V5.1).unwrap();
    for wanted in [true, false] {
        let store = bucket(V5).await;
        let mut compactor =
            compactor(&store, 1_000, |settings| settings.tenant_index = wanted).await;
        succeeded(&compactor.run(&tenant).await.unwrap());
        let keys = store.keys().await;
        let n_indexes = keys.iter().filter(|key| key.contains("index.")).count();
        assert_eq!(n_indexes, if wanted { 2 } else { 0 });
        if !wanted {
            continue;
        }
        // By the index alone: what it lists is what is live.
        let source = source(&store).await;
        let by_index = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap();
        let ids = |blocks: &[Block]| -> Vec<Uuid> {
            blocks.iter().map(|block| block.meta.block_id).collect()
        };
        assert_eq!(ids(&by_index.blocks), ids(&live(&store, V5.1).await));
        store.advance(GRACE);
        succeeded(&run(&store, V5.1, 2_000).await);
        let by_index = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap();
        assert_eq!(by_index.blocks.len(), 1);
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_fails_its_job_and_nothing_is_marked() {
    for object in ["data.parquet", "meta.json"] {
        let store = bucket(V5).await;
        let broken = "55555555-0000-4000-8000-000000000003";
        let key = Path::from(format!("{}/{broken}/{object}", V5.1));
        let whole = store.get(&key).await.unwrap().bytes().await.unwrap();
        let mut bytes = whole.to_vec();
        if object == "meta.json" {
            bytes.truncate(10);
        } else {
            let half = bytes.len() / 2;
            bytes[1_000..half].fill(0xAA);
        }
        store.put(&key, bytes.into()).await.unwrap();
        let before = store.keys().await;
        let mut compactor = compactor(&store, 1_000, |_| {}).await;
        let tenant = TenantId::parse(V5.1).unwrap();
        let report = compactor.run(&tenant).await.unwrap();
        if object == "meta.json" {
            assert_eq!(report.plan.unreadable.len(), 1);
            assert!(report.plan.unreadable[0].to_string().contains(broken));
            assert_eq!(report.plan.jobs, []);
        } else {
            let JobOutcome::Failed(error) = &report.jobs[0].outcome else { panic!("{report:?}") };
            assert!(error.to_string().contains(&format!("{broken}/data.parquet")), "{error}");
            // It is not tried in every cycle.
            assert!(compactor.run(&tenant).await.unwrap().plan.is_empty());
            store.advance(Duration::from_secs(3601));
            assert_eq!(compactor.run(&tenant).await.unwrap().jobs.len(), 1);
        }
        assert_eq!(store.keys().await, before);
        // With what is missing back in its place it goes on.
        store.put(&key, whole.into()).await.unwrap();
        succeeded(&run(&store, V5.1, 2_000).await);
        assert_eq!(live(&store, V5.1).await.len(), 1);
    }
}

#[tokio::test]
async fn flagged_and_old_blocks_are_left_out_and_said() {
    let store = bucket(V5).await;
    let flag = format!("{}/55555555-0000-4000-8000-000000000003/nocompact.flg", V5.1);
    store.put(&Path::from(flag), "".into()).await.unwrap();
    let report = run(&store, V5.1, 1).await;
    assert!(report.plan.is_empty());
    assert_eq!(report.plan.left_out[0].1.to_string(), "it has a nocompact.flg");

    let store = bucket(("shop", "shop3")).await;
    let report = run(&store, "shop3", 1).await;
    assert!(report.plan.is_empty());
    assert_eq!(report.plan.left_out.len(), 2);
    assert_eq!(live(&store, "shop3").await.len(), 2);
}

#[tokio::test]
async fn a_compactor_that_is_stopped_leaves_nothing_behind() {
    let store = bucket(V5).await;
    let before = store.keys().await;
    let (surroundings, stop) = surroundings(&store, 1_000);
    let source = source(&store).await;
    let settings = CompactSettings::default();
    let mut compactor =
        Compactor::new(source, settings, Exclusion::Lease, context(), surroundings).unwrap();
    stop.send(true).unwrap();
    let tenant = TenantId::parse(V5.1).unwrap();
    let report = compactor.run(&tenant).await.unwrap();
    assert!(matches!(report.jobs[0].outcome, JobOutcome::Stopped), "{report:?}");
    assert_eq!(store.keys().await, before);
    // The loop does not begin.
    let mut n_reports = 0;
    compactor.run_until_stopped(None, Duration::from_secs(1), |_, _| n_reports += 1).await;
    assert_eq!(n_reports, 0);
}

#[tokio::test]
async fn the_loop_goes_on_until_it_is_stopped() {
    let store = bucket(V5).await;
    let (surroundings, stop) = surroundings(&store, 1_000);
    let source = source(&store).await;
    let settings = CompactSettings::default();
    let mut compactor =
        Compactor::new(source, settings, Exclusion::Lease, context(), surroundings).unwrap();
    compactor = compactor.with_uptime(uptime(&store));
    let mut seen = Vec::new();
    compactor
        .run_until_stopped(None, Duration::from_millis(1), |tenant, report| {
            let report = report.unwrap();
            succeeded(&report);
            seen.push((tenant.unwrap().to_string(), report.jobs.len(), report.deleted.len()));
            // Time passes between two cycles.
            store.advance(GRACE);
            if seen.len() == 3 {
                stop.send(true).unwrap();
            }
        })
        .await;
    let tenant = V5.1.to_owned();
    assert_eq!(seen, [(tenant.clone(), 1, 0), (tenant.clone(), 0, 2), (tenant, 0, 0)]);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let check = |source: Source| {
        let (surroundings, _stop) = surroundings(&TestStore::at(THEN), 1);
        let settings = CompactSettings::default();
        let refused = Compactor::new(source, settings, Exclusion::Lease, context(), surroundings);
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Usage { what: "source", .. }), "{error}");
        error.to_string()
    };
    let open = async |url: &str| Source::open(url, &Default::default()).await.unwrap();
    assert!(check(open("-").await).contains("standard input"));
    assert!(check(open("sample:").await).contains("built-in sample"));
    let block = testdata("blocks/shop/shop5");
    let block = std::fs::read_dir(block).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir());
    assert!(check(open(block.unwrap().to_str().unwrap()).await).contains("it is one block"));
}
