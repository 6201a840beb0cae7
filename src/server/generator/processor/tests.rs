//! The worked rules of `api.md` 6.1 to 6.3, by what a scrape shows.

use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::AttributeValue;

use crate::generator::tests::{
    NOW, SECOND, attribute, client, of_service, processors, samples, server, span, text, trace,
};
use crate::generator::*;

/// What is shown of series with that in their text, after observing traces at once.
fn check(options: impl FnOnce(&mut TenantMetrics), traces: &[Trace], about: &str, expect: &[&str]) {
    let generator = tests::generator(options);
    generator.observe(&TenantId::single(), traces, NOW);
    assert_eq!(samples(&generator, NOW, about), expect);
}

#[test]
fn labels_of_span_metrics() {
    let mut failed = span("GET /\"x\"", 2, 100);
    failed.status_code = 2;
    failed.status_message = "no".into();
    let traces =
        [trace(1, vec![of_service("shop", vec![failed]), of_service("", vec![span("", 9, 0)])])];
    check(
        processors(&["span-metrics-count"]),
        &traces,
        "",
        &[
            r#"traces_spanmetrics_calls_total{service="shop",span_name="GET /\"x\"",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_ERROR"} 1"#,
            r#"traces_spanmetrics_calls_total{span_kind="SPAN_KIND_UNSPECIFIED",status_code="STATUS_CODE_UNSET"} 1"#,
        ],
    );
    check(
        |metrics| {
            processors(&["span-metrics-count"])(metrics);
            let intrinsics = &mut metrics.span_metrics.intrinsics;
            (intrinsics.span_kind, intrinsics.status_message) = (false, true);
            (intrinsics.span_name, intrinsics.status_code) = (false, false);
        },
        &traces[..1],
        "shop",
        &[r#"traces_spanmetrics_calls_total{service="shop",status_message="no"} 1"#],
    );
}

#[test]
fn dimensions_are_of_the_resource_first_and_never_twice() {
    let mut spans = of_service("shop", vec![span("a", 1, 1)]);
    spans.resource.attributes.push(text("http.method", "of the resource"));
    spans.resource.attributes.push(text("region", "eu"));
    let attributes = &mut spans.scope_spans[0].spans[0].attributes;
    attributes.push(text("http.method", "GET"));
    attributes.push(text("span_kind", "odd"));
    attributes.push(attribute("code", AttributeValue::Int(200)));
    check(
        |metrics| {
            processors(&["span-metrics-count"])(metrics);
            let of_spans = &mut metrics.span_metrics;
            let names = ["http.method", "http_method", "span_kind", "missing", "code"];
            of_spans.dimensions = names.map(str::to_owned).into();
            of_spans.dimension_mappings = vec![DimensionMapping {
                name: "where.what".into(),
                source_labels: ["region", "missing", "code"].map(str::to_owned).into(),
                join: "/".into(),
            }];
        },
        &[trace(1, vec![spans])],
        "",
        &[concat!(
            r#"traces_spanmetrics_calls_total{service="shop",span_name="a",span_kind="SPAN_KIND_INTERNAL","#,
            r#"status_code="STATUS_CODE_UNSET",http_method="of the resource",__span_kind="odd",code="200","#,
            r#"where_what="eu/200"} 1"#
        )],
    );
}

#[test]
fn latency_and_size() {
    let traces = [trace(1, vec![of_service("s", vec![span("a", 1, 2), span("a", 1, 2049)])])];
    check(
        processors(&["span-metrics-latency"]),
        &traces,
        "0.00",
        &[
            r#"traces_spanmetrics_latency_bucket{service="s",span_name="a",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET",le="0.002"} 1"#,
            r#"traces_spanmetrics_latency_bucket{service="s",span_name="a",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET",le="0.004"} 1"#,
            r#"traces_spanmetrics_latency_bucket{service="s",span_name="a",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET",le="0.008"} 1"#,
        ],
    );
    let series = |name: &str, value: &str| {
        format!(
            r#"traces_spanmetrics_{name}{{service="s",span_name="a",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET"}} {value}"#
        )
    };
    check(
        processors(&["span-metrics"]),
        &traces,
        "latency_sum",
        &[&series("latency_sum", "2.0509999999999997")],
    );
    // Of each span: ids 18 + 10, name 3, kind 2, times 9 + 9, status 2.
    check(processors(&["span-metrics"]), &traces, "size", &[&series("size_total", "106")]);
}

#[test]
fn sampled_spans_count_for_those_that_were_not() {
    let mut by_key = span("a", 1, 1000);
    by_key.attributes.push(attribute("ratio", AttributeValue::Double(0.25)));
    let mut by_state = span("a", 1, 1000);
    by_state.trace_state = "ot=th:8".into();
    let wrong = [AttributeValue::Double(0.0), AttributeValue::Int(4)].map(|ratio| {
        let mut span = span("a", 1, 1000);
        span.attributes.push(attribute("ratio", ratio));
        span
    });
    let spans = [by_key, by_state].into_iter().chain(wrong).collect();
    check(
        |metrics| {
            processors(&["span-metrics-count", "span-metrics-latency"])(metrics);
            metrics.span_metrics.span_multiplier_key = Some("ratio".into());
            metrics.span_metrics.enable_tracestate_span_multiplier = true;
            metrics.span_metrics.intrinsics = IntrinsicDimensions {
                service: false,
                span_name: true,
                span_kind: false,
                status_code: false,
                status_message: false,
            };
            metrics.span_metrics.histogram_buckets = vec![0.5];
        },
        &[trace(1, vec![of_service("s", spans)])],
        "",
        &[
            r#"traces_spanmetrics_calls_total{span_name="a"} 8"#,
            r#"traces_spanmetrics_latency_bucket{span_name="a",le="0.5"} 0"#,
            r#"traces_spanmetrics_latency_bucket{span_name="a",le="+Inf"} 8"#,
            r#"traces_spanmetrics_latency_sum{span_name="a"} 8"#,
            r#"traces_spanmetrics_latency_count{span_name="a"} 8"#,
        ],
    );
}

#[test]
fn filter_policies_say_which_spans_count() {
    let spans = |names: &[&str]| {
        names
            .iter()
            .map(|name| {
                let mut span = span(name, if name.starts_with("server") { 2 } else { 1 }, 1);
                span.attributes.push(attribute("n", AttributeValue::Int(7)));
                span
            })
            .collect()
    };
    let traces = [trace(
        1,
        vec![of_service("s", spans(&["server-a", "server-secret", "inner", "keep-me"]))],
    )];
    let rule = |is_regex: bool, key: &str, value: PolicyValue| {
        Some(PolicyMatch { is_regex, attributes: vec![(key.to_owned(), value)] })
    };
    let string = |text: &str| PolicyValue::String(text.to_owned());
    let none = FilterPolicy::default;
    let include =
        || FilterPolicy { include: rule(false, "kind", string("SPAN_KIND_SERVER")), ..none() };
    let any = || FilterPolicy { include_any: rule(true, "name", string("^keep")), ..none() };
    let exclude = || FilterPolicy { exclude: rule(true, "name", string("secret")), ..none() };
    let number = || FilterPolicy { include: rule(false, "span.n", PolicyValue::Int(8)), ..none() };
    let resource =
        || FilterPolicy { include: rule(false, "resource.service.name", string("s")), ..none() };
    for (policies, kept) in [
        (vec![], "server-a server-secret inner keep-me"),
        (vec![include()], "server-a server-secret"),
        (vec![include(), exclude()], "server-a"),
        (vec![include(), any(), exclude()], "server-a keep-me"),
        (vec![any()], "keep-me"),
        (vec![exclude(), resource()], "server-a inner keep-me"),
        (vec![number()], ""),
    ] {
        let generator = tests::generator(|metrics| {
            processors(&["span-metrics-count"])(metrics);
            metrics.span_metrics.filter_policies = policies.clone();
        });
        generator.observe(&TenantId::single(), &traces, NOW);
        let shown = samples(&generator, NOW, "").join("\n");
        let names = ["server-a", "server-secret", "inner", "keep-me"];
        let found: Vec<_> = names.into_iter().filter(|name| shown.contains(*name)).collect();
        assert_eq!(found.join(" "), kept, "{policies:?}");
        let stats = generator.stats()[0].1;
        assert_eq!(stats.spans_filtered, 4 - found.len() as u64);
    }
    let policies = |key: &str, value: &str| {
        let mut options = tests::options(|_| {});
        options.defaults.span_metrics.filter_policies =
            vec![FilterPolicy { include: rule(true, key, string(value)), ..none() }];
        Generator::new(options).unwrap_err().to_string()
    };
    assert!(policies("duration", "x").starts_with("a filter policy looks at \"duration\""));
    assert!(policies("name", "(").contains("name has no regular expression"));
}

#[test]
fn target_info_tells_of_resources() {
    let mut spans = of_service("shop", vec![span("a", 1, 1)]);
    let more = [
        ("service.namespace", "eu"),
        ("service.instance.id", "i-1"),
        ("1st", "x"),
        ("host.name", "h"),
        ("secret", "s"),
    ];
    spans.resource.attributes.extend(more.map(|(key, value)| text(key, value)));
    let bare = of_service("bare", vec![span("b", 1, 1)]);
    check(
        |metrics| {
            processors(&["span-metrics-count"])(metrics);
            metrics.span_metrics.enable_target_info = true;
            metrics.span_metrics.target_info_excluded_dimensions = vec!["secret".into()];
        },
        &[trace(1, vec![spans, bare])],
        "",
        &[
            r#"traces_spanmetrics_calls_total{service="shop",job="eu/shop",instance="i-1",span_name="a",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET"} 1"#,
            r#"traces_spanmetrics_calls_total{service="bare",job="bare",span_name="b",span_kind="SPAN_KIND_INTERNAL",status_code="STATUS_CODE_UNSET"} 1"#,
            r#"traces_target_info{job="eu/shop",instance="i-1",host_name="h"} 1"#,
        ],
    );
}

#[test]
fn host_info_is_the_first_identifier() {
    let mut spans = of_service("a", vec![span("a", 1, 1)]);
    spans.resource.attributes.extend([text("host.id", "h1"), text("k8s.node.name", "n1")]);
    let mut other = of_service("b", vec![span("b", 1, 1)]);
    other.resource.attributes.push(text("host.id", "h2"));
    check(
        processors(&["host-info"]),
        &[trace(1, vec![spans, other, of_service("c", vec![span("c", 1, 1)])])],
        "",
        &[
            r#"traces_host_info{grafana_host_id="n1",host_source="k8s.node.name"} 1"#,
            r#"traces_host_info{grafana_host_id="h2",host_source="host.id"} 1"#,
        ],
    );
}

#[test]
fn spans_that_end_long_ago_or_ahead_are_not_counted() {
    let at = |end: u64| {
        let mut span = span("a", 1, 1);
        span.end_unix_nanos = end;
        span
    };
    let ends = [NOW - 31 * SECOND, NOW - 30 * SECOND, NOW + 30 * SECOND, NOW + 31 * SECOND, 0];
    let generator = tests::generator(processors(&["span-metrics-count"]));
    let traces = [trace(1, vec![of_service("s", ends.map(at).into())])];
    generator.observe(&TenantId::single(), &traces, NOW);
    assert!(samples(&generator, NOW, "")[0].ends_with(" 2"));
    let stats = generator.stats()[0].1;
    assert_eq!((stats.spans_received, stats.spans_outside_time_range), (5, 3));
}

#[test]
fn an_edge_is_complete_when_its_second_side_comes_in_whatever_order() {
    for order in [[0, 1], [1, 0]] {
        let generator = tests::generator(processors(&["service-graphs"]));
        let mut sides = [
            trace(1, vec![of_service("web", vec![client(7, 1, 300)])]),
            trace(1, vec![of_service("shop", vec![server(8, 7, 150)])]),
        ];
        sides[1].resource_spans[0].scope_spans[0].spans[0].status_code = 2;
        for (requests, idx) in order.into_iter().enumerate() {
            assert_eq!(samples(&generator, NOW, "request_total").len(), 0, "{requests}");
            generator.observe(&TenantId::single(), &sides[idx..=idx], NOW + 9 * SECOND);
        }
        let shown = samples(&generator, NOW, "");
        for line in [
            r#"traces_service_graph_request_total{client="web",server="shop"} 1"#,
            r#"traces_service_graph_request_failed_total{client="web",server="shop"} 1"#,
            r#"traces_service_graph_request_server_seconds_sum{client="web",server="shop"} 0.15"#,
            r#"traces_service_graph_request_client_seconds_sum{client="web",server="shop"} 0.3"#,
            r#"traces_service_graph_request_client_seconds_bucket{client="web",server="shop",le="0.2"} 0"#,
            r#"traces_service_graph_request_client_seconds_bucket{client="web",server="shop",le="0.4"} 1"#,
        ] {
            assert!(shown.iter().any(|shown| shown == line), "{line}\n{shown:#?}");
        }
        let stats = generator.stats()[0].1;
        assert_eq!((stats.edges_completed, stats.edges_waiting, stats.edges_expired), (1, 0, 0));
    }
}

#[test]
fn an_edge_whose_other_side_is_late_is_dropped_or_guessed() {
    let generator = tests::generator(|metrics| {
        processors(&["service-graphs"])(metrics);
        metrics.service_graphs.enable_virtual_node_label = true;
    });
    let mut peer = client(8, 1, 100);
    peer.attributes.push(text("peer.service", "bank"));
    let traces = [trace(
        1,
        vec![
            of_service("web", vec![client(7, 1, 100), peer]),
            // A parent that was not sent, and a root.
            of_service("shop", vec![server(9, 66, 100), server(10, 0, 100)]),
        ],
    )];
    let tenant = TenantId::single();
    generator.observe(&tenant, &traces, NOW);
    let at = |seconds: u64| samples(&generator, NOW + seconds * SECOND, "request_total");
    let user = r#"traces_service_graph_request_total{client="user",server="shop",connection_type="virtual_node",virtual_node="client"} 1"#;
    let bank = r#"traces_service_graph_request_total{client="web",server="bank",connection_type="virtual_node",virtual_node="server"} 1"#;
    assert_eq!(at(9), [user]);
    assert_eq!(at(10), [user, bank]);
    let stats = generator.stats()[0].1;
    assert_eq!((stats.edges_completed, stats.edges_expired, stats.edges_waiting), (2, 4, 0));
    // Too late: it waits for a client that has gone.
    generator.observe(
        &tenant,
        &[trace(1, vec![of_service("late", vec![server(11, 7, 1)])])],
        NOW + 11 * SECOND,
    );
    assert_eq!(at(12), [user, bank]);
}

#[test]
fn databases_send_no_spans() {
    let check = |attributes: &[(&str, &str)], server: &str| {
        let mut asks = client(7, 1, 300);
        asks.attributes.extend(attributes.iter().map(|(key, value)| text(key, value)));
        let generator = tests::generator(|metrics| {
            processors(&["service-graphs"])(metrics);
            metrics.service_graphs.enable_virtual_node_label = true;
        });
        let traces = [trace(1, vec![of_service("shop", vec![asks])])];
        generator.observe(&TenantId::single(), &traces, NOW);
        let labels = format!(r#"{{client="shop",server="{server}",connection_type="database"}}"#);
        assert_eq!(
            samples(&generator, NOW, "_sum"),
            [
                format!("traces_service_graph_request_server_seconds_sum{labels} 0.3"),
                format!("traces_service_graph_request_client_seconds_sum{labels} 0.3"),
            ]
        );
    };
    let system = ("db.system", "postgresql");
    check(&[system], "postgresql");
    check(&[system, ("db.name", "orders")], "orders");
    let peer = ("network.peer.address", "10.0.0.1");
    check(&[system, peer], "10.0.0.1");
    check(&[system, peer, ("network.peer.port", "5432")], "10.0.0.1:5432");
    check(&[system, peer, ("server.address", "db1")], "db1");
    check(&[system, ("peer.service", "pg"), ("server.address", "db1")], "pg");
}

#[test]
fn messages_have_a_latency_of_their_own() {
    let (mut sends, mut gets) = (client(7, 1, 100), server(8, 7, 50));
    (sends.kind, gets.kind) = (4, 5);
    gets.start_unix_nanos = sends.end_unix_nanos + 2 * SECOND;
    gets.end_unix_nanos = gets.start_unix_nanos + SECOND;
    let generator = tests::generator(|metrics| {
        processors(&["service-graphs-latency", "service-graphs-connection-info"])(metrics);
        metrics.service_graphs.enable_messaging_system_latency_histogram = true;
    });
    let traces = [trace(1, vec![of_service("a", vec![sends]), of_service("b", vec![gets])])];
    generator.observe(&TenantId::single(), &traces, NOW);
    let labels = r#"{client="a",server="b",connection_type="messaging_system"}"#;
    assert_eq!(
        samples(&generator, NOW, "messaging_system_seconds_sum"),
        [format!("traces_service_graph_request_messaging_system_seconds_sum{labels} 2")]
    );
    assert_eq!(
        samples(&generator, NOW, "connection_info"),
        [format!("traces_service_graph_connection_info{labels} 1")]
    );
    assert!(samples(&generator, NOW, "request_total").is_empty());
}

#[test]
fn dimensions_of_either_side() {
    let side = |service: &str, span, values: &[(&str, &str)]| {
        let mut spans = of_service(service, vec![span]);
        spans.resource.attributes.extend(values.iter().map(|(key, value)| text(key, value)));
        spans
    };
    let traces = [trace(
        1,
        vec![
            side("a", client(7, 1, 1), &[("service.namespace", "x"), ("only.client", "c")]),
            side("b", server(8, 7, 1), &[("service.namespace", "y")]),
        ],
    )];
    let with = |prefix: bool| {
        move |metrics: &mut TenantMetrics| {
            processors(&["service-graphs-request"])(metrics);
            metrics.service_graphs.dimensions =
                vec!["service.namespace".into(), "only.client".into()];
            metrics.service_graphs.enable_client_server_prefix = prefix;
        }
    };
    check(
        with(true),
        &traces,
        "",
        &[
            r#"traces_service_graph_request_total{client="a",server="b",client_service_namespace="x",server_service_namespace="y",client_only_client="c"} 1"#,
        ],
    );
    check(
        with(false),
        &traces,
        "",
        &[
            r#"traces_service_graph_request_total{client="a",server="b",service_namespace="x",only_client="c"} 1"#,
        ],
    );
}

#[test]
fn the_store_of_edges_is_bounded() {
    let generator = tests::generator(|metrics| {
        processors(&["service-graphs-request"])(metrics);
        metrics.service_graphs.max_items = 3;
    });
    let spans = (1..=5).map(|id| client(id, 0, 1)).collect();
    generator.observe(&TenantId::single(), &[trace(1, vec![of_service("a", spans)])], NOW);
    let stats = generator.stats()[0].1;
    assert_eq!((stats.edges_waiting, stats.edges_dropped), (3, 2));
    // Those that wait are still completed.
    let spans = (1..=5).map(|id| server(id + 10, id, 1)).collect();
    generator.observe(&TenantId::single(), &[trace(1, vec![of_service("b", spans)])], NOW);
    assert!(samples(&generator, NOW, "request_total")[0].ends_with(" 3"));
}
