//! How long does each benchmark search take, for the first 20 traces and for all, and how does that
//! compare with merely decoding the columns it touches?
//!
//! ```text
//! cargo bench --bench search                      the built-in sample
//! cargo bench --bench search -- FOLDER TENANT     blocks of your own
//! ```
//!
//! Each figure is the best of several runs in one process with warm caches, in milliseconds. The last
//! two columns are bytes read and requests made by one run.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::{Duration, Instant};

use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::{Engine, EngineConfig, QueryOptions};
use traceql_language::{Dialect, compile};

/// The searches of the benchmark, one per kind of question.
const QUESTIONS: [&str; 12] = [
    "{ status = error }",
    "{ resource.service.name = \"payment\" && duration > 100ms }",
    "{ span.http.response.status_code >= 500 }",
    "{ span.user.id = \"user-00777\" }",
    "{ span.nosuch = \"x\" }",
    "{ name =~ \".*Charge\" && status = error }",
    "{ event.exception.type = \"PaymentDeclined\" }",
    "{ resource.service.name = \"checkout\" } >> { status = error }",
    "{ kind = server } | avg(duration) > 2s",
    "{ } | by(resource.service.name) | count() > 40",
    "{ span.hits > 890 || span.fraud.score > 0.999 }",
    "{ span.db.statement =~ \".*stock.*\" && duration > 300ms }",
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
        println!("{:>9} {:>9} {:>9} {:>9}  question", "limit 20", "all", "bytes", "requests");
        for question in QUESTIONS {
            let first = best(&engine, &source, &tenant, question, 20).await;
            let all = best(&engine, &source, &tenant, question, 0).await;
            println!(
                "{:>9.2} {:>9.2} {:>9} {:>9}  {question}",
                first.0.as_secs_f64() * 1e3,
                all.0.as_secs_f64() * 1e3,
                all.1,
                all.2,
            );
        }
    });
}

async fn best(
    engine: &Engine,
    source: &Source,
    tenant: &TenantId,
    question: &str,
    limit: usize,
) -> (Duration, u64, u64) {
    let query = compile(question, Dialect::Default).expect("the question compiles");
    let options = QueryOptions { limit, ..QueryOptions::default() };
    let tenants = std::slice::from_ref(tenant);
    let mut best = (Duration::MAX, 0, 0);
    for _ in 0..RUNS {
        let asked = Instant::now();
        let outcome = engine
            .search(source, tenants, &query, &options, None)
            .await
            .expect("the question has an answer");
        let elapsed = asked.elapsed();
        if elapsed < best.0 {
            best = (elapsed, outcome.stats.bytes_read, outcome.stats.requests);
        }
    }
    best
}
