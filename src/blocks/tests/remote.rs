//! Sources behind real servers: an S3-compatible one (which also stands in for Google's XML API and
//! for a plain web server) and an Azure emulator. The same blocks must be found as on a disk, and
//! what networks do must be survived or reported.

#![expect(unreachable_pub, reason = "the helpers are shared with the tests of other packages")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in helpers too")]

#[expect(dead_code, reason = "tests of the binary make more of it")]
#[path = "../../../tests/support/proxy.rs"]
mod proxy;
#[path = "../../../tests/support/servers.rs"]
mod servers;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use object_store::{ObjectStoreExt as _, path::Path};
use proxy::{Fault, Proxy};
use servers::{AZURITE_ACCOUNT, AZURITE_SAS, Server, azure_options, s3_options};
use traceql_blocks::{
    Error,
    bucket::{
        blocklist::BlocklistOptions,
        bloom,
        destination::Destination,
        source::{Source, SourceKind},
        store::{OpenStore, SourceOptions},
        tenant::TenantId,
        write_index::write_tenant_index,
    },
    model::TraceId,
    read::open::{BlockCache, ReadContext},
    verify::verify_block,
    write::{
        block::BlockSettings,
        convert::{ConvertSettings, Target, convert_blocks},
    },
};
use uuid::Uuid;

const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/blocks/shop");
const BLOCKS: [&str; 2] =
    ["2c655cee-860a-51ad-af76-d8df3fe5f2f4", "2904655c-7134-5dc4-88ef-d24797772124"];

fn shop5() -> TenantId {
    TenantId::parse("shop5").unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The S3-compatible server with bucket `shop`: tenant `shop5` below `prefix/deep`, whole.
fn s3() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let server = Server::s3()?;
            server.create_bucket("shop");
            runtime().block_on(fill("s3://shop", &s3_options(&server.address)));
            Some(server)
        })
        .as_ref()
}

/// The Azure emulator with container `shop`, filled likewise.
fn azure() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let server = Server::azure()?;
            server.create_container("shop");
            runtime().block_on(fill("az://shop", &azure_options(&server.address)));
            Some(server)
        })
        .as_ref()
}

async fn fill(url: &str, options: &SourceOptions) {
    let store = OpenStore::open(url, options).await.unwrap().store;
    let put = async |name: &str| {
        let bytes = std::fs::read(format!("{SHOP}/shop5/{name}")).unwrap();
        store.put(&Path::from(format!("prefix/deep/shop5/{name}")), bytes.into()).await.unwrap();
    };
    for name in ["index.json.gz", "index.pb.zst"] {
        put(name).await;
    }
    for block in BLOCKS {
        for name in ["meta.json", "data.parquet", "bloom-0", "index"] {
            put(&format!("{block}/{name}")).await;
        }
    }
}

/// A source finds both blocks, in order, with the metas and the bytes they have on disk.
async fn check_blocks(url: &str, options: &SourceOptions, list: &BlocklistOptions) {
    let source = Source::open(url, options).await.unwrap();
    let found = source.blocks(&shop5(), list).await.unwrap();
    let on_disk = Source::open(SHOP, &SourceOptions::default()).await.unwrap();
    let expect = on_disk.blocks(&shop5(), &BlocklistOptions::default()).await.unwrap();
    assert_eq!(found.warnings, []);
    assert_eq!(found.blocks.len(), expect.blocks.len());
    for (found, expect) in found.blocks.iter().zip(&expect.blocks) {
        assert_eq!(found.meta, expect.meta);
        let range = found.meta.size_bytes - 1000..found.meta.size_bytes;
        let theirs = found.store.get_range(&found.data, range.clone()).await.unwrap();
        let ours = expect.store.get_range(&expect.data, range).await.unwrap();
        assert_eq!(theirs, ours);
        assert!(!bloom::may_contain(found, TraceId([0xfe; 16])).await.unwrap());
    }
}

async fn check_levels(root: &str, options: &SourceOptions, listable: bool) {
    let block = format!("{root}/shop5/{}", BLOCKS[0]);
    let mut levels = vec![
        (format!("{root}/shop5"), SourceKind::Tenant(shop5()), 2),
        (block.clone(), SourceKind::Block, 1),
        (format!("{block}/data.parquet"), SourceKind::Parquet, 1),
    ];
    if listable {
        levels.push((root.to_owned(), SourceKind::Bucket, 2));
        levels.push((format!("{root}/"), SourceKind::Bucket, 2));
    }
    for (url, kind, n_blocks) in levels {
        let source = Source::open(&url, options).await.unwrap();
        assert_eq!(source.kind(), &kind, "{url}");
        let list = source.blocks(&shop5(), &BlocklistOptions::default()).await.unwrap();
        assert_eq!(list.blocks.len(), n_blocks, "{url}");
        assert_eq!(list.blocks[0].meta.block_id.to_string(), BLOCKS[0], "{url}");
    }
}

/// A Parquet file away from its block, whose footer has to tell everything.
async fn check_lone_file(root: &str, store: &str, options: &SourceOptions) {
    let store = OpenStore::open(store, options).await.unwrap().store;
    let data = format!("prefix/deep/shop5/{}/data.parquet", BLOCKS[0]);
    store.copy(&Path::from(data), &Path::from("prefix/deep/lone.parquet")).await.unwrap();
    let source = Source::open(&format!("{root}/lone.parquet"), options).await.unwrap();
    let list = source.blocks(&TenantId::single(), &BlocklistOptions::default()).await.unwrap();
    assert_eq!(list.blocks[0].meta.total_objects, 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_has_what_the_disk_has() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let options = s3_options(&server.address);
    let root = "s3://shop/prefix/deep";
    check_blocks(root, &options, &BlocklistOptions::default()).await;
    let listing = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    check_blocks(root, &options, &listing).await;
    check_levels(root, &options, true).await;
    check_lone_file(root, "s3://shop", &options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_has_what_the_disk_has() {
    let Some(server) = tokio::task::spawn_blocking(azure).await.unwrap() else { return };
    let options = azure_options(&server.address);
    let root = "az://shop/prefix/deep";
    check_blocks(root, &options, &BlocklistOptions::default()).await;
    let listing = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    check_blocks(root, &options, &listing).await;
    check_levels(root, &options, true).await;
    check_lone_file(root, "az://shop", &options).await;

    let sas = SourceOptions {
        environment: vec![
            ("AZURE_STORAGE_ACCOUNT".to_owned(), AZURITE_ACCOUNT.to_owned()),
            ("AZURE_STORAGE_SAS_TOKEN".to_owned(), AZURITE_SAS.to_owned()),
            (
                "AZURE_STORAGE_ENDPOINT".to_owned(),
                format!("http://{}/{AZURITE_ACCOUNT}", server.address),
            ),
        ],
        ..SourceOptions::default()
    };
    check_blocks(root, &sas, &BlocklistOptions::default()).await;

    // It checks signatures, so a wrong key is refused, and said to be.
    let mut wrong = azure_options(&server.address);
    wrong.environment[0].1 = wrong.environment[0].1.replace("Eby8", "AAAA");
    let error = Source::open(root, &wrong).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorised { .. }), "{error}");
}

/// Converts the shop's blocks into a bucket, twice with the same ids: blocks are never rewritten.
async fn check_writing(root: &str, options: &SourceOptions) {
    let on_disk = Source::open(SHOP, &SourceOptions::default()).await.unwrap();
    let inputs = on_disk.blocks(&shop5(), &BlocklistOptions::default()).await.unwrap().blocks;
    let destination = Destination::open(root, options).await.unwrap();
    let ours = TenantId::parse("ours").unwrap();
    let context = ReadContext::new(Arc::new(BlockCache::new(1 << 20)));
    let settings = ConvertSettings::new(BlockSettings::default());
    let mut new_id = || Uuid::from_u128(0x2904_655c_7134_4dc4_88ef_d247_9777_2124);
    let target = Target { destination: &destination, tenant: &ours, new_id: &mut new_id };
    let written = convert_blocks(&inputs, &settings, target, &context).await.unwrap();
    assert_eq!((written.len(), written[0].span_count), (1, 6_764));
    let folder = destination.tenant_folder(&ours);
    write_tenant_index(destination.store(), &folder, 1).await.unwrap();

    let bucket = Source::open(root, options).await.unwrap();
    for no_index in [false, true] {
        let list = BlocklistOptions { no_index, ..BlocklistOptions::default() };
        let found = bucket.blocks(&ours, &list).await.unwrap().blocks;
        assert_eq!(*found[0].meta, *written[0].meta);
        let report = verify_block(&found[0], &context).await.unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.span_count, 6_764);
    }
    let target = Target { destination: &destination, tenant: &ours, new_id: &mut new_id };
    let error = convert_blocks(&inputs, &settings, target, &context).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotWritten { key, .. } if key.ends_with("meta.json")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_written_to_s3() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    check_writing("s3://shop/written/s3", &s3_options(&server.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_written_to_azure() {
    let Some(server) = tokio::task::spawn_blocking(azure).await.unwrap() else { return };
    check_writing("az://shop/written/azure", &azure_options(&server.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_has_what_the_disk_has() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let environment = vec![("STORAGE_EMULATOR_HOST".to_owned(), server.address.clone())];
    let options = SourceOptions { environment, ..SourceOptions::default() };
    check_blocks("gs://shop/prefix/deep", &options, &BlocklistOptions::default()).await;
    check_levels("gs://shop/prefix/deep", &options, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_serves_a_tenant_a_block_or_a_file() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let root = format!("http://{}/shop/prefix/deep", server.address);
    let options = SourceOptions::default();
    let tenant = format!("{root}/shop5");
    check_blocks(&tenant, &options, &BlocklistOptions::default()).await;
    check_levels(&root, &options, false).await;

    let late = BlocklistOptions { now_unix_nanos: Some(i64::MAX), ..BlocklistOptions::default() };
    let source = Source::open(&tenant, &options).await.unwrap();
    let list = source.blocks(&shop5(), &late).await.unwrap();
    assert_eq!((list.blocks.len(), list.warnings.len()), (2, 1));
    assert!(list.warnings[0].reason.contains("cannot list"), "{}", list.warnings[0]);

    let error = Source::open(&format!("{root}/nothing"), &options).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_or_tenant_is_not_found() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let options = s3_options(&server.address);
    let error = Source::open("s3://nobucket/x", &options).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { .. }), "{error}");
    let source = Source::open("s3://shop/prefix/deep", &options).await.unwrap();
    let other = TenantId::parse("other").unwrap();
    let error = source.blocks(&other, &BlocklistOptions::default()).await.unwrap_err();
    let Error::NotFound { key, candidates, .. } = error else { panic!("{error}") };
    assert_eq!((key.as_str(), candidates), ("s3://shop/prefix/deep/other", vec!["shop5".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_listing_cost_few_requests() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let proxy = Proxy::start(&server.address);
    let options = s3_options(&proxy.address);
    let check = async |url: &str, no_index, expect: &[&str]| {
        let source = Source::open(url, &options).await.unwrap();
        let list = BlocklistOptions { no_index, ..BlocklistOptions::default() };
        assert_eq!(source.blocks(&shop5(), &list).await.unwrap().blocks.len(), 2);
        let mut requests: Vec<_> = proxy
            .take_requests()
            .into_iter()
            .map(|request| request.split('?').next().unwrap_or_default().to_owned())
            .collect();
        // Metas are read at once, so their order is chance.
        let n_before = requests.iter().take_while(|r| !r.ends_with("meta.json")).count();
        requests[n_before..].sort();
        assert_eq!(requests, expect, "{url}");
    };
    let index = "prefix/deep/index.pb.zst";
    let tenant_index = "GET /shop/prefix/deep/shop5/index.pb.zst";
    let probe = format!("HEAD /shop/{index}");
    check("s3://shop/prefix/deep", false, &[&probe, "GET /shop", tenant_index]).await;
    check(
        "s3://shop/prefix/deep/shop5",
        false,
        &["HEAD /shop/prefix/deep/shop5/index.pb.zst", tenant_index],
    )
    .await;
    let metas = [1, 0].map(|i| format!("GET /shop/prefix/deep/shop5/{}/meta.json", BLOCKS[i]));
    check("s3://shop/prefix/deep", true, &[&probe, "GET /shop", "GET /shop", &metas[0], &metas[1]])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_are_retried() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let proxy = Proxy::start(&server.address);
    let options = s3_options(&proxy.address);
    let list = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    for faults in [
        vec![Fault::Reset, Fault::None, Fault::Reset],
        vec![Fault::Status(503), Fault::Status(500), Fault::None, Fault::Status(429)],
        vec![Fault::None, Fault::Delay(Duration::from_millis(300)), Fault::None],
        // Three requests open and list the bucket; the metas and the data that follow are cut.
        vec![Fault::None, Fault::None, Fault::None, Fault::CutBody(100), Fault::CutBody(0)],
    ] {
        proxy.plan(faults, Fault::None);
        check_blocks("s3://shop/prefix/deep", &options, &list).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_meta_is_corrupt() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let proxy = Proxy::start(&server.address);
    let source = Source::open("s3://shop/prefix/deep", &s3_options(&proxy.address)).await.unwrap();
    proxy.plan_for("meta.json", Fault::Shorten(50));
    let list = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    let error = source.blocks(&shop5(), &list).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("meta.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_faults_are_reported_with_the_object_and_soon() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let proxy = Proxy::start(&server.address);
    let options = SourceOptions {
        request_timeout: Some(Duration::from_secs(1)),
        ..s3_options(&proxy.address)
    };
    for (fault, expect) in [
        (Fault::Reset, "prefix/deep"),
        (Fault::Status(503), "503"),
        (Fault::Delay(Duration::from_secs(3)), "timed out"),
    ] {
        proxy.plan([], fault);
        let begin = Instant::now();
        let error = Source::open("s3://shop/prefix/deep", &options).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Unreachable { .. }), "{fault:?}: {text}");
        assert!(text.contains("s3://shop/prefix/deep") && text.contains(expect), "{text}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{fault:?}: {:?}", begin.elapsed());
    }
    proxy.plan([], Fault::Status(403));
    let error = Source::open("s3://shop/prefix/deep", &options).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorised { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_reported_within_seconds() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let begin = Instant::now();
    let error = Source::open("s3://bucket/x", &s3_options(&address)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

/// Network I/O runs on the runtime it was given, not on the one that polls.
#[test]
fn io_runs_on_its_own_runtime() {
    let Some(server) = s3() else { return };
    let io =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options =
        SourceOptions { io_runtime: Some(io.handle().clone()), ..s3_options(&server.address) };
    // This one has no I/O driver: a request made on it would panic.
    let decode = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    decode.block_on(check_blocks("s3://shop/prefix/deep", &options, &BlocklistOptions::default()));
}
