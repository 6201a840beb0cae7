//! Walks over the typed query: which fields it reads, and whether it looks at events or links.

use super::ir::{
    AttributeScope, Field, FieldExpr, FieldName, Intrinsic, MetricsExpr, MetricsFunction, Pipeline,
    ScalarExpr, SpansetExpr, Stage, TypedQuery,
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
        self.fields().any(|field| field.of_parent || field.name == FieldName::Parent)
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
        matches!(
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

impl Pipeline {
    /// Calls `visit` for every field that any stage reads, in the order of the text.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        for stage in &self.stages {
            match stage {
                Stage::Spanset(expr) => expr.visit_fields(visit),
                Stage::ScalarFilter { left, right, .. } => {
                    left.visit_fields(visit);
                    right.visit_fields(visit);
                }
                Stage::By { key, .. } => key.fields().for_each(&mut *visit),
                Stage::Coalesce => {}
                Stage::Select(fields) => fields.iter().for_each(&mut *visit),
            }
        }
    }
}

impl SpansetExpr {
    /// Calls `visit` for every field that is read.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Filter(filter) => filter.fields().for_each(&mut *visit),
            Self::Pipeline(pipeline) => pipeline.visit_fields(visit),
            Self::Operation { left, right, .. } => {
                left.visit_fields(visit);
                right.visit_fields(visit);
            }
        }
    }
}

impl ScalarExpr {
    /// Calls `visit` for every field that is read.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Static(_) => {}
            Self::Aggregate(aggregate) => {
                aggregate.operand.iter().flat_map(FieldExpr::fields).for_each(&mut *visit);
            }
            Self::Pipeline { pipeline, aggregate } => {
                pipeline.visit_fields(visit);
                aggregate.operand.iter().flat_map(FieldExpr::fields).for_each(&mut *visit);
            }
            Self::Arithmetic { left, right, .. } => {
                left.visit_fields(visit);
                right.visit_fields(visit);
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
    /// Calls `visit` for every field that any of its queries reads.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Query { pipeline, function, by, .. } => {
                pipeline.visit_fields(visit);
                if let MetricsFunction::Compare { selection, .. } = function {
                    selection.fields().for_each(&mut *visit);
                }
                function.field().into_iter().chain(by).for_each(&mut *visit);
            }
            Self::Math { left, right, .. } => {
                left.visit_fields(visit);
                right.visit_fields(visit);
            }
            Self::Constant(_) => {}
        }
    }
}

impl TypedQuery {
    /// Calls `visit` for every field that the query reads.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a Field)) {
        match &self.metrics {
            Some(metrics) => metrics.visit_fields(visit),
            None => self.pipeline.visit_fields(visit),
        }
    }
}
