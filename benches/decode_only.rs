//! How much does a search cost over merely decoding the columns it touches? At most twice as much is
//! the bar; what lies between is evaluation, results and the way through the plan.
//!
//! ```text
//! cargo bench --bench decode_only             all questions
//! cargo bench --bench decode_only -- status   some of them
//! ```
//!
//! Query and decoding take turns in one process, on one thread, with warm caches; the best of several
//! runs counts, in milliseconds. The query asks for all traces. `scan` decodes what is looked at in
//! every trace, `touched` also what results show, for the traces that match and no others, which is
//! what the query has to read at least unless it can tell from encoded data that nothing matches.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod support;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::model::TraceId;
use traceql_blocks::read::batch::TraceData as _;
use traceql_blocks::read::block_batch::BlockBatch;
use traceql_blocks::read::digest::trace_ids;
use traceql_blocks::read::leaf::{Fault, Window};
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::open::{BlockCache, OpenBlock, ReadContext};
use traceql_blocks::schema::Column;
use traceql_engine::{Engine, EngineConfig, QueryOptions};

use support::{Data, Question};

const RUNS: usize = 9;

/// Traces decoded at a time, about as many as a unit of a query has.
const WINDOW_ROWS: u32 = 2_048;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let data = Data::open().await;
        let blocks = Blocks::open(&data).await;
        let engine = Engine::new(EngineConfig::default());
        println!(
            "{:>9} {:>9} {:>9} {:>7} {:>7}  question",
            "query", "scan", "touched", "ratio", "traces"
        );
        let (mut product, mut n) = (1.0, 0);
        for question in support::chosen() {
            let row = measure(&engine, &data, &blocks, question).await;
            let ratio = row.query.as_secs_f64() / row.touched.as_secs_f64();
            println!(
                "{:>9.2} {:>9.2} {:>9.2} {ratio:>7.2} {:>7}  {}",
                row.query.as_secs_f64() * 1e3,
                row.scan.as_secs_f64() * 1e3,
                row.touched.as_secs_f64() * 1e3,
                row.n_traces,
                question.text,
            );
            product *= ratio;
            n += 1;
        }
        println!("geometric mean of ratios: {:.2}", product.powf(1.0 / f64::from(n.max(1))));
    });
}

struct Row {
    query: Duration,
    scan: Duration,
    touched: Duration,
    n_traces: usize,
}

async fn measure(engine: &Engine, data: &Data, blocks: &Blocks, question: &Question) -> Row {
    let options = QueryOptions { limit: 0, threads: 1, ..QueryOptions::default() };
    let (answer, _) = data.ask(engine, question, &options).await;
    let matched: BTreeSet<TraceId> = answer.traces.iter().map(|trace| trace.trace_id).collect();
    let (scanned, shown) = ((question.scanned)(), question.shown());
    let mut row = Row {
        query: Duration::MAX,
        scan: Duration::MAX,
        touched: Duration::MAX,
        n_traces: matched.len(),
    };
    for _ in 0..RUNS {
        let begun = Instant::now();
        black_box(data.ask(engine, question, &options).await);
        row.query = row.query.min(begun.elapsed());

        let begun = Instant::now();
        blocks.decode(&scanned, &[], &matched).await;
        row.scan = row.scan.min(begun.elapsed());

        let begun = Instant::now();
        blocks.decode(&scanned, &shown, &matched).await;
        row.touched = row.touched.min(begun.elapsed());
    }
    row
}

/// The blocks of the tenant, opened, with the ids of their traces in the order of rows.
struct Blocks {
    context: ReadContext,
    blocks: Vec<(Arc<OpenBlock>, Vec<TraceId>)>,
}

impl Blocks {
    async fn open(data: &Data) -> Self {
        let context = ReadContext::new(Arc::new(BlockCache::new(64 << 20)));
        let list = data
            .source
            .blocks(&data.tenants[0], &BlocklistOptions::default())
            .await
            .expect("the blocks are listed");
        let mut blocks = Vec::new();
        for block in &list.blocks {
            let open = OpenBlock::open(block, &context).await.expect("the block opens");
            let ids = trace_ids(&open, &context).await.expect("the ids are read");
            blocks.push((open, ids));
        }
        Self { context, blocks }
    }

    /// Decodes some columns of all traces, then others of the traces that matched.
    async fn decode(&self, scanned: &[Column], shown: &[Column], matched: &BTreeSet<TraceId>) {
        for (open, ids) in &self.blocks {
            for row_group in 0..open.n_row_groups() {
                let n_rows = open.n_rows(row_group);
                let first = usize::try_from(open.row_group_rows(row_group).start).expect("64 bits");
                let context = self.context.clone();
                let mut window = Window::new(Arc::clone(open), row_group, 0..0, context);
                for start in (0..n_rows).step_by(WINDOW_ROWS as usize) {
                    window.advance(start..(start + WINDOW_ROWS).min(n_rows));
                    let n = window.n_rows();
                    let at = first + start as usize;
                    let mut batch = BlockBatch::new(window);
                    columns(&mut batch, scanned, &Mask::all(n)).await;
                    let rows = Mask::from_fn(n, |row| matched.contains(&ids[at + row]));
                    if rows.any() {
                        columns(&mut batch, shown, &rows).await;
                    }
                    window = batch.into_window();
                }
            }
        }
    }
}

/// Decodes columns, after one fetch for what is missing of all of them.
async fn columns(batch: &mut BlockBatch, columns: &[Column], rows: &Mask) {
    columns.iter().for_each(|column| batch.prefetch(column, rows));
    for column in columns {
        loop {
            match batch.column(column, rows) {
                Ok(column) => {
                    black_box(column);
                    break;
                }
                Err(Fault::Missing) => batch.fetch().await.expect("the pages are there"),
                Err(Fault::Failed(error)) => panic!("{error}"),
            }
        }
    }
}
