//! The parts of a metrics query: which selections it observes, each once, and what is computed from
//! their series. Compiled anew wherever a plan runs.

use traceql_language::analyze::ir::{
    Field, FieldExpr, MetricsExpr, MetricsFunction, Pipeline, ScalarExpr, SpansetExpr, SpansetOp,
    Stage, Static, StructuralMode, TypedQuery,
};

/// One first-stage function over one selection of spans.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    pub(crate) pipeline: Pipeline,
    pub(crate) function: MetricsFunction,
    pub(crate) by: Vec<Field>,
    /// Spans weigh as their trace state says (4.2).
    pub(crate) extrapolate: bool,
    /// Quantiles of the values themselves.
    pub(crate) exact: bool,
}

/// The selections of a query, in the order of the text; equal ones are observed once (3.3).
pub(crate) fn observed(query: &TypedQuery) -> Vec<Observed> {
    let mut found = Vec::new();
    if let Some(metrics) = &query.metrics {
        collect(metrics, query, &mut found);
    }
    found
}

fn collect(expr: &MetricsExpr, query: &TypedQuery, found: &mut Vec<Observed>) {
    match expr {
        MetricsExpr::Query { .. } => {
            if let Some(observed) = of_expr(expr, query)
                && !found.contains(&observed)
            {
                found.push(observed);
            }
        }
        MetricsExpr::Math { left, right, .. } => {
            collect(left, query, found);
            collect(right, query, found);
        }
        MetricsExpr::Constant(_) => {}
    }
}

/// The selection of one operand.
pub(crate) fn of_expr(expr: &MetricsExpr, query: &TypedQuery) -> Option<Observed> {
    let MetricsExpr::Query { pipeline, function, by, .. } = expr else { return None };
    let hint = |wanted: &str| {
        let mut hints = query.hints.all.iter().filter(|(name, _)| name == wanted);
        matches!(hints.next_back(), Some((_, Static::Bool(true))))
    };
    Some(Observed {
        pipeline: pipeline.clone(),
        function: function.clone(),
        by: by.clone(),
        extrapolate: hint("extrapolate"),
        exact: hint("exact"),
    })
}

impl Observed {
    /// The field whose values are aggregated.
    pub(crate) fn field(&self) -> Option<&Field> {
        match &self.function {
            MetricsFunction::MinOverTime(of)
            | MetricsFunction::MaxOverTime(of)
            | MetricsFunction::AvgOverTime(of)
            | MetricsFunction::SumOverTime(of)
            | MetricsFunction::HistogramOverTime(of)
            | MetricsFunction::QuantileOverTime { of, .. } => Some(of),
            MetricsFunction::Rate
            | MetricsFunction::CountOverTime
            | MetricsFunction::Compare { .. } => None,
        }
    }

    /// True if the text alone says that no span is selected (7.3).
    pub(crate) fn selects_nothing(&self) -> bool {
        self.pipeline.stages.iter().any(|stage| match stage {
            Stage::Spanset(expr) => is_empty(expr),
            _ => false,
        })
    }

    /// Calls `visit` for every field that a filter of spans reads, wherever it stands.
    pub(crate) fn filtered_fields(&self, visit: &mut impl FnMut(&Field)) {
        of_filters(&self.pipeline, visit);
    }

    /// Every field the query reads, each once, in the order of the text.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::new();
        let mut add = |field: &Field| {
            if !fields.contains(field) {
                fields.push(field.clone());
            }
        };
        self.pipeline.visit_fields(&mut add);
        self.field().into_iter().for_each(&mut add);
        self.by.iter().for_each(&mut add);
        fields
    }
}

fn of_filters(pipeline: &Pipeline, visit: &mut impl FnMut(&Field)) {
    fn of_spanset(expr: &SpansetExpr, visit: &mut impl FnMut(&Field)) {
        match expr {
            SpansetExpr::Filter(body) => body.fields().for_each(visit),
            SpansetExpr::Pipeline(pipeline) => of_filters(pipeline, visit),
            SpansetExpr::Operation { left, right, .. } => {
                of_spanset(left, visit);
                of_spanset(right, visit);
            }
            SpansetExpr::Not(operand) => of_spanset(operand, visit),
        }
    }
    fn of_scalar(expr: &ScalarExpr, visit: &mut impl FnMut(&Field)) {
        match expr {
            ScalarExpr::Static(_) | ScalarExpr::Aggregate(_) => {}
            ScalarExpr::Pipeline { pipeline, .. } => of_filters(pipeline, visit),
            ScalarExpr::Arithmetic { left, right, .. } => {
                of_scalar(left, visit);
                of_scalar(right, visit);
            }
        }
    }
    for stage in &pipeline.stages {
        match stage {
            Stage::Spanset(expr) => of_spanset(expr, visit),
            Stage::ScalarFilter { left, right, .. } => {
                of_scalar(left, visit);
                of_scalar(right, visit);
            }
            Stage::By { .. } | Stage::Coalesce | Stage::Select(_) => {}
        }
    }
}

fn is_empty(expr: &SpansetExpr) -> bool {
    match expr {
        SpansetExpr::Filter(body) => matches!(body, FieldExpr::Static(Static::Bool(false))),
        SpansetExpr::Pipeline(pipeline) => pipeline
            .stages
            .iter()
            .any(|stage| matches!(stage, Stage::Spanset(expr) if is_empty(expr))),
        SpansetExpr::Operation { left, op, right } => match op {
            SpansetOp::Or => is_empty(left) && is_empty(right),
            SpansetOp::Structural { mode: StructuralMode::Negated, .. } => is_empty(right),
            SpansetOp::And | SpansetOp::Structural { .. } => is_empty(left) || is_empty(right),
        },
        SpansetExpr::Not(_) => false,
    }
}
