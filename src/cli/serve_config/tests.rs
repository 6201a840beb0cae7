//! The table held against options, defaults, the document and Tempo's own names; mistakes in files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_server::generator::{Processors, TenantMetrics};
use traceql_server::settings_as_yaml;

use super::*;
use crate::config::Config;
use crate::diagnostic::{Page, render};
use crate::serve_args::ServeArgs;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/configuration.md");

fn file(text: &str) -> File {
    File { path: "t.yaml".into(), name: "t.yaml".to_owned(), text: text.to_owned() }
}

fn serve_command() -> Command {
    let mut command = CommandLine::command();
    command.build();
    command.find_subcommand(SERVE).unwrap().clone()
}

/// The arguments of `serve` with a file.
fn args(text: &str, options: &[&str]) -> Box<ServeArgs> {
    let served = Arc::new(ServeFile::of(&file(text)).unwrap_or_else(|e| panic!("{text}\n{e}")));
    let line = CommandLine::try_parse_from(["traceql"]).unwrap();
    let config = Config::load(&line.common, &[]).unwrap();
    let line: Vec<OsString> =
        ["traceql", "serve"].iter().chain(options).map(OsString::from).collect();
    match config.parse(&line, Some(served)).unwrap().command {
        Some(Asked::Serve(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let said = render(&ServeFile::of(&file(text)).unwrap_err(), Page::PLAIN);
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

/// A file with all of Tempo's names that a Tempo 3.0.3 shows as its defaults.
fn tempos_defaults() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/tempo-defaults.yaml");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_option_of_serve_has_a_place_in_a_file_or_says_why_not() {
    let (command, whole) = (serve_command(), CommandLine::command());
    let common: BTreeSet<_> = whole.get_arguments().map(|a| a.get_id().as_str()).collect();
    let of_file: BTreeSet<_> = settings().filter_map(Setting::argument_id).collect();
    let others: BTreeSet<_> = OPTIONS.iter().map(|option| option.id).collect();
    for argument in command.get_arguments().map(|argument| argument.get_id().as_str()) {
        let is_common = common.contains(argument) || ["help", "version"].contains(&argument);
        let is_known = of_file.contains(argument) || others.contains(argument);
        assert!(is_known || is_common, "--{argument} is in no table");
    }
    for id in of_file.union(&others) {
        let is_there = |argument: &clap::Arg| argument.get_id() == *id;
        assert!(command.get_arguments().any(is_there), "there is no argument {id}");
    }
}

#[test]
fn settings_stand_in_one_place_and_have_defaults_that_can_be_read() {
    let mut places = BTreeSet::new();
    for setting in settings() {
        for place in setting.places() {
            assert!(foreign::find(&place).is_none(), "{place} is set, and Tempo's alone");
            assert!(places.insert(place), "{} stands twice", setting.path);
        }
        if !setting.default.is_empty() {
            assert!(setting.default_value().is_some(), "{}", setting.path);
        }
    }
    // Sections are opened once, so that the status page is YAML.
    let shown = settings_as_yaml(&Given::default().shown(None, &[]));
    let read = file(&shown).yaml().unwrap_or_else(|error| panic!("{shown}\n{error}"));
    assert!(read.get("query_frontend").is_some());
}

#[test]
fn the_document_is_made_of_the_table() {
    let made = manual();
    if std::env::vars().any(|(key, value)| key == "UPDATE_SNAPSHOTS" && value == "1") {
        std::fs::write(DOCUMENT, &made).unwrap();
    }
    let written = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert_eq!(differs, None, "UPDATE_SNAPSHOTS=1 writes src/server/configuration.md anew");
    assert_eq!(made.len(), written.len());
    for setting in settings() {
        assert!(made.contains(&format!("| `{}`", setting.path)), "{}", setting.path);
    }
    assert!(!made.contains("|  |\n"), "a setting without a meaning: {made}");
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    let text = "
multitenancy_enabled: true
roles: [query, compact]
server: {http_listen_port: 3201, grpc_listen_address: 0.0.0.0}
storage:
  trace:
    backend: s3
    s3: {bucket: traces, prefix: a/b/, endpoint: 'minio:9000', insecure: true, access_key: k, secret_key: hunter2}
    block: {version: vParquet4, parquet_dedicated_columns: [{scope: span, name: a.b, type: int}]}
query_frontend: {api_timeout: 90s, search: {max_result_limit: 1_000}}
overrides:
  defaults:
    ingestion: {rate_limit_bytes: 15000000}
    compaction: {block_retention: 336h}
    metrics_generator:
      processors: [service-graphs, span-metrics]
      processor: {span_metrics: {dimensions: [a, b], histogram_buckets: [0.5, 1]}}
metrics_generator:
  registry: {external_labels: {cluster: eu}}
  processor:
    span_metrics:
      filter_policies:
        - include: {match_type: strict, attributes: [{key: kind, value: SPAN_KIND_SERVER}, {key: span.n, value: 5}]}
      dimension_mappings: [{name: x, source_labels: [a, b], join: /}]
  storage:
    remote_write: [{url: 'http://u:hunter2@p/api', headers: {Authorization: hunter2}, send_exemplars: false}]
";
    let first = args(text, &[]);
    assert_eq!(first.source.source.as_deref(), Some("s3://traces/a/b"));
    assert_eq!(first.source.stores.s3_endpoint.as_deref(), Some("http://minio:9000"));
    assert!(first.source.stores.allow_http && first.multitenant);
    assert_eq!(first.listen, "127.0.0.1:3201");
    assert_eq!(first.serving.grpc_listen.as_deref(), Some("0.0.0.0:9095"));
    assert_eq!(first.generator.span_buckets, [0.5, 1.0]);
    let shown = settings_as_yaml(&first.given.shown(first.file.as_deref(), &[]));
    assert!(!shown.contains("hunter2"), "{shown}");
    let second = args(&shown, &[]);
    let again = settings_as_yaml(&second.given.shown(second.file.as_deref(), &[]));
    assert_eq!(shown, again);
    for part in [
        "multitenancy_enabled: true\n",
        "roles: [\"query\", \"compact\"]\n",
        "  http_listen_port: 3201\n",
        "    source: \"s3://traces/a/b\"\n",
        "      endpoint: \"http://minio:9000\"\n",
        "      version: \"vParquet4\"\n",
        "    max_result_limit: 1000\n",
        "        block_retention: 336h0m0s\n",
        "          value\": 5}",
    ] {
        let part = part.trim_start_matches("          ");
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

#[test]
fn options_come_before_the_file() {
    let text =
        "multitenancy_enabled: true\nquery_frontend: {concurrent_queries: 7, api_timeout: 1m}\n";
    let of_file = args(text, &[]);
    assert!(of_file.multitenant);
    assert_eq!(of_file.limits.concurrent_queries.get(), 7);
    let of_options = args(text, &["--multitenant=false", "--timeout", "5s"]);
    assert!(!of_options.multitenant);
    assert_eq!(of_options.limits.timeout.as_deref(), Some("5s"));
    assert_eq!(of_options.limits.concurrent_queries.get(), 7);
    assert!(of_options.given.is_option("timeout") && !of_options.given.is_option("multitenant_x"));
}

#[test]
fn tempos_own_defaults_are_read_or_refused_by_name() {
    let text = tempos_defaults();
    // What a Tempo shows and we do otherwise has to be taken out; each is told by its name.
    let mut left = text.clone();
    let mut refused = Vec::new();
    for _ in 0..50 {
        match ServeFile::of(&file(&left)) {
            Ok(read) => {
                assert!(read.warnings.len() > 50, "{:?}", read.warnings);
                break;
            }
            Err(error) => {
                let said = render(&error, Page::PLAIN);
                assert!(said.contains("is Tempo's, and"), "{said}");
                let line = said.split("t.yaml:").nth(1).and_then(|at| at.split(':').next());
                let line: usize = line.unwrap().parse().unwrap();
                let name = left.lines().nth(line - 1).unwrap().trim().to_owned();
                left = without(&left, line - 1);
                refused.push(name);
            }
        }
    }
    assert!(refused.contains(&"target: all".to_owned()), "{refused:?}");
    assert!(refused.len() < 20, "{refused:?}");
}

/// A text without a line and what is below it.
fn without(text: &str, at: usize) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let below = lines[at + 1..].iter().take_while(|line| indent(line) > indent(lines[at])).count();
    let kept = lines.iter().enumerate().filter(|(n, _)| *n < at || *n > at + below);
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
fn mistakes_are_told_where_they_stand() {
    refused("servr: 1", &["t.yaml:1:1", "has no setting `servr`", "did you mean `server`?"]);
    refused(
        "server:\n  http_listen_prot: 1",
        &["t.yaml:2:3", "`server` has no setting", "did you mean `http_listen_port`?"],
    );
    refused("query_frontend: {max_duration: 1h}", &["there is `query_frontend."]);
    refused("server: {http_listen_port: http}", &[":1:28", "\"http\" is no port"]);
    refused("shutdown_delay: 10", &[":1:17", "is no duration"]);
    refused("query_frontend: {concurrent_queries: 0}", &["0 would allow nothing"]);
    refused("multitenancy_enabled: yes", &["neither true nor false"]);
    refused("multitenancy_enabled:", &["is true or false; found nothing"]);
    refused("roles: [query, ingst]", &[":1:16", "did you mean ingest?"]);
    refused("query_frontend: 5", &["has settings below it; found a value"]);
    refused("query_frontend: {search: {max_result_limit: [1]}}", &["found a list"]);
    refused("server:\n  http_tls_config: {cert_file: a}", &[":2:3", "there is no TLS"]);
    refused("target: querier", &["said otherwise here", "`roles`"]);
    refused("compactor: {compaction: {block_retention: 48h}}", &["of Tempo 2"]);
    refused("distributor: {receivers: {kafka: {brokers: x}}}", &["not done here"]);
    refused("storage: {trace: {backend: s3}}", &["needs `storage.trace.s3.bucket`"]);
    refused("storage: {trace: {local: {path: x}}}", &["without a backend"]);
    refused(
        "storage: {trace: {source: y, backend: local, local: {path: x}}}",
        &["keep one of them"],
    );
    refused(
        "query_frontend: {search: {max_duration: 1h}}\noverrides: {defaults: {read: {max_search_duration: 2h}}}",
        &["t.yaml:2:", "said already, by another name in line 1"],
    );
    refused("a: [1", &["this is no YAML"]);
    refused(
        "metrics_generator: {storage: {remote_write: [{uri: x}]}}",
        &["a receiver has no key `uri`", "did you mean `url`?"],
    );
    // What is off asks for nothing.
    let read =
        ServeFile::of(&file("server: {http_tls_config: {cert_file: ''}}\nhttp_api_prefix: ''"));
    assert!(read.unwrap().warnings.is_empty());
    let read = ServeFile::of(&file("memberlist: {join_members: [a]}")).unwrap();
    assert_eq!(
        read.warnings,
        [
            "t.yaml:1: `memberlist` is passed over: processes share the bucket and nothing else, there \
          is no ring"
        ]
    );
}

#[test]
fn a_receiver_with_nothing_said_of_it_listens_on_this_machine() {
    for (protocols, [grpc, http]) in [
        ("{grpc: , http: }", [Some("127.0.0.1:4317"), Some("127.0.0.1:4318")]),
        ("{grpc: {max_recv_msg_size_mib: 5}}", [Some("127.0.0.1:4317"), None]),
        ("{http: {endpoint: ':4000'}}", [None, Some("0.0.0.0:4000")]),
    ] {
        let text = format!("distributor: {{receivers: {{otlp: {{protocols: {protocols}}}}}}}");
        let read = args(&text, &[]);
        let found = [read.ingest.otlp_grpc.as_deref(), read.ingest.otlp_http.as_deref()];
        assert_eq!(found, [grpc, http], "{text}");
    }
}

#[test]
fn overrides_of_tenants_take_the_place_of_what_holds_for_all() {
    let text = "
overrides:
  acme:
    ingestion: {rate_limit_bytes: 5MB, max_traces_per_user: 7, max_attribute_bytes: 100}
    global: {max_bytes_per_trace: 0}
    read: {max_search_duration: 1h}
    compaction: {block_retention: 0, compaction_disabled: true}
    metrics_generator:
      processors: [service-graphs]
      processor: {service_graphs: {dimensions: [x]}}
  \"*\":
    ingestion: {tenant_shard_size: 3}
    read: {max_metrics_duration: 2h}
";
    let mut metrics = TenantMetrics::default();
    metrics.limits.max_active_series = 5;
    let (table, warnings) = overrides::table(&file(text), &metrics).unwrap();
    let acme = &table.tenants[&TenantId::parse("acme").unwrap()];
    let second = std::time::Duration::from_secs(1);
    assert_eq!((acme.rate_bytes, acme.live_traces), (Some(5_000_000), Some(7)));
    assert_eq!((acme.trace_bytes, acme.attribute_bytes), (Some(0), Some(100)));
    assert_eq!(acme.max_search_range, Some(3600 * second));
    assert_eq!(
        (acme.retention, acme.compaction_disabled),
        (Some(std::time::Duration::ZERO), Some(true))
    );
    let own = acme.metrics.as_ref().unwrap();
    let mut graphs = Processors::default();
    graphs.enable("service-graphs").unwrap();
    assert_eq!(own.processors, graphs);
    assert_eq!(
        (own.service_graphs.dimensions.as_slice(), own.limits.max_active_series),
        (&["x".to_owned()][..], 5)
    );
    assert_eq!(table.others.max_metrics_range, Some(7200 * second));
    assert!(table.others.metrics.is_none() && table.others.rate_bytes.is_none());
    assert_eq!(warnings.len(), 1, "{warnings:?}");

    let refused = |text: &str, part: &str| {
        let error = overrides::table(&file(text), &metrics).unwrap_err();
        let said = render(&error, Page::PLAIN);
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    };
    refused("acme: {}", "has no key `acme`");
    refused("overrides: {a: {ingestion_rate_limit_bytes: 1}}", "has no setting");
    refused("overrides:\n  a:\n    ingestion: {rate_limit_byte: 1}", "t.yaml:3:17");
    refused("overrides: {a/b: {}}", "t.yaml:1:13");
    refused("overrides: {a: {query_frontend: {}}}", "has no setting `query_frontend`");
    refused("overrides: {a: {cost_attribution: {x: 1}}}", "costs are not attributed");
}
