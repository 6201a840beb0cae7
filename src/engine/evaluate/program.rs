//! A pipeline in the form that runs on batches, as data. `compile` makes it of a typed query.

use regex::bytes::Regex;
use traceql_blocks::read::batch::Condition;
use traceql_blocks::read::predicate::{Comparison, Predicate};
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{
    AggregateFunction, Arithmetic, Field, Intrinsic, SpansetOp, Static, StructuralMode, Subject,
};

use super::columns::columns_of;

/// A pipeline ready to run, with everything it needs to know of fields and conditions.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) stages: Vec<StageNode>,
    /// Tests of a column against a literal, by number.
    pub(crate) conditions: Vec<Condition>,
    /// Tests of a field against a literal, by number; they refer to conditions.
    pub(crate) tests: Vec<FieldTest>,
    /// Fields read by value, by number.
    pub(crate) fields: Vec<Field>,
    /// What returned spans list (`traceql.md` 8.4).
    pub(crate) listed: Vec<Listed>,
    /// The span's name is returned.
    pub(crate) names_wanted: bool,
    /// Evaluation reads fields by value, not only through conditions.
    pub(crate) reads_values: bool,
    /// A structural operator occurs.
    pub(crate) is_structural: bool,
    /// The keys of `order_by`, first key first.
    pub(crate) order: Vec<OrderNode>,
}

/// One key of `order_by`.
#[derive(Debug)]
pub(crate) struct OrderNode {
    pub(crate) by: OrderBy,
    pub(crate) descending: bool,
}

/// What a key of `order_by` compares.
#[derive(Debug)]
pub(crate) enum OrderBy {
    Span(ValueNode),
    Spanset(AggregateNode),
}

/// A stage.
#[derive(Debug)]
pub(crate) enum StageNode {
    Spanset(SpansetNode),
    ScalarFilter {
        left: ScalarNode,
        op: Comparison,
        right: ScalarNode,
    },
    By {
        key: ValueNode,
        label: String,
    },
    Coalesce,
    /// What is selected is only listed.
    Select,
}

/// A spanset expression.
#[derive(Debug)]
pub(crate) enum SpansetNode {
    Filter(Filter),
    Pipeline(Vec<StageNode>),
    Operation {
        left: Box<Self>,
        op: SpansetOp,
        right: Box<Self>,
    },
    /// An expression with `not` in it.
    Verdict(Box<VerdictNode>),
}

/// A spanset expression in which some operand is negated: operands tell which traces they hold for
/// and, unless they are negated, spans.
#[derive(Debug)]
pub(crate) enum VerdictNode {
    /// Holds where it yields spans.
    Spans(SpansetNode),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// The body of `{ … }`, or a condition whose outcome is a value, as in `by(event.k = 1)`.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) body: BoolNode,
    /// It reads fields of events (of links): it holds if some event (link) makes it true.
    pub(crate) over_events: bool,
    pub(crate) over_links: bool,
}

/// An expression that yields true, false or, for a bare field, nil.
#[derive(Debug)]
pub(crate) enum BoolNode {
    Constant(bool),
    Test(usize),
    /// A value taken as a truth value.
    Truth(ValueNode),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Compare {
        left: ValueNode,
        op: Comparison,
        right: ValueNode,
    },
    Match {
        left: ValueNode,
        regex: Regex,
        negated: bool,
    },
    Exists(ValueNode),
}

/// An expression that yields a value.
#[derive(Debug)]
pub(crate) enum ValueNode {
    Static(Static),
    Field(usize),
    Negate(Box<Self>),
    Arithmetic { left: Box<Self>, op: Arithmetic, right: Box<Self> },
    Bool(Box<Filter>),
}

/// A number computed from a spanset.
#[derive(Debug)]
pub(crate) enum ScalarNode {
    Static(Static),
    Aggregate(AggregateNode),
    Pipeline { stages: Vec<StageNode>, aggregate: AggregateNode },
    Arithmetic { left: Box<Self>, op: Arithmetic, right: Box<Self> },
}

/// An aggregate.
#[derive(Debug)]
pub(crate) struct AggregateNode {
    pub(crate) function: AggregateFunction,
    pub(crate) operand: Option<ValueNode>,
    pub(crate) label: String,
}

/// A test of a field against a literal, spread over the columns the field may be in.
#[derive(Debug)]
pub(crate) struct FieldTest {
    pub(crate) field: Field,
    pub(crate) what: TestKind,
}

/// How a field is tested; numbers are those of conditions.
#[derive(Clone, Debug)]
pub(crate) enum TestKind {
    /// One column decides.
    Column(usize),
    /// `.x`: the span's attribute decides if the span has the key, else the resource's.
    Unscoped { span: usize, span_key: usize, resource: usize },
    /// `x = nil`: no key where it is looked for; for events and links the row must exist.
    Missing { keys: Vec<usize> },
    /// Ids are text to the language and bytes in storage: tested value by value.
    Id { id: Intrinsic, predicate: Predicate },
    /// The number of children, which no column holds reliably.
    ChildCount(Predicate),
    /// The gap before the span, which no column holds.
    Gap(Predicate),
    /// The span has no parent (or its trace no root): `parent = nil`; with `false` it has one.
    Without(Subject, bool),
    /// An event or link exists; `event:name != nil`.
    RowExists(Level),
    /// Always.
    Always,
    /// Never: no value of the field is comparable with the literal.
    Never,
}

/// A field that returned spans list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) field: usize,
    /// It is listed whatever its value.
    pub(crate) unlimited: bool,
    /// Else: if one of these tests holds.
    pub(crate) tests: Vec<usize>,
    /// `= nil` tests: the span lists the word `nil` where one holds.
    pub(crate) missing: Vec<usize>,
}

impl Program {
    /// Columns of the fields that are read by value.
    pub(crate) fn field_columns(&self) -> Vec<Column> {
        self.fields.iter().flat_map(columns_of).collect()
    }
}

/// The filters that can have let a span through, in the order of the text: those left of a plain or
/// negated structural operator have not, since it yields spans of its right side alone.
pub(crate) fn passing_filters<'a>(stages: &'a [StageNode], found: &mut Vec<&'a Filter>) {
    fn of_spanset<'a>(node: &'a SpansetNode, found: &mut Vec<&'a Filter>) {
        use StructuralMode::{Negated, Plain};
        match node {
            SpansetNode::Filter(filter) => found.push(filter),
            SpansetNode::Pipeline(stages) => passing_filters(stages, found),
            SpansetNode::Verdict(node) => of_verdict(node, found),
            SpansetNode::Operation {
                op: SpansetOp::Structural { mode: Plain | Negated, .. },
                right,
                ..
            } => of_spanset(right, found),
            SpansetNode::Operation { left, right, .. } => {
                of_spanset(left, found);
                of_spanset(right, found);
            }
        }
    }
    fn of_verdict<'a>(node: &'a VerdictNode, found: &mut Vec<&'a Filter>) {
        match node {
            VerdictNode::Spans(node) => of_spanset(node, found),
            VerdictNode::Not(_) => {}
            VerdictNode::And(left, right) | VerdictNode::Or(left, right) => {
                of_verdict(left, found);
                of_verdict(right, found);
            }
        }
    }
    for stage in stages {
        if let StageNode::Spanset(node) = stage {
            of_spanset(node, found);
        }
    }
}
