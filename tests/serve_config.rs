//! The file of settings of `serve` and overrides of tenants, with the real binary: what is said of
//! mistakes, what is in force, what changes while the server runs. Each setting by itself is the
//! business of `src/cli/serve_config`.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crate::support::binary::{
    check_snapshot, run, run_with_input, stderr, stdout, traceql, transcript,
};
use crate::support::golden;
use crate::support::http::Server;
use crate::support::ingesting::{Folders, request, text};
use crate::support::waiting::wait_until;

/// A file in a folder of its own.
struct Written(tempfile::TempDir);

impl Written {
    fn new(content: &str) -> Self {
        let written = Self(tempfile::tempdir().expect("a folder"));
        written.write(content);
        written
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("traceql.yaml")
    }

    fn write(&self, content: &str) {
        // At once, as an editor does: half a file is no file.
        let half = self.0.path().join("half");
        fs::write(&half, content).expect("written");
        fs::rename(&half, self.path()).expect("renamed");
    }
}

/// Checks settings without starting.
fn check(file: &Written, more: &[&str]) -> Output {
    let path = file.path();
    run(&[&["serve", "--check-config", "--config-file", text(&path)], more].concat())
}

#[test]
fn mistakes_in_a_file_are_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tempo.yaml");
    let mut text = String::new();
    for content in [
        "server:\n  http_listen_prot: 3200\n",
        "query_frontend:\n  search:\n    max_duration: 168\n",
        "storage:\n  trace:\n    backend: s4\n",
        "overrides:\n  defaults:\n    ingestion:\n      rate_limit_bytes: 30 MBits\n",
        "target: query-frontend\n",
        "server:\n  http_tls_config:\n    cert_file: server.pem\n",
        "distributor:\n  receivers:\n    kafka:\n      brokers: [a:9092]\n",
        "compactor:\n  compaction:\n    block_retention: 48h\n",
        "storage:\n  trace:\n    s3:\n      bucket: traces\n",
        "roles: [ingest, querier]\n",
        "storage: {trace: {source: 'sample:'}}\nmultitenancy_enabled: true\ntenant: acme\n",
        "storage: {trace: {source: 'sample:'}}\nroles: [ingest]\n",
        "memberlist:\n  join_members: [tempo]\nserver:\n  log_level: info\nstorage: {trace: {source: 'sample:'}}\n",
    ] {
        fs::write(&path, content).expect("written");
        let arguments = ["serve", "--check-config", "--config-file", "tempo.yaml"];
        let mut command = traceql(&arguments);
        command.current_dir(folder.path());
        let output = run_with_input(&mut command, b"");
        text.push_str("$ cat tempo.yaml\n");
        text.push_str(content);
        let said = transcript(&arguments, &output);
        // What is in force when all is well is a long list.
        let (said, _) = said.split_once("roles: [\"").unwrap_or((&said, ""));
        text.push_str(said);
        if output.status.success() {
            text.push_str(&format!("…\n-- standard error\n{}\n", stderr(&output)));
        }
    }
    check_snapshot("serve/config_mistakes", &text);
}

#[test]
fn what_a_server_shows_is_a_file_that_says_the_same() {
    let shop = golden::testdata("blocks/shop");
    let file = Written::new(&format!(
        "multitenancy_enabled: true
server: {{http_listen_address: 127.0.0.1, http_listen_port: 0}}
storage: {{trace: {{backend: local, local: {{path: {}}}, blocklist_poll: 90s}}}}
query_frontend:
  max_outstanding_per_tenant: 77
  search: {{default_result_limit: 7, max_result_limit: 11}}
memberlist: {{join_members: [a]}}
",
        text(&shop)
    ));
    let path = file.path();
    let mut server = Server::start_as_told(&["--config-file", text(&path)]);
    let page = |mode: &str| server.ask("GET", &format!("/status/config{mode}"), &[]).text();
    let all = page("");
    for part in [
        "multitenancy_enabled: true\n",
        "roles: [\"query\"]\n",
        "  http_listen_port: 0\n",
        "    blocklist_poll: 1m30s\n",
        "  max_outstanding_per_tenant: 77\n",
        "    default_result_limit: 7\n",
    ] {
        assert!(all.contains(part), "{part} is not in\n{all}");
    }
    let diff = page("?mode=diff");
    assert!(diff.contains("max_result_limit: 11") && !diff.contains("max_exemplars"), "{diff}");
    assert!(page("?mode=defaults").contains("max_exemplars: 100"));
    // What the file says holds.
    let found = server.json("/api/search?start=1&end=4000000000&q=%7B%7D");
    assert_eq!(found["traces"].as_array().map(Vec::len), Some(7));
    let most = server.get("/api/search?start=1&end=4000000000&limit=12&q=%7B%7D");
    assert_eq!(most.status, 400, "{}", most.text());
    assert!(server.terminate().success());
    // Read again, it is the same; so is what differs from the defaults alone.
    for said in [&all, &diff] {
        let output = check(&Written::new(said), &[]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!((stdout(&output), stderr(&output)), (all.clone(), String::new()));
    }
    // Options come first.
    let output = check(&file, &["--max-limit", "13", "--multitenant=false", "--tenant", "shop5"]);
    let said = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(said.contains("max_result_limit: 13\n"), "{said}");
    assert!(said.contains("multitenancy_enabled: false\ntenant: \"shop5\"\n"), "{said}");
    assert!(stderr(&output).contains("`memberlist` is passed over"), "{}", stderr(&output));
}

#[test]
fn one_file_serves_processes_of_every_role() {
    let folders = Folders::new();
    fs::create_dir_all(folders.bucket()).expect("a folder");
    let (bucket, wal) = (folders.bucket(), folders.wal());
    let file = Written::new(&format!(
        "server: {{http_listen_port: 0}}
storage: {{trace: {{backend: local, local: {{path: {}}}, wal: {{path: {}}}, blocklist_poll: 100ms}}}}
distributor: {{receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:0'}}}}}}}}}}
backend_scheduler: {{provider: {{compaction: {{compaction: {{compaction_cycle: 100ms}}}}}}}}
",
        text(&bucket),
        text(&wal)
    ));
    let path = file.path();
    for (role, [takes, asks, keeps]) in [
        ("ingest", ["Running", "Off", "Off"]),
        ("query", ["Off", "Running", "Off"]),
        ("compact", ["Off", "Off", "Running"]),
    ] {
        let server = Server::start_as_told(&["--config-file", text(&path), "--roles", role]);
        wait_until("it is ready", || server.get("/ready").status == 200);
        let services = server.get("/status/services").text();
        for (service, state) in [("ingest", takes), ("query", asks), ("compact", keeps)] {
            let line = format!("{service:<18}{state}");
            assert!(services.lines().any(|found| found.starts_with(&line)), "{role}: {services}");
        }
    }
    // An option of another role is a mistake, a setting of the file is not.
    let output = check(&file, &["--roles", "query", "--ingest-rate", "5MB"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("--ingest-rate is of the role ingest, and the roles are query"),
        "{said}"
    );
}

#[test]
fn variables_are_put_in_if_that_is_asked_for() {
    let file =
        Written::new("storage: {trace: {source: '${WHERE}', s3: {region: '${REGION:-eu}'}}}\n");
    let path = file.path();
    let run = |more: &[&str], where_is: &str| {
        let all = ["serve", "--check-config", "--config-file", text(&path)];
        let mut command = traceql(&[&all[..], more].concat());
        command.env("WHERE", where_is);
        run_with_input(&mut command, b"")
    };
    let plain = run(&[], "sample:");
    assert!(stdout(&plain).contains("    source: \"${WHERE}\"\n"), "{}", stdout(&plain));
    let expanded = stdout(&run(&["--config-expand-env"], "sample:"));
    assert!(expanded.contains("    source: \"sample:\"\n"), "{expanded}");
    assert!(expanded.contains("      region: \"eu\"\n"), "{expanded}");
    let missing = run(&["--config-expand-env"], "");
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("traceql.yaml:1: the variable WHERE is not set"));
}

#[test]
fn overrides_hold_for_their_tenants_and_change_while_the_server_runs() {
    let folders = Folders::new();
    let overrides = Written::new(
        "overrides: {small: {ingestion: {rate_limit_bytes: 1000, burst_size_bytes: 1000}}}\n",
    );
    let path = overrides.path();
    let mut server = folders.start(&[
        "--multitenant",
        "--overrides",
        text(&path),
        "--overrides-period",
        "50ms",
        "--metrics-slack",
        "1000000h",
    ]);
    let many: Vec<(u64, u64)> = (0..50).map(|n| (n, n)).collect();
    let send = |tenant: &str, spans: &[(u64, u64)]| {
        server.send(Some(tenant), &request(spans)).expect("an answer")
    };
    assert_eq!(send("large", &many).0, 200);
    let (status, body) = send("small", &many);
    assert_eq!(status, 429);
    assert!(body["message"].as_str().expect("words").contains("local: 1000 bytes"), "{body}");

    // No limit any more, but of the number of traces; a range; metrics for the other tenant.
    overrides.write(
        "overrides:
  small:
    ingestion: {rate_limit_bytes: 0, max_traces_per_user: 10}
    read: {max_search_duration: 1h, max_metrics_duration: 2h}
  large:
    metrics_generator: {processors: [span-metrics]}
",
    );
    let mut body = serde_json::Value::Null;
    wait_until("the limit is gone", || {
        let (status, answer) = send("small", &many);
        body = answer;
        status == 200
    });
    let rejected = &body["partialSuccess"]["rejectedSpans"];
    assert_eq!(rejected, "40", "{body}");
    let search = |tenant: &str, path: &str| {
        server.server.ask(
            "GET",
            &format!("{path}&start=1000&end=5000"),
            &[("X-Scope-OrgID", tenant)],
        )
    };
    for path in ["/api/search?q=%7B%7D", "/api/metrics/query_range?q=%7B%7D%7Crate()&step=100"] {
        assert_eq!(search("large", path).status, 200, "{path}");
    }
    assert_eq!(search("small", "/api/search?q=%7B%7D").status, 400);
    // Of several tenants the strictest counts.
    assert_eq!(search("small|large", "/api/search?q=%7B%7D").status, 400);
    let made = |tenant: &str| {
        let page = server.server.ask("GET", "/metrics/generated", &[("X-Scope-OrgID", tenant)]);
        page.text().contains("traces_spanmetrics_calls_total")
    };
    assert_eq!(send("large", &many).0, 200);
    assert!(made("large"));
    assert!(!made("small"));

    // A mistake changes nothing, and is told once.
    let errors = || server.server.sample("traceql_overrides_read_errors_total");
    assert!(errors() < 1.0);
    overrides.write("overrides: {small: {ingestion: {rate_limit_byte: 1}}}\n");
    wait_until("the mistake is found", || errors() >= 3.0);
    assert_eq!(send("small", &[(1, 2)]).0, 200);
    assert_eq!(search("small", "/api/search?q=%7B%7D").status, 400);
    overrides.write("");
    wait_until("all is as for all", || search("small", "/api/search?q=%7B%7D").status == 200);
    assert!(server.server.terminate().success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut server.server.stderr, &mut said).expect("text");
    let told = "overrides: what was read before stays in force: ";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    assert!(said.contains("has no setting `rate_limit_byte`"), "{said}");
    assert!(said.contains("did you mean `rate_limit_bytes`?"), "{said}");
    assert!(said.contains("overrides: read anew, and in force"), "{said}");
}

#[test]
fn what_holds_for_tenants_is_shown_to_them_and_to_the_operator() {
    let folders = Folders::new();
    let overrides = Written::new(
        "overrides:
  '*': {read: {max_search_duration: 3h}}
  small: {ingestion: {rate_limit_bytes: 1000}, metrics_generator: {processors: [span-metrics]}}
  same: {ingestion: {rate_limit_bytes: 30MB}}
",
    );
    let path = overrides.path();
    let ingesting =
        folders.start(&["--multitenant", "--overrides", text(&path), "--overrides-period", "20ms"]);
    let server = &ingesting.server;
    let page = |target: &str, tenant: &str| {
        let answer = server.ask("GET", target, &[("X-Scope-OrgID", tenant)]);
        assert_eq!(answer.status, 200, "{target} {}", answer.text());
        answer
    };
    let small = "  \"small\":\n    ingestion:\n      rate_limit_bytes: 1000\n    \
                 metrics_generator:\n      processors: [\"span-metrics\"]\n";
    let all = page("/status/runtime_config", "").text();
    let (defaults, own) = all.split_once("overrides:\n").expect("both");
    assert!(defaults.starts_with("defaults:\n  compaction:\n"), "{defaults}");
    assert!(defaults.contains("\n  ingestion:\n    burst_size_bytes: 30000000\n"), "{defaults}");
    assert!(own.contains("  \"*\":\n    read:\n      max_search_duration: 3h0m0s\n"), "{own}");
    assert!(own.contains(small) && own.contains("\"same\""), "{own}");
    let diff = page("/status/runtime_config?mode=diff", "").text();
    assert!(diff.starts_with("overrides:\n") && diff.contains(small), "{diff}");
    assert!(!diff.contains("\"same\""), "what is as for all is no difference: {diff}");
    assert_eq!(server.get("/status/runtime_config?mode=defaults").status, 400);
    // A tenant sees itself, or what holds for those that are not named.
    let theirs = page("/status/runtime_config?mode=diff", "small").text();
    assert_eq!(theirs, format!("overrides:\n{small}"));
    let theirs = page("/status/runtime_config?mode=diff", "other").text();
    assert!(theirs.contains("\"*\"") && !theirs.contains("small"), "{theirs}");

    let list = page("/status/overrides", "");
    assert_eq!(list.headers["content-type"], "text/html; charset=utf-8");
    let list = list.text();
    assert!(list.contains("<a href=\"overrides/small\">small</a></td><td>2</td>"), "{list}");
    assert!(!page("/status/overrides", "same").text().contains("small"));
    let one = page("/status/overrides/small", "small").text();
    assert!(one.contains("Source: <strong>small</strong>"), "{one}");
    assert_eq!(one.matches("rate_limit_bytes: 1000\n").count(), 2, "said and in force: {one}");
    assert!(one.contains("burst_size_bytes: 30000000\n"), "{one}");
    let other = page("/status/overrides/other", "").text();
    assert!(other.contains("Source: <strong>*</strong>"), "{other}");
    for (target, status) in [("/status/overrides/small", 404), ("/status/overrides/a%2Fb", 400)] {
        let answer = server.ask("GET", target, &[("X-Scope-OrgID", "same")]);
        assert_eq!(answer.status, status, "{target} {}", answer.text());
    }

    // What is shown is a file that says the same.
    overrides.write(&format!("overrides:\n{own}"));
    let reads = || server.sample("traceql_overrides_reads_total");
    let before = reads();
    wait_until("it was read anew", || reads() >= before + 2.0);
    assert_eq!(page("/status/runtime_config", "").text(), all);
    assert!(server.sample("traceql_overrides_read_errors_total") < 1.0);
    drop(ingesting);

    // A server of one tenant has no others.
    let shop = golden::testdata("blocks/shop/shop5");
    let server = Server::start_with(&["--source", text(&shop)]);
    let all = server.get("/status/runtime_config").text();
    assert!(all.starts_with("defaults:\n") && all.ends_with("overrides:\n"), "{all}");
    assert_eq!(server.get("/status/overrides/shop3").status, 404);
    let one = server.get("/status/overrides/shop5").text();
    assert!(one.contains("Source: <strong>what holds for all</strong>"), "{one}");
}

#[test]
fn overrides_with_a_mistake_are_refused_at_the_start() {
    let overrides = Written::new("overrides: {a: {compaction: {block_retention: soon}}}\n");
    let (path, shop) = (overrides.path(), golden::testdata("blocks/shop"));
    let output = run(&[
        "serve",
        "--source",
        text(&shop),
        "--multitenant",
        "--listen",
        "127.0.0.1:0",
        "--overrides",
        text(&path),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("traceql.yaml:1:47"), "{said}");
    assert!(said.contains("`compaction.block_retention`: \"soon\" is no duration"), "{said}");
}

#[test]
fn a_tenant_keeps_its_blocks_as_long_as_its_overrides_say() {
    let folders = Folders::new();
    let ingesting = folders.start(&["--multitenant"]);
    for tenant in ["short", "long"] {
        assert_eq!(ingesting.send(Some(tenant), &request(&[(1, 1)])).expect("an answer").0, 200);
    }
    assert_eq!(ingesting.flush().status, 200);
    drop(ingesting);
    // Spans of tests are of the year 2027: blocks are given up a second later at the soonest.
    let overrides = Written::new(
        "overrides: {short: {compaction: {block_retention: 1s}}, long: {compaction: {block_retention: 0}}}\n",
    );
    let (path, bucket) = (overrides.path(), folders.bucket());
    for tenant in ["short", "long"] {
        for block in folders.stored_blocks(tenant) {
            let meta = block.join("meta.json");
            let content = fs::read_to_string(&meta).expect("a meta");
            let mut content: serde_json::Value = serde_json::from_str(&content).expect("JSON");
            content["startTime"] = "2020-01-01T00:00:00Z".into();
            content["endTime"] = "2020-01-01T00:00:01Z".into();
            fs::write(&meta, content.to_string()).expect("written");
        }
    }
    let server = Server::start_with(&[
        "--source",
        text(&bucket),
        "--multitenant",
        "--compact",
        "--compact-interval",
        "50ms",
        "--retention",
        "1000000h",
        "--grace",
        "100ms",
        "--overrides",
        text(&path),
    ]);
    wait_until("the block is gone", || folders.stored_blocks("short").is_empty());
    assert_eq!(folders.stored_blocks("long").len(), 1);
    assert!(server.sample("traceql_retention_expired_blocks_total") >= 1.0);
}
