//! How long does each metrics function take, with warm caches, in milliseconds, and what does it read?
//!
//! ```text
//! cargo bench --bench metrics                      the built-in sample
//! cargo bench --bench metrics -- FOLDER TENANT     blocks of your own
//! ```
//!
//! Each figure is the best of several runs in one process, over everything the source holds at a step
//! of a minute. The last columns are bytes read and requests made by one run, and series found.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::{Duration, Instant};

use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::metrics::{MetricsKind, MetricsRequest};
use traceql_engine::{Engine, EngineConfig, QueryOptions};
use traceql_language::{Dialect, compile};

/// One question per function, and one per way of finding the spans.
const QUESTIONS: [&str; 17] = [
    "{ } | rate()",
    "{ } | rate() by (resource.service.name)",
    "{ status = error } | count_over_time() by (resource.service.name, name)",
    "{ kind = server } | min_over_time(duration) by (resource.service.name)",
    "{ kind = server } | max_over_time(duration) by (resource.service.name)",
    "{ kind = server } | avg_over_time(duration) by (resource.service.name)",
    "{ } | sum_over_time(span.http.response.body.size) by (span.http.route)",
    "{ kind = server } | quantile_over_time(duration, .5, .9, .99) by (resource.service.name)",
    "{ kind = server } | quantile_over_time(duration, .5, .9, .99) with (exact=true)",
    "{ kind = server } | histogram_over_time(duration)",
    "{ kind = server } | compare({ status = error })",
    "{ span.http.response.status_code >= 500 } | rate() by (span.http.route)",
    "{ span.cache.hit = false } | rate() by (resource.deployment.environment)",
    "{ name = \"POST /cart/checkout\" } >> { status = error } | rate() by (resource.service.name)",
    "{ } | count() > 10 | rate()",
    "({ status = error } | rate() by (name)) / ({ } | rate() by (name))",
    "{ } | rate() by (span:id) | topk(5)",
];

const RUNS: usize = 7;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let (url, tenant) = match arguments.as_slice() {
        [url, tenant, ..] => (url.as_str(), tenant.as_str()),
        _ => ("sample:", "single-tenant"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started");
    runtime.block_on(async {
        let source = Source::open(url, &SourceOptions::default()).await.expect("the source opens");
        let tenant: TenantId = tenant.parse().expect("the tenant has a valid name");
        let engine = Engine::new(EngineConfig::default());
        println!("{:>9} {:>9} {:>9} {:>9}  question", "range", "bytes", "requests", "series");
        for question in QUESTIONS {
            let (time, bytes, requests, series) = best(&engine, &source, &tenant, question).await;
            let time = time.as_secs_f64() * 1e3;
            println!("{time:>9.2} {bytes:>9} {requests:>9} {series:>9}  {question}");
        }
    });
}

async fn best(
    engine: &Engine,
    source: &Source,
    tenant: &TenantId,
    question: &str,
) -> (Duration, u64, u64, usize) {
    let query = compile(question, Dialect::Default).expect("the question compiles");
    let tenants = std::slice::from_ref(tenant);
    let options = QueryOptions::default();
    let request = MetricsRequest {
        kind: MetricsKind::Range { step_nanos: Some(60_000_000_000) },
        ..MetricsRequest::default()
    };
    let mut found = (Duration::MAX, 0, 0, 0);
    for _ in 0..RUNS {
        let asked = Instant::now();
        let outcome = engine
            .metrics(source, tenants, &query, &request, &options)
            .await
            .expect("the question is answered");
        let stats = &outcome.stats;
        let n_series = outcome.answer.series.len();
        found = (found.0.min(asked.elapsed()), stats.bytes_read, stats.requests, n_series);
    }
    found
}
