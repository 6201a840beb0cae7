//! Typed query to a form that runs on batches: comparisons of a field with a literal become
//! conditions, which the reader tests on encoded data; everything else stays an expression over
//! values. Pure; knows the vocabulary of columns but no storage.

use regex::bytes::Regex;
use traceql_blocks::read::batch::Condition;
use traceql_blocks::read::predicate::{Comparison, Literal, Predicate};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{
    self, AttributeScope, Field, FieldExpr, FieldName, Intrinsic, OrderKey, Pipeline, ScalarExpr,
    SpansetExpr, SpansetOp, Stage, Static, Subject, TypedQuery,
};

use super::columns::{field_level, intrinsic_column, level};
pub(crate) use super::program::{
    AggregateNode, BoolNode, FieldTest, Filter, Listed, OrderBy, OrderNode, Program, ScalarNode,
    SpansetNode, StageNode, TestKind, ValueNode, VerdictNode, passing_filters,
};
use super::value::comparison;
use crate::error::{Error, Result};

/// Compiles a pipeline.
///
/// # Errors
/// A pattern beyond the size limit.
pub(crate) fn compile(pipeline: &Pipeline) -> Result<Program> {
    Ok(compile_with(pipeline, None)?.0)
}

/// Compiles what a search runs on batches: its pipeline, and what orders its traces.
///
/// # Errors
/// As [`compile`].
pub(crate) fn compile_search(query: &TypedQuery) -> Result<Program> {
    let mut compiler = Compiler { program: Program::default() };
    compiler.program.stages = compiler.stages(&query.pipeline.stages)?;
    compiler.program.order =
        query.order_by.iter().map(|key| compiler.order_key(key)).collect::<Result<_>>()?;
    Ok(compiler.program)
}

/// Compiles a pipeline and, for the same batches, a filter that is no stage of it.
///
/// # Errors
/// As [`compile`].
pub(crate) fn compile_with(
    pipeline: &Pipeline,
    filter: Option<&FieldExpr>,
) -> Result<(Program, Option<Filter>)> {
    let mut compiler = Compiler { program: Program::default() };
    compiler.program.stages = compiler.stages(&pipeline.stages)?;
    let filter = filter.map(|body| compiler.filter(body)).transpose()?;
    Ok((compiler.program, filter))
}

struct Compiler {
    program: Program,
}

impl Compiler {
    fn stages(&mut self, stages: &[Stage]) -> Result<Vec<StageNode>> {
        stages.iter().map(|stage| self.stage(stage)).collect()
    }

    fn stage(&mut self, stage: &Stage) -> Result<StageNode> {
        Ok(match stage {
            Stage::Spanset(expr) => StageNode::Spanset(self.spanset(expr)?),
            Stage::ScalarFilter { left, op, right } => StageNode::ScalarFilter {
                left: self.scalar(left)?,
                op: comparison(*op),
                right: self.scalar(right)?,
            },
            Stage::By { key, label } => {
                StageNode::By { key: self.value(key)?, label: label.clone() }
            }
            Stage::Coalesce => StageNode::Coalesce,
            Stage::Select(fields) => {
                for field in fields {
                    self.read(field);
                }
                StageNode::Select
            }
        })
    }

    fn order_key(&mut self, key: &OrderKey) -> Result<OrderNode> {
        let by = match &key.by {
            ir::OrderBy::Span(expr) => OrderBy::Span(self.value(expr)?),
            ir::OrderBy::Spanset(aggregate) => OrderBy::Spanset(self.aggregate(aggregate)?),
        };
        Ok(OrderNode { by, descending: key.descending })
    }

    fn spanset(&mut self, expr: &SpansetExpr) -> Result<SpansetNode> {
        if negates(expr) {
            return Ok(SpansetNode::Verdict(Box::new(self.verdict(expr)?)));
        }
        Ok(match expr {
            SpansetExpr::Filter(body) => SpansetNode::Filter(self.filter(body)?),
            SpansetExpr::Pipeline(pipeline) => {
                SpansetNode::Pipeline(self.stages(&pipeline.stages)?)
            }
            SpansetExpr::Operation { left, op, right } => {
                self.program.is_structural |= matches!(op, SpansetOp::Structural { .. });
                SpansetNode::Operation {
                    left: Box::new(self.spanset(left)?),
                    op: *op,
                    right: Box::new(self.spanset(right)?),
                }
            }
            SpansetExpr::Not(_) => SpansetNode::Verdict(Box::new(self.verdict(expr)?)),
        })
    }

    fn verdict(&mut self, expr: &SpansetExpr) -> Result<VerdictNode> {
        Ok(match expr {
            SpansetExpr::Not(operand) => VerdictNode::Not(Box::new(self.verdict(operand)?)),
            SpansetExpr::Operation { left, op: SpansetOp::And, right } => {
                VerdictNode::And(Box::new(self.verdict(left)?), Box::new(self.verdict(right)?))
            }
            SpansetExpr::Operation { left, op: SpansetOp::Or, right } => {
                VerdictNode::Or(Box::new(self.verdict(left)?), Box::new(self.verdict(right)?))
            }
            expr => VerdictNode::Spans(self.spanset(expr)?),
        })
    }

    fn filter(&mut self, body: &FieldExpr) -> Result<Filter> {
        let mut levels = Vec::new();
        field_levels(body, &mut levels);
        Ok(Filter {
            body: self.bool(body)?,
            over_events: levels.contains(&Level::Event),
            over_links: levels.contains(&Level::Link),
        })
    }

    fn scalar(&mut self, expr: &ScalarExpr) -> Result<ScalarNode> {
        Ok(match expr {
            ScalarExpr::Static(literal) => ScalarNode::Static(literal.clone()),
            ScalarExpr::Aggregate(aggregate) => ScalarNode::Aggregate(self.aggregate(aggregate)?),
            ScalarExpr::Pipeline { pipeline, aggregate } => ScalarNode::Pipeline {
                stages: self.stages(&pipeline.stages)?,
                aggregate: self.aggregate(aggregate)?,
            },
            ScalarExpr::Arithmetic { left, op, right } => ScalarNode::Arithmetic {
                left: Box::new(self.scalar(left)?),
                op: *op,
                right: Box::new(self.scalar(right)?),
            },
        })
    }

    fn aggregate(&mut self, aggregate: &ir::Aggregate) -> Result<AggregateNode> {
        Ok(AggregateNode {
            function: aggregate.function,
            operand: aggregate.operand.as_ref().map(|operand| self.value(operand)).transpose()?,
            label: aggregate.label.clone(),
        })
    }

    fn bool(&mut self, expr: &FieldExpr) -> Result<BoolNode> {
        Ok(match expr {
            FieldExpr::Static(Static::Bool(value)) => BoolNode::Constant(*value),
            FieldExpr::And(left, right) => {
                BoolNode::And(Box::new(self.bool(left)?), Box::new(self.bool(right)?))
            }
            FieldExpr::Or(left, right) => {
                BoolNode::Or(Box::new(self.bool(left)?), Box::new(self.bool(right)?))
            }
            FieldExpr::Not(operand) => BoolNode::Not(Box::new(self.bool(operand)?)),
            FieldExpr::Compare { left, op, right } => match (&**left, &**right) {
                (FieldExpr::Field(field), FieldExpr::Static(literal)) => {
                    self.compare_test(field, comparison(*op), literal)
                }
                _ => BoolNode::Compare {
                    left: self.value(left)?,
                    op: comparison(*op),
                    right: self.value(right)?,
                },
            },
            FieldExpr::Match { left, negated, pattern } => {
                let regex = Regex::new(&pattern.translated).map_err(|error| {
                    Error::Query(format!("pattern {:?} is too large: {error}", pattern.source))
                })?;
                match &**left {
                    FieldExpr::Field(field) => self.match_test(field, regex, *negated),
                    _ => BoolNode::Match { left: self.value(left)?, regex, negated: *negated },
                }
            }
            FieldExpr::Exists(operand) => match &**operand {
                FieldExpr::Field(field) => self.exists_test(field),
                _ => BoolNode::Exists(self.value(operand)?),
            },
            FieldExpr::Missing(operand) => match &**operand {
                FieldExpr::Field(field) => self.missing_test(field),
                // A compound is never missing (3.6); what it mentions is still part of the query.
                _ => {
                    self.value(operand)?;
                    BoolNode::Constant(false)
                }
            },
            FieldExpr::Static(_)
            | FieldExpr::Field(_)
            | FieldExpr::Negate(_)
            | FieldExpr::Arithmetic { .. } => BoolNode::Truth(self.value(expr)?),
        })
    }

    fn value(&mut self, expr: &FieldExpr) -> Result<ValueNode> {
        Ok(match expr {
            FieldExpr::Static(literal) => ValueNode::Static(literal.clone()),
            FieldExpr::Field(field) => {
                self.program.reads_values = true;
                ValueNode::Field(self.read(field))
            }
            FieldExpr::Negate(operand) => ValueNode::Negate(Box::new(self.value(operand)?)),
            FieldExpr::Arithmetic { left, op, right } => ValueNode::Arithmetic {
                left: Box::new(self.value(left)?),
                op: *op,
                right: Box::new(self.value(right)?),
            },
            _ => ValueNode::Bool(Box::new(self.filter(expr)?)),
        })
    }

    /// A field read by value: listed without limit.
    fn read(&mut self, field: &Field) -> usize {
        let number = self.field(field);
        self.list(field, |listed| listed.unlimited = true);
        number
    }

    fn field(&mut self, field: &Field) -> usize {
        self.program.fields.iter().position(|known| known == field).unwrap_or_else(|| {
            self.program.fields.push(field.clone());
            self.program.fields.len() - 1
        })
    }

    fn list(&mut self, field: &Field, change: impl FnOnce(&mut Listed)) {
        use Intrinsic as I;
        if field.is_own()
            && let FieldName::Intrinsic(intrinsic) = field.name
        {
            match intrinsic {
                I::Name => {
                    self.program.names_wanted = true;
                    return;
                }
                I::Duration
                | I::TraceDuration
                | I::RootName
                | I::RootServiceName
                | I::TraceId
                | I::SpanId => return,
                _ => {}
            }
        }
        let number = self.field(field);
        let listed = &mut self.program.listed;
        let at = listed.iter().position(|known| known.field == number).unwrap_or_else(|| {
            listed.push(Listed {
                field: number,
                unlimited: false,
                tests: Vec::new(),
                missing: Vec::new(),
            });
            listed.len() - 1
        });
        change(&mut listed[at]);
    }

    fn condition(&mut self, column: Column, predicate: Predicate) -> usize {
        let id = self.program.conditions.len();
        self.program.conditions.push(Condition { id, column, predicate });
        id
    }

    fn test(&mut self, field: &Field, what: TestKind) -> BoolNode {
        let number = self.program.tests.len();
        let missing = matches!(what, TestKind::Missing { .. } | TestKind::Without(_, true));
        self.program.tests.push(FieldTest { field: field.clone(), what });
        self.list(field, |listed| {
            if missing { listed.missing.push(number) } else { listed.tests.push(number) }
        });
        BoolNode::Test(number)
    }

    fn compare_test(&mut self, field: &Field, op: Comparison, literal: &Static) -> BoolNode {
        let what = match &field.name {
            FieldName::Parent => TestKind::Never,
            FieldName::Attribute { scope, key } => match literal {
                Static::Int(v) => self.attribute(*scope, key, op, Literal::Int(*v)),
                Static::Float(v) => self.attribute(*scope, key, op, Literal::Float(*v)),
                Static::Bool(v) => self.attribute(*scope, key, op, Literal::Bool(*v)),
                Static::String(v) => {
                    self.attribute(*scope, key, op, Literal::Bytes(v.clone().into_bytes()))
                }
                // Such literals never meet a custom attribute (Q2).
                Static::Duration(_) | Static::Status(_) | Static::Kind(_) => TestKind::Never,
            },
            FieldName::Intrinsic(intrinsic) => self.intrinsic(*intrinsic, op, literal),
        };
        self.test(field, what)
    }

    fn attribute(
        &mut self,
        scope: AttributeScope,
        key: &str,
        op: Comparison,
        literal: Literal,
    ) -> TestKind {
        self.spread(scope, key, &Predicate::Compare(op, literal))
    }

    fn spread(&mut self, scope: AttributeScope, key: &str, predicate: &Predicate) -> TestKind {
        let column = |level| Column::Attribute(level, key.to_owned());
        if scope == AttributeScope::Unscoped {
            TestKind::Unscoped {
                span: self.condition(column(Level::Span), predicate.clone()),
                span_key: self.condition(column(Level::Span), Predicate::KeyExists),
                resource: self.condition(column(Level::Resource), predicate.clone()),
            }
        } else {
            TestKind::Column(self.condition(column(level(scope)), predicate.clone()))
        }
    }

    fn intrinsic(&mut self, intrinsic: Intrinsic, op: Comparison, literal: &Static) -> TestKind {
        use Intrinsic as I;
        let literal = match (intrinsic, literal) {
            (I::Status, Static::Status(v)) => Literal::Int(*v as i64),
            (I::Kind, Static::Kind(v)) => Literal::Int(*v as i64),
            (I::Status | I::Kind, _) => return TestKind::Never,
            (
                I::Duration
                | I::Gap
                | I::TraceDuration
                | I::EventTimeSinceStart
                | I::NestedSetLeft
                | I::NestedSetRight
                | I::NestedSetParent
                | I::SpanChildCount,
                Static::Int(v) | Static::Duration(v),
            ) => Literal::Int(*v),
            (
                I::Duration
                | I::Gap
                | I::TraceDuration
                | I::EventTimeSinceStart
                | I::NestedSetLeft
                | I::NestedSetRight
                | I::NestedSetParent
                | I::SpanChildCount,
                Static::Float(v),
            ) => Literal::Float(*v),
            (
                I::SpanId | I::SpanParentId | I::LinkSpanId | I::LinkTraceId | I::TraceId,
                Static::String(v),
            ) => Literal::Bytes(id_literal(intrinsic, v).into_bytes()),
            (
                I::Name
                | I::StatusMessage
                | I::RootName
                | I::RootServiceName
                | I::EventName
                | I::InstrumentationName
                | I::InstrumentationVersion,
                Static::String(v),
            ) => Literal::Bytes(v.clone().into_bytes()),
            _ => return TestKind::Never,
        };
        self.on_intrinsic(intrinsic, Predicate::Compare(op, literal))
    }

    fn on_intrinsic(&mut self, intrinsic: Intrinsic, predicate: Predicate) -> TestKind {
        use Intrinsic as I;
        match intrinsic {
            I::SpanChildCount => TestKind::ChildCount(predicate),
            I::Gap => TestKind::Gap(predicate),
            I::SpanId | I::SpanParentId | I::LinkSpanId | I::LinkTraceId | I::TraceId => {
                TestKind::Id { id: intrinsic, predicate }
            }
            _ => match intrinsic_column(intrinsic) {
                Some(column) => TestKind::Column(self.condition(column, predicate)),
                None => TestKind::Never,
            },
        }
    }

    fn match_test(&mut self, field: &Field, regex: Regex, negated: bool) -> BoolNode {
        let predicate = Predicate::Match { regex, negated };
        let what = match &field.name {
            FieldName::Parent => TestKind::Never,
            FieldName::Attribute { scope, key } => self.spread(*scope, key, &predicate),
            FieldName::Intrinsic(intrinsic) => match intrinsic {
                Intrinsic::Name
                | Intrinsic::StatusMessage
                | Intrinsic::RootName
                | Intrinsic::RootServiceName
                | Intrinsic::EventName
                | Intrinsic::InstrumentationName
                | Intrinsic::InstrumentationVersion
                | Intrinsic::SpanId
                | Intrinsic::SpanParentId
                | Intrinsic::LinkSpanId
                | Intrinsic::LinkTraceId
                | Intrinsic::TraceId => self.on_intrinsic(*intrinsic, predicate),
                _ => TestKind::Never,
            },
        };
        self.test(field, what)
    }

    fn exists_test(&mut self, field: &Field) -> BoolNode {
        let what = match &field.name {
            FieldName::Parent | FieldName::Intrinsic(Intrinsic::Gap) => {
                TestKind::Without(Subject::Parent, false)
            }
            FieldName::Attribute { scope, key } => self.spread(*scope, key, &Predicate::Exists),
            FieldName::Intrinsic(_) if !field.is_own() => TestKind::Without(field.of, false),
            FieldName::Intrinsic(_) => match field_level(field) {
                level @ (Level::Event | Level::Link) => TestKind::RowExists(level),
                _ => TestKind::Always,
            },
        };
        self.test(field, what)
    }

    fn missing_test(&mut self, field: &Field) -> BoolNode {
        let what = match &field.name {
            FieldName::Parent | FieldName::Intrinsic(Intrinsic::Gap) => {
                TestKind::Without(Subject::Parent, true)
            }
            FieldName::Attribute { scope, key } => {
                let levels = match scope {
                    AttributeScope::Unscoped => vec![Level::Span, Level::Resource],
                    scope => vec![level(*scope)],
                };
                let keys = levels
                    .into_iter()
                    .map(|level| {
                        let column = Column::Attribute(level, key.clone());
                        self.condition(column, Predicate::KeyExists)
                    })
                    .collect();
                TestKind::Missing { keys }
            }
            FieldName::Intrinsic(_) if !field.is_own() => TestKind::Without(field.of, true),
            FieldName::Intrinsic(_) => TestKind::Never,
        };
        self.test(field, what)
    }
}

/// Whether an expression has a negated operand, beside those that yield spans of their own.
fn negates(expr: &SpansetExpr) -> bool {
    match expr {
        SpansetExpr::Not(_) => true,
        SpansetExpr::Operation { left, op: SpansetOp::And | SpansetOp::Or, right } => {
            negates(left) || negates(right)
        }
        _ => false,
    }
}

/// An id literal in the form values have: lower case; span ids padded to 16 digits, trace ids
/// without leading zeros (5.11, with Q10 mended). Text that is no id is left alone and matches none.
fn id_literal(id: Intrinsic, text: &str) -> String {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return text.to_owned();
    }
    let lower = text.to_ascii_lowercase();
    match id {
        Intrinsic::TraceId | Intrinsic::LinkTraceId => lower.trim_start_matches('0').to_owned(),
        _ => format!("{lower:0>16}"),
    }
}

fn field_levels(expr: &FieldExpr, levels: &mut Vec<Level>) {
    match expr {
        FieldExpr::Static(_) => {}
        FieldExpr::Field(field) => {
            if field.is_own() {
                levels.push(field_level(field));
            }
        }
        FieldExpr::Not(a) | FieldExpr::Negate(a) | FieldExpr::Exists(a) | FieldExpr::Missing(a) => {
            field_levels(a, levels);
        }
        FieldExpr::Match { left, .. } => field_levels(left, levels),
        FieldExpr::And(a, b)
        | FieldExpr::Or(a, b)
        | FieldExpr::Compare { left: a, right: b, .. }
        | FieldExpr::Arithmetic { left: a, right: b, .. } => {
            field_levels(a, levels);
            field_levels(b, levels);
        }
    }
}
