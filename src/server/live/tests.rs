//! The whole way from a request to a block within one process: what is acknowledged is seen once,
//! before, while and after it is flushed, and after the process was started again.

use std::sync::atomic::AtomicUsize;

use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::destination::Destination;
use traceql_blocks::bucket::live::LiveBlocks;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::model::{ResourceSpans, ScopeSpans, Span};
use traceql_blocks::write::block::BlockSettings;
use traceql_engine::{Engine, EngineConfig, QueryOptions};

use super::*;

/// A server's insides in a folder of a test.
struct Running {
    live: Arc<Live>,
    source: Source,
}

fn options(folder: &std::path::Path, destination: Destination) -> IngestOptions {
    IngestOptions {
        otlp_grpc: None,
        otlp_http: None,
        zipkin: None,
        jaeger_http: None,
        jaeger_grpc: None,
        wal: folder.join("wal"),
        segment_bytes: 2_000,
        destination,
        block: BlockSettings::default(),
        new_block_id: || {
            static LAST: AtomicUsize = AtomicUsize::new(1);
            uuid::Uuid::from_u128(LAST.fetch_add(1, Ordering::Relaxed) as u128)
        },
        limits: IngestLimits::default(),
        cut: CutSettings::default(),
        final_flush: std::time::Duration::from_secs(10),
        on_flush: None,
        on_step: Arc::new(|_| {}),
    }
}

impl Running {
    async fn start(folder: &std::path::Path, change: impl FnOnce(&mut IngestOptions)) -> Self {
        let bucket = folder.join("bucket");
        std::fs::create_dir_all(&bucket).unwrap();
        let url = bucket.to_str().unwrap();
        let stores = SourceOptions::default();
        let destination = Destination::open(url, &stores).await.unwrap();
        let mut options = options(folder, destination);
        change(&mut options);
        let live = Live::new(
            options,
            Tenancy::Header,
            Arc::default(),
            |line| println!("{line}"),
            Box::new(|_| {}),
        );
        live.open().unwrap();
        let source = Source::open(url, &stores).await.unwrap().keeping_blocklists();
        let source = source.with_live(Arc::clone(&live) as Arc<dyn LiveBlocks>);
        Self { live, source }
    }

    async fn send(&self, tenant: &str, traces: &[(u8, u8)]) -> std::result::Result<Taken, Refused> {
        let mut received = Received {
            tenant: TenantId::parse(tenant).ok(),
            traces: traces.iter().map(|(trace, span)| trace_with(*trace, *span)).collect(),
            size_bytes: 100,
            protocol: "",
            skips_metrics: false,
            wanted_after: false,
        };
        self.live.take(&mut received).await
    }

    async fn flush(&self) -> bool {
        Arc::clone(&self.live).flush_all(&self.source).await
    }

    /// Ends as a crash does: nothing is flushed. What was asked of the log is done.
    fn crash(self) {
        self.live.thread.stop();
    }

    /// Names of the spans that a search finds.
    async fn spans(&self, tenant: &str) -> Vec<String> {
        let _reading = self.live.reading();
        let engine = Engine::new(EngineConfig::default());
        let query =
            traceql_language::compile("{ } | select(name)", traceql_language::Dialect::Default)
                .unwrap();
        let options = QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() };
        let tenants = [TenantId::parse(tenant).unwrap()];
        let found = match engine.search(&self.source, &tenants, &query, &options).await {
            Ok(found) => found.answer.traces,
            Err(error) if error.to_string().contains("not found") => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        let spansets = found.iter().flat_map(|trace| &trace.spansets);
        let mut names: Vec<_> =
            spansets.flat_map(|set| &set.spans).filter_map(|span| span.name.clone()).collect();
        names.sort();
        names
    }

    async fn n_blocks(&self, tenant: &str) -> usize {
        let tenant = TenantId::parse(tenant).unwrap();
        let options = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
        self.source.stored().blocks(&tenant, &options).await.map_or(0, |list| list.blocks.len())
    }

    /// A span that is worth being encoded before somebody asks.
    async fn send_large(&self, tenant: &str, trace: u8, span: u8) {
        let mut trace = trace_with(trace, span);
        trace.resource_spans[0].scope_spans[0].spans[0].status_message = "x".repeat(300_000);
        let mut received = Received {
            tenant: TenantId::parse(tenant).ok(),
            traces: vec![trace],
            size_bytes: 100,
            protocol: "",
            skips_metrics: false,
            wanted_after: false,
        };
        self.live.take(&mut received).await.unwrap();
    }

    /// The last part that the view of a tenant has.
    fn last_part(&self, tenant: &str) -> u64 {
        let entries = self.live.views.asked_within(std::time::Duration::MAX);
        let entry = entries.iter().find(|(id, _)| id.as_str() == tenant);
        entry.map_or(0, |(_, entry)| entry.view.lock().last_part)
    }

    /// Segments of the view of a tenant, none of which shows a trace that another one shows.
    fn shown_apart(&self, tenant: &str) -> usize {
        let of_tenant = |id: &TenantId| id.as_str() == tenant;
        let entries = self.live.views.asked_within(std::time::Duration::MAX);
        let Some((_, entry)) = entries.iter().find(|(id, _)| of_tenant(id)) else { return 0 };
        let view = entry.view.lock();
        let mut shown = std::collections::BTreeSet::new();
        for segment in &view.segments {
            assert!(segment.traces.iter().all(|id| shown.insert(*id)), "shown twice");
            assert!(segment.traces.iter().all(|id| !segment.block.hidden.contains(*id)));
            assert!(segment.hidden.iter().all(|id| segment.block.hidden.contains(*id)));
            assert!(segment.block.hidden.is_apart());
        }
        view.segments.len()
    }

    fn segments(&self) -> usize {
        let files = std::fs::read_dir(&self.live.options.wal).unwrap();
        files.filter(|f| f.as_ref().unwrap().path().extension().is_some()).count()
    }
}

fn trace_with(trace: u8, span: u8) -> Trace {
    let span = Span {
        span_id: vec![trace, span, 0, 0, 0, 0, 0, 1],
        name: format!("{trace}-{span}"),
        start_unix_nanos: 1_000_000_000 + u64::from(span),
        end_unix_nanos: 2_000_000_000,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    Trace { id: TraceId([trace; 16]), resource_spans }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_seen_once_before_and_after_they_are_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |_| {}).await;
    assert!(running.spans("a").await.is_empty());
    running.send("a", &[(1, 1), (2, 1)]).await.unwrap();
    assert_eq!(running.spans("a").await, ["1-1", "2-1"]);
    running.send("a", &[(1, 2)]).await.unwrap();
    // Sent again, as after an answer that was lost.
    running.send("a", &[(1, 2)]).await.unwrap();
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"], "seen at once, copies once");
    assert!(running.spans("b").await.is_empty(), "each tenant sees its own");
    assert!(running.flush().await);
    assert_eq!(running.n_blocks("a").await, 1);
    assert_eq!(running.segments(), 0, "what is in blocks is not in the log");
    assert_eq!(running.live.held_bytes.load(Ordering::Relaxed), 0);
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"]);
    // A trace that goes on is whole over its block and what is live.
    running.send("a", &[(1, 3)]).await.unwrap();
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "1-3", "2-1"]);
    assert!(running.flush().await);
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "1-3", "2-1"]);
    assert_eq!(running.n_blocks("a").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |_| {}).await;
    running.send("a", &[(1, 1)]).await.unwrap();
    assert!(running.flush().await);
    running.send("a", &[(1, 2), (2, 1)]).await.unwrap();
    running.send("b", &[(3, 1)]).await.unwrap();
    running.crash();
    let running = Running::start(folder.path(), |_| {}).await;
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"]);
    assert_eq!(running.spans("b").await, ["3-1"]);
    assert!(running.flush().await);
    running.crash();
    let running = Running::start(folder.path(), |_| {}).await;
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"]);
    assert_eq!((running.n_blocks("a").await, running.n_blocks("b").await), (2, 1));
}

/// A block that was announced and perhaps written is neither lost nor written twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_block_is_finished_after_a_crash() {
    for is_written in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path(), |_| {}).await;
        running.send("a", &[(1, 1), (2, 1)]).await.unwrap();
        let tenant = TenantId::parse("a").unwrap();
        let flush = running.live.thread.cut(tenant, traces::Which::All).await.unwrap().unwrap();
        assert_eq!(running.spans("a").await, ["1-1", "2-1"], "while it is flushed");
        running.send("a", &[(1, 2)]).await.unwrap();
        if is_written {
            running.live.write_for_test(&flush).await;
            assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"], "here and there, but once");
        }
        running.crash();
        let running = Running::start(folder.path(), |_| {}).await;
        assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"]);
        assert!(running.flush().await);
        assert_eq!(running.n_blocks("a").await, 2);
        let stored: u64 = {
            let options = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
            let tenant = TenantId::parse("a").unwrap();
            let list = running.source.stored().blocks(&tenant, &options).await.unwrap();
            list.blocks.iter().map(|block| block.meta.total_objects).sum()
        };
        assert_eq!(stored, 3, "trace 1 in both, trace 2 in one");
        assert_eq!(running.segments(), 0);
        assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_refuse_or_drop_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |options| {
        options.limits.live_traces = 2;
        options.limits.rate_bytes = 1;
        options.limits.burst_bytes = 450;
    })
    .await;
    running.send("a", &[(1, 1), (2, 1)]).await.unwrap();
    let taken = running.send("a", &[(1, 2), (3, 1), (4, 1)]).await.unwrap();
    assert_eq!(taken.rejected_spans, 2);
    assert!(taken.why.starts_with("LIVE_TRACES_EXCEEDED: 2 spans"), "{}", taken.why);
    running.send("b", &[(3, 1)]).await.unwrap();
    for _ in 0..2 {
        running.send("a", &[(1, 1)]).await.unwrap();
    }
    let Err(Refused::Full(why, after)) = running.send("a", &[(1, 1)]).await else {
        panic!("the fifth request within a second is one too many")
    };
    assert!(why.starts_with("RATE_LIMITED: "), "{why}");
    assert_eq!(after.as_secs(), 5);
    running.send("b", &[(3, 2)]).await.unwrap();
    let no_tenant = running.send("", &[(1, 1)]).await;
    assert_eq!(no_tenant, Err(Refused::Unavailable("no org id".to_owned())));

    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |options| {
        options.limits.trace_bytes = 500;
        options.limits.live_bytes = 600;
    })
    .await;
    running.send("a", &[(1, 1), (2, 1)]).await.unwrap();
    let Err(Refused::Full(why, _)) = running.send("a", &[(3, 1), (4, 1)]).await else {
        panic!("memory is bounded")
    };
    assert!(why.contains("wait to be flushed"), "{why}");
    assert!(running.flush().await);
    running.send("a", &[(3, 1), (4, 1)]).await.unwrap();
    assert!(running.flush().await);
    running.send("a", &[(5, 1)]).await.unwrap();
    running.send("a", &[(5, 2)]).await.unwrap();
    let taken = running.send("a", &[(5, 3)]).await.unwrap();
    assert!(taken.why.starts_with("TRACE_TOO_LARGE: 1 spans"), "{}", taken.why);
    assert_eq!(running.spans("a").await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_delays_blocks_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |_| {}).await;
    running.send("a", &[(1, 1)]).await.unwrap();
    // A file where the tenant's folder would be.
    let in_the_way = folder.path().join("bucket/a");
    std::fs::write(&in_the_way, b"").unwrap();
    assert!(!running.flush().await);
    running.send("a", &[(1, 2)]).await.unwrap();
    assert!(!running.flush().await);
    std::fs::remove_file(&in_the_way).unwrap();
    assert_eq!(running.spans("a").await, ["1-1", "1-2"]);
    assert!(running.flush().await);
    assert_eq!(running.spans("a").await, ["1-1", "1-2"]);
    assert_eq!(running.segments(), 0);
}

/// A view that a query was told of stays while the query runs, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn views_stay_for_those_who_read_them() {
    use futures::StreamExt as _;
    use object_store::ObjectStore as _;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |_| {}).await;
    let objects = || async { running.live.views.store().list(None).count().await };
    let tenant = TenantId::parse("a").unwrap();
    running.send("a", &[(1, 1)]).await.unwrap();
    let reading = running.live.reading();
    let first = running.live.blocks(&tenant, None).await.unwrap().unwrap();
    let of_one = objects().await;
    assert!(of_one >= 4);
    let again = running.live.blocks(&tenant, None).await.unwrap().unwrap();
    assert_eq!(first[0].meta.block_id, again[0].meta.block_id, "nothing has changed");
    running.send("a", &[(1, 2)]).await.unwrap();
    let second = running.live.blocks(&tenant, None).await.unwrap().unwrap();
    assert_ne!(first[0].meta.block_id, second[0].meta.block_id);
    assert_eq!(objects().await, 2 * of_one);
    drop(reading);
    assert_eq!(objects().await, of_one);
    assert!(running.flush().await);
    assert_eq!(objects().await, 0, "of what is flushed no view is left");
    assert!(running.live.blocks(&tenant, None).await.unwrap().is_none());
}

/// Blocks of traces that rest, merged, outgrown and flushed, by queries and between them: whatever the
/// order, every span is seen once, and no trace is shown by two segments.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_any_history_hold_every_span_once() {
    let folder = tempfile::tempdir().unwrap();
    // Every trace rests as soon as it has come.
    let running =
        Running::start(folder.path(), |options| options.cut.idle = std::time::Duration::ZERO).await;
    let tenant = TenantId::parse("a").unwrap();
    let (mut sent, mut n_blocks, mut state) = (Vec::new(), Vec::new(), 7_u32);
    for round in 0..200_u8 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let random = state.to_le_bytes();
        let n_spans = usize::from(random[3] >> 6) + 1;
        let mut spans: Vec<(u8, u8)> =
            random.iter().take(n_spans).map(|byte| (byte % 120 + 1, round)).collect();
        spans.sort_unstable();
        spans.dedup();
        running.send("a", &spans).await.unwrap();
        sent.extend(spans.iter().map(|(trace, span)| format!("{trace}-{span}")));
        sent.sort();
        // Nobody tends the views of the second part.
        if round % 3 == 0 && round < 90 {
            assert!(running.live.add_to_views().await);
            running.live.merge_views().await;
        }
        running.live.blocks(&tenant, None).await.unwrap();
        n_blocks.push(running.shown_apart("a"));
        if round % 8 == 0 || n_blocks.last_chunk().is_some_and(|[before, after]| before > after) {
            assert_eq!(running.spans("a").await, sent, "round {round}");
        }
        if round % 60 == 40 && round < 120 {
            assert!(running.flush().await);
            assert_eq!(running.spans("a").await, sent, "round {round}, flushed");
        }
    }
    let most = |rounds: &[usize]| rounds.iter().max().copied().unwrap();
    assert!((10..20).contains(&most(&n_blocks[..90])), "{n_blocks:?}");
    assert_eq!(most(&n_blocks[101..]), 48, "{n_blocks:?}");
}

/// What comes is encoded before somebody asks for it, if somebody asks at all and it is worth it.
#[tokio::test(flavor = "multi_thread")]
async fn spans_are_encoded_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |_| {}).await;
    let tended = async || {
        assert!(running.live.add_to_views().await);
        running.shown_apart("a")
    };
    running.send_large("a", 1, 1).await;
    assert_eq!(tended().await, 0, "nobody has asked");
    assert_eq!(running.spans("a").await.len(), 1);
    running.send("a", &[(2, 1)]).await.unwrap();
    assert_eq!(tended().await, 1, "a query encodes so little when it comes");
    running.send_large("a", 3, 1).await;
    assert_eq!(tended().await, 2);
    let blocks = running.live.blocks(&TenantId::parse("a").unwrap(), None).await.unwrap().unwrap();
    assert_eq!((blocks.len(), blocks[1].meta.total_objects), (2, 2), "a query finds it done");
    // Whole, a large trace is encoded again and again: not for each of its pieces.
    let mut n_steps = 0;
    for piece in 2..14 {
        running.send_large("a", 1, piece).await;
        let before = running.last_part("a");
        tended().await;
        n_steps += usize::from(running.last_part("a") > before);
    }
    assert!((4..8).contains(&n_steps), "{n_steps} steps");
    assert_eq!(running.spans("a").await.len(), 15);
    assert_eq!(running.shown_apart("a"), 2);
}

/// Traces come in pieces, are flushed and asked for at the same time: what was acknowledged before a
/// question is in its answer, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn questions_beside_flushes_see_every_span_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Arc::new(Running::start(folder.path(), |_| {}).await);
    let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flushing = tokio::spawn({
        let (running, is_done) = (Arc::clone(&running), Arc::clone(&is_done));
        async move {
            let mut n_flushes = 0;
            while !is_done.load(Ordering::Relaxed) {
                assert!(running.flush().await);
                assert!(running.live.add_to_views().await);
                running.live.merge_views().await;
                n_flushes += 1;
            }
            n_flushes
        }
    });
    let mut sent = Vec::new();
    for piece in 0..12_u8 {
        // Each trace comes in four pieces, over the time of several flushes.
        let traces: Vec<(u8, u8)> = (0..8).map(|n| (piece / 4 * 8 + n + 1, piece)).collect();
        running.send("a", &traces).await.unwrap();
        sent.extend(traces.iter().map(|(trace, span)| format!("{trace}-{span}")));
        sent.sort();
        assert_eq!(running.spans("a").await, sent, "piece {piece}");
    }
    is_done.store(true, Ordering::Relaxed);
    assert!(flushing.await.unwrap() > 1);
    assert!(running.flush().await);
    assert_eq!(running.spans("a").await, sent);
    assert!(running.live.blocks(&TenantId::parse("a").unwrap(), None).await.unwrap().is_none());
}

/// A trace is read in one segment: the others hide it, so that no query puts it together.
#[tokio::test(flavor = "multi_thread")]
async fn older_copies_of_a_trace_are_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), |_| {}).await;
    let tenant = TenantId::parse("a").unwrap();
    let hides = |blocks: &[traceql_blocks::bucket::Block], trace: u8| {
        blocks.iter().filter(|block| block.hidden.contains(TraceId([trace; 16]))).count()
    };
    running.send("a", &[(1, 1), (2, 1), (3, 1)]).await.unwrap();
    assert_eq!(running.spans("a").await, ["1-1", "2-1", "3-1"]);
    running.send("a", &[(1, 2), (4, 1)]).await.unwrap();
    let blocks = running.live.blocks(&tenant, None).await.unwrap().unwrap();
    assert_eq!((blocks.len(), hides(&blocks, 1), hides(&blocks, 2)), (2, 1, 0));
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1", "3-1", "4-1"]);
    // Of a trace that goes on while it is flushed, only what came later is left.
    let flush = running.live.thread.cut(tenant.clone(), traces::Which::All).await.unwrap().unwrap();
    running.send("a", &[(2, 2)]).await.unwrap();
    running.spans("a").await;
    running.live.write_for_test(&flush).await;
    let stored = BlocklistOptions { no_index: true, ..BlocklistOptions::default() };
    let stored = running.source.stored().blocks(&tenant, &stored).await.unwrap().blocks.remove(0);
    let before = running.live.moves();
    running.live.move_to_bucket(&running.source, &flush, Some(stored));
    assert_eq!(running.live.moves(), before + 2);
    assert_eq!(running.spans("a").await, ["1-1", "1-2", "2-1", "2-2", "3-1", "4-1"]);
    let blocks = running.live.blocks(&tenant, None).await.unwrap().unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].meta.total_objects, 1, "the second piece of the second trace");
}
