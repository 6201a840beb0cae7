//! Which fields a query mentions, and where: for whoever has something to say about a name under the
//! text it stands in. Knows no rule about them.

use crate::ast::{
    Aggregate, Body, Field, FieldExpr, Located, MetricsExpr, MetricsFunction, OrderBy, Pipeline,
    Query, ScalarExpr, SpansetExpr, Stage,
};

/// Every field in the order of the text, as often as it is written.
#[must_use]
pub fn mentions(query: &Query) -> Vec<Located<Field>> {
    let mut found = Vec::new();
    match &query.body {
        Body::Search(pipeline) => of_pipeline(pipeline, &mut found),
        Body::Metrics(metrics) => of_metrics(&metrics.node, &mut found),
    }
    for key in &query.arrangement.order_by {
        match &key.node.by {
            OrderBy::Span(expr) => of_expr(expr, &mut found),
            OrderBy::Spanset(aggregate) => of_aggregate(&aggregate.node, &mut found),
        }
    }
    found.sort_by_key(|field| field.range);
    found
}

type Found = Vec<Located<Field>>;

fn of_pipeline(pipeline: &Pipeline, found: &mut Found) {
    for stage in &pipeline.stages {
        match &stage.node {
            Stage::Spanset(expr) => of_spanset(expr, found),
            Stage::ScalarFilter { left, right, .. } => {
                of_scalar(&left.node, found);
                of_scalar(&right.node, found);
            }
            Stage::By(key) => of_expr(key, found),
            Stage::Coalesce => {}
            Stage::Select(fields) => found.extend_from_slice(fields),
        }
    }
}

fn of_spanset(expr: &SpansetExpr, found: &mut Found) {
    match expr {
        SpansetExpr::Filter(body) => of_expr(body, found),
        SpansetExpr::Pipeline(pipeline) => of_pipeline(pipeline, found),
        SpansetExpr::Operation { first, rest } => {
            of_spanset(&first.node, found);
            rest.iter().for_each(|(_, operand)| of_spanset(&operand.node, found));
        }
        SpansetExpr::Not(operand) => of_spanset(&operand.node, found),
    }
}

fn of_scalar(expr: &ScalarExpr, found: &mut Found) {
    match expr {
        ScalarExpr::Static(_) => {}
        ScalarExpr::Aggregate(aggregate) => of_aggregate(aggregate, found),
        ScalarExpr::Pipeline { pipeline, aggregate } => {
            of_pipeline(pipeline, found);
            of_aggregate(aggregate, found);
        }
        ScalarExpr::Arithmetic { first, rest } => {
            of_scalar(&first.node, found);
            rest.iter().for_each(|(_, operand)| of_scalar(&operand.node, found));
        }
    }
}

fn of_aggregate(aggregate: &Aggregate, found: &mut Found) {
    if let Some(operand) = &aggregate.operand {
        of_expr(operand, found);
    }
}

fn of_expr(expr: &Located<FieldExpr>, found: &mut Found) {
    match &expr.node {
        FieldExpr::Static(_) => {}
        FieldExpr::Field(field) => found.push(Located::new(field.clone(), expr.range)),
        FieldExpr::Not(operand)
        | FieldExpr::Negate(operand)
        | FieldExpr::Exists(operand)
        | FieldExpr::Missing(operand) => of_expr(operand, found),
        FieldExpr::Binary { first, rest } => {
            of_expr(first, found);
            rest.iter().for_each(|(_, operand)| of_expr(operand, found));
        }
    }
}

fn of_metrics(expr: &MetricsExpr, found: &mut Found) {
    match expr {
        MetricsExpr::Constant(_) => {}
        MetricsExpr::Query { pipeline, function, by, .. } => {
            of_pipeline(pipeline, found);
            match &function.node {
                MetricsFunction::Rate | MetricsFunction::CountOverTime => {}
                MetricsFunction::OfField(_, of) | MetricsFunction::QuantileOverTime { of, .. } => {
                    found.push(of.clone());
                }
                MetricsFunction::Compare { selection, .. } => of_expr(selection, found),
            }
            found.extend_from_slice(by);
        }
        MetricsExpr::Math { first, rest, .. } => {
            of_metrics(&first.node, found);
            rest.iter().for_each(|(_, operand)| of_metrics(&operand.node, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, parse};

    fn check(text: &str, expect: &[&str]) {
        let query = parse(text, Dialect::Default).unwrap();
        let found: Vec<&str> = mentions(&query).iter().map(|field| field.range.of(text)).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        check("{ .a = 1 && (resource.b || !.c) }", &[".a", "resource.b", ".c"]);
        check("{ .a } >> { .b != nil } | select(name, span.c)", &[".a", ".b", "name", "span.c"]);
        check("({ .a } | by(.b)) | avg(.c + .d) > 2 | coalesce()", &[".a", ".b", ".c", ".d"]);
        check(
            "{ .a } | quantile_over_time(duration, .5) by (.b, name) | topk(3)",
            &[".a", "duration", ".b", "name"],
        );
        check("{ } | compare({ .a = 1 })", &[".a"]);
        check(
            "{ .a } && not { .b } | order_by(max(.c) desc, root.d) | limit(2)",
            &[".a", ".b", ".c", "root.d"],
        );
        check("({ .a } | rate()) / ({ .b } | rate())", &[".a", ".b"]);
    }
}
