//! A naive evaluator of TraceQL search over traces in memory: the specification, executed slowly.
//! One function a rule, each citing its section of `traceql.md`; what the specification leaves open
//! is settled in the head of the file concerned. It shares nothing with the engine but the types of
//! questions and answers, and must never borrow its code: its only worth is to be written twice.
//!
//! Choices made here where the specification is silent; the engine follows them:
//! - Spans of a spanset stand in storage order, groups in the order of their first span.
//! - A scalar filter appends the value of every aggregate it contains, left to right; those of
//!   operands in parentheses `({…} | count())` do not appear (7.3).
//! - Such an operand looks at the spanset that is filtered, so that after `by` each group is weighed
//!   for itself. Its aggregate is taken over all spans of all its spansets; with none, `count()` is 0
//!   and the others are nil.
//! - A scalar that is no number (7.4) drops the spanset, also inside arithmetic.
//! - `sum` and `avg` of mixed numbers are doubles; of several equal extremes the first is taken.
//! - A parenthesised pipeline that is a whole stage keeps its group and aggregate values.

mod fields;
mod forest;
mod listing;
pub(crate) mod metrics;
mod order;
mod values;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use traceql_blocks::model::{AttributeValue, Trace};
use traceql_engine::search::{
    ResultAttribute, ServiceStats, SpanResult, SpansetResult, TraceResult, Value,
};
use traceql_language::analyze::ir::{
    Aggregate, AggregateFunction, Arithmetic, Comparison, FieldExpr, Pipeline, Relation,
    ScalarExpr, SpansetExpr, SpansetOp, Stage, Status, StructuralMode, TypedQuery,
};

use self::fields::{Place, Reading};
use self::forest::Forest;
use self::listing::Mentions;
pub(crate) use self::values::duration_text;
use self::values::{Number, number};

/// 7.3: an operand of a structural operator yielded several spansets; the query fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeedsCoalesce;

impl fmt::Display for NeedsCoalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operand of a structural operator yields several spansets: use coalesce()")
    }
}

/// A spanset on its way through the pipeline (7.1).
#[derive(Clone, Debug, Default)]
struct Spanset {
    /// Indices of its spans, ascending, that is, in storage order.
    spans: Vec<usize>,
    /// Group and aggregate values.
    values: Vec<ResultAttribute>,
}

/// Section 8.3: every matching trace with all its spans, newest start first, ties by id.
pub(crate) fn search(
    traces: &[Trace],
    query: &TypedQuery,
) -> Result<Vec<TraceResult>, NeedsCoalesce> {
    let mentions = Mentions::of(query);
    let mut results = Vec::new();
    for trace in traces {
        let forest = Forest::new(trace);
        let all = Spanset { spans: (0..forest.spans.len()).collect(), values: Vec::new() };
        let mut spansets = run(&forest, &query.pipeline, vec![all])?;
        if !spansets.is_empty() {
            let key = order::sort(&forest, &query.order_by, &mut spansets);
            results.push((key, trace_result(&forest, &spansets, &mentions)));
        }
    }
    results.sort_by(|(left_key, left), (right_key, right)| {
        let place = |result: &TraceResult| (Reverse(result.start_unix_nanos), result.trace_id);
        match query.order_by.is_empty() {
            true => place(left).cmp(&place(right)),
            false => order::compare(&query.order_by, left_key, right_key)
                .then_with(|| left.trace_id.cmp(&right.trace_id)),
        }
    });
    // Without an order of its own, which traces come first depends on blocks, of which nothing is known.
    if let Some(limit) = query.limit.filter(|_| !query.order_by.is_empty()) {
        results.truncate(usize::try_from(limit).expect("limits of tests are small"));
    }
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// 7.1: maps a list of spansets to a list of spansets, stage by stage. Empty ones never survive.
fn run(
    forest: &Forest<'_>,
    pipeline: &Pipeline,
    input: Vec<Spanset>,
) -> Result<Vec<Spanset>, NeedsCoalesce> {
    let mut spansets = input;
    for stage in &pipeline.stages {
        spansets = match stage {
            Stage::Spanset(expression) => {
                let mut kept = Vec::new();
                for spanset in spansets {
                    kept.extend(spanset_stage(forest, expression, &spanset)?);
                }
                kept
            }
            Stage::ScalarFilter { left, op, right } => {
                let mut kept = Vec::new();
                for spanset in spansets {
                    kept.extend(scalar_filter(forest, left, *op, right, spanset)?);
                }
                kept
            }
            Stage::By { key, label } => {
                spansets.iter().flat_map(|spanset| by(forest, key, label, spanset)).collect()
            }
            Stage::Coalesce => coalesce(&spansets),
            // 7.4: no filtering; the listing looks at the whole query.
            Stage::Select(_) => spansets,
        };
        spansets.retain(|spanset| !spanset.spans.is_empty());
    }
    Ok(spansets)
}

/// 7.4, first row: keeps group values.
fn spanset_stage(
    forest: &Forest<'_>,
    expression: &SpansetExpr,
    input: &Spanset,
) -> Result<Vec<Spanset>, NeedsCoalesce> {
    if let SpansetExpr::Pipeline(pipeline) = expression {
        return run(forest, pipeline, vec![input.clone()]);
    }
    let spans = union(&operand(forest, expression, &input.spans)?);
    Ok(vec![Spanset { spans, values: input.values.clone() }])
}

/// 7.3: the spansets an expression yields for the spans of one spanset, each without its values.
fn operand(
    forest: &Forest<'_>,
    expression: &SpansetExpr,
    input: &[usize],
) -> Result<Vec<Vec<usize>>, NeedsCoalesce> {
    let spansets: Vec<Vec<usize>> = match expression {
        SpansetExpr::Filter(filter) => {
            let kept = |span: &usize| fields::keeps(forest, *span, filter);
            vec![input.iter().copied().filter(kept).collect()]
        }
        SpansetExpr::Pipeline(pipeline) => {
            let input = Spanset { spans: input.to_vec(), values: Vec::new() };
            run(forest, pipeline, vec![input])?.into_iter().map(|set| set.spans).collect()
        }
        SpansetExpr::Operation { left, op: SpansetOp::Structural { relation, mode }, right } => {
            let left = operand(forest, left, input)?;
            let right = operand(forest, right, input)?;
            if left.len() > 1 || right.len() > 1 {
                return Err(NeedsCoalesce);
            }
            vec![structural(forest, &union(&left), *relation, *mode, &union(&right))]
        }
        // `grammar/extensions.md`: where it holds without naming spans, all of the input stand.
        SpansetExpr::Operation { .. } | SpansetExpr::Not(_) => {
            match judge(forest, expression, input)? {
                (false, _) => Vec::new(),
                (true, spans) if spans.is_empty() => vec![input.to_vec()],
                (true, spans) => vec![spans],
            }
        }
    };
    Ok(spansets.into_iter().filter(|spans| !spans.is_empty()).collect())
}

/// 7.3, the table, and `grammar/extensions.md` on `not`: whether an expression holds for the trace, and
/// the spans it names if it does. `not` looks at the whole trace and names none.
fn judge(
    forest: &Forest<'_>,
    expression: &SpansetExpr,
    input: &[usize],
) -> Result<(bool, Vec<usize>), NeedsCoalesce> {
    match expression {
        SpansetExpr::Not(negated) => {
            let all: Vec<usize> = (0..forest.spans.len()).collect();
            let (holds, _) = judge(forest, negated, &all)?;
            Ok((!holds, Vec::new()))
        }
        SpansetExpr::Operation { left, op: op @ (SpansetOp::And | SpansetOp::Or), right } => {
            let (left_holds, left) = judge(forest, left, input)?;
            let (right_holds, right) = judge(forest, right, input)?;
            let holds = match op {
                SpansetOp::And => left_holds && right_holds,
                _ => left_holds || right_holds,
            };
            Ok((holds, if holds { union(&[left, right]) } else { Vec::new() }))
        }
        other => {
            let spans = union(&operand(forest, other, input)?);
            Ok((!spans.is_empty(), spans))
        }
    }
}

/// 7.3, structural operators by their definition: every pair is looked at.
fn structural(
    forest: &Forest<'_>,
    left: &[usize],
    relation: Relation,
    mode: StructuralMode,
    right: &[usize],
) -> Vec<usize> {
    let related = |l: usize, r: usize| match relation {
        Relation::Child => forest.is_child(r, l),
        Relation::Descendant => forest.is_descendant(r, l),
        Relation::Parent => forest.is_child(l, r),
        Relation::Ancestor => forest.is_descendant(l, r),
        Relation::Sibling => forest.are_siblings(l, r),
    };
    let has_witness = |r: usize| left.iter().any(|&l| related(l, r));
    let is_witness = |l: usize| right.iter().any(|&r| related(l, r));
    match mode {
        StructuralMode::Plain => right.iter().copied().filter(|&r| has_witness(r)).collect(),
        StructuralMode::Negated => right.iter().copied().filter(|&r| !has_witness(r)).collect(),
        StructuralMode::Union => union(&[
            left.iter().copied().filter(|&l| is_witness(l)).collect(),
            right.iter().copied().filter(|&r| has_witness(r)).collect(),
        ]),
    }
}

/// All spans of several lists, each once, in storage order.
fn union(lists: &[Vec<usize>]) -> Vec<usize> {
    let mut spans = lists.concat();
    spans.sort_unstable();
    spans.dedup();
    spans
}

/// 7.4: splits a spanset by the value of an expression; nil is a group of its own.
fn by(forest: &Forest<'_>, key: &FieldExpr, label: &str, input: &Spanset) -> Vec<Spanset> {
    let mut groups: Vec<(Value, Spanset)> = Vec::new();
    for &span in &input.spans {
        let value = fields::evaluate(Place { forest, span, reading: Reading::First }, key);
        let found = groups.iter_mut().find(|(group, _)| values::same_group(group, &value));
        if let Some((_, spanset)) = found {
            spanset.spans.push(span);
        } else {
            let mut values = input.values.clone();
            values.push(ResultAttribute { key: label.to_owned(), value: value.clone() });
            groups.push((value, Spanset { spans: vec![span], values }));
        }
    }
    groups.into_iter().map(|(_, spanset)| spanset).collect()
}

/// 7.4: merges all spansets into one; all group and aggregate values are discarded.
fn coalesce(spansets: &[Spanset]) -> Vec<Spanset> {
    let lists: Vec<Vec<usize>> = spansets.iter().map(|spanset| spanset.spans.clone()).collect();
    vec![Spanset { spans: union(&lists), values: Vec::new() }]
}

/// 7.4: computes the aggregates, appends them under their names, keeps the spanset if the
/// comparison holds.
fn scalar_filter(
    forest: &Forest<'_>,
    left: &ScalarExpr,
    op: Comparison,
    right: &ScalarExpr,
    mut spanset: Spanset,
) -> Result<Option<Spanset>, NeedsCoalesce> {
    let mut computed = Vec::new();
    let left = scalar(forest, left, &spanset.spans, &mut computed)?;
    let right = scalar(forest, right, &spanset.spans, &mut computed)?;
    spanset.values.extend(computed);
    let holds = number(&left).is_some() && values::compare(&left, op, &right);
    Ok(holds.then_some(spanset))
}

/// Section 11, scalar filters: the value of an expression of aggregates and constants.
fn scalar(
    forest: &Forest<'_>,
    expression: &ScalarExpr,
    spans: &[usize],
    computed: &mut Vec<ResultAttribute>,
) -> Result<Value, NeedsCoalesce> {
    match expression {
        ScalarExpr::Static(literal) => Ok(values::literal(literal)),
        ScalarExpr::Aggregate(function) => {
            let value = aggregate(forest, function, spans);
            let key = function.label.clone();
            computed.push(ResultAttribute { key, value: value.clone() });
            Ok(value)
        }
        ScalarExpr::Pipeline { pipeline, aggregate: function } => {
            let input = Spanset { spans: spans.to_vec(), values: Vec::new() };
            let spansets = run(forest, pipeline, vec![input])?;
            let lists: Vec<Vec<usize>> = spansets.into_iter().map(|set| set.spans).collect();
            Ok(aggregate(forest, function, &union(&lists)))
        }
        ScalarExpr::Arithmetic { left, op, right } => {
            let left = scalar(forest, left, spans, computed)?;
            let right = scalar(forest, right, spans, computed)?;
            if number(&left).is_none() || number(&right).is_none() {
                return Ok(Value::Nil);
            }
            Ok(values::arithmetic(&left, *op, &right))
        }
    }
}

/// 7.4 and section 11, aggregates: only numbers count; without any the result is nil.
fn aggregate(forest: &Forest<'_>, aggregate: &Aggregate, spans: &[usize]) -> Value {
    let Some(operand) = &aggregate.operand else { return fields::int(spans.len()) };
    let evaluate =
        |&span: &usize| fields::evaluate(Place { forest, span, reading: Reading::First }, operand);
    let values: Vec<Value> = spans.iter().map(evaluate).collect();
    if aggregate.function == AggregateFunction::CountDistinct {
        return distinct(&values);
    }
    let values: Vec<Value> = values.into_iter().filter(|value| number(value).is_some()).collect();
    if values.is_empty() {
        return Value::Nil;
    }
    match aggregate.function {
        AggregateFunction::Count | AggregateFunction::CountDistinct => fields::int(values.len()),
        AggregateFunction::Sum => sum(&values),
        AggregateFunction::Avg => average(&values),
        AggregateFunction::Max => extreme(&values, Comparison::Greater),
        AggregateFunction::Min => extreme(&values, Comparison::Less),
    }
}

/// `grammar/extensions.md`, `count_distinct`: values that `by` would tell apart; nil is none.
fn distinct(values: &[Value]) -> Value {
    let mut seen: Vec<&Value> = Vec::new();
    for value in values.iter().filter(|value| **value != Value::Nil) {
        if !seen.iter().any(|other| values::same_group(other, value)) {
            seen.push(value);
        }
    }
    fields::int(seen.len())
}

/// 7.4 and section 11: numbers of one type keep it; mixed numbers add up as doubles.
fn sum(values: &[Value]) -> Value {
    if values.iter().all(|value| matches!(value, Value::Int(_))) {
        Value::Int(values.iter().filter_map(exact).fold(0, i64::wrapping_add))
    } else if values.iter().all(|value| matches!(value, Value::Duration(_))) {
        Value::Duration(values.iter().filter_map(exact).fold(0, i64::wrapping_add))
    } else {
        Value::Float(values.iter().filter_map(number).map(Number::as_double).sum())
    }
}

/// The int or the nanoseconds.
fn exact(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) | Value::Duration(number) => Some(*number),
        _ => None,
    }
}

/// 7.4: int gives float, duration gives duration (truncated), float gives float.
fn average(values: &[Value]) -> Value {
    let count = fields::int(values.len());
    match sum(values) {
        Value::Duration(nanos) => {
            let Value::Int(count) = count else { return Value::Nil };
            Value::Duration(nanos / count)
        }
        Value::Int(total) => {
            let total = Number::Exact(total).as_double();
            values::arithmetic(&Value::Float(total), Arithmetic::Divide, &count)
        }
        total => values::arithmetic(&total, Arithmetic::Divide, &count),
    }
}

/// 7.4: the largest or smallest; numeric mixes compare as doubles, the first of equals wins.
fn extreme(values: &[Value], better: Comparison) -> Value {
    let mut best = values[0].clone();
    for value in values {
        if values::compare(value, better, &best) {
            best = value.clone();
        }
    }
    best
}

/// 8.3.
fn trace_result(forest: &Forest<'_>, spansets: &[Spanset], mentions: &Mentions) -> TraceResult {
    TraceResult {
        trace_id: forest.trace.id,
        root_service_name: forest.root_service_name(),
        root_trace_name: forest.root_name(),
        start_unix_nanos: forest.start_unix_nanos(),
        duration_nanos: forest.duration_nanos(),
        service_stats: service_stats(forest),
        spansets: spansets.iter().map(|set| spanset_result(forest, set, mentions)).collect(),
    }
}

/// 8.3: over all spans of the stored trace; `""` for spans without a service.
fn service_stats(forest: &Forest<'_>) -> BTreeMap<String, ServiceStats> {
    let mut stats: BTreeMap<String, ServiceStats> = BTreeMap::new();
    for placed in &forest.spans {
        let attributes = &placed.resource.attributes;
        let service = match attributes.iter().rfind(|attribute| attribute.key == "service.name") {
            Some(attribute) => match &attribute.value {
                AttributeValue::String(name) => name.clone(),
                _ => String::new(),
            },
            None => String::new(),
        };
        let of_service = stats.entry(service).or_default();
        of_service.span_count += 1;
        if fields::status(placed.span.status_code) == Status::Error {
            of_service.error_count += 1;
        }
    }
    stats
}

/// 8.4.
fn spanset_result(forest: &Forest<'_>, spanset: &Spanset, mentions: &Mentions) -> SpansetResult {
    let spans = spanset.spans.iter().map(|&index| {
        let span = forest.spans[index].span;
        SpanResult {
            span_id: span.span_id.clone(),
            name: mentions.mentions_name().then(|| span.name.clone()),
            start_unix_nanos: span.start_unix_nanos,
            duration_nanos: fields::duration_nanos(span),
            attributes: mentions.listed(forest, index),
        }
    });
    SpansetResult {
        matched: u32::try_from(spanset.spans.len()).expect("traces of tests are small"),
        attributes: spanset.values.clone(),
        spans: spans.collect(),
    }
}
