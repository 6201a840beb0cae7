//! How long does each benchmark search take, for the first 20 traces and for all?
//!
//! ```text
//! cargo bench --bench search                  all questions
//! cargo bench --bench search -- status event  some of them
//! ```
//!
//! Each figure is the best of several runs in one process with warm caches, in milliseconds, on two
//! threads. Bytes and requests are those of the run for all traces. `support` says which data.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod support;

use std::time::{Duration, Instant};

use traceql_engine::{Engine, EngineConfig, QueryOptions, QueryStats};

use support::{Data, Question};

const RUNS: usize = 9;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started");
    runtime.block_on(async {
        let data = Data::open().await;
        let engine = Engine::new(EngineConfig::default());
        println!(
            "{:>9} {:>9} {:>7} {:>9} {:>9}  question",
            "limit 20", "all", "traces", "bytes", "requests"
        );
        for question in support::chosen() {
            let (first, _, _) = best(&engine, &data, question, 20).await;
            let (all, n_traces, stats) = best(&engine, &data, question, 0).await;
            println!(
                "{:>9.2} {:>9.2} {n_traces:>7} {:>9} {:>9}  {}",
                first.as_secs_f64() * 1e3,
                all.as_secs_f64() * 1e3,
                stats.bytes_read,
                stats.requests,
                question.text,
            );
        }
    });
}

async fn best(
    engine: &Engine,
    data: &Data,
    question: &Question,
    limit: usize,
) -> (Duration, usize, QueryStats) {
    let options = QueryOptions { limit, ..QueryOptions::default() };
    let mut best = (Duration::MAX, 0, QueryStats::default());
    for _ in 0..RUNS {
        let asked = Instant::now();
        let (answer, stats) = data.ask(engine, question, &options).await;
        let elapsed = asked.elapsed();
        if elapsed < best.0 {
            best = (elapsed, answer.traces.len(), stats);
        }
    }
    best
}
