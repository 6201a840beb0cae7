use super::*;
use crate::bucket::{blocklist::Unreadable, meta::TimeRange};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata");
/// Between the two ends of the shop's blocks, 2026-01-01T00:59:42Z and …54Z.
const LATE: i64 = 1_767_229_190_000_000_000;

async fn open(url: &str) -> Result<Source> {
    Source::open(url, &SourceOptions::default()).await
}

async fn ids(url: &str, tenant: &str, options: &BlocklistOptions) -> Vec<String> {
    let source = open(url).await.unwrap();
    let list = source.blocks(&TenantId::parse(tenant).unwrap(), options).await.unwrap();
    list.blocks.iter().map(|block| block.meta.block_id.to_string()).collect()
}

const SHOP5: [&str; 2] =
    ["2c655cee-860a-51ad-af76-d8df3fe5f2f4", "2904655c-7134-5dc4-88ef-d24797772124"];

#[tokio::test]
async fn the_sample_is_a_bucket() {
    let source = open("sample:").await.unwrap();
    assert_eq!(source.kind(), &SourceKind::Bucket);
    assert_eq!(source.tenants().await.unwrap(), [TenantId::single()]);
    let tenant = source.tenant(None).await.unwrap();
    let list = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap();
    assert_eq!(list.blocks.len(), 2);
    assert!(list.warnings.is_empty());
    let block = &list.blocks[0];
    assert_eq!(
        block.object_url(&block.data),
        "sample:single-tenant/2c655cee-860a-51ad-af76-d8df3fe5f2f4/data.parquet"
    );
    let bytes = block.store.head(&block.data).await.unwrap().size;
    assert_eq!(bytes, block.meta.size_bytes);
}

#[tokio::test]
async fn a_source_may_be_named_at_every_level() {
    let shop = format!("{TESTDATA}/blocks/shop");
    let shop5 = format!("{shop}/shop5");
    let block = format!("{shop5}/{}", SHOP5[0]);
    let tenant = || TenantId::parse("shop5").unwrap();
    for (url, kind, n_blocks) in [
        (shop.clone(), SourceKind::Bucket, 2),
        (
            format!("file://{}", std::path::absolute(&shop).unwrap().display()),
            SourceKind::Bucket,
            2,
        ),
        (format!("{shop}/"), SourceKind::Bucket, 2),
        (shop5.clone(), SourceKind::Tenant(tenant()), 2),
        (format!("{shop5}/index.json.gz"), SourceKind::Tenant(tenant()), 2),
        (block.clone(), SourceKind::Block, 1),
        (format!("{block}/meta.json"), SourceKind::Block, 1),
        (format!("{block}/data.parquet"), SourceKind::Parquet, 1),
    ] {
        let source = open(&url).await.unwrap();
        assert_eq!(source.kind(), &kind, "{url}");
        let list = source.blocks(&tenant(), &BlocklistOptions::default()).await.unwrap();
        assert_eq!(list.blocks.len(), n_blocks, "{url}");
        for block in &list.blocks {
            let size = block.store.head(&block.data).await.unwrap().size;
            assert_eq!(size, block.meta.size_bytes, "{url}");
            assert_eq!(block.meta.dedicated_columns.len(), 14, "{url}");
        }
    }
    assert_eq!(open(&block).await.unwrap().tenant(None).await.unwrap(), tenant());
    assert_eq!(open(&shop5).await.unwrap().tenant(None).await.unwrap(), tenant());
    assert_eq!(open(&shop).await.unwrap().tenant(None).await.unwrap(), TenantId::single());
}

#[tokio::test]
async fn blocks_come_by_end_time_descending_whatever_told_of_them() {
    let shop = format!("{TESTDATA}/blocks/shop");
    let listed = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    let stale = BlocklistOptions { now_unix_nanos: Some(i64::MAX), ..BlocklistOptions::default() };
    for options in [BlocklistOptions::default(), listed, stale] {
        assert_eq!(ids(&shop, "shop5", &options).await, SHOP5, "{options:?}");
    }
}

#[tokio::test]
async fn blocks_outside_the_range_are_left_out() {
    let range = TimeRange { start_unix_nanos: LATE, end_unix_nanos: i64::MAX };
    let options = BlocklistOptions { range: Some(range), ..BlocklistOptions::default() };
    let shop = format!("{TESTDATA}/blocks/shop");
    assert_eq!(ids(&shop, "shop5", &options).await, SHOP5[..1]);
    let older = format!("{shop}/shop5/{}", SHOP5[1]);
    assert!(ids(&older, "shop5", &options).await.is_empty());
}

#[tokio::test]
async fn compacted_blocks_are_not_live() {
    let options = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    for (version, output) in [
        ("vParquet4", "259abbf0-fedb-4c88-93a4-b4c147fcbc9f"),
        ("vParquet5", "190320b4-6596-45f4-b8bb-a3e5a08dfce8"),
    ] {
        let bucket = format!("{TESTDATA}/blocks/fixtures/{version}");
        assert_eq!(ids(&bucket, "synthetic-compaction", &options).await, [output]);
        // But whoever names one gets it.
        let digit = &version[8..];
        let input = format!(
            "{bucket}/synthetic-compaction/{}-0000-4000-8000-000000000002",
            digit.repeat(8)
        );
        assert_eq!(ids(&input, "synthetic-compaction", &options).await.len(), 1);
    }
}

#[tokio::test]
async fn a_tenant_of_whom_no_block_is_left_has_none() {
    let (bucket, block) = bucket();
    let tenant_folder = block.parent().unwrap();
    std::fs::rename(block.join("meta.json"), block.join("meta.compacted.json")).unwrap();
    let options = BlocklistOptions::default();
    let root = bucket.path().to_str().unwrap();
    assert!(ids(root, "t", &options).await.is_empty());
    assert!(ids(tenant_folder.to_str().unwrap(), "t", &options).await.is_empty());
    std::fs::remove_dir_all(&block).unwrap();
    assert!(ids(root, "t", &options).await.is_empty());
    // A folder of something else is no tenant.
    std::fs::write(tenant_folder.join("notes.txt"), "").unwrap();
    let tenant = TenantId::parse("t").unwrap();
    let error = open(root).await.unwrap().blocks(&tenant, &options).await.unwrap_err();
    assert!(error.to_string().contains("no bucket of tenants"), "{error}");
}

#[tokio::test]
async fn a_missing_tenant_names_those_that_exist() {
    let source = open(&format!("{TESTDATA}/blocks/shop")).await.unwrap();
    let tenant = TenantId::parse("shop6").unwrap();
    let error = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap_err();
    let Error::NotFound { what: "tenant", key, candidates } = error else { panic!("{error}") };
    assert!(key.ends_with("testdata/blocks/shop/shop6"), "{key}");
    assert_eq!(candidates, ["shop3", "shop4", "shop5"]);
    let source = open(&format!("{TESTDATA}/blocks/shop/shop5")).await.unwrap();
    let error = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap_err();
    let Error::NotFound { candidates, .. } = error else { panic!("{error}") };
    assert_eq!(candidates, ["shop5"]);
}

#[tokio::test]
async fn what_is_no_bucket_is_described() {
    let error = open(&format!("{TESTDATA}/nowhere")).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { what: "source", .. }), "{error}");

    let error = open(&format!("{TESTDATA}/README.md")).await.unwrap_err();
    assert!(error.to_string().contains(".parquet"), "{error}");

    let source = open(TESTDATA).await.unwrap();
    let tenant = TenantId::single();
    let error = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Usage { .. }) && text.contains("blocks, "), "{text}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let error = open(folder.path().to_str().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("1 file (notes.txt)"), "{error}");

    let empty = tempfile::tempdir().unwrap();
    let source = open(empty.path().to_str().unwrap()).await.unwrap();
    let error = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { what: "tenant", .. }), "{error}");
}

/// A bucket of our own with tenant `t` and one block in it.
fn bucket() -> (tempfile::TempDir, std::path::PathBuf) {
    let bucket = tempfile::tempdir().unwrap();
    let block = bucket.path().join("t").join(SHOP5[0]);
    std::fs::create_dir_all(&block).unwrap();
    let meta = format!("{TESTDATA}/blocks/shop/shop5/{}/meta.json", SHOP5[0]);
    std::fs::copy(meta, block.join("meta.json")).unwrap();
    (bucket, block)
}

#[tokio::test]
async fn an_unreadable_block_fails_the_list_or_is_skipped_with_a_warning() {
    let (bucket, good) = bucket();
    let bad = good.with_file_name(SHOP5[1]);
    std::fs::create_dir_all(&bad).unwrap();
    let json = std::fs::read_to_string(good.join("meta.json")).unwrap();
    let url = bucket.path().to_str().unwrap();
    for (meta, expect) in [
        ("{".to_owned(), "is corrupt"),
        (json.clone(), "expected blockID 2904655c-7134-5dc4-88ef-d24797772124"),
        (json.replace(SHOP5[0], SHOP5[1]).replace("vParquet5", "v2"), "block format \"v2\""),
    ] {
        std::fs::write(bad.join("meta.json"), meta).unwrap();
        let source = open(url).await.unwrap();
        let tenant = TenantId::parse("t").unwrap();
        let error = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert!(error.to_string().contains(SHOP5[1]), "{error}");

        let skip = BlocklistOptions { unreadable: Unreadable::Skip, ..BlocklistOptions::default() };
        let list = source.blocks(&tenant, &skip).await.unwrap();
        assert_eq!(list.blocks.len(), 1);
        let told: Vec<_> = list.told().map(ToString::to_string).collect();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert!(told.contains(expect), "{told}");
        assert_eq!(told.matches("meta.json").count(), 1, "it is named once: {told}");
    }
}

#[tokio::test]
async fn a_block_nobody_reads_is_no_obstacle_to_another_day() {
    let (bucket, block) = bucket();
    let meta = std::fs::read_to_string(block.join("meta.json")).unwrap();
    std::fs::write(block.join("meta.json"), meta.replace("vParquet5", "v2")).unwrap();
    let range = TimeRange { start_unix_nanos: 0, end_unix_nanos: 1_000_000_000 };
    let options = BlocklistOptions { range: Some(range), ..BlocklistOptions::default() };
    assert!(ids(bucket.path().to_str().unwrap(), "t", &options).await.is_empty());
}

#[tokio::test]
async fn preview_blocks_are_left_out_with_a_warning() {
    let (bucket, block) = bucket();
    let meta = std::fs::read_to_string(block.join("meta.json")).unwrap();
    std::fs::write(block.join("meta.json"), meta.replace("vParquet5", "vParquet6-preview1"))
        .unwrap();
    let source = open(bucket.path().to_str().unwrap()).await.unwrap();
    let tenant = TenantId::parse("t").unwrap();
    let list = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap();
    assert!(list.blocks.is_empty());
    assert!(list.warnings[0].reason.contains("vParquet6-preview1"), "{}", list.warnings[0]);
}

#[tokio::test]
async fn a_stale_index_does_not_hide_new_blocks() {
    let bucket = tempfile::tempdir().unwrap();
    let tenant = bucket.path().join("shop5");
    let original = format!("{TESTDATA}/blocks/shop/shop5");
    std::fs::create_dir(&tenant).unwrap();
    std::fs::copy(format!("{original}/index.pb.zst"), tenant.join("index.pb.zst")).unwrap();
    // One block the index knows, one it does not; its other block is gone.
    let new_id = "00000000-0000-4000-8000-000000000001";
    let json = std::fs::read_to_string(format!("{original}/{}/meta.json", SHOP5[0])).unwrap();
    for id in [SHOP5[0], new_id] {
        std::fs::create_dir(tenant.join(id)).unwrap();
        std::fs::write(tenant.join(id).join("meta.json"), json.replace(SHOP5[0], id)).unwrap();
    }
    let url = bucket.path().to_str().unwrap();
    let at = |now_unix_nanos| BlocklistOptions { now_unix_nanos, ..BlocklistOptions::default() };
    // Written 2026-11-22T09:21:08Z.
    let written = 1_795_339_268_000_000_000;
    assert_eq!(ids(url, "shop5", &at(Some(written + 60_000_000_000))).await, SHOP5);
    let seen = ids(url, "shop5", &at(Some(written + 16 * 60_000_000_000))).await;
    assert_eq!(seen, [new_id, SHOP5[0]]);
}

#[tokio::test]
async fn a_lone_parquet_file_is_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let warned = |version: &str| {
        format!(
            "fixtures/{version}/synthetic/{}-0000-4000-8000-000000000001",
            version[8..].repeat(8)
        )
    };
    for (block, version, n_rows, n_groups, n_nameless) in [
        ("shop/shop3/6cd6c973-79ce-5393-8142-1d7c944f8a05".to_owned(), "vParquet3", 250, 6, 0),
        ("shop/shop4/4c581ad0-196a-5625-9db0-f2bf4311d5c3".to_owned(), "vParquet4", 250, 5, 0),
        // Fourteen columns, five of them without a value.
        (format!("shop/shop5/{}", SHOP5[0]), "vParquet5", 250, 8, 9),
        (warned("vParquet3"), "vParquet3", 52, 5, 2),
        (warned("vParquet4"), "vParquet4", 52, 4, 2),
        (warned("vParquet5"), "vParquet5", 52, 5, 10),
    ] {
        let file = folder.path().join("lone.parquet");
        let original = format!("{TESTDATA}/blocks/{block}/data.parquet");
        std::fs::copy(original, &file).unwrap();
        let source = open(file.to_str().unwrap()).await.unwrap();
        let list = source.blocks(&TenantId::single(), &BlocklistOptions::default()).await.unwrap();
        let meta = &list.blocks[0].meta;
        assert_eq!(meta.version.as_str(), version);
        assert_eq!((meta.total_objects, meta.total_records), (n_rows, n_groups), "{block}");
        assert_eq!(meta.size_bytes, std::fs::metadata(&file).unwrap().len());
        assert_eq!((meta.start_unix_nanos, meta.end_unix_nanos), (0, i64::MAX));
        let warnings: Vec<_> = list.warnings.iter().map(|w| w.reason.as_str()).collect();
        match (n_nameless, warnings.as_slice()) {
            (0, []) => {}
            (n, [reason]) => assert!(reason.starts_with(&format!("{n} dedicated")), "{reason}"),
            (_, warnings) => panic!("{block}: {warnings:?}"),
        }
    }
}

/// What a plan notes of a block is enough for another process to find it.
#[tokio::test]
async fn a_store_opens_again_by_the_url_a_block_carries() {
    for url in ["sample:".to_owned(), format!("{TESTDATA}/blocks/shop/shop5")] {
        let source = open(&url).await.unwrap();
        let tenant = source.tenant(None).await.unwrap();
        let list = source.blocks(&tenant, &BlocklistOptions::default()).await.unwrap();
        let block = &list.blocks[0];
        let again = OpenStore::open(&block.store_url, &SourceOptions::default()).await.unwrap();
        assert_eq!(again.url, block.store_url);
        assert_eq!(again.store.head(&block.data).await.unwrap().size, block.meta.size_bytes);
    }
}

#[tokio::test]
async fn a_file_that_only_claims_to_be_parquet_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let original = format!("{TESTDATA}/blocks/shop/shop5/{}/data.parquet", SHOP5[0]);
    let whole = std::fs::read(original).unwrap();
    let mut bad_length = whole.clone();
    let n = bad_length.len();
    bad_length[n - 8..n - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut bad_footer = whole.clone();
    bad_footer[n - 50_000..n - 10_000].fill(0xff);
    for bytes in [b"".to_vec(), b"PAR1".to_vec(), whole[..n - 1].to_vec(), bad_length, bad_footer] {
        let file = folder.path().join("x.parquet");
        std::fs::write(&file, &bytes).unwrap();
        let source = open(file.to_str().unwrap()).await.unwrap();
        let result = source.blocks(&TenantId::single(), &BlocklistOptions::default()).await;
        let error = result.unwrap_err();
        assert!(error.to_string().contains("x.parquet"), "{error}");
        assert!(matches!(error, Error::Corrupt { .. }), "{} bytes: {error}", bytes.len());
    }
}

#[tokio::test]
async fn otlp_files_are_recognised_and_unzipped() {
    let synthetic = format!(
        "{TESTDATA}/blocks/fixtures/vParquet5/synthetic/55555555-0000-4000-8000-000000000001"
    );
    for (name, format) in [
        ("traces.otlp.jsonl", OtlpFormat::JsonLines),
        ("readback.otlp.jsonl.gz", OtlpFormat::JsonLines),
    ] {
        let source = open(&format!("{synthetic}/{name}")).await.unwrap();
        assert_eq!(source.kind(), &SourceKind::Otlp(format));
        let bytes = source.read_otlp(16 << 20).await.unwrap();
        assert!(bytes.starts_with(b"{\""), "{name}");
        let error = source.read_otlp(1000).await.unwrap_err();
        assert!(matches!(error, Error::OverLimit { .. }), "{error}");
    }
    let kind = open("-").await.unwrap().kind().clone();
    assert_eq!(kind, SourceKind::Otlp(OtlpFormat::Unknown));
}

#[tokio::test]
async fn traces_in_memory_are_a_source_like_any_file() {
    use crate::model::{ResourceSpans, ScopeSpans, Span, Trace, TraceId};
    let span = Span { name: "x".to_owned(), span_id: vec![1; 8], ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let traces = [Trace { id: TraceId([7; 16]), resource_spans }];
    let source = Source::of_traces("what was sent", &traces).await.unwrap();
    assert_eq!(source.to_string(), "what was sent");
    assert_eq!(*source.kind(), SourceKind::Otlp(OtlpFormat::Protobuf));
    let bytes = source.read_otlp(1 << 20).await.unwrap();
    assert_eq!(otlp::decode_protobuf(bytes, "test").unwrap(), traces);
    assert!(matches!(source.read_otlp(3).await, Err(Error::OverLimit { .. })));
}
