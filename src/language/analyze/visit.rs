//! Walks over the typed query: which fields it reads, and whether it looks at events or links.

use super::ir::{
    Aggregate, AttributeScope, Field, FieldExpr, FieldName, Intrinsic, MetricsExpr,
    MetricsFunction, OrderBy, Pipeline, ScalarExpr, SpansetExpr, Stage, Subject, TypedQuery,
};

impl FieldExpr {
    /// Calls `visit` for this expression and all below it, outermost first, left before right.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::Static(_) | Self::Field(_) => {}
            Self::Not(operand)
            | Self::Negate(operand)
            | Self::Exists(operand)
            | Self::Missing(operand)
            | Self::Match { left: operand, .. } => operand.walk(visit),
            Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare { left, right, .. }
            | Self::Arithmetic { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
        }
    }

    /// Every field that is read, in the order of the text, as often as it is read.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        let mut fields = Vec::new();
        self.walk(&mut |expr| {
            if let Self::Field(field) = expr {
                fields.push(field);
            }
        });
        fields.into_iter()
    }

    /// Whether it looks at a span's events.
    #[must_use]
    pub fn mentions_events(&self) -> bool {
        self.fields().any(Field::is_of_event)
    }

    /// Whether it looks at a span's links.
    #[must_use]
    pub fn mentions_links(&self) -> bool {
        self.fields().any(Field::is_of_link)
    }

    /// Whether it reads the parent span.
    #[must_use]
    pub fn mentions_parent(&self) -> bool {
        self.fields().any(|field| field.of == Subject::Parent || field.name == FieldName::Parent)
    }
}

impl Field {
    /// Whether it reads an event.
    #[must_use]
    pub fn is_of_event(&self) -> bool {
        matches!(
            self.name,
            FieldName::Attribute { scope: AttributeScope::Event, .. }
                | FieldName::Intrinsic(Intrinsic::EventName | Intrinsic::EventTimeSinceStart)
        )
    }

    /// Whether it reads a link.
    #[must_use]
    pub fn is_of_link(&self) -> bool {
        matches!(
            self.name,
            FieldName::Attribute { scope: AttributeScope::Link, .. }
                | FieldName::Intrinsic(Intrinsic::LinkSpanId | Intrinsic::LinkTraceId)
        )
    }

    /// Whether it has the same value on every span of a trace.
    #[must_use]
    pub fn is_of_trace(&self) -> bool {
        self.of == Subject::Root
            || matches!(
                self.name,
                FieldName::Intrinsic(
                    Intrinsic::TraceId
                        | Intrinsic::TraceDuration
                        | Intrinsic::RootName
                        | Intrinsic::RootServiceName
                )
            )
    }
}

/// What a query reads of a span: expressions, and fields that stand alone.
#[derive(Clone, Copy, Debug)]
pub enum Read<'a> {
    /// A filter, a group key, an aggregate's argument.
    Expr(&'a FieldExpr),
    /// A field of `select` or of a metrics function.
    Field(&'a Field),
}

impl<'a> Read<'a> {
    /// Calls `visit` for every field in it.
    fn each_field(self, visit: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Expr(expr) => expr.fields().for_each(visit),
            Self::Field(field) => visit(field),
        }
    }
}

impl Pipeline {
    /// Calls `visit` for everything that any stage reads, in the order of the text.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(Read<'a>)) {
        for stage in &self.stages {
            match stage {
                Stage::Spanset(expr) => expr.visit(visit),
                Stage::ScalarFilter { left, right, .. } => {
                    left.visit(visit);
                    right.visit(visit);
                }
                Stage::By { key, .. } => visit(Read::Expr(key)),
                Stage::Coalesce => {}
                Stage::Select(fields) => fields.iter().for_each(|field| visit(Read::Field(field))),
            }
        }
    }

    /// Calls `visit` for every field that any stage reads, in the order of the text.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        self.visit(&mut |read| read.each_field(visit));
    }
}

impl SpansetExpr {
    /// Calls `visit` for everything that is read.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(Read<'a>)) {
        match self {
            Self::Filter(filter) => visit(Read::Expr(filter)),
            Self::Pipeline(pipeline) => pipeline.visit(visit),
            Self::Operation { left, right, .. } => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Not(operand) => operand.visit(visit),
        }
    }
}

impl Aggregate {
    /// Calls `visit` for its argument.
    fn visit<'a>(&'a self, visit: &mut impl FnMut(Read<'a>)) {
        self.operand.iter().for_each(|operand| visit(Read::Expr(operand)));
    }
}

impl ScalarExpr {
    /// Calls `visit` for everything that is read.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(Read<'a>)) {
        match self {
            Self::Static(_) => {}
            Self::Aggregate(aggregate) => aggregate.visit(visit),
            Self::Pipeline { pipeline, aggregate } => {
                pipeline.visit(visit);
                aggregate.visit(visit);
            }
            Self::Arithmetic { left, right, .. } => {
                left.visit(visit);
                right.visit(visit);
            }
        }
    }
}

impl MetricsFunction {
    /// The field that is measured, if there is one.
    #[must_use]
    pub fn field(&self) -> Option<&Field> {
        match self {
            Self::MinOverTime(of)
            | Self::MaxOverTime(of)
            | Self::AvgOverTime(of)
            | Self::SumOverTime(of)
            | Self::HistogramOverTime(of)
            | Self::QuantileOverTime { of, .. } => Some(of),
            Self::Rate | Self::CountOverTime | Self::Compare { .. } => None,
        }
    }
}

impl MetricsExpr {
    /// Calls `visit` for everything that any of its queries reads.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(Read<'a>)) {
        match self {
            Self::Query { pipeline, function, by, .. } => {
                pipeline.visit(visit);
                if let MetricsFunction::Compare { selection, .. } = function {
                    visit(Read::Expr(selection));
                }
                let fields = function.field().into_iter().chain(by);
                fields.for_each(|field| visit(Read::Field(field)));
            }
            Self::Math { left, right, .. } => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Constant(_) => {}
        }
    }
}

impl TypedQuery {
    /// Calls `visit` for everything that the query reads, in the order of the text.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(Read<'a>)) {
        match &self.metrics {
            Some(metrics) => metrics.visit(visit),
            None => self.pipeline.visit(visit),
        }
        for key in &self.order_by {
            match &key.by {
                OrderBy::Span(expr) => visit(Read::Expr(expr)),
                OrderBy::Spanset(aggregate) => aggregate.visit(visit),
            }
        }
    }

    /// Calls `visit` for every field that the query reads, in the order of the text.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        self.visit(&mut |read| read.each_field(visit));
    }
}
