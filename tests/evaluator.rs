//! Pins the naive evaluator itself, rule by rule, on one small trace. What the rules are is said in
//! `support/evaluate`; each test names the section of `traceql.md` or the choice it is about.

use traceql_blocks::model::{
    AttributeValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Trace, TraceId,
};
use traceql_engine::search::{SpansetResult, Value};
use traceql_language::Dialect;

use crate::support::evaluate;
use crate::support::golden::value_json;

/// An attribute.
fn attribute(key: &str, value: AttributeValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value }
}

/// A string value.
fn text(text: &str) -> AttributeValue {
    AttributeValue::String(text.to_owned())
}

/// A span whose id and name are one letter, one millisecond long.
fn span(name: char, parent: Option<char>, kind: i32, attributes: Vec<KeyValue>) -> Span {
    let id = |name: char| vec![u8::try_from(name).expect("an ASCII letter"); 8];
    Span {
        span_id: id(name),
        parent_span_id: parent.map(id).unwrap_or_default(),
        name: name.to_string(),
        kind,
        start_unix_nanos: 1_000_000_000,
        end_unix_nanos: 1_001_000_000,
        attributes,
        ..Span::default()
    }
}

/// The trace of this file: root `a` with children `b` and `c`, `d` below `b`, second root `e`,
/// orphan `o` with child `p`.
fn trace() -> Trace {
    let with_service = |name: Option<&str>, spans: Vec<Span>| ResourceSpans {
        resource: Resource {
            attributes: [("shared", "resource"), ("only", "resource")]
                .into_iter()
                .chain(name.map(|name| ("service.name", name)))
                .map(|(key, value)| attribute(key, text(value)))
                .collect(),
            ..Resource::default()
        },
        scope_spans: vec![ScopeSpans {
            scope: InstrumentationScope { name: "lib".to_owned(), ..Default::default() },
            spans,
        }],
    };
    let ints = |ints: &[i64]| {
        AttributeValue::Array(ints.iter().copied().map(AttributeValue::Int).collect())
    };
    let event = |name: &str, offset: u64, k: Option<i64>| Event {
        name: name.to_owned(),
        time_unix_nanos: 1_000_000_000 + offset,
        attributes: k.map(|k| attribute("k", AttributeValue::Int(k))).into_iter().collect(),
        ..Event::default()
    };
    let mut b = span(
        'b',
        Some('a'),
        3,
        vec![
            attribute("n", AttributeValue::Int(5)),
            attribute("shared", text("span")),
            attribute("list", ints(&[1, 2, 3])),
            attribute("flag", AttributeValue::Bool(true)),
            attribute("twice", AttributeValue::Int(1)),
            attribute("twice", AttributeValue::Int(2)),
        ],
    );
    b.events =
        vec![event("first", 10, Some(1)), event("second", 20, Some(2)), event("third", 30, None)];
    let mut c = span(
        'c',
        Some('a'),
        2,
        vec![
            attribute("n", AttributeValue::Double(5.0)),
            attribute("flag", AttributeValue::Bool(false)),
            attribute("list", ints(&[7])),
            attribute("bytes", AttributeValue::Bytes(vec![1])),
        ],
    );
    c.links = vec![Link { trace_id: vec![0; 16], span_id: vec![1; 8], ..Link::default() }];
    c.status_code = 2;
    let d = span('d', Some('b'), 1, vec![attribute("n", text("5"))]);
    let first = vec![span('a', None, 2, Vec::new()), b, c, d];
    let second = vec![
        span('e', None, 1, Vec::new()),
        span('o', Some('z'), 1, vec![attribute("n", AttributeValue::Int(-1))]),
        span('p', Some('o'), 1, Vec::new()),
    ];
    Trace {
        id: TraceId::from_bytes(&[0xab]),
        resource_spans: vec![with_service(Some("shop"), first), with_service(None, second)],
    }
}

/// The spansets a query yields for the trace of this file.
fn spansets(query: &str) -> Vec<SpansetResult> {
    let query = traceql_language::compile(query, Dialect::Default)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let results =
        evaluate::search(&[trace()], &query).expect("no group under a structural operator");
    results.into_iter().flat_map(|result| result.spansets).collect()
}

/// The names of the spans of each spanset, spansets separated by a blank.
fn names(query: &str) -> String {
    let letters = |set: &SpansetResult| {
        set.spans.iter().map(|span| char::from(span.span_id[0])).collect::<String>()
    };
    spansets(query).iter().map(letters).collect::<Vec<_>>().join(" ")
}

/// Holds every query against the names it yields.
#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (query, expected) in cases {
        assert_eq!(names(query), *expected, "{query}");
    }
}

/// The attributes of the first spanset and of its first span, as compact text.
fn listed(query: &str) -> (Vec<String>, Vec<String>) {
    let spansets = spansets(query);
    let show = |attributes: &[traceql_engine::search::ResultAttribute]| {
        let show = |value: &Value| value_json(value).to_string();
        attributes.iter().map(|a| format!("{} {}", a.key, show(&a.value))).collect()
    };
    (show(&spansets[0].attributes), show(&spansets[0].spans[0].attributes))
}

#[test]
fn missing_attributes_satisfy_no_comparison() {
    check(&[
        ("{ span.n != 4 }", "bco"),
        ("{ span.nosuch != 4 }", ""),
        ("{ span.nosuch !~ \"x\" }", ""),
        ("{ !(span.n = 5) }", "adeop"),
        ("{ !span.flag }", "c"),
        ("{ span.flag }", "b"),
        ("{ span.n = nil }", "aep"),
        ("{ span.n != nil }", "bcdo"),
        ("{ span.bytes = nil || span.bytes != nil }", "abdeop"),
        ("{ (span.nosuch + 1) > 0 }", ""),
        ("{ span.nosuch || true }", ""),
    ]);
}

#[test]
fn numbers_compare_as_numbers_and_never_with_text() {
    check(&[
        ("{ span.n = 5 }", "bc"),
        ("{ span.n = 5.0 }", "bc"),
        ("{ span.n > 4.5 }", "bc"),
        ("{ 5 <= span.n }", "bc"),
        ("{ span.n = \"5\" }", "d"),
        ("{ span.n + 1 = 6 }", "bc"),
        ("{ span.n % 0 = 0 }", ""),
        ("{ span.n / 0 > 1 }", "c"),
        ("{ -span.n < 0 }", "bc"),
        ("{ duration = 1000000 }", "abcdeop"),
        ("{ duration > 0.5 }", "abcdeop"),
        ("{ span.n ^ 2 = 25 }", "bc"),
    ]);
}

#[test]
fn durations_statuses_and_kinds_never_meet_custom_attributes() {
    check(&[
        ("{ span.n > 1ns }", ""),
        ("{ span.n = 5ns }", ""),
        ("{ span.n + 0 = 5ns }", "bc"),
        ("{ span.status = error }", ""),
        ("{ status = error }", "c"),
        ("{ kind = client }", "b"),
    ]);
}

#[test]
fn arrays_match_by_any_element_and_differ_by_all() {
    check(&[
        ("{ span.list = 2 }", "b"),
        ("{ span.list != 2 }", "c"),
        ("{ span.list > 2 }", "bc"),
        ("{ span.list = 1 && span.list = 3 }", "b"),
        ("{ span.list = 1 || span.list = 2 }", "b"),
        ("{ span.list != \"x\" }", ""),
        ("{ span.list + 1 = 2 }", ""),
        ("{ span.list + 1 = 8 }", "c"),
        ("{ span.list = span.list }", "c"),
    ]);
}

#[test]
fn scopes_hide_and_the_first_of_repeated_keys_counts() {
    check(&[
        ("{ .shared = \"resource\" }", "acdeop"),
        ("{ .shared = \"span\" }", "b"),
        ("{ resource.shared = \"resource\" }", "abcdeop"),
        ("{ .only = nil }", ""),
        ("{ span.only = nil }", "abcdeop"),
        ("{ span.twice = 1 }", "b"),
        ("{ span.twice = 2 }", ""),
        ("{ resource.service.name = \"\" }", "eop"),
        ("{ resource.service.name != nil }", "abcdeop"),
        ("{ instrumentation:name = \"lib\" }", "abcdeop"),
    ]);
}

#[test]
fn one_event_satisfies_all_conditions_of_a_filter() {
    check(&[
        ("{ event.k = 2 }", "b"),
        ("{ event:name = \"first\" && event.k = 2 }", ""),
        ("{ event:name = \"second\" && event.k = 2 }", "b"),
        ("{ event:name = \"first\" } && { event.k = 2 }", "b"),
        ("{ event.k = nil }", "b"),
        ("{ event:name != \"first\" }", "b"),
        ("{ event:name = \"first\" || status = error }", "bc"),
        ("{ event:timeSinceStart > 20ns }", "b"),
        ("{ link:traceID = \"\" }", "c"),
        ("{ link:spanID != nil }", "c"),
        ("{ event.k = 1 } | count() > 0", "b"),
    ]);
}

#[test]
fn a_condition_in_by_groups_what_a_filter_with_it_keeps() {
    check(&[
        ("{ } | by(event.k = 1)", "acdeop b"),
        ("{ } | by(event.k = 2)", "acdeop b"),
        ("{ } | by(event:name = \"first\" && event.k = 2)", "abcdeop"),
        ("{ } | by(event:name = \"second\" && event.k = 2)", "acdeop b"),
        // Some event of `b` is another; where there is none, the comparison is false.
        ("{ } | by(!(event.k = 1))", "abcdeop"),
        ("{ } | by(event.k = nil)", "acdeop b"),
        ("{ } | by(link:spanID != nil)", "abdeop c"),
        // What is no condition is one value a span: that of the first event that has it.
        ("{ } | by(event.k) | { event.k = 2 }", "b"),
    ]);
}

#[test]
fn ids_are_normalised() {
    check(&[
        ("{ trace:id = \"ab\" && name = \"a\" }", "a"),
        ("{ trace:id = \"000000000000000000000000000000AB\" && name = \"a\" }", "a"),
        ("{ span:id = \"6161616161616161\" }", "a"),
        ("{ span:parentID = \"0000000000000000\" }", "ae"),
        ("{ span:parentID != \"\" }", "bcdop"),
        ("{ span:parentID != \"0000000000000000\" }", "bcdop"),
    ]);
}

#[test]
fn no_parent_and_no_link_have_an_id_of_zeros() {
    check(&[
        ("{ span:parentID != \"6161616161616161\" }", "adeop"),
        ("{ span:parentID =~ \"0.*\" }", "ae"),
        ("{ span:parentID !~ \"0.*\" }", "bcdop"),
        ("{ span:parentID != nil }", "abcdeop"),
        ("{ span:parentID = \"\" }", ""),
        ("{ !(span:parentID = \"\") }", "abcdeop"),
        ("{ } | by(span:parentID) | count() = 2", "ae bc"),
        ("{ } | by(link:spanID) | count() > 1", "abdeop"),
        ("{ } | by(link:traceID) | count() > 1", "abcdeop"),
        // In a filter a link is one that exists.
        ("{ link:spanID = \"0000000000000000\" }", ""),
        ("{ link:spanID != \"ffffffffffffffff\" }", "c"),
    ]);
}

#[test]
fn structural_operators_go_by_their_definition() {
    check(&[
        ("{ name = \"a\" } > { }", "bc"),
        ("{ name = \"a\" } >> { }", "bcd"),
        ("{ name = \"d\" } < { }", "b"),
        ("{ name = \"d\" } << { }", "ab"),
        ("{ name = \"b\" } ~ { }", "c"),
        ("{ name = \"a\" } ~ { }", "e"),
        ("{ name = \"a\" } !> { }", "adeop"),
        ("{ name = \"a\" } !>> { }", "aeop"),
        ("{ name = \"d\" } !< { }", "acdeop"),
        ("{ name = \"b\" } !~ { }", "abdeop"),
        ("{ name = \"a\" } &> { name = \"c\" }", "ac"),
        ("{ name = \"a\" } &>> { }", "abcd"),
        ("{ name = \"o\" } > { }", ""),
        ("{ name = \"nosuch\" } !> { name = \"d\" }", "d"),
        ("{ name = \"a\" } && { name = \"nosuch\" }", ""),
        ("{ name = \"d\" } || { name = \"a\" }", "ad"),
        ("{ span:childCount = 1 }", "bo"),
        ("{ nestedSetParent = -1 }", "ae"),
        ("{ nestedSetLeft = 0 }", "op"),
        ("{ nestedSetLeft = 2 && nestedSetRight = 5 }", "b"),
        ("{ parent.name = \"o\" }", "p"),
        ("{ parent = nil }", "aeo"),
        ("{ parent.span.flag = true }", "d"),
    ]);
}

#[test]
fn shared_ids_attach_by_kind_and_three_of_one_id_to_nothing() {
    let zipkin = vec![
        span('r', None, 1, Vec::new()),
        span('x', Some('r'), 3, Vec::new()),
        span('x', Some('x'), 2, Vec::new()),
        span('y', Some('x'), 1, Vec::new()),
        span('s', Some('x'), 2, Vec::new()),
    ];
    let ask = |spans: &[Span], query: &str| {
        let trace = Trace {
            id: TraceId::from_bytes(&[1]),
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans { spans: spans.to_vec(), ..Default::default() }],
                ..Default::default()
            }],
        };
        let query = traceql_language::compile(query, Dialect::Default).expect("a valid query");
        let results = evaluate::search(&[trace], &query).expect("an answer");
        let spansets = results.into_iter().flat_map(|result| result.spansets);
        let spans = spansets.flat_map(|set| set.spans);
        spans.map(|span| char::from(span.span_id[0])).collect::<String>()
    };
    assert_eq!(ask(&zipkin, "{ kind = server } > { }"), "y");
    assert_eq!(ask(&zipkin, "{ kind = client } > { }"), "xs");
    let mut triple = zipkin;
    triple.push(span('x', Some('r'), 1, Vec::new()));
    assert_eq!(ask(&triple, "{ } > { }"), "");
    assert_eq!(ask(&triple, "{ span:childCount > 0 }"), "");
}

#[test]
fn pipelines_group_and_aggregate() {
    check(&[
        ("{ } | by(span.flag)", "adeop b c"),
        ("{ } | by(span.flag) | coalesce()", "abcdeop"),
        ("{ } | by(span.n) | count() > 1", "aep"),
        ("{ } | by(resource.service.name) | count() = 3", "eop"),
        ("{ } | sum(span.n) = 9", "abcdeop"),
        ("{ } | avg(span.n) = 3", "abcdeop"),
        ("{ } | max(span.n) = 5 | { status = error }", "c"),
        ("{ name = \"a\" } | max(span.n) > 0", ""),
        ("{ } | max(duration) - min(duration) = 0", "abcdeop"),
        ("{ } | 6 < count()", "abcdeop"),
        ("({ status = error } | count()) < ({ } | count())", "abcdeop"),
        ("({ name = \"nosuch\" } | count()) = 0", "abcdeop"),
        ("({ name = \"a\" } | count() = 1) || ({ name = \"b\" })", "ab"),
    ]);
}

#[test]
fn spans_list_what_the_query_asks_and_they_have() {
    let of_span = |query: &str| listed(query).1;
    assert!(of_span("{ name = \"b\" && duration > 0s }").is_empty());
    assert_eq!(of_span("{ span.n = 5 }"), [r#"n {"intValue":"5"}"#]);
    assert_eq!(of_span("{ name = \"b\" && (span.n = 4 || true) }"), Vec::<String>::new());
    assert_eq!(
        of_span("{ span.list > 1 }"),
        [r#"list {"arrayValue":{"values":[{"intValue":"2"},{"intValue":"3"}]}}"#]
    );
    assert_eq!(of_span("{ span.list = 2 }"), [r#"list {"intValue":"2"}"#]);
    assert_eq!(of_span("{ name = \"a\" && span.n = nil }"), [r#"n {"stringValue":"nil"}"#]);
    assert_eq!(of_span("{ parent = nil }"), [r#"parent {"stringValue":"nil"}"#]);
    assert_eq!(of_span("{ status = error }"), [r#"status {"stringValue":"error"}"#]);
    // Of several events the last that satisfies a comparison, or with none the last that has it.
    assert_eq!(of_span("{ event.k > 0 }"), [r#"k {"intValue":"2"}"#]);
    assert_eq!(of_span("{ event.k = 1 }"), [r#"k {"intValue":"1"}"#]);
    assert_eq!(
        of_span("{ name = \"b\" } | select(event:name)"),
        [r#"event:name {"stringValue":"third"}"#]
    );
    assert_eq!(
        of_span("{ name = \"a\" } | select(event:name)"),
        [r#"event:name {"stringValue":""}"#]
    );
    assert_eq!(
        of_span("{ name = \"b\" } | select(.shared, resource.shared)"),
        [r#"shared {"stringValue":"span"}"#, r#"shared {"stringValue":"resource"}"#]
    );
}

#[test]
fn spansets_list_groups_and_aggregates_in_order() {
    let (of_set, of_span) = listed("{ } | by(span.flag) | count() > 4 | max(span.n) < 0");
    assert_eq!(
        of_set,
        [
            r#"by(span.flag) {"stringValue":"nil"}"#,
            r#"count() {"intValue":"5"}"#,
            r#"max(span.n) {"intValue":"-1"}"#
        ]
    );
    assert!(of_span.is_empty());
}

#[test]
fn not_judges_the_whole_trace() {
    check(&[
        // It names no spans; alone all stand, beside others theirs do.
        ("not { name = `x` }", "abcdeop"),
        ("not { name = `a` }", ""),
        ("{ name = `b` } && not { name = `x` }", "b"),
        ("not { name = `x` } && { name = `b` }", "b"),
        ("{ name = `b` } && not { name = `c` }", ""),
        ("{ name = `b` } || not { name = `c` }", "b"),
        ("{ name = `x` } || not { name = `y` }", "abcdeop"),
        ("not not { name = `b` }", "abcdeop"),
        ("not ({ name = `b` } && not { name = `x` })", ""),
        ("not ({ name = `b` } && { name = `x` })", "abcdeop"),
        // After a pipe, too; and then only what came in stands.
        ("{ name = `b` } | not { name = `c` }", ""),
        ("{ name = `b` } | not { name = `x` }", "b"),
        ("{ } | by(kind = server) | not { name = `x` }", "ac bdeop"),
        // Looser than structure, tighter than `&&`.
        ("not { name = `a` } > { name = `d` }", "abcdeop"),
        ("not { name = `a` } >> { name = `d` }", ""),
        ("({ name = `a` } && not { name = `x` }) > { }", "bc"),
        ("not ({ } | count() > 7)", "abcdeop"),
        ("not ({ } | count() > 6)", ""),
    ]);
}

#[test]
fn roots_are_read_through_their_fields() {
    // Of two spans without a parent the last one names the trace.
    check(&[
        ("{ root.name = `e` }", "abcdeop"),
        ("{ root.name = rootName }", "abcdeop"),
        ("{ root.kind = internal && name = `d` }", "d"),
        ("{ root.resource.service.name = `` }", "abcdeop"),
        ("{ root.n != nil }", ""),
        ("{ root.n = nil }", "abcdeop"),
    ]);
}

/// A parent from 0 to 100 with children at 10 to 30, twice at 40 (to 50 and to 80), 60 to 70 and 90 to 95.
fn busy_trace() -> Trace {
    let timed = |name: char, parent: Option<char>, start: u64, end: u64| Span {
        start_unix_nanos: 1_000 + start,
        end_unix_nanos: 1_000 + end,
        ..span(name, parent, 1, Vec::new())
    };
    let spans = vec![
        timed('a', None, 0, 100),
        timed('f', Some('a'), 90, 95),
        timed('b', Some('a'), 10, 30),
        timed('c', Some('a'), 40, 50),
        timed('d', Some('a'), 40, 80),
        timed('e', Some('a'), 60, 70),
        // It starts before its parent: clocks disagree.
        timed('g', Some('f'), 85, 86),
    ];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    Trace {
        id: TraceId::from_bytes(&[0xab]),
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// The names of the spans a query yields of some trace, in order.
fn names_in(trace: Trace, query: &str) -> String {
    let query = traceql_language::compile(query, Dialect::Default)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let results = evaluate::search(&[trace], &query).expect("an answer");
    let spansets = results.into_iter().flat_map(|result| result.spansets);
    spansets.flat_map(|set| set.spans).map(|span| char::from(span.span_id[0])).collect()
}

#[test]
fn gaps_are_what_no_sibling_covers() {
    let check = |query: &str, expected: &str| {
        assert_eq!(names_in(busy_trace(), query), expected, "{query}");
    };
    check("{ span:gap = 10ns }", "fbcd");
    check("{ span:gap = 0s }", "eg");
    check("{ span:gap = nil }", "a");
    check("{ span:gap != nil }", "fbcdeg");
    check("{ span:gap > 0s } | max(span:gap) = 10ns", "fbcd");
}

#[test]
fn order_by_puts_spans_and_spansets_in_order() {
    let check = |query: &str, expected: &str| {
        assert_eq!(names_in(busy_trace(), query), expected, "{query}");
    };
    check("{ } | order_by(name)", "abcdefg");
    check("{ } | order_by(name desc)", "gfedcba");
    check("{ } | order_by(duration desc)", "adbcefg");
    // What is equal stays as it is stored, what is missing is last either way.
    check("{ } | order_by(span:gap)", "egfbcda");
    check("{ } | order_by(span:gap desc)", "fbcdega");
    check("{ } | order_by(span:gap desc, name)", "bcdfega");
    check("{ } | order_by(kind)", "afbcdeg");
    check("{ } | by(duration > 15ns) | order_by(count())", "abdfceg");
    check("{ } | by(duration > 15ns) | order_by(count() desc, name desc)", "gfecdba");
}

#[test]
fn different_values_are_counted() {
    let value = |query: &str| {
        let sets = spansets(query);
        let values = sets.iter().flat_map(|set| &set.attributes);
        values.map(|attribute| attribute.value.clone()).collect::<Vec<_>>()
    };
    // An int, an equal double, a text and another int; three spans have none.
    assert_eq!(value("{ } | count_distinct(span.n) > 0"), [Value::Int(4)]);
    assert_eq!(value("{ } | count_distinct(span.list) > 0"), [Value::Int(2)]);
    assert_eq!(value("{ } | count_distinct(.nosuch) = 0"), [Value::Int(0)]);
    assert_eq!(value("{ } | count_distinct(kind) > 0"), [Value::Int(3)]);
    assert_eq!(value("{ } | count_distinct(kind = server) > 0"), [Value::Int(2)]);
}
