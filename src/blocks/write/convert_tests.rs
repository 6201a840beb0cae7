//! Conversions of the frozen blocks and of OTLP.

use std::path::Path;

use super::*;
use crate::bucket::blocklist::BlocklistOptions;
use crate::bucket::store::SourceOptions;
use crate::model::{ResourceSpans, ScopeSpans, Span, Trace, TraceId};
use crate::read::fixtures::{by_id, context, read_block, testdata};
use crate::verify::verify_block;

/// Ids one after the other.
fn ids() -> impl FnMut() -> Uuid + Send {
    let mut n = 0;
    move || {
        n += 1;
        Uuid::from_u128(0x1234_5678_0000_4000_8000_0000_0000_0000 + n)
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

async fn destination(folder: &Path) -> Destination {
    Destination::open(folder.to_str().unwrap(), &SourceOptions::default()).await.unwrap()
}

async fn blocks(source: &Path, of: &str) -> Vec<Block> {
    let source = Source::open(source.to_str().unwrap(), &SourceOptions::default()).await.unwrap();
    source.blocks(&tenant(of), &BlocklistOptions::default()).await.unwrap().blocks
}

async fn convert(
    inputs: &[Block],
    settings: &ConvertSettings,
    to: &Path,
    of: &str,
) -> Result<Vec<WrittenBlock>> {
    let destination = destination(to).await;
    let mut new_id = ids();
    let target = Target { destination: &destination, tenant: &tenant(of), new_id: &mut new_id };
    convert_blocks(inputs, settings, target, &context()).await
}

async fn all_traces(blocks: &[Block]) -> Vec<Trace> {
    let mut traces = Vec::new();
    for block in blocks {
        traces.extend(read_block(block, &context()).await);
    }
    traces
}

#[tokio::test]
async fn several_blocks_become_one_of_another_format() {
    let inputs = blocks(&testdata("blocks/shop"), "shop3").await;
    assert_eq!(inputs.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let settings = ConvertSettings::new(BlockSettings::default());
    let written = convert(&inputs, &settings, folder.path(), "a").await.unwrap();
    let found = blocks(folder.path(), "a").await;
    assert_eq!((written.len(), found.len()), (1, 1));
    assert_eq!(*found[0].meta, *written[0].meta);
    assert_eq!((written[0].meta.total_objects, written[0].span_count), (500, 6_764));
    // Tempo's metas are in whole seconds.
    let first = inputs.iter().map(|block| block.meta.start_unix_nanos).min().unwrap();
    assert!((first..first + 1_000_000_000).contains(&written[0].meta.start_unix_nanos));
    let report = verify_block(&found[0], &context()).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(by_id(&all_traces(&found).await), by_id(&all_traces(&inputs).await));
}

#[tokio::test]
async fn a_block_ends_at_its_limit() {
    let inputs = blocks(&testdata("blocks/shop"), "shop4").await;
    let folder = tempfile::tempdir().unwrap();
    let settings = ConvertSettings {
        max_block_traces: 200,
        ..ConvertSettings::new(BlockSettings::new(FormatVersion::VParquet4))
    };
    let written = convert(&inputs, &settings, folder.path(), "a").await.unwrap();
    let counts: Vec<u64> = written.iter().map(|block| block.meta.total_objects).collect();
    assert_eq!(counts, [200, 200, 100]);
    let found = blocks(folder.path(), "a").await;
    assert_eq!(by_id(&all_traces(&found).await), by_id(&all_traces(&inputs).await));
    let small = ConvertSettings { max_block_bytes: 100_000, ..settings };
    let written = convert(&inputs, &small, folder.path(), "b").await.unwrap();
    assert!(written.len() > 5 && written.iter().all(|block| block.meta.size_bytes < 200_000));
}

/// The inputs of a compaction hold copies and parts of the same traces; what Tempo made of them is
/// there to compare with.
#[tokio::test]
async fn copies_and_parts_of_a_trace_are_combined_as_tempo_does() {
    for (version, name) in
        [(FormatVersion::VParquet5, "vParquet5"), (FormatVersion::VParquet4, "vParquet4")]
    {
        let folder = testdata(&format!("blocks/fixtures/{name}/synthetic-compaction"));
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let mut folders: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        folders.sort();
        for block in folders.iter().filter(|path| path.is_dir()) {
            let list = if block.join("meta.json").exists() { &mut outputs } else { &mut inputs };
            list.push(crate::read::fixtures::block_in(block));
        }
        assert_eq!((inputs.len(), outputs.len()), (2, 1));
        let to = tempfile::tempdir().unwrap();
        let settings = ConvertSettings::new(BlockSettings {
            dedicated_columns: inherited_dedicated_columns(&inputs, version),
            ..BlockSettings::new(version)
        });
        assert_eq!(settings.block.dedicated_columns, outputs[0].meta.dedicated_columns);
        let written = convert(&inputs, &settings, to.path(), "a").await.unwrap();
        assert_eq!(written[0].meta.total_objects, outputs[0].meta.total_objects);
        let found = blocks(to.path(), "a").await;
        assert_eq!(by_id(&all_traces(&found).await), by_id(&all_traces(&outputs).await), "{name}");
        let report = verify_block(&found[0], &context()).await.unwrap();
        assert_eq!(report.findings, []);
    }
}

#[tokio::test]
async fn blocks_are_not_written_beside_those_they_are_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = blocks(&testdata("blocks/shop"), "shop4").await;
    let settings = ConvertSettings::new(BlockSettings::default());
    convert(&inputs, &settings, folder.path(), "a").await.unwrap();
    let own = blocks(folder.path(), "a").await;
    let error = convert(&own, &settings, folder.path(), "a").await.unwrap_err();
    assert!(matches!(&error, Error::Usage { what: "destination", .. }), "{error}");
    assert!(error.to_string().contains("for tenant a"), "{error}");
    convert(&own, &settings, folder.path(), "b").await.unwrap();
    assert_eq!(blocks(folder.path(), "a").await.len(), 1);
}

#[tokio::test]
async fn a_conversion_that_fails_leaves_no_block() {
    let mut inputs = blocks(&testdata("blocks/shop"), "shop4").await;
    let mut meta = (*inputs[1].meta).clone();
    meta.size_bytes -= 1;
    inputs[1].meta = meta.into();
    let folder = tempfile::tempdir().unwrap();
    let settings =
        ConvertSettings { max_block_traces: 10, ..ConvertSettings::new(BlockSettings::default()) };
    convert(&inputs, &settings, folder.path(), "a").await.unwrap_err();
    // A store that fails in the middle: the folder of one block cannot be made.
    let mut new_id = ids();
    let third = [new_id(), new_id(), new_id()][2];
    std::fs::create_dir_all(folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join("b").join(third.to_string()), "in the way").unwrap();
    let error = convert(&inputs[..1], &settings, folder.path(), "b").await.unwrap_err();
    assert!(matches!(&error, Error::NotWritten { .. }), "{error}");
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder.path().join("b")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap());
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_otlp_file_becomes_a_block() {
    let file = testdata(
        "blocks/fixtures/vParquet5/synthetic/55555555-0000-4000-8000-000000000001/traces.otlp.jsonl",
    );
    let source = Source::open(file.to_str().unwrap(), &SourceOptions::default()).await.unwrap();
    let traces = read_traces(&source, u64::MAX).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let destination = destination(folder.path()).await;
    let mut new_id = ids();
    let target = Target { destination: &destination, tenant: &tenant("a"), new_id: &mut new_id };
    let settings = ConvertSettings::new(BlockSettings::default());
    let written = convert_traces(&traces, &settings, target).await.unwrap();
    assert_eq!(written.len(), 1);
    let found = blocks(folder.path(), "a").await;
    let report = verify_block(&found[0], &context()).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.span_count, traces.iter().map(|t| t.trace.span_count() as u64).sum::<u64>());
    assert!(matches!(read_traces(&source, 1_000).await, Err(Error::OverLimit { .. })));
}

#[tokio::test]
async fn destinations_that_cannot_be_written_to_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (url, reason) in [
        ("-", "blocks are folders"),
        ("sample:", "built-in sample"),
        ("https://example.com/a", "plain HTTP is read only"),
        (file.path().to_str().unwrap(), "there is a file of this name"),
        ("ftp://x", "unknown scheme"),
    ] {
        let error = Destination::open(url, &SourceOptions::default()).await.unwrap_err();
        assert!(error.to_string().starts_with("destination "), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// Spans are stored by resource, but the last root that was sent names the trace.
#[tokio::test]
async fn the_root_is_told_by_the_order_of_sending() {
    let of = |service: &str, id: u8| {
        let mut sent = ResourceSpans::default();
        sent.resource.attributes = vec![crate::model::KeyValue {
            key: "service.name".to_owned(),
            value: crate::model::AttributeValue::String(service.to_owned()),
        }];
        let span = Span { span_id: vec![id; 8], name: format!("root {id}"), ..Span::default() };
        sent.scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        sent
    };
    let resource_spans = vec![of("a", 1), of("b", 2), of("a", 3)];
    let sent = [Trace { id: TraceId::from_bytes(&[1]), resource_spans }];
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    std::fs::write(file.path(), otlp::to_otlp_json(&sent)).unwrap();
    let name = file.path().to_str().unwrap();
    let source = Source::open(name, &SourceOptions::default()).await.unwrap();
    let traces = read_traces(&source, u64::MAX).await.unwrap();
    assert_eq!(traces[0].trace.resource_spans.len(), 2);
    let fields = &traces[0].fields;
    assert_eq!(
        (fields.root_service_name.as_str(), fields.root_span_name.as_str()),
        ("a", "root 3")
    );
}
