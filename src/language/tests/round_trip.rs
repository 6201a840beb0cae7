//! `parse(display(q)) == q` in the default dialect, for trees that no one wrote.

use proptest::prelude::*;

use crate::ast::{
    Aggregate, AggregateFunction, Arithmetic, Arrangement, AttributeScope, BinaryOp, Body,
    Comparison, Field, FieldExpr, FieldFunction, FieldName, Hint, Intrinsic, Kind, Located,
    MetricsExpr, MetricsFunction, OrderBy, OrderKey, Pipeline, Query, ScalarExpr, SecondStage,
    SpansetExpr, SpansetOp, Stage, Static, Status, Subject, join,
};
use crate::fold::{self, Powers};
use crate::parser::field::{BARE_INTRINSICS, SCOPED_INTRINSICS, SUBJECT_INTRINSICS};
use crate::token::Symbol;
use crate::{Dialect, TextRange, parse};

fn located<T>(node: T) -> Located<T> {
    Located::new(node, TextRange::default())
}

/// Texts with what has meaning in strings and names: quotes, escapes, white space, operators.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,6}",
        "[ -~]{0,8}",
        "[\"\\\\`'\n\r\té日=~!<>&|^,(){}./*+-]{0,8}",
        Just("span.x".to_owned()),
        Just("resource.y".to_owned()),
        Just("duration".to_owned()),
        Just("5xx".to_owned()),
    ]
}

fn literal() -> impl Strategy<Value = Static> {
    prop_oneof![
        any::<i64>().prop_map(Static::Int),
        (-20_i64..20).prop_map(Static::Int),
        Just(Static::Int(i64::MIN)),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Static::Float),
        (-9_i32..9).prop_map(|n| Static::Float(f64::from(n) / 4.0)),
        any::<i64>()
            .prop_filter("no duration is that long", |n| *n != i64::MIN)
            .prop_map(Static::Duration),
        text().prop_map(Static::String),
        any::<bool>().prop_map(Static::Bool),
        prop::sample::select(vec![Status::Ok, Status::Error, Status::Unset])
            .prop_map(Static::Status),
        prop::sample::select(vec![Kind::Client, Kind::Server, Kind::Unspecified])
            .prop_map(Static::Kind),
    ]
}

fn scope() -> impl Strategy<Value = AttributeScope> {
    prop::sample::select(vec![
        AttributeScope::Unscoped,
        AttributeScope::Span,
        AttributeScope::Resource,
        AttributeScope::Event,
        AttributeScope::Link,
        AttributeScope::Instrumentation,
    ])
}

/// Whose fields may be read besides the span's own.
fn subject() -> impl Strategy<Value = Subject> {
    prop::sample::select(vec![Subject::Parent, Subject::Root])
}

fn field() -> impl Strategy<Value = Field> {
    let intrinsics: Vec<Intrinsic> =
        BARE_INTRINSICS.into_iter().chain(SCOPED_INTRINSICS.iter().map(|entry| entry.2)).collect();
    prop_oneof![
        4 => (scope(), text()).prop_map(|(scope, key)| Field::attribute(scope, key)),
        3 => prop::sample::select(intrinsics).prop_map(Field::intrinsic),
        1 => (subject(), prop::sample::select(SUBJECT_INTRINSICS.to_vec()))
            .prop_map(|(of, intrinsic)| Field { of, name: FieldName::Intrinsic(intrinsic) }),
        1 => (subject(), prop::sample::select(vec![AttributeScope::Unscoped, AttributeScope::Span, AttributeScope::Resource]), text())
            .prop_map(|(of, scope, key)| Field { of, name: FieldName::Attribute { scope, key } }),
        1 => Just(Field { of: Subject::Itself, name: FieldName::Parent }),
    ]
}

fn binary_op() -> impl Strategy<Value = BinaryOp> {
    prop::sample::select(Symbol::ALL.iter().copied().filter_map(BinaryOp::of).collect::<Vec<_>>())
}

fn field_expr() -> impl Strategy<Value = Located<FieldExpr>> {
    let leaf =
        prop_oneof![literal().prop_map(FieldExpr::Static), field().prop_map(FieldExpr::Field),]
            .prop_map(located);
    leaf.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(|x| located(FieldExpr::Not(Box::new(x)))),
            2 => inner.clone().prop_map(|x| located(FieldExpr::Negate(Box::new(x)))),
            1 => inner.clone().prop_map(|x| located(FieldExpr::Exists(Box::new(x)))),
            1 => inner.clone().prop_map(|x| located(FieldExpr::Missing(Box::new(x)))),
            8 => (inner.clone(), binary_op(), inner).prop_map(|(left, op, right)| join(left, op, right)),
        ]
    })
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    let of = prop::sample::select(vec![
        AggregateFunction::CountDistinct,
        AggregateFunction::Avg,
        AggregateFunction::Max,
        AggregateFunction::Min,
        AggregateFunction::Sum,
    ]);
    prop_oneof![
        Just(Aggregate { function: AggregateFunction::Count, operand: None }),
        (of, field_expr()).prop_map(|(function, operand)| Aggregate {
            function,
            operand: Some(Box::new(operand))
        }),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(Comparison::ALL.to_vec())
}

fn number() -> impl Strategy<Value = Static> {
    prop_oneof![
        any::<i64>().prop_map(Static::Int),
        (-9_i32..9).prop_map(|n| Static::Float(f64::from(n) / 4.0)),
        (-5_000_000_000_i64..5_000_000_000).prop_map(Static::Duration),
    ]
}

/// Arithmetic on aggregates; an operator never stands between two constants, which parsing folds.
fn scalar(pipeline: BoxedStrategy<Pipeline>) -> impl Strategy<Value = Located<ScalarExpr>> {
    let aggregates = prop_oneof![
        aggregate().prop_map(ScalarExpr::Aggregate),
        (pipeline, aggregate())
            .prop_map(|(pipeline, aggregate)| ScalarExpr::Pipeline { pipeline, aggregate }),
    ]
    .prop_map(located);
    aggregates.prop_recursive(2, 6, 2, |inner| {
        let op = prop::sample::select(Arithmetic::ALL.to_vec());
        let constant = number().prop_map(|value| located(ScalarExpr::Static(value))).boxed();
        prop_oneof![
            (inner.clone(), op.clone(), constant.clone())
                .prop_map(|(left, op, right)| join(left, op, right)),
            (constant, op.clone(), inner.clone())
                .prop_map(|(left, op, right)| join(left, op, right)),
            (inner.clone(), op, inner).prop_map(|(left, op, right)| join(left, op, right)),
        ]
    })
}

/// `{ true }`.
fn everything() -> SpansetExpr {
    SpansetExpr::Filter(located(FieldExpr::Static(Static::Bool(true))))
}

fn spanset(pipeline: BoxedStrategy<Pipeline>) -> BoxedStrategy<SpansetExpr> {
    let leaf = prop_oneof![
        3 => field_expr().prop_map(SpansetExpr::Filter),
        // A pipeline that is one spanset expression would be that expression.
        1 => pipeline.prop_map(|mut pipeline| {
            if let [Located { node: Stage::Spanset(_), .. }] = pipeline.stages.as_slice() {
                pipeline.stages.push(located(Stage::Coalesce));
            }
            SpansetExpr::Pipeline(pipeline)
        }),
    ]
    .prop_map(located);
    let ops: Vec<SpansetOp> = Symbol::ALL.iter().copied().filter_map(SpansetOp::of).collect();
    leaf.prop_recursive(3, 6, 2, move |inner| {
        let not = inner.clone().prop_map(|expr| located(SpansetExpr::Not(Box::new(expr))));
        let operation = (inner.clone(), prop::sample::select(ops.clone()), inner).prop_map(
            |(left, op, right)| {
                let is_not = |expr: &Located<_>| matches!(expr.node, SpansetExpr::Not(_));
                // Structure relates spans, and these have none of their own.
                let op = if is_not(&left) || is_not(&right) { SpansetOp::And } else { op };
                join(left, op, right)
            },
        );
        prop_oneof![1 => not, 6 => operation]
    })
    .prop_map(|expr| expr.node)
    .boxed()
}

/// A stage that may come first; a parenthesised pipeline there would be spliced, so there is none.
fn first_stage(pipeline: BoxedStrategy<Pipeline>) -> impl Strategy<Value = Located<Stage>> {
    let spanset = spanset(pipeline.clone()).prop_map(|expr| match expr {
        SpansetExpr::Pipeline(_) => Stage::Spanset(everything()),
        expr => Stage::Spanset(expr),
    });
    let filter = (scalar(pipeline.clone()), comparison(), scalar(pipeline), number(), 0..3)
        .prop_map(|(left, op, right, value, shape)| {
            let constant = located(ScalarExpr::Static(value));
            match shape {
                0 => Stage::ScalarFilter { left, op, right },
                1 => Stage::ScalarFilter { left, op, right: constant },
                _ => Stage::ScalarFilter { left: constant, op, right },
            }
        });
    prop_oneof![
        4 => spanset,
        2 => filter,
        1 => field_expr().prop_map(Stage::By),
        1 => prop::collection::vec(field().prop_map(located), 1..3).prop_map(Stage::Select),
    ]
    .prop_map(located)
}

fn pipeline() -> BoxedStrategy<Pipeline> {
    let leaf = field_expr().prop_map(|filter| Pipeline {
        stages: vec![located(Stage::Spanset(SpansetExpr::Filter(filter)))],
    });
    leaf.prop_recursive(2, 8, 2, |inner| {
        let inner = inner.boxed();
        let further = prop_oneof![
            5 => first_stage(inner.clone()),
            1 => Just(located(Stage::Coalesce)),
            1 => inner.clone().prop_map(|mut pipeline| {
                // One stage in parentheses would be that stage.
                if pipeline.stages.len() == 1 {
                    pipeline.stages.push(located(Stage::Coalesce));
                }
                located(Stage::Spanset(SpansetExpr::Pipeline(pipeline)))
            }),
        ];
        (first_stage(inner), prop::collection::vec(further, 0..3)).prop_map(|(first, rest)| {
            Pipeline { stages: std::iter::once(first).chain(rest).collect() }
        })
    })
    .boxed()
}

fn second_stage() -> impl Strategy<Value = Located<SecondStage>> {
    prop_oneof![
        any::<i64>().prop_filter("unsigned", |n| *n >= 0).prop_map(SecondStage::TopK),
        (1_i64..9).prop_map(SecondStage::BottomK),
        (comparison(), any::<f64>().prop_filter("finite", |value| value.is_finite()))
            .prop_map(|(op, value)| SecondStage::Filter(op, value)),
        (comparison(), -9_i32..9).prop_map(|(op, n)| SecondStage::Filter(op, f64::from(n) / 2.0)),
    ]
    .prop_map(located)
}

fn metrics() -> impl Strategy<Value = Located<MetricsExpr>> {
    let of_field = prop::sample::select(vec![
        FieldFunction::MinOverTime,
        FieldFunction::MaxOverTime,
        FieldFunction::AvgOverTime,
        FieldFunction::SumOverTime,
        FieldFunction::HistogramOverTime,
    ]);
    let quantiles = prop::collection::vec((0.0..=1.0).prop_map(located), 1..3);
    let positive = || (0..i64::MAX).prop_map(located);
    let function = prop_oneof![
        Just(MetricsFunction::Rate),
        Just(MetricsFunction::CountOverTime),
        (of_field, field().prop_map(located))
            .prop_map(|(function, of)| MetricsFunction::OfField(function, of)),
        (field().prop_map(located), quantiles)
            .prop_map(|(of, quantiles)| MetricsFunction::QuantileOverTime { of, quantiles }),
        (field_expr(), prop::option::of((positive(), prop::option::of((positive(), positive())))))
            .prop_map(|(selection, more)| MetricsFunction::Compare {
                selection,
                top_n: more.clone().map(|(top_n, _)| top_n),
                window: more.and_then(|(_, window)| window),
            }),
    ];
    let by = prop::collection::vec(field().prop_map(located), 0..3);
    let query = (pipeline(), function, by, prop::collection::vec(second_stage(), 0..3))
        .prop_map(|(pipeline, function, by, second)| {
            let by =
                if matches!(function, MetricsFunction::Compare { .. }) { Vec::new() } else { by };
            located(MetricsExpr::Query { pipeline, function: located(function), by, second })
        })
        .boxed();
    query.prop_recursive(2, 4, 2, move |inner| {
        let op = prop::sample::select(vec![
            Arithmetic::Add,
            Arithmetic::Subtract,
            Arithmetic::Multiply,
            Arithmetic::Divide,
        ]);
        let constant = (-9_i32..9).prop_map(|n| located(MetricsExpr::Constant(f64::from(n) / 2.0)));
        prop_oneof![
            (inner.clone(), op.clone(), inner.clone())
                .prop_map(|(left, op, right)| join(left, op, right)),
            (constant.clone(), op.clone(), inner.clone())
                .prop_map(|(left, op, right)| join(left, op, right)),
            (inner, op, constant).prop_map(|(left, op, right)| join(left, op, right)),
        ]
    })
}

fn arrangement() -> impl Strategy<Value = Arrangement> {
    let by = prop_oneof![
        3 => field_expr().prop_map(OrderBy::Span),
        1 => aggregate().prop_map(|aggregate| OrderBy::Spanset(located(aggregate))),
    ];
    let key = (by, any::<bool>()).prop_map(|(by, descending)| located(OrderKey { by, descending }));
    let limit = (0..i64::MAX).prop_map(located);
    (prop::collection::vec(key, 0..3), prop::option::of(limit))
        .prop_map(|(order_by, limit)| Arrangement { order_by, limit })
}

fn query() -> impl Strategy<Value = Query> {
    let body = prop_oneof![
        2 => (pipeline(), arrangement())
            .prop_map(|(pipeline, arrangement)| (Body::Search(pipeline), arrangement)),
        1 => (metrics(), prop::collection::vec(second_stage(), 0..2)).prop_map(|(mut expr, more)| {
            if let MetricsExpr::Math { second, .. } = &mut expr.node {
                *second = more;
            }
            (Body::Metrics(expr), Arrangement::default())
        }),
    ];
    let value = literal().prop_filter("hints have no sign", |value| match value {
        Static::Int(value) => *value >= 0 || *value == i64::MIN,
        Static::Float(value) => value.is_sign_positive(),
        Static::Duration(nanos) => *nanos >= 0,
        _ => true,
    });
    let name = prop_oneof![Just("limit".to_owned()), "[a-z]{1,3}_x"];
    let hint =
        (name, value).prop_map(|(name, value)| Hint { name: located(name), value: located(value) });
    (body, prop::collection::vec(hint, 0..2)).prop_map(|((body, arrangement), hints)| {
        let mut query = Query { body, arrangement, hints };
        fold::query(&mut query, Powers::Exact);
        query
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_reads_back_as_the_same_query(query in query()) {
        let text = query.to_string();
        let again = parse(&text, Dialect::Default).map_err(|error| {
            TestCaseError::fail(format!("{text}\n{error:?}"))
        })?;
        prop_assert_eq!(&again, &query, "{}", text);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn any_text_is_refused_or_read_and_printed_again(text in "[ -~é\n]{0,40}") {
        if let Ok(query) = parse(&text, Dialect::Default) {
            prop_assert_eq!(parse(&query.to_string(), Dialect::Default), Ok(query));
        }
    }
}
