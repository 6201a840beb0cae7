//! What `explain --dry-run` says a query asks for at most is what it asks for at most.

use regex::Regex;
use traceql_engine::{ExplainMode, Explanation, QueryOptions};
use traceql_language::{Dialect, compile};

use crate::support::asking::{Asked, everything};
use crate::support::golden;

/// Numbers in the lines of an explanation that a pattern finds, added up by group.
fn numbers(explanation: &Explanation, pattern: &str) -> Vec<u64> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let text: String = explanation.sections.iter().map(|(_, body)| format!("{body}\n")).collect();
    let mut sums = vec![0; pattern.captures_len() - 1];
    for found in pattern.captures_iter(&text) {
        for (sum, group) in sums.iter_mut().zip(found.iter().skip(1)) {
            *sum += group.map_or(0, |number| number.as_str().parse::<u64>().expect("a number"));
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_makes_no_more_requests_than_its_dry_run_says() {
    let bucket = golden::testdata("blocks/shop");
    let mut n_asked = 0;
    for tenant in ["shop3", "shop4", "shop5"] {
        let asked = Asked::folder(&bucket, tenant).await;
        for question in golden::searches() {
            let Ok(query) = compile(&question.query, Dialect::Default) else { continue };
            let options = QueryOptions { limit: 0, ..everything() };
            let mut explained = Vec::new();
            for mode in [ExplainMode::DryRun, ExplainMode::Analyze] {
                let cold = asked.cold();
                let explanation = cold
                    .engine
                    .explain(&cold.source, &cold.tenants, &query, &options, mode)
                    .await
                    .expect("an explanation");
                explained.push(explanation);
            }
            let most = numbers(&explained[0], r"requests +at most about (\d+)")[0];
            let made = numbers(&explained[1], r"ScanExec .* (\d+) requests, \d+ bytes")[0];
            assert!(made <= most, "{tenant} {}: {made} requests of {most}", question.query);
            n_asked += usize::from(made > 0);
        }
    }
    assert!(n_asked > 200, "only {n_asked} queries read anything");
}
