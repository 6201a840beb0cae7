//! Every plan of the query corpus survives a wire: encoded, decoded and run, it gives the same rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_language::{Dialect, compile};

use super::EngineCodec;
use crate::metrics::{self, MetricsKind, MetricsRequest};
use crate::options::QueryOptions;
use crate::query;
use crate::runtime::{QueryRun, Runtime};

fn queries(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            queries(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "traceql") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn plans_of_the_corpus_run_the_same_after_encoding_and_decoding() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../queries");
    let mut paths = Vec::new();
    for folder in ["select", "structural", "pipeline"] {
        queries(&root.join(folder), &mut paths);
    }
    assert!(paths.len() >= 30, "the corpus has {} searches", paths.len());
    let source = Source::open("sample:", &SourceOptions::default()).await.unwrap();
    let tenants = [TenantId::single()];
    let options = QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() };
    let runtime = Arc::new(Runtime::new(1 << 20, None));
    let mut n_results = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let typed = compile(&text, Dialect::Default).unwrap_or_else(|e| panic!("{path:?}: {e:?}"));
        let run = QueryRun::new(&options);
        let planned =
            query::plan(&runtime, &run, &source, &tenants, &typed, &options).await.unwrap();
        let bytes = physical_plan_to_bytes_with_extension_codec(
            Arc::clone(&planned.physical),
            &EngineCodec,
        )
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let context = query::task_context(&runtime, &run);
        let decoded = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &EngineCodec)
            .unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let here = query::gather(&runtime, &run, &typed, planned.physical).await.unwrap();
        let run = QueryRun::new(&options);
        let there = query::gather(&runtime, &run, &typed, decoded).await.unwrap();
        assert_eq!(here, there, "{path:?}");
        n_results += here.len();
    }
    assert!(n_results > 100, "the corpus finds {n_results} traces in the sample");
}

#[tokio::test]
async fn metrics_of_the_corpus_run_the_same_after_encoding_and_decoding() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../queries/metrics");
    let mut paths = Vec::new();
    queries(&root, &mut paths);
    assert!(paths.len() >= 15, "the corpus has {} metrics queries", paths.len());
    let source = Source::open("sample:", &SourceOptions::default()).await.unwrap();
    let tenants = [TenantId::single()];
    let options = QueryOptions::default();
    let runtime = Arc::new(Runtime::new(1 << 20, None));
    let mut n_series = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let typed = compile(&text, Dialect::Default).unwrap_or_else(|e| panic!("{path:?}: {e:?}"));
        for kind in [MetricsKind::Range { step_nanos: Some(60_000_000_000) }, MetricsKind::Instant]
        {
            let request = MetricsRequest { kind, exemplars: 7, ..MetricsRequest::default() };
            let run = QueryRun::new(&options);
            let planned =
                metrics::plan(&runtime, &run, &source, &tenants, &typed, &request, &options)
                    .await
                    .unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let bytes = physical_plan_to_bytes_with_extension_codec(
                Arc::clone(&planned.physical),
                &EngineCodec,
            )
            .unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let context = query::task_context(&runtime, &run);
            let decoded =
                physical_plan_from_bytes_with_extension_codec(&bytes, &context, &EngineCodec)
                    .unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let here = metrics::execute(&runtime, &run, planned.physical).await.unwrap();
            let run = QueryRun::new(&options);
            let there = metrics::execute(&runtime, &run, decoded).await.unwrap();
            assert_eq!(here, there, "{path:?}");
            assert!(!here.is_empty(), "{path:?} finds something in the sample");
            n_series += here.len();
        }
    }
    assert!(n_series > 100, "the corpus gives {n_series} series");
}

#[test]
fn bytes_that_are_no_plan_are_refused() {
    let runtime = Arc::new(Runtime::new(1 << 20, None));
    let context = query::task_context(&runtime, &QueryRun::new(&QueryOptions::default()));
    for bytes in [&b"\xff\xff\xff"[..], b"", b"\x0a\x02\x08\x63"] {
        let converter = datafusion_proto::physical_plan::DefaultPhysicalProtoConverter {};
        let decoded = datafusion_proto::physical_plan::PhysicalExtensionCodec::try_decode(
            &EngineCodec,
            bytes,
            &[],
            &context,
            &converter,
        );
        assert!(decoded.is_err(), "{bytes:?}");
    }
}
