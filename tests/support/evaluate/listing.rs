//! Which attributes a returned span lists (`traceql.md` 8.4, the rule to implement).
//!
//! Choices made where the rule is silent; the engine follows them:
//! - Of several events or links whose value a comparison on it holds for, the last is shown; with
//!   no comparison limiting it, the last that has the field ("if several were fetched the last one
//!   is shown"). `by` and aggregates read the first; see `fields`.
//! - A field of the parent (the root) is listed by its name without `parent.`, a scope like others;
//!   the parent itself, when `= nil` holds, as `parent` with the text `nil`. The parent's duration,
//!   name and so on stand nowhere else in the result and so are listed.
//! - Two fields with one key (`span.x`, `resource.x`) give two entries, ordered by field.

use std::collections::BTreeSet;

use traceql_blocks::model::Span;
use traceql_engine::search::{ResultAttribute, Value};
use traceql_language::analyze::ir::{
    AttributeScope, Comparison, Field, FieldExpr, FieldName, Intrinsic, OrderBy, Pattern, Pipeline,
    ScalarExpr, SpansetExpr, Stage, Static, TypedQuery,
};

use super::fields::{self, Place, Reading};
use super::forest::Forest;
use super::values;

/// Everything a query says about fields.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    /// Fields in an order of their own.
    fields: BTreeSet<Field>,
    /// Each mention of a field, with what limits it there.
    mentions: Vec<(Field, Limit)>,
}

/// What a mention of a field asks of its value.
#[derive(Clone, Debug)]
enum Limit {
    /// Nothing: `select`, `by`, aggregates, arithmetic, field against field, a bare bool.
    None,
    /// `field op literal`.
    FieldFirst(Comparison, Static),
    /// `literal op field`.
    LiteralFirst(Static, Comparison),
    /// `field =~ pattern` or, if true, `!~`.
    Match(bool, Pattern),
    /// `field != nil`.
    Exists,
    /// `field = nil`.
    Missing,
}

impl Mentions {
    /// Walks the whole query.
    pub(crate) fn of(query: &TypedQuery) -> Self {
        let mut mentions = Self::default();
        mentions.pipeline(&query.pipeline);
        for key in &query.order_by {
            match &key.by {
                OrderBy::Span(expression) => mentions.expression(expression),
                OrderBy::Spanset(aggregate) => {
                    aggregate.operand.iter().for_each(|operand| mentions.expression(operand));
                }
            }
        }
        mentions
    }

    /// 8.4: the name of a span is given if the query mentions it.
    pub(crate) fn mentions_name(&self) -> bool {
        self.fields.contains(&Field::intrinsic(Intrinsic::Name))
    }

    /// 8.4: what a span lists.
    pub(crate) fn listed(&self, forest: &Forest<'_>, span: usize) -> Vec<ResultAttribute> {
        let mut attributes = Vec::new();
        for field in &self.fields {
            let Some(key) = listed_key(field) else { continue };
            let limits: Vec<&Limit> = self
                .mentions
                .iter()
                .filter(|(mentioned, _)| mentioned == field)
                .map(|(_, limit)| limit)
                .collect();
            if let Some(value) = listed_value(forest, span, field, &limits) {
                attributes.push(ResultAttribute { key, value });
            }
        }
        attributes
    }

    /// Every stage.
    fn pipeline(&mut self, pipeline: &Pipeline) {
        for stage in &pipeline.stages {
            match stage {
                Stage::Spanset(expression) => self.spanset(expression),
                Stage::ScalarFilter { left, right, .. } => {
                    self.scalar(left);
                    self.scalar(right);
                }
                Stage::By { key, .. } => self.expression(key),
                Stage::Coalesce => {}
                Stage::Select(fields) => {
                    for field in fields {
                        self.mention(field, Limit::None);
                    }
                }
            }
        }
    }

    /// Both sides of an operation.
    fn spanset(&mut self, expression: &SpansetExpr) {
        match expression {
            SpansetExpr::Filter(filter) => self.expression(filter),
            SpansetExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            SpansetExpr::Operation { left, right, .. } => {
                self.spanset(left);
                self.spanset(right);
            }
            SpansetExpr::Not(operand) => self.spanset(operand),
        }
    }

    /// Aggregates and the pipelines they are taken of.
    fn scalar(&mut self, expression: &ScalarExpr) {
        match expression {
            ScalarExpr::Static(_) => {}
            ScalarExpr::Aggregate(aggregate) => {
                if let Some(operand) = &aggregate.operand {
                    self.expression(operand);
                }
            }
            ScalarExpr::Pipeline { pipeline, aggregate } => {
                self.pipeline(pipeline);
                if let Some(operand) = &aggregate.operand {
                    self.expression(operand);
                }
            }
            ScalarExpr::Arithmetic { left, right, .. } => {
                self.scalar(left);
                self.scalar(right);
            }
        }
    }

    /// An expression: a comparison of a field with a literal limits it, anything else does not.
    fn expression(&mut self, expression: &FieldExpr) {
        match expression {
            FieldExpr::Static(_) => {}
            FieldExpr::Field(field) => self.mention(field, Limit::None),
            FieldExpr::Not(operand) | FieldExpr::Negate(operand) => self.expression(operand),
            FieldExpr::And(left, right) | FieldExpr::Or(left, right) => {
                self.expression(left);
                self.expression(right);
            }
            FieldExpr::Arithmetic { left, right, .. } => {
                self.expression(left);
                self.expression(right);
            }
            FieldExpr::Compare { left, op, right } => match (left.as_ref(), right.as_ref()) {
                (FieldExpr::Field(field), FieldExpr::Static(literal)) => {
                    self.mention(field, Limit::FieldFirst(*op, literal.clone()));
                }
                (FieldExpr::Static(literal), FieldExpr::Field(field)) => {
                    self.mention(field, Limit::LiteralFirst(literal.clone(), *op));
                }
                (left, right) => {
                    self.expression(left);
                    self.expression(right);
                }
            },
            FieldExpr::Match { left, negated, pattern } => match left.as_ref() {
                FieldExpr::Field(field) => {
                    self.mention(field, Limit::Match(*negated, pattern.clone()));
                }
                other => self.expression(other),
            },
            FieldExpr::Exists(operand) => match operand.as_ref() {
                FieldExpr::Field(field) => self.mention(field, Limit::Exists),
                other => self.expression(other),
            },
            FieldExpr::Missing(operand) => match operand.as_ref() {
                FieldExpr::Field(field) => self.mention(field, Limit::Missing),
                other => self.expression(other),
            },
        }
    }

    /// Notes a mention.
    fn mention(&mut self, field: &Field, limit: Limit) {
        self.fields.insert(field.clone());
        self.mentions.push((field.clone(), limit));
    }
}

/// 8.4: the key under which a field is listed, if it ever is.
fn listed_key(field: &Field) -> Option<String> {
    Some(match &field.name {
        FieldName::Parent => "parent".to_owned(),
        FieldName::Attribute { key, .. } => key.clone(),
        FieldName::Intrinsic(
            Intrinsic::Name
            | Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::RootName
            | Intrinsic::RootServiceName
            | Intrinsic::TraceId
            | Intrinsic::SpanId,
        ) if field.is_own() => return None,
        FieldName::Intrinsic(intrinsic) => intrinsic.name().to_owned(),
    })
}

/// 8.4: the value listed for a field, if any: the last of the span's events or links that the
/// limits let through; a value before the text `nil` of a missing one.
fn listed_value(
    forest: &Forest<'_>,
    span: usize,
    field: &Field,
    limits: &[&Limit],
) -> Option<Value> {
    let shown: Vec<Value> = readings_of(forest.spans[span].span, field)
        .into_iter()
        .filter_map(|reading| limited_value(Place { forest, span, reading }, field, limits))
        .collect();
    let nil = Value::String("nil".to_owned());
    let is_placeholder =
        |value: &&Value| **value == nil && limits.iter().any(|l| matches!(l, Limit::Missing));
    shown.iter().rfind(|value| !is_placeholder(value)).or_else(|| shown.last()).cloned()
}

/// The choices that matter to one field: each event or each link for theirs, one for all others.
/// A span without any offers the reading outside filters, where `event:name` has a value.
fn readings_of<'t>(span: &'t Span, field: &Field) -> Vec<Reading<'t>> {
    match field.name {
        FieldName::Attribute { scope: AttributeScope::Event, .. }
        | FieldName::Intrinsic(Intrinsic::EventName | Intrinsic::EventTimeSinceStart)
            if !span.events.is_empty() && field.is_own() =>
        {
            span.events.iter().map(|event| Reading::One(Some(event), None)).collect()
        }
        FieldName::Attribute { scope: AttributeScope::Link, .. }
        | FieldName::Intrinsic(Intrinsic::LinkSpanId | Intrinsic::LinkTraceId)
            if !span.links.is_empty() && field.is_own() =>
        {
            span.links.iter().map(|link| Reading::One(None, Some(link))).collect()
        }
        _ => vec![Reading::First],
    }
}

/// What is shown of a field at one place: everything if some mention does not limit it; else, if
/// a comparison holds, the value, or the elements of an array that satisfy one that holds.
fn limited_value(place: Place<'_>, field: &Field, limits: &[&Limit]) -> Option<Value> {
    let is_unlimited = limits.iter().any(|limit| matches!(limit, Limit::None));
    let value = if is_unlimited {
        fields::operand(place, field)
    } else {
        fields::read(place, field).value()
    };
    if is_unlimited && value != Value::Nil {
        return Some(value);
    }
    let holding: Vec<&Limit> = limits
        .iter()
        .copied()
        .filter(|limit| !matches!(limit, Limit::None))
        .filter(|limit| holds(place, field, limit))
        .collect();
    if holding.is_empty() {
        return None;
    }
    match value {
        Value::Nil if holding.iter().any(|limit| matches!(limit, Limit::Missing)) => {
            Some(Value::String("nil".to_owned()))
        }
        // `parent != nil` holds, and shows nothing.
        Value::Nil => None,
        Value::Array(elements) => {
            let satisfying: Vec<Value> = elements
                .into_iter()
                .filter(|element| holding.iter().any(|limit| satisfies(element, limit)))
                .collect();
            Some(match <[Value; 1]>::try_from(satisfying) {
                Ok([single]) => single,
                Err(several) => Value::Array(several),
            })
        }
        scalar => Some(scalar),
    }
}

/// Whether a comparison of the query holds for the field at a place. At a span without events
/// (links), the value of `event:name` (`link:spanID`) outside filters satisfies no comparison.
fn holds(place: Place<'_>, field: &Field, limit: &Limit) -> bool {
    let place = match place.reading {
        Reading::First => {
            let span = place.forest.spans[place.span].span;
            Place { reading: Reading::One(span.events.first(), span.links.first()), ..place }
        }
        Reading::One(..) => place,
    };
    let operand = || Box::new(FieldExpr::Field(field.clone()));
    let comparison = match limit.clone() {
        Limit::None => return true,
        Limit::FieldFirst(op, literal) => {
            FieldExpr::Compare { left: operand(), op, right: Box::new(FieldExpr::Static(literal)) }
        }
        Limit::LiteralFirst(literal, op) => {
            FieldExpr::Compare { left: Box::new(FieldExpr::Static(literal)), op, right: operand() }
        }
        Limit::Match(negated, pattern) => FieldExpr::Match { left: operand(), negated, pattern },
        Limit::Exists => FieldExpr::Exists(operand()),
        Limit::Missing => FieldExpr::Missing(operand()),
    };
    fields::evaluate(place, &comparison) == Value::Bool(true)
}

/// Whether one element of an array satisfies a comparison that holds for the whole.
fn satisfies(element: &Value, limit: &Limit) -> bool {
    match limit {
        Limit::None | Limit::Exists => true,
        Limit::Missing => false,
        Limit::FieldFirst(op, literal) => values::compare(element, *op, &values::literal(literal)),
        Limit::LiteralFirst(literal, op) => {
            values::compare(&values::literal(literal), *op, element)
        }
        Limit::Match(negated, pattern) => fields::matches(element, *negated, pattern),
    }
}
