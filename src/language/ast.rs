//! The query as written: every node knows its place in the text, parentheses are gone, and operators
//! of one precedence level that follow each other are one flat chain, so that a query of a thousand
//! `||` is no deeper than a query of two. Words that mean the same here and in the typed query
//! (statics, fields, operators) are the typed query's own types.

pub use crate::analyze::ir::{
    AggregateFunction, Arithmetic, AttributeScope, Comparison, Field, FieldName, Intrinsic, Kind,
    SpansetOp, Static, Status, Subject,
};
pub use crate::operator::{BinaryOp, Level};
use crate::range::TextRange;

/// A node and its place in the text. Two of them are equal when their nodes are: a query equals its
/// canonical text's, wherever white space stands.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// What stands there.
    pub node: T,
    /// Where.
    pub range: TextRange,
}

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Search or metrics.
    pub body: Body,
    /// How its traces are arranged; of a metrics query nothing is.
    pub arrangement: Arrangement,
    /// The hints of the last `with` clause; earlier clauses count for nothing.
    pub hints: Vec<Hint>,
}

/// What stands at the end of a search: which traces come first, and how many of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrangement {
    /// The keys of `order_by(…)`, none without it.
    pub order_by: Vec<Located<OrderKey>>,
    /// The number of `limit(…)`.
    pub limit: Option<Located<i64>>,
}

/// One key of `order_by(…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderKey {
    /// What is compared.
    pub by: OrderBy,
    /// `desc` stands after it.
    pub descending: bool,
}

/// What a key of `order_by(…)` compares.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderBy {
    /// A value of a span.
    Span(Located<FieldExpr>),
    /// A value of a spanset.
    Spanset(Located<Aggregate>),
}

/// What a query asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Traces.
    Search(Pipeline),
    /// Series.
    Metrics(Located<MetricsExpr>),
}

/// Stages in order, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The links of the `|` chain.
    pub stages: Vec<Located<Stage>>,
}

/// One link of the `|` chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// A spanset expression.
    Spanset(SpansetExpr),
    /// `count() > 2`.
    ScalarFilter {
        /// Left operand.
        left: Located<ScalarExpr>,
        /// The comparison.
        op: Comparison,
        /// Right operand.
        right: Located<ScalarExpr>,
    },
    /// `by(…)`.
    By(Located<FieldExpr>),
    /// `coalesce()`.
    Coalesce,
    /// `select(…)`.
    Select(Vec<Located<Field>>),
}

/// An expression over spansets.
#[derive(Clone, Debug, PartialEq)]
pub enum SpansetExpr {
    /// `{ … }`.
    Filter(Located<FieldExpr>),
    /// A parenthesised pipeline that is more than a spanset expression.
    Pipeline(Pipeline),
    /// `first op operand op operand …`, all of one precedence level, grouped to the left; `first` is
    /// no chain of that level.
    Operation {
        /// Leftmost operand.
        first: Box<Located<Self>>,
        /// Operators and their right operands; at least one.
        rest: Vec<(SpansetOp, Located<Self>)>,
    },
    /// `not x`.
    Not(Box<Located<Self>>),
}

/// A number computed from a spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarExpr {
    /// A literal, folded.
    Static(Static),
    /// An aggregate.
    Aggregate(Aggregate),
    /// `({ … } | … | count())`.
    Pipeline {
        /// What is aggregated.
        pipeline: Pipeline,
        /// The aggregate that ends it.
        aggregate: Aggregate,
    },
    /// A chain as in [`SpansetExpr::Operation`]; `^` has exactly one operator a chain.
    Arithmetic {
        /// Leftmost operand.
        first: Box<Located<Self>>,
        /// Operators and their right operands; at least one.
        rest: Vec<(Arithmetic, Located<Self>)>,
    },
}

/// `count()`, `avg(…)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which one.
    pub function: AggregateFunction,
    /// Its argument; `None` exactly for `count()`.
    pub operand: Option<Box<Located<FieldExpr>>>,
}

/// An expression over one span.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldExpr {
    /// A literal.
    Static(Static),
    /// An intrinsic or attribute.
    Field(Field),
    /// `!x`.
    Not(Box<Located<Self>>),
    /// `-x`.
    Negate(Box<Located<Self>>),
    /// A chain as in [`SpansetExpr::Operation`]; `^` has exactly one operator a chain.
    Binary {
        /// Leftmost operand.
        first: Box<Located<Self>>,
        /// Operators and their right operands; at least one.
        rest: Vec<(BinaryOp, Located<Self>)>,
    },
    /// `x != nil`.
    Exists(Box<Located<Self>>),
    /// `x = nil`.
    Missing(Box<Located<Self>>),
}

/// A metrics query, or math over several.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsExpr {
    /// `pipeline | function by (…) | second stages`.
    Query {
        /// What selects the spans.
        pipeline: Pipeline,
        /// The first-stage function.
        function: Located<MetricsFunction>,
        /// Group-by fields.
        by: Vec<Located<Field>>,
        /// Second-stage functions and filters.
        second: Vec<Located<SecondStage>>,
    },
    /// A chain as in [`SpansetExpr::Operation`].
    Math {
        /// Leftmost operand.
        first: Box<Located<Self>>,
        /// Operators (`+ - * /`) and their right operands; at least one.
        rest: Vec<(Arithmetic, Located<Self>)>,
        /// Second-stage functions and filters.
        second: Vec<Located<SecondStage>>,
    },
    /// A constant operand, folded.
    Constant(f64),
}

/// First-stage metrics functions.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsFunction {
    /// `rate()`.
    Rate,
    /// `count_over_time()`.
    CountOverTime,
    /// A function of one field.
    OfField(FieldFunction, Located<Field>),
    /// `quantile_over_time(field, 0.5, …)`.
    QuantileOverTime {
        /// What is measured.
        of: Located<Field>,
        /// Which quantiles, at least one.
        quantiles: Vec<Located<f64>>,
    },
    /// `compare({ … }, top, start, end)`.
    Compare {
        /// The selection.
        selection: Located<FieldExpr>,
        /// How many values of each attribute are kept.
        top_n: Option<Located<i64>>,
        /// Start and end of the selection's window.
        window: Option<(Located<i64>, Located<i64>)>,
    },
}

/// Metrics functions of exactly one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the functions of the language")]
pub enum FieldFunction {
    MinOverTime,
    MaxOverTime,
    AvgOverTime,
    SumOverTime,
    HistogramOverTime,
}

/// Second-stage metrics functions and filters.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondStage {
    /// `topk(n)`.
    TopK(i64),
    /// `bottomk(n)`.
    BottomK(i64),
    /// `cmp number`; a duration is its seconds.
    Filter(Comparison, f64),
}

/// `name=value` in a `with` clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// Its name, any word that is not reserved.
    pub name: Located<String>,
    /// Its value.
    pub value: Located<Static>,
}

impl<T> Located<T> {
    /// A node at its place.
    pub fn new(node: T, range: TextRange) -> Self {
        Self { node, range }
    }

    /// Another node at the same place.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Located<U> {
        Located { node: convert(self.node), range: self.range }
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

/// The operands of a chain node are its `first` and then its `rest`; joining a chain of the same
/// level with a further operand makes one longer chain.
pub(crate) trait Chain: Sized {
    /// The operator between operands.
    type Op: Copy;

    /// How tightly an operator binds.
    fn level(op: Self::Op) -> Level;

    /// An operator of the chain, if it is one that can go on.
    fn chain_op(&self) -> Option<Self::Op>;

    /// The chain's parts, or the node itself if it is no chain.
    fn into_chain(self) -> Result<ChainParts<Self>, Self>;

    /// A chain of these parts.
    fn from_chain(parts: ChainParts<Self>) -> Self;
}

/// A chain taken apart.
pub(crate) struct ChainParts<T: Chain> {
    pub(crate) first: Box<Located<T>>,
    pub(crate) rest: Vec<(T::Op, Located<T>)>,
}

/// Whether `left op …` only makes the chain `left` longer.
fn goes_on<T: Chain>(left: &T, op: T::Op) -> bool {
    let level = T::level(op);
    level != Level::Power && left.chain_op().is_some_and(|op| T::level(op) == level)
}

/// How deep the tree of `left op right` is.
pub(crate) fn joined_height<T: Chain>(
    left: &T,
    left_height: usize,
    op: T::Op,
    right_height: usize,
) -> usize {
    if goes_on(left, op) {
        left_height.max(right_height + 1)
    } else {
        left_height.max(right_height) + 1
    }
}

/// `left op right`, flat where `left` is a chain of the same level.
pub(crate) fn join<T: Chain>(left: Located<T>, op: T::Op, right: Located<T>) -> Located<T> {
    let range = left.range.cover(right.range);
    if !goes_on(&left.node, op) {
        let parts = ChainParts { first: Box::new(left), rest: vec![(op, right)] };
        return Located::new(T::from_chain(parts), range);
    }
    let parts = match left.node.into_chain() {
        Ok(mut parts) => {
            parts.rest.push((op, right));
            parts
        }
        Err(node) => {
            let first = Box::new(Located::new(node, left.range));
            ChainParts { first, rest: vec![(op, right)] }
        }
    };
    Located::new(T::from_chain(parts), range)
}

impl Chain for FieldExpr {
    type Op = BinaryOp;

    fn level(op: BinaryOp) -> Level {
        op.level()
    }

    fn chain_op(&self) -> Option<Self::Op> {
        match self {
            Self::Binary { rest, .. } => rest.first().map(|(op, _)| *op),
            _ => None,
        }
    }

    fn into_chain(self) -> Result<ChainParts<Self>, Self> {
        match self {
            Self::Binary { first, rest } => Ok(ChainParts { first, rest }),
            other => Err(other),
        }
    }

    fn from_chain(ChainParts { first, rest }: ChainParts<Self>) -> Self {
        Self::Binary { first, rest }
    }
}

impl Chain for SpansetExpr {
    type Op = SpansetOp;

    fn level(op: SpansetOp) -> Level {
        op.level()
    }

    fn chain_op(&self) -> Option<Self::Op> {
        match self {
            Self::Operation { rest, .. } => rest.first().map(|(op, _)| *op),
            _ => None,
        }
    }

    fn into_chain(self) -> Result<ChainParts<Self>, Self> {
        match self {
            Self::Operation { first, rest } => Ok(ChainParts { first, rest }),
            other => Err(other),
        }
    }

    fn from_chain(ChainParts { first, rest }: ChainParts<Self>) -> Self {
        Self::Operation { first, rest }
    }
}

impl Chain for ScalarExpr {
    type Op = Arithmetic;

    fn level(op: Arithmetic) -> Level {
        op.level()
    }

    fn chain_op(&self) -> Option<Self::Op> {
        match self {
            Self::Arithmetic { rest, .. } => rest.first().map(|(op, _)| *op),
            _ => None,
        }
    }

    fn into_chain(self) -> Result<ChainParts<Self>, Self> {
        match self {
            Self::Arithmetic { first, rest } => Ok(ChainParts { first, rest }),
            other => Err(other),
        }
    }

    fn from_chain(ChainParts { first, rest }: ChainParts<Self>) -> Self {
        Self::Arithmetic { first, rest }
    }
}

impl Chain for MetricsExpr {
    type Op = Arithmetic;

    fn level(op: Arithmetic) -> Level {
        op.level()
    }

    fn chain_op(&self) -> Option<Self::Op> {
        match self {
            // Second stages apply to the whole of it, so with them it is one operand.
            Self::Math { rest, second, .. } if second.is_empty() => rest.first().map(|(op, _)| *op),
            _ => None,
        }
    }

    fn into_chain(self) -> Result<ChainParts<Self>, Self> {
        match self {
            Self::Math { first, rest, .. } => Ok(ChainParts { first, rest }),
            other => Err(other),
        }
    }

    fn from_chain(ChainParts { first, rest }: ChainParts<Self>) -> Self {
        Self::Math { first, rest, second: Vec::new() }
    }
}
