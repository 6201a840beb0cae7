//! Orders of a query's own and pages of an answer: pages in a row are the whole answer, in every order,
//! from blocks and from files, and a cursor is refused where it says nothing. Which order is right is
//! `oracle`'s business.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use serde_json::Value as Json;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::TraceId;
use traceql_engine::QueryOptions;
use traceql_engine::search::{Cursor, SearchAnswer};

use crate::support::asking::{Asked, everything};
use crate::support::binary::{run, stderr, stdout};
use crate::support::data_set::RUNTIME;
use crate::support::golden;

/// Tenants whose traces lie in one block and in several, which share some.
const SOURCES: &[(&str, &str)] = &[
    ("blocks/shop", "shop3"),
    ("blocks/shop", "shop5"),
    ("blocks/fixtures/vParquet4", "synthetic-compaction"),
    ("blocks/fixtures/vParquet5", "synthetic-compaction"),
];

/// One query in each order.
const QUERIES: &[&str] = &[
    "{ }",
    "{ kind = server } with (most_recent=true)",
    "{ } | order_by(duration desc)",
    "{ } | order_by(count_distinct(name), root.name desc, span.http.route)",
];

fn ids(answer: &SearchAnswer) -> Vec<TraceId> {
    answer.traces.iter().map(|trace| trace.trace_id).collect()
}

fn shop() -> Asked {
    RUNTIME.block_on(Asked::folder(&golden::testdata("blocks/shop"), "shop5"))
}

/// Asks for page after page to the last one.
fn pages(asked: &Asked, query: &str, options: &QueryOptions) -> Vec<SearchAnswer> {
    let mut pages = Vec::new();
    let mut options = options.clone();
    loop {
        let answer = RUNTIME.block_on(asked.search(query, &options)).unwrap().answer;
        options.after.clone_from(&answer.next);
        pages.push(answer);
        if options.after.is_none() {
            return pages;
        }
    }
}

#[test]
fn pages_in_a_row_are_the_whole_answer() {
    for (bucket, tenant) in SOURCES {
        let asked = RUNTIME.block_on(Asked::folder(&golden::testdata(bucket), tenant));
        for query in QUERIES {
            let whole = RUNTIME.block_on(asked.search(query, &everything())).unwrap().answer;
            assert_eq!(whole.next, None);
            assert!(whole.traces.len() > 3, "{tenant} {query}");
            let n = whole.traces.len();
            for (limit, threads) in [(n / 4 + 1, 1), (n / 7 + 1, 4), (n, 2)] {
                let options = QueryOptions { limit, threads, ..everything() };
                let pages = pages(&asked, query, &options);
                let (last, full) = pages.split_last().unwrap();
                assert!(full.iter().all(|page| page.traces.len() == limit), "{tenant} {query}");
                assert!(last.traces.len() < limit, "{tenant} {query}");
                let mut paged: Vec<TraceId> = pages.iter().flat_map(ids).collect();
                let mut expected = ids(&whole);
                if *query == QUERIES[0] {
                    // Each page is shown newest first, and pages follow each other as traces are found.
                    paged.sort();
                    expected.sort();
                }
                assert_eq!(paged, expected, "{tenant} {query}, pages of {limit}");
            }
        }
    }
}

#[test]
fn a_file_has_pages_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.pb");
    let traces = RUNTIME.block_on(crate::support::stored::traces(
        &golden::testdata("blocks/fixtures/vParquet5"),
        "synthetic",
    ));
    std::fs::write(&path, traceql_blocks::write::otlp::to_protobuf(&traces)).unwrap();
    let asked = RUNTIME.block_on(Asked::folder(&path, "single-tenant"));
    let options = QueryOptions { limit: 2, ..everything() };
    for query in QUERIES {
        let mut paged: Vec<TraceId> = pages(&asked, query, &options).iter().flat_map(ids).collect();
        let whole = RUNTIME.block_on(asked.search(query, &everything())).unwrap().answer;
        let mut expected = ids(&whole);
        if *query == QUERIES[0] {
            paged.sort();
            expected.sort();
        }
        assert_eq!(paged, expected, "{query}");
    }
}

#[test]
fn the_first_of_an_order_are_the_beginning_of_the_whole() {
    let asked = shop();
    for query in &QUERIES[2..] {
        let whole = RUNTIME.block_on(asked.search(query, &everything())).unwrap().answer;
        for (limit, threads) in [(1, 1), (5, 4), (100, 2)] {
            let options = QueryOptions { limit, threads, ..everything() };
            let first = RUNTIME.block_on(asked.search(query, &options)).unwrap().answer;
            assert_eq!(first.traces[..], whole.traces[..limit], "{query}");
        }
    }
}

#[test]
fn the_smaller_limit_counts() {
    let asked = shop();
    let found = |query: &str, limit| {
        let options = QueryOptions { limit, ..everything() };
        RUNTIME.block_on(asked.search(query, &options)).unwrap().answer.traces.len()
    };
    assert_eq!(found("{ } | limit(5)", 20), 5);
    assert_eq!(found("{ } | limit(5)", 3), 3);
    assert_eq!(found("{ } | limit(5)", 0), 5);
    assert_eq!(found("{ } | order_by(name) | limit(5)", 20), 5);
}

/// The next page reads on where the one before stopped.
#[test]
fn a_page_reads_no_block_before_its_own() {
    let asked = shop();
    let options = QueryOptions { limit: 100, threads: 1, ..everything() };
    let units = |after: Option<Cursor>| {
        let options = QueryOptions { after, ..options.clone() };
        RUNTIME.block_on(asked.search("{ }", &options)).unwrap().stats.units_total
    };
    let pages = pages(&asked, "{ }", &options);
    let left: Vec<u64> =
        pages.iter().filter_map(|page| page.next.clone()).map(|next| units(Some(next))).collect();
    assert!(left.len() > 2 && left.is_sorted_by(|a, b| a >= b), "{left:?}");
    assert!(left.last() < Some(&units(None)), "{left:?} of {}", units(None));
}

#[test]
fn a_cursor_that_says_nothing_is_refused() {
    let asked = shop();
    let next = |asked: &Asked, query: &str| {
        let options = QueryOptions { limit: 3, ..everything() };
        RUNTIME.block_on(asked.search(query, &options)).unwrap().answer.next.unwrap()
    };
    let check = |asked: &Asked, query: &str, after: &Cursor, message: &str| {
        let options = QueryOptions { limit: 3, after: Some(after.clone()), ..everything() };
        let error = RUNTIME.block_on(asked.search(query, &options)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    let cursor = next(&asked, "{ kind = server }");
    check(&asked, "{ kind = client }", &cursor, "of another query");
    check(&asked, "{ kind = server } with (most_recent=true)", &cursor, "of another query");
    let bucket = golden::testdata("blocks/shop");
    let elsewhere = RUNTIME.block_on(Asked::folder(&bucket, "shop4"));
    check(&elsewhere, "{ kind = server }", &cursor, "is no longer there");
    let tenants = ["shop4", "shop5"].map(|tenant| TenantId::parse(tenant).unwrap());
    let both = Asked { tenants: tenants.to_vec(), ..asked };
    check(&both, "{ kind = server }", &cursor, "pages are of one tenant");
    // Nor is one given.
    let options = QueryOptions { limit: 3, ..everything() };
    assert_eq!(RUNTIME.block_on(both.search("{ }", &options)).unwrap().answer.next, None);
}

#[test]
fn the_command_line_pages() {
    let ask = |more: &[&str]| {
        let query = "{ status = error } | order_by(traceDuration desc)";
        run(&[&["query", "--source", "sample:", query, "--limit", "2"], more].concat())
    };
    let page = |more: &[&str]| {
        let answer: Json = serde_json::from_str(&stdout(&ask(more))).unwrap();
        let traces = answer["traces"].as_array().unwrap();
        let durations: Vec<u64> =
            traces.iter().map(|trace| trace["durationMs"].as_u64().unwrap()).collect();
        (durations, answer["cursor"].as_str().map(str::to_owned))
    };
    let (first, cursor) = page(&["-o", "json"]);
    let cursor = cursor.unwrap();
    let (second, _) = page(&["-o", "json", "--after", &cursor]);
    let all = [first, second].concat();
    assert_eq!(all.len(), 4);
    assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
    // A table says it below.
    let table = stderr(&ask(&["-o", "table"]));
    assert!(table.contains("the first 2 in the order of the query"), "{table}");
    assert!(table.contains(&format!("the next page: --after {cursor}")), "{table}");

    // So do rows for machines, if they are asked to; a cursor is no row.
    let told = format!("note: the next page: --after {cursor}\n");
    assert_eq!(stderr(&ask(&["-o", "ndjson", "--after", "start"])), told);
    assert_eq!(stderr(&ask(&["-o", "ndjson"])), "");

    let bad = ask(&["--after", "nonsense"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).contains("this is no cursor"), "{}", stderr(&bad));
    let of_another = run(&["query", "--source", "sample:", "{ }", "--after", &cursor]);
    assert_eq!(of_another.status.code(), Some(2));
    assert!(stderr(&of_another).contains("of another query"), "{}", stderr(&of_another));
    let metrics = run(&["query", "--source", "sample:", "{ } | rate()", "--after", &cursor]);
    assert_eq!(metrics.status.code(), Some(2));
    assert!(stderr(&metrics).contains("--after is for searches"), "{}", stderr(&metrics));
}
