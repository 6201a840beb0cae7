//! SQL over traces: it gives the numbers that TraceQL gives, over blocks of every version and an
//! OTLP file; it reads no more than it needs, and no sooner. What the command prints is tested in
//! `sql_cli.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in helpers too")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use traceql_blocks::bucket::store::SourceOptions;
use traceql_engine::metrics::{MetricsKind, MetricsRequest};
use traceql_engine::tables::{SqlAnswer, SqlStatement};
use traceql_engine::{Error, Outcome, QueryOptions, Result};
use traceql_language::Dialect;

use crate::support::asking::{Asked, everything};
use crate::support::binary::check_snapshot;
use crate::support::golden::testdata;

/// Starts a statement.
async fn start(of: &Asked, sql: &str, options: &QueryOptions) -> Result<SqlAnswer> {
    let statement = SqlStatement::parse(sql)?.remove(0);
    of.engine.sql(&of.source, &of.tenants, &statement, options).await
}

/// All rows of a statement and what they cost.
async fn try_rows(
    of: &Asked,
    sql: &str,
    options: &QueryOptions,
) -> Result<(Vec<Vec<String>>, Outcome<()>)> {
    let mut answer = start(of, sql, options).await?;
    let mut rows = Vec::new();
    while let Some(batch) = answer.next().await? {
        assert_eq!(batch.schema(), *answer.schema(), "{sql}");
        rows.extend(texts(&batch));
    }
    Ok((rows, answer.finish()))
}

async fn rows(of: &Asked, sql: &str) -> Vec<Vec<String>> {
    try_rows(of, sql, &everything()).await.unwrap_or_else(|error| panic!("{sql}: {error}")).0
}

fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect())
        .collect()
}

/// The one number of a statement.
async fn number(of: &Asked, sql: &str) -> u64 {
    let rows = rows(of, sql).await;
    let [row] = rows.as_slice() else { panic!("{sql}: {rows:?}") };
    row[0].parse().unwrap_or_else(|_| panic!("{sql}: {row:?}"))
}

async fn shop(version: u8) -> Asked {
    Asked::folder(&testdata("blocks/shop"), &format!("shop{version}")).await
}

async fn otlp() -> Asked {
    let file = testdata(
        "blocks/fixtures/vParquet4/synthetic/44444444-0000-4000-8000-000000000001/traces.otlp.jsonl",
    );
    Asked::open(file.to_str().unwrap(), "single-tenant", &SourceOptions::default()).await
}

/// Every kind of source: each version, exotic data, traces split over blocks, a file.
async fn sources() -> Vec<(&'static str, Asked)> {
    let fixtures = |version: &str| testdata(&format!("blocks/fixtures/{version}"));
    vec![
        ("shop3", shop(3).await),
        ("shop4", shop(4).await),
        ("shop5", shop(5).await),
        ("synthetic3", Asked::folder(&fixtures("vParquet3"), "synthetic").await),
        ("synthetic4", Asked::folder(&fixtures("vParquet4"), "synthetic").await),
        ("synthetic5", Asked::folder(&fixtures("vParquet5"), "synthetic").await),
        ("split4", Asked::folder(&fixtures("vParquet4"), "synthetic-compaction").await),
        ("otlp", otlp().await),
    ]
}

/// A filter of TraceQL, and the spans it matches in SQL: a table of spans and a condition.
const FILTERS: [(&str, &str); 34] = [
    ("{ }", "spans"),
    ("{ status = error }", "spans WHERE status = 'error'"),
    ("{ status != error }", "spans WHERE status <> 'error'"),
    ("{ kind = server }", "spans WHERE kind = 'server'"),
    ("{ kind = client || kind = producer }", "spans WHERE kind IN ('client', 'producer')"),
    ("{ duration > 50ms }", "spans WHERE duration > '50ms'"),
    (
        "{ duration >= 10ms && duration <= 100ms }",
        "spans WHERE duration BETWEEN '10ms' AND '100ms'",
    ),
    ("{ duration < 1s }", "spans WHERE duration < INTERVAL '1 second'"),
    ("{ duration > 100000 }", "spans WHERE 100000 < duration_nanos"),
    ("{ name =~ `GET .*` }", "spans WHERE name LIKE 'GET %'"),
    ("{ name !~ `.*a.*` }", "spans WHERE name NOT LIKE '%a%'"),
    ("{ name > `m` }", "spans WHERE name > 'm'"),
    ("{ resource.service.name = `frontend` }", "spans WHERE service_name = 'frontend'"),
    ("{ resource.service.name != `` }", "spans WHERE attr(resource, 'service.name') <> ''"),
    ("{ span.http.route = `/cart/checkout` }", "spans WHERE attr('http.route') = '/cart/checkout'"),
    ("{ span.http.route =~ `/c.*` }", "spans WHERE attr(span, 'http.route') LIKE '/c%'"),
    ("{ span.http.route != nil }", "spans WHERE attr('http.route') IS NOT NULL"),
    (
        "{ span.http.response.status_code >= 500 }",
        "spans WHERE attr_int('http.response.status_code') >= 500",
    ),
    (
        "{ span.http.response.status_code = 200 }",
        "spans WHERE attr('http.response.status_code') = '200'",
    ),
    (
        "{ span.http.response.status_code >= 400 && span.http.response.status_code < 500 }",
        "spans WHERE attr('http.response.status_code') BETWEEN 400 AND 499",
    ),
    ("{ span.http.route > 5 }", "spans WHERE attr('http.route') > 5"),
    ("{ span.nosuch = 1 }", "spans WHERE attr_int('nosuch') = 1"),
    (
        "{ resource.k8s.namespace.name != nil && status = error }",
        "spans WHERE resource_attr('k8s.namespace.name') IS NOT NULL AND status = 'error'",
    ),
    ("{ rootServiceName = `frontend` }", "spans WHERE root_service_name = 'frontend'"),
    ("{ rootName =~ `.*cart.*` }", "spans WHERE root_name LIKE '%cart%'"),
    ("{ traceDuration > 200ms }", "spans WHERE trace_duration > '200ms'"),
    ("{ nestedSetParent < 0 }", "spans WHERE nested_set_parent < 0"),
    ("{ statusMessage != `` }", "spans WHERE status_message <> ''"),
    ("{ instrumentation:name != `` }", "spans WHERE scope_name <> ''"),
    (
        "{ span.http.route = `/cart` || status = error && kind = server }",
        "spans WHERE attr('http.route') = '/cart' OR (status = 'error' AND kind = 'server')",
    ),
    (
        "{ !(kind = internal) && duration > 1ms }",
        "spans WHERE NOT kind = 'internal' AND duration > '1ms'",
    ),
    ("{ event:name = `exception` }", "events WHERE name = 'exception'"),
    ("{ event.exception.type != nil }", "events WHERE attr('exception.type') IS NOT NULL"),
    ("{ link:spanID != nil }", "links"),
];

/// Matching spans and traces of a filter.
async fn matched(of: &Asked, filter: &str, options: &QueryOptions) -> (u64, u64) {
    let answer = of.search(filter, options).await.unwrap().answer;
    let spans = answer.traces.iter().flat_map(|trace| &trace.spansets);
    (spans.map(|set| u64::from(set.matched)).sum(), answer.traces.len() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_match_the_same_spans_and_traces() {
    for (name, of) in sources().await {
        for (filter, table) in FILTERS {
            let (spans, traces) = matched(&of, filter, &everything()).await;
            // Of spans with one id and one trace both count, and ids alone would make them one.
            let is_plain = table.starts_with("spans");
            let select = match is_plain {
                true => format!("SELECT count(*) FROM {table}"),
                false => {
                    format!("SELECT count(*) FROM (SELECT DISTINCT trace_id, span_id FROM {table})")
                }
            };
            if is_plain || !name.starts_with("synthetic") {
                assert_eq!(number(&of, &select).await, spans, "{name}: {filter} and {select}");
            }
            let select = format!("SELECT count(DISTINCT trace_id) FROM {table}");
            assert_eq!(number(&of, &select).await, traces, "{name}: {filter} and {select}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_and_threads_change_no_row() {
    let of = shop(5).await;
    for (_, table) in FILTERS {
        let select = format!("SELECT trace_id, span_id FROM {table} ORDER BY 1, 2");
        let expect = rows(&of, &select).await;
        for (pruning, library_reader, threads) in
            [(false, false, 2), (true, true, 2), (true, false, 5)]
        {
            let options = QueryOptions { pruning, library_reader, threads, ..everything() };
            let (given, _) = try_rows(&of, &select, &options).await.unwrap();
            assert_eq!(given, expect, "{select} with {options:?}");
        }
    }
}

/// Labels and value of each series of an instant query.
async fn instant(of: &Asked, query: &str) -> BTreeMap<String, f64> {
    let compiled = traceql_language::compile(query, Dialect::Default).unwrap();
    let request = MetricsRequest { kind: MetricsKind::Instant, ..MetricsRequest::default() };
    let answer = of
        .engine
        .metrics(&of.source, &of.tenants, &compiled, &request, &everything())
        .await
        .unwrap()
        .answer;
    let labels = |series: &traceql_engine::metrics::Series| {
        let texts = series.labels.iter().filter(|label| label.name != "__name__");
        texts.map(|label| label.value.to_text()).collect::<Vec<_>>().join("|")
    };
    answer.series.iter().map(|series| (labels(series), series.samples.get(0))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_have_the_same_sums() {
    let pairs = [
        (
            "{ status = error } | count_over_time() by (resource.service.name)",
            "SELECT service_name, count(*) FROM spans WHERE status = 'error' GROUP BY 1",
        ),
        (
            "{ } | count_over_time() by (kind, status)",
            "SELECT kind || '|' || status, count(*) FROM spans GROUP BY kind, status",
        ),
        (
            "{ kind = server } | max_over_time(duration) by (resource.service.name)",
            "SELECT service_name, max(duration_nanos) / 1e9 FROM spans WHERE kind = 'server' GROUP BY 1",
        ),
        (
            "{ } | min_over_time(duration) by (name)",
            "SELECT name, min(duration_nanos) / 1e9 FROM spans GROUP BY 1",
        ),
        (
            "{ status = error } | avg_over_time(duration) by (resource.service.name)",
            "SELECT service_name, avg(duration_nanos) / 1e9 FROM spans WHERE status = 'error' GROUP BY 1",
        ),
        (
            "{ span.http.route != nil } | sum_over_time(span.http.response.status_code) by (span.http.route)",
            "SELECT attr('http.route'), sum(attr_int('http.response.status_code')) FROM spans \
             WHERE attr('http.route') IS NOT NULL GROUP BY 1 HAVING count(attr_int('http.response.status_code')) > 0",
        ),
        (
            "{ span.http.response.status_code >= 500 } | count_over_time() by (span.http.response.status_code)",
            "SELECT attr('http.response.status_code'), count(*) FROM spans \
             WHERE attr_int('http.response.status_code') >= 500 GROUP BY 1",
        ),
    ];
    for version in [3, 4, 5] {
        let of = shop(version).await;
        for (query, sql) in pairs {
            let expect = instant(&of, query).await;
            let given: BTreeMap<String, f64> = rows(&of, sql)
                .await
                .into_iter()
                .map(|row| (row[0].clone(), row[1].parse().unwrap()))
                .collect();
            assert_eq!(
                given.keys().collect::<Vec<_>>(),
                expect.keys().collect::<Vec<_>>(),
                "shop{version}: {query}"
            );
            for (label, expect) in &expect {
                let given = given[label];
                assert!(
                    (given - expect).abs() <= 1e-9 * expect.abs(),
                    "{query} {label}: {given} {expect}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_say_what_structural_operators_say() {
    let of = shop(4).await;
    let (children, _) = matched(&of, "{ kind = client } > { kind = server }", &everything()).await;
    let sql = "SELECT count(*) FROM spans c JOIN spans p \
               ON c.trace_id = p.trace_id AND c.nested_set_parent = p.nested_set_left \
               WHERE p.kind = 'client' AND c.kind = 'server' AND p.nested_set_left > 0";
    assert_eq!(number(&of, sql).await, children);
    let (below, _) =
        matched(&of, "{ resource.service.name = `checkout` } >> { status = error }", &everything())
            .await;
    let sql = "SELECT count(DISTINCT d.trace_id || '/' || d.nested_set_left) FROM spans a JOIN spans d \
               ON a.trace_id = d.trace_id AND a.nested_set_left < d.nested_set_left \
               AND d.nested_set_right < a.nested_set_right \
               WHERE a.service_name = 'checkout' AND d.status = 'error'";
    assert_eq!(number(&of, sql).await, below);
}

/// What our extensions of TraceQL say can be said in SQL, too, which plans and runs it in its own way.
#[tokio::test(flavor = "multi_thread")]
async fn extensions_say_what_sql_says() {
    const CASES: [(&str, &str); 6] = [
        (
            "{ } | order_by(duration desc) | limit(7)",
            "SELECT trace_id FROM spans GROUP BY trace_id ORDER BY max(duration) DESC, trace_id LIMIT 7",
        ),
        (
            "{ } | order_by(count() desc) | limit(7)",
            "SELECT trace_id FROM spans GROUP BY trace_id ORDER BY count(*) DESC, trace_id LIMIT 7",
        ),
        (
            "{ } | count_distinct(name) > 5 | order_by(trace:id)",
            "SELECT trace_id FROM spans GROUP BY trace_id HAVING count(DISTINCT name) > 5 \
             ORDER BY ltrim(trace_id, '0')",
        ),
        (
            "{ kind = server } && not { status = error } | order_by(traceDuration, trace:id)",
            "SELECT trace_id FROM traces \
             WHERE trace_id IN (SELECT trace_id FROM spans WHERE kind = 'server') \
             AND trace_id NOT IN (SELECT trace_id FROM spans WHERE status = 'error') \
             ORDER BY duration, ltrim(trace_id, '0')",
        ),
        (
            "not { kind = client } | order_by(count(), trace:id)",
            "SELECT trace_id FROM spans GROUP BY trace_id \
             HAVING count(*) FILTER (WHERE kind = 'client') = 0 ORDER BY count(*), ltrim(trace_id, '0')",
        ),
        (
            "{ root.duration > 50ms && parent = nil && rootName != `` } | count() = 1 | order_by(trace:id)",
            "SELECT trace_id FROM spans WHERE parent_span_id IS NULL \
             GROUP BY trace_id HAVING count(*) = 1 AND max(duration) > '50ms' \
             ORDER BY ltrim(trace_id, '0')",
        ),
    ];
    for (name, of) in [("shop4", shop(4).await), ("shop5", shop(5).await)] {
        for (query, sql) in CASES {
            let answer = of.search(query, &everything()).await.unwrap().answer;
            let found: Vec<String> =
                answer.traces.iter().map(|trace| trace.trace_id.to_string()).collect();
            assert!(!found.is_empty(), "{name}: {query}");
            assert_eq!(found, rows(&of, sql).await.concat(), "{name}: {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_resources_add_up() {
    for (name, of) in sources().await {
        let of = &of;
        let count = |sql: &'static str| async move { number(of, sql).await };
        let spans = count("SELECT count(*) FROM spans").await;
        assert_eq!(count("SELECT sum(span_count) FROM traces").await, spans, "{name}");
        assert_eq!(count("SELECT sum(span_count) FROM resources").await, spans, "{name}");
        let errors = count("SELECT count(*) FROM spans WHERE status = 'error'").await;
        assert_eq!(count("SELECT sum(error_count) FROM traces").await, errors, "{name}");
        let services = "SELECT sum(n) FROM (SELECT count(DISTINCT service_name) AS n FROM spans GROUP BY trace_id)";
        assert_eq!(
            count("SELECT sum(service_count) FROM traces").await,
            number(of, services).await,
            "{name}"
        );
        let (_, slow) = matched(of, "{ traceDuration > 100ms }", &everything()).await;
        assert_eq!(
            count("SELECT count(*) FROM traces WHERE duration > '100ms'").await,
            slow,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_tables() {
    for (name, of) in sources().await {
        let (spans, traces) = matched(&of, "{ status = error }", &everything()).await;
        let sql = "SELECT count(*), count(DISTINCT trace_id) FROM traceql('{ status = error }')";
        assert_eq!(rows(&of, sql).await, [[spans.to_string(), traces.to_string()]], "{name}");
    }
    let of = shop(5).await;
    // The answer on one side ends before the scan on the other: neither stops the other's.
    let joined = "SELECT count(*) FROM spans s JOIN traceql('{ status = error }') t \
                  USING (trace_id, span_id)";
    let (errors, _) = matched(&of, "{ status = error }", &everything()).await;
    assert_eq!(number(&of, joined).await, errors);
    let groups = "SELECT DISTINCT trace_id, spanset, \"by(resource.service.name)\", \"count()\" \
                  FROM traceql('{ } | by(resource.service.name) | count() > 3') ORDER BY 1, 2 LIMIT 1";
    let row = rows(&of, groups).await.remove(0);
    assert!(row[3].parse::<u64>().unwrap() > 3, "{row:?}");
    let select = "SELECT duration, \"http.route\", status FROM \
                  traceql('{ status = error && span.http.route = `/cart` } | select(kind)') LIMIT 1";
    assert_eq!(rows(&of, select).await[0][1..], ["/cart", "error"]);

    let total = instant(&of, "{ } | count_over_time()").await[""];
    let sql = "SELECT sum(value) FROM traceql('{ } | count_over_time() by (resource.service.name)', '10m')";
    let given: f64 = rows(&of, sql).await[0][0].parse().unwrap();
    assert!((given - total).abs() < 1e-6, "{given} {total}");
    let labels = "SELECT DISTINCT \"resource.service.name\", labels \
                  FROM traceql('{ } | rate() by (resource.service.name)', 'instant') ORDER BY 1 LIMIT 1";
    assert_eq!(
        rows(&of, labels).await,
        [["accounting", "{\"resource.service.name\":\"accounting\"}"]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_have_types_and_scopes() {
    let of = otlp().await;
    let sql = "SELECT attr('k'), attr_int('k'), attr_float('k'), attr_bool('k') FROM spans \
               WHERE attr('k') IS NOT NULL";
    assert_eq!(rows(&of, sql).await, Vec::<Vec<String>>::new(), "no such key");
    // What `*` brings does not contain what conditions ask for.
    let all =
        start(&of, "SELECT * FROM spans WHERE attr('x') IS NULL", &everything()).await.unwrap();
    let plain = start(&of, "SELECT * FROM spans", &everything()).await.unwrap();
    assert_eq!(all.schema(), plain.schema());
    let sql = "SELECT *, attr('x'), attr(s.resource, 'y') AS y FROM spans s";
    let named = start(&of, sql, &everything()).await.unwrap();
    let names: Vec<&str> =
        named.schema().fields().iter().rev().take(2).map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["y", "attr('x')"]);
    // Integers are numbers of every kind, texts of theirs alone.
    let of = shop(5).await;
    let sql = "SELECT count(attr('http.route')), count(attr_int('http.route')), \
               count(attr('http.response.status_code')) = count(attr_int('http.response.status_code')), \
               count(attr_int('http.response.status_code')) = count(attr_float('http.response.status_code')) \
               FROM spans";
    let row = rows(&of, sql).await.remove(0);
    assert_ne!(row[0], "0");
    assert_eq!(row[1..], ["0", "true", "true"]);
}

/// Statements whose price is pinned: each reads the pages of what it names.
const PRICED: [&str; 10] = [
    "SELECT count(*) FROM spans",
    "SELECT count(*) FROM spans WHERE status = 'error'",
    "SELECT count(*) FROM spans WHERE attr('http.route') = '/cart/checkout'",
    "SELECT count(*) FROM spans WHERE attr('http.route') = '/nosuch'",
    "SELECT attr('http.route'), count(*) FROM spans GROUP BY 1",
    "SELECT max(duration) FROM spans",
    "SELECT count(*) FROM spans WHERE start_time > '2030-01-01'",
    "SELECT name FROM spans WHERE trace_id = '29a05474238c49cf1b5e17b72f2388dc'",
    "SELECT root_name FROM traces",
    "SELECT * FROM spans",
];

#[tokio::test(flavor = "multi_thread")]
async fn statements_have_their_price() {
    let of = shop(5).await;
    let mut text = format!("{:>8} {:>9} {:>6}  statement\n", "requests", "bytes", "pages");
    let mut pages = Vec::new();
    for sql in PRICED {
        let options = QueryOptions { threads: 1, ..everything() };
        let (_, outcome) = try_rows(&of.cold(), sql, &options).await.unwrap();
        let stats = outcome.stats;
        writeln!(
            text,
            "{:>8} {:>9} {:>6}  {sql}",
            stats.requests, stats.bytes_read, stats.pages_read
        )
        .unwrap();
        pages.push(stats.pages_read);
    }
    check_snapshot("sql_costs", &text);
    // Sixteen row groups, in each of which a dedicated column has one page.
    let [count, _, dedicated, absent, ..] = pages.as_slice() else { panic!("ten") };
    assert_eq!(*dedicated, count + 16, "{text}");
    assert!(absent < count, "dictionaries prove that nothing is there: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_costs_what_it_costs_in_traceql() {
    let of = shop(5).await;
    let options = QueryOptions { threads: 1, ..everything() };
    let sql = "SELECT count(*) FROM spans WHERE attr('http.route') = '/cart/checkout'";
    let (_, by_sql) = try_rows(&of.cold(), sql, &options).await.unwrap();
    let query = "{ span.http.route = `/cart/checkout` } | count_over_time()";
    let compiled = traceql_language::compile(query, Dialect::Default).unwrap();
    let request = MetricsRequest { kind: MetricsKind::Instant, ..MetricsRequest::default() };
    let cold = of.cold();
    let by_traceql = cold
        .engine
        .metrics(&cold.source, &cold.tenants, &compiled, &request, &options)
        .await
        .unwrap();
    // The metric reads starts besides, and SQL nothing that it does not.
    assert!(by_sql.stats.bytes_read <= by_traceql.stats.bytes_read, "{by_sql:?} {by_traceql:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_before_all_is_read() {
    let of = shop(5).await;
    let options = QueryOptions { threads: 1, ..everything() };
    let mut answer = start(&of, "SELECT trace_id, name FROM spans", &options).await.unwrap();
    let first = answer.next().await.unwrap().unwrap();
    assert!(first.num_rows() > 0);
    let stats = answer.finish().stats;
    assert!(stats.units_done < stats.units_total, "{stats:?}");
    let (rows, outcome) =
        try_rows(&of.cold(), "SELECT * FROM spans LIMIT 3", &options).await.unwrap();
    assert_eq!(rows.len(), 3);
    let (_, whole) = try_rows(&of.cold(), "SELECT * FROM spans", &options).await.unwrap();
    assert!(outcome.stats.bytes_read * 2 < whole.stats.bytes_read, "{outcome:?} {whole:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_are_ordered_summed_and_compared() {
    let of = shop(5).await;
    let ranked = "SELECT service_name, name, r FROM (SELECT service_name, name, duration, \
                  row_number() OVER (PARTITION BY service_name ORDER BY duration DESC, span_id) AS r \
                  FROM spans) WHERE r = 1 ORDER BY service_name";
    let first = "SELECT service_name, first_value(name ORDER BY duration_nanos DESC, span_id), 1 \
                 FROM spans GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&of, ranked).await, rows(&of, first).await);
    for (durations, numbers) in [
        ("sum(duration)", "sum(duration_nanos)"),
        ("max(duration)", "max(duration_nanos)"),
        ("sum(end_time - start_time)", "sum(duration_nanos)"),
    ] {
        let same = format!("SELECT CAST({durations} AS BIGINT) = {numbers} FROM spans");
        assert_eq!(rows(&of, &same).await, [["true"]], "{same}");
    }
    let grouped = |bound: &str| {
        format!(
            "SELECT service_name FROM spans GROUP BY 1 HAVING max(duration) > {bound} ORDER BY 1"
        )
    };
    assert_eq!(
        rows(&of, &grouped("'100ms'")).await,
        rows(&of, &grouped("INTERVAL '0.1 second'")).await
    );
    // A day has twenty-four hours, also where an interval keeps it apart.
    let day = "SELECT count(*) FROM spans WHERE duration < INTERVAL '1 day'";
    assert_eq!(number(&of, day).await, number(&of, "SELECT count(*) FROM spans").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_choose_traces_as_they_do_for_queries() {
    let of = shop(4).await;
    let all = of.search("{ }", &everything()).await.unwrap().answer;
    let starts: Vec<u64> = all.traces.iter().map(|trace| trace.start_unix_nanos).collect();
    let (first, last) = (starts.iter().min().unwrap(), starts.iter().max().unwrap());
    let middle = first + (last - first) / 2;
    let options = QueryOptions { time_range: Some((middle, u64::MAX)), ..everything() };
    let (spans, _) = matched(&of, "{ }", &options).await;
    let (rows_in_range, _) = try_rows(&of, "SELECT count(*) FROM spans", &options).await.unwrap();
    assert_eq!(rows_in_range, [[spans.to_string()]]);
    // A condition on starts judges spans, whatever prunes.
    for op in [">", "<", ">=", "<=", "="] {
        let literal = format!("CAST({middle} AS BIGINT)");
        let sql = format!(
            "SELECT count(*) FROM spans WHERE start_time {op} to_timestamp_nanos({literal}) \
             AND start_time IS NOT NULL"
        );
        let slow =
            format!("SELECT count(*) FROM spans WHERE CAST(start_time AS BIGINT) {op} {literal}");
        assert_eq!(number(&of, &sql).await, number(&of, &slow).await, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_by_their_ids() {
    for (name, of) in sources().await {
        let all = "SELECT trace_id, count(*) FROM spans GROUP BY 1 ORDER BY 1";
        for row in rows(&of, all).await.iter().step_by(40) {
            let one = format!("SELECT count(*) FROM spans WHERE trace_id = '{}'", row[0]);
            assert_eq!(number(&of, &one).await.to_string(), row[1], "{name}: {one}");
            let two = format!(
                "SELECT count(*) FROM traces WHERE trace_id IN ('{}', 'ffffffffffffffffffffffffffffff01')",
                row[0]
            );
            assert_eq!(number(&of, &two).await, 1, "{name}: {two}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_say_what_they_hold() {
    let of = shop(5).await;
    let sql = "SELECT version, count(*), sum(trace_count) FROM blocks GROUP BY 1";
    assert_eq!(rows(&of, sql).await, [["vParquet5", "2", "500"]]);
    assert_eq!(number(&otlp().await, "SELECT count(*) FROM blocks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept_and_said() {
    let of = shop(4).await;
    let tight = QueryOptions { memory_bytes: 2 << 20, ..everything() };
    let sql = "SELECT a.name FROM spans a JOIN spans b ON a.kind = b.kind ORDER BY a.name, b.name";
    match try_rows(&of, sql, &tight).await {
        Err(Error::Memory { limit_bytes, .. }) => assert_eq!(limit_bytes, 2 << 20),
        other => panic!("{:?}", other.map(|(rows, _)| rows.len())),
    }
    let late = QueryOptions { timeout: Some(std::time::Duration::from_nanos(1)), ..everything() };
    let sql = "SELECT count(*) FROM spans a JOIN spans b ON a.kind = b.kind";
    match try_rows(&of, sql, &late).await {
        Err(Error::Timeout(_)) => {}
        other => panic!("{:?}", other.map(|(rows, _)| rows.len())),
    }
}
