//! A trace whose spans lie in two blocks is answered as one: whatever is asked of the two inputs of
//! a compaction, made live again, is answered as by the block that was made of them. What a query
//! makes of parts alone is shown to differ, so that the test would notice if they were not joined.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use traceql_blocks::model::{Trace, TraceId};
use traceql_engine::QueryOptions;
use traceql_engine::search::TraceResult;
use traceql_language::analyze::ir::{AttributeScope, Field};

use crate::support::asking::{Asked, everything};
use crate::support::golden;

/// The tenant of the fixtures.
pub(crate) const TENANT: &str = "synthetic-compaction";

/// A format version, the inputs of its compaction, and the block made of them.
pub(crate) const FIXTURES: [(&str, [&str; 2], &str); 2] = [
    (
        "vParquet4",
        ["44444444-0000-4000-8000-000000000002", "44444444-0000-4000-8000-000000000003"],
        "259abbf0-fedb-4c88-93a4-b4c147fcbc9f",
    ),
    (
        "vParquet5",
        ["55555555-0000-4000-8000-000000000002", "55555555-0000-4000-8000-000000000003"],
        "190320b4-6596-45f4-b8bb-a3e5a08dfce8",
    ),
];

/// The traces of which each input holds a different part.
pub(crate) const SPLIT: [&str; 2] =
    ["0000000000000000ca55bdb4f0f52af7", "000a785be781391fa58e7bb92bcf5bca"];

/// Queries whose answers on split traces need both parts: relations between spans of different
/// parts, numbers of all spans, groups and lists over them.
pub(crate) const QUERIES: [&str; 12] = [
    "{ name = \"naïve café ☕\" } >> { kind = producer }",
    "{ } > { status = error }",
    "{ status = error } !>> { }",
    "{ kind = consumer } ~ { }",
    "{ } &>> { kind = server }",
    "{ } | count() > 14",
    "{ status = error } | count() > 3 | select(name, span.http.status_code)",
    "{ } | avg(duration) > 1ms",
    "{ } | by(kind) | count() > 2",
    "{ } | by(resource.service.name) | sum(duration) > 10ms",
    "({ kind = server } | count()) < ({ status = error } | count())",
    "{ span:childCount > 1 } | select(span:childCount, parent.name)",
];

/// Copies blocks of a version into a bucket of their own and makes them live. Each comes with the
/// end that its meta is to say, if not its own.
pub(crate) fn live(version: &str, blocks: &[(&str, Option<&str>)]) -> TempDir {
    let bucket = tempfile::tempdir().expect("a folder");
    let from = golden::testdata("blocks/fixtures").join(version).join(TENANT);
    for (block, end) in blocks {
        let to = bucket.path().join(TENANT).join(block);
        fs::create_dir_all(&to).expect("a folder");
        for name in ["data.parquet", "bloom-0", "index"] {
            fs::copy(from.join(block).join(name), to.join(name)).expect("the block is whole");
        }
        let meta: Vec<PathBuf> = ["meta.json", "meta.compacted.json"]
            .map(|name| from.join(block).join(name))
            .into_iter()
            .filter(|path| path.exists())
            .collect();
        let mut meta = fs::read_to_string(&meta[0]).expect("every block has a meta");
        if let Some(end) = end {
            let own = "\"endTime\":\"2025-06-15T15:12:37Z\"";
            assert!(meta.contains(own), "{meta}");
            meta = meta.replace(own, &format!("\"endTime\":\"{end}\""));
        }
        fs::write(to.join("meta.json"), meta).expect("the meta can be written");
    }
    bucket
}

/// The search's answer, whole.
pub(crate) async fn answer(bucket: &Path, query: &str, options: &QueryOptions) -> Vec<TraceResult> {
    let asked = Asked::folder(bucket, TENANT).await;
    let outcome = asked.search(query, options).await.unwrap_or_else(|e| panic!("{query}: {e}"));
    assert_eq!(outcome.partial, None, "{query}");
    outcome.answer.traces
}

/// How two answers differ, if they do.
pub(crate) fn difference(expected: &[TraceResult], given: &[TraceResult]) -> Option<String> {
    golden::difference(&golden::answer_json(expected), given)
}

/// The answers for the split traces alone.
fn of_split(answer: &[TraceResult]) -> Vec<TraceResult> {
    let is_split = |result: &&TraceResult| SPLIT.contains(&result.trace_id.to_string().as_str());
    answer.iter().filter(is_split).cloned().collect()
}

#[tokio::test]
async fn both_parts_are_judged_together() {
    for (version, [first, second], whole) in FIXTURES {
        let compacted = live(version, &[(whole, None)]);
        let alone = [first, second].map(|block| live(version, &[(block, None)]));
        // Blocks are read newest end first: each input comes first once.
        let orders = [
            live(version, &[(first, None), (second, Some("2025-06-15T15:12:36Z"))]),
            live(version, &[(first, Some("2025-06-15T15:12:36Z")), (second, None)]),
        ];
        for query in QUERIES {
            let expected = answer(compacted.path(), query, &everything()).await;
            assert!(!of_split(&expected).is_empty(), "{version} {query}");
            for part in &alone {
                let of_part = answer(part.path(), query, &everything()).await;
                let differs = difference(&of_split(&expected), &of_split(&of_part)).is_some();
                assert!(differs, "{version} {query} needs one part alone");
            }
            for (order, bucket) in orders.iter().enumerate() {
                for threads in [1, 4] {
                    for (pruning, library_reader) in [(true, false), (false, false), (true, true)] {
                        let options =
                            QueryOptions { threads, pruning, library_reader, ..everything() };
                        let given = answer(bucket.path(), query, &options).await;
                        let differs = difference(&expected, &given);
                        assert_eq!(differs, None, "{version} {query} {order} {options:?}");
                    }
                }
            }
        }
    }
}

/// A block outside the range is not searched, but its part of a trace inside still belongs to it.
#[tokio::test]
async fn a_block_beyond_the_range_completes_traces_of_others() {
    const SECOND: u64 = 1_000_000_000;
    // From 15:12:35 on: one of the two traces, and the one block that says it ends later.
    let range = Some((1_750_000_355 * SECOND, 1_750_000_400 * SECOND));
    for (version, [first, second], whole) in FIXTURES {
        let compacted = live(version, &[(whole, None)]);
        let early = Some("2025-06-15T15:12:30Z");
        for blocks in [[(first, None), (second, early)], [(first, early), (second, None)]] {
            let bucket = live(version, &blocks);
            for threads in [1, 4] {
                let options = QueryOptions { time_range: range, threads, ..everything() };
                let mut n_found = 0;
                for query in QUERIES {
                    let expected = answer(compacted.path(), query, &options).await;
                    let given = answer(bucket.path(), query, &options).await;
                    n_found += given.len();
                    assert_eq!(difference(&expected, &given), None, "{version} {query} {blocks:?}");
                }
                assert!(n_found >= QUERIES.len() / 2, "{version}: {n_found} results");
                let asked = Asked::folder(bucket.path(), TENANT).await;
                let outcome = asked.search("{ }", &options).await.unwrap();
                assert_eq!(outcome.stats.selected_blocks, 1);
            }
        }
    }
}

/// With a limit, a trace in two blocks takes one place, in whichever order they are read.
#[tokio::test]
async fn a_limit_counts_a_split_trace_once() {
    for (version, [first, second], whole) in FIXTURES {
        let compacted = live(version, &[(whole, None)]);
        let n_all = answer(compacted.path(), "{ }", &everything()).await.len();
        let bucket = live(version, &[(first, None), (second, None)]);
        for limit in 1..=n_all + 1 {
            let options = QueryOptions { limit, ..everything() };
            let given = answer(bucket.path(), "{ }", &options).await;
            let mut ids: Vec<TraceId> = given.iter().map(|trace| trace.trace_id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), limit.min(n_all), "{version} limit {limit}");
            assert_eq!(given.len(), ids.len(), "{version} limit {limit}");
        }
    }
}

/// Traces, names and values of the inputs are those of the compacted block.
#[tokio::test]
async fn traces_names_and_values_are_whole() {
    let options = everything();
    for (version, [first, second], whole) in FIXTURES {
        let compacted = live(version, &[(whole, None)]);
        let bucket = live(version, &[(first, None), (second, None)]);
        let expected = Asked::folder(compacted.path(), TENANT).await;
        let given = Asked::folder(bucket.path(), TENANT).await;
        for id in SPLIT {
            let id = TraceId(u128::from_str_radix(id, 16).unwrap().to_be_bytes());
            let spans = async |asked: &Asked| {
                let trace: Trace = asked.trace(id, &options).await.unwrap().answer.unwrap();
                let mut spans: Vec<String> =
                    trace.spans().map(|at| format!("{:?}", at.span)).collect();
                spans.sort();
                spans
            };
            assert_eq!(spans(&expected).await, spans(&given).await, "{version} {id}");
        }
        assert_eq!(
            expected.names(&options).await.unwrap().answer,
            given.names(&options).await.unwrap().answer,
            "{version}"
        );
        let field = Field::attribute(AttributeScope::Resource, "service.name".to_owned());
        assert_eq!(
            expected.values(field.clone(), &options).await.unwrap().answer,
            given.values(field, &options).await.unwrap().answer,
            "{version}"
        );
    }
}

/// A trace of which two blocks hold parts stands where the first of them is, on one page.
#[tokio::test]
async fn pages_show_a_split_trace_once() {
    for (version, inputs, _) in FIXTURES {
        let bucket = live(version, &inputs.map(|block| (block, None)));
        let asked = Asked::folder(bucket.path(), TENANT).await;
        let whole = asked.search("{ }", &everything()).await.expect("an answer").answer;
        let mut expected: Vec<TraceId> = whole.traces.iter().map(|trace| trace.trace_id).collect();
        let mut shown = Vec::new();
        let mut options = QueryOptions { limit: 1, ..everything() };
        loop {
            let page = asked.search("{ }", &options).await.expect("a page").answer;
            shown.extend(page.traces.iter().map(|trace| trace.trace_id));
            options.after = page.next;
            if options.after.is_none() {
                break;
            }
        }
        assert!(shown.len() > 2);
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected, "{version}");
    }
}
