//! What analysis makes of a query: the typed query means what was written.

use crate::ir::{
    AggregateFunction, Arithmetic, AttributeScope, Comparison, Field, FieldExpr, FieldName, Hints,
    Intrinsic, MetricsExpr, MetricsFunction, OrderBy, Relation, ScalarExpr, SecondStage,
    SpansetExpr, SpansetOp, Stage, Static, Status, StructuralMode, Subject,
};
use crate::{Dialect, TypedQuery, compile};

fn typed(text: &str) -> TypedQuery {
    compile(text, Dialect::Default).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// The body of a query that is one filter.
fn filter(text: &str) -> FieldExpr {
    let query = typed(text);
    let [Stage::Spanset(SpansetExpr::Filter(filter))] = query.pipeline.stages.as_slice() else {
        panic!("{text} is more than a filter");
    };
    filter.clone()
}

fn attribute(key: &str) -> FieldExpr {
    FieldExpr::Field(Field::attribute(AttributeScope::Unscoped, key))
}

fn compare(left: FieldExpr, op: Comparison, right: Static) -> FieldExpr {
    FieldExpr::Compare { left: Box::new(left), op, right: Box::new(FieldExpr::Static(right)) }
}

#[test]
fn literals_stand_on_the_right() {
    let check = |text: &str, op| {
        assert_eq!(filter(text), compare(attribute("a"), op, Static::Int(5)), "{text}");
    };
    check("{ 5 = .a }", Comparison::Equal);
    check("{ 5 != .a }", Comparison::NotEqual);
    check("{ 5 < .a }", Comparison::Greater);
    check("{ 5 <= .a }", Comparison::GreaterEqual);
    check("{ 5 > .a }", Comparison::Less);
    check("{ 5 >= .a }", Comparison::LessEqual);
    check("{ 2 + 3 < .a }", Comparison::Greater);
}

#[test]
fn constants_are_folded_by_the_rules_of_evaluation() {
    let check = |text: &str, value: Static| {
        assert_eq!(filter(text), compare(attribute("a"), Comparison::Equal, value), "{text}");
    };
    check("{ .a = 2 ^ 3 }", Static::Int(8));
    check("{ .a = 2 ^ 3 ^ 2 }", Static::Int(512));
    check("{ .a = 2 ^ -1 }", Static::Int(0));
    check("{ .a = 2.0 ^ -1 }", Static::Float(0.5));
    check("{ .a = -7 / 2 }", Static::Int(-3));
    check("{ .a = -7 % 4 }", Static::Int(-3));
    check("{ .a = maxInt + 1 }", Static::Int(i64::MIN));
    check("{ .a = 1s + 1s }", Static::Float(2e9));
    check("{ .a = -(1s) }", Static::Duration(-1_000_000_000));
    check("{ .a = 1 + 1.5 }", Static::Float(2.5));
    // What has no value stays as it was written.
    assert!(
        matches!(filter("{ .a = 1 / 0 }"), FieldExpr::Compare { right, .. } if matches!(*right, FieldExpr::Arithmetic { op: Arithmetic::Divide, .. }))
    );
    assert!(
        matches!(filter("{ .a = 1.0 / 0 }"), FieldExpr::Compare { right, .. } if matches!(*right, FieldExpr::Arithmetic { .. }))
    );
}

#[test]
fn both_dialects_mean_the_same_by_a_power() {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        let query = compile("{ 2 ^ 3 = 8 && kind = producer }", dialect).unwrap();
        let expect = typed("{ kind = producer }");
        assert_eq!(query.pipeline, expect.pipeline, "{dialect:?}");
    }
    let query = crate::parse("{ .a = 2 ^ 3 }", Dialect::Tempo).unwrap();
    assert_eq!(query.display(Dialect::Tempo).to_string(), "{ .a = 9 }");
    assert_eq!(query.display(Dialect::Default).to_string(), "{ .a = 8 }");
}

#[test]
fn ids_are_compared_in_the_form_in_which_they_are_stored() {
    let check = |text: &str, intrinsic, id: &str| {
        let field = FieldExpr::Field(Field::intrinsic(intrinsic));
        assert_eq!(
            filter(text),
            compare(field, Comparison::Equal, Static::String(id.to_owned())),
            "{text}"
        );
    };
    check("{ trace:id = `000ABC` }", Intrinsic::TraceId, "abc");
    check("{ `00ab` = trace:id }", Intrinsic::TraceId, "ab");
    check("{ link:traceID = `000ABC` }", Intrinsic::LinkTraceId, "abc");
    check("{ span:id = `00000000000000AB` }", Intrinsic::SpanId, "00000000000000ab");
    check("{ span:parentID = `0000000000000000` }", Intrinsic::SpanParentId, "0000000000000000");
    check("{ link:spanID = `Nope` }", Intrinsic::LinkSpanId, "Nope");
    check("{ name = `000ABC` }", Intrinsic::Name, "000ABC");
}

#[test]
fn orders_and_limits_are_the_querys_own() {
    let query =
        typed("{ .a } | order_by(traceDuration desc, count_distinct(.b), .c + 1 asc) | limit(5)");
    let Stage::Spanset(SpansetExpr::Filter(_)) = &query.pipeline.stages[0] else { panic!() };
    assert_eq!(query.pipeline.stages.len(), 1);
    assert_eq!(query.limit, Some(5));
    let keys: Vec<bool> = query.order_by.iter().map(|key| key.descending).collect();
    assert_eq!(keys, [true, false, false]);
    assert_eq!(
        query.order_by[0].by,
        OrderBy::Span(FieldExpr::Field(Field::intrinsic(Intrinsic::TraceDuration)))
    );
    let OrderBy::Spanset(aggregate) = &query.order_by[1].by else { panic!("{query:?}") };
    assert_eq!(aggregate.function, AggregateFunction::CountDistinct);
    assert_eq!(
        query.canonical,
        "{ .a }|order_by(traceDuration desc, count_distinct(.b), .c + 1)|limit(5)"
    );
    assert_eq!((typed("{ }").order_by, typed("{ }").limit), (Vec::new(), None));
}

#[test]
fn not_binds_as_in_sql() {
    let canonical = |text: &str| typed(text).canonical;
    assert_eq!(canonical("not {.a} && {.b}"), "(not ({ .a })) && ({ .b })");
    assert_eq!(canonical("not {.a} >> {.b} || {.c}"), "(not (({ .a }) >> ({ .b }))) || ({ .c })");
    assert_eq!(canonical("{.a} && not not {.b}"), "({ .a }) && (not (not ({ .b })))");
    assert_eq!(canonical("not ({.a} | count() > 2)"), "not ({ .a }|(count()) > 2)");
    assert_eq!(canonical("{.a} | not {.b}"), "{ .a }|not ({ .b })");
}

#[test]
fn words_of_extensions_still_name_hints() {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        for word in ["limit", "not", "gap", "order_by", "asc", "root"] {
            let text = format!("{{ }} with ({word}=1)");
            let query = compile(&text, dialect).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(query.hints.all, [(word.to_owned(), Static::Int(1))]);
        }
    }
}

#[test]
fn the_parent_is_read_through_its_fields() {
    let field = |text: &str| match filter(text) {
        FieldExpr::Compare { left, .. } | FieldExpr::Missing(left) | FieldExpr::Exists(left) => {
            match *left {
                FieldExpr::Field(field) => field,
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    };
    let intrinsic =
        |intrinsic| Field { of: Subject::Parent, name: FieldName::Intrinsic(intrinsic) };
    let attribute = |scope, key: &str| Field {
        of: Subject::Parent,
        name: FieldName::Attribute { scope, key: key.to_owned() },
    };
    assert_eq!(field("{ parent.duration > 300ms }"), intrinsic(Intrinsic::Duration));
    assert_eq!(field("{ parent.name = `x` }"), intrinsic(Intrinsic::Name));
    assert_eq!(field("{ parent.status = error }"), intrinsic(Intrinsic::Status));
    assert_eq!(field("{ parent.kind = server }"), intrinsic(Intrinsic::Kind));
    assert_eq!(field("{ parent.statusMessage = `x` }"), intrinsic(Intrinsic::StatusMessage));
    assert_eq!(
        field("{ parent.\"duration\" > 1 }"),
        attribute(AttributeScope::Unscoped, "duration")
    );
    assert_eq!(field("{ parent.span.duration > 1 }"), attribute(AttributeScope::Span, "duration"));
    assert_eq!(field("{ parent.a = 1 }"), attribute(AttributeScope::Unscoped, "a"));
    assert_eq!(field("{ parent.resource.a = 1 }"), attribute(AttributeScope::Resource, "a"));
    assert_eq!(field("{ parent.event.a = 1 }"), attribute(AttributeScope::Unscoped, "event.a"));
    assert_eq!(field("{ parent = nil }"), Field { of: Subject::Itself, name: FieldName::Parent });
    // The parent's intrinsics are missing where there is no parent.
    assert_eq!(field("{ parent.name = nil }"), intrinsic(Intrinsic::Name));
    assert!(filter("{ parent.a = 1 }").mentions_parent());
    assert!(filter("{ parent != nil }").mentions_parent());
    assert!(!filter("{ .a = 1 }").mentions_parent());
    let root = |name| Field { of: Subject::Root, name };
    assert_eq!(field("{ root.duration > 300ms }"), root(FieldName::Intrinsic(Intrinsic::Duration)));
    let attribute = |scope, key: &str| FieldName::Attribute { scope, key: key.to_owned() };
    assert_eq!(
        field("{ root.resource.service.name = nil }"),
        root(attribute(AttributeScope::Resource, "service.name"))
    );
    assert_eq!(field("{ root.\"name\" = `x` }"), root(attribute(AttributeScope::Unscoped, "name")));
    assert!(!filter("{ root.a = 1 }").mentions_parent());
}

#[test]
fn patterns_are_translated_and_anchored() {
    let FieldExpr::Match { negated: true, pattern, .. } = filter(r"{ .a !~ `\d.*` }") else {
        panic!()
    };
    assert_eq!(pattern.source, r"\d.*");
    assert_eq!(pattern.translated, r"\A(?s:[0-9].*)\z");
}

#[test]
fn structural_operators_say_relation_and_mode() {
    let op = |text: &str| match typed(text).pipeline.stages.remove(0) {
        Stage::Spanset(SpansetExpr::Operation { op, .. }) => op,
        other => panic!("{other:?}"),
    };
    let structural = |relation, mode| SpansetOp::Structural { relation, mode };
    assert_eq!(op("{} > {}"), structural(Relation::Child, StructuralMode::Plain));
    assert_eq!(op("{} << {}"), structural(Relation::Ancestor, StructuralMode::Plain));
    assert_eq!(op("{} !>> {}"), structural(Relation::Descendant, StructuralMode::Negated));
    assert_eq!(op("{} &< {}"), structural(Relation::Parent, StructuralMode::Union));
    assert_eq!(op("{} !~ {}"), structural(Relation::Sibling, StructuralMode::Negated));
    assert_eq!(op("{} || {}"), SpansetOp::Or);
}

#[test]
fn stages_keep_their_labels() {
    let query = typed(
        "{ .a = \"x`y\" } | by(.b > 1) | avg(duration) + 1 > 1s | coalesce() | select(.c, name)",
    );
    let stages = query.pipeline.stages;
    assert!(matches!(&stages[1], Stage::By { label, .. } if label == "by(.b > 1)"));
    let Stage::ScalarFilter { left: ScalarExpr::Arithmetic { left, .. }, op, right } = &stages[2]
    else {
        panic!()
    };
    assert!(matches!(left.as_ref(), ScalarExpr::Aggregate(aggregate)
        if aggregate.label == "avg(duration)" && aggregate.function == AggregateFunction::Avg));
    assert_eq!(
        (*op, right),
        (Comparison::Greater, &ScalarExpr::Static(Static::Duration(1_000_000_000)))
    );
    assert_eq!(stages[3], Stage::Coalesce);
    assert_eq!(
        stages[4],
        Stage::Select(vec![
            Field::attribute(AttributeScope::Unscoped, "c"),
            Field::intrinsic(Intrinsic::Name),
        ])
    );
    assert_eq!(
        query.canonical,
        "{ .a = \"x`y\" }|by(.b > 1)|((avg(duration)) + 1) > 1s|coalesce()|select(.c, name)"
    );
}

#[test]
fn pipelines_in_parentheses_keep_their_place() {
    let query = typed("{ .a } && ({ .b } | count() > 1)");
    let Stage::Spanset(SpansetExpr::Operation { right, .. }) = &query.pipeline.stages[0] else {
        panic!()
    };
    assert!(
        matches!(right.as_ref(), SpansetExpr::Pipeline(pipeline) if pipeline.stages.len() == 2)
    );
    // Around the beginning of a pipeline they mean nothing.
    assert_eq!(
        typed("({ .a } | count() > 1) | { .b }").pipeline,
        typed("{ .a } | count() > 1 | { .b }").pipeline
    );
    // After `by` they keep what is inside to one spanset.
    let query = typed("{ .a } | by(.b) | ({ .c } | coalesce())");
    assert!(matches!(&query.pipeline.stages[2], Stage::Spanset(SpansetExpr::Pipeline(_))));
}

#[test]
fn comparisons_of_pipelines_are_scalars() {
    let query = typed("({ .a } | count()) > ({ .b } | count()) * 2");
    let Stage::ScalarFilter { left, right, .. } = &query.pipeline.stages[0] else { panic!() };
    assert!(matches!(left, ScalarExpr::Pipeline { .. }));
    assert!(matches!(right, ScalarExpr::Arithmetic { op: Arithmetic::Multiply, .. }));
}

#[test]
fn constants_that_change_nothing_are_left_out() {
    assert_eq!(filter("{ true && name = `x` }"), filter("{ name = `x` }"));
    assert_eq!(filter("{ name = `x` || false }"), filter("{ name = `x` }"));
    // A bare attribute may be no bool, and what is compared may be listed in the answer.
    assert!(matches!(filter("{ true && .a }"), FieldExpr::And(..)));
    assert!(matches!(filter("{ true || .a = 1 }"), FieldExpr::Or(..)));
    assert!(matches!(filter("{ false && .a = 1 }"), FieldExpr::And(..)));
}

#[test]
fn long_chains_become_shallow_trees() {
    fn height(expr: &FieldExpr) -> usize {
        match expr {
            FieldExpr::Or(left, right) => 1 + height(left).max(height(right)),
            _ => 0,
        }
    }
    let chain = |n: usize| {
        let conditions: Vec<String> = (0..n).map(|i| format!(".a = {i}")).collect();
        filter(&format!("{{ {} }}", conditions.join(" || ")))
    };
    assert_eq!(height(&chain(3)), 2);
    assert_eq!(height(&chain(30)), 29);
    assert_eq!(height(&chain(1024)), 10);
    let mut values = Vec::new();
    let long = chain(1000);
    long.walk(&mut |expr| {
        if let FieldExpr::Static(Static::Int(value)) = expr {
            values.push(*value);
        }
    });
    assert_eq!(values, (0..1000).collect::<Vec<_>>());
}

#[test]
fn metrics_are_typed() {
    let query = typed("{ .a } | quantile_over_time(duration, .5, 1) by (name) | topk(3) > 500ms");
    let Some(MetricsExpr::Query { pipeline, function, by, second }) = query.metrics else {
        panic!()
    };
    assert_eq!(pipeline, query.pipeline);
    assert_eq!(
        function,
        MetricsFunction::QuantileOverTime {
            of: Field::intrinsic(Intrinsic::Duration),
            quantiles: vec![0.5, 1.0],
        }
    );
    assert_eq!(by, vec![Field::intrinsic(Intrinsic::Name)]);
    assert_eq!(second, vec![SecondStage::TopK(3), SecondStage::Filter(Comparison::Greater, 0.5)]);
}

#[test]
fn metrics_take_any_field() {
    for dialect in [Dialect::Default, Dialect::Tempo] {
        for text in
            ["{} | rate() by (parent.a)", "{} | rate() by (parent)", "{} | max_over_time(parent.a)"]
        {
            assert!(compile(text, dialect).is_ok(), "{text}");
        }
    }
}

#[test]
fn compare_has_defaults() {
    let function = |text: &str| match typed(text).metrics {
        Some(MetricsExpr::Query {
            function: MetricsFunction::Compare { top_n, window, .. },
            ..
        }) => (top_n, window),
        other => panic!("{other:?}"),
    };
    assert_eq!(function("{} | compare({ status = error })"), (10, None));
    assert_eq!(function("{} | compare({ status = error }, 3)"), (3, None));
    assert_eq!(function("{} | compare({ status = error }, 3, 5, 7)"), (3, Some((5, 7))));
    assert_eq!(function("{} | compare({ status = error }, 3, 0, 0)"), (3, None));
}

#[test]
fn math_applies_second_stages_to_the_whole() {
    let query = typed("100 * ({ status = error } | rate()) / ({} | rate()) > 5 | topk(2)");
    let Some(MetricsExpr::Math { left, op: Arithmetic::Divide, second, .. }) = query.metrics else {
        panic!()
    };
    assert_eq!(second, vec![SecondStage::Filter(Comparison::Greater, 5.0), SecondStage::TopK(2)]);
    let MetricsExpr::Math { left, op: Arithmetic::Multiply, second, .. } = *left else { panic!() };
    assert_eq!((*left, second), (MetricsExpr::Constant(100.0), Vec::new()));
    assert_eq!(query.pipeline, typed("{ status = error }").pipeline);
}

#[test]
fn hints_that_are_understood_are_read() {
    let hints = |text: &str| typed(text).hints;
    assert_eq!(hints("{}"), Hints::default());
    assert!(hints("{} with (most_recent=true)").most_recent);
    assert!(!hints("{} with (most_recent=1)").most_recent);
    assert!(!hints("{} with (most_recent=\"true\")").most_recent);
    assert!(!hints("{} with (most_recent=true) with (foo=1)").most_recent);
    // Of several the first of the right type counts.
    assert!(hints("{} with (most_recent=1, most_recent=true, most_recent=false)").most_recent);
    assert_eq!(hints("{} | rate() with (exemplars=false)").exemplars, Some(0));
    assert_eq!(hints("{} | rate() with (exemplars=true)").exemplars, Some(u32::MAX));
    assert_eq!(hints("{} | rate() with (exemplars=7)").exemplars, Some(7));
    assert_eq!(
        hints("{} with (foo=error)").all,
        vec![("foo".to_owned(), Static::Status(Status::Error))]
    );
}

#[test]
fn fields_are_visited_in_the_order_of_the_text() {
    let query = typed(
        "({ .a = 1 && event.b = 2 } >> { link:spanID = `x` }) | by(.c) | max(.d) > ({ .e } | avg(.f)) | select(.g) | sum_over_time(.h) by (.i)",
    );
    let mut names = Vec::new();
    query.visit_fields(&mut |field| names.push(field.to_string()));
    assert_eq!(names, [".a", "event.b", "link:spanID", ".c", ".d", ".e", ".f", ".g", ".h", ".i"]);
    let first = filter("{ event.b = 2 && .c = 1 }");
    assert!(first.mentions_events() && !first.mentions_links());
    assert!(filter("{ link:traceID != `` }").mentions_links());
}
