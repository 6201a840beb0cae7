//! What an operand between pipes turned out to be. Tempo's grammar gives each sort productions of
//! its own, which its parser tells apart by looking ahead; we parse first and ask afterwards.

use crate::analyze::ir::Static;
use crate::ast::{Aggregate, Located, MetricsExpr, Pipeline, ScalarExpr, SpansetExpr, Stage};
use crate::range::TextRange;

/// An operand of the pipeline grammar.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) node: Node,
    /// With its parentheses, if it has any.
    pub(super) range: TextRange,
    /// Whether it stands in parentheses or combines only such that do.
    pub(super) is_wrapped: bool,
    /// How deep its tree is, not counting what stands in braces.
    pub(super) height: usize,
}

/// Its sort.
#[derive(Debug)]
pub(super) enum Node {
    /// Filters and operators between them.
    Spanset(SpansetExpr),
    /// The same with parenthesised pipelines among its operands: Tempo's `group_combo`.
    Group(SpansetExpr),
    /// Arithmetic on aggregates.
    Scalar(ScalarExpr, ScalarSort),
    /// A folded constant.
    Constant(Static),
    /// A comparison of aggregates.
    ScalarFilter(Stage, ScalarSort),
    /// `by`, `coalesce`, `select`.
    Stage(Stage),
    /// A parenthesised metrics query, or math over such.
    Metrics(MetricsExpr),
}

/// Which aggregates a scalar is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarSort {
    /// Of the current spanset.
    Aggregates,
    /// Of parenthesised pipelines: Tempo's `pipe_scalar`.
    Pipelines,
    /// A mixture that Tempo has no grammar for.
    Mixed,
}

/// What stands between two parentheses, or is a whole query.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) content: Content,
    /// As an operand's.
    pub(super) height: usize,
}

/// Its sort.
#[derive(Debug)]
pub(super) enum Content {
    /// One operand, no pipe.
    Single(Operand),
    /// Several stages.
    Pipeline(Pipeline),
    /// Stages and an aggregate that is not compared.
    ScalarPipeline(Pipeline, Located<Aggregate>),
    /// A metrics query.
    Metrics {
        /// The query.
        expr: Located<MetricsExpr>,
        /// Whether second stages were applied to math: allowed at the end of a query only.
        is_filtered_math: bool,
    },
}

impl Node {
    /// How messages call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Spanset(_) | Self::Group(_) => "a spanset",
            Self::Scalar(..) => "a number of an aggregate",
            Self::Constant(_) => "a constant",
            Self::ScalarFilter(..) => "a comparison of aggregates",
            Self::Stage(Stage::By(_)) => "a `by` stage",
            Self::Stage(Stage::Coalesce) => "a `coalesce` stage",
            Self::Stage(_) => "a `select` stage",
            Self::Metrics(_) => "a metrics query",
        }
    }

    /// Whether it yields spansets that operators combine.
    pub(super) fn is_spanset(&self) -> bool {
        matches!(self, Self::Spanset(_) | Self::Group(_))
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Scalar(..) | Self::Constant(_))
    }
}

impl Operand {
    /// An operand that stands for itself.
    pub(super) fn new(node: Node, range: TextRange) -> Self {
        Self { node, range, is_wrapped: false, height: 1 }
    }
}
