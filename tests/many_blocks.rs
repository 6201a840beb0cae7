//! Many blocks: those behind the first ones are opened when their turn comes, and over a network several
//! are read at a time. Neither shows in an answer, and a search that has enough reads no further.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::write::otlp;
use traceql_engine::QueryOptions;

use crate::support::asking::{Asked, everything};
use crate::support::binary::{run, stderr};
use crate::support::data_set::RUNTIME;
use crate::support::files::Files;
use crate::support::{golden, stored};

const TENANT: &str = "shop";
/// More than a plan opens, so that some are opened when their turn comes.
const N_BLOCKS: usize = 12;

/// Every order, and what pruning makes of blocks: all match, some, none.
const QUERIES: [&str; 6] = [
    "{ }",
    "{ status = error }",
    "{ span.nosuch = \"x\" }",
    "{ resource.service.name = \"checkout\" } >> { status = error }",
    "{ kind = server } with (most_recent=true)",
    "{ } | order_by(duration desc)",
];

/// The traces of the shop by their starts.
static TRACES: LazyLock<Vec<Trace>> = LazyLock::new(|| {
    let mut traces = RUNTIME.block_on(stored::traces(&golden::testdata("blocks/shop"), "shop5"));
    traces.sort_by_key(|trace| trace.spans().map(|at| at.span.start_unix_nanos).min());
    traces
});

/// They lie in many blocks, one after the other; one trace of each block lies in the next one too.
static BUCKET: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rest: Option<Trace> = None;
    for traces in TRACES.chunks(TRACES.len().div_ceil(N_BLOCKS)) {
        let mut traces = traces.to_vec();
        traces.extend(rest.take());
        if let Some(split) = traces.iter_mut().find(|trace| has_parts(trace)) {
            let resource_spans = split.resource_spans.split_off(1);
            rest = Some(Trace { id: split.id, resource_spans });
        }
        write(folder.path(), &traces);
    }
    if let Some(rest) = rest {
        write(folder.path(), &[rest]);
    }
    folder
});

/// Of several roots one is shown, and which came last is nowhere stored.
fn has_parts(trace: &Trace) -> bool {
    let roots = trace.spans().filter(|at| at.span.parent_span_id.is_empty());
    trace.resource_spans.len() > 1 && roots.count() == 1
}

/// A block of some traces.
fn write(bucket: &Path, traces: &[Trace]) {
    let file = bucket.join("traces.pb");
    std::fs::write(&file, otlp::to_protobuf(traces)).expect("the file can be written");
    let (file, bucket) = (file.to_str().expect("a path"), bucket.to_str().expect("a path"));
    let arguments = ["convert", "-s", file, "--out", bucket, "--out-tenant", TENANT];
    let output = run(&[&arguments[..], &["--tenant-index"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    std::fs::remove_file(file).expect("it was written");
}

/// The folder of that bucket.
pub(crate) fn bucket() -> &'static Path {
    BUCKET.path()
}

fn disk() -> Asked {
    RUNTIME.block_on(Asked::folder(BUCKET.path(), TENANT))
}

fn network(files: &Files) -> Asked {
    let url = format!("{}/{TENANT}/", files.url);
    RUNTIME.block_on(Asked::open(&url, TENANT, &SourceOptions::default()))
}

fn ids(asked: &Asked, query: &str, options: &QueryOptions) -> Vec<TraceId> {
    let outcome = RUNTIME.block_on(asked.search(query, options)).expect("an answer");
    assert_eq!(outcome.partial, None, "{query}");
    outcome.answer.traces.iter().map(|trace| trace.trace_id).collect()
}

#[test]
fn who_opens_blocks_and_when_shows_in_no_answer() {
    let files = Files::serve(BUCKET.path().to_owned());
    for query in QUERIES {
        for limit in [1, 60, 400] {
            let limited = QueryOptions { limit, threads: 1, ..everything() };
            // Whoever may leave blocks out opens all of them first.
            let first = QueryOptions { skip_unreadable: true, ..limited.clone() };
            let expected = RUNTIME.block_on(disk().search(query, &first)).expect("an answer");
            let expected = expected.answer.traces;
            assert_eq!(expected.is_empty(), query.contains("nosuch"), "{query}");
            for threads in [1, 4] {
                let options = QueryOptions { threads, ..limited.clone() };
                for asked in [disk(), network(&files)] {
                    let outcome = RUNTIME.block_on(asked.search(query, &options));
                    let outcome = outcome.expect("an answer");
                    assert_eq!(outcome.answer.traces, expected, "{query} {limit} {threads}");
                    assert_eq!(outcome.stats.total_blocks, outcome.stats.selected_blocks);
                }
            }
        }
    }
}

#[test]
fn pages_go_through_all_blocks() {
    let files = Files::serve(BUCKET.path().to_owned());
    for asked in [disk(), network(&files)] {
        for query in QUERIES {
            let mut expected = ids(&asked, query, &everything());
            let mut paged = Vec::new();
            let mut options = QueryOptions { limit: 70, ..everything() };
            loop {
                let answer =
                    RUNTIME.block_on(asked.search(query, &options)).expect("a page").answer;
                paged.extend(answer.traces.iter().map(|trace| trace.trace_id));
                options.after = answer.next;
                if options.after.is_none() {
                    break;
                }
            }
            expected.sort();
            paged.sort();
            assert_eq!(paged, expected, "{query}");
        }
    }
}

#[test]
fn split_traces_are_whole_in_many_blocks() {
    let shop = RUNTIME.block_on(Asked::folder(&golden::testdata("blocks/shop"), "shop5"));
    for query in QUERIES {
        let expected = RUNTIME.block_on(shop.search(query, &everything())).expect("an answer");
        let given = RUNTIME.block_on(disk().search(query, &everything())).expect("an answer");
        let differ = crate::split::difference(&expected.answer.traces, &given.answer.traces);
        assert_eq!(differ, None, "{query}");
    }
}

#[test]
fn a_search_that_has_enough_opens_no_more_blocks() {
    let files = Files::serve(BUCKET.path().to_owned());
    let few = QueryOptions { limit: 5, threads: 1, ..everything() };
    assert_eq!(ids(&network(&files), "{ }", &few).len(), 5);
    let asked = files.take_asked();
    assert!(asked.len() <= 9, "{asked:?}");
    ids(&network(&files), "{ }", &everything());
    assert!(files.take_asked().len() >= N_BLOCKS);
}

#[test]
fn what_one_read_waits_for_keeps_no_other_waiting() {
    let files = Files::serve(BUCKET.path().to_owned());
    let asked = network(&files);
    let one = QueryOptions { threads: 1, ..everything() };
    // Now footers are known, and ids of traces.
    ids(&asked, "{ span.nosuch = \"x\" }", &one);
    files.let_pass(Some(0));
    std::thread::scope(|threads| {
        threads.spawn(|| ids(&asked, "{ status = error }", &one));
        let begun = Instant::now();
        while files.n_waiting() < 8 && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let n_waiting = files.n_waiting();
        files.let_pass(None);
        assert!(n_waiting >= 8, "{n_waiting}");
    });
}
