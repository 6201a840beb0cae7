//! Texts that are nearly right, for what reads texts that people write: nothing panics, and a mistake
//! has a place in the text. `fuzz/` does the same at length.

use std::fs;

use traceql_engine::Error;
use traceql_engine::tables::SqlStatement;

use crate::support::binary::root;
use crate::support::mutate;

#[test]
fn suites_and_settings() {
    let file = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let suites = ["checks/failing", "checks/passing", "checks/sent", "lint/checks"]
        .map(|name| file(&format!("testdata/{name}.yaml")));
    let settings = "profile = \"a\"\nlimit = 5\n\n[profiles.a]\nsource = \"sample:\"\n\
                    tenant = [\"b\", \"c\"]\nazure_key_env = \"KEY\"\nunsigned = true\n";
    let mut seeds: Vec<&str> = suites.iter().map(String::as_str).collect();
    seeds.push(settings);
    mutate::for_each(&seeds, 4_000, traceql_cli::read_documents);
}

#[test]
fn statements() {
    let seeds = [
        "SELECT attr('http.route') AS route, count(*) AS n, avg(duration) AS mean FROM spans \
         WHERE kind = 'server' AND duration > '100ms' GROUP BY route ORDER BY n DESC",
        "SELECT s.name FROM traceql('{ kind = server } >> { status = error }') AS t \
         JOIN spans AS s USING (trace_id, span_id)",
        "SELECT attr(s.resource, 'k8s.pod.name') FROM spans s; EXPLAIN SELECT 1",
        "COPY (SELECT name FROM spans) TO 'x.parquet' STORED AS PARQUET",
        "WITH a AS (SELECT * FROM traceql('{ } | rate()', '1m')) SELECT max(value) FROM a",
        "SELECT '日本' AS \"ü\", attr_int('a''b') /* attr() */ FROM events -- links",
    ];
    let (mut n_taken, mut n_placed) = (0, 0);
    mutate::for_each(&seeds, 10_000, |text| match SqlStatement::parse(text) {
        Ok(_) => n_taken += 1,
        Err(Error::Sql(error)) => {
            assert!(!error.message.is_empty(), "{text:?}");
            if let Some(range) = error.range {
                assert!(text.get(range.clone()).is_some(), "{range:?} in {text:?}");
                n_placed += 1;
            }
        }
        Err(error) => panic!("{error} for {text:?}"),
    });
    assert!(n_taken > 500 && n_placed > 500, "{n_taken} taken, {n_placed} with a place");
}
