//! Which spans the metrics of `serve` count and which labels they have, as the command line says.

use crate::support::binary::{run, stderr};
use crate::support::ingesting::{Folders, post, request, text};

#[test]
fn rules_and_labels_of_the_command_line_hold() {
    let folders = Folders::new();
    let ingesting = folders.start(&[
        "--metrics-processors",
        "span-metrics-count",
        "--metrics-slack",
        "876000h",
        "--span-exclude",
        "name=~\"span 1\"",
        "--span-include",
        "resource.service.name=test && kind=SPAN_KIND_UNSPECIFIED",
        "--span-intrinsics",
        "service,span_name",
        "--span-dimension-mapping",
        "who=service.name,nothing",
    ]);
    assert_eq!(ingesting.send(None, &request(&[(0, 0), (1, 1)])).expect("an answer").0, 200);
    // Its spans are kept, and counted by nobody.
    let silent = [("Content-Type", "application/json"), ("no-generate-metrics", "true")];
    let body = request(&[(2, 2)]).to_string();
    let sent = post(ingesting.http(), "/v1/traces", None, &silent, body.as_bytes());
    assert_eq!(sent.expect("an answer").0, 200);
    assert_eq!(ingesting.found("").len(), 3);

    let page = ingesting.server.get("/metrics/generated").text();
    let calls: Vec<&str> =
        page.lines().filter(|line| line.starts_with("traces_spanmetrics_calls_total{")).collect();
    let [line] = calls.as_slice() else { panic!("one series: {page}") };
    for label in ["service=\"test\"", "span_name=\"span 0\"", "who=\"test\""] {
        assert!(line.contains(label), "{label}: {line}");
    }
    assert!(!line.contains("span_kind") && !line.contains("status_code"), "{line}");
    let own = ingesting.server.get("/metrics").text();
    assert!(own.contains("reason=\"span_metrics_filtered\"} 1"), "{own}");
}

#[test]
fn rules_that_say_nothing_are_refused() {
    let folders = Folders::new();
    let (bucket, wal) = (folders.bucket(), folders.wal());
    let refused = |arguments: &[&str]| {
        let serve = [
            "serve",
            "-s",
            text(&bucket),
            "--wal",
            text(&wal),
            "--otlp-http",
            "127.0.0.1:0",
            "--metrics-processors",
            "span-metrics",
        ];
        let output = run(&[&serve, arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        stderr(&output)
    };
    assert!(refused(&["--span-include", "kind"]).contains("is no KEY=VALUE"));
    assert!(refused(&["--span-dimension-mapping", "x"]).contains("is no name=key,key"));
    assert!(refused(&["--span-intrinsics", "kind"]).contains("is no label"));
}
